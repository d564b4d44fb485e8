// Package repair mends what package verify finds, where storage itself tells what
// it should hold.
//
// [Plan] reads a hub, live or captured, and says what it would write: a [File] that
// people can read and programs can keep. [Apply] carries out exactly this plan on
// the live hub:
//
//	f, err := repair.Plan(ctx, capture, repair.Options{Now: time.Now})
//	if err != nil {
//		return err
//	}
//	j, err := repair.OpenJournal(f, nil, undo)
//	if err != nil {
//		return err
//	}
//	report, err := repair.Apply(ctx, editor, editor, f, repair.ApplyOptions{Journal: j, Now: time.Now})
//
// # What is mended
//
// [Codes] lists the checks whose findings may be mended: the row of an instance
// that is not what its history says, a sentinel that is missing or names another
// execution, an address of another account, a rewind that was cut off, the message
// of work that is lost, the lock of an entity that nobody holds, and a message in
// the queue of another partition. Of every other finding the plan says why it is
// left alone. What will mend itself, because a message for it is still queued, is
// left alone, too.
//
// Only what nobody has damaged is believed: a row is not made from a history in
// which rows are missing. Every plan is tried on paper before it is given out:
// the hub with the plan carried out is verified, and what is still found there is
// in the plan as left.
//
// # Guarantees
//
// Plan only reads. Apply writes a row only if its content is the one that the plan
// shows as before, and in the version that it has just read, so that nothing that
// somebody else has written is lost; where something has changed, the whole repair
// is left out and told. Before each change, what takes it back is in the [Journal].
// A run that was cut off goes on with the same Journal, and [ParseFile] makes of a
// Journal a File that undoes it.
//
// Rows of the history come first, then sentinels, rows of the Instances table, and
// messages last, each over the whole plan: a worker that starts half-way finds
// nothing that contradicts itself.
//
// A message counts as sent when the service has taken it, and the Journal says so
// only after that. If a run is cut off between the two, the next run looks for the
// message in its queue, and sends it again if it cannot be seen there. A second
// start, timer, result or release is discarded by the framework, a second work item
// lets the activity run twice, and a second wake-up does nothing.
//
// # Limits
//
// A File is held in memory: at most [MaxRepairs] instances and [MaxFileBytes] of rows
// and messages. What goes beyond is left, and found by the next plan. Plan walks the
// hub once, as package verify does, and reads the instances that it mends a few
// times more.
package repair
