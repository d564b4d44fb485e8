package server_test

import (
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/server"
)

// Nothing that an app has made comes out, in any answer.
func TestRedactedReads(t *testing.T) {
	calls := records(t, "http-read.jsonl", 287)
	// Pieces of inputs, outputs, custom statuses, reasons, event data and entity
	// states of the hub.
	secrets := []string{"Hello ", "kaboom", "currentValue", "entityExists", "maintenance", "buggy", "myRG", "incr", "plain words", "just text", "timer done", "ünïcode"}
	plain := newServer(t, testOptions(server.Hub{Reader: testhub.OpenHub(t, "functions-3")}))
	opts := testOptions(server.Hub{Reader: testhub.OpenHub(t, "functions-3")})
	opts.Redact = true
	redacted := newServer(t, opts)
	seen, stands := make(map[string]bool), 0
	for i := range calls {
		r := &calls[i]
		open, closed := answer(plain, r.request(t, "/durabletask")), answer(redacted, r.request(t, "/durabletask"))
		if open.Code != closed.Code {
			t.Errorf("%d %s: status %d, redacted %d", r.N, r.Name, open.Code, closed.Code)
		}
		for _, s := range secrets {
			seen[s] = seen[s] || strings.Contains(open.Body.String(), s)
			if strings.Contains(closed.Body.String(), s) {
				t.Errorf("%d %s: redacted, and %q is there: %.2000s", r.N, r.Name, s, closed.Body)
			}
		}
		stands += strings.Count(closed.Body.String(), `"redacted:`)
	}
	for _, s := range secrets {
		if !seen[s] {
			t.Errorf("%q is in no answer: looking for it shows nothing", s)
		}
	}
	if stands < 900 {
		t.Errorf("%d payloads are redacted, want more", stands)
	}
	// As of printf 'maintenance window' | sha256sum.
	w := answer(redacted, jsonRequest(t, "GET", "/instances/wait-4?showHistory=true", ""))
	const want = `"redacted:18 bytes,sha256:761726e3244ce2ec4a3d31d471170d6598cf369e400222e8a31385279a711458"`
	if n := strings.Count(w.Body.String(), want); n != 2 {
		t.Errorf("%d of the reason's two places have its length and hash: %s", n, w.Body)
	}
}
