package testhub

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/schema"
)

// Wreck returns a copy of c with some n things changed at random: rows that are
// gone, moved or have odd values, messages and payloads that are cut or changed.
// It is for tests of what must cope with anything that storage may hold.
func Wreck(rnd *rand.Rand, c hubtest.Content, n int) hubtest.Content {
	c.Tables = maps.Clone(c.Tables)
	for t, rows := range c.Tables {
		c.Tables[t] = slices.Clone(rows)
	}
	c.Queues, c.Blobs, c.Containers = slices.Clone(c.Queues), slices.Clone(c.Blobs), slices.Clone(c.Containers)
	for range n {
		switch rnd.IntN(8) {
		case 0:
			wreckMessage(rnd, &c)
		case 1:
			wreckBlob(rnd, &c)
		default:
			wreckRow(rnd, &c)
		}
	}
	for t, rows := range c.Tables {
		slices.SortStableFunc(rows, compareRows)
		c.Tables[t] = slices.CompactFunc(rows, func(a, b schema.Row) bool { return compareRows(a, b) == 0 })
	}
	c.Sort()
	return c
}

func compareRows(a, b schema.Row) int { return schema.CompareRows(&a, &b) }

func oneOf[T any](rnd *rand.Rand, all []T) T { return all[rnd.IntN(len(all))] }

var oddTexts = []string{
	"", "null", "{", "[]", `{"a":`, "@", "@@", "^", "\x00", "💣", "sentinel", "0000000000000000", "Running", "Nonsense", "Rewound: TaskFailed",
	"-1", "9223372036854775808", "http://127.0.0.1/x", strings.Repeat("x", 5000),
}

func oddValue(rnd *rand.Rand) schema.Value {
	switch rnd.IntN(7) {
	case 0:
		return schema.Int32(int32(rnd.Uint32()))
	case 1:
		return schema.Int64(int64(rnd.Uint64()))
	case 2:
		return schema.Boolean(rnd.IntN(2) == 0)
	case 3:
		return schema.DateTime(schema.Ticks(rnd.Int64N(int64(schema.MaxTicks))))
	case 4:
		return schema.Int32(int32(rnd.IntN(5)) - 1)
	}
	return schema.String(oneOf(rnd, oddTexts))
}

func wreckRow(rnd *rand.Rand, c *hubtest.Content) {
	t := oneOf(rnd, []hub.Table{hub.Instances, hub.History, hub.History, hub.Partitions})
	rows := c.Tables[t]
	if len(rows) == 0 {
		return
	}
	i := rnd.IntN(len(rows))
	row := rows[i].Clone()
	switch rnd.IntN(6) {
	case 0:
		c.Tables[t] = slices.Delete(rows, i, i+1)
		return
	case 1: // another key, or a second row
		if rnd.IntN(2) == 0 {
			row.RowKey = oneOf(rnd, []string{strings.ToLower(row.RowKey), strings.TrimLeft(row.RowKey, "0"), schema.SentinelRowKey, "x", oneOf(rnd, rows).RowKey})
		} else {
			row.PartitionKey = oneOf(rnd, append([]string{"", "^", "@a@b", "x^0y"}, oneOf(rnd, rows).PartitionKey))
		}
		c.Tables[t] = append(rows, row)
		return
	case 2: // a value of another row
		if other := oneOf(rnd, rows); len(other.Properties) > 0 {
			p := oneOf(rnd, other.Properties)
			row.Set(p.Name, p.Value)
		}
	case 3:
		if len(row.Properties) > 0 {
			row.Set(oneOf(rnd, row.Properties).Name, schema.Value{})
		}
	default:
		if len(row.Properties) > 0 {
			row.Set(oneOf(rnd, row.Properties).Name, oddValue(rnd))
		}
	}
	rows[i] = row
}

func wreckMessage(rnd *rand.Rand, c *hubtest.Content) {
	if len(c.Queues) == 0 {
		return
	}
	q := &c.Queues[rnd.IntN(len(c.Queues))]
	q.Messages = slices.Clone(q.Messages)
	if len(q.Messages) == 0 {
		q.ApproximateCount = rnd.Int64N(4)
		return
	}
	m := &q.Messages[rnd.IntN(len(q.Messages))]
	switch at := rnd.IntN(len(m.Text) + 1); rnd.IntN(4) {
	case 0:
		m.Text = m.Text[:at]
	case 1:
		m.Text = m.Text[:at] + oneOf(rnd, oddTexts) + m.Text[at:]
	case 2:
		m.Text = oneOf(rnd, oddTexts)
	default:
		m.DequeueCount = rnd.Int64()
	}
}

func wreckBlob(rnd *rand.Rand, c *hubtest.Content) {
	if len(c.Blobs) == 0 {
		return
	}
	i := rnd.IntN(len(c.Blobs))
	b := &c.Blobs[i]
	switch rnd.IntN(4) {
	case 0:
		c.Blobs = slices.Delete(c.Blobs, i, i+1)
	case 1:
		b.Data = b.Data[:rnd.IntN(len(b.Data)+1)]
	case 2:
		b.Data = slices.Clone(b.Data)
		if len(b.Data) > 0 {
			b.Data[rnd.IntN(len(b.Data))] ^= byte(1 + rnd.IntN(255))
		}
	default:
		b.Data = []byte(oneOf(rnd, oddTexts))
	}
}
