package migrate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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

var elsewhere = hub.Names{TaskHub: "Elsewhere"}

// moving are the options of a move to an account, in which it is the time of the
// capture.
func moving(t testing.TB, from hub.Reader, endpoint string) migrate.Options {
	t.Helper()
	info, err := from.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	now := info.Started.Time()
	return migrate.Options{
		Names: elsewhere, Now: func() time.Time { return now },
		BlobURL: func(container, name string) string { return schema.BlobURL(endpoint, container, name) },
	}
}

func TestRunRecorded(t *testing.T) {
	for _, rec := range testhub.Recordings {
		name := rec.Name
		counts := []int{3}
		if name == "dtfx-2.9.1" || name == "dtfx-2.9.1-crashed" || name == "functions-3-after-write" {
			counts = []int{1, 3, 16}
		}
		for _, partitions := range counts {
			t.Run(fmt.Sprintf("%s to %d", name, partitions), func(t *testing.T) {
				from := testhub.OpenHub(t, name)
				e := testhub.Azurite(t)
				to := target(t, e, elsewhere, nil)
				opts := moving(t, from, e.BlobURL)
				opts.Partitions = partitions
				opts.AcceptLost = rec.Uncounted || name == "dtfx-2.9.1-backlog" // 51 messages of one queue, of which a peek shows 32
				plan, err := migrate.Plan(t.Context(), from, to, opts)
				if err != nil {
					t.Fatal(err)
				}
				if listing := e.Listing(t); len(listing) > 0 {
					t.Fatalf("planning has made %q", listing)
				}
				report, err := migrate.Run(t.Context(), from, to, opts)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(plan, report.Plan); diff != "" {
					t.Errorf("plan (-before +run):\n%s", diff)
				}
				pending := items(t, migrate.Pending(t.Context(), from, migrate.PendingOptions{Names: elsewhere, Partitions: partitions}))
				before, after := testhub.ContentOf(t, from), testhub.ContentOf(t, to)
				checkRows(t, &before, &after, pending, e.BlobURL)
				checkBlobs(t, &before, &after)
				checkFresh(t, &after, partitions)
				sent := checkQueues(t, &after, pending, opts.Now())
				if want := int64(len(before.Tables[hub.Instances])); plan.Rows[hub.Instances] != want || report.Rows[hub.Instances] != want {
					t.Errorf("%d rows of Instances are planned, %d written, want %d", plan.Rows[hub.Instances], report.Rows[hub.Instances], want)
				}
				if want := int64(len(before.Tables[hub.History])); plan.Rows[hub.History] != want || report.Rows[hub.History] != want {
					t.Errorf("%d rows of History are planned, %d written, want %d", plan.Rows[hub.History], report.Rows[hub.History], want)
				}
				if report.Messages != sent || report.Plan.LostItems > 0 {
					t.Errorf("%d messages, want %d; %d lost", report.Messages, sent, report.Plan.LostItems)
				}
			})
		}
	}
}

// checkRows compares tables, with what changes written down here once more.
func checkRows(t *testing.T, before, after *hubtest.Content, pending []migrate.Item, endpoint string) {
	t.Helper()
	edits := make(map[string]string)
	for _, i := range pending {
		if i.Edit != nil {
			edits[i.Edit.PartitionKey+"/"+i.Edit.RowKey] = i.Edit.RowKey
		}
	}
	container := "/" + before.Names.LargeMessages() + "/"
	for _, table := range []hub.Table{hub.Instances, hub.History} {
		want, got := before.Tables[table], after.Tables[table]
		if len(want) != len(got) {
			t.Fatalf("%s has %d rows, want %d", table, len(got), len(want))
		}
		for n := range want {
			row := want[n].Clone()
			switch {
			case table == hub.Instances:
				if row.Get("TaskHubName").Type() == schema.TypeString {
					row.Set("TaskHubName", schema.String("Elsewhere"))
				}
				for _, column := range []string{"Input", "Output"} {
					if text, _ := row.Get(column).Text(); strings.HasPrefix(text, "http://127.0.0.1") && strings.Contains(text, container) {
						_, name, _ := strings.Cut(text, container)
						row.Set(column, schema.String(endpoint+"/elsewhere-largemessages/"+name))
					}
				}
			case edits[row.PartitionKey+"/"+row.RowKey] != "":
				delete(edits, row.PartitionKey+"/"+row.RowKey)
				kind, _ := row.Get("EventType").Text()
				row.Set("EventType", schema.String("GenericEvent"))
				row.Set("Reason", schema.String("Rewound: "+kind))
			}
			if got[n].PartitionKey != row.PartitionKey || got[n].RowKey != row.RowKey || !schema.SameProperties(&row, &got[n]) {
				t.Errorf("%s: row %v, want %v", table, got[n], row)
			}
		}
	}
	if len(edits) > 0 {
		t.Errorf("rows that redrive work are not in history: %v", edits)
	}
}

func checkBlobs(t *testing.T, before, after *hubtest.Content) {
	t.Helper()
	large := func(c *hubtest.Content) map[string]string {
		all := make(map[string]string)
		for _, b := range c.Blobs {
			if b.Container == c.Names.LargeMessages() {
				all[b.Name] = string(b.Data)
			}
		}
		return all
	}
	if diff := cmp.Diff(large(before), large(after)); diff != "" {
		t.Errorf("large messages (-source +target):\n%s", diff)
	}
}

// checkFresh checks what tells of workers.
func checkFresh(t *testing.T, c *hubtest.Content, partitions int) {
	t.Helper()
	rows := c.Tables[hub.Partitions]
	if len(rows) != partitions || c.PartitionCount != partitions {
		t.Errorf("%d rows of Partitions, want %d", len(rows), partitions)
	}
	for n, row := range rows {
		if owner := row.Get("CurrentOwner"); row.RowKey != fmt.Sprintf("elsewhere-control-%02d", n) || owner.Type() == schema.TypeString {
			t.Errorf("partition %d is %s of %v", n, row.RowKey, owner)
		}
	}
	for _, b := range c.Blobs {
		if b.Container != c.Names.LargeMessages() && (b.Name != "elsewhere-appleaseinfo" || string(b.Data) != "{}") {
			t.Errorf("blob %s/%s holds %s", b.Container, b.Name, b.Data)
		}
	}
}

// checkQueues checks what can be seen of the queues and what they count, and
// returns the number of all messages.
func checkQueues(t *testing.T, c *hubtest.Content, pending []migrate.Item, now time.Time) int64 {
	t.Helper()
	const peeked = 32
	visible, counts := make(map[string][]string), make(map[string]int64)
	all := int64(0)
	for _, i := range pending {
		if i.Queue == "" {
			continue
		}
		all++
		counts[i.Queue]++
		if i.DueAt.Time().Sub(now) < time.Second && len(visible[i.Queue]) < peeked {
			visible[i.Queue] = append(visible[i.Queue], i.Text)
		}
	}
	for _, q := range c.Queues {
		var texts []string
		for _, m := range q.Messages {
			texts = append(texts, m.Text)
			if m.ExpiresAt.Time().Year() != 9999 {
				t.Errorf("message %s expires %s", m.ID, m.ExpiresAt)
			}
		}
		if diff := cmp.Diff(visible[q.Name], texts); diff != "" {
			t.Errorf("queue %s (-want +got):\n%s", q.Name, diff)
		}
		if q.ApproximateCount != counts[q.Name] {
			t.Errorf("queue %s holds %d messages, want %d", q.Name, q.ApproximateCount, counts[q.Name])
		}
		delete(counts, q.Name)
	}
	if len(counts) > 0 {
		t.Errorf("queues are missing: %v", counts)
	}
	return all
}

// state is what of a hub counts.
func state(t testing.TB, r hub.Reader) []string {
	t.Helper()
	c := testhub.ContentOf(t, r)
	var lines []string
	for table, rows := range c.Tables {
		for _, row := range rows {
			row.Timestamp, row.ETag = 0, ""
			lines = append(lines, table.String()+" "+string(row.AppendJSON(nil)))
		}
	}
	for _, b := range c.Blobs {
		lines = append(lines, fmt.Sprintf("%s/%s %x %s", b.Container, b.Name, b.Data, b.ContentType))
	}
	slices.Sort(lines)
	for _, q := range c.Queues {
		lines = append(lines, fmt.Sprintf("%s %d", q.Name, q.ApproximateCount))
		for _, m := range q.Messages {
			lines = append(lines, m.Text)
		}
	}
	return lines
}

// stopping cancels a context before the n-th request.
type stopping struct {
	left  atomic.Int64
	count atomic.Int64
	stop  func()
}

func (s *stopping) RoundTrip(req *http.Request) (*http.Response, error) {
	s.count.Add(1)
	if s.left.Add(-1) < 0 {
		s.stop()
	}
	return http.DefaultTransport.RoundTrip(req)
}

// A run that is stopped at any request is finished by another one, and nothing is
// there twice.
func TestRunResumes(t *testing.T) {
	from := testhub.OpenHub(t, "dtfx-2.9.1-crashed")
	options := func(t *testing.T) migrate.Options {
		// All targets have one address, so that their rows can be compared.
		opts := moving(t, from, "http://127.0.0.1:1/account")
		opts.Partitions, opts.Concurrency, opts.Manager = 3, 4, migrate.SafeBlobManager
		return opts
	}
	whole := &stopping{stop: func() {}}
	to := target(t, testhub.Azurite(t), elsewhere, whole)
	if _, err := migrate.Run(t.Context(), from, to, options(t)); err != nil {
		t.Fatal(err)
	}
	requests := whole.count.Load()
	want := state(t, to)
	errStop := errors.New("stopped by the test")
	for k := range int64(13) {
		n := 1 + k*(requests-2)/12
		t.Run(fmt.Sprintf("request %d of %d", n, requests), func(t *testing.T) {
			e := testhub.Azurite(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			s := &stopping{stop: func() { cancel(errStop) }}
			s.left.Store(n)
			opts, file := options(t), new(journalFile)
			opts.Journal = file.read(t)
			if _, err := migrate.Run(ctx, from, target(t, e, elsewhere, s), opts); !errors.Is(err, errStop) {
				t.Fatalf("Run that is stopped = %v, want %v", err, errStop)
			}
			again := target(t, e, elsewhere, nil)
			opts.Resume, opts.Journal = true, file.read(t)
			if _, err := migrate.Run(t.Context(), from, again, opts); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, state(t, again)); diff != "" {
				t.Errorf("the hub (-undisturbed +resumed):\n%s", diff)
			}
		})
	}
}

// altered is a capture of which some things are different.
type altered struct {
	hub.Reader
	info  func(*hub.Info)
	peeks atomic.Int64
}

func (a *altered) Info(ctx context.Context) (hub.Info, error) {
	info, err := a.Reader.Info(ctx)
	if a.info != nil {
		a.info(&info)
	}
	return info, err
}

// Messages shows nothing when a queue is looked at a second time.
func (a *altered) Messages(ctx context.Context, queue string) iter.Seq2[schema.QueueMessage, error] {
	if a.peeks.Add(1) > 5 { // four control queues and the work items
		return func(func(schema.QueueMessage, error) bool) {}
	}
	return a.Reader.Messages(ctx, queue)
}

func stopped(context.Context, hub.Reader) ([]string, error) { return nil, nil }

// What comes into sight of a live hub during the run, or goes out of it, changes
// nothing any more.
func TestRunLiveMessages(t *testing.T) {
	capture := testhub.OpenHub(t, "dtfx-2.9.1-crashed")
	e := testhub.Azurite(t)
	to := target(t, e, elsewhere, nil)
	opts := moving(t, capture, e.BlobURL)
	opts.Running = stopped
	from := &altered{Reader: capture, info: func(i *hub.Info) { i.Started, i.Finished = 0, 0 }}
	if _, err := migrate.Run(t.Context(), from, to, opts); err != nil {
		t.Fatal(err)
	}
	pending := items(t, migrate.Pending(t.Context(), capture, migrate.PendingOptions{Names: elsewhere}))
	before, after := testhub.ContentOf(t, capture), testhub.ContentOf(t, to)
	checkRows(t, &before, &after, pending, e.BlobURL)
	checkQueues(t, &after, pending, opts.Now())
}

// A live hub becomes what a capture of it becomes, and is only read.
func TestRunLiveSource(t *testing.T) {
	for _, name := range []string{"dtfx-2.9.1-crashed", "functions-3-after-write"} {
		t.Run(name, func(t *testing.T) {
			capture := testhub.OpenHub(t, name)
			opts := moving(t, capture, "http://127.0.0.1:1/account")
			opts.Partitions, opts.Running = 3, stopped
			want := target(t, testhub.Azurite(t), elsewhere, nil)
			if _, err := migrate.Run(t.Context(), capture, want, opts); err != nil {
				t.Fatal(err)
			}
			e := testhub.Azurite(t)
			testhub.Load(t, e, testhub.ContentOf(t, capture))
			cfg, err := live.ParseConnectionString(e.ConnectionString())
			if err != nil {
				t.Fatal(err)
			}
			from, err := live.Open(t.Context(), cfg, names(t, capture), live.Options{Transport: testhub.ReadOnly(t, http.DefaultTransport)})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = from.Close() }()
			to := target(t, testhub.Azurite(t), elsewhere, nil)
			if _, err := migrate.Run(t.Context(), from, to, opts); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(state(t, want), state(t, to)); diff != "" {
				t.Errorf("the hub (-of the capture +of the live hub):\n%s", diff)
			}
			opts.Running = nil
			if _, err := migrate.Plan(t.Context(), from, to, opts); err == nil {
				t.Error("a live hub is planned for without looking whether it runs")
			}
		})
	}
}

// sentinels checks that a sentinel is written after the history that it ends.
type sentinels struct {
	*live.Writer
	t *testing.T

	mu      sync.Mutex
	written map[string]int
	checked int
}

func (s *sentinels) PutRows(ctx context.Context, table hub.Table, rows []schema.Row) error {
	err := s.Writer.PutRows(ctx, table, rows)
	s.mu.Lock()
	defer s.mu.Unlock()
	key := rows[0].PartitionKey
	if table != hub.History || err != nil {
		return err
	}
	if s.written[key] < 0 {
		s.t.Errorf("history of %s is written after its sentinel", key)
	}
	s.written[key] += len(rows)
	if rows[len(rows)-1].IsSentinel() {
		if s.written[key] > len(rows) {
			s.checked++
		}
		s.written[key] = -1 << 40
	}
	return nil
}

func TestSentinelLast(t *testing.T) {
	from := testhub.OpenHub(t, "dtfx-2.9.1-torn")
	e := testhub.Azurite(t)
	to := &sentinels{Writer: target(t, e, elsewhere, nil), t: t, written: make(map[string]int)}
	if _, err := migrate.Run(t.Context(), from, to, moving(t, from, e.BlobURL)); err != nil {
		t.Fatal(err)
	}
	if to.checked == 0 {
		t.Error("no history took more than one transaction")
	}
}

func TestRunRefuses(t *testing.T) {
	for _, tt := range []struct {
		name, hub string
		change    func(t *testing.T, o *migrate.Options, c *hubtest.Content)
		there     bool // the target exists
		want      migrate.RefusalCode
		is        error
	}{
		{name: "a running source", hub: "dtfx-2.9.1", want: migrate.RefusedRunning, is: hub.ErrInUse, change: func(_ *testing.T, o *migrate.Options, _ *hubtest.Content) {
			o.Running = func(context.Context, hub.Reader) ([]string, error) { return []string{"a lease is held"}, nil }
		}},
		{name: "a target that exists", hub: "dtfx-2.9.1", there: true, want: migrate.RefusedExists, is: migrate.ErrExists},
		{
			name: "a running target", hub: "dtfx-2.9.1", there: true, want: migrate.RefusedTarget, is: hub.ErrInUse,
			change: func(_ *testing.T, o *migrate.Options, _ *hubtest.Content) {
				o.Resume = true
				o.Running = func(ctx context.Context, r hub.Reader) ([]string, error) {
					info, err := r.Info(ctx)
					if info.Names == elsewhere {
						return []string{"a lease is held"}, err
					}
					return nil, err
				}
			},
		},
		{name: "lost work", hub: "dtfx-2.9.1-backlog", want: migrate.RefusedLost, change: func(_ *testing.T, o *migrate.Options, c *hubtest.Content) {
			o.WithoutQueues = true
			c.Blobs = nil
		}},
		{name: "a large blob", hub: "dtfx-2.9.1", want: migrate.RefusedBlob, change: func(_ *testing.T, o *migrate.Options, _ *hubtest.Content) { o.MaxBlobBytes = 100 }},
		{name: "a timer of next month", hub: "dtfx-2.9.1", want: migrate.RefusedDelay, change: func(_ *testing.T, o *migrate.Options, _ *hubtest.Content) {
			at := o.Now().Add(-30 * 24 * time.Hour)
			o.Now = func() time.Time { return at }
		}},
		{name: "something unreadable", hub: "dtfx-2.9.1", want: migrate.RefusedUnreadable, change: func(_ *testing.T, _ *migrate.Options, c *hubtest.Content) {
			c.Unreadable = []hub.Unreadable{{Artifact: "queues", Reason: "403"}}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			capture := testhub.OpenHub(t, tt.hub)
			e := testhub.Azurite(t)
			opts := moving(t, capture, e.BlobURL)
			opts.Running = stopped
			content := testhub.ContentOf(t, capture)
			if tt.change != nil {
				tt.change(t, &opts, &content)
			}
			if tt.there {
				e.CreateQueues(t, "elsewhere-workitems")
			}
			if opts.Resume {
				begun := opts
				begun.Running = stopped
				opts.Journal = begunJournal(t, testhub.NewMemory(content), begun).read(t)
			}
			before := e.Listing(t)
			cfg, err := live.ParseConnectionString(e.ConnectionString())
			if err != nil {
				t.Fatal(err)
			}
			to, err := live.OpenWriter(t.Context(), cfg, elsewhere, live.Options{Transport: testhub.ReadOnly(t, http.DefaultTransport)})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = to.Close() }()
			report, err := migrate.Run(t.Context(), testhub.NewMemory(content), to, opts)
			var refused *migrate.RefusedError
			if !errors.As(err, &refused) {
				t.Fatalf("Run = %v, want a refusal", err)
			}
			for _, r := range refused.Refusals {
				if r.Code != tt.want || r.Detail == "" {
					t.Errorf("refused because of %s: %s; want %s", r.Code, r.Detail, tt.want)
				}
			}
			if tt.is != nil && !errors.Is(err, tt.is) {
				t.Errorf("%v is not %v", err, tt.is)
			}
			if tt.want == migrate.RefusedLost && (report.Plan.LostItems == 0 || report.Plan.Lost[0].InstanceID == "") {
				t.Errorf("the plan names %v", report.Plan.Lost)
			}
			if diff := cmp.Diff(before, e.Listing(t)); diff != "" {
				t.Errorf("the account changed:\n%s", diff)
			}
		})
	}
}

// Rows that the source does not have keep the messages from being sent.
func TestRunDiffers(t *testing.T) {
	from := testhub.OpenHub(t, "functions-3-after-write")
	e := testhub.Azurite(t)
	e.CreateTables(t, "ElsewhereInstances")
	e.Insert(t, "ElsewhereInstances", []schema.Row{{PartitionKey: "stranger", Properties: []schema.Property{prop("Name", "x")}}})
	e.CreateQueues(t, "elsewhere-workitems")
	e.Post(t, "elsewhere-workitems", "stays", 0)
	to := target(t, e, elsewhere, nil)
	opts := moving(t, from, e.BlobURL)
	opts.Resume, opts.Journal = true, begunJournal(t, from, opts).read(t)
	report, err := migrate.Run(t.Context(), from, to, opts)
	want := []migrate.Difference{{Artifact: "Instances", Key: "stranger/", Kind: migrate.KindUnexpected}}
	if !errors.Is(err, migrate.ErrDiffers) || !cmp.Equal(want, report.Differences) {
		t.Errorf("Run = %v with %v, want %v", err, report.Differences, want)
	}
	if diff := cmp.Diff(map[string][]string{"elsewhere-workitems": {"stays"}}, messages(t, to)); diff != "" {
		t.Errorf("messages (-want +got):\n%s", diff)
	}
}

// A message that is too large for a queue is made in a blob; one that is none goes
// as it is.
func TestRunOddMessages(t *testing.T) {
	capture := testhub.OpenHub(t, "dtfx-2.9.1-backlog")
	content := testhub.ContentOf(t, capture)
	// Without its message blob, the start of this instance is made of its row.
	row := &content.Tables[hub.Instances][0]
	input := `"` + strings.Repeat("€", 20_000) + `"`
	row.Set("Input", schema.String(input))
	for n := range content.Queues {
		content.Queues[n].Messages, content.Queues[n].ApproximateCount = nil, 0
	}
	bodies := []string{"no message", "bm9uZSBlaXRoZXI="} // of which one is Base64
	for n, body := range bodies {
		content.Queues[0].Messages = append(content.Queues[0].Messages, schema.QueueMessage{Queue: content.Queues[0].Name, ID: fmt.Sprint(n), Text: body})
	}
	content.Queues[0].ApproximateCount = int64(len(bodies))
	from := testhub.NewMemory(content)
	e := testhub.Azurite(t)
	opts := moving(t, capture, e.BlobURL)
	opts.Running, opts.Encoding = stopped, schema.Base64
	file := new(journalFile)
	for _, resume := range []bool{false, true} {
		if resume { // as if it had been killed before the queues were counted
			at := bytes.LastIndex(file.text, []byte(`{"type":"ended","at":`))
			file.text = file.text[:at]
		}
		opts.Resume, opts.Journal = resume, file.read(t)
		to := target(t, e, elsewhere, nil)
		report, err := migrate.Run(t.Context(), from, to, opts)
		if err != nil {
			t.Fatalf("%v, with %v", err, report)
		}
		var odd []string
		large := 0
		for queue, texts := range messages(t, to) {
			for _, text := range texts {
				if slices.Contains(bodies, text) {
					odd = append(odd, text)
					continue
				}
				m, err := hub.LoadMessage(t.Context(), to, elsewhere.LargeMessages(), &schema.QueueMessage{Queue: queue, Text: text}, 0)
				if err != nil {
					t.Errorf("message %.100s: %v", text, err)
					continue
				}
				if _, enc, _ := schema.MessageText(text); enc != schema.Base64 {
					t.Errorf("message %.100s is not Base64", text)
				}
				if m.Blob != "" && bytes.Contains([]byte(m.JSON), []byte(strings.Repeat("€", 20_000))) {
					large++
				}
			}
		}
		slices.Sort(odd)
		if diff := cmp.Diff([]string{"bm9uZSBlaXRoZXI=", "no message"}, odd); diff != "" || large != 1 {
			t.Errorf("resumed: %t: %d large messages, odd ones (-want +got):\n%s", resume, large, diff)
		}
	}
}
