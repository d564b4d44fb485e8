package replay_test

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// script makes rows from lines such as "TaskScheduled 0 Greet". The first word is
// the type of the event, or one of its short forms below, then come the values
// of its columns. A line may begin with a sign:
//
//	~ the row as a rewind leaves it
//	^ the row as a migration leaves it whose work is to begin again
//	! without the column that follows, as in "!_Timestamp TC 0"
//	+ positions are left out, as in "+2 TC 0"
//	= another RowKey, as in "=000000000000000a TC 0"
//	@ the following rows are of another execution, as in "@new"
//
// Events are a second apart. Execution is "x" until another is named.
type script struct {
	rows      []schema.Row
	execution string
	sequence  int64
	clock     schema.Ticks
}

const second = 10_000_000

// scriptBegin is 2026-11-22T04:00:00Z.
var scriptBegin = schema.Ticks(639_309_168_000_000_000)

var shortTypes = map[string]string{
	"OS": "OrchestratorStarted", "OC": "OrchestratorCompleted", "ES": "ExecutionStarted", "EC": "ExecutionCompleted",
	"TS": "TaskScheduled", "TC": "TaskCompleted", "TF": "TaskFailed", "TM": "TimerCreated", "FI": "TimerFired",
	"SC": "SubOrchestrationInstanceCreated", "SD": "SubOrchestrationInstanceCompleted", "SF": "SubOrchestrationInstanceFailed",
	"ER": "EventRaised", "SE": "EventSent", "XT": "ExecutionTerminated", "XS": "ExecutionSuspended", "XR": "ExecutionResumed",
	"GE": "GenericEvent", "CN": "ContinueAsNew",
}

func scripted(text string) []schema.Row {
	s := script{execution: "x", clock: scriptBegin}
	for _, line := range strings.FieldsFunc(text, func(r rune) bool { return r == ';' || r == '\n' }) {
		if line = strings.TrimSpace(line); line != "" {
			s.line(line)
		}
	}
	return s.rows
}

func (s *script) line(line string) {
	key, without := "", ""
	mark := byte(0)
	for {
		word, rest, _ := strings.Cut(line, " ")
		switch line[0] {
		case '~', '^':
			mark = line[0]
			line = line[1:]
			continue
		case '!':
			without = word[1:]
		case '+':
			n, err := strconv.ParseInt(word[1:], 10, 64)
			if err != nil {
				panic(err)
			}
			s.sequence += n
		case '=':
			key = word[1:]
		case '@':
			s.execution = word[1:]
			if rest == "" {
				return
			}
		default:
			s.row(line, key, without, mark)
			return
		}
		line = rest
	}
}

func (s *script) row(line, key, without string, mark byte) {
	words := strings.SplitN(line, " ", 5)
	typ := words[0]
	if long, ok := shortTypes[typ]; ok {
		typ = long
	}
	arg := func(i int) string {
		if i < len(words) {
			return words[i]
		}
		return ""
	}
	num := func(i int) schema.Value {
		n, err := strconv.ParseInt(arg(i), 10, 32)
		if err != nil {
			panic(line + ": " + err.Error())
		}
		return schema.Int32(int32(n))
	}
	if key == "" {
		key = schema.FormatSequence(s.sequence)
		s.sequence++
	}
	s.clock += second
	r := schema.Row{PartitionKey: "i", RowKey: key, Timestamp: s.clock + second/2}
	if typ == "sentinel" {
		r.RowKey = schema.SentinelRowKey
		r.Set("ExecutionId", schema.String(s.execution))
		r.Set("IsCheckpointComplete", schema.Boolean(arg(1) != "torn"))
		r.Set("CheckpointCompletedTimestamp", schema.DateTime(s.clock))
		r.Set(without, schema.Value{})
		s.rows = append(s.rows, r)
		return
	}
	r.Set("EventType", schema.String(typ))
	r.Set("EventId", schema.Int32(-1))
	r.Set("ExecutionId", schema.String(s.execution))
	r.Set("IsPlayed", schema.Boolean(false))
	r.Set("_Timestamp", schema.DateTime(s.clock))
	set := func(name, value string) {
		if value != "" {
			r.Set(name, schema.String(value))
		}
	}
	switch typ {
	case "ExecutionStarted":
		set("Name", "Orchestrator")
		r.Set("Generation", schema.Int32(0))
		set("ParentInstance", arg(1))
	case "TaskScheduled":
		r.Set("EventId", num(1))
		set("Name", arg(2))
	case "SubOrchestrationInstanceCreated":
		r.Set("EventId", num(1))
		set("InstanceId", arg(2))
		set("Name", "Child")
	case "TimerCreated":
		r.Set("EventId", num(1))
		r.Set("FireAt", schema.DateTime(s.clock+60*second))
	case "TimerFired":
		r.Set("TimerId", num(1))
		r.Set("FireAt", schema.DateTime(s.clock+60*second))
	case "TaskCompleted", "TaskFailed", "SubOrchestrationInstanceCompleted", "SubOrchestrationInstanceFailed":
		r.Set("TaskScheduledId", num(1))
	case "EventSent":
		r.Set("EventId", num(1))
		set("InstanceId", arg(2))
		set("Name", arg(3))
		set("Input", arg(4))
	case "EventRaised":
		set("Name", arg(1))
	case "ExecutionCompleted":
		r.Set("EventId", schema.Int32(99))
		set("OrchestrationStatus", arg(1))
		set("Result", arg(2))
	case "ContinueAsNew":
		set("OrchestrationStatus", "ContinuedAsNew")
		set("Result", arg(1))
	case "ExecutionTerminated":
		set("Input", arg(1))
	case "ExecutionSuspended", "ExecutionResumed":
		set("Reason", arg(1))
	}
	if mark != 0 {
		set("Reason", "Rewound: "+typ)
		if mark == '^' || typ != "SubOrchestrationInstanceCreated" {
			set("EventType", "GenericEvent")
		}
	}
	r.Set(without, schema.Value{})
	s.rows = append(s.rows, r)
}

// summary is a state in a few words.
func summary(s *replay.State) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%v/%v episodes=%d events=%d", s.Status, s.RowStatus, s.Episodes, s.Events)
	if out, err := s.Output(nil); err != nil {
		fmt.Fprintf(&b, " output: %v", err)
	} else if out.Set {
		fmt.Fprintf(&b, " output=%s", out.Value)
	}
	if s.Missing > 0 {
		fmt.Fprintf(&b, " missing=%d", s.Missing)
	}
	if s.Duplicates > 0 {
		fmt.Fprintf(&b, " duplicates=%d", s.Duplicates)
	}
	if s.Suspended {
		b.WriteString(" suspended")
	}
	if s.Rewound {
		b.WriteString(" rewound")
	}
	if s.CheckpointOpen {
		b.WriteString(" unclosed")
	}
	for _, o := range s.Open {
		n, ok := schema.ParseSequence(o.RowKey)
		at := strconv.FormatInt(n, 10)
		if !ok {
			at = o.RowKey
		}
		fmt.Fprintf(&b, "; %s %d", o.Kind, o.EventID)
		for _, s := range []string{o.Name, o.InstanceID, o.RequestID} {
			if s != "" {
				b.WriteString(" " + s)
			}
		}
		b.WriteString(" at " + at)
	}
	return b.String()
}

// found lists anomalies as code and positions.
func found(h *replay.History) string {
	var all []string
	for _, a := range h.Anomalies {
		var at []string
		for _, key := range a.RowKeys {
			if n, ok := schema.ParseSequence(key); ok {
				key = strconv.FormatInt(n, 10)
			}
			at = append(at, key)
		}
		text := string(a.Code) + " " + strings.Join(at, ",")
		if a.Column != "" {
			text += " " + a.Column
		}
		all = append(all, text)
	}
	return strings.Join(all, "; ")
}

const (
	lockRequest   = `{"op":null,"id":"r1","parent":"i","Timestamp":"0001-01-01T00:00:00","Predecessor":"0001-01-01T00:00:00","lockset":[{"name":"a","key":"1"},{"name":"b","key":"2"}]}`
	callRequest   = `{"$type":"RequestMessage, WebJobs","op":"Add","input":"1","id":"r2","parent":"i","Timestamp":"0001-01-01T00:00:00","Predecessor":"0001-01-01T00:00:00"}`
	coreRequest   = `{"op":"Get","id":"r3","parent":"i","parentExecution":"x","Timestamp":"0001-01-01T00:00:00","Predecessor":"0001-01-01T00:00:00","IsLockRequest":false,"createTrace":false}`
	signalRequest = `{"op":"Poke","signal":true,"id":"r4","Timestamp":"0001-01-01T00:00:00","Predecessor":"0001-01-01T00:00:00"}`
	releaseLock   = `{"parent":"i","id":"r1"}`
)

func TestReplay(t *testing.T) {
	const begin = "OS; ES; "
	tests := []struct {
		name, rows string
		live       string
		anomalies  string
		tails      []string
	}{
		{name: "nothing", live: "Unknown/Unknown episodes=0 events=0"},
		{
			name: "fan out", rows: begin + "TS 0 A; TS 1 B; TS 2 A; OC; OS; TC 1; TF 0; OC; sentinel",
			live: "Running/Running episodes=2 events=10; activity 2 A at 4",
		},
		{
			name: "each kind", rows: begin + "TS 0 A; SC 1 kid; TM 2; OC; sentinel",
			live: "Running/Running episodes=1 events=6; activity 0 A at 2; sub_orchestration 1 Child kid at 3; timer 2 at 4",
		},
		{
			name: "all answered", rows: begin + "TS 0 A; SC 1 kid; TM 2; OC; OS; TC 0; OC; OS; SF 1; FI 2; EC Completed fine; OC; sentinel",
			live: "Completed/Completed episodes=3 events=14 output=fine",
		},
		{
			name: "completion without a status", rows: begin + "EC; OC; sentinel",
			live: "Running/Running episodes=1 events=4",
		},
		{
			name: "terminated", rows: begin + "TM 0; OC; OS; XT enough; EC Terminated enough; OC; sentinel",
			live: "Terminated/Terminated episodes=2 events=8 output=enough; timer 0 at 2",
		},
		{
			name: "terminated and not completed", rows: begin + "OC; OS; XT enough; OC; sentinel",
			live: "Running/Terminated episodes=2 events=6 output=enough",
		},
		{
			name: "suspended with an event held", rows: begin + "OC; OS; XS pause; OC; OS; ER go; OC; OS; XS again; OC; sentinel",
			live: "Suspended/Suspended episodes=4 events=12 output=again suspended; event -1 go at 7",
		},
		{
			name: "resumed, the event seen with the next action", rows: begin + "OC; OS; XS pause; OC; OS; ER go; ER two; OC; OS; XR on; TS 0 A; OC; sentinel",
			live: "Running/Running episodes=4 events=14 output=on; activity 0 A at 12",
		},
		{
			name: "resumed, nothing done", rows: begin + "OC; OS; XS pause; OC; OS; ER go; OC; OS; XR on; OC; sentinel",
			live: "Running/Running episodes=4 events=12 output=on; event -1 go at 7",
		},
		{
			name: "suspended after the end", rows: begin + "EC Completed; OC; OS; XS late; OC; sentinel",
			live:      "Suspended/Suspended episodes=2 events=7 output=late suspended",
			anomalies: "event-after-completion 2,4",
		},
		{
			name: "event seen", rows: begin + "TM 0; OC; OS; ER go; TS 1 A; OC; sentinel",
			live: "Running/Running episodes=2 events=8; timer 0 at 2; activity 1 A at 6",
		},
		{
			name: "continued as new and waiting", rows: begin + "ER kept; OC; sentinel",
			live: "Running/Running episodes=1 events=4; event -1 kept at 2",
		},
		{
			name: "continued as new and working", rows: begin + "ER kept; OC; TS 0 A; OC; OS; TC 0; TS 1 A; OC; sentinel",
			live: "Running/Running episodes=2 events=10; activity 1 A at 8",
		},
		{
			name: "continued as new by an old version", rows: begin + "CN next; OC; sentinel",
			live: "ContinuedAsNew/ContinuedAsNew episodes=1 events=4 output=next",
		},
		{
			name: "continued as new, then terminated", rows: begin + "CN next; OC; OS; XT stop; EC Terminated stop; OC; sentinel",
			live: "Terminated/Terminated episodes=2 events=8 output=stop",
		},
		{
			name: "overwritten tail", rows: begin + "TS 0 A; OC; @old; TC 0; TC 7; TS 1 B; EC Completed past; OC; @x sentinel",
			live:  "Running/Running episodes=1 events=4; activity 0 A at 2",
			tails: []string{"Unknown/Completed episodes=0 events=5 output=past missing=4; activity 1 B at 6"},
		},
		{
			name: "two tails", rows: begin + "EC Completed; OC; @b; OC; @a; TC 1; OC; @x sentinel",
			live: "Completed/Completed episodes=1 events=4",
			tails: []string{
				"Unknown/Unknown episodes=0 events=1 missing=4",
				"Unknown/Unknown episodes=0 events=2 missing=5",
			},
		},
		{
			name: "rows of the execution after another's", rows: begin + "OC; @old; TC 0; @x; TC 0; OC; sentinel",
			live:  "Running/Running episodes=1 events=3",
			tails: []string{"Unknown/Unknown episodes=0 events=1 missing=3 unclosed", "Unknown/Unknown episodes=0 events=2 missing=4"},
		},
		{
			name: "another sentinel", rows: begin + "OC; @y sentinel",
			live:      "Unknown/Unknown episodes=0 events=0",
			tails:     []string{"Running/Running episodes=1 events=3"},
			anomalies: "sentinel-mismatch 0,sentinel ExecutionId",
		},
		{
			name: "no sentinel", rows: begin + "OC",
			live:      "Running/Running episodes=1 events=3",
			anomalies: "sentinel-missing 0",
		},
		{
			name: "sentinel alone", rows: "sentinel",
			live:      "Unknown/Unknown episodes=0 events=0",
			anomalies: "no-events sentinel",
		},
		{
			name: "sentinel without execution", rows: begin + "OC; !ExecutionId sentinel",
			live: "Running/Running episodes=1 events=3",
		},
		{
			name: "torn", rows: begin + "TS 0 A; TS 1 A; sentinel torn",
			live:      "Running/Running episodes=1 events=4 unclosed; activity 0 A at 2; activity 1 A at 3",
			anomalies: "torn 3,sentinel IsCheckpointComplete",
		},
		{
			name: "torn, of an old version", rows: begin + "TS 0 A; !IsCheckpointComplete sentinel",
			live:      "Running/Running episodes=1 events=3 unclosed; activity 0 A at 2",
			anomalies: "torn 2",
		},
		{
			name: "torn and healed", rows: begin + "TS 0 A; OS; TS 1 A; OC; sentinel",
			live:      "Running/Running episodes=2 events=6; activity 0 A at 2; activity 1 A at 4",
			anomalies: "unclosed-episode 2,3",
		},
		{
			name: "last row lost", rows: begin + "TS 0 A; sentinel",
			live:      "Running/Running episodes=1 events=3 unclosed; activity 0 A at 2",
			anomalies: "truncated 2,sentinel",
		},
		{
			name: "gap", rows: begin + "TS 0 A; +2 OC; OS; TC 0; OC; sentinel",
			live:      "Running/Running episodes=2 events=7",
			anomalies: "rowkey-gap 2,5 RowKey",
		},
		{
			name: "begin lost", rows: "+2 TS 0 A; OC; sentinel",
			live:      "Unknown/Unknown episodes=0 events=2 missing=2; activity 0 A at 2",
			anomalies: "rowkey-gap 2 RowKey; no-start 2",
		},
		{
			name: "no start", rows: "OS; OC; sentinel",
			live:      "Unknown/Unknown episodes=1 events=2",
			anomalies: "no-start 0",
		},
		{
			name: "second start", rows: begin + "OC; OS; ES; OC; sentinel",
			live:      "Running/Running episodes=2 events=6",
			anomalies: "second-start 1,4",
		},
		{
			name: "second completion", rows: begin + "EC Completed one; EC Failed two; OC; sentinel",
			live:      "Completed/Failed episodes=1 events=5 output=two",
			anomalies: "second-completion 2,3",
		},
		{
			name: "second completion in another episode", rows: begin + "EC Completed one; OC; OS; ER late; EC Completed; OC; sentinel",
			live:      "Completed/Completed episodes=2 events=8 output=one",
			anomalies: "event-after-completion 2,4; second-completion 2,6",
		},
		{
			name: "message after the end in the same episode", rows: begin + "EC Completed; TC 0; OC; sentinel",
			live:      "Completed/Completed episodes=1 events=5",
			anomalies: "event-after-completion 2,3; orphan-completion 3",
		},
		{
			name: "action after the end in the same episode", rows: begin + "EC Completed; TS 0 A; OC; sentinel",
			live: "Completed/Completed episodes=1 events=5; activity 0 A at 3",
		},
		{
			name: "duplicate result", rows: begin + "TS 0 A; TM 1; OC; OS; TC 0; OC; OS; TC 0; TF 0; OC; sentinel",
			live:      "Running/Running episodes=3 events=12 duplicates=2; timer 1 at 3",
			anomalies: "duplicate-completion 9; duplicate-completion 10",
		},
		{
			name: "orphan result", rows: begin + "TS 0 A; SE 1 other go; OC; OS; TC 5; FI 1; OC; sentinel",
			live:      "Running/Running episodes=2 events=9; activity 0 A at 2",
			anomalies: "orphan-completion 6; orphan-completion 7",
		},
		{
			name: "result before its schedule", rows: begin + "TC 0; TS 0 A; OC; sentinel",
			live:      "Running/Running episodes=1 events=5; activity 0 A at 3",
			anomalies: "orphan-completion 2",
		},
		{
			name: "wrong kind", rows: begin + "TS 0 A; SC 1 kid; OC; OS; FI 0; TC 1; OC; sentinel",
			live:      "Running/Running episodes=2 events=9",
			anomalies: "wrong-kind-completion 2,6; wrong-kind-completion 3,7",
		},
		{
			name: "same EventId twice", rows: begin + "TS 0 A; TS 0 B; OC; sentinel",
			live:      "Running/Running episodes=1 events=5; activity 0 B at 3",
			anomalies: "duplicate-event-id 2,3 EventId",
		},
		{
			name: "RowKey in lower case", rows: begin + "TS 0 A; OC; OS; TC 0; OC; OS; OC; OS; OC; =000000000000000a TC 0; sentinel",
			live:      "Running/Running episodes=4 events=12 duplicates=1 unclosed",
			anomalies: "rowkey-duplicate 10,000000000000000a RowKey; duplicate-completion 000000000000000a; truncated 000000000000000a,sentinel",
		},
		{
			name: "RowKey of another form", rows: begin + "=x.0000 TS 0 A; OC; sentinel",
			live:      "Running/Running episodes=1 events=4; activity 0 A at x.0000",
			anomalies: "rowkey-malformed x.0000 RowKey",
		},
		{
			name: "the same row twice", rows: begin + "TS 0 A; =0000000000000002 TS 0 A; OC; sentinel",
			live:      "Running/Running episodes=1 events=4; activity 0 A at 2",
			anomalies: "rowkey-duplicate 2 RowKey",
		},
		{
			name: "missing columns", rows: begin + "!_Timestamp TS 0 A; !EventId TS 1 A; !TaskScheduledId TC 0; !FireAt TM 3; !IsPlayed OC; sentinel",
			// A number that is missing reads as 0, as in the framework.
			live:      "Running/Running episodes=1 events=7; timer 3 at 5",
			anomalies: "undecodable 2 _Timestamp; undecodable 3 EventId; duplicate-event-id 2,3 EventId; undecodable 4 TaskScheduledId; undecodable 5 FireAt; undecodable 6 IsPlayed",
		},
		{
			name: "no execution", rows: begin + "!ExecutionId OC; sentinel",
			live:      "Running/Running episodes=1 events=2 unclosed",
			tails:     []string{"Unknown/Unknown episodes=0 events=1 missing=2"},
			anomalies: "undecodable 2 ExecutionId; truncated 1,sentinel",
		},
		{
			name: "no type", rows: begin + "!EventType OC; OC; sentinel",
			live:      "Running/Running episodes=1 events=4",
			anomalies: "undecodable 2 EventType; unknown-event-type 2 EventType",
		},
		{
			name: "unknown types", rows: begin + "FutureEvent; ExecutionFailed; OC; sentinel",
			live:      "Running/Running episodes=1 events=5",
			anomalies: "unknown-event-type 2 EventType; unknown-event-type 3 EventType",
		},
		{
			name: "types without effect", rows: begin + "HistoryState; ExecutionRewound; GE; OC; sentinel",
			live: "Running/Running episodes=1 events=6",
		},
		{
			name: "damaged status", rows: begin + "EC Done; OC; sentinel",
			live:      "Running/Running episodes=1 events=4",
			anomalies: "undecodable 2 OrchestrationStatus",
		},
		{
			name: "its own child and parent",
			rows: `OS; ES {"Name":"P","OrchestrationInstance":{"InstanceId":"i","ExecutionId":"x"},"TaskScheduleId":0,"Version":""}; SC 0 i; OC; sentinel`,
			live: "Running/Running episodes=1 events=4; sub_orchestration 0 Child i at 2",
			anomalies: "self-reference 1 ParentInstance; " +
				"self-reference 2 InstanceId",
		},
		{
			name: "damaged parent", rows: "OS; ES {; OC; sentinel",
			live:      "Running/Running episodes=1 events=3",
			anomalies: "undecodable 1 ParentInstance",
		},

		// Entities.
		{
			name: "lock requested", rows: begin + "SE 0 @a@1 op " + lockRequest + "; OC; sentinel",
			live: "Running/Running episodes=1 events=4; entity_lock_request 0 @a@1 r1 at 2",
		},
		{
			name: "locks held, one released", rows: begin + "SE 0 @a@1 op " + lockRequest + "; OC; OS; ER r1; SE 1 @a@1 release " + releaseLock + "; OC; sentinel",
			live: "Running/Running episodes=2 events=8; entity_lock 0 @b@2 r1 at 2",
		},
		{
			name: "released twice", rows: begin + "SE 0 @a@1 op " + lockRequest + "; OC; OS; ER r1; SE 1 @a@1 release " + releaseLock +
				"; SE 2 @b@2 release " + releaseLock + "; SE 3 @b@2 release " + releaseLock + "; OC; sentinel",
			live: "Running/Running episodes=2 events=10",
		},
		{
			name: "calls", rows: begin + "SE 0 @a@1 op " + callRequest + "; SE 1 @b@2 op " + coreRequest + "; OC; OS; ER r2; OC; sentinel",
			live: "Running/Running episodes=2 events=8; entity_call 1 Get @b@2 r3 at 3",
		},
		{
			name: "signals", rows: begin + "SE 0 @a@1 op " + signalRequest + "; SE 1 @a@1 op@2026-11-22T04:00:05.0000000Z " + signalRequest +
				"; SE 2 @a@1 op@2026-11-22T09:00:00.0000000Z " + signalRequest + "; OC; OS; OC; sentinel",
			live: "Running/Running episodes=2 events=8; entity_signal 2 Poke @a@1 at 4",
		},
		{
			name: "events to others", rows: begin + "SE 0 other op " + callRequest + "; SE 1 @a@1 hello world; OC; sentinel",
			live: "Running/Running episodes=1 events=5",
		},
		{
			name: "damaged requests", rows: begin + `SE 0 @a@1 op {; SE 1 @a@1 op {"op":"Add","id":"r9"}; SE 2 @a@1 release; OC; sentinel`,
			live:      "Running/Running episodes=1 events=6; entity_call 1 Add @a@1 r9 at 3",
			anomalies: "undecodable 2 Input; undecodable 3 Input; undecodable 4 Input",
		},

		// Rewinds.
		{
			name: "rewound, not picked up", rows: begin + "~TS 0 A; OC; OS; ~TF 0; ~EC Failed bad; OC; sentinel",
			live: "Running/Pending episodes=2 events=8 output=bad rewound",
		},
		{
			name: "rewound and running", rows: begin + "~TS 0 A; TM 1; OC; OS; ~TF 0; ~EC Failed bad; OC; OS; GE; TS 0 A; OC; sentinel",
			live: "Running/Pending episodes=3 events=13 output=bad rewound; timer 1 at 3; activity 0 A at 11",
		},
		{
			name: "rewound and suspended", rows: begin + "~TS 0 A; OC; OS; ~TF 0; ~EC Failed bad; OC; OS; GE; XS wait; OC; sentinel",
			live: "Suspended/Suspended episodes=3 events=12 output=wait suspended rewound",
		},
		{
			name: "rewound twice and completed",
			rows: begin + "~TS 0 A; OC; OS; ~TF 0; ~EC Failed one; OC; OS; GE; ~TS 0 A; OC; OS; ~TF 0; ~EC Failed two; OC; OS; GE; TS 0 A; OC; OS; TC 0; EC Completed; OC; sentinel",
			live: "Completed/Completed episodes=6 events=24 output=two",
		},
		{
			name: "rewound parent waits for its child", rows: begin + "~SC 0 kid; OC; OS; ~SF 0; ~EC Failed bad; OC; sentinel",
			live: "Running/Pending episodes=2 events=8 output=bad rewound; sub_orchestration 0 Child kid at 2",
		},
		{
			name: "rewound parent whose child has completed", rows: begin + "~SC 0 kid; OC; OS; ~SF 0; ~EC Failed bad; OC; OS; SD 0; EC Completed good; OC; sentinel",
			live: "Completed/Completed episodes=3 events=12 output=good",
		},
		{
			name: "rewind interrupted before the completion", rows: begin + "~TS 0 A; ~SC 1 kid; OC; OS; ~TF 0; ~SF 1; EC Failed bad; OC; sentinel",
			live: "Failed/Failed episodes=2 events=10 output=bad; sub_orchestration 1 Child kid at 3",
		},
		{
			name: "mark without a failure", rows: begin + "~TS 0 A; OC; OS; ~EC Failed; OC; OS; OC; sentinel",
			live: "Running/Pending episodes=3 events=9 rewound",
		},
		{
			name: "work is to begin again", rows: begin + "^TS 0 A; ^SC 1 kid; SC 2 other; OC; sentinel",
			live: "Running/Running episodes=1 events=6; sub_orchestration 2 Child other at 4",
		},
		{
			name: "work that has begun again", rows: begin + "^TS 0 A; ^SC 1 kid; OC; OS; GE; TS 0 A; SC 1 kid; OC; OS; TC 0; OC; sentinel",
			live: "Running/Running episodes=3 events=13; sub_orchestration 1 Child kid at 8",
		},
		{
			name: "Reason of an app that looks like a mark", rows: begin + "OC; OS; XS Rewound:x; OC; sentinel",
			live: "Suspended/Suspended episodes=2 events=6 output=Rewound:x suspended",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rows := scripted(tt.rows)
			h := replayed("i", rows, replay.Options{})
			if got := summary(&h.Live); got != tt.live {
				t.Errorf("live is\n%s, want\n%s", got, tt.live)
			}
			if got := found(h); got != tt.anomalies {
				t.Errorf("anomalies are\n%s, want\n%s", got, tt.anomalies)
			}
			var left []string
			for i := range h.Overwritten {
				left = append(left, summary(&h.Overwritten[i]))
			}
			if !reflect.DeepEqual(left, tt.tails) {
				t.Errorf("overwritten are\n%q, want\n%q", left, tt.tails)
			}
			if h.Live.Events+tails(h)+h.Skipped != h.Rows {
				t.Errorf("%d live, %d left over and %d skipped, of %d rows", h.Live.Events, tails(h), h.Skipped, h.Rows)
			}
		})
	}
}
