package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// timelineFormat is how a timeline is printed.
type timelineFormat string

const (
	timelineText     timelineFormat = "text"
	timelineJSON     timelineFormat = "json"
	timelineSequence timelineFormat = "sequence"
	timelineGantt    timelineFormat = "gantt"
)

func (s *session) runTimeline(limit int64) error {
	format, err := oneOf(s, optFormat, timelineText, timelineJSON, timelineSequence, timelineGantt)
	switch {
	case err != nil:
		return err
	case !s.IsSet("id"):
		return s.usagef("--%s is about one instance: name it with --id", optTimeline)
	case s.IsSet(optEpisode):
		return s.usagef("--%s and --%s contradict each other: each instance has its own episodes", optEpisode, optTimeline)
	case s.json && !s.IsSet(optFormat):
		format = timelineJSON
	case s.json && format != timelineJSON:
		return s.usagef("--%s and --%s %s contradict each other", optJSON, optFormat, format)
	}
	opts := replay.TimelineOptions{MaxInstances: s.Int(optMaxInstances)}
	if opts.MaxInstances < 1 {
		return s.usagef("option --%s: must be at least 1", optMaxInstances)
	}
	if opts.At, err = s.ticks(optAt); err != nil {
		return err
	}
	return s.withSource(func(r hub.Reader) error {
		t, err := s.timeline(r, opts, limit)
		if err != nil {
			return err
		}
		return s.printTimeline(r, t, format)
	})
}

// timeline reads the instances of a timeline one after the other.
func (s *session) timeline(r hub.Reader, opts replay.TimelineOptions, limit int64) (*replay.Timeline, error) {
	info, err := r.Info(s.ctx)
	if err != nil {
		return nil, err
	}
	opts.Until = info.Finished
	if info.Finished == 0 {
		opts.Until = schema.TicksOf(time.Now())
	}
	opts.Load = func(blob string) (string, error) {
		text, err := hub.LoadText(s.ctx, r, info.Names.LargeMessages(), blob, limit)
		if err != nil && s.ctx.Err() == nil {
			s.warn(err)
		}
		return text, err
	}
	m := replay.NewMerger(s.String("id"), opts)
	for id, ok := m.Next(); ok; id, ok = m.Next() {
		for row, err := range r.Rows(s.ctx, hub.History, hub.Partition(schema.EscapeKey(id))) {
			if err != nil {
				return nil, err
			}
			m.Add(&row)
		}
	}
	t := m.End()
	for _, p := range t.Problems {
		s.warn(p)
	}
	if n := t.ProblemsLeftOut; n > 0 {
		s.warnOf(n, fmt.Errorf("%s more", ui.Plural(n, "damaged row", "damaged rows")))
	}
	return t, nil
}

func (s *session) printTimeline(r hub.Reader, t *replay.Timeline, format timelineFormat) error {
	if t.Instances[0].Events == 0 {
		// Without events there may be an instance all the same, which is to start.
		found := false
		for _, err := range r.Rows(s.ctx, hub.Instances, hub.Partition(schema.EscapeKey(t.Instances[0].ID))) {
			if err != nil {
				return err
			}
			found = true
		}
		if !found && format == timelineJSON {
			return writeJSON(s.stdout, notFoundReport{"not-found", t.Instances[0].ID})
		}
		if !found {
			return s.notFound(t.Instances[0].ID)
		}
	}
	switch format {
	case timelineJSON:
		return s.timelineLines(t)
	case timelineSequence:
		return t.WriteSequence(s.stdout)
	case timelineGantt:
		return t.WriteGantt(s.stdout)
	}
	return s.timelineTable(t)
}

// timelineEvent, timelineInstance and timelineReport are the lines of replay
// --timeline --json; docs/json.md describes them.
type timelineEvent struct {
	Type           string  `json:"type"`
	Time           *string `json:"time"`
	InstanceID     string  `json:"instance_id"`
	RowKey         string  `json:"row_key"`
	EventType      string  `json:"event_type"`
	EventID        int32   `json:"event_id"`
	Name           *string `json:"name"`
	PeerInstanceID *string `json:"peer_instance_id"`
	Answers        *string `json:"answers_row_key"`
	DurationMS     *int64  `json:"duration_ms"`
	WaitedMS       *int64  `json:"waited_ms"`
	DueTime        *string `json:"due_time"`
	Waiting        bool    `json:"waiting"`
	Failed         bool    `json:"failed"`
	Rewound        bool    `json:"rewound"`
	Duplicate      bool    `json:"duplicate"`
}

type timelineInstance struct {
	Type          string  `json:"type"`
	InstanceID    string  `json:"instance_id"`
	ExecutionID   *string `json:"execution_id"`
	Name          *string `json:"name"`
	Events        int64   `json:"events"`
	BeganTime     *string `json:"began_time"`
	EndedTime     *string `json:"ended_time"`
	RuntimeStatus string  `json:"runtime_status"`
}

type timelineReport struct {
	Type             string  `json:"type"`
	Instances        int     `json:"instances"`
	Events           int     `json:"events"`
	UntilTime        *string `json:"until_time"`
	InstancesLeftOut int64   `json:"instances_left_out"`
	EventsLeftOut    int64   `json:"events_left_out"`
}

func (s *session) timelineLines(t *replay.Timeline) error {
	for i := range t.Entries {
		e := &t.Entries[i]
		l := timelineEvent{
			Type: "timeline-event", Time: instant(e.Time), InstanceID: t.Instances[e.Instance].ID, RowKey: e.RowKey,
			EventType: e.Event, EventID: e.EventID, Name: unlessEmpty(e.Name), PeerInstanceID: unlessEmpty(e.Peer),
			Answers: unlessEmpty(e.Answers), DueTime: instant(e.Due),
			Waiting: e.Waiting, Failed: e.Failed, Rewound: e.Rewound, Duplicate: e.Duplicate,
		}
		if d, ok := e.Duration(); ok {
			ms := d.Round(time.Millisecond).Milliseconds()
			if e.Answers != "" {
				l.DurationMS = &ms
			} else {
				l.WaitedMS = &ms
			}
		}
		if err := writeJSON(s.stdout, l); err != nil {
			return err
		}
	}
	for _, in := range t.Instances {
		l := timelineInstance{
			"timeline-instance", in.ID, unlessEmpty(in.ExecutionID), unlessEmpty(in.Name), in.Events,
			instant(in.Began), instant(in.Ended), in.Status.String(),
		}
		if err := writeJSON(s.stdout, l); err != nil {
			return err
		}
	}
	return writeJSON(s.stdout, timelineReport{
		"timeline", len(t.Instances), len(t.Entries), instant(t.Until), t.InstancesLeftOut, t.EventsLeftOut,
	})
}

// timelineTable prints a timeline for people. All of it is in memory anyway.
func (s *session) timelineTable(t *replay.Timeline) error {
	var table ui.Table
	for i := range t.Entries {
		e := &t.Entries[i]
		table.Row(e.Time.Time().Format("2006-01-02 15:04:05.000Z"), t.Instances[e.Instance].ID, e.Event, timelineNotes(e))
	}
	if err := table.Write(s.stdout); err != nil {
		return err
	}
	var notes []string
	for _, in := range t.Instances {
		if in.Events == 0 {
			notes = append(notes, in.ID+": no history")
		}
	}
	if t.InstancesLeftOut > 0 {
		notes = append(notes, fmt.Sprintf("%s left out: --%s shows more", ui.Plural(t.InstancesLeftOut, "instance is", "instances are"), optMaxInstances))
	}
	if t.EventsLeftOut > 0 {
		notes = append(notes, ui.Plural(t.EventsLeftOut, "event is", "events are")+" left out: a timeline has room for "+ui.Count(int64(len(t.Entries))))
	}
	for _, n := range notes {
		if _, err := fmt.Fprintln(s.stdout, ui.Escape(n)); err != nil {
			return err
		}
	}
	return nil
}

// timelineNotes says what an event is about.
func timelineNotes(e *replay.Entry) string {
	var notes []string
	what := e.Name
	switch {
	case e.Peer == "":
	case e.Event == "SubOrchestrationInstanceCreated" || e.Event == "EventSent":
		what += " to " + e.Peer
	default:
		what += " from " + e.Peer
	}
	if what != "" {
		notes = append(notes, strings.TrimSpace(what))
	}
	if e.Due != 0 {
		notes = append(notes, "due "+e.Due.Time().Format("2006-01-02 15:04:05.000Z"))
	}
	if d, ok := e.Duration(); ok {
		took := d.Round(time.Millisecond).String()
		if e.Answers == "" {
			took = "after waiting " + took
		} else {
			took = "took " + took
		}
		notes = append(notes, took)
	}
	for _, n := range [...]struct {
		is   bool
		text string
	}{{e.Waiting, "waiting"}, {e.Duplicate, "came again"}, {e.Rewound, "rewound"}} {
		if n.is {
			notes = append(notes, n.text)
		}
	}
	return strings.Join(notes, ", ")
}
