// Package verify looks for what is not as the framework leaves it: rows that
// contradict each other, work that nobody will do, payloads that are gone.
//
// Start with [Hub]:
//
//	findings, summary := verify.Hub(ctx, hub, verify.Options{})
//	for f, err := range findings {
//		if err != nil {
//			return err
//		}
//		fmt.Println(f.Severity, f.Code, f.InstanceID, f.Detail)
//	}
//	fmt.Println(summary.Instances, "instances")
//
// Each check is data ([Checks]) and has three outcomes for each instance or other
// subject: ok, violated, or could not tell. Only the second is a [Finding]; all
// three are counted in the [Summary].
//
// # Guarantees
//
// Everything here takes a [hub.Reader] and reads only. Stored data cannot make it
// fail: what cannot be decoded is a finding. An error means that storage could
// not be read.
//
// A capture is judged as of the time at which it was taken, never by the clock,
// and gives the same findings in the same order each time. What could merely be
// the time between the reading of two tables of a running hub is not a finding.
// On a live hub, what looks wrong is read again before it is reported.
//
// # Limits
//
// The tables are walked once, in key order, side by side. Memory holds a page of
// each, the open work of the instance that is looked at, and:
//
//   - the messages that can be seen, up to 48 MiB
//   - 16 bytes for each payload blob
//   - about 40 bytes for each sub-orchestration, for its parent, and for each
//     instance ID with capitals, up to a million of each, so that children with
//     two parents, circles of parents and IDs that differ in case are found;
//     what goes beyond is counted as unknown
//   - the keys of up to 262,144 parents and 131,072 children that wait for each
//     other and were not met yet; what goes beyond is read from storage at once
//   - of a live hub, up to 5,000 instances that look wrong, until they are read again
//
// Storage is asked for single instances only where something is open whose other
// end the walk has not shown. Histories are scanned a second time only if two of
// them seem to have started one child or if parents go round in a circle.
package verify
