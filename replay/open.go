package replay

import (
	"cmp"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/schema"
)

// work is the open work of one execution. What has been answered leaves no trace
// but its place in begun, so that memory follows what is open.
type work struct {
	// tasks holds open work in slots; those in free are empty.
	tasks []task
	free  []int32
	// byID finds activities, timers and sub-orchestrations by their EventId. It is
	// used from fewSlots slots on, as indexed says: fewer are looked through.
	byID    map[int32]int32
	indexed bool
	// byName finds entity calls and lock requests by the name of the event that
	// answers them, and locks by that and the entity; see lockName.
	byName map[string]int32
	// raised are the external events that an action would show to be seen, held
	// those that came during a suspension.
	raised, held []int32
	// signals are the delayed signals that were not due when they were last
	// looked through, which is when there are nextSift.
	signals  []int32
	nextSift int
	// begun tells which EventIds activities, timers and sub-orchestrations have
	// had, to tell a second result from one for nothing.
	begun intervals
	count int64 // tasks ever added, for their order
}

// task is one piece of open work, kept small: there can be millions.
type task struct {
	order         int64
	sequence      int64 // of its row
	since, fireAt schema.Ticks
	name          string
	instance      string
	more          *taskMore // nil for most
	eventID       int32
	kind          taskKind
	neutral       bool // the row that began it is a GenericEvent now: it is to begin again
}

// taskMore is what few tasks have.
type taskMore struct {
	key     string // of the row, if it is malformed
	request string
	input   schema.Text
	locks   []schema.EntityID
}

// taskKind is an OpenKind in one byte. An empty slot has none.
type taskKind uint8

const (
	noTask taskKind = iota
	activity
	timer
	subOrchestration
	event
	entityCall
	lockRequest
	lock
	signal
)

var openKinds = [...]OpenKind{
	activity: OpenActivity, timer: OpenTimer, subOrchestration: OpenSubOrchestration, event: OpenEvent,
	entityCall: OpenEntityCall, lockRequest: OpenLockRequest, lock: OpenLock, signal: OpenSignal,
}

// byID reports whether an EventId answers the work.
func (k taskKind) byID() bool { return k == activity || k == timer || k == subOrchestration }

func (t *task) place() place {
	p := place{sequence: t.sequence, known: true}
	if t.more != nil {
		p.key = t.more.key
	}
	return p
}

func (t *task) open() Open {
	o := Open{Kind: openKinds[t.kind], EventID: t.eventID, Name: t.name, InstanceID: t.instance, Since: t.since, FireAt: t.fireAt}
	if m := t.more; m != nil {
		o.RowKey, o.RequestID, o.Input = m.key, m.request, m.input
	}
	return o
}

func (w *work) reset() {
	// A map keeps the size that it once had, and clearing it takes as long.
	const large = 1024
	if len(w.tasks) > large {
		*w = work{}
	}
	clear(w.tasks)
	w.tasks, w.free, w.raised, w.held, w.signals = w.tasks[:0], w.free[:0], w.raised[:0], w.held[:0], w.signals[:0]
	w.nextSift = 0
	if w.indexed {
		clear(w.byID)
		w.indexed = false
	}
	clear(w.byName)
	w.begun = w.begun[:0]
	w.count = 0
}

// add keeps t and returns its slot.
func (w *work) add(t task) int32 {
	t.order = w.count
	w.count++
	if n := len(w.free); n > 0 {
		i := w.free[n-1]
		w.free = w.free[:n-1]
		w.tasks[i] = t
		return i
	}
	w.tasks = append(w.tasks, t)
	return int32(len(w.tasks) - 1)
}

func (w *work) remove(slot int32) {
	w.tasks[slot] = task{}
	w.free = append(w.free, slot)
}

const fewSlots = 12

// find returns the slot of the work with this EventId.
func (w *work) find(id int32) (slot int32, ok bool) {
	if w.indexed {
		slot, ok = w.byID[id]
		return slot, ok
	}
	for i := range w.tasks {
		if t := &w.tasks[i]; t.eventID == id && t.kind.byID() {
			return int32(i), true
		}
	}
	return 0, false
}

// begin adds work that is answered by its EventId. It returns the work that it
// takes the place of, if there is any.
func (w *work) begin(t task) (before task, replaced bool) {
	if w.begun.add(t.eventID) { // had before
		if slot, ok := w.find(t.eventID); ok {
			before, replaced = w.tasks[slot], true
			w.remove(slot)
		}
	}
	slot := w.add(t)
	switch {
	case w.indexed:
		w.byID[t.eventID] = slot
	case len(w.tasks) > fewSlots:
		w.indexed = true
		if w.byID == nil {
			w.byID = make(map[int32]int32)
		}
		for i := range w.tasks {
			if t := &w.tasks[i]; t.kind.byID() {
				w.byID[t.eventID] = int32(i)
			}
		}
	}
	return before, replaced
}

// end removes the work with this EventId and returns it.
func (w *work) end(id int32) (t task, ok bool) {
	slot, ok := w.find(id)
	if !ok {
		return task{}, false
	}
	if w.indexed {
		delete(w.byID, id)
	}
	t = w.tasks[slot]
	w.remove(slot)
	return t, true
}

// await adds work that is answered by the event with this name.
func (w *work) await(name string, t task) {
	if w.byName == nil {
		w.byName = make(map[string]int32)
	}
	if slot, ok := w.byName[name]; ok {
		w.remove(slot)
	}
	w.byName[name] = w.add(t)
}

// endNamed removes the work with this name and returns it.
func (w *work) endNamed(name string) (t task, ok bool) {
	slot, ok := w.byName[name]
	if !ok {
		return task{}, false
	}
	delete(w.byName, name)
	t = w.tasks[slot]
	w.remove(slot)
	return t, true
}

// acted tells that the orchestrator did something: it has seen the events that
// were not held back.
func (w *work) acted() {
	for _, slot := range w.raised {
		w.remove(slot)
	}
	w.raised = w.raised[:0]
}

// released tells that events are no longer held back.
func (w *work) released() {
	w.raised = append(w.raised, w.held...)
	w.held = w.held[:0]
}

// signal adds a delayed signal, and forgets those that are due by now.
func (w *work) signal(t task, now schema.Ticks) {
	if len(w.signals) >= w.nextSift {
		w.signals = slices.DeleteFunc(w.signals, func(slot int32) bool {
			due := w.tasks[slot].fireAt <= now
			if due {
				w.remove(slot)
			}
			return due
		})
		w.nextSift = 2*len(w.signals) + 16
	}
	w.signals = append(w.signals, w.add(t))
}

// list returns what is open in row order. Signals that were due by now are done.
func (w *work) list(now schema.Ticks) []Open {
	var tasks []*task
	sorted := true
	for i := range w.tasks {
		t := &w.tasks[i]
		if t.kind == noTask || t.kind == signal && t.fireAt <= now {
			continue
		}
		if tasks == nil {
			tasks = make([]*task, 0, len(w.tasks)-i)
		}
		sorted = sorted && (len(tasks) == 0 || tasks[len(tasks)-1].order < t.order)
		tasks = append(tasks, t)
	}
	if !sorted { // slots were used again
		slices.SortFunc(tasks, func(a, b *task) int { return cmp.Compare(a.order, b.order) })
	}
	if len(tasks) == 0 {
		return nil
	}
	all := make([]Open, len(tasks))
	for i, t := range tasks {
		all[i] = t.open()
	}
	// The keys are parts of one text.
	var keys strings.Builder
	keys.Grow(keyLength * len(tasks))
	for _, t := range tasks {
		key := rowKey(t.sequence)
		keys.Write(key[:])
	}
	for i := range all {
		if all[i].RowKey == "" {
			all[i].RowKey = keys.String()[keyLength*i:][:keyLength]
		}
	}
	return all
}

// lockName is the key of a held lock in work.byName. Names of events have no zero
// byte.
func lockName(request, entity string) string { return request + "\x00" + entity }

// intervals is a set of numbers as ascending ranges that do not touch. EventIds
// are given in sequence, so there is about one range for each event sent between
// other actions.
type intervals []interval

type interval struct{ from, to int64 } // to is not part of it

// maxIntervals bounds the set. Beyond, its first ranges are joined: an ID between
// them then counts as one that was there.
const maxIntervals = 64

// add adds a number and reports whether it was there before.
func (s *intervals) add(id int32) (had bool) {
	n := int64(id)
	all := *s
	if k := len(all) - 1; k >= 0 && all[k].to == n {
		all[k].to++
		return false
	}
	// i is the first range that ends at n or later.
	i, _ := slices.BinarySearchFunc(all, n, func(r interval, n int64) int { return cmp.Compare(r.to, n) })
	switch {
	case i < len(all) && all[i].from <= n && n < all[i].to:
		return true
	case i < len(all) && all[i].to == n:
		all[i].to++
		if i+1 < len(all) && all[i+1].from == all[i].to {
			all[i].to = all[i+1].to
			all = slices.Delete(all, i+1, i+2)
		}
	case i < len(all) && all[i].from == n+1:
		all[i].from = n
	default:
		all = slices.Insert(all, i, interval{n, n + 1})
	}
	if len(all) > maxIntervals {
		all[1].from = all[0].from
		all = slices.Delete(all, 0, 1)
	}
	*s = all
	return false
}

func (s intervals) has(id int32) bool {
	n := int64(id)
	i, _ := slices.BinarySearchFunc(s, n+1, func(r interval, n int64) int { return cmp.Compare(r.to, n) })
	return i < len(s) && s[i].from <= n
}

// names keeps one copy of each of the last few short texts: activities and
// orchestrators have few names, and rows give away only texts that alias a page.
type names [16]string

func (k *names) clone(s string) string {
	const long = 128
	if s == "" || len(s) > long {
		return strings.Clone(s)
	}
	slot := &k[(int(s[len(s)-1])+len(s))%len(k)]
	if *slot != s {
		*slot = strings.Clone(s)
	}
	return *slot
}
