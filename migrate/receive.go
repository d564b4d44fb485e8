package migrate

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// PhaseReceive is the reading of whole queues; see Options.Receive.
const PhaseReceive Phase = "receive"

// ReceiveHidden is the time after which the service makes messages visible again
// by itself if [Run] is killed while it receives them. A run with the same journal
// waits for that; any other that begins sooner takes them for hidden.
const ReceiveHidden = time.Minute

// receiveNoted is how often a journal is told that messages are being received.
const receiveNoted = 10 * time.Second

// maxPeek is as many messages as the service shows without receiving them.
//
// Source: https://learn.microsoft.com/rest/api/storageservices/peek-messages.
const maxPeek = 32

// QueueCount says how many messages a queue of the source holds, and how many of
// them were seen.
type QueueCount struct {
	Queue string
	// Messages is the service's count, invisible ones included.
	Messages int64
	Seen     int64
	// Receivable is how many messages Options.Receive would show beyond those
	// seen, at most: hidden ones are among them. It is 0 if a peek has shown fewer
	// than it can, which are all, and for a capture.
	Receivable int64
	// Received says that the queue was read whole by Options.Receive.
	Received bool
}

// Unseen returns how many messages of control queues may be visible although they
// were not seen, at most, if they may be events or signals: the tables do not tell
// of all that was not seen. A work item is never lost with its message.
func (p *HubPlan) Unseen() int64 {
	n := int64(0)
	for _, q := range p.Queues {
		if q.Queue != p.From.WorkItemQueue() && !q.Received && q.Seen == maxPeek {
			n += max(0, q.Messages-q.Seen)
		}
	}
	if p.Hidden >= 0 {
		n = min(n, p.Hidden)
	}
	return n
}

// Queues counts what the queues hold.
func (c *counting) Queues(ctx context.Context) ([]hub.Queue, error) {
	queues, err := c.Reader.Queues(ctx)
	c.m.plan.Queues = nil
	for i := range queues {
		n := QueueCount{Queue: queues[i].Name, Messages: queues[i].ApproximateCount}
		if f, ok := c.m.from.(*frozen); ok {
			n.Receivable, n.Received = f.beyond(&queues[i]), f.received[n.Queue]
		}
		c.m.plan.Queues = append(c.m.plan.Queues, n)
	}
	return queues, err
}

// Messages counts what is seen of them.
func (c *counting) Messages(ctx context.Context, queue string) iter.Seq2[schema.QueueMessage, error] {
	i := slices.IndexFunc(c.m.plan.Queues, func(q QueueCount) bool { return q.Queue == queue })
	return func(yield func(schema.QueueMessage, error) bool) {
		for message, err := range c.Reader.Messages(ctx, queue) {
			if i >= 0 && err == nil {
				c.m.plan.Queues[i].Seen++
			}
			if !yield(message, err) {
				return
			}
		}
	}
}

// beyond returns how many messages of a queue may be visible although a peek has
// not shown them.
func (f *frozen) beyond(q *hub.Queue) int64 {
	seen := int64(len(f.messages[q.Name]))
	if seen < maxPeek || f.received[q.Name] {
		return 0
	}
	return max(0, q.ApproximateCount-seen)
}

// receive reads the queues of which a peek cannot show all. That hides their
// messages for a while and counts as a delivery of each, so that it is done only if
// nothing else stands in the way of the migration.
func (m *migration) receive(ctx context.Context, dst hub.Reader) error {
	f, ok := m.from.(*frozen)
	if !ok || m.readOnly || m.opts.Receive == nil || len(m.plan.Refusals) > 0 ||
		!slices.ContainsFunc(f.queues, func(q hub.Queue) bool { return f.beyond(&q) > 0 }) {
		return nil
	}
	trial := *m
	trial.opts.OnItem = nil // which is given those of the plan that counts
	for _, step := range []func(context.Context, hub.Reader) error{trial.count, trial.match} {
		if err := step(ctx, dst); err != nil {
			return err
		}
	}
	if trial.plan.Done || slices.ContainsFunc(trial.plan.Refusals, func(r Refusal) bool { return !r.ofMessages() }) {
		return nil
	}
	if err := m.lookAt(ctx, f.Reader, RefusedRunning, m.source.Names); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	if len(m.plan.Refusals) > 0 {
		return nil
	}
	for i := range f.queues {
		if q := &f.queues[i]; f.beyond(q) > 0 {
			if err := m.receiveQueue(ctx, f, q); err != nil {
				return err
			}
		}
	}
	return m.opts.Journal.begin(&entry{Type: entryReceive, At: m.now().String()}) // they are in sight
}

// settle waits until messages are in sight that an earlier run may have hidden which
// ended while it received them.
func (m *migration) settle(ctx context.Context, _ hub.Reader) error {
	left := m.opts.Journal.hiddenUntil().Time().Sub(m.opts.Now())
	if !m.live() || m.opts.WithoutQueues || left <= 0 {
		return nil
	}
	if m.opts.OnProgress != nil {
		m.opts.OnProgress(Progress{Phase: PhaseReceive, Total: -1})
	}
	select {
	case <-time.After(min(left, ReceiveHidden+receiveNoted)):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ofMessages reports whether there may be no reason once more messages are seen.
func (r *Refusal) ofMessages() bool { return r.Code == RefusedLost || r.Code == RefusedCutOff }

func (m *migration) receiveQueue(ctx context.Context, f *frozen, q *hub.Queue) error {
	tell := func(n int) {
		if m.opts.OnProgress != nil {
			m.opts.OnProgress(Progress{Phase: PhaseReceive, Items: int64(n), Total: q.ApproximateCount})
		}
	}
	tell(0)
	var noted time.Time
	note := func() error {
		now := m.opts.Now()
		if !noted.IsZero() && now.Sub(noted) < receiveNoted {
			return nil
		}
		noted = now
		until := schema.TicksOf(now.Add(receiveNoted + ReceiveHidden))
		return m.opts.Journal.begin(&entry{Type: entryReceive, At: schema.TicksOf(now).String(), Until: until.String()})
	}
	if err := note(); err != nil {
		return err
	}
	var all []schema.QueueMessage
	for message, err := range m.opts.Receive.ReceiveMessages(ctx, q.Name, ReceiveHidden) {
		if err == nil {
			err = note()
		}
		if err != nil {
			return fmt.Errorf("receive from queue %s: %w", q.Name, err)
		}
		message.VisibleAt = 0 // that of a message which was received is our doing
		if all = append(all, message); len(all)%1024 == 0 {
			tell(len(all))
		}
	}
	tell(len(all))
	f.messages[q.Name], f.received[q.Name] = all, true
	return nil
}
