package migrate

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// count goes through the source, and forgets what was counted before.
func (m *migration) count(ctx context.Context, _ hub.Reader) error {
	m.plan.Rows, m.made, m.items, m.kept = make(map[hub.Table]int64), m.opts.Journal.madeBefore(), newLines(), kept{}
	m.selection = newSelection(m.opts.Select, m.source.Names)
	m.sums = newDigesting(m.from, m.source.Names, nil)
	m.sums.selection = m.selection
	if err := m.countItems(ctx); err != nil {
		return err
	}
	if err := m.selection.resolve(ctx, m); err != nil {
		return err
	}
	return m.countBlobs(ctx)
}

func (m *migration) countBlobs(ctx context.Context) error {
	containers, err := m.from.Containers(ctx)
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	for _, c := range containers {
		if !Copied(m.source.Names, c.Name) {
			continue
		}
		m.large = m.selection == nil
		for b, err := range m.sums.Blobs(ctx, c.Name, "") {
			if err != nil {
				return err
			}
			m.large = true
			delete(m.made, b.Name) // it is copied, whoever has made it
			m.plan.Blobs++
			m.plan.BlobBytes += b.SizeBytes
			if b.SizeBytes > m.opts.MaxBlobBytes && len(m.plan.Refusals) < MaxLost {
				m.refuse(RefusedBlob, "%s has %d bytes, more than the limit of %d", b.Name, b.SizeBytes, m.opts.MaxBlobBytes)
			}
		}
	}
	return nil
}

// pending lists the messages of the target. now is the same throughout a run.
func (m *migration) pending(ctx context.Context, from hub.Reader) iter.Seq2[Item, error] {
	return Pending(ctx, from, PendingOptions{
		Names: m.opts.Names, Partitions: m.opts.Partitions, WithoutQueues: m.opts.WithoutQueues, Select: m.opts.Select, Version1: m.opts.Version1,
		MaxBlobBytes: m.opts.MaxPayloadBytes, Now: func() time.Time { return m.began }, NewID: m.opts.NewID,
	})
}

func (m *migration) countItems(ctx context.Context) error {
	counts := make(map[PendingCount]int64)
	latest := schema.TicksOf(m.began.Add(hub.MaxMessageDelay))
	from := &following{Reader: &counting{m.sums, m}}
	for i, err := range m.pending(ctx, from) {
		if err != nil {
			return err
		}
		m.keep(&i, from.body)
		if m.opts.OnItem != nil {
			if err := m.opts.OnItem(&i); err != nil {
				return err
			}
		}
		counts[PendingCount{Kind: i.Kind, Origin: i.Origin}]++
		m.redriven = m.redriven || i.Edit != nil
		if i.Queue != "" {
			m.messages++
		}
		switch {
		case i.BlobText != "":
			m.made[schema.StoredBlobName(i.Blob)] = true
		case i.Text != "" && i.Blob != "":
			m.selection.name(schema.StoredBlobName(i.Blob))
		}
		if i.DueAt > latest && i.Queue != "" && len(m.plan.Refusals) < MaxLost {
			m.refuse(RefusedDelay, "%s of %s is due %s", i.Kind, i.InstanceID, i.DueAt)
		}
		switch {
		case i.Kind == KindHidden:
			m.plan.Hidden += i.Count
		case i.Origin == Left:
			m.plan.Left++
		case i.Origin == CutOff:
			if m.plan.CutOffItems++; len(m.plan.CutOff) < MaxLost {
				m.plan.CutOff = append(m.plan.CutOff, i)
			}
		case i.Origin == Unrecoverable:
			if m.plan.LostItems++; len(m.plan.Lost) < MaxLost {
				m.plan.Lost = append(m.plan.Lost, i)
			}
		}
	}
	for c, n := range counts {
		c.Count = n
		m.plan.Pending = append(m.plan.Pending, c)
	}
	slices.SortFunc(m.plan.Pending, func(a, b PendingCount) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Origin, b.Origin))
	})
	if m.plan.LostItems > 0 && !m.opts.AcceptLost {
		first := &m.plan.Lost[0]
		m.refuse(RefusedLost, "%d items cannot be recovered, the first is %s of %q: %s", m.plan.LostItems, first.Kind, first.InstanceID, first.Why)
	}
	receives := m.opts.Receive != nil && m.live()
	if n := m.plan.Unseen(); n > 0 && !receives && !m.opts.AcceptLost {
		m.refuse(RefusedUnseen, "up to %d messages of control queues are beyond the %d that a peek shows, and may be events that nothing else tells of", n, maxPeek)
	}
	if m.plan.CutOffItems > 0 && !m.opts.AcceptLost {
		first := &m.plan.CutOff[0]
		m.refuse(RefusedCutOff, "%d links to instances that stay are cut, the first is of %q: %s", m.plan.CutOffItems, first.InstanceID, first.Why)
	}
	return nil
}

// counting counts the rows of a source when a table is read as a whole, which
// [Pending] does once.
type counting struct {
	hub.Reader
	m *migration
}

func (c *counting) Rows(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	rows := c.Reader.Rows(ctx, table, keys)
	if keys != (hub.Keys{}) {
		return rows
	}
	return func(yield func(schema.Row, error) bool) {
		plan, progress := &c.m.plan, c.m.opts.OnProgress
		moves := moving{selection: c.m.selection}
		for row, err := range rows {
			if err == nil && moves.has(row.PartitionKey) {
				c.m.selection.note(&row)
				plan.Rows[table]++
				plan.RowBytes = c.m.sums.bytes
				if _, changed := c.m.rewrite.Row(table, row); changed != nil {
					plan.Rewritten++
				}
				if n := plan.Rows[hub.Instances] + plan.Rows[hub.History]; n%1024 == 0 && progress != nil {
					progress(Progress{Phase: PhasePlan, Items: n, Bytes: plan.RowBytes, Total: c.m.rowTotal()})
				}
			}
			if !yield(row, err) {
				return
			}
		}
	}
}
