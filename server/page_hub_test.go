package server_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/schema"
)

// The first instance of manyInstances was made at manyStart, and the capture taken
// at manyTaken.
var manyStart, manyTaken = ticks("2026-11-22T00:00:00Z"), ticks("2026-11-23T00:00:00Z")

var manyNames = hub.Names{TaskHub: "ManyHub"}

func ticks(s string) schema.Ticks {
	t, err := schema.ParseTicks(s)
	if err != nil {
		panic(err)
	}
	return t
}

func manyID(i int) string { return fmt.Sprintf("order-%07d-0123456789abcdef", i) }

// manyRow is an instance of manyInstances: the status goes round the ten below, the
// function round seven, and each was made a second after the one before.
func manyRow(i int) schema.Instance {
	statuses := [...]schema.Status{
		schema.StatusCompleted, schema.StatusCompleted, schema.StatusCompleted, schema.StatusCompleted, schema.StatusCompleted,
		schema.StatusRunning, schema.StatusRunning, schema.StatusPending, schema.StatusFailed, schema.StatusTerminated,
	}
	status := statuses[i%len(statuses)]
	created := manyStart + schema.Ticks(i)*10_000_000
	row := schema.Instance{
		PartitionKey: manyID(i), ExecutionID: schema.Some(fmt.Sprintf("%032x", i)), Name: schema.TextOf(fmt.Sprintf("Orders%d", i%7)),
		Input: schema.TextOf(`{"n":1}`), CreatedTime: schema.Some(created), LastUpdatedTime: schema.Some(created + 5_000_000),
		RuntimeStatus: schema.Some(status.String()), TaskHubName: schema.Some("ManyHub"),
	}
	if status.Terminal() {
		row.CompletedTime = schema.Some(created + schema.Ticks(i%1000)*10_000)
	}
	return row
}

// manyInstances returns a capture of n instances without history.
func manyInstances(t testing.TB, n int) hub.Reader {
	t.Helper()
	return written(t, func(w *snapshot.Writer) {
		table(t, w, hub.Instances, func(add func(schema.Row)) {
			for i := range n {
				row := manyRow(i)
				add(row.Row())
			}
		})
	})
}

// written returns a capture of what write writes, of hub ManyHub at manyTaken.
func written(t testing.TB, write func(*snapshot.Writer)) hub.Reader {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hub.taskhub")
	w, err := snapshot.Create(path, snapshot.WriterOptions{Tool: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	write(w)
	taken := manyTaken
	if err := w.Close(hub.Info{Names: manyNames, Account: "many", PartitionCount: 4, PartitionCountFrom: hub.FromPartitionsTable, Started: taken, Finished: taken}); err != nil {
		t.Fatal(err)
	}
	r, err := snapshot.Open(path, snapshot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() }) // nothing was written
	return r
}

func table(t testing.TB, w *snapshot.Writer, name hub.Table, rows func(add func(schema.Row))) {
	t.Helper()
	tw, err := w.Table(name, manyNames.Table(name))
	if err != nil {
		t.Fatal(err)
	}
	rows(func(r schema.Row) {
		if err := tw.Append(&r); err != nil {
			t.Fatal(err)
		}
	})
	if err := tw.Close(manyTaken, manyTaken); err != nil {
		t.Fatal(err)
	}
}
