package testhub_test

import (
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/verify"
)

// generate opens a generated hub with at least n history rows.
func generate(t *testing.T, n int) *snapshot.Reader {
	t.Helper()
	path := filepath.Join(t.TempDir(), "generated")
	if err := testhub.Generate(path, n); err != nil {
		t.Fatal(err)
	}
	r, err := snapshot.Open(path, snapshot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// TestGenerate checks that a generated hub has the size that was asked for, and
// that instances are where GeneratedID says.
func TestGenerate(t *testing.T) {
	for _, n := range []int{1, 900, 3000, 20_000} {
		r := generate(t, n)
		instances := 0
		for row, err := range r.Rows(t.Context(), hub.Instances, hub.Keys{}) {
			if err != nil {
				t.Fatal(err)
			}
			if id := testhub.GeneratedID(n, instances); row.PartitionKey != schema.EscapeKey(id) {
				t.Errorf("of %d rows, instance %d is %q, GeneratedID says %q", n, instances, row.PartitionKey, id)
			}
			instances++
		}
		rows := 0
		for _, err := range r.Rows(t.Context(), hub.History, hub.Keys{}) {
			if err != nil {
				t.Fatal(err)
			}
			rows++
		}
		if rows < n || rows > n+80 {
			t.Errorf("%d rows, want %d or a few more", rows, n)
		}
		if n >= 3000 && (rows/instances < 18 || rows/instances > 22) {
			t.Errorf("%d rows of %d instances", rows, instances)
		}
	}
}

// TestGeneratedReplay replays every instance: nothing is odd and the rows of the
// Instances table are what the framework would have written. What is open has its
// message in the queues, and nothing else does.
func TestGeneratedReplay(t *testing.T) {
	r := generate(t, 5000)
	info, err := r.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	messages := make(map[string]int64)
	seen := make(map[string]int)
	var history []schema.Row
	for part, err := range hub.Join(t.Context(), r, hub.Keys{}) {
		if err != nil {
			t.Fatal(err)
		}
		for i := range part.History {
			history = append(history, part.History[i].Clone())
		}
		if part.More {
			continue
		}
		if part.Instance == nil {
			t.Errorf("%s has no row", part.PartitionKey)
			continue
		}
		row, err := schema.DecodeInstance(part.Instance)
		if err != nil {
			t.Fatal(err)
		}
		replayer := replay.New(part.PartitionKey, replay.Options{})
		for i := range history {
			replayer.Add(&history[i])
		}
		h := replayer.End()
		verdict := replay.Compare(&row, h, replay.Loader{})
		if len(h.Anomalies) > 0 || len(verdict.Differences) > 0 {
			t.Errorf("%s: anomalies %+v, differences %+v", part.PartitionKey, h.Anomalies, verdict.Differences)
		}
		if verdict.Status != row.Status() {
			t.Errorf("%s is %s by its row, %s by its history", part.PartitionKey, row.Status(), verdict.Status)
		}
		if finished := info.Finished; row.StoredAt >= finished || row.LastUpdatedTime.Value >= finished || h.Live.LastUpdatedTime >= finished {
			t.Errorf("%s was written after the hub was read", part.PartitionKey)
		}
		for i := range history {
			checkTimes(t, history[:i+1])
		}
		history = history[:0]

		seen[row.Status().String()]++
		live := &h.Live
		if live.Parent != nil {
			seen["child"]++
		}
		if schema.IsEntity(row.ID()) {
			seen["entity"]++
		} else if live.Started != nil && live.Parent == nil && !live.Started.Generation.Set {
			seen["continued"]++
		}
		control := info.Names.ControlQueue(schema.Partition(row.ID(), info.PartitionCount))
		if row.Status() == schema.StatusPending {
			messages[control]++
			if row.ScheduledStartTime.Value <= info.Finished {
				t.Errorf("%s was due at %s", part.PartitionKey, row.ScheduledStartTime.Value)
			}
		}
		for _, open := range live.Open {
			seen["open "+string(open.Kind)]++
			switch open.Kind {
			case replay.OpenActivity:
				messages[info.Names.WorkItemQueue()]++
			case replay.OpenTimer:
				messages[control]++
				if delay := open.FireAt.Time().Sub(open.Since.Time()); open.FireAt <= info.Finished || delay > hub.MaxMessageDelay {
					t.Errorf("%s: timer of %s, due %s", part.PartitionKey, open.Since, open.FireAt)
				}
			case replay.OpenSubOrchestration:
			default:
				t.Errorf("%s has an open %s", part.PartitionKey, open.Kind)
			}
		}
	}
	for _, want := range []string{
		"Completed", "Failed", "Terminated", "Running", "Pending", "Suspended", "child", "entity", "continued",
		"open activity", "open timer", "open sub_orchestration",
	} {
		if seen[want] == 0 {
			t.Errorf("nothing is %s: %v", want, seen)
		}
	}
	queues, err := r.Queues(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]int64)
	for _, q := range queues {
		if q.ApproximateCount > 0 {
			counts[q.Name] = q.ApproximateCount
		}
	}
	if diff := cmp.Diff(messages, counts); diff != "" || len(queues) != info.PartitionCount+1 {
		t.Errorf("%d queues, messages (-needed +there):\n%s", len(queues), diff)
	}
}

// checkTimes compares the last of some rows with the ones before. Rows of an
// episode are written by the time that it is stored; what a message says took
// place before the episode began.
func checkTimes(t *testing.T, rows []schema.Row) {
	t.Helper()
	row := &rows[len(rows)-1]
	at, _ := row.Get("_Timestamp").Time()
	eventID, _ := row.Get("EventId").Int()
	if row.IsSentinel() {
		at, _ = row.Get("CheckpointCompletedTimestamp").Time()
	}
	if at >= row.Timestamp || len(rows) > 1 && row.Timestamp <= rows[len(rows)-2].Timestamp {
		t.Errorf("%s/%s of %s is stored at %s", row.PartitionKey, row.RowKey, at, row.Timestamp)
	}
	kind := row.Get("EventType").String()
	for i := len(rows) - 2; i >= 0; i-- {
		before, _ := rows[i].Get("_Timestamp").Time()
		switch start := rows[i].Get("EventType").String() == "OrchestratorStarted"; {
		case eventID >= 0 && at <= before, kind == "OrchestratorStarted" && at <= before, start && kind == "TimerFired" && at >= before:
			t.Errorf("%s: %s of %s comes after %s of %s", row.PartitionKey, kind, at, rows[i].Get("EventType"), before)
		case start && kind == "TimerFired":
			due, _ := row.Get("FireAt").Time()
			if early := due.Time().Sub(before.Time()).Seconds(); early <= 0 || early > 1 {
				t.Errorf("%s: the timer for %s has fired at %s", row.PartitionKey, due, before)
			}
			return
		case start && strings.HasSuffix(kind, "Completed") && eventID == -1 && kind != "OrchestratorCompleted" && at >= before:
			t.Errorf("%s: %s of %s is in the episode of %s", row.PartitionKey, kind, at, before)
		case start:
			return
		}
	}
}

// TestGeneratedVerify verifies a generated hub: nothing is found.
func TestGeneratedVerify(t *testing.T) {
	r := generate(t, 5000)
	found, summary := verify.Hub(t.Context(), r, verify.Options{})
	for f, err := range found {
		if err != nil {
			t.Fatal(err)
		}
		t.Errorf("%+v", f)
	}
	if summary.Instances < 200 || summary.HistoryRows < 4500 {
		t.Errorf("%d instances with %d rows were verified", summary.Instances, summary.HistoryRows)
	}
}

// TestGeneratedShapes compares the columns of generated rows, and their types, by
// kind of row with those of recordings.
func TestGeneratedShapes(t *testing.T) {
	recorded := make(map[string]bool)
	for _, name := range []string{"functions-3", "dtfx-2.9.1", "dtfx-2.9.1-bulk", "dtfx-2.9.1-live"} {
		shapes(t, testhub.OpenHub(t, name), recorded)
	}
	made := make(map[string]bool)
	shapes(t, generate(t, 5000), made)
	for _, shape := range slices.Sorted(maps.Keys(made)) {
		if !recorded[shape] {
			t.Errorf("never recorded: %s", shape)
		}
	}
	if len(made) < 20 {
		t.Errorf("%d shapes: %v", len(made), made)
	}
}

func shapes(t *testing.T, r hub.Reader, seen map[string]bool) {
	t.Helper()
	for _, table := range hub.Tables {
		for row, err := range r.Rows(t.Context(), table, hub.Keys{}) {
			if err != nil {
				t.Fatal(err)
			}
			columns := []string{table.String(), row.Get("EventType").String(), row.Get("RuntimeStatus").String(), row.Get("OrchestrationStatus").String()}
			row.SortProperties()
			for _, p := range row.Properties {
				columns = append(columns, p.Name+":"+p.Value.Type().String())
			}
			if row.IsSentinel() {
				columns[1] = schema.SentinelRowKey
			}
			seen[strings.Join(columns, " ")] = true
		}
	}
}
