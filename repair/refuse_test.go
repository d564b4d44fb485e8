package repair_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/repair"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/verify"
)

// TestApplyRefuses checks what Apply refuses before it writes anything.
func TestApplyRefuses(t *testing.T) {
	d := openDamaged(t, "status-drift-status")
	for _, tt := range []struct {
		name string
		edit func(*repair.File)
		want error
	}{
		{"another hub", func(f *repair.File) { f.TaskHub = "Other" }, repair.ErrOtherHub},
		{"another account", func(f *repair.File) { f.Account = "other" }, repair.ErrOtherHub},
		{"another number of partitions", func(f *repair.File) { f.PartitionCount = 3 }, repair.ErrOtherHub},
		{"other tables", func(f *repair.File) { f.TrackingPrefix = "Shared" }, repair.ErrOtherHub},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, e, u := d.plan(t), d.edit(t), new(undo)
			tt.edit(f)
			if _, err := apply(t, e, f, u); !errors.Is(err, tt.want) {
				t.Errorf("%v, want %v", err, tt.want)
			}
			if len(e.Edits())+u.Len() > 0 {
				t.Errorf("it has written %v and %s", e.Edits(), u)
			}
		})
	}
	f := d.plan(t)
	f.Account = "" // nobody knows
	if _, err := apply(t, d.edit(t), f, new(undo)); err != nil {
		t.Errorf("a plan of an unknown account: %v", err)
	}
}

// TestApplyRunning refuses a hub that an app runs, unless it is forced.
func TestApplyRunning(t *testing.T) {
	d := openDamaged(t, "lost-work-activity") // its worker was killed a moment ago
	f, e, u := d.plan(t), d.edit(t), new(undo)
	opts := repair.ApplyOptions{Journal: u.journal(t, f), Remover: e, Now: d.now}
	_, err := repair.Apply(t.Context(), e, e, f, opts)
	var running *repair.RunningError
	if !errors.As(err, &running) || !errors.Is(err, hub.ErrInUse) || len(running.Evidence) == 0 || len(e.Edits()) > 0 {
		t.Errorf("%v, changes %v", err, e.Edits())
	}
	opts.Now = func() time.Time { return d.at.Add(45 * time.Second) } // its lease has ended, and clocks differ
	if _, err := repair.Apply(t.Context(), e, e, f, opts); !errors.Is(err, hub.ErrInUse) {
		t.Errorf("when the lease has just ended: %v", err)
	}
	opts.Now = func() time.Time { return d.at.Add(10 * time.Minute) }
	if _, err := repair.Apply(t.Context(), e, e, f, opts); err != nil {
		t.Errorf("ten minutes later: %v", err)
	}
}

// TestApplyDry says what would be done, and does nothing.
func TestApplyDry(t *testing.T) {
	for name := range mended {
		d := openDamaged(t, name)
		f, e := d.plan(t), d.edit(t)
		r, err := repair.Apply(t.Context(), e, nil, f, repair.ApplyOptions{Now: d.now, Force: true})
		if err != nil {
			t.Fatal(err)
		}
		rep := &f.Repairs[0]
		want := repair.Result{
			InstanceID: rep.InstanceID, Codes: rep.Codes(), Outcome: repair.Done,
			Rows: len(rep.Writes), Messages: len(rep.Messages), Removed: len(rep.Removals),
		}
		if diff := cmp.Diff([]repair.Result{want}, r.Results); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if len(e.Edits()) > 0 {
			t.Errorf("%s: %v", name, e.Edits())
		}
	}
}

// TestApplyWithoutRemover does not copy a message that it cannot take away: it would
// be there twice.
func TestApplyWithoutRemover(t *testing.T) {
	d := openDamaged(t, "message-wrong-partition")
	f, e, u := d.plan(t), d.edit(t), new(undo)
	r, err := repair.Apply(t.Context(), e, e, f, repair.ApplyOptions{Journal: u.journal(t, f), Now: d.now})
	if err != nil || r.Count(repair.Skipped) != 1 || len(e.Edits()) > 0 {
		t.Errorf("%v, %+v, changes %v", err, r, e.Edits())
	}
}

// TestApplyTaken has somebody take the message that is moved, before and after its
// copy was made.
func TestApplyTaken(t *testing.T) {
	d := openDamaged(t, "message-wrong-partition")
	f := d.plan(t)
	from := f.Repairs[0].Removals[0]
	e := d.edit(t)
	if err := e.RemoveMessage(t.Context(), from.Queue, from.Text); err != nil {
		t.Fatal(err)
	}
	r := mustApply(t, e, f, new(undo))
	if r.Results[0].Outcome == repair.Done || len(e.Edits()) != 1 {
		t.Errorf("%+v, changes %v", r.Results[0], e.Edits())
	}
	e = d.edit(t)
	e.Before = func(method, _ string) error {
		if method == "RemoveMessage" {
			e.Before = nil
			return e.RemoveMessage(t.Context(), from.Queue, from.Text)
		}
		return nil
	}
	r = mustApply(t, e, f, new(undo))
	if r.Results[0].Outcome != repair.Skipped || !strings.Contains(r.Results[0].Reason, "somebody has taken it") {
		t.Errorf("%+v", r.Results[0])
	}
}

// TestApplyTells tells of findings that are still there, and of new ones.
func TestApplyTells(t *testing.T) {
	d := openDamaged(t, "status-drift-status")
	f, e := d.plan(t), d.edit(t)
	u := &watched{Writer: new(undo), at: 2, do: func() { // the row was written
		for r, err := range e.Rows(t.Context(), hub.History, hub.Partition("hello")) {
			if err != nil {
				t.Fatal(err)
			}
			if r.IsSentinel() {
				if err := e.DeleteRows(t.Context(), hub.History, []schema.Row{r}); err != nil {
					t.Fatal(err)
				}
			}
		}
		r := row(t, ptr(e.Content()), hub.Instances, "hello", "").Clone()
		text(&r, "RuntimeStatus", "Failed")
		if _, err := e.ReplaceRow(t.Context(), hub.Instances, r); err != nil {
			t.Fatal(err)
		}
	}}
	j, err := repair.OpenJournal(f, nil, u)
	if err != nil {
		t.Fatal(err)
	}
	r, err := repair.Apply(t.Context(), e, e, f, repair.ApplyOptions{Journal: j, Now: d.now})
	if err != nil {
		t.Fatal(err)
	}
	codes := func(all []verify.Finding) (codes []string) {
		for _, f := range all {
			codes = append(codes, f.Code+" "+f.InstanceID)
		}
		return codes
	}
	if diff := cmp.Diff([]string{"status-drift hello"}, codes(r.Still)); diff != "" {
		t.Errorf("still there (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"sentinel-missing hello"}, codes(r.New)); diff != "" {
		t.Errorf("new (-want +got):\n%s", diff)
	}
}

func ptr[T any](v T) *T { return &v }

// watched calls do before the Write with a number.
type watched struct {
	Writer *undo
	at, n  int
	do     func()
}

func (w *watched) Write(p []byte) (int, error) {
	if w.n++; w.n == w.at {
		w.do()
	}
	return w.Writer.Write(p)
}

// TestApplyCancelled ends a run by its context: the change that was begun is made,
// and the next run goes on.
func TestApplyCancelled(t *testing.T) {
	d := openDamaged(t, "rewind-residue")
	f, e, u := d.plan(t), d.edit(t), new(undo)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	e.Before = func(string, string) error { cancel(stop); return nil }
	_, err := repair.Apply(ctx, e, e, f, repair.ApplyOptions{Journal: u.journal(t, f), Remover: e, Now: d.now})
	if !errors.Is(err, stop) || len(e.Edits()) != 1 {
		t.Fatalf("%v, changes %v", err, e.Edits())
	}
	e.Before = nil
	if r := mustApply(t, e, f, u); r.Count(repair.Done) != 1 || len(e.Edits()) != 4 {
		t.Errorf("%+v, changes %v", r.Results, e.Edits())
	}
}

// TestJournalOfAnother refuses undo files of other plans and other files, and that of
// a run that has ended where there is something to do.
func TestJournalOfAnother(t *testing.T) {
	d := openDamaged(t, "status-drift-status")
	f, e, u := d.plan(t), d.edit(t), new(undo)
	mustApply(t, e, f, u)
	other := openDamaged(t, "status-drift-output").plan(t)
	if _, err := repair.OpenJournal(other, bytes.NewReader(u.Bytes()), u); !errors.Is(err, repair.ErrOtherPlan) {
		t.Errorf("the undo file of another plan: %v", err)
	}
	if _, err := repair.OpenJournal(f, strings.NewReader("type,step\nbegin,1\n"), u); !errors.Is(err, repair.ErrFormat) {
		t.Errorf("some other file: %v", err)
	}
	mustApply(t, e, u.file(t), new(undo))
	if _, err := apply(t, e, f, u); !errors.Is(err, repair.ErrEnded) {
		t.Errorf("the undo file of a run that was taken back: %v", err)
	}
	mustApply(t, e, f, new(undo))
	if got := findings(t, e, d.now); len(got) > 0 {
		t.Errorf("verify still finds %v", got)
	}
}

// TestApplyKilledRemoving goes on with a run that was killed while it had received
// the message that it was to remove: that is hidden, and nobody can tell it from one
// that is gone.
func TestApplyKilledRemoving(t *testing.T) {
	d := openDamaged(t, "message-wrong-partition")
	f, e, u := d.plan(t), d.edit(t), new(undo)
	e.Before = func(method, _ string) error {
		if method == "RemoveMessage" {
			return errKilled
		}
		return nil
	}
	if _, err := apply(t, e, f, u); !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	cut := slices.Clone(u.Bytes())
	hidden := cloneContent(e.Content())
	hidden.Queues = slices.Clone(hidden.Queues)
	from := f.Repairs[0].Removals[0]
	for i := range hidden.Queues {
		if q := &hidden.Queues[i]; q.Name == from.Queue {
			q.Messages = slices.DeleteFunc(slices.Clone(q.Messages), func(m schema.QueueMessage) bool { return m.Text == from.Text })
		}
	}
	held := editorOf(hidden, d.now)
	r := mustApply(t, held, f, u)
	if res := r.Results[0]; res.Outcome != repair.Skipped || !strings.Contains(res.Reason, "may be hidden by the run that was cut off: go on after ") || len(held.Edits()) > 0 {
		t.Errorf("while it is hidden: %+v, changes %v", res, held.Edits())
	}
	e.Before = nil // it is visible again
	if r = mustApply(t, e, f, u); r.Count(repair.Done) != 1 {
		t.Errorf("when it is visible again: %+v", r.Results)
	}
	if got := findings(t, e, d.now); len(got) > 0 {
		t.Errorf("verify still finds %v", got)
	}
	// Another one was hidden, and it is long gone.
	held = editorOf(hidden, func() time.Time { return d.at.Add(time.Hour) })
	late := new(undo)
	if _, err := late.Write(cut); err != nil {
		t.Fatal(err)
	}
	if r = mustApply(t, held, f, late); r.Count(repair.Skipped) > 0 {
		t.Errorf("an hour later: %+v", r.Results)
	}
}
