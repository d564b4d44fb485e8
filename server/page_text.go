package server

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// Limits of what is shown of a text. All of it can be downloaded.
const (
	defaultHead = 64 << 10
	maxHead     = 256 << 10
	// maxUnpacking are unpacked at once: a blob can be a good part of memory.
	maxUnpacking = 4
)

// shownText is what the page shows of a text.
type shownText struct {
	Set bool `json:"set"`
	// Bytes is the length of all of it, in UTF-8.
	Bytes int64 `json:"bytes"`
	// Head is its beginning, all of it unless More is set.
	Head string `json:"head"`
	More bool   `json:"more"`
	// Blob is the blob that it is kept in; empty if the row has it.
	Blob string `json:"blob,omitempty"`
	// SHA256 stands for the text where payloads are not shown.
	SHA256   string `json:"sha256,omitempty"`
	Redacted bool   `json:"redacted,omitempty"`
}

// show returns what the page shows of a text in memory: n bytes at most.
func (s *Server) show(t schema.Text, n int) shownText {
	if !t.Set {
		return shownText{}
	}
	shown := shownText{Set: true, Bytes: int64(len(t.Value))}
	switch {
	case t.Value == "" && t.Blob != "": // its length is not known before it is read
		shown.Blob, shown.More = t.Blob, true
	case s.opts.Redact && t.Value != jsonNull:
		sum := sha256.Sum256([]byte(t.Value))
		shown.SHA256, shown.Redacted = hex.EncodeToString(sum[:]), true
	default:
		shown.Head = head(t.Value, n)
		shown.More = len(shown.Head) < len(t.Value)
	}
	return shown
}

// jsonNull is what the framework stores for nothing: no payload.
const jsonNull = "null"

// head returns the beginning of a text, n bytes at most, without half a character.
func head(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// opened is a text that can be read from its beginning, more than once.
type opened struct {
	blob   string
	reader func() (io.Reader, error)
}

// openText finds a text that is in t, or in the blob of ref. Of a blob, what is in
// memory is what is stored.
func (s *Server) openText(ctx context.Context, h *served, t schema.Text, ref schema.Ref) (*opened, error) {
	container := h.info.Names.LargeMessages()
	switch {
	case ref.Blob == "":
		return &opened{reader: func() (io.Reader, error) { return strings.NewReader(t.Value), nil }}, nil
	case ref.InMessage:
		t, err := hub.LoadRef(ctx, h.Reader, container, ref, s.opts.MaxPayloadBytes)
		if err != nil {
			return nil, err
		}
		return &opened{ref.Blob, func() (io.Reader, error) { return strings.NewReader(t.Value), nil }}, nil
	}
	stored, err := h.Reader.ReadBlob(ctx, container, ref.Blob, s.opts.MaxPayloadBytes)
	if err != nil {
		return nil, err
	}
	return &opened{ref.Blob, func() (io.Reader, error) {
		z, err := gzip.NewReader(bytes.NewReader(stored))
		if err != nil {
			return nil, fmt.Errorf("blob %s: gzip: %w", ref.Blob, err)
		}
		return z, nil
	}}, nil
}

// measured is what reading a text to its end tells of it.
type measured struct {
	bytes int64
	head  []byte
	sum   [sha256.Size]byte
}

// measure reads a text to its end, of which it keeps n bytes. It returns
// [hub.ErrTooLarge] for a text of more than limit bytes.
func (o *opened) measure(n int, limit int64) (m measured, err error) {
	r, err := o.reader()
	if err != nil {
		return m, err
	}
	hash := sha256.New()
	first := &headWriter{most: n + utf8.UTFMax}
	m.bytes, err = io.Copy(io.MultiWriter(hash, first), io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return m, fmt.Errorf("blob %s: gzip: %w", o.blob, err)
	case m.bytes > limit:
		return m, fmt.Errorf("blob %s: %w of %d bytes", o.blob, hub.ErrTooLarge, limit)
	}
	m.head = []byte(head(string(first.kept), n))
	hash.Sum(m.sum[:0])
	return m, nil
}

// headWriter keeps the beginning of what is written to it.
type headWriter struct {
	most int
	kept []byte
}

func (w *headWriter) Write(p []byte) (int, error) {
	if n := w.most - len(w.kept); n > 0 {
		w.kept = append(w.kept, p[:min(n, len(p))]...)
	}
	return len(p), nil
}

// turns lets only so many do the same thing at once. The zero value is ready.
type turns struct {
	once sync.Once
	free chan struct{}
}

func (t *turns) enter(ctx context.Context) (leave func(), err error) {
	t.once.Do(func() { t.free = make(chan struct{}, maxUnpacking) })
	select {
	case t.free <- struct{}{}:
		return func() { <-t.free }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// payloadData shows the beginning of a text, or with download=1 gives all of it.
func (s *Server) payloadData(w http.ResponseWriter, p *pageRequest) {
	if err := s.payload(w, p); err != nil {
		writePageError(w, s.pageTrouble(p, err))
	}
}

func (s *Server) payload(w http.ResponseWriter, p *pageRequest) error {
	id, err := p.id()
	if err != nil {
		return err
	}
	n, err := p.number("head", defaultHead, 0, maxHead)
	if err != nil {
		return err
	}
	download := p.query.Get("download") != ""
	if download && s.opts.Redact {
		return &pageError{status: http.StatusForbidden, Message: "This server does not show payloads.", Hint: "It was started with the switch that redacts them."}
	}
	ctx := p.Context()
	leave, err := s.pages.unpacking.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	text, ref, err := s.findText(ctx, p, id)
	if err != nil {
		return err
	}
	if !text.Set {
		if download {
			return &pageError{status: http.StatusNotFound, Message: "There is no such payload."}
		}
		writePageJSON(w, http.StatusOK, shownText{})
		return nil
	}
	o, err := s.openText(ctx, p.hub, text, ref)
	if err != nil {
		return err
	}
	m, err := o.measure(int(n), s.opts.MaxPayloadBytes)
	if err != nil {
		return err
	}
	if download {
		return s.download(w, o, m.bytes)
	}
	shown := shownText{Set: true, Bytes: m.bytes, Blob: ref.Blob}
	if isNull := string(m.head) == jsonNull && m.bytes == int64(len(jsonNull)); s.opts.Redact && !isNull {
		shown.SHA256, shown.Redacted = hex.EncodeToString(m.sum[:]), true
	} else {
		shown.Head, shown.More = string(m.head), int64(len(m.head)) < m.bytes
	}
	writePageJSON(w, http.StatusOK, shown)
	return nil
}

// download sends a text as it is. It was read to its end once, so what can still
// go wrong is the connection.
func (s *Server) download(w http.ResponseWriter, o *opened, size int64) error {
	r, err := o.reader()
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8") // whatever it says it is: never markup
	h.Set("Content-Disposition", "attachment")
	h.Set("Content-Length", strconv.FormatInt(size, 10))
	_, _ = io.Copy(w, r)
	return nil
}

// findText returns the text that a request is about, or where it is: a part of the
// instance, or a column of a row of its history.
func (s *Server) findText(ctx context.Context, p *pageRequest, id string) (schema.Text, schema.Ref, error) {
	none := schema.Text{}
	if rowKey := p.query.Get("row"); rowKey != "" {
		row, err := historyRow(ctx, p.hub, id, rowKey)
		if err != nil {
			return none, schema.Ref{}, err
		}
		text := columnText(row, p.query.Get("column"))
		if text.Value == "" && text.Blob != "" {
			return text, schema.Ref{Blob: schema.StoredBlobName(text.Blob)}, nil
		}
		return text, schema.Ref{}, nil
	}
	if p.query.Get("part") == "state" {
		text, err := entityState(ctx, p.hub, id)
		return text, schema.Ref{}, err
	}
	st, err := p.hub.query.Instance(ctx, id, manage.ShowNone)
	if err != nil {
		return none, schema.Ref{}, err
	}
	if st == nil {
		return none, schema.Ref{}, errNoRow
	}
	container := p.hub.info.Names.LargeMessages()
	switch p.query.Get("part") {
	case "input":
		return setIfBlob(st.Row.Input, st.Row.InputRef(container)), st.Row.InputRef(container), nil
	case "output":
		return setIfBlob(st.Row.Output, st.Row.OutputRef(container)), st.Row.OutputRef(container), nil
	case "custom_status":
		return schema.Text{Value: st.Row.CustomStatus.Value, Set: st.Row.CustomStatus.Set}, schema.Ref{}, nil
	case "tags":
		return st.Tags, schema.Ref{}, nil
	}
	return none, schema.Ref{}, badRequest("There is no such part of an instance.")
}

// errNoRow is what is said of an instance that the Instances table does not have.
var errNoRow = &pageError{
	status: http.StatusNotFound, Message: "There is no such instance.", Hint: "It may have been purged, or its ID is written differently: case counts.",
}

func setIfBlob(t schema.Text, ref schema.Ref) schema.Text {
	t.Set = t.Set || ref.Blob != ""
	return t
}

// entityState returns the state of an entity as its app has written it.
func entityState(ctx context.Context, h *served, id string) (schema.Text, error) {
	entity, ok := schema.ParseEntityID(id)
	if !ok {
		return schema.Text{}, badRequest("That is not an entity.")
	}
	e, err := h.query.Entity(ctx, entity)
	switch {
	case err != nil:
		return schema.Text{}, err
	case e == nil:
		return schema.Text{}, errNoRow
	case e.Scheduler == nil:
		return schema.Text{}, errors.Join(e.Problems...)
	}
	return schema.Text{Value: e.Scheduler.State.Value, Set: e.Scheduler.State.Set}, nil
}
