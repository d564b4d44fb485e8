package manage

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// RewindOptions tunes a rewind. The zero value refuses what would not work.
type RewindOptions struct {
	// Reason is what the message that wakes the instance says; it may be null.
	Reason schema.Optional[string]
	// Force goes on in spite of problems of the level [Breaks].
	Force bool
	// Resume also takes an instance that was rewound but whose message was lost,
	// as when a rewind was interrupted at the end.
	Resume bool
}

// ProblemLevel says how bad a [RewindProblem] is.
type ProblemLevel string

// The levels.
const (
	// Impossible stops a rewind in any case.
	Impossible ProblemLevel = "impossible"
	// Breaks is a shape of history with which the framework fails or hangs after
	// a rewind.
	Breaks ProblemLevel = "breaks"
	// Doubtful is one with which it may, depending on what the code does.
	Doubtful ProblemLevel = "doubtful"
)

// RewindProblem is a reason not to rewind an instance.
type RewindProblem struct {
	Level ProblemLevel
	// Code is a short stable name, such as open-task.
	Code       string
	InstanceID string
	// RowKeys are rows of its history that show it, at most ten of them.
	RowKeys []string
	Detail  string
}

// RowChange is one row that a rewind changes.
type RowChange struct {
	Table         hub.Table
	InstanceID    string
	Before, After schema.Row
}

// RewoundInstance is one that a rewind takes part in: the instance itself or a
// sub-orchestration that has failed.
type RewoundInstance struct {
	InstanceID, ExecutionID string
	// Parent is the instance ID of the one that it is a sub-orchestration of;
	// empty for the first.
	Parent string
	// Leaf is an instance none of whose sub-orchestrations has failed. It gets
	// the message; the others go on when those have ended.
	Leaf bool
	// Already says that its rows were rewound before.
	Already bool
}

// RewindPlan is what a rewind does.
type RewindPlan struct {
	InstanceID string
	Status     schema.Status
	// Instances are in the order in which they are rewound, each before those
	// that it has started.
	Instances []RewoundInstance
	// Changes are in the order in which they are made. LastUpdatedTime of an
	// Instances row is that of the plan.
	Changes  []RowChange
	Problems []RewindProblem

	rows map[string]string // ETag of the Instances row by instance ID
}

// Refused reports whether the problems stop a rewind with these options.
func (p *RewindPlan) Refused(o RewindOptions) bool {
	for i := range p.Problems {
		if l := p.Problems[i].Level; l == Impossible || l == Breaks && !o.Force {
			return true
		}
	}
	return false
}

// RewindError says that a rewind is refused because of problems in its plan.
type RewindError struct{ Plan *RewindPlan }

// Error names the first of the problems that stop the rewind.
func (e *RewindError) Error() string {
	for _, level := range []ProblemLevel{Impossible, Breaks} {
		for i := range e.Plan.Problems {
			if p := &e.Plan.Problems[i]; p.Level == level {
				return fmt.Sprintf("cannot rewind instance %q: %s (%s)", e.Plan.InstanceID, p.Detail, p.Code)
			}
		}
	}
	return fmt.Sprintf("cannot rewind instance %q", e.Plan.InstanceID)
}

// Rewind puts a failed orchestration back to before its failures, so that what
// has failed is tried again: their rows in the history become GenericEvent, and
// so do those that scheduled what failed; sub-orchestrations that have failed are
// rewound in the same way; the status becomes Pending; and a message wakes those
// instances that have no such sub-orchestration.
//
// It returns [ErrNoInstance], [ErrEnded] for an instance that has ended but not
// failed, [ErrNotFailed] for one that has not ended, a [*RewindError], or
// [hub.ErrConflict] if a row changes meanwhile. If it ends half-way, running it
// again finishes the job; if only the message was not sent, with
// RewindOptions.Resume.
//
// Unlike the framework it takes the current execution from the sentinel and not
// from the last rows, which an earlier execution may have left; leaves rows alone
// that an earlier rewind has changed; writes the status only if nobody else has;
// and finds out before the first change whether it can finish.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:273-377, 845-869;
// AzureStorageOrchestrationService.cs:1965-1985; recorded in instance failing-1 of
// hub functions-3-after-write.
func (c *Control) Rewind(ctx context.Context, id string, o RewindOptions) (*RewindPlan, []*Sent, error) {
	if err := checkText("reason", o.Reason.Value); err != nil {
		return nil, nil, err
	}
	p, err := c.PlanRewind(ctx, id, o)
	if err != nil {
		return nil, nil, err
	}
	sent, err := c.ApplyRewind(ctx, p, o)
	return p, sent, err
}

// maxRewindInstances bounds a plan. A history names its sub-orchestrations, and
// could name them in a circle.
const maxRewindInstances = 10_000

// PlanRewind returns what a rewind would do, and what speaks against it. It reads
// the history of each instance that takes part twice, and holds the rows that
// change. Its errors are those of [Control.Rewind] but for [*RewindError].
func (c *Control) PlanRewind(ctx context.Context, id string, o RewindOptions) (*RewindPlan, error) {
	i, err := c.existing(ctx, id)
	if err != nil {
		return nil, err
	}
	if s := i.Status(); s != schema.StatusFailed && (s != schema.StatusPending || !o.Resume) {
		return nil, &StateError{id, opRewind, s}
	}
	if schema.IsEntity(id) {
		return nil, &ArgumentError{"instance ID", "is that of an entity, which cannot be rewound"}
	}
	p := &RewindPlan{InstanceID: id, Status: i.Status(), rows: make(map[string]string)}
	r := rewinding{c: c, p: p}
	if err := r.instance(ctx, i, nil); err != nil {
		return nil, fmt.Errorf("%s instance %q: %w", opRewind, id, err)
	}
	if i.Status() == schema.StatusPending && !p.Instances[0].Already {
		return nil, &StateError{id, opRewind, i.Status()}
	}
	return p, nil
}

// ApplyRewind does what a plan says. It returns a [*RewindError] if the options
// do not allow it, and [hub.ErrConflict] if a row is not what it was: before
// anything is written if it is one of the Instances table.
func (c *Control) ApplyRewind(ctx context.Context, p *RewindPlan, o RewindOptions) ([]*Sent, error) {
	if p.Refused(o) {
		return nil, &RewindError{p}
	}
	fail := func(err error) error { return fmt.Errorf("%s instance %q: %w", opRewind, p.InstanceID, err) }
	for _, i := range p.Instances {
		now, err := c.instance(ctx, i.InstanceID)
		if err != nil {
			return nil, fail(err)
		}
		if now == nil || now.ETag != p.rows[i.InstanceID] {
			return nil, fail(fmt.Errorf("instance %q: %w", i.InstanceID, hub.ErrConflict))
		}
	}
	for i := range p.Changes {
		if err := c.applyRewound(ctx, &p.Changes[i]); err != nil {
			return nil, fail(fmt.Errorf("after %d of %d rows: %w", i, len(p.Changes), err))
		}
	}
	var sent []*Sent
	for _, i := range p.Instances {
		if !i.Leaf {
			continue
		}
		event := &schema.GenericEvent{Data: o.Reason}
		m, err := c.message(i.InstanceID, schema.Optional[string]{}, event, 0)
		if err == nil {
			err = c.send(ctx, m)
		}
		if err != nil {
			return sent, fail(fmt.Errorf("all rows are written, but the message to instance %q is not sent: %w", i.InstanceID, err))
		}
		sent = append(sent, c.sent(m, i.InstanceID, p.Status))
	}
	return sent, nil
}

func (c *Control) applyRewound(ctx context.Context, change *RowChange) error {
	if c.e == nil {
		return nil
	}
	row := change.After
	row.ETag = change.Before.ETag
	if change.Table == hub.History {
		_, err := c.e.ReplaceRow(ctx, hub.History, row)
		return err
	}
	row.Properties = nil
	row.Set("RuntimeStatus", change.After.Get("RuntimeStatus"))
	row.Set("LastUpdatedTime", schema.DateTime(c.now()))
	_, err := c.e.MergeRow(ctx, hub.Instances, row)
	return err
}

// rewinding makes a plan.
type rewinding struct {
	c *Control
	p *RewindPlan
}

func (r *rewinding) problem(level ProblemLevel, code, instanceID, detail string, rowKeys ...string) {
	const maxRowKeys = 10
	if len(rowKeys) > maxRowKeys {
		rowKeys = rowKeys[:maxRowKeys]
	}
	r.p.Problems = append(r.p.Problems, RewindProblem{Level: level, Code: code, InstanceID: instanceID, RowKeys: rowKeys, Detail: detail})
}

// parent is the sub-orchestration's view of where it comes from.
type parent struct{ instanceID, executionID string }

// instance adds an instance and those of its sub-orchestrations that have failed.
func (r *rewinding) instance(ctx context.Context, i *schema.Instance, from *parent) error {
	id := i.ID()
	node := RewoundInstance{InstanceID: id, ExecutionID: i.ExecutionID.Value}
	if from != nil {
		node.Parent = from.instanceID
	}
	r.p.rows[id] = i.ETag
	at := len(r.p.Instances)
	r.p.Instances = append(r.p.Instances, node)

	h, err := r.scan(ctx, id)
	if err != nil {
		return err
	}
	r.check(i, h, from)
	after, err := r.changes(ctx, id, h)
	if err != nil {
		return err
	}
	leaf := true
	for _, f := range h.failures {
		r.p.Changes = append(r.p.Changes, after[f.schedule]...)
		delete(after, f.schedule) // once, even if it has failed twice
		if f.child != "" {
			added, err := r.child(ctx, id, f.child, f.rowKey, i.ExecutionID.Value)
			if err != nil {
				return err
			}
			leaf = leaf && !added
		}
		r.p.Changes = append(r.p.Changes, after[f.rowKey]...)
	}
	r.p.Changes = append(r.p.Changes, after[h.completed]...)
	for _, eventID := range slices.Sorted(maps.Keys(h.rewoundChildren)) {
		// An interrupted rewind has dealt with these, but woken nobody yet.
		w := h.rewoundChildren[eventID]
		added, err := r.child(ctx, id, w.child, w.rowKey, i.ExecutionID.Value)
		if err != nil {
			return err
		}
		leaf = leaf && !added
	}
	r.p.Instances[at].Leaf = leaf
	r.p.Instances[at].Already = h.completed == "" && h.rewound && i.Status() == schema.StatusPending
	if i.Status() == schema.StatusPending {
		return nil
	}
	before := i.Row()
	pending := before.Clone()
	pending.Set("RuntimeStatus", schema.String(schema.StatusPending.String()))
	pending.Set("LastUpdatedTime", schema.DateTime(r.c.now()))
	r.p.Changes = append(r.p.Changes, RowChange{Table: hub.Instances, InstanceID: id, Before: before, After: pending})
	return nil
}

// child adds a sub-orchestration whose failure is rewound. It returns false if the
// sub-orchestration takes no part.
func (r *rewinding) child(ctx context.Context, id, child, rowKey, execution string) (bool, error) {
	note := func(level ProblemLevel, code, detail string) {
		r.problem(level, code, id, fmt.Sprintf("sub-orchestration %q %s", child, detail), rowKey)
	}
	for _, i := range r.p.Instances {
		switch {
		case i.InstanceID != child:
		case i.Parent == id:
			return true, nil // it has failed twice
		default:
			note(Impossible, "circle", "takes part twice")
			return false, nil
		}
	}
	if len(r.p.Instances) == maxRewindInstances {
		return false, fmt.Errorf("more than %d sub-orchestrations have failed", maxRewindInstances)
	}
	i, err := r.c.instance(ctx, child)
	if err != nil {
		return false, err
	}
	switch {
	case i == nil:
		note(Impossible, "child-gone", "has no row")
		return false, nil
	case i.Status() == schema.StatusFailed, i.Status() == schema.StatusPending:
		return true, r.instance(ctx, i, &parent{id, execution})
	case i.Status().Terminal():
		note(Breaks, "child-ended", "has ended as "+i.Status().String()+", and its answer will not come again")
		return false, nil
	}
	note(Breaks, "child-running", "is "+i.Status().String()+": it was started anew, or rewound by itself")
	return false, nil
}

// failure is a row that a rewind takes back.
type failure struct {
	rowKey   string
	schedule string // RowKey of what scheduled it
	child    string // instance ID of a sub-orchestration
}

// scanned is what one reading of a history tells.
type scanned struct {
	execution string // the sentinel's
	sentinel  bool
	torn      bool
	rows      int
	started   *schema.ExecutionStarted
	failures  []failure
	// completed is the RowKey of the failed ExecutionCompleted; empty without one.
	completed string
	// rewound says that an ExecutionCompleted was rewound before, and that nothing
	// but that has happened to it since.
	rewound bool
	// rewoundChildren are sub-orchestrations whose failure an earlier rewind took
	// back and which have not answered since, by the EventId that started them.
	rewoundChildren map[int32]failure
	marks           map[string]string // new Reason of rows that change, by RowKey
	noSchedule      []string
	open            map[int32]openAction
	// late are the actions after a failure, which may be its consequence, and sure
	// those of episodes in which nothing else was delivered.
	late, sure []string
}

type openAction struct {
	rowKey, kind string
	fireAt       schema.Ticks
}

const (
	rewoundMark      = "Rewound: "
	rewoundTask      = rewoundMark + "TaskScheduled"
	rewoundChildMark = rewoundMark + "SubOrchestrationInstanceCreated"
)

// episode is what is delivered to the orchestrator at once, and what it does then.
type episode struct {
	failures, others int
	actions          []string
}

// scan reads the live history of an instance once.
func (r *rewinding) scan(ctx context.Context, id string) (*scanned, error) {
	keys := hub.Partition(schema.EscapeKey(id))
	s := &scanned{marks: make(map[string]string), open: make(map[int32]openAction), rewoundChildren: make(map[int32]failure)}
	sentinel, err := r.c.q.sentinel(ctx, keys)
	if err != nil {
		return nil, err
	}
	if sentinel != nil {
		s.sentinel = true
		s.execution, _ = sentinel.Get("ExecutionId").Text()
		complete, known := sentinel.Get("IsCheckpointComplete").Bool()
		s.torn = known && !complete
	}
	var (
		schedules = make(map[int32]failure) // of what can fail, by EventId
		late      []episode
		now       episode
	)
	endEpisode := func() {
		if len(now.actions) > 0 && (now.failures > 0 || len(s.failures) > 0) {
			late = append(late, now)
		}
		now = episode{}
	}
	for row, err := range r.c.q.r.Rows(ctx, hub.History, keys) {
		if err != nil {
			return nil, err
		}
		if row.IsSentinel() {
			continue
		}
		if execution, _ := row.Get("ExecutionId").Text(); execution != s.execution {
			break
		}
		s.rows++
		key := strings.Clone(row.RowKey)
		typeName, _ := row.Get("EventType").Text()
		reason, _ := row.Get("Reason").Text()
		eventID, taskID := int32Of(&row, "EventId"), int32Of(&row, "TaskScheduledId")
		switch schema.EventTypeNamed(typeName) {
		case schema.TypeOrchestratorStarted:
			endEpisode()
			s.rewound = false
		case schema.TypeExecutionStarted:
			row = row.Clone()
			if h, err := schema.DecodeHistoryRow(&row); err == nil {
				s.started, _ = h.Event.(*schema.ExecutionStarted)
			}
			now.others++
		case schema.TypeTaskScheduled:
			schedules[eventID] = failure{schedule: key}
			s.open[eventID] = openAction{rowKey: key, kind: "activity"}
			now.actions = append(now.actions, key)
		case schema.TypeSubOrchestrationCreated:
			child, _ := row.Get("InstanceId").Text()
			schedules[eventID] = failure{schedule: key, child: strings.Clone(child)}
			s.open[eventID] = openAction{rowKey: key, kind: "sub-orchestration"}
			now.actions = append(now.actions, key)
		case schema.TypeTimerCreated:
			at, _ := row.Get("FireAt").Time()
			s.open[eventID] = openAction{rowKey: key, kind: "timer", fireAt: at}
			now.actions = append(now.actions, key)
		case schema.TypeEventSent:
			now.actions = append(now.actions, key)
		case schema.TypeTaskCompleted, schema.TypeSubOrchestrationCompleted:
			delete(s.open, taskID)
			delete(s.rewoundChildren, taskID)
			now.others++
		case schema.TypeTimerFired:
			delete(s.open, int32Of(&row, "TimerId"))
			now.others++
		case schema.TypeTaskFailed, schema.TypeSubOrchestrationFailed:
			now.failures++
			delete(s.open, taskID)
			delete(s.rewoundChildren, taskID)
			f, ok := schedules[taskID]
			if !ok {
				s.noSchedule = append(s.noSchedule, key)
				continue
			}
			f.rowKey = key
			s.failures = append(s.failures, f)
			s.marks[key] = rewoundMark + typeName
		case schema.TypeExecutionCompleted:
			if status, _ := row.Get("OrchestrationStatus").Text(); status == schema.StatusFailed.String() {
				s.completed = key
				s.marks[key] = rewoundMark + typeName
			}
		case schema.TypeGeneric:
			switch original, ok := strings.CutPrefix(reason, rewoundMark); {
			case !ok:
				now.others++ // the message of an earlier rewind
			case original == "TaskScheduled":
				// If a rewind was interrupted just after this row, the failure is
				// still to be found.
				schedules[eventID] = failure{}
			case original == "SubOrchestrationInstanceFailed":
				delete(s.open, taskID)
				if f := schedules[taskID]; f.child != "" {
					f.rowKey = key
					s.rewoundChildren[taskID] = f
				}
			case original == "ExecutionCompleted", original == "GenericEvent":
				s.rewound = true
			}
		case schema.TypeOrchestratorCompleted:
		default:
			now.others++
		}
	}
	endEpisode()
	s.sort(late)
	return s, nil
}

func int32Of(row *schema.Row, column string) int32 {
	n, ok := row.Get(column).Int()
	if !ok {
		return -1
	}
	return int32(n)
}

// sort finds the actions that stay in the history after a failure that does not,
// and marks what scheduled the failures.
func (s *scanned) sort(late []episode) {
	failed := make(map[string]bool)
	for _, f := range s.failures {
		if f.schedule == "" {
			continue
		}
		failed[f.schedule] = true
		s.marks[f.schedule] = rewoundTask
		if f.child != "" {
			s.marks[f.schedule] = rewoundChildMark
		}
	}
	for _, e := range late {
		for _, key := range e.actions {
			switch {
			case failed[key] && s.marks[key] == rewoundTask:
				// goes with its own failure
			case e.failures > 0 && e.others == 0:
				s.sure = append(s.sure, key)
			default:
				s.late = append(s.late, key)
			}
		}
	}
}

// check notes what speaks against rewinding an instance.
func (r *rewinding) check(i *schema.Instance, s *scanned, from *parent) {
	id := i.ID()
	switch {
	case !s.sentinel || s.rows == 0:
		r.problem(Impossible, "no-history", id, "it has no history that a worker would read")
		return
	case i.ExecutionID.Set && i.ExecutionID.Value != s.execution:
		r.problem(Impossible, "other-execution", id, "its history is that of another execution than its row: it was started anew, and no worker has taken that up")
		return
	case s.torn:
		r.problem(Impossible, "torn", id, "its last checkpoint is not complete")
	}
	if s.completed == "" && !s.rewound {
		r.problem(Impossible, "not-failed", id, "its history does not end in a failure")
	}
	if len(s.noSchedule) > 0 {
		r.problem(Impossible, "no-schedule", id, "what has failed was never scheduled", s.noSchedule...)
	}
	if from != nil && from.executionID != "" && !startedBy(s.started, from) {
		r.problem(Breaks, "other-parent", id, fmt.Sprintf("it is not the sub-orchestration that instance %q has started", from.instanceID))
	}
	if len(s.sure) > 0 {
		r.problem(Breaks, "after-failure", id, "it has gone on after a failure, as a retry does, and what it did then does not fit the history without it", s.sure...)
	}
	if len(s.late) > 0 {
		r.problem(Doubtful, "maybe-after-failure", id, "it has gone on after a failure; if because of it, what it did then does not fit the history without it", s.late...)
	}
	var tasks, timers []string
	for _, o := range s.open {
		switch {
		case o.kind == "timer" && o.fireAt <= r.c.now():
			timers = append(timers, o.rowKey)
		case o.kind == "activity", o.kind == "sub-orchestration":
			tasks = append(tasks, o.rowKey)
		}
	}
	if len(tasks) > 0 {
		slices.Sort(tasks)
		r.problem(Breaks, "open-task", id, "it has failed before all its activities and sub-orchestrations have answered, and what answers a failed instance is lost", tasks...)
	}
	if len(timers) > 0 {
		slices.Sort(timers)
		r.problem(Doubtful, "open-timer", id, "a timer of it was due after it has failed, and will not fire again", timers...)
	}
}

// startedBy reports whether an execution was started by this execution of its
// parent.
func startedBy(e *schema.ExecutionStarted, from *parent) bool {
	var p struct {
		OrchestrationInstance struct{ InstanceId, ExecutionId string }
	}
	if e == nil || json.Unmarshal([]byte(e.ParentInstance.Value), &p) != nil {
		return false
	}
	o := p.OrchestrationInstance
	return o.InstanceId == from.instanceID && o.ExecutionId == from.executionID
}

// changes reads the rows that change and returns what becomes of them, by RowKey.
func (r *rewinding) changes(ctx context.Context, id string, s *scanned) (map[string][]RowChange, error) {
	after := make(map[string][]RowChange)
	if len(s.marks) == 0 {
		return after, nil
	}
	for row, err := range r.c.q.r.Rows(ctx, hub.History, hub.Partition(schema.EscapeKey(id))) {
		if err != nil {
			return nil, err
		}
		mark, ok := s.marks[row.RowKey]
		if !ok {
			continue
		}
		if execution, _ := row.Get("ExecutionId").Text(); execution != s.execution {
			return nil, fmt.Errorf("history of %q: %w", id, hub.ErrConflict)
		}
		change := RowChange{Table: hub.History, InstanceID: id, Before: row.Clone(), After: row.Clone()}
		change.After.Set("Reason", schema.String(mark))
		if mark != rewoundChildMark {
			change.After.Set("EventType", schema.String(schema.TypeGeneric.String()))
		}
		if !schema.SameProperties(&change.Before, &change.After) {
			after[row.RowKey] = append(after[row.RowKey], change)
		}
		delete(s.marks, row.RowKey)
	}
	if len(s.marks) > 0 {
		return nil, fmt.Errorf("history of %q: %w", id, hub.ErrConflict)
	}
	return after, nil
}
