package main

import (
	"github.com/taskhub-tools/taskhub/explain"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/verify"
)

// explanation is what explain --json prints; docs/json.md describes it.
type explanation struct {
	Type         string             `json:"type"`
	InstanceID   string             `json:"instance_id"`
	Entity       bool               `json:"entity"`
	Found        bool               `json:"found"`
	Condition    explain.Condition  `json:"condition"`
	Verdict      string             `json:"verdict"`
	ObservedAt   string             `json:"observed_at,omitempty"`
	ExecutionID  string             `json:"execution_id,omitempty"`
	Name         string             `json:"name,omitempty"`
	Status       string             `json:"runtime_status,omitempty"`
	StatusFrom   string             `json:"runtime_status_from,omitempty"`
	Since        string             `json:"since,omitempty"`
	SinceMS      *int64             `json:"since_ms,omitempty"`
	LastProgress string             `json:"last_progress,omitempty"`
	Failure      string             `json:"failure,omitempty"`
	Episodes     int64              `json:"episodes"`
	RowStatus    string             `json:"row_status,omitempty"`
	Differences  []differenceJSON   `json:"differences"`
	Awaits       []awaitJSON        `json:"awaits"`
	AwaitsMore   int64              `json:"awaits_more"`
	Shortfalls   []shortfallJSON    `json:"shortfalls"`
	Sent         []awaitJSON        `json:"sent"`
	Locks        []lockJSON         `json:"locks"`
	State        *entityStateJSON   `json:"entity_state,omitempty"`
	Messages     []explainedMessage `json:"messages"`
	MessagesMore int64              `json:"messages_more"`
	Queues       []explainedQueue   `json:"queues"`
	Partition    explainedPartition `json:"partition"`
	Parents      []relativeJSON     `json:"parents"`
	Children     []relativeJSON     `json:"children"`
	ChildrenMore int64              `json:"children_more"`
	Findings     []verify.Finding   `json:"findings"`
	Steps        []stepJSON         `json:"steps"`
	Similar      []string           `json:"similar"`
}

type differenceJSON struct {
	Column   string `json:"column"`
	Stored   string `json:"stored"`
	Derived  string `json:"derived"`
	Evidence string `json:"evidence"`
}

type awaitJSON struct {
	Kind       explain.Kind  `json:"kind"`
	EventID    int32         `json:"event_id"`
	RowKey     string        `json:"row_key,omitempty"`
	Name       string        `json:"name,omitempty"`
	InstanceID string        `json:"instance_id,omitempty"`
	RequestID  string        `json:"request_id,omitempty"`
	Since      string        `json:"since,omitempty"`
	DueTime    string        `json:"due_time,omitempty"`
	OverdueMS  *int64        `json:"overdue_ms,omitempty"`
	Where      explain.Where `json:"where"`
	Why        string        `json:"why,omitempty"`
	Messages   []soughtJSON  `json:"messages"`
}

type soughtJSON struct {
	Queue      string        `json:"queue,omitempty"`
	InstanceID string        `json:"instance_id"`
	EventTypes []string      `json:"event_types"`
	Where      explain.Where `json:"where"`
	MessageID  string        `json:"message_id,omitempty"`
	Position   int           `json:"position,omitempty"`
	Inserted   string        `json:"inserted_time,omitempty"`
	Dequeued   *int64        `json:"dequeue_count,omitempty"`
}

type shortfallJSON struct {
	Queues  []string `json:"queues"`
	Awaited int64    `json:"awaited"`
	Room    int64    `json:"room"`
	Lost    int64    `json:"lost"`
}

type lockJSON struct {
	EntityID string `json:"entity_id"`
	Since    string `json:"since,omitempty"`
	LockedBy string `json:"locked_by,omitempty"`
	Agreed   bool   `json:"agreed"`
}

type entityStateJSON struct {
	Exists      bool            `json:"exists"`
	Suspended   bool            `json:"suspended"`
	LockedBy    string          `json:"locked_by,omitempty"`
	Waiting     []operationJSON `json:"waiting"`
	WaitingMore int64           `json:"waiting_more"`
}

type operationJSON struct {
	Name   string `json:"name,omitempty"`
	Lock   bool   `json:"lock"`
	Signal bool   `json:"signal"`
	ID     string `json:"id"`
	Parent string `json:"parent,omitempty"`
}

type explainedMessage struct {
	Queue        string `json:"queue"`
	Position     int    `json:"position"`
	MessageID    string `json:"message_id"`
	Purpose      string `json:"purpose"`
	EventType    string `json:"event_type,omitempty"`
	ExecutionID  string `json:"execution_id,omitempty"`
	DueTime      string `json:"due_time,omitempty"`
	InsertedTime string `json:"inserted_time,omitempty"`
	DequeueCount int64  `json:"dequeue_count"`
	Misplaced    bool   `json:"misplaced"`
	Problem      string `json:"problem,omitempty"`
}

type explainedQueue struct {
	Name           string `json:"name"`
	Exists         bool   `json:"exists"`
	Approximate    int64  `json:"approximate_count"`
	Seen           int64  `json:"seen"`
	NotShown       int64  `json:"not_shown"`
	Uncounted      bool   `json:"uncounted"`
	OldestInserted string `json:"oldest_inserted_time,omitempty"`
}

type explainedPartition struct {
	Number     int               `json:"number"`
	Queue      string            `json:"queue,omitempty"`
	Leases     []partitionReport `json:"leases"`
	AppRunning manage.Running    `json:"app_running"`
	Evidence   []string          `json:"app_running_evidence"`
}

type relativeJSON struct {
	InstanceID string `json:"instance_id"`
	Name       string `json:"name,omitempty"`
	EventID    int32  `json:"event_id"`
	Found      bool   `json:"found"`
	Status     string `json:"runtime_status,omitempty"`
	Since      string `json:"since,omitempty"`
	Summary    string `json:"summary,omitempty"`
	Open       bool   `json:"open"`
	Cycle      bool   `json:"cycle"`
	Depth      int    `json:"depth"`
}

type stepJSON struct {
	Command string   `json:"command,omitempty"`
	Args    []string `json:"args"`
	Text    string   `json:"text"`
}

func newExplanation(r *explain.Report) explanation {
	live := &r.History.Live
	x := explanation{
		Type: "explanation", InstanceID: r.InstanceID, Entity: r.Entity, Found: r.Found,
		Condition: r.Condition, Verdict: r.Verdict, ObservedAt: stamp(r.ObservedAt),
		ExecutionID: r.Judged.ExecutionID, Since: stamp(r.Since), SinceMS: spanMS(r, r.Since), LastProgress: stamp(r.LastProgress),
		Failure: r.Failure, Episodes: live.Episodes, Differences: []differenceJSON{},
		Awaits: awaitsJSON(r, r.Awaits), AwaitsMore: r.AwaitsMore, Shortfalls: []shortfallJSON{}, Sent: awaitsJSON(r, r.Sent),
		Locks: []lockJSON{}, Messages: []explainedMessage{}, MessagesMore: r.MessagesMore, Queues: []explainedQueue{},
		Parents: relativesJSON(r.Parents), Children: relativesJSON(r.Children), ChildrenMore: r.ChildrenMore,
		Findings: append([]verify.Finding{}, r.Findings...), Steps: []stepJSON{}, Similar: append([]string{}, r.Similar...),
		Partition: explainedPartition{
			Number: r.Partition.Number, Queue: r.Partition.Queue, Leases: []partitionReport{},
			AppRunning: r.Partition.AppRunning, Evidence: append([]string{}, r.Partition.Evidence...),
		},
	}
	if r.Found {
		x.Status, x.StatusFrom = r.Judged.Status.String(), string(r.Judged.StatusFrom)
	}
	if r.Row != nil {
		x.Name, x.RowStatus = r.Row.Name.Value, r.Row.RuntimeStatus.Value
	}
	if live.Started != nil && x.Name == "" {
		x.Name = live.Started.Name.Value
	}
	for _, d := range r.Judged.Differences {
		x.Differences = append(x.Differences, differenceJSON{d.Column, d.Stored, d.Derived, d.Evidence})
	}
	for _, s := range r.Shortfalls {
		x.Shortfalls = append(x.Shortfalls, shortfallJSON{s.Queues, s.Awaited, s.Room, s.Lost})
	}
	for _, l := range r.Locks {
		x.Locks = append(x.Locks, lockJSON{l.EntityID, stamp(l.Since), l.LockedBy, l.Agreed})
	}
	if s := r.State; s != nil {
		x.State = &entityStateJSON{s.Exists, s.Suspended, s.LockedBy, []operationJSON{}, s.WaitingMore}
		for _, o := range s.Waiting {
			x.State.Waiting = append(x.State.Waiting, operationJSON(o))
		}
	}
	for _, m := range r.Messages {
		x.Messages = append(x.Messages, explainedMessage{
			m.Queue, m.Position, m.ID, m.Purpose, m.EventType, m.ExecutionID, stamp(m.DueAt), stamp(m.InsertedAt),
			m.DequeueCount, m.Misplaced, m.Problem,
		})
	}
	for _, q := range r.Queues {
		x.Queues = append(x.Queues, explainedQueue{q.Name, q.Exists, q.ApproximateCount, q.Seen, q.Room, q.Uncounted, stamp(q.OldestInserted)})
	}
	for _, p := range r.Partition.Leases {
		x.Partition.Leases = append(x.Partition.Leases, partitionReport{
			p.Queue, p.Source, p.Owner, p.NextOwner, stamp(p.OwnedSince), stamp(p.LastRenewal), spanMS(r, p.LastRenewal),
			stamp(p.ExpiresAt), p.Draining, p.LeaseState,
		})
	}
	for i := range r.Steps {
		s := &r.Steps[i]
		x.Steps = append(x.Steps, stepJSON{s.Command(), append([]string{}, s.Args...), s.Text})
	}
	return x
}

// spanMS returns how old t was when the hub was looked at; nil if that is
// unknown.
func spanMS(r *explain.Report, t schema.Ticks) *int64 {
	age, ok := r.Age(t)
	if !ok {
		return nil
	}
	ms := age.Milliseconds()
	return &ms
}

func awaitsJSON(r *explain.Report, awaits []explain.Await) []awaitJSON {
	out := []awaitJSON{}
	for i := range awaits {
		a := &awaits[i]
		j := awaitJSON{
			Kind: a.Kind, EventID: a.EventID, RowKey: a.RowKey, Name: a.Name, InstanceID: a.InstanceID, RequestID: a.RequestID,
			Since: stamp(a.Since), DueTime: stamp(a.DueAt), Where: a.Where, Why: a.Why, Messages: []soughtJSON{},
		}
		if late := spanMS(r, a.DueAt); late != nil && *late > 0 {
			j.OverdueMS = late
		}
		for _, s := range a.Messages {
			m := soughtJSON{Queue: s.Queue, InstanceID: s.InstanceID, EventTypes: []string{}, Where: s.Where}
			for _, t := range s.Types {
				m.EventTypes = append(m.EventTypes, t.String())
			}
			if f := s.Found; f != nil {
				m.MessageID, m.Position, m.Inserted, m.Dequeued = f.ID, f.Position, stamp(f.InsertedAt), &f.DequeueCount
			}
			j.Messages = append(j.Messages, m)
		}
		out = append(out, j)
	}
	return out
}

func relativesJSON(relatives []explain.Relative) []relativeJSON {
	out := []relativeJSON{}
	for _, r := range relatives {
		j := relativeJSON{
			InstanceID: r.InstanceID, Name: r.Name, EventID: r.EventID, Found: r.Found, Since: stamp(r.Since),
			Summary: r.Summary, Open: r.Open, Cycle: r.Cycle, Depth: r.Depth,
		}
		if r.Found {
			j.Status = r.Status.String()
		}
		out = append(out, j)
	}
	return out
}
