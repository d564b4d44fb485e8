package manage_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// neighbours are what an account holds beside the hub Hub1: hubs whose names begin
// with its name or end with it, and things that are no hub's.
func neighbours(t *testing.T, e *testhub.Emulator) {
	t.Helper()
	e.CreateTables(t, "Hub10Instances", "Hub10History", "Hub10Partitions", "Hub1xInstances", "hub1xHistory", "MyHub1Instances", "MyHub1History",
		"Hub1InstancesBackup", "Hub1Other", "Hub", "Instances2", "DurableTaskInstances")
	e.CreateQueues(t, "hub10-control-00", "hub10-workitems", "hub1x-control-00", "hub1x-workitems", "myhub1-control-00",
		"hub1-control-0", "hub1-control-000", "hub1-control-xx", "hub1-other", "hub1", "hub1-workitems-2", "orders")
	e.CreateContainers(t, "hub10-leases", "hub10-applease", "hub10-largemessages", "hub1x-largemessages", "myhub1-leases",
		"hub1-leases2", "hub1-other", "hub1", "azure-webjobs-hosts")
}

// A deletion takes everything of the hub and nothing else, whatever there is of it.
func TestDeleteHubLive(t *testing.T) {
	names := hub.Names{TaskHub: "Hub1"}
	whole := func(partitions int) hubtest.Content {
		c := hubtest.Content{Names: names, Tables: map[hub.Table][]schema.Row{
			hub.Instances: {instance("a", "Running", "F", t0)}, hub.History: {}, hub.Partitions: {},
		}}
		for i := range partitions {
			c.Queues = append(c.Queues, hubtest.Queue{Name: names.ControlQueue(i), ApproximateCount: 1})
			c.Tables[hub.Partitions] = append(c.Tables[hub.Partitions], schema.Row{RowKey: names.ControlQueue(i)})
		}
		c.Queues = append(c.Queues, hubtest.Queue{Name: names.WorkItemQueue()})
		c.Containers = []hub.Container{{Name: names.AppLease()}, {Name: names.LargeMessages()}}
		c.Blobs = []hubtest.Blob{{Blob: hub.Blob{Container: names.LargeMessages(), Name: "a/b"}, Data: []byte("x")}}
		return c
	}
	leases := func(c hubtest.Content, kinds ...string) hubtest.Content {
		c.Containers = append(c.Containers, hub.Container{Name: names.Leases()})
		for _, kind := range kinds {
			for i := range 4 {
				c.Blobs = append(c.Blobs, hubtest.Blob{Blob: hub.Blob{Container: names.Leases(), Name: kind + "/" + names.ControlQueue(i)}, Data: []byte("{}")})
			}
		}
		c.Blobs = append(c.Blobs, hubtest.Blob{Blob: hub.Blob{Container: names.Leases(), Name: "taskhub.json"}, Data: []byte(`{"PartitionCount":4}`)})
		return c
	}
	without := func(c hubtest.Content, tables ...hub.Table) hubtest.Content {
		for _, t := range tables {
			delete(c.Tables, t)
		}
		return c
	}
	queueless := whole(4)
	queueless.Queues = queueless.Queues[2:3]
	for name, c := range map[string]hubtest.Content{
		"16 partitions":           whole(16),
		"one partition":           whole(1),
		"queues missing":          queueless,
		"legacy leases":           without(leases(whole(4), "default"), hub.Partitions),
		"safe leases":             without(leases(whole(4), "intent", "ownership"), hub.Partitions),
		"leases of each kind":     leases(whole(4), "default", "intent", "ownership"),
		"only tables":             {Names: names, Tables: map[hub.Table][]schema.Row{hub.Instances: {}, hub.History: {}}},
		"only a container":        {Names: names, Containers: []hub.Container{{Name: names.AppLease()}}},
		"only the Partitions":     {Names: names, Tables: map[hub.Table][]schema.Row{hub.Partitions: {}}},
		"queues and no tables":    without(whole(3), hub.Instances, hub.History, hub.Partitions),
		"only the work-item ones": {Names: names, Queues: []hubtest.Queue{{Name: names.WorkItemQueue()}}},
	} {
		t.Run(name, func(t *testing.T) {
			emulator := testhub.Azurite(t)
			neighbours(t, emulator)
			before := emulator.Listing(t)
			testhub.Load(t, emulator, c)
			added := len(emulator.Listing(t)) - len(before)
			e := openLive(t, emulator.ConnectionString(), names)
			plan, err := manage.PlanDelete(t.Context(), e, manage.DescribeOptions{Now: later})
			if err != nil {
				t.Fatal(err)
			}
			var deleted []string
			err = manage.DeleteHub(t.Context(), e, e, plan, false, func(name string) { deleted = append(deleted, name) })
			if err != nil || len(deleted) != added {
				t.Errorf("deleted %q of %d, error %v", deleted, added, err)
			}
			if d := cmp.Diff(before, emulator.Listing(t)); d != "" {
				t.Errorf("(-want +got)\n%s", d)
			}
			if _, err := manage.PlanDelete(t.Context(), e, manage.DescribeOptions{Now: later}); !errors.Is(err, hub.ErrNotFound) {
				t.Errorf("again: %v, want %v", err, hub.ErrNotFound)
			}
		})
	}
}

// A lease that is taken between the plan and the deletion keeps all of the hub.
func TestDeleteHubLeasedMeanwhile(t *testing.T) {
	c := testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1"))
	e := testhub.NewEditor(c)
	plan, err := manage.PlanDelete(t.Context(), e, manage.DescribeOptions{Now: later})
	if err != nil {
		t.Fatal(err)
	}
	c = e.Content()
	for i := range c.Containers {
		if c.Containers[i].Name == c.Names.AppLease() {
			c.Containers[i].LeaseState = "leased"
		}
	}
	e = testhub.NewEditor(c)
	if err := manage.DeleteHub(t.Context(), e, e, plan, false, nil); !errors.Is(err, hub.ErrInUse) || len(e.Edits()) > 0 {
		t.Errorf("error %v, want %v; did %q", err, hub.ErrInUse, e.Edits())
	}
}

// partly is a Reader that may not look at everything.
type partly struct{ hub.Reader }

func (p partly) Info(ctx context.Context) (hub.Info, error) {
	info, err := p.Reader.Info(ctx)
	info.Unreadable = []hub.Unreadable{{Artifact: "table LabHubHistory", Reason: "no permission"}}
	info.Tables = nil
	return info, err
}

// What cannot be seen would be left: a hub that is not to be seen whole stays, and
// so does one without a time to judge its leases by.
func TestPlanDeleteRefuses(t *testing.T) {
	r := testhub.OpenHub(t, "dtfx-2.9.1")
	if p, err := manage.PlanDelete(t.Context(), partly{r}, manage.DescribeOptions{Now: later}); !errors.Is(err, hub.ErrUnauthorized) || p != nil {
		t.Errorf("%v, error %v", p, err)
	}
	if p, err := manage.PlanDelete(t.Context(), r, manage.DescribeOptions{}); err == nil {
		t.Errorf("without a time: %v", p)
	}
}

// A deletion that is cut off at any request can be done again.
func TestDeleteHubCut(t *testing.T) {
	c := only(testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1-blob-leases")), "hello-1")
	step := 1
	if testing.Short() {
		step = 5
	}
	for n := 0; ; n += step {
		emulator := testhub.Azurite(t)
		testhub.Load(t, emulator, c)
		proxy := testhub.NewProxy(t, emulator)
		proxy.Inject(testhub.Fault{Kind: testhub.Reset, After: n})
		e := openLive(t, proxy.ConnectionString(), c.Names)
		cut := func() error {
			plan, err := manage.PlanDelete(t.Context(), e, manage.DescribeOptions{Now: later})
			if err != nil {
				return err
			}
			return manage.DeleteHub(t.Context(), e, e, plan, false, nil)
		}()
		again := openLive(t, emulator.ConnectionString(), c.Names)
		plan, err := manage.PlanDelete(t.Context(), again, manage.DescribeOptions{Now: later})
		if err == nil {
			err = manage.DeleteHub(t.Context(), again, again, plan, false, nil)
		} else if errors.Is(err, hub.ErrNotFound) {
			err = nil
		}
		if left := emulator.Listing(t); err != nil || len(left) > 0 {
			t.Fatalf("cut at request %d: error %v, left %q", n, err, left)
		}
		if cut == nil {
			if n < 10 {
				t.Fatalf("only %d requests", n)
			}
			return
		}
	}
}
