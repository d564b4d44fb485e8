package server

import (
	"context"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

const (
	// maxColumnShown is how much of each column is shown with the row that has it.
	maxColumnShown = 8 << 10
	// longHistory is from how many events on the page reads all of a history only
	// when it is asked to.
	longHistory = 20_000
)

// shownInstance is what the page shows of an instance beside its history.
type shownInstance struct {
	Observed pageTime `json:"observed_at"`
	ID       string   `json:"id"`
	Entity   bool     `json:"entity"`
	// Found is false if neither table has a row of it.
	Found bool `json:"found"`
	// HasRow is false for an instance of which only the history is there.
	HasRow bool `json:"has_row"`
	// Partition is the control queue that its messages go to, from 0; -1 if it is
	// not known.
	Partition int    `json:"partition"`
	Queue     string `json:"queue,omitempty"`

	Name        string   `json:"name"`
	Status      string   `json:"status"`
	ExecutionID string   `json:"execution_id"`
	Version     string   `json:"version"`
	TaskHubName string   `json:"task_hub_name"`
	Generation  *int32   `json:"generation"`
	Created     pageTime `json:"created"`
	Updated     pageTime `json:"updated"`
	Completed   pageTime `json:"completed"`
	Scheduled   pageTime `json:"scheduled"`
	DurationMS  int64    `json:"duration_ms"`
	// ReasonOutput says that the output is why it was suspended, resumed or
	// terminated.
	ReasonOutput bool   `json:"reason_output"`
	ETag         string `json:"etag"`
	// StoredAt is when the row was last written.
	StoredAt pageTime `json:"stored_at"`

	Parent   *shownParent   `json:"parent"`
	Sentinel *shownSentinel `json:"sentinel"`
	// HasHistory says that there is a row of history beside the sentinel.
	HasHistory bool `json:"has_history"`
	// LongHistory says that to explain the instance takes long: all of its history
	// would be read.
	LongHistory bool          `json:"long_history"`
	Columns     []shownColumn `json:"columns"`
	Problems    []string      `json:"problems"`
}

type shownParent struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

type shownSentinel struct {
	ExecutionID string   `json:"execution_id"`
	Complete    bool     `json:"complete"`
	CompletedAt pageTime `json:"completed_at"`
}

// instanceData shows one instance. It takes a few requests for single rows.
func (s *Server) instanceData(ctx context.Context, p *pageRequest) (any, error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	out := &shownInstance{
		ID: id, Entity: schema.IsEntity(id), Partition: -1, DurationMS: -1, Status: schema.StatusUnknown.String(),
		Observed: pageTime(s.observed(p.hub)), Columns: []shownColumn{}, Problems: []string{},
	}
	if n := p.hub.info.PartitionCount; n > 0 {
		out.Partition = schema.Partition(id, n)
		out.Queue = p.hub.info.Names.ControlQueue(out.Partition)
	}
	row, err := firstRow(ctx, p.hub, hub.Instances, hub.Partition(schema.EscapeKey(id)))
	if err != nil {
		return nil, err
	}
	if row != nil {
		s.addRow(out, row)
	}
	if err := s.addHistory(ctx, p.hub, out); err != nil {
		return nil, err
	}
	out.Found = out.HasRow || out.HasHistory || out.Sentinel != nil
	return out, nil
}

// firstRow returns the first row of a table that keys select, or nil.
func firstRow(ctx context.Context, h *served, table hub.Table, keys hub.Keys) (*schema.Row, error) {
	for row, err := range h.Reader.Rows(ctx, table, keys) {
		if err != nil {
			return nil, err
		}
		row = row.Clone()
		return &row, nil
	}
	return nil, nil
}

func (s *Server) addRow(out *shownInstance, row *schema.Row) {
	i, err := schema.DecodeInstance(row)
	if err != nil {
		out.Problems = append(out.Problems, err.Error())
	}
	out.HasRow = true
	out.Name, out.Status, out.ExecutionID, out.Version = i.Name.Value, i.Status().String(), i.ExecutionID.Value, i.Version.Value
	out.TaskHubName = i.TaskHubName.Value
	out.Created, out.Updated, out.Completed = pageTime(i.CreatedTime.Value), pageTime(i.LastUpdatedTime.Value), pageTime(i.CompletedTime.Value)
	out.Scheduled = pageTime(i.ScheduledStartTime.Value)
	if i.Generation.Set {
		out.Generation = &i.Generation.Value
	}
	if !i.Status().Terminal() {
		out.ReasonOutput = i.Output.Set
		out.Completed = 0 // of an execution before
	} else {
		out.ReasonOutput = i.Status() == schema.StatusTerminated
	}
	out.ETag, out.StoredAt = row.ETag, pageTime(row.Timestamp)
	listed := indexed{
		created: i.CreatedTime.Value, updated: i.LastUpdatedTime.Value, completed: i.CompletedTime.Value,
		status: int8(i.Status()), entity: out.Entity,
	}
	out.DurationMS = listed.durationMS(schema.Ticks(out.Observed))
	out.Columns = s.columns(row, maxColumnShown)
}

// addHistory adds what the first row of the history and the sentinel tell.
func (s *Server) addHistory(ctx context.Context, h *served, out *shownInstance) error {
	keys := hub.Partition(schema.EscapeKey(out.ID))
	sentinel, err := rowAt(ctx, h, keys, schema.SentinelRowKey)
	if err != nil {
		return err
	}
	if sentinel != nil {
		v, err := schema.DecodeSentinel(sentinel)
		if err != nil {
			out.Problems = append(out.Problems, err.Error())
		}
		out.Sentinel = &shownSentinel{
			v.ExecutionID.Value, !v.IsCheckpointComplete.Set || v.IsCheckpointComplete.Value, pageTime(v.CheckpointCompletedTimestamp.Value),
		}
	}
	first, err := firstRow(ctx, h, hub.History, keys)
	if err != nil || first == nil || first.IsSentinel() {
		return err
	}
	out.HasHistory = true
	late, err := rowAt(ctx, h, keys, schema.FormatSequence(longHistory))
	if err != nil {
		return err
	}
	out.LongHistory = late != nil
	// The first event is OrchestratorStarted, and the start comes with it.
	for _, n := range [...]int64{1, 0} {
		row, err := rowAt(ctx, h, keys, schema.FormatSequence(n))
		if err != nil {
			return err
		}
		if row == nil {
			continue
		}
		event, _ := schema.DecodeHistoryRow(row) // what cannot be read of it is shown with the history
		start, ok := event.Event.(*schema.ExecutionStarted)
		if !ok {
			continue
		}
		if out.Name == "" {
			out.Name = start.Name.Value
		}
		if parent, err := schema.ParseParentInstance(start.ParentInstance); err == nil && parent != nil {
			out.Parent = &shownParent{strings.Clone(parent.OrchestrationInstance.InstanceID), strings.Clone(parent.Name)}
		}
		break
	}
	return nil
}

// rowAt returns the row of a partition of the History table with a RowKey, or nil.
func rowAt(ctx context.Context, h *served, keys hub.Keys, rowKey string) (*schema.Row, error) {
	keys.RowKey = rowKey
	return firstRow(ctx, h, hub.History, keys)
}
