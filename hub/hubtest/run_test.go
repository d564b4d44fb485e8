package hubtest_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

func memory(_ testing.TB, c hubtest.Content) hub.Reader { return testhub.NewMemory(c) }

func TestMemory(t *testing.T) {
	for _, service := range []bool{false, true} {
		t.Run(fmt.Sprintf("ServiceValues=%v", service), func(t *testing.T) {
			hubtest.Run(t, hubtest.Options{ServiceValues: service}, memory)
		})
	}
}

// broken is a Reader with one thing wrong. Methods that are nil are right.
type broken struct {
	hub.Reader
	info     func(context.Context) (hub.Info, error)
	rows     func(context.Context, hub.Table, hub.Keys) iter.Seq2[schema.Row, error]
	split    func(context.Context, hub.Table, int) ([]hub.Keys, error)
	messages func(context.Context, string) iter.Seq2[schema.QueueMessage, error]
	blobs    func(context.Context, string, string) iter.Seq2[hub.Blob, error]
	readBlob func(context.Context, string, string, int64) ([]byte, error)
}

func (b *broken) Info(ctx context.Context) (hub.Info, error) {
	if b.info != nil {
		return b.info(ctx)
	}
	return b.Reader.Info(ctx)
}

func (b *broken) Rows(ctx context.Context, t hub.Table, k hub.Keys) iter.Seq2[schema.Row, error] {
	if b.rows != nil {
		return b.rows(ctx, t, k)
	}
	return b.Reader.Rows(ctx, t, k)
}

func (b *broken) Split(ctx context.Context, t hub.Table, n int) ([]hub.Keys, error) {
	if b.split != nil {
		return b.split(ctx, t, n)
	}
	return b.Reader.Split(ctx, t, n)
}

func (b *broken) Messages(ctx context.Context, queue string) iter.Seq2[schema.QueueMessage, error] {
	if b.messages != nil {
		return b.messages(ctx, queue)
	}
	return b.Reader.Messages(ctx, queue)
}

func (b *broken) Blobs(ctx context.Context, container, prefix string) iter.Seq2[hub.Blob, error] {
	if b.blobs != nil {
		return b.blobs(ctx, container, prefix)
	}
	return b.Reader.Blobs(ctx, container, prefix)
}

func (b *broken) ReadBlob(ctx context.Context, container, name string, limit int64) ([]byte, error) {
	if b.readBlob != nil {
		return b.readBlob(ctx, container, name, limit)
	}
	return b.Reader.ReadBlob(ctx, container, name, limit)
}

// mapRows changes rows on their way; nil drops one.
func mapRows(r hub.Reader, change func(i int, row schema.Row) *schema.Row) func(context.Context, hub.Table, hub.Keys) iter.Seq2[schema.Row, error] {
	return func(ctx context.Context, t hub.Table, k hub.Keys) iter.Seq2[schema.Row, error] {
		return func(yield func(schema.Row, error) bool) {
			i := 0
			for row, err := range r.Rows(ctx, t, k) {
				if err == nil {
					changed := change(i, row)
					i++
					if changed == nil {
						continue
					}
					row = *changed
				}
				if !yield(row, err) {
					return
				}
			}
		}
	}
}

// TestRunFails proves that the suite notices each of many mistakes.
func TestRunFails(t *testing.T) {
	tests := map[string]func(r hub.Reader, b *broken){
		"drops a row": func(r hub.Reader, b *broken) {
			b.rows = mapRows(r, func(i int, row schema.Row) *schema.Row {
				if i == 100 {
					return nil
				}
				return &row
			})
		},
		"changes the type of a value": func(r hub.Reader, b *broken) {
			b.rows = mapRows(r, func(_ int, row schema.Row) *schema.Row {
				if n, ok := row.Get("Large").Int(); ok {
					row.Set("Large", schema.Double(float64(n)))
				}
				return &row
			})
		},
		"loses 100 ns": func(r hub.Reader, b *broken) {
			b.rows = mapRows(r, func(_ int, row schema.Row) *schema.Row {
				if at, ok := row.Get("CreatedTime").Time(); ok {
					row.Set("CreatedTime", schema.DateTime(at/10*10))
				}
				return &row
			})
		},
		"loses the ETag": func(r hub.Reader, b *broken) {
			b.rows = mapRows(r, func(_ int, row schema.Row) *schema.Row { row.ETag = ""; return &row })
		},
		"drops empty values": func(r hub.Reader, b *broken) {
			b.rows = mapRows(r, func(_ int, row schema.Row) *schema.Row { row.Set("Empty", schema.Value{}); return &row })
		},
		"orders by bytes": func(r hub.Reader, b *broken) {
			b.rows = func(ctx context.Context, t hub.Table, k hub.Keys) iter.Seq2[schema.Row, error] {
				return func(yield func(schema.Row, error) bool) {
					var late []schema.Row
					for row, err := range r.Rows(ctx, t, k) {
						if strings.HasPrefix(row.PartitionKey, "😀") {
							late = append(late, row)
						} else if !yield(row, err) {
							return
						}
					}
					for _, row := range late {
						if !yield(row, nil) {
							return
						}
					}
				}
			}
		},
		"includes To": func(r hub.Reader, b *broken) {
			b.rows = func(ctx context.Context, t hub.Table, k hub.Keys) iter.Seq2[schema.Row, error] {
				if k.To != "" {
					k.To += "\x00"
				}
				return r.Rows(ctx, t, k)
			}
		},
		"ignores RowKey": func(r hub.Reader, b *broken) {
			b.rows = func(ctx context.Context, t hub.Table, k hub.Keys) iter.Seq2[schema.Row, error] {
				k.RowKey = ""
				return r.Rows(ctx, t, k)
			}
		},
		"reuses the memory of rows": func(r hub.Reader, b *broken) {
			b.rows = func(ctx context.Context, t hub.Table, k hub.Keys) iter.Seq2[schema.Row, error] {
				props := make([]schema.Property, 64)
				return mapRows(r, func(_ int, row schema.Row) *schema.Row {
					row.Properties = props[:copy(props, row.Properties)]
					return &row
				})(ctx, t, k)
			}
		},
		"streams only once": func(r hub.Reader, b *broken) {
			b.rows = func(ctx context.Context, t hub.Table, k hub.Keys) iter.Seq2[schema.Row, error] {
				var once sync.Once
				rows := r.Rows(ctx, t, k)
				return func(yield func(schema.Row, error) bool) { once.Do(func() { rows(yield) }) }
			}
		},
		"ignores cancellation": func(r hub.Reader, b *broken) {
			b.rows = func(ctx context.Context, t hub.Table, k hub.Keys) iter.Seq2[schema.Row, error] {
				return r.Rows(context.WithoutCancel(ctx), t, k)
			}
		},
		"ends early when canceled": func(r hub.Reader, b *broken) {
			b.rows = func(ctx context.Context, t hub.Table, k hub.Keys) iter.Seq2[schema.Row, error] {
				return func(yield func(schema.Row, error) bool) {
					if ctx.Err() != nil {
						yield(schema.Row{}, context.Cause(ctx))
						return
					}
					for row, err := range r.Rows(context.WithoutCancel(ctx), t, k) {
						if ctx.Err() != nil || !yield(row, err) {
							return
						}
					}
				}
			}
		},
		"returns ctx.Err in place of the cause": func(r hub.Reader, b *broken) {
			b.info = func(ctx context.Context) (hub.Info, error) {
				if ctx.Err() != nil {
					return hub.Info{}, ctx.Err()
				}
				return r.Info(ctx)
			}
		},
		"yields a value with an error": func(r hub.Reader, b *broken) {
			b.messages = func(ctx context.Context, q string) iter.Seq2[schema.QueueMessage, error] {
				return func(yield func(schema.QueueMessage, error) bool) {
					for m, err := range r.Messages(ctx, q) {
						if err != nil {
							m.ID = "last"
						}
						if !yield(m, err) {
							return
						}
					}
				}
			}
		},
		"splits into ranges that overlap": func(r hub.Reader, b *broken) {
			b.split = func(ctx context.Context, t hub.Table, n int) ([]hub.Keys, error) {
				ranges, err := r.Split(ctx, t, n)
				if len(ranges) > 1 {
					ranges[0].To = ranges[1].To
				}
				return ranges, err
			}
		},
		"splits into too many": func(r hub.Reader, b *broken) {
			b.split = func(ctx context.Context, t hub.Table, n int) ([]hub.Keys, error) { return r.Split(ctx, t, n+1) }
		},
		"ignores the limit of ReadBlob": func(r hub.Reader, b *broken) {
			b.readBlob = func(ctx context.Context, c, n string, _ int64) ([]byte, error) { return r.ReadBlob(ctx, c, n, 1<<30) }
		},
		"has another error for missing blobs": func(r hub.Reader, b *broken) {
			b.readBlob = func(ctx context.Context, c, n string, limit int64) ([]byte, error) {
				data, err := r.ReadBlob(ctx, c, n, limit)
				if errors.Is(err, hub.ErrNotFound) {
					err = errors.New("404")
				}
				return data, err
			}
		},
		"ignores the prefix": func(r hub.Reader, b *broken) {
			b.blobs = func(ctx context.Context, c, _ string) iter.Seq2[hub.Blob, error] { return r.Blobs(ctx, c, "") }
		},
		"finds a hub that does not exist": func(r hub.Reader, b *broken) {
			b.info = func(ctx context.Context) (hub.Info, error) {
				info, err := r.Info(ctx)
				if errors.Is(err, hub.ErrNotFound) {
					err = nil
				}
				return info, err
			}
		},
	}
	for name, breakIt := range tests {
		t.Run(name, func(t *testing.T) {
			failures := hubtest.RunRecorded(t, hubtest.Options{}, func(_ testing.TB, c hubtest.Content) hub.Reader {
				r := testhub.NewMemory(c)
				b := &broken{Reader: r}
				breakIt(r, b)
				return b
			})
			if len(failures) == 0 {
				t.Error("the suite passes")
			}
		})
	}
	if failures := hubtest.RunRecorded(t, hubtest.Options{}, memory); len(failures) > 0 {
		t.Errorf("the suite fails without a mistake: %q", failures)
	}
}
