package explain

import (
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/verify"
)

// Report is what [Instance] finds out.
type Report struct {
	Hub hub.Info
	// ObservedAt is what ages and due times count to: when a capture was taken,
	// or Options.Now; zero if neither is known.
	ObservedAt schema.Ticks

	InstanceID string
	Entity     bool // the ID is an entity's
	// Found reports whether the instance has a row or history. Without either,
	// messages for it may still wait in a queue: see Messages.
	Found bool
	// Similar lists IDs that may have been meant, if the instance was not found,
	// the most similar first; SimilarOf is how many were compared.
	Similar   []string
	SimilarOf int64

	// Condition and Verdict say it in a word and in a sentence.
	Condition Condition
	Verdict   string

	// Row is the instance's row, its texts as stored; nil without one.
	Row *schema.Instance
	// History is what the instance's history says; no Rows without one.
	History *replay.History
	// Judged joins the two: the status that holds, and where they disagree.
	Judged replay.Verdict
	// Since is when the instance got its status; zero if unknown.
	Since schema.Ticks
	// Failure is why a failed or terminated instance ended, as its output says it;
	// long texts are cut. Empty for any other.
	Failure string
	// LastProgress is the time of the last event of the current execution; zero if
	// it has none yet.
	LastProgress schema.Ticks

	// Awaits is what the instance waits for, in the order of its history, at
	// most [MaxAwaits]; AwaitsMore counts the others.
	Awaits     []Await
	AwaitsMore int64
	// Shortfalls tell that some of what is awaited is lost, though not which.
	Shortfalls []Shortfall
	// Sent is what the instance has sent and others have not got yet, as far as
	// history tells: delayed signals, and of a child that has ended the answer
	// that its parent still waits for. At most [MaxAwaits].
	Sent []Await
	// Locks are those that the instance holds.
	Locks []Lock
	// State is the entity's scheduler state; nil for orchestrations and if it
	// cannot be read.
	State *EntityState

	// Messages are those for the instance that can be seen, in queue order.
	Messages []Message
	// MessagesMore counts those beyond [MaxAwaits].
	MessagesMore int64
	// Queues are those in which anything for the instance is, or must be.
	Queues []Queue

	Partition Partition

	// Parents are the parent, its parent and so on to the root.
	Parents []Relative
	// Children are the sub-orchestrations of the current execution, those that
	// are waited for first. ChildrenMore counts those beyond [MaxRelatives].
	Children     []Relative
	ChildrenMore int64

	// Findings are those of package verify about the instance.
	Findings []verify.Finding
	// Steps are what to try next, in this order.
	Steps []Step
	// Problems lists what could not be read or told, each with its place.
	Problems []error
}

// Age returns how long before r.ObservedAt t was, negative if it was after; ok
// is false if either is unknown.
func (r *Report) Age(t schema.Ticks) (age time.Duration, ok bool) {
	if t == 0 || r.ObservedAt == 0 {
		return 0, false
	}
	return r.ObservedAt.Time().Sub(t.Time()), true
}

// Condition is the state of an instance in one word.
type Condition string

// The conditions. More may be added.
const (
	// NotFound: neither table has a row of it.
	NotFound Condition = "not-found"
	// Ended: its status is a terminal one.
	Ended Condition = "ended"
	// Scheduled: it starts at a time in the future.
	Scheduled Condition = "scheduled"
	// Ready: messages for it wait for a worker.
	Ready Condition = "ready"
	// Waiting: what it waits for is under way, due later or up to others.
	Waiting Condition = "waiting"
	// Suspended: it does nothing before it is resumed.
	Suspended Condition = "suspended"
	// Idle: an entity with nothing to do.
	Idle Condition = "idle"
	// Locked: an entity that works for the holder of its lock only.
	Locked Condition = "locked"
	// Stuck: what it waits for cannot come.
	Stuck Condition = "stuck"
)

// Where tells where a message is.
type Where string

// The places, the most certain first.
const (
	// Visible: it is in its queue.
	Visible Where = "visible"
	// Received: it has arrived; the instance's own history or state holds it.
	Received Where = "received"
	// Running: nothing has been sent yet, since the child is still at work.
	Running Where = "running"
	// Hidden: it is due later, must be invisible now, and its queue has a message
	// that cannot be seen.
	Hidden Where = "hidden"
	// Possible: a queue where it may be has messages that cannot be seen.
	Possible Where = "possibly-hidden"
	// Unknown: nothing tells, such as for an event that a client may send.
	Unknown Where = "unknown"
	// Lost: it is in no queue where it could be, by their counts.
	Lost Where = "lost"
)

// Kind is what an instance can wait for: one of [replay.OpenKind], or one of
// those below.
type Kind = replay.OpenKind

// Kinds that history alone does not tell.
const (
	// Start is the first message of an instance.
	Start Kind = "start"
	// WakeUp is the message by which a rewind sets an instance going again.
	WakeUp Kind = "wake_up"
	// Redelivery is a message of the last episode, whose checkpoint was not
	// finished: its messages come again and complete it.
	Redelivery Kind = "redelivery"
	// ExternalEvent is an event that a client or another instance may send. What
	// name it has to have is not stored.
	ExternalEvent Kind = "external_event"
	// Resume is the message that ends a suspension.
	Resume Kind = "resume"
	// Continue is the message by which a suspended entity goes on.
	Continue Kind = "continue"
	// Release is the message by which the holder of an entity's lock gives it back.
	Release Kind = "release"
	// Answer is what a child that has ended sends to its parent.
	Answer Kind = "answer"
)

// Await is one thing that an instance waits for.
type Await struct {
	Kind    Kind
	EventID int32 // of the event that began it; -1 without one
	RowKey  string
	// Name is that of the activity, orchestrator, event or operation.
	Name string
	// InstanceID is the child, or the entity.
	InstanceID string
	// RequestID of an entity call or lock is the name of the event that answers it.
	RequestID string
	// Since is when the wait began, DueAt when it ends by itself: of timers,
	// scheduled starts and delayed signals. Zero if unknown.
	Since, DueAt schema.Ticks
	// Where is where the message is that ends the wait, and Why what that rests on,
	// in words.
	Where Where
	Why   string
	// Messages are those that would bring it. One of them must exist, unless
	// Where is Received, Running or Unknown.
	Messages []Sought
	// Child is how a sub-orchestration is.
	Child *Relative
}

// Sought is a message that must be, or may be, in a queue.
type Sought struct {
	Queue       string
	InstanceID  string // whom it is for
	ExecutionID string // empty: whichever is current
	// Types are the types that it may have, such as TaskCompleted or TaskFailed.
	Types []schema.EventType
	// TaskID is the number of the activity, timer or child that it answers, or
	// of the activity to run; -1 if it has none.
	TaskID int32
	// Name is that of an event; empty for any.
	Name string
	// RequestID is that of an entity operation in it; empty for any.
	RequestID string
	// DueAt is when it becomes visible; zero for at once.
	DueAt schema.Ticks
	Where Where
	// Found is the message if it can be seen.
	Found *Message
}

// Message is a message that can be seen, without its payload.
type Message struct {
	Queue        string
	ID           string
	Position     int // in the queue, of those that can be seen, from 1
	InstanceID   string
	ExecutionID  string
	EventType    string // empty if it cannot be read
	Name         string
	Purpose      string // in words
	InsertedAt   schema.Ticks
	DueAt        schema.Ticks
	DequeueCount int64
	// Misplaced says that it is in another control queue than its instance's.
	Misplaced bool
	Problem   string

	eventType schema.EventType
	taskID    int32
	requestID string
	parent    string // of the instance that it starts
}

// Queue is a queue and how much of it can be seen.
type Queue struct {
	hub.Queue
	// Exists is false for a queue that should be there and is not.
	Exists bool
	// Seen is the number of messages that can be seen. Room is how many cannot:
	// invisible ones, and those after the first 32.
	Seen, Room int64
	// Uncounted is true if nobody knows how many cannot be seen.
	Uncounted bool
	// OldestInserted is the earliest time of a message that was seen; zero
	// without one.
	OldestInserted schema.Ticks
	// MaxDequeueCount is the highest count of a message that was seen.
	MaxDequeueCount int64
}

// Shortfall tells that queues have fewer messages that cannot be seen than must
// be there: at least Lost of the Awaited are nowhere.
type Shortfall struct {
	Queues              []string
	Awaited, Room, Lost int64
}

// Lock is a lock of an entity that an orchestration holds.
type Lock struct {
	EntityID  string
	RequestID string
	Since     schema.Ticks
	// LockedBy is what the entity itself says; empty if it is not locked or
	// cannot be read.
	LockedBy string
	// Agreed reports whether the entity names this instance.
	Agreed bool
}

// EntityState is an entity's scheduler state without the user's own.
type EntityState struct {
	Exists    bool
	Suspended bool
	// LockedBy is the instance that holds its lock, and Holder how that one is.
	LockedBy string
	Holder   *Relative
	// Waiting are the operations in its queue, in their order, at most
	// [MaxAwaits]; WaitingMore counts the others.
	Waiting     []Operation
	WaitingMore int64
}

// Operation is an operation that waits inside of an entity.
type Operation struct {
	Name   string // empty for a lock
	Lock   bool
	Signal bool
	ID     string
	Parent string // the caller; empty for a client
}

// Partition is the partition that the instance belongs to.
type Partition struct {
	// Number is from 0, or -1 if the hub's partition count is not known.
	Number int
	Queue  string
	// Leases are who owns the control queue, one for each kind of lease.
	Leases []manage.Partition
	// AppRunning and Evidence are as of [manage.Overview].
	AppRunning manage.Running
	Evidence   []string
}

// Relative is an instance that has to do with another: an ancestor, a child, a
// holder of a lock.
type Relative struct {
	InstanceID string
	Name       string
	// EventID is the number of the event by which the parent made it; -1 for
	// others than children.
	EventID int32
	// Found is false if neither table has a row of it.
	Found  bool
	Status schema.Status
	Since  schema.Ticks
	// Summary says in words what it does or waits for.
	Summary string
	// Open reports for a child whether its parent still waits for it, and for a
	// parent whether it waits for the one before.
	Open bool
	// Cycle says that the chain comes back to an instance that is in it already.
	Cycle bool
	// Depth is 1 for children, 2 for theirs and so on; 0 for others.
	Depth int
}

// Step is something to try, with the reason.
type Step struct {
	// Args are a command of this tool and its options but for those that name the
	// hub; empty for what has to be done elsewhere.
	Args []string
	Text string // what it does, or what to do
}
