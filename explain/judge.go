package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/verify"
)

// manyTimes is how often a message can be taken before that is worth a word: once
// is a crash or work in progress. The framework itself logs those of ten times
// as poison and goes on.
//
// Source: durabletask 2.9.1, TaskHubQueue.cs:237-390; recorded in instance
// poisoned of hub dtfx-2.9.1-poisoned.
const manyTimes = 3

// judge decides on the condition and puts it into a sentence.
func (e *explainer) judge() {
	r := e.report
	r.Condition = e.condition()
	parts := []string{e.statusText()}
	if text := e.waitText(); text != "" {
		parts = append(parts, text)
	}
	parts = append(parts, e.caveats()...)
	r.Verdict = clip(r.InstanceID) + " " + strings.Join(parts, "; ") + "."
	e.steps()
}

func (e *explainer) condition() Condition {
	r := e.report
	status := r.Judged.Status
	first := Await{}
	if len(r.Awaits) > 0 {
		first = r.Awaits[0]
	}
	switch {
	case !r.Found && len(r.Messages) == 0 && e.made == nil:
		return NotFound
	case e.lost() > 0, e.noHistory() && !status.Terminal():
		return Stuck
	case first.Kind == Start && first.Where != Visible && first.DueAt > e.now && e.now != 0:
		return Scheduled
	case status.Terminal() && first.Kind != Start:
		return Ended
	case len(r.Messages) > 0:
		return Ready
	case status == schema.StatusSuspended:
		return Suspended
	case r.Entity && r.State != nil && r.State.LockedBy != "":
		if h := r.State.Holder; !h.Found || h.Status.Terminal() {
			return Stuck
		}
		return Locked
	case r.Entity && len(r.Awaits) == 0:
		return Idle
	}
	return Waiting
}

// noHistory reports whether an instance that has run has no history that the
// framework would find: every message for it is thrown away.
//
// Source: durabletask 2.9.1, AzureStorageOrchestrationService.cs:1066-1126.
func (e *explainer) noHistory() bool {
	status := e.report.Judged.Status
	return e.self.row != nil && e.self.live().Events == 0 && status != schema.StatusPending && status != schema.StatusUnknown &&
		status != schema.StatusTerminated
}

// lost is how many of the things awaited cannot come. What is sought in vain
// for an unfinished checkpoint is one of them only if the history itself is
// torn: otherwise another message makes up for it.
func (e *explainer) lost() int64 {
	n := e.counts.lost
	for _, k := range e.counts.kinds {
		if k.first.Kind == Redelivery && !e.self.live().CheckpointOpen {
			n -= k.byWhere[Lost]
		}
	}
	if s := e.report.Shortfalls; len(s) > 0 {
		n += s[0].Lost // the largest; they can be of the same messages
	}
	for i := range e.report.Sent {
		if e.report.Sent[i].Where == Lost {
			n++
		}
	}
	return n
}

// statusText says what the instance is, and for how long.
func (e *explainer) statusText() string {
	r := e.report
	age := ""
	if d, ok := r.Age(r.Since); ok && d >= 0 {
		age = " for " + span(d)
	}
	switch {
	case r.Condition == NotFound:
		text := "does not exist: neither table has a row of it, and no message for it can be seen"
		if q := e.queues.byName[r.Partition.Queue]; q != nil && q.Room > 0 {
			text += fmt.Sprintf("; %s of its queue cannot be seen, so one to start it may be there", plural(int(q.Room), "message", "messages"))
		}
		return text
	case !r.Found && e.made != nil:
		return fmt.Sprintf("has not begun: it is a sub-orchestration of %s", clip(e.made.parent.id))
	case !r.Found:
		return fmt.Sprintf("has neither row nor history, but %s for it", plural(len(r.Messages), "message waits", "messages wait"))
	case r.Entity:
		return e.entityText()
	case r.Condition == Scheduled && r.Judged.Status != schema.StatusPending:
		return fmt.Sprintf("is %v, but will run all the same: its start is scheduled for %s", r.Judged.Status, moment(r.Awaits[0].DueAt))
	case r.Condition == Scheduled:
		return fmt.Sprintf("is Pending%s and starts at %s%s", age, moment(r.Awaits[0].DueAt), e.dueText(r.Awaits[0].DueAt))
	case r.Judged.Status.Terminal():
		text := fmt.Sprintf("is %v", r.Judged.Status)
		if r.Since != 0 {
			text += " since " + moment(r.Since)
		}
		return text
	case r.Judged.Status == schema.StatusPending && e.current():
		return "was rewound, which its row shows as Pending until it ends"
	}
	return fmt.Sprintf("is %v%s", r.Judged.Status, age)
}

func (e *explainer) entityText() string {
	r, s := e.report, e.report.State
	switch {
	case s == nil:
		return "is an entity whose state cannot be read"
	case s.LockedBy != "":
		text := "is locked by " + clip(s.LockedBy)
		switch h := s.Holder; {
		case !h.Found:
			text += ", which does not exist"
		default:
			text += fmt.Sprintf(", which is %v", h.Status)
		}
		if n := len(s.Waiting) + int(s.WaitingMore); n > 0 {
			text += fmt.Sprintf("; %s behind it", plural(n, "operation waits", "operations wait"))
		}
		return text
	case s.Suspended:
		return "is an entity that has suspended itself"
	case !s.Exists:
		return "is an entity without a state: deleted, or it never had one"
	case len(r.Messages) > 0:
		return "is an entity with work to do"
	}
	return "is an entity with nothing to do"
}

// waitText says what it waits for.
func (e *explainer) waitText() string {
	r := e.report
	if r.Condition == Scheduled || r.Condition == NotFound || !r.Found && e.made == nil {
		return ""
	}
	var parts, waits []string
	for _, k := range e.counts.kinds {
		text := e.kindText(k)
		switch k.first.Kind {
		case Redelivery, Resume, replay.OpenEvent:
			parts = append(parts, text)
		case Release: // the status says it
		default:
			waits = append(waits, text)
		}
	}
	if len(waits) > 0 {
		parts = append(parts, "waits for "+joined(waits))
	}
	for i := range r.Sent {
		if a := &r.Sent[i]; a.Kind == Answer {
			parts = append(parts, fmt.Sprintf("its parent %s waits for its answer, which %s", clip(a.InstanceID), whereText(a.Where, 1)))
		}
	}
	if i := slices.IndexFunc(r.Sent, func(a Await) bool { return a.Kind == replay.OpenSignal }); i >= 0 {
		a := &r.Sent[i]
		parts = append(parts, fmt.Sprintf("has sent a signal to %s%s, which %s", clip(a.InstanceID), e.dueText(a.DueAt), whereText(a.Where, 1)))
	}
	if n := len(r.Locks); n > 0 {
		parts = append(parts, "holds "+plural(n, "lock", "locks"))
	}
	for _, s := range r.Shortfalls[:min(len(r.Shortfalls), 1)] {
		parts = append(parts, fmt.Sprintf("at least %d of these messages are lost", s.Lost))
	}
	return strings.Join(parts, "; ")
}

// kindText says what it waits for of one kind.
func (e *explainer) kindText(k *kindCount) string {
	a := &k.first
	if a.Kind == Redelivery {
		what := "the message that finishes it " + whereText(a.Where, 1)
		if k.total > 1 {
			what = "the messages that finish it: " + k.places()
		}
		if !e.self.live().CheckpointOpen {
			return "its row is older than its history, " + strings.ReplaceAll(what, "that finish", "that mend")
		}
		return "its last checkpoint was not finished, " + what
	}
	if a.Kind == replay.OpenEvent {
		what := "event " + orNone(clip(a.Name)) + " has come"
		if k.total > 1 {
			what = fmt.Sprintf("%d events have come", k.total)
		}
		if e.self.live().Suspended {
			return what + ", which it will see when it is resumed"
		}
		return what + ", to which it has not reacted"
	}
	if k.total > 1 {
		return fmt.Sprintf("%d %s (%s)", k.total, kindPlural(a.Kind), k.places())
	}
	name := clip(a.Name)
	var what string
	switch a.Kind {
	case replay.OpenActivity:
		what = "activity " + name
	case replay.OpenTimer:
		what = fmt.Sprintf("timer %d%s", a.EventID, e.dueText(a.DueAt))
	case replay.OpenSubOrchestration:
		what = "sub-orchestration " + clip(a.InstanceID)
		if a.Where == Running && a.Child != nil {
			return fmt.Sprintf("%s, which is %v", what, a.Child.Status)
		}
	case replay.OpenEntityCall:
		what = fmt.Sprintf("the answer of %s to %s", clip(a.InstanceID), orNone(name))
	case replay.OpenLockRequest:
		what = "the lock of " + clip(a.InstanceID)
	case Start:
		return "its start message, which " + whereText(a.Where, 1)
	case WakeUp:
		return "the message of the rewind, which " + whereText(a.Where, 1)
	case Resume:
		if a.Where == Visible {
			return "the message that resumes it is queued"
		}
		return "somebody has to resume it"
	case ExternalEvent:
		if a.Where == Visible {
			return "an event, and one is queued"
		}
		return "an external event, whose name history does not record"
	case Continue:
		return "its own message to go on, which " + whereText(a.Where, 1)
	default:
		what = a.Kind.Words()
	}
	return what + ", whose message " + whereText(a.Where, 1)
}

func kindPlural(k Kind) string {
	switch k {
	case replay.OpenActivity:
		return "activities"
	case replay.OpenEntityCall:
		return "answers of entities"
	case replay.OpenLockRequest:
		return "locks"
	}
	return strings.ReplaceAll(string(k), "_", "-") + "s"
}

// places says how many are where.
func (k *kindCount) places() string {
	var parts []string
	for _, w := range places {
		if n := k.byWhere[w]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, whereText(w, 2)))
		}
	}
	return strings.Join(parts, ", ")
}

// whereText puts a place into words: after one message, or after a number.
func whereText(w Where, n int) string {
	words := map[Where][2]string{
		Visible: {"is queued", "queued"}, Received: {"has come", "received"}, Running: {"is not due yet: the child runs", "running"},
		Hidden: {"is hidden until then, as it should be", "hidden until due"}, Possible: {"cannot be seen but may be there", "out of sight"},
		Unknown: {"cannot be looked for", "not known"}, Lost: {"is lost", "lost"},
	}[w]
	return words[n-1]
}

// joined joins words for a sentence.
func joined(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// caveats are what else belongs into the first sentence.
func (e *explainer) caveats() []string {
	r := e.report
	var out []string
	if e.noHistory() {
		out = append(out, "it has no history, or none that the framework would find")
	}
	if len(r.Judged.Differences) > 0 {
		out = append(out, fmt.Sprintf("row and history disagree on %s", differing(&r.Judged)))
	}
	if n := e.mostTaken(); n >= manyTimes {
		out = append(out, fmt.Sprintf("a message was taken %d times without success", n))
	}
	if e.needsWorker() && r.Partition.AppRunning == manage.RunningNoSign {
		out = append(out, "no app is running")
	}
	if codes := r.errorCodes(); len(codes) > 0 {
		out = append(out, "verify finds "+joined(codes))
	}
	return out
}

// errorCodes lists the codes of findings that are errors, once each.
func (r *Report) errorCodes() (codes []string) {
	for _, f := range r.Findings {
		if f.Severity == verify.Error && !slices.Contains(codes, f.Code) {
			codes = append(codes, f.Code)
		}
	}
	return codes
}

func differing(v *replay.Verdict) string {
	names := make([]string, len(v.Differences))
	for i, d := range v.Differences {
		names[i] = d.Column
	}
	return strings.Join(names, ", ")
}

// mostTaken is how often the message was taken that was taken most often.
func (e *explainer) mostTaken() (n int64) {
	for _, m := range e.report.Messages {
		n = max(n, m.DequeueCount)
	}
	return n
}

// needsWorker reports whether something is there, or overdue, that a worker has
// to take.
func (e *explainer) needsWorker() bool {
	if len(e.report.Messages) > 0 || e.counts.overdue > 0 {
		return true
	}
	for i := range e.report.Awaits {
		// A wait for a child that works is the child's affair.
		if w := e.report.Awaits[i].Where; w == Visible || w == Possible {
			return true
		}
	}
	return false
}

// moment formats a time for people.
func moment(t schema.Ticks) string { return t.Time().Format("2006-01-02 15:04:05Z") }

// span formats a length of time to two units.
func span(d time.Duration) string {
	s := int64(d.Round(time.Second) / time.Second)
	switch {
	case s >= 86_400:
		return fmt.Sprintf("%dd%02dh", s/86_400, s%86_400/3600)
	case s >= 3600:
		return fmt.Sprintf("%dh%02dm", s/3600, s%3600/60)
	case s >= 60:
		return fmt.Sprintf("%dm%02ds", s/60, s%60)
	}
	return fmt.Sprintf("%ds", s)
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func orNone(s string) string {
	if s == "" {
		return `""`
	}
	return s
}
