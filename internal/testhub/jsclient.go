package testhub

import (
	"encoding/json"
	"io"
	"os/exec"
	"testing"
)

// ClientCall is a call of a method of the JavaScript client, and how it has ended.
type ClientCall struct {
	Name string
	// Value is what the call gave, {"undefined": true} for undefined. If it has
	// failed it is nil, and Error is the text of the error.
	Value json.RawMessage
	Error string
}

// JavaScriptClient has the official client, npm durable-functions, call its methods
// as they were called for a recording of hub functions-3: calls is read or write,
// for js-read.jsonl and js-write.jsonl. binding is what a Functions host would give
// to the function. It returns the calls in order, and which methods were called.
//
// It skips t if Node.js or the npm packages of the folder node are not
// installed, and fails it instead if REQUIRE_NODE_TESTS is 1.
func JavaScriptClient(t testing.TB, binding json.RawMessage, calls string) (made []ClientCall, methods []string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		unavailable(t, "REQUIRE_NODE_TESTS", "the JavaScript client needs Node.js: %v", err)
	}
	script, err := nodeFile("client.mjs")
	if err != nil {
		unavailable(t, "REQUIRE_NODE_TESTS", "the JavaScript client needs the sources of package testhub: %v", err)
	}
	cmd := exec.CommandContext(t.Context(), node, script)
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
	defer func() {
		_, _ = io.Copy(io.Discard, stdout)
		if err := cmd.Wait(); err != nil && !t.Skipped() {
			t.Errorf("JavaScript client: %v", err)
		}
	}()
	answers := json.NewDecoder(stdout)
	var hello struct{ Ready, Missing string }
	if err := answers.Decode(&hello); err != nil {
		t.Fatalf("start the JavaScript client: %v", err)
	}
	if hello.Ready == "" {
		unavailable(t, "REQUIRE_NODE_TESTS",
			"durable-functions is not installed, run make kit or npm ci in internal/testhub/node: %s", hello.Missing)
	}
	request := map[string]any{"binding": binding, "calls": calls}
	if err := json.NewEncoder(stdin).Encode(request); err != nil {
		t.Fatal(err)
	}
	for {
		var answer struct {
			ClientCall
			Methods []string
		}
		if err := answers.Decode(&answer); err != nil {
			t.Fatalf("JavaScript client: %v after %d calls", err, len(made))
		}
		if answer.Methods != nil {
			return made, answer.Methods
		}
		made = append(made, answer.ClientCall)
	}
}
