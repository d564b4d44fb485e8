package replay_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// In no recorded row does a column differ from what its history says, but where a
// worker was killed between the two.
func TestCompareRecorded(t *testing.T) {
	killed := map[string]string{
		"dtfx-2.9.1-crashed/inflight-07": "LastUpdatedTime",
		"dtfx-2.9.1-torn/wide-5":         "LastUpdatedTime RuntimeStatus",
	}
	seen, rows := 0, 0
	for _, rec := range testhub.Recordings {
		all, r := recordedInstances(t, rec.Name)
		blobs, _ := blobsOf(t, r)
		for _, in := range all {
			if in.row == nil {
				continue
			}
			rows++
			h := replayed(in.key, in.history, replay.Options{})
			at := rec.Name + "/" + in.key
			v := replay.Compare(in.row, h, blobs)
			if got := columnsOf(v); got != killed[at] {
				t.Errorf("%s: differences in %q, want %q: %+v", at, got, killed[at], v.Differences)
			} else if got != "" {
				seen++
			}
			if v := replay.Compare(in.row, h, replay.Loader{}); columnsOf(v) != killed[at] {
				t.Errorf("%s, without blobs: differences in %q, want %q: %+v", at, columnsOf(v), killed[at], v.Differences)
			}
		}
	}
	if seen != len(killed) || rows < 1100 {
		t.Errorf("%d of %d known differences in %d rows", seen, len(killed), rows)
	}
}

func columnsOf(v replay.Verdict) string {
	var all []string
	for _, d := range v.Differences {
		all = append(all, d.Column)
	}
	return strings.Join(all, " ")
}

func find(t *testing.T, name, key string) recordedInstance {
	t.Helper()
	all, _ := recordedInstances(t, name)
	i := slices.IndexFunc(all, func(in recordedInstance) bool { return in.key == key })
	if i < 0 {
		t.Fatalf("no instance %q in %s", key, name)
	}
	return all[i]
}

// Each column of a row is changed in turn: that column and no other differs, and
// the difference says what is stored and what the event of the history has.
func TestCompareColumns(t *testing.T) {
	later := func(p *schema.Optional[schema.Ticks], by schema.Ticks) { p.Value += by }
	tests := []struct {
		hub, key, column string
		change           func(i *schema.Instance)
		stored, derived  string // as the recording has them, or else not compared
		rowKeys          []string
		underivable      bool
	}{
		{"dtfx-2.9.1", "tagged", "ExecutionId", func(i *schema.Instance) { i.ExecutionID.Value = "other" }, "other", "", []string{"0000000000000000"}, false},
		{"dtfx-2.9.1", "tagged", "Name", func(i *schema.Instance) { i.Name.Value = "Other" }, "Other", "HelloSequence", []string{"0000000000000001"}, false},
		{"dtfx-2.9.1", "tagged", "Name", func(i *schema.Instance) { i.Name = schema.Text{} }, "", "HelloSequence", []string{"0000000000000001"}, false},
		{"dtfx-2.9.1", "tagged", "Version", func(i *schema.Instance) { i.Version.Value = "9" }, "9", "", []string{"0000000000000001"}, false},
		{"dtfx-2.9.1", "tagged", "Input", func(i *schema.Instance) { i.Input.Value = "1" }, "1", "", []string{"0000000000000001"}, false},
		{"dtfx-2.9.1", "tagged", "Output", func(i *schema.Instance) { i.Output.Value = "1" }, "1", "", nil, false},
		{"dtfx-2.9.1", "tagged", "Output", func(i *schema.Instance) { i.Output = schema.Text{} }, "", "", nil, false},
		{"dtfx-2.9.1", "tagged", "Tags", func(i *schema.Instance) { i.Tags.Value = `{"a":"b"}` }, `{"a":"b"}`, "", []string{"0000000000000001"}, false},
		{"dtfx-2.9.1", "tagged", "Generation", func(i *schema.Instance) { i.Generation.Value = 7 }, "7", "0", []string{"0000000000000001"}, false},
		{"dtfx-2.9.1", "tagged", "CreatedTime", func(i *schema.Instance) { later(&i.CreatedTime, 1) }, "", "", []string{"0000000000000001"}, false},
		{"dtfx-2.9.1", "tagged", "LastUpdatedTime", func(i *schema.Instance) { later(&i.LastUpdatedTime, -1) }, "", "", nil, false},
		{"dtfx-2.9.1", "tagged", "CompletedTime", func(i *schema.Instance) { later(&i.CompletedTime, second) }, "", "", nil, false},
		{"dtfx-2.9.1", "tagged", "CompletedTime", func(i *schema.Instance) { later(&i.CompletedTime, -second) }, "", "", nil, false},
		{"dtfx-2.9.1", "tagged", "CompletedTime", func(i *schema.Instance) { i.CompletedTime.Set = false }, "", "", nil, false},
		{"dtfx-2.9.1", "tagged", "RuntimeStatus", func(i *schema.Instance) { i.RuntimeStatus.Value = "Running" }, "Running", "Completed", nil, false},
		{"dtfx-2.9.1", "tagged", "ScheduledStartTime", func(i *schema.Instance) { i.ScheduledStartTime = schema.Some(scriptBegin) }, "2026-11-22T04:00:00.0000000Z", "", []string{"0000000000000001"}, false},
		{"dtfx-2.9.1", "tagged", "CustomStatus", func(i *schema.Instance) { i.CustomStatus = schema.Some("other") }, "", "", nil, true},
		{"dtfx-2.9.1", "tagged", "TaskHubName", func(i *schema.Instance) { i.TaskHubName = schema.Some("other") }, "", "", nil, true},
		{"dtfx-2.9.1", "fail-orchestrator", "Output", func(i *schema.Instance) { i.Output.Value += "!" }, "", "", nil, false},
		{"dtfx-2.9.1", "suspended", "RuntimeStatus", func(i *schema.Instance) { i.RuntimeStatus.Value = "Running" }, "Running", "Suspended", []string{"0000000000000004"}, false},
		{"dtfx-2.9.1", "suspended", "Output", func(i *schema.Instance) { i.Output = schema.Text{} }, "", "maintenance window", []string{"0000000000000004"}, false},
		{"dtfx-2.9.1", "approval", "CompletedTime", func(i *schema.Instance) { i.CompletedTime = schema.Some(scriptBegin) }, "2026-11-22T04:00:00.0000000Z", "", nil, false},
		{"dtfx-2.9.1", "approval", "Output", func(i *schema.Instance) { i.Output = schema.TextOf("early") }, "early", "", nil, false},
		{"dtfx-2.9.1", "order-1", "Input", func(i *schema.Instance) { i.Input.Value = "short" }, "short", "", []string{"0000000000000001"}, false},
		// A child may have what an earlier child of the same ID left in the row.
		{"dtfx-2.9.1", "parent-waiting:wait", "Output", func(i *schema.Instance) { i.Output = schema.TextOf("old") }, "", "", nil, true},
		{"dtfx-2.9.1", "eternal", "CompletedTime", func(i *schema.Instance) { i.CompletedTime.Value = 0; i.CompletedTime.Set = false }, "", "", nil, false},
		{"dtfx-2.9.1", "eternal-waiting", "CompletedTime", func(i *schema.Instance) { i.CompletedTime = schema.Some(scriptBegin) }, "", "", nil, true},
		{"dtfx-2.9.1", "eternal-waiting", "Generation", func(i *schema.Instance) { i.Generation = schema.Some(int32(3)) }, "", "", nil, true},
		{"functions-3-after-write", "failing-1", "LastUpdatedTime", func(i *schema.Instance) { later(&i.LastUpdatedTime, 1) }, "", "", nil, true},
		{"functions-3-after-write", "failing-1", "RuntimeStatus", func(i *schema.Instance) { i.RuntimeStatus.Value = "Failed" }, "Failed", "Pending", nil, false},
	}
	for _, tt := range tests {
		t.Run(tt.key+" "+tt.column, func(t *testing.T) {
			in := find(t, tt.hub, tt.key)
			blobs, _ := blobsOf(t, testhub.OpenHub(t, tt.hub))
			h := replayed(in.key, in.history, replay.Options{})
			if v := replay.Compare(in.row, h, blobs); len(v.Differences) > 0 {
				t.Fatalf("before the change: %+v", v.Differences)
			}
			row := *in.row
			tt.change(&row)
			v := replay.Compare(&row, h, blobs)
			if tt.underivable {
				if len(v.Differences) > 0 || !slices.Contains(v.NotDerivable, tt.column) {
					t.Errorf("differences %+v, not derivable %q", v.Differences, v.NotDerivable)
				}
				return
			}
			if columnsOf(v) != tt.column {
				t.Fatalf("differences %+v, want %s", v.Differences, tt.column)
			}
			d := v.Differences[0]
			if tt.stored != "" && d.Stored != tt.stored || tt.derived != "" && d.Derived != tt.derived {
				t.Errorf("stored %q and derived %q, want %q and %q", d.Stored, d.Derived, tt.stored, tt.derived)
			}
			if d.Stored == d.Derived || d.Evidence == "" {
				t.Errorf("the difference is %+v", d)
			}
			if len(d.RowKeys) == 0 || tt.rowKeys != nil && !slices.Equal(d.RowKeys, tt.rowKeys) {
				t.Errorf("rows are %q, want %q", d.RowKeys, tt.rowKeys)
			}
		})
	}
}

func TestCompareStatus(t *testing.T) {
	tests := []struct {
		name, rows string
		row        *schema.Instance
		opts       replay.Options
		want       schema.Status
		from       replay.Source
		columns    string // that differ
		nothing    bool   // no column can be derived
	}{
		{
			name: "no history", row: instanceRow("Pending", "x", 5), want: schema.StatusPending, from: replay.FromRow, nothing: true,
		},
		{
			name: "terminated before the start", row: instanceRow("Terminated", "x", 5), want: schema.StatusTerminated, from: replay.FromRow, nothing: true,
		},
		{
			name: "history of a sentinel that does not fit", rows: "OS; ES; OC; @y sentinel", row: instanceRow("Running", "x", 2),
			want: schema.StatusRunning, from: replay.FromRow, nothing: true,
		},
		{
			name: "restarted", rows: "OS; ES; EC Completed; OC; sentinel", row: instanceRow("Pending", "new", 9),
			want: schema.StatusPending, from: replay.FromRow, nothing: true,
		},
		{
			name: "restarted and terminated", rows: "OS; ES; EC Completed; OC; sentinel", row: instanceRow("Terminated", "new", 9),
			want: schema.StatusTerminated, from: replay.FromRow, nothing: true,
		},
		{
			name: "restarted by an old version", rows: "OS; ES; EC Completed; OC; sentinel", row: instanceRow("Pending", "", 9),
			want: schema.StatusPending, from: replay.FromRow, nothing: true,
		},
		{
			name: "row of an earlier execution", rows: "OS; ES; OC; sentinel", row: instanceRow("Pending", "old", 1),
			want: schema.StatusRunning, from: replay.FromHistory, columns: "ExecutionId CreatedTime RuntimeStatus",
		},
		{
			name: "terminated without completion", rows: "OS; ES; OC; OS; XT; OC; sentinel", row: instanceRow("Terminated", "x", 2),
			want: schema.StatusRunning, from: replay.FromHistory,
		},
		{
			name: "rewound", rows: "OS; ES; ~EC Failed; OC; sentinel", row: instanceRow("Pending", "x", 2),
			want: schema.StatusPending, from: replay.FromHistory,
		},
		{
			name: "rewind without its row", rows: "OS; ES; ~EC Failed; OC; sentinel", row: instanceRow("Failed", "x", 2),
			want: schema.StatusPending, from: replay.FromHistory, columns: "RuntimeStatus",
		},
		{
			name: "rewound and running", rows: "OS; ES; ~EC Failed; OC; OS; GE; OC; sentinel", row: instanceRow("Running", "x", 2),
			want: schema.StatusPending, from: replay.FromHistory,
		},
		{
			name: "begin lost", rows: "+1 ES; OC; sentinel", row: instanceRow("Running", "x", 1),
			want: schema.StatusRunning, from: replay.FromHistory,
		},
		{
			name: "start lost", rows: "OS; OC; sentinel", row: instanceRow("Failed", "x", 2),
			want: schema.StatusFailed, from: replay.FromRow,
		},
		{
			name: "unknown status", rows: "OS; ES; OC; sentinel", row: instanceRow("Odd", "x", 2),
			want: schema.StatusRunning, from: replay.FromHistory, columns: "RuntimeStatus",
		},
		{
			name: "no row", rows: "OS; ES; OC; sentinel",
			want: schema.StatusRunning, from: replay.FromHistory,
		},
		{
			name: "prefix", rows: "OS; ES; OC; OS; EC Failed; OC; sentinel", row: instanceRow("Failed", "x", 2), opts: replay.Options{Episode: 1},
			want: schema.StatusRunning, from: replay.FromHistory, nothing: true,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := replayed("i", scripted(tt.rows), tt.opts)
			if tt.row != nil { // what the checkpoint writes of the last event
				tt.row.LastUpdatedTime = schema.Some(h.Live.LastUpdatedTime)
				tt.row.Name = schema.TextOf("Orchestrator")
				tt.row.Generation = schema.Some(int32(0))
				if h.Live.Completed != nil {
					tt.row.CompletedTime = schema.Some(h.Live.CompletedTime)
				}
			}
			v := replay.Compare(tt.row, h, replay.Loader{})
			if v.Status != tt.want || v.StatusFrom != tt.from {
				t.Errorf("status %v from %v, want %v from %v", v.Status, v.StatusFrom, tt.want, tt.from)
			}
			if columnsOf(v) != tt.columns {
				t.Errorf("differences %+v, want %q", v.Differences, tt.columns)
			}
			if nothing := len(v.NotDerivable) == 14; nothing != tt.nothing {
				t.Errorf("not derivable: %q", v.NotDerivable)
			}
		})
	}
}

// instanceRow is a row with a status that was created some seconds into a script.
func instanceRow(status, execution string, created schema.Ticks) *schema.Instance {
	return &schema.Instance{
		RuntimeStatus: schema.Some(status),
		ExecutionID:   schema.Optional[string]{Value: execution, Set: execution != ""},
		CreatedTime:   schema.Some(scriptBegin + created*second),
	}
}

// A text that cannot be loaded is no difference; one that can is compared in full.
func TestCompareBlobs(t *testing.T) {
	rows := scripted("OS; ES; EC Completed; OC; sentinel")
	rows[2].Set("Result", schema.String(""))
	rows[2].Set("ResultBlobName", schema.String("i/history-0000000000000002-ExecutionCompleted-00000001-Result.json.gz"))
	h := replayed("i", rows, replay.Options{})
	row := instanceRow("Completed", "x", 2)
	row.LastUpdatedTime = schema.Some(h.Live.LastUpdatedTime)
	row.CompletedTime = schema.Some(h.Live.CompletedTime)
	row.Name, row.Generation = schema.TextOf("Orchestrator"), schema.Some(int32(0))
	const container = "hub-largemessages"
	url := func(name string) schema.Text {
		return schema.TextOf("https://account.blob.core.windows.net/" + container + "/" + name)
	}
	const other = "i/history-0000000000000002-ExecutionCompleted-00000002-Result.json.gz"
	texts := map[string]string{
		"i/history-0000000000000002-ExecutionCompleted-00000001-Result.json.gz": strings.Repeat("é", 300),
		other: "else",
	}
	load := func(ref schema.Ref) (schema.Text, error) {
		if text, ok := texts[ref.Blob]; ok {
			return schema.TextOf(text), nil
		}
		return schema.Text{}, errors.New("no such blob")
	}
	tests := []struct {
		name    string
		output  schema.Text
		load    func(schema.Ref) (schema.Text, error)
		columns string
		unknown bool
	}{
		{"the same blob", url("i/history-0000000000000002-ExecutionCompleted-00000001-Result.json.gz"), nil, "", false},
		{"the same text", schema.TextOf(strings.Repeat("é", 300)), load, "", false},
		{"another text", schema.TextOf("other"), load, "Output", false},
		{"another blob", url(other), load, "Output", false},
		{"another blob, not loaded", url(other), nil, "", true},
		{"a blob that is gone", url("i/message-1-ExecutionStarted.json.gz"), load, "", true},
		{"none", schema.Text{}, load, "Output", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			row.Output = tt.output
			v := replay.Compare(row, h, replay.Loader{Container: container, Load: tt.load})
			if columnsOf(v) != tt.columns || slices.Contains(v.NotDerivable, "Output") != tt.unknown {
				t.Errorf("differences %+v, not derivable %q", v.Differences, v.NotDerivable)
			}
			for _, d := range v.Differences {
				if len(d.Derived) > 256+len("…") || len(d.Stored) > 256+len("…") {
					t.Errorf("the difference shows %d and %d bytes", len(d.Stored), len(d.Derived))
				}
			}
		})
	}
}

// The output of a failure is made of its details, wherever they are.
func TestCompareFailureInBlob(t *testing.T) {
	rows := scripted("OS; ES; EC Failed; OC; sentinel")
	rows[2].Set("FailureDetails", schema.String(""))
	rows[2].Set("FailureDetailsBlobName", schema.String("i/details"))
	h := replayed("i", rows, replay.Options{})
	row := instanceRow("Failed", "x", 2)
	row.LastUpdatedTime, row.CompletedTime = schema.Some(h.Live.LastUpdatedTime), schema.Some(h.Live.CompletedTime)
	row.Name, row.Generation = schema.TextOf("Orchestrator"), schema.Some(int32(0))
	load := func(ref schema.Ref) (schema.Text, error) {
		if ref.Blob != "i/details" {
			return schema.Text{}, errors.New("no such blob")
		}
		return schema.TextOf(`{"ErrorType":"Bad","ErrorMessage":"luck"}`), nil
	}
	for _, tt := range []struct {
		output  string
		load    func(schema.Ref) (schema.Text, error)
		columns string
		unknown bool
	}{
		{"Bad: luck", load, "", false},
		{"Good: luck", load, "Output", false},
		{"Bad: luck", nil, "", true},
	} {
		row.Output = schema.TextOf(tt.output)
		v := replay.Compare(row, h, replay.Loader{Container: "hub-largemessages", Load: tt.load})
		if columnsOf(v) != tt.columns || slices.Contains(v.NotDerivable, "Output") != tt.unknown {
			t.Errorf("%s: differences %+v, not derivable %q", tt.output, v.Differences, v.NotDerivable)
		}
	}
}
