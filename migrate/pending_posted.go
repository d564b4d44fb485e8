package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// postedWithin is how long before the last episode of the hub a message may have
// been sent that is looked for: as long as a worker that was stopped may hide one,
// and that one may be put off. It is shorter than the half hour in which entities
// recognise a second copy, and after which they may be removed when they are empty.
//
// Source: durabletask 2.9.1, AzureStorageOrchestrationServiceSettings.cs:44-60,
// ControlQueue.cs:240-263, MessageSorter.cs:26-42, EntityTrackingStoreQueries.cs:124-209.
const postedWithin = 15 * time.Minute

// posted is an event that an orchestration has sent to an instance, or a signal that
// it has sent to an entity, without waiting for an answer.
type posted struct {
	key, rowKey, execution string
	target                 string
	at                     schema.Ticks
	episode                int64
}

// postbox collects what instances have sent lately to where messages are hidden.
type postbox struct {
	episode int64        // of the instance at hand
	latest  schema.Ticks // of all episodes
	sent    []posted
	limit   int // of what is collected before old ones are forgotten
}

// add looks at a row of the current execution of an instance.
func (b *postbox) add(p *pending, row *schema.Row) {
	kind, _ := row.Get("EventType").Text()
	switch schema.EventTypeNamed(kind) {
	case schema.TypeOrchestratorStarted:
		b.episode++
		at, _ := row.Get("_Timestamp").Time()
		b.latest = max(b.latest, at)
	case schema.TypeEventSent:
		target, _ := row.Get("InstanceId").Text()
		name, _ := row.Get("Name").Text()
		at, _ := row.Get("_Timestamp").Time()
		if !p.moves(target) || p.hiddenFor(target) == 0 || schema.IsEntity(target) && name != requestEvent || !b.lately(at) {
			return
		}
		execution, _ := row.Get("ExecutionId").Text()
		b.sent = append(b.sent, posted{
			key: strings.Clone(row.PartitionKey), rowKey: strings.Clone(row.RowKey), execution: strings.Clone(execution),
			target: strings.Clone(target), at: at, episode: b.episode,
		})
		if len(b.sent) >= b.limit {
			b.forget()
			b.limit = max(1024, 2*len(b.sent))
		}
	}
}

func (b *postbox) lately(at schema.Ticks) bool {
	return at >= b.latest-schema.Ticks(postedWithin/time.Second)*second
}

func (b *postbox) forget() {
	b.sent = slices.DeleteFunc(b.sent, func(s posted) bool { return !b.lately(s.at) })
}

// deliver gives out what was sent and has not arrived, as far as its receiver tells,
// while there are messages that are hidden and not known.
//
// Source: durabletask 2.9.1, TaskOrchestrationDispatcher.cs:1346-1375,
// MessageSorter.cs:100-282.
func (p *pending) deliver(ctx context.Context, b *postbox) error {
	b.forget()
	slices.SortStableFunc(b.sent, func(a, b posted) int { return strings.Compare(a.target, b.target) })
	var to *receiver
	for i := range b.sent {
		s := &b.sent[i]
		if !p.opts.WithoutQueues && p.unknown() <= 0 {
			return nil
		}
		if to == nil || to.id != s.target {
			to = p.receiver(ctx, s.target)
		}
		sent, err := p.eventSent(ctx, s)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil || to.has(p, s, sent) { // of what cannot be read nobody knows
			continue
		}
		if err := p.post(s, sent); err != nil {
			return err
		}
	}
	return nil
}

// receiver is what an instance tells of the events that it has taken in.
type receiver struct {
	id string
	// state and sorter are those of an entity; nil if it is none, or it cannot be
	// read.
	state  *schema.EntityState
	sorter *entitySorter

	// began is when the current execution of an orchestration has begun; zero if it
	// does not wait for events. raised are those that it has.
	began  schema.Ticks
	raised []raisedEvent
}

// raisedEvent is an event that an orchestration has, or one on its way that can be
// seen.
type raisedEvent struct {
	name string
	at   schema.Ticks
}

func (p *pending) receiver(ctx context.Context, id string) *receiver {
	to := &receiver{id: id}
	if schema.IsEntity(id) {
		if state, err := p.entityState(ctx, id); err == nil {
			to.state, to.sorter = state, sorterOf(state)
		}
		return to
	}
	execution := ""
	for row, err := range p.r.Rows(ctx, hub.History, hub.Partition(schema.EscapeKey(id))) {
		if err != nil {
			return &receiver{id: id}
		}
		of, _ := row.Get("ExecutionId").Text()
		if row.IsSentinel() || execution != "" && of != execution {
			break
		}
		kind, _ := row.Get("EventType").Text()
		at, _ := row.Get("_Timestamp").Time()
		if execution == "" {
			execution, to.began = strings.Clone(of), at
		}
		switch schema.EventTypeNamed(kind) {
		case schema.TypeExecutionCompleted, schema.TypeContinueAsNew:
			return &receiver{id: id}
		case schema.TypeEventRaised:
			name, _ := row.Get("Name").Text()
			to.raised = append(to.raised, raisedEvent{strings.Clone(name), at})
		}
	}
	for _, m := range p.seen[id] {
		if m.kind == schema.TypeEventRaised {
			to.raised = append(to.raised, raisedEvent{m.name, m.at})
		}
	}
	return to
}

// has reports whether the receiver has what was sent, or it can be seen, or nobody
// knows. That is so of an execution that has begun since, as the one before may have
// had the event. What asks an entity for an answer is not looked at.
func (r *receiver) has(p *pending, s *posted, sent *schema.EventSent) bool {
	if schema.IsEntity(r.id) {
		request, err := schema.DecodeEntityRequest(sent.Input.Value)
		if err != nil || !request.Signal || r.state == nil || p.sees(r.id, request.ID) || holds(r.state, request.ID) {
			return true
		}
		took, known := r.sorter.received(&request)
		return took || !known
	}
	if r.began == 0 || r.began > s.at {
		return true
	}
	// The event that was sent and that which was raised are made one after the other.
	n := slices.IndexFunc(r.raised, func(e raisedEvent) bool { return e.name == sent.Name.Value && max(e.at-s.at, s.at-e.at) <= second })
	if n < 0 {
		return false
	}
	r.raised = slices.Delete(r.raised, n, n+1) // it is not another one, too
	return true
}

// eventSent reads what was sent.
func (p *pending) eventSent(ctx context.Context, s *posted) (*schema.EventSent, error) {
	keys := hub.Partition(s.key)
	keys.RowKey = s.rowKey
	for row, err := range p.r.Rows(ctx, hub.History, keys) {
		if err != nil {
			return nil, err
		}
		kept := row.Clone()
		decoded, err := schema.DecodeHistoryRow(&kept)
		if err != nil {
			return nil, err
		}
		if sent, ok := decoded.Event.(*schema.EventSent); ok {
			return sent, schema.LoadTexts(sent, p.loader(ctx))
		}
	}
	return nil, fmt.Errorf("row %q/%q: %w", s.key, s.rowKey, hub.ErrNotFound)
}

// post gives out the message of what was sent.
func (p *pending) post(s *posted, sent *schema.EventSent) error {
	from := schema.InstanceID(s.key)
	i := Item{Kind: KindEvent, Origin: Rebuilt, EventID: sent.EventID, Name: sent.Name.Value, Why: "its history does not have the event that " + from + " has sent"}
	if schema.IsEntity(s.target) {
		i.Kind, i.Why = KindEntityRequest, "it has not taken in the signal that "+from+" has sent"
	}
	e := &envelope{
		target:  schema.OrchestrationInstance{InstanceID: s.target},
		sender:  schema.OrchestrationInstance{InstanceID: from, ExecutionID: schema.Some(s.execution)},
		episode: schema.Some(s.episode),
		key:     workKey(from, s.execution, i.Kind, s.rowKey),
	}
	p.fill(&i, e, &schema.EventRaised{
		EventHeader: schema.EventHeader{EventID: -1, Timestamp: sent.Timestamp}, Name: schema.TextOf(sent.Name.Value), Input: sent.Input,
	})
	p.explained++
	return p.give(&i)
}
