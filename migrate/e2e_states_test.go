package migrate_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

// An instance whose last checkpoint was cut off between its history and its row is
// repaired by the message that the checkpoint was about. If nobody can see that one
// and it cannot be sent again, another one does the same.
func TestPendingEndedUnfinished(t *testing.T) {
	const control = "shape-control-00"
	ended := event("ExecutionCompleted", 0, prop("OrchestrationStatus", "Completed"), prop("Result", "1"))
	raised := event("EventRaised", -1, prop("Name", "go"))
	child := event("SubOrchestrationInstanceCreated", 0, prop("Name", "C"), prop("Version", ""), prop("InstanceId", "c"))
	// old makes the row older than the history.
	old := func(s *shape) {
		rows := s.Tables[hub.Instances]
		rows[len(rows)-1].Set("LastUpdatedTime", schema.DateTime(minute(0)))
	}
	for _, tt := range []struct {
		name   string
		hidden int64
		make   func(s *shape)
		want   []string
	}{
		{"by an event", 1, func(s *shape) {
			s.row("o", "Running")
			old(s)
			s.history("o", started(), event("OrchestratorCompleted", -1), event("OrchestratorStarted", -1), raised, ended)
		}, []string{"rebuilt wake_up -1 " + control + ": >o"}},
		{"by an event, and no message is left", 0, func(s *shape) {
			s.row("o", "Running")
			old(s)
			s.history("o", started(), event("OrchestratorCompleted", -1), event("OrchestratorStarted", -1), raised, ended)
		}, nil},
		{"by a result, in an episode of its own", 1, func(s *shape) {
			s.row("o", "Running")
			old(s)
			s.history("o", started(), event("TaskScheduled", 1), event("OrchestratorCompleted", -1), event("OrchestratorStarted", -1),
				event("TaskCompleted", -1, number("TaskScheduledId", 1)), ended)
		}, []string{"rebuilt activity_result 1 " + control + ": o>o TaskScheduledId=1"}},
		{"the row says so already", 1, func(s *shape) {
			s.row("o", "Completed")
			old(s)
			s.history("o", started(), event("OrchestratorCompleted", -1), event("OrchestratorStarted", -1), raised, ended)
		}, []string{"unrecoverable hidden -1"}},
		{"the row is of another execution", 1, func(s *shape) {
			s.row("o", "Running")
			old(s)
			rows := s.Tables[hub.Instances]
			rows[0].Set("ExecutionId", schema.String("another"))
			s.history("o", started(), event("OrchestratorCompleted", -1), event("OrchestratorStarted", -1), raised, ended)
		}, []string{"unrecoverable hidden -1"}},
		{"a child without a row, for which its parent waits", 1, func(s *shape) {
			s.running("o", child)
			s.history("c", started(childOf("o", 0)), ended)
		}, []string{
			"rebuilt sub_orchestration_start 0 " + control + ": o>c Name=N",
			"rebuilt sub_orchestration_answer 0 " + control + ": c>o Result=1 TaskScheduledId=0",
		}},
		{"a child without a row, of which its parent knows the end", 1, func(s *shape) {
			s.running("o", child, event("OrchestratorCompleted", -1), event("OrchestratorStarted", -1),
				event("SubOrchestrationInstanceCompleted", -1, number("TaskScheduledId", 0)))
			s.history("c", started(childOf("o", 0)), ended)
		}, []string{"unrecoverable hidden -1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newShape()
			tt.make(s)
			s.Queues[0].ApproximateCount = tt.hidden
			s.Sort()
			opts := migrate.PendingOptions{Now: func() time.Time { return minute(10).Time() }}
			var got []string
			for _, i := range items(t, migrate.Pending(t.Context(), testhub.NewMemory(s.Content), opts)) {
				got = append(got, say(t, &i))
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("items (-want +got):\n%s", diff)
			}
		})
	}
}
