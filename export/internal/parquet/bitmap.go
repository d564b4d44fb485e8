package parquet

import "math/bits"

// bitmap is a sequence of bits, the lowest bit of the first word first. Bits
// past its end are zero, so trailing zeros need not be stored.
type bitmap []uint64

// set makes bit i one.
func (b *bitmap) set(i int) {
	w := i >> 6
	for w >= len(*b) {
		*b = append(*b, 0)
	}
	(*b)[w] |= 1 << (i & 63)
}

// word returns the 64 bits from bit i on.
func (b bitmap) word(i int) uint64 {
	w, shift := i>>6, i&63
	if w >= len(b) {
		return 0
	}
	x := b[w] >> shift
	if shift > 0 && w+1 < len(b) {
		x |= b[w+1] << (64 - shift)
	}
	return x
}

// count returns how many of the bits from (inclusive) to (exclusive) are one.
func (b bitmap) count(from, to int) int {
	n := 0
	for ; from+64 <= to && from>>6 < len(b); from += 64 {
		n += bits.OnesCount64(b.word(from))
	}
	if from < to {
		n += bits.OnesCount64(b.word(from) & lowBits(min(to-from, 64)))
	}
	return n
}

// after returns the position just past the k-th bit, from 1, that is one at or
// after from. There must be that many.
func (b bitmap) after(from, k int) int {
	for {
		w := b.word(from)
		if n := bits.OnesCount64(w); n < k {
			k -= n
			from += 64
			continue
		}
		for ; k > 1; k-- {
			w &= w - 1 // clears the lowest one
		}
		return from + bits.TrailingZeros64(w) + 1
	}
}

// lowBits returns a word with the lowest n bits set, 0 <= n <= 64.
func lowBits(n int) uint64 {
	return 1<<n - 1
}
