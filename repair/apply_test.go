package repair_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/repair"
	"github.com/taskhub-tools/taskhub/schema"
)

// TestApplyDamaged carries the plan of each damaged hub out: nothing is found there
// then, and its rows are those of the hub in which the defect was made, as far as
// storage tells. What takes it back gives the damaged hub.
func TestApplyDamaged(t *testing.T) {
	for name, want := range mended {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := openDamaged(t, name)
			f, e, u := d.plan(t), d.edit(t), new(undo)
			before := e.Content()
			r := mustApply(t, e, f, u)
			for i := range r.Results {
				if res := &r.Results[i]; res.Outcome != repair.Done {
					t.Errorf("%s: %s: %s", res.InstanceID, res.Outcome, res.Reason)
				}
			}
			if len(r.Still)+len(r.New) > 0 {
				t.Errorf("findings that are still there %v, and new ones %v", r.Still, r.New)
			}
			base := openDamaged(t, d.Base)
			if diff := cmp.Diff(findings(t, base.edit(t), d.now), findings(t, e, d.now)); diff != "" && !strings.HasPrefix(name, "lost-work-sub") {
				t.Errorf("findings (-base +repaired):\n%s", diff)
			}
			if got := findings(t, e, d.now); len(got) > 0 {
				t.Errorf("verify still finds %v", got)
			}
			for _, line := range testhub.RowDiff(base.edit(t).Content(), e.Content()) {
				if !slices.ContainsFunc(want.differs, func(p string) bool { return strings.HasPrefix(line, p) }) {
					t.Errorf("unlike the base: %s", line)
				}
			}
			if want.lost != "" {
				d.sameMessage(t, &want, e.Posted())
			}

			// Once more, it does nothing.
			edits := len(e.Edits())
			r = mustApply(t, e, f, u)
			for i := range r.Results {
				if res := &r.Results[i]; res.Outcome != repair.Already {
					t.Errorf("the second time: %s: %s: %s", res.InstanceID, res.Outcome, res.Reason)
				}
			}
			if r = mustApply(t, e, f, new(undo)); r.Count(repair.Already) != len(r.Results) {
				t.Errorf("with another undo file: %+v", r.Results)
			}
			if n := len(e.Edits()); n != edits {
				t.Errorf("the second time has changed the hub: %v", e.Edits()[edits:])
			}

			back, redo := u.file(t), new(undo)
			r = mustApply(t, e, back, redo)
			if want.hidden {
				if res := r.Results[0]; res.Outcome != repair.Skipped || !strings.Contains(res.Reason, "hidden until it is due") {
					t.Errorf("the undo of what is hidden: %+v", res)
				}
				return
			}
			sameHub(t, "undone", before, e.Content())
			edits = len(e.Edits())
			r = mustApply(t, e, back, redo)
			if n := len(e.Edits()); n != edits || r.Count(repair.Already) != len(r.Results) {
				t.Errorf("the second undo: %+v, changes %v", r.Results, e.Edits()[edits:])
			}
			after := e.Content()
			mustApply(t, e, redo.file(t), new(undo))
			if diff := testhub.RowDiff(after, e.Content()); len(f.Repairs[0].Writes) > 0 && len(diff) == 0 {
				t.Error("what takes the undo back changes no row")
			}
			if got := findings(t, e, d.now); len(got) > 0 {
				t.Errorf("when the undo was taken back, verify finds %v", got)
			}
		})
	}
}

// sameMessage compares the only message that was sent with the one that was lost, as
// it was recorded.
func (d *damaged) sameMessage(t *testing.T, want *mends, posted []testhub.Posted) {
	t.Helper()
	if len(posted) != 1 || posted[0].Queue != want.lost {
		t.Fatalf("messages %v, want one in %s", posted, want.lost)
	}
	decode := func(body string) schema.Message {
		text, _, err := schema.MessageText(body)
		if err != nil {
			t.Fatal(err)
		}
		m, err := schema.DecodeMessage(text, "test")
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	got := decode(posted[0].Text)
	id := got.TaskMessage.OrchestrationInstance
	for _, m := range testhub.RecordedMessages(t, d.DerivedFrom, want.lost) {
		lost := decode(m.Text)
		if lost.TaskMessage == nil || lost.TaskMessage.OrchestrationInstance != id || lost.TaskMessage.Event.Type() != want.sends {
			continue
		}
		lost.ActivityID, lost.SequenceNumber = got.ActivityID, got.SequenceNumber
		if want.sends == schema.TypeTimerFired {
			// It is made some microseconds before the row that creates the timer.
			lost.TaskMessage.Event.Header().Timestamp = got.TaskMessage.Event.Header().Timestamp
		}
		if a, b := string(lost.AppendJSON(nil)), string(got.AppendJSON(nil)); a != b {
			t.Errorf("the message is\n%s\nand was\n%s", b, a)
		}
		due := time.Duration(0)
		if want.hidden {
			due = m.VisibleAt.Time().Sub(d.at)
		}
		if off := due - posted[0].Delay; off < -time.Second || off > time.Second {
			t.Errorf("it is hidden for %v, want %v", posted[0].Delay, due)
		}
		return
	}
	t.Errorf("no such message was recorded in %s", want.lost)
}

// TestApplyKilled ends a run before each change, and carries the plan out again with
// the same undo file: the end is the same, and each message is there once. What the
// undo file says at any of these moments takes everything back.
func TestApplyKilled(t *testing.T) {
	for name, want := range mended {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := openDamaged(t, name)
			f, e := d.plan(t), d.edit(t)
			before := e.Content()
			mustApply(t, e, f, new(undo))
			end, changes := e.Content(), len(e.Edits())
			if changes == 0 {
				t.Fatal("nothing is changed")
			}
			for at := range changes {
				e, u, n := d.edit(t), new(undo), 0
				e.Before = func(string, string) error {
					if n++; n > at {
						return errKilled
					}
					return nil
				}
				if _, err := apply(t, e, f, u); !errors.Is(err, errKilled) {
					t.Fatalf("killed at change %d of %d: %v", at, changes, err)
				}
				e.Before = nil
				left := editorOf(cloneContent(e.Content()), d.now)
				mustApply(t, left, u.file(t), new(undo))
				if !want.hidden {
					sameHub(t, fmt.Sprintf("killed at change %d and undone", at), before, left.Content())
				}
				r := mustApply(t, e, f, u)
				if len(r.Still)+len(r.New) > 0 {
					t.Errorf("killed at change %d: still %v, new %v", at, r.Still, r.New)
				}
				sameHub(t, fmt.Sprintf("killed at change %d and gone on", at), end, e.Content())
				if !u.journal(t, f).Resumed() && len(u.Bytes()) == 0 {
					t.Error("the undo file is empty")
				}
			}
		})
	}
}

// TestApplyTornUndoFile ends a run in the middle of each line of the undo file, the
// line after a change among them.
func TestApplyTornUndoFile(t *testing.T) {
	for name, want := range mended {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := openDamaged(t, name)
			f, e, u := d.plan(t), d.edit(t), new(undo)
			before := e.Content()
			mustApply(t, e, f, u)
			end, lines := e.Content(), u.lines
			for at := 1; at <= lines; at++ {
				e, u := d.edit(t), &undo{failAt: at}
				if _, err := apply(t, e, f, u); !errors.Is(err, errKilled) {
					t.Fatalf("killed at line %d of %d: %v", at, lines, err)
				}
				if at > 1 { // a head that is cut off is of a run that has done nothing
					left := editorOf(cloneContent(e.Content()), d.now)
					mustApply(t, left, u.file(t), new(undo))
					if !want.hidden {
						sameHub(t, fmt.Sprintf("killed at line %d and undone", at), before, left.Content())
					}
				}
				mustApply(t, e, f, u)
				if !want.hidden {
					sameHub(t, fmt.Sprintf("killed at line %d and gone on", at), end, e.Content())
				} else if n := len(e.Posted()); n > 2 {
					t.Errorf("killed at line %d: %d messages", at, n)
				}
			}
		})
	}
}

func cloneContent(c hubtest.Content) hubtest.Content {
	tables := make(map[hub.Table][]schema.Row)
	for table, rows := range c.Tables {
		for i := range rows {
			tables[table] = append(tables[table], rows[i].Clone())
		}
		if rows != nil && tables[table] == nil {
			tables[table] = []schema.Row{}
		}
	}
	c.Tables = tables
	return c
}

// TestApplyConcurrent changes what a plan rests on: before it is carried out, and
// between the look at a row and the write. Nothing is overwritten.
func TestApplyConcurrent(t *testing.T) {
	for name := range mended {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := openDamaged(t, name)
			f := d.plan(t)
			rep := &f.Repairs[0]
			touch := func(e *testhub.Editor, table hub.Table, key, rowKey string) {
				for row, err := range e.Rows(t.Context(), table, hub.Partition(key)) {
					if err != nil {
						t.Fatal(err)
					}
					if row.RowKey != rowKey {
						continue
					}
					row.Set("Name", schema.String("somebody else"))
					hook := e.Before
					e.Before = nil
					if _, err := e.ReplaceRow(t.Context(), table, row); err != nil {
						t.Fatal(err)
					}
					e.Before = hook
					return
				}
				if _, err := e.InsertRow(t.Context(), table, schema.Row{PartitionKey: key, RowKey: rowKey, Properties: []schema.Property{{Name: "Name", Value: schema.String("somebody else")}}}); err != nil {
					t.Fatal(err)
				}
			}
			type at struct {
				table       hub.Table
				key, rowKey string
			}
			var rows []at
			table := map[string]hub.Table{"History": hub.History, "Instances": hub.Instances}
			for _, w := range rep.Expects {
				rows = append(rows, at{table[w.Table], w.PartitionKey, w.RowKey})
			}
			for _, w := range rep.Writes {
				row := w.Before
				if row == nil {
					row = w.After
				}
				rows = append(rows, at{table[w.Table], row.PartitionKey, row.RowKey})
			}
			if len(rows) < 2 {
				t.Fatalf("the plan rests on %d rows", len(rows))
			}
			for _, row := range rows {
				e := d.edit(t)
				touch(e, row.table, row.key, row.rowKey)
				before := e.Content()
				r := mustApply(t, e, f, new(undo))
				if r.Results[0].Outcome != repair.Skipped || !strings.Contains(r.Results[0].Reason, "has changed since the plan was made") {
					t.Errorf("%v was changed: %+v", row, r.Results[0])
				}
				sameHub(t, fmt.Sprintf("%v was changed", row), before, e.Content())
			}
			for n, w := range rep.Writes {
				row := rows[len(rep.Expects)+n]
				e := d.edit(t)
				key := fmt.Sprintf("%s %s/%s", row.table, row.key, row.rowKey)
				e.Before = func(method, what string) error {
					if what == key {
						e.Before = nil
						touch(e, row.table, row.key, row.rowKey)
					}
					return nil
				}
				r := mustApply(t, e, f, new(undo))
				if r.Results[0].Outcome != repair.Skipped {
					t.Errorf("%v was changed just before: %+v", row, r.Results[0])
				}
				for got, err := range e.Rows(t.Context(), row.table, hub.Partition(row.key)) {
					if err != nil {
						t.Fatal(err)
					}
					if name, _ := got.Get("Name").Text(); got.RowKey == row.rowKey && name != "somebody else" {
						t.Errorf("%s %v: somebody else's change is overwritten", w.Table, row)
					}
				}
			}
		})
	}
}
