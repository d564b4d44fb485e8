package schema

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Decoder turns the Table service's JSON into rows: pages of a query response
// and the lines of a capture, which have the same form. Decoding is where
// listing a hub spends its time, so it is done in place: the rows alias the
// text, and a page costs a constant number of allocations.
//
// A Decoder learns the shape of the rows as it goes and is then several times
// as fast as encoding/json; see the comment of [shape]. The zero Decoder is
// ready. It is not safe for concurrent use.
type Decoder struct {
	shapes  map[string]*shape
	columns map[string]*column
	odd     map[string]*column // of the current row, those not in columns
	start   shape              // stands before the first property of a row
	props   []Property
	last    []Property // of the last page
	spare   []Property // memory for the next, if not nil
	perPage int        // properties of the last page, to size the next one's slab
	rowNo   int64      // of the current row, from 1
}

// A column is one property name, with the number of the row that had it last. A
// row that gives a name twice is refused: readers would disagree on which of
// the two values counts.
type column struct {
	name string
	row  int64
}

// A shape is one way that a property has been seen to follow another: the exact
// bytes between the end of one value and the first byte of the next, for
// example
//
//	,"FireAt@odata.type":"Edm.DateTime","FireAt":"
//
// The writers (the service, the emulator, our captures) put the properties of
// rows of one kind in one order, so remembering for each shape what came after
// it turns the reading of comma, annotation, key and colon into one comparison
// of bytes. A miss costs time, never correctness: the general path reads what
// is there and remembers it.
type shape struct {
	lit    string
	column *column
	typ    Type // from the annotation; Absent if there was none
	edm    string
	quoted bool // the value is a string; lit includes its opening quote
	system uint8
	// latest is the text that the property had last on this page, if it may be
	// compared with the bytes of the next one: repeats says so.
	latest  string
	repeats bool
	// next holds what has followed, the latest hit first.
	next []*shape
}

const (
	maxShapes    = 4096 // per Decoder, and as many columns; more are read but not remembered
	maxShapeLit  = 512
	maxFollowers = 24
	maxRepeat    = 256 // longer texts are seldom those of the row before
)

const (
	sysNone = iota
	sysPartitionKey
	sysRowKey
	sysTimestamp
	sysETag
	sysIgnored // odata.type, odata.id, odata.editLink
)

var errEnd = errors.New("text ends inside a row")

// Page decodes a response body {"odata.metadata":…,"value":[…]} and appends its
// rows to dst. Further members of the body are skipped.
//
// The rows alias page, which is modified and must not be used afterwards. A
// *[SyntaxError] tells where reading stopped; the rows before it are returned.
func (d *Decoder) Page(page []byte, dst []Row) ([]Row, error) {
	i := skipSpace(page, 0)
	if i >= len(page) || page[i] != '{' {
		return dst, &SyntaxError{i, "a page is not a JSON object"}
	}
	found := false
	i = skipSpace(page, i+1)
	for first := true; ; first = false {
		if i < len(page) && page[i] == '}' {
			if i = skipSpace(page, i+1); i != len(page) {
				return dst, &SyntaxError{i, "text after the page"}
			}
			if !found {
				return dst, &SyntaxError{i, "the page has no member value"}
			}
			return dst, nil
		}
		var err error
		if !first {
			if i, err = comma(page, i); err != nil {
				return dst, err
			}
		}
		key, j, err := memberName(page, i)
		switch {
		case err != nil:
			return dst, err
		case key != "value":
			i, err = skipValue(page, j)
		case found:
			return dst, &SyntaxError{i, "the page has two members value"}
		case j >= len(page) || page[j] != '[':
			return dst, &SyntaxError{j, "value is not an array"}
		default:
			found = true
			dst, i, err = d.rows(page, j+1, dst, ']')
		}
		if err != nil {
			return dst, err
		}
		i = skipSpace(page, i)
	}
}

// Lines decodes JSON Lines, one row a line, and appends the rows to dst. What
// [Decoder.Page] says of aliasing and errors holds here too.
func (d *Decoder) Lines(text []byte, dst []Row) ([]Row, error) {
	dst, _, err := d.rows(text, 0, dst, 0)
	return dst, err
}

// rows decodes objects up to the byte end (the end of text if zero).
func (d *Decoder) rows(b []byte, i int, dst []Row, end byte) ([]Row, int, error) {
	if d.props, d.spare = d.spare, nil; d.props == nil {
		d.props = make([]Property, 0, max(64, d.perPage+d.perPage/8))
	}
	d.perPage = 0
	for _, s := range d.shapes {
		s.latest, s.repeats = "", false // rows must not keep another page's memory
	}
	for first := true; ; first = false {
		i = skipSpace(b, i)
		if i >= len(b) {
			if end == 0 {
				break
			}
			return dst, i, &SyntaxError{i, errEnd.Error()}
		}
		if end != 0 && b[i] == end {
			i++
			break
		}
		if end != 0 && !first {
			var err error
			if i, err = comma(b, i); err != nil {
				return dst, i, err
			}
		}
		dst = append(dst, Row{})
		j, err := d.row(b, i, &dst[len(dst)-1])
		if err != nil {
			d.props = nil
			return dst[:len(dst)-1], j, err
		}
		i = j
	}
	d.last, d.props = d.props, nil // the rows own it now
	return dst, i, nil
}

// Recycle lets the next page or text use the memory of the properties of the
// last one, whose rows must not be used any more. It is for scans that are done
// with a page before they read the next: allocating and collecting that memory
// is an eighth of the time of an export.
func (d *Decoder) Recycle() { d.spare, d.last = d.last[:0], nil }

// row decodes the object at b[i] and returns the index after it.
func (d *Decoder) row(b []byte, i int, r *Row) (int, error) {
	if i >= len(b) || b[i] != '{' {
		return i, &SyntaxError{i, "a row is not a JSON object"}
	}
	i++
	d.rowNo++
	d.odd = nil
	first := len(d.props)
	at := &d.start
	for {
		if i < len(b) && b[i] == '}' {
			i++
			break
		}
		// The fast path: is what follows one of the shapes seen here before?
		s := at.follow(b, i)
		if s != nil {
			i += len(s.lit)
		} else {
			i = skipSpace(b, i)
			if i < len(b) && b[i] == '}' {
				i++
				break
			}
			var err error
			if s, i, err = d.learn(b, i, at); err != nil {
				return i, err
			}
		}
		if s.column.row == d.rowNo {
			return i, &SyntaxError{i, "a property is given twice"}
		}
		s.column.row = d.rowNo
		var system Value
		v := &system
		if s.system == sysNone {
			d.props = append(d.props, Property{Name: s.column.name})
			v = &d.props[len(d.props)-1].Value
		}
		var err error
		if s.quoted {
			i, err = d.quoted(b, i, s, v)
		} else {
			i, err = d.bare(b, i, s, v)
		}
		if err != nil {
			return i, err
		}
		switch s.system {
		case sysNone:
		case sysPartitionKey:
			r.PartitionKey = v.text
		case sysRowKey:
			r.RowKey = v.text
		case sysTimestamp:
			if v.typ == TypeDateTime {
				r.Timestamp = Ticks(v.num)
			} else if r.Timestamp, err = ParseTicks(v.text); err != nil && v.text != "" {
				return i, &SyntaxError{i, "Timestamp is not a date and time"}
			}
		case sysETag:
			r.ETag = v.text
		}
		at = s
	}
	n := len(d.props)
	d.perPage += n - first
	r.Properties = d.props[first:n:n]
	return i, nil
}

// follow returns the shape after s whose bytes stand at b[i], or nil. A shape
// whose value is no string does not have the quote in its bytes, so what comes
// after them decides too: a quote or white space is for the general path.
func (s *shape) follow(b []byte, i int) *shape {
	for k, n := range s.next {
		if end := i + len(n.lit); end < len(b) && string(b[i:end]) == n.lit && (n.quoted || b[end] > '"') {
			if k > 0 {
				s.next[k], s.next[0] = s.next[0], n
			}
			return n
		}
	}
	return nil
}

// learn reads comma, annotation, key and colon at b[i] the general way, and
// remembers them as following at.
func (d *Decoder) learn(b []byte, i int, at *shape) (*shape, int, error) {
	from := i
	if at != &d.start {
		var err error
		if i, err = comma(b, i); err != nil {
			return nil, i, err
		}
	}
	s := &shape{}
	name, j, err := memberName(b, i)
	if err != nil {
		return nil, j, err
	}
	i = j
	if base, ok := strings.CutSuffix(name, typeAnnotation); ok && base != "" {
		if i >= len(b) || b[i] != '"' {
			return nil, i, &SyntaxError{i, "a type annotation is not a string"}
		}
		end, escaped, err := scanString(b, i+1)
		if err != nil || escaped {
			return nil, i, &SyntaxError{i, "a type annotation is not plain text"}
		}
		if end == i+1 {
			return nil, i, &SyntaxError{i, "a type annotation is empty"}
		}
		s.edm = string(b[i+1 : end])
		s.typ = typeNamed(s.edm)
		i = skipSpace(b, end+1)
		if i >= len(b) || b[i] != ',' {
			return nil, i, &SyntaxError{i, "a type annotation without its property"}
		}
		i = skipSpace(b, i+1)
		if name, j, err = memberName(b, i); err != nil {
			return nil, j, err
		}
		if name != base {
			return nil, i, &SyntaxError{i, "a type annotation without its property"}
		}
		i = j
	}
	s.column = d.column(name)
	switch name {
	case "PartitionKey":
		s.system = sysPartitionKey
	case "RowKey":
		s.system = sysRowKey
	case "Timestamp":
		s.system = sysTimestamp
	case nameETag:
		s.system = sysETag
	default:
		if strings.HasPrefix(name, "odata.") {
			s.system = sysIgnored
		}
	}
	if s.system != sysNone {
		s.typ = Absent // keys are text whatever an annotation says
	}
	if i < len(b) && b[i] == '"' {
		s.quoted = true
		i++
	} else if s.system == sysPartitionKey || s.system == sysRowKey || s.system == sysETag || s.system == sysTimestamp {
		return nil, i, &SyntaxError{i, name + " is not a string"}
	}
	if i-from <= maxShapeLit && len(at.next) < maxFollowers {
		lit := string(b[from:i])
		if known := d.shapes[lit]; known != nil {
			at.next = append(at.next, known)
			return known, i, nil
		}
		if len(d.shapes) < maxShapes && d.odd[name] == nil {
			if d.shapes == nil {
				d.shapes = make(map[string]*shape)
			}
			s.lit = lit
			d.shapes[lit] = s
			at.next = append(at.next, s)
		}
	}
	return s, i, nil
}

// column returns the column called name.
func (d *Decoder) column(name string) *column {
	for _, known := range [...]map[string]*column{d.columns, d.odd} {
		if c := known[name]; c != nil {
			return c
		}
	}
	c := &column{name: name}
	switch {
	case len(d.columns) < maxShapes && len(name) < maxShapeLit:
		if d.columns == nil {
			d.columns = make(map[string]*column)
		}
		d.columns[name] = c
	default:
		if d.odd == nil {
			d.odd = make(map[string]*column)
		}
		d.odd[name] = c
	}
	return c
}

// comma reads a comma between two members or elements and the space after it.
func comma(b []byte, i int) (int, error) {
	if i >= len(b) {
		return i, &SyntaxError{i, errEnd.Error()}
	}
	if b[i] != ',' {
		return i, &SyntaxError{i, "want a comma or the end of the object or array"}
	}
	return skipSpace(b, i+1), nil
}

// memberName reads a member name, its colon and the space around it; next is the index
// of the value.
func memberName(b []byte, i int) (name string, next int, err error) {
	if i >= len(b) || b[i] != '"' {
		return "", i, &SyntaxError{i, "want a member name"}
	}
	end, escaped, err := scanString(b, i+1)
	if err != nil {
		return "", end, &SyntaxError{end, err.Error()}
	}
	raw := b[i+1 : end]
	if escaped {
		if raw, err = unescape(bytes.Clone(raw)); err != nil {
			return "", i, &SyntaxError{i, err.Error()}
		}
	}
	next = skipSpace(b, end+1)
	if next >= len(b) || b[next] != ':' {
		return "", next, &SyntaxError{next, "want a colon"}
	}
	return string(raw), skipSpace(b, next+1), nil
}

// quoted reads the string value whose first byte is b[i].
//
// Three kinds of value need no look at every byte for their end: a time in the
// usual form has a fixed length, as has the service's ETag, and keys, execution
// IDs and names are often those of the row before. Each of these is confirmed
// by comparing bytes; anything else is scanned.
func (d *Decoder) quoted(b []byte, i int, s *shape, v *Value) (int, error) {
	switch {
	case s.typ == TypeDateTime || s.system == sysTimestamp:
		if end := i + canonicalTime; end < len(b) && b[end] == '"' {
			if t, ok := parseCanonical(view(b[i:end])); ok {
				v.typ, v.num = TypeDateTime, int64(t)
				return end + 1, nil
			}
		}
	case s.system == sysETag:
		if tag, ok := usualETag(b, i); ok {
			v.typ, v.text = TypeString, tag
			return i + len(etagHead) + etagTime + len(etagTail), nil
		}
	case s.repeats:
		if end := i + len(s.latest); end < len(b) && b[end] == '"' && string(b[i:end]) == s.latest {
			v.typ, v.text = TypeString, s.latest
			return end + 1, nil
		}
	}
	end, escaped, err := scanString(b, i)
	if err != nil {
		return end, &SyntaxError{end, err.Error()}
	}
	raw := b[i:end]
	next := end + 1
	if s.system == sysNone && s.typ != Absent && s.typ != TypeString {
		if *v, err = annotated(s, raw, escaped); err != nil {
			return next, &SyntaxError{i, err.Error()}
		}
		return next, nil
	}
	if escaped {
		if raw, err = unescape(raw); err != nil {
			return next, &SyntaxError{i, err.Error()}
		}
	}
	text := view(raw)
	s.latest, s.repeats = text, !escaped && len(text) <= maxRepeat
	v.typ, v.text = TypeString, text
	return next, nil
}

// The service's ETag as it stands in JSON, with the time of the last write:
//
//	W/\"datetime'2026-11-22T04%3A07%3A21.9306893Z'\""
const (
	etagHead = `W/\"datetime'`
	etagTail = `'\""`
	etagTime = len("2026-11-22T04%3A07%3A21.9306893Z")
)

// usualETag reads an ETag of that form, and removes its two escapes in place.
func usualETag(b []byte, i int) (string, bool) {
	at := i + len(etagHead)
	end := at + etagTime
	if end+len(etagTail) > len(b) || string(b[i:at]) != etagHead || string(b[end:end+len(etagTail)]) != etagTail {
		return "", false
	}
	for k := at; k < end; k += 8 {
		x := binary.LittleEndian.Uint64(b[k:])
		if x&highs != 0 || special(x) != 0 {
			return "", false
		}
	}
	copy(b[i+1:], `W/"`)
	b[end+1] = '"'
	return view(b[i+1 : end+2]), true
}

// annotated converts a string value with a type other than Edm.String. What
// does not fit its type becomes Unknown, with every byte kept. The error is
// that of a bad escape.
func annotated(s *shape, raw []byte, escaped bool) (Value, error) {
	text := view(raw)
	if escaped {
		plain, err := unescape(bytes.Clone(raw))
		if err != nil {
			return Value{}, err
		}
		text = view(plain)
	}
	switch s.typ {
	case TypeDateTime:
		if t, ok := parseCanonical(text); ok {
			return Value{typ: TypeDateTime, num: int64(t)}, nil
		}
		if t, ok := parseLenient(text); ok {
			return Value{typ: TypeDateTime, num: int64(t), text: text}, nil
		}
	case TypeInt64:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil && strconv.FormatInt(n, 10) == text {
			return Int64(n), nil
		}
	case TypeGuid, TypeBinary:
		return Value{typ: s.typ, text: text}, nil
	case TypeDouble:
		switch text {
		case "NaN", "Infinity", "-Infinity":
			f, _ := strconv.ParseFloat(text, 64) // cannot fail: one of the three names
			return Double(f), nil
		}
	}
	return unknownValue(s.edm, `"`+string(raw)+`"`), nil
}

// bare reads the value at b[i], which does not start with a quote.
func (d *Decoder) bare(b []byte, i int, s *shape, v *Value) (int, error) {
	start := i
	// Small integers and booleans are nearly all there is.
	if i < len(b) && (b[i] == '-' || b[i] >= '0' && b[i] <= '9') && (s.typ == Absent || s.typ == TypeInt32) {
		neg := b[i] == '-'
		if neg {
			i++
		}
		var n int64
		digits := i
		for i < len(b) && b[i] >= '0' && b[i] <= '9' && i-digits < 11 {
			n = n*10 + int64(b[i]-'0')
			i++
		}
		canonical := i > digits && (b[digits] != '0' || i == digits+1 && !neg)
		if canonical && i < len(b) && (b[i] == ',' || b[i] == '}') {
			if neg {
				n = -n
			}
			if int64(int32(n)) == n {
				v.typ, v.num = TypeInt32, n
				return i, nil
			}
		}
		i = start
	}
	if s.typ == Absent || s.typ == TypeBoolean {
		for _, word := range [...]string{"true", "false"} {
			if end := i + len(word); end < len(b) && string(b[i:end]) == word && (b[end] == ',' || b[end] == '}') {
				*v = Boolean(word == "true")
				return end, nil
			}
		}
	}
	end, err := skipValue(b, i)
	if err != nil {
		return end, err
	}
	raw := string(b[i:end])
	switch {
	case raw == "null":
		*v = Value{typ: Null}
		return end, nil
	case (raw == "true" || raw == "false") && (s.typ == Absent || s.typ == TypeBoolean):
		*v = Boolean(raw == "true")
		return end, nil
	case s.typ == Absent || s.typ == TypeInt32: // white space follows the number, or it is odd
		if n, err := strconv.ParseInt(raw, 10, 32); err == nil && strconv.FormatInt(n, 10) == raw {
			*v = Int32(int32(n))
			return end, nil
		}
	}
	if s.typ == TypeDouble || s.typ == Absent && strings.ContainsAny(raw, ".eE") {
		if f, err := strconv.ParseFloat(raw, 64); err == nil {
			*v = Double(f)
			if string(appendDouble(nil, f)) != raw {
				v.text = raw
			}
			return end, nil
		}
	}
	*v = unknownValue(s.edm, raw)
	return end, nil
}

// skipSpace returns the index of the first byte at or after i that is no white space.
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

const maxDepth = 64

// skipValue returns the index after the JSON value at b[i]. Nesting is limited:
// an entity has none.
func skipValue(b []byte, i int) (int, error) {
	start := i
	depth := 0
	for i < len(b) {
		switch c := b[i]; {
		case c == '"':
			end, _, err := scanString(b, i+1)
			if err != nil {
				return end, &SyntaxError{end, err.Error()}
			}
			i = end + 1
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return i, &SyntaxError{i, "nested too deeply"}
			}
			i++
			continue
		case (c == '}' || c == ']') && depth > 0:
			depth--
			i++
		case depth > 0 && (c == ',' || c == ':' || c == ' ' || c == '\n' || c == '\r' || c == '\t'):
			i++
			continue
		default:
			n := i
			for n < len(b) && (b[n] == '-' || b[n] == '+' || b[n] == '.' || b[n] >= '0' && b[n] <= '9' || b[n]|0x20 >= 'a' && b[n]|0x20 <= 'z') {
				n++
			}
			if n == i {
				return i, &SyntaxError{i, "want a value"}
			}
			i = n
		}
		if depth == 0 {
			if !json.Valid(b[start:i]) {
				return start, &SyntaxError{start, "invalid value"}
			}
			return i, nil
		}
	}
	return i, &SyntaxError{i, errEnd.Error()}
}

// DecodeRow decodes one entity from a copy of text, which may have any member
// order and white space.
func DecodeRow(text []byte) (Row, error) {
	var d Decoder
	rows, err := d.Lines(bytes.Clone(text), nil)
	switch {
	case err != nil:
		return Row{}, err
	case len(rows) != 1:
		return Row{}, fmt.Errorf("%d rows, want one", len(rows))
	}
	return rows[0], nil
}
