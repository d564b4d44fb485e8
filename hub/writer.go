package hub

import (
	"context"
	"time"

	"github.com/taskhub-tools/taskhub/schema"
)

// Limits of one [Writer.PutRows], those of a transaction of the Table service.
const (
	MaxBatchRows  = 100
	MaxBatchBytes = 3 << 20 // of JSON; the service's limit is 4 MiB with its framing
)

// MaxMessageDelay is the longest time for which the Queue service hides a new
// message.
const MaxMessageDelay = 7 * 24 * time.Hour

// Writer makes and fills the artifacts of one task hub. All methods may be
// called concurrently and do the same when they are repeated, but for
// PutMessage, which adds another message.
//
// Only what copies a hub into another place holds a Writer; see [Reader] for
// everything else.
type Writer interface {
	// CreateTable makes a table of the hub; one that exists stays as it is.
	CreateTable(ctx context.Context, table Table) error

	// CreateQueue makes a queue; one that exists stays as it is.
	CreateQueue(ctx context.Context, queue string) error

	// CreateContainer makes a container; one that exists stays as it is.
	CreateContainer(ctx context.Context, container string) error

	// PutRows inserts or replaces rows of one partition in one transaction. The
	// service sets Timestamp and ETag. There are at most MaxBatchRows rows of
	// together at most MaxBatchBytes. Rows of the Partitions table are inserted
	// one by one; one that exists must be the same.
	PutRows(ctx context.Context, table Table, rows []schema.Row) error

	// PutBlob uploads a block blob with the content type and metadata of b,
	// replacing one of the same name.
	PutBlob(ctx context.Context, b Blob, data []byte) error

	// PutMessage adds a message that never expires and is invisible for delay,
	// at most MaxMessageDelay, cut to whole seconds as the framework does.
	PutMessage(ctx context.Context, queue, text string, delay time.Duration) error

	// ClearQueue removes all messages of a queue, invisible ones too.
	ClearQueue(ctx context.Context, queue string) error
}
