package repair_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/repair"
)

// Whatever storage holds: a plan ends without an error and twice with the same bytes,
// it mends what it says and nothing gets worse by it, and what takes it back does so.
func TestWrecked(t *testing.T) {
	rounds := 25
	if testing.Short() {
		rounds = 2
	}
	for _, rec := range testhub.Recordings {
		if rec.Name == "dtfx-2.9.1-bulk" || rec.Name == "dtfx-2.9.1-torn" || rec.Uncounted {
			continue // large, and like the others
		}
		t.Run(rec.Name, func(t *testing.T) {
			t.Parallel()
			r := testhub.OpenHub(t, rec.Name)
			info, err := r.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			now := func() time.Time { return info.Finished.Time() }
			content := testhub.ContentOf(t, r)
			repairs, rounds := 0, rounds
			if rec.Name == "dtfx-2.9.1-odd" { // where most instances wait for something
				rounds = max(1, rounds/15)
			}
			for seed := range uint64(rounds) {
				rnd := rand.New(rand.NewPCG(seed, 11))
				wrecked := testhub.Wreck(rnd, content, 1+rnd.IntN(60))
				if rnd.IntN(2) == 0 {
					emptyQueues(&wrecked)
				}
				e := editorOf(wrecked, now)
				opts := repair.Options{Now: now, BlobURL: e.BlobURL}
				f, err := repair.Plan(t.Context(), e, opts)
				if err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				var first, second bytes.Buffer
				if _, err := f.WriteTo(&first); err != nil {
					t.Fatal(err)
				}
				again, err := repair.Plan(t.Context(), e, opts)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := again.WriteTo(&second); err != nil {
					t.Fatal(err)
				}
				if d := cmp.Diff(first.String(), second.String()); d != "" {
					t.Fatalf("seed %d: another plan the second time:\n%s", seed, d)
				}
				if f, err = repair.ParseFile(&first); err != nil {
					t.Fatalf("seed %d: %v", seed, err)
				}
				repairs += len(f.Repairs)
				before := cloneContent(e.Content())
				u := new(undo)
				rep := mustApply(t, e, f, u)
				for _, res := range rep.Results {
					if res.Outcome != repair.Done {
						t.Errorf("seed %d: %s %v: %s: %s", seed, res.InstanceID, res.Codes, res.Outcome, res.Reason)
					}
				}
				for _, f := range rep.Still {
					t.Errorf("seed %d: still %s %s: %s", seed, f.Code, f.InstanceID, f.Detail)
				}
				for _, f := range rep.New {
					t.Errorf("seed %d: new %s %s: %s", seed, f.Code, f.InstanceID, f.Detail)
				}
				for _, l := range f.Left {
					if strings.Contains(l.Reason, "does not mend") {
						t.Errorf("seed %d: planned in vain: %s %s: %s", seed, l.Code, l.InstanceID, l.Detail)
					}
				}
				if u.Len() == 0 {
					continue
				}
				hidden := false
				for _, res := range mustApply(t, e, u.file(t), new(undo)).Results {
					if res.Outcome != repair.Done {
						hidden = hidden || strings.Contains(res.Reason, "hidden until it is due")
						if !hidden {
							t.Errorf("seed %d: undo of %s: %s: %s", seed, res.InstanceID, res.Outcome, res.Reason)
						}
					}
				}
				if d := testhub.RowDiff(before, e.Content()); len(d) > 0 {
					t.Errorf("seed %d: rows that are not as they were:\n%s", seed, strings.Join(d, "\n"))
				}
				if d := cmp.Diff(messages(before), messages(e.Content())); d != "" && !hidden {
					t.Errorf("seed %d: messages (-before +undone):\n%s", seed, d)
				}
			}
			if repairs == 0 && !testing.Short() && rec.Name != "functions-3-after-write-Nowhere" {
				t.Error("nothing was repaired")
			}
		})
	}
}
