package server

import (
	"cmp"
	"context"
	"sync"
	"sync/atomic"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// indexes keeps the indexes of all hubs of a server. The zero value is ready.
type indexes struct {
	mu    sync.Mutex
	limit int // in place of maxIndexed, for tests
	of    map[*served]*sharedIndex
	// uses counts, to tell which index was not used for longest.
	uses int64
}

// sharedIndex is the index of one hub. It is made when the first request needs it,
// and anew when one asks for that; whoever comes meanwhile waits for the same one.
type sharedIndex struct {
	current *index // the last one; nil before the first
	used    int64
	build   *indexBuild // under way, or nil
}

// indexBuild is an index being made. It goes on while anybody waits for it.
type indexBuild struct {
	read    atomic.Int64 // rows so far
	moved   chan struct{}
	done    chan struct{}
	cancel  context.CancelFunc
	shared  *sharedIndex
	waiting int // guarded by indexes.mu
	result  *index
	err     error
}

// get returns the index of a hub. It makes one if there is none, or with fresh in
// any case; moved is told from time to time how many rows were read.
func (x *indexes) get(ctx context.Context, h *served, fresh bool, now schema.Ticks, moved func(rows int64) error) (*index, error) {
	b, have := x.join(ctx, h, fresh, now)
	if have != nil {
		return have, nil
	}
	err := b.wait(ctx, moved)
	x.leave(b)
	if err != nil {
		return nil, err
	}
	return b.result, b.err
}

// counted returns the number of instances of a hub if there is an index of it, and
// -1 otherwise.
func (x *indexes) counted(h *served) int64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	if shared := x.of[h]; shared != nil && shared.current != nil && !shared.current.partial {
		return shared.current.counts.total
	}
	return -1
}

// join returns the index that is there, or one being made, which has to be left.
func (x *indexes) join(ctx context.Context, h *served, fresh bool, now schema.Ticks) (*indexBuild, *index) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.of == nil {
		x.of = make(map[*served]*sharedIndex)
	}
	shared := x.of[h]
	if shared == nil {
		shared = new(sharedIndex)
		x.of[h] = shared
	}
	x.uses++
	shared.used = x.uses
	if shared.current != nil && (!fresh || h.capture()) {
		return nil, shared.current
	}
	if shared.build == nil {
		// The request that begins it may end before those that wait as well.
		ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
		shared.build = &indexBuild{shared: shared, moved: make(chan struct{}, 1), done: make(chan struct{}), cancel: cancel}
		go x.run(ctx, h, shared.build, now)
	}
	shared.build.waiting++
	return shared.build, nil
}

// leave ends what nobody waits for any more, and then waits for its end.
func (x *indexes) leave(b *indexBuild) {
	x.mu.Lock()
	b.waiting--
	last := b.waiting == 0
	if last && b.shared.build == b {
		b.shared.build = nil // who comes now begins another one
	}
	x.mu.Unlock()
	if last {
		b.cancel()
		<-b.done
	}
}

func (x *indexes) run(ctx context.Context, h *served, b *indexBuild, now schema.Ticks) {
	defer close(b.done)
	b.result, b.err = buildIndex(ctx, h.Reader, x.most(), h.rows(hub.Instances), func(rows int64) {
		b.read.Store(rows)
		select {
		case b.moved <- struct{}{}:
		default: // nobody has looked since the last time
		}
	})
	x.mu.Lock()
	defer x.mu.Unlock()
	if b.shared.build == b {
		b.shared.build = nil
	}
	if b.err != nil {
		return
	}
	b.result.builtAt = now
	b.shared.current = b.result
	x.shrink(b.shared)
}

// most is how many instances all indexes together hold.
func (x *indexes) most() int { return cmp.Or(x.limit, maxIndexed) }

// rows returns how many rows a table has, -1 if only reading it would tell.
func (h *served) rows(t hub.Table) int64 {
	for _, info := range h.info.Tables {
		if info.Table == t {
			return info.Rows
		}
	}
	return -1
}

// shrink lets go of the indexes that were not used for longest while all together
// hold more than one may.
func (x *indexes) shrink(keep *sharedIndex) {
	for {
		total := 0
		var oldest *sharedIndex
		for _, s := range x.of {
			if s.current == nil {
				continue
			}
			total += len(s.current.rows)
			if s != keep && len(s.current.rows) > 0 && (oldest == nil || s.used < oldest.used) {
				oldest = s
			}
		}
		if total <= x.most() || oldest == nil {
			return
		}
		oldest.current = nil
	}
}

// wait returns when the index is made, ctx has ended, or moved returns an error.
func (b *indexBuild) wait(ctx context.Context, moved func(rows int64) error) error {
	for {
		select {
		case <-b.done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-b.moved:
			if err := moved(b.read.Load()); err != nil {
				return err
			}
		}
	}
}
