package schema

import "strconv"

// EventType is the kind of a history event. History rows store its name,
// messages its number.
//
// Source: durabletask 2.9.1, History/EventType.cs:22-133.
type EventType int

// The event types. ExecutionFailed has no class in the framework and HistoryState
// is never written to Azure Storage; both are kept if found.
const (
	TypeExecutionStarted EventType = iota
	TypeExecutionCompleted
	TypeExecutionFailed
	TypeExecutionTerminated
	TypeTaskScheduled
	TypeTaskCompleted
	TypeTaskFailed
	TypeSubOrchestrationCreated
	TypeSubOrchestrationCompleted
	TypeSubOrchestrationFailed
	TypeTimerCreated
	TypeTimerFired
	TypeOrchestratorStarted
	TypeOrchestratorCompleted
	TypeEventSent
	TypeEventRaised
	TypeContinueAsNew
	TypeGeneric
	TypeHistoryState
	TypeExecutionSuspended
	TypeExecutionResumed
	TypeExecutionRewound

	// TypeUnknown is any name or number that is not listed here.
	TypeUnknown EventType = -1
)

var eventNames = [...]string{
	"ExecutionStarted", "ExecutionCompleted", "ExecutionFailed", "ExecutionTerminated",
	"TaskScheduled", "TaskCompleted", "TaskFailed",
	"SubOrchestrationInstanceCreated", "SubOrchestrationInstanceCompleted", "SubOrchestrationInstanceFailed",
	"TimerCreated", "TimerFired", "OrchestratorStarted", "OrchestratorCompleted",
	"EventSent", "EventRaised", "ContinueAsNew", "GenericEvent", "HistoryState",
	"ExecutionSuspended", "ExecutionResumed", "ExecutionRewound",
}

// String returns the name that history rows store, such as TaskCompleted.
func (t EventType) String() string {
	if t < 0 || int(t) >= len(eventNames) {
		return "EventType(" + strconv.Itoa(int(t)) + ")"
	}
	return eventNames[t]
}

// EventTypeNamed returns the type with this stored name, or TypeUnknown.
func EventTypeNamed(name string) EventType {
	for t, n := range eventNames {
		if n == name {
			return EventType(t)
		}
	}
	return TypeUnknown
}

// Status is the runtime status of an orchestration or entity. Tables store its
// name, messages its number.
//
// Source: durabletask 2.9.1, OrchestrationStatus.cs:19-60.
type Status int

// The runtime statuses. StatusUnknown is what the framework reports for a row
// whose status is absent or not one of these names; it is never stored.
const (
	StatusRunning Status = iota
	StatusCompleted
	StatusContinuedAsNew
	StatusFailed
	StatusCanceled
	StatusTerminated
	StatusPending
	StatusSuspended

	StatusUnknown Status = -1
)

var statusNames = [...]string{"Running", "Completed", "ContinuedAsNew", "Failed", "Canceled", "Terminated", "Pending", "Suspended"}

// String returns the stored name, or Unknown.
func (s Status) String() string {
	if s < 0 || int(s) >= len(statusNames) {
		return "Unknown"
	}
	return statusNames[s]
}

// Terminal reports whether an instance with this status has ended.
func (s Status) Terminal() bool {
	return s == StatusCompleted || s == StatusFailed || s == StatusCanceled || s == StatusTerminated
}

// Statuses lists every status that can be stored.
func Statuses() []Status {
	all := make([]Status, len(statusNames))
	for i := range all {
		all[i] = Status(i)
	}
	return all
}

// StatusNamed returns the status with this name (case-sensitive), or StatusUnknown.
func StatusNamed(name string) Status {
	for s, n := range statusNames {
		if n == name {
			return Status(s)
		}
	}
	return StatusUnknown
}

// Optional is a value that may be absent: a column that the row does not have,
// a JSON member that is null.
type Optional[T any] struct {
	Value T
	Set   bool
}

// Some returns a value that is set.
func Some[T any](v T) Optional[T] { return Optional[T]{v, true} }

// Text is a text that may be null and may be kept in a blob.
//
// In a table row, a text of more than 30,720 UTF-16 units is stored as a blob
// whose name is in the column {Column}BlobName, and the column itself is "".
// Members that hold JSON (Tags, FailureDetails, ParentInstance, …) are Text too:
// Value is the JSON as stored, where the text null and an absent column both
// occur and are told apart.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:51-65, 1296-1344.
type Text struct {
	// Value is the text; where it is in a blob, it is empty until it is loaded.
	// The one exception is Input of an Instances row, where a checkpoint
	// replaces the value and leaves the blob's name behind: there a Value that
	// is not empty counts, not the blob.
	Value string
	// Blob is the name of the blob in the hub's large-message container, or
	// empty.
	Blob string
	// Set is false for null.
	Set    bool
	loaded bool
}

// Load sets the value of a text that is kept in a blob. Encoding still stores
// the blob's name and not the value.
func (t *Text) Load(value string) { t.Value, t.loaded = value, true }

// TextOf returns a Text that is set and inline.
func TextOf(s string) Text { return Text{Value: s, Set: true} }

// IsNull reports whether t holds nothing: null, or as JSON the text null.
func (t Text) IsNull() bool { return t.Blob == "" && (!t.Set || t.Value == "null") }

// Event is one history event. Its concrete type is a pointer to one of the
// struct types of this package, such as *TaskScheduled, or *UnknownEvent.
//
// The same types serve history rows and queue messages. Members that hold JSON
// are in the form of their source: messages have $type in nested objects, rows
// have not.
type Event interface {
	// Type returns the event type, or TypeUnknown.
	Type() EventType
	// Header returns what every event has.
	Header() *EventHeader
	fields(v visitor)
}

// EventHeader is what every event has.
type EventHeader struct {
	// EventID is the orchestrator's sequential action number from 0, -1 for
	// events that arrive as messages, and -100 for internal timers.
	EventID int32
	// IsPlayed tells whether in-process replay had already consumed the event.
	IsPlayed bool
	// Timestamp is when the event object was made, by the clock of whoever
	// made it. For TimerFired that is when the timer was created.
	Timestamp Ticks
}

// Header returns h itself.
func (h *EventHeader) Header() *EventHeader { return h }

// visitor is told the members of an event or row, once each, in the order in
// which the framework writes them to JSON. Its implementations read and write
// rows, read and write message JSON, and load blobs; the structure of each event
// is stated in one place, its fields method.
type visitor interface {
	// eventType marks the place of the member EventType.
	eventType(t EventType)
	str(name string, p *Optional[string])
	text(name string, p *Text)              // offloadable
	json(name string, p *Text, f jsonField) // JSON in a column, an object in a message
	status(name string, p *Optional[Status])
	int32(name string, p *int32)
	optInt32(name string, p *Optional[int32])
	time(name string, p *Ticks)
	optTime(name string, p *Optional[Ticks])
	optBool(name string, p *Optional[bool])
}

// jsonField tells the rules of a member that holds JSON.
type jsonField uint8

const (
	jsonPlain       jsonField = 0
	jsonOffloadable jsonField = 1 << iota
	// jsonCore3 marks a member that messages have since Core 3 only.
	jsonCore3
)

// newEvent returns an empty event of a type, or nil if it has no class.
func newEvent(t EventType) Event {
	switch t {
	case TypeExecutionStarted:
		return new(ExecutionStarted)
	case TypeExecutionCompleted:
		return new(ExecutionCompleted)
	case TypeExecutionTerminated:
		return new(ExecutionTerminated)
	case TypeTaskScheduled:
		return new(TaskScheduled)
	case TypeTaskCompleted:
		return new(TaskCompleted)
	case TypeTaskFailed:
		return new(TaskFailed)
	case TypeSubOrchestrationCreated:
		return new(SubOrchestrationCreated)
	case TypeSubOrchestrationCompleted:
		return new(SubOrchestrationCompleted)
	case TypeSubOrchestrationFailed:
		return new(SubOrchestrationFailed)
	case TypeTimerCreated:
		return new(TimerCreated)
	case TypeTimerFired:
		return new(TimerFired)
	case TypeOrchestratorStarted:
		return new(OrchestratorStarted)
	case TypeOrchestratorCompleted:
		return new(OrchestratorCompleted)
	case TypeEventSent:
		return new(EventSent)
	case TypeEventRaised:
		return new(EventRaised)
	case TypeContinueAsNew:
		return new(ContinueAsNew)
	case TypeGeneric:
		return new(GenericEvent)
	case TypeHistoryState:
		return new(HistoryState)
	case TypeExecutionSuspended:
		return new(ExecutionSuspended)
	case TypeExecutionResumed:
		return new(ExecutionResumed)
	case TypeExecutionRewound:
		return new(ExecutionRewound)
	}
	return nil
}
