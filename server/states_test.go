package server_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/server"
)

// frameworkState is what the framework's own client has told of an instance, with
// its history as the API is given it.
type frameworkState struct {
	InstanceID, Name, Status     string
	CreatedTime, LastUpdatedTime string
	Input, Output, CustomStatus  *string
	History                      []json.RawMessage
}

// object is a JSON object with its members in their order, as Newtonsoft has it.
type object []member

type member struct{ name, value string }

func parseObject(t testing.TB, text []byte) object {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		t.Fatalf("%v: no object: %.100s", err, text)
	}
	var o object
	for d.More() {
		name, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			t.Fatal(err)
		}
		text, ok := name.(string)
		if !ok {
			t.Fatalf("%v is no name", name)
		}
		o = append(o, member{text, plainJSON(t, value)})
	}
	return o
}

func (o *object) get(name string) string {
	for _, m := range *o {
		if m.name == name {
			return m.value
		}
	}
	return ""
}

// set replaces a member where it stands, or adds it.
func (o *object) set(name, value string) {
	for i := range *o {
		if (*o)[i].name == name {
			(*o)[i].value = value
			return
		}
	}
	*o = append(*o, member{name, value})
}

// complete adds members that the framework has not had before 2.0, and which we
// show of every hub, where newer versions have them.
func (o *object) complete(kind string) {
	add := map[string]member{
		"ExecutionStarted": {"GenerateNewTrace", "false"}, "TaskScheduled": {"Tags", "null"}, "SubOrchestrationInstanceCreated": {"Tags", "null"},
	}
	m, ok := add[kind]
	if ok && o.get(m.name) == "" {
		at := slices.IndexFunc(*o, func(m member) bool { return m.name == "EventId" })
		*o = slices.Insert(*o, at, m)
	}
}

func (o *object) remove(names ...string) {
	*o = slices.DeleteFunc(*o, func(m member) bool { return slices.Contains(names, m.name) })
}

func (o *object) String() string {
	var parts []string
	for _, m := range *o {
		parts = append(parts, quoted(m.name)+":"+m.value)
	}
	return "{" + strings.Join(parts, ",") + "}"
}

func quoted(text string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(text); err != nil {
		return err.Error()
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// parsed is a text as the API shows it: as JSON if it is.
func parsed(t testing.TB, text *string) string {
	t.Helper()
	if text == nil {
		return "null"
	}
	trimmed := strings.TrimSpace(*text)
	if json.Valid([]byte(trimmed)) {
		var b bytes.Buffer
		if err := json.Compact(&b, []byte(trimmed)); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	return quoted(trimmed)
}

// shaped does to a history what the framework does, in its own way.
//
// Source: Functions extension 2.13.7, DurableClient.cs:938-1077.
func shaped(t testing.TB, history []json.RawMessage) []string {
	t.Helper()
	type mapping struct {
		index             int
		name, date, input string
	}
	tasks := make(map[string]mapping)
	items := make([]object, len(history))
	dropped := make(map[int]bool)
	for i := range history {
		items[i] = parseObject(t, history[i])
		o := &items[i]
		var number int
		if err := json.Unmarshal([]byte(o.get("EventType")), &number); err != nil {
			t.Fatal(err)
		}
		kind := schema.EventType(number).String()
		o.set("EventType", quoted(kind))
		o.complete(kind)
		end := func(prefix string) {
			if task, ok := tasks[prefix+"_"+o.get("TaskScheduledId")]; ok {
				o.set("ScheduledTime", strings.Replace(task.date, `Z"`, `+00:00"`, 1))
				o.set("FunctionName", task.name)
				o.set("Input", task.input)
				dropped[task.index] = true
			}
			o.remove("TaskScheduledId")
		}
		result := func() {
			var text *string
			if err := json.Unmarshal([]byte(o.get("Result")), &text); err != nil {
				t.Fatal(err)
			}
			o.set("Result", parsed(t, text))
		}
		switch kind {
		case "TaskScheduled", "SubOrchestrationInstanceCreated":
			tasks[kind+"_"+o.get("EventId")] = mapping{i, o.get("Name"), o.get("Timestamp"), o.get("Input")}
			o.remove("Version")
		case "TaskCompleted", "TaskFailed":
			end("TaskScheduled")
		case "SubOrchestrationInstanceCompleted", "SubOrchestrationInstanceFailed":
			end("SubOrchestrationInstanceCreated")
		case "ExecutionStarted":
			name := o.get("Name")
			o.remove("Name", "OrchestrationInstance", "ParentInstance", "Version", "Tags")
			o.set("FunctionName", name)
		case "ExecutionCompleted":
			var status int
			if err := json.Unmarshal([]byte(o.get("OrchestrationStatus")), &status); err != nil {
				t.Fatal(err)
			}
			o.set("OrchestrationStatus", quoted(schema.Status(status).String()))
		case "TimerFired":
			o.remove("TimerId")
		case "OrchestratorStarted", "OrchestratorCompleted":
			dropped[i] = true
		}
		if kind == "TaskCompleted" || kind == "SubOrchestrationInstanceCompleted" || kind == "ExecutionCompleted" {
			result()
		}
		o.remove("EventId", "IsPlayed")
	}
	var lines []string
	for i := range items {
		if !dropped[i] {
			lines = append(lines, items[i].String())
		}
	}
	return lines
}

// TestStatesOfFramework compares what we answer of each instance of the recorded
// hubs that have no recorded calls with what the framework's client was told there,
// put through the steps of the framework's API.
func TestStatesOfFramework(t *testing.T) {
	hubs := 0
	for _, rec := range testhub.Recordings {
		text := testhub.Recorded(t, rec.Name, "state.json")
		if text == nil {
			continue
		}
		hubs++
		t.Run(rec.Name, func(t *testing.T) {
			var states []frameworkState
			if err := json.Unmarshal(text, &states); err != nil {
				t.Fatal(err)
			}
			h := newServer(t, testOptions(server.Hub{Reader: testhub.OpenHub(t, rec.Name)}))
			others := 0 // in the same tracking store, and not in the capture of this hub
			for i := range states {
				s := &states[i]
				var want object
				want.set("name", quoted(s.Name))
				want.set("instanceId", quoted(s.InstanceID))
				want.set("runtimeStatus", quoted(s.Status))
				want.set("input", parsed(t, s.Input))
				want.set("customStatus", parsed(t, s.CustomStatus))
				want.set("output", parsed(t, s.Output))
				want.set("createdTime", quoted(s.CreatedTime[:19]+"Z"))
				want.set("lastUpdatedTime", quoted(s.LastUpdatedTime[:19]+"Z"))
				if s.Status != "Pending" {
					want.set("historyEvents", "["+strings.Join(shaped(t, s.History), ",")+"]")
				}
				w := answer(h, jsonRequest(t, http.MethodGet, "/instances/"+url.PathEscape(s.InstanceID)+"?showHistory=true&showHistoryOutput=true", ""))
				if w.Code == http.StatusNotFound && rec.Names.TrackingPrefix != "" {
					others++
					continue
				}
				if got, want := w.Body.String(), want.String(); got != want {
					n := 0
					for n < min(len(got), len(want)) && got[n] == want[n] {
						n++
					}
					t.Errorf("%q differs after %.60q:\n%.400s\nwant\n%.400s", s.InstanceID, got[max(0, n-60):n], got[n:], want[n:])
				}
			}
			if len(states) == 0 || others > len(states)/2 {
				t.Errorf("%d states, %d of them of another hub", len(states), others)
			}
		})
	}
	if hubs < 8 {
		t.Errorf("%d hubs with states, want more", hubs)
	}
}
