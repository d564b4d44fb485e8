package migrate_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// The files e2e_*_test.go migrate recorded hubs between accounts of the emulator
// and look at what is there afterwards. What has to be there is worked out here,
// from the recording and with encoding/json, by other code than that which plans,
// rewrites and compares.

// object is a JSON object; its numbers are json.Number.
type object = map[string]any

func parse(t testing.TB, text []byte) object {
	t.Helper()
	var o object
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&o); err != nil {
		t.Fatalf("%v: %.200s", err, text)
	}
	return o
}

func textIn(o object, name string) string {
	s, _ := o[name].(string)
	return s
}

func numberIn(o object, name string) int {
	n, ok := o[name].(json.Number)
	if !ok {
		return -1
	}
	i, _ := n.Int64()
	return int(i)
}

func objectIn(o object, name string) object {
	c, _ := o[name].(object)
	return c
}

// letter is a message of a hub, in a queue.
type letter struct {
	queue, body string
	// text is the body without Base64; whole is the message itself, from the blob
	// that text may name.
	text, whole, blob string
	base64            bool
	// wait is how long after its insertion it can be taken, at the time taken.
	wait  time.Duration
	taken time.Time
	due   schema.Ticks // of a recorded one
	// peeked says that a peek shows a recorded one, visible that it can be taken.
	peeked, visible bool

	tree              object // of whole
	kind              string
	instance, execute string
	// number is that of the action that it begins or answers, or -1; name is what
	// else tells it from others.
	number               int
	name, sender, parent string
}

// eventNames are the types of events in messages that tests meet.
var eventNames = map[int]string{
	0: "ExecutionStarted", 3: "ExecutionTerminated", 4: "TaskScheduled", 5: "TaskCompleted", 6: "TaskFailed",
	8: "SubOrchestrationInstanceCompleted", 9: "SubOrchestrationInstanceFailed", 11: "TimerFired", 15: "EventRaised",
	17: "GenericEvent", 19: "ExecutionSuspended", 20: "ExecutionResumed",
}

// open reads a message; blobs are those of large messages, unpacked.
func open(t testing.TB, queue, body string, blobs map[string]string) *letter {
	t.Helper()
	l := &letter{queue: queue, body: body, text: body, number: -1}
	if !strings.HasPrefix(body, "{") {
		plain, err := base64.StdEncoding.DecodeString(body)
		if err != nil {
			t.Fatalf("message of %s: %v: %.100s", queue, err, body)
		}
		l.text, l.base64 = string(plain), true
	}
	l.whole = l.text
	if name := textIn(parse(t, []byte(l.text)), "CompressedBlobName"); name != "" {
		l.blob = strings.ReplaceAll(name, `\`, "/") // as the service stores it
		text, ok := blobs[l.blob]
		if !ok {
			t.Fatalf("message of %s: there is no blob %s", queue, name)
		}
		l.whole = text
	}
	l.tree = parse(t, []byte(l.whole))
	message := objectIn(l.tree, "TaskMessage")
	event, target := objectIn(message, "Event"), objectIn(message, "OrchestrationInstance")
	l.instance, l.execute = textIn(target, "InstanceId"), textIn(target, "ExecutionId")
	l.sender = textIn(objectIn(l.tree, "Sender"), "InstanceId")
	l.kind = eventNames[numberIn(event, "EventType")]
	switch l.kind {
	case "":
		t.Fatalf("message of an unknown type: %.200s", l.whole)
	case "TaskScheduled":
		l.number = numberIn(event, "EventId")
	case "TimerFired":
		l.number = numberIn(event, "TimerId")
	case "ExecutionStarted":
		if parent := objectIn(event, "ParentInstance"); parent != nil {
			l.number, l.parent = numberIn(parent, "TaskScheduleId"), textIn(objectIn(parent, "OrchestrationInstance"), "InstanceId")
		}
	case "EventRaised":
		l.name = textIn(event, "Name")
		if strings.HasPrefix(l.instance, "@") {
			l.name += " " + textIn(parse(t, []byte(textIn(event, "Input"))), "id")
		}
	default:
		l.number = numberIn(event, "TaskScheduledId")
	}
	return l
}

// identity names a letter for people and for pairing.
func (l *letter) identity() string {
	return fmt.Sprintf("%s %d %s of %s %s", l.kind, l.number, l.name, l.instance, l.execute)
}

// unpacked returns the texts of large messages of a hub.
func unpacked(t testing.TB, c *hubtest.Content) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	for _, b := range c.Blobs {
		if b.Container != c.Names.LargeMessages() {
			continue
		}
		z, err := gzip.NewReader(bytes.NewReader(b.Data))
		if err != nil {
			t.Fatalf("blob %s: %v", b.Name, err)
		}
		text, err := io.ReadAll(z)
		if err != nil {
			t.Fatalf("blob %s: %v", b.Name, err)
		}
		texts[b.Name] = string(text)
	}
	return texts
}

// record is what the tables have of one instance.
type record struct {
	row, sentinel object   // nil if missing
	events        []object // of the current execution
	execution     string
	terminal      bool
	unfinished    bool // the last checkpoint was cut off
	last          int  // where in events the last episode begins
}

// has reports whether there is an event of a type, from the index on, of which a
// column has a number.
func (r *record) find(from int, kind, column string, n int) object {
	for _, e := range r.events[min(from, len(r.events)):] {
		if textIn(e, "EventType") == kind && numberIn(e, column) == n {
			return e
		}
	}
	return nil
}

// source is a recorded hub.
type source struct {
	testhub.Recording
	content  hubtest.Content
	recorded schema.Ticks
	letters  []*letter
	records  map[string]*record
}

func recordedSource(t testing.TB, name string) *source {
	t.Helper()
	i := slices.IndexFunc(testhub.Recordings, func(r testhub.Recording) bool { return r.Name == name })
	capture := testhub.OpenHub(t, name)
	info, err := capture.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s := &source{Recording: testhub.Recordings[i], content: testhub.ContentOf(t, capture), recorded: info.Started, records: make(map[string]*record)}
	blobs := unpacked(t, &s.content)
	for _, q := range s.content.Queues {
		peeked := make(map[string]bool)
		for _, m := range q.Messages {
			peeked[m.ID] = true
		}
		for _, m := range testhub.RecordedMessages(t, name, q.Name) {
			l := open(t, q.Name, m.Text, blobs)
			l.due, l.peeked, l.visible = m.VisibleAt, peeked[m.ID], !testhub.Hidden(info.Started, &m)
			s.letters = append(s.letters, l)
		}
	}
	of := func(key string) *record {
		id := schema.InstanceID(key)
		if s.records[id] == nil {
			s.records[id] = new(record)
		}
		return s.records[id]
	}
	for _, row := range s.content.Tables[hub.Instances] {
		of(row.PartitionKey).row = parse(t, row.AppendJSON(nil))
	}
	for _, row := range s.content.Tables[hub.History] {
		if row.RowKey == "sentinel" {
			of(row.PartitionKey).sentinel = parse(t, row.AppendJSON(nil))
		}
	}
	for _, row := range s.content.Tables[hub.History] {
		r, event := of(row.PartitionKey), parse(t, row.AppendJSON(nil))
		r.execution = textIn(r.sentinel, "ExecutionId")
		if row.RowKey == "sentinel" || textIn(event, "ExecutionId") != r.execution {
			continue // of an earlier and longer execution
		}
		if textIn(event, "EventType") == "OrchestratorStarted" {
			r.last = len(r.events)
		}
		r.terminal = r.terminal || textIn(event, "EventType") == "ExecutionCompleted"
		r.events = append(r.events, event)
	}
	for _, r := range s.records {
		if len(r.events) == 0 {
			continue
		}
		end := r.events[len(r.events)-1]
		r.unfinished = r.sentinel["IsCheckpointComplete"] == false || textIn(end, "EventType") != "OrchestratorCompleted" ||
			r.row == nil && !r.terminal || r.row != nil && before(t, textIn(r.row, "LastUpdatedTime"), textIn(end, "_Timestamp"))
	}
	return s
}

func before(t testing.TB, a, b string) bool {
	t.Helper()
	return instant(t, a).Before(instant(t, b))
}

func instant(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// fate is what becomes of a message that a migration cannot see.
type fate string

const (
	fateRebuilt  fate = "rebuilt"                       // sent as it was
	fateRedriven fate = "redriven"                      // the row that began the work is neutralised
	fateOnly     fate = "only in the message"           // what clients and entities ask for
	fateAgain    fate = "its episode is not in history" // it will run again, and send it again
	fateCopy     fate = "it says nothing new"           // another one says it, or history does
	fatePurged   fate = "its instance was purged"
)

// fateOf says what becomes of a message that cannot be seen. For one that is
// redriven, it returns the instance and number of the action whose row changes.
func (s *source) fateOf(l *letter, seen func(kinds []string, instance string, n int) bool) (f fate, instance string, n int) {
	r := s.records[l.instance]
	if r == nil {
		r = new(record)
	}
	// taken is the fate of a message that history has: it comes again if the
	// checkpoint that took it in was cut off.
	taken := func(column string) fate {
		if r.unfinished && r.find(r.last, l.kind, column, l.number) != nil {
			return fateRebuilt
		}
		return fateCopy
	}
	current := r.execution == l.execute || l.execute == ""
	switch l.kind {
	case "TimerFired":
		switch {
		case current && r.find(0, "TimerFired", "TimerId", l.number) != nil:
			return taken("TimerId"), "", 0
		case current && r.find(0, "TimerCreated", "EventId", l.number) != nil && !r.terminal:
			return fateRebuilt, "", 0
		}
		return fateAgain, "", 0
	case "TaskScheduled", "TaskCompleted", "TaskFailed":
		about := []string{"TaskScheduled", "TaskCompleted", "TaskFailed"}
		scheduled := r.find(0, "TaskScheduled", "EventId", l.number)
		switch {
		case !current || scheduled == nil:
			return fateAgain, "", 0
		case r.find(0, "TaskCompleted", "TaskScheduledId", l.number) != nil || r.find(0, "TaskFailed", "TaskScheduledId", l.number) != nil:
			if l.kind == "TaskScheduled" {
				return fateCopy, "", 0
			}
			return taken("TaskScheduledId"), "", 0
		case seen(about, l.instance, l.number):
			return fateCopy, "", 0
		case scheduled["Input"] != nil:
			if l.kind == "TaskScheduled" {
				return fateRebuilt, "", 0
			}
			return fateCopy, "", 0
		}
		return fateRedriven, l.instance, l.number
	case "SubOrchestrationInstanceCompleted", "SubOrchestrationInstanceFailed":
		sub := s.records[l.sender]
		switch {
		case r.find(0, l.kind, "TaskScheduledId", l.number) != nil:
			return taken("TaskScheduledId"), "", 0
		case sub != nil && sub.terminal:
			return fateRebuilt, "", 0
		case sub != nil && len(sub.events) > 0 || seen([]string{"ExecutionStarted"}, l.sender, l.number):
			return fateAgain, "", 0
		}
		return fateRedriven, l.instance, l.number
	case "ExecutionStarted":
		if current && len(r.events) > 0 {
			if r.unfinished && r.last == 0 {
				return fateRebuilt, "", 0
			}
			return fateCopy, "", 0
		}
		if l.parent == "" {
			switch {
			case r.row == nil:
				return fatePurged, "", 0
			case textIn(r.row, "ExecutionId") == l.execute && textIn(r.row, "RuntimeStatus") == "Pending":
				return fateRebuilt, "", 0
			}
			return fateCopy, "", 0
		}
		parent := s.records[l.parent]
		var created object
		if parent != nil {
			created = parent.find(0, "SubOrchestrationInstanceCreated", "EventId", l.number)
		}
		answers := []string{"SubOrchestrationInstanceCompleted", "SubOrchestrationInstanceFailed"}
		switch {
		case textIn(created, "InstanceId") != l.instance:
			return fateAgain, "", 0
		case len(r.events) > 0 || seen(answers, l.parent, l.number):
			return fateCopy, "", 0
		case created["Input"] != nil:
			return fateRebuilt, "", 0
		}
		return fateRedriven, l.parent, l.number
	case "GenericEvent":
		if r.rewound() {
			return fateRebuilt, "", 0
		}
	case "EventRaised":
		sender := s.records[l.sender]
		_, request, _ := strings.Cut(l.name, " ")
		if strings.HasPrefix(l.name, "op@") && sender != nil && slices.ContainsFunc(sender.events, func(e object) bool {
			return textIn(e, "EventType") == "EventSent" && strings.Contains(textIn(e, "Input"), request)
		}) {
			return fateRebuilt, "", 0
		}
	}
	return fateOnly, "", 0
}

// rewound reports whether the instance was rewound and has not run since.
func (r *record) rewound() bool {
	rewound := false
	for _, e := range r.events {
		if textIn(e, "EventType") == "GenericEvent" {
			rewound = strings.HasPrefix(textIn(e, "Reason"), "Rewound: ")
		}
	}
	return rewound
}

// fnv1a is the 32-bit hash FNV-1a, by which workers and clients find a queue.
func fnv1a(id string) uint32 {
	h := uint32(0x811C9DC5)
	for _, b := range []byte(id) {
		h = (h ^ uint32(b)) * 16777619
	}
	return h
}
