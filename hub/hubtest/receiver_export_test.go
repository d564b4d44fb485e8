package hubtest

import "testing"

// RunReceiverRecorded runs the suite up to the first check that fails and returns
// its failures in place of reporting them to t.
func RunReceiverRecorded(t testing.TB, open OpenReceived) []string {
	rec := &recorder{TB: t}
	return recorded(rec, receiverChecks, func(c receiverCheck) { runReceiverCheck(rec, open, c) })
}
