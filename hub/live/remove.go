package live

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

const (
	// removeHidden is how long messages stay hidden if we are killed among them. It is
	// as long as the framework hides a message that it works on.
	removeHidden = 5 * time.Minute
	// maxRemove is the length of a queue of which all messages can be received, and
	// made visible again one after the other, long before that has passed.
	maxRemove = 10_000
)

// RemoveMessage deletes one message of a queue that is visible and has this body. It
// returns hub.ErrNotFound if there is none, and for a queue that does not exist.
//
// Only who has received a message can delete it, and a message that was received
// stands behind all others when it is visible again. So all messages of the queue are
// received, and made visible again in their order: an event that comes before the
// start of its instance is lost. Each counts one delivery more. A queue of more than
// 10,000 messages is left alone.
//
// No app should run the hub meanwhile: what it waits for is hidden. The credentials
// need the permission process for queues.
//
// Source: durabletask 2.9.1, AzureStorageOrchestrationService.cs:805-864.
func (e *Editor) RemoveMessage(ctx context.Context, queue, body string) error {
	fail := func(err error) error { return fmt.Errorf("remove a message from queue %s: %w", queue, err) }
	s := &receiving{client: e.main.queues.NewQueueClient(queue), queue: queue, hidden: removeHidden, known: make(map[string]int), atOnce: 1}
	at := -1
	err := s.receive(ctx, func(m schema.QueueMessage, _ error) bool {
		if at < 0 && m.Text == body {
			at = s.known[m.ID]
		}
		return len(s.held) <= maxRemove
	})
	switch {
	case errors.Is(err, errBrokenOff):
		err = fmt.Errorf("it has more than %d messages: %w", maxRemove, hub.ErrTooLarge)
	case err == nil && at < 0:
		err = fmt.Errorf("%w among the %d that can be seen", hub.ErrNotFound, len(s.held))
	case err == nil:
		if err = s.remove(ctx, &s.held[at]); err == nil {
			s.held = slices.Delete(s.held, at, at+1)
		}
	}
	if err = errors.Join(err, s.show(ctx)); err != nil {
		return fail(err)
	}
	return nil
}

// remove deletes a message that is held.
func (s *receiving) remove(ctx context.Context, h *heldMessage) error {
	var c call
	if _, err := s.client.DeleteMessage(c.in(ctx), h.id, h.receipt, nil); err != nil {
		return c.gone(c.fail(ctx, err))
	}
	return nil
}
