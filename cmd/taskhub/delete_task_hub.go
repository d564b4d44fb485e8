package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
)

func deleteTaskHubCommand() *cli.Command {
	return editCommand(&cli.Command{
		Name:  "delete-task-hub",
		Usage: "delete a hub with everything in it",
		Description: description(
			"Deletes the tables, queues and containers of exactly this hub: what there is of it, not\n"+
				"what settings say, so all control queues and the leases of every partition manager. Asks\n"+
				"for the name of the hub, and looks in the end whether anything is left. A hub that an app\n"+
				"is running stays, unless --force insists; the app would make it anew. Tables that the hub\n"+
				"shares with others stay. A hub that is gone already is no error. The service may need some\n"+
				"minutes before tables and containers of the same name can be made again.",
			[]string{
				"taskhub delete-task-hub --task-hub-name UserTest --dry-run",
				"taskhub delete-task-hub --connection-string-setting TestStorage --task-hub-name UserTest --yes",
			},
			exitDone, exitFailed, exitUsage, exitInUse, exitUnauthorized, exitInterrupted,
		),
		Flags: []cli.Flag{
			&cli.BoolFlag{DisableDefaultText: true, Name: optForce, Usage: "even if an app is running it: its lease is broken"},
		},
	}, runDeleteTaskHub)
}

// deleteReport is what delete-task-hub --json prints; docs/json.md describes it.
type deleteReport struct {
	Type       string   `json:"type"`
	Account    string   `json:"account"`
	TaskHub    string   `json:"task_hub"`
	Outcome    string   `json:"outcome"`
	AppRunning string   `json:"app_running,omitempty"`
	Evidence   []string `json:"app_running_evidence"`
	Tables     []string `json:"tables"`
	Queues     []string `json:"queues"`
	Containers []string `json:"containers"`
	Kept       []string `json:"kept_tables"`
}

func runDeleteTaskHub(s *session) error {
	if s.IsSet(optSnapshot) {
		return s.usagef("a capture cannot be changed: name the hub in a storage account")
	}
	if err := s.checkSource(); err != nil {
		return err
	}
	a, err := s.account(true)
	if err != nil {
		return err
	}
	// Not withEditor: a hub that does not exist is what is wanted here.
	ed := &editing{session: s, account: a, gate: newGate(1)}
	if err := ed.open(); err != nil {
		return a.located(err)
	}
	return a.wrap(errors.Join(ed.deleteHub(), ed.r.Close()))
}

func (ed *editing) deleteHub() error {
	report := &deleteReport{
		Type: "delete-task-hub", Account: ed.account.config.AccountName(), TaskHub: ed.account.names.TaskHub,
		Evidence: []string{}, Tables: []string{}, Queues: []string{}, Containers: []string{}, Kept: []string{},
	}
	plan, err := manage.PlanDelete(ed.ctx, ed.r, manage.DescribeOptions{Now: time.Now})
	if errors.Is(err, hub.ErrNotFound) {
		return ed.wasGone(report)
	}
	if err == nil {
		err = ed.sameCase(plan)
	}
	if err != nil {
		return err
	}
	report.AppRunning, report.Evidence = string(plan.Running), append(report.Evidence, plan.Evidence...)
	report.Tables, report.Queues = append(report.Tables, plan.Tables...), append(report.Queues, plan.Queues...)
	report.Containers, report.Kept = append(report.Containers, plan.Containers...), append(report.Kept, plan.Kept...)
	if plan.Empty() {
		return ed.wasGone(report)
	}
	if err := ed.tellDelete(plan); err != nil {
		return err
	}
	force := ed.Bool(optForce)
	if plan.Running != manage.RunningNoSign && !force {
		return fmt.Errorf("hub %s: %w: %s; stop the app, or insist with --%s", report.TaskHub, hub.ErrInUse, strings.Join(plan.Evidence, ", "), optForce)
	}
	if ed.e == nil {
		report.Outcome = "would-delete"
		return ed.tellDeleted(report, "Would delete task hub '%s'.\n")
	}
	if err := ed.confirmName(report.TaskHub); err != nil {
		return err
	}
	// Half a hub is of no use to anybody: Ctrl-C does not stop it.
	ctx := context.WithoutCancel(ed.ctx)
	var told error
	err = manage.DeleteHub(ctx, ed.r, ed.e, plan, force, func(name string) { told = errors.Join(told, ed.tell("deleted %s", name)) })
	if err = errors.Join(err, told); err != nil {
		return err
	}
	report.Outcome = "deleted"
	return ed.tellDeleted(report, "Task hub '%s' successfully deleted.\n")
}

func (ed *editing) tellDeleted(r *deleteReport, text string) error {
	if ed.json {
		return writeJSON(ed.stdout, r)
	}
	_, err := fmt.Fprintf(ed.stdout, text, ui.Escape(r.TaskHub))
	return err
}

// wasGone tells that there is nothing to delete. If the name was mistyped, those
// of other hubs may help.
func (ed *editing) wasGone(r *deleteReport) error {
	r.Outcome = "was-gone"
	if err := ed.tellDeleted(r, "Task hub '%s' was already gone.\n"); err != nil {
		return err
	}
	for _, name := range r.Kept {
		if err := ed.tell("table %s stays, as hubs share it", name); err != nil {
			return err
		}
	}
	hubs, err := listHubs(ed.ctx, ed.account)
	if err != nil {
		return nil //nolint:nilerr // it was only to help
	}
	var names []string
	for _, h := range hubs {
		if h.Names.TaskHub != r.TaskHub {
			names = append(names, h.Names.TaskHub)
		}
	}
	if similar := manage.Similar(r.TaskHub, names); len(similar) > 0 {
		return ed.tell("similar, and there: %s", strings.Join(similar, ", "))
	}
	return nil
}

// sameCase refuses a hub whose tables are not found by the name that was given and
// are there in another case: queues and containers have the same names then.
func (ed *editing) sameCase(plan *manage.DeletePlan) error {
	if plan.Names.TrackingPrefix != "" || plan.Has(hub.Instances) || plan.Has(hub.History) {
		return nil
	}
	hubs, err := listHubs(ed.ctx, ed.account)
	if err != nil {
		return err
	}
	for _, h := range hubs {
		if len(h.Tables) > 0 && strings.EqualFold(h.Names.TaskHub, plan.Names.TaskHub) && h.Names.TaskHub != plan.Names.TaskHub {
			return ed.usagef("the hub is called %s: name it so", h.Names.TaskHub)
		}
	}
	return nil
}

// tellDelete says what there is of the hub.
func (ed *editing) tellDelete(p *manage.DeletePlan) error {
	err := ed.tell("hub %s in storage account %s (%s); %s", p.Names.TaskHub, orUnknown(ed.account.config.AccountName()), ed.account.from,
		runningText(p.Running, p.Evidence))
	for _, part := range []struct {
		what  string
		names []string
	}{{"tables", p.Tables}, {"queues", p.Queues}, {"containers", p.Containers}, {"stay, as hubs share them: tables", p.Kept}} {
		if len(part.names) > 0 && err == nil {
			err = ed.tell("  %s %s", part.what, strings.Join(part.names, ", "))
		}
	}
	return err
}

// confirmName asks for the hub's name on the terminal, unless --yes has answered
// already.
func (s *session) confirmName(name string) error {
	if s.Bool(optYes) || s.json || !ui.IsTerminal(s.stderr) || !ui.IsTerminal(os.Stdin) {
		return s.confirm("") // which does not ask then
	}
	if _, err := fmt.Fprint(s.stderr, "Type the name of the hub to delete it: "); err != nil {
		return err
	}
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if strings.TrimSpace(answer) != name {
		return errors.New("that is not its name, nothing was deleted")
	}
	return nil
}
