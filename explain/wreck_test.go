package explain

import (
	"math/rand/v2"
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Whatever storage holds, each instance has an explanation.
func TestWrecked(t *testing.T) {
	rounds := 25
	if testing.Short() {
		rounds = 3
	}
	for _, name := range []string{"dtfx-2.9.1-crashed", "dtfx-2.9.1-odd", "dtfx-1.17.5", "functions-3-after-write", "shared-tracking-TrackA"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := testhub.OpenHub(t, name)
			info, err := r.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			content := testhub.ContentOf(t, r)
			for seed := range uint64(rounds) {
				rnd := rand.New(rand.NewPCG(seed, 11))
				m := testhub.NewMemory(testhub.Wreck(rnd, content, 1+rnd.IntN(60)))
				m.Started, m.Finished = info.Started, info.Finished
				var ids []string
				for _, table := range []hub.Table{hub.Instances, hub.History} {
					for _, row := range m.Content.Tables[table] {
						ids = append(ids, schema.InstanceID(row.PartitionKey))
					}
				}
				for range 12 {
					id := ids[rnd.IntN(len(ids))]
					if id == "" {
						continue
					}
					report, err := Instance(t.Context(), m, id, Options{})
					if err != nil {
						t.Fatalf("seed %d, %q: %v", seed, id, err)
					}
					if report.Verdict == "" {
						t.Errorf("seed %d, %q: no verdict", seed, id)
					}
				}
			}
		})
	}
}
