package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/ui"
)

func captureCommand() *cli.Command {
	return command(&cli.Command{
		Name:  "capture",
		Usage: "copy a whole hub into one file",
		Description: description(
			"Copies tables, queues and blobs as they are stored into a capture, which every other\n"+
				"command reads. The hub is only read: messages are peeked at, so those that are invisible\n"+
				"(timers, work in progress) are counted and not copied. A running hub changes meanwhile;\n"+
				"the manifest says when each table was read. The file stands under OUT.partial until it is\n"+
				"whole; what an interrupted run has left there is replaced by the next.",
			[]string{
				"taskhub capture --connection-string-setting AzureWebJobsStorage --task-hub-name Orders --out orders.taskhub",
				"taskhub capture --account contosoprod --task-hub-name Orders --out orders-2026-11-22.taskhub",
			},
			exitDone, exitFailed, exitUsage, exitSkipped, exitNotFound, exitUnauthorized, exitInterrupted,
		),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "out", Usage: "the capture to write, `FILE`.taskhub; it must not exist"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "folder", Usage: "write a folder with the same files in place of one file"},
			&cli.IntFlag{Name: "workers", Value: 4, Usage: "ranges of a table to read at once, `N`; memory grows with it"},
		},
	}, runCapture)
}

func runCapture(s *session) error {
	out, err := s.text("out")
	if err != nil {
		return err
	}
	if s.Int("workers") < 1 {
		return s.usagef("option --workers: must be at least 1")
	}
	if _, err := os.Lstat(out); err == nil {
		return fmt.Errorf("%s exists, and a capture is never overwritten", out)
	}
	line := s.progressLine()
	return s.withSource(func(r hub.Reader) error {
		began := time.Now()
		line.start()
		defer line.stop()
		err := snapshot.Capture(s.ctx, out, r, snapshot.CaptureOptions{
			WriterOptions: snapshot.WriterOptions{Folder: s.Bool("folder"), Tool: s.App.Name + " " + s.App.Version},
			Now:           time.Now,
			Workers:       s.Int("workers"),
			OnProgress: func(p snapshot.CaptureProgress) {
				line.update(ui.Step{Name: p.Part, Done: p.Items, Total: p.Total, Bytes: p.Bytes})
			},
		})
		if err != nil {
			return err
		}
		line.stop()
		return s.captured(out, time.Since(began))
	})
}

// captureReport is what capture --json prints; docs/json.md describes it.
type captureReport struct {
	Type           string           `json:"type"`
	Out            string           `json:"out"`
	TaskHub        string           `json:"task_hub"`
	Account        string           `json:"account"`
	PartitionCount int              `json:"partition_count"`
	Started        string           `json:"started"`
	Finished       string           `json:"finished"`
	Tables         []captureTable   `json:"tables"`
	Queues         []captureQueue   `json:"queues"`
	Blobs          int64            `json:"blobs"`
	BlobBytes      int64            `json:"blob_bytes"`
	Unreadable     []hub.Unreadable `json:"unreadable"`
}

type captureTable struct {
	Name string `json:"name"`
	Rows int64  `json:"rows"`
}

type captureQueue struct {
	Name        string `json:"name"`
	Seen        int64  `json:"seen"`
	Approximate int64  `json:"approximate_count"`
}

// captured tells what is in the new capture, by reading it.
func (s *session) captured(out string, took time.Duration) error {
	r, err := snapshot.Open(out, snapshot.Options{})
	if err != nil {
		return err
	}
	report, err := s.captureReport(r, out)
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	if s.json {
		if err := writeJSON(s.stdout, report); err != nil {
			return err
		}
	} else if err := captureSummary(s.stderr, report, took); err != nil {
		return err
	}
	for _, u := range report.Unreadable {
		s.warn(fmt.Errorf("%s is not in the capture: %s", u.Artifact, u.Reason))
	}
	return nil
}

func (s *session) captureReport(r hub.Reader, out string) (*captureReport, error) {
	info, err := r.Info(s.ctx)
	if err != nil {
		return nil, err
	}
	c := &captureReport{
		Type: "capture", Out: out, TaskHub: info.Names.TaskHub, Account: info.Account, PartitionCount: info.PartitionCount,
		Started: info.Started.String(), Finished: info.Finished.String(), Unreadable: info.Unreadable,
		Tables: []captureTable{}, Queues: []captureQueue{},
	}
	for _, t := range info.Tables {
		c.Tables = append(c.Tables, captureTable{t.Name, t.Rows})
	}
	queues, err := r.Queues(s.ctx)
	if err != nil {
		return nil, err
	}
	for _, q := range queues {
		entry := captureQueue{Name: q.Name, Approximate: q.ApproximateCount}
		for _, err := range r.Messages(s.ctx, q.Name) {
			if err != nil {
				return nil, err
			}
			entry.Seen++
		}
		c.Queues = append(c.Queues, entry)
	}
	containers, err := r.Containers(s.ctx)
	if err != nil {
		return nil, err
	}
	for _, k := range containers {
		for b, err := range r.Blobs(s.ctx, k.Name, "") {
			if err != nil {
				return nil, err
			}
			c.Blobs++
			c.BlobBytes += b.SizeBytes
		}
	}
	if c.Unreadable == nil {
		c.Unreadable = []hub.Unreadable{}
	}
	return c, nil
}

func captureSummary(w io.Writer, c *captureReport, took time.Duration) error {
	_, err := fmt.Fprintf(w, "hub %s captured to %s in %s\n", ui.Escape(c.TaskHub), ui.Escape(c.Out), ui.Duration(took))
	t := ui.Table{Right: []bool{false, true}, Indent: "  "}
	for _, table := range c.Tables {
		t.Row(table.Name, ui.Plural(table.Rows, "row", "rows"))
	}
	var seen, hidden int64
	for _, q := range c.Queues {
		seen += q.Seen
		hidden += max(0, q.Approximate-q.Seen)
	}
	t.Row(ui.Plural(int64(len(c.Queues)), "queue", "queues"), ui.Plural(seen, "message", "messages"))
	t.Row("blobs", fmt.Sprintf("%s, %s", ui.Plural(c.Blobs, "blob", "blobs"), ui.Bytes(c.BlobBytes)))
	if hidden > 0 {
		t.Row("not copied", ui.Plural(hidden, "invisible message", "invisible messages"))
	}
	return errors.Join(err, t.Write(w))
}

// progressLine shows the progress of long work on a terminal; a nil one shows
// nothing.
type progressLine struct{ line *ui.Progress }

func (s *session) progressLine() *progressLine {
	if s.json || !ui.IsTerminal(s.stderr) {
		return nil
	}
	width := func() int { return ui.TerminalWidth(s.stderr) }
	return &progressLine{ui.NewProgress(s.stderr, width, time.Now)}
}

func (p *progressLine) start() {
	if p != nil {
		p.line.Start()
	}
}

func (p *progressLine) stop() {
	if p != nil {
		p.line.Stop()
	}
}

func (p *progressLine) update(step ui.Step) {
	if p != nil {
		p.line.Update(step)
	}
}
