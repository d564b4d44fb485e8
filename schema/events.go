package schema

// Members are declared in the order in which the framework writes them into
// messages; rows have no order. Sources: durabletask 2.9.1, History/*.cs, and
// the recorded hubs, which hold every type but ContinueAsNew, ExecutionResumed,
// ExecutionRewound and HistoryState.

// ExecutionStarted begins an execution.
type ExecutionStarted struct {
	EventHeader
	OrchestrationInstance Text // JSON: own instance and execution ID
	ParentInstance        Text // JSON: null at the top level
	Name                  Text
	Version               Optional[string]
	Input                 Text
	Tags                  Text // JSON object of strings
	Correlation           Text
	ParentTraceContext    Text // JSON
	ScheduledStartTime    Optional[Ticks]
	// Generation counts re-creations of an instance by clients; absent in
	// children and after ContinueAsNew.
	Generation       Optional[int32]
	GenerateNewTrace Optional[bool] // since Core 3.9
}

// Type returns TypeExecutionStarted.
func (*ExecutionStarted) Type() EventType { return TypeExecutionStarted }

func (e *ExecutionStarted) fields(v visitor) {
	v.json("OrchestrationInstance", &e.OrchestrationInstance, jsonPlain)
	v.eventType(e.Type())
	v.json("ParentInstance", &e.ParentInstance, jsonPlain)
	v.text("Name", &e.Name)
	v.str("Version", &e.Version)
	v.text("Input", &e.Input)
	v.json("Tags", &e.Tags, jsonOffloadable)
	v.text("Correlation", &e.Correlation)
	v.json("ParentTraceContext", &e.ParentTraceContext, jsonPlain)
	v.optTime("ScheduledStartTime", &e.ScheduledStartTime)
	v.optInt32("Generation", &e.Generation)
	v.optBool("GenerateNewTrace", &e.GenerateNewTrace)
}

// ExecutionCompleted ends an execution.
type ExecutionCompleted struct {
	EventHeader
	OrchestrationStatus Optional[Status] // absent reads as Running
	Result              Text
	FailureDetails      Text // JSON
}

// Type returns TypeExecutionCompleted.
func (*ExecutionCompleted) Type() EventType { return TypeExecutionCompleted }

func (e *ExecutionCompleted) fields(v visitor) {
	v.eventType(e.Type())
	v.status("OrchestrationStatus", &e.OrchestrationStatus)
	v.text("Result", &e.Result)
	v.json("FailureDetails", &e.FailureDetails, jsonOffloadable)
}

// ContinueAsNew ends an execution that is followed by another. Versions from
// 1.6.0 on never store it.
type ContinueAsNew struct {
	EventHeader
	OrchestrationStatus Optional[Status]
	Result              Text // input of the next execution
	FailureDetails      Text
}

// Type returns TypeContinueAsNew.
func (*ContinueAsNew) Type() EventType { return TypeContinueAsNew }

func (e *ContinueAsNew) fields(v visitor) {
	v.eventType(e.Type())
	v.status("OrchestrationStatus", &e.OrchestrationStatus)
	v.text("Result", &e.Result)
	v.json("FailureDetails", &e.FailureDetails, jsonOffloadable)
}

// ExecutionTerminated asks an execution to end. The status changes only with
// the ExecutionCompleted that follows.
type ExecutionTerminated struct {
	EventHeader
	Input Text // the reason
}

// Type returns TypeExecutionTerminated.
func (*ExecutionTerminated) Type() EventType { return TypeExecutionTerminated }

func (e *ExecutionTerminated) fields(v visitor) {
	v.eventType(e.Type())
	v.text("Input", &e.Input)
}

// ExecutionSuspended pauses an execution.
type ExecutionSuspended struct {
	EventHeader
	Reason Text
}

// Type returns TypeExecutionSuspended.
func (*ExecutionSuspended) Type() EventType { return TypeExecutionSuspended }

func (e *ExecutionSuspended) fields(v visitor) {
	v.eventType(e.Type())
	v.text("Reason", &e.Reason)
}

// ExecutionResumed continues a suspended execution.
type ExecutionResumed struct {
	EventHeader
	Reason Text
}

// Type returns TypeExecutionResumed.
func (*ExecutionResumed) Type() EventType { return TypeExecutionResumed }

func (e *ExecutionResumed) fields(v visitor) {
	v.eventType(e.Type())
	v.text("Reason", &e.Reason)
}

// ExecutionRewound restarts a failed execution; Azure Storage hubs rewind by
// other means (see GenericEvent) and are not expected to hold it.
type ExecutionRewound struct {
	EventHeader
	Reason             Text
	ParentExecutionID  Optional[string]
	InstanceID         Optional[string]
	ParentTraceContext Text
}

// Type returns TypeExecutionRewound.
func (*ExecutionRewound) Type() EventType { return TypeExecutionRewound }

func (e *ExecutionRewound) fields(v visitor) {
	v.eventType(e.Type())
	v.text("Reason", &e.Reason)
	v.str("ParentExecutionId", &e.ParentExecutionID)
	v.str("InstanceId", &e.InstanceID)
	v.json("ParentTraceContext", &e.ParentTraceContext, jsonPlain)
}

// TaskScheduled starts an activity. Its input is in the message; the row has it
// only if the app stores inputs.
type TaskScheduled struct {
	EventHeader
	Name               Text
	Version            Optional[string]
	Input              Text
	ParentTraceContext Text
	Tags               Text // since Core 3.2
}

// Type returns TypeTaskScheduled.
func (*TaskScheduled) Type() EventType { return TypeTaskScheduled }

func (e *TaskScheduled) fields(v visitor) {
	v.eventType(e.Type())
	v.text("Name", &e.Name)
	v.str("Version", &e.Version)
	v.text("Input", &e.Input)
	v.json("ParentTraceContext", &e.ParentTraceContext, jsonPlain)
	v.json("Tags", &e.Tags, jsonOffloadable|jsonCore3)
}

// TaskCompleted is the result of an activity.
type TaskCompleted struct {
	EventHeader
	TaskScheduledID int32 // EventID of the TaskScheduled
	Result          Text
}

// Type returns TypeTaskCompleted.
func (*TaskCompleted) Type() EventType { return TypeTaskCompleted }

func (e *TaskCompleted) fields(v visitor) {
	v.eventType(e.Type())
	v.int32("TaskScheduledId", &e.TaskScheduledID)
	v.text("Result", &e.Result)
}

// TaskFailed is the failure of an activity. Details and FailureDetails exclude
// each other.
type TaskFailed struct {
	EventHeader
	TaskScheduledID int32
	Reason          Text
	Details         Text
	FailureDetails  Text
}

// Type returns TypeTaskFailed.
func (*TaskFailed) Type() EventType { return TypeTaskFailed }

func (e *TaskFailed) fields(v visitor) {
	v.eventType(e.Type())
	v.int32("TaskScheduledId", &e.TaskScheduledID)
	v.text("Reason", &e.Reason)
	v.text("Details", &e.Details)
	v.json("FailureDetails", &e.FailureDetails, jsonOffloadable)
}

// SubOrchestrationCreated starts a child.
type SubOrchestrationCreated struct {
	EventHeader
	Name         Text
	Version      Optional[string]
	InstanceID   Optional[string] // the child's
	Input        Text
	ClientSpanID Optional[string]
	Tags         Text // since Core 3.7
}

// Type returns TypeSubOrchestrationCreated.
func (*SubOrchestrationCreated) Type() EventType { return TypeSubOrchestrationCreated }

func (e *SubOrchestrationCreated) fields(v visitor) {
	v.eventType(e.Type())
	v.text("Name", &e.Name)
	v.str("Version", &e.Version)
	v.str("InstanceId", &e.InstanceID)
	v.text("Input", &e.Input)
	v.str("ClientSpanId", &e.ClientSpanID)
	v.json("Tags", &e.Tags, jsonOffloadable|jsonCore3)
}

// SubOrchestrationCompleted is the result of a child.
type SubOrchestrationCompleted struct {
	EventHeader
	TaskScheduledID int32 // EventID of the SubOrchestrationCreated
	Result          Text
}

// Type returns TypeSubOrchestrationCompleted.
func (*SubOrchestrationCompleted) Type() EventType { return TypeSubOrchestrationCompleted }

func (e *SubOrchestrationCompleted) fields(v visitor) {
	v.eventType(e.Type())
	v.int32("TaskScheduledId", &e.TaskScheduledID)
	v.text("Result", &e.Result)
}

// SubOrchestrationFailed is the failure or termination of a child.
type SubOrchestrationFailed struct {
	EventHeader
	TaskScheduledID int32
	Reason          Text
	Details         Text
	FailureDetails  Text
}

// Type returns TypeSubOrchestrationFailed.
func (*SubOrchestrationFailed) Type() EventType { return TypeSubOrchestrationFailed }

func (e *SubOrchestrationFailed) fields(v visitor) {
	v.eventType(e.Type())
	v.int32("TaskScheduledId", &e.TaskScheduledID)
	v.text("Reason", &e.Reason)
	v.text("Details", &e.Details)
	v.json("FailureDetails", &e.FailureDetails, jsonOffloadable)
}

// TimerCreated starts a durable timer.
type TimerCreated struct {
	EventHeader
	FireAt Ticks
}

// Type returns TypeTimerCreated.
func (*TimerCreated) Type() EventType { return TypeTimerCreated }

func (e *TimerCreated) fields(v visitor) {
	v.eventType(e.Type())
	v.time("FireAt", &e.FireAt)
}

// TimerFired is the end of a timer. Its Timestamp is that of the timer's
// creation.
type TimerFired struct {
	EventHeader
	TimerID int32 // EventID of the TimerCreated
	FireAt  Ticks
}

// Type returns TypeTimerFired.
func (*TimerFired) Type() EventType { return TypeTimerFired }

func (e *TimerFired) fields(v visitor) {
	v.eventType(e.Type())
	v.int32("TimerId", &e.TimerID)
	v.time("FireAt", &e.FireAt)
}

// OrchestratorStarted begins an episode.
type OrchestratorStarted struct{ EventHeader }

// Type returns TypeOrchestratorStarted.
func (*OrchestratorStarted) Type() EventType { return TypeOrchestratorStarted }

func (e *OrchestratorStarted) fields(v visitor) { v.eventType(e.Type()) }

// OrchestratorCompleted ends an episode.
type OrchestratorCompleted struct{ EventHeader }

// Type returns TypeOrchestratorCompleted.
func (*OrchestratorCompleted) Type() EventType { return TypeOrchestratorCompleted }

func (e *OrchestratorCompleted) fields(v visitor) { v.eventType(e.Type()) }

// EventSent is an event or entity operation sent to another instance.
type EventSent struct {
	EventHeader
	InstanceID Optional[string] // the target's
	Name       Text
	Input      Text
}

// Type returns TypeEventSent.
func (*EventSent) Type() EventType { return TypeEventSent }

func (e *EventSent) fields(v visitor) {
	v.eventType(e.Type())
	v.str("InstanceId", &e.InstanceID)
	v.text("Name", &e.Name)
	v.text("Input", &e.Input)
}

// EventRaised is an event or entity operation received.
type EventRaised struct {
	EventHeader
	Name               Text
	Input              Text
	ParentTraceContext Text
}

// Type returns TypeEventRaised.
func (*EventRaised) Type() EventType { return TypeEventRaised }

func (e *EventRaised) fields(v visitor) {
	v.eventType(e.Type())
	v.text("Name", &e.Name)
	v.text("Input", &e.Input)
	v.json("ParentTraceContext", &e.ParentTraceContext, jsonPlain)
}

// GenericEvent is the wake-up of a rewind, or a row that a rewind has
// neutralised: see [HistoryRow.Rewound].
type GenericEvent struct {
	EventHeader
	Data Optional[string]
}

// Type returns TypeGeneric.
func (*GenericEvent) Type() EventType { return TypeGeneric }

func (e *GenericEvent) fields(v visitor) {
	v.str("Data", &e.Data)
	v.eventType(e.Type())
}

// HistoryState is written by other storage providers only.
type HistoryState struct {
	EventHeader
	State Text // JSON
}

// Type returns TypeHistoryState.
func (*HistoryState) Type() EventType { return TypeHistoryState }

func (e *HistoryState) fields(v visitor) {
	v.eventType(e.Type())
	v.json("State", &e.State, jsonPlain)
}

// UnknownEvent is an event of a type that this package does not know. Its
// members are in the Extra of its row or message.
type UnknownEvent struct {
	EventHeader
	// Name is the type as stored: the text of the column EventType, or the
	// $type of a message's event.
	Name string
}

// Type returns TypeUnknown.
func (*UnknownEvent) Type() EventType { return TypeUnknown }

func (e *UnknownEvent) fields(v visitor) { v.eventType(TypeUnknown) }
