package schema_test

import (
	"testing"

	"github.com/taskhub-tools/taskhub/schema"
)

func TestEventTypes(t *testing.T) {
	// The numbers are those of messages and never change.
	names := []string{
		"ExecutionStarted", "ExecutionCompleted", "ExecutionFailed", "ExecutionTerminated", "TaskScheduled", "TaskCompleted",
		"TaskFailed", "SubOrchestrationInstanceCreated", "SubOrchestrationInstanceCompleted", "SubOrchestrationInstanceFailed",
		"TimerCreated", "TimerFired", "OrchestratorStarted", "OrchestratorCompleted", "EventSent", "EventRaised",
		"ContinueAsNew", "GenericEvent", "HistoryState", "ExecutionSuspended", "ExecutionResumed", "ExecutionRewound",
	}
	for i, name := range names {
		if got := schema.EventType(i).String(); got != name {
			t.Errorf("EventType(%d) = %s, want %s", i, got, name)
		}
		if got := schema.EventTypeNamed(name); got != schema.EventType(i) {
			t.Errorf("EventTypeNamed(%s) = %d, want %d", name, got, i)
		}
	}
	for _, name := range []string{"", "taskcompleted", "TaskCompletedEvent", "EventType(5)"} {
		if got := schema.EventTypeNamed(name); got != schema.TypeUnknown {
			t.Errorf("EventTypeNamed(%q) = %v, want TypeUnknown", name, got)
		}
	}
	for _, typ := range []schema.EventType{schema.TypeUnknown, schema.EventType(len(names))} {
		if got := schema.EventTypeNamed(typ.String()); got != schema.TypeUnknown {
			t.Errorf("the name %s of an unknown type is that of %v", typ, got)
		}
	}
}

func TestStatuses(t *testing.T) {
	names := []string{"Running", "Completed", "ContinuedAsNew", "Failed", "Canceled", "Terminated", "Pending", "Suspended"}
	terminal := map[string]bool{"Completed": true, "Failed": true, "Canceled": true, "Terminated": true}
	all := schema.Statuses()
	if len(all) != len(names) {
		t.Fatalf("Statuses() = %v, want %v", all, names)
	}
	for i, name := range names {
		s := schema.StatusNamed(name)
		if s != schema.Status(i) || s.String() != name || all[i] != s {
			t.Errorf("StatusNamed(%s) = %d %s, want %d", name, s, s, i)
		}
		if s.Terminal() != terminal[name] {
			t.Errorf("%s is terminal: %v", name, s.Terminal())
		}
	}
	for _, name := range []string{"", "running", "Unknown", "Done"} {
		if got := schema.StatusNamed(name); got != schema.StatusUnknown {
			t.Errorf("StatusNamed(%q) = %v, want StatusUnknown", name, got)
		}
	}
	if got := schema.StatusUnknown.String(); got != "Unknown" || schema.StatusUnknown.Terminal() {
		t.Errorf("StatusUnknown is %s, terminal %v", got, schema.StatusUnknown.Terminal())
	}
	if got := schema.Status(8).String(); got != "Unknown" {
		t.Errorf("Status(8) = %s, want Unknown", got)
	}
}

func TestTextIsNull(t *testing.T) {
	for _, tt := range []struct {
		name string
		text schema.Text
		want bool
	}{
		{"absent", schema.Text{}, true},
		{"the text null", schema.TextOf("null"), true},
		{"empty", schema.TextOf(""), false},
		{"value", schema.TextOf("x"), false},
		{"in a blob", schema.Text{Blob: "b"}, false},
		{"in a blob, as stored", schema.Text{Set: true, Blob: "b"}, false},
	} {
		if got := tt.text.IsNull(); got != tt.want {
			t.Errorf("%s: IsNull() = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestIsEntity(t *testing.T) {
	for id, want := range map[string]bool{"@counter@c": true, "@nokey": true, "@": true, "counter@c": false, "": false} {
		if got := schema.IsEntity(id); got != want {
			t.Errorf("IsEntity(%q) = %v, want %v", id, got, want)
		}
	}
}
