package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/server"
)

// made builds the rows of one instance that no recording holds.
type made struct {
	t    testing.TB
	id   string
	rows []schema.Row
}

// madeAt is the time of the first event; each is a tenth of a second later.
var madeAt = schema.TicksOf(time.Date(2018, 2, 28, 5, 18, 49, 0, time.UTC))

// add adds an event; properties are name and value in turn, where a number is the
// EventId.
func (m *made) add(kind string, eventID int32, properties ...any) {
	m.t.Helper()
	n := int64(len(m.rows))
	row := schema.Row{PartitionKey: schema.EscapeKey(m.id), RowKey: schema.FormatSequence(n)}
	row.Set("ExecutionId", schema.String("e"))
	row.Set("EventType", schema.String(kind))
	row.Set("EventId", schema.Int32(eventID))
	row.Set("IsPlayed", schema.Boolean(false))
	row.Set("_Timestamp", schema.DateTime(madeAt+schema.Ticks(n)*1_000_000))
	for i := 0; i < len(properties); i += 2 {
		name, ok := properties[i].(string)
		if !ok {
			m.t.Fatalf("%v is no name", properties[i])
		}
		switch v := properties[i+1].(type) {
		case string:
			row.Set(name, schema.String(v))
		case int:
			row.Set(name, schema.Int32(int32(v)))
		case schema.Ticks:
			row.Set(name, schema.DateTime(v))
		default:
			m.t.Fatalf("%s is %T", name, v)
		}
	}
	m.rows = append(m.rows, row)
}

// content returns a hub with the instance, in a status.
func (m *made) content(status string) hubtest.Content {
	instance := schema.Row{PartitionKey: schema.EscapeKey(m.id)}
	instance.Set("ExecutionId", schema.String("e"))
	instance.Set("Name", schema.String("F"))
	instance.Set("RuntimeStatus", schema.String(status))
	instance.Set("CreatedTime", schema.DateTime(madeAt))
	instance.Set("LastUpdatedTime", schema.DateTime(madeAt))
	sentinel := schema.Row{PartitionKey: schema.EscapeKey(m.id), RowKey: schema.SentinelRowKey}
	sentinel.Set("ExecutionId", schema.String("e"))
	names := hub.Names{TaskHub: "Made"}
	return hubtest.Content{
		Names: names, PartitionCount: 1, PartitionCountFrom: hub.FromControlQueues,
		Tables: map[hub.Table][]schema.Row{hub.Instances: {instance}, hub.History: append(m.rows, sentinel)},
		Queues: []hubtest.Queue{{Name: names.ControlQueue(0)}},
	}
}

// history returns the answer's member historyEvents, one event a line.
func history(t testing.TB, c hubtest.Content, id, query string) string {
	t.Helper()
	opts := testOptions(server.Hub{Reader: testhub.NewMemory(c)})
	w := answer(newServer(t, opts), jsonRequest(t, http.MethodGet, "/instances/"+id+"?showHistory=true"+query, ""))
	_, events, ok := strings.Cut(w.Body.String(), `,"historyEvents":[`)
	if !ok || w.Code >= 300 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	events = strings.TrimSuffix(events, "]}")
	return strings.ReplaceAll(events, `},{"`, "}\n{\"")
}

func compareLines(t testing.TB, got string, want ...string) {
	t.Helper()
	lines := strings.Split(got, "\n")
	for i := range max(len(lines), len(want)) {
		g, w := "nothing", "nothing"
		if i < len(lines) {
			g = lines[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if g != w {
			t.Errorf("event %d is\n%s\nwant\n%s", i, g, w)
		}
	}
}

// Expected values follow from the source: Functions extension 2.13.7,
// DurableClient.cs:938-1077. What is recorded of history is compared in
// TestRecordedReads.
func TestHistory(t *testing.T) {
	m := &made{t: t, id: "i"}
	m.add("OrchestratorStarted", -1)
	m.add("ExecutionStarted", -1, "Name", "F", "Version", "1", "Input", ` "a" `, "Tags", `{"k":"v"}`, "Correlation", "c",
		"ParentTraceContext", `{"TraceParent":"00"}`, "ScheduledStartTime", madeAt, "Generation", 3,
		"OrchestrationInstance", `{"InstanceId":"i","ExecutionId":"e"}`, "ParentInstance", "null")
	m.add("TaskScheduled", 0, "Name", "Done", "Version", "", "Input", "[1]")
	m.add("TaskScheduled", 1, "Name", "Open", "Version", "", "Input", `{"in":1}`, "ParentTraceContext", "null", "Tags", `{"k":"v"}`)
	m.add("SubOrchestrationInstanceCreated", 2, "Name", "Child", "Version", "", "InstanceId", "i:2", "Input", "2")
	m.add("SubOrchestrationInstanceCreated", 3, "Name", "OpenChild", "Version", "", "InstanceId", "i:3", "Input", "3", "ClientSpanId", "s", "Tags", "null")
	m.add("TimerCreated", 4, "FireAt", madeAt+1)
	m.add("OrchestratorCompleted", -1)
	m.add("TaskCompleted", -1, "TaskScheduledId", 0, "Result", `{ "out" : 1.50 }`)
	m.add("SubOrchestrationInstanceCompleted", -1, "TaskScheduledId", 2, "Result", "plain words")
	m.add("TimerFired", -1, "TimerId", 4, "FireAt", madeAt+10)
	m.add("TaskFailed", -1, "TaskScheduledId", 99, "Reason", "r", "Details", "d", "FailureDetails",
		`{"ErrorType":"E","ErrorMessage":"m","StackTrace":null,"InnerFailure":null,"IsNonRetriable":false,"Properties":null}`)
	m.add("SubOrchestrationInstanceFailed", -1, "TaskScheduledId", 0, "Reason", "an activity has this ID")
	m.add("EventSent", 5, "InstanceId", "other", "Name", "e", "Input", `"x"`)
	m.add("EventRaised", -1, "Name", "e", "Input", `"y"`, "ParentTraceContext", "null")
	m.add("ExecutionSuspended", -1, "Reason", "pause")
	m.add("ExecutionResumed", -1, "Reason", "go on")
	m.add("ExecutionTerminated", -1, "Input", "enough")
	m.add("GenericEvent", -1, "Data", "rewound")
	m.add("HistoryState", -1, "State", `{"s":1}`)
	m.add("ExecutionRewound", -1, "Reason", "again", "ParentExecutionId", "p", "InstanceId", "i")
	m.add("ContinueAsNew", 6, "OrchestrationStatus", "ContinuedAsNew", "Result", "[2]")
	m.add("ExecutionCompleted", 7, "OrchestrationStatus", "Completed", "Result", `["a"]`)
	m.add("Invented", 8, "Odd", "value")
	c := m.content("Completed")

	compareLines(t, history(t, c, "i", "&showHistoryOutput=true"),
		`{"EventType":"ExecutionStarted","Input":" \"a\" ","Correlation":"c","ParentTraceContext":{"TraceParent":"00"},"ScheduledStartTime":"2018-02-28T05:18:49Z","Generation":3,"GenerateNewTrace":false,"Timestamp":"2018-02-28T05:18:49.1Z","FunctionName":"F"}`,
		`{"EventType":"TaskScheduled","Name":"Open","Input":"{\"in\":1}","ParentTraceContext":null,"Tags":{"k":"v"},"Timestamp":"2018-02-28T05:18:49.3Z"}`,
		`{"EventType":"SubOrchestrationInstanceCreated","Name":"OpenChild","InstanceId":"i:3","Input":"3","ClientSpanId":"s","Tags":null,"Timestamp":"2018-02-28T05:18:49.5Z"}`,
		`{"EventType":"TimerCreated","FireAt":"2018-02-28T05:18:49.0000001Z","Timestamp":"2018-02-28T05:18:49.6Z"}`,
		`{"EventType":"TaskCompleted","Result":{"out":1.50},"Timestamp":"2018-02-28T05:18:49.8Z","ScheduledTime":"2018-02-28T05:18:49.2+00:00","FunctionName":"Done","Input":"[1]"}`,
		`{"EventType":"SubOrchestrationInstanceCompleted","Result":"plain words","Timestamp":"2018-02-28T05:18:49.9Z","ScheduledTime":"2018-02-28T05:18:49.4+00:00","FunctionName":"Child","Input":"2"}`,
		`{"EventType":"TimerFired","FireAt":"2018-02-28T05:18:49.000001Z","Timestamp":"2018-02-28T05:18:50Z"}`,
		`{"EventType":"TaskFailed","Reason":"r","Details":"d","FailureDetails":{"ErrorType":"E","ErrorMessage":"m","StackTrace":null,"InnerFailure":null,"IsNonRetriable":false,"Properties":null},"Timestamp":"2018-02-28T05:18:50.1Z"}`,
		`{"EventType":"SubOrchestrationInstanceFailed","Reason":"an activity has this ID","Details":null,"FailureDetails":null,"Timestamp":"2018-02-28T05:18:50.2Z"}`,
		`{"EventType":"EventSent","InstanceId":"other","Name":"e","Input":"\"x\"","Timestamp":"2018-02-28T05:18:50.3Z"}`,
		`{"EventType":"EventRaised","Name":"e","Input":"\"y\"","ParentTraceContext":null,"Timestamp":"2018-02-28T05:18:50.4Z"}`,
		`{"EventType":"ExecutionSuspended","Reason":"pause","Timestamp":"2018-02-28T05:18:50.5Z"}`,
		`{"EventType":"ExecutionResumed","Reason":"go on","Timestamp":"2018-02-28T05:18:50.6Z"}`,
		`{"EventType":"ExecutionTerminated","Input":"enough","Timestamp":"2018-02-28T05:18:50.7Z"}`,
		`{"Data":"rewound","EventType":"GenericEvent","Timestamp":"2018-02-28T05:18:50.8Z"}`,
		`{"EventType":"HistoryState","State":{"s":1},"Timestamp":"2018-02-28T05:18:50.9Z"}`,
		`{"EventType":"ExecutionRewound","Reason":"again","ParentExecutionId":"p","InstanceId":"i","ParentTraceContext":null,"Timestamp":"2018-02-28T05:18:51Z"}`,
		`{"EventType":"ContinueAsNew","OrchestrationStatus":2,"Result":"[2]","FailureDetails":null,"Timestamp":"2018-02-28T05:18:51.1Z"}`,
		`{"EventType":"ExecutionCompleted","OrchestrationStatus":"Completed","Result":["a"],"FailureDetails":null,"Timestamp":"2018-02-28T05:18:51.2Z"}`,
		`{"EventType":"Invented","EventId":8,"IsPlayed":false,"Timestamp":"2018-02-28T05:18:51.3Z","Odd":"value"}`,
	)

	// Without inputs and results.
	hidden := history(t, c, "i", "&showInput=false")
	if strings.Contains(hidden, `"Input"`) {
		t.Errorf("an input is shown:\n%s", hidden)
	}
	for _, line := range strings.Split(hidden, "\n") {
		if strings.Contains(line, `"Result"`) != strings.Contains(line, "ContinueAsNew") {
			t.Errorf("a result is shown, or that of ContinueAsNew is not: %s", line)
		}
	}
	if n := strings.Count(hidden, "\n"); n != 19 {
		t.Errorf("%d events after the first, want 19", n)
	}
}

// A history longer than what is kept is walked twice, with the same result.
func TestLongHistory(t *testing.T) {
	m := &made{t: t, id: "i"}
	m.add("ExecutionStarted", -1, "Name", "F")
	const tasks = 2000
	var want []string
	for i := range tasks {
		m.add("TaskScheduled", int32(i), "Name", fmt.Sprint("A", i%3), "Input", fmt.Sprint(i))
	}
	for i := range tasks - 1 { // in the other order, and the first of all never ends
		m.add("TaskCompleted", -1, "TaskScheduledId", tasks-1-i, "Result", fmt.Sprint(i))
	}
	m.add("TaskCompleted", -1, "TaskScheduledId", 1, "Result", "twice")
	at := func(n int) string { return string((madeAt + schema.Ticks(n)*1_000_000).AppendTrimmed(nil)) }
	want = append(want,
		`{"EventType":"ExecutionStarted","Input":null,"Correlation":null,"ParentTraceContext":null,"ScheduledStartTime":null,"Generation":null,"GenerateNewTrace":false,"Timestamp":"`+at(0)+`","FunctionName":"F"}`,
		`{"EventType":"TaskScheduled","Name":"A0","Input":"0","ParentTraceContext":null,"Tags":null,"Timestamp":"`+at(1)+`"}`)
	ended := func(n, id int, result string) string {
		return fmt.Sprintf(`{"EventType":"TaskCompleted","Result":%s,"Timestamp":%q,"ScheduledTime":%q,"FunctionName":"A%d","Input":"%d"}`,
			result, at(n), strings.Replace(at(1+id), "Z", "+00:00", 1), id%3, id)
	}
	for i := range tasks - 1 {
		want = append(want, ended(1+tasks+i, tasks-1-i, fmt.Sprint(i)))
	}
	want = append(want, ended(2*tasks, 1, `"twice"`))
	compareLines(t, history(t, m.content("Running"), "i", "&showHistoryOutput=true"), want...)
}

// Which rows count as the history.
func TestHistoryRows(t *testing.T) {
	m := &made{t: t, id: "i"}
	m.add("ExecutionStarted", -1, "Name", "F")
	m.add("EventRaised", -1, "Name", "of another execution")
	m.add("EventRaised", -1, "Name", "last")
	c := m.content("Running")
	c.Tables[hub.History][1].Set("ExecutionId", schema.String("before"))
	if got := history(t, c, "i", ""); strings.Count(got, "\n") != 1 || !strings.Contains(got, `"last"`) || strings.Contains(got, "another") {
		t.Errorf("rows of another execution are passed over, and no others:\n%s", got)
	}
	c = m.content("Running")
	sentinel := &c.Tables[hub.History][len(c.Tables[hub.History])-1]
	sentinel.Set("ExecutionId", schema.String("before"))
	if got := history(t, c, "i", ""); got != "" {
		t.Errorf("the sentinel names another execution, and there is history:\n%s", got)
	}
	c = m.content("Running")
	c.Tables[hub.Instances][0].Set("ExecutionId", schema.String(""))
	w := answer(newServer(t, testOptions(server.Hub{Reader: testhub.NewMemory(c)})), jsonRequest(t, "GET", "/instances/i?showHistory=true", ""))
	if w.Code != http.StatusBadRequest || w.Header().Get("Location") != "" {
		t.Errorf("no execution ID: status %d, Location %q, want 400 and none", w.Code, w.Header().Get("Location"))
	}
	w = answer(newServer(t, testOptions(server.Hub{Reader: testhub.NewMemory(m.content("Pending"))})), jsonRequest(t, "GET", "/instances/i?showHistory=true", ""))
	if strings.Contains(w.Body.String(), "historyEvents") {
		t.Errorf("an instance that has not begun has a history: %s", w.Body)
	}
}
