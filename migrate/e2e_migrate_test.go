package migrate_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

// transport keeps as many connections to the emulator as tests need at once.
var transport = &http.Transport{MaxIdleConnsPerHost: 64}

// inFlight are the recorded hubs with messages, and what becomes of these: if a
// peek shows some, if there is none to be seen, and if they are received, where
// there are more than a peek shows.
var inFlight = []struct {
	name                   string
	peek, without, receive tally
}{
	{"dtfx-1.17.5", tally{Rebuilt: 4}, tally{Rebuilt: 4}, tally{}},
	{"dtfx-2.9.1", tally{Rebuilt: 4}, tally{Rebuilt: 4}, tally{}},
	{"dtfx-2.9.1-backlog", tally{Seen: 42, Rebuilt: 10, Gone: 9}, tally{Rebuilt: 21, Gone: 40}, tally{Seen: 61}},
	{"dtfx-2.9.1-blob-leases", tally{Rebuilt: 4}, tally{Rebuilt: 4}, tally{}},
	{"dtfx-2.9.1-crashed", tally{Seen: 33, Rebuilt: 6, Redriven: 59, Woken: 7, Gone: 1}, tally{Rebuilt: 6, Redriven: 92, Woken: 9}, tally{Seen: 86, Rebuilt: 6, Redriven: 6, Woken: 5, Gone: 1}},
	{"dtfx-2.9.1-odd", tally{Seen: 84, Rebuilt: 8, Redriven: 165, Woken: 118, Gone: 48}, tally{Rebuilt: 8, Redriven: 240, Woken: 179, Gone: 45}, tally{Seen: 208, Rebuilt: 8, Redriven: 72, Woken: 25, Gone: 17}},
	{"dtfx-2.9.1-poisoned", tally{Seen: 1, Rebuilt: 4}, tally{Rebuilt: 4, Gone: 1}, tally{}},
	{"dtfx-2.9.1-torn", tally{Seen: 33, Rebuilt: 3, Redriven: 2253, Woken: 6, Gone: 808}, tally{Rebuilt: 3, Redriven: 2286, Woken: 6, Gone: 807}, tally{Seen: 3088, Rebuilt: 3, Redriven: 5, Woken: 2, Gone: 1}},
	{"functions-3", tally{Rebuilt: 3}, tally{Rebuilt: 3}, tally{}},
	{"functions-3-after-js", tally{Seen: 11, Rebuilt: 3}, tally{Rebuilt: 7, Gone: 7}, tally{}},
	{"functions-3-after-write", tally{Seen: 25, Rebuilt: 3}, tally{Rebuilt: 11, Gone: 17}, tally{}},
	{"shared-tracking-TrackA", tally{Seen: 8}, tally{Rebuilt: 5, Gone: 3}, tally{}},
	{"shared-tracking-TrackB", tally{Seen: 8}, tally{Rebuilt: 5, Gone: 3}, tally{}},
}

var movedHub = hub.Names{TaskHub: "MovedHub"}

// to are the options of a move to an account, in which it is the time of the
// recording.
func (s *source) to(e *testhub.Emulator, change func(*migrate.Options)) migrate.Options {
	opts := migrate.Options{
		Names: movedHub, Partitions: 3, Now: s.recorded.Time, Running: stopped,
		AcceptLost: s.Name == "dtfx-2.9.1-backlog", // one queue has 51 messages, of which a peek shows 32
		BlobURL:    func(container, name string) string { return schema.BlobURL(e.BlobURL, container, name) },
	}
	change(&opts)
	return opts
}

// outcome is what a move with these options has to lead to.
func (s *source) outcome(opts *migrate.Options, seen func(*letter) bool, foreign ...string) *outcome {
	o := &outcome{
		names: opts.Names, partitions: opts.Partitions, manager: opts.Manager, version1: opts.Version1,
		base64: opts.Encoding == schema.Base64, now: opts.Now(), seen: seen,
		foreign: append(foreign, "devstoreaccount1", "lab-worker"),
	}
	if o.version1 && o.manager == "" {
		o.manager = migrate.SafeBlobManager
	}
	return o
}

func peeked(l *letter) bool  { return l.peeked }
func visible(l *letter) bool { return l.visible }
func closed(*letter) bool    { return false }

func partitions(n int) func(*migrate.Options) { return func(o *migrate.Options) { o.Partitions = n } }

func withoutQueues(o *migrate.Options) { o.WithoutQueues = true }

// toVersion1 makes a hub of a version of the framework that only knows Base64.
func toVersion1(o *migrate.Options) {
	o.Partitions, o.Version1, o.Encoding = 16, true, schema.Base64
}

// moveTo migrates a hub to an account and returns what is there then.
func (s *source) moveTo(t *testing.T, from hub.Reader, e *testhub.Emulator, opts *migrate.Options) *landed {
	t.Helper()
	report, err := migrate.Run(t.Context(), from, target(t, e, opts.Names, transport), *opts)
	if err != nil {
		t.Fatal(err)
	}
	got := look(t, e, opts.Names)
	if report.Messages != int64(len(got.letters)) || report.Differences != nil {
		t.Errorf("%d messages and differences %v are reported, want %d and none", report.Messages, report.Differences, len(got.letters))
	}
	return got
}

// stored is all that is stored of a hub, to compare it with the like in another
// account.
func (l *landed) stored(t testing.TB) []string {
	t.Helper()
	var lines []string
	for table, rows := range l.content.Tables {
		for i := range rows {
			row := rows[i]
			row.Timestamp, row.ETag = 0, ""
			lines = append(lines, table.String()+" "+strings.ReplaceAll(string(row.AppendJSON(nil)), l.e.BlobURL, "http://account"))
		}
	}
	for _, b := range l.content.Blobs {
		lines = append(lines, fmt.Sprintf("%s/%s %x", b.Container, b.Name, b.Data))
	}
	for _, m := range l.letters {
		lines = append(lines, fmt.Sprintf("%s %v %s", m.queue, m.wait, m.body))
	}
	slices.Sort(lines)
	return lines
}

// Recorded hubs are loaded, with their hidden messages hidden, and move to another
// account, another name, other partition counts and another version, and back.
func TestMigrateRecorded(t *testing.T) {
	for _, tt := range inFlight {
		if testing.Short() && !slices.Contains([]string{"dtfx-1.17.5", "dtfx-2.9.1-crashed", "functions-3-after-write"}, tt.name) {
			continue
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := recordedSource(t, tt.name)
			a := testhub.Azurite(t)
			if tt.receive.Seen > 1000 {
				a = testhub.StartAzurite(t) // the more messages there are, the slower are all
			}
			testhub.LoadRecorded(t, a, tt.name)
			before := look(t, a, s.Names).stored(t)
			source := openLive(t, a, s.Names)
			foreign := []string{strings.ToLower(s.Names.TaskHub), a.Account}
			move := func(t *testing.T, name string, change func(*migrate.Options), seen func(*letter) bool, want tally) {
				t.Run(name, func(t *testing.T) {
					t.Parallel()
					e := testhub.Azurite(t)
					opts := s.to(e, change)
					if got := s.check(t, s.moveTo(t, source, e, &opts), s.outcome(&opts, seen, foreign...)); got != want {
						t.Errorf("messages are %+v, want %+v", got, want)
					}
				})
			}
			t.Run("move", func(t *testing.T) {
				move(t, "1 partition", partitions(1), peeked, tt.peek)
				move(t, "3 partitions, without queues", withoutQueues, closed, tt.without)
				t.Run("16 partitions of version 1, and back", func(t *testing.T) {
					t.Parallel()
					s.andBack(t, source, foreign, tt.peek)
				})
				t.Run("4 partitions, and a capture", func(t *testing.T) {
					t.Parallel()
					var stored [2][]string
					for i, from := range []hub.Reader{source, testhub.OpenHub(t, tt.name)} {
						e := testhub.Azurite(t)
						opts := s.to(e, partitions(4))
						got := s.moveTo(t, from, e, &opts)
						stored[i] = got.stored(t)
						if i == 0 {
							s.check(t, got, s.outcome(&opts, peeked, foreign...))
						}
					}
					if diff := cmp.Diff(stored[0], stored[1]); diff != "" {
						t.Errorf("the hub (-of the live hub +of the capture):\n%s", diff)
					}
				})
			})
			if diff := cmp.Diff(before, look(t, a, s.Names).stored(t)); diff != "" {
				t.Errorf("the source (-before +after):\n%s", diff)
			}
			if tt.receive == (tally{}) {
				return
			}
			t.Run("3 partitions, receiving", func(t *testing.T) {
				e := testhub.Azurite(t)
				opts := s.to(e, func(o *migrate.Options) { o.Receive = openReceiver(t, a, s.Names) })
				if got := s.check(t, s.moveTo(t, source, e, &opts), s.outcome(&opts, visible, foreign...)); got != tt.receive {
					t.Errorf("messages are %+v, want %+v", got, tt.receive)
				}
				// All are there again, hidden or not as they were.
				after := look(t, a, s.Names)
				received := time.Now()
				for _, l := range after.letters {
					if l.taken.After(received) != (l.wait > 24*time.Hour) {
						t.Errorf("%s can be taken %s", l.identity(), l.taken)
					}
					l.wait = l.wait.Truncate(24 * time.Hour)
				}
				if diff := cmp.Diff(before, after.stored(t)); diff != "" {
					t.Errorf("the source (-before +after):\n%s", diff)
				}
			})
		})
	}
}

// andBack moves a hub to version 1 and back to where it was, but for the account.
func (s *source) andBack(t *testing.T, from hub.Reader, foreign []string, want tally) {
	t.Helper()
	b, c := testhub.Azurite(t), testhub.Azurite(t)
	there := s.to(b, toVersion1)
	if got := s.check(t, s.moveTo(t, from, b, &there), s.outcome(&there, peeked, foreign...)); got != want {
		t.Errorf("messages are %+v, want %+v", got, want)
	}
	back := s.to(c, func(o *migrate.Options) {
		o.Names.TaskHub, o.Partitions = s.Names.TaskHub, s.content.PartitionCount
		if _, ok := s.content.Tables[hub.Partitions]; !ok {
			o.Manager = migrate.SafeBlobManager
		}
		if len(s.letters) > 0 && s.letters[0].base64 {
			o.Encoding = schema.Base64
		}
	})
	outcome := s.outcome(&back, peeked, strings.ToLower(movedHub.TaskHub), b.Account, foreign[1])
	outcome.wasVersion1 = true
	if got := s.check(t, s.moveTo(t, openLive(t, b, movedHub), c, &back), outcome); got != want {
		t.Errorf("messages that are back are %+v, want %+v", got, want)
	}
}

// openReceiver opens a hub in an account until t ends, for reading its queues by
// receiving.
func openReceiver(t testing.TB, e *testhub.Emulator, names hub.Names) *live.Receiver {
	t.Helper()
	cfg, err := live.ParseConnectionString(e.ConnectionString())
	if err != nil {
		t.Fatal(err)
	}
	r, err := live.OpenReceiver(t.Context(), cfg, names, live.Options{Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// openLive opens a hub in an account until t ends, for reading only.
func openLive(t testing.TB, e *testhub.Emulator, names hub.Names) *live.Hub {
	t.Helper()
	cfg, err := live.ParseConnectionString(e.ConnectionString())
	if err != nil {
		t.Fatal(err)
	}
	h, err := live.Open(t.Context(), cfg, names, live.Options{Transport: testhub.ReadOnly(t, transport)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}
