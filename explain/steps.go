package explain

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// maxSteps keeps the list short enough to be followed.
const maxSteps = 6

// step adds a step, unless its command is in the list already.
func (e *explainer) step(text string, args ...string) {
	r := e.report
	if len(r.Steps) == maxSteps || len(args) > 0 && slices.ContainsFunc(r.Steps, func(s Step) bool { return slices.Equal(s.Args, args) }) {
		return
	}
	r.Steps = append(r.Steps, Step{args, text})
}

// on returns a command about the instance.
func (e *explainer) on(command string, more ...string) []string {
	return append([]string{command, "--id", e.self.id}, more...)
}

// steps says what to try next, the likeliest first.
func (e *explainer) steps() {
	r := e.report
	switch r.Condition {
	case NotFound:
		for _, id := range r.Similar {
			e.step("look at this instance instead", "explain", "--id", id)
		}
		if len(r.Similar) == 0 {
			e.step("list what there is: the ID may be another, or the hub", "get-instances")
		}
		return
	case Ended:
		e.endedSteps()
		return
	case Stuck:
		e.stuckSteps()
	}
	if e.mostTaken() >= manyTimes {
		e.step("a message comes back again and again: look for its exceptions in the app's log, and at the message itself", e.on("queues")...)
	}
	if e.needsWorker() && r.Partition.AppRunning == manage.RunningNoSign {
		e.step("start the app: nobody takes messages from " + orNone(r.Partition.Queue))
	}
	if len(r.errorCodes()) > 0 {
		e.step("plan the repair of what the findings name; it changes nothing before it is told to", e.on("repair")...)
	}
	if e.made != nil {
		e.step("see what the parent waits for", "explain", "--id", e.made.parent.id)
	}
	e.waitingSteps()
}

func (e *explainer) endedSteps() {
	r := e.report
	for i := range r.Sent {
		if r.Sent[i].Kind == Answer {
			e.step("see what the parent is doing, which has not taken the answer yet", "explain", "--id", r.Sent[i].InstanceID)
		}
	}
	if len(r.errorCodes()) > 0 {
		e.step("plan the repair of what the findings name; it changes nothing before it is told to", e.on("repair")...)
	}
	if r.Judged.Status == schema.StatusFailed {
		if len(r.Parents) > 0 && !r.Parents[len(r.Parents)-1].Cycle && r.Parents[len(r.Parents)-1].Status == schema.StatusFailed {
			e.step("let the whole family try again what has failed: a rewind of the root goes down to the children",
				"rewind", "--id", r.Parents[len(r.Parents)-1].InstanceID, "--reason", "REASON")
		}
		e.step("let it try again what has failed, with what it has done so far", e.on("rewind", "--reason", "REASON")...)
	}
	if !r.Entity {
		e.step("run it again from the beginning, with the same input", e.on("restart")...)
	}
	e.step("remove its row, history and blobs once nobody needs them", e.on("purge-history")...)
}

func (e *explainer) stuckSteps() {
	r := e.report
	if s := r.State; s != nil && s.LockedBy != "" && s.Holder != nil && (!s.Holder.Found || s.Holder.Status.Terminal()) {
		e.step("release the lock, whose holder has ended", e.on("repair")...)
		return
	}
	e.step("keep the hub as it is before anything is changed", "capture", "--out", r.Hub.Names.TaskHub+".taskhub")
	mend := "send again what is gone, as far as the tables tell what it was"
	if e.noHistory() {
		mend = "plan the repair of what the findings name; it changes nothing before it is told to"
	}
	e.step(mend, e.on("repair")...)
	if len(r.Awaits) > 0 && r.Awaits[0].Kind == Start || e.noHistory() {
		e.step("start it once more, with the same input", e.on("restart")...)
		return
	}
	e.step("give it up: what it waits for does not come", e.on("terminate", "--reason", "REASON")...)
}

func (e *explainer) waitingSteps() {
	r := e.report
	seen := make(map[Kind]bool)
	for i := range r.Awaits {
		a := &r.Awaits[i]
		if seen[a.Kind] {
			continue
		}
		seen[a.Kind] = true
		switch a.Kind {
		case ExternalEvent:
			if a.Where != Visible {
				e.step("send the event that it waits for; the name is in the code of "+orNone(clip(e.functionName())), e.on("raise-event", "--event-name", "NAME", "--event-data", "DATA")...)
				e.step("give it up if nobody will send it", e.on("terminate", "--reason", "REASON")...)
			}
		case Redelivery:
			if a.Where != Lost {
				e.step("wait some minutes: a message that a worker has taken and not finished comes back (after 5 minutes, unless the app is set up otherwise), and the checkpoint is written then")
			}
		case Resume:
			if a.Where != Visible {
				e.step("let it go on", e.on("resume", "--reason", "REASON")...)
			}
		case replay.OpenSubOrchestration:
			if a.Where == Running {
				e.step("see what the child waits for", "explain", "--id", a.InstanceID)
			}
		case replay.OpenEntityCall, replay.OpenLockRequest:
			if a.Where == Received {
				e.step("see why the entity has not got to it", "explain", "--id", a.InstanceID)
			}
		case Release:
			if h := r.State.Holder; h != nil && h.Found && !h.Status.Terminal() {
				e.step("see what the holder of the lock waits for", "explain", "--id", r.State.LockedBy)
			}
		case replay.OpenTimer:
			if a.Where == Hidden {
				e.step(fmt.Sprintf("wait: timer %d is running%s", a.EventID, e.dueText(a.DueAt)))
				if r.Condition == Waiting && len(r.Awaits) == 1 && r.AwaitsMore == 0 {
					e.step("if the timer only bounds the wait for an event, send that; history does not record which", e.on("raise-event", "--event-name", "NAME", "--event-data", "DATA")...)
				}
			}
		case Start:
			switch {
			case r.Condition == Scheduled && r.Judged.Status == schema.StatusPending:
				e.step("wait: it is scheduled" + e.dueText(a.DueAt))
			case r.Condition == Scheduled:
				e.step("terminating it again has no effect before it has begun: its message stays. Terminate it when it runs", e.on("terminate", "--reason", "REASON")...)
			}
		case replay.OpenActivity:
			if a.Where != Lost && r.Partition.running() {
				e.step("look at the app's log: a worker may be running the activity just now")
			}
		}
	}
}

// functionName returns the name of the orchestrator.
func (e *explainer) functionName() string {
	if e.self.row != nil && e.self.row.Name.Value != "" {
		return e.self.row.Name.Value
	}
	if s := e.self.live().Started; s != nil {
		return s.Name.Value
	}
	return ""
}

// Command returns the command line of a step, quoted for a POSIX shell; empty
// without one.
func (s *Step) Command() string {
	if len(s.Args) == 0 {
		return ""
	}
	words := []string{"taskhub"}
	for _, a := range s.Args {
		words = append(words, quote(a))
	}
	return strings.Join(words, " ")
}

// quote quotes a word for a POSIX shell; one with characters that cannot be
// shown in the form of Bash and others that has escapes for them.
func quote(s string) string {
	plain, shown := s != "", true
	for _, r := range s {
		plain = plain && (r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("@%+=:,./_-", r))
		shown = shown && strconv.IsPrint(r) && r != unicode.ReplacementChar
	}
	switch {
	case plain:
		return s
	case shown:
		return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
	}
	var b strings.Builder
	b.WriteString("$'")
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\'' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < 0x20 || c >= 0x7F:
			// Three digits at most are read, so what follows cannot belong to it.
			fmt.Fprintf(&b, `\%03o`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte('\'')
	return b.String()
}
