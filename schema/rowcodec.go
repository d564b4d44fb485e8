package schema

import (
	"slices"
	"strings"
)

const blobNameSuffix = "BlobName"

// rowReader is the visitor that decodes a row. Properties that no member takes,
// and those whose type is wrong, remain for the Extra of the result.
type rowReader struct {
	row      *Row
	taken    []bool
	hasBlobs bool         // some property is called …BlobName
	err      *DecodeError // the first value at fault
}

func newRowReader(r *Row, taken []bool) *rowReader {
	d := &rowReader{row: r, taken: taken}
	for i := range r.Properties {
		if strings.HasSuffix(r.Properties[i].Name, blobNameSuffix) {
			d.hasBlobs = true
			break
		}
	}
	return d
}

// take returns the property called name if it has the wanted type.
func (d *rowReader) take(name string, want Type) (Value, bool) {
	for i := range d.row.Properties {
		p := &d.row.Properties[i]
		if p.Name != name {
			continue
		}
		if p.Value.typ != want {
			if d.err == nil {
				d.err = d.row.decodeError(name, "type is %s, want %s", p.Value.EDM(), want)
			}
			return Value{}, false
		}
		d.taken[i] = true
		return p.Value, true
	}
	return Value{}, false
}

// untake leaves a property that was taken to Extra.
func (d *rowReader) untake(name string) {
	for i := range d.row.Properties {
		if d.row.Properties[i].Name == name {
			d.taken[i] = false
		}
	}
}

func (d *rowReader) fail(name, format string, args ...any) {
	if d.err == nil {
		d.err = d.row.decodeError(name, format, args...)
	}
}

// extra returns the properties that were not taken.
func (d *rowReader) extra() []Property {
	var out []Property
	for i, taken := range d.taken {
		if !taken {
			out = append(out, d.row.Properties[i])
		}
	}
	return out
}

func (d *rowReader) eventType(EventType) {}

func (d *rowReader) str(name string, p *Optional[string]) {
	if v, ok := d.take(name, TypeString); ok {
		*p = Some(v.text)
	}
}

func (d *rowReader) text(name string, p *Text) {
	if v, ok := d.take(name, TypeString); ok {
		p.Value, p.Set = v.text, true
	}
	if !d.hasBlobs {
		return
	}
	if v, ok := d.take(name+blobNameSuffix, TypeString); ok {
		p.Blob = v.text
		if v.text == "" {
			d.untake(name + blobNameSuffix) // names no blob, but is there
		}
	}
}

func (d *rowReader) json(name string, p *Text, f jsonField) {
	if f&jsonOffloadable != 0 {
		d.text(name, p)
		return
	}
	if v, ok := d.take(name, TypeString); ok {
		p.Value, p.Set = v.text, true
	}
}

func (d *rowReader) status(name string, p *Optional[Status]) {
	for i := range d.row.Properties {
		if d.row.Properties[i].Name != name {
			continue
		}
		v := d.row.Properties[i].Value
		if s := StatusNamed(v.text); v.typ == TypeString && s != StatusUnknown {
			*p = Some(s)
			d.taken[i] = true
			return
		}
		d.fail(name, "is not the name of a status")
		return
	}
}

func (d *rowReader) int32(name string, p *int32) {
	v, ok := d.take(name, TypeInt32)
	if !ok {
		d.fail(name, "missing")
	}
	*p = int32(v.num)
}

func (d *rowReader) optInt32(name string, p *Optional[int32]) {
	if v, ok := d.take(name, TypeInt32); ok {
		*p = Some(int32(v.num))
	}
}

func (d *rowReader) time(name string, p *Ticks) {
	v, ok := d.take(name, TypeDateTime)
	if !ok {
		d.fail(name, "missing")
	}
	*p = Ticks(v.num)
}

func (d *rowReader) optTime(name string, p *Optional[Ticks]) {
	if v, ok := d.take(name, TypeDateTime); ok {
		*p = Some(Ticks(v.num))
	}
}

func (d *rowReader) optBool(name string, p *Optional[bool]) {
	if v, ok := d.take(name, TypeBoolean); ok {
		*p = Some(v.num != 0)
	}
}

// rowWriter is the visitor that encodes a row.
type rowWriter struct{ props []Property }

func (w *rowWriter) put(name string, v Value) { w.props = append(w.props, Property{name, v}) }

// properties returns what was put, and extra. Where both have a name, the one of
// extra counts: it is there because its type is wrong.
func (w *rowWriter) properties(extra []Property) []Property {
	for _, p := range extra {
		w.props = slices.DeleteFunc(w.props, func(q Property) bool { return q.Name == p.Name })
	}
	return append(w.props, extra...)
}

func (w *rowWriter) eventType(EventType) {}

func (w *rowWriter) str(name string, p *Optional[string]) {
	if p.Set {
		w.put(name, String(p.Value))
	}
}

func (w *rowWriter) text(name string, p *Text) {
	switch {
	case p.Blob != "":
		if p.Set && p.loaded {
			w.put(name, String(""))
		} else if p.Set {
			w.put(name, String(p.Value))
		}
		w.put(name+blobNameSuffix, String(p.Blob))
	case p.Set:
		w.put(name, String(p.Value))
	}
}

func (w *rowWriter) json(name string, p *Text, _ jsonField) { w.text(name, p) }

func (w *rowWriter) status(name string, p *Optional[Status]) {
	if p.Set {
		w.put(name, String(p.Value.String()))
	}
}

func (w *rowWriter) int32(name string, p *int32) { w.put(name, Int32(*p)) }

func (w *rowWriter) optInt32(name string, p *Optional[int32]) {
	if p.Set {
		w.put(name, Int32(p.Value))
	}
}

func (w *rowWriter) time(name string, p *Ticks) { w.put(name, DateTime(*p)) }

func (w *rowWriter) optTime(name string, p *Optional[Ticks]) {
	if p.Set {
		w.put(name, DateTime(p.Value))
	}
}

func (w *rowWriter) optBool(name string, p *Optional[bool]) {
	if p.Set {
		w.put(name, Boolean(p.Value))
	}
}

// blobVisitor calls load for each text that is kept in a blob.
type blobVisitor struct {
	load func(member string, p *Text) error
	err  error
}

func (b *blobVisitor) text(name string, p *Text) {
	if p.Blob != "" && b.err == nil {
		b.err = b.load(name, p)
	}
}

func (b *blobVisitor) json(name string, p *Text, _ jsonField) { b.text(name, p) }
func (b *blobVisitor) eventType(EventType)                    {}
func (b *blobVisitor) str(string, *Optional[string])          {}
func (b *blobVisitor) status(string, *Optional[Status])       {}
func (b *blobVisitor) int32(string, *int32)                   {}
func (b *blobVisitor) optInt32(string, *Optional[int32])      {}
func (b *blobVisitor) time(string, *Ticks)                    {}
func (b *blobVisitor) optTime(string, *Optional[Ticks])       {}
func (b *blobVisitor) optBool(string, *Optional[bool])        {}

// LoadTexts calls load for each member of e that is kept in a blob, with the
// member's name. load answers with [Text.Load]; its first error ends the walk
// and is returned.
func LoadTexts(e Event, load func(member string, p *Text) error) error {
	v := blobVisitor{load: load}
	e.fields(&v)
	return v.err
}
