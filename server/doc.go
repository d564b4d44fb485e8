// Package server answers the HTTP API of Durable Functions over hubs in storage
// and captures, without a Functions host: what uses an app's API works against a
// hub whose app is off, and against a file. It also has a page for people.
//
// Start with [New]:
//
//	s, err := server.New(ctx, server.Options{
//		Hubs: []server.Hub{{Reader: capture}},
//		Now:  time.Now,
//		Wait: wait,
//	})
//	if err != nil {
//		return err
//	}
//	return s.Serve(ctx, listener)
//
// A request chooses among the hubs of [Options] with the query parameters taskHub
// and connection; the first is the default. Answers, down to the order of members
// and the spelling of times, are those recorded of the framework's extension.
//
// # Guarantees
//
// No request makes a hub. One without an Editor, as a capture, and with
// Options.ReadOnly any, is never changed: what would change it is answered 403,
// after whatever else speaks against it.
//
// What cannot be read of an instance is null in the answer, counted in the header
// X-Taskhub-Problems and logged; the rest of the instance, and of the list that it
// is in, is there all the same. An answer that cannot be finished breaks off, so
// that nobody takes it for whole.
//
// # Differences from the framework
//
//   - JSON in a payload is shown as it was stored but for white space; the
//     framework spells its numbers anew. Text that only begins with JSON is text.
//   - Errors have no stack trace.
//   - The end of a list has no continuation token, rather than an empty one. A
//     token that this server has not given is 400, and so is a negative top.
//   - Statuses in filters are taken in any case. showInput=false always hides inputs.
//   - A start or restart over an instance that has not ended is 409, a rewind of one
//     412 with the text alone; the framework answers 500 to both. Suspending what is suspended, or
//     resuming what is not, is 202 and sends nothing.
//   - A purge of many deletes only what has ended: a list of statuses without any of
//     those deletes nothing, where the framework deletes everything, and a status
//     that there is not is 400.
//   - All that is not JSON is 400, also JSON that is cut off. How long to wait is
//     checked before anything is started; nobody waits longer than 230 seconds.
//   - The answer to a start has rewindPostUri, and blanks in URLs are %20.
//   - makeprimary is 501: there is no app.
//
// # Limits
//
// A page of a list holds about 64 MiB of payloads at most, and an answer about one
// instance its payloads, each of Options.MaxPayloadBytes at most. A history is
// walked event by event: some 100 bytes for each activity of it are held, and the
// inputs of activities if they are in it, 64 MiB at most. Answers of more than
// 64 KiB are sent in pieces.
package server
