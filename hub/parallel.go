package hub

import (
	"context"
	"iter"
	"sync"

	"github.com/taskhub-tools/taskhub/schema"
)

const (
	// A range is cut small enough that the last ones of a scan still keep all
	// workers busy.
	rangesPerWorker = 4
	// parallelBatch rows travel together, and each range is read this many
	// batches ahead of the consumer.
	parallelBatch = 500
	batchesAhead  = 4
)

// ParallelRows is [Reader.Rows] of a whole table, read by several workers at
// once: each takes a range of keys, and the rows come out in key order all the
// same. It pays where a page takes long to arrive, as from another region.
//
// Peak memory is that of workers × 2,500 rows and their pages. No goroutine
// outlives the loop.
func ParallelRows(ctx context.Context, r Reader, table Table, workers int) iter.Seq2[schema.Row, error] {
	return func(yield func(schema.Row, error) bool) {
		if workers < 2 {
			r.Rows(ctx, table, Keys{})(yield)
			return
		}
		ranges, err := r.Split(ctx, table, workers*rangesPerWorker)
		if err != nil {
			yield(schema.Row{}, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()

		// The workers take the ranges in order, so that the one whose rows are
		// due is always being read and cannot wait for those after it. No more
		// than there are workers are begun and not consumed, or small ranges
		// would all end up in memory.
		streams := make([]chan batch, len(ranges))
		next := make(chan int, len(ranges))
		defer close(next)
		for i := range ranges {
			streams[i] = make(chan batch, batchesAhead)
			if i < workers {
				next <- i
			}
		}
		for range min(workers, len(ranges)) {
			wg.Go(func() {
				for i := range next {
					readRange(ctx, r, table, ranges[i], streams[i])
				}
			})
		}
		for i, stream := range streams {
			for b := range stream {
				for j := range b.rows {
					if !yield(b.rows[j], nil) {
						return
					}
				}
				if b.err != nil {
					yield(schema.Row{}, b.err)
					return
				}
			}
			// A worker that is told to stop leaves its range without a word, and
			// what others have read of those after it would follow a gap.
			if ctx.Err() != nil {
				yield(schema.Row{}, context.Cause(ctx))
				return
			}
			if i+workers < len(ranges) {
				next <- i + workers
			}
		}
	}
}

type batch struct {
	rows []schema.Row
	err  error
}

// readRange sends the rows of a range and closes the stream. It ends early when
// ctx does.
func readRange(ctx context.Context, r Reader, table Table, keys Keys, to chan<- batch) {
	defer close(to)
	send := func(b batch) bool {
		select {
		case to <- b:
			return true
		case <-ctx.Done():
			return false
		}
	}
	rows := make([]schema.Row, 0, parallelBatch)
	for row, err := range r.Rows(ctx, table, keys) {
		if err != nil {
			send(batch{rows, err})
			return
		}
		if rows = append(rows, row); len(rows) == parallelBatch {
			if !send(batch{rows: rows}) {
				return
			}
			rows = make([]schema.Row, 0, parallelBatch)
		}
	}
	send(batch{rows: rows})
}
