package migrate

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// view is the source as the target must have it: rows rewritten, leases and
// partitions new, of instances and blobs only those that move, and no messages.
// What copies it and what checks the copy read the same.
type view struct {
	hub.Reader
	m    *migration
	info hub.Info
}

func (m *migration) view() *view {
	v := &view{Reader: m.from, m: m, info: hub.Info{Names: m.opts.Names, PartitionCount: m.opts.Partitions}}
	for _, t := range m.artifacts.Tables {
		rows := m.plan.Rows[t]
		if t == hub.Partitions {
			rows = int64(len(m.artifacts.Partitions))
		}
		v.info.Tables = append(v.info.Tables, hub.TableInfo{Table: t, Name: m.opts.Names.Table(t), Rows: rows})
	}
	return v
}

func (v *view) Info(context.Context) (hub.Info, error) { return v.info, nil }

func (v *view) Rows(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	switch {
	case table == hub.History && v.m.redriven:
		return v.edited(ctx, keys)
	case table == hub.History:
		return v.m.selection.rows(v.Reader.Rows(ctx, table, keys))
	}
	return func(yield func(schema.Row, error) bool) {
		if table == hub.Partitions {
			for _, row := range v.m.artifacts.Partitions {
				if keys.Contains(row.PartitionKey, row.RowKey) && !yield(row, nil) {
					return
				}
			}
			return
		}
		for row, err := range v.m.selection.rows(v.Reader.Rows(ctx, table, keys)) {
			if err == nil {
				row, _ = v.m.rewrite.Row(table, row)
			}
			if !yield(row, err) {
				return
			}
		}
	}
}

// edited streams the history with the rows that redrive work in the place of what
// they were. [Pending] gives them out in the order of their keys, so that two
// walks side by side need no memory of them.
func (v *view) edited(ctx context.Context, keys hub.Keys) iter.Seq2[schema.Row, error] {
	return func(yield func(schema.Row, error) bool) {
		next, stop := iter.Pull2(v.m.edits(ctx))
		defer stop()
		edit, err, more := next()
		for row, rowErr := range v.m.selection.rows(v.Reader.Rows(ctx, hub.History, keys)) {
			if rowErr != nil {
				yield(row, rowErr)
				return
			}
			for err == nil && more && schema.CompareRows(edit, &row) < 0 && !keys.Contains(edit.PartitionKey, edit.RowKey) {
				edit, err, more = next()
			}
			switch {
			case err != nil:
				yield(schema.Row{}, err)
				return
			case more && schema.CompareRows(edit, &row) == 0:
				row = *edit
				edit, err, more = next()
			case more && schema.CompareRows(edit, &row) < 0:
				yield(schema.Row{}, changedMeanwhile(edit))
				return
			}
			if !yield(row, nil) {
				return
			}
		}
		switch {
		case err != nil:
			yield(schema.Row{}, err)
		case more && keys.Contains(edit.PartitionKey, edit.RowKey):
			yield(schema.Row{}, changedMeanwhile(edit))
		}
	}
}

func changedMeanwhile(edit *schema.Row) error {
	return fmt.Errorf("row %q/%q of History is gone: the source is %w", edit.PartitionKey, edit.RowKey, hub.ErrInUse)
}

// edits streams the rows of History that change.
func (m *migration) edits(ctx context.Context) iter.Seq2[*schema.Row, error] {
	return func(yield func(*schema.Row, error) bool) {
		if !m.kept.over {
			for i := range m.kept.edits {
				if !yield(&m.kept.edits[i], nil) {
					return
				}
			}
			return
		}
		for i, err := range m.pending(ctx, m.from) {
			if err != nil {
				yield(nil, err)
				return
			}
			if i.Edit != nil && !yield(i.Edit, nil) {
				return
			}
		}
	}
}

func (v *view) Queues(context.Context) ([]hub.Queue, error) { return nil, nil }

func (v *view) Messages(context.Context, string) iter.Seq2[schema.QueueMessage, error] {
	return func(func(schema.QueueMessage, error) bool) {}
}

func (v *view) Containers(context.Context) ([]hub.Container, error) {
	var all []hub.Container
	for _, name := range v.m.artifacts.Containers {
		all = append(all, hub.Container{Name: name})
	}
	if v.m.large || len(v.m.made) > 0 {
		all = append(all, hub.Container{Name: v.info.Names.LargeMessages()})
	}
	slices.SortFunc(all, func(a, b hub.Container) int { return schema.CompareKeys(a.Name, b.Name) })
	return all, nil
}

// original returns the container of the source whose blobs a container of the
// target has; ok is false if there is none.
func (v *view) original(container string) (name string, ok bool) {
	return v.m.source.Names.LargeMessages(), container == v.info.Names.LargeMessages()
}

func (v *view) Blobs(ctx context.Context, container, prefix string) iter.Seq2[hub.Blob, error] {
	return func(yield func(hub.Blob, error) bool) {
		original, ok := v.original(container)
		if !ok {
			for _, b := range v.m.artifacts.Blobs { // in the order of their names
				if b.Container == container && !yield(b.Blob, nil) {
					return
				}
			}
			return
		}
		for b, err := range v.Reader.Blobs(ctx, original, prefix) {
			if err == nil {
				if !v.m.selection.hasBlob(b.Name) {
					continue
				}
				b.Container = container
			}
			if !yield(b, err) {
				return
			}
		}
	}
}

func (v *view) ReadBlob(ctx context.Context, container, name string, limit int64) ([]byte, error) {
	if original, ok := v.original(container); ok && v.m.selection.hasBlob(name) {
		return v.Reader.ReadBlob(ctx, original, name, limit)
	}
	for _, b := range v.m.artifacts.Blobs {
		if b.Container == container && b.Name == name {
			return b.Data, nil
		}
	}
	return nil, fmt.Errorf("blob %s/%s: %w", container, name, hub.ErrNotFound)
}

// withoutMade is the target without the blobs of messages that were made, which an
// interrupted messages phase leaves and the source does not have.
type withoutMade struct {
	hub.Reader
	m *migration
}

func (w withoutMade) Blobs(ctx context.Context, container, prefix string) iter.Seq2[hub.Blob, error] {
	return func(yield func(hub.Blob, error) bool) {
		for b, err := range w.Reader.Blobs(ctx, container, prefix) {
			if err == nil && container == w.m.opts.Names.LargeMessages() && w.m.made[b.Name] {
				continue
			}
			if !yield(b, err) {
				return
			}
		}
	}
}
