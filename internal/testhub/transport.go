package testhub

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// ReadOnly returns a transport that fails t on any request that could change
// storage, and does not send it.
func ReadOnly(t testing.TB, next http.RoundTripper) http.RoundTripper {
	return &readOnly{t, next}
}

type readOnly struct {
	t    testing.TB
	next http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (r *readOnly) RoundTrip(req *http.Request) (*http.Response, error) {
	if Mutates(req) {
		r.t.Errorf("a reader sent %s %s", req.Method, req.URL.Path)
		return nil, fmt.Errorf("%s is not allowed here", req.Method)
	}
	return r.next.RoundTrip(req)
}

// Mutates reports whether a request could change storage. That is not only a
// matter of the method: GET of messages receives them, which counts and hides
// them, unless it asks to peek.
func Mutates(req *http.Request) bool {
	if req.Method != http.MethodGet && req.Method != http.MethodHead {
		return true
	}
	return strings.HasSuffix(req.URL.Path, "/messages") && req.URL.Query().Get("peekonly") != "true"
}

// FaultKind is what a [Proxy] does to a response.
type FaultKind int

// The kinds of faults.
const (
	// Throttle answers 503 ServerBusy with the header Retry-After.
	Throttle FaultKind = iota + 1
	// Reset closes the connection before anything is answered.
	Reset
	// Drop closes it in the middle of the body.
	Drop
	// Slow pauses between parts of the body.
	Slow
	// LongLength announces more bytes than there are.
	LongLength
	// ShortLength announces half of the bytes.
	ShortLength
	// Truncate answers with half of the body as if it were all.
	Truncate
	// Status answers with Fault.Status and an empty body.
	Status
	// Lost closes the connection once the request was carried out, before
	// anything is answered.
	Lost
)

// Fault says which responses to spoil, and how.
type Fault struct {
	Kind FaultKind
	// Match is part of the request line, METHOD /account/path?query as sent; empty
	// matches every request.
	Match string
	// After is how many of the requests that match are left alone first, Times
	// how many are spoilt then; 0 means all.
	After, Times int
	// RetryAfter is the header of Throttle.
	RetryAfter string
	// Delay is the pause of Slow.
	Delay time.Duration
	// Status is what the kind Status answers.
	Status int
}

// Proxy stands between a client and the services of an account.
type Proxy struct {
	// Emulator is the account as seen through the proxy.
	Emulator

	mu       sync.Mutex
	faults   []Fault
	seen     []int // requests that matched each of them
	requests []string
	mutating []string
}

// NewProxy starts a proxy that ends with t.
func NewProxy(t testing.TB, e *Emulator) *Proxy {
	t.Helper()
	p := &Proxy{Emulator: *e}
	transport := &http.Transport{MaxIdleConnsPerHost: 32, DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	for _, address := range []*string{&p.BlobURL, &p.QueueURL, &p.TableURL} {
		upstream := strings.TrimSuffix(*address, "/"+e.Account)
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p.serve(w, r, upstream, transport)
		}))
		t.Cleanup(s.Close)
		*address = s.URL + "/" + e.Account
	}
	return p
}

// Inject adds faults. The first that matches a request spoils it.
func (p *Proxy) Inject(faults ...Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults = append(p.faults, faults...)
	p.seen = append(p.seen, make([]int, len(faults))...)
}

// Reset forgets faults and requests.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.faults, p.seen, p.requests, p.mutating = nil, nil, nil, nil
}

// Requests returns the lines of all requests so far.
func (p *Proxy) Requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.requests)
}

// Mutating returns the lines of those requests that could change storage.
func (p *Proxy) Mutating() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.mutating)
}

func (p *Proxy) fault(r *http.Request) Fault {
	line := r.Method + " " + r.RequestURI
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, line)
	if Mutates(r) {
		p.mutating = append(p.mutating, line)
	}
	for i, f := range p.faults {
		if !strings.Contains(line, f.Match) {
			continue
		}
		p.seen[i]++
		if p.seen[i] > f.After && (f.Times == 0 || p.seen[i] <= f.After+f.Times) {
			return f
		}
	}
	return Fault{}
}

func (p *Proxy) serve(w http.ResponseWriter, r *http.Request, upstream string, transport http.RoundTripper) {
	f := p.fault(r)
	switch f.Kind {
	case Throttle:
		w.Header().Set("Retry-After", f.RetryAfter)
		w.Header().Set("x-ms-error-code", "ServerBusy")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case Status:
		w.WriteHeader(f.Status)
		return
	case Reset:
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.Close()
		}
		return
	}
	req, err := http.NewRequestWithContext(r.Context(), r.Method, upstream+r.RequestURI, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	req.Header = r.Header.Clone()
	req.ContentLength = r.ContentLength
	resp, err := transport.RoundTrip(req)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	if f.Kind == Lost {
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_ = conn.Close()
		}
		return
	}
	for name, values := range resp.Header {
		if name != "Content-Length" && name != "Transfer-Encoding" && name != "Connection" {
			w.Header()[name] = values
		}
	}
	length, send := len(body), body
	switch f.Kind {
	case Drop:
		send = body[:len(body)/2]
	case LongLength:
		length += 100
	case ShortLength:
		length /= 2
	case Truncate:
		length /= 2
		send = body[:length]
	}
	if f.Kind == Drop || f.Kind == LongLength || f.Kind == ShortLength {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer conn.Close() //nolint:errcheck // this is the fault
		spoil(conn, resp, w.Header(), length, send)
		return
	}
	if r.Method != http.MethodHead {
		w.Header().Set("Content-Length", strconv.Itoa(length))
	} else if n := resp.Header.Get("Content-Length"); n != "" {
		w.Header().Set("Content-Length", n)
	}
	w.WriteHeader(resp.StatusCode)
	for f.Kind == Slow && len(send) > 0 {
		n := min(len(send), length/4+1)
		if _, err := w.Write(send[:n]); err != nil {
			return
		}
		send = send[n:]
		_ = http.NewResponseController(w).Flush()
		select {
		case <-r.Context().Done():
			return
		case <-time.After(f.Delay):
		}
	}
	_, _ = w.Write(send)
}

// spoil writes a response whose length is wrong.
func spoil(conn net.Conn, resp *http.Response, header http.Header, length int, body []byte) {
	var text bytes.Buffer
	fmt.Fprintf(&text, "HTTP/1.1 %s\r\n", resp.Status)
	_ = header.Write(&text)
	fmt.Fprintf(&text, "Content-Length: %d\r\nConnection: close\r\n\r\n", length)
	text.Write(body)
	_, _ = conn.Write(text.Bytes())
}
