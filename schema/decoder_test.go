package schema_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/taskhub-tools/taskhub/schema"
)

var errBad = errors.New("bad")

// jsonMember is a member of an object as encoding/json reads it.
type jsonMember struct {
	name  string
	value any
}

// readObject reads an object of scalars with encoding/json, in order. ok is
// false for anything else, and for what a Decoder refuses on purpose: a name
// given twice and text that is not UTF-8.
func readObject(text []byte) (members []jsonMember, ok bool) {
	if !utf8.Valid(text) || !json.Valid(text) {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return nil, false
	}
	seen := make(map[string]bool)
	for d.More() {
		token, err := d.Token()
		name, isName := token.(string)
		if err != nil || !isName {
			return nil, false
		}
		value, err := d.Token()
		if err != nil {
			return nil, false
		}
		if _, nested := value.(json.Delim); nested || seen[name] {
			return nil, false
		}
		seen[name] = true
		members = append(members, jsonMember{name, value})
	}
	if _, err := d.Token(); err != nil {
		return nil, false
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, false
	}
	return members, true
}

var (
	plainType = regexp.MustCompile(`^[A-Za-z0-9.]+$`)
	plainInt  = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)
	// An annotation without escapes, which a Decoder need not understand.
	plainAnnotation = regexp.MustCompile(`@odata\.type"\s*:\s*"[A-Za-z0-9.]+"`)
)

// wantType says which type a property has, from its annotation and from what
// encoding/json reads.
func wantType(edm string, v any) schema.Type {
	text, isString := v.(string)
	number, isNumber := v.(json.Number)
	_, isBool := v.(bool)
	_, err32 := strconv.ParseInt(string(number), 10, 32)
	isInt32 := isNumber && err32 == nil && plainInt.MatchString(string(number))
	_, errFloat := strconv.ParseFloat(string(number), 64)
	if v == nil {
		return schema.Null
	}
	switch edm {
	case "":
		switch {
		case isString:
			return schema.TypeString
		case isBool:
			return schema.TypeBoolean
		case isInt32:
			return schema.TypeInt32
		case isNumber && errFloat == nil && strings.ContainsAny(string(number), ".eE"):
			return schema.TypeDouble
		}
	case "Edm.String":
		if isString {
			return schema.TypeString
		}
	case "Edm.Int32":
		if isInt32 {
			return schema.TypeInt32
		}
	case "Edm.Boolean":
		if isBool {
			return schema.TypeBoolean
		}
	case "Edm.Double":
		if isNumber && errFloat == nil || v == "NaN" || v == "Infinity" || v == "-Infinity" {
			return schema.TypeDouble
		}
	case "Edm.Int64":
		if isString && plainInt.MatchString(text) {
			if _, err := strconv.ParseInt(text, 10, 64); err == nil {
				return schema.TypeInt64
			}
		}
	case "Edm.DateTime":
		if isString {
			if _, err := schema.ParseTicks(text); err == nil {
				return schema.TypeDateTime
			}
		}
	case "Edm.Guid":
		if isString {
			return schema.TypeGuid
		}
	case "Edm.Binary":
		if isString {
			return schema.TypeBinary
		}
	}
	return schema.Unknown
}

// likeJSON returns s with what encoding/json makes of unpaired surrogates.
func likeJSON(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == 0xED && i+2 < len(s) && s[i+1] >= 0xA0 {
			b.WriteString("\ufffd")
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// checkRow compares a row with what encoding/json says of its text. decided is
// false if the text is not one that every Decoder must read; then r and err are
// not looked at.
func checkRow(text []byte, r schema.Row, err error) (decided bool, problem string) {
	members, ok := readObject(text)
	if !ok {
		return false, ""
	}
	type property struct {
		name, edm string
		value     any
	}
	var want []property
	annotations := 0
	system := make(map[string]any)
	for i := 0; i < len(members); i++ {
		m := members[i]
		var edm string
		if base, ok := strings.CutSuffix(m.name, "@odata.type"); ok && base != "" {
			// Annotations stand right before their property and are plain.
			name, isString := m.value.(string)
			annotations++
			if !isString || !plainType.MatchString(name) || len(plainAnnotation.FindAll(text, -1)) < annotations ||
				i+1 == len(members) || members[i+1].name != base {
				return false, ""
			}
			i++
			m, edm = members[i], name
		}
		switch {
		case m.name == "PartitionKey", m.name == "RowKey", m.name == "odata.etag", m.name == "Timestamp":
			s, isString := m.value.(string)
			if _, err := schema.ParseTicks(s); !isString || m.name == "Timestamp" && s != "" && err != nil {
				return false, ""
			}
			system[m.name] = s
		case strings.HasPrefix(m.name, "odata."):
		default:
			want = append(want, property{m.name, edm, m.value})
		}
	}
	if err != nil {
		return true, fmt.Sprintf("error %v", err)
	}
	for name, got := range map[string]string{"PartitionKey": r.PartitionKey, "RowKey": r.RowKey, "odata.etag": r.ETag} {
		if w, _ := system[name].(string); likeJSON(got) != w {
			return true, fmt.Sprintf("%s is %q, want %q", name, got, w)
		}
	}
	if w, _ := system["Timestamp"].(string); w != "" {
		if at, _ := schema.ParseTicks(w); r.Timestamp != at {
			return true, fmt.Sprintf("Timestamp is %v, want %v", r.Timestamp, at)
		}
	}
	if len(want) != len(r.Properties) {
		return true, fmt.Sprintf("%d properties, want %d", len(r.Properties), len(want))
	}
	for i, w := range want {
		p := r.Properties[i]
		if likeJSON(p.Name) != w.name {
			return true, fmt.Sprintf("property %d is %q, want %q", i, p.Name, w.name)
		}
		if typ := wantType(w.edm, w.value); p.Value.Type() != typ {
			return true, fmt.Sprintf("%q is of type %v, want %v", p.Name, p.Value.Type(), typ)
		}
		if p.Value.Type() == schema.Unknown && p.Value.EDM() != w.edm {
			return true, fmt.Sprintf("%q is of type %q, want %q", p.Name, p.Value.EDM(), w.edm)
		}
		d := json.NewDecoder(bytes.NewReader(p.Value.AppendJSON(nil)))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil || !reflect.DeepEqual(v, w.value) {
			return true, fmt.Sprintf("%q is %v, %v, want %v", p.Name, v, err, w.value)
		}
	}
	return true, ""
}

func TestDecoderAgreesWithJSONOnRecordedRows(t *testing.T) {
	rows := 0
	for _, table := range recorded(t).tables {
		for _, line := range table.lines {
			r, err := schema.DecodeRow(line)
			decided, problem := checkRow(line, r, err)
			if !decided || problem != "" {
				t.Fatalf("%s/%s: %s: %s", table.hub, table.name, problem, line)
			}
			rows++
		}
	}
	t.Logf("%d rows", rows)
}

// oddRows are rows that the service could write but does not.
var oddRows = []struct{ name, text string }{
	{"no properties", `{}`},
	{"white space", " \t\r\n{ \"A\" : 1 , \"B\"\t:\r\n\"x\" , \"C\" : true , \"D\" : null , \"E\" : 1.5 } \n"},
	{"keys last", `{"A":1,"RowKey":"r","PartitionKey":"p"}`},
	{"annotation with white space", `{ "A@odata.type" : "Edm.Int64" , "A" : "5" }`},
	{"full metadata", `{"odata.type":"acct.T","odata.id":"https://x","odata.etag":"W/\"e\"","odata.editLink":"T(P)","PartitionKey":"p","RowKey":"r","Timestamp@odata.type":"Edm.DateTime","Timestamp":"2026-11-22T04:07:21.8195784Z","A@odata.type":"Edm.String","A":"x"}`},
	{"escapes", `{"A":"\"\\\/\b\f\n\r\t\u0041\u00fc\u20ac"}`},
	{"surrogate pair", `{"A":"\ud83d\ude00\uD83D\uDE00"}`},
	{"half pairs", `{"A":"\ud83d","B":"\ude00","C":"\ud83dx","D":"\ud83d\u0041","E":"\ud83d\ud83d\ude00"}`},
	{"escaped names", `{"\u0041":1,"a\"b":2,"\ud83d":3,"\u0050artitionKey":"p"}`},
	{"line separators", "{\"A\":\"\u2028\u2029\u0085\",\"B\":\"\u007f\"}"},
	{"beyond ASCII", `{"ü":"日本語😀","PartitionKey":"ünïcode"}`},
	{"eight bytes", `{"A":"12345678","B":"1234567","C":"123456789","D":"1234567\"","E":"12345678\\"}`},
	{"empty name", `{"":1}`},
	{"annotation of nothing", `{"@odata.type":"x"}`},
	{"empty Timestamp", `{"Timestamp":""}`},
	{"numbers", `{"A":0,"B":-1,"C":1.0,"D":1e5,"E":1E-5,"F":2147483648,"G":-0,"H":-0.0,"I":12345678901,"J":1e999}`},
	{"keys with types", `{"PartitionKey@odata.type":"Edm.DateTime","PartitionKey":"2026-11-22T04:07:21.8195784Z","RowKey@odata.type":"Edm.Int64","RowKey":"5"}`},
	{"usual ETag", `{"odata.etag":"W/\"datetime'2026-11-22T04%3A07%3A21.9306893Z'\"","PartitionKey":"p"}`},
	{"ETag with an escape", `{"odata.etag":"W/\"datetime'2026-11-22T04%3A07%3A21.9306\u0041'\"","PartitionKey":"p"}`},
	{"ETag beyond ASCII", `{"odata.etag":"W/\"datetime'2026-11-22T04%3A07%3A21.93068ü'\"","PartitionKey":"p"}`},
	{"ETag with an end", `{"odata.etag":"W/\"datetime'2026-11-22T04%3A07%3A21.9306893Z'\"\"","PartitionKey":"p"}`},
	{"short ETag", `{"odata.etag":"W/\"datetime'2026'\"","PartitionKey":"p"}`},
	{"other ETag", `{"odata.etag":"0x8D","PartitionKey":"p"}`},
	{"time with an escape", `{"A@odata.type":"Edm.DateTime","A":"2026-11-22T04:07:21.764\u00347Z"}`},
	{"time and more", `{"A@odata.type":"Edm.DateTime","A":"2026-11-22T04:07:21.7644267Z\""}`},
	{"a text", `{"A":"abc","B":"abc"}`},
	{"the text and more", `{"A":"abcd","B":"abc\""}`},
	{"less than the text", `{"A":"ab","B":""}`},
	{"the text with an escape", `{"A":"ab\u0063","B":"abc\u0022"}`},
	{"numbers before white space", "{\"A\":0 ,\"B\":-2147483648\n,\"C\":7\t}"},
}

func TestDecoderAgreesWithJSONOnOddRows(t *testing.T) {
	long := strings.Repeat(`0123456789ü\n`, 5000)
	rows := append(slices.Clone(oddRows), struct{ name, text string }{"64 KB", `{"A":"` + long + `","B":"` + long[:64<<10] + `"}`})
	for _, tt := range rows {
		t.Run(tt.name, func(t *testing.T) {
			r, err := schema.DecodeRow([]byte(tt.text))
			decided, problem := checkRow([]byte(tt.text), r, err)
			if !decided || problem != "" {
				t.Errorf("DecodeRow(%.300s): decided %v: %s", tt.text, decided, problem)
			}
		})
	}
}

// Every row must be read alike whatever the Decoder has seen before: each odd
// row after each other, and all tables with one Decoder. In particular a
// property may hold a string in one row and something else in the next.
func TestDecoderForgetsNothingAndMixesNothing(t *testing.T) {
	texts := make([]string, 0, 64)
	for _, o := range oddRows {
		texts = append(texts, strings.TrimSpace(o.text))
	}
	texts = append(texts,
		`{"A":1}`, `{"A":"1"}`, `{"A": 1}`, `{"A": "1"}`, `{"A":null}`, `{"A":true}`, `{"A":{}}`, `{"A":1.5}`,
		`{"A@odata.type":"Edm.Int64","A":"1"}`, `{"A@odata.type":"Edm.Int64","A":1}`, `{"A@odata.type":"Edm.Int64","A":null}`,
		`{"B":1,"A":1}`, `{"B":1,"A":"1"}`, `{"B":1,"A": 1}`, `{"B":1,"A":null}`, `{"B":1,"A@odata.type":"Edm.DateTime","A":"x"}`,
	)
	for _, first := range texts {
		for _, second := range texts {
			var d schema.Decoder
			rows, err := d.Lines([]byte(first+"\n"+second+"\n"+first), nil)
			if err != nil || len(rows) != 3 {
				t.Fatalf("%s after %s: %d rows, %v", second, first, len(rows), err)
			}
			for i, text := range []string{first, second, first} {
				if want := decodeLine(t, []byte(text)); !reflect.DeepEqual(rows[i], want) {
					t.Errorf("%s after %s is read as %v, want %v", text, first, rows[i], want)
				}
			}
		}
	}
	var shared schema.Decoder
	for _, table := range recorded(t).tables {
		for _, line := range table.lines {
			rows, err := shared.Lines(bytes.Clone(line), nil)
			if err != nil {
				t.Fatal(err)
			}
			if want := decodeLine(t, line); !reflect.DeepEqual(rows[0], want) {
				t.Fatalf("%s is read as %v, want %v", line, rows[0], want)
			}
		}
	}
}

// page makes the body of a response.
func page(lines [][]byte) []byte {
	b := []byte(`{"odata.metadata":"https://acct.table.core.windows.net/$metadata#T","value":[`)
	for i, line := range lines {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, bytes.TrimSpace(line)...)
	}
	return append(b, `]}`...)
}

func TestPage(t *testing.T) {
	tests := []struct {
		name, text string
		rows       int
		bad        bool
	}{
		{name: "empty", text: `{"value":[]}`},
		{name: "two rows", text: `{"odata.metadata":"m","value":[{"A":1},{"A":2}]}`, rows: 2},
		{name: "members after", text: `{"value":[{"A":1}],"odata.nextLink":"x","more":{"value":[{"A":9}]}}`, rows: 1},
		{name: "white space", text: " { \"value\" : [ { \"A\" : 1 } , { } ] } \r\n", rows: 2},
		{name: "nothing", text: ``, bad: true},
		{name: "no value", text: `{"a":1}`, bad: true},
		{name: "empty object", text: `{}`, bad: true},
		{name: "value of null", text: `{"value":null}`, bad: true},
		{name: "two values", text: `{"value":[{"A":1}],"value":[{"A":2}]}`, rows: 1, bad: true},
		{name: "array", text: `[{"A":1}]`, bad: true},
		{name: "number for a row", text: `{"value":[{"A":1},2]}`, rows: 1, bad: true},
		{name: "text after", text: `{"value":[]}x`, bad: true},
		{name: "comma before the first row", text: `{"value":[,{"A":1}]}`, bad: true},
		{name: "comma after the last row", text: `{"value":[{"A":1},]}`, rows: 1, bad: true},
		{name: "no comma between rows", text: `{"value":[{"A":1}{"A":2}]}`, rows: 1, bad: true},
		{name: "comma before the first member", text: `{,"value":[]}`, bad: true},
		{name: "comma after the last member", text: `{"value":[],}`, bad: true},
		{name: "no comma between members", text: `{"a":1"value":[]}`, bad: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var d schema.Decoder
			rows, err := d.Page([]byte(tt.text), nil)
			if len(rows) != tt.rows || (err != nil) != tt.bad {
				t.Errorf("Page(%s) = %d rows, %v, want %d", tt.text, len(rows), err, tt.rows)
			}
		})
	}
}

// Rows that are there already stay, also when the page is damaged.
func TestPageAppends(t *testing.T) {
	var d schema.Decoder
	rows, err := d.Page([]byte(`{"value":[{"A":1}]}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	rows, err = d.Page([]byte(`{"value":[{"A":2},{"A":3},{"A":`), rows)
	if err == nil || len(rows) != 3 {
		t.Fatalf("%d rows, %v, want 3 and an error", len(rows), err)
	}
	rows, err = d.Lines([]byte("{\"A\":4}\n\n{\"A\":5}\n"), rows)
	if err != nil || len(rows) != 5 {
		t.Fatalf("%d rows, %v, want 5", len(rows), err)
	}
	for i := range rows {
		if n, _ := rows[i].Get("A").Int(); n != int64(i+1) {
			t.Errorf("row %d is %v", i, rows[i])
		}
	}
}

func TestDecodeRowWantsOne(t *testing.T) {
	for _, text := range []string{"", "\n", `{"A":1}{"A":2}`, `{"A":1},`, `[{"A":1}]`, `{"A":1}x`} {
		if r, err := schema.DecodeRow([]byte(text)); err == nil {
			t.Errorf("DecodeRow(%q) = %v, want an error", text, r)
		}
	}
}

// What encoding/json refuses, and what readers would disagree on.
func TestRowErrors(t *testing.T) {
	for name, text := range map[string]string{
		"no comma":                       `{"A":1"B":2}`,
		"comma first":                    `{,"A":1}`,
		"comma last":                     `{"A":1,}`,
		"no colon":                       `{"A" 1}`,
		"no value":                       `{"A":}`,
		"no quotes":                      `{A:1}`,
		"leading zero":                   `{"A":01}`,
		"plus":                           `{"A":+1}`,
		"point":                          `{"A":1.}`,
		"word":                           `{"A":nul}`,
		"NaN":                            `{"A":NaN}`,
		"control character":              "{\"A\":\"\n\"}",
		"control character late":         "{\"A\":\"123456789\x1f\"}",
		"escape":                         `{"A":"\x41"}`,
		"short escape":                   `{"A":"\u004"}`,
		"escape in an annotated value":   `{"A@odata.type":"Edm.Guid","A":"\x41"}`,
		"not UTF-8":                      "{\"A\":\"\xff\"}",
		"not UTF-8 in a name":            "{\"\xff\":1}",
		"raw half of a surrogate pair":   "{\"A\":\"" + lone + "\"}",
		"escaped byte beyond ASCII":      "{\"A\":\"\\\u00fc\"}",
		"mismatched brackets":            `{"A":[}]`,
		"property twice":                 `{"A":1,"A":2}`,
		"property twice, other spelling": `{"A":1,"\u0041":"x"}`,
		"property twice, other type":     `{"A":"x","A@odata.type":"Edm.Int64","A":"2"}`,
		"key twice":                      `{"PartitionKey":"a","A":1,"PartitionKey":"b"}`,
		"annotation alone":               `{"A@odata.type":"Edm.Int64"}`,
		"annotation of another":          `{"A@odata.type":"Edm.Int64","B":"1"}`,
		"annotation after":               `{"A":"1","A@odata.type":"Edm.Int64"}`,
		"annotation that is no string":   `{"A@odata.type":5,"A":"1"}`,
		"annotation that is empty":       `{"A@odata.type":"","A":"1"}`,
		"PartitionKey that is no string": `{"PartitionKey":5}`,
		"RowKey of null":                 `{"RowKey":null}`,
		"Timestamp that is none":         `{"Timestamp":"yesterday"}`,
		"etag that is no string":         `{"odata.etag":{}}`,
	} {
		t.Run(name, func(t *testing.T) {
			r, err := schema.DecodeRow([]byte(text))
			var syntax *schema.SyntaxError
			if !errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset > len(text) {
				t.Errorf("DecodeRow(%s) = %v, %v, want a SyntaxError inside the text", text, r, err)
			}
			// The same with a Decoder that knows the shapes.
			var d schema.Decoder
			if _, err := d.Lines([]byte(`{"A":1,"B":2}{"A":"x"}{"PartitionKey":"a","A":1}{"A@odata.type":"Edm.Int64","A":"2"}`+text), nil); err == nil {
				t.Errorf("Lines(… %s) gives no error", text)
			}
		})
	}
}

// Wherever a page is cut, reading ends in an error that says where, and the rows
// that were whole are returned.
func TestTruncatedPages(t *testing.T) {
	var lines [][]byte
	for _, table := range recorded(t).tables {
		lines = append(lines, table.lines[:min(2, len(table.lines))]...)
		if len(lines) > 12 {
			break
		}
	}
	for _, o := range oddRows {
		lines = append(lines, []byte(o.text))
	}
	whole := page(lines)
	var trained schema.Decoder
	if rows, err := trained.Page(bytes.Clone(whole), nil); err != nil || len(rows) != len(lines) {
		t.Fatalf("%d rows, %v, want %d", len(rows), err, len(lines))
	}
	for n := range whole {
		for name, d := range map[string]*schema.Decoder{"a new Decoder": {}, "a Decoder that knows the page": &trained} {
			// The bytes after the cut are there, but must not be read.
			rows, err := d.Page(bytes.Clone(whole)[:n], nil)
			var syntax *schema.SyntaxError
			if !errors.As(err, &syntax) {
				t.Fatalf("cut at %d, %s: error is %v", n, name, err)
			}
			if syntax.Offset < 0 || syntax.Offset > n {
				t.Fatalf("cut at %d, %s: offset is %d", n, name, syntax.Offset)
			}
			if len(rows) > len(lines) || len(rows) < bytes.Count(whole[:n], []byte(`"PartitionKey"`))-4 {
				t.Fatalf("cut at %d, %s: %d rows", n, name, len(rows))
			}
		}
	}
}

func TestHostileRows(t *testing.T) {
	nest := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	digits := strings.Repeat("9", 1<<20)
	for _, tt := range []struct {
		name, text string
		bad        bool
	}{
		{"nested", `{"A":` + nest(64) + `}`, false},
		{"nested too deeply", `{"A":` + nest(65) + `}`, true},
		{"nested a million times", `{"A":` + nest(1<<20) + `}`, true},
		{"nested a million times, not closed", `{"A":` + strings.Repeat(`{"a":`, 1<<20), true},
		{"huge number", `{"A":` + digits + `}`, false},
		{"huge fraction", `{"A":0.` + digits + `}`, false},
		{"huge exponent", `{"A":1e` + digits + `}`, false},
		{"huge name", `{"` + digits + `":1}`, false},
		{"huge type", `{"A@odata.type":"` + digits + `","A":1}`, false},
		{"huge string", `{"A":"` + digits + `"}`, false},
		{"only backslashes", `{"A":"` + strings.Repeat(`\`, 1<<20), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := schema.DecodeRow([]byte(tt.text))
			if (err != nil) != tt.bad {
				t.Fatalf("error is %v", err)
			}
			if err != nil {
				return
			}
			if decided, problem := checkRow([]byte(tt.text), r, err); decided && problem != "" {
				t.Error(problem)
			}
			back := decodeLine(t, r.AppendJSON(nil))
			if !schema.SameProperties(&r, &back) {
				t.Error("the row does not come back")
			}
		})
	}
}

// A Decoder remembers a bounded number of shapes, and rows beyond that are read
// all the same.
func TestManyNames(t *testing.T) {
	const perRow, rowCount = 10_000, 20
	var d schema.Decoder
	for n := range rowCount {
		text := []byte(`{"PartitionKey":"p"`)
		for i := range perRow {
			text = fmt.Appendf(text, `,"name-%d-%d":%d`, n, i, i)
		}
		text = append(text, '}')
		twice := bytes.Clone(text)
		rows, err := d.Lines(text, nil)
		if err != nil || len(rows) != 1 || len(rows[0].Properties) != perRow {
			t.Fatalf("row %d: %d rows, %v", n, len(rows), err)
		}
		for i, p := range rows[0].Properties {
			if got, _ := p.Value.Int(); got != int64(i) || p.Name != fmt.Sprintf("name-%d-%d", n, i) {
				t.Fatalf("row %d, property %d is %v", n, i, p)
			}
		}
		// A name given twice is found also where names are no longer remembered.
		twice = fmt.Appendf(twice[:len(twice)-1], `,"name-%d-%d":0}`, n, perRow/2)
		if _, err := d.Lines(twice, nil); err == nil {
			t.Fatalf("row %d: a name given twice is no error", n)
		}
	}
	if shapes, columns := d.Remembered(); shapes > 4096 || columns > 4096 {
		t.Errorf("%d shapes and %d columns are remembered", shapes, columns)
	}
	// Long names must not be remembered at all.
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	var long schema.Decoder
	for n := range 64 {
		text := []byte(`{"x":0`)
		for i := range 16 {
			text = fmt.Appendf(text, `,"%d-%d-%s":1`, n, i, strings.Repeat("n", 16<<10))
		}
		if _, err := long.Lines(append(text, '}'), nil); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if kept := int64(after.HeapAlloc) - int64(before.HeapAlloc); kept > 8<<20 {
		t.Errorf("%d bytes are kept of 16 MiB of names", kept)
	}
	runtime.KeepAlive(&long)
}
