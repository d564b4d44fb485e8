package main

import (
	"encoding/json"

	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// replayLine is a line of replay --json; docs/json.md describes it.
type replayLine struct {
	Type             string              `json:"type"`
	InstanceID       string              `json:"instance_id"`
	ExecutionID      *string             `json:"execution_id"`
	Name             *string             `json:"name"`
	Version          *string             `json:"version"`
	RuntimeStatus    string              `json:"runtime_status"`
	StatusFrom       replay.Source       `json:"status_from"`
	Output           *string             `json:"output"`
	FailureDetails   json.RawMessage     `json:"failure_details"`
	CreatedTime      *string             `json:"created_time"`
	CompletedTime    *string             `json:"completed_time"`
	LastUpdatedTime  *string             `json:"last_updated_time"`
	Generation       *int32              `json:"generation"`
	Parent           *parentReport       `json:"parent"`
	Suspended        bool                `json:"suspended"`
	Rewound          bool                `json:"rewound"`
	CheckpointOpen   bool                `json:"checkpoint_open"`
	Episodes         int64               `json:"episodes"`
	Events           int64               `json:"events"`
	DuplicateResults int64               `json:"duplicate_results"`
	Pending          pendingReport       `json:"pending"`
	Differences      []differenceReport  `json:"differences"`
	NotDerivable     []string            `json:"not_derivable"`
	Overwritten      []overwrittenReport `json:"overwritten"`
	Anomalies        []anomalyReport     `json:"anomalies"`
	AnomaliesLeftOut int64               `json:"anomalies_left_out"`
}

type parentReport struct {
	InstanceID  string `json:"instance_id"`
	ExecutionID string `json:"execution_id"`
	Name        string `json:"name"`
	EventID     int32  `json:"event_id"`
}

// pendingReport has open work by kind.
type pendingReport struct {
	Activities        []activityReport `json:"activities"`
	Timers            []timerReport    `json:"timers"`
	SubOrchestrations []childReport    `json:"sub_orchestrations"`
	Events            []raisedReport   `json:"events"`
	EntityCalls       []callReport     `json:"entity_calls"`
	LockRequests      []callReport     `json:"entity_lock_requests"`
	Locks             []callReport     `json:"entity_locks"`
	Signals           []signalReport   `json:"entity_signals"`
}

type activityReport struct {
	EventID   int32   `json:"event_id"`
	Name      string  `json:"name"`
	SinceTime *string `json:"since_time"`
}

type timerReport struct {
	EventID   int32   `json:"event_id"`
	FireTime  *string `json:"fire_time"`
	SinceTime *string `json:"since_time"`
}

type childReport struct {
	EventID    int32   `json:"event_id"`
	Name       string  `json:"name"`
	InstanceID string  `json:"instance_id"`
	SinceTime  *string `json:"since_time"`
}

type raisedReport struct {
	RowKey    string  `json:"row_key"`
	Name      string  `json:"name"`
	SinceTime *string `json:"since_time"`
}

type callReport struct {
	EventID    int32   `json:"event_id"`
	Name       string  `json:"name"`
	InstanceID string  `json:"instance_id"`
	RequestID  string  `json:"request_id"`
	SinceTime  *string `json:"since_time"`
}

type signalReport struct {
	EventID    int32   `json:"event_id"`
	Name       string  `json:"name"`
	InstanceID string  `json:"instance_id"`
	DueTime    *string `json:"due_time"`
	SinceTime  *string `json:"since_time"`
}

type differenceReport struct {
	Column   string   `json:"column"`
	Stored   string   `json:"stored"`
	Derived  string   `json:"derived"`
	Evidence string   `json:"evidence"`
	RowKeys  []string `json:"row_keys"`
}

type overwrittenReport struct {
	ExecutionID   string  `json:"execution_id"`
	RuntimeStatus string  `json:"runtime_status"`
	Events        int64   `json:"events"`
	Missing       int64   `json:"missing"`
	LastTime      *string `json:"last_updated_time"`
}

type anomalyReport struct {
	Code        replay.AnomalyCode `json:"code"`
	ExecutionID string             `json:"execution_id"`
	RowKeys     []string           `json:"row_keys"`
	Column      string             `json:"column"`
	Detail      string             `json:"detail"`
}

// line returns the instance as JSON.
func (i *replayed) line() *replayLine {
	live := &i.history.Live
	l := &replayLine{
		Type: "replay", InstanceID: i.id, ExecutionID: unlessEmpty(i.verdict.ExecutionID), Name: unlessEmpty(i.name()),
		RuntimeStatus: i.verdict.Status.String(), StatusFrom: i.verdict.StatusFrom,
		CreatedTime: instant(i.created()), CompletedTime: instant(i.completed()), LastUpdatedTime: instant(i.lastUpdated()),
		Suspended: live.Suspended, Rewound: live.Rewound, CheckpointOpen: live.CheckpointOpen,
		Episodes: live.Episodes, Events: live.Events, DuplicateResults: live.Duplicates,
		Pending: newPendingReport(live.Open), Differences: []differenceReport{},
		NotDerivable: append([]string{}, i.verdict.NotDerivable...),
		Overwritten:  []overwrittenReport{}, Anomalies: []anomalyReport{}, AnomaliesLeftOut: anomaliesLeftOut(i.history),
	}
	if v := i.version(); v.Set {
		l.Version = &v.Value
	}
	if i.output.Set {
		l.Output = &i.output.Value
	}
	if json.Valid([]byte(i.failure.Value)) {
		l.FailureDetails = json.RawMessage(i.failure.Value)
	}
	if g := i.generation(); g.Set {
		l.Generation = &g.Value
	}
	if parent := live.Parent; parent != nil {
		o := parent.OrchestrationInstance
		l.Parent = &parentReport{o.InstanceID, o.ExecutionID, parent.Name, parent.TaskScheduleID}
	}
	for _, d := range i.verdict.Differences {
		l.Differences = append(l.Differences, differenceReport{d.Column, d.Stored, d.Derived, d.Evidence, append([]string{}, d.RowKeys...)})
	}
	for k := range i.history.Overwritten {
		o := &i.history.Overwritten[k]
		l.Overwritten = append(l.Overwritten, overwrittenReport{
			o.ExecutionID, o.Status.String(), o.Events, o.Missing, instant(o.LastUpdatedTime),
		})
	}
	for _, a := range i.history.Anomalies {
		l.Anomalies = append(l.Anomalies, anomalyReport{a.Code, a.ExecutionID, append([]string{}, a.RowKeys...), a.Column, a.Detail})
	}
	return l
}

func newPendingReport(open []replay.Open) pendingReport {
	p := pendingReport{
		Activities: []activityReport{}, Timers: []timerReport{}, SubOrchestrations: []childReport{}, Events: []raisedReport{},
		EntityCalls: []callReport{}, LockRequests: []callReport{}, Locks: []callReport{}, Signals: []signalReport{},
	}
	for _, o := range open {
		since := instant(o.Since)
		call := callReport{o.EventID, o.Name, o.InstanceID, o.RequestID, since}
		switch o.Kind {
		case replay.OpenActivity:
			p.Activities = append(p.Activities, activityReport{o.EventID, o.Name, since})
		case replay.OpenTimer:
			p.Timers = append(p.Timers, timerReport{o.EventID, instant(o.FireAt), since})
		case replay.OpenSubOrchestration:
			p.SubOrchestrations = append(p.SubOrchestrations, childReport{o.EventID, o.Name, o.InstanceID, since})
		case replay.OpenEvent:
			p.Events = append(p.Events, raisedReport{o.RowKey, o.Name, since})
		case replay.OpenEntityCall:
			p.EntityCalls = append(p.EntityCalls, call)
		case replay.OpenLockRequest:
			p.LockRequests = append(p.LockRequests, call)
		case replay.OpenLock:
			p.Locks = append(p.Locks, call)
		case replay.OpenSignal:
			p.Signals = append(p.Signals, signalReport{o.EventID, o.Name, o.InstanceID, instant(o.FireAt), since})
		}
	}
	return p
}

// anomaliesLeftOut is the number of anomalies beyond those that are kept.
func anomaliesLeftOut(h *replay.History) int64 {
	n := -int64(len(h.Anomalies))
	for _, count := range h.AnomalyCounts {
		n += count
	}
	return max(n, 0)
}

// instant formats a time for JSON; zero, which is unknown, is null.
func instant(t schema.Ticks) *string { return unlessEmpty(stamp(t)) }

// unlessEmpty returns s for JSON, null if it is empty.
func unlessEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
