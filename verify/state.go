package verify

import (
	"fmt"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// inFlight is how long after its history a checkpoint may still be about to write
// the row.
const inFlight = 10 * time.Second

// apart says why row and history of an instance may be of different times: a
// capture reads the tables one after the other. Empty if they are not. A live
// hub is read again instead.
func (v *run) apart(s *subject) string {
	historyFrom, _ := v.window(hub.History)
	instancesFrom, _ := v.window(hub.Instances)
	switch {
	case v.live || historyFrom == 0 || instancesFrom == 0:
	case s.row != nil && s.row.StoredAt > historyFrom:
		return "the row was written after the capture had begun to read the history"
	case s.scan.newest > instancesFrom:
		return "the history was written after the capture had begun to read the rows"
	case v.moving() && s.scan.newest.Time().Add(inFlight).After(instancesFrom.Time()):
		return "a worker may have been writing the checkpoint when the capture was taken"
	}
	return ""
}

// moving reports whether a worker was at work while a capture was taken: what is
// in one part of it may have moved on in another.
func (v *run) moving() bool {
	from, _ := v.window(hub.History)
	return !v.live && from != v.info.Finished && v.messages.partitions != nil && v.messages.partitions.running()
}

const whyMoving = "a worker was running while the capture was taken"

// trigger says which message that can be seen will make a worker write the
// instance again, empty if there is none.
func (v *run) trigger(s *subject) string {
	for _, m := range v.messages.forInstance(s.id) {
		if m.ExecutionID == "" || m.ExecutionID == s.h.Live.ExecutionID {
			return fmt.Sprintf("%s is queued in %s", article(m.Event.Type()), m.Stored.Queue)
		}
	}
	return ""
}

// article names a message.
func article(t schema.EventType) string {
	name := t.String()
	if strings.ContainsRune("AEIOU", rune(name[0])) {
		return "an " + name
	}
	return "a " + name
}

// rowChecks compares the row of an instance with its history.
func (v *run) rowChecks(s *subject) {
	switch {
	case s.row == nil:
		v.missingRow(s)
	case s.h.Rows == 0:
		v.missingHistory(s)
	case s.live():
		v.drift(s)
	}
	if s.row != nil {
		v.pending(s)
		v.foreign(s)
	}
}

// severe are the columns of which a wrong value misleads whoever asks.
var severeColumns = map[string]bool{"RuntimeStatus": true, "ExecutionId": true, "Output": true}

// plainColumns are those whose values can be shown.
var plainColumns = map[string]bool{
	"RuntimeStatus": true, "ExecutionId": true, "CreatedTime": true, "LastUpdatedTime": true, "CompletedTime": true,
	"ScheduledStartTime": true, "Generation": true,
}

func (v *run) drift(s *subject) {
	differences := s.verdict.Differences
	if s.interruptedRewind() {
		// The status that was not reset is what shows the rewind.
		differences = without(differences, "RuntimeStatus")
	}
	if len(differences) == 0 {
		return
	}
	if v.torn(s) {
		s.unknown(codeStatusDrift, "the row is written after the history, whose last checkpoint is not complete")
		return
	}
	if why := v.apart(s); why != "" {
		s.unknown(codeStatusDrift, why)
		return
	}
	f := Finding{Code: codeStatusDrift, Severity: Warning}
	var said []string
	for _, d := range differences {
		if severeColumns[d.Column] {
			f.Severity = Error
		}
		if plainColumns[d.Column] {
			said = append(said, fmt.Sprintf("%s is %s and by the history %s", d.Column, orNothing(d.Stored), orNothing(d.Derived)))
		} else {
			said = append(said, d.Column+" is not what the history says")
		}
		f.At = append(f.At, instanceRow(s.key, d.Column))
	}
	for _, d := range differences {
		for _, key := range d.RowKeys {
			if p := historyRow(s.key, key, ""); !contains(f.At, p) {
				f.At = append(f.At, p)
			}
		}
	}
	f.Detail = strings.Join(said, "; ")
	if f.Heals = v.healsRow(s); f.Heals != "" {
		f.Severity = f.Severity.lower()
	}
	s.violated(f)
}

// healsRow says why the row will be written again, empty if nothing says so. A
// message that can be seen is sure. One that is hidden must be there if the row
// is older than the history: the messages that have caused a checkpoint are
// deleted only after its row is written.
//
// Source: durabletask 2.9.1, AzureStorageOrchestrationService.cs:1141-1283.
func (v *run) healsRow(s *subject) string {
	then := "a worker that takes it writes the row"
	if m := v.trigger(s); m != "" {
		return m + ": " + then
	}
	if s.row != nil && (s.row.StoredAt == 0 || s.row.StoredAt >= s.scan.newest) {
		return ""
	}
	return v.hiddenTrigger(s, "the row was not written after the last checkpoint", then)
}

// hiddenTrigger says that the message which has caused the last checkpoint is
// among the hidden ones, if their number allows it.
func (v *run) hiddenTrigger(s *subject, because, then string) string {
	hidden := v.messages.hiddenFor(s.id) - ownHidden(s)
	if hidden <= 0 {
		return ""
	}
	return fmt.Sprintf("%s, so that the message which has caused it is still among the hidden ones of %s (%d hidden): %s",
		because, strings.Join(v.messages.controlQueues(s.id), ", "), hidden, then)
}

// ownHidden is the number of messages that an instance has among the hidden ones
// for certain: its timers.
func ownHidden(s *subject) (n int64) {
	if s.h.Live.Status.Terminal() {
		return 0
	}
	for i := range s.h.Live.Open {
		if s.h.Live.Open[i].Kind == replay.OpenTimer {
			n++
		}
	}
	return n
}

func (v *run) missingRow(s *subject) {
	if !s.live() {
		return
	}
	if why := v.apart(s); why != "" {
		s.unknown(codeInstanceMissing, why)
		return
	}
	s.violated(Finding{
		Code:   codeInstanceMissing,
		Detail: fmt.Sprintf("the history has %d rows and says %s, and there is no row of the instance", s.h.Live.Events, s.h.Live.Status),
		At:     []Place{instanceRow(s.key, ""), historyRow(s.key, schema.FormatSequence(s.h.Live.FirstSequence), "")},
		Heals:  v.healsRow(s),
	})
}

// missingHistory looks at an instance without event rows. A row that was
// terminated before it had started never had any: it has no CustomStatus, which
// every checkpoint since version 1.8.3 writes.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:872-902, 937-945.
func (v *run) missingHistory(s *subject) {
	status := s.row.Status()
	switch status {
	case schema.StatusPending:
		return
	case schema.StatusTerminated, schema.StatusUnknown:
		if !s.row.CustomStatus.Set {
			return
		}
	}
	if why := v.apart(s); why != "" {
		s.unknown(codeHistoryMissing, why)
		return
	}
	s.violated(Finding{
		Code: codeHistoryMissing, Detail: fmt.Sprintf("the row says %s, and the instance has no history", status),
		At: []Place{instanceRow(s.key, "RuntimeStatus"), historyRow(s.key, "", "")},
	})
}

// pending looks for the start message of an instance that was not picked up.
func (v *run) pending(s *subject) {
	if s.row.Status() != schema.StatusPending {
		return
	}
	if s.h.Live.Events > 0 && s.current() {
		return // rewound, or its first checkpoint is not complete
	}
	if s.h.Rows > 0 && s.h.Live.Events == 0 && s.scan.execution == s.row.ExecutionID.Value {
		return // the history is its own, and damaged
	}
	for _, m := range v.messages.forInstance(s.id) {
		if m.start() != nil && (!s.row.ExecutionID.Set || m.ExecutionID == "" || m.ExecutionID == s.row.ExecutionID.Value) {
			return
		}
	}
	if why := v.apart(s); why != "" {
		s.unknown(codePendingWithoutStart, why)
		return
	}
	if v.moving() {
		s.unknown(codePendingWithoutStart, whyMoving)
		return
	}
	if v.messages.hiddenFor(s.id) > 0 {
		v.expect("the start of "+s.id, instanceRow(s.key, "RuntimeStatus"), v.messages.controlQueues(s.id)...)
		if due := s.row.ScheduledStartTime; !due.Set || due.Value <= v.now {
			s.unknown(codePendingWithoutStart, "the start message may be among those that are hidden")
		}
		return
	}
	s.violated(Finding{
		Code: codePendingWithoutStart, ExecutionID: s.row.ExecutionID.Value,
		Detail: "the instance is Pending, and its start message is in no queue",
		At:     []Place{instanceRow(s.key, "RuntimeStatus"), {Queue: v.messages.controlQueue(s.id)}},
	})
}

func without(differences []replay.Difference, column string) (rest []replay.Difference) {
	for _, d := range differences {
		if d.Column != column {
			rest = append(rest, d)
		}
	}
	return rest
}

func contains(places []Place, p Place) bool {
	for _, q := range places {
		if p == q {
			return true
		}
	}
	return false
}

func orNothing(value string) string {
	if value == "" {
		return "absent"
	}
	return value
}
