package repair_test

import (
	"bytes"
	"encoding/json"
	"fmt"
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
	"github.com/taskhub-tools/taskhub/repair"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/verify"
)

// expectation is what the file beside a damaged hub says.
type expectation struct {
	DerivedFrom string `json:"derived_from"`
	Base        string `json:"base"`
	Undamaged   bool   `json:"undamaged"`
	Findings    []struct {
		Code     string          `json:"code"`
		Severity verify.Severity `json:"severity"`
	} `json:"findings"`
}

// has reports whether the hub has a finding with a code.
func (e *expectation) has(code string) bool {
	for _, f := range e.Findings {
		if f.Code == code {
			return true
		}
	}
	return false
}

// damaged is one of the hubs under testdata/damaged.
type damaged struct {
	expectation
	name string
	r    *snapshot.Reader
	at   time.Time // when it was recorded
}

func openDamaged(t testing.TB, name string) *damaged {
	t.Helper()
	d := &damaged{name: name}
	text, err := os.ReadFile(testhub.Testdata(t, "damaged", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &d.expectation); err != nil {
		t.Fatal(err)
	}
	if d.r, err = snapshot.Open(testhub.Testdata(t, "damaged", name+".taskhub"), snapshot.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.r.Close(); err != nil {
			t.Error(err)
		}
	})
	info, err := d.r.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d.at = info.Finished.Time()
	return d
}

func damagedNames(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob(testhub.Testdata(t, "damaged", "*.taskhub"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d damaged hubs, %v", len(paths), err)
	}
	var names []string
	for _, path := range paths {
		names = append(names, strings.TrimSuffix(filepath.Base(path), ".taskhub"))
	}
	return names
}

func (d *damaged) now() time.Time { return d.at }

// plan makes the plan of the capture.
func (d *damaged) plan(t testing.TB) *repair.File {
	t.Helper()
	f, err := repair.Plan(t.Context(), d.r, repair.Options{Now: d.now})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// edit returns the hub as one that can be changed.
func (d *damaged) edit(t testing.TB) *testhub.Editor {
	t.Helper()
	return editorOf(testhub.ContentOf(t, d.r), d.now)
}

func editorOf(c hubtest.Content, now func() time.Time) *testhub.Editor {
	e := testhub.NewEditor(c)
	e.Now = now
	// The addresses in its rows begin so.
	for _, row := range c.Tables[hub.Instances] {
		for _, column := range []string{"Input", "Output"} {
			text, _ := row.Get(column).Text()
			if i := strings.Index(text, "/"+c.Account+"/"+c.Names.LargeMessages()); i > 0 {
				e.Endpoint = text[:i] + "/" + c.Account
			}
		}
	}
	return e
}

// undo is where a run keeps what takes it back. It can fail like a disk.
type undo struct {
	bytes.Buffer
	lines int
	// failAt is the number of the Write that fails after a part of it was written; 0
	// means none.
	failAt int
}

func (u *undo) Write(p []byte) (int, error) {
	if u.lines++; u.lines == u.failAt {
		n, _ := u.Buffer.Write(p[:len(p)/2])
		return n, errKilled
	}
	return u.Buffer.Write(p)
}

var errKilled = fmt.Errorf("killed")

func (u *undo) journal(t testing.TB, f *repair.File) *repair.Journal {
	t.Helper()
	var earlier *bytes.Reader
	if u.Len() > 0 {
		earlier = bytes.NewReader(slices.Clone(u.Bytes()))
		j, err := repair.OpenJournal(f, earlier, u)
		if err != nil {
			t.Fatal(err)
		}
		return j
	}
	j, err := repair.OpenJournal(f, nil, u)
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func (u *undo) file(t testing.TB) *repair.File {
	t.Helper()
	f, err := repair.ParseFile(bytes.NewReader(u.Bytes()))
	if err != nil {
		t.Fatalf("%v in\n%s", err, u)
	}
	return f
}

// apply carries a file out, also where a worker has just died.
func apply(t testing.TB, e *testhub.Editor, f *repair.File, u *undo) (*repair.Report, error) {
	t.Helper()
	return repair.Apply(t.Context(), e, e, f, repair.ApplyOptions{Journal: u.journal(t, f), Remover: e, Now: e.Now, Force: true})
}

func mustApply(t testing.TB, e *testhub.Editor, f *repair.File, u *undo) *repair.Report {
	t.Helper()
	r, err := apply(t, e, f, u)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// findings lists what verify says of a hub, from warnings on.
func findings(t testing.TB, r hub.Reader, now func() time.Time) []string {
	t.Helper()
	var all []string
	found, _ := verify.Hub(t.Context(), r, verify.Options{Now: now, ReadBlobs: true, MinSeverity: verify.Warning})
	for f, err := range found {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s %s %s", f.Severity, f.Code, f.InstanceID))
	}
	slices.Sort(all)
	return all
}

// messages lists the bodies of all queues, with the number of those that are hidden.
func messages(c hubtest.Content) []string {
	var all []string
	for _, q := range c.Queues {
		for _, m := range q.Messages {
			all = append(all, q.Name+" "+m.Text)
		}
		if n := q.ApproximateCount - int64(len(q.Messages)); n > 0 {
			all = append(all, fmt.Sprintf("%s hides %d", q.Name, n))
		}
	}
	slices.Sort(all)
	return all
}

func blobs(c hubtest.Content) []string {
	var all []string
	for _, b := range c.Blobs {
		all = append(all, fmt.Sprintf("%s/%s %x", b.Container, b.Name, b.Data))
	}
	slices.Sort(all)
	return all
}

// sameHub reports where two hubs differ in rows, messages and payloads.
func sameHub(t testing.TB, what string, want, got hubtest.Content) {
	t.Helper()
	if d := testhub.RowDiff(want, got); len(d) > 0 {
		t.Errorf("%s: rows differ:\n%s", what, strings.Join(d, "\n"))
	}
	if d := cmp.Diff(messages(want), messages(got)); d != "" {
		t.Errorf("%s: messages (-want +got):\n%s", what, d)
	}
	if d := cmp.Diff(blobs(want), blobs(got)); d != "" {
		t.Errorf("%s: blobs (-want +got):\n%s", what, d)
	}
}

// mends is what the plan for each damaged hub must do, and what is then still
// unlike the hub that the defect was made in.
type mends struct {
	// repairs says, as "INSTANCE CODE rows/messages/removals", what is planned.
	repairs []string
	// differs are the rows that are not those of the base, but for times that only
	// the worker knew.
	differs []string
	// sends, if not zero, is the type of the message that is made again, and lost
	// where it was: it is compared with the one that was recorded.
	sends schema.EventType
	lost  string // QUEUE of the recording
	// hidden says that the message is due later, so that nobody can take it back.
	hidden bool
}

var mended = map[string]mends{
	"blob-foreign-url":           {repairs: []string{"large-in blob-foreign-url 1/0/0"}},
	"blob-foreign-url-container": {repairs: []string{"large-in blob-foreign-url 1/0/0"}},
	"status-drift-execution":     {repairs: []string{"hello status-drift 1/0/0"}},
	"status-drift-output":        {repairs: []string{"hello status-drift 1/0/0"}},
	"status-drift-status":        {repairs: []string{"hello status-drift 1/0/0"}},
	"status-drift-time":          {repairs: []string{"suspended status-drift 1/0/0"}},
	"sentinel-mismatch":          {repairs: []string{"wait-event sentinel-mismatch 1/0/0"}},
	"sentinel-missing": {
		repairs: []string{"wait-event sentinel-missing 1/0/0"},
		// The worker's clock at the end of the checkpoint is later than the last
		// event, and nothing else holds it.
		differs: []string{"wait-event/sentinel CheckpointCompletedTimestamp: 2026-11-22T04:07:21.7795989Z -> 2026-11-22T04:07:21.7794053Z"},
	},
	"sentinel-missing-ended": {
		repairs: []string{"hello sentinel-missing 1/0/0"},
		differs: []string{"hello/sentinel CheckpointCompletedTimestamp: 2026-11-22T04:07:16.4948951Z -> 2026-11-22T04:07:16.4948805Z"},
	},
	"rewind-residue": {
		repairs: []string{"rewindable rewind-residue 3/1/0"},
		differs: []string{
			"rewindable/ LastUpdatedTime", "rewindable/ RuntimeStatus: Failed -> Pending",
			"rewindable/0000000000000006 EventType: TaskScheduled -> GenericEvent",
			"rewindable/0000000000000006 Reason: absent -> Rewound: TaskScheduled",
			"rewindable/0000000000000009 EventType: TaskFailed -> GenericEvent",
			"rewindable/0000000000000009 Reason: gate closed for rewindable -> Rewound: TaskFailed",
			"rewindable/000000000000000A EventType: ExecutionCompleted -> GenericEvent",
			"rewindable/000000000000000A Reason: absent -> Rewound: ExecutionCompleted",
		},
	},
	"rewind-residue-row": {
		repairs: []string{"rewindable rewind-residue 1/1/0"},
		differs: []string{
			"rewindable/ LastUpdatedTime", "rewindable/ RuntimeStatus: Failed -> Pending",
			"rewindable/0000000000000006 EventType: TaskScheduled -> GenericEvent",
			"rewindable/0000000000000006 Reason: absent -> Rewound: TaskScheduled",
			"rewindable/0000000000000009 EventType: TaskFailed -> GenericEvent",
			"rewindable/0000000000000009 Reason: gate closed for rewindable -> Rewound: TaskFailed",
			"rewindable/000000000000000A EventType: ExecutionCompleted -> GenericEvent",
			"rewindable/000000000000000A Reason: absent -> Rewound: ExecutionCompleted",
		},
	},
	"rewind-residue-no-message":       {repairs: []string{"failing-1 rewind-residue 0/1/0"}},
	"pending-without-start":           {repairs: []string{"backlog-005 pending-without-start 0/1/0"}, sends: schema.TypeExecutionStarted, lost: "backlog-control-00"},
	"pending-without-start-restarted": {repairs: []string{"hello-1 pending-without-start 0/1/0"}, sends: schema.TypeExecutionStarted, lost: "funclab-control-01"},
	"pending-without-start-scheduled": {repairs: []string{"scheduled pending-without-start 0/1/0"}, sends: schema.TypeExecutionStarted, lost: "labhub-control-00", hidden: true},
	"lost-work-timer":                 {repairs: []string{"approval lost-work 0/1/0"}, sends: schema.TypeTimerFired, lost: "labhub-control-02", hidden: true},
	"message-wrong-partition":         {repairs: []string{"backlog-005 message-wrong-partition 0/1/1"}},
	"entity-lock-orphan":              {repairs: []string{"@counter@locked entity-lock-orphan 0/1/0"}, differs: []string{"eholder"}},
	"entity-lock-orphan-released":     {repairs: []string{"@counter@locked entity-lock-orphan 0/1/0"}},
	"entity-lock-orphan-ended":        {repairs: []string{"@counter@locked entity-lock-orphan 0/1/0"}, differs: []string{"eholder"}},
	"child-done-parent-waiting":       {repairs: []string{"parent child-done-parent-waiting 0/1/0"}},
	"lost-work-activity":              {repairs: []string{"inflight-00 lost-work 1/1/0"}, differs: []string{"inflight-00/0000000000000002 EventType: TaskScheduled -> GenericEvent", "inflight-00/0000000000000002 Reason: absent -> Rewound: TaskScheduled"}},
	"lost-work-sub-orchestration": {
		repairs: []string{"parent-waiting lost-work 1/1/0"},
		differs: []string{
			"parent-waiting/0000000000000002 EventType: SubOrchestrationInstanceCreated -> GenericEvent",
			"parent-waiting/0000000000000002 Reason: absent -> Rewound: SubOrchestrationInstanceCreated",
			"parent-waiting:wait", // was purged
		},
	},
}

// TestPlanDamaged plans for every damaged hub: what can be mended and nothing else.
func TestPlanDamaged(t *testing.T) {
	for _, name := range damagedNames(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := openDamaged(t, name)
			f := d.plan(t)
			var got []string
			for _, r := range f.Repairs {
				got = append(got, fmt.Sprintf("%s %s %d/%d/%d", r.InstanceID, strings.Join(r.Codes(), ","), len(r.Writes), len(r.Messages), len(r.Removals)))
				for _, code := range r.Codes() {
					if !d.has(code) {
						t.Errorf("a repair for %s, which is not there", code)
					}
				}
			}
			if diff := cmp.Diff(mended[name].repairs, got); diff != "" {
				t.Errorf("repairs (-want +got):\n%s", diff)
			}
			// What is not mended is named with a reason, unless it is mere evidence.
			left := 0
			for _, want := range d.Findings {
				if want.Severity != verify.Info && len(got) == 0 {
					left++
				}
			}
			if len(f.Left) != left || f.LeftItems != int64(left) {
				t.Errorf("%d findings left (%d counted), want %d: %v", len(f.Left), f.LeftItems, left, f.Left)
			}
			for _, l := range f.Left {
				if l.Reason == "" {
					t.Errorf("%s of %q is left without a reason", l.Code, l.InstanceID)
				}
			}
			var first, second bytes.Buffer
			if _, err := f.WriteTo(&first); err != nil {
				t.Fatal(err)
			}
			if _, err := d.plan(t).WriteTo(&second); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(first.String(), second.String()); diff != "" {
				t.Errorf("the same hub gives another plan (-first +second):\n%s", diff)
			}
			read, err := repair.ParseFile(bytes.NewReader(first.Bytes()))
			if err != nil {
				t.Fatal(err)
			}
			second.Reset()
			if _, err := read.WriteTo(&second); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(first.String(), second.String()); diff != "" {
				t.Errorf("the plan that was read is another one (-written +read):\n%s", diff)
			}
		})
	}
	for name := range mended {
		if !slices.Contains(damagedNames(t), name) {
			t.Errorf("there is no damaged hub %s", name)
		}
	}
}

// TestPlanUndamaged plans for what the framework has left: nothing is to be mended.
func TestPlanUndamaged(t *testing.T) {
	for _, rec := range testhub.Recordings {
		if rec.Name == "dtfx-2.9.1-bulk" && testing.Short() {
			continue
		}
		t.Run(rec.Name, func(t *testing.T) {
			t.Parallel()
			r := testhub.OpenHub(t, rec.Name)
			info, err := r.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			now := func() time.Time { return info.Finished.Time() }
			e := editorOf(testhub.ContentOf(t, r), now)
			for what, r := range map[string]hub.Reader{"capture": r, "live": e} {
				if rec.Uncounted && what == "live" {
					continue // an account knows how many messages are hidden
				}
				f, err := repair.Plan(t.Context(), r, repair.Options{Now: now})
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range f.Repairs {
					t.Errorf("%s: %s of %q: %v", what, strings.Join(r.Codes(), ", "), r.InstanceID, r.Does)
				}
			}
			if n := len(e.Edits()); n > 0 {
				t.Errorf("the plan has changed the hub: %v", e.Edits())
			}
		})
	}
}

// TestCodes checks that every check either has a repair or a reason not to have one.
func TestCodes(t *testing.T) {
	var codes []string
	for _, c := range verify.Checks() {
		codes = append(codes, c.Code)
		if (repair.Why(c.Code) == "") != slices.Contains(repair.Codes(), c.Code) {
			t.Errorf("%s: repaired %v, left because %q", c.Code, slices.Contains(repair.Codes(), c.Code), repair.Why(c.Code))
		}
	}
	for _, code := range repair.Codes() {
		if !slices.Contains(codes, code) {
			t.Errorf("there is no check %s", code)
		}
	}
	for name, m := range mended {
		if len(m.repairs) == 0 {
			t.Errorf("%s has no repairs", name)
		}
	}
}
