package explain

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// awaits lists what the instance waits for, and where the messages are.
func (e *explainer) awaits(context.Context) error {
	r, l := e.report, e.self
	status, live := l.judged.Status, l.live()
	current := e.current()
	b := &awaiting{e: e, wants: make(map[string]int64)}
	switch {
	case e.made != nil:
		a := Await{Kind: Start, EventID: -1, Name: e.made.open.Name, Since: e.made.open.Since}
		a.Messages = []Sought{e.toSelf(e.made.open.EventID, schema.TypeExecutionStarted)}
		b.add(a)
	case l.row != nil && !current && e.startsLater():
		a := e.start()
		if e.queues.conclude(&a, e.now); status.Terminal() && a.Where == Lost {
			break // it ends before it has begun, as whoever terminated it wants
		}
		b.add(a)
	case !current || status.Terminal():
		// Nothing can be known, or nothing is awaited any more.
	case status == schema.StatusContinuedAsNew:
		a := e.start()
		a.Messages[0].ExecutionID = "" // that of the next execution
		b.add(a)
	default:
		if e.unfinished() {
			for i := range l.notes.taken {
				if a, ok := e.redelivery(&l.notes.taken[i]); ok {
					b.add(a)
				}
			}
		}
		if status == schema.StatusSuspended {
			b.add(Await{
				Kind: Resume, EventID: -1, Since: r.Since, Where: e.seenOr(Unknown, schema.TypeExecutionResumed),
				Why: "whoever has suspended it has to resume it",
			})
		}
		if live.Rewound && !l.notes.woken && !l.notes.rewoundChild {
			a := Await{Kind: WakeUp, EventID: -1, Since: r.Since}
			a.Messages = []Sought{e.toSelf(-1, schema.TypeGeneric)}
			a.Messages[0].ExecutionID = ""
			b.add(a)
		}
		for i := range live.Open {
			b.open(&live.Open[i])
		}
		e.entityAwaits(b)
		if b.total == 0 && !r.Entity {
			b.add(Await{
				Kind: ExternalEvent, EventID: -1, Since: live.LastUpdatedTime, Where: e.seenOr(Unknown, schema.TypeEventRaised),
				Why: "history does not tell the name of an event that an orchestrator waits for",
			})
		}
	}
	e.sent(live)
	r.Awaits, r.AwaitsMore = b.listed, b.total-int64(len(b.listed))
	r.Shortfalls = e.queues.shortfalls(b.wants)
	e.counts = b.counts
	e.queueViews(b)
	return nil
}

// startsLater reports whether the row tells of an execution that has not begun:
// a start or restart, also one that was terminated before its time, which does
// not stop a scheduled start.
//
// Source: durabletask 2.9.1, AzureStorageOrchestrationService.cs:1066-1126;
// AzureStorageScenarioTests.cs:1294-1330.
func (e *explainer) startsLater() bool {
	row := e.self.row
	return row.Status() == schema.StatusPending ||
		row.Status() == schema.StatusTerminated && e.self.live().Events == 0 && row.ScheduledStartTime.Value > e.now && e.now != 0
}

// start awaits the message that starts the execution which the row tells of.
func (e *explainer) start() Await {
	row := e.self.row
	a := Await{Kind: Start, EventID: -1}
	execution := ""
	if row != nil {
		a.Name, a.Since, a.DueAt, execution = row.Name.Value, row.CreatedTime.Value, row.ScheduledStartTime.Value, row.ExecutionID.Value
	}
	s := e.toSelf(-1, schema.TypeExecutionStarted)
	s.ExecutionID, s.DueAt = execution, a.DueAt
	a.Messages = []Sought{s}
	return a
}

// toSelf returns a message to the instance itself.
func (e *explainer) toSelf(taskID int32, types ...schema.EventType) Sought {
	return Sought{
		Queue: e.queues.controlQueue(e.self.id), InstanceID: e.self.id, ExecutionID: e.self.judged.ExecutionID,
		Types: types, TaskID: taskID,
	}
}

// seenOr returns Visible if a message of a type waits for the instance, or
// another place.
func (e *explainer) seenOr(other Where, t schema.EventType) Where {
	if slices.ContainsFunc(e.queues.byInstance[e.self.id], func(m Message) bool { return m.eventType == t }) {
		return Visible
	}
	return other
}

// unfinished reports whether the last checkpoint was cut off: in the middle of
// its history, or between the history and the row. The messages that it was
// about are deleted last, so they come again.
//
// Source: durabletask 2.9.1, AzureStorageOrchestrationService.cs:1141-1283;
// recorded in instances wide-5 of hub dtfx-2.9.1-torn and inflight-07 of hub
// dtfx-2.9.1-crashed.
func (e *explainer) unfinished() bool {
	row, live := e.self.row, e.self.live()
	return live.CheckpointOpen || row == nil || row.LastUpdatedTime.Value < live.LastUpdatedTime
}

// redelivery awaits a message of the last episode once more. ok is false for
// what no message has brought: the start of an entity or of a generation after
// the first.
func (e *explainer) redelivery(t *taken) (a Await, ok bool) {
	if t.eventType == schema.TypeExecutionStarted {
		s := e.self.live().Started
		if e.report.Entity || s == nil || !s.Generation.Set && e.self.live().Parent == nil {
			return a, false
		}
		t.taskID = -1
	}
	a = Await{Kind: Redelivery, EventID: -1, RowKey: t.rowKey, Name: t.name, Since: t.at}
	if a.Name == "" {
		a.Name = t.eventType.String()
	}
	s := e.toSelf(t.taskID, t.eventType)
	s.Name, s.RequestID = t.name, t.requestID
	a.Messages = []Sought{s}
	return a, true
}

// awaiting collects awaits.
type awaiting struct {
	e      *explainer
	listed []Await
	total  int64
	// wants counts, by set of queues, what must be out of sight in one of them.
	wants map[string]int64
	// counts are of all awaits.
	counts counts
	used   []string // queues
}

// counts sums awaits up, those that are not listed included.
type counts struct {
	kinds   []*kindCount // in the order in which they first occur
	lost    int64
	overdue int64
}

type kindCount struct {
	first   Await
	total   int64
	byWhere map[Where]int64
}

func (c *counts) add(a *Await, now schema.Ticks) {
	i := slices.IndexFunc(c.kinds, func(k *kindCount) bool { return k.first.Kind == a.Kind })
	if i < 0 {
		i = len(c.kinds)
		c.kinds = append(c.kinds, &kindCount{first: *a, byWhere: make(map[Where]int64)})
	}
	c.kinds[i].total++
	c.kinds[i].byWhere[a.Where]++
	if a.Where == Lost {
		c.lost++
	}
	if a.DueAt != 0 && now != 0 && a.DueAt <= now {
		c.overdue++
	}
}

func (b *awaiting) add(a Await) {
	e := b.e
	e.queues.conclude(&a, e.now)
	b.total++
	b.counts.add(&a, e.now)
	if a.Where == Hidden || a.Where == Possible && !e.queues.moving {
		b.wants[queueSet(&a)]++
	}
	if len(b.listed) == MaxAwaits {
		return
	}
	if a.Why == "" {
		a.Why = e.queues.reason(&a)
	}
	for i := range a.Messages {
		if q := a.Messages[i].Queue; q != "" && !slices.Contains(b.used, q) {
			b.used = append(b.used, q)
		}
	}
	b.listed = append(b.listed, a)
}

// open adds a piece of open work.
func (b *awaiting) open(o *replay.Open) {
	e := b.e
	a := Await{
		Kind: o.Kind, EventID: o.EventID, RowKey: o.RowKey, Name: o.Name, InstanceID: o.InstanceID,
		RequestID: o.RequestID, Since: o.Since, DueAt: o.FireAt,
	}
	switch o.Kind {
	case replay.OpenActivity:
		work := e.toSelf(o.EventID, schema.TypeTaskScheduled)
		work.Queue = e.info.Names.WorkItemQueue()
		a.Messages = []Sought{work, e.toSelf(o.EventID, schema.TypeTaskCompleted, schema.TypeTaskFailed)}
	case replay.OpenTimer:
		fired := e.toSelf(o.EventID, schema.TypeTimerFired)
		fired.DueAt = o.FireAt
		a.Messages = []Sought{fired}
	case replay.OpenSubOrchestration:
		e.child(&a)
	case replay.OpenEntityCall, replay.OpenLockRequest:
		e.entityCall(&a)
	case replay.OpenEvent:
		a.Where, a.Why = Received, "in its history; the orchestrator has done nothing since it came"
		if e.self.live().Suspended {
			a.Why = "in its history; held back until it is resumed"
		}
	case replay.OpenLock:
		e.lock(o)
		return
	default: // signals are not awaited
		return
	}
	b.add(a)
}

// child tells where the answer of a sub-orchestration is: not sent yet, since
// the child works or has not begun, or on its way.
func (e *explainer) child(a *Await) {
	start := Sought{
		Queue: e.queues.controlQueue(a.InstanceID), InstanceID: a.InstanceID,
		Types: []schema.EventType{schema.TypeExecutionStarted}, TaskID: a.EventID,
	}
	answer := e.toSelf(a.EventID, schema.TypeSubOrchestrationCompleted, schema.TypeSubOrchestrationFailed)
	l := e.looks[a.InstanceID]
	if a.InstanceID == e.self.id {
		l = e.self
	}
	if l == nil {
		a.Where, a.Why = Unknown, fmt.Sprintf("not looked at: only %d relatives are", MaxRelatives)
		return
	}
	rel := e.describe(l, a.EventID)
	rel.Open = true
	a.Child = &rel
	status := l.judged.Status
	switch {
	case !l.found(), !l.cut && l.live().Events == 0, !l.cut && !e.madeBy(l, a.EventID):
		// It has not begun, or what is there is of another caller.
		a.Messages = []Sought{start}
	case status.Terminal():
		a.Messages = []Sought{answer}
	default:
		a.Where, a.Why = Running, "the child has not ended"
		if rel.Summary != "" {
			a.Why += ": it " + rel.Summary
		}
	}
}

// madeBy reports whether the live execution of a child is the one that an event
// of the instance made: IDs can be used again.
func (e *explainer) madeBy(l *look, eventID int32) bool {
	p := l.live().Parent
	if p == nil {
		return false
	}
	execution := p.OrchestrationInstance.ExecutionID
	return p.OrchestrationInstance.InstanceID == e.self.id && p.TaskScheduleID == eventID &&
		(execution == "" || execution == e.self.live().ExecutionID)
}

// entityCall tells where an operation or a request for locks is: on its way to
// the entity, in its queue of operations, or answered. A request to lock several
// entities goes from one to the next.
//
// Source: durabletask 2.9.1, TaskEntityDispatcher.cs:478-607, 761-902.
func (e *explainer) entityCall(a *Await) {
	entities := []string{a.InstanceID}
	for _, id := range e.self.notes.locks[a.RequestID] {
		if s := id.String(); !slices.Contains(entities, s) {
			entities = append(entities, s)
		}
	}
	for _, id := range entities {
		if l := e.looks[id]; l != nil {
			state, err := entityState(l)
			if err != nil {
				e.problems(err)
			}
			if i := slices.IndexFunc(state.Queue, func(r schema.EntityRequest) bool { return r.ID == a.RequestID }); i >= 0 {
				a.Where = Received
				a.Why = fmt.Sprintf("operation %d of those that wait inside of %s", i+1, clip(id))
				if state.LockedBy.Set {
					a.Why += ", which " + clip(state.LockedBy.Value) + " has locked"
				}
				return
			}
		}
		a.Messages = append(a.Messages, Sought{
			Queue: e.queues.controlQueue(id), InstanceID: id, Types: []schema.EventType{schema.TypeEventRaised},
			TaskID: -1, RequestID: a.RequestID,
		})
	}
	answer := e.toSelf(-1, schema.TypeEventRaised)
	answer.Name = a.RequestID
	a.Messages = append(a.Messages, answer)
}

// entityState returns the scheduler state of an entity; the zero state if it
// has none.
func entityState(l *look) (schema.EntityState, error) {
	if l.state == nil || l.state.Input.IsNull() {
		return schema.EntityState{}, nil
	}
	s, err := schema.DecodeEntityState(l.state.Input.Value)
	if err != nil {
		return schema.EntityState{}, fmt.Errorf("entity %q: %w", l.id, err)
	}
	return s, nil
}

// lock adds a lock that the instance holds.
func (e *explainer) lock(o *replay.Open) {
	if len(e.report.Locks) == MaxAwaits {
		return
	}
	k := Lock{EntityID: o.InstanceID, RequestID: o.RequestID, Since: o.Since}
	if l := e.looks[o.InstanceID]; l != nil {
		state, err := entityState(l)
		if err != nil {
			e.problems(err)
		}
		k.LockedBy = strings.Clone(state.LockedBy.Value)
		k.Agreed = state.LockedBy.Set && state.LockedBy.Value == e.self.id
	}
	e.report.Locks = append(e.report.Locks, k)
}

// sent lists what the instance has sent and what is still on its way: delayed
// signals, and of a child that has ended the answer to its parent.
func (e *explainer) sent(live *replay.State) {
	r := e.report
	for _, o := range live.Open {
		if o.Kind != replay.OpenSignal || o.FireAt <= e.now || len(r.Sent) == MaxAwaits {
			continue
		}
		a := Await{
			Kind: o.Kind, EventID: o.EventID, RowKey: o.RowKey, Name: o.Name, InstanceID: o.InstanceID,
			RequestID: o.RequestID, Since: o.Since, DueAt: o.FireAt,
		}
		a.Messages = []Sought{{
			Queue: e.queues.controlQueue(o.InstanceID), InstanceID: o.InstanceID, TaskID: -1,
			Types: []schema.EventType{schema.TypeEventRaised}, DueAt: o.FireAt,
		}}
		e.queues.conclude(&a, e.now)
		r.Sent = append(r.Sent, a)
	}
}

// entityAwaits adds what an entity waits for.
func (e *explainer) entityAwaits(b *awaiting) {
	s := e.report.State
	if s == nil {
		return
	}
	if s.Suspended {
		a := Await{Kind: Continue, EventID: -1, Since: e.report.LastProgress}
		a.Messages = []Sought{e.toSelf(-1, schema.TypeEventRaised)}
		a.Messages[0].Name, a.Messages[0].ExecutionID = "continue", ""
		b.add(a)
	}
	if s.LockedBy != "" {
		a := Await{Kind: Release, EventID: -1, InstanceID: s.LockedBy, Since: e.report.LastProgress, Where: Unknown}
		a.Why = "the holder of the lock has to release it"
		for i := range e.queues.byInstance[e.self.id] {
			if m := &e.queues.byInstance[e.self.id][i]; m.eventType == schema.TypeEventRaised && m.Name == "release" {
				a.Where, a.Why = Visible, seenText(m)
			}
		}
		b.add(a)
	}
}

// queueViews lists the queues that matter for the instance.
func (e *explainer) queueViews(b *awaiting) {
	names := b.used
	add := func(name string) {
		if name != "" && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	add(e.report.Partition.Queue)
	for i := range e.report.Sent {
		for _, s := range e.report.Sent[i].Messages {
			add(s.Queue)
		}
	}
	for _, m := range e.report.Messages {
		add(m.Queue)
	}
	slices.Sort(names)
	for _, name := range names {
		q := Queue{}
		if view := e.queues.byName[name]; view != nil {
			q = *view
		}
		q.Name = name
		e.report.Queues = append(e.report.Queues, q)
	}
}
