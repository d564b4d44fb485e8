package parquet

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"unsafe"
)

func TestRowGroupErrors(t *testing.T) {
	cols := []Column{{"id", String, true}, {"n", Int32, false}, {"text", Text, false}, {"flag", Bool, false}, {"x", Double, false}}
	for _, tt := range []struct {
		name string
		fill func(g *RowGroup)
		want string
	}{
		{"required column not set", func(g *RowGroup) { g.Int(1, 1) }, `row 1: column "id" is required and has no value`},
		{"set twice", func(g *RowGroup) { g.String(0, "a"); g.String(0, "a") }, `row 1: column "id" is set twice`},
		{"number set twice", func(g *RowGroup) { g.Int(1, 1); g.Int(1, 1) }, `row 1: column "n" is set twice`},
		{"above 32 bits", func(g *RowGroup) { g.Int(1, math.MaxInt32+1) }, `column "n": 2147483648 does not fit into 32 bits`},
		{"below 32 bits", func(g *RowGroup) { g.Int(1, math.MinInt32-1) }, `column "n": -2147483649 does not fit`},
		{"text in a number", func(g *RowGroup) { g.String(1, "a") }, `column "n" cannot hold text`},
		{"number in a text", func(g *RowGroup) { g.Int(2, 1) }, `column "text" cannot hold an integer`},
		{"truth value in a number", func(g *RowGroup) { g.Bool(4, true) }, `column "x" cannot hold a truth value`},
		{"floating point in a truth value", func(g *RowGroup) { g.Double(3, 1) }, `column "flag" cannot hold a floating point number`},
		{"too much text", func(g *RowGroup) { g.String(2, strings.Repeat("x", 100)) }, `column "text" has more than 99 bytes`},
		{"too much text after replacement", func(g *RowGroup) { g.String(2, strings.Repeat("\xff", 34)) }, `column "text" has more than 99 bytes`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := mustSchema(t, cols).NewRowGroup()
			g.limit = 99
			g.String(0, "a")
			if err := g.EndRow(); err != nil {
				t.Fatal(err)
			}
			tt.fill(g)
			err := g.EndRow()
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("EndRow() = %v, want an error with %q", err, tt.want)
			}
			g.String(0, "b")
			if again := g.EndRow(); !errors.Is(again, err) {
				t.Errorf("EndRow() after an error = %v, want %v", again, err)
			}
			if _, again := g.Encode(NewEncoder()); !errors.Is(again, err) {
				t.Errorf("Encode() after an error = %v, want %v", again, err)
			}
			g.Reset()
			g.String(0, "c")
			if err := g.EndRow(); err != nil {
				t.Errorf("EndRow() after Reset = %v, want nil", err)
			}
		})
	}
}

func TestEncodeUnfinishedRow(t *testing.T) {
	g := mustSchema(t, []Column{{"id", String, false}}).NewRowGroup()
	g.String(0, "a")
	if _, err := g.Encode(NewEncoder()); err == nil || !strings.Contains(err.Error(), "not complete") {
		t.Errorf("Encode() in the middle of a row = %v, want an error", err)
	}
}

// TestReset encodes the same rows before and after Reset, with others between.
func TestReset(t *testing.T) {
	s := mustSchema(t, allKinds)
	g, enc := s.NewRowGroup(), NewEncoder()
	encode := func(rows []row) []byte {
		g.Reset()
		for _, r := range rows {
			if err := r.add(g); err != nil {
				t.Fatal(err)
			}
		}
		e, err := g.Encode(enc)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(e.data)
	}
	some := table(500, func(r, c int) bool { return (r+c)%5 == 0 })
	want := encode(some)
	encode(table(1000, func(int, int) bool { return true }))
	if got := encode(some); !bytes.Equal(got, want) {
		t.Error("the same rows after Reset give other bytes")
	}
	g.Reset()
	if g.Rows() != 0 || g.SizeBytes() != 0 {
		t.Errorf("after Reset: Rows() = %d, SizeBytes() = %d, want 0, 0", g.Rows(), g.SizeBytes())
	}
}

// TestStringsAreCopied changes the bytes of a value after its row, as a caller
// that reuses its buffer does.
func TestStringsAreCopied(t *testing.T) {
	s := mustSchema(t, []Column{{"string", String, false}, {"text", Text, false}})
	g, enc := s.NewRowGroup(), NewEncoder()
	for i := range 200 {
		v := strings.Repeat(string(rune('a'+i%3)), 20)
		g.String(0, v)
		g.String(1, v)
		if err := g.EndRow(); err != nil {
			t.Fatal(err)
		}
	}
	first, err := g.Encode(enc)
	if err != nil {
		t.Fatal(err)
	}
	want := bytes.Clone(first.data)
	g.Reset()
	buf := make([]byte, 20)
	for i := range 200 {
		for k := range buf {
			buf[k] = byte('a' + i%3)
		}
		v := unsafe.String(unsafe.SliceData(buf), len(buf))
		g.String(0, v)
		g.String(1, v)
		if err := g.EndRow(); err != nil {
			t.Fatal(err)
		}
	}
	second, err := g.Encode(enc)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(second.data, want) {
		t.Error("values changed with the buffer they came from")
	}
}

func TestSizeBytes(t *testing.T) {
	g := mustSchema(t, []Column{{"string", String, false}, {"text", Text, false}, {"int", Int64, false}}).NewRowGroup()
	size := func(fill func(i int)) int {
		before := g.SizeBytes()
		for i := range 1000 {
			fill(i)
			if err := g.EndRow(); err != nil {
				t.Fatal(err)
			}
		}
		return g.SizeBytes() - before
	}
	if got := size(func(int) {}); got != 0 {
		t.Errorf("1,000 rows of nulls have size %d, want 0", got)
	}
	if got := size(func(i int) { g.Int(2, int64(i)) }); got != 8000 {
		t.Errorf("1,000 integers have size %d, want 8000", got)
	}
	if got := size(func(int) { g.String(0, "the same") }); got < 4000 || got > 4100 {
		t.Errorf("1,000 equal strings have size %d, want about 4,000", got)
	}
	if got := size(func(int) { g.String(1, "0123456789") }); got != 14000 {
		t.Errorf("1,000 texts of 10 bytes have size %d, want 14000", got)
	}
	// A dictionary is built for these and dissolved.
	g.Reset()
	if got := size(func(i int) { g.String(0, fmt.Sprintf("%010d", i)) }); got < 14000 {
		t.Errorf("1,000 distinct strings have size %d, want more than 14000", got)
	}
	if got := size(func(i int) { g.String(0, fmt.Sprintf("%010d", -i)) }); g.SizeBytes() != 28000 {
		t.Errorf("2,000 distinct strings have size %d, %d more than half of them, want 28000", g.SizeBytes(), got)
	}
}

// TestAppendAllocations checks that rows need no allocation once buffers have
// grown.
func TestAppendAllocations(t *testing.T) {
	rows := benchRows(5000)
	g := mustSchema(t, benchColumns).NewRowGroup()
	fill := func() {
		g.Reset()
		for i := range rows {
			if err := rows[i].appendTo(g); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill()
	if got := testing.AllocsPerRun(5, fill); got > 0 {
		t.Errorf("appending %d rows again needs %v allocations, want 0", len(rows), got)
	}
}
