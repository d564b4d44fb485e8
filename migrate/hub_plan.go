package migrate

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Options says what becomes of a hub that moves. Names, BlobURL and Now are
// required, and Running where the source is a live hub.
type Options struct {
	// Names are those of the target hub. The writer must be of the same.
	Names hub.Names
	// Partitions is the target's partition count, 1 to 16; 0 means the source's.
	Partitions int
	// Version1 makes messages as version 1.x of the framework writes them.
	Version1 bool
	// Manager is the target's partition manager. Empty means TableManager, and
	// SafeBlobManager with Version1.
	Manager PartitionManager
	// Encoding is the form of messages in queues. Versions before 1.17.4 read only
	// [schema.Base64].
	Encoding schema.Encoding
	// BlobURL returns the address of a blob in the target's account, as
	// [hub.Editor.BlobURL] does.
	BlobURL func(container, name string) string
	// Running looks whether an app runs a hub, and returns the signs of one that
	// does. It is asked about the source, and about a target that exists.
	Running func(ctx context.Context, r hub.Reader) (signs []string, err error)

	// WithoutQueues rebuilds all messages from tables and blobs; see
	// [PendingOptions].
	WithoutQueues bool
	// AcceptLost goes on although work is lost or cut off that the plan names, or a
	// part of the source could not be read.
	AcceptLost bool
	// Resume goes on in a target that an interrupted run has left and that Journal
	// tells of. What the target has beyond the source is found by the check and
	// ends the run.
	Resume bool
	// Journal is the record with which a run that was interrupted is gone on with;
	// nil keeps none. [Plan] only looks what it says.
	Journal *Journal
	// Select chooses the instances that move, by their IDs; nil moves all. Their
	// rows, payloads and messages move and nothing else, as [Pending] tells of
	// messages. It is asked often and from several goroutines, and must always
	// answer alike. What waits for an instance on the other side is cut off.
	Select func(instanceID string) bool
	// Receive, if not nil, also reads the messages that a peek does not show: it
	// receives those that are visible, of queues of which a peek cannot show all,
	// and makes each visible again. Only [Run] does so, once a plan without these
	// messages, which takes a reading of its own, has no refusal but of what they may
	// tell, and if no app runs the source then. They are kept in memory: mostly 1 KB each, at most 64 KiB. A
	// capture is only read, and nothing is received WithoutQueues.
	Receive hub.Receiver

	// Concurrency is the number of requests at once; 0 means 16.
	Concurrency int
	// MaxBlobBytes is the size of the largest blob that is copied; 0 means
	// 1 GiB. A larger one is a reason to refuse.
	MaxBlobBytes int64
	// MaxPayloadBytes limits the text of a blob that is looked into; 0 means
	// [hub.DefaultPayloadBytes].
	MaxPayloadBytes int64
	// Now tells the time, from which delays of messages count.
	Now func() time.Time
	// NewID is that of [PendingOptions].
	NewID func(key string) string
	// OnItem is given every item of [Pending] while the plan is made, once in
	// each run; an error ends the run. Nil is fine.
	OnItem func(*Item) error
	// OnProgress is called from one goroutine at a time; nil is fine.
	OnProgress func(Progress)
}

func (o *Options) validate() error {
	switch {
	case o.Names.TaskHub == "":
		return errors.New("the target has no name")
	case o.BlobURL == nil:
		return errors.New("nothing tells the addresses of blobs in the target")
	case o.Now == nil:
		return errors.New("there is no clock to tell what is due")
	}
	if o.Manager == "" {
		o.Manager = TableManager
		if o.Version1 {
			o.Manager = SafeBlobManager
		}
	}
	if o.Concurrency <= 0 {
		o.Concurrency = 16
	}
	if o.MaxBlobBytes <= 0 {
		o.MaxBlobBytes = 1 << 30
	}
	return nil
}

// PhasePlan is the reading before the first write.
const PhasePlan Phase = "plan"

// MaxLost is the number of lost items that a plan names.
const MaxLost = 1000

// HubPlan says what a migration moves and what stands in its way.
type HubPlan struct {
	From, To hub.Names
	// FromPartitions and Partitions are the partition counts, before and after.
	FromPartitions, Partitions int
	Manager                    PartitionManager
	// Rows counts what is copied of Instances and History. RowBytes is the size
	// of these rows as JSON, without what the service sets.
	Rows     map[hub.Table]int64
	RowBytes int64
	// Rewritten counts rows of Instances in which a column changes.
	Rewritten int64
	// Blobs and BlobBytes count the large messages that are copied.
	Blobs, BlobBytes int64
	// Pending counts what [Pending] gives out, by kind and then origin.
	Pending []PendingCount
	// Hidden counts messages that nobody can see and the tables do not tell of:
	// external events, signals and copies of others. They are not moved. It is -1
	// if there are any and nobody can tell how many are for the instances chosen.
	Hidden int64
	// Queues counts the messages of the source's queues, those of all instances;
	// nil WithoutQueues.
	Queues []QueueCount
	// Left counts messages that stay because nobody can tell whose they are.
	Left int64
	// Lost names the first MaxLost items that cannot be recovered, LostItems
	// counts all of them.
	Lost      []Item
	LostItems int64
	// CutOff names the first MaxLost links to instances that stay, CutOffItems
	// counts all of them.
	CutOff      []Item
	CutOffItems int64
	// Unreadable are the parts of the source that could not be read.
	Unreadable []hub.Unreadable
	// Refusals are the reasons for which [Run] writes nothing; nil if there is none.
	Refusals []Refusal
	// Done says that by the journal the migration has ended: [Run] only compares.
	Done bool
}

// PendingCount counts items of one kind and origin.
type PendingCount struct {
	Kind   Kind
	Origin Origin
	Count  int64
}

// RefusalCode says why a migration is refused.
type RefusalCode string

// The reasons.
const (
	RefusedRunning    RefusalCode = "source-running"  // an app runs the source
	RefusedTarget     RefusalCode = "target-running"  // an app runs the target
	RefusedExists     RefusalCode = "target-exists"   // without Options.Resume
	RefusedOther      RefusalCode = "target-differs"  // it is not what an interrupted run leaves
	RefusedNoJournal  RefusalCode = "no-journal"      // no journal tells of the target, with Options.Resume
	RefusedJournal    RefusalCode = "other-journal"   // it is of another migration, or one that was begun
	RefusedLost       RefusalCode = "lost-work"       // without Options.AcceptLost
	RefusedUnseen     RefusalCode = "unseen-messages" // of control queues, without Options.Receive or AcceptLost
	RefusedCutOff     RefusalCode = "cut-off"         // links to instances that stay, without Options.AcceptLost
	RefusedBlob       RefusalCode = "large-blob"      // larger than Options.MaxBlobBytes
	RefusedDelay      RefusalCode = "far-future"      // a message is due later than a queue can hide it
	RefusedUnreadable RefusalCode = "unreadable"      // part of the source, without Options.AcceptLost
)

// Refusal is one reason, with the particulars for people.
type Refusal struct {
	Code   RefusalCode
	Detail string
}

// RefusedError is returned by [Run] for a plan with refusals. It is a case of
// hub.ErrInUse if source or target are in use, and of ErrExists if the target
// exists.
type RefusedError struct{ Refusals []Refusal }

// Error gives all reasons.
func (e *RefusedError) Error() string {
	texts := make([]string, len(e.Refusals))
	for i, r := range e.Refusals {
		texts[i] = string(r.Code) + ": " + r.Detail
	}
	return "not migrated: " + strings.Join(texts, "; ")
}

// Is reports whether the reasons are a case of target.
func (e *RefusedError) Is(target error) bool {
	return slices.ContainsFunc(e.Refusals, func(r Refusal) bool {
		switch r.Code {
		case RefusedExists:
			return target == ErrExists || target == hub.ErrInUse
		case RefusedRunning, RefusedTarget:
			return target == hub.ErrInUse
		}
		return false
	})
}

// Plan finds out what [Run] would do. It only reads, also of the target.
//
// It goes through the tables once. Memory is that of [Pending], the messages of a
// live source that can be seen, the named items, and the names of blobs that are
// to be made, or that move with instances that are chosen and do not bear their
// names.
func Plan(ctx context.Context, src, dst hub.Reader, opts Options) (*HubPlan, error) {
	m, err := newMigration(ctx, src, dst, opts, true)
	if err != nil {
		return nil, err
	}
	return &m.plan, nil
}

// migration is one run of [Plan] or [Run].
type migration struct {
	opts     Options
	readOnly bool       // nothing is received
	from     hub.Reader // whose messages do not change
	source   hub.Info
	began    time.Time

	plan      HubPlan
	selection *selection // nil if all instances move
	artifacts *Artifacts
	rewrite   Rewrite
	large     bool            // the source has a container of large messages
	made      map[string]bool // names of the blobs of messages that are made
	redriven  bool            // rows of History change
	messages  int64

	there   bool         // the target exists
	created schema.Ticks // in taskhub.json
	sums    *digesting   // of the source, while the plan is made
	items   *lines       // the same of what is pending
	digest  string       // of all of the plan
	kept    kept
	planned PhaseReport
	same    bool // the source is the same in the check
}

func newMigration(ctx context.Context, src, dst hub.Reader, opts Options, readOnly bool) (*migration, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	info, err := src.Info(ctx)
	if err != nil {
		return nil, fmt.Errorf("source: %w", err)
	}
	if opts.Partitions == 0 {
		opts.Partitions = info.PartitionCount
	}
	m := &migration{
		opts: opts, readOnly: readOnly, from: src, source: info, began: opts.Now(),
		rewrite: Rewrite{From: info.Names, To: opts.Names, BlobURL: opts.BlobURL},
		plan: HubPlan{
			From: info.Names, To: opts.Names, FromPartitions: info.PartitionCount, Partitions: opts.Partitions, Manager: opts.Manager,
		},
	}
	m.created = opts.Journal.createdBefore(schema.TicksOf(m.began))
	if m.artifacts, err = NewArtifacts(opts.Names, opts.Manager, opts.Partitions, m.created); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context, hub.Reader) error{m.settle, m.ends, m.freeze, m.receive, m.count, m.match} {
		if err := step(ctx, dst); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *migration) refuse(code RefusalCode, format string, args ...any) {
	m.plan.Refusals = append(m.plan.Refusals, Refusal{code, fmt.Sprintf(format, args...)})
}

func (m *migration) live() bool { return m.source.Started == 0 }

// ends looks at the two hubs as wholes.
func (m *migration) ends(ctx context.Context, dst hub.Reader) error {
	m.plan.Unreadable = m.source.Unreadable
	for _, u := range m.source.Unreadable {
		if m.opts.AcceptLost {
			break
		}
		m.refuse(RefusedUnreadable, "%s: %s", u.Artifact, u.Reason)
	}
	if m.live() && m.opts.Running == nil {
		return errors.New("nothing tells whether an app runs the source")
	}
	if err := m.lookAt(ctx, m.from, RefusedRunning, m.source.Names); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	there, err := dst.Info(ctx)
	m.there = err == nil
	switch {
	case errors.Is(err, hub.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("target: %w", err)
	case m.live() && m.inSameAccount(there.Account) && strings.EqualFold(there.Names.TaskHub, m.source.Names.TaskHub):
		m.refuse(RefusedOther, "source and target are the same hub")
	case !strings.EqualFold(there.Names.TaskHub, m.opts.Names.TaskHub):
		return fmt.Errorf("the target is hub %s and not %s", there.Names.TaskHub, m.opts.Names.TaskHub)
	case !m.opts.Resume:
		m.refuse(RefusedExists, "hub %s: %v", m.opts.Names.TaskHub, ErrExists)
	case there.PartitionCount > m.opts.Partitions: // rows are made one by one: there may be fewer
		m.refuse(RefusedOther, "it has %d partitions and should have %d", there.PartitionCount, m.opts.Partitions)
	}
	if err := m.lookAt(ctx, dst, RefusedTarget, m.opts.Names); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	return nil
}

// inSameAccount reports whether source and target are in the same account. Names of
// emulated accounts are alike: addresses tell better, where there are any.
func (m *migration) inSameAccount(target string) bool {
	if live, ok := m.from.(interface {
		BlobURL(container, name string) string
	}); ok {
		container := m.source.Names.LargeMessages()
		return live.BlobURL(container, "") == m.opts.BlobURL(container, "")
	}
	return target == m.source.Account
}

// lookAt refuses if an app runs a hub.
func (m *migration) lookAt(ctx context.Context, r hub.Reader, code RefusalCode, names hub.Names) error {
	if m.opts.Running == nil {
		return nil
	}
	signs, err := m.opts.Running(ctx, r)
	if err == nil && len(signs) > 0 {
		m.refuse(code, "an app runs hub %s: %s", names.TaskHub, strings.Join(signs, ", "))
	}
	return err
}

// freeze keeps what can be seen of the queues of a live hub. What a worker had
// taken before it was stopped comes into sight after minutes: if that happened
// between the copy and the messages, they would not fit together.
func (m *migration) freeze(ctx context.Context, _ hub.Reader) error {
	if !m.live() || m.opts.WithoutQueues {
		return nil
	}
	f := &frozen{Reader: m.from, messages: make(map[string][]schema.QueueMessage), received: make(map[string]bool)}
	var err error
	if f.queues, err = m.from.Queues(ctx); err != nil {
		return fmt.Errorf("list queues: %w", err)
	}
	for _, q := range f.queues {
		for message, err := range m.from.Messages(ctx, q.Name) {
			if err != nil {
				return fmt.Errorf("read queue %s: %w", q.Name, err)
			}
			f.messages[q.Name] = append(f.messages[q.Name], message)
		}
	}
	m.from = f
	return nil
}

// frozen is a hub with the messages that it had once.
type frozen struct {
	hub.Reader
	queues   []hub.Queue
	messages map[string][]schema.QueueMessage
	received map[string]bool // queues of which messages has all that were visible
}

func (f *frozen) Queues(context.Context) ([]hub.Queue, error) { return f.queues, nil }

func (f *frozen) Messages(_ context.Context, queue string) iter.Seq2[schema.QueueMessage, error] {
	return func(yield func(schema.QueueMessage, error) bool) {
		for _, message := range f.messages[queue] {
			if !yield(message, nil) {
				return
			}
		}
	}
}
