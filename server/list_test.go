package server_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/server"
)

// pages follows the tokens of a list and returns the sizes of its pages and all
// that was on them.
func pages(t testing.TB, h http.Handler, path string) (sizes []int, all []string) {
	t.Helper()
	token := ""
	for {
		req := jsonRequest(t, http.MethodGet, path, "")
		if token != "" {
			req.Header.Set(tokenHeader, token)
		}
		w := answer(h, req)
		var entries []json.RawMessage
		if err := json.Unmarshal(w.Body.Bytes(), &entries); err != nil || w.Code != http.StatusOK {
			t.Fatalf("%s: status %d, %v: %s", path, w.Code, err, w.Body)
		}
		sizes = append(sizes, len(entries))
		for _, e := range entries {
			all = append(all, string(e))
		}
		_, there := w.Header()[http.CanonicalHeaderKey(tokenHeader)]
		if token = w.Header().Get(tokenHeader); token == "" {
			if there {
				t.Errorf("%s: an empty token at the end", path)
			}
			return sizes, all
		}
	}
}

func TestPaging(t *testing.T) {
	h := newServer(t, testOptions(server.Hub{Reader: testhub.OpenHub(t, "functions-3")}))
	for _, list := range []struct {
		path string
		n    int
	}{
		{"/instances?a=b", 47},
		{"/entities?fetchState=true", 6},
		{"/instances?runtimeStatus=Completed", 24},
		{"/entities/COUNTER?fetchState=false", 4},
		{"/instances?instanceIdPrefix=wait-", 8},
		{"/instances?instanceIdPrefix=%40counter%40", 5},
	} {
		_, whole := pages(t, h, list.path)
		if len(whole) != list.n {
			t.Errorf("%s: %d entries, want %d", list.path, len(whole), list.n)
		}
		for _, top := range []int{1, 2, 7, 100, 1000, 1_000_000} {
			sizes, parts := pages(t, h, list.path+fmt.Sprintf("&top=%d", top))
			if !slices.Equal(whole, parts) {
				t.Errorf("%s: pages of %d are not the whole list: sizes %v", list.path, top, sizes)
			}
			for i, n := range sizes {
				if last := i == len(sizes)-1; !last && n != top {
					t.Errorf("%s: page %d of %d has %d entries, want %d", list.path, i, len(sizes), n, top)
				}
			}
		}
	}
	// Recorded: 7, 7, 7, 7, 7, 7, 5.
	if sizes, _ := pages(t, h, "/instances?top=7"); !slices.Equal(sizes, []int{7, 7, 7, 7, 7, 7, 5}) {
		t.Errorf("pages of 7 have %v entries", sizes)
	}
}

func TestListFilters(t *testing.T) {
	h := newServer(t, testOptions(server.Hub{Reader: testhub.OpenHub(t, "functions-3")}))
	count := func(path string) int {
		t.Helper()
		_, all := pages(t, h, path)
		return len(all)
	}
	for path, want := range map[string]int{
		"/instances?runtimeStatus=3":                      4, // Failed
		"/instances?runtimeStatus=Failed,Nonsense":        4,
		"/instances?runtimeStatus=Nonsense":               47,
		"/instances?createdTimeFrom=2099-01-01T00:00:00Z": 0,
		"/instances?createdTimeTo=2099-01-01T00:00:00Z":   47,
		// Both bounds count: this is the time of exactly one instance.
		"/instances?createdTimeFrom=2026-11-22T04:08:22.4075546Z&createdTimeTo=2026-11-22T04:08:22.4075546Z": 1,
		"/instances?top=abc&showInput=maybe": 47,
		"/entities?lastOperationTimeFrom=2026-11-22T04:08:26.8784294Z&lastOperationTimeTo=2026-11-22T04:08:26.8784294Z": 1,
		"/entities?lastOperationTimeTo=2026-11-22T04:08:20Z":                                                            0,
	} {
		if got := count(path); got != want {
			t.Errorf("%s: %d entries, want %d", path, got, want)
		}
	}
	for _, path := range []string{"/instances?runtimeStatus=Unknown", "/instances?runtimeStatus=Running,-1", "/instances?top=-1", "/entities?top=-1"} {
		if w := answer(h, jsonRequest(t, "GET", path, "")); w.Code != http.StatusBadRequest || !strings.Contains(w.Body.String(), `"StackTrace":null`) {
			t.Errorf("%s: status %d, want 400: %s", path, w.Code, w.Body)
		}
	}
	req := jsonRequest(t, "GET", "/entities", "")
	req.Header.Set(tokenHeader, "rubbish")
	if w := answer(h, req); w.Code != http.StatusBadRequest {
		t.Errorf("a token of nobody: status %d, want 400", w.Code)
	}
}

// Entities that paths can name in more than one way.
func TestEntityNames(t *testing.T) {
	c := cutTo(recordedHub(t, "functions-3"), "@counter@c1")
	row := c.Tables[hub.Instances][0].Clone()
	row.PartitionKey = "@counter@"
	row.Set("Input", schema.String(`{"exists":true,"state":"\"of the empty key\"","sorter":{}}`))
	text := c.Tables[hub.Instances][0].Clone()
	text.PartitionKey = "@counter@text"
	text.Set("Input", schema.String(`{"exists":true,"state":"no JSON","sorter":{}}`))
	c.Tables[hub.Instances] = append(c.Tables[hub.Instances], row, text)
	h := newServer(t, testOptions(server.Hub{Reader: testhub.NewMemory(c)}))
	for path, want := range map[string]string{
		"/entities/Counter/c1":    `{"currentValue":10}`,
		"/entities/COUNTER/c1":    `{"currentValue":10}`,
		"/entities/counter/C1":    ``,
		"/entities/Counter/%24":   `"of the empty key"`,
		"/entities/Counter/$":     `"of the empty key"`,
		"/entities/Counter/text":  `"no JSON"`,
		"/entities/Counter/a%2Fb": ``,
	} {
		w := answer(h, jsonRequest(t, "GET", path, ""))
		if code := map[bool]int{true: 200, false: 404}[want != ""]; w.Code != code || w.Body.String() != want {
			t.Errorf("%s: status %d %s, want %d %s", path, w.Code, w.Body, code, want)
		}
	}
}
