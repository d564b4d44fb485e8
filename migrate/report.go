package migrate

import (
	"encoding/json"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Report says what a migration has done. Where earlier runs have done a part of it,
// counts are of all runs, unless they say otherwise.
type Report struct {
	Plan *HubPlan
	// PlanSHA256 is the digest of the plan: of all that the source has, the
	// messages to be sent and the rows that redrive work.
	PlanSHA256 string
	// FromAccount and ToAccount are the names of the accounts; empty if unknown.
	FromAccount, ToAccount string
	// Captured is when the source was captured; zero for a live hub.
	Captured schema.Ticks
	// Resumed says that earlier runs have done a part. AlreadyDone says that they
	// have done everything: this one has only compared, and differences may be
	// what an app has done in the target since.
	Resumed, AlreadyDone bool
	Started, Finished    schema.Ticks
	// Phases are those of this run, in order.
	Phases []PhaseReport

	// Rows, Blobs and BlobBytes count what was written, the new leases and rows
	// of Partitions included, but not blobs that are made for messages.
	Rows             map[hub.Table]int64
	Blobs, BlobBytes int64
	// Messages counts what was sent. Queues says it by queue, for those of the
	// target by name.
	Messages int64
	Queues   []QueueReport

	// Source and Target are the digests of what was read of them in the check:
	// they are the same but for Instances, which names the hub and its blobs, and
	// for History if rows redrive work. MessageDigest is that of the messages that
	// were sent.
	Source, Target Digests
	MessageDigest  Digest
	// Differences are what the check found between the plan and the copy; nil if
	// there is none.
	Differences []Difference
}

// PhaseReport says what a run has done in a phase.
type PhaseReport struct {
	Phase             Phase
	Started, Finished schema.Ticks
	// Items and Bytes are done, ItemsBefore of them by earlier runs.
	Items, Bytes, ItemsBefore int64
}

// QueueReport says what a queue of the target holds.
type QueueReport struct {
	Name string `json:"name"`
	// Messages were sent, and Seen of them were seen in the queue afterwards.
	Messages int64 `json:"messages"`
	Seen     int64 `json:"messages_seen"`
}

func (m *migration) report() *Report {
	return &Report{
		Plan: &m.plan, PlanSHA256: m.digest, FromAccount: m.source.Account, Captured: m.source.Started,
		Resumed: m.opts.Journal.begun(), AlreadyDone: m.plan.Done, Started: schema.TicksOf(m.began),
		Phases: []PhaseReport{m.planned}, Rows: make(map[hub.Table]int64),
	}
}

// reportJSON is the form of a report as a JSON object.
type reportJSON struct {
	Type        string       `json:"type"`
	Source      reportedHub  `json:"source"`
	Target      reportedHub  `json:"target"`
	Started     string       `json:"started"`
	Finished    string       `json:"finished"`
	TookMS      int64        `json:"took_ms"`
	Resumed     bool         `json:"resumed"`
	AlreadyDone bool         `json:"already_done"`
	PlanSHA256  string       `json:"plan_sha256"`
	Phases      []phaseJSON  `json:"phases"`
	Rows        reportedRows `json:"rows"`
	Rewritten   int64        `json:"rows_rewritten"`
	Blobs       int64        `json:"blobs"`
	BlobBytes   int64        `json:"blob_bytes"`

	Messages int64            `json:"messages"`
	Queues   []QueueReport    `json:"queues"`
	Pending  []pendingJSON    `json:"pending"`
	Hidden   int64            `json:"messages_hidden"`
	Left     int64            `json:"messages_left"`
	Lost     int64            `json:"lost"`
	CutOff   int64            `json:"cut_off"`
	Missing  []hub.Unreadable `json:"unreadable"`

	SourceDigests map[string]Digest `json:"source_digests"`
	TargetDigests map[string]Digest `json:"target_digests"`
	MessageDigest *Digest           `json:"message_digest,omitempty"`
	Differences   []Difference      `json:"differences"`
}

type reportedHub struct {
	Account        string `json:"account,omitempty"`
	TaskHub        string `json:"task_hub"`
	TrackingPrefix string `json:"tracking_prefix,omitempty"`
	PartitionCount int    `json:"partition_count"`
	Manager        string `json:"partition_manager,omitempty"`
	Captured       string `json:"captured,omitempty"`
}

type reportedRows map[string]int64

type phaseJSON struct {
	Phase       Phase  `json:"phase"`
	Started     string `json:"started"`
	TookMS      int64  `json:"took_ms"`
	Items       int64  `json:"items"`
	ItemsBefore int64  `json:"items_before"`
	Bytes       int64  `json:"bytes"`
}

type pendingJSON struct {
	Kind   Kind   `json:"kind"`
	Origin Origin `json:"origin"`
	Count  int64  `json:"count"`
}

// MarshalJSON returns one object of type migration. Of items, it has the numbers.
func (r *Report) MarshalJSON() ([]byte, error) {
	p := r.Plan
	j := reportJSON{
		Type: "migration",
		Source: reportedHub{
			Account: r.FromAccount, TaskHub: p.From.TaskHub, TrackingPrefix: p.From.TrackingPrefix, PartitionCount: p.FromPartitions,
		},
		Target: reportedHub{
			Account: r.ToAccount, TaskHub: p.To.TaskHub, TrackingPrefix: p.To.TrackingPrefix, PartitionCount: p.Partitions, Manager: string(p.Manager),
		},
		Started: r.Started.String(), Finished: r.Finished.String(), TookMS: milliseconds(r.Started, r.Finished),
		Resumed: r.Resumed, AlreadyDone: r.AlreadyDone, PlanSHA256: r.PlanSHA256, Phases: []phaseJSON{},
		Rows: reportedRows{}, Rewritten: p.Rewritten, Blobs: r.Blobs, BlobBytes: r.BlobBytes,
		Messages: r.Messages, Queues: orEmpty(r.Queues), Pending: []pendingJSON{}, Hidden: p.Hidden, Left: p.Left, Lost: p.LostItems, CutOff: p.CutOffItems,
		Missing: orEmpty(p.Unreadable), SourceDigests: r.Source.named(), TargetDigests: r.Target.named(), Differences: orEmpty(r.Differences),
	}
	if r.Captured != 0 {
		j.Source.Captured = r.Captured.String()
	}
	if r.MessageDigest.SHA256 != "" {
		j.MessageDigest = &r.MessageDigest
	}
	for _, phase := range r.Phases {
		j.Phases = append(j.Phases, phaseJSON{
			phase.Phase, phase.Started.String(), milliseconds(phase.Started, phase.Finished), phase.Items, phase.ItemsBefore, phase.Bytes,
		})
	}
	for table, n := range r.Rows {
		j.Rows[strings.ToLower(table.String())] = n
	}
	for _, c := range p.Pending {
		j.Pending = append(j.Pending, pendingJSON(c))
	}
	return json.Marshal(j)
}

// orEmpty returns all so that it is an array in JSON.
func orEmpty[T any](all []T) []T {
	if all == nil {
		return []T{}
	}
	return all
}

func milliseconds(from, to schema.Ticks) int64 { return max(0, int64(to-from)) / 10_000 }
