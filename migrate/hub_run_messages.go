package migrate

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// send fills the queues. A request whose answer is lost is repeated and may leave
// a message twice: the count at the end tells, and all are filled anew.
func (m *migration) send(ctx context.Context, r *restoration, report *Report) error {
	const tries = 3
	for try := 1; ; try++ {
		r.begin(PhaseMessages, m.messages)
		if try == 1 {
			if err := r.note(entryPhase); err != nil {
				return err
			}
			for _, queue := range m.artifacts.Queues {
				if err := r.to.CreateQueue(ctx, queue); err != nil {
					return err
				}
			}
		}
		for _, queue := range m.artifacts.Queues {
			if err := r.to.ClearQueue(ctx, queue); err != nil {
				return err
			}
		}
		now := m.now()
		sent, err := m.fillQueues(ctx, r)
		if err != nil {
			return err
		}
		queues, wrong, err := m.lookAtQueues(ctx, r.to, sent, now)
		switch {
		case err != nil:
			return err
		case wrong == "":
			report.Queues, report.MessageDigest = queues, sent.digest()
			report.Messages = report.MessageDigest.Items
			return r.note(entryEnded)
		case try == tries:
			return fmt.Errorf("%s, and did so when they were sent the %d times before: is something else using it?", wrong, tries-1)
		}
	}
}

// lookAtQueues compares the queues with what was sent from the time began on, as
// far as one can see: how many messages there are, and those of the peek, each of
// which must have been sent. wrong says what is different. The error is
// hub.ErrInUse if messages are gone: whoever has taken them would get them again if
// they were sent once more.
func (m *migration) lookAtQueues(ctx context.Context, dst hub.Reader, sent sentMessages, began schema.Ticks) (all []QueueReport, wrong string, err error) {
	queues, err := dst.Queues(ctx)
	if err != nil {
		return nil, "", err
	}
	for _, q := range queues {
		report := QueueReport{Name: q.Name, Messages: int64(len(sent[q.Name]))}
		switch n := q.ApproximateCount; {
		case n < report.Messages:
			return nil, "", fmt.Errorf("queue %s holds %d messages after %d were sent into it: it is %w", q.Name, n, report.Messages, hub.ErrInUse)
		case n > report.Messages:
			return nil, fmt.Sprintf("queue %s holds %d messages after %d were sent into it", q.Name, n, report.Messages), nil
		}
		unseen := make(map[[16]byte]int)
		for message, err := range dst.Messages(ctx, q.Name) {
			if err != nil {
				return nil, "", err
			}
			unseen[bodySum(message.Text)]++
			report.Seen++
		}
		atOnce := int64(0)
		for i := range sent[q.Name] {
			s := &sent[q.Name][i]
			if unseen[s.body]--; unseen[s.body] <= 0 {
				delete(unseen, s.body)
			}
			if s.due <= began {
				atOnce++
			}
		}
		switch {
		case len(unseen) > 0:
			return nil, fmt.Sprintf("queue %s shows %d messages that were not sent", q.Name, len(unseen)), nil
		case report.Seen < min(maxPeek, atOnce):
			return nil, fmt.Sprintf("queue %s shows %d messages of %d that are due", q.Name, report.Seen, atOnce), nil
		}
		all = append(all, report)
	}
	if len(all) < len(m.artifacts.Queues) {
		return nil, "", fmt.Errorf("%d queues of %d are there: the hub is %w", len(all), len(m.artifacts.Queues), hub.ErrInUse)
	}
	return all, "", nil
}

// outgoing is a message on its way into a queue of the target.
type outgoing struct {
	what        string // for people
	queue, body string
	due         schema.Ticks
	// blob is the name of the blob that is made for it, with blobText in it.
	blob, blobText string
}

// fillQueues sends every message once, those of a queue in their order.
func (m *migration) fillQueues(ctx context.Context, r *restoration) (sentMessages, error) {
	sent := make(sentMessages)
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
		for o, err := range m.outgoing(ctx) {
			if err != nil {
				return err
			}
			feed := feeds[o.queue]
			if feed == nil {
				return fmt.Errorf("%s is for queue %s, which the target does not have", o.what, o.queue)
			}
			select {
			case feed <- o:
				sent.add(&o)
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

// outgoing streams what is to be sent: the messages of the plan.
func (m *migration) outgoing(ctx context.Context) iter.Seq2[outgoing, error] {
	return func(yield func(outgoing, error) bool) {
		if !m.kept.over {
			for _, o := range m.kept.messages {
				if !yield(o, nil) {
					return
				}
			}
			return
		}
		items := newLines()
		from := &following{Reader: m.from}
		for i, err := range m.pending(ctx, from) {
			if err != nil {
				yield(outgoing{}, err)
				return
			}
			o := m.message(&i, from.body)
			items.addItem(&i, o.body)
			if i.Queue != "" && !yield(o, nil) {
				return
			}
		}
		if items.end() != m.items.end() {
			yield(outgoing{}, fmt.Errorf("other messages are pending than when the plan was made: the source is %w", hub.ErrInUse))
		}
	}
}

// message returns what is sent for an item. A message that is none goes as it came:
// seen is the body of that at hand.
func (m *migration) message(i *Item, seen string) outgoing {
	o := outgoing{
		what: fmt.Sprintf("%s of %q", i.Kind, i.InstanceID), queue: i.Queue, due: i.DueAt, blobText: i.BlobText,
		body: schema.EncodeBody([]byte(i.Text), m.opts.Encoding),
	}
	if i.Origin == Seen && !strings.HasPrefix(strings.TrimLeft(i.Text, " \t\r\n\ufeff"), "{") {
		o.body = strings.Clone(seen)
	}
	if i.BlobText != "" {
		o.blob = i.Blob
	}
	return o
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

// kept are the messages and the rows that redrive work, as long as they are few.
type kept struct {
	messages []outgoing
	edits    []schema.Row
	bytes    int
	over     bool // they are not: nothing is kept
}

// maxKept bounds what is kept, in bytes.
const maxKept = 16 << 20

// keep takes an item of the plan, with the body of the message at hand if one was
// seen.
func (m *migration) keep(i *Item, seen string) {
	o := m.message(i, seen)
	m.items.addItem(i, o.body)
	k := &m.kept
	if k.over {
		return
	}
	const each = 200 // of strings and structures
	if i.Queue != "" {
		k.messages = append(k.messages, o)
		k.bytes += each + len(o.body) + len(o.blobText)
	}
	if i.Edit != nil {
		k.edits = append(k.edits, i.Edit.Clone())
		k.bytes += each + len(i.Edit.AppendJSON(nil))
	}
	if k.bytes > maxKept {
		*k = kept{over: true}
	}
}

func (m *migration) put(ctx context.Context, r *restoration, o *outgoing) error {
	if o.blobText != "" {
		// The journal must know the name: a run that does not make the blob would
		// take it for something that does not belong there.
		if err := m.opts.Journal.making(schema.StoredBlobName(o.blob), m.now()); err != nil {
			return err
		}
		b, packed, err := hub.PackText(m.opts.Names.LargeMessages(), o.blob, []byte(o.blobText))
		if err != nil {
			return err
		}
		if err := r.to.PutBlob(ctx, b, packed); err != nil { // its container is there
			return err
		}
	}
	delay := time.Duration(0)
	if o.due != 0 {
		delay = max(0, o.due.Time().Sub(m.opts.Now()))
	}
	if err := r.to.PutMessage(ctx, o.queue, o.body, delay); err != nil {
		return err
	}
	r.add(1, int64(len(o.body)))
	return nil
}
