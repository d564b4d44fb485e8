package parquet

import "encoding/binary"

// The hybrid encoding mixes two kinds of runs, each after a varint header:
// a repeated value (header = length << 1, then the value in whole bytes), and
// values packed at a fixed width, lowest bit first, in groups of eight (header =
// groups << 1 | 1). Only the last packed run may be padded, because a reader
// takes padding in the middle for values.
//
// Source: parquet-format, Encodings.md, "Run Length Encoding / Bit-Packing Hybrid".

// appendHybridBits appends the bits from (inclusive) to (exclusive) of b to dst,
// in the hybrid encoding of width 1.
//
// It looks at 64 bits at once: words of equal bits become repeated runs, and
// what lies between is copied as it is, since a packed run of width 1 is the
// bitmap itself. Shorter repetitions stay packed; a bit each is little, and the
// compression that follows removes most of it.
func appendHybridBits(dst []byte, b bitmap, from, to int) []byte {
	for from < to {
		w, ones := b.clipped(from, to)
		next := from + 64
		if w == 0 || w == ones {
			bit := w & 1
			for next < to {
				w, ones := b.clipped(next, to)
				if w != ones*bit {
					break
				}
				next += 64
			}
			next = min(next, to)
			dst = binary.AppendUvarint(dst, uint64(next-from)<<1)
			dst = append(dst, byte(bit))
		} else {
			for next < to {
				w, ones := b.clipped(next, to)
				if w == 0 || w == ones {
					break
				}
				next += 64
			}
			next = min(next, to)
			dst = binary.AppendUvarint(dst, uint64(next-from+7)>>3<<1|1)
			dst = appendBits(dst, b, from, next)
		}
		from = next
	}
	return dst
}

// clipped returns the bits of b from (inclusive) to (exclusive), 64 at most, and
// a word with as many ones.
func (b bitmap) clipped(from, to int) (w, ones uint64) {
	ones = lowBits(min(to-from, 64))
	return b.word(from) & ones, ones
}

// appendBits appends the bits from (inclusive) to (exclusive) of b to dst, eight
// in a byte.
func appendBits(dst []byte, b bitmap, from, to int) []byte {
	end := len(dst) + (to-from+7)>>3
	for ; from < to; from += 64 {
		w, _ := b.clipped(from, to)
		dst = binary.LittleEndian.AppendUint64(dst, w)
	}
	return dst[:end]
}

// minRepeat is the shortest repetition worth a run of its own. It may not be
// shorter than the seven values that a packed run can take from it to become
// full.
const minRepeat = 8

// appendHybrid appends v to dst in the hybrid encoding of the given width, 1 to
// 32 bits. Every value fits into width bits.
func appendHybrid(dst []byte, v []uint32, width int) []byte {
	packed := 0 // start of the values that wait for a packed run
	for i := 0; i < len(v); {
		x := v[i]
		end := i + 1
		for end < len(v) && v[end] == x {
			end++
		}
		// A packed run must be full, so it takes the first values of a repetition.
		if start := i + (packed-i)&7; end-start >= minRepeat {
			dst = appendPacked(dst, v[packed:start], width)
			dst = binary.AppendUvarint(dst, uint64(end-start)<<1)
			for k := 0; k < width; k += 8 {
				dst = append(dst, byte(x>>k))
			}
			packed = end
		}
		i = end
	}
	return appendPacked(dst, v[packed:], width)
}

// appendPacked appends one packed run of v, padded with zeros to a multiple of
// eight values. No values give no run.
func appendPacked(dst []byte, v []uint32, width int) []byte {
	if len(v) == 0 {
		return dst
	}
	groups := (len(v) + 7) >> 3
	dst = binary.AppendUvarint(dst, uint64(groups)<<1|1)
	end := len(dst) + groups*width
	var acc uint64 // bits not yet written, fewer than 32 between values
	n := 0
	for _, x := range v {
		acc |= uint64(x) << n
		if n += width; n >= 32 {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(acc))
			acc >>= 32
			n -= 32
		}
	}
	for ; len(dst) < end; acc >>= 8 {
		dst = append(dst, byte(acc))
	}
	return dst
}
