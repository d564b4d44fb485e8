package server

import (
	"strconv"

	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// add writes an event. Members are in the order of the framework's own, those that
// it puts in are last.
func (h *history) add(e *manage.Event) {
	if h.some {
		h.body.add(",")
	}
	h.some = true
	at := e.Row.Event.Header().Timestamp
	switch event := e.Row.Event.(type) {
	case *schema.ExecutionStarted:
		h.begin(event)
		h.input(event.Input)
		h.text("Correlation", event.Correlation)
		h.name("ParentTraceContext")
		h.traceContext(event.ParentTraceContext)
		h.name("ScheduledStartTime")
		if event.ScheduledStartTime.Set {
			h.time(event.ScheduledStartTime.Value, "Z")
		} else {
			h.body.add("null")
		}
		h.name("Generation")
		if event.Generation.Set {
			h.body.add(strconv.Itoa(int(event.Generation.Value)))
		} else {
			h.body.add("null")
		}
		h.name("GenerateNewTrace")
		h.body.add(strconv.FormatBool(event.GenerateNewTrace.Value))
		h.timestamp(at)
		h.text("FunctionName", event.Name)
	case *schema.ExecutionCompleted:
		h.begin(event)
		h.name("OrchestrationStatus")
		h.str(event.OrchestrationStatus.Value.String())
		h.result(event.Result)
		h.details("FailureDetails", event.FailureDetails)
		h.timestamp(at)
	case *schema.ContinueAsNew:
		h.begin(event)
		h.name("OrchestrationStatus")
		h.body.add(strconv.Itoa(int(event.OrchestrationStatus.Value)))
		h.appText("Result", event.Result)
		h.details("FailureDetails", event.FailureDetails)
		h.timestamp(at)
	case *schema.ExecutionTerminated:
		h.begin(event)
		h.input(event.Input)
		h.timestamp(at)
	case *schema.ExecutionSuspended:
		h.begin(event)
		h.appText("Reason", event.Reason)
		h.timestamp(at)
	case *schema.ExecutionResumed:
		h.begin(event)
		h.appText("Reason", event.Reason)
		h.timestamp(at)
	case *schema.ExecutionRewound:
		h.begin(event)
		h.appText("Reason", event.Reason)
		h.string("ParentExecutionId", event.ParentExecutionID)
		h.string("InstanceId", event.InstanceID)
		h.name("ParentTraceContext")
		h.traceContext(event.ParentTraceContext)
		h.timestamp(at)
	case *schema.TaskScheduled:
		h.begin(event)
		h.text("Name", event.Name)
		h.input(event.Input)
		h.name("ParentTraceContext")
		h.traceContext(event.ParentTraceContext)
		h.details("Tags", event.Tags)
		h.timestamp(at)
	case *schema.SubOrchestrationCreated:
		h.begin(event)
		h.text("Name", event.Name)
		h.string("InstanceId", event.InstanceID)
		h.input(event.Input)
		h.string("ClientSpanId", event.ClientSpanID)
		h.details("Tags", event.Tags)
		h.timestamp(at)
	case *schema.TaskCompleted:
		h.taskCompleted(event, event.Result)
	case *schema.SubOrchestrationCompleted:
		h.taskCompleted(event, event.Result)
	case *schema.TaskFailed:
		h.taskFailed(event, event.Reason, event.Details, event.FailureDetails)
	case *schema.SubOrchestrationFailed:
		h.taskFailed(event, event.Reason, event.Details, event.FailureDetails)
	case *schema.TimerCreated:
		h.begin(event)
		h.name("FireAt")
		h.time(event.FireAt, "Z")
		h.timestamp(at)
	case *schema.TimerFired:
		h.begin(event)
		h.name("FireAt")
		h.time(event.FireAt, "Z")
		h.timestamp(at)
	case *schema.EventSent:
		h.begin(event)
		h.string("InstanceId", event.InstanceID)
		h.text("Name", event.Name)
		h.input(event.Input)
		h.timestamp(at)
	case *schema.EventRaised:
		h.begin(event)
		h.text("Name", event.Name)
		h.input(event.Input)
		h.name("ParentTraceContext")
		h.traceContext(event.ParentTraceContext)
		h.timestamp(at)
	case *schema.GenericEvent:
		h.body.add(`{"Data":`)
		h.payload(schema.Text{Value: event.Data.Value, Set: event.Data.Set})
		h.body.add(`,"EventType":"GenericEvent"`)
		h.timestamp(at)
	case *schema.HistoryState:
		h.begin(event)
		h.details("State", event.State)
		h.timestamp(at)
	default:
		h.unknown(e)
		return
	}
	h.body.add("}")
}

// unknown writes an event of an unknown type as it is, with its ID.
func (h *history) unknown(e *manage.Event) {
	if h.redact {
		h.buf = schema.AppendEventJSON(h.buf, e.Row.Event, true)
	} else {
		h.buf = e.AppendJSON(h.buf)
	}
	h.spill()
}

func (h *history) begin(e schema.Event) {
	h.body.add(`{"EventType":"`)
	h.body.add(e.Type().String())
	h.body.add(`"`)
}

func (h *history) taskCompleted(e schema.Event, result schema.Text) {
	h.begin(e)
	h.result(result)
	h.timestamp(e.Header().Timestamp)
	h.begun(e)
}

func (h *history) taskFailed(e schema.Event, reason, details, failure schema.Text) {
	h.begin(e)
	h.appText("Reason", reason)
	h.appText("Details", details)
	h.details("FailureDetails", failure)
	h.timestamp(e.Header().Timestamp)
	h.begun(e)
}

// begun adds to the end of a task what is known of its beginning.
func (h *history) begun(e schema.Event) {
	key, _ := endOf(e)
	t, ok := h.tasks[key]
	if !ok {
		return
	}
	h.name("ScheduledTime")
	h.time(t.at, "+00:00") // a .NET time with a zone
	h.text("FunctionName", t.name)
	h.input(t.input)
}

func (h *history) name(name string) {
	h.body.add(`,"`)
	h.body.add(name)
	h.body.add(`":`)
}

func (h *history) string(name string, s schema.Optional[string]) {
	h.name(name)
	h.optional(s.Value, s.Set)
}

func (h *history) text(name string, t schema.Text) {
	h.name(name)
	h.optional(t.Value, t.Set)
}

func (h *history) appText(name string, t schema.Text) {
	h.name(name)
	h.payload(t)
}

func (h *history) input(t schema.Text) {
	if h.show.input {
		h.appText("Input", t)
	}
}

func (h *history) result(t schema.Text) {
	if h.show.historyOutput {
		h.name("Result")
		h.value(t)
	}
}

// details adds a text that is JSON of the framework with texts of the app in it.
func (h *history) details(name string, t schema.Text) {
	h.name(name)
	h.document(t)
}

func (h *history) traceContext(t schema.Text) {
	redact := h.redact
	h.redact = false
	h.document(t)
	h.redact = redact
}

func (h *history) timestamp(t schema.Ticks) {
	h.name("Timestamp")
	h.time(t, "Z")
}

// time adds a time without the zeros at the end of its fraction.
func (b *body) time(t schema.Ticks, zone string) {
	b.buf = t.AppendTrimmed(append(b.buf, '"'))
	b.buf = append(b.buf[:len(b.buf)-1], zone...)
	b.buf = append(b.buf, '"')
}
