package migrate

import (
	"context"
	"fmt"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// moves reports whether an instance is among those that are chosen.
func (p *pending) moves(instanceID string) bool {
	return p.opts.Select == nil || p.opts.Select(instanceID)
}

// crosses reports whether only one of two instances moves.
func (p *pending) crosses(a, b string) bool { return p.moves(a) != p.moves(b) }

// link is a way in which an instance, the waiter, needs another one.
type link struct {
	// kind is that of the message that will not come.
	kind Kind
	// waiter and worker say for people what is cut, where the one or the other
	// moves, with a place for the one that stays.
	waiter, worker string
}

var (
	childLink       = link{KindChildAnswer, "its sub-orchestration %q has not ended and stays", "its parent %q waits for it and stays"}
	callLink        = link{KindEntityAnswer, "it waits for an answer of entity %q, which stays", "%q waits for its answer and stays"}
	lockRequestLink = link{KindEntityAnswer, "it waits for the lock of entity %q, which stays", "%q waits for its lock and stays"}
	lockLink        = link{KindRelease, "it holds the lock of entity %q, which stays", "it is locked by %q, which stays"}
)

func (l *link) item(p *pending, eventID int32, waiter, worker string) *Item {
	i := &Item{Kind: l.kind, Origin: CutOff, EventID: eventID, InstanceID: waiter, Peer: worker, Why: fmt.Sprintf(l.waiter, worker)}
	if p.moves(worker) {
		i.InstanceID, i.Peer, i.Why = worker, waiter, fmt.Sprintf(l.worker, waiter)
	}
	return i
}

// cut gives out a link between two instances of which only one moves.
func (p *pending) cut(l *link, eventID int32, waiter, worker string) error {
	return p.give(l.item(p, eventID, waiter, worker))
}

// reaches reports whether open work of an instance that stays may concern one that
// moves. Of a lock only the row has all entities.
func (s *subject) reaches(o *replay.Open) bool {
	switch o.Kind {
	case replay.OpenSubOrchestration, replay.OpenEntityCall, replay.OpenSignal:
		return s.p.moves(o.InstanceID)
	case replay.OpenLockRequest:
		return true
	}
	return false
}

// carryChosen gives out a message that can be seen if it is for an instance that
// moves, and the link to one that waits for what becomes of it. guessed says that
// it may be for another instance than it seems.
func (p *pending) carryChosen(ctx context.Context, i *Item, guessed bool) error {
	if i.InstanceID == "" || guessed {
		i.Origin, i.InstanceID, i.ExecutionID, i.Text, i.Queue, i.Message = Left, "", "", "", "", nil
		i.Why += ", and whose it is cannot be told"
		return p.give(i)
	}
	if !p.moves(i.InstanceID) {
		return nil
	}
	if err := p.give(i); err != nil || i.Message == nil {
		return err
	}
	l, waiter, eventID := waiterFor(i.Message.TaskMessage)
	if l == nil || p.moves(waiter) {
		return nil
	}
	if ended, err := p.hasEnded(ctx, waiter); ended || err != nil {
		return err
	}
	cut := l.item(p, eventID, waiter, i.InstanceID)
	cut.SeenIn, cut.MessageID = i.SeenIn, i.MessageID
	return p.give(cut)
}

// waiterFor returns the instance that waits for the answer to a message, and the
// number of the event with which it has sent it, -1 if that is not known; l is nil
// if nobody waits.
func waiterFor(t *schema.TaskMessage) (l *link, instanceID string, eventID int32) {
	switch v := t.Event.(type) {
	case *schema.ExecutionStarted:
		parent, err := schema.ParseParentInstance(v.ParentInstance)
		if err == nil && parent != nil && !schema.FireAndForget(v.Tags.Value) {
			return &childLink, parent.OrchestrationInstance.InstanceID, parent.TaskScheduleID
		}
	case *schema.EventRaised:
		if !schema.IsEntity(t.OrchestrationInstance.InstanceID) || !strings.HasPrefix(v.Name.Value, requestEvent) {
			break
		}
		request, err := schema.DecodeEntityRequest(v.Input.Value)
		if err != nil || request.Signal || request.Parent.Value == "" {
			break
		}
		if request.LockSet != nil {
			return &lockRequestLink, request.Parent.Value, -1
		}
		return &callLink, request.Parent.Value, -1
	}
	return nil, "", -1
}

// hasEnded reports whether the row of an instance says that it has ended.
func (p *pending) hasEnded(ctx context.Context, id string) (bool, error) {
	if ended, ok := p.ended[id]; ok {
		return ended, nil
	}
	ended := false
	for row, err := range p.r.Rows(ctx, hub.Instances, hub.Partition(schema.EscapeKey(id))) {
		if err != nil {
			return false, fmt.Errorf("read instance %q: %w", id, err)
		}
		instance, _ := schema.DecodeInstance(&row) // what can be read of it
		ended = instance.Status().Terminal()
	}
	if p.ended == nil {
		p.ended = make(map[string]bool)
	}
	p.ended[strings.Clone(id)] = ended
	return ended, nil
}
