package server

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// links are what the URLs of one hub have in common.
type links struct {
	base  string // origin and path
	query string // that chooses the hub, and gives the key
}

// bareInID are the characters that are not escaped in an instance ID. A blank is
// %20: the + of the framework is not decoded in a path.
//
// Source: Functions extension 2.13.7, HttpApiHandler.cs:1164-1209, which escapes
// as forms do.
const bareInID = "-_.!*()"

// origin returns the beginning of the URLs in answers.
func (c *call) origin() string {
	if c.s.opts.PublicURL != "" {
		return c.s.opts.PublicURL
	}
	if c.r.TLS != nil {
		return "https://" + c.r.Host
	}
	return "http://" + c.r.Host
}

// links returns what URLs begin and end with. Blank names are those of the default
// hub.
func (s *Server) links(origin, taskHub, connection string) links {
	if strings.TrimSpace(taskHub) == "" {
		taskHub = s.hubs[0].name()
	}
	if strings.TrimSpace(connection) == "" {
		connection = s.hubs[0].Connection
	}
	query := appendEscaped([]byte("taskHub="), taskHub, bareInID)
	query = appendEscaped(append(query, "&connection="...), connection, bareInID)
	if key := s.keyQuery(); key != "" {
		query = append(append(query, '&'), key...)
	}
	return links{base: origin + s.opts.BasePath, query: string(query)}
}

// keyQuery returns the part of a query that gives the key; empty without one.
func (s *Server) keyQuery() string {
	if s.opts.Key == "" {
		return ""
	}
	return string(appendEscaped([]byte("code="), string(s.opts.Key), bareInID))
}

// status returns the URL by which the status of an instance is asked for.
func (l *links) status(id string, failure500 bool) string {
	u := l.instance(id) + "?" + l.query
	if failure500 {
		u += "&returnInternalServerErrorOnFailure=true"
	}
	return u
}

func (l *links) instance(id string) string {
	return string(appendEscaped([]byte(l.base+"/instances/"), id, bareInID))
}

// appendJSON appends the URLs by which an instance is managed, as the framework's
// clients return them.
//
// Source: Functions extension 2.13.7, HttpManagementPayload.cs:11-93. The framework
// leaves rewindPostUri out of the answer to a start.
func (l *links) appendJSON(dst []byte, id string, failure500 bool) []byte {
	instance := l.instance(id)
	dst = appendString(append(dst, `{"id":`...), id)
	member := func(name, value string) {
		dst = append(append(append(dst, ',', '"'), name...), `":`...)
		dst = appendString(dst, value)
	}
	member("statusQueryGetUri", l.status(id, failure500))
	member("sendEventPostUri", instance+"/raiseEvent/{eventName}?"+l.query)
	member("terminatePostUri", instance+"/terminate?reason={text}&"+l.query)
	member("rewindPostUri", instance+"/rewind?reason={text}&"+l.query)
	member("purgeHistoryDeleteUri", instance+"?"+l.query)
	member("restartPostUri", instance+"/restart?"+l.query)
	member("suspendPostUri", instance+"/suspend?reason={text}&"+l.query)
	member("resumePostUri", instance+"/resume?reason={text}&"+l.query)
	return append(dst, '}')
}

// checkStatus answers that an instance was started, and where to look for it.
//
// Source: Functions extension 2.13.7, HttpApiHandler.cs:1211-1240.
func (c *call) checkStatus(id string) {
	taskHub, _ := c.query.text("taskHub")
	connection, _ := c.query.text("connection")
	l := c.s.links(c.origin(), taskHub, connection)
	failure500 := c.shown().failure500
	c.w.Header().Set("Location", l.status(id, failure500))
	c.w.Header().Set("Retry-After", "10")
	writeJSON(c.w, http.StatusAccepted, l.appendJSON(nil, id, failure500))
}

// ManagementPayload returns the URLs by which an instance is managed, as one JSON
// object: what CreateHttpManagementPayload of the framework's clients returns.
// origin is where the server can be reached, such as http://127.0.0.1:8080; empty
// means Options.PublicURL. Blank names are those of the default hub. Whether there
// is such an instance does not matter. With a key it holds that key.
//
// It returns an error for a hub that is not served, and without any origin.
//
// Source: Functions extension 2.13.7, HttpManagementPayload.cs:11-93.
func (s *Server) ManagementPayload(origin, taskHub, connection, instanceID string) ([]byte, error) {
	l, _, err := s.linksFor(origin, taskHub, connection)
	if err != nil {
		return nil, err
	}
	return l.appendJSON(nil, instanceID, false), nil
}

// linksFor is links for callers that are no request.
func (s *Server) linksFor(origin, taskHub, connection string) (links, *served, error) {
	if origin == "" {
		origin = s.opts.PublicURL
	}
	if origin == "" {
		return links{}, nil, errors.New("server: neither an origin nor Options.PublicURL is set")
	}
	h, err := s.hub(taskHub, connection)
	if err != nil {
		return links{}, nil, fmt.Errorf("server: %w", err)
	}
	return s.links(strings.TrimRight(origin, "/"), taskHub, connection), h, nil
}

// idPlaceholder is what clients replace by an instance ID, wherever it stands.
const idPlaceholder = "INSTANCEID"

// ClientBinding returns, as one JSON object, what the binding of a durable client
// gives to a function: with it an app in JavaScript or Python uses this server.
// Arguments and errors are those of [Server.ManagementPayload]; it also returns an
// error if the origin or a name has INSTANCEID in it, which clients replace by the
// ID of an instance.
//
// The address for calls from the same machine is given only where those need not
// name the hub or give a key.
//
// Source: Functions extension 2.13.7, BindingHelper.cs:14-67, 107-141,
// HttpApiHandler.cs:1148-1162.
func (s *Server) ClientBinding(origin, taskHub, connection string) ([]byte, error) {
	l, h, err := s.linksFor(origin, taskHub, connection)
	if err != nil {
		return nil, err
	}
	if strings.Contains(l.base+l.query, idPlaceholder) {
		return nil, fmt.Errorf("server: the origin, the hub or the key contains %s, which clients replace", idPlaceholder)
	}
	query := s.keyQuery()
	if h != s.hubs[0] {
		query = l.query // these URLs name no hub otherwise
	}
	start := l.base + "/orchestrators/{functionName}[/{instanceId}]"
	dst := appendString([]byte(`{"taskHubName":`), h.name())
	dst = appendString(append(dst, `,"connectionName":`...), h.Connection)
	dst = appendString(append(dst, `,"creationUrls":{"createNewInstancePostUri":`...), withQuery(start, query))
	wait := "timeout={timeoutInSeconds}&pollingInterval={intervalInSeconds}"
	if query != "" {
		wait += "&" + query
	}
	dst = appendString(append(dst, `,"createAndWaitOnNewInstancePostUri":`...), withQuery(start, wait))
	dst = l.appendJSON(append(dst, `},"managementUrls":`...), idPlaceholder, false)
	dst = appendString(append(dst, `,"baseUrl":`...), l.base)
	dst = appendString(append(dst, `,"requiredQueryStringParameters":`...), s.keyQuery())
	if query == "" {
		dst = appendString(append(dst, `,"rpcBaseUrl":`...), strings.TrimSuffix(l.base, s.opts.BasePath)+"/durabletask/")
	}
	return append(dst, '}'), nil
}

func withQuery(path, query string) string {
	if query == "" {
		return path
	}
	return path + "?" + query
}
