package verify_test

import (
	"slices"
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/verify"
)

// Nothing is wrong with a hub because a part of it could not be read: what needs
// the part cannot be told.
func TestUnreadable(t *testing.T) {
	tests := []struct {
		artifact string
		drop     func(m *testhub.Memory)
		// unknown are some of the checks that need it.
		unknown []string
	}{
		{"table LabHubInstances", func(m *testhub.Memory) { delete(m.Content.Tables, hub.Instances) }, []string{"instance-missing", "status-drift", "blob-orphan"}},
		{"table LabHubHistory", func(m *testhub.Memory) { delete(m.Content.Tables, hub.History) }, []string{"history-missing", "sentinel-missing", "blob-orphan"}},
		{"table LabHubPartitions", func(m *testhub.Memory) { delete(m.Content.Tables, hub.Partitions) }, []string{"partition-unowned", "partition-count-skew"}},
		{"queues", func(m *testhub.Memory) { m.Content.Queues = nil }, []string{"poison-message", "hub-debris"}},
		{"containers", func(m *testhub.Memory) { m.Content.Containers, m.Content.Blobs = nil, nil }, []string{"blob-missing", "blob-corrupt", "hub-debris"}},
	}
	for _, tt := range tests {
		t.Run(tt.artifact, func(t *testing.T) {
			severe := func(m *testhub.Memory) (n int, unknown []string) {
				findings, summary := verify.Hub(t.Context(), m, verify.Options{MinSeverity: verify.Warning})
				for _, err := range findings {
					if err != nil {
						t.Fatal(err)
					}
					n++
				}
				for _, c := range summary.Checks {
					if c.Unknown == 1 && c.OK+c.Violated == 0 && c.Reasons[0].Example == tt.artifact {
						unknown = append(unknown, c.Code)
					}
				}
				return n, unknown
			}
			r := testhub.OpenHub(t, "dtfx-2.9.1")
			info, err := r.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			m := testhub.NewMemory(testhub.ContentOf(t, r))
			m.Started, m.Finished = info.Started, info.Finished
			tt.drop(m)
			if n, _ := severe(m); n == 0 {
				t.Error("without the part nothing is found, so that this test shows nothing")
			}
			m.Content.Unreadable = []hub.Unreadable{{Artifact: tt.artifact, Reason: "not authorised"}}
			n, unknown := severe(m)
			if n != 0 {
				t.Errorf("%d findings above info, want none", n)
			}
			for _, code := range tt.unknown {
				if !slices.Contains(unknown, code) {
					t.Errorf("%s can be told; unknown are %v", code, unknown)
				}
			}
		})
	}
}
