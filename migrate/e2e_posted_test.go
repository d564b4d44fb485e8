package migrate_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

// A signal or an event whose message nobody can see is sent again if the receiver
// tells that it did not arrive, and only then.
func TestPendingPosted(t *testing.T) {
	const control = "shape-control-00"
	ordered := strings.Replace(request("s1", ""), `"op":null`, `"op":"Add","signal":true`, 1)
	signalTo := func(input string) []schema.Property {
		return event("EventSent", 0, prop("InstanceId", "@e@a"), prop("Name", "op"), prop("Input", input))
	}
	eventTo := func(id int32, name string) []schema.Property {
		return event("EventSent", id, prop("InstanceId", "t"), prop("Name", name), prop("Input", `"x"`))
	}
	raised := func(name string) []schema.Property {
		return event("EventRaised", -1, prop("Name", name), prop("Input", `"x"`))
	}
	signal := "rebuilt entity_request 0 " + control + ": o>@e@a Name=op Input=" + ordered[:60]
	unknown := "unrecoverable hidden -1"
	for _, tt := range []struct {
		name   string
		hidden int64
		make   func(s *shape)
		want   []string
	}{
		{"a signal to an entity that does not exist", 1, func(s *shape) { s.running("o", signalTo(ordered)) }, []string{signal}},
		{"a signal that an entity does not have", 1, func(s *shape) {
			s.entity("@e@a", `{"exists":true,"sorter":{"ReceivedFromInstance":{"o":{"Last":"2026-11-22T04:00:59Z","ExecutionId":"x-o"}},"ReceiveHorizon":"2026-11-22T03:30:00Z"}}`)
			s.running("o", signalTo(ordered))
		}, []string{signal}},
		{"of an orchestration that has ended", 1, func(s *shape) {
			s.row("o", "Completed")
			s.history("o", started(), signalTo(ordered), event("ExecutionCompleted", 1, prop("OrchestrationStatus", "Completed")))
		}, []string{signal}},
		{"no message is hidden", 0, func(s *shape) { s.running("o", signalTo(ordered)) }, nil},
		{"a signal that the entity has taken in", 1, func(s *shape) {
			s.entity("@e@a", `{"exists":true,"sorter":{"ReceivedFromInstance":{"o":{"Last":"2026-11-22T04:01:00Z","ExecutionId":"x-o"}},"ReceiveHorizon":"2026-11-22T03:30:00Z"}}`)
			s.running("o", signalTo(ordered))
		}, []string{unknown}},
		{"a signal that waits in a locked entity", 1, func(s *shape) {
			s.entity("@e@a", `{"exists":true,"queue":[`+ordered+`],"lockedBy":"p","sorter":{}}`)
			s.running("p", event("EventSent", 0, prop("InstanceId", "@e@a"), prop("Name", "op"), prop("Input", request("l1", `,"lockset":[{"name":"e","key":"a"}]`))),
				event("OrchestratorCompleted", -1), event("OrchestratorStarted", -1), raised("l1"))
			s.running("o", signalTo(ordered))
		}, []string{unknown}},
		{"a signal that the entity has forgotten", 1, func(s *shape) {
			s.entity("@e@a", `{"exists":true,"sorter":{"ReceiveHorizon":"2026-11-22T04:01:30Z"}}`)
			s.running("o", signalTo(ordered))
		}, []string{unknown}},
		{"a signal that is not put into order", 1, func(s *shape) {
			s.running("o", signalTo(strings.Replace(ordered, requestTime, "0001-01-01T00:00:00", 1)))
		}, []string{unknown}},
		{"a signal of long ago", 1, func(s *shape) {
			s.running("o", signalTo(ordered))
			s.entity("@e@z", `{"sorter":{}}`)
			rows := s.Tables[hub.History]
			for i := range rows {
				if rows[i].PartitionKey == "@e@z" && !rows[i].IsSentinel() {
					rows[i].Set("_Timestamp", schema.DateTime(minute(17)))
				}
			}
		}, []string{unknown}},
		{"an event that has not arrived", 1, func(s *shape) {
			s.running("o", eventTo(0, "go"))
			s.running("t")
		}, []string{"rebuilt event 0 " + control + `: o>t Name=go Input="x"`}},
		{"an event that has arrived", 1, func(s *shape) {
			s.running("o", eventTo(0, "go"))
			s.running("t", raised("go"))
		}, []string{unknown}},
		{"two events, of which one has arrived", 2, func(s *shape) {
			s.running("o", eventTo(0, "go"), eventTo(1, "go"))
			s.running("t", raised("go"))
		}, []string{"rebuilt event 1 " + control + `: o>t Name=go Input="x"`, unknown}},
		{"an event for one that has ended", 1, func(s *shape) {
			s.running("o", eventTo(0, "go"))
			s.row("t", "Completed")
			s.history("t", started(), event("ExecutionCompleted", 0, prop("OrchestrationStatus", "Completed")))
		}, []string{unknown}},
		{"an event for one that does not exist", 1, func(s *shape) { s.running("o", eventTo(0, "go")) }, []string{unknown}},
		{"an event for one that has begun anew since", 1, func(s *shape) {
			s.running("o", eventTo(0, "go"))
			s.running("t")
			rows := s.Tables[hub.History]
			for i := range rows {
				if rows[i].PartitionKey == "t" && !rows[i].IsSentinel() {
					rows[i].Set("_Timestamp", schema.DateTime(minute(2)))
				}
			}
		}, []string{unknown}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newShape()
			tt.make(s)
			s.Queues[0].ApproximateCount = tt.hidden
			s.Sort()
			opts := migrate.PendingOptions{Now: func() time.Time { return minute(18).Time() }}
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
