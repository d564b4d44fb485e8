package hubtest

import (
	"sync"
	"testing"
)

// RunEditorRecorded runs the suite up to the first check that fails and returns
// its failures in place of reporting them to t.
func RunEditorRecorded(t testing.TB, open OpenEdited) []string {
	rec := &recorder{TB: t}
	for _, c := range editorChecks {
		var wg sync.WaitGroup
		wg.Add(1)
		go func() { // Fatal ends the goroutine
			defer wg.Done()
			runEditorCheck(rec, open, c)
		}()
		wg.Wait()
		if len(rec.failures) > 0 {
			break
		}
	}
	return rec.failures
}
