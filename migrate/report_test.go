package migrate_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
)

// ticking is a clock that goes on by 10 ms each time that somebody looks.
func ticking(from time.Time) func() time.Time {
	ticks := make(chan time.Time, 1)
	ticks <- from
	return func() time.Time {
		now := <-ticks
		ticks <- now.Add(10 * time.Millisecond)
		return now
	}
}

// members returns the names in a JSON object, those of objects in it with a point
// before them; of an array, those of its first element.
func members(v any) []string {
	var all []string
	switch v := v.(type) {
	case []any:
		if len(v) > 0 {
			all = members(v[0])
		}
	case map[string]any:
		for name, value := range v {
			all = append(all, name)
			for _, inner := range members(value) {
				all = append(all, name+"."+inner)
			}
		}
	}
	slices.Sort(all)
	return all
}

func TestReportJSON(t *testing.T) {
	from := small(t)
	opts := killing(t, from, new(journalFile))
	opts.Now = ticking(from.Started.Time())
	to := newMemoryTarget(elsewhere, opts.Now)
	report, err := migrate.Run(t.Context(), from, to, opts)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(`
		already_done blob_bytes blobs cut_off differences finished lost
		message_digest message_digest.items message_digest.sha256 messages messages_hidden messages_left
		pending pending.count pending.kind pending.origin
		phases phases.bytes phases.items phases.items_before phases.phase phases.started phases.took_ms plan_sha256
		queues queues.messages queues.messages_seen queues.name resumed
		rows rows.history rows.instances rows.partitions rows_rewritten
		source source.account source.captured source.partition_count source.task_hub
		source_digests source_digests.history source_digests.history.items source_digests.history.sha256
		source_digests.instances source_digests.instances.items source_digests.instances.sha256
		source_digests.large_messages source_digests.large_messages.items source_digests.large_messages.sha256
		started
		target target.account target.partition_count target.partition_manager target.task_hub
		target_digests target_digests.history target_digests.history.items target_digests.history.sha256
		target_digests.instances target_digests.instances.items target_digests.instances.sha256
		target_digests.large_messages target_digests.large_messages.items target_digests.large_messages.sha256
		target_digests.partitions target_digests.partitions.items target_digests.partitions.sha256
		took_ms type unreadable`)
	if diff := cmp.Diff(want, members(got)); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	c := &from.Content
	messages := 0
	for _, q := range to.queues {
		messages += len(q)
	}
	for path, want := range map[string]any{
		"type": "migration", "started": from.Started.String(), "source.task_hub": "CrashHub", "source.partition_count": 4.0,
		"source.captured": from.Started.String(), "target.task_hub": "Elsewhere", "target.partition_count": 3.0,
		"target.account": "elsewhere", "target.partition_manager": "table", "resumed": false, "already_done": false,
		"rows.history": float64(len(c.Tables[hub.History])), "rows.instances": float64(len(c.Tables[hub.Instances])), "rows.partitions": 3.0,
		"rows_rewritten": float64(len(c.Tables[hub.Instances])), "blobs": float64(len(c.Blobs)), "messages": float64(messages), "lost": 0.0,
		"target_digests.partitions.items": 3.0, "source_digests.history.items": float64(len(c.Tables[hub.History])),
	} {
		value := any(got)
		for name := range strings.SplitSeq(path, ".") {
			object, _ := value.(map[string]any)
			value = object[name]
		}
		if !cmp.Equal(value, want) {
			t.Errorf("%s is %v, want %v", path, value, want)
		}
	}
	if got["took_ms"] == 0.0 {
		t.Error("it took no time")
	}
}

// Counts of a run that goes on are those of both runs, and each phase says what
// was done before.
func TestReportResumed(t *testing.T) {
	from := small(t)
	now := from.Started.Time()
	f, to := new(journalFile), newMemoryTarget(elsewhere, func() time.Time { return now })
	until(t, from, to, f, "CreateQueue")
	opts := killing(t, from, f)
	opts.Resume = true
	report, err := migrate.Run(t.Context(), from, to, opts)
	if err != nil {
		t.Fatal(err)
	}
	history := int64(len(from.Content.Tables[hub.History]))
	if !report.Resumed || report.AlreadyDone || report.Rows[hub.History] != history || report.Blobs != int64(len(from.Content.Blobs)) {
		t.Errorf("the report is %+v", report)
	}
	for _, p := range report.Phases {
		if p.Phase == migrate.PhaseHistory && (p.Items != history || p.ItemsBefore != history) {
			t.Errorf("of %d rows %d were written before, want %d", p.Items, p.ItemsBefore, history)
		}
	}
}

// Each phase says from the beginning how much there is to do, and comes to its end.
func TestRunProgress(t *testing.T) {
	for _, name := range []string{"dtfx-2.9.1-crashed", "functions-3-after-write"} {
		t.Run(name, func(t *testing.T) {
			from := testhub.OpenHub(t, name)
			opts := moving(t, from, "http://127.0.0.1:1/account")
			last := make(map[migrate.Phase]migrate.Progress)
			var order []migrate.Phase
			opts.OnProgress = func(p migrate.Progress) {
				before, ok := last[p.Phase]
				switch {
				case !ok:
					order = append(order, p.Phase)
					if p.Items != 0 && p.Phase != migrate.PhasePlan {
						t.Errorf("%s begins with %d items", p.Phase, p.Items)
					}
				case p.Items < before.Items || p.Bytes < before.Bytes || p.Total != before.Total:
					t.Errorf("after %+v comes %+v", before, p)
				}
				last[p.Phase] = p
			}
			report, err := migrate.Run(t.Context(), from, newMemoryTarget(elsewhere, opts.Now), opts)
			if err != nil {
				t.Fatal(err)
			}
			want := []migrate.Phase{
				migrate.PhaseBlobs, migrate.PhaseHistory, migrate.PhaseRows, migrate.PhaseLeases, migrate.PhaseCheck, migrate.PhaseMessages,
			}
			if diff := cmp.Diff(want, slices.DeleteFunc(order, func(p migrate.Phase) bool { return p == migrate.PhasePlan })); diff != "" {
				t.Errorf("phases (-want +got):\n%s", diff)
			}
			for _, phase := range want {
				if p := last[phase]; p.Total < 1 || p.Items != p.Total || p.Bytes == 0 {
					t.Errorf("the last of %s is %+v", phase, p)
				}
			}
			if p := last[migrate.PhaseHistory]; p.Items != report.Rows[hub.History] {
				t.Errorf("%d rows of History, want %d", p.Items, report.Rows[hub.History])
			}
		})
	}
}

// A run that fails says how far it was.
func TestReportOfFailure(t *testing.T) {
	from := small(t)
	opts := killing(t, from, new(journalFile))
	to := newMemoryTarget(elsewhere, opts.Now)
	failed := errors.New("no more")
	to.before = func(method, what string) error {
		if method == "PutRows" && what == hub.Instances.String() {
			return failed
		}
		return nil
	}
	report, err := migrate.Run(t.Context(), from, to, opts)
	if !errors.Is(err, failed) {
		t.Fatalf("Run = %v", err)
	}
	phases := make(map[migrate.Phase]int64)
	for _, p := range report.Phases {
		phases[p.Phase] = p.Items
	}
	want := []migrate.Phase{migrate.PhaseBlobs, migrate.PhaseHistory, migrate.PhaseRows, migrate.PhasePlan}
	if diff := cmp.Diff(want, slices.SortedFunc(maps.Keys(phases), func(a, b migrate.Phase) int {
		return strings.Compare(string(a), string(b))
	})); diff != "" {
		t.Errorf("phases (-want +got):\n%s", diff)
	}
	if report.Rows[hub.History] != int64(len(from.Content.Tables[hub.History])) || report.Rows[hub.Instances] != 0 {
		t.Errorf("rows are %v", report.Rows)
	}
	if text, err := json.Marshal(report); err != nil || strings.Contains(string(text), fmt.Sprintf("%q", "message_digest")) {
		t.Errorf("the report is %s, %v", text, err)
	}
}
