package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/taskhub-tools/taskhub/hub"
)

// RequestError says which request failed and why. It wraps the condition that
// the answer stands for (hub.ErrNotFound, hub.ErrUnauthorized, hub.ErrInUse,
// hub.ErrTooLarge), where there is one, and the cause if nothing was answered,
// such as a *net.DNSError.
type RequestError struct {
	// Method and URL are those of the request; the URL has no query but for
	// comp and restype, which tell operations apart. Both are empty if none was
	// sent.
	Method, URL string
	// Tries counts how often it was sent.
	Tries int
	// Status and Code are what the service answered, such as 403 and
	// AuthorizationFailure; zero and empty if it did not.
	Status int
	Code   string
	// RequestID is the service's name for the last try, for its support.
	RequestID string

	kind, cause error
	brokenOff   bool // the answer did not come whole
}

// Error is one line without secrets: what the service writes beside the code is
// left out, because it quotes signatures.
func (e *RequestError) Error() string {
	var b strings.Builder
	if e.Method != "" {
		fmt.Fprintf(&b, "%s %s", e.Method, e.URL)
		if e.Tries > 1 {
			fmt.Fprintf(&b, " (%d tries)", e.Tries)
		}
		b.WriteString(": ")
	}
	if e.kind != nil {
		b.WriteString(e.kind.Error())
	}
	var details []string
	if e.Status != 0 {
		details = append(details, strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, e.Code)))
		if e.RequestID != "" {
			details = append(details, "request "+e.RequestID)
		}
	}
	if e.cause != nil {
		details = append(details, e.cause.Error())
	}
	text := strings.Join(details, ", ")
	if e.kind != nil && text != "" {
		text = " (" + text + ")"
	}
	b.WriteString(text)
	return b.String()
}

// Unwrap returns the condition and the cause.
func (e *RequestError) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.kind, e.cause} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// fail turns an error of the SDK into the one that callers get: the cause of ctx
// if that has ended, or a *RequestError. It is the only place that does so.
func (c *call) fail(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var known *RequestError
	if errors.As(err, &known) {
		return err
	}
	e := &RequestError{Tries: c.tries}
	if c.sent != nil {
		e.Method, e.URL = c.sent.Method, plainURL(c.sent.URL)
	}
	var answered *azcore.ResponseError
	var tooLarge pageTooLarge
	var identity *azidentity.AuthenticationFailedError
	switch {
	case errors.As(err, &answered):
		// Not kept as the cause: its text is the answer, which quotes signatures.
		e.Status, e.Code = answered.StatusCode, code(answered.ErrorCode)
		if answered.RawResponse != nil {
			e.RequestID = code(answered.RawResponse.Header.Get("x-ms-request-id"))
		}
		e.kind = condition(e.Status, e.Code)
	case errors.As(err, &tooLarge):
		e.kind, e.cause = hub.ErrTooLarge, tooLarge
	case errors.As(err, &identity):
		// Its text quotes the answer, too, but says what to do about it.
		e.kind, e.cause = hub.ErrUnauthorized, errors.New(scrub(identity.Error()))
	default:
		e.brokenOff = brokenOff(err)
		var unavailable interface{ NonRetriable() }
		if c.tries == 0 && errors.As(err, &unavailable) {
			e.kind = hub.ErrUnauthorized // no identity to get a token for
		}
		e.cause = scrubbed(err)
	}
	return e
}

// brokenOff reports whether the connection broke when a part of the answer had come.
// If it breaks before, the error names the URL.
func brokenOff(err error) bool {
	var before *url.Error
	var connection *net.OpError
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.As(err, &connection) && !errors.As(err, &before)
}

// condition returns what a status and an error code of the service stand for. A
// 404 without a code comes from something else, such as a proxy, and says
// nothing of the hub.
//
// Source: https://learn.microsoft.com/rest/api/storageservices/common-rest-api-error-codes
// and the lists for each service that it refers to.
func condition(status int, code string) error {
	switch {
	case status == 404 && code != "", strings.HasSuffix(code, "BeingDeleted"):
		return hub.ErrNotFound
	case status == 401 || status == 403:
		return hub.ErrUnauthorized
	case strings.HasPrefix(code, "Lease"):
		return hub.ErrInUse
	}
	return nil
}

// isAbsent reports whether err is the service's word that a table, queue,
// container or blob does not exist.
func isAbsent(err error) bool {
	var e *RequestError
	if !errors.As(err, &e) || !errors.Is(err, hub.ErrNotFound) {
		return false
	}
	return strings.HasSuffix(e.Code, "NotFound") || strings.HasSuffix(e.Code, "BeingDeleted")
}

// plainURL returns the address of a request without what may be secret in it.
func plainURL(u *url.URL) string {
	query := u.Query()
	kept := make(url.Values)
	for _, name := range []string{"comp", "restype", "peekonly"} {
		if query.Has(name) {
			kept.Set(name, query.Get(name))
		}
	}
	plain := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath, RawQuery: kept.Encode()}
	return plain.String()
}

var plainCode = regexp.MustCompile(`^[\w.-]{1,100}$`)

// code returns s if it looks like an error code or an ID.
func code(s string) string {
	if plainCode.MatchString(s) {
		return s
	}
	return ""
}

var (
	secretValues  = regexp.MustCompile(`(?i)\b(sig|signature|accountkey|client_secret|client_assertion|access_token)("?\s*[=:]\s*"?)[^\s&;"']+`)
	secretHeaders = regexp.MustCompile(`(?i)\b(sharedkey|sharedkeylite|bearer)\s+[^\s"'\]]+`)
)

// scrub removes what may be a secret from the text of an error, and line breaks.
func scrub(text string) string {
	text = secretValues.ReplaceAllString(text, "${1}${2}"+redacted)
	text = secretHeaders.ReplaceAllString(text, "${1} "+redacted)
	return strings.Join(strings.Fields(text), " ")
}

// scrubbed returns err if its text has no secret, or else its scrubbed text
// together with the causes that callers look for.
func scrubbed(err error) error {
	var sent *url.Error
	if errors.As(err, &sent) && !errors.Is(sent.Err, err) {
		err = sent.Err // the text around it is the URL with its query
	}
	text := err.Error()
	if scrub(text) == text {
		return err
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", scrub(text), context.DeadlineExceeded)
	}
	return errors.New(scrub(text))
}
