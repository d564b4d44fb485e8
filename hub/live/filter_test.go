package live

import (
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
)

func TestFilter(t *testing.T) {
	tests := []struct {
		name  string
		keys  hub.Keys
		want  string
		wider bool
	}{
		{"all", hub.Keys{}, "", false},
		{"range", hub.Keys{From: "a", To: "b"}, "PartitionKey ge 'a' and PartitionKey lt 'b'", false},
		{"from", hub.Keys{From: "a"}, "PartitionKey ge 'a'", false},
		{"to", hub.Keys{To: "b"}, "PartitionKey lt 'b'", false},
		{"partition", hub.Partition("a"), "PartitionKey eq 'a'", false},
		{"empty partition", hub.Partition(""), "PartitionKey eq ''", false},
		{"quotes", hub.Partition("it's ''"), "PartitionKey eq 'it''s '''''", false},
		{"row key", hub.Keys{RowKey: "o'clock"}, "RowKey eq 'o''clock'", false},
		{"partition and row key", hub.Keys{From: "a", To: "a\x00", RowKey: "sentinel"}, "PartitionKey eq 'a' and RowKey eq 'sentinel'", false},
		{"after", hub.Keys{From: "a\x00"}, "PartitionKey gt 'a'", false},
		{"up to", hub.Keys{From: "a", To: "b\x00"}, "PartitionKey ge 'a' and PartitionKey le 'b'", false},
		{"after the empty key", hub.Keys{From: "\x00"}, "PartitionKey gt ''", false},
		{"control character", hub.Keys{From: "a\x01b", To: "c\x7Fd"}, "PartitionKey ge 'a' and PartitionKey lt 'd'", true},
		{"only control characters", hub.Keys{From: "\x01", To: "\x02"}, "", true},
		{"two of U+0000", hub.Keys{From: "a\x00\x00", To: "a\x00\x00\x00"}, "PartitionKey ge 'a' and PartitionKey lt 'b'", true},
		{"no UTF-8", hub.Keys{From: "a\xFF", To: "\xFF\xFF"}, "PartitionKey ge 'a'", true},
		{"row key with a tab", hub.Keys{RowKey: "a\tb"}, "", true},
		{"others", hub.Partition("a/b?c&d=e%20#日本\uFFFD"), "PartitionKey eq 'a/b?c&d=e%20#日本\uFFFD'", false},
	}
	for _, tt := range tests {
		if got, wider := filter(tt.keys); got != tt.want || wider != tt.wider {
			t.Errorf("%s: filter(%+q) = %s, %v, want %s, %v", tt.name, []string{tt.keys.From, tt.keys.To, tt.keys.RowKey}, got, wider, tt.want, tt.wider)
		}
	}
}

func TestScrub(t *testing.T) {
	for text, want := range map[string]string{
		"Get \"https://x/y?sv=1&sig=abc%3D&se=2\": EOF":              "Get \"https://x/y?sv=1&sig=REDACTED&se=2\": EOF",
		"AccountKey=abc==;x":                                         "AccountKey=REDACTED;x",
		"Authorization:[SharedKeyLite acc:abc=] x":                   "Authorization:[SharedKeyLite REDACTED] x",
		"{\"access_token\": \"abc\", \"x\":1}\n client_secret=a.b&c": "{\"access_token\": \"REDACTED\", \"x\":1} client_secret=REDACTED&c",
		"Authorization: Bearer abc.def":                              "Authorization: Bearer REDACTED",
		"nothing to hide":                                            "nothing to hide",
	} {
		if got := scrub(text); got != want {
			t.Errorf("scrub(%q) = %q, want %q", text, got, want)
		}
	}
}
