package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/manage"
)

const (
	optCustomStatus = "custom-status"
	optClear        = "clear"
)

func setCustomStatusCommand() *cli.Command {
	return bulkCommand(&cli.Command{
		Name:  "set-custom-status",
		Usage: "set the custom status that instances show",
		Description: description(
			"Writes the custom status into the row of instances, at once and without a worker. The\n"+
				"framework has no such operation: the instance itself does not learn of it, and the next\n"+
				"checkpoint of one that has not ended overwrites it. A text given with --custom-status becomes a\n"+
				"JSON string; JSON comes from a file, as @FILE.",
			[]string{
				"taskhub set-custom-status --task-hub-name Orders --id order-1 --custom-status 'refunded by hand'",
				"taskhub set-custom-status --id order-1 --clear --yes",
			},
			bulkCodes...,
		),
		Flags: []cli.Flag{
			treeFlag(),
			&cli.StringFlag{Name: optCustomStatus, Usage: "the status: `TEXT`, or the JSON in a file as @FILE, or in stdin as @-"},
			&cli.BoolFlag{DisableDefaultText: true, Name: optClear, Usage: "no custom status"},
		},
	}, runSetCustomStatus)
}

func runSetCustomStatus(s *session) error {
	if s.IsSet(optCustomStatus) == s.Bool(optClear) {
		return s.usagef("say the status with --%s, or --%s", optCustomStatus, optClear)
	}
	status, err := s.payload(optCustomStatus)
	if err != nil {
		return err
	}
	return s.operate(&operation{
		name: "set-custom-status", parameters: []string{reasonText(status)}, repeatable: true,
		prepare: func(ed *editing, e hub.Editor) (worker, error) {
			c, err := ed.control(e)
			if err != nil {
				return nil, err
			}
			q, err := manage.New(ed.ctx, ed.r, manage.Options{})
			if err != nil {
				return nil, err
			}
			return func(ctx context.Context, id string) (o operated, err error) {
				state, err := q.Instance(ctx, id, manage.ShowNone)
				if err != nil {
					return o, err
				}
				going := false
				if state != nil {
					o.status(state.Row.Status())
					going = slices.Contains(notEnded, state.Row.Status())
				}
				if err := c.SetCustomStatus(ctx, id, status); err != nil {
					return o, err
				}
				o.RowsWritten = 1
				o.done = "Set the custom status of instance " + quoted(id) + "."
				if going {
					o.Warning = fmt.Sprintf("instance %q has not ended: its next checkpoint overwrites the custom status", id)
				}
				return o, nil
			}, nil
		},
	})
}
