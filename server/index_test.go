package server

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// rowsReader is a hub of nothing but rows of the Instances table, which it makes as
// it goes.
type rowsReader struct {
	hub.Reader
	n     int
	id    func(i int) string
	began chan struct{} // gets one when a listing begins; nil is fine
	hold  chan struct{} // a listing waits for it to be closed before its last row; nil is fine
}

func (r *rowsReader) Rows(ctx context.Context, table hub.Table, _ hub.Keys) iter.Seq2[schema.Row, error] {
	return func(yield func(schema.Row, error) bool) {
		if table != hub.Instances {
			return
		}
		if r.began != nil {
			r.began <- struct{}{}
		}
		row := schema.Row{Properties: []schema.Property{
			{Name: "Name", Value: schema.String("")},
			{Name: "RuntimeStatus", Value: schema.String("Running")},
			{Name: "CreatedTime", Value: schema.DateTime(0)},
			{Name: "LastUpdatedTime", Value: schema.DateTime(0)},
		}}
		for i := range r.n {
			if r.hold != nil && i == r.n-1 {
				select {
				case <-r.hold:
				case <-ctx.Done():
					yield(schema.Row{}, context.Cause(ctx))
					return
				}
			}
			row.PartitionKey = schema.EscapeKey(r.id(i))
			row.Properties[0].Value = schema.String(fmt.Sprintf("Function%d", i%100))
			row.Properties[2].Value = schema.DateTime(schema.Ticks(1 + i))
			row.Properties[3].Value = schema.DateTime(schema.Ticks(1 + i*7919%r.n))
			if !yield(row, nil) {
				return
			}
		}
	}
}

func guid(i int) string { return fmt.Sprintf("%032x", i) }

func nothing(int64) error { return nil }

// An index keeps nothing of the rows that it was made of: their memory is used again.
func TestIndexKeepsNothingOfRows(t *testing.T) {
	r := testhub.OpenHub(t, "dtfx-2.9.1-odd")
	idx, err := buildIndex(t.Context(), testhub.Scribble(r, 7), maxIndexed, -1, func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	var want, got []string
	for row, err := range r.Rows(t.Context(), hub.Instances, hub.Keys{}) {
		if err != nil {
			t.Fatal(err)
		}
		name, _ := row.Get("Name").Text()
		want = append(want, schema.InstanceID(row.PartitionKey)+" "+name)
	}
	for _, row := range idx.query(indexQuery{limit: 1000}).rows {
		got = append(got, row.id+" "+idx.names[row.name])
	}
	if !slices.Equal(got, want) {
		t.Errorf("index %q, want %q", got, want)
	}
}

// A hub that is too large for an index is listed in key order, page by page, and by
// how IDs begin.
func TestIndexOfTooMany(t *testing.T) {
	s := newGuarded(t, guardOptions(t))
	s.pages.indexes.limit = 20
	h := s.hubs[0]
	list := func(query string) (*instanceList, error) {
		p := &pageRequest{Request: httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/page/data/instances?"+query, nil), hub: h}
		p.query = p.URL.Query()
		v, err := s.instancesData(t.Context(), p)
		l, _ := v.(*instanceList)
		return l, err
	}
	all, err := list("limit=500")
	if err != nil {
		t.Fatal(err)
	}
	if !all.Partial || all.Total != 21 || len(all.Rows) != 47 || all.Next != "" {
		t.Errorf("partial %v, total %d, %d rows, next %q", all.Partial, all.Total, len(all.Rows), all.Next)
	}
	var ids []string
	for token := ""; ; {
		l, err := list("limit=10&sort=id&token=" + token)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range l.Rows {
			ids = append(ids, row.ID)
		}
		if token = string(l.Next); token == "" {
			break
		}
	}
	for i, row := range all.Rows {
		if ids[i] != row.ID {
			t.Errorf("row %d is %q, want %q", i, ids[i], row.ID)
		}
	}
	for query, want := range map[string]int{
		"q=wait-": 8, "q=Wait-": 0, "q=ait-": 0, "kind=entities": 8, "kind=entities&q=counter": 5, "kind=entities&q=@device": 3, "kind=orchestrations": 39,
		"status=Suspended": 1, "name=WaitFor&status=Running": 5,
		"name=@counter": 5, "name=@device&q=@device@d2": 1, "kind=entities&name=@device": 3,
	} {
		if l, err := list("limit=500&" + query); err != nil || len(l.Rows) != want {
			t.Errorf("%s: %d rows, %v; want %d", query, len(l.Rows), err, want)
		}
	}
	if l, err := list("sort=created&order=desc&offset=10&limit=3"); err != nil || l.Rows[0] != all.Rows[0] || len(l.Rows) != 3 {
		t.Errorf("in another order: %v, %v", l.Rows, err)
	}
	if l, err := list("q=wait-1"); err != nil || !l.Exact {
		t.Errorf("an ID is not known for one: %v", err)
	}
}

// However many ask at once, the hub is read once.
func TestIndexIsShared(t *testing.T) {
	r := &rowsReader{n: 5000, id: guid, began: make(chan struct{}, 10), hold: make(chan struct{})}
	h := &served{Hub: Hub{Reader: r}}
	var x indexes
	var wg sync.WaitGroup
	results := make(chan *index, 20)
	for range 20 {
		wg.Go(func() {
			idx, err := x.get(t.Context(), h, false, 1, nothing)
			if err != nil {
				t.Error(err)
			}
			results <- idx
		})
	}
	<-r.began
	for x.waitingFor(h) < 20 {
		runtime.Gosched()
	}
	close(r.hold)
	wg.Wait()
	first := <-results
	for range 19 {
		if idx := <-results; idx != first {
			t.Error("two indexes were made")
		}
	}
	if len(first.rows) != 5000 || len(r.began) != 0 {
		t.Errorf("%d rows, %d further listings", len(first.rows), len(r.began))
	}
	if again, err := x.get(t.Context(), h, false, 2, nothing); err != nil || again != first {
		t.Errorf("a later request makes another index: %v", err)
	}
	if fresh, err := x.get(t.Context(), h, true, 3, nothing); err != nil || fresh == first || fresh.builtAt != 3 {
		t.Errorf("a new index is not made when it is asked for: %v", err)
	}
}

// waitingFor returns how many requests wait for the index of a hub.
func (x *indexes) waitingFor(h *served) int {
	x.mu.Lock()
	defer x.mu.Unlock()
	if shared := x.of[h]; shared != nil && shared.build != nil {
		return shared.build.waiting
	}
	return 0
}

// When nobody waits any more, the reading ends; who comes later begins anew, and
// those who stay are not disturbed by those who go.
func TestIndexEndsWithItsReaders(t *testing.T) {
	r := &rowsReader{n: 5000, id: guid, began: make(chan struct{}, 10), hold: make(chan struct{})}
	h := &served{Hub: Hub{Reader: r}}
	var x indexes
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	gone := func(ctx context.Context) {
		if _, err := x.get(ctx, h, false, 1, nothing); !errors.Is(err, context.Canceled) {
			t.Errorf("a request that has gone: %v", err)
		}
	}
	wg.Go(func() { gone(ctx) })
	<-r.began
	cancel()
	wg.Wait() // the reading has ended with it

	ctx, cancel = context.WithCancel(t.Context())
	var idx *index
	var err error
	wg.Go(func() { idx, err = x.get(t.Context(), h, false, 2, nothing) })
	<-r.began
	var other sync.WaitGroup
	other.Go(func() { gone(ctx) })
	for x.waitingFor(h) < 2 {
		runtime.Gosched()
	}
	cancel()
	other.Wait()
	close(r.hold)
	wg.Wait()
	if err != nil || len(idx.rows) != 5000 || idx.builtAt != 2 {
		t.Errorf("a request that stays: %v", err)
	}
}

// All indexes together hold no more than one may: those that were not used for
// longest go.
func TestIndexesAreBounded(t *testing.T) {
	var x indexes
	x.limit = 100
	hubs := make([]*served, 4)
	for i := range hubs {
		hubs[i] = &served{Hub: Hub{Reader: &rowsReader{n: 40, id: guid}}}
	}
	get := func(i int) {
		if _, err := x.get(t.Context(), hubs[i], false, 1, nothing); err != nil {
			t.Fatal(err)
		}
	}
	held := func() (held []int) {
		for i, h := range hubs {
			if x.counted(h) >= 0 {
				held = append(held, i)
			}
		}
		return held
	}
	get(0)
	get(1)
	get(0)
	get(2)
	if got := held(); !slices.Equal(got, []int{0, 2}) {
		t.Errorf("after 0, 1, 0, 2 there are indexes of %v", got)
	}
	get(3)
	if got := held(); !slices.Equal(got, []int{2, 3}) {
		t.Errorf("after 3 there are indexes of %v", got)
	}
}

// A million instances take what the comment of maxIndexed says, with all orders.
func TestIndexMemory(t *testing.T) {
	n := maxIndexed
	if testing.Short() {
		n /= 10
	}
	r := &rowsReader{n: n, id: guid}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	idx, err := buildIndex(t.Context(), r, maxIndexed, int64(n), func(int64) {})
	if err != nil {
		t.Fatal(err)
	}
	for _, by := range sortColumns {
		p := idx.query(indexQuery{sort: by, limit: 1})
		if p.matched != int64(n) {
			t.Errorf("sorted by %s: %d instances, want %d", by, p.matched, n)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := float64(after.HeapAlloc-before.HeapAlloc) / float64(n)
	t.Logf("%.0f bytes an instance", each)
	if each > 110 {
		t.Errorf("an instance takes %.0f bytes, want 110 at most", each)
	}
	runtime.KeepAlive(idx)
}

// IDs that are too long for the memory that they may have make an index partial,
// and function names are cut and counted up to a bound.
func TestIndexBoundsText(t *testing.T) {
	long := strings.Repeat("x", 900)
	r := &rowsReader{n: maxIndexedBytes/900 + 2000, id: func(i int) string { return fmt.Sprintf("%s%08d", long, i) }}
	idx, err := buildIndex(t.Context(), r, maxIndexed, -1, func(int64) {})
	if err != nil || !idx.partial || idx.rows != nil {
		t.Errorf("IDs of 900 characters: partial %v, %v", idx.partial, err)
	}
	b := newIndexBuilder(maxIndexed, -1)
	for i := range maxIndexedNames + 5 {
		b.name(fmt.Sprintf("Function%d", i))
	}
	if n := b.name(strings.Repeat("é", 10_000)); n != noName {
		t.Errorf("the name after the last has number %d", n)
	}
	b = newIndexBuilder(maxIndexed, -1)
	if name := b.idx.names[b.name("a"+strings.Repeat("é", 10_000))]; len(name) > maxIndexedName+3 || !strings.HasPrefix(name, "aééé") || strings.ContainsRune(name, '\uFFFD') {
		t.Errorf("a long name is kept as %d bytes", len(name))
	}
}

func TestContainsFold(t *testing.T) {
	for _, test := range []struct {
		s, text string
		want    bool
	}{
		{"Order-1", "order", true},
		{"Order-1", "der-", true},
		{"Order-1", "1", true},
		{"Order-1", "2", false},
		{"Order-1", "order-12", false},
		{"", "x", false},
		{"x", "", true},
		{"aaab", "aab", true},
		{"STRASSE ÜBER", "über", true},
		{"ÜBER", "uber", false},
		{"Ünï", "n", true},
	} {
		if got := containsFold(test.s, test.text); got != test.want {
			t.Errorf("containsFold(%q, %q) = %v, want %v", test.s, test.text, got, test.want)
		}
	}
}

func BenchmarkIndexQuery(b *testing.B) {
	idx, err := buildIndex(b.Context(), &rowsReader{n: 1_000_000, id: guid}, maxIndexed, 1_000_000, func(int64) {})
	if err != nil {
		b.Fatal(err)
	}
	for name, q := range map[string]indexQuery{
		"all": {limit: 100}, "sorted": {sort: sortUpdated, descending: true, limit: 100}, "search": {text: "abcde", limit: 100},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				idx.query(q)
			}
		})
	}
}
