package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

const (
	fileMagic      = "PAR1" // starts and ends a file
	fileMagicBytes = int64(len(fileMagic))
)

// createdBy names the writer in the form that readers parse to work around the
// defects of certain versions.
const createdBy = "taskhub version 1.0.0 (build parquet)"

// Writer puts row groups into a file. It is not safe for concurrent use.
type Writer struct {
	w      io.Writer
	schema *Schema
	file   format.FileMetaData
	bytes  int64
	err    error // sticky: what has been written is incomplete, or the writer closed
}

// NewWriter returns a Writer of a file with schema s. The entries of meta are put
// into the footer as key-value metadata, ordered by key. Nothing is written
// before the first row group.
func NewWriter(w io.Writer, s *Schema, meta map[string]string) *Writer {
	f := format.FileMetaData{
		Version:      2,
		Schema:       s.elements,
		RowGroups:    thrift.Slice[format.RowGroup]{}, // required, even if empty
		CreatedBy:    createdBy,
		ColumnOrders: s.orders,
	}
	for _, k := range slices.Sorted(maps.Keys(meta)) {
		f.KeyValueMetadata = append(f.KeyValueMetadata, format.KeyValue{Key: k, Value: meta[k]})
	}
	return &Writer{w: w, schema: s, file: f}
}

// Rows returns the number of rows written.
func (w *Writer) Rows() int64 { return w.file.NumRows }

// Bytes returns the number of bytes written.
func (w *Writer) Bytes() int64 { return w.bytes }

// WriteRowGroup appends e to the file. A row group without rows is left out.
//
// It returns an error if e is of another schema or no longer valid, the file has
// 32,767 row groups already, the Writer is closed, or this or an earlier write has
// failed.
func (w *Writer) WriteRowGroup(e *Encoded) error {
	ordinal := len(w.file.RowGroups)
	if err := w.writeRowGroup(e, ordinal); err != nil {
		return fmt.Errorf("write row group %d: %w", ordinal, err)
	}
	return nil
}

func (w *Writer) writeRowGroup(e *Encoded, ordinal int) error {
	switch {
	case w.err != nil:
		return w.err
	case e.schema != w.schema:
		return errors.New("its schema is not that of the file")
	case e.use != e.enc.uses:
		return errors.New("its encoder has been used for another row group since")
	case e.meta.NumRows == 0:
		return nil
	case ordinal == math.MaxInt16:
		return errors.New("too many row groups")
	}
	if err := w.start(); err != nil {
		return err
	}
	// e stays as it is, so that it could be written elsewhere too.
	shift := w.bytes - fileMagicBytes
	group := e.meta
	group.FileOffset = w.bytes
	group.Ordinal = int16(ordinal)
	group.Columns = slices.Clone(e.meta.Columns)
	for i := range group.Columns {
		m := &group.Columns[i].MetaData
		m.DataPageOffset += shift
		if m.DictionaryPageOffset != 0 {
			m.DictionaryPageOffset += shift
		}
	}
	if err := w.write(e.data); err != nil {
		return err
	}
	w.file.RowGroups = append(w.file.RowGroups, group)
	w.file.NumRows += group.NumRows
	return nil
}

// Close writes the footer, without which the file cannot be read. It does not
// close the underlying writer. It returns an error if this or an earlier write
// has failed, or if the Writer is closed already.
func (w *Writer) Close() error {
	if w.err != nil {
		return fmt.Errorf("close: %w", w.err)
	}
	if err := w.close(); err != nil {
		return fmt.Errorf("write footer: %w", err)
	}
	w.err = errors.New("the writer is closed")
	return nil
}

func (w *Writer) close() error {
	if err := w.start(); err != nil {
		return err
	}
	footer, err := thrift.Marshal(new(thrift.CompactProtocol), &w.file)
	if err != nil {
		return err
	}
	if len(footer) > math.MaxInt32 {
		return fmt.Errorf("footer of %d bytes, at most %d are possible", len(footer), math.MaxInt32)
	}
	footer = binary.LittleEndian.AppendUint32(footer, uint32(len(footer)))
	return w.write(append(footer, fileMagic...))
}

// start writes what is before the first row group, if it has not been written.
func (w *Writer) start() error {
	if w.bytes > 0 {
		return nil
	}
	return w.write([]byte(fileMagic))
}

func (w *Writer) write(p []byte) error {
	n, err := w.w.Write(p)
	w.bytes += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	w.err = err
	return err
}
