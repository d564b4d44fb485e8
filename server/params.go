package server

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/taskhub-tools/taskhub/schema"
)

// params are the query parameters of a request, as the framework reads them:
// names in any case, and one that is there twice has both values with a comma
// between, which is no number, time or truth value.
//
// Source: Functions extension 2.13.7, HttpRequestMessageExtensions.cs:64-128,
// HttpApiHandler.cs:719-775.
type params []param

type param struct{ name, value string }

// parseParams reads a query. Of what is not well-formed it makes what it can:
// nothing in a query is an error.
func parseParams(query string) params {
	if query == "" {
		return nil
	}
	p := make(params, 0, 4)
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if name, value, ok := strings.Cut(pair, "="); ok {
			p = append(p, param{unescape(strings.TrimSpace(name), true), unescape(strings.TrimSpace(value), true)})
		}
	}
	return p
}

// unescape decodes percent-encoding. What is not well-formed stays as it is, and
// bytes that are not UTF-8 become U+FFFD. plus is for queries, where + is a blank.
func unescape(s string, plus bool) string {
	if strings.IndexByte(s, '%') < 0 && (!plus || strings.IndexByte(s, '+') < 0) && utf8.ValidString(s) {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '+' && plus:
			out = append(out, ' ')
		case c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			out = append(out, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			out = append(out, c)
		}
	}
	return strings.ToValidUTF8(string(out), "\uFFFD")
}

func isHex(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }

func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// text returns a parameter; set tells whether it is there.
func (p params) text(name string) (value string, set bool) {
	for i := range p {
		if !strings.EqualFold(p[i].name, name) {
			continue
		}
		if set {
			value += "," + p[i].value
		} else {
			value, set = p[i].value, true
		}
	}
	return value, set
}

// optional returns a parameter as a text that may be null.
func (p params) optional(name string) schema.Optional[string] {
	value, set := p.text(name)
	return schema.Optional[string]{Value: value, Set: set}
}

// truth returns a parameter that is true or false, and what is usual if it is
// neither.
func (p params) truth(name string, usual bool) bool {
	value, _ := p.text(name)
	switch value = strings.TrimSpace(value); {
	case strings.EqualFold(value, "true"):
		return true
	case strings.EqualFold(value, "false"):
		return false
	}
	return usual
}

// number returns a parameter that is a 32-bit number.
func (p params) number(name string) (n int, ok bool) {
	value, _ := p.text(name)
	v, err := strconv.ParseInt(strings.TrimSpace(value), 10, 32)
	return int(v), err == nil
}

// seconds returns a parameter that is a number of seconds.
func (p params) seconds(name string) (s float64, ok bool) {
	value, _ := p.text(name)
	value = strings.TrimSpace(value)
	if strings.Trim(value, "0123456789+-.eE") != "" {
		return 0, false // Go takes more for a number than .NET does
	}
	s, err := strconv.ParseFloat(value, 64)
	return s, err == nil && !math.IsInf(s, 0)
}

// time returns a parameter that is a date, or a date and a time; without a zone it
// is UTC.
func (p params) time(name string) (t schema.Ticks, ok bool) {
	value, _ := p.text(name)
	return parseTime(strings.TrimSpace(value))
}

// timeLayouts are what .NET takes for a time in its invariant culture, as far as
// clients send it.
var timeLayouts = [...]string{
	"2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02T15:04",
	"2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 Z07:00", "2006-01-02 15:04:05", "2006-01-02 15:04Z07:00", "2006-01-02 15:04",
	"2006-01-02", "2006-1-2", "2006-01", "2006/1/2", "2006/1/2 15:04:05", "2006/1/2 15:04",
	"1/2/2006", "1/2/2006 15:04:05", "1/2/2006 15:04", "1/2/2006 3:04:05 PM", "1/2/2006 3:04 PM",
	"Mon, 2 Jan 2006 15:04:05 GMT", "2 Jan 2006 15:04:05", "2 Jan 2006", "Jan 2, 2006",
}

func parseTime(s string) (schema.Ticks, bool) {
	if t, err := schema.ParseTicks(s); err == nil {
		return t, true
	}
	for _, layout := range timeLayouts {
		if t, err := time.Parse(layout, s); err == nil {
			return schema.TicksOf(t), true
		}
	}
	return 0, false
}

// statuses returns a list of runtime statuses, by name in any case or by number,
// and the entries that are none.
func (p params) statuses(name string) (known []schema.Status, unknown []string) {
	for i := range p {
		if !strings.EqualFold(p[i].name, name) {
			continue
		}
		for entry := range strings.SplitSeq(p[i].value, ",") {
			entry = strings.TrimSpace(entry)
			if s, ok := parseStatus(entry); ok {
				known = append(known, s)
			} else if entry != "" {
				unknown = append(unknown, entry)
			}
		}
	}
	return known, unknown
}

func parseStatus(text string) (schema.Status, bool) {
	n, err := strconv.Atoi(text)
	for _, s := range schema.Statuses() {
		if strings.EqualFold(text, s.String()) || err == nil && n == int(s) {
			return s, true
		}
	}
	return 0, false
}
