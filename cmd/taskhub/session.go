package main

import (
	"bufio"
	"context"
	"fmt"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/internal/ui"
)

// session is one run of one command: its options, its streams, and what it
// could not read.
type session struct {
	*cli.Context
	ctx    context.Context
	stdout *bufio.Writer
	stderr io.Writer
	json   bool

	skipped int64
}

func newSession(c *cli.Context) *session {
	return &session{
		Context: c, ctx: c.Context,
		stdout: bufio.NewWriterSize(c.App.Writer, 64<<10), stderr: c.App.ErrWriter,
		json: c.Bool(optJSON),
	}
}

// warn tells of something that was left out. It is counted: the exit code will
// say so too.
func (s *session) warn(err error) { s.warnOf(1, err) }

// warnOf tells of n items at once.
func (s *session) warnOf(n int64, err error) {
	s.skipped += n
	message(s.stderr, s.json, "warning", 0, err.Error(), "")
}

// end writes out what is buffered and adds what was skipped to the result.
func (s *session) end(err error) error {
	if flushed := s.stdout.Flush(); err == nil {
		err = flushed // otherwise it is the same, or matters less
	}
	if err == nil && s.skipped > 0 {
		return &skippedError{"done, but " + ui.Plural(s.skipped, "item", "items") + " could not be read"}
	}
	return err
}

// usagef returns an error about this command's options.
func (s *session) usagef(format string, args ...any) error {
	return usagef(s.Command.Name, "%s", fmt.Sprintf(format, args...))
}

// text returns an option that must have a value.
func (s *session) text(name string) (string, error) {
	v := s.String(name)
	if v == "" {
		if s.IsSet(name) {
			return "", s.usagef("option --%s is empty", name)
		}
		return "", s.usagef("option --%s is missing", name)
	}
	return v, nil
}
