package parquet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// row is one row of a test: for each column nil for null, or a string, an int64, a
// bool or a float64.
type row []any

// add appends r to g.
func (r row) add(g *RowGroup) error {
	for i, v := range r {
		switch v := v.(type) {
		case string:
			g.String(i, v)
		case int64:
			g.Int(i, v)
		case bool:
			g.Bool(i, v)
		case float64:
			g.Double(i, v)
		}
	}
	return g.EndRow()
}

// encodeFile returns a file of the given row groups.
func encodeFile(t *testing.T, s *Schema, enc *Encoder, groups ...[]row) []byte {
	t.Helper()
	var file bytes.Buffer
	w := NewWriter(&file, s, map[string]string{"b": "2", "a": "1"})
	g := s.NewRowGroup()
	rows := 0
	for _, group := range groups {
		g.Reset()
		for _, r := range group {
			if err := r.add(g); err != nil {
				t.Fatal(err)
			}
		}
		e, err := g.Encode(enc)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.WriteRowGroup(e); err != nil {
			t.Fatal(err)
		}
		rows += len(group)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w.Rows() != int64(rows) || w.Bytes() != int64(file.Len()) {
		t.Errorf("Rows() = %d, Bytes() = %d, want %d, %d", w.Rows(), w.Bytes(), rows, file.Len())
	}
	return file.Bytes()
}

// readGroup returns the rows that parquet-go reads from a row group.
func readGroup(t *testing.T, s *Schema, group parquet.RowGroup) []row {
	t.Helper()
	rows := make([]row, group.NumRows())
	for i := range rows {
		rows[i] = make(row, len(s.cols))
	}
	for col, chunk := range group.ColumnChunks() {
		at := 0
		pages := chunk.Pages()
		for {
			page, err := pages.ReadPage()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("column %q: %v", s.cols[col].Name, err)
			}
			values := make([]parquet.Value, page.NumValues())
			n, err := page.Values().ReadValues(values)
			if err != nil && !errors.Is(err, io.EOF) || n != len(values) {
				t.Fatalf("column %q: read %d of %d values: %v", s.cols[col].Name, n, len(values), err)
			}
			for _, v := range values {
				if v.DefinitionLevel() > 0 || s.cols[col].Required {
					switch s.cols[col].Kind {
					case String, Text:
						rows[at][col] = string(v.ByteArray())
					case Int32:
						rows[at][col] = int64(v.Int32())
					case Int64, Timestamp:
						rows[at][col] = v.Int64()
					case Bool:
						rows[at][col] = v.Boolean()
					case Double:
						rows[at][col] = v.Double()
					}
				} else if !v.IsNull() {
					t.Errorf("column %q, row %d has a value at definition level 0", s.cols[col].Name, at)
				}
				at++
			}
			parquet.Release(page)
		}
		if err := pages.Close(); err != nil {
			t.Fatal(err)
		}
		if at != len(rows) {
			t.Errorf("column %q has %d values and nulls, want %d", s.cols[col].Name, at, len(rows))
		}
	}
	return rows
}

// checkFile reads file with parquet-go and compares values, nulls, statistics and
// what the footer and the page headers say about pages.
func checkFile(t *testing.T, s *Schema, file []byte, groups ...[]row) {
	t.Helper()
	f, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	groups = slices.DeleteFunc(slices.Clone(groups), func(g []row) bool { return len(g) == 0 })
	if got := len(f.RowGroups()); got != len(groups) {
		t.Fatalf("%d row groups, want %d", got, len(groups))
	}
	for i, g := range f.RowGroups() {
		got := readGroup(t, s, g)
		for n, want := range groups[i] {
			want := slices.Clone(want)
			for col, v := range want {
				if v, ok := v.(string); ok {
					want[col] = validUTF8(v)
				}
			}
			if !sameRow(got[n], want) {
				t.Fatalf("row group %d, row %d (-want +got):\n%s", i, n, cmp.Diff(want, got[n]))
			}
		}
		meta := f.Metadata().RowGroups[i]
		for col := range s.cols {
			checkChunk(t, s.cols[col], file, &meta.Columns[col].MetaData, groups[i], col)
		}
	}
}

// sameRow compares bits of floating point numbers, as NaN is not equal to itself.
func sameRow(a, b row) bool {
	return slices.EqualFunc(a, b, func(a, b any) bool {
		x, okx := a.(float64)
		y, oky := b.(float64)
		if okx && oky {
			return math.Float64bits(x) == math.Float64bits(y)
		}
		return a == b
	})
}

// checkChunk compares the footer and the page headers of one column chunk with
// its rows.
func checkChunk(t *testing.T, c Column, file []byte, m *format.ColumnMetaData, rows []row, col int) {
	t.Helper()
	nulls := int64(0)
	var lo, hi any
	for _, r := range rows {
		v := r[col]
		if v == nil {
			nulls++
			continue
		}
		if s, ok := v.(string); ok {
			v = validUTF8(s)
		}
		if lo == nil || less(v, lo) {
			lo = v
		}
		if hi == nil || less(hi, v) {
			hi = v
		}
	}
	if got := m.Statistics.NullCount; got != nulls {
		t.Errorf("column %q: null count = %d, want %d", c.Name, got, nulls)
	}
	if got, want := m.NumValues, int64(len(rows)); got != want {
		t.Errorf("column %q: values and nulls = %d, want %d", c.Name, got, want)
	}
	s := m.Statistics
	switch {
	case lo == nil || c.Kind == Text || c.Kind == Double:
		if s.MinValue != nil || s.MaxValue != nil {
			t.Errorf("column %q: bounds %q, %q, want none", c.Name, s.MinValue, s.MaxValue)
		}
	case c.Kind == String:
		low, high := fmt.Sprint(lo), fmt.Sprint(hi)
		if s.MinValue == nil || string(s.MinValue) > low || !strings.HasPrefix(low, string(s.MinValue)) {
			t.Errorf("column %q: lower bound = %q, want the start of %q", c.Name, s.MinValue, lo)
		}
		if len(high) <= maxBoundBytes && string(s.MaxValue) != high || string(s.MaxValue) < high {
			t.Errorf("column %q: upper bound = %q, want %q", c.Name, s.MaxValue, hi)
		}
	default:
		if got := bound(c.Kind, s.MinValue); got != lo {
			t.Errorf("column %q: lower bound = %v, want %v", c.Name, got, lo)
		}
		if got := bound(c.Kind, s.MaxValue); got != hi {
			t.Errorf("column %q: upper bound = %v, want %v", c.Name, got, hi)
		}
	}

	// The headers follow each other from the first page to the end of the chunk.
	at := m.DataPageOffset
	if m.DictionaryPageOffset != 0 {
		at = m.DictionaryPageOffset
	}
	end := at + m.TotalCompressedSize
	counts := map[format.PageEncodingStats]int32{}
	var values, pageNulls, uncompressed int64
	for at < end {
		var h format.PageHeader
		r := bytes.NewReader(file[at:end])
		if err := thrift.NewDecoder(new(thrift.CompactProtocol).NewReader(r)).Decode(&h); err != nil {
			t.Fatalf("column %q: page header at %d: %v", c.Name, at, err)
		}
		size := end - at - int64(r.Len())
		uncompressed += size + int64(h.UncompressedPageSize)
		e := format.PageEncodingStats{PageType: h.Type, Encoding: h.DictionaryPageHeader.V.Encoding}
		if h.Type == format.DataPage {
			d := h.DataPageHeader.V
			values += int64(d.NumValues)
			pageNulls += d.Statistics.NullCount
			e.Encoding = d.Encoding
		}
		counts[e]++
		at += size + int64(h.CompressedPageSize)
	}
	if at != end || uncompressed != m.TotalUncompressedSize {
		t.Errorf("column %q: pages end at %d with %d bytes uncompressed, want %d, %d", c.Name, at, uncompressed, end, m.TotalUncompressedSize)
	}
	if values != m.NumValues || pageNulls != nulls {
		t.Errorf("column %q: pages have %d values and nulls, %d nulls, want %d, %d", c.Name, values, pageNulls, m.NumValues, nulls)
	}
	want := map[format.PageEncodingStats]int32{}
	for _, e := range m.EncodingStats {
		n := e.Count
		e.Count = 0
		want[e] = n
		if !slices.Contains(m.Encoding, e.Encoding) {
			t.Errorf("column %q: encodings %v lack %v", c.Name, m.Encoding, e.Encoding)
		}
	}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Errorf("column %q: encodings of pages (-footer +headers):\n%s", c.Name, diff)
	}
}

func less(a, b any) bool {
	switch a := a.(type) {
	case string:
		b, ok := b.(string)
		return ok && a < b
	case int64:
		b, ok := b.(int64)
		return ok && a < b
	case bool:
		b, ok := b.(bool)
		return ok && !a && b
	}
	return false
}

// bound decodes a bound in the statistics.
func bound(k Kind, p []byte) any {
	switch {
	case k == Int32 && len(p) == 4:
		return int64(int32(binary.LittleEndian.Uint32(p)))
	case (k == Int64 || k == Timestamp) && len(p) == 8:
		return int64(binary.LittleEndian.Uint64(p))
	case k == Bool && len(p) == 1:
		return p[0] != 0
	}
	return fmt.Sprintf("%d bytes", len(p))
}
