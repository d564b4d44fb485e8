package parquet

import (
	"bytes"
	"encoding/binary"
	"slices"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go/format"
)

// maxBoundBytes is the longest text that is kept whole in the statistics.
const maxBoundBytes = 64

// statistics returns the null count of c, and bounds of its values if it has any.
//
// Bounds enclose all values but need not be values themselves: long text is cut.
// They are ordered as numbers, false before true, or as unsigned bytes.
func (c *column) statistics(rows int) format.Statistics {
	s := format.Statistics{NullCount: int64(rows - c.n)}
	if c.n == 0 {
		return s
	}
	switch c.Kind {
	case String:
		lo, hi := c.textBounds()
		s.MinValue, s.MaxValue = lowerBound(lo), upperBound(hi)
		if c.plain.len() == 0 {
			s.DistinctCount = int64(c.dict.len())
		}
	case Int32:
		s.MinValue = binary.LittleEndian.AppendUint32(nil, uint32(slices.Min(c.int32s)))
		s.MaxValue = binary.LittleEndian.AppendUint32(nil, uint32(slices.Max(c.int32s)))
	case Int64, Timestamp:
		s.MinValue = binary.LittleEndian.AppendUint64(nil, uint64(slices.Min(c.int64s)))
		s.MaxValue = binary.LittleEndian.AppendUint64(nil, uint64(slices.Max(c.int64s)))
	case Bool:
		s.MinValue, s.MaxValue = []byte{1}, []byte{0}
		trues := c.bools.count(0, c.n)
		if trues < c.n {
			s.MinValue[0] = 0
		}
		if trues > 0 {
			s.MaxValue[0] = 1
		}
	}
	return s
}

// textBounds returns the least and the greatest text of c. Each text of the
// dictionary is a value, so they need not be visited more than once.
func (c *column) textBounds() (lo, hi []byte) {
	first := true
	for _, t := range []*texts{&c.dict.texts, &c.plain} {
		for i := range t.len() {
			v := t.at(i)
			if first || bytes.Compare(v, lo) < 0 {
				lo = v
			}
			if first || bytes.Compare(v, hi) > 0 {
				hi = v
			}
			first = false
		}
	}
	return lo, hi
}

// lowerBound returns v if it is short, or else its first characters, which are
// less than v. It does not alias v and is never nil.
func lowerBound(v []byte) []byte {
	return append([]byte{}, v[:cut(v)]...)
}

// upperBound returns v if it is short. Otherwise it returns the first characters
// of v with the last of them replaced by its successor, which is greater than
// everything that starts like v; or nil if they are all the greatest character.
//
// The order of bytes in UTF-8 is that of the characters, so the successor of a
// character is greater even if it is longer.
func upperBound(v []byte) []byte {
	n := cut(v)
	if n == len(v) {
		return append([]byte{}, v...)
	}
	for n > 0 {
		r, size := utf8.DecodeLastRune(v[:n])
		n -= size
		if r == utf8.MaxRune {
			continue
		}
		if r++; r == 0xD800 {
			r = 0xE000 // surrogates are no characters
		}
		return utf8.AppendRune(append([]byte{}, v[:n]...), r)
	}
	return nil
}

// cut returns the length of the longest prefix of v that is a bound: all of v, or
// whole characters. v is UTF-8.
func cut(v []byte) int {
	if len(v) <= maxBoundBytes {
		return len(v)
	}
	n := maxBoundBytes
	for n > 0 && !utf8.RuneStart(v[n]) {
		n--
	}
	return n
}
