package main

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// gate lets so many instances be worked on at once. It is the handler of a log:
// when the storage client logs that the service is busy, it lets half as many in,
// at most once a second, and then one more at a time. To repeat requests is the
// client's affair.
type gate struct {
	mu      sync.Mutex
	most    int // at once, by the options
	limit   int // now
	inside  int
	calm    int           // instances since the service was last busy
	halved  time.Time     // when the limit was last lowered
	changed chan struct{} // closed when somebody may come in
}

func newGate(most int) *gate { return &gate{most: most, limit: most, changed: make(chan struct{})} }

// enter waits until there is room; it returns the cause when ctx ends first.
func (g *gate) enter(ctx context.Context) error {
	for {
		g.mu.Lock()
		if ctx.Err() != nil {
			g.mu.Unlock()
			return context.Cause(ctx)
		}
		if g.inside < g.limit {
			g.inside++
			g.mu.Unlock()
			return nil
		}
		changed := g.changed
		g.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
}

func (g *gate) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside--
	if g.calm++; g.calm >= 4*g.limit && g.limit < g.most {
		g.limit, g.calm = g.limit+1, 0
	}
	close(g.changed)
	g.changed = make(chan struct{})
}

// busy lowers the limit.
func (g *gate) busy(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.calm = 0
	if now.Sub(g.halved) < time.Second {
		return
	}
	g.halved, g.limit = now, max(1, g.limit/2)
}

// Enabled implements [slog.Handler].
func (g *gate) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelWarn }

// Handle implements [slog.Handler].
func (g *gate) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "status" && (a.Value.String() == "503" || a.Value.String() == "429") {
			g.busy(r.Time)
		}
		return true
	})
	return nil
}

// WithAttrs implements [slog.Handler].
func (g *gate) WithAttrs([]slog.Attr) slog.Handler { return g }

// WithGroup implements [slog.Handler].
func (g *gate) WithGroup(string) slog.Handler { return g }
