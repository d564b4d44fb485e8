package manage

import (
	"bytes"
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

// DefaultGrace is how old a payload is at least before it counts as unreferenced:
// the framework writes payloads before what names them.
const DefaultGrace = 24 * time.Hour

// UnreferencedOptions tunes a search for payloads that nothing names.
type UnreferencedOptions struct {
	// Now tells the time of a live hub, and is required for one; a capture has a time
	// of its own.
	Now func() time.Time
	// Grace is the age from which payloads count; 0 means [DefaultGrace].
	Grace time.Duration
	// Orphans finds only those of instances that have no row. What a history without
	// one names is not among them: it goes with the history ([Purger.Orphan]).
	Orphans bool
	// MaxPayloadBytes is as in [Options].
	MaxPayloadBytes int64
}

// Unreferenced knows which payloads of a hub nothing names. It holds 16 bytes and a
// bit for each payload, and with Orphans some 100 bytes for each instance.
type Unreferenced struct {
	r     hub.Reader
	names hub.Names
	opts  UnreferencedOptions
	// before is when a payload must have been written last.
	before schema.Ticks

	listed []digest // sorted
	named  []uint64 // a bit for each
	// owners has the folders of instances that have a row; nil unless Orphans.
	owners map[digest]struct{}
	// hidden says why messages may name payloads that cannot be told; empty if
	// none can.
	hidden string
	kept   UnreferencedKept
}

// UnreferencedKept counts payloads that nothing was seen to name, and which stay
// all the same.
type UnreferencedKept struct {
	// Young were written within the grace period.
	Young int64
	// Messages are payloads of messages, and one that cannot be read may name
	// them: Why says where that is.
	Messages int64
	Why      string
	// Unknown have names that are not those of payloads.
	Unknown int64
}

// FindUnreferenced looks for payloads that nothing names: no row of either table,
// leftovers of earlier executions included, and no message that can be seen. It
// lists the payloads first, so that one which is written meanwhile is not in the
// list, and reads all rows and the messages that can be seen once.
//
// Payloads of messages are never deleted by the framework before a purge. While a
// queue has a message that is hidden, or that cannot be read, they all count as
// named.
//
// Source: durabletask 2.9.1, MessageManager.cs:256-260, 319-352,
// AzureTableTrackingStore.cs:162-201, 947-953, 1106-1116.
func FindUnreferenced(ctx context.Context, r hub.Reader, opts UnreferencedOptions) (*Unreferenced, error) {
	info, err := r.Info(ctx)
	if err != nil {
		return nil, err
	}
	now := info.Started
	if now == 0 && opts.Now != nil {
		now = schema.TicksOf(opts.Now())
	}
	if now == 0 {
		return nil, errors.New("manage: UnreferencedOptions.Now is not set")
	}
	if opts.Grace == 0 {
		opts.Grace = DefaultGrace
	}
	u := &Unreferenced{r: r, names: info.Names, opts: opts, before: schema.TicksOf(now.Time().Add(-opts.Grace))}
	for _, part := range info.Unreadable {
		switch {
		case strings.HasPrefix(part.Artifact, "table "): // what would it name?
			return nil, fmt.Errorf("%s of the hub: %w: %s", part.Artifact, hub.ErrUnauthorized, part.Reason)
		case strings.HasPrefix(part.Artifact, "queue"):
			u.hidden = part.Artifact + ": " + part.Reason
		}
	}
	if opts.Orphans {
		if info.Names.TrackingPrefix != "" {
			return nil, ErrSharedTables
		}
		u.owners = map[digest]struct{}{}
	}
	if err := u.list(ctx); err != nil {
		return nil, err
	}
	if len(u.listed) == 0 {
		return u, nil
	}
	// The messages come before the rows: one that a worker takes meanwhile has
	// then been seen, and what it becomes is in rows that are read later.
	if err := u.messages(ctx); err != nil {
		return nil, err
	}
	for _, table := range []hub.Table{hub.Instances, hub.History} {
		if err := u.rows(ctx, table); err != nil {
			return nil, err
		}
	}
	// A message that was made of one that was seen, or hidden since.
	return u, u.messages(ctx)
}

func (u *Unreferenced) list(ctx context.Context) error {
	for b, err := range u.r.Blobs(ctx, u.names.LargeMessages(), "") {
		if err != nil {
			return fmt.Errorf("list payloads: %w", err)
		}
		u.listed = append(u.listed, digestOf(b.Name))
	}
	slices.SortFunc(u.listed, compareDigests)
	u.listed = slices.Compact(u.listed)
	u.named = make([]uint64, (len(u.listed)+63)/64)
	return nil
}

func compareDigests(a, b digest) int { return bytes.Compare(a[:], b[:]) }

func (u *Unreferenced) mark(name string) {
	if i, ok := slices.BinarySearchFunc(u.listed, digestOf(name), compareDigests); ok {
		u.named[i/64] |= 1 << (i % 64)
	}
}

// messages marks what messages name that can be seen, and notes whether there are
// others.
func (u *Unreferenced) messages(ctx context.Context) error {
	queues, err := u.r.Queues(ctx)
	if err != nil {
		return fmt.Errorf("list queues: %w", err)
	}
	for _, q := range queues {
		seen := int64(0)
		for m, err := range u.r.Messages(ctx, q.Name) {
			if err != nil {
				return fmt.Errorf("read queue %s: %w", q.Name, err)
			}
			seen++
			loaded, err := hub.LoadMessage(ctx, u.r, u.names.LargeMessages(), &m, u.opts.MaxPayloadBytes)
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case loaded.Blob != "":
				u.mark(schema.StoredBlobName(loaded.Blob))
			case err != nil:
				u.hidden = "a message in " + q.Name + " cannot be read"
			}
		}
		if hidden := q.ApproximateCount - seen; hidden > 0 {
			u.hidden = fmt.Sprintf("%d messages in %s cannot be seen", hidden, q.Name)
		}
	}
	return nil
}

func (u *Unreferenced) rows(ctx context.Context, table hub.Table) error {
	last, known := "", false
	for rows, err := range hub.Batches(ctx, u.r, table, hub.Keys{}) {
		if err != nil {
			return err
		}
		for i := range rows {
			row := &rows[i]
			for name := range schema.RowBlobs(row, u.names.LargeMessages()) {
				u.mark(name)
			}
			if table == hub.Instances && u.owners != nil && (!known || row.PartitionKey != last) {
				last, known = strings.Clone(row.PartitionKey), true
				id := schema.InstanceID(last)
				for _, folder := range []string{last, schema.StoredBlobName(id), strings.ToLower(last), strings.ToLower(schema.StoredBlobName(id))} {
					u.owners[digestOf(folder)] = struct{}{}
				}
			}
		}
	}
	return nil
}

// Blobs streams the payloads that nothing names, by name, as they are listed now.
// Ranging again starts over.
func (u *Unreferenced) Blobs(ctx context.Context) iter.Seq2[hub.Blob, error] {
	return func(yield func(hub.Blob, error) bool) {
		u.kept = UnreferencedKept{Why: u.hidden}
		if len(u.listed) == 0 {
			return
		}
		for b, err := range u.r.Blobs(ctx, u.names.LargeMessages(), "") {
			if err != nil {
				yield(hub.Blob{}, fmt.Errorf("list payloads: %w", err))
				return
			}
			if u.unreferenced(&b) && !yield(b, nil) {
				return
			}
		}
	}
}

func (u *Unreferenced) unreferenced(b *hub.Blob) bool {
	i, listed := slices.BinarySearchFunc(u.listed, digestOf(b.Name), compareDigests)
	if listed && u.named[i/64]&(1<<(i%64)) != 0 {
		return false
	}
	name, ok := schema.ParseBlobName(b.Name)
	if ok && u.owners != nil {
		if _, owned := u.owners[digestOf(name.Folder)]; owned {
			return false
		}
	}
	switch {
	case !ok:
		u.kept.Unknown++
	case !listed || b.LastModified == 0 || b.LastModified > u.before:
		u.kept.Young++
	case name.Message && u.hidden != "":
		u.kept.Messages++
	default:
		return true
	}
	return false
}

// Kept counts what the last walk over [Unreferenced.Blobs] has passed over. It must
// not be called during one.
func (u *Unreferenced) Kept() UnreferencedKept { return u.kept }
