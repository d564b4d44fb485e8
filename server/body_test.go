package server

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/schema"
)

func written(redact bool, write func(b *body)) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	b := &body{w: w, status: 200, redact: redact}
	write(b)
	b.end()
	return w
}

func TestValue(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"object", `{"a":[1,"x",null,true]}`, `{"a":[1,"x",null,true]}`},
		{"white space between tokens", " {\r\n\t\"a b\" : [ 1 , 2 ] } ", `{"a b":[1,2]}`},
		{"white space in a string", `"a \" b\t c\\"`, `"a \" b\t c\\"`},
		{"escape before a quote", `{ "a\\" : "\\\"" , "b" : 1 }`, `{"a\\":"\\\"","b":1}`},
		{"floats stay", `[12.50,1.0,-0,1E5,1e-400,0.1000]`, `[12.50,1.0,-0,1E5,1e-400,0.1000]`},
		{"numbers beyond 64 bits", `123456789012345678901234567890.5`, `123456789012345678901234567890.5`},
		{"dates stay", `"2018-02-28T05:18:49+09:00"`, `"2018-02-28T05:18:49+09:00"`},
		{"same name twice", `{"a":1,"a":2}`, `{"a":1,"a":2}`},
		{"escapes stay", `"\u00e9\/\u003c"`, `"\u00e9\/\u003c"`},
		{"null", ` null `, `null`},
		{"number and more", `123 abc`, `"123 abc"`},
		{"true and more", `true story`, `"true story"`},
		{"comment", `{"a":1} // b`, `"{\"a\":1} // b"`},
		{"comment inside", `[1,/* b */2]`, `"[1,/* b */2]"`},
		{"single quotes", `{'a':1}`, `"{'a':1}"`},
		{"no quotes", `{a:1}`, `"{a:1}"`},
		{"cut off", `{"a":1`, `"{\"a\":1"`},
		{"not a number", `NaN`, `"NaN"`},
		{"words", "  because é \U0001F600 \n", "\"because é \U0001F600\""},
		{"control characters", "a\x00\x1f\b\f\n\r\t\"\\\x7f", `"a\u0000\u001f\b\f\n\r\t\"\\` + "\x7f\""},
		{"line separators", "a\u0085b\u2028c\u2029d\u2027", `"a\u0085b\u2028c\u2029d` + "\u2027\""},
		{"line separators in JSON", "[\"a\u0085b\u2028c\u2029d\u2027\"]", `["a\u0085b\u2028c\u2029d` + "\u2027\"]"},
		{"markup stays", `<script>&'</script>`, `"<script>&'</script>"`},
		{"empty", ``, `""`},
		{"blank", " \u00a0\t", `""`},
		{"not UTF-8", "a\xffb", "\"a\uFFFDb\""},
		{"half a pair in JSON", "[\"a\xed\xa0\x80b\"]", "[\"a\uFFFDb\"]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := written(false, func(b *body) { b.value(schema.TextOf(tt.text)) }).Body.String()
			if got != tt.want || !json.Valid([]byte(got)) {
				t.Errorf("value(%q) = %s, want %s", tt.text, got, tt.want)
			}
		})
	}
	if got := written(false, func(b *body) { b.value(schema.Text{}) }).Body.String(); got != "null" {
		t.Errorf("value of nothing = %s, want null", got)
	}
}

// A long text comes out in pieces, wherever these end.
func TestLongValue(t *testing.T) {
	for shift := range 8 {
		unit := strings.Repeat("x", shift) + "\u2028é\U0001F600 \\\" \\\\ "
		text := `{ "a" : [ "` + strings.Repeat(unit, 20_000) + `" , 1 ] }`
		want := `{"a":["` + strings.Repeat(strings.ReplaceAll(unit, "\u2028", `\u2028`), 20_000) + `",1]}`
		w := written(false, func(b *body) { b.value(schema.TextOf(text)) })
		if got := w.Body.String(); got != want {
			t.Errorf("JSON with %d x: %d bytes, want %d", shift, len(got), len(want))
		}
		if n := w.Header().Get("Content-Length"); n != "" {
			t.Errorf("a long answer says that it has %s bytes, before it is whole", n)
		}

		text = "no JSON " + text
		var back string
		got := written(false, func(b *body) { b.value(schema.TextOf(text)) }).Body.String()
		if err := json.Unmarshal([]byte(got), &back); err != nil || back != strings.TrimSpace(text) {
			t.Errorf("text with %d x: %v", shift, err)
		}
	}
	if n := written(false, func(b *body) { b.value(schema.TextOf("[1]")) }).Header().Get("Content-Length"); n != "3" {
		t.Errorf("a short answer says that it has %q bytes, want 3", n)
	}
}

func TestRedacted(t *testing.T) {
	// As of printf secret | sha256sum.
	const secret = `"redacted:6 bytes,sha256:2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"`
	for text, want := range map[string]string{"secret": secret, "null": "null", " null": "null"} {
		if got := written(true, func(b *body) { b.value(schema.TextOf(text)) }).Body.String(); got != want {
			t.Errorf("value(%q) redacted = %s, want %s", text, got, want)
		}
	}
	if got := written(true, func(b *body) { b.payload(schema.TextOf("secret")) }).Body.String(); got != secret {
		t.Errorf("payload redacted = %s, want %s", got, secret)
	}
	if got := written(true, func(b *body) { b.payload(schema.Text{}) }).Body.String(); got != "null" {
		t.Errorf("payload of nothing = %s, want null", got)
	}
}
