package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// purgeReport is a line of purge-history --json; docs/json.md describes it.
type purgeReport struct {
	Type          string `json:"type"`
	Kind          string `json:"kind"`
	InstanceID    string `json:"instance_id,omitempty"`
	Blob          string `json:"blob,omitempty"`
	Outcome       result `json:"outcome"`
	DryRun        bool   `json:"dry_run,omitempty"`
	RuntimeStatus string `json:"runtime_status,omitempty"`
	Instances     int64  `json:"instances"`
	HistoryRows   int64  `json:"history_rows"`
	Blobs         int64  `json:"blobs"`
	BlobBytes     int64  `json:"blob_bytes"`
	Reason        string `json:"reason,omitempty"`
	Error         string `json:"error,omitempty"`
}

func newPurgeReport(p *manage.Purged) purgeReport {
	r := purgeReport{
		InstanceID: p.InstanceID, Instances: p.Instances, HistoryRows: p.HistoryRows, Blobs: p.Blobs, BlobBytes: p.BlobBytes,
	}
	if p.Status != schema.StatusUnknown {
		r.RuntimeStatus = p.Status.String()
	}
	return r
}

// ruleReport is what a rule of a policy decides.
type ruleReport struct {
	Rule    string `json:"rule"`
	Line    int    `json:"line,omitempty"`
	Deletes int64  `json:"deletes"`
	Keeps   int64  `json:"keeps"`
}

// archiveReport describes an archive.
type archiveReport struct {
	Path        string `json:"path"`
	SizeBytes   int64  `json:"size_bytes"`
	SHA256      string `json:"sha256"`
	Instances   int64  `json:"instances"`
	HistoryRows int64  `json:"history_rows"`
	Blobs       int64  `json:"blobs"`
	BlobBytes   int64  `json:"blob_bytes"`
}

// purgeSummary is the last line of purge-history --json; docs/json.md describes it.
type purgeSummary struct {
	Type              string         `json:"type"`
	Operation         string         `json:"operation"`
	Account           string         `json:"account"`
	TaskHub           string         `json:"task_hub"`
	DryRun            bool           `json:"dry_run"`
	Chosen            int64          `json:"chosen"`
	OrphansFound      int64          `json:"orphans_found"`
	UnreferencedFound int64          `json:"unreferenced_found"`
	Done              int64          `json:"done"`
	Skipped           int64          `json:"skipped"`
	Refused           int64          `json:"refused"`
	Failed            int64          `json:"failed"`
	Instances         int64          `json:"instances"`
	HistoryRows       int64          `json:"history_rows"`
	Blobs             int64          `json:"blobs"`
	BlobBytes         int64          `json:"blob_bytes"`
	Rules             []ruleReport   `json:"rules,omitempty"`
	Archive           *archiveReport `json:"archive,omitempty"`
	Interrupted       bool           `json:"interrupted"`
	TookMS            int64          `json:"took_ms"`

	unreferencedBytes int64
	orphans           int64 // histories that were deleted
}

// begin notes what the plan has found.
func (s *purgeSummary) begin(p *purging) {
	s.Type, s.Operation, s.Account, s.TaskHub, s.DryRun = "summary", "purge-history", p.info.Account, p.info.Names.TaskHub, p.e == nil
	s.Rules = p.rules
	if p.orphans != nil {
		s.OrphansFound = p.orphans.count
	}
	s.Chosen = p.instances() + s.OrphansFound + s.UnreferencedFound
}

// instances returns how many instances the plan has found.
func (p *purging) instances() int64 {
	n := p.chosen.count
	for _, ids := range p.batches {
		n += int64(len(ids))
	}
	return n
}

func (s *purgeSummary) add(r *purgeReport) {
	switch r.Outcome {
	case resultDone:
		s.Done++
		if r.Kind == "orphan" {
			s.orphans++
		}
	case resultSkipped:
		s.Skipped++
	case resultRefused:
		s.Refused++
	case resultFailed:
		s.Failed++
	}
	s.Instances += r.Instances
	s.HistoryRows += r.HistoryRows
	s.Blobs += r.Blobs
	s.BlobBytes += r.BlobBytes
}

// tellPlan says what is about to go.
func (p *purging) tellPlan() error {
	if p.json {
		return nil
	}
	if err := p.tellRules(); err != nil {
		return err
	}
	if p.filter != nil || p.named() {
		var first []string
		for _, entry := range p.chosen.first {
			first = append(first, idOf(entry))
		}
		for _, ids := range p.batches {
			first = append(first, ids...)
		}
		if err := p.tellSome("instance", "instances", p.instances(), first); err != nil {
			return err
		}
	}
	if p.orphans != nil {
		if err := p.tellSome("history without an instance", "histories without an instance", p.orphans.count, p.orphans.first); err != nil {
			return err
		}
	}
	if p.blobs == nil {
		return nil
	}
	which := "that nothing names"
	if !p.Bool(optBlobs) {
		which = "without an instance"
	}
	if err := p.tell("purge %s %s, %s", ui.Plural(p.sum.UnreferencedFound, "payload", "payloads"), which, ui.Bytes(p.sum.unreferencedBytes)); err != nil {
		return err
	}
	kept := p.blobs.Kept()
	for _, k := range []struct {
		n   int64
		why string
	}{
		{kept.Young, "written in the last " + ui.Duration(p.Duration(optGrace))},
		{kept.Messages, "of messages: " + kept.Why},
		{kept.Unknown, "with a name that is not a payload's"},
	} {
		if k.n == 0 {
			continue
		}
		if err := p.tell("  spared: %s %s", ui.Plural(k.n, "payload", "payloads"), k.why); err != nil {
			return err
		}
	}
	return nil
}

// tellRules says what each rule of a policy decides. In a dry run that is the
// result.
func (p *purging) tellRules() error {
	if p.policy == nil {
		return nil
	}
	t := ui.Table{Right: []bool{false, true, true}, Indent: "  "}
	t.Row("rule", "deletes", "keeps")
	for _, r := range p.rules {
		t.Row(ui.Escape(r.Rule), ui.Count(r.Deletes), ui.Count(r.Keeps))
	}
	if p.e == nil {
		return t.Write(p.stdout)
	}
	return t.Write(p.stderr)
}

func (p *purging) tellSome(one, many string, count int64, first []string) error {
	if count == 0 {
		return p.tell("purge no %s", one)
	}
	more := ""
	if len(first) > maxFirst {
		first = first[:maxFirst]
	}
	if count > int64(len(first)) {
		more = ", …"
	}
	for i := range first {
		first[i] = ui.Cut(first[i], 60)
	}
	return p.tell("purge %s: %s%s", ui.Plural(count, one, many), strings.Join(first, ", "), more)
}

// tellOf tells what became of one item. For people that is what was not done: what
// was is counted in the end.
func (p *purging) tellOf(r *purgeReport) error {
	if p.json {
		return writeJSON(p.stdout, r)
	}
	what := fmt.Sprintf("instance %q", r.InstanceID)
	if r.Blob != "" {
		what = "payload " + r.Blob
	}
	switch r.Outcome {
	case resultRefused, resultFailed:
		if p.alone() {
			return nil // the error says it
		}
		text := r.Error
		if r.Blob != "" || !strings.Contains(text, fmt.Sprintf("%q", r.InstanceID)) {
			text = what + ": " + text
		}
		message(p.stderr, false, string(r.Outcome), 0, text, "")
	case resultSkipped:
		return p.tell("nothing deleted of %s: %s", what, r.Reason)
	}
	return nil
}

// alone reports whether the run is about a single instance that is named.
func (p *purging) alone() bool { return p.sum.Chosen == 1 && len(p.ids) == 1 }

// end tells the end of a run, and makes an error of what was left. err is why it
// has ended early.
func (p *purging) end(err error) error {
	sum := &p.sum
	if p.json {
		if err := writeJSON(p.stdout, sum); err != nil {
			return err
		}
	} else if err := p.endText(); err != nil {
		return err
	}
	left := sum.Refused + sum.Failed
	switch {
	case err != nil:
		return err
	case left > 0 && p.alone():
		return p.only
	case left > 0:
		return &skippedError{"done, but for " + ui.Count(left) + " of " + ui.Plural(sum.Chosen, "item", "items")}
	}
	return nil
}

// endText prints the lines of the framework's command.
//
// Source: core-tools DurableManager.cs:276-294. Dates are not in the culture of the
// machine, but ISO 8601.
func (p *purging) endText() error {
	sum := &p.sum
	purged, deleted := "Purged", "deleted"
	if sum.DryRun {
		purged, deleted = "Would purge", "to delete"
	}
	var b strings.Builder
	if p.filter != nil {
		fmt.Fprintf(&b, "%s orchestration history for all instances %s\n", purged, p.filterText())
	}
	if p.filter != nil || p.named() {
		fmt.Fprintf(&b, "Instances %s: %d\n", deleted, sum.Instances)
	}
	if p.filter != nil || p.named() || p.orphans != nil {
		fmt.Fprintf(&b, "Rows %s: %d\n", deleted, sum.HistoryRows)
	}
	if p.orphans != nil {
		fmt.Fprintf(&b, "Histories without an instance %s: %d\n", deleted, sum.orphans)
	}
	if p.blobs != nil {
		fmt.Fprintf(&b, "Payloads %s: %d\n", deleted, sum.Blobs)
	}
	if _, err := p.stdout.WriteString(b.String()); err != nil {
		return err
	}
	if err := p.stdout.Flush(); err != nil {
		return err
	}
	again := ""
	if n := sum.Chosen - sum.Done - sum.Skipped - sum.Refused - sum.Failed; n > 0 {
		again = fmt.Sprintf("; %s not begun: the same command goes on", ui.Count(n))
	}
	return p.tell("%s (%s) %s in %s%s", ui.Plural(sum.Blobs, "payload", "payloads"), ui.Bytes(sum.BlobBytes), deleted,
		ui.Duration(time.Duration(sum.TookMS)*time.Millisecond), again)
}

// filterText says which instances the filter chooses, as the framework's command
// does, whose open ends are the first day and the last but one.
func (p *purging) filterText() string {
	f := p.filter
	to := f.CreatedTo
	if to == 0 {
		to = schema.TicksOf(time.Date(9999, 12, 30, 23, 59, 59, 999_999_900, time.UTC))
	}
	text := fmt.Sprintf("created between '%v' and '%v'", f.CreatedFrom, to)
	if p.IsSet(optStatus) {
		names := make([]string, len(f.Statuses))
		for i, s := range f.Statuses {
			names[i] = s.String()
		}
		text += " and whose runtime status matched one of the following: [" + strings.Join(names, ",") + "]"
	}
	return text
}
