package manage_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// only returns what a hub holds of some instances, and its artifacts.
func only(c hubtest.Content, ids ...string) hubtest.Content {
	part := c
	part.Tables = map[hub.Table][]schema.Row{}
	for table, rows := range c.Tables {
		part.Tables[table] = slices.DeleteFunc(slices.Clone(rows), func(r schema.Row) bool {
			return table != hub.Partitions && !slices.Contains(ids, schema.InstanceID(r.PartitionKey))
		})
	}
	part.Blobs = slices.DeleteFunc(slices.Clone(c.Blobs), func(b hubtest.Blob) bool {
		if b.Container != c.Names.LargeMessages() {
			return false
		}
		folder := b.Name[:strings.LastIndexByte(b.Name, '/')]
		return !slices.ContainsFunc(ids, func(id string) bool { return folder == schema.EscapeKey(id) || folder == schema.StoredBlobName(id) })
	})
	return part
}

// purgeAll purges instances with a Purger of its own, and adds up what it counts.
func purgeAll(ctx context.Context, e *live.Editor, ids []string, total *manage.Purged) error {
	p, err := manage.NewPurger(ctx, e, e, manage.PurgeOptions{})
	if err != nil {
		return err
	}
	for _, id := range ids {
		done, err := p.Instance(ctx, id)
		total.Add(&done)
		if err != nil {
			return err
		}
	}
	return nil
}

// A purge that is cut off at any of its requests, before it is carried out or
// before its answer arrives, leaves nothing that a second one does not find, takes
// nothing of other instances, and both together count what there was.
func TestPurgeCut(t *testing.T) {
	ids := []string{"order-1", `weird/large\id#?`, "reused"}
	all := testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1"))
	content := only(all, append(ids, "order-10")...)
	before := traces(content)
	want := map[string][]string{"order-10": before["order-10"], "folder order-10": before["folder order-10"]}
	rows, blobs := 0, 0
	for k, v := range before {
		switch _, folder := strings.CutPrefix(k, "folder "); {
		case strings.HasSuffix(k, "order-10"):
		case folder:
			blobs += len(v)
		default:
			rows += len(v) - 1
		}
	}
	step := 1
	if testing.Short() {
		step = 7
	}
	for _, kind := range []testhub.FaultKind{testhub.Reset, testhub.Drop} {
		for n := 0; ; n += step {
			emulator := testhub.Azurite(t)
			testhub.Load(t, emulator, content)
			proxy := testhub.NewProxy(t, emulator)
			proxy.Inject(testhub.Fault{Kind: kind, After: n})
			cfg, err := live.ParseConnectionString(proxy.ConnectionString())
			if err != nil {
				t.Fatal(err)
			}
			transport := &http.Transport{MaxIdleConnsPerHost: 4}
			e, err := live.OpenEditor(t.Context(), cfg, content.Names, live.Options{Transport: transport, MaxRetries: -1})
			if err != nil {
				t.Fatal(err)
			}
			var first, second manage.Purged
			cut := purgeAll(t.Context(), e, ids, &first)
			transport.CloseIdleConnections()
			again := openLive(t, emulator.ConnectionString(), content.Names)
			if err := purgeAll(t.Context(), again, ids, &second); err != nil {
				t.Fatalf("cut at request %d, again: %v", n, err)
			}
			if d := cmp.Diff(want, traces(testhub.ContentOf(t, again))); d != "" {
				t.Fatalf("cut at request %d: %s", n, d)
			}
			// Of a request whose answer was lost nobody knows whether it was carried
			// out: with that of a transaction, up to 100 rows are not counted.
			first.Add(&second)
			if kind == testhub.Reset && (first.Instances != int64(len(ids)) || first.HistoryRows != int64(rows) || first.Blobs != int64(blobs)) {
				t.Fatalf("cut at request %d: counted %+v, want %d instances, %d rows, %d blobs", n, first, len(ids), rows, blobs)
			}
			if cut == nil {
				if n < 10 {
					t.Fatalf("only %d requests", n)
				}
				break
			}
		}
	}
}

// meddler is a Reader that lets somebody else in before a listing of a table.
type meddler struct {
	hub.Reader
	table hub.Table
	at    int // the listing before which that happens, from 1
	do    func()
}

func (m *meddler) Rows(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	return func(yield func(schema.Row, error) bool) {
		if table == m.table {
			if m.at--; m.at == 0 {
				m.do()
			}
		}
		m.Reader.Rows(ctx, table, keys)(yield)
	}
}

// An instance that is started anew while it is being purged keeps everything of
// its new execution, whenever that happens: history, payloads and row.
func TestPurgeRestarted(t *testing.T) {
	const id = "order-1"
	for _, at := range []struct {
		table hub.Table
		n     int
	}{{hub.Instances, 1}, {hub.History, 1}, {hub.Instances, 2}} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			e := openLive(t, loaded(t, "dtfx-2.9.1", id), hub.Names{TaskHub: "LabHub"})
			restart := func() {
				for row, err := range e.Rows(t.Context(), hub.Instances, hub.Partition(id)) {
					if err != nil {
						t.Fatal(err)
					}
					row.Set("RuntimeStatus", schema.String("Running"))
					row.Set("ExecutionId", schema.String("another"))
					if _, err := e.ReplaceRow(t.Context(), hub.Instances, row); err != nil {
						t.Fatal(err)
					}
				}
				for row, err := range e.Rows(t.Context(), hub.History, hub.Keys{From: id, To: id + "\x00", RowKey: schema.FormatSequence(0)}) {
					if err != nil {
						t.Fatal(err)
					}
					row.Set("ExecutionId", schema.String("another"))
					if _, err := e.ReplaceRow(t.Context(), hub.History, row); err != nil {
						t.Fatal(err)
					}
				}
				b := hub.Blob{Container: "labhub-largemessages", Name: id + "/history-0000000000000001-ExecutionStarted-00000001-Input.json.gz"}
				if err := e.PutBlob(t.Context(), b, gz(t, "x")); err != nil {
					t.Fatal(err)
				}
			}
			before := traces(testhub.ContentOf(t, e))
			before["folder "+id] = append([]string{id + "/history-0000000000000001-ExecutionStarted-00000001-Input.json.gz"}, before["folder "+id]...)
			p, err := manage.NewPurger(t.Context(), &meddler{e, at.table, at.n, restart}, e, manage.PurgeOptions{})
			if err != nil {
				t.Fatal(err)
			}
			done, err := p.Instance(t.Context(), id)
			if !errors.Is(err, manage.ErrNotEnded) || !done.Zero() {
				t.Errorf("%+v, error %v, want %v", done, err, manage.ErrNotEnded)
			}
			if d := cmp.Diff(before, traces(testhub.ContentOf(t, e))); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
		})
	}
}

// loaded loads instances of a recorded hub into an account of its own and returns
// how to connect to it.
func loaded(t *testing.T, name string, ids ...string) string {
	t.Helper()
	emulator := testhub.Azurite(t)
	testhub.Load(t, emulator, only(testhub.ContentOf(t, testhub.OpenHub(t, name)), ids...))
	return emulator.ConnectionString()
}

// A filter that names no status of what has ended deletes nothing. The framework
// takes it for no condition, and deletes everything.
func TestPurgeFilterWithoutEnd(t *testing.T) {
	e := editorOf(t, "dtfx-2.9.1")
	for _, statuses := range [][]schema.Status{{schema.StatusRunning}, {schema.StatusPending, schema.StatusSuspended}, {schema.StatusContinuedAsNew}} {
		n := 0
		for _, err := range purger(t, e, manage.PurgeOptions{}).Matching(t.Context(), manage.Filter{Statuses: statuses}) {
			if n++; !errors.Is(err, manage.ErrNoneEnded) {
				t.Errorf("%v: error %v, want %v", statuses, err, manage.ErrNoneEnded)
			}
		}
		if n != 1 {
			t.Errorf("%v: %d elements", statuses, n)
		}
	}
	for _, statuses := range [][]schema.Status{nil, {schema.StatusRunning, schema.StatusFailed}} {
		n := 0
		for c, err := range purger(t, e, manage.PurgeOptions{}).Matching(t.Context(), manage.Filter{Statuses: statuses}) {
			if err != nil {
				t.Fatal(err)
			}
			if !c.Status.Terminal() || schema.IsEntity(c.InstanceID) {
				t.Errorf("%v: chose %+v", statuses, c)
			}
			n++
		}
		if ended := countEnded(e.Content(), statuses); n != ended || n == 0 {
			t.Errorf("%v: %d chosen, want %d", statuses, n, ended)
		}
	}
}

// countEnded counts rows whose stored status ends an orchestration and is wanted.
func countEnded(c hubtest.Content, wanted []schema.Status) (n int) {
	for _, row := range c.Tables[hub.Instances] {
		s, _ := row.Get("RuntimeStatus").Text()
		if strings.HasPrefix(row.PartitionKey, "@") || !slices.Contains([]string{"Completed", "Failed", "Terminated", "Canceled"}, s) {
			continue
		}
		if len(wanted) == 0 || slices.ContainsFunc(wanted, func(w schema.Status) bool { return w.String() == s }) {
			n++
		}
	}
	return n
}

// A candidate that has changed since it was chosen is looked at again.
func TestPurgeCandidateChanged(t *testing.T) {
	e := editorOf(t, "dtfx-2.9.1")
	failed := func(i *schema.Instance) bool { return i.Status() == schema.StatusFailed }
	p := purger(t, e, manage.PurgeOptions{Select: failed})
	var all []manage.Candidate
	for c, err := range p.Matching(t.Context(), manage.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	if len(all) < 3 {
		t.Fatalf("%d candidates", len(all))
	}
	if err := p.ListFolders(t.Context()); err != nil {
		t.Fatal(err)
	}
	set := func(id, status string) {
		for row, err := range e.Rows(t.Context(), hub.Instances, hub.Partition(id)) {
			if err != nil {
				t.Fatal(err)
			}
			row.Set("RuntimeStatus", schema.String(status))
			if _, err := e.ReplaceRow(t.Context(), hub.Instances, row); err != nil {
				t.Fatal(err)
			}
		}
	}
	set(all[0].InstanceID, "Completed")
	set(all[1].InstanceID, "Failed") // another version, and still to go
	put := hub.Blob{Container: e.Content().Names.LargeMessages(), Name: all[1].InstanceID + "/history-0000000000000003-TaskFailed-00000001-Details.json.gz"}
	if err := e.PutBlob(t.Context(), put, gz(t, "x")); err != nil {
		t.Fatal(err)
	}
	if done, err := p.Candidate(t.Context(), all[0]); !errors.Is(err, manage.ErrNotSelected) || !done.Zero() {
		t.Errorf("%+v, error %v, want %v", done, err, manage.ErrNotSelected)
	}
	if done, err := p.Candidate(t.Context(), all[1]); err != nil || done.Instances != 1 || done.Blobs != 1 {
		t.Errorf("%+v, error %v, want an instance and a blob", done, err)
	}
}

// A worker that writes an instance which is purged by force is told of.
func TestPurgeForcedComesBack(t *testing.T) {
	e := editorOf(t, "dtfx-2.9.1")
	rows := e.Content().Tables[hub.Instances]
	i := slices.IndexFunc(rows, func(r schema.Row) bool { return r.PartitionKey == "wait-event" })
	back := rows[i].Clone()
	p, err := manage.NewPurger(t.Context(), &meddler{e, hub.Instances, 3, func() {
		if _, err := e.InsertRow(t.Context(), hub.Instances, back); err != nil {
			t.Error(err)
		}
	}}, e, manage.PurgeOptions{Force: true})
	if err != nil {
		t.Fatal(err)
	}
	if done, err := p.Instance(t.Context(), "wait-event"); !errors.Is(err, hub.ErrConflict) || done.Instances != 1 {
		t.Errorf("%+v, error %v, want %v", done, err, hub.ErrConflict)
	}
}

// An entity in use stays.
func TestPurgeEntityInUse(t *testing.T) {
	e := editorOf(t, "functions-3")
	var updated schema.Ticks
	for row, err := range e.Rows(t.Context(), hub.Instances, hub.Partition("@counter@c1")) {
		if err != nil {
			t.Fatal(err)
		}
		i, err := schema.DecodeInstance(&row)
		if err != nil {
			t.Fatal(err)
		}
		updated = i.LastUpdatedTime.Value
	}
	for _, tt := range []struct {
		after time.Duration
		want  error
	}{{29 * time.Minute, manage.ErrRecent}, {31 * time.Minute, nil}} {
		now := func() time.Time { return updated.Time().Add(tt.after) }
		p, err := manage.NewPurger(t.Context(), e, nil, manage.PurgeOptions{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Instance(t.Context(), "@counter@c1"); !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
			t.Errorf("%v after its last use: %v, want %v", tt.after, err, tt.want)
		}
	}
}

// Payloads of versions that wrote names in lower case go with the instance that
// names them, and with no other that differs from it in case.
func TestPurgeOldNames(t *testing.T) {
	const blob = "order/history-0000000000000001-executionstarted-input.json.gz"
	row := func(id string) schema.Row {
		r := instance(id, "Completed", "F", t0)
		return r
	}
	history := func(id, names string) schema.Row {
		r := schema.Row{PartitionKey: id, RowKey: schema.FormatSequence(1)}
		if names != "" {
			r.Properties = append(r.Properties, schema.Property{Name: "InputBlobName", Value: schema.String(names)})
		}
		return r
	}
	for _, owner := range []string{"Order", "order"} {
		e := testhub.NewEditor(hubtest.Content{
			Names: hub.Names{TaskHub: "Old"},
			Tables: map[hub.Table][]schema.Row{
				hub.Instances: {row("Order"), row("order")},
				hub.History:   {history("Order", map[string]string{"Order": blob}[owner]), history("order", map[string]string{"order": blob}[owner])},
			},
			Containers: []hub.Container{{Name: "old-largemessages"}},
			Blobs:      []hubtest.Blob{{Blob: hub.Blob{Container: "old-largemessages", Name: blob}}},
		})
		for _, id := range []string{"Order", "order"} {
			done, err := purger(t, e, manage.PurgeOptions{}).Instance(t.Context(), id)
			if want := map[bool]int64{true: 1}[id == owner]; err != nil || done.Blobs != want {
				t.Errorf("named by %s, purge of %s: %+v, error %v; want %d blobs", owner, id, done, err, want)
			}
		}
	}
}

// A history of several parts goes whole, and stops where somebody else comes in.
func TestPurgeLong(t *testing.T) {
	content := func() hubtest.Content {
		c := hubtest.Content{Names: hub.Names{TaskHub: "Long"}, Tables: map[hub.Table][]schema.Row{
			hub.Instances: {instance("long", "Completed", "F", t0)},
		}}
		for i := range int64(11_000) {
			c.Tables[hub.History] = append(c.Tables[hub.History], schema.Row{PartitionKey: "long", RowKey: schema.FormatSequence(i)})
		}
		return c
	}
	e := testhub.NewEditor(content())
	done, err := purger(t, e, manage.PurgeOptions{}).Instance(t.Context(), "long")
	if err != nil || done.HistoryRows != 11_000 || done.Instances != 1 || len(traces(e.Content())) != 0 {
		t.Errorf("%+v, error %v; left %d", done, err, len(traces(e.Content())))
	}
	e = testhub.NewEditor(content())
	p, err := manage.NewPurger(t.Context(), &meddler{e, hub.Instances, 3, func() {
		for row, err := range e.Rows(t.Context(), hub.Instances, hub.Keys{}) {
			if err != nil {
				t.Error(err)
			}
			if _, err := e.ReplaceRow(t.Context(), hub.Instances, row); err != nil {
				t.Error(err)
			}
		}
	}}, e, manage.PurgeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if done, err = p.Instance(t.Context(), "long"); !errors.Is(err, hub.ErrConflict) || done.HistoryRows != 5000 || done.Instances != 0 {
		t.Errorf("changed between the parts: %+v, error %v", done, err)
	}
}

// What is not in the archive in the version that is there stays, whole.
func TestPurgeArchive(t *testing.T) {
	ids := []string{"order-1", "order-10", "reused"}
	connection := loaded(t, "dtfx-2.9.1", append(ids, `weird/large\id#?`, "tagged")...)
	e := openLive(t, connection, hub.Names{TaskHub: "LabHub"})
	before := traces(testhub.ContentOf(t, e))
	part, err := manage.NewSubset(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range append(ids, `weird/large\id#?`) {
		part.Add(id)
	}
	path := t.TempDir() + "/archive.taskhub"
	if err := snapshot.Capture(t.Context(), path, part, snapshot.CaptureOptions{Now: time.Now}); err != nil {
		t.Fatal(err)
	}
	archive, err := snapshot.Open(path, snapshot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	want := map[string][]string{}
	for k, v := range before {
		if k != "tagged" {
			want[k] = v
		}
	}
	if d := cmp.Diff(want, traces(testhub.ContentOf(t, archive))); d != "" {
		t.Errorf("the archive: (-want +got)\n%s", d)
	}
	p, err := manage.NewPurger(t.Context(), e, e, manage.PurgeOptions{Archive: archive})
	if err != nil {
		t.Fatal(err)
	}
	// A row, a row of the history, and a payload are written again.
	for row, err := range e.Rows(t.Context(), hub.Instances, hub.Partition("order-1")) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.ReplaceRow(t.Context(), hub.Instances, row); err != nil {
			t.Fatal(err)
		}
	}
	for row, err := range e.Rows(t.Context(), hub.History, hub.Keys{From: "reused", To: "reused\x00", RowKey: schema.SentinelRowKey}) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.ReplaceRow(t.Context(), hub.History, row); err != nil {
			t.Fatal(err)
		}
	}
	b := hub.Blob{Container: "labhub-largemessages", Name: before["folder order-10"][0]}
	if err := e.PutBlob(t.Context(), b, gz(t, "other")); err != nil {
		t.Fatal(err)
	}
	for _, id := range append(ids, "tagged") {
		if done, err := p.Instance(t.Context(), id); !errors.Is(err, manage.ErrNotArchived) || !done.Zero() {
			t.Errorf("%s: %+v, error %v, want %v", id, done, err, manage.ErrNotArchived)
		}
	}
	if d := cmp.Diff(before, traces(testhub.ContentOf(t, e))); d != "" {
		t.Errorf("refused, and changed: %s", d)
	}
	if done, err := p.Instance(t.Context(), `weird/large\id#?`); err != nil || done.Instances != 1 || done.Blobs != 6 {
		t.Errorf("%+v, error %v", done, err)
	}
	for b, err := range e.Blobs(t.Context(), "labhub-largemessages", "order-1/") {
		if err != nil {
			t.Fatal(err)
		}
		if n, err := p.Payload(t.Context(), b); n != 1 || err != nil {
			t.Errorf("payload %s: %d, error %v", b.Name, n, err)
		}
	}
	if n, err := p.Payload(t.Context(), b); n != 0 || !errors.Is(err, manage.ErrNotArchived) {
		t.Errorf("payload %s: %d, error %v", b.Name, n, err)
	}
}

func TestGenerations(t *testing.T) {
	q := query(t, testhub.OpenHub(t, "dtfx-2.9.1"))
	got, err := q.Generations(t.Context(), "parent")
	if d := cmp.Diff([][]string{{"parent"}, {"parent:0", "parent:1", "parent:2"}}, got); d != "" || err != nil {
		t.Errorf("error %v (-want +got)\n%s", err, d)
	}
}
