package hub_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
)

func TestIntersect(t *testing.T) {
	all := []hub.Keys{{}}
	for _, test := range []struct {
		name string
		a, b []hub.Keys
		want []hub.Keys
	}{
		{"everything", all, all, all},
		{"nothing", all, nil, nil},
		{"open ends", []hub.Keys{{From: "c"}}, []hub.Keys{{To: "f"}}, []hub.Keys{{From: "c", To: "f"}}},
		{"apart", []hub.Keys{{To: "c"}}, []hub.Keys{{From: "c"}}, nil},
		{
			"many",
			[]hub.Keys{{To: "c"}, {From: "e", To: "h"}, {From: "k"}},
			[]hub.Keys{{From: "b", To: "f"}, {From: "g", To: "m"}},
			[]hub.Keys{{From: "b", To: "c"}, {From: "e", To: "f"}, {From: "g", To: "h"}, {From: "k", To: "m"}},
		},
		{"entities by prefix", hub.EntityKeys(), []hub.Keys{hub.Prefix("@counter@")}, []hub.Keys{{From: "@counter@", To: "@counterA"}}},
		{"no entities by prefix", hub.OrchestrationKeys(), []hub.Keys{hub.Prefix("@counter@")}, nil},
		{"an escaped prefix", all, []hub.Keys{hub.Prefix("a/")}, []hub.Keys{{From: "a^0", To: "a^1"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, hub.Intersect(test.a, test.b)); diff != "" {
				t.Errorf("Intersect(%v, %v) (-want +got):\n%s", test.a, test.b, diff)
			}
			if diff := cmp.Diff(test.want, hub.Intersect(test.b, test.a)); diff != "" {
				t.Errorf("Intersect(%v, %v) (-want +got):\n%s", test.b, test.a, diff)
			}
		})
	}
}

func TestNames(t *testing.T) {
	// The vectors of the format reference, 10.4.
	n := hub.Names{TaskHub: "SampleHubVS"}
	for _, test := range []struct{ got, want string }{
		{n.Table(hub.History), "SampleHubVSHistory"},
		{n.Table(hub.Instances), "SampleHubVSInstances"},
		{n.Table(hub.Partitions), "SampleHubVSPartitions"},
		{n.ControlQueue(3), "samplehubvs-control-03"},
		{n.WorkItemQueue(), "samplehubvs-workitems"},
		{n.Leases(), "samplehubvs-leases"},
		{n.AppLease(), "samplehubvs-applease"},
		{n.LargeMessages(), "samplehubvs-largemessages"},
	} {
		if test.got != test.want {
			t.Errorf("name %q, want %q", test.got, test.want)
		}
	}
	tracked := hub.Names{TaskHub: "TrackA", TrackingPrefix: "SharedStore"}
	if got := tracked.Table(hub.Instances) + " " + tracked.Table(hub.Partitions); got != "SharedStoreInstances TrackAPartitions" {
		t.Errorf("tables of a tracking store: %s", got)
	}
}
