package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

const (
	// A client that sends or takes fewer than pieceBytes in sendTime or takeTime is
	// not waited for any longer: about 500 bytes a second, which no network is too
	// slow for.
	pieceBytes = 16 << 10
	sendTime   = 30 * time.Second
	takeTime   = 30 * time.Second

	// All bodies that are held at a time are together not longer than this many of
	// the longest.
	longestBodies = 4
)

// bodies reads the bodies of requests before anybody works on them. So one that
// comes slowly does not take a place, and none is too long for who reads it.
type bodies struct {
	longest int64
	held    atomic.Int64
}

// requestBody is a body that was read. It is nil without one.
type requestBody struct{ text bytes.Buffer }

// past is a deadline that is over.
var past = time.Unix(1, 0)

// read reads the body of a request. If it cannot be had, status and text are the
// answer.
func (b *bodies) read(w http.ResponseWriter, r *http.Request) (body *requestBody, status int, text string) {
	if r.Body == nil || r.Body == http.NoBody || r.Method == http.MethodGet || r.Method == http.MethodHead {
		return nil, 0, ""
	}
	tooLong := fmt.Sprintf("the body is longer than %d bytes, the most that is taken", b.longest)
	if r.ContentLength > b.longest {
		return nil, http.StatusRequestEntityTooLarge, tooLong
	}
	connection := http.NewResponseController(w)
	expired := time.AfterFunc(sendTime, func() { _ = connection.SetReadDeadline(past) }) // without deadlines it has others
	body = &requestBody{}
	piece := int64(0)
	for {
		room := bytes.MinRead
		if r.ContentLength > 0 && body.text.Len() == 0 {
			room = int(min(r.ContentLength, pieceBytes)) + 1
		}
		body.text.Grow(room)
		p := body.text.AvailableBuffer()
		n, err := r.Body.Read(p[:cap(p)])
		body.text.Write(p[:n])
		if b.held.Add(int64(n)) > longestBodies*b.longest {
			expired.Stop()
			return body, http.StatusServiceUnavailable, "more bodies than can be held at once: try again"
		}
		if piece += int64(n); piece >= pieceBytes && expired.Stop() {
			piece = 0
			expired.Reset(sendTime)
		}
		switch {
		case int64(body.text.Len()) > b.longest:
			expired.Stop()
			return body, http.StatusRequestEntityTooLarge, tooLong
		case err == nil:
		case errors.Is(err, io.EOF) && expired.Stop():
			return body, 0, ""
		case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, io.EOF):
			return body, http.StatusRequestTimeout, "the body did not come in time"
		default:
			expired.Stop()
			return body, http.StatusBadRequest, "the body is not whole"
		}
	}
}

// free gives back the memory of a body.
func (b *bodies) free(body *requestBody) {
	if body != nil {
		b.held.Add(-int64(body.text.Len()))
	}
}

// replace puts the body that was read into its request.
func (body *requestBody) replace(r *http.Request) {
	switch {
	case body == nil:
	case body.text.Len() == 0:
		r.Body, r.ContentLength = http.NoBody, 0
	default:
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body.text.Bytes())), int64(body.text.Len())
	}
	r.TransferEncoding = nil
}
