package snapshot

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"sort"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// lines is what is remembered of a file of lines once its SHA-256 has been
// checked.
type lines struct {
	marks []mark // of blobs/index.ndjson
}

// mark is the place of one in markEvery lines.
type mark struct {
	key    key
	offset int64
}

const markEvery = 64

// lineReader cuts a file into lines.
type lineReader struct {
	b    *bufio.Reader
	at   int64 // of the next line
	long []byte
}

func newLineReader(f *file, at int64) *lineReader {
	return &lineReader{b: bufio.NewReaderSize(io.NewSectionReader(f, at, f.size-at), 64<<10), at: at}
}

var (
	errLongLine = fmt.Errorf("a line of more than %d bytes", maxLineBytes)
	errNoEnd    = errors.New("the last line has no end")
)

// next returns the next line with its line feed, valid until the next call, and
// its offset. After errLongLine reading can go on; io.EOF is the end.
func (l *lineReader) next() (line []byte, at int64, err error) {
	at, l.long = l.at, l.long[:0]
	tooLong := false
	for {
		part, err := l.b.ReadSlice('\n')
		l.at += int64(len(part))
		if len(l.long)+len(part) > maxLineBytes {
			tooLong, part = true, nil
		}
		switch {
		case err == nil && tooLong:
			return nil, at, errLongLine
		case err == nil && len(l.long) == 0:
			return part, at, nil
		case err == nil:
			return append(l.long, part...), at, nil
		case errors.Is(err, bufio.ErrBufferFull):
			l.long = append(l.long, part...)
		case errors.Is(err, io.EOF) && l.at > at:
			return nil, at, errNoEnd
		default:
			return nil, at, err
		}
	}
}

// check returns what is remembered of a file of lines, after comparing its
// SHA-256 with the manifest. Reading it once before anything is returned means
// that no caller acts on a line of a damaged file.
func (r *Reader) check(ctx context.Context, f *file) (*lines, error) {
	r.mu.Lock()
	known := r.checked[f.name]
	r.mu.Unlock()
	if known != nil {
		return known, nil
	}
	listed := r.m.file(f.name)
	if listed == nil {
		return nil, &DamageError{File: manifestName, Err: fmt.Errorf("%s is not listed", f.name)}
	}
	if err := r.checkLines(ctx, f, listed); err != nil {
		if err := r.damaged(err); err != nil {
			return nil, err
		}
	}
	known = &lines{}
	if f.name == blobIndexName {
		marks, err := r.markBlobs(ctx, f)
		if err != nil {
			return nil, err
		}
		known.marks = marks
	}
	r.mu.Lock()
	r.checked[f.name] = known
	r.mu.Unlock()
	return known, nil
}

func (r *Reader) checkLines(ctx context.Context, f *file, listed *fileMeta) error {
	if f.size != listed.Bytes {
		return f.damage(min(f.size, listed.Bytes), fmt.Errorf("the file has %d bytes; %d were recorded", f.size, listed.Bytes))
	}
	if listed.SHA256 == unknownHash { // of a manifest that was lost
		return nil
	}
	sum := sha256.New()
	l := newLineReader(f, 0)
	var rows int64
	for ; ; rows++ {
		if rows%256 == 0 && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		line, at, err := l.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return f.damage(at, err)
		}
		sum.Write(line)
	}
	if hex.EncodeToString(sum.Sum(nil)) != listed.SHA256 {
		return f.damage(0, errHash)
	}
	if rows != listed.Rows {
		return f.damage(f.size, fmt.Errorf("%d lines; %d were recorded", rows, listed.Rows))
	}
	return nil
}

// readLines decodes the lines of a file from an offset. Lines that cannot be
// read are damage.
func readLines[T any](ctx context.Context, r *Reader, f *file, at int64, decode func([]byte, *T) error) iter.Seq2[located[T], error] {
	return func(yield func(located[T], error) bool) {
		l := newLineReader(f, at)
		for n := 0; ; n++ {
			if n%256 == 0 && ctx.Err() != nil {
				yield(located[T]{}, context.Cause(ctx))
				return
			}
			line, at, err := l.next()
			if errors.Is(err, io.EOF) {
				return
			}
			v := located[T]{offset: at}
			if err == nil {
				err = decode(line, &v.value)
			}
			if err == nil {
				if !yield(v, nil) {
					return
				}
				continue
			}
			if err := r.damaged(f.damage(at, err)); err != nil {
				yield(located[T]{}, err)
				return
			}
			if !errors.Is(err, errLongLine) && line == nil {
				return
			}
		}
	}
}

// located is a decoded line and its offset.
type located[T any] struct {
	value  T
	offset int64
}

func decodeMessage(line []byte, m *message) error { return json.Unmarshal(line, m) }

func decodeBlob(line []byte, b *blob) error {
	if err := json.Unmarshal(line, b); err != nil {
		return err
	}
	return b.validate()
}

// Messages streams the messages that were seen in a queue, in queue order. A
// queue that was not captured has none.
func (r *Reader) Messages(ctx context.Context, queue string) iter.Seq2[schema.QueueMessage, error] {
	return func(yield func(schema.QueueMessage, error) bool) {
		listed := false
		for _, q := range r.m.Queues {
			listed = listed || q.Name == queue
		}
		if !listed {
			return
		}
		f, err := r.openFile(queuePrefix + queue + queueSuffix)
		if err == nil {
			defer f.close()
			_, err = r.check(ctx, f)
		}
		if err != nil {
			if err := r.damaged(err); err != nil {
				yield(schema.QueueMessage{}, err)
			}
			return
		}
		for m, err := range readLines(ctx, r, f, 0, decodeMessage) {
			if err != nil {
				yield(schema.QueueMessage{}, err)
				return
			}
			v := m.value
			if !yield(schema.QueueMessage{
				Queue: queue, ID: v.ID, InsertedAt: schema.Ticks(v.InsertedAt), ExpiresAt: schema.Ticks(v.ExpiresAt),
				VisibleAt: schema.Ticks(v.VisibleAt), DequeueCount: v.DequeueCount, Text: v.Text,
			}, nil) {
				return
			}
		}
	}
}

// markBlobs notes where one in markEvery blobs stands in the index.
func (r *Reader) markBlobs(ctx context.Context, f *file) ([]mark, error) {
	var marks []mark
	var last key
	n := 0
	for b, err := range readLines(ctx, r, f, 0, decodeBlob) {
		if err != nil {
			return nil, err
		}
		k := key{b.value.Container, b.value.Name}
		if n > 0 && compareKeys(last, k) >= 0 {
			if err := r.damaged(f.damage(b.offset, errors.New("the blobs are not in order"))); err != nil {
				return nil, err
			}
			continue
		}
		if n%markEvery == 0 {
			marks = append(marks, mark{k, b.offset})
		}
		last = k
		n++
	}
	return marks, nil
}

// blobs streams the index of blobs from a key on, until stop.
func (r *Reader) blobs(ctx context.Context, from key, stop func(key) bool) iter.Seq2[*blob, error] {
	return func(yield func(*blob, error) bool) {
		f, err := r.openFile(blobIndexName)
		var known *lines
		if err == nil {
			defer f.close()
			known, err = r.check(ctx, f)
		}
		if err != nil {
			if err := r.damaged(err); err != nil {
				yield(nil, err)
			}
			return
		}
		i := sort.Search(len(known.marks), func(i int) bool { return compareKeys(known.marks[i].key, from) > 0 })
		var at int64
		if i > 0 {
			at = known.marks[i-1].offset
		}
		for b, err := range readLines(ctx, r, f, at, decodeBlob) {
			if err != nil {
				yield(nil, err)
				return
			}
			k := key{b.value.Container, b.value.Name}
			if compareKeys(k, from) < 0 {
				continue
			}
			if stop != nil && stop(k) {
				return
			}
			if !yield(&b.value, nil) {
				return
			}
		}
	}
}

// Blobs streams the blobs of a container in the order of their names by
// [schema.CompareKeys].
func (r *Reader) Blobs(ctx context.Context, container, prefix string) iter.Seq2[hub.Blob, error] {
	return func(yield func(hub.Blob, error) bool) {
		stop := func(k key) bool { return k.partition != container || !strings.HasPrefix(k.row, prefix) }
		for b, err := range r.blobs(ctx, key{container, prefix}, stop) {
			if err != nil {
				yield(hub.Blob{}, err)
				return
			}
			if !yield(hub.Blob{
				Container: b.Container, Name: b.Name, SizeBytes: b.SizeBytes, ContentMD5: b.ContentMD5,
				ContentType: b.ContentType, CreatedAt: schema.Ticks(b.CreatedAt), LastModified: schema.Ticks(b.LastModified),
				LeaseState: b.LeaseState, Metadata: b.Metadata,
			}, nil) {
				return
			}
		}
	}
}

// ReadBlob returns the bytes of a blob, checked by their SHA-256. It returns
// [hub.ErrNotFound], [hub.ErrTooLarge] or a [*DamageError].
func (r *Reader) ReadBlob(ctx context.Context, container, name string, limit int64) ([]byte, error) {
	where := container + "/" + name
	exact := key{container, name}
	for b, err := range r.blobs(ctx, exact, func(k key) bool { return k != exact }) {
		if err != nil {
			return nil, fmt.Errorf("read blob %s: %w", where, err)
		}
		if b.SizeBytes > limit {
			return nil, fmt.Errorf("read blob %s: %d bytes: %w", where, b.SizeBytes, hub.ErrTooLarge)
		}
		data, err := r.readData(b)
		if err != nil {
			return nil, fmt.Errorf("read blob %s: %w", where, err)
		}
		return data, nil
	}
	return nil, fmt.Errorf("read blob %s: %w", where, hub.ErrNotFound)
}

func (r *Reader) readData(b *blob) ([]byte, error) {
	f, err := r.openFile(b.File)
	if err != nil {
		return nil, err
	}
	defer f.close()
	if f.size != b.SizeBytes {
		return nil, f.damage(min(f.size, b.SizeBytes), fmt.Errorf("the file has %d bytes; %d were recorded", f.size, b.SizeBytes))
	}
	data, err := f.all(b.SizeBytes)
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != b.SHA256 {
		return nil, f.damage(0, errHash)
	}
	return data, nil
}
