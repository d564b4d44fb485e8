package verify

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// actor makes up an instance: its history, one episode after the other, and the
// row that the framework would have written with it.
type actor struct {
	id, execution string
	status        string
	created, at   schema.Ticks
	history       []schema.Row
}

// begin makes up an instance whose first episode does what is given.
func begin(id, parent string, actions ...schema.Event) *actor {
	a := &actor{id: id, execution: "execution of " + id, status: "Running", at: partitionsNow - seconds(3600)}
	start := started(id, a.execution, parent)
	start.GenerateNewTrace = schema.Some(false)
	a.created = a.at + 1
	return a.episode(append([]schema.Event{start}, actions...)...)
}

// episode adds an episode: what arrives, then what the orchestrator does.
func (a *actor) episode(events ...schema.Event) *actor {
	a.add(&schema.OrchestratorStarted{EventHeader: schema.EventHeader{EventID: -1}})
	for _, e := range events {
		a.add(e)
		if c, ok := e.(*schema.ExecutionCompleted); ok {
			a.status = c.OrchestrationStatus.Value.String()
		}
	}
	return a.add(&schema.OrchestratorCompleted{EventHeader: schema.EventHeader{EventID: -1}})
}

func (a *actor) add(e schema.Event) *actor {
	e.Header().Timestamp = a.at
	h := schema.HistoryRow{
		PartitionKey: schema.EscapeKey(a.id), RowKey: schema.FormatSequence(int64(len(a.history))), ExecutionID: a.execution,
		Event: e, StoredAt: a.at + 10,
	}
	a.history = append(a.history, h.Row())
	a.at++
	return a
}

func (a *actor) sentinel() schema.Row {
	s := schema.Sentinel{
		PartitionKey: schema.EscapeKey(a.id), ExecutionID: schema.Some(a.execution), IsCheckpointComplete: schema.Some(true),
		CheckpointCompletedTimestamp: schema.Some(a.at + 5), StoredAt: a.at + 10,
	}
	return s.Row()
}

func (a *actor) row() schema.Row {
	i := schema.Instance{
		PartitionKey: schema.EscapeKey(a.id), ExecutionID: schema.Some(a.execution), Name: schema.TextOf("Test"), Input: schema.TextOf("null"),
		CustomStatus: schema.Some("null"), CreatedTime: schema.Some(a.created), LastUpdatedTime: schema.Some(a.at - 1),
		RuntimeStatus: schema.Some(a.status), StoredAt: a.at + 20,
	}
	if a.status != "Running" {
		i.CompletedTime = schema.Some(a.at + 2)
	}
	return i.Row()
}

// cast returns a hub of these instances.
func cast(actors ...*actor) *testhub.Memory {
	m := whole([]schema.Row{leaseRow(0, "", -3600), leaseRow(1, "", -3600)})
	for _, a := range actors {
		m.Content.Tables[hub.History] = append(append(m.Content.Tables[hub.History], a.history...), a.sentinel())
		m.Content.Tables[hub.Instances] = append(m.Content.Tables[hub.Instances], a.row())
	}
	m.Content.Sort()
	return m
}

func child(id int32, instance string) *schema.SubOrchestrationCreated {
	return &schema.SubOrchestrationCreated{
		EventHeader: schema.EventHeader{EventID: id}, Name: schema.TextOf("Test"), InstanceID: schema.Some(instance),
	}
}

func answer(id int32) *schema.SubOrchestrationCompleted {
	return &schema.SubOrchestrationCompleted{EventHeader: schema.EventHeader{EventID: -1}, TaskScheduledID: id}
}

func activity(id int32) *schema.TaskScheduled {
	return &schema.TaskScheduled{EventHeader: schema.EventHeader{EventID: id}, Name: schema.TextOf("Work")}
}

func result(id int32) *schema.TaskCompleted {
	return &schema.TaskCompleted{EventHeader: schema.EventHeader{EventID: -1}, TaskScheduledID: id, Result: schema.TextOf("1")}
}

func timer(id int32, due schema.Ticks) *schema.TimerCreated {
	return &schema.TimerCreated{EventHeader: schema.EventHeader{EventID: id}, FireAt: due}
}

func done() *schema.ExecutionCompleted {
	return &schema.ExecutionCompleted{EventHeader: schema.EventHeader{EventID: 99}, OrchestrationStatus: schema.Some(schema.StatusCompleted)}
}

// hide adds messages that cannot be seen to the queue of an instance, or to that
// of work items for an empty ID.
func hide(m *testhub.Memory, id string, n int64) {
	queue := m.Content.Names.WorkItemQueue()
	if id != "" {
		queue = m.Content.Names.ControlQueue(schema.Partition(id, m.Content.PartitionCount))
	}
	for i := range m.Content.Queues {
		if m.Content.Queues[i].Name == queue {
			m.Content.Queues[i].ApproximateCount += n
		}
	}
}

// show adds a message that can be seen.
func show(m *testhub.Memory, id, execution string, e schema.Event) {
	queue := m.Content.Names.ControlQueue(schema.Partition(id, m.Content.PartitionCount))
	if e.Type() == schema.TypeTaskScheduled {
		queue = m.Content.Names.WorkItemQueue()
	}
	post(m, queue, "shown", message(e, id, execution))
}

// outcomes returns what came of a check: ok, violated and unknown.
func outcomes(s *Summary, code string) [3]int64 {
	for _, o := range s.Checks {
		if o.Code == code {
			return [3]int64{o.OK, o.Violated, o.Unknown}
		}
	}
	return [3]int64{-1, -1, -1}
}

// TestFamily checks relations of instances that cannot come from the framework,
// or that hurt: each is reported, and everything comes to an end.
func TestFamily(t *testing.T) {
	chain := func(n int) (actors []*actor) {
		for i := range n {
			// Names in another order than the chain's.
			name := func(i int) string { return fmt.Sprintf("link-%05d", i*7919%n) }
			switch i {
			case 0:
				actors = append(actors, begin(name(i), "", child(0, name(i+1))))
			case n - 1:
				actors = append(actors, begin(name(i), name(i-1)))
			default:
				actors = append(actors, begin(name(i), name(i-1), child(0, name(i+1))))
			}
		}
		return actors
	}
	for _, test := range []struct {
		name   string
		actors []*actor
		want   []string
		detail string
	}{
		{"parents in a circle", []*actor{
			begin("a", "c", child(0, "b")), begin("b", "a", child(0, "c")), begin("c", "b", child(0, "a")),
		}, []string{"warning duplicate-suborchestration a"}, "in a circle of 3: a, c, b"},
		{"two circles", []*actor{
			begin("a", "b", child(0, "b")), begin("b", "a", child(0, "a")), begin("x", "y", child(0, "y")), begin("y", "x", child(0, "x")),
		}, []string{"warning duplicate-suborchestration a", "warning duplicate-suborchestration x"}, "in a circle of 2: a, b"},
		{
			"a branch that leads into a circle",
			[]*actor{begin("a", "b", child(0, "b")), begin("b", "a", child(0, "a"), child(1, "z")), begin("z", "b")},
			[]string{"warning duplicate-suborchestration a"},
			"in a circle of 2: a, b",
		},
		{"its own child", []*actor{begin("self", "self", child(0, "self"))}, []string{"warning duplicate-suborchestration self"}, ""},
		{
			"two parents",
			[]*actor{begin("a", "", child(0, "x")), begin("b", "", child(3, "x")), begin("x", "b")},
			[]string{"warning duplicate-suborchestration x"},
			"2 instances have started it",
		},
		{
			"twice at once",
			[]*actor{begin("a", "", child(0, "x"), child(1, "x")), begin("x", "a")},
			[]string{"warning duplicate-suborchestration x"},
			"again before it had answered",
		},
		{
			"one after the other",
			[]*actor{begin("a", "", child(0, "x")).episode(answer(0), child(1, "x")), begin("x", "a")},
			[]string{"info duplicate-suborchestration x"},
			"each time after it had answered",
		},
		{"a chain", chain(3000), nil, ""},
		{"a parent that does not exist", []*actor{begin("x", "gone")}, []string{"warning orphan-child x"}, "does not exist"},
		{"a parent that has ended", []*actor{begin("a", "", child(0, "x")).episode(done()), begin("x", "a")}, []string{"info orphan-child x"}, "is Completed"},
		{"a parent that waits for nothing", []*actor{begin("a", ""), begin("x", "a")}, []string{"warning orphan-child x"}, "does not wait for it"},
		{"a child that has ended", []*actor{begin("a", ""), begin("x", "a").episode(done())}, nil, ""},
		{"case", []*actor{begin("Order-1", ""), begin("order-1", ""), begin("order-2", ""), begin("ORDER-1", "")}, []string{"warning case-collision ORDER-1"}, "Order-1, order-1"},
		{"case beyond ASCII", []*actor{begin("ÿ", ""), begin("Ÿ", "")}, []string{"warning case-collision ÿ"}, ""},
		{"capitals that are alone", []*actor{begin("A", ""), begin("B", ""), begin("c", "")}, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := cast(test.actors...)
			opts := Options{Checks: []string{codeDuplicateSuborch, codeOrphanChild, codeCaseCollision, codeStatusDrift}}
			var details []string
			found, summary := Hub(t.Context(), m, opts)
			for f, err := range found {
				if err != nil {
					t.Fatal(err)
				}
				details = append(details, f.Detail)
			}
			got, _ := instanceFindings(t, m, opts)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if len(details) > 0 && !strings.Contains(details[0], test.detail) {
				t.Errorf("detail %q, want %q", details[0], test.detail)
			}
			for _, code := range opts.Checks {
				if o := outcomes(summary, code); o[0]+o[1]+o[2] != int64(len(test.actors)) {
					t.Errorf("%s has %v outcomes for %d instances", code, o, len(test.actors))
				}
			}
		})
	}
}

// TestForgotten checks that nobody is expected to wait for a sub-orchestration
// that was started without waiting for it.
func TestForgotten(t *testing.T) {
	start := child(0, "x")
	start.Tags = schema.TextOf(`{"FireAndForget":""}`)
	parent := begin("a", "", start, activity(1))
	x := begin("x", "a")
	x.history[1].Set("Tags", schema.String(`{"FireAndForget":""}`))
	gone := child(0, "gone")
	gone.Tags = start.Tags
	m := cast(parent, x.episode(done()), begin("b", "", gone))
	hide(m, "", 1)
	got, summary := instanceFindings(t, m, Options{Checks: []string{codeLostWork, codeChildDoneParentWaiting, codeOrphanChild}})
	if len(got) > 0 || outcomes(summary, codeChildDoneParentWaiting) != [3]int64{3, 0, 0} {
		t.Errorf("findings %v, outcomes %v", got, summary.Checks)
	}
}

// TestWhereabouts checks for each kind of awaited message that it is ok where it
// can be seen, unknown where hidden messages may be it, and lost where none is.
func TestWhereabouts(t *testing.T) {
	later, earlier := partitionsNow+seconds(600), partitionsNow-seconds(600)
	pending := begin("a", "")
	pending.status, pending.history = "Pending", nil
	request := `{"op":"Get","id":"11111111-1111-5111-8111-111111111111","parent":"a","parentExecution":"execution of a","Timestamp":"0001-01-01T00:00:00","Predecessor":"0001-01-01T00:00:00"}`
	call := func() *schema.EventSent {
		return &schema.EventSent{InstanceID: schema.Some("@counter@1"), Name: schema.TextOf("op"), Input: schema.TextOf(request)}
	}
	for _, test := range []struct {
		name   string
		actors []*actor
		code   string
		hidden string       // whose queue; - for none, empty for work items
		n      int64        // of hidden messages
		seen   schema.Event // for a, or to whom it is
		to     string
		want   [3]int64 // ok, violated, unknown
		first  string   // the first place of the finding
	}{
		{name: "an activity, nowhere", actors: []*actor{begin("a", "", activity(0))}, code: codeLostWork, want: [3]int64{0, 1, 0}, first: "History/a/0000000000000002"},
		{name: "an activity, queued", actors: []*actor{begin("a", "", activity(0))}, code: codeLostWork, seen: activity(0), to: "a", want: [3]int64{1, 0, 0}},
		{name: "another activity, queued", actors: []*actor{begin("a", "", activity(0))}, code: codeLostWork, seen: activity(1), to: "a", want: [3]int64{0, 1, 0}, first: "History/a/0000000000000002"},
		{name: "an activity, done", actors: []*actor{begin("a", "", activity(0))}, code: codeLostWork, seen: result(0), to: "a", want: [3]int64{1, 0, 0}},
		{name: "an activity, hidden", actors: []*actor{begin("a", "", activity(0))}, code: codeLostWork, n: 1, want: [3]int64{0, 0, 1}},
		{name: "its result, hidden", actors: []*actor{begin("a", "", activity(0))}, code: codeLostWork, hidden: "a", n: 1, want: [3]int64{0, 0, 1}},
		{name: "an activity that has ended", actors: []*actor{begin("a", "", activity(0)).episode(result(0), done())}, code: codeLostWork, want: [3]int64{1, 0, 0}},
		{name: "a timer, nowhere", actors: []*actor{begin("a", "", timer(0, later))}, code: codeLostWork, want: [3]int64{0, 1, 0}, first: "History/a/0000000000000002"},
		{name: "a timer, running", actors: []*actor{begin("a", "", timer(0, later))}, code: codeLostWork, hidden: "a", n: 1, want: [3]int64{1, 0, 0}},
		{name: "a timer that was due", actors: []*actor{begin("a", "", timer(0, earlier))}, code: codeLostWork, hidden: "a", n: 1, want: [3]int64{0, 0, 1}},
		{name: "a timer that fires", actors: []*actor{begin("a", "", timer(0, earlier))}, code: codeLostWork, seen: &schema.TimerFired{TimerID: 0, FireAt: earlier}, to: "a", want: [3]int64{1, 0, 0}},
		{name: "two timers and one hidden", actors: []*actor{begin("a", "", timer(0, later), timer(1, later))}, code: codeLostWork, hidden: "a", n: 1, want: [3]int64{1, 1, 0}, first: "hub-control-00"},
		{name: "a child, nowhere", actors: []*actor{begin("a", "", child(0, "x"))}, code: codeLostWork, want: [3]int64{0, 1, 0}, first: "History/a/0000000000000002"},
		{name: "a child, queued", actors: []*actor{begin("a", "", child(0, "x"))}, code: codeLostWork, seen: started("x", "e", "a"), to: "x", want: [3]int64{1, 0, 0}},
		{name: "a child, hidden", actors: []*actor{begin("a", "", child(0, "x"))}, code: codeLostWork, hidden: "x", n: 1, want: [3]int64{0, 0, 1}},
		{name: "a child, running", actors: []*actor{begin("a", "", child(0, "x")), begin("x", "a")}, code: codeLostWork, want: [3]int64{2, 0, 0}},
		{name: "an answer, nowhere", actors: []*actor{begin("a", "", child(0, "x")), begin("x", "a").episode(done())}, code: codeChildDoneParentWaiting, want: [3]int64{1, 1, 0}, first: "History/a/0000000000000002"},
		{name: "an answer, queued", actors: []*actor{begin("a", "", child(0, "x")), begin("x", "a").episode(done())}, code: codeChildDoneParentWaiting, seen: answer(0), to: "a", want: [3]int64{2, 0, 0}},
		{name: "an answer, hidden", actors: []*actor{begin("a", "", child(0, "x")), begin("x", "a").episode(done())}, code: codeChildDoneParentWaiting, hidden: "a", n: 1, want: [3]int64{1, 0, 1}},
		{name: "a start, nowhere", actors: []*actor{pending}, code: codePendingWithoutStart, want: [3]int64{0, 1, 0}, first: "Instances/a.RuntimeStatus"},
		{name: "a start, queued", actors: []*actor{pending}, code: codePendingWithoutStart, seen: started("a", "execution of a", ""), to: "a", want: [3]int64{1, 0, 0}},
		{name: "a start, hidden", actors: []*actor{pending}, code: codePendingWithoutStart, hidden: "a", n: 1, want: [3]int64{0, 0, 1}},
		{name: "a call, nowhere", actors: []*actor{begin("a", "", call())}, code: codeLostWork, want: [3]int64{0, 1, 0}, first: "History/a/0000000000000002"},
		{name: "a call, queued", actors: []*actor{begin("a", "", call())}, code: codeLostWork, seen: raised("op", request), to: "@counter@1", want: [3]int64{1, 0, 0}},
		{name: "a call, answered", actors: []*actor{begin("a", "", call())}, code: codeLostWork, seen: raised("11111111-1111-5111-8111-111111111111", `{"result":"1"}`), to: "a", want: [3]int64{1, 0, 0}},
		{name: "a call, hidden", actors: []*actor{begin("a", "", call())}, code: codeLostWork, hidden: "@counter@1", n: 1, want: [3]int64{0, 0, 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := cast(test.actors...)
			if test.actors[0] == pending {
				m.Content.Tables[hub.History] = nil
			}
			hide(m, test.hidden, test.n)
			if test.seen != nil {
				execution := ""
				if test.to == "a" && test.seen.Type() != schema.TypeEventRaised {
					execution = "execution of a"
				}
				show(m, test.to, execution, test.seen)
			}
			found, summary := Hub(t.Context(), m, Options{Checks: []string{test.code}})
			var first string
			for f, err := range found {
				if err != nil {
					t.Fatal(err)
				}
				first = f.At[0].String()
			}
			if got := outcomes(summary, test.code); got != test.want || !strings.HasPrefix(first, test.first) || (first == "") != (test.first == "") {
				t.Errorf("ok, violated, unknown: %v at %q, want %v at %q; %+v", got, first, test.want, test.first, summary.Checks)
			}
		})
	}
}

// TestFuzzyCapture checks that a capture of a running hub, which read one table
// after the other, does not take what happened between for damage.
func TestFuzzyCapture(t *testing.T) {
	a := begin("a", "", activity(0)).episode(result(0), done())
	a.status = "Running" // the row of the checkpoint before
	for _, test := range []struct {
		name          string
		worker        bool
		history, rows schema.Ticks // when reading began, from when the row was written
		want          [3]int64
	}{
		{"the row was there before", false, +100, +200, [3]int64{0, 1, 0}},
		{"the row was written while the history was read", false, -100, +200, [3]int64{0, 0, 1}},
		{"the history was written while the rows were read", false, +100, -100, [3]int64{0, 0, 1}},
		{"a worker was just writing", true, +100, +200, [3]int64{0, 0, 1}},
		{"a worker has long written", true, +1_000_000_000, +1_000_000_100, [3]int64{0, 1, 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := cast(a)
			if test.worker {
				m.Content.Tables[hub.Partitions] = []schema.Row{leaseRow(0, "worker", 20), leaseRow(1, "worker", 20)}
			}
			stored := m.Content.Tables[hub.Instances][0].Timestamp
			r := &windows{m, stored + test.history, stored + test.rows}
			_, summary := instanceFindings(t, r, Options{Checks: []string{codeStatusDrift}})
			if got := outcomes(summary, codeStatusDrift); got != test.want {
				t.Errorf("ok, violated, unknown: %v, want %v", got, test.want)
			}
		})
	}
}

// windows is a capture whose tables were read one after the other.
type windows struct {
	*testhub.Memory
	history, rows schema.Ticks
}

func (w *windows) Info(ctx context.Context) (hub.Info, error) {
	info, err := w.Memory.Info(ctx)
	for i := range info.Tables {
		switch info.Tables[i].Table {
		case hub.History:
			info.Tables[i].Started, info.Tables[i].Finished = w.history, w.history+10
		case hub.Instances:
			info.Tables[i].Started, info.Tables[i].Finished = w.rows, w.rows+10
		}
	}
	return info, err
}

// TestLive checks that what looks wrong in a running hub is read again, and that
// only what is still so is reported.
func TestLive(t *testing.T) {
	waiting := begin("a", "", activity(0))
	open := cast(waiting)
	completed := cast(begin("a", "", activity(0)).episode(result(0), done()))
	queued := cast(waiting)
	show(queued, "a", "execution of a", result(0))
	fine := cast(begin("b", "").episode(done()))
	childless := cast(begin("a", "", child(0, "x")))
	for _, test := range []struct {
		name       string
		first      *testhub.Memory
		then       *testhub.Memory
		rechecks   int
		want       []string
		violations [3]int64
	}{
		{"lost", open, open, 1, []string{"error lost-work a"}, [3]int64{0, 1, 0}},
		{"done meanwhile", open, completed, 1, nil, [3]int64{1, 0, 0}},
		{"on its way", open, queued, 1, nil, [3]int64{1, 0, 0}},
		{"gone meanwhile", open, cast(), 1, nil, [3]int64{1, 0, 0}},
		{"nothing wrong", fine, fine, 0, nil, [3]int64{1, 0, 0}},
		{"a child that never began", childless, childless, 1, []string{"error lost-work a"}, [3]int64{0, 1, 0}},
		{"a child that begins meanwhile", childless, cast(begin("a", "", child(0, "x")), begin("x", "a")), 1, nil, [3]int64{1, 0, 0}},
	} {
		t.Run(test.name, func(t *testing.T) {
			rechecks := 0
			r := &live{Memory: test.first}
			opts := Options{
				Checks: []string{codeLostWork},
				Now:    func() time.Time { return partitionsNow.Time() },
				Recheck: func(context.Context) error {
					rechecks++
					r.Memory = test.then
					return nil
				},
			}
			got, summary := instanceFindings(t, r, opts)
			if diff := cmp.Diff(test.want, got); diff != "" || rechecks != test.rechecks {
				t.Errorf("read again %d times, want %d; findings (-want +got):\n%s", rechecks, test.rechecks, diff)
			}
			if o := outcomes(summary, codeLostWork); o != test.violations {
				t.Errorf("ok, violated, unknown: %v, want %v", o, test.violations)
			}
		})
	}
}

// TestManySuspects checks that the instances of a running hub that look wrong are
// read again in groups, and reported in key order all the same.
func TestManySuspects(t *testing.T) {
	var actors []*actor
	var want []string
	for i := range 250 {
		id := fmt.Sprintf("a-%03d", i)
		actors = append(actors, begin(id, "", activity(0)))
		want = append(want, "error lost-work "+id)
	}
	rechecks := 0
	opts := Options{Checks: []string{codeLostWork}, suspects: 100, Recheck: func(context.Context) error { rechecks++; return nil }}
	got, summary := instanceFindings(t, &live{Memory: cast(actors...)}, opts)
	if diff := cmp.Diff(want, got); diff != "" || rechecks != 3 || summary.Instances != 250 || summary.HistoryRows != 250*5 {
		t.Errorf("read again %d times, want 3; %d instances and %d rows; findings (-want +got):\n%s", rechecks, summary.Instances, summary.HistoryRows, diff)
	}
}

// TestOptions checks what can be chosen.
func TestOptions(t *testing.T) {
	m := cast(begin("a", "", activity(0)), begin("b", "gone", timer(0, partitionsNow)), begin("c/d", "", activity(0)), begin("e", ""))
	for _, test := range []struct {
		name      string
		opts      Options
		want      []string
		instances int64
	}{
		{"everything", Options{}, []string{"error lost-work a", "error lost-work b", "error lost-work c/d", "warning orphan-child b"}, 4},
		{"instances", Options{Instances: []string{"e", "c/d", "b", "b"}}, []string{"error lost-work b", "warning orphan-child b", "error lost-work c/d"}, 3},
		{"an unknown instance", Options{Instances: []string{"x"}}, nil, 0},
		{"one check", Options{Checks: []string{codeOrphanChild}}, []string{"warning orphan-child b"}, 4},
		{"severe findings", Options{MinSeverity: Error}, []string{"error lost-work a", "error lost-work b", "error lost-work c/d"}, 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, summary := instanceFindings(t, m, test.opts)
			if diff := cmp.Diff(test.want, got); diff != "" || summary.Instances != test.instances {
				t.Errorf("%d instances, want %d; findings (-want +got):\n%s", summary.Instances, test.instances, diff)
			}
			if test.opts.MinSeverity != "" && (summary.Warnings != 1 || summary.Findings(Error) != 3 || summary.Findings(Info) != 4) {
				t.Errorf("findings that are not shown are not counted: %+v", summary)
			}
			if test.opts.Checks != nil && len(summary.Checks) != len(test.opts.Checks) {
				t.Errorf("outcomes of %d checks, want %d", len(summary.Checks), len(test.opts.Checks))
			}
		})
	}
	for _, opts := range []Options{{Checks: []string{"no-such-check"}}, {MinSeverity: "grave"}} {
		var got error
		found, _ := Hub(t.Context(), m, opts)
		for _, got = range found {
		}
		if got == nil || opts.Checks != nil && !errors.Is(got, ErrUnknownCheck) {
			t.Errorf("Hub(%+v) = %v, want an error", opts, got)
		}
	}
	found, _ := Hub(t.Context(), testhub.NewMemory(cast().Content), Options{})
	for _, err := range found {
		if err != nil {
			t.Error(err)
		}
	}
}

// TestEnd checks that a verification ends with the context, and with a loop that
// has seen enough.
func TestEnd(t *testing.T) {
	stop := errors.New("stopped by the test")
	for _, recording := range []string{"dtfx-2.9.1", "dtfx-2.9.1-odd", "functions-3"} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(stop)
		var errs []error
		found, _ := Hub(ctx, testhub.OpenHub(t, recording), Options{})
		for f, err := range found {
			if err == nil {
				t.Errorf("%s: a finding after the end: %+v", recording, f)
			}
			errs = append(errs, err)
		}
		if len(errs) != 1 || !errors.Is(errs[0], stop) {
			t.Errorf("%s: errors %v, want %v", recording, errs, stop)
		}
		n := 0
		found, _ = Hub(t.Context(), testhub.OpenHub(t, recording), Options{})
		for _, err := range found {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 2 {
				break
			}
		}
	}
}

// TestSameTwice checks that a capture gives the same findings in the same order,
// and that ranging again begins anew.
func TestSameTwice(t *testing.T) {
	for _, recording := range testhub.Recordings {
		found, summary := Hub(t.Context(), testhub.OpenHub(t, recording.Name), Options{})
		var runs [2][]Finding
		var sums [2]string
		for i := range runs {
			for f, err := range found {
				if err != nil {
					t.Fatal(err)
				}
				runs[i] = append(runs[i], f)
			}
			sums[i] = fmt.Sprintf("%+v", *summary)
		}
		if diff := cmp.Diff(runs[0], runs[1]); diff != "" || sums[0] != sums[1] {
			t.Errorf("%s: the second time differs:\n%s\n%s\n%s", recording.Name, diff, sums[0], sums[1])
		}
	}
}

// endless is a hub with one instance of very many events.
type endless struct {
	*testhub.Memory
	steps int
}

func (e *endless) Rows(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	if table != hub.History || !keys.Contains("a", "") {
		return e.Memory.Rows(ctx, table, keys)
	}
	return func(yield func(schema.Row, error) bool) {
		a := begin("a", "", activity(0))
		n := int64(0)
		flush := func() bool {
			for i := range a.history {
				a.history[i].RowKey = schema.FormatSequence(n)
				n++
				if !yield(a.history[i], nil) {
					return false
				}
			}
			a.history = a.history[:0]
			return true
		}
		for step := range e.steps {
			if a.episode(result(int32(step)), activity(int32(step+1))); !flush() {
				return
			}
		}
		yield(a.sentinel(), nil)
	}
}

// TestLongHistory checks that memory does not grow with the length of a history.
func TestLongHistory(t *testing.T) {
	steps := 250_000 // four events each
	if testing.Short() {
		steps = 25_000
	}
	m := cast(begin("a", "", activity(0)))
	set(t, m, hub.Instances, "a", "", "LastUpdatedTime", schema.DateTime(partitionsNow-seconds(3600)+schema.Ticks(4*steps+3)))
	hide(m, "", 1)
	const limit = 32 << 20
	var peak, before runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	got, summary := instanceFindings(t, &endless{m, steps}, Options{OnProgress: func(p Progress) {
		var now runtime.MemStats
		runtime.GC()
		if runtime.ReadMemStats(&now); now.HeapInuse > peak.HeapInuse {
			peak = now
		}
	}})
	if len(got) > 0 || summary.HistoryRows != int64(4*steps+5) {
		t.Errorf("findings %v in %d rows", got, summary.HistoryRows)
	}
	if peak.HeapInuse == 0 || peak.HeapInuse > before.HeapInuse+limit {
		t.Errorf("%d MiB in use, want no more than %d more than %d", peak.HeapInuse>>20, limit>>20, before.HeapInuse>>20)
	}
}

// TestForeignAddress checks what is taken for the address of a payload elsewhere.
func TestForeignAddress(t *testing.T) {
	for _, test := range []struct {
		value   string
		foreign bool
		sure    bool
	}{
		{"", false, true},
		{`"https://example.com"`, false, true},
		{"https://example.com", true, true},
		{"see https://example.com", false, true},
		{"https://example.com is down", false, true},
		{"urn:something", false, true},
		{"ftp://example.com/x", true, true},
		{"://x", false, true},
		{"1://x/y", false, true},
		{"https://mine.blob.core.windows.net/hub-largemessages/a/b.json.gz", false, true},
		{"https://mine-secondary.blob.core.windows.net/hub-largemessages/a/b.json.gz", false, true},
		{"https://other.blob.core.windows.net/hub-largemessages/a/b.json.gz", true, true},
		{"https://mine.blob.core.windows.net/other-largemessages/a/b.json.gz", true, true},
		{"http://127.0.0.1:10000/mine/hub-largemessages/a/b.json.gz", false, true},
		{"http://127.0.0.1:10000/other/hub-largemessages/a/b.json.gz", true, true},
		{"https://blobs.example.com/hub-largemessages/a/b.json.gz", true, false},
	} {
		what, sure := foreignAddress(test.value, "mine", "hub-largemessages")
		if (what != "") != test.foreign || sure != test.sure {
			t.Errorf("foreignAddress(%q) = %q, %v, want %v, %v", test.value, what, sure, test.foreign, test.sure)
		}
	}
	if what, sure := foreignAddress("https://x.blob.core.windows.net/hub-largemessages/a/b.json.gz", "", "hub-largemessages"); what == "" || sure {
		t.Errorf("an address without a known account: %q, %v", what, sure)
	}
}

// TestUnknownColumns checks that a column is found in whatever row it is.
func TestUnknownColumns(t *testing.T) {
	m := cast(begin("a", "", activity(0)).episode(result(0), done()))
	rows := m.Content.Tables[hub.History]
	for i := range rows {
		changed := clone(m)
		changed.Content.Tables[hub.History][i].Set("Surprise", schema.String("x"))
		found, _ := Hub(t.Context(), changed, Options{Checks: []string{codeSchemaUnknown}})
		var at []string
		for f, err := range found {
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range f.At {
				at = append(at, p.String())
			}
		}
		if want := []string{"History/a/" + rows[i].RowKey + ".Surprise"}; !slices.Equal(at, want) {
			t.Errorf("found at %v, want %v", at, want)
		}
	}
}

// TestOddData checks that nothing that storage could hold makes a verification
// fail: each value of some recorded hubs in turn is gone, of another type, or not
// what it should be.
func TestOddData(t *testing.T) {
	stride := 29
	if testing.Short() {
		stride = 97
	}
	for _, recording := range []string{"functions-3-after-write", "dtfx-2.9.1"} {
		m := memory(t, recording)
		n := 0
		for _, table := range hub.Tables {
			rows := m.Content.Tables[table]
			for i := range rows {
				for j := range rows[i].Properties {
					if n++; n%stride != 0 {
						continue
					}
					was := rows[i].Properties[j].Value
					odd := []schema.Value{{}, schema.Int64(-1 << 63), schema.String("\x00{\"$type\":[[[["), schema.Boolean(true)}[n/stride%4]
					rows[i].Properties[j].Value = odd
					found, _ := Hub(t.Context(), m, Options{})
					for _, err := range found {
						if err != nil {
							t.Fatalf("%s: %s/%s/%s.%s = %v: %v", recording, table, rows[i].PartitionKey, rows[i].RowKey, rows[i].Properties[j].Name, odd, err)
						}
					}
					rows[i].Properties[j].Value = was
				}
			}
		}
		if n < 1000 {
			t.Errorf("%s has %d values", recording, n)
		}
	}
}

// TestKeysOf checks which keys an instance is looked for under.
func TestKeysOf(t *testing.T) {
	for id, want := range map[string][]string{
		"a":    {"a"},
		"a/b":  {"a^0b", "a/b"},
		"a^y":  {"a^^y", "a^y"}, // as before version 1.8.4
		"a^0b": {"a^^0b"},       // the other one is that of a/b
	} {
		if got := keysOf(id); !slices.Equal(got, want) {
			t.Errorf("keysOf(%q) = %q, want %q", id, got, want)
		}
	}
}
