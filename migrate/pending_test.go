package migrate_test

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

// recordedMessage is a message that was in a queue of a recorded hub, from the
// emulator's database.
type recordedMessage struct {
	queue, id string
	text      string // as stored, without Base64
	json      string // of the message itself
	identity  string
	visibleAt schema.Ticks
	hidden    bool // peeking did not show it
	wire      wireMessage
}

// wireMessage is what of a message identifies it, read with encoding/json.
type wireMessage struct {
	TaskMessage struct {
		Event struct {
			EventType                int
			EventID                  int32
			TaskScheduledID, TimerID *int32
			Name, Input              string
			ParentInstance           *struct{ TaskScheduleID int32 }
		}
		OrchestrationInstance struct{ InstanceID, ExecutionID string }
	}
	Sender struct{ InstanceID string }
}

// identify names a message for people and for pairing: type, number or name,
// instance.
func identify(t testing.TB, text string) (string, wireMessage) {
	t.Helper()
	var w wireMessage
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		t.Fatal(err)
	}
	e := w.TaskMessage.Event
	what := ""
	switch {
	case e.TaskScheduledID != nil:
		what = strconv.Itoa(int(*e.TaskScheduledID))
	case e.TimerID != nil:
		what = strconv.Itoa(int(*e.TimerID))
	case e.ParentInstance != nil:
		what = strconv.Itoa(int(e.ParentInstance.TaskScheduleID))
	case e.EventType == 4:
		what = strconv.Itoa(int(e.EventID))
	case e.EventType == 15:
		what = e.Name
	}
	return fmt.Sprintf("%v %s of %s", schema.EventType(e.EventType), what, w.TaskMessage.OrchestrationInstance.InstanceID), w
}

func recordedMessages(t testing.TB, r hub.Reader, recording string) []*recordedMessage {
	t.Helper()
	var all []*recordedMessage
	for _, m := range testhub.LoadRecordedMessages(t, r, recording) {
		text, _, err := schema.MessageText(m.Stored.Text)
		if err != nil {
			t.Fatal(err)
		}
		identity, wire := identify(t, m.Loaded.JSON)
		all = append(all, &recordedMessage{
			queue: m.Stored.Queue, id: m.Stored.ID, text: text, json: m.Loaded.JSON, identity: identity, wire: wire, hidden: m.Hidden,
			visibleAt: m.Stored.VisibleAt,
		})
	}
	return all
}

func items(t testing.TB, seq iter.Seq2[migrate.Item, error]) []migrate.Item {
	t.Helper()
	var all []migrate.Item
	for i, err := range seq {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, i)
	}
	return all
}

// jsonOf is the whole message of an item.
func jsonOf(i *migrate.Item) string {
	if i.BlobText != "" {
		return i.BlobText
	}
	return string(i.Message.AppendJSON(nil))
}

// redriven lists what the message of redriven work may have been.
func redriven(i *migrate.Item) []string {
	n := strconv.Itoa(int(i.EventID))
	if i.Kind == migrate.KindChildStart {
		return []string{"ExecutionStarted " + n + " of " + i.Name}
	}
	return []string{"TaskScheduled " + n + " of " + i.InstanceID, "TaskCompleted " + n + " of " + i.InstanceID, "TaskFailed " + n + " of " + i.InstanceID}
}

// facts are what the rows of a recording say, read without the code under test.
type facts map[string]bool

func recordedFacts(t testing.TB, r hub.Reader) facts {
	t.Helper()
	f := make(facts)
	for row, err := range r.Rows(t.Context(), hub.Instances, hub.Keys{}) {
		if err != nil {
			t.Fatal(err)
		}
		f["row of "+schema.InstanceID(row.PartitionKey)] = true
	}
	for row, err := range r.Rows(t.Context(), hub.History, hub.Keys{}) {
		if err != nil {
			t.Fatal(err)
		}
		kind, _ := row.Get("EventType").Text()
		execution, _ := row.Get("ExecutionId").Text()
		id := schema.InstanceID(row.PartitionKey)
		n, _ := row.Get("EventId").Int()
		switch kind {
		case "TaskScheduled":
			f[fmt.Sprintf("scheduled %d of %s %s", n, id, execution)] = true
		case "TaskCompleted", "TaskFailed":
			n, _ = row.Get("TaskScheduledId").Int()
			f[fmt.Sprintf("result %d of %s %s", n, id, execution)] = true
		case "ExecutionStarted":
			f[fmt.Sprintf("start of %s %s", id, execution)] = true
		case "ExecutionCompleted":
			f["end of "+id] = true
		}
	}
	return f
}

// The reasons for which the tables do not tell of a message.
const (
	// onlyMessage: external events and what clients ask for are nowhere else.
	onlyMessage = "only in the message"
	// uncommitted: the episode that sent it is not in history. It runs again, and
	// sends it again.
	uncommitted = "sent by an episode that is not in history"
	// again: what it says is in history already, or another message says it.
	again = "a second copy"
	// purged: nothing is left of its instance.
	purged = "its instance was purged"
)

// unknowable says why the tables do not tell of a message; empty if they should.
// found holds the identities that were found.
func (f facts) unknowable(m *recordedMessage, found map[string]bool) string {
	e, target := m.wire.TaskMessage.Event, m.wire.TaskMessage.OrchestrationInstance
	of := target.InstanceID + " " + target.ExecutionID
	switch kind := schema.EventType(e.EventType); kind {
	case schema.TypeEventRaised, schema.TypeExecutionTerminated, schema.TypeExecutionSuspended, schema.TypeExecutionResumed:
		return onlyMessage
	case schema.TypeTaskScheduled:
		n := strconv.Itoa(int(e.EventID))
		switch {
		case !f["scheduled "+n+" of "+of]:
			return uncommitted
		case f["result "+n+" of "+of] || found["TaskCompleted "+n+" of "+target.InstanceID]:
			return again
		}
	case schema.TypeTaskCompleted:
		n := strconv.Itoa(int(*e.TaskScheduledID))
		if f["result "+n+" of "+of] || found["TaskScheduled "+n+" of "+target.InstanceID] {
			return again
		}
	case schema.TypeSubOrchestrationCompleted:
		if !f["end of "+m.wire.Sender.InstanceID] {
			return uncommitted
		}
	case schema.TypeExecutionStarted:
		switch {
		case f["start of "+of]:
			return again
		case !f["row of "+target.InstanceID]:
			return purged
		}
	}
	return ""
}

// pendingWant is what is made again of the messages of a recording: how many by
// origin and kind, and how many recorded messages are not, by reason.
type pendingWant struct {
	items   map[string]int
	missing map[string]int
}

// fourHidden are the messages that every dtfx recording has at least.
func fourHidden(more map[string]int) map[string]int {
	want := map[string]int{"rebuilt start": 1, "rebuilt timer": 3}
	maps.Copy(want, more)
	return want
}

var pendingWants = map[string]struct{ seen, without pendingWant }{
	"dtfx-1.17.5":            {pendingWant{items: fourHidden(nil)}, pendingWant{items: fourHidden(nil)}},
	"dtfx-2.9.1":             {pendingWant{items: fourHidden(nil)}, pendingWant{items: fourHidden(nil)}},
	"dtfx-2.9.1-blob-leases": {pendingWant{items: fourHidden(nil)}, pendingWant{items: fourHidden(nil)}},
	// Its queues were not recorded, so that all four are more than what was.
	"dtfx-2.9.1-purge-damaged": {pendingWant{items: fourHidden(nil)}, pendingWant{items: fourHidden(nil)}},
	"dtfx-2.9.1-poisoned": {
		pendingWant{items: fourHidden(map[string]int{"seen event": 1})},
		pendingWant{fourHidden(nil), map[string]int{onlyMessage: 1}},
	},
	"dtfx-2.9.1-backlog": {
		pendingWant{
			map[string]int{"seen event": 31, "seen start": 11, "rebuilt start": 10, "unrecoverable hidden": 1}, map[string]int{onlyMessage: 9},
		},
		pendingWant{map[string]int{"rebuilt start": 21}, map[string]int{onlyMessage: 40}},
	},
	// Task 4 of inflight-07 has both its work item and its result queued; of tasks
	// 1 and 2 the history has the result, whose messages were not deleted.
	"dtfx-2.9.1-crashed": {
		pendingWant{fourHidden(map[string]int{
			"seen activity": 32, "seen activity_result": 1, "rebuilt activity_result": 2, "redriven activity": 59, "redriven wake_up": 7,
			"unrecoverable hidden": 1,
		}), map[string]int{again: 1}},
		pendingWant{fourHidden(map[string]int{"rebuilt activity_result": 2, "redriven activity": 92, "redriven wake_up": 9}), map[string]int{again: 1}},
	},
	// wide-5 has 110 work items, wide-6 and -7 all of theirs, of an episode that
	// was not committed; tasks of wide-1 have both work item and result.
	"dtfx-2.9.1-torn": {
		pendingWant{map[string]int{
			"seen activity": 32, "seen activity_result": 1, "rebuilt start": 3, "redriven activity": 2253, "redriven wake_up": 6,
			"unrecoverable hidden": 1,
		}, map[string]int{uncommitted: 110 + 400 + 297, again: 2}},
		pendingWant{
			map[string]int{"rebuilt start": 3, "redriven activity": 2286, "redriven wake_up": 6},
			map[string]int{uncommitted: 110 + 400 + 297, again: 2},
		},
	},
	// Most children had begun, and were killed before their first checkpoint or
	// before the message that brought it about was deleted.
	"dtfx-2.9.1-odd": {
		pendingWant{map[string]int{
			"seen activity": 32, "seen activity_result": 29, "seen sub_orchestration_answer": 9, "seen sub_orchestration_start": 14,
			"rebuilt start": 2, "rebuilt sub_orchestration_start": 2, "rebuilt timer": 4,
			"redriven activity": 115, "redriven sub_orchestration_start": 50, "redriven wake_up": 118, "unrecoverable hidden": 1,
		}, map[string]int{again: 17, uncommitted: 31}},
		pendingWant{map[string]int{
			"rebuilt start": 2, "rebuilt sub_orchestration_start": 2, "rebuilt timer": 4,
			"redriven activity": 176, "redriven sub_orchestration_start": 64, "redriven wake_up": 179,
		}, map[string]int{again: 17, uncommitted: 40}},
	},
	"functions-3": {
		pendingWant{items: map[string]int{"rebuilt entity_signal": 1, "rebuilt timer": 2}},
		pendingWant{items: map[string]int{"rebuilt entity_signal": 1, "rebuilt timer": 2}},
	},
	"functions-3-after-js": {
		pendingWant{items: map[string]int{
			"rebuilt entity_signal": 1, "rebuilt timer": 2, "seen control": 4, "seen entity_request": 2, "seen event": 1, "seen start": 3, "seen wake_up": 1,
		}},
		pendingWant{
			map[string]int{"rebuilt entity_signal": 1, "rebuilt timer": 2, "rebuilt start": 3, "rebuilt wake_up": 1}, map[string]int{onlyMessage: 7},
		},
	},
	"functions-3-after-write": {
		pendingWant{items: map[string]int{
			"rebuilt entity_signal": 1, "rebuilt timer": 2, "seen control": 6, "seen entity_request": 5, "seen event": 5, "seen start": 8, "seen wake_up": 1,
		}},
		pendingWant{
			map[string]int{"rebuilt entity_signal": 1, "rebuilt timer": 2, "rebuilt start": 7, "rebuilt wake_up": 1},
			map[string]int{onlyMessage: 16, purged: 1},
		},
	},
	"shared-tracking-TrackA": {
		pendingWant{items: map[string]int{"seen event": 3, "seen start": 5}},
		pendingWant{map[string]int{"rebuilt start": 5}, map[string]int{onlyMessage: 3}},
	},
	"shared-tracking-TrackB": {
		pendingWant{items: map[string]int{"seen event": 3, "seen start": 5}},
		pendingWant{map[string]int{"rebuilt start": 5}, map[string]int{onlyMessage: 3}},
	},
}

// withoutChance removes what no table tells of a message, after checking that it
// is near where it should be.
func withoutChance(t testing.TB, i *migrate.Item, text string) (tree map[string]any, at schema.Ticks) {
	t.Helper()
	var parts struct {
		TaskMessage struct{ Event json.RawMessage }
	}
	event := make(map[string]any)
	for _, err := range []error{
		json.Unmarshal([]byte(text), &tree), json.Unmarshal([]byte(text), &parts), json.Unmarshal(parts.TaskMessage.Event, &event),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if task, ok := tree["TaskMessage"].(map[string]any); ok {
		task["Event"] = event
	}
	// The process that sent it has made these up.
	delete(tree, "ActivityId")
	delete(tree, "SequenceNumber")
	switch i.Kind {
	case migrate.KindTimer, migrate.KindEntitySignal:
		// The event of the message and that of the row are made within microseconds.
		var err error
		if at, err = schema.ParseTicks(fmt.Sprint(event["Timestamp"])); err != nil {
			t.Fatal(err)
		}
		delete(event, "Timestamp")
	case migrate.KindWakeUp:
		delete(event, "Timestamp")
		delete(event, "Data") // the reason that the user gave
	case migrate.KindChildStart:
		delete(tree, "Episode") // of the parent, whose history is not looked at
	}
	return tree, at
}

const (
	tick1ms = 10_000
	tick1s  = 10_000_000
)

func TestPendingRecorded(t *testing.T) {
	for _, rec := range testhub.Recordings {
		t.Run(rec.Name, func(t *testing.T) {
			r := testhub.OpenHub(t, rec.Name)
			all, facts := recordedMessages(t, r, rec.Name), recordedFacts(t, r)
			want := pendingWants[rec.Name]
			for _, without := range []bool{false, true} {
				t.Run(fmt.Sprintf("WithoutQueues=%t", without), func(t *testing.T) {
					if want := want.seen; !without {
						checkPending(t, r, rec, all, facts, without, want)
						return
					}
					checkPending(t, r, rec, all, facts, without, want.without)
				})
			}
		})
	}
}

func checkPending(t *testing.T, r hub.Reader, rec testhub.Recording, all []*recordedMessage, facts facts, without bool, want pendingWant) {
	opts := migrate.PendingOptions{WithoutQueues: without, Version1: rec.Name == "dtfx-1.17.5"}
	left := make(map[string][]*recordedMessage)
	visible := make(map[string]*recordedMessage)
	for _, m := range all {
		if m.hidden || without {
			left[m.identity] = append(left[m.identity], m)
		} else {
			visible[m.id] = m
		}
	}
	kinds, found, woken := make(map[string]int), make(map[string]bool), make(map[string]bool)
	redone := make(map[string]bool)
	for _, i := range items(t, migrate.Pending(t.Context(), r, opts)) {
		kinds[string(i.Origin)+" "+string(i.Kind)]++
		if (i.Text == "") != (i.Queue == "") || i.Why == "" {
			t.Errorf("%s %s of %s: text of %d bytes for queue %q because of %q", i.Origin, i.Kind, i.InstanceID, len(i.Text), i.Queue, i.Why)
		}
		switch {
		case i.Origin == migrate.Seen:
			m := visible[i.MessageID]
			if m == nil {
				t.Errorf("message %s is given twice, or was not there", i.MessageID)
				continue
			}
			delete(visible, i.MessageID)
			if i.Text != m.text || i.SeenIn != m.queue || i.Queue != m.queue || jsonOf(&i) != m.json {
				t.Errorf("%s is %s in %s, want %s in %s", m.identity, i.Text, i.Queue, m.text, m.queue)
			}
			found[m.identity] = true
			continue
		case i.Kind == migrate.KindHidden:
			if i.Origin != migrate.Unrecoverable || int(i.Count) != sum(want.missing) {
				t.Errorf("%d messages are %s, want %d", i.Count, i.Origin, sum(want.missing))
			}
			continue
		case i.Origin == migrate.Unrecoverable:
			t.Errorf("%s of %s cannot be recovered: %s", i.Kind, i.InstanceID, i.Why)
			continue
		case i.Origin == migrate.Redriven && i.Kind == migrate.KindWakeUp:
			if woken[i.InstanceID] {
				t.Errorf("%s is woken twice", i.InstanceID)
			}
			woken[i.InstanceID] = true
			continue
		}
		ids := redriven(&i)
		if i.Origin == migrate.Rebuilt {
			id, _ := identify(t, jsonOf(&i))
			ids = []string{id}
		} else {
			redone[i.InstanceID] = true
			checkEdit(t, r, &i)
		}
		k := slices.IndexFunc(ids, func(s string) bool { return len(left[s]) > 0 })
		if k < 0 {
			if len(all) > 0 {
				t.Errorf("%s %s was in no queue", i.Origin, ids[0])
			}
			continue
		}
		m := left[ids[k]][0]
		left[ids[k]] = left[ids[k]][1:]
		found[m.identity] = true
		if i.Origin == migrate.Rebuilt {
			checkRebuilt(t, &i, m)
		}
	}
	for id := range visible {
		t.Errorf("message %s is missing", id)
	}
	if diff := cmp.Diff(redone, woken); diff != "" {
		t.Errorf("instances that are redriven and those that are woken (-redriven +woken):\n%s", diff)
	}
	missing := make(map[string]int)
	for _, messages := range left {
		for _, m := range messages {
			why := facts.unknowable(m, found)
			if missing[why]++; why == "" {
				t.Errorf("%s is missing", m.identity)
			}
		}
	}
	if len(missing) == 0 {
		missing = nil
	}
	if diff := cmp.Diff(want.missing, missing); diff != "" {
		t.Errorf("messages that the tables do not tell of (-want +got):\n%s", diff)
	}
	if len(want.items)+len(kinds) > 0 {
		if diff := cmp.Diff(want.items, kinds); diff != "" {
			t.Errorf("items (-want +got):\n%s", diff)
		}
	}
}

func sum(of map[string]int) int {
	n := 0
	for _, v := range of {
		n += v
	}
	return n
}

// checkEdit checks the row of redriven work against the source's.
func checkEdit(t *testing.T, r hub.Reader, i *migrate.Item) {
	t.Helper()
	if i.Edit == nil || i.Text != "" || i.Message != nil {
		t.Errorf("%s of %s is redriven with row %v and text %q", i.Kind, i.InstanceID, i.Edit, i.Text)
		return
	}
	keys := hub.Partition(i.Edit.PartitionKey)
	keys.RowKey = i.Edit.RowKey
	for row, err := range r.Rows(t.Context(), hub.History, keys) {
		if err != nil {
			t.Fatal(err)
		}
		old, _ := row.Get("EventType").Text()
		row.Set("EventType", schema.String("GenericEvent"))
		row.Set("Reason", schema.String("Rewound: "+old))
		if !schema.SameProperties(&row, i.Edit) || old != "TaskScheduled" && old != "SubOrchestrationInstanceCreated" {
			t.Errorf("row %s/%s of type %s becomes %v", row.PartitionKey, row.RowKey, old, i.Edit)
		}
		return
	}
	t.Errorf("row %s/%s does not exist", i.Edit.PartitionKey, i.Edit.RowKey)
}

// checkRebuilt checks a message that was made again against the recorded one.
func checkRebuilt(t *testing.T, i *migrate.Item, m *recordedMessage) {
	t.Helper()
	wantTree, wantAt := withoutChance(t, i, m.json)
	gotTree, gotAt := withoutChance(t, i, jsonOf(i))
	if diff := cmp.Diff(wantTree, gotTree); diff != "" {
		t.Errorf("%s (-recorded +rebuilt):\n%s", m.identity, diff)
	}
	if max(wantAt-gotAt, gotAt-wantAt) > tick1ms {
		t.Errorf("%s is of %s, want %s", m.identity, gotAt, wantAt)
	}
	if i.Queue != m.queue {
		t.Errorf("%s goes to %s, want %s", m.identity, i.Queue, m.queue)
	}
	// The delay is cut to whole seconds, so that messages come up to one early.
	if i.DueAt != 0 && (i.DueAt < m.visibleAt || i.DueAt > m.visibleAt+tick1s) {
		t.Errorf("%s is due %s, want %s", m.identity, i.DueAt, m.visibleAt)
	}
	if strings.HasPrefix(m.text, "{") && strings.Contains(m.text, `"CompressedBlobName":"`) && i.Text != m.text {
		t.Errorf("%s is %s, want the wrapper %s", m.identity, i.Text, m.text)
	}
}

func TestPendingPartitions(t *testing.T) {
	for _, name := range []string{"dtfx-2.9.1-crashed", "dtfx-2.9.1-odd", "functions-3-after-write", "dtfx-2.9.1-torn"} {
		r := testhub.OpenHub(t, name)
		var before []string
		for _, partitions := range []int{1, 3, 4, 16} {
			opts := migrate.PendingOptions{Names: hub.Names{TaskHub: "Moved"}, Partitions: partitions, NewID: func(string) string { return "id" }}
			var texts []string
			for _, i := range items(t, migrate.Pending(t.Context(), r, opts)) {
				texts = append(texts, i.Text)
				if i.Text == "" {
					continue
				}
				h := fnv.New32a()
				h.Write([]byte(i.InstanceID))
				want := fmt.Sprintf("moved-control-%02d", h.Sum32()%uint32(partitions))
				if i.Message.TaskMessage.Event.Type() == schema.TypeTaskScheduled {
					want = "moved-workitems"
				}
				if i.Queue != want {
					t.Errorf("%s: %s of %s goes to %s, want %s", name, i.Kind, i.InstanceID, i.Queue, want)
				}
			}
			if before != nil && !slices.Equal(before, texts) {
				t.Errorf("%s: with %d partitions other messages are sent", name, partitions)
			}
			before = texts
		}
	}
}

// The same hub gives the same messages, whoever reads it.
func TestPendingSame(t *testing.T) {
	r := testhub.OpenHub(t, "dtfx-2.9.1-odd")
	opts := migrate.PendingOptions{Names: hub.Names{TaskHub: "Moved"}}
	first := items(t, migrate.Pending(t.Context(), r, opts))
	opts.Now = func() time.Time { return time.Date(2026, 11, 22, 5, 13, 0, 0, time.UTC) }
	memory := testhub.NewMemory(testhub.ContentOf(t, r))
	second := items(t, migrate.Pending(t.Context(), memory, opts))
	if len(first) != len(second) {
		t.Fatalf("%d items, then %d", len(first), len(second))
	}
	ids := make(map[string]bool)
	for n := range first {
		a, b := &first[n], &second[n]
		if a.Text != b.Text || a.Queue != b.Queue || a.DueAt != b.DueAt || a.Kind != b.Kind {
			t.Errorf("item %d: %s, then %s", n, a.Text, b.Text)
		}
		if a.Origin == migrate.Seen || a.Message == nil || a.Blob != "" {
			continue
		}
		if id := a.Message.ActivityID; ids[id] || len(id) != 36 {
			t.Errorf("ID %s is used twice, or is none", id)
		} else {
			ids[id] = true
		}
	}
}
