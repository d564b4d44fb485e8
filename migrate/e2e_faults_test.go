package migrate_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
)

// notes is a journal in memory.
type notes struct{ bytes.Buffer }

func (*notes) Sync() error  { return nil }
func (*notes) Close() error { return nil }

// journal is what a run finds that has these notes.
func (n *notes) journal(t testing.TB) *migrate.Journal {
	t.Helper()
	j, err := migrate.ReadJournal(bytes.NewReader(n.Bytes()), func() (migrate.JournalFile, error) { return n, nil })
	if err != nil {
		t.Fatal(err)
	}
	j.Every = 50
	return j
}

// faulty does something to requests that wrong says, by their number from 1 on.
type faulty struct {
	asked atomic.Int64
	wrong func(n int64) bool
	do    func(r *http.Request) (*http.Response, error)
}

// RoundTrip implements [http.RoundTripper].
func (f *faulty) RoundTrip(r *http.Request) (*http.Response, error) {
	if n := f.asked.Add(1); f.wrong != nil && f.wrong(n) {
		return f.do(r)
	}
	return transport.RoundTrip(r)
}

func sent(r *http.Request) {
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
}

// busy answers as the service does when it is asked too often.
func busy(r *http.Request) (*http.Response, error) {
	sent(r)
	return &http.Response{
		Status: "503 Server Busy", StatusCode: http.StatusServiceUnavailable, Request: r, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Retry-After": {"1"}, "X-Ms-Error-Code": {"ServerBusy"}}, Body: http.NoBody,
	}, nil
}

// lostBefore is a connection that breaks before the service has seen the request.
func lostBefore(r *http.Request) (*http.Response, error) {
	sent(r)
	return nil, errBroken
}

// lostAfter is one that breaks when the request has been carried out.
func lostAfter(r *http.Request) (*http.Response, error) {
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	return nil, errBroken
}

// cutOff is one that is closed in the middle of the answer.
func cutOff(r *http.Request) (*http.Response, error) { return halfAnswered(r, io.ErrUnexpectedEOF) }

// reset is one that breaks there.
func reset(r *http.Request) (*http.Response, error) {
	return halfAnswered(r, &net.OpError{Op: "read", Net: "tcp", Err: syscall.ECONNRESET})
}

func halfAnswered(r *http.Request, err error) (*http.Response, error) {
	resp, failed := transport.RoundTrip(r)
	if failed == nil {
		resp.Body = &half{resp.Body, err}
	}
	return resp, failed
}

// half is an answer that breaks off.
type half struct {
	io.ReadCloser
	err error
}

func (h *half) Read(p []byte) (int, error) {
	n, _ := h.ReadCloser.Read(p)
	return n / 2, h.err
}

// disturbed is a migration of a recorded hub that is interrupted or disturbed.
type disturbed struct {
	*source
	from hub.Reader
	want []string // what an undisturbed one leads to
	asks int64    // how many requests it takes
}

func disturb(t *testing.T) *disturbed {
	t.Helper()
	const name = "dtfx-2.9.1-crashed"
	d := &disturbed{source: recordedSource(t, name), from: testhub.OpenHub(t, name)}
	e := testhub.Azurite(t)
	f := new(faulty)
	if err := d.run(t, e, f, 0, nil, false); err != nil {
		t.Fatal(err)
	}
	d.want, d.asks = look(t, e, movedHub).stored(t), f.asked.Load()
	return d
}

// run migrates to an account.
func (d *disturbed) run(t testing.TB, e *testhub.Emulator, through http.RoundTripper, retries int, n *notes, resume bool) error {
	t.Helper()
	cfg, err := live.ParseConnectionString(e.ConnectionString())
	if err != nil {
		t.Fatal(err)
	}
	to, err := live.OpenWriter(t.Context(), cfg, movedHub, live.Options{Transport: through, MaxRetries: retries, RetryDelay: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = to.Close() }()
	opts := d.to(e, func(o *migrate.Options) {
		o.Manager, o.Concurrency, o.Resume = migrate.SafeBlobManager, 4, resume
		if n != nil {
			o.Journal = n.journal(t)
		}
	})
	_, err = migrate.Run(t.Context(), d.from, to, opts)
	return err
}

// landedRight checks that the hub is that of an undisturbed migration, and is right.
func (d *disturbed) landedRight(t *testing.T, e *testhub.Emulator) {
	t.Helper()
	got := look(t, e, movedHub)
	if diff := cmp.Diff(d.want, got.stored(t)); diff != "" {
		t.Errorf("the hub (-undisturbed +disturbed):\n%s", diff)
	}
	opts := d.to(e, func(o *migrate.Options) { o.Manager = migrate.SafeBlobManager })
	d.check(t, got, d.outcome(&opts, peeked, "crashhub"))
}

// A migration that ends at any request, without another one, and whose second run
// ends at any, too, is finished by a third.
func TestMigrateInterrupted(t *testing.T) {
	t.Parallel()
	d := disturb(t)
	points := 16
	if testing.Short() {
		points = 4
	}
	const seed = 7
	r := rand.New(rand.NewPCG(seed, 0))
	t.Logf("seed %d, %d requests", seed, d.asks)
	for i := range points {
		first := 1 + int64((float64(i)+r.Float64())/float64(points)*float64(d.asks))
		second := 1 + r.Int64N(d.asks)
		t.Run(fmt.Sprintf("%d and %d", first, second), func(t *testing.T) {
			t.Parallel()
			e, n := testhub.Azurite(t), new(notes)
			for run, last := range []int64{first, second} {
				broken := &faulty{wrong: func(n int64) bool { return n > last }, do: lostBefore}
				if run == 0 && i%2 == 1 {
					broken.do = lostAfter
				}
				err := d.run(t, e, broken, -1, n, run > 0 && n.Len() > 0)
				if err == nil && broken.asked.Load() <= last {
					break // it was done before
				}
				if !errors.Is(err, errBroken) {
					t.Fatalf("run %d, broken after %d requests: %v", run, last, err)
				}
			}
			if err := d.run(t, e, transport, 0, n, n.Len() > 0); err != nil {
				t.Fatalf("the last run: %v", err)
			}
			d.landedRight(t, e)
		})
	}
}

// Requests that fail are sent again, and what comes of it is there once.
func TestMigrateFaults(t *testing.T) {
	t.Parallel()
	d := disturb(t)
	points := int64(6)
	if testing.Short() {
		points = 2
	}
	for _, tt := range []struct {
		name string
		do   func(*http.Request) (*http.Response, error)
	}{
		{"busy", busy}, {"lost before", lostBefore}, {"lost after", lostAfter}, {"cut off", cutOff}, {"reset", reset},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for k := range points {
				// The last of them are among the messages.
				at := 1 + (k+1)*d.asks/(points+1)
				e := testhub.Azurite(t)
				f := &faulty{do: tt.do, wrong: func(n int64) bool { return n == at }}
				if err := d.run(t, e, f, 0, nil, false); err != nil {
					t.Errorf("request %d of %d: %v", at, d.asks, err)
					continue
				}
				d.landedRight(t, e)
			}
		})
	}
	t.Run("often", func(t *testing.T) {
		t.Parallel()
		for _, do := range []func(*http.Request) (*http.Response, error){busy, lostBefore} {
			e := testhub.Azurite(t)
			f := &faulty{do: do, wrong: func(n int64) bool { return n%25 == 0 }}
			if err := d.run(t, e, f, 0, nil, false); err != nil {
				t.Error(err)
				continue
			}
			d.landedRight(t, e)
		}
	})
}
