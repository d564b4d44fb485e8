package repair

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// overlay is a hub as it is when the plan was carried out. Messages that are due
// later can be seen in it, so that it is known that they are there.
type overlay struct {
	hub.Reader
	// rows has what is written, by table and PartitionKey and in the order of
	// RowKeys; of a row that goes, row is nil.
	rows     map[partition][]changedRow
	messages map[string][]schema.QueueMessage // that are sent, by queue
	removed  map[string][]string              // IDs by queue
	blobs    map[string][]byte                // payloads by stored name
	payloads string                           // their container
	sent     int
}

type partition struct {
	table hub.Table
	key   string
}

type changedRow struct {
	rowKey string
	row    *schema.Row
}

func newOverlay(r hub.Reader, payloads string) *overlay {
	return &overlay{
		Reader: r, payloads: payloads, rows: make(map[partition][]changedRow),
		messages: make(map[string][]schema.QueueMessage), removed: make(map[string][]string), blobs: make(map[string][]byte),
	}
}

// put makes a row what after is; nil deletes it.
func (o *overlay) put(at place, after *schema.Row) {
	p := partition{at.table, at.partitionKey}
	rows := o.rows[p]
	i, found := slices.BinarySearchFunc(rows, at.rowKey, func(c changedRow, key string) int { return schema.CompareKeys(c.rowKey, key) })
	if found {
		rows[i].row = after
		return
	}
	o.rows[p] = slices.Insert(rows, i, changedRow{at.rowKey, after})
}

// send adds a message.
func (o *overlay) send(m *Message) error {
	o.sent++
	if m.Blob != nil {
		_, packed, err := hub.PackText(o.payloads, m.Blob.Name, []byte(m.Blob.Text))
		if err != nil {
			return err
		}
		o.blobs[schema.StoredBlobName(m.Blob.Name)] = packed
	}
	o.messages[m.Queue] = append(o.messages[m.Queue], schema.QueueMessage{
		Queue: m.Queue, ID: fmt.Sprintf("planned-%d", o.sent), Text: body(m.Text, m.Encoding), ExpiresAt: schema.MaxTicks,
	})
	return nil
}

// Rows implements [hub.Reader].
func (o *overlay) Rows(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	changed := o.changed(table, keys)
	if len(changed) == 0 {
		return o.Reader.Rows(ctx, table, keys)
	}
	return func(yield func(schema.Row, error) bool) {
		left := changed
		for row, err := range o.Reader.Rows(ctx, table, keys) {
			if err != nil {
				yield(row, err)
				return
			}
			for len(left) > 0 && left[0].before(&row) {
				if left[0].row != nil && !yield(left[0].row.Clone(), nil) {
					return
				}
				left = left[1:]
			}
			if len(left) > 0 && left[0].is(&row) {
				continue // comes when the next row does
			}
			if !yield(row, nil) {
				return
			}
		}
		for _, c := range left {
			if c.row != nil && !yield(c.row.Clone(), nil) {
				return
			}
		}
	}
}

// keyedRow is a changedRow with its PartitionKey.
type keyedRow struct {
	partitionKey string
	changedRow
}

func (k *keyedRow) before(row *schema.Row) bool {
	if c := schema.CompareKeys(k.partitionKey, row.PartitionKey); c != 0 {
		return c < 0
	}
	return schema.CompareKeys(k.rowKey, row.RowKey) < 0
}

func (k *keyedRow) is(row *schema.Row) bool {
	return k.partitionKey == row.PartitionKey && k.rowKey == row.RowKey
}

// changed lists the rows that are written and that keys selects, in key order.
func (o *overlay) changed(table hub.Table, keys hub.Keys) []keyedRow {
	var all []keyedRow
	add := func(key string) {
		for _, c := range o.rows[partition{table, key}] {
			if keys.Contains(key, c.rowKey) {
				all = append(all, keyedRow{key, c})
			}
		}
	}
	if keys.From != "" && keys.To == hub.Partition(keys.From).To {
		add(keys.From)
		return all
	}
	var partitions []string
	for p := range o.rows {
		if p.table == table {
			partitions = append(partitions, p.key)
		}
	}
	slices.SortFunc(partitions, schema.CompareKeys)
	for _, key := range partitions {
		add(key)
	}
	return all
}

// Queues implements [hub.Reader].
func (o *overlay) Queues(ctx context.Context) ([]hub.Queue, error) {
	queues, err := o.Reader.Queues(ctx)
	for i := range queues {
		q := &queues[i]
		q.ApproximateCount += int64(len(o.messages[q.Name]) - len(o.removed[q.Name]))
	}
	return queues, err
}

// Messages implements [hub.Reader].
func (o *overlay) Messages(ctx context.Context, queue string) iter.Seq2[schema.QueueMessage, error] {
	return func(yield func(schema.QueueMessage, error) bool) {
		for m, err := range o.Reader.Messages(ctx, queue) {
			if err == nil && slices.Contains(o.removed[queue], m.ID) {
				continue
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
		for _, m := range o.messages[queue] {
			if !yield(m, nil) {
				return
			}
		}
	}
}

// ReadBlob implements [hub.Reader].
func (o *overlay) ReadBlob(ctx context.Context, container, name string, limit int64) ([]byte, error) {
	packed, ok := o.blobs[schema.StoredBlobName(name)]
	switch {
	case container != o.payloads || !ok:
		return o.Reader.ReadBlob(ctx, container, name, limit)
	case int64(len(packed)) > limit:
		return nil, fmt.Errorf("blob %s: %w", name, hub.ErrTooLarge)
	}
	return packed, nil
}

// narrow is a hub of which a walk over all rows shows only some partitions, so that
// it costs no more than they do.
type narrow struct {
	hub.Reader
	keys []string // in order
}

// Rows implements [hub.Reader].
func (n *narrow) Rows(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	if keys != (hub.Keys{}) {
		return n.Reader.Rows(ctx, table, keys)
	}
	return func(yield func(schema.Row, error) bool) {
		for _, key := range n.keys {
			for row, err := range n.Reader.Rows(ctx, table, hub.Partition(key)) {
				if !yield(row, err) || err != nil {
					return
				}
			}
		}
	}
}
