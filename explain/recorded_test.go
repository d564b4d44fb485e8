package explain

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// recordedMessage is a message that was in a queue of a recorded hub, from the
// emulator's database.
type recordedMessage struct {
	queue       string
	id          string
	instanceID  string
	executionID string
	kind        schema.EventType
	taskID      int32
	name        string
	requestID   string
	visibleAt   schema.Ticks
	hidden      bool // peeking did not show it
	predicted   bool
}

func (m *recordedMessage) String() string {
	return fmt.Sprintf("%v %d %s for %s", m.kind, m.taskID, m.name, m.instanceID)
}

// recordedMessages returns all messages of a recording; nil if it has none.
func recordedMessages(t *testing.T, r hub.Reader, recording string) []*recordedMessage {
	t.Helper()
	var all []*recordedMessage
	for _, found := range testhub.LoadRecordedMessages(t, r, recording) {
		target := found.Loaded.TaskMessage.OrchestrationInstance
		m := &recordedMessage{
			queue: found.Stored.Queue, id: found.Stored.ID, instanceID: target.InstanceID, executionID: target.ExecutionID.Value,
			kind: found.Loaded.TaskMessage.Event.Type(), taskID: -1, hidden: found.Hidden,
			visibleAt: found.Stored.VisibleAt,
		}
		// What identifies a message, from the text itself.
		var raw struct {
			TaskMessage struct {
				Event struct {
					TaskScheduledID, TimerID *int32
					EventID                  int32
					Name, Input              string
					ParentInstance           *struct{ TaskScheduleID int32 }
				}
			}
		}
		if err := json.Unmarshal([]byte(found.Loaded.JSON), &raw); err != nil {
			t.Fatal(err)
		}
		e := raw.TaskMessage.Event
		m.name = e.Name
		switch {
		case e.TaskScheduledID != nil:
			m.taskID = *e.TaskScheduledID
		case e.TimerID != nil:
			m.taskID = *e.TimerID
		case e.ParentInstance != nil:
			m.taskID = e.ParentInstance.TaskScheduleID
		case m.kind == schema.TypeTaskScheduled:
			m.taskID = e.EventID
		}
		var request struct{ ID string }
		if json.Unmarshal([]byte(e.Input), &request) == nil {
			m.requestID = request.ID
		}
		all = append(all, m)
	}
	return all
}

// matches reports whether a message is the one that s describes.
func (m *recordedMessage) matches(s *Sought) bool {
	return m.queue == s.Queue && m.instanceID == s.InstanceID && slices.Contains(s.Types, m.kind) &&
		(s.ExecutionID == "" || m.executionID == "" || m.executionID == s.ExecutionID) &&
		(s.TaskID < 0 || m.taskID == s.TaskID) && (s.Name == "" || m.name == s.Name) &&
		(s.RequestID == "" || m.requestID == s.RequestID)
}

// instanceIDs returns the instances that either table has rows of.
func instanceIDs(t *testing.T, r hub.Reader) []string {
	t.Helper()
	var ids []string
	for j, err := range hub.Join(t.Context(), r, hub.Keys{}) {
		if err != nil {
			t.Fatal(err)
		}
		if id := schema.InstanceID(j.PartitionKey); len(ids) == 0 || ids[len(ids)-1] != id {
			ids = append(ids, id)
		}
	}
	return ids
}

const afterCommit = "the worker died when history and row were written and the message not yet deleted"

// unpredicted says which hidden messages of the recorded control queues no table
// tells of, and why, by recording and the beginning of the message's text.
var unpredicted = map[string]map[string]string{
	"dtfx-2.9.1-backlog": {
		"EventRaised -1 operation for backlog-counter": "events of a client, behind the 32 that are shown",
	},
	"dtfx-2.9.1-odd": {
		"ExecutionStarted 16 Child for children-0:16":    afterCommit,
		"ExecutionStarted 27 Child for children-0:27":    afterCommit,
		"ExecutionStarted 33 Child for children-1:33":    afterCommit,
		"ExecutionStarted 37 Child for children-1:37":    afterCommit,
		"ExecutionStarted -1 HelloSequence for big-tags": "its tags cannot be stored: the instance has ended, and its start is delivered for ever",
	},
}

// What the tables tell of messages that cannot be seen is what was in the queues
// of the recorded hubs: each message that must exist is there, and each that is
// there is expected.
func TestRecordedMessages(t *testing.T) {
	tested := 0
	for _, rec := range testhub.Recordings {
		r := testhub.OpenHub(t, rec.Name)
		all := recordedMessages(t, r, rec.Name)
		if len(all) == 0 {
			continue
		}
		tested++
		t.Run(rec.Name, func(t *testing.T) {
			for _, id := range instanceIDs(t, r) {
				report, err := Instance(t.Context(), r, id, Options{SkipFindings: true})
				if err != nil {
					t.Fatal(err)
				}
				for _, p := range report.Problems {
					t.Errorf("%s: %v", id, p)
				}
				for _, a := range slices.Concat(report.Awaits, report.Sent) {
					checkAwait(t, report, &a, all)
				}
			}
			excused := make(map[string]bool)
			for _, m := range all {
				if !m.hidden || m.predicted || m.kind == schema.TypeTaskScheduled {
					continue
				}
				if reason := unpredicted[rec.Name][m.String()]; reason == "" {
					t.Errorf("%s: nothing tells of the message %v", m.queue, m)
				}
				excused[m.String()] = true
			}
			for text := range unpredicted[rec.Name] {
				if !excused[text] {
					t.Errorf("unpredicted has %q, which is predicted or does not exist", text)
				}
			}
		})
	}
	if tested < 10 {
		t.Errorf("%d recordings have messages, want at least 10", tested)
	}
}

// checkAwait compares what is said of one await with the messages that were
// there.
func checkAwait(t *testing.T, r *Report, a *Await, all []*recordedMessage) {
	t.Helper()
	met, seen := false, false
	for i := range a.Messages {
		s := &a.Messages[i]
		for _, m := range all {
			if !m.matches(s) {
				continue
			}
			met, m.predicted = true, true
			seen = seen || !m.hidden
			if s.Where == Lost || s.Where == Visible && m.hidden && s.Found.ID == m.id {
				t.Errorf("%s: %s %d: %v is in %s, said to be %s", r.InstanceID, a.Kind, a.EventID, m, m.queue, s.Where)
			}
			// The framework cuts delays to whole seconds.
			if early := s.DueAt.Time().Sub(m.visibleAt.Time()); s.DueAt != 0 && (early < -100*time.Millisecond || early > 1100*time.Millisecond) {
				t.Errorf("%s: %s %d: due at %v, visible at %v", r.InstanceID, a.Kind, a.EventID, s.DueAt, m.visibleAt)
			}
		}
	}
	needed := len(a.Messages) > 0
	switch {
	case needed && !met:
		t.Errorf("%s: %s %d %s: said to be %s (%s), and was nowhere", r.InstanceID, a.Kind, a.EventID, a.Name, a.Where, a.Why)
	case needed && seen != (a.Where == Visible):
		t.Errorf("%s: %s %d %s: said to be %s, seen: %t", r.InstanceID, a.Kind, a.EventID, a.Name, a.Where, seen)
	case a.DueAt > r.ObservedAt && a.Where != Hidden:
		t.Errorf("%s: %s %d: due at %v, said to be %s", r.InstanceID, a.Kind, a.EventID, a.DueAt, a.Where)
	}
}

// What is said of recorded instances in a word and a sentence, as somebody who
// knows how they were made would say it.
func TestRecordedConditions(t *testing.T) {
	for _, test := range []struct {
		recording, id string
		want          Condition
		verdict       []string
	}{
		{"dtfx-2.9.1", "order-1", Ended, []string{"is Completed since 2026-11-22 04:07:15Z"}},
		{"dtfx-2.9.1", "long-timer", Waiting, []string{"waits for timer 0, due in 59m52s, whose message is hidden until then, as it should be"}},
		{"dtfx-2.9.1", "approval", Waiting, []string{"waits for timer 1, due in 1d23h"}},
		{"dtfx-2.9.1", "buffered-event", Waiting, []string{"waits for timer 0"}},
		{"dtfx-2.9.1", "scheduled", Scheduled, []string{"is Pending", "starts at 2026-11-22 05:07:22Z, due in 59m52s"}},
		{"dtfx-2.9.1", "wait-event", Waiting, []string{"waits for an external event, whose name history does not record"}},
		{"dtfx-2.9.1", "eternal-waiting", Waiting, []string{"waits for an external event"}},
		{"dtfx-2.9.1", "suspended", Suspended, []string{"somebody has to resume it", "event go has come"}},
		{"dtfx-2.9.1", "parent-waiting", Waiting, []string{"waits for sub-orchestration parent-waiting:wait, which is Running"}},
		{"dtfx-2.9.1", "rewound", Ended, []string{"is Completed"}},
		{"dtfx-2.9.1", "reused", Ended, []string{"is Completed"}},
		{"dtfx-2.9.1", "terminated", Ended, []string{"is Terminated"}},
		{"dtfx-1.17.5", "long-timer", Waiting, []string{"hidden until then, as it should be"}},
		{"dtfx-2.9.1-blob-leases", "scheduled", Scheduled, nil},
		{"dtfx-2.9.1-poisoned", "poisoned", Ready, []string{"waits for an event, and one is queued", "a message was taken 3 times without success", "no app is running"}},
		{"dtfx-2.9.1-crashed", "inflight-07", Ready, []string{"its row is older than its history, the messages that mend it: 2 out of sight", "waits for 26 activities (24 queued, 2 out of sight)", "disagree on LastUpdatedTime"}},
		{"dtfx-2.9.1-torn", "wide-5", Waiting, []string{"the message that finishes it cannot be seen but may be there", "waits for 295 activities (295 out of sight)", "disagree on LastUpdatedTime, RuntimeStatus"}},
		{"dtfx-2.9.1-torn", "wide-6", Waiting, []string{"is Pending", "waits for its start message, which cannot be seen but may be there"}},
		{"dtfx-2.9.1-backlog", "backlog-000", Waiting, []string{"its start message, which cannot be seen but may be there", "no app is running"}},
		{"dtfx-2.9.1-odd", "children-0", Waiting, []string{"waits for 40 sub-orchestrations"}},
		{"dtfx-2.9.1-odd", "children-0:14", Waiting, []string{"has not begun: it is a sub-orchestration of children-0"}},
		{"functions-3", "@counter@locked", Locked, []string{"is locked by eholder, which is Running; 1 operation waits behind it"}},
		{"functions-3", "eholder", Waiting, []string{"holds 1 lock"}},
		{"functions-3", "@counter@gone", Idle, []string{"without a state"}},
		{"functions-3", "@counter@c1", Idle, []string{"is an entity with nothing to do"}},
		{"functions-3", "delayed", Ended, []string{"has sent a signal to @counter@c2, due in 59m37s, which is hidden until then"}},
		{"functions-3", "timer-long", Waiting, []string{"due in 4d03h"}},
		{"functions-3", "failing-2", Ended, []string{"is Failed"}},
		{"functions-3-after-write", "failing-1", Ready, []string{"was rewound", "the message of the rewind, which is queued"}},
		{"functions-3-after-write", "hello-1", Ready, []string{"is Pending", "its start message, which is queued"}},
		{"functions-3-after-write", "@counter@brand-new", Ready, []string{"has neither row nor history, but 1 message waits for it"}},
		{"functions-3-after-write", "@counter@c3", Ready, []string{"is an entity with work to do"}},
		{"functions-3-after-write", "no such instance", NotFound, []string{"does not exist"}},
	} {
		t.Run(test.recording+"/"+test.id, func(t *testing.T) {
			r, err := Instance(t.Context(), testhub.OpenHub(t, test.recording), test.id, Options{SkipFindings: true})
			if err != nil {
				t.Fatal(err)
			}
			if r.Condition != test.want {
				t.Errorf("condition %s, want %s; %s", r.Condition, test.want, r.Verdict)
			}
			for _, text := range test.verdict {
				if !strings.Contains(r.Verdict, text) {
					t.Errorf("verdict %q, want %q in it", r.Verdict, text)
				}
			}
		})
	}
}
