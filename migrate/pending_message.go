package migrate

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/taskhub-tools/taskhub/schema"
)

// envelope is what a new message needs beside its event.
type envelope struct {
	target schema.OrchestrationInstance
	// sender is empty for a client.
	sender  schema.OrchestrationInstance
	episode schema.Optional[int64]
	// tags are those of the orchestration that sends, for the messages that have
	// them; else nil.
	tags *schema.Text
	// key names the work among all of the hub.
	key string
}

// fill makes the message of an item and decides where it goes.
//
// Source: durabletask 2.9.1, MessageManager.cs:62-123, TaskHubQueue.cs:91-150.
func (p *pending) fill(i *Item, e *envelope, event schema.Event) {
	p.sequence++
	m := &schema.Message{
		ActivityID:     p.opts.NewID(e.key),
		TaskMessage:    &schema.TaskMessage{Event: event, OrchestrationInstance: e.target},
		SequenceNumber: p.sequence,
		Episode:        e.episode,
		Sender:         &e.sender,
	}
	if !e.sender.ExecutionID.Set {
		m.Sender.ExecutionID = schema.Some("")
	}
	if e.tags != nil {
		m.TaskMessage.ExecutionContext = executionContext(*e.tags)
	}
	if p.opts.Version1 {
		m.ForVersion1()
	}
	i.Message = m
	i.InstanceID, i.ExecutionID = e.target.InstanceID, e.target.ExecutionID.Value
	text := schema.EscapeForXML(m.AppendJSON(nil))
	if len(text) > schema.MaxMessageBytes {
		i.Blob, i.BlobText = schema.MessageBlobName(i.InstanceID, m.ActivityID, event.Type()), string(text)
		text = wrap(i.Blob)
	}
	i.Text = string(text)
	if i.Queue = p.control(i.InstanceID); event.Type() == schema.TypeTaskScheduled {
		i.Queue = p.opts.Names.WorkItemQueue()
	}
}

// wrap returns the JSON of the message that stands for one in a blob.
func wrap(blob string) []byte {
	w := schema.NewWrapper(blob)
	return schema.EscapeForXML(w.AppendJSON(nil))
}

// hashID makes a GUID of the hub and a key, of version 8 of RFC 9562.
func (p *pending) hashID(key string) string {
	sum := sha256.Sum256([]byte(p.opts.Names.TaskHub + "\x00" + key))
	sum[6], sum[8] = sum[6]&0x0F|0x80, sum[8]&0x3F|0x80
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// workKey names a piece of work.
func workKey(instanceID, executionID string, kind Kind, what string) string {
	return strings.Join([]string{instanceID, executionID, string(kind), what}, "\x00")
}

// The types that messages name in nested objects and rows do not.
const (
	parentClass  = "DurableTask.Core.ParentInstance"
	contextClass = "DurableTask.Core.OrchestrationExecutionContext"
	failureClass = "DurableTask.Core.FailureDetails"
)

// typed returns a JSON object of a row as messages have it: with its type first.
// Null stays null, and what is no object becomes null.
func typed(t schema.Text, class string) schema.Text {
	if t.Value == "" || t.IsNull() {
		return schema.Text{}
	}
	rest, ok := strings.CutPrefix(strings.TrimSpace(t.Value), "{")
	switch {
	case !ok || !json.Valid([]byte(t.Value)):
		return schema.Text{} // damaged: as part of a message it would be poison
	case strings.HasPrefix(rest, `"$type"`):
		return schema.TextOf(t.Value)
	}
	rest = strings.TrimSpace(rest)
	if !strings.HasPrefix(rest, "}") {
		rest = "," + rest
	}
	return schema.TextOf(`{"$type":"` + class + `"` + rest)
}

// executionContext is the member OrchestrationExecutionContext of what an
// orchestration starts. It has the dictionary of tags even if that is empty.
//
// Source: durabletask 2.9.1, OrchestrationExecutionContext.cs:21-29; recorded in
// hubs dtfx-2.9.1-crashed and dtfx-2.9.1-odd.
func executionContext(tags schema.Text) schema.Text {
	dictionary := typed(tags, schema.DictionaryClass)
	if dictionary.IsNull() {
		dictionary = typed(schema.TextOf("{}"), schema.DictionaryClass)
	}
	return schema.TextOf(`{"$type":"` + contextClass + `","OrchestrationTags":` + dictionary.Value + `}`)
}

// parentJSON is the member ParentInstance of a start.
func parentJSON(p *schema.ParentInstance) schema.Text {
	text := schema.AppendJSONString([]byte(`{"$type":"`+parentClass+`","Name":`), p.Name)
	text = append(text, `,"OrchestrationInstance":`...)
	text = append(text, schema.InstanceJSON(p.OrchestrationInstance.InstanceID, p.OrchestrationInstance.ExecutionID).Value...)
	text = append(text, `,"TaskScheduleId":`...)
	text = strconv.AppendInt(text, int64(p.TaskScheduleID), 10)
	text = append(text, `,"Version":`...)
	return schema.TextOf(string(append(schema.AppendJSONString(text, p.Version), '}')))
}

// asMessage turns an event of a row, with its texts loaded, into that of the
// message that brought it. Trace contexts are left out, as rows have them in a
// form of their own.
func asMessage(event schema.Event, instanceID, executionID string) {
	head := event.Header()
	head.IsPlayed = false
	switch v := event.(type) {
	case *schema.ExecutionStarted:
		head.EventID = -1
		v.OrchestrationInstance = schema.InstanceJSON(instanceID, executionID)
		if parent, err := schema.ParseParentInstance(v.ParentInstance); err == nil && parent != nil {
			v.ParentInstance = parentJSON(parent)
		} else {
			v.ParentInstance = schema.Text{}
		}
		v.Tags, v.ParentTraceContext = typed(v.Tags, schema.DictionaryClass), schema.Text{}
	case *schema.TaskScheduled:
		v.Tags, v.ParentTraceContext = typed(v.Tags, schema.DictionaryClass), schema.Text{}
	case *schema.TaskFailed:
		v.FailureDetails = typed(v.FailureDetails, failureClass)
	case *schema.SubOrchestrationFailed:
		v.FailureDetails = typed(v.FailureDetails, failureClass)
	case *schema.EventRaised:
		v.ParentTraceContext = schema.Text{}
	}
}
