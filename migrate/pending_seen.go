package migrate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// seenMessage is what identifies a message that can be seen.
type seenMessage struct {
	kind      schema.EventType
	execution string
	taskID    int32 // -1 if it answers or is no numbered action
	// name is that of an event, request the ID in a request to an entity, parent
	// the instance that a start is from.
	name, request, parent string
	at                    schema.Ticks // of an event
}

// seenMessages holds them by instance.
type seenMessages map[string][]seenMessage

// has reports whether a message for an instance can be seen that ok accepts, and
// that is for the execution or for any.
func (s seenMessages) has(instanceID, execution string, ok func(*seenMessage) bool) bool {
	return slices.ContainsFunc(s[instanceID], func(m seenMessage) bool {
		return (m.execution == "" || execution == "" || m.execution == execution) && ok(&m)
	})
}

// hasStart reports whether the message that starts a sub-orchestration for an
// event of its parent can be seen.
func (s seenMessages) hasStart(instanceID, parent string, eventID int32) bool {
	return s.has(instanceID, "", func(m *seenMessage) bool {
		return m.kind == schema.TypeExecutionStarted && m.parent == parent && m.taskID == eventID
	})
}

// hasTask reports whether a message of one of these types about an action can be
// seen.
func (s seenMessages) hasTask(instanceID, execution string, taskID int32, kinds ...schema.EventType) bool {
	return s.has(instanceID, execution, func(m *seenMessage) bool { return m.taskID == taskID && slices.Contains(kinds, m.kind) })
}

// peek gives out what can be seen of all queues, and counts what cannot.
func (p *pending) peek(ctx context.Context) error {
	p.seen, p.hidden = make(seenMessages), make(map[string]int64)
	queues, err := p.r.Queues(ctx)
	if err != nil {
		return fmt.Errorf("list queues: %w", err)
	}
	for _, q := range queues {
		n := int64(0)
		for m, err := range p.r.Messages(ctx, q.Name) {
			if err != nil {
				return fmt.Errorf("read queue %s: %w", q.Name, err)
			}
			n++
			if err := p.carry(ctx, &m); err != nil {
				return err
			}
		}
		p.hidden[q.Name] = max(0, q.ApproximateCount-n)
	}
	return nil
}

// carry gives out a message that can be seen, as it is.
func (p *pending) carry(ctx context.Context, q *schema.QueueMessage) error {
	loaded, err := hub.LoadMessage(ctx, p.r, p.info.Names.LargeMessages(), q, p.opts.MaxBlobBytes)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	i := Item{
		Kind: KindOther, Origin: Seen, EventID: -1, DueAt: q.VisibleAt, SeenIn: strings.Clone(q.Queue), MessageID: strings.Clone(q.ID),
		Why: "can be seen in " + q.Queue,
	}
	if i.Text, _, _ = schema.MessageText(q.Text); i.Text == "" {
		i.Text = q.Text
	}
	i.Text = strings.Clone(i.Text)
	if i.Blob = loaded.Blob; i.Blob == "" && loaded.TaskMessage == nil {
		i.Blob = loaded.CompressedBlobName.Value
	}
	i.Blob = strings.Clone(i.Blob)
	guessed := false
	if t := loaded.TaskMessage; t != nil {
		i.InstanceID = strings.Clone(t.OrchestrationInstance.InstanceID)
		i.ExecutionID = strings.Clone(t.OrchestrationInstance.ExecutionID.Value)
	} else if b, ok := schema.ParseBlobName(i.Blob); ok && b.Message {
		i.InstanceID = b.InstanceID()
		guessed = strings.Contains(i.InstanceID, "/") // where a \ may have been
	}
	switch {
	case err != nil:
		i.Why += "; " + problem(err)
		// A start that is only too large to be looked at is there all the same.
		if b, ok := schema.ParseBlobName(i.Blob); ok && !errors.Is(err, hub.ErrNotFound) {
			p.seen[i.InstanceID] = append(p.seen[i.InstanceID], seenMessage{kind: schema.EventTypeNamed(b.EventType), taskID: -1})
		}
	case loaded.TaskMessage == nil || loaded.TaskMessage.Event == nil:
		i.Why += "; it has no event"
	default:
		m := loaded.Message
		i.Message = &m
		s := identify(m.TaskMessage)
		i.Kind, i.Name = kindOf(m.TaskMessage), s.name
		if s.taskID >= 0 {
			i.EventID = s.taskID
		}
		p.seen[i.InstanceID] = append(p.seen[i.InstanceID], s)
	}
	i.Queue = p.queueOf(&i, q.Queue)
	if p.opts.Select != nil {
		return p.carryChosen(ctx, &i, guessed)
	}
	return p.give(&i)
}

// problem says why a message cannot be read, without the ID of the request.
func problem(err error) string {
	if errors.Is(err, hub.ErrNotFound) {
		return "its blob does not exist"
	}
	return err.Error()
}

// queueOf returns the target's queue for a message from a queue of the source. One
// whose instance cannot be told keeps its number if there is such a queue.
func (p *pending) queueOf(i *Item, from string) string {
	if from == p.info.Names.WorkItemQueue() {
		return p.opts.Names.WorkItemQueue()
	}
	if i.InstanceID != "" {
		return p.control(i.InstanceID)
	}
	number, err := strconv.Atoi(strings.TrimPrefix(from, p.info.Names.ControlQueuePrefix()))
	if err != nil || number < 0 {
		number = 0
	}
	return p.opts.Names.ControlQueue(number % p.opts.Partitions)
}

// control returns the target's control queue of an instance.
func (p *pending) control(instanceID string) string {
	return p.opts.Names.ControlQueue(schema.Partition(instanceID, p.opts.Partitions))
}

// hiddenFor counts what cannot be seen in the source's queue of an instance.
func (p *pending) hiddenFor(instanceID string) int64 {
	n := p.info.PartitionCount
	if p.opts.WithoutQueues || n < 1 {
		return 1 // nobody knows
	}
	return p.hidden[p.info.Names.ControlQueue(schema.Partition(instanceID, n))]
}

// identify returns what tells a message from others.
func identify(t *schema.TaskMessage) seenMessage {
	s := seenMessage{kind: t.Event.Type(), execution: strings.Clone(t.OrchestrationInstance.ExecutionID.Value), taskID: -1}
	switch v := t.Event.(type) {
	case *schema.TaskScheduled:
		s.taskID, s.name = v.EventID, strings.Clone(v.Name.Value)
	case *schema.TaskCompleted:
		s.taskID = v.TaskScheduledID
	case *schema.TaskFailed:
		s.taskID = v.TaskScheduledID
	case *schema.SubOrchestrationCompleted:
		s.taskID = v.TaskScheduledID
	case *schema.SubOrchestrationFailed:
		s.taskID = v.TaskScheduledID
	case *schema.TimerFired:
		s.taskID = v.TimerID
	case *schema.ExecutionStarted:
		s.name = strings.Clone(v.Name.Value)
		if parent, err := schema.ParseParentInstance(v.ParentInstance); err == nil && parent != nil {
			s.taskID, s.parent = parent.TaskScheduleID, strings.Clone(parent.OrchestrationInstance.InstanceID)
		}
	case *schema.EventRaised:
		s.name, s.at = strings.Clone(v.Name.Value), v.Timestamp
		if schema.IsEntity(t.OrchestrationInstance.InstanceID) {
			if r, err := schema.DecodeEntityRequest(v.Input.Value); r.ID != "" && (err == nil || v.Name.Value == releaseEvent) {
				s.request = strings.Clone(r.ID)
			}
		}
	}
	return s
}

// The names of events to entities; see [schema.EntityRequest].
//
// Source: durabletask 2.9.1, EntityMessageEventNames.cs, TaskEntityDispatcher.cs:478-607.
const (
	requestEvent  = "op"
	releaseEvent  = "release"
	continueEvent = "continue"
)

// kindOf classifies a message.
func kindOf(t *schema.TaskMessage) Kind {
	switch v := t.Event.(type) {
	case *schema.ExecutionStarted:
		if v.ParentInstance.IsNull() {
			return KindStart
		}
		return KindChildStart
	case *schema.TaskScheduled:
		return KindActivity
	case *schema.TaskCompleted, *schema.TaskFailed:
		return KindActivityEnd
	case *schema.TimerFired:
		return KindTimer
	case *schema.SubOrchestrationCompleted, *schema.SubOrchestrationFailed:
		return KindChildAnswer
	case *schema.ExecutionTerminated, *schema.ExecutionSuspended, *schema.ExecutionResumed:
		return KindControl
	case *schema.GenericEvent:
		return KindWakeUp
	case *schema.EventRaised:
		switch name := v.Name.Value; {
		case !schema.IsEntity(t.OrchestrationInstance.InstanceID):
			return KindEvent
		case strings.HasPrefix(name, requestEvent+"@"):
			return KindEntitySignal
		case strings.HasPrefix(name, requestEvent):
			return KindEntityRequest
		case name == releaseEvent:
			return KindRelease
		}
		return KindContinue
	}
	return KindOther
}
