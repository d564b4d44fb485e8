package manage_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// Each recorded call that purges deletes as many instances as the framework
// answered, and the same ones: those that are gone in the hub that it left.
func TestPurgeRecorded(t *testing.T) {
	e := editorOf(t, "functions-3")
	before, after := traces(e.Content()), traces(recordedHub(t, "functions-3-after-write"))
	purged := map[string]bool{}
	calls := 0
	for line := range bytes.Lines(testhub.Recorded(t, "functions-3", "http-write.jsonl")) {
		var r struct {
			Name, Method, Path string
			Status             int
			JSON               json.RawMessage
		}
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatal(err)
		}
		if r.Method != "DELETE" || !strings.HasPrefix(r.Path, "/instances") {
			continue
		}
		var answer struct{ InstancesDeleted int64 }
		switch r.Status {
		case 200:
			if err := json.Unmarshal(r.JSON, &answer); err != nil {
				t.Fatal(err)
			}
		case 404: // none
		default:
			continue // the call is not well-formed, which a server has to see
		}
		calls++
		at, err := url.Parse(r.Path)
		if err != nil {
			t.Fatal(err)
		}
		deleted := int64(0)
		note := func(p manage.Purged, err error) {
			if err != nil {
				t.Errorf("%s: %v", r.Name, err)
			}
			if deleted += p.Instances; p.Instances > 0 {
				purged[p.InstanceID] = true
			}
		}
		if id, ok := strings.CutPrefix(at.Path, "/instances/"); ok {
			// The framework takes what runs, too.
			note(purger(t, e, manage.PurgeOptions{Force: true}).Instance(t.Context(), id))
		} else {
			f := manage.Filter{}
			if f.CreatedFrom, err = schema.ParseTicks(at.Query().Get("createdTimeFrom")); err != nil {
				t.Fatal(err)
			}
			if name := at.Query().Get("runtimeStatus"); name != "" {
				// An unknown one is none, for the framework; here there is nothing
				// in the time range either.
				if s := schema.StatusNamed(name); s != schema.StatusUnknown {
					f.Statuses = append(f.Statuses, s)
				}
			}
			p := purger(t, e, manage.PurgeOptions{})
			for c, err := range p.Matching(t.Context(), f) {
				if err != nil {
					t.Fatal(err)
				}
				note(p.Candidate(t.Context(), c))
			}
		}
		if deleted != answer.InstancesDeleted {
			t.Errorf("%s: %d instances, the framework deleted %d", r.Name, deleted, answer.InstancesDeleted)
		}
	}
	if calls < 8 {
		t.Fatalf("only %d calls were recorded", calls)
	}
	var want []string
	for id := range before {
		if _, ok := after[id]; !ok && !strings.HasPrefix(id, "folder ") {
			want = append(want, id)
		}
	}
	slices.Sort(want)
	if d := cmp.Diff(want, slices.Sorted(maps.Keys(purged))); d != "" {
		t.Errorf("purged: (-framework +ours)\n%s", d)
	}
	now := traces(e.Content())
	for id := range before {
		folder, isFolder := strings.CutPrefix(id, "folder ")
		gone := purged[id] || isFolder && purged[schema.InstanceID(folder)]
		if d := cmp.Diff(before[id], now[id]); gone && now[id] != nil || !gone && d != "" {
			t.Errorf("%s: (-before +after)\n%s", id, d)
		}
		// What the framework has left of the folders of purged instances: nothing.
		if isFolder && gone && after[id] != nil {
			t.Errorf("the framework has left %s", id)
		}
	}
}
