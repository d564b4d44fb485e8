package snapshot

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/klauspost/compress/zstd"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Options tunes the opening of a capture. The zero value refuses a damaged one.
type Options struct {
	// Salvage reads what a damaged capture still holds. What had to be left out
	// is listed by [Reader.Damage], as far as it has been met. Rows and the
	// bytes of blobs are only returned if their checksums are right; the lines
	// of a queue or of the list of blobs have none of their own, so those of a
	// damaged file are returned as they read.
	Salvage bool
}

// Reader reads a capture. It is safe for concurrent use.
type Reader struct {
	fsys    fs.FS
	closers []io.Closer
	opts    Options
	info    hub.Info
	m       *manifest
	tables  map[hub.Table]*table
	zstd    *zstd.Decoder

	mu      sync.Mutex
	damage  []DamageError
	checked map[string]*lines // files of lines whose SHA-256 has been looked at
	scratch sync.Pool         // of *[]byte
}

var _ hub.Reader = (*Reader)(nil)

// table is one table of an open capture.
type table struct {
	file   *file
	frames []frame
}

// Open opens the capture at path, a file or a folder. It returns a
// [*DamageError] for one that is not whole, and an error that wraps
// [fs.ErrNotExist] if there is nothing at path.
func Open(path string, opts Options) (*Reader, error) {
	fsys, closer, damage, err := openPath(path, opts)
	if err == nil {
		var r *Reader
		if r, err = newReader(fsys, opts, damage); err == nil {
			r.closers = append(r.closers, closer)
			return r, nil
		}
		err = errors.Join(err, closer.Close())
	}
	return nil, fmt.Errorf("open %s: %w", path, err)
}

func openPath(path string, opts Options) (fs.FS, io.Closer, []DamageError, error) {
	path = filepath.Clean(path)
	stat, err := os.Stat(path)
	if err != nil {
		return nil, nil, nil, unwrapPath(err)
	}
	if stat.IsDir() {
		root, err := os.OpenRoot(path)
		if err != nil {
			return nil, nil, nil, unwrapPath(err)
		}
		return root.FS(), root, nil, nil
	}
	if !stat.Mode().IsRegular() {
		return nil, nil, nil, errors.New("neither a file nor a folder")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, nil, unwrapPath(err)
	}
	fsys, damage, err := openZip(f, stat.Size(), opts)
	if err != nil {
		return nil, nil, nil, errors.Join(err, f.Close())
	}
	return fsys, f, damage, nil
}

// unwrapPath drops the path from an error that the caller prefixes with it.
func unwrapPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func openZip(at io.ReaderAt, size int64, opts Options) (fs.FS, []DamageError, error) {
	a, err := openArchive(at, size)
	if err == nil && !opts.Salvage {
		return a, nil, nil
	}
	if !opts.Salvage {
		return nil, nil, err
	}
	a, damage, err := salvageArchive(at, size)
	return a, damage, err
}

// New opens the capture whose files fsys holds. They must implement
// [io.ReaderAt], as those of [os.DirFS], embed.FS and testing/fstest do. Errors
// are those of [Open]. Use Open for a folder that others may write to:
// os.DirFS follows links out of it.
func New(fsys fs.FS, opts Options) (*Reader, error) { return newReader(fsys, opts, nil) }

func newReader(fsys fs.FS, opts Options, damage []DamageError) (*Reader, error) {
	r := &Reader{
		fsys: fsys, opts: opts, damage: damage,
		tables:  make(map[hub.Table]*table),
		checked: make(map[string]*lines),
	}
	var err error
	r.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderMaxMemory(maxFrameBytes))
	if err != nil {
		return nil, err
	}
	if err := r.open(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Reader) open() error {
	m, err := r.readManifest()
	if err != nil {
		if !r.opts.Salvage {
			return err
		}
		r.note(err)
		if m, err = r.guessManifest(); err != nil {
			return err
		}
	}
	r.m = m
	for _, q := range m.Queues {
		if f := m.file(queuePrefix + q.Name + queueSuffix); f == nil || f.Rows != q.Seen {
			err := r.damaged(&DamageError{File: manifestName, Err: fmt.Errorf("queue %s: no file, or not %d messages in it", q.Name, q.Seen)})
			if err != nil {
				return err
			}
		}
	}
	if m.file(blobIndexName) == nil {
		if err := r.damaged(&DamageError{File: manifestName, Err: fmt.Errorf("%s is not listed", blobIndexName)}); err != nil {
			return err
		}
	}
	r.info = hub.Info{
		Names:          hub.Names{TaskHub: m.TaskHub, TrackingPrefix: m.TrackingPrefix},
		Account:        m.Account,
		PartitionCount: m.PartitionCount, PartitionCountFrom: m.PartitionCountFrom,
		Started: schema.Ticks(m.Started), Finished: schema.Ticks(m.Finished),
		Unreadable: m.Unreadable,
	}
	for i := range m.Tables {
		t := &m.Tables[i]
		tab, err := r.openTable(t)
		if err != nil {
			if err := r.damaged(err); err != nil {
				return err
			}
			tab = &table{} // what the manifest says of it is still true
		}
		r.tables[tableNamed(t.Table)] = tab
		r.info.Tables = append(r.info.Tables, hub.TableInfo{
			Table: tableNamed(t.Table), Name: t.Name, Rows: t.Rows,
			Started: schema.Ticks(t.Started), Finished: schema.Ticks(t.Finished),
		})
	}
	slices.SortFunc(r.info.Tables, func(a, b hub.TableInfo) int { return cmp.Compare(a.Table, b.Table) })
	return nil
}

func (r *Reader) readManifest() (*manifest, error) {
	f, err := r.openFile(manifestName)
	if err != nil {
		return nil, err
	}
	defer f.close()
	text, err := f.all(maxManifestBytes)
	if err != nil {
		return nil, err
	}
	m, err := decodeManifest(text)
	if err != nil {
		return nil, f.damage(0, err)
	}
	return m, nil
}

// openTable opens the file of a table and loads its index.
func (r *Reader) openTable(t *tableMeta) (*table, error) {
	name := tablePrefix + t.Name + tableSuffix
	f, err := r.openFile(name)
	if err != nil {
		return nil, err
	}
	r.closers = append(r.closers, f.File)
	tab := &table{file: f}
	listed := r.m.file(name)
	switch {
	case listed == nil:
		err = &DamageError{File: manifestName, Err: fmt.Errorf("%s is not listed", name)}
	case listed.SHA256 == unknownHash:
		// An index that nothing vouches for could hide rows.
		tab.frames = r.rebuildIndex(f)
		t.Rows = tab.rows()
		return tab, nil
	case listed.Bytes != f.size:
		err = f.damage(min(listed.Bytes, f.size), fmt.Errorf("the file has %d bytes, the manifest says %d", f.size, listed.Bytes))
	default:
		if tab.frames, err = r.loadIndex(t, f.size); err == nil {
			return tab, nil
		}
	}
	if err := r.damaged(err); err != nil {
		return nil, err
	}
	tab.frames = r.rebuildIndex(f)
	t.Rows = tab.rows()
	return tab, nil
}

// rows returns the number of rows in the frames that are known.
func (t *table) rows() (n int64) {
	for i := range t.frames {
		n += t.frames[i].rows
	}
	return n
}

func (r *Reader) loadIndex(t *tableMeta, size int64) ([]frame, error) {
	name := tablePrefix + t.Name + indexSuffix
	f, err := r.openFile(name)
	if err != nil {
		return nil, err
	}
	defer f.close()
	text, err := f.all(maxIndexBytes)
	if err != nil {
		return nil, err
	}
	if err := r.matches(f, text); err != nil {
		return nil, err
	}
	frames, at, err := decodeIndex(text, size)
	if err != nil {
		return nil, f.damage(at, err)
	}
	if rows := (&table{frames: frames}).rows(); rows != t.Rows {
		return nil, f.damage(0, fmt.Errorf("%d rows in all, the manifest says %d", rows, t.Rows))
	}
	return frames, nil
}

// matches compares the content of a file with what the manifest says of it.
func (r *Reader) matches(f *file, text []byte) error {
	listed := r.m.file(f.name)
	if listed == nil {
		return &DamageError{File: manifestName, Err: fmt.Errorf("%s is not listed", f.name)}
	}
	if listed.Bytes != f.size {
		return f.damage(min(listed.Bytes, f.size), fmt.Errorf("the file has %d bytes, the manifest says %d", f.size, listed.Bytes))
	}
	if sum := sha256.Sum256(text); hex.EncodeToString(sum[:]) != listed.SHA256 {
		return f.damage(0, errHash)
	}
	return nil
}

var errHash = errors.New("the SHA-256 of the file is not the one that was recorded")

// damaged decides what becomes of an error: it is returned, or noted if what is
// damaged can be left out.
func (r *Reader) damaged(err error) error {
	var d *DamageError
	if !r.opts.Salvage || !errors.As(err, &d) {
		return err
	}
	r.note(d)
	return nil
}

// note adds to the list of damage what is not in it yet.
func (r *Reader) note(err error) {
	var d *DamageError
	if !errors.As(err, &d) {
		d = &DamageError{Err: err}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.ContainsFunc(r.damage, func(o DamageError) bool { return o.File == d.File && o.Offset == d.Offset }) {
		r.damage = append(r.damage, *d)
	}
}

// Damage returns what was left out so far, in the order of files and offsets.
// Streams add to it as they go. Without [Options.Salvage] it is empty.
func (r *Reader) Damage() []DamageError {
	r.mu.Lock()
	defer r.mu.Unlock()
	damage := slices.Clone(r.damage)
	slices.SortFunc(damage, func(a, b DamageError) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Offset, b.Offset))
	})
	return damage
}

// Info describes the captured hub. It returns [hub.ErrNotFound] if the capture
// holds nothing of one.
func (r *Reader) Info(ctx context.Context) (hub.Info, error) {
	if ctx.Err() != nil {
		return hub.Info{}, context.Cause(ctx)
	}
	if len(r.m.Tables) == 0 && len(r.m.Queues) == 0 && len(r.m.Containers) == 0 {
		return hub.Info{}, fmt.Errorf("hub %q: %w", r.m.TaskHub, hub.ErrNotFound)
	}
	info := r.info
	info.Tables = slices.Clone(info.Tables)
	info.Unreadable = slices.Clone(info.Unreadable)
	return info, nil
}

// Queues lists the queues of the hub by name.
func (r *Reader) Queues(ctx context.Context) ([]hub.Queue, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	queues := make([]hub.Queue, len(r.m.Queues))
	for i, q := range r.m.Queues {
		queues[i] = hub.Queue{Name: q.Name, ApproximateCount: q.ApproximateCount}
	}
	return queues, nil
}

// Containers lists the blob containers of the hub by name.
func (r *Reader) Containers(ctx context.Context) ([]hub.Container, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return slices.Clone(r.m.Containers), nil
}

// Close closes the files of the capture. Streams must have ended.
func (r *Reader) Close() error {
	r.zstd.Close()
	var err error
	for _, c := range r.closers {
		err = errors.Join(err, c.Close())
	}
	r.closers = nil
	return err
}

// file is an open file of a capture.
type file struct {
	fs.File
	io.ReaderAt
	name string
	size int64
	base int64 // of the file in the archive
}

// openFile opens a regular file. A missing one is damage: only names that the
// capture itself gives are opened.
func (r *Reader) openFile(name string) (*file, error) {
	// A pipe or device would block before it can be seen to be none.
	stat, err := fs.Stat(r.fsys, name)
	if err == nil && !stat.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, &DamageError{File: name, Err: unwrapPath(err)}
	}
	f, err := r.fsys.Open(name)
	if err != nil {
		return nil, &DamageError{File: name, Err: unwrapPath(err)}
	}
	at, ok := f.(io.ReaderAt)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s: files of this kind cannot be read at an offset (%T)", name, f), f.Close())
	}
	out := &file{File: f, ReaderAt: at, name: name, size: stat.Size()}
	if a, ok := f.(*archiveFile); ok {
		out.base = a.offset
	}
	return out, nil
}

func (f *file) close() { _ = f.Close() } // only read

func (f *file) damage(offset int64, err error) *DamageError {
	d := &DamageError{File: f.name, Offset: offset, Err: err}
	if f.base > 0 {
		d.ArchiveOffset = f.base + offset
	}
	return d
}

// all returns the content of a file of at most limit bytes.
func (f *file) all(limit int64) ([]byte, error) {
	if f.size > limit {
		return nil, f.damage(0, fmt.Errorf("%d bytes; the limit is %d", f.size, limit))
	}
	text := make([]byte, f.size)
	return text, f.read(text, 0)
}

// read fills p from an offset.
func (f *file) read(p []byte, offset int64) error {
	n, err := f.ReadAt(p, offset)
	if n == len(p) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return f.damage(offset+int64(n), err)
}

// hash returns the SHA-256 of the whole file in hexadecimal.
func (f *file) hash(ctx context.Context) (string, error) {
	sum := sha256.New()
	buf := make([]byte, 256<<10)
	for at := int64(0); at < f.size; {
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		p := buf[:min(int64(len(buf)), f.size-at)]
		if err := f.read(p, at); err != nil {
			return "", err
		}
		sum.Write(p)
		at += int64(len(p))
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}
