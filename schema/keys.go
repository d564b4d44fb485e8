package schema

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// EscapeKey turns an instance ID into the PartitionKey of its rows and the
// folder of its history blobs: ^ / \ # ? and control characters cannot stand in
// a key. Escaping is not idempotent: apply it exactly once.
//
// Source: durabletask 2.9.1, KeySanitation.cs:20-142; vectors in keys_test.go.
func EscapeKey(id string) string {
	if !needsEscape(id) {
		return id
	}
	var b strings.Builder
	b.Grow(len(id) + 8)
	for i := 0; i < len(id); {
		u, n := utf8.DecodeRuneInString(id[i:]) // bytes that are not UTF-8 stay as they are
		switch {
		case u == '^':
			b.WriteString("^^")
		case u == '/':
			b.WriteString("^0")
		case u == '\\':
			b.WriteString("^1")
		case u == '#':
			b.WriteString("^2")
		case u == '?':
			b.WriteString("^3")
		case u <= 0x1F || u >= 0x7F && u <= 0x9F:
			b.WriteByte('^')
			b.WriteRune(u + 0xC0)
		default:
			b.WriteString(id[i : i+n])
		}
		i += n
	}
	return b.String()
}

func needsEscape(id string) bool {
	for i := 0; i < len(id); i++ {
		switch c := id[i]; {
		case c == '^' || c == '/' || c == '\\' || c == '#' || c == '?' || c < 0x20 || c == 0x7F:
			return true
		case c == 0xC2 && i+1 < len(id) && id[i+1] < 0xA0: // U+0080 to U+009F
			return true
		}
	}
	return false
}

var errLoneCaret = errors.New("key ends in a lone ^")

// UnescapeKey turns a PartitionKey back into the instance ID. A key that ends in
// a lone ^ was not written by the framework: it is returned as it is, with an
// error.
//
// Keys written before version 1.8.4 hold the raw ID. EscapeKey(UnescapeKey(k))
// == k tells whether k can be an escaped one; see [InstanceID].
func UnescapeKey(key string) (string, error) {
	if strings.IndexByte(key, '^') < 0 {
		return key, nil
	}
	var b strings.Builder
	b.Grow(len(key))
	for i := 0; i < len(key); i++ {
		if key[i] != '^' {
			b.WriteByte(key[i])
			continue
		}
		i++
		if i == len(key) {
			return key, errLoneCaret
		}
		u, n := utf8.DecodeRuneInString(key[i:])
		switch {
		case u == utf8.RuneError && n == 1: // not UTF-8, such as half of a surrogate pair
			b.WriteByte(key[i])
		case u == '0':
			b.WriteByte('/')
		case u == '1':
			b.WriteByte('\\')
		case u == '2':
			b.WriteByte('#')
		case u == '3':
			b.WriteByte('?')
		case u >= 0xC0:
			b.WriteRune(u - 0xC0)
		default: // ^ itself, and anything else unchanged
			b.WriteString(key[i : i+n])
		}
		i += n - 1
	}
	return b.String(), nil
}

// InstanceID returns the instance ID that a PartitionKey stands for. A key that
// is not a possible result of [EscapeKey] is taken for a raw ID, as versions
// before 1.8.4 wrote them.
func InstanceID(partitionKey string) string {
	id, err := UnescapeKey(partitionKey)
	if err != nil || len(id) != len(partitionKey) && EscapeKey(id) != partitionKey {
		return partitionKey
	}
	return id
}

// CompareKeys orders keys as the Table service does: by UTF-16 code units,
// which differs from the order of the bytes only where a character beyond
// U+FFFF meets one between U+E000 and U+FFFF.
func CompareKeys(a, b string) int {
	if a == b { // mostly the keys of one partition, which share their memory
		return 0
	}
	n := min(len(a), len(b))
	i := 0
	for i < n && a[i] == b[i] {
		i++
	}
	if i == n {
		return len(a) - len(b)
	}
	x, y := a[i], b[i]
	// Lead bytes F0 and up begin surrogate pairs (D800 to DFFF); EE and EF
	// begin U+E000 to U+FFFF, which sort after them in UTF-16.
	if x >= 0xEE && y >= 0xEE && (x >= 0xF0) != (y >= 0xF0) {
		return int(y) - int(x)
	}
	return int(x) - int(y)
}

// CompareRows orders rows of a table as the service lists them: by PartitionKey,
// then RowKey.
func CompareRows(a, b *Row) int {
	if n := CompareKeys(a.PartitionKey, b.PartitionKey); n != 0 {
		return n
	}
	return CompareKeys(a.RowKey, b.RowKey)
}

// PrefixEnd returns the smallest key that is greater than every key beginning
// with prefix, in the order of [CompareKeys]. For nearly every prefix that is
// what the framework computes for prefix queries, the last UTF-16 unit
// incremented; where that is not a character, this is the next one. It returns
// "", an open end, where there is no such key, as for an empty prefix.
//
// Source: durabletask 2.9.1, OrchestrationInstanceStatusQueryCondition.cs:116-131.
func PrefixEnd(prefix string) string {
	for i := len(prefix) - 1; i >= 0; i-- {
		// Incrementing the last byte of UTF-8 would leave the text invalid at
		// the end of a block, so the last character is incremented.
		if !utf8.RuneStart(prefix[i]) {
			continue
		}
		u, n := utf8.DecodeRuneInString(prefix[i:])
		switch {
		case u == 0xFFFF || u == utf8.RuneError && n == 1:
			continue // the last in the order of UTF-16, or no character
		case u == 0xD7FF:
			u = 0x10000
		case u == utf8.MaxRune:
			u = 0xE000
		default:
			u++
		}
		return prefix[:i] + string(u)
	}
	return ""
}

// Partition returns the control queue, from 0, that receives the messages of an
// instance: FNV-1a, 32 bits, of the raw ID in UTF-8, modulo the partition count.
//
// Source: durabletask 2.9.1, Fnv1aHashHelper.cs:27-92.
func Partition(instanceID string, count int) int {
	return int(hashID(instanceID) % uint32(count))
}

func hashID(id string) uint32 {
	h := uint32(2166136261)
	for i := 0; i < len(id); i++ {
		c := id[i]
		if c == 0xED && i+2 < len(id) && id[i+1] >= 0xA0 {
			// An unpaired surrogate: .NET encodes it as U+FFFD.
			for _, r := range [...]byte{0xEF, 0xBF, 0xBD} {
				h = (h ^ uint32(r)) * 16777619
			}
			i += 2
			continue
		}
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}

// FormatSequence returns the RowKey of a history event at a position from 0.
func FormatSequence(n int64) string { return fmt.Sprintf("%016X", uint64(n)) }

// ParseSequence returns the position of a history event from its RowKey: 16
// upper-case hexadecimal digits. ok is false for the sentinel and anything else.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:969-970.
func ParseSequence(rowKey string) (n int64, ok bool) {
	if len(rowKey) != 16 || rowKey[0] > '7' {
		return 0, false
	}
	for i := 0; i < 16; i++ {
		c := rowKey[i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		n = n<<4 | int64(c)
	}
	return n, true
}
