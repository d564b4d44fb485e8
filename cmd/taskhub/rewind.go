package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

const (
	optPlan   = "plan"
	optResume = "resume"
)

func rewindCommand() *cli.Command {
	return bulkCommand(&cli.Command{
		Name:  "rewind",
		Usage: "let failed orchestrations try again what has failed",
		Description: description(
			"Puts failed orchestrations back to before their failures, as \"func durable rewind\" does: the\n"+
				"history forgets the activities and sub-orchestrations that have failed, and a message wakes the\n"+
				"instance, or those of its sub-orchestrations that have failed. Unlike there, the history of\n"+
				"the current execution is what counts, rows are written only if nobody else changes them, and\n"+
				"histories with which the framework fails or hangs after a rewind are refused: --plan shows\n"+
				"the rows and what speaks against it. Of several instances, those whose parents have failed\n"+
				"are left to the rewind of the parents.",
			[]string{
				"taskhub rewind --task-hub-name Orders --id order-1 --plan",
				"taskhub rewind --task-hub-name Orders --id order-1 --reason 'payment service is back'",
				"taskhub rewind --all --created-after 2026-11-22 --report rewound.jsonl",
			},
			bulkCodes...,
		),
		Flags: []cli.Flag{
			reasonFlag("why, `TEXT`; the message to the instance says it"),
			&cli.BoolFlag{DisableDefaultText: true, Name: optPlan, Usage: "show the rows that would change and what speaks against it, and do nothing"},
			&cli.BoolFlag{DisableDefaultText: true, Name: optForce, Usage: "also rewind what the framework fails or hangs with"},
			&cli.BoolFlag{DisableDefaultText: true, Name: optResume, Usage: "also take an instance that was rewound but never woken, as after an interrupted rewind"},
			noWaitFlag("do not look at the new status of the single instance"),
		},
	}, runRewind)
}

func runRewind(s *session) error {
	reason, err := s.reason(false)
	if err != nil {
		return err
	}
	if ids := s.StringSlice("id"); s.Bool(optPlan) && (len(ids) != 1 || s.IsSet(optReport)) {
		return s.usagef("--%s is about one instance: it needs --id, and no --%s", optPlan, optReport)
	}
	o := manage.RewindOptions{Reason: reason, Force: s.Bool(optForce), Resume: s.Bool(optResume)}
	op := &operation{
		name: "rewind", statuses: []schema.Status{schema.StatusFailed}, repeatable: true,
		parameters: []string{reasonText(reason), fmt.Sprint(o.Force)},
	}
	var plan *manage.RewindPlan // of the only instance
	op.prepare = func(ed *editing, e hub.Editor) (worker, error) {
		c, err := ed.control(e)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, id string) (did operated, err error) {
			if !op.alone {
				if did.skipped, err = ed.leaveToParent(ctx, id); err != nil || did.skipped != "" {
					return did, err
				}
			}
			p, sent, err := c.Rewind(ctx, id, o)
			if op.alone {
				plan = p
			}
			var state *manage.StateError
			if errors.As(err, &state) && !op.alone && state.Status == schema.StatusPending {
				did.status(state.Status)
				did.skipped = "it is " + state.Status.String() + ": another rewind was faster"
				return did, nil
			}
			if err != nil {
				return did, err
			}
			did.rewound(p, sent)
			did.done = "Rewind message sent to instance " + quoted(id) + "."
			return did, nil
		}, nil
	}
	if s.Bool(optPlan) {
		op.show = func(ed *editing) error { return ed.rewindPlan(plan, o) }
	}
	if !s.Bool(optNoWait) {
		op.waits, op.after = " Retrieving new status now...", afterRewind
	}
	return s.operate(op)
}

// rewound notes what a rewind has done.
func (o *operated) rewound(p *manage.RewindPlan, sent []*manage.Sent) {
	for _, m := range sent {
		o.sent(m)
	}
	o.status(p.Status)
	o.RowsWritten = int64(len(p.Changes))
	var doubts []string
	for i := range p.Problems {
		doubts = append(doubts, fmt.Sprintf("instance %q: %s", p.Problems[i].InstanceID, p.Problems[i].Detail))
	}
	o.Warning = strings.Join(doubts, "; ")
}

// leaveToParent returns why an instance of many is not rewound: its parent has
// failed, too, and the rewind of that one includes it.
func (ed *editing) leaveToParent(ctx context.Context, id string) (why string, err error) {
	var parent *schema.ParentInstance
	for row, err := range ed.r.Rows(ctx, hub.History, hub.Partition(schema.EscapeKey(id))) {
		if err != nil {
			return "", err
		}
		h, _ := schema.DecodeHistoryRow(&row) // what is damaged in it is absent
		if e, ok := h.Event.(*schema.ExecutionStarted); ok {
			parent, _ = schema.ParseParentInstance(e.ParentInstance) // damage is for the rewind to find
			break
		}
	}
	if parent == nil {
		return "", nil
	}
	for row, err := range ed.r.Rows(ctx, hub.Instances, hub.Partition(schema.EscapeKey(parent.OrchestrationInstance.InstanceID))) {
		if err != nil {
			return "", err
		}
		i, _ := schema.DecodeInstance(&row) // what is damaged in it is absent
		if i.Status() == schema.StatusFailed {
			return fmt.Sprintf("its parent %q has failed, too, and takes it along", i.ID()), nil
		}
	}
	return "", nil
}

// afterRewind shows the status before and after.
//
// Source: core-tools DurableManager.cs:310-340.
func afterRewind(ed *editing, id string, did *operated) error {
	const pause = 3 * time.Second
	if err := wait(ed.ctx, pause); err != nil {
		return err
	}
	q, err := manage.New(ed.ctx, ed.r, manage.Options{})
	if err != nil {
		return err
	}
	state, err := q.Instance(ed.ctx, id, manage.ShowNone)
	if err != nil || state == nil {
		return err
	}
	return ed.say("Status before rewind: %s\nStatus after rewind: %s", did.RuntimeStatus, state.Row.Status())
}

// rewindPlanReport is what rewind --plan --json prints; docs/json.md describes it.
type rewindPlanReport struct {
	Type          string           `json:"type"`
	InstanceID    string           `json:"instance_id"`
	RuntimeStatus string           `json:"runtime_status"`
	Refused       bool             `json:"refused"`
	Instances     []rewindInstance `json:"instances"`
	Changes       []rewindChange   `json:"changes"`
	Problems      []rewindProblem  `json:"problems"`
}

type rewindInstance struct {
	InstanceID  string `json:"instance_id"`
	ExecutionID string `json:"execution_id"`
	ParentID    string `json:"parent_id,omitempty"`
	Woken       bool   `json:"woken"`
	Already     bool   `json:"already"`
}

type rewindChange struct {
	Table      string         `json:"table"`
	InstanceID string         `json:"instance_id"`
	RowKey     string         `json:"row_key"`
	Columns    []rewindColumn `json:"columns"`
}

type rewindColumn struct {
	Name   string  `json:"name"`
	Before *string `json:"before"`
	After  string  `json:"after"`
}

type rewindProblem struct {
	Level      string   `json:"level"`
	Code       string   `json:"code"`
	InstanceID string   `json:"instance_id"`
	RowKeys    []string `json:"row_keys"`
	Detail     string   `json:"detail"`
}

func newRewindPlan(p *manage.RewindPlan, o manage.RewindOptions) *rewindPlanReport {
	r := &rewindPlanReport{
		Type: "rewind-plan", InstanceID: p.InstanceID, RuntimeStatus: p.Status.String(), Refused: p.Refused(o),
		Instances: []rewindInstance{}, Changes: []rewindChange{}, Problems: []rewindProblem{},
	}
	for _, i := range p.Instances {
		r.Instances = append(r.Instances, rewindInstance{i.InstanceID, i.ExecutionID, i.Parent, i.Leaf, i.Already})
	}
	for i := range p.Changes {
		c := &p.Changes[i]
		change := rewindChange{Table: strings.ToLower(c.Table.String()), InstanceID: c.InstanceID, RowKey: c.Before.RowKey, Columns: []rewindColumn{}}
		for _, property := range c.After.Properties {
			before := c.Before.Get(property.Name)
			if property.Value.Equal(before) {
				continue
			}
			column := rewindColumn{Name: property.Name, After: property.Value.String()}
			if t := before.Type(); t != schema.Absent && t != schema.Null {
				text := before.String()
				column.Before = &text
			}
			change.Columns = append(change.Columns, column)
		}
		r.Changes = append(r.Changes, change)
	}
	for _, p := range p.Problems {
		keys := p.RowKeys
		if keys == nil {
			keys = []string{}
		}
		r.Problems = append(r.Problems, rewindProblem{string(p.Level), p.Code, p.InstanceID, keys, p.Detail})
	}
	return r
}

// rewindPlan prints a plan; nil is that of an instance that cannot have one.
func (ed *editing) rewindPlan(p *manage.RewindPlan, o manage.RewindOptions) error {
	if p == nil {
		return nil
	}
	r := newRewindPlan(p, o)
	if ed.json {
		return writeJSON(ed.stdout, r)
	}
	out := ed.stdout
	_, _ = fmt.Fprintf(out, "Instances (%d)\n", len(r.Instances))
	t := ui.Table{Indent: "  "}
	for _, i := range r.Instances {
		note := "goes on when its sub-orchestrations have ended"
		if i.Woken {
			note = "is woken by a message"
		}
		t.Row(i.InstanceID, note)
	}
	if err := t.Write(out); err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "\nRows that change (%d)\n", len(r.Changes))
	t = ui.Table{Indent: "  "}
	for _, c := range r.Changes {
		for n, column := range c.Columns {
			before := "none"
			if column.Before != nil {
				before = *column.Before
			}
			after := column.After
			if column.Name == "LastUpdatedTime" {
				after = "now"
			}
			where := []string{c.InstanceID, c.RowKey}
			if c.RowKey == "" {
				where[1] = c.Table
			}
			if n > 0 {
				where = []string{"", ""}
			}
			t.Row(append(where, column.Name, before+" → "+after)...)
		}
	}
	if err := t.Write(out); err != nil {
		return err
	}
	if len(r.Problems) > 0 {
		_, _ = fmt.Fprintf(out, "\nWhat speaks against it (%d)\n", len(r.Problems))
		t = ui.Table{Indent: "  "}
		for _, p := range r.Problems {
			t.Row(p.Level, p.Code, p.InstanceID, p.Detail, strings.Join(p.RowKeys, ", "))
		}
		if err := t.Write(out); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(out)
	return err
}
