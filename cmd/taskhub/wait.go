package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

func intervalFlag() cli.Flag {
	return &cli.DurationFlag{Name: optInterval, Value: time.Second, Usage: "look every `DURATION`"}
}

func waitCommand() *cli.Command {
	return command(&cli.Command{
		Name:  "wait",
		Usage: "wait until an instance has ended",
		Description: description(
			"Waits until an orchestration has ended and says how. Exit code 0 means Completed, 3 that it\n"+
				"has ended otherwise (Failed, Terminated or Canceled), and 1 that it has not ended in time, or\n"+
				"that there is no such instance. The hub is only read. Of a capture, it says what is there.",
			[]string{
				"taskhub wait --task-hub-name Orders --id order-1 --timeout 10m && echo done",
				"taskhub wait --snapshot orders.taskhub --id order-1 --json",
			},
			exitDone, exitFailed, exitUsage, exitFindings, exitNotFound, exitUnauthorized, exitInterrupted,
		),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "id", Usage: "the instance `ID`"},
			&cli.DurationFlag{Name: optTimeout, Value: 5 * time.Minute, Usage: "give up after `DURATION` such as 90s; 0 looks once"},
			intervalFlag(),
		},
	}, runWait)
}

// waitOptions reads the options of both commands that wait.
func (s *session) waitOptions() (manage.WaitOptions, error) {
	o := manage.WaitOptions{Timeout: s.Duration(optTimeout), Interval: s.Duration(optInterval), Now: time.Now}
	switch {
	case o.Timeout < 0:
		return o, s.usagef("option --%s: must not be negative", optTimeout)
	case o.Interval < minInterval:
		return o, s.usagef("option --%s: must be at least %v", optInterval, minInterval)
	case s.IsSet(optSnapshot):
		o.Timeout = 0 // a capture does not change
	}
	return o, nil
}

const minInterval = 100 * time.Millisecond

// waitReport is what wait --json prints; docs/json.md describes it.
type waitReport struct {
	Type          string `json:"type"`
	InstanceID    string `json:"instance_id"`
	RuntimeStatus string `json:"runtime_status"`
	Ended         bool   `json:"ended"`
	TookMS        int64  `json:"took_ms"`
}

func runWait(s *session) error {
	id, err := s.text("id")
	if err != nil {
		return err
	}
	o, err := s.waitOptions()
	if err != nil {
		return err
	}
	return s.withSource(func(r hub.Reader) error {
		q, err := manage.New(s.ctx, r, manage.Options{})
		if err != nil {
			return err
		}
		began := time.Now()
		state, ended, err := q.Wait(s.ctx, id, manage.ShowNone, o)
		if err != nil {
			return err
		}
		status := state.Row.Status()
		if s.json {
			err = writeJSON(s.stdout, waitReport{"wait", id, status.String(), ended, time.Since(began).Milliseconds()})
		} else {
			err = s.say("Instance %s is %s.", quoted(id), status)
		}
		switch {
		case err != nil:
			return err
		case !ended && o.Timeout == 0:
			return fmt.Errorf("instance %q has not ended: it is %s", id, status)
		case !ended:
			return fmt.Errorf("instance %q has not ended within %v: it is %s", id, o.Timeout, status)
		case status != schema.StatusCompleted:
			return &findingsError{fmt.Sprintf("instance %q has ended as %s", id, status)}
		}
		return nil
	})
}

func waitIdleCommand() *cli.Command {
	return command(&cli.Command{
		Name:  "wait-idle",
		Usage: "say whether work is in flight, or wait until none is",
		Description: description(
			"Looks for orchestrations that are Running, Pending or ContinuedAsNew and for messages that\n"+
				"workers can take, as before a deployment that would break what is under way. Exit code 0 means\n"+
				"that there is none, 3 that there still is when --timeout is over; without one it looks once.\n"+
				"An instance that waits for an event or a timer counts, an entity does not, and neither do\n"+
				"messages that are hidden. With filters only the instances that they choose count, and no\n"+
				"messages. The hub is only read.",
			[]string{
				"taskhub wait-idle --task-hub-name Orders --timeout 15m",
				"taskhub wait-idle --task-hub-name Orders --name OrderFlow --json",
			},
			exitDone, exitFailed, exitUsage, exitFindings, exitNotFound, exitUnauthorized, exitInterrupted,
		),
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: optTimeout, Usage: "wait so long, `DURATION` such as 15m", DefaultText: "look once"},
			intervalFlag(),
			createdAfterFlag(), createdBeforeFlag(), statusFlag(), nameFlag(), idPrefixFlag(),
		},
	}, runWaitIdle)
}

// idleReport is what wait-idle --json prints; docs/json.md describes it.
type idleReport struct {
	Type      string           `json:"type"`
	Idle      bool             `json:"idle"`
	ByStatus  map[string]int64 `json:"by_status"`
	Instances []string         `json:"instances"`
	Messages  int64            `json:"messages"`
	Hidden    int64            `json:"messages_hidden"`
	TookMS    int64            `json:"took_ms"`
}

func runWaitIdle(s *session) error {
	wait, err := s.waitOptions()
	if err != nil {
		return err
	}
	o := manage.IdleOptions{WaitOptions: wait}
	if o.Filter.Statuses, err = s.statuses(); err != nil {
		return err
	}
	if o.Filter.Names, err = s.nonEmpty(optName); err != nil {
		return err
	}
	if o.Filter.CreatedFrom, o.Filter.CreatedTo, err = s.window(optCreatedAfter, optCreatedBefore); err != nil {
		return err
	}
	o.Filter.IDPrefix = s.String(optIDPrefix)
	return s.withSource(func(r hub.Reader) error {
		q, err := manage.New(s.ctx, r, manage.Options{})
		if err != nil {
			return err
		}
		began := time.Now()
		last, idle, err := q.WaitIdle(s.ctx, o)
		if err != nil {
			return err
		}
		return s.idle(last, idle, time.Since(began))
	})
}

func (s *session) idle(last *manage.InFlight, idle bool, took time.Duration) error {
	report := idleReport{
		Type: "idle", Idle: idle, ByStatus: map[string]int64{}, Instances: append([]string{}, last.First...),
		Messages: last.Messages, Hidden: last.Hidden, TookMS: took.Milliseconds(),
	}
	var parts []string
	for _, status := range slices.Sorted(maps.Keys(last.Instances)) {
		n := last.Instances[status]
		report.ByStatus[status.String()] = n
		parts = append(parts, ui.Count(n)+" "+status.String())
	}
	if last.Messages > 0 {
		parts = append(parts, ui.Plural(last.Messages, "message", "messages")+" in the queues")
	}
	var err error
	switch {
	case s.json:
		err = writeJSON(s.stdout, report)
	case last.Idle():
		err = s.say("No work is in flight.")
	default:
		text := "Work is in flight: " + strings.Join(parts, ", ")
		if len(last.First) > 0 {
			first := slices.Clone(last.First)
			for i := range first {
				first[i] = ui.Escape(first[i])
			}
			text += "\n  " + strings.Join(first, "\n  ")
		}
		err = s.say("%s", text)
	}
	switch {
	case err != nil:
		return err
	case idle:
		return nil
	case last.Idle():
		return &findingsError{"work was in flight until just now"}
	}
	return &findingsError{"work is in flight"}
}
