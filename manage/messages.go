package manage

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Message is a message that waits in a queue of the hub, decoded.
type Message struct {
	Stored schema.QueueMessage
	// Position counts the visible messages of the queue from 1, the next to be
	// taken first.
	Position int
	// Blob is the blob that holds the message, if the one in the queue is only a
	// wrapper. Message is then the one in the blob.
	Blob    string
	Message schema.Message
	// InstanceID is the instance that the message is for; empty if it cannot be told.
	InstanceID string
	// EventType is such as TaskScheduled; empty if the message cannot be read.
	EventType string
	// Name is the function that a message starts, or the event that it raises.
	Name string
	// DueAt is when a timer fires or a start or signal is scheduled; zero
	// otherwise. A long timer takes several steps: it is the time of this one.
	DueAt schema.Ticks
	// Problem is why the message could not be read, or not in full.
	Problem error
}

// Purpose says in words what the message makes a worker do.
func (m *Message) Purpose() string {
	name := m.Name
	if name == "" {
		name = "?"
	}
	if m.Message.TaskMessage == nil {
		return "unreadable"
	}
	switch e := m.Message.TaskMessage.Event.(type) {
	case *schema.ExecutionStarted:
		return "start " + name
	case *schema.TaskScheduled:
		return "run activity " + name
	case *schema.TaskCompleted:
		return fmt.Sprintf("result of task %d", e.TaskScheduledID)
	case *schema.TaskFailed:
		return fmt.Sprintf("failure of task %d", e.TaskScheduledID)
	case *schema.SubOrchestrationCompleted:
		return fmt.Sprintf("result of sub-orchestration %d", e.TaskScheduledID)
	case *schema.SubOrchestrationFailed:
		return fmt.Sprintf("failure of sub-orchestration %d", e.TaskScheduledID)
	case *schema.TimerFired:
		return fmt.Sprintf("timer %d", e.TimerID)
	case *schema.EventRaised:
		switch {
		case !schema.IsEntity(m.InstanceID):
			return "event " + name
		case strings.HasPrefix(name, "op"):
			return entityOperation(e.Input.Value)
		case name == "release":
			return "release lock"
		}
		return "entity event " + name
	case *schema.ExecutionTerminated:
		return "terminate"
	case *schema.ExecutionSuspended:
		return "suspend"
	case *schema.ExecutionResumed:
		return "resume"
	case *schema.GenericEvent:
		return "rewind"
	}
	return m.EventType
}

// entityOperation says what the input of an event called op asks for.
func entityOperation(input string) string {
	r, err := schema.DecodeEntityRequest(input)
	switch {
	case err != nil:
		return "operation"
	case r.LockSet != nil:
		return "lock"
	case r.Signal:
		return "signal " + operationName(&r)
	}
	return "call " + operationName(&r)
}

// operationName returns the name of an operation, which clients may leave empty.
func operationName(r *schema.EntityRequest) string {
	if r.Operation.Value == "" {
		return `""`
	}
	return r.Operation.Value
}

// Messages streams the messages of a queue that can be seen, in queue order,
// with the messages that wrappers stand for. What cannot be read is a Problem of
// the message and does not end the stream.
func (q *Query) Messages(ctx context.Context, queue string) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		position := 0
		for stored, err := range q.r.Messages(ctx, queue) {
			if err != nil {
				yield(Message{}, err)
				return
			}
			position++
			m := Message{Stored: stored, Position: position}
			if err := q.decode(ctx, &m); err != nil {
				yield(Message{}, err)
				return
			}
			if !yield(m, nil) {
				return
			}
		}
	}
}

// decode fills in what the stored text tells. Only the end of ctx is an error.
func (q *Query) decode(ctx context.Context, m *Message) error {
	loaded, err := hub.LoadMessage(ctx, q.r, q.container, &m.Stored, q.opts.MaxPayloadBytes)
	m.Message = loaded.Message
	// A wrapper that cannot be read in full may still tell its blob.
	m.Blob = schema.StoredBlobName(cmp.Or(loaded.Blob, loaded.CompressedBlobName.Value))
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		m.Problem = fmt.Errorf("message %d of %s: %w", m.Position, m.Stored.Queue, err)
	}
	t := m.Message.TaskMessage
	if t == nil {
		if b, ok := schema.ParseBlobName(m.Blob); ok && b.Message {
			m.InstanceID, m.EventType = b.InstanceID(), b.EventType // as far as the blob's name tells
		}
		return nil
	}
	m.InstanceID = t.OrchestrationInstance.InstanceID
	switch e := t.Event.(type) {
	case nil:
		return nil
	case *schema.UnknownEvent:
		m.EventType = e.Name
		return nil
	case *schema.ExecutionStarted:
		m.Name, m.DueAt = e.Name.Value, e.ScheduledStartTime.Value
	case *schema.TaskScheduled:
		m.Name = e.Name.Value
	case *schema.EventRaised:
		m.Name = e.Name.Value
		// A delayed signal: op@2026-11-22T05:08:25.7095913Z.
		if at, ok := strings.CutPrefix(m.Name, "op@"); ok && schema.IsEntity(m.InstanceID) {
			m.DueAt, _ = schema.ParseTicks(at)
		}
	case *schema.TimerFired:
		m.DueAt = e.FireAt
	}
	m.EventType = t.Event.Type().String()
	return nil
}
