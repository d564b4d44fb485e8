package replay_test

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// A row and what it is made of are not kept: the memory of a page is used again
// for the next one.
func TestAddKeepsNothing(t *testing.T) {
	var d schema.Decoder
	var kept, fresh []*replay.History
	for _, rec := range testhub.Recordings {
		all, _ := recordedInstances(t, rec.Name)
		for _, in := range all {
			fresh = append(fresh, replayed(in.key, in.history, replay.Options{}))
			r := replay.New(in.key, replay.Options{})
			var buffer []byte
			for i := range in.history {
				buffer = in.history[i].AppendJSON(buffer[:0])
				rows, err := d.Lines(buffer, nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Add(&rows[0])
				for k := range buffer {
					buffer[k] = '?'
				}
				d.Recycle()
			}
			kept = append(kept, r.End())
		}
	}
	for i := range fresh {
		if !reflect.DeepEqual(kept[i], fresh[i]) {
			t.Fatalf("%s: rows that are overwritten after Add give\n%+v, want\n%+v", fresh[i].InstanceID, kept[i], fresh[i])
		}
	}
}

// A history of a million events takes no more memory than one of a hundred, with
// one thing open or with a thousand.
func TestMemory(t *testing.T) {
	const events = 1_000_000
	for _, open := range []int32{1, 1000} {
		r := replay.New("long", replay.Options{})
		add := func(sequence int64, typ string, id int32, ref string) {
			row := schema.Row{PartitionKey: "long", RowKey: schema.FormatSequence(sequence), Properties: []schema.Property{
				{Name: "EventType", Value: schema.String(typ)},
				{Name: "EventId", Value: schema.Int32(id)},
				{Name: "ExecutionId", Value: schema.String("x")},
				{Name: "IsPlayed", Value: schema.Boolean(false)},
				{Name: "_Timestamp", Value: schema.DateTime(scriptBegin)},
			}}
			if ref != "" {
				row.Set(ref, schema.Int32(id))
				row.Set("EventId", schema.Int32(-1))
			}
			r.Add(&row)
		}
		add(0, "OrchestratorStarted", -1, "")
		add(1, "ExecutionStarted", -1, "")
		used := func() uint64 {
			var m runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&m)
			return m.HeapAlloc
		}
		n := int64(2)
		id := int32(0)
		step := func() { // the oldest of the open activities completes, another begins
			add(n, "TaskScheduled", id, "")
			n++
			if id >= open {
				add(n, "TaskCompleted", id-open, "TaskScheduledId")
				n++
			}
			id++
		}
		for id < 2*open {
			step()
		}
		before := used()
		for n < events {
			step()
		}
		after := used()
		const slack = 64 << 10
		if after > before+slack {
			t.Errorf("with %d open, the replay holds %d bytes more after %d events", open, after-before, n)
		}
		h := r.End()
		if h.Rows != n || h.Live.Events != n || len(h.Live.Open) != int(open) || h.AnomalyCounts[replay.AnomalyDuplicateID] > 0 {
			t.Errorf("%d rows, %d events, %d open, %v", h.Rows, h.Live.Events, len(h.Live.Open), h.AnomalyCounts)
		}
		if first := h.Live.Open[0].EventID; first != id-open {
			t.Errorf("the first that is open is %d, want %d", first, id-open)
		}
	}
}

// What a partition can make a History hold is bounded.
func TestLimits(t *testing.T) {
	r := replay.New("i", replay.Options{})
	rows := scripted("OS; ES; OC")
	add := func(n int64, change func(*schema.Row)) {
		row := rows[2].Clone()
		row.RowKey = schema.FormatSequence(n)
		change(&row)
		r.Add(&row)
	}
	r.Add(&rows[0])
	r.Add(&rows[1])
	const orphans, executions = 1000, 500
	n := int64(2)
	for range orphans {
		add(n, func(row *schema.Row) {
			row.Set("EventType", schema.String("TaskCompleted"))
			row.Set("TaskScheduledId", schema.Int32(5))
		})
		n++
	}
	for i := range executions {
		add(n, func(row *schema.Row) { row.Set("ExecutionId", schema.String(fmt.Sprint("old", i))) })
		n++
	}
	h := r.End()
	if h.AnomalyCounts[replay.AnomalyOrphanCompletion] != orphans {
		t.Errorf("counted %d orphans", h.AnomalyCounts[replay.AnomalyOrphanCompletion])
	}
	kept := 0
	for _, a := range h.Anomalies {
		if a.Code == replay.AnomalyOrphanCompletion {
			kept++
		}
	}
	if kept != replay.MaxAnomalies || len(h.Overwritten) > replay.MaxOverwritten || len(h.Overwritten) < replay.MaxOverwritten-1 {
		t.Errorf("kept %d orphans and %d executions", kept, len(h.Overwritten))
	}
	if h.Rows != n || h.Live.Events+tails(h)+h.Skipped != h.Rows {
		t.Errorf("%d live, %d left over and %d skipped, of %d rows", h.Live.Events, tails(h), h.Skipped, h.Rows)
	}
}

// EventIds with holes: what was begun and answered is told from what never was,
// until there are too many holes to remember.
func TestManyHoles(t *testing.T) {
	var text strings.Builder
	text.WriteString("OS; ES; ")
	for id := range 200 { // every other ID is an event sent
		if id%2 == 0 {
			fmt.Fprintf(&text, "TS %d A; TC %d; ", id, id)
		} else {
			fmt.Fprintf(&text, "SE %d other go; ", id)
		}
	}
	h := replayed("i", scripted(text.String()+"TC 199; TC 198; TC 197; OC; sentinel"), replay.Options{})
	if got := found(h); got != "orphan-completion 302; duplicate-completion 303; orphan-completion 304" || h.Live.Duplicates != 1 {
		t.Errorf("found %s and %d duplicates", got, h.Live.Duplicates)
	}
	// The oldest IDs are no longer told apart: they count as begun.
	h = replayed("i", scripted(text.String()+"TC 1; OC; sentinel"), replay.Options{})
	if got := found(h); got != "duplicate-completion 302" {
		t.Errorf("found %s", got)
	}
}

// IDs out of order, and more of them than are looked through one by one.
func TestManyOpen(t *testing.T) {
	ids := make([]int, 0, 100)
	for i := range 100 {
		ids = append(ids, (i*37)%100)
	}
	var text strings.Builder
	text.WriteString("OS; ES; ")
	for _, id := range ids {
		fmt.Fprintf(&text, "TS %d A; ", id)
	}
	for _, id := range ids[:90] {
		fmt.Fprintf(&text, "TC %d; ", id)
	}
	for i := range 20 { // in the slots of others
		fmt.Fprintf(&text, "TS %d B; ", 200+i)
	}
	for _, id := range ids[90:95] {
		fmt.Fprintf(&text, "TC %d; ", id)
	}
	h := replayed("i", scripted(text.String()+"OC; sentinel"), replay.Options{})
	var want []int
	want = append(want, ids[95:]...)
	for i := range 20 {
		want = append(want, 200+i)
	}
	var got []int
	for _, o := range h.Live.Open {
		got = append(got, int(o.EventID))
	}
	if !slices.Equal(got, want) || len(h.Anomalies) > 0 {
		t.Errorf("open are %v, want %v; found %s", got, want, found(h))
	}
}

// A delayed signal is forgotten when a later event shows that it was due.
func TestSignals(t *testing.T) {
	var text strings.Builder
	text.WriteString("OS; ES; ")
	due := func(seconds int) string { return (scriptBegin + schema.Ticks(seconds)*second).String() }
	for i := range 100 { // event i+3 seconds into the script
		fmt.Fprintf(&text, "SE %d @a@1 op@%s %s; ", i, due(i+4), signalRequest)
	}
	fmt.Fprintf(&text, "SE 100 @a@1 op@%s %s; ", due(1000), signalRequest)
	h := replayed("i", scripted(text.String()+"OC; sentinel"), replay.Options{})
	if len(h.Live.Open) != 1 || h.Live.Open[0].EventID != 100 || h.Live.Open[0].FireAt != scriptBegin+1000*second {
		t.Errorf("open are %+v", h.Live.Open)
	}
}

func TestOptionsOfInputs(t *testing.T) {
	rows := scripted("OS; ES; TS 0 A; SE 1 @a@1 op " + callRequest + "; ER go; OC; sentinel")
	rows[2].Set("Input", schema.String("[1]"))
	rows[4].Set("Input", schema.String("two"))
	rows[4].Set("InputBlobName", schema.String("i/blob"))
	inputs := func(opts replay.Options) (all []schema.Text) {
		for _, o := range replayed("i", rows, opts).Live.Open {
			all = append(all, o.Input)
		}
		return all
	}
	want := []schema.Text{schema.TextOf("[1]"), schema.TextOf("1"), {Value: "two", Blob: "i/blob", Set: true}}
	if got := inputs(replay.Options{}); !slices.Equal(got, want) {
		t.Errorf("inputs are %+v, want %+v", got, want)
	}
	if got := inputs(replay.Options{OmitInputs: true}); !slices.Equal(got, make([]schema.Text, 3)) {
		t.Errorf("omitted inputs are %+v", got)
	}
}

// A request that is kept in a blob is replayed if it can be loaded.
func TestOptionsLoad(t *testing.T) {
	rows := scripted("OS; ES; SE 0 @a@1 op; OC; sentinel")
	rows[2].Set("Input", schema.String(""))
	rows[2].Set("InputBlobName", schema.String("i/request"))
	load := func(column string, text *schema.Text) error {
		if column != "Input" || text.Blob != "i/request" {
			return errors.New("no such blob")
		}
		text.Load(callRequest)
		return nil
	}
	tests := []struct {
		load      func(string, *schema.Text) error
		open      string
		anomalies string
	}{
		{nil, "", ""},
		{load, "entity_call 0 Add", ""},
		{func(string, *schema.Text) error { return errors.New("gone") }, "", "undecodable 2 Input"},
	}
	for _, tt := range tests {
		h := replayed("i", rows, replay.Options{Load: tt.load})
		if got := strings.Join(openSet(h.Live.Open), ","); got != tt.open || found(h) != tt.anomalies {
			t.Errorf("open is %q and found %q, want %q and %q", got, found(h), tt.open, tt.anomalies)
		}
	}
}

// At cuts before the first episode that begins later. A rewind that nothing has
// followed counts from when its rows were written.
func TestAt(t *testing.T) {
	rows := scripted("OS; ES; ~TS 0 A; OC; OS; ~TF 0; ~EC Failed bad; OC; sentinel")
	rewind := scriptBegin + 100*second
	for i := range rows[:8] {
		if col(&rows[i], "Reason") != "" {
			rows[i].Timestamp = rewind
		}
	}
	later := append(slices.Clone(rows[:8]), scripted("OS; ES; OC; OC; OS; TF 0; OC; OC; OS; GE; OC; sentinel")[8:]...)
	unknown := slices.Clone(rows)
	for i := range unknown {
		unknown[i].Timestamp = 0
	}
	tests := []struct {
		name string
		rows []schema.Row
		at   schema.Ticks
		want string
	}{
		{"before everything", rows, scriptBegin, "Unknown/Unknown episodes=0 events=0"},
		{"first episode", rows, scriptBegin + 1*second, "Running/Running episodes=1 events=4; activity 0 A at 2"},
		{"within it", rows, scriptBegin + 5*second - 1, "Running/Running episodes=1 events=4; activity 0 A at 2"},
		{"second episode", rows, scriptBegin + 5*second, "Failed/Failed episodes=2 events=8 output=bad"},
		{"before the rewind", rows, rewind - 1, "Failed/Failed episodes=2 events=8 output=bad"},
		{"after the rewind", rows, rewind, "Running/Pending episodes=2 events=8 output=bad rewound"},
		{"before it is picked up", later, scriptBegin + 8*second, "Failed/Failed episodes=2 events=8 output=bad"},
		{"picked up", later, scriptBegin + 9*second, "Running/Pending episodes=3 events=11 output=bad rewound"},
		{"unknown times", unknown, schema.MaxTicks, "Running/Pending episodes=2 events=8 output=bad rewound"},
		{"unknown times, cut", unknown, scriptBegin + 2*second, "Running/Running episodes=1 events=4; activity 0 A at 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := replayed("i", tt.rows, replay.Options{At: tt.at})
			if got := summary(&h.Live); got != tt.want {
				t.Errorf("live is\n%s, want\n%s", got, tt.want)
			}
		})
	}
}

func TestOutput(t *testing.T) {
	rows := scripted("OS; ES; EC Failed text; OC; sentinel")
	rows[2].Set("FailureDetails", schema.String(`{"ErrorType":"Bad","ErrorMessage":"it broke","StackTrace":null,"InnerFailure":null,"IsNonRetriable":false}`))
	h := replayed("i", rows, replay.Options{})
	if out, err := h.Live.Output(nil); err != nil || out.Value != "Bad: it broke" {
		t.Errorf("Output = %+v, %v", out, err)
	}
	rows[2].Set("FailureDetails", schema.String("{"))
	h = replayed("i", rows, replay.Options{})
	if out, err := h.Live.Output(nil); err == nil || out.Set {
		t.Errorf("damaged details: Output = %+v, %v", out, err)
	}
	rows[2].Set("FailureDetails", schema.String(""))
	rows[2].Set("FailureDetailsBlobName", schema.String("i/details"))
	h = replayed("i", rows, replay.Options{})
	if out, err := h.Live.Output(nil); err != nil || out.Blob != "i/details" || out.Value != "" {
		t.Errorf("not loaded: Output = %+v, %v", out, err)
	}
	gone := errors.New("gone")
	if _, err := h.Live.Output(func(column string, _ *schema.Text) error {
		if column != "FailureDetails" {
			t.Errorf("asked for %s", column)
		}
		return gone
	}); !errors.Is(err, gone) {
		t.Errorf("the error is %v", err)
	}
	out, err := h.Live.Output(func(_ string, text *schema.Text) error {
		text.Load(`{"ErrorType":"Far","ErrorMessage":"away"}`)
		return nil
	})
	if err != nil || out.Value != "Far: away" {
		t.Errorf("loaded: Output = %+v, %v", out, err)
	}
}

// The two ways to read a parent agree.
func TestParent(t *testing.T) {
	tests := map[string]string{
		`{"Name":"P","OrchestrationInstance":{"InstanceId":"p","ExecutionId":"e"},"TaskScheduleId":3,"Version":""}`:            "P p e 3",
		`{"Name":"P","OrchestrationInstance":{"InstanceId":"a\"b\\u0041","ExecutionId":"e"},"TaskScheduleId":3,"Version":"2"}`: `P a"b\u0041 e 3`,
		`{"Name":null,"OrchestrationInstance":{"InstanceId":"p","ExecutionId":"e"},"TaskScheduleId":3,"Version":""}`:           " p e 3",
		`{"TaskScheduleId":-1,"OrchestrationInstance":{"InstanceId":"p","ExecutionId":"e"},"Name":"P"}`:                        "P p e -1",
		"null": "", "": "", "{": "", `{"Name":"P","OrchestrationInstance":{"InstanceId":"p","ExecutionId":"e"},"TaskScheduleId":99999999999,"Version":""}`: "",
	}
	for text, want := range tests {
		rows := scripted("OS; ES; OC; sentinel")
		rows[1].Set("ParentInstance", schema.String(text))
		got := ""
		if p := replayed("i", rows, replay.Options{}).Live.Parent; p != nil {
			got = fmt.Sprintf("%s %s %s %d", p.Name, p.OrchestrationInstance.InstanceID, p.OrchestrationInstance.ExecutionID, p.TaskScheduleID)
		}
		if got != want {
			t.Errorf("%s: parent is %q, want %q", text, got, want)
		}
		fromSchema, err := schema.ParseParentInstance(schema.TextOf(text))
		if fast := replayed("i", rows, replay.Options{}).Live.Parent; err == nil && !reflect.DeepEqual(fast, fromSchema) {
			t.Errorf("%s: parent is %+v, want %+v", text, fast, fromSchema)
		}
	}
}

// A sentinel with a wrong type or an unknown column is read as far as it can be.
func TestSentinel(t *testing.T) {
	rows := scripted("OS; ES; OC; sentinel")
	rows[3].Set("CheckpointCompletedTimestamp", schema.String("soon"))
	h := replayed("i", rows, replay.Options{})
	if got := found(h); got != "undecodable sentinel CheckpointCompletedTimestamp" || h.Sentinel == nil || h.Sentinel.ExecutionID.Value != "x" || h.Live.Events != 3 {
		t.Errorf("found %s, sentinel %+v", got, h.Sentinel)
	}
	rows = scripted("OS; ES; OC; sentinel")
	rows[3].Set("Future", schema.String("column"))
	h = replayed("i", rows, replay.Options{})
	if len(h.Anomalies) > 0 || len(h.Sentinel.Extra) != 1 || h.Sentinel.Extra[0].Name != "Future" {
		t.Errorf("found %s, sentinel %+v", found(h), h.Sentinel)
	}
}

// Two partitions one after the other, the first of them large: nothing of it is
// left.
func TestResetAfterLarge(t *testing.T) {
	r := replay.New("i", replay.Options{})
	var large strings.Builder
	large.WriteString("OS; ES; ER go; XS wait; ER held; ")
	for i := range 3000 {
		fmt.Fprintf(&large, "TS %d A; ", i)
	}
	for _, rows := range [][]schema.Row{scripted(large.String()), scripted("OS; ES; TS 1 B; TC 0; OC; sentinel")} {
		r.Reset("i")
		for i := range rows {
			r.Add(&rows[i])
		}
	}
	h := r.End()
	if got := summary(&h.Live); got != "Running/Running episodes=1 events=5; activity 1 B at 2" || found(h) != "orphan-completion 3" {
		t.Errorf("live is %s, found %s", got, found(h))
	}
}
