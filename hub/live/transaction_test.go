package live_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// oddRows are two rows each of partitions whose keys and texts are easily taken for
// something else.
func oddRows() map[string][]schema.Row {
	all := make(map[string][]schema.Row)
	for _, key := range []string{
		"it's", "''", "'", "a b", "a%2Fb", "%27", "ünï", "日本語", "a+b&c=d", "(x)", "x,y;z", "{y}", "--batch_rows", "@e@k", "a^0b",
	} {
		for n := range 2 {
			row := schema.Row{PartitionKey: key, RowKey: fmt.Sprintf("%d'%s", n, key)}
			for i, text := range []string{
				"<a href='x'>&amp;</a>", "line\r\n--changeset_rows\r\n\r\nPOST http://127.0.0.1/x HTTP/1.1\r\n", "\u2028 and \u2029", "{}}{\"a\":1}", `\ " \u0041`, "\x01",
			} {
				row.Set(fmt.Sprintf("Text%d", i), schema.String(text))
			}
			row.Set("Time", schema.DateTime(639_079_200_000_000_001))
			row.Set("Large", schema.Int64(1<<60))
			all[key] = append(all[key], row)
		}
	}
	return all
}

// Rows are the same when they are read, and when they are written once more, with
// other values, they are replaced and no other row is.
func TestPutRowsOdd(t *testing.T) {
	e := testhub.Azurite(t)
	w, err := live.OpenWriter(t.Context(), config(t, e), hub.Names{TaskHub: "Odd"}, live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.CreateTable(t.Context(), hub.History); err != nil {
		t.Fatal(err)
	}
	want := make(map[string]schema.Row)
	for round := range 3 {
		for key, rows := range oddRows() {
			if round == 1 {
				rows = rows[1:] // one alone is written in another way
			}
			for i := range rows {
				rows[i].Set("Round", schema.Int32(int32(round)))
				want[rows[i].PartitionKey+"/"+rows[i].RowKey] = rows[i]
			}
			if err := w.PutRows(t.Context(), hub.History, rows); err != nil {
				t.Fatalf("round %d of %q: %v", round, key, err)
			}
		}
		n := 0
		for row, err := range w.Rows(t.Context(), hub.History, hub.Keys{}) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			if wanted := want[row.PartitionKey+"/"+row.RowKey]; !schema.SameProperties(&wanted, &row) {
				t.Errorf("round %d: the row is %v, want %v", round, row, wanted)
			}
		}
		if n != len(want) {
			t.Errorf("round %d: there are %d rows, want %d", round, n, len(want))
		}
	}
}

// sizes notes the bodies of transactions.
type sizes struct {
	mu    sync.Mutex
	bytes []int
}

func (s *sizes) RoundTrip(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(req.URL.Path, "$batch") {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		s.mu.Lock()
		s.bytes = append(s.bytes, len(body))
		s.mu.Unlock()
		req.Body = io.NopCloser(strings.NewReader(string(body)))
	}
	return http.DefaultTransport.RoundTrip(req)
}

// A transaction that is as large as PutRows takes stays below the limit of the
// service, whatever the text.
func TestPutRowsLarge(t *testing.T) {
	e := testhub.Azurite(t)
	s := new(sizes)
	w, err := live.OpenWriter(t.Context(), config(t, e), hub.Names{TaskHub: "Large"}, live.Options{Transport: s})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.CreateTable(t.Context(), hub.History); err != nil {
		t.Fatal(err)
	}
	var rows []schema.Row
	size := 0
	for n := range hub.MaxBatchRows {
		row := schema.Row{PartitionKey: "markup", RowKey: fmt.Sprintf("%016X", n)}
		row.Set("Result", schema.String(strings.Repeat("<b>&</b>", (hub.MaxBatchBytes/hub.MaxBatchRows-100)/8)))
		size += len(row.AppendJSON(nil))
		rows = append(rows, row)
	}
	if size > hub.MaxBatchBytes || size < hub.MaxBatchBytes*9/10 {
		t.Fatalf("the rows have %d bytes", size)
	}
	for range 2 { // inserted, then replaced
		if err := w.PutRows(t.Context(), hub.History, rows); err != nil {
			t.Fatal(err)
		}
	}
	const limit = 4 << 20
	for _, n := range s.bytes {
		if n > limit {
			t.Errorf("a transaction has %d bytes, more than %d", n, limit)
		}
	}
	if diff := cmp.Diff(3, len(s.bytes)); diff != "" { // the second insertion is refused
		t.Errorf("transactions (-want +got): %s", diff)
	}
}

// Long text arrives in pieces, which may end in the middle of a character.
func TestPutRowsPieces(t *testing.T) {
	w, err := live.OpenWriter(t.Context(), config(t, testhub.Azurite(t)), hub.Names{TaskHub: "Pieces"}, live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.CreateTable(t.Context(), hub.History); err != nil {
		t.Fatal(err)
	}
	text := strings.Repeat("€", 15_000) + strings.Repeat("😀", 5_000)
	for n := range 60 {
		rows := []schema.Row{{PartitionKey: fmt.Sprintf("%02d", n), RowKey: "a"}, {PartitionKey: fmt.Sprintf("%02d", n), RowKey: "b"}}
		for i := range rows {
			rows[i].Set("Result", schema.String(text))
		}
		if err := w.PutRows(t.Context(), hub.History, rows[:1+n%2]); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for row, err := range w.Rows(t.Context(), hub.History, hub.Keys{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if got, _ := row.Get("Result").Text(); got != text {
			t.Errorf("row %s/%s: the text has %d bytes, want %d, and %d characters that were lost", row.PartitionKey, row.RowKey, len(got), len(text), strings.Count(got, "\ufffd"))
		}
	}
	if n != 90 {
		t.Errorf("there are %d rows, want 90", n)
	}
}
