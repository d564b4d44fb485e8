package hub_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// table returns a Reader over a table of partitions with so many rows each.
func table(partitions, rows int) *testhub.Memory {
	c := hubtest.Content{Names: hub.Names{TaskHub: "Parallel"}, Tables: map[hub.Table][]schema.Row{}}
	for p := range partitions {
		for i := range rows {
			c.Tables[hub.History] = append(c.Tables[hub.History], schema.Row{
				PartitionKey: fmt.Sprintf("p%04d", p), RowKey: schema.FormatSequence(int64(i)),
				Properties: []schema.Property{{Name: "N", Value: schema.Int32(int32(i))}},
			})
		}
	}
	return testhub.NewMemory(c)
}

// keys reads rows to the end, as PartitionKey/RowKey.
func keys(rows iter.Seq2[schema.Row, error]) (all []string, err error) {
	for row, err := range rows {
		if err != nil {
			return all, err
		}
		all = append(all, row.PartitionKey+"/"+row.RowKey)
	}
	return all, nil
}

var workerCounts = []int{-1, 0, 1, 2, 3, 4, 7, 16, 64}

// The rows are those of Rows in the same order, however many workers there are.
// Of the goroutines that read, none is left: synctest would tell.
func TestParallelRowsOrder(t *testing.T) {
	recorded := testhub.OpenHub(t, "dtfx-2.9.1")
	readers := map[string]hub.Reader{
		"no rows": table(0, 0), "one row": table(1, 1), "one partition": table(1, 3000), "few partitions": table(3, 1200),
		"many partitions": table(2500, 1), "pages exactly": table(8, 500), "a capture": recorded,
	}
	for name, r := range readers {
		t.Run(name, func(t *testing.T) {
			var want []schema.Row
			for row, err := range r.Rows(t.Context(), hub.History, hub.Keys{}) {
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, row.Clone())
			}
			for _, workers := range workerCounts {
				synctest.Test(t, func(t *testing.T) {
					n := 0
					for row, err := range hub.ParallelRows(t.Context(), r, hub.History, workers) {
						if err != nil {
							t.Fatalf("%d workers: %v", workers, err)
						}
						if n >= len(want) || row.PartitionKey != want[n].PartitionKey || row.RowKey != want[n].RowKey || !schema.SameProperties(&row, &want[n]) {
							t.Fatalf("%d workers: row %d is %s/%s, which is not that of Rows", workers, n, row.PartitionKey, row.RowKey)
						}
						n++
					}
					if n != len(want) {
						t.Errorf("%d workers: %d rows, want %d", workers, n, len(want))
					}
				})
			}
		})
	}
}

// watched is a Reader that counts the rows it has yielded, fails at one of them,
// and may cut a table into more ranges than it is asked for.
type watched struct {
	hub.Reader
	yielded  atomic.Int64
	failAt   string // PartitionKey
	err      error
	splitErr error
}

func (w *watched) Rows(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	return func(yield func(schema.Row, error) bool) {
		for row, err := range w.Reader.Rows(ctx, table, keys) {
			if err == nil && w.err != nil && row.PartitionKey == w.failAt {
				yield(schema.Row{}, w.err)
				return
			}
			w.yielded.Add(1)
			if !yield(row, err) {
				return
			}
		}
	}
}

func (w *watched) Split(ctx context.Context, table hub.Table, n int) ([]hub.Keys, error) {
	if w.splitErr != nil {
		return nil, w.splitErr
	}
	return w.Reader.Split(ctx, table, n)
}

// An error comes after exactly the rows before it, once, and ends the stream.
func TestParallelRowsError(t *testing.T) {
	broken := errors.New("broken by the test")
	all, err := keys(table(40, 100).Rows(t.Context(), hub.History, hub.Keys{}))
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, 1, 17, 39} {
		for _, workers := range workerCounts {
			synctest.Test(t, func(t *testing.T) {
				w := &watched{Reader: table(40, 100), err: broken, failAt: fmt.Sprintf("p%04d", at)}
				var got []string
				var errs []error
				for row, err := range hub.ParallelRows(t.Context(), w, hub.History, workers) {
					if err != nil {
						errs = append(errs, err)
						if row.PartitionKey != "" || len(row.Properties) > 0 {
							t.Errorf("a row with the error: %+v", row)
						}
						continue
					}
					got = append(got, row.PartitionKey+"/"+row.RowKey)
				}
				if diff := cmp.Diff(all[:at*100], got, cmp.Transformer("count", func(s []string) int { return len(s) })); diff != "" || !slices.Equal(got, all[:at*100]) {
					t.Errorf("%d workers, error at partition %d: %d rows before it, want %d", workers, at, len(got), at*100)
				}
				if len(errs) != 1 || !errors.Is(errs[0], broken) {
					t.Errorf("%d workers, error at partition %d: errors %v, want one", workers, at, errs)
				}
			})
		}
	}
	w := &watched{Reader: table(2, 2), splitErr: broken}
	if got, err := keys(hub.ParallelRows(t.Context(), w, hub.History, 4)); !errors.Is(err, broken) || len(got) > 0 {
		t.Errorf("ParallelRows with a table that cannot be split = %v, %v, want %v", got, err, broken)
	}
}

// A loop that ends early ends the workers.
func TestParallelRowsBreak(t *testing.T) {
	for _, workers := range workerCounts {
		for _, after := range []int{1, 499, 501, 5000} {
			synctest.Test(t, func(t *testing.T) {
				n := 0
				for _, err := range hub.ParallelRows(t.Context(), table(100, 100), hub.History, workers) {
					if err != nil {
						t.Fatal(err)
					}
					if n++; n == after {
						break
					}
				}
				if n != after {
					t.Errorf("%d workers: %d rows, want %d", workers, n, after)
				}
			})
		}
	}
}

// When the context ends, the stream ends with its cause, and without a gap in the
// rows before. Which of a worker's rows are lost is a matter of chance, so this
// is tried some times.
func TestParallelRowsCancelled(t *testing.T) {
	stop := errors.New("stopped by the test")
	r := table(100, 100)
	all, err := keys(r.Rows(t.Context(), hub.History, hub.Keys{}))
	if err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		for _, workers := range []int{1, 2, 4, 16} {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if i == 0 {
					cancel(stop)
				}
				n := 0
				var got error
				for row, err := range hub.ParallelRows(ctx, r, hub.History, workers) {
					if err != nil {
						got = err
						continue
					}
					if key := row.PartitionKey + "/" + row.RowKey; key != all[n] {
						t.Fatalf("%d workers: row %d is %s, want %s", workers, n, key, all[n])
					}
					if n++; n == i*37 {
						cancel(stop)
					}
				}
				if !errors.Is(got, stop) {
					t.Errorf("%d workers, cancelled after %d rows: %d rows, then %v, want %v", workers, i*37, n, got, stop)
				}
			})
		}
	}
}

// However many ranges there are and however slow the loop is, the workers are
// never further ahead than the rows that each may hold.
func TestParallelRowsAhead(t *testing.T) {
	for _, workers := range []int{2, 4, 8} {
		for _, partitions := range []int{4, 16, 64} { // ranges, as far as workers allow
			synctest.Test(t, func(t *testing.T) {
				w := &watched{Reader: table(partitions, 64_000/partitions)}
				n, ahead := int64(0), int64(0)
				for _, err := range hub.ParallelRows(t.Context(), w, hub.History, workers) {
					if err != nil {
						t.Fatal(err)
					}
					if n++; n%250 == 1 {
						synctest.Wait() // until all workers wait for the loop
						ahead = max(ahead, w.yielded.Load()-n)
					}
				}
				// Four batches of 500 on the way, one in hand, and the one that the loop is in.
				if most := int64(workers*2500 + 500); ahead > most || ahead < 2000 {
					t.Errorf("%d workers, %d partitions: %d rows ahead, want at most %d", workers, partitions, ahead, most)
				}
			})
		}
	}
}
