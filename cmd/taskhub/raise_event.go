package main

import (
	"context"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
)

const (
	optEventName = "event-name"
	optEventData = "event-data"
)

func raiseEventCommand() *cli.Command {
	return bulkCommand(&cli.Command{
		Name:  "raise-event",
		Usage: "send an event to instances",
		Description: description(
			"Sends an external event to instances, as \"func durable raise-event\" does. A text given with\n"+
				"--event-data becomes a JSON string; JSON comes from a file, as @FILE. An event that an instance\n"+
				"does not wait for yet is kept for it. Unlike there, an instance that does not exist or has\n"+
				"ended is an error, because the event would be dropped.",
			[]string{
				"taskhub raise-event --task-hub-name Orders --id order-1 --event-name Approved --event-data @approval.json",
				"taskhub raise-event --id-file waiting.txt --event-name Go --report sent.jsonl --yes",
			},
			bulkCodes...,
		),
		Flags: []cli.Flag{
			treeFlag(),
			&cli.StringFlag{Name: optEventName, Usage: "the `NAME` of the event; Event_ and a random ID by default"},
			&cli.StringFlag{Name: optEventData, Usage: "its data: `TEXT`, or the JSON in a file as @FILE, or in stdin as @-"},
		},
	}, runRaiseEvent)
}

func runRaiseEvent(s *session) error {
	name := s.String(optEventName)
	if s.IsSet(optEventName) && strings.TrimSpace(name) == "" {
		return s.usagef("option --%s is empty", optEventName)
	}
	data, err := s.payload(optEventData)
	if err != nil {
		return err
	}
	return s.operate(&operation{
		name: "raise-event", statuses: notEnded, parameters: []string{name, reasonText(data)},
		prepare: controlled(func(ctx context.Context, c *manage.Control, id string) (o operated, err error) {
			sent, err := c.Raise(ctx, id, name, data)
			if err != nil {
				return o, err
			}
			o.sent(sent)
			o.done = "Raised event '" + ui.Escape(sent.Event) + "' to instance " + quoted(id) + "."
			return o, nil
		}),
	})
}
