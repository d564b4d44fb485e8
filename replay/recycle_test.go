package replay_test

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/replay"
)

// A result in the memory of another one is the same as a fresh one.
func TestRecycle(t *testing.T) {
	for _, rec := range testhub.Recordings {
		used := replay.New("", replay.Options{})
		var fresh *replay.Replayer
		for part, err := range hub.Join(t.Context(), testhub.OpenHub(t, rec.Name), hub.Keys{}) {
			if err != nil {
				t.Fatal(err)
			}
			if fresh == nil {
				used.Reset(part.PartitionKey)
				fresh = replay.New(part.PartitionKey, replay.Options{})
			}
			for i := range part.History {
				used.Add(&part.History[i])
				fresh.Add(&part.History[i])
			}
			if part.More {
				continue
			}
			want, got := fresh.End(), used.End()
			if d := cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true })); d != "" {
				t.Fatalf("%s, %s: (-fresh +recycled)\n%s", rec.Name, part.PartitionKey, d)
			}
			used.Recycle(got)
			fresh = nil
		}
	}
}
