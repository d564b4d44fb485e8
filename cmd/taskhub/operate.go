package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// Options of every command that changes a hub.
const (
	optDryRun = "dry-run"
	optYes    = "yes"
	optForce  = "force"
)

const categoryEdit = "the storage account"

// editCommand completes a command that changes a hub. do gets a context whose
// options are parsed and which has no arguments left.
func editCommand(c *cli.Command, do func(*session) error) *cli.Command {
	c.Flags = append(c.Flags,
		&cli.BoolFlag{DisableDefaultText: true, Name: optDryRun, Usage: "say what would be done, and do nothing"},
		&cli.BoolFlag{DisableDefaultText: true, Name: optYes, Usage: "do not ask"},
	)
	return commandWith(editFlags(), c, do)
}

// editFlags name the hub to change. A capture cannot be one; the option for it is
// there to say so.
func editFlags() []cli.Flag {
	flags := append(connectionFlags(), hubFlags()...)
	for _, f := range flags {
		if text, ok := f.(*cli.StringFlag); ok {
			text.Category = categoryEdit
		}
	}
	return append(flags, &cli.StringFlag{Name: optSnapshot, Hidden: true})
}

// edits reports whether the command changes the hub that the options name.
func (s *session) edits() bool {
	f, ok := flagNamed(s.Command, optSnapshot).(*cli.StringFlag)
	return ok && f.Hidden
}

// editing is a hub that a command is about to change.
type editing struct {
	*session
	account *account
	info    hub.Info
	r       hub.Reader
	// e changes the hub. With --dry-run it is nil.
	e    hub.Editor
	gate *gate // is told when the service is busy
	// running and evidence are as in manage.Overview; running is empty if it
	// cannot be told.
	running  manage.Running
	evidence []string
}

// withEditor runs do with the hub that the options name, which has to exist.
func (s *session) withEditor(do func(*editing) error) error {
	if s.IsSet(optSnapshot) {
		return s.usagef("a capture cannot be changed: name the hub in a storage account")
	}
	if err := s.checkSource(); err != nil {
		return err
	}
	if !s.dryRun() {
		if err := s.canAsk(); err != nil {
			return err
		}
	}
	a, err := s.account(true)
	if err != nil {
		return err
	}
	ed := &editing{session: s, account: a, gate: newGate(s.concurrency())}
	if err := ed.open(); err != nil {
		return a.located(err)
	}
	err = errors.Join(ed.run(do), ed.r.Close())
	if errors.Is(err, hub.ErrNotFound) {
		if _, again := ed.r.Info(s.ctx); errors.Is(again, hub.ErrNotFound) {
			return s.noHub(a)
		}
		return fmt.Errorf("%v", a.wrap(err)) //nolint:errorlint // a part of the hub is missing, not the hub
	}
	return a.wrap(err)
}

// dryRun reports whether the options ask to change nothing.
func (s *session) dryRun() bool { return s.Bool(optDryRun) || s.Bool(optPlan) }

// open sends nothing. With --dry-run there is nothing that could change the hub.
func (ed *editing) open() error {
	ed.account.edits = true
	opts := live.Options{Logger: slog.New(ed.gate)}
	if ed.dryRun() {
		h, err := live.Open(ed.ctx, ed.account.config, ed.account.names, opts)
		ed.r = h
		return err
	}
	e, err := live.OpenEditor(ed.ctx, ed.account.config, ed.account.names, opts)
	ed.r, ed.e = e, e
	return err
}

func (ed *editing) run(do func(*editing) error) error {
	o, err := manage.Leases(ed.ctx, ed.r, manage.DescribeOptions{Now: time.Now})
	switch {
	case err == nil:
		ed.info, ed.running, ed.evidence = o.Hub, o.Running, o.Evidence
	case errors.Is(err, hub.ErrUnauthorized):
		// Not to be allowed to look at leases is no reason not to go on.
		if ed.info, err = ed.r.Info(ed.ctx); err != nil {
			return err
		}
	default:
		return err
	}
	return do(ed)
}

// introduce says which hub is about to be changed.
func (ed *editing) introduce() error {
	return ed.tell("hub %s with %s in storage account %s (%s); %s", ed.info.Names.TaskHub,
		ui.Plural(int64(ed.info.PartitionCount), "partition", "partitions"), orUnknown(ed.account.config.AccountName()), ed.account.from,
		runningText(ed.running, ed.evidence))
}

// tell writes a line for people about what is done or will be. With --json there
// is nobody to read it.
func (s *session) tell(format string, args ...any) error {
	if s.json {
		return nil
	}
	_, err := fmt.Fprintln(s.stderr, ui.Escape(fmt.Sprintf(format, args...)))
	return err
}

// runningText says whether an app is running a hub.
func runningText(running manage.Running, evidence []string) string {
	why := ""
	if len(evidence) > 0 {
		why = " (" + strings.Join(evidence, ", ") + ")"
	}
	switch running {
	case manage.RunningYes:
		return "an app is running it" + why
	case manage.RunningMaybe:
		return "an app may be running it" + why
	case manage.RunningNoSign:
		return "no sign of an app that runs it"
	}
	return "whether an app is running it cannot be told"
}

// canAsk returns an error if --yes has not answered and there is nobody to ask.
func (s *session) canAsk() error {
	switch {
	case s.Bool(optYes):
	case s.json:
		return s.usagef("this writes, and with --%s nobody is asked: say --%s, or --%s", optJSON, optYes, optDryRun)
	case !ui.IsTerminal(s.stderr) || !ui.IsTerminal(os.Stdin):
		return s.usagef("this writes, and there is no terminal to ask on: say --%s, or --%s", optYes, optDryRun)
	}
	return nil
}

// confirm asks on the terminal, unless --yes has answered already.
func (s *session) confirm(question string) error {
	if s.Bool(optYes) {
		return nil
	}
	if err := s.canAsk(); err != nil {
		return err
	}
	if _, err := fmt.Fprint(s.stderr, ui.Escape(question)+" [y/N] "); err != nil {
		return err
	}
	answer, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errors.New("not confirmed, nothing was written")
	}
	return nil
}

// operation is something that is done to instances.
type operation struct {
	// name is what reports call it and what the plan says: terminate.
	name string
	// statuses are those of the instances that --all and --tree choose unless
	// --runtime-status says others; nil means any.
	statuses []schema.Status
	// parameters are what makes two runs of the operation different. The report
	// of a run with others is not gone on with.
	parameters []string
	// repeatable says that to do it twice does no harm. What is not is not done
	// again where an interrupted run may have done it.
	repeatable bool
	// unknown is what to say of an unknown instance that is the only one; empty
	// makes it an error.
	unknown string
	// prepare returns what does it with e, or with nil finds out what it would do.
	prepare func(ed *editing, e hub.Editor) (worker, error)
	// show prints what was found out about the only instance before anything is
	// done to it; nil is fine.
	show func(ed *editing) error
	// after is called when the only instance was done, which is told with what it
	// waits for; nil is fine.
	after func(ed *editing, id string, did *operated) error
	waits string

	alone bool // one instance was named, and only that
}

// worker does an operation to one instance. Its result says what was written even
// if it returns an error.
type worker func(ctx context.Context, id string) (operated, error)

// operated is what was done to an instance, or would be.
type operated struct {
	operationReport
	done    string // for people, without a full stop of the plan: Raised event …
	skipped string // why there was nothing to do; empty if there was
}

// controlled is the prepare of what a manage.Control does.
func controlled(do func(ctx context.Context, c *manage.Control, id string) (operated, error)) func(*editing, hub.Editor) (worker, error) {
	return func(ed *editing, e hub.Editor) (worker, error) {
		c, err := ed.control(e)
		if err != nil {
			return nil, err
		}
		return func(ctx context.Context, id string) (operated, error) { return do(ctx, c, id) }, nil
	}
}

func (ed *editing) control(e hub.Editor) (*manage.Control, error) {
	return manage.NewControl(ed.ctx, ed.r, e, manage.ControlOptions{Now: time.Now})
}

// result is what became of an instance.
type result string

const (
	resultDone    result = "done"
	resultSkipped result = "skipped" // there was nothing to do
	resultRefused result = "refused" // it cannot be done, and nothing was written
	resultFailed  result = "failed"
)

// operationReport is a line of --json and of a report; docs/json.md describes it.
type operationReport struct {
	Type          string             `json:"type"`
	Operation     string             `json:"operation"`
	InstanceID    string             `json:"instance_id"`
	Outcome       result             `json:"outcome"`
	DryRun        bool               `json:"dry_run,omitempty"`
	RuntimeStatus string             `json:"runtime_status,omitempty"`
	Reason        string             `json:"reason,omitempty"`
	Error         string             `json:"error,omitempty"`
	Warning       string             `json:"warning,omitempty"`
	NewInstanceID string             `json:"new_instance_id,omitempty"`
	ExecutionID   string             `json:"execution_id,omitempty"`
	RowsWritten   int64              `json:"rows_written,omitempty"`
	Messages      []operationMessage `json:"messages,omitempty"`
}

type operationMessage struct {
	InstanceID string `json:"instance_id"`
	Queue      string `json:"queue"`
	Event      string `json:"event,omitempty"`
	Blob       string `json:"blob,omitempty"`
	VisibleAt  string `json:"visible_at,omitempty"`
}

// sent notes a message.
func (o *operated) sent(s *manage.Sent) {
	if s == nil {
		return
	}
	o.status(s.Status)
	if s.Skipped {
		o.skipped = "it is " + s.Status.String()
		return
	}
	m := operationMessage{InstanceID: s.InstanceID, Queue: s.Queue, Event: s.Event, Blob: s.Blob}
	if s.VisibleAt != 0 {
		m.VisibleAt = s.VisibleAt.String()
	}
	o.Messages = append(o.Messages, m)
}

// status notes the status that the instance had before.
func (o *operated) status(s schema.Status) {
	if s != schema.StatusUnknown {
		o.RuntimeStatus = s.String()
	}
}

// writes says for people what is written: a message to orders-control-00, 3 rows.
func (o *operated) writes() string {
	var parts []string
	if len(o.Messages) == 1 {
		m := &o.Messages[0]
		text := "a message to " + m.Queue
		if m.Blob != "" {
			text += " by way of a blob"
		}
		if m.VisibleAt != "" {
			text += ", hidden until " + m.VisibleAt
		}
		parts = append(parts, text)
	} else if n := len(o.Messages); n > 1 {
		parts = append(parts, ui.Plural(int64(n), "message", "messages"))
	}
	if o.RowsWritten > 0 {
		parts = append(parts, ui.Plural(o.RowsWritten, "row", "rows"))
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// judge completes what a worker has returned.
func (op *operation) judge(id string, o operated, err error) operated {
	o.Type, o.Operation = "operation", op.name
	if o.InstanceID == "" {
		o.InstanceID = id
	}
	var state *manage.StateError
	var argument *manage.ArgumentError
	var rewind *manage.RewindError
	if errors.As(err, &state) {
		o.status(state.Status)
	}
	switch {
	case err == nil && o.skipped != "":
		o.Outcome, o.Reason = resultSkipped, o.skipped
	case err == nil:
		o.Outcome = resultDone
	case state != nil, errors.As(err, &argument), errors.As(err, &rewind),
		errors.Is(err, manage.ErrNoInstance), errors.Is(err, manage.ErrLocked), errors.Is(err, errRefused):
		o.Outcome, o.Error = resultRefused, scrub(err.Error())
	default:
		o.Outcome, o.Error = resultFailed, scrub(err.Error())
	}
	return o
}

// errRefused marks errors before which nothing was written, and after which
// nothing can be.
var errRefused = errors.New("refused")

// operate does what the options say to the instances that they name.
func (s *session) operate(op *operation) error {
	c, err := s.choice(op)
	if err != nil {
		return err
	}
	id, alone := c.single()
	op.alone = alone
	return s.withEditor(func(ed *editing) error {
		if alone {
			return ed.one(op, id)
		}
		return ed.many(op, c)
	})
}

// one does an operation to a single instance. What it would do is found out
// first, so that what is refused is not asked about.
func (ed *editing) one(op *operation, id string) error {
	began := time.Now()
	if err := ed.introduce(); err != nil {
		return err
	}
	plan, err := op.prepare(ed, nil)
	if err != nil {
		return err
	}
	o, err := plan(ed.ctx, id)
	o = op.judge(id, o, err)
	if op.show != nil {
		if err := op.show(ed); err != nil {
			return err
		}
	}
	if o.Warning != "" && !ed.json {
		message(ed.stderr, false, "warning", 0, o.Warning, "")
	}
	if err == nil && o.Outcome == resultDone {
		status := ""
		if o.RuntimeStatus != "" {
			status = ", which is " + o.RuntimeStatus
		}
		if err := ed.tell("%s '%s'%s: %s", op.name, o.InstanceID, status, o.writes()); err != nil {
			return err
		}
	}
	if ed.e == nil || err != nil || o.Outcome != resultDone {
		return ed.single(op, o, err, began)
	}
	if err := ed.confirm(sentence(op.name) + " it?"); err != nil {
		return err
	}
	act, err := op.prepare(ed, ed.e)
	if err != nil {
		return err
	}
	// What was begun is finished even if somebody presses Ctrl-C.
	o, err = act(context.WithoutCancel(ed.ctx), id)
	return ed.single(op, op.judge(id, o, err), err, began)
}

// single tells what became of the only instance.
func (ed *editing) single(op *operation, o operated, err error, began time.Time) error {
	o.DryRun = ed.e == nil
	unknown := errors.Is(err, manage.ErrNoInstance) && op.unknown != ""
	if ed.json {
		sum := ed.newSummary(op, 1)
		sum.count(&o)
		sum.TookMS = time.Since(began).Milliseconds()
		if err := errors.Join(writeJSON(ed.stdout, o.operationReport), writeJSON(ed.stdout, sum)); err != nil {
			return err
		}
	} else {
		text := ""
		switch {
		case unknown:
			text = fmt.Sprintf(op.unknown, ui.Escape(o.InstanceID))
		case err != nil:
		case o.Outcome == resultSkipped && o.done != "":
			text = o.done
		case o.Outcome == resultSkipped:
			text = "Nothing to do for instance " + quoted(o.InstanceID) + ": " + o.skipped
		case o.DryRun:
			text = op.would(&o)
		default:
			text = o.done + op.waits
		}
		if text != "" {
			if _, err := fmt.Fprintln(ed.stdout, text); err != nil {
				return err
			}
		}
	}
	var argument *manage.ArgumentError
	switch {
	case unknown:
		return nil
	case errors.As(err, &argument):
		return ed.usagef("%v", err)
	case err != nil:
		return err
	case o.Outcome == resultDone && !o.DryRun && op.after != nil:
		if err := ed.stdout.Flush(); err != nil {
			return err
		}
		return op.after(ed, o.InstanceID, &o)
	}
	return nil
}

// would says for people what a dry run has found out.
func (op *operation) would(o *operated) string {
	return fmt.Sprintf("Would %s instance %s: %s", op.name, quoted(o.InstanceID), ui.Escape(o.writes()))
}

// quoted is how the framework's command line shows an ID.
func quoted(id string) string { return "'" + ui.Escape(id) + "'" }

// sentence makes the beginning of a sentence of a word.
func sentence(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
