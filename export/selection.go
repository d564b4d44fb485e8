package export

import (
	"context"
	"iter"
	"slices"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// ranges returns the key ranges that the filter leaves, in key order and without
// overlap.
func (f *Filter) ranges() []hub.Keys {
	var base []hub.Keys
	switch {
	case len(f.IDs) > 0:
		keys := make([]string, len(f.IDs))
		for i, id := range f.IDs {
			keys[i] = schema.EscapeKey(id)
		}
		slices.SortFunc(keys, schema.CompareKeys)
		for _, k := range slices.Compact(keys) {
			base = append(base, hub.Partition(k))
		}
	default:
		base = []hub.Keys{{}}
	}
	if f.IDPrefix != "" {
		base = hub.Intersect(base, []hub.Keys{hub.Prefix(f.IDPrefix)})
	}
	switch f.Entities {
	case OnlyEntities:
		base = hub.Intersect(base, hub.EntityKeys())
	case NoEntities:
		base = hub.Intersect(base, hub.OrchestrationKeys())
	}
	return base
}

// selects reports whether the ranges contain an instance.
func selects(ranges []hub.Keys, instanceID string) bool {
	key := schema.EscapeKey(instanceID)
	return slices.ContainsFunc(ranges, func(k hub.Keys) bool { return k.Contains(key, "") })
}

// matches reports whether an Instances row passes the conditions on its columns.
func (f *Filter) matches(i *schema.Instance) bool {
	if len(f.Statuses) > 0 && !slices.Contains(f.Statuses, i.RuntimeStatus.Value) {
		return false
	}
	if len(f.Names) > 0 && !slices.Contains(f.Names, i.Name.Value) {
		return false
	}
	return within(i.CreatedTime, f.CreatedFrom, f.CreatedTo) && within(i.LastUpdatedTime, f.UpdatedFrom, f.UpdatedTo)
}

func within(t schema.Optional[schema.Ticks], from, to schema.Ticks) bool {
	if from == 0 && to == 0 {
		return true
	}
	return t.Set && t.Value >= from && (to == 0 || t.Value <= to)
}

// joiner finds the Instances rows of partitions that are asked for in key order,
// by walking the table beside them.
type joiner struct {
	next func() (schema.Row, error, bool)
	stop func()
	row  schema.Row
	have bool
	end  bool
}

func newJoiner(ctx context.Context, r hub.Reader, keys hub.Keys) *joiner {
	next, stop := iter.Pull2(r.Rows(ctx, hub.Instances, keys))
	return &joiner{next: next, stop: stop}
}

// find returns the row of a partition, or nil if there is none. Partitions must
// be asked for in ascending order.
func (j *joiner) find(partitionKey string) (*schema.Row, error) {
	for !j.end && (!j.have || schema.CompareKeys(j.row.PartitionKey, partitionKey) < 0) {
		row, err, ok := j.next()
		if err != nil {
			return nil, err
		}
		j.row, j.have, j.end = row, ok, !ok
	}
	if j.have && !j.end && j.row.PartitionKey == partitionKey {
		return &j.row, nil
	}
	return nil, nil
}

// owner tells of the instance that something belongs to: its name, if folders
// need it, and whether the filter selects it.
func (x *run) owner(ctx context.Context, find *finder, id string) (name hiveName, wanted bool, err error) {
	if !selects(x.ranges, id) {
		return hiveName{}, false, nil
	}
	if !x.opts.Filter.byRow() && !x.hiveByName() {
		return hiveName{}, true, nil
	}
	inst, err := find.find(ctx, id)
	if err != nil {
		return hiveName{}, false, err
	}
	return nameOf(id, inst), !x.opts.Filter.byRow() || inst != nil && x.opts.Filter.matches(inst), nil
}

// nameOf returns the name of the orchestrator function, or of the entity, of an
// instance; inst is nil if it has no row. The column Name of an entity holds
// the whole ID, which would make a folder for each.
func nameOf(id string, inst *schema.Instance) hiveName {
	if e, ok := schema.ParseEntityID(id); ok {
		return hiveName{e.Name, true}
	}
	if inst == nil {
		return hiveName{}
	}
	return hiveName{inst.Name.Value, inst.Name.Set}
}

// finder looks up single Instances rows, remembering the last.
type finder struct {
	r    hub.Reader
	id   string
	inst *schema.Instance
	have bool
}

// find returns the instance with an ID, or nil if it has no row.
func (f *finder) find(ctx context.Context, id string) (*schema.Instance, error) {
	if f.have && f.id == id {
		return f.inst, nil
	}
	f.id, f.inst, f.have = id, nil, true
	for row, err := range f.r.Rows(ctx, hub.Instances, hub.Partition(schema.EscapeKey(id))) {
		if err != nil {
			f.have = false
			return nil, err
		}
		inst, _ := schema.DecodeInstance(&row) // what is damaged is absent
		f.inst = &inst
		break
	}
	return f.inst, nil
}
