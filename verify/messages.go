package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// pendingMessage is a message that was seen in a queue.
type pendingMessage struct {
	Stored   schema.QueueMessage // without Text
	Position int                 // in its queue, from 1
	// InstanceID is the instance that the message is for; empty if it cannot be
	// told. Of a message that cannot be read it is what the name of its blob says.
	InstanceID string
	// ExecutionID is that of the target; empty where any is meant.
	ExecutionID string
	// Event is nil if the message cannot be read. Texts of an event that is kept
	// in a blob are dropped.
	Event schema.Event
	// Request is the entity request of an EventRaised that is for an entity: an
	// operation, a lock request or a release. nil if it is none or cannot be read.
	// What is passed to the operation is dropped.
	Request *schema.EntityRequest
	Blob    string // stored name of the blob of a wrapper
	// Problem is why the message could not be read, or not in full.
	Problem error

	// unknown names what this package does not know of the message; empty if it
	// knows everything.
	unknown string
}

// place is where the message is.
func (m *pendingMessage) place() Place {
	return Place{Queue: m.Stored.Queue, MessageID: m.Stored.ID}
}

// start returns the event of a message that starts an orchestration, else nil.
func (m *pendingMessage) start() *schema.ExecutionStarted {
	e, _ := m.Event.(*schema.ExecutionStarted)
	return e
}

// maxMessageBytes bounds what is kept of messages. A live queue shows 32 of at
// most 64 KiB, a hub has at most 17 queues: it is enough for all of those.
const maxMessageBytes = 48 << 20

// messageOverhead is about what a small message needs beside its text.
const messageOverhead = 512

// messageIndex holds the messages that can be seen. It takes up to 48 MiB; of a
// capture that was made with more messages than that, the rest counts as hidden.
type messageIndex struct {
	info  hub.Info
	names hub.Names
	// count is the number of partitions by which messages are sent; 0 if unknown.
	count int
	// claims are the numbers of partitions that any part of the hub gives.
	claims []int

	// partitions is what tells who owns the queues, read right after them.
	partitions *partitions

	queues   []queueState // by name
	all      []*pendingMessage
	control  map[string][]*pendingMessage // by instance, in the order of queues
	activity map[string][]*pendingMessage
	// bytes is about what is kept, limit what it may come to.
	bytes, limit int64
	// targets are the instances of messages that were looked up: few, as the
	// messages that can be seen are.
	targets map[string]*target
}

// queueState is what is known of one queue.
type queueState struct {
	hub.Queue
	read   int64 // messages that could be seen and read
	unread int64 // messages that could be seen and not read, or were not kept
	// dropped messages could be seen and were not kept.
	dropped int64
	// oldest is the earliest time of a message that can be seen; 0 without one.
	oldest schema.Ticks
}

// loadMessages reads what can be seen of all queues.
func (v *run) loadMessages(ctx context.Context) error {
	m, err := v.peek(ctx)
	if err != nil {
		return err
	}
	v.messages = m
	return nil
}

func newMessageIndex(info hub.Info, limit int64) *messageIndex {
	return &messageIndex{
		info: info, names: info.Names, count: info.PartitionCount, limit: limit,
		control: make(map[string][]*pendingMessage), activity: make(map[string][]*pendingMessage),
		targets: make(map[string]*target),
	}
}

// peek takes one look at the queues and their owners.
func (v *run) peek(ctx context.Context) (*messageIndex, error) {
	m := newMessageIndex(v.info, maxMessageBytes)
	// The counts come first: a message that is taken between then looks hidden,
	// and not lost.
	queues, err := v.r.Queues(ctx)
	if err != nil {
		return nil, fmt.Errorf("list queues: %w", err)
	}
	for _, q := range queues {
		m.queues = append(m.queues, queueState{Queue: q})
	}
	slices.SortFunc(m.queues, func(a, b queueState) int { return cmp.Compare(a.Name, b.Name) })
	for i := range m.queues {
		if err := v.peekQueue(ctx, m, &m.queues[i]); err != nil {
			return nil, fmt.Errorf("read queue %s: %w", m.queues[i].Name, err)
		}
	}
	if m.partitions, err = v.loadPartitions(ctx); err != nil {
		return nil, err
	}
	m.claims = m.partitions.claims(m.count, m.queueNumbers())
	return m, nil
}

func (v *run) peekQueue(ctx context.Context, m *messageIndex, q *queueState) error {
	position := 0
	for stored, err := range v.r.Messages(ctx, q.Name) {
		if err != nil {
			return err
		}
		position++
		if stored.InsertedAt != 0 && (q.oldest == 0 || stored.InsertedAt < q.oldest) {
			q.oldest = stored.InsertedAt
		}
		if m.bytes+int64(len(stored.Text)) > m.limit {
			q.unread++
			q.dropped++
			continue
		}
		p, err := v.decode(ctx, &stored)
		if err != nil {
			return err
		}
		p.Position = position
		m.bytes += messageOverhead
		if p.Blob == "" {
			m.bytes += int64(len(stored.Text)) // the event shares its memory
		}
		m.add(p, q)
	}
	return nil
}

func (m *messageIndex) add(p *pendingMessage, q *queueState) {
	m.all = append(m.all, p)
	if p.Event == nil {
		q.unread++
		return
	}
	q.read++
	index := m.control
	if q.Name == m.names.WorkItemQueue() {
		index = m.activity
	}
	index[p.InstanceID] = append(index[p.InstanceID], p)
}

// decode reads a message. Only the end of ctx is an error.
func (v *run) decode(ctx context.Context, stored *schema.QueueMessage) (*pendingMessage, error) {
	loaded, err := hub.LoadMessage(ctx, v.r, v.info.Names.LargeMessages(), stored, v.opts.MaxBlobBytes)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	p := &pendingMessage{Stored: *stored, Problem: err}
	p.Stored.Text, p.Stored.ID, p.Stored.Queue = "", strings.Clone(stored.ID), strings.Clone(stored.Queue)
	p.Blob = strings.Clone(schema.StoredBlobName(cmp.Or(loaded.Blob, loaded.CompressedBlobName.Value)))
	t := loaded.TaskMessage
	if err != nil || t == nil || t.Event == nil {
		if err == nil {
			p.Problem = errNoMessage
		}
		if t != nil {
			p.InstanceID = strings.Clone(t.OrchestrationInstance.InstanceID)
		} else if b, ok := schema.ParseBlobName(p.Blob); ok && b.Message {
			p.InstanceID = b.InstanceID()
		}
		return p, nil
	}
	p.InstanceID = strings.Clone(t.OrchestrationInstance.InstanceID)
	p.ExecutionID = strings.Clone(t.OrchestrationInstance.ExecutionID.Value)
	p.Event = t.Event
	p.unknown = strings.Clone(unknownOf(&loaded.Message))
	if e, ok := t.Event.(*schema.EventRaised); ok && schema.IsEntity(p.InstanceID) {
		if r, err := schema.DecodeEntityRequest(e.Input.Value); err == nil {
			p.Request = slimRequest(&r)
		}
	}
	if p.Blob != "" {
		p.Event = slimEvent(t.Event)
	}
	return p, nil
}

var errNoMessage = errors.New("the content of the blob is not a message")

// slimRequest copies what may be large out of reach. The copy shares no memory
// with the message.
func slimRequest(r *schema.EntityRequest) *schema.EntityRequest {
	text := func(o schema.Optional[string]) schema.Optional[string] {
		return schema.Optional[string]{Value: short(o.Value), Set: o.Set}
	}
	s := &schema.EntityRequest{
		Operation: text(r.Operation), Signal: r.Signal, ID: short(r.ID),
		Parent: text(r.Parent), ParentExecution: text(r.ParentExecution), Due: text(r.Due),
		Timestamp: short(r.Timestamp), Predecessor: short(r.Predecessor), Position: r.Position,
	}
	for _, id := range r.LockSet[:min(len(r.LockSet), 1000)] {
		s.LockSet = append(s.LockSet, schema.EntityID{Name: short(id.Name), Key: short(id.Key)})
	}
	return s
}

// slimEvent returns what identifies an event, without its payload. It shares no
// memory with e, whose message may have many megabytes.
func slimEvent(e schema.Event) schema.Event {
	head := *e.Header()
	text := func(t schema.Text) schema.Text { return schema.Text{Value: short(t.Value), Set: t.Set} }
	switch e := e.(type) {
	case *schema.ExecutionStarted:
		return &schema.ExecutionStarted{
			EventHeader: head, OrchestrationInstance: text(e.OrchestrationInstance), ParentInstance: text(e.ParentInstance),
			Name: text(e.Name), ScheduledStartTime: e.ScheduledStartTime, Generation: e.Generation,
			Version: schema.Optional[string]{Value: short(e.Version.Value), Set: e.Version.Set},
		}
	case *schema.TaskScheduled:
		return &schema.TaskScheduled{EventHeader: head, Name: text(e.Name)}
	case *schema.TaskCompleted:
		return &schema.TaskCompleted{EventHeader: head, TaskScheduledID: e.TaskScheduledID}
	case *schema.TaskFailed:
		return &schema.TaskFailed{EventHeader: head, TaskScheduledID: e.TaskScheduledID}
	case *schema.SubOrchestrationCompleted:
		return &schema.SubOrchestrationCompleted{EventHeader: head, TaskScheduledID: e.TaskScheduledID}
	case *schema.SubOrchestrationFailed:
		return &schema.SubOrchestrationFailed{EventHeader: head, TaskScheduledID: e.TaskScheduledID}
	case *schema.TimerFired:
		return &schema.TimerFired{EventHeader: head, TimerID: e.TimerID, FireAt: e.FireAt}
	case *schema.EventRaised:
		return &schema.EventRaised{EventHeader: head, Name: text(e.Name)}
	case *schema.ExecutionTerminated:
		return &schema.ExecutionTerminated{EventHeader: head}
	case *schema.ExecutionSuspended:
		return &schema.ExecutionSuspended{EventHeader: head}
	case *schema.ExecutionResumed:
		return &schema.ExecutionResumed{EventHeader: head}
	case *schema.GenericEvent:
		return &schema.GenericEvent{EventHeader: head}
	}
	return &schema.UnknownEvent{EventHeader: head, Name: e.Type().String()}
}

// short copies s, up to what a message in a queue could hold.
func short(s string) string { return strings.Clone(s[:min(len(s), 64<<10)]) }

// unknownOf names the first thing of a message that this package does not know.
func unknownOf(m *schema.Message) string {
	if e, ok := m.TaskMessage.Event.(*schema.UnknownEvent); ok {
		return "event type " + e.Name
	}
	for _, members := range [...][]schema.Member{m.Extra, m.TaskMessage.Extra, m.TaskMessage.EventExtra} {
		for _, member := range members {
			// Kept as it was read because of how it is written, not because it is
			// unknown: see schema.Message.
			known := member.Name == "Sender" || member.Name == "Timestamp" || member.Name == "FireAt" || member.Name == "ScheduledStartTime"
			if !known {
				return "member " + member.Name
			}
		}
	}
	return ""
}

// forInstance returns the messages for an instance that can be seen in the
// control queues and read.
func (m *messageIndex) forInstance(id string) []*pendingMessage { return m.control[id] }

// workItems returns the activities of an instance that can be seen in the queue
// and read.
func (m *messageIndex) workItems(id string) []*pendingMessage { return m.activity[id] }

func (m *messageIndex) queue(name string) *queueState {
	i, ok := slices.BinarySearchFunc(m.queues, name, func(q queueState, name string) int { return cmp.Compare(q.Name, name) })
	if !ok {
		return nil
	}
	return &m.queues[i]
}

// hidden returns the number of messages of a queue that may hold anything: those
// that cannot be seen, by the service's count, and those that cannot be read. A
// queue that does not exist has none.
func (m *messageIndex) hidden(queue string) int64 {
	if m.uncounted(queue) {
		return anyNumber
	}
	q := m.queue(queue)
	if q == nil {
		return 0
	}
	return max(q.ApproximateCount-q.read, q.unread)
}

// hiddenFor is hidden for all queues that can have a message for an instance,
// where the parts of the hub do not agree on the number of partitions.
func (m *messageIndex) hiddenFor(instanceID string) int64 {
	var n int64
	for _, queue := range m.controlQueues(instanceID) {
		n += m.hidden(queue)
	}
	return n
}

// controlQueue returns the name of the queue for the messages of an instance;
// empty if the number of partitions is unknown.
func (m *messageIndex) controlQueue(instanceID string) string {
	if m.count <= 0 {
		return ""
	}
	return m.names.ControlQueue(schema.Partition(instanceID, m.count))
}

// controlQueues returns controlQueue, and what it would be by the other numbers of
// partitions that parts of the hub give. All control queues, if none gives one.
func (m *messageIndex) controlQueues(instanceID string) []string {
	var queues []string
	for _, count := range m.claims {
		if q := m.names.ControlQueue(schema.Partition(instanceID, count)); !slices.Contains(queues, q) {
			queues = append(queues, q)
		}
	}
	if len(m.claims) == 0 {
		for i := range m.queues {
			if m.isControl(m.queues[i].Name) {
				queues = append(queues, m.queues[i].Name)
			}
		}
	}
	return queues
}

func (m *messageIndex) isControl(queue string) bool {
	return strings.HasPrefix(queue, m.names.ControlQueuePrefix())
}

// queueNumbers returns the numbers of the control queues that exist.
func (m *messageIndex) queueNumbers() (numbers []int) {
	for i := range m.queues {
		if n, ok := queueNumber(m.names, m.queues[i].Name); ok {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// find returns the same message of another look at the queues, or nil.
func (m *messageIndex) find(p *pendingMessage) *pendingMessage {
	for _, q := range m.all {
		if q.Stored.ID == p.Stored.ID && q.Stored.Queue == p.Stored.Queue {
			return q
		}
	}
	return nil
}
