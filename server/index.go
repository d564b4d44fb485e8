package server

import (
	"context"
	"strings"
	"sync"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Limits of an index. Storage has rows in the order of their keys and nothing
// else; to sort and count them some of each row has to be in memory: 48 bytes and
// the ID. With the IDs of the framework, 32 characters, and all orders that can
// be asked for, a million instances take about 110 MB.
const (
	maxIndexed      = 1_000_000
	maxIndexedBytes = 96 << 20 // of IDs
	// maxIndexedNames are told apart; instances of further functions have no name.
	maxIndexedNames = 10_000
	maxIndexedName  = 512 // bytes of it
)

// index is what the page knows of all instances of a hub, as of one time. It is
// not changed after it was made but for its orders, and may be used concurrently.
type index struct {
	builtAt schema.Ticks
	rows    []indexed // in key order; empty if there are too many
	names   []string  // of functions, in the order in which they were met
	// partial says that the hub has more instances than an index holds. Then only
	// the counts are there, of those instances that were read before that showed.
	partial bool
	counts  indexCounts

	mu     sync.Mutex
	orders map[sortColumn][]uint32
}

// indexed is one instance.
type indexed struct {
	id                          string
	created, updated, completed schema.Ticks
	name                        uint32 // of index.names
	status                      int8   // a schema.Status
	entity                      bool
}

// indexCounts counts instances.
type indexCounts struct {
	total, orchestrations, entities int64
	byName                          []int64 // of index.names
}

// indexBuilder makes an index of the rows that it is given.
type indexBuilder struct {
	idx     index
	byName  map[string]uint32
	limit   int
	idBytes int
	inst    schema.Instance
	ids     strings.Builder
	ends    []int
}

// noName is the name of instances without one, and of those whose name was one too
// many.
const noName = 0

func newIndexBuilder(limit int, expected int64) *indexBuilder {
	b := &indexBuilder{
		limit: limit, byName: map[string]uint32{"": noName},
		idx: index{names: []string{""}, counts: indexCounts{byName: []int64{0}}},
	}
	if expected > 0 {
		b.idx.rows = make([]indexed, 0, min(expected, int64(limit)))
	}
	return b
}

// buildIndex reads the Instances table once, in batches. expected is how many rows
// it has, if that is known; progress is told the rows so far.
func buildIndex(ctx context.Context, r hub.Reader, limit int, expected int64, progress func(rows int64)) (*index, error) {
	b := newIndexBuilder(limit, expected)
	for rows, err := range hub.Batches(ctx, r, hub.Instances, hub.Keys{}) {
		if err != nil {
			return nil, err
		}
		if !b.add(rows) {
			break
		}
		progress(b.idx.counts.total)
	}
	b.idx.orders = make(map[sortColumn][]uint32)
	return &b.idx, nil
}

// add adds rows and keeps nothing of them. It returns false when the index is full:
// then it lets go of the instances, since half of a list in another order is not
// what anybody asks for.
func (b *indexBuilder) add(rows []schema.Row) bool {
	idx := &b.idx
	b.ids.Reset()
	b.ends = b.ends[:0]
	for i := range rows {
		b.ids.WriteString(schema.InstanceID(rows[i].PartitionKey))
		b.ends = append(b.ends, b.ids.Len())
	}
	// One text for all IDs of a batch: each by itself would cost twice as much.
	ids, begin := b.ids.String(), 0
	b.idBytes += len(ids)
	for i := range rows {
		id := ids[begin:b.ends[i]]
		begin = b.ends[i]
		_ = b.inst.Decode(&rows[i]) // what cannot be read of it is absent, and the instance says why
		entity := schema.IsEntity(id)
		name := b.name(functionOf(id, b.inst.Name.Value))
		idx.counts.total++
		idx.counts.byName[name]++
		if entity {
			idx.counts.entities++
		} else {
			idx.counts.orchestrations++
		}
		if len(idx.rows) == b.limit || b.idBytes > maxIndexedBytes {
			idx.rows, idx.partial = nil, true
			return false
		}
		idx.rows = append(idx.rows, indexed{
			id: id, created: b.inst.CreatedTime.Value, updated: b.inst.LastUpdatedTime.Value, completed: b.inst.CompletedTime.Value,
			name: name, status: int8(b.inst.Status()), entity: entity,
		})
	}
	return true
}

// functionOf returns what instances are grouped by: the name of the function. The
// row of an entity has the entity's ID there, each its own.
func functionOf(id, name string) string {
	if e, ok := schema.ParseEntityID(id); ok {
		return "@" + e.Name
	}
	return name
}

// name returns the number of a function's name.
func (b *indexBuilder) name(s string) uint32 {
	if len(s) > maxIndexedName {
		s = strings.ToValidUTF8(s[:maxIndexedName], "") + "…"
	}
	n, ok := b.byName[s]
	if ok || len(b.idx.names) == maxIndexedNames {
		return n
	}
	s = strings.Clone(s)
	n = uint32(len(b.idx.names))
	b.byName[s] = n
	b.idx.names = append(b.idx.names, s)
	b.idx.counts.byName = append(b.idx.counts.byName, 0)
	return n
}
