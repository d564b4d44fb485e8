package snapshot

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// WriterOptions tunes the writing of a capture. The zero value writes a file.
type WriterOptions struct {
	// Folder writes a folder in place of a zip.
	Folder bool
	// Tool names the program and its version in the manifest.
	Tool string
}

// Writer writes a capture: tables one after the other, queues, containers and
// blobs in any order of calls, then Close. A method that fails makes all later
// ones fail. A Writer is not safe for concurrent use.
type Writer struct {
	path    string // the final name
	partial string
	opts    WriterOptions
	file    *os.File // nil for a folder
	sink    sink
	zstd    *zstd.Encoder
	table   *TableWriter // the one that is open

	manifest manifest
	names    map[string]bool // of tables and queues, against duplicates

	// The index of blobs grows while their bytes are written, so it waits in a
	// file of its own.
	index     *os.File
	indexTo   *bufio.Writer
	indexed   int64
	lastBlob  key
	blobBytes map[[sha256.Size]byte]struct{}

	sum  hash.Hash // of the file that is open in sink
	size int64

	err    error
	closed bool
}

// partialSuffix marks what is not whole yet.
const partialSuffix = ".partial"

// Create begins a capture at path, a file or with opts.Folder a folder. Until
// [Writer.Close] it stands at path + ".partial"; what an interrupted run left
// there is replaced. It returns an error that wraps [fs.ErrExist] if path
// exists. Call [Writer.Abort] when done, also after Close.
func Create(path string, opts WriterOptions) (*Writer, error) {
	path = filepath.Clean(path)
	if err := mustNotExist(path); err != nil {
		return nil, err
	}
	w := &Writer{
		path:      path,
		partial:   path + partialSuffix,
		opts:      opts,
		names:     make(map[string]bool),
		blobBytes: make(map[[sha256.Size]byte]struct{}),
		sum:       sha256.New(),
	}
	// A frame of its own size needs no window beyond it; that also makes the
	// encoder store the size of the smallest frames.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(true),
		zstd.WithSingleSegment(true), zstd.WithWindowSize(1<<20))
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	w.zstd = enc
	if err := os.RemoveAll(w.partial); err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	if opts.Folder {
		err = os.Mkdir(w.partial, 0o777)
		w.sink = newFolderWriter(w.partial)
	} else {
		w.file, err = os.OpenFile(w.partial, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		w.sink = newZipWriter(w.file)
	}
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", path, err)
	}
	return w, nil
}

func mustNotExist(path string) error {
	_, err := os.Lstat(path)
	switch {
	case err == nil:
		return fmt.Errorf("create %s: %w", path, fs.ErrExist)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return fmt.Errorf("create %s: %w", path, err)
}

var errClosed = errors.New("the capture is closed")

// fail remembers the first error.
func (w *Writer) fail(what string, err error) error {
	if err != nil && w.err == nil {
		w.err = fmt.Errorf("write %s: %w", what, err)
	}
	return err
}

// ready returns why the next part cannot be written.
func (w *Writer) ready(what string) error {
	switch {
	case w.err != nil:
		return w.err
	case w.closed:
		return fmt.Errorf("write %s: %w", what, errClosed)
	case w.table != nil:
		return fmt.Errorf("write %s: table %s is open", what, w.table.meta.Name)
	}
	return nil
}

func (w *Writer) begin(name string) error {
	w.sum.Reset()
	w.size = 0
	return w.sink.create(name)
}

func (w *Writer) write(p []byte) error {
	w.sum.Write(p)
	w.size += int64(len(p))
	_, err := w.sink.Write(p)
	return err
}

func (w *Writer) finish(name string, rows int64) error {
	err := w.sink.finish()
	w.manifest.Files = append(w.manifest.Files,
		fileMeta{Name: name, Rows: rows, Bytes: w.size, SHA256: hex.EncodeToString(w.sum.Sum(nil))})
	return err
}

// claim checks the name of a table or queue and that it is new. Some file
// systems ignore case, so names must differ in more than that.
func (w *Writer) claim(kind, name string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("%s: %w", kind, err)
	}
	id := kind + " " + strings.ToLower(name)
	if w.names[id] {
		return fmt.Errorf("%s %q is there twice", kind, name)
	}
	w.names[id] = true
	return nil
}

// Queue writes a queue and its messages in their order. The queue named in the
// messages is not looked at.
func (w *Writer) Queue(q hub.Queue, messages iter.Seq2[schema.QueueMessage, error]) error {
	if err := w.ready("queue " + q.Name); err != nil {
		return err
	}
	return w.fail("queue "+q.Name, w.queue(q, messages))
}

func (w *Writer) queue(q hub.Queue, messages iter.Seq2[schema.QueueMessage, error]) error {
	if err := w.claim("queue", q.Name); err != nil {
		return err
	}
	meta := queueMeta{Name: q.Name, ApproximateCount: q.ApproximateCount}
	name := queuePrefix + q.Name + queueSuffix
	if err := w.begin(name); err != nil {
		return err
	}
	for m, err := range messages {
		if err != nil {
			return err
		}
		if !utf8.ValidString(m.Text) || !utf8.ValidString(m.ID) {
			return fmt.Errorf("message %q: not valid UTF-8", m.ID)
		}
		line, err := encodeJSON(message{
			ID: m.ID, InsertedAt: stamp(m.InsertedAt), ExpiresAt: stamp(m.ExpiresAt), VisibleAt: stamp(m.VisibleAt),
			DequeueCount: m.DequeueCount, Text: m.Text,
		}, "")
		if err != nil {
			return err
		}
		if len(line) > maxLineBytes {
			return fmt.Errorf("message %q: %d bytes", m.ID, len(line))
		}
		if err := w.write(line); err != nil {
			return err
		}
		meta.Seen++
	}
	w.manifest.Queues = append(w.manifest.Queues, meta)
	return w.finish(name, meta.Seen)
}

// Container notes that a blob container exists. Containers of blobs that are
// written need not be noted, except for their lease.
func (w *Writer) Container(c hub.Container) error {
	if err := w.ready("container " + c.Name); err != nil {
		return err
	}
	if !utf8.ValidString(c.Name) || c.Name == "" {
		return w.fail("container", fmt.Errorf("bad name %q", c.Name))
	}
	i, found := w.findContainer(c.Name)
	if found {
		w.manifest.Containers[i] = c
	} else {
		w.manifest.Containers = slices.Insert(w.manifest.Containers, i, c)
	}
	return nil
}

func (w *Writer) findContainer(name string) (int, bool) {
	return slices.BinarySearchFunc(w.manifest.Containers, name, func(c hub.Container, name string) int {
		return schema.CompareKeys(c.Name, name)
	})
}

// Blob writes a blob. Blobs come in the order of their containers and names by
// [schema.CompareKeys]. Data that is the same as that of an earlier blob is
// stored once.
func (w *Writer) Blob(b hub.Blob, data []byte) error {
	what := "blob " + b.Container + "/" + b.Name
	if err := w.ready(what); err != nil {
		return err
	}
	return w.fail(what, w.blob(b, data))
}

func (w *Writer) blob(b hub.Blob, data []byte) error {
	switch k := (key{b.Container, b.Name}); {
	case b.Container == "" || b.Name == "":
		return errors.New("no name")
	case b.SizeBytes != int64(len(data)):
		return fmt.Errorf("%d bytes of a blob of %d", len(data), b.SizeBytes)
	case w.indexed > 0 && compareKeys(w.lastBlob, k) >= 0:
		return fmt.Errorf("not after %s/%s", w.lastBlob.partition, w.lastBlob.row)
	default:
		w.lastBlob = k
	}
	if _, found := w.findContainer(b.Container); !found {
		if err := w.Container(hub.Container{Name: b.Container}); err != nil {
			return err
		}
	}
	sum := sha256.Sum256(data)
	line := blob{
		Container: b.Container, Name: b.Name, SizeBytes: b.SizeBytes, SHA256: hex.EncodeToString(sum[:]),
		ContentMD5: b.ContentMD5, ContentType: b.ContentType, CreatedAt: stamp(b.CreatedAt),
		LastModified: stamp(b.LastModified), LeaseState: b.LeaseState, Metadata: b.Metadata,
	}
	line.File = blobPrefix + line.SHA256
	text, err := encodeJSON(line, "")
	if err != nil {
		return err
	}
	// encoding/json replaces what is not UTF-8, which would change the name.
	if !validStrings(b) {
		return errors.New("not valid UTF-8")
	}
	if len(text) > maxLineBytes {
		return fmt.Errorf("%d bytes of names and metadata", len(text))
	}
	if w.index == nil {
		f, err := os.OpenFile(w.indexPath(), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o666)
		if err != nil {
			return err
		}
		w.index, w.indexTo = f, bufio.NewWriterSize(f, 64<<10)
	}
	if _, err := w.indexTo.Write(text); err != nil {
		return err
	}
	w.indexed++
	if _, ok := w.blobBytes[sum]; ok {
		return nil
	}
	w.blobBytes[sum] = struct{}{}
	return w.sink.put(line.File, data)
}

func validStrings(b hub.Blob) bool {
	for k, v := range b.Metadata {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return false
		}
	}
	return utf8.ValidString(b.Container) && utf8.ValidString(b.Name) && utf8.ValidString(b.ContentType) && utf8.ValidString(b.LeaseState)
}

// indexPath is where the index of blobs waits. It ends like the rest of what is
// not whole.
func (w *Writer) indexPath() string { return w.path + ".blobs" + partialSuffix }

// Close writes the manifest from info, brings everything to disk and gives the
// capture its name. info.Tables is not looked at: each [TableWriter] knows. If
// Close fails, nothing is left.
func (w *Writer) Close(info hub.Info) error {
	if err := w.ready("capture"); err != nil {
		w.Abort()
		return err
	}
	err := w.fail(w.path, w.seal(info))
	if err == nil {
		err = w.fail(w.path, w.publish())
	}
	w.Abort()
	if err != nil {
		return w.err
	}
	return nil
}

func (w *Writer) seal(info hub.Info) error {
	if err := w.blobIndex(); err != nil {
		return err
	}
	m := &w.manifest
	m.Format, m.FormatVersion, m.Tool = formatName, formatVersion, w.opts.Tool
	m.TaskHub, m.TrackingPrefix, m.Account = info.Names.TaskHub, info.Names.TrackingPrefix, info.Account
	m.PartitionCount, m.PartitionCountFrom = info.PartitionCount, info.PartitionCountFrom
	m.Started, m.Finished = stamp(info.Started), stamp(info.Finished)
	m.Unreadable = info.Unreadable
	// A list that is empty is [], not null.
	m.Tables, m.Queues, m.Files = notNil(m.Tables), notNil(m.Queues), notNil(m.Files)
	m.Containers, m.Unreadable = notNil(m.Containers), notNil(m.Unreadable)
	byName := func(a, b string) int { return schema.CompareKeys(a, b) }
	slices.SortFunc(m.Tables, func(a, b tableMeta) int { return byName(a.Table, b.Table) })
	slices.SortFunc(m.Queues, func(a, b queueMeta) int { return byName(a.Name, b.Name) })
	slices.SortFunc(m.Files, func(a, b fileMeta) int { return byName(a.Name, b.Name) })
	if err := m.validate(); err != nil {
		return err
	}
	text, err := m.encode()
	if err != nil {
		return err
	}
	if len(text) > maxManifestBytes {
		return fmt.Errorf("a manifest of %d bytes; the limit is %d", len(text), maxManifestBytes)
	}
	if err := w.sink.put(manifestName, text); err != nil {
		return err
	}
	return w.sink.close()
}

func notNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// blobIndex moves the index of blobs to its place. It exists even if there are
// no blobs.
func (w *Writer) blobIndex() error {
	if err := w.begin(blobIndexName); err != nil {
		return err
	}
	if w.index != nil {
		if err := w.indexTo.Flush(); err != nil {
			return err
		}
		if _, err := w.index.Seek(0, io.SeekStart); err != nil {
			return err
		}
		buf := make([]byte, 64<<10)
		for {
			n, err := w.index.Read(buf)
			if err := w.write(buf[:n]); err != nil {
				return err
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				return err
			}
		}
	}
	return w.finish(blobIndexName, w.indexed)
}

// publish gives the capture its final name.
func (w *Writer) publish() error {
	if w.file != nil {
		// Another run may have replaced our file by its own, which is not whole.
		ours, err := w.file.Stat()
		if err != nil {
			return err
		}
		there, err := os.Stat(w.partial)
		if err != nil {
			return err
		}
		if !os.SameFile(ours, there) {
			return fmt.Errorf("another run is writing %s", w.partial)
		}
		if err := w.file.Close(); err != nil {
			return err
		}
		w.file = nil
	}
	if err := mustNotExist(w.path); err != nil {
		return err
	}
	if err := os.Rename(w.partial, w.path); err != nil {
		return err
	}
	w.partial = ""
	syncFolder(filepath.Dir(w.path))
	return nil
}

// Abort frees what w holds and removes what is not whole. After a successful
// Close it does nothing.
func (w *Writer) Abort() {
	if w.closed {
		return
	}
	w.closed = true
	if w.table != nil {
		w.table.abandon()
	}
	_ = w.zstd.Close() // only ends goroutines; EncodeAll has none
	if w.index != nil {
		_ = w.index.Close()
		_ = os.Remove(w.indexPath())
	}
	if w.file != nil {
		_ = w.file.Close()
	}
	if d, ok := w.sink.(*folderWriter); ok && d.current != nil {
		_ = d.current.Close()
	}
	if w.partial != "" {
		_ = os.RemoveAll(w.partial)
	}
}
