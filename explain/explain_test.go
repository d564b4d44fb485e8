package explain

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// changed returns a recorded hub that a test may change, as of one minute after
// its last write.
func changed(t *testing.T, recording string) *testhub.Memory {
	t.Helper()
	r := testhub.OpenHub(t, recording)
	info, err := r.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := testhub.NewMemory(testhub.ContentOf(t, r))
	m.Started, m.Finished = info.Started, info.Finished
	return m
}

// row returns a row of a hub to be changed.
func row(t *testing.T, m *testhub.Memory, table hub.Table, id, rowKey string) *schema.Row {
	t.Helper()
	rows := m.Content.Tables[table]
	for i := range rows {
		if rows[i].PartitionKey == schema.EscapeKey(id) && rows[i].RowKey == rowKey {
			return &rows[i]
		}
	}
	t.Fatalf("no row %s/%s/%s", table, id, rowKey)
	return nil
}

// cut removes the history rows of an instance from a position on, but for the
// sentinel, and makes its row that of the last checkpoint before.
func cut(t *testing.T, m *testhub.Memory, id string, from int64) {
	t.Helper()
	last := schema.Value{}
	m.Content.Tables[hub.History] = slices.DeleteFunc(m.Content.Tables[hub.History], func(r schema.Row) bool {
		n, ok := schema.ParseSequence(r.RowKey)
		if r.PartitionKey != schema.EscapeKey(id) || !ok {
			return false
		}
		if n < from {
			last = r.Get("_Timestamp")
		}
		return n >= from
	})
	r := row(t, m, hub.Instances, id, "")
	r.Set("RuntimeStatus", schema.String("Running"))
	r.Set("LastUpdatedTime", last)
	r.Set("CompletedTime", schema.Value{})
	r.Set("Output", schema.Value{})
}

// remove removes an instance.
func remove(m *testhub.Memory, id string) {
	for _, table := range []hub.Table{hub.Instances, hub.History} {
		m.Content.Tables[table] = slices.DeleteFunc(m.Content.Tables[table], func(r schema.Row) bool { return r.PartitionKey == schema.EscapeKey(id) })
	}
}

// room sets how many messages of a queue cannot be seen.
func room(t *testing.T, m *testhub.Memory, queue string, n int64) {
	t.Helper()
	for i := range m.Content.Queues {
		if q := &m.Content.Queues[i]; q.Name == queue {
			q.ApproximateCount = int64(len(q.Messages)) + n
			return
		}
	}
	t.Fatalf("no queue %s", queue)
}

// sequence finds the position of the first event of a type in a history.
func sequence(t *testing.T, m *testhub.Memory, id, eventType string) int64 {
	t.Helper()
	for _, r := range m.Content.Tables[hub.History] {
		if name, _ := r.Get("EventType").Text(); r.PartitionKey == schema.EscapeKey(id) && name == eventType {
			n, _ := schema.ParseSequence(r.RowKey)
			return n
		}
	}
	t.Fatalf("no %s in %s", eventType, id)
	return 0
}

func explainIn(t *testing.T, r hub.Reader, id string) *Report {
	t.Helper()
	report, err := Instance(t.Context(), r, id, Options{SkipFindings: true})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// short is an Await in short.
func short(a *Await) string {
	s := fmt.Sprintf("%s %d %s%s %s", a.Kind, a.EventID, a.Name, a.InstanceID, a.Where)
	for i := range a.Messages {
		s += " " + a.Messages[i].Queue + ":" + string(a.Messages[i].Where)
	}
	return s
}

// What is said of hubs that were changed in one place.
func TestChanged(t *testing.T) {
	for _, test := range []struct {
		name, recording string
		change          func(t *testing.T, m *testhub.Memory)
		id              string
		condition       Condition
		awaits          []string
		verdict         []string // in it
		steps           []string // commands, the first ones
	}{
		{
			name: "a timer whose message is gone", recording: "dtfx-2.9.1",
			change: func(t *testing.T, m *testhub.Memory) { room(t, m, "labhub-control-03", 0) },
			id:     "long-timer", condition: Stuck,
			awaits:  []string{"timer 0  lost labhub-control-03:lost"},
			verdict: []string{"waits for timer 0, due in 59m", "is lost"},
			steps: []string{
				"taskhub capture --out LabHub.taskhub", "taskhub repair --id long-timer", "taskhub terminate --id long-timer --reason REASON",
			},
		},
		{
			name: "a timer that is overdue", recording: "dtfx-2.9.1",
			change: func(_ *testing.T, m *testhub.Memory) {
				m.Finished = schema.TicksOf(m.Finished.Time().Add(2 * time.Hour))
				m.Started = m.Finished
			},
			id: "long-timer", condition: Waiting,
			awaits:  []string{"timer 0  possibly-hidden labhub-control-03:possibly-hidden"},
			verdict: []string{"overdue by 1h00m", "no app is running"},
			steps:   []string{""},
		},
		{
			name: "a queue that is gone", recording: "dtfx-2.9.1",
			change: func(_ *testing.T, m *testhub.Memory) {
				m.Content.Queues = slices.DeleteFunc(m.Content.Queues, func(q hubtest.Queue) bool { return q.Name == "labhub-control-03" })
			},
			id: "long-timer", condition: Stuck,
			awaits: []string{"timer 0  lost labhub-control-03:lost"},
		},
		{
			name: "nothing tells the number of partitions", recording: "dtfx-2.9.1",
			change: func(_ *testing.T, m *testhub.Memory) { m.Content.PartitionCount, m.Content.PartitionCountFrom = 0, "" },
			id:     "long-timer", condition: Waiting,
			awaits: []string{"timer 0  unknown :unknown"},
		},
		{
			name: "a start that is gone", recording: "dtfx-2.9.1",
			change: func(t *testing.T, m *testhub.Memory) { room(t, m, "labhub-control-00", 0) },
			id:     "scheduled", condition: Stuck,
			awaits: []string{"start -1 HelloSequence lost labhub-control-00:lost"},
			steps:  []string{"taskhub capture --out LabHub.taskhub", "taskhub repair --id scheduled", "taskhub restart --id scheduled"},
		},
		{
			name: "terminated before it has begun", recording: "dtfx-2.9.1",
			change: func(t *testing.T, m *testhub.Memory) {
				row(t, m, hub.Instances, "scheduled", "").Set("RuntimeStatus", schema.String("Terminated"))
			},
			id: "scheduled", condition: Scheduled,
			awaits:  []string{"start -1 HelloSequence hidden labhub-control-00:hidden"},
			verdict: []string{"is Terminated, but will run all the same: its start is scheduled for 2026-11-22 05:07:22Z"},
		},
		{
			name: "terminated before it has begun, and its start is gone", recording: "dtfx-2.9.1",
			change: func(t *testing.T, m *testhub.Memory) {
				row(t, m, hub.Instances, "scheduled", "").Set("RuntimeStatus", schema.String("Terminated"))
				room(t, m, "labhub-control-00", 0)
			},
			id: "scheduled", condition: Ended,
			verdict: []string{"is Terminated"},
		},
		{
			name: "a child that has ended, its answer may be there", recording: "dtfx-2.9.1",
			change: func(t *testing.T, m *testhub.Memory) {
				cut(t, m, "parent-of-failed", sequence(t, m, "parent-of-failed", "OrchestratorCompleted")+1)
				room(t, m, "labhub-control-01", 1)
			},
			id: "parent-of-failed", condition: Waiting,
			awaits: []string{"sub_orchestration 0 FailActivityparent-of-failed:failed possibly-hidden labhub-control-01:possibly-hidden"},
		},
		{
			name: "a child that has ended, its answer is gone", recording: "dtfx-2.9.1",
			change: func(t *testing.T, m *testhub.Memory) {
				cut(t, m, "parent-of-failed", sequence(t, m, "parent-of-failed", "OrchestratorCompleted")+1)
				room(t, m, "labhub-control-01", 0)
			},
			id: "parent-of-failed", condition: Stuck,
			awaits: []string{"sub_orchestration 0 FailActivityparent-of-failed:failed lost labhub-control-01:lost"},
		},
		{
			name: "the answer that a parent does not get, seen from the child", recording: "dtfx-2.9.1",
			change: func(t *testing.T, m *testhub.Memory) {
				cut(t, m, "parent-of-failed", sequence(t, m, "parent-of-failed", "OrchestratorCompleted")+1)
				room(t, m, "labhub-control-01", 0)
			},
			id: "parent-of-failed:failed", condition: Stuck,
			verdict: []string{"is Failed", "its parent parent-of-failed waits for its answer, which is lost"},
		},
		{
			name: "a child that has no rows", recording: "dtfx-2.9.1",
			change: func(t *testing.T, m *testhub.Memory) { remove(m, "parent-waiting:wait") },
			id:     "parent-waiting", condition: Waiting,
			awaits: []string{"sub_orchestration 0 WaitEventparent-waiting:wait possibly-hidden labhub-control-02:possibly-hidden"},
		},
		{
			name: "a child that has no rows and cannot start", recording: "dtfx-2.9.1",
			change: func(t *testing.T, m *testhub.Memory) {
				remove(m, "parent-waiting:wait")
				room(t, m, "labhub-control-02", 0)
			},
			id: "parent-waiting:wait", condition: Stuck,
			awaits:  []string{"start -1 WaitEvent lost labhub-control-02:lost"},
			verdict: []string{"has not begun: it is a sub-orchestration of parent-waiting", "is lost"},
		},
		{
			name: "a child of another execution of the parent", recording: "dtfx-2.9.1",
			change: func(t *testing.T, m *testhub.Memory) {
				start := row(t, m, hub.History, "parent-waiting:wait", schema.FormatSequence(1))
				text, _ := start.Get("ParentInstance").Text()
				start.Set("ParentInstance", schema.String(strings.Replace(text, `"ExecutionId":"`, `"ExecutionId":"0`, 1)))
			},
			id: "parent-waiting", condition: Waiting,
			awaits: []string{"sub_orchestration 0 WaitEventparent-waiting:wait possibly-hidden labhub-control-02:possibly-hidden"},
		},
		{
			name: "the holder of a lock is gone", recording: "functions-3",
			change: func(_ *testing.T, m *testhub.Memory) { remove(m, "eholder") },
			id:     "@counter@locked", condition: Stuck,
			awaits:  []string{"release -1 eholder unknown"},
			verdict: []string{"is locked by eholder, which does not exist; 1 operation waits behind it"},
			steps:   []string{"taskhub repair --id @counter@locked"},
		},
		{
			name: "a call that waits inside of the entity", recording: "functions-3",
			change: func(t *testing.T, m *testhub.Memory) {
				cut(t, m, "eholder", 8)
				entity := row(t, m, hub.Instances, "@counter@locked", "")
				text, _ := entity.Get("Input").Text()
				entity.Set("Input", schema.String(strings.Replace(text, "3f4920a1-376b-4fbb-95d5-2de7ba19a06e", "c72e359c-bd9e-5386-8d7e-8842a38c8ab3", 1)))
			},
			id: "eholder", condition: Waiting,
			awaits:  []string{"entity_call 1 Add@counter@locked received"},
			verdict: []string{"holds 1 lock"},
			steps:   []string{"taskhub explain --id @counter@locked"},
		},
		{
			name: "a call that is nowhere", recording: "functions-3",
			change: func(t *testing.T, m *testhub.Memory) {
				cut(t, m, "eholder", 8)
				room(t, m, "funclab-control-01", 0)
				room(t, m, "funclab-control-02", 0)
			},
			id: "eholder", condition: Stuck,
			awaits: []string{"entity_call 1 Add@counter@locked lost funclab-control-01:lost funclab-control-02:lost"},
		},
		{
			name: "a lock that is asked for", recording: "functions-3",
			change: func(t *testing.T, m *testhub.Memory) { cut(t, m, "eholder", 4) },
			id:     "eholder", condition: Waiting,
			awaits: []string{"entity_lock_request 0 @counter@locked possibly-hidden funclab-control-01:possibly-hidden funclab-control-02:possibly-hidden"},
		},
		{
			name: "a rewind whose message is gone", recording: "functions-3-after-write",
			change: func(_ *testing.T, m *testhub.Memory) {
				for i := range m.Content.Queues {
					m.Content.Queues[i].Messages, m.Content.Queues[i].ApproximateCount = nil, 0
				}
			},
			id: "failing-1", condition: Stuck,
			awaits:  []string{"wake_up -1  lost funclab-control-01:lost"},
			verdict: []string{"was rewound", "which is lost"},
		},
		{
			name: "work may be on its way while an app runs", recording: "dtfx-2.9.1-crashed",
			change: func(t *testing.T, m *testhub.Memory) {
				m.Started = schema.TicksOf(m.Finished.Time().Add(-time.Second))
				room(t, m, "crashhub-workitems", 0)
				room(t, m, "crashhub-control-02", 0)
				room(t, m, "crashhub-control-03", 0)
			},
			id: "inflight-00", condition: Waiting,
			awaits: []string{"activity 0 Sleep unknown crashhub-workitems:unknown crashhub-control-03:unknown"},
		},
		{
			name: "work is lost although an app runs, as all was captured at one time", recording: "dtfx-2.9.1-crashed",
			change: func(t *testing.T, m *testhub.Memory) {
				room(t, m, "crashhub-workitems", 0)
				room(t, m, "crashhub-control-03", 0)
			},
			id: "inflight-00", condition: Stuck,
			awaits: []string{"activity 0 Sleep lost crashhub-workitems:lost crashhub-control-03:lost"},
		},
		{
			name: "a history that is gone", recording: "dtfx-2.9.1",
			change: func(_ *testing.T, m *testhub.Memory) {
				m.Content.Tables[hub.History] = slices.DeleteFunc(m.Content.Tables[hub.History], func(r schema.Row) bool { return r.PartitionKey == "wait-event" })
			},
			id: "wait-event", condition: Stuck,
			verdict: []string{"is Running", "it has no history"},
			steps:   []string{"taskhub capture --out LabHub.taskhub", "taskhub repair --id wait-event", "taskhub restart --id wait-event"},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := changed(t, test.recording)
			test.change(t, m)
			r := explainIn(t, m, test.id)
			if diff := cmp.Diff(test.awaits, awaitsOf(r)); diff != "" {
				t.Errorf("awaits (-want +got):\n%s", diff)
			}
			if r.Condition != test.condition {
				t.Errorf("condition %s, want %s; verdict: %s", r.Condition, test.condition, r.Verdict)
			}
			for _, text := range test.verdict {
				if !strings.Contains(r.Verdict, text) {
					t.Errorf("verdict %q, want %q in it", r.Verdict, text)
				}
			}
			for i, want := range test.steps {
				if i >= len(r.Steps) || r.Steps[i].Command() != want {
					t.Errorf("steps %v, want %q as number %d", r.Steps, want, i+1)
				}
			}
			for _, p := range r.Problems {
				t.Error(p)
			}
		})
	}
}

// Of 295 activities there is room for 104: that 191 are lost is certain, and not
// which.
func TestShortfall(t *testing.T) {
	m := changed(t, "dtfx-2.9.1-torn")
	for i := range m.Content.Tables[hub.Partitions] {
		m.Content.Tables[hub.Partitions][i].Set("CurrentOwner", schema.Value{}) // no app is running
	}
	room(t, m, "tornhub-workitems", 100)
	r := explainIn(t, m, "wide-5")
	want := []Shortfall{{Queues: []string{"tornhub-control-00", "tornhub-workitems"}, Awaited: 296, Room: 104, Lost: 192}}
	if diff := cmp.Diff(want, r.Shortfalls); diff != "" {
		t.Errorf("shortfalls (-want +got):\n%s", diff)
	}
	if len(r.Awaits) != MaxAwaits || r.AwaitsMore != 96 || r.Condition != Stuck || !strings.Contains(r.Verdict, "at least 192 of these messages are lost") {
		t.Errorf("%d awaits and %d more, %s: %s", len(r.Awaits), r.AwaitsMore, r.Condition, r.Verdict)
	}
	if r := explainIn(t, changed(t, "dtfx-2.9.1-torn"), "wide-5"); len(r.Shortfalls) > 0 {
		t.Errorf("shortfalls of the hub as it was: %v", r.Shortfalls)
	}
}

func TestLocks(t *testing.T) {
	r := explainIn(t, testhub.OpenHub(t, "functions-3"), "eholder")
	want := []Lock{{
		EntityID: "@counter@locked", RequestID: "ffc0f6eb-5437-564a-9f39-632c6605cf58", Since: ticks(t, "2026-11-22T04:08:25.9740780Z"),
		LockedBy: "eholder", Agreed: true,
	}}
	got := slices.Clone(r.Locks)
	for i := range got {
		got[i].Since = want[0].Since // which of the two events begins it is for package replay to say
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("locks (-want +got):\n%s", diff)
	}
	r = explainIn(t, testhub.OpenHub(t, "functions-3"), "@counter@locked")
	s := r.State
	if s == nil || s.LockedBy != "eholder" || s.Holder == nil || s.Holder.Status != schema.StatusRunning || !s.Exists || r.Condition != Locked {
		t.Fatalf("state %+v, condition %s", s, r.Condition)
	}
	if diff := cmp.Diff([]Operation{{Name: "Add", Signal: true, ID: "3f4920a1-376b-4fbb-95d5-2de7ba19a06e"}}, s.Waiting); diff != "" {
		t.Errorf("operations (-want +got):\n%s", diff)
	}
}

func ticks(t *testing.T, s string) schema.Ticks {
	t.Helper()
	v, err := schema.ParseTicks(s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// ids returns the relatives in short.
func ids(relatives []Relative) []string {
	var out []string
	for _, r := range relatives {
		s := fmt.Sprintf("%s %v", r.InstanceID, r.Status)
		if r.Open {
			s += " open"
		}
		if r.Cycle {
			s += " cycle"
		}
		if r.Depth > 1 {
			s += fmt.Sprintf(" depth %d", r.Depth)
		}
		out = append(out, s)
	}
	return out
}

func TestFamily(t *testing.T) {
	h := testhub.OpenHub(t, "dtfx-2.9.1")
	r := explainIn(t, h, "parent-waiting:wait")
	if diff := cmp.Diff([]string{"parent-waiting Running open"}, ids(r.Parents)); diff != "" {
		t.Errorf("parents (-want +got):\n%s", diff)
	}
	r = explainIn(t, h, "parent")
	if diff := cmp.Diff([]string{"parent:0 Completed", "parent:1 Completed", "parent:2 Completed"}, ids(r.Children)); diff != "" {
		t.Errorf("children (-want +got):\n%s", diff)
	}
	r = explainIn(t, testhub.OpenHub(t, "dtfx-2.9.1-odd"), "grandparent")
	if len(r.Children) != 41 || r.Children[0].Depth != 1 || r.Children[1].Depth != 2 || !r.Children[1].Open {
		t.Errorf("%d children of grandparent: %v", len(r.Children), ids(r.Children))
	}
}

// A family that is its own ancestor does not end in a loop.
func TestCycles(t *testing.T) {
	m := changed(t, "dtfx-2.9.1")
	// Its child becomes its parent.
	of := func(id string) schema.Value {
		return row(t, m, hub.History, id, schema.FormatSequence(1)).Get("ParentInstance")
	}
	text, _ := of("parent-waiting:wait").Text()
	start := row(t, m, hub.History, "parent-waiting", schema.FormatSequence(1))
	start.Set("ParentInstance", schema.String(strings.Replace(text, "parent-waiting", "parent-waiting:wait", 1)))
	r := explainIn(t, m, "parent-waiting")
	if diff := cmp.Diff([]string{"parent-waiting:wait Running", "parent-waiting Running open cycle"}, ids(r.Parents)); diff != "" {
		t.Errorf("parents (-want +got):\n%s", diff)
	}

	// It is its own child.
	m = changed(t, "dtfx-2.9.1")
	created := row(t, m, hub.History, "parent-waiting", schema.FormatSequence(sequence(t, m, "parent-waiting", "SubOrchestrationInstanceCreated")))
	created.Set("InstanceId", schema.String("parent-waiting"))
	r = explainIn(t, m, "parent-waiting")
	if diff := cmp.Diff([]string{"parent-waiting Unknown open cycle"}, ids(r.Children)); diff != "" {
		t.Errorf("children (-want +got):\n%s", diff)
	}
	if len(r.Awaits) != 1 || r.Awaits[0].Kind != replay.OpenSubOrchestration || r.Awaits[0].Where != Possible {
		t.Errorf("awaits %v", r.Awaits)
	}

	// And its own parent.
	start = row(t, m, hub.History, "parent-waiting", schema.FormatSequence(1))
	start.Set("ParentInstance", schema.String(text))
	r = explainIn(t, m, "parent-waiting")
	if diff := cmp.Diff([]string{"parent-waiting Running open cycle"}, ids(r.Parents)); diff != "" {
		t.Errorf("parents (-want +got):\n%s", diff)
	}
}

// generations makes a chain of parents, each the child of the one before.
func generations(t *testing.T, n int) *testhub.Memory {
	t.Helper()
	m := changed(t, "dtfx-2.9.1")
	instances, history := m.Content.Tables[hub.Instances], m.Content.Tables[hub.History]
	text, _ := row(t, m, hub.History, "parent-waiting:wait", schema.FormatSequence(1)).Get("ParentInstance").Text()
	m.Content.Tables[hub.Instances], m.Content.Tables[hub.History] = nil, nil
	for i := range n {
		id := fmt.Sprintf("g%03d", i)
		for table, rows := range map[hub.Table][]schema.Row{hub.Instances: instances, hub.History: history} {
			for _, r := range rows {
				if r.PartitionKey != "parent-waiting" {
					continue
				}
				r = r.Clone()
				r.PartitionKey = id
				switch kind, _ := r.Get("EventType").Text(); {
				case kind == "SubOrchestrationInstanceCreated":
					r.Set("InstanceId", schema.String(fmt.Sprintf("g%03d", i+1)))
				case kind == "ExecutionStarted" && i > 0:
					r.Set("ParentInstance", schema.String(strings.Replace(text, "parent-waiting", fmt.Sprintf("g%03d", i-1), 1)))
				}
				m.Content.Tables[table] = append(m.Content.Tables[table], r)
			}
		}
	}
	m.Content.Sort()
	return m
}

func TestLongChain(t *testing.T) {
	m := generations(t, 120)
	r := explainIn(t, m, "g119")
	if len(r.Parents) != maxParents || r.Parents[0].InstanceID != "g118" || len(r.Problems) != 1 {
		t.Errorf("%d parents, problems %v", len(r.Parents), r.Problems)
	}
	r = explainIn(t, m, "g000")
	if diff := cmp.Diff([]string{"g001 Running open", "g002 Running open depth 2", "g003 Running open depth 3"}, ids(r.Children)); diff != "" {
		t.Errorf("children (-want +got):\n%s", diff)
	}
	if r = explainIn(t, m, "g010"); len(r.Parents) != 10 || r.Parents[9].InstanceID != "g000" || len(r.Problems) > 0 {
		t.Errorf("parents %v, problems %v", ids(r.Parents), r.Problems)
	}
}

// counted counts what is read of a hub.
type counted struct {
	hub.Reader
	rows    map[hub.Table]int
	full    map[hub.Table]int // scans of a whole table
	queues  map[string]int
	onQueue func(queue string)
}

func count(r hub.Reader) *counted {
	return &counted{Reader: r, rows: make(map[hub.Table]int), full: make(map[hub.Table]int), queues: make(map[string]int)}
}

func (c *counted) Rows(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	if keys == (hub.Keys{}) {
		c.full[table]++
	}
	return func(yield func(schema.Row, error) bool) {
		for row, err := range c.Reader.Rows(ctx, table, keys) {
			c.rows[table]++
			if !yield(row, err) {
				return
			}
		}
	}
}

func (c *counted) Messages(ctx context.Context, queue string) iter.Seq2[schema.QueueMessage, error] {
	c.queues[queue]++
	if c.onQueue != nil {
		c.onQueue(queue)
	}
	return c.Reader.Messages(ctx, queue)
}

// One instance does not cost more for the size of its hub.
func TestCost(t *testing.T) {
	c := count(testhub.OpenHub(t, "dtfx-2.9.1-bulk"))
	id := instanceIDs(t, c.Reader)[0]
	r := explainIn(t, c, id)
	if !r.Found || c.rows[hub.Instances] > 1 || c.rows[hub.History] > 100 || c.full[hub.Instances] > 0 || c.full[hub.History] > 0 {
		t.Errorf("rows read of %s: %v, whole tables %v", id, c.rows, c.full)
	}
	for queue, n := range c.queues {
		if n != 1 {
			t.Errorf("queue %s was read %d times", queue, n)
		}
	}
	if len(c.queues) != 5 {
		t.Errorf("queues read: %v", c.queues)
	}
}

func TestNotFound(t *testing.T) {
	h := testhub.OpenHub(t, "dtfx-2.9.1")
	for _, test := range []struct {
		id      string
		similar string // the first
	}{
		{"ORDER-1", "order-1"},
		{" order-1 ", "order-1"},
		{"ordr-100", "order-100"},
		{"weird^0id^1with^2all^3and^^caret", `weird/id\with#all?and^caret`},
		{`weird/id\with#all?and^care`, `weird/id\with#all?and^caret`},
		{"ünïcode-日本語", "ünïcode-日本語-😀"},
		{"nothing like it", ""},
		{strings.Repeat("x", 5000), ""},
		{"\xff\x00", ""},
	} {
		r := explainIn(t, h, test.id)
		first := ""
		if len(r.Similar) > 0 {
			first = r.Similar[0]
		}
		if r.Found || r.Condition != NotFound || first != test.similar || r.SimilarOf != 42 {
			t.Errorf("%q: %s, similar %q of %d, want %q", test.id, r.Condition, r.Similar, r.SimilarOf, test.similar)
		}
	}
	m := changed(t, "dtfx-2.9.1")
	m.Content = hubtest.Content{Names: m.Content.Names}
	if _, err := Instance(t.Context(), m, "a", Options{}); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("a hub that does not exist: %v", err)
	}
	if _, err := Instance(t.Context(), h, "a", Options{MaxPayloadBytes: -1}); err == nil {
		t.Error("a negative limit: no error")
	}
}

// Of a live hub, what moves on while it is read is read again.
func TestMovingOn(t *testing.T) {
	for _, test := range []struct {
		times   int // that it moves on
		want    Condition
		problem bool
	}{{0, Stuck, false}, {1, Ended, false}, {5, Ended, true}} {
		m := changed(t, "dtfx-2.9.1")
		now := m.Finished.Time()
		m.Started, m.Finished = 0, 0
		room(t, m, "labhub-control-03", 0)
		c := count(m)
		left := test.times
		c.onQueue = func(queue string) {
			if queue != "labhub-workitems" || left == 0 {
				return // once each time
			}
			left--
			r := row(t, m, hub.Instances, "long-timer", "")
			r.ETag = fmt.Sprintf("moved on %d", left)
			r.Set("RuntimeStatus", schema.String("Completed"))
			m.Content.Tables[hub.History] = slices.DeleteFunc(m.Content.Tables[hub.History], func(r schema.Row) bool { return r.PartitionKey == "long-timer" })
		}
		r, err := Instance(t.Context(), c, "long-timer", Options{SkipFindings: true, Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		if r.Condition != test.want || (len(r.Problems) > 0) != test.problem {
			t.Errorf("moved on %d times: %s, problems %v, want %s; %s", test.times, r.Condition, r.Problems, test.want, r.Verdict)
		}
	}
}

// Of the damaged hubs, the instances whose work is known to be lost are stuck, and
// of those that they were derived from none is.
func TestDamaged(t *testing.T) {
	files, err := filepath.Glob(testhub.Testdata(t, "damaged", "*.taskhub"))
	if err != nil {
		t.Fatal(err)
	}
	lost := 0
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".taskhub")
		r, err := snapshot.Open(file, snapshot.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var expected struct {
			Findings []struct {
				Code, Severity string
				InstanceID     string `json:"instance_id"`
			}
		}
		text, err := os.ReadFile(strings.TrimSuffix(file, ".taskhub") + ".json")
		if err == nil {
			err = json.Unmarshal(text, &expected)
		}
		if err != nil {
			t.Fatal(err)
		}
		stuck := make(map[string]bool)
		for _, id := range instanceIDs(t, r) {
			stuck[id] = explainIn(t, r, id).Condition == Stuck
			if stuck[id] && strings.HasPrefix(name, "base-") {
				t.Errorf("%s: %s is stuck", name, id)
			}
		}
		for _, f := range expected.Findings {
			switch f.Code {
			case "lost-work", "child-done-parent-waiting", "pending-without-start":
				lost++
				if !stuck[f.InstanceID] && f.Severity == "error" && f.InstanceID != "*" { // * is one of several
					t.Errorf("%s: %s is not stuck, in spite of %s", name, f.InstanceID, f.Code)
				}
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if lost < 5 {
		t.Errorf("%d instances with lost work in %d hubs, want at least 5", lost, len(files))
	}
}

// What package verify finds is in the report, the worst first.
func TestFindings(t *testing.T) {
	h := testhub.OpenHub(t, "dtfx-2.9.1-purge-damaged")
	r, err := Instance(t.Context(), h, "order-10", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Findings) == 0 || r.Findings[0].Code != "blob-missing" || r.Findings[0].InstanceID != "order-10" {
		t.Errorf("findings %v, want blob-missing", r.Findings)
	}
	if len(r.Steps) == 0 || r.Steps[0].Command() != "taskhub repair --id order-10" {
		t.Errorf("steps %v", r.Steps)
	}
	if r, err = Instance(t.Context(), h, "order-100", Options{}); err != nil || len(r.Findings) > 0 {
		t.Errorf("order-100, which is whole: %v, %v", r.Findings, err)
	}
}

// A capture is explained as of the time at which it was taken, whatever the clock
// says; a live hub by the clock, or without one.
func TestClock(t *testing.T) {
	year := func() time.Time { return time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC) }
	m := changed(t, "dtfx-2.9.1")
	taken := m.Finished
	for _, test := range []struct {
		live bool
		now  func() time.Time
		at   schema.Ticks
		want Where
	}{
		{false, nil, taken, Hidden},
		{false, year, taken, Hidden},
		{true, year, schema.TicksOf(year()), Possible},
		{true, nil, 0, Possible},
	} {
		m.Started, m.Finished = taken, taken
		if test.live {
			m.Started, m.Finished = 0, 0
		}
		r, err := Instance(t.Context(), m, "long-timer", Options{SkipFindings: true, Now: test.now})
		if err != nil {
			t.Fatal(err)
		}
		if r.ObservedAt != test.at || len(r.Awaits) != 1 || r.Awaits[0].Where != test.want {
			t.Errorf("live %t: as of %v, %s, want %v, %s", test.live, r.ObservedAt, r.Awaits[0].Where, test.at, test.want)
		}
	}
}

// The end of the context ends it, with its cause.
func TestCancelled(t *testing.T) {
	stop := errors.New("stopped by the test")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if _, err := Instance(ctx, testhub.OpenHub(t, "dtfx-2.9.1"), "parent", Options{}); !errors.Is(err, stop) {
		t.Errorf("error %v, want %v", err, stop)
	}
}

func TestCommand(t *testing.T) {
	for _, test := range []struct{ id, want string }{
		{"order-1", "order-1"},
		{"@counter@c1", "@counter@c1"},
		{"", "''"},
		{"two words", "'two words'"},
		{"quote'id", `'quote'\''id'`},
		{`weird/id\with#all?`, `'weird/id\with#all?'`},
		{"$(rm -rf x)`y`", "'$(rm -rf x)`y`'"},
		{"ünïcode-😀", "'ünïcode-😀'"},
		{"ctl\x01id\x7f9'\\", `$'ctl\001id\1779\'\\'`},
		{"line\nend", `$'line\012end'`},
		{"\xff", `$'\377'`},
		{"~", "'~'"},
	} {
		s := Step{Args: []string{"explain", "--id", test.id}}
		if got, want := s.Command(), "taskhub explain --id "+test.want; got != want {
			t.Errorf("Command of %q = %s, want %s", test.id, got, want)
		}
	}
}
