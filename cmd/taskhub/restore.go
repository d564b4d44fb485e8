package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/migrate"
)

func restoreCommand() *cli.Command {
	return commandWith(append(captureFlags(), targetConnectionFlags(categoryWriteTarget)...), &cli.Command{
		Name:  "restore",
		Usage: "put a captured hub into a storage account",
		Description: description(
			"Writes the tables, queues and blobs of a capture into an account under the same names,\n"+
				"as they were, messages last. Rows that refer to blobs by the URL of the old account keep\n"+
				"it. The hub must not exist there, unless --resume goes on with an interrupted run: rows\n"+
				"and blobs are then written again, queues emptied and filled anew. Messages that were\n"+
				"invisible when the hub was captured are not in the capture. At the end the account is\n"+
				"compared with the capture.",
			[]string{
				"taskhub restore --snapshot orders.taskhub --to-connection-string-setting TestStorage --dry-run",
				"taskhub restore --snapshot orders.taskhub --to-connection-string UseDevelopmentStorage=true --yes",
			},
			exitDone, exitFailed, exitUsage, exitFindings, exitInUse, exitUnauthorized, exitInterrupted,
		),
		Flags: []cli.Flag{
			&cli.BoolFlag{DisableDefaultText: true, Name: optResume, Usage: "go on in a hub that exists"},
			&cli.BoolFlag{DisableDefaultText: true, Name: optDryRun, Usage: "say what would be written, and write nothing"},
			&cli.BoolFlag{DisableDefaultText: true, Name: optYes, Usage: "do not ask"},
			&cli.IntFlag{Name: optConcurrency, Value: 16, Usage: "requests at once, `N`"},
		},
	}, runRestore)
}

func runRestore(s *session) error {
	if _, err := s.text(optSnapshot); err != nil {
		return err
	}
	if s.Int(optConcurrency) < 1 {
		return s.usagef("option --concurrency: must be at least 1")
	}
	if err := s.to().check(); err != nil {
		return err
	}
	a, err := s.to().account(false)
	if err != nil {
		return err
	}
	return s.withCapture(func(r hub.Reader) error {
		info, err := r.Info(s.ctx)
		if err != nil {
			return err
		}
		a.names = info.Names
		to, err := live.OpenWriter(s.ctx, a.config, info.Names, live.Options{})
		if err != nil {
			return a.wrap(err)
		}
		return a.wrap(errors.Join(s.restore(r, &info, a, to), to.Close()))
	})
}

func (s *session) restore(r hub.Reader, info *hub.Info, a *account, to migrate.Target) error {
	resume := s.Bool(optResume)
	// Restore looks for itself whether the hub exists: somebody may make it while
	// we ask.
	there, err := manage.Leases(s.ctx, to, manage.DescribeOptions{Now: time.Now})
	switch {
	case err == nil && !resume:
		return fmt.Errorf("hub %s in storage account %s: %w", info.Names.TaskHub, orUnknown(a.config.AccountName()), migrate.ErrExists)
	case err != nil && !errors.Is(err, hub.ErrNotFound):
		return err
	}
	if err := s.restorePlan(info, a, there); err != nil {
		return err
	}
	if there != nil && there.Running == manage.RunningYes {
		return fmt.Errorf("hub %s in storage account %s: %w: %s", info.Names.TaskHub, orUnknown(a.config.AccountName()), hub.ErrInUse,
			strings.Join(there.Evidence, ", "))
	}
	if s.Bool(optDryRun) {
		return nil
	}
	if err := s.confirm("Restore it?"); err != nil {
		return err
	}
	line := s.progressLine()
	line.start()
	defer line.stop()
	began := time.Now()
	report, err := migrate.Restore(s.ctx, r, to, migrate.RestoreOptions{
		Resume: resume, Concurrency: s.Int(optConcurrency), Now: time.Now,
		OnProgress: func(p migrate.Progress) {
			line.update(ui.Step{Name: string(p.Phase), Done: p.Items, Total: p.Total, Bytes: p.Bytes})
		},
	})
	line.stop()
	if err != nil {
		return err
	}
	return s.restored(info, report, time.Since(began))
}

// restorePlan says on stderr what is about to be written and where. there is the
// hub if it exists.
func (s *session) restorePlan(info *hub.Info, a *account, there *manage.Overview) error {
	if s.json {
		return nil
	}
	state := "which has no such hub"
	if there != nil {
		state = "which has the hub: it is overwritten; " + runningText(there.Running, there.Evidence)
	}
	err := s.tell("hub %s with %s goes into storage account %s (%s), %s", info.Names.TaskHub,
		ui.Plural(int64(info.PartitionCount), "partition", "partitions"), orUnknown(a.config.AccountName()), a.from, state)
	t := ui.Table{Right: []bool{false, true}, Indent: "  "}
	for _, table := range info.Tables {
		t.Row(table.Name, ui.Plural(table.Rows, "row", "rows"))
	}
	return errors.Join(err, t.Write(s.stderr))
}

// restoreReport is what restore --json prints; docs/json.md describes it.
type restoreReport struct {
	Type        string               `json:"type"`
	TaskHub     string               `json:"task_hub"`
	Rows        map[string]int64     `json:"rows"`
	Blobs       int64                `json:"blobs"`
	BlobBytes   int64                `json:"blob_bytes"`
	Messages    int64                `json:"messages"`
	NotCaptured int64                `json:"messages_not_captured"`
	Differences []migrate.Difference `json:"differences"`
}

func (s *session) restored(info *hub.Info, r *migrate.RestoreReport, took time.Duration) error {
	report := restoreReport{
		Type: "restore", TaskHub: info.Names.TaskHub, Rows: map[string]int64{}, Blobs: r.Blobs, BlobBytes: r.Bytes,
		Messages: r.Messages, NotCaptured: r.NotCaptured, Differences: r.Differences,
	}
	for table, n := range r.Rows {
		report.Rows[strings.ToLower(table.String())] = n
	}
	if report.Differences == nil {
		report.Differences = []migrate.Difference{}
	}
	if s.json {
		if err := writeJSON(s.stdout, report); err != nil {
			return err
		}
	} else {
		_, err := fmt.Fprintf(s.stderr, "restored in %s: %s, %s, %s\n", ui.Duration(took),
			ui.Plural(report.Rows["history"]+report.Rows["instances"]+report.Rows["partitions"], "row", "rows"),
			ui.Plural(r.Blobs, "blob", "blobs"), ui.Plural(r.Messages, "message", "messages"))
		if err == nil && r.NotCaptured > 0 {
			_, err = fmt.Fprintf(s.stderr, "%s invisible when the hub was captured and could not be restored\n",
				ui.Plural(r.NotCaptured, "message was", "messages were"))
		}
		if err != nil {
			return err
		}
	}
	for _, d := range r.Differences {
		message(s.stderr, s.json, "warning", 0, fmt.Sprintf("%s %s: %s %s", d.Artifact, d.Key, d.Kind, d.Detail), "")
	}
	if len(r.Differences) > 0 {
		return &findingsError{"the account differs from the capture in " + ui.Plural(int64(len(r.Differences)), "place", "places")}
	}
	return nil
}
