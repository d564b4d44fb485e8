package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/server"
)

func newLinks(t testing.TB, change func(*server.Options)) *server.Server {
	t.Helper()
	content := cutTo(recordedHub(t, "functions-3"), "hello-1")
	second := content
	second.Names.TaskHub = "Second"
	opts := testOptions(server.Hub{Reader: testhub.NewMemory(content)}, server.Hub{Connection: "Other", Reader: testhub.NewMemory(second)})
	change(&opts)
	s, err := server.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestManagementPayload(t *testing.T) {
	s := newLinks(t, func(o *server.Options) { o.Key, o.BasePath = "", "/durabletask" })
	var recorded struct{ Value json.RawMessage }
	for line := range strings.Lines(string(testhub.Recorded(t, "functions-3", "js-read.jsonl"))) {
		if strings.Contains(line, `"name":"createHttpManagementPayload"`) {
			if err := json.Unmarshal([]byte(line), &recorded); err != nil {
				t.Fatal(err)
			}
		}
	}
	got, err := s.ManagementPayload("http://127.0.0.1:17071", "", "", "hello-1")
	if want := plainJSON(t, recorded.Value); err != nil || string(got) != want {
		t.Errorf("%v, payload\n%s\nwant\n%s", err, got, want)
	}

	s = newLinks(t, func(o *server.Options) { o.Key, o.PublicURL = "k&y+", "https://hubs.example.org/" })
	got, err = s.ManagementPayload("", " second ", "AzureWebJobsOther", "a b/é+&?#%")
	const want = "https://hubs.example.org/runtime/webhooks/durabletask/instances/a%20b%2F%C3%A9%2B%26%3F%23%25?taskHub=%20second%20&connection=AzureWebJobsOther&code=k%26y%2B"
	var urls map[string]string
	if e := json.Unmarshal(got, &urls); err != nil || e != nil || urls["statusQueryGetUri"] != want {
		t.Errorf("%v, %v, status URL\n%s\nwant\n%s", err, e, urls["statusQueryGetUri"], want)
	}
	if u, err := url.Parse(want); err != nil || u.Path != "/runtime/webhooks/durabletask/instances/a b/é+&?#%" {
		t.Errorf("%v, a client reads the path %q", err, u.Path)
	}

	for name, call := range map[string]func() ([]byte, error){
		"hub":        func() ([]byte, error) { return s.ManagementPayload("", "Nowhere", "", "i") },
		"connection": func() ([]byte, error) { return s.ManagementPayload("", "", "NotSet", "i") },
		"origin": func() ([]byte, error) {
			return newLinks(t, func(*server.Options) {}).ManagementPayload("", "", "", "i")
		},
	} {
		if got, err := call(); err == nil {
			t.Errorf("unknown %s: %s", name, got)
		}
	}
}

// What a client in a Functions app needs to start: see TestManagementPayload for
// the URLs of instances.
func TestClientBinding(t *testing.T) {
	type binding struct {
		TaskHubName, ConnectionName string
		CreationUrls                map[string]string
		ManagementUrls              map[string]string
		BaseURL                     string
		RequiredQuery               string `json:"requiredQueryStringParameters"`
		RPCBaseURL                  string
	}
	const origin = "http://127.0.0.1:8080"
	const base = origin + "/runtime/webhooks/durabletask"
	for _, tt := range []struct {
		name, taskHub, connection string
		key                       server.Key
		start, wait, rpc, query   string
	}{
		{
			name: "default", start: base + "/orchestrators/{functionName}[/{instanceId}]",
			wait: base + "/orchestrators/{functionName}[/{instanceId}]?timeout={timeoutInSeconds}&pollingInterval={intervalInSeconds}",
			rpc:  origin + "/durabletask/",
		},
		{
			name: "key", key: "k", query: "code=k", start: base + "/orchestrators/{functionName}[/{instanceId}]?code=k",
			wait: base + "/orchestrators/{functionName}[/{instanceId}]?timeout={timeoutInSeconds}&pollingInterval={intervalInSeconds}&code=k",
		},
		{
			name: "second hub", taskHub: "Second", connection: "Other",
			start: base + "/orchestrators/{functionName}[/{instanceId}]?taskHub=Second&connection=Other",
			wait:  base + "/orchestrators/{functionName}[/{instanceId}]?timeout={timeoutInSeconds}&pollingInterval={intervalInSeconds}&taskHub=Second&connection=Other",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newLinks(t, func(o *server.Options) { o.Key = tt.key })
			text, err := s.ClientBinding(origin, tt.taskHub, tt.connection)
			if err != nil {
				t.Fatal(err)
			}
			var b binding
			if err := json.Unmarshal(text, &b); err != nil {
				t.Fatalf("%v: %s", err, text)
			}
			hub := tt.taskHub
			if hub == "" {
				hub = "FuncLab"
			}
			if b.TaskHubName != hub || b.CreationUrls["createNewInstancePostUri"] != tt.start || b.CreationUrls["createAndWaitOnNewInstancePostUri"] != tt.wait ||
				b.RPCBaseURL != tt.rpc || b.RequiredQuery != tt.query || b.BaseURL != base || b.ManagementUrls["id"] != "INSTANCEID" || len(b.ManagementUrls) != 9 {
				t.Errorf("binding %s", text)
			}
		})
	}
	s := newLinks(t, func(o *server.Options) { o.Key = "xINSTANCEIDx" })
	if got, err := s.ClientBinding(origin, "", ""); err == nil {
		t.Errorf("a key that clients would change: %s", got)
	}
}

// The URLs of an answer lead back to the instance, whatever its ID and behind
// whatever origin.
func TestLinksLeadBack(t *testing.T) {
	content := cutTo(recordedHub(t, "functions-3"))
	ids := []string{"a b", "a+b", "ünï-日本", "100%", "a&b=c", "\U0001F600", "a;b", `"<x>'`, "..", strings.Repeat("é", 256)}
	for _, origin := range []string{"", "https://hubs.example.org"} {
		e := testhub.NewEditor(cutTo(content))
		opts := testOptions(server.Hub{Reader: e, Editor: e})
		opts.Functions, opts.PublicURL = nil, origin
		h := newServer(t, opts)
		for _, id := range ids {
			w := answer(h, jsonRequest(t, "POST", "/orchestrators/F/"+url.PathEscape(id), ""))
			var urls map[string]string
			if err := json.Unmarshal(w.Body.Bytes(), &urls); err != nil || w.Code != http.StatusAccepted || urls["id"] != id {
				t.Errorf("%q: status %d, %v: %s", id, w.Code, err, w.Body)
				continue
			}
			at := w.Header().Get("Location")
			if at != urls["statusQueryGetUri"] || !strings.HasPrefix(at, origin) {
				t.Errorf("%q: Location %s", id, at)
			}
			req, err := http.NewRequestWithContext(t.Context(), "GET", at, nil)
			if err != nil {
				t.Fatal(err)
			}
			w = answer(h, req) // the key is in the URL
			if again := w.Header().Get("Location"); w.Code != http.StatusAccepted || !strings.HasPrefix(again, strings.SplitAfter(at, "/instances/")[0]) {
				t.Errorf("%q: status %d, Location %s: %s", id, w.Code, again, w.Body)
			}
			req, err = http.NewRequestWithContext(t.Context(), "POST", strings.Replace(urls["terminatePostUri"], "{text}", "r", 1), nil)
			if err != nil {
				t.Fatal(err)
			}
			if w = answer(h, req); w.Code != http.StatusAccepted {
				t.Errorf("%q: terminate: status %d: %s", id, w.Code, w.Body)
			}
		}
	}
}
