package hub

import (
	"context"
	"errors"
	"iter"

	"github.com/taskhub-tools/taskhub/schema"
)

// Conditions that callers branch on. Errors of every Reader wrap one of them
// where it applies.
var (
	// ErrNotFound is returned for a hub, container or blob that does not exist.
	ErrNotFound = errors.New("not found")
	// ErrInUse is returned when a running app holds what was asked for.
	ErrInUse = errors.New("in use")
	// ErrUnauthorized is returned when the service refuses the credentials.
	ErrUnauthorized = errors.New("not authorised")
	// ErrTooLarge is returned for content beyond a limit that the caller set.
	ErrTooLarge = errors.New("larger than the limit")
)

// Reader reads one task hub. All methods may be called concurrently.
//
// Streams yield at most one error, as their last element and with a zero value.
// Ranging again starts over. What a stream yields belongs to the caller, but
// rows share the memory of their page: keep a [schema.Row.Clone] of one that
// outlives the page.
type Reader interface {
	// Info describes the hub. It returns ErrNotFound if nothing of it exists,
	// and for a capture without any table, queue or container.
	Info(ctx context.Context) (Info, error)

	// Rows streams the rows of a table whose keys match, ordered by
	// PartitionKey and then RowKey ([schema.CompareKeys]). A table that does
	// not exist has no rows. Peak memory is a few pages of up to 1,000 rows.
	Rows(ctx context.Context, table Table, keys Keys) iter.Seq2[schema.Row, error]

	// Split cuts a table into at most n adjoining ranges of about equal size,
	// in key order, which together cover every key. Boundaries never divide a
	// partition. It may return fewer, but never none.
	Split(ctx context.Context, table Table, n int) ([]Keys, error)

	// Queues lists the queues of the hub by name.
	Queues(ctx context.Context) ([]Queue, error)

	// Messages streams the messages of a queue that can be seen without
	// receiving them, in queue order. Messages that are invisible (timers,
	// scheduled starts, work in progress) cannot be seen at all: compare with
	// Queue.ApproximateCount. A queue that does not exist has none.
	Messages(ctx context.Context, queue string) iter.Seq2[schema.QueueMessage, error]

	// Containers lists the containers of the hub by name.
	Containers(ctx context.Context) ([]Container, error)

	// Blobs streams the blobs of a container whose names begin with prefix, in
	// the order of their names ([schema.CompareKeys]). A container that does
	// not exist has none.
	Blobs(ctx context.Context, container, prefix string) iter.Seq2[Blob, error]

	// ReadBlob returns a blob's bytes as stored. It returns ErrNotFound, or
	// ErrTooLarge if the blob has more than limit bytes. Errors name the blob.
	ReadBlob(ctx context.Context, container, name string, limit int64) ([]byte, error)

	// Close frees what the Reader holds. Streams must have ended.
	Close() error
}

// Origin says how a partition count is known, the best source first.
//
// Source: durabletask 2.9.1, AzureStorageOrchestrationService.cs:639-678.
type Origin string

// The sources of a partition count.
const (
	FromPartitionsTable Origin = "partitions-table"
	FromTaskHubJSON     Origin = "taskhub.json"
	FromControlQueues   Origin = "control-queues"
)

// Info describes a hub as a whole.
type Info struct {
	Names Names
	// Account is the name of the storage account; empty if unknown.
	Account string
	// PartitionCount is 1 to 16, or 0 if nothing in storage tells it.
	PartitionCount     int
	PartitionCountFrom Origin
	// Started and Finished bound the time in which a capture was taken. Both
	// are zero for a live hub.
	Started, Finished schema.Ticks
	// Tables describes those tables that exist.
	Tables []TableInfo
	// Unreadable lists what a capture could not read.
	Unreadable []Unreadable
}

// TableInfo describes one table.
type TableInfo struct {
	Table Table
	Name  string
	// Rows is the number of rows, or -1 if only a scan could tell.
	Rows int64
	// Started and Finished bound the time in which a capture read this table.
	Started, Finished schema.Ticks
}

// WhyUnreadable returns why an artifact could not be read; empty if it could, or
// if it is known not to exist. Artifacts are called as in Unreadable: queues,
// containers, table NAME, queue NAME, blob CONTAINER/NAME.
func (i *Info) WhyUnreadable(artifact string) string {
	for _, u := range i.Unreadable {
		if u.Artifact == artifact && u.Reason != ErrNotFound.Error() {
			return u.Reason
		}
	}
	return ""
}

// Unreadable is a part of a hub that could not be read, and why.
type Unreadable struct {
	Artifact string `json:"artifact"`
	Reason   string `json:"reason"`
}

// Queue describes one queue.
type Queue struct {
	Name string
	// ApproximateCount is the service's count of all messages, invisible ones
	// included.
	ApproximateCount int64
}

// Container describes one blob container.
type Container struct {
	Name       string `json:"name"`
	LeaseState string `json:"lease_state,omitempty"` // available, leased, expired, breaking, broken
}

// Blob describes one blob.
type Blob struct {
	Container    string
	Name         string
	SizeBytes    int64
	ContentMD5   []byte // as the service reports it; nil if it does not
	ContentType  string
	CreatedAt    schema.Ticks
	LastModified schema.Ticks
	LeaseState   string
	Metadata     map[string]string
}
