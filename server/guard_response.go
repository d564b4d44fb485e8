package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
)

// smallAnswerBytes of an answer are kept until its request has no place any more.
// Only then they wait for a client that may be slow.
const smallAnswerBytes = 256 << 10

// response is an answer as it is written. Nothing of one that is small is sent
// before it is whole.
type response struct {
	w     http.ResponseWriter
	place *place // nil before the request has one

	status int   // 0 before the handler has said it
	bytes  int64 // of the body
	kept   []byte
	// sent says that the header is; refused, that another answer was given in place
	// of the handler's; aborted, that the client must not take it for a whole one.
	sent, refused, aborted bool
}

// Unwrap is for [http.ResponseController].
func (a *response) Unwrap() http.ResponseWriter { return a.w }

// Header implements [http.ResponseWriter].
func (a *response) Header() http.Header { return a.w.Header() }

// WriteHeader implements [http.ResponseWriter].
func (a *response) WriteHeader(status int) {
	switch {
	case status < 200:
		a.w.WriteHeader(status)
	case a.status == 0:
		a.status = status
		if a.place == nil {
			_ = a.send() // nothing is kept
		} else {
			a.place.limit.Stop()
		}
	}
}

// Write implements [http.ResponseWriter].
func (a *response) Write(p []byte) (int, error) {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	if a.refused || a.aborted {
		return 0, errBusy
	}
	a.bytes += int64(len(p))
	if a.place != nil {
		if a.bytes <= smallAnswerBytes {
			a.kept = append(a.kept, p...)
			return len(p), nil
		}
		if !a.place.large() {
			a.refuse()
			return 0, errBusy
		}
	}
	if err := a.send(); err != nil {
		return 0, err
	}
	return a.w.Write(p)
}

// FlushError is for [http.ResponseController].
func (a *response) FlushError() error {
	if a.status == 0 {
		a.WriteHeader(http.StatusOK)
	}
	return errors.Join(a.send(), http.NewResponseController(a.w).Flush())
}

// send sends what is kept.
func (a *response) send() error {
	if !a.sent {
		a.sent = true
		a.w.WriteHeader(a.status)
	}
	if len(a.kept) == 0 {
		return nil
	}
	_, err := a.w.Write(a.kept)
	a.kept = nil
	return err
}

// finish sends what the handler has left.
func (a *response) finish() {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	_ = a.send() // nobody is left to tell if it fails
}

// refuse gives up an answer that is too large for now.
func (a *response) refuse() {
	if a.sent {
		a.aborted = true
		return
	}
	a.instead(func() { writeBusy(a, "more large answers than can be sent at once: try again") })
	a.refused = true
}

// instead gives another answer than the one that was begun, of which nothing may
// have been sent.
func (a *response) instead(answer func()) {
	h := a.Header()
	for name := range h {
		h.Del(name)
	}
	secure(h)
	a.place, a.status, a.bytes, a.kept = nil, 0, 0, nil
	answer()
}

// writeBusy answers that there is too much to do.
func writeBusy(w http.ResponseWriter, text string) {
	w.Header().Set("Retry-After", strconv.Itoa(retryAfterSeconds))
	writeMessage(w, http.StatusServiceUnavailable, text)
}

// panicked tells of a panic: the log all of it, and the client that something has
// gone wrong, as the framework does.
func (a *response) panicked(log *slog.Logger, r *http.Request, failure any) {
	if err, ok := failure.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		a.aborted = true
		return
	}
	log.LogAttrs(r.Context(), slog.LevelError, "panic while answering",
		slog.String("method", r.Method), slog.String("path", loggedPath(r.URL)),
		slog.String("panic", fmt.Sprint(failure)), slog.String("stack", string(debug.Stack())))
	if a.sent {
		a.aborted = true
		return
	}
	a.instead(func() {
		writeJSON(a, http.StatusInternalServerError, []byte(`{"Message":"Something went wrong while processing your request",`+
			`"ExceptionMessage":"internal error, of which the server's log tells","ExceptionType":"System.InvalidOperationException","StackTrace":null}`))
	})
}
