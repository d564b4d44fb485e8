package server

import (
	"context"
	"strconv"

	"github.com/taskhub-tools/taskhub/explain"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/verify"
)

// explained is what an instance is doing and waits for, and what is wrong with it.
type explained struct {
	Observed   pageTime          `json:"observed_at"`
	Found      bool              `json:"found"`
	Similar    []string          `json:"similar"`
	Condition  explain.Condition `json:"condition"`
	Verdict    string            `json:"verdict"`
	Since      pageTime          `json:"since"`
	Progress   pageTime          `json:"last_progress"`
	Failure    shownText         `json:"failure"`
	Episodes   int64             `json:"episodes"`
	Events     int64             `json:"events"`
	Leftovers  int               `json:"leftover_executions"`
	Awaits     []shownAwait      `json:"awaits"`
	AwaitsMore int64             `json:"awaits_more"`
	Shortfalls []string          `json:"shortfalls"`
	Sent       []shownAwait      `json:"sent"`
	Locks      []shownLock       `json:"locks"`
	State      *shownEntityState `json:"entity_state"`

	Messages     []explainedMessage `json:"messages"`
	MessagesMore int64              `json:"messages_more"`
	Partition    shownPartition     `json:"partition"`
	Parents      []shownRelative    `json:"parents"`
	Children     []shownRelative    `json:"children"`
	ChildrenMore int64              `json:"children_more"`
	Differences  []shownDifference  `json:"differences"`
	Findings     []verify.Finding   `json:"findings"`
	Steps        []shownStep        `json:"steps"`
	Problems     []string           `json:"problems"`
}

type shownAwait struct {
	Kind       string        `json:"kind"`
	Words      string        `json:"words"`
	EventID    int32         `json:"event_id"`
	RowKey     string        `json:"row_key,omitempty"`
	Name       string        `json:"name,omitempty"`
	InstanceID string        `json:"instance_id,omitempty"`
	Since      pageTime      `json:"since"`
	Due        pageTime      `json:"due"`
	Where      explain.Where `json:"where"`
	Why        string        `json:"why,omitempty"`
	Queues     []string      `json:"queues"`
}

type shownLock struct {
	EntityID string   `json:"entity_id"`
	Since    pageTime `json:"since"`
	LockedBy string   `json:"locked_by,omitempty"`
	Agreed   bool     `json:"agreed"`
}

type shownEntityState struct {
	Exists      bool             `json:"exists"`
	LockedBy    string           `json:"locked_by,omitempty"`
	Waiting     []shownOperation `json:"waiting"`
	WaitingMore int64            `json:"waiting_more"`
}

type shownOperation struct {
	Name   string `json:"name"`
	Signal bool   `json:"signal"`
	Parent string `json:"parent,omitempty"`
}

type explainedMessage struct {
	Queue        string   `json:"queue"`
	Position     int      `json:"position"`
	EventType    string   `json:"event_type,omitempty"`
	Name         string   `json:"name,omitempty"`
	Purpose      string   `json:"purpose"`
	InsertedAt   pageTime `json:"inserted_at"`
	Due          pageTime `json:"due"`
	DequeueCount int64    `json:"dequeue_count"`
	Misplaced    bool     `json:"misplaced"`
	Problem      string   `json:"problem,omitempty"`
}

type shownPartition struct {
	Queue    string         `json:"queue,omitempty"`
	Leases   []shownLease   `json:"leases"`
	Running  manage.Running `json:"app_running"`
	Evidence []string       `json:"evidence"`
}

type shownRelative struct {
	ID      string   `json:"id"`
	Name    string   `json:"name,omitempty"`
	Found   bool     `json:"found"`
	Status  string   `json:"status"`
	Since   pageTime `json:"since"`
	Summary string   `json:"summary,omitempty"`
	Open    bool     `json:"open"`
	Cycle   bool     `json:"cycle"`
	Depth   int      `json:"depth"`
}

type shownDifference struct {
	Column   string    `json:"column"`
	Stored   shownText `json:"stored"`
	Derived  shownText `json:"derived"`
	Evidence string    `json:"evidence"`
}

type shownStep struct {
	Command string `json:"command,omitempty"`
	Text    string `json:"text"`
}

// explainData explains one instance.
func (s *Server) explainData(ctx context.Context, p *pageRequest) (any, error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	r, err := explain.Instance(ctx, p.hub.Reader, id, explain.Options{Now: s.opts.Now})
	if err != nil {
		return nil, err
	}
	out := &explained{
		Observed: pageTime(r.ObservedAt), Found: r.Found, Similar: orEmpty(r.Similar), Condition: r.Condition, Verdict: r.Verdict,
		Since: pageTime(r.Since), Progress: pageTime(r.LastProgress), Failure: s.show(schema.Text{Value: r.Failure, Set: r.Failure != ""}, maxTextShown),
		Awaits: awaits(r.Awaits), AwaitsMore: r.AwaitsMore, Shortfalls: []string{}, Sent: awaits(r.Sent), Locks: []shownLock{},
		State: entityStateOf(r.State), Messages: []explainedMessage{}, MessagesMore: r.MessagesMore,
		Parents: relatives(r.Parents), Children: relatives(r.Children), ChildrenMore: r.ChildrenMore,
		Partition: shownPartition{r.Partition.Queue, leases(r.Partition.Leases), r.Partition.AppRunning, orEmpty(r.Partition.Evidence)},
		Findings:  orEmpty(r.Findings), Differences: []shownDifference{}, Steps: []shownStep{}, Problems: []string{},
	}
	if h := r.History; h != nil {
		out.Episodes, out.Events, out.Leftovers = h.Live.Episodes, h.Live.Events, len(h.Overwritten)
	}
	for _, f := range r.Shortfalls {
		out.Shortfalls = append(out.Shortfalls, shortfall(&f))
	}
	for _, l := range r.Locks {
		out.Locks = append(out.Locks, shownLock{l.EntityID, pageTime(l.Since), l.LockedBy, l.Agreed})
	}
	for i := range r.Messages {
		m := &r.Messages[i]
		out.Messages = append(out.Messages, explainedMessage{
			m.Queue, m.Position, m.EventType, m.Name, m.Purpose, pageTime(m.InsertedAt), pageTime(m.DueAt), m.DequeueCount, m.Misplaced, m.Problem,
		})
	}
	for _, d := range r.Judged.Differences {
		out.Differences = append(out.Differences, shownDifference{
			d.Column, s.showDifference(d.Column, d.Stored), s.showDifference(d.Column, d.Derived), d.Evidence,
		})
	}
	for i := range r.Steps {
		out.Steps = append(out.Steps, shownStep{r.Steps[i].Command(), r.Steps[i].Text})
	}
	for _, err := range r.Problems {
		out.Problems = append(out.Problems, err.Error())
	}
	return out, nil
}

// showDifference shows a value of a column, which may be payload.
func (s *Server) showDifference(column, value string) shownText {
	text := schema.Text{Value: value, Set: value != ""}
	if isOpen(column) {
		return shownText{Set: text.Set, Bytes: int64(len(value)), Head: value}
	}
	return s.show(text, maxTextListed)
}

func awaits(list []explain.Await) []shownAwait {
	out := make([]shownAwait, 0, len(list))
	for i := range list {
		a := &list[i]
		shown := shownAwait{
			string(a.Kind), a.Kind.Words(), a.EventID, a.RowKey, a.Name, a.InstanceID, pageTime(a.Since), pageTime(a.DueAt), a.Where, a.Why, []string{},
		}
		for _, m := range a.Messages {
			if m.Queue != "" {
				shown.Queues = append(shown.Queues, m.Queue)
			}
		}
		out = append(out, shown)
	}
	return out
}

func entityStateOf(e *explain.EntityState) *shownEntityState {
	if e == nil {
		return nil
	}
	out := &shownEntityState{Exists: e.Exists, LockedBy: e.LockedBy, Waiting: []shownOperation{}, WaitingMore: e.WaitingMore}
	for _, op := range e.Waiting {
		name := op.Name
		if op.Lock {
			name = "lock"
		}
		out.Waiting = append(out.Waiting, shownOperation{name, op.Signal, op.Parent})
	}
	return out
}

func relatives(list []explain.Relative) []shownRelative {
	out := make([]shownRelative, 0, len(list))
	for _, r := range list {
		out = append(out, shownRelative{r.InstanceID, r.Name, r.Found, r.Status.String(), pageTime(r.Since), r.Summary, r.Open, r.Cycle, r.Depth})
	}
	return out
}

// shortfall says how many messages are missing.
func shortfall(f *explain.Shortfall) string {
	text := strconv.FormatInt(f.Lost, 10) + " of " + strconv.FormatInt(f.Awaited, 10) + " messages that must be there are nowhere"
	for i, q := range f.Queues {
		if i == 0 {
			text += ": not in "
		} else {
			text += ", "
		}
		text += q
	}
	return text + "."
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
