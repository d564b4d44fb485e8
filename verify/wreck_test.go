package verify_test

import (
	"math/rand/v2"
	"testing"

	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/verify"
)

// Whatever storage holds, a verification ends, with findings and without an
// error, and twice with the same.
func TestWrecked(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	for _, rec := range testhub.Recordings {
		if rec.Name == "dtfx-2.9.1-bulk" || rec.Name == "dtfx-2.9.1-torn" {
			continue // large, and like the others
		}
		t.Run(rec.Name, func(t *testing.T) {
			t.Parallel()
			r := testhub.OpenHub(t, rec.Name)
			info, err := r.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			content := testhub.ContentOf(t, r)
			found := 0
			for seed := range uint64(rounds) {
				rnd := rand.New(rand.NewPCG(seed, 7))
				m := testhub.NewMemory(testhub.Wreck(rnd, content, 1+rnd.IntN(60)))
				m.Started, m.Finished = info.Started, info.Finished
				var first []string
				for turn := range 2 {
					findings, _ := verify.Hub(t.Context(), m, verify.Options{ReadBlobs: seed%2 == 0})
					n := 0
					for f, err := range findings {
						if err != nil {
							t.Fatalf("seed %d: %v", seed, err)
						}
						line := f.Code + " " + f.InstanceID + " " + f.Detail
						switch {
						case turn == 0:
							first = append(first, line)
						case n >= len(first) || first[n] != line:
							t.Fatalf("seed %d: finding %d is %q the second time", seed, n, line)
						}
						n++
					}
					found += n
				}
			}
			if found == 0 && rec.Name != "functions-3-after-write-Nowhere" {
				t.Error("nothing was found")
			}
		})
	}
}
