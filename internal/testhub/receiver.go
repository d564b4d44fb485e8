package testhub

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/schema"
)

// Receiver is a [hub.Receiver] and [hub.Reader] over plain data whose queues behave
// as those of the service: a peek shows the first 32 messages that are visible, and
// messages that are received are hidden until they are made visible or their time
// comes, by which they are in order.
type Receiver struct {
	*Memory
	// Before is called before each request of a reading, receive or show, with the
	// queue; its error is the answer. Nil does nothing.
	Before func(request, queue string) error
	// Killed leaves messages hidden at the end of a stream, as if the program had
	// been killed.
	Killed bool

	mu     sync.Mutex
	now    time.Time
	queues map[string][]*queuedMessage
}

type queuedMessage struct {
	schema.QueueMessage
	visible  time.Time
	receipts int // that were given out
}

var (
	_ hub.Reader   = (*Receiver)(nil)
	_ hub.Receiver = (*Receiver)(nil)
)

// NewReceiver returns a Receiver of c, whose messages are visible. Those that c
// counts but does not hold are hidden for a week. The clock stands still.
func NewReceiver(c hubtest.Content, now time.Time) *Receiver {
	r := &Receiver{Memory: NewMemory(c), now: now, queues: make(map[string][]*queuedMessage)}
	for _, q := range r.Content.Queues {
		all := make([]*queuedMessage, 0, len(q.Messages))
		for _, m := range q.Messages {
			m.Queue, m.VisibleAt = q.Name, 0
			all = append(all, &queuedMessage{QueueMessage: m, visible: now})
		}
		for i := int64(len(all)); i < q.ApproximateCount; i++ {
			m := schema.QueueMessage{Queue: q.Name, ID: fmt.Sprintf("hidden-%d", i), Text: "invisible"}
			all = append(all, &queuedMessage{QueueMessage: m, visible: now.Add(7 * 24 * time.Hour)})
		}
		r.queues[q.Name] = all
	}
	return r
}

// Advance lets time go by.
func (r *Receiver) Advance(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(d)
}

// visible returns the first n messages that can be received.
func (r *Receiver) visible(queue string, n int) []*queuedMessage {
	var all []*queuedMessage
	for _, m := range r.queues[queue] {
		if !m.visible.After(r.now) {
			all = append(all, m)
		}
	}
	slices.SortStableFunc(all, func(a, b *queuedMessage) int { return a.visible.Compare(b.visible) })
	return all[:min(n, len(all))]
}

// Messages implements [hub.Reader] by a peek.
func (r *Receiver) Messages(ctx context.Context, queue string) iter.Seq2[schema.QueueMessage, error] {
	return func(yield func(schema.QueueMessage, error) bool) {
		r.mu.Lock()
		peeked := r.visible(queue, 32)
		messages := make([]schema.QueueMessage, len(peeked))
		for i, m := range peeked {
			messages[i] = m.QueueMessage
		}
		r.mu.Unlock()
		stream(ctx, messages, func(m schema.QueueMessage) (schema.QueueMessage, bool) { return m, true })(yield)
	}
}

// request calls do if Before allows it.
func (r *Receiver) request(what, queue string, do func()) error {
	if r.Before != nil {
		if err := r.Before(what, queue); err != nil {
			return err
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	do()
	return nil
}

// ReceiveMessages implements [hub.Receiver].
func (r *Receiver) ReceiveMessages(ctx context.Context, queue string, hidden time.Duration) iter.Seq2[schema.QueueMessage, error] {
	return func(yield func(schema.QueueMessage, error) bool) {
		receipts := make(map[*queuedMessage]int)
		var held []*queuedMessage
		show := func() error {
			var failed error
			for _, m := range held {
				err := r.request("show", queue, func() {
					if m.receipts == receipts[m] && !r.Killed {
						m.visible = r.now
					}
				})
				if err != nil {
					failed = err
				}
			}
			held = nil
			return failed
		}
		defer func() { _ = show() }()
		for {
			var batch []schema.QueueMessage
			err := context.Cause(ctx)
			if err == nil {
				err = r.request("receive", queue, func() {
					for _, m := range r.visible(queue, 32) {
						if _, known := receipts[m]; !known {
							held = append(held, m)
							batch = append(batch, m.QueueMessage)
						}
						m.DequeueCount++
						m.receipts++
						receipts[m], m.visible = m.receipts, r.now.Add(hidden)
					}
				})
			}
			for _, m := range batch {
				if !yield(m, nil) {
					return
				}
			}
			if err == nil && len(batch) > 0 {
				continue
			}
			if failed := show(); err == nil {
				err = failed
			}
			if err != nil {
				yield(schema.QueueMessage{}, err)
			}
			return
		}
	}
}
