package manage_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// rowDiff lists what differs between two states of a hub, without the times of rows.
func rowDiff(before, after hubtest.Content) []string {
	return testhub.RowDiff(before, after, "LastUpdatedTime")
}

// TestRewindRecorded rewinds instances of recorded hubs whose rewind was not
// recorded. What must change is written by hand from the framework's source.
func TestRewindRecorded(t *testing.T) {
	for _, tt := range []struct {
		hub, id string
		want    []string
		woken   []string
	}{
		{"dtfx-2.9.1", "rewindable-parent", []string{
			"rewindable-parent/ RuntimeStatus: Failed -> Pending",
			"rewindable-parent/0000000000000006 Reason: absent -> Rewound: SubOrchestrationInstanceCreated",
			"rewindable-parent/0000000000000009 EventType: SubOrchestrationInstanceFailed -> GenericEvent",
			"rewindable-parent/0000000000000009 Reason: gate closed for rewindable-parent -> Rewound: SubOrchestrationInstanceFailed",
			"rewindable-parent/000000000000000A EventType: ExecutionCompleted -> GenericEvent",
			"rewindable-parent/000000000000000A Reason: absent -> Rewound: ExecutionCompleted",
			"rewindable-parent:leaf/ RuntimeStatus: Failed -> Pending",
			"rewindable-parent:leaf/0000000000000006 EventType: TaskScheduled -> GenericEvent",
			"rewindable-parent:leaf/0000000000000006 Reason: absent -> Rewound: TaskScheduled",
			"rewindable-parent:leaf/0000000000000009 EventType: TaskFailed -> GenericEvent",
			"rewindable-parent:leaf/0000000000000009 Reason: gate closed for rewindable-parent -> Rewound: TaskFailed",
			"rewindable-parent:leaf/000000000000000A EventType: ExecutionCompleted -> GenericEvent",
			"rewindable-parent:leaf/000000000000000A Reason: absent -> Rewound: ExecutionCompleted",
		}, []string{"rewindable-parent:leaf"}},
		{"dtfx-1.17.5", "fail-orchestrator", []string{
			"fail-orchestrator/ RuntimeStatus: Failed -> Pending",
			"fail-orchestrator/0000000000000006 EventType: ExecutionCompleted -> GenericEvent",
			"fail-orchestrator/0000000000000006 Reason: absent -> Rewound: ExecutionCompleted",
		}, []string{"fail-orchestrator"}},
		// It was rewound before and has failed again: its old rows stay.
		{"functions-3", "failing-2", []string{
			"failing-2/ RuntimeStatus: Failed -> Pending",
			"failing-2/000000000000000E EventType: TaskScheduled -> GenericEvent",
			"failing-2/000000000000000E Reason: absent -> Rewound: TaskScheduled",
			"failing-2/0000000000000011 EventType: TaskFailed -> GenericEvent",
			"failing-2/0000000000000011 Reason: Activity function 'AlwaysFails' failed: kaboom why -> Rewound: TaskFailed",
			"failing-2/0000000000000012 EventType: ExecutionCompleted -> GenericEvent",
			"failing-2/0000000000000012 Reason: absent -> Rewound: ExecutionCompleted",
		}, []string{"failing-2"}},
	} {
		t.Run(tt.id, func(t *testing.T) {
			before := recordedHub(t, tt.hub)
			e := testhub.NewEditor(recordedHub(t, tt.hub))
			p, sent, err := control(t, e, manage.ControlOptions{}).Rewind(t.Context(), tt.id, manage.RewindOptions{Reason: schema.Some("why")})
			if err != nil || len(p.Problems) > 0 {
				t.Fatalf("%v, problems %v", err, p.Problems)
			}
			if d := cmp.Diff(tt.want, rowDiff(before, e.Content())); d != "" {
				t.Errorf("rows (-want +got):\n%s", d)
			}
			var woken []string
			for _, m := range e.Posted() {
				text, _, err := schema.MessageText(m.Text)
				if err != nil {
					t.Fatal(err)
				}
				decoded, err := schema.DecodeMessage(text, "posted")
				if err != nil {
					t.Fatal(err)
				}
				id, _ := decoded.Target()
				if g, ok := decoded.TaskMessage.Event.(*schema.GenericEvent); !ok || g.Data.Value != "why" {
					t.Errorf("message %s", text)
				}
				woken = append(woken, id)
			}
			if d := cmp.Diff(tt.woken, woken); d != "" || len(sent) != len(woken) {
				t.Errorf("woken (-want +got):\n%s", d)
			}
		})
	}
}

// TestRewindInterrupted ends a rewind before each of its changes and runs it
// again: the end is that of one that was not interrupted.
func TestRewindInterrupted(t *testing.T) {
	whole := testhub.NewEditor(recordedHub(t, "dtfx-2.9.1"))
	if _, _, err := control(t, whole, manage.ControlOptions{}).Rewind(t.Context(), "rewindable-parent", manage.RewindOptions{}); err != nil {
		t.Fatal(err)
	}
	steps := whole.Edits()
	if len(steps) != 9 {
		t.Fatalf("%d changes, want 6 history rows, 2 instances and a message: %q", len(steps), steps)
	}
	broken := errors.New("the connection is gone")
	for stop := range steps {
		e := testhub.NewEditor(recordedHub(t, "dtfx-2.9.1"))
		n := 0
		e.Before = func(string, string) error {
			if n++; n > stop {
				return broken
			}
			return nil
		}
		c := control(t, e, manage.ControlOptions{})
		if _, _, err := c.Rewind(t.Context(), "rewindable-parent", manage.RewindOptions{}); !errors.Is(err, broken) {
			t.Fatalf("stopped before change %d: %v", stop, err)
		}
		e.Before = nil
		last := stop == len(steps)-1
		_, _, err := c.Rewind(t.Context(), "rewindable-parent", manage.RewindOptions{})
		if last {
			// All that is missing is the message: to the API this is an instance
			// that has not failed.
			if !errors.Is(err, manage.ErrNotFailed) {
				t.Errorf("again without Resume: %v", err)
			}
			_, _, err = c.Rewind(t.Context(), "rewindable-parent", manage.RewindOptions{Resume: true})
		}
		if err != nil {
			t.Errorf("again after a stop before %q: %v", steps[stop], err)
			continue
		}
		if d := rowDiff(whole.Content(), e.Content()); len(d) > 0 {
			t.Errorf("after a stop before %q and a second run: %q", steps[stop], d)
		}
		posted := e.Posted()
		if len(posted) != 1 || posted[0].Queue != whole.Posted()[0].Queue {
			t.Errorf("after a stop before %q: messages %+v", steps[stop], posted)
		}
	}
}

// event is a history row of the execution e1.
func event(id string, seq int, typeName string, props ...schema.Property) schema.Row {
	r := schema.Row{PartitionKey: schema.EscapeKey(id), RowKey: schema.FormatSequence(int64(seq))}
	r.Properties = append([]schema.Property{
		{Name: "EventType", Value: schema.String(typeName)},
		{Name: "EventId", Value: schema.Int32(-1)},
		{Name: "IsPlayed", Value: schema.Boolean(false)},
		{Name: "_Timestamp", Value: schema.DateTime(t0)},
		{Name: "ExecutionId", Value: schema.String("e1")},
	}, props...)
	if n := len(props); n > 0 && props[0].Name == "EventId" {
		r.Properties = slices.Delete(r.Properties, 1, 2)
	}
	return r
}

func eventID(n int32) schema.Property {
	return schema.Property{Name: "EventId", Value: schema.Int32(n)}
}

func taskID(n int32) schema.Property {
	return schema.Property{Name: "TaskScheduledId", Value: schema.Int32(n)}
}

func text(name, value string) schema.Property {
	return schema.Property{Name: name, Value: schema.String(value)}
}

// history adds the history of an instance: short names of events, as
// "started scheduled:0 / failed:0 end", where / begins another episode.
func history(c *hubtest.Content, id, events string) {
	var rows []schema.Row
	put := func(typeName string, props ...schema.Property) {
		rows = append(rows, event(id, len(rows), typeName, props...))
	}
	for _, episode := range strings.Split(events, "/") {
		put("OrchestratorStarted")
		for _, short := range strings.Fields(episode) {
			name, argument, _ := strings.Cut(short, ":")
			n := int32(0)
			child := ""
			if argument != "" {
				if _, err := fmt.Sscanf(argument, "%d:%s", &n, &child); err != nil && child == "" && !strings.HasPrefix(err.Error(), "unexpected EOF") {
					panic(err)
				}
			}
			switch name {
			case "started":
				props := []schema.Property{text("Name", "F")}
				if argument != "" {
					props = append(props, text("ParentInstance", `{"Name":"F","OrchestrationInstance":{"InstanceId":"x","ExecutionId":"e1"},"TaskScheduleId":0,"Version":""}`))
				}
				put("ExecutionStarted", props...)
			case "scheduled":
				put("TaskScheduled", eventID(n), text("Name", "A"))
			case "completed":
				put("TaskCompleted", taskID(n))
			case "failed":
				put("TaskFailed", taskID(n), text("Reason", "boom"))
			case "child":
				put("SubOrchestrationInstanceCreated", eventID(n), text("InstanceId", child))
			case "childfailed":
				put("SubOrchestrationInstanceFailed", taskID(n), text("Reason", "boom"))
			case "timer":
				put("TimerCreated", eventID(n), schema.Property{Name: "FireAt", Value: schema.DateTime(t0)})
			case "fired":
				put("TimerFired", schema.Property{Name: "TimerId", Value: schema.Int32(n)})
			case "raised":
				put("EventRaised", text("Name", "E"))
			case "end":
				put("ExecutionCompleted", eventID(n), text("OrchestrationStatus", "Failed"))
			case "done":
				put("ExecutionCompleted", eventID(n), text("OrchestrationStatus", "Completed"))
			default:
				panic(name)
			}
		}
		put("OrchestratorCompleted")
	}
	rows = append(rows, schema.Row{PartitionKey: schema.EscapeKey(id), RowKey: schema.SentinelRowKey, Properties: []schema.Property{
		text("ExecutionId", "e1"), {Name: "IsCheckpointComplete", Value: schema.Boolean(true)},
	}})
	c.Tables[hub.History] = append(c.Tables[hub.History], rows...)
}

// TestRewindShapes says which histories are refused, and why.
func TestRewindShapes(t *testing.T) {
	for _, tt := range []struct {
		name, events string
		more         func(c *hubtest.Content) // what else there is
		problems     []string                 // LEVEL CODE
		woken        int                      // messages with Force, if that is allowed
	}{
		{"one activity", "started scheduled:0 / failed:0 end:1", nil, nil, 1},
		{"two of three in one go", "started scheduled:0 scheduled:1 scheduled:2 / completed:1 / failed:0 / failed:2 end:3", nil, nil, 1},
		{"the code itself", "started end:0", nil, nil, 1},
		{"a timer before", "started timer:0 / fired:0 scheduled:1 / failed:1 end:2", nil, nil, 1},
		{"a handler whose activity fails, too", "started scheduled:0 / failed:0 scheduled:1 / failed:1 end:2", nil, nil, 1},
		{"a retry", "started scheduled:0 / failed:0 timer:1 / fired:1 scheduled:2 / failed:2 end:3", nil, []string{"breaks after-failure"}, 1},
		{"a handler", "started scheduled:0 / failed:0 scheduled:1 / completed:1 scheduled:2 / failed:2 end:3", nil, []string{"breaks after-failure"}, 1},
		{"something else meanwhile", "started scheduled:0 scheduled:1 / failed:0 completed:1 scheduled:2 / completed:2 end:3", nil, []string{"doubtful maybe-after-failure"}, 1},
		{"an activity still runs", "started scheduled:0 scheduled:1 / failed:0 end:2", nil, []string{"breaks open-task"}, 1},
		{"a sub-orchestration still runs", "started scheduled:0 child:1:y / failed:0 end:2", nil, []string{"breaks open-task"}, 1},
		{"a timer that was due", "started scheduled:0 timer:1 / failed:0 end:2", nil, []string{"doubtful open-timer"}, 1},
		{"a failure of nothing", "started / failed:7 end:0", nil, []string{"impossible no-schedule"}, 0},
		{"no failure", "started scheduled:0 / completed:0 done:1", nil, []string{"impossible not-failed"}, 0},
		{"no history", "", nil, []string{"impossible no-history"}, 0},
		{"started anew", "started end:0", func(c *hubtest.Content) {
			c.Tables[hub.Instances][0].Set("ExecutionId", schema.String("e2"))
		}, []string{"impossible other-execution"}, 0},
		{"a checkpoint that is not complete", "started end:0", func(c *hubtest.Content) {
			rows := c.Tables[hub.History]
			rows[len(rows)-1].Set("IsCheckpointComplete", schema.Boolean(false))
		}, []string{"impossible torn"}, 0},
		{"rows of an earlier execution", "started scheduled:0 / failed:0 end:1", func(c *hubtest.Content) {
			// The framework takes these for the current ones: they come last.
			for i, name := range []string{"OrchestratorStarted", "TaskScheduled", "TaskFailed", "ExecutionCompleted"} {
				r := event("x", 20+i, name, eventID(0), taskID(0), text("OrchestrationStatus", "Failed"))
				r.Set("ExecutionId", schema.String("e0"))
				c.Tables[hub.History] = append(c.Tables[hub.History], r)
			}
		}, nil, 1},
		{"a failed sub-orchestration", "started child:0:y / childfailed:0 end:1", func(c *hubtest.Content) {
			add(c, "y", "Failed")
			history(c, "y", "started:1 scheduled:0 / failed:0 end:1")
		}, nil, 1},
		{"two failed sub-orchestrations", "started child:0:y child:1:z / childfailed:1 / childfailed:0 end:2", func(c *hubtest.Content) {
			add(c, "y", "Failed")
			add(c, "z", "Failed")
			history(c, "y", "started:1 scheduled:0 / failed:0 end:1")
			history(c, "z", "started:1 end:0")
		}, nil, 2},
		{"a sub-orchestration that was purged", "started child:0:y / childfailed:0 end:1", nil, []string{"impossible child-gone"}, 0},
		{"a sub-orchestration that was terminated", "started child:0:y / childfailed:0 end:1", func(c *hubtest.Content) {
			add(c, "y", "Terminated")
		}, []string{"breaks child-ended"}, 1},
		{"a sub-orchestration that was rewound alone", "started child:0:y / childfailed:0 end:1", func(c *hubtest.Content) {
			add(c, "y", "Running")
		}, []string{"breaks child-running"}, 1},
		{"an instance of the same name", "started child:0:y / childfailed:0 end:1", func(c *hubtest.Content) {
			add(c, "y", "Failed")
			history(c, "y", "started end:0")
		}, []string{"breaks other-parent"}, 1},
		{"a circle", "started child:0:x / childfailed:0 end:1", nil, []string{"impossible circle"}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			content := small(2)
			add(&content, "x", "Failed")
			if tt.events != "" {
				history(&content, "x", tt.events)
			}
			if tt.more != nil {
				tt.more(&content)
			}
			e := testhub.NewEditor(content)
			before := e.Content()
			c := control(t, e, manage.ControlOptions{})
			p, err := c.PlanRewind(t.Context(), "x", manage.RewindOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var problems []string
			for _, problem := range p.Problems {
				problems = append(problems, string(problem.Level)+" "+problem.Code)
			}
			if d := cmp.Diff(tt.problems, problems); d != "" {
				t.Errorf("problems (-want +got):\n%s", d)
			}
			refused := slices.ContainsFunc(tt.problems, func(s string) bool { return !strings.HasPrefix(s, "doubtful") })
			if refused {
				var why *manage.RewindError
				_, _, err := c.Rewind(t.Context(), "x", manage.RewindOptions{})
				_, code, _ := strings.Cut(tt.problems[0], " ")
				if !errors.As(err, &why) || !strings.Contains(err.Error(), code) {
					t.Errorf("error %v, want a *RewindError", err)
				}
				unchanged(t, "a rewind that was refused", before, e.Content())
			}
			_, _, err = c.Rewind(t.Context(), "x", manage.RewindOptions{Force: true})
			if impossible := tt.woken == 0; impossible != (err != nil) {
				t.Errorf("by force: %v", err)
			}
			if n := len(e.Posted()); n != tt.woken {
				t.Errorf("%d messages, want %d", n, tt.woken)
			}
			for _, line := range rowDiff(before, e.Content()) {
				if strings.Contains(line, "x/000000000000001") {
					t.Errorf("a row of another execution has changed: %s", line)
				}
			}
		})
	}
}

// TestRewindRaces lets somebody else change a row at each moment of a rewind: it
// gives up, and that row stays as it is.
func TestRewindRaces(t *testing.T) {
	fresh := func() *testhub.Editor {
		content := small(1)
		add(&content, "x", "Failed")
		history(&content, "x", "started scheduled:0 / failed:0 end:1")
		return testhub.NewEditor(content)
	}
	whole := fresh()
	p, _, err := control(t, whole, manage.ControlOptions{}).Rewind(t.Context(), "x", manage.RewindOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range p.Changes {
		victim := &p.Changes[i]
		for moment := range i + 1 {
			e := fresh()
			n := 0
			e.Before = func(string, string) error {
				if n++; n != moment+1 {
					return nil
				}
				for row, err := range e.Rows(t.Context(), victim.Table, hub.Keys{From: "x", To: "x\x00", RowKey: victim.Before.RowKey}) {
					if err != nil {
						return err
					}
					row.Properties = []schema.Property{text("Name", "somebody else's")}
					before := e.Before
					e.Before = nil
					_, err = e.MergeRow(t.Context(), victim.Table, row)
					e.Before = before
					return err
				}
				return errors.New("no row")
			}
			_, _, err := control(t, e, manage.ControlOptions{}).Rewind(t.Context(), "x", manage.RewindOptions{})
			if !errors.Is(err, hub.ErrConflict) {
				t.Errorf("row %d changed before change %d: error %v, want ErrConflict", i, moment, err)
			}
			if len(e.Posted()) > 0 {
				t.Errorf("row %d changed before change %d: a message all the same", i, moment)
			}
		}
	}

	// Of many at the same time, one finishes; the others change nothing after it.
	e := fresh()
	done := make(chan error)
	const racers = 6
	for range racers {
		c := control(t, e, manage.ControlOptions{})
		go func() {
			_, _, err := c.Rewind(t.Context(), "x", manage.RewindOptions{})
			done <- err
		}()
	}
	won := 0
	for range racers {
		switch err := <-done; {
		case err == nil:
			won++
		case !errors.Is(err, hub.ErrConflict) && !errors.Is(err, manage.ErrNotFailed):
			t.Error(err)
		}
	}
	if won != 1 || len(e.Posted()) != 1 {
		t.Errorf("%d have won, %d messages", won, len(e.Posted()))
	}
	if d := rowDiff(whole.Content(), e.Content()); len(d) > 0 {
		t.Errorf("rows differ from those of one rewind: %q", d)
	}
}
