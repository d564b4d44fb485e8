package hubtest

import "testing"

// RunEditorRecorded runs the suite up to the first check that fails and returns
// its failures in place of reporting them to t.
func RunEditorRecorded(t testing.TB, open OpenEdited) []string {
	rec := &recorder{TB: t}
	return recorded(rec, editorChecks, func(c editorCheck) { runEditorCheck(rec, open, c) })
}
