package manage_test

import (
	"testing"

	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/manage"
)

// The history of the current execution is the same either way, as far as rows of
// other executions are not mixed in.
func TestHistoryOf(t *testing.T) {
	for _, name := range []string{"functions-3", "dtfx-2.9.1", "dtfx-1.17.5"} {
		q, err := manage.New(t.Context(), testhub.OpenHub(t, name), manage.Options{})
		if err != nil {
			t.Fatal(err)
		}
		page, err := q.List(t.Context(), manage.Filter{}, manage.ShowNone, manage.MaxPage, "")
		if err != nil {
			t.Fatal(err)
		}
		events := 0
		for i := range page.States {
			row := &page.States[i].Row
			var want []string
			for e, err := range q.History(t.Context(), row.ID()) {
				if err != nil {
					t.Fatal(err)
				}
				want = append(want, string(e.AppendJSON(nil)))
			}
			n := 0
			for e, err := range q.HistoryOf(t.Context(), row.ID(), row.ExecutionID.Value) {
				if err != nil {
					t.Fatal(err)
				}
				if err := q.LoadTexts(t.Context(), &e); err != nil {
					t.Fatal(err)
				}
				if got := string(e.AppendJSON(nil)); n >= len(want) || got != want[n] {
					t.Errorf("%s: event %d of %q is %.300s", name, n, row.ID(), got)
				}
				n++
			}
			if n != len(want) {
				t.Errorf("%s: %q has %d events, want %d", name, row.ID(), n, len(want))
			}
			events += n
			for _, err := range q.HistoryOf(t.Context(), row.ID(), "another") {
				t.Errorf("%s: %q has a history of an execution that the sentinel does not name (error %v)", name, row.ID(), err)
			}
		}
		if events == 0 {
			t.Errorf("%s: no events", name)
		}
	}
}
