package hub_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// batched gives the rows of a Reader in batches of one size, all in the same
// memory, and fails before the batch number fail.
type batched struct {
	hub.Reader
	size, fail int
}

var errTest = errors.New("broken")

func (b *batched) Batches(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[[]schema.Row, error] {
	return func(yield func([]schema.Row, error) bool) {
		buf := make([]schema.Row, 0, b.size)
		n := 0
		give := func() bool {
			if n++; n == b.fail {
				yield(nil, errTest)
				return false
			}
			ok := yield(buf, nil)
			for i := range buf {
				buf[i] = schema.Row{PartitionKey: "gone", RowKey: "gone"}
			}
			buf = buf[:0]
			return ok
		}
		for row, err := range b.Rows(ctx, table, keys) {
			if err != nil {
				yield(nil, err)
				return
			}
			if buf = append(buf, row); len(buf) == b.size && !give() {
				return
			}
		}
		if len(buf) > 0 {
			give()
		}
	}
}

// joined is what a walk told of one key.
type joined struct {
	Key      string
	Instance bool
	History  []string
}

func walk(seq iter.Seq2[hub.Joined, error]) (all []joined, err error) {
	open := false
	for part, err := range seq {
		if err != nil {
			return all, err
		}
		if !open {
			all = append(all, joined{Key: part.PartitionKey, Instance: part.Instance != nil})
		}
		last := &all[len(all)-1]
		if part.PartitionKey != last.Key || (part.Instance != nil) != last.Instance {
			return all, fmt.Errorf("%s follows a part of %s that promised more", part.PartitionKey, last.Key)
		}
		if part.Instance != nil && part.Instance.PartitionKey != part.PartitionKey {
			return all, fmt.Errorf("%s comes with the instance of %s", part.PartitionKey, part.Instance.PartitionKey)
		}
		for i := range part.History {
			if part.History[i].PartitionKey != last.Key {
				return all, fmt.Errorf("%s comes with a row of %s", last.Key, part.History[i].PartitionKey)
			}
			last.History = append(last.History, part.History[i].RowKey)
		}
		open = part.More
	}
	if open {
		return all, errors.New("the last part promised more")
	}
	return all, nil
}

// Every key of either table comes once, in order, with all its rows, whatever
// the batches are cut to. Maps say what is right.
func TestJoin(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		c := hubtest.Content{Names: hub.Names{TaskHub: "Joined"}, Tables: map[hub.Table][]schema.Row{}}
		want := map[string]joined{}
		for range rnd.IntN(12) {
			key := fmt.Sprintf("k%02d", rnd.IntN(20))
			if _, ok := want[key]; ok {
				continue
			}
			w := joined{Key: key, Instance: rnd.IntN(3) > 0}
			if w.Instance {
				c.Tables[hub.Instances] = append(c.Tables[hub.Instances], schema.Row{PartitionKey: key})
			}
			for i := range rnd.IntN(9) {
				w.History = append(w.History, schema.FormatSequence(int64(i)))
				c.Tables[hub.History] = append(c.Tables[hub.History], schema.Row{PartitionKey: key, RowKey: schema.FormatSequence(int64(i))})
			}
			if w.Instance || w.History != nil {
				want[key] = w
			}
		}
		c.Sort()
		var all []joined
		for _, w := range want {
			all = append(all, w)
		}
		slices.SortFunc(all, func(a, b joined) int { return schema.CompareKeys(a.Key, b.Key) })
		memory := testhub.NewMemory(c)
		for _, size := range []int{0, 1, 2, 3, 5, 1000} {
			r := hub.Reader(memory)
			if size > 0 {
				r = &batched{Reader: memory, size: size}
			}
			got, err := walk(hub.Join(t.Context(), r, hub.Keys{}))
			if err != nil {
				t.Fatalf("batches of %d: %v", size, err)
			}
			if d := cmp.Diff(all, got); d != "" {
				t.Fatalf("batches of %d: (-want +got)\n%s", size, d)
			}
		}
	}
}

func TestJoinKeys(t *testing.T) {
	r := testhub.OpenHub(t, "dtfx-2.9.1")
	got, err := walk(hub.Join(t.Context(), r, hub.Prefix("order-")))
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, j := range got {
		ids = append(ids, j.Key)
	}
	if d := cmp.Diff([]string{"order-1", "order-10", "order-100"}, ids); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// An error of either table is the last element; a walk that is left early ends
// both listings.
func TestJoinEnds(t *testing.T) {
	r := testhub.OpenHub(t, "dtfx-2.9.1")
	whole, err := walk(hub.Join(t.Context(), r, hub.Keys{}))
	if err != nil {
		t.Fatal(err)
	}
	for fail := 1; fail <= 3; fail++ {
		got, err := walk(hub.Join(t.Context(), &batched{Reader: r, size: 100, fail: fail}, hub.Keys{}))
		if !errors.Is(err, errTest) || len(got) >= len(whole) {
			t.Errorf("batch %d fails: %d instances and error %v", fail, len(got), err)
		}
	}
	if _, err := walk(hub.Join(t.Context(), noInstances{r}, hub.Keys{})); !errors.Is(err, errTest) {
		t.Errorf("Instances cannot be read: error %v", err)
	}
	n := 0
	for _, err := range hub.Join(t.Context(), r, hub.Keys{}) {
		if n++; err != nil || n == 5 {
			break
		}
	}
	if n != 5 {
		t.Errorf("left after %d parts, want 5", n)
	}
}

// noInstances fails in the middle of the Instances table.
type noInstances struct{ hub.Reader }

func (r noInstances) Rows(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	rows := r.Reader.Rows(ctx, table, keys)
	if table != hub.Instances {
		return rows
	}
	return func(yield func(schema.Row, error) bool) {
		n := 0
		for row, err := range rows {
			if n++; n == 10 {
				yield(schema.Row{}, errTest)
				return
			}
			if !yield(row, err) {
				return
			}
		}
	}
}
