package manage

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Entity is the latest known state of an entity.
type Entity struct {
	ID schema.EntityID
	// LastOperation is when the entity last did anything: its row is made anew
	// with each batch of operations, so this is the column CreatedTime.
	LastOperation schema.Ticks
	// Exists reports whether the entity has a state. A deleted one keeps its row.
	Exists bool
	// Scheduler holds the user's state, the lock and the operations that wait. It
	// is nil if it was not asked for, or cannot be read.
	Scheduler *schema.EntityState
	// State is the row.
	State State
	// Problems lists what could not be read, each with its place.
	Problems []error
}

// AppendJSON appends e as the framework's HTTP API lists it, on one line, and
// what else there is to know of it.
//
// Source: Functions extension 2.13.7, DurableEntityStatus.cs:20-88.
func (e *Entity) AppendJSON(dst []byte) []byte {
	w := object{dst: append(dst, '{')}
	id := object{dst: []byte{'{'}}
	id.text("name", e.ID.Name, true)
	id.text("key", e.ID.Key, true)
	w.raw("entityId", string(id.end()))
	w.time("lastOperationTime", schema.Some(e.LastOperation))
	w.raw("state", e.stateJSON())
	w.raw("exists", fmt.Sprint(e.Exists))
	if s := e.Scheduler; s != nil {
		w.text("locked_by", s.LockedBy.Value, s.LockedBy.Set)
		w.raw("suspended", fmt.Sprint(s.Suspended))
		w.raw("queue_length", fmt.Sprint(len(s.Queue)))
	}
	return w.end()
}

// stateJSON returns the user's state as a JSON value: text that is not JSON stays
// text, and no state is null.
func (e *Entity) stateJSON() string {
	if e.Scheduler == nil || !e.Scheduler.State.Set {
		return "null"
	}
	text := e.Scheduler.State.Value
	if json.Valid([]byte(text)) {
		return oneLine(text)
	}
	return string(schema.AppendJSONString(nil, text))
}

// oneLine removes the line ends of a JSON text: outside of strings they mean
// nothing, and inside they are escaped.
func oneLine(doc string) string {
	return strings.NewReplacer("\n", " ", "\r", " ").Replace(doc)
}

// Entity returns the state of one entity, or nil if it has no row: it never did
// anything. The framework gives names in lower case; if there is no entity with
// the name in lower case, the name is taken as it is.
func (q *Query) Entity(ctx context.Context, id schema.EntityID) (*Entity, error) {
	lower := schema.EntityID{Name: strings.ToLower(id.Name), Key: id.Key}
	for _, id := range slices.Compact([]schema.EntityID{lower, id}) {
		s, err := q.Instance(ctx, id.String(), ShowInput)
		if err != nil {
			return nil, err
		}
		if s != nil {
			e := newEntity(s, id, true)
			return &e, nil
		}
	}
	return nil, nil
}

func newEntity(s *State, id schema.EntityID, shown bool) Entity {
	e := Entity{ID: id, LastOperation: s.Row.CreatedTime.Value, State: *s, Problems: s.Problems}
	// Without the state, the framework's own query goes by this text, too.
	//
	// Source: durabletask 2.9.1, EntityTrackingStoreQueries.cs:211-240.
	e.Exists = strings.Contains(s.Row.CustomStatus.Value, "entityExists")
	if !shown || !s.Input.Set && len(s.Problems) > 0 {
		return e
	}
	if s.Input.IsNull() {
		e.Scheduler, e.Exists = &schema.EntityState{}, false // a fresh entity
		return e
	}
	scheduler, err := schema.DecodeEntityState(s.Input.Value)
	if err != nil {
		e.Problems = append(e.Problems, fmt.Errorf("entity %q: %w", id, err))
		return e
	}
	e.Scheduler, e.Exists = &scheduler, scheduler.HasState()
	return e
}

// EntityFilter selects entities. The zero value selects those that exist.
type EntityFilter struct {
	// Name is the entity's name, in any case as the framework takes it; empty
	// means all.
	Name string
	// IDPrefix begins the instance IDs, such as @counter@c.
	IDPrefix string
	// From and To bound the time of the last operation, both inclusive; zero
	// leaves the side open.
	From, To schema.Ticks
	// Deleted lists entities without a state, too.
	Deleted bool
}

// EntityPage is a part of a list.
type EntityPage struct {
	Entities []Entity // in key order
	Next     Token    // as of [Page]
}

// Entities returns a page of at most top entities, but at least one if there is
// one; with show it reads their states. It returns [ErrToken] for a token that is
// not valid.
func (q *Query) Entities(ctx context.Context, f EntityFilter, show bool, top int, from Token) (EntityPage, error) {
	start, err := from.key()
	if err != nil {
		return EntityPage{}, err
	}
	payloads := ShowNone
	if show {
		payloads = ShowInput
	}
	top = min(max(top, 1), MaxPage)
	instances := Filter{CreatedFrom: f.From, CreatedTo: f.To}
	var p EntityPage
	size := 0
	for _, keys := range f.ranges(start) {
		for row, err := range q.r.Rows(ctx, hub.Instances, keys) {
			if err != nil {
				return EntityPage{}, err
			}
			if len(p.Entities) == top || size >= maxPageBytes {
				p.Next = newToken(row.PartitionKey)
				return p, nil
			}
			inst, _ := schema.DecodeInstance(&row)
			id, ok := schema.ParseEntityID(inst.ID())
			if !ok || !instances.matches(&inst) {
				continue
			}
			row = row.Clone() // the page it came from is not kept
			s, err := q.state(ctx, &row, payloads)
			if err != nil {
				return EntityPage{}, err
			}
			e := newEntity(&s, id, show)
			if !e.Exists && !f.Deleted && len(e.Problems) == 0 {
				continue
			}
			size += s.size()
			p.Entities = append(p.Entities, e)
		}
	}
	return p, nil
}

// ranges returns the keys of the entities that can match, from a key on, in key
// order.
func (f *EntityFilter) ranges(from string) []hub.Keys {
	prefixes := []string{"@"}
	if f.Name != "" {
		prefixes = []string{"@" + f.Name + "@", "@" + strings.ToLower(f.Name) + "@"}
		slices.SortFunc(prefixes, schema.CompareKeys)
	}
	var ranges []hub.Keys
	for _, prefix := range slices.Compact(prefixes) {
		switch {
		case strings.HasPrefix(f.IDPrefix, prefix):
			prefix = f.IDPrefix
		case !strings.HasPrefix(prefix, f.IDPrefix):
			continue
		}
		k := (&Filter{IDPrefix: prefix}).ranges(from)
		ranges = append(ranges, k...)
	}
	return slices.DeleteFunc(ranges, func(k hub.Keys) bool {
		return k.To != "" && schema.CompareKeys(k.From, k.To) >= 0
	})
}
