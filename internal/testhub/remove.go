package testhub

import (
	"context"
	"slices"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/schema"
)

// RemoveMessage deletes one message of a queue that is visible and has this body. It
// returns [hub.ErrNotFound] if there is none.
func (e *Editor) RemoveMessage(ctx context.Context, queue, body string) error {
	return e.change(ctx, "RemoveMessage", queue, func(c *hubtest.Content) error {
		i := findQueue(c, queue)
		if i < 0 {
			return hub.ErrNotFound
		}
		q := &c.Queues[i]
		at := slices.IndexFunc(q.Messages, func(m schema.QueueMessage) bool { return m.Text == body })
		if at < 0 {
			return hub.ErrNotFound
		}
		q.Messages = slices.Delete(slices.Clone(q.Messages), at, at+1)
		q.ApproximateCount--
		return nil
	})
}
