package diff

import (
	"cmp"
	"iter"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// rows compares a table.
func (w *walk) rows(table hub.Table) error {
	w.total = max(tableRows(&w.a.info, table), tableRows(&w.b.info, table))
	compare := schema.CompareRows
	if table == hub.Partitions {
		compare = w.comparePartitions
	}
	return lockStep(w, &w.a, &w.b,
		func(s *side) iter.Seq2[[]schema.Row, error] { return hub.Batches(w.ctx, s.Reader, table, hub.Keys{}) },
		compare,
		func(a, b *schema.Row) error {
			if a != nil && b != nil && !w.opts.ServiceValues && sameInOrder(a, b) {
				return nil
			}
			return w.row(table, a, b)
		})
}

// tableRows returns the number of rows of a table, or -1.
func tableRows(info *hub.Info, table hub.Table) int64 {
	for i := range info.Tables {
		if info.Tables[i].Table == table {
			return info.Tables[i].Rows
		}
	}
	return -1
}

// comparePartitions is schema.CompareRows for the Partitions table, whose RowKeys are
// the names of queues.
//
// Source: durabletask 2.9.1, TablePartitionLease.cs:24-40.
func (w *walk) comparePartitions(a, b *schema.Row) int {
	if !w.mapped {
		return schema.CompareRows(a, b)
	}
	if n := schema.CompareKeys(a.PartitionKey, b.PartitionKey); n != 0 {
		return n
	}
	return schema.CompareKeys(withoutHub(a.RowKey, w.a.info.Names, ""), withoutHub(b.RowKey, w.b.info.Names, ""))
}

// withoutHub returns a key in whose place one without the name of the hub can be
// compared with one of another hub. The name is cut off where it begins the key,
// or follows one of these folders.
//
// To cut it off some keys of a sorted list and not off others would put them out
// of order, so those in such a folder say first on which side of it they are.
func withoutHub(key string, names hub.Names, folders ...string) string {
	prefix := hubPrefix(names)
	for _, folder := range folders {
		rest, ok := strings.CutPrefix(key, folder)
		if !ok {
			continue
		}
		if role, ok := strings.CutPrefix(rest, prefix); ok {
			return folder + "1" + role
		}
		if schema.CompareKeys(rest, prefix) < 0 {
			return folder + "0" + rest
		}
		return folder + "2" + rest
	}
	return key
}

// hubPrefix begins the names of queues and containers.
func hubPrefix(names hub.Names) string { return strings.ToLower(names.TaskHub) + "-" }

// sameInOrder reports whether two rows have the same properties in the same
// order, as nearly all that are equal have.
func sameInOrder(a, b *schema.Row) bool {
	if len(a.Properties) != len(b.Properties) {
		return false
	}
	for i := range a.Properties {
		p, q := &a.Properties[i], &b.Properties[i]
		if p.Name != q.Name || !p.Value.Equal(q.Value) {
			return false
		}
	}
	return true
}

// row reports what differs between two rows of equal keys, or that there is only
// one.
func (w *walk) row(table hub.Table, a, b *schema.Row) error {
	d := Difference{Kind: Changed}
	key, names := a, w.a.info.Names
	if a == nil {
		key, names = b, w.b.info.Names
	}
	if a == nil || b == nil {
		d.Kind = kindOf(a != nil)
	} else if d.Columns = w.columns(a, b); len(d.Columns) == 0 {
		return nil
	}
	d.Artifact = names.Table(table)
	d.PartitionKey, d.RowKey = strings.Clone(key.PartitionKey), strings.Clone(key.RowKey)
	if table != hub.Partitions {
		d.InstanceID = schema.InstanceID(d.PartitionKey)
	}
	return w.report(d)
}

// columns returns the columns in which two rows differ, by name.
func (w *walk) columns(a, b *schema.Row) []Column {
	var found []Column
	add := func(name string, x, y schema.Value) {
		if !x.Equal(y) && !w.ignores(name) && !w.sameMapped(name, x, y) {
			found = append(found, Column{strings.Clone(name), cloned(x), cloned(y)})
		}
	}
	if w.opts.ServiceValues {
		add("Timestamp", knownTime(a.Timestamp), knownTime(b.Timestamp))
		add("ETag", knownText(a.ETag), knownText(b.ETag))
	}
	x, y := byName(a.Properties), byName(b.Properties)
	for len(x) > 0 || len(y) > 0 {
		switch {
		case len(y) == 0 || len(x) > 0 && x[0].Name < y[0].Name:
			add(x[0].Name, x[0].Value, schema.Value{})
			x = x[1:]
		case len(x) == 0 || y[0].Name < x[0].Name:
			add(y[0].Name, schema.Value{}, y[0].Value)
			y = y[1:]
		default:
			add(x[0].Name, x[0].Value, y[0].Value)
			x, y = x[1:], y[1:]
		}
	}
	slices.SortStableFunc(found, func(a, b Column) int { return cmp.Compare(a.Name, b.Name) })
	return found
}

// byName returns properties in the order of their names; those of a row, which
// may share its memory with others, stay as they are.
func byName(all []schema.Property) []schema.Property {
	r := schema.Row{Properties: slices.Clone(all)}
	r.SortProperties()
	return r.Properties
}

// knownTime and knownText are absent for what is not known.
func knownTime(t schema.Ticks) schema.Value {
	if t == 0 {
		return schema.Value{}
	}
	return schema.DateTime(t)
}

func knownText(s string) schema.Value {
	if s == "" {
		return schema.Value{}
	}
	return schema.String(s)
}

// cloned returns a copy of v that shares no memory with it.
func cloned(v schema.Value) schema.Value {
	r := schema.Row{Properties: []schema.Property{{Value: v}}}
	return r.Clone().Properties[0].Value
}

// sameMapped reports whether two values of an Instances row are the same but for
// the names of the hubs and accounts.
func (w *walk) sameMapped(column string, x, y schema.Value) bool {
	if !w.mapped || w.count.Dataset != Instances {
		return false
	}
	a, okA := x.Text()
	b, okB := y.Text()
	if !okA || !okB {
		return false
	}
	switch column {
	case "TaskHubName":
		return strings.EqualFold(a, w.a.info.Names.TaskHub) && strings.EqualFold(b, w.b.info.Names.TaskHub)
	case "Input", "Output":
		blobA, okA := schema.ParseBlobURL(a, w.a.info.Names.LargeMessages())
		blobB, okB := schema.ParseBlobURL(b, w.b.info.Names.LargeMessages())
		return okA && okB && blobA == blobB
	}
	return false
}
