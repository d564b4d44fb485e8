package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// document is a parsed host.json.
type document struct {
	path string
	root *object
}

// object is a JSON object whose keys are compared without case. A nil object has
// no members.
type object struct {
	file    string
	path    string // of this object in the file, with a dot at its end
	members map[string]json.RawMessage
}

func parseHost(path string, text []byte) (*document, error) {
	root, err := parse(path, text)
	if err != nil {
		return nil, err
	}
	return &document{path, root}, nil
}

// durableTask returns the section of the extension: where it is depends on the
// version of the file.
//
// Source: core-tools DurableManager.cs:100-130.
func (d *document) durableTask() (*object, error) {
	if version, _ := d.root.text("version"); version.Text != "2.0" {
		return d.root.object("durableTask")
	}
	extensions, err := d.root.object("extensions")
	if err != nil {
		return nil, err
	}
	return extensions.object("durableTask")
}

// local is a parsed local.settings.json.
type local struct {
	path   string
	values map[string]string // by name in lower case
}

func parseLocal(path string, text []byte) (*local, error) {
	root, err := parse(path, text)
	if err != nil {
		return nil, err
	}
	plain := false
	if raw := root.raw("IsEncrypted"); raw != nil {
		if err := json.Unmarshal(raw, &plain); err != nil {
			return nil, fmt.Errorf("%s: IsEncrypted is neither true nor false", path)
		}
		plain = !plain
	}
	if !plain {
		// The tools take a file that does not say so for encrypted, too.
		return nil, fmt.Errorf(`%s is encrypted (it does not say "IsEncrypted": false): run "func settings decrypt"`, path)
	}
	values, err := root.object("Values")
	if err != nil {
		return nil, err
	}
	l := &local{path, make(map[string]string)}
	if values == nil {
		return l, nil
	}
	for name := range values.members {
		v, err := values.scalar(name)
		if err != nil {
			return nil, err
		}
		l.values[strings.ToLower(name)] = v
	}
	return l, nil
}

// parse reads a file that is one JSON object. Like Newtonsoft's parser, which the
// tools use, it takes comments and a comma before a closing bracket.
func parse(path string, text []byte) (*object, error) {
	o := &object{file: path}
	plain := plainJSON(text)
	if err := json.Unmarshal(plain, &o.members); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			// Its text quotes one character of the file at most.
			return nil, fmt.Errorf("%s, line %d: %w", path, 1+bytes.Count(plain[:min(int(syntax.Offset), len(plain))], []byte{'\n'}), err)
		}
		return nil, fmt.Errorf("%s: it is not a JSON object", path)
	}
	if o.members == nil {
		return nil, fmt.Errorf("%s: it is not a JSON object", path)
	}
	return o, nil
}

// plainJSON overwrites with blanks what JSON does not have: comments, commas
// before a closing bracket, the byte order mark. Offsets and lines stay.
func plainJSON(text []byte) []byte {
	out := slices.Clone(text)
	if bytes.HasPrefix(out, []byte("\ufeff")) {
		copy(out, "   ")
	}
	blank := func(from, to int) {
		for i := from; i < to; i++ {
			if out[i] != '\n' {
				out[i] = ' '
			}
		}
	}
	comma := -1 // the last comma, if only white space and comments followed it
	for i := 0; i < len(out); {
		switch c := out[i]; {
		case c == '"':
			for i++; i < len(out) && out[i] != '"'; i++ {
				if out[i] == '\\' {
					i++
				}
			}
			i++
			comma = -1
		case c == '/' && i+1 < len(out) && out[i+1] == '/':
			end := bytes.IndexByte(out[i:], '\n')
			if end < 0 {
				end = len(out) - i
			}
			blank(i, i+end)
			i += end
		case c == '/' && i+1 < len(out) && out[i+1] == '*':
			end := bytes.Index(out[i+2:], []byte("*/"))
			if end < 0 {
				return out // an error of syntax
			}
			blank(i, i+2+end+2)
			i += 2 + end + 2
		default:
			switch c {
			case ',':
				comma = i
			case '}', ']':
				if comma >= 0 {
					out[comma] = ' '
				}
				comma = -1
			case ' ', '\t', '\r', '\n':
			default:
				comma = -1
			}
			i++
		}
	}
	return out
}

// raw returns a member, or nil if there is none or it is null. Of several whose
// names differ in case, it prefers the one spelled like name.
func (o *object) raw(name string) json.RawMessage {
	if o == nil {
		return nil
	}
	raw, ok := o.members[name]
	if !ok {
		for _, key := range o.keys() {
			if strings.EqualFold(key, name) {
				raw = o.members[key]
				break
			}
		}
	}
	if string(raw) == "null" {
		return nil
	}
	return raw
}

func (o *object) keys() []string {
	keys := make([]string, 0, len(o.members))
	for key := range o.members {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}

// at names a member for errors and for Value.From.
func (o *object) at(name string) string { return o.path + name + " in " + o.file }

// object returns a member that is an object; nil if there is none.
func (o *object) object(name string) (*object, error) {
	raw := o.raw(name)
	if raw == nil {
		return nil, nil
	}
	inner := &object{file: o.file, path: o.path + name + "."}
	if err := json.Unmarshal(raw, &inner.members); err != nil {
		return nil, fmt.Errorf("%s: it is not an object", o.at(name))
	}
	return inner, nil
}

// text returns a member that is a string; the zero Value if there is none or it
// is empty.
func (o *object) text(name string) (Value, error) {
	raw := o.raw(name)
	if raw == nil {
		return Value{}, nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return Value{}, fmt.Errorf("%s: it is not a string", o.at(name))
	}
	if s == "" {
		return Value{}, nil
	}
	return Value{s, o.at(name)}, nil
}

// int returns a member that is a number, or a string with one; 0 if there is none.
func (o *object) int(name string) (n int, from string, err error) {
	raw := o.raw(name)
	if raw == nil {
		return 0, "", nil
	}
	if err := json.Unmarshal(bytes.Trim(raw, `"`), &n); err != nil {
		return 0, "", fmt.Errorf("%s: it is not a number", o.at(name))
	}
	return n, o.at(name), nil
}

// scalar returns a member as text: a string, or a number or truth as written.
func (o *object) scalar(name string) (string, error) {
	raw := o.members[name]
	switch {
	case string(raw) == "null":
		return "", nil
	case raw[0] == '{' || raw[0] == '[':
		return "", fmt.Errorf("%s: it is neither a string nor a number", o.at(name))
	case raw[0] != '"':
		return string(raw), nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", fmt.Errorf("%s: it is not a string", o.at(name))
	}
	return s, nil
}
