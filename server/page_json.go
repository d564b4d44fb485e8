package server

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/taskhub-tools/taskhub/schema"
)

func writePageJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		panic("server: internal error: " + err.Error()) // our own types always have a form in JSON
	}
	writeJSON(w, status, body)
}

func writePageError(w http.ResponseWriter, e *pageError) { writePageJSON(w, e.status, e) }

// pageTime is a time in JSON: as [schema.Ticks.String], or null for none.
type pageTime schema.Ticks

// MarshalJSON implements [json.Marshaler].
func (t pageTime) MarshalJSON() ([]byte, error) {
	if t == 0 {
		return []byte("null"), nil
	}
	b := append(make([]byte, 0, 32), '"')
	return append(schema.Ticks(t).AppendTrimmed(b), '"'), nil
}

// number returns a whole number of the query between least and most, or what is
// meant if there is none.
func (p *pageRequest) number(name string, missing, least, most int64) (int64, error) {
	text := p.query.Get(name)
	if text == "" {
		return missing, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, badRequest(name + " is not a whole number.")
	}
	return min(max(n, least), most), nil
}

// time returns a time of the query, zero if there is none.
func (p *pageRequest) time(name string) (schema.Ticks, error) {
	text := p.query.Get(name)
	if text == "" {
		return 0, nil
	}
	t, err := schema.ParseTicks(text)
	if err != nil {
		return 0, badRequest(name + " is not a time such as 2026-11-22T04:07:21Z.")
	}
	return t, nil
}

// id returns the instance that is asked for.
func (p *pageRequest) id() (string, error) {
	if id := p.query.Get("id"); id != "" {
		return id, nil
	}
	return "", badRequest("The instance ID is missing.")
}

// observed is the time to which ages and open work of a hub count.
func (s *Server) observed(h *served) schema.Ticks {
	if h.capture() {
		return h.info.Finished
	}
	return schema.TicksOf(s.opts.Now())
}

// lineWriter streams lines of JSON, each of which is sent at once.
type lineWriter struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func newLineWriter(w http.ResponseWriter) *lineWriter {
	h := w.Header()
	h.Set("Content-Type", "application/x-ndjson; charset=utf-8")
	h.Set("X-Accel-Buffering", "no") // of a proxy
	return &lineWriter{w: w, c: http.NewResponseController(w)}
}

// line writes v and returns an error if nobody takes it.
func (l *lineWriter) line(v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		panic("server: internal error: " + err.Error()) // our own types always have a form in JSON
	}
	if _, err := l.w.Write(append(body, '\n')); err != nil {
		return err
	}
	if err := l.c.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	return nil
}

// failed ends the stream with what is wrong.
func (l *lineWriter) failed(e *pageError) {
	_ = l.line(struct { // nobody is left to tell if it fails
		Type string `json:"type"` // error
		*pageError
	}{"error", e})
}
