package migrate_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

// only selects some instances.
func only(ids ...string) func(string) bool {
	return func(id string) bool { return slices.Contains(ids, id) }
}

// sayCut is an item in one line, with the instances of what is cut off.
func sayCut(t *testing.T, i *migrate.Item) string {
	t.Helper()
	switch i.Origin {
	case migrate.CutOff:
		line := fmt.Sprintf("cut %s %d: %s moves, %s stays", i.Kind, i.EventID, i.InstanceID, i.Peer)
		if !strings.Contains(i.Why, fmt.Sprintf("%q", i.Peer)) {
			t.Errorf("%s: the reason %q does not name what stays", line, i.Why)
		}
		if i.MessageID != "" {
			line += ", by message " + i.MessageID
		}
		return line
	case migrate.Left:
		return "left " + i.MessageID
	}
	return say(t, i)
}

// post adds a message to a queue that can be seen.
func (s *shape) post(queue int, id, text string) {
	q := &s.Queues[queue]
	q.Messages = append(q.Messages, schema.QueueMessage{Queue: q.Name, ID: id, Text: text})
	q.ApproximateCount++
}

// posted is the text of a message for an instance.
func posted(target, event string) string {
	return `{"$type":"DurableTask.AzureStorage.MessageData","ActivityId":"5c1bc9a1-9b35-4c5a-8a5c-2d5a3b0b6d10","TaskMessage":{` +
		`"$type":"DurableTask.Core.TaskMessage","Event":{` + event + `,"IsPlayed":false,"Timestamp":"2026-11-22T04:01:00Z"},` +
		`"SequenceNumber":0,"OrchestrationInstance":{"$type":"DurableTask.Core.OrchestrationInstance","InstanceId":"` + target + `","ExecutionId":null}},` +
		`"CompressedBlobName":null,"SequenceNumber":1,"Sender":{"InstanceId":"","ExecutionId":""},"SerializableTraceContext":null}`
}

func wrapperPosted(blob string) string {
	w := schema.NewWrapper(blob)
	return string(w.AppendJSON(nil))
}

func startPosted(id, parent, tags string) string {
	return posted(id, `"$type":"DurableTask.Core.History.ExecutionStartedEvent","EventType":0,"EventId":-1,"OrchestrationInstance":{"InstanceId":"`+id+`","ExecutionId":"x-`+id+`"},`+
		`"ParentInstance":{"Name":"N","OrchestrationInstance":{"InstanceId":"`+parent+`","ExecutionId":"x-`+parent+`"},"TaskScheduleId":0,"Version":""},`+
		`"Name":"C","Version":"","Input":"1","Tags":`+tags)
}

func raisedPosted(id, name, input string) string {
	return posted(id, `"$type":"DurableTask.Core.History.EventRaisedEvent","EventType":15,"EventId":-1,"Name":"`+name+`","Input":`+string(schema.AppendJSONString(nil, input)))
}

// cutting are hubs of which a part moves.
var cutting = []struct {
	name  string
	make  func(s *shape)
	moves []string
	want  []string
	// stays is what the other part has.
	stays []string
}{
	{
		"a child that works",
		func(s *shape) {
			s.row("c", "Running")
			s.history("c", started(childOf("o", 0)))
			s.running("o", childCreated)
		},
		[]string{"o"},
		[]string{"cut sub_orchestration_answer 0: o moves, c stays"},
		[]string{"cut sub_orchestration_answer 0: c moves, o stays"},
	},
	{
		"a child that has ended, and whose answer cannot be seen",
		func(s *shape) {
			s.row("c", "Completed")
			s.history("c", started(childOf("o", 0)), endedWith("Completed", "1"))
			s.running("o", childCreated)
		},
		[]string{"o"},
		[]string{"rebuilt sub_orchestration_answer 0 shape-control-00: c>o Result=1 TaskScheduledId=0"},
		nil,
	},
	{
		"a child that has not begun: it is not started anew",
		func(s *shape) { s.running("o", childCreated) },
		[]string{"o"},
		[]string{"cut sub_orchestration_answer 0: o moves, c stays"},
		[]string{"cut sub_orchestration_answer 0: c moves, o stays"},
	},
	{
		"a child that has not begun, whose input is stored",
		func(s *shape) { s.running("o", append(slices.Clone(childCreated), prop("Input", "7"))) },
		[]string{"o"},
		[]string{"cut sub_orchestration_answer 0: o moves, c stays"},
		[]string{
			"cut sub_orchestration_answer 0: c moves, o stays",
			"rebuilt sub_orchestration_start 0 shape-control-00: o>c Name=C Input=7",
		},
	},
	{
		"a child whose start can be seen",
		func(s *shape) {
			s.running("o", childCreated)
			s.post(0, "m", startPosted("c", "o", "null"))
		},
		[]string{"o"},
		[]string{"cut sub_orchestration_answer 0: o moves, c stays"},
		[]string{
			"seen sub_orchestration_start 0 shape-control-00: >c Name=C Input=1",
			"cut sub_orchestration_answer 0: c moves, o stays, by message m",
		},
	},
	{
		"a child whose start can be seen, of a parent that has ended",
		func(s *shape) {
			s.row("o", "Terminated")
			s.history("o", started(), childCreated, endedWith("Terminated", "1"))
			s.post(0, "m", startPosted("c", "o", "null"))
		},
		[]string{"o"},
		nil,
		[]string{"seen sub_orchestration_start 0 shape-control-00: >c Name=C Input=1"},
	},
	{
		"a child that nobody waits for",
		func(s *shape) {
			s.row("c", "Running")
			s.history("c", started(childOf("o", 0), prop("Tags", `{"FireAndForget":""}`)))
			s.running("o", append(slices.Clone(childCreated), prop("Tags", `{"FireAndForget":""}`)),
				event("SubOrchestrationInstanceCreated", 1, prop("Name", "C"), prop("InstanceId", "d"), prop("Tags", `{"FireAndForget":""}`)))
			s.post(0, "m", startPosted("d", "o", `{"$type":"T","FireAndForget":""}`))
		},
		[]string{"o"},
		nil,
		[]string{"seen sub_orchestration_start 0 shape-control-00: >d Name=C Input=1"},
	},
	{
		"a child that nobody waits for, and whose start may be hidden",
		func(s *shape) {
			s.running("o", append(slices.Clone(childCreated), prop("Tags", `{"FireAndForget":""}`)))
			s.Queues[0].ApproximateCount = 1
		},
		[]string{"o"},
		[]string{"unrecoverable hidden -1"},
		[]string{"unrecoverable sub_orchestration_start 0", "unrecoverable hidden -1"},
	},
	{
		"a call that waits inside of the entity",
		func(s *shape) {
			s.entity("@e@a", `{"exists":true,"queue":[`+request("r1", "")+`],"lockedBy":"z","sorter":{}}`)
			s.running("o", callSent("r1"))
		},
		[]string{"o"},
		[]string{"cut entity_answer 0: o moves, @e@a stays"},
		[]string{"cut entity_answer 0: @e@a moves, o stays"},
	},
	{
		"a call that did not arrive",
		func(s *shape) { s.running("o", callSent("r1")) },
		[]string{"o"},
		[]string{"cut entity_answer 0: o moves, @e@a stays"},
		[]string{
			"cut entity_answer 0: @e@a moves, o stays",
			`rebuilt entity_request 0 shape-control-00: o>@e@a Name=op Input={"op":"Add","id":"r1","parent":"o","parentExecution":"x-o","`,
		},
	},
	{
		"a call that can be seen",
		func(s *shape) {
			s.running("o", callSent("r1"))
			s.post(0, "m", raisedPosted("@e@a", "op", strings.Replace(request("r1", ""), "null", `"Add"`, 1)))
		},
		[]string{"o"},
		[]string{"cut entity_answer 0: o moves, @e@a stays"},
		[]string{
			`seen entity_request -1 shape-control-00: >@e@a Name=op Input={"op":"Add","id":"r1","parent":"o","parentExecution":"x-o","`,
			"cut entity_answer -1: @e@a moves, o stays, by message m",
		},
	},
	{
		"a call whose answer can be seen",
		func(s *shape) {
			s.running("o", callSent("r1"))
			s.post(0, "m", raisedPosted("o", "r1", `{"result":"1"}`))
		},
		[]string{"o"},
		[]string{`seen event -1 shape-control-00: >o Name=r1 Input={"result":"1"}`},
		nil,
	},
	{
		"signals",
		func(s *shape) {
			s.running("o", signalSent)
			s.post(0, "m", raisedPosted("@e@b", "op", signal))
		},
		[]string{"o"},
		nil,
		[]string{
			"seen entity_request -1 shape-control-00: >@e@b Name=op Input=" + signal[:60],
			"rebuilt entity_signal 0 shape-control-00: o>@e@a Name=op@2026-11-22T04:05:00.0000000Z Input=" + signal[:60],
		},
	},
	{
		"locks that are held",
		func(s *shape) {
			s.entity("@e@a", `{"exists":true,"lockedBy":"o","sorter":{}}`)
			s.entity("@e@b", `{"exists":true,"lockedBy":"o","sorter":{}}`)
			s.running("o", lockSent("r1"), event("EventRaised", -1, prop("Name", "r1")))
		},
		[]string{"o", "@e@b"},
		[]string{"cut entity_release 0: o moves, @e@a stays"},
		[]string{"cut entity_release 0: @e@a moves, o stays"},
	},
	{
		"a lock that waits for the second entity",
		func(s *shape) {
			s.entity("@e@a", `{"exists":true,"lockedBy":"o","sorter":{}}`)
			s.running("o", lockSent("r1"))
		},
		[]string{"o", "@e@a"},
		[]string{"cut entity_answer 0: o moves, @e@b stays"},
		[]string{
			"cut entity_answer 0: @e@b moves, o stays",
			`rebuilt entity_request 0 shape-control-00: o>@e@b Name=op Input={"op":null,"id":"r1","parent":"o","parentExecution":"x-o","T`,
		},
	},
	{
		"a lock request that can be seen",
		func(s *shape) {
			s.entity("@e@a", `{"exists":true,"lockedBy":"o","sorter":{}}`)
			s.running("o", lockSent("r1"))
			s.post(0, "m", raisedPosted("@e@b", "op", request("r1", lockAB)))
		},
		[]string{"o"},
		[]string{"cut entity_answer 0: o moves, @e@a stays", "cut entity_answer 0: o moves, @e@b stays"},
		[]string{
			`seen entity_request -1 shape-control-00: >@e@b Name=op Input={"op":null,"id":"r1","parent":"o","parentExecution":"x-o","T`,
			"cut entity_answer -1: @e@b moves, o stays, by message m",
			"cut entity_answer 0: @e@a moves, o stays",
		},
	},
	{
		"a lock whose owner has not committed that it asked for it",
		func(s *shape) {
			s.entity("@e@a", `{"exists":true,"lockedBy":"o","sorter":{}}`)
			s.running("o")
		},
		[]string{"@e@a"},
		[]string{"cut entity_release -1: @e@a moves, o stays"},
		nil,
	},
	{
		"a lock of an owner that has ended",
		func(s *shape) {
			s.entity("@e@a", `{"exists":true,"lockedBy":"o","sorter":{}}`)
			s.row("o", "Terminated")
			s.history("o", started(), lockSent("r1"), event("EventRaised", -1, prop("Name", "r1")), endedWith("Terminated", "1"))
		},
		[]string{"@e@a"},
		nil,
		nil,
	},
	{
		"a release that did not arrive",
		func(s *shape) {
			s.entity("@e@a", `{"exists":true,"lockedBy":"o","sorter":{}}`)
			release := event("EventSent", 1, prop("InstanceId", "@e@a"), prop("Name", "release"), prop("Input", `{"parent":"o","id":"r1"}`))
			lock := event("EventSent", 0, prop("InstanceId", "@e@a"), prop("Name", "op"), prop("Input", request("r1", `,"lockset":[{"name":"e","key":"a"}]`)))
			s.running("o", lock, event("EventRaised", -1, prop("Name", "r1")), release)
		},
		[]string{"o"},
		nil,
		[]string{`rebuilt entity_release 1 shape-control-00: o>@e@a Name=release Input={"parent":"o","id":"r1"}`},
	},
	{
		"what is redriven and what is due belong to one instance",
		func(s *shape) {
			s.running("o", event("TaskScheduled", 0, prop("Name", "A"), prop("Version", "")))
			s.running("p", event("TimerCreated", 0, date("FireAt", minute(20))))
			s.row("q", "Pending", prop("Input", "5"))
		},
		[]string{"o"},
		[]string{"redriven activity 0 edit o/2", "redriven wake_up -1 shape-control-00: >o"},
		[]string{"rebuilt timer 0 shape-control-00: p>p", "rebuilt start -1 shape-control-00: >q Name=N Input=5"},
	},
	{
		"messages that cannot be read",
		func(s *shape) {
			s.running("o")
			s.post(0, "m1", "no message")
			s.post(1, "m2", "{}")
			// Their blobs are gone, and their names tell, but not of an ID with a slash.
			s.post(1, "m3", wrapperPosted("o/message-0123456789abcdef0123456789abcdef-TaskScheduled.json.gz"))
			s.post(1, "m4", wrapperPosted("o/p/message-0123456789abcdef0123456789abcdef-TaskScheduled.json.gz"))
		},
		[]string{"o", "o/p"},
		[]string{"left m1", "left m2", "seen other -1", "left m4"},
		[]string{"left m1", "left m2", "left m4"},
	},
}

var childCreated = event("SubOrchestrationInstanceCreated", 0, prop("Name", "C"), prop("Version", ""), prop("InstanceId", "c"))

func endedWith(status, result string) []schema.Property {
	return event("ExecutionCompleted", 0, prop("OrchestrationStatus", status), prop("Result", result))
}

// What moves with an instance, what is cut off, and what stays.
func TestPendingSelect(t *testing.T) {
	for _, tt := range cutting {
		t.Run(tt.name, func(t *testing.T) {
			s := newShape()
			tt.make(s)
			s.Sort()
			moves := only(tt.moves...)
			for _, half := range []struct {
				name  string
				moves func(string) bool
				want  []string
			}{{"the part that moves", moves, tt.want}, {"the rest", func(id string) bool { return !moves(id) }, tt.stays}} {
				opts := migrate.PendingOptions{Select: half.moves, Now: func() time.Time { return minute(10).Time() }}
				var got []string
				for _, i := range items(t, migrate.Pending(t.Context(), testhub.Scribble(testhub.NewMemory(s.Content), 2), opts)) {
					got = append(got, sayCut(t, &i))
					if i.Kind != migrate.KindHidden && i.Origin != migrate.Left && !half.moves(i.InstanceID) {
						t.Errorf("%s is of %q, which stays", got[len(got)-1], i.InstanceID)
					}
				}
				if diff := cmp.Diff(half.want, got); diff != "" {
					t.Errorf("items of %s (-want +got):\n%s", half.name, diff)
				}
			}
		})
	}
}

// How many of the messages that nobody can see are for some instances, nobody can
// tell.
func TestPendingSelectHidden(t *testing.T) {
	r := testhub.OpenHub(t, "dtfx-2.9.1-crashed")
	opts := migrate.PendingOptions{Names: hub.Names{TaskHub: "Moved"}, Select: func(string) bool { return true }}
	all := items(t, migrate.Pending(t.Context(), r, opts))
	last := all[len(all)-1]
	if last.Kind != migrate.KindHidden || last.Count != -1 {
		t.Errorf("the last item is %s with a count of %d, want -1 hidden", last.Kind, last.Count)
	}
	opts.Select = nil
	whole := items(t, migrate.Pending(t.Context(), r, opts))
	if len(whole) != len(all) || whole[len(whole)-1].Count <= 0 {
		t.Errorf("%d items without a selection, and %d if all are selected", len(whole), len(all))
	}
}

// Whatever is wrong with a hub, what is given out is for what moves, and both parts
// together have what the whole has.
func TestPendingSelectDamaged(t *testing.T) {
	paths, err := filepath.Glob(testhub.Testdata(t, "damaged", "*.taskhub"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d damaged hubs, %v", len(paths), err)
	}
	for _, path := range paths {
		r, err := snapshot.Open(path, snapshot.Options{})
		if err != nil {
			t.Fatal(err)
		}
		unread := make(map[string]bool)
		given := func(moves func(string) bool) map[string]bool {
			all := make(map[string]bool)
			opts := migrate.PendingOptions{Names: elsewhere, Partitions: 4, Now: time.Now, Select: moves}
			for i, err := range migrate.Pending(t.Context(), r, opts) {
				switch {
				case err != nil:
					t.Errorf("%s: %v", filepath.Base(path), err)
				case i.Origin == migrate.Left:
					unread["seen "+i.MessageID] = true
				case i.Kind == migrate.KindHidden:
				case moves != nil && (!moves(i.InstanceID) || i.Origin == migrate.CutOff && moves(i.Peer)):
					t.Errorf("%s: %s is of %q, which stays, and of %q", filepath.Base(path), what(&i), i.InstanceID, i.Peer)
				case i.Text != "":
					all[what(&i)] = true
				}
			}
			return all
		}
		moves := some(1, 2)
		whole, moved, left := given(nil), given(moves), given(not(moves))
		for name := range whole {
			if !moved[name] && !left[name] && !unread[name] && !strings.Contains(name, string(migrate.KindWakeUp)) {
				t.Errorf("%s: %s neither moves nor stays", filepath.Base(path), name)
			}
			if moved[name] && (left[name] || unread[name]) {
				t.Errorf("%s: %s moves and stays", filepath.Base(path), name)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}
