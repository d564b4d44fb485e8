package explain

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// queues is what can be seen of all queues of a hub.
type queues struct {
	names      hub.Names
	partitions int // 0 if unknown
	unreadable string
	// moving says that messages may have been on their way while this was read:
	// of a capture that was taken while an app was running.
	moving bool

	byName map[string]*Queue
	order  []string
	// byInstance holds the messages for each instance; of a work item that is
	// the orchestration which scheduled it.
	byInstance map[string][]Message
	kept       int
	dropped    int64
}

// readQueues peeks at every queue once. Work items come first: when a worker
// moves on from one to its result while this reads, the result is seen.
//
// The service's counts and what can be seen are not of one moment. They are
// taken before and after, and the larger one counts: a message must not be
// called lost because another one came or went.
func (e *explainer) readQueues(ctx context.Context) (*queues, error) {
	qs := &queues{
		names: e.info.Names, partitions: e.info.PartitionCount,
		byName: make(map[string]*Queue), byInstance: make(map[string][]Message),
	}
	for _, u := range e.info.Unreadable {
		if strings.HasPrefix(u.Artifact, "queue") {
			qs.unreadable = u.Artifact + ": " + u.Reason
		}
	}
	found, err := e.r.Queues(ctx)
	if err != nil {
		return nil, fmt.Errorf("list queues: %w", err)
	}
	slices.SortStableFunc(found, func(a, b hub.Queue) int {
		return boolOrder(a.Name == qs.names.WorkItemQueue(), b.Name == qs.names.WorkItemQueue())
	})
	for _, q := range found {
		view := &Queue{Queue: q, Exists: true}
		view.Uncounted = e.info.WhyUnreadable("queue "+q.Name) != ""
		qs.byName[q.Name] = view
		qs.order = append(qs.order, q.Name)
		for m, err := range e.q.Messages(ctx, q.Name) {
			if err != nil {
				return nil, fmt.Errorf("read queue %s: %w", q.Name, err)
			}
			view.Seen++
			if at := m.Stored.InsertedAt; at != 0 && (view.OldestInserted == 0 || at < view.OldestInserted) {
				view.OldestInserted = at
			}
			view.MaxDequeueCount = max(view.MaxDequeueCount, m.Stored.DequeueCount)
			qs.keep(&m)
		}
	}
	if !e.captured() {
		if found, err = e.r.Queues(ctx); err != nil {
			return nil, fmt.Errorf("list queues: %w", err)
		}
	}
	for _, q := range found {
		if view := qs.byName[q.Name]; view != nil {
			view.ApproximateCount = max(view.ApproximateCount, q.ApproximateCount)
			view.Room = max(view.ApproximateCount-view.Seen, 0)
		}
	}
	slices.Sort(qs.order)
	return qs, nil
}

func boolOrder(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return -1
	}
	return 1
}

// keep notes a message without its payload.
func (qs *queues) keep(m *manage.Message) {
	if qs.kept == MaxMessages {
		qs.dropped++
		return
	}
	qs.kept++
	s := Message{
		Queue: m.Stored.Queue, ID: m.Stored.ID, Position: m.Position,
		InstanceID: strings.Clone(m.InstanceID), EventType: m.EventType,
		Name: clip(m.Name), Purpose: clip(m.Purpose()),
		InsertedAt: m.Stored.InsertedAt, DueAt: m.DueAt, DequeueCount: m.Stored.DequeueCount,
		eventType: schema.EventTypeNamed(m.EventType), taskID: -1,
	}
	if m.Problem != nil {
		s.Problem = m.Problem.Error()
	}
	if control := qs.controlQueue(m.InstanceID); strings.HasPrefix(s.Queue, qs.names.ControlQueuePrefix()) && control != "" {
		s.Misplaced = s.Queue != control
	}
	if t := m.Message.TaskMessage; t != nil {
		s.ExecutionID = strings.Clone(t.OrchestrationInstance.ExecutionID.Value)
		s.taskID, s.requestID = answers(t.Event)
		if v, ok := t.Event.(*schema.ExecutionStarted); ok {
			if p, err := schema.ParseParentInstance(v.ParentInstance); err == nil && p != nil {
				s.parent = strings.Clone(p.OrchestrationInstance.InstanceID)
			}
		}
	}
	qs.byInstance[s.InstanceID] = append(qs.byInstance[s.InstanceID], s)
}

// answers returns the number of the action that an event answers, or is, and the
// ID of the entity operation in it.
func answers(event schema.Event) (taskID int32, requestID string) {
	switch v := event.(type) {
	case *schema.TaskScheduled:
		return v.EventID, ""
	case *schema.TaskCompleted:
		return v.TaskScheduledID, ""
	case *schema.TaskFailed:
		return v.TaskScheduledID, ""
	case *schema.SubOrchestrationCompleted:
		return v.TaskScheduledID, ""
	case *schema.SubOrchestrationFailed:
		return v.TaskScheduledID, ""
	case *schema.TimerFired:
		return v.TimerID, ""
	case *schema.ExecutionStarted:
		if p, err := schema.ParseParentInstance(v.ParentInstance); err == nil && p != nil {
			return p.TaskScheduleID, ""
		}
	case *schema.EventRaised:
		if isRequest(v.Name.Value) {
			if r, err := schema.DecodeEntityRequest(v.Input.Value); err == nil {
				return -1, strings.Clone(r.ID)
			}
		}
	}
	return -1, ""
}

// isRequest reports whether an event of this name asks an entity for something.
//
// Source: durabletask 2.9.1, TaskEntityDispatcher.cs:478-607.
func isRequest(name string) bool { return strings.HasPrefix(name, "op") }

// controlQueue returns the name of the control queue of an instance; empty if
// the hub's partition count is not known.
func (qs *queues) controlQueue(instanceID string) string {
	if qs.partitions < 1 {
		return ""
	}
	return qs.names.ControlQueue(schema.Partition(instanceID, qs.partitions))
}

// messages returns the messages for an instance in the order of queues and
// positions.
func (qs *queues) messages(instanceID string) []Message {
	all := qs.byInstance[instanceID]
	slices.SortStableFunc(all, func(a, b Message) int {
		if c := strings.Compare(a.Queue, b.Queue); c != 0 {
			return c
		}
		return a.Position - b.Position
	})
	return all
}

// locate looks for a message that must exist as of now.
func (qs *queues) locate(s *Sought, now schema.Ticks) {
	if s.Found = qs.find(s); s.Found != nil {
		s.Where = Visible
		return
	}
	q := qs.byName[s.Queue]
	switch {
	case s.Queue == "" || q == nil && qs.unreadable != "":
		s.Where = Unknown
	case qs.dropped > 0:
		s.Where = Possible // it may be among those that were not kept
	case q.full() && qs.moving && s.DueAt <= now:
		s.Where = Unknown
	case q.full():
		s.Where = Lost
	case s.DueAt > now && now != 0:
		s.Where = Hidden
	default:
		s.Where = Possible
	}
}

// full reports whether nothing can be in a queue beside what can be seen.
func (q *Queue) full() bool { return q == nil || q.Room == 0 && !q.Uncounted }

func (qs *queues) find(s *Sought) *Message {
	all := qs.byInstance[s.InstanceID]
	var maybe *Message
	for i := range all {
		m := &all[i]
		switch {
		case !slices.Contains(s.Types, m.eventType):
		case m.Problem != "" && m.ExecutionID == "":
			// A wrapper whose blob cannot be read tells whom it is for and what
			// it is, and not more.
			maybe = m
		case s.ExecutionID != "" && m.ExecutionID != "" && m.ExecutionID != s.ExecutionID:
		case s.TaskID >= 0 && m.taskID != s.TaskID:
		case s.Name != "" && m.Name != s.Name:
		case s.RequestID != "" && m.requestID != s.RequestID:
		default:
			return m
		}
	}
	return maybe
}

// conclude sums up where the message is that an await needs, any one of those
// that it seeks.
func (qs *queues) conclude(a *Await, now schema.Ticks) {
	if len(a.Messages) == 0 {
		return
	}
	a.Where = Lost
	for i := range a.Messages {
		s := &a.Messages[i]
		qs.locate(s, now)
		if certainty(s.Where) < certainty(a.Where) {
			a.Where = s.Where
		}
	}
	a.Why = qs.reason(a)
}

// places are in the order of their certainty, as in the documentation of [Where].
var places = [...]Where{Visible, Received, Running, Hidden, Possible, Unknown, Lost}

func certainty(w Where) int { return slices.Index(places[:], w) }

// reason says what a conclusion rests on.
func (qs *queues) reason(a *Await) string {
	var names []string
	for i := range a.Messages {
		s := &a.Messages[i]
		if s.Where != a.Where {
			continue
		}
		if s.Where == Visible {
			return seenText(s.Found)
		}
		if s.Queue != "" && !slices.Contains(names, s.Queue) {
			names = append(names, s.Queue)
		}
	}
	in := strings.Join(names, " or ")
	switch a.Where {
	case Hidden:
		return "invisible in " + in + " until it is due"
	case Possible:
		return "may be in " + in + ", where " + qs.roomText(names)
	case Lost:
		return "not in " + in + ": " + qs.roomText(names)
	case Unknown:
		switch {
		case len(names) == 0:
			return "the number of partitions is not known, and so neither is its queue"
		case qs.unreadable != "":
			return "not known: " + qs.unreadable
		}
		return "not in " + in + ", but the hub was captured while an app was running: it may have been on its way"
	}
	return ""
}

func seenText(m *Message) string {
	text := fmt.Sprintf("message %d of %s", m.Position, m.Queue)
	switch {
	case m.DequeueCount == 1:
		text += ", taken once before"
	case m.DequeueCount > 1:
		text += fmt.Sprintf(", taken %d times before", m.DequeueCount)
	}
	if m.Misplaced {
		text += ", which is not its queue"
	}
	return text
}

// roomText says how much of some queues cannot be seen.
func (qs *queues) roomText(names []string) string {
	room, missing, uncounted := int64(0), 0, false
	for _, n := range names {
		if q := qs.byName[n]; q != nil {
			room += q.Room
			uncounted = uncounted || q.Uncounted
		} else {
			missing++
		}
	}
	switch {
	case uncounted:
		return "how many messages cannot be seen is not known"
	case missing == len(names):
		return "the queue does not exist"
	case room == 0:
		return "every message there can be seen"
	case room == 1:
		return "1 message cannot be seen"
	}
	return fmt.Sprintf("%d messages cannot be seen", room)
}

// shortfalls compares what must be out of sight with what there is room for.
//
// Take any set of queues: what can only be in these queues cannot be more than
// they have room for together. Looking at the sets that awaits name is enough to
// find a shortage, if not always the whole of it.
func (qs *queues) shortfalls(wants map[string]int64) []Shortfall {
	var out []Shortfall
	for set := range wants {
		names := strings.Split(set, "\n")
		s := Shortfall{Queues: names}
		for other, n := range wants {
			if !slices.ContainsFunc(strings.Split(other, "\n"), func(name string) bool { return !slices.Contains(names, name) }) {
				s.Awaited += n
			}
		}
		for _, n := range names {
			if q := qs.byName[n]; q != nil {
				s.Room += q.Room
			}
		}
		uncounted := slices.ContainsFunc(names, func(n string) bool { q := qs.byName[n]; return q != nil && q.Uncounted })
		if s.Lost = s.Awaited - s.Room; s.Lost > 0 && !uncounted {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Shortfall) int {
		if a.Lost != b.Lost {
			return int(b.Lost - a.Lost)
		}
		return slices.Compare(a.Queues, b.Queues)
	})
	return out
}

// queueSet names the queues that an await may have its message in.
func queueSet(a *Await) string {
	var names []string
	for i := range a.Messages {
		names = append(names, a.Messages[i].Queue)
	}
	slices.Sort(names)
	return strings.Join(slices.Compact(names), "\n")
}

// maxName bounds names that are kept, in bytes; the framework's are far shorter.
const maxName = 500

// clip copies a name, and cuts one that is too long to be one.
func clip(s string) string {
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[:maxName], "") + "…"
	}
	return strings.Clone(s)
}
