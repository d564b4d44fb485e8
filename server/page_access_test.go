package server_test

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/server"
)

// pageViews are addresses of every view of the page, and what can be seen when it
// is there.
var pageViews = map[string]string{
	"hubs":      "#/hubs | .hub-list",
	"instances": "#/hubs/Storage/FuncLab/instances | tbody tr",
	"nothing":   "#/hubs/Storage/FuncLab/instances?q=nothing%20like%20it | .empty",
	"overview":  "#/hubs/Storage/FuncLab/instance/parent-1 | .payload pre",
	"entity":    "#/hubs/Storage/FuncLab/instance/%40counter%40c1 | .payload pre",
	"timeline":  "#/hubs/Storage/FuncLab/instance/parent-1/timeline | .gantt-rows",
	"sequence":  "#/hubs/Storage/FuncLab/instance/parent-1/sequence | svg.sequence",
	"history":   "#/hubs/Storage/FuncLab/instance/parent-1/history | .history",
	"diagnosis": "#/hubs/Storage/FuncLab/instance/failing-1/diagnosis | .verdict",
	"missing":   "#/hubs/Storage/FuncLab/instance/parent-12/timeline | .empty",
	"odd":       "#/hubs/Storage/FuncLab/instance/" + escaped(oddID) + "/history | .history",
	"health":    "#/hubs/Storage/FuncLab/health | meter",
	"no hub":    "#/hubs/Storage/Nowhere/health | .empty",
}

// escaped writes an ID as a part of an address.
func escaped(id string) string { return strings.ReplaceAll(url.QueryEscape(id), "+", "%20") }

// eachView shows one view after the other.
func eachView(t *testing.T, p *testhub.Page, origin string, look func(t *testing.T, view string)) {
	for _, view := range slices.Sorted(maps.Keys(pageViews)) {
		address, ready, _ := strings.Cut(pageViews[view], " | ")
		p.Goto(origin + "/" + address)
		p.Wait(css(ready))
		p.Until(quiet)
		look(t, view)
	}
}

// interactive are the roles of what can be used.
var interactive = []string{
	"button", "link", "textbox", "searchbox", "combobox", "checkbox", "radio", "spinbutton", "slider", "tab", "menuitem", "option", "switch",
	"DisclosureTriangle", "Date", "InputTime", "progressbar", "meter", "dialog", "img", "image", "region", "navigation", "group", "table",
}

// Everything that can be used has a name for those who do not see it.
func TestPageHasNames(t *testing.T) {
	e := testhub.NewEditor(hostileHub(t))
	origin := serving(t, pageOptions(server.Hub{Reader: e, Editor: e}))
	p := testhub.StartBrowser(t).Open(t, origin, testhub.PageOptions{})
	named := make(map[string]int)
	check := func(t *testing.T, view string) {
		t.Helper()
		headings := 0
		for _, n := range p.Tree() {
			role, name := n[0], n[1]
			if role == "heading" {
				headings++
			}
			if !slices.Contains(interactive, role) {
				continue
			}
			if named[role]++; name == "" && role != "group" {
				t.Errorf("%s: a %s has no name", view, role)
			}
		}
		var landmarks string
		p.Evaluate(`[document.documentElement.lang, document.querySelectorAll('main').length, document.querySelectorAll('h1').length].join()`, &landmarks)
		if want := "en,1,1"; landmarks != want && view != "no hub" {
			t.Errorf("%s: language, main and h1 are %s, want %s", view, landmarks, want)
		}
		if headings == 0 && view != "no hub" {
			t.Errorf("%s: there is no heading", view)
		}
	}
	eachView(t, p, origin, check)
	p.Goto(origin + "/#/hubs/Storage/FuncLab/instance/wait-1")
	for _, action := range []string{"Raise event", "Suspend", "Restart", "Terminate"} {
		p.Click(role("button", action))
		p.Wait(role("dialog", action))
		check(t, action)
		p.Press("Escape")
	}
	for _, role := range []string{"button", "link", "searchbox", "combobox", "checkbox", "spinbutton", "dialog", "textbox", "meter", "table"} {
		if named[role] == 0 {
			t.Errorf("no view has a %s: the test does not see what it should", role)
		}
	}
	looked(t, p)
}

// On a telephone nothing is wider than the screen, in no view and neither theme.
func TestPageFits360(t *testing.T) {
	e := testhub.NewEditor(hostileHub(t))
	origin := serving(t, pageOptions(server.Hub{Reader: e, Editor: e}))
	p := testhub.StartBrowser(t).Open(t, origin, testhub.PageOptions{Width: 360, Height: 740, Dark: true})
	eachView(t, p, origin, func(t *testing.T, view string) {
		t.Helper()
		var width int
		p.Evaluate(`document.documentElement.scrollWidth`, &width)
		if width > 360 {
			var wide string
			p.Evaluate(`[...document.querySelectorAll('main *')].filter((e) => e.getBoundingClientRect().right > 361 && !e.closest('.sequence-scroll, .tabs, .facets, .table-scroll, pre, .gantt')).slice(0, 3).map((e) => e.outerHTML.slice(0, 200)).join('\n')`, &wide)
			t.Errorf("%s: the page is %d wide: %s", view, width, wide)
		}
	})
	looked(t, p)
}

// Everything can be done without a mouse, and what has the focus can be seen.
func TestPageByKeyboard(t *testing.T) {
	e := testhub.NewEditor(testhub.ContentOf(t, testhub.OpenHub(t, "functions-3")))
	p := testhub.StartBrowser(t).Open(t, serving(t, pageOptions(server.Hub{Reader: e, Editor: e})), testhub.PageOptions{})
	p.Wait(css("tbody tr"))
	p.Until(quiet)
	focus := func() (at struct{ Text, Outline string }) {
		t.Helper()
		p.Evaluate(`(() => {
			const e = document.activeElement;
			const s = getComputedStyle(e);
			return { text: e.id === 'main' ? 'main' : (e.getAttribute('aria-label') ?? e.labels?.[0]?.textContent ?? e.textContent).trim(), outline: s.outlineStyle === 'none' ? '' : s.outlineWidth };
		})()`, &at)
		return at
	}
	at := func(want string) {
		t.Helper()
		if got := focus(); got.Text != want {
			t.Fatalf("%q has the focus, want %q", got.Text, want)
		}
	}
	p.Press("Tab")
	at("Skip to content")
	p.Press("Enter")
	at("main")

	// Every stop of the whole page shows that it has the focus, and they come in the
	// order in which they are read.
	p.Evaluate(`document.getElementById('skip').focus()`, nil)
	var order []int
	seen := make(map[string]bool)
	for range 400 {
		p.Press("Tab")
		var n int
		p.Evaluate(`[...document.querySelectorAll('*')].indexOf(document.activeElement)`, &n)
		if len(order) > 0 && n <= order[len(order)-1] {
			break
		}
		order = append(order, n)
		f := focus()
		seen[f.Text] = true
		if f.Outline == "" {
			t.Errorf("%q has the focus, which cannot be seen", f.Text)
		}
	}
	for _, want := range []string{"Instances", "Health", "Theme: auto", "Keyboard shortcuts", "Search by ID or function", "Kind", "Status", "Duration", "wait-1", "Copy ID", "Rows"} {
		if !seen[want] {
			t.Errorf("%s cannot be reached with Tab", want)
		}
	}

	p.Evaluate(`document.activeElement.blur()`, nil)
	p.Press("/")
	at("Search by ID or function")
	p.Type("wait-")
	p.Until(quiet + ` && document.querySelector('.pager-text').textContent.endsWith('of 8')`)
	p.Press("ArrowDown", "j", "j", "k")
	var id string
	p.Evaluate(`document.activeElement.querySelector('.id').dataset.id`, &id)
	ids := p.Texts("tbody .id")
	if id != ids[1] {
		t.Errorf("row %q has the focus, want %q", id, ids[1])
	}
	p.Press("Enter")
	p.Wait(role("heading", fmt.Sprintf("Instance %s Copy ID", id)))
	p.Press("2")
	p.Wait(css(".gantt-rows"))
	p.Press("+", "+", "-", "0")
	p.Press("4")
	p.Wait(css(".history"))
	p.Press("?")
	p.Wait(role("dialog", "Keyboard shortcuts"))
	p.Press("Escape")
	p.Press("g", "h")
	p.Wait(role("heading", "Health"))
	p.Press("t")
	p.Until(`document.documentElement.dataset.theme === 'light'`)
	p.Press("t")
	p.Until(`document.documentElement.dataset.theme === 'dark'`)
	p.Press("g", "i")
	p.Wait(css("tbody tr"))

	// A dialog keeps the focus and gives it back.
	p.Goto(p.Origin() + "/#/hubs/Storage/FuncLab/instance/wait-1")
	p.Wait(role("button", "Terminate"))
	p.Until(quiet)
	p.Evaluate(`[...document.querySelectorAll('.actions button')].at(-1).focus()`, nil)
	p.Press("Enter")
	at("Reason")
	p.Press("Tab")
	p.Type("wait-1")
	p.Press("Tab", "Tab")
	at("Terminate")
	p.Press("Tab", "Tab", "Tab", "Tab")
	var inside bool
	p.Evaluate(`document.activeElement.closest('dialog') !== null || document.activeElement === document.body`, &inside)
	if !inside {
		t.Errorf("%q outside of the dialog has the focus", focus().Text)
	}
	p.Press("Escape")
	at("Terminate")
	if n := len(e.Edits()); n != 0 {
		t.Errorf("%d changes were made by looking", n)
	}
	looked(t, p)
}
