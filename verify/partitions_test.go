package verify

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

var hubCodes = []string{codePartitionCountSkew, codePartitionUnowned, codePartitionStuck, codeHubDebris}

// The hubs of TestPartitions are looked at then.
var partitionsNow = schema.TicksOf(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC))

func seconds(n int64) schema.Ticks { return schema.Ticks(n * 10_000_000) }

// leaseRow is a row of the Partitions table as a worker writes it; ends is when
// its lease ends, in seconds from now. Without an owner it is that of a worker
// that stopped then.
func leaseRow(partition int, owner string, ends int64) schema.Row {
	row := schema.Row{
		RowKey: hub.Names{TaskHub: "Hub"}.ControlQueue(partition), Timestamp: partitionsNow + seconds(ends-30),
		Properties: []schema.Property{
			{Name: "OwnedSince", Value: schema.DateTime(partitionsNow - seconds(36_000))},
			{Name: "LastRenewal", Value: schema.DateTime(partitionsNow + seconds(ends-30))},
			{Name: "ExpiresAt", Value: schema.DateTime(partitionsNow + seconds(ends))},
			{Name: "IsDraining", Value: schema.Boolean(false)},
		},
	}
	if owner != "" {
		row.Set("CurrentOwner", schema.String(owner))
	}
	return row
}

func with(row schema.Row, name string, v schema.Value) schema.Row {
	row.Set(name, v)
	return row
}

// leaseBlob is a lease blob that was written so many seconds ago.
func leaseBlob(kind string, partition int, owner, state string, ago int64) hubtest.Blob {
	queue := hub.Names{TaskHub: "Hub"}.ControlQueue(partition)
	content := fmt.Sprintf(`{"PartitionId":%q,"Owner":null,"Token":null,"Epoch":1}`, queue)
	if owner != "" {
		content = fmt.Sprintf(`{"PartitionId":%q,"Owner":%q,"Token":"66666666-1111-2222-3333-444444444444","Epoch":1}`, queue, owner)
	}
	return hubtest.Blob{Data: []byte(content), Blob: hub.Blob{
		Container: "hub-leases", Name: kind + "/" + queue, SizeBytes: int64(len(content)), LeaseState: state, LastModified: partitionsNow - seconds(ago),
	}}
}

func hubInfoBlob(partitions int) hubtest.Blob {
	content := fmt.Sprintf(`{"TaskHubName":"Hub","CreatedAt":"2026-11-22T04:07:41.1780201Z","PartitionCount":%d}`, partitions)
	return hubtest.Blob{Data: []byte(content), Blob: hub.Blob{Container: "hub-leases", Name: taskHubJSON, SizeBytes: int64(len(content))}}
}

// whole returns a hub of two partitions with everything that it needs but leases.
func whole(rows []schema.Row, blobs ...hubtest.Blob) *testhub.Memory {
	c := hubtest.Content{
		Names: hub.Names{TaskHub: "Hub"}, PartitionCount: 2, PartitionCountFrom: hub.FromPartitionsTable,
		Tables:     map[hub.Table][]schema.Row{hub.History: {}, hub.Instances: {}},
		Queues:     []hubtest.Queue{{Name: "hub-control-00"}, {Name: "hub-control-01"}, {Name: "hub-workitems"}},
		Containers: []hub.Container{{Name: "hub-applease"}},
		Blobs:      blobs,
	}
	if rows != nil {
		c.Tables[hub.Partitions] = rows
	}
	if blobs != nil {
		c.Containers = append(c.Containers, hub.Container{Name: "hub-leases"})
	}
	m := testhub.NewMemory(c)
	m.Started, m.Finished = partitionsNow, partitionsNow
	return m
}

func TestPartitions(t *testing.T) {
	const (
		row0, row1 = "Partitions/hub-control-00", "Partitions/hub-control-01"
		own1       = "hub-leases/ownership/hub-control-01"
	)
	held := leaseRow(0, "a", 20)
	safe := func(own, intent hubtest.Blob) []hubtest.Blob {
		return []hubtest.Blob{hubInfoBlob(2), leaseBlob("ownership", 0, "a", "leased", 600), leaseBlob("intent", 0, "a", "leased", 600), own, intent}
	}
	ownedBy := func(own, intent string) []hubtest.Blob {
		return safe(leaseBlob("ownership", 1, own, "leased", 3600), leaseBlob("intent", 1, intent, "leased", 20))
	}
	for _, test := range []struct {
		name    string
		rows    []schema.Row
		blobs   []hubtest.Blob
		waits   int64 // messages in the queue of partition 1
		oldest  int64 // for how many seconds one of them has been waiting in sight; 0 for none
		want    []string
		unknown bool
		// unreadable: nor can it be told whether there is an owner.
		unreadable bool
	}{
		{name: "all owned", rows: []schema.Row{held, leaseRow(1, "b", 25)}},
		{
			name: "no worker yet", rows: []schema.Row{{RowKey: "hub-control-00"}, {RowKey: "hub-control-01"}},
			want: []string{"partition-unowned info " + row0, "partition-unowned info " + row1},
		},
		{
			name: "stopped", rows: []schema.Row{leaseRow(0, "", -3600), leaseRow(1, "", -3600)}, waits: 3,
			want: []string{"partition-unowned info " + row0, "partition-unowned info " + row1},
		},
		{name: "one unowned", rows: []schema.Row{held, leaseRow(1, "", -3600)}, want: []string{"partition-unowned warning " + row1}},
		{name: "given up just now", rows: []schema.Row{held, leaseRow(1, "", 10)}, want: []string{"partition-unowned info " + row1}},
		{name: "crashed, nothing waits", rows: []schema.Row{leaseRow(0, "a", -3600), leaseRow(1, "", -3600)}, want: []string{"partition-stuck info " + row0, "partition-unowned info " + row1}},
		{name: "crashed, work waits", rows: []schema.Row{leaseRow(0, "", -3600), leaseRow(1, "a", -3600)}, waits: 1, want: []string{"partition-unowned info " + row0, "partition-stuck warning " + row1}},
		{name: "crashed beside others", rows: []schema.Row{held, leaseRow(1, "b", -3600)}, want: []string{"partition-stuck warning " + row1}},
		{name: "crashed within what clocks differ", rows: []schema.Row{held, leaseRow(1, "b", -30)}, unknown: true},
		{name: "no end", rows: []schema.Row{held, with(leaseRow(1, "b", 20), "ExpiresAt", schema.Value{})}, unknown: true},
		{name: "draining", rows: []schema.Row{held, with(leaseRow(1, "b", 20), "IsDraining", schema.Boolean(true))}, unknown: true},
		{name: "draining, work came", rows: []schema.Row{held, with(leaseRow(1, "b", 20), "IsDraining", schema.Boolean(true))}, waits: 1, oldest: 60, unknown: true},
		{
			name: "draining for long", rows: []schema.Row{held, with(leaseRow(1, "b", 20), "IsDraining", schema.Boolean(true))}, waits: 1, oldest: 400,
			want: []string{"partition-stuck warning " + row1},
		},
		{
			name: "being stolen for long", rows: []schema.Row{held, with(leaseRow(1, "b", 20), "NextOwner", schema.String("a"))}, waits: 1, oldest: 400,
			want: []string{"partition-stuck warning " + row1},
		},
		{name: "about to be taken", rows: []schema.Row{held, with(leaseRow(1, "", 20), "NextOwner", schema.String("a"))}},
		{
			name: "never taken", rows: []schema.Row{held, with(leaseRow(1, "", -3600), "NextOwner", schema.String("c"))},
			want: []string{"partition-stuck warning " + row1},
		},
		{
			name: "an unreadable row", rows: []schema.Row{held, with(leaseRow(1, "b", 20), "CurrentOwner", schema.Int32(1))},
			unknown: true, unreadable: true,
		},

		{name: "blobs, all owned", blobs: ownedBy("a", "a")},
		{name: "blobs, handed over", blobs: ownedBy("a", "b")},
		{
			name:  "blobs, never handed over",
			blobs: safe(leaseBlob("ownership", 1, "a", "leased", 3600), leaseBlob("intent", 1, "b", "leased", 400)),
			want:  []string{"partition-stuck warning " + own1},
		},
		{name: "blobs, intent first", blobs: safe(leaseBlob("ownership", 1, "", "available", 3600), leaseBlob("intent", 1, "b", "leased", 20))},
		{
			name:  "blobs, one unowned",
			blobs: safe(leaseBlob("ownership", 1, "", "available", 3600), leaseBlob("intent", 1, "", "available", 3600)),
			want:  []string{"partition-unowned warning " + own1},
		},
		{
			name:  "blobs, crashed",
			blobs: safe(leaseBlob("ownership", 1, "b", "expired", 3600), leaseBlob("intent", 1, "b", "available", 3600)),
			want:  []string{"partition-stuck warning " + own1},
		},
		{name: "blobs, state unknown", blobs: safe(leaseBlob("ownership", 1, "b", "", 3600), leaseBlob("intent", 1, "b", "", 3600)), unknown: true},
		{
			name:  "legacy blobs",
			blobs: []hubtest.Blob{hubInfoBlob(2), leaseBlob("default", 0, "a", "leased", 600), leaseBlob("default", 1, "", "available", 600)},
			want:  []string{"partition-unowned warning hub-leases/default/hub-control-01"},
		},
		{
			name: "left-over blobs do not count", rows: []schema.Row{held, leaseRow(1, "b", 25)},
			blobs: safe(leaseBlob("ownership", 1, "old", "expired", 36_000), leaseBlob("intent", 1, "", "available", 36_000))[3:],
		},
		{
			name: "left-over rows do not count", rows: []schema.Row{leaseRow(0, "", -60), leaseRow(1, "", -60)},
			blobs: safe(leaseBlob("ownership", 1, "a", "leased", 3600), leaseBlob("intent", 1, "a", "leased", 3600)),
		},
		{
			name: "of two that are not in use, the newer counts", rows: []schema.Row{leaseRow(0, "", -3600), leaseRow(1, "", -3600)},
			blobs: []hubtest.Blob{hubInfoBlob(2), leaseBlob("default", 0, "", "available", 600), leaseBlob("default", 1, "", "available", 600)},
			want: []string{
				"partition-unowned info hub-leases/default/hub-control-00", "partition-unowned info hub-leases/default/hub-control-01",
			},
		},
		{
			name:  "blobs, the one that wanted it is gone",
			blobs: safe(leaseBlob("ownership", 1, "a", "leased", 3600), leaseBlob("intent", 1, "b", "expired", 3600)),
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := whole(test.rows, test.blobs...)
			q := &m.Content.Queues[1]
			q.ApproximateCount = test.waits
			if test.oldest > 0 {
				q.Messages = []schema.QueueMessage{{ID: "m", InsertedAt: partitionsNow - seconds(test.oldest), Text: message(raised("go", "1"), "i", "")}}
			}
			found, summary := Hub(t.Context(), m, Options{Checks: []string{codePartitionUnowned, codePartitionStuck}})
			var got []string
			for f, err := range found {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprintf("%s %s %s", f.Code, f.Severity, f.At[0]))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			for _, o := range summary.Checks {
				if (o.Unknown > 0) != (test.unknown && (o.Code == codePartitionStuck || test.unreadable)) {
					t.Errorf("%s: %d unknown outcomes: %v", o.Code, o.Unknown, o.Reasons)
				}
				if o.OK+o.Violated+o.Unknown != 2 {
					t.Errorf("%s has outcomes for %d partitions: %+v", o.Code, o.OK+o.Violated+o.Unknown, o)
				}
			}
		})
	}
}

func TestHubChecks(t *testing.T) {
	rows := []schema.Row{leaseRow(0, "a", 20), leaseRow(1, "a", 20)}
	noQueue := func(name string) func(m *testhub.Memory) {
		return func(m *testhub.Memory) {
			m.Content.Queues = slices.DeleteFunc(m.Content.Queues, func(q hubtest.Queue) bool { return q.Name == name })
		}
	}
	queue := func(name string, count int64) func(m *testhub.Memory) {
		return func(m *testhub.Memory) {
			m.Content.Queues = append(m.Content.Queues, hubtest.Queue{Name: name, ApproximateCount: count})
			m.Content.Sort()
		}
	}
	for _, test := range []struct {
		name   string
		rows   []schema.Row
		blobs  []hubtest.Blob
		change func(m *testhub.Memory)
		want   []string
		heals  bool
	}{
		{name: "whole", rows: rows},
		{name: "left-over leases that agree", rows: rows, blobs: []hubtest.Blob{hubInfoBlob(2), leaseBlob("ownership", 0, "", "available", 36_000), leaseBlob("ownership", 1, "", "available", 36_000)}, want: []string{"hub-debris info hub-leases/ownership/hub-control-00"}},
		{
			name: "left-over leases that disagree", rows: rows, blobs: []hubtest.Blob{hubInfoBlob(1), leaseBlob("ownership", 0, "", "available", 36_000)},
			want: []string{"partition-count-skew error Partitions", "hub-debris info hub-leases/ownership/hub-control-00"},
		},
		{
			name: "two managers at work", rows: rows, blobs: []hubtest.Blob{hubInfoBlob(2), leaseBlob("default", 0, "b", "leased", 600), leaseBlob("default", 1, "b", "leased", 600)},
			want: []string{"hub-debris warning hub-leases/default/hub-control-00"},
		},
		{name: "a container of leases without any", rows: rows, blobs: []hubtest.Blob{}, want: []string{"hub-debris info hub-leases"}},
		{
			name: "taskhub.json cannot be read", rows: rows, blobs: []hubtest.Blob{{Blob: hub.Blob{Container: "hub-leases", Name: taskHubJSON}, Data: []byte("[")}},
			want: []string{"hub-debris warning hub-leases/taskhub.json", "hub-debris info hub-leases"},
		},
		{name: "a row is gone", rows: rows[1:], want: []string{"partition-count-skew error Partitions"}},
		{name: "a row of another hub", rows: append(slices.Clone(rows), schema.Row{RowKey: "other-control-00"}), want: []string{"partition-count-skew error Partitions"}},
		{name: "a queue is gone", rows: rows, change: noQueue("hub-control-01"), want: []string{"hub-debris warning hub-control-01"}},
		{name: "one queue more", rows: rows, change: queue("hub-control-02", 0), want: []string{"partition-count-skew warning Partitions"}, heals: true},
		{name: "one queue more, with messages", rows: rows, change: queue("hub-control-02", 1), want: []string{"partition-count-skew error Partitions"}},
		{name: "a queue far beyond", rows: rows, change: queue("hub-control-09", 0), want: []string{"hub-debris info hub-control-09"}},
		{name: "a queue far beyond, with messages", rows: rows, change: queue("hub-control-09", 4), want: []string{"partition-count-skew error Partitions"}},
		{name: "no queue for activities", rows: rows, change: noQueue("hub-workitems"), want: []string{"hub-debris warning hub-workitems"}},
		{name: "nobody can own partitions", want: []string{"hub-debris warning Partitions"}},
		{name: "no app lease", rows: rows, change: func(m *testhub.Memory) { m.Content.Containers = nil }, want: []string{"hub-debris info hub-applease"}},
		{name: "no history", rows: rows, change: func(m *testhub.Memory) { delete(m.Content.Tables, hub.History) }, want: []string{"hub-debris warning History"}},
		{name: "no instances", rows: rows, change: func(m *testhub.Memory) { delete(m.Content.Tables, hub.Instances) }, want: []string{"hub-debris warning Instances"}},
		{
			name: "queues only", change: func(m *testhub.Memory) {
				m.Content.Tables, m.Content.Containers, m.Content.PartitionCount = nil, nil, 2 // queues are counted
				noQueue("hub-control-00")(m)
				queue("hub-control-03", 0)(m)
			},
			want: []string{
				"hub-debris warning History", "hub-debris warning Instances", "hub-debris warning Partitions",
				"hub-debris warning hub-control-00", "hub-debris warning hub-control-02", "hub-debris info hub-applease",
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := whole(test.rows, test.blobs...)
			if test.change != nil {
				test.change(m)
			}
			found, _ := Hub(t.Context(), m, Options{Checks: []string{codePartitionCountSkew, codeHubDebris}})
			var got []string
			for f, err := range found {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, fmt.Sprintf("%s %s %s", f.Code, f.Severity, f.At[0]))
				if (f.Heals != "") != test.heals {
					t.Errorf("%s heals: %q", f.Code, f.Heals)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// TestPartitionsLive checks that partitions and parts of a running hub are looked
// at again before anything is said of them.
func TestPartitionsLive(t *testing.T) {
	good := whole([]schema.Row{leaseRow(0, "a", 20), leaseRow(1, "a", 20)})
	free := whole([]schema.Row{leaseRow(0, "a", 20), leaseRow(1, "", -3600)})
	half := whole([]schema.Row{leaseRow(0, "a", 20)})
	now := func() time.Time { return partitionsNow.Time() }
	for _, test := range []struct {
		name        string
		first, then *testhub.Memory
		code        string
		want        int
	}{
		{"stays unowned", free, free, codePartitionUnowned, 1},
		{"is taken", free, good, codePartitionUnowned, 0},
		{"stays half", half, half, codePartitionCountSkew, 1},
		{"is completed", half, good, codePartitionCountSkew, 0},
	} {
		got := findings(t, &live{Memory: test.first, then: test.then}, Options{Now: now}, test.code)
		if len(got) != test.want {
			t.Errorf("%s: findings %v, want %d", test.name, got, test.want)
		}
	}
}

// TestRecordedPartitions compares what is found with how the recordings ended:
// the workers of some were stopped, those of others killed or still running, and
// some hubs never had one.
func TestRecordedPartitions(t *testing.T) {
	stopped := map[string]int{ // hubs without a worker, and their partitions
		"dtfx-1.17.5": 4, "dtfx-2.9.1": 4, "dtfx-2.9.1-backlog": 2, "dtfx-2.9.1-blob-leases": 7, "dtfx-2.9.1-bulk": 4,
		"dtfx-2.9.1-poisoned": 1, "dtfx-2.9.1-purge-damaged": 4, "functions-3": 4, "functions-3-after-js": 4,
		"functions-3-after-write": 4, "functions-3-after-write-Nowhere": 4, "shared-tracking-TrackA": 2,
	}
	for _, recording := range testhub.Recordings {
		got := findings(t, testhub.OpenHub(t, recording.Name), Options{}, hubCodes...)
		if len(got) != stopped[recording.Name] {
			t.Errorf("%s: %d findings, want %d:\n%s", recording.Name, len(got), stopped[recording.Name], strings.Join(got, "\n"))
		}
		for _, f := range got {
			if !strings.HasPrefix(f, "partition-unowned info ") {
				t.Errorf("%s: %s", recording.Name, f)
			}
		}
	}
}
