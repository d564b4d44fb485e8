// Package manage asks a task hub about its instances, in the way and with the
// answers of the framework's own management API: one status, a filtered list
// page by page, the history of the current execution, entities and their states.
// It also decodes the messages that wait in the queues ([Query.Messages]), sums a
// hub up ([Describe]) and says what is missing of one ([ArtifactsOf]).
//
// Start with [New]:
//
//	q, err := manage.New(ctx, hub, manage.Options{})
//	if err != nil {
//		return err
//	}
//	state, err := q.Instance(ctx, "order-1", manage.ShowAll)
//
// [Query.Wait] and [Query.WaitIdle] look until an instance, or all work, has ended.
//
// A [Control] operates instances as the framework's own clients do: it starts,
// terminates, suspends, resumes, restarts and rewinds them, raises events and
// signals entities.
//
//	c, err := manage.NewControl(ctx, hub, editor, manage.ControlOptions{Now: time.Now})
//	if err != nil {
//		return err
//	}
//	sent, err := c.Terminate(ctx, "order-1", schema.Some("cancelled by the customer"))
//
// A [Purger] deletes instances with their history and payloads, [DeleteHub] a
// whole hub. [Bulk] does the same with many instances, several at once.
//
// # Guarantees
//
// What changes something takes a [hub.Editor]; everything else a [hub.Reader], and
// reads only. A Control or Purger without an Editor tells what it would do. A row or payload that
// cannot be read is part of the answer ([State.Problems], [Event.Problems]),
// never a reason to withhold the rest. An unknown instance is no error where
// the framework makes none of it.
//
// A Control checks its arguments and the status of the instance before it writes
// anything. It writes a row only in the version that it has looked at, so that
// of two that change the same one fails with [hub.ErrConflict].
//
// # Limits
//
// A page of a list has at most [MaxPage] instances and about 64 MiB of texts.
// Histories are streamed; the plan of a rewind holds the rows that change.
//
// What a message asks for happens when a worker takes it, and a message whose
// answer from the service was lost may be there twice: an event is then raised
// twice. Nobody but a worker can take a message back.
package manage
