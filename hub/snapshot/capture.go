package snapshot

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// CaptureOptions tunes [Capture]. The zero value writes a file.
type CaptureOptions struct {
	WriterOptions
	// MaxBlobBytes limits the size of a blob; larger ones are noted as
	// unreadable. 0 means 1 GiB.
	MaxBlobBytes int64
	// Now tells the times in the manifest. If nil, or if from is a capture
	// itself, the manifest has those that from tells.
	Now func() time.Time
}

// Capture copies a hub into a new capture at path: history first, then the rows
// that summarise it, queues, and blobs. Blobs that vanish meanwhile are noted as
// unreadable. It returns what [hub.Reader.Info] returns for a hub that does not
// exist. If it fails, nothing is left at path.
//
// It holds one page of rows, one frame for each processor and one blob in memory.
func Capture(ctx context.Context, path string, from hub.Reader, opts CaptureOptions) error {
	if opts.MaxBlobBytes == 0 {
		opts.MaxBlobBytes = 1 << 30
	}
	info, err := from.Info(ctx)
	if err != nil {
		return err
	}
	copied := info.Started != 0
	now := func() schema.Ticks {
		if opts.Now == nil || copied {
			return 0
		}
		return schema.TicksOf(opts.Now())
	}
	info.Unreadable = slices.Clip(info.Unreadable)
	started := now()
	w, err := Create(path, opts.WriterOptions)
	if err != nil {
		return err
	}
	defer w.Abort()
	for _, table := range hub.Tables {
		for _, t := range info.Tables {
			if t.Table != table {
				continue
			}
			began := now()
			tw, err := w.Table(t.Table, t.Name)
			if err != nil {
				return err
			}
			for row, err := range from.Rows(ctx, table, hub.Keys{}) {
				if err != nil {
					return fmt.Errorf("capture %s: %w", t.Name, err)
				}
				if err := tw.Append(&row); err != nil {
					return err
				}
			}
			ended := now()
			if copied {
				began, ended = t.Started, t.Finished
			}
			if err := tw.Close(began, ended); err != nil {
				return err
			}
		}
	}
	queues, err := from.Queues(ctx)
	if err != nil {
		return fmt.Errorf("capture queues: %w", err)
	}
	for _, q := range queues {
		if err := w.Queue(q, from.Messages(ctx, q.Name)); err != nil {
			return err
		}
	}
	if err := captureBlobs(ctx, w, from, opts.MaxBlobBytes, &info); err != nil {
		return err
	}
	if !copied {
		info.Started, info.Finished = started, now()
	}
	return w.Close(info)
}

func captureBlobs(ctx context.Context, w *Writer, from hub.Reader, limit int64, info *hub.Info) error {
	containers, err := from.Containers(ctx)
	if err != nil {
		return fmt.Errorf("capture containers: %w", err)
	}
	for _, c := range containers {
		if err := w.Container(c); err != nil {
			return err
		}
		for b, err := range from.Blobs(ctx, c.Name, "") {
			if err != nil {
				return fmt.Errorf("capture container %s: %w", c.Name, err)
			}
			data, err := from.ReadBlob(ctx, b.Container, b.Name, limit)
			if errors.Is(err, hub.ErrNotFound) || errors.Is(err, hub.ErrTooLarge) {
				info.Unreadable = append(info.Unreadable,
					hub.Unreadable{Artifact: "blob " + b.Container + "/" + b.Name, Reason: err.Error()})
				continue
			}
			if err != nil {
				return fmt.Errorf("capture blob %s/%s: %w", b.Container, b.Name, err)
			}
			b.SizeBytes = int64(len(data)) // it may have been written since it was listed
			if err := w.Blob(b, data); err != nil {
				return err
			}
		}
	}
	return nil
}
