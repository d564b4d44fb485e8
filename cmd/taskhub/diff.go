package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/diff"
	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/schema"
)

func diffCommand() *cli.Command {
	return commandWith(slices.Concat(sourceFlags(), targetFlags()), &cli.Command{
		Name:  "diff",
		Usage: "compare two hubs",
		Description: description(
			"Compares the hub that the options name with the one that the options with --to- name:\n"+
				"instances and history column by column, partitions, containers, blobs, queues, and the\n"+
				"messages that can be seen, in whatever order. Both hubs are only read. What the service\n"+
				"sets does not count (Timestamp, ETag, IDs and times of messages, times and leases of\n"+
				"blobs), and neither do the owners of partitions and leases; --exact counts both.\n"+
				"Hubs of different names or accounts are compared without these names. Invisible messages\n"+
				"show in the counts of queues only.",
			[]string{
				"taskhub diff --snapshot before.taskhub --to-snapshot after.taskhub",
				"taskhub diff --snapshot orders.taskhub --to-connection-string-setting TestStorage --json --redact hash",
				"taskhub diff --task-hub-name Orders --to-task-hub-name OrdersCopy --only instances,history",
			},
			exitDone, exitFailed, exitUsage, exitFindings, exitSkipped, exitNotFound, exitUnauthorized, exitInterrupted,
		),
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "only", Usage: "compare only these, `DATASET`,…: instances, history, partitions, containers, blobs, queues, messages"},
			&cli.StringSliceFlag{Name: "ignore", Usage: "this column does not count: `COLUMN` or DATASET.COLUMN; may be repeated"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "exact", Usage: "compare what the service sets, and owners of partitions and leases, too"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "map-names", Usage: "compare without the names of hub and account; by default if they differ"},
			&cli.IntFlag{Name: "max", Usage: "stop after `N` differences"},
			&cli.StringFlag{Name: "redact", Usage: "show only the lengths of payloads, or lengths and SHA-256: `HOW` is payloads or hash"},
			&cli.StringFlag{Name: "max-value", Value: "64KiB", Usage: "with --json, longest value to show whole, `SIZE`; of a longer one its length and SHA-256"},
			&cli.StringFlag{Name: "max-blob", Value: "256MiB", Usage: "largest blob to read where the service tells no MD5, `SIZE`; whether a larger one differs is unknown"},
			maxPayloadFlag(),
		},
	}, runDiff)
}

// diffOptions are what the options say but for where the hubs are.
func diffOptions(s *session) (o diff.Options, show diff.Show, err error) {
	var errs [6]error
	o.Only, errs[0] = someOf(s, "only", diff.Datasets[:])
	o.Ignore, errs[1] = s.nonEmpty("ignore")
	if s.IsSet("redact") {
		show.Redact, errs[2] = oneOf(s, "redact", diff.RedactPayloads, diff.RedactHash)
	}
	limit, err := s.size("max-value")
	show.MaxValueBytes, errs[3] = int(min(limit, 1<<30)), err
	o.MaxBlobBytes, errs[4] = s.size("max-blob")
	o.MaxPayloadBytes, errs[5] = s.size(optMaxPayload)
	o.Owners, o.ServiceValues = s.Bool("exact"), s.Bool("exact")
	switch {
	case s.Bool("map-names"):
		o.Names = diff.MapNames
	case s.IsSet("map-names"):
		o.Names = diff.KeepNames
	}
	for _, err := range errs {
		if err != nil {
			return o, show, err
		}
	}
	if s.IsSet("max") && s.Int("max") < 1 {
		return o, show, s.usagef("option --max: must be at least 1")
	}
	for _, name := range o.Ignore {
		dataset, column, found := strings.Cut(name, ".")
		if found && (column == "" || !slices.Contains(diff.Datasets[:], diff.Dataset(dataset))) {
			return o, show, s.usagef("option --ignore: %q is neither COLUMN nor DATASET.COLUMN; datasets are %s", name, listed(diff.Datasets[:]))
		}
	}
	return o, show, nil
}

func runDiff(s *session) error {
	opts, show, err := diffOptions(s)
	if err != nil {
		return err
	}
	if err := s.checkSource(); err != nil {
		return err
	}
	to, err := s.to().target()
	if err != nil {
		return err
	}
	return s.withSource(func(a hub.Reader) error {
		info, err := a.Info(s.ctx)
		if err != nil {
			return err
		}
		return s.withTarget(to, info.Names, func(b hub.Reader) error {
			d := differ{session: s, to: to, show: show}
			return d.located(d.run(a, b, opts))
		})
	})
}

// differ is one run of diff.
type differ struct {
	*session
	to   target
	show diff.Show

	dataset diff.Dataset // of the last difference that was printed
	found   int
}

// located says in an error of one of the hubs which of them it was.
func (d *differ) located(err error) error {
	var of *diff.HubError
	if !errors.As(err, &of) {
		return err
	}
	switch {
	case of.Second && d.to.account == nil:
		return fmt.Errorf("%s: %w", d.to.path, of.Err)
	case of.Second:
		return of.Err // withTarget tells
	case d.IsSet(optSnapshot):
		return fmt.Errorf("%s: %w", d.String(optSnapshot), of.Err)
	}
	a, err := d.account(true)
	if err != nil {
		return of.Err
	}
	return a.located(of.Err)
}

func (d *differ) run(a, b hub.Reader, opts diff.Options) error {
	line := d.progressLine()
	if ui.IsTerminal(d.App.Writer) {
		line = nil // the differences themselves show it
	}
	line.start()
	defer line.stop()
	opts.OnProgress = func(p diff.Progress) {
		line.update(ui.Step{Name: string(p.Dataset), Done: p.Compared, Total: p.Total})
	}
	c, err := diff.Open(d.ctx, a, b, opts)
	if err != nil {
		return err
	}
	sum := d.summary(c)
	if !d.json {
		if err := d.header(&sum); err != nil {
			return err
		}
	}
	for difference, err := range c.Differences(d.ctx) {
		if err != nil {
			return err
		}
		if err := d.print(&difference); err != nil {
			return err
		}
		if d.found++; d.found == d.Int("max") {
			sum.Stopped = true
			break
		}
	}
	line.stop()
	return d.end(c, &sum)
}

// diffSummary is the last line of diff --json; docs/json.md describes it.
type diffSummary struct {
	Type         string      `json:"type"`
	First        diffHub     `json:"first"`
	Second       diffHub     `json:"second"`
	NamesMapped  bool        `json:"names_mapped"`
	AcrossQueues bool        `json:"across_queues"`
	Equal        bool        `json:"equal"`
	Differences  int64       `json:"differences"`
	Stopped      bool        `json:"stopped"`
	Datasets     []diffCount `json:"datasets"`
}

type diffHub struct {
	TaskHub        string `json:"task_hub"`
	Account        string `json:"account,omitempty"`
	Snapshot       string `json:"snapshot,omitempty"`
	PartitionCount int    `json:"partition_count"`
}

type diffCount struct {
	Name     string `json:"name"`
	Compared int64  `json:"compared"`
	Added    int64  `json:"added"`
	Removed  int64  `json:"removed"`
	Changed  int64  `json:"changed"`
	Unknown  int64  `json:"unknown"`
}

// summary begins the summary, and warns of what either hub lacks.
func (d *differ) summary(c *diff.Comparison) diffSummary {
	a, b := c.Infos()
	of := func(info *hub.Info, path string) diffHub {
		for _, u := range info.Unreadable {
			if path == "" {
				d.warn(fmt.Errorf("hub %s: %s could not be read: %s", info.Names.TaskHub, u.Artifact, u.Reason))
			} else {
				d.warn(fmt.Errorf("%s: %s is not in the capture: %s", path, u.Artifact, u.Reason))
			}
		}
		return diffHub{TaskHub: info.Names.TaskHub, Account: info.Account, Snapshot: path, PartitionCount: info.PartitionCount}
	}
	return diffSummary{
		Type: "summary", First: of(&a, d.String(optSnapshot)), Second: of(&b, d.to.path),
		NamesMapped: c.Mapped(), AcrossQueues: c.AcrossQueues(),
	}
}

func (d *differ) header(sum *diffSummary) error {
	t := ui.Table{}
	for _, h := range []struct {
		mark string
		hub  *diffHub
	}{{"-", &sum.First}, {"+", &sum.Second}} {
		where := h.hub.Snapshot
		if where == "" {
			where = "storage account " + orUnknown(h.hub.Account)
		}
		t.Row(h.mark, "hub "+h.hub.TaskHub, ui.Plural(int64(h.hub.PartitionCount), "partition", "partitions"), where)
	}
	err := t.Write(d.stdout)
	if err == nil && sum.NamesMapped {
		_, err = d.stdout.WriteString("names of hubs and accounts do not count (--map-names false compares them)\n")
	}
	if err == nil && sum.AcrossQueues {
		_, err = d.stdout.WriteString("partition counts differ: messages are compared across control queues\n")
	}
	return err
}

var diffMarks = map[diff.Kind]string{diff.Added: "+", diff.Removed: "-", diff.Changed: "~", diff.Unknown: "?"}

// print prints a difference.
func (d *differ) print(difference *diff.Difference) error {
	if difference.Kind == diff.Unknown {
		d.warn(fmt.Errorf("blob %s/%s could not be compared: %s", difference.Artifact, difference.Blob, difference.Reason))
	}
	if d.json {
		_, err := d.stdout.Write(append(difference.AppendJSON(nil, d.show), '\n'))
		return err
	}
	if difference.Dataset != d.dataset {
		d.dataset = difference.Dataset
		if _, err := fmt.Fprintf(d.stdout, "\n%s\n", d.dataset); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(d.stdout, "  %s %s\n", diffMarks[difference.Kind], ui.Escape(described(difference))); err != nil {
		return err
	}
	t := ui.Table{Indent: "      "}
	for _, c := range difference.Columns {
		textA, _ := c.A.Text()
		textB, _ := c.B.Text()
		from := commonPrefix(textA, textB)
		a, b := d.cell(difference, &c, c.A, from), d.cell(difference, &c, c.B, from)
		if a == b && c.A.Type() != c.B.Type() {
			a, b = a+" ("+c.A.EDM()+")", b+" ("+c.B.EDM()+")"
		}
		t.Row(c.Name, a+" → "+b)
	}
	return t.Write(d.stdout)
}

// described names for people what differs.
func described(d *diff.Difference) string {
	switch d.Dataset {
	case diff.Instances:
		if d.RowKey == "" {
			return d.InstanceID
		}
		return d.InstanceID + " " + d.RowKey
	case diff.History:
		return d.InstanceID + " " + d.RowKey
	case diff.Partitions:
		return d.RowKey
	case diff.Blobs:
		return d.Artifact + "/" + d.Blob
	case diff.Messages:
		m := d.Message
		words := []string{d.Artifact + ":"}
		for _, w := range []string{m.EventType, m.Name} {
			if w != "" {
				words = append(words, w)
			}
		}
		if len(words) == 1 {
			words = append(words, "message "+m.ID)
		}
		if d.InstanceID != "" {
			words = append(words, "for "+d.InstanceID)
		}
		return strings.Join(words, " ")
	}
	return d.Artifact
}

// maxCell is the width of a value in text.
const maxCell = 40

// commonPrefix returns the length of the beginning that two texts share.
func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// cell returns a value for people: text in quotes as far as there is room, from a
// little before it differs on if that is far from its beginning.
func (d *differ) cell(difference *diff.Difference, c *diff.Column, v schema.Value, differs int) string {
	s := d.show.Shown(difference, c.Name, v)
	switch {
	case s.Hidden && s.SHA256 != "":
		return ui.Plural(s.SizeBytes, "byte", "bytes") + ", SHA-256 " + s.SHA256[:12] + "…"
	case s.Hidden:
		return ui.Plural(s.SizeBytes, "byte", "bytes")
	}
	text, ok := v.Text()
	if !ok {
		return ui.Cut(v.String(), maxCell)
	}
	const before = 10
	shown := text
	if len(text) > maxCell && differs > maxCell/2 {
		from := min(differs, len(text)) - before
		for from > 0 && !utf8.RuneStart(text[from]) {
			from--
		}
		shown = "…" + text[from:]
	}
	// So that no more than what can be seen is escaped.
	shown = shown[:min(len(shown), 4*maxCell)]
	cut := ui.Cut(ui.Escape(shown), maxCell)
	if len(text) > len(cut) || len(shown) != len(text) {
		return `"` + cut + `" (` + ui.Plural(int64(len(text)), "byte", "bytes") + ")"
	}
	return `"` + cut + `"`
}

// end prints the summary and says with an error whether there were differences.
func (d *differ) end(c *diff.Comparison, sum *diffSummary) error {
	sum.Datasets = []diffCount{}
	certain := int64(0)
	for _, n := range c.Counts() {
		sum.Datasets = append(sum.Datasets, diffCount{string(n.Dataset), n.Compared, n.Added, n.Removed, n.Changed, n.Unknown})
		sum.Differences += n.Differing()
		certain += n.Added + n.Removed + n.Changed
	}
	sum.Equal = sum.Differences == 0
	if d.json {
		if err := writeJSON(d.stdout, sum); err != nil {
			return err
		}
	} else if err := d.totals(sum); err != nil {
		return err
	}
	if certain == 0 {
		return nil
	}
	text := "the hubs differ in " + ui.Plural(certain, "place", "places")
	if sum.Stopped {
		text += ", at least"
	}
	return &findingsError{text}
}

func (d *differ) totals(sum *diffSummary) error {
	text := "\nthe hubs are equal\n"
	switch {
	case sum.Stopped:
		text = fmt.Sprintf("\nstopped after %s\n", ui.Plural(sum.Differences, "difference", "differences"))
	case !sum.Equal:
		text = "\n" + ui.Plural(sum.Differences, "difference", "differences") + "\n"
	}
	if _, err := d.stdout.WriteString(text); err != nil {
		return err
	}
	t := ui.Table{Indent: "  ", Right: []bool{false, true, true, true, true}}
	t.Row("dataset", "compared", "added", "removed", "changed")
	for _, n := range sum.Datasets {
		row := []string{n.Name, ui.Count(n.Compared), ui.Count(n.Added), ui.Count(n.Removed), ui.Count(n.Changed)}
		if n.Unknown > 0 {
			row = append(row, ui.Count(n.Unknown)+" unknown")
		}
		t.Row(row...)
	}
	return t.Write(d.stdout)
}
