package schema_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/schema"
)

// everyEvent returns one event of each type, with every member set.
func everyEvent() []schema.Event {
	head := schema.EventHeader{EventID: 3, IsPlayed: true, Timestamp: 639_000_000_000_000_001}
	str := schema.Some[string]
	text := schema.TextOf
	at := schema.Ticks(639_000_000_000_000_000)
	return []schema.Event{
		&schema.ExecutionStarted{
			EventHeader: head, OrchestrationInstance: text(`{"InstanceId":"i","ExecutionId":"e"}`), ParentInstance: text(`{"Name":"p"}`),
			Name: text("n"), Version: str("v"), Input: text("in"), Tags: text(`{"a":"b"}`), Correlation: text("c"), ParentTraceContext: text(`{"TraceParent":"00"}`),
			ScheduledStartTime: schema.Some(at), Generation: schema.Some(int32(2)), GenerateNewTrace: schema.Some(true),
		},
		&schema.ExecutionCompleted{EventHeader: head, OrchestrationStatus: schema.Some(schema.StatusFailed), Result: text("r"), FailureDetails: text(`{"ErrorType":"t"}`)},
		&schema.ContinueAsNew{EventHeader: head, OrchestrationStatus: schema.Some(schema.StatusContinuedAsNew), Result: text("r"), FailureDetails: text(`{}`)},
		&schema.ExecutionTerminated{EventHeader: head, Input: text("why")},
		&schema.ExecutionSuspended{EventHeader: head, Reason: text("why")},
		&schema.ExecutionResumed{EventHeader: head, Reason: text("why")},
		&schema.ExecutionRewound{EventHeader: head, Reason: text("why"), ParentExecutionID: str("pe"), InstanceID: str("i"), ParentTraceContext: text(`{}`)},
		&schema.TaskScheduled{EventHeader: head, Name: text("n"), Version: str(""), Input: text("[1]"), ParentTraceContext: text(`{}`), Tags: text(`{}`)},
		&schema.TaskCompleted{EventHeader: head, TaskScheduledID: 7, Result: text("r")},
		&schema.TaskFailed{EventHeader: head, TaskScheduledID: 7, Reason: text("r"), Details: text("d"), FailureDetails: text(`{}`)},
		&schema.SubOrchestrationCreated{EventHeader: head, Name: text("n"), Version: str(""), InstanceID: str("c"), Input: text("in"), ClientSpanID: str("s"), Tags: text(`{}`)},
		&schema.SubOrchestrationCompleted{EventHeader: head, TaskScheduledID: 7, Result: text("r")},
		&schema.SubOrchestrationFailed{EventHeader: head, TaskScheduledID: 7, Reason: text("r"), Details: text("d"), FailureDetails: text(`{}`)},
		&schema.TimerCreated{EventHeader: head, FireAt: at},
		&schema.TimerFired{EventHeader: head, TimerID: 5, FireAt: at},
		&schema.OrchestratorStarted{EventHeader: head},
		&schema.OrchestratorCompleted{EventHeader: head},
		&schema.EventSent{EventHeader: head, InstanceID: str("@e@k"), Name: text("op"), Input: text("{}")},
		&schema.EventRaised{EventHeader: head, Name: text("op"), Input: text("{}"), ParentTraceContext: text(`{}`)},
		&schema.GenericEvent{EventHeader: head, Data: str("d")},
		&schema.HistoryState{EventHeader: head, State: text(`{}`)},
	}
}

// eventOf returns e as the type that it must have.
func eventOf[E schema.Event](t testing.TB, e schema.Event) E {
	t.Helper()
	typed, ok := e.(E)
	if !ok {
		t.Fatalf("the event is a %T, want a %T", e, typed)
	}
	return typed
}

func TestEveryEventHasItsType(t *testing.T) {
	seen := make(map[schema.EventType]bool)
	for _, e := range everyEvent() {
		seen[e.Type()] = true
		if e.Header().EventID != 3 {
			t.Errorf("%v: Header() = %+v", e.Type(), e.Header())
		}
	}
	for typ := schema.TypeExecutionStarted; typ <= schema.TypeExecutionRewound; typ++ {
		if !seen[typ] && typ != schema.TypeExecutionFailed {
			t.Errorf("no event of type %v", typ)
		}
	}
}

func TestEveryEventAsRow(t *testing.T) {
	for _, e := range everyEvent() {
		t.Run(e.Type().String(), func(t *testing.T) {
			want := schema.HistoryRow{PartitionKey: "p^0", RowKey: schema.FormatSequence(9), ExecutionID: "x", Event: e, StoredAt: 5, ETag: "tag"}
			r := want.Row()
			if got, _ := r.Get("EventType").Text(); got != e.Type().String() {
				t.Errorf("EventType = %q, want %q", got, e.Type())
			}
			text := r.AppendJSON(nil)
			back := decodeLine(t, text)
			got, err := schema.DecodeHistoryRow(&back)
			if diff := cmp.Diff(want, got, stored); diff != "" || err != nil {
				t.Errorf("DecodeHistoryRow(%s): %v (-want +got):\n%s", text, err, diff)
			}
			if got.InstanceID() != "p/" {
				t.Errorf("InstanceID() = %q, want p/", got.InstanceID())
			}
		})
	}
}

const taskFailed = `{"PartitionKey":"p","RowKey":"0000000000000004","EventId":-1,"EventType":"TaskFailed","ExecutionId":"x",` +
	`"FailureDetails":"{\"ErrorType\":\"t\"}","IsPlayed":true,"Reason":"boom","TaskScheduledId":2,"_Timestamp@odata.type":"Edm.DateTime","_Timestamp":"2026-11-22T04:07:21.7999921Z"}`

// Rows that are unusual but not wrong: they decode without error and encode back
// to the same properties.
func TestOddHistoryRows(t *testing.T) {
	tests := []struct {
		name, text string
		check      func(h *schema.HistoryRow) bool
	}{
		{"unknown column", edit(t, taskFailed, `"Reason"`, `"Mood@odata.type":"Edm.Int64","Mood":"5","Reason"`), func(h *schema.HistoryRow) bool { return len(h.Extra) == 1 }},
		{"unknown EDM type", edit(t, taskFailed, `"Reason"`, `"Mood@odata.type":"Edm.Duration","Mood":"P1D","Reason"`), func(h *schema.HistoryRow) bool { return len(h.Extra) == 1 }},
		{"unknown event", edit(t, taskFailed, `TaskFailed`, `TaskForgotten`), func(h *schema.HistoryRow) bool {
			u, ok := h.Event.(*schema.UnknownEvent)
			return ok && u.Name == "TaskForgotten" && len(h.Extra) == 3
		}},
		{"ExecutionFailed, which has no class", edit(t, taskFailed, `TaskFailed`, `ExecutionFailed`), func(h *schema.HistoryRow) bool { return h.Event.Type() == schema.TypeUnknown }},
		{"offloaded column", edit(t, taskFailed, `"Reason":"boom"`, `"Reason":"","ReasonBlobName":"p/history-1"`), func(h *schema.HistoryRow) bool {
			return eventOf[*schema.TaskFailed](t, h.Event).Reason == schema.Text{Set: true, Blob: "p/history-1"}
		}},
		{"offloaded column without a base column", edit(t, taskFailed, `"Reason":"boom"`, `"ReasonBlobName":"p/history-1"`), func(h *schema.HistoryRow) bool {
			return eventOf[*schema.TaskFailed](t, h.Event).Reason == schema.Text{Blob: "p/history-1"}
		}},
		{"blob name beside a value", edit(t, taskFailed, `"Reason":"boom"`, `"Reason":"boom","ReasonBlobName":"p/history-1"`), nil},
		{"empty blob name", edit(t, taskFailed, `"Reason":"boom"`, `"Reason":"boom","ReasonBlobName":""`), func(h *schema.HistoryRow) bool {
			return len(h.Extra) == 1 && eventOf[*schema.TaskFailed](t, h.Event).Reason == schema.TextOf("boom")
		}},
		{"text null, as 2.x", edit(t, taskFailed, `"{\"ErrorType\":\"t\"}"`, `"null"`), func(h *schema.HistoryRow) bool {
			return eventOf[*schema.TaskFailed](t, h.Event).FailureDetails.IsNull()
		}},
		{"absent null, as 1.x", edit(t, taskFailed, `"FailureDetails":"{\"ErrorType\":\"t\"}",`, ``), func(h *schema.HistoryRow) bool {
			return eventOf[*schema.TaskFailed](t, h.Event).FailureDetails.IsNull()
		}},
		{"rewound", edit(t, taskFailed, `TaskFailed`, `GenericEvent`, `boom`, `Rewound: TaskFailed`), func(h *schema.HistoryRow) bool {
			name, ok := h.Rewound()
			return ok && name == "TaskFailed" && h.Event.Type() == schema.TypeGeneric && len(h.Extra) == 3
		}},
		{"rewound twice", edit(t, taskFailed, `TaskFailed`, `GenericEvent`, `boom`, `Rewound: GenericEvent`), func(h *schema.HistoryRow) bool {
			name, ok := h.Rewound()
			return ok && name == "GenericEvent"
		}},
		{"not rewound", taskFailed, func(h *schema.HistoryRow) bool { _, ok := h.Rewound(); return !ok }},
		{"a failure that speaks of rewinding", edit(t, taskFailed, `boom`, `Rewound: TaskFailed`), func(h *schema.HistoryRow) bool { _, ok := h.Rewound(); return !ok }},
		{"a Reason that is no text", edit(t, taskFailed, `TaskFailed`, `GenericEvent`, `"boom"`, `5`), func(h *schema.HistoryRow) bool { _, ok := h.Rewound(); return !ok }},
		{
			"sub-orchestration marked by a rewind",
			`{"PartitionKey":"p","RowKey":"0000000000000004","EventId":0,"EventType":"SubOrchestrationInstanceCreated","ExecutionId":"x","InstanceId":"c","IsPlayed":false,"Name":"n","Reason":"Rewound: SubOrchestrationInstanceCreated","_Timestamp@odata.type":"Edm.DateTime","_Timestamp":"2026-11-22T04:07:21.7999921Z"}`,
			func(h *schema.HistoryRow) bool {
				name, ok := h.Rewound()
				return ok && name == "SubOrchestrationInstanceCreated" && h.Event.Type() == schema.TypeSubOrchestrationCreated
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := decodeLine(t, []byte(tt.text))
			h, err := schema.DecodeHistoryRow(&r)
			if err != nil {
				t.Fatal(err)
			}
			back := h.Row()
			if !schema.SameProperties(&r, &back) {
				t.Errorf("Row() = %s, want %s", back.AppendJSON(nil), tt.text)
			}
			if tt.check != nil && !tt.check(&h) {
				t.Errorf("DecodeHistoryRow(%s) = %+v, %+v", tt.text, h, h.Event)
			}
		})
	}
}

// A value of the wrong type is named by the error, kept in Extra and given back.
func TestWrongTypes(t *testing.T) {
	const (
		instance  = `{"PartitionKey":"p","RowKey":"","CreatedTime@odata.type":"Edm.DateTime","CreatedTime":"2026-11-22T04:07:21.7999921Z","ExecutionId":"x","Generation":1,"Name":"n","RuntimeStatus":"Running"}`
		partition = `{"PartitionKey":"","RowKey":"h-control-00","CurrentOwner":"w","IsDraining":false,"LastRenewal@odata.type":"Edm.DateTime","LastRenewal":"2026-11-22T04:07:21.7999921Z"}`
		sentinel  = `{"PartitionKey":"p","RowKey":"sentinel","CheckpointCompletedTimestamp@odata.type":"Edm.DateTime","CheckpointCompletedTimestamp":"2026-11-22T04:07:21.7999921Z","ExecutionId":"x","IsCheckpointComplete":true}`
		completed = `{"PartitionKey":"p","RowKey":"0000000000000004","EventId":1,"EventType":"ExecutionCompleted","ExecutionId":"x","IsPlayed":false,"OrchestrationStatus":"Completed","_Timestamp@odata.type":"Edm.DateTime","_Timestamp":"2026-11-22T04:07:21.7999921Z"}`
	)
	tests := []struct{ name, kind, text, old, new, column string }{
		{"EventId as Int64", "History", taskFailed, `"EventId":-1`, `"EventId@odata.type":"Edm.Int64","EventId":"-1"`, "EventId"},
		{"_Timestamp as text", "History", taskFailed, `"_Timestamp@odata.type":"Edm.DateTime",`, ``, "_Timestamp"},
		{"_Timestamp that is no time", "History", taskFailed, `2026-11-22T04:07:21.7999921Z`, `soon`, "_Timestamp"},
		{"IsPlayed as text", "History", taskFailed, `"IsPlayed":true`, `"IsPlayed":"true"`, "IsPlayed"},
		{"ExecutionId as Guid", "History", taskFailed, `"ExecutionId":"x"`, `"ExecutionId@odata.type":"Edm.Guid","ExecutionId":"x"`, "ExecutionId"},
		{"EventType as a number", "History", taskFailed, `"EventType":"TaskFailed"`, `"EventType":6`, "EventType"},
		{"TaskScheduledId as text", "History", taskFailed, `"TaskScheduledId":2`, `"TaskScheduledId":"2"`, "TaskScheduledId"},
		{"Reason of null", "History", taskFailed, `"Reason":"boom"`, `"Reason":null`, "Reason"},
		{"FailureDetails as a number", "History", taskFailed, `"{\"ErrorType\":\"t\"}"`, `5`, "FailureDetails"},
		{"blob name as a number", "History", taskFailed, `"Reason":"boom"`, `"Reason":"","ReasonBlobName":5`, "ReasonBlobName"},
		{"OrchestrationStatus unknown", "History", completed, `"Completed"`, `"Done"`, "OrchestrationStatus"},
		{"OrchestrationStatus as a number", "History", completed, `"Completed"`, `1`, "OrchestrationStatus"},
		{"OrchestrationStatus as Guid", "History", completed, `"OrchestrationStatus":"Completed"`, `"OrchestrationStatus@odata.type":"Edm.Guid","OrchestrationStatus":"Completed"`, "OrchestrationStatus"},
		{"CreatedTime as text", "Instances", instance, `"CreatedTime@odata.type":"Edm.DateTime",`, ``, "CreatedTime"},
		{"Generation as Double", "Instances", instance, `"Generation":1`, `"Generation":1.5`, "Generation"},
		{"Name as a number", "Instances", instance, `"Name":"n"`, `"Name":5`, "Name"},
		{"RuntimeStatus as a number", "Instances", instance, `"RuntimeStatus":"Running"`, `"RuntimeStatus":0`, "RuntimeStatus"},
		{"IsDraining as text", "Partitions", partition, `false`, `"false"`, "IsDraining"},
		{"LastRenewal as text", "Partitions", partition, `"LastRenewal@odata.type":"Edm.DateTime",`, ``, "LastRenewal"},
		{"IsCheckpointComplete as text", "History", sentinel, `true`, `"true"`, "IsCheckpointComplete"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, text := range []string{instance, partition, sentinel, completed, taskFailed} {
				if text != tt.text {
					continue
				}
				good := decodeLine(t, []byte(text))
				if _, err := retype(tt.kind, &good); err != nil {
					t.Fatalf("the row is wrong already: %v", err)
				}
			}
			text := edit(t, tt.text, tt.old, tt.new)
			r := decodeLine(t, []byte(text))
			back, err := retype(tt.kind, &r)
			var bad *schema.DecodeError
			if !errors.As(err, &bad) || bad.Column != tt.column || bad.Where != r.PartitionKey+"/"+r.RowKey {
				t.Errorf("error is %v, want a DecodeError of %q", err, tt.column)
			}
			if err != nil && strings.Contains(err.Error(), "boom") {
				t.Errorf("the error shows a value: %v", err)
			}
			if !schema.SameProperties(&r, &back) {
				t.Errorf("Row() = %s, want %s", back.AppendJSON(nil), text)
			}
			if tt.kind == "History" && !r.IsSentinel() {
				h, _ := schema.DecodeHistoryRow(&r)
				if len(h.Extra) == 0 {
					t.Error("the value is not in Extra")
				}
			}
		})
	}
}

func TestRowsOfTheWrongKind(t *testing.T) {
	const sentinel = `{"PartitionKey":"p","RowKey":"sentinel","ExecutionId":"x"}`
	for _, tt := range []struct {
		name, text string
		decode     func(*schema.Row) error
		column     string
	}{
		{"sentinel as an event", sentinel, func(r *schema.Row) error { _, err := schema.DecodeHistoryRow(r); return err }, "RowKey"},
		{"event as a sentinel", taskFailed, func(r *schema.Row) error { _, err := schema.DecodeSentinel(r); return err }, "RowKey"},
		{"event as an instance", taskFailed, func(r *schema.Row) error { _, err := schema.DecodeInstance(r); return err }, "RowKey"},
		{"event as a partition", taskFailed, func(r *schema.Row) error { _, err := schema.DecodePartitionLease(r); return err }, "PartitionKey"},
		{"event without a type", edit(t, taskFailed, `"EventType":"TaskFailed",`, ""), func(r *schema.Row) error { _, err := schema.DecodeHistoryRow(r); return err }, "EventType"},
		{"event without a time", edit(t, taskFailed, `,"_Timestamp@odata.type":"Edm.DateTime","_Timestamp":"2026-11-22T04:07:21.7999921Z"`, ""), func(r *schema.Row) error { _, err := schema.DecodeHistoryRow(r); return err }, "_Timestamp"},
		{"event without an ID", edit(t, taskFailed, `"EventId":-1,`, ""), func(r *schema.Row) error { _, err := schema.DecodeHistoryRow(r); return err }, "EventId"},
		{"event without IsPlayed", edit(t, taskFailed, `"IsPlayed":true,`, ""), func(r *schema.Row) error { _, err := schema.DecodeHistoryRow(r); return err }, "IsPlayed"},
		{"event without an execution", edit(t, taskFailed, `"ExecutionId":"x",`, ""), func(r *schema.Row) error { _, err := schema.DecodeHistoryRow(r); return err }, "ExecutionId"},
		{"result without its task", edit(t, taskFailed, `"TaskScheduledId":2,`, ""), func(r *schema.Row) error { _, err := schema.DecodeHistoryRow(r); return err }, "TaskScheduledId"},
	} {
		r := decodeLine(t, []byte(tt.text))
		var bad *schema.DecodeError
		if err := tt.decode(&r); !errors.As(err, &bad) || bad.Column != tt.column {
			t.Errorf("%s: error is %v, want a DecodeError of %q", tt.name, err, tt.column)
		}
	}
}

func TestDecodeInstance(t *testing.T) {
	const (
		blob  = "t-30719/history--Input-392D600F-Input.json.gz"
		stale = `{"PartitionKey":"t-30719","RowKey":"","CustomStatus":"null","Input":"http://127.0.0.1/a/h-largemessages/t-30719/history-0000000000000001-ExecutionStarted-1-Input.json.gz","InputBlobName":"` + blob + `","RuntimeStatus":"Running"}`
	)
	r := decodeLine(t, []byte(stale))
	i, err := schema.DecodeInstance(&r)
	if err != nil {
		t.Fatal(err)
	}
	if i.Input.Blob != blob || i.Input.Value == "" {
		t.Errorf("Input = %+v, want both the value and the stale name", i.Input)
	}
	if back := i.Row(); !schema.SameProperties(&r, &back) {
		t.Errorf("Row() = %s, want %s", back.AppendJSON(nil), stale)
	}
	if i.ID() != "t-30719" || i.Status() != schema.StatusRunning {
		t.Errorf("ID() = %q, Status() = %v", i.ID(), i.Status())
	}

	// What an interrupted first checkpoint leaves of a sub-orchestration.
	skeleton := decodeLine(t, []byte(`{"PartitionKey":"a^0b","RowKey":"","CustomStatus":"null","ExecutionId":"x","LastUpdatedTime@odata.type":"Edm.DateTime","LastUpdatedTime":"2026-11-22T04:07:21.7999921Z","TaskHubName":"H"}`))
	i, err = schema.DecodeInstance(&skeleton)
	if err != nil || i.ID() != "a/b" || i.Status() != schema.StatusUnknown || i.Name.Set || i.CreatedTime.Set {
		t.Errorf("DecodeInstance = %+v, %v, want a skeleton", i, err)
	}
	if back := i.Row(); !schema.SameProperties(&skeleton, &back) {
		t.Errorf("Row() = %s", back.AppendJSON(nil))
	}

	i.RuntimeStatus = schema.Some("Sleeping")
	if got := i.Status(); got != schema.StatusUnknown {
		t.Errorf("Status() of an unknown name = %v", got)
	}
}

func TestLoadTexts(t *testing.T) {
	r := decodeLine(t, []byte(`{"PartitionKey":"p","RowKey":"0000000000000001","EventId":-1,"EventType":"ExecutionStarted","ExecutionId":"x","Input":"","InputBlobName":"b1","IsPlayed":true,"Name":"n","TagsBlobName":"b2","_Timestamp@odata.type":"Edm.DateTime","_Timestamp":"2026-11-22T04:07:21.7999921Z"}`))
	h, err := schema.DecodeHistoryRow(&r)
	if err != nil {
		t.Fatal(err)
	}
	var asked []string
	err = schema.LoadTexts(h.Event, func(member string, p *schema.Text) error {
		asked = append(asked, member+"="+p.Blob)
		p.Load(map[string]string{"b1": `"in"`, "b2": `{"a":"b"}`}[p.Blob])
		return nil
	})
	if diff := cmp.Diff([]string{"Input=b1", "Tags=b2"}, asked); diff != "" || err != nil {
		t.Fatalf("LoadTexts: %v (-want +got):\n%s", err, diff)
	}
	e := eventOf[*schema.ExecutionStarted](t, h.Event)
	if e.Input.Value != `"in"` || e.Tags.Value != `{"a":"b"}` {
		t.Errorf("Input = %+v, Tags = %+v", e.Input, e.Tags)
	}
	if back := h.Row(); !schema.SameProperties(&r, &back) {
		t.Errorf("Row() of a loaded event = %s", back.AppendJSON(nil))
	}
	if got, want := string(schema.AppendEventJSON(nil, e, true)), `"Input":"\"in\"","Tags":{"a":"b"},`; !strings.Contains(got, want) {
		t.Errorf("AppendEventJSON = %s, want %s", got, want)
	}

	calls := 0
	h, _ = schema.DecodeHistoryRow(&r)
	err = schema.LoadTexts(h.Event, func(string, *schema.Text) error { calls++; return errBad })
	if !errors.Is(err, errBad) || calls != 1 {
		t.Errorf("LoadTexts = %v after %d calls, want the first error", err, calls)
	}
}
