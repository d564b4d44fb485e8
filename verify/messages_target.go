package verify

import (
	"context"
	"fmt"
	"slices"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// target is what the tables say of the instance that a message is for.
type target struct {
	row bool
	// Of the row: its execution and whether that has ended.
	rowExecution string
	rowEnded     bool
	// Of the history: whether there is any row, the live execution, how many
	// rows it has and whether it has ended. Read only where the row leaves a doubt.
	history   bool
	execution string
	events    int64
	ended     bool
}

// exists reports whether the tables have anything of the instance.
func (t *target) exists() bool { return t.row || t.history }

// restarted reports whether the row is that of an execution that no worker has
// begun yet, while the history is still of the one before.
func (t *target) restarted() bool {
	return t.row && !t.rowEnded && t.rowExecution != "" && t.rowExecution != t.execution
}

// over reports whether the current execution has ended, as a worker sees it: by
// its history, and by the row for one that was terminated before it began.
func (t *target) over() bool {
	if t.events > 0 {
		return t.ended && !t.restarted()
	}
	return t.rowEnded
}

// runs reports whether id is an execution that the tables name.
func (t *target) runs(id string) bool {
	return id == "" || t.row && (t.rowExecution == id || t.rowExecution == "") || t.events > 0 && t.execution == id
}

// target reads what the tables say of an instance. Histories are read only for a
// message that does not obviously belong to the execution of the row.
func (v *run) target(ctx context.Context, index *messageIndex, id, executionID string) (*target, error) {
	key := id + "\x00" + executionID
	if t := index.targets[key]; t != nil {
		return t, nil
	}
	t := new(target)
	row, err := v.instance(ctx, id)
	if err != nil {
		return nil, err
	}
	if row != nil {
		t.row, t.rowExecution, t.rowEnded = true, row.ExecutionID.Value, row.Status().Terminal()
	}
	if !t.row || t.rowEnded || !t.runs(executionID) {
		h, err := v.history(ctx, id)
		if err != nil {
			return nil, err
		}
		if h != nil {
			t.history, t.events, t.execution = h.Rows > 0 || h.Sentinel != nil, h.Live.Events, h.Live.ExecutionID
			t.ended = h.Live.Status.Terminal()
		}
	}
	index.targets[key] = t
	return t, nil
}

// judgeTarget judges whether the message has an instance that it can do something
// for.
func (v *run) judgeTarget(ctx context.Context, index *messageIndex, m *pendingMessage) ([]outcome, error) {
	if !v.wants(codeStartWithoutInstance) && !v.wants(codeMessageForDeadInstance) {
		return nil, nil
	}
	t, err := v.target(ctx, index, m.InstanceID, m.ExecutionID)
	if err != nil {
		return nil, err
	}
	start := m.start()
	switch {
	case start != nil && start.ParentInstance.IsNull():
		return []outcome{v.judgeClientStart(m, t), v.judgeClientExecution(m, t)}, nil
	case start != nil:
		o, err := v.judgeChildStart(ctx, m, t)
		return []outcome{o}, err
	}
	return []outcome{v.judgeOther(index, m, t)}, nil
}

// late reports whether the message was queued when the table had already been
// read: it may be for an instance that is younger than that. A live hub is asked
// for the row of each message, after the message was seen.
func (v *run) late(m *pendingMessage) bool {
	if v.live || m.Stored.InsertedAt == 0 {
		return false
	}
	for _, t := range v.info.Tables {
		// The service tells times of messages in whole seconds, cut.
		if t.Table == hub.Instances && t.Started != 0 && m.Stored.InsertedAt.Time().Unix() > t.Started.Time().Unix() {
			return true
		}
	}
	return false
}

const whyLate = "the message is younger than the rows that were read"

func (m *pendingMessage) finding(code, format string, args ...any) Finding {
	return Finding{
		Code: code, InstanceID: m.InstanceID, ExecutionID: m.ExecutionID, At: []Place{m.place()}, Detail: fmt.Sprintf(format, args...),
	}
}

// judgeClientStart judges whether the row is there that a client writes right
// after its start message. Without it a worker puts the message back, ten times.
//
// Source: durabletask 2.9.1, OrchestrationSessionManager.cs:236-394.
func (v *run) judgeClientStart(m *pendingMessage, t *target) outcome {
	switch {
	case t.row:
		return passed(codeStartWithoutInstance)
	case v.late(m):
		return unknown(codeStartWithoutInstance, m.InstanceID, whyLate)
	}
	return violated(m.finding(codeStartWithoutInstance, "the message %s is queued, and there is no row: a worker will not start it", m.kind()))
}

// judgeClientExecution judges whether the start is that of the execution that the
// row describes. One that was terminated before it has begun starts all the same.
func (v *run) judgeClientExecution(m *pendingMessage, t *target) outcome {
	switch {
	case !t.row:
		return passed(codeMessageForDeadInstance) // see judgeClientStart
	case !t.runs(m.ExecutionID):
		if v.late(m) {
			return unknown(codeMessageForDeadInstance, m.InstanceID, whyLate)
		}
		return violated(m.finding(codeMessageForDeadInstance, "the message %s starts execution %s; the row is that of %s",
			m.kind(), m.ExecutionID, t.rowExecution))
	case t.events > 0 && t.execution == m.ExecutionID && t.ended:
		return violated(m.finding(codeMessageForDeadInstance, "the message %s starts an execution that has already ended", m.kind()))
	}
	return passed(codeMessageForDeadInstance)
}

// judgeChildStart judges the start of a sub-orchestration. Workers do not look
// for an earlier one: if the child has a history of another execution, it starts
// anew. That is as it should be where the parent waits for the child, which it
// may start again after it has ended.
func (v *run) judgeChildStart(ctx context.Context, m *pendingMessage, t *target) (outcome, error) {
	if !v.wants(codeMessageForDeadInstance) {
		return passed(codeMessageForDeadInstance), nil
	}
	parent, err := schema.ParseParentInstance(m.start().ParentInstance)
	if err != nil || parent == nil {
		return unknown(codeMessageForDeadInstance, m.InstanceID, "its parent cannot be read"), nil
	}
	if t.events > 0 && t.execution == m.ExecutionID {
		if t.ended {
			return violated(m.finding(codeMessageForDeadInstance, "the message %s starts an execution that has already ended", m.kind())), nil
		}
		return passed(codeMessageForDeadInstance), nil // it has just begun
	}
	id := parent.OrchestrationInstance.InstanceID
	row, err := v.instance(ctx, id)
	if err != nil {
		return outcome{}, err
	}
	h, err := v.history(ctx, id)
	if err != nil {
		return outcome{}, err
	}
	if h == nil {
		h = new(replay.History)
	}
	waits := slices.ContainsFunc(h.Live.Open, func(o replay.Open) bool {
		return o.Kind == replay.OpenSubOrchestration && o.InstanceID == m.InstanceID
	})
	warn := func(format string, args ...any) outcome {
		f := m.finding(codeMessageForDeadInstance, format, args...)
		f.Severity = Warning
		return violated(f)
	}
	switch {
	case v.late(m):
		return unknown(codeMessageForDeadInstance, m.InstanceID, whyLate), nil
	case row == nil && h.Rows == 0:
		return warn("the message %s starts a sub-orchestration of %q, which is gone", m.kind(), id), nil
	case t.events > 0 && !t.ended:
		return warn("the message %s starts the sub-orchestration again, while its execution %s runs", m.kind(), t.execution), nil
	case t.events > 0 && !waits:
		return warn("the message %s starts the sub-orchestration again, which has ended and for which its parent %q does not wait",
			m.kind(), id), nil
	}
	return passed(codeMessageForDeadInstance), nil
}

// judgeOther judges a message that is no start.
//
// Source: durabletask 2.9.1, AzureStorageOrchestrationService.cs:805-864, 1066-1126,
// Common/Entities.cs:30-102.
func (v *run) judgeOther(index *messageIndex, m *pendingMessage, t *target) outcome {
	if t.exists() {
		switch {
		case !t.runs(m.ExecutionID):
			if v.late(m) {
				return unknown(codeMessageForDeadInstance, m.InstanceID, whyLate)
			}
			current := t.rowExecution
			if t.events > 0 {
				current = t.execution
			}
			return violated(m.finding(codeMessageForDeadInstance, "the message %s is for execution %s; the current one is %s: it has no effect",
				m.kind(), m.ExecutionID, current))
		case t.over():
			return violated(m.finding(codeMessageForDeadInstance, "the message %s is for an instance that has ended: it has no effect", m.kind()))
		}
		return passed(codeMessageForDeadInstance)
	}
	if v.late(m) {
		return unknown(codeMessageForDeadInstance, m.InstanceID, whyLate)
	}
	event, ok := m.Event.(*schema.EventRaised)
	if ok && schema.IsEntity(m.InstanceID) && m.ExecutionID == "" {
		// Nothing tells the first message for an entity from one for an entity
		// that was purged, except where it presumes an earlier one.
		if event.Name.Value == "release" {
			f := m.finding(codeMessageForDeadInstance, "the message %s releases an entity that is gone: it creates it again", m.kind())
			f.Severity = Warning
			return violated(f)
		}
		return violated(m.finding(codeMessageForDeadInstance, "the message %s creates an entity that is not there: a new one, or one that was purged",
			m.kind()))
	}
	// Whatever was sent to an instance that has not begun waits for its start.
	if slices.ContainsFunc(index.forInstance(m.InstanceID), func(p *pendingMessage) bool { return p.start() != nil }) {
		return passed(codeMessageForDeadInstance)
	}
	if index.hiddenFor(m.InstanceID) > 0 {
		return unknown(codeMessageForDeadInstance, m.InstanceID, "there is no such instance, but a hidden message may start it")
	}
	if _, ok := m.Event.(*schema.ExecutionTerminated); ok {
		return violated(m.finding(codeMessageForDeadInstance,
			"the message %s is for an instance that is gone: from version 2.7.0 on it comes back again and again", m.kind()))
	}
	return violated(m.finding(codeMessageForDeadInstance, "the message %s is for an instance that is gone: it has no effect", m.kind()))
}
