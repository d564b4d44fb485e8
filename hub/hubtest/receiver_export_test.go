package hubtest

import (
	"sync"
	"testing"
)

// RunReceiverRecorded runs the suite up to the first check that fails and returns
// its failures in place of reporting them to t.
func RunReceiverRecorded(t testing.TB, open OpenReceived) []string {
	rec := &recorder{TB: t}
	for _, c := range receiverChecks {
		var wg sync.WaitGroup
		wg.Add(1)
		go func() { // Fatal ends the goroutine
			defer wg.Done()
			runReceiverCheck(rec, open, c)
		}()
		wg.Wait()
		if len(rec.failures) > 0 {
			break
		}
	}
	return rec.failures
}
