package schema

import (
	"strings"
)

// HistoryRow is a row of the History table other than the sentinel.
type HistoryRow struct {
	PartitionKey string
	// RowKey is the position of the event in its execution; see [ParseSequence].
	RowKey      string
	ExecutionID string
	Event       Event
	// Extra holds the columns that the event's type does not have: unknown
	// ones, and what a rewind left behind.
	Extra []Property
	// StoredAt and ETag are the service's: when the row was last written.
	StoredAt Ticks
	ETag     string
}

// Columns that every history row has.
//
// Source: durabletask 2.9.1, HistoryEvent.cs:71-90, AzureTableTrackingStore.cs:971.
const (
	colEventType   = "EventType"
	colEventID     = "EventId"
	colIsPlayed    = "IsPlayed"
	colTimestamp   = "_Timestamp"
	colExecutionID = "ExecutionId"
)

// DecodeHistoryRow decodes an event row of the History table. It does not
// accept the sentinel: test [Row.IsSentinel] first.
//
// A *[DecodeError] names the first value that is missing or has the wrong type;
// the row is returned all the same, with everything else decoded and what is
// wrong in Extra. Without an error, [HistoryRow.Row] gives back the properties
// that were decoded.
func DecodeHistoryRow(r *Row) (HistoryRow, error) {
	var space [32]bool
	taken := space[:]
	if n := len(r.Properties); n <= len(space) {
		taken = taken[:n]
	} else {
		taken = make([]bool, n)
	}
	d := newRowReader(r, taken)
	h := HistoryRow{PartitionKey: r.PartitionKey, RowKey: r.RowKey, StoredAt: r.Timestamp, ETag: r.ETag}
	if _, ok := ParseSequence(r.RowKey); !ok {
		d.fail("RowKey", "is not 16 upper-case hexadecimal digits")
	}
	name, ok := d.take(colEventType, TypeString)
	if !ok {
		d.fail(colEventType, "missing")
	}
	e := newEvent(EventTypeNamed(name.text))
	if e == nil {
		e = &UnknownEvent{Name: name.text}
	}
	h.Event = e
	head := e.Header()
	d.int32(colEventID, &head.EventID)
	d.time(colTimestamp, &head.Timestamp)
	played, ok := d.take(colIsPlayed, TypeBoolean)
	if !ok {
		d.fail(colIsPlayed, "missing")
	}
	head.IsPlayed = played.num != 0
	execution, ok := d.take(colExecutionID, TypeString)
	if !ok {
		d.fail(colExecutionID, "missing")
	}
	h.ExecutionID = execution.text
	e.fields(d)
	h.Extra = d.extra()
	if d.err != nil {
		return h, d.err
	}
	return h, nil
}

// Row encodes h with the columns and types that the framework gives its type.
func (h *HistoryRow) Row() Row {
	w := rowWriter{props: make([]Property, 0, 16)}
	name := h.Event.Type().String()
	if u, ok := h.Event.(*UnknownEvent); ok {
		name = u.Name
	}
	head := h.Event.Header()
	w.put(colEventID, Int32(head.EventID))
	w.put(colEventType, String(name))
	w.put(colExecutionID, String(h.ExecutionID))
	w.put(colIsPlayed, Boolean(head.IsPlayed))
	w.put(colTimestamp, DateTime(head.Timestamp))
	h.Event.fields(&w)
	return Row{
		PartitionKey: h.PartitionKey, RowKey: h.RowKey, Timestamp: h.StoredAt, ETag: h.ETag,
		Properties: w.properties(h.Extra),
	}
}

// InstanceID returns the ID of the instance that the row belongs to.
func (h *HistoryRow) InstanceID() string { return InstanceID(h.PartitionKey) }

const rewoundPrefix = "Rewound: "

// Rewound returns the name of the event type that the row had before a rewind
// neutralised it; ok is false for any other row. A SubOrchestrationCreated keeps
// its type and is marked only. The remaining columns are in Extra.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:273-377; recorded in
// instance rewound of hub dtfx-2.9.1.
func (h *HistoryRow) Rewound() (original string, ok bool) {
	for i := range h.Extra {
		if h.Extra[i].Name == "Reason" {
			return strings.CutPrefix(h.Extra[i].Value.text, rewoundPrefix)
		}
	}
	return "", false
}

// Sentinel is the row that ends each partition of the History table: the state
// of the last checkpoint.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:1389-1478.
type Sentinel struct {
	PartitionKey string
	// ExecutionID is the execution that wrote last: the current one.
	ExecutionID Optional[string]
	// IsCheckpointComplete is false after a batch that was not the last of its
	// checkpoint. Absent before version 1.6.5.
	IsCheckpointComplete Optional[bool]
	// CheckpointCompletedTimestamp is the worker's time of the last complete
	// checkpoint.
	CheckpointCompletedTimestamp Optional[Ticks]
	Extra                        []Property
	StoredAt                     Ticks
	ETag                         string
}

func (s *Sentinel) fields(v visitor) {
	v.str(colExecutionID, &s.ExecutionID)
	v.optBool("IsCheckpointComplete", &s.IsCheckpointComplete)
	v.optTime("CheckpointCompletedTimestamp", &s.CheckpointCompletedTimestamp)
}

// DecodeSentinel decodes a sentinel row. A *[DecodeError] names the first value
// with a wrong type; the rest is decoded all the same.
func DecodeSentinel(r *Row) (Sentinel, error) {
	s := Sentinel{PartitionKey: r.PartitionKey, StoredAt: r.Timestamp, ETag: r.ETag}
	d := newRowReader(r, make([]bool, len(r.Properties)))
	if !r.IsSentinel() {
		d.fail("RowKey", "is not %s", SentinelRowKey)
	}
	s.fields(d)
	s.Extra = d.extra()
	if d.err != nil {
		return s, d.err
	}
	return s, nil
}

// Row encodes s.
func (s *Sentinel) Row() Row {
	var w rowWriter
	s.fields(&w)
	return Row{
		PartitionKey: s.PartitionKey, RowKey: SentinelRowKey, Timestamp: s.StoredAt, ETag: s.ETag,
		Properties: w.properties(s.Extra),
	}
}
