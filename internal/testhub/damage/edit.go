package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/schema"
)

const (
	second = schema.Ticks(10_000_000)
	minute = 60 * second
)

func (h *taskHub) row(table hub.Table, partitionKey, rowKey string) *schema.Row {
	rows := h.Tables[table]
	for i := range rows {
		if rows[i].PartitionKey == partitionKey && rows[i].RowKey == rowKey {
			return &rows[i]
		}
	}
	h.fail("no row %s/%s/%s", table, partitionKey, rowKey)
	return &schema.Row{}
}

func (h *taskHub) instance(id string) *schema.Row {
	return h.row(hub.Instances, schema.EscapeKey(id), "")
}

func (h *taskHub) event(id string, sequence int64) *schema.Row {
	return h.row(hub.History, schema.EscapeKey(id), schema.FormatSequence(sequence))
}

func (h *taskHub) sentinel(id string) *schema.Row {
	return h.row(hub.History, schema.EscapeKey(id), schema.SentinelRowKey)
}

func (h *taskHub) partition(n int) *schema.Row {
	return h.row(hub.Partitions, "", h.Names.ControlQueue(n))
}

// drop deletes the rows of a table that match.
func (h *taskHub) drop(table hub.Table, match func(*schema.Row) bool) {
	before := len(h.Tables[table])
	h.Tables[table] = slices.DeleteFunc(h.Tables[table], func(r schema.Row) bool { return match(&r) })
	if len(h.Tables[table]) == before {
		h.fail("nothing dropped from %s", table)
	}
}

func (h *taskHub) dropInstance(id string) {
	h.drop(hub.Instances, func(r *schema.Row) bool { return r.PartitionKey == schema.EscapeKey(id) })
}

func (h *taskHub) dropHistory(id string) {
	h.drop(hub.History, func(r *schema.Row) bool { return r.PartitionKey == schema.EscapeKey(id) })
}

func (h *taskHub) dropEvent(id, rowKey string) {
	h.drop(hub.History, func(r *schema.Row) bool { return r.PartitionKey == schema.EscapeKey(id) && r.RowKey == rowKey })
}

// purge removes an instance from both tables, and nothing else.
func (h *taskHub) purge(id string) {
	h.dropInstance(id)
	h.dropHistory(id)
}

// add puts another row into a table. [testhub.NewMemory] sorts.
func (h *taskHub) add(table hub.Table, r schema.Row) { h.Tables[table] = append(h.Tables[table], r) }

// insert makes room at a position of a history, by moving what follows, and puts
// a copy of another event of the same history there.
func (h *taskHub) insert(id string, at, like int64) *schema.Row {
	r := h.event(id, like).Clone()
	rows := h.Tables[hub.History]
	for i := range rows {
		n, ok := schema.ParseSequence(rows[i].RowKey)
		if ok && rows[i].PartitionKey == r.PartitionKey && n >= at {
			rows[i].RowKey = schema.FormatSequence(n + 1)
		}
	}
	r.RowKey = schema.FormatSequence(at)
	h.add(hub.History, r)
	return h.event(id, at)
}

func set(r *schema.Row, name, text string) { r.Set(name, schema.String(text)) }

func unset(r *schema.Row, names ...string) {
	for _, name := range names {
		r.Set(name, schema.Value{})
	}
}

func (h *taskHub) time(r *schema.Row, name string) schema.Ticks {
	t, ok := r.Get(name).Time()
	if !ok {
		h.fail("row %s/%s has no time %s", r.PartitionKey, r.RowKey, name)
	}
	return t
}

func (h *taskHub) string(r *schema.Row, name string) string {
	s, ok := r.Get(name).Text()
	if !ok {
		h.fail("row %s/%s has no text %s", r.PartitionKey, r.RowKey, name)
	}
	return s
}

// stored sets what the service notes of a write.
func stored(r *schema.Row, at schema.Ticks) {
	s := at.String()
	r.Timestamp, r.ETag = at, `W/"datetime'`+s[:13]+"%3A"+s[14:16]+"%3A"+s[17:]+`'"`
}

// cut takes an instance back to the checkpoint that ended with the first n rows:
// history, sentinel and, with what the framework writes at each checkpoint, its
// row.
func (h *taskHub) cut(id string, n int64) {
	last := h.time(h.event(id, n-1), "_Timestamp")
	h.drop(hub.History, func(r *schema.Row) bool {
		sequence, ok := schema.ParseSequence(r.RowKey)
		return ok && r.PartitionKey == schema.EscapeKey(id) && sequence >= n
	})
	s := h.sentinel(id)
	s.Set("CheckpointCompletedTimestamp", schema.DateTime(last+second/500))
	stored(s, last+second/250)
	h.reopen(id, n)
}

// reopen makes the row of an instance what it was after the checkpoint that
// ended with the first n rows of its history.
func (h *taskHub) reopen(id string, n int64) {
	last := h.time(h.event(id, n-1), "_Timestamp")
	r := h.instance(id)
	set(r, "RuntimeStatus", "Running")
	r.Set("LastUpdatedTime", schema.DateTime(last))
	unset(r, "Output", "CompletedTime")
	stored(r, last+second/125)
}

// terminate lets an instance end as another one did, whose last n rows say how.
func (h *taskHub) terminate(id, like string, n int64) {
	execution := h.string(h.sentinel(id), "ExecutionId")
	length, from := h.length(id), h.length(like)-n
	for i := range n {
		r := h.event(like, from+i).Clone()
		r.PartitionKey, r.RowKey = schema.EscapeKey(id), schema.FormatSequence(length+i)
		set(&r, "ExecutionId", execution)
		if h.string(&r, "EventType") == "ExecutionCompleted" {
			r.Set("EventId", schema.Int32(h.actions(id)))
		}
		h.add(hub.History, r)
	}
	s, ended := h.sentinel(id), h.sentinel(like)
	s.Set("CheckpointCompletedTimestamp", ended.Get("CheckpointCompletedTimestamp"))
	s.Timestamp, s.ETag = ended.Timestamp, ended.ETag
	r, model := h.instance(id), h.instance(like)
	for _, name := range []string{"RuntimeStatus", "Output", "CompletedTime", "LastUpdatedTime"} {
		r.Set(name, model.Get(name))
	}
	r.Timestamp, r.ETag = model.Timestamp, model.ETag
}

// length returns the number of events in the history of an instance.
func (h *taskHub) length(id string) (n int64) {
	for i := range h.Tables[hub.History] {
		r := &h.Tables[hub.History][i]
		if r.PartitionKey == schema.EscapeKey(id) && !r.IsSentinel() {
			n++
		}
	}
	return n
}

// actions returns the EventId of the next action of an instance.
func (h *taskHub) actions(id string) (next int32) {
	for i := range h.Tables[hub.History] {
		r := &h.Tables[hub.History][i]
		if r.PartitionKey != schema.EscapeKey(id) {
			continue
		}
		if n, ok := r.Get("EventId").Int(); ok {
			next = max(next, int32(n)+1)
		}
	}
	return next
}

// copyAs gives an instance a copy under another ID, with another execution.
func (h *taskHub) copyAs(id, other string) {
	old := h.string(h.sentinel(id), "ExecutionId")
	execution := "c0de" + old[4:]
	for _, table := range []hub.Table{hub.Instances, hub.History} {
		for _, r := range slices.Clone(h.Tables[table]) {
			if r.PartitionKey != schema.EscapeKey(id) {
				continue
			}
			r = r.Clone()
			r.PartitionKey = schema.EscapeKey(other)
			for i, p := range r.Properties {
				text, ok := p.Value.Text()
				if !ok {
					continue
				}
				text = strings.ReplaceAll(text, old, execution)
				if p.Name == "Name" || p.Name == "OrchestrationInstance" {
					text = strings.ReplaceAll(text, id, other)
				}
				r.Properties[i].Value = schema.String(text)
			}
			h.add(table, r)
		}
	}
}

// queued returns the messages for an instance, in the order of their queues.
func (h *taskHub) queued(id string, event schema.EventType) []*message {
	var found []*message
	for _, queue := range h.queueNames() {
		for i := range h.messages[queue] {
			m := &h.messages[queue][i]
			if target, _ := h.target(*m); target == id && h.decode(m).TaskMessage.Event.Type() == event {
				found = append(found, m)
			}
		}
	}
	if len(found) == 0 {
		h.fail("no message %s for %s", event, id)
		return []*message{{}}
	}
	return found
}

func (h *taskHub) queueNames() []string {
	names := make([]string, 0, len(h.messages))
	for name := range h.messages {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// decode decodes a message, which may be in a blob.
func (h *taskHub) decode(m *message) schema.Message {
	text, _, err := schema.MessageText(m.Text)
	if err != nil {
		h.fail("message %s: %w", m.ID, err)
	}
	v, err := schema.DecodeMessage(text, m.ID)
	if err == nil && v.TaskMessage == nil {
		v, err = schema.DecodeMessage(h.text(schema.StoredBlobName(v.CompressedBlobName.Value)), m.ID)
	}
	if err != nil || v.TaskMessage == nil {
		h.fail("message %s: not decoded: %w", m.ID, err)
		return schema.Message{TaskMessage: &schema.TaskMessage{Event: &schema.GenericEvent{}}}
	}
	return v
}

// lose removes a message. Pointers to others of its queue are no longer valid.
func (h *taskHub) lose(m *message) {
	queue, id := m.Queue, m.ID
	h.messages[queue] = slices.DeleteFunc(h.messages[queue], func(other message) bool { return other.ID == id })
}

// send puts a visible message into the control queue of an instance. Only an
// answer, a timer or a start names the execution that it is for; sender is nil
// for a client.
func (h *taskHub) send(id, execution string, sender *schema.OrchestrationInstance, e schema.Event) *message {
	h.made++
	v := schema.Message{
		ActivityID: fmt.Sprintf("ac710000-0000-4000-8000-%012d", h.made),
		TaskMessage: &schema.TaskMessage{
			Event: e, OrchestrationInstance: schema.OrchestrationInstance{InstanceID: id},
		},
		SequenceNumber: int64(1000 + h.made),
		Sender:         sender,
	}
	if execution != "" {
		v.TaskMessage.OrchestrationInstance.ExecutionID = schema.Some(execution)
	}
	if sender == nil {
		v.Sender = &schema.OrchestrationInstance{ExecutionID: schema.Some("")}
	} else {
		v.Episode = schema.Some(int64(1))
	}
	queue := h.Names.ControlQueue(schema.Partition(id, h.PartitionCount))
	forever, err := schema.ParseTicks("9999-12-31T23:59:59Z")
	if err != nil {
		h.fail("%w", err)
	}
	at := e.Header().Timestamp
	m := message{QueueMessage: schema.QueueMessage{
		Queue: queue, ID: fmt.Sprintf("3e550000-0000-4000-8000-%012d", h.made),
		InsertedAt: at - at%second, ExpiresAt: forever, DequeueCount: 1, Text: string(v.AppendJSON(nil)),
	}}
	h.messages[queue] = append(h.messages[queue], m)
	return &h.messages[queue][len(h.messages[queue])-1]
}

// header is that of an event which arrives as a message.
func header(at schema.Ticks) schema.EventHeader {
	return schema.EventHeader{EventID: -1, Timestamp: at}
}

// sendEvent sends the event go, as a client does.
func (h *taskHub) sendEvent(id string) *message {
	return h.send(id, "", nil, &schema.EventRaised{
		EventHeader: header(h.finished - second), Name: schema.TextOf("go"), Input: schema.TextOf(`"now"`),
	})
}

// sendStart sends the message that started a child, once more.
func (h *taskHub) sendStart(parent, child string) *message {
	p, c := h.sentinel(parent), h.sentinel(child)
	parentExecution, execution := h.string(p, "ExecutionId"), h.string(c, "ExecutionId")
	const instance = `{"$type":"DurableTask.Core.OrchestrationInstance","InstanceId":%q,"ExecutionId":%q}`
	start := h.event(child, 1)
	at := h.time(start, "_Timestamp")
	return h.send(child, execution,
		&schema.OrchestrationInstance{InstanceID: parent, ExecutionID: schema.Some(parentExecution)},
		&schema.ExecutionStarted{
			EventHeader:           header(at),
			OrchestrationInstance: schema.TextOf(fmt.Sprintf(instance, child, execution)),
			ParentInstance: schema.TextOf(`{"$type":"DurableTask.Core.ParentInstance","Name":"Parent","OrchestrationInstance":` +
				fmt.Sprintf(instance, parent, parentExecution) + `,"TaskScheduleId":0,"Version":""}`),
			Name: schema.TextOf(h.string(start, "Name")), Version: schema.Some(""), Input: schema.TextOf(h.string(start, "Input")),
		})
}

// pack returns a text as the framework stores it in a blob.
func pack(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text)) // to memory
	_ = z.Close()
	return b.Bytes()
}

func (h *taskHub) setBlob(name string, data []byte) {
	b := h.blob(name)
	b.Data, b.SizeBytes = data, int64(len(data))
}

func (h *taskHub) dropBlob(container, name string) {
	before := len(h.Blobs)
	h.Blobs = slices.DeleteFunc(h.Blobs, func(b hubtest.Blob) bool { return b.Container == container && b.Name == name })
	if len(h.Blobs) == before {
		h.fail("no blob %s/%s", container, name)
	}
}
