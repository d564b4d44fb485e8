package hubtest

import (
	"slices"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Content is a task hub as plain data: what a Reader over it must answer. The
// zero Content with a name is a hub that does not exist.
type Content struct {
	Names              hub.Names
	Account            string
	PartitionCount     int
	PartitionCountFrom hub.Origin
	// Tables holds the rows of each table that exists, by PartitionKey and
	// RowKey ([schema.CompareKeys]).
	Tables map[hub.Table][]schema.Row
	// Queues are in the order of their names.
	Queues []Queue
	// Containers are in the order of their names.
	Containers []hub.Container
	// Blobs are in the order of containers and names ([schema.CompareKeys]).
	Blobs []Blob
	// Unreadable lists what is not known of the hub. A service knows everything.
	Unreadable []hub.Unreadable
}

// Queue is a queue and the messages in it that can be seen.
type Queue struct {
	Name string
	// ApproximateCount counts all messages: those that are beyond len(Messages)
	// are invisible.
	ApproximateCount int64
	Messages         []schema.QueueMessage
}

// Blob is a blob and its bytes.
type Blob struct {
	hub.Blob
	Data []byte
}

// Sort puts everything into the order that Content promises.
func (c *Content) Sort() {
	for _, rows := range c.Tables {
		slices.SortStableFunc(rows, func(a, b schema.Row) int {
			return compare(a.PartitionKey, b.PartitionKey, a.RowKey, b.RowKey)
		})
	}
	slices.SortStableFunc(c.Queues, func(a, b Queue) int { return schema.CompareKeys(a.Name, b.Name) })
	slices.SortStableFunc(c.Containers, func(a, b hub.Container) int { return schema.CompareKeys(a.Name, b.Name) })
	slices.SortStableFunc(c.Blobs, func(a, b Blob) int { return compare(a.Container, b.Container, a.Name, b.Name) })
}

func compare(a, b, thenA, thenB string) int {
	if c := schema.CompareKeys(a, b); c != 0 {
		return c
	}
	return schema.CompareKeys(thenA, thenB)
}
