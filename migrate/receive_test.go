package migrate_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

// receivable is a recorded hub whose queues hold all messages that could be taken
// when it was recorded, in the order of their IDs, and count the others.
func receivable(t testing.TB, name string) (r *testhub.Receiver, visible map[string][]string) {
	t.Helper()
	capture := testhub.OpenHub(t, name)
	info, err := capture.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := testhub.ContentOf(t, capture)
	visible = visibleTexts(t, name, &c, info.Started)
	for i := range c.Queues {
		q := &c.Queues[i]
		q.Messages = nil
		for n, text := range visible[q.Name] {
			q.Messages = append(q.Messages, schema.QueueMessage{ID: fmt.Sprintf("%s-%d", q.Name, n), Text: text})
		}
	}
	return testhub.NewReceiver(c, info.Started.Time()), visible
}

// visibleTexts returns the bodies of the recorded messages that could be taken, by
// queue and sorted.
func visibleTexts(t testing.TB, name string, c *hubtest.Content, recorded schema.Ticks) map[string][]string {
	t.Helper()
	visible := make(map[string][]string)
	for _, q := range c.Queues {
		for _, m := range testhub.RecordedMessages(t, name, q.Name) {
			if !testhub.Hidden(recorded, &m) {
				visible[q.Name] = append(visible[q.Name], m.Text)
			}
		}
		slices.Sort(visible[q.Name])
	}
	return visible
}

// receiving are the options of a move of a live hub that may be received from.
func receiving(t testing.TB, name string, r hub.Receiver) migrate.Options {
	t.Helper()
	opts := moving(t, testhub.OpenHub(t, name), "http://127.0.0.1:1/account")
	opts.Running, opts.Receive = stopped, r
	return opts
}

// checkReceived checks that a target has each message that could be taken once, and
// of others only what was hidden.
func checkReceived(t *testing.T, name string, visible map[string][]string, to *memoryTarget) {
	t.Helper()
	var want []string
	for _, texts := range visible {
		want = append(want, texts...)
	}
	hidden := make(map[string]int)
	for _, m := range recordedMessages(t, testhub.OpenHub(t, name), name) {
		if !slices.Contains(visible[m.queue], m.text) {
			hidden[m.identity]++
		}
	}
	left := make(map[string]int)
	for _, text := range want {
		left[text]++
	}
	for queue, messages := range to.queues {
		for _, m := range messages {
			if left[m.text] > 0 {
				left[m.text]--
				continue
			}
			loaded, err := hub.LoadMessage(t.Context(), to, elsewhere.LargeMessages(), &schema.QueueMessage{Text: m.text}, 0)
			if err != nil {
				t.Fatal(err)
			}
			id, w := identify(t, loaded.JSON)
			if w.TaskMessage.Event.EventType == int(schema.TypeGeneric) {
				continue // wakes an instance
			}
			if hidden[id]--; hidden[id] < 0 {
				t.Errorf("queue %s has %s, which no hidden message was", queue, id)
			}
		}
	}
	for text, n := range left {
		if n > 0 {
			t.Errorf("%d times missing: %.300s", n, text)
		}
	}
}

// All messages of queues that are longer than a peek are read and sent once, and
// the source has them as before.
func TestReceive(t *testing.T) {
	for _, name := range []string{"dtfx-2.9.1-torn", "dtfx-2.9.1-odd", "dtfx-2.9.1-crashed", "dtfx-2.9.1-backlog"} {
		t.Run(name, func(t *testing.T) {
			from, visible := receivable(t, name)
			opts := receiving(t, name, from)
			opts.AcceptLost = true
			var phases []migrate.Phase
			opts.OnProgress = func(p migrate.Progress) {
				if len(phases) == 0 || phases[len(phases)-1] != p.Phase {
					phases = append(phases, p.Phase)
				}
			}
			given := 0
			opts.OnItem = func(*migrate.Item) error { given++; return nil }
			to := newMemoryTarget(elsewhere, opts.Now)
			report, err := migrate.Run(t.Context(), from, to, opts)
			if err != nil {
				t.Fatal(err)
			}
			checkReceived(t, name, visible, to)
			checkVisible(t, from, visible, 1)
			long := 0
			for _, q := range report.Plan.Queues {
				if want := int64(len(visible[q.Queue])); q.Seen != want || q.Receivable != 0 {
					t.Errorf("queue %s: %d messages were seen and %d more may be, want %d", q.Queue, q.Seen, q.Receivable, want)
				}
				if q.Seen > 32 {
					long++
				}
			}
			if slices.Contains(phases, migrate.PhaseReceive) != (long > 0) || name == "dtfx-2.9.1-torn" && long == 0 {
				t.Errorf("%d queues are longer than a peek, and the phases are %v", long, phases)
			}
			items := int64(0)
			for _, c := range report.Plan.Pending {
				items += c.Count
			}
			if int64(given) != items {
				t.Errorf("%d items were given out, the plan counts %d", given, items)
			}
		})
	}
}

// checkVisible checks that all messages of the queues can be taken, and that those
// of queues longer than a peek were delivered so often at most.
func checkVisible(t *testing.T, r *testhub.Receiver, visible map[string][]string, deliveries int64) {
	t.Helper()
	for queue, want := range visible {
		var got []string
		for m, err := range r.ReceiveMessages(t.Context(), queue, time.Second) {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, m.Text); m.DequeueCount > deliveries || len(want) <= 32 && m.DequeueCount > 0 {
				t.Errorf("message %s of queue %s, which has %d, was delivered %d times", m.ID, queue, len(want), m.DequeueCount)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("messages of queue %s that can be taken (-want +got):\n%s", queue, diff)
		}
	}
}

// The same with an emulator, whose messages are received in some hundred requests.
func TestReceiveAzurite(t *testing.T) {
	name := "dtfx-2.9.1-torn"
	if testing.Short() {
		name = "dtfx-2.9.1-crashed"
	}
	_, visible := receivable(t, name)
	e := testhub.Azurite(t)
	testhub.LoadRecorded(t, e, name)
	cfg, err := live.ParseConnectionString(e.ConnectionString())
	if err != nil {
		t.Fatal(err)
	}
	from, err := live.OpenReceiver(t.Context(), cfg, names(t, testhub.OpenHub(t, name)), live.Options{Transport: onlyQueues{t}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = from.Close() }()
	opts := receiving(t, name, from)
	opts.AcceptLost = true
	to := newMemoryTarget(elsewhere, opts.Now)
	report, err := migrate.Run(t.Context(), from, to, opts)
	if err != nil {
		t.Fatal(err)
	}
	checkReceived(t, name, visible, to)
	for _, q := range report.Plan.Queues {
		if want := int64(len(visible[q.Queue])); q.Seen != want {
			t.Errorf("queue %s: %d messages were seen, want %d", q.Queue, q.Seen, want)
		}
		now := schema.TicksOf(time.Now().Add(time.Second))
		var got []string
		for _, m := range e.AllMessages(t, q.Queue) {
			if m.VisibleAt <= now {
				got = append(got, m.Text)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(visible[q.Queue], got); diff != "" {
			t.Errorf("what can be taken of queue %s afterwards (-want +got):\n%s", q.Queue, diff)
		}
	}
}

// onlyQueues fails a test on requests that change anything but messages.
type onlyQueues struct{ t testing.TB }

func (o onlyQueues) RoundTrip(req *http.Request) (*http.Response, error) {
	shows := req.Method == http.MethodPut && req.Body == nil && req.URL.Query().Get("visibilitytimeout") == "0"
	if testhub.Mutates(req) && (!strings.Contains(req.URL.Path, "/messages") || req.Method != http.MethodGet && !shows) {
		o.t.Errorf("%s %s", req.Method, req.URL)
	}
	return http.DefaultTransport.RoundTrip(req)
}

// never fails a test that receives from it.
type never struct{ t testing.TB }

func (n never) ReceiveMessages(_ context.Context, queue string, _ time.Duration) iter.Seq2[schema.QueueMessage, error] {
	n.t.Errorf("queue %s is received from", queue)
	return func(func(schema.QueueMessage, error) bool) {}
}

// A plan says what there is to receive, and does not.
func TestReceivePlan(t *testing.T) {
	const name = "dtfx-2.9.1-torn"
	from, visible := receivable(t, name)
	opts := receiving(t, name, never{t})
	plan, err := migrate.Plan(t.Context(), from, newMemoryTarget(elsewhere, opts.Now), opts)
	if err != nil {
		t.Fatal(err)
	}
	var want []migrate.QueueCount
	more := int64(0)
	for _, q := range from.Content.Queues {
		n := migrate.QueueCount{Queue: q.Name, Messages: q.ApproximateCount, Seen: int64(min(32, len(visible[q.Name])))}
		if n.Seen == 32 {
			n.Receivable = n.Messages - 32
		}
		more += n.Receivable
		want = append(want, n)
	}
	if diff := cmp.Diff(want, plan.Queues); diff != "" || more == 0 {
		t.Errorf("queues (-want +got):\n%s", diff)
	}
	// A capture and what is rebuilt without queues are no matter of receiving.
	capture := testhub.OpenHub(t, name)
	opts.AcceptLost = true
	report, err := migrate.Run(t.Context(), capture, newMemoryTarget(elsewhere, opts.Now), opts)
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(report.Plan.Queues, func(q migrate.QueueCount) bool { return q.Receivable > 0 }) || len(report.Plan.Queues) != len(want) {
		t.Errorf("queues of a capture: %v", report.Plan.Queues)
	}
	opts.WithoutQueues = true
	if report, err = migrate.Run(t.Context(), from, newMemoryTarget(elsewhere, opts.Now), opts); err != nil || report.Plan.Queues != nil {
		t.Errorf("queues that are not read: %v, error %v", report.Plan.Queues, err)
	}
}

// Nothing is received where something else stands in the way.
// Messages of a control queue beyond a peek may be events. They are not left behind
// unsaid.
func TestReceiveNeeded(t *testing.T) {
	const name = "dtfx-2.9.1-backlog" // 51 messages in one queue, all visible
	from, _ := receivable(t, name)
	opts := receiving(t, name, nil)
	opts.Receive = nil
	// 19 of the messages are not seen. What the tables tell of depends on which.
	for what, r := range map[string]hub.Reader{"a hub": from, "its capture": testhub.OpenHub(t, name)} {
		plan, err := migrate.Plan(t.Context(), r, newMemoryTarget(elsewhere, opts.Now), opts)
		if err != nil {
			t.Fatal(err)
		}
		if n := plan.Unseen(); len(plan.Refusals) != 1 || plan.Refusals[0].Code != migrate.RefusedUnseen || n != plan.Hidden || n < 1 || n > 19 {
			t.Errorf("%s: %d messages are unseen, refusals %v; want up to 19 and one", what, n, plan.Refusals)
		}
	}
	opts.Receive = never{t}
	plan, err := migrate.Plan(t.Context(), from, newMemoryTarget(elsewhere, opts.Now), opts)
	if err != nil || plan.Refusals != nil {
		t.Errorf("with a Receiver: refusals %v, error %v", plan.Refusals, err)
	}
}

func TestReceiveRefused(t *testing.T) {
	const name = "dtfx-2.9.1-crashed"
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, o *migrate.Options, from *testhub.Receiver, to *memoryTarget)
		want   migrate.RefusalCode
	}{
		{"a running source", func(_ *testing.T, o *migrate.Options, _ *testhub.Receiver, _ *memoryTarget) {
			o.Running = func(context.Context, hub.Reader) ([]string, error) { return []string{"a lease is held"}, nil }
		}, migrate.RefusedRunning},
		{"a source that runs after the plan was made", func(_ *testing.T, o *migrate.Options, _ *testhub.Receiver, _ *memoryTarget) {
			looks := 0
			o.Running = func(context.Context, hub.Reader) ([]string, error) {
				if looks++; looks < 2 {
					return nil, nil
				}
				return []string{"a lease is held"}, nil
			}
		}, migrate.RefusedRunning},
		{"a target that exists", func(t *testing.T, _ *migrate.Options, _ *testhub.Receiver, to *memoryTarget) {
			if err := to.CreateQueue(t.Context(), "elsewhere-workitems"); err != nil {
				t.Fatal(err)
			}
		}, migrate.RefusedExists},
		{"something unreadable", func(_ *testing.T, o *migrate.Options, from *testhub.Receiver, _ *memoryTarget) {
			from.Content.Unreadable = []hub.Unreadable{{Artifact: "containers", Reason: "403"}}
		}, migrate.RefusedUnreadable},
		{"a large blob", func(_ *testing.T, o *migrate.Options, from *testhub.Receiver, _ *memoryTarget) {
			container := from.Content.Names.LargeMessages()
			from.Content.Containers = []hub.Container{{Name: container}}
			from.Content.Blobs = []hubtest.Blob{{Blob: hub.Blob{Container: container, Name: "a/b", SizeBytes: 101}, Data: make([]byte, 101)}}
			o.MaxBlobBytes = 100
		}, migrate.RefusedBlob},
		{"a start of next month", func(_ *testing.T, o *migrate.Options, _ *testhub.Receiver, _ *memoryTarget) {
			at := o.Now().Add(-30 * 24 * time.Hour)
			o.Now = func() time.Time { return at }
		}, migrate.RefusedDelay},
		{"a target that no journal knows", func(t *testing.T, o *migrate.Options, _ *testhub.Receiver, to *memoryTarget) {
			if err := to.CreateQueue(t.Context(), "elsewhere-workitems"); err != nil {
				t.Fatal(err)
			}
			o.Resume = true
		}, migrate.RefusedNoJournal},
	} {
		t.Run(tt.name, func(t *testing.T) {
			from, _ := receivable(t, name)
			opts := receiving(t, name, never{t})
			to := newMemoryTarget(elsewhere, opts.Now)
			tt.change(t, &opts, from, to)
			before := to.everything()
			given := 0
			opts.OnItem = func(*migrate.Item) error { given++; return nil }
			report, err := migrate.Run(t.Context(), from, to, opts)
			var refused *migrate.RefusedError
			if !errors.As(err, &refused) || !slices.ContainsFunc(refused.Refusals, func(r migrate.Refusal) bool { return r.Code == tt.want }) {
				t.Fatalf("Run = %v, want it refused because of %s", err, tt.want)
			}
			for _, r := range refused.Refusals {
				if r.Code != tt.want {
					t.Errorf("refused because of %s, too", r.Code)
				}
			}
			if diff := cmp.Diff(before, to.everything()); diff != "" {
				t.Errorf("the target changed:\n%s", diff)
			}
			items := int64(0)
			for _, c := range report.Plan.Pending {
				items += c.Count
			}
			if int64(given) != items || items == 0 {
				t.Errorf("%d items were given out, the plan counts %d", given, items)
			}
		})
	}
}

// A run that ends while it receives leaves all messages in sight and nothing in the
// target, and another one does all.
func TestReceiveInterrupted(t *testing.T) {
	const name = "dtfx-2.9.1-crashed"
	whole, _ := receivable(t, name)
	requests := 0
	whole.Before = func(string, string) error { requests++; return nil }
	undisturbed := newMemoryTarget(elsewhere, receiving(t, name, nil).Now)
	if _, err := migrate.Run(t.Context(), whole, undisturbed, receiving(t, name, whole)); err != nil {
		t.Fatal(err)
	}
	if requests < 10 {
		t.Fatalf("only %d requests", requests)
	}
	want := undisturbed.everything()
	errStop := errors.New("stopped by the test")
	step := 5
	if testing.Short() {
		step = 23
	}
	for _, how := range []string{"cancelled", "failed", "killed"} {
		for n := 0; n < requests; n += step {
			t.Run(fmt.Sprintf("%s in request %d of %d", how, n, requests), func(t *testing.T) {
				from, visible := receivable(t, name)
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				left := n
				stops := false
				from.Before = func(request, _ string) error {
					if left--; left >= 0 || stops && how != "killed" {
						return nil
					}
					stops = true
					switch {
					case how == "cancelled":
						cancel(errStop)
					case how == "failed" && request == "receive":
						return errStop
					case how == "killed":
						from.Killed = true
						return errStop
					}
					return nil
				}
				to := newMemoryTarget(elsewhere, receiving(t, name, nil).Now)
				_, err := migrate.Run(ctx, from, to, receiving(t, name, from))
				if !errors.Is(err, errStop) && how != "failed" {
					t.Errorf("Run that is %s = %v", how, err)
				}
				if err != nil && len(to.everything()) > 0 {
					t.Errorf("Run that is %s has written %v", how, to.everything())
				}
				from.Before, from.Killed = nil, false
				if how == "killed" {
					from.Advance(migrate.ReceiveHidden)
				}
				checkVisible(t, from, visible, 2)
				if err == nil {
					return
				}
				again := newMemoryTarget(elsewhere, receiving(t, name, nil).Now)
				if _, err := migrate.Run(t.Context(), from, again, receiving(t, name, from)); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, again.everything()); diff != "" {
					t.Errorf("the hub (-undisturbed +run again):\n%s", diff)
				}
			})
		}
	}
}

// What seems to be lost may only be further behind than a peek shows, and what is
// beyond it may be for an instance that stays.
func TestReceiveFinds(t *testing.T) {
	s := newShape()
	s.running("o", append(slices.Clone(childCreated), prop("Tags", `{"FireAndForget":""}`)))
	s.running("p")
	for n := range 40 {
		s.post(0, fmt.Sprint("m", n), raisedPosted("p", "e", fmt.Sprint(n)))
	}
	s.post(0, "start", startPosted("c", "o", `{"$type":"T","FireAndForget":""}`))
	s.Sort()
	now := minute(10).Time()
	opts := migrate.Options{
		Names: elsewhere, Now: func() time.Time { return now }, Running: stopped,
		BlobURL: func(container, name string) string {
			return schema.BlobURL("http://127.0.0.1:1/account", container, name)
		},
	}
	from := testhub.NewReceiver(s.Content, now)
	_, err := migrate.Run(t.Context(), from, newMemoryTarget(elsewhere, opts.Now), opts)
	var refused *migrate.RefusedError
	if !errors.As(err, &refused) || refused.Refusals[0].Code != migrate.RefusedLost {
		t.Errorf("Run that does not receive = %v, want it refused because of lost work", err)
	}
	opts.Receive = from
	for want, moves := range map[int]func(string) bool{41: nil, 40: only("p"), 1: only("o", "c")} {
		opts.Select = moves
		to := newMemoryTarget(elsewhere, opts.Now)
		report, err := migrate.Run(t.Context(), from, to, opts)
		if err != nil {
			t.Fatal(err)
		}
		if report.Messages != int64(want) || report.Plan.Queues[0].Seen != 41 {
			t.Errorf("%d messages of %d were sent, want %d", report.Messages, report.Plan.Queues[0].Seen, want)
		}
	}
}

// The service's order is kept, and neither what it counts nor the time until which
// it hides a message makes a difference.
func TestReceiveOrder(t *testing.T) {
	s := newShape()
	s.running("o")
	var want []string
	for n := range 100 {
		want = append(want, raisedPosted("o", "e", fmt.Sprint(n)))
		s.post(0, fmt.Sprint(n), want[n])
	}
	s.Sort()
	now := minute(10).Time()
	opts := migrate.Options{
		Names: elsewhere, Now: func() time.Time { return now }, Running: stopped,
		BlobURL: func(container, name string) string {
			return schema.BlobURL("http://127.0.0.1:1/account", container, name)
		},
	}
	from := testhub.NewReceiver(s.Content, now)
	opts.Receive = delivered{from}
	for range 2 {
		to := newMemoryTarget(elsewhere, opts.Now)
		if _, err := migrate.Run(t.Context(), from, to, opts); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range to.queues["elsewhere-control-00"] {
			if got = append(got, m.text); m.due != 0 {
				t.Errorf("a message is due %s", m.due)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	}
}

// delivered tells of messages what the service tells of those that were received.
type delivered struct{ hub.Receiver }

func (d delivered) ReceiveMessages(ctx context.Context, queue string, hidden time.Duration) iter.Seq2[schema.QueueMessage, error] {
	return func(yield func(schema.QueueMessage, error) bool) {
		for m, err := range d.Receiver.ReceiveMessages(ctx, queue, hidden) {
			m.DequeueCount, m.VisibleAt = m.DequeueCount+11, minute(60)
			if !yield(m, err) {
				return
			}
		}
	}
}
