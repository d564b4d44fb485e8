package hub

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/taskhub-tools/taskhub/schema"
)

// ErrConflict is returned when a row is not as the caller knows it: it exists
// where it should be new, or somebody else has changed it since it was read.
// Nothing was written.
var ErrConflict = errors.New("changed by somebody else")

// Editor changes single things of a hub that exists and may be in use. All
// methods may be called concurrently.
//
// A row is only ever written in the version that the caller has read: schema.Row
// names it with ETag. Timestamp of a row is the service's and not written.
// Methods return ErrNotFound for a table, queue, container, row or blob that does
// not exist.
//
// A request whose answer was lost is repeated. Of rows, it is then found out
// whether the first one was carried out, and told as if the answer had come; a
// message may be there twice, as it may be with the framework's own clients.
//
// Only what operates a hub holds an Editor; see [Reader] for what looks at one
// and [Writer] for what fills a new one.
type Editor interface {
	// InsertRow adds a row and returns its ETag. It returns ErrConflict if there
	// is one with its keys.
	InsertRow(ctx context.Context, table Table, row schema.Row) (etag string, err error)

	// ReplaceRow makes row, with no other properties than these, of the row that
	// has row.ETag, and returns the new ETag. It returns ErrConflict if the row
	// has another one by now.
	ReplaceRow(ctx context.Context, table Table, row schema.Row) (etag string, err error)

	// MergeRow sets the properties of row in the row that has row.ETag and leaves
	// its others as they are. It returns the new ETag, or ErrConflict.
	MergeRow(ctx context.Context, table Table, row schema.Row) (etag string, err error)

	// DeleteRows deletes rows of one partition, at most MaxBatchRows, all or none
	// of them. Of rows, keys and ETag count; one without ETag is deleted in
	// whatever version it has. It returns ErrConflict if a row has another ETag,
	// and ErrNotFound if a row does not exist.
	DeleteRows(ctx context.Context, table Table, rows []schema.Row) error

	// CreateContainer makes a container; one that exists stays as it is.
	CreateContainer(ctx context.Context, container string) error

	// PutBlob uploads a block blob with the content type and metadata of b,
	// replacing one of the same name.
	PutBlob(ctx context.Context, b Blob, data []byte) error

	// DeleteBlob deletes a blob and its snapshots. It returns ErrInUse if the
	// blob is leased.
	DeleteBlob(ctx context.Context, container, name string) error

	// BlobURL returns the address by which rows refer to a blob. It sends nothing.
	BlobURL(container, name string) string

	// PutMessage adds a message that never expires and is invisible for delay,
	// at most MaxMessageDelay, cut to whole seconds as the framework does.
	PutMessage(ctx context.Context, queue, text string, delay time.Duration) error

	// DeleteTable deletes a table of the hub. It refuses to delete one that the
	// hub shares with others (Names.TrackingPrefix).
	DeleteTable(ctx context.Context, table Table) error

	// DeleteQueue deletes a queue with its messages.
	DeleteQueue(ctx context.Context, queue string) error

	// DeleteContainer deletes a container with its blobs. It returns ErrInUse if
	// the container is leased.
	DeleteContainer(ctx context.Context, container string) error

	// BreakLease ends the lease of a container at once; one without a lease
	// stays as it is.
	BreakLease(ctx context.Context, container string) error
}

// Receiver reads whole queues of a hub by receiving their messages, which a peek
// cannot: it shows the first 32 only. It changes nothing of a message but its
// count of deliveries and the time at which it was last hidden.
type Receiver interface {
	// ReceiveMessages streams the messages of a queue that are visible, each
	// once, in the order in which the service gives them out. They are hidden
	// while the stream goes on, and made visible again at its end however it
	// ends; if the program is killed, the service does so after hidden.
	ReceiveMessages(ctx context.Context, queue string, hidden time.Duration) iter.Seq2[schema.QueueMessage, error]
}
