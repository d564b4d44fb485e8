package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/migrate"
)

// The outcomes of a migration.
const (
	migrationPlanned     = "planned"
	migrationRefused     = "refused"
	migrationDone        = "done"
	migrationDiffers     = "differs"
	migrationFailed      = "failed"
	migrationInterrupted = "interrupted"
)

// pendingMessage is a line of migrate --json for each item of the work in flight;
// docs/json.md describes it.
type pendingMessage struct {
	Type        string         `json:"type"`
	Kind        migrate.Kind   `json:"kind"`
	Origin      migrate.Origin `json:"origin"`
	InstanceID  string         `json:"instance_id,omitempty"`
	ExecutionID string         `json:"execution_id,omitempty"`
	EventID     int32          `json:"event_id"`
	Name        string         `json:"name,omitempty"`
	PeerID      string         `json:"peer_instance_id,omitempty"`
	Queue       string         `json:"queue,omitempty"`
	DueTime     string         `json:"due_time,omitempty"`
	SizeBytes   int64          `json:"size_bytes,omitempty"`
	SHA256      string         `json:"sha256,omitempty"`
	Blob        string         `json:"blob,omitempty"`
	RowKey      string         `json:"row_key,omitempty"`
	SourceQueue string         `json:"source_queue,omitempty"`
	MessageID   string         `json:"message_id,omitempty"`
	Count       int64          `json:"count,omitempty"`
	Why         string         `json:"why"`
}

func newPendingMessage(i *migrate.Item) *pendingMessage {
	p := &pendingMessage{
		Type: "pending_message", Kind: i.Kind, Origin: i.Origin, InstanceID: i.InstanceID, ExecutionID: i.ExecutionID, EventID: i.EventID,
		Name: i.Name, PeerID: i.Peer, Queue: i.Queue, Blob: i.Blob, SourceQueue: i.SeenIn, MessageID: i.MessageID, Count: i.Count, Why: i.Why,
	}
	if i.DueAt != 0 {
		p.DueTime = i.DueAt.String()
	}
	if i.Queue != "" {
		sum := sha256.Sum256([]byte(i.Text))
		p.SizeBytes, p.SHA256 = int64(len(i.Text)), hex.EncodeToString(sum[:])
	}
	if i.Edit != nil {
		p.RowKey = i.Edit.RowKey
	}
	return p
}

// migrationPlan is what migrate --dry-run --json prints last; docs/json.md
// describes it.
type migrationPlan struct {
	Type             string                   `json:"type"`
	Source           migrationEnd             `json:"source"`
	Target           migrationEnd             `json:"target"`
	PartitionManager migrate.PartitionManager `json:"partition_manager"`
	Rows             map[string]int64         `json:"rows"`
	RowBytes         int64                    `json:"row_bytes"`
	RowsRewritten    int64                    `json:"rows_rewritten"`
	Blobs            int64                    `json:"blobs"`
	BlobBytes        int64                    `json:"blob_bytes"`
	Pending          []pendingCount           `json:"pending"`
	Queues           []sourceQueue            `json:"source_queues"`
	Hidden           int64                    `json:"messages_hidden"`
	Left             int64                    `json:"messages_left"`
	Lost             int64                    `json:"lost"`
	CutOff           int64                    `json:"cut_off"`
	Unreadable       []hub.Unreadable         `json:"unreadable"`
	migrationOutcome
	TookMS int64 `json:"took_ms"`
}

// migrationEnd is one of the two hubs.
type migrationEnd struct {
	Account        string   `json:"account,omitempty"`
	Snapshot       string   `json:"snapshot,omitempty"`
	TaskHub        string   `json:"task_hub"`
	TrackingPrefix string   `json:"tracking_prefix,omitempty"`
	PartitionCount int      `json:"partition_count"`
	Captured       string   `json:"captured,omitempty"`
	Exists         bool     `json:"exists"`
	AppRunning     string   `json:"app_running,omitempty"`
	Evidence       []string `json:"app_running_evidence"`
}

// sourceQueue counts the messages of a queue of the source.
type sourceQueue struct {
	Name       string `json:"name"`
	Messages   int64  `json:"approximate_count"`
	Seen       int64  `json:"seen"`
	Receivable int64  `json:"receivable"`
}

type pendingCount struct {
	Kind   migrate.Kind   `json:"kind"`
	Origin migrate.Origin `json:"origin"`
	Count  int64          `json:"count"`
}

// migrationOutcome is what both documents say of how it went.
type migrationOutcome struct {
	Outcome  string          `json:"outcome"`
	Refusals []refusalReport `json:"refusals"`
	Error    string          `json:"error,omitempty"`
	Journal  string          `json:"journal,omitempty"`
}

type refusalReport struct {
	Code   migrate.RefusalCode `json:"code"`
	Detail string              `json:"detail"`
	Hint   string              `json:"hint,omitempty"`
}

func (e *end) report() migrationEnd {
	r := migrationEnd{
		Account: e.account, Snapshot: e.snapshot, TaskHub: e.names.TaskHub, TrackingPrefix: e.names.TrackingPrefix,
		PartitionCount: e.partitions, Exists: e.exists, AppRunning: string(e.running), Evidence: e.evidence,
	}
	if e.started != 0 {
		r.Captured = e.started.String()
	}
	if r.Evidence == nil {
		r.Evidence = []string{}
	}
	return r
}

func newOutcome(outcome string, plan *migrate.HubPlan) migrationOutcome {
	o := migrationOutcome{Outcome: outcome, Refusals: []refusalReport{}}
	for _, r := range plan.Refusals {
		o.Outcome = migrationRefused
		o.Refusals = append(o.Refusals, refusalReport{r.Code, r.Detail, remedies[r.Code]})
	}
	return o
}

func (m *migrating) planReport(plan *migrate.HubPlan) *migrationPlan {
	p := &migrationPlan{
		Type: "migration_plan", Source: m.from.report(), Target: m.target.report(), PartitionManager: plan.Manager,
		Rows: map[string]int64{}, RowBytes: plan.RowBytes, RowsRewritten: plan.Rewritten, Blobs: plan.Blobs, BlobBytes: plan.BlobBytes,
		Pending: []pendingCount{}, Queues: []sourceQueue{}, Hidden: plan.Hidden, Left: plan.Left, Lost: plan.LostItems, CutOff: plan.CutOffItems,
		Unreadable:       append([]hub.Unreadable{}, plan.Unreadable...),
		migrationOutcome: newOutcome(migrationPlanned, plan), TookMS: time.Since(m.began).Milliseconds(),
	}
	for table, n := range plan.Rows {
		p.Rows[strings.ToLower(table.String())] = n
	}
	for _, c := range plan.Pending {
		p.Pending = append(p.Pending, pendingCount(c))
	}
	for _, q := range plan.Queues {
		p.Queues = append(p.Queues, sourceQueue{q.Queue, q.Messages, q.Seen, q.Receivable})
	}
	return p
}

// migrationDocument is the last line of migrate --json and of its report: that of
// migrate.Report with an outcome.
type migrationDocument struct {
	*migrate.Report
	migrationOutcome
}

// MarshalJSON puts both into one object.
func (d *migrationDocument) MarshalJSON() ([]byte, error) {
	report, err := json.Marshal(d.Report)
	if err != nil {
		return nil, err
	}
	outcome, err := json.Marshal(d.migrationOutcome)
	if err != nil {
		return nil, err
	}
	return slices.Concat(report[:len(report)-1], []byte{','}, outcome[1:]), nil
}
