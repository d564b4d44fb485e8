package server

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
)

// The page is a few static files that hold nothing of any hub, and the data that
// they ask for under dataPath. What changes a hub goes through the API, like the
// requests of any other client.
const (
	assetPath = "/page/"
	dataPath  = assetPath + "data/"
)

// pageHeader has to come with each request for data, with any value. A page of
// another site can have a browser send requests here, but none with a header of
// that name: a browser first asks whether it may, and is not told so.
const pageHeader = "X-Taskhub-Page"

// isPageAsset reports whether a path is that of a static file of the page. They
// are given without a key: the page has to be there to ask for one.
func isPageAsset(path string) bool { return assets.byPath[path] != nil }

// contentPolicy lets the page load its own files, talk to this server, and
// nothing else: text of a hub that was taken for markup could still not run.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// page answers what is not a request of the API.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	name, isData := strings.CutPrefix(r.URL.Path, dataPath)
	if isData {
		h.Set("Cache-Control", "no-store")
	}
	switch {
	case !isData && !isPageAsset(r.URL.Path):
		http.NotFound(w, r)
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "only GET and HEAD", http.StatusMethodNotAllowed)
	case isData:
		s.pageData(w, r, name)
	default:
		assets.byPath[r.URL.Path].serve(w, r)
	}
}

// pageState is what the page needs beside the hubs. The zero value is ready.
type pageState struct {
	indexes   indexes
	unpacking turns
	verifying verifications
}

// pageRequest is a request for data of the page.
type pageRequest struct {
	*http.Request
	query url.Values
	hub   *served // nil for data about all hubs
}

// pageHandler answers a request with something that is sent as JSON, or an error.
type pageHandler func(s *Server, ctx context.Context, p *pageRequest) (any, error)

// pageData answers a request for data.
func (s *Server) pageData(w http.ResponseWriter, r *http.Request, name string) {
	if r.Header.Get(pageHeader) == "" || !sameSite(r) {
		writePageError(w, &pageError{
			status: http.StatusForbidden, Message: "This is for the page of this server only.", Hint: "Send the header " + pageHeader + ": 1.",
		})
		return
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		writePageError(w, badRequest("The query cannot be read."))
		return
	}
	p := &pageRequest{Request: r, query: query}
	if name == "hubs" {
		s.answer(w, p, (*Server).hubsData)
		return
	}
	if p.hub, err = s.hub(query.Get("taskHub"), query.Get("connection")); err != nil {
		writePageError(w, &pageError{
			status: http.StatusNotFound, Message: "This server does not have that hub.",
			Hint: "Choose one of those in the list, or start serve with it.",
		})
		return
	}
	switch name {
	case "instances":
		s.answer(w, p, (*Server).instancesData)
	case "instance":
		s.answer(w, p, (*Server).instanceData)
	case "payload":
		s.payloadData(w, p)
	case "history":
		s.answer(w, p, (*Server).historyData)
	case "event":
		s.answer(w, p, (*Server).eventData)
	case "timeline":
		s.answer(w, p, (*Server).timelineData)
	case "explain":
		s.answer(w, p, (*Server).explainData)
	case "health":
		s.answer(w, p, (*Server).healthData)
	case "index":
		s.indexData(w, p)
	case "verify":
		s.verifyData(w, p)
	default:
		writePageError(w, &pageError{status: http.StatusNotFound, Message: "There is no such data.", Hint: "Reload the page: it may be older than the server."})
	}
}

// sameSite reports whether a browser, if it is one, sends a request for a page of
// this server or because its user has typed the address.
func sameSite(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return true
	}
	return false
}

func (s *Server) answer(w http.ResponseWriter, p *pageRequest, handle pageHandler) {
	v, err := handle(s, p.Context(), p)
	if err != nil {
		writePageError(w, s.pageTrouble(p, err))
		return
	}
	writePageJSON(w, http.StatusOK, v)
}

// pageTrouble tells why data cannot be had.
func (s *Server) pageTrouble(p *pageRequest, err error) *pageError {
	var known *pageError
	switch {
	case errors.As(err, &known):
		return known
	case p.Context().Err() != nil:
		return &pageError{status: http.StatusServiceUnavailable, Message: "The request took too long, or was given up.", Hint: "Try again."}
	}
	s.opts.Logger.WarnContext(p.Context(), "data for the page", "path", p.URL.Path, "err", err)
	return storageError(err)
}

// pageError is what the page shows in place of data: what is wrong and what to do.
type pageError struct {
	status  int
	Message string `json:"error"`
	Hint    string `json:"hint,omitempty"`
}

func (e *pageError) Error() string { return e.Message }

func badRequest(message string) *pageError {
	return &pageError{status: http.StatusBadRequest, Message: message}
}

// storageError tells a person what the trouble with storage is.
func storageError(err error) *pageError {
	e := &pageError{status: http.StatusBadGateway, Message: err.Error()}
	switch {
	case errors.Is(err, hub.ErrTooLarge):
		e.status, e.Hint = http.StatusRequestEntityTooLarge, "Export the hub to get at it, or start serve with a higher limit."
	case errors.Is(err, hub.ErrNotFound):
		e.status, e.Hint = http.StatusNotFound, "It may have been purged meanwhile. Look again."
	case errors.Is(err, hub.ErrUnauthorized):
		e.Hint = "The storage account refuses the credentials that serve was started with."
	default:
		e.Hint = "Storage could not be read. Try again; if it stays like that, taskhub info on the command line says more."
	}
	return e
}
