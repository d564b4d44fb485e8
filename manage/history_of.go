package manage

import (
	"context"
	"iter"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// HistoryOf streams the history of one execution of an instance in its order,
// as the framework reads it for a status: there is none unless the sentinel names
// that execution, and rows of other executions are passed over. Texts that blobs
// hold are not loaded; [Query.LoadTexts] does that. Memory is that of
// [Query.History].
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:151-246.
func (q *Query) HistoryOf(ctx context.Context, id, execution string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		keys := hub.Partition(schema.EscapeKey(id))
		sentinel, err := q.sentinel(ctx, keys)
		if err != nil {
			yield(Event{}, err)
			return
		}
		if sentinel == nil || schema.CurrentExecution(sentinel, nil) != execution {
			return
		}
		for row, err := range q.r.Rows(ctx, hub.History, keys) {
			if err != nil {
				yield(Event{}, err)
				return
			}
			if of, _ := row.Get("ExecutionId").Text(); of != execution || row.IsSentinel() {
				continue
			}
			var e Event
			e.decode(&row)
			if !yield(e, nil) {
				return
			}
		}
	}
}

// LoadTexts loads the texts of an event that are in blobs. Only the end of ctx is
// an error; what else goes wrong is added to the problems of the event.
func (q *Query) LoadTexts(ctx context.Context, e *Event) error {
	return schema.LoadTexts(e.Row.Event, func(member string, t *schema.Text) error {
		return q.loadText(ctx, e, member, t)
	})
}
