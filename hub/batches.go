package hub

import (
	"context"
	"iter"

	"github.com/taskhub-tools/taskhub/schema"
)

// batcher is implemented by readers that can stream rows without giving their
// memory away: the rows of a batch are valid until the next.
type batcher interface {
	Batches(ctx context.Context, table Table, keys Keys) iter.Seq2[[]schema.Row, error]
}

// Batches is [Reader.Rows], some thousand rows at a time at most and at least
// one. They are valid until the next batch, which may use their memory: it is for
// scans of large tables that are done with some rows before they see more.
func Batches(ctx context.Context, r Reader, table Table, keys Keys) iter.Seq2[[]schema.Row, error] {
	if b, ok := r.(batcher); ok {
		return b.Batches(ctx, table, keys)
	}
	const batchRows = 1000
	return func(yield func([]schema.Row, error) bool) {
		rows := make([]schema.Row, 0, batchRows)
		for row, err := range r.Rows(ctx, table, keys) {
			if err != nil {
				yield(nil, err)
				return
			}
			if rows = append(rows, row); len(rows) == batchRows {
				if !yield(rows, nil) {
					return
				}
				rows = rows[:0]
			}
		}
		if len(rows) > 0 {
			yield(rows, nil)
		}
	}
}
