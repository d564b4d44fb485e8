package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// A frame is cut where a new partition begins once it has softFrameBytes of
// text, so that most instances lie in one frame, and at frameBytes in any case.
const (
	softFrameBytes = 192 << 10
	frameBytes     = 256 << 10
)

// TableWriter writes the rows of one table. It keeps one frame of text for each
// processor in memory.
type TableWriter struct {
	w    *Writer
	meta tableMeta

	text    []byte // of the frame that is being filled
	next    frame
	last    key
	props   []schema.Property
	pending []*packing // in the order of the table
	free    []*packing // whose memory can be used again
	frames  []frame
	offset  int64
	bytes   int64 // of text, before compression
	err     error
}

// packing is a frame on its way through the compressor.
type packing struct {
	frame  frame
	text   []byte
	packed []byte
	done   chan struct{}
}

// Table begins a table of the hub under the name it has in storage. No other
// part can be written before [TableWriter.Close].
func (w *Writer) Table(t hub.Table, name string) (*TableWriter, error) {
	what := "table " + name
	if err := w.ready(what); err != nil {
		return nil, err
	}
	if tableNamed(t.String()) == 0 {
		return nil, w.fail(what, fmt.Errorf("unknown kind %v", t))
	}
	if err := errors.Join(w.claim("kind", t.String()), w.claim("table", name)); err != nil {
		return nil, w.fail(what, err)
	}
	if err := w.begin(tablePrefix + name + tableSuffix); err != nil {
		return nil, w.fail(what, err)
	}
	w.table = &TableWriter{w: w, meta: tableMeta{Table: t.String(), Name: name}}
	return w.table, nil
}

// Append writes a row. It returns an error if the row does not come after the
// one before it by [schema.CompareKeys] of PartitionKey and then RowKey, or if
// a capture could not give it back as it is. The row is not kept.
func (t *TableWriter) Append(r *schema.Row) error {
	if t.err != nil {
		return t.err
	}
	if t.w.closed {
		return errClosed
	}
	if err := t.append(r); err != nil {
		t.err = t.w.fail("table "+t.meta.Name, fmt.Errorf("row %q/%q: %w", r.PartitionKey, r.RowKey, err))
		return t.err
	}
	return nil
}

func (t *TableWriter) append(r *schema.Row) error {
	if t.meta.Rows > 0 && compareKeys(t.last, key{r.PartitionKey, r.RowKey}) >= 0 {
		return fmt.Errorf("not after %q/%q", t.last.partition, t.last.row)
	}
	same := t.meta.Rows > 0 && r.PartitionKey == t.last.partition
	if len(t.text) >= softFrameBytes && (!same || len(t.text) >= frameBytes) {
		if err := t.cut(); err != nil {
			return err
		}
	}
	row := *r
	t.props = append(t.props[:0], r.Properties...)
	row.Properties = t.props
	row.SortProperties()
	if err := checkProperties(row.Properties); err != nil {
		return err
	}
	t.last = key{r.PartitionKey, r.RowKey}
	if len(t.text) == 0 {
		// The index outlives the page whose memory r shares.
		t.next = frame{first: key{strings.Clone(r.PartitionKey), strings.Clone(r.RowKey)}, continues: same}
	}
	start := len(t.text)
	t.text = row.AppendJSON(t.text)
	if !utf8.Valid(t.text[start:]) {
		return errors.New("not valid UTF-8")
	}
	if len(t.text)-start > maxFrameBytes/2 {
		return fmt.Errorf("%d bytes", len(t.text)-start)
	}
	t.text = append(t.text, '\n')
	t.bytes += int64(len(t.text) - start)
	t.next.rows++
	t.meta.Rows++
	return nil
}

// checkProperties finds properties that would read back as something else.
func checkProperties(props []schema.Property) error {
	for i := range props {
		p := &props[i]
		switch {
		case p.Value.Type() == schema.Absent:
			return fmt.Errorf("property %q is absent", p.Name)
		case i > 0 && props[i-1].Name == p.Name:
			return fmt.Errorf("property %q is there twice", p.Name)
		case p.Name == "PartitionKey" || p.Name == "RowKey" || p.Name == "Timestamp" ||
			strings.HasPrefix(p.Name, "odata.") || strings.HasSuffix(p.Name, "@odata.type"):
			return fmt.Errorf("property %q has a reserved name", p.Name)
		}
	}
	return nil
}

// cut hands the frame to the compressor and writes those that are ready.
func (t *TableWriter) cut() error {
	if len(t.text) == 0 {
		return nil
	}
	t.next.size = int64(len(t.text))
	p := &packing{}
	if n := len(t.free); n > 0 {
		p, t.free = t.free[n-1], t.free[:n-1]
	}
	p.frame, p.done = t.next, make(chan struct{})
	p.text, t.text = t.text, p.text[:0]
	go func() {
		defer close(p.done)
		p.packed = t.w.zstd.EncodeAll(p.text, p.packed[:0])
	}()
	t.pending = append(t.pending, p)
	if len(t.pending) > runtime.GOMAXPROCS(0) {
		return t.drain(1)
	}
	return nil
}

// drain writes the first n frames that are pending.
func (t *TableWriter) drain(n int) error {
	for _, p := range t.pending[:n] {
		<-p.done
		p.frame.offset, p.frame.packed = t.offset, int64(len(p.packed))
		if err := t.w.write(p.packed); err != nil {
			return err
		}
		t.offset += p.frame.packed
		t.frames = append(t.frames, p.frame)
		t.free = append(t.free, p)
	}
	t.pending = slices.Delete(t.pending, 0, n)
	return nil
}

// Close ends the table. started and finished bound the time in which it was
// read, zero if unknown.
func (t *TableWriter) Close(started, finished schema.Ticks) error {
	if t.err != nil {
		return t.err
	}
	if t.w.closed {
		return errClosed
	}
	t.meta.Started, t.meta.Finished = stamp(started), stamp(finished)
	if err := t.close(); err != nil {
		t.err = t.w.fail("table "+t.meta.Name, err)
		return t.err
	}
	t.err = errClosed
	return nil
}

func (t *TableWriter) close() error {
	if err := t.cut(); err != nil {
		return err
	}
	if err := t.drain(len(t.pending)); err != nil {
		return err
	}
	w := t.w
	if err := w.finish(tablePrefix+t.meta.Name+tableSuffix, t.meta.Rows); err != nil {
		return err
	}
	var index bytes.Buffer
	var line []byte
	for i := range t.frames {
		line = t.frames[i].appendJSON(line[:0])
		index.Write(line)
	}
	if index.Len() > maxIndexBytes {
		return fmt.Errorf("an index of %d bytes; the limit is %d", index.Len(), maxIndexBytes)
	}
	name := tablePrefix + t.meta.Name + indexSuffix
	if err := w.begin(name); err != nil {
		return err
	}
	if err := w.write(index.Bytes()); err != nil {
		return err
	}
	w.table = nil
	w.manifest.Tables = append(w.manifest.Tables, t.meta)
	return w.finish(name, int64(len(t.frames)))
}

// abandon waits for the compressor.
func (t *TableWriter) abandon() {
	for _, p := range t.pending {
		<-p.done
	}
}
