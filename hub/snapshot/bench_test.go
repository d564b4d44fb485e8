package snapshot_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// benchRows is the number of history rows of the generated hub: the environment
// variable TASKHUB_BENCH_ROWS, or 200,000. The bars are for 2,000,000.
var benchRows = sync.OnceValue(func() int {
	n, err := strconv.Atoi(os.Getenv("TASKHUB_BENCH_ROWS"))
	if err != nil {
		n = 200_000
	}
	return n
})

// benchHub makes the generated hub, once for all benchmarks.
var benchHub = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "taskhub-bench-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "generated.taskhub")
	return path, testhub.Generate(path, benchRows())
})

// TestMain removes the generated hub, if a benchmark has asked for it.
func TestMain(m *testing.M) {
	made := false
	generated = func(b *testing.B) string {
		b.Helper()
		made = true
		path, err := benchHub()
		if err != nil {
			b.Fatal(err)
		}
		return path
	}
	code := m.Run()
	if made {
		if path, err := benchHub(); err == nil {
			_ = os.RemoveAll(filepath.Dir(path))
		}
	}
	os.Exit(code)
}

// generated returns the path of the generated hub.
var generated func(*testing.B) string

// BenchmarkInstance reads the history of one instance out of a large capture
// that is open. The bar is 0.5 ms.
func BenchmarkInstance(b *testing.B) {
	r := open(b, generated(b), snapshot.Options{})
	r2 := rand.New(rand.NewPCG(1, 2))
	ids := make([]string, 1024)
	for i := range ids {
		ids[i] = testhub.GeneratedID(benchRows(), r2.IntN(benchRows()/30))
	}
	rows := 0
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		for _, err := range r.Rows(b.Context(), hub.History, hub.Partition(ids[i%len(ids)])) {
			if err != nil {
				b.Fatal(err)
			}
			rows++
		}
	}
	if rows < 4*b.N { // an instance that has not started has none
		b.Fatalf("%d rows of %d instances", rows, b.N)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ms/instance")
}

// BenchmarkOpen opens a large capture and loads its indexes.
func BenchmarkOpen(b *testing.B) {
	path := generated(b)
	for range b.N {
		r, err := snapshot.Open(path, snapshot.Options{})
		if err != nil {
			b.Fatal(err)
		}
		if err := r.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkScan reads all history rows in one stream.
func BenchmarkScan(b *testing.B) {
	r := open(b, generated(b), snapshot.Options{})
	b.ReportAllocs()
	b.ResetTimer()
	rows := 0
	for range b.N {
		for _, err := range r.Rows(b.Context(), hub.History, hub.Keys{}) {
			if err != nil {
				b.Fatal(err)
			}
			rows++
		}
	}
	b.ReportMetric(float64(rows)/b.Elapsed().Seconds(), "rows/s")
}

// BenchmarkWrite compares writing a table with the least that could be done
// instead, in turn: spelling the same rows into one zstd stream, and only
// compressing text that is there already.
func BenchmarkWrite(b *testing.B) {
	const n = 60_000
	var rows []schema.Row
	var text []byte
	for row, err := range open(b, generated(b), snapshot.Options{}).Rows(b.Context(), hub.History, hub.Keys{}) {
		if err != nil {
			b.Fatal(err)
		}
		row = row.Clone()
		text = append(row.AppendJSON(text), '\n')
		// The service returns properties in an order of its own.
		slices.Reverse(row.Properties)
		if rows = append(rows, row); len(rows) == n {
			break
		}
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	b.ResetTimer()
	var ours, spelt, packed time.Duration
	for range b.N {
		dir := b.TempDir()
		ours += timed(b, func() error {
			w, err := snapshot.Create(filepath.Join(dir, "ours"), snapshot.WriterOptions{})
			if err != nil {
				return err
			}
			defer w.Abort() // without waiting for the disk
			tw, err := w.Table(hub.History, "BenchHistory")
			if err != nil {
				return err
			}
			for j := range rows {
				if err := tw.Append(&rows[j]); err != nil {
					return err
				}
			}
			return tw.Close(0, 0)
		})
		spelt += timed(b, func() error {
			return zstdFile(filepath.Join(dir, "spelt"), func(z io.Writer) error {
				var line []byte
				for j := range rows {
					line = append(rows[j].AppendJSON(line[:0]), '\n')
					if _, err := z.Write(line); err != nil {
						return err
					}
				}
				return nil
			})
		})
		packed += timed(b, func() error {
			return zstdFile(filepath.Join(dir, "packed"), func(z io.Writer) error {
				_, err := io.Copy(z, bytes.NewReader(text))
				return err
			})
		})
	}
	b.ReportMetric(spelt.Seconds()/ours.Seconds(), "of-encode+zstd")
	b.ReportMetric(packed.Seconds()/ours.Seconds(), "of-zstd-alone")
}

func timed(b *testing.B, do func() error) time.Duration {
	b.Helper()
	start := time.Now()
	if err := do(); err != nil {
		b.Fatal(err)
	}
	return time.Since(start)
}

func zstdFile(path string, do func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	z, err := zstd.NewWriter(f, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	return errors.Join(do(z), z.Close(), f.Close())
}
