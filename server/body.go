package server

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
	"unsafe"

	"github.com/taskhub-tools/taskhub/schema"
)

// body is the JSON text of an answer while it is written. It holds pieceBytes of
// it: a longer one is sent in pieces as it grows, whatever the size of the payloads
// in it.
type body struct {
	w      http.ResponseWriter
	status int
	redact bool
	buf    []byte
	sent   bool // of it
	failed bool // to send: nobody reads it
}

const (
	// bodyBytes of an answer are held before they are sent.
	bodyBytes = 64 << 10
	// chunkBytes of a text are added at once.
	chunkBytes = 16 << 10
)

// buffers are those of bodies that have been sent.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// newBody begins the body of an answer with a status.
func (c *call) newBody(status int) *body {
	b := &body{w: c.w, status: status, redact: c.s.opts.Redact}
	if buf, ok := buffers.Get().(*[]byte); ok {
		b.buf = (*buf)[:0]
	}
	return b
}

// add adds JSON.
func (b *body) add(text string) {
	b.buf = append(b.buf, text...)
	b.spill()
}

// spill sends what is held if it is long.
func (b *body) spill() {
	if len(b.buf) >= bodyBytes {
		b.send()
	}
}

func (b *body) send() {
	if !b.sent {
		b.w.Header().Set("Content-Type", jsonType)
		b.w.WriteHeader(b.status)
		b.sent = true
	}
	if !b.failed {
		_, err := b.w.Write(b.buf)
		b.failed = err != nil
	}
	b.buf = b.buf[:0]
}

// end sends the rest.
func (b *body) end() {
	if !b.sent {
		b.w.Header().Set("Content-Length", strconv.Itoa(len(b.buf)))
	}
	b.send()
	b.free()
}

// free gives back the memory.
func (b *body) free() {
	if cap(b.buf) <= 2*bodyBytes {
		buf := b.buf
		buffers.Put(&buf)
	}
	b.buf = nil
}

// abort ends the answer where nothing of it was sent yet, so that another one can
// be given; if something was, it breaks off, which clients can tell.
func (b *body) abort() {
	b.free()
	if b.sent {
		panic(http.ErrAbortHandler)
	}
}

// str adds a text as a JSON string.
func (b *body) str(text string) {
	if !utf8.ValidString(text) {
		text = strings.ToValidUTF8(text, "\uFFFD") // as .NET encodes half of a surrogate pair
	}
	if len(text) <= chunkBytes {
		b.buf = appendString(b.buf, text)
		b.spill()
		return
	}
	b.buf = append(b.buf, '"')
	for text != "" {
		var piece string
		piece, text = cutChunk(text)
		from := len(b.buf)
		b.buf = appendString(b.buf, piece)
		b.buf = append(b.buf[:from], b.buf[from+1:len(b.buf)-1]...) // without the quotes
		b.spill()
	}
	b.buf = append(b.buf, '"')
}

// cutChunk cuts valid UTF-8 between two characters.
func cutChunk(text string) (piece, rest string) {
	n := min(len(text), chunkBytes)
	for n < len(text) && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n], text[n:]
}

// optional adds a text that may be null as a JSON string. It is no payload.
func (b *body) optional(text string, set bool) {
	if !set {
		b.add("null")
		return
	}
	b.str(text)
}

// payload adds a text that an app has made, as a JSON string.
func (b *body) payload(t schema.Text) {
	if t.Set && b.redact {
		t.Value = redacted(t.Value)
	}
	b.optional(t.Value, t.Set)
}

// value adds a text that an app has made as what it is: JSON as it was stored, but
// without white space between its tokens, and any other text as a string, without
// white space around it.
//
// The framework parses the text and writes it anew, and so changes the spelling of
// numbers; of a text that only begins with JSON it drops the rest.
//
// Source: Functions extension 2.13.7, DurableClient.cs:1079-1118.
func (b *body) value(t schema.Text) {
	if !t.Set {
		b.add("null")
		return
	}
	if !utf8.ValidString(t.Value) {
		t.Value = strings.ToValidUTF8(t.Value, "\uFFFD")
	}
	text := strings.TrimSpace(t.Value)
	switch {
	case b.redact && text != "null":
		b.str(redacted(t.Value))
	case isJSON(text):
		b.json(text)
	default:
		b.str(text)
	}
}

// document adds a text that the framework has stored as JSON: what is damaged is
// shown as text.
func (b *body) document(t schema.Text) {
	if t.Value == "" {
		t.Set = false
	}
	b.value(t)
}

// isJSON reports whether a text is JSON and nothing else.
func isJSON(text string) bool {
	// Without a copy of what can have many megabytes: Valid only reads.
	return json.Valid(unsafe.Slice(unsafe.StringData(text), len(text)))
}

// json adds valid JSON without white space between its tokens.
func (b *body) json(text string) {
	var at position
	for text != "" {
		var piece string
		piece, text = cutChunk(text)
		b.buf, at = appendCompact(b.buf, piece, at)
		b.spill()
	}
}

// position is where in JSON the end of a piece of it lies.
type position uint8

const (
	betweenTokens position = iota
	inString
	afterBackslash
)

// appendCompact appends a piece of valid JSON without white space between its
// tokens, and with the escapes of [appendString] for line separators.
func appendCompact(dst []byte, text string, at position) ([]byte, position) {
	start := 0
	skip := func(i, n int, instead string) {
		dst = append(append(dst, text[start:i]...), instead...)
		start = i + n
	}
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case at == afterBackslash:
			at = inString
		case c == '"' && at == inString:
			at = betweenTokens
		case c == '"':
			at = inString
		case at == betweenTokens && c <= ' ':
			skip(i, 1, "")
		case c == '\\':
			at = afterBackslash
		case c == 0xC2 || c == 0xE2:
			if escape, n := separatorAt(text[i:]); n > 0 {
				skip(i, n, escape)
				i += n - 1
			}
		}
	}
	return append(dst, text[start:]...), at
}

// appendString appends a text as a JSON string, as the framework's serializer
// writes it: besides what JSON has to escape, the three characters that JavaScript
// or XML take for the end of a line.
//
// Source: Newtonsoft.Json 13.0.1, JavaScriptUtils.cs:145-290.
func appendString(dst []byte, text string) []byte {
	from := len(dst)
	dst = schema.AppendJSONString(dst, text)
	if bytes.IndexByte(dst[from:], 0xC2) < 0 && bytes.IndexByte(dst[from:], 0xE2) < 0 {
		return dst
	}
	return append(dst[:from], lineSeparators.Replace(string(dst[from:]))...)
}

// lineSeparators escapes the three characters.
var lineSeparators = strings.NewReplacer("\u0085", `\u0085`, "\u2028", `\u2028`, "\u2029", `\u2029`)

// separatorAt returns the escape for the line separator that s begins with, and the
// length of that; 0 if it begins with another character.
func separatorAt(s string) (escape string, n int) {
	switch {
	case len(s) >= 2 && s[0] == 0xC2 && s[1] == 0x85:
		return `\u0085`, 2
	case len(s) >= 3 && s[0] == 0xE2 && s[1] == 0x80 && s[2] == 0xA8:
		return `\u2028`, 3
	case len(s) >= 3 && s[0] == 0xE2 && s[1] == 0x80 && s[2] == 0xA9:
		return `\u2029`, 3
	}
	return "", 0
}

// redacted is what stands in the place of a payload: its length and its hash, so
// that equal ones can still be told. It is that of an export.
func redacted(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "redacted:" + strconv.Itoa(len(text)) + " bytes,sha256:" + hex.EncodeToString(sum[:])
}
