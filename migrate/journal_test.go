package migrate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

func TestReadJournal(t *testing.T) {
	f := begunJournal(t, small(t), killing(t, small(t), new(journalFile)))
	header, rest, ok := strings.Cut(string(f.text), "\n")
	if !ok || !strings.HasPrefix(rest, `{"type":"phase"`) {
		t.Fatalf("the journal is\n%s", f.text)
	}
	header += "\n"
	phase := `{"type":"phase","at":"2026-11-22T04:09:09.7134771Z","phase":"blobs"}` + "\n"
	done := `{"type":"done","at":"2026-11-22T04:09:09.7134771Z"}` + "\n"
	for _, tt := range []struct {
		name, text string
		bad        bool
	}{
		{"nothing", "", false},
		{"a header", header, false},
		{"a header that is cut off", header[:40], false},
		{"a header without its end", header[:len(header)-1], false},
		{"two runs", header + phase + header + phase, false},
		{"a run after a line that was cut off", header + phase[:10] + "\n" + header + phase, false},
		{"two headers that were cut off", header + phase[:10] + "\n" + header[:30] + "\n" + header, false},
		{"a tail of zeros", header + phase + strings.Repeat("\x00", 500), false},
		{"an end", header + phase + done, false},
		{"text", "Dear Sir or Madam\n", true},
		{"text without an end", "Dear", true},
		{"empty lines", "\n\n", true},
		{"another kind of journal", `{"type":"run","operation":"rewind"}` + "\n", true},
		{"an array", "[]\n", true},
		{"no header", phase, true},
		{"an empty header", `{"type":"migration","at":"x"}` + "\n", true},
		{"a type that nobody knows", header + `{"type":"undone"}` + "\n", true},
		{"something damaged in the middle", header + phase[:10] + "\n" + phase, true},
		{"something damaged twice", header + "x\ny\n" + header, true},
		{"a run after the end", header + done + header, true},
		{"a phase after the end", header + done + phase, true},
		{"runs of two migrations", header + strings.Replace(header, "Elsewhere", "Nowhere", 1), true},
		{"a long line", header + strings.Repeat("x", 70_000), true},
		{"a long line at the beginning", `{"type":"migration","at":"` + strings.Repeat("x", 70_000), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := migrate.ReadJournal(strings.NewReader(tt.text), nil)
			if errors.Is(err, migrate.ErrNoJournal) != tt.bad || (err != nil) != tt.bad {
				t.Errorf("ReadJournal = %v", err)
			}
		})
	}
	broken := errors.New("broken disk")
	if _, err := migrate.ReadJournal(io.MultiReader(strings.NewReader(header), iotest.ErrReader(broken)), nil); !errors.Is(err, broken) {
		t.Errorf("ReadJournal of a broken disk = %v", err)
	}
}

// A header is on disk before anything is written, and no other line is written
// before it is on disk, too.
func TestJournalIsOnDisk(t *testing.T) {
	from := small(t)
	f := new(journalFile)
	opts := killing(t, from, f)
	opts.Concurrency = 1 // so that nothing is written to the journal meanwhile
	to := newMemoryTarget(elsewhere, opts.Now)
	to.before = func(method, what string) error {
		if method != "PutMessage" && (f.synced == 0 || f.synced != len(f.text)) {
			t.Errorf("%s %s when %d bytes of %d are on disk", method, what, f.synced, len(f.text))
		}
		return nil
	}
	if _, err := migrate.Run(t.Context(), from, to, opts); err != nil {
		t.Fatal(err)
	}
}

// refusals returns the codes for which a run and a plan are refused, with the
// details.
func refusals(t *testing.T, from hub.Reader, to migrate.Target, opts migrate.Options) map[migrate.RefusalCode]string {
	t.Helper()
	_, err := migrate.Run(t.Context(), from, to, opts)
	var refused *migrate.RefusedError
	if !errors.As(err, &refused) {
		t.Fatalf("Run = %v, want a refusal", err)
	}
	plan, err := migrate.Plan(t.Context(), from, to, opts)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plan.Refusals, refused.Refusals); diff != "" {
		t.Errorf("refusals (-plan +run):\n%s", diff)
	}
	all := make(map[migrate.RefusalCode]string)
	for _, r := range refused.Refusals {
		all[r.Code] = r.Detail
	}
	return all
}

// readOnly fails the test if a target is changed.
func readOnly(t *testing.T, to *memoryTarget) {
	t.Helper()
	to.after = nil
	to.before = func(method, what string) error {
		t.Errorf("%s %s", method, what)
		return errKilled
	}
}

func TestRunRefusesJournals(t *testing.T) {
	from := small(t)
	begun := begunJournal(t, from, killing(t, from, new(journalFile)))
	exists := func(names hub.Names, now func() time.Time) *memoryTarget {
		to := newMemoryTarget(names, now)
		if err := to.CreateQueue(t.Context(), names.WorkItemQueue()); err != nil {
			t.Fatal(err)
		}
		return to
	}
	for _, tt := range []struct {
		name   string
		change func(o *migrate.Options)
		want   migrate.RefusalCode
		detail string
	}{
		{"no journal", func(o *migrate.Options) { o.Journal = nil }, migrate.RefusedNoJournal, "Elsewhere"},
		{"an empty journal", func(o *migrate.Options) { o.Journal = new(journalFile).read(t) }, migrate.RefusedNoJournal, "Elsewhere"},
		{"another hub", func(o *migrate.Options) { o.Names.TaskHub = "Other" }, migrate.RefusedJournal, "target hub Elsewhere and not Other"},
		{"another account", func(o *migrate.Options) {
			o.BlobURL = func(container, name string) string {
				return schema.BlobURL("http://127.0.0.1:1/other", container, name)
			}
		}, migrate.RefusedJournal, "http://127.0.0.1:1/account/elsewhere-largemessages and not http://127.0.0.1:1/other/elsewhere-largemessages"},
		{"another count", func(o *migrate.Options) { o.Partitions = 5 }, migrate.RefusedJournal, "partitions 3 and not 5"},
		{"another manager", func(o *migrate.Options) { o.Manager = migrate.LegacyBlobManager }, migrate.RefusedJournal, "manager table and not legacy-blob"},
		{"another version", func(o *migrate.Options) { o.Version1, o.Manager = true, migrate.TableManager }, migrate.RefusedJournal, "framework 2 and not 1"},
		{"another encoding", func(o *migrate.Options) { o.Encoding = schema.Base64 }, migrate.RefusedJournal, "encoding json and not base64"},
		{"without queues", func(o *migrate.Options) { o.WithoutQueues, o.AcceptLost = true, true }, migrate.RefusedJournal, "without queues false and not true"},
		{"a selection", func(o *migrate.Options) {
			o.Select, o.AcceptLost = func(id string) bool { return id == "made" }, true
		}, migrate.RefusedJournal, "other instances are selected"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &journalFile{text: slices.Clone(begun.text)}
			opts := killing(t, from, f)
			opts.Resume = true
			tt.change(&opts)
			to := exists(opts.Names, opts.Now)
			readOnly(t, to)
			got := refusals(t, from, to, opts)
			if len(got) != 1 || !strings.Contains(got[tt.want], tt.detail) {
				t.Errorf("refused because of %v, want %s with %q", got, tt.want, tt.detail)
			}
			if !bytes.Equal(f.text, begun.text) {
				t.Error("the journal was written to")
			}
		})
	}
	t.Run("another source", func(t *testing.T) {
		opts := killing(t, from, &journalFile{text: slices.Clone(begun.text)})
		other := *from
		other.Content.Names.TaskHub, other.Started = "Another", other.Started+1
		opts.Resume = true
		got := refusals(t, &other, newMemoryTarget(elsewhere, opts.Now), opts)[migrate.RefusedJournal]
		for _, want := range []string{"source hub CrashHub and not Another", "source captured " + from.Started.String()} {
			if !strings.Contains(got, want) {
				t.Errorf("refused because %s, want %s", got, want)
			}
		}
	})
	t.Run("a journal without resume", func(t *testing.T) {
		opts := killing(t, from, &journalFile{text: slices.Clone(begun.text)})
		if got := refusals(t, from, newMemoryTarget(elsewhere, opts.Now), opts); len(got) != 1 || got[migrate.RefusedJournal] == "" {
			t.Errorf("refused because of %v", got)
		}
	})
	// Where there is nothing, nothing can be overwritten.
	t.Run("resume without anything", func(t *testing.T) {
		opts := killing(t, from, new(journalFile))
		opts.Journal, opts.Resume = nil, true
		if _, err := migrate.Run(t.Context(), from, newMemoryTarget(elsewhere, opts.Now), opts); err != nil {
			t.Error(err)
		}
	})
}

// A migration that has ended is not done again, whatever has become of the hub.
func TestRunDone(t *testing.T) {
	from := small(t)
	f := new(journalFile)
	opts := killing(t, from, f)
	to := newMemoryTarget(elsewhere, opts.Now)
	first, err := migrate.Run(t.Context(), from, to, opts)
	if err != nil || first.Resumed || first.AlreadyDone {
		t.Fatalf("Run = %+v, %v", first, err)
	}
	written := bytes.Clone(f.text)
	again := func() (*migrate.Report, error) {
		readOnly(t, to)
		opts := killing(t, from, f)
		opts.Resume = true
		opts.Running = func(_ context.Context, r hub.Reader) ([]string, error) {
			if r == hub.Reader(to) {
				return []string{"a lease is held"}, nil
			}
			return nil, nil
		}
		return migrate.Run(t.Context(), from, to, opts)
	}
	report, err := again()
	if err != nil || !report.AlreadyDone || len(report.Differences) > 0 || !cmp.Equal(report.Target, first.Target) {
		t.Errorf("Run once more = %+v, %v", report, err)
	}
	// An app has worked in it.
	for queue := range to.queues {
		to.queues[queue] = to.queues[queue][:0]
	}
	to.tables[hub.Instances]["new\x00"] = schema.Row{PartitionKey: "new"}
	report, err = again()
	want := []migrate.Difference{{Artifact: "Instances", Key: "new/", Kind: migrate.KindUnexpected}}
	if err != nil || !report.AlreadyDone || !cmp.Equal(report.Differences, want) {
		t.Errorf("Run after an app has worked = %+v, %v", report, err)
	}
	if !bytes.Equal(written, f.text) {
		t.Error("the journal was written to")
	}
	// Somebody has deleted it, and may want to have it once more.
	to = newMemoryTarget(elsewhere, opts.Now)
	readOnly(t, to)
	opts = killing(t, from, f)
	opts.Resume = true
	if got := refusals(t, from, to, opts); len(got) != 1 || !strings.Contains(got[migrate.RefusedJournal], "does not exist") {
		t.Errorf("refused because of %v", got)
	}
}

// until runs a migration that is killed at the first change of a kind.
func until(t *testing.T, from hub.Reader, to *memoryTarget, f *journalFile, method string) {
	t.Helper()
	k := &killer{at: -1}
	k.into(to, f)
	hit := to.before
	to.before = func(m, what string) error {
		if m == method {
			return k.kill()
		}
		return hit(m, what)
	}
	if _, err := migrate.Run(t.Context(), from, to, killing(t, from, f)); !errors.Is(err, errKilled) {
		t.Fatalf("Run that is killed = %v", err)
	}
	to.before, to.after, f.before = nil, nil, nil
}

// seeing is a hub of which only the first n messages of each queue are in sight.
func seeing(from *testhub.Memory, n int) *testhub.Memory {
	other := *from
	c := &other.Content
	c.Queues = slices.Clone(c.Queues)
	for i := range c.Queues {
		c.Queues[i].Messages = c.Queues[i].Messages[:min(n, len(c.Queues[i].Messages))]
	}
	return &other
}

// What comes into sight between two runs changes the plan: everything is written
// once more, and the end is as if it had been in sight before.
func TestResumeWithOtherMessages(t *testing.T) {
	whole := small(t)
	for _, method := range []string{"PutRows", "ClearQueue", "PutMessage"} {
		t.Run(method, func(t *testing.T) {
			now := whole.Started.Time()
			f, to := new(journalFile), newMemoryTarget(elsewhere, func() time.Time { return now })
			until(t, seeing(whole, 0), to, f, method)
			want, _ := undisturbed(t, seeing(whole, 99))
			finish(t, seeing(whole, 99), to, f, want)
		})
	}
}

// A copy that was whole and is not any more was used: it is not overwritten.
func TestResumeUsed(t *testing.T) {
	from := small(t)
	for _, changed := range []bool{false, true} {
		t.Run(fmt.Sprintf("other plan: %t", changed), func(t *testing.T) {
			now := from.Started.Time()
			f, to := new(journalFile), newMemoryTarget(elsewhere, func() time.Time { return now })
			until(t, seeing(from, 1), to, f, "PutMessage")
			row := to.tables[hub.Instances]["made\x00"]
			row = row.Clone()
			row.Set("RuntimeStatus", schema.String("Running"))
			to.tables[hub.Instances]["made\x00"] = row
			seen, want := 1, migrate.ErrDiffers
			if changed {
				seen, want = 2, hub.ErrInUse
			}
			for range 2 {
				readOnly(t, to)
				opts := killing(t, seeing(from, seen), f)
				opts.Resume = true
				if _, err := migrate.Run(t.Context(), seeing(from, seen), to, opts); !errors.Is(err, want) {
					t.Errorf("Run = %v, want %v", err, want)
				}
			}
		})
	}
}

// A copy that was never whole is written once more, all of it.
func TestResumeDiffering(t *testing.T) {
	from := small(t)
	want, _ := undisturbed(t, from)
	now := from.Started.Time()
	f, to := new(journalFile), newMemoryTarget(elsewhere, func() time.Time { return now })
	until(t, from, to, f, "CreateQueue")
	// As if the check had not come to its end.
	f.text = f.text[:bytes.Index(f.text, []byte(`{"type":"checked"`))]
	maps.DeleteFunc(to.tables[hub.History], func(key string, _ schema.Row) bool { return strings.HasSuffix(key, "\x00sentinel") })
	opts := killing(t, from, f)
	opts.Resume = true
	report, err := migrate.Run(t.Context(), from, to, opts)
	if !errors.Is(err, migrate.ErrDiffers) || len(report.Differences) == 0 {
		t.Fatalf("Run = %v", err)
	}
	finish(t, from, to, f, want)
}

// A target that somebody has deleted is made anew.
func TestResumeDeleted(t *testing.T) {
	from := small(t)
	want, _ := undisturbed(t, from)
	for _, method := range []string{"PutMessage", "PutRows"} {
		now := from.Started.Time()
		f := new(journalFile)
		until(t, from, newMemoryTarget(elsewhere, func() time.Time { return now }), f, method)
		finish(t, from, newMemoryTarget(elsewhere, func() time.Time { return now }), f, want)
	}
}

// A blob that was made for a message, which the plan at hand does not make, does
// not keep the run from ending.
func TestResumeWithoutMade(t *testing.T) {
	from := small(t)
	now := from.Started.Time()
	f, to := new(journalFile), newMemoryTarget(elsewhere, func() time.Time { return now })
	k := &killer{at: -1}
	k.into(to, f)
	hit := to.after
	to.after = func(method, what string) error {
		if method == "PutBlob" && strings.Contains(what, "/made/message-") {
			return k.kill()
		}
		return hit(method, what)
	}
	if _, err := migrate.Run(t.Context(), from, to, killing(t, from, f)); !errors.Is(err, errKilled) {
		t.Fatalf("Run that is killed = %v", err)
	}
	other := *from
	other.Content.Tables = maps.Clone(from.Content.Tables)
	rows := slices.Clone(from.Content.Tables[hub.Instances])
	i := slices.IndexFunc(rows, func(r schema.Row) bool { return r.PartitionKey == "made" })
	rows[i] = rows[i].Clone()
	rows[i].Set("Input", schema.String("1"))
	other.Content.Tables[hub.Instances] = rows
	want, _ := undisturbed(t, &other)
	var left string
	for name, b := range to.containers[elsewhere.LargeMessages()] {
		if strings.HasPrefix(name, "made/message-") {
			left = fmt.Sprintf("%s/%s %s %x", b.Container, name, b.ContentType, b.Data)
		}
	}
	want = append(want, left)
	slices.Sort(want)
	finish(t, &other, to, f, want)
	if left == "" {
		t.Error("no blob was made")
	}
}
