package export_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"iter"
	"sync/atomic"
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Hubs made up for a test: what the framework would not write, and what was not
// recorded.

const someTime = schema.Ticks(639_100_000_000_000_000) // in March 2026

var madeUp = hub.Names{TaskHub: "MadeUp"}

func prop(name string, v schema.Value) schema.Property { return schema.Property{Name: name, Value: v} }

func text(name, s string) schema.Property { return prop(name, schema.String(s)) }

func row(partition, key string, props ...schema.Property) schema.Row {
	return schema.Row{PartitionKey: schema.EscapeKey(partition), RowKey: key, Timestamp: someTime, Properties: props}
}

// event returns a history row with the columns that every event has.
func event(id string, seq int, execution, kind string, more ...schema.Property) schema.Row {
	return row(id, schema.FormatSequence(int64(seq)), append([]schema.Property{
		text("EventType", kind), prop("EventId", schema.Int32(-1)), text("ExecutionId", execution),
		prop("IsPlayed", schema.Boolean(false)), prop("_Timestamp", schema.DateTime(someTime+schema.Ticks(seq))),
	}, more...)...)
}

func sentinel(id, execution string) schema.Row {
	return row(id, schema.SentinelRowKey, text("ExecutionId", execution))
}

func instance(id, name string, more ...schema.Property) schema.Row {
	return row(id, "", append([]schema.Property{
		text("ExecutionId", "x"), text("Name", name), prop("CreatedTime", schema.DateTime(someTime)),
		text("RuntimeStatus", "Completed"),
	}, more...)...)
}

// madeUpHub returns a hub with these rows: those with a RowKey are history.
func madeUpHub(rows ...schema.Row) *testhub.Memory {
	c := hubtest.Content{Names: madeUp, PartitionCount: 1, Tables: map[hub.Table][]schema.Row{hub.Instances: nil, hub.History: nil}}
	for _, r := range rows {
		table := hub.History
		if r.RowKey == "" {
			table = hub.Instances
		}
		c.Tables[table] = append(c.Tables[table], r)
	}
	c.Queues = []hubtest.Queue{{Name: madeUp.ControlQueue(0)}, {Name: madeUp.WorkItemQueue()}}
	c.Containers = []hub.Container{{Name: madeUp.LargeMessages()}}
	return testhub.NewMemory(c)
}

// addBlob adds a blob to the large-message container.
func addBlob(m *testhub.Memory, name string, data []byte) {
	m.Content.Blobs = append(m.Content.Blobs, hubtest.Blob{Data: data, Blob: hub.Blob{
		Container: madeUp.LargeMessages(), Name: name, SizeBytes: int64(len(data)), LastModified: someTime,
	}})
	m.Content.Sort()
}

func addMessage(m *testhub.Memory, text string) {
	q := &m.Content.Queues[0]
	q.Messages = append(q.Messages, schema.QueueMessage{
		Queue: q.Name, ID: fmt.Sprintf("message-%d", len(q.Messages)), Text: text, InsertedAt: someTime,
	})
}

func gzipped(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(text))
	_ = z.Close()
	return b.Bytes()
}

// byPartition is a Reader that cuts tables into one range for each partition,
// which makes many tasks of a small hub.
type byPartition struct{ hub.Reader }

func (r byPartition) Split(ctx context.Context, table hub.Table, _ int) ([]hub.Keys, error) {
	ranges := []hub.Keys{{}}
	last := ""
	for row, err := range r.Rows(ctx, table, hub.Keys{}) {
		if err != nil {
			return nil, err
		}
		if row.PartitionKey != last {
			last = row.PartitionKey
			ranges[len(ranges)-1].To = last
			ranges = append(ranges, hub.Keys{From: last})
		}
	}
	return ranges, nil
}

// counted is a Reader that calls do before everything it yields or answers; an
// error of do is what the Reader answers.
type counted struct {
	hub.Reader
	n  atomic.Int64
	do func(n int64) error
}

func (c *counted) step() error { return c.do(c.n.Add(1)) }

func guard[T any](c *counted, all iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for v, err := range all {
			if e := c.step(); e != nil {
				var zero T
				yield(zero, e)
				return
			}
			if !yield(v, err) {
				return
			}
		}
	}
}

func (c *counted) Info(ctx context.Context) (hub.Info, error) {
	if err := c.step(); err != nil {
		return hub.Info{}, err
	}
	return c.Reader.Info(ctx)
}

func (c *counted) Rows(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	return guard(c, c.Reader.Rows(ctx, table, keys))
}

func (c *counted) Split(ctx context.Context, table hub.Table, n int) ([]hub.Keys, error) {
	if err := c.step(); err != nil {
		return nil, err
	}
	return c.Reader.Split(ctx, table, n)
}

func (c *counted) Queues(ctx context.Context) ([]hub.Queue, error) {
	if err := c.step(); err != nil {
		return nil, err
	}
	return c.Reader.Queues(ctx)
}

func (c *counted) Messages(ctx context.Context, queue string) iter.Seq2[schema.QueueMessage, error] {
	return guard(c, c.Reader.Messages(ctx, queue))
}

func (c *counted) Containers(ctx context.Context) ([]hub.Container, error) {
	if err := c.step(); err != nil {
		return nil, err
	}
	return c.Reader.Containers(ctx)
}

func (c *counted) Blobs(ctx context.Context, container, prefix string) iter.Seq2[hub.Blob, error] {
	return guard(c, c.Reader.Blobs(ctx, container, prefix))
}

// untouchable is a Reader that fails t on any call.
func untouchable(t testing.TB) hub.Reader {
	return &counted{do: func(int64) error {
		t.Error("the hub was asked")
		return context.Canceled
	}}
}
