package server

import (
	"net/http"
	"strings"
)

// call is a request of the API while it is answered.
type call struct {
	s     *Server
	w     http.ResponseWriter
	r     *http.Request
	ep    *endpoint
	query params
	// hub is the one that is asked.
	hub *served
	// first and second are the parts of the path that are not fixed, decoded: an
	// instance ID and the name of an event, the name and the key of an entity.
	first, second string
	// unreadable counts values of the answer that could not be read.
	unreadable int
}

// endpoint is what a path and a method mean. missing answers where the hub that is
// asked is none of those served: as one that holds nothing, and never by making it.
type endpoint struct{ handle, missing func(*call) }

var (
	startEndpoint     = &endpoint{(*call).start, (*call).noHub}
	statusEndpoint    = &endpoint{(*call).status, (*call).notFound}
	listEndpoint      = &endpoint{(*call).list, (*call).noneListed}
	purgeEndpoint     = &endpoint{(*call).purge, (*call).notFound}
	purgeManyEndpoint = &endpoint{(*call).purgeMany, (*call).nothingToPurge}
	raiseEndpoint     = &endpoint{(*call).raise, (*call).notFound}
	signalEndpoint    = &endpoint{(*call).signal, (*call).noHub}
	deleteEndpoint    = &endpoint{(*call).deleteEntity, (*call).noHub}
	entityEndpoint    = &endpoint{(*call).entity, (*call).notFound}
	entitiesEndpoint  = &endpoint{(*call).entities, (*call).noneListed}
	primaryEndpoint   = &endpoint{(*call).makePrimary, (*call).makePrimary}

	operationEndpoints = map[string]*endpoint{
		"terminate": {(*call).terminate, (*call).notFound},
		"suspend":   {(*call).suspend, (*call).notFound},
		"resume":    {(*call).resume, (*call).notFound},
		"rewind":    {(*call).rewind, (*call).notFound},
		"restart":   {(*call).restart, (*call).nothingToRestart},
	}
)

// maxSegments is how many parts a path of the API has at most.
const maxSegments = 4

// api answers a request under a base path; rest is what follows that, still
// escaped.
func (s *Server) api(w http.ResponseWriter, r *http.Request, rest string) {
	c := call{s: s, w: w, r: r}
	if !c.match(rest) {
		writeEmpty(w, http.StatusNotFound) // also for a wrong method
		return
	}
	c.query = parseParams(r.URL.RawQuery)
	name, _ := c.query.text("taskHub")
	connection, _ := c.query.text("connection")
	h, err := s.hub(name, connection)
	if err != nil {
		c.fail(err)
		return
	}
	c.hub = h
	c.ep.handle(&c)
}

// match finds the endpoint of a path.
//
// Source: Functions extension 2.13.7, HttpApiHandler.cs:298-435.
func (c *call) match(path string) bool {
	var segments [maxSegments]string
	n := 0
	for path = strings.Trim(path, "/"); path != ""; n++ {
		if n == maxSegments {
			return false
		}
		segment, rest, more := strings.Cut(path, "/")
		if segment == "" || more && rest == "" {
			return false
		}
		// An escaped slash does not divide: it is part of an ID.
		segments[n], path = unescape(segment, false), rest
	}
	c.first, c.second = segments[1], segments[2]
	switch {
	case n == 0:
	case strings.EqualFold(segments[0], "orchestrators"):
		c.ep = orchestrators(c.r.Method, n)
	case strings.EqualFold(segments[0], "entities"):
		c.ep = entities(c.r.Method, n)
	case strings.EqualFold(segments[0], "instances"):
		if n == maxSegments {
			c.second = segments[3]
		}
		c.ep = instances(c.r.Method, n, segments[2])
	case strings.EqualFold(segments[0], "makeprimary") && n == 1:
		c.ep = primaryEndpoint
	}
	return c.ep != nil
}

func orchestrators(method string, segments int) *endpoint {
	if method == http.MethodPost && (segments == 2 || segments == 3) {
		return startEndpoint
	}
	return nil
}

func entities(method string, segments int) *endpoint {
	switch {
	case segments > 3:
	case method == http.MethodGet && segments == 3:
		return entityEndpoint
	case method == http.MethodGet:
		return entitiesEndpoint
	case method == http.MethodPost:
		return signalEndpoint
	case method == http.MethodDelete:
		return deleteEndpoint
	}
	return nil
}

func instances(method string, segments int, operation string) *endpoint {
	switch {
	case segments == 1 && method == http.MethodGet:
		return listEndpoint
	case segments == 1 && method == http.MethodDelete:
		return purgeManyEndpoint
	case segments == 2 && method == http.MethodGet:
		return statusEndpoint
	case segments == 2 && method == http.MethodDelete:
		return purgeEndpoint
	case segments == 3 && method == http.MethodPost:
		return operationEndpoints[strings.ToLower(operation)]
	case segments == 4 && method == http.MethodPost && strings.EqualFold(operation, "raiseEvent"):
		return raiseEndpoint
	}
	return nil
}

func (c *call) notFound() { writeEmpty(c.w, http.StatusNotFound) }

func (c *call) noneListed() { writeJSON(c.w, http.StatusOK, []byte("[]")) }

func (c *call) noHub() {
	name, _ := c.query.text("taskHub")
	writeMessage(c.w, http.StatusNotFound, "The task hub '"+name+"' is not served here.")
}

// makePrimary says that there is no app that could become the primary one.
func (c *call) makePrimary() {
	writeMessage(c.w, http.StatusNotImplemented, "No app runs here that could become the primary one.")
}
