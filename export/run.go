package export

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/taskhub-tools/taskhub/export/internal/parquet"
	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

const (
	// A sink is flushed at this many bytes, which bounds what a worker holds.
	// The estimate does not count the spare capacity of growing buffers.
	flushBytes = 32 << 20
	// Row groups of Parquet files have up to this many rows.
	groupRows = 100_000
	// A key range is cut so that it has about this many rows of JSON.
	jsonRows = 20_000
	// hiveBytes bounds what all part files of a partitioned export hold
	// together before the largest is flushed.
	hiveBytes = 96 << 20
	// sinkBytes is about what an empty sink holds.
	sinkBytes = 64 << 10
)

// Run exports a hub into the folder dir, which is made if it does not exist.
//
// It returns the manifest that it wrote. Rows or payloads that cannot be read
// are counted in it and are no error. On an error, or when ctx is cancelled,
// nothing of this run is left in dir.
func Run(ctx context.Context, r hub.Reader, dir string, opts Options) (*Manifest, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	info, err := r.Info(ctx)
	if err != nil {
		return nil, err
	}
	out, err := openFolder(dir, &opts)
	if err != nil {
		return nil, err
	}
	m := newManifest(&info, &opts)
	err = func() error {
		for _, d := range opts.Datasets {
			x := newExport(r, &info, &opts, d)
			ds, err := out.begin(x.table, x.schema)
			if err != nil {
				return err
			}
			x.out = ds
			if err := x.dataset(ctx); err != nil {
				return fmt.Errorf("export %s: %w", d, err)
			}
			entry, err := ds.finish()
			if err != nil {
				return err
			}
			entry.Errors = x.failed
			m.Datasets = append(m.Datasets, entry)
		}
		return nil
	}()
	if err != nil {
		return nil, errors.Join(err, out.abandon())
	}
	if opts.Skipped != nil {
		m.Source.Unreadable = append(slices.Clone(m.Source.Unreadable), opts.Skipped()...)
	}
	if err := out.commit(m); err != nil {
		return nil, errors.Join(err, out.abandon())
	}
	return m, nil
}

// Stats counts what a stream has written.
type Stats struct {
	Rows   int64
	Bytes  int64
	Errors int64 // rows whose column error is not null
}

// Stream writes one dataset to w as JSON Lines. The options for part files do
// not apply.
func Stream(ctx context.Context, r hub.Reader, w io.Writer, d Dataset, opts Options) (Stats, error) {
	opts.Datasets = []Dataset{d}
	opts.Format = NDJSON
	if err := opts.validate(); err != nil {
		return Stats{}, err
	}
	opts.PartitionBy = nil
	info, err := r.Info(ctx)
	if err != nil {
		return Stats{}, err
	}
	x := newExport(r, &info, &opts, d)
	out := &streamOutput{w: w}
	x.out = out
	if err := x.dataset(ctx); err != nil {
		return Stats{}, fmt.Errorf("export %s: %w", d, err)
	}
	return Stats{Rows: x.done.Rows, Bytes: out.bytes, Errors: x.failed}, nil
}

// output takes the chunks of a dataset in their final order.
type output interface {
	// append adds a chunk to the current part file in the folder hive, and
	// returns the number of bytes written.
	append(hive string, c chunk) (int64, error)
}

type streamOutput struct {
	w     io.Writer
	bytes int64
}

func (s *streamOutput) append(_ string, c chunk) (int64, error) {
	n, err := s.w.Write(c.json)
	s.bytes += int64(n)
	return int64(n), err
}

// run is the export of one dataset.
type run struct {
	reader    hub.Reader
	info      *hub.Info
	opts      *Options
	table     *table
	schema    *parquet.Schema // nil unless the format is Parquet
	container string          // of large messages
	ranges    []hub.Keys      // what the filter leaves
	flushAt   int             // bytes at which a sink is flushed
	out       output

	// spelled has the name that each folder of instance_name stands for, by the
	// folder in lower case.
	spelled map[string]string

	// Changed by one worker at a time, the one whose turn it is.
	done   Progress
	failed int64
}

func newExport(r hub.Reader, info *hub.Info, opts *Options, d Dataset) *run {
	t := tables[d]
	x := &run{
		reader: r, info: info, opts: opts, table: &t,
		container: info.Names.LargeMessages(), ranges: opts.Filter.ranges(),
		flushAt: flushBytes, spelled: map[string]string{},
		done: Progress{Dataset: d, Total: -1},
	}
	if opts.Format != Parquet {
		// These do not shrink on the way to the file: parts have the size asked for.
		x.flushAt = int(min(flushBytes, opts.PartBytes))
	} else {
		s, err := t.parquetSchema()
		if err != nil {
			panic("export: internal error: " + err.Error()) // the columns are constant
		}
		x.schema = s
	}
	return x
}

func (x *run) hiveByName() bool { return slices.Contains(x.opts.PartitionBy, ByInstanceName) }

// filtered reports whether the filter leaves anything out.
func (x *run) filtered() bool {
	return x.opts.Filter.byRow() || len(x.ranges) != 1 || x.ranges[0] != hub.Keys{}
}

// A task exports a part of the dataset; tasks are numbered in output order.
type task func(ctx context.Context, emit emitter) error

// tasks cuts the dataset into pieces that can be worked on side by side.
func (x *run) tasks(ctx context.Context) ([]task, error) {
	var source hub.Table
	var each func(context.Context, hub.Keys, emitter) error
	switch x.table.dataset {
	case Instances, Entities:
		source, each = hub.Instances, x.instancesRange
	case History:
		source, each = hub.History, x.historyRange
	case Messages:
		queues, err := x.reader.Queues(ctx)
		if err != nil {
			return nil, err
		}
		var tasks []task
		for _, q := range queues {
			tasks = append(tasks, func(ctx context.Context, emit emitter) error { return x.messagesOf(ctx, q.Name, emit) })
		}
		return tasks, nil
	case Blobs:
		containers, err := x.reader.Containers(ctx)
		if err != nil {
			return nil, err
		}
		var tasks []task
		for _, c := range containers {
			tasks = append(tasks, func(ctx context.Context, emit emitter) error { return x.blobsOf(ctx, c.Name, emit) })
		}
		return tasks, nil
	}
	total, instances := int64(-1), int64(0)
	for _, t := range x.info.Tables {
		if t.Table == source {
			total = t.Rows
		}
		if t.Table == hub.Instances {
			instances = max(t.Rows, 0)
		}
	}
	ranges := x.ranges
	if !x.filtered() && x.table.dataset != Entities {
		x.done.Total = total
		if source == hub.History && total >= instances {
			x.done.Total -= instances
		}
	}
	if len(ranges) <= 2 && total != 0 {
		rows := int64(groupRows)
		if x.schema == nil {
			rows = jsonRows
		}
		pieces := int64(64)
		if total > 0 {
			// A multiple of the workers, or one is idle while the last are done.
			workers := int64(x.opts.Workers)
			pieces = (total/rows + workers) / workers * workers
		}
		split, err := x.reader.Split(ctx, source, int(pieces))
		if err != nil {
			return nil, err
		}
		ranges = hub.Intersect(split, ranges)
	}
	var tasks []task
	for _, keys := range ranges {
		tasks = append(tasks, func(ctx context.Context, emit emitter) error { return each(ctx, keys, emit) })
	}
	return tasks, nil
}

// dataset runs the tasks on several workers. A worker encodes into memory and
// appends to the output when all tasks before its own have ended, so that the
// order of the output does not depend on their speed.
func (x *run) dataset(ctx context.Context) error {
	tasks, err := x.tasks(ctx)
	if err != nil {
		return err
	}
	if x.opts.OnProgress != nil {
		x.opts.OnProgress(x.done)
	}
	if len(x.opts.PartitionBy) > 0 {
		// Each folder collects rows from every range: one worker holds them all.
		all := tasks
		tasks = []task{func(ctx context.Context, emit emitter) error {
			for _, t := range all {
				if err := t(ctx, emit); err != nil {
					return err
				}
			}
			return nil
		}}
	}
	turns := make([]chan struct{}, len(tasks)+1)
	for i := range turns {
		turns[i] = make(chan struct{})
	}
	close(turns[0])
	workers := min(x.opts.Workers, len(tasks))
	group, ctx := errgroup.WithContext(ctx)
	next := make(chan int)
	group.Go(func() error {
		defer close(next)
		for i := range tasks {
			select {
			case next <- i:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		return nil
	})
	for range workers {
		group.Go(func() error {
			w := worker{x: x, sinks: map[string]sink{}}
			if x.schema != nil {
				w.enc = parquet.NewEncoder()
			}
			for i := range next {
				w.turn = turns[i]
				if err := tasks[i](ctx, func(rec *record, extra []schema.Property, name hiveName) error {
					return w.emit(ctx, rec, extra, name)
				}); err != nil {
					return err
				}
				if err := w.endTask(ctx); err != nil {
					return err
				}
				close(turns[i+1])
			}
			return nil
		})
	}
	return group.Wait()
}

// worker encodes the rows of one task after the other.
type worker struct {
	x      *run
	enc    *parquet.Encoder
	sinks  map[string]sink // by folder; one, "", without partitioning
	held   int             // bytes in all sinks, as of their last rows
	turn   chan struct{}
	failed int64 // rows with an error since the last append
}

func (w *worker) emit(ctx context.Context, rec *record, extra []schema.Property, name hiveName) error {
	if rec.finish(extra) {
		w.failed++
	}
	folder := ""
	if len(w.x.opts.PartitionBy) > 0 {
		folder = w.x.hiveFolder(rec, name)
	}
	s := w.sinks[folder]
	if s == nil {
		s = w.newSink()
		w.sinks[folder] = s
		w.held += sinkBytes
	}
	before := s.size()
	if err := s.add(rec); err != nil {
		return fmt.Errorf("encode a row of %s: %w", w.x.table.dataset, err)
	}
	w.held += s.size() - before
	switch {
	case s.size() >= w.x.flushAt || w.x.schema != nil && s.rows() >= groupRows+groupRows/4:
		return w.flush(ctx, folder)
	case w.held >= hiveBytes:
		return w.flush(ctx, w.largest())
	}
	return nil
}

func (w *worker) newSink() sink {
	if w.x.schema != nil {
		return newParquetSink(w.x.table, w.x.schema, w.enc)
	}
	return newJSONSink(w.x.table, w.x.opts.Format == JSON)
}

// largest returns the folder whose sink holds most, the first by name of equals.
func (w *worker) largest() string {
	best := ""
	size := -1
	for folder, s := range w.sinks {
		if n := s.size(); n > size || n == size && folder < best {
			best, size = folder, n
		}
	}
	return best
}

func (w *worker) endTask(ctx context.Context) error {
	folders := make([]string, 0, len(w.sinks))
	for folder := range w.sinks {
		folders = append(folders, folder)
	}
	slices.Sort(folders)
	for _, folder := range folders {
		if err := w.flush(ctx, folder); err != nil {
			return err
		}
	}
	return w.await(ctx) // a task without rows has its turn too
}

// await returns when all tasks before the worker's own have ended.
func (w *worker) await(ctx context.Context) error {
	select {
	case <-w.turn:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// flush encodes what a sink holds and appends it to the output.
func (w *worker) flush(ctx context.Context, folder string) error {
	s := w.sinks[folder]
	if s.rows() == 0 {
		return nil
	}
	w.held -= s.size()
	c, err := s.flush()
	if err != nil {
		return fmt.Errorf("encode %s: %w", w.x.table.dataset, err)
	}
	if err := w.await(ctx); err != nil {
		return err
	}
	x := w.x
	n, err := x.out.append(folder, c)
	if err != nil {
		return err
	}
	if folder != "" {
		// Folders come and go with the keys; their sinks are not kept.
		delete(w.sinks, folder)
		w.held -= sinkBytes
	}
	x.done.Rows += c.rows
	x.done.Bytes += n
	x.failed += w.failed
	w.failed = 0
	if x.opts.OnProgress != nil {
		x.opts.OnProgress(x.done)
	}
	return nil
}

// hiveDefault is the folder value for rows without one, as Hive names it.
const hiveDefault = "__HIVE_DEFAULT_PARTITION__"

// hiveFolder returns the folder of a row, such as date=2026-11-22/instance_name=Hello.
func (x *run) hiveFolder(rec *record, name hiveName) string {
	var b strings.Builder
	for i, key := range x.opts.PartitionBy {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(string(key))
		b.WriteByte('=')
		switch {
		case key == ByDate && rec.isSet(x.table.time):
			b.WriteString(schema.Ticks(rec.cells[x.table.time].n).String()[:len("2006-01-02")])
		case key == ByInstanceName && name.set && name.name != "":
			b.WriteString(x.hiveValue(name.name))
		default:
			b.WriteString(hiveDefault)
		}
	}
	return b.String()
}

// hiveValue returns the folder value for a name. Where a file system does not
// tell letters by case, two names would share a folder: the later one is then
// written without letters. So is a name that readers take for none.
func (x *run) hiveValue(name string) string {
	if strings.EqualFold(name, "null") || name == hiveDefault {
		return hiveEscape(name, false)
	}
	value := hiveEscape(name, true)
	lower := strings.ToLower(value)
	if first, ok := x.spelled[lower]; !ok {
		x.spelled[lower] = name
	} else if first != name {
		return hiveEscape(name, false)
	}
	return value
}

// maxFolderName is the length that file systems allow, with room for the key.
const maxFolderName = 200

// hiveEscape makes any text a safe folder name: everything but ASCII letters,
// digits and - _ . is percent-encoded, as readers of Hive folders decode it, and
// so is a point at either end: the first hides a folder, and Windows drops the
// last. A name too long for a folder is cut, and the SHA-256 of the whole name
// makes it unique. Without letters, they are encoded too.
func hiveEscape(s string, letters bool) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if letters && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z') || c >= '0' && c <= '9' || c == '-' || c == '_' ||
			c == '.' && i > 0 && i < len(s)-1 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	out := b.String()
	if len(out) <= maxFolderName {
		return out
	}
	cut := out[:maxFolderName-68]
	if i := strings.LastIndexByte(cut, '%'); i >= len(cut)-2 {
		cut = cut[:i]
	}
	return cut + "..." + sha256Hex([]byte(s))
}

// errExists is returned for an output folder that holds a dataset already.
type errExists struct{ path string }

func (e errExists) Error() string {
	return fmt.Sprintf("%s already exists; choose another folder or overwrite it", e.path)
}

func (e errExists) Is(target error) bool { return target == os.ErrExist }
