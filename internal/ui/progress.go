package ui

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// Step says how far work is.
type Step struct {
	Name  string // what is being worked on; a new name begins a new measurement
	Unit  string // what is counted; empty means rows, which have a size
	Done  int64
	Total int64 // -1 if that is not known
	Bytes int64
}

// Progress shows the latest [Step] on one line of a terminal, which it rewrites.
// Its methods may be called from any goroutine.
type Progress struct {
	w     io.Writer
	width func() int
	now   func() time.Time

	mu    sync.Mutex
	step  Step
	since time.Time // when the step began
	last  time.Time // when the latest Update or the first Start came
	shown int       // columns of the line on the terminal
	stop  chan struct{}
	ended chan struct{}
}

// NewProgress returns a line on the terminal w that is width() columns wide.
// Nothing is shown before Start.
func NewProgress(w io.Writer, width func() int, now func() time.Time) *Progress {
	return &Progress{w: w, width: width, now: now}
}

// redraw is how often the line is written.
const redraw = 200 * time.Millisecond

// Start shows the line until Stop; after that it may be started again.
func (p *Progress) Start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stop != nil {
		return
	}
	if p.last.IsZero() {
		p.last = p.now()
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	p.stop, p.ended = stop, ended
	go func() {
		defer close(ended)
		t := time.NewTicker(redraw)
		defer t.Stop()
		for {
			select {
			case <-stop:
				return
			case <-t.C:
				p.mu.Lock()
				p.show(p.line())
				p.mu.Unlock()
			}
		}
	}()
}

// Stop takes the line off the terminal, so that other text can be written.
func (p *Progress) Stop() {
	p.mu.Lock()
	stop, ended := p.stop, p.ended
	p.stop = nil
	p.mu.Unlock()
	if stop == nil {
		return
	}
	close(stop)
	<-ended
	p.mu.Lock()
	defer p.mu.Unlock()
	p.show("")
}

// Update replaces the step. The line follows at its own pace.
func (p *Progress) Update(s Step) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.now()
	if p.since.IsZero() || s.Name != p.step.Name {
		// It began when the one before it ended: its first Update already
		// tells of rows that took their time.
		if p.since = p.last; p.since.IsZero() {
			p.since = now
		}
	}
	p.step, p.last = s, now
}

// show replaces the line on the terminal. Errors of a terminal are of no
// consequence to the work.
func (p *Progress) show(line string) {
	if line == "" && p.shown == 0 {
		return
	}
	line = Cut(line, p.width()-1) // a full line would wrap
	n := Width(line)
	blank := strings.Repeat(" ", max(p.shown-n, 0))
	p.shown = n
	if line == "" {
		_, _ = fmt.Fprintf(p.w, "\r%s\r", blank)
		return
	}
	_, _ = fmt.Fprintf(p.w, "\r%s%s", line, blank)
}

func (p *Progress) line() string {
	s := p.step
	if p.since.IsZero() {
		return ""
	}
	took := p.now().Sub(p.since)
	part := []string{Escape(s.Name)}
	count := Count(s.Done)
	if s.Total >= 0 {
		count += " of " + Count(s.Total)
	}
	unit := s.Unit
	if unit == "" {
		unit = "rows"
	}
	part = append(part, count+" "+unit)
	if s.Unit == "" {
		part = append(part, Bytes(s.Bytes))
	}
	if took >= time.Second && s.Done > 0 {
		rate := float64(s.Done) / took.Seconds()
		part = append(part, Count(int64(rate))+" "+unit+"/s")
		if s.Total > s.Done && rate > 0 {
			left := time.Duration(float64(s.Total-s.Done) / rate * float64(time.Second))
			part = append(part, Duration(left)+" left")
		}
	}
	return strings.Join(part, "  ")
}
