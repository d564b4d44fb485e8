package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
)

var movedHub = hub.Names{TaskHub: "MovedHub"}

// migrating returns the arguments of a migration of a capture into an account.
func migratingTo(capture string, e *testhub.Emulator, journal string, more ...string) []string {
	return slices.Concat([]string{
		"migrate", "--snapshot", capture, "--to-connection-string", e.ConnectionString(), "--to-task-hub-name", movedHub.TaskHub,
		"--to-partition-count", "3", "--concurrency", "4", "--journal", journal, "--yes", "--json",
	}, more)
}

// mortal is an account at whose n-th request from now on a program that uses it is
// killed.
type mortal struct {
	*testhub.Emulator
	mu    sync.Mutex
	left  int64
	kill  func() // nil without a program
	asked atomic.Int64
	under sync.RWMutex // held by requests that are being carried out
}

// mortally returns such an account. after says whether the request at which the
// program dies is carried out.
func mortally(t *testing.T, e *testhub.Emulator) *mortal {
	t.Helper()
	m := new(mortal)
	m.Emulator = between(t, e, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		m.under.RLock()
		defer m.under.RUnlock()
		m.asked.Add(1)
		m.mu.Lock()
		m.left--
		dying := m.left == 0 && m.kill != nil
		m.mu.Unlock()
		if dying {
			m.kill()
		}
		forward.ServeHTTP(w, r)
	})
	return m
}

// run runs the program and kills it when the account is asked for the n-th time, or
// lets it end if n is 0. It returns whether it was killed.
func (m *mortal) run(t *testing.T, bin string, n int64, args []string) bool {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	m.mu.Lock()
	m.left, m.kill = n, func() { _ = cmd.Process.Kill() } // SIGKILL; it may have ended just now
	m.mu.Unlock()
	err := cmd.Wait()
	m.mu.Lock()
	m.kill = nil
	m.mu.Unlock()
	m.under.Lock()
	m.under.Unlock() //nolint:staticcheck // to wait: what was sent has arrived when nobody holds it
	var exit *exec.ExitError
	switch {
	case err == nil:
		return false
	case errors.As(err, &exit) && !exit.Exited() && n > 0:
		return true
	}
	t.Fatalf("taskhub %q: %v\n%s", args, err, &stderr)
	return false
}

// storedMessage is a message in a queue.
type storedMessage struct {
	queue, text string
	hidden      bool
	inserted    time.Time
	taken       time.Time // when it can be
}

// storedHub is all that is stored of the migrated hub, hidden messages included.
func storedHub(t *testing.T, e *testhub.Emulator, address string) (lines []string, messages []storedMessage) {
	t.Helper()
	c := testhub.ContentOf(t, reader(t, e, movedHub))
	for table, rows := range c.Tables {
		for i := range rows {
			row := rows[i]
			row.Timestamp, row.ETag = 0, ""
			lines = append(lines, table.String()+" "+strings.ReplaceAll(string(row.AppendJSON(nil)), address, "http://account"))
		}
	}
	for _, b := range c.Blobs {
		lines = append(lines, fmt.Sprintf("%s/%s %x", b.Container, b.Name, b.Data))
	}
	slices.Sort(lines)
	for _, q := range c.Queues {
		for _, m := range e.AllMessages(t, q.Name) {
			messages = append(messages, storedMessage{
				queue: q.Name, text: m.Text, hidden: m.VisibleAt > m.InsertedAt, inserted: m.InsertedAt.Time(), taken: m.VisibleAt.Time(),
			})
		}
	}
	slices.SortFunc(messages, func(a, b storedMessage) int { return strings.Compare(a.queue+a.text, b.queue+b.text) })
	return lines, messages
}

// sameTime reports whether two runs have hidden a message until the same time,
// which one of them may have found to be past. Delays are cut to seconds.
func sameTime(a, b *storedMessage) bool {
	const within = 2 * time.Second
	switch {
	case a.hidden && b.hidden:
		return a.taken.Sub(b.taken).Abs() < within
	case a.hidden:
		return a.taken.Sub(b.inserted) < within
	case b.hidden:
		return b.taken.Sub(a.inserted) < within
	}
	return true
}

// A migration that is killed at any time, even again and again, ends where an
// undisturbed one does.
func TestMigrateKilledAgain(t *testing.T) {
	t.Parallel()
	kills := 50
	if testing.Short() {
		kills = 6
	}
	bin := buildTaskhub(t)
	capture := testhub.HubFile(t, "dtfx-2.9.1-crashed")
	e := testhub.Azurite(t)
	whole := mortally(t, e)
	whole.run(t, bin, 0, migratingTo(capture, whole.Emulator, filepath.Join(t.TempDir(), "journal")))
	requests := whole.asked.Load()
	wantLines, wantMessages := storedHub(t, e, whole.BlobURL)
	if len(wantMessages) != 46 { // 33 that a peek shows, 6 rebuilt and 7 wake-ups
		t.Fatalf("%d messages were sent, want 46", len(wantMessages))
	}

	const seed = 8
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d, %d requests", seed, requests)
	// Each migration is killed once in its part of the requests, and every second
	// one once more anywhere.
	type sequence []int64
	var sequences []sequence
	for n := kills; n > 0; {
		s := sequence{int64(float64(requests) * (float64(n-1) + r.Float64()) / float64(kills))}
		if len(sequences)%2 == 1 && n > 1 {
			s = append(s, 1+r.Int64N(requests))
		}
		n -= len(s)
		sequences = append(sequences, s)
	}
	var killed atomic.Int64
	t.Run("kill", func(t *testing.T) {
		for _, s := range sequences {
			t.Run(fmt.Sprint(s), func(t *testing.T) {
				t.Parallel()
				e := testhub.Azurite(t)
				account := mortally(t, e)
				journal := filepath.Join(t.TempDir(), "journal")
				args := migratingTo(capture, account.Emulator, journal)
				for _, n := range s {
					if account.run(t, bin, max(1, n), args) {
						killed.Add(1)
					}
					args = migratingTo(capture, account.Emulator, journal, "--resume")
				}
				account.run(t, bin, 0, args)
				lines, messages := storedHub(t, e, account.BlobURL)
				if diff := cmp.Diff(wantLines, lines); diff != "" {
					t.Errorf("the hub (-undisturbed +killed):\n%s", diff)
				}
				if len(messages) != len(wantMessages) {
					t.Fatalf("%d messages, want %d", len(messages), len(wantMessages))
				}
				for i := range messages {
					want, got := &wantMessages[i], &messages[i]
					if got.queue != want.queue || got.text != want.text || !sameTime(want, got) {
						t.Errorf("message %+v, want %+v", got, want)
					}
				}
			})
		}
	})
	if n := killed.Load(); n < int64(kills)*9/10 {
		t.Errorf("the program was killed %d times, want %d", n, kills)
	}
}
