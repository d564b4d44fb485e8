package migrate

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// subject is an instance whose messages are being made again.
type subject struct {
	p     *pending
	key   string
	id    string
	moves bool
	row   *schema.Instance // nil without one
	h     *replay.History
	live  *replay.State
	marks rewindMarks

	// given counts the messages that were made again and let the instance run at
	// once, redriven the rows that were neutralised.
	given, redriven int
	// taken are the messages that the last episode has taken in; kept only where
	// they may come again.
	taken []schema.Row
}

// work gives out what is missing of the messages of one instance. Of one that
// stays that is what it has sent to others that move.
func (s *subject) work(ctx context.Context) error {
	startDue := s.row != nil && s.startDue()
	switch {
	case startDue && s.moves:
		return s.start(ctx)
	case startDue, s.live.Events == 0, !s.moves && schema.IsEntity(s.id):
		return nil
	case schema.IsEntity(s.id):
		return s.entity(ctx)
	case s.live.Status == schema.StatusContinuedAsNew:
		return s.nextGeneration(ctx)
	}
	want := make(map[string]*replay.Open)
	for i := range s.live.Open {
		o := &s.live.Open[i]
		switch {
		case s.wants(o) && (s.moves || s.reaches(o)):
			want[o.RowKey] = o
		case o.Kind == replay.OpenLock && !s.live.Status.Terminal() && s.p.crosses(s.id, o.InstanceID):
			if err := s.p.cut(&lockLink, o.EventID, s.id, o.InstanceID); err != nil {
				return err
			}
		}
	}
	unfinished := false
	if s.moves {
		var err error
		if unfinished, err = s.unfinished(ctx); err != nil {
			return err
		}
	}
	if len(want) > 0 || unfinished {
		if err := s.rows(ctx, want, unfinished); err != nil {
			return err
		}
	}
	if !s.moves {
		return nil
	}
	return s.wakeUp(unfinished)
}

// startDue reports whether the row tells of an execution that no worker has
// begun: a start or restart, also one that was terminated before its time, which
// does not stop a scheduled start. A row whose execution the history does not
// have may also be one that an interrupted checkpoint left behind; then the
// history began after the row was made.
//
// Source: durabletask 2.9.1, AzureStorageOrchestrationService.cs:1066-1126;
// AzureStorageScenarioTests.cs:1294-1330.
func (s *subject) startDue() bool {
	if s.live.Events > 0 {
		if !s.row.ExecutionID.Set || s.row.ExecutionID.Value == s.live.ExecutionID || s.live.CreatedTime > s.row.CreatedTime.Value {
			return false
		}
	}
	switch s.row.Status() {
	case schema.StatusPending:
		return true
	case schema.StatusTerminated:
		return s.row.ScheduledStartTime.Value > s.p.now
	}
	return false
}

// start gives out the start of an execution that only the row tells of. The Input
// of the row may name the blob of the whole message.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:781-842, 1275-1326,
// AzureStorageOrchestrationService.cs:1739-1830.
func (s *subject) start(ctx context.Context) error {
	p, row := s.p, s.row
	execution := row.ExecutionID.Value
	if p.seen.has(s.id, execution, func(m *seenMessage) bool { return m.kind == schema.TypeExecutionStarted }) {
		return nil
	}
	i := Item{
		InstanceID: s.id, ExecutionID: execution, Kind: KindStart, Origin: Rebuilt, EventID: -1, Name: row.Name.Value,
		DueAt: row.ScheduledStartTime.Value, Why: "its row is " + row.Status().String() + " and no worker has begun it",
	}
	container := p.info.Names.LargeMessages()
	ref := row.InputRef(container)
	if ref.InMessage {
		text, err := hub.LoadText(ctx, p.r, container, ref.Blob, p.opts.MaxBlobBytes)
		if err != nil {
			return s.lost(ctx, &i, err)
		}
		m, err := schema.DecodeMessage(text, ref.Blob)
		if err != nil {
			return s.lost(ctx, &i, err)
		}
		if m.TaskMessage == nil || m.TaskMessage.Event.Type() != schema.TypeExecutionStarted {
			return s.lost(ctx, &i, fmt.Errorf("blob %s does not start an orchestration", ref.Blob))
		}
		if of := m.TaskMessage.OrchestrationInstance; of.InstanceID != s.id || execution != "" && of.ExecutionID.Value != execution {
			return s.lost(ctx, &i, fmt.Errorf("blob %s starts another execution", ref.Blob))
		}
		i.Message, i.Blob, i.Text, i.Queue = &m, ref.Blob, string(wrap(ref.Blob)), p.control(s.id)
		i.Why += "; its Input names the blob of the message"
		return s.give(&i)
	}
	event := &schema.ExecutionStarted{
		EventHeader: schema.EventHeader{EventID: -1, Timestamp: row.CreatedTime.Value},
		Name:        row.Name, Version: row.Version, Input: schema.Text{Value: row.Input.Value, Set: row.Input.Set}, Tags: row.Tags,
		ScheduledStartTime: row.ScheduledStartTime, Generation: row.Generation, GenerateNewTrace: schema.Some(false),
	}
	if ref.Blob != "" {
		event.Input = schema.Text{Blob: ref.Blob}
	}
	if err := schema.LoadTexts(event, p.loader(ctx)); err != nil {
		return s.lost(ctx, &i, err)
	}
	key := workKey(s.id, execution, KindStart, "")
	if execution == "" {
		execution = strings.ReplaceAll(p.opts.NewID(key+"\x00execution"), "-", "")
	}
	asMessage(event, s.id, execution)
	p.fill(&i, &envelope{target: schema.OrchestrationInstance{InstanceID: s.id, ExecutionID: schema.Some(execution)}, key: key}, event)
	return s.give(&i)
}

var errGeneration = errors.New("the message that starts its next generation cannot be seen, and names an execution that nothing else does")

// nextGeneration looks for the start of the generation that follows, which
// versions before 1.6.0 sent as a message.
//
// Source: durabletask git d5328142 (1.6.0).
func (s *subject) nextGeneration(ctx context.Context) error {
	if s.p.seen.has(s.id, "", func(m *seenMessage) bool { return m.kind == schema.TypeExecutionStarted }) {
		return nil
	}
	return s.lost(ctx, &Item{InstanceID: s.id, Kind: KindStart, EventID: -1, Why: "it has continued as new"}, errGeneration)
}

// give hands an item to the caller and counts it, unless it is for an instance
// that stays.
func (s *subject) give(i *Item) error {
	s.p.explained++
	if !s.p.moves(i.InstanceID) {
		return nil
	}
	if i.Message != nil && i.InstanceID == s.id && i.Kind != KindActivity && i.DueAt <= s.p.now {
		s.given++
	}
	return s.p.give(i)
}

// lost gives out an item that cannot be made again. Only the end of ctx is an
// error.
func (s *subject) lost(ctx context.Context, i *Item, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	i.Origin, i.Message, i.Text, i.Queue, i.Edit = Unrecoverable, nil, "", "", nil
	i.Why += "; " + err.Error()
	s.p.explained++
	if !s.p.moves(i.InstanceID) {
		return nil
	}
	return s.p.give(i)
}

// wants reports whether the message of open work cannot be seen, as far as its
// replay alone tells.
func (s *subject) wants(o *replay.Open) bool {
	if s.live.Status.Terminal() && o.Kind != replay.OpenSignal {
		return false
	}
	seen, execution := s.p.seen, s.live.ExecutionID
	switch o.Kind {
	case replay.OpenActivity:
		return !seen.hasTask(s.id, execution, o.EventID, schema.TypeTaskScheduled, schema.TypeTaskCompleted, schema.TypeTaskFailed)
	case replay.OpenTimer:
		return !seen.hasTask(s.id, execution, o.EventID, schema.TypeTimerFired)
	case replay.OpenSubOrchestration:
		return !seen.hasTask(s.id, execution, o.EventID, schema.TypeSubOrchestrationCompleted, schema.TypeSubOrchestrationFailed)
	case replay.OpenEntityCall, replay.OpenLockRequest:
		return !seen.has(s.id, execution, func(m *seenMessage) bool { return m.kind == schema.TypeEventRaised && m.name == o.RequestID })
	case replay.OpenSignal:
		return true // which request it is, only its row tells
	}
	return false // events have arrived, locks are held
}

// rows reads the history once more, for the rows of what is wanted and the
// messages of the last episode.
func (s *subject) rows(ctx context.Context, want map[string]*replay.Open, unfinished bool) error {
	episode := int64(0)
	var begun map[int32]int64 // episodes by the EventId of what began in them
	if unfinished {
		begun = make(map[int32]int64)
	}
	for row, err := range s.p.r.Rows(ctx, hub.History, hub.Partition(s.key)) {
		if err != nil {
			return fmt.Errorf("read history of %q: %w", s.id, err)
		}
		if row.IsSentinel() {
			continue
		}
		if execution, _ := row.Get("ExecutionId").Text(); execution != s.live.ExecutionID {
			break
		}
		kind, _ := row.Get("EventType").Text()
		switch t := schema.EventTypeNamed(kind); {
		case t == schema.TypeOrchestratorStarted:
			episode++
			s.taken = s.taken[:0]
		case unfinished && (t == schema.TypeTaskScheduled || t == schema.TypeTimerCreated):
			if n, ok := row.Get("EventId").Int(); ok {
				begun[int32(n)] = episode
			}
		case unfinished && redelivered(t):
			s.taken = append(s.taken, row.Clone())
		}
		if o := want[row.RowKey]; o != nil {
			kept := row.Clone()
			if err := s.open(ctx, o, &kept, episode); err != nil {
				return err
			}
		}
	}
	return s.redeliver(ctx, begun)
}

// open gives out the message of one piece of open work.
func (s *subject) open(ctx context.Context, o *replay.Open, row *schema.Row, episode int64) error {
	i := Item{InstanceID: s.id, ExecutionID: s.live.ExecutionID, Origin: Rebuilt, EventID: o.EventID, Name: o.Name}
	decoded, err := schema.DecodeHistoryRow(row)
	if err == nil {
		err = schema.LoadTexts(decoded.Event, s.p.loader(ctx))
	}
	switch o.Kind {
	case replay.OpenActivity:
		i.Kind, i.Why = KindActivity, "neither its work item nor its result can be seen"
	case replay.OpenTimer:
		i.Kind, i.Why, i.DueAt = KindTimer, "it has not fired", o.FireAt
	case replay.OpenSubOrchestration:
		i.Kind, i.Name = KindChildStart, o.InstanceID
	case replay.OpenSignal:
		i.Kind, i.Why, i.DueAt = KindEntitySignal, "it is due later", o.FireAt
	default:
		i.Kind = KindEntityRequest
	}
	if err != nil {
		return s.lost(ctx, &i, err)
	}
	switch v := decoded.Event.(type) {
	case *schema.TaskScheduled:
		if !stored(row) {
			return s.redrive(&i, row)
		}
		e := s.envelope(episode, KindActivity, o.EventID)
		if e.tags, err = s.tags(ctx); err != nil {
			return s.lost(ctx, &i, err)
		}
		i.Why += "; its input is stored"
		asMessage(v, "", "")
		s.p.fill(&i, e, v)
		return s.give(&i)
	case *schema.TimerCreated:
		s.p.fill(&i, s.envelope(episode, KindTimer, o.EventID), &schema.TimerFired{
			EventHeader: schema.EventHeader{EventID: -1, Timestamp: v.Timestamp}, TimerID: v.EventID, FireAt: v.FireAt,
		})
		return s.give(&i)
	case *schema.SubOrchestrationCreated:
		return s.child(ctx, &i, v, row, episode)
	case *schema.EventSent:
		return s.sent(ctx, &i, o, v, episode)
	}
	return s.lost(ctx, &i, fmt.Errorf("row %s is not the one that began it", row.RowKey))
}

// stored reports whether a row has the input of what it began. An absent one may
// be null or, as apps mostly leave inputs out, not stored: rows do not tell.
func stored(row *schema.Row) bool {
	return row.Get("Input").Type() == schema.TypeString || row.Get("InputBlobName").Type() == schema.TypeString
}

// envelope returns that of a message of the instance to itself.
func (s *subject) envelope(episode int64, kind Kind, eventID int32) *envelope {
	self := schema.OrchestrationInstance{InstanceID: s.id, ExecutionID: schema.Some(s.live.ExecutionID)}
	return &envelope{
		target: self, sender: self, episode: schema.Some(episode),
		key: workKey(s.id, s.live.ExecutionID, kind, strconv.Itoa(int(eventID))),
	}
}

// tags returns the tags of the orchestration, loaded; not nil.
func (s *subject) tags(ctx context.Context) (*schema.Text, error) {
	t := new(schema.Text)
	if s.live.Started != nil {
		*t = s.live.Started.Tags
	}
	if t.Blob != "" && t.Value == "" {
		if err := s.p.loader(ctx)("Tags", t); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// redrive gives out the row that scheduled work as a rewind would leave it, so
// that the orchestrator schedules it again under the same number.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:273-377; recorded in
// instance rewound of hub dtfx-2.9.1.
func (s *subject) redrive(i *Item, row *schema.Row) error {
	kind, _ := row.Get("EventType").Text()
	row.Set("EventType", schema.String(schema.TypeGeneric.String()))
	row.Set("Reason", schema.String(rewoundPrefix+kind))
	i.Origin, i.Edit = Redriven, row
	i.Why += "; its input is not stored, so that it is scheduled again"
	s.redriven++
	return s.give(i)
}

// wakeUp gives out the message that lets the orchestrator run, if it has reason to
// and nothing else does. Any message makes a worker repair the row of an instance
// that has ended, and is not applied any more.
//
// Source: durabletask 2.9.1, AzureStorageOrchestrationService.cs:1066-1126,
// 1965-1985.
func (s *subject) wakeUp(unfinished bool) error {
	ended := s.live.Status.Terminal()
	if ended && (!unfinished || s.row != nil && (s.row.ExecutionID.Value != s.live.ExecutionID || s.row.Status() == s.live.Status)) {
		return nil
	}
	seen := func(any bool) bool {
		return s.p.seen.has(s.id, s.live.ExecutionID, func(m *seenMessage) bool {
			return m.kind == schema.TypeGeneric || any && m.kind != schema.TypeTaskScheduled
		})
	}
	why, origin := "", Rebuilt
	switch {
	case ended && (s.given > 0 || seen(true) || s.p.hiddenFor(s.id) == 0):
		return nil
	case ended:
		why = "it has ended, and its row, which does not tell so, is repaired when a message comes"
	case s.redriven > 0:
		why, origin = fmt.Sprintf("%d actions are to be scheduled again", s.redriven), Redriven
	case s.marks.rewound && !s.marks.woken && !s.marks.child:
		why = "it was rewound and has not run since"
	case s.torn() && s.given == 0 && !seen(true):
		why = "its checkpoint was not finished, and no message for it is left"
	default:
		return nil
	}
	if seen(false) {
		return nil
	}
	i := Item{Kind: KindWakeUp, Origin: origin, EventID: -1, Why: why}
	e := &envelope{target: schema.OrchestrationInstance{InstanceID: s.id}, key: workKey(s.id, s.live.ExecutionID, KindWakeUp, "")}
	s.p.fill(&i, e, &schema.GenericEvent{EventHeader: schema.EventHeader{EventID: -1, Timestamp: s.live.LastUpdatedTime}})
	if origin == Rebuilt && !s.torn() {
		s.p.explained++ // the one that the rewind sent, or that the end was about
	}
	return s.p.give(&i)
}
