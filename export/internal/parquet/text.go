package parquet

import (
	"encoding/binary"
	"strings"
	"unicode/utf8"
)

// texts is a list of byte strings stored back to back. Offsets are 32 bits wide,
// so the bytes of all together stay below 4 GiB; callers set a lower limit.
type texts struct {
	data []byte
	ends []uint32 // end of each text in data; it starts where the one before ends
}

func (t *texts) len() int { return len(t.ends) }

// start returns the offset of text i in data, which may be one past the last.
func (t *texts) start(i int) int {
	if i == 0 {
		return 0
	}
	return int(t.ends[i-1])
}

// at returns text i, which is valid until the next append.
func (t *texts) at(i int) []byte { return t.data[t.start(i):t.ends[i]] }

func (t *texts) append(v string) {
	t.data = append(t.data, v...)
	t.ends = append(t.ends, uint32(len(t.data)))
}

func (t *texts) reset() { t.data, t.ends = t.data[:0], t.ends[:0] }

// appendPlain appends the texts from (inclusive) to (exclusive) to dst in the
// PLAIN encoding: the length in four bytes, then the text, each.
func (t *texts) appendPlain(dst []byte, from, to int) []byte {
	start := uint32(t.start(from))
	for _, end := range t.ends[from:to] {
		dst = binary.LittleEndian.AppendUint32(dst, end-start)
		dst = append(dst, t.data[start:end]...)
		start = end
	}
	return dst
}

// validUTF8 returns s with everything that is not UTF-8 replaced by U+FFFD: once
// for a surrogate half in the three bytes it would have (as text from UTF-16
// contains them), and once for any other byte.
func validUTF8(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s) + 2*utf8.UTFMax)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 && isSurrogate(s[i:]) {
			n = 3
		}
		b.WriteRune(r)
		i += n
	}
	return b.String()
}

// isSurrogate reports whether s starts with U+D800 to U+DFFF, encoded as if they
// were characters.
func isSurrogate(s string) bool {
	return len(s) >= 3 && s[0] == 0xED && s[1]&0xE0 == 0xA0 && s[2]&0xC0 == 0x80
}
