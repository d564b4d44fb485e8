package hubtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Edited is what [RunEditor] checks: an Editor, and a Reader to see what it does.
type Edited interface {
	hub.Reader
	hub.Editor
}

// OpenEdited stores c in an implementation and returns an Editor of it, which it
// closes by t.Cleanup.
type OpenEdited func(t testing.TB, c Content) Edited

// RunEditor checks that an implementation does what [hub.Editor] promises. It
// calls open for each check.
func RunEditor(t *testing.T, open OpenEdited) {
	t.Helper()
	for _, c := range editorChecks {
		t.Run(c.name, func(t *testing.T) { runEditorCheck(t, open, c) })
	}
}

func runEditorCheck(t testing.TB, open OpenEdited, c editorCheck) {
	content := editorSample()
	c.run(&editorSuite{e: open(t, content), names: content.Names}, t)
}

type editorSuite struct {
	e     Edited
	names hub.Names
}

type editorCheck struct {
	name string
	run  func(*editorSuite, testing.TB)
}

var editorChecks = []editorCheck{
	{"Insert", (*editorSuite).insert},
	{"Replace", (*editorSuite).replace},
	{"Merge", (*editorSuite).merge},
	{"DeleteRows", (*editorSuite).deleteRows},
	{"Race", (*editorSuite).race},
	{"Blobs", (*editorSuite).blobs},
	{"Messages", (*editorSuite).messages},
	{"Leases", (*editorSuite).leases},
	{"DeleteAll", (*editorSuite).deleteAll},
	{"Canceled", (*editorSuite).canceled},
}

// editorKeys are partitions of the sample; some have characters with a meaning in
// the URL of a row.
var editorKeys = []string{"a", "a%2Fb", "it's", "sp ace+&=", "up^0^^", "ünïcode-日本語-😀", "{rowKey}"}

const editorBlob = "a/history-1.json.gz"

func editorSample() Content {
	names := hub.Names{TaskHub: "EditedHub"}
	c := Content{
		Names: names, PartitionCount: 1, PartitionCountFrom: hub.FromControlQueues,
		Tables: make(map[hub.Table][]schema.Row),
		Queues: []Queue{{Name: names.ControlQueue(0)}, {Name: names.WorkItemQueue()}},
		Containers: []hub.Container{
			{Name: names.AppLease(), LeaseState: "leased"}, {Name: names.LargeMessages()},
		},
		Blobs: []Blob{{Data: []byte("payload"), Blob: hub.Blob{
			Container: names.LargeMessages(), Name: editorBlob, SizeBytes: 7, ContentType: "application/octet-stream",
		}}},
	}
	for _, k := range editorKeys {
		c.Tables[hub.Instances] = append(c.Tables[hub.Instances], schema.Row{PartitionKey: k, Properties: []schema.Property{
			{Name: "RuntimeStatus", Value: schema.String("Completed")},
			{Name: "Output", Value: schema.String("out of " + k)},
			{Name: "Generation", Value: schema.Int32(1)},
			{Name: "CreatedTime", Value: schema.DateTime(sampleTime)},
		}})
		for i := range 3 {
			c.Tables[hub.History] = append(c.Tables[hub.History], schema.Row{
				PartitionKey: k, RowKey: schema.FormatSequence(int64(i)),
				Properties: []schema.Property{{Name: "EventId", Value: schema.Int32(int32(i))}},
			})
		}
	}
	c.Sort()
	return c
}

// rows returns the rows of a partition.
func (s *editorSuite) rows(t testing.TB, table hub.Table, partition string) []schema.Row {
	t.Helper()
	return must(t, "Rows", s.e.Rows(t.Context(), table, hub.Partition(partition)))
}

// only returns the one row of a partition of Instances.
func (s *editorSuite) only(t testing.TB, partition string) schema.Row {
	t.Helper()
	rows := s.rows(t, hub.Instances, partition)
	if len(rows) != 1 {
		t.Fatalf("%d rows of %q in Instances, want 1", len(rows), partition)
	}
	return rows[0].Clone()
}

// stored checks that the row of a partition is want with this ETag.
func (s *editorSuite) stored(t testing.TB, what string, want schema.Row, etag string) {
	t.Helper()
	got := s.only(t, want.PartitionKey)
	if !schema.SameProperties(&want, &got) {
		t.Errorf("%s: stored is\n%s\nwant\n%s", what, got.AppendJSON(nil), want.AppendJSON(nil))
	}
	if etag == "" || got.ETag != etag {
		t.Errorf("%s: ETag %q is returned, %q stored", what, etag, got.ETag)
	}
}

// is reports an error other than want.
func is(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

func (s *editorSuite) insert(t testing.TB) {
	ctx := t.Context()
	row := schema.Row{PartitionKey: "new'er^0", Properties: []schema.Property{
		{Name: "Name", Value: schema.String("<&>\u2028 😀 \"")},
		{Name: "CreatedTime", Value: schema.DateTime(sampleTime + 1_234_567)},
		{Name: "Generation", Value: schema.Int32(-3)},
		{Name: "Large", Value: schema.Int64(1 << 60)},
		{Name: "Empty", Value: schema.String("")},
		{Name: "Yes", Value: schema.Boolean(true)},
	}}
	etag, err := s.e.InsertRow(ctx, hub.Instances, row)
	if err != nil {
		t.Fatal(err)
	}
	s.stored(t, "insert", row, etag)
	other := row
	other.Properties = row.Properties[:1]
	_, err = s.e.InsertRow(ctx, hub.Instances, other)
	is(t, "insert over a row", err, hub.ErrConflict)
	s.stored(t, "insert over a row", row, etag)
	_, err = s.e.InsertRow(ctx, hub.Partitions, row)
	is(t, "insert into a table that does not exist", err, hub.ErrNotFound)
}

func (s *editorSuite) replace(t testing.TB) {
	for _, k := range editorKeys {
		s.update(t, "replace", k, s.e.ReplaceRow, func(_, row schema.Row) schema.Row { return row })
	}
}

func (s *editorSuite) merge(t testing.TB) {
	for _, k := range editorKeys {
		s.update(t, "merge", k, s.e.MergeRow, func(old, row schema.Row) schema.Row {
			merged := old.Clone()
			for _, p := range row.Properties {
				merged.Set(p.Name, p.Value)
			}
			return merged
		})
	}
}

type updater func(context.Context, hub.Table, schema.Row) (string, error)

// update checks Replace or Merge; expect returns what a row becomes.
func (s *editorSuite) update(t testing.TB, what, key string, update updater, expect func(old, row schema.Row) schema.Row) {
	t.Helper()
	ctx := t.Context()
	old := s.only(t, key)
	row := schema.Row{PartitionKey: key, ETag: old.ETag, Properties: []schema.Property{
		{Name: "RuntimeStatus", Value: schema.String("Pending")},
		{Name: "LastUpdatedTime", Value: schema.DateTime(sampleTime + 7)},
	}}
	etag, err := update(ctx, hub.Instances, row)
	if err != nil {
		t.Fatalf("%s %q: %v", what, key, err)
	}
	want := expect(old, row)
	s.stored(t, what, want, etag)
	if etag == old.ETag {
		t.Errorf("%s: the ETag stays %q", what, etag)
	}

	late := schema.Row{PartitionKey: key, ETag: old.ETag, Properties: []schema.Property{{Name: "RuntimeStatus", Value: schema.String("Failed")}}}
	_, err = update(ctx, hub.Instances, late)
	is(t, what+" with an old ETag", err, hub.ErrConflict)
	late.ETag = ""
	if _, err = update(ctx, hub.Instances, late); err == nil {
		t.Errorf("%s without an ETag: no error", what)
	}
	s.stored(t, what+" in vain", want, etag)

	missing := row
	missing.PartitionKey = "missing"
	_, err = update(ctx, hub.Instances, missing)
	is(t, what+" of a row that does not exist", err, hub.ErrNotFound)
	if n := len(s.rows(t, hub.Instances, "missing")); n > 0 {
		t.Errorf("%s has made a row", what)
	}
}

func (s *editorSuite) deleteRows(t testing.TB) {
	ctx := t.Context()
	for _, k := range editorKeys {
		all := s.rows(t, hub.History, k)
		stale := all[1]
		if _, err := s.e.MergeRow(ctx, hub.History, schema.Row{PartitionKey: k, RowKey: stale.RowKey, ETag: stale.ETag, Properties: racer(0)}); err != nil {
			t.Fatal(err)
		}
		is(t, "delete an old version", s.e.DeleteRows(ctx, hub.History, []schema.Row{stale}), hub.ErrConflict)
		is(t, "delete an old version among others", s.e.DeleteRows(ctx, hub.History, []schema.Row{all[0], stale, all[2]}), hub.ErrConflict)
		absent := schema.Row{PartitionKey: k, RowKey: schema.FormatSequence(99)}
		is(t, "delete what is not there, among others", s.e.DeleteRows(ctx, hub.History, []schema.Row{all[0], absent}), hub.ErrNotFound)
		is(t, "delete what is not there", s.e.DeleteRows(ctx, hub.History, []schema.Row{absent}), hub.ErrNotFound)
		if got := s.rows(t, hub.History, k); len(got) != 3 {
			t.Errorf("%d rows of %q after deletions that failed, want 3", len(got), k)
		}

		all[1].ETag = "" // in any version
		if err := s.e.DeleteRows(ctx, hub.History, all[:2]); err != nil {
			t.Fatal(err)
		}
		left := s.rows(t, hub.History, k)
		if len(left) != 1 || left[0].RowKey != all[2].RowKey {
			t.Errorf("%d rows of %q are left, want the last", len(left), k)
		}
		for _, rows := range [][]schema.Row{left, {s.only(t, k)}} {
			table := hub.History
			if rows[0].RowKey == "" {
				table = hub.Instances
			}
			if err := s.e.DeleteRows(ctx, table, rows); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(s.rows(t, hub.History, k)) + len(s.rows(t, hub.Instances, k)); n > 0 {
			t.Errorf("%d rows of %q are left", n, k)
		}
	}
	if err := s.e.DeleteRows(ctx, hub.History, nil); err != nil {
		t.Error(err)
	}

	var many []schema.Row
	for i := range hub.MaxBatchRows + 1 {
		row := schema.Row{PartitionKey: "many", RowKey: schema.FormatSequence(int64(i))}
		if _, err := s.e.InsertRow(ctx, hub.History, row); err != nil {
			t.Fatal(err)
		}
		many = append(many, row)
	}
	if err := s.e.DeleteRows(ctx, hub.History, many); err == nil {
		t.Errorf("%d rows are deleted at once", len(many))
	}
	mixed := []schema.Row{many[0], {PartitionKey: "other", RowKey: many[0].RowKey}}
	if err := s.e.DeleteRows(ctx, hub.History, mixed); err == nil {
		t.Error("rows of two partitions are deleted at once")
	}
	if err := s.e.DeleteRows(ctx, hub.History, many[1:]); err != nil {
		t.Error(err)
	}
	if n := len(s.rows(t, hub.History, "many")); n != 1 {
		t.Errorf("%d rows are left, want 1", n)
	}
}

// race lets many change the same version of a row: one of them can.
func (s *editorSuite) race(t testing.TB) {
	const racers = 8
	old, other := s.only(t, "a"), s.only(t, "it's")
	for _, round := range []struct {
		what string
		do   func(i int) error
	}{
		{"insert", func(i int) error {
			_, err := s.e.InsertRow(t.Context(), hub.Instances, schema.Row{PartitionKey: "raced", Properties: racer(i)})
			return err
		}},
		{"replace", func(i int) error {
			_, err := s.e.ReplaceRow(t.Context(), hub.Instances, schema.Row{PartitionKey: "a", ETag: old.ETag, Properties: racer(i)})
			return err
		}},
		{"merge", func(i int) error {
			_, err := s.e.MergeRow(t.Context(), hub.Instances, schema.Row{PartitionKey: "it's", ETag: other.ETag, Properties: racer(i)})
			return err
		}},
	} {
		errs := make([]error, racers)
		var wg sync.WaitGroup
		for i := range racers {
			wg.Add(1)
			go func() { defer wg.Done(); errs[i] = round.do(i) }()
		}
		wg.Wait()
		won := -1
		for i, err := range errs {
			switch {
			case err == nil && won >= 0:
				t.Errorf("%s: racers %d and %d have both won", round.what, won, i)
			case err == nil:
				won = i
			case !errors.Is(err, hub.ErrConflict):
				t.Errorf("%s: racer %d: %v, want ErrConflict", round.what, i, err)
			}
		}
		if won < 0 {
			t.Fatalf("%s: nobody has won", round.what)
		}
		key := map[string]string{"insert": "raced", "replace": "a", "merge": "it's"}[round.what]
		got := s.only(t, key)
		if n, _ := got.Get("Racer").Int(); n != int64(won) {
			t.Errorf("%s: stored is what %d wrote, not %d", round.what, n, won)
		}
	}
}

func racer(i int) []schema.Property {
	return []schema.Property{{Name: "Racer", Value: schema.Int32(int32(i))}}
}

func (s *editorSuite) blobs(t testing.TB) {
	ctx := t.Context()
	container := s.names.LargeMessages()
	for _, name := range []string{"new/message-1.json.gz", `back\slash#?%/ü 日本😀.json.gz`} {
		b := hub.Blob{Container: container, Name: name, ContentType: "application/octet-stream"}
		if err := s.e.PutBlob(ctx, b, []byte("first")); err != nil {
			t.Fatal(err)
		}
		if err := s.e.PutBlob(ctx, b, []byte("second")); err != nil {
			t.Fatal(err)
		}
		data, err := s.e.ReadBlob(ctx, container, schema.StoredBlobName(name), 100)
		if err != nil || string(data) != "second" {
			t.Errorf("blob %q: %q, %v", name, data, err)
		}
		url := s.e.BlobURL(container, name)
		if got, ok := schema.ParseBlobURL(url, container); !ok || got != schema.StoredBlobName(name) || strings.ContainsAny(url, "?&") {
			t.Errorf("URL %q of blob %q names %q", url, name, got)
		}
		if err := s.e.DeleteBlob(ctx, container, schema.StoredBlobName(name)); err != nil {
			t.Fatal(err)
		}
		is(t, "delete a blob again", s.e.DeleteBlob(ctx, container, name), hub.ErrNotFound)
		_, err = s.e.ReadBlob(ctx, container, schema.StoredBlobName(name), 100)
		is(t, "read a blob that was deleted", err, hub.ErrNotFound)
	}
	nowhere := hub.Blob{Container: s.names.Leases(), Name: "x"}
	is(t, "write into a container that does not exist", s.e.PutBlob(ctx, nowhere, nil), hub.ErrNotFound)
	for range 2 {
		if err := s.e.CreateContainer(ctx, s.names.Leases()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.e.PutBlob(ctx, nowhere, nil); err != nil {
		t.Error(err)
	}
}

func (s *editorSuite) messages(t testing.TB) {
	ctx := t.Context()
	queue := s.names.ControlQueue(0)
	texts := []string{
		`{"first":"<&> 'quoted' \"twice\" ü 日本 😀"}`,
		`{"long":"` + strings.Repeat(`\"`, 23_000) + `"}`, // as long as the framework writes them, and much to escape
	}
	for _, text := range texts {
		if err := s.e.PutMessage(ctx, queue, text, 0); err != nil {
			t.Fatal(err)
		}
	}
	for _, delay := range []time.Duration{time.Hour + 999*time.Millisecond, hub.MaxMessageDelay} {
		if err := s.e.PutMessage(ctx, queue, "{}", delay); err != nil {
			t.Fatal(err)
		}
	}
	got := must(t, "Messages", s.e.Messages(ctx, queue))
	if len(got) != len(texts) {
		t.Fatalf("%d messages are visible, want %d", len(got), len(texts))
	}
	for i, m := range got {
		if m.Text != texts[i] {
			t.Errorf("message %d has %d bytes, want the %d that were sent", i, len(m.Text), len(texts[i]))
		}
		if end, _ := schema.ParseTicks("9999-01-01T00:00:00Z"); m.ExpiresAt < end {
			t.Errorf("message %d expires at %s", i, m.ExpiresAt)
		}
	}
	queues, err := s.e.Queues(ctx)
	if err != nil || len(queues) != 2 || queues[0].ApproximateCount != 4 {
		t.Errorf("queues %v, %v, want 4 messages in the first of 2", queues, err)
	}
	for _, delay := range []time.Duration{-1, hub.MaxMessageDelay + time.Second} {
		if err := s.e.PutMessage(ctx, queue, "{}", delay); err == nil {
			t.Errorf("a delay of %v: no error", delay)
		}
	}
	is(t, "write to a queue that does not exist", s.e.PutMessage(ctx, s.names.ControlQueue(7), "{}", 0), hub.ErrNotFound)
}

func (s *editorSuite) leases(t testing.TB) {
	ctx := t.Context()
	is(t, "delete a leased container", s.e.DeleteContainer(ctx, s.names.AppLease()), hub.ErrInUse)
	for range 2 {
		if err := s.e.BreakLease(ctx, s.names.AppLease()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.e.BreakLease(ctx, s.names.LargeMessages()); err != nil {
		t.Errorf("break a lease that there is not: %v", err)
	}
	is(t, "break the lease of nothing", s.e.BreakLease(ctx, s.names.Leases()), hub.ErrNotFound)
	if err := s.e.DeleteContainer(ctx, s.names.AppLease()); err != nil {
		t.Error(err)
	}
}

func (s *editorSuite) deleteAll(t testing.TB) {
	ctx := t.Context()
	if err := s.e.BreakLease(ctx, s.names.AppLease()); err != nil {
		t.Fatal(err)
	}
	for what, del := range map[string]func() error{
		"History":            func() error { return s.e.DeleteTable(ctx, hub.History) },
		"Instances":          func() error { return s.e.DeleteTable(ctx, hub.Instances) },
		"the control queue":  func() error { return s.e.DeleteQueue(ctx, s.names.ControlQueue(0)) },
		"the work items":     func() error { return s.e.DeleteQueue(ctx, s.names.WorkItemQueue()) },
		"the app lease":      func() error { return s.e.DeleteContainer(ctx, s.names.AppLease()) },
		"the large messages": func() error { return s.e.DeleteContainer(ctx, s.names.LargeMessages()) },
	} {
		if err := del(); err != nil {
			t.Errorf("delete %s: %v", what, err)
		}
		is(t, "delete "+what+" again", del(), hub.ErrNotFound)
	}
	_, err := s.e.Info(ctx)
	is(t, "Info of what is left", err, hub.ErrNotFound)
}

func (s *editorSuite) canceled(t testing.TB) {
	before := s.only(t, "a")
	ctx, cause := canceled(t)
	row := schema.Row{PartitionKey: "a", ETag: before.ETag}
	_, insert := s.e.InsertRow(ctx, hub.Instances, schema.Row{PartitionKey: "canceled"})
	_, replace := s.e.ReplaceRow(ctx, hub.Instances, row)
	_, merge := s.e.MergeRow(ctx, hub.Instances, row)
	for i, err := range []error{
		insert, replace, merge,
		s.e.DeleteRows(ctx, hub.Instances, []schema.Row{row}),
		s.e.PutMessage(ctx, s.names.ControlQueue(0), "{}", 0),
		s.e.DeleteBlob(ctx, s.names.LargeMessages(), editorBlob),
		s.e.DeleteTable(ctx, hub.History),
		s.e.DeleteQueue(ctx, s.names.WorkItemQueue()),
		s.e.DeleteContainer(ctx, s.names.LargeMessages()),
	} {
		is(t, fmt.Sprintf("call %d with a context that has ended", i), err, cause)
	}
	s.stored(t, "after the end of a context", before, before.ETag)
}
