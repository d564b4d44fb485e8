package schema

import (
	"slices"
	"strconv"
	"strings"
)

// EntityID names an entity; as an instance ID it is @name@key.
type EntityID struct{ Name, Key string }

// String returns the instance ID.
func (e EntityID) String() string { return "@" + e.Name + "@" + e.Key }

// ParseEntityID splits an instance ID at its second @. ok is false if it is not
// an entity's. The key may be empty and may contain @.
//
// Source: durabletask 2.9.1, EntityId.cs:53-78.
func ParseEntityID(instanceID string) (e EntityID, ok bool) {
	rest, ok := strings.CutPrefix(instanceID, "@")
	if !ok {
		return e, false
	}
	e.Name, e.Key, ok = strings.Cut(rest, "@")
	if !ok || e.Name == "" {
		return EntityID{}, false
	}
	return e, true
}

// EntityState is the scheduler state of an entity: the Input of its
// ExecutionStarted event and of its Instances row.
//
// Source: durabletask 2.9.1, SchedulerState.cs:24-61; Functions extension
// 2.13.7, EntityScheduler/SchedulerState.cs:12-54; recorded in hub functions-3.
type EntityState struct {
	// Exists is written by in-process and script apps only; see [EntityState.HasState].
	Exists bool
	// State is the user's state: JSON text, itself a JSON string here.
	State Optional[string]
	// Queue holds the operations that wait, in order.
	Queue []EntityRequest
	// LockedBy is the instance that holds the entity's lock.
	LockedBy  Optional[string]
	Suspended bool
	// Sorter is the metadata of message ordering, as JSON.
	Sorter string
	Extra  []Member

	layout []string
}

// HasState reports whether the entity exists for its users.
func (s *EntityState) HasState() bool { return s.Exists || s.State.Set }

// DecodeEntityState decodes a scheduler state. [EntityState.AppendJSON] gives
// back the same bytes.
func DecodeEntityState(text string) (EntityState, error) {
	var s EntityState
	d := jsonReader{where: "entity state"}
	if err := d.open(text); err != nil {
		return s, &DecodeError{Where: d.where, Err: err}
	}
	var exists, suspended Optional[bool]
	d.optBool("exists", &exists)
	d.str("state", &s.State)
	queue, hasQueue := d.take("queue")
	d.str("lockedBy", &s.LockedBy)
	d.optBool("suspended", &suspended)
	s.Sorter, _ = d.take("sorter")
	s.Exists, s.Suspended = exists.Value, suspended.Value
	s.Extra = d.extra()
	s.layout = d.layout(nil)
	if hasQueue && queue != "null" {
		elements, err := readElements(queue)
		if err != nil {
			return s, &DecodeError{d.where, "queue", err}
		}
		for i, e := range elements {
			r, err := DecodeEntityRequest(e)
			if err != nil {
				return s, &DecodeError{d.where, "queue[" + strconv.Itoa(i) + "]", err}
			}
			s.Queue = append(s.Queue, r)
		}
	}
	if d.err != nil {
		return s, d.err
	}
	return s, nil
}

// AppendJSON appends s as the framework writes it: members at their default are
// left out, sorter excepted.
func (s *EntityState) AppendJSON(dst []byte) []byte {
	w := jsonWriter{}
	if s.Exists {
		w.raw("exists", "true")
	}
	if s.State.Set {
		w.str("state", &s.State)
	}
	if s.Queue != nil {
		q := []byte{'['}
		for i := range s.Queue {
			if i > 0 {
				q = append(q, ',')
			}
			q = s.Queue[i].AppendJSON(q)
		}
		w.raw("queue", string(append(q, ']')))
	}
	if s.LockedBy.Set {
		w.str("lockedBy", &s.LockedBy)
	}
	if s.Suspended {
		w.raw("suspended", "true")
	}
	switch {
	case s.Sorter != "":
		w.raw("sorter", s.Sorter)
	case s.layout == nil:
		w.raw("sorter", "{}")
	}
	return w.append(dst, w.complete(s.layout), s.Extra)
}

// EntityRequest is an operation call, a signal or a lock request: the Input of
// events called op, and the elements of a scheduler state's queue.
//
// Source: durabletask 2.9.1, Entities/EventFormat/RequestMessage.cs; order of
// members as recorded in hub functions-3. The order matters: the framework
// scans for id.
type EntityRequest struct {
	Operation       Optional[string] // null in a lock request
	Signal          bool
	Input           Optional[string] // JSON text
	ID              string           // GUID with dashes
	Parent          Optional[string] // caller's instance; absent from clients
	ParentExecution Optional[string]
	// Due, Timestamp and Predecessor are dates as written: without Z where
	// unset (0001-01-01T00:00:00).
	Due         Optional[string]
	Timestamp   string
	Predecessor string
	LockSet     []EntityID // the entities to lock, sorted; nil unless a lock request
	Position    int64      // in LockSet
	Extra       []Member

	class  Optional[string] // $type, which in-process orchestrations write
	layout []string
	// lockSet is the member as read: its elements may carry a $type.
	lockSet string
}

// DecodeEntityRequest decodes a request. [EntityRequest.AppendJSON] gives back
// the same bytes.
func DecodeEntityRequest(text string) (EntityRequest, error) {
	var r EntityRequest
	d := jsonReader{where: "entity request"}
	if err := d.open(text); err != nil {
		return r, &DecodeError{Where: d.where, Err: err}
	}
	var signal Optional[bool]
	var pos Optional[int64]
	d.str(typeMember, &r.class)
	d.str("op", &r.Operation)
	d.optBool("signal", &signal)
	d.str("input", &r.Input)
	d.plain("id", &r.ID)
	d.str("parent", &r.Parent)
	d.str("parentExecution", &r.ParentExecution)
	d.str("due", &r.Due)
	d.plain("Timestamp", &r.Timestamp)
	d.plain("Predecessor", &r.Predecessor)
	if set, ok := d.take("lockset"); ok && set != "null" {
		r.lockSet = set
		elements, err := readElements(set)
		if err != nil {
			return r, &DecodeError{d.where, "lockset", err}
		}
		for _, e := range elements {
			o := jsonReader{where: d.where, path: "lockset."}
			if err := o.open(e); err != nil {
				return r, &DecodeError{d.where, "lockset", err}
			}
			var id EntityID
			o.plain("name", &id.Name)
			o.plain("key", &id.Key)
			d.merge(&o)
			r.LockSet = append(r.LockSet, id)
		}
	}
	d.optInt64("pos", &pos)
	r.Signal, r.Position = signal.Value, pos.Value
	r.Extra = d.extra()
	r.layout = d.layout(nil)
	if d.err != nil {
		return r, d.err
	}
	return r, nil
}

// AppendJSON appends r as the framework writes it.
func (r *EntityRequest) AppendJSON(dst []byte) []byte {
	w := jsonWriter{}
	if r.class.Set {
		w.str(typeMember, &r.class)
	}
	if r.Operation.Set || r.layout == nil || slices.Contains(r.layout, "op") {
		w.str("op", &r.Operation)
	}
	if r.Signal {
		w.raw("signal", "true")
	}
	w.optional("input", &r.Input)
	w.plain("id", r.ID)
	w.optional("parent", &r.Parent)
	w.optional("parentExecution", &r.ParentExecution)
	w.optional("due", &r.Due)
	w.plain("Timestamp", r.Timestamp)
	w.plain("Predecessor", r.Predecessor)
	switch {
	case r.lockSet != "":
		w.raw("lockset", r.lockSet)
	case r.LockSet != nil:
		q := []byte{'['}
		for i, id := range r.LockSet {
			if i > 0 {
				q = append(q, ',')
			}
			o := jsonWriter{}
			o.plain("name", id.Name)
			o.plain("key", id.Key)
			q = o.append(q, nil, nil)
		}
		w.raw("lockset", string(append(q, ']')))
	}
	if r.Position != 0 {
		w.int("pos", r.Position)
	}
	return w.append(dst, w.complete(r.layout), r.Extra)
}

// optional writes a member that is left out when it is null.
func (w *jsonWriter) optional(name string, p *Optional[string]) {
	if p.Set {
		w.str(name, p)
	}
}

// readElements reads the elements of a JSON array as raw text.
func readElements(text string) ([]string, error) {
	b := []byte(text)
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '[' {
		return nil, &SyntaxError{i, "not a JSON array"}
	}
	var out []string
	for i = skipSpace(b, i+1); i < len(b) && b[i] != ']'; {
		end, err := skipValue(b, i)
		if err != nil {
			return nil, err
		}
		out = append(out, text[i:end])
		i = skipSpace(b, end)
		if i < len(b) && b[i] == ',' {
			i = skipSpace(b, i+1)
		} else if i >= len(b) || b[i] != ']' {
			return nil, &SyntaxError{i, "want a comma or the end of the array"}
		}
	}
	if i = skipSpace(b, i+1); i != len(b) {
		return nil, &SyntaxError{i, "text after the array"}
	}
	return out, nil
}
