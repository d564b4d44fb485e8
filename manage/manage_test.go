package manage_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
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
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

func Example() {
	ctx := context.Background()
	r, err := snapshot.Open("../testdata/hubs/dtfx-2.9.1.taskhub", snapshot.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Close()
	q, err := manage.New(ctx, r, manage.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	failed := manage.Filter{Statuses: []schema.Status{schema.StatusFailed}}
	page, err := q.List(ctx, failed, manage.ShowOutput, 2, "")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, s := range page.States {
		fmt.Println(s.Row.ID(), s.Row.Status())
	}
	// Output:
	// fail-activity Failed
	// fail-orchestrator Failed
}

const t0 = schema.Ticks(638_000_000_000_000_000)

func instance(id string, status string, name string, created schema.Ticks) schema.Row {
	i := schema.Instance{
		PartitionKey: schema.EscapeKey(id), ExecutionID: schema.Some("e1"), Name: schema.TextOf(name),
		RuntimeStatus: schema.Some(status), Input: schema.TextOf(`"in"`), Output: schema.TextOf(`"out"`),
	}
	if created != 0 {
		i.CreatedTime = schema.Some(created)
	}
	return i.Row()
}

func memory(c hubtest.Content) *testhub.Memory {
	c.Names = hub.Names{TaskHub: "Test"}
	return testhub.NewMemory(c)
}

func query(t *testing.T, r hub.Reader) *manage.Query {
	t.Helper()
	q, err := manage.New(t.Context(), r, manage.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

func TestList(t *testing.T) {
	q := query(t, memory(hubtest.Content{Tables: map[hub.Table][]schema.Row{hub.Instances: {
		instance("!first", "Completed", "F", t0),
		instance("@counter@a", "Running", "@counter@a", t0),
		instance("@counter@b", "Running", "@counter@b", t0+5),
		instance("A", "Failed", "F", t0+1),
		instance("a/b", "Completed", "G", t0+2),
		instance("a/c", "Pending", "G", 0),
		instance("a^b", "Odd", "F", t0+3),
		instance("日本", "Completed", "F", t0+4),
	}}}))
	tests := []struct {
		name   string
		filter manage.Filter
		want   []string
	}{
		{"all", manage.Filter{}, []string{"!first", "@counter@a", "@counter@b", "A", "a/b", "a/c", "a^b", "日本"}},
		{"no entities", manage.Filter{NoEntities: true}, []string{"!first", "A", "a/b", "a/c", "a^b", "日本"}},
		{"status", manage.Filter{Statuses: []schema.Status{schema.StatusCompleted, schema.StatusPending}}, []string{"!first", "a/b", "a/c", "日本"}},
		{"name", manage.Filter{Names: []string{"G"}}, []string{"a/b", "a/c"}},
		{"created from", manage.Filter{CreatedFrom: t0 + 2}, []string{"@counter@b", "a/b", "a^b", "日本"}},
		{"created to", manage.Filter{CreatedTo: t0 + 1}, []string{"!first", "@counter@a", "A"}},
		{"prefix", manage.Filter{IDPrefix: "a/"}, []string{"a/b", "a/c"}},
		{"prefix that is escaped", manage.Filter{IDPrefix: "a^"}, []string{"a^b"}},
		{"prefix of entities", manage.Filter{IDPrefix: "@counter@"}, []string{"@counter@a", "@counter@b"}},
		{"entities but no entities", manage.Filter{IDPrefix: "@", NoEntities: true}, nil},
		{"prefix below entities", manage.Filter{IDPrefix: "!", NoEntities: true}, []string{"!first"}},
		{"prefix above entities", manage.Filter{IDPrefix: "a", NoEntities: true}, []string{"a/b", "a/c", "a^b"}},
		{"nothing", manage.Filter{IDPrefix: "zz"}, nil},
	}
	for _, tt := range tests {
		for _, top := range []int{0, 1, 2, 3, 100} {
			t.Run(fmt.Sprintf("%s, top %d", tt.name, top), func(t *testing.T) {
				var got []string
				var token manage.Token
				for pages := 0; ; pages++ {
					if pages > 10 {
						t.Fatal("the list does not end")
					}
					p, err := q.List(t.Context(), tt.filter, manage.ShowNone, top, token)
					if err != nil {
						t.Fatal(err)
					}
					if len(p.States) > max(top, 1) {
						t.Fatalf("a page of %d", len(p.States))
					}
					for _, s := range p.States {
						got = append(got, s.Row.ID())
					}
					if token = p.Next; token == "" {
						break
					}
					if !token.Valid() {
						t.Fatalf("token %q is not valid", token)
					}
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("List = %q, want %q", got, tt.want)
				}
			})
		}
	}
}

func TestForeignToken(t *testing.T) {
	q := query(t, memory(hubtest.Content{Tables: map[hub.Table][]schema.Row{hub.Instances: nil}}))
	for _, token := range []manage.Token{"rubbish", "!", "ZmFpbGluZy0x ", manage.Token(base64.RawURLEncoding.EncodeToString([]byte("pk:")))} {
		if _, err := q.List(t.Context(), manage.Filter{}, manage.ShowAll, 1, token); !errors.Is(err, manage.ErrToken) || token.Valid() {
			t.Errorf("List(%q) = %v, valid %v, want %v", token, err, token.Valid(), manage.ErrToken)
		}
	}
}

func gz(t *testing.T, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What a row does not have, what is damaged in it, and texts in blobs that are
// there, gone and broken.
func TestInstance(t *testing.T) {
	url := func(blob string) string { return schema.BlobURL("https://old.example/", "test-largemessages", blob) }
	blobs := schema.Instance{
		PartitionKey: "blobs", Input: schema.TextOf(url("blobs/in.json.gz")), Output: schema.TextOf(url("blobs/gone.json.gz")),
		Tags: schema.TextOf(`{"a":"1"}`),
	}
	broken := schema.Instance{PartitionKey: "broken", Input: schema.TextOf(url("broken/in.json.gz"))}
	damaged := schema.Row{PartitionKey: "damaged", Properties: []schema.Property{
		{Name: "CreatedTime", Value: schema.String("yesterday")},
		{Name: "Tags", Value: schema.String("not JSON")},
		{Name: "Name", Value: schema.String("line\u2028\u0085")},
	}}
	q := query(t, memory(hubtest.Content{
		Tables: map[hub.Table][]schema.Row{hub.Instances: {
			{PartitionKey: "bare"}, blobs.Row(), broken.Row(), damaged,
		}},
		Containers: []hub.Container{{Name: "test-largemessages"}},
		Blobs: []hubtest.Blob{
			{Blob: hub.Blob{Container: "test-largemessages", Name: "blobs/in.json.gz"}, Data: gz(t, `"large"`)},
			{Blob: hub.Blob{Container: "test-largemessages", Name: "broken/in.json.gz"}, Data: []byte("not gzip")},
		},
	}))
	bare := `{"CompletedTime":"0001-01-01T00:00:00","CompressedSize":0,"CreatedTime":"0001-01-01T00:00:00","Input":null,` +
		`"LastUpdatedTime":"0001-01-01T00:00:00","Name":null,"OrchestrationInstance":{"InstanceId":"bare","ExecutionId":null},` +
		`"OrchestrationStatus":-1,"Output":null,"ParentInstance":null,"Size":0,"Status":null,"Tags":null,"Version":null,` +
		`"Generation":0,"ScheduledStartTime":null,"FailureDetails":null}`
	tests := []struct {
		id       string
		show     manage.Show
		has      []string
		problems []string
	}{
		{"bare", manage.ShowAll, []string{bare}, nil},
		{"blobs", manage.ShowAll, []string{`"Input":"\"large\""`, `"Output":null`, `"Tags":{"a":"1"}`}, []string{`Output of instance "blobs": `}},
		{"blobs", manage.ShowInput, []string{`"Input":"\"large\""`, `"Output":null`}, nil},
		{"blobs", manage.ShowNone, []string{`"Input":null`, `"Output":null`}, nil},
		{"broken", manage.ShowAll, []string{`"Input":null`}, []string{`Input of instance "broken": `}},
		{
			"damaged", manage.ShowAll,
			[]string{`"CreatedTime":"0001-01-01T00:00:00"`, `"Tags":"not JSON"`, `"Name":"line\u2028\u0085"`},
			[]string{"damaged/.CreatedTime: "},
		},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s, show %d", tt.id, tt.show), func(t *testing.T) {
			s, err := q.Instance(t.Context(), tt.id, tt.show)
			if err != nil || s == nil {
				t.Fatalf("Instance(%q) = %v, %v", tt.id, s, err)
			}
			got := string(s.AppendJSON(nil))
			if !json.Valid([]byte(got)) {
				t.Errorf("not JSON: %s", got)
			}
			for _, want := range tt.has {
				if !strings.Contains(got, want) {
					t.Errorf("AppendJSON = %s, want %s in it", got, want)
				}
			}
			checkProblems(t, s.Problems, tt.problems)
		})
	}
	if s, err := q.Instance(t.Context(), "nobody", manage.ShowAll); s != nil || err != nil {
		t.Errorf("Instance of nobody = %v, %v, want nothing", s, err)
	}
}

func checkProblems(t *testing.T, got []error, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("problems %v, want %d", got, len(want))
		return
	}
	for i := range want {
		if !strings.HasPrefix(got[i].Error(), want[i]) {
			t.Errorf("problem %q, want %q…", got[i], want[i])
		}
	}
}

func eventRow(key string, n int64, execution string, e schema.Event) schema.Row {
	h := schema.HistoryRow{PartitionKey: key, RowKey: schema.FormatSequence(n), ExecutionID: execution, Event: e}
	return h.Row()
}

func TestHistory(t *testing.T) {
	head := schema.EventHeader{EventID: -1, Timestamp: t0}
	started := &schema.OrchestratorStarted{EventHeader: head}
	sentinel := func(key, execution string) schema.Row {
		s := schema.Sentinel{PartitionKey: key, ExecutionID: schema.Some(execution)}
		return s.Row()
	}
	unknown := eventRow("unknown", 0, "e1", started)
	unknown.Set("EventType", schema.String("Novel"))
	unknown.Set("Fancy", schema.Int64(7))
	damaged := eventRow("damaged", 0, "e1", &schema.TaskCompleted{EventHeader: head, TaskScheduledID: 1, Result: schema.TextOf("1")})
	damaged.Set("TaskScheduledId", schema.String("one"))
	large := &schema.TaskCompleted{EventHeader: head, TaskScheduledID: 1}
	large.Result.Blob = "large/gone.json.gz"
	q := query(t, memory(hubtest.Content{Tables: map[hub.Table][]schema.Row{hub.History: {
		eventRow("tail", 0, "e2", started), eventRow("tail", 1, "e1", started), eventRow("tail", 2, "e2", started), sentinel("tail", "e2"),
		eventRow("replaced", 0, "e1", started), sentinel("replaced", "e2"),
		eventRow("no sentinel", 0, "e1", started), eventRow("no sentinel", 1, "e1", started),
		sentinel("only sentinel", "e1"),
		unknown, damaged, eventRow("large", 0, "e1", large),
	}}}))
	const ts = `"IsPlayed":false,"Timestamp":"2022-09-28T22:13:20Z"`
	begun := `{"EventType":"OrchestratorStarted","EventId":-1,` + ts + `}`
	tests := []struct {
		id       string
		want     []string
		problems []string
	}{
		{"tail", []string{begun}, nil},
		{"replaced", nil, nil},
		{"no sentinel", []string{begun, begun}, nil},
		{"only sentinel", nil, nil},
		{"nobody", nil, nil},
		{"unknown", []string{`{"EventType":"Novel","EventId":-1,` + ts + `,"Fancy":"7"}`}, nil},
		{"damaged", []string{`{"EventType":"TaskCompleted","TaskScheduledId":0,"Result":"1","EventId":-1,` + ts + `}`}, []string{`history of "damaged": damaged/0000000000000000.TaskScheduledId: `}},
		{"large", []string{`{"EventType":"TaskCompleted","TaskScheduledId":1,"Result":null,"EventId":-1,` + ts + `}`}, []string{`Result of event 0 of instance "large": `}},
	}
	for _, tt := range tests {
		t.Run(tt.id, func(t *testing.T) {
			var got []string
			var problems []error
			for e, err := range q.History(t.Context(), tt.id) {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, string(e.AppendJSON(nil)))
				problems = append(problems, e.Problems...)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("History (-want +got):\n%s", diff)
			}
			checkProblems(t, problems, tt.problems)
		})
	}
}

func TestDescribe(t *testing.T) {
	lease := func(name, content string) hubtest.Blob {
		return hubtest.Blob{
			Blob: hub.Blob{Container: "test-leases", Name: name, SizeBytes: int64(len(content)), LeaseState: "leased"}, Data: []byte(content),
		}
	}
	partition := schema.PartitionLease{Queue: "test-control-00", CurrentOwner: schema.Some("w1"), ExpiresAt: schema.Some(t0)}
	o, err := manage.Describe(t.Context(), memory(hubtest.Content{
		Tables: map[hub.Table][]schema.Row{
			hub.Instances: {
				instance("@counter@a", "Running", "@counter@a", t0), instance("@counter@b", "Running", "counter", t0),
				instance("a", "Completed", "F", t0-1), instance("b", "Odd", "F", 0),
				{PartitionKey: "c"},
				{PartitionKey: "d", Properties: []schema.Property{{Name: "CreatedTime", Value: schema.Int32(1)}}},
			},
			hub.Partitions: {partition.Row()},
		},
		Queues: []hubtest.Queue{{Name: "test-control-00", ApproximateCount: 3, Messages: []schema.QueueMessage{
			{Queue: "test-control-00", ID: "1", InsertedAt: t0 + 1}, {Queue: "test-control-00", ID: "2", InsertedAt: t0},
		}}},
		Containers: []hub.Container{{Name: "test-applease"}, {Name: "test-leases", LeaseState: "available"}},
		Blobs: []hubtest.Blob{
			{Blob: hub.Blob{Container: "test-applease", Name: "test-appleaseinfo", SizeBytes: 2}, Data: []byte(`{"OwnerId":"app"}`)},
			lease("default/test-control-00", `{"PartitionId":"test-control-00","Owner":"w2","Token":null,"Epoch":1}`),
			lease("intent/test-control-00", `{`),
			lease("taskhub.json", `{}`),
		},
	}), manage.DescribeOptions{Now: func() time.Time { return (t0 + 5*schema.Ticks(1e7)).Time() }})
	if err != nil {
		t.Fatal(err)
	}
	checkProblems(t, o.Problems, []string{"blob test-leases/intent/test-control-00: "})
	o.Problems, o.Hub = nil, hub.Info{}
	want := &manage.Overview{
		Instances: manage.InstanceCounts{
			Orchestrations: 4, Entities: 2, Undecodable: 1,
			ByStatus: map[schema.Status]int64{schema.StatusCompleted: 1, schema.StatusUnknown: 3},
			ByFunction: []manage.FunctionCounts{
				{Name: "", Total: 2, ByStatus: map[schema.Status]int64{schema.StatusUnknown: 2}},
				{Name: "F", Total: 2, ByStatus: map[schema.Status]int64{schema.StatusCompleted: 1, schema.StatusUnknown: 1}},
				{Name: "counter", Entity: true, Total: 2, ByStatus: map[schema.Status]int64{schema.StatusRunning: 2}},
			},
			FirstCreated: t0 - 1,
		},
		Queues: []manage.QueueCounts{{Queue: hub.Queue{Name: "test-control-00", ApproximateCount: 3}, Seen: 2, OldestInserted: t0}},
		Containers: []manage.ContainerCounts{
			{Container: hub.Container{Name: "test-applease"}, Blobs: 1, SizeBytes: 2},
			{Container: hub.Container{Name: "test-leases", LeaseState: "available"}, Blobs: 3, SizeBytes: 72},
		},
		Partitions: []manage.Partition{
			{Queue: "test-control-00", Source: "partitions-table", Owner: "w1", ExpiresAt: t0},
			{Queue: "test-control-00", Source: "default", Owner: "w2", LeaseState: "leased"},
		},
		AppLease: "app", ObservedAt: t0 + 5e7, Running: manage.RunningYes,
		Evidence: []string{"leases of partitions held: 1", "leases of partitions that ended less than 60 s before: 1"},
	}
	if diff := cmp.Diff(want, o); diff != "" {
		t.Errorf("Describe (-want +got):\n%s", diff)
	}
}

func TestErrors(t *testing.T) {
	none := memory(hubtest.Content{})
	if _, err := manage.New(t.Context(), none, manage.Options{}); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("New of no hub: %v, want %v", err, hub.ErrNotFound)
	}
	if _, err := manage.Describe(t.Context(), none, manage.DescribeOptions{}); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("Describe of no hub: %v, want %v", err, hub.ErrNotFound)
	}
	r := testhub.OpenHub(t, "dtfx-2.9.1")
	q := query(t, r)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q.Instance(ctx, "order-1", manage.ShowAll); !errors.Is(err, context.Canceled) {
		t.Errorf("Instance, cancelled: %v", err)
	}
	if _, err := q.List(ctx, manage.Filter{}, manage.ShowAll, 1, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("List, cancelled: %v", err)
	}
	for _, err := range q.History(ctx, "order-1") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("History, cancelled: %v", err)
		}
	}
	if _, err := manage.Describe(ctx, r, manage.DescribeOptions{}); !errors.Is(err, context.Canceled) {
		t.Errorf("Describe, cancelled: %v", err)
	}
}
