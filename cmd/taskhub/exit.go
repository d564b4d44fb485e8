package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"syscall"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/repair"
)

// The exit codes of all commands. docs/exit-codes.md explains them.
const (
	exitDone         = 0
	exitFailed       = 1
	exitUsage        = 2
	exitFindings     = 3
	exitSkipped      = 4
	exitNotFound     = 10
	exitInUse        = 11
	exitUnauthorized = 12
	exitInterrupted  = 130
)

// exitMeaning is what help and docs/exit-codes.md say.
var exitMeaning = map[int]string{
	exitDone:         "done",
	exitFailed:       "failed",
	exitUsage:        "wrong usage: unknown option, missing or bad value",
	exitFindings:     "done, but there are differences or findings",
	exitSkipped:      "done, but some items could not be read or changed, and were left out",
	exitNotFound:     "the hub does not exist",
	exitInUse:        "the hub is in use, or exists where it must not",
	exitUnauthorized: "not authorised",
	exitInterrupted:  "interrupted",
}

// usageError is a mistake on the command line.
type usageError struct {
	command string // empty for the program itself
	text    string
}

func (e *usageError) Error() string { return e.text }

func usagef(command, format string, args ...any) error {
	return &usageError{command, fmt.Sprintf(format, args...)}
}

// skippedError says that a command has done its work but for some items, each
// of which it has told.
type skippedError struct{ text string }

func (e *skippedError) Error() string { return e.text }

// findingsError says that a command has done its work and found something, each
// of which it has told.
type findingsError struct{ text string }

func (e *findingsError) Error() string { return e.text }

var errInterrupted = errors.New("interrupted")

// exitCode returns the code for an error. What is not known here has failed.
func exitCode(err error) int {
	var usage *usageError
	var skipped *skippedError
	var findings *findingsError
	switch {
	case err == nil:
		return exitDone
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &skipped):
		return exitSkipped
	case errors.As(err, &findings):
		return exitFindings
	case errors.Is(err, hub.ErrInUse):
		return exitInUse
	case errors.Is(err, hub.ErrNotFound):
		return exitNotFound
	case errors.Is(err, hub.ErrUnauthorized):
		return exitUnauthorized
	}
	return exitFailed
}

// report writes the final error on one line, for people or as JSON. A reader
// that has gone away is not told so.
func report(w io.Writer, err error, asJSON bool) {
	if err == nil || errors.Is(err, syscall.EPIPE) {
		return
	}
	message(w, asJSON, "error", exitCode(err), err.Error(), hint(err))
}

// messageReport is a line of stderr with --json.
type messageReport struct {
	Type    string `json:"type"`
	Message string `json:"message"`
	Code    int    `json:"code,omitempty"`
	Hint    string `json:"hint,omitempty"`
}

// message writes one line to stderr. An error there has nowhere to go.
func message(w io.Writer, asJSON bool, kind string, code int, text, hint string) {
	text, hint = scrub(text), scrub(hint)
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
	if asJSON {
		_ = writeJSON(w, messageReport{kind, text, code, hint})
		return
	}
	if hint != "" {
		text += " (" + hint + ")"
	}
	_, _ = fmt.Fprintf(w, "taskhub: %s\n", ui.Escape(text))
}

// hint returns what a person could do about an error, or "".
func hint(err error) string {
	var usage *usageError
	var damage *snapshot.DamageError
	var salvaged *salvageError
	var source *sourceError
	var running *repair.RunningError
	switch {
	case errors.As(err, &usage):
		if usage.command == "" {
			return "see taskhub help"
		}
		return "see taskhub " + usage.command + " --help"
	case errors.As(err, &damage):
		switch {
		case damage.File == "manifest.json" && errors.Is(err, fs.ErrNotExist), damage.File == "" && damage.Offset == 0:
			return "is it a capture? It is a zip, or a folder with a manifest.json"
		case !errors.As(err, &salvaged):
			return "--salvage reads what is not damaged"
		}
	case errors.As(err, &running):
		return "stop the app and wait a minute; --force goes on all the same"
	case errors.Is(err, migrate.ErrExists):
		return "--resume goes on with an interrupted restoration"
	case errors.Is(err, hub.ErrConflict):
		return "look at it again before you repeat this"
	case errors.Is(err, manage.ErrExists):
		return "--overwrite starts it anew"
	case errors.Is(err, manage.ErrNotFailed):
		return "only an instance that has failed can be rewound"
	case errors.As(err, &source):
		return source.account.hint(err)
	case errors.Is(err, fs.ErrExist):
		return "--overwrite replaces what is there"
	}
	return ""
}

// writeJSON writes one line of JSON.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
