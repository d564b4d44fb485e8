package testhub

import (
	"context"
	"iter"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Scribble returns a Reader that streams batches of at most so many rows, and
// overwrites all memory of a batch before it gives out the next one: whoever
// keeps something of a row that it has not copied keeps rubbish.
func Scribble(r hub.Reader, rows int) hub.Reader { return &scribbler{r, rows} }

type scribbler struct {
	hub.Reader
	rows int
}

// Batches implements what [hub.Batches] looks for.
func (s *scribbler) Batches(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[[]schema.Row, error] {
	return func(yield func([]schema.Row, error) bool) {
		var text []byte
		n := 0
		give := func() bool {
			var d schema.Decoder
			batch, err := d.Lines(text, nil)
			ok := yield(batch, err)
			for i := range batch {
				clear(batch[i].Properties)
			}
			clear(batch)
			for i := range text {
				text[i] = '?'
			}
			text, n = nil, 0
			return ok && err == nil
		}
		for row, err := range s.Rows(ctx, table, keys) {
			if err != nil {
				yield(nil, err)
				return
			}
			text = append(row.AppendJSON(text), '\n')
			if n++; n == s.rows && !give() {
				return
			}
		}
		if n > 0 {
			give()
		}
	}
}
