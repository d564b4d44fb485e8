package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// findings runs the checks with these codes and returns what they find, as
// CODE SEVERITY INSTANCE PLACE.
func findings(t *testing.T, r hub.Reader, opts Options, codes ...string) []string {
	t.Helper()
	opts.Checks = codes
	found, summary := Hub(t.Context(), r, opts)
	var lines []string
	for f, err := range found {
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line(&f))
	}
	for _, o := range summary.Checks {
		if !slices.Contains(codes, o.Code) {
			t.Errorf("the summary has check %s, which was not asked for", o.Code)
		}
	}
	return lines
}

func line(f *Finding) string {
	at := ""
	if len(f.At) > 0 {
		at = f.At[0].String()
	}
	return fmt.Sprintf("%s %s %s %s", f.Code, f.Severity, f.InstanceID, at)
}

var messageCodes = []string{
	codeStartWithoutInstance, codeMessageWrongPartition, codePoisonMessage, codeMessageUndecodable, codeMessageForDeadInstance,
}

// memory returns a recorded hub as data, to be changed.
func memory(t *testing.T, name string) *testhub.Memory {
	t.Helper()
	r := testhub.OpenHub(t, name)
	info, err := r.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	m := testhub.NewMemory(testhub.ContentOf(t, r))
	m.Started, m.Finished = info.Started, info.Finished
	return m
}

// index reads the queues of a hub.
func index(t *testing.T, r hub.Reader) *messageIndex {
	t.Helper()
	info, err := r.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	v := &run{r: r, info: info}
	if err := v.loadMessages(t.Context()); err != nil {
		t.Fatal(err)
	}
	return v.messages
}

// TestRecordedQueues compares where messages are looked for, and how many are
// taken to be hidden, with all messages of the recorded queues.
func TestRecordedQueues(t *testing.T) {
	messages, hidden := 0, int64(0)
	for _, recording := range testhub.Recordings {
		r := testhub.OpenHub(t, recording.Name)
		m := index(t, r)
		for i := range m.queues {
			q := &m.queues[i]
			all := testhub.RecordedMessages(t, recording.Name, q.Name)
			if all == nil {
				continue // empty, or not recorded
			}
			seen := int64(0)
			for _, err := range r.Messages(t.Context(), q.Name) {
				if err != nil {
					t.Fatal(err)
				}
				seen++
			}
			if got, want := m.hidden(q.Name), int64(len(all))-seen; got != want {
				t.Errorf("%s: hidden(%s) = %d, want %d", recording.Name, q.Name, got, want)
			}
			hidden += m.hidden(q.Name)
			if !m.isControl(q.Name) {
				continue
			}
			for _, stored := range all {
				loaded, err := hub.LoadMessage(t.Context(), r, recording.Names.LargeMessages(), &stored, 0)
				if err != nil {
					t.Fatal(err)
				}
				id, ok := loaded.Target()
				if !ok {
					t.Fatalf("%s: message %s has no target", recording.Name, stored.ID)
				}
				messages++
				if got := m.controlQueue(id); got != q.Name {
					t.Errorf("%s: controlQueue(%q) = %s, but its message is in %s", recording.Name, id, got, q.Name)
				}
				if got := m.controlQueues(id); !slices.Equal(got, []string{q.Name}) {
					t.Errorf("%s: controlQueues(%q) = %v, want %s only", recording.Name, id, got, q.Name)
				}
			}
		}
	}
	// The recordings hold 400 messages or so for instances, and thousands of
	// activities that cannot be seen.
	if messages < 250 || hidden < 3000 {
		t.Errorf("compared the queues of %d messages, %d messages are hidden", messages, hidden)
	}
}

// state is what the framework said of the instances of a recording: by ID,
// whether they have ended.
func state(t *testing.T, recording string) map[string]bool {
	t.Helper()
	text := testhub.Recorded(t, recording, "state.json")
	if text == nil {
		return nil
	}
	var all []struct {
		InstanceID    string
		RuntimeStatus string
	}
	if err := json.Unmarshal(text, &all); err != nil {
		t.Fatal(err)
	}
	ended := make(map[string]bool)
	for _, i := range all {
		ended[i.InstanceID] = schema.StatusNamed(i.RuntimeStatus).Terminal()
	}
	return ended
}

// TestRecordedMessages checks that nothing is found in the queues of recorded hubs
// but what is there: a message that a worker cannot process, a start whose
// instance was purged, and a signal to an entity that does not exist yet.
func TestRecordedMessages(t *testing.T) {
	known := map[string]string{ // by recording and instance
		"dtfx-2.9.1-poisoned/poisoned":               "poison-message warning",
		"functions-3-after-write/parent-1":           "start-without-instance warning",
		"functions-3-after-write/@counter@brand-new": "message-for-dead-instance info",
	}
	met := 0
	for _, recording := range testhub.Recordings {
		t.Run(recording.Name, func(t *testing.T) {
			r := testhub.OpenHub(t, recording.Name)
			var want []string
			ended := state(t, recording.Name)
			for _, m := range index(t, r).all {
				if what, ok := known[recording.Name+"/"+m.InstanceID]; ok {
					want = append(want, what+" "+m.InstanceID+" "+m.place().String())
					met++
				}
				// What is for an instance that has ended has no effect.
				if over, ok := ended[m.InstanceID]; ok && over {
					want = append(want, "message-for-dead-instance info "+m.InstanceID+" "+m.place().String())
				}
			}
			if diff := cmp.Diff(want, findings(t, r, Options{}, messageCodes...)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
	if met != len(known) {
		t.Errorf("%d of %d messages were met", met, len(known))
	}
}

// post puts a message into a queue of a hub, where it can be seen.
func post(m *testhub.Memory, queue, id, text string) {
	for i := range m.Content.Queues {
		if q := &m.Content.Queues[i]; q.Name == queue {
			q.Messages = append(q.Messages, schema.QueueMessage{Queue: queue, ID: id, Text: text, InsertedAt: m.Started - 600_000_000})
			q.ApproximateCount++
		}
	}
}

// message encodes an event for an instance as the framework does.
func message(e schema.Event, instanceID, executionID string) string {
	target := schema.OrchestrationInstance{InstanceID: instanceID}
	if executionID != "" {
		target.ExecutionID = schema.Some(executionID)
	}
	m := schema.Message{
		ActivityID:  "11111111-2222-3333-4444-555555555555",
		TaskMessage: &schema.TaskMessage{Event: e, OrchestrationInstance: target},
		Sender:      &schema.OrchestrationInstance{ExecutionID: schema.Some("")},
	}
	return string(m.AppendJSON(nil))
}

func started(id, execution, parent string) *schema.ExecutionStarted {
	e := &schema.ExecutionStarted{
		EventHeader:           schema.EventHeader{EventID: -1},
		Name:                  schema.TextOf("Test"),
		Input:                 schema.TextOf("null"),
		OrchestrationInstance: schema.TextOf(fmt.Sprintf(`{"$type":"DurableTask.Core.OrchestrationInstance","InstanceId":%q,"ExecutionId":%q}`, id, execution)),
	}
	if parent != "" {
		e.ParentInstance = schema.TextOf(fmt.Sprintf(`{"$type":"DurableTask.Core.ParentInstance","Name":"P","OrchestrationInstance":`+
			`{"$type":"DurableTask.Core.OrchestrationInstance","InstanceId":%q,"ExecutionId":"e"},"TaskScheduleId":0,"Version":""}`, parent))
	}
	return e
}

func raised(name, input string) *schema.EventRaised {
	return &schema.EventRaised{EventHeader: schema.EventHeader{EventID: -1}, Name: schema.TextOf(name), Input: schema.TextOf(input)}
}

// TestMessages posts messages to a recorded hub in which nothing can be seen, and
// compares what is found.
func TestMessages(t *testing.T) {
	base := memory(t, "dtfx-2.9.1")
	names := base.Content.Names
	// No message is hidden, or what it may be would stay open.
	for i := range base.Content.Queues {
		base.Content.Queues[i].ApproximateCount = 0
	}
	execution := func(id string) string {
		for _, row := range base.Content.Tables[hub.Instances] {
			if row.PartitionKey == id {
				text, _ := row.Get("ExecutionId").Text()
				return text
			}
		}
		t.Fatalf("no instance %s", id)
		return ""
	}
	const work = "labhub-workitems"
	queueOf := func(id string) string { return names.ControlQueue(schema.Partition(id, 4)) }
	type test struct {
		name, queue, text string
		want              []string // without the place
		unknown           string   // the code of which the outcome is unknown
		change            func(m *testhub.Memory)
	}
	for _, test := range []test{
		{name: "a start without a row", queue: queueOf("new"), text: message(started("new", "e1", ""), "new", "e1"), want: []string{"start-without-instance warning new"}},
		{
			name: "a start that came after the rows were read", queue: queueOf("new"), text: message(started("new", "e1", ""), "new", "e1"),
			unknown: codeStartWithoutInstance,
			change: func(m *testhub.Memory) {
				for i := range m.Content.Queues {
					for j := range m.Content.Queues[i].Messages {
						m.Content.Queues[i].Messages[j].InsertedAt = m.Finished + 600_000_000
					}
				}
			},
		},
		{name: "a start of what runs", queue: queueOf("wait-event"), text: message(started("wait-event", execution("wait-event"), ""), "wait-event", execution("wait-event"))},
		{
			name: "a start that lost a race", queue: queueOf("wait-event"), text: message(started("wait-event", "e1", ""), "wait-event", "e1"),
			want: []string{"message-for-dead-instance info wait-event"},
		},
		{
			name: "a start that has been worked off", queue: queueOf("hello"), text: message(started("hello", execution("hello"), ""), "hello", execution("hello")),
			want: []string{"message-for-dead-instance info hello"},
		},
		{
			name: "a child of nobody", queue: queueOf("child"), text: message(started("child", "e1", "gone"), "child", "e1"),
			want: []string{"message-for-dead-instance warning child"},
		},
		{name: "a child of a running parent", queue: queueOf("child"), text: message(started("child", "e1", "parent-waiting"), "child", "e1")},
		{
			name: "a child that runs already", queue: queueOf("parent-waiting:wait"),
			text: message(started("parent-waiting:wait", "e1", "parent-waiting"), "parent-waiting:wait", "e1"),
			want: []string{"message-for-dead-instance warning parent-waiting:wait"},
		},
		{
			name: "a child that has ended", queue: queueOf("parent:0"), text: message(started("parent:0", "e1", "parent"), "parent:0", "e1"),
			want: []string{"message-for-dead-instance warning parent:0"},
		},
		{
			name: "the start that a child has begun with", queue: queueOf("parent-waiting:wait"),
			text: message(started("parent-waiting:wait", execution("parent-waiting:wait"), "parent-waiting"), "parent-waiting:wait", execution("parent-waiting:wait")),
		},
		{name: "an event for what runs", queue: queueOf("wait-event"), text: message(raised("go", "1"), "wait-event", "")},
		{name: "an event for what has ended", queue: queueOf("hello"), text: message(raised("go", "1"), "hello", ""), want: []string{"message-for-dead-instance info hello"}},
		{name: "an event for nobody", queue: queueOf("nobody"), text: message(raised("go", "1"), "nobody", ""), want: []string{"message-for-dead-instance info nobody"}},
		{
			name: "an event for nobody beside a hidden message", queue: queueOf("nobody"), text: message(raised("go", "1"), "nobody", ""),
			unknown: codeMessageForDeadInstance,
			change: func(m *testhub.Memory) {
				for i := range m.Content.Queues {
					m.Content.Queues[i].ApproximateCount++
				}
			},
		},
		{
			name: "an event for what will start", queue: queueOf("nobody"), text: message(raised("go", "1"), "nobody", ""),
			change: func(m *testhub.Memory) {
				post(m, queueOf("nobody"), "start", message(started("nobody", "e1", "parent-waiting"), "nobody", "e1"))
			},
		},
		{
			name: "a termination of nobody", queue: queueOf("nobody"), text: message(&schema.ExecutionTerminated{Input: schema.TextOf("why")}, "nobody", ""),
			want: []string{"message-for-dead-instance info nobody"},
		},
		{
			name: "a result for an earlier execution", queue: queueOf("wait-event"), text: message(&schema.TaskCompleted{TaskScheduledID: 1}, "wait-event", "earlier"),
			want: []string{"message-for-dead-instance info wait-event"},
		},
		{name: "a result for the current execution", queue: queueOf("wait-event"), text: message(&schema.TaskCompleted{TaskScheduledID: 1}, "wait-event", execution("wait-event"))},
		{name: "work of nobody", queue: work, text: message(&schema.TaskScheduled{Name: schema.TextOf("Act")}, "nobody", "e1"), want: []string{"message-for-dead-instance info nobody"}},
		{
			name: "work of what has ended", queue: work, text: message(&schema.TaskScheduled{Name: schema.TextOf("Act")}, "hello", execution("hello")),
			want: []string{"message-for-dead-instance info hello"},
		},
		{
			name: "an operation for a new entity", queue: queueOf("@counter@new"), text: message(raised("op", `{"op":"add","signal":true,"id":"x"}`), "@counter@new", ""),
			want: []string{"message-for-dead-instance info @counter@new"},
		},
		{
			name: "a release of an entity that is gone", queue: queueOf("@counter@new"), text: message(raised("release", `{"parent":"p","id":"x"}`), "@counter@new", ""),
			want: []string{"message-for-dead-instance warning @counter@new"},
		},
		{
			name: "a restart that no worker has begun", queue: queueOf("hello"), text: message(started("hello", "e2", ""), "hello", "e2"),
			change: func(m *testhub.Memory) {
				set(t, m, hub.Instances, "hello", "", "ExecutionId", schema.String("e2"))
				set(t, m, hub.Instances, "hello", "", "RuntimeStatus", schema.String("Pending"))
				post(m, queueOf("hello"), "event", message(raised("go", "1"), "hello", ""))
				post(m, queueOf("hello"), "result", message(&schema.TaskCompleted{TaskScheduledID: 1}, "hello", execution("hello")))
			},
		},
		{
			name: "the wrong queue", queue: names.ControlQueue((schema.Partition("wait-event", 4) + 1) % 4), text: message(raised("go", "1"), "wait-event", ""),
			want: []string{"message-wrong-partition error wait-event"},
		},
		{
			// By 4 partitions it would be queue 3.
			name: "a queue that is right by another count", queue: "labhub-control-02", text: message(raised("go", "1"), "long-timer", ""),
			unknown: codeMessageWrongPartition,
			change: func(m *testhub.Memory) {
				c := &m.Content
				c.Containers = append(c.Containers, hub.Container{Name: names.Leases()})
				c.Blobs = append(c.Blobs, hubtest.Blob{
					Blob: hub.Blob{Container: names.Leases(), Name: taskHubJSON},
					Data: []byte(`{"TaskHubName":"LabHub","CreatedAt":"2026-11-22T04:07:41.1780201Z","PartitionCount":7}`),
				})
				c.Sort()
			},
		},
		{name: "half a message", queue: queueOf("a"), text: message(raised("go", "1"), "wait-event", "")[:200], want: []string{"message-undecodable error "}},
		{name: "no JSON", queue: queueOf("a"), text: "!!", want: []string{"message-undecodable error "}},
		{name: "an empty body", queue: queueOf("a"), text: "", want: []string{"message-undecodable error "}},
		{name: "neither event nor blob", queue: work, text: `{"$type":"DurableTask.AzureStorage.MessageData"}`, want: []string{"message-undecodable error "}},
		{
			name: "a blob that is not a message", queue: queueOf("a"), text: wrapper("wait-event/message-1-EventRaised.json.gz"),
			want:   []string{"message-undecodable error wait-event"},
			change: func(m *testhub.Memory) { upload(m, "wait-event/message-1-EventRaised.json.gz", "[]") },
		},
		{
			name: "a blob that holds a wrapper", queue: queueOf("a"), text: wrapper("wait-event/message-1-EventRaised.json.gz"),
			want: []string{"message-undecodable error wait-event"},
			change: func(m *testhub.Memory) {
				upload(m, "wait-event/message-1-EventRaised.json.gz", wrapper("wait-event/message-1-EventRaised.json.gz"))
			},
		},
		{
			name: "a blob with a message", queue: queueOf("wait-event"), text: wrapper(`wait-event\x/message-1-EventRaised.json.gz`),
			change: func(m *testhub.Memory) {
				upload(m, "wait-event/x/message-1-EventRaised.json.gz", message(raised("go", strings.Repeat("x", 60_000)), "wait-event", ""))
			},
		},
		{name: "a blob that is gone", queue: queueOf("wait-event"), text: wrapper("wait-event/message-1-EventRaised.json.gz"), unknown: codeMessageUndecodable},
		{
			name: "received twice", queue: queueOf("wait-event"), text: message(raised("go", "1"), "wait-event", ""),
			change: dequeued(2),
		},
		{
			name: "received three times", queue: queueOf("wait-event"), text: message(raised("go", "1"), "wait-event", ""),
			want: []string{"poison-message warning wait-event"}, change: dequeued(3),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := clone(base)
			post(m, test.queue, "posted", test.text)
			if test.change != nil {
				test.change(m)
			}
			found, summary := Hub(t.Context(), m, Options{Checks: messageCodes})
			var got []string
			for f, err := range found {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprintf("%s %s %s", f.Code, f.Severity, f.InstanceID))
				if want := (Place{Queue: test.queue, MessageID: "posted"}); len(f.At) == 0 || f.At[0] != want {
					t.Errorf("the finding is at %v, want %v first", f.At, want)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			for _, o := range summary.Checks {
				if (o.Unknown > 0) != (o.Code == test.unknown) {
					t.Errorf("check %s has %d unknown outcomes: %v", o.Code, o.Unknown, o.Reasons)
				}
			}
		})
	}
}

func dequeued(n int64) func(m *testhub.Memory) {
	return func(m *testhub.Memory) {
		for i := range m.Content.Queues {
			for j := range m.Content.Queues[i].Messages {
				m.Content.Queues[i].Messages[j].DequeueCount = n
			}
		}
	}
}

func wrapper(blob string) string {
	m := schema.NewWrapper(blob)
	return string(m.AppendJSON(nil))
}

// clone copies a hub as far as the tests change it.
func clone(m *testhub.Memory) *testhub.Memory {
	c := *m
	c.Content.Queues = slices.Clone(m.Content.Queues)
	for i := range c.Content.Queues {
		c.Content.Queues[i].Messages = slices.Clone(c.Content.Queues[i].Messages)
	}
	c.Content.Containers = slices.Clone(m.Content.Containers)
	c.Content.Blobs = slices.Clone(m.Content.Blobs)
	c.Content.Tables = make(map[hub.Table][]schema.Row)
	for table, rows := range m.Content.Tables {
		c.Content.Tables[table] = slices.Clone(rows)
	}
	return &c
}

// set changes a column of a row.
func set(t *testing.T, m *testhub.Memory, table hub.Table, partitionKey, rowKey, column string, v schema.Value) {
	t.Helper()
	rows := m.Content.Tables[table]
	for i := range rows {
		if rows[i].PartitionKey == partitionKey && rows[i].RowKey == rowKey {
			rows[i] = rows[i].Clone()
			rows[i].Set(column, v)
			return
		}
	}
	t.Fatalf("no row %s/%s/%s", table, partitionKey, rowKey)
}

// live turns a capture into a hub that goes on: its queues change with every look.
type live struct {
	*testhub.Memory
	// looks counts how often the queues were listed.
	looks int
	// then replaces the hub from the second look on.
	then *testhub.Memory
}

func (l *live) Info(ctx context.Context) (hub.Info, error) {
	info, err := l.Memory.Info(ctx)
	info.Started, info.Finished = 0, 0
	for i := range info.Tables {
		info.Tables[i].Started, info.Tables[i].Finished = 0, 0
	}
	return info, err
}

func (l *live) Queues(ctx context.Context) ([]hub.Queue, error) {
	if l.looks++; l.looks == 2 && l.then != nil {
		l.Memory = l.then
	}
	return l.Memory.Queues(ctx)
}

// TestMessagesLive checks that a message of a running hub is looked at again
// before anything is said of it.
func TestMessagesLive(t *testing.T) {
	before := whole([]schema.Row{leaseRow(0, "a", 20), leaseRow(1, "a", 20)})
	taken := clone(before)
	post(before, before.Content.Names.ControlQueue(schema.Partition("new", 2)), "posted", message(started("new", "e1", ""), "new", "e1"))
	written := clone(before)
	row := schema.Row{PartitionKey: "new", Properties: []schema.Property{
		{Name: "ExecutionId", Value: schema.String("e1")}, {Name: "RuntimeStatus", Value: schema.String("Pending")},
	}}
	written.Content.Tables[hub.Instances] = append(written.Content.Tables[hub.Instances], row)
	now := func() time.Time { return before.Finished.Time() }

	for _, test := range []struct {
		name string
		then *testhub.Memory
		want int
	}{
		{"nothing has changed", before, 1},
		{"the message was taken", taken, 0},
		{"the row was written", written, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			rechecked := 0
			opts := Options{Now: now, Recheck: func(context.Context) error { rechecked++; return nil }}
			got := findings(t, &live{Memory: before, then: test.then}, opts, codeStartWithoutInstance)
			if len(got) != test.want || rechecked != 1 {
				t.Errorf("findings %v after %d waits, want %d after 1", got, rechecked, test.want)
			}
		})
	}
	stop := errors.New("stopped by the test")
	found, _ := Hub(t.Context(), &live{Memory: before}, Options{Now: now, Checks: messageCodes, Recheck: func(context.Context) error { return stop }})
	var err error
	for _, err = range found {
	}
	if !errors.Is(err, stop) {
		t.Errorf("the verification ended with %v, want %v", err, stop)
	}
}

// TestMessageMemory checks that what is kept of messages is bounded, whatever a
// queue holds, and that the rest counts as hidden.
func TestMessageMemory(t *testing.T) {
	m := testhub.NewMemory(hubtest.Content{
		Names: hub.Names{TaskHub: "H"}, PartitionCount: 1,
		Queues: []hubtest.Queue{{Name: "h-control-00"}},
	})
	look := func() (*messageIndex, int64) {
		info, err := m.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		v := &run{r: m, info: info}
		got := newMessageIndex(info, 1<<20)
		got.queues = []queueState{{Queue: hub.Queue{Name: "h-control-00", ApproximateCount: m.Content.Queues[0].ApproximateCount}}}
		if err := v.peekQueue(t.Context(), got, &got.queues[0]); err != nil {
			t.Fatal(err)
		}
		return got, got.hidden("h-control-00")
	}
	const size, n = 60_000, 25
	text := message(raised("go", strings.Repeat("x", size)), "i", "")
	for i := range n {
		post(m, "h-control-00", fmt.Sprint(i), text)
	}
	got, hidden := look()
	kept := len(got.all)
	if kept == 0 || kept*size > 1<<20 || hidden != int64(n-kept) || got.queues[0].dropped != hidden {
		t.Errorf("%d messages of %d bytes are kept, %d hidden, %d dropped", kept, size, hidden, got.queues[0].dropped)
	}

	// A message in a blob does not count with its payload, and is kept without.
	m.Content.Queues[0] = hubtest.Queue{Name: "h-control-00"}
	m.Content.Containers = []hub.Container{{Name: "h-largemessages"}}
	upload(m, "i/message-1-EventRaised.json.gz", text)
	for i := range n {
		post(m, "h-control-00", fmt.Sprint(i), wrapper("i/message-1-EventRaised.json.gz"))
	}
	if got, hidden = look(); len(got.all) != n || hidden != 0 {
		t.Errorf("%d messages in blobs are kept, %d hidden", len(got.all), hidden)
	}
	for _, p := range got.all {
		if e, ok := p.Event.(*schema.EventRaised); !ok || e.Input.Value != "" || e.Name.Value != "go" {
			t.Fatalf("of the message in the blob %.100v was kept", p.Event)
		}
	}
}
