package main

import (
	"context"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
)

const optOperation = "operation"

func signalEntityCommand() *cli.Command {
	return editCommand(&cli.Command{
		Name:  "signal-entity",
		Usage: "ask an entity for an operation",
		Description: description(
			"Signals an entity: it does the operation when a worker takes the message, and answers nobody.\n"+
				"There need not be such an entity; the first signal makes it. A text given with --input becomes\n"+
				"a JSON string; JSON comes from a file, as @FILE. The entity's name is taken in lower case, as\n"+
				"the framework does, unless there is one only as it is given.",
			[]string{
				"taskhub signal-entity --task-hub-name Orders --entity-name counter --entity-key c1 --operation add --input @five.json",
				"taskhub signal-entity --id '@counter@c1' --operation reset --yes",
			},
			exitDone, exitFailed, exitUsage, exitNotFound, exitUnauthorized, exitInterrupted,
		),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: optEntityName, Usage: "the entity's `NAME`"},
			&cli.StringFlag{Name: optEntityKey, Usage: "the entity's `KEY`, which may be empty"},
			&cli.StringFlag{Name: "id", Usage: "both at once, as instance `ID` @NAME@KEY"},
			&cli.StringFlag{Name: optOperation, Usage: "the `NAME` of the operation, which may be empty"},
			&cli.StringFlag{Name: optInput, Usage: "its input: `TEXT`, or the JSON in a file as @FILE, or in stdin as @-"},
			&cli.StringFlag{Name: optAt, Usage: "the entity acts at `TIME` (ISO 8601, UTC unless it names a zone)"},
		},
	}, runSignalEntity)
}

func runSignalEntity(s *session) error {
	entity, err := s.entityID()
	if err != nil {
		return err
	}
	if !s.IsSet(optOperation) {
		return s.usagef("option --%s is missing", optOperation)
	}
	signal := manage.Signal{Entity: entity, Operation: s.String(optOperation)}
	if signal.Input, err = s.payload(optInput); err != nil {
		return err
	}
	if signal.At, err = s.ticks(optAt); err != nil {
		return err
	}
	op := &operation{name: "signal-entity", prepare: controlled(func(ctx context.Context, c *manage.Control, _ string) (o operated, err error) {
		sent, err := c.SignalEntity(ctx, signal)
		if err != nil {
			return o, err
		}
		o.sent(sent)
		o.InstanceID = sent.InstanceID
		o.done = "Signaled entity " + quoted(sent.InstanceID) + " with operation '" + ui.Escape(signal.Operation) + "'."
		return o, nil
	})}
	return s.withEditor(func(ed *editing) error { return ed.one(op, entity.String()) })
}
