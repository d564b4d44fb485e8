package main

import (
	"fmt"
	"strings"

	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// tableRow prints one instance of many. Columns have fixed widths: a hub can be
// larger than the memory that it would take to align them.
func (p *replayPrinter) tableRow(i *replayed) error {
	if p.printed == 1 {
		if _, err := fmt.Fprintf(p.stdout, "%-14s  %-20s  %-20s  %8s  %-36s  %s\n",
			"status", "created", "last event", "episodes", "instance", "waits for; differs in; anomalies"); err != nil {
			return err
		}
	}
	var notes []string
	if open := openSummary(i); open != "" {
		notes = append(notes, open)
	}
	if i.differs() {
		columns := make([]string, len(i.verdict.Differences))
		for k, d := range i.verdict.Differences {
			columns[k] = d.Column
		}
		notes = append(notes, "differs in "+strings.Join(columns, ", "))
	}
	if n := int64(len(i.history.Anomalies)) + anomaliesLeftOut(i.history); n > 0 {
		notes = append(notes, ui.Plural(n, "anomaly", "anomalies"))
	}
	id := ui.Escape(i.id)
	id += strings.Repeat(" ", max(36-ui.Width(id), 0))
	line := fmt.Sprintf("%-14s  %-20s  %-20s  %8s  %s  %s", i.verdict.Status, moment(i.created()), moment(i.lastUpdated()),
		ui.Count(i.history.Live.Episodes), id, ui.Escape(strings.Join(notes, "; ")))
	_, err := fmt.Fprintln(p.stdout, strings.TrimRight(line, " "))
	return err
}

// sum prints what the table comes to.
func (p *replayPrinter) sum() error {
	text := ui.Plural(p.printed, "instance", "instances")
	if p.opts.At == 0 && p.opts.Episode == 0 {
		text += ", " + ui.Plural(p.differing, "differs", "differ") + " from the row"
	}
	if p.anomalous > 0 {
		text += ", " + ui.Plural(p.anomalous, "has", "have") + " anomalies"
	}
	_, err := fmt.Fprintln(p.stdout, text)
	return err
}

// openWords are the kinds of open work for people, in the order in which they are
// listed.
var openWords = []struct {
	kind      replay.OpenKind
	one, many string
}{
	{replay.OpenActivity, "activity", "activities"},
	{replay.OpenTimer, "timer", "timers"},
	{replay.OpenSubOrchestration, "sub-orchestration", "sub-orchestrations"},
	{replay.OpenEvent, "event to be taken", "events to be taken"},
	{replay.OpenEntityCall, "entity call", "entity calls"},
	{replay.OpenLockRequest, "lock request", "lock requests"},
	{replay.OpenLock, "lock held", "locks held"},
	{replay.OpenSignal, "delayed signal", "delayed signals"},
}

func openSummary(i *replayed) string {
	var parts []string
	for _, w := range openWords {
		n := int64(0)
		for _, o := range i.history.Live.Open {
			if o.Kind == w.kind {
				n++
			}
		}
		if n > 0 {
			parts = append(parts, ui.Plural(n, w.one, w.many))
		}
	}
	return strings.Join(parts, ", ")
}

// page prints one instance.
func (p *replayPrinter) page(i *replayed) error {
	blocks := []block{
		{"", i.headBlock(p.opts)}, i.openBlock(), i.differencesBlock(), i.notDerivableBlock(), i.overwrittenBlock(), i.anomaliesBlock(),
	}
	for n, b := range blocks {
		if b.table.Empty() {
			continue
		}
		if n > 0 {
			if _, err := fmt.Fprintf(p.stdout, "\n%s\n", b.title); err != nil {
				return err
			}
		}
		if err := b.table.Write(p.stdout); err != nil {
			return err
		}
	}
	return nil
}

// maxShown is the length in columns beyond which a text is cut for people.
const maxShown = 200

func (i *replayed) headBlock(opts replay.Options) *ui.Table {
	live := &i.history.Live
	t := new(ui.Table)
	t.Row("instance", i.id)
	t.Row("execution", orDash(i.verdict.ExecutionID))
	function := orDash(i.name())
	if v := i.version().Value; v != "" {
		function += ", version " + v
	}
	t.Row("function", function)
	status := i.verdict.Status.String()
	switch completed := i.completed(); {
	case i.prefix && live.Events == 0:
		status += ": it had not run by then"
	case completed != 0 && i.verdict.Status.Terminal():
		status += " since " + moment(completed)
	case i.lastUpdated() != 0:
		status += ", last event " + moment(i.lastUpdated())
	}
	switch {
	case i.verdict.StatusFrom == replay.FromRow:
		status += " (by the row alone)"
	case live.Suspended && live.SuspendReason.Value != "":
		status += " (" + ui.Cut(live.SuspendReason.Value, maxShown) + ")"
	case live.Rewound:
		status += " (rewound, not ended again)"
	}
	t.Row("status", status)
	switch {
	case opts.At != 0:
		t.Row("as of", moment(opts.At))
	case opts.Episode != 0:
		t.Row("as of", fmt.Sprintf("episode %d", opts.Episode))
	}
	t.Row("created", moment(i.created()))
	if i.row != nil && i.row.ScheduledStartTime.Set && live.Events == 0 {
		t.Row("starts", moment(i.row.ScheduledStartTime.Value))
	}
	if parent := live.Parent; parent != nil {
		t.Row("parent", fmt.Sprintf("%s, event %d", parent.OrchestrationInstance.InstanceID, parent.TaskScheduleID))
	}
	if g := i.generation(); g.Set {
		t.Row("generation", fmt.Sprint(g.Value))
	}
	t.Row("history", historySize(live))
	if i.output.Set {
		t.Row("output", ui.Cut(i.output.Value, maxShown))
	}
	if f, err := schema.ParseFailureDetails(i.failure); err == nil && f != nil {
		for inner := f.InnerFailure; inner != nil; inner = inner.InnerFailure {
			t.Row("caused by", ui.Cut(inner.String(), maxShown))
		}
	}
	return t
}

// historySize says how much was replayed.
func historySize(live *replay.State) string {
	text := ui.Plural(live.Events, "event", "events") + " in " + ui.Plural(live.Episodes, "episode", "episodes")
	if live.Missing > 0 && live.Events > 0 {
		text += ", " + ui.Count(live.Missing) + " missing before them"
	}
	if live.CheckpointOpen {
		text += ", ends within a checkpoint"
	}
	if live.Duplicates > 0 {
		text += ", " + ui.Plural(live.Duplicates, "result", "results") + " came again"
	}
	return text
}

// maxOpenShown is how much open work of one kind is listed for people.
const maxOpenShown = 10

func (i *replayed) openBlock() block {
	live := &i.history.Live
	b := newBlock("Waits for")
	if i.verdict.Status.Terminal() {
		b.title = "Left open when it ended"
	}
	for _, w := range openWords {
		n := int64(0)
		for _, o := range live.Open {
			if o.Kind != w.kind {
				continue
			}
			if n++; n > maxOpenShown {
				continue
			}
			var notes []string
			if o.FireAt != 0 {
				notes = append(notes, "due "+moment(o.FireAt))
			}
			if o.InstanceID != "" {
				notes = append(notes, o.InstanceID)
			}
			if o.EventID >= 0 {
				notes = append(notes, fmt.Sprintf("event %d", o.EventID))
			}
			b.table.Row(w.one, orDash(o.Name), "since "+moment(o.Since), strings.Join(notes, ", "))
		}
		if n > maxOpenShown {
			b.table.Row("", "and "+ui.Count(n-maxOpenShown)+" more "+w.many)
		}
	}
	if len(live.Open) == 0 && live.Events > 0 && !i.verdict.Status.Terminal() {
		what := "nothing that history shows: an event from outside leaves no trace before it comes"
		if schema.IsEntity(i.id) {
			what = "the next operation"
		}
		b.table.Row(what)
	}
	return b
}

func (i *replayed) differencesBlock() block {
	b := newBlock("The row differs")
	for _, d := range i.verdict.Differences {
		evidence := "shown by " + d.Evidence
		if len(d.RowKeys) > 0 {
			evidence += ", row " + strings.Join(d.RowKeys, ", ")
		}
		b.table.Row(d.Column, "row: "+ui.Cut(orDash(d.Stored), maxShown))
		b.table.Row("", "history: "+ui.Cut(orDash(d.Derived), maxShown))
		b.table.Row("", evidence)
	}
	return b
}

// why says for people why history does not tell a column.
func (i *replayed) why(column string) string {
	switch {
	case column == "CustomStatus":
		return "is never an event"
	case column == "TaskHubName":
		return "is in no history"
	case i.history.Live.Events == 0 || i.verdict.StatusFrom == replay.FromRow:
		return "this execution has no history yet"
	case column == "Generation":
		return "is told by starts of a client only"
	}
	return "was written without a checkpoint since"
}

// notDerivableBlock lists the columns by the reason.
func (i *replayed) notDerivableBlock() block {
	b := newBlock("What history does not tell")
	var reasons []string
	columns := make(map[string][]string)
	if i.prefix {
		return b // nor does the row, which is of now
	}
	for _, column := range i.verdict.NotDerivable {
		why := i.why(column)
		if columns[why] == nil {
			reasons = append(reasons, why)
		}
		columns[why] = append(columns[why], column)
	}
	for _, why := range reasons {
		b.table.Row(strings.Join(columns[why], ", "), why)
	}
	return b
}

func (i *replayed) overwrittenBlock() block {
	b := newBlock("Left of earlier executions")
	for k := range i.history.Overwritten {
		o := &i.history.Overwritten[k]
		status := o.Status.String()
		if o.Status == schema.StatusUnknown {
			status = "status unknown: its beginning is gone"
		}
		b.table.Row(o.ExecutionID, ui.Plural(o.Events, "event", "events"), ui.Plural(o.Missing, "is", "are")+" missing before them",
			"last event "+moment(o.LastUpdatedTime), status)
	}
	return b
}

func (i *replayed) anomaliesBlock() block {
	b := newBlock("Anomalies")
	for _, a := range i.history.Anomalies {
		at := strings.Join(a.RowKeys, ", ")
		if a.Column != "" {
			at += " " + a.Column
		}
		b.table.Row(string(a.Code), a.Detail, at)
	}
	if n := anomaliesLeftOut(i.history); n > 0 {
		b.table.Row("", ui.Count(n)+" more")
	}
	return b
}
