package manage_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/taskhub-tools/taskhub/manage"
)

// numbers streams 0 to n-1 and then err, if there is one.
func numbers(n int, err error) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for i := range n {
			if !yield(fmt.Sprint(i), nil) {
				return
			}
		}
		if err != nil {
			yield("", err)
		}
	}
}

var errBulk = errors.New("went wrong")

// Results come in the order of the IDs, with what went wrong among them, and no
// more are worked on at once than allowed.
func TestBulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var busy, most atomic.Int64
		do := func(_ context.Context, id string) (string, error) {
			most.Store(max(most.Load(), busy.Add(1)))
			defer busy.Add(-1)
			var n int
			if _, err := fmt.Sscan(id, &n); err != nil {
				return "", err
			}
			time.Sleep(time.Duration(100-n) * time.Millisecond) // the first last
			if n%7 == 3 {
				return "", errBulk
			}
			return "did " + id, nil
		}
		n := 0
		for r, err := range manage.Bulk(t.Context(), numbers(50, nil), manage.BulkOptions{Concurrency: 5}, do) {
			if err != nil {
				t.Fatal(err)
			}
			want, wantErr := "did "+r.InstanceID, error(nil)
			if n%7 == 3 {
				want, wantErr = "", errBulk
			}
			if r.InstanceID != fmt.Sprint(n) || r.Value != want || !errors.Is(r.Err, wantErr) {
				t.Errorf("result %d is %+v", n, r)
			}
			n++
		}
		if n != 50 || most.Load() != 5 {
			t.Errorf("%d results, %d at once; want 50, 5", n, most.Load())
		}
	})
}

// However a bulk ends, what was begun is waited for and told, and nothing more
// is begun.
func TestBulkEnds(t *testing.T) {
	tests := []struct {
		name string
		ids  int
		err  error // of the IDs
		o    manage.BulkOptions
		stop int // cancel when so many were begun; 0 never
		want int
		fail error
	}{
		{name: "all", ids: 20, want: 20},
		{name: "none", want: 0},
		{name: "at most", ids: 20, o: manage.BulkOptions{Max: 7}, want: 7},
		{name: "the IDs end in an error", ids: 12, err: errBulk, want: 12, fail: errBulk},
		{name: "cancelled", ids: 1000, o: manage.BulkOptions{Concurrency: 3}, stop: 10, want: 10, fail: context.Canceled},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			begun := 0
			var done atomic.Int64
			do := func(context.Context, string) (int, error) {
				time.Sleep(time.Second)
				done.Add(1)
				return 0, nil
			}
			counted := func(yield func(string, error) bool) {
				for id, err := range numbers(tt.ids, tt.err) {
					if err == nil {
						begun++
					}
					if begun == tt.stop {
						cancel()
					}
					if !yield(id, err) {
						return
					}
				}
			}
			n := 0
			var fail error
			for _, err := range manage.Bulk(ctx, counted, tt.o, do) {
				if err != nil {
					fail = err
					continue
				}
				n++
			}
			if n != tt.want || int(done.Load()) != tt.want || !errors.Is(fail, tt.fail) || (fail == nil) != (tt.fail == nil) {
				t.Errorf("%s: %d results, %d done, error %v; want %d, error %v", tt.name, n, done.Load(), fail, tt.want, tt.fail)
			}
		})
	}
	// Left by the caller: nothing goes on behind it, which synctest would tell.
	synctest.Test(t, func(t *testing.T) {
		n := 0
		for _, err := range manage.Bulk(t.Context(), numbers(100, nil), manage.BulkOptions{}, func(context.Context, string) (int, error) {
			time.Sleep(time.Second)
			return 0, nil
		}) {
			if n++; err != nil || n == 3 {
				break
			}
		}
	})
}

// A rate spreads the beginnings.
func TestBulkRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		wait := func(ctx context.Context, d time.Duration) error {
			select {
			case <-time.After(d):
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		start := time.Now()
		for _, err := range manage.Bulk(t.Context(), numbers(21, nil), manage.BulkOptions{Rate: 4, Wait: wait},
			func(context.Context, string) (int, error) { return 0, nil }) {
			if err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(start); d != 5*time.Second {
			t.Errorf("21 at 4 a second took %v, want 5s", d)
		}
	})
}

// One that takes long holds back the results of those after it, and not the work.
func TestBulkSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, n := time.Now(), 0
		do := func(_ context.Context, id string) (int, error) {
			if id == "0" {
				time.Sleep(10 * time.Second)
			} else {
				time.Sleep(time.Second)
			}
			return 0, nil
		}
		for r, err := range manage.Bulk(t.Context(), numbers(19, nil), manage.BulkOptions{Concurrency: 3}, do) {
			if err != nil || r.InstanceID != fmt.Sprint(n) {
				t.Errorf("result %d: %+v, error %v", n, r, err)
			}
			n++
		}
		if took := time.Since(start); took != 10*time.Second || n != 19 { // 18 by two others: 9 s
			t.Errorf("%d took %v, want 19 in 10 s", n, took)
		}
	})
}
