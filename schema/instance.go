package schema

import "strings"

// Instance is a row of the Instances table: the latest known state of one
// orchestration or entity.
//
// Source: durabletask 2.9.1, OrchestrationInstanceStatus.cs:23-42 and
// AzureTableTrackingStore.cs:781-869, 937-1061; columns InputBlobName and
// TagsBlobName: AzureTableTrackingStore.cs:1275-1326.
type Instance struct {
	PartitionKey string
	ExecutionID  Optional[string]
	Name         Text
	Version      Optional[string]
	// Input and Output hold serialized text, or the absolute URL of the blob
	// that has it: see [Instance.InputRef]. Output may also hold the reason of
	// a suspension or termination.
	Input  Text
	Output Text
	// CustomStatus is JSON text; the text null stands for none.
	CustomStatus       Optional[string]
	CreatedTime        Optional[Ticks]
	LastUpdatedTime    Optional[Ticks]
	CompletedTime      Optional[Ticks]
	ScheduledStartTime Optional[Ticks]
	// RuntimeStatus is the stored name; see [Instance.Status].
	RuntimeStatus Optional[string]
	TaskHubName   Optional[string]
	Generation    Optional[int32]
	Tags          Text // JSON object of strings, or the text null
	Extra         []Property
	StoredAt      Ticks
	ETag          string
}

func (i *Instance) fields(v visitor) {
	v.str(colExecutionID, &i.ExecutionID)
	v.text("Name", &i.Name)
	v.str("Version", &i.Version)
	v.text("Input", &i.Input)
	v.text("Output", &i.Output)
	v.str("CustomStatus", &i.CustomStatus)
	v.optTime("CreatedTime", &i.CreatedTime)
	v.optTime("LastUpdatedTime", &i.LastUpdatedTime)
	v.optTime("CompletedTime", &i.CompletedTime)
	v.optTime("ScheduledStartTime", &i.ScheduledStartTime)
	v.str("RuntimeStatus", &i.RuntimeStatus)
	v.str("TaskHubName", &i.TaskHubName)
	v.optInt32("Generation", &i.Generation)
	v.json("Tags", &i.Tags, jsonOffloadable)
}

// DecodeInstance decodes a row of the Instances table. No column is required:
// an interrupted checkpoint can leave a row with very few. A *[DecodeError]
// names the first value with a wrong type; the rest is decoded all the same and
// the value is kept in Extra.
func DecodeInstance(r *Row) (Instance, error) {
	var i Instance
	err := i.Decode(r)
	return i, err
}

// Decode makes of i what [DecodeInstance] returns, for whoever decodes many rows
// and uses the same memory for each.
func (i *Instance) Decode(r *Row) error {
	*i = Instance{PartitionKey: r.PartitionKey, StoredAt: r.Timestamp, ETag: r.ETag}
	d := newRowReader(r, make([]bool, len(r.Properties)))
	if r.RowKey != "" {
		d.fail("RowKey", "is not empty")
	}
	i.fields(d)
	i.Extra = d.extra()
	if d.err != nil {
		return d.err
	}
	return nil
}

// Row encodes i.
func (i *Instance) Row() Row {
	w := rowWriter{props: make([]Property, 0, 16)}
	i.fields(&w)
	return Row{PartitionKey: i.PartitionKey, Timestamp: i.StoredAt, ETag: i.ETag, Properties: w.properties(i.Extra)}
}

// ID returns the instance ID.
func (i *Instance) ID() string { return InstanceID(i.PartitionKey) }

// Status returns the runtime status, StatusUnknown if the row has none that is
// known.
func (i *Instance) Status() Status {
	if !i.RuntimeStatus.Set {
		return StatusUnknown
	}
	return StatusNamed(i.RuntimeStatus.Value)
}

// IsEntity reports whether an instance ID has the form of an entity's. The
// framework looks at nothing else.
func IsEntity(instanceID string) bool { return strings.HasPrefix(instanceID, "@") }
