package main

import (
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/taskhub-tools/taskhub/internal/testhub"
)

var update = flag.Bool("update", false, "rewrite the golden files of the scripts")

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"taskhub": main})
}

func TestScripts(t *testing.T) {
	hubs, err := filepath.Abs(testhub.Testdata(t, "hubs"))
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		UpdateScripts:       *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HUBS", hubs)
			// Names that a script cannot spell.
			e.Setenv("ESC", "\x1b")
			e.Setenv("LONG_ID", strings.Repeat("x", 257))
			e.Setenv("CONTROL_ID", "ctl\x01id\x7f")
			e.Setenv("WEIRD_ID", `weird/id\with#all?and^caret`)
			e.Setenv("EMOJI_ID", "ünïcode-日本語-😀")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "absent": absent, "only": only, "damage": damage, "jsonlines": jsonLines,
		},
	})
}

// TestLiveScripts runs scripts on accounts of Azurite, each of which holds the
// hub of the recording functions-3.
func TestLiveScripts(t *testing.T) {
	hubs, err := filepath.Abs(testhub.Testdata(t, "hubs"))
	if err != nil {
		t.Fatal(err)
	}
	emulator := testhub.Azurite(t)
	testhub.Load(t, emulator, testhub.ContentOf(t, testhub.OpenHub(t, "functions-3")))
	endpoints := "BlobEndpoint=" + emulator.BlobURL + ";QueueEndpoint=" + emulator.QueueURL + ";TableEndpoint=" + emulator.TableURL
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/live",
		RequireExplicitExec: true,
		UpdateScripts:       *update,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HUBS", hubs)
			e.Setenv("CONNECTION", emulator.ConnectionString())
			e.Setenv("SIGNED", endpoints+";SharedAccessSignature="+emulator.SAS("bqt", "rl"))
			e.Setenv("WRONG", strings.Replace(emulator.ConnectionString(), emulator.Key, "c2VjcmV0"+emulator.Key[8:], 1))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "jsonlines": jsonLines, "expand": expand,
		},
	})
}

// expand FILE replaces the environment variables in a file.
func expand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: expand file")
	}
	text := os.Expand(ts.ReadFile(args[0]), ts.Getenv)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o600))
}

// exits N program args… runs a program that must end with the exit code N.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE program args...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}

// absent DIR fails if there is any file in a folder. An empty folder is fine.
func absent(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: absent dir")
	}
	err := filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return err
		case !d.IsDir():
			ts.Fatalf("%s is there", path)
		}
		return nil
	})
	ts.Check(err)
}

// only DIR NAME fails if a folder holds anything but NAME.
func only(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: only dir name")
	}
	entries, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(entries) != 1 || entries[0].Name() != args[1] {
		ts.Fatalf("%s holds %v, want only %s", args[0], entries, args[1])
	}
}

// damage HOW AT FROM TO copies a file with a defect: cut at an offset, or with a
// bit of the byte there flipped. A negative offset counts from the end.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 4 {
		ts.Fatalf("usage: damage cut|flip offset from to")
	}
	at, err := strconv.Atoi(args[1])
	ts.Check(err)
	b, err := os.ReadFile(ts.MkAbs(args[2]))
	ts.Check(err)
	if at < 0 {
		at += len(b)
	}
	switch args[0] {
	case "cut":
		b = b[:at]
	case "flip":
		b[at] ^= 1
	default:
		ts.Fatalf("unknown damage %q", args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[3]), b, 0o600))
}

// jsonlines stdout|stderr N checks that a stream is N lines of JSON objects,
// each with a type.
func jsonLines(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: jsonlines stdout|stderr count")
	}
	text := ts.ReadFile(args[0])
	lines := strings.SplitAfter(text, "\n")
	lines = lines[:len(lines)-1]
	if got := strconv.Itoa(len(lines)); got != args[1] || text != strings.Join(lines, "") {
		ts.Fatalf("%s lines, want %s, each with an end", got, args[1])
	}
	for _, l := range lines {
		var v struct{ Type string }
		if err := json.Unmarshal([]byte(l), &v); err != nil || v.Type == "" {
			ts.Fatalf("not an object with a type: %s", l)
		}
	}
}
