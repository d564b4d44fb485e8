package explain

import (
	"context"
	"fmt"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// look is what the tables hold of one instance.
type look struct {
	id      string
	row     *schema.Instance // nil without one
	state   *manage.State    // the row with the texts that were asked for
	history *replay.History
	judged  replay.Verdict
	notes   notes
	// cut says that the history was too long to be read for a relative.
	cut bool
	// version changes when the instance moves on.
	version string
}

func (l *look) found() bool { return l.row != nil || l.history.Rows > 0 }

// live returns the live state; its Events is 0 without one.
func (l *look) live() *replay.State { return &l.history.Live }

// status returns the status that holds, and since when.
func (l *look) status() (status schema.Status, since schema.Ticks) {
	status = l.judged.Status
	live := l.live()
	current := live.Events > 0 && live.ExecutionID == l.judged.ExecutionID
	row := schema.Instance{}
	if l.row != nil {
		row = *l.row
	}
	switch {
	case status.Terminal() && current && live.CompletedTime != 0:
		since = live.CompletedTime
	case status.Terminal():
		since = row.CompletedTime.Value
	case status == schema.StatusPending && current:
		since = row.LastUpdatedTime.Value // rewound
	case status == schema.StatusPending:
		since = row.CreatedTime.Value
	case current && l.notes.turned != 0:
		since = l.notes.turned
	case current:
		since = live.CreatedTime
	}
	if since == 0 {
		since = row.LastUpdatedTime.Value
	}
	return status, since
}

// notes are what this package needs of a history beside its replay. They are of
// the leading run of rows of one execution, which is the live one if there is
// any.
type notes struct {
	execution string
	begun     bool
	over      bool
	// turned is the time of the last suspension or resumption.
	turned schema.Ticks
	// children are those that the execution made, at most maxChildren, and
	// childrenMore the others.
	children     []child
	childrenMore int64
	// locks holds, by request, the entities of a request to lock several.
	locks map[string][]schema.EntityID
	// woken says that a rewind's message has come after the last row that a rewind
	// has transformed, rewoundChild that a rewind goes by way of a child.
	woken, rewoundChild bool
	// taken are the messages that the last episode has taken in, at most
	// MaxAwaits.
	taken []taken
}

type child struct {
	id, name string
	eventID  int32
}

// taken is a message that an episode has taken in.
type taken struct {
	rowKey    string
	eventType schema.EventType
	taskID    int32
	name      string
	requestID string
	at        schema.Ticks
}

const (
	maxChildren = 1000
	maxLockSets = 1000
)

// add notes a row.
func (n *notes) add(row *schema.Row) {
	if n.over || row.IsSentinel() {
		return
	}
	execution, _ := row.Get("ExecutionId").Text()
	switch {
	case !n.begun:
		n.begun, n.execution = true, strings.Clone(execution)
	case n.execution != execution:
		n.over = true
		return
	}
	name, _ := row.Get("EventType").Text()
	kind := schema.EventTypeNamed(name)
	switch kind {
	case schema.TypeOrchestratorStarted:
		n.taken = n.taken[:0]
		return
	case schema.TypeUnknown, schema.TypeTaskScheduled, schema.TypeTimerCreated, schema.TypeOrchestratorCompleted, schema.TypeExecutionCompleted:
		return // most rows
	}
	h, _ := schema.DecodeHistoryRow(row) // what cannot be read is reported by the replay
	at := h.Event.Header().Timestamp
	switch v := h.Event.(type) {
	case *schema.SubOrchestrationCreated:
		if _, rewound := h.Rewound(); rewound {
			n.rewoundChild = true
		}
		if len(n.children) == maxChildren {
			n.childrenMore++
			return
		}
		n.children = append(n.children, child{strings.Clone(v.InstanceID.Value), clip(v.Name.Value), v.EventID})
		return
	case *schema.EventSent:
		if r, err := schema.DecodeEntityRequest(v.Input.Value); err == nil && len(r.LockSet) > 1 && len(n.locks) < maxLockSets {
			if n.locks == nil {
				n.locks = make(map[string][]schema.EntityID)
			}
			set := make([]schema.EntityID, len(r.LockSet))
			for i, e := range r.LockSet {
				set[i] = schema.EntityID{Name: strings.Clone(e.Name), Key: strings.Clone(e.Key)}
			}
			n.locks[strings.Clone(r.ID)] = set
		}
		return
	case *schema.ExecutionSuspended, *schema.ExecutionResumed:
		n.turned = at
	case *schema.GenericEvent:
		if _, rewound := h.Rewound(); rewound {
			n.woken = false
			return
		}
		n.woken = true
	}
	if len(n.taken) == MaxAwaits {
		return
	}
	t := taken{rowKey: strings.Clone(h.RowKey), eventType: kind, at: at}
	t.taskID, t.requestID = answers(h.Event)
	if v, ok := h.Event.(*schema.EventRaised); ok {
		t.name = clip(v.Name.Value)
	}
	n.taken = append(n.taken, t)
}

// look reads an instance: its row, of an entity with its scheduler state, and its
// history, the whole of it or, for relatives, as far as the budget goes.
func (e *explainer) look(ctx context.Context, id string, relative bool) (*look, error) {
	l := &look{id: id}
	key := schema.EscapeKey(id)
	show := manage.ShowNone
	if schema.IsEntity(id) {
		show = manage.ShowInput
	}
	state, err := e.q.Instance(ctx, id, show)
	if err != nil {
		return nil, fmt.Errorf("read instance %q: %w", id, err)
	}
	if state != nil {
		l.row, l.state = &state.Row, state
		l.version = state.Row.ETag
	}
	r := replay.New(key, replay.Options{OmitInputs: true, Load: e.loader(ctx)})
	for row, err := range e.r.Rows(ctx, hub.History, hub.Partition(key)) {
		if err != nil {
			return nil, fmt.Errorf("read history of %q: %w", id, err)
		}
		if relative {
			if e.budget == 0 {
				l.cut = true
				break
			}
			e.budget--
		}
		if row.IsSentinel() {
			l.version += " " + row.ETag
		}
		l.notes.add(&row)
		r.Add(&row)
	}
	l.history = r.End()
	if l.cut {
		// Without its end a history says less than the row.
		l.history = &replay.History{PartitionKey: key, InstanceID: id, Rows: 1}
		l.notes = notes{}
	}
	if l.live().ExecutionID != l.notes.execution {
		l.notes = notes{}
	}
	l.judged = replay.Compare(l.row, l.history, replay.Loader{Container: e.info.Names.LargeMessages()})
	return l, nil
}

// relative is look for an instance that has to do with another, once each.
func (e *explainer) relative(ctx context.Context, id string) (*look, error) {
	if l, ok := e.looks[id]; ok {
		return l, nil
	}
	l, err := e.look(ctx, id, true)
	if err != nil {
		return nil, err
	}
	e.looks[id] = l
	return l, nil
}
