package server_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/server"
)

type shownHistory struct {
	Execution          string `json:"execution_id"`
	First, Next, Total int64
	TotalSearched      bool `json:"total_searched"`
	Events             []shownEvent
}

type shownEvent struct {
	RowKey             string `json:"row_key"`
	Sequence           int64
	Type, Time         string
	EventID            int32 `json:"event_id"`
	Answers            int32
	Name, Peer, Status string
	Failed             bool
	Was, Problem       string
	Texts              []shownColumn
}

// The history of each instance is what the framework itself lists.
func TestPageHistoryIsWhatFrameworkTells(t *testing.T) {
	events := 0
	for _, name := range []string{"dtfx-2.9.1", "dtfx-1.17.5", "dtfx-2.9.1-crashed", "dtfx-2.9.1-backlog"} {
		var states []struct {
			InstanceID, ExecutionID string
			History                 []struct {
				EventType schema.EventType
				EventID   int32
				Timestamp string
				Name      string
			}
		}
		if err := json.Unmarshal(testhub.Recorded(t, name, "state.json"), &states); err != nil {
			t.Fatal(err)
		}
		h := newServer(t, pageOptions(server.Hub{Reader: testhub.OpenHub(t, name)}))
		for _, s := range states {
			got := pageData[shownHistory](t, h, "history", url.Values{"id": {s.InstanceID}, "limit": {"1000"}})
			var ours, framework []string
			for i, e := range got.Events {
				if e.Sequence != int64(i) || e.Problem != "" {
					t.Errorf("%s %q: event %d is at %d: %s", name, s.InstanceID, i, e.Sequence, e.Problem)
				}
				ours = append(ours, fmt.Sprint(e.Type, " ", e.EventID, e.Time, e.Name))
			}
			for _, e := range s.History {
				framework = append(framework, fmt.Sprint(e.EventType, " ", e.EventID, e.Timestamp, e.Name))
			}
			if diff := cmp.Diff(framework, ours); diff != "" {
				t.Errorf("%s %q: -framework +ours\n%s", name, s.InstanceID, diff)
			}
			if len(framework) > 0 && (got.Total != int64(len(framework)) || got.TotalSearched || got.Next != -1 || got.Execution != s.ExecutionID) {
				t.Errorf("%s %q: total %d, next %d, execution %s", name, s.InstanceID, got.Total, got.Next, got.Execution)
			}
			events += len(framework)
		}
	}
	if events < 1500 {
		t.Errorf("%d events compared, want more", events)
	}
}

// longEvent is an event of a history in which one activity after the other runs:
// of each four the last begins with the answer to the one before.
func longEvent(i int) schema.Row {
	kind, props := "", []schema.Property{}
	text := func(name, value string) {
		props = append(props, schema.Property{Name: name, Value: schema.String(value)})
	}
	id := int32(-1)
	switch {
	case i%4 == 0:
		kind = "OrchestratorStarted"
	case i == 1:
		kind = "ExecutionStarted"
		text("Name", "Long")
	case i%4 == 1:
		kind = "TaskCompleted"
		props = append(props, schema.Property{Name: "TaskScheduledId", Value: schema.Int32(int32(i/4 - 1))})
		text("Result", strconv.Itoa(i))
	case i%4 == 2:
		kind, id = "TaskScheduled", int32(i/4)
		text("Name", "Step")
	default:
		kind = "OrchestratorCompleted"
	}
	text("EventType", kind)
	text("ExecutionId", "the-execution")
	row := schema.Row{PartitionKey: "long", RowKey: schema.FormatSequence(int64(i)), Properties: append(props,
		schema.Property{Name: "EventId", Value: schema.Int32(id)}, schema.Property{Name: "IsPlayed", Value: schema.Boolean(false)},
		schema.Property{Name: "_Timestamp", Value: schema.DateTime(manyStart + schema.Ticks(i)*10_000_000)})}
	row.SortProperties()
	return row
}

// longHistory is a hub with one instance with n events, without those that without
// names, and what an earlier execution has left behind them.
func longHistory(t testing.TB, n int, without func(i int) bool) hub.Reader {
	t.Helper()
	return written(t, func(w *snapshot.Writer) {
		table(t, w, hub.History, func(add func(schema.Row)) {
			for i := range n {
				if !without(i) {
					add(longEvent(i))
				}
			}
			for i := n; i < n+10; i++ {
				row := longEvent(i)
				row.Set("ExecutionId", schema.String("an-earlier-one"))
				add(row)
			}
			add(schema.Row{PartitionKey: "long", RowKey: schema.SentinelRowKey, Properties: []schema.Property{{Name: "ExecutionId", Value: schema.String("the-execution")}}})
		})
	})
}

func none(int) bool { return false }

// A long history is shown from any position on, and from its end, whether it is read
// from its beginning or not.
func TestPageLongHistory(t *testing.T) {
	for _, n := range []int{1, 199, 200, 1999, 2000, 2001, 2200, 2201, 12_000} {
		h := newServer(t, pageOptions(server.Hub{Reader: longHistory(t, n, none)}))
		for _, first := range []int{0, 1, 150, 1900, 1999, 2000, 2001, 2150, 11_999, 12_000, -1} {
			got := pageData[shownHistory](t, h, "history", url.Values{"id": {"long"}, "first": {strconv.Itoa(first)}, "limit": {"200"}})
			from := first
			if first < 0 {
				from = max(0, n-200)
			}
			var want, ours []int64
			for i := from; i < min(n, from+200); i++ {
				want = append(want, int64(i))
			}
			for _, e := range got.Events {
				ours = append(ours, e.Sequence)
				if kind, _ := longEventType(int(e.Sequence)); e.Type != kind {
					t.Errorf("%d events from %d: event %d is a %s", n, first, e.Sequence, e.Type)
				}
			}
			next := int64(-1)
			if from+200 < n {
				next = int64(from + 200)
			}
			if diff := cmp.Diff(want, ours); diff != "" || got.Total != int64(n) || got.Next != next || got.First != int64(from) || got.Execution != "the-execution" {
				t.Errorf("%d events from %d: total %d, first %d, next %d, want %d; -want +got\n%s", n, first, got.Total, got.First, got.Next, next, diff)
			}
		}
	}
}

func longEventType(i int) (string, bool) {
	row := longEvent(i)
	return row.Get("EventType").Text()
}

// A gap is passed over: the next page is where the history goes on.
func TestPageHistoryWithGap(t *testing.T) {
	h := newServer(t, pageOptions(server.Hub{Reader: longHistory(t, 600, func(i int) bool { return i >= 150 && i < 450 })}))
	got := pageData[shownHistory](t, h, "history", url.Values{"id": {"long"}, "limit": {"200"}})
	if n := len(got.Events); n != 150 || got.Next != 450 || got.Total != 600 {
		t.Errorf("%d events, next %d, total %d", n, got.Next, got.Total)
	}
	got = pageData[shownHistory](t, h, "history", url.Values{"id": {"long"}, "limit": {"200"}, "first": {"450"}})
	if n := len(got.Events); n != 150 || got.Events[0].Sequence != 450 || got.Next != -1 {
		t.Errorf("%d events, next %d", n, got.Next)
	}
}

type shownTimeline struct {
	First, Next int64
	Until       string
	Instances   []struct {
		ID, Name, Status string
		Began, Ended     *string
		Events           int64
	}
	Entries []struct {
		Time, Event, Name, Peer, Answers string
		RowKey                           string `json:"row_key"`
		Instance                         int
		Waiting, Failed                  bool
	}
	InstancesLeftOut int64 `json:"instances_left_out"`
	EventsLeftOut    int64 `json:"events_left_out"`
}

// A part of a long timeline has the work that was begun before it, and says that
// there is more.
func TestPageTimelineWindow(t *testing.T) {
	h := newServer(t, pageOptions(server.Hub{Reader: longHistory(t, 5000, none)}))
	read := func(first int) shownTimeline {
		return pageData[shownTimeline](t, h, "timeline", url.Values{"id": {"long"}, "first": {strconv.Itoa(first)}, "events": {"400"}})
	}
	for _, test := range []struct{ first, entries, next int }{
		{0, 400, 400},
		// The window begins with an answer: what it answers, and the start, come along.
		{1001, 402, 1401},
		// With an episode of which the answer follows: the same.
		{1000, 402, 1400},
		// What was begun just before and is answered in the window.
		{1003, 402, 1403},
		{4800, 202, -1},
	} {
		got := read(test.first)
		if len(got.Entries) != test.entries || got.Next != int64(test.next) || got.First != int64(test.first) {
			t.Errorf("from %d: %d entries, next %d; want %d, %d", test.first, len(got.Entries), got.Next, test.entries, test.next)
			continue
		}
		for i, e := range got.Entries {
			if e.Event == "TaskCompleted" && (e.Answers == "" || e.Name != "Step") {
				t.Errorf("from %d: the answer %s has lost what it answers", test.first, e.RowKey)
			}
			if waits := i == len(got.Entries)-2 && test.next < 0; e.Waiting != waits {
				t.Errorf("from %d: %s %s waiting: %v", test.first, e.Event, e.RowKey, e.Waiting)
			}
		}
		if in := got.Instances[0]; in.Name != "Long" || in.Ended != nil || (in.Status == "Running") != (test.next < 0) {
			t.Errorf("from %d: %+v", test.first, in)
		}
	}
	if w := pageGet(h, "timeline", url.Values{"id": {"long"}, "first": {"10"}, "instances": {"5"}}); w.Code != 400 {
		t.Errorf("a window of several instances: status %d", w.Code)
	}
}

// A timeline of several instances has as many as there is room for.
func TestPageTimelineOfFamily(t *testing.T) {
	h := newServer(t, pageOptions(server.Hub{Reader: testhub.OpenHub(t, "dtfx-2.9.1")}))
	read := func(instances, events string) shownTimeline {
		return pageData[shownTimeline](t, h, "timeline", url.Values{"id": {"parent"}, "instances": {instances}, "events": {events}})
	}
	got := read("10", "2000")
	var ids []string
	for _, in := range got.Instances {
		ids = append(ids, in.ID)
	}
	if diff := cmp.Diff([]string{"parent", "parent:0", "parent:1", "parent:2"}, ids); diff != "" || got.InstancesLeftOut+got.EventsLeftOut != 0 {
		t.Errorf("instances: %s", diff)
	}
	if got := read("2", "2000"); len(got.Instances) != 2 || got.InstancesLeftOut != 2 {
		t.Errorf("of two instances there are %d, %d are left out", len(got.Instances), got.InstancesLeftOut)
	}
	if got := read("10", "20"); len(got.Entries) != 20 || got.EventsLeftOut == 0 {
		t.Errorf("of 20 events there are %d, %d are left out", len(got.Entries), got.EventsLeftOut)
	}
}
