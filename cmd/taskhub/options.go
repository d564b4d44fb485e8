package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/schema"
)

// Names of options that several commands have.
const (
	optJSON          = "json"
	optStatus        = "runtime-status"
	optName          = "name"
	optIDPrefix      = "id-prefix"
	optCreatedAfter  = "created-after"
	optCreatedBefore = "created-before"
	optUpdatedAfter  = "updated-after"
	optUpdatedBefore = "updated-before"
	optMaxPayload    = "max-payload"
)

// These make flags anew for each command: a flag keeps what it was set to.

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{
		Name: optJSON, DisableDefaultText: true,
		Usage: "print for programs: one JSON document, or JSON Lines; errors are JSON objects on stderr",
	}
}

func statusFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: optStatus, Usage: "only instances in these states: `STATUS` …, in any case"}
}

func nameFlag() cli.Flag {
	return &cli.StringSliceFlag{Name: optName, Usage: "only instances of this function, exactly `NAME`; may be repeated"}
}

func idPrefixFlag() cli.Flag {
	return &cli.StringFlag{Name: optIDPrefix, Usage: "only instances whose IDs begin with `TEXT`"}
}

func createdAfterFlag() cli.Flag {
	return &cli.StringFlag{Name: optCreatedAfter, Usage: "only instances created at `TIME` or later (ISO 8601, UTC unless it names a zone)"}
}

func createdBeforeFlag() cli.Flag {
	return &cli.StringFlag{Name: optCreatedBefore, Usage: "only instances created at `TIME` or earlier"}
}

func maxPayloadFlag() cli.Flag {
	return &cli.StringFlag{
		Name: optMaxPayload, Value: "64MiB",
		Usage: "longest input, output or other payload to read, `SIZE`; a longer one counts as unreadable",
	}
}

// statuses returns the values of --runtime-status: names in any case or
// numbers, each value one or several of them.
func (s *session) statuses() ([]schema.Status, error) {
	var found []schema.Status
	for _, value := range s.StringSlice(optStatus) {
		words := strings.FieldsFunc(value, func(r rune) bool { return r == ' ' || r == ',' })
		if len(words) == 0 {
			return nil, s.usagef("option --%s is empty", optStatus)
		}
		for _, w := range words {
			all := schema.Statuses()
			i := slices.IndexFunc(all, func(st schema.Status) bool {
				return strings.EqualFold(st.String(), w) || strconv.Itoa(int(st)) == w
			})
			if i < 0 {
				return nil, s.usagef("option --%s: unknown status %q; want %s", optStatus, w, listed(all))
			}
			if !slices.Contains(found, all[i]) {
				found = append(found, all[i])
			}
		}
	}
	return found, nil
}

// listed joins values for an error message.
func listed[T any](values []T) string {
	words := make([]string, len(values))
	for i, v := range values {
		words[i] = fmt.Sprint(v)
	}
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// nonEmpty returns the values of an option that may be repeated.
func (s *session) nonEmpty(name string) ([]string, error) {
	values := s.StringSlice(name)
	if slices.Contains(values, "") {
		return nil, s.usagef("option --%s is empty", name)
	}
	return values, nil
}

// ticks returns the value of an option that is a time; zero if it is not set.
func (s *session) ticks(name string) (schema.Ticks, error) {
	if !s.IsSet(name) {
		return 0, nil
	}
	t, ok := parseTime(s.String(name))
	if !ok {
		return 0, s.usagef("option --%s: %q is not a date and time such as 2026-11-22T04:07:21Z", name, s.String(name))
	}
	return t, nil
}

// window returns the values of two options that bound a time.
func (s *session) window(from, to string) (a, b schema.Ticks, err error) {
	if a, err = s.ticks(from); err != nil {
		return 0, 0, err
	}
	if b, err = s.ticks(to); err != nil {
		return 0, 0, err
	}
	if a != 0 && b != 0 && a > b {
		return 0, 0, s.usagef("--%s is later than --%s: nothing can be between", from, to)
	}
	return a, b, nil
}

// parseTime reads a time in the layouts of ISO 8601: with or without hyphens
// and colons, a blank for the T, seconds and their fraction, a zone. Without a
// zone it is UTC, and a date alone is its first instant.
func parseTime(s string) (schema.Ticks, bool) {
	s = strings.Replace(strings.ToUpper(strings.TrimSpace(s)), " ", "T", 1)
	for _, date := range [...]string{"2006-01-02", "20060102"} {
		for _, clock := range [...]string{"T15:04:05", "T15:04", "T150405", "T1504", "T15"} {
			for _, zone := range [...]string{"", "Z07:00", "Z0700", "Z07"} {
				if t, err := time.Parse(date+clock+zone, s); err == nil {
					return schema.TicksOf(t), true
				}
			}
		}
		if t, err := time.Parse(date, s); err == nil {
			return schema.TicksOf(t), true
		}
	}
	return 0, false
}

// size returns the value of an option that is a size above zero.
func (s *session) size(name string) (int64, error) {
	n, err := ui.ParseBytes(s.String(name))
	if err != nil {
		return 0, s.usagef("option --%s: %q is %v", name, s.String(name), err)
	}
	if n == 0 {
		return 0, s.usagef("option --%s: must be more than 0", name)
	}
	return n, nil
}

// oneOf returns the value of an option that has to be one of several.
func oneOf[T ~string](s *session, name string, values ...T) (T, error) {
	return among(s, name, s.String(name), values)
}

// someOf returns the values of an option that is a list with commas, in the
// order given.
func someOf[T ~string](s *session, name string, values []T) ([]T, error) {
	var found []T
	for _, list := range s.StringSlice(name) {
		for _, word := range strings.Split(list, ",") {
			v, err := among(s, name, strings.TrimSpace(word), values)
			if err != nil {
				return nil, err
			}
			if slices.Contains(found, v) {
				return nil, s.usagef("option --%s: %q is given twice", name, v)
			}
			found = append(found, v)
		}
	}
	return found, nil
}

func among[T ~string](s *session, name, value string, values []T) (T, error) {
	for _, v := range values {
		if strings.EqualFold(string(v), value) {
			return v, nil
		}
	}
	return "", s.usagef("option --%s: unknown value %q; want %s", name, value, listed(values))
}
