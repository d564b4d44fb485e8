package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// whereabouts says where a message is that must exist.
type whereabouts int

const (
	nowhere   whereabouts = iota // in no queue, for certain
	perhaps                      // it may be among those that are hidden
	somewhere                    // it can be seen, or is hidden as it should be
)

// waiting reports whether the instance waits for what its history lists as open.
func (s *subject) waiting() bool {
	return s.live() && s.current() && !s.h.Live.Status.Terminal() && (s.row == nil || !s.row.Status().Terminal())
}

// workChecks looks for the message of everything that an instance waits for.
func (v *run) workChecks(ctx context.Context, s *subject) error {
	if !s.waiting() || !v.wants(codeLostWork) && !v.wants(codeChildDoneParentWaiting) {
		return nil
	}
	var lost []replay.Open
	for i := range s.h.Live.Open {
		o := &s.h.Live.Open[i]
		if v.childrenOnly && o.Kind != replay.OpenSubOrchestration {
			continue
		}
		at, err := v.find(ctx, s, o)
		if err != nil {
			return err
		}
		switch {
		case at == somewhere:
		case v.moving():
			s.unknown(codeLostWork, whyMoving)
		case at == perhaps:
			s.unknown(codeLostWork, "the message may be among those that are hidden")
		default:
			lost = append(lost, *o)
		}
	}
	if len(lost) == 0 {
		return nil
	}
	if why := v.apart(s); why != "" {
		s.unknown(codeLostWork, why)
		return nil
	}
	f := Finding{Code: codeLostWork}
	for i := range lost[:min(len(lost), MaxPlaces)] {
		f.At = append(f.At, historyRow(s.key, lost[i].RowKey, ""))
	}
	f.Detail = "waits for " + describe(&lost[0])
	if n := len(lost) - 1; n > 0 {
		f.Detail += fmt.Sprintf(" and %d more", n)
	}
	f.Detail += ", and no queue can hold the message"
	s.violated(f)
	return nil
}

// describe says what open work is.
func describe(o *replay.Open) string {
	kind := o.Kind.Words()
	switch o.Kind {
	case replay.OpenActivity:
		return fmt.Sprintf("%s %d (%s)", kind, o.EventID, o.Name)
	case replay.OpenTimer:
		return fmt.Sprintf("%s %d, due %s", kind, o.EventID, o.FireAt)
	case replay.OpenSubOrchestration:
		return fmt.Sprintf("%s %d (%s)", kind, o.EventID, o.InstanceID)
	}
	return fmt.Sprintf("%s %d of %s", kind, o.EventID, o.InstanceID)
}

// find looks for the message of one piece of open work.
func (v *run) find(ctx context.Context, s *subject, o *replay.Open) (whereabouts, error) {
	switch o.Kind {
	case replay.OpenActivity:
		return v.findActivity(s, o), nil
	case replay.OpenTimer:
		return v.findTimer(s, o), nil
	case replay.OpenSubOrchestration:
		return v.findChild(ctx, s, o)
	case replay.OpenEntityCall, replay.OpenLockRequest:
		return v.findCall(ctx, s, o)
	case replay.OpenSignal:
		return v.findSignal(s, o), nil
	}
	return somewhere, nil // events and locks are held, not awaited
}

// ours reports whether a message is for the execution of s.
func ours(s *subject, m *pendingMessage) bool {
	return m.ExecutionID == "" || m.ExecutionID == s.h.Live.ExecutionID
}

// findActivity looks for a work item or its result. The result is queued before
// the work item is deleted.
//
// Source: durabletask 2.9.1, AzureStorageOrchestrationService.cs:1600-1639.
func (v *run) findActivity(s *subject, o *replay.Open) whereabouts {
	for _, m := range v.messages.workItems(s.id) {
		if m.Event.Type() == schema.TypeTaskScheduled && m.Event.Header().EventID == o.EventID && ours(s, m) {
			return somewhere
		}
	}
	if v.answered(s, o.EventID) {
		return somewhere
	}
	work := v.info.Names.WorkItemQueue()
	if v.messages.hidden(work)+v.messages.hiddenFor(s.id) == 0 {
		return nowhere
	}
	v.expect(fmt.Sprintf("activity %d of %s or its result", o.EventID, s.id), historyRow(s.key, o.RowKey, ""),
		append(v.messages.controlQueues(s.id), work)...)
	return perhaps
}

// answered reports whether a result of an activity, timer or sub-orchestration
// can be seen.
func (v *run) answered(s *subject, id int32) bool {
	return slices.ContainsFunc(v.messages.forInstance(s.id), func(m *pendingMessage) bool {
		if !ours(s, m) {
			return false
		}
		switch e := m.Event.(type) {
		case *schema.TaskCompleted:
			return e.TaskScheduledID == id
		case *schema.TaskFailed:
			return e.TaskScheduledID == id
		case *schema.TimerFired:
			return e.TimerID == id
		case *schema.SubOrchestrationCompleted:
			return e.TaskScheduledID == id
		case *schema.SubOrchestrationFailed:
			return e.TaskScheduledID == id
		}
		return false
	})
}

// findTimer looks for the message of a timer. It is queued when the timer is
// created, hidden until it is due.
func (v *run) findTimer(s *subject, o *replay.Open) whereabouts {
	if v.answered(s, o.EventID) {
		return somewhere
	}
	if v.messages.hiddenFor(s.id) == 0 {
		return nowhere
	}
	v.expect(fmt.Sprintf("timer %d of %s", o.EventID, s.id), historyRow(s.key, o.RowKey, ""), v.messages.controlQueues(s.id)...)
	if o.FireAt > v.now {
		return somewhere
	}
	return perhaps
}

// findSignal looks for a signal that an orchestration has sent to an entity for
// later.
func (v *run) findSignal(s *subject, o *replay.Open) whereabouts {
	if o.FireAt <= v.now || v.messages.hiddenFor(o.InstanceID) > 0 {
		return somewhere // delivered, or hidden as it should be
	}
	for _, m := range v.messages.forInstance(o.InstanceID) {
		if m.Request != nil {
			return somewhere
		}
	}
	return nowhere
}

// findChild looks for a sub-orchestration: its start message until it has a row,
// and its answer once it has ended.
func (v *run) findChild(ctx context.Context, s *subject, o *replay.Open) (whereabouts, error) {
	if slices.Contains(s.scan.forgotten, o.RowKey) {
		return somewhere, nil
	}
	if o.InstanceID == s.id || v.later(s, o) {
		return somewhere, nil // see duplicate-suborchestration and awaitedChildren
	}
	child, err := v.instance(ctx, o.InstanceID)
	if err != nil {
		return 0, err
	}
	if child != nil {
		if child.Status().Terminal() {
			return somewhere, v.childDone(ctx, s, o, child)
		}
		return somewhere, nil
	}
	for _, m := range v.messages.forInstance(o.InstanceID) {
		if m.start() != nil {
			return somewhere, nil
		}
	}
	if v.answered(s, o.EventID) {
		return somewhere, nil // it has ended and was purged
	}
	h, err := v.history(ctx, o.InstanceID)
	if err != nil {
		return 0, err
	}
	switch {
	case h.Rows > 0:
		return somewhere, nil // see instance-missing
	case v.messages.hiddenFor(o.InstanceID)+v.messages.hiddenFor(s.id) > 0:
		if s.h.Live.Started.GenerateNewTrace.Set { // see below
			v.expect(fmt.Sprintf("the start of %s or its answer to %s", o.InstanceID, s.id), historyRow(s.key, o.RowKey, ""),
				append(v.messages.controlQueues(s.id), v.messages.controlQueues(o.InstanceID)...)...)
		}
		return perhaps, nil
	case !s.h.Live.Started.GenerateNewTrace.Set:
		// Before Core 3.9, which writes this column, a row may not tell that
		// nobody waits for the child; it may have ended long ago.
		s.unknown(codeLostWork, "a sub-orchestration is gone, which may have been started without waiting for it")
		return somewhere, nil
	}
	return nowhere, nil
}

// childDone looks for the answer of a sub-orchestration that has ended.
func (v *run) childDone(ctx context.Context, s *subject, o *replay.Open, child *schema.Instance) error {
	if !v.wants(codeChildDoneParentWaiting) || v.answered(s, o.EventID) {
		return nil
	}
	h, err := v.history(ctx, o.InstanceID)
	if err != nil {
		return err
	}
	if h.Live.Events > 0 && !child.ExecutionID.Set || h.Live.ExecutionID == child.ExecutionID.Value {
		if p := h.Live.Parent; p == nil || p.OrchestrationInstance.InstanceID != s.id || forgets(&h.Live) {
			return nil // it answers to someone else, or to nobody
		}
	}
	switch why := v.apart(s); {
	case why != "":
		s.unknown(codeChildDoneParentWaiting, why)
	case v.moving():
		s.unknown(codeChildDoneParentWaiting, whyMoving)
	case v.messages.hiddenFor(s.id) > 0:
		v.expect(fmt.Sprintf("the answer of %s to %s", o.InstanceID, s.id), historyRow(s.key, o.RowKey, ""), v.messages.controlQueues(s.id)...)
		s.unknown(codeChildDoneParentWaiting, "the answer may be among the messages that are hidden")
	default:
		s.violated(Finding{
			Code:   codeChildDoneParentWaiting,
			Detail: fmt.Sprintf("sub-orchestration %s is %s, and its answer is in no queue", o.InstanceID, child.Status()),
			At:     []Place{historyRow(s.key, o.RowKey, ""), instanceRow(child.PartitionKey, "RuntimeStatus")},
		})
	}
	return nil
}

// forgets reports whether nobody waits for a sub-orchestration.
//
// Source: durabletask 2.9.1, OrchestrationTags.cs, TaskOrchestrationDispatcher.cs:1086-1119.
func forgets(child *replay.State) bool {
	return child.Started != nil && schema.FireAndForget(child.Started.Tags.Value)
}

// findCall looks for a call of an entity or a request to lock one. It may be in
// the queue of the entity, wait in the entity's own state, or be answered. A
// request to lock several goes from one to the next.
func (v *run) findCall(ctx context.Context, s *subject, o *replay.Open) (whereabouts, error) {
	for _, m := range v.messages.forInstance(s.id) {
		if e, ok := m.Event.(*schema.EventRaised); ok && e.Name.Value == o.RequestID {
			return somewhere, nil
		}
	}
	entities := []string{o.InstanceID}
	hidden := v.messages.hiddenFor(s.id)
	for i := 0; i < len(entities); i++ {
		id := entities[i]
		hidden += v.messages.hiddenFor(id)
		for _, m := range v.messages.forInstance(id) {
			if m.Request != nil && m.Request.ID == o.RequestID {
				return somewhere, nil
			}
		}
		state, err := v.entityState(ctx, id)
		if err != nil {
			return 0, err
		}
		if state == nil {
			continue
		}
		for j := range state.Queue {
			if state.Queue[j].ID == o.RequestID {
				return somewhere, nil
			}
		}
		// Requests that come before their turn are kept aside.
		if strings.Contains(state.Sorter, o.RequestID) {
			return somewhere, nil
		}
		if o.Kind == replay.OpenLockRequest && i == 0 {
			if entities, err = v.lockSet(ctx, s, o); err != nil {
				return 0, err
			}
			i = slices.Index(entities, id)
			entities[0], entities[max(i, 0)] = id, entities[0]
			i = 0
		}
	}
	if hidden == 0 {
		return nowhere, nil
	}
	queues := v.messages.controlQueues(s.id)
	for _, id := range entities {
		queues = append(queues, v.messages.controlQueues(id)...)
	}
	v.expect(fmt.Sprintf("a request of %s to %s or its answer", s.id, o.InstanceID), historyRow(s.key, o.RowKey, ""), queues...)
	return perhaps, nil
}

// lockSet returns the entities that a request wants to lock, at least the first.
func (v *run) lockSet(ctx context.Context, s *subject, o *replay.Open) ([]string, error) {
	all := []string{o.InstanceID}
	keys := hub.Partition(s.key)
	keys.RowKey = o.RowKey
	for row, err := range v.r.Rows(ctx, hub.History, keys) {
		if err != nil {
			return nil, fmt.Errorf("read history of %q: %w", s.id, err)
		}
		h, _ := schema.DecodeHistoryRow(&row)
		sent, ok := h.Event.(*schema.EventSent)
		if !ok {
			continue
		}
		request, err := schema.DecodeEntityRequest(sent.Input.Value)
		if err != nil {
			continue
		}
		for _, e := range request.LockSet[:min(len(request.LockSet), maxLockSet)] {
			if id := e.String(); !slices.Contains(all, id) {
				all = append(all, id)
			}
		}
	}
	return all, nil
}

// maxLockSet is far beyond what an orchestrator locks at once.
const maxLockSet = 1000
