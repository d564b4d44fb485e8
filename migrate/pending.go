package migrate

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// Origin says where a pending message comes from.
type Origin string

// The origins.
const (
	// Seen is a message that can be read from its queue. It is carried over as
	// it is.
	Seen Origin = "seen"
	// Rebuilt is a message that cannot be seen and whose content the tables tell.
	Rebuilt Origin = "rebuilt"
	// Redriven is work whose message cannot be seen and holds what is nowhere
	// else. The row that began it is neutralised, as a rewind does it, and the
	// orchestrator is woken, so that it schedules the work again.
	Redriven Origin = "redriven"
	// Unrecoverable is work whose message cannot be seen and not be made again.
	Unrecoverable Origin = "unrecoverable"
	// CutOff is what an instance waits for and will not come, as only one of the
	// two moves; see [Item.Peer].
	CutOff Origin = "cut_off"
	// Left is a message that can be seen and cannot be read: where instances are
	// chosen, nobody can tell whose it is, and it stays.
	Left Origin = "left"
)

// Kind is what a pending message is for.
type Kind string

// The kinds.
const (
	KindStart         Kind = "start"                    // of an orchestration, by a client
	KindChildStart    Kind = "sub_orchestration_start"  // by its parent
	KindChildAnswer   Kind = "sub_orchestration_answer" // to its parent
	KindActivity      Kind = "activity"
	KindActivityEnd   Kind = "activity_result"
	KindTimer         Kind = "timer"
	KindEvent         Kind = "event" // for an orchestration
	KindEntityRequest Kind = "entity_request"
	KindEntitySignal  Kind = "entity_signal" // delayed
	KindEntityAnswer  Kind = "entity_answer"
	KindRelease       Kind = "entity_release"
	KindContinue      Kind = "entity_continue"
	KindControl       Kind = "control" // terminate, suspend, resume
	KindWakeUp        Kind = "wake_up"
	// KindOther is a message that cannot be read, or of an unknown type.
	KindOther Kind = "other"
	// KindHidden stands for messages that cannot be seen and that the tables tell
	// nothing of, such as external events on their way; see [Item.Count].
	KindHidden Kind = "hidden"
)

// Item is one message that the target hub must have, or a piece of work that
// goes on without one. It belongs to the caller.
type Item struct {
	// InstanceID is the instance that the message is for; of an activity, the
	// orchestration that awaits it. Empty if it cannot be told.
	InstanceID string
	// ExecutionID is that of the target; empty where any is meant.
	ExecutionID string
	Kind        Kind
	Origin      Origin
	// EventID is that of the event in history that has begun the work, -1 if
	// there is none.
	EventID int32
	// Name is that of the activity, orchestrator or event, or the child's ID;
	// for people.
	Name string
	// Peer is the other instance of what is CutOff, the one that stays:
	// InstanceID waits for it, or it waits for InstanceID.
	Peer string

	// Queue is the queue of the target for the message; empty if there is none.
	Queue string
	// DueAt is when workers may first take it; zero means at once. It may lie
	// further ahead than [hub.MaxMessageDelay] only if the clock is wrong.
	DueAt schema.Ticks
	// Text is the JSON to be put into the queue, not yet in the encoding of the
	// queue; see [schema.EncodeBody]. Of a message that is kept in a blob it is
	// the wrapper. Empty if nothing is to be sent. A message that was seen and
	// cannot be read has its body here as it is.
	Text string
	// Message is the message itself, also where a blob keeps it; nil if nothing
	// is to be sent or it cannot be read.
	Message *schema.Message
	// Blob is the name of the blob of a large message. BlobText is the text to be
	// stored in it; empty for a blob that the source already has.
	Blob, BlobText string

	// Edit is the row of the History table as it is to be in the target; nil if
	// it stays as it is. Timestamp and ETag are the source's.
	Edit *schema.Row

	// SeenIn is the queue of the source in which the message can be seen, and
	// MessageID its ID there.
	SeenIn, MessageID string
	// Count is the number of messages that an item of KindHidden stands for; -1
	// where instances are chosen, as nobody can tell how many are for them.
	Count int64
	// Why says, for people, what the origin rests on.
	Why string
}

// PendingOptions tunes [Pending]. The zero value plans for a hub of the same name
// and partition count.
type PendingOptions struct {
	// Names are those of the target hub; the zero value means the source's.
	Names hub.Names
	// Partitions is the target's partition count, 1 to 16; 0 means the source's.
	Partitions int
	// WithoutQueues rebuilds everything from tables and blobs and reads no queue:
	// for a hub whose queues are lost, or a capture without messages.
	WithoutQueues bool
	// Select chooses the instances that move, by their IDs; nil moves all. It must
	// answer alike whenever it is asked.
	Select func(instanceID string) bool
	// Version1 makes messages as version 1.x of the framework writes them.
	Version1 bool
	// MaxBlobBytes limits the text of a blob; 0 means [hub.DefaultPayloadBytes].
	MaxBlobBytes int64
	// Now tells the time, by which it is judged what can be hidden until it is
	// due. A capture uses the time at which it was taken; a live hub needs a clock.
	Now func() time.Time
	// NewID returns a GUID with dashes for the work that a key names; the same
	// key should give the same ID, so that a run that is repeated makes the same
	// messages. Nil means one that is made of the hash of hub and key.
	NewID func(key string) string
}

// Pending lists every message that a copy of the hub must have so that the work
// in flight goes on: those that can be seen, in the order of queues and
// positions, then by instance and row what must be hidden and is made again from
// the tables.
//
// What is made again is exactly what has no message in sight: an activity whose
// work item or result can be seen, a timer whose message can be seen and so on
// are left alone. Of what only messages hold and nobody can see, the last item
// gives the number (see KindHidden).
//
//   - Timers, scheduled and other starts by clients, delayed signals to entities,
//     calls of entities and requests for locks that did not arrive, releases of
//     locks, and answers of sub-orchestrations that have ended are rebuilt.
//   - Signals to entities and events for other orchestrations, of the last quarter of
//     an hour before the hub was stopped, are rebuilt if the receiver tells that they
//     did not arrive.
//   - Activities and sub-orchestrations that have not begun are rebuilt if their
//     input is stored; else the row that scheduled them becomes a GenericEvent, as
//     when a rewind neutralises it, and one message for each instance wakes it.
//     Such an activity may run twice, as any may.
//   - After a torn or unfinished checkpoint, the messages that it was about are
//     made again from its rows: they are deleted last, so that they are still
//     there. External events among them are not, as they would count twice.
//
// The source must be stopped; it is only read. An element that no message can
// save is an item with the origin Unrecoverable and no error.
//
// Where instances are chosen, messages come along with the instance that they are
// for, which is the orchestration for an activity, whoever sends them. What is
// made again rests on the whole hub all the same: a sub-orchestration that stays is
// not started anew. Where one of two instances waits for the other and only one
// moves, an item with the origin CutOff says so.
//
// Memory is that of the largest single payload, about 150 bytes for each message
// that is seen, 250 for each event or signal of that quarter of an hour, and what is
// open of one instance.
//
// Source: durabletask 2.9.1, AzureStorageOrchestrationService.cs:1141-1283,
// 1391-1442, 1600-1633, TaskOrchestrationDispatcher.cs:1011-1124, 1178-1375,
// AzureTableTrackingStore.cs:273-377.
func Pending(ctx context.Context, r hub.Reader, opts PendingOptions) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		p := &pending{r: r, opts: opts, yield: yield}
		if err := p.run(ctx); err != nil && !errors.Is(err, errStopped) {
			yield(Item{}, err)
		}
	}
}

// errStopped ends the walk when the caller wants no more.
var errStopped = errors.New("stopped")

// pending is one run of [Pending].
type pending struct {
	r     hub.Reader
	opts  PendingOptions
	yield func(Item, error) bool

	info     hub.Info
	now      schema.Ticks
	seen     seenMessages
	sequence int64
	// hidden counts the messages that exist and cannot be seen, by queue;
	// explained those of them that were made again.
	hidden    map[string]int64
	explained int64
	// ended tells of instances that others wait for whether they have ended;
	// only where instances are chosen.
	ended map[string]bool
}

func (p *pending) run(ctx context.Context) error {
	var err error
	if p.info, err = p.r.Info(ctx); err != nil {
		return err
	}
	if p.opts.Names == (hub.Names{}) {
		p.opts.Names = p.info.Names
	}
	if p.opts.Partitions == 0 {
		p.opts.Partitions = p.info.PartitionCount
	}
	if n := p.opts.Partitions; n < 1 || n > hub.MaxPartitions {
		return fmt.Errorf("%d partitions: want 1 to %d", n, hub.MaxPartitions)
	}
	switch {
	case p.info.Started != 0:
		p.now = p.info.Started
	case p.opts.Now != nil:
		p.now = schema.TicksOf(p.opts.Now())
	default:
		return errors.New("there is no clock to tell what is due")
	}
	if p.opts.NewID == nil {
		p.opts.NewID = p.hashID
	}
	if !p.opts.WithoutQueues {
		if err := p.peek(ctx); err != nil {
			return err
		}
	}
	if err := p.instances(ctx); err != nil {
		return err
	}
	return p.unexplained()
}

// give hands an item to the caller.
func (p *pending) give(i *Item) error {
	if !p.yield(*i, nil) {
		return errStopped
	}
	return nil
}

// unknown counts the messages that are hidden beyond those that were made again.
func (p *pending) unknown() int64 {
	n := -p.explained
	for _, hidden := range p.hidden {
		n += hidden
	}
	return n
}

// unexplained tells of the messages that are hidden beyond those that were made
// again.
func (p *pending) unexplained() error {
	n := p.unknown() + p.explained
	if n > 0 && p.opts.Select != nil {
		return p.give(&Item{
			Kind: KindHidden, Origin: Unrecoverable, EventID: -1, Count: -1,
			Why: fmt.Sprintf("%d messages of the whole hub cannot be seen, and whose they are cannot be told but for what the tables tell", n),
		})
	}
	if n -= p.explained; n <= 0 {
		return nil
	}
	return p.give(&Item{
		Kind: KindHidden, Origin: Unrecoverable, EventID: -1, Count: n,
		Why: fmt.Sprintf("%d messages cannot be seen, and the tables tell of %d: events and signals on their way, messages that came twice, work of episodes that will run again",
			n+p.explained, p.explained),
	})
}

// instances walks the tables.
func (p *pending) instances(ctx context.Context) error {
	replayer := replay.New("", replay.Options{OmitInputs: true, Load: p.loader(ctx)})
	begun := false
	var marks rewindMarks
	var box postbox
	for part, err := range hub.Join(ctx, p.r, hub.Keys{}) {
		if err != nil {
			return err
		}
		if !begun {
			replayer.Reset(part.PartitionKey)
			marks, begun = rewindMarks{}, true
			box.episode = 0
		}
		for i := range part.History {
			replayer.Add(&part.History[i])
			if marks.add(&part.History[i]) {
				box.add(p, &part.History[i])
			}
		}
		if part.More {
			continue
		}
		begun = false
		var row *schema.Instance
		if part.Instance != nil {
			kept := part.Instance.Clone()
			decoded, _ := schema.DecodeInstance(&kept) // what can be read of it
			row = &decoded
		}
		h := replayer.End()
		s := &subject{
			p: p, key: part.PartitionKey, id: h.InstanceID, moves: p.moves(h.InstanceID), row: row, h: h, live: &h.Live, marks: marks,
		}
		if err := s.work(ctx); err != nil {
			return err
		}
		replayer.Recycle(h)
	}
	return p.deliver(ctx, &box)
}

// loader returns what loads the texts of events from blobs.
func (p *pending) loader(ctx context.Context) func(string, *schema.Text) error {
	return func(_ string, t *schema.Text) error {
		text, err := hub.LoadText(ctx, p.r, p.info.Names.LargeMessages(), schema.StoredBlobName(t.Blob), p.opts.MaxBlobBytes)
		if err != nil {
			return err
		}
		t.Load(text)
		return nil
	}
}

// rewindMarks are what a rewind has left in the live rows of a history.
type rewindMarks struct {
	begun     bool
	over      bool
	execution string
	// rewound says that rows were neutralised, woken that the message of the
	// rewind has come since, child that the rewind goes by way of a child.
	rewound, woken, child bool
}

// add looks at the next row, and reports whether it is of the current execution.
// The message of a rewind comes after all rows that it has neutralised.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:273-377.
func (m *rewindMarks) add(row *schema.Row) (current bool) {
	if m.over || row.IsSentinel() {
		return false
	}
	execution, _ := row.Get("ExecutionId").Text()
	if !m.begun {
		m.begun, m.execution = true, strings.Clone(execution)
	}
	if execution != m.execution {
		m.over = true
		return false
	}
	kind, _ := row.Get("EventType").Text()
	reason, _ := row.Get("Reason").Text()
	switch marked := strings.HasPrefix(reason, rewoundPrefix); {
	case marked && kind == schema.TypeSubOrchestrationCreated.String():
		m.child = true
	case marked && kind == schema.TypeGeneric.String():
		m.rewound, m.woken = true, false
	case kind == schema.TypeGeneric.String():
		m.woken = true
	}
	return true
}

const rewoundPrefix = "Rewound: "
