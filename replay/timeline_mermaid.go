package replay

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/schema"
)

// WriteSequence writes t as a Mermaid sequence diagram: a participant for each
// instance, one for all activities and one for what is outside of the timeline;
// an arrow for what is started, sent or answered, a note for timers and ends.
// Episodes are not shown.
//
// Participants have the aliases P1, P2, … and X1, X2, … for instances that are
// only named; text of the hub is written with entity codes where Mermaid would
// read it as syntax, so that any ID and name makes a valid diagram.
//
// Source of the syntax: mermaid 11, sequenceDiagram.jison.
func (t *Timeline) WriteSequence(w io.Writer) error {
	s := sequence{t: t, alias: make(map[string]string)}
	for i := range t.Instances {
		s.alias[t.Instances[i].ID] = "P" + strconv.Itoa(i+1)
	}
	for i := range t.Entries {
		s.entry(&t.Entries[i])
	}
	for _, text := range t.leftOut() {
		s.note("P1", text, "")
	}
	var head strings.Builder
	head.WriteString("sequenceDiagram\n")
	if s.outside {
		head.WriteString("    participant OUT as outside\n")
	}
	for i := range t.Instances {
		fmt.Fprintf(&head, "    participant P%d as %s\n", i+1, label(t.Instances[i].ID))
	}
	for i, id := range s.named {
		fmt.Fprintf(&head, "    participant X%d as %s\n", i+1, label(id))
	}
	if s.activities {
		head.WriteString("    participant ACT as activities\n")
	}
	if _, err := io.WriteString(w, head.String()); err != nil {
		return err
	}
	_, err := io.WriteString(w, s.lines.String())
	return err
}

// leftOut says what did not fit into the limits.
func (t *Timeline) leftOut() (notes []string) {
	if t.InstancesLeftOut > 0 {
		notes = append(notes, fmt.Sprintf("%d instances are left out", t.InstancesLeftOut))
	}
	if t.EventsLeftOut > 0 {
		notes = append(notes, fmt.Sprintf("%d events are left out", t.EventsLeftOut))
	}
	return notes
}

// sequence is a diagram being written. Which participants it needs is known only
// at its end.
type sequence struct {
	t                   *Timeline
	alias               map[string]string // by instance ID
	named               []string          // instances that are not on the timeline
	outside, activities bool
	lines               strings.Builder
}

func (s *sequence) arrow(from, arrow, to, text string) {
	fmt.Fprintf(&s.lines, "    %s%s%s: %s\n", from, arrow, to, label(text))
}

const (
	request = "->>"
	reply   = "-->>"
)

// note writes a note that ends with words of ours.
func (s *sequence) note(over, text, end string) {
	fmt.Fprintf(&s.lines, "    Note over %s: %s%s\n", over, label(text), end)
}

// participant returns the alias of an instance, of an empty ID that of what is
// outside.
func (s *sequence) participant(id string) string {
	if id == "" {
		s.outside = true
		return "OUT"
	}
	a := s.alias[id]
	if a == "" {
		s.named = append(s.named, id)
		a = "X" + strconv.Itoa(len(s.named))
		s.alias[id] = a
	}
	return a
}

func (s *sequence) entry(e *Entry) {
	self := "P" + strconv.Itoa(e.Instance+1)
	text := e.Name + e.remarks()
	switch e.Event {
	case "OrchestratorStarted", "OrchestratorCompleted":
	case "ExecutionStarted":
		// An entity starts itself anew after each operation.
		if !e.shown && !schema.IsEntity(s.t.Instances[e.Instance].ID) {
			s.arrow(s.participant(e.Peer), request, self, "start "+text)
		}
	case "ExecutionCompleted", "ContinueAsNew":
		s.note(self, text, " at "+clock(e.Time))
	case "ExecutionTerminated", "ExecutionSuspended", "ExecutionResumed", "ExecutionRewound", "GenericEvent":
		s.arrow(s.participant(""), request, self, e.Event+text)
	case "TaskScheduled":
		s.activities = true
		s.arrow(self, request, "ACT", text)
	case "TaskCompleted", "TaskFailed":
		s.activities = true
		s.arrow("ACT", reply, self, text)
	case "SubOrchestrationInstanceCreated":
		s.arrow(self, request, s.participant(e.Peer), "start "+text)
	case "SubOrchestrationInstanceCompleted", "SubOrchestrationInstanceFailed":
		s.arrow(s.participant(e.Peer), reply, self, text)
	case "TimerCreated":
		s.note(self, "timer until ", clock(e.Due)+e.remarks())
	case "TimerFired":
		s.note(self, "timer fired", e.remarks())
	case "EventSent":
		s.arrow(self, request, s.participant(e.Peer), text)
	case "EventRaised":
		switch {
		case e.Answers != "":
			s.arrow(s.participant(e.Peer), reply, self, text)
		case !e.shown:
			s.arrow(s.participant(e.Peer), request, self, text)
		}
	default:
		s.note(self, e.Event, e.remarks())
	}
}

// remarks says in words what is particular about e.
func (e *Entry) remarks() string {
	var b strings.Builder
	if e.Failed && e.Event != "ExecutionCompleted" {
		b.WriteString(" failed")
	}
	if d, ok := e.Duration(); ok {
		b.WriteString(", " + shortDuration(d))
	}
	for _, r := range [...]struct {
		is   bool
		text string
	}{{e.Waiting, " (waiting)"}, {e.Duplicate, " (came again)"}, {e.Rewound, " (rewound)"}} {
		if r.is {
			b.WriteString(r.text)
		}
	}
	return b.String()
}

// WriteGantt writes t as a Mermaid Gantt chart: a section for each instance, with
// a bar for itself and for each activity, child, timer and entity call from its
// request to its answer. What is open ends with the timeline.
//
// Source of the syntax: mermaid 11, gantt.jison.
func (t *Timeline) WriteGantt(w io.Writer) error {
	g := gantt{t: t, answers: make(map[answerKey]*Entry), sections: make([]strings.Builder, len(t.Instances))}
	for i := range t.Entries {
		if e := &t.Entries[i]; e.Answers != "" && !e.Duplicate {
			key := answerKey{e.Instance, e.Answers}
			if old := g.answers[key]; old == nil || old.Rewound {
				g.answers[key] = e
			}
		}
	}
	for i := range t.Instances {
		g.instance(i)
	}
	for i := range t.Entries {
		g.entry(&t.Entries[i])
	}
	var b strings.Builder
	b.WriteString("gantt\n    dateFormat YYYY-MM-DD HH:mm:ss.SSS\n    axisFormat %H:%M:%S\n")
	for i := range t.Instances {
		fmt.Fprintf(&b, "    section P%d %s\n%s", i+1, label(t.Instances[i].ID), g.sections[i].String())
		if i == 0 {
			for _, text := range t.leftOut() {
				fmt.Fprintf(&b, "    %s :milestone, %s, 0ms\n", label(text), ganttTime(t.Until))
			}
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

type gantt struct {
	t        *Timeline
	answers  map[answerKey]*Entry
	sections []strings.Builder // the task lines of each instance
}

type answerKey struct {
	instance int
	rowKey   string
}

// bar writes a task line. Its text begins with a word of ours: some words of
// Mermaid would make something else of it.
func (g *gantt) bar(instance int, text, tags string, from, to schema.Ticks) {
	ms := max(to.Time().Sub(from.Time()).Round(time.Millisecond).Milliseconds(), 1) // shorter ones would not be seen
	if tags != "" {
		tags += ", "
	}
	fmt.Fprintf(&g.sections[instance], "    %s :%s%s, %dms\n", label(text), tags, ganttTime(from), ms)
}

func (g *gantt) milestone(e *Entry, text string) {
	fmt.Fprintf(&g.sections[e.Instance], "    %s :milestone, %s, 0ms\n", label(text), ganttTime(e.Time))
}

func (g *gantt) instance(i int) {
	in := &g.t.Instances[i]
	if in.Events == 0 {
		return
	}
	tags, end := "active", g.t.Until
	if in.Ended != 0 {
		tags, end = "done", in.Ended
		if in.Status == schema.StatusFailed {
			tags = "crit"
		}
	}
	g.bar(i, "instance "+in.Name+" ("+in.Status.String()+")", tags, in.Began, end)
}

func (g *gantt) entry(e *Entry) {
	var text string
	switch e.Event {
	case "TaskScheduled":
		text = "activity " + e.Name
	case "SubOrchestrationInstanceCreated":
		text = "child " + e.Name
	case "TimerCreated":
		text = "timer until " + clock(e.Due)
	case "EventSent":
		text = "sends " + e.Name
	case "EventRaised":
		if e.Answers == "" {
			g.milestone(e, "event "+e.Name+e.remarks())
		}
		return
	case "ExecutionTerminated", "ExecutionSuspended", "ExecutionResumed", "ExecutionRewound", "GenericEvent":
		g.milestone(e, "event "+e.Event+e.remarks())
		return
	default:
		return
	}
	if e.Rewound {
		text += " (rewound)"
	}
	answer := g.answers[answerKey{e.Instance, e.RowKey}]
	switch {
	case answer != nil && answer.Failed:
		g.bar(e.Instance, text+" failed", "crit", e.Time, answer.Time)
	case answer != nil:
		g.bar(e.Instance, text, "done", e.Time, answer.Time)
	case e.Waiting:
		g.bar(e.Instance, text+" (waiting)", "active", e.Time, g.t.Until)
	default:
		g.milestone(e, text)
	}
}

// clock formats a time of day for a diagram.
func clock(t schema.Ticks) string { return t.Time().Format("15:04:05.000") }

func ganttTime(t schema.Ticks) string { return t.Time().Format("2006-01-02 15:04:05.000") }

// shortDuration formats a duration to the millisecond.
func shortDuration(d time.Duration) string {
	d = d.Round(time.Millisecond)
	if d > -time.Second && d < time.Second {
		return strconv.FormatInt(d.Milliseconds(), 10) + " ms"
	}
	return d.String()
}

// maxLabel is the length of a label in characters beyond which it is cut.
const maxLabel = 100

// label writes text so that Mermaid takes all of it for text, on one line, and
// never for nothing. Letters, digits and a few harmless signs stay; everything
// else of ASCII becomes an entity code such as #59; and what does not print, or
// turns the direction of text around, is written as in a Go string.
func label(text string) string {
	var b strings.Builder
	n := 0
	for _, r := range text {
		if n++; n > maxLabel {
			b.WriteString("…")
			break
		}
		switch {
		case r == ' ', r >= '0' && r <= '9', r >= 'A' && r <= 'Z', r >= 'a' && r <= 'z', strings.ContainsRune("-_./()+,", r):
			b.WriteRune(r)
		case !strconv.IsPrint(r):
			q := strconv.QuoteRuneToASCII(r)
			b.WriteString("#92;" + q[2:len(q)-1])
		case r < 0x80:
			fmt.Fprintf(&b, "#%d;", r)
		default:
			b.WriteRune(r)
		}
	}
	if strings.TrimSpace(text) == "" {
		return "(empty)"
	}
	return b.String()
}
