package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/taskhub-tools/taskhub/internal/testhub"
)

// TestPeakMemory exports a hub of two million history rows in every format and
// holds the program to the memory that the README promises.
func TestPeakMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("generates two million rows")
	}
	const rows, limit = 2_000_000, 256 << 10 // KiB
	dir := t.TempDir()
	bin, capture := filepath.Join(dir, "taskhub"), filepath.Join(dir, "big.taskhub")
	// Built without the race detector, which multiplies memory and time.
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	generate := exec.CommandContext(t.Context(), "go", "run", testhub.Testdata(t, "..", "internal", "testhub", "convert"), "--generate", "2000000", "--out", capture)
	if out, err := generate.CombinedOutput(); err != nil {
		t.Fatalf("generate %d rows: %v\n%s", rows, err, out)
	}
	for _, format := range []string{"parquet", "ndjson"} {
		t.Run(format, func(t *testing.T) {
			run := exec.CommandContext(t.Context(), bin, "export", "--snapshot", capture, "--out", filepath.Join(dir, format), "--format", format)
			var stderr bytes.Buffer
			run.Stderr = &stderr
			if err := run.Start(); err != nil {
				t.Fatal(err)
			}
			peak := peakOf(run.Process.Pid)
			if err := run.Wait(); err != nil {
				t.Fatalf("export: %v\n%s", err, &stderr)
			}
			kib := <-peak
			t.Logf("peak memory %d MiB, cpu %v", kib>>10, run.ProcessState.UserTime()+run.ProcessState.SystemTime())
			if kib == 0 || kib > limit {
				t.Errorf("peak memory %d KiB, want at most %d", kib, limit)
			}
		})
	}
}
