package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

const (
	optFunctionName = "function-name"
	optInput        = "input"
	optOverwrite    = "overwrite"
	optVersion      = "version"
	optTags         = "tags"
	optCreateHub    = "create-task-hub"
)

func startNewCommand() *cli.Command {
	return editCommand(&cli.Command{
		Name:  "start-new",
		Usage: "start an orchestration",
		Description: description(
			"Starts an orchestration as \"func durable start-new\" does, and prints the line that it does.\n"+
				"A text given with --input becomes a JSON string; JSON comes from a file, as @FILE. Whether the\n"+
				"app has such a function, storage does not tell. Unlike there, an instance that has not ended\n"+
				"is not started over unless --overwrite, the message goes to the queue that the hub's own\n"+
				"partition count says, and a hub is never created.",
			[]string{
				"taskhub start-new --task-hub-name Orders --function-name HelloWorld --input @counter-data.json",
				"taskhub start-new --function-name HelloWorld --id hello-1 --input Tokyo --yes",
			},
			exitDone, exitFailed, exitUsage, exitNotFound, exitUnauthorized, exitInterrupted,
		),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: optFunctionName, Usage: "the `NAME` of the orchestrator function"},
			&cli.StringFlag{Name: "id", Usage: "the instance `ID`; a new one by default"},
			&cli.StringFlag{Name: optInput, Usage: "the input: `TEXT`, or the JSON in a file as @FILE, or in stdin as @-"},
			&cli.StringFlag{Name: optVersion, Usage: "the orchestration's version, `TEXT`"},
			&cli.StringSliceFlag{Name: optTags, Usage: "a tag, `NAME=VALUE`; may be repeated"},
			&cli.StringFlag{Name: optAt, Usage: "start at `TIME`, at most seven days ahead (ISO 8601, UTC unless it names a zone)"},
			&cli.BoolFlag{DisableDefaultText: true, Name: optOverwrite, Usage: "start over an instance that has not ended"},
			&cli.BoolFlag{Hidden: true, Name: optCreateHub},
		},
	}, runStartNew)
}

func runStartNew(s *session) error {
	if s.Bool(optCreateHub) {
		return s.usagef("--%s is not there: an app makes its hub when it starts, with the number of partitions that it wants", optCreateHub)
	}
	o := manage.StartOptions{ID: s.String("id"), Version: s.String(optVersion)}
	var err error
	if o.Name, err = s.text(optFunctionName); err != nil {
		return err
	}
	if strings.TrimSpace(o.Name) == "" {
		return s.usagef("option --%s is empty", optFunctionName)
	}
	if s.IsSet("id") {
		if err := manage.CheckInstanceID(o.ID); err != nil {
			return s.usagef("option --id: %v", err)
		}
	}
	if o.Input, err = s.payload(optInput); err != nil {
		return err
	}
	if o.Tags, err = s.tags(); err != nil {
		return err
	}
	if o.At, err = s.ticks(optAt); err != nil {
		return err
	}
	if s.Bool(optOverwrite) {
		o.DedupeStatuses = []schema.Status{}
	}
	op := &operation{name: "start", prepare: controlled(func(ctx context.Context, c *manage.Control, _ string) (operated, error) {
		s, err := c.Start(ctx, o)
		if err == nil {
			o.ID = s.InstanceID // the ID that the plan shows is the one that is used
		}
		return started(s, err)
	})}
	return s.withEditor(func(ed *editing) error { return ed.one(op, o.ID) })
}

// started is what a start has done.
func started(s *manage.Started, err error) (o operated, _ error) {
	if err != nil {
		return o, err
	}
	o.sent(&s.Sent)
	o.RowsWritten = 1
	o.InstanceID, o.ExecutionID = s.InstanceID, s.ExecutionID
	o.done = fmt.Sprintf("Started '%s' at %s. Instance ID: '%s'.", ui.Escape(s.Name), s.CreatedTime, ui.Escape(s.InstanceID))
	return o, nil
}

// tags returns the values of its option.
func (s *session) tags() (map[string]string, error) {
	tags := map[string]string{}
	for _, tag := range s.StringSlice(optTags) {
		name, value, ok := strings.Cut(tag, "=")
		if !ok || name == "" {
			return nil, s.usagef("option --%s: %q is not NAME=VALUE", optTags, tag)
		}
		if _, twice := tags[name]; twice {
			return nil, s.usagef("option --%s: %q is given twice", optTags, name)
		}
		tags[name] = value
	}
	return tags, nil
}
