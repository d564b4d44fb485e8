package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/server"
)

// listed is what the tests look at of a list of instances.
type listed struct {
	Total, Orchestrations, Entities, Matched int64
	ByStatus                                 map[string]int64 `json:"by_status"`
	Functions                                []struct {
		Name  string
		Count int64
	}
	Exact, Partial bool
	Next           string
	Rows           []struct {
		ID, Name, Status            string
		Entity                      bool
		Created, Updated, Completed *string
		DurationMS                  int64 `json:"duration_ms"`
	}
}

func (l *listed) ids() []string {
	ids := []string{}
	for _, r := range l.Rows {
		ids = append(ids, r.ID)
	}
	return ids
}

// The list has each instance of every recorded hub as the framework's client tells
// of it.
func TestPageListsWhatFrameworkTells(t *testing.T) {
	hubs := 0
	for _, rec := range testhub.Recordings {
		text := testhub.Recorded(t, rec.Name, "state.json")
		if text == nil || rec.Names.TrackingPrefix != "" { // a tracking store is shared
			continue
		}
		hubs++
		var states []struct {
			InstanceID, Name, Status, CreatedTime, LastUpdatedTime, CompletedTime string
		}
		if err := json.Unmarshal(text, &states); err != nil {
			t.Fatal(err)
		}
		h := newServer(t, pageOptions(server.Hub{Reader: testhub.OpenHub(t, rec.Name)}))
		got := make(map[string]string)
		byStatus := make(map[string]int64)
		for offset := 0; ; offset += 100 {
			l := pageData[listed](t, h, "instances", url.Values{"offset": {strconv.Itoa(offset)}})
			for _, r := range l.Rows {
				completed := "0001-01-01T00:00:00"
				if r.Completed != nil {
					completed = *r.Completed
				}
				got[r.ID] = strings.Join([]string{r.Name, r.Status, *r.Created, *r.Updated, completed}, " ")
			}
			if int64(offset) == 0 {
				for status, n := range l.ByStatus {
					byStatus[status] = n
				}
			}
			if int64(offset+100) >= l.Total {
				break
			}
		}
		want, wantByStatus := make(map[string]string), make(map[string]int64)
		for _, s := range states {
			want[s.InstanceID] = strings.Join([]string{s.Name, s.Status, s.CreatedTime, s.LastUpdatedTime, s.CompletedTime}, " ")
			wantByStatus[s.Status]++
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: -framework +ours\n%s", rec.Name, diff)
		}
		if diff := cmp.Diff(wantByStatus, byStatus); diff != "" {
			t.Errorf("%s: counts: -framework +ours\n%s", rec.Name, diff)
		}
	}
	if hubs < 7 {
		t.Errorf("%d hubs with states, want more", hubs)
	}
}

// The answers are computed from the rule that made the instances.
func TestPageListFiltersAndSorts(t *testing.T) {
	const n = 3000
	h := newServer(t, pageOptions(server.Hub{Reader: manyInstances(t, n)}))
	list := func(query string) listed {
		t.Helper()
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		return pageData[listed](t, h, "instances", q)
	}
	ids := func(numbers ...int) (ids []string) {
		for _, i := range numbers {
			ids = append(ids, manyID(i))
		}
		return ids
	}
	for _, test := range []struct {
		query   string
		matched int64
		want    []string
	}{
		{"limit=3", n, ids(0, 1, 2)},
		{"limit=2&offset=2998", n, ids(2998, 2999)},
		{"limit=2&offset=3000", n, []string{}},
		{"limit=2&sort=id&order=desc", n, ids(2999, 2998)},
		{"limit=2&sort=created&order=desc", n, ids(2999, 2998)},
		{"limit=3&sort=updated&offset=7", n, ids(7, 8, 9)},
		{"limit=4&sort=name", n, ids(0, 7, 14, 21)},
		{"limit=2&sort=name&order=desc", n, ids(2995, 2988)},
		// As numbers the statuses are in the order Running, Completed, …, Pending.
		{"limit=3&sort=status", n, ids(5, 6, 15)},
		{"limit=2&sort=status&order=desc", n, ids(2997, 2987)},
		// Those that have ended took i mod 1000 ms; the others since they were made.
		{"limit=3&sort=duration&order=desc", n, ids(5, 6, 7)},
		{"limit=3&sort=duration", n, ids(0, 1000, 2000)},
		{"status=Failed&limit=2", n / 10, ids(8, 18)},
		{"status=Failed&status=Pending&limit=3", n / 5, ids(7, 8, 17)},
		{"name=Orders3&limit=2", 429, ids(3, 10)},
		{"name=Orders3&name=Orders4&limit=3", 857, ids(3, 4, 10)},
		{"name=orders3", 0, []string{}},
		{"q=ORDER-0000123", 1, ids(123)},
		{"q=000012&limit=3", 11, ids(12, 120, 121)},
		{"q=ders3&limit=2", 429, ids(3, 10)},
		{"q=nothing", 0, []string{}},
		{"kind=entities", 0, []string{}},
		{"kind=orchestrations&limit=1", n, ids(0)},
		{"from=2026-11-22T00:00:10Z&to=2026-11-22T00:00:12Z", 3, ids(10, 11, 12)},
		{"from=2026-11-22T00:00:10Z&to=2026-11-22T00:00:12Z&by=updated", 2, ids(10, 11)},
		{"from=2026-11-22T00:49:58Z", 2, ids(2998, 2999)},
		{"to=2026-11-22T00:00:00.9Z", 1, ids(0)},
		{"q=order&status=Terminated&name=Orders2&from=2026-11-22T00:00:00Z&sort=created&order=desc&limit=1", 43, ids(2949)},
	} {
		got := list(test.query)
		if got.Matched != test.matched || !slices.Equal(got.ids(), test.want) {
			t.Errorf("%s: %d match, first %q; want %d, %q", test.query, got.Matched, got.ids(), test.matched, test.want)
		}
		if got.Total != n || got.Orchestrations != n || got.Entities != 0 || got.Partial {
			t.Errorf("%s: of the hub it says %d, %d, %d", test.query, got.Total, got.Orchestrations, got.Entities)
		}
	}
	// Counts by status are of what else matches, so that choosing another status says
	// how many there are.
	if diff := cmp.Diff(map[string]int64{"Completed": 6, "Running": 2, "Pending": 1, "Failed": 1, "Terminated": 1}, list("q=000012&status=Failed").ByStatus); diff != "" {
		t.Errorf("counts by status: -want +got\n%s", diff)
	}
	if l := list("q=" + manyID(77)); !l.Exact {
		t.Error("an ID is not known for one")
	}
	if l := list("q=" + manyID(77)[1:]); l.Exact || l.Matched != 1 {
		t.Errorf("a part of an ID is taken for one, or not found: %+v", l)
	}
	if l := list(""); len(l.Functions) != 7 || l.Functions[0].Name != "Orders0" || l.Functions[0].Count != 429 || l.Functions[6].Count != 428 {
		t.Errorf("functions: %+v", l.Functions)
	}
	for _, query := range []string{"sort=size", "status=failed", "kind=some", "from=yesterday", "limit=many", "q=" + strings.Repeat("x", 3000)} {
		q, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if w := pageGet(h, "instances", q); w.Code != http.StatusBadRequest {
			t.Errorf("%.40s: status %d, want 400", query, w.Code)
		}
	}
}

// Entities are told from orchestrations, as recorded in the hub.
func TestPageListsEntities(t *testing.T) {
	h := newServer(t, pageOptions(server.Hub{Reader: testhub.OpenHub(t, "functions-3")}))
	l := pageData[listed](t, h, "instances", url.Values{"kind": {"entities"}, "sort": {"id"}})
	want := []string{"@counter@c1", "@counter@c3", "@counter@c4", "@counter@gone", "@counter@locked", "@device@d1", "@device@d2", "@device@d3"}
	if l.Total != 47 || l.Entities != 8 || l.Orchestrations != 39 || !slices.Equal(l.ids(), want) {
		t.Errorf("%d instances, %d entities: %q", l.Total, l.Entities, l.ids())
	}
	for _, r := range l.Rows {
		if name, _, _ := cutLast(r.ID, "@"); !r.Entity || r.DurationMS != -1 || r.Name != name {
			t.Errorf("%s: %+v", r.ID, r)
		}
	}
	if l := pageData[listed](t, h, "instances", url.Values{"name": {"@device"}}); l.Matched != 3 {
		t.Errorf("%d entities of one name: %q", l.Matched, l.ids())
	}
}

// shownInstance is what the tests look at of an instance.
type shownInstance struct {
	Found      bool
	HasRow     bool `json:"has_row"`
	HasHistory bool `json:"has_history"`
	Entity     bool
	Name       string
	Status     string
	Execution  string `json:"execution_id"`
	Partition  int
	Queue      string
	Parent     *struct{ ID, Name string }
	Sentinel   *struct {
		Execution string `json:"execution_id"`
		Complete  bool
	}
	Columns  []shownColumn
	Problems []string
}

type shownColumn struct {
	Name, Type, Head, Blob, SHA256 string
	Set, More, Redacted            bool
	Bytes                          int64
}

// Each instance of the recorded hubs is shown as its row has it, with its parent.
func TestPageInstance(t *testing.T) {
	children := 0
	for _, rec := range testhub.Recordings {
		r := testhub.OpenHub(t, rec.Name)
		info, err := r.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		h := newServer(t, pageOptions(server.Hub{Reader: r}))
		ids := make(map[string]bool)
		for row, err := range r.Rows(t.Context(), hub.Instances, hub.Keys{}) {
			if err != nil {
				t.Fatal(err)
			}
			ids[schema.InstanceID(strings.Clone(row.PartitionKey))] = true
		}
		for row, err := range r.Rows(t.Context(), hub.Instances, hub.Keys{}) {
			if err != nil {
				t.Fatal(err)
			}
			row = row.Clone()
			i, err := schema.DecodeInstance(&row)
			if err != nil {
				t.Fatal(err)
			}
			got := pageData[shownInstance](t, h, "instance", url.Values{"id": {i.ID()}})
			if !got.Found || !got.HasRow || got.Status != i.RuntimeStatus.Value || got.Execution != i.ExecutionID.Value || len(got.Columns) != len(row.Properties) {
				t.Errorf("%s %q: %+v", rec.Name, i.ID(), got)
			}
			if want := schema.Partition(i.ID(), info.PartitionCount); got.Partition != want || got.Queue != info.Names.ControlQueue(want) {
				t.Errorf("%s %q: partition %d, queue %s", rec.Name, i.ID(), got.Partition, got.Queue)
			}
			// The apps of the recordings gave most children the ID of the parent with a
			// suffix.
			parent, _, ok := cutLast(i.ID(), ":")
			if ok && ids[parent] && rec.Name != "functions-3" && got.HasHistory && (got.Parent == nil || got.Parent.ID != parent) {
				t.Errorf("%s %q: parent %+v, want %q", rec.Name, i.ID(), got.Parent, parent)
			}
			if got.Parent != nil {
				children++
			}
		}
	}
	if children < 100 {
		t.Errorf("%d children with a parent, want more", children)
	}
	h := newServer(t, pageOptions(server.Hub{Reader: testhub.OpenHub(t, "functions-3")}))
	if got := pageData[shownInstance](t, h, "instance", url.Values{"id": {"nobody"}}); got.Found || got.HasRow || got.Parent != nil {
		t.Errorf("an unknown instance: %+v", got)
	}
}

func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// What changes between two requests for data of a live hub is seen, and only the
// list waits to be told.
func TestPageReadsAgain(t *testing.T) {
	e := testhub.NewEditor(testhub.ContentOf(t, testhub.OpenHub(t, "functions-3")))
	h := newServer(t, pageOptions(server.Hub{Reader: e, Editor: e}))
	list := func() listed { return pageData[listed](t, h, "instances", url.Values{"q": {"wait-2"}}) }
	if l := list(); l.Matched != 1 || l.Total != 47 {
		t.Fatalf("before: %+v", l)
	}
	if w := answer(h, jsonRequest(t, http.MethodDelete, "/instances/wait-2", "")); w.Code != http.StatusOK {
		t.Fatalf("purge: status %d: %s", w.Code, w.Body)
	}
	if got := pageData[shownInstance](t, h, "instance", url.Values{"id": {"wait-2"}}); got.Found {
		t.Errorf("after it was purged: %+v", got)
	}
	if l := list(); l.Matched != 1 {
		t.Errorf("the list was read again without being asked: %+v", l)
	}
	w := pageGet(h, "index", url.Values{"fresh": {"1"}})
	lines := strings.Split(strings.TrimSpace(w.Body.String()), "\n")
	var done struct {
		Type string
		Rows int64
	}
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &done); err != nil || done.Type != "done" || done.Rows != 46 {
		t.Errorf("reading again: %s", w.Body)
	}
	if l := list(); l.Matched != 0 || l.Total != 46 {
		t.Errorf("after reading again: %+v", l)
	}
	before := len(e.Edits())
	for _, path := range []string{"hubs", "instances", "instance", "payload", "history", "event", "timeline", "explain", "health", "index", "verify"} {
		pageGet(h, path, url.Values{"id": {"wait-1"}, "row": {"0000000000000001"}, "column": {"Input"}, "part": {"input"}, "fresh": {"1"}})
	}
	if got := len(e.Edits()); got != before {
		t.Errorf("looking has changed the hub: %q", e.Edits()[before:])
	}
}
