package replay

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/taskhub-tools/taskhub/schema"
)

// execution replays the rows of one execution, by the rules of the framework's
// runtime state for the status and by those of its checkpoints for what they
// wrote to the Instances row.
//
// Source: durabletask 2.9.1, OrchestrationRuntimeState.cs:83-98, 165-194,
// 229-319; AzureTableTrackingStore.cs:934-1062.
type execution struct {
	*State
	work work
	tail bool // what came before was overwritten, so pairs cannot be judged

	completedEpisode int64
	afterCompletion  bool // was reported
	suspended        bool

	// A rewind changes rows in place, long after they were written. So a row that
	// it has changed is replayed as what it was, and the rewind itself where it
	// took place: before the first row that follows the completion that it took
	// back. Until then rewindDue holds.
	rewindDue bool
	rewindAt  schema.Ticks // by the service's clock
	// reopened are sub-orchestrations whose failure the rewind takes back. The
	// parent waits for another result of the same child.
	reopened []task
	marked   []int32 // EventIds of tasks whose rows are marked
}

// place is a row by its position, or by its key if that is malformed.
type place struct {
	sequence int64
	key      string
	known    bool
}

func (p place) String() string {
	switch {
	case !p.known:
		return ""
	case p.key != "":
		return p.key
	}
	key := rowKey(p.sequence)
	return string(key[:])
}

const keyLength = 16

// rowKey is [schema.FormatSequence], which every piece of open work needs.
func rowKey(n int64) (key [keyLength]byte) {
	const digits = "0123456789ABCDEF"
	for i := len(key) - 1; i >= 0; i-- {
		key[i] = digits[n&15]
		n >>= 4
	}
	return key
}

// reset begins an execution whose state goes to s.
func (x *execution) reset(s *State, id string, tail bool) {
	x.work.reset()
	x.State, x.reopened, x.tail = s, x.reopened[:0], tail
	x.completedEpisode, x.afterCompletion, x.suspended = 0, false, false
	x.rewindDue, x.rewindAt, x.marked = false, 0, x.marked[:0]
	x.ExecutionID = id
	x.Status, x.RowStatus = schema.StatusRunning, schema.StatusUnknown
	x.last = schema.TypeUnknown
}

// apply replays one row.
func (r *Replayer) apply(x *execution, e *record, row *schema.Row, at place) {
	kind := e.kind
	original, rewound := e.rewound()
	if rewound {
		kind = original
		x.rewindAt = max(x.rewindAt, row.Timestamp)
	}
	if x.rewindDue && !rewound && kind != schema.TypeOrchestratorCompleted {
		x.rewind()
	}
	if x.Completed != nil && !x.afterCompletion && x.Status != schema.StatusContinuedAsNew && x.endedBefore(kind) {
		x.afterCompletion = true
		r.anomaly(AnomalyAfterCompletion, x.ExecutionID, "", "an event follows the end of the execution", x.completed, at)
	}
	switch kind {
	case schema.TypeOrchestratorStarted:
		if x.Events > 0 && x.last != schema.TypeOrchestratorCompleted {
			r.anomaly(AnomalyUnclosedEpisode, x.ExecutionID, "", "an episode begins before the one before has ended", x.lastRow, at)
		}
		x.Episodes++
	case schema.TypeTaskScheduled:
		r.begin(x, activity, e, at, rewound)
	case schema.TypeTimerCreated:
		r.begin(x, timer, e, at, false)
	case schema.TypeSubOrchestrationCreated:
		r.begin(x, subOrchestration, e, at, rewound)
		if e.instance != "" && e.instance == r.instanceID() {
			r.anomaly(AnomalySelfReference, x.ExecutionID, "InstanceId", "the instance is its own child", at)
		}
	case schema.TypeTaskCompleted, schema.TypeTaskFailed:
		r.answer(x, activity, e.taskID, at, false)
	case schema.TypeSubOrchestrationCompleted, schema.TypeSubOrchestrationFailed:
		r.answer(x, subOrchestration, e.taskID, at, rewound)
	case schema.TypeTimerFired:
		r.answer(x, timer, e.timerID, at, false)
	case schema.TypeEventSent:
		r.sent(x, e, at)
	case schema.TypeEventRaised:
		r.raised(x, e, at)
	case schema.TypeExecutionStarted:
		r.start(x, e, row, at)
	case schema.TypeExecutionCompleted, schema.TypeContinueAsNew:
		r.complete(x, kind, e, row, at)
		if rewound {
			x.rewindDue = true
		}
	case schema.TypeExecutionTerminated:
		x.wrote(schema.StatusTerminated, "Input", cloneText(e.input), at)
	case schema.TypeExecutionSuspended:
		x.suspended = true
		x.Status = schema.StatusSuspended
		x.SuspendReason = cloneText(e.reason)
		x.wrote(schema.StatusSuspended, "Reason", x.SuspendReason, at)
	case schema.TypeExecutionResumed:
		x.suspended = false
		if x.Completed == nil {
			x.Status = schema.StatusRunning
		}
		x.wrote(schema.StatusRunning, "Reason", cloneText(e.reason), at)
		x.work.released()
	case schema.TypeUnknown, schema.TypeExecutionFailed:
		if !rewound {
			r.anomaly(AnomalyUnknownEvent, x.ExecutionID, "EventType", "the type of the event is not known", at)
		}
	}
	if x.Events == 0 {
		x.firstRow, x.FirstSequence, x.Missing = at, at.sequence, at.sequence
	}
	x.LastSequence = at.sequence
	x.Events++
	x.LastUpdatedTime = e.at
	x.last, x.lastRow = kind, at
}

// endedBefore reports whether an event of this kind cannot follow the completion
// that the execution has. What the orchestrator did in the same episode can, and
// so can a completion, which has a code of its own.
func (x *execution) endedBefore(kind schema.EventType) bool {
	switch kind {
	case schema.TypeOrchestratorCompleted, schema.TypeExecutionCompleted, schema.TypeContinueAsNew:
		return false
	case schema.TypeTaskScheduled, schema.TypeTimerCreated, schema.TypeSubOrchestrationCreated, schema.TypeEventSent:
		return x.Episodes > x.completedEpisode
	}
	return true
}

// wrote notes what a checkpoint writes to the Instances row for an event. An
// output that is null leaves the one before.
func (x *execution) wrote(status schema.Status, column string, output schema.Text, at place) {
	x.RowStatus, x.statusRow = status, at
	if output.Set || output.Blob != "" {
		x.output, x.outputColumn, x.outputRow = output, column, at
	}
}

// failureColumn is the column that makes an output of failure details.
const failureColumn = "FailureDetails"

func (r *Replayer) start(x *execution, e *record, row *schema.Row, at place) {
	if x.Started != nil {
		r.anomaly(AnomalySecondStart, x.ExecutionID, "", "the execution starts a second time", x.started, at)
		return
	}
	s := e.started(row, r.spareStart)
	r.spareStart = nil
	if s == nil {
		return
	}
	cloneStarted(s)
	x.Started, x.started = s, at
	x.CreatedTime = s.Timestamp
	x.wrote(schema.StatusRunning, "", schema.Text{}, at)
	parent, err := parseParent(s.ParentInstance)
	if err != nil {
		r.anomaly(AnomalyUndecodable, x.ExecutionID, "ParentInstance", "is not the JSON of a parent", at)
	}
	x.Parent = parent
	if parent != nil && parent.OrchestrationInstance.InstanceID == r.instanceID() {
		r.anomaly(AnomalySelfReference, x.ExecutionID, "ParentInstance", "the instance is its own parent", at)
	}
}

// parseParent is [schema.ParseParentInstance]. Every child has a parent, and most
// children have short histories, so what the framework writes is cut apart at the
// texts between the values. Anything else, such as an escape, is for the general way.
func parseParent(t schema.Text) (*schema.ParentInstance, error) {
	if t.IsNull() {
		return nil, nil
	}
	p := new(schema.ParentInstance)
	rest, ok := t.Value, true
	next := func(before, after string) string {
		var value string
		if ok {
			rest, ok = strings.CutPrefix(rest, before)
		}
		if ok {
			value, rest, ok = strings.Cut(rest, after)
		}
		return value
	}
	p.Name = next(`{"Name":"`, `"`)
	p.OrchestrationInstance.InstanceID = next(`,"OrchestrationInstance":{"InstanceId":"`, `"`)
	p.OrchestrationInstance.ExecutionID = next(`,"ExecutionId":"`, `"`)
	id := next(`},"TaskScheduleId":`, `,`)
	p.Version = next(`"Version":"`, `"`)
	n, err := strconv.ParseInt(id, 10, 32)
	if !ok || err != nil || id != strconv.FormatInt(n, 10) || rest != "}" || strings.Contains(t.Value, `\`) || !utf8.ValidString(t.Value) {
		return schema.ParseParentInstance(t)
	}
	p.TaskScheduleID = int32(n)
	return p, nil
}

func (r *Replayer) complete(x *execution, kind schema.EventType, e *record, row *schema.Row, at place) {
	x.work.acted()
	c := &schema.ExecutionCompleted{EventHeader: schema.EventHeader{EventID: e.eventID, Timestamp: e.at}}
	c.IsPlayed, _ = row.Get("IsPlayed").Bool()
	if e.has&hasStatus != 0 {
		c.OrchestrationStatus = schema.Some(e.status)
	}
	c.Result, c.FailureDetails = cloneText(e.result), cloneText(e.failure)
	status := c.OrchestrationStatus.Value // absent reads as Running, the zero value
	if kind == schema.TypeContinueAsNew {
		status = schema.StatusContinuedAsNew
	}
	if c.FailureDetails.IsNull() {
		x.wrote(status, "Result", c.Result, at)
	} else {
		x.wrote(status, failureColumn, c.FailureDetails, at)
	}
	// A generation that continued as new may still be terminated.
	if x.Completed != nil && (x.Status != schema.StatusContinuedAsNew || status != schema.StatusTerminated) {
		r.anomaly(AnomalySecondCompletion, x.ExecutionID, "", "the execution ends a second time", x.completed, at)
		return
	}
	x.Completed, x.completed, x.completedEpisode = c, at, x.Episodes
	x.Status, x.CompletedTime = status, e.at
	x.Rewound = false
}

// rewind takes back the end of the execution, as a rewind has done to its rows.
func (x *execution) rewind() {
	if x.Completed != nil && x.rewindDue {
		x.Completed, x.completed, x.CompletedTime = nil, place{}, 0
		x.Status = schema.StatusRunning
		if x.suspended {
			x.Status = schema.StatusSuspended
		}
		x.RowStatus, x.statusRow = schema.StatusPending, x.lastRow
		x.Rewound = true
	}
	x.rewindDue, x.rewindAt = false, 0
	for _, t := range x.reopened {
		if _, open := x.work.find(t.eventID); !open {
			x.work.begin(t)
		}
	}
	x.reopened = x.reopened[:0]
	for _, id := range x.marked {
		if slot, open := x.work.find(id); open && x.work.tasks[slot].neutral {
			x.work.end(id)
		}
	}
	x.marked = x.marked[:0]
}

// begin adds an activity, a timer or a sub-orchestration.
func (r *Replayer) begin(x *execution, kind taskKind, e *record, at place, rewound bool) {
	x.work.acted()
	t := r.task(kind, e, at)
	t.name, t.neutral = r.names.clone(e.name), rewound && e.kind == schema.TypeGeneric
	if e.instance != "" {
		t.instance = strings.Clone(e.instance)
	}
	if !r.opts.OmitInputs && (e.input.Set || e.input.Blob != "") {
		t.extra().input = cloneText(e.input)
	}
	if rewound {
		x.marked = append(x.marked, e.eventID)
	}
	if before, replaced := x.work.begin(t); replaced && !before.neutral && !x.tail && t.eventID >= 0 {
		r.anomaly(AnomalyDuplicateID, x.ExecutionID, "EventId", "other work has this EventId and is open", before.place(), at)
	}
}

// task returns open work that a row begins.
func (r *Replayer) task(kind taskKind, e *record, at place) task {
	t := task{kind: kind, eventID: e.eventID, sequence: at.sequence, since: e.at, fireAt: e.fireAt}
	if at.key != "" {
		t.extra().key = at.key
	}
	return t
}

// extra returns what few tasks have, to be set.
func (t *task) extra() *taskMore {
	if t.more == nil {
		t.more = new(taskMore)
	}
	return t.more
}

// answer takes a result. A second one counts for nothing, as in the framework,
// and like there the kind does not matter.
//
// Source: durabletask 2.9.1, TaskOrchestrationContext.cs:476-586.
func (r *Replayer) answer(x *execution, kind taskKind, id int32, at place, rewound bool) {
	t, ok := x.work.end(id)
	switch {
	case ok && t.kind != kind && !x.tail:
		r.anomaly(AnomalyWrongKind, x.ExecutionID, "", "a result for "+string(openKinds[kind])+" answers "+string(openKinds[t.kind]), t.place(), at)
	case ok:
	case x.work.begun.has(id):
		x.Duplicates++
		if !x.tail {
			r.anomaly(AnomalyDuplicateCompletion, x.ExecutionID, "", "a second result", at)
		}
	case !x.tail:
		r.anomaly(AnomalyOrphanCompletion, x.ExecutionID, "", "a result for work that was not begun", at)
	}
	if ok && rewound && kind == subOrchestration {
		x.reopened = append(x.reopened, t)
	}
}

// sent replays an EventSent. Among them are calls of entities, which look like
// any event: their name begins with op, and the text tells what they ask for.
//
// Source: durabletask 2.9.1, Common/Entities.cs:46-63, ClientEntityHelpers.cs:37-92;
// recorded in instance ecall-1 of hub functions-3.
func (r *Replayer) sent(x *execution, e *record, at place) {
	x.work.acted()
	if !schema.IsEntity(e.instance) {
		return
	}
	release := e.name == "release"
	if !release && !strings.HasPrefix(e.name, "op") {
		return
	}
	input := e.input
	if input.Blob != "" && r.opts.Load != nil {
		if err := r.opts.Load("Input", &input); err != nil {
			r.anomaly(AnomalyUndecodable, x.ExecutionID, "Input", "the blob of an entity request cannot be read", at)
			return
		}
	}
	if input.Blob != "" && input.Value == "" {
		return
	}
	q, err := schema.DecodeEntityRequest(input.Value)
	if q.ID == "" {
		r.anomaly(AnomalyUndecodable, x.ExecutionID, "Input", "is not an entity request", at)
		return
	}
	if release {
		x.work.endNamed(lockName(q.ID, e.instance))
		return
	}
	if err != nil {
		r.anomaly(AnomalyUndecodable, x.ExecutionID, "Input", "the entity request is damaged", at)
	}
	t := r.task(entityCall, e, at)
	t.name = r.names.clone(q.Operation.Value)
	t.instance = strings.Clone(e.instance)
	if due, ok := strings.CutPrefix(e.name, "op@"); ok {
		t.fireAt, _ = schema.ParseTicks(due) // zero if it is not a time
	}
	if !r.opts.OmitInputs && q.Input.Set && q.LockSet == nil {
		t.extra().input = schema.TextOf(strings.Clone(q.Input.Value))
	}
	switch {
	case q.Signal:
		if t.fireAt != 0 {
			t.kind = signal
			x.work.signal(t, e.at)
		}
		return
	case q.LockSet != nil:
		t.kind, t.name = lockRequest, ""
		m := t.extra()
		for _, id := range q.LockSet {
			m.locks = append(m.locks, schema.EntityID{Name: strings.Clone(id.Name), Key: strings.Clone(id.Key)})
		}
	}
	t.extra().request = strings.Clone(q.ID)
	x.work.await(t.more.request, t)
}

func (r *Replayer) raised(x *execution, e *record, at place) {
	if len(x.work.byName) > 0 {
		if t, ok := x.work.endNamed(e.name); ok {
			for _, id := range t.more.locks {
				held := t
				held.kind, held.instance, held.since = lock, id.String(), e.at
				held.more = &taskMore{key: t.more.key, request: t.more.request}
				x.work.await(lockName(t.more.request, held.instance), held)
			}
			return
		}
	}
	if r.entity {
		return
	}
	t := r.task(event, e, at)
	t.name = strings.Clone(e.name)
	if !r.opts.OmitInputs && (e.input.Set || e.input.Blob != "") {
		t.extra().input = cloneText(e.input)
	}
	slot := x.work.add(t)
	if x.suspended {
		x.work.held = append(x.work.held, slot)
	} else {
		x.work.raised = append(x.work.raised, slot)
	}
}

// finish completes the state when no row follows. rewindCounts says whether a
// rewind that no row has followed is part of it.
func (x *execution) finish(rewindCounts bool) {
	if rewindCounts {
		x.rewoundLast = x.rewindDue
		x.rewind()
	}
	s := x.State
	s.Open = x.work.list(s.LastUpdatedTime)
	if s.Started == nil {
		s.Status = schema.StatusUnknown
	}
	s.Suspended = s.Status == schema.StatusSuspended
	if !s.Suspended {
		s.SuspendReason = schema.Text{}
	}
	s.CheckpointOpen = s.Events > 0 && s.last != schema.TypeOrchestratorCompleted
}

// cloneText returns a text that shares no memory with t's row.
func cloneText(t schema.Text) schema.Text {
	t.Value, t.Blob = strings.Clone(t.Value), strings.Clone(t.Blob)
	return t
}

// cloneStarted makes the texts of e its own, in one piece.
func cloneStarted(e *schema.ExecutionStarted) {
	all := [...]*string{
		&e.OrchestrationInstance.Value, &e.ParentInstance.Value, &e.Name.Value, &e.Name.Blob, &e.Version.Value, &e.Input.Value, &e.Input.Blob,
		&e.Tags.Value, &e.Tags.Blob, &e.Correlation.Value, &e.Correlation.Blob, &e.ParentTraceContext.Value,
	}
	n := 0
	for _, s := range all {
		n += len(*s)
	}
	var b strings.Builder
	b.Grow(n)
	for _, s := range all {
		b.WriteString(*s)
	}
	text := b.String()
	for _, s := range all {
		*s, text = text[:len(*s)], text[len(*s):]
	}
}
