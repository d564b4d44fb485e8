package migrate_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

var errKilled = errors.New("killed by the test")

// killer ends a run, as SIGKILL does: from some change of the target, or some line
// of the journal on, nothing is carried out any more.
type killer struct {
	mu    sync.Mutex
	at    int  // the change or line, from 0; -1 never
	after bool // it is carried out, and nobody learns of it
	bytes func(line []byte) int
	n     int
	dead  bool
	what  string // it was
}

func (k *killer) hit(what string) (now, dead bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.dead {
		return false, true
	}
	now = k.n == k.at
	k.n++
	if now {
		k.what = what
	}
	return now, false
}

func (k *killer) kill() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.dead = true
	return errKilled
}

// into makes the killer watch over a target and a journal.
func (k *killer) into(to *memoryTarget, f *journalFile) {
	var carriedOut sync.Map
	to.before = func(method, what string) error {
		switch now, dead := k.hit(method + " " + what); {
		case dead:
			return errKilled
		case now && k.after:
			carriedOut.Store(method+what, true)
		case now:
			return k.kill()
		}
		return nil
	}
	to.after = func(method, what string) error {
		if _, ok := carriedOut.LoadAndDelete(method + what); ok {
			return k.kill()
		}
		return nil
	}
	f.before = func(line []byte) (int, error) {
		switch now, dead := k.hit(string(line)); {
		case dead:
			return 0, errKilled
		case now:
			return k.bytes(line), k.kill()
		}
		return len(line), nil
	}
}

// killing are the options of a run that is killed, with few rows between two marks.
func killing(t testing.TB, from hub.Reader, f *journalFile) migrate.Options {
	t.Helper()
	opts := moving(t, from, "http://127.0.0.1:1/account")
	opts.Partitions, opts.Concurrency, opts.Running = 3, 3, stopped
	opts.Journal = f.read(t)
	opts.Journal.Every = 7
	return opts
}

// undisturbed returns what a run makes that nothing disturbs, and how many changes
// and lines of the journal it takes.
func undisturbed(t testing.TB, from hub.Reader) (want []string, count int) {
	t.Helper()
	k, f := &killer{at: -1}, new(journalFile)
	opts := killing(t, from, f)
	to := newMemoryTarget(elsewhere, opts.Now)
	k.into(to, f)
	if _, err := migrate.Run(t.Context(), from, to, opts); err != nil {
		t.Fatal(err)
	}
	return to.everything(), k.n
}

// finish goes on with a run that was killed, and checks what there is in the end.
func finish(t *testing.T, from hub.Reader, to *memoryTarget, f *journalFile, want []string) {
	t.Helper()
	to.before, to.after, f.before = nil, nil, nil
	opts := killing(t, from, f)
	opts.Resume = true
	report, err := migrate.Run(t.Context(), from, to, opts)
	if err != nil {
		t.Fatalf("Run with the journal\n%s: %v", f.text, err)
	}
	if diff := cmp.Diff(want, to.everything()); diff != "" {
		t.Fatalf("the hub (-undisturbed +resumed), with the journal\n%s:\n%s", f.text, diff)
	}
	if !report.AlreadyDone && report.Messages == 0 {
		t.Error("no message was sent")
	}
}

// small returns a part of a recorded hub with work in flight: rows that redrive
// it, and the start of an instance of another hub, whose message is made in a blob.
func small(t testing.TB) *testhub.Memory {
	t.Helper()
	capture := testhub.OpenHub(t, "dtfx-2.9.1-crashed")
	content := testhub.ContentOf(t, capture)
	info, err := capture.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	keep := func(key string) bool { return !strings.ContainsAny(key[len(key)-1:], "2468abcdefg") }
	for table, rows := range content.Tables {
		kept := rows[:0:0]
		for _, row := range rows {
			if table == hub.Partitions || keep(row.PartitionKey) {
				kept = append(kept, row)
			}
		}
		content.Tables[table] = kept
	}
	started := testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1-backlog")).Tables[hub.Instances][0].Clone()
	started.PartitionKey = "made"
	started.Set("Input", schema.String(`"`+strings.Repeat("€", 20_000)+`"`))
	content.Tables[hub.Instances] = append(content.Tables[hub.Instances], started)
	for n := range content.Queues {
		if content.Queues[n].Name == content.Names.ControlQueue(schema.Partition("made", content.PartitionCount)) {
			content.Queues[n].ApproximateCount++
		}
	}
	m := testhub.NewMemory(content)
	m.Started, m.Finished = info.Started, info.Finished
	return m
}

// A run that is killed at any change, before or after it is carried out, or at any
// line of its journal, is finished by another one.
func TestRunKilledAnywhere(t *testing.T) {
	from := small(t)
	want, count := undisturbed(t, from)
	step := 1
	if testing.Short() {
		step = 9
	}
	seen := make(map[string]bool)
	for n := 0; n < count; n += step {
		for _, after := range []bool{false, true} {
			k := &killer{at: n, after: after, bytes: func(line []byte) int {
				if after {
					return len(line)
				}
				return n % len(line)
			}}
			f := new(journalFile)
			opts := killing(t, from, f)
			to := newMemoryTarget(elsewhere, opts.Now)
			k.into(to, f)
			if _, err := migrate.Run(t.Context(), from, to, opts); !errors.Is(err, errKilled) {
				if k.what != "" {
					t.Fatalf("Run that is killed at %s = %v", k.what, err)
				}
				continue // with several workers it can be over sooner
			}
			name, _, _ := strings.Cut(k.what, " ")
			if strings.HasPrefix(name, "{") {
				name = "journal"
			}
			seen[name] = true
			finish(t, from, to, f, want)
		}
	}
	if !testing.Short() {
		for _, name := range []string{"journal", "CreateContainer", "PutBlob", "CreateTable", "PutRows", "CreateQueue", "ClearQueue", "PutMessage"} {
			if !seen[name] {
				t.Errorf("no run was killed at %s", name)
			}
		}
	}
	t.Logf("%d changes and lines", count)
}

// The last line of a journal may be cut off anywhere.
func TestJournalCutOff(t *testing.T) {
	from := small(t)
	want, _ := undisturbed(t, from)
	whole := new(journalFile)
	opts := killing(t, from, whole)
	opts.Concurrency = 1 // so that the lines are the same each time
	if _, err := migrate.Run(t.Context(), from, newMemoryTarget(elsewhere, opts.Now), opts); err != nil {
		t.Fatal(err)
	}
	// One line of each type, with what the target was then.
	types := make(map[string]bool)
	at := 0
	for _, line := range bytes.SplitAfter(whole.text, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		name := (&journalFile{text: line}).lines()[0]
		types[name] = true
		end := at + len(line)
		// Every byte of the short lines that decide whether messages are sent, and
		// some of the others.
		step := 1
		if name != "made" && name != "ended messages" && name != "done" {
			step = 41
		}
		if testing.Short() {
			step *= 10
		}
		for cut := at; cut < end; cut += step {
			// Killed when so much of the line was written.
			f := new(journalFile)
			opts := killing(t, from, f)
			opts.Concurrency = 1
			to := newMemoryTarget(elsewhere, opts.Now)
			lines, k := 0, &killer{at: -1}
			k.into(to, f)
			f.before = func(l []byte) (int, error) {
				if k.dead {
					return 0, errKilled
				}
				lines++
				if lines == bytes.Count(whole.text[:at], []byte("\n"))+1 {
					return min(len(l), cut-at), k.kill()
				}
				return len(l), nil
			}
			if _, err := migrate.Run(t.Context(), from, to, opts); !errors.Is(err, errKilled) {
				t.Fatalf("Run = %v", err)
			}
			finish(t, from, to, f, want)
		}
		at = end
	}
	for _, name := range []string{
		"migration", "phase blobs", "written blobs", "ended blobs", "written history", "written instances", "ended partitions",
		"checked", "phase messages", "made", "ended messages", "done",
	} {
		if !types[name] {
			t.Errorf("there is no line %q in\n%s", name, whole.text)
		}
	}
}

// The same with a second and a third kill.
func TestRunKilledAgain(t *testing.T) {
	from := small(t)
	want, count := undisturbed(t, from)
	rounds := 40
	if testing.Short() {
		rounds = 6
	}
	for n := range rounds {
		f := new(journalFile)
		to := newMemoryTarget(elsewhere, func() time.Time { return time.Time{} })
		for kill, at := range []int{(n*37 + 5) % count, (n * 11) % 60, (n * 7) % 40} {
			k := &killer{at: at, after: kill == 1, bytes: func(line []byte) int { return len(line) / 2 }}
			opts := killing(t, from, f)
			opts.Resume, to.now = kill > 0, opts.Now
			k.into(to, f)
			if _, err := migrate.Run(t.Context(), from, to, opts); err != nil && !errors.Is(err, errKilled) {
				t.Fatalf("run %d of round %d: %v\n%s", kill, n, err, f.text)
			}
		}
		finish(t, from, to, f, want)
	}
}

// What was written before a kill is not written again, but for some rows.
func TestResumeGoesOn(t *testing.T) {
	from := small(t)
	const every = 7
	for _, phase := range []struct{ name, what string }{
		{"history", "PutRows History"}, {"instances", "PutRows Instances"}, {"blobs", "PutBlob"},
	} {
		t.Run(phase.name, func(t *testing.T) {
			written := func(k *killer, resume bool, to *memoryTarget, f *journalFile) map[string]int {
				opts := killing(t, from, f)
				opts.Resume, opts.Concurrency = resume, 1
				k.into(to, f)
				counts := make(map[string]int)
				var mu sync.Mutex
				before := to.before
				to.before = func(method, what string) error {
					mu.Lock()
					if !strings.Contains(what, "/made/message-") { // which comes with the messages
						counts[method]++
						counts[method+" "+what]++
					}
					mu.Unlock()
					return before(method, what)
				}
				if _, err := migrate.Run(t.Context(), from, to, opts); err != nil && !errors.Is(err, errKilled) {
					t.Fatal(err)
				}
				return counts
			}
			opts := killing(t, from, new(journalFile))
			whole := written(&killer{at: -1}, false, newMemoryTarget(elsewhere, opts.Now), new(journalFile))
			total := whole[phase.what]
			if total < 5 {
				t.Fatalf("%d changes are too few", total)
			}
			// Killed at the last change of the phase.
			f, to, n := new(journalFile), newMemoryTarget(elsewhere, opts.Now), 0
			k := &killer{at: -1}
			k.into(to, f)
			hit := to.before
			to.before = func(method, what string) error {
				if method+" "+what == phase.what || method == phase.what {
					if n++; n == total {
						return k.kill()
					}
				}
				return hit(method, what)
			}
			killed := killing(t, from, f)
			killed.Concurrency = 1
			if _, err := migrate.Run(t.Context(), from, to, killed); !errors.Is(err, errKilled) {
				t.Fatalf("Run = %v", err)
			}
			again := written(&killer{at: -1}, true, to, f)
			if got := again[phase.what]; got == 0 || got > every+1 {
				t.Errorf("%d of %d changes are made again, want at most %d", got, total, every+1)
			}
			for _, earlier := range []string{"PutBlob", "PutRows History"} {
				if earlier == phase.what {
					break
				}
				if again[earlier] > 0 {
					t.Errorf("%s is done again %d times", earlier, again[earlier])
				}
			}
			if diff := cmp.Diff(fmt.Sprint(whole["PutMessage"]), fmt.Sprint(again["PutMessage"])); diff != "" {
				t.Errorf("messages (-whole +resumed): %s", diff)
			}
		})
	}
}
