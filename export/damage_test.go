package export_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/taskhub-tools/taskhub/export"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// property reads a value as it is stored, with its annotation.
func property(t testing.TB, name, edm, raw string) schema.Property {
	t.Helper()
	annotation := ""
	if edm != "" {
		annotation = fmt.Sprintf(`"V@odata.type":%q,`, edm)
	}
	r, err := schema.DecodeRow([]byte(`{"PartitionKey":"","RowKey":"",` + annotation + `"V":` + raw + `}`))
	if err != nil || len(r.Properties) != 1 {
		t.Fatalf("%s %s: %v", edm, raw, err)
	}
	return prop(name, r.Properties[0].Value)
}

// storedValues are values of every type.
var storedValues = []struct{ edm, raw string }{
	{"", `"text"`},
	{"", `""`},
	{"", `7`},
	{"", `-1`},
	{"", `true`},
	{"", `false`},
	{"", `1.5`},
	{"", `3.0`},
	{"", `null`},
	{"Edm.Int64", `"9007199254740993"`},
	{"Edm.Double", `"NaN"`},
	{"Edm.Double", `1e300`},
	{"Edm.DateTime", `"2026-01-02T03:04:05.0000006Z"`},
	{"Edm.DateTime", `"2026-01-02T03:04:05Z"`},
	{"Edm.DateTime", `"0001-01-01T00:00:00Z"`},
	{"Edm.DateTime", `"9999-12-31T23:59:59.9999999Z"`},
	{"Edm.DateTime", `"yesterday"`},
	{"Edm.Guid", `"c9da6455-213d-42c9-9a79-3e9149a57833"`},
	{"Edm.Binary", `"AAH+/w=="`},
	{"Edm.Later", `{"a":[1,2.50,"x"]}`},
	{"", `{"nested":1}`},
	{"", `[1,2]`},
}

// kept says where a property of a row is to be found: in the column that is
// meant for it, in extra with its type, or as the name of a blob.
func kept(out cells, p *schema.Property, columns map[string]string) bool {
	var one object
	row := schema.Row{Properties: []schema.Property{*p}}
	d := json.NewDecoder(bytes.NewReader(row.AppendJSON(nil)))
	d.UseNumber()
	if d.Decode(&one) != nil {
		return false
	}
	column, known := columns[p.Name]
	extra := object{}
	if text, ok := out["extra"].(string); ok {
		extra = mustObject(text)
	}
	same := func(name string) bool {
		return fmt.Sprint(extra[name]) == fmt.Sprint(one[p.Name]) && fmt.Sprint(extra[name+"@odata.type"]) == fmt.Sprint(one[p.Name+"@odata.type"])
	}
	if _, ok := extra[p.Name]; ok && same(p.Name) {
		return true
	}
	if base, ok := strings.CutSuffix(p.Name, "BlobName"); ok {
		blobs, _ := out["blobs"].(string)
		if name, _ := p.Value.Text(); out[strings.ToLower(base)+"_blob"] == strings.ReplaceAll(name, `\`, "/") ||
			blobs != "" && mustObject(blobs)[base] == name {
			return true
		}
	}
	if !known {
		return false
	}
	if t, ok := p.Value.Time(); ok {
		if _, fits := t.UnixNano(); !fits { // it is in extra under the name of the column
			_, ok := extra[column]
			return ok && same(column) || ok && extra[column] == t.String()
		}
		got, ok := out[column].(ns)
		return ok && ticks(got) == t
	}
	if want, ok := value(one, p.Name).(string); ok {
		// In exports, halves of surrogate pairs read as U+FFFD.
		if out[column] == want {
			return true
		}
		if blob, isRef := out[column+"_blob"].(string); isRef && blob != "" {
			return true // the URL of a blob, whose name stands for it
		}
		if blobs, isRef := out["blobs"].(string); isRef && want == "" {
			_, ok := mustObject(blobs)[p.Name]
			return ok
		}
		return false
	}
	return p.Value.Type() != schema.TypeString && p.Value.Type() != schema.TypeDouble && out[column] == value(one, p.Name)
}

// fits says whether a value has the type of a history or Instances column.
func fits(column string, v schema.Value) bool {
	want := map[string]schema.Type{
		"is_played": schema.TypeBoolean, "generate_new_trace": schema.TypeBoolean,
		"event_id": schema.TypeInt32, "timer_id": schema.TypeInt32, "task_scheduled_id": schema.TypeInt32, "generation": schema.TypeInt32,
	}[column]
	switch {
	case strings.HasSuffix(column, "_time") || column == "fire_at":
		t, ok := v.Time()
		_, inRange := t.UnixNano()
		return ok && inRange
	case want == schema.Absent:
		want = schema.TypeString
	}
	return v.Type() == want
}

// Every known column with every type of value, and unknown columns: what does
// not fit is null, reported, and kept in extra.
func TestWrongTypes(t *testing.T) {
	t.Parallel()
	for _, d := range []export.Dataset{export.History, export.Instances} {
		columns := historyColumns
		if d == export.Instances {
			columns = instanceColumns
		}
		names := make([]string, 0, len(columns))
		for name := range columns {
			names = append(names, name)
		}
		slices.Sort(names)
		names = append(names, "Unknown", "日本", `quo"te`, "input", "Odd@name")
		var rows []schema.Row
		for _, name := range names {
			for _, v := range storedValues {
				p := property(t, name, v.edm, v.raw)
				var r schema.Row
				if d == export.History {
					r = event("h", len(rows), "x", "GenericEvent")
				} else {
					r = row(fmt.Sprintf("%06d", len(rows)), "")
				}
				r.Set(p.Name, p.Value)
				rows = append(rows, r)
			}
		}
		got := exportRows(t, madeUpHub(rows...), d, export.Options{})
		if len(got) != len(rows) {
			t.Fatalf("%s: %d rows, want %d", d, len(got), len(rows))
		}
		for i, r := range rows {
			name, v := names[i/len(storedValues)], storedValues[i%len(storedValues)]
			for k := range r.Properties {
				if !kept(got[i], &r.Properties[k], columns) {
					t.Errorf("%s: %s of %s %s %s is lost: %v", d, r.Properties[k].Name, name, v.edm, v.raw, got[i])
				}
			}
			column, known := columns[name]
			bad := known && !fits(column, r.Get(name))
			if (got[i]["error"] != nil) != bad {
				t.Errorf("%s: %s %s %s has the error %v", d, name, v.edm, v.raw, got[i]["error"])
			}
			if bad && got[i][column] != nil {
				t.Errorf("%s: %s %s %s is %v, want null", d, name, v.edm, v.raw, got[i][column])
			}
		}
	}
}

// Rows that no framework writes: is_current follows the rule all the same.
func TestOddPartitions(t *testing.T) {
	t.Parallel()
	without := func(r schema.Row, names ...string) schema.Row {
		for _, name := range names {
			r.Set(name, schema.Value{})
		}
		return r
	}
	rename := func(r schema.Row, key string) schema.Row { r.RowKey = key; return r }
	rows := []schema.Row{
		// An event without execution ends the live history.
		event("a", 0, "x", "OrchestratorStarted"), event("a", 1, "x", "Unheard"), without(event("a", 2, "x", "TaskScheduled"), "ExecutionId"),
		event("a", 3, "x", "OrchestratorCompleted"), sentinel("a", "x"),
		// Keys that are no positions, before and after the sentinel.
		event("b", 0, "x", "OrchestratorStarted"), rename(event("b", 0, "x", "TaskScheduled"), "000000000000000a"), sentinel("b", "x"),
		rename(event("b", 0, "x", "TaskScheduled"), "t"), rename(event("b", 0, "y", "TaskScheduled"), "zzz"), rename(event("b", 0, "x", "TaskScheduled"), "zzzz"),
		// The sentinel before others decides too.
		event("c", 0, "y", "OrchestratorStarted"), event("c", 1, "x", "OrchestratorStarted"), sentinel("c", "x"), rename(event("c", 0, "x", "TaskScheduled"), "u"),
		// No sentinel: the first row's execution.
		event("d", 0, "x", "OrchestratorStarted"), event("d", 1, "x", "OrchestratorCompleted"), event("d", 2, "y", "OrchestratorCompleted"),
		// A sentinel without execution.
		event("e", 0, "x", "OrchestratorStarted"), event("e", 1, "y", "OrchestratorCompleted"), row("e", "sentinel"),
		// Only a sentinel, and no execution anywhere.
		sentinel("f", "x"),
		without(event("g", 0, "x", "OrchestratorStarted"), "ExecutionId"), without(event("g", 1, "x", "OrchestratorStarted"), "EventType", "EventId", "IsPlayed", "_Timestamp"),
	}
	want := []struct {
		current bool
		bad     string // what the error must name
	}{
		{true, ""},
		{true, ""},
		{false, "execution_id"},
		{false, ""},
		{true, ""},
		{true, "sequence"},
		{true, "sequence"},
		{false, "sequence"},
		{false, "sequence"},
		{false, ""},
		{false, ""},
		{false, "sequence"},
		{true, ""},
		{true, ""},
		{false, ""},
		{true, ""},
		{false, ""},
		{true, "execution_id"},
		{false, "event_type"},
	}
	got := exportRows(t, madeUpHub(rows...), export.History, export.Options{})
	if len(got) != len(want) {
		t.Fatalf("%d rows, want %d", len(got), len(want))
	}
	for i, w := range want {
		text, _ := got[i]["error"].(string)
		if got[i]["is_current"] != w.current || (text != "") != (w.bad != "") || !strings.Contains(text, w.bad) {
			t.Errorf("row %d, %s: is_current is %v, error %q; want %+v", i, got[i].key(), got[i]["is_current"], text, w)
		}
		if extra, _ := got[i]["extra"].(string); strings.Contains(w.bad, "sequence") && !strings.Contains(extra, `"RowKey":`) {
			t.Errorf("row %d has lost its RowKey: extra is %q", i, extra)
		}
	}
}

// Partitions beyond the look-ahead, of 4,096 rows: the sentinel is found by a
// look-up.
func TestLongPartitions(t *testing.T) {
	t.Parallel()
	type line struct {
		InstanceID  string `json:"instance_id"`
		Sequence    int    `json:"sequence"`
		ExecutionID string `json:"execution_id"`
		IsCurrent   bool   `json:"is_current"`
		Error       *string
	}
	for _, n := range []int{4095, 4096, 4097, 8192, 10_000} {
		var rows []schema.Row
		live := map[string]int{"a": n, "b": n - 500, "c": 0, "d": n - 500, "e": n, "f": 1}
		for id, n2 := range live {
			for seq := range n {
				execution := "new"
				if seq >= n2 || id == "c" {
					execution = "old"
				}
				rows = append(rows, event(id, seq, execution, "TaskScheduled"))
			}
			switch id {
			case "a", "b", "c", "f": // d and e have none
				rows = append(rows, sentinel(id, "new"))
			}
		}
		m := madeUpHub(rows...)
		for _, f := range []export.Filter{{}, {IDs: []string{"a", "b", "c", "d", "e", "f"}}} {
			var b bytes.Buffer
			if _, err := export.Stream(t.Context(), m, &b, export.History, export.Options{Filter: f}); err != nil {
				t.Fatal(err)
			}
			next := map[string]int{}
			for text := range bytes.Lines(b.Bytes()) {
				var l line
				if err := json.Unmarshal(text, &l); err != nil {
					t.Fatal(err)
				}
				if l.Sequence != next[l.InstanceID] || l.IsCurrent != (l.Sequence < live[l.InstanceID]) || l.Error != nil {
					t.Fatalf("of %d rows: %+v comes for %s %d, live are %d", n, l, l.InstanceID, next[l.InstanceID], live[l.InstanceID])
				}
				next[l.InstanceID]++
			}
			for id := range live {
				if next[id] != n {
					t.Errorf("%s has %d rows, want %d", id, next[id], n)
				}
			}
		}
	}
}

// Blobs that are not what they should be.
func TestDamagedBlobs(t *testing.T) {
	const limit = 8 << 20
	big := strings.Repeat("0123456789abcdef", 5<<20/16) // 5 MiB
	// Many members that together unfold to 2 GiB.
	bomb := bytes.Repeat(gzipped(strings.Repeat("\x00", 1<<20)), 2048)
	blobs := map[string]struct {
		data []byte
		want cell // nil for an error
	}{
		"good":      {gzipped("a text"), "a text"},
		"empty":     {gzipped(""), ""},
		"big":       {gzipped(big), big},
		"limit":     {gzipped(strings.Repeat("x", limit)), strings.Repeat("x", limit)},
		"above":     {gzipped(strings.Repeat("x", limit+1)), nil},
		"bomb":      {bomb, nil},
		"plain":     {[]byte("not gzip"), nil},
		"none":      {nil, nil},
		"truncated": {gzipped(big)[:1000], nil},
		"checksum":  {slices.Concat(gzipped("a text")[:20], []byte{1, 2, 3, 4, 5, 6, 7, 8}), nil},
		"two":       {slices.Concat(gzipped("a "), gzipped("text")), "a text"},
		"latin1":    {gzipped("a\xe9b"), "a\uFFFDb"},
		"surrogate": {gzipped("a\xed\xa0\x80b"), "a\uFFFDb"},
		"nul":       {gzipped("a\x00b\u2028\"\\\r\n\t\x7f😀"), "a\x00b\u2028\"\\\r\n\t\x7f😀"},
	}
	var rows []schema.Row
	for id := range blobs {
		name := id + "/history-0000000000000000-TaskCompleted-00000000-Result.json.gz"
		rows = append(rows, event(id, 0, "x", "TaskCompleted", text("Result", ""), text("ResultBlobName", name)), sentinel(id, "x"),
			instance(id, "F", text("Output", "https://account.blob.core.windows.net/madeup-largemessages/"+name)))
	}
	m := madeUpHub(rows...)
	for id, b := range blobs {
		if id != "none" {
			addBlob(m, id+"/history-0000000000000000-TaskCompleted-00000000-Result.json.gz", b.data)
		}
	}
	db := testhub.DuckDB(t)
	for _, f := range formats {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		dir, manifest := run(t, m, export.Options{Format: f, MaxPayloadBytes: limit, Datasets: []export.Dataset{export.History, export.Instances}})
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 1<<30 {
			t.Errorf("%s: %d MiB were allocated", f, used>>20)
		}
		for d, column := range map[export.Dataset]string{export.History: "result", export.Instances: "output"} {
			var got []cells
			if f == export.Parquet {
				got = readParquet(t, db, parts(t, dir, manifest, d), d)
			} else {
				got = readText(t, dir, manifest, d)
				for _, p := range parts(t, dir, manifest, d) {
					if !utf8.Valid(mustRead(t, p)) {
						t.Errorf("%s is not UTF-8", filepath.Base(p))
					}
				}
			}
			if len(got) != len(blobs) {
				t.Errorf("%s %s: %d rows, want %d", f, d, len(got), len(blobs))
			}
			var failed int64
			for _, row := range got {
				id := as[string](row["instance_id"])
				want := blobs[id].want
				if want == nil {
					failed++
				}
				if row[column] != want || (row["error"] == nil) != (want != nil) {
					t.Errorf("%s %s of %s: %s, error %v; want %s", f, column, id, show(row[column]), row["error"], show(want))
				}
				if blob, _ := row["output_blob"].(string); d == export.Instances && !strings.HasPrefix(blob, id+"/") {
					t.Errorf("%s: output_blob of %s is %q", f, id, blob)
				}
			}
			if n := entry(t, manifest, d).Errors; n != failed {
				t.Errorf("%s %s: %d errors in the manifest, want %d", f, d, n, failed)
			}
		}
	}
}

// A column that has a text and the name of a blob keeps both.
func TestTextBesideBlob(t *testing.T) {
	t.Parallel()
	m := madeUpHub(
		event("h", 0, "x", "TaskCompleted", text("Result", "inline"), text("ResultBlobName", "b")),
		event("h", 1, "x", "TaskCompleted", text("ResultBlobName", "gone"), text("Result", "inline")),
		instance("h", "F", text("Input", "inline"), text("InputBlobName", "b"), text("NameBlobName", "n"), text("Output", "o"), text("OutputBlobName", "p"), text("Tags", "t"), text("TagsBlobName", "u")),
	)
	addBlob(m, "b", gzipped("from the blob"))
	got := exportRows(t, m, export.History, export.Options{})
	if got[0]["result"] != "from the blob" || got[0]["extra"] != `{"Result":"inline"}` || got[0]["blobs"] != `{"Result":"b"}` || got[0]["error"] != nil {
		t.Errorf("with a blob: %v", got[0])
	}
	if got[1]["result"] != nil || got[1]["extra"] != `{"Result":"inline"}` || got[1]["blobs"] != `{"Result":"gone"}` || got[1]["error"] == nil {
		t.Errorf("without the blob: %v", got[1])
	}
	got = exportRows(t, m, export.Instances, export.Options{})
	extra, _ := got[0]["extra"].(string)
	for name, want := range map[string]string{"InputBlobName": "b", "NameBlobName": "n", "OutputBlobName": "p", "TagsBlobName": "u"} {
		if mustObject(extra)[name] != want {
			t.Errorf("%s is lost: %v", name, got[0])
		}
	}
	if got[0]["input"] != "inline" || got[0]["output"] != "o" || got[0]["tags"] != "t" {
		t.Errorf("instance: %v", got[0])
	}
}

// Times at and beyond the ends of nanoseconds.
func TestTimes(t *testing.T) {
	t.Parallel()
	db := testhub.DuckDB(t)
	parse := func(s string) schema.Ticks {
		at, err := schema.ParseTicks(s)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	first, last := int64(math.MinInt64/100*100), int64(math.MaxInt64/100*100)
	tests := []struct {
		stored string
		want   cell
	}{
		{"0001-01-01T00:00:00Z", nil},
		{"0001-01-01T00:00:00.0000001Z", nil},
		{"1601-01-01T00:00:00Z", nil},
		{"1677-09-21T00:12:43.1452241Z", nil},
		{"1677-09-21T00:12:43.1452242Z", ns(first)},
		{"1969-12-31T23:59:59.9999999Z", ns(-100)},
		{"1970-01-01T00:00:00.0000000Z", ns(0)},
		{"2026-11-22T04:07:21.7644267Z", ns(1795320441764426700)},
		{"2262-04-11T23:47:16.8547758Z", ns(last)},
		{"2262-04-11T23:47:16.8547759Z", nil},
		{"9999-12-31T23:59:59.9999999Z", nil},
	}
	if at := time.Date(2026, 11, 22, 4, 7, 21, 764426700, time.UTC).UnixNano(); at != 1795320441764426700 {
		t.Fatalf("the test is wrong: %d", at)
	}
	var rows []schema.Row
	for i, test := range tests {
		at := schema.DateTime(parse(test.stored))
		rows = append(rows,
			row(fmt.Sprintf("%03d", i), "", prop("CreatedTime", at), prop("LastUpdatedTime", at), prop("CompletedTime", at), prop("ScheduledStartTime", at)),
			event("h", i, "x", "TimerFired", prop("FireAt", at), prop("ScheduledStartTime", at)))
	}
	m := madeUpHub(rows...)
	for _, f := range []export.Format{export.Parquet, export.NDJSON} {
		for _, by := range [][]export.PartitionKey{nil, {export.ByDate}} {
			dir, manifest := run(t, m, export.Options{Format: f, Datasets: []export.Dataset{export.Instances, export.History}, PartitionBy: by})
			for d, columns := range map[export.Dataset][]string{
				export.Instances: {"created_time", "last_updated_time", "completed_time", "scheduled_start_time"},
				export.History:   {"fire_at", "scheduled_start_time"},
			} {
				var got []cells
				if f == export.Parquet { // DuckDB adds the column date
					got = parquetRows(t, db, "read_parquet("+sqlList(parts(t, dir, manifest, d))+")", d)
				} else {
					got = readText(t, dir, manifest, d)
				}
				slices.SortFunc(got, func(a, b cells) int { return strings.Compare(a.key(), b.key()) })
				if d == export.History {
					slices.SortFunc(got, func(a, b cells) int { return int(as[int64](a["sequence"]) - as[int64](b["sequence"])) })
				}
				for i, test := range tests {
					for _, column := range columns {
						if got[i][column] != test.want {
							t.Errorf("%s %s of %s is %v, want %v", f, column, test.stored, got[i][column], test.want)
						}
						extra, _ := got[i]["extra"].(string)
						if test.want == nil && (got[i]["error"] == nil || mustObject(extra)[column] != parse(test.stored).String()) {
							t.Errorf("%s %s of %s: error %v, extra %s", f, column, test.stored, got[i]["error"], extra)
						}
						if test.want != nil && (got[i]["error"] != nil || extra != "") {
							t.Errorf("%s %s of %s: error %v, extra %s", f, column, test.stored, got[i]["error"], extra)
						}
					}
				}
			}
		}
	}
}

// Texts that are hard to write or read.
func TestTexts(t *testing.T) {
	t.Parallel()
	db := testhub.DuckDB(t)
	lone := func(r rune) string {
		v := property(t, "V", "", fmt.Sprintf(`"a\u%04xb"`, r))
		s, _ := v.Value.Text()
		return s
	}
	texts := []string{
		"", "null", `"`, `\`, "\x00", "\x01\x1f\x7f", "\u0085\u2028\u2029\uFEFF", "😀", "\U0010FFFF", "a\r\nb", "'", "a,b;c\td", "{}", "[]", " ",
		lone(0xD800), lone(0xDFFF), strings.Repeat("long ", 1<<20), strings.Repeat("😀", 70_000),
	}
	var rows []schema.Row
	for i, s := range texts {
		rows = append(rows, event("h", i, s, s, text("Name", s), text("Input", s), text("Tags", s), text("InstanceId", s), text("Unknown", s)))
	}
	m := madeUpHub(rows...)
	for _, f := range formats {
		dir, manifest := run(t, m, export.Options{Format: f, Datasets: []export.Dataset{export.History}})
		var got []cells
		if f == export.Parquet {
			got = readParquet(t, db, parts(t, dir, manifest, export.History), export.History)
		} else {
			got = readText(t, dir, manifest, export.History)
		}
		for i, s := range texts {
			want := strings.ToValidUTF8(s, "\uFFFD") // one for each run of bytes: half of a pair
			for _, column := range []string{"execution_id", "event_type", "name", "input", "tags", "sub_instance_id"} {
				if got[i][column] != want {
					t.Errorf("%s: %s is %s, want %s", f, column, show(got[i][column]), show(want))
				}
			}
			if extra, _ := got[i]["extra"].(string); mustObject(extra)["Unknown"] != want {
				t.Errorf("%s: extra is %s, want %s", f, show(extra), show(want))
			}
			if got[i]["error"] != nil {
				t.Errorf("%s: error of %.20q is %v", f, s, got[i]["error"])
			}
		}
	}
	// JSON can say which half it was.
	var b bytes.Buffer
	if _, err := export.Stream(t.Context(), m, &b, export.History, export.Options{}); err != nil || !bytes.Contains(b.Bytes(), []byte(`"name":"a\ud800b"`)) {
		t.Errorf("no lone surrogate in NDJSON (%v)", err)
	}
}

// Messages that cannot be decoded are exported with their text and a reason.
func TestDamagedMessages(t *testing.T) {
	t.Parallel()
	m := madeUpHub(instance("a", "F"))
	good := `{"$type":"DurableTask.AzureStorage.MessageData","ActivityId":"11111111-1111-1111-1111-111111111111","TaskMessage":{"$type":"DurableTask.Core.TaskMessage",` +
		`"Event":{"$type":"DurableTask.Core.History.%s","EventType":5,"TaskScheduledId":0,"Result":"r","EventId":-1,"IsPlayed":false,"Timestamp":"2026-01-01T00:00:00Z"},` +
		`"SequenceNumber":0,"OrchestrationInstance":{"$type":"DurableTask.Core.OrchestrationInstance","InstanceId":"a","ExecutionId":"x"},"OrchestrationExecutionContext":null},` +
		`"CompressedBlobName":%s,"SequenceNumber":1,"Episode":2,"Sender":{"InstanceId":"","ExecutionId":""},"SerializableTraceContext":null%s}`
	wrapper := `{"$type":"DurableTask.AzureStorage.MessageData","ActivityId":"00000000-0000-0000-0000-000000000000","TaskMessage":null,"CompressedBlobName":%q,"SequenceNumber":0,"Sender":null,"SerializableTraceContext":null}`
	tests := []struct {
		text string
		ok   bool
	}{
		{fmt.Sprintf(good, "TaskCompletedEvent", "null", ""), true},
		{fmt.Sprintf(good, "UnheardEvent", "null", ""), true},
		{fmt.Sprintf(good, "TaskCompletedEvent", "null", `,"More":{"a":1}`), true},
		{"", false},
		{"hello", false},
		{"{", false},
		{"{}", false},
		{"[]", false},
		{"null", false},
		{"e30=", false},
		{"////", false},
		{strings.Repeat(`{"a":`, 5000), false},
		{`{"TaskMessage":{},"TaskMessage":{}}`, false},
		{`{"TaskMessage":{"Event":null,"OrchestrationInstance":null}}`, false},
		{fmt.Sprintf(wrapper, "a/gone.json.gz"), false},
		{fmt.Sprintf(wrapper, "a/bad.json.gz"), false},
		{fmt.Sprintf(wrapper, "../../etc/passwd"), false},
		{fmt.Sprintf(wrapper, "a/wrapper.json.gz"), true},
		{fmt.Sprintf(wrapper, `a\good.json.gz`), true},
	}
	for _, test := range tests {
		addMessage(m, test.text)
	}
	addBlob(m, "a/bad.json.gz", []byte("no gzip"))
	addBlob(m, "a/wrapper.json.gz", gzipped(fmt.Sprintf(wrapper, "a/wrapper.json.gz"))) // one that names itself
	addBlob(m, "a/good.json.gz", gzipped(tests[0].text))
	got := exportRows(t, m, export.Messages, export.Options{})
	for i, test := range tests {
		row := got[i]
		if row["text"] != test.text || (row["error"] == nil) != test.ok {
			t.Errorf("%.80q: text is %s, error %v", test.text, show(row["text"]), row["error"])
		}
	}
	if got[1]["event_type"] == nil || got[1]["instance_id"] != "a" || !strings.Contains(as[string](got[1]["message"]), "Unheard") {
		t.Errorf("the message of an unknown event is %v", got[1])
	}
	if extra, _ := got[2]["extra"].(string); extra == "" || mustObject(extra)["More"] != `{"a":1}` {
		t.Errorf("the unknown member is lost: %v", got[2])
	}
	if last := got[len(tests)-1]; last["message"] != tests[0].text || last["instance_id"] != "a" || last["blob"] != `a\good.json.gz` {
		t.Errorf("the wrapped message is %v", last)
	}
	// With a filter, what may belong to anyone is left out.
	if left := exportRows(t, m, export.Messages, export.Options{Filter: export.Filter{IDs: []string{"a"}}}); len(left) != 4 {
		t.Errorf("%d messages of a, want 4", len(left))
	}
}

// Entities with a state that is none.
func TestDamagedEntities(t *testing.T) {
	t.Parallel()
	m := madeUpHub(
		instance("@", "@"), instance("@name", "@name"), instance("@@key", "x"), instance("@n@", "x"), instance("@n@a@b/c", "x", text("Input", `{"state":"1"}`)),
		instance("@s@broken", "x", text("Input", `{"state":`)), instance("@s@null", "x", text("Input", "null")), instance("@s@deep", "x", text("Input", strings.Repeat("[", 5000))),
		instance("@s@more", "x", text("Input", `{"exists":true,"more":[1],"sorter":{}}`)), instance("@s@url", "x", text("Input", "https://a.blob.core.windows.net/madeup-largemessages/gone.json.gz")),
		instance("@s@blob", "x", text("Input", ""), text("InputBlobName", "state")),
	)
	addBlob(m, "state", gzipped(`{"exists":true,"state":"{\"v\":1}","lockedBy":"a","suspended":true,"sorter":{}}`))
	rows := map[cell]cells{}
	for _, row := range exportRows(t, m, export.Entities, export.Options{}) {
		rows[row["instance_id"]] = row
	}
	if len(rows) != 11 {
		t.Errorf("%d rows, want 11", len(rows))
	}
	for id, bad := range map[string]bool{
		"@": true, "@name": true, "@@key": true, "@n@": false, "@n@a@b/c": false, "@s@broken": true, "@s@null": true, "@s@deep": true,
		"@s@more": false, "@s@url": true, "@s@blob": false,
	} {
		if (rows[id]["error"] != nil) != bad {
			t.Errorf("the error of %s is %v", id, rows[id]["error"])
		}
	}
	if r := rows["@n@a@b/c"]; r["entity_name"] != "n" || r["entity_key"] != "a@b/c" || r["state"] != "1" || r["exists"] != true {
		t.Errorf("row is %v", r)
	}
	if extra, _ := rows["@s@broken"]["extra"].(string); mustObject(extra)["Input"] != `{"state":` {
		t.Errorf("the broken state is lost: %v", rows["@s@broken"])
	}
	if extra, _ := rows["@s@more"]["extra"].(string); mustObject(extra)["more"] != "[1]" {
		t.Errorf("the unknown member is lost: %v", rows["@s@more"])
	}
	if r := rows["@s@blob"]; r["state"] != `{"v":1}` || r["locked_by"] != "a" || r["suspended"] != true {
		t.Errorf("the state from a blob is %v", r)
	}
}

// Blob names that are none of the framework's.
func TestOddBlobNames(t *testing.T) {
	t.Parallel()
	m := madeUpHub()
	names := []string{
		"x", "/", "a/", "/message-0-ExecutionStarted.json.gz", "a/b/message-0123456789abcdef0123456789abcdef-TaskCompleted.json.gz",
		"a/history-.json.gz", "a/history-zz-T-C.json.gz", "a/history--Input-00000000-Input.json.gz", "..//../x", "ü/日本 😀", strings.Repeat("d/", 500),
	}
	for _, name := range names {
		addBlob(m, name, []byte("x"))
	}
	m.Content.Blobs[0].Metadata = map[string]string{"a": "1", "b\"": "2"}
	got := exportRows(t, m, export.Blobs, export.Options{})
	seen := map[cell]bool{}
	for _, row := range got {
		seen[row["name"]] = true
	}
	if len(got) != len(names) || len(seen) != len(names) || got[0]["extra"] != `{"a":"1","b\"":"2"}` {
		t.Errorf("%d rows of %d blobs: %v", len(got), len(names), got[0])
	}
}
