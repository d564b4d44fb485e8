package schema

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// jsonReader is the visitor that decodes one object of a message.
type jsonReader struct {
	where, path string
	members     []Member
	taken       []bool
	err         *DecodeError // the first member at fault
}

func (d *jsonReader) open(text string) error {
	m, err := readMembers(text)
	d.members, d.taken = m, make([]bool, len(m))
	return err
}

func (d *jsonReader) fail(name, reason string) {
	if d.err == nil {
		d.err = &DecodeError{d.where, d.path + name, errText(reason)}
	}
}

// errText is an error that is only its text.
type errText string

func (e errText) Error() string { return string(e) }

// merge takes over the error of an object inside this one.
func (d *jsonReader) merge(inner *jsonReader) {
	if d.err == nil {
		d.err = inner.err
	}
}

// take returns the raw value of a member; ok is false if it is missing.
func (d *jsonReader) take(name string) (raw string, ok bool) {
	for i := range d.members {
		if d.members[i].Name == name {
			d.taken[i] = true
			return d.members[i].JSON, true
		}
	}
	return "", false
}

func (d *jsonReader) extra() []Member {
	var out []Member
	for i, taken := range d.taken {
		if !taken {
			out = append(out, d.members[i])
		}
	}
	return out
}

// layout returns the names of the members as they were read, or nil if they are
// the usual ones in the usual order. Without usual ones it is never nil.
func (d *jsonReader) layout(usual []string) []string {
	if usual != nil && slices.EqualFunc(d.members, usual, func(m Member, name string) bool { return m.Name == name }) {
		return nil
	}
	names := make([]string, len(d.members))
	for i := range d.members {
		names[i] = d.members[i].Name
	}
	return names
}

// class takes $type and returns it if it is not want to the letter: before
// version 1.4.0 the name of an assembly followed.
func (d *jsonReader) class(want string) string {
	raw, ok := d.take(typeMember)
	if !ok {
		d.fail(typeMember, "missing")
		return ""
	}
	s, err := unquote(raw)
	if err != nil {
		d.fail(typeMember, err.Error())
	}
	if s == want {
		return ""
	}
	if name, _, _ := strings.Cut(s, ","); want != "" && name != want {
		d.fail(typeMember, "is not "+want)
	}
	return s
}

// object takes a member that is an object or null, and returns "" for null.
func (d *jsonReader) object(name string) string {
	raw, ok := d.take(name)
	if !ok || raw == "null" {
		return ""
	}
	if raw[0] != '{' {
		d.fail(name, "is not an object")
		return ""
	}
	return raw
}

// plain takes a string that is never null.
func (d *jsonReader) plain(name string, p *string) {
	raw, ok := d.take(name)
	if !ok {
		d.fail(name, "missing")
		return
	}
	s, err := unquote(raw)
	if err != nil {
		d.fail(name, err.Error())
	}
	*p = s
}

func (d *jsonReader) str(name string, p *Optional[string]) {
	raw, ok := d.take(name)
	if !ok || raw == "null" {
		return
	}
	s, err := unquote(raw)
	if err != nil {
		d.fail(name, err.Error())
		return
	}
	*p = Some(s)
}

func (d *jsonReader) text(name string, p *Text) {
	var s Optional[string]
	d.str(name, &s)
	p.Value, p.Set = s.Value, s.Set
}

func (d *jsonReader) json(name string, p *Text, _ jsonField) {
	if raw, ok := d.take(name); ok && raw != "null" {
		*p = TextOf(raw)
	}
}

func (d *jsonReader) eventType(t EventType) {
	raw, ok := d.take(colEventType)
	switch {
	case t == TypeUnknown:
		d.untake(colEventType) // a number that is not known stays with the other members
	case !ok:
		d.fail(colEventType, "missing")
	case raw != strconv.Itoa(int(t)) && raw != strconv.Quote(t.String()):
		d.fail(colEventType, "does not fit "+typeMember)
	}
}

func (d *jsonReader) int64(name string, p *int64) {
	raw, ok := d.take(name)
	if !ok {
		d.fail(name, "missing")
		return
	}
	n, err := strconv.ParseInt(raw, 10, 64)
	if err != nil {
		d.fail(name, "is not an integer")
	}
	*p = n
}

func (d *jsonReader) optInt64(name string, p *Optional[int64]) {
	raw, ok := d.take(name)
	if !ok || raw == "null" {
		return
	}
	n, err := strconv.ParseInt(raw, 10, 64)
	if err != nil {
		d.fail(name, "is not an integer")
		return
	}
	*p = Some(n)
}

func (d *jsonReader) int32(name string, p *int32) {
	var n int64
	d.int64(name, &n)
	if *p = int32(n); int64(*p) != n {
		d.fail(name, "is out of range")
	}
}

func (d *jsonReader) optInt32(name string, p *Optional[int32]) {
	var n Optional[int64]
	d.optInt64(name, &n)
	if n.Set && int64(int32(n.Value)) != n.Value {
		d.fail(name, "is out of range")
		return
	}
	*p = Optional[int32]{int32(n.Value), n.Set}
}

func (d *jsonReader) status(name string, p *Optional[Status]) {
	raw, ok := d.take(name)
	if !ok {
		return
	}
	if n, err := strconv.Atoi(raw); err == nil && n >= 0 && n < len(statusNames) {
		*p = Some(Status(n))
		return
	}
	if s, err := unquote(raw); err == nil && StatusNamed(s) != StatusUnknown {
		*p = Some(StatusNamed(s))
		return
	}
	d.fail(name, "is not a status")
}

func (d *jsonReader) time(name string, p *Ticks) {
	raw, ok := d.take(name)
	if !ok {
		d.fail(name, "missing")
		return
	}
	s, err := unquote(raw)
	if err == nil {
		*p, err = ParseTicks(s)
	}
	switch {
	case err != nil:
		d.fail(name, "is not a date and time")
	case raw != `"`+string(p.AppendTrimmed(nil))+`"`:
		d.untake(name) // an offset, or none: the spelling is kept
	}
}

// untake leaves a member that was taken to extra.
func (d *jsonReader) untake(name string) {
	for i := range d.members {
		if d.members[i].Name == name {
			d.taken[i] = false
		}
	}
}

func (d *jsonReader) optTime(name string, p *Optional[Ticks]) {
	for i := range d.members {
		if d.members[i].Name == name && d.members[i].JSON != "null" {
			p.Set = true
			d.time(name, &p.Value)
			return
		}
	}
	d.take(name)
}

func (d *jsonReader) bool(name string, p *bool) {
	var b Optional[bool]
	d.optBool(name, &b)
	if !b.Set {
		d.fail(name, "missing")
	}
	*p = b.Value
}

func (d *jsonReader) optBool(name string, p *Optional[bool]) {
	raw, ok := d.take(name)
	switch {
	case !ok:
	case raw == "true" || raw == "false":
		*p = Some(raw == "true")
	default:
		d.fail(name, "is not true or false")
	}
}

// jsonWriter is the visitor that encodes one object of a message.
type jsonWriter struct{ members []Member }

func (w *jsonWriter) raw(name, json string) { w.members = append(w.members, Member{name, json}) }

func (w *jsonWriter) plain(name, s string) { w.raw(name, string(appendNewtonsoft(nil, s))) }

// class writes $type: the usual one, or if there is one the other.
func (w *jsonWriter) class(usual, other string) { w.plain(typeMember, cmp.Or(other, usual)) }

func (w *jsonWriter) int(name string, n int64) { w.raw(name, strconv.FormatInt(n, 10)) }

func (w *jsonWriter) str(name string, p *Optional[string]) {
	if !p.Set {
		w.raw(name, "null")
		return
	}
	w.plain(name, p.Value)
}

func (w *jsonWriter) text(name string, p *Text) {
	w.str(name, &Optional[string]{p.Value, p.Set || p.loaded})
}

func (w *jsonWriter) json(name string, p *Text, _ jsonField) {
	if !p.Set && !p.loaded {
		w.raw(name, "null")
		return
	}
	w.raw(name, p.Value)
}

func (w *jsonWriter) eventType(t EventType) {
	if t != TypeUnknown {
		w.int(colEventType, int64(t))
	}
}

func (w *jsonWriter) int32(name string, p *int32) { w.int(name, int64(*p)) }

func (w *jsonWriter) optInt32(name string, p *Optional[int32]) {
	if !p.Set {
		w.raw(name, "null")
		return
	}
	w.int(name, int64(p.Value))
}

func (w *jsonWriter) status(name string, p *Optional[Status]) {
	w.int(name, int64(p.Value)) // not nullable: absent reads as Running, 0
}

func (w *jsonWriter) time(name string, p *Ticks) {
	b := append(p.AppendTrimmed([]byte{'"'}), '"')
	w.raw(name, string(b))
}

func (w *jsonWriter) optTime(name string, p *Optional[Ticks]) {
	if !p.Set {
		w.raw(name, "null")
		return
	}
	w.time(name, &p.Value)
}

func (w *jsonWriter) optBool(name string, p *Optional[bool]) {
	w.raw(name, strconv.FormatBool(p.Value)) // not nullable
}

// append appends the object. With a layout, its members stand in that order and
// those that are not in it are left out; extra members replace those of the same
// name and otherwise stand where the layout has them, or last.
func (w *jsonWriter) append(dst []byte, layout []string, extra []Member) []byte {
	members := w.members
	if layout != nil || len(extra) > 0 {
		find := func(name string) (Member, bool) {
			for _, from := range [...][]Member{extra, w.members} {
				if i := slices.IndexFunc(from, func(m Member) bool { return m.Name == name }); i >= 0 {
					return from[i], true
				}
			}
			return Member{}, false
		}
		order := layout
		if order == nil {
			for _, m := range w.members {
				order = append(order, m.Name)
			}
		}
		members = nil
		for _, name := range order {
			if m, ok := find(name); ok {
				members = append(members, m)
			}
		}
		for _, m := range extra {
			if !slices.Contains(order, m.Name) {
				members = append(members, m)
			}
		}
	}
	dst = append(dst, '{')
	for i, m := range members {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendNewtonsoft(dst, m.Name)
		dst = append(dst, ':')
		dst = append(dst, m.JSON...)
	}
	return append(dst, '}')
}

// complete returns layout with those members added that were written but are not
// in it, for objects in which a member at its default is left out. A nil layout
// stays nil.
func (w *jsonWriter) complete(layout []string) []string {
	if layout == nil {
		return nil
	}
	layout = slices.Clone(layout)
	for i := range w.members {
		if !slices.Contains(layout, w.members[i].Name) {
			layout = append(layout, w.members[i].Name)
		}
	}
	return layout
}

// core3Finder is the visitor that collects the members which version 1.x does
// not write.
type core3Finder struct{ names []string }

func (c *core3Finder) has(name string) bool { return slices.Contains(c.names, name) }

func (c *core3Finder) json(name string, _ *Text, f jsonField) {
	if f&jsonCore3 != 0 {
		c.names = append(c.names, name)
	}
}

func (c *core3Finder) optBool(name string, _ *Optional[bool]) { c.names = append(c.names, name) }
func (c *core3Finder) eventType(EventType)                    {}
func (c *core3Finder) str(string, *Optional[string])          {}
func (c *core3Finder) text(string, *Text)                     {}
func (c *core3Finder) status(string, *Optional[Status])       {}
func (c *core3Finder) int32(string, *int32)                   {}
func (c *core3Finder) optInt32(string, *Optional[int32])      {}
func (c *core3Finder) time(string, *Ticks)                    {}
func (c *core3Finder) optTime(string, *Optional[Ticks])       {}

// appendNewtonsoft appends s as a JSON string with the escapes of the
// framework's serializer: those of [AppendJSONString] and U+0085, U+2028 and
// U+2029. An unpaired surrogate becomes U+FFFD, as in its UTF-8 output.
func appendNewtonsoft(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' && c < utf8.RuneSelf {
			continue
		}
		var esc string
		n := 1
		switch c {
		case '"':
			esc = `\"`
		case '\\':
			esc = `\\`
		case '\b':
			esc = `\b`
		case '\f':
			esc = `\f`
		case '\n':
			esc = `\n`
		case '\r':
			esc = `\r`
		case '\t':
			esc = `\t`
		default:
			if c < 0x20 {
				dst = append(dst, s[start:i]...)
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
				start = i + 1
				continue
			}
			u, size := utf8.DecodeRuneInString(s[i:])
			n = size
			switch {
			case u == 0x85:
				esc = `\u0085`
			case u == 0x2028:
				esc = `\u2028`
			case u == 0x2029:
				esc = `\u2029`
			case u == utf8.RuneError && size == 1:
				esc = "\ufffd"
				if c == 0xED && i+2 < len(s) && s[i+1] >= 0xA0 && s[i+2] >= 0x80 {
					n = 3
				}
			default:
				i += size - 1
				continue
			}
		}
		dst = append(dst, s[start:i]...)
		dst = append(dst, esc...)
		i += n - 1
		start = i + 1
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
