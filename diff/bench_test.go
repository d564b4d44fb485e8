package diff_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/diff"
	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
)

// BenchmarkHubs compares a generated hub with itself and, in the same run, reads
// both captures bare, one after the other. TASKHUB_BENCH_ROWS is the number of
// its history rows, or 200,000.
func BenchmarkHubs(b *testing.B) {
	n, err := strconv.Atoi(os.Getenv("TASKHUB_BENCH_ROWS"))
	if err != nil {
		n = 200_000
	}
	path := filepath.Join(b.TempDir(), "generated.taskhub")
	if err := testhub.Generate(path, n); err != nil {
		b.Fatal(err)
	}
	open := func() *snapshot.Reader {
		r, err := snapshot.Open(path, snapshot.Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = r.Close() })
		return r
	}
	first, second := open(), open()
	b.ReportAllocs()
	var bare, compared time.Duration
	rows := 0
	for b.Loop() {
		began := time.Now()
		for _, r := range []*snapshot.Reader{first, second} {
			for _, table := range hub.Tables {
				for batch, err := range hub.Batches(b.Context(), r, table, hub.Keys{}) {
					if err != nil {
						b.Fatal(err)
					}
					rows += len(batch)
				}
			}
		}
		bare += time.Since(began)
		began = time.Now()
		for d, err := range diff.Hubs(b.Context(), first, second, diff.Options{Only: []diff.Dataset{diff.Instances, diff.History, diff.Partitions}}) {
			b.Fatal(d, err)
		}
		compared += time.Since(began)
	}
	b.ReportMetric(float64(rows)/compared.Seconds(), "rows/s")
	b.ReportMetric(bare.Seconds()/compared.Seconds(), "of-bare")
}
