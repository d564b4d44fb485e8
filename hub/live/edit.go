package live

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Editor changes a task hub of an account. It reads, too. It is safe for
// concurrent use.
//
// The credentials need the permissions read, add, update and delete for tables,
// add for queues, create, write and delete for blobs, and delete for what is
// deleted as a whole. An access that is missing shows as hub.ErrUnauthorized
// with the first request that needs it.
type Editor struct {
	*Hub
	w *Writer
}

var _ hub.Editor = (*Editor)(nil)

// OpenEditor returns an Editor of the hub with these names. It sends what [Open]
// sends.
func OpenEditor(ctx context.Context, cfg Config, names hub.Names, opts Options) (*Editor, error) {
	h, err := Open(ctx, cfg, names, opts)
	if err != nil {
		return nil, err
	}
	return &Editor{Hub: h, w: &Writer{h}}, nil
}

// conflict adds hub.ErrConflict to an error that stands for it. Other reasons to
// answer 409 or 412, such as a lease, have a condition already.
func conflict(err error) error {
	var e *RequestError
	if errors.As(err, &e) && e.kind == nil && (e.Status == http.StatusConflict || e.Status == http.StatusPreconditionFailed) {
		e.kind = hub.ErrConflict
	}
	return err
}

// edit is one call that changes something.
type edit struct {
	call
	answer *http.Response // the last; nil without one
}

func (e *edit) in(ctx context.Context) context.Context {
	return policy.WithCaptureResponse(e.call.in(ctx), &e.answer)
}

// cut reports whether err means that the answer was that the request has been
// carried out, but did not arrive whole.
func (e *edit) cut(err error) bool {
	return brokenOff(err) && e.answer != nil && e.answer.StatusCode/100 == 2
}

// client returns the one for a table of the hub.
func (e *Editor) client(table hub.Table) *aztables.Client {
	return e.tracking.tables.NewClient(e.names.Table(table))
}

// put writes one row. The first answer to a request that was sent more than once
// may be lost, and the second one says that the row has changed: that may have
// been the first request, which what is stored now tells.
func (e *Editor) put(ctx context.Context, what string, table hub.Table, row *schema.Row, written func(stored *schema.Row) bool,
	do func(ctx context.Context, entity []byte) (azcore.ETag, error),
) (string, error) {
	fail := func(err error) error {
		return fmt.Errorf("%s row %q/%q of %s: %w", what, row.PartitionKey, row.RowKey, e.names.Table(table), err)
	}
	plain := *row
	plain.Timestamp, plain.ETag = 0, ""
	var c edit
	etag, err := do(c.in(ctx), plain.AppendJSON(nil))
	if err == nil {
		return string(etag), nil
	}
	cut := c.cut(err)
	err = conflict(c.fail(ctx, err))
	if !cut && (c.tries < 2 || !errors.Is(err, hub.ErrConflict)) {
		return "", fail(err)
	}
	for stored, readErr := range e.Rows(ctx, table, hub.Keys{From: row.PartitionKey, To: row.PartitionKey + "\x00", RowKey: row.RowKey}) {
		if readErr != nil {
			return "", fail(errors.Join(err, readErr))
		}
		if written(&stored) {
			return strings.Clone(stored.ETag), nil
		}
	}
	return "", fail(err)
}

// InsertRow implements [hub.Editor].
func (e *Editor) InsertRow(ctx context.Context, table hub.Table, row schema.Row) (string, error) {
	same := func(stored *schema.Row) bool { return schema.SameProperties(&row, stored) }
	return e.put(ctx, "insert", table, &row, same, func(ctx context.Context, entity []byte) (azcore.ETag, error) {
		resp, err := e.client(table).AddEntity(ctx, entity, nil)
		return resp.ETag, err
	})
}

// ReplaceRow implements [hub.Editor].
func (e *Editor) ReplaceRow(ctx context.Context, table hub.Table, row schema.Row) (string, error) {
	same := func(stored *schema.Row) bool { return schema.SameProperties(&row, stored) }
	return e.update(ctx, "replace", table, &row, same, aztables.UpdateModeReplace)
}

// MergeRow implements [hub.Editor].
func (e *Editor) MergeRow(ctx context.Context, table hub.Table, row schema.Row) (string, error) {
	merged := func(stored *schema.Row) bool {
		for _, p := range row.Properties {
			if !p.Value.Equal(stored.Get(p.Name)) {
				return false
			}
		}
		return true
	}
	return e.update(ctx, "merge", table, &row, merged, aztables.UpdateModeMerge)
}

var errNoETag = errors.New("the row has no ETag to tell which version is meant")

func (e *Editor) update(ctx context.Context, what string, table hub.Table, row *schema.Row, written func(*schema.Row) bool, mode aztables.UpdateMode) (string, error) {
	if row.ETag == "" {
		return "", fmt.Errorf("%s row %q/%q of %s: %w", what, row.PartitionKey, row.RowKey, e.names.Table(table), errNoETag)
	}
	return e.put(ctx, what, table, row, written, func(ctx context.Context, entity []byte) (azcore.ETag, error) {
		resp, err := e.client(table).UpdateEntity(ctx, entity, &aztables.UpdateEntityOptions{IfMatch: to.Ptr(azcore.ETag(row.ETag)), UpdateMode: mode})
		return resp.ETag, err
	})
}

// DeleteRows implements [hub.Editor].
func (e *Editor) DeleteRows(ctx context.Context, table hub.Table, rows []schema.Row) error {
	if len(rows) == 0 {
		return nil
	}
	fail := func(err error) error {
		return fmt.Errorf("delete %d rows of %s, partition %q: %w", len(rows), e.names.Table(table), rows[0].PartitionKey, err)
	}
	if len(rows) > hub.MaxBatchRows {
		return fail(fmt.Errorf("at most %d at once", hub.MaxBatchRows))
	}
	var c edit
	var err error
	if len(rows) == 1 {
		_, err = e.client(table).DeleteEntity(c.in(ctx), rows[0].PartitionKey, rows[0].RowKey, &aztables.DeleteEntityOptions{IfMatch: ifMatch(&rows[0])})
		if err == nil {
			return nil
		}
	} else {
		actions := make([]aztables.TransactionAction, len(rows))
		for i := range rows {
			if rows[i].PartitionKey != rows[0].PartitionKey {
				return fail(errors.New("the rows are of several partitions"))
			}
			// Only the keys are looked at, and put into a URL where, unlike in
			// DeleteEntity, nobody doubles their quotes.
			keys := schema.Row{PartitionKey: doubleQuotes(rows[i].PartitionKey), RowKey: doubleQuotes(rows[i].RowKey)}
			actions[i] = aztables.TransactionAction{ActionType: aztables.TransactionTypeDelete, Entity: keys.AppendJSON(nil), IfMatch: ifMatch(&rows[i])}
		}
		if _, err = e.client(table).SubmitTransaction(c.in(ctx), actions, nil); err == nil {
			return nil
		}
	}
	if c.cut(err) && len(rows) == 1 {
		return nil
	}
	uncertain := c.tries > 1 || c.cut(err)
	err = conflict(refused(c.fail(ctx, err), c.answer))
	if !uncertain || ctx.Err() != nil {
		return fail(err)
	}
	// An earlier try may have been carried out: then none of them is left.
	for i := range rows {
		for _, readErr := range e.Rows(ctx, table, hub.Keys{From: rows[i].PartitionKey, To: rows[i].PartitionKey + "\x00", RowKey: rows[i].RowKey}) {
			return fail(errors.Join(err, readErr))
		}
	}
	return nil
}

func ifMatch(row *schema.Row) *azcore.ETag {
	if row.ETag == "" {
		return to.Ptr(azcore.ETagAny)
	}
	return to.Ptr(azcore.ETag(row.ETag))
}

func doubleQuotes(key string) string { return strings.ReplaceAll(key, "'", "''") }

var (
	innerStatus = regexp.MustCompile(`HTTP/1\.1 ([45]\d\d)`)
	innerCode   = regexp.MustCompile(`"code":\s*"([\w.-]{1,100})"`)
)

// refused puts into err why a transaction failed. Its answer is 202, with the
// status and code of the one action that was refused inside.
func refused(err error, answer *http.Response) error {
	var e *RequestError
	if answer == nil || !errors.As(err, &e) || e.Status != http.StatusAccepted {
		return err
	}
	body, readErr := runtime.Payload(answer)
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	status := innerStatus.FindSubmatch(body)
	if status == nil {
		return err
	}
	e.Status, _ = strconv.Atoi(string(status[1])) // three digits
	if m := innerCode.FindSubmatch(body); m != nil {
		e.Code = string(m[1])
	}
	e.kind = condition(e.Status, e.Code)
	if e.kind == nil && e.Status == http.StatusNotFound {
		// Not a proxy, of which condition has to think, but the service inside
		// its own answer; the emulator gives no code.
		e.kind = hub.ErrNotFound
	}
	return err
}

// CreateContainer implements [hub.Editor].
func (e *Editor) CreateContainer(ctx context.Context, container string) error {
	return e.w.CreateContainer(ctx, container)
}

// PutBlob implements [hub.Editor].
func (e *Editor) PutBlob(ctx context.Context, b hub.Blob, data []byte) error {
	return e.w.PutBlob(ctx, b, data)
}

// gone returns nil if err is that something does not exist which an earlier try
// of the same call may have deleted.
func (c *call) gone(err error) error {
	if c.tries > 1 && isAbsent(err) {
		return nil
	}
	return err
}

// DeleteBlob implements [hub.Editor].
func (e *Editor) DeleteBlob(ctx context.Context, container, name string) error {
	var err error
	for _, a := range e.stores() {
		var c call
		_, err = a.blobs.NewContainerClient(container).NewBlobClient(name).Delete(c.in(ctx), &blob.DeleteOptions{
			DeleteSnapshots: to.Ptr(blob.DeleteSnapshotsOptionTypeInclude),
		})
		if err == nil {
			return nil
		}
		if err = c.gone(c.fail(ctx, err)); !isAbsent(err) {
			break
		}
	}
	if err != nil {
		return fmt.Errorf("delete blob %s/%s: %w", container, name, err)
	}
	return nil
}

// PutMessage implements [hub.Editor].
func (e *Editor) PutMessage(ctx context.Context, queue, text string, delay time.Duration) error {
	if delay < 0 || delay > hub.MaxMessageDelay {
		return fmt.Errorf("write message to %s: a delay of %v, want 0 to %v", queue, delay, hub.MaxMessageDelay)
	}
	var c edit
	_, err := e.main.queues.NewQueueClient(queue).EnqueueMessage(c.in(ctx), text, &azqueue.EnqueueMessageOptions{
		TimeToLive: to.Ptr(int32(-1)), VisibilityTimeout: to.Ptr(int32(delay / time.Second)),
	})
	if err != nil && !c.cut(err) {
		return fmt.Errorf("write message to %s: %w", queue, c.fail(ctx, err))
	}
	return nil
}

// DeleteTable implements [hub.Editor].
func (e *Editor) DeleteTable(ctx context.Context, table hub.Table) error {
	name := e.names.Table(table)
	if e.names.TrackingPrefix != "" && table != hub.Partitions {
		return fmt.Errorf("delete table %s: %w by other hubs that share it", name, hub.ErrInUse)
	}
	var c call
	if _, err := e.tracking.tables.DeleteTable(c.in(ctx), name, nil); err != nil {
		if err = c.gone(c.fail(ctx, err)); err != nil {
			return fmt.Errorf("delete table %s: %w", name, err)
		}
	}
	return nil
}

// DeleteQueue implements [hub.Editor].
func (e *Editor) DeleteQueue(ctx context.Context, queue string) error {
	var c call
	if _, err := e.main.queues.DeleteQueue(c.in(ctx), queue, nil); err != nil {
		if err = c.gone(c.fail(ctx, err)); err != nil {
			return fmt.Errorf("delete queue %s: %w", queue, err)
		}
	}
	return nil
}

// DeleteContainer implements [hub.Editor]. A hub with a tracking store of old may
// have the container in both accounts.
func (e *Editor) DeleteContainer(ctx context.Context, container string) error {
	return e.containers(ctx, "delete", container, func(ctx context.Context, a *Account) error {
		_, err := a.blobs.DeleteContainer(ctx, container, nil)
		return err
	})
}

// BreakLease implements [hub.Editor].
func (e *Editor) BreakLease(ctx context.Context, container string) error {
	return e.containers(ctx, "break lease of", container, func(ctx context.Context, a *Account) error {
		client, err := lease.NewContainerClient(a.blobs.NewContainerClient(container), nil)
		if err != nil {
			return err
		}
		_, err = client.BreakLease(ctx, &lease.ContainerBreakOptions{BreakPeriod: to.Ptr(int32(0))})
		return unless("LeaseNotPresentWithLeaseOperation", err)
	})
}

// containers does something to a container in each account that has it.
func (e *Editor) containers(ctx context.Context, what, container string, do func(context.Context, *Account) error) error {
	var absent error
	found := false
	for _, a := range e.stores() {
		var c call
		err := do(c.in(ctx), a)
		if err != nil {
			err = c.gone(c.fail(ctx, err))
		}
		switch {
		case err == nil:
			found = true
		case isAbsent(err):
			absent = err
		default:
			return fmt.Errorf("%s container %s: %w", what, container, err)
		}
	}
	if !found {
		return fmt.Errorf("%s container %s: %w", what, container, absent)
	}
	return nil
}
