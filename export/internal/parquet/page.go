package parquet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Size of a data page, whichever is reached first. A page ends with the value
// that reaches maxPageBytes, so a longer value has a page of its own or ends one.
const (
	maxPageRows  = 128 << 10
	maxPageBytes = 1 << 20 // of text, before compression
)

// Encoder compresses the pages of row groups. It holds buffers of the size of the
// largest row group and page it has seen, to use them again. It is not safe for
// concurrent use: give each goroutine its own.
type Encoder struct {
	pageRows  int // maxPageRows but in tests
	pageBytes int // maxPageBytes but in tests

	uses     int // calls of Encode, to notice results that are no longer valid
	zstd     *zstd.Encoder
	thorough *zstd.Encoder // slower, for pages that the fast one finds nothing in
	plain64s bool          // the body is such a page
	out      []byte        // pages of the row group
	body     []byte        // one page before compression
	packed   []byte        // and after
	narrow   narrowDict    // of one column of 32-bit integers
	indexes  []uint32      // into it, of one page
	header   bytes.Buffer  // of one page
	thrift   *thrift.Encoder
}

// NewEncoder returns an Encoder that compresses at the fastest level of zstd that
// suits a page.
func NewEncoder() *Encoder {
	e := &Encoder{pageRows: maxPageRows, pageBytes: maxPageBytes}
	e.zstd, e.thorough = newZstd(zstd.SpeedFastest), newZstd(zstd.SpeedDefault)
	e.thrift = thrift.NewEncoder(new(thrift.CompactProtocol).NewWriter(&e.header))
	return e
}

func newZstd(level zstd.EncoderLevel) *zstd.Encoder {
	z, err := zstd.NewWriter(nil,
		zstd.WithEncoderConcurrency(1), // no goroutines
		zstd.WithEncoderLevel(level),
		// A window of one page is all that pages can use, and a quarter of the memory.
		zstd.WithWindowSize(maxPageBytes),
		// Identifiers in hexadecimal have hardly a match, but need only half their bits.
		zstd.WithAllLitEntropyCompression(true),
		zstd.WithEncoderCRC(false), // as in other Parquet writers
		zstd.WithZeroFrames(true),  // readers expect a frame even for an empty page
	)
	if err != nil {
		panic("parquet: internal error: " + err.Error()) // the options are constant
	}
	return z
}

// Encoded is a row group as it stands in a file, to be given to
// [Writer.WriteRowGroup].
type Encoded struct {
	schema *Schema
	enc    *Encoder // whose buffer data is part of
	use    int      // of enc
	data   []byte
	meta   format.RowGroup // with the offsets it would have at the start of a file
}

// Encode returns the rows of g in the form of a file. The result uses memory of
// enc and is valid until enc is used again. It shares nothing with g, which is to
// be reset before other rows are added.
//
// It returns the error that EndRow returned, and an error if values are set in a
// row that EndRow has not completed, or if a page would reach 2 GiB.
func (g *RowGroup) Encode(enc *Encoder) (*Encoded, error) {
	if g.err != nil {
		return nil, g.err
	}
	enc.uses++
	enc.out = enc.out[:0]
	meta := format.RowGroup{
		NumRows: int64(g.rows),
		Columns: make([]format.ColumnChunk, len(g.cols)),
	}
	for i := range g.cols {
		c := &g.cols[i]
		if c.next > g.rows {
			return nil, fmt.Errorf("row %d: column %q is set but the row is not complete", g.rows, c.Name)
		}
		if c.Kind == String && !c.closed && !c.dictPays() {
			g.closeDict(c)
		}
		m, err := enc.chunk(c, g.rows)
		if err != nil {
			return nil, fmt.Errorf("column %q: %w", c.Name, err)
		}
		m.PathInSchema = g.schema.paths[i]
		meta.Columns[i].MetaData = m
		meta.TotalByteSize += m.TotalUncompressedSize
		meta.TotalCompressedSize += m.TotalCompressedSize
	}
	return &Encoded{schema: g.schema, enc: enc, use: enc.uses, data: enc.out, meta: meta}, nil
}

// chunk appends the pages of c to e.out and returns what the footer says of them.
func (e *Encoder) chunk(c *column, rows int) (format.ColumnMetaData, error) {
	start := len(e.out)
	m := format.ColumnMetaData{
		Type:       c.Kind.physical(),
		Codec:      format.Zstd,
		NumValues:  int64(rows),
		Statistics: c.statistics(rows),
	}
	e.body = e.body[:0]
	if entries := e.dictionary(c); entries > 0 {
		m.DictionaryPageOffset = fileMagicBytes + int64(len(e.out))
		header := format.PageHeader{
			Type: format.DictionaryPage,
			DictionaryPageHeader: thrift.New(format.DictionaryPageHeader{
				NumValues: int32(entries),
				Encoding:  format.Plain,
			}),
		}
		if err := e.page(&header, format.Plain, &m); err != nil {
			return m, err
		}
	}
	m.DataPageOffset = fileMagicBytes + int64(len(e.out))
	for row, value := 0, 0; row < rows; {
		endRow, endValue := e.pageEnd(c, row, value, rows)
		e.body = e.body[:0]
		if !c.Required {
			e.body = append(e.body, 0, 0, 0, 0)
			e.body = appendHybridBits(e.body, c.valid, row, endRow)
			binary.LittleEndian.PutUint32(e.body, uint32(len(e.body)-4))
		}
		encoding := e.values(c, value, endValue)
		header := format.PageHeader{
			Type: format.DataPage,
			DataPageHeader: thrift.New(format.DataPageHeader{
				NumValues:               int32(endRow - row),
				Encoding:                encoding,
				DefinitionLevelEncoding: format.RLE,
				RepetitionLevelEncoding: format.RLE,
				// The null count is always written, so it must be right.
				Statistics: format.Statistics{NullCount: int64(endRow - row - (endValue - value))},
			}),
		}
		if err := e.page(&header, encoding, &m); err != nil {
			return m, err
		}
		row, value = endRow, endValue
	}
	if !c.Required {
		m.Encoding = append(m.Encoding, format.RLE) // of the definition levels
	}
	m.TotalCompressedSize = int64(len(e.out) - start)
	return m, nil
}

// pageEnd returns where the page ends that starts with the given row and value of
// c, both exclusive. It finds the end by arithmetic on the arrays of c: a binary
// search in the offsets of texts, and a count of bits to get from rows to values
// or back.
//
// Nulls before a value are in its page. A page has values of one encoding only.
func (e *Encoder) pageEnd(c *column, row, value, rows int) (endRow, endValue int) {
	endValue = c.n
	if value < len(c.indexes) {
		endValue = len(c.indexes)
	} else if c.Kind <= Text {
		at := value - len(c.indexes)
		full := uint32(c.plain.start(at) + e.pageBytes)
		i, _ := slices.BinarySearch(c.plain.ends[at:], full)
		endValue = min(value+i+1, c.n)
	}
	endRow = rows // nulls after the last value belong to its page
	if endValue < c.n {
		if c.Required {
			endRow = endValue
		} else {
			endRow = c.valid.after(row, endValue-value)
		}
	}
	if endRow-row > e.pageRows {
		endRow = row + e.pageRows
		if c.Required {
			endValue = endRow
		} else {
			endValue = value + c.valid.count(row, endRow)
		}
	}
	return endRow, endValue
}

// dictionary appends the dictionary of c, if it has one, to the body of the page,
// and returns the number of its entries.
func (e *Encoder) dictionary(c *column) int {
	e.narrow.ok = false
	switch {
	case c.Kind == Int32 && e.narrow.build(c.int32s):
		for _, v := range e.narrow.values {
			e.body = binary.LittleEndian.AppendUint32(e.body, uint32(v))
		}
		return len(e.narrow.values)
	case len(c.indexes) > 0:
		e.body = c.dict.appendPlain(e.body, 0, c.dict.len())
		return c.dict.len()
	}
	return 0
}

// values appends the values from (inclusive) to (exclusive) of c to the body of
// the page, and returns their encoding.
func (e *Encoder) values(c *column, from, to int) format.Encoding {
	switch c.Kind {
	case Int32:
		if e.narrow.ok {
			e.indexes = e.narrow.appendIndexes(e.indexes[:0], c.int32s[from:to])
			return e.dictionaryIndexes(e.indexes, len(e.narrow.values))
		}
		e.body = appendDelta(e.body, c.int32s[from:to])
		return format.DeltaBinaryPacked
	case Int64, Timestamp:
		return e.wide(c.int64s[from:to])
	case Bool:
		e.body = appendBits(e.body, c.bools, from, to)
		return format.Plain
	case Double:
		e.plain64(c.int64s[from:to])
		return format.Plain
	}
	if n := len(c.indexes); from < n || n > 0 && n == c.n {
		return e.dictionaryIndexes(c.indexes[from:to], c.dict.len())
	}
	from, to = from-len(c.indexes), to-len(c.indexes)
	e.body = c.plain.appendPlain(e.body, from, to)
	return format.Plain
}

// maxDeltaBytes is the average size of a value up to which deltas are kept.
const maxDeltaBytes = 4

// wide appends 64-bit integers as deltas, unless these are large. Times of
// instances in the order of their IDs jump by hours every few rows, and each
// jump widens the 31 deltas beside it; zstd then finds more in the bytes of the
// values than in packed bits, if it looks for matches as short as five bytes.
func (e *Encoder) wide(v []int64) format.Encoding {
	at := len(e.body)
	e.body = appendDelta(e.body, v)
	if len(e.body)-at <= maxDeltaBytes*len(v) {
		return format.DeltaBinaryPacked
	}
	e.body = e.body[:at]
	e.plain64(v)
	e.plain64s = true
	return format.Plain
}

func (e *Encoder) plain64(v []int64) {
	for _, x := range v {
		e.body = binary.LittleEndian.AppendUint64(e.body, uint64(x))
	}
}

// dictionaryIndexes appends indexes into a dictionary of the given size.
func (e *Encoder) dictionaryIndexes(indexes []uint32, entries int) format.Encoding {
	// A single entry would need no bits at all, which not all readers expect.
	width := max(1, bits.Len(uint(entries-1)))
	e.body = append(e.body, byte(width))
	e.body = appendHybrid(e.body, indexes, width)
	return format.RLEDictionary
}

// page compresses the body, appends the page to e.out, and counts it in m.
func (e *Encoder) page(h *format.PageHeader, encoding format.Encoding, m *format.ColumnMetaData) error {
	z := e.zstd
	if e.plain64s {
		z, e.plain64s = e.thorough, false
	}
	e.packed = z.EncodeAll(e.body, e.packed[:0])
	if n := max(len(e.body), len(e.packed)); n > math.MaxInt32 {
		return fmt.Errorf("page of %d bytes, at most %d are possible", n, math.MaxInt32)
	}
	h.UncompressedPageSize, h.CompressedPageSize = int32(len(e.body)), int32(len(e.packed))
	e.header.Reset()
	if err := e.thrift.Encode(h); err != nil {
		return fmt.Errorf("page header: %w", err)
	}
	e.out = append(e.out, e.header.Bytes()...)
	e.out = append(e.out, e.packed...)
	m.TotalUncompressedSize += int64(e.header.Len() + len(e.body))

	if !slices.Contains(m.Encoding, encoding) {
		m.Encoding = append(m.Encoding, encoding)
	}
	for i := range m.EncodingStats {
		if s := &m.EncodingStats[i]; s.PageType == h.Type && s.Encoding == encoding {
			s.Count++
			return nil
		}
	}
	m.EncodingStats = append(m.EncodingStats, format.PageEncodingStats{PageType: h.Type, Encoding: encoding, Count: 1})
	return nil
}
