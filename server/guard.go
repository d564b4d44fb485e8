package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Key is what requests must give. It is never printed.
type Key string

const redactedKey = "REDACTED"

// String hides the key.
func (k Key) String() string { return redactedKey }

// GoString hides the key.
func (k Key) GoString() string { return redactedKey }

// Format hides the key whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redactedKey)) }

// MarshalText hides the key.
func (k Key) MarshalText() ([]byte, error) { return []byte(redactedKey), nil }

// LogValue hides the key.
func (k Key) LogValue() slog.Value { return slog.StringValue(redactedKey) }

// keyHeader gives the key, as the Functions host reads it; the query parameter
// code is the other way.
const keyHeader = "X-Functions-Key"

// maxAnswerDelay is how long a request may be worked on before its answer begins.
// The time that it waits for an instance is not counted.
const maxAnswerDelay = 5 * time.Minute

// errTooLong is the cause of a request that took longer than that.
var errTooLong = fmt.Errorf("server: not answered within %v", maxAnswerDelay)

// guarded stands before the handler of all requests.
type guarded struct {
	s    *Server
	next http.Handler
	// local says that only this machine can connect. Then a page of anywhere, open
	// in a browser of this machine, must not get to the hubs under a name of its
	// own that leads here; and clients of the same machine need no key.
	local   bool
	keySum  [sha256.Size]byte
	origins *http.CrossOriginProtection
	hosts   []string // besides those of this machine
	places  *places
	bodies  bodies
}

// guard returns a handler that lets through to next what may be answered, logs
// all requests, and bounds what they take of the machine.
func (s *Server) guard(next http.Handler) http.Handler { return s.guardFor(next, false) }

func (s *Server) guardFor(next http.Handler, local bool) *guarded {
	g := &guarded{
		s: s, next: next, local: local,
		keySum:  sha256.Sum256([]byte(s.opts.Key)),
		origins: http.NewCrossOriginProtection(),
		places:  newPlaces(s.opts.MaxRequests),
		bodies:  bodies{longest: s.opts.MaxBodyBytes},
	}
	if u, err := url.Parse(s.opts.PublicURL); err == nil && u.Host != "" {
		g.hosts = append(g.hosts, strings.ToLower(u.Hostname()))
		// It cannot fail: validate has seen that this is an origin.
		_ = g.origins.AddTrustedOrigin(u.Scheme + "://" + u.Host)
	}
	return g
}

// ServeHTTP implements [http.Handler].
func (g *guarded) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &response{w: w}
	began := g.s.opts.Now()
	defer func() {
		failure := recover()
		if failure != nil {
			a.panicked(g.s.opts.Logger, r, failure)
		}
		if g.s.opts.RequestLog != nil {
			logRequest(g.s.opts.RequestLog, r, a, g.s.opts.Now().Sub(began))
		}
		if a.aborted {
			panic(http.ErrAbortHandler) // closes the connection in the middle of the answer
		}
	}()
	secure(w.Header())
	if g.admit(a, r) {
		g.work(a, r)
	}
}

// secure says to browsers what holds for every answer: it is no page, nobody
// embeds it, and the key in its address is told nobody. The page says for itself
// what is different.
func secure(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
}

// admit answers what nobody has to work on, and reports whether to go on.
func (g *guarded) admit(w http.ResponseWriter, r *http.Request) bool {
	if g.local && !g.ours(r.Host) {
		writeMessage(w, http.StatusForbidden, fmt.Sprintf("%q is not a name of this machine; another one has to be the server's public URL", r.Host))
		return false
	}
	key := g.authorised(r)
	switch {
	case r.URL.Path == healthPath:
		g.s.health(w, r, key)
		return false
	case !key && !g.open(r):
		writeEmpty(w, http.StatusUnauthorized)
		return false
	}
	if err := g.origins.Check(r); err != nil {
		writeMessage(w, http.StatusForbidden, "a page of another site has sent this request, which could change a hub")
		return false
	}
	return true
}

// ours reports whether a Host header names this machine. HTTP/1.0 has none, and
// no browser speaks it.
func (g *guarded) ours(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.Trim(strings.TrimSuffix(name, "."), "[]"))
	if name == "" || name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return true
	}
	for _, h := range g.hosts {
		if name == h {
			return true
		}
	}
	ip := net.ParseIP(name)
	return ip != nil && ip.IsLoopback()
}

// authorised reports whether a request has the key, if one is needed at all. The
// time that it takes does not depend on how much of a key is right.
func (g *guarded) authorised(r *http.Request) bool {
	if g.s.opts.Key == "" {
		return true
	}
	given := r.Header.Values(keyHeader)
	for name, values := range r.URL.Query() {
		if strings.EqualFold(name, "code") {
			given = append(given, values...)
		}
	}
	for _, k := range given {
		sum := sha256.Sum256([]byte(k))
		if subtle.ConstantTimeCompare(sum[:], g.keySum[:]) == 1 {
			return true
		}
	}
	return false
}

// open reports whether a request needs no key: it is for a file of the page,
// which holds nothing of a hub, or of a client in another language on this
// machine, which has no way to give one. A proxy on this machine forwards for
// others, so behind one there is no exception.
func (g *guarded) open(r *http.Request) bool {
	if isPageAsset(r.URL.Path) && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		return true
	}
	if !g.local || g.s.opts.PublicURL != "" {
		return false
	}
	for _, name := range [...]string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"} {
		if r.Header.Get(name) != "" {
			return false
		}
	}
	_, ok := cutBase(r.URL.EscapedPath(), rpcBase)
	return ok
}

// work reads the body, and lets next answer as soon as there is room for it.
func (g *guarded) work(a *response, r *http.Request) {
	body, status, text := g.bodies.read(a, r)
	defer g.bodies.free(body)
	if status != 0 {
		a.Header().Set("Connection", "close") // the rest of the body is not read
		if status == http.StatusServiceUnavailable {
			writeBusy(a, text)
		} else {
			writeMessage(a, status, text)
		}
		return
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	defer cancel(nil)
	p, err := g.places.enter(ctx)
	if err != nil {
		writeBusy(a, "more requests than can be worked on at once: try again")
		return
	}
	defer p.leave()
	a.place = p
	p.limit = time.AfterFunc(maxAnswerDelay, func() { cancel(errTooLong) })
	defer p.limit.Stop()

	r = r.WithContext(context.WithValue(ctx, placeKey{}, p))
	body.replace(r)
	g.next.ServeHTTP(a, r)
	switch cause := context.Cause(ctx); {
	case a.status != 0 || cause == nil:
	case errors.Is(cause, errTooLong):
		writeMessage(a, http.StatusServiceUnavailable, errTooLong.Error())
	default:
		a.aborted = true // by the client, or by the end of the server
		return
	}
	p.leave()
	a.finish()
}
