package settings

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	hostName  = "host.json"
	localName = "local.settings.json"

	// maxFileBytes is far beyond what such a file has.
	maxFileBytes = 4 << 20
)

// files looks settings up in the environment and, only if that does not have
// them, in local.settings.json.
type files struct {
	dir string
	env func(string) (string, bool)

	// What is known of local.settings.json after the first look.
	read  bool
	root  string // the folder in which it is or should be; empty: none was found
	local *local
	err   error
}

// host returns host.json of the working directory, or nil.
func (f *files) host() (*document, error) {
	path, err := filepath.Abs(filepath.Join(f.dir, hostName))
	if err != nil {
		return nil, err
	}
	text, err := readFile(path)
	if err != nil || text == nil {
		return nil, err
	}
	return parseHost(path, text)
}

// readFile returns nil for a file that does not exist.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > maxFileBytes:
		return nil, fmt.Errorf("%s: more than %d bytes", path, maxFileBytes)
	case text == nil:
		text = []byte{}
	}
	return text, nil
}

// setting returns an environment variable, or the value in local.settings.json,
// or neither. What is empty counts as not set.
func (f *files) setting(name string) (Value, error) {
	for _, spelling := range spellings(name) {
		if text, ok := f.env(spelling); ok && text != "" {
			return Value{text, "environment variable " + spelling}, nil
		}
	}
	if err := f.readLocal(); err != nil {
		return Value{}, fmt.Errorf("%s is not an environment variable, and %w", name, err)
	}
	if f.local == nil {
		return Value{}, nil
	}
	for _, spelling := range spellings(name) {
		if text := f.local.values[strings.ToLower(spelling)]; text != "" {
			return Value{text, spelling + " in " + f.local.path}, nil
		}
	}
	return Value{}, nil
}

// spellings returns a name with each of the separators that .NET takes for the
// same: environment variables cannot have a colon.
func spellings(name string) []string {
	flat := strings.ReplaceAll(name, ":", "__")
	if colons := strings.ReplaceAll(flat, "__", ":"); colons != flat {
		return []string{flat, colons}
	}
	return []string{name}
}

// readLocal reads local.settings.json of the first folder, from the working
// directory up, that has it or host.json.
func (f *files) readLocal() error {
	if f.read {
		return f.err
	}
	f.read = true
	f.err = f.findLocal()
	return f.err
}

func (f *files) findLocal() error {
	dir, err := filepath.Abs(f.dir)
	if err != nil {
		return err
	}
	for {
		path := filepath.Join(dir, localName)
		text, err := readFile(path)
		switch {
		case err != nil:
			return err
		case text != nil:
			f.root = dir
			f.local, err = parseLocal(path, text)
			return err
		}
		if _, err := os.Stat(filepath.Join(dir, hostName)); err == nil {
			f.root = dir
			return nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return nil
		}
		dir = parent
	}
}

// looked says where a setting that does not exist was looked for.
func (f *files) looked() string {
	const env = "not an environment variable"
	switch {
	case f.local != nil:
		return "neither an environment variable nor in " + f.local.path
	case f.root != "":
		return env + ", and " + f.root + " has no " + localName
	}
	return env + ", and neither this folder nor one above it has a " + localName + " or " + hostName
}

// expand replaces each %NAME% by the setting of that name.
func (f *files) expand(v Value) (Value, error) {
	var b strings.Builder
	rest := v.Text
	for {
		before, after, ok := strings.Cut(rest, "%")
		b.WriteString(before)
		if !ok {
			break
		}
		name, after, ok := strings.Cut(after, "%")
		if !ok {
			return Value{}, fmt.Errorf("%v: a %% without another one", v)
		}
		rest = after
		if !plainName.MatchString(name) {
			return Value{}, fmt.Errorf("%v: between %% and %% is not the name of a setting", v)
		}
		s, err := f.setting(name)
		if err != nil {
			return Value{}, fmt.Errorf("%v: %w", v, err)
		}
		if s.Text == "" {
			return Value{}, fmt.Errorf("%v: %%%s%% is %s", v, name, f.looked())
		}
		b.WriteString(s.Text)
		v.From += ", with " + s.From
	}
	v.Text = b.String()
	return v, nil
}
