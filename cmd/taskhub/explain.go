package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/explain"
	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

func explainCommand() *cli.Command {
	return command(&cli.Command{
		Name:  "explain",
		Usage: "say what one instance is doing, what it waits for, and what to try next",
		Description: description(
			"Explains one orchestration or entity, the verdict first: its status and since when, what it\n"+
				"waits for and where the message is that will bring it, who owns its partition, locks, its\n"+
				"parents and children, what \"taskhub verify\" finds about it, and what to try next. It reads\n"+
				"only; messages are peeked at.\n\n"+
				"A queue shows 32 messages at most, and none that is invisible: timers that run, scheduled\n"+
				"starts, work that a worker has taken. So a message is \"visible\"; \"hidden\", if it is due\n"+
				"later and so must be invisible; \"possibly-hidden\", if it may be one of those that cannot be\n"+
				"seen; or \"lost\", if the queue's count leaves no room for it. A capture is explained as of\n"+
				"the time at which it was taken.\n\n"+
				"An instance that does not exist is an answer, not an error; similar IDs are told.",
			[]string{
				"taskhub explain --snapshot orders.taskhub --id order-1",
				"taskhub explain --task-hub-name Orders --id '@counter@c1'",
				"taskhub explain --snapshot orders.taskhub --id order-1 --json | jq -r .verdict",
			},
			exitDone, exitFailed, exitUsage, exitSkipped, exitNotFound, exitUnauthorized, exitInterrupted,
		),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "id", Usage: "the instance `ID`"},
			maxPayloadFlag(),
		},
	}, runExplain)
}

func runExplain(s *session) error {
	id, err := s.text("id")
	if err != nil {
		return err
	}
	limit, err := s.size(optMaxPayload)
	if err != nil {
		return err
	}
	return s.withSource(func(r hub.Reader) error {
		report, err := explain.Instance(s.ctx, r, id, explain.Options{Now: time.Now, MaxPayloadBytes: limit})
		if err != nil {
			return err
		}
		for _, p := range report.Problems {
			s.warn(p)
		}
		if s.json {
			return writeJSON(s.stdout, newExplanation(report))
		}
		return printExplanation(s.stdout, report)
	})
}

// printExplanation lays a report out for somebody in a hurry: the verdict, then
// blocks in the order in which questions come up, none that is empty.
func printExplanation(w io.Writer, r *explain.Report) error {
	p := page{r: r}
	p.line(r.Verdict)
	p.head()
	p.awaits("Waits for", r.Awaits, r.AwaitsMore)
	p.shortfalls()
	p.awaits("Sent, and not taken yet", r.Sent, 0)
	p.entity()
	p.locks()
	p.messages()
	p.queues()
	p.partition()
	p.relatives("Parents, up to the root", r.Parents, 0)
	p.relatives("Sub-orchestrations", r.Children, r.ChildrenMore)
	p.findings()
	p.similar()
	p.steps()
	_, err := w.Write(p.text.Bytes())
	return err
}

// page is the text for one report.
type page struct {
	r    *explain.Report
	text bytes.Buffer
}

func (p *page) line(format string) {
	p.text.WriteString(ui.Escape(format) + "\n")
}

// block prints a table under a heading, unless it is empty.
func (p *page) block(title string, t *ui.Table) {
	if t.Empty() {
		return
	}
	p.text.WriteString("\n")
	if title != "" {
		p.line(title)
	}
	_ = t.Write(&p.text) // a buffer takes everything
}

func table() *ui.Table { return &ui.Table{Indent: "  "} }

// when gives a time and how far it was from when the hub was looked at.
func (p *page) when(t schema.Ticks) string {
	age, ok := p.r.Age(t)
	switch {
	case t == 0:
		return "-"
	case !ok:
		return moment(t)
	case age < 0:
		return moment(t) + " (in " + ui.Duration(-age) + ")"
	}
	return moment(t) + " (" + p.past(age) + ")"
}

// past says how long ago something was: of a capture, how long before it.
func (p *page) past(age time.Duration) string {
	if p.r.Hub.Finished != 0 {
		return ui.Duration(age) + " before the capture"
	}
	return ui.Duration(age) + " ago"
}

func (p *page) head() {
	r := p.r
	var t ui.Table
	if r.Found {
		x := newExplanation(r)
		what := "orchestration " + orDash(x.Name)
		if r.Entity {
			what = "entity"
		}
		t.Row("what", what+", execution "+orDash(r.Judged.ExecutionID))
		status := r.Judged.Status.String()
		if r.Since != 0 {
			status += " since " + p.when(r.Since)
		}
		switch {
		case r.Judged.StatusFrom != replay.FromHistory:
			status += ", says its row; history does not tell"
		case len(r.Judged.Differences) == 0:
			status += "; row and history agree"
		default:
			status += ", says its history; its row differs"
		}
		t.Row("status", status)
		for _, d := range r.Judged.Differences {
			t.Row("", fmt.Sprintf("%s: the row has %s, history says %s", d.Column, orDash(d.Stored), orDash(d.Derived)))
		}
		if r.Failure != "" {
			t.Row("why", r.Failure)
		}
		if r.LastProgress != 0 {
			t.Row("progress", fmt.Sprintf("last event %s, %s", p.when(r.LastProgress), ui.Plural(r.History.Live.Episodes, "episode", "episodes")))
		}
	}
	if r.ObservedAt != 0 {
		as := moment(r.ObservedAt) + " of hub " + r.Hub.Names.TaskHub
		if r.Hub.Finished != 0 {
			as += ", when it was captured"
		}
		t.Row("as of", as)
	}
	p.block("", &t)
}

// A page shows the first few of what is alike; --json has the others.
const (
	maxAlike         = 4
	maxShownMessages = 10
	maxShownChildren = 20
)

func (p *page) awaits(title string, awaits []explain.Await, more int64) {
	t := table()
	type alike struct {
		kind  explain.Kind
		where explain.Where
	}
	shown := make(map[alike]int64)
	var order []alike
	for i := range awaits {
		a := &awaits[i]
		k := alike{a.Kind, a.Where}
		if shown[k]++; shown[k] > maxAlike {
			if shown[k] == maxAlike+1 {
				order = append(order, k)
			}
			continue
		}
		what := a.Kind.Words()
		if a.EventID >= 0 {
			what += fmt.Sprintf(" %d", a.EventID)
		}
		for _, name := range []string{a.Name, a.InstanceID} {
			if name != "" {
				what += " " + name
			}
		}
		var facts []string
		if a.DueAt != 0 {
			due := "due " + moment(a.DueAt)
			if late, ok := p.r.Age(a.DueAt); ok && late < 0 {
				due += " (in " + ui.Duration(-late) + ")"
			} else if ok {
				due += " (overdue by " + ui.Duration(late) + ")"
			}
			facts = append(facts, due)
		} else if a.Since != 0 {
			facts = append(facts, "since "+moment(a.Since))
		}
		if a.Why != "" {
			facts = append(facts, a.Why)
		}
		t.Row(string(a.Where), what, strings.Join(facts, "; "))
	}
	for _, k := range order {
		t.Row(string(k.where), "and "+ui.Count(shown[k]-maxAlike)+" more of kind "+k.kind.Words())
	}
	if more > 0 {
		t.Row("", "and "+ui.Count(more)+" more")
	}
	p.block(title, t)
}

// shortfalls says that some of what is waited for is lost.
func (p *page) shortfalls() {
	for _, s := range p.r.Shortfalls {
		p.line(fmt.Sprintf("  at least %s of these are lost: %s must be invisible in %s, and only %s there", ui.Count(s.Lost),
			ui.Count(s.Awaited), strings.Join(s.Queues, " or "), ui.Plural(s.Room, "message is", "messages are")))
	}
}

func (p *page) entity() {
	s := p.r.State
	if s == nil {
		return
	}
	t := table()
	if s.LockedBy != "" {
		holder := s.LockedBy
		if h := s.Holder; h != nil && h.Found {
			holder += ", which is " + h.Status.String()
			if h.Summary != "" {
				holder += " and " + h.Summary
			}
		} else {
			holder += ", which does not exist"
		}
		t.Row("locked by", holder)
	}
	for i, o := range s.Waiting {
		what := "call"
		switch {
		case o.Lock:
			what = "lock"
		case o.Signal:
			what = "signal"
		}
		from := "from a client"
		if o.Parent != "" {
			from = "from " + o.Parent
		}
		t.Row(fmt.Sprintf("operation %d", i+1), strings.TrimSpace(what+" "+o.Name)+" "+from)
	}
	if s.WaitingMore > 0 {
		t.Row("", "and "+ui.Count(s.WaitingMore)+" more")
	}
	p.block("Inside of the entity", t)
}

func (p *page) locks() {
	t := table()
	for _, l := range p.r.Locks {
		says := "the entity says so, too"
		switch {
		case l.Agreed:
		case l.LockedBy == "":
			says = "the entity does not know of it"
		default:
			says = "the entity says that it is locked by " + l.LockedBy
		}
		t.Row(l.EntityID, "since "+p.when(l.Since), says)
	}
	p.block("Holds the locks of", t)
}

func (p *page) messages() {
	t := table()
	more := p.r.MessagesMore
	for i, m := range p.r.Messages {
		if i == maxShownMessages {
			more += int64(len(p.r.Messages) - i)
			break
		}
		var notes []string
		if m.DueAt != 0 {
			notes = append(notes, "due "+moment(m.DueAt))
		}
		if m.DequeueCount > 0 {
			notes = append(notes, "taken "+ui.Plural(m.DequeueCount, "time", "times"))
		}
		if m.Misplaced {
			notes = append(notes, "not its queue")
		}
		if m.Problem != "" {
			notes = append(notes, "not readable")
		}
		t.Row(m.Queue, fmt.Sprint(m.Position), m.Purpose, "inserted "+moment(m.InsertedAt), strings.Join(notes, ", "))
	}
	if more > 0 {
		t.Row("and " + ui.Count(more) + " more")
	}
	p.block("Messages for it that can be seen", t)
}

func (p *page) queues() {
	t := table()
	t.Right = []bool{false, true, true}
	for _, q := range p.r.Queues {
		switch {
		case !q.Exists:
			t.Row(q.Name, "does not exist")
			continue
		case q.OldestInserted != 0:
			t.Row(q.Name, ui.Count(q.Seen)+" seen", notSeen(&q), "oldest "+p.when(q.OldestInserted))
			continue
		}
		t.Row(q.Name, ui.Count(q.Seen)+" seen", notSeen(&q))
	}
	p.block("Queues: messages seen, and those that cannot be", t)
}

func (p *page) partition() {
	r := p.r
	t := table()
	if r.Partition.Queue == "" {
		t.Row("not known which: nothing tells how many partitions the hub has")
	}
	for _, l := range r.Partition.Leases {
		t.Row(l.Queue, l.Source, ownerText(&l), p.lease(&l))
	}
	running := map[manage.Running]string{
		manage.RunningYes: "an app is running", manage.RunningMaybe: "an app may be running", manage.RunningNoSign: "no sign of a running app",
	}[r.Partition.AppRunning]
	if len(r.Partition.Evidence) > 0 {
		running += ": " + strings.Join(r.Partition.Evidence, ", ")
	}
	title := "Partition"
	if r.Partition.Number >= 0 {
		title = fmt.Sprintf("Partition %d of %d", r.Partition.Number, r.Hub.PartitionCount)
	}
	p.block(title+": "+running, t)
}

func ownerText(l *manage.Partition) string {
	if l.Owner == "" {
		return "(no owner)"
	}
	return l.Owner
}

// lease says what is known of a lease.
func (p *page) lease(l *manage.Partition) string {
	return leaseText(&manage.Overview{Hub: p.r.Hub, ObservedAt: p.r.ObservedAt}, l)
}

func (p *page) relatives(title string, relatives []explain.Relative, more int64) {
	t := table()
	for i, rel := range relatives {
		if i == maxShownChildren {
			more += int64(len(relatives) - i)
			break
		}
		status := rel.Status.String()
		if !rel.Found {
			status = "-"
		}
		var facts []string
		if rel.Summary != "" {
			facts = append(facts, rel.Summary)
		}
		switch {
		case rel.Cycle:
			facts = append(facts, "is in this chain already")
		case rel.Depth == 0 && rel.Open:
			facts = append(facts, "waits for the one before")
		case rel.Depth == 0:
			facts = append(facts, "does not wait for the one before")
		}
		indent := strings.Repeat("  ", max(rel.Depth-1, 0))
		t.Row(indent+orDash(rel.InstanceID), orDash(rel.Name), status, strings.Join(facts, "; "))
	}
	if more > 0 {
		t.Row("and " + ui.Count(more) + " more")
	}
	p.block(title, t)
}

func (p *page) findings() {
	t := table()
	for _, f := range p.r.Findings {
		text := f.Detail
		if f.Heals != "" {
			text += "; " + f.Heals
		}
		t.Row(string(f.Severity), f.Code, text)
	}
	p.block("Findings", t)
}

func (p *page) similar() {
	t := table()
	for _, id := range p.r.Similar {
		t.Row(id)
	}
	p.block("Did you mean", t)
}

func (p *page) steps() {
	if len(p.r.Steps) == 0 {
		return
	}
	p.text.WriteString("\n")
	p.line("What to try next (add the options that name the hub)")
	for i := range p.r.Steps {
		s := &p.r.Steps[i]
		p.line(fmt.Sprintf("  %d. %s", i+1, s.Text))
		if c := s.Command(); c != "" {
			p.line("     " + c)
		}
	}
}

func notSeen(q *explain.Queue) string {
	if q.Uncounted {
		return "others not counted"
	}
	return ui.Count(q.Room) + " not seen"
}
