// Package replay computes from the stored history of an instance what the
// framework would know of it: its status, output and times, and everything that
// it still waits for. It does no I/O and knows no clock.
//
// Start with [New], give it the rows of one partition of the History table in
// key order, and take the result with [Replayer.End]:
//
//	r := replay.New(partitionKey, replay.Options{})
//	for row, err := range h.Rows(ctx, hub.History, hub.Partition(partitionKey)) {
//		if err != nil {
//			return err
//		}
//		r.Add(&row)
//	}
//	history := r.End()
//
// [Compare] tells where the row of the Instances table says something else.
//
// # Guarantees
//
// The rules are those of the framework's own runtime state, also where they
// surprise: a second completion is ignored, a suspension counts even after the
// end. Nothing that storage holds is an error here. What cannot be, or cannot be
// read, becomes an [Anomaly] with the keys of the rows that show it, and the
// replay goes on as the framework would.
//
// # Limits
//
// Memory grows with the work that is open at the same time and with nothing
// else: a history of a million events takes as much as one of ten. Beside the
// live execution, at most [MaxOverwritten] executions are replayed of which only
// a tail is left, and at most [MaxAnomalies] anomalies of each kind are kept.
//
// History does not hold the custom status, nor what an orchestrator waits for
// without having asked for it: an external event that it awaits leaves no trace
// before it arrives.
package replay
