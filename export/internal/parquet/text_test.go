package parquet

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestValidUTF8(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"plain", "plain"},
		{"Köln 😀", "Köln 😀"},
		{"\uFFFD", "\uFFFD"},
		{"\xff", "\uFFFD"},
		{"a\xffb\xfe", "a\uFFFDb\uFFFD"},
		{"\xff\xff", "\uFFFD\uFFFD"},
		{"half \xed\xa0\x80.", "half \uFFFD."},            // U+D800
		{"\xed\xbf\xbf", "\uFFFD"},                        // U+DFFF
		{"\xed\xa0\xbd\xed\xb8\x80", "\uFFFD\uFFFD"},      // U+1F600 as two halves
		{"\xed\x9f\xbf", "\uD7FF"},                        // the last before surrogates
		{"\xed\xa0", "\uFFFD\uFFFD"},                      // cut short
		{"\xc3", "\uFFFD"},                                // cut short
		{"\xc0\x80", "\uFFFD\uFFFD"},                      // overlong
		{"\xf4\x90\x80\x80", strings.Repeat("\uFFFD", 4)}, // above U+10FFFF
		{strings.Repeat("x", 100) + "\xff", strings.Repeat("x", 100) + "\uFFFD"},
	} {
		if got := validUTF8(tt.in); got != tt.want {
			t.Errorf("validUTF8(%q) = %q, want %q", tt.in, got, tt.want)
		}
	}
}

func FuzzValidUTF8(f *testing.F) {
	f.Add("\xed\xa0\x80 and \xff")
	f.Add("Köln")
	f.Fuzz(func(t *testing.T, s string) {
		got := validUTF8(s)
		if !utf8.ValidString(got) {
			t.Errorf("validUTF8(%q) = %q, which is not UTF-8", s, got)
		}
		if utf8.ValidString(s) && got != s {
			t.Errorf("validUTF8(%q) = %q, want no change", s, got)
		}
	})
}

func TestBounds(t *testing.T) {
	x64 := strings.Repeat("x", 64)
	for _, tt := range []struct {
		name   string
		v      string
		lo, hi string
	}{
		{"empty", "", "", ""},
		{"short", "abc", "abc", "abc"},
		{"just fits", x64, x64, x64},
		{"one too many", x64 + "a", x64, x64[1:] + "y"},
		{"cut within a character", strings.Repeat("x", 63) + "ö...", strings.Repeat("x", 63), strings.Repeat("x", 62) + "y"},
		{"successor is longer", strings.Repeat("\x7f", 65), strings.Repeat("\x7f", 64), strings.Repeat("\x7f", 63) + "\u0080"},
		{"successor skips surrogates", strings.Repeat("\uD7FF", 22), strings.Repeat("\uD7FF", 21), strings.Repeat("\uD7FF", 20) + "\uE000"},
		{"greatest characters are dropped", strings.Repeat("a", 8) + strings.Repeat("\U0010FFFF", 15), strings.Repeat("a", 8) + strings.Repeat("\U0010FFFF", 14), strings.Repeat("a", 7) + "b"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := lowerBound([]byte(tt.v)); string(got) != tt.lo || got == nil {
				t.Errorf("lowerBound(%q) = %q, want %q", tt.v, got, tt.lo)
			}
			if got := upperBound([]byte(tt.v)); string(got) != tt.hi || got == nil {
				t.Errorf("upperBound(%q) = %q, want %q", tt.v, got, tt.hi)
			}
		})
	}
	if got := upperBound([]byte(strings.Repeat("\U0010FFFF", 17))); got != nil {
		t.Errorf("upperBound of the greatest characters = %q, want nil", got)
	}
}

func FuzzBounds(f *testing.F) {
	f.Add(strings.Repeat("\U0010FFFF", 17))
	f.Add(strings.Repeat("x", 63) + "öä")
	f.Fuzz(func(t *testing.T, s string) {
		s = validUTF8(s)
		lo, hi := lowerBound([]byte(s)), upperBound([]byte(s))
		if string(lo) > s || !utf8.Valid(lo) || len(lo) > maxBoundBytes {
			t.Errorf("lowerBound(%q) = %q, want UTF-8 that is not greater, of at most %d bytes", s, lo, maxBoundBytes)
		}
		if hi != nil && (string(hi) < s || !utf8.Valid(hi)) {
			t.Errorf("upperBound(%q) = %q, want UTF-8 that is not less", s, hi)
		}
	})
}
