package server

import (
	"fmt"
	"iter"

	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

const (
	// A history of at most maxKeptEvents, with texts of maxKeptBytes, is kept between
	// the two walks over it; a longer one is read twice.
	maxKeptEvents = 500
	maxKeptBytes  = 1 << 20
	// maxInputBytes is how long the inputs of the activities and sub-orchestrations
	// of one history may be together, for they are shown where these end.
	maxInputBytes = 64 << 20
)

// history adds the history of an instance as the framework shows it: an activity
// or a sub-orchestration that has ended is one event, at the place of its end,
// and so nobody knows before that end is met whether what scheduled it is shown.
// The history is walked twice therefore.
//
// Memory is a byte for each event, some 100 bytes for each activity or
// sub-orchestration, and the inputs of those that have ended, if these are in the
// history.
//
// Source: Functions extension 2.13.7, DurableClient.cs:938-1077; recorded in the
// calls of hub functions-3.
func (c *call) history(b *body, s *manage.State, show shown) error {
	id, execution := s.Row.ID(), s.Row.ExecutionID.Value
	if execution == "" {
		return badArgument("The instance " + id + " has no execution ID.")
	}
	ctx, query := c.r.Context(), c.hub.query
	h := history{body: b, show: show, scheduled: make(map[taskKey]int)}
	var kept []manage.Event
	size := 0
	for e, err := range query.HistoryOf(ctx, id, execution) {
		if err != nil {
			return err
		}
		h.note(e.Row.Event)
		h.hide(e.Row.Event)
		if size += textSize(e.Row.Event); size <= maxKeptBytes && len(h.hidden) <= maxKeptEvents {
			kept = append(kept, e)
		} else {
			kept = nil
		}
	}
	events := query.HistoryOf(ctx, id, execution)
	if len(h.hidden) == len(kept) {
		events = all(kept)
	}
	b.add("[")
	i := 0
	for e, err := range events {
		if err != nil {
			return err
		}
		if i == len(h.hidden) || b.failed {
			break // the instance goes on meanwhile, or nobody reads this
		}
		h.hide(e.Row.Event)
		if err := query.LoadTexts(ctx, &e); err != nil {
			return err
		}
		c.problems(e.Problems)
		if !h.hidden[i] {
			h.add(&e)
		} else if err := h.remember(e.Row.Event); err != nil {
			return err
		}
		i++
	}
	b.add("]")
	return nil
}

func all(events []manage.Event) iter.Seq2[manage.Event, error] {
	return func(yield func(manage.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// history writes the events of one history.
type history struct {
	*body
	show shown
	// hidden tells for each event whether it is left out. scheduled has the position
	// of what scheduled a task, and tasks, in the second walk, what its end shows of
	// it.
	hidden    []bool
	scheduled map[taskKey]int
	tasks     map[taskKey]task
	names     map[string]string // the same for all tasks of one function
	inputs    int64             // bytes of tasks
	some      bool              // event is there already
}

// taskKey is the event ID of what scheduled an activity or, with sub, a
// sub-orchestration.
type taskKey struct {
	id  int32
	sub bool
}

// task is what the end of an activity or sub-orchestration shows of its beginning.
type task struct {
	name  schema.Text
	at    schema.Ticks
	input schema.Text
}

// beginOf returns the task that an event schedules.
func beginOf(e schema.Event) (key taskKey, t task, ok bool) {
	switch e := e.(type) {
	case *schema.TaskScheduled:
		return taskKey{e.EventID, false}, task{e.Name, e.Timestamp, e.Input}, true
	case *schema.SubOrchestrationCreated:
		return taskKey{e.EventID, true}, task{e.Name, e.Timestamp, e.Input}, true
	}
	return taskKey{}, task{}, false
}

// endOf returns the task that an event ends.
func endOf(e schema.Event) (key taskKey, ok bool) {
	switch e := e.(type) {
	case *schema.TaskCompleted:
		return taskKey{e.TaskScheduledID, false}, true
	case *schema.TaskFailed:
		return taskKey{e.TaskScheduledID, false}, true
	case *schema.SubOrchestrationCompleted:
		return taskKey{e.TaskScheduledID, true}, true
	case *schema.SubOrchestrationFailed:
		return taskKey{e.TaskScheduledID, true}, true
	}
	return taskKey{}, false
}

// note finds out in the first walk which events are hidden.
func (h *history) note(e schema.Event) {
	i := len(h.hidden)
	hidden := false
	switch e.(type) {
	case *schema.OrchestratorStarted, *schema.OrchestratorCompleted:
		hidden = true
	}
	h.hidden = append(h.hidden, hidden)
	if key, _, ok := beginOf(e); ok {
		h.scheduled[key] = i // of two with one ID the last counts
	}
	if key, ok := endOf(e); ok {
		if begin, ok := h.scheduled[key]; ok {
			h.hidden[begin] = true
		}
	}
}

// hide removes texts that are not shown, so that they are not loaded.
func (h *history) hide(e schema.Event) {
	switch e := e.(type) {
	case *schema.ExecutionStarted:
		e.Tags = schema.Text{}
		h.hideInput(&e.Input)
	case *schema.TaskScheduled:
		h.hideInput(&e.Input)
	case *schema.SubOrchestrationCreated:
		h.hideInput(&e.Input)
	case *schema.EventSent:
		h.hideInput(&e.Input)
	case *schema.EventRaised:
		h.hideInput(&e.Input)
	case *schema.ExecutionTerminated:
		h.hideInput(&e.Input)
	case *schema.TaskCompleted:
		h.hideResult(&e.Result)
	case *schema.SubOrchestrationCompleted:
		h.hideResult(&e.Result)
	case *schema.ExecutionCompleted:
		h.hideResult(&e.Result)
	}
}

// textSize returns how long the texts are that an event has in its row, those of
// the app.
func textSize(e schema.Event) int {
	texts := func(all ...schema.Text) (n int) {
		for i := range all {
			n += len(all[i].Value)
		}
		return n
	}
	switch e := e.(type) {
	case *schema.ExecutionStarted:
		return texts(e.Name, e.Input, e.Tags)
	case *schema.TaskScheduled:
		return texts(e.Name, e.Input, e.Tags)
	case *schema.SubOrchestrationCreated:
		return texts(e.Name, e.Input, e.Tags)
	case *schema.EventSent:
		return texts(e.Name, e.Input)
	case *schema.EventRaised:
		return texts(e.Name, e.Input)
	case *schema.ExecutionTerminated:
		return texts(e.Input)
	case *schema.TaskCompleted:
		return texts(e.Result)
	case *schema.SubOrchestrationCompleted:
		return texts(e.Result)
	case *schema.ExecutionCompleted:
		return texts(e.Result, e.FailureDetails)
	case *schema.TaskFailed:
		return texts(e.Reason, e.Details, e.FailureDetails)
	case *schema.SubOrchestrationFailed:
		return texts(e.Reason, e.Details, e.FailureDetails)
	}
	return maxKeptBytes / maxKeptEvents // there are few others
}

func (h *history) hideInput(t *schema.Text) {
	if !h.show.input {
		*t = schema.Text{}
	}
}

func (h *history) hideResult(t *schema.Text) {
	if !h.show.historyOutput {
		*t = schema.Text{}
	}
}

// remember keeps of a hidden event what the end of its task shows.
func (h *history) remember(e schema.Event) error {
	key, t, ok := beginOf(e)
	if !ok {
		return nil
	}
	if h.inputs += int64(len(t.input.Value)); h.inputs > maxInputBytes {
		return fmt.Errorf("the inputs of its activities and sub-orchestrations are longer than %d bytes: ask for the history with showInput=false", maxInputBytes)
	}
	if h.tasks == nil {
		h.tasks, h.names = make(map[taskKey]task), make(map[string]string)
	}
	// What a page of rows holds is not kept with it.
	name, ok := h.names[t.name.Value]
	if !ok {
		name = string([]byte(t.name.Value))
		h.names[name] = name
	}
	t.name.Value, t.input.Value = name, string([]byte(t.input.Value))
	h.tasks[key] = t
	return nil
}
