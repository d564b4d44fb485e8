package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/server"
)

// jsMethods are all methods of the JavaScript client.
//
// Source: durable-functions 3.5.0, types/durableClient.d.ts.
var jsMethods = []string{
	"createCheckStatusResponse", "createHttpManagementPayload", "getStatus", "getStatusAll", "getStatusBy",
	"purgeInstanceHistory", "purgeInstanceHistoryBy", "raiseEvent", "readEntityState", "resume", "rewind", "signalEntity",
	"startNew", "suspend", "terminate", "waitForCompletionOrCreateCheckStatusResponse",
}

// jsForm is one of the ways in which a host tells the client where to call.
type jsForm struct {
	name string
	key  server.Key
	// binding returns what the host gives to the function, and what stands in the
	// client's results in place of the recorded address and query.
	binding func(t *testing.T, s *server.Server, origin string) (binding json.RawMessage, base, query string)
}

const recordedQuery = "taskHub=FuncLab&connection=Storage"

// localBinding is the one of the recording.
const localBinding = `{"taskHubName":"FuncLab","connectionName":"Storage","requiredQueryStringParameters":"","baseUrl":"BASE","rpcBaseUrl":"BASE/",
	"creationUrls":{"createNewInstancePostUri":"BASE/orchestrators/{functionName}[/{instanceId}]",
		"createAndWaitOnNewInstancePostUri":"BASE/orchestrators/{functionName}[/{instanceId}]?timeout={timeoutInSeconds}&pollingInterval={intervalInSeconds}"},
	"managementUrls":{"id":"INSTANCEID","statusQueryGetUri":"BASE/instances/INSTANCEID?QUERY",
		"sendEventPostUri":"BASE/instances/INSTANCEID/raiseEvent/{eventName}?QUERY",
		"terminatePostUri":"BASE/instances/INSTANCEID/terminate?reason={text}&QUERY","rewindPostUri":"BASE/instances/INSTANCEID/rewind?reason={text}&QUERY",
		"purgeHistoryDeleteUri":"BASE/instances/INSTANCEID?QUERY","restartPostUri":"BASE/instances/INSTANCEID/restart?QUERY",
		"suspendPostUri":"BASE/instances/INSTANCEID/suspend?reason={text}&QUERY","resumePostUri":"BASE/instances/INSTANCEID/resume?reason={text}&QUERY"}}`

var jsForms = []jsForm{
	// The local endpoint of a host, to which calls go without hub and key; this is
	// what was recorded.
	{"local", "", func(_ *testing.T, _ *server.Server, origin string) (json.RawMessage, string, string) {
		base := origin + "/durabletask"
		return json.RawMessage(strings.NewReplacer("BASE", base, "QUERY", recordedQuery).Replace(localBinding)), base, recordedQuery
	}},
	// The management URLs that the server itself gives, with a key.
	{"webhook", "a-key-of-16-chars", func(t *testing.T, s *server.Server, origin string) (json.RawMessage, string, string) {
		given, err := s.ClientBinding(origin, "", "")
		if err != nil {
			t.Fatal(err)
		}
		var binding map[string]any
		if err := json.Unmarshal(given, &binding); err != nil {
			t.Fatal(err)
		}
		if address, ok := binding["rpcBaseUrl"]; ok {
			t.Errorf("the binding has the local address %v, to which no key is sent", address)
		}
		return given, origin + server.DefaultBasePath, recordedQuery + "&code=a-key-of-16-chars"
	}},
}

// jsRecorded returns recorded calls of the client, as they should be where the
// server is at another address.
func jsRecorded(t *testing.T, file string, want int, base, query string) []testhub.ClientCall {
	t.Helper()
	var calls []testhub.ClientCall
	for line := range bytes.Lines(testhub.Recorded(t, "functions-3", file)) {
		text := strings.ReplaceAll(string(line), "http://127.0.0.1:17071/durabletask", base)
		text = strings.ReplaceAll(text, recordedQuery, query)
		var k testhub.ClientCall
		if err := json.Unmarshal([]byte(text), &k); err != nil {
			t.Fatal(err)
		}
		calls = append(calls, k)
	}
	if len(calls) != want {
		t.Fatalf("%s: %d calls, want %d", file, len(calls), want)
	}
	return calls
}

// running starts a server for a test, and returns its address.
func running(t *testing.T, opts server.Options) (*server.Server, string) {
	t.Helper()
	opts.Now, opts.Wait = time.Now, func(ctx context.Context, _ time.Duration) error { return context.Cause(ctx) }
	s, err := server.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s, "http://" + l.Addr().String()
}

// compareJS compares what the client gave with what it should have given: values
// with their members in order, and errors up to the details, which are ours.
func compareJS(t *testing.T, want, got []testhub.ClientCall) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d calls, want %d", len(got), len(want))
	}
	for i, w := range want {
		if got[i].Name != w.Name {
			t.Fatalf("call %d is %s, want %s", i, got[i].Name, w.Name)
		}
		wantError, _, _ := strings.Cut(w.Error, "Details:")
		gotError, _, _ := strings.Cut(got[i].Error, "Details:")
		if d := cmp.Diff(wantError, gotError); d != "" {
			t.Errorf("%s: error (-recorded +ours):\n%s", w.Name, d)
		}
		if w.Value == nil || got[i].Value == nil {
			if w.Error == "" || got[i].Error == "" {
				t.Errorf("%s: %s, want %s", w.Name, got[i].Value, w.Value)
			}
			continue
		}
		if d := cmp.Diff(plainJSON(t, w.Value), plainJSON(t, got[i].Value)); d != "" {
			t.Errorf("%s (-recorded +ours):\n%.3000s", w.Name, d)
		}
	}
}

// TestJavaScriptClientReads compares what the client gives for a hub with what it
// gave for the same hub served by the real extension: in an account, and in a
// capture.
func TestJavaScriptClientReads(t *testing.T) {
	for _, form := range jsForms {
		for place, open := range map[string]func(t *testing.T) server.Hub{
			"capture": func(t *testing.T) server.Hub { return server.Hub{Reader: testhub.OpenHub(t, "functions-3")} },
			"Azurite": func(t *testing.T) server.Hub { return server.Hub{Reader: inAzurite(t, recordedHub(t, "functions-3"))} },
		} {
			t.Run(form.name+"/"+place, func(t *testing.T) {
				t.Parallel() // most of the time the client waits
				s, origin := running(t, server.Options{Hubs: []server.Hub{open(t)}, Key: form.key})
				binding, base, query := form.binding(t, s, origin)
				got, _ := testhub.JavaScriptClient(t, binding, "read")
				compareJS(t, jsRecorded(t, "js-read.jsonl", 48, base, query), got)
			})
		}
	}
}

// jsDeviations are the recorded results that ours differ from on purpose: all of
// them a 500, of which the client makes another error or none.
var jsDeviations = map[string]testhub.ClientCall{
	"startNew over running": {Error: "The operation failed with an unexpected status code: 409. Details: "},
	"suspend wait-4":        {Value: json.RawMessage(`{"undefined":true}`)},
	"resume wait-7":         {Value: json.RawMessage(`{"undefined":true}`)},
	"rewind wait-7":         {Error: "The rewind operation is only supported on failed orchestration instances."},
	"rewind wait-4":         {Error: "The rewind operation is only supported on failed orchestration instances."},
}

// TestJavaScriptClientWrites compares what the client gives for calls that change
// the hub, and what is left of the hub.
func TestJavaScriptClientWrites(t *testing.T) {
	for _, form := range jsForms {
		for _, place := range changing {
			t.Run(form.name+"/"+place.name, func(t *testing.T) {
				served, content := place.open(t, recordedHub(t, "functions-3"))
				s, origin := running(t, server.Options{Hubs: []server.Hub{served}, Key: form.key, Functions: recordedFunctions})
				binding, base, query := form.binding(t, s, origin)
				want := jsRecorded(t, "js-write.jsonl", 35, base, query)
				for i := range want {
					if ours, ok := jsDeviations[want[i].Name]; ok {
						if !strings.Contains(want[i].Error, "status code: 500") {
							t.Errorf("%s: %s: the deviation is none", want[i].Name, want[i].Error)
						}
						ours.Name = want[i].Name
						want[i] = ours
					}
				}
				got, _ := testhub.JavaScriptClient(t, binding, "write")
				compareJS(t, want, got)
				testhub.CompareAfterCalls(t, "functions-3-after-js", content())
			})
		}
	}
}

// Of a hub that is only looked at, every call that would change it is refused, and
// nothing is changed.
func TestJavaScriptClientReadOnly(t *testing.T) {
	before := recordedHub(t, "functions-3")
	e := testhub.NewEditor(before)
	s, origin := running(t, server.Options{Hubs: []server.Hub{{Reader: e, Editor: e}}, ReadOnly: true})
	binding, base, query := jsForms[0].binding(t, s, origin)
	got, written := testhub.JavaScriptClient(t, binding, "write")
	for i, recorded := range jsRecorded(t, "js-write.jsonl", 35, base, query) {
		if got[i].Error != "" {
			continue
		}
		// What there is nothing to do for ends as it did: an instance that has ended
		// (410) or does not exist (404).
		op, id, _ := strings.Cut(got[i].Name, " ")
		over := id == "hello-1" || id == "failing-1" && op != "rewind" || strings.HasPrefix(op, "purgeInstanceHistoryBy") && id == "none"
		if !over {
			t.Errorf("%s: %s, recorded %s %s", got[i].Name, got[i].Value, recorded.Value, recorded.Error)
		}
	}
	hubtest.Compare(t, hubtest.Options{}, before, testhub.NewMemory(e.Content()))

	_, read := testhub.JavaScriptClient(t, binding, "read")
	methods := slices.Compact(slices.Sorted(slices.Values(slices.Concat(read, written))))
	if d := cmp.Diff(jsMethods, methods); d != "" {
		t.Errorf("methods that are called (-all +called):\n%s", d)
	}
}
