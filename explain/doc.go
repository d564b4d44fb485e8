// Package explain says what one instance is doing: its status and since when,
// what it waits for, where the message is that will bring it, who owns the
// partition that has to take it, and what to try next.
//
// Start with [Instance]:
//
//	report, err := explain.Instance(ctx, hub, "order-1", explain.Options{Now: time.Now})
//	if err != nil {
//		return err
//	}
//	fmt.Println(report.Verdict)
//	for _, a := range report.Awaits {
//		fmt.Println(a.Kind, a.Name, a.Where)
//	}
//
// # What can be known
//
// History tells what an orchestration has begun and not got back; which events
// it has asked for is stored nowhere. The queues tell what waits for a worker,
// but only 32 messages each, and none that is invisible: a timer that is
// running, a start that is scheduled, work that a worker has taken. Of these
// there is only their number. So each message that must exist is [Visible],
// [Hidden], [Possible] or [Lost]: Lost is said only where the counts leave no
// room for it, and a running timer never is as long as they do. What other
// instances need of that room is not known here: package verify compares all of
// a hub.
//
// # Guarantees
//
// Everything here takes a [hub.Reader] and reads only: messages are peeked at.
// A capture is explained as of the time at which it was taken. Of a live hub the
// tables are read before the queues and once more after them, and if the
// instance has moved on in between, all is read again.
//
// # Limits
//
// The whole history of the instance is streamed; memory holds what is open in
// it, one page, and at most [MaxMessages] messages without their payloads.
// Relatives are read as far as [MaxRelatives] and [MaxRelativeRows] allow, and
// cycles end a chain.
package explain
