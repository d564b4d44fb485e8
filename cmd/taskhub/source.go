package main

import (
	"errors"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
)

func sourceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "snapshot", Usage: "the capture to read: `FILE`.taskhub, or a folder with the same files"},
		&cli.BoolFlag{DisableDefaultText: true, Name: "salvage", Usage: "read what a damaged capture still holds, and tell what had to be left out"},
	}
}

// withSource runs do with the hub that the options name, and tells of what was
// damaged in it.
func (s *session) withSource(do func(hub.Reader) error) error {
	path := s.String("snapshot")
	if path == "" {
		return s.usagef("no hub given: name a capture with --snapshot FILE; only captures are supported yet")
	}
	salvage := s.Bool("salvage")
	r, err := snapshot.Open(path, snapshot.Options{Salvage: salvage})
	if err == nil {
		err = errors.Join(do(r), r.Close())
		for _, d := range r.Damage() {
			s.warn(&d)
		}
	}
	if err != nil && salvage {
		return &salvageError{err}
	}
	return err
}

// salvageError is an error in spite of --salvage, which need not be advised then.
type salvageError struct{ err error }

func (e *salvageError) Error() string { return e.err.Error() }
func (e *salvageError) Unwrap() error { return e.err }
