package live

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Writer makes and fills a task hub of an account. It reads, too: what it has
// written, or what was there before. It is safe for concurrent use.
type Writer struct{ *Hub }

var _ hub.Writer = (*Writer)(nil)

// OpenWriter returns a Writer of the hub with these names, which need not exist.
// It sends what [Open] sends: nothing is made before the first method is called.
func OpenWriter(ctx context.Context, cfg Config, names hub.Names, opts Options) (*Writer, error) {
	h, err := Open(ctx, cfg, names, opts)
	if err != nil {
		return nil, err
	}
	return &Writer{h}, nil
}

// unless returns err, or nil if it is the answer that what is to be made exists.
func unless(code string, err error) error {
	var answered *azcore.ResponseError
	if errors.As(err, &answered) && answered.ErrorCode == code {
		return nil
	}
	return err
}

// whole repeats a write until its answer arrives whole. The SDK repeats requests
// itself, but none of the method POST of whose answer only the beginning came: it
// may have been carried out. Here that does no harm, as everything that is written
// may be written again; messages are counted in the end.
func whole(do func() error) error {
	for try := 1; ; try++ {
		err := do()
		var failed *RequestError
		if try == 1+defaultRetries || !errors.As(err, &failed) || !failed.brokenOff {
			return err
		}
	}
}

// CreateTable implements [hub.Writer].
func (w *Writer) CreateTable(ctx context.Context, table hub.Table) error {
	return whole(func() error {
		var c call
		_, err := w.tracking.tables.CreateTable(c.in(ctx), w.names.Table(table), nil)
		if err = unless(string(aztables.TableAlreadyExists), err); err != nil {
			return fmt.Errorf("create table %s: %w", w.names.Table(table), c.fail(ctx, err))
		}
		return nil
	})
}

// CreateQueue implements [hub.Writer].
func (w *Writer) CreateQueue(ctx context.Context, queue string) error {
	var c call
	_, err := w.main.queues.CreateQueue(c.in(ctx), queue, nil)
	if err = unless("QueueAlreadyExists", err); err != nil {
		return fmt.Errorf("create queue %s: %w", queue, c.fail(ctx, err))
	}
	return nil
}

// CreateContainer implements [hub.Writer].
func (w *Writer) CreateContainer(ctx context.Context, container string) error {
	var c call
	_, err := w.tracking.blobs.CreateContainer(c.in(ctx), container, nil)
	if err = unless("ContainerAlreadyExists", err); err != nil {
		return fmt.Errorf("create container %s: %w", container, c.fail(ctx, err))
	}
	return nil
}

// PutRows implements [hub.Writer].
func (w *Writer) PutRows(ctx context.Context, table hub.Table, rows []schema.Row) error {
	if len(rows) > 0 && rows[0].PartitionKey == "" {
		err := whole(func() error { return w.addRows(ctx, table, rows) })
		var failed *RequestError
		if errors.As(err, &failed) && failed.Status == http.StatusConflict {
			// It was sent twice, as the first answer did not come: look again.
			err = w.addRows(ctx, table, rows)
		}
		return err
	}
	// Most rows are new, and an insertion costs the service less than a
	// replacement. Only if one of them exists are all of them replaced. The
	// answer to a transaction that fails is 202 with the reason inside, of which
	// the emulator gives no code: any refusal is answered with the other kind,
	// whose error is then the one that counts.
	err := w.submit(ctx, table, rows, false)
	var failed *RequestError
	if errors.As(err, &failed) && (failed.Status == http.StatusAccepted || failed.Status == http.StatusConflict) {
		err = w.submit(ctx, table, rows, true)
	}
	if err != nil {
		return fmt.Errorf("write %d rows of %s, partition %q: %w", len(rows), w.names.Table(table), rows[0].PartitionKey, err)
	}
	return nil
}

// submit inserts rows, or replaces them. One alone is no transaction, which costs
// the service more.
func (w *Writer) submit(ctx context.Context, table hub.Table, rows []schema.Row, replace bool) error {
	name := w.names.Table(table)
	return whole(func() error {
		if len(rows) != 1 {
			return w.tracking.batch(ctx, name, rows, replace)
		}
		r := rows[0]
		r.Timestamp, r.ETag = 0, "" // the service's
		var c call
		var err error
		if client, entity := w.tracking.tables.NewClient(name), r.AppendJSON(nil); replace {
			_, err = client.UpsertEntity(c.in(ctx), entity, &aztables.UpsertEntityOptions{UpdateMode: aztables.UpdateModeReplace})
		} else {
			_, err = client.AddEntity(c.in(ctx), entity, nil)
		}
		if err != nil {
			return c.fail(ctx, err)
		}
		return nil
	})
}

// addRows writes rows whose PartitionKey is empty, those of the Partitions table.
// The SDK takes such a key for a mistake in everything but an insertion, so a row
// that exists cannot be replaced: it must be the wanted one already.
func (w *Writer) addRows(ctx context.Context, table hub.Table, rows []schema.Row) error {
	existing := make(map[string]schema.Row)
	for row, err := range w.Rows(ctx, table, hub.Partition("")) {
		if err != nil {
			return err
		}
		existing[row.RowKey] = row
	}
	client := w.tracking.tables.NewClient(w.names.Table(table))
	for i := range rows {
		r := rows[i]
		if old, ok := existing[r.RowKey]; ok {
			if !schema.SameProperties(&old, &r) {
				return fmt.Errorf("row %q of %s is there with other values: %w", r.RowKey, w.names.Table(table), hub.ErrInUse)
			}
			continue
		}
		r.Timestamp, r.ETag = 0, ""
		var c call
		if _, err := client.AddEntity(c.in(ctx), r.AppendJSON(nil), nil); err != nil {
			return fmt.Errorf("write row %q of %s: %w", r.RowKey, w.names.Table(table), c.fail(ctx, err))
		}
	}
	return nil
}

// PutBlob implements [hub.Writer].
func (w *Writer) PutBlob(ctx context.Context, b hub.Blob, data []byte) error {
	var c call
	// A larger one takes several requests, which must not be about c at once.
	opts := &blockblob.UploadBufferOptions{Metadata: make(map[string]*string, len(b.Metadata)), Concurrency: 1}
	if len(data) <= blockblob.MaxUploadBlobBytes {
		c.body = data
	}
	for k, v := range b.Metadata {
		opts.Metadata[k] = to.Ptr(v)
	}
	if b.ContentType != "" {
		opts.HTTPHeaders = &blob.HTTPHeaders{BlobContentType: to.Ptr(b.ContentType)}
	}
	_, err := w.tracking.blobs.NewContainerClient(b.Container).NewBlockBlobClient(b.Name).UploadBuffer(c.in(ctx), slices.Clip(data), opts)
	if err != nil {
		return fmt.Errorf("write blob %s/%s: %w", b.Container, b.Name, c.fail(ctx, err))
	}
	return nil
}

// PutMessage implements [hub.Writer].
func (w *Writer) PutMessage(ctx context.Context, queue, text string, delay time.Duration) error {
	if delay < 0 || delay > hub.MaxMessageDelay {
		return fmt.Errorf("write message to %s: a delay of %v, want 0 to %v", queue, delay, hub.MaxMessageDelay)
	}
	return whole(func() error {
		var c call
		_, err := w.main.queues.NewQueueClient(queue).EnqueueMessage(c.in(ctx), text, &azqueue.EnqueueMessageOptions{
			TimeToLive: to.Ptr(int32(-1)), VisibilityTimeout: to.Ptr(int32(delay / time.Second)),
		})
		if err != nil {
			return fmt.Errorf("write message to %s: %w", queue, c.fail(ctx, err))
		}
		return nil
	})
}

// ClearQueue implements [hub.Writer].
func (w *Writer) ClearQueue(ctx context.Context, queue string) error {
	var c call
	if _, err := w.main.queues.NewQueueClient(queue).ClearMessages(c.in(ctx), nil); err != nil {
		return fmt.Errorf("clear queue %s: %w", queue, c.fail(ctx, err))
	}
	return nil
}
