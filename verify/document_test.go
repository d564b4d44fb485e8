package verify_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/verify"
)

var update = flag.Bool("update", false, "rewrite docs/checks.md")

const checksIntro = `# Checks

What ` + "`taskhub verify`" + ` looks for. This page is made of the catalogue in package verify: change it there, and run
` + "`go test ./verify -run TestChecksDocument -update`" + `.

Each check has three outcomes for each of its subjects: ok, violated, or could not tell. The severity is the usual one: what a message
that is still queued will mend counts one step less, and a finding may say that it is milder or worse. An **error** keeps instances
from ending or loses data, a **warning** does no harm by itself, **info** is evidence of what has happened.

A queue shows 32 messages at most and none that is invisible. Whether a message is lost is therefore said only where the number of
messages leaves no room for it; a timer that is running is never lost work.

`

// docs/checks.md says what the catalogue says.
func TestChecksDocument(t *testing.T) {
	const path = "../docs/checks.md"
	var b strings.Builder
	b.WriteString(checksIntro + "| check | severity | of | violated when |\n|---|---|---|---|\n")
	for _, c := range verify.Checks() {
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s | %s |\n", c.Code, c.Code, c.Severity, c.Scope, c.Reason)
	}
	for _, c := range verify.Checks() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n", c.Code, c.Reason)
		for _, part := range []struct{ title, text string }{
			{"Cause", c.Cause}, {"Evidence", c.Evidence}, {"Remedy", c.Remedy}, {"Repair", c.Repair},
		} {
			if part.text != "" {
				fmt.Fprintf(&b, "\n**%s.** %s\n", part.title, part.text)
			}
		}
		if len(c.Issues) > 0 {
			fmt.Fprintf(&b, "\n**Upstream.** %s\n", strings.Join(c.Issues, ", "))
		}
	}
	want := b.String()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the catalogue says: run this test with -update", path)
	}
}

// Every check says what a person needs.
func TestChecksComplete(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range verify.Checks() {
		if seen[c.Code] {
			t.Errorf("%s is there twice", c.Code)
		}
		seen[c.Code] = true
		for what, text := range map[string]string{
			"severity": string(c.Severity), "scope": c.Scope, "reason": c.Reason, "cause": c.Cause, "evidence": c.Evidence, "remedy": c.Remedy,
		} {
			if text == "" {
				t.Errorf("%s has no %s", c.Code, what)
			}
		}
	}
}
