package schema

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// ParentInstance names the parent of a sub-orchestration.
//
// Source: durabletask 2.9.1, ParentInstance.cs:27-42.
type ParentInstance struct {
	Name                  string
	OrchestrationInstance struct {
		InstanceID  string `json:"InstanceId"`
		ExecutionID string `json:"ExecutionId"`
	}
	TaskScheduleID int32 `json:"TaskScheduleId"` // EventID of the parent's SubOrchestrationCreated
	Version        string
}

// ParseParentInstance parses the member ParentInstance of an ExecutionStarted,
// from a row or a message. It returns nil for null.
func ParseParentInstance(t Text) (*ParentInstance, error) {
	return parseDocument[ParentInstance](t, "ParentInstance")
}

// FailureDetails describes why an activity or orchestration failed.
//
// Source: durabletask 2.9.1, FailureDetails.cs:42-165.
type FailureDetails struct {
	ErrorType      string
	ErrorMessage   string
	StackTrace     *string
	InnerFailure   *FailureDetails
	IsNonRetriable bool
	Properties     map[string]any
}

// ParseFailureDetails parses a member FailureDetails. It returns nil for null.
func ParseFailureDetails(t Text) (*FailureDetails, error) {
	return parseDocument[FailureDetails](t, "FailureDetails")
}

// String returns the text that the framework gives a failed orchestration as
// its output.
//
// Source: durabletask 2.9.1, FailureDetails.cs:170-173.
func (f *FailureDetails) String() string { return f.ErrorType + ": " + f.ErrorMessage }

// ParseTags parses a member or column Tags. It returns nil for null and for the
// empty text, which mean no tags.
func ParseTags(t Text) (map[string]string, error) {
	if t.Value == "" {
		return nil, nil
	}
	tags, err := parseDocument[map[string]string](t, "Tags")
	if tags == nil {
		return nil, err
	}
	delete(*tags, typeMember) // in messages
	return *tags, err
}

func parseDocument[T any](t Text, name string) (*T, error) {
	if !t.Set || t.Value == "null" || t.Value == "" {
		return nil, nil
	}
	v := new(T)
	if err := json.Unmarshal([]byte(t.Value), v); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return v, nil
}

// AppendEventJSON appends a history event as the framework's own history API
// gives it: the members of a message's event without $type, null members
// included, and EventType as a number or, for people, as a name. The event must
// come from a history row, with its texts loaded ([LoadTexts]).
//
// Source: recorded answers in state.json of each hub; the keys are those of
// version 2.9.1, whatever version wrote the row.
func AppendEventJSON(dst []byte, e Event, names bool) []byte {
	w := eventWriter{names: names}
	e.fields(&w)
	if u, ok := e.(*UnknownEvent); ok {
		w.plain(colEventType, u.Name)
	}
	head := e.Header()
	w.int("EventId", int64(head.EventID))
	w.raw("IsPlayed", strconv.FormatBool(head.IsPlayed))
	w.time("Timestamp", &head.Timestamp)
	return w.append(dst, nil, nil)
}

// eventWriter writes JSON columns of rows as they are: compact JSON or null.
type eventWriter struct {
	jsonWriter
	names bool
}

func (w *eventWriter) eventType(t EventType) {
	switch {
	case t == TypeUnknown:
	case w.names:
		w.plain(colEventType, t.String())
	default:
		w.jsonWriter.eventType(t)
	}
}

func (w *eventWriter) json(name string, p *Text, f jsonField) {
	if !json.Valid([]byte(p.Value)) {
		if p.Value == "" {
			w.raw(name, "null")
		} else {
			w.plain(name, p.Value) // damaged, but shown
		}
		return
	}
	w.jsonWriter.json(name, p, f)
}
