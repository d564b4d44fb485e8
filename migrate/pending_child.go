package migrate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

var (
	errForgotten = errors.New("nobody waits for it, and whether it has ended and was purged or has not begun cannot be told")
	errOther     = errors.New("its instance runs for somebody else")
	errNoAnswer  = errors.New("it has ended, and its history does not tell how")
)

// child gives out the start of a sub-orchestration that has not begun, or the
// answer of one that has ended. Nothing is missing of one that works.
func (s *subject) child(ctx context.Context, i *Item, created *schema.SubOrchestrationCreated, row *schema.Row, episode int64) error {
	id := created.InstanceID.Value
	forgotten, crosses := schema.FireAndForget(created.Tags.Value), s.p.crosses(s.id, id)
	instance, h, err := s.p.read(ctx, id)
	if err != nil {
		return err
	}
	ended := instance != nil && instance.Status().Terminal()
	began := h.Live.Events > 0
	if began {
		ended = h.Live.Status.Terminal()
	}
	switch {
	case began && s.made(&h.Live, created.EventID):
		switch {
		case forgotten || schema.FireAndForget(startTags(&h.Live)):
			return nil
		case ended:
			return s.answer(ctx, i, &h.Live, id)
		case crosses:
			return s.p.cut(&childLink, created.EventID, s.id, id)
		}
		return nil
	case s.p.seen.hasStart(id, s.id, created.EventID):
		if crosses && s.moves && !forgotten { // else the message has told it
			return s.p.cut(&childLink, created.EventID, s.id, id)
		}
		return nil
	case !ended && (began || instance != nil):
		// It cannot have been started for this parent, or would have overwritten
		// what is there.
		i.Why = "it has not begun for this parent"
		return s.lost(ctx, i, errOther)
	}
	i.Why = "it has neither begun nor can its start be seen"
	switch {
	case forgotten && (s.p.hiddenFor(id) == 0 || crosses && s.moves):
		return nil
	case forgotten && !began:
		if crosses {
			i.InstanceID = id
		}
		return s.lost(ctx, i, errForgotten)
	case s.live.Started != nil && !s.live.Started.GenerateNewTrace.Set && s.p.hiddenFor(id)+s.p.hiddenFor(s.id) == 0:
		// Before Core 3.9, which writes this column, a row may not tell that
		// nobody waits for the child; it may have ended long ago.
		return nil
	case crosses:
		if err := s.p.cut(&childLink, created.EventID, s.id, id); err != nil || s.moves || !stored(row) {
			return err
		}
	case !stored(row):
		return s.redrive(i, row)
	}
	return s.startChild(ctx, i, created, id, episode)
}

func startTags(live *replay.State) string {
	if live.Started == nil {
		return ""
	}
	return live.Started.Tags.Value
}

// made reports whether an execution is the one that an event of the instance made:
// IDs can be used again.
func (s *subject) made(live *replay.State, eventID int32) bool {
	p := live.Parent
	return p != nil && p.OrchestrationInstance.InstanceID == s.id && p.TaskScheduleID == eventID &&
		(p.OrchestrationInstance.ExecutionID == "" || p.OrchestrationInstance.ExecutionID == s.live.ExecutionID)
}

// startChild gives out the start of a sub-orchestration whose input is stored.
//
// Source: durabletask 2.9.1, TaskOrchestrationDispatcher.cs:1236-1345.
func (s *subject) startChild(ctx context.Context, i *Item, created *schema.SubOrchestrationCreated, id string, episode int64) error {
	e := s.envelope(episode, KindChildStart, created.EventID)
	tags, err := s.tags(ctx)
	if err != nil {
		return s.lost(ctx, i, err)
	}
	e.tags = tags
	execution := strings.ReplaceAll(s.p.opts.NewID(e.key+"\x00execution"), "-", "")
	e.target = schema.OrchestrationInstance{InstanceID: id, ExecutionID: schema.Some(execution)}
	parent := schema.ParentInstance{TaskScheduleID: created.EventID}
	parent.OrchestrationInstance.InstanceID, parent.OrchestrationInstance.ExecutionID = s.id, s.live.ExecutionID
	if start := s.live.Started; start != nil {
		parent.Name, parent.Version = start.Name.Value, start.Version.Value
	}
	event := &schema.ExecutionStarted{
		EventHeader:           schema.EventHeader{EventID: -1, Timestamp: created.Timestamp},
		OrchestrationInstance: schema.InstanceJSON(id, execution), ParentInstance: parentJSON(&parent),
		Name: created.Name, Version: created.Version, Input: created.Input, Tags: typed(created.Tags, schema.DictionaryClass),
		GenerateNewTrace: schema.Some(false),
	}
	i.Why += "; its input is stored"
	s.p.fill(i, e, event)
	return s.give(i)
}

// answer gives out what a sub-orchestration that has ended tells its parent.
//
// Source: durabletask 2.9.1, TaskOrchestrationDispatcher.cs:1011-1124.
func (s *subject) answer(ctx context.Context, i *Item, child *replay.State, id string) error {
	i.Kind, i.Why = KindChildAnswer, "it has ended, and its answer cannot be seen"
	done := child.Completed
	if done == nil {
		return s.lost(ctx, i, errNoAnswer)
	}
	if err := schema.LoadTexts(done, s.p.loader(ctx)); err != nil {
		return s.lost(ctx, i, err)
	}
	e := s.envelope(child.Episodes, KindChildAnswer, i.EventID)
	e.sender = schema.OrchestrationInstance{InstanceID: id, ExecutionID: schema.Some(child.ExecutionID)}
	head := schema.EventHeader{EventID: -1, Timestamp: done.Timestamp}
	if done.OrchestrationStatus.Value == schema.StatusCompleted {
		s.p.fill(i, e, &schema.SubOrchestrationCompleted{EventHeader: head, TaskScheduledID: i.EventID, Result: done.Result})
	} else {
		s.p.fill(i, e, &schema.SubOrchestrationFailed{
			EventHeader: head, TaskScheduledID: i.EventID, Reason: done.Result, FailureDetails: typed(done.FailureDetails, failureClass),
		})
	}
	return s.give(i)
}

// read returns the row of an instance, nil if there is none, and its history.
func (p *pending) read(ctx context.Context, id string) (*schema.Instance, *replay.History, error) {
	key := schema.EscapeKey(id)
	var instance *schema.Instance
	for row, err := range p.r.Rows(ctx, hub.Instances, hub.Partition(key)) {
		if err != nil {
			return nil, nil, fmt.Errorf("read instance %q: %w", id, err)
		}
		kept := row.Clone()
		decoded, _ := schema.DecodeInstance(&kept) // what can be read of it
		instance = &decoded
	}
	replayer := replay.New(key, replay.Options{OmitInputs: true, Load: p.loader(ctx)})
	for row, err := range p.r.Rows(ctx, hub.History, hub.Partition(key)) {
		if err != nil {
			return nil, nil, fmt.Errorf("read history of %q: %w", id, err)
		}
		replayer.Add(&row)
	}
	return instance, replayer.End(), nil
}
