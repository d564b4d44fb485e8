package replay_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// recordedInstance is what a recorded hub stores of one instance, and what the framework
// said of it.
type recordedInstance struct {
	hub, key string
	row      *schema.Instance // nil without one
	history  []schema.Row     // the partition, the sentinel included
	stated   *stated          // nil if the recording has no statement of it
}

// stated is an instance of a state.json.
type stated struct {
	InstanceID, ExecutionID, Status             string
	Output                                      *string
	CreatedTime, LastUpdatedTime, CompletedTime string
	History                                     []statedEvent
}

// statedEvent is an event as the framework lists it, with the type as a number.
type statedEvent struct {
	EventType                         schema.EventType
	EventID, TaskScheduledID, TimerID int32
	Name, InstanceID, Timestamp       string
	Input                             *string
}

// recordedInstances returns the instances of a recorded hub in the order of their keys,
// and a reader of it.
func recordedInstances(t testing.TB, name string) ([]recordedInstance, hub.Reader) {
	t.Helper()
	r := testhub.OpenHub(t, name)
	byKey := make(map[string]*recordedInstance)
	at := func(key string) *recordedInstance {
		if byKey[key] == nil {
			byKey[key] = &recordedInstance{hub: name, key: key}
		}
		return byKey[key]
	}
	for row, err := range r.Rows(t.Context(), hub.Instances, hub.Keys{}) {
		if err != nil {
			t.Fatal(err)
		}
		row = row.Clone()
		i, err := schema.DecodeInstance(&row)
		if err != nil {
			t.Fatal(err)
		}
		at(row.PartitionKey).row = &i
	}
	for row, err := range r.Rows(t.Context(), hub.History, hub.Keys{}) {
		if err != nil {
			t.Fatal(err)
		}
		i := at(row.PartitionKey)
		i.history = append(i.history, row.Clone())
	}
	if text := testhub.Recorded(t, name, "state.json"); text != nil {
		var all []*stated
		if err := json.Unmarshal(text, &all); err != nil {
			t.Fatal(err)
		}
		for _, s := range all {
			if i := byKey[schema.EscapeKey(s.InstanceID)]; i != nil { // a tracking store is shared
				i.stated = s
			}
		}
	}
	var out []recordedInstance
	for _, i := range byKey {
		out = append(out, *i)
	}
	slices.SortFunc(out, func(a, b recordedInstance) int { return strings.Compare(a.key, b.key) })
	return out, r
}

func replayed(key string, rows []schema.Row, opts replay.Options) *replay.History {
	r := replay.New(key, opts)
	for i := range rows {
		r.Add(&rows[i])
	}
	return r.End()
}

// blobsOf returns what Compare and Output need to get texts from the blobs of a
// hub.
func blobsOf(t testing.TB, r hub.Reader) (replay.Loader, func(string, *schema.Text) error) {
	t.Helper()
	info, err := r.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	container := info.Names.LargeMessages()
	load := func(ref schema.Ref) (schema.Text, error) {
		return hub.LoadRef(t.Context(), r, container, ref, 64<<20)
	}
	return replay.Loader{Container: container, Load: load}, func(_ string, text *schema.Text) error {
		v, err := load(schema.Ref{Blob: schema.StoredBlobName(text.Blob)})
		text.Load(v.Value)
		return err
	}
}

// shownOutput returns an output as a state.json has it: null is "<null>".
func shownOutput(t testing.TB, s *replay.State, load func(string, *schema.Text) error) string {
	t.Helper()
	switch out, err := s.Output(load); {
	case err != nil:
		return "error: " + err.Error()
	case !out.Set:
		return null
	default:
		return out.Value
	}
}

const null = "<null>"

// openSet names open work, sorted: kind, EventId and name.
func openSet(open []replay.Open) []string {
	var all []string
	for _, o := range open {
		name := o.Name
		if o.Kind == replay.OpenLock || o.Kind == replay.OpenLockRequest {
			name = o.InstanceID
		}
		all = append(all, fmt.Sprintf("%s %d %s", o.Kind, o.EventID, name))
	}
	slices.Sort(all)
	return all
}

// The framework's own statements of every instance: status, output, times and
// open work. It states the row, so where row and history differ because a worker
// was killed between the two, replay knows better.
func TestRecordedStates(t *testing.T) {
	exceptions := map[string]string{
		"dtfx-2.9.1-crashed/inflight-07 updated": "the worker was killed after it wrote the history, before the row",
		"dtfx-2.9.1-torn/wide-5 status":          "the worker was killed in mid-checkpoint: the row is the client's, Pending",
		"dtfx-2.9.1-torn/wide-5 updated":         "the same",
		"dtfx-2.9.1-odd/big-status late":         "the row was repaired, which takes the event's time",
	}
	seen := make(map[string]bool)
	compared := 0
	for _, rec := range testhub.Recordings {
		all, r := recordedInstances(t, rec.Name)
		blobs, load := blobsOf(t, r)
		for _, in := range all {
			if in.stated == nil {
				continue
			}
			compared++
			h := replayed(in.key, in.history, replay.Options{})
			v := replay.Compare(in.row, h, blobs)
			live := &h.Live
			check := func(what string, got, want any) {
				t.Helper()
				key := rec.Name + "/" + in.stated.InstanceID + " " + what
				if got == want {
					return
				}
				if exceptions[key] != "" {
					seen[key] = true
					return
				}
				t.Errorf("%s is %v, the framework says %v", key, got, want)
			}
			output := null
			if in.stated.Output != nil {
				output = *in.stated.Output
			}
			check("instance", h.InstanceID, in.stated.InstanceID)
			check("execution", v.ExecutionID, in.stated.ExecutionID)
			check("status", v.Status.String(), in.stated.Status)
			if live.Events == 0 {
				check("events", 0, len(in.stated.History))
				check("source", v.StatusFrom, replay.FromRow)
				continue
			}
			check("source", v.StatusFrom, replay.FromHistory)
			check("output", shownOutput(t, live, load), output)
			check("created", live.CreatedTime, parseTime(t, in.stated.CreatedTime))
			check("updated", live.LastUpdatedTime, parseTime(t, in.stated.LastUpdatedTime))
			check("events", live.Events, int64(len(in.stated.History)))
			// The row has the worker's clock at the commit.
			event, row := live.CompletedTime, parseTime(t, in.stated.CompletedTime)
			check("completed", event != 0, row != 0)
			if event != 0 {
				check("late", event < row, true)
				check("in time", event <= row && row <= h.Sentinel.CheckpointCompletedTimestamp.Value, true)
			}
			if got, want := openSet(live.Open), openStated(t, in.stated); !slices.Equal(got, want) {
				t.Errorf("%s/%s: open is\n%q, the framework's history has\n%q", rec.Name, in.stated.InstanceID, got, want)
			}
		}
	}
	if compared < 900 {
		t.Errorf("compared %d instances only", compared)
	}
	for key := range exceptions {
		if !seen[key] {
			t.Errorf("the exception %s does not occur any more", key)
		}
	}
}

func parseTime(t testing.TB, s string) schema.Ticks {
	t.Helper()
	at, err := schema.ParseTicks(s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// openStated matches results with what they answer by their IDs, and lists what is
// left.
func openStated(t *testing.T, s *stated) []string {
	t.Helper()
	open := make(map[int32]string)
	var events []string
	acted := func() { events = nil }
	for _, e := range s.History {
		switch e.EventType {
		case 4: // TaskScheduled
			open[e.EventID] = fmt.Sprintf("activity %d %s", e.EventID, e.Name)
			acted()
		case 7: // SubOrchestrationInstanceCreated
			open[e.EventID] = fmt.Sprintf("sub_orchestration %d %s", e.EventID, e.Name)
			acted()
		case 10: // TimerCreated
			open[e.EventID] = fmt.Sprintf("timer %d ", e.EventID)
			acted()
		case 1, 14: // ExecutionCompleted, EventSent: no recorded state is of an instance that calls entities
			acted()
			if strings.HasPrefix(e.InstanceID, "@") {
				t.Errorf("%s sends to an entity, which this test does not match", s.InstanceID)
			}
		case 5, 6, 8, 9: // results of the first two
			delete(open, e.TaskScheduledID)
		case 11: // TimerFired
			delete(open, e.TimerID)
		case 15: // EventRaised
			if !strings.HasPrefix(s.InstanceID, "@") {
				events = append(events, fmt.Sprintf("event -1 %s", e.Name))
			}
		case 20: // ExecutionResumed
			t.Errorf("%s was resumed, which this test does not match", s.InstanceID)
		}
	}
	all := events
	for _, name := range open {
		all = append(all, name)
	}
	slices.Sort(all)
	return all
}
