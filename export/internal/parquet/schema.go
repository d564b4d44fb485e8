package parquet

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Kind says what values a column holds and how they are encoded.
type Kind uint8

// The kinds of columns.
const (
	// String is UTF-8 text that repeats: names, states, identifiers. It is
	// dictionary encoded, or plain where the dictionary does not pay.
	String Kind = iota

	// Text is UTF-8 text that is mostly distinct, such as payloads. It has no
	// dictionary, and no bounds in the statistics.
	Text

	// Int32 is a signed integer of 32 bits, delta encoded.
	Int32

	// Int64 is a signed integer of 64 bits, delta encoded.
	Int64

	// Bool is a truth value, one bit each.
	Bool

	// Double is a 64-bit floating point number. It has no bounds in the
	// statistics.
	Double

	// Timestamp is an instant in nanoseconds since 1970-01-01T00:00:00Z, delta
	// encoded: 1677-09-21 to 2262-04-11.
	Timestamp
)

// Column describes one column of a [Schema].
type Column struct {
	Name     string // 1 to 255 bytes of UTF-8
	Kind     Kind
	Required bool // every row has a value; others may be null
}

// Limits of a schema. They keep a footer readable, far above what any data set
// here needs.
const (
	maxColumns   = 4096
	maxNameBytes = 255
)

// Schema is the list of columns of a file. It does not change, and is safe for
// concurrent use.
type Schema struct {
	cols     []Column
	required int        // number of required columns
	paths    [][]string // path of each column in the schema tree
	elements []format.SchemaElement
	orders   []format.ColumnOrder
}

// NewSchema returns the schema of a table called name. The columns keep their
// order; methods of [RowGroup] refer to them by index, from 0.
//
// It returns an error if there are no columns or more than 4,096, or if a name
// is empty, longer than 255 bytes, not UTF-8 or used twice, or a kind unknown.
func NewSchema(name string, cols []Column) (*Schema, error) {
	if err := checkName(name); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	if len(cols) == 0 {
		return nil, fmt.Errorf("schema %q: no columns", name)
	}
	if len(cols) > maxColumns {
		return nil, fmt.Errorf("schema %q: %d columns, at most %d are possible", name, len(cols), maxColumns)
	}
	s := &Schema{
		cols:     append([]Column(nil), cols...),
		elements: []format.SchemaElement{{Name: name, NumChildren: thrift.New(int32(len(cols)))}},
	}
	seen := make(map[string]bool, len(cols))
	for i, c := range cols {
		if err := checkName(c.Name); err != nil {
			return nil, fmt.Errorf("schema %q: column %d: %w", name, i, err)
		}
		if seen[c.Name] {
			return nil, fmt.Errorf("schema %q: column %d: name %q is used twice", name, i, c.Name)
		}
		seen[c.Name] = true
		if c.Kind > Timestamp {
			return nil, fmt.Errorf("schema %q: column %q: unknown kind %d", name, c.Name, c.Kind)
		}
		if c.Required {
			s.required++
		}
		s.paths = append(s.paths, []string{c.Name})
		s.elements = append(s.elements, element(c))
		s.orders = append(s.orders, format.ColumnOrder{Value: new(format.TypeDefinedOrder)})
	}
	return s, nil
}

func checkName(name string) error {
	switch {
	case name == "":
		return errors.New("empty name")
	case len(name) > maxNameBytes:
		return fmt.Errorf("name of %d bytes, at most %d are possible", len(name), maxNameBytes)
	case !utf8.ValidString(name):
		return fmt.Errorf("name %q is not UTF-8", name)
	}
	return nil
}

// element returns the entry of c in the schema tree of the footer.
func element(c Column) format.SchemaElement {
	e := format.SchemaElement{
		Name:           c.Name,
		Type:           thrift.New(c.Kind.physical()),
		RepetitionType: thrift.New(format.Optional),
	}
	if c.Required {
		e.RepetitionType = thrift.New(format.Required)
	}
	switch c.Kind {
	case String, Text:
		e.LogicalType.Value = new(format.StringType)
		e.ConvertedType.Valid = true // its value 0 is UTF8, for readers older than logical types
	case Timestamp:
		// Nanoseconds have no converted type. The times are UTC, but the flag
		// that would say so makes DuckDB read them as microseconds and lose the
		// seventh digit; without it every reader keeps them whole.
		e.LogicalType.Value = &format.TimestampType{
			IsAdjustedToUTC: false,
			Unit:            format.TimeUnit{Value: new(format.NanoSeconds)},
		}
	}
	return e
}

// physical returns the type that values of kind k have in the file.
func (k Kind) physical() format.Type {
	switch k {
	case Int32:
		return format.Int32
	case Int64, Timestamp:
		return format.Int64
	case Bool:
		return format.Boolean
	case Double:
		return format.Double
	default:
		return format.ByteArray
	}
}
