package migrate_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

// shape is a hub in the making.
type shape struct{ hubtest.Content }

func newShape() *shape {
	return &shape{hubtest.Content{
		Names: hub.Names{TaskHub: "Shape"}, PartitionCount: 1, PartitionCountFrom: hub.FromControlQueues,
		Tables: map[hub.Table][]schema.Row{hub.Instances: nil, hub.History: nil},
		Queues: []hubtest.Queue{{Name: "shape-control-00"}, {Name: "shape-workitems"}},
	}}
}

var shapeStart = schema.TicksOf(time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC))

// minute is a time of the shapes.
func minute(n int) schema.Ticks { return shapeStart + schema.Ticks(n)*60*tick1s }

func prop(name, value string) schema.Property {
	return schema.Property{Name: name, Value: schema.String(value)}
}

func number(name string, n int32) schema.Property {
	return schema.Property{Name: name, Value: schema.Int32(n)}
}

func date(name string, at schema.Ticks) schema.Property {
	return schema.Property{Name: name, Value: schema.DateTime(at)}
}

// row adds a row of the Instances table.
func (s *shape) row(id, status string, props ...schema.Property) {
	props = append([]schema.Property{
		prop("ExecutionId", "x-"+id), prop("RuntimeStatus", status), prop("Name", "N"), prop("Version", ""), prop("TaskHubName", "Shape"),
		date("CreatedTime", minute(0)), date("LastUpdatedTime", minute(9)),
	}, props...)
	s.Tables[hub.Instances] = append(s.Tables[hub.Instances], schema.Row{PartitionKey: schema.EscapeKey(id), Properties: props})
}

// event is one row of a history.
func event(kind string, id int32, props ...schema.Property) []schema.Property {
	return append([]schema.Property{prop("EventType", kind), number("EventId", id)}, props...)
}

// history adds a history of one episode. The first event is the start's columns.
func (s *shape) history(id string, start []schema.Property, events ...[]schema.Property) {
	all := [][]schema.Property{event("OrchestratorStarted", -1), event("ExecutionStarted", -1, start...)}
	all = append(append(all, events...), event("OrchestratorCompleted", -1))
	key := schema.EscapeKey(id)
	for n, props := range all {
		props = append(slices.Clone(props), prop("ExecutionId", "x-"+id), schema.Property{Name: "IsPlayed", Value: schema.Boolean(false)},
			date("_Timestamp", minute(1)))
		s.Tables[hub.History] = append(s.Tables[hub.History], schema.Row{PartitionKey: key, RowKey: schema.FormatSequence(int64(n)), Properties: props})
	}
	s.Tables[hub.History] = append(s.Tables[hub.History], schema.Row{PartitionKey: key, RowKey: schema.SentinelRowKey, Properties: []schema.Property{
		prop("ExecutionId", "x-"+id), {Name: "IsCheckpointComplete", Value: schema.Boolean(true)},
	}})
}

// started are the columns of a start of Core 3.9.
func started(props ...schema.Property) []schema.Property {
	return append([]schema.Property{
		prop("Name", "N"), prop("Version", ""), number("Generation", 0), {Name: "GenerateNewTrace", Value: schema.Boolean(false)},
	}, props...)
}

func childOf(parent string, id int) schema.Property {
	return prop("ParentInstance", fmt.Sprintf(`{"Name":"N","OrchestrationInstance":{"InstanceId":%q,"ExecutionId":%q},"TaskScheduleId":%d,"Version":""}`, parent, "x-"+parent, id))
}

// running adds an instance that works on some events.
func (s *shape) running(id string, events ...[]schema.Property) {
	s.row(id, "Running")
	s.history(id, started(), events...)
}

// entity adds an entity with a scheduler state.
func (s *shape) entity(id, state string) {
	s.row(id, "Running")
	s.history(id, []schema.Property{prop("Name", id), prop("Input", state)})
}

const requestTime = "2026-11-22T04:01:00Z"

// request is the text of a request to an entity.
func request(id, more string) string {
	return `{"op":null,"id":"` + id + `","parent":"o","parentExecution":"x-o","Timestamp":"` + requestTime + `","Predecessor":"0001-01-01T00:00:00"` + more + `}`
}

const lockAB = `,"lockset":[{"name":"e","key":"a"},{"name":"e","key":"b"}]`

func lockSent(id string) []schema.Property {
	return event("EventSent", 0, prop("InstanceId", "@e@a"), prop("Name", "op"), prop("Input", request(id, lockAB)))
}

func callSent(id string) []schema.Property {
	return event("EventSent", 0, prop("InstanceId", "@e@a"), prop("Name", "op"), prop("Input", strings.Replace(request(id, ""), "null", `"Add"`, 1)))
}

const signal = `{"op":"Add","signal":true,"id":"s1","parent":"o","parentExecution":"x-o","Timestamp":"0001-01-01T00:00:00","Predecessor":"0001-01-01T00:00:00"}`

var signalSent = event("EventSent", 0, prop("InstanceId", "@e@a"), prop("Name", "op@2026-11-22T04:05:00.0000000Z"), prop("Input", signal))

// say is an item in one line: origin, kind, queue, target and what matters of the
// event.
func say(t *testing.T, i *migrate.Item) string {
	t.Helper()
	line := fmt.Sprintf("%s %s %d", i.Origin, i.Kind, i.EventID)
	if i.Edit != nil {
		line += " edit " + i.Edit.PartitionKey + "/" + i.Edit.RowKey[15:]
	}
	if i.Message == nil {
		return line
	}
	var w struct {
		Episode     *int
		Sender      struct{ InstanceID string }
		TaskMessage struct {
			OrchestrationInstance struct{ InstanceID, ExecutionID string }
			Event                 map[string]any
		}
	}
	if err := json.Unmarshal([]byte(jsonOf(i)), &w); err != nil {
		t.Fatal(err)
	}
	line += fmt.Sprintf(" %s: %s>%s", i.Queue, w.Sender.InstanceID, w.TaskMessage.OrchestrationInstance.InstanceID)
	for _, name := range []string{"Name", "Input", "Result", "Reason", "FailureDetails", "TaskScheduledId"} {
		switch v := w.TaskMessage.Event[name].(type) {
		case nil:
		case map[string]any:
			line += fmt.Sprintf(" %s=%v", name, v["$type"])
		default:
			text := fmt.Sprint(v)
			line += fmt.Sprintf(" %s=%s", name, text[:min(len(text), 60)])
		}
	}
	return line
}

func TestPendingShapes(t *testing.T) {
	const control, work = "shape-control-00", "shape-workitems"
	activity := event("TaskScheduled", 0, prop("Name", "A"), prop("Version", ""))
	child := event("SubOrchestrationInstanceCreated", 0, prop("Name", "C"), prop("Version", ""), prop("InstanceId", "c"))
	ended := func(status, result string, more ...schema.Property) []schema.Property {
		return event("ExecutionCompleted", 0, append(more, prop("OrchestrationStatus", status), prop("Result", result))...)
	}
	for _, tt := range []struct {
		name string
		make func(s *shape)
		want []string
	}{
		{
			"an activity without its input",
			func(s *shape) { s.running("o", activity) },
			[]string{"redriven activity 0 edit o/2", "redriven wake_up -1 " + control + ": >o"},
		},
		{
			"an activity with its input",
			func(s *shape) { s.running("o", append(slices.Clone(activity), prop("Input", "[1]"))) },
			[]string{"rebuilt activity 0 " + work + ": o>o Name=A Input=[1]"},
		},
		{
			"an answered activity",
			func(s *shape) { s.running("o", activity, event("TaskCompleted", -1, number("TaskScheduledId", 0))) },
			nil,
		},
		{
			"of an ended instance nothing is awaited",
			func(s *shape) {
				s.row("o", "Completed")
				s.history("o", started(), activity, ended("Completed", "1"))
			},
			nil,
		},
		{
			"a child that has not begun",
			func(s *shape) { s.running("o", child) },
			[]string{"redriven sub_orchestration_start 0 edit o/2", "redriven wake_up -1 " + control + ": >o"},
		},
		{
			"a child that has not begun, with its input",
			func(s *shape) { s.running("o", append(slices.Clone(child), prop("Input", "7"))) },
			[]string{"rebuilt sub_orchestration_start 0 " + control + ": o>c Name=C Input=7"},
		},
		{
			"a child that works",
			func(s *shape) {
				s.row("c", "Running")
				s.history("c", started(childOf("o", 0)))
				s.running("o", child)
			},
			nil,
		},
		{
			"a child that has completed",
			func(s *shape) {
				s.row("c", "Completed")
				s.history("c", started(childOf("o", 0)), ended("Completed", `"done"`))
				s.running("o", child)
			},
			[]string{"rebuilt sub_orchestration_answer 0 " + control + `: c>o Result="done" TaskScheduledId=0`},
		},
		{
			"a child that has completed, and whose start was not deleted",
			func(s *shape) {
				s.row("c", "Completed")
				s.history("c", started(childOf("o", 0)), ended("Completed", `"done"`))
				s.running("o", child)
				s.post(0, "m", startPosted("c", "o", "null"))
			},
			[]string{
				"seen sub_orchestration_start 0 " + control + ": >c Name=C Input=1",
				"rebuilt sub_orchestration_answer 0 " + control + `: c>o Result="done" TaskScheduledId=0`,
			},
		},
		{
			"a child that has failed",
			func(s *shape) {
				s.row("c", "Failed")
				s.history("c", started(childOf("o", 0)), ended("Failed", "why", prop("FailureDetails", `{"ErrorType":"E","ErrorMessage":"m"}`)))
				s.running("o", child)
			},
			[]string{"rebuilt sub_orchestration_answer 0 " + control + ": c>o Reason=why FailureDetails=DurableTask.Core.FailureDetails TaskScheduledId=0"},
		},
		{
			"a child of an earlier execution",
			func(s *shape) {
				s.row("c", "Completed")
				s.history("c", started(childOf("o", 8)), ended("Completed", "1"))
				s.running("o", child)
			},
			[]string{"redriven sub_orchestration_start 0 edit o/2", "redriven wake_up -1 " + control + ": >o"},
		},
		{
			"a child that nobody waits for, and that is gone",
			func(s *shape) {
				s.running("o", append(slices.Clone(child), prop("Tags", `{"FireAndForget":""}`)))
			},
			nil, // no message can be hidden
		},
		{
			"a child that nobody waits for, where messages are hidden",
			func(s *shape) {
				s.running("o", append(slices.Clone(child), prop("Tags", `{"FireAndForget":""}`)))
				s.Queues[0].ApproximateCount = 1
			},
			[]string{"unrecoverable sub_orchestration_start 0"},
		},
		{
			"a terminated start that will run all the same",
			func(s *shape) {
				s.row("o", "Terminated", date("ScheduledStartTime", minute(60)), prop("Input", "5"))
				s.row("p", "Terminated", date("ScheduledStartTime", minute(2)))
			},
			[]string{"rebuilt start -1 " + control + ": >o Name=N Input=5"},
		},
		{
			"a large start",
			func(s *shape) { s.row("o", "Pending", prop("Input", strings.Repeat("é", 30_000))) },
			[]string{"rebuilt start -1 " + control + ": >o Name=N Input=" + strings.Repeat("é", 30)},
		},
		{
			"a start whose blob is gone",
			func(s *shape) {
				s.row("o", "Pending", prop("Input", "https://a.blob.core.windows.net/shape-largemessages/o/message-00-ExecutionStarted.json.gz"))
			},
			[]string{"unrecoverable start -1"},
		},
		{
			"a rewind that was not picked up",
			func(s *shape) {
				s.row("o", "Pending")
				s.history("o", started(), event("GenericEvent", 0, prop("Name", "A"), prop("Reason", "Rewound: TaskScheduled")),
					event("GenericEvent", -1, number("TaskScheduledId", 0), prop("Reason", "Rewound: TaskFailed")),
					event("GenericEvent", 1, prop("OrchestrationStatus", "Failed"), prop("Reason", "Rewound: ExecutionCompleted")))
			},
			[]string{"rebuilt wake_up -1 " + control + ": >o"},
		},
		{
			"an activity that a copy has neutralised before",
			func(s *shape) {
				s.running("o", event("GenericEvent", 0, prop("Name", "A"), prop("Reason", "Rewound: TaskScheduled")))
			},
			[]string{"rebuilt wake_up -1 " + control + ": >o"},
		},
		{
			"an episode that was cut off after an event",
			func(s *shape) {
				s.running("o", event("EventRaised", -1, prop("Name", "e")))
				rows := s.Tables[hub.History]
				rows[len(rows)-1].Set("IsCheckpointComplete", schema.Boolean(false))
			},
			[]string{"rebuilt start -1 " + control + ": >o Name=N"},
		},
		{
			"a generation that was cut off",
			func(s *shape) {
				s.row("o", "Running")
				s.history("o", []schema.Property{prop("Name", "N")}, event("EventRaised", -1, prop("Name", "e")))
				rows := s.Tables[hub.History]
				rows[len(rows)-1].Set("IsCheckpointComplete", schema.Boolean(false))
			},
			[]string{"rebuilt wake_up -1 " + control + ": >o"},
		},
		{
			"a generation that an old version ended",
			func(s *shape) {
				s.row("o", "ContinuedAsNew")
				s.history("o", started(), event("ContinueAsNew", 0, prop("OrchestrationStatus", "ContinuedAsNew"), prop("Result", "1")))
			},
			[]string{"unrecoverable start -1"},
		},
		{
			"a restart over an older history",
			func(s *shape) {
				s.running("o", activity)
				row := &s.Tables[hub.Instances][0]
				row.Set("RuntimeStatus", schema.String("Pending"))
				row.Set("ExecutionId", schema.String("new"))
				row.Set("CreatedTime", schema.DateTime(minute(5)))
			},
			[]string{"rebuilt start -1 " + control + ": >o Name=N"},
		},
		{
			"a row that was not written after its orchestrator continued as new",
			func(s *shape) {
				s.running("o", activity)
				row := &s.Tables[hub.Instances][0]
				row.Set("RuntimeStatus", schema.String("Pending"))
				row.Set("ExecutionId", schema.String("old"))
			},
			[]string{"redriven activity 0 edit o/2", "redriven wake_up -1 " + control + ": >o"},
		},
		{
			"a row that was not written after a result",
			func(s *shape) {
				s.running("o", append(slices.Clone(activity), prop("Input", "[1]")), event("TaskFailed", -1, number("TaskScheduledId", 0), prop("Reason", "why")))
				s.Tables[hub.Instances][0].Set("LastUpdatedTime", schema.DateTime(minute(0)))
				s.Tables[hub.History][1].Set("Generation", schema.Value{})
			},
			[]string{"rebuilt activity_result 0 " + control + ": o>o Reason=why TaskScheduledId=0"},
		},
		{
			"a delayed signal that is due, to an entity that has not run since",
			func(s *shape) {
				s.entity("@e@a", "{}")
				s.running("o", signalSent)
			},
			[]string{"rebuilt entity_signal 0 " + control + ": o>@e@a Name=op@2026-11-22T04:05:00.0000000Z Input=" + signal[:60]},
		},
		{
			"a delayed signal that is due, to an entity that has run since",
			func(s *shape) {
				s.entity("@e@a", "{}")
				s.Tables[hub.History][2].Set("_Timestamp", schema.DateTime(minute(5)))
				s.running("o", signalSent)
			},
			nil,
		},
		{
			"a call that did not arrive",
			func(s *shape) { s.running("o", callSent("r1")) },
			[]string{"rebuilt entity_request 0 " + control + `: o>@e@a Name=op Input={"op":"Add","id":"r1","parent":"o","parentExecution":"x-o","`},
		},
		{
			"a call that waits inside of the entity",
			func(s *shape) {
				s.entity("@e@a", `{"exists":true,"queue":[`+request("r1", "")+`],"lockedBy":"z","sorter":{}}`)
				s.running("o", callSent("r1"))
			},
			nil,
		},
		{
			"a call that the entity has answered",
			func(s *shape) {
				s.entity("@e@a", `{"exists":true,"sorter":{"ReceivedFromInstance":{"o":{"Last":"`+requestTime+`","ExecutionId":"x-o"}}}}`)
				s.running("o", callSent("r1"))
			},
			[]string{"unrecoverable entity_request 0"},
		},
		{
			"a call of which the entity no longer knows",
			func(s *shape) {
				s.entity("@e@a", `{"exists":true,"sorter":{"ReceiveHorizon":"2026-11-22T05:00:00Z"}}`)
				s.running("o", callSent("r1"))
			},
			[]string{"unrecoverable entity_request 0"},
		},
		{
			"a lock that the second entity has not got",
			func(s *shape) {
				s.entity("@e@a", `{"exists":true,"lockedBy":"o","sorter":{}}`)
				s.running("o", lockSent("r1"))
			},
			[]string{"rebuilt entity_request 0 " + control + `: o>@e@b Name=op Input={"op":null,"id":"r1","parent":"o","parentExecution":"x-o","T`},
		},
		{
			"a lock that is granted",
			func(s *shape) {
				s.entity("@e@a", `{"exists":true,"lockedBy":"o","sorter":{}}`)
				s.entity("@e@b", `{"exists":true,"lockedBy":"o","sorter":{}}`)
				s.running("o", lockSent("r1"))
			},
			[]string{"rebuilt entity_answer 0 " + control + `: @e@b>o Name=r1 Input={"result":"Lock Acquisition Completed"}`},
		},
		{
			"a release that did not arrive",
			func(s *shape) {
				s.entity("@e@a", `{"exists":true,"lockedBy":"o","sorter":{}}`)
				s.row("o", "Completed")
				release := event("EventSent", 1, prop("InstanceId", "@e@a"), prop("Name", "release"), prop("Input", `{"parent":"o","id":"r1"}`))
				s.history("o", started(), lockSent("r1"), event("EventRaised", -1, prop("Name", "r1")), release, ended("Completed", "1"))
			},
			[]string{"rebuilt entity_release 1 " + control + `: o>@e@a Name=release Input={"parent":"o","id":"r1"}`},
		},
		{
			"a lock that is held",
			func(s *shape) {
				s.entity("@e@a", `{"exists":true,"lockedBy":"o","sorter":{}}`)
				s.running("o", lockSent("r1"), event("EventRaised", -1, prop("Name", "r1")))
			},
			nil,
		},
		{
			"an entity that has paused",
			func(s *shape) { s.entity("@e@a", `{"exists":true,"suspended":true,"sorter":{}}`) },
			[]string{"rebuilt entity_continue -1 " + control + ": @e@a>@e@a Name=continue"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newShape()
			tt.make(s)
			s.Sort()
			opts := migrate.PendingOptions{Now: func() time.Time { return minute(10).Time() }}
			var got []string
			for _, i := range items(t, migrate.Pending(t.Context(), testhub.NewMemory(s.Content), opts)) {
				got = append(got, say(t, &i))
				if large := len(jsonOf0(&i)) > 46_080; large != (i.BlobText != "") || large && !strings.Contains(i.Text, `"CompressedBlobName":"`+i.Blob) {
					t.Errorf("text %q for blob %q of %d bytes", i.Text, i.Blob, len(i.BlobText))
				}
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("items (-want +got):\n%s", diff)
			}
		})
	}
}

func jsonOf0(i *migrate.Item) string {
	if i.Message == nil {
		return ""
	}
	return jsonOf(i)
}

// The position of a lock request that is passed on is where the set goes on, and
// the entity does not put it into order.
func TestPendingForwardedLock(t *testing.T) {
	s := newShape()
	s.entity("@e@a", `{"exists":true,"lockedBy":"o","sorter":{}}`)
	s.running("o", lockSent("r1"))
	s.Sort()
	all := items(t, migrate.Pending(t.Context(), testhub.NewMemory(s.Content), migrate.PendingOptions{Now: func() time.Time { return minute(10).Time() }}))
	raised, ok := all[0].Message.TaskMessage.Event.(*schema.EventRaised)
	if !ok {
		t.Fatalf("event is %T", all[0].Message.TaskMessage.Event)
	}
	got := raised.Input.Value
	want := `{"op":null,"id":"r1","parent":"o","parentExecution":"x-o","Timestamp":"0001-01-01T00:00:00","Predecessor":"0001-01-01T00:00:00"` + lockAB + `,"pos":1}`
	if got != want {
		t.Errorf("request is\n%s, want\n%s", got, want)
	}
}

func TestPendingErrors(t *testing.T) {
	s := newShape()
	for name, opts := range map[string]migrate.PendingOptions{
		"no clock":        {},
		"17 partitions":   {Partitions: 17, Now: time.Now},
		"minus partition": {Partitions: -1, Now: time.Now},
	} {
		n := 0
		for i, err := range migrate.Pending(t.Context(), testhub.NewMemory(s.Content), opts) {
			if n++; err == nil || i.Kind != "" {
				t.Errorf("%s: item %v and error %v", name, i, err)
			}
		}
		if n != 1 {
			t.Errorf("%s: %d elements, want one error", name, n)
		}
	}
	// The caller may stop at any item.
	r := testhub.OpenHub(t, "dtfx-2.9.1-crashed")
	for stop := range 110 {
		n := 0
		for _, err := range migrate.Pending(t.Context(), r, migrate.PendingOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n > stop {
				break
			}
		}
	}
}
