package testhub

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/schema"
)

// Editor is a [hub.Editor] and [hub.Reader] over plain data that does what the
// service does, one request at a time. Unlike the service it shows all messages
// that are visible.
type Editor struct {
	// Now is the service's clock; nil stands still.
	Now func() time.Time
	// Endpoint begins the URLs of blobs.
	Endpoint string
	// Before is called before each change, without a lock, with its method and
	// what it is about; its error is returned in place of the change. Nil does
	// nothing. It may itself use the Editor.
	Before func(method, what string) error

	mu     sync.Mutex
	m      *Memory
	etags  int
	posted []Posted
	edits  []string
}

// Posted is a message that was put into a queue.
type Posted struct {
	Queue, Text string
	Delay       time.Duration
}

var (
	_ hub.Reader = (*Editor)(nil)
	_ hub.Editor = (*Editor)(nil)
)

// NewEditor returns an Editor of c, which it keeps. Rows without an ETag get one.
func NewEditor(c hubtest.Content) *Editor {
	e := &Editor{m: NewMemory(c), Endpoint: "http://127.0.0.1:10000/devstoreaccount1"}
	for _, rows := range e.m.Content.Tables {
		for i := range rows {
			if rows[i].ETag == "" {
				rows[i].ETag = e.etag()
			}
		}
	}
	return e
}

func (e *Editor) etag() string {
	e.etags++
	return fmt.Sprintf(`W/"edit-%d"`, e.etags)
}

// Posted returns the messages that were put so far.
func (e *Editor) Posted() []Posted {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.posted)
}

// Edits returns what was changed so far, as METHOD what, in order.
func (e *Editor) Edits() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.edits)
}

// Content returns what the hub holds now.
func (e *Editor) Content() hubtest.Content { return e.now().Content }

// now returns the hub as it is. Rows and blobs are replaced, never changed.
func (e *Editor) now() *Memory {
	e.mu.Lock()
	defer e.mu.Unlock()
	m := *e.m
	c := &m.Content
	c.Tables = maps.Clone(c.Tables)
	for t, rows := range c.Tables {
		c.Tables[t] = slices.Clone(rows)
	}
	c.Queues, c.Containers, c.Blobs = slices.Clone(c.Queues), slices.Clone(c.Containers), slices.Clone(c.Blobs)
	return &m
}

// Info implements [hub.Reader].
func (e *Editor) Info(ctx context.Context) (hub.Info, error) { return e.now().Info(ctx) }

// Rows implements [hub.Reader].
func (e *Editor) Rows(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	return func(yield func(schema.Row, error) bool) { e.now().Rows(ctx, table, keys)(yield) }
}

// Split implements [hub.Reader].
func (e *Editor) Split(ctx context.Context, table hub.Table, n int) ([]hub.Keys, error) {
	return e.now().Split(ctx, table, n)
}

// Queues implements [hub.Reader].
func (e *Editor) Queues(ctx context.Context) ([]hub.Queue, error) { return e.now().Queues(ctx) }

// Messages implements [hub.Reader].
func (e *Editor) Messages(ctx context.Context, queue string) iter.Seq2[schema.QueueMessage, error] {
	return func(yield func(schema.QueueMessage, error) bool) { e.now().Messages(ctx, queue)(yield) }
}

// Containers implements [hub.Reader].
func (e *Editor) Containers(ctx context.Context) ([]hub.Container, error) {
	return e.now().Containers(ctx)
}

// Blobs implements [hub.Reader].
func (e *Editor) Blobs(ctx context.Context, container, prefix string) iter.Seq2[hub.Blob, error] {
	return func(yield func(hub.Blob, error) bool) { e.now().Blobs(ctx, container, prefix)(yield) }
}

// ReadBlob implements [hub.Reader].
func (e *Editor) ReadBlob(ctx context.Context, container, name string, limit int64) ([]byte, error) {
	return e.now().ReadBlob(ctx, container, name, limit)
}

// Close implements [hub.Reader].
func (e *Editor) Close() error { return nil }

// change calls do with the hub, after Before, and notes what was changed.
func (e *Editor) change(ctx context.Context, method, what string, do func(c *hubtest.Content) error) error {
	if e.Before != nil {
		if err := e.Before(method, what); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := do(&e.m.Content); err != nil {
		return fmt.Errorf("%s %s: %w", method, what, err)
	}
	e.edits = append(e.edits, method+" "+what)
	return nil
}

// row calls do with the rows of a table and the index of one of them, or -1, and
// keeps the rows that it returns.
func (e *Editor) row(ctx context.Context, method string, table hub.Table, row *schema.Row, do func(rows []schema.Row, i int) ([]schema.Row, error)) error {
	what := fmt.Sprintf("%s %s/%s", table, row.PartitionKey, row.RowKey)
	return e.change(ctx, method, what, func(c *hubtest.Content) error {
		rows, ok := c.Tables[table]
		if !ok {
			return hub.ErrNotFound
		}
		rows, err := do(rows, find(rows, row))
		if err != nil {
			return err
		}
		c.Tables[table] = rows
		c.Sort()
		return nil
	})
}

func find(rows []schema.Row, row *schema.Row) int {
	return slices.IndexFunc(rows, func(r schema.Row) bool { return r.PartitionKey == row.PartitionKey && r.RowKey == row.RowKey })
}

// stored returns row as the service keeps it.
func (e *Editor) stored(row *schema.Row) schema.Row {
	kept := row.Clone()
	kept.ETag = e.etag()
	if e.Now != nil {
		kept.Timestamp = schema.TicksOf(e.Now())
	}
	return kept
}

// InsertRow implements [hub.Editor].
func (e *Editor) InsertRow(ctx context.Context, table hub.Table, row schema.Row) (etag string, err error) {
	err = e.row(ctx, "InsertRow", table, &row, func(rows []schema.Row, i int) ([]schema.Row, error) {
		if i >= 0 {
			return nil, hub.ErrConflict
		}
		kept := e.stored(&row)
		etag = kept.ETag
		return append(rows, kept), nil
	})
	return etag, err
}

// ReplaceRow implements [hub.Editor].
func (e *Editor) ReplaceRow(ctx context.Context, table hub.Table, row schema.Row) (string, error) {
	return e.update(ctx, "ReplaceRow", table, &row, func(schema.Row) schema.Row { return row })
}

// MergeRow implements [hub.Editor].
func (e *Editor) MergeRow(ctx context.Context, table hub.Table, row schema.Row) (string, error) {
	return e.update(ctx, "MergeRow", table, &row, func(old schema.Row) schema.Row {
		old = old.Clone()
		for _, p := range row.Properties {
			old.Set(p.Name, p.Value)
		}
		return old
	})
}

func (e *Editor) update(ctx context.Context, method string, table hub.Table, row *schema.Row, change func(schema.Row) schema.Row) (etag string, err error) {
	if row.ETag == "" {
		return "", fmt.Errorf("%s: a row without ETag", method)
	}
	err = e.row(ctx, method, table, row, func(rows []schema.Row, i int) ([]schema.Row, error) {
		switch {
		case i < 0:
			return nil, hub.ErrNotFound
		case rows[i].ETag != row.ETag:
			return nil, hub.ErrConflict
		}
		changed := change(rows[i])
		kept := e.stored(&changed)
		etag = kept.ETag
		rows[i] = kept
		return rows, nil
	})
	return etag, err
}

// DeleteRows implements [hub.Editor].
func (e *Editor) DeleteRows(ctx context.Context, table hub.Table, rows []schema.Row) error {
	if len(rows) == 0 {
		return nil
	}
	what := fmt.Sprintf("%s %s %d", table, rows[0].PartitionKey, len(rows))
	return e.change(ctx, "DeleteRows", what, func(c *hubtest.Content) error {
		if len(rows) > hub.MaxBatchRows {
			return fmt.Errorf("at most %d at once", hub.MaxBatchRows)
		}
		left := slices.Clone(c.Tables[table])
		for i := range rows {
			at := find(left, &rows[i])
			switch {
			case rows[i].PartitionKey != rows[0].PartitionKey:
				return fmt.Errorf("the rows are of several partitions")
			case at < 0:
				return hub.ErrNotFound
			case rows[i].ETag != "" && rows[i].ETag != left[at].ETag:
				return hub.ErrConflict
			}
			left = slices.Delete(left, at, at+1)
		}
		c.Tables[table] = left
		return nil
	})
}

// CreateContainer implements [hub.Editor].
func (e *Editor) CreateContainer(ctx context.Context, container string) error {
	return e.change(ctx, "CreateContainer", container, func(c *hubtest.Content) error {
		if findContainer(c, container) < 0 {
			c.Containers = append(c.Containers, hub.Container{Name: container})
			c.Sort()
		}
		return nil
	})
}

func findContainer(c *hubtest.Content, name string) int {
	return slices.IndexFunc(c.Containers, func(c hub.Container) bool { return c.Name == name })
}

// PutBlob implements [hub.Editor].
func (e *Editor) PutBlob(ctx context.Context, b hub.Blob, data []byte) error {
	b.Name = schema.StoredBlobName(b.Name)
	return e.change(ctx, "PutBlob", b.Container+"/"+b.Name, func(c *hubtest.Content) error {
		if findContainer(c, b.Container) < 0 {
			return hub.ErrNotFound
		}
		b.SizeBytes = int64(len(data))
		c.Blobs = append(withoutBlob(c, b.Container, b.Name), hubtest.Blob{Blob: b, Data: slices.Clone(data)})
		c.Sort()
		return nil
	})
}

func withoutBlob(c *hubtest.Content, container, name string) []hubtest.Blob {
	return slices.DeleteFunc(slices.Clone(c.Blobs), func(b hubtest.Blob) bool { return b.Container == container && b.Name == name })
}

// DeleteBlob implements [hub.Editor].
func (e *Editor) DeleteBlob(ctx context.Context, container, name string) error {
	name = schema.StoredBlobName(name)
	return e.change(ctx, "DeleteBlob", container+"/"+name, func(c *hubtest.Content) error {
		left := withoutBlob(c, container, name)
		if len(left) == len(c.Blobs) {
			return hub.ErrNotFound
		}
		c.Blobs = left
		return nil
	})
}

// BlobURL implements [hub.Editor].
func (e *Editor) BlobURL(container, name string) string {
	return schema.BlobURL(e.Endpoint, container, name)
}

// PutMessage implements [hub.Editor].
func (e *Editor) PutMessage(ctx context.Context, queue, text string, delay time.Duration) error {
	return e.change(ctx, "PutMessage", queue, func(c *hubtest.Content) error {
		i := findQueue(c, queue)
		switch {
		case i < 0:
			return hub.ErrNotFound
		case delay < 0 || delay > hub.MaxMessageDelay:
			return fmt.Errorf("a delay of %v", delay)
		case len(text) > 64<<10:
			return fmt.Errorf("a message of %d bytes", len(text))
		}
		delay = delay.Truncate(time.Second)
		e.posted = append(e.posted, Posted{Queue: queue, Text: text, Delay: delay})
		q := &c.Queues[i]
		q.ApproximateCount++
		if delay == 0 {
			m := schema.QueueMessage{Queue: queue, ID: fmt.Sprintf("posted-%d", len(e.posted)), Text: strings.Clone(text), ExpiresAt: schema.MaxTicks}
			if e.Now != nil {
				m.InsertedAt = schema.TicksOf(e.Now())
			}
			q.Messages = append(slices.Clip(q.Messages), m)
		}
		return nil
	})
}

func findQueue(c *hubtest.Content, name string) int {
	return slices.IndexFunc(c.Queues, func(q hubtest.Queue) bool { return q.Name == name })
}

// DeleteTable implements [hub.Editor].
func (e *Editor) DeleteTable(ctx context.Context, table hub.Table) error {
	return e.change(ctx, "DeleteTable", table.String(), func(c *hubtest.Content) error {
		if c.Names.TrackingPrefix != "" && table != hub.Partitions {
			return hub.ErrInUse
		}
		if _, ok := c.Tables[table]; !ok {
			return hub.ErrNotFound
		}
		delete(c.Tables, table)
		return nil
	})
}

// DeleteQueue implements [hub.Editor].
func (e *Editor) DeleteQueue(ctx context.Context, queue string) error {
	return e.change(ctx, "DeleteQueue", queue, func(c *hubtest.Content) error {
		i := findQueue(c, queue)
		if i < 0 {
			return hub.ErrNotFound
		}
		c.Queues = slices.Delete(slices.Clone(c.Queues), i, i+1)
		return nil
	})
}

// DeleteContainer implements [hub.Editor].
func (e *Editor) DeleteContainer(ctx context.Context, container string) error {
	return e.change(ctx, "DeleteContainer", container, func(c *hubtest.Content) error {
		i := findContainer(c, container)
		switch {
		case i < 0:
			return hub.ErrNotFound
		case c.Containers[i].LeaseState == "leased":
			return hub.ErrInUse
		}
		c.Containers = slices.Delete(slices.Clone(c.Containers), i, i+1)
		c.Blobs = slices.DeleteFunc(slices.Clone(c.Blobs), func(b hubtest.Blob) bool { return b.Container == container })
		return nil
	})
}

// BreakLease implements [hub.Editor].
func (e *Editor) BreakLease(ctx context.Context, container string) error {
	return e.change(ctx, "BreakLease", container, func(c *hubtest.Content) error {
		i := findContainer(c, container)
		if i < 0 {
			return hub.ErrNotFound
		}
		if c.Containers[i].LeaseState == "leased" {
			c.Containers = slices.Clone(c.Containers)
			c.Containers[i].LeaseState = "broken"
		}
		return nil
	})
}
