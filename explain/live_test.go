package explain

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/testhub"
)

// A storage account is explained as its capture is, through a transport that
// lets nothing pass that could change it.
func TestLive(t *testing.T) {
	captured := testhub.OpenHub(t, "functions-3-after-write")
	info, err := captured.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e := testhub.Azurite(t)
	testhub.Load(t, e, testhub.ContentOf(t, captured))
	cfg, err := live.ParseConnectionString(e.ConnectionString())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	h, err := live.Open(t.Context(), cfg, info.Names, live.Options{Transport: testhub.ReadOnly(t, transport)})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for _, id := range []string{
		"failing-1", "hello-1", "w-start", "wait-1", "eholder", "timer-long", "delayed", "hello-2",
		"@counter@locked", "@counter@c3", "@counter@brand-new", "no such instance", "Wait-1",
	} {
		want := explainIn(t, captured, id)
		got, err := Instance(t.Context(), h, id, Options{SkipFindings: true, Now: func() time.Time { return info.Finished.Time() }})
		if err != nil {
			t.Fatal(err)
		}
		if got.Verdict != want.Verdict || got.Condition != want.Condition {
			t.Errorf("%s: %s: %s\nof the capture: %s: %s", id, got.Condition, got.Verdict, want.Condition, want.Verdict)
		}
		if diff := cmp.Diff(awaitsOf(want), awaitsOf(got)); diff != "" {
			t.Errorf("%s: awaits (-capture +account):\n%s", id, diff)
		}
		if diff := cmp.Diff(want.Similar, got.Similar); diff != "" {
			t.Errorf("%s: similar (-capture +account):\n%s", id, diff)
		}
		if len(got.Problems) > 0 {
			t.Errorf("%s: %v", id, got.Problems)
		}
	}
	if _, err := Instance(t.Context(), h, "wait-1", Options{Now: time.Now}); err != nil {
		t.Errorf("with findings: %v", err)
	}
}

func awaitsOf(r *Report) (out []string) {
	for i := range r.Awaits {
		out = append(out, short(&r.Awaits[i]))
	}
	return out
}
