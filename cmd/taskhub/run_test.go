package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// writerFunc is an io.Writer.
type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// A reader that goes away, as head does, ends the program without a word.
func TestClosedPipe(t *testing.T) {
	closed := writerFunc(func([]byte) (int, error) { return 0, &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE} })
	hub := testhub.HubFile(t, "dtfx-2.9.1-bulk")
	for _, args := range [][]string{
		{"export", "--snapshot", hub, "--out", "-", "--dataset", "history"},
		{"get-instances", "--snapshot", hub, "--top", "500"},
		{"get-history", "--snapshot", hub, "--id", "bulk-41-000000"},
		{"info", "--snapshot", hub, "--json"},
		{"hubs", "--snapshot", hub},
		{"queues", "--snapshot", hub, "--json"},
		{"list-entities", "--snapshot", hub},
		{"get-entity", "--snapshot", hub, "--id", "@a@b"},
	} {
		var stderr bytes.Buffer
		if code := run(t.Context(), append([]string{"taskhub"}, args...), closed, &stderr); code != exitFailed || stderr.Len() > 0 {
			t.Errorf("taskhub %q: exit code %d, want %d; stderr %q, want none", args, code, exitFailed, &stderr)
		}
	}
}

func TestInterrupted(t *testing.T) {
	hub := testhub.HubFile(t, "dtfx-2.9.1-bulk")
	t.Run("before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		out := filepath.Join(t.TempDir(), "out")
		for _, args := range [][]string{
			{"export", "--snapshot", hub, "--out", out},
			{"get-instances", "--snapshot", hub},
			{"get-history", "--snapshot", hub, "--id", "bulk-41-000000"},
			{"get-runtime-status", "--snapshot", hub, "--id", "bulk-41-000000"},
			{"info", "--snapshot", hub},
			{"hubs", "--snapshot", hub},
			{"queues", "--snapshot", hub},
			{"list-entities", "--snapshot", hub},
			{"get-entity", "--snapshot", hub, "--id", "@a@b"},
		} {
			var stdout, stderr bytes.Buffer
			code := run(ctx, append([]string{"taskhub"}, args...), &stdout, &stderr)
			if code != exitInterrupted || stdout.Len() > 0 || stderr.String() != "taskhub: interrupted\n" {
				t.Errorf("taskhub %q: exit code %d, want %d; stdout %q, stderr %q", args, code, exitInterrupted, &stdout, &stderr)
			}
		}
		noFiles(t, out)
	})
	t.Run("on the way", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		stdout := writerFunc(func(p []byte) (int, error) { cancel(); return len(p), nil })
		var stderr bytes.Buffer
		args := []string{"taskhub", "export", "--snapshot", hub, "--out", "-", "--dataset", "history", "--json"}
		code := run(ctx, args, stdout, &stderr)
		want := `{"type":"error","message":"interrupted","code":130}` + "\n"
		if code != exitInterrupted || stderr.String() != want {
			t.Errorf("exit code %d, want %d; stderr %q, want %q", code, exitInterrupted, &stderr, want)
		}
	})
}

// noFiles fails if there is a file in a folder.
func noFiles(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("%s was left", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestExpandArgs(t *testing.T) {
	commands := newApp(nil, nil).Commands
	tests := []struct{ name, args, want string }{
		{"nothing", "", ""},
		{"no command", "nope --id a", "nope --id a"},
		{"values", "get-history --id a --snapshot=b", "get-history --id=a --snapshot=b"},
		{"a value that looks like an option", "get-history --id --json", "get-history --id=--json"},
		{"colon", "get-history --id:a:b=c", "get-history --id=a:b=c"},
		{"one hyphen", "get-history -id a", "get-history --id=a"},
		{"any case", "GET-history --id A", "get-history --id=A"},
		{"true and false", "get-instances --show-input False --json true --show-output", "get-instances --show-input=false --json=true --show-output"},
		{"not a truth", "get-instances --json maybe --top 1", "get-instances --json maybe --top 1"},
		{"several words", "get-instances --runtime-status completed failed --top 1", "get-instances --runtime-status=completed --runtime-status=failed --top=1"},
		{"one word only", "get-instances --name a b --top 1", "get-instances --name=a b --top 1"},
		{"value missing", "get-history --json --id", "get-history --json --id"},
		{"unknown option", "get-history --foo --id a", "get-history --foo --id=a"},
		{"end of options", "get-history -- --id a", "get-history -- --id a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			args := append([]string{"taskhub"}, strings.Fields(tt.args)...)
			want := append([]string{"taskhub"}, strings.Fields(tt.want)...)
			if got := expandArgs(args, commands); !slices.Equal(got, want) {
				t.Errorf("expandArgs(%q) = %q, want %q", args, got, want)
			}
		})
	}
}

func TestParseTime(t *testing.T) {
	const want = "2018-03-10T13:57:31.0000000Z"
	tests := map[string]string{
		"2018-03-10T13:57:31Z":         want,
		"2018-03-10T13:57:31":          want,
		"2018-03-10 13:57:31":          want,
		"2018-03-10t13:57:31z":         want,
		"20180310T135731Z":             want,
		"2018-03-10T22:57:31+09:00":    want,
		"2018-03-10T22:57:31+0900":     want,
		"2018-03-10T22:57:31+09":       want,
		"2018-11-14T19:35:00.0000000Z": "2018-11-14T19:35:00.0000000Z",
		"2018-11-14T19:35:00.1234567":  "2018-11-14T19:35:00.1234567Z",
		"2018-11-14T19:35:00,5":        "2018-11-14T19:35:00.5000000Z",
		"2018-03-10T23:59Z":            "2018-03-10T23:59:00.0000000Z",
		"2018-03-10":                   "2018-03-10T00:00:00.0000000Z",
		"20180310":                     "2018-03-10T00:00:00.0000000Z",
		"":                             "",
		"yesterday":                    "",
		"2018-13-01":                   "",
		"2018-02-30T00:00Z":            "",
		"13:57":                        "",
		"10/03/2018":                   "",
	}
	for text, want := range tests {
		got, ok := parseTime(text)
		if ok != (want != "") || ok && got.String() != want {
			t.Errorf("parseTime(%q) = %v, %v, want %q", text, got, ok, want)
		}
	}
	if got, _ := parseTime("0001-01-01"); got != schema.Ticks(0) {
		t.Errorf("parseTime of the first day = %v, want zero", got)
	}
}

// Every command has help with an example and refuses what it does not know.
func TestCommands(t *testing.T) {
	for _, c := range newApp(nil, nil).Commands {
		if c.Name == "help" {
			continue
		}
		if c.OnUsageError == nil || !c.HideHelpCommand {
			t.Errorf("%s: made without command()", c.Name)
		}
		if !strings.Contains(c.Description, "Examples:\n  taskhub "+c.Name+" ") {
			t.Errorf("%s: help has no example", c.Name)
		}
		for _, f := range c.Flags {
			if r, ok := f.(cli.RequiredFlag); ok && r.IsRequired() {
				t.Errorf("%s: %v is Required, which prints help to stdout", c.Name, f.Names())
			}
		}
	}
}

func TestReport(t *testing.T) {
	tests := []struct {
		err  error
		code int
		text string
	}{
		{nil, exitDone, ""},
		{errors.New("one\ntwo\x1b[31m"), exitFailed, "taskhub: one; two\\x1b[31m\n"},
		{usagef("info", "no"), exitUsage, "taskhub: no (see taskhub info --help)\n"},
		{&skippedError{"some"}, exitSkipped, "taskhub: some\n"},
		{errInterrupted, exitInterrupted, "taskhub: interrupted\n"},
		{&os.PathError{Op: "write", Path: "p", Err: syscall.EPIPE}, exitFailed, ""},
	}
	for _, tt := range tests {
		var b bytes.Buffer
		report(&b, tt.err, false)
		if got := exitCode(tt.err); got != tt.code || b.String() != tt.text {
			t.Errorf("report(%v) = %q with exit code %d, want %q with %d", tt.err, &b, got, tt.text, tt.code)
		}
	}
}
