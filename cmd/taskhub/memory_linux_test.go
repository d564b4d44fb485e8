package main

import (
	"os/exec"
	"path/filepath"
	"syscall"
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
			if out, err := run.CombinedOutput(); err != nil {
				t.Fatalf("export: %v\n%s", err, out)
			}
			usage, ok := run.ProcessState.SysUsage().(*syscall.Rusage)
			if !ok {
				t.Fatal("no resource usage")
			}
			t.Logf("peak memory %d MiB, cpu %v", usage.Maxrss>>10, run.ProcessState.UserTime()+run.ProcessState.SystemTime())
			if usage.Maxrss > limit {
				t.Errorf("peak memory %d KiB, want at most %d", usage.Maxrss, limit)
			}
		})
	}
}
