package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/server"
)

// recordedAt is about when the calls were recorded.
var recordedAt = time.Date(2026, 11, 22, 4, 9, 15, 123456700, time.UTC)

// recordedKey is in the URLs of the recorded answers.
const recordedKey = "XXX"

// testOptions serve hubs as they were when the calls were recorded. Whoever waits
// moves the clock.
func testOptions(hubs ...server.Hub) server.Options {
	var waited atomic.Int64
	return server.Options{
		Hubs: hubs, Key: recordedKey, Functions: recordedFunctions, Entities: []string{"Counter", "Device"},
		Now: func() time.Time { return recordedAt.Add(time.Duration(waited.Load())) },
		Wait: func(ctx context.Context, d time.Duration) error {
			waited.Add(int64(d))
			return context.Cause(ctx)
		},
	}
}

// recordedFunctions are those of the app that was recorded, in the order in which
// it names them.
var recordedFunctions = []string{
	"RestartVMs", "EntityHolder", "EntityCaller", "WithTimer", "EternalCounter", "Parent", "FailingFlow",
	"DelayedSignaller", "LargeFlow", "E1_HelloSequence", "WaitFor",
}

func newServer(t testing.TB, opts server.Options) http.Handler {
	t.Helper()
	s, err := server.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return s.Handler()
}

// record is a recorded call.
type record struct {
	N                  int
	Name, Method, Path string
	Body               *string
	RequestHeaders     map[string]string
	Status             int
	Headers            map[string]string
	JSON               json.RawMessage
	Raw                *string
}

func records(t testing.TB, file string, want int) []record {
	t.Helper()
	var all []record
	for line := range bytes.Lines(testhub.Recorded(t, "functions-3", file)) {
		var r record
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	if len(all) != want {
		t.Fatalf("%s: %d calls, want %d", file, len(all), want)
	}
	return all
}

// request makes the request of a recorded call.
func (r *record) request(t testing.TB, base string) *http.Request {
	t.Helper()
	var body io.Reader
	if r.Body != nil {
		body = strings.NewReader(*r.Body)
	}
	req, err := http.NewRequestWithContext(t.Context(), r.Method, "http://127.0.0.1:17071"+base+r.Path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.RequestURI = "" // of a client; a server's handler does not look at it
	if r.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range r.RequestHeaders {
		req.Header.Set(name, value)
	}
	req.Header.Set("X-Functions-Key", recordedKey)
	return req
}

func answer(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// deviation is what we answer on purpose in place of a recorded answer.
type deviation struct {
	status int
	// raw is the body, unless it is the recorded one; masked is set where it is an
	// error with a text of our own.
	raw    string
	masked bool
	// headers are in place of the recorded ones, if not nil.
	headers map[string]string
}

// expected is what we should answer.
type expected struct {
	status  int
	headers map[string]string
	body    string
}

// expect returns what we should answer to a recorded call. It fails the test if a
// deviation is none.
func (r *record) expect(t testing.TB, d *deviation) expected {
	t.Helper()
	e := expected{status: r.Status, headers: make(map[string]string)}
	for _, name := range keptHeaders {
		if v := r.Headers[name]; v != "" { // at the end of a list we give no token
			e.headers[name] = v
		}
	}
	switch {
	case r.Raw != nil:
		e.body = *r.Raw
	case r.JSON != nil && string(r.JSON) != "null":
		e.body = plainJSON(t, r.JSON)
	}
	if strings.HasPrefix(e.body, `{"Message":`) && strings.Contains(e.body, `"StackTrace":`) {
		e.body = withoutStack(t, e.body)
	}
	if strings.Contains(e.body, `"terminatePostUri"`) && r.Status == http.StatusAccepted {
		e.body = withRewind(t, e.body)
	}
	if d == nil {
		return e
	}
	recorded := e
	e.status = d.status
	switch {
	case d.raw != "":
		e.body = d.raw
	case d.status == http.StatusAccepted:
		e.body, e.headers = "", nil
	}
	if d.headers != nil {
		e.headers = d.headers
	}
	if e.status == recorded.status && e.body == recorded.body && !d.masked {
		t.Errorf("%d %s: the deviation is none", r.N, r.Name)
	}
	return e
}

var keptHeaders = []string{"Content-Type", "Location", "Retry-After", "x-ms-continuation-token"}

// plainJSON spells JSON as the framework does: without white space, and with no
// escapes that are not needed.
func plainJSON(t testing.TB, text []byte) string {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	value := func(v any) {
		if err := e.Encode(v); err != nil {
			t.Fatal(err)
		}
		b.Truncate(b.Len() - 1) // the end of the line
	}
	type level struct {
		object bool
		n      int
	}
	var open []level
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return b.String()
		}
		if err != nil {
			t.Fatalf("%v: %.200s", err, text)
		}
		if delim, ok := token.(json.Delim); ok && (delim == ']' || delim == '}') {
			b.WriteString(delim.String())
			open = open[:len(open)-1]
			continue
		}
		if n := len(open) - 1; n >= 0 {
			switch l := &open[n]; {
			case l.n == 0:
			case l.object && l.n%2 == 1:
				b.WriteByte(':')
			default:
				b.WriteByte(',')
			}
			open[n].n++
		}
		if delim, ok := token.(json.Delim); ok {
			b.WriteString(delim.String())
			open = append(open, level{object: delim == '{'})
			continue
		}
		value(token)
	}
}

func withoutStack(t testing.TB, body string) string {
	t.Helper()
	before, _, ok := strings.Cut(body, `,"StackTrace":`)
	if !ok {
		t.Fatalf("no stack trace in %s", body)
	}
	return before + `,"StackTrace":null}`
}

func withRewind(t testing.TB, body string) string {
	t.Helper()
	const next = `,"purgeHistoryDeleteUri":`
	_, rest, ok1 := strings.Cut(body, `"terminatePostUri":"`)
	terminate, _, ok2 := strings.Cut(rest, `"`)
	if !ok1 || !ok2 || strings.Count(body, next) != 1 {
		t.Fatalf("no URLs in %s", body)
	}
	rewind := strings.Replace(terminate, "/terminate?", "/rewind?", 1)
	return strings.Replace(body, next, `,"rewindPostUri":"`+rewind+`"`+next, 1)
}

// compare compares an answer with what it should be.
func (r *record) compare(t testing.TB, want expected, d *deviation, w *httptest.ResponseRecorder) {
	t.Helper()
	got := w.Body.String()
	if w.Code != want.status {
		t.Errorf("%d %s: status %d, want %d\n%.500s", r.N, r.Name, w.Code, want.status, got)
		return
	}
	for _, name := range keptHeaders {
		if g := w.Header().Get(name); g != want.headers[name] {
			t.Errorf("%d %s: %s %q, want %q", r.N, r.Name, name, g, want.headers[name])
		}
	}
	if r.Raw == nil && r.JSON != nil {
		got = plainJSON(t, []byte(got))
	}
	if d != nil && d.masked || strings.Contains(want.body, "Newtonsoft.Json.") || strings.Contains(want.body, "Could not parse JSON content") {
		got, want.body = maskText(t, got), maskText(t, want.body)
	}
	if got != want.body {
		t.Errorf("%d %s: body\n%.3000s\nwant\n%.3000s", r.N, r.Name, got, want.body)
	}
}

// maskText removes from an error what is a parser's own text.
func maskText(t testing.TB, body string) string {
	t.Helper()
	var e struct{ Message string }
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		t.Errorf("%v: %s", err, body)
	}
	message, _, _ := strings.Cut(e.Message, ":")
	return message
}

// live opens the hub of a recording in the emulator.
func inAzurite(t testing.TB, c hubtest.Content) *live.Editor {
	t.Helper()
	emulator := testhub.Azurite(t)
	testhub.Load(t, emulator, c)
	cfg, err := live.ParseConnectionString(emulator.ConnectionString())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	t.Cleanup(transport.CloseIdleConnections)
	e, err := live.OpenEditor(t.Context(), cfg, c.Names, live.Options{Transport: transport, MaxRetries: 3, RetryDelay: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func recordedHub(t testing.TB, name string) hubtest.Content {
	t.Helper()
	return testhub.ContentOf(t, testhub.OpenHub(t, name))
}

const tokenHeader = "x-ms-continuation-token"

// readDeviations are the recorded calls that we answer differently on purpose.
func readDeviations(t testing.TB, calls []record) map[int]*deviation {
	t.Helper()
	all := make(map[int]*deviation)
	set := func(n int, name string, d *deviation) {
		if calls[n].Name != name {
			t.Fatalf("call %d is %q, not %q", n, calls[n].Name, name)
		}
		all[n] = d
	}
	var list []struct {
		RuntimeStatus string
		Input         json.RawMessage
	}
	if err := json.Unmarshal(calls[241].JSON, &list); err != nil {
		t.Fatal(err)
	}
	noInputs := plainJSON(t, calls[241].JSON)
	for _, i := range list {
		noInputs = strings.Replace(noInputs, `"input":`+plainJSON(t, i.Input), `"input":null`, 1)
	}
	set(241, "list no input", &deviation{status: 200, raw: noInputs})
	set(245, "list lower", &deviation{status: 200, raw: plainJSON(t, calls[242].JSON)}) // that of list completed
	first, _, _ := strings.Cut(*calls[257].Raw, `},{`)
	set(255, "list top 0", &deviation{status: 200, raw: first + "}]"})
	set(256, "list top -1", &deviation{status: 400, masked: true})
	set(264, "list bad token", &deviation{status: 400, raw: `{"Message":"One or more of the arguments submitted is incorrect",` +
		`"ExceptionMessage":"The continuation token is not one that this server has given.","ExceptionType":"System.ArgumentException","StackTrace":null}`})
	return all
}

// TestRecordedReads sends the recorded calls that read, and compares answers byte
// for byte: by each base path over a capture, over plain data and in the emulator.
func TestRecordedReads(t *testing.T) {
	content := recordedHub(t, "functions-3")
	places := []struct {
		name, base string
		open       func(t *testing.T) server.Hub
	}{
		{"capture", "/durabletask", func(t *testing.T) server.Hub { return server.Hub{Reader: testhub.OpenHub(t, "functions-3")} }},
		{"version 2", "/runtime/webhooks/durabletask", func(t *testing.T) server.Hub { return server.Hub{Reader: testhub.OpenHub(t, "functions-3")} }},
		{"version 1", "/admin/extensions/DurableTaskExtension", func(t *testing.T) server.Hub { return server.Hub{Reader: testhub.OpenHub(t, "functions-3")} }},
		{"memory", "/DurableTask", func(*testing.T) server.Hub {
			e := testhub.NewEditor(content)
			return server.Hub{Reader: e, Editor: e}
		}},
		{"Azurite", "/durabletask", func(t *testing.T) server.Hub {
			e := inAzurite(t, content)
			return server.Hub{Reader: e, Editor: e}
		}},
	}
	calls := records(t, "http-read.jsonl", 287)
	deviations := readDeviations(t, calls)
	for _, place := range places {
		t.Run(place.name, func(t *testing.T) {
			served := place.open(t)
			h := newServer(t, testOptions(served))
			token := "" // that the last page gave
			for i := range calls {
				r := &calls[i]
				if place.base != "/durabletask" {
					moved := *r
					if at := r.Headers["Location"]; at != "" {
						moved.Headers = map[string]string{}
						for k, v := range r.Headers {
							moved.Headers[k] = v
						}
						moved.Headers["Location"] = strings.Replace(at, "/durabletask", place.base, 1)
					}
					r = &moved
				}
				req := r.request(t, place.base)
				paged := r.Name == "list page"
				if paged && req.Header.Get(tokenHeader) != "" {
					req.Header.Set(tokenHeader, token)
				}
				w := answer(h, req)
				want := r.expect(t, deviations[r.N])
				if _, more := want.headers[tokenHeader]; more {
					if token = w.Header().Get(tokenHeader); token == "" {
						t.Errorf("%d %s: no token", r.N, r.Name)
					}
					want.headers[tokenHeader] = token
				}
				r.compare(t, want, deviations[r.N], w)
			}
			if e, ok := served.Reader.(*testhub.Editor); ok && len(e.Edits()) > 0 {
				t.Errorf("reading has changed the hub: %q", e.Edits())
			}
		})
	}
}
