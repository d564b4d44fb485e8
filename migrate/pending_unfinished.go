package migrate

import (
	"context"
	"slices"

	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// unfinished reports whether the last checkpoint was cut off, in the middle of its
// history or between the history and the row. The messages that it was about are
// deleted last, so that they come again.
//
// Source: durabletask 2.9.1, AzureStorageOrchestrationService.cs:1141-1283;
// recorded in instance wide-5 of hub dtfx-2.9.1-torn and inflight-07 of hub
// dtfx-2.9.1-crashed.
func (s *subject) unfinished(ctx context.Context) (bool, error) {
	switch {
	case s.torn():
		return true, nil
	case s.row != nil:
		return s.row.LastUpdatedTime.Value < s.live.LastUpdatedTime, nil
	case s.live.Status.Terminal():
		// That is also what an interrupted purge leaves.
		return s.awaited(ctx)
	}
	return true, nil
}

// awaited reports whether the parent waits for the instance, which then has just
// ended.
func (s *subject) awaited(ctx context.Context) (bool, error) {
	parent := s.live.Parent
	if parent == nil || s.p.hiddenFor(s.id) == 0 {
		return false, nil
	}
	of := parent.OrchestrationInstance
	_, h, err := s.p.read(ctx, of.InstanceID)
	if err != nil {
		return false, err
	}
	return h.Live.ExecutionID == of.ExecutionID && !h.Live.Status.Terminal() && slices.ContainsFunc(h.Live.Open, func(o replay.Open) bool {
		return o.Kind == replay.OpenSubOrchestration && o.EventID == parent.TaskScheduleID && o.InstanceID == s.id
	}), nil
}

// torn reports whether the history itself was cut off.
func (s *subject) torn() bool {
	complete := schema.Optional[bool]{}
	if s.h.Sentinel != nil {
		complete = s.h.Sentinel.IsCheckpointComplete
	}
	return complete.Set && !complete.Value || s.live.CheckpointOpen
}

// redelivered reports whether a message of this type may come again after a
// checkpoint that was cut off.
func redelivered(t schema.EventType) bool {
	switch t {
	case schema.TypeExecutionStarted, schema.TypeExecutionTerminated, schema.TypeExecutionSuspended, schema.TypeExecutionResumed,
		schema.TypeTaskCompleted, schema.TypeTaskFailed, schema.TypeTimerFired,
		schema.TypeSubOrchestrationCompleted, schema.TypeSubOrchestrationFailed:
		return true
	}
	return false
}

// redeliver gives out the messages of an unfinished checkpoint again. The
// framework ignores a second start or result. An external event would count
// twice, and its first copy is in history already.
//
// Source: durabletask 2.9.1, TaskOrchestrationDispatcher.cs:877-1009,
// TaskOrchestrationContext.cs:476-586.
func (s *subject) redeliver(ctx context.Context, begun map[int32]int64) error {
	for n := range s.taken {
		row := &s.taken[n]
		decoded, err := schema.DecodeHistoryRow(row)
		if _, marked := decoded.Rewound(); marked {
			continue
		}
		i := Item{
			InstanceID: s.id, ExecutionID: s.live.ExecutionID, Origin: Rebuilt, EventID: -1,
			Why: "the checkpoint that took it in was not finished",
		}
		t := &schema.TaskMessage{Event: decoded.Event, OrchestrationInstance: schema.OrchestrationInstance{InstanceID: s.id}}
		i.Kind = kindOf(t)
		if err == nil {
			err = schema.LoadTexts(decoded.Event, s.p.loader(ctx))
		}
		if err != nil {
			if err := s.lost(ctx, &i, err); err != nil {
				return err
			}
			continue
		}
		what := identify(t)
		if s.p.seen.has(s.id, s.live.ExecutionID, func(m *seenMessage) bool { return m.kind == what.kind && m.taskID == what.taskID }) {
			continue
		}
		if what.taskID >= 0 {
			i.EventID = what.taskID
		}
		e := s.envelope(0, i.Kind, what.taskID)
		e.key += "\x00" + row.RowKey
		// A result has the episode of what it answers.
		e.episode.Value, e.episode.Set = begun[what.taskID]
		switch v := decoded.Event.(type) {
		case *schema.ExecutionStarted:
			if !v.Generation.Set && s.live.Parent == nil {
				continue // it has continued as new, which no message brings about
			}
			i.Name = v.Name.Value
			e.sender = schema.OrchestrationInstance{}
			if parent := s.live.Parent; parent != nil {
				e.sender = schema.OrchestrationInstance{
					InstanceID: parent.OrchestrationInstance.InstanceID, ExecutionID: schema.Some(parent.OrchestrationInstance.ExecutionID),
				}
				if e.tags, err = s.tags(ctx); err != nil {
					return s.lost(ctx, &i, err)
				}
			}
		case *schema.ExecutionTerminated, *schema.ExecutionSuspended, *schema.ExecutionResumed:
			e.sender, e.target.ExecutionID = schema.OrchestrationInstance{}, schema.Optional[string]{}
		}
		asMessage(decoded.Event, s.id, s.live.ExecutionID)
		s.p.fill(&i, e, decoded.Event)
		if err := s.give(&i); err != nil {
			return err
		}
	}
	return nil
}
