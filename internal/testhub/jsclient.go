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
	const required = "REQUIRE_NODE_TESTS"
	node, script := nodeScript(t, required, "the JavaScript client", "client.mjs")
	cmd := exec.CommandContext(t.Context(), node, script)
	d := startDialogue(t, cmd)
	defer func() {
		_, _ = io.Copy(io.Discard, d.stdout)
		if err := cmd.Wait(); err != nil && !t.Skipped() {
			t.Errorf("JavaScript client: %v", err)
		}
	}()
	d.greet(t, required, "the JavaScript client", "durable-functions is not installed, run make kit or npm ci in internal/testhub/node")
	request := map[string]any{"binding": binding, "calls": calls}
	if err := d.in.Encode(request); err != nil {
		t.Fatal(err)
	}
	for {
		var answer struct {
			ClientCall
			Methods []string
		}
		if err := d.out.Decode(&answer); err != nil {
			t.Fatalf("JavaScript client: %v after %d calls", err, len(made))
		}
		if answer.Methods != nil {
			return made, answer.Methods
		}
		made = append(made, answer.ClientCall)
	}
}
