// Package migrate copies task hubs from where they can be read to where they
// can be written.
//
// [Restore] puts a hub, as it was captured, into an account where it does not
// exist:
//
//	report, err := migrate.Restore(ctx, capture, account, migrate.RestoreOptions{})
//
// [Run] copies a hub to another account, name or partition count, with the work in
// flight; [Plan] says before what that means. [Pending] lists every message that the
// copy must have so that the work goes on, also those that nobody can see, and
// [Rewrite] is what changes in rows.
//
// # Guarantees
//
// The source is only read; where Options.Receive says so, messages are received
// from it and made visible again. Nothing is written into a hub that exists unless
// the caller says so. Blobs come first, then history before the rows that
// summarise it, and messages last, so that a worker that is started too early
// finds nothing to do. Every step but the sending of messages can be repeated;
// messages are sent into empty queues and counted afterwards. At the end source
// and target are read side by side and compared.
//
// A migration keeps a [Journal], with which a run that was killed is finished by
// another one from about where it was, and ends with a [Report]: what was copied
// and sent, and digests of both hubs that anyone can compute again ([Digest]).
//
// Memory is bounded by the rows and blobs in flight, whatever the size of the
// hub.
package migrate
