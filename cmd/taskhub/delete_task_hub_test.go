package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
)

// A hub goes, with everything of it and nothing beside it; a dry run sends nothing;
// a hub that is gone is fine.
func TestDeleteTaskHub(t *testing.T) {
	recorded := testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1-blob-leases"))
	recorded.Names.TaskHub = "Hub1"
	for i := range recorded.Queues {
		recorded.Queues[i].Name = strings.Replace(recorded.Queues[i].Name, "blobleases7", "hub1", 1)
	}
	for i := range recorded.Containers {
		recorded.Containers[i].Name = strings.Replace(recorded.Containers[i].Name, "blobleases7", "hub1", 1)
	}
	for i := range recorded.Blobs {
		recorded.Blobs[i].Container = strings.Replace(recorded.Blobs[i].Container, "blobleases7", "hub1", 1)
	}
	emulator := testhub.Azurite(t)
	emulator.CreateTables(t, "Hub10Instances", "Hub10History", "Hub1xHistory", "Other")
	emulator.CreateQueues(t, "hub10-workitems", "hub10-control-00", "hub1x-control-00", "hub1-control-1")
	emulator.CreateContainers(t, "hub10-leases", "hub1x-largemessages", "hub1-other")
	beside := emulator.Listing(t)
	testhub.Load(t, emulator, recorded)
	whole := emulator.Listing(t)
	clearSettings(t)
	proxy := testhub.NewProxy(t, emulator)
	t.Setenv(connectionVariable, proxy.ConnectionString())
	del := []string{"delete-task-hub", "--task-hub-name", "Hub1"}

	for _, tt := range []struct {
		options string
		code    int
		stdout  string
		stderr  string
	}{
		{"--dry-run", exitDone, "Would delete task hub 'Hub1'.\n", "  tables Hub1History, Hub1Instances\n"},
		{"", exitUsage, "", "there is no terminal to ask on: say --yes, or --dry-run"},
		{"--json", exitUsage, "", "say --yes, or --dry-run"},
		{"extra", exitUsage, "", `unexpected argument \"extra\"`},
		{"--snapshot x", exitUsage, "", "a capture cannot be changed"},
	} {
		got := taskhubRun(t, append(slices.Clone(del), strings.Fields(tt.options)...)...)
		if got.code != tt.code || got.stdout != tt.stdout || !strings.Contains(strings.ReplaceAll(got.stderr, `"extra"`, `\"extra\"`), tt.stderr) {
			t.Errorf("%q: %+v, want %+v", tt.options, got, tt)
		}
	}
	if d := cmp.Diff(whole, emulator.Listing(t)); d != "" || len(proxy.Mutating()) > 0 {
		t.Fatalf("changed: %s%q", d, proxy.Mutating())
	}

	got := taskhubRun(t, append(del, "--yes")...)
	if got.code != exitDone || got.stdout != "Task hub 'Hub1' successfully deleted.\n" || !strings.Contains(got.stderr, "deleted hub1-control-00\n") {
		t.Errorf("%+v", got)
	}
	if d := cmp.Diff(beside, emulator.Listing(t)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	got = taskhubRun(t, append(del, "--yes")...)
	if got.code != exitDone || got.stdout != "Task hub 'Hub1' was already gone.\n" || !strings.Contains(got.stderr, "similar, and there: ") {
		t.Errorf("again: %+v", got)
	}
	got = taskhubRun(t, append(del, "--json", "--yes")...)
	if got.code != exitDone || !strings.Contains(got.stdout, `"outcome":"was-gone"`) || got.stderr != "" {
		t.Errorf("again: %+v", got)
	}
	if d := cmp.Diff(beside, emulator.Listing(t)); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// A hub that an app runs stays, with all of its ways to say so, unless that is
// forced.
func TestDeleteTaskHubInUse(t *testing.T) {
	for _, name := range []string{"dtfx-2.9.1-live-blob-leases", "dtfx-2.9.1-live-legacy-leases"} {
		c := testhub.ContentOf(t, testhub.OpenHub(t, name))
		emulator := testhub.Azurite(t)
		testhub.Load(t, emulator, c)
		clearSettings(t)
		proxy := testhub.NewProxy(t, emulator)
		t.Setenv(connectionVariable, proxy.ConnectionString())
		whole := emulator.Listing(t)
		del := []string{"delete-task-hub", "--task-hub-name", c.Names.TaskHub, "--yes"}
		for _, options := range [][]string{nil, {"--dry-run"}, {"--json"}} {
			got := taskhubRun(t, append(slices.Clone(del), options...)...)
			if got.code != exitInUse || got.stdout != "" || !strings.Contains(got.stderr, "in use: ") {
				t.Errorf("%s %q: %+v", name, options, got)
			}
		}
		if d := cmp.Diff(whole, emulator.Listing(t)); d != "" || len(proxy.Mutating()) > 0 {
			t.Fatalf("changed: %s%q", d, proxy.Mutating())
		}
		got := taskhubRun(t, append(del, "--force", "--json")...)
		var r deleteReport
		if err := json.Unmarshal([]byte(got.stdout), &r); err != nil || got.code != exitDone || r.Outcome != "deleted" || r.AppRunning != "yes" {
			t.Errorf("%s: %v, %+v", name, err, got)
		}
		if left := emulator.Listing(t); len(left) > 0 {
			t.Errorf("%s: left %q", name, left)
		}
	}
}

// Tables that hubs share stay; and a name in another case is not taken for the
// queues that are called alike.
func TestDeleteTaskHubShared(t *testing.T) {
	emulator := testhub.Azurite(t)
	for _, name := range []string{"shared-tracking-TrackA", "shared-tracking-TrackB", "dtfx-2.9.1-backlog"} {
		testhub.Load(t, emulator, testhub.ContentOf(t, testhub.OpenHub(t, name)))
	}
	clearSettings(t)
	t.Setenv(connectionVariable, emulator.ConnectionString())
	before := emulator.Listing(t)
	got := taskhubRun(t, "delete-task-hub", "--task-hub-name", "BACKLOG", "--yes")
	if after := emulator.Listing(t); slices.Equal(before, after) {
		if got.code != exitUsage || !strings.Contains(got.stderr, "the hub is called Backlog: name it so") {
			t.Errorf("%+v", got)
		}
	} else {
		t.Errorf("in another case: %+v; left %q", got, after)
	}
	names := hub.Names{TaskHub: "TrackA", TrackingPrefix: "SharedStore"}
	got = taskhubRun(t, append([]string{"delete-task-hub", "--yes"}, hubOptions(names)...)...)
	want := slices.DeleteFunc(slices.Clone(before), func(s string) bool {
		return strings.HasPrefix(s, "queue/tracka-") || strings.HasPrefix(s, "container/tracka-") || s == "table/TrackAPartitions"
	})
	if d := cmp.Diff(want, emulator.Listing(t)); d != "" || got.code != exitDone || !strings.Contains(got.stderr, "stay, as hubs share them: tables SharedStoreHistory, SharedStoreInstances") {
		t.Errorf("%+v (-want +got)\n%s", got, d)
	}
	got = taskhubRun(t, append([]string{"delete-task-hub", "--yes"}, hubOptions(names)...)...)
	if got.code != exitDone || got.stdout != "Task hub 'TrackA' was already gone.\n" {
		t.Errorf("again: %+v", got)
	}
}
