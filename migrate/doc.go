// Package migrate copies task hubs from where they can be read to where they
// can be written.
//
// [Restore] puts a hub, as it was captured, into an account where it does not
// exist:
//
//	report, err := migrate.Restore(ctx, capture, account, migrate.RestoreOptions{})
//
// [Pending] lists every message that a copy of a hub must have so that the work in
// flight goes on, also those that nobody can see; [Rewrite] is what has to change
// in rows when the name of the hub or account does. A migration to another name or
// partition count is made of these; it is not there yet.
//
// # Guarantees
//
// The source is only read. Nothing is written into a hub that exists unless the
// caller says so. Blobs come first, then history before the rows that summarise
// it, and messages last, so that a worker that is started too early finds
// nothing to do. Every step but the sending of messages can be repeated;
// messages are sent into empty queues and counted afterwards. At the end source
// and target are read side by side and compared.
//
// Memory is bounded by the rows and blobs in flight, whatever the size of the
// hub.
package migrate
