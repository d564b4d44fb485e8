package server

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/manage"
)

// Defaults of [Options].
const (
	DefaultBasePath     = "/runtime/webhooks/durabletask"
	DefaultConnection   = "Storage"
	DefaultMaxBodyBytes = 16 << 20
)

// Hub is a hub that is served. Several may have the same name if their
// connections differ.
type Hub struct {
	// Connection is the name of the setting by which requests choose the account,
	// with or without the prefix AzureWebJobs; empty means [DefaultConnection].
	Connection string
	Reader     hub.Reader
	// Editor changes the hub; nil if nothing of it can be changed, as of a capture.
	Editor hub.Editor
}

// Options says what is served, and how. Hubs, Now and Wait are required.
type Options struct {
	// Hubs are all that requests can choose from. The first is the default.
	Hubs []Hub
	// PublicURL is the origin, such as https://hubs.example.org, of the URLs in
	// answers; empty means that of each request. BasePath is their path; empty
	// means [DefaultBasePath].
	PublicURL, BasePath string
	// Key must be given by every request if it is set, and is part of the URLs in
	// answers.
	Key Key
	// ReadOnly refuses what would change a hub.
	ReadOnly bool
	// Redact puts the length and the SHA-256 of a payload in its place.
	Redact bool
	// Functions and Entities are the names of the functions that can be started
	// and of the entities that can be signalled, both in any case; nil is any,
	// because storage does not tell what an app has.
	Functions, Entities []string
	// MaxBodyBytes is how long the body of a request may be; 0 means
	// [DefaultMaxBodyBytes].
	MaxBodyBytes int64
	// MaxPayloadBytes is the longest payload that is read; 0 means
	// [hub.DefaultPayloadBytes].
	MaxPayloadBytes int64
	// MaxRequests is how many requests are worked on at once; 0 means
	// [DefaultMaxRequests]. More of them wait, and too many are told to try again.
	MaxRequests int
	// Certificate makes [Server.Serve] speak TLS, of version 1.2 at least.
	Certificate *tls.Certificate
	// Grace is how long Serve waits for requests when it ends; 0 means
	// [DefaultGrace].
	Grace time.Duration
	// Now tells the time.
	Now func() time.Time
	// Random is where IDs come from, safe for concurrent use; nil means crypto/rand.
	Random io.Reader
	// Wait waits for a time, and returns the cause when ctx ends.
	Wait func(ctx context.Context, d time.Duration) error
	// Logger gets what goes wrong; nil discards.
	Logger *slog.Logger
	// RequestLog gets a record of each request, without its key and whatever may be
	// payload; nil discards.
	RequestLog *slog.Logger
}

func (o *Options) validate() error {
	switch {
	case len(o.Hubs) == 0:
		return errors.New("server: Options.Hubs is empty")
	case o.Now == nil:
		return errors.New("server: Options.Now is not set")
	case o.Wait == nil:
		return errors.New("server: Options.Wait is not set")
	case o.MaxBodyBytes < 0 || o.MaxPayloadBytes < 0 || o.MaxRequests < 0 || o.Grace < 0:
		return errors.New("server: a limit in Options is negative")
	}
	for i := range o.Hubs {
		if o.Hubs[i].Reader == nil {
			return errors.New("server: Options.Hubs has one without a Reader")
		}
	}
	if base := strings.Trim(o.BasePath, "/"); o.BasePath != "" && base == "" || strings.ContainsAny(base, "?#% ") {
		return fmt.Errorf("server: Options.BasePath: %q is not a path such as %s", o.BasePath, DefaultBasePath)
	}
	if o.PublicURL != "" {
		u, err := url.Parse(o.PublicURL)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return fmt.Errorf("server: Options.PublicURL: %q is not an origin such as https://hubs.example.org", o.PublicURL)
		}
	}
	return nil
}

// withDefaults returns o with nothing left to the zero value that has another
// meaning.
func (o Options) withDefaults() Options {
	if o.BasePath == "" {
		o.BasePath = DefaultBasePath
	}
	o.BasePath = "/" + strings.Trim(o.BasePath, "/")
	o.PublicURL = strings.TrimRight(o.PublicURL, "/")
	if o.MaxBodyBytes == 0 {
		o.MaxBodyBytes = DefaultMaxBodyBytes
	}
	if o.MaxPayloadBytes == 0 {
		o.MaxPayloadBytes = hub.DefaultPayloadBytes
	}
	if o.MaxRequests == 0 {
		o.MaxRequests = DefaultMaxRequests
	}
	if o.Grace == 0 {
		o.Grace = DefaultGrace
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Server answers requests about the hubs of its options. It may be used
// concurrently.
type Server struct {
	opts  Options
	hubs  []*served
	pages pageState
}

// served is a hub that is served.
type served struct {
	Hub
	info     hub.Info
	query    *manage.Query
	controls controls
	// noControl says why the hub could not be operated when it was looked at.
	noControl error
	// readOnly says that nothing of the hub is changed: it is a capture, or the
	// options say so.
	readOnly bool
	health   health
}

// name returns the name of the hub in the case in which it was configured.
func (h *served) name() string { return h.info.Names.TaskHub }

// capture reports whether the hub is one that was captured, and not one in use.
func (h *served) capture() bool { return h.info.Finished != 0 }

// New returns a Server. It looks at each hub once and returns [hub.ErrNotFound]
// if nothing of one exists.
func New(ctx context.Context, opts Options) (*Server, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	s := &Server{opts: opts.withDefaults()}
	for _, h := range s.opts.Hubs {
		if h.Connection == "" {
			h.Connection = DefaultConnection
		}
		added, err := s.serve(ctx, h)
		if err != nil {
			return nil, err
		}
		for _, other := range s.hubs {
			if strings.EqualFold(other.name(), added.name()) && settingName(other.Connection) == settingName(added.Connection) {
				return nil, fmt.Errorf("server: Options.Hubs: hub %q is there twice with connection %q", added.name(), added.Connection)
			}
		}
		s.hubs = append(s.hubs, added)
	}
	return s, nil
}

func (s *Server) serve(ctx context.Context, h Hub) (*served, error) {
	info, err := h.Reader.Info(ctx)
	if err != nil {
		return nil, err
	}
	query, err := manage.New(ctx, h.Reader, manage.Options{MaxPayloadBytes: s.opts.MaxPayloadBytes})
	if err != nil {
		return nil, err
	}
	out := &served{Hub: h, info: info, query: query, readOnly: h.Editor == nil || s.opts.ReadOnly}
	if info.PartitionCount < 1 {
		out.noControl = manage.ErrNoPartitions
	}
	return out, nil
}

// errNoHub is returned for a hub that is not served.
var errNoHub = errors.New("no such task hub is served")

// connectionError is a connection that no hub has.
type connectionError struct{ name string }

func (e *connectionError) Error() string {
	return "Unable to resolve the Azure Storage connection named '" + e.name + "'."
}

// hub returns the hub that a request names. Blank names are those of the default
// hub. It returns a *connectionError, or errNoHub.
func (s *Server) hub(name, connection string) (*served, error) {
	name, connection = strings.TrimSpace(name), strings.TrimSpace(connection)
	if name == "" {
		name = s.hubs[0].name()
	}
	wanted := connection
	if connection == "" {
		wanted = s.hubs[0].Connection
	}
	known := false
	for _, h := range s.hubs {
		if settingName(h.Connection) != settingName(wanted) {
			continue
		}
		if known = true; strings.EqualFold(h.name(), name) {
			return h, nil
		}
	}
	if !known {
		return nil, &connectionError{connection}
	}
	return nil, errNoHub
}

// settingName returns what is the same for all names by which the framework finds
// one connection setting.
//
// Source: Functions extension 2.13.7, WebJobsConnectionInfoProvider.cs:28-59.
func settingName(name string) string {
	name = strings.ToLower(name)
	name = strings.TrimPrefix(name, "connectionstrings:")
	return strings.TrimPrefix(name, "azurewebjobs")
}

// Handler returns the handler of all requests: the API under its three base
// paths, /healthz, and the page anywhere else. It is for a server of the caller;
// [Server.Serve] is one.
func (s *Server) Handler() http.Handler { return s.guard(http.HandlerFunc(s.route)) }

// bases are the paths under which the framework serves the API: of version 1, of
// version 2, and for clients in other languages on the same machine.
//
// Source: Functions extension 2.13.7, HttpApiHandler.cs:282-298,
// LocalHttpListener.cs:23-29.
var bases = [...]string{"/admin/extensions/durabletaskextension", DefaultBasePath, rpcBase}

// rpcBase is the last of them. The clients that use it know no key.
const rpcBase = "/durabletask"

func (s *Server) route(w http.ResponseWriter, r *http.Request) {
	path := r.URL.EscapedPath()
	if rest, ok := s.underBase(path); ok {
		s.api(w, r, rest)
		return
	}
	s.page(w, r)
}

// underBase returns what follows a base path.
func (s *Server) underBase(path string) (rest string, ok bool) {
	if rest, ok = cutBase(path, s.opts.BasePath); ok {
		return rest, true
	}
	for _, base := range bases {
		if rest, ok = cutBase(path, base); ok {
			return rest, true
		}
	}
	return "", false
}

// cutBase returns what follows a base path in a path; letters in any case.
func cutBase(path, base string) (rest string, ok bool) {
	if len(path) < len(base) || !strings.EqualFold(path[:len(base)], base) {
		return "", false
	}
	rest = path[len(base):]
	return rest, rest == "" || rest[0] == '/'
}
