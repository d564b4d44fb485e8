package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// selection is a range of rows, from low on and before high, and of those only
// the ones with a RowKey, if that is set.
type selection struct {
	low, high key
	open      bool // nothing is too high
	rowKey    string
}

func selectionOf(k hub.Keys) selection {
	s := selection{low: key{partition: k.From}, high: key{partition: k.To}, open: k.To == "", rowKey: k.RowKey}
	if k.RowKey != "" && !s.open && k.To == k.From+"\x00" {
		// One row, which the indexes can find.
		s.low.row = k.RowKey
		s.high = key{k.From, k.RowKey + "\x00"}
		s.rowKey = ""
	}
	return s
}

func (s *selection) below(k key) bool  { return compareKeys(k, s.low) < 0 }
func (s *selection) beyond(k key) bool { return !s.open && compareKeys(k, s.high) >= 0 }

// frames returns the frames that may hold selected rows.
func (t *table) selected(s *selection) (from, to int) {
	to = len(t.frames)
	if !s.open {
		to = sort.Search(to, func(i int) bool { return s.beyond(t.frames[i].first) })
	}
	from = sort.Search(len(t.frames), func(i int) bool { return compareKeys(t.frames[i].first, s.low) > 0 })
	// The frame before begins with lower keys but may end with selected ones,
	// unless the frame found is the first that has this partition.
	if from > 0 && (from == len(t.frames) || t.frames[from].continues || t.frames[from].first.partition != s.low.partition) {
		from--
	}
	return from, max(from, to)
}

// Rows streams the selected rows in key order, one frame of about 256 KB in
// memory. Frames outside the range are not read, and of a frame that is only
// partly in it no other rows are decoded. Damage ends the stream with a
// [*DamageError], or is noted and left out with [Options.Salvage].
func (r *Reader) Rows(ctx context.Context, name hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	return func(yield func(schema.Row, error) bool) {
		for rows, err := range r.frames(ctx, name, keys, false) {
			if err != nil {
				yield(schema.Row{}, err)
				return
			}
			for i := range rows {
				if !yield(rows[i], nil) {
					return
				}
			}
		}
	}
}

// Batches is Rows for scans of large tables that are done with some rows before
// they ask for more: the rows of a batch, and all that they refer to, are valid
// only until the next batch, which uses their memory. Batches are frames.
func (r *Reader) Batches(ctx context.Context, name hub.Table, keys hub.Keys) iter.Seq2[[]schema.Row, error] {
	return r.frames(ctx, name, keys, true)
}

func (r *Reader) frames(ctx context.Context, name hub.Table, keys hub.Keys, reuse bool) iter.Seq2[[]schema.Row, error] {
	return func(yield func([]schema.Row, error) bool) {
		t := r.tables[name]
		if t == nil {
			return
		}
		s := selectionOf(keys)
		if !s.open && compareKeys(s.low, s.high) >= 0 {
			return
		}
		var (
			d    schema.Decoder
			rows []schema.Row
			text []byte
			last key
		)
		any := false
		from, to := t.selected(&s)
		for i := from; i < to; i++ {
			if ctx.Err() != nil {
				yield(nil, context.Cause(ctx))
				return
			}
			if reuse {
				d.Recycle()
				text = slices.Grow(text[:0], int(t.frames[i].size))
			} else {
				text = nil
			}
			var err error
			if rows, err = r.decode(t, i, &s, &d, text, rows[:0]); err != nil {
				yield(nil, err)
				return
			}
			good := rows[:0]
			for j := range rows {
				k := key{rows[j].PartitionKey, rows[j].RowKey}
				if any && compareKeys(last, k) >= 0 {
					if err := r.damaged(t.damage(i, fmt.Errorf("row %q/%q is not in key order", k.partition, k.row))); err != nil {
						yield(nil, err)
						return
					}
					continue
				}
				last, any = k, true
				if len(good) < j {
					good = append(good, rows[j])
				} else {
					good = rows[:j+1]
				}
			}
			if len(good) > 0 && !yield(good, nil) {
				return
			}
			if reuse && any {
				last = key{strings.Clone(last.partition), strings.Clone(last.row)}
			}
		}
	}
}

// damage says that frame i is at fault, unless err knows better.
func (t *table) damage(i int, err error) error {
	var d *DamageError
	if errors.As(err, &d) {
		return d
	}
	return t.file.damage(t.frames[i].offset, err)
}

// decode appends the selected rows of frame i. They own their memory, but for
// text if it has room for the frame, which is then used.
func (r *Reader) decode(t *table, i int, s *selection, d *schema.Decoder, text []byte, rows []schema.Row) ([]schema.Row, error) {
	f := &t.frames[i]
	whole := s.rowKey == "" && !s.below(f.first) && (s.open || i+1 < len(t.frames) && !s.beyond(t.frames[i+1].first))
	switch {
	case int64(cap(text)) >= f.size:
	case whole:
		text = make([]byte, 0, f.size)
	default:
		buf := r.buffer(f.size)
		defer r.scratch.Put(buf)
		text = *buf
	}
	text, err := r.unpack(t, i, text[:0])
	if err == nil && !whole {
		text, err = cutText(text, s)
	}
	if err != nil {
		return rows, r.damaged(t.damage(i, err))
	}
	for before := len(rows); ; {
		rows, err = d.Lines(text, rows)
		if err == nil {
			if whole && int64(len(rows)-before) != f.rows && !r.opts.Salvage {
				return rows, t.damage(i, fmt.Errorf("%d rows, the index says %d", len(rows)-before, f.rows))
			}
			return rows, nil
		}
		if err := r.damaged(t.damage(i, fmt.Errorf("row %d of the frame: %w", len(rows)-before, err))); err != nil {
			return rows, err
		}
		// Go on after the line that cannot be read.
		var syntax *schema.SyntaxError
		if !errors.As(err, &syntax) {
			return rows, nil
		}
		end := bytes.IndexByte(text[min(syntax.Offset, len(text)):], '\n')
		if end < 0 {
			return rows, nil
		}
		text = text[syntax.Offset+end+1:]
	}
}

// buffer returns memory for n bytes that goes back to the pool.
func (r *Reader) buffer(n int64) *[]byte {
	if buf, ok := r.scratch.Get().(*[]byte); ok && int64(cap(*buf)) >= n {
		return buf
	}
	b := make([]byte, 0, max(n, frameBytes+frameBytes/8))
	return &b
}

// unpack appends the text of frame i, which fits the capacity of dst, checked
// by its checksum, its size and its first row.
func (r *Reader) unpack(t *table, i int, dst []byte) ([]byte, error) {
	f := &t.frames[i]
	buf := r.buffer(f.packed)
	defer r.scratch.Put(buf)
	packed := (*buf)[:f.packed]
	if err := t.file.read(packed, f.offset); err != nil {
		return nil, err
	}
	text, err := r.unpackFrame(packed, f.size, dst)
	if err != nil {
		return nil, err
	}
	if k, _, ok := lineKeys(text); !ok || k != f.first {
		return nil, errors.New("the frame does not begin with the row that the index says")
	}
	return text, nil
}

// unpackFrame decompresses one frame of size bytes into the capacity of dst.
func (r *Reader) unpackFrame(packed []byte, size int64, dst []byte) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(packed); err != nil {
		return nil, err
	}
	// Without its flag a checksum would not be looked at.
	if h.Skippable || !h.HasCheckSum || !h.HasFCS || h.FrameContentSize != uint64(size) || h.DictionaryID != 0 {
		return nil, errors.New("the frame is not one of a capture, or has another size than the index says")
	}
	text, err := r.zstd.DecodeAll(packed, dst[:0:size])
	if err != nil {
		return nil, err
	}
	if int64(len(text)) != size || text[len(text)-1] != '\n' {
		return nil, errors.New("the text of the frame does not end with a line")
	}
	return text, nil
}

const (
	beforePartition = `{"PartitionKey":`
	beforeRow       = `,"RowKey":`
)

// lineKeys reads the keys of the line that text begins with. size is the number
// of bytes they take. ok is false if the line does not begin as a Writer writes
// it.
func lineKeys(text []byte) (k key, size int, ok bool) {
	rest, ok := bytes.CutPrefix(text, []byte(beforePartition))
	if !ok {
		return k, 0, false
	}
	if k.partition, rest, ok = cutString(rest); !ok {
		return k, 0, false
	}
	if rest, ok = bytes.CutPrefix(rest, []byte(beforeRow)); !ok {
		return k, 0, false
	}
	if k.row, rest, ok = cutString(rest); !ok || len(rest) == 0 || rest[0] != ',' && rest[0] != '}' {
		return k, 0, false
	}
	return k, len(text) - len(rest), true
}

// cutString reads the JSON string that b begins with.
func cutString(b []byte) (s string, rest []byte, ok bool) {
	if len(b) == 0 || b[0] != '"' {
		return "", nil, false
	}
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '"':
			return string(b[1:i]), b[i+1:], true
		case '\n':
			return "", nil, false
		case '\\':
			return cutEscaped(b, i)
		}
	}
	return "", nil, false
}

// cutEscaped is cutString for the few keys with escapes, the first at b[i].
func cutEscaped(b []byte, i int) (s string, rest []byte, ok bool) {
	for ; i < len(b) && b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	if i >= len(b) {
		return "", nil, false
	}
	// Not encoding/json: it does not keep half of a surrogate pair.
	line := slices.Concat([]byte(beforePartition), b[:i+1], []byte("}"))
	var d schema.Decoder
	rows, err := d.Lines(line, nil)
	if err != nil || len(rows) != 1 {
		return "", nil, false
	}
	return rows[0].PartitionKey, b[i+1:], true
}

var errKeys = errors.New("a line does not begin with the keys of its row")

// cutText returns a copy of those lines of text that are selected.
func cutText(text []byte, s *selection) ([]byte, error) {
	start, err := searchLine(text, func(k key) bool { return !s.below(k) })
	if err != nil {
		return nil, err
	}
	text = text[start:]
	if !s.open {
		end, err := searchLine(text, s.beyond)
		if err != nil {
			return nil, err
		}
		text = text[:end]
	}
	if s.rowKey == "" {
		return bytes.Clone(text), nil
	}
	var out []byte
	for len(text) > 0 {
		end := bytes.IndexByte(text, '\n') + 1
		if end == 0 {
			end = len(text)
		}
		k, _, ok := lineKeys(text[:end])
		if !ok {
			return nil, errKeys
		}
		if k.row == s.rowKey {
			out = append(out, text[:end]...)
		}
		text = text[end:]
	}
	return out, nil
}

// searchLine returns the offset of the first line whose keys are reached, or
// the length of text: lines are in key order.
func searchLine(text []byte, reached func(key) bool) (int, error) {
	low, high := 0, len(text) // both at the start of a line
	for low < high {
		middle := low + (high-low)/2
		start := low + bytes.LastIndexByte(text[low:middle], '\n') + 1
		k, _, ok := lineKeys(text[start:high])
		if !ok {
			return 0, errKeys
		}
		if reached(k) {
			high = start
			continue
		}
		end := bytes.IndexByte(text[middle:high], '\n')
		if end < 0 {
			return high, nil
		}
		low = middle + end + 1
	}
	return low, nil
}

// Split cuts a table at frames, so that the ranges have about the same number
// of bytes. It reads nothing.
func (r *Reader) Split(ctx context.Context, name hub.Table, n int) ([]hub.Keys, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	t := r.tables[name]
	if t == nil || n <= 1 || len(t.frames) == 0 {
		return []hub.Keys{{}}, nil
	}
	var total int64
	for i := range t.frames {
		total += t.frames[i].size
	}
	var ranges []hub.Keys
	from, done := t.frames[0].first.partition, int64(0)
	open := hub.Keys{}
	for i := range t.frames {
		f := &t.frames[i]
		// The boundary lies before the partition that this frame begins with,
		// which may have rows in the frame before: those go to the range after.
		if done*int64(n) >= total*int64(len(ranges)+1) && f.first.partition != from && len(ranges) < n-1 {
			from = f.first.partition
			open.To = from
			ranges = append(ranges, open)
			open = hub.Keys{From: from}
		}
		done += f.size
	}
	return append(ranges, open), nil
}
