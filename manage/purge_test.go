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

// editorOf returns an Editor of a recorded hub.
func editorOf(t *testing.T, name string) *testhub.Editor {
	t.Helper()
	return testhub.NewEditor(testhub.ContentOf(t, testhub.OpenHub(t, name)))
}

// traces lists everything of instances that a hub holds besides messages:
// rows of each table by ID, and blobs by folder.
func traces(c hubtest.Content) map[string][]string {
	all := map[string][]string{}
	for _, table := range []hub.Table{hub.Instances, hub.History} {
		for _, row := range c.Tables[table] {
			id := schema.InstanceID(row.PartitionKey)
			all[id] = append(all[id], table.String()+"/"+row.RowKey)
		}
	}
	for _, b := range c.Blobs {
		if b.Container == c.Names.LargeMessages() {
			folder := b.Name[:strings.LastIndexByte(b.Name, '/')]
			all["folder "+folder] = append(all["folder "+folder], b.Name)
		}
	}
	return all
}

func purger(t *testing.T, e *testhub.Editor, o manage.PurgeOptions) *manage.Purger {
	t.Helper()
	p, err := manage.NewPurger(t.Context(), e, e, o)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What a purge deletes is the instance, all of it, and nothing of another.
func TestPurge(t *testing.T) {
	tests := []struct {
		hub, id string
		// folders hold its payloads.
		folders []string
	}{
		{"dtfx-2.9.1", "order-1", []string{"order-1"}}, // not those of order-10
		{"dtfx-2.9.1", `weird/large\id#?`, []string{"weird^0large^1id^2^3", "weird/large/id#?"}},
		{"dtfx-2.9.1", "reused", nil}, // rows of two executions
		{"dtfx-2.9.1", "ünïcode-日本語-😀", nil},
		{"dtfx-2.9.1", "quote'id", nil},
		{"functions-3", "large-out", []string{"large-out"}},
	}
	for _, tt := range tests {
		t.Run(tt.hub+"/"+tt.id, func(t *testing.T) {
			e := editorOf(t, tt.hub)
			before := traces(e.Content())
			if tt.folders != nil && len(before["folder "+tt.folders[0]]) == 0 {
				t.Fatalf("the hub has no payloads in %s", tt.folders[0])
			}
			dry := e.Content()
			p, err := manage.NewPurger(t.Context(), e, nil, manage.PurgeOptions{})
			if err != nil {
				t.Fatal(err)
			}
			planned, err := p.Instance(t.Context(), tt.id)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(traces(dry), traces(e.Content())); d != "" {
				t.Errorf("a plan changed the hub: %s", d)
			}
			done, err := purger(t, e, manage.PurgeOptions{}).Instance(t.Context(), tt.id)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(planned, done); d != "" {
				t.Errorf("the plan is not what was done: (-plan +done)\n%s", d)
			}
			want := map[string][]string{}
			blobs := 0
			for k, v := range before {
				switch folder, ok := strings.CutPrefix(k, "folder "); {
				case ok && slices.Contains(tt.folders, folder):
					blobs += len(v)
				case k != tt.id:
					want[k] = v
				}
			}
			if d := cmp.Diff(want, traces(e.Content())); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			if rows := len(before[tt.id]) - 1; done.Instances != 1 || done.HistoryRows != int64(rows) || done.Blobs != int64(blobs) {
				t.Errorf("counted %+v, want 1 instance, %d rows, %d blobs", done, rows, blobs)
			}
		})
	}
}

// What has not ended stays, unless it is forced.
func TestPurgeNotEnded(t *testing.T) {
	tests := []struct {
		hub, id string
		want    error
	}{
		{"dtfx-2.9.1", "wait-event", manage.ErrNotEnded},
		{"dtfx-2.9.1", "suspended", manage.ErrNotEnded},
		{"dtfx-2.9.1", "scheduled", manage.ErrNotEnded},
		{"functions-3", "@counter@locked", manage.ErrLocked},
		{"functions-3", "@counter@c1", nil}, // idle
		{"dtfx-2.9.1", "terminated", nil},
	}
	for _, tt := range tests {
		e := editorOf(t, tt.hub)
		before := traces(e.Content())
		done, err := purger(t, e, manage.PurgeOptions{}).Instance(t.Context(), tt.id)
		if !errors.Is(err, tt.want) || (tt.want == nil) != (err == nil) {
			t.Errorf("%s: error %v, want %v", tt.id, err, tt.want)
		}
		if tt.want == nil {
			if done.Instances != 1 {
				t.Errorf("%s: %+v, want it to be purged", tt.id, done)
			}
			continue
		}
		if d := cmp.Diff(before, traces(e.Content())); d != "" || !done.Zero() {
			t.Errorf("%s: refused and changed %+v: %s", tt.id, done, d)
		}
		if done, err = purger(t, e, manage.PurgeOptions{Force: true}).Instance(t.Context(), tt.id); err != nil || done.Instances != 1 {
			t.Errorf("%s: with force %+v, error %v", tt.id, done, err)
		}
	}
}

// Wherever a purge ends, doing it again leaves nothing of the instance, and both
// together count what there was.
func TestPurgeKilled(t *testing.T) {
	errKilled := errors.New("killed")
	ids := []string{"order-1", `weird/large\id#?`, "reused", "parent"}
	for stop := 0; ; stop++ {
		e := editorOf(t, "dtfx-2.9.1")
		before := traces(e.Content())
		n := 0
		e.Before = func(string, string) error {
			if n++; n > stop {
				return errKilled
			}
			return nil
		}
		var total manage.Purged
		killed := false
		for range 2 {
			for _, id := range ids {
				done, err := purger(t, e, manage.PurgeOptions{}).Instance(t.Context(), id)
				total.Instances += done.Instances
				total.HistoryRows += done.HistoryRows
				total.Blobs += done.Blobs
				if err != nil {
					if !errors.Is(err, errKilled) {
						t.Fatalf("after %d changes: %v", stop, err)
					}
					killed = true
					break
				}
			}
			e.Before = nil
		}
		want := map[string][]string{}
		var rows, blobs int
		for k, v := range before {
			folder, ok := strings.CutPrefix(k, "folder ")
			switch {
			case ok && (slices.Contains(ids, folder) || strings.HasPrefix(folder, "weird")):
				blobs += len(v)
			case slices.Contains(ids, k):
				rows += len(v) - 1
			default:
				want[k] = v
			}
		}
		if d := cmp.Diff(want, traces(e.Content())); d != "" {
			t.Fatalf("ended after %d changes and done again: (-want +got)\n%s", stop, d)
		}
		if total.Instances != int64(len(ids)) || total.HistoryRows != int64(rows) || total.Blobs != int64(blobs) {
			t.Fatalf("ended after %d changes: counted %+v, want %d instances, %d rows, %d blobs", stop, total, len(ids), rows, blobs)
		}
		if !killed {
			if stop < 10 {
				t.Fatalf("only %d changes", stop)
			}
			return
		}
	}
}

// Whoever changes the instance while it is purged wins.
func TestPurgeRace(t *testing.T) {
	for _, at := range []string{"DeleteBlob", "DeleteRows History", "DeleteRows Instances"} {
		e := editorOf(t, "dtfx-2.9.1")
		changed := false
		e.Before = func(method, what string) error {
			if changed || !strings.HasPrefix(method+" "+what, at) {
				return nil
			}
			changed = true
			for row, err := range e.Rows(t.Context(), hub.Instances, hub.Partition("order-1")) {
				if err != nil {
					t.Fatal(err)
				}
				row.Set("RuntimeStatus", schema.String("Pending"))
				if _, err := e.ReplaceRow(t.Context(), hub.Instances, row); err != nil {
					t.Error(err)
				}
			}
			return nil
		}
		done, err := purger(t, e, manage.PurgeOptions{}).Instance(t.Context(), "order-1")
		if !errors.Is(err, hub.ErrConflict) || done.Instances != 0 {
			t.Errorf("%s: %+v, error %v, want %v", at, done, err, hub.ErrConflict)
		}
		for row, err := range e.Rows(t.Context(), hub.Instances, hub.Partition("order-1")) {
			if s, _ := row.Get("RuntimeStatus").Text(); err != nil || s != "Pending" {
				t.Errorf("%s: the row is %q, error %v", at, s, err)
			}
		}
	}
	// Two purges at once: nothing is left, and nothing counted twice.
	e := editorOf(t, "dtfx-2.9.1")
	rows := len(traces(e.Content())["order-1"]) - 1
	var other manage.Purged
	raced := false
	e.Before = func(method, what string) error {
		if raced || method != "DeleteRows" {
			return nil
		}
		raced = true
		var err error
		other, err = purger(t, e, manage.PurgeOptions{}).Instance(t.Context(), "order-1")
		return err
	}
	done, err := purger(t, e, manage.PurgeOptions{}).Instance(t.Context(), "order-1")
	if err != nil {
		t.Fatal(err)
	}
	if n := done.HistoryRows + other.HistoryRows; n != int64(rows) || done.Instances+other.Instances != 1 {
		t.Errorf("counted %+v and %+v, want %d rows together", done, other, rows)
	}
}

// IDs that differ in / and \ keep the messages for them in one folder.
func TestPurgeSharedFolder(t *testing.T) {
	c := testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1"))
	const id, twin = `weird/large\id#?`, `weird/large/id#?`
	var theirs []string
	for _, b := range slices.Clone(c.Blobs) {
		if name, ok := schema.ParseBlobName(b.Name); ok && name.Message && name.Folder == schema.StoredBlobName(id) {
			b.Name = strings.Replace(b.Name, "/message-", "/message-0", 1)
			text, err := hub.LoadText(t.Context(), testhub.NewMemory(c), b.Container, schema.StoredBlobName(strings.Replace(b.Name, "/message-0", "/message-", 1)), 0)
			if err != nil {
				t.Fatal(err)
			}
			changed := strings.ReplaceAll(text, `"InstanceId":"weird/large\\id#?"`, `"InstanceId":"weird/large/id#?"`)
			if changed == text {
				t.Fatalf("the message in %s does not name the instance", b.Name)
			}
			b.Data = gz(t, changed)
			b.SizeBytes = int64(len(b.Data))
			c.Blobs = append(c.Blobs, b)
			theirs = append(theirs, b.Name)
		}
	}
	c.Sort()
	if len(theirs) == 0 {
		t.Fatal("the hub has no messages in blobs for the instance")
	}
	e := testhub.NewEditor(c)
	if _, err := purger(t, e, manage.PurgeOptions{}).Instance(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	slices.Sort(theirs)
	if d := cmp.Diff(theirs, traces(e.Content())["folder "+schema.StoredBlobName(twin)]); d != "" {
		t.Errorf("of the folder is left: (-want +got)\n%s", d)
	}
}

// History and payloads without a row are purged if that is asked for.
func TestPurgeOrphans(t *testing.T) {
	c := testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1"))
	c.Tables[hub.Instances] = slices.DeleteFunc(slices.Clone(c.Tables[hub.Instances]), func(r schema.Row) bool {
		return r.PartitionKey == "order-1" || r.PartitionKey == "tagged"
	})
	e := testhub.NewEditor(c)
	q := query(t, e)
	var ids []string
	for id, err := range q.OrphanIDs(t.Context(), manage.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if d := cmp.Diff([]string{"order-1", "tagged"}, ids); d != "" {
		t.Errorf("orphans: (-want +got)\n%s", d)
	}
	before := traces(e.Content())
	p := purger(t, e, manage.PurgeOptions{})
	if done, err := p.Instance(t.Context(), "order-1"); err != nil || !done.Zero() {
		t.Errorf("a purge of an instance without a row: %+v, error %v", done, err)
	}
	// "reused" has a row, and order-1 was written this moment.
	if done, err := p.Orphan(t.Context(), "reused", schema.TicksOf(later())); err != nil || !done.Zero() {
		t.Errorf("an instance that has a row: %+v, error %v", done, err)
	}
	if done, err := p.Orphan(t.Context(), "order-1", 0); !errors.Is(err, manage.ErrRecent) || !done.Zero() {
		t.Errorf("recent: %+v, error %v, want %v", done, err, manage.ErrRecent)
	}
	if d := cmp.Diff(before, traces(e.Content())); d != "" {
		t.Errorf("refused and changed: (-want +got)\n%s", d)
	}
	done, err := p.Orphan(t.Context(), "order-1", schema.TicksOf(later()))
	var messages []string
	for _, name := range before["folder order-1"] {
		if strings.Contains(name, "/message-") {
			messages = append(messages, name)
		}
	}
	if err != nil || done.Instances != 0 || done.HistoryRows != int64(len(before["order-1"])) ||
		done.Blobs != int64(len(before["folder order-1"])-len(messages)) || len(messages) == 0 {
		t.Errorf("%+v, error %v", done, err)
	}
	delete(before, "order-1")
	before["folder order-1"] = messages
	if d := cmp.Diff(before, traces(e.Content())); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// A hub that shares its tables purges its own instances only.
func TestPurgeSharedTables(t *testing.T) {
	e := editorOf(t, "shared-tracking-TrackA")
	q := query(t, e)
	for id, err := range q.IDs(t.Context(), manage.Filter{}) {
		if err != nil || !strings.HasPrefix(id, "TrackA-") {
			t.Errorf("lists %q, error %v", id, err)
		}
	}
	before := traces(e.Content())
	for id := range before {
		if strings.HasPrefix(id, "TrackB-") {
			if _, err := purger(t, e, manage.PurgeOptions{Force: true}).Instance(t.Context(), id); err == nil {
				t.Errorf("purged %s", id)
			}
		}
	}
	if d := cmp.Diff(before, traces(e.Content())); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

func TestTree(t *testing.T) {
	q := query(t, testhub.OpenHub(t, "dtfx-2.9.1"))
	for _, tt := range []struct{ root, want string }{
		{"parent", "parent parent:0 parent:1 parent:2"},
		{"parent-waiting", "parent-waiting parent-waiting:wait"},
		{"order-1", "order-1"},
		{"nobody", "nobody"},
	} {
		var ids []string
		for id, err := range q.Tree(t.Context(), tt.root) {
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		if got := strings.Join(ids, " "); got != tt.want {
			t.Errorf("Tree(%q) = %s, want %s", tt.root, got, tt.want)
		}
	}
}

// A family in a circle ends.
func TestTreeCycle(t *testing.T) {
	c := hubtest.Content{Tables: map[hub.Table][]schema.Row{}}
	for i := range 3 {
		h := schema.HistoryRow{
			PartitionKey: fmt.Sprint("p", i), RowKey: schema.FormatSequence(0), ExecutionID: "x",
			Event: &schema.SubOrchestrationCreated{InstanceID: schema.Some(fmt.Sprint("p", (i+1)%3))},
		}
		c.Tables[hub.History] = append(c.Tables[hub.History], h.Row())
	}
	var ids []string
	for id, err := range query(t, memory(c)).Tree(t.Context(), "p1") {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	if got := strings.Join(ids, " "); got != "p1 p2 p0" {
		t.Errorf("Tree = %s, want p1 p2 p0", got)
	}
}

// later is when all recordings have long been taken.
func later() time.Time { return time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC) }

func TestDeleteHub(t *testing.T) {
	for _, name := range []string{"dtfx-2.9.1", "dtfx-2.9.1-blob-leases", "dtfx-1.17.5", "functions-3", "functions-3-after-write-Nowhere", "shared-tracking-TrackA"} {
		t.Run(name, func(t *testing.T) {
			errKilled := errors.New("killed")
			for stop := 0; ; stop++ {
				e := editorOf(t, name)
				n := 0
				e.Before = func(string, string) error {
					if n++; n > stop {
						return errKilled
					}
					return nil
				}
				plan, err := manage.PlanDelete(t.Context(), e, manage.DescribeOptions{Now: later})
				if err != nil {
					t.Fatal(err)
				}
				err = manage.DeleteHub(t.Context(), e, e, plan, false, nil)
				if err != nil && !errors.Is(err, errKilled) {
					t.Fatal(err)
				}
				whole := err == nil
				e.Before = nil
				if !whole {
					again, err := manage.PlanDelete(t.Context(), e, manage.DescribeOptions{Now: later})
					if err == nil {
						err = manage.DeleteHub(t.Context(), e, e, again, false, nil)
					}
					if err != nil && !errors.Is(err, hub.ErrNotFound) {
						t.Fatalf("again after %d changes: %v", stop, err)
					}
				}
				c := e.Content()
				tables := len(c.Tables)
				if strings.HasPrefix(name, "shared") {
					tables -= 2
					if len(plan.Kept) != 2 {
						t.Errorf("kept %v", plan.Kept)
					}
				}
				if tables+len(c.Queues)+len(c.Containers)+len(c.Blobs) != 0 {
					t.Fatalf("left after %d changes: %d tables, %v, %v", stop, tables, c.Queues, c.Containers)
				}
				if whole {
					break
				}
			}
		})
	}
}

// A hub that an app runs stays, unless that is forced: its app lease is broken.
func TestDeleteHubInUse(t *testing.T) {
	info, err := testhub.OpenHub(t, "dtfx-2.9.1-live").Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := editorOf(t, "dtfx-2.9.1-live")
	plan, err := manage.PlanDelete(t.Context(), e, manage.DescribeOptions{Now: info.Finished.Time})
	if err != nil {
		t.Fatal(err)
	}
	if plan.Running != manage.RunningYes || len(plan.Evidence) == 0 {
		t.Errorf("running: %s, %v", plan.Running, plan.Evidence)
	}
	if err := manage.DeleteHub(t.Context(), e, e, plan, false, nil); !errors.Is(err, hub.ErrInUse) {
		t.Errorf("error %v, want %v", err, hub.ErrInUse)
	}
	if edits := e.Edits(); len(edits) > 0 {
		t.Errorf("refused and did %v", edits)
	}
	if err := manage.DeleteHub(t.Context(), e, e, plan, true, nil); err != nil {
		t.Errorf("with force: %v", err)
	}
}

// The folder of an instance is inside that of another if their IDs are so.
func TestPurgeNested(t *testing.T) {
	const container = "test-largemessages"
	message := schema.Message{TaskMessage: &schema.TaskMessage{
		Event: &schema.GenericEvent{}, OrchestrationInstance: schema.OrchestrationInstance{InstanceID: "a/b"},
	}}
	c := hubtest.Content{
		Names:      hub.Names{TaskHub: "Test"},
		Tables:     map[hub.Table][]schema.Row{hub.Instances: {instance("a", "Completed", "F", t0), instance("a/b", "Completed", "F", t0)}},
		Containers: []hub.Container{{Name: container}},
	}
	const theirs, history = "a/b/message-0-GenericEvent.json.gz", "a^0b/history-0-X-0-Result.json.gz"
	for _, name := range []string{"a/message-0-GenericEvent.json.gz", "a/history-0-X-0-Result.json.gz", theirs, history} {
		c.Blobs = append(c.Blobs, hubtest.Blob{Blob: hub.Blob{Container: container, Name: name}, Data: gz(t, string(message.AppendJSON(nil)))})
	}
	e := testhub.NewEditor(c)
	for _, tt := range []struct {
		id   string
		left []string
	}{{"a", []string{theirs, history}}, {"a/b", nil}} {
		if done, err := purger(t, e, manage.PurgeOptions{}).Instance(t.Context(), tt.id); err != nil || done.Blobs != 2 {
			t.Errorf("%s: %+v, error %v, want 2 blobs", tt.id, done, err)
		}
		var left []string
		for _, b := range e.Content().Blobs {
			left = append(left, b.Name)
		}
		if d := cmp.Diff(tt.left, left); d != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.id, d)
		}
	}
}
