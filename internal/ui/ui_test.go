package ui

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestEscape(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"plain", "order-1", "order-1"},
		{"empty", "", ""},
		{"letters of all kinds", "ünïcode-日本語-😀", "ünïcode-日本語-😀"},
		{"odd but harmless", `weird/id\with#all?and^caret'"`, `weird/id\with#all?and^caret'"`},
		{"control", "a\tb\r\n\x00", `a\tb\r\n\x00`},
		{"escape sequence", "\x1b[31mred", `\x1b[31mred`},
		{"DEL and C1", "\x7f\u0085\u009b", `\x7f\u0085\u009b`},
		{"bidirectional", "\u202egnp\u202c\u2066\u200f", `\u202egnp\u202c\u2066\u200f`},
		{"invisible", "a\u200bb\ufeff\u00a0", `a\u200bb\ufeff\u00a0`},
		{"tags", "\U000e0041", `\U000e0041`},
		{"line separators", "a\u2028b\u2029", `a\u2028b\u2029`},
		{"invalid UTF-8", "a\xff\xc3", `a\xff\xc3`},
		{"half of a surrogate pair", "\xed\xa0\xbd", `\xed\xa0\xbd`},
		{"replacement character", "\ufffd", "\ufffd"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Escape(tt.in); got != tt.want {
				t.Errorf("Escape(%q) = %q, want %q", tt.in, got, tt.want)
			}
		})
	}
}

// Whatever comes in, nothing comes out that a terminal could act on.
func FuzzEscape(f *testing.F) {
	for _, s := range []string{"order-1", "\x1b]0;title\x07", "\u202e", "\xff", "日本語"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Escape(s)
		for _, r := range got {
			if r < 0x20 || r >= 0x7F && r < 0xA0 || r >= 0x202A && r <= 0x202E || r >= 0x2066 && r <= 0x2069 {
				t.Fatalf("Escape(%q) = %q has %U", s, got, r)
			}
		}
		if again := Escape(got); again != got {
			t.Fatalf("Escape(%q) = %q, but again %q", s, got, again)
		}
	})
}

func TestWidthAndCut(t *testing.T) {
	tests := []struct {
		in    string
		width int
		cut5  string
	}{
		{"", 0, ""},
		{"abc", 3, "abc"},
		{"abcde", 5, "abcde"},
		{"abcdef", 6, "abcd…"},
		{"日本語", 6, "日本…"},
		{"a日本語", 7, "a日…"},
		{"e\u0301te\u0301", 3, "e\u0301te\u0301"},
	}
	for _, tt := range tests {
		if got := Width(tt.in); got != tt.width {
			t.Errorf("Width(%q) = %d, want %d", tt.in, got, tt.width)
		}
		if got := Cut(tt.in, 5); got != tt.cut5 || Width(got) > 5 {
			t.Errorf("Cut(%q, 5) = %q, want %q", tt.in, got, tt.cut5)
		}
	}
	if got := Cut("abc", 0); got != "" {
		t.Errorf("Cut to nothing = %q", got)
	}
}

func TestFormats(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1 << 20: "1.0 MiB", 1<<20 - 1: "1.0 MiB",
		1 << 40: "1.0 TiB", 1<<63 - 1: "8.0 EiB",
	} {
		if got := Bytes(n); got != want {
			t.Errorf("Bytes(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -999: "-999"} {
		if got := Count(n); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 rows", 1: "1 row", 2000: "2,000 rows"} {
		if got := Plural(n, "row", "rows"); got != want {
			t.Errorf("Plural(%d) = %q, want %q", n, got, want)
		}
	}
	for d, want := range map[time.Duration]string{
		0: "0s", 499 * time.Millisecond: "0s", 12 * time.Second: "12s", 187 * time.Second: "3m07s",
		59*time.Minute + 59*time.Second + 600*time.Millisecond: "1h00m", 50 * time.Hour: "2d02h", -3 * time.Second: "-3s",
	} {
		if got := Duration(d); got != want {
			t.Errorf("Duration(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "1": 1, "512B": 512, "1KB": 1000, "1KiB": 1024, "1k": 1024, "256MiB": 256 << 20, "256 mib": 256 << 20,
		"1.5GiB": 3 << 29, "2TB": 2_000_000_000_000,
		"": -1, "B": -1, "-1": -1, "1XB": -1, "1KiBs": -1, "lots": -1, "1e3": -1, "0x10": -1, "1_000": -1, "NaN": -1, "Inf": -1,
		"9EiB": -1, "1 2": -1, "MiB": -1,
	} {
		got, err := ParseBytes(text)
		if err != nil {
			got = -1
		}
		if got != want {
			t.Errorf("ParseBytes(%q) = %d, %v, want %d", text, got, err, want)
		}
	}
}

func TestTable(t *testing.T) {
	tab := Table{Right: []bool{false, true}, Indent: "  "}
	if !tab.Empty() {
		t.Error("a new table is not empty")
	}
	tab.Row("日本", "1")
	tab.Row("order\x1b[2J", "1,000", "last")
	tab.Row(strings.Repeat("x", 70), "5", "far")
	tab.Row("short")
	var b bytes.Buffer
	if err := tab.Write(&b); err != nil {
		t.Fatal(err)
	}
	want := "  日本              1\n" +
		"  order\\x1b[2J  1,000  last\n" +
		"  " + strings.Repeat("x", 70) + "      5  far\n" +
		"  short\n"
	if got := b.String(); got != want {
		t.Errorf("Write:\n%s\nwant:\n%s", got, want)
	}
}

func TestProgressLine(t *testing.T) {
	now := time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC)
	p := NewProgress(nil, nil, func() time.Time { return now })
	tests := []struct {
		name string
		wait time.Duration
		step Step
		want string
	}{
		{"nothing yet", 0, Step{}, ""},
		{"begins", 0, Step{"history", "", 10, 1000, 2048}, "history  10 of 1,000 rows  2.0 KiB"},
		{"rate and time left", 10 * time.Second, Step{"history", "", 100, 1000, 20480}, "history  100 of 1,000 rows  20.0 KiB  10 rows/s  1m30s left"},
		{"all rows", 10 * time.Second, Step{"history", "", 1000, 1000, 1 << 20}, "history  1,000 of 1,000 rows  1.0 MiB  50 rows/s"},
		{"the next one is measured from there", 2 * time.Second, Step{"me\x1bssages", "", 20, -1, 100}, `me\x1bssages  20 rows  100 B  10 rows/s`},
		{"something without a size", 2 * time.Second, Step{"terminate", "instances", 30, 300, 0}, "terminate  30 of 300 instances  15 instances/s  18s left"},
	}
	for _, tt := range tests {
		now = now.Add(tt.wait)
		if tt.want != "" {
			p.Update(tt.step)
		}
		if got := p.line(); got != tt.want {
			t.Errorf("%s: line = %q, want %q", tt.name, got, tt.want)
		}
	}
}

// lockedBuffer is what a terminal has been sent.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.b.String()
	l.b.Reset()
	return s
}

func TestProgressOnTerminal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var term lockedBuffer
		p := NewProgress(&term, func() int { return 12 }, time.Now)
		p.Stop() // not started: nothing
		p.Start()
		p.Start()
		p.Update(Step{Name: "abc", Done: 1, Total: -1})
		if got := term.take(); got != "" {
			t.Errorf("shown at once: %q", got)
		}
		time.Sleep(redraw)
		synctest.Wait()
		if got, want := term.take(), "\rabc  1 row…"; got != want {
			t.Errorf("shown %q, want %q", got, want)
		}
		p.Stop()
		if got, want := term.take(), "\r"+strings.Repeat(" ", 11)+"\r"; got != want {
			t.Errorf("Stop wrote %q, want %q", got, want)
		}
		p.Stop()
		time.Sleep(time.Second)
		if got := term.take(); got != "" {
			t.Errorf("shown after Stop: %q", got)
		}
		p.Start()
		time.Sleep(redraw)
		synctest.Wait()
		if got := term.take(); !strings.HasPrefix(got, "\rabc") {
			t.Errorf("shown after another Start: %q", got)
		}
		p.Stop()
	})
}

func TestTerminal(t *testing.T) {
	if IsTerminal(new(bytes.Buffer)) {
		t.Error("a buffer is a terminal")
	}
	if got := TerminalWidth(new(bytes.Buffer)); got != 80 {
		t.Errorf("width of no terminal = %d, want 80", got)
	}
}
