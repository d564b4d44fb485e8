package server_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/server"
)

// serving starts a server as serve does, and returns its origin.
func serving(t testing.TB, opts server.Options) string {
	t.Helper()
	s, err := server.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
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
			t.Errorf("serve: %v", err)
		}
	})
	return "http://" + l.Addr().String()
}

// pageOptions serve hubs to the page, at the time of the clock.
func pageOptions(hubs ...server.Hub) server.Options {
	return server.Options{
		Hubs: hubs, Now: time.Now,
		Wait: func(ctx context.Context, d time.Duration) error {
			timer := time.NewTimer(d)
			defer timer.Stop()
			select {
			case <-timer.C:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		},
	}
}

// looked ends a test of a page: nothing must have gone wrong on it.
func looked(t *testing.T, p *testhub.Page) {
	t.Helper()
	for _, problem := range p.Problems() {
		t.Errorf("the page: %s", problem)
	}
}

const quiet = `!document.querySelector('[aria-busy=true], .busy, .boot, .spinner')`

func role(role, name string) testhub.Target { return testhub.Target{Role: role, Name: name} }

func css(selector string) testhub.Target { return testhub.Target{Selector: selector} }

// A person looks for an instance, opens it, sees its timeline, goes to a
// sub-orchestration and back.
func TestPageFindsAndFollows(t *testing.T) {
	p := testhub.StartBrowser(t).Open(t, serving(t, pageOptions(server.Hub{Reader: testhub.OpenHub(t, "dtfx-2.9.1")})), testhub.PageOptions{})
	p.Wait(role("heading", "Instances"))
	p.Fill(role("searchbox", "Search by ID or function"), "PARENT")
	p.Until(quiet + ` && document.querySelector('.range').textContent === '1–10'`)
	p.Click(role("link", "parent"))

	p.Wait(role("heading", "Instance parent Copy ID"))
	p.Click(role("link", "Timeline"))
	p.Wait(role("button", "What happened in parent:1"))
	// As recorded in the history of the instance: three children and no activity.
	rows := p.Texts(".gantt-rows > li .gantt-label")
	if len(rows) != 4 {
		t.Fatalf("%d rows on the timeline, want 4: %q", len(rows), rows)
	}
	p.Click(role("button", "What happened in parent:1"))
	p.Until(`[...document.querySelectorAll('.gantt-rows > li')].some((row) => row.textContent.includes('SayHello'))`)

	p.Click(css(".gantt-rows a[href*='parent%3A1']"))
	p.Wait(role("heading", "Instance parent:1 Copy ID"))
	p.Until(quiet)
	if rows := p.Texts(".gantt-rows > li .gantt-label"); len(rows) != 2 || !strings.Contains(rows[1], "SayHello") {
		t.Errorf("the timeline of the child: %q", rows)
	}
	p.Click(css(".facts a"))
	p.Wait(role("heading", "Instance parent Copy ID"))
	p.Back()
	p.Wait(role("heading", "Instance parent:1 Copy ID"))
	p.Back()
	p.Wait(role("heading", "Instance parent Copy ID"))
	p.Back()
	p.Back()
	p.Until(quiet + ` && document.querySelector('.range')?.textContent === '1–10'`)
	looked(t, p)
}

// The list is filtered, sorted and paged by the server.
func TestPageLists20000(t *testing.T) {
	const n = 20_000
	p := testhub.StartBrowser(t).Open(t, serving(t, pageOptions(server.Hub{Reader: manyInstances(t, n)})), testhub.PageOptions{})
	first := func(want string) {
		t.Helper()
		p.Until(fmt.Sprintf(`document.querySelector('tbody .id')?.dataset.id === %q`, want))
	}
	// Newest first: the last to be made is the first.
	first(manyID(n - 1))
	if got := p.Text(css(".range")); got != "1–100" {
		t.Errorf("the page shows %s, want 1–100", got)
	}
	p.Click(role("button", "Instance ID"))
	first(manyID(0))
	seen := make(map[string]bool)
	for page := range n / 500 {
		if page == 0 {
			p.Choose(role("combobox", "Rows"), "500")
		} else {
			p.Click(css("[aria-label='Next page']"))
		}
		first(manyID(page * 500))
		p.Until(quiet)
		var ids []string
		p.Evaluate(`[...document.querySelectorAll('tbody .id')].map((e) => e.dataset.id)`, &ids)
		for _, id := range ids {
			seen[id] = true
		}
	}
	if len(seen) != n {
		t.Errorf("all pages show %d instances, want %d", len(seen), n)
	}
	var next bool
	p.Evaluate(`document.querySelector('[aria-label="Next page"]').disabled`, &next)
	if !next {
		t.Error("there is a page after the last one")
	}

	p.Click(role("button", "Failed 2,000"))
	p.Until(quiet + ` && document.querySelector('.pager-text').textContent.endsWith('of 2,000')`)
	p.Choose(role("combobox", "Function"), "Orders3")
	p.Until(quiet + ` && document.querySelector('.pager-text').textContent.endsWith('of 286')`)
	chips := p.Texts("tbody .chip")
	if i := slices.IndexFunc(chips, func(s string) bool { return s != "Failed" }); i >= 0 || len(chips) != 286 {
		t.Errorf("filtered by Failed, the chips of %d rows say %q", len(chips), chips[max(i, 0)])
	}
	p.Click(role("button", "Clear filters"))
	p.Fill(role("searchbox", "Search by ID or function"), manyID(12345))
	p.Until(quiet + ` && document.querySelector('.pager-text').textContent.endsWith('of 1')`)
	p.Press("Enter")
	p.Wait(role("heading", "Instance "+manyID(12345)+" Copy ID"))
	looked(t, p)
}

// An instance of a live hub is terminated: the message is in its queue, and nothing
// else has changed.
func TestPageTerminates(t *testing.T) {
	e := testhub.NewEditor(testhub.ContentOf(t, testhub.OpenHub(t, "functions-3")))
	p := testhub.StartBrowser(t).Open(t, serving(t, pageOptions(server.Hub{Reader: e, Editor: e})), testhub.PageOptions{})
	p.Click(css(".facet[data-status=Running]"))
	p.Until(quiet + ` && location.hash.includes('status=Running')`)
	p.Fill(role("searchbox", "Search by ID or function"), "wait-1")
	p.Until(quiet + ` && document.querySelectorAll('tbody tr').length === 1`)
	p.Click(role("link", "wait-1"))
	p.Click(role("button", "Terminate"))
	p.Wait(role("dialog", "Terminate"))
	var disabled bool
	p.Evaluate(`document.querySelector('dialog .danger').disabled`, &disabled)
	if !disabled {
		t.Error("an instance can be terminated without its ID")
	}
	p.Fill(role("textbox", "Reason"), `<b>enough</b> & "more"`)
	p.Fill(role("textbox", "Type the instance ID to confirm"), "wait-1")
	p.Click(css("dialog .danger"))
	p.Wait(css("dialog .good"))
	posted := e.Posted()
	if len(posted) != 1 || posted[0].Queue != "funclab-control-"+fmt.Sprintf("%02d", schema.Partition("wait-1", 4)) {
		t.Fatalf("posted: %+v", posted)
	}
	m, err := schema.DecodeMessage(posted[0].Text, "posted")
	if err != nil {
		t.Fatal(err)
	}
	end, ok := m.TaskMessage.Event.(*schema.ExecutionTerminated)
	if to, _ := m.Target(); !ok || to != "wait-1" || end.Input.Value != `<b>enough</b> & "more"` {
		t.Errorf("posted: %s", posted[0].Text)
	}
	if edits := e.Edits(); len(edits) != 1 {
		t.Errorf("changes: %q, want one message", edits)
	}
	p.Click(css("dialog .primary"))
	looked(t, p)
}

// The page asks for the key once, keeps it for the tab, and tells it the server
// only, in a header.
func TestPageAsksForKey(t *testing.T) {
	opts := pageOptions(server.Hub{Reader: testhub.OpenHub(t, "functions-3")})
	opts.Key = "the key of this test"
	p := testhub.StartBrowser(t).Open(t, serving(t, opts), testhub.PageOptions{})
	p.Wait(role("dialog", "Key"))
	p.Fill(role("textbox", "Key"), "another key")
	p.Press("Enter")
	p.Wait(css("dialog .bad"))
	p.Fill(role("textbox", "Key"), string(opts.Key))
	p.Click(role("button", "Continue"))
	p.Wait(css("tbody tr"))
	p.Click(role("link", "Health"))
	p.Wait(css("meter"))
	p.Goto(p.Origin() + "/?again#/hubs/Storage/FuncLab/instance/wait-1/history")
	p.Wait(css(".history tr"))
	for _, r := range p.Requests() {
		if strings.Contains(r, "of%20this") || strings.Contains(r, "of+this") || strings.Contains(r, "another") || strings.Contains(r, "code=") {
			t.Errorf("the key is in an address: %s", r)
		}
	}
	var kept []string
	p.Evaluate(`[...Object.values(localStorage), document.cookie, location.href, document.documentElement.innerHTML].filter((s) => s.includes('the key of'))`, &kept)
	if len(kept) > 0 {
		t.Errorf("the key is kept elsewhere: %.200q", kept)
	}
	// What the browser itself says of an answer 401 is no fault of the page.
	for _, problem := range p.Problems() {
		if !strings.Contains(problem, "401 (Unauthorized)") {
			t.Errorf("the page: %s", problem)
		}
	}
}

// The hub's health is shown, and it is verified when somebody asks for it.
func TestPageVerifies(t *testing.T) {
	p := testhub.StartBrowser(t).Open(t, serving(t, pageOptions(server.Hub{Reader: testhub.OpenHub(t, "dtfx-2.9.1-poisoned")})), testhub.PageOptions{})
	p.Click(role("link", "Health"))
	p.Wait(css("meter"))
	// As recorded: five messages in the one control queue, of which one can be seen.
	if rows := p.Texts("table tbody tr"); !slices.ContainsFunc(rows, func(s string) bool {
		return strings.HasPrefix(s, "poisonhub-control-00") && strings.Contains(s, "\t5\t")
	}) {
		t.Errorf("rows: %q", rows)
	}
	p.Click(role("button", "Verify this hub"))
	p.Wait(css(".verify-results details"))
	p.Until(`document.querySelector('.verify-results').textContent.includes('poison-message')`)
	p.Click(css(".verify-results summary"))
	p.Wait(css(".verify-results .finding a"))
	p.Click(css(".verify-results .finding a"))
	p.Wait(css(".verdict"))
	looked(t, p)
}

// A part of a long timeline is shown at a time, and all of it can be reached.
func TestPageLongTimeline(t *testing.T) {
	p := testhub.StartBrowser(t).Open(t, serving(t, pageOptions(server.Hub{Reader: longHistory(t, 5000, none)}))+"/#/hubs/Storage/ManyHub/instance/long/timeline", testhub.PageOptions{})
	p.Wait(css(".gantt-rows"))
	p.Until(quiet)
	if got := p.Text(css(".windows .notice")); got != "Events 0 to 999; there are more." {
		t.Errorf("the first part says %q", got)
	}
	var nodes int
	p.Evaluate(`document.querySelectorAll('*').length`, &nodes)
	if nodes > 6000 {
		t.Errorf("the page has %d elements", nodes)
	}
	for _, next := range []string{"Events 1,000 to 1,999; there are more.", "Events 2,000 to 2,999; there are more.", "Events 3,000 to 3,999; there are more.", "From event 4,000 to the last."} {
		p.Click(role("link", "Later events"))
		p.Until(fmt.Sprintf(`document.querySelector('.windows .notice')?.textContent === %q`, next))
	}
	// Bars lie within the chart, whatever part it is of.
	var outside int
	p.Evaluate(`[...document.querySelectorAll('.bar:not(.out)')].filter((b) => b.getBoundingClientRect().width < 1).length`, &outside)
	if outside > 0 {
		t.Errorf("%d bars cannot be seen", outside)
	}
	p.Click(role("link", "History"))
	p.Wait(css(".history"))
	p.Click(css("[aria-label='Last page']"))
	p.Until(quiet + ` && document.querySelector('.pager-text').textContent === 'Events 4,800–4,999 of 5,000'`)
	p.Fill(role("spinbutton", "Event"), "1234")
	p.Press("Enter")
	p.Until(quiet + ` && document.querySelector('.pager-text').textContent === 'Events 1,234–1,433 of 5,000'`)
	looked(t, p)
}
