package verify

import (
	"context"
	"fmt"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// cached is an instance that another one refers to.
type cached struct {
	id      string
	row     *schema.Instance
	hasRow  bool // row was read, and is nil if there is none
	history *replay.History
}

// The instances that others refer to are mostly few at a time: the parent of
// children that follow each other.
const (
	maxCached = 64
	// maxCachedOpen is how much open work a history may have to be kept.
	maxCachedOpen = 2000
)

// recall returns what is kept of an instance, the latest first.
func (v *run) recall(id string) *cached {
	for i, c := range v.cache {
		if c.id == id {
			copy(v.cache[1:i+1], v.cache[:i])
			v.cache[0] = c
			return c
		}
	}
	c := &cached{id: id}
	if len(v.cache) < maxCached {
		v.cache = append(v.cache, nil)
	}
	copy(v.cache[1:], v.cache)
	v.cache[0] = c
	return c
}

// forget makes sure that instances are read again.
func (v *run) forget() { v.cache = nil }

// keysOf returns the PartitionKeys that an instance can have. Versions before
// 1.8.4 did not escape: such a key counts unless it stands for another instance.
func keysOf(id string) []string {
	key := schema.EscapeKey(id)
	if key != id && schema.InstanceID(id) == id {
		return []string{key, id}
	}
	return []string{key}
}

// instance returns the row of an instance, nil without one. The last few are
// kept.
func (v *run) instance(ctx context.Context, id string) (*schema.Instance, error) {
	c := v.recall(id)
	if c.hasRow {
		return c.row, nil
	}
	for _, key := range keysOf(id) {
		for row, err := range v.r.Rows(ctx, hub.Instances, hub.Partition(key)) {
			if err != nil {
				return nil, fmt.Errorf("read instance %q: %w", id, err)
			}
			row = row.Clone()
			i, _ := schema.DecodeInstance(&row) // what can be read of it
			c.row = &i
			break
		}
		if c.row != nil {
			break
		}
	}
	c.hasRow = true
	return c.row, nil
}

// history returns what the history of an instance says. The last few are kept.
// Inputs of open work are left out.
func (v *run) history(ctx context.Context, id string) (*replay.History, error) {
	c := v.recall(id)
	if c.history != nil {
		return c.history, nil
	}
	var h *replay.History
	rp := replay.New("", replay.Options{OmitInputs: true})
	for _, key := range keysOf(id) {
		rp.Reset(key)
		for rows, err := range hub.Batches(ctx, v.r, hub.History, hub.Partition(key)) {
			if err != nil {
				return nil, fmt.Errorf("read history of %q: %w", id, err)
			}
			for i := range rows {
				rp.Add(&rows[i])
			}
		}
		if h = rp.End(); h.Rows > 0 {
			break
		}
	}
	if len(h.Live.Open) <= maxCachedOpen {
		c.history = h
	}
	return h, nil
}
