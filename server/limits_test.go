package server_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/server"
)

func TestBodyTooLong(t *testing.T) {
	e := testhub.NewEditor(withStatus(recordedHub(t, "functions-3"), "failing-1", "Running"))
	opts := testOptions(server.Hub{Reader: e, Editor: e})
	opts.MaxBodyBytes = 100
	h := newServer(t, opts)
	for _, path := range []string{"/orchestrators/FailingFlow", "/instances/failing-1/raiseEvent/e", "/entities/Counter/c1"} {
		for n, want := range map[int]int{98: 202, 99: 413} { // and two quotes
			w := answer(h, jsonRequest(t, "POST", path, `"`+strings.Repeat("x", n)+`"`))
			if w.Code != want {
				t.Errorf("%s with %d bytes: status %d, want %d: %s", path, n+2, w.Code, want, w.Body)
			}
		}
	}
}

// huge returns a hub with an instance whose output is a text in a blob.
func huge(t testing.TB, output string) hubtest.Content {
	t.Helper()
	c := named(t, "Huge", "1")
	name := "hello-1/history-0000000000000001-ExecutionCompleted-00000001-Result.txt.gz"
	b, packed, err := hub.PackText(c.Names.LargeMessages(), name, []byte(output))
	if err != nil {
		t.Fatal(err)
	}
	c.Blobs = []hubtest.Blob{{Blob: b, Data: packed}}
	c.Containers = []hub.Container{{Name: c.Names.LargeMessages()}}
	c.Tables[hub.Instances][0].Set("Output", schema.String("http://127.0.0.1:24000/devstoreaccount1/"+c.Names.LargeMessages()+"/"+name))
	return c
}

// An output of 50 MB is shown, and one beyond the limit is not, with a sign of it.
func TestHugeOutput(t *testing.T) {
	size := 50_000_000
	if testing.Short() {
		size = 5_000_000
	}
	output := `{"a":"` + strings.Repeat("x", size) + `","b":[1,2]}`
	srv := httptest.NewServer(newServer(t, testOptions(server.Hub{Reader: testhub.NewMemory(huge(t, output))})))
	defer srv.Close()
	req, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/durabletask/instances/hello-1?code="+recordedKey, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := srv.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil || !bytes.Contains(got, []byte(`,"output":`+output+`,"createdTime":`)) {
		t.Errorf("%v, %d bytes: %.100s", err, len(got), got)
	}

	opts := testOptions(server.Hub{Reader: testhub.NewMemory(huge(t, output))})
	opts.MaxPayloadBytes = int64(len(output)) - 1
	w := answer(newServer(t, opts), jsonRequest(t, "GET", "/instances/hello-1", ""))
	if !strings.Contains(w.Body.String(), `"output":null`) || w.Header().Get("X-Taskhub-Problems") != "1" {
		t.Errorf("an output that is too long: status %d, %q problems: %.300s", w.Code, w.Header().Get("X-Taskhub-Problems"), w.Body)
	}
}

// breaking is a hub whose history can be read up to some row only.
type breaking struct {
	hub.Reader
	after int
}

var errBroken = errors.New("the cable is cut")

func (b breaking) Rows(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	return func(yield func(schema.Row, error) bool) {
		n := 0
		for row, err := range b.Reader.Rows(ctx, table, keys) {
			if table == hub.History && keys.RowKey == "" {
				if n++; n > b.after {
					yield(schema.Row{}, errBroken)
					return
				}
			}
			if !yield(row, err) {
				return
			}
		}
	}
}

// second is breaking for the second walk only.
type second struct {
	breaking
	walks *int
}

func (s second) Rows(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	if table == hub.History && keys.RowKey == "" {
		if *s.walks++; *s.walks == 1 {
			return s.Reader.Rows(ctx, table, keys)
		}
	}
	return s.breaking.Rows(ctx, table, keys)
}

// An answer that cannot be finished is an error if nothing of it was sent, and
// otherwise breaks off: half of a history is never taken for a whole one.
func TestHistoryBreaksOff(t *testing.T) {
	m := &made{t: t, id: "i"}
	for range 3000 {
		m.add("EventRaised", -1, "Name", strings.Repeat("n", 100))
	}
	reader := testhub.NewMemory(m.content("Running"))
	for _, tt := range []struct {
		name  string
		after int
		whole bool
	}{{"at once", 10, true}, {"late", 2000, false}} {
		walks := 0
		h := newServer(t, testOptions(server.Hub{Reader: second{breaking{reader, tt.after}, &walks}}))
		srv := httptest.NewServer(h)
		req, err := http.NewRequestWithContext(t.Context(), "GET", srv.URL+"/durabletask/instances/i?showHistory=true&code="+recordedKey, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := srv.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		srv.Close()
		if tt.whole {
			if err != nil || res.StatusCode != http.StatusInternalServerError || !strings.Contains(string(text), errBroken.Error()) || res.Header.Get("Location") != "" {
				t.Errorf("%s: %v, status %d: %.300s", tt.name, err, res.StatusCode, text)
			}
			continue
		}
		if err == nil {
			t.Errorf("%s: status %d and %d bytes, as if that were all", tt.name, res.StatusCode, len(text))
		}
	}
}

// Waiting ends with the request.
func TestWaitEnds(t *testing.T) {
	e := testhub.NewEditor(named(t, "Wait", "1"))
	opts := testOptions(server.Hub{Reader: e, Editor: e})
	opts.Functions = nil
	ctx, cancel := context.WithCancel(t.Context())
	waits := 0
	opts.Wait = func(ctx context.Context, _ time.Duration) error {
		if waits++; waits == 3 {
			cancel()
		}
		return context.Cause(ctx)
	}
	h, w := newServer(t, opts), httptest.NewRecorder()
	func() {
		defer func() {
			if err := recover(); err != nil && err != http.ErrAbortHandler { //nolint:errorlint // as net/http compares it
				t.Errorf("panic: %v", err)
			}
		}()
		h.ServeHTTP(w, jsonRequest(t, "POST", "/orchestrators/F/i?timeout=1000000&pollingInterval=0", "").WithContext(ctx))
	}()
	if waits != 3 || w.Body.Len() > 0 {
		t.Errorf("waited %d times, answered %s", waits, w.Body)
	}
}

// How long to wait, and how often to look.
func TestWaitTimes(t *testing.T) {
	for _, tt := range []struct {
		query string
		waits []time.Duration
	}{
		{"timeout=3&pollingInterval=2", []time.Duration{2 * time.Second, time.Second}},
		{"timeout=1&pollingInterval=1", []time.Duration{time.Second}},
		{"timeout=0.25&pollingInterval=0", []time.Duration{100 * time.Millisecond, 100 * time.Millisecond, 50 * time.Millisecond}},
		{"timeout=0&pollingInterval=0", nil},
		{"timeout=-1&pollingInterval=-2", nil},
		{"timeout=1e9&pollingInterval=1e9", []time.Duration{230 * time.Second}},
		{"timeout=5", nil},
		{"pollingInterval=5", nil},
		{"timeout=NaN&pollingInterval=1", nil},
	} {
		e := testhub.NewEditor(named(t, "Wait", "1"))
		opts := testOptions(server.Hub{Reader: e, Editor: e})
		opts.Functions = nil
		now := recordedAt
		opts.Now = func() time.Time { return now }
		var waits []time.Duration
		opts.Wait = func(_ context.Context, d time.Duration) error {
			waits, now = append(waits, d), now.Add(d)
			return nil
		}
		w := answer(newServer(t, opts), jsonRequest(t, "POST", "/orchestrators/F/i?"+tt.query, ""))
		if w.Code != http.StatusAccepted || w.Header().Get("Retry-After") != "10" {
			t.Errorf("%s: status %d: %s", tt.query, w.Code, w.Body)
		}
		if len(waits) != len(tt.waits) {
			t.Errorf("%s: waits %v, want %v", tt.query, waits, tt.waits)
			continue
		}
		for i := range waits {
			if waits[i] != tt.waits[i] {
				t.Errorf("%s: waits %v, want %v", tt.query, waits, tt.waits)
			}
		}
	}
}

// What a start that waits answers with.
func TestWaitOutcome(t *testing.T) {
	for _, tt := range []struct {
		status, query string
		code          int
		want          string // begins the body
	}{
		{"Completed", "", 200, `["Hello Tokyo!","Hello Seattle!","Hello London!"]`},
		{"Failed", "", 200, `{"name":"E1_HelloSequence","instanceId":"hello-1","runtimeStatus":"Failed",`},
		{"Failed", "&returnInternalServerErrorOnFailure=true", 500, `{"name":"E1_HelloSequence","instanceId":"hello-1","runtimeStatus":"Failed",`},
		{"Terminated", "&showInput=false", 200, `{"name":"E1_HelloSequence","instanceId":"hello-1","runtimeStatus":"Terminated","input":null,`},
		{"Canceled", "", 200, `{"name":"E1_HelloSequence","instanceId":"hello-1","runtimeStatus":"Canceled",`},
		{"Suspended", "", 202, `{"id":"hello-1","statusQueryGetUri":`},
		{"Running", "&returnInternalServerErrorOnFailure=true", 202, `{"id":"hello-1","statusQueryGetUri":"http://127.0.0.1:17071/runtime/webhooks/durabletask/instances/hello-1?taskHub=FuncLab&connection=Storage&code=XXX&returnInternalServerErrorOnFailure=true",`},
	} {
		done := withStatus(recordedHub(t, "functions-3"), "hello-1", tt.status)
		e := testhub.NewEditor(cutTo(done))
		opts := testOptions(server.Hub{Reader: e, Editor: e})
		now := recordedAt
		opts.Now = func() time.Time { return now }
		opts.Wait = func(ctx context.Context, d time.Duration) error {
			now = now.Add(d)
			return putRows(ctx, e, done, "hello-1")
		}
		w := answer(newServer(t, opts), jsonRequest(t, "POST", "/orchestrators/E1_HelloSequence/hello-1?timeout=1&pollingInterval=1"+tt.query, ""))
		if w.Code != tt.code || !strings.HasPrefix(w.Body.String(), tt.want) {
			t.Errorf("%s%s: status %d %s, want %d %s", tt.status, tt.query, w.Code, w.Body, tt.code, tt.want)
		}
		if located := w.Header().Get("Location") != ""; located != (tt.code == 202) {
			t.Errorf("%s%s: Location %q", tt.status, tt.query, w.Header().Get("Location"))
		}
	}
}
