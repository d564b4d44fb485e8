package verify

import (
	"cmp"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
)

// Severity says how much a finding matters.
type Severity string

// The severities, the mildest first.
const (
	// Info is evidence of what has happened; nothing has to be done.
	Info Severity = "info"
	// Warning is what will not do harm by itself, or mends itself.
	Warning Severity = "warning"
	// Error is what keeps instances from ending or loses data.
	Error Severity = "error"
)

// Severities lists the severities, the mildest first.
func Severities() []Severity { return []Severity{Info, Warning, Error} }

func (s Severity) rank() int {
	switch s {
	case Info:
		return 1
	case Warning:
		return 2
	case Error:
		return 3
	}
	return 0
}

// Compare orders severities, the mildest first; one that is unknown comes before
// all others.
func (s Severity) Compare(t Severity) int { return cmp.Compare(s.rank(), t.rank()) }

// lower returns the next milder severity; Info stays.
func (s Severity) lower() Severity {
	if s == Error {
		return Warning
	}
	return Info
}

// Finding is one thing that is wrong or worth knowing, and where it shows.
type Finding struct {
	// Code is that of the [Check], such as status-drift.
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	// InstanceID and ExecutionID are empty where a finding is not about one.
	InstanceID  string `json:"instance_id,omitempty"`
	ExecutionID string `json:"execution_id,omitempty"`
	// Detail is one line for people. It never holds a payload.
	Detail string `json:"detail"`
	// At lists the rows, messages and blobs that show it, at most [MaxPlaces].
	At []Place `json:"at"`
	// Heals says why it will mend itself, in which case Severity is one step
	// below that of the check; empty otherwise.
	Heals string `json:"heals,omitempty"`
	// Remedy is what can be done.
	Remedy string `json:"remedy"`
}

// MaxPlaces is the number of places that a finding lists at most; its Detail
// then says how many there are.
const MaxPlaces = 20

// Place names a row, a message, a blob or a whole queue, container or table.
// Names are as stored; the members that do not apply are empty.
type Place struct {
	// Table is Instances, History or Partitions. Rows have keys: the RowKey of
	// an Instances row and the PartitionKey of a Partitions row are empty.
	Table        string `json:"table,omitempty"`
	PartitionKey string `json:"partition_key,omitempty"`
	RowKey       string `json:"row_key,omitempty"`
	Column       string `json:"column,omitempty"`

	Queue     string `json:"queue,omitempty"`
	MessageID string `json:"message_id,omitempty"`

	Container string `json:"container,omitempty"`
	Blob      string `json:"blob,omitempty"`
}

// String returns the place in one line, such as History/order-1/0000000000000003.Result.
func (p Place) String() string {
	var parts []string
	switch {
	case p.Queue != "":
		parts = []string{p.Queue, p.MessageID}
	case p.Container != "":
		parts = []string{p.Container, p.Blob}
	default:
		parts = []string{p.Table, p.PartitionKey, p.RowKey}
	}
	s := parts[0]
	for _, part := range parts[1:] {
		if part != "" {
			s += "/" + part
		}
	}
	if p.Column != "" {
		s += "." + p.Column
	}
	return s
}

// instanceRow is the place of a row of the Instances table.
func instanceRow(partitionKey, column string) Place {
	return Place{Table: hub.Instances.String(), PartitionKey: strings.Clone(partitionKey), Column: column}
}

// historyRow is the place of a row of the History table.
func historyRow(partitionKey, rowKey, column string) Place {
	return Place{
		Table: hub.History.String(), PartitionKey: strings.Clone(partitionKey), RowKey: strings.Clone(rowKey), Column: column,
	}
}

// historyRows is historyRow for several rows, as many as a finding lists.
func historyRows(partitionKey string, rowKeys ...string) []Place {
	places := make([]Place, 0, min(len(rowKeys), MaxPlaces))
	for _, key := range rowKeys[:min(len(rowKeys), MaxPlaces)] {
		places = append(places, historyRow(partitionKey, key, ""))
	}
	return places
}
