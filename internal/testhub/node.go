package testhub

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// dialogue is a script of the folder node that reads requests and writes answers,
// each a JSON value.
type dialogue struct {
	stdin  io.WriteCloser
	stdout io.Reader
	in     *json.Encoder
	out    *json.Decoder
}

// nodeScript returns Node.js and the path of a file in the folder node. what needs
// them is for people. Without them it skips t, or fails it as unavailable says.
func nodeScript(t testing.TB, required, what, name string) (node, script string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		unavailable(t, required, "%s needs Node.js: %v", what, err)
	}
	if script, err = nodeFile(name); err != nil {
		unavailable(t, required, "%s needs the sources of package testhub: %v", what, err)
	}
	return node, script
}

// startDialogue starts cmd, whose errors go into the log of t. The caller waits for
// its end.
func startDialogue(t testing.TB, cmd *exec.Cmd) *dialogue {
	t.Helper()
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &dialogue{stdin: stdin, stdout: stdout, in: json.NewEncoder(stdin), out: json.NewDecoder(stdout)}
}

// greet waits until the script is ready. Of what it is a script and why it is not
// are for people.
func (d *dialogue) greet(t testing.TB, required, what, why string) {
	t.Helper()
	var hello struct{ Ready, Missing string }
	if err := d.out.Decode(&hello); err != nil {
		t.Fatalf("start %s: %v", what, err)
	}
	if hello.Ready == "" {
		unavailable(t, required, "%s: %s", why, hello.Missing)
	}
}

// nodeFile returns the path of a file in the folder node beside this source.
func nodeFile(name string) (string, error) {
	_, source, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("no source position")
	}
	path := filepath.Join(filepath.Dir(source), "node", name)
	_, err := os.Stat(path)
	return path, err
}

// unavailable skips t because something that it needs is not installed, or
// fails it if the environment variable required says that nothing may be
// skipped.
func unavailable(t testing.TB, required, format string, args ...any) {
	t.Helper()
	if os.Getenv(required) == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
