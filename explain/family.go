package explain

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// entity reads the scheduler state of an entity, and who has locked it.
func (e *explainer) entity(ctx context.Context) error {
	if !e.report.Entity || e.self.state == nil {
		return nil
	}
	state, err := entityState(e.self)
	if err != nil {
		e.problems(err)
		return nil
	}
	if !e.self.state.Input.Set && len(e.self.state.Problems) > 0 {
		return nil // it has one, and it cannot be read
	}
	s := &EntityState{Exists: state.HasState(), Suspended: state.Suspended, LockedBy: strings.Clone(state.LockedBy.Value)}
	for i := range state.Queue {
		if len(s.Waiting) == MaxAwaits {
			s.WaitingMore = int64(len(state.Queue) - MaxAwaits)
			break
		}
		q := &state.Queue[i]
		s.Waiting = append(s.Waiting, Operation{
			Name: clip(q.Operation.Value), Lock: q.LockSet != nil, Signal: q.Signal, ID: clip(q.ID), Parent: clip(q.Parent.Value),
		})
	}
	if s.LockedBy != "" {
		l, err := e.relative(ctx, s.LockedBy)
		if err != nil {
			return err
		}
		holder := e.describe(l, -1)
		s.Holder = &holder
	}
	e.report.State = s
	return nil
}

// describe sums a relative up.
func (e *explainer) describe(l *look, eventID int32) Relative {
	r := Relative{InstanceID: l.id, EventID: eventID, Found: l.found(), Status: schema.StatusUnknown}
	if !r.Found {
		r.Summary = "has neither row nor history"
		return r
	}
	if l.row != nil {
		r.Name = clip(l.row.Name.Value)
	}
	if started := l.live().Started; started != nil && r.Name == "" {
		r.Name = clip(started.Name.Value)
	}
	r.Status, r.Since = l.status()
	switch {
	case l.cut:
		r.Summary = "has a history too long to be read here"
	case r.Status.Terminal():
	case l.live().Events == 0 || l.live().ExecutionID != l.judged.ExecutionID:
		r.Summary = "has not begun"
	default:
		r.Summary = e.waitsFor(l)
	}
	return r
}

// waitsFor says in words what a relative waits for.
func (e *explainer) waitsFor(l *look) string {
	var parts []string
	for _, kind := range []struct {
		kind      replay.OpenKind
		one, many string
	}{
		{replay.OpenActivity, "activity", "activities"},
		{replay.OpenSubOrchestration, "sub-orchestration", "sub-orchestrations"},
		{replay.OpenEntityCall, "call of", "entity calls"},
		{replay.OpenLockRequest, "lock of", "locks"},
		{replay.OpenTimer, "timer", "timers"},
	} {
		n, first := 0, replay.Open{}
		for i := range l.live().Open {
			if o := &l.live().Open[i]; o.Kind == kind.kind {
				if n++; n == 1 {
					first = *o
				}
			}
		}
		switch {
		case n == 0:
		case n > 1:
			parts = append(parts, fmt.Sprintf("%d %s", n, kind.many))
		case first.Kind == replay.OpenTimer:
			parts = append(parts, "timer "+fmt.Sprint(first.EventID)+e.dueText(first.FireAt))
		case first.InstanceID != "":
			parts = append(parts, kind.one+" "+clip(first.InstanceID))
		default:
			parts = append(parts, kind.one+" "+clip(first.Name))
		}
	}
	switch {
	case len(parts) > 0:
		return "waits for " + strings.Join(parts, ", ")
	case schema.IsEntity(l.id):
		return ""
	case l.live().Suspended:
		return "waits to be resumed"
	}
	return "waits for an event, or for its messages to be taken"
}

// dueText says in how long a time is, or how long it has been over.
func (e *explainer) dueText(t schema.Ticks) string {
	switch {
	case t == 0:
		return ""
	case e.now == 0:
		return ", due " + moment(t)
	case t > e.now:
		return ", due in " + span(t.Time().Sub(e.now.Time()))
	}
	return ", overdue by " + span(e.now.Time().Sub(t.Time()))
}

// made tells of an instance that has not begun who made it, and by which event.
type made struct {
	parent *look
	open   replay.Open
}

// findParent looks for the parent of an instance without row and history. The
// IDs that the framework gives to sub-orchestrations do not name the parent, but
// those that apps give mostly begin with its ID and a colon.
func (e *explainer) findParent(ctx context.Context) error {
	e.made = nil
	i := strings.LastIndexByte(e.self.id, ':')
	if e.self.found() || i < 1 {
		return nil
	}
	l, err := e.relative(ctx, e.self.id[:i])
	if err != nil || l.judged.Status.Terminal() {
		return err
	}
	for _, o := range l.live().Open {
		if o.Kind == replay.OpenSubOrchestration && o.InstanceID == e.self.id {
			e.made = &made{l, o}
		}
	}
	return nil
}

// family follows the parents to the root, and the children down.
func (e *explainer) family(ctx context.Context) error {
	if err := e.parents(ctx); err != nil {
		return err
	}
	return e.children(ctx)
}

func (e *explainer) parents(ctx context.Context) error {
	r := e.report
	below := e.self
	parent := e.parentOf(below)
	chain := []string{e.self.id}
	for parent != "" && len(r.Parents) < maxParents {
		cycle := slices.Contains(chain, parent)
		l := e.self
		if parent != e.self.id {
			var err error
			if l, err = e.relative(ctx, parent); err != nil {
				return err
			}
		}
		p := e.describe(l, -1)
		p.Cycle = cycle
		p.Open = !l.judged.Status.Terminal() && slices.ContainsFunc(l.live().Open, func(o replay.Open) bool {
			return o.Kind == replay.OpenSubOrchestration && o.InstanceID == below.id
		})
		r.Parents = append(r.Parents, p)
		if len(r.Parents) == 1 {
			e.answer(l, &p)
		}
		if cycle {
			return nil
		}
		chain = append(chain, parent)
		below, parent = l, e.parentOf(l)
	}
	if parent != "" {
		e.problems(fmt.Errorf("more than %d parents: the chain was not followed to its end", maxParents))
	}
	return nil
}

// parentOf returns the parent of an instance; of one that has not begun, as the
// message says that starts it.
func (e *explainer) parentOf(l *look) string {
	if p := l.live().Parent; p != nil {
		return p.OrchestrationInstance.InstanceID
	}
	switch {
	case l.live().Events > 0:
		return ""
	case l == e.self && e.made != nil:
		return e.made.parent.id
	}
	for i := range e.queues.byInstance[l.id] {
		if m := &e.queues.byInstance[l.id][i]; m.parent != "" {
			return m.parent
		}
	}
	return ""
}

// answer tells where the answer is that a child which has ended owes its parent.
func (e *explainer) answer(parent *look, p *Relative) {
	own := e.self.live().Parent
	if !p.Open || own == nil || !e.self.judged.Status.Terminal() {
		return
	}
	a := Await{Kind: Answer, EventID: own.TaskScheduleID, InstanceID: parent.id, Since: e.report.Since}
	a.Messages = []Sought{{
		Queue: e.queues.controlQueue(parent.id), InstanceID: parent.id, ExecutionID: parent.judged.ExecutionID,
		Types: []schema.EventType{schema.TypeSubOrchestrationCompleted, schema.TypeSubOrchestrationFailed}, TaskID: own.TaskScheduleID,
	}}
	e.queues.conclude(&a, e.now)
	e.report.Sent = append(e.report.Sent, a)
}

// children lists the sub-orchestrations, those that are waited for first, and
// below each that has not ended what it waits for in turn.
func (e *explainer) children(ctx context.Context) error {
	r, n := e.report, &e.self.notes
	open := make(map[int32]bool)
	var listed []child
	if !e.self.judged.Status.Terminal() {
		for i := range e.self.live().Open {
			if o := &e.self.live().Open[i]; o.Kind == replay.OpenSubOrchestration && len(listed) < MaxRelatives {
				open[o.EventID] = true
				listed = append(listed, child{o.InstanceID, o.Name, o.EventID})
			}
		}
	}
	total := n.childrenMore + int64(len(n.children))
	for _, c := range n.children {
		if !open[c.eventID] && len(listed) < MaxRelatives {
			listed = append(listed, c)
		}
	}
	for _, c := range listed {
		if len(r.Children) >= MaxRelatives {
			break
		}
		if err := e.below(ctx, c, open[c.eventID], []string{e.self.id}); err != nil {
			return err
		}
		total--
	}
	r.ChildrenMore = max(total, 0)
	return nil
}

// below adds a child and what it waits for in turn. path holds the instances above.
func (e *explainer) below(ctx context.Context, c child, open bool, path []string) error {
	r := e.report
	if c.id == "" || slices.Contains(path, c.id) {
		r.Children = append(r.Children, Relative{
			InstanceID: c.id, Name: c.name, EventID: c.eventID, Status: schema.StatusUnknown,
			Open: open, Cycle: c.id != "", Depth: len(path),
		})
		return nil
	}
	l, err := e.relative(ctx, c.id)
	if err != nil {
		return err
	}
	rel := e.describe(l, c.eventID)
	rel.Open, rel.Depth = open, len(path)
	if rel.Name == "" {
		rel.Name = c.name
	}
	r.Children = append(r.Children, rel)
	if rel.Status.Terminal() || len(path) == maxDepth {
		return nil
	}
	path = append(slices.Clone(path), c.id)
	for i := range l.live().Open {
		o := &l.live().Open[i]
		if o.Kind != replay.OpenSubOrchestration {
			continue
		}
		if len(r.Children) >= MaxRelatives {
			return nil
		}
		if err := e.below(ctx, child{o.InstanceID, o.Name, o.EventID}, true, path); err != nil {
			return err
		}
	}
	return nil
}
