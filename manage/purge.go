package manage

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Conditions of a purge that callers branch on.
var (
	// ErrNotEnded is returned for a purge of an instance that has not ended. It
	// wraps a [StateError].
	ErrNotEnded = errors.New("the instance has not ended")
	// ErrLocked is returned for a purge of an entity that an orchestration has
	// locked, or that holds operations which wait.
	ErrLocked = errors.New("the entity is locked or has operations waiting")
	// ErrRecent is returned for a purge of an entity, or of history without a row,
	// that was written so recently that something may still depend on it.
	ErrRecent = errors.New("written too recently")
	// ErrNotSelected is returned for an instance that was to be purged because of
	// what its row said, and whose row says something else by now. It stays.
	ErrNotSelected = errors.New("changed since it was selected")
	// ErrNoneEnded is returned for a filter that asks only for statuses of
	// instances that have not ended.
	ErrNoneEnded = errors.New("a purge by filter deletes only instances that have ended: Completed, Failed, Canceled or Terminated")
	// ErrSharedTables is returned where rows without an owner are looked for in
	// tables that several hubs share.
	ErrSharedTables = errors.New("the hub shares its tables, and history without a row does not tell whose it is")
)

const opPurge = "purge"

// PurgeOptions tunes a [Purger]. The zero value is ready.
type PurgeOptions struct {
	// Force also purges what has not ended: instances that run, entities that are
	// locked, have operations waiting or were in use just now.
	Force bool
	// Select has the last word on an instance, by its row just before it goes; nil
	// takes all. One that it refuses stays, with [ErrNotSelected].
	Select func(*schema.Instance) bool
	// Archive, if not nil, is a capture of what is to go, such as one of a
	// [Subset]: what it does not hold in the very version that is there stays, with
	// [ErrNotArchived].
	Archive hub.Reader
	// Now is the time, for what must not be too recent; nil does not look at the
	// age of entities.
	Now func() time.Time
	// MaxPayloadBytes is as in [Options].
	MaxPayloadBytes int64
}

// Purger deletes instances: their payloads, then their history, leftovers of
// earlier executions and the sentinel included, and their row of the Instances
// table last. A purge that ends half-way can be found by that row and done
// again. It may be used concurrently.
//
// What goes is listed before the row is read that allows it, and rows go in the
// versions that were listed. So nothing that belongs to a later execution is
// deleted, whenever somebody else starts the instance anew, but for one thing: the
// payload of a start message of which the client has not yet written the row.
//
// Messages stay in their queues, as with the framework: a worker drops those for
// orchestrations that are gone, but a signal makes an entity anew.
type Purger struct {
	r     hub.Reader
	e     hub.Editor
	opts  PurgeOptions
	names hub.Names
	// folders has the folders of the container for payloads when it was listed;
	// nil lists those of each instance.
	folders map[string]struct{}
}

// NewPurger returns a Purger of the hub that r reads and e changes. With a nil e
// nothing is deleted: the result is what would be. It returns [hub.ErrNotFound]
// if nothing of the hub exists.
func NewPurger(ctx context.Context, r hub.Reader, e hub.Editor, opts PurgeOptions) (*Purger, error) {
	info, err := r.Info(ctx)
	if err != nil {
		return nil, err
	}
	return &Purger{r: r, e: e, opts: opts, names: info.Names}, nil
}

// Purged is what the purge of one instance has deleted.
type Purged struct {
	InstanceID string
	// Status is that of its row, StatusUnknown without one.
	Status schema.Status
	// Instances is 1 if the row was deleted; HistoryRows counts rows of all
	// executions, and the sentinel.
	Instances, HistoryRows int64
	Blobs, BlobBytes       int64
}

// Zero reports whether nothing was there to delete.
func (p *Purged) Zero() bool { return p.Instances == 0 && p.HistoryRows == 0 && p.Blobs == 0 }

// Add adds the counts of another purge.
func (p *Purged) Add(o *Purged) {
	p.Instances += o.Instances
	p.HistoryRows += o.HistoryRows
	p.Blobs += o.Blobs
	p.BlobBytes += o.BlobBytes
}

// ListFolders reads the names of all payloads once, so that a purge of many
// candidates does not ask for those of each. Candidates must have been selected
// before; for instances that have changed since it is not relied on. It holds the
// name of each folder, which is about an instance ID for each with payloads.
func (p *Purger) ListFolders(ctx context.Context) error {
	folders := map[string]struct{}{}
	for b, err := range p.r.Blobs(ctx, p.names.LargeMessages(), "") {
		if err != nil {
			return fmt.Errorf("list payloads: %w", err)
		}
		if i := strings.LastIndexByte(b.Name, '/'); i >= 0 {
			if _, ok := folders[b.Name[:i]]; !ok {
				folders[strings.Clone(b.Name[:i])] = struct{}{}
			}
		}
	}
	p.folders = folders
	return nil
}

// EndedOnly returns f for the purge of what it selects: orchestrations that have
// ended. Entities never match. It returns [ErrNoneEnded] if f names statuses and
// none that ends an instance: the framework takes that for no condition at all and
// purges everything.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:717-778.
func EndedOnly(f Filter) (Filter, error) {
	var ended []schema.Status
	for _, s := range schema.Statuses() {
		if s.Terminal() && (len(f.Statuses) == 0 || slices.Contains(f.Statuses, s)) {
			ended = append(ended, s)
		}
	}
	if len(ended) == 0 {
		return f, ErrNoneEnded
	}
	f.Statuses, f.NoEntities = ended, true
	return f, nil
}

// Candidate is an instance that was selected for a purge.
type Candidate struct {
	InstanceID string
	// Version is the ETag of its row then.
	Version string
	Status  schema.Status
}

// Matching streams the orchestrations that have ended, match f and are taken by
// [PurgeOptions.Select], in key order. It returns [ErrNoneEnded] as [EndedOnly] does.
func (p *Purger) Matching(ctx context.Context, f Filter) iter.Seq2[Candidate, error] {
	return func(yield func(Candidate, error) bool) {
		f, err := EndedOnly(f)
		if err != nil {
			yield(Candidate{}, err)
			return
		}
		for i, err := range instances(ctx, p.r, p.names, f) {
			if err != nil {
				yield(Candidate{}, err)
				return
			}
			if p.opts.Select != nil && !p.opts.Select(&i) {
				continue
			}
			if !yield(Candidate{strings.Clone(i.ID()), strings.Clone(i.ETag), i.Status()}, nil) {
				return
			}
		}
	}
}

// Instance purges one instance. What is not there counts zero; it is no error.
//
// It returns [ErrNotEnded], [ErrLocked], [ErrRecent], [ErrNotSelected] or
// [ErrNotArchived], before it deletes anything, and [hub.ErrConflict] if somebody
// changes the instance meanwhile: what had been deleted by then is in the result,
// and a second purge goes on.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:667-708. Differences:
// payloads are found by exact folders, which the framework's prefix is not; they
// go before the history and that before the row, which it deletes side by side;
// an instance that runs needs Force.
func (p *Purger) Instance(ctx context.Context, id string) (Purged, error) {
	done := Purged{InstanceID: id, Status: schema.StatusUnknown}
	if id == "" {
		return done, &ArgumentError{"instance ID", "is empty"}
	}
	row, err := rowOf(ctx, p.r, id)
	if err != nil {
		return done, fmt.Errorf("purge instance %q: %w", id, err)
	}
	if row == nil {
		return done, nil
	}
	// What is refused anyway need not be listed.
	if err := p.allowed(ctx, id, row); err != nil {
		done.Status = row.Status()
		return done, refusal(id, err)
	}
	return p.versions(ctx, Candidate{id, row.ETag, row.Status()}, nil)
}

// refusal locates an error that does not say itself which instance it is about.
func refusal(id string, err error) error {
	var state *StateError
	if err == nil || errors.As(err, &state) {
		return err
	}
	return fmt.Errorf("purge instance %q: %w", id, err)
}

// Candidate is [Purger.Instance] with a request less. If the instance has changed
// since it was selected, it must be one that may be purged all the same.
func (p *Purger) Candidate(ctx context.Context, c Candidate) (Purged, error) {
	return p.versions(ctx, c, p.folders)
}

func (p *Purger) versions(ctx context.Context, c Candidate, folders map[string]struct{}) (Purged, error) {
	done := Purged{InstanceID: c.InstanceID, Status: schema.StatusUnknown}
	// What is listed must be that of the row: if the row has changed since, list it
	// again. An instance that never rests has not ended.
	const tries = 4
	for try := 1; ; try++ {
		again, err := p.purge(ctx, c.InstanceID, c.Version, folders, &done)
		if err == nil && again != "" && try == tries {
			err = hub.ErrConflict
		}
		if err != nil || again == "" {
			return done, refusal(c.InstanceID, err)
		}
		c.Version, folders = again, nil
	}
}

// purge deletes an instance whose row had a version before anything was listed.
// If it has another one after that, nothing is deleted, and that one is returned.
func (p *Purger) purge(ctx context.Context, id, version string, folders map[string]struct{}, done *Purged) (again string, err error) {
	h := p.history(ctx, id)
	defer h.stop()
	blobs, err := p.payloads(ctx, id, folders)
	if err != nil {
		return "", err
	}
	rows, err := h.next()
	if err != nil {
		return "", err
	}
	row, err := rowOf(ctx, p.r, id)
	switch {
	case err != nil:
		return "", err
	case row == nil:
		return "", nil // somebody else has purged it
	case row.ETag != version:
		return row.ETag, nil
	}
	done.Status = row.Status()
	if err := p.allowed(ctx, id, row); err != nil {
		return "", err
	}
	archive, err := p.archived(ctx, id, row)
	if err != nil {
		return "", err
	}
	defer archive.stop()
	if err := errors.Join(archive.blobs(ctx, blobs), archive.rows(rows)); err != nil {
		return "", err
	}
	if err := p.deleteBlobs(ctx, blobs, done); err != nil {
		return "", err
	}
	for len(rows) > 0 {
		if err := p.deleteHistory(ctx, rows, done); err != nil {
			return "", err
		}
		if rows, err = h.next(); err != nil || len(rows) == 0 {
			break
		}
		// These were read after the row.
		if now, err := rowOf(ctx, p.r, id); err != nil || now == nil || now.ETag != version {
			return "", errors.Join(hub.ErrConflict, err)
		}
		if err := archive.rows(rows); err != nil {
			return "", err
		}
	}
	if err != nil {
		return "", err
	}
	n, err := p.deleteRows(ctx, hub.Instances, []schema.Row{{PartitionKey: row.PartitionKey, ETag: version}})
	done.Instances = n
	if err != nil || row.Status().Terminal() || p.e == nil {
		return "", err
	}
	return "", p.stillGone(ctx, id)
}

// stillGone looks whether a worker, which had an instance that runs in memory, has
// written it again. It writes what it changes without asking for versions.
func (p *Purger) stillGone(ctx context.Context, id string) error {
	row, err := rowOf(ctx, p.r, id)
	if err != nil {
		return err
	}
	h := p.history(ctx, id)
	defer h.stop()
	rows, err := h.next()
	if err == nil && (row != nil || len(rows) > 0) {
		return fmt.Errorf("%w: a worker has written it again", hub.ErrConflict)
	}
	return err
}

// rowOf returns the row of an instance, or nil without one.
func rowOf(ctx context.Context, r hub.Reader, id string) (*schema.Instance, error) {
	for row, err := range r.Rows(ctx, hub.Instances, hub.Partition(schema.EscapeKey(id))) {
		if err != nil {
			return nil, err
		}
		row = row.Clone()
		i, _ := schema.DecodeInstance(&row) // what is damaged in it is absent
		return &i, nil
	}
	return nil, nil
}

// reorderWindow is how long an entity must know what it has received, to drop what
// comes twice.
//
// Source: durabletask 2.9.1, TaskEntityDispatcher.cs:461-474 and the default of
// EntityMessageReorderWindow.
const reorderWindow = 30 * time.Minute

// allowed reports what speaks against a purge.
func (p *Purger) allowed(ctx context.Context, id string, row *schema.Instance) error {
	if !owns(p.names, row) {
		return fmt.Errorf("it belongs to hub %q, which shares the tables", row.TaskHubName.Value)
	}
	if p.opts.Select != nil && !p.opts.Select(row) {
		return ErrNotSelected
	}
	if p.opts.Force {
		return nil
	}
	if !schema.IsEntity(id) {
		if row.Status().Terminal() {
			return nil
		}
		return &StateError{id, opPurge, row.Status()}
	}
	text, container := row.Input, p.names.LargeMessages()
	if ref := row.InputRef(container); ref.Blob != "" {
		var err error
		if text, err = hub.LoadRef(ctx, p.r, container, ref, p.opts.MaxPayloadBytes); err != nil {
			return fmt.Errorf("state of the entity: %w", err)
		}
	}
	state, err := schema.DecodeEntityState(text.Value)
	if text.Value != "" && err != nil {
		return fmt.Errorf("state of the entity: %w", err)
	}
	if state.LockedBy.Value != "" || len(state.Queue) > 0 {
		return ErrLocked
	}
	if p.opts.Now != nil && row.LastUpdatedTime.Set && p.opts.Now().Sub(row.LastUpdatedTime.Value.Time()) < reorderWindow {
		return fmt.Errorf("%w: an entity keeps for %d minutes what it has received, to drop what comes twice", ErrRecent, reorderWindow/time.Minute)
	}
	return nil
}

// owns reports whether a row is that of a hub: several may share one tracking store.
func owns(names hub.Names, row *schema.Instance) bool {
	return names.TrackingPrefix == "" || !row.TaskHubName.Set || strings.EqualFold(row.TaskHubName.Value, names.TaskHub)
}

func (p *Purger) deleteBlobs(ctx context.Context, blobs []hub.Blob, done *Purged) error {
	for i := range blobs {
		n, err := p.Payload(ctx, blobs[i])
		if err != nil {
			return err
		}
		done.Blobs += n
		done.BlobBytes += n * blobs[i].SizeBytes
	}
	return nil
}

// historyChunk rows of a history are listed before they are deleted, which bounds
// what is held of a long one.
const historyChunk = 5000

// historyKeys lists a history in parts. Of its rows it keeps keys, version and
// time.
type historyKeys struct {
	pull func() (schema.Row, error, bool)
	stop func()
}

func (p *Purger) history(ctx context.Context, id string) *historyKeys {
	pull, stop := iter.Pull2(p.r.Rows(ctx, hub.History, hub.Partition(schema.EscapeKey(id))))
	return &historyKeys{pull, stop}
}

// next returns the next rows; none at the end.
func (h *historyKeys) next() ([]schema.Row, error) {
	var rows []schema.Row
	for len(rows) < historyChunk {
		row, err, ok := h.pull()
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		rows = append(rows, schema.Row{
			PartitionKey: strings.Clone(row.PartitionKey), RowKey: strings.Clone(row.RowKey),
			ETag: strings.Clone(row.ETag), Timestamp: row.Timestamp,
		})
	}
	return rows, nil
}

// deleteHistory deletes rows of a history in their order, so that the sentinel
// goes last.
func (p *Purger) deleteHistory(ctx context.Context, rows []schema.Row, done *Purged) error {
	for batch := range slices.Chunk(rows, hub.MaxBatchRows) {
		n, err := p.deleteRows(ctx, hub.History, batch)
		done.HistoryRows += n
		if err != nil {
			return err
		}
	}
	return nil
}

// deleteRows deletes rows of one partition in the versions that were read, and
// returns how many. If some are gone already, the others are deleted one by one.
func (p *Purger) deleteRows(ctx context.Context, table hub.Table, rows []schema.Row) (deleted int64, err error) {
	if len(rows) == 0 {
		return 0, nil
	}
	if p.e == nil {
		return int64(len(rows)), nil
	}
	err = p.e.DeleteRows(ctx, table, rows)
	if err == nil {
		return int64(len(rows)), nil
	}
	if !errors.Is(err, hub.ErrNotFound) {
		return 0, err
	}
	if len(rows) == 1 {
		return 0, nil
	}
	for i := range rows {
		n, err := p.deleteRows(ctx, table, rows[i:i+1])
		deleted += n
		if err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}

// Orphan purges the history of an ID that has no row of the Instances table, and
// the payloads of that history. If there is a row, it does nothing. The framework,
// whose purge starts from the row, can never do this.
//
// A worker writes the first history of a sub-orchestration or entity before its
// row, so a history that was written after before is no orphan yet: the error is
// [ErrRecent]. Payloads of messages stay, as one may wait in a queue: see
// [Unreferenced].
func (p *Purger) Orphan(ctx context.Context, id string, before schema.Ticks) (Purged, error) {
	done := Purged{InstanceID: id, Status: schema.StatusUnknown}
	err := p.orphan(ctx, id, before, &done)
	if err != nil {
		err = fmt.Errorf("purge history of %q: %w", id, err)
	}
	return done, err
}

func (p *Purger) orphan(ctx context.Context, id string, before schema.Ticks, done *Purged) error {
	if p.names.TrackingPrefix != "" {
		return ErrSharedTables
	}
	for row, err := range p.r.Rows(ctx, hub.History, hub.Partition(schema.EscapeKey(id))) {
		switch {
		case err != nil:
			return err
		case row.Timestamp == 0 || row.Timestamp > before:
			return fmt.Errorf("%w: row %s is of %v", ErrRecent, row.RowKey, row.Timestamp)
		}
	}
	h := p.history(ctx, id)
	defer h.stop()
	blobs, err := p.payloads(ctx, id, nil)
	if err != nil {
		return err
	}
	blobs = slices.DeleteFunc(blobs, func(b hub.Blob) bool {
		name, _ := schema.ParseBlobName(b.Name)
		return name.Message
	})
	archive, err := p.archived(ctx, id, nil)
	if err != nil {
		return err
	}
	defer archive.stop()
	if err := archive.blobs(ctx, blobs); err != nil {
		return err
	}
	for first := true; ; first = false {
		rows, err := h.next()
		if err != nil || len(rows) == 0 {
			return err
		}
		if row, err := rowOf(ctx, p.r, id); err != nil || row != nil {
			return err
		}
		if err := archive.rows(rows); err != nil {
			return err
		}
		if first {
			if err := p.deleteBlobs(ctx, blobs, done); err != nil {
				return err
			}
		}
		if err := p.deleteHistory(ctx, rows, done); err != nil {
			return err
		}
	}
}
