package hub

import (
	"fmt"
	"strings"
)

// Table names one of the three tables of a task hub.
type Table uint8

// The tables of a hub. Partitions exists only where the table partition manager
// is in use.
const (
	Instances Table = iota + 1
	History
	Partitions
)

// Tables lists the tables in the order in which they are captured: history
// before the rows that summarise it.
var Tables = [...]Table{History, Instances, Partitions}

// String returns the table's name without the hub's, such as Instances.
func (t Table) String() string {
	switch t {
	case Instances:
		return "Instances"
	case History:
		return "History"
	case Partitions:
		return "Partitions"
	}
	return fmt.Sprintf("Table(%d)", uint8(t))
}

// Names derives the names of a hub's artifacts.
//
// Source: durabletask 2.9.1, AzureStorageOrchestrationService.cs:183-221,
// AzureStorageOrchestrationServiceSettings.cs:243-248.
type Names struct {
	// TaskHub is the hub's name in the case in which it was configured.
	TaskHub string `json:"task_hub"`
	// TrackingPrefix begins the names of Instances and History where the hub
	// keeps them in a tracking store of its own; several hubs may share one.
	// Empty means that the hub's name does.
	TrackingPrefix string `json:"tracking_prefix,omitempty"`
}

// MaxPartitions is the largest partition count that the framework accepts.
const MaxPartitions = 16

// Table returns the name of a table. Table names keep their case but are
// compared without it by the service.
func (n Names) Table(t Table) string {
	if n.TrackingPrefix != "" && t != Partitions {
		return n.TrackingPrefix + t.String()
	}
	return n.TaskHub + t.String()
}

func (n Names) lower() string { return strings.ToLower(n.TaskHub) }

// ControlQueue returns the name of the control queue of one partition, from 0.
func (n Names) ControlQueue(partition int) string {
	return fmt.Sprintf("%s-control-%02d", n.lower(), partition)
}

// ControlQueuePrefix begins the names of all control queues of the hub.
func (n Names) ControlQueuePrefix() string { return n.lower() + "-control-" }

// WorkItemQueue returns the name of the queue from which workers take activities.
func (n Names) WorkItemQueue() string { return n.lower() + "-workitems" }

// LargeMessages returns the container of payloads that are too large for a
// message or a row. It does not exist before the first of them.
func (n Names) LargeMessages() string { return n.lower() + "-largemessages" }

// Leases returns the container of the blob partition managers.
func (n Names) Leases() string { return n.lower() + "-leases" }

// AppLease returns the container whose lease names the app that runs the hub.
func (n Names) AppLease() string { return n.lower() + "-applease" }

// Containers returns the names of all containers that the hub may have.
func (n Names) Containers() []string {
	return []string{n.AppLease(), n.LargeMessages(), n.Leases()}
}
