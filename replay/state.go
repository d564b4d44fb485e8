package replay

import (
	"strings"

	"github.com/taskhub-tools/taskhub/schema"
)

// History is what a partition of the History table says.
type History struct {
	PartitionKey string
	InstanceID   string
	// Live is the current execution: the leading run of rows of the execution
	// that the sentinel names (see [schema.CurrentExecution]). Without any,
	// its Events is 0.
	Live State
	// Sentinel is the row that tells of the last checkpoint, or nil without one.
	Sentinel *schema.Sentinel
	// Overwritten holds the executions of which only a tail is left, in key
	// order: rows are overwritten position by position, and what a longer,
	// earlier execution had beyond the end of a later one stays. At most
	// MaxOverwritten are kept.
	Overwritten []State
	// Rows is the number of event rows in the partition: the sum of the Events of
	// Live and of all Overwritten, and Skipped.
	Rows int64
	// Skipped is the number of rows that no state counts: those beyond the end of
	// the prefix that Options asks for, those whose RowKey is that of the row
	// before, and those of executions beyond MaxOverwritten.
	Skipped int64
	// Cut is true if Options left out a part of the live history.
	Cut bool
	// Anomalies holds what cannot be or cannot be read, in the order in which it
	// was found; of each code the first MaxAnomalies.
	Anomalies []Anomaly
	// AnomalyCounts has the number of anomalies by code, those included that
	// are not kept. It is nil without any.
	AnomalyCounts map[AnomalyCode]int64

	sentinel schema.Sentinel // what Sentinel points to
}

// What a History keeps at most. A partition that reaches these limits was not
// written by the framework alone.
const (
	MaxOverwritten = 64
	MaxAnomalies   = 16 // of each code
)

// State is what one execution has come to.
type State struct {
	ExecutionID string
	// Status is what the framework derives from history: Running, Suspended, or
	// what the completion says. It is StatusUnknown without ExecutionStarted,
	// and never Pending: see RowStatus.
	//
	// Source: durabletask 2.9.1, OrchestrationRuntimeState.cs:83-98, 229-319.
	Status schema.Status
	// RowStatus is what the checkpoints, and a rewind since, wrote to the
	// RuntimeStatus of the Instances row. It differs from Status for a rewound
	// execution, whose row shows Pending until it completes, and for one that
	// was terminated without the completion that belongs to it. It is
	// StatusUnknown if nothing wrote it.
	//
	// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:934-1062, 845-869.
	RowStatus schema.Status
	// Started is the event that began the execution, nil if it is missing. Texts
	// in blobs are not loaded.
	Started *schema.ExecutionStarted
	// Completed is the completion that counts, nil while there is none. A
	// [schema.ContinueAsNew], which old versions stored, is given as an
	// ExecutionCompleted.
	Completed *schema.ExecutionCompleted
	// CreatedTime and CompletedTime are the times of these two events, zero
	// without them; LastUpdatedTime is that of the last event.
	CreatedTime, CompletedTime, LastUpdatedTime schema.Ticks
	// Parent is the parent of a sub-orchestration, nil for any other instance.
	Parent *schema.ParentInstance
	// Suspended says that events are held back; SuspendReason why, as given.
	Suspended     bool
	SuspendReason schema.Text
	// Rewound says that a rewind took back the end of the execution and that it
	// has not ended again since.
	Rewound bool
	// Episodes is the number of times that the orchestrator ran, as counted by
	// its OrchestratorStarted events.
	Episodes int64
	// Events is the number of rows that were replayed; Missing how many rows are
	// gone before the first of them, overwritten by a later execution or lost.
	Events, Missing int64
	// FirstSequence and LastSequence are the positions of the first and the last
	// row; see [schema.ParseSequence].
	FirstSequence, LastSequence int64
	// CheckpointOpen says that the last row does not end an episode: a checkpoint
	// is written in batches, and the rest of this one is not there.
	CheckpointOpen bool
	// Open holds what was begun and has no answer yet, in row order. An
	// execution that has ended waits for none of it any more.
	Open []Open
	// Duplicates is the number of results for work that already had one. The
	// framework ignores them.
	Duplicates int64

	output       schema.Text // see Output
	outputColumn string      // the column of history that it is from
	// rewoundLast says that no row has followed the rewind.
	rewoundLast bool

	last schema.EventType // type of the last row

	// Rows that show what the state says.
	started, completed, statusRow, outputRow, firstRow, lastRow place
}

// OpenKind is a kind of work that an orchestrator has begun or holds.
type OpenKind string

// Words returns the kind in words for people, such as sub-orchestration.
func (k OpenKind) Words() string {
	return strings.ReplaceAll(strings.Replace(string(k), "sub_", "sub-", 1), "_", " ")
}

// The kinds of open work.
const (
	// OpenActivity, OpenTimer and OpenSubOrchestration were begun and have no
	// result.
	OpenActivity         OpenKind = "activity"
	OpenTimer            OpenKind = "timer"
	OpenSubOrchestration OpenKind = "sub_orchestration"
	// OpenEvent is an external event that has arrived and that the orchestrator
	// has not reacted to: it has done nothing since, or it is suspended and does
	// not see it. History does not tell more: an event that nobody awaits is no
	// longer listed once the orchestrator does anything. Entities, and the
	// answers of entities, are left out.
	OpenEvent OpenKind = "event"
	// OpenEntityCall is a call of an entity that has no answer, OpenLockRequest a
	// request to lock entities that was not granted.
	OpenEntityCall  OpenKind = "entity_call"
	OpenLockRequest OpenKind = "entity_lock_request"
	// OpenLock is an entity that the orchestrator holds a lock of.
	OpenLock OpenKind = "entity_lock"
	// OpenSignal is a signal to an entity that is due only after the last event
	// of the history. Nothing waits for it, and history does not tell when it is
	// delivered.
	OpenSignal OpenKind = "entity_signal"
)

// Open is one piece of open work.
type Open struct {
	Kind OpenKind
	// EventID is that of the event that began it; -1 for external events.
	EventID int32
	RowKey  string
	// Name is that of the activity, orchestrator, event or operation; empty for
	// timers and locks.
	Name string
	// InstanceID is the child, or the entity that is called or locked. A request
	// to lock several entities has the first of them.
	InstanceID string
	// RequestID is the name of the event that answers an entity call or grants a
	// lock.
	RequestID string
	// Since is the time of the event that began it.
	Since schema.Ticks
	// FireAt is when a timer fires or a signal is due, zero for anything else.
	FireAt schema.Ticks
	// Input is the input as stored, which apps mostly leave out, or what an
	// external event carries. It is null with Options.OmitInputs.
	Input schema.Text
}

// AnomalyCode names a kind of anomaly. Codes are stable.
type AnomalyCode string

// The kinds of anomalies. Those of pairs (orphan, wrong kind, duplicate) are
// reported for the live execution only: of a tail, the other half may be gone.
const (
	// AnomalyGap: positions are missing between two rows, or before the first.
	AnomalyGap AnomalyCode = "rowkey-gap"
	// AnomalyDuplicateKey: two rows have the same position, which takes a RowKey
	// in another spelling.
	AnomalyDuplicateKey AnomalyCode = "rowkey-duplicate"
	// AnomalyMalformedKey: a RowKey is not 16 upper-case hexadecimal digits.
	AnomalyMalformedKey AnomalyCode = "rowkey-malformed"
	// AnomalyUndecodable: a column is missing or has the wrong type. The
	// framework fails to read such a history; the replay uses the rest of the row.
	AnomalyUndecodable AnomalyCode = "undecodable"
	// AnomalyUnknownEvent: an event of a type that is not known.
	AnomalyUnknownEvent AnomalyCode = "unknown-event-type"

	// AnomalySentinelMissing: there are events and no sentinel. Versions before
	// 1.1.8 wrote none.
	AnomalySentinelMissing AnomalyCode = "sentinel-missing"
	// AnomalySentinelMismatch: the sentinel names another execution than the
	// first row, so that the framework finds no history.
	AnomalySentinelMismatch AnomalyCode = "sentinel-mismatch"
	// AnomalyNoEvents: there is a sentinel and no event.
	AnomalyNoEvents AnomalyCode = "no-events"
	// AnomalyTorn: the sentinel says that the last checkpoint was not written to
	// its end. It heals when the message that caused it is delivered again.
	AnomalyTorn AnomalyCode = "torn"
	// AnomalyTruncated: the history ends within an episode although the sentinel
	// says that the last checkpoint was complete.
	AnomalyTruncated AnomalyCode = "truncated"
	// AnomalyUnclosedEpisode: an episode begins before the one before has ended:
	// a checkpoint was torn there and has healed.
	AnomalyUnclosedEpisode AnomalyCode = "unclosed-episode"

	// AnomalyNoStart: there is no ExecutionStarted.
	AnomalyNoStart AnomalyCode = "no-start"
	// AnomalySecondStart: there are two. The framework refuses such a history;
	// here the first one counts.
	AnomalySecondStart AnomalyCode = "second-start"
	// AnomalySecondCompletion: the execution ends twice. The first end counts.
	AnomalySecondCompletion AnomalyCode = "second-completion"
	// AnomalyAfterCompletion: the orchestrator ran, or got messages, after the
	// end of the execution.
	AnomalyAfterCompletion AnomalyCode = "event-after-completion"
	// AnomalyDuplicateCompletion: a second result for the same work. That is
	// benign: messages are delivered at least once, and the framework ignores it.
	AnomalyDuplicateCompletion AnomalyCode = "duplicate-completion"
	// AnomalyOrphanCompletion: a result for work that was never begun.
	AnomalyOrphanCompletion AnomalyCode = "orphan-completion"
	// AnomalyWrongKind: a result of another kind than the work, such as the end
	// of a timer for an activity. The framework takes it for the result.
	AnomalyWrongKind AnomalyCode = "wrong-kind-completion"
	// AnomalyDuplicateID: work was begun under the EventId of other open work.
	AnomalyDuplicateID AnomalyCode = "duplicate-event-id"
	// AnomalySelfReference: the instance is its own child or parent.
	AnomalySelfReference AnomalyCode = "self-reference"
)

// Anomaly is something in a history that cannot be or cannot be read.
type Anomaly struct {
	Code        AnomalyCode
	ExecutionID string
	// RowKeys are the rows that show it, at most a few.
	RowKeys []string
	// Column is the column at fault, if it is one.
	Column string
	// Detail says it for people, without stored values.
	Detail string
}

// Output returns the output of the execution as the Instances row shows it: the
// result, for a failure with details the text "ErrorType: ErrorMessage", or
// before the end the reason of the last termination, suspension or resumption.
// It is null if there is none.
//
// load is asked for a text that is in a blob, as by [schema.LoadTexts]; its
// error is returned. If it is nil, such a text is returned with the blob's name
// and no value, and of a failure the blob holds the details. Details that are not
// JSON are an error.
//
// Source: durabletask 2.9.1, OrchestrationRuntimeState.cs:108-183,
// AzureTableTrackingStore.cs:982-1061, FailureDetails.cs:170-173.
func (s *State) Output(load func(column string, t *schema.Text) error) (schema.Text, error) {
	t := s.output
	if t.Blob != "" {
		if load == nil {
			return t, nil
		}
		if err := load(s.outputColumn, &t); err != nil {
			return schema.Text{}, err
		}
	}
	if s.outputColumn != failureColumn {
		return t, nil
	}
	details, err := schema.ParseFailureDetails(t)
	if err != nil || details == nil {
		return schema.Text{}, err
	}
	return schema.TextOf(details.String()), nil
}
