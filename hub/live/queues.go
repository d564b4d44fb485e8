package live

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Queues lists the control queues, whatever their number, and the work-item
// queue by name. It takes a request for the list and one for each queue.
func (h *Hub) Queues(ctx context.Context) ([]hub.Queue, error) {
	names, err := h.queueNames(ctx)
	if err != nil {
		return nil, err
	}
	var queues []hub.Queue
	for _, name := range names {
		var c call
		p, err := h.main.queues.NewQueueClient(name).GetProperties(c.in(ctx), nil)
		if err != nil {
			if err = c.fail(ctx, err); isAbsent(err) {
				continue // deleted since
			}
			return nil, fmt.Errorf("queue %s: %w", name, err)
		}
		queues = append(queues, hub.Queue{Name: name, ApproximateCount: int64(value(p.ApproximateMessagesCount))})
	}
	return queues, nil
}

func (h *Hub) queueNames(ctx context.Context) ([]string, error) {
	prefix := strings.TrimSuffix(h.names.WorkItemQueue(), "workitems")
	var names []string
	for name, err := range h.main.queueList(ctx, prefix) {
		if err != nil {
			return nil, err
		}
		if owner, _, ok := queueOwner(name); ok && owner+"-" == prefix {
			names = append(names, name)
		}
	}
	slices.SortFunc(names, schema.CompareKeys)
	return names, nil
}

// queueOwner returns the lower-case name of the hub to which a queue belongs.
// control is false for a work-item queue.
func queueOwner(name string) (owner string, control, ok bool) {
	if owner, ok := strings.CutSuffix(name, "-workitems"); ok {
		return owner, false, owner != ""
	}
	const suffix = "-control-NN"
	n := len(name) - len(suffix)
	if n <= 0 || !isDigit(name[len(name)-1]) || !isDigit(name[len(name)-2]) || name[n:len(name)-2] != "-control-" {
		return "", false, false
	}
	return name[:n], true, true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// queueList streams the names of queues that begin with prefix.
func (a *Account) queueList(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		opts := &azqueue.ListQueuesOptions{}
		if prefix != "" {
			opts.Prefix = &prefix
		}
		for pager := a.queues.NewListQueuesPager(opts); pager.More(); {
			var c call
			page, err := pager.NextPage(c.in(ctx))
			if err != nil {
				yield("", fmt.Errorf("list queues: %w", c.fail(ctx, err)))
				return
			}
			for _, q := range page.Queues {
				if !yield(value(q.Name), nil) {
					return
				}
			}
		}
	}
}

// maxPeek is as much as the service shows, and there is no way to see more
// without receiving messages.
const maxPeek = 32

// Messages peeks at a queue: it yields up to 32 messages that are visible, in
// queue order, and changes nothing. It takes one request. When they become
// visible peeking does not tell.
func (h *Hub) Messages(ctx context.Context, queue string) iter.Seq2[schema.QueueMessage, error] {
	return func(yield func(schema.QueueMessage, error) bool) {
		n := int32(maxPeek)
		var c call
		resp, err := h.main.queues.NewQueueClient(queue).PeekMessages(c.in(ctx), &azqueue.PeekMessagesOptions{NumberOfMessages: &n})
		if err != nil {
			if err = c.fail(ctx, err); !isAbsent(err) {
				yield(schema.QueueMessage{}, fmt.Errorf("peek queue %s: %w", queue, err))
			}
			return
		}
		for _, m := range resp.Messages {
			message := schema.QueueMessage{
				Queue: queue, ID: value(m.MessageID), Text: value(m.MessageText), DequeueCount: value(m.DequeueCount),
				InsertedAt: ticks(m.InsertionTime), ExpiresAt: ticks(m.ExpirationTime),
			}
			if !yield(message, nil) {
				return
			}
		}
	}
}

// value returns what p points to, or the zero value.
func value[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}

func ticks(t *time.Time) schema.Ticks {
	if t == nil {
		return 0
	}
	return schema.TicksOf(*t)
}
