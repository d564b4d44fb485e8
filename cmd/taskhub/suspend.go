package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

func suspendCommand() *cli.Command {
	return bulkCommand(&cli.Command{
		Name:  "suspend",
		Usage: "pause instances",
		Description: description(
			"Asks instances to pause: a worker makes them Suspended, with the reason as their output.\n"+
				"Events and results that come meanwhile wait. Sub-orchestrations go on unless --tree asks\n"+
				"them, too. To an instance that is Suspended nothing is sent.",
			[]string{
				"taskhub suspend --task-hub-name Orders --id order-1 --reason 'maintenance window'",
				"taskhub suspend --all --name OrderFlow --yes --report suspended.jsonl",
			},
			bulkCodes...,
		),
		Flags: []cli.Flag{treeFlag(), reasonFlag("why, `TEXT`; it becomes the output of the instance")},
	}, func(s *session) error {
		return s.pause("suspend", "Sent a suspension message to instance ", []schema.Status{schema.StatusRunning, schema.StatusPending, schema.StatusContinuedAsNew}, (*manage.Control).Suspend)
	})
}

func resumeCommand() *cli.Command {
	return bulkCommand(&cli.Command{
		Name:  "resume",
		Usage: "let suspended instances go on",
		Description: description(
			"Asks suspended instances to go on: a worker makes them Running, with the reason as their\n"+
				"output. To an instance that is not Suspended nothing is sent.",
			[]string{
				"taskhub resume --task-hub-name Orders --id order-1",
				"taskhub get-instances --runtime-status suspended --json | taskhub resume --id-file - --yes",
			},
			bulkCodes...,
		),
		Flags: []cli.Flag{treeFlag(), reasonFlag("why, `TEXT`; it becomes the output of the instance")},
	}, func(s *session) error {
		return s.pause("resume", "Sent a resumption message to instance ", []schema.Status{schema.StatusSuspended}, (*manage.Control).Resume)
	})
}

// pause suspends or resumes instances.
func (s *session) pause(name, done string, statuses []schema.Status,
	do func(*manage.Control, context.Context, string, schema.Optional[string]) (*manage.Sent, error),
) error {
	reason, err := s.reason(true)
	if err != nil {
		return err
	}
	return s.operate(&operation{
		name: name, statuses: statuses, parameters: []string{reasonText(reason)}, repeatable: true,
		prepare: controlled(func(ctx context.Context, c *manage.Control, id string) (o operated, err error) {
			sent, err := do(c, ctx, id, reason)
			if err != nil {
				return o, err
			}
			o.sent(sent)
			o.done = done + quoted(id) + "."
			if sent.Skipped {
				o.done = ""
			}
			return o, nil
		}),
	})
}
