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
// # Guarantees
//
// Everything here takes a [hub.Reader] and reads only. A row or payload that
// cannot be read is part of the answer ([State.Problems], [Event.Problems]),
// never a reason to withhold the rest. An unknown instance is no error where
// the framework makes none of it.
//
// # Limits
//
// A page of a list has at most [MaxPage] instances and about 64 MiB of texts.
// Histories are streamed.
package manage
