package replay

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/schema"
)

// TimelineOptions tunes a [Timeline]. The zero value is ready.
type TimelineOptions struct {
	// MaxInstances bounds the instances, the first one included; 0 means 200.
	MaxInstances int
	// MaxEvents bounds the events of all instances together; 0 means 100,000.
	MaxEvents int
	// At leaves out what happened later; 0 means nothing.
	At schema.Ticks
	// Until is when the hub was looked at: work that is open lasts that long at
	// least. 0 means the last event.
	Until schema.Ticks
	// Load returns the text of a blob, by its stored name. It is asked only for
	// what an orchestration has sent to an entity, which tells the answer's
	// name. If it is nil or fails, such an answer is an event of no known sender.
	Load func(blob string) (string, error)
}

const (
	defaultTimelineInstances = 200
	defaultTimelineEvents    = 100_000
	// maxTimelineProblems are kept; the others are only counted.
	maxTimelineProblems = 100
)

// Timeline is what happened to an instance, its sub-orchestrations and the
// entities that they sent to, theirs as well and so on, in the order of time.
type Timeline struct {
	// Entries are ordered by time; what happened at the same tick by the order of
	// Instances and then by position in the history.
	Entries []Entry
	// Instances are in the order in which they were found, the first one being
	// what the timeline is about.
	Instances []TimelineInstance
	// Until is the end of the timeline: [TimelineOptions.Until] or At, or the
	// time of the last entry if that is later.
	Until schema.Ticks
	// InstancesLeftOut and EventsLeftOut count what did not fit into the limits.
	// The children of an instance that was left out are not counted.
	InstancesLeftOut, EventsLeftOut int64
	// Problems lists rows of which something could not be read, at most 100 of
	// them; ProblemsLeftOut counts the others.
	Problems        []error
	ProblemsLeftOut int64
}

// TimelineInstance is an instance on a timeline.
type TimelineInstance struct {
	ID string
	// ExecutionID is that of the live history; empty if there is none.
	ExecutionID string
	// Name is the function's; empty if it is not known.
	Name string
	// Began and Ended are the times of the first event and of the completion that
	// counts; zero without one.
	Began, Ended schema.Ticks
	// Status is that of the completion, StatusRunning without one.
	Status schema.Status
	// Events counts the entries.
	Events int64
}

// Entry is one event on a timeline.
type Entry struct {
	// Time is when it happened. That is the time stored with the event, but for
	// TimerFired, which stores when the timer was created: it has the time of the
	// episode that took it in. An event whose time cannot be read has that of the
	// event before it.
	//
	// Source: durabletask 2.9.1, TaskOrchestrationDispatcher.cs:335, 1236-1266.
	Time schema.Ticks
	// Instance is an index of [Timeline.Instances].
	Instance int
	// RowKey is the event's position in the history; see [schema.ParseSequence].
	RowKey string
	// Event is the name of the type; of a row that a rewind has transformed that
	// of the type it had.
	Event string
	// Rewound says that a rewind has transformed or marked the row.
	Rewound bool
	// Duplicate says that it is a result which came again and does not count.
	Duplicate bool
	// EventID is the number of the action, or for a result that of the action it
	// answers; below 0 if it is neither, or a timer of the framework's own.
	EventID int32
	// Name is that of the function, event or operation; of a result that of what
	// it answers. The request of a lock is called lock.
	Name string
	// Peer is the other instance: the child, the target or sender of an event,
	// the entity that answers, of ExecutionStarted the parent. Empty if there is
	// none, or it is not known.
	Peer string
	// Answers is the RowKey of the event that this one answers in the same
	// history; empty if there is none.
	Answers string
	// Since is the time of the event that this one answers. Of OrchestratorStarted
	// it is the end of the episode before: until then the instance was waiting.
	// Zero if there is none.
	Since schema.Ticks
	// Due is when a timer fires or a delayed signal is delivered.
	Due schema.Ticks
	// Waiting says that this is an action whose answer has not come, of an
	// instance that has not ended.
	Waiting bool
	// Failed says that this is a failure: of an activity, a child or the instance.
	Failed bool

	// shown says that another entry is about the same message: what its sender did.
	shown bool
}

// Duration returns the time from what e answers, or from the end of the episode
// before, to e. It is negative where the clocks of two workers differ by more than
// that. ok is false if there is no such time.
func (e *Entry) Duration() (d time.Duration, ok bool) {
	if e.Since == 0 {
		return 0, false
	}
	return e.Time.Time().Sub(e.Since.Time()), true
}

// Merger builds a [Timeline] from the rows of several partitions of the History
// table. It is told the rows of one instance after the other and finds the
// instances to read in them:
//
//	m := replay.NewMerger("order-1", replay.TimelineOptions{})
//	for id, ok := m.Next(); ok; id, ok = m.Next() {
//		for row, err := range r.Rows(ctx, hub.History, hub.Partition(schema.EscapeKey(id))) {
//			if err != nil {
//				return err
//			}
//			m.Add(&row)
//		}
//	}
//	t := m.End()
//
// It keeps some hundred bytes an event, whatever the size of the rows, and each
// instance is read once: cycles do no harm.
type Merger struct {
	opts TimelineOptions
	t    Timeline
	// seen holds the instances that were read or are to be, and those that were
	// left out, which are bounded by the events that name them.
	seen  map[string]bool
	queue []string // to be read
	// sent and raised are the events between instances, by the number of their
	// entry: a receiver does not store who the sender was.
	sent, raised map[int]sentKey

	cur timelinePart
}

// sentKey is what an event sent and an event received have in common.
type sentKey struct {
	target, name string
	text         uint64 // hash
}

// timelinePart is the history that is being read.
type timelinePart struct {
	reading     bool
	begun, over bool         // it has a row; what follows is not live
	first       int          // its first entry
	episode     schema.Ticks // when the episode began
	idle        schema.Ticks // when the episode before ended
	last        schema.Ticks // the time of the last event
	actions     map[int32]int
	requests    map[string]int // entity calls by the ID that answers them
	granters    map[int]string // the last entity of a set to lock
	answered    map[int]bool
	completed   int // entry of the completion that counts, or -1
	suspended   bool
}

// NewMerger returns a Merger of what concerns an instance.
func NewMerger(instanceID string, opts TimelineOptions) *Merger {
	opts.MaxInstances = cmp.Or(max(opts.MaxInstances, 0), defaultTimelineInstances)
	opts.MaxEvents = cmp.Or(max(opts.MaxEvents, 0), defaultTimelineEvents)
	return &Merger{
		opts: opts, seen: map[string]bool{instanceID: true}, queue: []string{instanceID},
		sent: make(map[int]sentKey), raised: make(map[int]sentKey),
	}
}

// Next returns the instance whose rows are to be added next, all rows of its
// partition in key order. ok is false when there is none left.
func (m *Merger) Next() (instanceID string, ok bool) {
	m.endPart()
	if len(m.queue) == 0 {
		return "", false
	}
	id := m.queue[0]
	m.queue = m.queue[1:]
	m.t.Instances = append(m.t.Instances, TimelineInstance{ID: id, Status: schema.StatusUnknown})
	m.cur = timelinePart{
		reading: true, first: len(m.t.Entries), completed: -1,
		actions: make(map[int32]int), requests: make(map[string]int), answered: make(map[int]bool), granters: make(map[int]string),
	}
	return id, true
}

// follow has an instance read later.
func (m *Merger) follow(id string) {
	if id == "" || m.seen[id] {
		return
	}
	m.seen[id] = true
	if len(m.t.Instances)+len(m.queue) == m.opts.MaxInstances {
		m.t.InstancesLeftOut++
		return
	}
	m.queue = append(m.queue, id)
}

func (m *Merger) problem(err error) {
	if len(m.t.Problems) == maxTimelineProblems {
		m.t.ProblemsLeftOut++
		return
	}
	m.t.Problems = append(m.t.Problems, err)
}

// Add adds a row of the History table, of the instance that Next has named last.
// Nothing of row is kept.
func (m *Merger) Add(row *schema.Row) {
	if !m.cur.reading {
		return
	}
	in := &m.t.Instances[len(m.t.Instances)-1]
	execution, named := row.Get("ExecutionId").Text()
	switch {
	case row.IsSentinel():
		if m.cur.begun && named && execution != in.ExecutionID {
			m.drop(in) // the framework sees no history
		}
		m.cur.over = true
		return
	case m.cur.over:
		return
	case !m.cur.begun:
		m.cur.begun = true
		in.ExecutionID = strings.Clone(execution)
	case execution != in.ExecutionID:
		m.cur.over = true // the end of an earlier execution
		return
	}
	if len(m.t.Entries) == m.opts.MaxEvents {
		m.t.EventsLeftOut++
		return
	}
	h, rewound, err := decodeTimelineRow(row)
	if err != nil {
		m.problem(fmt.Errorf("history of %q: %w", in.ID, err))
	}
	m.event(in, &h, rewound)
}

// decodeTimelineRow decodes a row as what it was before a rewind.
func decodeTimelineRow(row *schema.Row) (h schema.HistoryRow, rewound bool, err error) {
	h, err = schema.DecodeHistoryRow(row)
	original, rewound := h.Rewound()
	if !rewound || h.Event.Type() != schema.TypeGeneric {
		return h, rewound, err
	}
	if original == schema.TypeGeneric.String() && row.Get("OrchestrationStatus").Type() != schema.Absent {
		// A second rewind finds the completion again by its status and forgets
		// what it was.
		//
		// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:273-377.
		original = schema.TypeExecutionCompleted.String()
	}
	was := *row
	was.Properties = slices.Clone(row.Properties)
	was.Set("EventType", schema.String(original))
	h, err = schema.DecodeHistoryRow(&was)
	return h, true, err
}

// drop takes back the entries of the history that is being read.
func (m *Merger) drop(in *TimelineInstance) {
	for i := m.cur.first; i < len(m.t.Entries); i++ {
		delete(m.sent, i)
		delete(m.raised, i)
	}
	clear(m.t.Entries[m.cur.first:])
	m.t.Entries = m.t.Entries[:m.cur.first]
	m.cur.completed = -1
	*in = TimelineInstance{ID: in.ID, Status: schema.StatusUnknown}
}

// event adds the entry of one event.
func (m *Merger) event(in *TimelineInstance, h *schema.HistoryRow, rewound bool) {
	p := &m.cur
	head := h.Event.Header()
	e := Entry{
		Time: head.Timestamp, Instance: len(m.t.Instances) - 1, RowKey: strings.Clone(h.RowKey),
		Event: eventName(h.Event), Rewound: rewound, EventID: head.EventID,
	}
	if _, fired := h.Event.(*schema.TimerFired); fired && p.episode != 0 {
		e.Time = p.episode
	}
	if e.Time == 0 {
		e.Time = p.last
	}
	if m.opts.At != 0 && e.Time > m.opts.At {
		return
	}
	p.last = e.Time
	i := len(m.t.Entries)
	switch v := h.Event.(type) {
	case *schema.OrchestratorStarted:
		p.episode, e.Since, p.idle = e.Time, p.idle, 0
	case *schema.OrchestratorCompleted:
		p.idle = e.Time
	case *schema.ExecutionStarted:
		in.Name = clip(v.Name.Value)
		e.Name = in.Name
		if parent, err := schema.ParseParentInstance(v.ParentInstance); err == nil && parent != nil {
			e.Peer = peer(parent.OrchestrationInstance.InstanceID)
		}
	case *schema.ExecutionCompleted:
		m.completion(i, &e, v.OrchestrationStatus.Value)
	case *schema.ContinueAsNew:
		m.completion(i, &e, schema.StatusContinuedAsNew)
	case *schema.ExecutionSuspended:
		p.suspended = true
	case *schema.ExecutionResumed:
		p.suspended = false
	case *schema.TaskScheduled:
		e.Name = clip(v.Name.Value)
		p.actions[e.EventID] = i
	case *schema.SubOrchestrationCreated:
		e.Name, e.Peer = clip(v.Name.Value), peer(v.InstanceID.Value)
		p.actions[e.EventID] = i
		m.follow(e.Peer)
	case *schema.TimerCreated:
		e.Due = v.FireAt
		p.actions[e.EventID] = i
	case *schema.TaskCompleted:
		m.answer(i, &e, v.TaskScheduledID, schema.TypeTaskScheduled)
	case *schema.TaskFailed:
		m.answer(i, &e, v.TaskScheduledID, schema.TypeTaskScheduled)
		e.Failed = true
	case *schema.SubOrchestrationCompleted:
		m.answer(i, &e, v.TaskScheduledID, schema.TypeSubOrchestrationCreated)
	case *schema.SubOrchestrationFailed:
		m.answer(i, &e, v.TaskScheduledID, schema.TypeSubOrchestrationCreated)
		e.Failed = true
	case *schema.TimerFired:
		e.Due = v.FireAt
		m.answer(i, &e, v.TimerID, schema.TypeTimerCreated)
	case *schema.EventSent:
		m.eventSent(i, &e, v)
	case *schema.EventRaised:
		m.eventRaised(in.ID, i, &e, v)
	}
	m.t.Entries = append(m.t.Entries, e)
	in.Events++
}

func eventName(e schema.Event) string {
	if u, ok := e.(*schema.UnknownEvent); ok {
		return clip(u.Name)
	}
	return e.Type().String()
}

// completion marks the end of an execution. Only the first one counts; one that a
// rewind has taken back does not.
func (m *Merger) completion(i int, e *Entry, status schema.Status) {
	e.Failed = status == schema.StatusFailed
	e.Name = status.String()
	if !e.Rewound && m.cur.completed < 0 {
		m.cur.completed = i
		in := &m.t.Instances[e.Instance]
		in.Ended, in.Status = e.Time, status
	}
}

// answer pairs a result with the latest action of its number: after a rewind an
// activity is scheduled again under the number that it had.
func (m *Merger) answer(i int, e *Entry, id int32, kind schema.EventType) {
	e.EventID = id
	at, ok := m.cur.actions[id]
	if !ok || m.t.Entries[at].Event != kind.String() {
		return
	}
	m.pair(e, at)
}

func (m *Merger) pair(e *Entry, at int) {
	action := &m.t.Entries[at]
	e.Answers, e.Since, e.Name, e.Peer = action.RowKey, action.Time, action.Name, action.Peer
	switch {
	case e.Rewound:
	case m.cur.answered[at]:
		e.Duplicate = true
	default:
		m.cur.answered[at] = true
	}
}

// eventSent reads what was sent. To an entity that is an operation, whose name
// and number are in the text.
//
// Source: durabletask 2.9.1, Entities/EventFormat/RequestMessage.cs and
// ClientEntityHelpers.cs:37-92.
func (m *Merger) eventSent(i int, e *Entry, v *schema.EventSent) {
	target := peer(v.InstanceID.Value)
	name, text := v.Name.Value, v.Input
	e.Peer, e.Name = target, clip(name)
	m.sent[i] = sentKey{target, e.Name, hashText(text)}
	if !schema.IsEntity(target) {
		return
	}
	m.follow(target)
	if !strings.HasPrefix(name, "op") {
		return
	}
	if due, ok := strings.CutPrefix(name, "op@"); ok {
		e.Due, _ = schema.ParseTicks(due)
	}
	if text.Value == "" && text.Blob != "" && m.opts.Load != nil {
		// Without it only the answer's sender stays unknown.
		if loaded, err := m.opts.Load(schema.StoredBlobName(text.Blob)); err == nil {
			text = schema.TextOf(loaded)
		}
	}
	request, err := schema.DecodeEntityRequest(text.Value)
	if err != nil {
		return
	}
	e.Name = clip(request.Operation.Value)
	if request.LockSet != nil {
		e.Name = "lock"
		// The entities pass the request on, and the last one answers.
		//
		// Source: durabletask 2.9.1, TaskEntityDispatcher.cs:438-607.
		for _, l := range request.LockSet {
			id := peer(l.String())
			m.cur.granters[i] = id
			m.follow(id)
		}
	}
	if !request.Signal && request.ID != "" {
		m.cur.requests[strings.Clone(request.ID)] = i
	}
}

// eventRaised finds out where an event came from: an entity that answers, or an
// instance whose history tells of it.
func (m *Merger) eventRaised(instanceID string, i int, e *Entry, v *schema.EventRaised) {
	name := v.Name.Value
	if at, ok := m.cur.requests[name]; ok {
		m.pair(e, at)
		e.Peer = cmp.Or(m.cur.granters[at], e.Peer)
		return
	}
	e.Name = clip(name)
	m.raised[i] = sentKey{instanceID, e.Name, hashText(v.Input)}
	if !schema.IsEntity(instanceID) || !strings.HasPrefix(name, "op") {
		return
	}
	if request, err := schema.DecodeEntityRequest(v.Input.Value); err == nil {
		e.Name, e.Peer = clip(request.Operation.Value), peer(request.Parent.Value)
		if request.LockSet != nil {
			e.Name = "lock"
		}
	}
}

// endPart completes what only the end of a history tells.
func (m *Merger) endPart() {
	p := &m.cur
	if !p.reading {
		return
	}
	p.reading = false
	in := &m.t.Instances[len(m.t.Instances)-1]
	part := m.t.Entries[p.first:]
	if len(part) == 0 {
		return
	}
	in.Began = slices.MinFunc(part, func(a, b Entry) int { return cmp.Compare(a.Time, b.Time) }).Time
	if p.completed >= 0 {
		return
	}
	in.Status = schema.StatusRunning
	if p.suspended {
		in.Status = schema.StatusSuspended
	}
	for _, at := range p.actions {
		// A rewind leaves the creation of a child standing, which answers again;
		// an activity is scheduled anew.
		e := &m.t.Entries[at]
		e.Waiting = !p.answered[at] && (!e.Rewound || e.Event != schema.TypeTaskScheduled.String())
	}
	for _, at := range p.requests {
		m.t.Entries[at].Waiting = !p.answered[at]
	}
}

// End returns the timeline, which belongs to the caller.
func (m *Merger) End() *Timeline {
	m.endPart()
	t := &m.t
	m.nameSenders()
	slices.SortStableFunc(t.Entries, func(a, b Entry) int { return cmp.Compare(a.Time, b.Time) })
	t.Until = m.opts.Until
	if m.opts.At != 0 && (t.Until == 0 || m.opts.At < t.Until) {
		t.Until = m.opts.At
	}
	if n := len(t.Entries); n > 0 {
		t.Until = max(t.Until, t.Entries[n-1].Time)
	}
	return t
}

// nameSenders tells the receivers of events who sent them. Of equal events the
// first to be sent counts as the first to arrive.
func (m *Merger) nameSenders() {
	byTime := func(a, b int) int {
		return cmp.Or(cmp.Compare(m.t.Entries[a].Time, m.t.Entries[b].Time), cmp.Compare(a, b))
	}
	waiting := make(map[sentKey][]int)
	for _, i := range sortedKeys(m.sent, byTime) {
		waiting[m.sent[i]] = append(waiting[m.sent[i]], i)
	}
	for _, i := range sortedKeys(m.raised, byTime) {
		key := m.raised[i]
		if from := waiting[key]; len(from) > 0 {
			e := &m.t.Entries[i]
			e.Peer, e.shown = m.t.Instances[m.t.Entries[from[0]].Instance].ID, true
			waiting[key] = from[1:]
		}
	}
	children := make(map[string]bool)
	for i := range m.t.Entries {
		if e := &m.t.Entries[i]; e.Event == schema.TypeSubOrchestrationCreated.String() {
			children[e.Peer] = true
		}
	}
	for i := range m.t.Entries {
		e := &m.t.Entries[i]
		e.shown = e.shown || e.Event == schema.TypeExecutionStarted.String() && children[m.t.Instances[e.Instance].ID]
	}
}

func sortedKeys(m map[int]sentKey, order func(a, b int) int) []int {
	keys := make([]int, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, order)
	return keys
}

func hashText(t schema.Text) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(t.Value)) // never fails
	return h.Sum64()
}

// peer returns a copy of an instance ID. What cannot be one, because no row has
// so long a key, is not kept.
//
// Source: the limits of the Table service, a key of 1,024 UTF-16 units.
func peer(id string) string {
	if schema.UTF16Len(id) > 1024 {
		return ""
	}
	return strings.Clone(id)
}

// maxTimelineName is the length in bytes beyond which a name is cut: names can
// be as long as a column, and this is for reading.
const maxTimelineName = 512

// clip returns a copy of a name.
func clip(s string) string { return shorten(s, maxTimelineName) }
