package live

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// query asks a table for rows.
type query struct {
	table  string
	keys   hub.Keys
	choose string // columns, separated by commas; empty means all
}

// fetched is a page of rows as it came, or why it did not.
type fetched struct {
	body []byte
	next *position
	call *call
	err  error
}

// position is where the next page begins.
type position struct{ partitionKey, rowKey *string }

const pageRows = 1000

// rows streams the answer to q in the order of keys. A table that does not exist
// has no rows.
//
// While one page is decoded and yielded, the next is on its way; these two are
// in memory. The goroutine that asks for them has ended when the loop has.
func (a *Account) rows(ctx context.Context, q query) iter.Seq2[schema.Row, error] {
	return func(yield func(schema.Row, error) bool) {
		if ctx.Err() != nil {
			yield(schema.Row{}, context.Cause(ctx))
			return
		}
		fail := func(err error) { yield(schema.Row{}, fmt.Errorf("list %s: %w", q.table, err)) }
		l := a.lister(q, pageRows)
		ctx, cancel := context.WithCancel(ctx)
		// Without a buffer, so that the page after the next is asked for when the
		// next is taken: at once if that is waited for, and otherwise not too soon.
		pages := make(chan fetched)
		go l.run(ctx, pages)
		defer func() {
			cancel()
			for range pages {
				continue // until the goroutine closes it
			}
		}()

		var (
			d    schema.Decoder
			rows []schema.Row
			last order
		)
		for p := range pages {
			if p.err != nil {
				if !isAbsent(p.err) {
					fail(p.err)
				}
				return
			}
			var err error
			if rows, err = d.Page(p.body, rows[:0]); err != nil {
				fail(p.call.fail(ctx, err))
				return
			}
			for i := range rows {
				r := &rows[i]
				if err := last.follow(r); err != nil {
					fail(err)
					return
				}
				if l.wider && !q.keys.Contains(r.PartitionKey, r.RowKey) {
					continue
				}
				if !yield(*r, nil) {
					return
				}
			}
			if p.next == nil {
				return
			}
		}
		yield(schema.Row{}, context.Cause(ctx)) // nothing else ends the pages early
	}
}

// first returns the first row that answers q. It returns hub.ErrNotFound, as
// told by isAbsent, if the table does not exist.
func (a *Account) first(ctx context.Context, q query) (row schema.Row, ok bool, err error) {
	l := a.lister(q, 1)
	var d schema.Decoder
	var at *position
	for {
		p := l.fetch(ctx, at)
		if p.err == nil {
			var rows []schema.Row
			if rows, err = d.Page(p.body, nil); err != nil {
				p.err = p.call.fail(ctx, err)
			}
			for _, r := range rows {
				if p.err == nil && q.keys.Contains(r.PartitionKey, r.RowKey) {
					return r, true, nil
				}
			}
		}
		if p.err != nil {
			return schema.Row{}, false, fmt.Errorf("list %s: %w", q.table, p.err)
		}
		if at = p.next; at == nil {
			return schema.Row{}, false, nil
		}
	}
}

// lister fetches the pages of one listing, one after another.
type lister struct {
	a      *Account
	q      query
	filter string
	wider  bool // the filter selects more than q asks for
	top    int32
	size   int // of the page before
}

func (a *Account) lister(q query, top int32) *lister {
	l := &lister{a: a, q: q, top: top}
	l.filter, l.wider = filter(q.keys)
	return l
}

// run hands over all pages until one fails or ctx ends.
func (l *lister) run(ctx context.Context, pages chan<- fetched) {
	defer close(pages)
	var at *position
	for {
		p := l.fetch(ctx, at)
		select {
		case pages <- p:
		case <-ctx.Done():
			return
		}
		if at = p.next; at == nil {
			return
		}
	}
}

// fetch reads the page at a position. Of a page that is too large it asks for
// fewer rows, and for more again after a small one.
func (l *lister) fetch(ctx context.Context, at *position) fetched {
	for {
		c := &call{takesPage: true, sizeHint: l.size}
		opts := &aztables.ListEntitiesOptions{Top: &l.top}
		if l.filter != "" {
			opts.Filter = &l.filter
		}
		if l.q.choose != "" {
			opts.Select = &l.q.choose
		}
		if at != nil {
			opts.NextPartitionKey, opts.NextRowKey = at.partitionKey, at.rowKey
		}
		resp, err := l.a.tables.NewClient(l.q.table).NewListEntitiesPager(opts).NextPage(c.in(ctx))
		var tooLarge pageTooLarge
		if errors.As(err, &tooLarge) && l.top > 1 && ctx.Err() == nil {
			l.top = max(1, l.top/8)
			continue
		}
		if err != nil {
			return fetched{err: c.fail(ctx, err)}
		}
		if l.size = len(c.page); l.size < maxPageBytes/4 && l.top > 1 {
			l.top = min(pageRows, 2*l.top)
		}
		p := fetched{body: c.page, call: c}
		if resp.NextPartitionKey != nil || resp.NextRowKey != nil {
			p.next = &position{resp.NextPartitionKey, resp.NextRowKey}
		}
		return p
	}
}

// order checks that rows come in the order of their keys: who walks two
// listings side by side would otherwise miss rows without a sign.
type order struct {
	partitionKey, rowKey string
	any                  bool
}

func (o *order) follow(r *schema.Row) error {
	if o.any {
		c := 0
		if r.PartitionKey != o.partitionKey {
			c = schema.CompareKeys(r.PartitionKey, o.partitionKey)
		}
		if c < 0 || c == 0 && schema.CompareKeys(r.RowKey, o.rowKey) <= 0 {
			return fmt.Errorf("the service returned row %q/%q after %q/%q, which is not the order of keys",
				r.PartitionKey, r.RowKey, o.partitionKey, o.rowKey)
		}
	}
	o.partitionKey, o.rowKey, o.any = r.PartitionKey, r.RowKey, true
	return nil
}
