package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

const (
	optNewID  = "new-id"
	optSameID = "same-id"
)

func restartCommand() *cli.Command {
	return bulkCommand(&cli.Command{
		Name:  "restart",
		Usage: "start orchestrations again with the same input",
		Description: description(
			"Starts an orchestration with the function, version, tags and input of one that exists: under\n"+
				"a new ID, or with --same-id under its own, for which it has to have ended. The old one stays\n"+
				"as it is unless it has the same ID. With --"+optAll+" and filters, those that have ended are taken.",
			[]string{
				"taskhub restart --task-hub-name Orders --id order-1",
				"taskhub restart --runtime-status failed --name OrderFlow --same-id --report restarted.jsonl",
			},
			bulkCodes...,
		),
		Flags: []cli.Flag{
			&cli.BoolFlag{DisableDefaultText: true, Name: optSameID, Usage: "start it anew under its own ID"},
			&cli.StringFlag{Name: optNewID, Usage: "the new instance's `ID`; a random one by default"},
		},
	}, runRestart)
}

func runRestart(s *session) error {
	o := manage.RestartOptions{SameID: s.Bool(optSameID), NewID: s.String(optNewID)}
	if s.IsSet(optNewID) {
		if o.SameID {
			return s.usagef("--%s and --%s contradict each other", optSameID, optNewID)
		}
		if err := manage.CheckInstanceID(o.NewID); err != nil {
			return s.usagef("option --%s: %v", optNewID, err)
		}
	}
	if o.NewID != "" && len(s.StringSlice("id")) != 1 {
		return s.usagef("--%s is about one instance: it needs --id", optNewID)
	}
	op := &operation{
		name: "restart", parameters: []string{reasonText(schema.Optional[string]{Value: o.NewID, Set: o.SameID})},
		statuses:   []schema.Status{schema.StatusCompleted, schema.StatusFailed, schema.StatusTerminated, schema.StatusCanceled},
		repeatable: o.SameID, // once it is started again it has not ended
	}
	op.prepare = controlled(func(ctx context.Context, c *manage.Control, id string) (operated, error) {
		again, err := c.Restart(ctx, id, o)
		did, err := started(again, err)
		if err != nil {
			return did, err
		}
		if op.alone && !o.SameID {
			o.NewID = again.InstanceID // the ID that the plan shows is the one that is used
		}
		did.InstanceID, did.NewInstanceID, did.RuntimeStatus = id, again.InstanceID, ""
		if o.SameID {
			did.status(again.Status)
			did.done = "Restarted instance " + quoted(id) + "."
			return did, nil
		}
		did.done = "Restarted instance " + quoted(id) + " as '" + ui.Escape(again.InstanceID) + "'."
		return did, nil
	})
	return s.operate(op)
}
