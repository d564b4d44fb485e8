package server_test

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/server"
)

// givenIDs is randomness, the first of which is an ID that was recorded: so an
// instance belongs to the same queue.
type givenIDs struct{ next []byte }

func (g *givenIDs) Read(p []byte) (int, error) {
	if g.next != nil {
		n := copy(p, g.next)
		g.next = nil
		return n, nil
	}
	return rand.Read(p)
}

// newID returns the ID that an answer has for a start without one.
func (r *record) newID(t testing.TB) []byte {
	t.Helper()
	if r.Method != http.MethodPost || !strings.Contains(r.Path, "/orchestrators/") && !strings.HasSuffix(r.Path, "/restart") {
		return nil
	}
	var e struct{ ID string }
	_ = json.Unmarshal(r.JSON, &e) // it may be an output, or the text of an error
	id, err := hex.DecodeString(e.ID)
	if err != nil || len(id) != 16 {
		return nil // one that was given
	}
	return id
}

// writeDeviations are the recorded calls that change something and that we answer
// differently on purpose.
func writeDeviations() map[int]*deviation {
	exists := &deviation{status: http.StatusConflict}
	nothing := &deviation{status: http.StatusAccepted}
	notFailed := &deviation{
		status: http.StatusPreconditionFailed, raw: `"The rewind operation is only supported on failed orchestration instances."`,
	}
	return map[int]*deviation{
		5: exists, 6: exists, 8: exists, 50: exists,
		30: nothing, 34: nothing, 40: nothing,
		41: notFailed, 44: notFailed, 47: notFailed,
		67: {
			status: http.StatusBadRequest, raw: `{"Message":"One or more of the arguments submitted is incorrect",` +
				`"ExceptionMessage":"There is no status Nonsense.","ExceptionType":"System.ArgumentException","StackTrace":null}`,
			headers: map[string]string{"Content-Type": "application/json; charset=utf-8"},
		},
	}
}

// changing opens the recorded hub where it can be changed.
var changing = []struct {
	name string
	open func(t *testing.T, c hubtest.Content) (h server.Hub, content func() hubtest.Content)
}{
	{"memory", func(_ *testing.T, c hubtest.Content) (server.Hub, func() hubtest.Content) {
		e := testhub.NewEditor(c)
		return server.Hub{Reader: e, Editor: e}, e.Content
	}},
	{"Azurite", func(t *testing.T, c hubtest.Content) (server.Hub, func() hubtest.Content) {
		e := inAzurite(t, c)
		return server.Hub{Reader: e, Editor: e}, func() hubtest.Content { return testhub.ContentOf(t, e) }
	}},
}

// TestRecordedWrites sends the recorded calls that change something, and compares
// the answers and what is left of the hub.
func TestRecordedWrites(t *testing.T) {
	calls := records(t, "http-write.jsonl", 73)
	deviations := writeDeviations()
	for _, place := range changing {
		t.Run(place.name, func(t *testing.T) {
			served, content := place.open(t, recordedHub(t, "functions-3"))
			ids := &givenIDs{}
			opts := testOptions(served)
			opts.Random = ids
			h := newServer(t, opts)
			for i := range calls {
				r := &calls[i]
				ids.next = r.newID(t)
				w := answer(h, r.request(t, "/durabletask"))
				r.compare(t, r.expect(t, deviations[r.N]), deviations[r.N], w)
			}
			testhub.CompareAfterCalls(t, "functions-3-after-write", content())
		})
	}
}

// clientCall is a recorded call of the JavaScript client.
type clientCall struct {
	Name, Error string
	Value       json.RawMessage
}

var statusInError = regexp.MustCompile(`status code: (\d+)`)

// statuses returns the statuses of answers that the client does this for.
//
// Source: durable-functions 3.5.0, DurableClient.js.
func (k *clientCall) statuses(t testing.TB) []int {
	t.Helper()
	if m := statusInError.FindStringSubmatch(k.Error); m != nil {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			t.Fatal(err)
		}
		return []int{n}
	}
	op, _, _ := strings.Cut(k.Name, " ")
	switch {
	case strings.HasPrefix(k.Error, "No instance with ID"):
		return []int{404}
	case k.Error != "":
		t.Fatalf("%s: %s", k.Name, k.Error)
	case string(k.Value) == `{"instancesDeleted": 0}` || string(k.Value) == `{"instancesDeleted":0}`:
		return []int{404}
	case strings.HasPrefix(op, "purge"):
		return []int{200}
	case op == "raiseEvent" || op == "terminate" || op == "suspend" || op == "resume":
		return []int{202, 410}
	}
	return []int{202}
}

// request returns what the client has sent. It is not recorded, but follows from
// the name of the call and from what it has left in hub functions-3-after-js.
func (k *clientCall) request() record {
	const window = "/instances/?createdTimeFrom=2001-01-01T00:00:00.000Z&createdTimeTo=2099-01-01T00:00:00.000Z&runtimeStatus=Terminated"
	r := record{Name: k.Name, Method: http.MethodPost}
	body := ""
	r.Body = &body
	op, id, _ := strings.Cut(k.Name, " ")
	switch {
	case k.Name == "startNew":
		r.Path, body = "/orchestrators/E1_HelloSequence/js-1", `{"a":1,"b":["é"]}`
	case k.Name == "startNew no input":
		r.Path, body = "/orchestrators/E1_HelloSequence/js-2", `""`
	case k.Name == "startNew null":
		r.Path, body = "/orchestrators/E1_HelloSequence/js-3", `null`
	case k.Name == "startNew unknown":
		r.Path, body = "/orchestrators/Nope", `""`
	case k.Name == "startNew over running":
		r.Path, body = "/orchestrators/E1_HelloSequence/wait-1", `""`
	case k.Name == "raiseEvent undefined":
		r.Path = "/instances/wait-1/raiseEvent/operation"
	case op == "raiseEvent":
		r.Path, body = "/instances/"+id+"/raiseEvent/operation", `[1,2,3]`
	case k.Name == "signalEntity":
		r.Path, body = "/entities/Counter/c3?op=Add", `5`
	case op == "signalEntity":
		r.Path = "/entities/Counter/c3?op=Reset"
	case op == "purgeInstanceHistory":
		r.Method, r.Path = http.MethodDelete, "/instances/ecall-1"
	case k.Name == "purgeInstanceHistoryBy":
		r.Method, r.Path = http.MethodDelete, window
	case op == "purgeInstanceHistoryBy":
		r.Method, r.Path = http.MethodDelete, strings.Replace(window, "2001", "2098", 1)
	default:
		r.Path = "/instances/" + id + "/" + op + "?reason=by%20client"
	}
	return r
}

// TestRecordedWritesOfClient sends what the JavaScript client has sent, and
// compares the statuses and what is left of the hub.
func TestRecordedWritesOfClient(t *testing.T) {
	var calls []clientCall
	for line := range bytes.Lines(testhub.Recorded(t, "functions-3", "js-write.jsonl")) {
		var k clientCall
		if err := json.Unmarshal(line, &k); err != nil {
			t.Fatal(err)
		}
		calls = append(calls, k)
	}
	if len(calls) != 35 {
		t.Fatalf("%d calls, want 35", len(calls))
	}
	deviations := map[string]int{ // all of them 500
		"startNew over running": 409, "suspend wait-4": 202, "resume wait-7": 202, "rewind wait-7": 412, "rewind wait-4": 412,
	}
	for _, place := range changing {
		t.Run(place.name, func(t *testing.T) {
			served, content := place.open(t, recordedHub(t, "functions-3"))
			h := newServer(t, testOptions(served))
			for i := range calls {
				k := &calls[i]
				want := k.statuses(t)
				if ours, ok := deviations[k.Name]; ok {
					if !slices.Equal(want, []int{500}) {
						t.Errorf("%s: the framework answers %v: the deviation is none", k.Name, want)
					}
					want = []int{ours}
				}
				r := k.request()
				w := answer(h, r.request(t, "/durabletask"))
				if !slices.Contains(want, w.Code) {
					t.Errorf("%s: status %d, want %v: %s", k.Name, w.Code, want, w.Body)
				}
				if w.Code == http.StatusOK && w.Body.String() != plainJSON(t, k.Value) {
					t.Errorf("%s: %s, want %s", k.Name, w.Body, k.Value)
				}
			}
			testhub.CompareAfterCalls(t, "functions-3-after-js", content())
		})
	}
}
