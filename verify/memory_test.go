package verify_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/verify"
)

// A finding owes nothing to the memory of rows, which is used again.
func TestMemoryOfRows(t *testing.T) {
	var paths []string
	for _, rec := range testhub.Recordings {
		paths = append(paths, testhub.HubFile(t, rec.Name))
	}
	damaged, err := filepath.Glob(filepath.Join(testhub.Testdata(t, "damaged"), "*.taskhub"))
	if err != nil || len(damaged) == 0 {
		t.Fatal("no damaged hubs", err)
	}
	for _, path := range append(paths, damaged...) {
		name := filepath.Base(path)
		r, err := snapshot.Open(path, snapshot.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		all := func(r hub.Reader) (found []verify.Finding, sum verify.Summary) {
			findings, summary := verify.Hub(t.Context(), r, verify.Options{})
			for f, err := range findings {
				if err != nil {
					t.Fatal(err)
				}
				found = append(found, f)
			}
			return found, *summary
		}
		want, wantSum := all(r)
		for _, rows := range []int{1, 3, 50} {
			got, gotSum := all(testhub.Scribble(r, rows))
			if d := cmp.Diff(want, got); d != "" {
				t.Errorf("%s in batches of %d: (-want +got)\n%s", name, rows, d)
			}
			if d := cmp.Diff(wantSum, gotSum, cmpopts.IgnoreUnexported(verify.Outcome{})); d != "" {
				t.Errorf("%s in batches of %d: (-want +got)\n%s", name, rows, d)
			}
		}
	}
}
