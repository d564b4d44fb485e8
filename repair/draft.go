package repair

import (
	"context"
	"fmt"
	"slices"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/verify"
)

// draft is a Repair in the making.
type draft struct {
	id       string
	findings []verify.Finding
	does     []string
	writes   []*Write
	messages []Message
	removals []Removal
	keys     []string // PartitionKeys of the instances that it rests on
}

// draft returns that which an instance is part of, a new one if there is none.
func (p *planner) draft(id string) *draft {
	d := p.drafts[id]
	if d == nil {
		d = &draft{id: id}
		p.drafts[id] = d
		d.restsOn(schema.EscapeKey(id))
	}
	return d
}

// restsOn notes that what is done rests on the instance with this key.
func (d *draft) restsOn(partitionKey string) {
	if !slices.Contains(d.keys, partitionKey) {
		d.keys = append(d.keys, partitionKey)
	}
}

// claim makes an instance part of the draft of another one, with what is planned
// for it already.
func (p *planner) claim(d *draft, id string) {
	old := p.draft(id)
	if old == d {
		return
	}
	d.findings, d.does = append(d.findings, old.findings...), append(d.does, old.does...)
	d.writes, d.messages, d.removals = append(d.writes, old.writes...), append(d.messages, old.messages...), append(d.removals, old.removals...)
	for _, key := range old.keys {
		d.restsOn(key)
	}
	for other, owner := range p.drafts {
		if owner == old {
			p.drafts[other] = d
		}
	}
}

// write plans that a row becomes after, or with nil goes. What was planned for the
// row before is part of before.
func (p *planner) write(d *draft, at place, before, after *schema.Row) {
	w := p.writes[at]
	if w == nil {
		w = &Write{Table: at.table.String()}
		if before != nil {
			w.Before = kept(before)
		}
		d.writes = append(d.writes, w)
		p.writes[at] = w
	}
	w.After = nil
	if after != nil {
		w.After = kept(after)
		w.After.Timestamp, w.After.ETag = 0, ""
	}
	p.bytes += size(before) + size(after)
	p.o.put(at, after)
}

func size(row *schema.Row) int64 {
	if row == nil {
		return 0
	}
	return int64(len(row.AppendJSON(nil)))
}

// send plans that a message is sent.
func (p *planner) send(d *draft, m Message) error {
	p.bytes += int64(len(m.Text))
	if m.Blob != nil {
		p.bytes += int64(len(m.Blob.Text))
	}
	d.messages = append(d.messages, m)
	return p.o.send(&m)
}

// complete makes a Repair of a draft. It rests on the sentinels and rows of some
// instances: nothing happens to an instance that leaves both alone.
func (p *planner) complete(ctx context.Context, d *draft) (Repair, error) {
	rep := Repair{
		InstanceID: d.id, Findings: d.findings, Does: d.does, Expects: []Witness{}, Writes: []Write{},
		Messages: append([]Message{}, d.messages...), Removals: append([]Removal{}, d.removals...),
	}
	slices.SortFunc(d.writes, func(a, b *Write) int { return comparePlaces(a.place(), b.place()) })
	for _, w := range d.writes {
		w.Columns = changedColumns(w.Before, w.After)
		rep.Writes = append(rep.Writes, *w)
	}
	slices.SortFunc(d.keys, schema.CompareKeys)
	for _, key := range d.keys {
		for _, at := range []place{{hub.History, key, schema.SentinelRowKey}, {hub.Instances, key, ""}} {
			if slices.ContainsFunc(d.writes, func(w *Write) bool { return w.place() == at }) {
				continue
			}
			row, err := readRow(ctx, p.r, at)
			if err != nil {
				return rep, err
			}
			rep.Expects = append(rep.Expects, Witness{Table: at.table.String(), PartitionKey: at.partitionKey, RowKey: at.rowKey, SHA256: digest(row)})
		}
	}
	return rep, nil
}

// comparePlaces orders rows as they are written: history, sentinels, Instances.
func comparePlaces(a, b place) int {
	if d := rank(a) - rank(b); d != 0 {
		return d
	}
	if c := schema.CompareKeys(a.partitionKey, b.partitionKey); c != 0 {
		return c
	}
	return schema.CompareKeys(a.rowKey, b.rowKey)
}

func rank(at place) int {
	switch {
	case at.table == hub.Instances:
		return 2
	case at.rowKey == schema.SentinelRowKey:
		return 1
	}
	return 0
}

// readRow returns one row, nil if there is none.
func readRow(ctx context.Context, r hub.Reader, at place) (*schema.Row, error) {
	keys := hub.Partition(at.partitionKey)
	keys.RowKey = at.rowKey
	for row, err := range r.Rows(ctx, at.table, keys) {
		if err != nil {
			return nil, fmt.Errorf("read row %s: %w", at, err)
		}
		if row.RowKey == at.rowKey {
			c := row.Clone()
			return &c, nil
		}
	}
	return nil, nil
}
