package diff

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// entry is what is kept of a message.
type entry struct {
	sum   [sha256.Size]byte
	about Message
	queue string
	// place tells messages of the same content apart by where they are: in the
	// queue where the instance's messages belong, or in another.
	place                         string
	insertedAt, expiresAt, seenAt schema.Ticks
	dequeueCount                  int64
}

// messages compares the messages queue by queue, or those of all queues at once
// if the hubs spread them in different ways.
func (w *walk) messages() error {
	all, err := w.queuePairs()
	if err != nil {
		return err
	}
	var a, b []entry
	for i, p := range all {
		if p.a != nil {
			if a, err = w.gather(&w.a, p.a.Name, a); err != nil {
				return err
			}
		}
		if p.b != nil {
			if b, err = w.gather(&w.b, p.b.Name, b); err != nil {
				return err
			}
		}
		if w.across && i < len(all)-1 {
			continue
		}
		if err := w.match(a, b); err != nil {
			return err
		}
		a, b = a[:0], b[:0]
	}
	return nil
}

// gather adds the messages of a queue.
func (w *walk) gather(s *side, queue string, to []entry) ([]entry, error) {
	for m, err := range s.Messages(w.ctx, queue) {
		if err != nil {
			return nil, s.failed(err)
		}
		if len(to) == w.opts.MaxMessages {
			return nil, s.failed(fmt.Errorf("queue %s: %w of %d messages to compare", queue, hub.ErrTooLarge, w.opts.MaxMessages))
		}
		e, err := w.entry(s, queue, &m)
		if err != nil {
			return nil, s.failed(err)
		}
		to = append(to, e)
	}
	return to, nil
}

// blobReader tells errors of reading a blob from those of what is in it.
type blobReader struct {
	hub.BlobReader
	err error
}

func (r *blobReader) ReadBlob(ctx context.Context, container, name string, limit int64) ([]byte, error) {
	data, err := r.BlobReader.ReadBlob(ctx, container, name, limit)
	r.err = err
	return data, err
}

// entry decodes a message. One that cannot be decoded, or whose blob is missing or
// too large, is compared as it is stored; an error is one of storage.
func (w *walk) entry(s *side, queue string, m *schema.QueueMessage) (entry, error) {
	m.Queue = queue
	r := blobReader{BlobReader: s.Reader}
	loaded, err := hub.LoadMessage(w.ctx, &r, s.info.Names.LargeMessages(), m, w.opts.MaxPayloadBytes)
	if r.err != nil && !errors.Is(r.err, hub.ErrNotFound) && !errors.Is(r.err, hub.ErrTooLarge) {
		return entry{}, r.err
	}
	content := loaded.JSON
	if err != nil && content == "" {
		content = m.Text
	}
	e := entry{
		sum: sha256.Sum256([]byte(content)), queue: queue, place: w.role(s, queue),
		insertedAt: m.InsertedAt, expiresAt: m.ExpiresAt, seenAt: m.VisibleAt, dequeueCount: m.DequeueCount,
		about: Message{ID: short(m.ID), Blob: short(loaded.Blob), SizeBytes: int64(len(content))},
	}
	t := loaded.TaskMessage
	if t == nil {
		return e, nil
	}
	id := t.OrchestrationInstance.InstanceID
	e.about.InstanceID, e.about.ExecutionID = short(id), short(t.OrchestrationInstance.ExecutionID.Value)
	e.about.EventType, e.about.Name = describe(t.Event)
	if n := s.info.PartitionCount; w.across && n > 0 && queue == s.info.Names.ControlQueue(schema.Partition(id, n)) {
		e.place = ""
	}
	return e, nil
}

// describe returns the type of an event and the name of what it starts or raises.
func describe(e schema.Event) (kind, name string) {
	switch e := e.(type) {
	case nil:
		return "", ""
	case *schema.UnknownEvent:
		return short(e.Name), ""
	case *schema.ExecutionStarted:
		name = e.Name.Value
	case *schema.TaskScheduled:
		name = e.Name.Value
	case *schema.EventRaised:
		name = e.Name.Value
	}
	return e.Type().String(), short(name)
}

// short bounds what is kept of a text, and lets go of where it came from.
func short(s string) string {
	const limit = 1 << 10
	return strings.Clone(strings.ToValidUTF8(s[:min(len(s), limit)], ""))
}

func compareEntries(a, b entry) int {
	return cmp.Or(bytes.Compare(a.sum[:], b.sum[:]), cmp.Compare(a.place, b.place), cmp.Compare(a.about.ID, b.about.ID))
}

// match compares two multisets. Of messages with the same content those in the
// same place are put together first, and the rest in the order of their places.
func (w *walk) match(a, b []entry) error {
	slices.SortFunc(a, compareEntries)
	slices.SortFunc(b, compareEntries)
	var found []Difference
	for len(a) > 0 || len(b) > 0 {
		var sum [sha256.Size]byte
		if len(b) == 0 || len(a) > 0 && bytes.Compare(a[0].sum[:], b[0].sum[:]) < 0 {
			sum = a[0].sum
		} else {
			sum = b[0].sum
		}
		n, m := sameSum(a, sum), sameSum(b, sum)
		found = w.matchEqual(a[:n], b[:m], found)
		a, b = a[n:], b[m:]
	}
	slices.SortStableFunc(found, func(x, y Difference) int {
		return cmp.Or(cmp.Compare(x.InstanceID, y.InstanceID), cmp.Compare(x.Message.SHA256, y.Message.SHA256))
	})
	for i := range found {
		if err := w.report(found[i]); err != nil {
			return err
		}
	}
	return nil
}

func sameSum(all []entry, sum [sha256.Size]byte) int {
	n := 0
	for n < len(all) && all[n].sum == sum {
		n++
	}
	return n
}

// matchEqual compares messages of equal content.
func (w *walk) matchEqual(a, b []entry, found []Difference) []Difference {
	restA, restB := a[:0:0], b[:0:0]
	for len(a) > 0 && len(b) > 0 {
		order := cmp.Compare(a[0].place, b[0].place)
		if order == 0 && w.opts.ServiceValues {
			order = cmp.Compare(a[0].about.ID, b[0].about.ID)
		}
		switch {
		case order < 0:
			restA, a = append(restA, a[0]), a[1:]
		case order > 0:
			restB, b = append(restB, b[0]), b[1:]
		default:
			found = w.matched(&a[0], &b[0], found)
			a, b = a[1:], b[1:]
		}
	}
	restA, restB = append(restA, a...), append(restB, b...)
	for len(restA) > 0 && len(restB) > 0 {
		found = w.matched(&restA[0], &restB[0], found)
		restA, restB = restA[1:], restB[1:]
	}
	for i := range restA {
		w.compared()
		found = append(found, restA[i].difference(Removed, nil))
	}
	for i := range restB {
		w.compared()
		found = append(found, restB[i].difference(Added, nil))
	}
	return found
}

// matched compares two messages of equal content.
func (w *walk) matched(a, b *entry, found []Difference) []Difference {
	w.compared()
	var columns []Column
	add := func(name string, x, y schema.Value) {
		if !x.Equal(y) && !w.ignores(name) {
			columns = append(columns, Column{name, x, y})
		}
	}
	if w.opts.ServiceValues {
		add("dequeue_count", schema.Int64(a.dequeueCount), schema.Int64(b.dequeueCount))
		add("expires_time", knownTime(a.expiresAt), knownTime(b.expiresAt))
		add("inserted_time", knownTime(a.insertedAt), knownTime(b.insertedAt))
		add("message_id", schema.String(a.about.ID), schema.String(b.about.ID))
	}
	if a.place != b.place {
		add("queue", schema.String(a.queue), schema.String(b.queue))
	}
	if w.opts.ServiceValues {
		add("visible_time", knownTime(a.seenAt), knownTime(b.seenAt))
	}
	if len(columns) == 0 {
		return found
	}
	return append(found, a.difference(Changed, columns))
}

func (e *entry) difference(kind Kind, columns []Column) Difference {
	m := e.about
	m.SHA256 = hex.EncodeToString(e.sum[:])
	return Difference{Kind: kind, Artifact: e.queue, Message: &m, InstanceID: m.InstanceID, Columns: columns}
}
