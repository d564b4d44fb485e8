package diff_test

import (
	"context"
	"crypto/md5" // what the Blob service keeps of each blob
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/diff"
	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// found is a difference in short, to compare and to write down.
type found struct {
	Dataset diff.Dataset
	Kind    diff.Kind
	What    string
	Columns string // NAME: a -> b, in order
}

func short(d *diff.Difference) found {
	f := found{Dataset: d.Dataset, Kind: d.Kind, What: d.Artifact}
	switch d.Dataset {
	case diff.Containers, diff.Queues:
	case diff.Messages:
		f.What += " for " + d.InstanceID
	default:
		f.What += "/" + d.Key()
	}
	for _, c := range d.Columns {
		f.Columns += fmt.Sprintf("%s: %v -> %v; ", c.Name, c.A, c.B)
	}
	return f
}

// differences returns how two hubs differ, and fails t if they cannot be compared
// or if the stream does not keep to the rules of streams.
func differences(t testing.TB, a, b hub.Reader, opts diff.Options) []found {
	t.Helper()
	all := []found{}
	for d, err := range diff.Hubs(t.Context(), a, b, opts) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, short(&d))
	}
	return all
}

func same(t testing.TB, what string, want, got []found) {
	t.Helper()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s (-want +got):\n%.6000s", what, d)
	}
}

// sorted returns found in an order of its own, for lists that were made in another.
func sorted(all []found) []found {
	slices.SortFunc(all, func(a, b found) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return all
}

func memory(c hubtest.Content) *testhub.Memory { return testhub.NewMemory(c) }

// reversed is a list as it must be with the hubs exchanged.
func reversed(all []diff.Difference) []found {
	out := []found{}
	for _, d := range all {
		switch d.Kind {
		case diff.Added:
			d.Kind = diff.Removed
		case diff.Removed:
			d.Kind = diff.Added
		}
		d.Columns = slices.Clone(d.Columns)
		for i := range d.Columns {
			d.Columns[i].A, d.Columns[i].B = d.Columns[i].B, d.Columns[i].A
		}
		out = append(out, short(&d))
	}
	return out
}

// withoutHubs replaces the names of both hubs, as what both have is named after
// the first.
func withoutHubs(t testing.TB, all []found, hubs ...hub.Reader) []found {
	t.Helper()
	var names []string
	for _, h := range hubs {
		info, err := h.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, info.Names.TaskHub, "HUB", strings.ToLower(info.Names.TaskHub), "HUB")
	}
	replacer := strings.NewReplacer(names...)
	all = slices.Clone(all)
	for i := range all {
		if all[i].Kind == diff.Changed {
			all[i].What = replacer.Replace(all[i].What)
			if all[i].Dataset == diff.Messages {
				_, all[i].What, _ = strings.Cut(all[i].What, " ") // its queue is that of the first
			}
		}
	}
	return all
}

// mirrored fails t unless exchanging the hubs exchanges the differences.
func mirrored(t testing.TB, a, b hub.Reader, opts diff.Options) {
	t.Helper()
	var all []diff.Difference
	for d, err := range diff.Hubs(t.Context(), a, b, opts) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, d)
	}
	same(t, "the hubs exchanged", withoutHubs(t, reversed(all), a, b), withoutHubs(t, differences(t, b, a, opts), a, b))
}

// exact compares all that there is.
var exact = diff.Options{Owners: true, ServiceValues: true}

// A hub does not differ from itself, whatever is compared and whichever reader
// reads it.
func TestItself(t *testing.T) {
	for _, rec := range testhub.Recordings {
		t.Run(rec.Name, func(t *testing.T) {
			a, b := testhub.OpenHub(t, rec.Name), testhub.OpenHub(t, rec.Name)
			same(t, "with itself", []found{}, differences(t, a, a, exact))
			same(t, "with another reader", []found{}, differences(t, a, b, exact))
			same(t, "names mapped", []found{}, differences(t, a, b, diff.Options{Names: diff.MapNames}))
			if rec.Name == "dtfx-2.9.1-bulk" && testing.Short() {
				return
			}
			content := testhub.ContentOf(t, a)
			c, err := diff.Open(t.Context(), a, memory(content), exact)
			if err != nil {
				t.Fatal(err)
			}
			for d, err := range c.Differences(t.Context()) {
				t.Errorf("capture against its content: %+v, %v", d, err)
			}
			messages := 0
			for _, q := range content.Queues {
				messages += len(q.Messages)
			}
			want := []diff.Count{
				{Dataset: diff.Instances, Compared: int64(len(content.Tables[hub.Instances]))},
				{Dataset: diff.History, Compared: int64(len(content.Tables[hub.History]))},
				{Dataset: diff.Partitions, Compared: int64(len(content.Tables[hub.Partitions]))},
				{Dataset: diff.Containers, Compared: int64(len(content.Containers))},
				{Dataset: diff.Blobs, Compared: int64(len(content.Blobs))},
				{Dataset: diff.Queues, Compared: int64(len(content.Queues))},
				{Dataset: diff.Messages, Compared: int64(messages)},
			}
			if d := cmp.Diff(want, c.Counts()); d != "" {
				t.Errorf("what was compared (-want +got):\n%s", d)
			}
		})
	}
}

// inTwoTables lists how rows differ with maps, to check the walk with.
func inTwoTables(a, b hubtest.Content, table hub.Table, dataset diff.Dataset) []found {
	rows := func(c hubtest.Content) map[string]schema.Row {
		m := map[string]schema.Row{}
		for _, r := range c.Tables[table] {
			m[r.PartitionKey+"/"+r.RowKey] = r
		}
		return m
	}
	x, y := rows(a), rows(b)
	out := []found{}
	for key, r := range x {
		other, ok := y[key]
		f := found{Dataset: dataset, Kind: diff.Removed, What: a.Names.Table(table) + "/" + key}
		if ok {
			f.Kind = diff.Changed
			names := map[string]bool{}
			for _, p := range slices.Concat(r.Properties, other.Properties) {
				names[p.Name] = true
			}
			for _, name := range slices.Sorted(maps.Keys(names)) {
				if v, w := r.Get(name), other.Get(name); v.Type() != w.Type() || v.String() != w.String() {
					f.Columns += fmt.Sprintf("%s: %v -> %v; ", name, v, w)
				}
			}
			if f.Columns == "" {
				continue
			}
		}
		out = append(out, f)
	}
	for key := range y {
		if _, ok := x[key]; !ok {
			out = append(out, found{Dataset: dataset, Kind: diff.Added, What: b.Names.Table(table) + "/" + key})
		}
	}
	return out
}

// inTwoBlobLists does the same with blobs.
func inTwoBlobLists(a, b hubtest.Content) []found {
	blobs := func(c hubtest.Content) map[string]string {
		m := map[string]string{}
		for _, b := range c.Blobs {
			m[b.Container+"/"+b.Name] = string(b.Data)
		}
		return m
	}
	x, y := blobs(a), blobs(b)
	out := []found{}
	for name, data := range x {
		switch other, ok := y[name]; {
		case !ok:
			out = append(out, found{Dataset: diff.Blobs, Kind: diff.Removed, What: name})
		case len(data) != len(other):
			out = append(out, found{Dataset: diff.Blobs, Kind: diff.Changed, What: name, Columns: fmt.Sprintf("size_bytes: %d -> %d; ", len(data), len(other))})
		case data != other:
			out = append(out, found{diff.Blobs, diff.Changed, name, fmt.Sprintf("content: md5:%x -> md5:%x; ", md5.Sum([]byte(data)), md5.Sum([]byte(other)))})
		}
	}
	for name := range y {
		if _, ok := x[name]; !ok {
			out = append(out, found{Dataset: diff.Blobs, Kind: diff.Added, What: name})
		}
	}
	return out
}

// The framework's purge of order-1, and of the instance with a name that had to be
// escaped, took their rows and blobs, and those blobs of order-10 whose names begin
// as theirs do: recorded in hub dtfx-2.9.1-purge-damaged, whose rows and blobs
// besides are those of dtfx-2.9.1.
func TestPurged(t *testing.T) {
	before, after := testhub.OpenHub(t, "dtfx-2.9.1"), testhub.OpenHub(t, "dtfx-2.9.1-purge-damaged")
	a := testhub.ContentOf(t, before)
	want := []found{}
	for table, dataset := range map[hub.Table]diff.Dataset{hub.Instances: diff.Instances, hub.History: diff.History} {
		for _, r := range a.Tables[table] {
			if r.PartitionKey == "order-1" || r.PartitionKey == "weird^0large^1id^2^3" {
				want = append(want, found{Dataset: dataset, Kind: diff.Removed, What: "LabHub" + table.String() + "/" + r.PartitionKey + "/" + r.RowKey})
			}
		}
	}
	if len(want) != 20 { // two instances of 9 history rows each
		t.Errorf("%d rows of purged instances in the recording, want 20", len(want))
	}
	for _, blob := range a.Blobs {
		if strings.HasPrefix(blob.Name, "order-1") { // as the framework's purge lists them
			want = append(want, found{Dataset: diff.Blobs, Kind: diff.Removed, What: blob.Container + "/" + blob.Name})
		}
	}
	if len(want) != 32 {
		t.Errorf("%d rows and blobs, want 20 and 12", len(want))
	}
	rowsAndBlobs := diff.Options{Only: []diff.Dataset{diff.Instances, diff.History, diff.Partitions, diff.Containers, diff.Blobs}}
	same(t, "purged", sorted(want), sorted(differences(t, before, after, rowsAndBlobs)))
	mirrored(t, before, after, diff.Options{})
}

// Any two recordings differ as maps of their rows and blobs do.
func TestRecorded(t *testing.T) {
	for _, names := range [][2]string{
		{"functions-3", "functions-3-after-write"},
		{"functions-3-after-write", "functions-3-after-js"},
		{"dtfx-2.9.1", "dtfx-2.9.1-purge-damaged"},
		{"dtfx-2.9.1-crashed", "dtfx-2.9.1-torn"},
		{"shared-tracking-TrackA", "shared-tracking-TrackB"},
		{"dtfx-1.17.5", "dtfx-2.9.1"},
	} {
		t.Run(names[0]+" "+names[1], func(t *testing.T) {
			x, y := testhub.OpenHub(t, names[0]), testhub.OpenHub(t, names[1])
			a, b := testhub.ContentOf(t, x), testhub.ContentOf(t, y)
			opts := diff.Options{Owners: true, Names: diff.KeepNames, Ignore: []string{"content_type", "metadata"}}
			want := slices.Concat(inTwoTables(a, b, hub.Instances, diff.Instances), inTwoTables(a, b, hub.History, diff.History),
				inTwoTables(a, b, hub.Partitions, diff.Partitions))
			if len(want) == 0 {
				t.Error("the recordings have the same rows: nothing is tested")
			}
			opts.Only = []diff.Dataset{diff.Instances, diff.History, diff.Partitions}
			same(t, "rows", sorted(want), sorted(differences(t, x, y, opts)))
			opts.Only = []diff.Dataset{diff.Blobs}
			documents := func(f found) bool {
				return strings.Contains(f.What, "-leases/") || strings.Contains(f.What, "-applease/")
			}
			// The documents of leases are compared by their members.
			same(t, "blobs", sorted(slices.DeleteFunc(inTwoBlobLists(a, b), documents)), sorted(slices.DeleteFunc(differences(t, x, y, opts), documents)))
			for _, opts := range []diff.Options{{}, {Names: diff.KeepNames}, exact} {
				mirrored(t, x, y, opts)
			}
		})
	}
}

// edits are changes to a hub that are noted down as they are made.
type edits struct {
	rand *rand.Rand
	a, b hubtest.Content
	want []found
	used map[string]bool
}

// row returns the index of a row that no edit has touched.
func (e *edits) row(table hub.Table) (int, bool) {
	rows := e.b.Tables[table]
	for range 10 {
		if len(rows) == 0 {
			return 0, false
		}
		i := e.rand.IntN(len(rows))
		if key := fmt.Sprint(table, rows[i].PartitionKey, "/", rows[i].RowKey); !e.used[key] {
			e.used[key] = true
			return i, true
		}
	}
	return 0, false
}

func (e *edits) note(d diff.Dataset, k diff.Kind, what, columns string) {
	e.want = append(e.want, found{d, k, what, columns})
}

var datasetOf = map[hub.Table]diff.Dataset{hub.Instances: diff.Instances, hub.History: diff.History, hub.Partitions: diff.Partitions}

func (e *edits) editRow() {
	table := hub.Tables[e.rand.IntN(len(hub.Tables))]
	i, ok := e.row(table)
	if !ok {
		return
	}
	rows := e.b.Tables[table]
	r := &rows[i]
	what := e.b.Names.Table(table) + "/" + r.PartitionKey + "/" + r.RowKey
	switch e.rand.IntN(5) {
	case 0:
		e.note(datasetOf[table], diff.Removed, what, "")
		e.b.Tables[table] = slices.Delete(rows, i, i+1)
	case 1:
		added := r.Clone()
		added.RowKey += "!"
		e.note(datasetOf[table], diff.Added, what+"!", "")
		e.used[fmt.Sprint(table, added.PartitionKey, "/", added.RowKey)] = true
		e.b.Tables[table] = append(rows, added)
	case 2:
		e.note(datasetOf[table], diff.Changed, what, "Another: absent -> 7; ")
		r.Set("Another", schema.Int64(7))
	case 3: // the type only
		if v, ok := r.Get("EventId").Int(); ok && r.Get("EventId").Type() == schema.TypeInt32 {
			e.note(datasetOf[table], diff.Changed, what, fmt.Sprintf("EventId: %d -> %d; ", v, v))
			r.Set("EventId", schema.Int64(v))
		}
	case 4: // what does not count: the order of columns, and what the service sets
		slices.Reverse(r.Properties)
		r.Timestamp, r.ETag = r.Timestamp+1, r.ETag+"x"
		r.Set("LastRenewal", r.Get("LastRenewal"))
	}
}

func (e *edits) editBlob() {
	if len(e.b.Blobs) == 0 {
		return
	}
	i := e.rand.IntN(len(e.b.Blobs))
	b := &e.b.Blobs[i]
	what := b.Container + "/" + b.Name
	if e.inQueue(b.Name) { // a change of the message, which TestMessageContent makes
		return
	}
	if e.used[what] || b.Container != e.b.Names.LargeMessages() || len(b.Data) == 0 {
		return
	}
	e.used[what] = true
	switch e.rand.IntN(4) {
	case 0:
		e.note(diff.Blobs, diff.Removed, what, "")
		e.b.Blobs = slices.Delete(e.b.Blobs, i, i+1)
	case 1:
		added := *b
		added.Name += "!"
		e.used[added.Container+"/"+added.Name] = true
		e.note(diff.Blobs, diff.Added, what+"!", "")
		e.b.Blobs = append(e.b.Blobs, added)
	case 2: // a byte of the same length, no MD5 any more
		old := md5.Sum(b.Data)
		b.Data = slices.Clone(b.Data)
		b.Data[e.rand.IntN(len(b.Data))] ^= 1
		b.ContentMD5 = nil
		e.note(diff.Blobs, diff.Changed, what, fmt.Sprintf("content: md5:%x -> md5:%x; ", old, md5.Sum(b.Data)))
	case 3: // what does not count
		b.CreatedAt, b.LastModified, b.ContentMD5, b.LeaseState = b.CreatedAt+1, b.LastModified+1, nil, "leased"
	}
}

// inQueue reports whether a message stands for a blob.
func (e *edits) inQueue(blob string) bool {
	for _, q := range e.a.Queues {
		for _, m := range q.Messages {
			if body, _, err := schema.MessageText(m.Text); err == nil && strings.Contains(body, blob[strings.LastIndexByte(blob, '/')+1:]) {
				return true
			}
		}
	}
	return false
}

// message returns the body of a message to an instance.
func message(id string, n int) string {
	m := schema.Message{ActivityID: fmt.Sprintf("00000000-0000-0000-0000-%012d", n), TaskMessage: &schema.TaskMessage{
		Event:                 &schema.EventRaised{EventHeader: schema.EventHeader{EventID: -1}, Name: schema.TextOf("go"), Input: schema.TextOf(fmt.Sprint(n))},
		OrchestrationInstance: schema.OrchestrationInstance{InstanceID: id},
	}, Sender: &schema.OrchestrationInstance{}}
	return string(m.AppendJSON(nil))
}

func (e *edits) editQueue(n int) {
	if len(e.b.Queues) == 0 {
		return
	}
	q := &e.b.Queues[e.rand.IntN(len(e.b.Queues))]
	if e.rand.IntN(2) == 0 || len(q.Messages) == 0 {
		id := fmt.Sprintf("new-%d", n)
		q.Messages = slices.Insert(slices.Clone(q.Messages), e.rand.IntN(len(q.Messages)+1), schema.QueueMessage{ID: id, Text: message(id, n)})
		q.ApproximateCount++
		e.note(diff.Messages, diff.Added, q.Name+" for "+id, "")
		return
	}
	// What does not count: the order, and all that the service sets.
	q.Messages = slices.Clone(q.Messages)
	e.rand.Shuffle(len(q.Messages), func(i, j int) { q.Messages[i], q.Messages[j] = q.Messages[j], q.Messages[i] })
	for i := range q.Messages {
		m := &q.Messages[i]
		m.ID, m.InsertedAt, m.ExpiresAt, m.DequeueCount = m.ID+"x", m.InsertedAt+1, m.ExpiresAt+1, m.DequeueCount+1
		if body, enc, err := schema.MessageText(m.Text); err == nil {
			m.Text = schema.EncodeBody([]byte(body), 1-enc)
		}
	}
}

// Random edits to a recorded hub are what is reported, no more and no less.
func TestEdits(t *testing.T) {
	for _, name := range []string{"dtfx-2.9.1-crashed", "dtfx-2.9.1-backlog", "functions-3-after-write", "dtfx-1.17.5", "dtfx-2.9.1-odd"} {
		t.Run(name, func(t *testing.T) {
			original := testhub.OpenHub(t, name)
			reported := 0
			for seed := range uint64(12) {
				e := edits{want: []found{}, rand: rand.New(rand.NewPCG(seed, 5)), used: map[string]bool{}}
				e.a, e.b = testhub.ContentOf(t, original), testhub.ContentOf(t, original)
				counts := map[string]int64{}
				for _, q := range e.b.Queues {
					counts[q.Name] = q.ApproximateCount
				}
				for n := range e.rand.IntN(40) {
					switch e.rand.IntN(4) {
					case 0, 1:
						e.editRow()
					case 2:
						e.editBlob()
					case 3:
						e.editQueue(n)
					}
				}
				for _, q := range e.b.Queues {
					if was := counts[q.Name]; was != q.ApproximateCount {
						e.note(diff.Queues, diff.Changed, q.Name, fmt.Sprintf("approximate_count: %d -> %d; ", was, q.ApproximateCount))
					}
				}
				a, b := memory(e.a), memory(e.b)
				same(t, fmt.Sprintf("seed %d", seed), sorted(slices.Clone(e.want)), sorted(differences(t, a, b, diff.Options{})))
				if seed%4 == 0 {
					mirrored(t, a, b, diff.Options{})
					mirrored(t, a, b, exact)
				}
				reported += len(e.want)
			}
			if reported < 60 {
				t.Errorf("%d edits in all: too few to tell", reported)
			}
		})
	}
}

// small is a hub with something in each dataset.
func small() hubtest.Content {
	names := hub.Names{TaskHub: "One"}
	url := "https://first.blob.core.windows.net/one-largemessages/a/message-1-ExecutionStarted.json.gz"
	c := hubtest.Content{
		Names: names, Account: "first", PartitionCount: 2, PartitionCountFrom: hub.FromPartitionsTable,
		Tables: map[hub.Table][]schema.Row{
			hub.Instances: {
				{PartitionKey: "a", Timestamp: 5, ETag: "e", Properties: []schema.Property{
					{Name: "TaskHubName", Value: schema.String("One")}, {Name: "Input", Value: schema.String(url)}, {Name: "Generation", Value: schema.Int32(0)},
				}},
				{PartitionKey: "b", Properties: []schema.Property{{Name: "TaskHubName", Value: schema.String("one")}}},
			},
			hub.History: {
				{PartitionKey: "a", RowKey: "0000000000000000", Properties: []schema.Property{{Name: "EventType", Value: schema.String("OrchestratorStarted")}}},
				{PartitionKey: "a", RowKey: "sentinel", Properties: []schema.Property{{Name: "ExecutionId", Value: schema.String("e1")}}},
			},
			hub.Partitions: {
				{RowKey: "one-control-00", Properties: []schema.Property{{Name: "CurrentOwner", Value: schema.String("w1")}}},
				{RowKey: "one-control-01", Properties: []schema.Property{{Name: "CurrentOwner", Value: schema.String("w1")}}},
			},
		},
		Containers: []hub.Container{{Name: "one-applease", LeaseState: "leased"}, {Name: "one-largemessages"}, {Name: "one-leases"}},
		Queues: []hubtest.Queue{
			{Name: "one-control-00", ApproximateCount: 3}, {Name: "one-control-01"}, {Name: "one-workitems"},
		},
	}
	blob := func(container, name, data string) {
		sum := md5.Sum([]byte(data))
		c.Blobs = append(c.Blobs, hubtest.Blob{Data: []byte(data), Blob: hub.Blob{
			Container: container, Name: name, SizeBytes: int64(len(data)), ContentMD5: sum[:], ContentType: "application/octet-stream", CreatedAt: 7,
		}})
	}
	blob("one-applease", "one-appleaseinfo", `{"OwnerId":"app1"}`)
	blob("one-largemessages", "a/message-1-ExecutionStarted.json.gz", "one")
	blob("one-leases", "ownership/one-control-00", `{"PartitionId":"one-control-00","Owner":"w1","Token":"t","Epoch":3}`)
	blob("one-leases", "taskhub.json", `{"TaskHubName":"One","CreatedAt":"2026-11-22T04:07:21Z","PartitionCount":2}`)
	for i := range 3 {
		id := fmt.Sprint("m", i)
		at := schema.Partition(id, 2)
		c.Queues[at].Messages = append(c.Queues[at].Messages, schema.QueueMessage{ID: "id" + id, Text: message(id, i), InsertedAt: 9})
	}
	c.Queues[0].ApproximateCount = int64(len(c.Queues[0].Messages)) + 3
	c.Queues[1].ApproximateCount = int64(len(c.Queues[1].Messages))
	return c
}

// renamed is small under another name in another account.
func renamed() hubtest.Content {
	c := small()
	c.Names.TaskHub, c.Account = "Another", "second"
	name := func(s *string) { *s = strings.Replace(*s, "one-", "another-", 1) }
	for _, r := range c.Tables[hub.Instances] {
		r.Set("TaskHubName", schema.String("Another"))
		if url, ok := r.Get("Input").Text(); ok {
			r.Set("Input", schema.String(strings.NewReplacer("first", "second", "one-large", "another-large").Replace(url)))
		}
	}
	for i := range c.Tables[hub.Partitions] {
		name(&c.Tables[hub.Partitions][i].RowKey)
	}
	for i := range c.Containers {
		name(&c.Containers[i].Name)
	}
	for i := range c.Queues {
		name(&c.Queues[i].Name)
	}
	for i := range c.Blobs {
		b := &c.Blobs[i]
		name(&b.Container)
		text := string(b.Data)
		name(&text)
		name(&b.Name)
		b.Data = []byte(strings.Replace(text, `"One"`, `"another"`, 1))
		b.SizeBytes, b.ContentMD5 = int64(len(b.Data)), nil
	}
	return c
}

// Each dataset, each kind, and the column of each difference.
func TestKinds(t *testing.T) {
	tests := []struct {
		name string
		edit func(*hubtest.Content)
		opts diff.Options
		want []found
	}{
		{"instance changed", func(c *hubtest.Content) {
			c.Tables[hub.Instances][0].Set("Generation", schema.Int32(1))
			c.Tables[hub.Instances][0].Set("Input", schema.Value{})
			c.Tables[hub.Instances][0].Set("New", schema.Boolean(true))
		}, diff.Options{}, []found{{
			diff.Instances, diff.Changed, "OneInstances/a/",
			"Generation: 0 -> 1; Input: https://first.blob.core.windows.net/one-largemessages/a/message-1-ExecutionStarted.json.gz -> absent; New: absent -> true; ",
		}}},
		{
			"instance removed", func(c *hubtest.Content) { c.Tables[hub.Instances] = c.Tables[hub.Instances][1:] },
			diff.Options{},
			[]found{{diff.Instances, diff.Removed, "OneInstances/a/", ""}},
		},
		{"sentinel added", func(c *hubtest.Content) {
			c.Tables[hub.History] = append(c.Tables[hub.History], schema.Row{PartitionKey: "b", RowKey: schema.SentinelRowKey})
		}, diff.Options{}, []found{{diff.History, diff.Added, "OneHistory/b/sentinel", ""}}},
		{
			"sentinel changed", func(c *hubtest.Content) { c.Tables[hub.History][1].Set("ExecutionId", schema.String("e2")) },
			diff.Options{},
			[]found{{diff.History, diff.Changed, "OneHistory/a/sentinel", "ExecutionId: e1 -> e2; "}},
		},
		{"owner", func(c *hubtest.Content) { c.Tables[hub.Partitions][0].Set("CurrentOwner", schema.String("w2")) }, diff.Options{}, []found{}},
		{
			"owner that counts", func(c *hubtest.Content) { c.Tables[hub.Partitions][0].Set("CurrentOwner", schema.String("w2")) },
			diff.Options{Owners: true},
			[]found{{diff.Partitions, diff.Changed, "OnePartitions//one-control-00", "CurrentOwner: w1 -> w2; "}},
		},
		{
			"partition removed", func(c *hubtest.Content) { c.Tables[hub.Partitions] = c.Tables[hub.Partitions][:1] },
			diff.Options{},
			[]found{{diff.Partitions, diff.Removed, "OnePartitions//one-control-01", ""}},
		},
		{"what the service sets", func(c *hubtest.Content) {
			c.Tables[hub.Instances][0].Timestamp, c.Tables[hub.Instances][0].ETag = 6, "f"
			c.Containers[0].LeaseState = ""
			c.Blobs[0].CreatedAt = 8
		}, diff.Options{}, []found{}},
		{"what the service sets, and it counts", func(c *hubtest.Content) {
			c.Tables[hub.Instances][0].Timestamp, c.Tables[hub.Instances][0].ETag = 6, "f"
			c.Containers[0].LeaseState = ""
			c.Blobs[0].CreatedAt = 8
			c.Queues[0].Messages[0].DequeueCount++
		}, exact, []found{
			{diff.Instances, diff.Changed, "OneInstances/a/", "ETag: e -> f; Timestamp: 0001-01-01T00:00:00.0000005Z -> 0001-01-01T00:00:00.0000006Z; "},
			{diff.Containers, diff.Changed, "one-applease", "lease_state: leased -> absent; "},
			{diff.Blobs, diff.Changed, "one-applease/one-appleaseinfo", "created_time: 0001-01-01T00:00:00.0000007Z -> 0001-01-01T00:00:00.0000008Z; "},
			{diff.Messages, diff.Changed, "one-control-00 for m0", "dequeue_count: 0 -> 1; "},
		}},
		{"container removed with its blobs", func(c *hubtest.Content) {
			c.Containers = c.Containers[:2]
			c.Blobs = c.Blobs[:2]
		}, diff.Options{}, []found{
			{diff.Containers, diff.Removed, "one-leases", ""},
			{diff.Blobs, diff.Removed, "one-leases/ownership/one-control-00", ""},
			{diff.Blobs, diff.Removed, "one-leases/taskhub.json", ""},
		}},
		{"blob of another size, type and metadata", func(c *hubtest.Content) {
			b := &c.Blobs[1]
			b.Data, b.SizeBytes, b.ContentMD5 = []byte("two!"), 4, nil
			b.ContentType, b.Metadata = "text/plain", map[string]string{"b": "2", "a": "1"}
		}, diff.Options{}, []found{{
			diff.Blobs, diff.Changed, "one-largemessages/a/message-1-ExecutionStarted.json.gz",
			`content_type: application/octet-stream -> text/plain; metadata: absent -> {"a":"1","b":"2"}; size_bytes: 3 -> 4; `,
		}}},
		{"blob of the same size, by MD5", func(c *hubtest.Content) {
			c.Blobs[1].Data = []byte("six")
			sum := md5.Sum([]byte("six"))
			c.Blobs[1].ContentMD5 = sum[:]
		}, diff.Options{}, []found{{
			diff.Blobs, diff.Changed, "one-largemessages/a/message-1-ExecutionStarted.json.gz",
			"content: md5:f97c5d29941bfb1b2fdab0874906ab82 -> md5:f52b5e449a2303c031a0c3a1109360bf; ",
		}}},
		{"blob without MD5, same content", func(c *hubtest.Content) { c.Blobs[1].ContentMD5 = nil }, diff.Options{}, []found{}},
		{
			"blob without MD5, too large", func(c *hubtest.Content) { c.Blobs[1].ContentMD5 = nil },
			diff.Options{MaxBlobBytes: 2},
			[]found{{diff.Blobs, diff.Unknown, "one-largemessages/a/message-1-ExecutionStarted.json.gz", ""}},
		},
		{"owner of a lease", func(c *hubtest.Content) {
			document(c, 2, `{"PartitionId":"one-control-00","Owner":"w2","Token":"u","Epoch":14}`)
		}, diff.Options{}, []found{}},
		{"owner of a lease that counts", func(c *hubtest.Content) {
			document(c, 2, `{"PartitionId":"one-control-00","Owner":null,"Token":"t","Epoch":14}`)
		}, diff.Options{Owners: true}, []found{{diff.Blobs, diff.Changed, "one-leases/ownership/one-control-00", "Epoch: 3 -> 14; Owner: w1 -> null; "}}},
		{"a document that is none", func(c *hubtest.Content) { document(c, 3, `[]`) }, diff.Options{}, []found{{
			diff.Blobs, diff.Changed, "one-leases/taskhub.json",
			fmt.Sprintf("content: md5:%x -> md5:%x; size_bytes: 75 -> 2; ", md5.Sum(small().Blobs[3].Data), md5.Sum([]byte("[]"))),
		}}},
		{"queue removed", func(c *hubtest.Content) { c.Queues = c.Queues[:2] }, diff.Options{}, []found{{diff.Queues, diff.Removed, "one-workitems", ""}}},
		{
			"invisible message", func(c *hubtest.Content) { c.Queues[2].ApproximateCount++ },
			diff.Options{},
			[]found{{diff.Queues, diff.Changed, "one-workitems", "approximate_count: 0 -> 1; "}},
		},
		{"message twice", func(c *hubtest.Content) {
			c.Queues[0].Messages = append(c.Queues[0].Messages, c.Queues[0].Messages[0])
		}, diff.Options{}, []found{{diff.Messages, diff.Added, "one-control-00 for m0", ""}}},
		{"one of two equal messages, by its ID", func(c *hubtest.Content) {
			first := c.Queues[0].Messages[0]
			first.ID = "id0" // in order before that which both have
			c.Queues[0].Messages = append(c.Queues[0].Messages, first)
		}, exact, []found{{diff.Messages, diff.Added, "one-control-00 for m0", ""}}},
		{"message in another queue", func(c *hubtest.Content) {
			c.Queues[2].Messages, c.Queues[0].Messages = c.Queues[0].Messages[:1], c.Queues[0].Messages[1:]
		}, diff.Options{}, []found{
			{diff.Messages, diff.Removed, "one-control-00 for m0", ""},
			{diff.Messages, diff.Added, "one-workitems for m0", ""},
		}},
		{
			"column ignored", func(c *hubtest.Content) { c.Tables[hub.Instances][0].Set("Generation", schema.Int32(1)) },
			diff.Options{Ignore: []string{"Generation"}},
			[]found{},
		},
		{
			"column ignored in its dataset", func(c *hubtest.Content) { c.Tables[hub.Instances][0].Set("Generation", schema.Int32(1)) },
			diff.Options{Ignore: []string{"instances.Generation"}},
			[]found{},
		},
		{
			"column ignored in another dataset", func(c *hubtest.Content) { c.Tables[hub.Instances][0].Set("Generation", schema.Int32(1)) },
			diff.Options{Ignore: []string{"history.Generation"}},
			[]found{{diff.Instances, diff.Changed, "OneInstances/a/", "Generation: 0 -> 1; "}},
		},
		{
			"another dataset only", func(c *hubtest.Content) { c.Tables[hub.Instances][0].Set("Generation", schema.Int32(1)) },
			diff.Options{Only: []diff.Dataset{diff.History, diff.Blobs}},
			[]found{},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			edited := small()
			tt.edit(&edited)
			a, b := memory(small()), memory(edited)
			same(t, "differences", tt.want, differences(t, a, b, tt.opts))
			mirrored(t, a, b, tt.opts)
		})
	}
}

// document replaces a blob.
func document(c *hubtest.Content, i int, text string) {
	c.Blobs[i].Data, c.Blobs[i].SizeBytes, c.Blobs[i].ContentMD5 = []byte(text), int64(len(text)), nil
}

// Names of hubs and accounts do not count if they differ, or if they are told not
// to, and nothing but the names.
func TestNames(t *testing.T) {
	a, b := memory(small()), memory(renamed())
	for _, naming := range []diff.Naming{diff.MapIfDifferent, diff.MapNames} {
		same(t, "another name", []found{}, differences(t, a, b, diff.Options{Names: naming}))
		mirrored(t, a, b, diff.Options{Names: naming})
	}
	c, err := diff.Open(t.Context(), a, b, diff.Options{})
	if err != nil || !c.Mapped() || c.AcrossQueues() {
		t.Errorf("Open of hubs of different names: mapped %v, across queues %v, %v", c.Mapped(), c.AcrossQueues(), err)
	}
	if c, err = diff.Open(t.Context(), a, a, diff.Options{}); err != nil || c.Mapped() {
		t.Errorf("Open of hubs of the same name: mapped %v, %v", c.Mapped(), err)
	}
	kept := differences(t, a, b, diff.Options{Names: diff.KeepNames})
	for _, want := range []found{
		{diff.Instances, diff.Changed, "OneInstances/b/", "TaskHubName: one -> Another; "},
		{diff.Partitions, diff.Removed, "OnePartitions//one-control-00", ""},
		{diff.Partitions, diff.Added, "AnotherPartitions//another-control-00", ""},
		{diff.Containers, diff.Added, "another-leases", ""},
		{diff.Queues, diff.Removed, "one-workitems", ""},
		{diff.Messages, diff.Removed, "one-control-00 for m0", ""},
	} {
		if !slices.Contains(kept, want) {
			t.Errorf("names as they are: %v is missing in %v", want, kept)
		}
	}
	mirrored(t, a, b, diff.Options{Names: diff.KeepNames})

	edited := renamed()
	edited.Tables[hub.Instances][0].Set("Input", schema.String("https://second.blob.core.windows.net/another-largemessages/a/message-2-ExecutionStarted.json.gz"))
	edited.Tables[hub.Instances][1].Set("TaskHubName", schema.String("One")) // that of the first hub is wrong in the second
	edited.Tables[hub.Partitions] = append(edited.Tables[hub.Partitions], schema.Row{RowKey: "Zzz"}, schema.Row{RowKey: "aaa"}, schema.Row{RowKey: "zzz"})
	edited.Blobs = append(edited.Blobs, hubtest.Blob{Blob: hub.Blob{Container: "another-leases", Name: "ownership/0"}},
		hubtest.Blob{Blob: hub.Blob{Container: "another-leases", Name: "ownership"}}, hubtest.Blob{Blob: hub.Blob{Container: "another-leases", Name: "ownership/x"}})
	document(&edited, 3, `{"TaskHubName":"Third","CreatedAt":"2026-11-22T04:07:21Z","PartitionCount":3}`)
	same(t, "another name, and changes", []found{
		{diff.Instances, diff.Changed, "OneInstances/a/", "Input: https://first.blob.core.windows.net/one-largemessages/a/message-1-ExecutionStarted.json.gz -> " +
			"https://second.blob.core.windows.net/another-largemessages/a/message-2-ExecutionStarted.json.gz; "},
		{diff.Instances, diff.Changed, "OneInstances/b/", "TaskHubName: one -> One; "},
		{diff.Partitions, diff.Added, "AnotherPartitions//Zzz", ""},
		{diff.Partitions, diff.Added, "AnotherPartitions//aaa", ""},
		{diff.Partitions, diff.Added, "AnotherPartitions//zzz", ""},
		{diff.Blobs, diff.Added, "another-leases/ownership", ""},
		{diff.Blobs, diff.Added, "another-leases/ownership/0", ""},
		{diff.Blobs, diff.Added, "another-leases/ownership/x", ""},
		{diff.Blobs, diff.Changed, "one-leases/taskhub.json", "PartitionCount: 2 -> 3; TaskHubName: One -> Third; "},
	}, differences(t, a, memory(edited), diff.Options{}))
	mirrored(t, a, memory(edited), diff.Options{})

	// Keys that do not begin with the name of the hub stay in order with those
	// that do.
	one, another := small(), renamed()
	for _, c := range []*hubtest.Content{&one, &another} {
		c.Tables[hub.Partitions] = append(c.Tables[hub.Partitions], schema.Row{RowKey: "aaa"}, schema.Row{RowKey: "zzz"})
	}
	another.Tables[hub.Partitions] = slices.Delete(another.Tables[hub.Partitions], 0, 2)
	same(t, "keys without the name", []found{
		{diff.Partitions, diff.Removed, "OnePartitions//one-control-00", ""},
		{diff.Partitions, diff.Removed, "OnePartitions//one-control-01", ""},
	}, differences(t, memory(one), memory(another), diff.Options{}))
}

// With other partition counts a message may be in another queue, if it is the one
// in which a worker looks for it.
func TestAcrossQueues(t *testing.T) {
	spread := func(count, messages int) hubtest.Content {
		c := small()
		c.PartitionCount = count
		c.Queues = nil
		for i := range count {
			c.Queues = append(c.Queues, hubtest.Queue{Name: c.Names.ControlQueue(i)})
		}
		c.Queues = append(c.Queues, hubtest.Queue{Name: c.Names.WorkItemQueue()})
		for i := range messages {
			id := fmt.Sprint("m", i)
			q := &c.Queues[schema.Partition(id, count)]
			q.Messages = append(q.Messages, schema.QueueMessage{ID: fmt.Sprint(count, id), Text: message(id, i)})
			q.ApproximateCount++
		}
		return c
	}
	only := diff.Options{Only: []diff.Dataset{diff.Queues, diff.Messages}}
	added := []found{{diff.Queues, diff.Added, "one-control-03", ""}, {diff.Queues, diff.Added, "one-control-04", ""}}
	three, five := spread(3, 50), spread(5, 50)
	same(t, "3 and 5 partitions", added, differences(t, memory(three), memory(five), only))
	mirrored(t, memory(three), memory(five), only)

	// m7 goes astray, m8 is lost.
	var moved []string
	for i := range five.Queues {
		q := &five.Queues[i]
		q.Messages = slices.DeleteFunc(q.Messages, func(m schema.QueueMessage) bool {
			switch m.ID {
			case "5m7", "5m8":
				moved = append(moved, q.Name)
				q.ApproximateCount--
				return true
			}
			return false
		})
	}
	five.Queues[5].Messages = append(five.Queues[5].Messages, schema.QueueMessage{ID: "5m7", Text: message("m7", 7)})
	five.Queues[5].ApproximateCount++
	if len(moved) != 2 {
		t.Fatalf("%d messages were moved", len(moved))
	}
	right := three.Names.ControlQueue(schema.Partition("m7", 3))
	same(t, "one astray, one lost", append(slices.Clone(added),
		found{diff.Queues, diff.Changed, "one-workitems", "approximate_count: 0 -> 1; "},
		found{diff.Queues, diff.Changed, "one-control-*", "approximate_count: 50 -> 48; "},
		found{diff.Messages, diff.Changed, right + " for m7", "queue: " + right + " -> one-workitems; "},
		found{diff.Messages, diff.Removed, three.Names.ControlQueue(schema.Partition("m8", 3)) + " for m8", ""},
	), differences(t, memory(three), memory(five), only))
	mirrored(t, memory(three), memory(five), only)
}

// A message is what it says, in the queue or in a blob, encoded or not; one that
// says nothing is what is stored.
func TestMessageContent(t *testing.T) {
	plain := message("x", 1)
	with := func(text string, blobs ...hubtest.Blob) *testhub.Memory {
		c := small()
		c.Queues[2].Messages = []schema.QueueMessage{{ID: "1", Text: text}}
		c.Blobs = append(c.Blobs, blobs...)
		return memory(c)
	}
	blob := func(name, text string) hubtest.Blob {
		data := gzipped(t, text)
		return hubtest.Blob{Data: data, Blob: hub.Blob{Container: "one-largemessages", Name: name, SizeBytes: int64(len(data))}}
	}
	wrapper := func(name string) string {
		m := schema.NewWrapper(name)
		return string(m.AppendJSON(nil))
	}
	only := diff.Options{Only: []diff.Dataset{diff.Messages}}
	equal := []found{}
	other := func(of ...string) []found {
		var all []found
		for i, id := range of {
			all = append(all, found{diff.Messages, []diff.Kind{diff.Removed, diff.Added}[i], "one-workitems for " + id, ""})
		}
		slices.SortStableFunc(all, func(a, b found) int { return strings.Compare(a.What, b.What) })
		return all
	}
	tests := []struct {
		name string
		a, b *testhub.Memory
		want []found
	}{
		{"Base64", with(plain), with(base64.StdEncoding.EncodeToString([]byte(plain))), equal},
		{"in a blob", with(plain), with(wrapper("x/1.json.gz"), blob("x/1.json.gz", plain)), equal},
		{"in blobs of other names", with(wrapper("x/2.json.gz"), blob("x/2.json.gz", plain)), with(wrapper(`x\1.json.gz`), blob("x/1.json.gz", plain)), equal},
		{"another in the blob", with(plain), with(wrapper("x/1.json.gz"), blob("x/1.json.gz", message("y", 1))), other("x", "y")},
		{"no blob", with(wrapper("x/1.json.gz")), with(wrapper("x/1.json.gz")), equal},
		{"no blob on one side", with(plain), with(wrapper("x/1.json.gz")), other("x", "")},
		{"neither JSON nor Base64", with("?"), with("?"), equal},
		{"neither JSON nor Base64, and another", with("?"), with("!"), other("", "")},
	}
	for _, tt := range tests {
		got := differences(t, tt.a, tt.b, only)
		if len(tt.want) == 2 { // the order is that of their hashes where nothing else tells
			got, tt.want = sorted(got), sorted(tt.want)
		}
		same(t, tt.name, tt.want, got)
	}
}

// failing is a hub that cannot be read at some point.
type failing struct {
	*testhub.Memory
	err error
	at  string
}

func (f *failing) Info(ctx context.Context) (hub.Info, error) {
	if f.at == "info" {
		return hub.Info{}, f.err
	}
	return f.Memory.Info(ctx)
}

func (f *failing) Rows(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	return after(f, table.String(), f.Memory.Rows(ctx, table, keys))
}

func (f *failing) Messages(ctx context.Context, queue string) iter.Seq2[schema.QueueMessage, error] {
	return after(f, queue, f.Memory.Messages(ctx, queue))
}

func (f *failing) Blobs(ctx context.Context, container, prefix string) iter.Seq2[hub.Blob, error] {
	return after(f, container, f.Memory.Blobs(ctx, container, prefix))
}

func (f *failing) Queues(ctx context.Context) ([]hub.Queue, error) {
	if f.at == "queues" {
		return nil, f.err
	}
	return f.Memory.Queues(ctx)
}

func (f *failing) Containers(ctx context.Context) ([]hub.Container, error) {
	if f.at == "containers" {
		return nil, f.err
	}
	return f.Memory.Containers(ctx)
}

func (f *failing) ReadBlob(ctx context.Context, container, name string, limit int64) ([]byte, error) {
	if f.at == name {
		return nil, f.err
	}
	return f.Memory.ReadBlob(ctx, container, name, limit)
}

// after ends a stream with the error, after its first element.
func after[T any](f *failing, at string, all iter.Seq2[T, error]) iter.Seq2[T, error] {
	if f.at != at {
		return all
	}
	return func(yield func(T, error) bool) {
		for v, err := range all {
			if !yield(v, err) {
				return
			}
			break
		}
		var zero T
		yield(zero, f.err)
	}
}

// An error of either hub ends the stream and says which hub it was; one of a blob
// that has gone does not.
func TestErrors(t *testing.T) {
	broken := errors.New("broken by the test")
	const blob = "a/message-1-ExecutionStarted.json.gz"
	for _, at := range []string{"info", "Instances", "History", "Partitions", "queues", "containers", "one-largemessages", "one-control-00", blob} {
		for _, second := range []bool{false, true} {
			content := small()
			content.Blobs[1].ContentMD5 = nil // it has to be read
			bad := &failing{memory(content), broken, at}
			var a, b hub.Reader = bad, memory(small())
			if second {
				a, b = b, a
			}
			var got error
			for d, err := range diff.Hubs(t.Context(), a, b, diff.Options{}) {
				if got != nil {
					t.Errorf("%s: the stream goes on after its error: %v, %v", at, d, err)
				}
				got = err
				if d, empty := cmp.Diff(diff.Difference{}, d), err != nil; empty && d != "" {
					t.Errorf("%s: a difference comes with the error", at)
				}
			}
			var of *diff.HubError
			if !errors.As(got, &of) || of.Second != second || !errors.Is(got, broken) {
				t.Errorf("%s, second %v: %v, want %v", at, second, got, broken)
			}
		}
	}
	content := small()
	content.Blobs[1].ContentMD5 = nil
	same(t, "a blob that has gone", []found{{diff.Blobs, diff.Unknown, "one-largemessages/" + blob, ""}},
		differences(t, &failing{memory(content), hub.ErrNotFound, blob}, memory(small()), diff.Options{}))

	for _, opts := range []diff.Options{
		{Only: []diff.Dataset{"rows"}},
		{Ignore: []string{""}},
		{Ignore: []string{"history."}},
		{Ignore: []string{"rows.Name"}},
		{Names: 7},
	} {
		if _, err := diff.Open(t.Context(), memory(small()), memory(small()), opts); !errors.Is(err, diff.ErrOption) {
			t.Errorf("Open with %+v = %v, want %v", opts, err, diff.ErrOption)
		}
	}
	if _, err := diff.Open(t.Context(), memory(small()), memory(hubtest.Content{}), diff.Options{}); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("Open with a hub that does not exist = %v, want %v", err, hub.ErrNotFound)
	}
	for _, err := range diff.Hubs(t.Context(), memory(small()), memory(small()), diff.Options{MaxMessages: 1}) {
		if !errors.Is(err, hub.ErrTooLarge) || !strings.Contains(err.Error(), "one-control-00") {
			t.Errorf("more messages than may be in memory: %v, want %v and the queue", err, hub.ErrTooLarge)
		}
	}
	stop := errors.New("stopped by the test")
	ctx, cancel := context.WithCancelCause(t.Context())
	c, err := diff.Open(ctx, memory(small()), memory(small()), diff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cancel(stop)
	for _, err := range c.Differences(ctx) {
		if !errors.Is(err, stop) {
			t.Errorf("cancelled: %v, want %v", err, stop)
		}
	}
}

// A loop can end anywhere, and a comparison be repeated.
func TestBreak(t *testing.T) {
	a, b := testhub.OpenHub(t, "functions-3"), testhub.OpenHub(t, "functions-3-after-write")
	c, err := diff.Open(t.Context(), a, b, diff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	all := differences(t, a, b, diff.Options{})
	for n := 1; n <= len(all); n += 7 {
		var got []found
		for d, err := range c.Differences(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, short(&d)); len(got) == n {
				break
			}
		}
		same(t, fmt.Sprintf("the first %d", n), all[:n], got)
		counted := int64(0)
		for _, count := range c.Counts() {
			counted += count.Differing()
		}
		if counted != int64(n) {
			t.Errorf("%d differences counted after %d", counted, n)
		}
	}
}

// Damage to a capture is an error that says where it is.
func TestDamage(t *testing.T) {
	whole := testhub.OpenHub(t, "dtfx-2.9.1-bulk")
	text, err := os.ReadFile(testhub.HubFile(t, "dtfx-2.9.1-bulk"))
	if err != nil {
		t.Fatal(err)
	}
	text[150_000] ^= 1 // in the middle of the history
	path := filepath.Join(t.TempDir(), "damaged.taskhub")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	damaged, err := snapshot.Open(path, snapshot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer damaged.Close()
	var got error
	for d, err := range diff.Hubs(t.Context(), whole, damaged, diff.Options{}) {
		if err == nil {
			t.Errorf("a difference before the damage: %+v", d)
		}
		got = err
	}
	var damage *snapshot.DamageError
	var of *diff.HubError
	if !errors.As(got, &of) || !of.Second || !errors.As(got, &damage) || damage.File != "tables/BulkHubHistory.ndjson.zst" || damage.ArchiveOffset == 0 {
		t.Errorf("damage: %v", got)
	}
}
