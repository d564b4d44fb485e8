package schema_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/schema"
)

// started is a client's start message as version 2.9.1 writes it.
const started = `{"$type":"DurableTask.AzureStorage.MessageData","ActivityId":"ed4e6ef4-4086-4dca-afba-b9bc9f8a5ab4","TaskMessage":{` +
	`"$type":"DurableTask.Core.TaskMessage","Event":{"$type":"DurableTask.Core.History.ExecutionStartedEvent",` +
	`"OrchestrationInstance":{"$type":"DurableTask.Core.OrchestrationInstance","InstanceId":"scheduled","ExecutionId":"38387955374f4a3f92dd0b7e5358a514"},` +
	`"EventType":0,"ParentInstance":null,"Name":"HelloSequence","Version":"","Input":"\"future\"","Tags":null,` +
	`"Correlation":null,"ParentTraceContext":null,"ScheduledStartTime":"2026-11-22T05:07:22.0182056Z","Generation":0,"GenerateNewTrace":false,` +
	`"EventId":-1,"IsPlayed":false,"Timestamp":"2026-11-22T04:07:22.0184521Z"},"SequenceNumber":0,` +
	`"OrchestrationInstance":{"$type":"DurableTask.Core.OrchestrationInstance","InstanceId":"scheduled","ExecutionId":"38387955374f4a3f92dd0b7e5358a514"},` +
	`"OrchestrationExecutionContext":null},"CompressedBlobName":null,"SequenceNumber":260,"Sender":{"InstanceId":"","ExecutionId":""},"SerializableTraceContext":null}`

func decodeMessage(t testing.TB, text string) schema.Message {
	t.Helper()
	m, err := schema.DecodeMessage(text, "m")
	if err != nil {
		t.Fatalf("DecodeMessage(%s): %v", text, err)
	}
	return m
}

func TestDecodeMessage(t *testing.T) {
	got := decodeMessage(t, started)
	instance := schema.OrchestrationInstance{InstanceID: "scheduled", ExecutionID: schema.Some("38387955374f4a3f92dd0b7e5358a514")}
	want := schema.Message{
		ActivityID:     "ed4e6ef4-4086-4dca-afba-b9bc9f8a5ab4",
		SequenceNumber: 260,
		Sender:         &schema.OrchestrationInstance{ExecutionID: schema.Some("")},
		TaskMessage: &schema.TaskMessage{
			OrchestrationInstance: instance,
			Event: &schema.ExecutionStarted{
				EventHeader:           schema.EventHeader{EventID: -1, Timestamp: ticks(t, "2026-11-22T04:07:22.0184521Z")},
				OrchestrationInstance: schema.TextOf(`{"$type":"DurableTask.Core.OrchestrationInstance","InstanceId":"scheduled","ExecutionId":"38387955374f4a3f92dd0b7e5358a514"}`),
				Name:                  schema.TextOf("HelloSequence"),
				Version:               schema.Some(""),
				Input:                 schema.TextOf(`"future"`),
				ScheduledStartTime:    schema.Some(ticks(t, "2026-11-22T05:07:22.0182056Z")),
				Generation:            schema.Some(int32(0)),
				GenerateNewTrace:      schema.Some(false),
			},
		},
	}
	if diff := cmp.Diff(want, got, stored); diff != "" {
		t.Errorf("DecodeMessage (-want +got):\n%s", diff)
	}
	if back := string(got.AppendJSON(nil)); back != started {
		t.Errorf("AppendJSON = %s, want %s", back, started)
	}
	if made := string(want.AppendJSON(nil)); made != started {
		t.Errorf("made from its parts: %s, want %s", made, started)
	}
	if id, ok := got.Target(); id != "scheduled" || !ok {
		t.Errorf("Target() = %q, %v", id, ok)
	}
}

func TestWrapper(t *testing.T) {
	const (
		blob = "hello/message-5406d36943694673afae6671a2fa1e57-ExecutionStarted.json.gz"
		text = `{"$type":"DurableTask.AzureStorage.MessageData","ActivityId":"00000000-0000-0000-0000-000000000000","TaskMessage":null,"CompressedBlobName":"` + blob + `","SequenceNumber":0,"Sender":null,"SerializableTraceContext":null}`
		body = "eyIkdHlwZSI6IkR1cmFibGVUYXNrLkF6dXJlU3RvcmFnZS5NZXNzYWdlRGF0YSIsIkFjdGl2aXR5SWQiOiIwMDAwMDAwMC0wMDAwLTAwMDAtMDAwMC0wMDAwMDAwMDAwMDAiLCJUYXNrTWVzc2FnZSI6bnVsbCwiQ29tcHJlc3NlZEJsb2JOYW1lIjoiaGVsbG8vbWVzc2FnZS01NDA2ZDM2OTQzNjk0NjczYWZhZTY2NzFhMmZhMWU1Ny1FeGVjdXRpb25TdGFydGVkLmpzb24uZ3oiLCJTZXF1ZW5jZU51bWJlciI6MCwiU2VuZGVyIjpudWxsLCJTZXJpYWxpemFibGVUcmFjZUNvbnRleHQiOm51bGx9"
	)
	w := schema.NewWrapper(blob)
	made := w.AppendJSON(nil)
	if string(made) != text || len(made) != 279 {
		t.Errorf("NewWrapper is %s, want %s", made, text)
	}
	if got := schema.EncodeBody(made, schema.Base64); got != body {
		t.Errorf("EncodeBody = %s, want %s", got, body)
	}
	if got := schema.EncodeBody(made, schema.PlainJSON); got != text {
		t.Errorf("EncodeBody = %s, want %s", got, text)
	}
	for _, b := range []struct {
		body string
		enc  schema.Encoding
	}{{text, schema.PlainJSON}, {body, schema.Base64}} {
		got, enc, err := schema.MessageText(b.body)
		if got != text || enc != b.enc || err != nil {
			t.Errorf("MessageText(%s) = %s, %v, %v", b.body, got, enc, err)
		}
	}
	m := decodeMessage(t, text)
	if m.CompressedBlobName.Value != blob || m.TaskMessage != nil || m.Sender != nil {
		t.Errorf("DecodeMessage = %+v", m)
	}
	if back := string(m.AppendJSON(nil)); back != text {
		t.Errorf("AppendJSON = %s, want %s", back, text)
	}
	if id, ok := m.Target(); ok {
		t.Errorf("Target() of a wrapper = %q", id)
	}
	m.ForVersion1() // has nothing to leave out
	if back := string(m.AppendJSON(nil)); back != text {
		t.Errorf("AppendJSON for version 1 = %s, want %s", back, text)
	}
}

func TestMessageText(t *testing.T) {
	for _, body := range []string{" \n{}", "\ufeff{}", "{"} {
		if got, enc, err := schema.MessageText(body); got != body || enc != schema.PlainJSON || err != nil {
			t.Errorf("MessageText(%q) = %q, %v, %v, want the body", body, got, enc, err)
		}
	}
	if got, enc, err := schema.MessageText(base64.StdEncoding.EncodeToString([]byte("\ufeff{}"))); got != "\ufeff{}" || enc != schema.Base64 || err != nil {
		t.Errorf("MessageText of Base64 = %q, %v, %v", got, enc, err)
	}
	for _, body := range []string{"!", "[1]", "eyI", "null "} {
		if got, _, err := schema.MessageText(body); err == nil {
			t.Errorf("MessageText(%q) = %q, want an error", body, got)
		}
	}
}

// edit replaces each old text, which must occur, by the new one.
func edit(t testing.TB, text string, oldNew ...string) string {
	t.Helper()
	for i := 0; i < len(oldNew); i += 2 {
		if !strings.Contains(text, oldNew[i]) {
			t.Fatalf("%s does not occur", oldNew[i])
		}
		text = strings.ReplaceAll(text, oldNew[i], oldNew[i+1])
	}
	return text
}

// Messages as other versions and settings write them come back byte for byte.
func TestMessageForms(t *testing.T) {
	tests := []struct {
		name, text string
		check      func(m *schema.Message) bool
	}{
		{
			"assemblies in $type, before 1.4.0", edit(t, started,
				"AzureStorage.MessageData", "AzureStorage.MessageData, DurableTask.AzureStorage",
				"Core.TaskMessage", "Core.TaskMessage, DurableTask.Core",
				"Core.History.ExecutionStartedEvent", "Core.History.ExecutionStartedEvent, DurableTask.Core",
				"Core.OrchestrationInstance", "Core.OrchestrationInstance, DurableTask.Core"),
			func(m *schema.Message) bool { return m.TaskMessage.Event.Type() == schema.TypeExecutionStarted },
		},
		{
			"no Sender, before 1.6.5", edit(t, started, `"Sender":{"InstanceId":"","ExecutionId":""},`, "", `,"SerializableTraceContext":null`, ""),
			func(m *schema.Message) bool { return m.Sender == nil },
		},
		{
			"Episode", edit(t, started, `"SequenceNumber":260,`, `"SequenceNumber":260,"Episode":-1,`),
			func(m *schema.Message) bool { return m.Episode == schema.Some(int64(-1)) },
		},
		{
			"no context, before Core 2.12", edit(t, started, `,"OrchestrationExecutionContext":null`, ""),
			func(m *schema.Message) bool { return !m.TaskMessage.ExecutionContext.Set },
		},
		{
			"Sender with $type, 1.6.5 to 1.8.3", edit(t, started, `"Sender":{`, `"Sender":{"$type":"DurableTask.Core.OrchestrationInstance",`),
			func(m *schema.Message) bool { return m.Sender != nil && m.Sender.ExecutionID.Set },
		},
		{"version 1.17.5", edit(t, started, `,"GenerateNewTrace":false`, ""), nil},
		{
			"any execution", edit(t, started, `"ExecutionId":"38387955374f4a3f92dd0b7e5358a514"},"OrchestrationExecutionContext"`, `"ExecutionId":null},"OrchestrationExecutionContext"`),
			func(m *schema.Message) bool { return !m.TaskMessage.OrchestrationInstance.ExecutionID.Set },
		},
		{
			"unknown event", edit(t, started, "ExecutionStartedEvent", "SomethingNewEvent", `"EventType":0`, `"EventType":99`),
			func(m *schema.Message) bool {
				u, ok := m.TaskMessage.Event.(*schema.UnknownEvent)
				return ok && u.Name == "DurableTask.Core.History.SomethingNewEvent" && u.EventID == -1 && len(m.TaskMessage.EventExtra) == 12
			},
		},
		{
			"event of another namespace", edit(t, started, "DurableTask.Core.History.ExecutionStartedEvent", "MyApp.ExecutionStartedEvent"),
			func(m *schema.Message) bool { return m.TaskMessage.Event.Type() == schema.TypeUnknown },
		},
		{
			"ExecutionFailed, which has no class", edit(t, started, "ExecutionStartedEvent", "ExecutionFailedEvent", `"EventType":0`, `"EventType":2`),
			func(m *schema.Message) bool { return m.TaskMessage.Event.Type() == schema.TypeUnknown },
		},
		{
			"unknown members", edit(t, started,
				`"SequenceNumber":260`, `"SequenceNumber":260,"New":{"a":[1,{"b":null}]}`,
				`"SequenceNumber":0`, `"Priority":5,"SequenceNumber":0`,
				`"EventId":-1`, `"Mood":"fine","EventId":-1`),
			func(m *schema.Message) bool {
				return len(m.Extra) == 1 && len(m.TaskMessage.Extra) == 1 && len(m.TaskMessage.EventExtra) == 1
			},
		},
		{"another order", edit(t, started, `"EventId":-1,"IsPlayed":false`, `"IsPlayed":false,"EventId":-1`), nil},
		{"old member order of the target", edit(t, started, `"InstanceId":"","ExecutionId":""`, `"ExecutionId":"","InstanceId":""`), nil},
		{
			"date without zone", edit(t, started, `05:07:22.0182056Z"`, `05:07:22.0182056"`),
			func(m *schema.Message) bool {
				e := eventOf[*schema.ExecutionStarted](t, m.TaskMessage.Event)
				return e.ScheduledStartTime == schema.Some(ticks(t, "2026-11-22T05:07:22.0182056Z"))
			},
		},
		{
			"date with offset", edit(t, started, `05:07:22.0182056Z"`, `07:07:22.0182056+02:00"`),
			func(m *schema.Message) bool {
				e := eventOf[*schema.ExecutionStarted](t, m.TaskMessage.Event)
				return e.ScheduledStartTime == schema.Some(ticks(t, "2026-11-22T05:07:22.0182056Z"))
			},
		},
		{"date without fraction", edit(t, started, `05:07:22.0182056Z"`, `05:07:22Z"`), nil},
		{"text that needs escapes", edit(t, started, `"HelloSequence"`, `"a\"\\\b\f\n\r\t\u0000\u0085\u2028\u2029/ü😀`+"\u007f"+`"`), nil},
		{
			"tags", edit(t, started, `"Tags":null`, "\"Tags\":{\"$type\":\"System.Collections.Generic.Dictionary`2[[System.String, mscorlib],[System.String, mscorlib]]\",\"a\":\"b\"}"),
			func(m *schema.Message) bool {
				tags, err := schema.ParseTags(eventOf[*schema.ExecutionStarted](t, m.TaskMessage.Event).Tags)
				return err == nil && len(tags) == 1 && tags["a"] == "b"
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := decodeMessage(t, tt.text)
			if back := string(m.AppendJSON(nil)); back != tt.text {
				t.Errorf("AppendJSON =\n%s, want\n%s", back, tt.text)
			}
			if tt.check != nil && !tt.check(&m) {
				t.Errorf("DecodeMessage(%s) = %+v, %+v", tt.text, m, m.TaskMessage)
			}
		})
	}
}

// What is read leniently comes back in the usual form.
func TestMessageLeniency(t *testing.T) {
	tests := []struct{ name, text string }{
		{"EventType as a name", edit(t, started, `"EventType":0`, `"EventType":"ExecutionStarted"`)},
		{"white space", strings.NewReplacer(`":`, `" : `, `,"`, " ,\r\n\t\"").Replace(started) + "\n"},
		{"byte order mark", "\ufeff" + started},
		{"escapes", edit(t, started, `"HelloSequence"`, `"\u0048ello\u0053equence"`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := decodeMessage(t, tt.text)
			var back bytes.Buffer // members that are JSON keep their white space
			if err := json.Compact(&back, m.AppendJSON(nil)); err != nil {
				t.Fatal(err)
			}
			if back.String() != started {
				t.Errorf("AppendJSON =\n%s, want\n%s", &back, started)
			}
		})
	}
}

func TestMessageErrors(t *testing.T) {
	tests := []struct{ name, text, column string }{
		{"empty", "", ""},
		{"array", "[]", ""},
		{"text after", started + "x", ""},
		{"cut", started[:len(started)-1], ""},
		{"member twice", edit(t, started, `"SequenceNumber":260`, `"SequenceNumber":260,"SequenceNumber":261`), ""},
		{"member of the event twice", edit(t, started, `"EventId":-1`, `"EventId":-1,"EventId":-1`), "TaskMessage.Event"},
		{"no $type", edit(t, started, `"$type":"DurableTask.AzureStorage.MessageData",`, ""), "$type"},
		{"another $type", edit(t, started, "AzureStorage.MessageData", "AzureStorage.Other"), "$type"},
		{"neither message nor blob", edit(t, started, `"TaskMessage":{`, `"Other":{`), "TaskMessage"},
		{"no ActivityId", edit(t, started, `"ActivityId":"ed4e6ef4-4086-4dca-afba-b9bc9f8a5ab4",`, ""), "ActivityId"},
		{"ActivityId of a number", edit(t, started, `"ActivityId":"ed4e6ef4-4086-4dca-afba-b9bc9f8a5ab4"`, `"ActivityId":5`), "ActivityId"},
		{"SequenceNumber with a fraction", edit(t, started, `:260`, `:2.5`), "SequenceNumber"},
		{"Sender of a string", edit(t, started, `"Sender":{"InstanceId":"","ExecutionId":""}`, `"Sender":"x"`), "Sender"},
		{"Sender without an instance", edit(t, started, `"Sender":{"InstanceId":"",`, `"Sender":{`), "Sender.InstanceId"},
		{"no event", edit(t, started, `"Event":{`, `"Other":{`), "TaskMessage.Event"},
		{"no target", edit(t, started, `"SequenceNumber":0,"OrchestrationInstance"`, `"SequenceNumber":0,"Other"`), "TaskMessage.OrchestrationInstance"},
		{"target without an instance", edit(t, started, `"SequenceNumber":0,"OrchestrationInstance":{"$type":"DurableTask.Core.OrchestrationInstance","InstanceId":"scheduled",`, `"SequenceNumber":0,"OrchestrationInstance":{"$type":"DurableTask.Core.OrchestrationInstance",`), "TaskMessage.OrchestrationInstance.InstanceId"},
		{"event without $type", edit(t, started, `"$type":"DurableTask.Core.History.ExecutionStartedEvent",`, ""), "TaskMessage.Event.$type"},
		{"EventType that does not fit", edit(t, started, `"EventType":0`, `"EventType":5`), "TaskMessage.Event.EventType"},
		{"no EventType", edit(t, started, `"EventType":0,`, ``), "TaskMessage.Event.EventType"},
		{"no EventId", edit(t, started, `"EventId":-1,`, ``), "TaskMessage.Event.EventId"},
		{"EventId out of range", edit(t, started, `"EventId":-1`, `"EventId":2147483648`), "TaskMessage.Event.EventId"},
		{"Generation out of range", edit(t, started, `"Generation":0`, `"Generation":2147483648`), "TaskMessage.Event.Generation"},
		{"IsPlayed of null", edit(t, started, `"IsPlayed":false`, `"IsPlayed":null`), "TaskMessage.Event.IsPlayed"},
		{"GenerateNewTrace of null", edit(t, started, `"GenerateNewTrace":false`, `"GenerateNewTrace":null`), "TaskMessage.Event.GenerateNewTrace"},
		{"Timestamp that is none", edit(t, started, "2026-11-22T04:07:22.0184521Z", "2026-13-22T04:07:22.0184521Z"), "TaskMessage.Event.Timestamp"},
		{"Input of a number", edit(t, started, `"\"future\""`, `5`), "TaskMessage.Event.Input"},
		{
			"DataContract serialization",
			`{"$type":"DurableTask.AzureStorage.MessageData","ActivityId":"a","TaskMessage":{"Event":{"__type":"ExecutionStartedEvent:#DurableTask.Core.History","EventId":-1},"OrchestrationInstance":{"ExecutionId":"e","InstanceId":"i"},"SequenceNumber":0},"CompressedBlobName":null,"SequenceNumber":1,"Sender":{"InstanceId":"","ExecutionId":""},"SerializableTraceContext":null}`,
			"TaskMessage.$type",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := schema.DecodeMessage(tt.text, "queue/id")
			var bad *schema.DecodeError
			if !errors.As(err, &bad) || bad.Where != "queue/id" || bad.Column != tt.column {
				t.Errorf("DecodeMessage(%s) = %+v, %v, want a DecodeError of %q", tt.text, m, err, tt.column)
			}
		})
	}
}

// A message holds a status as its number, and is read with its name as well.
func TestMessageStatus(t *testing.T) {
	e := &schema.ExecutionCompleted{OrchestrationStatus: schema.Some(schema.StatusFailed)}
	m := schema.Message{TaskMessage: &schema.TaskMessage{Event: e}}
	text := string(m.AppendJSON(nil))
	for status, want := range map[string]schema.Status{
		`3`: schema.StatusFailed, `"Failed"`: schema.StatusFailed, `0`: schema.StatusRunning,
		`8`: -1, `-1`: -1, `"Done"`: -1, `null`: -1, `{}`: -1,
	} {
		m, err := schema.DecodeMessage(edit(t, text, `"OrchestrationStatus":3`, `"OrchestrationStatus":`+status), "")
		if want < 0 {
			var bad *schema.DecodeError
			if !errors.As(err, &bad) || bad.Column != "TaskMessage.Event.OrchestrationStatus" {
				t.Errorf("status %s: %v, want a DecodeError", status, err)
			}
			continue
		}
		if got := eventOf[*schema.ExecutionCompleted](t, m.TaskMessage.Event).OrchestrationStatus; err != nil || got != schema.Some(want) {
			t.Errorf("status %s is read as %v, %v, want %v", status, got, err, want)
		}
	}
}

// A message with an error is decoded as far as it goes.
func TestMessageErrorKeepsTheRest(t *testing.T) {
	m, err := schema.DecodeMessage(edit(t, started, `"SequenceNumber":260`, `"SequenceNumber":"x"`), "m")
	if err == nil || m.TaskMessage == nil || m.TaskMessage.Event.Type() != schema.TypeExecutionStarted {
		t.Errorf("DecodeMessage = %+v, %v, want an error and the event", m, err)
	}
	m, err = schema.DecodeMessage(edit(t, started, `"EventId":-1`, `"EventId":"x"`), "m")
	if err == nil || m.TaskMessage == nil {
		t.Fatalf("DecodeMessage = %+v, %v, want an error and the event", m, err)
	}
	if e := eventOf[*schema.ExecutionStarted](t, m.TaskMessage.Event); e.Name.Value != "HelloSequence" {
		t.Errorf("the event is %+v", m.TaskMessage.Event)
	}
}

// A message can be changed where it must be and keeps its form elsewhere.
func TestMessageChanged(t *testing.T) {
	text := edit(t, started, `,"OrchestrationExecutionContext":null`, "", `"SequenceNumber":260`, `"New":1,"SequenceNumber":260`)
	m := decodeMessage(t, text)
	m.TaskMessage.OrchestrationInstance.InstanceID = "renamed"
	eventOf[*schema.ExecutionStarted](t, m.TaskMessage.Event).Input = schema.Text{}
	want := edit(t, text, `"InstanceId":"scheduled","ExecutionId":"38387955374f4a3f92dd0b7e5358a514"}}`, `"InstanceId":"renamed","ExecutionId":"38387955374f4a3f92dd0b7e5358a514"}}`, `"\"future\""`, "null")
	if got := string(m.AppendJSON(nil)); got != want {
		t.Errorf("AppendJSON =\n%s, want\n%s", got, want)
	}
}

func TestForVersion1(t *testing.T) {
	m := decodeMessage(t, started)
	m.ForVersion1()
	if got, want := string(m.AppendJSON(nil)), edit(t, started, `,"GenerateNewTrace":false`, ""); got != want {
		t.Errorf("AppendJSON =\n%s, want\n%s", got, want)
	}
	task := schema.Message{TaskMessage: &schema.TaskMessage{Event: &schema.TaskScheduled{Name: schema.TextOf("n")}}}
	if got := string(task.AppendJSON(nil)); !strings.Contains(got, `"Tags":null`) {
		t.Errorf("AppendJSON = %s, want Tags", got)
	}
	task.ForVersion1()
	if got := string(task.AppendJSON(nil)); strings.Contains(got, `"Tags"`) {
		t.Errorf("AppendJSON for version 1 = %s, want no Tags", got)
	}
}

// Every event type that has a class makes a message that is read again as the
// same type, with its $type first and its number.
func TestEveryEventAsMessage(t *testing.T) {
	for _, e := range everyEvent() {
		t.Run(e.Type().String(), func(t *testing.T) {
			m := schema.Message{ActivityID: activity, Sender: &schema.OrchestrationInstance{}, TaskMessage: &schema.TaskMessage{
				Event: e, OrchestrationInstance: schema.OrchestrationInstance{InstanceID: "i"},
			}}
			text := string(m.AppendJSON(nil))
			back := decodeMessage(t, text)
			if got := string(back.AppendJSON(nil)); got != text {
				t.Errorf("AppendJSON = %s, want %s", got, text)
			}
			if diff := cmp.Diff(e, back.TaskMessage.Event, stored); diff != "" {
				t.Errorf("%s (-want +got):\n%s", text, diff)
			}
			if !strings.Contains(text, `"Event":{"$type":"DurableTask.Core.History.`) {
				t.Errorf("%s: $type is not first", text)
			}
		})
	}
}

// Half of a surrogate pair cannot stand in UTF-8 and becomes U+FFFD, as in the
// framework; broken text must not swallow what follows it.
func TestMessageSurrogates(t *testing.T) {
	w := schema.NewWrapper("a" + lone + "b")
	if got := string(w.AppendJSON(nil)); !strings.Contains(got, "\"a\ufffdb\"") {
		t.Errorf("AppendJSON = %s, want U+FFFD", got)
	}
	w = schema.NewWrapper("a\xed\"b")
	if got := string(w.AppendJSON(nil)); !strings.Contains(got, "\"a\ufffd\\\"b\"") {
		t.Errorf("AppendJSON = %s, want U+FFFD and the rest", got)
	}
}
