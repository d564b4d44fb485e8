package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

// maxItemsShown is how many items a plan shows to people.
const maxItemsShown = 20

// origins in the order in which people want to know of them, with what they are
// called in text. Some occur only where instances are chosen.
var origins = []struct {
	origin migrate.Origin
	word   string
	chosen bool
}{
	{migrate.Unrecoverable, "lost", false},
	{migrate.CutOff, "cut off", true},
	{migrate.Left, "left", true},
	{migrate.Redriven, "redriven", false},
	{migrate.Rebuilt, "rebuilt", false},
	{migrate.Seen, "seen", false},
}

// itemsShown keeps of the items of a plan those that are shown: of each origin the
// first instances.
type itemsShown struct {
	first  map[migrate.Origin][]*instanceShown
	count  int64
	hidden string // what is said of messages that nobody can see
}

// instanceShown is what an instance has of one origin, for people.
type instanceShown struct {
	id     string
	what   []string // activity Echo, timer due …
	counts []int64
	items  int64
	why    string // of the first
}

// maxWhat is how many things are told of one instance.
const maxWhat = 4

// add is migrate.Options.OnItem.
func (s *itemsShown) add(i *migrate.Item) error {
	if i.Kind == migrate.KindHidden {
		s.hidden = strings.Clone(i.Why)
		return nil
	}
	s.count++
	if s.first == nil {
		s.first = make(map[migrate.Origin][]*instanceShown)
	}
	all := s.first[i.Origin]
	n := slices.IndexFunc(all, func(shown *instanceShown) bool { return shown.id == i.InstanceID })
	switch {
	case n >= 0:
		all[n].add(i)
	case len(all) < maxItemsShown:
		shown := &instanceShown{id: strings.Clone(i.InstanceID), why: strings.Clone(i.Why)}
		shown.add(i)
		s.first[i.Origin] = append(all, shown)
	}
	return nil
}

func (s *instanceShown) add(i *migrate.Item) {
	s.items++
	what := words(string(i.Kind))
	if i.Name != "" {
		what += " " + ui.Cut(i.Name, 40)
	}
	if i.DueAt != 0 {
		what += " due " + minutes(i.DueAt)
	}
	if n := slices.Index(s.what, what); n >= 0 {
		s.counts[n]++
	} else if len(s.what) < maxWhat {
		s.what, s.counts = append(s.what, what), append(s.counts, 1)
	}
}

// text lists them: 9 × activity Square, wake up.
func (s *instanceShown) text() string {
	var parts []string
	left := s.items
	for n, what := range s.what {
		if s.counts[n] > 1 {
			what = ui.Count(s.counts[n]) + " × " + what
		}
		parts = append(parts, what)
		left -= s.counts[n]
	}
	if left > 0 {
		parts = append(parts, "and "+ui.Count(left)+" more")
	}
	return strings.Join(parts, ", ")
}

// minutes is a time for people.
func minutes(t schema.Ticks) string { return t.Time().Format("2006-01-02 15:04:05Z") }

// planned tells the plan and asks. It returns why it cannot be carried out.
func (m *migrating) planned(plan *migrate.HubPlan) error {
	if m.json {
		if !m.dryRun() {
			return nil // what Run returns is told
		}
		if err := writeJSON(m.stdout, m.planReport(plan)); err != nil {
			return err
		}
		return m.refused(plan.Refusals)
	}
	if plan.Done {
		return m.section("the journal says that this migration has ended: both hubs are compared, and nothing is written")
	}
	for _, tell := range []func(*migrate.HubPlan) error{m.tellWhat, m.tellPending, m.tellItems, m.tellLeft} {
		if err := tell(plan); err != nil {
			return err
		}
	}
	if err := m.refused(plan.Refusals); err != nil {
		return err
	}
	if m.dryRun() {
		return m.section("nothing was written: this was a dry run")
	}
	return m.confirm("Migrate?")
}

// tellWhat says how much moves.
func (m *migrating) tellWhat(plan *migrate.HubPlan) error {
	if err := m.section("moves" + m.choice.text()); err != nil {
		return err
	}
	t := ui.Table{Right: []bool{false, true}, Indent: "  "}
	rewritten := ""
	if plan.Rewritten > 0 {
		rewritten = ui.Count(plan.Rewritten) + " of them rewritten, as they name the hub or the account"
	}
	t.Row("Instances", ui.Plural(plan.Rows[hub.Instances], "row", "rows"), rewritten)
	t.Row("History", ui.Plural(plan.Rows[hub.History], "row", "rows"), ui.Bytes(plan.RowBytes)+" with Instances")
	t.Row("payloads", ui.Plural(plan.Blobs, "blob", "blobs"), ui.Bytes(plan.BlobBytes))
	return t.Write(m.stderr)
}

// tellPending counts the work in flight by kind and origin.
func (m *migrating) tellPending(plan *migrate.HubPlan) error {
	counts, total := make(map[migrate.PendingCount]int64), make(map[migrate.Origin]int64)
	var kinds []migrate.Kind
	for _, c := range plan.Pending {
		if c.Kind == migrate.KindHidden {
			continue
		}
		if !slices.Contains(kinds, c.Kind) {
			kinds = append(kinds, c.Kind)
		}
		counts[migrate.PendingCount{Kind: c.Kind, Origin: c.Origin}] += c.Count
		total[c.Origin] += c.Count
	}
	if len(kinds) == 0 {
		return m.section("no work is in flight")
	}
	t := ui.Table{Right: []bool{false, true, true, true, true, true, true}, Indent: "  "}
	line := func(name string, cell func(migrate.Origin, string) string) {
		cells := []string{name}
		for _, o := range slices.Backward(origins) {
			if !o.chosen || total[o.origin] > 0 {
				cells = append(cells, cell(o.origin, o.word))
			}
		}
		t.Row(cells...)
	}
	line("", func(_ migrate.Origin, word string) string { return word })
	for _, kind := range kinds {
		line(words(string(kind)), func(o migrate.Origin, _ string) string {
			return ui.Count(counts[migrate.PendingCount{Kind: kind, Origin: o}])
		})
	}
	if len(kinds) > 1 {
		line("all", func(o migrate.Origin, _ string) string { return ui.Count(total[o]) })
	}
	if err := m.section("work in flight"); err != nil {
		return err
	}
	return t.Write(m.stderr)
}

// words makes a name for programs one for people.
func words(name string) string { return strings.ReplaceAll(name, "_", " ") }

// tellItems says instance by instance what comes from where, the worst first.
func (m *migrating) tellItems(*migrate.HubPlan) error {
	lines, items := 0, int64(0)
	t := ui.Table{Indent: "  "}
	for _, o := range origins {
		for _, i := range m.items.first[o.origin] {
			if lines == maxItemsShown {
				break
			}
			why := ""
			if o.origin != migrate.Seen {
				why = i.why
			}
			t.Row(o.word, ui.Cut(i.id, 50), i.text(), why)
			lines++
			items += i.items
		}
	}
	if lines == 0 {
		return nil
	}
	if err := m.section("instance by instance"); err != nil {
		return err
	}
	if err := t.Write(m.stderr); err != nil {
		return err
	}
	if more := m.items.count - items; more > 0 {
		return m.tell("  …and %s more: --json has them all", ui.Count(more))
	}
	return nil
}

// section begins a part of the plan.
func (m *migrating) section(title string) error {
	_, err := fmt.Fprintf(m.stderr, "\n%s\n", ui.Escape(title))
	return err
}

// tellLeft says what stays behind besides lost items.
func (m *migrating) tellLeft(plan *migrate.HubPlan) error {
	if m.opts.WithoutQueues {
		err := m.section("stays behind: events and signals on their way, and whatever else only messages hold: the queues are not looked into")
		if err != nil {
			return err
		}
	}
	if m.items.hidden != "" {
		if err := m.section("stays behind: " + m.items.hidden); err != nil {
			return err
		}
		if m.from.snapshot == "" {
			if err := m.tell("  what a worker had taken comes into sight 5 minutes after it was stopped"); err != nil {
				return err
			}
		}
	}
	messages, seen, receivable := int64(0), int64(0), int64(0)
	for _, q := range plan.Queues {
		messages, seen, receivable = messages+q.Messages, seen+q.Seen, receivable+q.Receivable
	}
	if receivable > 0 {
		hint := "reads them"
		if m.Bool(optReceive) {
			hint = "reads them before anything is written"
		}
		err := m.section(fmt.Sprintf("the queues hold %s, of which a peek shows %s; up to %s more may be visible, and --%s %s",
			ui.Plural(messages, "message", "messages"), ui.Count(seen), ui.Count(receivable), optReceive, hint))
		if err != nil {
			return err
		}
	}
	for _, u := range plan.Unreadable {
		if err := m.tell("not readable: %s: %s", u.Artifact, u.Reason); err != nil {
			return err
		}
	}
	return nil
}

// remedies say what a person can do about a refusal.
var remedies = map[migrate.RefusalCode]string{
	migrate.RefusedRunning:    "stop the app and its clients, and wait until its leases have ended, about a minute; what it had taken comes into sight after 5 minutes",
	migrate.RefusedTarget:     "stop the app that runs it, or choose another --to-task-hub-name",
	migrate.RefusedExists:     "choose another --to-task-hub-name, delete what is there with taskhub delete-task-hub, or go on with an interrupted run with --resume",
	migrate.RefusedOther:      "choose another --to-task-hub-name, or delete what is there with taskhub delete-task-hub",
	migrate.RefusedNoJournal:  "name the journal of the run that made it with --journal; if there is none, delete the hub with taskhub delete-task-hub and begin anew",
	migrate.RefusedJournal:    "--resume goes on with an interrupted run, with the same options; for another migration name another file with --journal, or delete this one",
	migrate.RefusedLost:       "the plan names them; --accept-lost goes on without",
	migrate.RefusedUnseen:     "--receive-messages reads them all, of a hub in an account; --accept-lost goes on without",
	migrate.RefusedCutOff:     "choose both ends, as --tree does of sub-orchestrations; --accept-lost goes on without",
	migrate.RefusedBlob:       "--max-blob allows larger ones",
	migrate.RefusedDelay:      "is the clock of this machine right?",
	migrate.RefusedUnreadable: "get the access that is missing; --accept-lost goes on without",
}

// aboutTarget are the refusals for which a hub is in use or in the way.
var aboutTarget = []migrate.RefusalCode{
	migrate.RefusedRunning, migrate.RefusedTarget, migrate.RefusedExists, migrate.RefusedOther, migrate.RefusedNoJournal,
}

// maxReasons is how many refusals of one code people are told.
const maxReasons = 5

// notMigratedError says that nothing was written because of the plan. Its cause
// gives the exit code.
type notMigratedError struct {
	text  string
	cause error
}

func (e *notMigratedError) Error() string { return e.text }
func (e *notMigratedError) Unwrap() error { return e.cause }

// refused tells the refusals and what to do about them, and returns the error that
// they are; nil without any.
func (m *migrating) refused(refusals []migrate.Refusal) error {
	if len(refusals) == 0 {
		return nil
	}
	err := &notMigratedError{cause: &findingsError{}}
	var codes []string
	count := make(map[migrate.RefusalCode]int)
	for _, r := range refusals {
		if !slices.Contains(codes, string(r.Code)) {
			codes = append(codes, string(r.Code))
		}
		switch {
		case slices.Contains(aboutTarget, r.Code):
			err.cause = hub.ErrInUse
		case r.Code == migrate.RefusedJournal && !errors.Is(err.cause, hub.ErrInUse):
			err.cause = nil
		}
		count[r.Code]++
	}
	err.text = "not migrated, and nothing was written: " + strings.Join(codes, ", ")
	if m.json {
		return err
	}
	if err := m.section("it cannot be done like this"); err != nil {
		return err
	}
	for _, code := range codes {
		told := 0
		for _, r := range refusals {
			if string(r.Code) != code || told == maxReasons {
				continue
			}
			told++
			detail := r.Detail
			if r.Code == migrate.RefusedJournal {
				detail = m.journal + ": " + detail
			}
			if err := m.tell("  %s: %s", code, detail); err != nil {
				return err
			}
		}
		if more := count[migrate.RefusalCode(code)] - told; more > 0 {
			if err := m.tell("  …and %s more", ui.Count(int64(more))); err != nil {
				return err
			}
		}
		if remedy := remedies[migrate.RefusalCode(code)]; remedy != "" {
			if err := m.tell("    %s", remedy); err != nil {
				return err
			}
		}
	}
	return err
}

// text says for people which instances move.
func (c *selection) text() string {
	switch {
	case c.isNamed() && c.tree:
		return " " + ui.Plural(int64(len(c.found)), "instance of the hub, sub-orchestrations included", "instances of the hub, sub-orchestrations included")
	case c.isNamed() || c.byRow:
		return " " + ui.Plural(int64(len(c.found)), "instance of the hub", "instances of the hub")
	case c.entities:
		return " the entities of the hub"
	case c.filter.IDPrefix != "":
		return fmt.Sprintf(" the instances whose IDs begin with %q", c.filter.IDPrefix)
	}
	return ""
}
