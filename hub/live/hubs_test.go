package live_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

func account(t testing.TB, e *testhub.Emulator) *live.Account {
	t.Helper()
	a, err := live.OpenAccount(t.Context(), config(t, e), quick(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func load(t testing.TB, e *testhub.Emulator, name string) hubtest.Content {
	t.Helper()
	c := testhub.ContentOf(t, testhub.OpenHub(t, name))
	testhub.Load(t, e, c)
	return c
}

func hubs(t testing.TB, e *testhub.Emulator) []live.Found {
	t.Helper()
	found, err := account(t, e).Hubs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// content returns a hub with a few rows.
func content(names hub.Names, partitions int) hubtest.Content {
	c := hubtest.Content{Names: names, Tables: map[hub.Table][]schema.Row{hub.Instances: nil, hub.History: nil, hub.Partitions: nil}}
	for i := range partitions {
		c.Queues = append(c.Queues, hubtest.Queue{Name: names.ControlQueue(i)})
		c.Tables[hub.Partitions] = append(c.Tables[hub.Partitions], schema.Row{
			RowKey: names.ControlQueue(i), Properties: []schema.Property{{Name: "IsDraining", Value: schema.Boolean(false)}},
		})
	}
	c.PartitionCount, c.PartitionCountFrom = partitions, hub.FromPartitionsTable
	c.Queues = append(c.Queues, hubtest.Queue{Name: names.WorkItemQueue()})
	c.Containers = []hub.Container{{Name: names.AppLease()}}
	return c
}

func TestHubs(t *testing.T) {
	e := testhub.Azurite(t)
	if found := hubs(t, e); len(found) > 0 {
		t.Errorf("an empty account has hubs %+v", found)
	}
	var unrelated []string
	for i := range 300 {
		unrelated = append(unrelated, fmt.Sprintf("Unrelated%03d", i))
	}
	e.CreateTables(t, append(unrelated, "OrderHistory", "VmInstances", "DiskPartitions", "History", "Instances")...)
	e.Insert(t, "OrderHistory", []schema.Row{{PartitionKey: "a", RowKey: "b"}})
	e.CreateQueues(t, "other", "other-control-1", "some-control-xx", "their-workitems")
	e.CreateContainers(t, "other", "theirs-leases", "theirs2-largemessages")

	testhub.Load(t, e, content(hub.Names{TaskHub: "WideHub"}, 16))
	testhub.Load(t, e, content(hub.Names{TaskHub: "mIxEdCaSe"}, 4))
	e.CreateQueues(t, "queuesonly-control-00", "queuesonly-control-05")
	e.CreateTables(t, "LeftHistory")
	e.Insert(t, "LeftHistory", []schema.Row{{PartitionKey: "a", RowKey: schema.SentinelRowKey}})
	load(t, e, "shared-tracking-TrackA")
	load(t, e, "shared-tracking-TrackB")
	cased := content(hub.Names{TaskHub: "CaseHub"}, 1)
	delete(cased.Tables, hub.Partitions)
	testhub.Load(t, e, cased)
	e.CreateTables(t, "caseHUBPartitions") // by an app that was configured with another case

	var got []string
	for _, f := range hubs(t, e) {
		got = append(got, fmt.Sprintf("%s %s: %d tables, %d queues, %d control, %d containers, missing %s, other %s",
			f.Names.TaskHub, f.Names.TrackingPrefix, len(f.Tables), len(f.Queues), f.ControlQueues, len(f.Containers), f.Missing, f.OtherCase))
	}
	want := []string{
		"CaseHub : 3 tables, 2 queues, 1 control, 1 containers, missing [], other [caseHUB]",
		"Left : 1 tables, 0 queues, 0 control, 0 containers, missing [LeftInstances left-control-NN left-workitems], other []",
		"mIxEdCaSe : 3 tables, 5 queues, 4 control, 1 containers, missing [], other []",
		"queuesonly : 0 tables, 2 queues, 2 control, 0 containers, missing [queuesonlyInstances queuesonlyHistory queuesonly-workitems], other []",
		"TrackA SharedStore: 3 tables, 3 queues, 2 control, 2 containers, missing [], other []",
		"TrackB SharedStore: 3 tables, 3 queues, 2 control, 2 containers, missing [], other []",
		"WideHub : 3 tables, 17 queues, 16 control, 1 containers, missing [], other []",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Hubs differs (-want +got):\n%s", d)
	}

	t.Run("16 partitions", func(t *testing.T) {
		hubtest.Compare(t, serviceValues, content(hub.Names{TaskHub: "WideHub"}, 16), open(t, e, hub.Names{TaskHub: "WideHub"}))
	})
	t.Run("mixed case", func(t *testing.T) {
		info, err := open(t, e, hub.Names{TaskHub: "mIxEdCaSe"}).Info(t.Context())
		if err != nil || info.PartitionCount != 4 || len(info.Tables) != 3 {
			t.Errorf("Info = %+v, %v, want 4 partitions and 3 tables", info, err)
		}
		// The service finds tables in any case, the emulator does not.
		info, err = open(t, e, hub.Names{TaskHub: "MixedCase"}).Info(t.Context())
		if err != nil || info.PartitionCount != 4 || len(info.Tables) != 0 {
			t.Errorf("Info in another case = %+v, %v, want 4 partitions and no tables", info, err)
		}
	})
	t.Run("only queues", func(t *testing.T) {
		info, err := open(t, e, hub.Names{TaskHub: "queuesOnly"}).Info(t.Context())
		if err != nil || info.PartitionCount != 2 || info.PartitionCountFrom != hub.FromControlQueues || len(info.Tables) != 0 {
			t.Errorf("Info = %+v, %v, want 2 partitions from queues and no table", info, err)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		before := e.Listing(t)
		for _, names := range []hub.Names{{TaskHub: "Nowhere"}, {TaskHub: "Nowhere", TrackingPrefix: "SharedStore"}, {TaskHub: "wide"}, {TaskHub: "their"}} {
			h := open(t, e, names)
			if info, err := h.Info(t.Context()); !errors.Is(err, hub.ErrNotFound) && names.TaskHub != "their" {
				t.Errorf("Info of %+v = %+v, %v, want hub.ErrNotFound", names, info, err)
			}
			for _, table := range hub.Tables {
				for r, err := range h.Rows(t.Context(), table, hub.Keys{}) {
					if err != nil {
						t.Errorf("Rows of %+v: %v", names, err)
					} else if names.TrackingPrefix == "" || table != hub.History {
						t.Errorf("%+v has row %s/%s", names, r.PartitionKey, r.RowKey)
					}
				}
			}
			for _, err := range h.Messages(t.Context(), names.WorkItemQueue()) {
				t.Errorf("Messages of %+v yields something, %v", names, err)
			}
			if _, err := h.ReadBlob(t.Context(), names.Leases(), "taskhub.json", 100); !errors.Is(err, hub.ErrNotFound) {
				t.Errorf("ReadBlob of %+v returns %v, want hub.ErrNotFound", names, err)
			}
			if _, err := h.Split(t.Context(), hub.History, 4); err != nil {
				t.Errorf("Split of %+v: %v", names, err)
			}
		}
		if d := cmp.Diff(before, e.Listing(t)); d != "" {
			t.Errorf("the account has changed (-before +after):\n%s", d)
		}
	})
}

// TestSharedTracking checks that hubs in one pair of tables do not mix.
func TestSharedTracking(t *testing.T) {
	e, other := testhub.Azurite(t), testhub.Azurite(t)
	a := load(t, e, "shared-tracking-TrackA")
	b := load(t, e, "shared-tracking-TrackB")
	// An instance and history of an old version, which say of no hub.
	old := []schema.Row{{PartitionKey: "zz-old", Properties: []schema.Property{{Name: "RuntimeStatus", Value: schema.String("Completed")}}}}
	oldHistory := []schema.Row{{PartitionKey: "zz-old", RowKey: schema.SentinelRowKey}, {PartitionKey: "zz-none", RowKey: schema.SentinelRowKey}}
	e.Insert(t, a.Names.Table(hub.Instances), old)
	e.Insert(t, a.Names.Table(hub.History), oldHistory)
	for _, want := range []hubtest.Content{a, b} {
		want.Tables[hub.Instances] = append(want.Tables[hub.Instances], old...)
		want.Tables[hub.History] = append(want.Tables[hub.History], oldHistory...)
		want.Sort()
		hubtest.Compare(t, serviceValues, want, open(t, e, want.Names))
		lower := want.Names
		lower.TaskHub = strings.ToLower(lower.TaskHub)
		for _, table := range []hub.Table{hub.Instances, hub.History} {
			n := 0
			for _, err := range open(t, e, lower).Rows(t.Context(), table, hub.Keys{}) {
				if err != nil {
					t.Fatal(err)
				}
				n++
			}
			if n != len(want.Tables[table]) {
				t.Errorf("%s in lower case has %d rows in %v, want %d", want.Names.TaskHub, n, table, len(want.Tables[table]))
			}
		}
		for i := range want.Tables[hub.History] {
			row := &want.Tables[hub.History][i]
			keys := hub.Partition(row.PartitionKey)
			keys.RowKey = row.RowKey
			n := 0
			for _, err := range open(t, e, want.Names).Rows(t.Context(), hub.History, keys) {
				if n++; err != nil {
					t.Fatal(err)
				}
			}
			if n != 1 {
				t.Errorf("history row %s/%s: %d rows", row.PartitionKey, row.RowKey, n)
			}
			if i > 20 {
				break
			}
		}
	}

	nobody := hub.Names{TaskHub: "Nobody", TrackingPrefix: a.Names.TrackingPrefix}
	if info, err := open(t, e, nobody).Info(t.Context()); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("Info of a hub that no row names = %+v, %v, want hub.ErrNotFound", info, err)
	}

	// The tracking store is another account: queues there, everything else here.
	cfg := config(t, other)
	for _, q := range a.Queues {
		other.CreateQueues(t, q.Name)
	}
	tracking := config(t, e)
	cfg.Tracking = &tracking
	h := openWith(t, cfg, a.Names, quick(t))
	info, err := h.Info(t.Context())
	if err != nil || len(info.Tables) != 3 || info.PartitionCount != 2 {
		t.Errorf("Info = %+v, %v, want 3 tables, 2 partitions", info, err)
	}
	queues, err := h.Queues(t.Context())
	if err != nil || len(queues) != len(a.Queues) || slices.ContainsFunc(queues, func(q hub.Queue) bool { return q.ApproximateCount > 0 }) {
		t.Errorf("Queues = %+v, %v, want the empty ones of the main account", queues, err)
	}
	containers, err := h.Containers(t.Context())
	if err != nil || len(containers) != len(a.Containers) {
		t.Errorf("Containers = %+v, %v, want %+v", containers, err, a.Containers)
	}
}

func TestEmptyHub(t *testing.T) {
	e := testhub.Azurite(t)
	c := content(hub.Names{TaskHub: "EmptyHub"}, 1)
	testhub.Load(t, e, c)
	hubtest.Compare(t, serviceValues, c, open(t, e, c.Names))
	e.CreateContainers(t, "barehub-applease")
	info, err := open(t, e, hub.Names{TaskHub: "BareHub"}).Info(t.Context())
	if err != nil || info.PartitionCount != 0 || info.PartitionCountFrom != "" {
		t.Errorf("Info of a hub with one container = %+v, %v, want no partition count", info, err)
	}
}
