package manage_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// posted returns the last message that was put, decoded.
func posted(t testing.TB, e *testhub.Editor) (testhub.Posted, schema.Message) {
	t.Helper()
	all := e.Posted()
	if len(all) == 0 {
		t.Fatal("no message")
	}
	last := all[len(all)-1]
	m, err := hub.LoadMessage(t.Context(), e, e.Content().Names.LargeMessages(), &schema.QueueMessage{Text: last.Text}, 0)
	if err != nil {
		t.Fatal(err)
	}
	return last, m.Message
}

// eventOf returns the event of a message, which has to be of this type.
func eventOf[T schema.Event](t testing.TB, m *schema.Message) T {
	t.Helper()
	e, ok := m.TaskMessage.Event.(T)
	if !ok {
		t.Fatalf("the message is of type %v", m.TaskMessage.Event.Type())
	}
	return e
}

// TestSignalAt schedules signals. The form is that of the signal that an
// orchestration has left in queue funclab-control-02 of hub functions-3.
func TestSignalAt(t *testing.T) {
	content := small(4)
	add(&content, "@Upper@k", "Running")
	add(&content, "@both@k", "Running")
	add(&content, "@Both@k", "Running")
	e := testhub.NewEditor(content)
	c := control(t, e, manage.ControlOptions{})
	for _, tt := range []struct {
		entity, id string
		after      time.Duration
		name, due  string
		delay      time.Duration
	}{
		{"Counter", "@counter@k", 0, "op", "", 0},
		{"Counter", "@counter@k", time.Hour, "op@2026-11-22T05:09:15.1234567Z", "2026-11-22T05:09:15.1234567Z", time.Hour},
		{"Counter", "@counter@k", -time.Hour, "op@2026-11-22T03:09:15.1234567Z", "2026-11-22T03:09:15.1234567Z", 0},
		{"Counter", "@counter@k", 90 * time.Minute, "op@2026-11-22T05:39:15.1234567Z", "2026-11-22T05:39:15.1234567Z", 90 * time.Minute},
		{"Counter", "@counter@k", 30 * 24 * time.Hour, "op@2026-11-28T04:09:15.1234567Z", "2026-12-22T04:09:15.1234567Z", 6 * 24 * time.Hour},
		{"Upper", "@Upper@k", 0, "op", "", 0},
		{"Both", "@both@k", 0, "op", "", 0},
	} {
		s := manage.Signal{Entity: schema.EntityID{Name: tt.entity, Key: "k"}, Operation: "Add", Input: schema.Some("[ 1 ]")}
		if tt.after != 0 {
			s.At = schema.TicksOf(recordedAt.Add(tt.after))
		}
		sent, err := c.SignalEntity(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		p, m := posted(t, e)
		event, ok := m.TaskMessage.Event.(*schema.EventRaised)
		if !ok || event.Name.Value != tt.name || p.Delay != tt.delay || sent.Event != tt.name || (sent.VisibleAt != 0) != (tt.delay > 0) {
			t.Errorf("%+v: event %+v, delay %v, %+v", tt, event, p.Delay, sent)
		}
		if id, _ := m.Target(); id != tt.id || p.Queue != content.Names.ControlQueue(schema.Partition(tt.id, 4)) {
			t.Errorf("%s: message for %q in %s", tt.entity, id, p.Queue)
		}
		due := ""
		if tt.due != "" {
			due = `"due":"` + tt.due + `",`
		}
		want := `{"op":"Add","signal":true,"input":"[1]","id":"ID",` + due + `"Timestamp":"0001-01-01T00:00:00","Predecessor":"0001-01-01T00:00:00"}`
		r, err := schema.DecodeEntityRequest(event.Input.Value)
		if got := strings.Replace(event.Input.Value, r.ID, "ID", 1); err != nil || got != want {
			t.Errorf("request %s\nwant %s", got, want)
		}
	}
}

// TestTerminateScheduled warns of what does not end.
func TestTerminateScheduled(t *testing.T) {
	e := testhub.NewEditor(recordedHub(t, "dtfx-2.9.1"))
	due := schema.Ticks(0)
	for _, r := range e.Content().Tables[hub.Instances] {
		if r.PartitionKey == "scheduled" {
			due, _ = r.Get("ScheduledStartTime").Time()
		}
	}
	for now, want := range map[schema.Ticks]schema.Ticks{due - 1: due, due + 1: 0} {
		c := control(t, e, manage.ControlOptions{Now: now.Time})
		s, err := c.Terminate(t.Context(), "scheduled", schema.Optional[string]{})
		if err != nil || s.StillStarts != want {
			t.Errorf("at %s: %+v, %v, want %s", now, s, err, want)
		}
		if _, m := posted(t, e); eventOf[*schema.ExecutionTerminated](t, &m).Input.Set {
			t.Error("a reason without one")
		}
	}
}

func TestRaiseWithoutName(t *testing.T) {
	content := small(1)
	add(&content, "x", "Running")
	e := testhub.NewEditor(content)
	s, err := control(t, e, manage.ControlOptions{}).Raise(t.Context(), "x", "", schema.Optional[string]{})
	if err != nil {
		t.Fatal(err)
	}
	_, m := posted(t, e)
	event := eventOf[*schema.EventRaised](t, &m)
	if len(s.Event) != len("Event_")+32 || !strings.HasPrefix(s.Event, "Event_") || event.Name.Value != s.Event || event.Input.Set {
		t.Errorf("event %+v, %+v", event, s)
	}
}

// TestUnknownStatus refuses to send to an instance of which nobody can tell what
// it does.
func TestUnknownStatus(t *testing.T) {
	content := small(1)
	add(&content, "x", "Sleeping")
	e := testhub.NewEditor(content)
	c := control(t, e, manage.ControlOptions{})
	_, terminate := c.Terminate(t.Context(), "x", schema.Optional[string]{})
	_, raise := c.Raise(t.Context(), "x", "e", schema.Optional[string]{})
	_, _, rewind := c.Rewind(t.Context(), "x", manage.RewindOptions{})
	for _, err := range []error{terminate, raise, rewind} {
		var state *manage.StateError
		if !errors.As(err, &state) || state.Status != schema.StatusUnknown || errors.Is(err, manage.ErrEnded) {
			t.Errorf("error %v, want a *StateError", err)
		}
	}
	if n := len(e.Edits()); n > 0 {
		t.Errorf("%d changes", n)
	}
}

func TestRestart(t *testing.T) {
	ctx := t.Context()
	content := recordedHub(t, "dtfx-2.9.1")
	e := testhub.NewEditor(content)
	c := control(t, e, manage.ControlOptions{})
	// Recorded in instance tagged: {"tenant":"contoso","prio":"1"}.
	s, err := c.Restart(ctx, "tagged", manage.RestartOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, m := posted(t, e)
	event := eventOf[*schema.ExecutionStarted](t, &m)
	if event.Name.Value != "HelloSequence" || event.Input.Value != `"t"` || !strings.Contains(event.Tags.Value, `"prio":"1","tenant":"contoso"`) || s.Replaced || len(s.InstanceID) != 32 {
		t.Errorf("restart of tagged: %+v, %+v", s, event)
	}
	// An ID that clients would not start with, under which the app has.
	if s, err = c.Restart(ctx, `weird/id\with#all?and^caret`, manage.RestartOptions{SameID: true}); err != nil || !s.Replaced || s.Generation != 1 {
		t.Errorf("restart of a weird ID: %+v, %v", s, err)
	}
	if _, err = c.Restart(ctx, "wait-event", manage.RestartOptions{SameID: true}); !errors.Is(err, manage.ErrExists) {
		t.Errorf("restart of a running instance: %v", err)
	}
	if s, err = c.Restart(ctx, "wait-event", manage.RestartOptions{NewID: "another"}); err != nil || s.InstanceID != "another" {
		t.Errorf("restart of a running instance under another ID: %+v, %v", s, err)
	}
	if _, err = c.Restart(ctx, "tagged", manage.RestartOptions{NewID: "wait-event"}); !errors.Is(err, manage.ErrExists) {
		t.Errorf("restart over a running instance: %v", err)
	}

	// Text that is not JSON becomes a string, as in the framework.
	own := small(1)
	add(&own, "text", "Completed")
	own.Tables[hub.Instances][0].Set("Input", schema.String(" not JSON "))
	add(&own, "lost", "Completed")
	own.Tables[hub.Instances][1].Set("Input", schema.String(""))
	own.Tables[hub.Instances][1].Set("InputBlobName", schema.String("lost/history--Input-00000000-Input.json.gz"))
	e = testhub.NewEditor(own)
	c = control(t, e, manage.ControlOptions{})
	if _, err = c.Restart(ctx, "text", manage.RestartOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, m = posted(t, e); eventOf[*schema.ExecutionStarted](t, &m).Input.Value != `"not JSON"` {
		t.Errorf("input %+v", m.TaskMessage.Event)
	}
	// Without its input it would be another orchestration.
	before := e.Content()
	if _, err = c.Restart(ctx, "lost", manage.RestartOptions{}); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("restart without the input: %v", err)
	}
	unchanged(t, "a restart without the input", before, e.Content())
}

func TestSetCustomStatus(t *testing.T) {
	ctx := t.Context()
	before := recordedHub(t, "functions-3")
	for status, want := range map[schema.Optional[string]]string{
		schema.Some(` {"a": 1.0} `): "wait-1/ CustomStatus: null -> {\"a\":1.0}", {}: "",
	} {
		e := testhub.NewEditor(recordedHub(t, "functions-3"))
		if err := control(t, e, manage.ControlOptions{}).SetCustomStatus(ctx, "wait-1", status); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(rowDiff(before, e.Content()), "\n"); got != want || len(e.Posted()) > 0 {
			t.Errorf("status %v: %s, want %s", status, got, want)
		}
	}
	e := testhub.NewEditor(recordedHub(t, "functions-3"))
	c := control(t, e, manage.ControlOptions{})
	if err := c.SetCustomStatus(ctx, "nobody", schema.Some("1")); !errors.Is(err, manage.ErrNoInstance) {
		t.Errorf("status of nobody: %v", err)
	}
	e.Before = func(method, _ string) error {
		e.Before = nil
		_, err := c.Start(ctx, manage.StartOptions{Name: "F", ID: "hello-1"})
		return err
	}
	if err := c.SetCustomStatus(ctx, "hello-1", schema.Some("1")); !errors.Is(err, hub.ErrConflict) {
		t.Errorf("status of an instance that is started meanwhile: %v", err)
	}
}

// TestStartRaces lets somebody else start the same instance at each moment of a
// start: the first row stays.
func TestStartRaces(t *testing.T) {
	for _, status := range []string{"", "Completed"} {
		for moment := range 2 { // before its message, and before its row
			content := small(1)
			if status != "" {
				add(&content, "x", status)
			}
			e := testhub.NewEditor(content)
			a, b := control(t, e, manage.ControlOptions{}), control(t, e, manage.ControlOptions{})
			var other *manage.Started
			n := 0
			e.Before = func(string, string) error {
				if n++; n != moment+1 {
					return nil
				}
				e.Before = nil
				var err error
				other, err = b.Start(t.Context(), manage.StartOptions{Name: "F", ID: "x", Input: schema.Some("2")})
				return err
			}
			_, err := a.Start(t.Context(), manage.StartOptions{Name: "F", ID: "x", Input: schema.Some("1")})
			if !errors.Is(err, hub.ErrConflict) {
				t.Errorf("over %q, started before change %d: %v, want ErrConflict", status, moment, err)
			}
			row := e.Content().Tables[hub.Instances][0]
			if got, _ := row.Get("ExecutionId").Text(); got != other.ExecutionID || row.Get("Input").String() != "2" {
				t.Errorf("over %q, started before change %d: the row is %s", status, moment, row.AppendJSON(nil))
			}
		}
	}
	// Purged meanwhile, it is new.
	content := small(1)
	add(&content, "x", "Completed")
	e := testhub.NewEditor(content)
	e.Before = func(string, string) error {
		e.Before = nil
		return e.DeleteRows(t.Context(), hub.Instances, []schema.Row{{PartitionKey: "x"}})
	}
	s, err := control(t, e, manage.ControlOptions{}).Start(t.Context(), manage.StartOptions{Name: "F", ID: "x"})
	if err != nil {
		t.Fatal(err)
	}
	if rows := e.Content().Tables[hub.Instances]; len(rows) != 1 || rows[0].Get("ExecutionId").String() != s.ExecutionID {
		t.Errorf("rows %v", rows)
	}
}

// TestStartOrder writes blobs, then the message, then the row: who reads one finds
// what it refers to.
func TestStartOrder(t *testing.T) {
	for name, tt := range map[string]struct {
		size int
		want []string
	}{
		"small": {10, []string{"PutMessage small-control-00", "InsertRow Instances x/"}},
		"wide": {40_000, []string{
			"CreateContainer small-largemessages", "PutBlob small-largemessages/x/history--Input-00000000-Input.json.gz",
			"PutMessage small-control-00", "InsertRow Instances x/",
		}},
		"large": {50_000, []string{
			"CreateContainer small-largemessages", "PutBlob small-largemessages/x/message-00000000000040008000000000000000-ExecutionStarted.json.gz",
			"PutMessage small-control-00", "InsertRow Instances x/",
		}},
	} {
		e := testhub.NewEditor(small(1))
		c := control(t, e, manage.ControlOptions{Random: zeros{}})
		if _, err := c.Start(t.Context(), manage.StartOptions{Name: "F", ID: "x", Input: schema.Some(`"` + strings.Repeat("x", tt.size) + `"`)}); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(tt.want, e.Edits()); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}

// zeros is as random as it can be.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// setStatus makes an instance have another status.
func setStatus(t testing.TB, e *testhub.Editor, id string, status schema.Status) {
	t.Helper()
	for row, err := range e.Rows(t.Context(), hub.Instances, hub.Partition(id)) {
		if err != nil {
			t.Fatal(err)
		}
		row.Set("RuntimeStatus", schema.String(status.String()))
		if _, err := e.ReplaceRow(t.Context(), hub.Instances, row); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := small(1)
		add(&content, "x", "Running")
		e := testhub.NewEditor(content)
		q := query(t, e)
		for _, tt := range []struct {
			timeout, endsAt, want time.Duration
			ended                 bool
		}{
			{0, time.Hour, 0, false},
			{10 * time.Second, time.Hour, 10 * time.Second, false},
			{3500 * time.Millisecond, 3200 * time.Millisecond, 3500 * time.Millisecond, true}, // seen at the very end
			{time.Minute, 5500 * time.Millisecond, 6 * time.Second, true},
			{time.Minute, 0, 0, true},
		} {
			setStatus(t, e, "x", schema.StatusRunning)
			timer := time.AfterFunc(tt.endsAt, func() { setStatus(t, e, "x", schema.StatusTerminated) })
			if tt.endsAt == 0 {
				time.Sleep(time.Millisecond) // until it has
			}
			begun := time.Now()
			s, ended, err := q.Wait(t.Context(), "x", manage.ShowOutput, manage.WaitOptions{Timeout: tt.timeout, Now: time.Now})
			if took := time.Since(begun); err != nil || ended != tt.ended || took != tt.want || s.Output.Value != `"out"` || s.Row.Status().Terminal() != tt.ended {
				t.Errorf("%+v: ended %v after %v, %v", tt, ended, took, err)
			}
			timer.Stop()
		}
		if _, _, err := q.Wait(t.Context(), "nobody", manage.ShowNone, manage.WaitOptions{Timeout: time.Hour, Now: time.Now}); !errors.Is(err, manage.ErrNoInstance) {
			t.Errorf("waiting for nobody: %v", err)
		}
		setStatus(t, e, "x", schema.StatusRunning)
		time.AfterFunc(3*time.Second, func() {
			if err := e.DeleteRows(t.Context(), hub.Instances, []schema.Row{{PartitionKey: "x"}}); err != nil {
				t.Error(err)
			}
		})
		if _, _, err := q.Wait(t.Context(), "x", manage.ShowNone, manage.WaitOptions{Timeout: time.Hour, Now: time.Now}); !errors.Is(err, manage.ErrNoInstance) {
			t.Errorf("waiting for what is purged: %v", err)
		}
	})
}

func TestInFlight(t *testing.T) {
	for name, want := range map[string]manage.InFlight{
		// 16 Running of which 8 are entities; a suspended one does not count. The
		// messages are two timers and a delayed signal.
		"functions-3": {Instances: map[schema.Status]int64{schema.StatusRunning: 8}, Hidden: 3},
		"dtfx-2.9.1":  {Instances: map[schema.Status]int64{schema.StatusRunning: 7, schema.StatusPending: 1}, Hidden: 4},
		// 91 work items, 6 of them invisible; 8 others, 7 of them invisible.
		"dtfx-2.9.1-crashed": {Instances: map[schema.Status]int64{schema.StatusRunning: 16, schema.StatusPending: 1}, Messages: 92, Hidden: 7},
		"dtfx-2.9.1-bulk":    {Instances: map[schema.Status]int64{}},
	} {
		got, err := query(t, testhub.OpenHub(t, name)).InFlight(t.Context(), manage.IdleOptions{})
		if err != nil {
			t.Fatal(err)
		}
		first := got.First
		got.First = nil
		if d := cmp.Diff(&want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if len(first) == 0 && len(want.Instances) > 0 || got.Idle() != (name == "dtfx-2.9.1-bulk") {
			t.Errorf("%s: idle %v, first %q", name, got.Idle(), first)
		}
	}
	q := query(t, testhub.OpenHub(t, "functions-3"))
	got, err := q.InFlight(t.Context(), manage.IdleOptions{Filter: manage.Filter{IDPrefix: "wait-", Statuses: []schema.Status{schema.StatusSuspended}}})
	if d := cmp.Diff([]string{"wait-4"}, got.First); err != nil || d != "" || got.Hidden != 0 {
		t.Errorf("suspended ones that begin with wait-: %+v, %v", got, err)
	}
}

func TestWaitIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := func() (*testhub.Editor, *manage.Query) {
			content := small(1)
			add(&content, "@e@k", "Running")
			add(&content, "x", "Running")
			e := testhub.NewEditor(content)
			return e, query(t, e)
		}
		options := func(timeout time.Duration) manage.IdleOptions {
			return manage.IdleOptions{WaitOptions: manage.WaitOptions{Timeout: timeout, Interval: 10 * time.Second, Now: time.Now}}
		}
		e, q := begin()
		begun := time.Now()
		time.AfterFunc(15*time.Second, func() { setStatus(t, e, "x", schema.StatusCompleted) })
		// A message between the two looks: busy again.
		time.AfterFunc(25*time.Second, func() {
			if err := e.PutMessage(t.Context(), "small-control-00", "{}", 0); err != nil {
				t.Error(err)
			}
		})
		last, idle, err := q.WaitIdle(t.Context(), options(time.Minute))
		if took := time.Since(begun); err != nil || idle || last.Messages != 1 || took != time.Minute {
			t.Errorf("with a message: %+v, idle %v after %v, %v", last, idle, took, err)
		}

		e, q = begin()
		begun = time.Now()
		time.AfterFunc(15*time.Second, func() { setStatus(t, e, "x", schema.StatusCompleted) })
		_, idle, err = q.WaitIdle(t.Context(), options(time.Minute))
		if took := time.Since(begun); err != nil || !idle || took != 30*time.Second {
			t.Errorf("idle %v after %v, %v, want two looks in a row after 15 s", idle, took, err)
		}
		begun = time.Now()
		if last, idle, err = q.WaitIdle(t.Context(), options(0)); err != nil || !idle || time.Since(begun) != 0 {
			t.Errorf("one look: %+v, idle %v, %v", last, idle, err)
		}
	})
}

// interloper does something just before a request of a method is sent for the
// first time.
type interloper struct {
	next   http.RoundTripper
	method string
	do     func()
}

func (i *interloper) RoundTrip(req *http.Request) (*http.Response, error) {
	if do := i.do; do != nil && req.Method == i.method {
		i.do = nil
		do()
	}
	return i.next.RoundTrip(req)
}

// TestLiveRaces lets somebody else be faster between what a manager reads and what
// it writes, in the emulator.
func TestLiveRaces(t *testing.T) {
	for name, tt := range map[string]struct {
		method string // of the request that comes too late
		do     func(c *manage.Control) error
	}{
		"restart": {http.MethodPut, func(c *manage.Control) error {
			_, err := c.Restart(t.Context(), "hello-1", manage.RestartOptions{SameID: true})
			return err
		}},
		"rewind": {http.MethodPut, func(c *manage.Control) error {
			_, _, err := c.Rewind(t.Context(), "failing-1", manage.RewindOptions{})
			return err
		}},
		"status": {http.MethodPatch, func(c *manage.Control) error {
			return c.SetCustomStatus(t.Context(), "wait-1", schema.Some("1"))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			emulator := testhub.Azurite(t)
			content := recordedHub(t, "functions-3")
			testhub.Load(t, emulator, content)
			fast := control(t, openLive(t, emulator.ConnectionString(), content.Names), manage.ControlOptions{})
			transport := &http.Transport{}
			t.Cleanup(transport.CloseIdleConnections)
			var after hubtest.Content
			through := &interloper{next: transport, method: tt.method}
			e := openLiveThrough(t, emulator.ConnectionString(), content.Names, through)
			through.do = func() {
				if err := tt.do(fast); err != nil {
					t.Error(err)
				}
				after = testhub.ContentOf(t, e)
			}
			if err := tt.do(control(t, e, manage.ControlOptions{})); !errors.Is(err, hub.ErrConflict) {
				t.Errorf("error %v, want ErrConflict", err)
			}
			if d := rowDiff(after, testhub.ContentOf(t, e)); len(d) > 0 {
				t.Errorf("rows that somebody else has written are changed: %q", d)
			}
		})
	}
}

// TestManyControls lets several managers start, restart and signal at the same
// time: what is there in the end is what one of them has written.
func TestManyControls(t *testing.T) {
	emulator := testhub.Azurite(t)
	content := recordedHub(t, "functions-3")
	testhub.Load(t, emulator, content)
	const racers = 5
	errs := make(chan error)
	started := make(chan *manage.Started, racers)
	for range racers {
		c := control(t, openLive(t, emulator.ConnectionString(), content.Names), manage.ControlOptions{})
		go func() {
			s, err := c.Restart(t.Context(), "hello-1", manage.RestartOptions{SameID: true})
			if err == nil {
				started <- s
			}
			errs <- err
		}()
	}
	won := 0
	for range racers {
		switch err := <-errs; {
		case err == nil:
			won++
		case !errors.Is(err, hub.ErrConflict) && !errors.Is(err, manage.ErrExists):
			t.Error(err)
		}
	}
	if won != 1 {
		t.Fatalf("%d restarts have won, want 1", won)
	}
	winner := <-started
	e := openLive(t, emulator.ConnectionString(), content.Names)
	for row, err := range e.Rows(t.Context(), hub.Instances, hub.Partition("hello-1")) {
		if err != nil {
			t.Fatal(err)
		}
		i, err := schema.DecodeInstance(&row)
		if err != nil || i.ExecutionID.Value != winner.ExecutionID || i.Generation.Value != 1 || i.Output.Set {
			t.Errorf("row %s, %v, want execution %s", row.AppendJSON(nil), err, winner.ExecutionID)
		}
	}
}

func TestBreaksLists(t *testing.T) {
	for reason, want := range map[string]bool{
		"https://example.com/x": true, "error:timeout": true, "a+b.c-1:x": true, "mailto:a@b": true,
		"": false, "because é": false, "error: timeout": false, ":x": false, "x:": false, "1a:b": false, "{\"a\":1}": false, "no colon": false,
	} {
		if got := manage.BreaksLists(reason); got != want {
			t.Errorf("BreaksLists(%q) = %v", reason, got)
		}
	}
}
