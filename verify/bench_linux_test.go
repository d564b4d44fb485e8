package verify_test

import (
	"context"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/verify"
)

// generated opens a capture of a made-up hub with a million history rows, in which
// there is nothing to find.
func generated(b *testing.B) *snapshot.Reader {
	b.Helper()
	path := filepath.Join(b.TempDir(), "generated.taskhub")
	if err := testhub.Generate(path, 1_000_000); err != nil {
		b.Fatal(err)
	}
	r, err := snapshot.Open(path, snapshot.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = r.Close() })
	return r
}

// BenchmarkHub reports how many history rows a second of processor time are
// verified, and how that compares with decoding them and those of the Instances
// table only. Both take turns, and the fastest turn of each counts, so that the
// ratio holds on a busy machine, too.
func BenchmarkHub(b *testing.B) {
	r := generated(b)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetGCPercent(debug.SetGCPercent(400)) // as in the program
	ctx := context.Background()
	var decoding, verifying []time.Duration
	var rows, peak int64
	for b.Loop() {
		runtime.GC()
		began := cpu(b)
		rows = decode(ctx, b, r)
		decoding = append(decoding, cpu(b)-began)

		runtime.GC()
		began = cpu(b)
		found, summary := verify.Hub(ctx, r, verify.Options{OnProgress: func(verify.Progress) { peak = max(peak, inUse()) }})
		for f, err := range found {
			if err != nil {
				b.Fatal(err)
			}
			if f.Severity != verify.Info {
				b.Fatalf("finding %+v", f)
			}
		}
		verifying = append(verifying, cpu(b)-began)
		if summary.HistoryRows < 1_000_000 {
			b.Fatalf("%d rows verified", summary.HistoryRows)
		}
	}
	decoded, verified := slices.Min(decoding).Seconds(), slices.Min(verifying).Seconds()
	b.ReportMetric(float64(rows)/verified, "rows/s")
	b.ReportMetric(float64(rows)/decoded, "decoded/s")
	b.ReportMetric(decoded/verified, "of-decoding")
	b.ReportMetric(float64(peak)/(1<<20), "peak-MiB")
}

// decode reads the rows of both tables and nothing else; it returns the number of
// history rows.
func decode(ctx context.Context, b *testing.B, r hub.Reader) (n int64) {
	for _, table := range [...]hub.Table{hub.Instances, hub.History} {
		n = 0
		for rows, err := range hub.Batches(ctx, r, table, hub.Keys{}) {
			if err != nil {
				b.Fatal(err)
			}
			n += int64(len(rows))
		}
	}
	return n
}

func inUse() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

// cpu returns the processor time that this process has taken.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
