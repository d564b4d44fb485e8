package migrate

import (
	"cmp"
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
	// AcceptLost goes on although work is lost that the plan names, or a part of
	// the source could not be read.
	AcceptLost bool
	// Resume goes on in a target that an interrupted run has left. What the
	// target has beyond the source is found by the check and ends the run.
	Resume bool

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
	// of these rows as JSON.
	Rows     map[hub.Table]int64
	RowBytes int64
	// Rewritten counts rows of Instances in which a column changes.
	Rewritten int64
	// Blobs and BlobBytes count the large messages that are copied.
	Blobs, BlobBytes int64
	// Pending counts what [Pending] gives out, by kind and then origin.
	Pending []PendingCount
	// Hidden counts messages that nobody can see and the tables do not tell of:
	// external events, signals and copies of others. They are not moved.
	Hidden int64
	// Lost names the first MaxLost items that cannot be recovered, LostItems
	// counts all of them.
	Lost      []Item
	LostItems int64
	// Unreadable are the parts of the source that could not be read.
	Unreadable []hub.Unreadable
	// Refusals are the reasons for which [Run] writes nothing; nil if there is none.
	Refusals []Refusal
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
	RefusedRunning    RefusalCode = "source-running" // an app runs the source
	RefusedTarget     RefusalCode = "target-running" // an app runs the target
	RefusedExists     RefusalCode = "target-exists"  // without Options.Resume
	RefusedOther      RefusalCode = "target-differs" // it is not what an interrupted run leaves
	RefusedLost       RefusalCode = "lost-work"      // without Options.AcceptLost
	RefusedBlob       RefusalCode = "large-blob"     // larger than Options.MaxBlobBytes
	RefusedDelay      RefusalCode = "far-future"     // a message is due later than a queue can hide it
	RefusedUnreadable RefusalCode = "unreadable"     // part of the source, without Options.AcceptLost
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
// to be made.
func Plan(ctx context.Context, src, dst hub.Reader, opts Options) (*HubPlan, error) {
	m, err := newMigration(ctx, src, dst, opts)
	if err != nil {
		return nil, err
	}
	return &m.plan, nil
}

// migration is one run of [Plan] or [Run].
type migration struct {
	opts   Options
	from   hub.Reader // whose messages do not change
	source hub.Info
	began  time.Time

	plan      HubPlan
	artifacts *Artifacts
	rewrite   Rewrite
	large     bool            // the source has a container of large messages
	made      map[string]bool // names of the blobs of messages that are made
	redriven  bool            // rows of History change
	messages  int64
}

func newMigration(ctx context.Context, src, dst hub.Reader, opts Options) (*migration, error) {
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
		opts: opts, from: src, source: info, began: opts.Now(), made: make(map[string]bool),
		rewrite: Rewrite{From: info.Names, To: opts.Names, BlobURL: opts.BlobURL},
		plan: HubPlan{
			From: info.Names, To: opts.Names, FromPartitions: info.PartitionCount, Partitions: opts.Partitions, Manager: opts.Manager,
			Rows: make(map[hub.Table]int64),
		},
	}
	if m.artifacts, err = NewArtifacts(opts.Names, opts.Manager, opts.Partitions, schema.TicksOf(m.began)); err != nil {
		return nil, err
	}
	for _, step := range []func(context.Context, hub.Reader) error{m.ends, m.freeze, m.countBlobs, m.countItems} {
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
	running := func(r hub.Reader, code RefusalCode, names hub.Names) error {
		if m.opts.Running == nil {
			return nil
		}
		signs, err := m.opts.Running(ctx, r)
		if err == nil && len(signs) > 0 {
			m.refuse(code, "an app runs hub %s: %s", names.TaskHub, strings.Join(signs, ", "))
		}
		return err
	}
	if err := running(m.from, RefusedRunning, m.source.Names); err != nil {
		return fmt.Errorf("source: %w", err)
	}
	there, err := dst.Info(ctx)
	switch {
	case errors.Is(err, hub.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("target: %w", err)
	case m.live() && there.Account == m.source.Account && strings.EqualFold(there.Names.TaskHub, m.source.Names.TaskHub):
		m.refuse(RefusedOther, "source and target are the same hub")
	case !strings.EqualFold(there.Names.TaskHub, m.opts.Names.TaskHub):
		return fmt.Errorf("the target is hub %s and not %s", there.Names.TaskHub, m.opts.Names.TaskHub)
	case !m.opts.Resume:
		m.refuse(RefusedExists, "hub %s: %v", m.opts.Names.TaskHub, ErrExists)
	case there.PartitionCount > m.opts.Partitions: // rows are made one by one: there may be fewer
		m.refuse(RefusedOther, "it has %d partitions and should have %d", there.PartitionCount, m.opts.Partitions)
	}
	if err := running(dst, RefusedTarget, m.opts.Names); err != nil {
		return fmt.Errorf("target: %w", err)
	}
	return nil
}

// freeze keeps what can be seen of the queues of a live hub. What a worker had
// taken before it was stopped comes into sight after minutes: if that happened
// between the copy and the messages, they would not fit together.
func (m *migration) freeze(ctx context.Context, _ hub.Reader) error {
	if !m.live() || m.opts.WithoutQueues {
		return nil
	}
	f := &frozen{Reader: m.from, messages: make(map[string][]schema.QueueMessage)}
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

func (m *migration) countBlobs(ctx context.Context, _ hub.Reader) error {
	containers, err := m.from.Containers(ctx)
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	for _, c := range containers {
		if !Copied(m.source.Names, c.Name) {
			continue
		}
		m.large = true
		for b, err := range m.from.Blobs(ctx, c.Name, "") {
			if err != nil {
				return err
			}
			m.plan.Blobs++
			m.plan.BlobBytes += b.SizeBytes
			if b.SizeBytes > m.opts.MaxBlobBytes && len(m.plan.Refusals) < MaxLost {
				m.refuse(RefusedBlob, "%s has %d bytes, more than the limit of %d", b.Name, b.SizeBytes, m.opts.MaxBlobBytes)
			}
		}
	}
	return nil
}

// pending lists the messages of the target. now is the same throughout a run.
func (m *migration) pending(ctx context.Context, from hub.Reader) iter.Seq2[Item, error] {
	return Pending(ctx, from, PendingOptions{
		Names: m.opts.Names, Partitions: m.opts.Partitions, WithoutQueues: m.opts.WithoutQueues, Version1: m.opts.Version1,
		MaxBlobBytes: m.opts.MaxPayloadBytes, Now: func() time.Time { return m.began }, NewID: m.opts.NewID,
	})
}

func (m *migration) countItems(ctx context.Context, _ hub.Reader) error {
	counts := make(map[PendingCount]int64)
	latest := schema.TicksOf(m.began.Add(hub.MaxMessageDelay))
	for i, err := range m.pending(ctx, &counting{m.from, m}) {
		if err != nil {
			return err
		}
		if m.opts.OnItem != nil {
			if err := m.opts.OnItem(&i); err != nil {
				return err
			}
		}
		counts[PendingCount{Kind: i.Kind, Origin: i.Origin}]++
		m.redriven = m.redriven || i.Edit != nil
		if i.Queue != "" {
			m.messages++
		}
		if i.BlobText != "" {
			m.made[schema.StoredBlobName(i.Blob)] = true
		}
		if i.DueAt > latest && i.Queue != "" && len(m.plan.Refusals) < MaxLost {
			m.refuse(RefusedDelay, "%s of %s is due %s", i.Kind, i.InstanceID, i.DueAt)
		}
		switch {
		case i.Kind == KindHidden:
			m.plan.Hidden += i.Count
		case i.Origin == Unrecoverable:
			if m.plan.LostItems++; len(m.plan.Lost) < MaxLost {
				m.plan.Lost = append(m.plan.Lost, i)
			}
		}
	}
	for c, n := range counts {
		c.Count = n
		m.plan.Pending = append(m.plan.Pending, c)
	}
	slices.SortFunc(m.plan.Pending, func(a, b PendingCount) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Origin, b.Origin))
	})
	if m.plan.LostItems > 0 && !m.opts.AcceptLost {
		first := &m.plan.Lost[0]
		m.refuse(RefusedLost, "%d items cannot be recovered, the first is %s of %q: %s", m.plan.LostItems, first.Kind, first.InstanceID, first.Why)
	}
	return nil
}

// counting counts the rows of a source when a table is read as a whole, which
// [Pending] does once.
type counting struct {
	hub.Reader
	m *migration
}

func (c *counting) Rows(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	rows := c.Reader.Rows(ctx, table, keys)
	if keys != (hub.Keys{}) {
		return rows
	}
	return func(yield func(schema.Row, error) bool) {
		plan, progress := &c.m.plan, c.m.opts.OnProgress
		var text []byte
		for row, err := range rows {
			if err == nil {
				text = row.AppendJSON(text[:0])
				plan.Rows[table]++
				plan.RowBytes += int64(len(text))
				if _, changed := c.m.rewrite.Row(table, row); changed != nil {
					plan.Rewritten++
				}
				if n := plan.Rows[hub.Instances] + plan.Rows[hub.History]; n%1024 == 0 && progress != nil {
					progress(Progress{Phase: PhasePlan, Items: n, Bytes: plan.RowBytes, Total: -1})
				}
			}
			if !yield(row, err) {
				return
			}
		}
	}
}
