package repair_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/repair"
	"github.com/taskhub-tools/taskhub/schema"
)

// liveHub is a damaged hub in an account of the emulator.
type liveHub struct {
	*live.Editor
	emulator *testhub.Emulator
	content  hubtest.Content // of the capture
}

// load puts a damaged hub into an account. With own, addresses in its rows become
// those of the account, but for those that are to be foreign.
func (d *damaged) load(t *testing.T, own bool) *liveHub {
	t.Helper()
	c := testhub.ContentOf(t, d.r)
	emulator := testhub.Azurite(t)
	container := c.Names.LargeMessages()
	for i := range c.Tables[hub.Instances] {
		r := &c.Tables[hub.Instances][i]
		for _, column := range []string{"Input", "Output"} {
			value, _ := r.Get(column).Text()
			name, ours := schema.ParseBlobURL(value, container)
			if own && ours && strings.Contains(value, "/"+c.Account+"/") {
				r.Set(column, schema.String(schema.BlobURL(emulator.BlobURL, container, name)))
			}
		}
	}
	testhub.Load(t, emulator, c)
	config, err := live.ParseConnectionString(emulator.ConnectionString())
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	e, err := live.OpenEditor(t.Context(), config, c.Names, live.Options{
		Transport: transport, MaxRetries: 3, RetryDelay: time.Millisecond, MaxRetryDelay: time.Second, TryTimeout: 20 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return &liveHub{Editor: e, emulator: emulator, content: c}
}

// state is what the account holds, hidden messages included.
func (h *liveHub) state(t *testing.T) hubtest.Content {
	t.Helper()
	c := testhub.ContentOf(t, h)
	for i := range c.Queues {
		q := &c.Queues[i]
		q.Messages = nil
		for _, m := range h.emulator.AllMessages(t, q.Name) {
			q.Messages = append(q.Messages, schema.QueueMessage{Text: m.Text})
		}
		q.ApproximateCount = int64(len(q.Messages))
	}
	return c
}

// TestLive repairs damaged hubs in an account: the plan of the account itself, and
// that of the capture, which is for the same rows with other versions.
func TestLive(t *testing.T) {
	names := []string{
		"status-drift-output", "sentinel-missing", "blob-foreign-url", "rewind-residue", "message-wrong-partition",
		"lost-work-sub-orchestration", "pending-without-start-scheduled", "entity-lock-orphan",
	}
	if testing.Short() {
		names = names[:2]
	}
	for _, name := range names {
		for _, from := range []string{"account", "capture"} {
			t.Run(name+" from "+from, func(t *testing.T) {
				d := openDamaged(t, name)
				h := d.load(t, from == "account" || name != "blob-foreign-url")
				before := h.state(t)
				// Everything is as if it were a minute after the recording.
				now := func() time.Time { return d.at.Add(time.Minute) }
				opts := repair.Options{Now: now}
				var f *repair.File
				var err error
				if from == "account" {
					opts.BlobURL = h.BlobURL
					f, err = repair.Plan(t.Context(), h, opts)
				} else {
					f, err = repair.Plan(t.Context(), d.r, opts)
				}
				if err != nil {
					t.Fatal(err)
				}
				repairs, _ := planned(f)
				if diff := cmp.Diff(mended[name].repairs, repairs); diff != "" {
					t.Fatalf("repairs (-want +got):\n%s", diff)
				}
				u := new(undo)
				run := func() *repair.Report {
					t.Helper()
					r, err := repair.Apply(t.Context(), h, h, f, repair.ApplyOptions{Journal: u.journal(t, f), Remover: h, Now: now})
					if err != nil {
						t.Fatal(err)
					}
					return r
				}
				if from == "capture" {
					f.Account = h.emulator.Account // the emulator has another one for each test
				}
				r := run()
				if from == "capture" && f.BlobEndpoint != "" {
					// The rows would name payloads where the hub was recorded.
					if r.Count(repair.Skipped) != 1 || !strings.Contains(r.Results[0].Reason, "make the plan from the account") {
						t.Errorf("%+v", r.Results)
					}
					sameHub(t, "not repaired", before, h.state(t))
					return
				}
				if r.Count(repair.Done) != 1 || len(r.Still)+len(r.New) > 0 {
					t.Errorf("%+v", r)
				}
				got := findings(t, h, now)
				if len(got) > 0 {
					t.Errorf("verify still finds %v", got)
				}
				for _, line := range testhub.RowDiff(before, h.state(t)) {
					if id, _, _ := strings.Cut(line, "/"); id != f.Repairs[0].InstanceID {
						t.Errorf("changed besides: %s", line)
					}
				}
				after := h.state(t)
				if r = run(); r.Count(repair.Already) != 1 {
					t.Errorf("the second time: %+v", r.Results)
				}
				sameHub(t, "the second time", after, h.state(t))
				back := u.file(t)
				u = new(undo)
				f = back
				r = run()
				if mended[name].hidden {
					if r.Count(repair.Skipped) != 1 {
						t.Errorf("the undo of what is hidden: %+v", r.Results)
					}
					return
				}
				sameHub(t, "undone", before, h.state(t))
			})
		}
	}
}

// TestLiveDue checks when workers may take what is sent.
func TestLiveDue(t *testing.T) {
	d := openDamaged(t, "lost-work-timer")
	h := d.load(t, true)
	f, err := repair.Plan(t.Context(), h, repair.Options{Now: time.Now, BlobURL: h.BlobURL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repair.Apply(t.Context(), h, h, f, repair.ApplyOptions{Journal: new(undo).journal(t, f), Now: time.Now, Force: true}); err != nil {
		t.Fatal(err)
	}
	queue := "labhub-control-02"
	all := h.emulator.AllMessages(t, queue)
	i := slices.IndexFunc(all, func(m schema.QueueMessage) bool { return strings.Contains(m.Text, `"InstanceId":"approval"`) })
	if i < 0 {
		t.Fatalf("%d messages in %s, none for approval", len(all), queue)
	}
	fires, err := schema.ParseTicks("2026-11-24T04:07:21.8833876Z") // as recorded
	if err != nil {
		t.Fatal(err)
	}
	want := max(fires, all[i].InsertedAt) // when the clock of the machine is later
	if off := all[i].VisibleAt.Time().Sub(want.Time()); off < -2*time.Second || off > 2*time.Second {
		t.Errorf("it is visible %v after the timer fires", off)
	}
}
