package replay_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// histories holds the rows of partitions in key order, by instance ID.
type histories map[string][]schema.Row

// timeline merges what concerns an instance. It fails if an instance is asked for
// twice: reading would never end.
func (h histories) timeline(t *testing.T, id string, opts replay.TimelineOptions) *replay.Timeline {
	t.Helper()
	asked := make(map[string]bool)
	m := replay.NewMerger(id, opts)
	for id, ok := m.Next(); ok; id, ok = m.Next() {
		if asked[id] {
			t.Fatalf("Next() = %q a second time", id)
		}
		asked[id] = true
		for i := range h[id] {
			m.Add(&h[id][i])
		}
	}
	return m.End()
}

// historiesOf reads all histories of a hub.
func historiesOf(t *testing.T, r hub.Reader) histories {
	t.Helper()
	h := make(histories)
	for row, err := range r.Rows(t.Context(), hub.History, hub.Keys{}) {
		if err != nil {
			t.Fatal(err)
		}
		id := schema.InstanceID(row.PartitionKey)
		h[id] = append(h[id], row.Clone())
	}
	return h
}

// at is a time that is n milliseconds after the beginning of the tests.
func at(n int) schema.Ticks {
	return schema.TicksOf(time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC).Add(time.Duration(n) * time.Millisecond))
}

// partition makes the rows of one execution with its sentinel.
func partition(id string, events ...schema.Event) []schema.Row {
	var rows []schema.Row
	for n, e := range events {
		h := schema.HistoryRow{
			PartitionKey: schema.EscapeKey(id), RowKey: schema.FormatSequence(int64(n)), ExecutionID: "of-" + id, Event: e,
		}
		rows = append(rows, h.Row())
	}
	s := schema.Sentinel{
		PartitionKey: schema.EscapeKey(id), ExecutionID: schema.Some("of-" + id), IsCheckpointComplete: schema.Some(true),
	}
	return append(rows, s.Row())
}

func head(id int32, ms int) schema.EventHeader {
	return schema.EventHeader{EventID: id, Timestamp: at(ms)}
}

func begin(ms int) schema.Event { return &schema.OrchestratorStarted{EventHeader: head(-1, ms)} }
func pause(ms int) schema.Event { return &schema.OrchestratorCompleted{EventHeader: head(-1, ms)} }

func start(ms int, name, parent string) schema.Event {
	e := &schema.ExecutionStarted{EventHeader: head(-1, ms), Name: schema.TextOf(name)}
	if parent != "" {
		id, _ := json.Marshal(parent)
		e.ParentInstance = schema.TextOf(`{"Name":"P","OrchestrationInstance":{"InstanceId":` + string(id) + `,"ExecutionId":"e"},"TaskScheduleId":0,"Version":""}`)
	}
	return e
}

func end(ms int, id int32, status schema.Status) schema.Event {
	return &schema.ExecutionCompleted{EventHeader: head(id, ms), OrchestrationStatus: schema.Some(status)}
}

func task(ms int, id int32, name string) schema.Event {
	return &schema.TaskScheduled{EventHeader: head(id, ms), Name: schema.TextOf(name)}
}

func done(ms int, id int32) schema.Event {
	return &schema.TaskCompleted{EventHeader: head(-1, ms), TaskScheduledID: id}
}

func child(ms int, id int32, name, instance string) schema.Event {
	return &schema.SubOrchestrationCreated{EventHeader: head(id, ms), Name: schema.TextOf(name), InstanceID: schema.Some(instance)}
}

func sent(ms int, id int32, target, name, input string) schema.Event {
	return &schema.EventSent{
		EventHeader: head(id, ms), InstanceID: schema.Some(target), Name: schema.TextOf(name), Input: schema.TextOf(input),
	}
}

func raised(ms int, name, input string) schema.Event {
	return &schema.EventRaised{EventHeader: head(-1, ms), Name: schema.TextOf(name), Input: schema.TextOf(input)}
}

// lines writes a timeline in a form that is easy to compare.
func lines(tl *replay.Timeline) []string {
	var out []string
	for i := range tl.Entries {
		e := &tl.Entries[i]
		l := fmt.Sprintf("%d %s %s", (e.Time-at(0))/10_000, tl.Instances[e.Instance].ID, e.Event)
		for _, s := range []string{e.Name, e.Peer} {
			if s != "" {
				l += " " + s
			}
		}
		if d, ok := e.Duration(); ok {
			l += " " + d.String()
		}
		for _, f := range []struct {
			is   bool
			text string
		}{{e.Waiting, "waiting"}, {e.Failed, "failed"}, {e.Rewound, "rewound"}, {e.Duplicate, "duplicate"}} {
			if f.is {
				l += " " + f.text
			}
		}
		out = append(out, l)
	}
	return out
}

const request = `{"op":"Add","input":"1","id":"2f2a6c0b-0000-0000-0000-000000000001","parent":"a","Timestamp":"0001-01-01T00:00:00","Predecessor":"0001-01-01T00:00:00"}`

func TestTimeline(t *testing.T) {
	rewound := partition(
		"a", begin(0), start(0, "F", ""), task(1, 0, "T"), pause(2), begin(5), done(4, 0), end(6, 1, schema.StatusFailed), pause(6),
		begin(9), task(9, 0, "T"), pause(9),
	)
	for row, was := range map[int]string{2: "TaskScheduled", 5: "TaskFailed", 6: "ExecutionCompleted"} {
		rewound[row].Set("Reason", schema.String("Rewound: "+was))
		rewound[row].Set("EventType", schema.String("GenericEvent"))
	}
	twice := slices.Clone(rewound)
	twice[6] = rewound[6].Clone()
	twice[6].Set("Reason", schema.String("Rewound: GenericEvent"))

	reused := partition("a", begin(0), start(0, "F", ""), pause(1))
	reused = append(reused[:3:3], append(partition("a", begin(90), begin(91), begin(92), begin(93))[3:4], reused[3])...)
	reused[3].Set("ExecutionId", schema.String("earlier"))
	mismatch := partition("a", begin(0), start(0, "F", ""), child(1, 0, "C", "c"), pause(1))
	mismatch[4].Set("ExecutionId", schema.String("another"))

	undated := partition("a", begin(0), start(1, "F", ""), pause(3))
	undated[1].Set("_Timestamp", schema.Value{})

	tests := []struct {
		name string
		h    histories
		opts replay.TimelineOptions
		want []string
		// problems is the number of rows that cannot be read in full.
		problems int
	}{
		{name: "no history", h: histories{}},
		{
			name: "an activity that waits",
			h:    histories{"a": partition("a", begin(1), start(0, "F", ""), task(2, 0, "T"), pause(3))},
			want: []string{
				"0 a ExecutionStarted F", "1 a OrchestratorStarted", "2 a TaskScheduled T waiting", "3 a OrchestratorCompleted",
			},
		},
		{
			name: "a result, and the same once more",
			h: histories{"a": partition(
				"a", begin(1), start(0, "F", ""), task(2, 0, "T"), pause(3), begin(20), done(10, 0), done(12, 0), pause(21),
			)},
			want: []string{
				"0 a ExecutionStarted F", "1 a OrchestratorStarted", "2 a TaskScheduled T", "3 a OrchestratorCompleted",
				"10 a TaskCompleted T 8ms", "12 a TaskCompleted T 10ms duplicate",
				"20 a OrchestratorStarted 17ms", "21 a OrchestratorCompleted",
			},
		},
		{
			// Its own time is that of its creation.
			name: "a timer fires with the episode",
			h: histories{"a": partition(
				"a", begin(1), start(0, "F", ""), &schema.TimerCreated{EventHeader: head(0, 2), FireAt: at(500)}, pause(3),
				begin(499), &schema.TimerFired{EventHeader: head(-1, 2), TimerID: 0, FireAt: at(500)}, end(501, 1, schema.StatusCompleted), pause(501),
			)},
			want: []string{
				"0 a ExecutionStarted F", "1 a OrchestratorStarted", "2 a TimerCreated", "3 a OrchestratorCompleted",
				"499 a OrchestratorStarted 496ms", "499 a TimerFired 497ms",
				"501 a ExecutionCompleted Completed", "501 a OrchestratorCompleted",
			},
		},
		{
			name: "nothing is awaited after the end",
			h: histories{"a": partition(
				"a", begin(1), start(0, "F", ""), task(2, 0, "T"), end(3, 1, schema.StatusTerminated), pause(3),
			)},
			want: []string{
				"0 a ExecutionStarted F", "1 a OrchestratorStarted", "2 a TaskScheduled T",
				"3 a ExecutionCompleted Terminated", "3 a OrchestratorCompleted",
			},
		},
		{
			name: "a result of another kind answers nothing",
			h: histories{"a": partition(
				"a", begin(0), start(0, "F", ""), task(1, 0, "T"), &schema.TimerFired{EventHeader: head(-1, 0), TimerID: 0}, done(2, 7),
			)},
			want: []string{
				"0 a OrchestratorStarted", "0 a ExecutionStarted F", "0 a TimerFired", "1 a TaskScheduled T waiting", "2 a TaskCompleted",
			},
		},
		{
			name: "parent and child, by time",
			h: histories{
				"a": partition(
					"a", begin(0), start(0, "F", ""), child(1, 0, "G", "c"), pause(1), begin(9),
					&schema.SubOrchestrationFailed{EventHeader: head(-1, 8), TaskScheduledID: 0}, pause(9),
				),
				"c": partition("c", begin(3), start(2, "G", "a"), end(7, 0, schema.StatusFailed), pause(7)),
			},
			want: []string{
				"0 a OrchestratorStarted", "0 a ExecutionStarted F", "1 a SubOrchestrationInstanceCreated G c", "1 a OrchestratorCompleted",
				"2 c ExecutionStarted G a", "3 c OrchestratorStarted", "7 c ExecutionCompleted Failed failed", "7 c OrchestratorCompleted",
				"8 a SubOrchestrationInstanceFailed G c 7ms failed", "9 a OrchestratorStarted 8ms", "9 a OrchestratorCompleted",
			},
		},
		{
			name: "its own child, and a child that started its parent",
			h: histories{
				"a": partition("a", begin(0), start(0, "F", "b"), child(1, 0, "F", "a"), child(1, 1, "G", "b"), pause(1)),
				"b": partition("b", begin(2), start(2, "G", "a"), child(3, 0, "F", "a"), pause(3)),
			},
			want: []string{
				"0 a OrchestratorStarted", "0 a ExecutionStarted F b",
				"1 a SubOrchestrationInstanceCreated F a waiting", "1 a SubOrchestrationInstanceCreated G b waiting", "1 a OrchestratorCompleted",
				"2 b OrchestratorStarted", "2 b ExecutionStarted G a", "3 b SubOrchestrationInstanceCreated F a waiting", "3 b OrchestratorCompleted",
			},
		},
		{
			name: "entities: a call with its answer, one without, a signal, a lock",
			h: histories{
				"a": partition(
					"a", begin(0), start(0, "F", ""),
					sent(1, 0, "@e@1", "op", request),
					sent(2, 1, "@e@2", "op", strings.ReplaceAll(request, "0001", "0002")),
					sent(3, 2, "@e@2", "op@2026-11-22T04:00:01.0000000Z", strings.Replace(request, `"op":"Add"`, `"op":"Later","signal":true`, 1)),
					sent(4, 3, "@e@1", "op", strings.Replace(strings.ReplaceAll(request, "0001", "0003"), `"op":"Add"`, `"op":null,"lockset":[{"name":"e","key":"1"},{"name":"e","key":"9"}]`, 1)),
					pause(5), begin(8), raised(7, "2f2a6c0b-0000-0000-0000-000000000001", `{"result":null}`), pause(8),
					begin(9), raised(9, "2f2a6c0b-0000-0000-0000-000000000003", `{"result":null}`), pause(9),
				),
				"@e@1": partition("@e@1", begin(6), start(6, "@e@1", ""), pause(6)),
			},
			want: []string{
				"0 a OrchestratorStarted", "0 a ExecutionStarted F", "1 a EventSent Add @e@1", "2 a EventSent Add @e@2 waiting",
				"3 a EventSent Later @e@2", "4 a EventSent lock @e@1", "5 a OrchestratorCompleted",
				"6 @e@1 OrchestratorStarted", "6 @e@1 ExecutionStarted @e@1", "6 @e@1 OrchestratorCompleted",
				"7 a EventRaised Add @e@1 6ms", "8 a OrchestratorStarted 3ms", "8 a OrchestratorCompleted",
				"9 a OrchestratorStarted 1ms", "9 a EventRaised lock @e@9 5ms", "9 a OrchestratorCompleted",
			},
		},
		{
			name: "an event from another instance, and one from nobody known",
			h: histories{
				"a": partition("a", begin(0), start(0, "F", ""), child(0, 0, "G", "c"), sent(1, 1, "c", "go", `"x"`), pause(1)),
				"c": partition("c", begin(2), start(2, "G", "a"), raised(3, "go", `"x"`), raised(4, "go", `"x"`), pause(5)),
			},
			want: []string{
				"0 a OrchestratorStarted", "0 a ExecutionStarted F", "0 a SubOrchestrationInstanceCreated G c waiting",
				"1 a EventSent go c", "1 a OrchestratorCompleted", "2 c OrchestratorStarted", "2 c ExecutionStarted G a",
				"3 c EventRaised go a", "4 c EventRaised go", "5 c OrchestratorCompleted",
			},
		},
		{
			name: "rewound rows are what they were",
			h:    histories{"a": rewound},
			want: []string{
				"0 a OrchestratorStarted", "0 a ExecutionStarted F", "1 a TaskScheduled T rewound", "2 a OrchestratorCompleted",
				"4 a TaskFailed T 3ms failed rewound", "5 a OrchestratorStarted 3ms", "6 a ExecutionCompleted Failed failed rewound",
				"6 a OrchestratorCompleted", "9 a OrchestratorStarted 3ms", "9 a TaskScheduled T waiting", "9 a OrchestratorCompleted",
			},
		},
		{
			name: "a completion that was rewound twice",
			h:    histories{"a": twice},
			opts: replay.TimelineOptions{At: at(6)},
			want: []string{
				"0 a OrchestratorStarted", "0 a ExecutionStarted F", "1 a TaskScheduled T rewound", "2 a OrchestratorCompleted",
				"4 a TaskFailed T 3ms failed rewound", "5 a OrchestratorStarted 3ms", "6 a ExecutionCompleted Failed failed rewound",
				"6 a OrchestratorCompleted",
			},
		},
		{
			name: "what an earlier execution left is not live",
			h:    histories{"a": reused},
			want: []string{"0 a OrchestratorStarted", "0 a ExecutionStarted F", "1 a OrchestratorCompleted"},
		},
		{
			// The framework reads no history then, and knows of no child.
			name: "the sentinel names another execution",
			h:    histories{"a": mismatch, "c": partition("c", begin(0))},
			want: []string{"0 c OrchestratorStarted"},
		},
		{
			name: "a row without its time stays in its place",
			h:    histories{"a": undated},
			want: []string{"0 a OrchestratorStarted", "0 a ExecutionStarted F", "3 a OrchestratorCompleted"}, problems: 1,
		},
		{
			name: "only what had happened",
			h:    histories{"a": partition("a", begin(1), start(0, "F", ""), task(2, 0, "T"), pause(3), begin(20), done(10, 0), pause(21))},
			opts: replay.TimelineOptions{At: at(9)},
			want: []string{
				"0 a ExecutionStarted F", "1 a OrchestratorStarted", "2 a TaskScheduled T waiting", "3 a OrchestratorCompleted",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tl := tt.h.timeline(t, "a", tt.opts)
			if diff := cmp.Diff(tt.want, lines(tl)); diff != "" {
				t.Errorf("timeline (-want +got):\n%s", diff)
			}
			if len(tl.Problems) != tt.problems {
				t.Errorf("problems %v, want %d", tl.Problems, tt.problems)
			}
			checkDiagrams(t, tl)
		})
	}
}

// A text that is in a blob tells what answers it only if it is loaded.
func TestTimelineLoad(t *testing.T) {
	large := &schema.EventSent{
		EventHeader: head(0, 1), InstanceID: schema.Some("@e@1"), Name: schema.TextOf("op"),
		Input: schema.Text{Blob: "a/b.json.gz", Set: true},
	}
	h := histories{"a": partition("a", begin(0), start(0, "F", ""), large, raised(3, "2f2a6c0b-0000-0000-0000-000000000001", "{}"))}
	for _, tt := range []struct {
		name string
		load func(string) (string, error)
		want string
	}{
		{"not loaded", nil, "3 a EventRaised 2f2a6c0b-0000-0000-0000-000000000001"},
		{"missing", func(string) (string, error) { return "", errors.New("no") }, "3 a EventRaised 2f2a6c0b-0000-0000-0000-000000000001"},
		{"loaded", func(name string) (string, error) {
			if name != "a/b.json.gz" {
				t.Errorf("load(%q)", name)
			}
			return request, nil
		}, "3 a EventRaised Add @e@1 2ms"},
	} {
		got := lines(h.timeline(t, "a", replay.TimelineOptions{Load: tt.load}))
		if got[len(got)-1] != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got[len(got)-1], tt.want)
		}
	}
}

func TestTimelineLimits(t *testing.T) {
	h := make(histories)
	events := []schema.Event{begin(0), start(0, "F", "")}
	for i := range 10 {
		id := fmt.Sprint("child", i)
		events = append(events, child(1, int32(i), "G", id), child(1, int32(i+10), "G", id))
		h[id] = partition(id, begin(2), start(2, "G", "a"), pause(2))
	}
	h["a"] = partition("a", events...)
	tests := []struct {
		opts                            replay.TimelineOptions
		instances, events               int
		instancesLeftOut, eventsLeftOut int64
	}{
		{replay.TimelineOptions{}, 11, 22 + 30, 0, 0},
		{replay.TimelineOptions{MaxInstances: 11}, 11, 22 + 30, 0, 0},
		{replay.TimelineOptions{MaxInstances: 4}, 4, 22 + 9, 7, 0},
		{replay.TimelineOptions{MaxInstances: 1}, 1, 22, 10, 0},
		{replay.TimelineOptions{MaxEvents: 52}, 11, 52, 0, 0},
		{replay.TimelineOptions{MaxEvents: 24}, 11, 24, 0, 28},
		// The events that name the other children are left out themselves.
		{replay.TimelineOptions{MaxEvents: 3}, 2, 3, 0, 19 + 3},
	}
	for _, tt := range tests {
		tl := h.timeline(t, "a", tt.opts)
		if len(tl.Instances) != tt.instances || len(tl.Entries) != tt.events || tl.InstancesLeftOut != tt.instancesLeftOut || tl.EventsLeftOut != tt.eventsLeftOut {
			t.Errorf("%+v: %d instances, %d left out; %d events, %d left out; want %d, %d; %d, %d", tt.opts,
				len(tl.Instances), tl.InstancesLeftOut, len(tl.Entries), tl.EventsLeftOut,
				tt.instances, tt.instancesLeftOut, tt.events, tt.eventsLeftOut)
		}
		checkDiagrams(t, tl)
	}
}

func TestTimelineUntil(t *testing.T) {
	h := histories{"a": partition("a", begin(10), pause(20))}
	for _, tt := range []struct {
		opts replay.TimelineOptions
		want schema.Ticks
	}{
		{replay.TimelineOptions{}, at(20)},
		{replay.TimelineOptions{Until: at(5)}, at(20)},
		{replay.TimelineOptions{Until: at(50)}, at(50)},
		{replay.TimelineOptions{Until: at(50), At: at(30)}, at(30)},
		{replay.TimelineOptions{At: at(15)}, at(15)},
	} {
		if got := h.timeline(t, "a", tt.opts).Until; got != tt.want {
			t.Errorf("%+v: until %v, want %v", tt.opts, got, tt.want)
		}
	}
}

// recordedEvent is an event as the framework's client told it.
type recordedEvent struct {
	EventType       int
	EventID         int32 `json:"EventId"`
	Timestamp       schema.Ticks
	TaskScheduledID int32  `json:"TaskScheduledId"`
	TimerID         int32  `json:"TimerId"`
	InstanceID      string `json:"InstanceId"`
}

func (e *recordedEvent) UnmarshalJSON(text []byte) error {
	type plain struct {
		EventType       int
		EventID         int32 `json:"EventId"`
		Timestamp       string
		TaskScheduledID int32  `json:"TaskScheduledId"`
		TimerID         int32  `json:"TimerId"`
		InstanceID      string `json:"InstanceId"`
	}
	var p plain
	if err := json.Unmarshal(text, &p); err != nil {
		return err
	}
	when, err := schema.ParseTicks(p.Timestamp)
	*e = recordedEvent{p.EventType, p.EventID, when, p.TaskScheduledID, p.TimerID, p.InstanceID}
	return err
}

// Every timeline of every recorded hub has the events that the framework told,
// in the order of time, with the times between what belongs together.
func TestRecordedTimelines(t *testing.T) {
	tested := 0
	for _, rec := range testhub.Recordings {
		state := testhub.Recorded(t, rec.Name, "state.json")
		if state == nil {
			continue
		}
		t.Run(rec.Name, func(t *testing.T) {
			var instances []struct {
				InstanceID string          `json:"instanceId"`
				History    []recordedEvent `json:"history"`
			}
			if err := json.Unmarshal(state, &instances); err != nil {
				t.Fatal(err)
			}
			h := historiesOf(t, testhub.OpenHub(t, rec.Name))
			for _, in := range instances {
				if rec.Names.TrackingPrefix != "" && h[in.InstanceID] == nil {
					continue // of the other hub
				}
				tested++
				tl := h.timeline(t, in.InstanceID, replay.TimelineOptions{})
				if len(tl.Problems) > 0 {
					t.Errorf("%q: %v", in.InstanceID, tl.Problems)
				}
				compareTimeline(t, tl, in.History)
				checkDiagrams(t, tl)
			}
		})
	}
	if tested < 900 {
		t.Errorf("%d instances tested, want at least 900", tested)
	}
}

func compareTimeline(t *testing.T, tl *replay.Timeline, want []recordedEvent) {
	t.Helper()
	id := tl.Instances[0].ID
	if !slices.IsSortedFunc(tl.Entries, func(a, b replay.Entry) int { return int(a.Time - b.Time) }) {
		t.Errorf("%q: entries are not in the order of time", id)
	}
	own := make(map[string]*replay.Entry)
	for i := range tl.Entries {
		if e := &tl.Entries[i]; e.Instance == 0 {
			own[e.RowKey] = e
		}
	}
	if len(own) != len(want) {
		t.Errorf("%q: %d events, the framework told %d", id, len(own), len(want))
		return
	}
	scheduled := make(map[int32]schema.Ticks)
	var episode, ended schema.Ticks
	for n, w := range want {
		got := own[schema.FormatSequence(int64(n))]
		when, since := w.Timestamp, schema.Ticks(0)
		kind := schema.EventType(w.EventType)
		switch kind {
		case schema.TypeOrchestratorStarted:
			episode, since, ended = when, ended, 0
		case schema.TypeOrchestratorCompleted:
			ended = when
		case schema.TypeTaskScheduled, schema.TypeSubOrchestrationCreated, schema.TypeTimerCreated:
			scheduled[w.EventID] = when
		case schema.TypeTaskCompleted, schema.TypeTaskFailed, schema.TypeSubOrchestrationCompleted, schema.TypeSubOrchestrationFailed:
			since = scheduled[w.TaskScheduledID]
		case schema.TypeTimerFired:
			when, since = episode, scheduled[w.TimerID]
		}
		if got == nil || got.Time != when || got.Event != kind.String() && !got.Rewound {
			t.Errorf("%q: event %d is %+v, the framework told %+v", id, n, got, w)
			continue
		}
		if kind != schema.TypeEventRaised && !got.Rewound && got.Since != since {
			t.Errorf("%q: event %d began at %v, want %v", id, n, got.Since, since)
		}
		if kind == schema.TypeGeneric && got.Rewound {
			// The framework tells of such a row no more than that.
			scheduled[w.EventID] = when
		}
	}
}
