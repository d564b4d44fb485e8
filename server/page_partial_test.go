package server

import (
	"context"
	"net"
	"slices"
	"testing"

	"github.com/taskhub-tools/taskhub/internal/testhub"
)

// In a hub that is too large for an index, the page lists what storage lists: it
// says so, goes on and back, filters, and finds how IDs begin.
func TestPageListsTooMany(t *testing.T) {
	s := newGuarded(t, guardOptions(t))
	s.pages.indexes.limit = 20
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	css := func(selector string) testhub.Target { return testhub.Target{Selector: selector} }
	const quiet = `!document.querySelector('[aria-busy=true], .busy')`
	p := testhub.StartBrowser(t).Open(t, "http://"+l.Addr().String()+"/#/hubs/Storage/FuncLab/instances?size=10", testhub.PageOptions{})
	p.Wait(css("tbody tr"))
	if note := p.Text(css(".page-note")); note != "more than 20 instances, captured 2026-11-22 05:08:48. They are too many to sort: they are in the order of their IDs, and found by how these begin." {
		t.Errorf("the page says %q", note)
	}
	ids := func() (ids []string) {
		t.Helper()
		p.Evaluate(`[...document.querySelectorAll('tbody .id')].map((e) => e.dataset.id)`, &ids)
		return ids
	}
	first := ids()
	if len(first) != 10 || first[0] != "27e23c0a389c4994b1edc0fe3e4bc444" || first[1] != "@counter@c1" {
		t.Errorf("the first page is %q", first)
	}
	p.Click(css("[aria-label='Next page']"))
	p.Until(quiet + ` && document.querySelector('.pager-text').textContent === 'Page 2'`)
	if second := ids(); len(second) != 10 || slices.Contains(first, second[0]) {
		t.Errorf("the second page is %q", second)
	}
	p.Click(css("[aria-label='Previous page']"))
	p.Until(quiet + ` && document.querySelector('.pager-text').textContent === 'Page 1'`)
	if again := ids(); !slices.Equal(again, first) {
		t.Errorf("the first page is now %q", again)
	}
	p.Fill(testhub.Target{Role: "searchbox", Name: "Search by ID or function"}, "wait-")
	p.Until(quiet + ` && document.querySelectorAll('tbody tr').length === 8`)
	p.Click(css(".facet[data-status=Suspended]"))
	p.Until(quiet + ` && document.querySelectorAll('tbody tr').length === 1`)
	if got := ids(); !slices.Equal(got, []string{"wait-4"}) {
		t.Errorf("suspended are %q", got)
	}
	for _, problem := range p.Problems() {
		t.Errorf("the page: %s", problem)
	}
}
