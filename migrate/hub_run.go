package migrate

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Report says what a migration has done.
type Report struct {
	Plan *HubPlan
	// Rows, Blobs and BlobBytes count what was written, the new leases and rows
	// of Partitions included.
	Rows             map[hub.Table]int64
	Blobs, BlobBytes int64
	// Messages counts what the target's queues hold.
	Messages int64
	// Differences are what the check found between the plan and the copy; nil if
	// there is none.
	Differences []Difference
}

// ErrDiffers is returned when the copy is not what the plan wants. No message was
// sent.
var ErrDiffers = errors.New("the copy differs from the source")

// Run moves a hub: to another account, name, partition count or version of the
// framework, with the work in flight. The source must be stopped and is only
// read. If the plan, which Run makes anew, has refusals, it returns a
// [*RefusedError] and writes nothing.
//
// It writes the blobs, the history with the rows that redrive work, the rows of
// Instances as they are in the new place, and new leases. Then it compares the
// copy with the source, and returns ErrDiffers with the differences in the report
// if there are any. Messages come last, into queues that are emptied before.
//
// If it fails half-way, what was written stays; a run with Options.Resume
// finishes the job: everything is written again, and messages are sent from the
// beginning. A target that workers have used since must not be resumed.
func Run(ctx context.Context, src hub.Reader, dst Target, opts Options) (*Report, error) {
	m, err := newMigration(ctx, src, dst, opts)
	if err != nil {
		return nil, err
	}
	report := &Report{Plan: &m.plan}
	if len(m.plan.Refusals) > 0 {
		return report, &RefusedError{m.plan.Refusals}
	}
	v := m.view()
	r := &restoration{
		from: v, to: dst, info: &v.info, report: &RestoreReport{Rows: make(map[hub.Table]int64)},
		opts: &RestoreOptions{Concurrency: m.opts.Concurrency, MaxBlobBytes: m.opts.MaxBlobBytes, OnProgress: m.opts.OnProgress},
	}
	for _, step := range []func(context.Context) error{r.blobs, r.tables} {
		err := step(ctx)
		report.Rows, report.Blobs, report.BlobBytes = r.report.Rows, r.report.Blobs, r.report.Bytes
		if err != nil {
			return report, err
		}
	}
	r.begin(PhaseCheck, -1)
	report.Differences, err = Compare(ctx, v, withoutMade{dst, m}, CompareOptions{
		MaxBlobBytes: m.opts.MaxBlobBytes, OnProgress: func(n int64) { r.add(n, 0) },
	})
	switch {
	case err != nil:
		return report, err
	case len(report.Differences) > 0:
		return report, fmt.Errorf("%w in %d places or more: no message was sent", ErrDiffers, len(report.Differences))
	}
	report.Messages, err = m.send(ctx, r)
	return report, err
}

// send fills the queues. A request whose answer is lost is repeated and may leave
// a message twice: the count at the end tells, and all are filled anew.
func (m *migration) send(ctx context.Context, r *restoration) (int64, error) {
	for _, queue := range m.artifacts.Queues {
		if err := r.to.CreateQueue(ctx, queue); err != nil {
			return 0, err
		}
	}
	const tries = 3
	for try := 1; ; try++ {
		r.begin(PhaseMessages, m.messages)
		for _, queue := range m.artifacts.Queues {
			if err := r.to.ClearQueue(ctx, queue); err != nil {
				return 0, err
			}
		}
		sent, err := m.fillQueues(ctx, r)
		if err != nil {
			return 0, err
		}
		queues, err := r.to.Queues(ctx)
		if err != nil {
			return 0, err
		}
		all, wrong := int64(0), error(nil)
		for _, q := range queues {
			all += q.ApproximateCount
			if q.ApproximateCount != sent[q.Name] {
				wrong = fmt.Errorf("queue %s holds %d messages after %d were sent into it, %d times: is something else using it?",
					q.Name, q.ApproximateCount, sent[q.Name], tries)
			}
		}
		if wrong == nil || try == tries {
			return all, wrong
		}
	}
}

// outgoing is a message on its way into a queue of the target.
type outgoing struct {
	item Item
	body string
}

// fillQueues sends every message once, those of a queue in their order, and
// returns how many went into each.
func (m *migration) fillQueues(ctx context.Context, r *restoration) (map[string]int64, error) {
	sent := make(map[string]int64)
	feeds := make(map[string]chan outgoing)
	group, ctx := errgroup.WithContext(ctx)
	for _, queue := range m.artifacts.Queues {
		feed := make(chan outgoing, 4)
		feeds[queue] = feed
		group.Go(func() error {
			for o := range feed {
				if err := m.put(ctx, r, &o); err != nil {
					return err
				}
			}
			return nil
		})
	}
	produce := func() error {
		from := &following{Reader: m.from}
		for i, err := range m.pending(ctx, from) {
			if err != nil {
				return err
			}
			if i.Queue == "" {
				continue
			}
			feed := feeds[i.Queue]
			if feed == nil {
				return fmt.Errorf("%s of %q is for queue %s, which the target does not have", i.Kind, i.InstanceID, i.Queue)
			}
			select {
			case feed <- outgoing{i, m.body(&i, from.body)}:
				sent[i.Queue]++
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	}
	err := produce()
	for _, feed := range feeds {
		close(feed)
	}
	return sent, first(group.Wait(), err)
}

// following is a source that remembers the message which [Pending] is giving out.
type following struct {
	hub.Reader
	body string
}

func (f *following) Messages(ctx context.Context, queue string) iter.Seq2[schema.QueueMessage, error] {
	return func(yield func(schema.QueueMessage, error) bool) {
		for message, err := range f.Reader.Messages(ctx, queue) {
			f.body = message.Text
			if !yield(message, err) {
				return
			}
		}
	}
}

// body returns what is put into a queue. What is no message goes as it came: body
// is that of the one at hand.
func (m *migration) body(i *Item, body string) string {
	if i.Origin == Seen && !strings.HasPrefix(strings.TrimLeft(i.Text, " \t\r\n\ufeff"), "{") {
		return strings.Clone(body)
	}
	return schema.EncodeBody([]byte(i.Text), m.opts.Encoding)
}

func (m *migration) put(ctx context.Context, r *restoration, o *outgoing) error {
	if o.item.BlobText != "" {
		if err := m.putText(ctx, r, o.item.Blob, o.item.BlobText); err != nil {
			return err
		}
	}
	delay := time.Duration(0)
	if o.item.DueAt != 0 {
		delay = max(0, o.item.DueAt.Time().Sub(m.opts.Now()))
	}
	if err := r.to.PutMessage(ctx, o.item.Queue, o.body, delay); err != nil {
		return err
	}
	r.add(1, int64(len(o.body)))
	return nil
}

// putText stores a message; its container is there.
func (m *migration) putText(ctx context.Context, r *restoration, name, text string) error {
	b, packed, err := hub.PackText(m.opts.Names.LargeMessages(), name, []byte(text))
	if err != nil {
		return err
	}
	return r.to.PutBlob(ctx, b, packed)
}
