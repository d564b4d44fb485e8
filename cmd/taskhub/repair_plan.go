package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/repair"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/verify"
)

// repairLine is a line of repair --json, and with leftLine and repairFinding all that
// is before the last one, repairSummary; docs/json.md describes them.
type repairLine struct {
	Type       string   `json:"type"`
	InstanceID string   `json:"instance_id"`
	Codes      []string `json:"codes"`
	Outcome    string   `json:"outcome"`
	DryRun     bool     `json:"dry_run,omitempty"`
	Reason     string   `json:"reason,omitempty"`
	Does       []string `json:"does"`
	Rows       int      `json:"rows"`
	Messages   int      `json:"messages"`
	Removed    int      `json:"removed"`
}

type leftLine struct {
	Type string `json:"type"`
	repair.Left
}

type repairFinding struct {
	Type  string `json:"type"`
	State string `json:"state"` // still or new
	verify.Finding
}

type repairSummary struct {
	Type      string `json:"type"`
	Operation string `json:"operation"`
	File      string `json:"file"`
	Kind      string `json:"kind"`
	Undo      string `json:"undo,omitempty"`
	Account   string `json:"account"`
	TaskHub   string `json:"task_hub"`
	DryRun    bool   `json:"dry_run,omitempty"`
	Planned   int    `json:"planned"`
	Done      int    `json:"done"`
	Already   int    `json:"already"`
	Skipped   int    `json:"skipped"`
	Rows      int    `json:"rows"`
	Messages  int    `json:"messages"`
	Removed   int    `json:"removed"`
	Left      int64  `json:"left"`
	Still     int    `json:"still"`
	New       int    `json:"new"`
	TookMS    int64  `json:"took_ms"`
}

const operationRepair = "repair"

func runRepairPlan(s *session) error {
	began := time.Now()
	path := s.String(optPlan)
	var opts repair.Options
	var err error
	if opts.Codes, err = s.repairCodes(); err != nil {
		return err
	}
	if opts.Instances, err = s.nonEmpty("id"); err != nil {
		return err
	}
	if len(opts.Instances) == 0 {
		opts.Instances = nil
	}
	if opts.MaxBlobBytes, err = s.size(optMaxPayload); err != nil {
		return err
	}
	if err := mayWritePlan(path, s.Bool(optOverwrite)); err != nil {
		return err
	}
	line := s.progressLine()
	opts.Now = time.Now
	opts.Recheck = func(ctx context.Context) error { return wait(ctx, recheckAfter) }
	opts.OnProgress = func(p verify.Progress) {
		line.update(ui.Step{Name: "history rows", Done: p.HistoryRows, Total: p.TotalRows})
	}
	return s.withSource(func(r hub.Reader) error {
		if h, ok := r.(interface {
			BlobURL(container, name string) string
		}); ok {
			opts.BlobURL = h.BlobURL
		}
		line.start()
		defer line.stop()
		f, err := repair.Plan(s.ctx, r, opts)
		if err != nil {
			return err
		}
		line.stop()
		info, err := r.Info(s.ctx)
		if err != nil {
			return err
		}
		for _, u := range info.Unreadable {
			s.warn(fmt.Errorf("%s is not in the capture, and what it would show is not repaired: %s", u.Artifact, u.Reason))
		}
		if err := writePlan(path, f); err != nil {
			return err
		}
		if err := s.tellPlan(path, f, began); err != nil {
			return err
		}
		return s.leftOver(f)
	})
}

// leftOver returns an error that counts what the plan leaves alone and what will not
// mend itself.
func (s *session) leftOver(f *repair.File) error {
	left := f.LeftItems
	for i := range f.Left {
		if f.Left[i].Heals != "" {
			left--
		}
	}
	if left == 0 {
		return nil
	}
	return &skippedError{"the plan is made, but " + ui.Plural(left, "finding is", "findings are") + " left alone"}
}

// mayWritePlan refuses what would only show when the hub was read.
func mayWritePlan(path string, overwrite bool) error {
	switch info, err := os.Stat(path); {
	case err == nil && info.IsDir():
		return fmt.Errorf("%s is a folder", path)
	case err == nil && !overwrite:
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if dir, err := os.Stat(filepath.Dir(path)); err != nil || !dir.IsDir() {
		return fmt.Errorf("%s cannot be made: its folder does not exist", path)
	}
	return nil
}

// writePlan writes a plan, under a partial name until it is whole. It holds payloads.
func writePlan(path string, f *repair.File) (err error) {
	partial := path + ".partial"
	out, err := os.OpenFile(partial, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(partial) // the error is told
		}
	}()
	_, err = f.WriteTo(out)
	if err = errors.Join(err, out.Close()); err != nil {
		return err
	}
	return os.Rename(partial, path)
}

func (s *session) tellPlan(path string, f *repair.File, began time.Time) error {
	sum := repairSummary{
		Type: "summary", Operation: operationRepair, File: path, Kind: string(f.Kind), Account: f.Account, TaskHub: f.TaskHub,
		Planned: len(f.Repairs), Left: f.LeftItems,
	}
	for i := range f.Repairs {
		l := newRepairLine(&f.Repairs[i], "planned")
		sum.Rows, sum.Messages, sum.Removed = sum.Rows+l.Rows, sum.Messages+l.Messages, sum.Removed+l.Removed
		if s.json {
			if err := writeJSON(s.stdout, l); err != nil {
				return err
			}
		} else if err := printRepair(s.stdout, &f.Repairs[i], i+1); err != nil {
			return err
		}
	}
	sum.TookMS = time.Since(began).Milliseconds()
	if s.json {
		for i := range f.Left {
			if err := writeJSON(s.stdout, leftLine{"left", f.Left[i]}); err != nil {
				return err
			}
		}
		return writeJSON(s.stdout, sum)
	}
	if err := printLeft(s.stdout, f); err != nil {
		return err
	}
	text := "nothing to repair"
	if sum.Planned > 0 {
		text = fmt.Sprintf("%s: %s", ui.Plural(int64(sum.Planned), "repair", "repairs"), repaired(sum.Rows, sum.Messages, sum.Removed))
	}
	_, err := fmt.Fprintf(s.stdout, "%s; plan in %s\n", text, ui.Escape(path))
	return err
}

func newRepairLine(r *repair.Repair, outcome string) repairLine {
	return repairLine{
		Type: "repair", InstanceID: r.InstanceID, Codes: append([]string{}, r.Codes()...), Outcome: outcome, Does: append([]string{}, r.Does...),
		Rows: len(r.Writes), Messages: len(r.Messages), Removed: len(r.Removals),
	}
}

// repaired says for people what is written: 3 rows, a message.
func repaired(rows, messages, removed int) string {
	var parts []string
	for _, n := range []struct {
		n         int
		one, many string
	}{{rows, "row", "rows"}, {messages, "message", "messages"}, {removed, "message taken out", "messages taken out"}} {
		if n.n > 0 {
			parts = append(parts, ui.Plural(int64(n.n), n.one, n.many))
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// printRepair prints all that a repair does, with values that are cut.
func printRepair(w io.Writer, r *repair.Repair, n int) error {
	_, _ = fmt.Fprintf(w, "%d. %s  %s\n", n, ui.Escape(r.InstanceID), strings.Join(r.Codes(), ", ")) // to a buffer, which keeps the error
	for i := range r.Findings {
		f := &r.Findings[i]
		_, _ = fmt.Fprintf(w, "   %s: %s\n", f.Severity, ui.Escape(f.Detail))
	}
	for _, does := range r.Does {
		_, _ = fmt.Fprintf(w, "   %s\n", ui.Escape(does))
	}
	t := ui.Table{Indent: "     "}
	for i := range r.Writes {
		rowOf(&t, &r.Writes[i])
	}
	for i := range r.Messages {
		m := &r.Messages[i]
		when := ""
		if m.DueAt != "" {
			when = "due " + m.DueAt
		}
		t.Row(m.Queue, "+ "+eventOf(m.Text), when)
	}
	for i := range r.Removals {
		t.Row(r.Removals[i].Queue, "- "+eventOf(r.Removals[i].Text), r.Removals[i].MessageID)
	}
	if err := t.Write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}

// maxValue is how much of a value is shown; the file has all of it.
const maxValue = 60

// rowOf adds what happens to a row.
func rowOf(t *ui.Table, w *repair.Write) {
	row := w.Before
	if row == nil {
		row = w.After
	}
	place := verify.Place{Table: w.Table, PartitionKey: row.PartitionKey, RowKey: row.RowKey}.String()
	switch {
	case w.Before == nil:
		t.Row(place, "is new")
		return
	case w.After == nil:
		t.Row(place, "is deleted")
		return
	}
	show := func(v schema.Value) string {
		if v.Type() == schema.Absent {
			return "none"
		}
		return ui.Cut(v.String(), maxValue)
	}
	for _, column := range w.Columns {
		t.Row(place, column, show(w.Before.Get(column))+" → "+show(w.After.Get(column)))
		place = ""
	}
}

// eventOf says what a message is.
func eventOf(text string) string {
	m, err := schema.DecodeMessage(text, "")
	switch {
	case err != nil:
		return "a message that cannot be read"
	case m.TaskMessage == nil || m.TaskMessage.Event == nil:
		return "a message in a blob"
	}
	return m.TaskMessage.Event.Type().String()
}

func printLeft(w io.Writer, f *repair.File) error {
	if f.LeftItems == 0 {
		return nil
	}
	_, _ = fmt.Fprintf(w, "left alone (%s)\n", ui.Count(f.LeftItems)) // to a buffer, which keeps the error
	t := ui.Table{Indent: "  "}
	for i := range f.Left {
		l := &f.Left[i]
		t.Row(string(l.Severity), l.Code, l.InstanceID, l.Reason)
	}
	if more := f.LeftItems - int64(len(f.Left)); more > 0 {
		t.Row("and " + ui.Count(more) + " more")
	}
	if err := t.Write(w); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w)
	return err
}
