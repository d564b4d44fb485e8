package hubtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Received is what [RunReceiver] checks: a Receiver, and a Reader to see what it
// leaves.
type Received interface {
	hub.Reader
	hub.Receiver
}

// OpenReceived stores c in an implementation and returns a Receiver of it, which
// it closes by t.Cleanup. Messages that c counts but does not hold are hidden.
type OpenReceived func(t testing.TB, c Content) Received

// RunReceiver checks that an implementation does what [hub.Receiver] promises. It
// calls open for each check.
func RunReceiver(t *testing.T, open OpenReceived) {
	t.Helper()
	for _, c := range receiverChecks {
		t.Run(c.name, func(t *testing.T) { runReceiverCheck(t, open, c) })
	}
}

func runReceiverCheck(t testing.TB, open OpenReceived, c receiverCheck) {
	s := &receiverSuite{names: hub.Names{TaskHub: "ReceivedHub"}}
	s.queue = s.names.WorkItemQueue()
	s.r = open(t, s.content())
	// What a peek shows first, with the IDs and times that the implementation gives.
	s.peeked = s.peek(t)
	if len(s.peeked) != receiverPeek {
		t.Fatalf("a peek shows %d messages, want %d", len(s.peeked), receiverPeek)
	}
	c.run(s, t)
}

const (
	receiverPeek    = 32 // as many as the service shows
	receiverVisible = 3*receiverPeek + 5
	receiverHidden  = 4
)

type receiverSuite struct {
	r      Received
	names  hub.Names
	queue  string
	peeked []schema.QueueMessage
}

type receiverCheck struct {
	name string
	run  func(*receiverSuite, testing.TB)
}

var receiverChecks = []receiverCheck{
	{"All", (*receiverSuite).all},
	{"HiddenMeanwhile", (*receiverSuite).hiddenMeanwhile},
	{"Twice", (*receiverSuite).twice},
	{"Break", (*receiverSuite).breaks},
	{"Panic", (*receiverSuite).panics},
	{"Canceled", (*receiverSuite).canceled},
	{"CanceledOnTheWay", (*receiverSuite).canceledOnTheWay},
	{"OtherQueues", (*receiverSuite).otherQueues},
	{"Concurrent", (*receiverSuite).concurrent},
}

// text has what must not change on its way through XML.
func (s *receiverSuite) text(n int) string {
	return fmt.Sprintf("{\"Number\":%d,\"Text\":\"<&> \\u2028 \u2028 😀 ü \t ]]>\"} \n%s", n, strings.Repeat(" ", n%3))
}

func (s *receiverSuite) content() Content {
	work := Queue{Name: s.queue, ApproximateCount: receiverVisible + receiverHidden}
	for n := range receiverVisible {
		work.Messages = append(work.Messages, schema.QueueMessage{ID: fmt.Sprint("message-", n), Text: s.text(n)})
	}
	c := Content{
		Names: s.names, PartitionCount: 2, PartitionCountFrom: hub.FromControlQueues,
		Queues: []Queue{
			{Name: s.names.ControlQueue(0), ApproximateCount: 1, Messages: []schema.QueueMessage{{ID: "other", Text: "other"}}},
			{Name: s.names.ControlQueue(1)},
			work,
		},
	}
	c.Sort()
	return c
}

const receiverTime = time.Hour // for which messages are hidden

func (s *receiverSuite) peek(t testing.TB) []schema.QueueMessage {
	t.Helper()
	return must(t, "Messages", s.r.Messages(t.Context(), s.queue))
}

// visible checks that all messages can be received again, each once and with its
// text, and that nothing else has changed. It hides none.
func (s *receiverSuite) visible(t testing.TB, what string) {
	t.Helper()
	queues, err := s.r.Queues(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var want []hub.Queue
	for _, q := range s.content().Queues {
		want = append(want, hub.Queue{Name: q.Name, ApproximateCount: q.ApproximateCount})
	}
	diffList(t, what+": queues", queues, want)
	if peeked := s.peek(t); len(peeked) != receiverPeek {
		t.Errorf("%s: a peek shows %d messages, want %d", what, len(peeked), receiverPeek)
	}
	var texts []string
	for _, m := range must(t, what, s.r.ReceiveMessages(t.Context(), s.queue, receiverTime)) {
		texts = append(texts, m.Text)
	}
	if d := cmp.Diff(s.texts(), slices.Sorted(slices.Values(texts))); d != "" {
		t.Errorf("%s: messages that can be received (-want +got):\n%s", what, d)
	}
}

// texts returns those of all messages, sorted.
func (s *receiverSuite) texts() []string {
	var all []string
	for n := range receiverVisible {
		all = append(all, s.text(n))
	}
	slices.Sort(all)
	return all
}

func (s *receiverSuite) all(t testing.TB) {
	got := must(t, "ReceiveMessages", s.r.ReceiveMessages(t.Context(), s.queue, receiverTime))
	if len(got) != receiverVisible {
		t.Fatalf("%d messages are received, want %d", len(got), receiverVisible)
	}
	for n := range got {
		if got[n].Queue != s.queue || got[n].Text != s.text(n) {
			t.Errorf("message %d is %q of queue %q, want %q", n, got[n].Text, got[n].Queue, s.text(n))
		}
	}
	diffList(t, "the first messages", got[:receiverPeek], s.peeked)
	for _, m := range s.peek(t) {
		i := slices.IndexFunc(got, func(g schema.QueueMessage) bool { return g.ID == m.ID })
		if i < 0 || got[i].DequeueCount+1 != m.DequeueCount {
			t.Errorf("message %s was delivered %d times afterwards, want once more than before", m.ID, m.DequeueCount)
		}
	}
	s.visible(t, "after a reading")
}

func (s *receiverSuite) hiddenMeanwhile(t testing.TB) {
	received := make(map[string]bool)
	for m, err := range s.r.ReceiveMessages(t.Context(), s.queue, receiverTime) {
		if err != nil {
			t.Fatal(err)
		}
		if received[m.ID] {
			t.Fatalf("message %s is received twice", m.ID)
		}
		received[m.ID] = true
		if n := len(received); n == 1 || n == receiverVisible {
			for _, m := range s.peek(t) {
				if received[m.ID] {
					t.Errorf("message %s is received and can be seen", m.ID)
				}
			}
		}
	}
	s.visible(t, "after looking at it meanwhile")
}

func (s *receiverSuite) twice(t testing.TB) {
	seq := s.r.ReceiveMessages(t.Context(), s.queue, receiverTime)
	for range 2 {
		if n := len(must(t, "ReceiveMessages", seq)); n != receiverVisible {
			t.Errorf("ranging over the same stream gives %d messages, want %d", n, receiverVisible)
		}
	}
	s.visible(t, "after two readings")
}

func (s *receiverSuite) breaks(t testing.TB) {
	for _, stop := range []int{1, receiverPeek, receiverPeek + 1, receiverVisible} {
		n := 0
		for _, err := range s.r.ReceiveMessages(t.Context(), s.queue, receiverTime) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == stop {
				break
			}
		}
		s.visible(t, fmt.Sprintf("after breaking off at message %d", stop))
	}
}

func (s *receiverSuite) panics(t testing.TB) {
	func() {
		defer func() {
			if r := recover(); r != "caller" {
				t.Errorf("the panic of the caller became %v", r)
			}
		}()
		for _, err := range s.r.ReceiveMessages(t.Context(), s.queue, receiverTime) {
			if err != nil {
				t.Error(err)
			}
			panic("caller")
		}
	}()
	s.visible(t, "after a panic of the caller")
}

func (s *receiverSuite) canceled(t testing.TB) {
	ctx, cause := canceled(t)
	got, err := collect(t, "ReceiveMessages", s.r.ReceiveMessages(ctx, s.queue, receiverTime))
	if !errors.Is(err, cause) || len(got) > 0 {
		t.Errorf("%d messages and error %v after the context ended, want its cause", len(got), err)
	}
	diffList(t, "what a peek shows", s.peek(t), s.peeked)
}

func (s *receiverSuite) canceledOnTheWay(t testing.TB) {
	cause := errors.New("enough")
	for _, stop := range []int{1, 2*receiverPeek + 1} {
		ctx, cancel := context.WithCancelCause(t.Context())
		n := 0
		var last error
		for _, err := range s.r.ReceiveMessages(ctx, s.queue, receiverTime) {
			if last = err; err != nil {
				continue
			}
			if n++; n == stop {
				cancel(cause)
			}
		}
		cancel(nil)
		if !errors.Is(last, cause) {
			t.Errorf("the stream ends with %v after %d messages, want the cause of the context", last, n)
		}
		s.visible(t, fmt.Sprintf("after the context ended at message %d", stop))
	}
}

func (s *receiverSuite) otherQueues(t testing.TB) {
	for _, queue := range []string{s.names.ControlQueue(1), s.names.ControlQueue(9)} {
		if got := must(t, "ReceiveMessages", s.r.ReceiveMessages(t.Context(), queue, receiverTime)); len(got) > 0 {
			t.Errorf("queue %s, which is empty or does not exist, has %d messages", queue, len(got))
		}
	}
	s.visible(t, "after reading other queues")
}

func (s *receiverSuite) concurrent(t testing.TB) {
	others := make(chan int)
	go func() {
		n := 0
		for _, err := range s.r.ReceiveMessages(t.Context(), s.names.ControlQueue(0), receiverTime) {
			if n++; err != nil {
				n = -1
			}
		}
		others <- n
	}()
	got, err := collect(t, "ReceiveMessages", s.r.ReceiveMessages(t.Context(), s.queue, receiverTime))
	if n := <-others; n != 1 || err != nil || len(got) != receiverVisible {
		t.Errorf("%d messages of one queue, error %v, and %d of the other at the same time, want %d and 1", len(got), err, n, receiverVisible)
	}
	s.visible(t, "after reading two queues at once")
}
