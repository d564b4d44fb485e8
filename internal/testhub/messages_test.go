package testhub_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/testhub"
)

// A recorded hub shows the messages that it showed when it was recorded, and has
// the others.
func TestLoadRecorded(t *testing.T) {
	const name = "dtfx-2.9.1-crashed"
	capture := testhub.OpenHub(t, name)
	info, err := capture.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := testhub.Azurite(t)
	testhub.LoadRecorded(t, e, name)
	cfg, err := live.ParseConnectionString(e.ConnectionString())
	if err != nil {
		t.Fatal(err)
	}
	h, err := live.Open(t.Context(), cfg, info.Names, live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = h.Close() }()
	want, got := testhub.ContentOf(t, capture), testhub.ContentOf(t, h)
	for i, q := range want.Queues {
		var wantSeen, gotSeen, wantAll, gotAll []string
		for _, m := range q.Messages {
			wantSeen = append(wantSeen, m.Text)
		}
		for _, m := range got.Queues[i].Messages {
			gotSeen = append(gotSeen, m.Text)
		}
		for _, m := range testhub.RecordedMessages(t, name, q.Name) {
			wantAll = append(wantAll, m.Text)
		}
		for _, m := range e.AllMessages(t, q.Name) {
			gotAll = append(gotAll, m.Text)
			if m.ExpiresAt.Time().Year() != 9999 || m.DequeueCount != 0 || m.VisibleAt < m.InsertedAt {
				t.Errorf("queue %s: %+v", q.Name, m)
			}
		}
		slices.Sort(wantAll)
		slices.Sort(gotAll)
		if diff := cmp.Diff(wantSeen, gotSeen); diff != "" {
			t.Errorf("what can be seen of queue %s (-recorded +loaded):\n%s", q.Name, diff)
		}
		if diff := cmp.Diff(wantAll, gotAll); diff != "" {
			t.Errorf("all of queue %s (-recorded +loaded):\n%s", q.Name, diff)
		}
	}
}
