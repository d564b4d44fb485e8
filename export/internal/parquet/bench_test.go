package parquet

import (
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"
)

// benchRow is a history row in the form that parquet-go writes by reflection:
// pointers for what may be null, and the tags that make its files smallest.
type benchRow struct {
	InstanceID      string  `parquet:"instance_id,dict"`
	ExecutionID     string  `parquet:"execution_id,dict"`
	IsCurrent       bool    `parquet:"is_current"`
	Sequence        int32   `parquet:"sequence,delta"`
	EventType       string  `parquet:"event_type,dict"`
	EventID         int32   `parquet:"event_id,delta"`
	EventTime       int64   `parquet:"event_time,timestamp(nanosecond),delta"`
	TableTime       int64   `parquet:"table_time,timestamp(nanosecond),delta"`
	IsPlayed        bool    `parquet:"is_played"`
	Name            *string `parquet:"name,optional,dict"`
	Version         *string `parquet:"version,optional,dict"`
	TaskScheduledID *int32  `parquet:"task_scheduled_id,optional"`
	TimerID         *int32  `parquet:"timer_id,optional"`
	FireAt          *int64  `parquet:"fire_at,optional,timestamp(nanosecond)"`
	Input           *string `parquet:"input,optional"`
	Result          *string `parquet:"result,optional"`
	Reason          *string `parquet:"reason,optional,dict"`
	Details         *string `parquet:"details,optional,dict"`
	Status          *string `parquet:"orchestration_status,optional,dict"`
	InputBlob       *string `parquet:"input_blob,optional,dict"`
	ResultBlob      *string `parquet:"result_blob,optional,dict"`
	FailureDetails  *string `parquet:"failure_details,optional"`
	SubInstanceID   *string `parquet:"sub_instance_id,optional,dict"`
	Tags            *string `parquet:"tags,optional,dict"`
	ParentInstance  *string `parquet:"parent_instance_id,optional,dict"`
	ParentExecution *string `parquet:"parent_execution_id,optional,dict"`
	ParentName      *string `parquet:"parent_name,optional,dict"`
	ParentTask      *int32  `parquet:"parent_task_id,optional"`
	ScheduledAt     *int64  `parquet:"scheduled_start_time,optional,timestamp(nanosecond)"`
	Generation      *int32  `parquet:"generation,optional"`
	Correlation     *string `parquet:"correlation,optional"`
	TraceParent     *string `parquet:"trace_parent,optional"`
	TraceState      *string `parquet:"trace_state,optional,dict"`
	SpanID          *string `parquet:"client_span_id,optional"`
	Extra           *string `parquet:"extra,optional"`
}

var benchColumns = []Column{
	{"instance_id", String, true},
	{"execution_id", String, true},
	{"is_current", Bool, true},
	{"sequence", Int32, true},
	{"event_type", String, true},
	{"event_id", Int32, true},
	{"event_time", Timestamp, true},
	{"table_time", Timestamp, true},
	{"is_played", Bool, true},
	{"name", String, false},
	{"version", String, false},
	{"task_scheduled_id", Int32, false},
	{"timer_id", Int32, false},
	{"fire_at", Timestamp, false},
	{"input", Text, false},
	{"result", Text, false},
	{"reason", String, false},
	{"details", String, false},
	{"orchestration_status", String, false},
	{"input_blob", String, false},
	{"result_blob", String, false},
	{"failure_details", Text, false},
	{"sub_instance_id", String, false},
	{"tags", String, false},
	{"parent_instance_id", String, false},
	{"parent_execution_id", String, false},
	{"parent_name", String, false},
	{"parent_task_id", Int32, false},
	{"scheduled_start_time", Timestamp, false},
	{"generation", Int32, false},
	{"correlation", Text, false},
	{"trace_parent", Text, false},
	{"trace_state", String, false},
	{"client_span_id", Text, false},
	{"extra", Text, false},
}

// appendTo adds r to g, as an exporter would: required columns, then what is set.
func (r *benchRow) appendTo(g *RowGroup) error {
	g.String(0, r.InstanceID)
	g.String(1, r.ExecutionID)
	g.Bool(2, r.IsCurrent)
	g.Int(3, int64(r.Sequence))
	g.String(4, r.EventType)
	g.Int(5, int64(r.EventID))
	g.Int(6, r.EventTime)
	g.Int(7, r.TableTime)
	g.Bool(8, r.IsPlayed)
	for _, s := range [...]struct {
		col int
		v   *string
	}{
		{9, r.Name},
		{10, r.Version},
		{14, r.Input},
		{15, r.Result},
		{16, r.Reason},
		{17, r.Details},
		{18, r.Status},
		{19, r.InputBlob},
	} {
		if s.v != nil {
			g.String(s.col, *s.v)
		}
	}
	if r.TaskScheduledID != nil {
		g.Int(11, int64(*r.TaskScheduledID))
	}
	if r.TimerID != nil {
		g.Int(12, int64(*r.TimerID))
	}
	if r.FireAt != nil {
		g.Int(13, *r.FireAt)
	}
	return g.EndRow()
}

// benchRows returns n rows of plausible histories: an instance starts, schedules
// activities, waits for timers and events, and completes. The same n gives the
// same rows.
func benchRows(n int) []benchRow {
	r := rand.New(rand.NewPCG(1, 2))
	pick := func(s ...string) string { return s[r.IntN(len(s))] }
	id := func() string { return fmt.Sprintf("%016x%016x", r.Uint64(), r.Uint64()) }
	ref := func(s string) *string { return &s }
	payload := func() *string {
		switch r.IntN(4) {
		case 0:
			return ref(fmt.Sprintf(`{"orderId":"%s","customerId":%d,"region":"%s","lines":[{"sku":"SKU-%05d","name":"%s","qty":%d,"price":%d.%02d}],"shipTo":{"city":"%s","zip":"%05d"}}`,
				id()[:16], r.IntN(90000), pick("westeurope", "eastus2"), r.IntN(4000), pick("desk lamp", "usb-c cable", "keyboard (ISO)"),
				r.IntN(9), r.IntN(500), r.IntN(100), pick("Köln", "Osaka", "Lyon"), r.IntN(99999)))
		case 1:
			return ref(fmt.Sprintf(`{"ok":true,"elapsedMs":%d,"etag":"0x%016X","correlationId":"%s"}`, r.IntN(5000), r.Uint64(), id()))
		case 2:
			return ref(fmt.Sprintf(`"%s/batch-%06d.json"`, pick("westeurope", "eastus2"), r.IntN(1000000)))
		default:
			return ref(fmt.Sprintf(`{"total":%d.%02d,"currency":"EUR","approved":%v}`, r.IntN(9000), r.IntN(100), r.IntN(5) > 0))
		}
	}
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	rows := make([]benchRow, 0, n+100)
	for len(rows) < n {
		instance, execution, seq, task := id(), id(), int32(0), int32(0)
		add := func(kind string, e benchRow) {
			now += int64(1+r.IntN(400_000)) * 100
			e.InstanceID, e.ExecutionID, e.IsCurrent = instance, execution, true
			e.Sequence, e.EventType, e.EventTime, e.TableTime = seq, kind, now, now+int64(r.IntN(300))*1e6
			if e.EventID == 0 {
				e.EventID = -1
			}
			seq++
			rows = append(rows, e)
		}
		add("OrchestratorStarted", benchRow{IsPlayed: true})
		add("ExecutionStarted", benchRow{IsPlayed: true, Input: payload(), Name: ref(pick("OrderProcessing", "NightlyReconciliation", "CustomerOnboarding")), Version: ref("")})
		for range 2 + r.IntN(12) {
			task++
			at := now + int64(time.Minute)
			switch r.IntN(10) {
			case 0:
				add("TimerCreated", benchRow{EventID: task, FireAt: &at})
				add("OrchestratorCompleted", benchRow{})
				add("OrchestratorStarted", benchRow{})
				add("TimerFired", benchRow{TimerID: &task, FireAt: &at})
			case 1:
				add("EventRaised", benchRow{Name: ref("Approval"), Input: payload()})
			default:
				of, name := task, pick("ValidateOrder", "ReserveInventory", "ChargePayment", "CreateShipment", "AuditLog")
				e := benchRow{EventID: task, Name: &name, Input: payload()}
				if r.IntN(200) == 0 {
					e.InputBlob = ref(instance + "/history-" + strconv.Itoa(int(seq)) + "-TaskScheduled-Input.json.gz")
				}
				add("TaskScheduled", e)
				add("OrchestratorCompleted", benchRow{})
				add("OrchestratorStarted", benchRow{})
				if r.IntN(40) == 0 {
					add("TaskFailed", benchRow{
						TaskScheduledID: &of, Reason: ref("Activity function '" + name + "' failed: Connection refused"),
						Details: ref("System.Net.Http.HttpRequestException: Connection refused\r\n   at Contoso.Orders." + name + ".Run(OrderInput input) in /src/" + name + ".cs:line " + strconv.Itoa(r.IntN(200))),
					})
				} else {
					add("TaskCompleted", benchRow{TaskScheduledID: &of, Result: payload()})
				}
			}
		}
		add("ExecutionCompleted", benchRow{EventID: task + 1, Status: ref(pick("Completed", "Completed", "Failed")), Result: payload()})
		add("OrchestratorCompleted", benchRow{})
	}
	return rows[:n]
}

const benchGroupRows = 122_880

// writeAll writes rows with this package and returns the size of the file.
func writeAll(tb testing.TB, g *RowGroup, enc *Encoder, rows []benchRow) int64 {
	w := NewWriter(io.Discard, g.schema, nil)
	for len(rows) > 0 {
		n := min(len(rows), benchGroupRows)
		g.Reset()
		for i := range rows[:n] {
			if err := rows[i].appendTo(g); err != nil {
				tb.Fatal(err)
			}
		}
		rows = rows[n:]
		e, err := g.Encode(enc)
		if err != nil {
			tb.Fatal(err)
		}
		if err := w.WriteRowGroup(e); err != nil {
			tb.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return w.Bytes()
}

type countingWriter int64

func (w *countingWriter) Write(p []byte) (int, error) {
	*w += countingWriter(len(p))
	return len(p), nil
}

// writeAllGeneric writes rows with parquet-go's GenericWriter and returns the
// size of the file.
func writeAllGeneric(tb testing.TB, rows []benchRow) int64 {
	var size countingWriter
	w := parquet.NewGenericWriter[benchRow](&size, parquet.Compression(&zstd.Codec{Level: zstd.SpeedFastest}), parquet.DataPageVersion(1))
	for len(rows) > 0 {
		n := min(len(rows), benchGroupRows)
		if _, err := w.Write(rows[:n]); err != nil {
			tb.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			tb.Fatal(err)
		}
		rows = rows[n:]
	}
	if err := w.Close(); err != nil {
		tb.Fatal(err)
	}
	return int64(size)
}

func mustSchema(tb testing.TB, cols []Column) *Schema {
	tb.Helper()
	s, err := NewSchema("history", cols)
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

// BenchmarkWrite writes two row groups of history rows.
func BenchmarkWrite(b *testing.B) {
	rows := benchRows(2 * benchGroupRows)
	g, enc := mustSchema(b, benchColumns).NewRowGroup(), NewEncoder()
	var size int64
	b.ReportAllocs()
	for b.Loop() {
		size = writeAll(b, g, enc, rows)
	}
	b.ReportMetric(float64(len(rows))*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(size)/1e6, "MB")
}

// BenchmarkAppend fills a row group of history rows and does not encode it.
func BenchmarkAppend(b *testing.B) {
	rows := benchRows(benchGroupRows)
	g := mustSchema(b, benchColumns).NewRowGroup()
	b.ReportAllocs()
	for b.Loop() {
		g.Reset()
		for i := range rows {
			if err := rows[i].appendTo(g); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(len(rows))*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkEncode encodes a row group of history rows.
func BenchmarkEncode(b *testing.B) {
	rows := benchRows(benchGroupRows)
	g, enc := mustSchema(b, benchColumns).NewRowGroup(), NewEncoder()
	for i := range rows {
		if err := rows[i].appendTo(g); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.Encode(enc); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(rows))*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkAgainstGeneric writes the same rows with this package and with
// parquet-go in turn, so that both meet the same noise of the machine, and
// reports how this package compares: speedup and size as ratios.
func BenchmarkAgainstGeneric(b *testing.B) {
	rows := benchRows(2 * benchGroupRows)
	g, enc := mustSchema(b, benchColumns).NewRowGroup(), NewEncoder()
	mallocs := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.Mallocs
	}
	var own, other struct {
		time   time.Duration
		size   int64
		allocs uint64
	}
	writeAll(b, g, enc, rows) // grows the buffers once
	for b.Loop() {
		before, start := mallocs(), time.Now()
		own.size = writeAll(b, g, enc, rows)
		own.time += time.Since(start)
		own.allocs += mallocs() - before

		before, start = mallocs(), time.Now()
		other.size = writeAllGeneric(b, rows)
		other.time += time.Since(start)
		other.allocs += mallocs() - before
	}
	n := float64(len(rows)) * float64(b.N)
	b.ReportMetric(n/own.time.Seconds(), "rows/s")
	b.ReportMetric(n/other.time.Seconds(), "generic-rows/s")
	b.ReportMetric(other.time.Seconds()/own.time.Seconds(), "speedup")
	b.ReportMetric(float64(own.size)/1e6, "MB")
	b.ReportMetric(float64(own.size)/float64(other.size), "size-ratio")
	b.ReportMetric(float64(own.allocs)/n, "allocs/row")
	b.ReportMetric(float64(other.allocs)/n, "generic-allocs/row")
}
