package verify

import (
	"strings"

	"github.com/taskhub-tools/taskhub/schema"
)

// columns knows the columns of rows by the order in which they come. Rows of one
// kind have theirs in one order, and names of one page share their memory, so
// that comparing them with the row before costs next to nothing.
type columns struct {
	known   map[string]bool
	layouts []*layout
	last    *layout
}

// layout is one order of columns.
type layout struct {
	names   []string
	unknown []string // columns that the framework does not have
	blobs   []int    // columns that name a blob
	// Positions of columns, -1 for those that are not there.
	executionID, eventType, instanceID, reason, status int
	next                                               *layout // what has followed
}

// maxLayouts bounds the layouts that are kept. Rows beyond are looked at one by
// one, which is slow.
const maxLayouts = 256

// of returns the layout of a row.
func (c *columns) of(row *schema.Row) *layout {
	if c.last != nil && c.last.next != nil && c.last.next.is(row) {
		c.last = c.last.next
		return c.last
	}
	for _, l := range c.layouts {
		if l.is(row) {
			if c.last != nil {
				c.last.next = l
			}
			c.last = l
			return l
		}
	}
	l := c.learn(row)
	if len(c.layouts) < maxLayouts {
		c.layouts = append(c.layouts, l)
		c.last = l
	}
	return l
}

func (l *layout) is(row *schema.Row) bool {
	if len(l.names) != len(row.Properties) {
		return false
	}
	for i := range row.Properties {
		if row.Properties[i].Name != l.names[i] {
			return false
		}
	}
	return true
}

func (c *columns) learn(row *schema.Row) *layout {
	l := &layout{executionID: -1, eventType: -1, instanceID: -1, reason: -1, status: -1}
	for i := range row.Properties {
		// Not a copy: a decoder gives all rows one copy of a name, and comparing a
		// text with itself takes no time.
		name := row.Properties[i].Name
		l.names = append(l.names, name)
		if !c.known[name] {
			l.unknown = append(l.unknown, name)
		}
		if base, ok := strings.CutSuffix(name, blobNameSuffix); ok && c.known[base] {
			l.blobs = append(l.blobs, i)
		}
		switch name {
		case "ExecutionId":
			l.executionID = i
		case "EventType":
			l.eventType = i
		case "InstanceId":
			l.instanceID = i
		case "Reason":
			l.reason = i
		case "OrchestrationStatus":
			l.status = i
		}
	}
	return l
}

// text returns the text of the column at a position, empty if there is none.
func (l *layout) text(row *schema.Row, position int) string {
	if position < 0 {
		return ""
	}
	s, _ := row.Properties[position].Value.Text()
	return s
}

const blobNameSuffix = "BlobName"

// The columns of versions 1.6.5 to 2.9.1. Those that may be kept in a blob have
// a second one, which names it.
//
// Source: durabletask 2.9.1, History/*.cs, AzureTableTrackingStore.cs:51-65,
// 781-869, 1389-1478, OrchestrationInstanceStatus.cs:23-42.
var (
	historyColumns = known(
		[]string{"Name", "Input", "Result", "Output", "Reason", "Details", "Correlation", "FailureDetails", "Tags"},
		"EventId", "EventType", "IsPlayed", "_Timestamp", "ExecutionId",
		"OrchestrationInstance", "ParentInstance", "Version", "ParentTraceContext", "ScheduledStartTime", "Generation", "GenerateNewTrace",
		"OrchestrationStatus", "TaskScheduledId", "InstanceId", "ClientSpanId", "FireAt", "TimerId", "Data", "State", "ParentExecutionId",
		"IsCheckpointComplete", "CheckpointCompletedTimestamp",
	)
	instanceColumns = known(
		[]string{"Name", "Input", "Output", "Tags"},
		"ExecutionId", "Version", "CustomStatus", "CreatedTime", "LastUpdatedTime", "CompletedTime", "RuntimeStatus", "TaskHubName",
		"ScheduledStartTime", "Generation",
	)
)

func known(offloaded []string, others ...string) map[string]bool {
	names := make(map[string]bool)
	for _, name := range offloaded {
		names[name], names[name+blobNameSuffix] = true, true
	}
	for _, name := range others {
		names[name] = true
	}
	return names
}
