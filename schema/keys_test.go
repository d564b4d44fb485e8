package schema_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/taskhub-tools/taskhub/schema"
)

// lone is half of a surrogate pair as the three bytes that UTF-8 would use:
// how this package keeps what JSON can hold and UTF-8 cannot.
const lone = "\xed\xa0\xbd"

func TestEscapeKey(t *testing.T) {
	tests := []struct{ name, id, key string }{
		{"plain", "hello", "hello"},
		{"empty", "", ""},
		{"slash", "a/b", "a^0b"},
		{"backslash", `a\b`, "a^1b"},
		{"hash", "a#b", "a^2b"},
		{"question mark", "a?b", "a^3b"},
		{"caret", "a^b", "a^^b"},
		{"carets", "^^", "^^^^"},
		{"NUL", "\u0000", "^\u00c0"},
		{"ends of the control characters", "\u001f\u007f\u009f", "^\u00df^\u013f^\u015f"},
		{"first of the upper control characters", "\u0080", "^\u0140"},
		{"beside the upper control characters", "\u007e\u00a0", "\u007e\u00a0"},
		{"tab", "tab\there", "tab^\u00c9here"},
		{"line end", "\r\n", "^\u00cd^\u00ca"},
		{"several", "order#42/line?7", "order^242^0line^37"},
		{"beyond ASCII", "ünïcode/#?", "ünïcode^0^2^3"},
		{"punctuation", "!@#$%^&*()", "!@^2$%^^&*()"},
		{"entity", "@counter@cats", "@counter@cats"},
		{"percent", "x%2Fy", "x%2Fy"},
		{"Japanese", "日本語", "日本語"},
		{"quotes", "'quoted'", "'quoted'"},
		{"emoji", "😀/", "😀^0"},
		{"half of a surrogate pair", "a" + lone + "/", "a" + lone + "^0"},
		{"everything", "a/b^c\\d#e?f\u0001", "a^0b^^c^1d^2e^3f^\u00c1"},
		{"a second time", schema.EscapeKey("a^b/c"), "a^^^^b^^0c"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := schema.EscapeKey(tt.id); got != tt.key {
				t.Errorf("EscapeKey(%q) = %q, want %q", tt.id, got, tt.key)
			}
			if got, err := schema.UnescapeKey(tt.key); got != tt.id || err != nil {
				t.Errorf("UnescapeKey(%q) = %q, %v, want %q", tt.key, got, err, tt.id)
			}
			if got := schema.InstanceID(tt.key); got != tt.id {
				t.Errorf("InstanceID(%q) = %q, want %q", tt.key, got, tt.id)
			}
		})
	}
}

// What the framework reads although it never writes it. Such a key can only be a
// raw ID of a version before 1.8.4, and that is what InstanceID takes it for.
func TestUnescapeKeyLeniency(t *testing.T) {
	tests := []struct {
		name, key, want string
		bad             bool
	}{
		{name: "other digit", key: "^4", want: "4"},
		{name: "letter", key: "^a", want: "a"},
		{name: "letter beyond the control characters", key: "^\u00ff", want: "?"},
		{name: "two-byte letter", key: "^\u017f", want: "\u00bf"},
		{name: "lone caret", key: "bad^", want: "bad^", bad: true},
		{name: "only a caret", key: "^", want: "^", bad: true},
		{name: "caret after an escape", key: "^^^", want: "^^^", bad: true},
		{name: "half of a surrogate pair", key: "^" + lone, want: lone},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := schema.UnescapeKey(tt.key)
			if got != tt.want || (err != nil) != tt.bad {
				t.Errorf("UnescapeKey(%q) = %q, %v, want %q", tt.key, got, err, tt.want)
			}
			if got := schema.InstanceID(tt.key); got != tt.key {
				t.Errorf("InstanceID(%q) = %q, want the key itself", tt.key, got)
			}
		})
	}
}

func TestPartition(t *testing.T) {
	tests := []struct {
		id   string
		hash string // through AppLeaseID, which shows it
		want map[int]int
	}{
		{"a", "e40c292c", map[int]int{1: 0, 4: 0, 16: 12}},
		{"hello", "4f9f2cab", map[int]int{1: 0, 4: 3, 16: 11}},
		{"0ab8c55a66644d68a3a8b220b12d209c", "5c92ca34", map[int]int{1: 0, 4: 0, 16: 4}},
		{"@counter@cats", "cb8d6762", map[int]int{1: 0, 4: 2, 16: 2}},
		{"ünïcode/#?", "53a9eca6", map[int]int{1: 0, 4: 2, 16: 6}},
		{"", "811c9dc5", map[int]int{4: 1, 16: 5}},
		{"Hello", "f55c314b", map[int]int{4: 3, 16: 11}},
		{"instance-001", "90cb4e4c", map[int]int{4: 0, 16: 12}},
		{"order#42/line?7", "ff0e89af", map[int]int{4: 3, 16: 15}},
		{"@counter@Cats", "326cfe82", map[int]int{4: 2, 16: 2}},
		{"日本語", "805f5ce7", map[int]int{4: 3, 16: 7}},
		{"😀", "33a29608", map[int]int{4: 0, 16: 8}},
		{"scheduled", "8318e578", map[int]int{4: 0, 7: 4}},
		{"approval", "76037226", map[int]int{4: 2, 7: 2}},
		{"long-timer", "38ed7fcb", map[int]int{4: 3, 7: 2}},
		{"buffered-event", "9497a12f", map[int]int{4: 3, 7: 0}},
		{"backlog-003", "dbfb99ec", map[int]int{2: 0}},
		{"backlog-011", "d9f9582f", map[int]int{2: 1}},
		{"@counter@c2", "0f604996", map[int]int{4: 2}},
		{"@device@d1", "9dcc41e0", map[int]int{4: 0}},
		{"timer-week", "cc527de5", map[int]int{4: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.id, func(t *testing.T) {
			if got, want := schema.AppLeaseID(tt.id), tt.hash+"-0000-0000-0000-000000000000"; got != want {
				t.Errorf("AppLeaseID(%q) = %s, want %s", tt.id, got, want)
			}
			for count, want := range tt.want {
				if got := schema.Partition(tt.id, count); got != want {
					t.Errorf("Partition(%q, %d) = %d, want %d", tt.id, count, got, want)
				}
			}
		})
	}
}

// .NET encodes an unpaired surrogate as U+FFFD before hashing.
func TestPartitionOfUnpairedSurrogates(t *testing.T) {
	for _, tt := range []struct{ id, same string }{
		{lone, "\ufffd"},
		{"a" + lone + "b\xed\xb8\x80", "a\ufffdb\ufffd"},
		{"\ud7ff", "\ud7ff"}, // begins with the same byte and is none
	} {
		if got, want := schema.AppLeaseID(tt.id), schema.AppLeaseID(tt.same); got != want {
			t.Errorf("the hash of %q is %s, want that of %q, %s", tt.id, got, tt.same, want)
		}
	}
	if got, want := schema.AppLeaseID("\ud7ff"), fmt.Sprintf("%08x-0000-0000-0000-000000000000", fnv("\xed\x9f\xbf")); got != want {
		t.Errorf("the hash of U+D7FF is %s, want %s", got, want)
	}
}

func fnv(s string) uint32 {
	h := uint32(2166136261)
	for _, c := range []byte(s) {
		h = (h ^ uint32(c)) * 16777619
	}
	return h
}

func TestAppLeaseID(t *testing.T) {
	for app, want := range map[string]string{
		"":                  "811c9dc5-0000-0000-0000-000000000000",
		"myfunctionapp":     "87ffd7a6-0000-0000-0000-000000000000",
		"contoso-func-prod": "26d9dce5-0000-0000-0000-000000000000",
		"hublab":            "a2a28283-0000-0000-0000-000000000000",
	} {
		if got := schema.AppLeaseID(app); got != want {
			t.Errorf("AppLeaseID(%q) = %s, want %s", app, got, want)
		}
	}
}

func TestSequence(t *testing.T) {
	for n, want := range map[int64]string{
		0:          "0000000000000000",
		10:         "000000000000000A",
		99:         "0000000000000063",
		256:        "0000000000000100",
		65535:      "000000000000FFFF",
		1000000:    "00000000000F4240",
		2147483647: "000000007FFFFFFF",
		1<<63 - 1:  "7FFFFFFFFFFFFFFF",
	} {
		if got := schema.FormatSequence(n); got != want {
			t.Errorf("FormatSequence(%d) = %s, want %s", n, got, want)
		}
		if got, ok := schema.ParseSequence(want); got != n || !ok {
			t.Errorf("ParseSequence(%s) = %d, %v, want %d", want, got, ok, n)
		}
	}
	for name, key := range map[string]string{
		"sentinel":   schema.SentinelRowKey,
		"empty":      "",
		"lower case": "000000000000000a",
		"short":      "000000000000000",
		"long":       "00000000000000000",
		"sign":       "-000000000000001",
		"too large":  "8000000000000000",
		"space":      "000000000000000 ",
		"before 1.0": "abc.0000000000000000",
	} {
		t.Run(name, func(t *testing.T) {
			if n, ok := schema.ParseSequence(key); ok {
				t.Errorf("ParseSequence(%q) = %d, want not ok", key, n)
			}
		})
	}
}

func TestPrefixEnd(t *testing.T) {
	tests := []struct{ name, prefix, want string }{
		{"entities", "@", "A"},
		{"entities of a name", "@counter@", "@counterA"},
		{"word", "order", "ordes"},
		{"escaped slash", schema.EscapeKey("a/"), "a^1"},
		{"escaped caret", schema.EscapeKey("a^"), "a^_"},
		{"all", "", ""},
		{"end of a block of UTF-8", "aÿ", "aĀ"},
		{"before the surrogates", "a\ud7ff", "a\U00010000"},
		{"last beyond U+FFFF", "a\U0010ffff", "a\ue000"},
		{"last of UTF-16", "a\uffff", "b"},
		{"only the last of UTF-16", "\uffff\uffff", ""},
		{"replacement character", "a\ufffd", "a\ufffe"},
		{"not UTF-8", "a\xff", "b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := schema.PrefixEnd(tt.prefix); got != tt.want {
				t.Errorf("PrefixEnd(%q) = %q, want %q", tt.prefix, got, tt.want)
			}
		})
	}
}

// randomKey returns a short text of characters from all parts of Unicode, those
// around which the orders of UTF-8 and UTF-16 differ above all.
func randomKey(rnd *rand.Rand) string {
	edges := []rune{'a', 'b', 0x7f, 0x80, 0x7ff, 0x800, 0xd7fe, 0xd7ff, 0xe000, 0xfffd, 0xfffe, 0xffff, 0x10000, 0x103ff, 0x10400, 0x10ffff}
	var b strings.Builder
	for range rnd.IntN(4) {
		b.WriteRune(edges[rnd.IntN(len(edges))])
	}
	return b.String()
}

func compareUnits(a, b string) int {
	return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
}

func TestCompareKeys(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200_000 {
		a, b := randomKey(rnd), randomKey(rnd)
		if got, want := cmp.Compare(schema.CompareKeys(a, b), 0), compareUnits(a, b); got != want {
			t.Fatalf("CompareKeys(%q, %q) is %d, want %d", a, b, got, want)
		}
	}
}

// A key lies between a prefix and its end exactly if it begins with the prefix.
func TestPrefixEndBounds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	inside := 0
	for range 200_000 {
		prefix := randomKey(rnd)
		key := randomKey(rnd)
		if rnd.IntN(2) == 0 {
			key = prefix + key
		}
		end := schema.PrefixEnd(prefix)
		got := compareUnits(key, prefix) >= 0 && (end == "" || compareUnits(key, end) < 0)
		if want := strings.HasPrefix(key, prefix); got != want {
			t.Fatalf("%q between %q and %q is %v, want %v", key, prefix, end, got, want)
		}
		if got {
			inside++
		}
	}
	if inside == 0 {
		t.Error("no key was inside")
	}
}
