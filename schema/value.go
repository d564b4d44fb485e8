package schema

import (
	"encoding/base64"
	"math"
	"strconv"
	"strings"
)

// Type is the EDM type of a stored property.
type Type uint8

// The types that the Table service stores. Absent is the zero Type: the row has
// no such property. Null is a property that is there and holds null, which the
// service never returns but a message or a hand-made capture may. Unknown is a
// type this package does not know, or a value that does not fit its type.
const (
	Absent Type = iota
	Null
	TypeString
	TypeInt32
	TypeInt64
	TypeDouble
	TypeBoolean
	TypeDateTime
	TypeGuid
	TypeBinary
	Unknown
)

var edmNames = [...]string{
	TypeString: "Edm.String", TypeInt32: "Edm.Int32", TypeInt64: "Edm.Int64", TypeDouble: "Edm.Double",
	TypeBoolean: "Edm.Boolean", TypeDateTime: "Edm.DateTime", TypeGuid: "Edm.Guid", TypeBinary: "Edm.Binary",
}

// String returns the EDM name, such as Edm.DateTime.
func (t Type) String() string {
	switch {
	case t == Absent:
		return "absent"
	case t == Null:
		return "null"
	case int(t) < len(edmNames):
		return edmNames[t]
	}
	return "unknown"
}

func typeNamed(edm string) Type {
	for t := TypeString; t <= TypeBinary; t++ {
		if edmNames[t] == edm {
			return t
		}
	}
	return Unknown
}

// Value is one stored value with its EDM type. The zero Value is absent.
// Values are immutable and comparable with [Value.Equal].
type Value struct {
	// num holds Int32, Int64 and Boolean as an integer, DateTime as Ticks.
	num int64
	// text holds String, Guid, and Binary as Base64 text. For DateTime and
	// Double it holds the stored spelling if that is not the one that encoding
	// would choose. For Unknown it is the EDM name, a zero byte, and the value
	// as raw JSON.
	text string
	typ  Type
}

// String returns a value of type Edm.String.
func String(s string) Value { return Value{typ: TypeString, text: s} }

// Int32 returns a value of type Edm.Int32.
func Int32(n int32) Value { return Value{typ: TypeInt32, num: int64(n)} }

// Int64 returns a value of type Edm.Int64.
func Int64(n int64) Value { return Value{typ: TypeInt64, num: n} }

// Boolean returns a value of type Edm.Boolean.
func Boolean(b bool) Value {
	if b {
		return Value{typ: TypeBoolean, num: 1}
	}
	return Value{typ: TypeBoolean}
}

// Double returns a value of type Edm.Double.
func Double(f float64) Value { return Value{typ: TypeDouble, num: int64(math.Float64bits(f))} }

// DateTime returns a value of type Edm.DateTime.
func DateTime(t Ticks) Value { return Value{typ: TypeDateTime, num: int64(t)} }

// Guid returns a value of type Edm.Guid. The text is kept as it is.
func Guid(s string) Value { return Value{typ: TypeGuid, text: s} }

// Binary returns a value of type Edm.Binary.
func Binary(b []byte) Value {
	return Value{typ: TypeBinary, text: base64.StdEncoding.EncodeToString(b)}
}

// Type returns the EDM type, [Absent] for the zero Value.
func (v Value) Type() Type { return v.typ }

// Text returns a String or Guid; ok is false for any other type.
func (v Value) Text() (s string, ok bool) {
	return v.text, v.typ == TypeString || v.typ == TypeGuid
}

// Int returns an Int32 or Int64.
func (v Value) Int() (n int64, ok bool) {
	return v.num, v.typ == TypeInt32 || v.typ == TypeInt64
}

// Bool returns a Boolean.
func (v Value) Bool() (b, ok bool) { return v.num != 0, v.typ == TypeBoolean }

// Time returns a DateTime.
func (v Value) Time() (t Ticks, ok bool) { return Ticks(v.num), v.typ == TypeDateTime }

// Float returns a Double.
func (v Value) Float() (f float64, ok bool) {
	return math.Float64frombits(uint64(v.num)), v.typ == TypeDouble
}

// Bytes returns the content of a Binary; ok is false for any other type and for
// text that is not Base64.
func (v Value) Bytes() (b []byte, ok bool) {
	if v.typ != TypeBinary {
		return nil, false
	}
	b, err := base64.StdEncoding.DecodeString(v.text)
	return b, err == nil
}

// EDM returns the name of the type, also of one that this package does not know.
func (v Value) EDM() string {
	if v.typ == Unknown {
		name, _, _ := strings.Cut(v.text, "\x00")
		return name
	}
	return v.typ.String()
}

// Equal reports whether v and w have the same type and value. DateTime and
// Double compare by value: two spellings of one time are equal.
func (v Value) Equal(w Value) bool {
	if v.typ != w.typ || v.num != w.num {
		return false
	}
	return v.typ == TypeDateTime || v.typ == TypeDouble || v.text == w.text
}

// String returns the value for people: text as it is, times in full, null and
// absent as words.
func (v Value) String() string {
	switch v.typ {
	case TypeString, TypeGuid, TypeBinary:
		return v.text
	case Absent, Null:
		return v.typ.String()
	}
	return strings.Trim(string(v.AppendJSON(nil)), `"`)
}

// AppendJSON appends the value as the Table service writes it in JSON, without
// its type annotation. An absent value appends null.
func (v Value) AppendJSON(dst []byte) []byte {
	switch v.typ {
	case TypeString, TypeGuid, TypeBinary:
		return AppendJSONString(dst, v.text)
	case TypeInt32:
		return strconv.AppendInt(dst, v.num, 10)
	case TypeInt64:
		dst = append(dst, '"')
		dst = strconv.AppendInt(dst, v.num, 10)
		return append(dst, '"')
	case TypeBoolean:
		return strconv.AppendBool(dst, v.num != 0)
	case TypeDateTime:
		if v.text != "" {
			return AppendJSONString(dst, v.text)
		}
		dst = append(dst, '"')
		dst = Ticks(v.num).Append(dst)
		return append(dst, '"')
	case TypeDouble:
		if v.text != "" {
			return append(dst, v.text...)
		}
		return appendDouble(dst, math.Float64frombits(uint64(v.num)))
	case Unknown:
		_, raw, _ := strings.Cut(v.text, "\x00")
		return append(dst, raw...)
	}
	return append(dst, "null"...)
}

// appendDouble writes a finite number with a point or an exponent, so that it
// reads as Double even without an annotation.
func appendDouble(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, `"NaN"`...)
	case math.IsInf(f, 1):
		return append(dst, `"Infinity"`...)
	case math.IsInf(f, -1):
		return append(dst, `"-Infinity"`...)
	}
	at := len(dst)
	dst = strconv.AppendFloat(dst, f, 'g', -1, 64)
	for _, c := range dst[at:] {
		if c == '.' || c == 'e' {
			return dst
		}
	}
	return append(dst, ".0"...)
}

// unknownValue keeps a value that has no place in Value as raw JSON.
func unknownValue(edm, raw string) Value { return Value{typ: Unknown, text: edm + "\x00" + raw} }
