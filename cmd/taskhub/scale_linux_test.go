package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
)

// TestCaptureScale captures a hub of 20,000 instances with 462,000 history rows
// from an account and holds the program to the memory that the README promises.
func TestCaptureScale(t *testing.T) {
	if testing.Short() {
		t.Skip("lists 462,000 rows")
	}
	t.Parallel()
	const rows, limit = 462_000, 256 << 10 // KiB
	dir := t.TempDir()
	generated, out := filepath.Join(dir, "generated.taskhub"), filepath.Join(dir, "captured.taskhub")
	if err := testhub.Generate(generated, rows); err != nil {
		t.Fatal(err)
	}
	source := opened(t, generated)
	info, err := source.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range info.Tables {
		t.Logf("%s: %d rows", table.Name, table.Rows)
	}
	start := time.Now()
	e := testhub.StartAzuriteWith(t, source)
	t.Logf("the emulator took %v to start", time.Since(start))

	start = time.Now()
	cmd := exec.CommandContext(t.Context(), buildTaskhub(t), capturing(e, info.Names, out, "--json")...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	peak := peakOf(cmd.Process.Pid)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("capture: %v\n%s", err, &stderr)
	}
	kib := <-peak
	t.Logf("captured in %v, peak memory %d MiB, cpu %v", time.Since(start), kib>>10, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	if kib == 0 || kib > limit {
		t.Errorf("peak memory %d KiB, want at most %d", kib, limit)
	}
	captured := opened(t, out)
	sameHub(t, source, captured)
	again, err := captured.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, table := range info.Tables {
		least := map[hub.Table]int64{hub.History: 400_000, hub.Instances: 20_000}[table.Table]
		if n := again.Tables[i].Rows; n != table.Rows || n < least {
			t.Errorf("%s: %d rows, want %d and at least %d", table.Name, n, table.Rows, least)
		}
	}
}

// peakOf watches a process until it ends and sends its largest memory in KiB. The
// resource usage that waiting for it returns would tell that of this process, too,
// of which it was a copy before it became the program.
func peakOf(pid int) <-chan int64 {
	peak := make(chan int64, 1)
	go func() {
		last := int64(0)
		for {
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
			_, rest, ok := strings.Cut(string(status), "VmHWM:")
			if err != nil || !ok { // it has ended, or is about to
				peak <- last
				return
			}
			_, _ = fmt.Sscan(rest, &last)
			time.Sleep(20 * time.Millisecond)
		}
	}()
	return peak
}
