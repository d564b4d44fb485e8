package parquet

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// allKinds is a column of each kind, optional and required.
var allKinds = []Column{
	{"string", String, false},
	{"text", Text, false},
	{"int32", Int32, false},
	{"int64", Int64, false},
	{"bool", Bool, false},
	{"double", Double, false},
	{"timestamp", Timestamp, false},
	{"string_required", String, true},
	{"text_required", Text, true},
	{"int32_required", Int32, true},
	{"int64_required", Int64, true},
	{"bool_required", Bool, true},
	{"double_required", Double, true},
	{"timestamp_required", Timestamp, true},
}

// fullRow returns values for allKinds that depend on n, without nulls.
func fullRow(n int) row {
	s, i := fmt.Sprintf("value %d", n%7), int64(n*n-1000)
	half := row{s, s, i, i << 30, n%3 == 0, float64(n) / 3, i * 1e9}
	return slices.Concat(half, half)
}

// table returns n rows of allKinds. Values of optional columns are null unless
// valid reports true.
func table(n int, valid func(row, col int) bool) []row {
	rows := make([]row, n)
	for i := range rows {
		rows[i] = fullRow(i)
		for col, c := range allKinds {
			if !c.Required && !valid(i, col) {
				rows[i][col] = nil
			}
		}
	}
	return rows
}

// set replaces the values of columns col and col+7, the required one, in row i.
func set(rows []row, col int, values ...any) []row {
	for i, v := range values {
		rows[i][col], rows[i][col+7] = v, v
	}
	return rows
}

func TestFile(t *testing.T) {
	all := func(int, int) bool { return true }
	none := func(int, int) bool { return false }
	big := strings.Repeat("0123456789", 500_000)
	for _, tt := range []struct {
		name   string
		groups [][]row
	}{
		{"no row groups", nil},
		{"empty row group", [][]row{{}}},
		{"empty row group between others", [][]row{table(3, all), {}, table(2, none)}},
		{"one row", [][]row{table(1, all)}},
		{"one row of nulls", [][]row{table(1, none)}},
		{"no nulls", [][]row{table(1000, all)}},
		{"all nulls", [][]row{table(1000, none)}},
		{"alternating", [][]row{table(1000, func(r, _ int) bool { return r%2 == 0 })}},
		{"alternating, null first", [][]row{table(1000, func(r, _ int) bool { return r%2 == 1 })}},
		{"alternating columns", [][]row{table(1000, func(r, c int) bool { return (r+c)%2 == 0 })}},
		{"long runs", [][]row{table(5000, func(r, c int) bool { return r/700%2 == c%2 })}},
		{"only the first row", [][]row{table(300, func(r, _ int) bool { return r == 0 })}},
		{"only the last row", [][]row{table(300, func(r, _ int) bool { return r == 299 })}},
		{"one value in a word of nulls", [][]row{table(64, func(r, _ int) bool { return r == 1 })}},
		{"several row groups", [][]row{table(10, all), table(20, none), table(30, all)}},
		{"empty text", [][]row{set(table(4, none), 0, "", "a", "", ""), set(table(4, none), 1, "", "", "b", "")}},
		{"extreme 64-bit values", [][]row{set(table(6, none), 3, int64(math.MinInt64), int64(math.MaxInt64), int64(math.MinInt64), int64(0), int64(-1), int64(math.MaxInt64))}},
		{"extreme 32-bit values", [][]row{set(table(6, none), 2, int64(math.MinInt32), int64(math.MaxInt32), int64(math.MinInt32), int64(0), int64(-1), int64(math.MaxInt32))}},
		{"extreme timestamps", [][]row{set(table(3, none), 6, int64(math.MinInt64), int64(math.MaxInt64), int64(-1))}},
		{"negative numbers", [][]row{set(table(4, none), 2, int64(-3), int64(-2), int64(-3), int64(-4))}},
		{"few distinct numbers", [][]row{set(table(12, none), 2, int64(7), int64(-5), int64(7), int64(7), int64(-5), int64(250), int64(-5), int64(7), int64(7), int64(7), int64(7), int64(7))}},
		{"only false", [][]row{set(table(3, none), 4, false, false, false)}},
		{"only true", [][]row{set(table(3, none), 4, true, true, true)}},
		{"special floating point", [][]row{set(table(4, none), 5, math.NaN(), math.Inf(-1), math.Copysign(0, -1), math.MaxFloat64)}},
		{"invalid UTF-8", [][]row{set(table(4, none), 0, "\xff", "a\xed\xa0\x80", "\uFFFD", "\xff"), set(table(3, none), 1, "\xff", "a\xed\xa0\x80", "x")}},
		{"text that is not ASCII", [][]row{set(table(4, none), 0, "Köln", "😀", "São Paulo", "😀")}},
		{"long text", [][]row{set(table(4, none), 0, strings.Repeat("x", 100), strings.Repeat("ö", 100), "a", "a")}},
		{"values of 5 MB", [][]row{set(set(table(4, none), 0, "a", big, big+"1", "a"), 1, big, "", big+"2", "b")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := mustSchema(t, allKinds)
			checkFile(t, s, encodeFile(t, s, NewEncoder(), tt.groups...), tt.groups...)
		})
	}
}

func TestFooter(t *testing.T) {
	s := mustSchema(t, []Column{{"s", String, true}, {"t", Timestamp, false}, {"i", Int32, false}})
	file := encodeFile(t, s, NewEncoder(), []row{{"a", int64(1), nil}}, []row{{"b", nil, int64(2)}})
	f, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	m := f.Metadata()
	if want := []format.KeyValue{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}}; !slices.Equal(m.KeyValueMetadata, want) {
		t.Errorf("metadata = %v, want %v", m.KeyValueMetadata, want)
	}
	if m.CreatedBy != createdBy {
		t.Errorf("created by %q, want %q", m.CreatedBy, createdBy)
	}
	if len(m.ColumnOrders) != 3 {
		t.Fatalf("%d column orders, want 3", len(m.ColumnOrders))
	}
	for i, o := range m.ColumnOrders {
		if _, ok := o.Value.(*format.TypeDefinedOrder); !ok {
			t.Errorf("order of column %d = %T, want %T", i, o.Value, new(format.TypeDefinedOrder))
		}
	}
	want := "message history {\n\trequired binary s (STRING);\n\toptional int64 t (TIMESTAMP(isAdjustedToUTC=false,unit=NANOS));\n\toptional int32 i (INT(32,true));\n}"
	if diff := cmp.Diff(want, f.Schema().String()); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
	if c := m.Schema[1].ConvertedType; !c.Valid || c.V != 0 {
		t.Errorf("converted type of text = %v, want UTF8", c)
	}
	for i, g := range m.RowGroups {
		if int(g.Ordinal) != i || g.NumRows != 1 {
			t.Errorf("row group %d has ordinal %d and %d rows, want %d and 1", i, g.Ordinal, g.NumRows, i)
		}
	}
}

// TestPageBorders writes tables around the size of a page, and pages of one row.
func TestPageBorders(t *testing.T) {
	s := mustSchema(t, allKinds)
	for _, pageRows := range []int{1, 7, 64, 100} {
		for _, n := range []int{pageRows - 1, pageRows, pageRows + 1, 2*pageRows - 1, 2 * pageRows, 3*pageRows + 1} {
			for name, valid := range map[string]func(r, c int) bool{
				"no nulls":         func(int, int) bool { return true },
				"all nulls":        func(int, int) bool { return false },
				"alternating":      func(r, _ int) bool { return r%2 == 1 },
				"null after pages": func(r, _ int) bool { return r < pageRows },
				"null before":      func(r, _ int) bool { return r >= pageRows },
				"around the border": func(r, _ int) bool {
					return r%pageRows == 0 || r%pageRows == pageRows-1
				},
			} {
				t.Run(fmt.Sprintf("%d of %d, %s", n, pageRows, name), func(t *testing.T) {
					enc := NewEncoder()
					enc.pageRows = pageRows
					rows := table(n, valid)
					checkFile(t, s, encodeFile(t, s, enc, rows), rows)
					enc.pageRows, enc.pageBytes = maxPageRows, pageRows
					checkFile(t, s, encodeFile(t, s, enc, rows), rows)
				})
			}
		}
	}
}

func TestPageSizes(t *testing.T) {
	s := mustSchema(t, []Column{{"text", Text, false}, {"int", Int64, true}})
	rows := make([]row, maxPageRows+10)
	for i := range rows {
		rows[i] = row{nil, int64(i) * 1000}
		if i%3 == 0 {
			rows[i][0] = fmt.Sprintf("%0100d", i)
		}
	}
	file := encodeFile(t, s, NewEncoder(), rows)
	checkFile(t, s, file, rows)
	f, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	columns := f.Metadata().RowGroups[0].Columns
	text := (len(rows) + 2) / 3 * 100
	if got, want := int(columns[0].MetaData.EncodingStats[0].Count), (text+maxPageBytes-1)/maxPageBytes; got != want {
		t.Errorf("pages of %d bytes of text = %d, want %d", text, got, want)
	}
	if got := columns[1].MetaData.EncodingStats[0].Count; got != 2 {
		t.Errorf("pages of %d rows = %d, want 2", len(rows), got)
	}
}

// TestDictionary checks when text is dictionary encoded.
func TestDictionary(t *testing.T) {
	repeat := func(n, distinct, size int) []string {
		v := make([]string, n)
		for i := range v {
			v[i] = fmt.Sprintf("%0*d", size, i%distinct)
		}
		return v
	}
	for _, tt := range []struct {
		name        string
		values      []string
		dict, plain bool // encodings of data pages
	}{
		{"one value", repeat(1, 1, 5), false, true},
		{"few values", repeat(1000, 10, 5), true, false},
		{"all distinct, few", repeat(100, 100, 5), false, true},
		{"all distinct, many", repeat(5000, 5000, 5), false, true},
		{"all distinct at first", repeat(9000, 3000, 5), false, true},
		{"pays although large", slices.Sorted(slices.Values(repeat(3000, 1000, 1500))), true, false},
		{"distinct and large", repeat(300, 300, 5000), false, true},
		{"frozen at its limit", slices.Sorted(slices.Values(repeat(30000, 10000, 1000))), true, true},
		{"one value above the limit", []string{"a", "a", strings.Repeat("x", maxDictBytes), "a", "a"}, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := mustSchema(t, []Column{{"string", String, false}})
			rows := make([]row, 0, len(tt.values)+2)
			for i, v := range tt.values {
				rows = append(rows, row{v})
				if i%1000 == 0 {
					rows = append(rows, row{nil})
				}
			}
			file := encodeFile(t, s, NewEncoder(), rows)
			checkFile(t, s, file, rows)
			f, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)))
			if err != nil {
				t.Fatal(err)
			}
			var dict, plain bool
			for _, e := range f.Metadata().RowGroups[0].Columns[0].MetaData.EncodingStats {
				dict = dict || e.Encoding == format.RLEDictionary
				plain = plain || e.Encoding == format.Plain && e.PageType == format.DataPage
			}
			if dict != tt.dict || plain != tt.plain {
				t.Errorf("dictionary, plain pages = %v, %v, want %v, %v", dict, plain, tt.dict, tt.plain)
			}
		})
	}
}

// TestRandomTables compares random schemas and rows with what parquet-go reads.
func TestRandomTables(t *testing.T) {
	rounds := uint64(150)
	if testing.Short() {
		rounds = 20
	}
	reused := NewEncoder()
	for seed := range rounds {
		r := rand.New(rand.NewPCG(seed, 5))
		cols := make([]Column, 1+r.IntN(8))
		for i := range cols {
			cols[i] = Column{Name: fmt.Sprint("c", i), Kind: Kind(r.IntN(int(Timestamp) + 1)), Required: r.IntN(4) == 0}
		}
		s := mustSchema(t, cols)
		enc := NewEncoder()
		if r.IntN(2) == 0 {
			enc.pageRows, enc.pageBytes = 1+r.IntN(300), 1+r.IntN(1000)
		}
		groups := make([][]row, r.IntN(4))
		for i := range groups {
			groups[i] = randomRows(r, cols, r.IntN(3000))
		}
		file := encodeFile(t, s, enc, groups...)
		checkFile(t, s, file, groups...)

		// An encoder that has seen other data gives the same bytes.
		reused.pageRows, reused.pageBytes = enc.pageRows, enc.pageBytes
		if again := encodeFile(t, s, reused, groups...); !bytes.Equal(file, again) {
			t.Errorf("seed %d: the bytes differ when an encoder is used again", seed)
		}
		if t.Failed() {
			t.Fatalf("seed %d, columns %v", seed, cols)
		}
	}
}

func randomRows(r *rand.Rand, cols []Column, n int) []row {
	rows := make([]row, n)
	for i := range rows {
		rows[i] = make(row, len(cols))
	}
	for col, c := range cols {
		valid := randomBits(r, n, 1+r.IntN(1+r.IntN(500)))
		distinct := 1 + r.IntN(1+r.IntN(2*n+1))
		spread := r.IntN(64)
		for i := range rows {
			if !c.Required && !valid[i] {
				continue
			}
			switch c.Kind {
			case String, Text:
				x := r.IntN(distinct)
				rows[i][col] = strings.Repeat(string(rune('a'+x%26)), x%40) + fmt.Sprint(x)
			case Int32:
				rows[i][col] = int64(int32(r.Uint64() >> spread))
			case Int64, Timestamp:
				rows[i][col] = int64(r.Uint64() >> spread)
			case Bool:
				rows[i][col] = r.IntN(distinct) == 0
			case Double:
				rows[i][col] = r.NormFloat64()
			}
		}
	}
	return rows
}
