package live_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

func openEditor(t testing.TB, cfg live.Config, names hub.Names) *live.Editor {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	return openEditorWith(t, cfg, names, transport)
}

func openEditorWith(t testing.TB, cfg live.Config, names hub.Names, transport http.RoundTripper) *live.Editor {
	t.Helper()
	e, err := live.OpenEditor(t.Context(), cfg, names, live.Options{
		Transport: transport, MaxRetries: 3, RetryDelay: time.Millisecond, MaxRetryDelay: 5 * time.Second, TryTimeout: 20 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func TestEditor(t *testing.T) {
	hubtest.RunEditor(t, func(t testing.TB, c hubtest.Content) hubtest.Edited {
		e := testhub.Azurite(t)
		testhub.Load(t, e, c)
		return openEditor(t, config(t, e), c.Names)
	})
}

// lossy loses the answers to some requests after they were carried out, as a
// connection does that breaks.
type lossy struct {
	next  http.RoundTripper
	match string // part of METHOD path
	times int
}

func (l *lossy) RoundTrip(req *http.Request) (*http.Response, error) {
	if l.times == 0 || !strings.Contains(req.Method+" "+req.URL.Path, l.match) {
		return l.next.RoundTrip(req)
	}
	l.times--
	// The transport may look at the body of a request after it has the answer,
	// when the caller has begun to send it again: it gets one of its own.
	sent := req.Clone(req.Context())
	if req.Body != nil {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		sent.Body = io.NopCloser(bytes.NewReader(body))
	}
	resp, err := l.next.RoundTrip(sent)
	if err != nil {
		return nil, err
	}
	_ = resp.Body.Close() // it is lost
	return nil, errors.New("connection reset by peer")
}

// editHub is a hub with one instance of three history rows.
func editHub(t testing.TB) (*testhub.Emulator, hubtest.Content) {
	t.Helper()
	e := testhub.Azurite(t)
	c := content(hub.Names{TaskHub: "EditFaults"}, 1)
	status := []schema.Property{{Name: "RuntimeStatus", Value: schema.String("Failed")}}
	c.Tables[hub.Instances] = []schema.Row{{PartitionKey: "a", Properties: status}}
	for i := range 3 {
		c.Tables[hub.History] = append(c.Tables[hub.History], schema.Row{PartitionKey: "a", RowKey: schema.FormatSequence(int64(i)), Properties: status})
	}
	c.Containers = append(c.Containers, hub.Container{Name: c.Names.LargeMessages()})
	testhub.Load(t, e, c)
	return e, c
}

// edits are the methods that change something, once each.
var edits = []struct {
	name, match string
	do          func(ctx context.Context, e *live.Editor, instance schema.Row, history []schema.Row) error
}{
	{"insert", "POST", func(ctx context.Context, e *live.Editor, _ schema.Row, _ []schema.Row) error {
		_, err := e.InsertRow(ctx, hub.Instances, schema.Row{PartitionKey: "b", Properties: []schema.Property{{Name: "At", Value: schema.DateTime(639_100_000_000_000_001)}}})
		return err
	}},
	{"replace", "PUT", func(ctx context.Context, e *live.Editor, instance schema.Row, _ []schema.Row) error {
		instance.Set("RuntimeStatus", schema.String("Pending"))
		_, err := e.ReplaceRow(ctx, hub.Instances, instance)
		return err
	}},
	{"merge", "PATCH", func(ctx context.Context, e *live.Editor, instance schema.Row, _ []schema.Row) error {
		instance.Properties = []schema.Property{{Name: "CustomStatus", Value: schema.String("{}")}}
		_, err := e.MergeRow(ctx, hub.Instances, instance)
		return err
	}},
	{"delete a row", "DELETE", func(ctx context.Context, e *live.Editor, instance schema.Row, _ []schema.Row) error {
		return e.DeleteRows(ctx, hub.Instances, []schema.Row{instance})
	}},
	{"delete rows", "$batch", func(ctx context.Context, e *live.Editor, _ schema.Row, history []schema.Row) error {
		return e.DeleteRows(ctx, hub.History, history)
	}},
	{"put and delete a blob", "/b/message.json.gz", func(ctx context.Context, e *live.Editor, _ schema.Row, _ []schema.Row) error {
		b := hub.Blob{Container: "editfaults-largemessages", Name: "b/message.json.gz"}
		return errors.Join(e.PutBlob(ctx, b, []byte("x")), e.DeleteBlob(ctx, b.Container, b.Name))
	}},
	{"put a message", "/messages", func(ctx context.Context, e *live.Editor, _ schema.Row, _ []schema.Row) error {
		return e.PutMessage(ctx, "editfaults-control-00", "{}", 0)
	}},
	{"delete a queue", "DELETE", func(ctx context.Context, e *live.Editor, _ schema.Row, _ []schema.Row) error {
		return e.DeleteQueue(ctx, "editfaults-workitems")
	}},
	{"delete a table", "DELETE", func(ctx context.Context, e *live.Editor, _ schema.Row, _ []schema.Row) error {
		return e.DeleteTable(ctx, hub.History)
	}},
	{"delete a container", "DELETE", func(ctx context.Context, e *live.Editor, _ schema.Row, _ []schema.Row) error {
		return e.DeleteContainer(ctx, "editfaults-largemessages")
	}},
}

// TestEditFaults spoils the first answers to each kind of change: it ends well,
// and storage is as if nothing had happened. Only a message of which the answer
// is lost is there twice.
func TestEditFaults(t *testing.T) {
	for _, tt := range edits {
		// spoilt returns the hub after the change with a fault.
		spoilt := func(t *testing.T, fault string) hubtest.Content {
			emulator, c := editHub(t)
			p := testhub.NewProxy(t, emulator)
			transport := &http.Transport{MaxIdleConnsPerHost: 16}
			t.Cleanup(transport.CloseIdleConnections)
			lose := &lossy{next: transport, match: tt.match}
			e := openEditorWith(t, config(t, &p.Emulator), c.Names, lose)
			instance, history := rowsOf(t, e, hub.Instances)[0], rowsOf(t, e, hub.History)
			switch fault {
			case "throttled":
				p.Inject(testhub.Fault{Kind: testhub.Throttle, RetryAfter: "0", Match: tt.match, Times: 2})
			case "reset":
				p.Inject(testhub.Fault{Kind: testhub.Reset, Match: tt.match, Times: 2})
			case "lost":
				lose.times = 1
			case "lost twice":
				lose.times = 2
			case "cut":
				p.Inject(testhub.Fault{Kind: testhub.Drop, Match: tt.match, Times: 1})
			}
			if err := tt.do(t.Context(), e, instance, history); err != nil {
				t.Fatal(err)
			}
			if n := lose.times; n > 0 {
				t.Errorf("%d answers were not lost", n)
			}
			return testhub.ContentOf(t, e)
		}
		t.Run(tt.name, func(t *testing.T) {
			want := spoilt(t, "none")
			for _, fault := range []string{"throttled", "reset", "lost", "lost twice", "cut"} {
				t.Run(fault, func(t *testing.T) {
					got := spoilt(t, fault)
					if tt.name == "put a message" && strings.HasPrefix(fault, "lost") {
						extra := int64(1 + strings.Count(fault, "twice"))
						q := &got.Queues[0]
						if q.ApproximateCount != 1+extra {
							t.Errorf("%d messages, want %d", q.ApproximateCount, 1+extra)
						}
						q.ApproximateCount, q.Messages = 1, q.Messages[:1]
					}
					hubtest.Compare(t, serviceValues, want, testhub.NewMemory(got))
				})
			}
		})
	}
}

// A request that was repeated for another reason still loses a race.
func TestEditConflictAfterRetry(t *testing.T) {
	emulator, c := editHub(t)
	p := testhub.NewProxy(t, emulator)
	e := openEditor(t, config(t, &p.Emulator), c.Names)
	instance, history := rowsOf(t, e, hub.Instances)[0], rowsOf(t, e, hub.History)
	other := instance.Clone()
	other.Set("Output", schema.String("somebody else's"))
	if _, err := e.ReplaceRow(t.Context(), hub.Instances, other); err != nil {
		t.Fatal(err)
	}
	mark := schema.Row{PartitionKey: "a", RowKey: history[1].RowKey, ETag: history[1].ETag, Properties: other.Properties}
	if _, err := e.MergeRow(t.Context(), hub.History, mark); err != nil {
		t.Fatal(err)
	}
	if _, err := e.InsertRow(t.Context(), hub.Instances, schema.Row{PartitionKey: "b"}); err != nil {
		t.Fatal(err)
	}
	want := testhub.ContentOf(t, e)
	for _, tt := range edits[:5] {
		p.Reset()
		p.Inject(testhub.Fault{Kind: testhub.Throttle, RetryAfter: "0", Match: tt.match, Times: 1})
		err := tt.do(t.Context(), e, instance, history)
		if !errors.Is(err, hub.ErrConflict) {
			t.Errorf("%s: error %v, want ErrConflict", tt.name, err)
		}
		var failed *live.RequestError
		if !errors.As(err, &failed) || failed.Tries != 2 {
			t.Errorf("%s: %v, want 2 tries", tt.name, err)
		}
	}
	hubtest.Compare(t, serviceValues, want, e)
}

// What the credentials do not allow is said, and changes nothing.
func TestEditUnauthorized(t *testing.T) {
	emulator, c := editHub(t)
	cfg := config(t, emulator)
	cfg.Key, cfg.SAS = live.Secret{}, live.NewSecret(emulator.SAS("bqt", "rl"))
	e := openEditor(t, cfg, c.Names)
	want := testhub.ContentOf(t, e)
	instance, history := rowsOf(t, e, hub.Instances)[0], rowsOf(t, e, hub.History)
	for _, tt := range edits {
		if tt.match == "$batch" {
			continue // the emulator does not look at what a transaction does
		}
		if err := tt.do(t.Context(), e, instance, history); !errors.Is(err, hub.ErrUnauthorized) {
			t.Errorf("%s: error %v, want ErrUnauthorized", tt.name, err)
		}
	}
	if url := e.BlobURL("x", "y"); url != emulator.BlobURL+"/x/y" {
		t.Errorf("URL %q of a blob", url)
	}
	hubtest.Compare(t, serviceValues, want, e)
}

// What reads or fills a hub cannot be taken for what changes it.
func TestNoEditors(t *testing.T) {
	for _, v := range []any{new(live.Hub), new(live.Writer), new(snapshot.Reader), new(testhub.Memory)} {
		if _, ok := v.(hub.Editor); ok {
			t.Errorf("%T is an Editor", v)
		}
	}
	if _, ok := any(new(live.Editor)).(hub.Writer); ok {
		t.Error("an Editor is a Writer: it could write over rows that it has not read")
	}
}

// A tracking store is shared: its tables are not this hub's to delete.
func TestEditSharedTables(t *testing.T) {
	emulator := testhub.Azurite(t)
	c := testhub.ContentOf(t, testhub.OpenHub(t, "shared-tracking-TrackA"))
	testhub.Load(t, emulator, c)
	e := openEditor(t, config(t, emulator), c.Names)
	before := emulator.Listing(t)
	for _, table := range []hub.Table{hub.Instances, hub.History} {
		if err := e.DeleteTable(t.Context(), table); !errors.Is(err, hub.ErrInUse) {
			t.Errorf("delete %s: error %v, want ErrInUse", table, err)
		}
	}
	if d := cmp.Diff(before, emulator.Listing(t)); d != "" {
		t.Errorf("the account has changed:\n%s", d)
	}
}

func rowsOf(t testing.TB, r hub.Reader, table hub.Table) []schema.Row {
	t.Helper()
	var rows []schema.Row
	for row, err := range r.Rows(t.Context(), table, hub.Keys{}) {
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row.Clone())
	}
	return rows
}
