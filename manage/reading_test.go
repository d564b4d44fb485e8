package manage_test

import (
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
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

func entity(id, input, custom string, created schema.Ticks) schema.Row {
	i := schema.Instance{
		PartitionKey: schema.EscapeKey(id), Name: schema.TextOf(id), RuntimeStatus: schema.Some("Running"),
		CreatedTime: schema.Some(created), CustomStatus: schema.Some(custom),
	}
	if input != "" {
		i.Input = schema.TextOf(input)
	}
	return i.Row()
}

func entities() hubtest.Content {
	const exists = `{"entityExists":true}`
	url := schema.BlobURL("https://old.example/", "test-largemessages", "e/in.json.gz")
	return hubtest.Content{Tables: map[hub.Table][]schema.Row{hub.Instances: {
		entity("@", `{"state":"1"}`, exists, t0), // not an entity
		entity("@Upper@k", `{"state":"1","sorter":{}}`, exists, t0),
		entity("@a@", `{"state":"[1,\n2]","sorter":{}}`, exists, t0+1),
		entity("@a@damaged", `{`, exists, t0+2),
		entity("@a@deleted", `{"sorter":{}}`, `{}`, t0+3),
		entity("@a@fresh", "", "", t0+4),
		entity("@a@gone", url, exists, t0+5),
		entity("@a@locked", `{"exists":true,"queue":[{"op":null,"id":"x","Timestamp":"","Predecessor":""}],"lockedBy":"o","suspended":true}`, `{}`, t0+6),
		entity("@a@text", `{"state":"not JSON"}`, exists, t0+7),
		entity("@upper@k", `{"state":"2"}`, exists, t0+8),
		instance("order-1", "Completed", "F", t0),
	}}}
}

func TestEntities(t *testing.T) {
	q := query(t, memory(entities()))
	tests := []struct {
		name   string
		filter manage.EntityFilter
		show   bool
		want   string
	}{
		{"all", manage.EntityFilter{}, true, "Upper@k a@ a@damaged a@gone a@locked a@text upper@k"},
		{"by custom status", manage.EntityFilter{}, false, "Upper@k a@ a@damaged a@gone a@text upper@k"},
		{"deleted", manage.EntityFilter{Deleted: true}, true, "Upper@k a@ a@damaged a@deleted a@fresh a@gone a@locked a@text upper@k"},
		{"name", manage.EntityFilter{Name: "a"}, true, "a@ a@damaged a@gone a@locked a@text"},
		{"name in another case", manage.EntityFilter{Name: "A"}, true, "a@ a@damaged a@gone a@locked a@text"},
		{"name in both cases", manage.EntityFilter{Name: "Upper"}, true, "Upper@k upper@k"},
		{"prefix", manage.EntityFilter{IDPrefix: "@a@g"}, true, "a@gone"},
		{"prefix and name", manage.EntityFilter{Name: "a", IDPrefix: "@a@t"}, true, "a@text"},
		{"prefix shorter than the name", manage.EntityFilter{Name: "upper", IDPrefix: "@u"}, true, "upper@k"},
		{"prefix of another name", manage.EntityFilter{Name: "a", IDPrefix: "@u"}, true, ""},
		{"from", manage.EntityFilter{From: t0 + 7}, true, "a@text upper@k"},
		{"to", manage.EntityFilter{To: t0 + 1}, true, "Upper@k a@"},
	}
	for _, tt := range tests {
		for _, top := range []int{0, 1, 2, 100} {
			t.Run(fmt.Sprintf("%s, top %d", tt.name, top), func(t *testing.T) {
				var got []string
				for token := manage.Token(""); ; {
					p, err := q.Entities(t.Context(), tt.filter, tt.show, top, token)
					if err != nil {
						t.Fatal(err)
					}
					if len(p.Entities) > max(top, 1) || len(got) > 20 {
						t.Fatalf("a page of %d, %d in all", len(p.Entities), len(got))
					}
					for _, e := range p.Entities {
						got = append(got, e.ID.String()[1:])
					}
					if token = p.Next; token == "" {
						break
					}
				}
				if s := strings.Join(got, " "); s != tt.want {
					t.Errorf("Entities = %s, want %s", s, tt.want)
				}
			})
		}
	}
	if _, err := q.Entities(t.Context(), manage.EntityFilter{}, true, 1, "rubbish"); !errors.Is(err, manage.ErrToken) {
		t.Errorf("Entities with a foreign token = %v, want %v", err, manage.ErrToken)
	}
}

func TestEntity(t *testing.T) {
	q := query(t, memory(entities()))
	at := func(n schema.Ticks) string { return string((t0 + n).AppendTrimmed(nil)) }
	doc := func(name, key, at, rest string) string {
		return `{"entityId":{"name":"` + name + `","key":"` + key + `"},"lastOperationTime":"` + at + `",` + rest + `}`
	}
	const idle = `,"locked_by":null,"suspended":false,"queue_length":0`
	tests := []struct {
		id       schema.EntityID
		want     string // empty: none
		problems []string
	}{
		{schema.EntityID{Name: "a", Key: ""}, doc("a", "", at(1), `"state":[1, 2],"exists":true`+idle), nil},
		{schema.EntityID{Name: "A", Key: "text"}, doc("a", "text", at(7), `"state":"not JSON","exists":true`+idle), nil},
		{schema.EntityID{Name: "a", Key: "TEXT"}, "", nil},
		{schema.EntityID{Name: "a", Key: "deleted"}, doc("a", "deleted", at(3), `"state":null,"exists":false`+idle), nil},
		{schema.EntityID{Name: "a", Key: "fresh"}, doc("a", "fresh", at(4), `"state":null,"exists":false`+idle), nil},
		{
			schema.EntityID{Name: "a", Key: "locked"},
			doc("a", "locked", at(6), `"state":null,"exists":true,"locked_by":"o","suspended":true,"queue_length":1`), nil,
		},
		{schema.EntityID{Name: "a", Key: "damaged"}, doc("a", "damaged", at(2), `"state":null,"exists":true`), []string{`entity "@a@damaged": `}},
		{schema.EntityID{Name: "a", Key: "gone"}, doc("a", "gone", at(5), `"state":null,"exists":true`), []string{`Input of instance "@a@gone": `}},
		{schema.EntityID{Name: "Upper", Key: "k"}, doc("upper", "k", at(8), `"state":2,"exists":true`+idle), nil},
		{schema.EntityID{Name: "nobody"}, "", nil},
	}
	for _, tt := range tests {
		e, err := q.Entity(t.Context(), tt.id)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if e != nil {
			got = string(e.AppendJSON(nil))
			checkProblems(t, e.Problems, tt.problems)
		}
		if got != tt.want {
			t.Errorf("Entity(%s):\n got %s\nwant %s", tt.id, got, tt.want)
		}
	}
	// A name that only exists as it is given.
	only := entities()
	only.Tables[hub.Instances] = only.Tables[hub.Instances][:2]
	if e, err := query(t, memory(only)).Entity(t.Context(), schema.EntityID{Name: "Upper", Key: "k"}); err != nil || e == nil || e.ID.Name != "Upper" {
		t.Errorf("Entity(@Upper@k) = %+v, %v", e, err)
	}
}

// What the messages of all recordings are for, in words.
func TestMessages(t *testing.T) {
	seen := make(map[string]bool)
	for _, rec := range testhub.Recordings {
		r := testhub.OpenHub(t, rec.Name)
		q := query(t, r)
		queues, err := r.Queues(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, queue := range queues {
			position := 0
			for m, err := range q.Messages(t.Context(), queue.Name) {
				if err != nil {
					t.Fatal(err)
				}
				if position++; m.Position != position || m.Problem != nil || m.InstanceID == "" || m.EventType == "" {
					t.Errorf("%s: message %d of %s: %+v", rec.Name, position, queue.Name, m)
				}
				seen[m.Purpose()] = true
			}
		}
	}
	for _, want := range []string{
		"start HelloSequence", "run activity SayHello", "event operation", "terminate", "suspend", "resume", "rewind", "signal Add", "result of task 0",
	} {
		if !seen[want] {
			t.Errorf("no message is to %q; there are %v", want, slices.Sorted(func(yield func(string) bool) {
				for s := range seen {
					if !yield(s) {
						return
					}
				}
			}))
		}
	}
}

func message(instanceID string, e schema.Event) schema.QueueMessage {
	m := schema.Message{
		ActivityID:  "00000000-0000-0000-0000-000000000001",
		TaskMessage: &schema.TaskMessage{Event: e, OrchestrationInstance: schema.OrchestrationInstance{InstanceID: instanceID}},
	}
	return schema.QueueMessage{Queue: "test-control-00", ID: "1", Text: string(m.AppendJSON(nil))}
}

func TestMessage(t *testing.T) {
	wrapper := func(blob string) schema.QueueMessage {
		m := schema.Message{ActivityID: "00000000-0000-0000-0000-000000000000", CompressedBlobName: schema.Some(blob)}
		return schema.QueueMessage{Queue: "test-control-00", ID: "1", Text: string(m.AppendJSON(nil))}
	}
	raised := func(name, input string) *schema.EventRaised {
		return &schema.EventRaised{Name: schema.TextOf(name), Input: schema.TextOf(input)}
	}
	const request = `"id":"x","Timestamp":"","Predecessor":""}`
	stored := message(`i\1`, &schema.ExecutionStarted{Name: schema.TextOf("F")})
	tests := []struct {
		name    string
		stored  schema.QueueMessage
		want    string // purpose, instance, event type, due
		problem string
	}{
		{"scheduled start", message("i", &schema.ExecutionStarted{Name: schema.TextOf("F"), ScheduledStartTime: schema.Some(t0)}), "start F, i, ExecutionStarted, " + t0.String(), ""},
		{"timer", message("i", &schema.TimerFired{TimerID: 7, FireAt: t0}), "timer 7, i, TimerFired, " + t0.String(), ""},
		{"activity", message("i", &schema.TaskScheduled{Name: schema.TextOf("A")}), "run activity A, i, TaskScheduled, ", ""},
		{"failure", message("i", &schema.TaskFailed{TaskScheduledID: 3}), "failure of task 3, i, TaskFailed, ", ""},
		{"child", message("i", &schema.SubOrchestrationCompleted{TaskScheduledID: 3}), "result of sub-orchestration 3, i, SubOrchestrationInstanceCompleted, ", ""},
		{"child failed", message("i", &schema.SubOrchestrationFailed{TaskScheduledID: 3}), "failure of sub-orchestration 3, i, SubOrchestrationInstanceFailed, ", ""},
		{"event called op", message("i", raised("op", "{}")), "event op, i, EventRaised, ", ""},
		{"signal", message("@e@k", raised("op", `{"op":"Add","signal":true,`+request)), "signal Add, @e@k, EventRaised, ", ""},
		{"call", message("@e@k", raised("op", `{"op":"Get",`+request)), "call Get, @e@k, EventRaised, ", ""},
		{"no operation", message("@e@k", raised("op", `{"op":"","signal":true,`+request)), `signal "", @e@k, EventRaised, `, ""},
		{"lock", message("@e@k", raised("op", `{"op":null,"lockset":[{"name":"e","key":"k"}],`+request)), "lock, @e@k, EventRaised, ", ""},
		{"release", message("@e@k", raised("release", `{}`)), "release lock, @e@k, EventRaised, ", ""},
		{"continue", message("@e@k", raised("continue", "")), "entity event continue, @e@k, EventRaised, ", ""},
		{"delayed signal", message("@e@k", raised("op@"+t0.String(), `{"op":"Add","signal":true,`+request)), "signal Add, @e@k, EventRaised, " + t0.String(), ""},
		{"operation that is no JSON", message("@e@k", raised("op", `{`)), "operation, @e@k, EventRaised, ", ""},
		{"no name", message("i", raised("", "")), "event ?, i, EventRaised, ", ""},
		{"not a message", schema.QueueMessage{Queue: "test-control-00", ID: "1", Text: "rubbish"}, "unreadable, , , ", "message 1 of test-control-00: "},
		{"wrapper", wrapper(`i\1/message-x-ExecutionStarted.json.gz`), `start F, i\1, ExecutionStarted, `, ""},
		{"wrapper of nothing", wrapper("j/message-x-EventRaised.json.gz"), "unreadable, j, EventRaised, ", "message 1 of test-control-00: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			q := query(t, memory(hubtest.Content{
				Queues:     []hubtest.Queue{{Name: "test-control-00", Messages: []schema.QueueMessage{tt.stored}}},
				Containers: []hub.Container{{Name: "test-largemessages"}},
				Blobs: []hubtest.Blob{{
					Blob: hub.Blob{Container: "test-largemessages", Name: "i/1/message-x-ExecutionStarted.json.gz"}, Data: gz(t, stored.Text),
				}},
			}))
			for m, err := range q.Messages(t.Context(), "test-control-00") {
				if err != nil {
					t.Fatal(err)
				}
				due := ""
				if m.DueAt != 0 {
					due = m.DueAt.String()
				}
				if got := strings.Join([]string{m.Purpose(), m.InstanceID, m.EventType, due}, ", "); got != tt.want {
					t.Errorf("Messages = %s, want %s", got, tt.want)
				}
				if (m.Problem != nil) != (tt.problem != "") || m.Problem != nil && !strings.HasPrefix(m.Problem.Error(), tt.problem) {
					t.Errorf("problem: %v, want %q", m.Problem, tt.problem)
				}
			}
		})
	}
}

func TestArtifacts(t *testing.T) {
	for _, rec := range testhub.Recordings {
		a, err := manage.ArtifactsOf(t.Context(), testhub.OpenHub(t, rec.Name))
		if err != nil {
			t.Fatal(err)
		}
		if missing := a.Missing(); len(missing) > 0 || a.PartitionCount == 0 {
			t.Errorf("%s: %d partitions, missing %v", rec.Name, a.PartitionCount, missing)
		}
	}
	a := manage.Artifacts{
		Names: hub.Names{TaskHub: "Lab"}, PartitionCount: 2,
		Tables: []string{"LABInstances"}, Queues: []string{"lab-control-01"}, Containers: []string{"lab-leases"},
	}
	want := []string{"LabHistory", "lab-workitems", "lab-control-00", "lab-applease"}
	if diff := cmp.Diff(want, a.Missing()); diff != "" {
		t.Errorf("Missing (-want +got):\n%s", diff)
	}
	if _, err := manage.ArtifactsOf(t.Context(), memory(hubtest.Content{})); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("ArtifactsOf no hub = %v, want %v", err, hub.ErrNotFound)
	}
}

func TestSimilar(t *testing.T) {
	all := []string{"Orders", "OrdersTest", "orders", "Invoices", "Ord", "Oredrs", "Ab"}
	for name, want := range map[string][]string{
		"Orders":  {"Orders", "orders", "Ord", "OrdersTest"},
		"Order":   {"Orders", "orders", "Ord", "OrdersTest"},
		"invoice": {"Invoices"},
		"Ac":      {"Ab"},
		"Nothing": nil,
	} {
		if got := manage.Similar(name, all); !slices.Equal(got, want) {
			t.Errorf("Similar(%s) = %v, want %v", name, got, want)
		}
	}
}

// Whether an app is running, by the leases alone.
func TestRunning(t *testing.T) {
	lease := func(owner string, expires schema.Ticks) schema.Row {
		p := schema.PartitionLease{Queue: "test-control-00", ExpiresAt: schema.Some(expires)}
		if owner != "" {
			p.CurrentOwner = schema.Some(owner)
		}
		return p.Row()
	}
	const second = schema.Ticks(1e7)
	tests := []struct {
		name       string
		partitions []schema.Row
		containers []hub.Container
		want       manage.Running
	}{
		{"nothing", nil, nil, manage.RunningNoSign},
		{"held", []schema.Row{lease("w", t0+second)}, nil, manage.RunningYes},
		{"just ended", []schema.Row{lease("w", t0-59*second)}, nil, manage.RunningMaybe},
		{"ended", []schema.Row{lease("w", t0-60*second)}, nil, manage.RunningNoSign},
		{"given up", []schema.Row{lease("", t0+second)}, nil, manage.RunningNoSign},
		{"app lease", nil, []hub.Container{{Name: "test-applease", LeaseState: "leased"}}, manage.RunningYes},
		{"app lease free", nil, []hub.Container{{Name: "test-applease", LeaseState: "available"}}, manage.RunningNoSign},
		{"another container's lease", nil, []hub.Container{{Name: "test-largemessages", LeaseState: "leased"}}, manage.RunningNoSign},
	}
	for _, tt := range tests {
		c := hubtest.Content{Tables: map[hub.Table][]schema.Row{hub.Partitions: tt.partitions}, Containers: tt.containers}
		o, err := manage.Describe(t.Context(), memory(c), manage.DescribeOptions{Now: t0.Time})
		if err != nil {
			t.Fatal(err)
		}
		if o.Running != tt.want || (len(o.Evidence) == 0) != (tt.want == manage.RunningNoSign) {
			t.Errorf("%s: %s, %q, want %s", tt.name, o.Running, o.Evidence, tt.want)
		}
	}
	var o manage.Overview
	if _, ok := o.Age(t0); ok {
		t.Error("an age without the time of the look")
	}
	o.ObservedAt = t0
	if age, ok := o.Age(t0 - 3*second); !ok || age != 3*time.Second {
		t.Errorf("Age = %v, %v", age, ok)
	}
}
