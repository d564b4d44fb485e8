package manage

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Terminate asks an instance to end at once. reason becomes its output, as it is;
// it may be null. Activities and sub-orchestrations go on.
//
// It returns [ErrNoInstance], or [ErrEnded]. See Sent.StillStarts for an instance
// that is scheduled to start later.
//
// Source: Functions extension 2.13.7, DurableClient.cs:379-401, 913-919.
func (c *Control) Terminate(ctx context.Context, id string, reason schema.Optional[string]) (*Sent, error) {
	i, text, err := c.addressed(ctx, opTerminate, id, reason, notEnded...)
	if err != nil {
		return nil, err
	}
	s, err := c.post(ctx, i, opTerminate, &schema.ExecutionTerminated{Input: text})
	if err != nil {
		return nil, err
	}
	if at := i.ScheduledStartTime.Value; i.Status() == schema.StatusPending && at > c.now() {
		s.StillStarts = at
	}
	return s, nil
}

// Suspend asks an instance to pause. The reason becomes its output, as it is. An
// instance that is suspended already gets no message (Sent.Skipped).
//
// It returns [ErrNoInstance], or [ErrEnded].
//
// Source: Functions extension 2.13.7, DurableClient.cs:403-443, where suspending
// a suspended instance is an error.
func (c *Control) Suspend(ctx context.Context, id string, reason schema.Optional[string]) (*Sent, error) {
	i, text, err := c.addressed(ctx, opSuspend, id, reason, notEnded...)
	if err != nil {
		return nil, err
	}
	if i.Status() == schema.StatusSuspended {
		return &Sent{InstanceID: id, Status: i.Status(), Skipped: true}, nil
	}
	return c.post(ctx, i, opSuspend, &schema.ExecutionSuspended{Reason: text})
}

// Resume asks a suspended instance to go on. The reason becomes its output, as it
// is. An instance that is not suspended gets no message (Sent.Skipped).
//
// It returns [ErrNoInstance], or [ErrEnded].
//
// Source: as of [Control.Suspend].
func (c *Control) Resume(ctx context.Context, id string, reason schema.Optional[string]) (*Sent, error) {
	i, text, err := c.addressed(ctx, opResume, id, reason, notEnded...)
	if err != nil {
		return nil, err
	}
	if i.Status() != schema.StatusSuspended {
		return &Sent{InstanceID: id, Status: i.Status(), Skipped: true}, nil
	}
	return c.post(ctx, i, opResume, &schema.ExecutionResumed{Reason: text})
}

// Raise sends an event to an orchestration. data is JSON and sent without white
// space between its tokens; not set, it is null. An empty name means Event_ and a
// random GUID, as in the framework's command line. An event that nobody waits for
// yet is kept for the instance.
//
// It returns [ErrNoInstance], [ErrEnded], or an [*ArgumentError], also for an
// entity: what is not made as a signal it cannot read.
//
// Source: Functions extension 2.13.7, DurableClient.cs:232-240, 818-866.
func (c *Control) Raise(ctx context.Context, id, name string, data schema.Optional[string]) (*Sent, error) {
	if schema.IsEntity(id) {
		return nil, &ArgumentError{"instance ID", "is that of an entity, which takes signals"}
	}
	if err := checkText("event name", name); err != nil {
		return nil, err
	}
	if n := schema.UTF16Len(name); n > schema.MaxColumnUnits {
		return nil, &ArgumentError{"event name", fmt.Sprintf("has %d characters, more than %d", n, schema.MaxColumnUnits)}
	}
	input, err := compact("event data", data)
	if err != nil {
		return nil, err
	}
	if name == "" {
		guid, err := c.guid()
		if err != nil {
			return nil, err
		}
		name = "Event_" + guid
	}
	i, _, err := c.addressed(ctx, opRaise, id, schema.Optional[string]{}, notEnded...)
	if err != nil {
		return nil, err
	}
	s, err := c.post(ctx, i, opRaise, &schema.EventRaised{Name: schema.TextOf(name), Input: input})
	if err != nil {
		return nil, err
	}
	s.Event = name
	return s, nil
}

// addressed returns an instance that is in one of the statuses, and a reason as a
// text.
func (c *Control) addressed(ctx context.Context, op, id string, reason schema.Optional[string], statuses ...schema.Status) (*schema.Instance, schema.Text, error) {
	if err := checkText("reason", reason.Value); err != nil {
		return nil, schema.Text{}, err
	}
	i, err := c.existing(ctx, id)
	if err != nil {
		return nil, schema.Text{}, err
	}
	if !slices.Contains(statuses, i.Status()) {
		return nil, schema.Text{}, &StateError{id, op, i.Status()}
	}
	return i, schema.Text{Value: reason.Value, Set: reason.Set}, nil
}

// post sends an event to an instance.
func (c *Control) post(ctx context.Context, i *schema.Instance, op string, event schema.Event) (*Sent, error) {
	m, err := c.message(i.ID(), schema.Optional[string]{}, event, 0)
	if err != nil {
		return nil, err
	}
	if err := c.send(ctx, m); err != nil {
		return nil, fmt.Errorf("%s instance %q: %w", op, i.ID(), err)
	}
	return c.sent(m, i.ID(), i.Status()), nil
}

// Signal is an operation that an entity is asked for, without an answer.
type Signal struct {
	Entity    schema.EntityID
	Operation string // stored as given; may be empty
	// Input is JSON; not set, there is none.
	Input schema.Optional[string]
	// At is when the entity shall act; zero means now.
	At schema.Ticks
}

// maxSignalDelay is the longest step of a signal that is scheduled. The entity
// puts off again what comes before its time.
//
// Source: durabletask 2.9.1, AzureStorageOrchestrationService.cs:287-296.
const maxSignalDelay = 6 * 24 * time.Hour

// SignalEntity signals an entity. There need not be one: the first signal makes
// it. As in the framework, its name is in lower case; if there is only an entity
// that has the name as it is given, that one is signalled.
//
// It returns an [*ArgumentError] for an entity without a name or with a key that
// has one of / \ # ? or control characters, and for an input that is not JSON.
//
// Source: Functions extension 2.13.7, DurableClient.cs:305-358,
// RequestMessage.cs:19-103; recorded in hub functions-3-after-write.
func (c *Control) SignalEntity(ctx context.Context, s Signal) (*Sent, error) {
	if s.Entity.Name == "" || strings.Contains(s.Entity.Name, "@") {
		return nil, &ArgumentError{"entity name", "must not be empty or contain @"}
	}
	if err := checkID("entity", s.Entity.String()); err != nil {
		return nil, err
	}
	if err := checkText("operation", s.Operation); err != nil {
		return nil, err
	}
	input, err := compact("input", s.Input)
	if err != nil {
		return nil, err
	}
	id, row, err := c.entity(ctx, s.Entity)
	if err != nil {
		return nil, err
	}
	guid, err := c.guid()
	if err != nil {
		return nil, err
	}
	request := schema.EntityRequest{
		Operation: schema.Some(s.Operation), Signal: true, Input: schema.Optional[string]{Value: input.Value, Set: input.Set},
		ID: dashed(guid), Timestamp: neverTime, Predecessor: neverTime,
	}
	name, at := "op", s.At
	if at != 0 {
		request.Due = schema.Some(string(at.AppendTrimmed(nil)))
		at = min(at, c.now()+schema.Ticks(maxSignalDelay/100))
		name = "op@" + at.String()
	}
	event := &schema.EventRaised{Name: schema.TextOf(name), Input: schema.TextOf(string(request.AppendJSON(nil)))}
	m, err := c.message(id, schema.Optional[string]{}, event, at)
	if err != nil {
		return nil, err
	}
	if err := c.send(ctx, m); err != nil {
		return nil, fmt.Errorf("signal entity %q: %w", id, err)
	}
	status := schema.StatusUnknown
	if row != nil {
		status = row.Status()
	}
	sent := c.sent(m, id, status)
	sent.Event = name
	return sent, nil
}

// entity returns the ID of an entity and its row, if it has one.
func (c *Control) entity(ctx context.Context, e schema.EntityID) (string, *schema.Instance, error) {
	lower := schema.EntityID{Name: strings.ToLower(e.Name), Key: e.Key}
	for _, id := range slices.Compact([]schema.EntityID{lower, e}) {
		row, err := c.instance(ctx, id.String())
		if err != nil || row != nil {
			return id.String(), row, err
		}
	}
	return lower.String(), nil, nil
}

// maxCustomStatus is what a string property of the Table service holds, in UTF-16
// units. Custom statuses are never kept in blobs.
const maxCustomStatus = 32 * 1024

// SetCustomStatus sets the custom status in the row of an orchestration; not set,
// status means none. The framework has no such operation: the instance itself
// does not learn of it, and if it is running, its next checkpoint overwrites it.
//
// It returns [ErrNoInstance], an [*ArgumentError] for text that is not JSON or is
// too long and for an entity, whose status is the framework's, and
// [hub.ErrConflict] if the row changes meanwhile.
func (c *Control) SetCustomStatus(ctx context.Context, id string, status schema.Optional[string]) error {
	if schema.IsEntity(id) {
		return &ArgumentError{"instance ID", "is that of an entity, whose custom status tells whether it exists"}
	}
	text, err := compact("custom status", status)
	if err != nil {
		return err
	}
	if !text.Set {
		text = schema.TextOf("null")
	}
	if n := schema.UTF16Len(text.Value); n > maxCustomStatus {
		return &ArgumentError{"custom status", fmt.Sprintf("has %d characters, more than %d", n, maxCustomStatus)}
	}
	i, err := c.existing(ctx, id)
	if err != nil || c.e == nil {
		return err
	}
	row := schema.Row{PartitionKey: i.PartitionKey, ETag: i.ETag}
	row.Set("CustomStatus", schema.String(text.Value))
	if _, err := c.e.MergeRow(ctx, hub.Instances, row); err != nil {
		return fmt.Errorf("%s instance %q: %w", opStatus, id, err)
	}
	return nil
}

// BreaksLists reports whether the framework would take a reason for the address
// of a blob: it becomes the output of the instance, and reading any list with
// that instance fails from then on.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:479-512.
func BreaksLists(reason string) bool {
	scheme, rest, ok := strings.Cut(reason, ":")
	if !ok || scheme == "" || rest == "" || strings.ContainsAny(reason, " \t\r\n\"<>\\^`{|}") {
		return false
	}
	for i, r := range scheme {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
		if !letter && (i == 0 || !strings.ContainsRune("0123456789+-.", r)) {
			return false
		}
	}
	return true
}
