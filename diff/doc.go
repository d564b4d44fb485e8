// Package diff compares two task hubs: live ones, captures, or one against the
// other.
//
// [Hubs] streams what has to change for the first hub to become the second:
//
//	for d, err := range diff.Hubs(ctx, before, after, diff.Options{}) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(d.Dataset, d.Kind, d.Key())
//	}
//
// [Open] does the same in two steps, for callers that want to know how the hubs
// are compared before, and what was compared afterwards.
//
// # What counts
//
// Rows are compared column by column with their types, the sentinel rows of the
// History table too; blobs by size and MD5, or by their content where the service
// has no MD5; messages by their decoded content, those in blobs by that of the
// blob, as multisets, because queues promise no order. Tables, queues and
// containers are known by what they are for and not by their names, so that hubs
// of different names can be compared: see [Options.Names].
//
// What the service sets and what only says who is at work does not count unless
// [Options.ServiceValues] and [Options.Owners] say so.
//
// # Guarantees
//
// Hubs are only read. Differences come in the order of [Datasets], and within one
// in key order, so that the same hubs give the same differences; with the hubs
// exchanged they are the same with added and removed exchanged.
//
// Memory is a few pages of rows of each hub, one blob, and the messages that can
// be seen of the queue at hand: at most [Options.MaxMessages] of each hub, some
// hundred bytes each. Of a live queue 32 can be seen.
//
// # Limits
//
// Invisible messages cannot be compared: they only show in the counts of queues.
// A hub that is running changes while it is read, and then the tables differ from
// each other, too.
package diff
