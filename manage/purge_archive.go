package manage

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// ErrNotArchived is returned for what is to be purged and is not in the archive in
// the version that is there: it was written since. Nothing of it was deleted.
var ErrNotArchived = errors.New("not in the archive as it is now")

// Subset is a Reader of a part of a hub: the instances and single blobs that were
// added. It shows all rows and payloads of these, no messages, and of the
// containers that for payloads. A capture of it is an archive for a [Purger].
//
// It keeps some 100 bytes for each instance and 30 for each blob. Add all before it
// is read.
type Subset struct {
	hub.Reader
	names hub.Names
	// keys are the partitions, folders those of their payloads, names single blobs.
	keys, folders, blobs map[digest]struct{}
}

// digest stands for a text.
type digest [16]byte

func digestOf(text string) digest {
	sum := sha256.Sum256([]byte(text))
	return digest(sum[:16])
}

// NewSubset returns a Subset of r with nothing in it. It returns
// [hub.ErrNotFound] if nothing of the hub exists.
func NewSubset(ctx context.Context, r hub.Reader) (*Subset, error) {
	info, err := r.Info(ctx)
	if err != nil {
		return nil, err
	}
	return &Subset{
		Reader: r, names: info.Names,
		keys: map[digest]struct{}{}, folders: map[digest]struct{}{}, blobs: map[digest]struct{}{},
	}, nil
}

// Add adds an instance. Of IDs that differ in / and \ only, which share a folder,
// the messages in payloads come along.
func (s *Subset) Add(id string) {
	key := schema.EscapeKey(id)
	s.keys[digestOf(key)] = struct{}{}
	for _, folder := range []string{key, schema.StoredBlobName(id), strings.ToLower(key), strings.ToLower(schema.StoredBlobName(id))} {
		s.folders[digestOf(folder)] = struct{}{}
	}
}

// AddBlob adds a payload by its name.
func (s *Subset) AddBlob(name string) { s.blobs[digestOf(name)] = struct{}{} }

// Info implements [hub.Reader]. The number of rows of tables is not known.
func (s *Subset) Info(ctx context.Context) (hub.Info, error) {
	info, err := s.Reader.Info(ctx)
	if err != nil {
		return info, err
	}
	tables := info.Tables
	info.Tables = nil
	for _, t := range tables {
		if t.Table != hub.Partitions {
			t.Rows = -1
			info.Tables = append(info.Tables, t)
		}
	}
	return info, nil
}

// Rows implements [hub.Reader].
func (s *Subset) Rows(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	return func(yield func(schema.Row, error) bool) {
		if table == hub.Partitions {
			return
		}
		last, wanted, known := "", false, false
		for row, err := range s.Reader.Rows(ctx, table, keys) {
			if err != nil {
				yield(row, err)
				return
			}
			if !known || row.PartitionKey != last {
				last, known = row.PartitionKey, true
				_, wanted = s.keys[digestOf(last)]
			}
			if wanted && !yield(row, nil) {
				return
			}
		}
	}
}

// Queues implements [hub.Reader]: there are none.
func (s *Subset) Queues(context.Context) ([]hub.Queue, error) { return nil, nil }

// Messages implements [hub.Reader]: there are none.
func (s *Subset) Messages(context.Context, string) iter.Seq2[schema.QueueMessage, error] {
	return func(func(schema.QueueMessage, error) bool) {}
}

// Containers implements [hub.Reader].
func (s *Subset) Containers(ctx context.Context) ([]hub.Container, error) {
	all, err := s.Reader.Containers(ctx)
	for _, c := range all {
		if c.Name == s.names.LargeMessages() {
			return []hub.Container{c}, err
		}
	}
	return nil, err
}

// Blobs implements [hub.Reader].
func (s *Subset) Blobs(ctx context.Context, container, prefix string) iter.Seq2[hub.Blob, error] {
	return func(yield func(hub.Blob, error) bool) {
		for b, err := range s.Reader.Blobs(ctx, container, prefix) {
			if err != nil {
				yield(b, err)
				return
			}
			_, wanted := s.blobs[digestOf(b.Name)]
			if i := strings.LastIndexByte(b.Name, '/'); !wanted && i >= 0 {
				_, wanted = s.folders[digestOf(b.Name[:i])]
			}
			if wanted && !yield(b, nil) {
				return
			}
		}
	}
}

// archiveOf compares what is to go of one instance with the archive. A nil one
// holds everything.
type archiveOf struct {
	p    *Purger
	pull func() (schema.Row, error, bool)
	stop func()
}

// archived returns the archive's part of an instance, whose row must be in it;
// row is nil for history without one.
func (p *Purger) archived(ctx context.Context, id string, row *schema.Instance) (*archiveOf, error) {
	a := &archiveOf{p: p, stop: func() {}}
	if p.opts.Archive == nil {
		return a, nil
	}
	if row != nil {
		kept, err := rowOf(ctx, p.opts.Archive, id)
		if err != nil {
			return nil, fmt.Errorf("read the archive: %w", err)
		}
		if kept == nil || kept.ETag != row.ETag || row.ETag == "" {
			return nil, fmt.Errorf("row of %s: %w", hub.Instances, ErrNotArchived)
		}
	}
	a.pull, a.stop = iter.Pull2(p.opts.Archive.Rows(ctx, hub.History, hub.Partition(schema.EscapeKey(id))))
	return a, nil
}

// rows returns [ErrNotArchived] unless the archive holds the next rows of the
// history. It may hold more: rows that are gone.
func (a *archiveOf) rows(rows []schema.Row) error {
	if a.pull == nil {
		return nil
	}
	for i := range rows {
		for {
			kept, err, ok := a.pull()
			if err != nil {
				return fmt.Errorf("read the archive: %w", err)
			}
			if ok && schema.CompareKeys(kept.RowKey, rows[i].RowKey) < 0 {
				continue
			}
			if !ok || kept.RowKey != rows[i].RowKey || kept.ETag != rows[i].ETag || kept.ETag == "" {
				return fmt.Errorf("row %s of %s: %w", rows[i].RowKey, hub.History, ErrNotArchived)
			}
			break
		}
	}
	return nil
}

// blobs returns [ErrNotArchived] unless the archive holds these payloads.
func (a *archiveOf) blobs(ctx context.Context, blobs []hub.Blob) error {
	if a.pull == nil {
		return nil
	}
	for i := range blobs {
		if err := a.p.archivedBlob(ctx, &blobs[i]); err != nil {
			return err
		}
	}
	return nil
}

func (p *Purger) archivedBlob(ctx context.Context, b *hub.Blob) error {
	for kept, err := range p.opts.Archive.Blobs(ctx, b.Container, b.Name) {
		if err != nil {
			return fmt.Errorf("read the archive: %w", err)
		}
		if kept.Name == b.Name && kept.SizeBytes == b.SizeBytes && kept.LastModified == b.LastModified && bytes.Equal(kept.ContentMD5, b.ContentMD5) {
			return nil
		}
		break // a longer name comes later
	}
	return fmt.Errorf("blob %s: %w", b.Name, ErrNotArchived)
}
