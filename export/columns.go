package export

import (
	"fmt"

	"github.com/taskhub-tools/taskhub/export/internal/parquet"
)

// Kind is the type of an exported column.
type Kind string

// The types. Times are UTC with 100 ns kept: TIMESTAMP(NANOS) in Parquet, text
// with seven fractional digits in JSON. JSONText is text that holds JSON.
const (
	StringKind Kind = "string"
	JSONText   Kind = "json"
	Int32Kind  Kind = "int32"
	Int64Kind  Kind = "int64"
	BoolKind   Kind = "boolean"
	TimeKind   Kind = "timestamp"
)

// Column describes one column of a dataset.
type Column struct {
	Name     string `json:"name"`
	Kind     Kind   `json:"type"`
	Required bool   `json:"required,omitempty"` // never null
	// Source is what in storage it comes from.
	Source string `json:"source"`

	payload  bool // subject to redaction
	distinct bool // values seldom repeat: a dictionary would not pay
}

// Columns returns the columns of a dataset in their fixed order. Columns are
// only ever added, at the end but before error and extra.
func Columns(d Dataset) []Column { return append([]Column(nil), tables[d].columns...) }

// table is a dataset's columns with what the sinks need of them.
type table struct {
	dataset Dataset
	columns []Column
	time    int // the column whose date partitions, or -1
}

func text(name, source string) Column { return Column{Name: name, Kind: StringKind, Source: source} }

func payload(name, source string) Column {
	return Column{Name: name, Kind: StringKind, Source: source, payload: true, distinct: true}
}

func jsonColumn(name, source string) Column {
	return Column{Name: name, Kind: JSONText, Source: source}
}

func required(c Column) Column { c.Required = true; return c }

func timeColumn(name, source string) Column {
	return Column{Name: name, Kind: TimeKind, Source: source}
}

func typed(name string, k Kind, source string) Column {
	return Column{Name: name, Kind: k, Source: source}
}

func redactable(c Column) Column { c.payload = true; return c }

// last are the columns that end every dataset.
var (
	errorColumn = text("error", "what could not be read of this row, and why")
	extraColumn = redactable(jsonColumn("extra", "properties that have no column, with their EDM types"))
)

// The positions of the history columns, which the fast path addresses directly.
const (
	hInstanceID = iota
	hExecutionID
	hIsCurrent
	hSequence
	hEventType
	hEventID
	hEventTime
	hIsPlayed
	hName
	hVersion
	hInput
	hResult
	hReason
	hDetails
	hFailureDetails
	hFireAt
	hTimerID
	hTaskScheduledID
	hOrchestrationStatus
	hSubInstanceID
	hTags
	hParentInstance
	hOrchestrationInstance
	hScheduledStartTime
	hGeneration
	hGenerateNewTrace
	hParentTraceContext
	hCorrelation
	hClientSpanID
	hData
	hBlobs
	hStoredTime
	hError
	hExtra
)

const (
	iInstanceID = iota
	iExecutionID
	iName
	iVersion
	iRuntimeStatus
	iCreatedTime
	iLastUpdatedTime
	iCompletedTime
	iScheduledStartTime
	iInput
	iOutput
	iCustomStatus
	iTags
	iGeneration
	iTaskHub
	iInputBlob
	iOutputBlob
	iStoredTime
	iError
	iExtra
)

const (
	mQueue = iota
	mMessageID
	mKind
	mInstanceID
	mExecutionID
	mEventType
	mEventID
	mEventTime
	mName
	mTaskScheduledID
	mFireAt
	mInsertedTime
	mVisibleTime
	mExpiresTime
	mDequeueCount
	mSenderInstanceID
	mSenderExecutionID
	mEpisode
	mSequenceNumber
	mBlob
	mText
	mMessage
	mError
	mExtra
)

const (
	eInstanceID = iota
	eEntityName
	eEntityKey
	eExecutionID
	eRuntimeStatus
	eExists
	eState
	eLockedBy
	eSuspended
	eQueueLength
	eQueue
	eSorter
	eCustomStatus
	eCreatedTime
	eLastUpdatedTime
	eTaskHub
	eStoredTime
	eError
	eExtra
)

const (
	bContainer = iota
	bName
	bKind
	bInstanceID
	bSequence
	bEventType
	bColumn
	bActivityID
	bSizeBytes
	bContentMD5
	bContentType
	bCreatedTime
	bLastModified
	bLeaseState
	bError
	bExtra
)

var tables = map[Dataset]table{
	Instances: {
		dataset: Instances,
		time:    iCreatedTime,
		columns: []Column{
			iInstanceID:         required(text("instance_id", "PartitionKey, unescaped")),
			iExecutionID:        text("execution_id", "ExecutionId"),
			iName:               text("name", "Name"),
			iVersion:            text("version", "Version"),
			iRuntimeStatus:      text("runtime_status", "RuntimeStatus, the name as stored"),
			iCreatedTime:        timeColumn("created_time", "CreatedTime"),
			iLastUpdatedTime:    timeColumn("last_updated_time", "LastUpdatedTime"),
			iCompletedTime:      timeColumn("completed_time", "CompletedTime"),
			iScheduledStartTime: timeColumn("scheduled_start_time", "ScheduledStartTime"),
			iInput:              payload("input", "Input, from its blob if it has one"),
			iOutput:             payload("output", "Output, from its blob if it has one"),
			iCustomStatus:       payload("custom_status", "CustomStatus; the text null where none was set"),
			iTags:               redactable(jsonColumn("tags", "Tags")),
			iGeneration:         typed("generation", Int32Kind, "Generation"),
			iTaskHub:            text("task_hub", "TaskHubName"),
			iInputBlob:          text("input_blob", "name of the blob that holds the input"),
			iOutputBlob:         text("output_blob", "name of the blob that holds the output"),
			iStoredTime:         timeColumn("stored_time", "Timestamp: the service's time of the last write"),
			iError:              errorColumn,
			iExtra:              extraColumn,
		},
	},
	History: {
		dataset: History,
		time:    hEventTime,
		columns: []Column{
			hInstanceID:            required(text("instance_id", "PartitionKey, unescaped")),
			hExecutionID:           text("execution_id", "ExecutionId"),
			hIsCurrent:             required(typed("is_current", BoolKind, "whether the row belongs to the live history: the leading rows of the sentinel's execution")),
			hSequence:              typed("sequence", Int64Kind, "RowKey: position in the execution, from 0"),
			hEventType:             text("event_type", "EventType"),
			hEventID:               typed("event_id", Int32Kind, "EventId"),
			hEventTime:             timeColumn("event_time", "_Timestamp: when the event was made"),
			hIsPlayed:              typed("is_played", BoolKind, "IsPlayed"),
			hName:                  text("name", "Name: of the orchestrator, activity or event"),
			hVersion:               text("version", "Version"),
			hInput:                 payload("input", "Input, from its blob if it has one"),
			hResult:                payload("result", "Result, from its blob if it has one"),
			hReason:                redactable(text("reason", "Reason, from its blob if it has one")),
			hDetails:               redactable(text("details", "Details, from its blob if it has one")),
			hFailureDetails:        redactable(jsonColumn("failure_details", "FailureDetails, from its blob if it has one")),
			hFireAt:                timeColumn("fire_at", "FireAt"),
			hTimerID:               typed("timer_id", Int32Kind, "TimerId: event_id of the TimerCreated"),
			hTaskScheduledID:       typed("task_scheduled_id", Int32Kind, "TaskScheduledId: event_id of what was scheduled"),
			hOrchestrationStatus:   text("orchestration_status", "OrchestrationStatus"),
			hSubInstanceID:         text("sub_instance_id", "InstanceId: the child's, or the target's of EventSent"),
			hTags:                  redactable(jsonColumn("tags", "Tags, from its blob if it has one")),
			hParentInstance:        jsonColumn("parent_instance", "ParentInstance"),
			hOrchestrationInstance: {Name: "orchestration_instance", Kind: JSONText, Source: "OrchestrationInstance", distinct: true},
			hScheduledStartTime:    timeColumn("scheduled_start_time", "ScheduledStartTime"),
			hGeneration:            typed("generation", Int32Kind, "Generation"),
			hGenerateNewTrace:      typed("generate_new_trace", BoolKind, "GenerateNewTrace"),
			hParentTraceContext:    jsonColumn("parent_trace_context", "ParentTraceContext"),
			hCorrelation:           text("correlation", "Correlation, from its blob if it has one"),
			hClientSpanID:          text("client_span_id", "ClientSpanId"),
			hData:                  redactable(text("data", "Data: reason of a rewind")),
			hBlobs:                 jsonColumn("blobs", "names of the blobs that hold columns of this row, by column"),
			hStoredTime:            timeColumn("stored_time", "Timestamp: the service's time of the last write"),
			hError:                 errorColumn,
			hExtra:                 extraColumn,
		},
	},
	Messages: {
		dataset: Messages,
		time:    mInsertedTime,
		columns: []Column{
			mQueue:             required(text("queue", "name of the queue")),
			mMessageID:         required(text("message_id", "the service's ID of the message")),
			mKind:              required(text("kind", "control or work-item, by the queue")),
			mInstanceID:        text("instance_id", "TaskMessage.OrchestrationInstance.InstanceId: the target"),
			mExecutionID:       text("execution_id", "TaskMessage.OrchestrationInstance.ExecutionId"),
			mEventType:         text("event_type", "type of TaskMessage.Event"),
			mEventID:           typed("event_id", Int32Kind, "TaskMessage.Event.EventId"),
			mEventTime:         timeColumn("event_time", "TaskMessage.Event.Timestamp"),
			mName:              text("name", "TaskMessage.Event.Name"),
			mTaskScheduledID:   typed("task_scheduled_id", Int32Kind, "TaskMessage.Event.TaskScheduledId or TimerId"),
			mFireAt:            timeColumn("fire_at", "TaskMessage.Event.FireAt or ScheduledStartTime"),
			mInsertedTime:      timeColumn("inserted_time", "InsertionTime"),
			mVisibleTime:       timeColumn("visible_time", "TimeNextVisible; null where peeking did not tell"),
			mExpiresTime:       timeColumn("expires_time", "ExpirationTime; null for never (9999-12-31)"),
			mDequeueCount:      typed("dequeue_count", Int64Kind, "DequeueCount"),
			mSenderInstanceID:  text("sender_instance_id", "Sender.InstanceId; empty for clients"),
			mSenderExecutionID: text("sender_execution_id", "Sender.ExecutionId"),
			mEpisode:           typed("episode", Int64Kind, "Episode of the sender"),
			mSequenceNumber:    typed("sequence_number", Int64Kind, "SequenceNumber of the sending process"),
			mBlob:              text("blob", "CompressedBlobName: the blob that holds the message"),
			mText:              payload("text", "the body as stored: JSON or Base64 of JSON"),
			mMessage:           {Name: "message", Kind: JSONText, Source: "the message as JSON, from its blob if it has one", payload: true, distinct: true},
			mError:             errorColumn,
			mExtra:             redactable(jsonColumn("extra", "members of the message that this tool does not know")),
		},
	},
	Entities: {
		dataset: Entities,
		time:    eCreatedTime,
		columns: []Column{
			eInstanceID:      required(text("instance_id", "PartitionKey, unescaped: @name@key")),
			eEntityName:      text("entity_name", "name part of the ID"),
			eEntityKey:       text("entity_key", "key part of the ID"),
			eExecutionID:     text("execution_id", "ExecutionId"),
			eRuntimeStatus:   text("runtime_status", "RuntimeStatus"),
			eExists:          typed("exists", BoolKind, "whether the scheduler state in Input has user state"),
			eState:           payload("state", "state in Input: the user's state as JSON text"),
			eLockedBy:        text("locked_by", "lockedBy in Input: instance that holds the lock"),
			eSuspended:       typed("suspended", BoolKind, "suspended in Input"),
			eQueueLength:     typed("queue_length", Int32Kind, "number of operations waiting in Input"),
			eQueue:           {Name: "queue", Kind: JSONText, Source: "queue in Input: the operations that wait", payload: true, distinct: true},
			eSorter:          redactable(jsonColumn("sorter", "sorter in Input: metadata of message ordering, and operations held back")),
			eCustomStatus:    payload("custom_status", "CustomStatus"),
			eCreatedTime:     timeColumn("created_time", "CreatedTime: of the latest batch of operations"),
			eLastUpdatedTime: timeColumn("last_updated_time", "LastUpdatedTime"),
			eTaskHub:         text("task_hub", "TaskHubName"),
			eStoredTime:      timeColumn("stored_time", "Timestamp: the service's time of the last write"),
			eError:           errorColumn,
			eExtra:           extraColumn,
		},
	},
	Blobs: {
		dataset: Blobs,
		time:    bLastModified,
		columns: []Column{
			bContainer:    required(text("container", "name of the container")),
			bName:         required(Column{Name: "name", Kind: StringKind, Source: "name of the blob", distinct: true}),
			bKind:         required(text("kind", "history, message, lease, app-lease, task-hub or other, by the name")),
			bInstanceID:   text("instance_id", "instance that the name says it belongs to"),
			bSequence:     typed("sequence", Int64Kind, "position of the history row that the name says"),
			bEventType:    text("event_type", "event type that the name says"),
			bColumn:       text("column", "column that the name says"),
			bActivityID:   text("activity_id", "message that the name says"),
			bSizeBytes:    required(typed("size_bytes", Int64Kind, "Content-Length")),
			bContentMD5:   {Name: "content_md5", Kind: StringKind, Source: "Content-MD5, Base64", distinct: true},
			bContentType:  text("content_type", "Content-Type"),
			bCreatedTime:  timeColumn("created_time", "Creation-Time"),
			bLastModified: timeColumn("last_modified", "Last-Modified"),
			bLeaseState:   text("lease_state", "lease state"),
			bError:        errorColumn,
			bExtra:        jsonColumn("extra", "metadata of the blob"),
		},
	},
}

// parquetSchema returns the Parquet form of a table.
func (t *table) parquetSchema() (*parquet.Schema, error) {
	cols := make([]parquet.Column, len(t.columns))
	for i, c := range t.columns {
		cols[i] = parquet.Column{Name: c.Name, Required: c.Required}
		switch {
		case c.Kind == Int32Kind:
			cols[i].Kind = parquet.Int32
		case c.Kind == Int64Kind:
			cols[i].Kind = parquet.Int64
		case c.Kind == BoolKind:
			cols[i].Kind = parquet.Bool
		case c.Kind == TimeKind:
			cols[i].Kind = parquet.Timestamp
		case c.distinct:
			cols[i].Kind = parquet.Text
		default:
			cols[i].Kind = parquet.String
		}
	}
	s, err := parquet.NewSchema(string(t.dataset), cols)
	if err != nil {
		return nil, fmt.Errorf("columns of %s: %w", t.dataset, err)
	}
	return s, nil
}
