package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// unordered is the date of a request that entities do not put into order.
//
// Source: durabletask 2.9.1, RequestMessage.cs; recorded in instance delayed of
// hub functions-3.
const unordered = "0001-01-01T00:00:00"

// granted answers a request for locks.
//
// Source: durabletask 2.9.1, TaskEntityDispatcher.cs:478-607; recorded in instance
// ecall-1 of hub functions-3.
const granted = `{"result":"Lock Acquisition Completed"}`

// maxLockSet is far beyond what an orchestrator locks at once.
const maxLockSet = 1000

var (
	errAnswered = errors.New("the entity has taken the request in, and only the answer that cannot be seen tells the result")
	errPerhaps  = errors.New("the entity no longer tells whether it has taken the request in")
)

// sent gives out what an orchestration has sent to an entity and what did not
// arrive.
func (s *subject) sent(ctx context.Context, i *Item, o *replay.Open, sent *schema.EventSent, episode int64) error {
	request, err := schema.DecodeEntityRequest(sent.Input.Value)
	if err != nil {
		return s.lost(ctx, i, err)
	}
	switch o.Kind {
	case replay.OpenSignal:
		return s.signal(ctx, i, o, sent, &request, episode)
	case replay.OpenLockRequest:
		return s.lockRequest(ctx, i, sent, &request, episode)
	}
	entity := sent.InstanceID.Value
	seen := s.p.sees(entity, request.ID)
	if s.p.crosses(s.id, entity) && (s.moves || !seen) { // else the message has told it
		if err := s.p.cut(&callLink, i.EventID, s.id, entity); err != nil || s.moves {
			return err
		}
	}
	if seen {
		return nil
	}
	state, err := s.p.entityState(ctx, entity)
	if err != nil {
		return s.lost(ctx, i, err)
	}
	i.Why = "neither the request nor its answer can be seen"
	if holds(state, request.ID) {
		return nil // it waits inside of the entity
	}
	if took, known := received(state, &request); took {
		return s.lost(ctx, i, errAnswered)
	} else if !known {
		return s.lost(ctx, i, errPerhaps)
	}
	i.Why = "the entity has not taken the request in"
	return s.request(i, entity, sent.Name.Value, sent.Input.Value, sent, episode)
}

// request gives out a request to an entity.
func (s *subject) request(i *Item, entity, name, input string, sent *schema.EventSent, episode int64) error {
	e := s.envelope(episode, i.Kind, sent.EventID)
	e.target = schema.OrchestrationInstance{InstanceID: entity}
	s.p.fill(i, e, &schema.EventRaised{
		EventHeader: schema.EventHeader{EventID: -1, Timestamp: sent.Timestamp}, Name: schema.TextOf(name), Input: schema.TextOf(input),
	})
	return s.give(i)
}

// signal gives out a delayed signal that is not due, or was due when the entity
// had last run.
func (s *subject) signal(ctx context.Context, i *Item, o *replay.Open, sent *schema.EventSent, request *schema.EntityRequest, episode int64) error {
	entity := sent.InstanceID.Value
	if s.p.sees(entity, request.ID) || !s.p.moves(entity) {
		return nil
	}
	if o.FireAt <= s.p.now {
		instance, h, err := s.p.read(ctx, entity)
		if err != nil {
			return err
		}
		// The entity runs when a signal comes, and may come up to a second early.
		if h.Live.Events > 0 && h.Live.LastUpdatedTime >= o.FireAt-second || instance != nil && h.Live.Events == 0 {
			return nil
		}
		i.Why = "it is due, and the entity has not run since"
	}
	return s.request(i, entity, sent.Name.Value, sent.Input.Value, sent, episode)
}

const second = 10_000_000 // ticks

// lockRequest gives out a request for locks where it is: on its way to the first
// entity that does not have it, or granted and on its way back. Entities pass it
// on, with its position, and do not put it into order then.
//
// Source: durabletask 2.9.1, TaskEntityDispatcher.cs:478-607, 761-902.
func (s *subject) lockRequest(ctx context.Context, i *Item, sent *schema.EventSent, request *schema.EntityRequest, episode int64) error {
	set := request.LockSet[:min(len(request.LockSet), maxLockSet)]
	seen := slices.IndexFunc(set, func(e schema.EntityID) bool { return s.p.sees(e.String(), request.ID) })
	reached := s.moves
	for n, entity := range set {
		id := entity.String()
		if !s.p.crosses(s.id, id) {
			continue
		}
		reached = true
		if n == seen && !s.moves {
			continue // the message has told it
		}
		if err := s.p.cut(&lockRequestLink, i.EventID, s.id, id); err != nil {
			return err
		}
	}
	if seen >= 0 || !reached {
		return nil
	}
	for n, entity := range set {
		id := entity.String()
		state, err := s.p.entityState(ctx, id)
		if err != nil {
			return s.lost(ctx, i, err)
		}
		switch {
		case holds(state, request.ID):
			return nil // it waits inside of the entity
		case state.LockedBy.Set && state.LockedBy.Value == s.id:
			continue
		case n == 0:
			i.Why = "the first entity has not taken the request in"
			return s.request(i, id, sent.Name.Value, sent.Input.Value, sent, episode)
		}
		forwarded := *request
		forwarded.Position, forwarded.Timestamp, forwarded.Predecessor = int64(n), unordered, unordered
		i.Why = fmt.Sprintf("%d of %d entities are locked, and the next has not taken the request in", n, len(set))
		return s.request(i, id, requestEvent, string(forwarded.AppendJSON(nil)), sent, episode)
	}
	if len(set) == 0 {
		return s.lost(ctx, i, errPerhaps)
	}
	i.Kind, i.Why = KindEntityAnswer, "all entities are locked, and the answer cannot be seen"
	e := s.envelope(episode, i.Kind, sent.EventID)
	e.episode = schema.Optional[int64]{}
	e.sender = schema.OrchestrationInstance{InstanceID: set[len(set)-1].String()}
	s.p.fill(i, e, &schema.EventRaised{
		EventHeader: schema.EventHeader{EventID: -1, Timestamp: s.live.LastUpdatedTime},
		Name:        schema.TextOf(request.ID), Input: schema.TextOf(granted),
	})
	return s.give(i)
}

// sees reports whether a request can be seen on its way to an entity.
func (p *pending) sees(entity, requestID string) bool {
	return p.seen.has(entity, "", func(m *seenMessage) bool { return m.request == requestID && m.name != releaseEvent })
}

// entityState returns the scheduler state of an entity; the zero state without
// one.
func (p *pending) entityState(ctx context.Context, entity string) (*schema.EntityState, error) {
	_, h, err := p.read(ctx, entity)
	if err != nil {
		return nil, err
	}
	return p.stateOf(ctx, &h.Live)
}

func (p *pending) stateOf(ctx context.Context, live *replay.State) (*schema.EntityState, error) {
	if live.Started == nil || live.Started.Input.IsNull() {
		return new(schema.EntityState), nil
	}
	input := live.Started.Input
	if input.Blob != "" {
		if err := p.loader(ctx)("Input", &input); err != nil {
			return nil, err
		}
	}
	state, err := schema.DecodeEntityState(input.Value)
	if err != nil {
		return nil, err
	}
	return &state, nil
}

// holds reports whether a request waits inside of an entity, in its queue or among
// those that came before their turn.
func holds(state *schema.EntityState, requestID string) bool {
	return slices.ContainsFunc(state.Queue, func(r schema.EntityRequest) bool { return r.ID == requestID }) ||
		strings.Contains(state.Sorter, requestID)
}

// received reports whether an entity has taken a request in, and whether that is
// known. An entity keeps the date of the last request of each sender, for half an
// hour, so as to recognise a second copy.
//
// Source: durabletask 2.9.1, MessageSorter.cs:26-42, 100-282.
func received(state *schema.EntityState, request *schema.EntityRequest) (took, known bool) {
	return sorterOf(state).received(request)
}

// entitySorter is the part of a scheduler state by which an entity puts requests into
// order.
type entitySorter struct {
	ReceivedFromInstance map[string]struct {
		Last        string
		ExecutionID string `json:"ExecutionId"`
	}
	ReceiveHorizon string

	damaged bool
}

func sorterOf(state *schema.EntityState) *entitySorter {
	sorter := new(entitySorter)
	if state.Sorter != "" {
		sorter.damaged = json.Unmarshal([]byte(state.Sorter), sorter) != nil
	}
	return sorter
}

func (sorter *entitySorter) received(request *schema.EntityRequest) (took, known bool) {
	sent, err := schema.ParseTicks(request.Timestamp)
	if err != nil || sent == 0 || sorter.damaged {
		return false, false
	}
	from, ok := sorter.ReceivedFromInstance[request.Parent.Value]
	if last, err := schema.ParseTicks(from.Last); ok && err == nil && from.ExecutionID == request.ParentExecution.Value && last >= sent {
		return true, true
	}
	horizon, err := schema.ParseTicks(sorter.ReceiveHorizon)
	return false, err != nil || sent > horizon
}

// entity gives out what an entity waits for and its state tells: the message by
// which it goes on, and the release of its lock.
func (s *subject) entity(ctx context.Context) error {
	state, err := s.p.stateOf(ctx, s.live)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return nil // an entity without a state that can be read waits for nothing that is known
	}
	if state.Suspended && !s.p.seen.has(s.id, "", func(m *seenMessage) bool { return m.kind == schema.TypeEventRaised && m.name == continueEvent }) {
		i := Item{Kind: KindContinue, Origin: Rebuilt, EventID: -1, Name: continueEvent, Why: "the entity has paused, and goes on by a message to itself"}
		e := s.envelope(0, KindContinue, -1)
		e.target.ExecutionID, e.episode = schema.Optional[string]{}, schema.Optional[int64]{}
		s.p.fill(&i, e, &schema.EventRaised{
			EventHeader: schema.EventHeader{EventID: -1, Timestamp: s.live.LastUpdatedTime}, Name: schema.TextOf(continueEvent),
		})
		if err := s.give(&i); err != nil {
			return err
		}
	}
	if !state.LockedBy.Set || s.p.seen.has(s.id, "", func(m *seenMessage) bool { return m.name == releaseEvent }) {
		return nil
	}
	return s.release(ctx, state.LockedBy.Value)
}

// release gives out the release of the entity's lock, if the owner has sent it.
func (s *subject) release(ctx context.Context, owner string) error {
	_, h, err := s.p.read(ctx, owner)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(h.Live.Open, func(o replay.Open) bool {
		return o.Kind == replay.OpenLock && o.InstanceID == s.id || o.Kind == replay.OpenLockRequest
	}) {
		return nil // it is held, or about to be
	}
	var last *schema.EventSent
	episode, of := int64(0), int64(0)
	for row, err := range s.p.r.Rows(ctx, hub.History, hub.Partition(schema.EscapeKey(owner))) {
		if err != nil {
			return fmt.Errorf("read history of %q: %w", owner, err)
		}
		if execution, _ := row.Get("ExecutionId").Text(); row.IsSentinel() || execution != h.Live.ExecutionID {
			break
		}
		switch kind, _ := row.Get("EventType").Text(); schema.EventTypeNamed(kind) {
		case schema.TypeOrchestratorStarted:
			episode++
		case schema.TypeEventSent:
			kept := row.Clone()
			decoded, err := schema.DecodeHistoryRow(&kept)
			sent, ok := decoded.Event.(*schema.EventSent)
			if err == nil && ok && sent.Name.Value == releaseEvent && sent.InstanceID.Value == s.id {
				last, of = sent, episode
			}
		}
	}
	switch crosses := s.p.crosses(owner, s.id); {
	case last == nil && crosses && h.Live.Events > 0 && !h.Live.Status.Terminal():
		return s.p.cut(&lockLink, -1, owner, s.id)
	case last == nil:
		return nil
	}
	i := Item{Kind: KindRelease, Origin: Rebuilt, EventID: last.EventID, Name: releaseEvent, Why: "the owner of the lock has released it"}
	if err := schema.LoadTexts(last, s.p.loader(ctx)); err != nil {
		i.InstanceID = s.id
		return s.lost(ctx, &i, err)
	}
	e := &envelope{
		target:  schema.OrchestrationInstance{InstanceID: s.id},
		sender:  schema.OrchestrationInstance{InstanceID: owner, ExecutionID: schema.Some(h.Live.ExecutionID)},
		episode: schema.Some(of),
		key:     workKey(s.id, h.Live.ExecutionID, KindRelease, last.Input.Value),
	}
	s.p.fill(&i, e, &schema.EventRaised{
		EventHeader: schema.EventHeader{EventID: -1, Timestamp: last.Timestamp}, Name: last.Name, Input: last.Input,
	})
	return s.give(&i)
}
