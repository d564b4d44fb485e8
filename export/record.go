package export

import (
	"crypto/sha256"
	"encoding/hex"
	"math/bits"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/taskhub-tools/taskhub/export/internal/parquet"
	"github.com/taskhub-tools/taskhub/schema"
)

// record is one row of a dataset: the cells that are not null. Sinks visit only
// those, so the many columns that are null in a history row cost nothing.
type record struct {
	table *table
	set   uint64 // bit i: column i is not null
	cells [64]cell
	// errs collects the sentences for the column error.
	errs []byte
	// outOfRange collects times that the column type cannot hold, for extra.
	outOfRange []schema.Property
	redact     Redaction
}

// cell holds a value: text, or a number, or ticks.
type cell struct {
	s string
	n int64
}

func newRecord(t *table, redact Redaction) *record { return &record{table: t, redact: redact} }

func (r *record) reset() {
	r.set, r.errs, r.outOfRange = 0, r.errs[:0], nil
}

func (r *record) isSet(col int) bool { return r.set>>col&1 != 0 }

func (r *record) text(col int, s string) {
	if r.redact != RedactNone && r.table.columns[col].payload {
		s = redacted(s, r.redact)
	}
	r.cells[col].s = s
	r.set |= 1 << col
}

func (r *record) int(col int, n int64) {
	r.cells[col].n = n
	r.set |= 1 << col
}

func (r *record) bool(col int, b bool) {
	n := int64(0)
	if b {
		n = 1
	}
	r.int(col, n)
}

// time sets a timestamp. One beyond the years 1678 to 2261 does not fit a
// column of nanoseconds: it becomes null, and its property is kept for extra.
func (r *record) time(col int, t schema.Ticks) {
	if _, ok := t.UnixNano(); !ok {
		r.outOfRange = append(r.outOfRange, schema.Property{Name: r.table.columns[col].Name, Value: schema.DateTime(t)})
		r.fail(r.table.columns[col].Name, "time is outside 1678 to 2261")
		return
	}
	r.int(col, int64(t))
}

func (r *record) optText(col int, p schema.Optional[string]) {
	if p.Set {
		r.text(col, p.Value)
	}
}

func (r *record) optTime(col int, p schema.Optional[schema.Ticks]) {
	if p.Set {
		r.time(col, p.Value)
	}
}

// fail adds a sentence to the column error.
func (r *record) fail(column, reason string) {
	if len(r.errs) > 0 {
		r.errs = append(r.errs, "; "...)
	}
	r.errs = append(r.errs, column...)
	r.errs = append(r.errs, ": "...)
	r.errs = append(r.errs, reason...)
}

// finish fills the columns error and extra, the last two of every table, and
// reports whether there was an error.
func (r *record) finish(extra []schema.Property) (failed bool) {
	n := len(r.table.columns)
	if len(r.outOfRange) > 0 {
		extra = append(r.outOfRange, extra...)
	}
	if len(extra) > 0 {
		r.text(n-1, string(extraJSON(extra)))
	}
	if len(r.errs) == 0 {
		return false
	}
	r.text(n-2, string(r.errs))
	return true
}

// extraJSON writes properties as the Table service would, annotations of types
// included.
func extraJSON(props []schema.Property) []byte {
	row := schema.Row{Properties: props}
	b := row.AppendJSON(nil)
	const keys = `{"PartitionKey":"","RowKey":"",`
	return append([]byte{'{'}, b[len(keys):]...)
}

// redacted stands in for a payload.
func redacted(s string, how Redaction) string {
	out := make([]byte, 0, 96)
	out = append(out, "redacted:"...)
	out = strconv.AppendInt(out, int64(len(s)), 10)
	out = append(out, " bytes"...)
	if how == RedactHash {
		sum := sha256.Sum256([]byte(s))
		out = append(out, ",sha256:"...)
		out = hex.AppendEncode(out, sum[:])
	}
	return string(out)
}

// sink takes the rows of one part of the output: rows come in by add and leave,
// encoded, by flush.
type sink interface {
	add(r *record) error
	// size is about the memory that the rows added since the last flush hold.
	size() int
	rows() int
	// flush encodes the rows added since the last flush. The result is valid
	// until the next call of add.
	flush() (chunk, error)
}

// chunk is what a sink has encoded: rows to append to a part file.
type chunk struct {
	rows  int64
	json  []byte           // NDJSON or JSON
	group *parquet.Encoded // Parquet
}

// jsonSink encodes rows as JSON objects with every column, in order.
//
// For NDJSON a newline ends each object. For JSON, whose files are arrays, a
// comma and a newline come before each; the first comma of a file gives way to
// the opening bracket.
type jsonSink struct {
	keys  []string // `,"name":` of each column
	kinds []Kind
	array bool
	buf   []byte
	n     int
	sent  bool // buf has been flushed
}

const arraySeparator = ",\n"

func newJSONSink(t *table, array bool) *jsonSink {
	s := &jsonSink{array: array}
	for i, c := range t.columns {
		lead := `,"`
		if i == 0 {
			lead = `{"`
		}
		s.keys = append(s.keys, lead+c.Name+`":`)
		s.kinds = append(s.kinds, c.Kind)
	}
	return s
}

func (s *jsonSink) add(r *record) error {
	if s.sent {
		s.buf, s.n, s.sent = s.buf[:0], 0, false
	}
	b := s.buf
	if s.array {
		b = append(b, arraySeparator...)
	}
	for i, key := range s.keys {
		b = append(b, key...)
		if r.set>>i&1 == 0 {
			b = append(b, "null"...)
			continue
		}
		c := &r.cells[i]
		switch s.kinds[i] {
		case Int32Kind, Int64Kind:
			b = strconv.AppendInt(b, c.n, 10)
		case BoolKind:
			b = strconv.AppendBool(b, c.n != 0)
		case TimeKind:
			b = append(b, '"')
			b = schema.Ticks(c.n).Append(b)
			b = append(b, '"')
		default:
			b = schema.AppendJSONString(b, textOf(c.s))
		}
	}
	b = append(b, '}')
	if !s.array {
		b = append(b, '\n')
	}
	s.buf = b
	s.n++
	return nil
}

// textOf returns s with bytes that are not UTF-8 replaced by U+FFFD, but for
// surrogate halves, which JSON can escape. Rows never have such bytes, blobs and
// Base64 may.
func textOf(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 && len(s)-i >= 3 && s[i] == 0xED && s[i+1]&0xE0 == 0xA0 && s[i+2]&0xC0 == 0x80 {
			b.WriteString(s[i : i+3])
			i += 3
			continue
		}
		b.WriteRune(r)
		i += n
	}
	return b.String()
}

func (s *jsonSink) size() int {
	if s.sent {
		return 0
	}
	return len(s.buf)
}

func (s *jsonSink) rows() int {
	if s.sent {
		return 0
	}
	return s.n
}

func (s *jsonSink) flush() (chunk, error) {
	s.sent = true
	return chunk{rows: int64(s.n), json: s.buf}, nil
}

// parquetSink encodes rows as row groups.
type parquetSink struct {
	group *parquet.RowGroup
	enc   *parquet.Encoder
	kinds []Kind
}

func newParquetSink(t *table, s *parquet.Schema, enc *parquet.Encoder) *parquetSink {
	p := &parquetSink{group: s.NewRowGroup(), enc: enc}
	for _, c := range t.columns {
		p.kinds = append(p.kinds, c.Kind)
	}
	return p
}

func (s *parquetSink) add(r *record) error {
	g := s.group
	for set := r.set; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		c := &r.cells[i]
		switch s.kinds[i] {
		case Int32Kind, Int64Kind:
			g.Int(i, c.n)
		case BoolKind:
			g.Bool(i, c.n != 0)
		case TimeKind:
			ns, _ := schema.Ticks(c.n).UnixNano() // in range: record.time saw to it
			g.Int(i, ns)
		default:
			g.String(i, c.s)
		}
	}
	return g.EndRow()
}

func (s *parquetSink) size() int { return s.group.SizeBytes() }
func (s *parquetSink) rows() int { return s.group.Rows() }

func (s *parquetSink) flush() (chunk, error) {
	e, err := s.group.Encode(s.enc)
	if err != nil {
		return chunk{}, err
	}
	c := chunk{rows: int64(s.group.Rows()), group: e}
	s.group.Reset()
	return c, nil
}
