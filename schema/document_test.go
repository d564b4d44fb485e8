package schema_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/schema"
)

func TestParseParentInstance(t *testing.T) {
	want := schema.ParentInstance{Name: "Parent", TaskScheduleID: 3, Version: ""}
	want.OrchestrationInstance.InstanceID, want.OrchestrationInstance.ExecutionID = "p", "e"
	for name, text := range map[string]string{
		"row":     `{"Name":"Parent","OrchestrationInstance":{"InstanceId":"p","ExecutionId":"e"},"TaskScheduleId":3,"Version":""}`,
		"message": `{"$type":"DurableTask.Core.ParentInstance","Name":"Parent","OrchestrationInstance":{"$type":"DurableTask.Core.OrchestrationInstance","InstanceId":"p","ExecutionId":"e"},"TaskScheduleId":3,"Version":""}`,
	} {
		got, err := schema.ParseParentInstance(schema.TextOf(text))
		if err != nil || got == nil || *got != want {
			t.Errorf("%s: ParseParentInstance(%s) = %+v, %v, want %+v", name, text, got, err, want)
		}
	}
}

func TestParseFailureDetails(t *testing.T) {
	stack := "at A"
	want := &schema.FailureDetails{
		ErrorType: "System.Exception", ErrorMessage: "boom", StackTrace: &stack, IsNonRetriable: true,
		InnerFailure: &schema.FailureDetails{ErrorType: "Inner", ErrorMessage: "because"},
		Properties:   map[string]any{"code": 5.0},
	}
	const text = `{"ErrorType":"System.Exception","ErrorMessage":"boom","StackTrace":"at A","InnerFailure":{"ErrorType":"Inner","ErrorMessage":"because","StackTrace":null,"InnerFailure":null,"IsNonRetriable":false,"Properties":null},"IsNonRetriable":true,"Properties":{"code":5}}`
	got, err := schema.ParseFailureDetails(schema.TextOf(text))
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("ParseFailureDetails: %v (-want +got):\n%s", err, diff)
	}
	if s := got.String(); s != "System.Exception: boom" {
		t.Errorf("String() = %q", s)
	}
}

func TestParseTags(t *testing.T) {
	for name, text := range map[string]string{
		"row":     `{"a":"b"}`,
		"message": "{\"$type\":\"System.Collections.Generic.Dictionary`2[[System.String, System.Private.CoreLib],[System.String, System.Private.CoreLib]]\",\"a\":\"b\"}",
	} {
		got, err := schema.ParseTags(schema.TextOf(text))
		if diff := cmp.Diff(map[string]string{"a": "b"}, got); diff != "" || err != nil {
			t.Errorf("%s: ParseTags(%s): %v (-want +got):\n%s", name, text, err, diff)
		}
	}
}

// Absent, empty and the text null mean the same, and damage is an error.
func TestNoDocument(t *testing.T) {
	for name, text := range map[string]schema.Text{"absent": {}, "empty": schema.TextOf(""), "null": schema.TextOf("null")} {
		if got, err := schema.ParseParentInstance(text); got != nil || err != nil {
			t.Errorf("%s: ParseParentInstance = %v, %v", name, got, err)
		}
		if got, err := schema.ParseFailureDetails(text); got != nil || err != nil {
			t.Errorf("%s: ParseFailureDetails = %v, %v", name, got, err)
		}
		if got, err := schema.ParseTags(text); got != nil || err != nil {
			t.Errorf("%s: ParseTags = %v, %v", name, got, err)
		}
	}
	for _, text := range []string{`{`, `[]`, `{"Name":5,"ErrorType":5,"a":5}`} {
		if got, err := schema.ParseParentInstance(schema.TextOf(text)); got != nil || err == nil {
			t.Errorf("ParseParentInstance(%s) = %v, %v, want an error", text, got, err)
		}
		if got, err := schema.ParseFailureDetails(schema.TextOf(text)); got != nil || err == nil {
			t.Errorf("ParseFailureDetails(%s) = %v, %v, want an error", text, got, err)
		}
		if got, err := schema.ParseTags(schema.TextOf(text)); got != nil || err == nil {
			t.Errorf("ParseTags(%s) = %v, %v, want an error", text, got, err)
		}
	}
}

func TestAppendEventJSON(t *testing.T) {
	at := ticks(t, "2026-11-22T04:07:21.7Z")
	head := schema.EventHeader{EventID: 1, Timestamp: at}
	for _, tt := range []struct {
		name  string
		event schema.Event
		names bool
		want  string
	}{
		{"number", &schema.TaskCompleted{EventHeader: head, Result: schema.TextOf("5")}, false, `{"EventType":5,"TaskScheduledId":0,"Result":"5","EventId":1,"IsPlayed":false,"Timestamp":"2026-11-22T04:07:21.7Z"}`},
		{"name", &schema.TimerCreated{EventHeader: head, FireAt: at}, true, `{"EventType":"TimerCreated","FireAt":"2026-11-22T04:07:21.7Z","EventId":1,"IsPlayed":false,"Timestamp":"2026-11-22T04:07:21.7Z"}`},
		{"unknown", &schema.UnknownEvent{EventHeader: head, Name: "New"}, false, `{"EventType":"New","EventId":1,"IsPlayed":false,"Timestamp":"2026-11-22T04:07:21.7Z"}`},
		{"JSON column as the text null", &schema.EventRaised{EventHeader: head, ParentTraceContext: schema.TextOf("null")}, false, `{"EventType":15,"Name":null,"Input":null,"ParentTraceContext":null,"EventId":1,"IsPlayed":false,"Timestamp":"2026-11-22T04:07:21.7Z"}`},
		{"JSON column that is empty", &schema.EventRaised{EventHeader: head, ParentTraceContext: schema.TextOf("")}, false, `{"EventType":15,"Name":null,"Input":null,"ParentTraceContext":null,"EventId":1,"IsPlayed":false,"Timestamp":"2026-11-22T04:07:21.7Z"}`},
		{"JSON column that is damaged", &schema.EventRaised{EventHeader: head, ParentTraceContext: schema.TextOf(`{"`)}, false, `{"EventType":15,"Name":null,"Input":null,"ParentTraceContext":"{\"","EventId":1,"IsPlayed":false,"Timestamp":"2026-11-22T04:07:21.7Z"}`},
	} {
		if got := string(schema.AppendEventJSON(nil, tt.event, tt.names)); got != tt.want {
			t.Errorf("%s: AppendEventJSON = %s, want %s", tt.name, got, tt.want)
		}
	}
}
