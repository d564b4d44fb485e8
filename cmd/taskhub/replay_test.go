package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// printedReplay is what the tests look at of a line of replay --json.
type printedReplay struct {
	Type          string
	InstanceID    string  `json:"instance_id"`
	ExecutionID   *string `json:"execution_id"`
	RuntimeStatus string  `json:"runtime_status"`
	Output        *string
	Created       *string `json:"created_time"`
	Completed     *string `json:"completed_time"`
	LastUpdated   *string `json:"last_updated_time"`
	Pending       struct {
		Activities, Timers, Events []any
		SubOrchestrations          []any `json:"sub_orchestrations"`
	}
	Differences []struct{ Column string }
}

func replayAll(t *testing.T, code int, args ...string) []printedReplay {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if got := run(t.Context(), append([]string{"taskhub", "replay", "--json"}, args...), &stdout, &stderr); got != code {
		t.Fatalf("taskhub replay %q: exit code %d, want %d: %s", args, got, code, &stderr)
	}
	var all []printedReplay
	for line := range bytes.Lines(stdout.Bytes()) {
		var r printedReplay
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		if r.Type != "replay" {
			t.Fatalf("a line of type %q", r.Type)
		}
		all = append(all, r)
	}
	return all
}

// staleRows are the instances whose row the framework had not written when the
// hub was recorded, so that what it told was older than the history. The columns
// are those that have to differ.
var staleRows = map[string]map[string][]string{
	// The worker was killed between the checkpoint of the history and the row.
	"dtfx-2.9.1-crashed": {"inflight-07": {"LastUpdatedTime"}},
	// It was killed between two batches of one checkpoint.
	"dtfx-2.9.1-torn": {"wide-5": {"LastUpdatedTime", "RuntimeStatus"}},
}

// repairedRow is an instance whose last checkpoint could not be written to the row
// and was repaired from history, so that both have the same time.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:711-746.
const repairedRow = "big-status"

// Replaying each recorded hub tells of every instance what the framework told.
func TestRecordedReplays(t *testing.T) {
	tested := 0
	for _, rec := range testhub.Recordings {
		state := testhub.Recorded(t, rec.Name, "state.json")
		if state == nil {
			continue
		}
		t.Run(rec.Name, func(t *testing.T) {
			var all []recordedState
			if err := json.Unmarshal(state, &all); err != nil {
				t.Fatal(err)
			}
			states := make(map[string]*recordedState)
			for i := range all {
				states[all[i].InstanceID] = &all[i]
			}
			known := 0
			for _, got := range replayAll(t, exitDone, "--snapshot", testhub.HubFile(t, rec.Name), "--all") {
				want := states[got.InstanceID]
				if want == nil {
					checkRowless(t, rec.Name, &got)
					continue
				}
				known++
				compareReplay(t, &got, want, staleRows[rec.Name][got.InstanceID])
			}
			tested += known
			if want := len(all); rec.Names.TrackingPrefix == "" && known != want || rec.Names.TrackingPrefix != "" && known != want/2 {
				t.Errorf("%d of the %d instances that the framework told of", known, want)
			}
		})
	}
	if tested < 900 {
		t.Errorf("%d instances tested, want at least 900", tested)
	}
}

// checkRowless checks an instance that the framework does not list: it goes by
// rows of the Instances table, and a sub-orchestration can have none yet.
func checkRowless(t *testing.T, hub string, got *printedReplay) {
	t.Helper()
	rowless := []string{"children-0:30", "children-0:38"}
	if hub != "dtfx-2.9.1-odd" || !slices.Contains(rowless, got.InstanceID) || got.RuntimeStatus != "Running" {
		t.Errorf("%q is %s, and the framework does not know it", got.InstanceID, got.RuntimeStatus)
	}
}

func compareReplay(t *testing.T, got *printedReplay, want *recordedState, stale []string) {
	t.Helper()
	id := want.InstanceID
	var columns []string
	for _, d := range got.Differences {
		columns = append(columns, d.Column)
	}
	if diff := cmp.Diff(stale, columns); diff != "" {
		t.Errorf("%q: columns that differ (-want +got):\n%s", id, diff)
	}
	if !slices.Contains(stale, "RuntimeStatus") && got.RuntimeStatus != want.Status {
		t.Errorf("%q: status %s, the framework told %s", id, got.RuntimeStatus, want.Status)
	}
	if diff := cmp.Diff(want.ExecutionID, got.ExecutionID); diff != "" {
		t.Errorf("%q: execution (-framework +replay):\n%s", id, diff)
	}
	if diff := cmp.Diff(want.Output, got.Output); diff != "" {
		t.Errorf("%q: output (-framework +replay):\n%s", id, diff)
	}
	if at := ticksOf(t, got.Created); at != ticksOf(t, &want.CreatedTime) {
		t.Errorf("%q: created %v, the framework told %s", id, at, want.CreatedTime)
	}
	if at := ticksOf(t, got.LastUpdated); !slices.Contains(stale, "LastUpdatedTime") && at != ticksOf(t, &want.LastUpdatedTime) {
		t.Errorf("%q: last updated %v, the framework told %s", id, at, want.LastUpdatedTime)
	}
	// The row has the time at which the checkpoint was written, and the event
	// the one at which the orchestrator ended.
	row, event := ticksOf(t, &want.CompletedTime), ticksOf(t, got.Completed)
	late := row.Time().Sub(event.Time())
	if (row == 0) != (event == 0) || row != 0 && (late < 0 || late == 0 && id != repairedRow || late > 2*time.Second) {
		t.Errorf("%q: completed %v, the framework told %s", id, event, want.CompletedTime)
	}
	tasks, children, timers := openWork(t, want.History)
	if len(got.Pending.Activities) != tasks || len(got.Pending.SubOrchestrations) != children || len(got.Pending.Timers) != timers {
		t.Errorf("%q: %d activities, %d sub-orchestrations, %d timers are open, by the framework's history %d, %d, %d", id,
			len(got.Pending.Activities), len(got.Pending.SubOrchestrations), len(got.Pending.Timers), tasks, children, timers)
	}
}

func ticksOf(t *testing.T, s *string) schema.Ticks {
	t.Helper()
	if s == nil || strings.HasPrefix(*s, "0001-01-01T00:00:00") {
		return 0
	}
	v, err := schema.ParseTicks(*s)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// openWork counts what has no answer in the history that the framework told.
// What was rewound is a GenericEvent there.
func openWork(t *testing.T, history []json.RawMessage) (tasks, children, timers int) {
	t.Helper()
	open := make(map[int]int)
	for _, text := range history {
		var e struct{ EventType, EventId, TaskScheduledId, TimerId int }
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatal(err)
		}
		switch e.EventType {
		case 4, 7, 10: // TaskScheduled, SubOrchestrationInstanceCreated, TimerCreated
			open[e.EventId] = e.EventType
		case 5, 6, 8, 9: // their results
			delete(open, e.TaskScheduledId)
		case 11: // TimerFired
			delete(open, e.TimerId)
		}
	}
	for _, kind := range open {
		switch kind {
		case 4:
			tasks++
		case 7:
			children++
		case 10:
			timers++
		}
	}
	return tasks, children, timers
}

// Filters choose the instances that get-instances lists with the same options.
func TestReplayFilters(t *testing.T) {
	for _, rec := range []string{"dtfx-2.9.1-crashed", "functions-3"} {
		hub := testhub.HubFile(t, rec)
		for _, filter := range [][]string{
			{"--runtime-status", "failed", "pending"},
			{"--name", "HelloSequence", "--name", "@counter@c1"},
			{"--id-prefix", "parent"},
			{"--id-prefix", "@"},
			{"--no-entities"},
			{"--created-after", "2026-11-22T04:08:57Z"},
			{"--created-before", "2026-11-22T04:08:51Z", "--runtime-status", "completed"},
			{"--all", "--id-prefix", "nothing"},
		} {
			want := []string{}
			args := slices.DeleteFunc(slices.Clone(filter), func(a string) bool { return a == "--all" })
			lines := taskhub(t, exitDone, append([]string{"get-instances", "--snapshot", hub, "--top", "1000", "--json"}, args...)...)
			for line := range bytes.Lines(lines) {
				var v struct {
					Type                  string
					OrchestrationInstance struct{ InstanceId string }
				}
				if err := json.Unmarshal(line, &v); err != nil {
					t.Fatal(err)
				}
				if v.Type == "instance" {
					want = append(want, v.OrchestrationInstance.InstanceId)
				}
			}
			got := []string{}
			for _, r := range replayAll(t, exitDone, append([]string{"--snapshot", hub}, filter...)...) {
				got = append(got, r.InstanceID)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s %q (-get-instances +replay):\n%s", rec, filter, diff)
			}
		}
	}
}

// A damaged row is told and counted, and the rest of it is used.
func TestReplayDamaged(t *testing.T) {
	r := testhub.OpenHub(t, "dtfx-2.9.1")
	path := filepath.Join(t.TempDir(), "damaged.taskhub")
	copyHub(t, r, path, func(table hub.Table, row *schema.Row) {
		switch {
		case row.PartitionKey == "hello" && table == hub.Instances:
			row.Set("CreatedTime", schema.String("yesterday"))
		case row.PartitionKey == "hello" && row.RowKey == schema.FormatSequence(3):
			row.Set("EventId", schema.Int64(7))
		}
	})
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"taskhub", "replay", "--snapshot", path, "--id", "hello", "--json"}, &stdout, &stderr)
	if code != exitSkipped {
		t.Errorf("exit code %d, want %d", code, exitSkipped)
	}
	for _, want := range []string{"hello/.CreatedTime", schema.FormatSequence(3), "2 items could not be read"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("no %q in %s", want, &stderr)
		}
	}
	var got printedReplay
	if err := json.Unmarshal(stdout.Bytes(), &got); err != nil || got.RuntimeStatus != "Completed" {
		t.Errorf("%v; %s", err, &stdout)
	}
}

// copyHub writes the tables of a hub to a capture, each row changed by change.
func copyHub(t *testing.T, r hub.Reader, path string, change func(hub.Table, *schema.Row)) {
	t.Helper()
	info, err := r.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w, err := snapshot.Create(path, snapshot.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range info.Tables {
		tw, err := w.Table(table.Table, table.Name)
		if err != nil {
			t.Fatal(err)
		}
		for row, err := range r.Rows(t.Context(), table.Table, hub.Keys{}) {
			if err != nil {
				t.Fatal(err)
			}
			row = row.Clone()
			change(table.Table, &row)
			if err := tw.Append(&row); err != nil {
				t.Fatal(err)
			}
		}
		if err := tw.Close(table.Started, table.Finished); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(info); err != nil {
		t.Fatal(err)
	}
}

func TestReplayJSONDocument(t *testing.T) {
	doc := documented(t)
	for kind, v := range map[string]any{
		"replay": replayLine{}, "timeline-event": timelineEvent{}, "timeline-instance": timelineInstance{}, "timeline": timelineReport{},
	} {
		if diff := cmp.Diff(structFields(reflect.TypeOf(v), ""), doc[kind]); diff != "" {
			t.Errorf("docs/json.md, %s (-program +document):\n%s", kind, diff)
		}
	}
}

// Replaying a hub in an account gives what replaying its capture gives, and
// changes nothing there.
func TestLiveReplay(t *testing.T) {
	for _, rec := range testhub.Recordings {
		if !slices.Contains([]string{"dtfx-2.9.1-purge-damaged", "functions-3", "shared-tracking-TrackA"}, rec.Name) {
			continue
		}
		t.Run(rec.Name, func(t *testing.T) {
			emulator := testhub.Azurite(t)
			testhub.Load(t, emulator, testhub.ContentOf(t, testhub.OpenHub(t, rec.Name)))
			clearSettings(t)
			proxy := testhub.NewProxy(t, emulator)
			t.Setenv(connectionVariable, proxy.ConnectionString())
			for _, options := range [][]string{
				{"--all", "--json"},
				{"--all"},
				{"--id", "parent-1"},
				{"--id", "ecall-1", "--timeline"},
				{"--id", "nobody", "--json"},
			} {
				live := taskhubRun(t, slices.Concat([]string{"replay"}, hubOptions(rec.Names), options)...)
				offline := taskhubRun(t, slices.Concat([]string{"replay", "--snapshot", testhub.HubFile(t, rec.Name)}, options)...)
				if diff := cmp.Diff(offline.stdout, live.stdout); diff != "" || live.code != offline.code || lines(live.stderr) != lines(offline.stderr) {
					t.Errorf("taskhub replay %q: exit codes %d and %d, stderr %s and %s (-capture +account):\n%.4000s",
						options, offline.code, live.code, offline.stderr, live.stderr, diff)
				}
			}
			if sent := proxy.Mutating(); len(sent) > 0 || len(proxy.Requests()) == 0 {
				t.Errorf("%d requests, of which these could change the account: %q", len(proxy.Requests()), sent)
			}
		})
	}
}

func TestReplayNoHub(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.taskhub")
	w, err := snapshot.Create(path, snapshot.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(hub.Info{Names: hub.Names{TaskHub: "None"}}); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"--all"}, {"--id", "a"}, {"--id", "a", "--timeline"}} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append([]string{"taskhub", "replay", "--snapshot", path}, args...), &stdout, &stderr)
		if want := "taskhub: hub \"None\": not found\n"; code != exitNotFound || stdout.Len() > 0 || stderr.String() != want {
			t.Errorf("taskhub replay %q: exit code %d, want %d; stdout %q, stderr %q, want %q", args, code, exitNotFound, &stdout, &stderr, want)
		}
	}
}
