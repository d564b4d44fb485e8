package schema

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"unicode/utf8"
	"unsafe"
)

// SyntaxError reports JSON text that cannot be read, by its offset in bytes
// from the start of the text that was given.
type SyntaxError struct {
	Offset int
	Reason string
}

// Error says where and why.
func (e *SyntaxError) Error() string { return fmt.Sprintf("offset %d: %s", e.Offset, e.Reason) }

// errString is the cause of a bad string; its place is added by the caller.
var (
	errUnterminated = errors.New("text ends inside a string")
	errControl      = errors.New("control character in a string")
	errUTF8         = errors.New("invalid UTF-8 in a string")
	errEscape       = errors.New("invalid escape in a string")
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special has its lowest set bit in the first of the eight bytes of x that is a
// quote, a backslash or a control character. Bits above that one may be wrong:
// the subtractions borrow.
func special(x uint64) uint64 {
	q, b := x^(ones*'"'), x^(ones*'\\')
	return ((q-ones)&^q | (b-ones)&^b | (x-ones*0x20)&^x) & highs
}

// scanString finds the end of the JSON string whose first byte after the quote
// is b[i]: the index of the closing quote. escaped tells whether there is a
// backslash on the way. The text is checked: no control characters, valid UTF-8.
func scanString(b []byte, i int) (end int, escaped bool, err error) {
	start := i
	var nonASCII uint64
	for {
		if i+8 <= len(b) {
			x := binary.LittleEndian.Uint64(b[i:])
			m := special(x)
			if m == 0 {
				nonASCII |= x
				i += 8
				continue
			}
			n := bits.TrailingZeros64(m) >> 3
			nonASCII |= x & (1<<(8*n) - 1)
			i += n
		} else {
			for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= 0x20 {
				nonASCII |= uint64(b[i])
				i++
			}
			if i == len(b) {
				return i, escaped, errUnterminated
			}
		}
		switch b[i] {
		case '"':
			if nonASCII&highs != 0 && !utf8.Valid(b[start:i]) {
				return start, escaped, errUTF8
			}
			return i, escaped, nil
		case '\\':
			escaped = true
			if i+1 >= len(b) {
				return i, escaped, errUnterminated
			}
			if b[i+1] < 0x20 || b[i+1] >= 0x80 {
				return i, escaped, errEscape
			}
			i += 2
		default:
			return i, escaped, errControl
		}
	}
}

// unescape decodes the JSON escapes of b in place and returns the shorter text.
// A \u escape that is half of a surrogate pair is kept as the three bytes that
// UTF-8 would use for it, so that it can be written back.
func unescape(b []byte) ([]byte, error) {
	r := bytes.IndexByte(b, '\\')
	w := r
	for r < len(b) {
		if b[r] != '\\' {
			// Eight bytes at a time: texts of JSON in JSON have a backslash every
			// few bytes, too often for a search and a copy each.
			if r+8 <= len(b) {
				x := binary.LittleEndian.Uint64(b[r:])
				y := x ^ ones*'\\'
				m := (y - ones) &^ y & highs
				if m == 0 {
					binary.LittleEndian.PutUint64(b[w:], x)
					r, w = r+8, w+8
					continue
				}
				n := bits.TrailingZeros64(m) >> 3
				if r-w >= 8 {
					// What is written too much lies before what is still to be read.
					binary.LittleEndian.PutUint64(b[w:], x)
				} else {
					for k := range n {
						b[w+k] = byte(x >> (8 * k))
					}
				}
				r, w = r+n, w+n
				continue
			}
			b[w] = b[r]
			r, w = r+1, w+1
			continue
		}
		if r+1 >= len(b) {
			return nil, errEscape
		}
		switch c := b[r+1]; c {
		case '"', '\\', '/':
			b[w] = c
		case 'b':
			b[w] = '\b'
		case 'f':
			b[w] = '\f'
		case 'n':
			b[w] = '\n'
		case 'r':
			b[w] = '\r'
		case 't':
			b[w] = '\t'
		case 'u':
			u, ok := hex4(b, r+2)
			if !ok {
				return nil, errEscape
			}
			r += 6
			if u >= 0xD800 && u < 0xDC00 && r+6 <= len(b) && b[r] == '\\' && b[r+1] == 'u' {
				if lo, ok := hex4(b, r+2); ok && lo >= 0xDC00 && lo < 0xE000 {
					u = 0x10000 + (u-0xD800)<<10 + (lo - 0xDC00)
					r += 6
				}
			}
			w += putRune(b[w:], u)
			continue
		default:
			return nil, errEscape
		}
		w++
		r += 2
	}
	return b[:w], nil
}

func hex4(b []byte, i int) (u rune, ok bool) {
	if i+4 > len(b) {
		return 0, false
	}
	for _, c := range b[i : i+4] {
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		u = u<<4 | rune(c)
	}
	return u, true
}

// putRune is utf8.EncodeRune, but keeps surrogates.
func putRune(b []byte, u rune) int {
	if u >= 0xD800 && u < 0xE000 {
		b[0], b[1], b[2] = 0xE0|byte(u>>12), 0x80|byte(u>>6)&0x3F, 0x80|byte(u)&0x3F
		return 3
	}
	return utf8.EncodeRune(b, u)
}

const hexDigits = "0123456789abcdef"

// AppendJSONString appends s as a JSON string with the fewest escapes: quote,
// backslash and control characters, and unpaired surrogates. Text outside ASCII
// stays as it is.
func AppendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		// Eight bytes at a time up to the next one that may need an escape.
		for i+8 <= len(s) {
			x := binary.LittleEndian.Uint64(unsafe.Slice(unsafe.StringData(s[i:]), 8))
			y := x ^ ones*0xED
			m := special(x) | (y-ones)&^y&highs
			if m == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(m) >> 3
			break
		}
		if i == len(s) {
			break
		}
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c != 0xED {
			continue
		}
		if c == 0xED {
			// U+D000 to U+DFFF; only the upper half are surrogates.
			if i+2 < len(s) && s[i+1] >= 0xA0 && s[i+2] >= 0x80 {
				u := rune(c&0x0F)<<12 | rune(s[i+1]&0x3F)<<6 | rune(s[i+2]&0x3F)
				dst = append(dst, s[start:i]...)
				dst = append(dst, '\\', 'u', hexDigits[u>>12&15], hexDigits[u>>8&15], hexDigits[u>>4&15], hexDigits[u&15])
				i += 2
				start = i + 1
			}
			continue
		}
		dst = append(dst, s[start:i]...)
		start = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\b':
			dst = append(dst, '\\', 'b')
		case '\f':
			dst = append(dst, '\\', 'f')
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}

// view returns b as a string without copying. The caller gives up b: it must
// not be written to afterwards.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
