package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	// A client has headerTime to send the header of a request, which may be
	// maxHeaderBytes long, and may then leave a connection unused for idleTime.
	headerTime     = 10 * time.Second
	idleTime       = 2 * time.Minute
	maxHeaderBytes = 32 << 10

	// minConnections is how many connections there may be at least.
	minConnections = 1024

	// DefaultGrace is for how long requests are finished when the server ends.
	DefaultGrace = 8 * time.Second
)

// ErrNoKey is returned when others than this machine could connect, and no key
// would keep them out.
var ErrNoKey = errors.New("a server that other machines can reach needs a key")

// IsLocal reports whether only this machine can connect to an address that a
// server listens on.
func IsLocal(a net.Addr) bool {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.IP.IsLoopback()
	case *net.UnixAddr:
		return true
	}
	return false
}

// Serve answers the requests that come in over l, until ctx ends, and closes l. It
// then waits for the requests that are worked on, Options.Grace at most, and
// returns nil; a request that is not finished by then is cut off, which the log
// tells. It returns [ErrNoKey], or the error with which l has failed.
//
// With Options.Certificate it speaks TLS. It speaks HTTP/1.1: nothing that it
// answers gains from a later version.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	return s.serveWith(ctx, l, http.HandlerFunc(s.route))
}

func (s *Server) serveWith(ctx context.Context, l net.Listener, next http.Handler) error {
	local := IsLocal(l.Addr())
	if !local && s.opts.Key == "" {
		return errors.Join(ErrNoKey, l.Close())
	}
	// What is worked on goes on when ctx ends.
	base, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(nil)
	// Each request holds working while it is worked on. A WaitGroup would not do: a
	// connection may come up with another one when it is about to be closed.
	var working sync.RWMutex
	over := false
	guarded := s.guardFor(next, local)
	open := newConnections(l, max(minConnections, 2*(1+waitingPerPlace)*s.opts.MaxRequests))
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	srv := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			working.RLock()
			defer working.RUnlock()
			if over {
				panic(http.ErrAbortHandler) // closes the connection
			}
			guarded.ServeHTTP(w, r)
		}),
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		MaxHeaderBytes:    maxHeaderBytes,
		Protocols:         protocols,
		ConnState:         open.note,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(s.opts.Logger.Handler(), slog.LevelWarn),
	}
	var listener net.Listener = open
	if s.opts.Certificate != nil {
		listener = tls.NewListener(open, &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*s.opts.Certificate}})
	}
	failed := make(chan error, 1)
	go func() { failed <- srv.Serve(listener) }()

	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.Grace)
	defer cancel()
	if late := srv.Shutdown(grace); late != nil {
		s.opts.Logger.LogAttrs(base, slog.LevelWarn, "requests were cut off that had not ended", slog.Duration("after", s.opts.Grace))
		cut(errors.New("server: the server has ended"))
		_ = srv.Close() // closes what Shutdown has left
	}
	working.Lock()
	over = true
	working.Unlock()
	if err == nil {
		err = <-failed
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil // it has ended as it was told to
	}
	return err
}
