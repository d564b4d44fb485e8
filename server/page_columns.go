package server

import (
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/schema"
)

// shownColumn is a property of a row.
type shownColumn struct {
	Name string `json:"name"`
	Type string `json:"type"` // such as Edm.String
	shownText
}

// openColumns hold what the framework writes for itself and not what an app gives
// it. Of any other, the text counts as payload.
var openColumns = []string{
	"CheckpointCompletedTimestamp", "ClientSpanId", "CompletedTime", "Correlation", "CreatedTime", "EventId", "EventType", "ExecutionId",
	"FireAt", "GenerateNewTrace", "Generation", "InstanceId", "IsCheckpointComplete", "IsPlayed", "LastUpdatedTime", "Name",
	"OrchestrationInstance", "OrchestrationStatus", "ParentExecutionId", "ParentInstance", "ParentTraceContext", "RuntimeStatus",
	"ScheduledStartTime", "TaskHubName", "TaskScheduledId", "TimerId", "Version", "_Timestamp",
}

const blobNameSuffix = "BlobName"

// isOpen reports whether a column is shown even where payloads are not.
func isOpen(name string) bool {
	return slices.Contains(openColumns, name) || strings.HasSuffix(name, blobNameSuffix)
}

// columnText returns the text of a column, or the name of the blob that has it.
func columnText(row *schema.Row, name string) schema.Text {
	v := row.Get(name)
	blob, _ := row.Get(name + blobNameSuffix).Text()
	if v.Type() == schema.Absent && blob == "" {
		return schema.Text{}
	}
	if v.Type() == schema.Null {
		return schema.Text{Blob: blob, Set: blob != ""}
	}
	if v.Type() == schema.Absent {
		return schema.Text{Blob: blob, Set: true}
	}
	return schema.Text{Value: v.String(), Blob: blob, Set: true}
}

// columns returns what a row holds, n bytes at most of each value, sorted by name.
func (s *Server) columns(row *schema.Row, n int) []shownColumn {
	list := make([]shownColumn, 0, len(row.Properties))
	for i := range row.Properties {
		p := &row.Properties[i]
		c := shownColumn{Name: p.Name, Type: p.Value.EDM()}
		text := columnText(row, p.Name)
		if isOpen(p.Name) {
			c.Set, c.Bytes, c.Head = text.Set, int64(len(text.Value)), head(text.Value, n)
			c.More = len(c.Head) < len(text.Value)
		} else {
			c.shownText = s.show(text, n)
		}
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b shownColumn) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// payloadColumns returns those columns of a row of history that hold what the app
// has written, in the order of payloadOrder and then by name.
func (s *Server) payloadColumns(row *schema.Row, n int) []shownColumn {
	var list []shownColumn
	for _, c := range s.columns(row, n) {
		if !isOpen(c.Name) && (c.Bytes > 0 || c.Blob != "") && c.Type == schema.TypeString.String() {
			list = append(list, c)
		}
	}
	slices.SortStableFunc(list, func(a, b shownColumn) int { return payloadOrder(a.Name) - payloadOrder(b.Name) })
	return list
}

func payloadOrder(name string) int {
	order := [...]string{"Result", "FailureDetails", "Reason", "Details", "Input", "Data"}
	if i := slices.Index(order[:], name); i >= 0 {
		return i
	}
	return len(order)
}
