package server_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/server"
)

// named returns a small hub with one instance that has the hub's name as input.
func named(t testing.TB, taskHub, input string) hubtest.Content {
	t.Helper()
	c := withStatus(recordedHub(t, "functions-3"), "hello-1", "Completed")
	c.Names.TaskHub = taskHub
	c.Queues = []hubtest.Queue{{Name: c.Names.ControlQueue(0)}}
	c.PartitionCount = 1
	c.Tables[hub.Instances][0].Set("Input", schema.String(input))
	return c
}

// Requests choose among the hubs that are served, by name and by connection.
func TestHubOfRequest(t *testing.T) {
	h := newServer(t, testOptions(
		server.Hub{Reader: testhub.NewMemory(named(t, "One", "1"))},
		server.Hub{Reader: testhub.NewMemory(named(t, "Two", "2"))},
		server.Hub{Connection: "AzureWebJobsOther", Reader: testhub.NewMemory(named(t, "One", "3"))},
	))
	for query, want := range map[string]string{
		"":                               "1",
		"taskHub=One":                    "1",
		"TASKHUB=one":                    "1",
		"taskHub=%20&connection=":        "1",
		"taskHub=Two":                    "2",
		"taskHub=Two&connection=Storage": "2",
		"taskHub=Two&connection=AzureWebJobsStorage": "2",
		"connection=Other":                           "3",
		"connection=azurewebjobsother":               "3",
		"connection=ConnectionStrings:Other":         "3",
		"taskHub=Two&connection=Other":               "404",
		"taskHub=Three":                              "404",
		"taskHub=One&taskHub=Two":                    "404", // the name is One,Two
		"connection=NotSet":                          "500",
		"taskHub=Three&connection=NotSet":            "500",
	} {
		w := answer(h, jsonRequest(t, "GET", "/instances/hello-1?"+query, ""))
		switch {
		case len(want) > 1:
			if fmt.Sprint(w.Code) != want {
				t.Errorf("%q: status %d, want %s", query, w.Code, want)
			}
		case w.Code != 200 || !strings.Contains(w.Body.String(), `"input":`+want+`,`):
			t.Errorf("%q: status %d, want the hub with %s: %s", query, w.Code, want, w.Body)
		}
	}
}

// everything is a request to each endpoint, and what it is answered for a hub that
// is not there.
var everything = []struct {
	method, path, body string
	code               int
	want               string
}{
	{"POST", "/orchestrators/F/i", "1", 404, `{"Message":"The task hub 'Nowhere' is not served here."}`},
	{"GET", "/instances/hello-1", "", 404, ""},
	{"GET", "/instances", "", 200, "[]"},
	{"DELETE", "/instances/hello-1", "", 404, ""},
	{"DELETE", "/instances?createdTimeFrom=2001-01-01", "", 404, ""},
	{"DELETE", "/instances", "", 400, `"Please provide value for 'createdTimeFrom' parameter."`},
	{"POST", "/instances/hello-1/raiseEvent/e", "1", 404, ""},
	{"POST", "/instances/hello-1/terminate", "", 404, ""},
	{"POST", "/instances/hello-1/suspend", "", 404, ""},
	{"POST", "/instances/hello-1/resume", "", 404, ""},
	{"POST", "/instances/hello-1/rewind", "", 404, ""},
	{"POST", "/instances/hello-1/restart", "", 400, `{"Message":"InstanceId does not match a valid orchestration instance.","ExceptionMessage":"An orchestrastion with the instanceId hello-1 was not found.","ExceptionType":"System.ArgumentException","StackTrace":null}`},
	{"POST", "/entities/Counter/c1", "1", 404, `{"Message":"The task hub 'Nowhere' is not served here."}`},
	{"DELETE", "/entities/Counter/c1", "", 404, `{"Message":"The task hub 'Nowhere' is not served here."}`},
	{"GET", "/entities/Counter/c1", "", 404, ""},
	{"GET", "/entities", "", 200, "[]"},
	{"POST", "/makeprimary", "", 501, `{"Message":"No app runs here that could become the primary one."}`},
}

func withTaskHub(path string) string {
	if strings.Contains(path, "?") {
		return path + "&taskHub=Nowhere"
	}
	return path + "?taskHub=Nowhere"
}

// The framework makes a hub of a name that it does not know.
func TestUnknownHub(t *testing.T) {
	emulator := testhub.Azurite(t)
	content := recordedHub(t, "functions-3")
	testhub.Load(t, emulator, content)
	cfg, err := live.ParseConnectionString(emulator.ConnectionString())
	if err != nil {
		t.Fatal(err)
	}
	e, err := live.OpenEditor(t.Context(), cfg, content.Names, live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	h := newServer(t, testOptions(server.Hub{Reader: e, Editor: e}))
	before := emulator.Listing(t)
	for _, tt := range everything {
		w := answer(h, jsonRequest(t, tt.method, withTaskHub(tt.path), tt.body))
		if w.Code != tt.code || w.Body.String() != tt.want {
			t.Errorf("%s %s: status %d %s, want %d %s", tt.method, tt.path, w.Code, w.Body, tt.code, tt.want)
		}
	}
	if d := cmp.Diff(before, emulator.Listing(t)); d != "" {
		t.Errorf("something was made (-before +after):\n%s", d)
	}
}

// gone is a hub that is deleted while it is served.
type gone struct {
	hub.Reader
	deleted bool
}

func (g *gone) Info(ctx context.Context) (hub.Info, error) {
	if g.deleted {
		return hub.Info{}, hub.ErrNotFound
	}
	return g.Reader.Info(ctx)
}

// A hub that is deleted while it is served is one that does not exist.
func TestDeletedHub(t *testing.T) {
	c := named(t, "Nowhere", "1")
	e := testhub.NewEditor(c)
	g := &gone{Reader: e}
	opts := testOptions(server.Hub{Reader: g, Editor: e})
	opts.Functions = nil
	h := newServer(t, opts)
	g.deleted = true
	for table := range c.Tables {
		if err := e.DeleteTable(t.Context(), table); err != nil {
			t.Fatal(err)
		}
	}
	edits := len(e.Edits())
	for _, tt := range everything {
		w := answer(h, jsonRequest(t, tt.method, withTaskHub(tt.path), tt.body))
		if w.Code != tt.code || w.Body.String() != tt.want {
			t.Errorf("%s %s: status %d %s, want %d %s", tt.method, tt.path, w.Code, w.Body, tt.code, tt.want)
		}
	}
	if got := e.Edits()[edits:]; len(got) > 0 {
		t.Errorf("something was changed: %q", got)
	}
}

// A hub that does not tell how many partitions it has can be read but not
// operated: a message in the wrong queue waits for ever.
func TestNoPartitions(t *testing.T) {
	c := named(t, "Lost", "1")
	c.PartitionCount, c.PartitionCountFrom, c.Queues = 0, "", nil
	delete(c.Tables, hub.Partitions)
	c.Tables[hub.Instances][0].Set("RuntimeStatus", schema.String("Running"))
	e := testhub.NewEditor(c)
	for _, tt := range []struct {
		name    string
		hub     server.Hub
		refused int
	}{
		{"live", server.Hub{Reader: e, Editor: e}, http.StatusInternalServerError},
		{"capture", server.Hub{Reader: testhub.NewMemory(c)}, http.StatusForbidden},
	} {
		h := newServer(t, testOptions(tt.hub))
		if w := answer(h, jsonRequest(t, "GET", "/instances/hello-1", "")); w.Code != http.StatusAccepted {
			t.Errorf("%s: status %d", tt.name, w.Code)
		}
		if w := answer(h, jsonRequest(t, "POST", "/instances/hello-1/terminate", "")); w.Code != tt.refused {
			t.Errorf("%s: terminate: status %d, want %d: %s", tt.name, w.Code, tt.refused, w.Body)
		}
		if w := answer(h, jsonRequest(t, "POST", "/instances/nobody/terminate", "")); w.Code != http.StatusNotFound && tt.refused == http.StatusForbidden {
			t.Errorf("%s: terminate of nobody: status %d, want 404", tt.name, w.Code)
		}
	}
	if len(e.Edits()) > 0 {
		t.Errorf("changed: %q", e.Edits())
	}
}

func TestNewRefuses(t *testing.T) {
	good := func() server.Options { return testOptions(server.Hub{Reader: testhub.NewMemory(named(t, "One", "1"))}) }
	for name, spoil := range map[string]func(o *server.Options){
		"no hub":         func(o *server.Options) { o.Hubs = nil },
		"no reader":      func(o *server.Options) { o.Hubs[0].Reader = nil },
		"no clock":       func(o *server.Options) { o.Now = nil },
		"no wait":        func(o *server.Options) { o.Wait = nil },
		"path in origin": func(o *server.Options) { o.PublicURL = "https://hubs.example.org/x" },
		"base is root":   func(o *server.Options) { o.BasePath = "/" },
		"query in base":  func(o *server.Options) { o.BasePath = "/a?b" },
		"no scheme":      func(o *server.Options) { o.PublicURL = "hubs.example.org" },
		"negative limit": func(o *server.Options) { o.MaxBodyBytes = -1 },
		"the same twice": func(o *server.Options) {
			o.Hubs = append(o.Hubs, server.Hub{Connection: "AzureWebJobsStorage", Reader: o.Hubs[0].Reader})
		},
		"hub of nothing": func(o *server.Options) {
			o.Hubs[0].Reader = testhub.NewMemory(hubtest.Content{Names: hub.Names{TaskHub: "None"}})
		},
	} {
		o := good()
		spoil(&o)
		if _, err := server.New(t.Context(), o); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := server.New(t.Context(), good()); err != nil {
		t.Error(err)
	}
}

// resized is a hub that is made anew with another number of partitions.
type resized struct {
	hub.Reader
	partitions int
}

func (r *resized) Info(ctx context.Context) (hub.Info, error) {
	info, err := r.Reader.Info(ctx)
	info.PartitionCount = r.partitions
	return info, err
}

// A message goes to the queue of its instance even if the hub was made anew while
// it was served.
func TestPartitionsOfNow(t *testing.T) {
	e := testhub.NewEditor(withStatus(recordedHub(t, "functions-3"), "failing-1", "Running"))
	r := &resized{e, 4}
	now := recordedAt
	opts := testOptions(server.Hub{Reader: r, Editor: e})
	opts.Now = func() time.Time { return now }
	h := newServer(t, opts)
	for _, step := range []struct {
		partitions int
		queue      string
	}{{4, "funclab-control-01"}, {1, "funclab-control-00"}} {
		r.partitions, now = step.partitions, now.Add(time.Minute)
		if w := answer(h, jsonRequest(t, "POST", "/instances/failing-1/terminate", "")); w.Code != http.StatusAccepted {
			t.Fatalf("status %d: %s", w.Code, w.Body)
		}
		posted := e.Posted()
		if got := posted[len(posted)-1].Queue; got != step.queue {
			t.Errorf("with %d partitions the message went to %s, want %s", step.partitions, got, step.queue)
		}
	}
}

// The API is served under the advertised path as well, whatever that is.
func TestBasePath(t *testing.T) {
	opts := testOptions(server.Hub{Reader: testhub.NewMemory(named(t, "One", "1"))})
	opts.BasePath = "api/hubs/"
	h := newServer(t, opts)
	for path, want := range map[string]int{
		"/api/hubs/instances/hello-1": 200, "/API/Hubs/instances/hello-1": 200, "/durabletask/instances/hello-1/": 200,
		"/durabletask//instances/hello-1": 200, "/durabletask/instances//hello-1": 404, "/durabletask/instances/hello-1/a/b/c": 404,
		"/durabletask": 404, "/durabletask/": 404,
	} {
		req := httptest.NewRequest("GET", path, nil)
		req.Header.Set("X-Functions-Key", recordedKey)
		if w := answer(h, req); w.Code != want {
			t.Errorf("%s: status %d, want %d", path, w.Code, want)
		}
	}
}
