package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/export"
	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/ui"
)

func exportCommand() *cli.Command {
	return command(&cli.Command{
		Name:  "export",
		Usage: "write a hub as Parquet, NDJSON or JSON files",
		Description: description(
			"Writes the datasets instances, history, messages, entities and blobs below --out, each\n"+
				"as part files with the same columns, and DIR/manifest.json, which lists them with rows,\n"+
				"bytes and SHA-256. Payloads kept in blobs are put in their places. What cannot be read\n"+
				"is null, with the reason in the column error. Files stand under temporary names until\n"+
				"they are whole; after a failure nothing of the run is left.",
			[]string{
				"taskhub export --snapshot orders.taskhub --out orders --format parquet",
				"taskhub export --snapshot orders.taskhub --out failed --runtime-status failed terminated --redact hash",
				"taskhub export --snapshot orders.taskhub --out - --dataset history --id order-1 | jq .event_type",
			},
			exitDone, exitFailed, exitUsage, exitSkipped, exitNotFound, exitUnauthorized, exitInterrupted,
		),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", Usage: "the folder to write, `DIR`; - writes NDJSON of one --dataset to stdout"},
			&cli.StringFlag{Name: "format", Value: "ndjson", Usage: "`FORMAT` of the part files: parquet, ndjson or json"},
			&cli.StringSliceFlag{Name: "dataset", Usage: "only these datasets, `NAME`,…: instances, history, messages, entities, blobs"},
			&cli.StringFlag{Name: "redact", Usage: "replace payloads by their lengths, or by lengths and SHA-256: `HOW` is payloads or hash"},
			&cli.StringSliceFlag{Name: "partition-by", Usage: "spread rows over folders KEY=VALUE by these keys, `KEY`,…: date, instance_name"},
			&cli.StringFlag{Name: "part-size", Value: "256MiB", Usage: "begin the next part file at about `SIZE`"},
			statusFlag(), nameFlag(),
			&cli.StringSliceFlag{Name: "id", Usage: "only the instance `ID`; may be repeated"},
			idPrefixFlag(), createdAfterFlag(), createdBeforeFlag(),
			&cli.StringFlag{Name: optUpdatedAfter, Usage: "only instances last updated at `TIME` or later"},
			&cli.StringFlag{Name: optUpdatedBefore, Usage: "only instances last updated at `TIME` or earlier"},
			&cli.StringFlag{Name: "entities", Value: "include", Usage: "what to do with entities, `HOW`: include, exclude, or only"},
			maxPayloadFlag(),
			&cli.IntFlag{Name: "workers", Value: 2, Usage: "parts of the hub to work on at once, `N`; memory grows with it"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "overwrite", Usage: "replace an earlier export in the same folder"},
		},
	}, runExport)
}

func runExport(s *session) error {
	out, err := s.text("out")
	if err != nil {
		return err
	}
	opts, err := exportOptions(s)
	if err != nil {
		return err
	}
	if out == "-" {
		return streamExport(s, opts)
	}
	progress := s.progressLine()
	opts.OnProgress = progress.onProgress
	return s.withSource(func(r hub.Reader) error {
		opts.Skipped = func() []hub.Unreadable { return damageOf(r) }
		progress.start()
		defer progress.stop()
		began := time.Now()
		m, err := export.Run(s.ctx, r, out, opts)
		if err != nil {
			return err
		}
		progress.stop()
		if s.json {
			if err := writeJSON(s.stdout, newExportReport(m, out)); err != nil {
				return err
			}
		} else if err := exportSummary(s.stderr, m, out, time.Since(began)); err != nil {
			return err
		}
		return s.exportGaps(r, m.Errors())
	})
}

func exportOptions(s *session) (o export.Options, err error) {
	var errs [12]error
	o.Format, errs[0] = oneOf(s, "format", export.Parquet, export.NDJSON, export.JSON)
	o.Datasets, errs[1] = someOf(s, "dataset", export.Datasets[:])
	if s.IsSet("redact") {
		o.Redact, errs[2] = oneOf(s, "redact", export.RedactPayloads, export.RedactHash)
	}
	o.PartitionBy, errs[3] = someOf(s, "partition-by", []export.PartitionKey{export.ByDate, export.ByInstanceName})
	o.PartBytes, errs[4] = s.size("part-size")
	o.MaxPayloadBytes, errs[5] = s.size(optMaxPayload)
	statuses, err := s.statuses()
	errs[6] = err
	for _, st := range statuses {
		o.Filter.Statuses = append(o.Filter.Statuses, st.String())
	}
	o.Filter.Names, errs[7] = s.nonEmpty(optName)
	o.Filter.IDs, errs[8] = s.nonEmpty("id")
	o.Filter.IDPrefix = s.String(optIDPrefix)
	o.Filter.CreatedFrom, o.Filter.CreatedTo, errs[9] = s.window(optCreatedAfter, optCreatedBefore)
	o.Filter.UpdatedFrom, o.Filter.UpdatedTo, errs[10] = s.window(optUpdatedAfter, optUpdatedBefore)
	entities, err := oneOf(s, "entities", "include", string(export.NoEntities), string(export.OnlyEntities))
	errs[11] = err
	if entities != "include" {
		o.Filter.Entities = export.EntityFilter(entities)
	}
	for _, err := range errs {
		if err != nil {
			return o, err // the first is enough
		}
	}
	if o.Workers = s.Int("workers"); o.Workers < 1 {
		return o, s.usagef("option --workers: must be at least 1")
	}
	o.Overwrite = s.Bool("overwrite")
	o.Tool = s.App.Name + " " + s.App.Version
	return o, nil
}

// streamExport writes one dataset to stdout.
func streamExport(s *session, opts export.Options) error {
	if len(opts.Datasets) != 1 {
		return s.usagef("--out - writes one dataset: name it with --dataset")
	}
	if opts.Format != export.NDJSON {
		return s.usagef("--out - writes NDJSON, not %s", opts.Format)
	}
	for _, name := range []string{"partition-by", "part-size", "overwrite"} {
		if s.IsSet(name) {
			return s.usagef("--%s is about files and has no meaning with --out -", name)
		}
	}
	progress := s.progressLine()
	if ui.IsTerminal(s.App.Writer) {
		progress = nil // the rows themselves show it
	}
	opts.OnProgress = progress.onProgress
	return s.withSource(func(r hub.Reader) error {
		progress.start()
		defer progress.stop()
		stats, err := export.Stream(s.ctx, r, s.stdout, opts.Datasets[0], opts)
		if err != nil {
			return err
		}
		progress.stop()
		return s.exportGaps(r, stats.Errors)
	})
}

// damageOf lists what had to be left out of a damaged capture.
func damageOf(r hub.Reader) (left []hub.Unreadable) {
	c, ok := r.(*snapshot.Reader)
	if !ok {
		return nil
	}
	for _, d := range c.Damage() {
		left = append(left, hub.Unreadable{Artifact: cmp.Or(d.File, "the capture"), Reason: d.Error()})
	}
	return left
}

// exportGaps tells what an export lacks: rows with an error, and what was not
// readable when the hub was captured.
func (s *session) exportGaps(r hub.Reader, rows int64) error {
	if rows > 0 {
		s.warnOf(rows, fmt.Errorf("%s could not be read in full: see the column error", ui.Plural(rows, "row", "rows")))
	}
	info, err := r.Info(s.ctx)
	if err != nil {
		return err
	}
	for _, u := range info.Unreadable {
		s.warn(fmt.Errorf("%s is not in the capture: %s", u.Artifact, u.Reason))
	}
	return nil
}

// exportReport is what export --json prints; docs/json.md describes it.
type exportReport struct {
	Type     string          `json:"type"`
	Out      string          `json:"out"`
	TaskHub  string          `json:"task_hub"`
	Format   export.Format   `json:"format"`
	Rows     int64           `json:"rows"`
	Bytes    int64           `json:"size_bytes"`
	Errors   int64           `json:"errors"`
	Datasets []datasetReport `json:"datasets"`
}

type datasetReport struct {
	Name   export.Dataset `json:"name"`
	Rows   int64          `json:"rows"`
	Parts  int            `json:"parts"`
	Bytes  int64          `json:"size_bytes"`
	Errors int64          `json:"errors"`
}

func newExportReport(m *export.Manifest, out string) exportReport {
	r := exportReport{Type: "export", Out: out, TaskHub: m.Source.TaskHub, Format: m.Options.FileFormat}
	for _, d := range m.Datasets {
		e := datasetReport{Name: d.Name, Rows: d.Rows, Parts: len(d.Parts), Errors: d.Errors}
		for _, p := range d.Parts {
			e.Bytes += p.Bytes
		}
		r.Rows += e.Rows
		r.Bytes += e.Bytes
		r.Errors += e.Errors
		r.Datasets = append(r.Datasets, e)
	}
	return r
}

func exportSummary(w io.Writer, m *export.Manifest, out string, took time.Duration) error {
	r := newExportReport(m, out)
	_, err := fmt.Fprintf(w, "hub %s exported to %s as %s in %s\n",
		ui.Escape(r.TaskHub), ui.Escape(out), r.Format, ui.Duration(took))
	t := ui.Table{Right: []bool{false, true, true, true, true}, Indent: "  "}
	t.Row("dataset", "rows", "parts", "size", "rows with errors")
	for _, d := range r.Datasets {
		t.Row(string(d.Name), ui.Count(d.Rows), ui.Count(int64(d.Parts)), ui.Bytes(d.Bytes), ui.Count(d.Errors))
	}
	return errors.Join(err, t.Write(w))
}

// onProgress shows the progress of an export on a line.
func (p *progressLine) onProgress(e export.Progress) {
	p.update(ui.Step{Name: string(e.Dataset), Done: e.Rows, Total: e.Total, Bytes: e.Bytes})
}
