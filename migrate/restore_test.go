package migrate_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

// target returns a writer of the hub with these names in an account, whose
// requests go through transport, or directly if that is nil.
func target(t *testing.T, e *testhub.Emulator, names hub.Names, transport http.RoundTripper) *live.Writer {
	t.Helper()
	cfg, err := live.ParseConnectionString(e.ConnectionString())
	if err != nil {
		t.Fatal(err)
	}
	w, err := live.OpenWriter(t.Context(), cfg, names, live.Options{Transport: transport, RetryDelay: time.Millisecond, MaxRetries: 8})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.Close() })
	return w
}

func names(t *testing.T, r hub.Reader) hub.Names {
	t.Helper()
	info, err := r.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return info.Names
}

// messages returns the texts in each queue, by peeking.
func messages(t *testing.T, r hub.Reader) map[string][]string {
	t.Helper()
	queues, err := r.Queues(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for _, q := range queues {
		all[q.Name] = nil
		for m, err := range r.Messages(t.Context(), q.Name) {
			if err != nil {
				t.Fatal(err)
			}
			all[q.Name] = append(all[q.Name], m.Text)
		}
	}
	return all
}

// Every recorded hub is restored into an empty account, and a capture of that is
// the capture it came from.
func TestRestoreRecordedHubs(t *testing.T) {
	paths, err := filepath.Glob(testhub.Testdata(t, "hubs", "*.taskhub"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no recorded hubs: %v", err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".taskhub")
		t.Run(name, func(t *testing.T) {
			from := testhub.OpenHub(t, name)
			e := testhub.Azurite(t)
			to := target(t, e, names(t, from), nil)
			report, err := migrate.Restore(t.Context(), from, to, migrate.RestoreOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]migrate.Difference(nil), report.Differences); diff != "" {
				t.Errorf("differences after restoring:\n%s", diff)
			}
			if diff := cmp.Diff(messages(t, from), messages(t, to)); diff != "" {
				t.Errorf("messages (-captured +restored):\n%s", diff)
			}
			again := filepath.Join(t.TempDir(), "again.taskhub")
			if err := snapshot.Capture(t.Context(), again, to, snapshot.CaptureOptions{}); err != nil {
				t.Fatal(err)
			}
			back, err := snapshot.Open(again, snapshot.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = back.Close() }()
			found, err := migrate.Compare(t.Context(), from, back, migrate.CompareOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if len(found) > 0 {
				t.Errorf("the capture of the restored hub differs: %v", found)
			}
		})
	}
}

func TestRestoreRefusesExisting(t *testing.T) {
	from := testhub.OpenHub(t, "dtfx-2.9.1-backlog")
	e := testhub.Azurite(t)
	e.CreateQueues(t, "backlog-workitems")
	before := e.Listing(t)
	to := target(t, e, names(t, from), nil)
	if _, err := migrate.Restore(t.Context(), from, to, migrate.RestoreOptions{}); !errors.Is(err, migrate.ErrExists) || !errors.Is(err, hub.ErrInUse) {
		t.Errorf("Restore into an existing hub = %v, want %v", err, migrate.ErrExists)
	}
	if diff := cmp.Diff(before, e.Listing(t)); diff != "" {
		t.Errorf("the account changed:\n%s", diff)
	}
}

// breaking fails every request from the n-th on.
type breaking struct {
	next  http.RoundTripper
	left  atomic.Int64
	count atomic.Int64
}

var errBroken = errors.New("broken by the test")

func (b *breaking) RoundTrip(req *http.Request) (*http.Response, error) {
	b.count.Add(1)
	if b.left.Add(-1) < 0 {
		return nil, errBroken
	}
	return b.next.RoundTrip(req)
}

// A restoration that is interrupted at any request is finished by another run.
func TestRestoreResumes(t *testing.T) {
	from := testhub.OpenHub(t, "dtfx-2.9.1-backlog")
	whole := &breaking{next: http.DefaultTransport}
	whole.left.Store(1 << 40)
	if _, err := migrate.Restore(t.Context(), from, target(t, testhub.Azurite(t), names(t, from), whole), migrate.RestoreOptions{Concurrency: 2}); err != nil {
		t.Fatal(err)
	}
	requests := whole.count.Load()
	step := max(1, requests/12)
	for n := int64(1); n < requests; n += step {
		t.Run(fmt.Sprintf("request %d of %d", n, requests), func(t *testing.T) {
			e := testhub.Azurite(t)
			b := &breaking{next: http.DefaultTransport}
			b.left.Store(n)
			cfg, err := live.ParseConnectionString(e.ConnectionString())
			if err != nil {
				t.Fatal(err)
			}
			broken, err := live.OpenWriter(t.Context(), cfg, names(t, from), live.Options{Transport: b, MaxRetries: -1})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := migrate.Restore(t.Context(), from, broken, migrate.RestoreOptions{Concurrency: 2}); !errors.Is(err, errBroken) {
				t.Fatalf("Restore over a broken connection = %v, want %v", err, errBroken)
			}
			to := target(t, e, names(t, from), nil)
			report, err := migrate.Restore(t.Context(), from, to, migrate.RestoreOptions{Resume: true})
			if err != nil {
				t.Fatal(err)
			}
			if len(report.Differences) > 0 {
				t.Errorf("differences: %v", report.Differences)
			}
			if diff := cmp.Diff(messages(t, from), messages(t, to)); diff != "" {
				t.Errorf("messages (-captured +restored):\n%s", diff)
			}
		})
	}
}

func TestRestoreCancelled(t *testing.T) {
	from := testhub.OpenHub(t, "dtfx-2.9.1")
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stopped by the test")
	to := target(t, testhub.Azurite(t), names(t, from), nil)
	_, err := migrate.Restore(ctx, from, to, migrate.RestoreOptions{OnProgress: func(p migrate.Progress) {
		if p.Phase == migrate.PhaseHistory && p.Items > 10 {
			cancel(stop)
		}
	}})
	if !errors.Is(err, stop) {
		t.Errorf("Restore after cancellation = %v, want %v", err, stop)
	}
}

func TestCompare(t *testing.T) {
	from := testhub.OpenHub(t, "dtfx-2.9.1")
	content := testhub.ContentOf(t, from)
	changed := testhub.ContentOf(t, from)
	rows := changed.Tables[hub.Instances]
	rows[3].Set("Output", schema.String("else"))
	rows[5].Set("New", schema.Int32(1))
	changed.Tables[hub.Instances] = append(rows[:10:10], rows[11:]...)
	changed.Blobs[2].Data = append([]byte("x"), changed.Blobs[2].Data[1:]...)
	changed.Blobs[2].ContentMD5 = nil
	got, err := migrate.Compare(t.Context(), testhub.NewMemory(content), testhub.NewMemory(changed), migrate.CompareOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := []migrate.Difference{
		{Artifact: "Instances", Key: rows[3].PartitionKey + "/", Kind: migrate.KindChanged, Detail: "Output"},
		{Artifact: "Instances", Key: rows[5].PartitionKey + "/", Kind: migrate.KindChanged, Detail: "New"},
		{Artifact: "Instances", Key: content.Tables[hub.Instances][10].PartitionKey + "/", Kind: migrate.KindMissing},
		{Artifact: changed.Blobs[2].Container, Key: changed.Blobs[2].Name, Kind: migrate.KindChanged, Detail: "content"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Compare (-want +got):\n%s", diff)
	}
}
