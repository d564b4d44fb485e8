package replay_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// oracle computes what a prefix of a history must come to, from the columns of
// the rows alone, by looking at all of them again and again. rows are the live
// history; the prefix is the first n of them, or all of them as they are now if
// now is true.
type oracle struct {
	instanceID string
	rows       []schema.Row
	n          int
	now        bool
	load       func(string, *schema.Text) error
}

func col(r *schema.Row, name string) string {
	s, _ := r.Get(name).Text()
	return s
}

func number(r *schema.Row, name string) int32 {
	n, _ := r.Get(name).Int()
	return int32(n)
}

func moment(r *schema.Row) schema.Ticks {
	at, _ := r.Get("_Timestamp").Time()
	return at
}

// mark returns what a rewind says that the row was.
func mark(r *schema.Row) string {
	if typ := col(r, "EventType"); typ != "GenericEvent" && typ != "SubOrchestrationInstanceCreated" {
		return ""
	}
	was, ok := strings.CutPrefix(col(r, "Reason"), "Rewound: ")
	switch {
	case !ok:
		return ""
	case was == "GenericEvent" && col(r, "OrchestrationStatus") != "":
		return "ExecutionCompleted"
	}
	return was
}

// rewound reports whether row i has been changed by a rewind within the prefix:
// one that took back a completion at or after it and that other rows of the
// prefix follow.
func (o *oracle) rewound(i int) bool {
	if mark(&o.rows[i]) == "" {
		return false
	}
	for c := i; c < o.n; c++ {
		if mark(&o.rows[c]) == "ExecutionCompleted" {
			return o.now || slices.ContainsFunc(o.rows[c+1:o.n], func(r schema.Row) bool { return col(&r, "EventType") == "OrchestratorStarted" })
		}
	}
	return o.now
}

// kind returns the type that a row counts as; of a row that a rewind has
// neutralised the stored one, a GenericEvent.
func (o *oracle) kind(i int) string {
	if was := mark(&o.rows[i]); was != "" && !o.rewound(i) {
		return was
	}
	return col(&o.rows[i], "EventType")
}

func (o *oracle) text(i int, column string) (string, bool) {
	r := &o.rows[i]
	if blob := col(r, column+"BlobName"); blob != "" {
		t := schema.Text{Blob: blob}
		if err := o.load(column, &t); err != nil {
			return "error: " + err.Error(), true
		}
		return t.Value, true
	}
	return col(r, column), r.Get(column).Type() == schema.TypeString
}

// result returns the output that a completion makes.
func (o *oracle) result(i int) (string, bool) {
	details, _ := o.text(i, "FailureDetails")
	if details == "" || details == "null" {
		return o.text(i, "Result")
	}
	var f struct{ ErrorType, ErrorMessage string }
	if err := json.Unmarshal([]byte(details), &f); err != nil {
		panic(err)
	}
	return f.ErrorType + ": " + f.ErrorMessage, true
}

// state returns the status by the runtime's rules, and what the checkpoints wrote
// to the row: the last event that writes counts.
func (o *oracle) state() (status, rowStatus, output string, completed schema.Ticks) {
	status, rowStatus, output = "Running", "Unknown", null
	write := func(s string, text string, ok bool) {
		rowStatus = s
		if ok {
			output = text
		}
	}
	started := false
	ended := -1
	for i := range o.n {
		switch o.kind(i) {
		case "ExecutionStarted":
			started = true
			write("Running", "", false)
		case "ExecutionCompleted":
			if ended < 0 {
				ended = i
				status = col(&o.rows[i], "OrchestrationStatus")
			}
			text, ok := o.result(i)
			write(col(&o.rows[i], "OrchestrationStatus"), text, ok)
		case "ExecutionTerminated":
			text, ok := o.text(i, "Input")
			write("Terminated", text, ok)
		case "ExecutionSuspended":
			status = "Suspended"
			text, ok := o.text(i, "Reason")
			write("Suspended", text, ok)
		case "ExecutionResumed":
			if ended < 0 {
				status = "Running"
			}
			text, ok := o.text(i, "Reason")
			write("Running", text, ok)
		case "GenericEvent":
			if mark(&o.rows[i]) == "ExecutionCompleted" { // its output stays in the row
				text, ok := o.result(i)
				write("Pending", text, ok)
			}
		}
	}
	if ended >= 0 {
		completed = moment(&o.rows[ended])
	}
	if !started {
		status = "Unknown"
	}
	return status, rowStatus, output, completed
}

// open lists what has no answer: for each row that begins something, whether
// a later row answers it.
func (o *oracle) open() []string {
	var all []string
	request := func(i int) (v struct {
		ID, Op  string
		Signal  bool
		LockSet []struct{ Name, Key string }
	},
	) {
		text, _ := o.text(i, "Input")
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			panic(err)
		}
		return v
	}
	after := func(i int, match func(k int) bool) bool {
		for k := i + 1; k < o.n; k++ {
			if match(k) {
				return true
			}
		}
		return false
	}
	for i := range o.n {
		r := &o.rows[i]
		id := number(r, "EventId")
		switch kind := o.kind(i); kind {
		case "TaskScheduled", "SubOrchestrationInstanceCreated", "TimerCreated":
			column, name := "TaskScheduledId", "activity"
			switch kind {
			case "TimerCreated":
				column, name = "TimerId", "timer"
			case "SubOrchestrationInstanceCreated":
				name = "sub_orchestration"
			}
			answered := after(i, func(k int) bool {
				return !o.rewound(k) && o.rows[k].Get(column).Type() == schema.TypeInt32 && number(&o.rows[k], column) == id
			})
			if !answered {
				all = append(all, fmt.Sprintf("%s %d %s", name, id, col(r, "Name")))
			}
		case "EventSent":
			target, name := col(r, "InstanceId"), col(r, "Name")
			if !strings.HasPrefix(target, "@") || !strings.HasPrefix(name, "op") {
				continue
			}
			q := request(i)
			reply := after(i, func(k int) bool { return o.kind(k) == "EventRaised" && col(&o.rows[k], "Name") == q.ID })
			switch {
			case q.Signal:
				if due, ok := strings.CutPrefix(name, "op@"); ok {
					if at, err := schema.ParseTicks(due); err != nil || at > moment(&o.rows[o.n-1]) {
						all = append(all, fmt.Sprintf("entity_signal %d %s", id, q.Op))
					}
				}
			case q.LockSet == nil && !reply:
				all = append(all, fmt.Sprintf("entity_call %d %s", id, q.Op))
			case q.LockSet != nil && !reply:
				all = append(all, fmt.Sprintf("entity_lock_request %d %s", id, target))
			case q.LockSet != nil:
				for _, e := range q.LockSet {
					entity := "@" + e.Name + "@" + e.Key
					released := after(i, func(k int) bool {
						return o.kind(k) == "EventSent" && col(&o.rows[k], "Name") == "release" && col(&o.rows[k], "InstanceId") == entity && request(k).ID == q.ID
					})
					if !released {
						all = append(all, fmt.Sprintf("entity_lock %d %s", id, entity))
					}
				}
			}
		case "EventRaised":
			if strings.HasPrefix(o.instanceID, "@") {
				continue
			}
			reply := false
			for k := range i {
				if o.kind(k) == "EventSent" && strings.HasPrefix(col(&o.rows[k], "Name"), "op") && strings.HasPrefix(col(&o.rows[k], "InstanceId"), "@") {
					reply = reply || request(k).ID == col(r, "Name")
				}
			}
			suspended := false
			for k := range i {
				switch o.kind(k) {
				case "ExecutionSuspended":
					suspended = true
				case "ExecutionResumed":
					suspended = false
				}
			}
			seen := after(i, func(k int) bool {
				switch o.kind(k) {
				case "ExecutionResumed":
					suspended = false
				case "TaskScheduled", "SubOrchestrationInstanceCreated", "TimerCreated", "EventSent", "ExecutionCompleted":
					return !suspended
				}
				return false
			})
			if !reply && !seen {
				all = append(all, "event -1 "+col(r, "Name"))
			}
		}
	}
	slices.Sort(all)
	return all
}

// For every instance and every episode: the replay of the rows up to that
// episode, and the replay of all rows up to its time, give what the rules say
// that storage held when that episode had been committed. The last one is what
// it holds now.
func TestPrefixes(t *testing.T) {
	// A rewind that nobody has picked up is not part of the last episode, but it is
	// of the present.
	rewoundSince := map[string]bool{"functions-3-after-write/failing-1": true, "functions-3-after-js/failing-1": true}
	prefixes, failedBefore := 0, 0
	for _, rec := range testhub.Recordings {
		all, r := recordedInstances(t, rec.Name)
		_, load := blobsOf(t, r)
		for _, in := range all {
			full := replayed(in.key, in.history, replay.Options{})
			live := in.history[:full.Live.Events]
			if len(live) == 0 {
				continue
			}
			at := rec.Name + "/" + in.key
			o := oracle{instanceID: full.InstanceID, rows: live, n: len(live), now: true, load: load}
			compareState(t, at, &full.Live, &o)
			var starts []int
			for i := range live {
				if col(&live[i], "EventType") == "OrchestratorStarted" {
					starts = append(starts, i)
				}
			}
			for k := range starts {
				prefixes++
				o.n, o.now = len(live), false
				if k+1 < len(starts) {
					o.n = starts[k+1]
				}
				place := fmt.Sprintf("%s, episode %d", at, k+1)
				h := replayed(in.key, in.history, replay.Options{Episode: int64(k + 1)})
				compareState(t, place, &h.Live, &o)
				if h.Cut != (k+1 < len(starts)) || h.Live.Events+h.Skipped+tails(h) != h.Rows {
					t.Errorf("%s: Cut is %v, %d of %d rows skipped", place, h.Cut, h.Skipped, h.Rows)
				}
				byTime := replayed(in.key, in.history, replay.Options{At: moment(&live[starts[k]])})
				if byTime.Live.Events != h.Live.Events || byTime.Live.Status != h.Live.Status {
					t.Errorf("%s: by time %d events and %v, by number %d and %v", place, byTime.Live.Events, byTime.Live.Status, h.Live.Events, h.Live.Status)
				}
				if o.n < len(live) && mark(&live[o.n-2]) == "ExecutionCompleted" {
					failedBefore++
					if h.Live.Status != schema.StatusFailed || h.Live.RowStatus != schema.StatusFailed || h.Live.Rewound {
						t.Errorf("%s: %v before the rewind, want Failed", place, h.Live.Status)
					}
				}
				if k+1 < len(starts) {
					continue
				}
				if got := stateText(&h.Live, load); got != stateText(&full.Live, load) != rewoundSince[at] {
					t.Errorf("%s: the last episode gives\n%s\nthe whole history\n%s", place, got, stateText(&full.Live, load))
				}
			}
			if row := in.row; row != nil && at != "dtfx-2.9.1-torn/wide-5" && row.ExecutionID.Value == full.Live.ExecutionID && row.RuntimeStatus.Value != full.Live.RowStatus.String() {
				t.Errorf("%s: the row is %s, its checkpoints wrote %v", at, row.RuntimeStatus.Value, full.Live.RowStatus)
			}
		}
	}
	if prefixes < 3000 || failedBefore < 8 {
		t.Errorf("compared %d prefixes, %d of them before a rewind", prefixes, failedBefore)
	}
}

func tails(h *replay.History) (n int64) {
	for i := range h.Overwritten {
		n += h.Overwritten[i].Events
	}
	return n
}

func compareState(t *testing.T, at string, s *replay.State, o *oracle) {
	t.Helper()
	status, rowStatus, output, completed := o.state()
	episodes := 0
	var created schema.Ticks
	for i := range o.n {
		switch o.kind(i) {
		case "OrchestratorStarted":
			episodes++
		case "ExecutionStarted":
			created = moment(&o.rows[i])
		}
	}
	want := fmt.Sprintf("%s, row %s, %d events, %d episodes, created %v, updated %v, completed %v, open %q, output %.300s",
		status, rowStatus, o.n, episodes, created, moment(&o.rows[o.n-1]), completed, o.open(), output)
	if got := stateText(s, o.load); got != want {
		t.Errorf("%s:\n%s, want\n%s", at, got, want)
	}
}

func stateText(s *replay.State, load func(string, *schema.Text) error) string {
	output := null
	if out, err := s.Output(load); err != nil {
		output = "error: " + err.Error()
	} else if out.Set {
		output = out.Value
	}
	return fmt.Sprintf("%v, row %v, %d events, %d episodes, created %v, updated %v, completed %v, open %q, output %.300s",
		s.Status, s.RowStatus, s.Events, s.Episodes, s.CreatedTime, s.LastUpdatedTime, s.CompletedTime, openSet(s.Open), output)
}
