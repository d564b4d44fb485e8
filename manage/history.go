package manage

import (
	"context"
	"fmt"
	"iter"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Event is one event of an instance's history with its texts loaded.
type Event struct {
	Row schema.HistoryRow
	// Problems lists what could not be read, each with its place. A text that
	// cannot be read is null.
	Problems []error
}

// AppendJSON appends the event as the framework's history API gives it, with
// EventType as a name, on one line. An event of an unknown type has its columns
// as stored.
//
// Source: core-tools DurableManager.cs:227-245.
func (e *Event) AppendJSON(dst []byte) []byte {
	n := len(dst)
	dst = schema.AppendEventJSON(dst, e.Row.Event, true)
	if _, ok := e.Row.Event.(*schema.UnknownEvent); !ok || len(dst) == n {
		return dst
	}
	dst = dst[:len(dst)-1]
	for i := range e.Row.Extra {
		p := &e.Row.Extra[i]
		dst = append(dst, ',')
		dst = append(schema.AppendJSONString(dst, p.Name), ':')
		dst = p.Value.AppendJSON(dst)
	}
	return append(dst, '}')
}

// History streams the history of the current execution of an instance in its
// order, one event in memory beside the page that it is read from. An unknown
// instance has none.
//
// Which rows these are is stated at [schema.CurrentExecution]; the sentinel,
// which tells, is looked up first.
func (q *Query) History(ctx context.Context, id string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		keys := hub.Partition(schema.EscapeKey(id))
		sentinel, err := q.sentinel(ctx, keys)
		if err != nil {
			yield(Event{}, err)
			return
		}
		current, begun := "", false
		for row, err := range q.r.Rows(ctx, hub.History, keys) {
			if err != nil {
				yield(Event{}, err)
				return
			}
			if row.IsSentinel() {
				continue
			}
			if !begun {
				current, begun = schema.CurrentExecution(sentinel, &row), true
			}
			if execution, _ := row.Get("ExecutionId").Text(); execution != current {
				return
			}
			e, err := q.event(ctx, &row)
			if err != nil {
				yield(Event{}, err)
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (q *Query) sentinel(ctx context.Context, keys hub.Keys) (*schema.Row, error) {
	keys.RowKey = schema.SentinelRowKey
	for row, err := range q.r.Rows(ctx, hub.History, keys) {
		if err != nil {
			return nil, err
		}
		row = row.Clone()
		return &row, nil
	}
	return nil, nil
}

func (q *Query) event(ctx context.Context, row *schema.Row) (Event, error) {
	var e Event
	e.decode(row)
	return e, q.LoadTexts(ctx, &e)
}

func (e *Event) decode(row *schema.Row) {
	var err error
	if e.Row, err = schema.DecodeHistoryRow(row); err != nil {
		e.Problems = append(e.Problems, fmt.Errorf("history of %q: %w", e.Row.InstanceID(), err))
	}
}

// loadText loads a text that is in a blob.
func (q *Query) loadText(ctx context.Context, e *Event, member string, t *schema.Text) error {
	text, err := hub.LoadText(ctx, q.r, q.container, schema.StoredBlobName(t.Blob), q.opts.MaxPayloadBytes)
	switch {
	case err == nil:
		t.Load(text)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	default:
		*t = schema.Text{}
		at := strings.TrimLeft(e.Row.RowKey, "0")
		if at == "" {
			at = "0"
		}
		e.Problems = append(e.Problems, fmt.Errorf("%s of event %s of instance %q: %w", member, at, e.Row.InstanceID(), err))
	}
	return nil
}
