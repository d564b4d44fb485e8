package server

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// Limits of a timeline.
const (
	defaultTimelineEvents = 1000
	maxTimelineEvents     = 5000
	maxTimelineInstances  = 25
	// maxOpenBefore is how much work that was begun before the window is carried
	// into it, so that its end finds its beginning.
	maxOpenBefore = 5000
)

// shownTimeline is what happened to an instance, and with more than one instance
// to those that it has to do with, in the order of time.
type shownTimeline struct {
	// Until is the end of the timeline; what is open lasts that long.
	Until pageTime `json:"until"`
	// First is the position of the first event of the instance that was asked for.
	First int64 `json:"first"`
	// Next is the position of the first event that is not there; -1 if it was read
	// to its end. Where it was not, what is open may have ended later.
	Next             int64              `json:"next"`
	Instances        []timelineInstance `json:"instances"`
	Entries          []timelineEntry    `json:"entries"`
	InstancesLeftOut int64              `json:"instances_left_out"`
	EventsLeftOut    int64              `json:"events_left_out"`
	Problems         []string           `json:"problems"`
}

type timelineInstance struct {
	ID          string   `json:"id"`
	ExecutionID string   `json:"execution_id"`
	Name        string   `json:"name"`
	Entity      bool     `json:"entity"`
	Status      string   `json:"status"`
	Began       pageTime `json:"began"`
	Ended       pageTime `json:"ended"`
	Events      int64    `json:"events"`
}

type timelineEntry struct {
	Time     pageTime `json:"time"`
	Instance int      `json:"instance"`
	RowKey   string   `json:"row_key"`
	Event    string   `json:"event"`
	EventID  int32    `json:"event_id"`
	Name     string   `json:"name,omitempty"`
	Peer     string   `json:"peer,omitempty"`
	// Answers is the RowKey of the event that this one answers, and Since its time.
	Answers   string   `json:"answers,omitempty"`
	Since     pageTime `json:"since"`
	Due       pageTime `json:"due"`
	Waiting   bool     `json:"waiting,omitempty"`
	Failed    bool     `json:"failed,omitempty"`
	Rewound   bool     `json:"rewound,omitempty"`
	Duplicate bool     `json:"duplicate,omitempty"`
}

// timelineData shows a timeline.
func (s *Server) timelineData(ctx context.Context, p *pageRequest) (any, error) {
	id, err := p.id()
	if err != nil {
		return nil, err
	}
	first, err := p.number("first", 0, 0, 1<<53)
	if err != nil {
		return nil, err
	}
	events, err := p.number("events", defaultTimelineEvents, 1, maxTimelineEvents)
	if err != nil {
		return nil, err
	}
	instances, err := p.number("instances", 1, 1, maxTimelineInstances)
	if err != nil {
		return nil, err
	}
	if first > 0 && instances > 1 {
		return nil, badRequest("Only the timeline of one instance can begin later than its history.")
	}
	opts := replay.TimelineOptions{
		MaxInstances: int(instances), Until: s.observed(p.hub),
		// What is open at the beginning is added to the window.
		MaxEvents: int(events) + maxOpenBefore,
		Load: func(blob string) (string, error) {
			return hub.LoadText(ctx, p.hub.Reader, p.hub.info.Names.LargeMessages(), blob, s.opts.MaxPayloadBytes)
		},
	}
	if instances > 1 {
		opts.MaxEvents = int(events)
	}
	m := replay.NewMerger(id, opts)
	window := &timelineWindow{first: first, events: events, next: -1, open: make(map[int32]schema.Row)}
	for i := 0; ; i++ {
		id, ok := m.Next()
		if !ok {
			break
		}
		rows := p.hub.Reader.Rows(ctx, hub.History, hub.Partition(schema.EscapeKey(id)))
		read := int64(0)
		for row, err := range rows {
			if err != nil {
				return nil, err
			}
			if instances == 1 {
				if !window.add(m, &row) {
					break
				}
				continue
			}
			m.Add(&row)
			// Beyond what all instances together may have, rows are only counted.
			if read++; read > events {
				break
			}
		}
	}
	return shownTimelineOf(m.End(), window), nil
}

// timelineWindow gives a part of a history to a Merger: the events from a position
// on, and before them what tells of the instance or was open there. It holds the
// rows that are open, maxOpenBefore at most.
type timelineWindow struct {
	first, events int64
	next          int64
	execution     string
	open          map[int32]schema.Row // by EventId
	begun         bool                 // the window
	added         int64
}

// add passes on a row, or not. It returns false when the window is full.
func (w *timelineWindow) add(m *replay.Merger, row *schema.Row) bool {
	n, ok := schema.ParseSequence(row.RowKey)
	execution, _ := row.Get("ExecutionId").Text()
	if w.execution == "" {
		w.execution = strings.Clone(execution)
	}
	// What an earlier, longer execution has left does not belong to the history.
	if !ok || execution != w.execution {
		m.Add(row)
		return true
	}
	if n < w.first {
		w.before(m, row)
		return true
	}
	if !w.begun {
		w.begun = true
		for _, open := range slices.SortedFunc(maps.Values(w.open), func(a, b schema.Row) int { return schema.CompareRows(&a, &b) }) {
			m.Add(&open)
		}
		w.open = nil
	}
	if w.added == w.events {
		w.next = n
		return false
	}
	w.added++
	m.Add(row)
	return true
}

// before looks at a row before the window.
func (w *timelineWindow) before(m *replay.Merger, row *schema.Row) {
	name, _ := row.Get("EventType").Text()
	answered := func(column string) {
		if id, ok := row.Get(column).Int(); ok {
			delete(w.open, int32(id))
		}
	}
	switch schema.EventTypeNamed(name) {
	case schema.TypeExecutionStarted:
		m.Add(row)
	case schema.TypeTaskScheduled, schema.TypeSubOrchestrationCreated, schema.TypeTimerCreated:
		id, ok := row.Get("EventId").Int()
		if ok && len(w.open) < maxOpenBefore {
			w.open[int32(id)] = row.Clone()
		}
	case schema.TypeTaskCompleted, schema.TypeTaskFailed, schema.TypeSubOrchestrationCompleted, schema.TypeSubOrchestrationFailed:
		answered("TaskScheduledId")
	case schema.TypeTimerFired:
		answered("TimerId")
	}
}

func shownTimelineOf(t *replay.Timeline, w *timelineWindow) *shownTimeline {
	out := &shownTimeline{
		Until: pageTime(t.Until), First: w.first, Next: w.next,
		InstancesLeftOut: t.InstancesLeftOut, EventsLeftOut: t.EventsLeftOut,
		Instances: make([]timelineInstance, len(t.Instances)), Entries: make([]timelineEntry, len(t.Entries)), Problems: []string{},
	}
	for i, in := range t.Instances {
		out.Instances[i] = timelineInstance{
			in.ID, in.ExecutionID, in.Name, schema.IsEntity(in.ID), in.Status.String(), pageTime(in.Began), pageTime(in.Ended), in.Events,
		}
	}
	if w.next >= 0 && t.Instances[0].Ended == 0 {
		out.Instances[0].Status = schema.StatusUnknown.String() // its end may be among what was not read
	}
	for i := range t.Entries {
		e := &t.Entries[i]
		out.Entries[i] = timelineEntry{
			pageTime(e.Time), e.Instance, e.RowKey, e.Event, e.EventID, e.Name, e.Peer, e.Answers, pageTime(e.Since), pageTime(e.Due),
			e.Waiting && w.next < 0, e.Failed, e.Rewound, e.Duplicate,
		}
	}
	for _, problem := range t.Problems {
		out.Problems = append(out.Problems, problem.Error())
	}
	return out
}
