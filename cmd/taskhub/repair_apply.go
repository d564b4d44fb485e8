package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/repair"
	"github.com/taskhub-tools/taskhub/verify"
)

var _ repair.Remover = (*live.Editor)(nil)

// repairing is one run of repair --apply.
type repairing struct {
	*editing
	began time.Time
	path  string
	file  *repair.File
	undo  *undoFile
}

func runRepairApply(s *session) error {
	a := &repairing{began: time.Now(), path: s.String(optApply)}
	var err error
	if a.file, err = readRepairFile(a.path); err != nil {
		return err
	}
	a.undo = &undoFile{path: s.String(optUndo)}
	if a.undo.path == "" {
		a.undo.path = undoPath(a.path)
	}
	// The plan names the hub, which need not be said again.
	for name, value := range map[string]string{optTaskHub: a.file.TaskHub, optTrackingPrefix: a.file.TrackingPrefix} {
		if value != "" && !s.IsSet(name) && !s.IsSet(optSnapshot) {
			if err := s.Set(name, value); err != nil {
				return err
			}
		}
	}
	return s.withEditor(func(ed *editing) error {
		a.editing = ed
		return errors.Join(a.run(), a.undo.close())
	})
}

func (a *repairing) run() error {
	largest, err := a.size(optMaxPayload)
	if err != nil {
		return err
	}
	o := repair.ApplyOptions{Force: a.Bool(optForce), MaxBlobBytes: largest, Now: time.Now}
	if err := a.introduce(); err != nil {
		return err
	}
	if err := a.announce(); err != nil {
		return err
	}
	if a.e == nil {
		report, err := repair.Apply(a.ctx, a.r, nil, a.file, o)
		return a.end(report, err)
	}
	if !o.Force && (a.running == manage.RunningYes || a.running == manage.RunningMaybe) {
		return &repair.RunningError{Evidence: a.evidence} // before anybody is asked
	}
	if o.Journal, err = a.undo.openJournal(a.file); err != nil {
		return err
	}
	if o.Journal.Resumed() {
		if err := a.tell("an earlier run was cut off: this one goes on with %s", a.undo.path); err != nil {
			return err
		}
	}
	question := "Repair?"
	if a.file.Kind == repair.KindUndo {
		question = "Take it back?"
	}
	if len(a.file.Repairs) > 0 {
		if err := a.confirm(question); err != nil {
			return err
		}
	}
	o.Remover, _ = a.e.(repair.Remover)
	line := a.progressLine()
	o.OnProgress = func(done, total int) {
		line.update(ui.Step{Name: "repair", Unit: "changes", Done: int64(done), Total: int64(total)})
	}
	line.start()
	report, err := repair.Apply(a.ctx, a.r, a.e, a.file, o)
	line.stop()
	return a.end(report, err)
}

// announce says what is going to be done.
func (a *repairing) announce() error {
	const shown = 20
	for i := range a.file.Repairs[:min(len(a.file.Repairs), shown)] {
		r := &a.file.Repairs[i]
		what := strings.Join(r.Codes(), ", ") + ": " + repaired(len(r.Writes), len(r.Messages), len(r.Removals))
		if a.file.Kind == repair.KindUndo {
			what = "take back " + repaired(len(r.Writes), len(r.Removals), len(r.Messages))
		}
		if err := a.tell("repair %s  %s", quoted(r.InstanceID), what); err != nil {
			return err
		}
	}
	if more := len(a.file.Repairs) - shown; more > 0 {
		return a.tell("and %s", ui.Plural(int64(more), "repair more", "repairs more"))
	}
	return nil
}

// end tells what was done, and how to go on if it came to no end.
func (a *repairing) end(report *repair.Report, err error) error {
	if report == nil {
		return err
	}
	if err != nil {
		switch {
		case errors.Is(err, repair.ErrEnded):
			return fmt.Errorf("%s: %w: name another one with --%s", a.undo.path, err, optUndo)
		case a.undo.f != nil:
			if err := a.tell("cut off after %s: the same command goes on, and --%s %s takes it back",
				ui.Plural(int64(report.Steps), "change", "changes"), optApply, a.undo.path); err != nil {
				return err
			}
		}
		return err
	}
	sum := repairSummary{
		Type: "summary", Operation: operationRepair, File: a.path, Kind: string(report.Kind), Account: a.info.Account, TaskHub: a.info.Names.TaskHub,
		DryRun: a.e == nil, Planned: len(a.file.Repairs), Left: a.file.LeftItems, Still: len(report.Still), New: len(report.New),
		Done: report.Count(repair.Done), Already: report.Count(repair.Already), Skipped: report.Count(repair.Skipped),
	}
	if a.undo.f != nil {
		sum.Undo = a.undo.path
	}
	for i := range report.Results {
		if err := a.result(report, i, &sum); err != nil {
			return err
		}
	}
	for i := range report.Still {
		if err := a.finding("still", &report.Still[i]); err != nil {
			return err
		}
	}
	for i := range report.New {
		if err := a.finding("new", &report.New[i]); err != nil {
			return err
		}
	}
	sum.TookMS = time.Since(a.began).Milliseconds()
	if err := a.summary(report, &sum); err != nil {
		return err
	}
	switch {
	case sum.Still+sum.New > 0:
		return &findingsError{fmt.Sprintf("afterwards %s still there, and %s new", ui.Plural(int64(sum.Still), "finding is", "findings are"), ui.Count(int64(sum.New)))}
	case sum.Skipped > 0:
		return &skippedError{"done, but " + ui.Plural(int64(sum.Skipped), "repair was", "repairs were") + " left out"}
	}
	return nil
}

// result tells what became of one repair.
func (a *repairing) result(report *repair.Report, i int, sum *repairSummary) error {
	res := &report.Results[i]
	sum.Rows, sum.Messages, sum.Removed = sum.Rows+res.Rows, sum.Messages+res.Messages, sum.Removed+res.Removed
	if a.json {
		l := newRepairLine(&a.file.Repairs[i], string(res.Outcome))
		l.Reason, l.DryRun = scrub(res.Reason), a.e == nil
		l.Rows, l.Messages, l.Removed = res.Rows, res.Messages, res.Removed
		return writeJSON(a.stdout, l)
	}
	text := repaired(res.Rows, res.Messages, res.Removed)
	switch {
	case res.Outcome == repair.Done && a.e == nil:
		text = "would be repaired: " + text
	case res.Outcome == repair.Done && report.Kind == repair.KindUndo:
		text = "taken back: " + text
	case res.Outcome == repair.Done:
		text = "repaired: " + text
	case res.Outcome == repair.Already:
		text = "nothing to do: " + res.Reason
	default:
		text = "left out: " + res.Reason
	}
	_, err := fmt.Fprintf(a.stdout, "%s  %s\n", quoted(res.InstanceID), ui.Escape(text))
	return err
}

// finding tells of a finding that is there afterwards.
func (a *repairing) finding(state string, f *verify.Finding) error {
	if a.json {
		return writeJSON(a.stdout, repairFinding{"repair-finding", state, *f})
	}
	if _, err := fmt.Fprintf(a.stdout, "%s there: ", state); err != nil {
		return err
	}
	return printFinding(a.stdout, f, true)
}

func (a *repairing) summary(report *repair.Report, sum *repairSummary) error {
	if a.json {
		return writeJSON(a.stdout, sum)
	}
	verb := "repaired"
	switch {
	case sum.DryRun:
		verb = "would be repaired"
	case report.Kind == repair.KindUndo:
		verb = "taken back"
	}
	text := fmt.Sprintf("repair: %d %s", sum.Done, verb)
	if sum.Already > 0 {
		text += fmt.Sprintf(", %d with nothing to do", sum.Already)
	}
	if sum.Skipped > 0 {
		text += fmt.Sprintf(", %d left out", sum.Skipped)
	}
	if report.Kind == repair.KindPlan && report.Steps > 0 && sum.Still+sum.New == 0 {
		text += "; verified"
	}
	if sum.Undo != "" {
		text += "; to take it back: taskhub repair --apply " + sum.Undo
	}
	_, err := fmt.Fprintln(a.stdout, ui.Escape(text))
	return err
}
