package server_test

import (
	"context"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/server"
)

// TestRecordedSeed sends the recorded calls that have made the hub, to an empty
// one. Where an answer depends on what a worker had done, its rows are put there
// first.
func TestRecordedSeed(t *testing.T) {
	calls := records(t, "http-seed.jsonl", 63)
	done := recordedHub(t, "functions-3")
	start := recordedHub(t, "functions-3")
	start.Tables = map[hub.Table][]schema.Row{hub.Instances: {}, hub.History: {}, hub.Partitions: done.Tables[hub.Partitions]}
	start.Blobs = nil
	for i := range start.Queues {
		start.Queues[i] = hubtest.Queue{Name: start.Queues[i].Name}
	}
	e := testhub.NewEditor(start)
	worked := func(id string) {
		t.Helper()
		if err := putRows(t.Context(), e, done, id); err != nil {
			t.Fatal(err)
		}
	}
	before := map[int]string{47: "wait-1", 60: "failing-2", 61: "hello-1", 62: "restart-vms"}
	waits := map[int]string{48: "sync-1", 49: "", 50: "sync-3"}
	deviations := map[int]*deviation{
		39: {status: http.StatusBadRequest, raw: `{"Message":"Invalid JSON content","ExceptionType":"Newtonsoft.Json."}`, masked: true},
		47: {status: http.StatusConflict},
	}
	ids := &givenIDs{}
	now, n, waited := recordedAt, 0, map[int]time.Duration{}
	opts := testOptions(server.Hub{Reader: e, Editor: e})
	opts.Random = ids
	opts.Now = func() time.Time { return now }
	opts.Wait = func(_ context.Context, d time.Duration) error {
		now = now.Add(d)
		waited[n] += d
		if id := waits[n]; id != "" {
			worked(id)
		}
		return nil
	}
	h := newServer(t, opts)
	for i := range calls {
		r := &calls[i]
		n = r.N
		if id, ok := before[n]; ok {
			worked(id)
		}
		ids.next = r.newID(t)
		w := answer(h, r.request(t, "/durabletask"))
		r.compare(t, r.expect(t, deviations[n]), deviations[n], w)
	}
	want := map[int]time.Duration{48: time.Second, 49: 3 * time.Second, 50: time.Second}
	for n, d := range want {
		if waited[n] != d {
			t.Errorf("%d %s has waited for %v, want %v", n, calls[n].Name, waited[n], d)
		}
	}
	// The framework starts it before it looks at how long to wait.
	if slices.ContainsFunc(e.Content().Tables[hub.Instances], func(r schema.Row) bool { return r.PartitionKey == "sync-4" }) {
		t.Errorf("%s: the instance was started", calls[51].Name)
	}
}

// putRows puts the rows of an instance of c into a hub.
func putRows(ctx context.Context, e *testhub.Editor, c hubtest.Content, id string) error {
	for _, table := range []hub.Table{hub.History, hub.Instances} {
		for _, row := range c.Tables[table] {
			if row.PartitionKey != schema.EscapeKey(id) {
				continue
			}
			row = row.Clone()
			row.ETag = ""
			old := schema.Row{PartitionKey: row.PartitionKey, RowKey: row.RowKey}
			_ = e.DeleteRows(ctx, table, []schema.Row{old}) // there need not be one
			if _, err := e.InsertRow(ctx, table, row); err != nil {
				return err
			}
		}
	}
	return nil
}
