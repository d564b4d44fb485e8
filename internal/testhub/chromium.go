package testhub

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	neturl "net/url"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"
)

// Browser is a Chromium. Its requests run one after another.
type Browser struct {
	mu sync.Mutex
	*dialogue
	pages int
}

// browsers are the names under which distributions install it.
var browsers = [...]string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

// StartBrowser starts a Chromium with a new, empty profile that ends with t.
//
// It skips t if there is none, or no Node.js or playwright-core to drive it, and
// fails it instead if REQUIRE_BROWSER_TESTS is 1.
func StartBrowser(t testing.TB) *Browser {
	t.Helper()
	const required = "REQUIRE_BROWSER_TESTS"
	node, script := nodeScript(t, required, "the browser", "browser.mjs")
	program := ""
	for _, name := range browsers {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		unavailable(t, required, "there is no browser: none of %q is in PATH", browsers)
	}

	// The context of a test ends before its cleanup, which lets the browser end by
	// itself: only then it removes its files.
	ctx, kill := context.WithCancel(context.WithoutCancel(t.Context()))
	cmd := exec.CommandContext(ctx, node, script, program)
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir())
	b := &Browser{dialogue: startDialogue(t, cmd)}
	t.Cleanup(func() {
		_ = b.stdin.Close() // the script ends with its input
		stuck := time.AfterFunc(20*time.Second, kill)
		_, _ = io.Copy(io.Discard, b.stdout)
		_ = cmd.Wait() // how it ends says nothing about the test
		stuck.Stop()
		kill()
	})
	b.greet(t, required, "the browser", "the browser does not start, or playwright-core is not installed: run make kit")
	return b
}

// do sends a request and decodes the value of its answer.
func (b *Browser) do(request map[string]any, value any) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.in.Encode(request); err != nil {
		return err
	}
	var answer struct {
		Value json.RawMessage
		Error string
	}
	if err := b.out.Decode(&answer); errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF // it died; its stderr is in the log of the test
	} else if err != nil {
		return err
	}
	if answer.Error != "" {
		return errors.New(answer.Error)
	}
	if value == nil {
		return nil
	}
	return json.Unmarshal(answer.Value, value)
}

// PageOptions says how a page is shown. The zero value is a light page of 1280 by
// 800.
type PageOptions struct {
	Width, Height int
	Dark          bool
}

// Page is a page in a [Browser], with storage of its own. Its methods fail the
// test if what they need does not come about within a time that is long enough
// for any machine.
type Page struct {
	t      testing.TB
	b      *Browser
	name   string
	origin string
}

// Open opens a page at an address.
func (b *Browser) Open(t testing.TB, url string, o PageOptions) *Page {
	t.Helper()
	b.mu.Lock()
	b.pages++
	p := &Page{t: t, b: b, name: "page" + strconv.Itoa(b.pages)}
	b.mu.Unlock()
	if u, err := neturl.Parse(url); err == nil {
		p.origin = u.Scheme + "://" + u.Host
	}
	request := map[string]any{"url": url}
	if o.Width > 0 {
		request["width"], request["height"] = o.Width, o.Height
	}
	if o.Dark {
		request["scheme"] = "dark"
	}
	p.do("open", request, nil)
	t.Cleanup(func() { _ = b.do(map[string]any{"do": "close", "page": p.name}, nil) }) // the browser may be gone
	return p
}

func (p *Page) do(what string, request map[string]any, value any) {
	p.t.Helper()
	all := map[string]any{"do": what, "page": p.name}
	for k, v := range request {
		all[k] = v
	}
	if err := p.b.do(all, value); err != nil {
		p.t.Fatalf("browser: %s %v: %v", what, request, err)
	}
}

// Target says which element is meant: the first of a role with a name as a screen
// reader says it, or the first of a CSS selector.
type Target struct{ Role, Name, Selector string }

func (g Target) request() map[string]any {
	if g.Selector != "" {
		return map[string]any{"selector": g.Selector}
	}
	return map[string]any{"role": g.Role, "name": g.Name}
}

func (g Target) with(name string, value any) map[string]any {
	r := g.request()
	r[name] = value
	return r
}

// Origin returns the scheme, host and port that the page was opened with.
func (p *Page) Origin() string { return p.origin }

// Goto goes to another address.
func (p *Page) Goto(url string) { p.t.Helper(); p.do("goto", map[string]any{"url": url}, nil) }

// Back goes back in the history of the page.
func (p *Page) Back() { p.t.Helper(); p.do("back", nil, nil) }

// Click clicks on an element.
func (p *Page) Click(g Target) { p.t.Helper(); p.do("click", g.request(), nil) }

// Fill replaces the text of an input.
func (p *Page) Fill(g Target, text string) { p.t.Helper(); p.do("fill", g.with("text", text), nil) }

// Choose chooses an option of a list by its text or value.
func (p *Page) Choose(g Target, option string) {
	p.t.Helper()
	p.do("choose", g.with("text", option), nil)
}

// Press presses keys one after the other, such as Tab or Control+A.
func (p *Page) Press(keys ...string) {
	p.t.Helper()
	for _, key := range keys {
		p.do("press", map[string]any{"text": key}, nil)
	}
}

// Type types a text.
func (p *Page) Type(text string) { p.t.Helper(); p.do("type", map[string]any{"text": text}, nil) }

// Wait waits until an element can be seen.
func (p *Page) Wait(g Target) { p.t.Helper(); p.do("wait", g.request(), nil) }

// Until waits until an expression of JavaScript is true.
func (p *Page) Until(expression string) {
	p.t.Helper()
	p.do("until", map[string]any{"text": expression}, nil)
}

// Evaluate decodes the value of an expression of JavaScript.
func (p *Page) Evaluate(expression string, value any) {
	p.t.Helper()
	p.do("evaluate", map[string]any{"text": expression}, value)
}

// Text returns the text of an element as it can be seen.
func (p *Page) Text(g Target) (text string) {
	p.t.Helper()
	p.do("text", g.request(), &text)
	return text
}

// Texts returns the texts of all elements of a selector.
func (p *Page) Texts(selector string) (texts []string) {
	p.t.Helper()
	p.do("texts", map[string]any{"selector": selector}, &texts)
	return texts
}

// Resize changes the size of what can be seen.
func (p *Page) Resize(width, height int) {
	p.t.Helper()
	p.do("resize", map[string]any{"width": width, "height": height}, nil)
}

// Dark says which theme the system has.
func (p *Page) Dark(dark bool) {
	p.t.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	p.do("media", map[string]any{"scheme": scheme}, nil)
}

// Tree returns role and name of all nodes of the accessibility tree.
func (p *Page) Tree() (nodes [][2]string) {
	p.t.Helper()
	p.do("tree", nil, &nodes)
	return nodes
}

// Download clicks on an element, saves the file that the browser then downloads,
// and returns the name that it would have.
func (p *Page) Download(g Target, path string) (name string) {
	p.t.Helper()
	p.do("download", g.with("path", path), &name)
	return name
}

// Screenshot writes what can be seen as a PNG.
func (p *Page) Screenshot(path string) {
	p.t.Helper()
	p.do("screenshot", map[string]any{"path": path}, nil)
}

// Problems returns what no page should have: errors and warnings on its console,
// violations of its content security policy among them, exceptions, dialogs of
// scripts, and requests to other servers.
func (p *Page) Problems() (problems []string) {
	p.t.Helper()
	p.do("problems", nil, &problems)
	return problems
}

// Requests returns all requests so far, as METHOD address.
func (p *Page) Requests() (requests []string) {
	p.t.Helper()
	p.do("requests", nil, &requests)
	return requests
}
