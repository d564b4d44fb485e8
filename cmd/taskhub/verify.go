package main

import (
	"bufio"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/verify"
)

// recheckAfter is how long work of a running hub is given to arrive before what
// looks wrong is read again: a worker commits history and row within moments.
const recheckAfter = 2 * time.Second

func verifyCommand() *cli.Command {
	return command(&cli.Command{
		Name:  "verify",
		Usage: "look for what is inconsistent in a hub",
		Description: description(
			"Checks tables, queues, payloads and leases against each other and prints what is not as the\n"+
				"framework leaves it, each finding with the rows, messages or blobs that show it and what can\n"+
				"be done. It reads only; messages are peeked at. \"--list\" lists the checks; docs/checks.md\n"+
				"explains each.\n\n"+
				"An error keeps instances from ending or loses data; a warning does no harm by itself; info\n"+
				"is evidence of what has happened. What a message that is still queued will mend is said to\n"+
				"heal and counts one step less. Each check may also be unable to tell, mostly because of\n"+
				"messages that cannot be seen: the summary counts that.\n\n"+
				"A capture is judged as of the time at which it was taken. On a running hub, what looks wrong\n"+
				"is read again after 2 seconds and reported if it is still so.",
			[]string{
				"taskhub verify --snapshot orders.taskhub",
				"taskhub verify --task-hub-name Orders --check lost-work,blob-missing --fail-on error",
				"taskhub verify --snapshot orders.taskhub --id order-1",
				"taskhub verify --snapshot orders.taskhub --json | jq 'select(.severity == \"error\") | .instance_id'",
			},
			exitDone, exitFailed, exitUsage, exitFindings, exitSkipped, exitNotFound, exitUnauthorized, exitInterrupted,
		),
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "check", Usage: "make only this check, `CODE`,…; may be repeated"},
			&cli.StringFlag{Name: "severity", Value: string(verify.Info), Usage: "show findings from `SEVERITY` on: info, warning or error"},
			&cli.StringFlag{Name: "fail-on", Value: string(verify.Warning), Usage: "exit with 3 if there are findings from `SEVERITY` on"},
			&cli.StringSliceFlag{Name: "id", Usage: "check only this instance `ID`, by the checks of instances; may be repeated"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "read-blobs", Usage: "unpack every payload to check it"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "list", Usage: "list the checks and do nothing else"},
			maxPayloadFlag(),
		},
	}, runVerify)
}

// verifyOptions are what the options say.
func verifyOptions(s *session) (o verify.Options, failOn verify.Severity, err error) {
	var errs [5]error
	codes := make([]string, 0, len(verify.Checks()))
	for _, c := range verify.Checks() {
		codes = append(codes, c.Code)
	}
	o.Checks, errs[0] = someOf(s, "check", codes)
	o.MinSeverity, errs[1] = oneOf(s, "severity", verify.Severities()...)
	failOn, errs[2] = oneOf(s, "fail-on", verify.Severities()...)
	o.Instances, errs[3] = s.nonEmpty("id")
	o.MaxBlobBytes, errs[4] = s.size(optMaxPayload)
	for _, err := range errs {
		if err != nil {
			return o, "", err
		}
	}
	if len(o.Instances) == 0 {
		o.Instances = nil
	}
	o.ReadBlobs = s.Bool("read-blobs")
	o.Now = time.Now
	o.Recheck = func(ctx context.Context) error { return wait(ctx, recheckAfter) }
	return o, failOn, nil
}

func runVerify(s *session) error {
	if s.Bool("list") {
		return listChecks(s)
	}
	opts, failOn, err := verifyOptions(s)
	if err != nil {
		return err
	}
	line := s.progressLine()
	if ui.IsTerminal(s.App.Writer) {
		line = nil // the findings themselves show it
	}
	opts.OnProgress = func(p verify.Progress) {
		line.update(ui.Step{Name: "history rows", Done: p.HistoryRows, Total: p.TotalRows})
	}
	return s.withSource(func(r hub.Reader) error {
		info, err := r.Info(s.ctx)
		if err != nil {
			return err
		}
		for _, u := range info.Unreadable {
			s.warn(fmt.Errorf("%s is not in the capture, and not checked: %s", u.Artifact, u.Reason))
		}
		line.start()
		defer line.stop()
		findings, summary := verify.Hub(s.ctx, r, opts)
		remedied := map[string]bool{}
		for f, err := range findings {
			if err != nil {
				return err
			}
			if s.json {
				err = writeJSON(s.stdout, findingLine{"finding", f})
			} else {
				err = printFinding(s.stdout, &f, !remedied[f.Code])
				remedied[f.Code] = true
			}
			if err != nil {
				return err
			}
		}
		line.stop()
		if err := s.verified(summary, &opts); err != nil {
			return err
		}
		if n := summary.Findings(failOn); n > 0 {
			what := "findings"
			if failOn != verify.Info {
				what = "findings of severity " + string(failOn) + " or above"
			}
			return &findingsError{fmt.Sprintf("%s: %s", what, ui.Count(n))}
		}
		return nil
	})
}

// findingLine is a line of verify --json, and verifySummary the last one;
// docs/json.md describes them.
type findingLine struct {
	Type string `json:"type"`
	verify.Finding
}

type verifySummary struct {
	Type string `json:"type"`
	*verify.Summary
}

// verified writes the summary.
func (s *session) verified(sum *verify.Summary, opts *verify.Options) error {
	if s.json {
		return writeJSON(s.stdout, verifySummary{"summary", sum})
	}
	if sum.Errors+sum.Warnings+sum.Infos > 0 {
		if err := s.stdout.WriteByte('\n'); err != nil {
			return err
		}
	}
	text := fmt.Sprintf("%s, %s checked: %s, %s, %s\n",
		ui.Plural(sum.Instances, "instance", "instances"), ui.Plural(sum.HistoryRows, "history row", "history rows"),
		ui.Plural(sum.Errors, "error", "errors"), ui.Plural(sum.Warnings, "warning", "warnings"), ui.Count(sum.Infos)+" info")
	if missing := int64(len(opts.Instances)) - sum.Instances; opts.Instances != nil && missing > 0 {
		text += ui.Plural(missing, "instance", "instances") + " of those named not found\n"
	}
	if _, err := s.stdout.WriteString(text); err != nil {
		return err
	}
	t := ui.Table{}
	if len(opts.Instances) == 1 && sum.Instances == 1 {
		for _, c := range sum.Checks {
			switch {
			case c.Violated > 0:
				t.Row("", c.Code, "violated")
			case c.Unknown > 0:
				t.Row("", c.Code, "cannot tell", reasons(&c))
			case c.OK > 0:
				t.Row("", c.Code, "ok")
			}
		}
		return t.Write(s.stdout)
	}
	for _, c := range sum.Checks {
		if c.Unknown > 0 {
			t.Row("", c.Code, ui.Count(c.Unknown), reasons(&c))
		}
	}
	if t.Empty() {
		return nil
	}
	if _, err := s.stdout.WriteString("could not tell:\n"); err != nil {
		return err
	}
	return t.Write(s.stdout)
}

// reasons says why the outcome of a check is unknown, the most frequent reason
// first.
func reasons(o *verify.Outcome) string {
	all := slices.Clone(o.Reasons)
	slices.SortStableFunc(all, func(a, b verify.Reason) int { return int(b.Count - a.Count) })
	if len(all) == 0 {
		return ""
	}
	text := all[0].Why
	if all[0].Example != "" {
		text += ", as " + all[0].Example
	}
	if len(all) > 1 {
		text += fmt.Sprintf(" (and %s)", ui.Plural(int64(len(all)-1), "other reason", "other reasons"))
	}
	return text
}

// printFinding prints a finding, with its remedy if that was not told yet.
func printFinding(w *bufio.Writer, f *verify.Finding, remedy bool) error {
	what := fmt.Sprintf("%-8s %s", f.Severity, f.Code)
	if f.InstanceID != "" {
		what += "  " + ui.Escape(f.InstanceID)
	}
	lines := []string{what, ui.Escape(f.Detail)}
	if f.Heals != "" {
		lines = append(lines, "heals: "+ui.Escape(f.Heals))
	}
	const shown = 5
	for _, p := range f.At[:min(len(f.At), shown)] {
		lines = append(lines, "at "+ui.Escape(p.String()))
	}
	if more := len(f.At) - shown; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more places (--json shows them)", more))
	}
	if remedy && f.Severity != verify.Info {
		lines = append(lines, "try: "+f.Remedy)
	}
	_, err := w.WriteString(strings.Join(lines, "\n         ") + "\n")
	return err
}

// checkLine is a line of verify --list --json; docs/json.md describes it.
type checkLine struct {
	Type     string          `json:"type"`
	Code     string          `json:"code"`
	Severity verify.Severity `json:"severity"`
	Scope    string          `json:"scope"`
	Reason   string          `json:"reason"`
	Cause    string          `json:"cause"`
	Evidence string          `json:"evidence"`
	Remedy   string          `json:"remedy"`
	Repair   string          `json:"repair,omitempty"`
	Issues   []string        `json:"issues"`
}

func listChecks(s *session) error {
	t := ui.Table{}
	for _, c := range verify.Checks() {
		if s.json {
			issues := append([]string{}, c.Issues...)
			if err := writeJSON(s.stdout, checkLine{"check", c.Code, c.Severity, c.Scope, c.Reason, c.Cause, c.Evidence, c.Remedy, c.Repair, issues}); err != nil {
				return err
			}
			continue
		}
		t.Row(c.Code, string(c.Severity), c.Reason)
	}
	return t.Write(s.stdout)
}
