package parquet

import (
	"fmt"
	"math"
)

// maxColumnBytes bounds the text of one column in a row group. Sizes of pages are
// signed 32-bit numbers; this leaves room for what a page holds besides text.
const maxColumnBytes = math.MaxInt32 - 1<<24

// RowGroup collects rows. Set the columns of a row that have values, in any order
// and each at most once, then call EndRow. It is not safe for concurrent use.
//
// Misuse and values that cannot be stored are reported by EndRow and Encode, so
// that setting a value needs no check; after an error the group takes nothing
// more until Reset.
type RowGroup struct {
	schema   *Schema
	cols     []column
	rows     int // complete rows
	required int // required columns that are set in the current row
	size     int
	limit    int // bytes of text in a column, maxColumnBytes but in tests
	err      error
}

// column holds the values of one column, without its nulls.
//
// Which rows have values is kept in a bitmap that ends at the last one: a null
// needs nothing to be done, and what lies between two values is zero already when
// the later one extends the bitmap. A required column has no bitmap.
type column struct {
	Column
	next  int    // the row after that of the last value
	n     int    // values
	valid bitmap // rows with a value

	// Values, by kind.
	int32s []int32
	int64s []int64 // Int64, Timestamp and the bits of Double
	bools  bitmap

	// Text. Values of a String are numbers in the dictionary until it is closed;
	// those that follow are in plain, like all values of a Text.
	dict      dictionary
	indexes   []uint32
	dictBytes int // length of all values that indexes stand for
	closed    bool
	plain     texts
}

// NewRowGroup returns an empty row group of schema s.
func (s *Schema) NewRowGroup() *RowGroup {
	g := &RowGroup{schema: s, cols: make([]column, len(s.cols)), limit: maxColumnBytes}
	for i, c := range s.cols {
		g.cols[i].Column = c
		if c.Kind == String {
			g.cols[i].dict = newDictionary()
		}
	}
	g.Reset()
	return g
}

// Reset removes all rows and any error. The memory is kept for the next rows.
func (g *RowGroup) Reset() {
	for i := range g.cols {
		c := &g.cols[i]
		c.next, c.n = 0, 0
		c.valid, c.bools = c.valid[:0], c.bools[:0]
		c.int32s, c.int64s = c.int32s[:0], c.int64s[:0]
		c.plain.reset()
		c.closed = c.Kind == Text
		if c.Kind == String {
			c.dict.reset()
		}
		c.indexes, c.dictBytes = c.indexes[:0], 0
	}
	g.rows, g.required, g.size, g.err = 0, 0, 0, nil
}

// Rows returns the number of complete rows.
func (g *RowGroup) Rows() int { return g.rows }

// SizeBytes returns about how many bytes the values take in memory, besides one
// bit for each row of a column. Buffers have up to as much again in reserve, and
// keep their largest size after Reset. It is cheap enough to be asked after each row.
func (g *RowGroup) SizeBytes() int { return g.size }

// String sets a column of kind String or Text in the current row. What is not
// UTF-8 in v is replaced by U+FFFD: each byte, but a surrogate half of three
// bytes at once. The bytes of v are copied, so they may change after the call.
func (g *RowGroup) String(col int, v string) {
	c := &g.cols[col]
	if c.Kind > Text || !g.mark(c) {
		g.misused(c, "text")
		return
	}
	if c.closed {
		g.appendText(c, v)
		return
	}

	// The quick ways out come first: the value of the row before, then any known
	// value. Only a new one is checked and copied. Texts in the dictionary are
	// valid, so what is equal to one of them is too.
	if n := len(c.indexes); n > 0 {
		if last := c.indexes[n-1]; string(c.dict.at(int(last))) == v {
			g.appendIndex(c, last, len(v))
			return
		}
	}
	i, hash := c.dict.find(v)
	if i == c.dict.len() {
		if w := validUTF8(v); w != v {
			v = w
			i, hash = c.dict.find(v)
		}
	}
	if i == c.dict.len() {
		if c.dictFull(len(v)) {
			g.closeDict(c)
			g.appendText(c, v)
			return
		}
		c.dict.add(v, hash)
		g.size += len(v) + dictEntryBytes
	}
	g.appendIndex(c, uint32(i), len(v))
}

// Int sets a column of kind Int32, Int64 or Timestamp in the current row. A value
// that does not fit into an Int32 column is an error of EndRow.
func (g *RowGroup) Int(col int, v int64) {
	c := &g.cols[col]
	switch c.Kind {
	case Int32:
		if v != int64(int32(v)) {
			g.fail(fmt.Errorf("row %d: column %q: %d does not fit into 32 bits", g.rows, c.Name, v))
			return
		}
		if g.mark(c) {
			c.int32s = append(c.int32s, int32(v))
			g.size += 4
			return
		}
	case Int64, Timestamp:
		if g.mark(c) {
			c.int64s = append(c.int64s, v)
			g.size += 8
			return
		}
	}
	g.misused(c, "an integer")
}

// Bool sets a column of kind Bool in the current row.
func (g *RowGroup) Bool(col int, v bool) {
	c := &g.cols[col]
	if c.Kind != Bool || !g.mark(c) {
		g.misused(c, "a truth value")
		return
	}
	if v {
		c.bools.set(c.n - 1)
	}
}

// Double sets a column of kind Double in the current row.
func (g *RowGroup) Double(col int, v float64) {
	c := &g.cols[col]
	if c.Kind != Double || !g.mark(c) {
		g.misused(c, "a floating point number")
		return
	}
	c.int64s = append(c.int64s, int64(math.Float64bits(v)))
	g.size += 8
}

// EndRow completes the current row. Optional columns that are not set are null.
//
// It returns an error if a required column is not set, a column was set twice or
// to a value of another kind, a value does not fit into 32 bits, or a column has
// reached 2 GiB of text.
func (g *RowGroup) EndRow() error {
	if g.err == nil && g.required != g.schema.required {
		for i := range g.cols {
			if c := &g.cols[i]; c.Required && c.next <= g.rows {
				g.fail(fmt.Errorf("row %d: column %q is required and has no value", g.rows, c.Name))
				break
			}
		}
	}
	if g.err != nil {
		return g.err
	}
	g.required = 0
	g.rows++
	return nil
}

// mark notes that c has a value in the current row. It returns false if it had
// one already, or if the group has failed.
func (g *RowGroup) mark(c *column) bool {
	if c.next > g.rows || g.err != nil {
		return false
	}
	c.next = g.rows + 1
	c.n++
	if c.Required {
		g.required++
		return true
	}
	c.valid.set(g.rows)
	return true
}

func (g *RowGroup) fail(err error) {
	if g.err == nil {
		g.err = err
	}
}

// misused records why a value for c was refused.
func (g *RowGroup) misused(c *column, what string) {
	if c.next > g.rows {
		g.fail(fmt.Errorf("row %d: column %q is set twice", g.rows, c.Name))
		return
	}
	g.fail(fmt.Errorf("row %d: column %q cannot hold %s", g.rows, c.Name, what))
}

// appendIndex adds a value of length size that is number i in the dictionary.
func (g *RowGroup) appendIndex(c *column, i uint32, size int) {
	c.indexes = append(c.indexes, i)
	c.dictBytes += size
	g.size += 4
}

// appendText adds a value outside the dictionary.
func (g *RowGroup) appendText(c *column, v string) {
	v = validUTF8(v)
	if len(v) > g.limit-len(c.plain.data) {
		g.fail(fmt.Errorf("row %d: column %q has more than %d bytes of text in a row group", g.rows, c.Name, g.limit))
		return
	}
	c.plain.append(v)
	g.size += len(v) + 4
}

// dictFull reports whether the dictionary of c must be closed instead of taking
// in another text of the given length.
func (c *column) dictFull(size int) bool {
	n := c.dict.len() + 1
	bytes := len(c.dict.data) + size + 4*n // as in the dictionary page
	if bytes > maxDictBytes {
		return true
	}
	return (n > proveDictValues || bytes > proveDictBytes) && !c.dictPays()
}

// dictPays reports whether the dictionary makes the column smaller: each text in
// it stands for two values or more on average, or for twice its bytes.
func (c *column) dictPays() bool {
	return len(c.indexes) >= 2*c.dict.len() || c.dictBytes > 2*len(c.dict.data)
}

// closeDict makes all further values of c plain. A dictionary that does not pay
// is dissolved, which at most doubles its bytes; see dictPays.
func (g *RowGroup) closeDict(c *column) {
	c.closed = true
	if c.dictPays() {
		return
	}
	for _, i := range c.indexes {
		v := c.dict.at(int(i))
		c.plain.data = append(c.plain.data, v...)
		c.plain.ends = append(c.plain.ends, uint32(len(c.plain.data)))
	}
	g.size += len(c.plain.data) - len(c.dict.data) - dictEntryBytes*c.dict.len()
	c.dict.reset()
	c.indexes, c.dictBytes = c.indexes[:0], 0
}
