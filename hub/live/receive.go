package live

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Receiver reads a task hub of an account, and receives messages to read those
// that a peek does not show. It makes all of them visible again, and can change
// nothing else. It is safe for concurrent use.
//
// The credentials need the permissions process and update for queues, beside those
// to read.
type Receiver struct{ *Hub }

var _ hub.Receiver = (*Receiver)(nil)

// OpenReceiver returns a Receiver of the hub with these names. It sends what
// [Open] sends.
func OpenReceiver(ctx context.Context, cfg Config, names hub.Names, opts Options) (*Receiver, error) {
	h, err := Open(ctx, cfg, names, opts)
	if err != nil {
		return nil, err
	}
	return &Receiver{h}, nil
}

// maxReceive is as many messages as the service gives out at once.
const maxReceive = 32

// ReceiveMessages implements [hub.Receiver]. Messages are as they were before: with
// the number of deliveries that a peek shows then, and no time of visibility. A
// queue that does not exist has none. hidden is cut to whole seconds, 1 s to 7
// days.
//
// It takes a request for each 32 messages and one for each message to make it
// visible again, and holds some 200 bytes for each. That is done even if ctx has
// ended, for hidden at most, when the service has done it anyway; who breaks off
// the stream is not told if it fails. Messages of a control queue are made visible
// one after the other, so that their order stays: an event that comes before the
// start of its instance is lost. Of work items several are at once.
//
// If the answer to a request was lost, nobody knows which messages it has hidden:
// the stream goes on for hidden, until they come into sight again.
func (r *Receiver) ReceiveMessages(ctx context.Context, queue string, hidden time.Duration) iter.Seq2[schema.QueueMessage, error] {
	return func(yield func(schema.QueueMessage, error) bool) {
		s := &receiving{client: r.main.queues.NewQueueClient(queue), queue: queue, hidden: hidden, known: make(map[string]int), atOnce: 1}
		if queue == r.names.WorkItemQueue() {
			s.atOnce = 16
		}
		shown := false
		defer func() {
			if !shown { // the caller's loop has panicked
				_ = s.show(ctx)
			}
		}()
		err := s.receive(ctx, yield)
		failed := s.show(ctx)
		shown = true
		switch {
		case errors.Is(err, errBrokenOff):
			return
		case err == nil:
			err = failed
		case failed != nil:
			err = errors.Join(err, failed)
		}
		if err != nil {
			yield(schema.QueueMessage{}, err)
		}
	}
}

var errBrokenOff = errors.New("the caller wants no more")

// receiving is one reading of a queue.
type receiving struct {
	client *azqueue.QueueClient
	queue  string
	hidden time.Duration
	atOnce int // messages made visible at once

	held   []heldMessage  // in the order in which they came first
	known  map[string]int // their places by ID
	unsure bool           // an answer was lost
}

// heldMessage is a message that is hidden.
type heldMessage struct {
	id, receipt string
	pass        int // through the queue in which it came last
}

// receive yields all messages of the queue that are visible. Those that come into
// sight again, because hidden has passed, count once. When a request gives out
// nothing that has not come before, the queue has been gone through.
func (s *receiving) receive(ctx context.Context, yield func(schema.QueueMessage, error) bool) error {
	if s.hidden < time.Second || s.hidden > hub.MaxMessageDelay {
		return fmt.Errorf("receive from queue %s: hidden for %v, want 1 s to %v", s.queue, s.hidden, hub.MaxMessageDelay)
	}
	if there, err := s.mayShow(ctx); !there || err != nil {
		return err
	}
	for pass := 1; ; {
		batch, err := s.next(ctx)
		if err != nil {
			return err
		}
		came, fresh := 0, make([]bool, len(batch))
		for i, m := range batch {
			k, known := s.known[value(m.MessageID)]
			if !known {
				k = len(s.held)
				s.known[value(m.MessageID)] = k
				s.held = append(s.held, heldMessage{id: value(m.MessageID)})
			}
			h := &s.held[k]
			if fresh[i] = !known; h.pass < pass {
				came++
			}
			h.receipt, h.pass = value(m.PopReceipt), pass
		}
		for i, m := range batch {
			if fresh[i] && !yield(s.message(m), nil) {
				return errBrokenOff
			}
		}
		switch {
		case came > 0:
		case !s.unsure:
			return nil
		default:
			select {
			case <-time.After(s.hidden):
				s.unsure = false
				pass++
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
}

// message returns m as a peek would have shown it before.
func (s *receiving) message(m *azqueue.DequeuedMessage) schema.QueueMessage {
	return schema.QueueMessage{
		Queue: s.queue, ID: value(m.MessageID), Text: value(m.MessageText), DequeueCount: max(0, value(m.DequeueCount)-1),
		InsertedAt: ticks(m.InsertionTime), ExpiresAt: ticks(m.ExpirationTime),
	}
}

// mayShow finds out whether the credentials allow to make messages visible again,
// before any is hidden, and whether the queue exists. It does so with one that
// cannot be.
func (s *receiving) mayShow(ctx context.Context) (there bool, err error) {
	err = s.showOne(ctx, &heldMessage{id: "00000000-0000-0000-0000-000000000000", receipt: "AgAAAAMAAAAAAAAAAAAAAAAAAAA="})
	var refused *RequestError
	switch {
	case err == nil:
		return true, nil
	case !errors.As(err, &refused), refused.Status == 0, errors.Is(err, hub.ErrUnauthorized):
		return false, fmt.Errorf("receive from queue %s: %w", s.queue, err)
	case refused.Code == "MessageNotFound":
		return true, nil
	}
	return !isAbsent(err), nil // or the request was refused for what is not in order with it
}

// next receives the next messages. Such a request is not given up when ctx ends: it
// may be carried out all the same, and nobody would know what it has hidden.
func (s *receiving) next(ctx context.Context) ([]*azqueue.DequeuedMessage, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	const patience = time.Minute
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	var c call
	resp, err := s.client.DequeueMessages(c.in(ctx), &azqueue.DequeueMessagesOptions{
		NumberOfMessages: to.Ptr(int32(maxReceive)), VisibilityTimeout: to.Ptr(int32(s.hidden / time.Second)),
	})
	s.unsure = s.unsure || c.unsure
	if err != nil {
		if err = c.fail(ctx, err); isAbsent(err) {
			return nil, nil // deleted since
		}
		return nil, fmt.Errorf("receive from queue %s: %w", s.queue, err)
	}
	return resp.Messages, nil
}

// show makes all messages visible again, the first ones first.
func (s *receiving) show(ctx context.Context) error {
	if len(s.held) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.hidden)
	defer cancel()
	var next, hidden atomic.Int64
	errs := make([]error, s.atOnce)
	var group sync.WaitGroup
	for i := range errs {
		group.Go(func() {
			for n := next.Add(1) - 1; n < int64(len(s.held)) && ctx.Err() == nil; n = next.Add(1) - 1 {
				if err := s.showOne(ctx, &s.held[n]); err != nil && !isGone(err) {
					errs[i] = err
					hidden.Add(1)
				}
			}
		})
	}
	group.Wait()
	if hidden.Load() == 0 || ctx.Err() != nil { // when all are visible by now
		return nil
	}
	for _, err := range errs {
		if err != nil {
			return fmt.Errorf("%d messages of queue %s stay hidden for up to %v: %w", hidden.Load(), s.queue, s.hidden, err)
		}
	}
	return nil
}

// showOne makes a message visible. Its text is not sent, so that it stays what it
// is.
func (s *receiving) showOne(ctx context.Context, h *heldMessage) error {
	c := call{bare: true}
	_, err := s.client.UpdateMessage(c.in(ctx), h.id, h.receipt, "", &azqueue.UpdateMessageOptions{VisibilityTimeout: to.Ptr(int32(0))})
	if err != nil {
		return c.fail(ctx, err)
	}
	return nil
}

// isGone reports whether a message is no longer ours to make visible: an earlier
// try has done so, or somebody else has received or deleted it since.
func isGone(err error) bool {
	var e *RequestError
	return errors.As(err, &e) && (e.Code == "PopReceiptMismatch" || isAbsent(err))
}
