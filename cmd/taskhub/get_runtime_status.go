package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
)

func getRuntimeStatusCommand() *cli.Command {
	return command(&cli.Command{
		Name:  "get-runtime-status",
		Usage: "show the state of one instance",
		Description: description(
			"Shows one instance as \"func durable get-runtime-status\" does. OrchestrationStatus is a\n"+
				"number: 0 Running, 1 Completed, 2 ContinuedAsNew, 3 Failed, 4 Canceled, 5 Terminated,\n"+
				"6 Pending, 7 Suspended, -1 unknown. Status is the custom status. An instance that does not\n"+
				"exist is an answer, not an error.",
			[]string{
				"taskhub get-runtime-status --snapshot orders.taskhub --id order-1 --show-input --show-output",
				"taskhub get-runtime-status --snapshot orders.taskhub --id '@counter@c1' --json",
			},
			exitDone, exitFailed, exitUsage, exitSkipped, exitNotFound, exitUnauthorized, exitInterrupted,
		),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "id", Usage: "the instance `ID`"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "show-input", Usage: "show the input"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "show-output", Usage: "show the output"},
			maxPayloadFlag(),
		},
	}, runGetRuntimeStatus)
}

func runGetRuntimeStatus(s *session) error {
	id, err := s.text("id")
	if err != nil {
		return err
	}
	return s.withQuery(func(q *manage.Query) error {
		state, err := q.Instance(s.ctx, id, s.show())
		switch {
		case err != nil:
			return err
		case state == nil && s.json:
			return writeJSON(s.stdout, notFoundReport{"not-found", id})
		case state == nil:
			_, err := fmt.Fprintf(s.stdout, "Could not find an orchestration instance with id '%s'\n", ui.Escape(id))
			return err
		}
		return s.printState(state.AppendJSON(nil), "instance", state.Problems)
	})
}

// notFoundReport is what get-runtime-status --json prints of an instance that
// does not exist.
type notFoundReport struct {
	Type       string `json:"type"`
	InstanceID string `json:"instance_id"`
}

// printState prints the document of an instance or entity, and tells what of it
// could not be read.
func (s *session) printState(doc []byte, kind string, problems []error) error {
	for _, p := range problems {
		s.warn(p)
	}
	if s.json {
		doc = typed(doc, kind)
	} else {
		doc = indented(doc, "")
	}
	_, err := fmt.Fprintf(s.stdout, "%s\n", doc)
	return err
}
