package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
)

// runMigrateStopped runs migrate as it is shipped, in a folder where it keeps its
// journal, and sends it a signal when s is asked for the n-th time. done says that
// it had ended before.
func runMigrateStopped(t *testing.T, bin, dir string, s *slow, signal os.Signal, args ...string) (got outcome, done bool) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), bin, append([]string{"migrate"}, args...)...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // ProcessState tells
		close(ended)
	}()
	select {
	case <-s.reached:
		if err := cmd.Process.Signal(signal); err != nil && signal != os.Kill {
			_ = cmd.Process.Kill()
			<-ended
			t.Skip(err) // Windows has no such signals
		}
		<-ended
	case <-ended:
	}
	// What was sent has arrived when nobody holds it.
	s.under.Lock()
	s.under.Unlock() //nolint:staticcheck // to wait
	done = cmd.ProcessState.Success()
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}, done
}

// A migration of a hub in an account that is killed is finished by one with
// --resume, and by none without. What it ends in is what one ends in that nobody has
// killed.
func TestMigrateKilledLive(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the program many times")
	}
	t.Parallel()
	bin := buildTaskhub(t)
	c := testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1-crashed"))
	c.Tables[hub.Partitions] = nil // the leases are of the time when it was recorded
	source := testhub.Azurite(t)
	testhub.Load(t, source, c)
	names := hub.Names{TaskHub: "Elsewhere"}
	options := func(to *slow, more ...string) []string {
		return slices.Concat([]string{"--connection-string", source.ConnectionString(), "--task-hub-name", c.Names.TaskHub},
			toHub(to.Emulator, names.TaskHub, "--to-partition-count", "3", "--concurrency", "4", "--yes"), more)
	}
	whole := slowly(t, testhub.Azurite(t), -1)
	if got, done := runMigrateStopped(t, bin, t.TempDir(), whole, os.Kill, options(whole)...); !done {
		t.Fatalf("%+v", got)
	}
	requests := whole.asked.Load()
	want := migratedState(t, whole.Emulator, names)
	const points = 4
	r := rand.New(rand.NewPCG(2026, 11))
	begun := 0
	for i := range int64(points) {
		n := 1 + i*requests/points + r.Int64N(max(1, requests/points))
		e := testhub.Azurite(t)
		account := slowly(t, e, n)
		dir := t.TempDir()
		if got, done := runMigrateStopped(t, bin, dir, account, os.Kill, options(account)...); done {
			t.Errorf("request %d of %d: it had ended: %+v", n, requests, got)
		}
		if left := e.Listing(t); len(left) > 0 {
			begun++
			if got := runMigrateIn(t, dir, options(account)...); got.code != exitInUse || !strings.Contains(got.stderr, "  target-exists: ") {
				t.Errorf("request %d: without --resume: %+v", n, got)
			}
			if diff := cmp.Diff(left, e.Listing(t)); diff != "" {
				t.Errorf("request %d: a migration that was refused changed the account:\n%s", n, diff)
			}
		}
		if got := runMigrateIn(t, dir, options(account, "--resume")...); got.code != exitDone {
			t.Errorf("request %d: resume: %+v", n, got)
			continue
		}
		if diff := cmp.Diff(want, migratedState(t, account.Emulator, names)); diff != "" {
			t.Errorf("request %d of %d: the hub (-undisturbed +resumed):\n%s", n, requests, diff)
		}
	}
	if begun < points-1 {
		t.Errorf("of %d that were killed only %d had begun to write", points, begun)
	}
}

// Ctrl-C leaves what --resume goes on with, and says so, also to programs.
func TestMigrateInterrupted(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	t.Parallel()
	bin := buildTaskhub(t)
	capture := []string{"--snapshot", mustAbs(t, testhub.HubFile(t, "dtfx-2.9.1-crashed"))}
	for _, format := range [][]string{nil, {"--json"}} {
		account := slowly(t, testhub.Azurite(t), 60)
		dir := t.TempDir()
		args := slices.Concat(capture, toHub(account.Emulator, "Elsewhere", "--concurrency", "2", "--yes", "--report", "report.jsonl"), format)
		got, _ := runMigrateStopped(t, bin, dir, account, os.Interrupt, args...)
		text := regexp.MustCompile(`\nstopped after [\dms ]+, with .* written; the same command with --resume goes on\ntaskhub: interrupted\n$`)
		if format != nil {
			text = regexp.MustCompile(`^{"type":"error","message":"interrupted","code":130}\n$`)
			if _, doc := documents(t, got.stdout); doc["outcome"] != "interrupted" {
				t.Errorf("the last line is %v", doc)
			}
		}
		if got.code != exitInterrupted || !text.MatchString(got.stderr) {
			t.Errorf("%q: %+v", format, got)
		}
		if report, err := os.ReadFile(filepath.Join(dir, "report.jsonl")); err != nil || !strings.Contains(string(report), `"outcome":"interrupted"`) {
			t.Errorf("the report: %v\n%.500s", err, report)
		}
		got = runMigrateIn(t, dir, append(args, "--resume")...)
		if report, err := os.ReadFile(filepath.Join(dir, "report.jsonl")); got.code != exitDone || err != nil || !strings.Contains(string(report), `"outcome":"done"`) {
			t.Errorf("resume: %+v; report %v", got, err)
		}
	}
}
