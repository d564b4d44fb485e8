package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/schema"
)

// maxInput bounds what is read from a file to send it.
const maxInput = 64 << 20

// payload returns the value of an option as JSON: that of a file as it is, and any
// other text as a JSON string, as in the framework's command line.
//
// Source: core-tools DurableManager.cs:399-426.
func (s *session) payload(name string) (schema.Optional[string], error) {
	none := schema.Optional[string]{}
	if !s.IsSet(name) {
		return none, nil
	}
	path, isFile := strings.CutPrefix(s.String(name), "@")
	if !isFile {
		return schema.Some(string(schema.AppendJSONString(nil, s.String(name)))), nil
	}
	text, err := readInput(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return none, s.usagef("option --%s: could not find input file at '%s'", name, path)
	case err != nil:
		return none, fmt.Errorf("option --%s: %w", name, err)
	case len(text) > maxInput:
		return none, s.usagef("option --%s: %s has more than %s", name, path, ui.Bytes(maxInput))
	}
	text = strings.TrimPrefix(text, "\uFEFF")
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return none, s.usagef("option --%s: could not deserialize %s into valid JSON: %v", name, path, err)
	}
	return schema.Some(text), nil
}

// readInput reads a file, or stdin for "-", up to one byte more than is allowed.
func readInput(path string) (string, error) {
	f := os.Stdin
	if path != "-" {
		var err error
		if f, err = os.Open(path); err != nil {
			return "", err
		}
		defer f.Close() //nolint:errcheck // only read
	}
	b, err := io.ReadAll(io.LimitReader(f, maxInput+1))
	return string(b), err
}
