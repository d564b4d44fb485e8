package replay

import (
	"errors"
	"strings"

	"github.com/taskhub-tools/taskhub/schema"
)

// record is what replaying needs of a row. Its texts are the row's.
//
// Most rows of most hubs are a handful of small columns, and decoding each to a
// typed event would cost more than replaying it. So a row is read in one pass
// over its columns, which takes only what has the right type. If anything about
// it is unusual, [schema.DecodeHistoryRow] is asked what is wrong; that it finds
// nothing wrong with any other row is tested, not assumed.
type record struct {
	kind      schema.EventType
	typeName  string
	execution string
	eventID   int32
	taskID    int32 // TaskScheduledId
	timerID   int32
	at        schema.Ticks
	fireAt    schema.Ticks
	name      string
	instance  string
	status    schema.Status // StatusUnknown without OrchestrationStatus
	input     schema.Text   // also the reason of a termination
	reason    schema.Text
	result    schema.Text
	failure   schema.Text // FailureDetails
	has       columns
	// unusual says that the row has to be decoded to know whether it is damaged.
	unusual bool
}

// columns is a set of columns that were found with the right type.
type columns uint16

const (
	hasType columns = 1 << iota
	hasID
	hasExecution
	hasTime
	hasPlayed
	hasTaskID
	hasTimerID
	hasFireAt
	hasStatus

	hasAlways = hasType | hasID | hasExecution | hasTime | hasPlayed
)

// needs lists the columns that events of a type cannot be without.
var needs = [...]columns{
	schema.TypeTaskCompleted:             hasTaskID,
	schema.TypeTaskFailed:                hasTaskID,
	schema.TypeSubOrchestrationCompleted: hasTaskID,
	schema.TypeSubOrchestrationFailed:    hasTaskID,
	schema.TypeTimerCreated:              hasFireAt,
	schema.TypeTimerFired:                hasTimerID | hasFireAt,
	schema.TypeExecutionRewound:          0,
}

// read fills e from a row, whose RowKey it does not look at.
func (e *record) read(row *schema.Row) {
	*e = record{status: schema.StatusUnknown}
	for i := range row.Properties {
		p := &row.Properties[i]
		typ := p.Value.Type()
		switch p.Name {
		case "EventType":
			e.typeName = e.str(p, hasType)
		case "ExecutionId":
			e.execution = e.str(p, hasExecution)
		case "EventId":
			e.eventID = e.int32(p, hasID)
		case "_Timestamp":
			e.at = e.time(p, hasTime)
		case "IsPlayed":
			if typ == schema.TypeBoolean {
				e.has |= hasPlayed
			}
		case "TaskScheduledId":
			e.taskID = e.int32(p, hasTaskID)
		case "TimerId":
			e.timerID = e.int32(p, hasTimerID)
		case "FireAt":
			e.fireAt = e.time(p, hasFireAt)
		case "Name":
			e.name = e.str(p, 0)
		case "InstanceId":
			e.instance = e.str(p, 0)
		case "OrchestrationStatus":
			if e.status = schema.StatusNamed(e.str(p, 0)); e.status == schema.StatusUnknown {
				e.unusual = true
			} else {
				e.has |= hasStatus
			}
		case "Input":
			e.input.Value, e.input.Set = e.str(p, 0), typ == schema.TypeString
		case "InputBlobName":
			e.input.Blob = e.str(p, 0)
		case "Reason":
			e.reason.Value, e.reason.Set = e.str(p, 0), typ == schema.TypeString
		case "ReasonBlobName":
			e.reason.Blob = e.str(p, 0)
		case "Result":
			e.result.Value, e.result.Set = e.str(p, 0), typ == schema.TypeString
		case "ResultBlobName":
			e.result.Blob = e.str(p, 0)
		case "FailureDetails":
			e.failure.Value, e.failure.Set = e.str(p, 0), typ == schema.TypeString
		case "FailureDetailsBlobName":
			e.failure.Blob = e.str(p, 0)
		case "Version", "Tags", "ParentTraceContext", "OrchestrationInstance", "ParentInstance", "Details", "Data", "ClientSpanId":
			if typ != schema.TypeString {
				e.unusual = true
			}
		case "Generation":
			if typ != schema.TypeInt32 {
				e.unusual = true
			}
		case "GenerateNewTrace":
			if typ != schema.TypeBoolean {
				e.unusual = true
			}
		default:
			e.unusual = true
		}
	}
	e.kind = typeNamed(e.typeName)
	need := hasAlways
	if e.kind >= 0 && int(e.kind) < len(needs) {
		need |= needs[e.kind]
	}
	if e.has&need != need {
		e.unusual = true
	}
}

// typesByLength holds the event types by the length of their names: no more than
// three have the same, and a name is looked up for every row.
var typesByLength = func() (all [40][]namedType) {
	for t := schema.TypeExecutionStarted; t <= schema.TypeExecutionRewound; t++ {
		name := t.String()
		all[len(name)] = append(all[len(name)], namedType{name, t})
	}
	return all
}()

type namedType struct {
	name string
	kind schema.EventType
}

// typeNamed is [schema.EventTypeNamed].
func typeNamed(name string) schema.EventType {
	if len(name) < len(typesByLength) {
		for i := range typesByLength[len(name)] {
			if t := &typesByLength[len(name)][i]; t.name == name {
				return t.kind
			}
		}
	}
	return schema.TypeUnknown
}

// str returns the text of a String and adds c to e.has.
func (e *record) str(p *schema.Property, c columns) string {
	if p.Value.Type() != schema.TypeString {
		e.unusual = true
		return ""
	}
	e.has |= c
	s, _ := p.Value.Text()
	return s
}

func (e *record) int32(p *schema.Property, c columns) int32 {
	if p.Value.Type() != schema.TypeInt32 {
		e.unusual = true
		return 0
	}
	e.has |= c
	n, _ := p.Value.Int()
	return int32(n)
}

func (e *record) time(p *schema.Property, c columns) schema.Ticks {
	t, ok := p.Value.Time()
	if !ok {
		e.unusual = true
		return 0
	}
	e.has |= c
	return t
}

// started returns the event of a row that is not unusual, or else nil, as
// [schema.DecodeHistoryRow] does. It uses the memory of spare, unless that is nil.
func (e *record) started(row *schema.Row, spare *schema.ExecutionStarted) *schema.ExecutionStarted {
	if e.unusual {
		h, _ := schema.DecodeHistoryRow(row) // what is wrong with it has been reported
		s, _ := h.Event.(*schema.ExecutionStarted)
		return s
	}
	s := spare
	if s == nil {
		s = new(schema.ExecutionStarted)
	}
	*s = schema.ExecutionStarted{Input: e.input}
	s.EventID, s.Timestamp = e.eventID, e.at
	for i := range row.Properties {
		p := &row.Properties[i]
		text, _ := p.Value.Text()
		n, _ := p.Value.Int()
		flag, _ := p.Value.Bool()
		switch p.Name {
		case "IsPlayed":
			s.IsPlayed = flag
		case "OrchestrationInstance":
			s.OrchestrationInstance = schema.TextOf(text)
		case "ParentInstance":
			s.ParentInstance = schema.TextOf(text)
		case "Name":
			s.Name = schema.TextOf(text)
		case "Version":
			s.Version = schema.Some(text)
		case "Tags":
			s.Tags = schema.TextOf(text)
		case "ParentTraceContext":
			s.ParentTraceContext = schema.TextOf(text)
		case "Generation":
			s.Generation = schema.Some(int32(n))
		case "GenerateNewTrace":
			s.GenerateNewTrace = schema.Some(flag)
		}
	}
	return s
}

const rewoundPrefix = "Rewound: "

// rewound returns what the row was before a rewind neutralised or marked it; ok
// is false for any other row. A second rewind finds a completion by its status
// again and writes that it was a GenericEvent.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:273-377; recorded in
// instance rewound of hub dtfx-2.9.1.
func (e *record) rewound() (original schema.EventType, ok bool) {
	if e.kind != schema.TypeGeneric && e.kind != schema.TypeSubOrchestrationCreated {
		return 0, false
	}
	name, ok := strings.CutPrefix(e.reason.Value, rewoundPrefix)
	if !ok {
		return 0, false
	}
	original = schema.EventTypeNamed(name)
	if original == schema.TypeGeneric && e.has&hasStatus != 0 {
		original = schema.TypeExecutionCompleted
	}
	return original, true
}

// undecodable returns what is wrong with a row besides its key, nil if nothing.
func undecodable(row *schema.Row) *schema.DecodeError {
	fixed := *row
	fixed.RowKey = schema.FormatSequence(0)
	_, err := schema.DecodeHistoryRow(&fixed)
	var damage *schema.DecodeError
	errors.As(err, &damage)
	return damage
}

// readSentinel reads a sentinel that has its columns and no others; ok is false
// for any other, which [schema.DecodeSentinel] reads. The texts are the row's.
func readSentinel(row *schema.Row) (s schema.Sentinel, ok bool) {
	s = schema.Sentinel{StoredAt: row.Timestamp, ETag: row.ETag}
	for i := range row.Properties {
		v := row.Properties[i].Value
		ok = false
		switch row.Properties[i].Name {
		case "ExecutionId":
			s.ExecutionID.Value, ok = v.Text()
			ok = ok && v.Type() == schema.TypeString
			s.ExecutionID.Set = true
		case "IsCheckpointComplete":
			s.IsCheckpointComplete.Value, ok = v.Bool()
			s.IsCheckpointComplete.Set = true
		case "CheckpointCompletedTimestamp":
			s.CheckpointCompletedTimestamp.Value, ok = v.Time()
			s.CheckpointCompletedTimestamp.Set = true
		}
		if !ok {
			return s, false
		}
	}
	return s, true
}
