package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
)

// many does an operation to all instances of a choice.
func (ed *editing) many(op *operation, c *choice) error {
	began := time.Now()
	if err := ed.introduce(); err != nil {
		return err
	}
	j, err := ed.openJournal(op, c.report)
	if err != nil {
		return err
	}
	ids, err := newSpool()
	if err != nil {
		return err
	}
	defer ids.remove()
	before := int64(0)
	for id, err := range ed.chosen(c) {
		if err != nil {
			return err
		}
		if j.isDone(id) {
			before++
			continue
		}
		if err := ids.add(id); err != nil {
			return err
		}
		if ids.count == int64(c.max) {
			break
		}
	}
	if err := ed.planMany(op, c, ids, before); err != nil {
		return err
	}
	sum := ed.newSummary(op, ids.count)
	sum.DoneBefore = before
	if ed.e != nil && ids.count > 0 {
		if err := ed.confirm(fmt.Sprintf("%s %s?", sentence(op.name), ui.Plural(ids.count, "instance", "instances"))); err != nil {
			return err
		}
		if err := j.create(); err != nil {
			return err
		}
	}
	err = ed.work(op, c, ids, j, sum)
	sum.TookMS = time.Since(began).Milliseconds()
	if ed.ctx.Err() != nil {
		sum.Interrupted, err = true, errInterrupted
	}
	return errors.Join(j.close(sum), ed.sum(op, c, sum, err))
}

// planMany says what is about to be done.
func (ed *editing) planMany(op *operation, c *choice, ids *spool, before int64) error {
	which := ""
	if len(c.statuses) > 0 && c.file == "" && (c.filter != nil || c.tree) {
		which = " with status " + listed(c.statuses)
	}
	if before > 0 {
		if err := ed.tell("done before, says %s: %s", c.report, ui.Plural(before, "instance", "instances")); err != nil {
			return err
		}
	}
	if ids.count == 0 {
		other := ""
		if before > 0 {
			other = "other "
		}
		return ed.tell("%s: no %sinstance%s", op.name, other, which)
	}
	first := make([]string, len(ids.first))
	for i, id := range ids.first {
		first[i] = ui.Cut(id, 60)
	}
	text := strings.Join(first, ", ")
	if ids.count > int64(len(first)) {
		text += ", …"
	}
	return ed.tell("%s %s%s: %s", op.name, ui.Plural(ids.count, "instance", "instances"), which, text)
}

// operationSummary is the last line of --json; docs/json.md describes it.
type operationSummary struct {
	Type        string `json:"type"`
	Operation   string `json:"operation"`
	Account     string `json:"account"`
	TaskHub     string `json:"task_hub"`
	DryRun      bool   `json:"dry_run"`
	Chosen      int64  `json:"chosen"`
	Done        int64  `json:"done"`
	Skipped     int64  `json:"skipped"`
	Refused     int64  `json:"refused"`
	Failed      int64  `json:"failed"`
	DoneBefore  int64  `json:"done_before"`
	Interrupted bool   `json:"interrupted"`
	TookMS      int64  `json:"took_ms"`
}

func (ed *editing) newSummary(op *operation, chosen int64) *operationSummary {
	return &operationSummary{
		Type: "summary", Operation: op.name, Account: ed.info.Account, TaskHub: ed.info.Names.TaskHub, DryRun: ed.e == nil, Chosen: chosen,
	}
}

func (s *operationSummary) count(o *operated) {
	switch o.Outcome {
	case resultDone:
		s.Done++
	case resultSkipped:
		s.Skipped++
	case resultRefused:
		s.Refused++
	case resultFailed:
		s.Failed++
	}
}

// errNotBegun is the result of an instance that was not begun, because the run
// was ended first.
var errNotBegun = errors.New("not begun")

// maxFailures in a row end a run: it is not about the instances then.
const maxFailures = 20

// failures counts those in a row, in the order in which they come. A conflict is
// about one instance, and not one of them.
type failures struct {
	mu sync.Mutex
	n  int
}

func (f *failures) count(o *operated, err error) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.n++; o.Outcome != resultFailed || errors.Is(err, hub.ErrConflict) {
		f.n = 0
	}
	return f.n
}

// work goes through the instances and tells what became of each. What was begun
// is finished when somebody presses Ctrl-C.
func (ed *editing) work(op *operation, c *choice, ids *spool, j *journal, sum *operationSummary) error {
	do, err := op.prepare(ed, ed.e)
	if err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(ed.ctx)
	defer end(nil)
	line := ed.progressLine()
	if ui.IsTerminal(ed.App.Writer) {
		line = nil // the instances themselves show it
	}
	line.start()
	defer line.stop()
	var failures failures
	one := func(_ context.Context, id string) (operated, error) {
		if err := ed.gate.enter(ctx); err != nil {
			return operated{}, errNotBegun
		}
		defer ed.gate.leave()
		if !op.repeatable && j.isBegun(id) {
			return op.judge(id, operated{}, errUncertain), errUncertain
		}
		if err := j.begin(id); err != nil {
			end(err)
			return operated{}, errNotBegun
		}
		o, err := do(context.WithoutCancel(ctx), id)
		o = op.judge(id, o, err)
		o.DryRun = ed.e == nil
		switch row := failures.count(&o, err); {
		case errors.Is(err, hub.ErrUnauthorized):
			end(err) // so would all others
		case row == maxFailures:
			end(fmt.Errorf("%d failures in a row: %w", row, err))
		}
		if err := j.end(&o.operationReport); err != nil {
			end(err)
		}
		return o, err
	}
	for r, err := range manage.Bulk(ctx, ids.ids(), c.bulk, one) {
		if err != nil {
			return err
		}
		if errors.Is(r.Err, errNotBegun) {
			continue
		}
		sum.count(&r.Value)
		line.update(ui.Step{Name: op.name, Unit: "instances", Done: sum.Done + sum.Skipped + sum.Refused + sum.Failed, Total: sum.Chosen})
		loud := r.Value.Warning != "" || r.Value.Error != ""
		if loud {
			line.stop() // which is on stderr, too
		}
		if err := ed.tellOf(op, &r.Value); err != nil {
			end(err)
		}
		if loud {
			line.start()
		}
	}
	return context.Cause(ctx)
}

// errUncertain is told of an instance that an earlier run has begun and not
// finished.
var errUncertain = errors.New("an earlier run was ended while it did this, and may have done it: see whether it has, and if not name the instance with --id")

// tellOf prints what became of one instance of many.
func (ed *editing) tellOf(op *operation, o *operated) error {
	if ed.json {
		return writeJSON(ed.stdout, o.operationReport)
	}
	if o.Warning != "" {
		message(ed.stderr, false, "warning", 0, o.Warning, "")
	}
	switch o.Outcome {
	case resultRefused, resultFailed:
		text := o.Error
		if !strings.Contains(text, fmt.Sprintf("%q", o.InstanceID)) {
			text = fmt.Sprintf("%s instance %q: %s", op.name, o.InstanceID, text)
		}
		if err := ed.stdout.Flush(); err != nil { // so that the order is right where both are shown
			return err
		}
		message(ed.stderr, false, string(o.Outcome), 0, text, "")
		return nil
	case resultSkipped:
		_, err := fmt.Fprintf(ed.stdout, "Nothing to do for instance %s: %s\n", quoted(o.InstanceID), ui.Escape(o.skipped))
		return err
	}
	text := o.done
	if o.DryRun {
		text = op.would(o)
	}
	_, err := fmt.Fprintln(ed.stdout, text)
	return err
}

// sum tells the end of a run, and makes an error of what was left out. err is why
// it has ended early.
func (ed *editing) sum(op *operation, c *choice, sum *operationSummary, err error) error {
	if ed.json {
		if err := writeJSON(ed.stdout, sum); err != nil {
			return err
		}
	} else {
		if err := ed.stdout.Flush(); err != nil {
			return err
		}
		parts := []string{ui.Count(sum.Done) + " done"}
		if sum.DryRun {
			parts[0] = ui.Count(sum.Done) + " would be done"
		}
		for _, n := range []struct {
			count int64
			what  string
		}{
			{sum.Skipped, "skipped"},
			{sum.Refused, "refused"},
			{sum.Failed, "failed"},
			{sum.Chosen - sum.Done - sum.Skipped - sum.Refused - sum.Failed, "not begun"},
		} {
			if n.count > 0 {
				parts = append(parts, ui.Count(n.count)+" "+n.what)
			}
		}
		again := ""
		if err != nil && c.report != "" && !sum.DryRun {
			again = "; the same command goes on"
		}
		if err := ed.tell("%s: %s in %s%s", op.name, strings.Join(parts, ", "), ui.Duration(time.Duration(sum.TookMS)*time.Millisecond), again); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	if left := sum.Refused + sum.Failed; left > 0 {
		return &skippedError{"done, but not to " + ui.Count(left) + " of " + ui.Plural(sum.Chosen, "instance", "instances")}
	}
	return nil
}
