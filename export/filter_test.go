package export_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/export"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

func ticks(t ns) schema.Ticks { return schema.TicksOf(time.Unix(0, int64(t))) }

// selects is a filter in plain words: id is an instance, row its Instances row or
// nil.
func selects(f *export.Filter, id string, row cells) bool {
	if len(f.IDs) > 0 && !slices.Contains(f.IDs, id) || !strings.HasPrefix(id, f.IDPrefix) {
		return false
	}
	if entity := strings.HasPrefix(id, "@"); f.Entities == export.OnlyEntities && !entity || f.Entities == export.NoEntities && entity {
		return false
	}
	if len(f.Statuses) > 0 {
		status, _ := row["runtime_status"].(string)
		if !slices.ContainsFunc(f.Statuses, func(s string) bool { return strings.EqualFold(s, status) }) {
			return false
		}
	}
	if len(f.Names) > 0 {
		if name, ok := row["name"].(string); !ok || !slices.Contains(f.Names, name) {
			return false
		}
	}
	for column, bounds := range map[string][2]schema.Ticks{
		"created_time": {f.CreatedFrom, f.CreatedTo}, "last_updated_time": {f.UpdatedFrom, f.UpdatedTo},
	} {
		at, ok := row[column].(ns)
		if bounds[0] != 0 && (!ok || ticks(at) < bounds[0]) || bounds[1] != 0 && (!ok || ticks(at) > bounds[1]) {
			return false
		}
	}
	return true
}

// filtered returns the rows of a dataset that a filter leaves. Rows that belong
// to no instance stay only if there is no condition.
func (s *stored) filtered(d export.Dataset, f *export.Filter) (left []cells) {
	instances := map[string]cells{}
	for _, row := range s.rows(export.Instances) {
		instances[as[string](row["instance_id"])] = row
	}
	none := fmt.Sprintf("%+v", *f) == fmt.Sprintf("%+v", export.Filter{})
	for _, row := range s.rows(d) {
		id, ok := row["instance_id"].(string)
		if none || ok && selects(f, id, instances[id]) {
			left = append(left, row)
		}
	}
	return left
}

func TestFilters(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"dtfx-2.9.1", "functions-3-after-write", "dtfx-2.9.1-crashed"} {
		s := storedHub(t, name)
		r := testhub.OpenHub(t, name)
		rows := s.rows(export.Instances)
		slices.SortFunc(rows, func(a, b cells) int { return int(as[ns](a["created_time"]) - as[ns](b["created_time"])) })
		at := func(part float64, column string) schema.Ticks {
			return ticks(as[ns](rows[int(part*float64(len(rows)-1))][column]))
		}
		created, updated := at(0.5, "created_time"), at(0.4, "last_updated_time")
		var someID string
		var all []string
		for _, row := range rows {
			all = append(all, as[string](row["instance_id"]))
		}
		someID = all[len(all)/2]

		tests := map[string]export.Filter{
			"none":             {},
			"status":           {Statuses: []string{"completed"}},
			"two statuses":     {Statuses: []string{"PENDING", "Running"}},
			"name":             {Names: []string{"HelloSequence"}},
			"names":            {Names: []string{"HelloSequence", "Child", "nobody", "@counter@c1"}},
			"name in case":     {Names: []string{"hellosequence"}},
			"created from":     {CreatedFrom: created},
			"created after":    {CreatedFrom: created + 1},
			"created to":       {CreatedTo: created},
			"created before":   {CreatedTo: created - 1},
			"created at":       {CreatedFrom: created, CreatedTo: created},
			"created never":    {CreatedFrom: created + 1, CreatedTo: created},
			"updated from":     {UpdatedFrom: updated},
			"updated to":       {UpdatedTo: updated},
			"updated at":       {UpdatedFrom: updated, UpdatedTo: updated},
			"created, updated": {CreatedTo: created, UpdatedFrom: updated},
			"id":               {IDs: []string{someID}},
			"ids":              {IDs: []string{"weird/id#with?all/and^caret", `weird/large\id#?`, "ctl\x01id\x7f", "quote'id", someID, someID, "unknown", "", "@counter@c1", "ünïcode-日本語-😀"}},
			"all ids":          {IDs: all},
			"unknown":          {IDs: []string{"unknown"}},
			"id and prefix":    {IDs: []string{"order-1", "order-10", "reused"}, IDPrefix: "order-1"},
			"prefix order-1":   {IDPrefix: "order-1"},
			"prefix weird/":    {IDPrefix: "weird/"},
			"prefix @counter@": {IDPrefix: "@counter@"},
			"prefix @":         {IDPrefix: "@"},
			"prefix emoji":     {IDPrefix: "ünïcode-日本語-😀"},
			"prefix ctl":       {IDPrefix: "ctl\x01"},
			"prefix unknown":   {IDPrefix: "zzz"},
			"no entities":      {Entities: export.NoEntities},
			"only entities":    {Entities: export.OnlyEntities},
			"entities, prefix": {Entities: export.OnlyEntities, IDPrefix: "@counter@c"},
			"nothing":          {Entities: export.NoEntities, IDPrefix: "@"},
			"everything": {
				Entities: export.NoEntities, Statuses: []string{"Completed", "Failed"}, CreatedTo: created, UpdatedFrom: updated - 50_000_000,
				Names: []string{"HelloSequence", "FanOut", "Child"},
			},
		}
		for what, f := range tests {
			for _, d := range export.Datasets {
				where := name + " " + string(d) + ", filter " + what
				statuses := slices.Clone(f.Statuses)
				got := exportRows(t, r, d, export.Options{Filter: f})
				compareRows(t, where, d, s.filtered(d, &f), got)
				if !slices.Equal(f.Statuses, statuses) {
					t.Errorf("%s: the caller's statuses have become %q", where, f.Statuses)
				}
			}
		}
		// The tests themselves would be no good if filters left nothing, or all.
		if n := len(s.filtered(export.Instances, &export.Filter{CreatedFrom: created})); n == 0 || n == len(rows) {
			t.Errorf("%s: created from leaves %d of %d", name, n, len(rows))
		}
	}
}

// Prefixes whose end is no simple increment.
func TestPrefixesAtTheEndsOfUnicode(t *testing.T) {
	t.Parallel()
	ids := []string{
		"", "a", "a\uD7FF", "a\uD7FFb", "a\U00010000", "a\U0010FFFF", "a\U0010FFFFz", "a\uE000", "a\uFFFF", "a\uFFFFx", "b", "😀", "😀a", "😁",
		"@", "@x@y", "@x@", "A", "?", "^", "^^", "^0", "/", "a/b", "a/", "a\\", "\uFFFF", "\uFFFF\uFFFF", "\U0010FFFF", "'", "''", "order'1",
	}
	var rows []schema.Row
	for _, id := range ids {
		rows = append(rows, instance(id, "F"), event(id, 0, "x", "OrchestratorStarted"), sentinel(id, "x"))
	}
	r := madeUpHub(rows...)
	filters := []export.Filter{{Entities: export.NoEntities}, {Entities: export.OnlyEntities}, {IDs: ids}, {IDs: []string{"", "😀", "a/b"}}}
	for _, id := range ids {
		filters = append(filters, export.Filter{IDPrefix: id}, export.Filter{IDs: []string{id}}, export.Filter{IDPrefix: id, Entities: export.NoEntities},
			export.Filter{IDPrefix: id, IDs: ids[3:20], Entities: export.OnlyEntities})
	}
	for _, f := range filters {
		for _, d := range []export.Dataset{export.Instances, export.History} {
			var want, got []string
			for _, id := range ids {
				if selects(&f, id, cells{}) {
					want = append(want, id)
				}
			}
			for _, row := range exportRows(t, r, d, export.Options{Filter: f}) {
				got = append(got, as[string](row["instance_id"]))
			}
			slices.Sort(want)
			slices.Sort(got)
			if !slices.Equal(got, want) {
				t.Errorf("%s with %+v: %q, want %q", d, f, got, want)
			}
		}
	}
}

// Rows without an Instances row are exported unless a condition asks for it.
func TestHistoryWithoutInstance(t *testing.T) {
	t.Parallel()
	r := madeUpHub(event("orphan", 0, "x", "OrchestratorStarted"), sentinel("orphan", "x"), instance("a", "F"), event("a", 0, "x", "OrchestratorStarted"))
	for _, test := range []struct {
		f    export.Filter
		want int
	}{
		{export.Filter{}, 2},
		{export.Filter{IDPrefix: "or"}, 1},
		{export.Filter{Names: []string{"F"}}, 1},
		{export.Filter{Statuses: []string{"Completed", "Pending"}}, 1},
		{export.Filter{CreatedTo: schema.MaxTicks}, 1},
		{export.Filter{CreatedFrom: 1}, 1},
	} {
		if got := exportRows(t, r, export.History, export.Options{Filter: test.f}); len(got) != test.want {
			t.Errorf("%+v leaves %d rows, want %d", test.f, len(got), test.want)
		}
	}
}

// The manifest says what was left out, in the form of the options.
func TestFilterInManifest(t *testing.T) {
	t.Parallel()
	_, m := run(t, testhub.OpenHub(t, "dtfx-2.9.1"), export.Options{
		Filter: export.Filter{Statuses: []string{"completed"}, CreatedFrom: someTime, IDPrefix: "a"}, Redact: export.RedactHash,
	})
	f := m.Options.Filter
	if f == nil || fmt.Sprint(f.Statuses) != "[Completed]" || f.CreatedFrom != someTime.String() || f.CreatedTo != "" || f.IDPrefix != "a" || m.Options.Redact != "hash" {
		t.Errorf("the manifest says %+v", m.Options)
	}
	if _, m := run(t, madeUpHub(), export.Options{}); m.Options.Filter != nil {
		t.Errorf("without a filter the manifest says %+v", m.Options)
	}
}

// Options are refused before anything is read or made.
func TestInvalidOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []export.Options{
		{Datasets: []export.Dataset{"instance"}},
		{Datasets: []export.Dataset{""}},
		{Datasets: []export.Dataset{export.History, export.History}},
		{Format: "csv"},
		{Format: "Parquet"},
		{Redact: "all"},
		{PartitionBy: []export.PartitionKey{"name"}},
		{PartitionBy: []export.PartitionKey{export.ByDate, export.ByDate}},
		{PartitionBy: []export.PartitionKey{"../x"}},
		{Filter: export.Filter{Entities: "no"}},
		{Filter: export.Filter{Statuses: []string{"Done"}}},
		{Filter: export.Filter{Statuses: []string{"Running", ""}}},
		{PartBytes: -1},
		{MaxPayloadBytes: -1},
		{Workers: -1},
	} {
		dir := t.TempDir() + "/out"
		if _, err := export.Run(t.Context(), untouchable(t), dir, o); err == nil || !strings.Contains(err.Error(), "invalid option") {
			t.Errorf("Run with %+v returns %v", o, err)
		}
		if left := files(t, dir); len(left) > 0 {
			t.Errorf("Run with %+v leaves %q", o, left)
		}
		o.Datasets = nil
		if _, err := export.Stream(t.Context(), untouchable(t), nil, "", o); err == nil {
			t.Errorf("Stream with %+v succeeds", o)
		}
	}
}
