package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

const (
	optReason   = "reason"
	optNoWait   = "no-wait"
	optTimeout  = "timeout"
	optInterval = "interval"
)

// notEnded are the statuses of instances that go on.
var notEnded = []schema.Status{schema.StatusRunning, schema.StatusPending, schema.StatusContinuedAsNew, schema.StatusSuspended}

// bulkCodes are the exit codes of commands that do something to many instances.
var bulkCodes = []int{exitDone, exitFailed, exitUsage, exitSkipped, exitNotFound, exitUnauthorized, exitInterrupted}

// bulkCommand completes a command that does something to one or many instances.
func bulkCommand(c *cli.Command, do func(*session) error) *cli.Command {
	c.Flags = append(append(chooseFlags(), c.Flags...), bulkFlags()...)
	return editCommand(c, do)
}

func reasonFlag(usage string) cli.Flag { return &cli.StringFlag{Name: optReason, Usage: usage} }

func noWaitFlag(usage string) cli.Flag {
	return &cli.BoolFlag{DisableDefaultText: true, Name: optNoWait, Usage: usage}
}

func terminateCommand() *cli.Command {
	return bulkCommand(&cli.Command{
		Name:  "terminate",
		Usage: "end instances at once",
		Description: description(
			"Asks instances to end, as \"func durable terminate\" does: a worker makes them Terminated, with\n"+
				"the reason as their output. Activities that run go on, and so do sub-orchestrations, unless\n"+
				"--tree asks them, too. A single instance is waited for; exit code 1 says that it has not\n"+
				"terminated in time, as when no app runs. Unlike there, nothing is sent to an instance that\n"+
				"does not exist or has ended.",
			[]string{
				"taskhub terminate --task-hub-name Orders --id order-1 --reason 'cancelled by the customer'",
				"taskhub terminate --all --name OrderFlow --created-before 2026-11-22 --dry-run",
				"taskhub terminate --id-file stuck.txt --tree --report terminated.jsonl --yes",
			},
			bulkCodes...,
		),
		Flags: []cli.Flag{
			treeFlag(), reasonFlag("why, `TEXT`; it becomes the output of the instance"),
			noWaitFlag("do not wait until the single instance has terminated"),
			&cli.DurationFlag{Name: optTimeout, Value: 30 * time.Second, Usage: "wait so long for the single instance, `DURATION` such as 90s"},
		},
	}, runTerminate)
}

func runTerminate(s *session) error {
	reason, err := s.reason(true)
	if err != nil {
		return err
	}
	if s.Duration(optTimeout) < 0 {
		return s.usagef("option --%s: must not be negative", optTimeout)
	}
	op := &operation{
		name: "terminate", statuses: notEnded, parameters: []string{reasonText(reason)}, repeatable: true,
		unknown: "Failed to find instance '%s'. No instance was terminated.",
		prepare: controlled(func(ctx context.Context, c *manage.Control, id string) (o operated, err error) {
			sent, err := c.Terminate(ctx, id, reason)
			var state *manage.StateError
			if errors.As(err, &state) && state.Status == schema.StatusTerminated {
				o.status(state.Status)
				o.skipped = "it is " + state.Status.String()
				o.done = "Successfully terminated " + quoted(id)
				return o, nil
			}
			if err != nil {
				return o, err
			}
			o.sent(sent)
			o.done = "Sent a termination message to instance " + quoted(id) + "."
			if at := sent.StillStarts; at != 0 {
				o.Warning = fmt.Sprintf("instance %q is to start at %s, and does so although it is terminated, unless it is purged before", id, at)
			}
			return o, nil
		}),
	}
	if !s.Bool(optNoWait) {
		op.waits = fmt.Sprintf(" Waiting up to %s for the orchestration to actually terminate...", seconds(s.Duration(optTimeout)))
		op.after = afterTerminate
	}
	return s.operate(op)
}

// seconds shows a duration as the framework's command line does.
func seconds(d time.Duration) string {
	if d%time.Second == 0 {
		return fmt.Sprintf("%d seconds", d/time.Second)
	}
	return d.String()
}

// afterTerminate waits until the instance has terminated.
//
// Source: core-tools DurableManager.cs:360-397.
func afterTerminate(ed *editing, id string, _ *operated) error {
	q, err := manage.New(ed.ctx, ed.r, manage.Options{})
	if err != nil {
		return err
	}
	state, ended, err := q.Wait(ed.ctx, id, manage.ShowNone, manage.WaitOptions{
		Timeout: ed.Duration(optTimeout), Interval: 2 * time.Second, Now: time.Now,
	})
	switch {
	case err != nil:
		return err
	case !ended:
		why := "Instance did not terminate within the given timeout"
		if ed.running == manage.RunningNoSign {
			why += ": its message waits for an app that runs the hub"
		}
		return errors.New(why)
	case state.Row.Status() != schema.StatusTerminated:
		return fmt.Errorf("instance %q has ended as %s before it could be terminated", id, state.Row.Status())
	}
	return ed.say("Successfully terminated %s", quoted(id))
}

// say writes a line of the answer for people.
func (s *session) say(format string, args ...any) error {
	if s.json {
		return nil
	}
	_, err := fmt.Fprintf(s.stdout, format+"\n", args...)
	return errors.Join(err, s.stdout.Flush())
}

// reason returns the value of --reason. If it becomes the output of the instance,
// text that the framework would take for the address of a blob is refused.
func (s *session) reason(output bool) (schema.Optional[string], error) {
	if !s.IsSet(optReason) {
		return schema.Optional[string]{}, nil
	}
	reason := s.String(optReason)
	if output && manage.BreaksLists(reason) {
		return schema.Optional[string]{}, s.usagef(
			"option --%s: the framework would take %q for the address of a blob, and fail to list instances from then on: begin it with another word", optReason, reason)
	}
	return schema.Some(reason), nil
}

// reasonText tells no reason from an empty one.
func reasonText(reason schema.Optional[string]) string {
	return fmt.Sprint(reason.Set, reason.Value)
}
