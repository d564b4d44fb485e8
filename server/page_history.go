package server

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Limits of a page of a history.
const (
	defaultEvents = 200
	maxEvents     = 1000
	// Up to streamedEvents a history is read from its beginning; what is further
	// back is asked for row by row, parallelRows at once, as storage cannot begin
	// in the middle of a partition.
	streamedEvents = 2000
	parallelRows   = 16
	// maxTextListed is how much of a text is shown in a list.
	maxTextListed = 240
	// maxTextShown is how much of each text is shown with its event.
	maxTextShown = 16 << 10
)

// historyPage is a part of a history: the events of the current execution at the
// positions from First on.
type historyPage struct {
	Execution string `json:"execution_id"`
	First     int64  `json:"first"`
	// Next is the position of the first event after the page; -1 if there is none.
	Next int64 `json:"next"`
	// Total is the number of positions. With TotalSearched it was found by looking
	// for the last one, which a gap in the history misleads.
	Total         int64        `json:"total"`
	TotalSearched bool         `json:"total_searched"`
	Events        []shownEvent `json:"events"`
}

// shownEvent is one event of a history.
type shownEvent struct {
	RowKey string `json:"row_key"`
	// Sequence is its position; -1 for a row whose key is none.
	Sequence int64    `json:"sequence"`
	Type     string   `json:"type"`
	Time     pageTime `json:"time"`
	EventID  int32    `json:"event_id"`
	// Answers is the EventID of what it is the result of; -1 without.
	Answers int32  `json:"answers"`
	Name    string `json:"name"`
	// Peer is the child, the parent, or whom an event is sent to.
	Peer   string   `json:"peer"`
	Due    pageTime `json:"due"`
	Status string   `json:"status,omitempty"`
	Failed bool     `json:"failed"`
	// Was is the type that the row had before a rewind has changed it.
	Was   string        `json:"was,omitempty"`
	Texts []shownColumn `json:"texts"`
	// Problem is what of the row could not be read.
	Problem string `json:"problem,omitempty"`
}

// historyData shows a part of a history.
func (s *Server) historyData(ctx context.Context, p *pageRequest) (any, error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	first, err := p.number("first", 0, -1, 1<<53)
	if err != nil {
		return nil, err
	}
	limit, err := p.number("limit", defaultEvents, 1, maxEvents)
	if err != nil {
		return nil, err
	}
	w := &historyWindow{s: s, h: p.hub, keys: hub.Partition(schema.EscapeKey(id)), limit: limit}
	if err := w.read(ctx, first); err != nil {
		return nil, err
	}
	return &w.page, nil
}

// historyWindow reads a part of the current execution of an instance. It holds one
// row at a time, or of those that it picks one for each that is asked for at once.
type historyWindow struct {
	s        *Server
	h        *served
	keys     hub.Keys
	limit    int64
	sentinel *schema.Row
	page     historyPage
}

// read reads the events from a position on; -1 means the last ones.
func (w *historyWindow) read(ctx context.Context, first int64) (err error) {
	if w.sentinel, err = rowAt(ctx, w.h, w.keys, schema.SentinelRowKey); err != nil {
		return err
	}
	from := first
	if first < 0 {
		from = 1 << 53 // beyond any: only to count
	}
	ended, at, err := w.stream(ctx, from)
	if err != nil {
		return err
	}
	p := &w.page
	if !ended {
		if p.Total, err = w.end(ctx, at); err != nil {
			return err
		}
		p.TotalSearched = true
	}
	switch {
	case first < 0 && ended:
		_, _, err = w.stream(ctx, max(0, p.Total-w.limit))
		return err
	case first < 0:
		p.First = max(0, p.Total-w.limit)
		return w.pick(ctx)
	case !ended && at < first:
		return w.pick(ctx)
	}
	return nil
}

// stream reads from the beginning: all of a short history, and of a long one as far
// as the window if that begins soon. It tells whether it has come to the end, and
// the last position that it has seen.
func (w *historyWindow) stream(ctx context.Context, first int64) (ended bool, at int64, err error) {
	p := &w.page
	*p = historyPage{First: first, Next: -1, Events: []shownEvent{}}
	begun, read := false, 0
	for row, err := range w.h.Reader.Rows(ctx, hub.History, w.keys) {
		if err != nil {
			return false, 0, err
		}
		if row.IsSentinel() {
			continue
		}
		if !begun {
			begun, p.Execution = true, strings.Clone(schema.CurrentExecution(w.sentinel, &row))
		}
		if execution, _ := row.Get("ExecutionId").Text(); execution != p.Execution {
			return true, at, nil // what an earlier, longer execution has left
		}
		if n, ok := schema.ParseSequence(row.RowKey); ok {
			at = n
			p.Total = n + 1
		}
		inside := at >= first && at < first+w.limit
		switch {
		case inside:
			p.Events = append(p.Events, w.s.shownEvent(&row, maxTextListed))
		case at >= first && p.Next < 0:
			p.Next = at
		}
		if read++; read > streamedEvents && !inside {
			return false, at, nil
		}
	}
	return true, at, nil
}

// end returns the number of positions of a history that has an event at a
// position: it looks for the last event by halves.
func (w *historyWindow) end(ctx context.Context, at int64) (int64, error) {
	there := func(n int64) (bool, error) {
		row, err := rowAt(ctx, w.h, w.keys, schema.FormatSequence(n))
		if err != nil || row == nil {
			return false, err
		}
		execution, _ := row.Get("ExecutionId").Text()
		return execution == w.page.Execution, nil
	}
	low, high := at, at+streamedEvents
	for high < 1<<53 {
		ok, err := there(high)
		if err != nil {
			return 0, err
		}
		if !ok {
			break
		}
		low, high = high, high+2*(high-low)
	}
	for high-low > 1 { // there is an event at low, and none at high
		middle := low + (high-low)/2
		ok, err := there(middle)
		if err != nil {
			return 0, err
		}
		if ok {
			low = middle
		} else {
			high = middle
		}
	}
	return low + 1, nil
}

// pick reads the rows of the window one by one, several at once.
func (w *historyWindow) pick(ctx context.Context) error {
	p := &w.page
	found := make([]*shownEvent, max(0, min(w.limit, p.Total-p.First)))
	err := inParallel(ctx, parallelRows, len(found), func(ctx context.Context, i int) error {
		row, err := rowAt(ctx, w.h, w.keys, schema.FormatSequence(p.First+int64(i)))
		if err != nil || row == nil {
			return err
		}
		if execution, _ := row.Get("ExecutionId").Text(); execution == p.Execution {
			e := w.s.shownEvent(row, maxTextListed)
			found[i] = &e
		}
		return nil
	})
	for _, e := range found {
		if e != nil {
			p.Events = append(p.Events, *e)
		}
	}
	p.Next = -1
	if p.First+w.limit < p.Total {
		p.Next = p.First + w.limit
	}
	return err
}

// inParallel calls do for 0 to n-1, so many at once, and returns the first error.
func inParallel(ctx context.Context, workers, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(workers, n) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

// shownEvent describes a row of history, with n bytes at most of each text.
func (s *Server) shownEvent(row *schema.Row, n int) shownEvent {
	h, err := schema.DecodeHistoryRow(row)
	head := h.Event.Header()
	out := shownEvent{
		RowKey: row.RowKey, Sequence: -1, Type: h.Event.Type().String(), Time: pageTime(head.Timestamp), EventID: head.EventID, Answers: -1,
		Texts: s.payloadColumns(row, n),
	}
	if out.Texts == nil {
		out.Texts = []shownColumn{}
	}
	if seq, ok := schema.ParseSequence(row.RowKey); ok {
		out.Sequence = seq
	}
	if err != nil {
		out.Problem = err.Error()
	}
	if was, ok := h.Rewound(); ok {
		out.Was = was
	}
	out.describe(h.Event)
	out.Name = shorten(out.Name)
	return out
}

// shorten returns a name as it is shown in a list.
func shorten(name string) string {
	if len(name) <= maxIndexedName {
		return name
	}
	return head(name, maxIndexedName) + "…"
}

// describe adds what is particular about the type of an event.
func (e *shownEvent) describe(event schema.Event) {
	switch v := event.(type) {
	case *schema.UnknownEvent:
		e.Type = shorten(v.Name)
	case *schema.ExecutionStarted:
		e.Name = v.Name.Value
		if parent, err := schema.ParseParentInstance(v.ParentInstance); err == nil && parent != nil {
			e.Peer = parent.OrchestrationInstance.InstanceID
		}
	case *schema.ExecutionCompleted:
		e.Status = v.OrchestrationStatus.Value.String()
		e.Failed = v.OrchestrationStatus.Value == schema.StatusFailed
	case *schema.ContinueAsNew:
		e.Status = schema.StatusContinuedAsNew.String()
	case *schema.TaskScheduled:
		e.Name = v.Name.Value
	case *schema.TaskCompleted:
		e.Answers = v.TaskScheduledID
	case *schema.TaskFailed:
		e.Answers, e.Failed = v.TaskScheduledID, true
	case *schema.SubOrchestrationCreated:
		e.Name, e.Peer = v.Name.Value, v.InstanceID.Value
	case *schema.SubOrchestrationCompleted:
		e.Answers = v.TaskScheduledID
	case *schema.SubOrchestrationFailed:
		e.Answers, e.Failed = v.TaskScheduledID, true
	case *schema.TimerCreated:
		e.Due = pageTime(v.FireAt)
	case *schema.TimerFired:
		e.Answers, e.Due = v.TimerID, pageTime(v.FireAt)
	case *schema.EventSent:
		e.Name, e.Peer = v.Name.Value, v.InstanceID.Value
	case *schema.EventRaised:
		e.Name = v.Name.Value
	}
}

// eventDetail is one event with all columns of its row.
type eventDetail struct {
	shownEvent
	StoredAt pageTime      `json:"stored_at"`
	ETag     string        `json:"etag"`
	Columns  []shownColumn `json:"columns"`
}

// eventData shows one event.
func (s *Server) eventData(ctx context.Context, p *pageRequest) (any, error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	row, err := historyRow(ctx, p.hub, id, p.query.Get("row"))
	if err != nil {
		return nil, err
	}
	return &eventDetail{s.shownEvent(row, maxTextShown), pageTime(row.Timestamp), row.ETag, s.columns(row, maxColumnShown)}, nil
}

// historyRow returns a row of an instance's history.
func historyRow(ctx context.Context, h *served, id, rowKey string) (*schema.Row, error) {
	if rowKey == "" {
		return nil, badRequest("The row is missing.")
	}
	row, err := rowAt(ctx, h, hub.Partition(schema.EscapeKey(id)), rowKey)
	if err == nil && row == nil {
		err = &pageError{status: http.StatusNotFound, Message: "There is no such event.", Hint: "The instance may have moved on. Look at its history again."}
	}
	return row, err
}
