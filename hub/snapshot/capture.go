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
	// Workers is the number of key ranges of a table that are read at once; 0
	// means 4. Memory grows with it.
	Workers int
	// OnProgress is called from one goroutine at a time; nil is fine.
	OnProgress func(CaptureProgress)
}

// CaptureProgress says how far a capture is.
type CaptureProgress struct {
	// Part is the name of the table, queue or container that is being read.
	Part string
	// Items and Bytes have been read of it: rows and their text, messages, or
	// blobs.
	Items, Bytes int64
	// Total is the number of items, or -1 if it is not known.
	Total int64
}

// progressEvery is how many rows pass between two calls of OnProgress.
const progressEvery = 500

// Capture copies a hub into a new capture at path: history first, then the rows
// that summarise it, queues, and blobs. Blobs that vanish meanwhile, and tables
// that are not there, are noted as unreadable. It returns what [hub.Reader.Info] returns for a hub that does not
// exist. If it fails, nothing is left at path.
//
// It holds some thousand rows for each worker, one frame for each processor and
// one blob in memory.
func Capture(ctx context.Context, path string, from hub.Reader, opts CaptureOptions) error {
	if opts.MaxBlobBytes == 0 {
		opts.MaxBlobBytes = 1 << 30
	}
	if opts.Workers == 0 {
		opts.Workers = 4
	}
	if opts.OnProgress == nil {
		opts.OnProgress = func(CaptureProgress) {}
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
	if !copied {
		info.Unreadable = append(info.Unreadable, missingTables(&info)...)
	}
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
			p := CaptureProgress{Part: t.Name, Total: t.Rows}
			opts.OnProgress(p)
			for row, err := range hub.ParallelRows(ctx, from, table, opts.Workers) {
				if err != nil {
					return fmt.Errorf("capture %s: %w", t.Name, err)
				}
				if err := tw.Append(&row); err != nil {
					return err
				}
				if p.Items++; p.Items%progressEvery == 0 {
					p.Bytes = tw.bytes
					opts.OnProgress(p)
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
		opts.OnProgress(CaptureProgress{Part: q.Name, Total: -1})
		if err := w.Queue(q, from.Messages(ctx, q.Name)); err != nil {
			return err
		}
	}
	if err := captureBlobs(ctx, w, from, &opts, &info); err != nil {
		return err
	}
	if !copied {
		info.Started, info.Finished = started, now()
	}
	return w.Close(info)
}

// missingTables lists the tables that every hub has and this one has not: it is
// half-deleted, or its name was given in the wrong case.
func missingTables(info *hub.Info) (missing []hub.Unreadable) {
	for _, t := range [...]hub.Table{hub.Instances, hub.History} {
		if !slices.ContainsFunc(info.Tables, func(have hub.TableInfo) bool { return have.Table == t }) {
			missing = append(missing, hub.Unreadable{Artifact: "table " + info.Names.Table(t), Reason: hub.ErrNotFound.Error()})
		}
	}
	return missing
}

func captureBlobs(ctx context.Context, w *Writer, from hub.Reader, opts *CaptureOptions, info *hub.Info) error {
	containers, err := from.Containers(ctx)
	if err != nil {
		return fmt.Errorf("capture containers: %w", err)
	}
	for _, c := range containers {
		if err := w.Container(c); err != nil {
			return err
		}
		p := CaptureProgress{Part: c.Name, Total: -1}
		opts.OnProgress(p)
		for b, err := range from.Blobs(ctx, c.Name, "") {
			if err != nil {
				return fmt.Errorf("capture container %s: %w", c.Name, err)
			}
			b, data, err := readWhole(ctx, from, b, opts.MaxBlobBytes)
			if errors.Is(err, hub.ErrNotFound) || errors.Is(err, hub.ErrTooLarge) {
				info.Unreadable = append(info.Unreadable,
					hub.Unreadable{Artifact: "blob " + b.Container + "/" + b.Name, Reason: err.Error()})
				continue
			}
			if err != nil {
				return fmt.Errorf("capture blob %s/%s: %w", b.Container, b.Name, err)
			}
			if err := w.Blob(b, data); err != nil {
				return err
			}
			p.Items++
			p.Bytes += int64(len(data))
			opts.OnProgress(p)
		}
	}
	return nil
}

// readWhole reads a blob. One that is not as long as listed was written since, or
// was cut on the way by something that made it look whole: the list tells which.
func readWhole(ctx context.Context, from hub.Reader, b hub.Blob, limit int64) (hub.Blob, []byte, error) {
	const tries = 4 // a blob may well be written more than once
	for try := 1; ; try++ {
		data, err := from.ReadBlob(ctx, b.Container, b.Name, limit)
		if err != nil || int64(len(data)) == b.SizeBytes {
			return b, data, err
		}
		if try == tries {
			return b, nil, fmt.Errorf("%d bytes were read and %d are listed, %d times", len(data), b.SizeBytes, tries)
		}
		if b, err = listed(ctx, from, b); err != nil {
			return b, nil, err
		}
	}
}

// listed returns a blob as it is listed now.
func listed(ctx context.Context, from hub.Reader, b hub.Blob) (hub.Blob, error) {
	for now, err := range from.Blobs(ctx, b.Container, b.Name) {
		if err != nil {
			return b, err
		}
		if now.Name == b.Name {
			return now, nil
		}
		break // a longer name comes later
	}
	return b, fmt.Errorf("blob %s/%s: %w", b.Container, b.Name, hub.ErrNotFound)
}
