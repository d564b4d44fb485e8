package replay

import "github.com/taskhub-tools/taskhub/schema"

// ReadRecord reads a row in the fast way: whether the slow way has to look at it,
// its type, and the event if it is an ExecutionStarted.
func ReadRecord(row *schema.Row) (unusual bool, kind schema.EventType, header schema.EventHeader, started *schema.ExecutionStarted) {
	var e record
	e.read(row)
	if e.kind == schema.TypeExecutionStarted {
		started = e.started(row, nil)
	}
	return e.unusual, e.kind, schema.EventHeader{EventID: e.eventID, Timestamp: e.at}, started
}

// ReadSentinel reads a sentinel in the fast way.
var ReadSentinel = readSentinel
