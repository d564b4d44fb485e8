package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// jsonType is the content type of all JSON answers of the framework.
const jsonType = "application/json; charset=utf-8"

// writeJSON answers with a JSON text.
func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", jsonType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // nobody is left to tell if it fails
}

// writeEmpty answers without a body.
func writeEmpty(w http.ResponseWriter, status int) { w.WriteHeader(status) }

// writeMessage answers with an error in the short form of the framework.
func writeMessage(w http.ResponseWriter, status int, message string) {
	body := appendString([]byte(`{"Message":`), message)
	writeJSON(w, status, append(body, '}'))
}

// exception is an error in the long form of the framework, which names a type of
// .NET and never has a stack trace here; without a type, in the short form.
//
// Source: Functions extension 2.13.7, HttpRequestMessageExtensions.cs:47-62.
type exception struct {
	status             int
	message, text, typ string
}

// Messages of the long form.
const (
	wrongArgument = "One or more of the arguments submitted is incorrect"
	wentWrong     = "Something went wrong while processing your request"
	invalidJSON   = "Invalid JSON content"
	noInstance    = "InstanceId does not match a valid orchestration instance."
)

// Types of .NET that clients may know.
const (
	argumentException  = "System.ArgumentException"
	operationException = "System.InvalidOperationException"
	existsException    = "DurableTask.Core.Exceptions.OrchestrationAlreadyExistsException"
	jsonException      = "Newtonsoft.Json.JsonReaderException"
)

// badArgument is an argument that cannot be.
func badArgument(text string) *exception {
	return &exception{http.StatusBadRequest, wrongArgument, text, argumentException}
}

// Error returns the text without the frame around it.
func (e *exception) Error() string { return e.text }

func (e *exception) write(w http.ResponseWriter) {
	switch {
	case e.typ == "":
		writeMessage(w, e.status, e.message)
		return
	case e.status == http.StatusPreconditionFailed:
		// The client in JavaScript, the only one that knows this status, takes the
		// whole body for the text of its error (durable-functions 3.5.0,
		// DurableClient.js).
		writeJSON(w, e.status, appendString(nil, e.text))
		return
	}
	body := appendString([]byte(`{"Message":`), e.message)
	body = appendString(append(body, `,"ExceptionMessage":`...), e.text)
	body = appendString(append(body, `,"ExceptionType":`...), e.typ)
	writeJSON(w, e.status, append(body, `,"StackTrace":null}`...))
}

// fail answers with what an error means. It is for what no handler knows better.
func (c *call) fail(err error) {
	var (
		state    *manage.StateError
		argument *manage.ArgumentError
		setting  *connectionError
		rewind   *manage.RewindError
		tooLarge *http.MaxBytesError
		known    *exception
	)
	e := &exception{http.StatusInternalServerError, wentWrong, err.Error(), operationException}
	switch {
	case c.r.Context().Err() != nil:
		return // whoever asked has gone, or it took too long, which the guard tells
	case errors.As(err, &known):
		e = known
	case errors.As(err, &tooLarge):
		writeMessage(c.w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is longer than %d bytes, the most that is taken", tooLarge.Limit))
		return
	case errors.Is(err, errNoHub):
		c.ep.missing(c)
		return
	case errors.Is(err, manage.ErrNoInstance):
		writeEmpty(c.w, http.StatusNotFound)
		return
	case errors.As(err, &state):
		if errors.Is(err, manage.ErrEnded) {
			writeEmpty(c.w, http.StatusGone)
			return
		}
		e = stateException(state)
	case errors.As(err, &argument):
		e = badArgument(argument.Error())
	case errors.As(err, &setting): // nothing went wrong here
	case errors.As(err, &rewind), errors.Is(err, hub.ErrConflict):
		e.status = http.StatusConflict
	default:
		c.s.opts.Logger.LogAttrs(c.r.Context(), slog.LevelError, "a request failed", slog.String("path", c.r.URL.Path), slog.String("error", err.Error()))
	}
	e.write(c.w)
}

// stateException says that an instance is in the wrong status, in the words of the
// framework.
//
// Source: recorded in the calls of hub functions-3. The framework answers 500; its
// newest client knows 412 for a rewind.
func stateException(state *manage.StateError) *exception {
	e := &exception{http.StatusInternalServerError, wentWrong, state.Error(), operationException}
	switch {
	case errors.Is(state, manage.ErrExists):
		e.status, e.typ = http.StatusConflict, existsException
		e.text = "An Orchestration instance with the status " + state.Status.String() + " already exists."
	case errors.Is(state, manage.ErrNotFailed) && state.Status != schema.StatusUnknown:
		e.status = http.StatusPreconditionFailed
		e.text = "The rewind operation is only supported on failed orchestration instances."
	}
	return e
}
