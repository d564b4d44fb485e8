package parquet

import (
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
)

// Shape of a DELTA_BINARY_PACKED sequence: blocks of 128 differences, packed in
// miniblocks of 32 that have a bit width each.
//
// Source: parquet-format, Encodings.md, "Delta Encoding".
const (
	blockValues     = 128
	miniblockValues = 32
	miniblocks      = blockValues / miniblockValues
)

// appendDelta appends v to dst as DELTA_BINARY_PACKED.
//
// Differences are taken in the width of T and wrap around, which readers undo by
// wrapping in the same width. So any sequence can be stored, and no difference of
// 32-bit values needs more than 32 bits.
func appendDelta[T int32 | int64](dst []byte, v []T) []byte {
	dst = binary.AppendUvarint(dst, blockValues)
	dst = binary.AppendUvarint(dst, miniblocks)
	dst = binary.AppendUvarint(dst, uint64(len(v)))
	if len(v) == 0 {
		return binary.AppendVarint(dst, 0)
	}
	dst = binary.AppendVarint(dst, int64(v[0]))

	mask := uint64(math.MaxUint64)
	if _, ok := any(v[0]).(int32); ok {
		mask = math.MaxUint32
	}
	var deltas [blockValues]T
	var packed [blockValues]uint64
	prev := v[0]
	for v = v[1:]; len(v) > 0; {
		n := min(len(v), blockValues)
		least := v[0] - prev
		for i, x := range v[:n] {
			d := x - prev
			deltas[i] = d
			least = min(least, d)
			prev = x
		}
		v = v[n:]

		dst = binary.AppendVarint(dst, int64(least))
		widths := len(dst)
		dst = append(dst, make([]byte, miniblocks)...)
		for i, d := range deltas[:n] {
			packed[i] = uint64(d-least) & mask
		}
		clear(packed[n:]) // pads the last miniblock; those past it are left out
		for m := 0; m*miniblockValues < n; m++ {
			mini := packed[m*miniblockValues : (m+1)*miniblockValues]
			var or uint64
			for _, x := range mini {
				or |= x
			}
			width := bits.Len64(or)
			dst[widths+m] = byte(width)
			dst = appendMiniblock(dst, mini, width)
		}
	}
	return dst
}

// appendMiniblock appends the lowest width bits of the 32 values of v, which have
// no higher ones: 4 * width bytes.
func appendMiniblock(dst []byte, v []uint64, width int) []byte {
	if width == 0 {
		return dst
	}
	at := len(dst)
	end := at + miniblockValues/8*width
	dst = slices.Grow(dst, end-at+8)[:end+8] // the last word may be half used
	var acc uint64                           // bits not yet written, fewer than 64 between values
	n := 0
	for _, x := range v {
		acc |= x << n
		if n += width; n >= 64 {
			binary.LittleEndian.PutUint64(dst[at:], acc)
			at += 8
			n -= 64
			acc = x >> (width - n) // n bits of x are left; none for a shift by its width
		}
	}
	binary.LittleEndian.PutUint64(dst[at:], acc)
	return dst[:end]
}
