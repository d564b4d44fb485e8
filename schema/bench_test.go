package schema_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/schema"
)

// historyPage returns the body of a page of 1,000 recorded History entities, in
// minimal metadata as the service sends it.
func historyPage(b *testing.B) []byte {
	b.Helper()
	for _, table := range recorded(b).tables {
		if table.hub == "dtfx-2.9.1-bulk" && table.kind() == "History" {
			return page(table.lines[:pageRows])
		}
	}
	b.Fatal("hub dtfx-2.9.1-bulk has no History")
	return nil
}

const pageRows = 1000

// historyEntity has every column of the page's rows, for encoding/json. Times
// stay text, which is less work than a Decoder does.
type historyEntity struct {
	PartitionKey          string
	RowKey                string
	Timestamp             string
	ETag                  string `json:"odata.etag"`
	EventID               int32  `json:"EventId"`
	EventType             string
	ExecutionID           string `json:"ExecutionId"`
	IsPlayed              bool
	At                    string `json:"_Timestamp"`
	AtType                string `json:"_Timestamp@odata.type"`
	Name                  *string
	Version               *string
	Input                 *string
	Result                *string
	Tags                  *string
	OrchestrationInstance *string
	OrchestrationStatus   *string
	ParentInstance        *string
	ParentTraceContext    *string
	FailureDetails        *string
	Generation            *int32
	GenerateNewTrace      *bool
	TaskScheduledID       *int32  `json:"TaskScheduledId"`
	Completed             *string `json:"CheckpointCompletedTimestamp"`
	CompletedType         *string `json:"CheckpointCompletedTimestamp@odata.type"`
	IsCheckpointComplete  *bool
}

type historyEntities struct {
	Metadata string          `json:"odata.metadata"`
	Value    []historyEntity `json:"value"`
}

// decodePage decodes a copy of text, as a client has a new buffer for each
// response, into rows that it reuses.
func decodePage(b testing.TB, d *schema.Decoder, text, buffer []byte, rows []schema.Row) []schema.Row {
	copy(buffer, text)
	rows, err := d.Page(buffer, rows[:0])
	if err != nil || len(rows) != pageRows {
		b.Fatalf("%d rows, %v", len(rows), err)
	}
	return rows
}

func unmarshalPage(b testing.TB, text []byte) {
	var p historyEntities
	if err := json.Unmarshal(text, &p); err != nil || len(p.Value) != pageRows {
		b.Fatalf("%d rows, %v", len(p.Value), err)
	}
}

// A page of 1,000 History entities: the bar is 4 times encoding/json into a
// struct with the same columns on one core, with at most 2 allocations a row.
func BenchmarkPage(b *testing.B) {
	text := historyPage(b)
	strict := json.NewDecoder(bytes.NewReader(text))
	strict.DisallowUnknownFields()
	if err := strict.Decode(new(historyEntities)); err != nil {
		b.Fatalf("encoding/json does not read all of the page: %v", err)
	}
	b.Run("Decoder", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		var d schema.Decoder
		var rows []schema.Row
		buffer := make([]byte, len(text))
		for b.Loop() {
			rows = decodePage(b, &d, text, buffer, rows)
		}
	})
	b.Run("encoding-json", func(b *testing.B) {
		b.SetBytes(int64(len(text)))
		b.ReportAllocs()
		for b.Loop() {
			unmarshalPage(b, text)
		}
	})
	// The two by turns, so that whatever else the machine does hits both alike;
	// the median of all turns counts.
	b.Run("ratio", func(b *testing.B) {
		var d schema.Decoder
		var rows []schema.Row
		buffer := make([]byte, len(text))
		var ours, theirs []time.Duration
		for b.Loop() {
			start := time.Now()
			unmarshalPage(b, text)
			theirs = append(theirs, time.Since(start))
			start = time.Now()
			rows = decodePage(b, &d, text, buffer, rows)
			ours = append(ours, time.Since(start))
		}
		allocs := testing.AllocsPerRun(5, func() { rows = decodePage(b, &d, text, buffer, rows) })
		b.ReportMetric(float64(median(theirs))/float64(median(ours)), "x-json")
		b.ReportMetric(allocs/pageRows, "allocs/row")
		b.ReportMetric(float64(median(ours).Nanoseconds())/pageRows, "ns/row")
		b.ReportMetric(0, "ns/op")
	})
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// TestPageAllocations holds the part of the bar that does not depend on the machine.
func TestPageAllocations(t *testing.T) {
	for _, table := range recorded(t).tables {
		if table.hub != "dtfx-2.9.1-bulk" || table.kind() != "History" {
			continue
		}
		text := page(table.lines[:pageRows])
		var d schema.Decoder
		buffer := make([]byte, len(text))
		rows := decodePage(t, &d, text, buffer, nil)
		allocs := testing.AllocsPerRun(10, func() { rows = decodePage(t, &d, text, buffer, rows) })
		if allocs > 2*pageRows {
			t.Errorf("a page of %d rows takes %v allocations, want at most 2 a row", pageRows, allocs)
		}
		return
	}
	t.Fatal("hub dtfx-2.9.1-bulk has no History")
}

func BenchmarkDecodeHistoryRow(b *testing.B) {
	var d schema.Decoder
	rows, err := d.Page(historyPage(b), nil)
	if err != nil {
		b.Fatal(err)
	}
	rows = slices.DeleteFunc(rows, func(r schema.Row) bool { return r.IsSentinel() })
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := schema.DecodeHistoryRow(&rows[i]); err != nil {
			b.Fatal(err)
		}
		i = (i + 1) % len(rows)
	}
}

func BenchmarkAppendRow(b *testing.B) {
	var d schema.Decoder
	text := historyPage(b)
	b.SetBytes(int64(len(text)) / pageRows)
	rows, err := d.Page(text, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	var buffer []byte
	i := 0
	for b.Loop() {
		buffer = rows[i].AppendJSON(buffer[:0])
		i = (i + 1) % len(rows)
	}
}

func BenchmarkDecodeMessage(b *testing.B) {
	var texts []string
	var size int
	for _, m := range recorded(b).messages {
		if strings.HasPrefix(m.where, "dtfx-2.9.1-crashed/") {
			texts = append(texts, m.text)
			size += len(m.text)
		}
	}
	if len(texts) == 0 {
		b.Fatal("hub dtfx-2.9.1-crashed has no messages")
	}
	b.SetBytes(int64(size / len(texts)))
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := schema.DecodeMessage(texts[i], ""); err != nil {
			b.Fatal(err)
		}
		i = (i + 1) % len(texts)
	}
}
