package snapshot_test

import (
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Batches has the rows of Rows, and copies of them stay what they were when the
// memory is used again.
func TestBatches(t *testing.T) {
	for _, name := range []string{"dtfx-2.9.1-bulk", "dtfx-2.9.1-torn", "functions-3"} {
		r := testhub.OpenHub(t, name)
		for _, keys := range []hub.Keys{{}, {From: "c", To: "wide-3"}, {RowKey: schema.SentinelRowKey}, {From: "~"}} {
			var want, got []schema.Row
			for row, err := range r.Rows(t.Context(), hub.History, keys) {
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, row)
			}
			batches := 0
			for rows, err := range r.Batches(t.Context(), hub.History, keys) {
				if err != nil {
					t.Fatal(err)
				}
				batches++
				for i := range rows {
					got = append(got, rows[i].Clone())
				}
			}
			if len(got) != len(want) {
				t.Fatalf("%s %+v: %d rows in %d batches, want %d", name, keys, len(got), batches, len(want))
			}
			for i := range want {
				if !schema.SameProperties(&want[i], &got[i]) || want[i].Timestamp != got[i].Timestamp || want[i].ETag != got[i].ETag {
					t.Fatalf("%s %+v: row %d is %v, want %v", name, keys, i, got[i], want[i])
				}
			}
		}
	}
}
