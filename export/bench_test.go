package export_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/export"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
)

// benchRows is the number of history rows of the benchmarks' hub. Ratios to
// DuckDB are meant for 2,000,000; the default keeps a plain run short.
func benchRows(b *testing.B) int {
	s := os.Getenv("TASKHUB_BENCH_ROWS")
	if s == "" {
		return 200_000
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		b.Fatalf("TASKHUB_BENCH_ROWS: %v", err)
	}
	return n
}

// BenchmarkHistoryToParquet exports the history of a capture to Parquet, and in
// turn has DuckDB write the same rows and columns, from typed NDJSON, with zstd
// and two threads. Two files of NDJSON are tried: as this package exports it,
// and without the members that are null, which is the better case for DuckDB.
//
// x-duckdb is how many times as long DuckDB took, of-duckdb-size the size of our
// file over that of DuckDB's.
func BenchmarkHistoryToParquet(b *testing.B) {
	dir := b.TempDir()
	path := filepath.Join(dir, "hub.taskhub")
	if err := testhub.Generate(path, benchRows(b)); err != nil {
		b.Fatal(err)
	}
	r, err := snapshot.Open(path, snapshot.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	full, compact := filepath.Join(dir, "full.ndjson"), filepath.Join(dir, "compact.ndjson")
	writeNDJSON(b, r, full, compact)
	duck := testhub.DuckDB(b)
	var members []string
	for _, c := range export.Columns(export.History) {
		typ := map[export.Kind]string{
			export.StringKind: "VARCHAR", export.JSONText: "VARCHAR", export.Int32Kind: "INTEGER",
			export.Int64Kind: "BIGINT", export.BoolKind: "BOOLEAN", export.TimeKind: "TIMESTAMP_NS",
		}[c.Kind]
		members = append(members, fmt.Sprintf("%s:'%s'", c.Name, typ))
	}
	theirs := filepath.Join(dir, "duckdb.parquet")
	run := func(in string) time.Duration {
		start := time.Now()
		duck.Query(b, fmt.Sprintf("COPY (SELECT * FROM read_json('%s', format='newline_delimited', columns={%s})) TO '%s' (FORMAT parquet, COMPRESSION zstd)",
			in, strings.Join(members, ","), theirs))
		return time.Since(start)
	}
	out := filepath.Join(dir, "out")
	opts := export.Options{Format: export.Parquet, Datasets: []export.Dataset{export.History}, Overwrite: true}
	var ours, fromFull, fromCompact time.Duration
	var m *export.Manifest
	for b.Loop() {
		start := time.Now()
		if m, err = export.Run(b.Context(), r, out, opts); err != nil {
			b.Fatal(err)
		}
		ours += time.Since(start)
		fromFull += run(full)
		fromCompact += run(compact)
	}
	size := fileSize(b, theirs)
	history := m.Datasets[0]
	var bytes int64
	for _, p := range history.Parts {
		bytes += p.Bytes
	}
	b.ReportMetric(float64(history.Rows)*float64(b.N)/ours.Seconds(), "rows/s")
	b.ReportMetric(fromCompact.Seconds()/ours.Seconds(), "x-duckdb-compact")
	b.ReportMetric(fromFull.Seconds()/ours.Seconds(), "x-duckdb-export")
	b.ReportMetric(float64(bytes)/float64(size), "of-duckdb-size")
}

// writeNDJSON streams the history to full, and to compact without null members.
func writeNDJSON(b *testing.B, r *snapshot.Reader, full, compact string) {
	b.Helper()
	f, err := os.Create(full)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := export.Stream(context.Background(), r, f, export.History, export.Options{}); err != nil {
		b.Fatal(err)
	}
	if err := f.Close(); err != nil {
		b.Fatal(err)
	}
	text, err := os.ReadFile(full)
	if err != nil {
		b.Fatal(err)
	}
	text = regexp.MustCompile(`,"[a-z_]+":null`).ReplaceAll(text, nil)
	if err := os.WriteFile(compact, text, 0o666); err != nil {
		b.Fatal(err)
	}
}

func fileSize(b *testing.B, path string) int64 {
	b.Helper()
	s, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	return s.Size()
}
