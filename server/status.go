package server

import (
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// shown says what of an instance is shown.
type shown struct {
	input, history, historyOutput, failure500 bool
}

func (c *call) shown() shown {
	return shown{
		input:         c.query.truth("showInput", true),
		history:       c.query.truth("showHistory", false),
		historyOutput: c.query.truth("showHistoryOutput", false),
		failure500:    c.query.truth("returnInternalServerErrorOnFailure", false),
	}
}

func (s shown) payloads() manage.Show {
	if s.input {
		return manage.ShowAll
	}
	return manage.ShowOutput
}

// status answers with the status of one instance.
//
// Source: Functions extension 2.13.7, HttpApiHandler.cs:598-692.
func (c *call) status() {
	show := c.shown()
	s, err := c.hub.query.Instance(c.r.Context(), c.first, show.payloads())
	switch {
	case err != nil:
		c.fail(err)
	case s == nil:
		c.notFound()
	default:
		c.state(s, show)
	}
}

// state answers with an instance.
func (c *call) state(s *manage.State, show shown) {
	code := http.StatusOK
	switch s.Row.Status() {
	case schema.StatusRunning, schema.StatusPending, schema.StatusContinuedAsNew, schema.StatusSuspended:
		code = http.StatusAccepted
	case schema.StatusFailed:
		if show.failure500 {
			code = http.StatusInternalServerError
		}
	case schema.StatusUnknown:
		code = http.StatusInternalServerError
	}
	if code == http.StatusAccepted {
		c.w.Header().Set("Location", c.requestURL())
		c.w.Header().Set("Retry-After", "5")
	}
	c.problems(s.Problems)
	b := c.newBody(code)
	b.state(s)
	if show.history && s.Row.Status() != schema.StatusPending {
		b.add(`,"historyEvents":`)
		if err := c.history(b, s, show); err != nil {
			for _, name := range []string{"Location", "Retry-After"} {
				c.w.Header().Del(name)
			}
			b.abort()
			c.fail(err)
			return
		}
	}
	b.add("}")
	b.end()
}

// state adds an instance without the brace that ends it.
//
// Source: Functions extension 2.13.7, StatusResponsePayload.cs:14-67; recorded in
// the calls of hub functions-3.
func (b *body) state(s *manage.State) {
	i := &s.Row
	b.add(`{"name":`)
	b.str(i.Name.Value) // empty rather than null, which the JavaScript client refuses
	b.add(`,"instanceId":`)
	b.str(i.ID())
	b.add(`,"runtimeStatus":"`)
	b.add(i.Status().String())
	b.add(`","input":`)
	b.value(s.Input)
	b.add(`,"customStatus":`)
	b.value(schema.Text{Value: i.CustomStatus.Value, Set: i.CustomStatus.Set})
	b.add(`,"output":`)
	b.value(s.Output)
	b.add(`,"createdTime":`)
	b.second(i.CreatedTime.Value)
	b.add(`,"lastUpdatedTime":`)
	b.second(i.LastUpdatedTime.Value)
}

// second adds a time without its fraction.
func (b *body) second(t schema.Ticks) {
	from := len(b.buf)
	b.buf = t.Append(append(b.buf, '"'))
	b.buf = append(b.buf[:from+len(`"2026-11-22T04:07:21`)], `Z"`...)
}

// requestURL returns the URL of the request, with the path escaped as .NET does it.
func (c *call) requestURL() string {
	u := append(make([]byte, 0, 256), c.origin()...)
	for path := c.r.URL.EscapedPath(); path != ""; {
		segment, rest, more := strings.Cut(path, "/")
		u = appendEscaped(u, unescape(segment, false), "-_.~!$&'()*+,;=:@")
		if more {
			u = append(u, '/')
		}
		path = rest
	}
	if c.r.URL.RawQuery != "" {
		u = append(u, '?')
		for _, b := range []byte(c.r.URL.RawQuery) {
			if b <= ' ' || b >= 0x7F {
				u = append(u, '%', upperHex[b>>4], upperHex[b&15]) // not for a header
				continue
			}
			u = append(u, b)
		}
	}
	return string(u)
}

const upperHex = "0123456789ABCDEF"

// appendEscaped appends a text with all but letters, digits and the bare
// characters escaped.
func appendEscaped(dst []byte, text, bare string) []byte {
	for _, c := range []byte(text) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte(bare, c) >= 0:
			dst = append(dst, c)
		default:
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}

// problems tells the operator what could not be read, and the client that there is
// such a thing: it is null in the answer.
func (c *call) problems(problems []error) {
	for _, p := range problems {
		if c.unreadable++; c.unreadable <= maxProblems {
			c.s.opts.Logger.LogAttrs(c.r.Context(), slog.LevelWarn, "something cannot be read", slog.String("task_hub", c.hub.name()), slog.String("error", p.Error()))
		}
	}
	if c.unreadable > 0 {
		c.w.Header().Set(problemsHeader, strconv.Itoa(c.unreadable))
	}
}

const (
	// problemsHeader has the number of values in an answer that are null because they
	// could not be read, as far as it was known when the answer began.
	problemsHeader = "X-Taskhub-Problems"
	// maxProblems are logged of one answer.
	maxProblems = 20
)
