package live_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// onlyReceives fails t on any request that could change more than a receiver may:
// it receives messages, and makes them visible without sending a text.
type onlyReceives struct {
	t    testing.TB
	next http.RoundTripper

	mu              sync.Mutex
	received, shown int
}

func (o *onlyReceives) RoundTrip(req *http.Request) (*http.Response, error) {
	if testhub.Mutates(req) {
		messages := strings.Contains(req.URL.Path, "/messages")
		o.mu.Lock()
		switch {
		case req.Method == http.MethodGet && messages:
			o.received++
		case req.Method == http.MethodPut && messages && req.URL.Query().Get("visibilitytimeout") == "0" && req.Body == nil:
			o.shown++
		default:
			o.t.Errorf("a receiver sent %s %s", req.Method, req.URL)
		}
		o.mu.Unlock()
	}
	return o.next.RoundTrip(req)
}

func openReceiver(t testing.TB, cfg live.Config, names hub.Names, transport http.RoundTripper) *live.Receiver {
	t.Helper()
	own := &http.Transport{MaxIdleConnsPerHost: 32}
	t.Cleanup(own.CloseIdleConnections)
	switch guard := transport.(type) {
	case nil:
		transport = own
	case *onlyReceives:
		guard.next = own
	}
	r, err := live.OpenReceiver(t.Context(), cfg, names, live.Options{
		Transport: transport, MaxRetries: 3, RetryDelay: time.Millisecond, MaxRetryDelay: 5 * time.Second, TryTimeout: 20 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func TestReceiver(t *testing.T) {
	hubtest.RunReceiver(t, func(t testing.TB, c hubtest.Content) hubtest.Received {
		e := testhub.Azurite(t)
		testhub.Load(t, e, c)
		return openReceiver(t, config(t, e), c.Names, &onlyReceives{t: t})
	})
}

// receivedHub has a queue of n messages that are visible and one that is hidden.
func receivedHub(t testing.TB, n int) (e *testhub.Emulator, names hub.Names, queue string, texts []string) {
	t.Helper()
	names = hub.Names{TaskHub: "Receives"}
	c := hubtest.Content{Names: names, Queues: []hubtest.Queue{{Name: names.WorkItemQueue(), ApproximateCount: int64(n) + 1}}}
	for i := range n {
		c.Queues[0].Messages = append(c.Queues[0].Messages, schema.QueueMessage{Text: fmt.Sprintf("%04d", i)})
		texts = append(texts, fmt.Sprintf("%04d", i))
	}
	e = testhub.Azurite(t)
	testhub.Load(t, e, c)
	return e, names, names.WorkItemQueue(), texts
}

// sights checks that the messages of a queue are there and, but for the one that
// was hidden before, can be received at once.
func sights(t testing.TB, e *testhub.Emulator, queue string, texts []string) {
	t.Helper()
	now := schema.TicksOf(time.Now().Add(time.Second)) // the emulator's clock is ours
	var got []string
	for _, m := range e.AllMessages(t, queue) {
		if m.Text == "invisible" {
			continue
		}
		if got = append(got, m.Text); m.VisibleAt > now {
			t.Errorf("message %s is hidden until %s", m.Text, m.VisibleAt)
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(texts, got); diff != "" {
		t.Errorf("messages of the queue (-want +got):\n%s", diff)
	}
}

func receiveAll(ctx context.Context, r *live.Receiver, queue string, hidden time.Duration) (texts []string, err error) {
	for m, err := range r.ReceiveMessages(ctx, queue, hidden) {
		if err != nil {
			return texts, err
		}
		texts = append(texts, m.Text)
	}
	return texts, nil
}

// Whatever happens to requests, each message is given out once and is visible in
// the end.
func TestReceiveFaults(t *testing.T) {
	const n = 100
	for _, tt := range []struct {
		name   string
		faults []testhub.Fault
		match  string // of answers that are lost
		want   int    // messages; -1 for an error
	}{
		{name: "throttled", want: n, faults: []testhub.Fault{{Kind: testhub.Throttle, RetryAfter: "0", Match: "messages", After: 1, Times: 3}}},
		{name: "throttled for too long", want: -1, faults: []testhub.Fault{{Kind: testhub.Throttle, RetryAfter: "0", Match: "numofmessages", After: 2}}},
		{name: "connections reset", want: n, faults: []testhub.Fault{{Kind: testhub.Reset, Match: "numofmessages", After: 1, Times: 2}}},
		{name: "an answer cut off", want: n, faults: []testhub.Fault{{Kind: testhub.Drop, Match: "numofmessages", After: 1, Times: 1}}},
		{name: "an answer lost", want: n, match: "GET /"},
		{name: "an answer lost when a message is shown", want: n, match: "PUT "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e, names, queue, texts := receivedHub(t, n)
			p := testhub.NewProxy(t, e)
			p.Inject(tt.faults...)
			transport := &http.Transport{MaxIdleConnsPerHost: 32}
			t.Cleanup(transport.CloseIdleConnections)
			lose := &losing{lossy: lossy{next: transport, match: tt.match, times: 1}}
			if tt.match == "" {
				lose.times = 0
			}
			r := openReceiver(t, config(t, &p.Emulator), names, lose)
			got, err := receiveAll(t.Context(), r, queue, 2*time.Second)
			if lose.times > 0 {
				t.Error("no answer was lost")
			}
			slices.Sort(got)
			switch {
			case tt.want < 0 && err == nil:
				t.Error("no error")
			case tt.want >= 0 && (err != nil || !slices.Equal(got, texts)):
				t.Errorf("%d messages %v, error %v, want %d", len(got), got, err, tt.want)
			}
			sights(t, e, queue, texts)
		})
	}
}

// losing is lossy for requests that come at the same time.
type losing struct {
	mu sync.Mutex
	lossy
}

func (l *losing) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL.Query().Get("popreceipt") != "" && strings.Contains(req.URL.Path, "00000000-") {
		return l.next.RoundTrip(req) // of no message
	}
	l.mu.Lock()
	if l.times == 0 {
		l.mu.Unlock()
		return l.next.RoundTrip(req)
	}
	defer l.mu.Unlock()
	return l.lossy.RoundTrip(req)
}

// A stream that is cancelled in a request does not leave its messages hidden.
func TestReceiveCanceled(t *testing.T) {
	const n = 100
	for k := range 8 {
		e, names, queue, texts := receivedHub(t, n)
		cause := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		guard := &onlyReceives{t: t}
		at := &canceling{left: k, cancel: func() { cancel(cause) }}
		r := openReceiver(t, config(t, e), names, guard)
		guard.next = at.around(guard.next)
		got, err := receiveAll(ctx, r, queue, time.Hour)
		cancel(nil)
		// Once all are received, the end of the context changes nothing.
		if !errors.Is(err, cause) && (err != nil || len(got) != n) {
			t.Errorf("cancelled in request %d: %d messages, error %v, want the cause", k, len(got), err)
		}
		if len(got) > n {
			t.Errorf("cancelled in request %d: %d messages", k, len(got))
		}
		sights(t, e, queue, texts)
	}
}

// canceling ends a context while a request is on its way, which is carried out all
// the same.
type canceling struct {
	mu     sync.Mutex
	left   int
	cancel func()
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func (c *canceling) around(next http.RoundTripper) http.RoundTripper {
	return roundTrip(func(req *http.Request) (*http.Response, error) {
		resp, err := next.RoundTrip(req.WithContext(context.WithoutCancel(req.Context())))
		c.mu.Lock()
		if c.left--; c.left < 0 {
			c.cancel()
		}
		c.mu.Unlock()
		if err == nil && req.Context().Err() != nil {
			_ = resp.Body.Close() // nobody waits for it any more
			return nil, context.Cause(req.Context())
		}
		return resp, err
	})
}

// What the credentials do not allow to undo is not done.
func TestReceiveUnauthorized(t *testing.T) {
	e, names, queue, texts := receivedHub(t, 40)
	for _, permissions := range []string{"rl", "rlp", "rlu"} {
		cfg := config(t, e)
		cfg.Key, cfg.SAS = live.Secret{}, live.NewSecret(e.SAS("bqt", permissions))
		r := openReceiver(t, cfg, names, nil)
		got, err := receiveAll(t.Context(), r, queue, time.Hour)
		if !errors.Is(err, hub.ErrUnauthorized) || len(got) > 0 {
			t.Errorf("permissions %s: %d messages, error %v, want ErrUnauthorized", permissions, len(got), err)
		}
		sights(t, e, queue, texts)
		for _, m := range e.AllMessages(t, queue) {
			if m.DequeueCount > 0 {
				t.Fatalf("permissions %s: message %s was received", permissions, m.Text)
			}
		}
	}
	cfg := config(t, e)
	cfg.Key, cfg.SAS = live.Secret{}, live.NewSecret(e.SAS("bqt", "rlpu"))
	if got, err := receiveAll(t.Context(), openReceiver(t, cfg, names, nil), queue, time.Hour); len(got) != 40 || err != nil {
		t.Errorf("permissions rlpu: %d messages, error %v", len(got), err)
	}
}

func TestReceiveHidden(t *testing.T) {
	e, names, queue, _ := receivedHub(t, 1)
	r := openReceiver(t, config(t, e), names, nil)
	for _, hidden := range []time.Duration{-1, 0, time.Second - 1, 7*24*time.Hour + 1} {
		if got, err := receiveAll(t.Context(), r, queue, hidden); err == nil || len(got) > 0 {
			t.Errorf("hidden for %v: %d messages and no error", hidden, len(got))
		}
	}
}

// Messages that come into sight again before the end count once.
func TestReceiveSlowly(t *testing.T) {
	e, names, queue, texts := receivedHub(t, 70)
	guard := &onlyReceives{t: t}
	r := openReceiver(t, config(t, e), names, guard)
	var got []string
	for m, err := range r.ReceiveMessages(t.Context(), queue, 4*time.Second) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, m.Text); len(got) == 64 {
			// The first two requests are out of date when the third comes.
			for again := false; !again; {
				for m, err := range r.Messages(t.Context(), queue) {
					if err != nil {
						t.Fatal(err)
					}
					again = again || m.Text == texts[0]
				}
			}
		}
	}
	slices.Sort(got)
	if diff := cmp.Diff(texts, got); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
	sights(t, e, queue, texts)
}

// A Receiver cannot be taken for what writes.
func TestReceiverIsReader(t *testing.T) {
	var r any = new(live.Receiver)
	if _, ok := r.(hub.Writer); ok {
		t.Error("a Receiver is a Writer")
	}
	if _, ok := r.(hub.Editor); ok {
		t.Error("a Receiver is an Editor")
	}
	for _, v := range []any{new(live.Hub), new(live.Writer), new(live.Editor)} {
		if _, ok := v.(hub.Receiver); ok {
			t.Errorf("%T is a Receiver", v)
		}
	}
}
