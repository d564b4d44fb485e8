package live

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
)

// call is one operation of the SDK, which may take several requests. It travels
// in the context to the policy that sees each request.
type call struct {
	sent  *http.Request // the latest
	tries int
	// unsure says that a try may have been carried out without an answer that says
	// so.
	unsure bool
	// bare sends the request without the body that the SDK makes.
	bare bool

	// If takesPage is set, the body of a successful response is put into page
	// and an empty page left to the SDK, which would unmarshal it into maps and
	// marshal each entity again: that costs several times what the transfer does.
	takesPage bool
	page      []byte
	sizeHint  int // how long a page probably is

	// body is what is sent; nil if only the SDK has it. With bodyType it takes the
	// place of what the SDK makes.
	body     []byte
	bodyType string
}

type callKey struct{}

// in returns the context with which to make the call.
func (c *call) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, callKey{}, c)
}

// maxPageBytes bounds a page of rows. The service's own bound is 1,000 rows of
// up to 1 MiB.
const maxPageBytes = 8 << 20

// pageTooLarge is final: the same request would be answered alike.
type pageTooLarge struct{}

func (pageTooLarge) Error() string { return fmt.Sprintf("a page of more than %d bytes", maxPageBytes) }

// NonRetriable tells the SDK so.
func (pageTooLarge) NonRetriable() {}

// tryPolicy sees each request just before it is sent.
type tryPolicy struct {
	answered atomic.Bool // the account has answered at least once
	log      *slog.Logger
}

// Do implements [policy.Policy].
func (p *tryPolicy) Do(req *policy.Request) (*http.Response, error) {
	raw := req.Raw()
	// Payloads are stored as gzip, and we want what is stored: without this, the
	// transport would ask for gzip on its own and unpack what it gets.
	raw.Header.Set("Accept-Encoding", "identity")
	c, _ := raw.Context().Value(callKey{}).(*call)
	if c == nil {
		c = &call{}
	}
	c.sent = raw
	c.tries++
	if c.bare {
		raw.Body, raw.ContentLength = nil, 0
		raw.Header.Del("Content-Type")
		raw.Header.Del("Content-Length")
	}
	if err := c.ownBody(raw); err != nil {
		return nil, err
	}
	if c.takesPage {
		runtime.SkipBodyDownload(req)
	}
	resp, err := req.Next()
	if err == nil {
		p.answered.Store(true)
	}
	busy := err == nil && (resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable)
	c.unsure = c.unsure || err != nil || !busy && slices.Contains(retriedStatus, resp.StatusCode)
	if err == nil && c.takesPage && resp.StatusCode == http.StatusOK {
		err = c.take(resp)
	}
	switch {
	case err != nil && raw.Context().Err() == nil:
		p.log.Warn("request failed", "method", raw.Method, "url", plainURL(raw.URL), "try", c.tries, "error", scrub(err.Error()))
	case err == nil && slices.Contains(retriedStatus, resp.StatusCode):
		p.log.Warn("service is busy", "method", raw.Method, "url", plainURL(raw.URL), "try", c.tries,
			"status", resp.StatusCode, "retry_after", resp.Header.Get("Retry-After"))
	}
	return resp, err
}

// ownBody gives a try a reader of its own. A service that is busy answers before it
// has read everything, and the transport may go on reading while the SDK rewinds its
// reader for the next try, which then sends less than it announces.
func (c *call) ownBody(raw *http.Request) error {
	const small = 8 << 20
	data := c.body
	switch {
	case raw.Body == nil || raw.Body == http.NoBody || data == nil && raw.ContentLength > small:
		return nil
	case data == nil:
		var err error
		if data, err = io.ReadAll(raw.Body); err != nil {
			return err
		}
	}
	if raw.Header.Get("Content-Type") == "application/json" { // a row
		data = escapeNonASCII(data)
		raw.ContentLength = int64(len(data))
	}
	raw.Body = io.NopCloser(bytes.NewReader(data))
	return nil
}

// escapeNonASCII returns JSON text in ASCII, which is the same to the service. The
// emulator decodes a row piece by piece as it arrives, and of a character that comes
// in two pieces it makes others.
func escapeNonASCII(text []byte) []byte {
	if !bytes.ContainsFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) {
		return text
	}
	escaped := make([]byte, 0, len(text)+len(text)/2)
	for _, r := range string(text) {
		switch {
		case r < utf8.RuneSelf:
			escaped = append(escaped, byte(r))
		case r < 1<<16:
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			escaped = fmt.Appendf(escaped, `\u%04x\u%04x`, high, low)
		}
	}
	return escaped
}

const emptyPage = `{"value":[]}`

// take moves the body of resp into c.page. The error of a body that is not whole
// makes the SDK repeat the request.
func (c *call) take(resp *http.Response) error {
	defer resp.Body.Close() //nolint:errcheck // only read
	size := max(c.sizeHint+c.sizeHint/8, 64<<10)
	if resp.ContentLength >= 0 {
		size = int(min(resp.ContentLength, maxPageBytes)) + 1 // one more, to see the end without growing
	}
	page := make([]byte, 0, min(size, maxPageBytes+1))
	for {
		n, err := resp.Body.Read(page[len(page):cap(page)])
		page = page[:len(page)+n]
		if errors.Is(err, io.EOF) {
			break
		}
		switch {
		case err != nil:
			return fmt.Errorf("read page: %w", err)
		case len(page) > maxPageBytes:
			return pageTooLarge{}
		case len(page) == cap(page):
			page = slices.Grow(page, len(page))
		}
	}
	// The decoder finds anything that is wrong with a page, but only here can it
	// be asked for again.
	if end := strings.TrimRight(string(page[max(0, len(page)-16):]), " \t\r\n"); !strings.HasSuffix(end, "}") {
		return fmt.Errorf("read page: %w after %d bytes", io.ErrUnexpectedEOF, len(page))
	}
	c.page = page
	resp.Body = io.NopCloser(strings.NewReader(emptyPage))
	resp.ContentLength = int64(len(emptyPage))
	return nil
}

// datePolicy makes requests carry the time of Options.Now instead of that of
// the machine.
type datePolicy struct{ now func() time.Time }

// Do implements [policy.Policy].
func (p datePolicy) Do(req *policy.Request) (*http.Response, error) {
	req.Raw().Header.Set("x-ms-date", p.now().UTC().Format(http.TimeFormat))
	return req.Next()
}

var retriedStatus = []int{
	http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
	http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
}

// again reports whether to repeat a request. Lost connections are repeated, but
// not what waiting will hardly cure: a host name that nobody knows, a bad
// certificate, or an account that has not answered at all so far.
func (p *tryPolicy) again(resp *http.Response, err error) bool {
	if err == nil {
		return slices.Contains(retriedStatus, resp.StatusCode)
	}
	var dns *net.DNSError
	var op *net.OpError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound, errors.As(err, &certificate):
		return false
	case errors.As(err, &op) && op.Op == "dial":
		return p.answered.Load()
	}
	return true
}

// transporter sends requests without following redirects: a storage service has
// none, and a signature must not go elsewhere.
type transporter struct{ http.RoundTripper }

// Do implements [policy.Transporter].
func (t transporter) Do(req *http.Request) (*http.Response, error) { return t.RoundTrip(req) }
