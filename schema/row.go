package schema

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// SentinelRowKey is the RowKey of the checkpoint row that ends each partition
// of the History table.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:47.
const SentinelRowKey = "sentinel"

// Property is one named value of a row.
type Property struct {
	Name  string
	Value Value
}

// Row is one table entity as stored: every property with its EDM type, known to
// the framework or not. Decoding to typed values is a separate, pure step
// ([DecodeInstance], [DecodeHistoryEvent], …) that never loses a Row.
type Row struct {
	PartitionKey string
	RowKey       string
	// Timestamp is the service's time of the last write; zero if unknown.
	Timestamp Ticks
	// ETag is the service's version of the row; empty if unknown.
	ETag string
	// Properties holds everything else in the order it was read. Names are
	// unique and case-sensitive.
	Properties []Property
}

// Get returns the property called name, or an absent Value.
func (r *Row) Get(name string) Value {
	for i := range r.Properties {
		if r.Properties[i].Name == name {
			return r.Properties[i].Value
		}
	}
	return Value{}
}

// Set replaces or adds a property; an absent value removes it.
func (r *Row) Set(name string, v Value) {
	i := slices.IndexFunc(r.Properties, func(p Property) bool { return p.Name == name })
	switch {
	case i >= 0 && v.Type() == Absent:
		r.Properties = slices.Delete(r.Properties, i, i+1)
	case i >= 0:
		r.Properties[i].Value = v
	case v.Type() != Absent:
		r.Properties = append(r.Properties, Property{name, v})
	}
}

// Clone returns a copy that shares no memory with r, for keeping one row of a
// page without keeping the page.
func (r *Row) Clone() Row {
	c := Row{
		PartitionKey: strings.Clone(r.PartitionKey),
		RowKey:       strings.Clone(r.RowKey),
		Timestamp:    r.Timestamp,
		ETag:         strings.Clone(r.ETag),
		Properties:   slices.Clone(r.Properties),
	}
	for i := range c.Properties {
		c.Properties[i].Name = strings.Clone(c.Properties[i].Name)
		c.Properties[i].Value.text = strings.Clone(c.Properties[i].Value.text)
	}
	return c
}

// IsSentinel reports whether r is the sentinel row of a History partition.
func (r *Row) IsSentinel() bool { return r.RowKey == SentinelRowKey }

// SortProperties puts the properties into the order of their names, so that two
// reads of one row compare and print alike.
func (r *Row) SortProperties() {
	byName := func(a, b Property) int { return cmp.Compare(a.Name, b.Name) }
	if !slices.IsSortedFunc(r.Properties, byName) {
		slices.SortFunc(r.Properties, byName)
	}
}

// SameProperties reports whether both rows have the same keys and the same
// properties with the same types and values, in whatever order. Timestamp and
// ETag, which the service sets, do not count.
func SameProperties(a, b *Row) bool {
	if a.PartitionKey != b.PartitionKey || a.RowKey != b.RowKey || len(a.Properties) != len(b.Properties) {
		return false
	}
	for i := range a.Properties {
		if !a.Properties[i].Value.Equal(b.Get(a.Properties[i].Name)) {
			return false
		}
	}
	return true
}

const (
	nameETag       = "odata.etag"
	typeAnnotation = "@odata.type"
)

// AppendJSON appends r as the Table service writes an entity with minimal
// metadata: PartitionKey, RowKey, Timestamp and odata.etag (the last two only if
// known), then the properties in their order, those whose type JSON does not
// show preceded by NAME@odata.type.
func (r *Row) AppendJSON(dst []byte) []byte {
	dst = append(dst, `{"PartitionKey":`...)
	dst = AppendJSONString(dst, r.PartitionKey)
	dst = append(dst, `,"RowKey":`...)
	dst = AppendJSONString(dst, r.RowKey)
	if r.Timestamp != 0 {
		dst = append(dst, `,"Timestamp":"`...)
		dst = r.Timestamp.Append(dst)
		dst = append(dst, '"')
	}
	if r.ETag != "" {
		dst = append(dst, `,"odata.etag":`...)
		dst = AppendJSONString(dst, r.ETag)
	}
	for i := range r.Properties {
		p := &r.Properties[i]
		dst = append(dst, ',')
		switch p.Value.typ {
		case TypeString, TypeInt32, TypeBoolean, Null, Absent:
		case Unknown:
			if edm := p.Value.EDM(); edm != "" {
				dst = appendAnnotation(dst, p.Name, edm)
			}
		default:
			dst = appendAnnotation(dst, p.Name, edmNames[p.Value.typ])
		}
		dst = AppendJSONString(dst, p.Name)
		dst = append(dst, ':')
		dst = p.Value.AppendJSON(dst)
	}
	return append(dst, '}')
}

func appendAnnotation(dst []byte, name, edm string) []byte {
	dst = AppendJSONString(dst, name)
	dst = append(dst[:len(dst)-1], typeAnnotation...)
	dst = append(dst, `":`...)
	dst = AppendJSONString(dst, edm)
	return append(dst, ',')
}

// DecodeError reports a stored value that does not match the format. It locates
// the value exactly; the value itself is never part of the message.
type DecodeError struct {
	// Where names the artifact: a table row as PartitionKey/RowKey, a queue
	// message by its ID, a blob by its name.
	Where string
	// Column is the property or JSON member at fault; empty for all of it.
	Column string
	Err    error
}

// Error says where and why.
func (e *DecodeError) Error() string {
	at := e.Where
	if e.Column != "" {
		at += "." + e.Column
	}
	return fmt.Sprintf("%s: %v", at, e.Err)
}

// Unwrap returns the cause.
func (e *DecodeError) Unwrap() error { return e.Err }

func (r *Row) decodeError(column, format string, args ...any) *DecodeError {
	return &DecodeError{Where: r.PartitionKey + "/" + r.RowKey, Column: column, Err: fmt.Errorf(format, args...)}
}
