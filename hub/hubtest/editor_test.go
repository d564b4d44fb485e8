package hubtest_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// careless is an Editor with one thing wrong.
type careless struct {
	*testhub.Editor
	insert, replace, merge func(context.Context, hub.Table, schema.Row) (string, error)
	deleteRows             func(context.Context, hub.Table, []schema.Row) error
	putMessage             func(context.Context, string, string, time.Duration) error
	deleteQueue            func(context.Context, string) error
	deleteContainer        func(context.Context, string) error
	blobURL                func(string, string) string
}

func (c *careless) InsertRow(ctx context.Context, t hub.Table, r schema.Row) (string, error) {
	if c.insert != nil {
		return c.insert(ctx, t, r)
	}
	return c.Editor.InsertRow(ctx, t, r)
}

func (c *careless) ReplaceRow(ctx context.Context, t hub.Table, r schema.Row) (string, error) {
	if c.replace != nil {
		return c.replace(ctx, t, r)
	}
	return c.Editor.ReplaceRow(ctx, t, r)
}

func (c *careless) MergeRow(ctx context.Context, t hub.Table, r schema.Row) (string, error) {
	if c.merge != nil {
		return c.merge(ctx, t, r)
	}
	return c.Editor.MergeRow(ctx, t, r)
}

func (c *careless) DeleteRows(ctx context.Context, t hub.Table, rows []schema.Row) error {
	if c.deleteRows != nil {
		return c.deleteRows(ctx, t, rows)
	}
	return c.Editor.DeleteRows(ctx, t, rows)
}

func (c *careless) PutMessage(ctx context.Context, queue, text string, delay time.Duration) error {
	if c.putMessage != nil {
		return c.putMessage(ctx, queue, text, delay)
	}
	return c.Editor.PutMessage(ctx, queue, text, delay)
}

func (c *careless) DeleteQueue(ctx context.Context, queue string) error {
	if c.deleteQueue != nil {
		return c.deleteQueue(ctx, queue)
	}
	return c.Editor.DeleteQueue(ctx, queue)
}

func (c *careless) DeleteContainer(ctx context.Context, container string) error {
	if c.deleteContainer != nil {
		return c.deleteContainer(ctx, container)
	}
	return c.Editor.DeleteContainer(ctx, container)
}

func (c *careless) BlobURL(container, name string) string {
	if c.blobURL != nil {
		return c.blobURL(container, name)
	}
	return c.Editor.BlobURL(container, name)
}

// current returns row with the ETag that is stored, as if none had been asked for.
func current(ctx context.Context, e *testhub.Editor, t hub.Table, row schema.Row) schema.Row {
	for stored, err := range e.Rows(ctx, t, hub.Keys{From: row.PartitionKey, To: row.PartitionKey + "\x00", RowKey: row.RowKey}) {
		if err == nil {
			row.ETag = stored.ETag
		}
	}
	return row
}

// TestRunEditorFails proves that the suite notices each of many mistakes.
func TestRunEditorFails(t *testing.T) {
	for name, spoil := range map[string]func(e *testhub.Editor, c *careless){
		"inserts over a row": func(e *testhub.Editor, c *careless) {
			c.insert = func(ctx context.Context, t hub.Table, row schema.Row) (string, error) {
				etag, err := e.InsertRow(ctx, t, row)
				if errors.Is(err, hub.ErrConflict) {
					return e.ReplaceRow(ctx, t, current(ctx, e, t, row))
				}
				return etag, err
			}
		},
		"replaces any version": func(e *testhub.Editor, c *careless) {
			c.replace = func(ctx context.Context, t hub.Table, row schema.Row) (string, error) {
				return e.ReplaceRow(ctx, t, current(ctx, e, t, row))
			}
		},
		"merges in place of replacing": func(e *testhub.Editor, c *careless) { c.replace = e.MergeRow },
		"replaces in place of merging": func(e *testhub.Editor, c *careless) { c.merge = e.ReplaceRow },
		"makes a row to replace": func(e *testhub.Editor, c *careless) {
			c.replace = func(ctx context.Context, t hub.Table, row schema.Row) (string, error) {
				etag, err := e.ReplaceRow(ctx, t, row)
				if errors.Is(err, hub.ErrNotFound) {
					return e.InsertRow(ctx, t, row)
				}
				return etag, err
			}
		},
		"returns another ETag": func(e *testhub.Editor, c *careless) {
			c.merge = func(ctx context.Context, t hub.Table, row schema.Row) (string, error) {
				etag, err := e.MergeRow(ctx, t, row)
				return etag + " ", err
			}
		},
		"deletes one after the other": func(e *testhub.Editor, c *careless) {
			c.deleteRows = func(ctx context.Context, t hub.Table, rows []schema.Row) error {
				for i := range rows {
					if err := e.DeleteRows(ctx, t, rows[i:i+1]); err != nil {
						return err
					}
				}
				return nil
			}
		},
		"deletes any version": func(e *testhub.Editor, c *careless) {
			c.deleteRows = func(ctx context.Context, t hub.Table, rows []schema.Row) error {
				plain := append([]schema.Row(nil), rows...)
				for i := range plain {
					plain[i].ETag = ""
				}
				return e.DeleteRows(ctx, t, plain)
			}
		},
		"forgets the delay": func(e *testhub.Editor, c *careless) {
			c.putMessage = func(ctx context.Context, queue, text string, _ time.Duration) error {
				return e.PutMessage(ctx, queue, text, 0)
			}
		},
		"deletes a queue twice": func(e *testhub.Editor, c *careless) {
			c.deleteQueue = func(ctx context.Context, queue string) error {
				err := e.DeleteQueue(ctx, queue)
				if errors.Is(err, hub.ErrNotFound) {
					return nil
				}
				return err
			}
		},
		"deletes a leased container": func(e *testhub.Editor, c *careless) {
			c.deleteContainer = func(ctx context.Context, container string) error {
				return errors.Join(e.BreakLease(ctx, container), e.DeleteContainer(ctx, container))
			}
		},
		"does not encode names": func(e *testhub.Editor, c *careless) {
			c.blobURL = func(container, name string) string { return "https://x/" + container + "/" + name }
		},
	} {
		t.Run(name, func(t *testing.T) {
			failures := hubtest.RunEditorRecorded(t, func(_ testing.TB, content hubtest.Content) hubtest.Edited {
				e := testhub.NewEditor(content)
				c := &careless{Editor: e}
				spoil(e, c)
				return c
			})
			if len(failures) == 0 {
				t.Error("the suite does not notice")
			}
		})
	}
	right := func(_ testing.TB, content hubtest.Content) hubtest.Edited {
		return &careless{Editor: testhub.NewEditor(content)}
	}
	if failures := hubtest.RunEditorRecorded(t, right); len(failures) > 0 {
		t.Errorf("with nothing wrong: %q", failures)
	}
}
