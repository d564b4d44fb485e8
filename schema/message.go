package schema

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// MaxMessageBytes is the length of the JSON, in bytes of UTF-8, up to which a
// message is stored in the queue itself; a longer one goes to a blob.
//
// Source: durabletask 2.9.1, MessageManager.cs:41-44.
const MaxMessageBytes = 45 * 1024

// Encoding is the form of a message body in the queue.
type Encoding uint8

// The two forms. Version 1.x writes Base64, 2.x plain JSON unless it is told
// otherwise; both read both.
const (
	PlainJSON Encoding = iota
	Base64
)

// Message is the envelope of every message in the hub's queues (MessageData).
//
// Source: durabletask 2.9.1, MessageData.cs:26-133.
type Message struct {
	// ActivityID is a GUID with dashes, new for each message; it names the blob
	// of a large one. All zeros in a wrapper.
	ActivityID string
	// TaskMessage is nil in a wrapper, which only names a blob.
	TaskMessage *TaskMessage
	// CompressedBlobName is the name of the blob, in the hub's large-message
	// container, that holds the real message; absent in any other.
	CompressedBlobName Optional[string]
	// SequenceNumber counts the messages of one process from 1.
	SequenceNumber int64
	// Episode is the sender's episode; absent in messages of clients.
	Episode Optional[int64]
	// Sender is nil in a wrapper, and empty for a client.
	Sender *OrchestrationInstance
	// SerializableTraceContext is null unless an old tracing feature is on.
	SerializableTraceContext Optional[string]
	// Extra holds members that this package does not know, and Sender as read
	// where it has more than the usual members.
	Extra []Member

	layout   []string
	typeName string // $type, where it is not the usual one
}

// TaskMessage is what the envelope carries.
//
// Source: durabletask 2.9.1, TaskMessage.cs:22-53.
type TaskMessage struct {
	Event                 Event
	SequenceNumber        int64
	OrchestrationInstance OrchestrationInstance // the target
	// ExecutionContext is the member OrchestrationExecutionContext as JSON:
	// null, or an object with the orchestration's tags.
	ExecutionContext Text
	Extra            []Member
	// EventExtra holds members of the event that its type does not have, and
	// dates as read where they are not spelled in UTC. Members in Extra are
	// written in place of those that the event has.
	EventExtra []Member

	layout      []string
	eventLayout []string
	target      []string // layout of OrchestrationInstance
	// $type of the message, the event and OrchestrationInstance, where it is
	// not the usual one.
	typeName, eventClass, targetType string
}

// OrchestrationInstance names an execution of an instance.
type OrchestrationInstance struct {
	InstanceID string
	// ExecutionID is absent where whatever execution is current is meant.
	ExecutionID Optional[string]
}

// Member is a JSON member as it was read.
type Member struct {
	Name string
	JSON string
}

const (
	typeMember       = "$type"
	classMessageData = "DurableTask.AzureStorage.MessageData"
	classTaskMessage = "DurableTask.Core.TaskMessage"
	classInstance    = "DurableTask.Core.OrchestrationInstance"
	classEvent       = "DurableTask.Core.History."
	wrapperActivity  = "00000000-0000-0000-0000-000000000000"
)

// NewWrapper returns the message that stands in the queue for one whose JSON is
// kept in a blob.
func NewWrapper(blobName string) Message {
	return Message{ActivityID: wrapperActivity, CompressedBlobName: Some(blobName)}
}

// MessageText returns the JSON of a message body and the encoding it was in. It
// returns an error for a body that is neither JSON nor Base64.
//
// Source: durabletask 2.9.1, MessageManager.cs:155-213.
func MessageText(body string) (json string, enc Encoding, err error) {
	if strings.HasPrefix(strings.TrimLeft(body, " \t\r\n\ufeff"), "{") {
		return body, PlainJSON, nil
	}
	text, err := base64.StdEncoding.DecodeString(body)
	if err != nil {
		return "", Base64, errors.New("body is neither a JSON object nor Base64")
	}
	return string(text), Base64, nil
}

// EncodeBody returns the body that stores the JSON of a message.
func EncodeBody(json []byte, enc Encoding) string {
	if enc == Base64 {
		return base64.StdEncoding.EncodeToString(json)
	}
	return string(json)
}

// DecodeMessage decodes the JSON of a message, from a queue (see [MessageText])
// or from a blob. An event of unknown type is kept whole as an *[UnknownEvent].
//
// A *[DecodeError] names the first member at fault; where is used for its place,
// such as the ID of the queue message. Messages written with DataContract
// serialization, which the Functions extension never uses, are not supported:
// their TaskMessage has no $type.
//
// [Message.AppendJSON] gives back the same bytes for every message that a
// framework wrote: the order of members is remembered where it is not the usual
// one, and so are members that are missing.
func DecodeMessage(text, where string) (Message, error) {
	d := jsonReader{where: where}
	var m Message
	if err := d.open(text); err != nil {
		return m, &DecodeError{Where: where, Err: err}
	}
	m.typeName = d.class(classMessageData)
	d.plain("ActivityId", &m.ActivityID)
	task := d.object("TaskMessage")
	d.str("CompressedBlobName", &m.CompressedBlobName)
	d.int64("SequenceNumber", &m.SequenceNumber)
	d.optInt64("Episode", &m.Episode)
	sender := d.object("Sender")
	d.str("SerializableTraceContext", &m.SerializableTraceContext)
	if sender != "" {
		s := jsonReader{where: where, path: "Sender."}
		if err := s.open(sender); err != nil {
			return m, &DecodeError{where, "Sender", err}
		}
		m.Sender = new(OrchestrationInstance)
		s.plain("InstanceId", &m.Sender.InstanceID)
		s.str("ExecutionId", &m.Sender.ExecutionID)
		if len(s.extra()) > 0 || s.layout(senderLayout) != nil { // $type of versions 1.6.5 to 1.8.3
			m.Extra = append(m.Extra, Member{"Sender", sender})
		}
		d.merge(&s)
	}
	if task != "" {
		t, err := decodeTaskMessage(task, where)
		m.TaskMessage = &t
		if err != nil && d.err == nil {
			d.err = err
		}
	}
	if m.TaskMessage == nil && !m.CompressedBlobName.Set {
		d.fail("TaskMessage", "missing, and no blob is named")
	}
	m.Extra = append(m.Extra, d.extra()...)
	m.layout = d.layout(m.members())
	if d.err != nil {
		return m, d.err
	}
	return m, nil
}

func decodeTaskMessage(text, where string) (TaskMessage, *DecodeError) {
	var t TaskMessage
	d := jsonReader{where: where, path: "TaskMessage."}
	if err := d.open(text); err != nil {
		return t, &DecodeError{where, "TaskMessage", err}
	}
	t.typeName = d.class(classTaskMessage)
	event := d.object("Event")
	d.int64("SequenceNumber", &t.SequenceNumber)
	target := d.object("OrchestrationInstance")
	d.json("OrchestrationExecutionContext", &t.ExecutionContext, jsonPlain)
	t.Extra = d.extra()
	t.layout = d.layout(taskMessageLayout)
	if target == "" {
		d.fail("OrchestrationInstance", "missing")
	} else {
		o := jsonReader{where: where, path: "TaskMessage.OrchestrationInstance."}
		if err := o.open(target); err != nil {
			return t, &DecodeError{where, "TaskMessage.OrchestrationInstance", err}
		}
		t.targetType = o.class(classInstance)
		o.plain("InstanceId", &t.OrchestrationInstance.InstanceID)
		o.str("ExecutionId", &t.OrchestrationInstance.ExecutionID)
		t.target = o.layout(targetLayout)
		d.merge(&o)
	}
	if event == "" {
		d.fail("Event", "missing")
		return t, d.err
	}
	e := jsonReader{where: where, path: "TaskMessage.Event."}
	if err := e.open(event); err != nil {
		return t, &DecodeError{where, "TaskMessage.Event", err}
	}
	t.decodeEvent(&e)
	d.merge(&e)
	return t, d.err
}

func (t *TaskMessage) decodeEvent(e *jsonReader) {
	class := e.class("")
	name, ok := strings.CutPrefix(class, classEvent)
	name, _, _ = strings.Cut(name, ",") // assembly, before version 1.4.0
	if name != "GenericEvent" {
		name = strings.TrimSuffix(name, "Event")
	}
	event := newEvent(EventTypeNamed(name))
	if !ok || event == nil {
		event = &UnknownEvent{Name: class}
	}
	t.Event = event
	if class != className(event) {
		t.eventClass = class
	}
	event.fields(e)
	head := event.Header()
	e.int32("EventId", &head.EventID)
	e.bool("IsPlayed", &head.IsPlayed)
	e.time("Timestamp", &head.Timestamp)
	t.EventExtra = e.extra()
	t.eventLayout = e.layout(eventMembers(event))
}

// className returns the $type of an event.
func className(e Event) string {
	if u, ok := e.(*UnknownEvent); ok {
		return u.Name
	}
	if e.Type() == TypeGeneric {
		return classEvent + "GenericEvent"
	}
	return classEvent + e.Type().String() + "Event"
}

// AppendJSON appends the JSON of m: compact, with $type first in each object,
// null members included, dates with trailing zeros cut, as the framework's
// serializer writes it. A message that was decoded comes out with the members,
// in the order, that it was read with.
func (m *Message) AppendJSON(dst []byte) []byte {
	w := jsonWriter{}
	w.class(classMessageData, m.typeName)
	w.plain("ActivityId", m.ActivityID)
	if m.TaskMessage == nil {
		w.raw("TaskMessage", "null")
	} else {
		w.raw("TaskMessage", string(m.TaskMessage.appendJSON(nil)))
	}
	w.str("CompressedBlobName", &m.CompressedBlobName)
	w.int("SequenceNumber", m.SequenceNumber)
	if m.Episode.Set {
		w.int("Episode", m.Episode.Value)
	}
	if m.Sender == nil {
		w.raw("Sender", "null")
	} else {
		s := jsonWriter{}
		s.plain("InstanceId", m.Sender.InstanceID)
		s.str("ExecutionId", &m.Sender.ExecutionID)
		w.raw("Sender", string(s.append(nil, nil, nil)))
	}
	w.str("SerializableTraceContext", &m.SerializableTraceContext)
	return w.append(dst, m.layout, m.Extra)
}

func (t *TaskMessage) appendJSON(dst []byte) []byte {
	e := jsonWriter{}
	e.class(className(t.Event), t.eventClass)
	t.Event.fields(&e)
	head := t.Event.Header()
	e.int("EventId", int64(head.EventID))
	e.raw("IsPlayed", strconv.FormatBool(head.IsPlayed))
	e.time("Timestamp", &head.Timestamp)

	w := jsonWriter{}
	w.class(classTaskMessage, t.typeName)
	w.raw("Event", string(e.append(nil, t.eventLayout, t.EventExtra)))
	w.int("SequenceNumber", t.SequenceNumber)
	o := jsonWriter{}
	o.class(classInstance, t.targetType)
	o.plain("InstanceId", t.OrchestrationInstance.InstanceID)
	o.str("ExecutionId", &t.OrchestrationInstance.ExecutionID)
	w.raw("OrchestrationInstance", string(o.append(nil, t.target, nil)))
	w.json("OrchestrationExecutionContext", &t.ExecutionContext, jsonPlain)
	return w.append(dst, t.layout, t.Extra)
}

// The usual members of each object, in order.
var (
	senderLayout      = []string{"InstanceId", "ExecutionId"}
	targetLayout      = []string{typeMember, "InstanceId", "ExecutionId"}
	taskMessageLayout = []string{typeMember, "Event", "SequenceNumber", "OrchestrationInstance", "OrchestrationExecutionContext"}
)

func (m *Message) members() []string {
	if m.Episode.Set {
		return []string{typeMember, "ActivityId", "TaskMessage", "CompressedBlobName", "SequenceNumber", "Episode", "Sender", "SerializableTraceContext"}
	}
	return []string{typeMember, "ActivityId", "TaskMessage", "CompressedBlobName", "SequenceNumber", "Sender", "SerializableTraceContext"}
}

func eventMembers(e Event) []string {
	w := jsonWriter{}
	w.raw(typeMember, "")
	e.fields(&w)
	w.raw("EventId", "")
	w.raw("IsPlayed", "")
	w.raw("Timestamp", "")
	names := make([]string, len(w.members))
	for i := range w.members {
		names[i] = w.members[i].Name
	}
	return names
}

// ForVersion1 leaves out the members that Core 2 (version 1.x) does not have, so
// that a new message is the one that such an app would have written.
func (m *Message) ForVersion1() {
	if m.TaskMessage == nil {
		return
	}
	core3 := core3Finder{}
	m.TaskMessage.Event.fields(&core3)
	if len(core3.names) == 0 {
		return
	}
	var layout []string
	for _, name := range eventMembers(m.TaskMessage.Event) {
		if !core3.has(name) {
			layout = append(layout, name)
		}
	}
	m.TaskMessage.eventLayout = layout
}

// Target returns the instance that the message is for; ok is false for a
// wrapper, which does not say.
func (m *Message) Target() (instanceID string, ok bool) {
	if m.TaskMessage == nil {
		return "", false
	}
	return m.TaskMessage.OrchestrationInstance.InstanceID, true
}

var (
	errNotObject = errors.New("not a JSON object")
	errTwice     = errors.New("a member is given twice")
)

// readMembers reads the members of a JSON object in order, each value as raw
// text. The object must be all of text but for white space.
func readMembers(text string) ([]Member, error) {
	b := []byte(text)
	i := skipSpace(b, 0)
	if strings.HasPrefix(text[i:], "\ufeff") {
		i = skipSpace(b, i+3)
	}
	if i >= len(b) || b[i] != '{' {
		return nil, errNotObject
	}
	var out []Member
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		i++
	} else {
		for {
			name, j, err := memberName(b, i)
			if err != nil {
				return nil, err
			}
			end, err := skipValue(b, j)
			if err != nil {
				return nil, err
			}
			out = append(out, Member{name, text[j:end]})
			i = skipSpace(b, end)
			if i < len(b) && b[i] == ',' {
				i = skipSpace(b, i+1)
				continue
			}
			if i < len(b) && b[i] == '}' {
				i++
				break
			}
			return nil, &SyntaxError{i, "want a comma or the end of the object"}
		}
	}
	if i = skipSpace(b, i); i != len(b) {
		return nil, &SyntaxError{i, "text after the object"}
	}
	return out, checkNames(out)
}

// checkNames refuses an object that gives a member twice: the framework takes
// the last, other readers the first.
func checkNames(members []Member) error {
	seen := make(map[string]bool, len(members))
	for i := range members {
		if seen[members[i].Name] {
			return errTwice
		}
		seen[members[i].Name] = true
	}
	return nil
}

// unquote decodes a JSON string literal.
func unquote(raw string) (string, error) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", fmt.Errorf("is not a string")
	}
	body := raw[1 : len(raw)-1]
	if strings.IndexByte(body, '\\') < 0 {
		return body, nil
	}
	b, err := unescape([]byte(body))
	if err != nil {
		return "", err
	}
	return string(b), nil
}

// EscapeForXML replaces the two characters that JSON allows and XML does not, in
// which messages travel: they would arrive as question marks. They can only be
// inside of strings.
func EscapeForXML(text []byte) []byte {
	text = bytes.ReplaceAll(text, []byte("\uFFFE"), []byte(`\ufffe`))
	return bytes.ReplaceAll(text, []byte("\uFFFF"), []byte(`\uffff`))
}

// DictionaryClass is the $type of tags in messages; rows have none.
const DictionaryClass = "System.Collections.Generic.Dictionary`2[[System.String, System.Private.CoreLib],[System.String, System.Private.CoreLib]]"

// FireAndForget reports whether tags mark a sub-orchestration whose parent does
// not wait for it. tags is their JSON.
//
// Source: durabletask 2.9.1, OrchestrationTags.cs, TaskOrchestrationDispatcher.cs:1086-1119;
// tags are a column since 2.9.0.
func FireAndForget(tags string) bool { return strings.Contains(tags, `"FireAndForget"`) }

// InstanceJSON returns the member OrchestrationInstance of an event in a message.
func InstanceJSON(instanceID, executionID string) Text {
	text := AppendJSONString([]byte(`{"$type":"DurableTask.Core.OrchestrationInstance","InstanceId":`), instanceID)
	text = append(text, `,"ExecutionId":`...)
	return TextOf(string(append(AppendJSONString(text, executionID), '}')))
}
