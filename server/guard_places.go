package server

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// DefaultMaxRequests is how many requests are worked on at once.
	DefaultMaxRequests = 64

	// waitingPerPlace is how many requests may wait for each that is worked on, and
	// maxQueueing for how long. retryAfterSeconds is what those that do not get a
	// place are told.
	waitingPerPlace   = 4
	maxQueueing       = 10 * time.Second
	retryAfterSeconds = 2

	// largeTime is how long a large answer waits until another one is sent.
	largeTime = time.Second
)

// errBusy is returned when there is no place for a request.
var errBusy = errors.New("server: too many requests at once")

// places bounds how many requests are worked on at once. A request does not need
// its place while it waits for an instance. One with a large answer has another
// place, of which there are as many, while it is sent: however slow the clients of
// such answers are, there is room for others.
type places struct {
	free    chan struct{} // holds one for each request that has a place
	large   chan struct{} // the same for large answers
	waiting atomic.Int64
}

func newPlaces(most int) *places {
	return &places{free: make(chan struct{}, most), large: make(chan struct{}, most)}
}

// place is what one request has.
type place struct {
	of    *places
	limit *time.Timer // until the answer has to begin

	mu      sync.Mutex
	has     bool
	isLarge bool
}

// placeKey finds the *place in the context of a request.
type placeKey struct{}

// enter waits for a place. It returns errBusy if too many others wait as well, or
// if it takes too long, and the cause when ctx ends.
func (p *places) enter(ctx context.Context) (*place, error) {
	select {
	case p.free <- struct{}{}:
		return &place{of: p, has: true}, nil
	default:
	}
	if p.waiting.Add(1) > int64(waitingPerPlace*cap(p.free)) {
		p.waiting.Add(-1)
		return nil, errBusy
	}
	defer p.waiting.Add(-1)
	timer := time.NewTimer(maxQueueing)
	defer timer.Stop()
	select {
	case p.free <- struct{}{}:
		return &place{of: p, has: true}, nil
	case <-timer.C:
		return nil, errBusy
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// leave gives up what the request has.
func (p *place) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.giveUp()
	if p.isLarge {
		p.isLarge = false
		<-p.of.large
	}
}

func (p *place) giveUp() {
	if p.has {
		p.has = false
		<-p.of.free
	}
}

// large takes another place for the request in exchange for the one that it has.
// It reports whether there is one.
func (p *place) large() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isLarge {
		return true
	}
	timer := time.NewTimer(largeTime)
	defer timer.Stop()
	select {
	case p.of.large <- struct{}{}:
	case <-timer.C:
		return false
	}
	p.isLarge = true
	p.giveUp()
	return true
}

// waitAside calls wait for a request that has nothing to do until wait returns: it
// has no place meanwhile, and the time does not count. Outside of a request it
// just waits.
func waitAside(ctx context.Context, wait func() error) error {
	p, ok := ctx.Value(placeKey{}).(*place)
	if !ok {
		return wait()
	}
	p.limit.Stop()
	p.mu.Lock()
	had := p.has
	p.giveUp()
	p.mu.Unlock()
	if err := wait(); err != nil || !had {
		return err
	}
	select {
	case p.of.free <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	p.mu.Lock()
	p.has = true
	p.mu.Unlock()
	p.limit.Reset(maxAnswerDelay)
	return nil
}
