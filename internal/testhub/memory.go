package testhub

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/schema"
)

// Memory is a [hub.Reader] over plain data. It is made to be obviously right,
// not fast: it looks at everything for every call.
type Memory struct {
	Content hubtest.Content
	// Started and Finished are the times of Info: the hub was recorded then.
	Started, Finished schema.Ticks
}

var _ hub.Reader = (*Memory)(nil)

// NewMemory returns a Reader over c, which it sorts and keeps.
func NewMemory(c hubtest.Content) *Memory {
	c.Sort()
	return &Memory{Content: c}
}

// Info implements [hub.Reader].
func (m *Memory) Info(ctx context.Context) (hub.Info, error) {
	c := &m.Content
	if ctx.Err() != nil {
		return hub.Info{}, context.Cause(ctx)
	}
	if len(c.Tables) == 0 && len(c.Queues) == 0 && len(c.Containers) == 0 {
		return hub.Info{}, fmt.Errorf("hub %q: %w", c.Names.TaskHub, hub.ErrNotFound)
	}
	info := hub.Info{
		Names: c.Names, Account: c.Account, PartitionCount: c.PartitionCount, PartitionCountFrom: c.PartitionCountFrom,
		Started: m.Started, Finished: m.Finished,
		Unreadable: c.Unreadable,
	}
	for t := hub.Instances; t <= hub.Partitions; t++ {
		if rows, ok := c.Tables[t]; ok {
			info.Tables = append(info.Tables, hub.TableInfo{
				Table: t, Name: c.Names.Table(t), Rows: int64(len(rows)),
				Started: m.Started, Finished: m.Finished,
			})
		}
	}
	return info, nil
}

// Rows implements [hub.Reader].
func (m *Memory) Rows(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	return stream(ctx, m.Content.Tables[table], func(r schema.Row) (schema.Row, bool) {
		if !keys.Contains(r.PartitionKey, r.RowKey) {
			return r, false
		}
		return r.Clone(), true
	})
}

// stream yields what convert makes of those elements that it accepts.
func stream[T, U any](ctx context.Context, all []T, convert func(T) (U, bool)) iter.Seq2[U, error] {
	return func(yield func(U, error) bool) {
		var zero U
		for _, v := range all {
			if ctx.Err() != nil {
				yield(zero, context.Cause(ctx))
				return
			}
			if u, ok := convert(v); ok && !yield(u, nil) {
				return
			}
		}
		if len(all) == 0 && ctx.Err() != nil {
			yield(zero, context.Cause(ctx))
		}
	}
}

// Split implements [hub.Reader]: at every partition, as far as n allows.
func (m *Memory) Split(ctx context.Context, table hub.Table, n int) ([]hub.Keys, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	rows := m.Content.Tables[table]
	ranges := []hub.Keys{{}}
	for i := 1; i < len(rows); i++ {
		if k := rows[i].PartitionKey; k != rows[i-1].PartitionKey && i*n >= len(rows)*len(ranges) && len(ranges) < n {
			ranges[len(ranges)-1].To = k
			ranges = append(ranges, hub.Keys{From: k})
		}
	}
	return ranges, nil
}

// Queues implements [hub.Reader].
func (m *Memory) Queues(ctx context.Context) ([]hub.Queue, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var queues []hub.Queue
	for _, q := range m.Content.Queues {
		queues = append(queues, hub.Queue{Name: q.Name, ApproximateCount: q.ApproximateCount})
	}
	return queues, nil
}

// Messages implements [hub.Reader].
func (m *Memory) Messages(ctx context.Context, queue string) iter.Seq2[schema.QueueMessage, error] {
	var messages []schema.QueueMessage
	for _, q := range m.Content.Queues {
		if q.Name == queue {
			messages = q.Messages
		}
	}
	return stream(ctx, messages, func(msg schema.QueueMessage) (schema.QueueMessage, bool) {
		msg.Queue = queue
		return msg, true
	})
}

// Containers implements [hub.Reader].
func (m *Memory) Containers(ctx context.Context) ([]hub.Container, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return slices.Clone(m.Content.Containers), nil
}

// Blobs implements [hub.Reader].
func (m *Memory) Blobs(ctx context.Context, container, prefix string) iter.Seq2[hub.Blob, error] {
	return stream(ctx, m.Content.Blobs, func(b hubtest.Blob) (hub.Blob, bool) {
		return b.Blob, b.Container == container && strings.HasPrefix(b.Name, prefix)
	})
}

// ReadBlob implements [hub.Reader].
func (m *Memory) ReadBlob(ctx context.Context, container, name string, limit int64) ([]byte, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	for _, b := range m.Content.Blobs {
		if b.Container != container || b.Name != name {
			continue
		}
		if int64(len(b.Data)) > limit {
			return nil, fmt.Errorf("blob %s/%s: %w", container, name, hub.ErrTooLarge)
		}
		return slices.Clone(b.Data), nil
	}
	return nil, fmt.Errorf("blob %s/%s: %w", container, name, hub.ErrNotFound)
}

// Close implements [hub.Reader].
func (m *Memory) Close() error { return nil }
