package parquet

import (
	"errors"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go/format"
)

// encodeOne returns a row group of one row, of a schema with one column.
func encodeOne(t *testing.T, s *Schema) *Encoded {
	t.Helper()
	g := s.NewRowGroup()
	g.String(0, "a")
	if err := g.EndRow(); err != nil {
		t.Fatal(err)
	}
	e, err := g.Encode(NewEncoder())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var errDisk = errors.New("disk full")

// fullDisk fails after some bytes.
type fullDisk int

func (d *fullDisk) Write(p []byte) (int, error) {
	if len(p) > int(*d) {
		n := int(*d)
		*d = 0
		return n, errDisk
	}
	*d -= fullDisk(len(p))
	return len(p), nil
}

func TestWriterFailures(t *testing.T) {
	s := mustSchema(t, []Column{{"id", String, false}})
	e := encodeOne(t, s)
	end := 4 + len(e.data)
	for _, tt := range []struct {
		name  string
		space int
		group bool // whether writing the row group fails already
	}{
		{"before anything", 0, true},
		{"in the magic", 3, true},
		{"in the row group", 10, true},
		{"before the footer", end, false},
		{"in the footer", end + 20, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			disk := fullDisk(tt.space)
			w := NewWriter(&disk, s, nil)
			if err := w.WriteRowGroup(e); errors.Is(err, errDisk) != tt.group {
				t.Errorf("WriteRowGroup() = %v, want %v: %v", err, errDisk, tt.group)
			}
			if err := w.Close(); !errors.Is(err, errDisk) {
				t.Errorf("Close() = %v, want %v", err, errDisk)
			}
			if err := w.WriteRowGroup(e); !errors.Is(err, errDisk) {
				t.Errorf("WriteRowGroup() after Close = %v, want %v", err, errDisk)
			}
			if got := w.Bytes(); got != int64(tt.space) {
				t.Errorf("Bytes() = %d, want %d", got, tt.space)
			}
		})
	}
}

func TestWriterMisuse(t *testing.T) {
	s := mustSchema(t, []Column{{"id", String, false}})
	other := mustSchema(t, []Column{{"id", String, false}})
	w := NewWriter(io.Discard, s, nil)
	if err := w.WriteRowGroup(encodeOne(t, other)); err == nil || !strings.Contains(err.Error(), "schema") {
		t.Errorf("WriteRowGroup() of another schema = %v, want an error", err)
	}
	stale := encodeOne(t, s)
	if _, err := s.NewRowGroup().Encode(stale.enc); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteRowGroup(stale); err == nil || !strings.Contains(err.Error(), "used for another row group") {
		t.Errorf("WriteRowGroup() after its encoder was used again = %v, want an error", err)
	}
	w.file.RowGroups = make([]format.RowGroup, math.MaxInt16)
	if err := w.WriteRowGroup(encodeOne(t, s)); err == nil || !strings.Contains(err.Error(), "too many row groups") {
		t.Errorf("WriteRowGroup() of number 32,768 = %v, want an error", err)
	}
	w.file.RowGroups = w.file.RowGroups[:0]
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteRowGroup(encodeOne(t, s)); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("WriteRowGroup() after Close = %v, want an error", err)
	}
	if err := w.Close(); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("Close() again = %v, want an error", err)
	}
}

// TestWriteRowGroupTwice writes one encoded row group to two files.
func TestWriteRowGroupTwice(t *testing.T) {
	s := mustSchema(t, []Column{{"id", String, false}})
	e := encodeOne(t, s)
	var files [2]strings.Builder
	for i := range files {
		w := NewWriter(&files[i], s, nil)
		for range 2 {
			if err := w.WriteRowGroup(e); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if files[0].String() != files[1].String() {
		t.Error("the same row group gives different files")
	}
	rows := []row{{"a"}}
	checkFile(t, s, []byte(files[0].String()), rows, rows)
}
