package manage_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// recordedAt is about when the calls were recorded.
var recordedAt = time.Date(2026, 11, 22, 4, 9, 15, 123456700, time.UTC)

// edited is a hub that tests change, in memory or in the emulator.
type edited struct {
	hubtest.Edited
	content func() hubtest.Content
}

func inMemory(_ testing.TB, c hubtest.Content) edited {
	e := testhub.NewEditor(c)
	return edited{e, e.Content}
}

func inAzurite(t testing.TB, c hubtest.Content) edited {
	t.Helper()
	emulator := testhub.Azurite(t)
	testhub.Load(t, emulator, c)
	e := openLive(t, emulator.ConnectionString(), c.Names)
	return edited{e, func() hubtest.Content { return testhub.ContentOf(t, e) }}
}

func openLive(t testing.TB, connection string, names hub.Names) *live.Editor {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 8}
	t.Cleanup(transport.CloseIdleConnections)
	return openLiveThrough(t, connection, names, transport)
}

func openLiveThrough(t testing.TB, connection string, names hub.Names, transport http.RoundTripper) *live.Editor {
	t.Helper()
	cfg, err := live.ParseConnectionString(connection)
	if err != nil {
		t.Fatal(err)
	}
	e, err := live.OpenEditor(t.Context(), cfg, names, live.Options{Transport: transport, MaxRetries: 3, RetryDelay: time.Millisecond})
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

func control(t testing.TB, e hubtest.Edited, opts manage.ControlOptions) *manage.Control {
	t.Helper()
	if opts.Now == nil {
		opts.Now = func() time.Time { return recordedAt }
	}
	c, err := manage.NewControl(t.Context(), e, e, opts)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func recordedHub(t testing.TB, name string) hubtest.Content {
	t.Helper()
	return testhub.ContentOf(t, testhub.OpenHub(t, name))
}

// call is a recorded call of the management API and what we do in its place.
type call struct {
	name   string
	status int // of the answer; 0 if it is the client's that resolves
	do     func(c *manage.Control) (skipped bool, err error)
}

// calls returns what we do for each recorded call over HTTP; nil for a call that
// is no operation of this package.
func (r *httpRecord) call(t testing.TB) (do func(c *manage.Control) (bool, error)) {
	t.Helper()
	ctx := t.Context()
	at, err := url.Parse(r.Path)
	if err != nil {
		t.Fatal(err)
	}
	var segments []string
	for _, s := range strings.Split(strings.Trim(at.EscapedPath(), "/"), "/") {
		plain, err := url.PathUnescape(s)
		if err != nil {
			t.Fatal(err)
		}
		segments = append(segments, plain)
	}
	segments = append(segments, "", "", "")
	id, operation := segments[1], segments[2]
	query := at.Query()
	body := schema.Optional[string]{}
	if r.Body != nil {
		body = schema.Some(*r.Body)
	}
	reason := schema.Optional[string]{Value: query.Get("reason"), Set: query.Has("reason")}
	sent := func(s *manage.Sent, err error) (bool, error) { return s != nil && s.Skipped, err }
	switch {
	case r.Method == "POST" && segments[0] == "orchestrators":
		if operation == "" {
			operation = r.JSON.ID // a new one: the same, so that it has the same queue
		}
		return func(c *manage.Control) (bool, error) {
			_, err := c.Start(ctx, manage.StartOptions{Name: id, ID: operation, Input: body})
			return false, err
		}
	case r.Method == "POST" && operation == "raiseEvent" && body.Set && r.RequestHeaders == nil:
		return func(c *manage.Control) (bool, error) { return sent(c.Raise(ctx, id, segments[3], body)) }
	case r.Method == "POST" && operation == "terminate":
		return func(c *manage.Control) (bool, error) { return sent(c.Terminate(ctx, id, reason)) }
	case r.Method == "POST" && operation == "suspend":
		return func(c *manage.Control) (bool, error) { return sent(c.Suspend(ctx, id, reason)) }
	case r.Method == "POST" && operation == "resume":
		return func(c *manage.Control) (bool, error) { return sent(c.Resume(ctx, id, reason)) }
	case r.Method == "POST" && operation == "rewind":
		return func(c *manage.Control) (bool, error) {
			_, _, err := c.Rewind(ctx, id, manage.RewindOptions{Reason: reason})
			return false, err
		}
	case r.Method == "POST" && operation == "restart":
		o := manage.RestartOptions{SameID: query.Get("restartWithNewInstanceId") == "false"}
		if !o.SameID {
			o.NewID = r.JSON.ID
		}
		return func(c *manage.Control) (bool, error) {
			_, err := c.Restart(ctx, id, o)
			return false, err
		}
	case segments[0] == "entities" && (r.Method == "POST" || r.Method == "DELETE"):
		s := manage.Signal{Entity: schema.EntityID{Name: id, Key: operation}, Operation: query.Get("op"), Input: body}
		if r.Method == "DELETE" {
			s.Operation = "delete"
		}
		return func(c *manage.Control) (bool, error) { return sent(c.SignalEntity(ctx, s)) }
	}
	return nil
}

// httpRecord is a line of http-write.jsonl.
type httpRecord struct {
	N                  int
	Name, Method, Path string
	Body               *string
	RequestHeaders     map[string]string
	Status             int
	JSON               struct{ ID string }
}

// UnmarshalJSON takes an answer that is not an object for an empty one.
func (r *httpRecord) UnmarshalJSON(b []byte) error {
	type plain httpRecord
	p := struct {
		*plain
		JSON json.RawMessage
	}{plain: (*plain)(r)}
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	_ = json.Unmarshal(p.JSON, &r.JSON) // null, text and arrays have no ID
	return nil
}

func httpCalls(t testing.TB) []call {
	t.Helper()
	var calls []call
	seen := 0
	for line := range bytes.Lines(testhub.Recorded(t, "functions-3", "http-write.jsonl")) {
		var r httpRecord
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		seen++
		if do := r.call(t); do != nil {
			calls = append(calls, call{r.Name, r.Status, do})
		}
	}
	if seen != 73 || len(calls) != 56 {
		t.Fatalf("%d recorded calls, %d of them are operations, want 73 and 56", seen, len(calls))
	}
	return calls
}

// jsCalls returns what we do for the calls of the JavaScript client. Its arguments
// are not recorded: they are in the messages and rows of hub functions-3-after-js.
func jsCalls(t testing.TB) []call {
	t.Helper()
	ctx := t.Context()
	reason := schema.Some("by client")
	start := func(id string, input schema.Optional[string]) func(c *manage.Control) (bool, error) {
		return func(c *manage.Control) (bool, error) {
			_, err := c.Start(ctx, manage.StartOptions{Name: "E1_HelloSequence", ID: id, Input: input})
			return false, err
		}
	}
	signal := func(op string, input schema.Optional[string]) func(c *manage.Control) (bool, error) {
		return func(c *manage.Control) (bool, error) {
			_, err := c.SignalEntity(ctx, manage.Signal{Entity: schema.EntityID{Name: "Counter", Key: "c3"}, Operation: op, Input: input})
			return false, err
		}
	}
	ours := map[string]func(c *manage.Control) (bool, error){
		"startNew":                start("js-1", schema.Some(`{"a":1,"b":["é"]}`)),
		"startNew no input":       start("js-2", schema.Some(`""`)), // what the client makes of none
		"startNew null":           start("js-3", schema.Optional[string]{}),
		"startNew over running":   start("wait-1", schema.Optional[string]{}),
		"signalEntity":            signal("Add", schema.Some("5")),
		"signalEntity no content": signal("Reset", schema.Optional[string]{}),
	}
	status := regexp.MustCompile(`status code: (\d+)`)
	var calls []call
	for line := range bytes.Lines(testhub.Recorded(t, "functions-3", "js-write.jsonl")) {
		var r struct{ Name, Error string }
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		answer := 0 // 202, or 410, which the client takes for it
		switch m := status.FindStringSubmatch(r.Error); {
		case m != nil:
			answer = map[string]int{"400": 400, "410": 410, "500": 500}[m[1]]
		case strings.HasPrefix(r.Error, "No instance"):
			answer = 404
		}
		do := ours[r.Name]
		switch op, id, _ := strings.Cut(r.Name, " "); op {
		case "raiseEvent":
			do = func(c *manage.Control) (bool, error) {
				data := schema.Some("[1,2,3]")
				if id == "undefined" {
					id, data = "wait-1", schema.Some("") // what the client sends
				}
				_, err := c.Raise(ctx, id, "operation", data)
				return false, err
			}
		case "terminate", "suspend", "resume":
			do = func(c *manage.Control) (bool, error) {
				op := map[string]func(*manage.Control) (*manage.Sent, error){
					"terminate": func(c *manage.Control) (*manage.Sent, error) { return c.Terminate(ctx, id, reason) },
					"suspend":   func(c *manage.Control) (*manage.Sent, error) { return c.Suspend(ctx, id, reason) },
					"resume":    func(c *manage.Control) (*manage.Sent, error) { return c.Resume(ctx, id, reason) },
				}[op]
				s, err := op(c)
				return s != nil && s.Skipped, err
			}
		case "rewind":
			do = func(c *manage.Control) (bool, error) {
				_, _, err := c.Rewind(ctx, id, manage.RewindOptions{Reason: reason})
				return false, err
			}
		}
		if do != nil {
			calls = append(calls, call{r.Name, answer, do})
		}
	}
	if len(calls) != 30 {
		t.Fatalf("%d operations, want 30", len(calls))
	}
	return calls
}

// check compares how a call ended with the recorded answer.
func (k *call) check(t testing.TB, skipped bool, err error) {
	t.Helper()
	var argument *manage.ArgumentError
	ok := false
	switch k.status {
	case 0:
		ok = err == nil || errors.Is(err, manage.ErrEnded)
	case 202:
		ok = err == nil && !skipped
	case 400:
		ok = errors.As(err, &argument) || strings.HasPrefix(k.name, "restart") && errors.Is(err, manage.ErrNoInstance)
	case 404:
		ok = errors.Is(err, manage.ErrNoInstance)
	case 410:
		ok = errors.Is(err, manage.ErrEnded) && !errors.Is(err, manage.ErrNotFailed)
	case 500: // ours are told apart
		switch op, _, _ := strings.Cut(k.name, " "); op {
		case "start", "restart", "startNew":
			ok = errors.Is(err, manage.ErrExists)
		case "suspend", "resume":
			ok = err == nil && skipped
		case "rewind":
			ok = errors.Is(err, manage.ErrNotFailed) && !errors.Is(err, manage.ErrEnded)
		}
	}
	if !ok {
		t.Errorf("%s: skipped %v, error %v, where the framework answers %d", k.name, skipped, err, k.status)
	}
}

// TestRecordedCalls does what the recorded calls did, and compares rows, messages
// and blobs with what the framework has left.
func TestRecordedCalls(t *testing.T) {
	for _, tt := range []struct {
		name, after string
		calls       func(testing.TB) []call
		purged      []string // by other calls among those that were recorded
	}{
		{"http", "functions-3-after-write", httpCalls, []string{"ecall-1", "large-out", "parent-1", "wait-5", "wait-6", "wait-8"}},
		{"javascript", "functions-3-after-js", jsCalls, []string{"ecall-1", "wait-5", "wait-6"}},
	} {
		for place, open := range map[string]func(testing.TB, hubtest.Content) edited{"memory": inMemory, "Azurite": inAzurite} {
			t.Run(tt.name+"/"+place, func(t *testing.T) {
				e := open(t, recordedHub(t, "functions-3"))
				c := control(t, e, manage.ControlOptions{})
				for _, k := range tt.calls(t) {
					var before hubtest.Content
					if place == "memory" { // takes long over a network
						before = e.content()
					}
					skipped, err := k.do(c)
					k.check(t, skipped, err)
					if place == "memory" && (err != nil || skipped) {
						unchanged(t, k.name, before, e.content())
					}
				}
				testhub.CompareAfterCalls(t, tt.after, e.content(), tt.purged...)
			})
		}
	}
}

// unchanged reports what differs between two states of a hub.
func unchanged(t testing.TB, what string, before, after hubtest.Content) {
	t.Helper()
	if t.Failed() {
		return // one difference is enough
	}
	hubtest.Compare(t, hubtest.Options{}, before, testhub.NewMemory(after))
	if t.Failed() {
		t.Errorf("%s has changed the hub", what)
	}
}
