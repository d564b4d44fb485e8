package main

import (
	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/manage"
)

func getHistoryCommand() *cli.Command {
	return command(&cli.Command{
		Name:  "get-history",
		Usage: "show the history of one instance",
		Description: description(
			"Shows the events of the current execution of an instance, in their order, as\n"+
				"\"func durable get-history\" does: a JSON array, which is empty for an instance that does\n"+
				"not exist. With --json there is one event a line. \"taskhub export --dataset history\" also\n"+
				"has what earlier executions have left.",
			[]string{
				"taskhub get-history --snapshot orders.taskhub --id order-1",
				"taskhub get-history --snapshot orders.taskhub --id order-1 --json | jq -r .EventType",
			},
			exitDone, exitFailed, exitUsage, exitSkipped, exitNotFound, exitUnauthorized, exitInterrupted,
		),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "id", Usage: "the instance `ID`"},
			maxPayloadFlag(),
		},
	}, runGetHistory)
}

func runGetHistory(s *session) error {
	id, err := s.text("id")
	if err != nil {
		return err
	}
	return s.withQuery(func(q *manage.Query) error {
		list := listWriter{s: s}
		for e, err := range q.History(s.ctx, id) {
			if err != nil {
				return err
			}
			for _, p := range e.Problems {
				s.warn(p)
			}
			list.document(e.AppendJSON(nil), "event")
		}
		list.close()
		return nil
	})
}
