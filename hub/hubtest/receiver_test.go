package hubtest_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

type messages = iter.Seq2[schema.QueueMessage, error]

// forgetful is a Receiver with one thing wrong.
type forgetful struct {
	*testhub.Receiver
	receive func(r *testhub.Receiver, ctx context.Context, queue string, hidden time.Duration) messages
}

func (f *forgetful) ReceiveMessages(ctx context.Context, queue string, hidden time.Duration) iter.Seq2[schema.QueueMessage, error] {
	return f.receive(f.Receiver, ctx, queue, hidden)
}

// changed is a reading whose messages are changed.
func changed(change func([]schema.QueueMessage) []schema.QueueMessage) func(*testhub.Receiver, context.Context, string, time.Duration) messages {
	return func(r *testhub.Receiver, ctx context.Context, queue string, hidden time.Duration) messages {
		return func(yield func(schema.QueueMessage, error) bool) {
			var all []schema.QueueMessage
			for m, err := range r.ReceiveMessages(ctx, queue, hidden) {
				if err != nil {
					yield(m, err)
					return
				}
				all = append(all, m)
			}
			for _, m := range change(all) {
				if !yield(m, nil) {
					return
				}
			}
		}
	}
}

// A Receiver that does not do what it promises is found out.
func TestRunReceiverFinds(t *testing.T) {
	for name, receive := range map[string]func(*testhub.Receiver, context.Context, string, time.Duration) messages{
		"only peeks": func(r *testhub.Receiver, ctx context.Context, queue string, _ time.Duration) messages {
			return r.Messages(ctx, queue)
		},
		"leaves one out": changed(func(all []schema.QueueMessage) []schema.QueueMessage {
			return all[:max(0, len(all)-1)]
		}),
		"gives one twice": changed(func(all []schema.QueueMessage) []schema.QueueMessage { return append(all, all[:min(1, len(all))]...) }),
		"another order": changed(func(all []schema.QueueMessage) []schema.QueueMessage {
			slices.Reverse(all)
			return all
		}),
		"another text": changed(func(all []schema.QueueMessage) []schema.QueueMessage {
			for i := range all {
				all[i].Text += " "
			}
			return all
		}),
		"counts itself": changed(func(all []schema.QueueMessage) []schema.QueueMessage {
			for i := range all {
				all[i].DequeueCount++
			}
			return all
		}),
		"tells its own time": changed(func(all []schema.QueueMessage) []schema.QueueMessage {
			for i := range all {
				all[i].VisibleAt = 1
			}
			return all
		}),
		"visible at once": changed(func(all []schema.QueueMessage) []schema.QueueMessage { return all }),
		"leaves messages hidden": func(r *testhub.Receiver, ctx context.Context, queue string, hidden time.Duration) messages {
			r.Killed = true
			return r.ReceiveMessages(ctx, queue, hidden)
		},
		"leaves them hidden when the caller breaks off": func(r *testhub.Receiver, ctx context.Context, queue string, hidden time.Duration) messages {
			return func(yield func(schema.QueueMessage, error) bool) {
				for m, err := range r.ReceiveMessages(ctx, queue, hidden) {
					if r.Killed = !yield(m, err); r.Killed {
						return
					}
				}
			}
		},
		"leaves them hidden when the caller panics": func(r *testhub.Receiver, ctx context.Context, queue string, hidden time.Duration) messages {
			return func(yield func(schema.QueueMessage, error) bool) {
				for m, err := range r.ReceiveMessages(ctx, queue, hidden) {
					r.Killed = true
					ok := yield(m, err)
					if r.Killed = false; !ok {
						return
					}
				}
			}
		},
		"leaves them hidden when the context ends": func(r *testhub.Receiver, ctx context.Context, queue string, hidden time.Duration) messages {
			r.Before = func(string, string) error {
				r.Killed = ctx.Err() != nil
				return nil
			}
			return r.ReceiveMessages(ctx, queue, hidden)
		},
		"ignores the context": func(r *testhub.Receiver, ctx context.Context, queue string, hidden time.Duration) messages {
			return r.ReceiveMessages(context.WithoutCancel(ctx), queue, hidden)
		},
		"fails for what does not exist": func(r *testhub.Receiver, ctx context.Context, queue string, hidden time.Duration) messages {
			return func(yield func(schema.QueueMessage, error) bool) {
				if queue == "receivedhub-control-09" {
					yield(schema.QueueMessage{}, hub.ErrNotFound)
					return
				}
				r.ReceiveMessages(ctx, queue, hidden)(yield)
			}
		},
		"an error with a value": func(r *testhub.Receiver, ctx context.Context, queue string, hidden time.Duration) messages {
			return func(yield func(schema.QueueMessage, error) bool) {
				for m, err := range r.ReceiveMessages(ctx, queue, hidden) {
					if err != nil {
						m.ID = "?"
					}
					if !yield(m, err) {
						return
					}
				}
			}
		},
		"fails at the end": func(r *testhub.Receiver, ctx context.Context, queue string, hidden time.Duration) messages {
			r.Before = func(request, _ string) error {
				if request == "show" {
					return errors.New("no")
				}
				return nil
			}
			return r.ReceiveMessages(ctx, queue, hidden)
		},
	} {
		t.Run(name, func(t *testing.T) {
			failures := hubtest.RunReceiverRecorded(t, func(_ testing.TB, c hubtest.Content) hubtest.Received {
				return &forgetful{testhub.NewReceiver(c, time.Unix(0, 0)), receive}
			})
			if len(failures) == 0 {
				t.Error("nothing is found")
			}
		})
	}
}
