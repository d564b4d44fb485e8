package manage

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// BulkOptions tunes [Bulk]. The zero value is ready.
type BulkOptions struct {
	// Concurrency is the number of instances worked on at once; 0 means 8.
	Concurrency int
	// Max ends the work after that many instances; 0 means all.
	Max int
	// Rate is the number of instances begun in a second at most; 0 means as many
	// as go. Wait waits between them and is required with a Rate.
	Rate float64
	// Wait waits for a time, and returns the cause when ctx ends.
	Wait func(ctx context.Context, d time.Duration) error
}

// Result is what became of one instance.
type Result[T any] struct {
	InstanceID string
	Value      T
	// Err is why it went wrong. What the operation had done by then is in Value.
	Err error
}

// Bulk does the same with many instances, several at once, and streams the
// results in the order of the IDs. An instance that goes wrong does not end the
// stream; the end of ctx does, and so does an error of ids, which is the last
// element. What was begun then is waited for and still told.
//
// Memory is that of a result for each of 16 times as many instances as are worked
// on at once: one that takes long holds back the results of those after it, but not
// the work.
func Bulk[T any](ctx context.Context, ids iter.Seq2[string, error], opts BulkOptions, do func(ctx context.Context, id string) (T, error)) iter.Seq2[Result[T], error] {
	concurrency := opts.Concurrency
	if concurrency <= 0 {
		concurrency = 8
	}
	return func(yield func(Result[T], error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		next, stop := iter.Pull2(ids)
		defer stop()
		var waiting []chan Result[T] // for their turn, the oldest first
		defer func() {
			cancel()
			for _, c := range waiting {
				<-c
			}
		}()
		busy := make(chan struct{}, concurrency)
		give := func(r Result[T]) bool {
			waiting = waiting[1:]
			return yield(r, nil)
		}
		// enter waits for a place to work. Results that are due are given out
		// meanwhile.
		enter := func() bool {
			for {
				if len(waiting) == 0 {
					busy <- struct{}{} // nobody works
					return true
				}
				begin := busy
				if len(waiting) >= 16*concurrency {
					begin = nil
				}
				select {
				case r := <-waiting[0]:
					if !give(r) {
						return false
					}
				case begin <- struct{}{}:
					return true
				}
			}
		}
		var failed error
		for begun := 0; opts.Max <= 0 || begun < opts.Max; begun++ {
			if !enter() {
				return
			}
			if ctx.Err() != nil {
				failed = context.Cause(ctx)
				break
			}
			id, err, ok := next()
			if !ok {
				break
			}
			if err != nil {
				failed = err
				break
			}
			if begun > 0 && opts.Rate > 0 {
				if failed = opts.Wait(ctx, time.Duration(float64(time.Second)/opts.Rate)); failed != nil {
					break
				}
			}
			c := make(chan Result[T], 1)
			waiting = append(waiting, c)
			go func() {
				v, err := do(ctx, id)
				<-busy
				c <- Result[T]{id, v, err}
			}()
		}
		for len(waiting) > 0 {
			if !give(<-waiting[0]) {
				return
			}
		}
		if failed != nil {
			yield(Result[T]{}, failed)
		}
	}
}

// IDs streams the IDs of the instances that match, in key order. Of a tracking
// store that several hubs share, only those of this hub.
func (q *Query) IDs(ctx context.Context, f Filter) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		info, err := q.r.Info(ctx)
		if err != nil {
			yield("", err)
			return
		}
		for i, err := range instances(ctx, q.r, info.Names, f) {
			if err != nil {
				yield("", err)
				return
			}
			if !yield(strings.Clone(i.ID()), nil) {
				return
			}
		}
	}
}

// instances streams the rows that match and are of this hub. They share the memory
// of their page.
func instances(ctx context.Context, r hub.Reader, names hub.Names, f Filter) iter.Seq2[schema.Instance, error] {
	return func(yield func(schema.Instance, error) bool) {
		for _, keys := range f.ranges("") {
			for row, err := range r.Rows(ctx, hub.Instances, keys) {
				if err != nil {
					yield(schema.Instance{}, err)
					return
				}
				i, _ := schema.DecodeInstance(&row) // what is damaged in it is absent, and matches nothing
				if !f.matches(&i) || !owns(names, &i) {
					continue
				}
				if !yield(i, nil) {
					return
				}
			}
		}
	}
}

// OrphanIDs streams the IDs that have rows of history and no row in the Instances
// table, in key order; of f, the prefix and NoEntities count. Both tables are read
// once, and of a running hub not at one moment. It returns [ErrSharedTables] where
// hubs share their tables.
func (q *Query) OrphanIDs(ctx context.Context, f Filter) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		info, err := q.r.Info(ctx)
		if err == nil && info.Names.TrackingPrefix != "" {
			err = ErrSharedTables
		}
		if err != nil {
			yield("", err)
			return
		}
		for _, keys := range f.ranges("") {
			for part, err := range hub.Join(ctx, q.r, keys) {
				if err != nil {
					yield("", fmt.Errorf("look for orphans: %w", err))
					return
				}
				if part.Instance == nil && !part.More && !yield(strings.Clone(schema.InstanceID(part.PartitionKey)), nil) {
					return
				}
			}
		}
	}
}

// MaxTree is the number of instances that [Query.Tree] follows at most.
const MaxTree = 1_000_000

// Tree streams an instance and its sub-orchestrations, theirs and so on, each
// once: a parent before its children, those in the order in which it began them.
// Children are those of the current execution of each, and are read when their
// parent has been given out: see [Query.Generations] for work that deletes them.
//
// Memory is that of the IDs of the tree. One of more than [MaxTree] instances ends
// with an error that wraps [hub.ErrTooLarge].
func (q *Query) Tree(ctx context.Context, root string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for n, err := range q.tree(ctx, root) {
			if !yield(n.id, err) {
				return
			}
		}
	}
}

// Generations returns the instances of [Query.Tree]: the root, then its children,
// theirs and so on. What deletes them begins with the last: while a parent is
// there, a second run finds the children that the first did not come to.
func (q *Query) Generations(ctx context.Context, root string) ([][]string, error) {
	var all [][]string
	for n, err := range q.tree(ctx, root) {
		if err != nil {
			return nil, err
		}
		if n.generation == len(all) {
			all = append(all, nil)
		}
		all[n.generation] = append(all[n.generation], n.id)
	}
	return all, nil
}

// node is an instance of a tree.
type node struct {
	id         string
	generation int // 0 is the root's
}

// tree is [Query.Tree] with generations, which follow each other.
func (q *Query) tree(ctx context.Context, root string) iter.Seq2[node, error] {
	return func(yield func(node, error) bool) {
		seen := map[string]bool{root: true}
		level := []string{root}
		for generation := 0; len(level) > 0; generation++ {
			var below []string
			for _, id := range level {
				if !yield(node{id, generation}, nil) {
					return
				}
				children, err := q.children(ctx, id)
				if err != nil {
					yield(node{}, err)
					return
				}
				for _, child := range children {
					if seen[child] {
						continue
					}
					if len(seen) == MaxTree {
						yield(node{}, fmt.Errorf("tree of %q: %w of %d instances", root, hub.ErrTooLarge, MaxTree))
						return
					}
					seen[child] = true
					below = append(below, child)
				}
			}
			level = below
		}
	}
}

// children returns the sub-orchestrations of the current execution of an
// instance.
func (q *Query) children(ctx context.Context, id string) ([]string, error) {
	var children []string
	execution, known := "", false
	key := schema.EscapeKey(id)
	sentinel := hub.Partition(key)
	sentinel.RowKey = schema.SentinelRowKey
	for row, err := range q.r.Rows(ctx, hub.History, sentinel) {
		if err != nil {
			return nil, err
		}
		execution = schema.CurrentExecution(&row, nil)
		known = execution != ""
	}
	for row, err := range q.r.Rows(ctx, hub.History, hub.Partition(key)) {
		if err != nil {
			return nil, err
		}
		if row.IsSentinel() {
			continue
		}
		if !known {
			execution, known = schema.CurrentExecution(nil, &row), true
		}
		h, _ := schema.DecodeHistoryRow(&row) // what is damaged in it is absent
		if h.ExecutionID != execution {
			break
		}
		if e, ok := h.Event.(*schema.SubOrchestrationCreated); ok && e.InstanceID.Value != "" {
			children = append(children, strings.Clone(e.InstanceID.Value))
		}
	}
	return slices.Clip(children), nil
}
