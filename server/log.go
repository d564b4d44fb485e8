package server

import (
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

const (
	maxLoggedPath       = 512
	maxLoggedParameters = 20
	maxLoggedValue      = 100
)

// loggedParameters are those whose values say what was asked for. Reasons,
// operations and everything that the API does not have may be payload, and code
// is the key: of those only the name is logged.
var loggedParameters = []string{
	"connection", "createdtimefrom", "createdtimeto", "fetchstate", "instanceidprefix", "lastoperationtimefrom", "lastoperationtimeto",
	"pollinginterval", "restartwithnewinstanceid", "returninternalservererroronfailure", "runtimestatus", "showhistory",
	"showhistoryoutput", "showinput", "taskhub", "timeout", "top",
}

// logRequest writes a line about a request that was answered.
func logRequest(log *slog.Logger, r *http.Request, a *response, took time.Duration) {
	level := slog.LevelInfo
	if a.status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	attrs := []slog.Attr{slog.String("method", cut(r.Method, maxLoggedValue)), slog.String("path", loggedPath(r.URL))}
	if q := loggedQuery(r.URL.RawQuery); q != "" {
		attrs = append(attrs, slog.String("query", q))
	}
	attrs = append(attrs,
		slog.Int("status", a.status), slog.Int64("bytes", a.bytes),
		slog.Float64("duration_ms", float64(took.Microseconds())/1000), slog.String("remote", r.RemoteAddr))
	if a.aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	log.LogAttrs(r.Context(), level, "request", attrs...)
}

// loggedPath returns the path of a URL, still escaped, so that it is one word.
func loggedPath(u *url.URL) string { return cut(u.EscapedPath(), maxLoggedPath) }

// loggedQuery returns a query without the values that are not to be logged.
func loggedQuery(query string) string {
	var b strings.Builder
	for i, pair := range strings.SplitN(query, "&", maxLoggedParameters+1) {
		if i > 0 {
			b.WriteByte('&')
		}
		if i == maxLoggedParameters {
			b.WriteString("…")
			break
		}
		name, value, given := strings.Cut(pair, "=")
		if !isPlain(name) {
			b.WriteString("…")
			continue
		}
		b.WriteString(name)
		switch {
		case !given:
		case slices.Contains(loggedParameters, strings.ToLower(name)) && isPlain(value):
			b.WriteString("=" + value)
		default:
			b.WriteString("=…")
		}
	}
	return b.String()
}

// isPlain reports whether a part of a query is as short and simple as what the API
// takes. A key or a connection string that somebody has put in the wrong place is
// not.
func isPlain(s string) bool {
	text, err := url.QueryUnescape(s)
	if err != nil || len(s) > maxLoggedValue {
		return false
	}
	for _, c := range []byte(text) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte("-_.:,+ ", c) >= 0:
		default:
			return false
		}
	}
	return true
}

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
