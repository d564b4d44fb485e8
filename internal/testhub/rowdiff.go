package testhub

import (
	"fmt"
	"slices"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/schema"
)

// RowDiff lists what differs between the rows of two states of a hub, sorted, a line
// for each column. Timestamp and ETag do not count, nor do changed values of the
// columns in unless.
func RowDiff(before, after hubtest.Content, unless ...string) []string {
	var lines []string
	for _, table := range []hub.Table{hub.History, hub.Instances} {
		old := make(map[string]schema.Row)
		for _, r := range before.Tables[table] {
			old[r.PartitionKey+"/"+r.RowKey] = r
		}
		for _, r := range after.Tables[table] {
			key := r.PartitionKey + "/" + r.RowKey
			o, ok := old[key]
			if !ok {
				lines = append(lines, key+" new")
				continue
			}
			delete(old, key)
			for _, p := range r.Properties {
				if was := o.Get(p.Name); !was.Equal(p.Value) && !slices.Contains(unless, p.Name) {
					lines = append(lines, fmt.Sprintf("%s %s: %s -> %s", key, p.Name, was, p.Value))
				}
			}
			for _, p := range o.Properties {
				if r.Get(p.Name).Type() == schema.Absent {
					lines = append(lines, key+" "+p.Name+" gone")
				}
			}
		}
		for key := range old {
			lines = append(lines, key+" gone")
		}
	}
	slices.Sort(lines)
	return lines
}
