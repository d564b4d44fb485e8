package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
)

func hubsCommand() *cli.Command {
	return commandWith(append(captureFlags(), connectionFlags()...), &cli.Command{
		Name:  "hubs",
		Usage: "list the hubs of a storage account",
		Description: description(
			"Lists every hub of an account, found by the names of its tables, queues and containers,\n"+
				"whatever the partition count. Says what a hub lacks: what was deleted in part, or has its\n"+
				"tables in another account. Says which hubs disturb each other because their names differ\n"+
				"only in case, and which share the tables of a tracking store. Of a capture it lists the\n"+
				"hub that was captured. An account without hubs is an answer, not an error.",
			[]string{
				"taskhub hubs --connection-string-setting AzureWebJobsStorage",
				"taskhub hubs --account contosostorage --json | jq -r 'select(.missing != []) | .task_hub'",
			},
			exitDone, exitFailed, exitUsage, exitSkipped, exitNotFound, exitUnauthorized, exitInterrupted,
		),
	}, runHubs)
}

// hubReport is a line of hubs --json; docs/json.md describes it.
type hubReport struct {
	Type               string     `json:"type"`
	TaskHub            string     `json:"task_hub"`
	TrackingPrefix     string     `json:"tracking_prefix,omitempty"`
	PartitionCount     int        `json:"partition_count"`
	PartitionCountFrom hub.Origin `json:"partition_count_from,omitempty"`
	Tables             []string   `json:"tables"`
	Queues             []string   `json:"queues"`
	Containers         []string   `json:"containers"`
	Missing            []string   `json:"missing"`
	OtherCase          []string   `json:"other_case"`
	SharesTablesWith   []string   `json:"shares_tables_with"`
}

func runHubs(s *session) error {
	if err := s.checkSource(); err != nil {
		return err
	}
	var hubs []*manage.Artifacts
	of := "the capture"
	if s.IsSet(optSnapshot) {
		err := s.withCapture(func(r hub.Reader) error {
			a, err := manage.ArtifactsOf(s.ctx, r)
			hubs = append(hubs, a)
			return err
		})
		if err != nil {
			return err
		}
	} else {
		a, err := s.account(false)
		if err != nil {
			return err
		}
		of = "storage account " + orUnknown(a.config.AccountName())
		if hubs, err = findHubs(s.ctx, a); err != nil {
			return a.located(err)
		}
	}
	if s.json {
		for _, h := range hubs {
			if err := writeJSON(s.stdout, newHubReport(h, hubs)); err != nil {
				return err
			}
		}
		return nil
	}
	return printHubs(s, of, hubs)
}

// findHubs lists the hubs of an account with their partition counts.
func findHubs(ctx context.Context, a *account) ([]*manage.Artifacts, error) {
	found, err := listHubs(ctx, a)
	if err != nil {
		return nil, err
	}
	var hubs []*manage.Artifacts
	for _, f := range found {
		h := &manage.Artifacts{
			Names: f.Names, Tables: f.Tables, Queues: f.Queues, Containers: f.Containers, OtherCase: f.OtherCase,
		}
		if err := countPartitions(ctx, a, h); err != nil {
			return nil, err
		}
		hubs = append(hubs, h)
	}
	return hubs, nil
}

func countPartitions(ctx context.Context, a *account, h *manage.Artifacts) error {
	r, err := live.Open(ctx, a.config, h.Names, live.Options{})
	if err != nil {
		return err
	}
	info, err := r.Info(ctx)
	if err = errors.Join(err, r.Close()); errors.Is(err, hub.ErrNotFound) {
		return nil // it has gone since
	}
	h.PartitionCount, h.PartitionCountFrom = info.PartitionCount, info.PartitionCountFrom
	return err
}

func newHubReport(h *manage.Artifacts, all []*manage.Artifacts) hubReport {
	list := func(names []string) []string { return append([]string{}, names...) }
	return hubReport{
		Type: "hub", TaskHub: h.Names.TaskHub, TrackingPrefix: h.Names.TrackingPrefix,
		PartitionCount: h.PartitionCount, PartitionCountFrom: h.PartitionCountFrom,
		Tables: list(h.Tables), Queues: list(h.Queues), Containers: list(h.Containers),
		Missing: list(h.Missing()), OtherCase: list(h.OtherCase), SharesTablesWith: list(sharing(h, all)),
	}
}

// sharing returns the hubs that have the same Instances table as h.
func sharing(h *manage.Artifacts, all []*manage.Artifacts) []string {
	var names []string
	for _, other := range all {
		if other != h && h.Names.TrackingPrefix != "" && strings.EqualFold(other.Names.TrackingPrefix, h.Names.TrackingPrefix) {
			names = append(names, other.Names.TaskHub)
		}
	}
	return names
}

func printHubs(s *session, of string, hubs []*manage.Artifacts) error {
	if len(hubs) == 0 {
		_, err := fmt.Fprintf(s.stdout, "No task hub in %s.\n", ui.Escape(of))
		return err
	}
	t := ui.Table{Right: []bool{false, true, true, true, true}}
	t.Row("HUB", "PARTITIONS", "TABLES", "QUEUES", "CONTAINERS", "")
	for _, h := range hubs {
		partitions := "?"
		if h.PartitionCount > 0 {
			partitions = strconv.Itoa(h.PartitionCount)
		}
		var notes []string
		if missing := h.Missing(); len(missing) > 0 {
			notes = append(notes, "missing: "+strings.Join(shortened(missing), ", "))
		} else {
			notes = append(notes, "complete")
		}
		if h.Names.TrackingPrefix != "" {
			note := "tables " + h.Names.Table(hub.Instances) + " and " + h.Names.Table(hub.History)
			if others := sharing(h, hubs); len(others) > 0 {
				note += ", shared with " + strings.Join(others, ", ")
			}
			notes = append(notes, note)
		}
		if len(h.OtherCase) > 0 {
			notes = append(notes, "same queues and containers as "+strings.Join(h.OtherCase, ", "))
		}
		t.Row(h.Names.TaskHub, partitions, strconv.Itoa(len(h.Tables)), strconv.Itoa(len(h.Queues)), strconv.Itoa(len(h.Containers)),
			strings.Join(notes, "; "))
	}
	return t.Write(s.stdout)
}

// shortened leaves out what follows the first few.
func shortened(names []string) []string {
	const most = 6
	if len(names) <= most {
		return names
	}
	return append(slices.Clone(names[:most-1]), fmt.Sprintf("… (%d in all)", len(names)))
}
