package diff

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Dataset is a part of a hub.
type Dataset string

// The datasets.
const (
	Instances  Dataset = "instances"  // rows of the Instances table
	History    Dataset = "history"    // rows of the History table
	Partitions Dataset = "partitions" // rows of the Partitions table
	Containers Dataset = "containers"
	Blobs      Dataset = "blobs"
	Queues     Dataset = "queues"
	Messages   Dataset = "messages" // that can be seen without receiving them
)

// Datasets lists all of them in the order in which they are compared.
var Datasets = [...]Dataset{Instances, History, Partitions, Containers, Blobs, Queues, Messages}

// Kind says how something differs.
type Kind string

// The kinds. The first hub, a, is the one that is changed into the second, b.
const (
	Added   Kind = "added"   // only b has it
	Removed Kind = "removed" // only a has it
	Changed Kind = "changed" // both have it, and Difference.Columns differ
	// Unknown is for blobs that both have and that could not be read, as they are
	// too large or were deleted meanwhile; Difference.Reason says which.
	Unknown Kind = "unknown"
)

// Difference is one thing in which two hubs differ. It belongs to the caller.
type Difference struct {
	Dataset Dataset
	Kind    Kind
	// Artifact is the name of the table, container or queue: that of a, or that
	// of b if only b has what differs.
	Artifact string
	// PartitionKey and RowKey are those of a row, as stored.
	PartitionKey, RowKey string
	// Blob is the name of a blob.
	Blob string
	// Message describes a message.
	Message *Message
	// InstanceID is whom a row, blob or message belongs to; empty where that
	// cannot be told.
	InstanceID string
	// Columns are those that differ, by name; only of Changed.
	Columns []Column
	// Reason is set for Unknown only.
	Reason string
}

// Key names within its artifact what differs: PartitionKey/RowKey, the name of a
// blob, the ID of a message; empty for a queue or container.
func (d *Difference) Key() string {
	switch d.Dataset {
	case Instances, History, Partitions:
		return d.PartitionKey + "/" + d.RowKey
	case Blobs:
		return d.Blob
	case Messages:
		if d.Message != nil {
			return d.Message.ID
		}
	}
	return ""
}

// Column is a column with the values of both hubs. A value is [schema.Absent]
// where a row does not have the column.
//
// Columns of rows have the names in storage, and so have the members of the JSON
// documents in the containers of leases. Our own are: size_bytes, content,
// content_type, metadata, created_time, last_modified and lease_state of blobs
// and containers; approximate_count of queues; queue, message_id, inserted_time,
// expires_time, visible_time and dequeue_count of messages.
type Column struct {
	Name string
	A, B schema.Value
}

// Message describes a message that differs. Strings are cut to 1 KiB.
type Message struct {
	// ID is the service's.
	ID string
	// EventType, InstanceID, ExecutionID and Name are empty where the message
	// does not tell, or could not be decoded. Name is that of the function to
	// run or of the event.
	EventType, InstanceID, ExecutionID, Name string
	// Blob is the blob that holds the message; empty for one in the queue.
	Blob string
	// SizeBytes and SHA256 (hexadecimal) are those of the content: decoded JSON,
	// or the body as stored if that is none.
	SizeBytes int64
	SHA256    string
}

// Naming says whether names of hubs and accounts count.
type Naming uint8

// The ways to take names.
const (
	// MapIfDifferent is MapNames for hubs of different names or accounts, and
	// KeepNames otherwise.
	MapIfDifferent Naming = iota
	// MapNames compares queues, containers, partitions and the blobs of leases
	// by their names without that of the hub. A TaskHubName that is the hub
	// itself is the same as one that is the other hub itself, and so are URLs of
	// the same blob in Input and Output.
	MapNames
	// KeepNames compares names as they are.
	KeepNames
)

// Options tunes a comparison. The zero value compares everything that a worker
// would notice.
type Options struct {
	// Only are the datasets to compare; nil means all.
	Only []Dataset
	// Ignore are columns that do not count: COLUMN, or DATASET.COLUMN.
	Ignore []string
	// Owners compares who is at work, too: the columns of the Partitions table
	// (CurrentOwner, NextOwner, OwnedSince, LastRenewal, ExpiresAt, IsDraining),
	// and Owner, Token, Epoch, OwnerId and DesiredSwapId of the documents in
	// the containers of leases.
	Owners bool
	// ServiceValues compares what the service sets, too: Timestamp and ETag of
	// rows, times and leases of blobs, leases of containers, and of messages
	// all but their content.
	ServiceValues bool
	// Names says whether names count.
	Names Naming
	// MaxBlobBytes is the largest blob that is read, where the service does not
	// tell its MD5; 0 means 256 MiB. Larger ones are Unknown.
	MaxBlobBytes int64
	// MaxPayloadBytes is the longest message that is read from a blob; 0 means
	// [hub.DefaultPayloadBytes]. A longer one is compared by its wrapper.
	MaxPayloadBytes int64
	// MaxMessages bounds the messages of each hub that are compared at once;
	// 0 means 65,536. More are an error.
	MaxMessages int
	// OnProgress is called now and then, from the caller's goroutine; nil is
	// fine.
	OnProgress func(Progress)
}

// Progress says how far a comparison is.
type Progress struct {
	Dataset  Dataset
	Compared int64
	// Total is the number of rows of the larger table, or -1 if it is not known.
	Total int64
}

// ErrOption is returned for options that make no sense.
var ErrOption = errors.New("bad option")

func (o *Options) validate() error {
	for _, d := range o.Only {
		if !slices.Contains(Datasets[:], d) {
			return fmt.Errorf("%w: dataset %q", ErrOption, d)
		}
	}
	for _, name := range o.Ignore {
		dataset, column, found := strings.Cut(name, ".")
		switch {
		case name == "", found && column == "":
			return fmt.Errorf("%w: a column to ignore has no name", ErrOption)
		case found && !slices.Contains(Datasets[:], Dataset(dataset)):
			return fmt.Errorf("%w: column to ignore of dataset %q", ErrOption, dataset)
		}
	}
	if o.Names > KeepNames {
		return fmt.Errorf("%w: naming %d", ErrOption, o.Names)
	}
	if o.MaxBlobBytes <= 0 {
		o.MaxBlobBytes = 256 << 20
	}
	if o.MaxMessages <= 0 {
		o.MaxMessages = 1 << 16
	}
	return nil
}

// HubError is an error of one of the two hubs.
type HubError struct {
	// Second is true for b.
	Second bool
	Err    error
}

// Error says which hub it is about.
func (e *HubError) Error() string {
	if e.Second {
		return "second hub: " + e.Err.Error()
	}
	return "first hub: " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *HubError) Unwrap() error { return e.Err }

// Hubs streams the differences between a and b. Errors of the hubs are
// [*HubError]; one ends the stream.
func Hubs(ctx context.Context, a, b hub.Reader, opts Options) iter.Seq2[Difference, error] {
	return func(yield func(Difference, error) bool) {
		c, err := Open(ctx, a, b, opts)
		if err != nil {
			yield(Difference{}, err)
			return
		}
		c.Differences(ctx)(yield)
	}
}

// Comparison is a comparison of two hubs. It must not be used concurrently.
type Comparison struct {
	a, b    side
	opts    Options
	mapped  bool
	across  bool // messages are compared across queues
	ignored map[string]bool
	counts  map[Dataset]*Count
}

// side is one of the hubs.
type side struct {
	hub.Reader
	info   hub.Info
	second bool
}

func (s *side) failed(err error) error { return &HubError{s.second, err} }

// Count says what became of the items of a dataset.
type Count struct {
	Dataset Dataset
	// Compared counts items that either hub has; the others those of them that
	// differ.
	Compared, Added, Removed, Changed, Unknown int64
}

// Differing returns the number of differences.
func (c *Count) Differing() int64 { return c.Added + c.Removed + c.Changed + c.Unknown }

// owners are the columns and members that say who is at work.
//
// Source: durabletask 2.9.1, TablePartitionLease.cs:24-79, Lease.cs:36-55,
// AppLeaseManager.cs:532-580.
var owners = []string{
	"partitions.CurrentOwner", "partitions.NextOwner", "partitions.OwnedSince", "partitions.LastRenewal", "partitions.ExpiresAt",
	"partitions.IsDraining", "blobs.Owner", "blobs.Token", "blobs.Epoch", "blobs.OwnerId", "blobs.DesiredSwapId",
}

// Open looks at both hubs and decides how to compare them. It returns a
// [*HubError], which wraps [hub.ErrNotFound] for a hub that does not exist, or
// ErrOption.
func Open(ctx context.Context, a, b hub.Reader, opts Options) (*Comparison, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	c := &Comparison{a: side{Reader: a}, b: side{Reader: b, second: true}, opts: opts, ignored: map[string]bool{}}
	for _, s := range []*side{&c.a, &c.b} {
		var err error
		if s.info, err = s.Info(ctx); err != nil {
			return nil, s.failed(err)
		}
	}
	c.mapped = opts.Names == MapNames ||
		opts.Names == MapIfDifferent && (c.a.info.Names != c.b.info.Names || c.a.info.Account != c.b.info.Account)
	c.across = c.a.info.PartitionCount != c.b.info.PartitionCount
	for _, name := range opts.Ignore {
		c.ignored[name] = true
	}
	if !opts.Owners {
		for _, name := range owners {
			c.ignored[name] = true
		}
	}
	c.reset()
	return c, nil
}

func (c *Comparison) reset() {
	c.counts = make(map[Dataset]*Count)
	for _, d := range Datasets {
		if c.wants(d) {
			c.counts[d] = &Count{Dataset: d}
		}
	}
}

func (c *Comparison) wants(d Dataset) bool {
	return len(c.opts.Only) == 0 || slices.Contains(c.opts.Only, d)
}

// Infos describes the two hubs.
func (c *Comparison) Infos() (a, b hub.Info) { return c.a.info, c.b.info }

// Mapped reports whether names of hubs and accounts do not count.
func (c *Comparison) Mapped() bool { return c.mapped }

// AcrossQueues reports whether the hubs have different partition counts, so that
// messages are looked for in all queues: that one has moved counts as a change of
// its column queue only if it is not where its instance's messages belong.
func (c *Comparison) AcrossQueues() bool { return c.across }

// Counts says what was compared since the last stream of [Comparison.Differences]
// began, by dataset.
func (c *Comparison) Counts() []Count {
	var all []Count
	for _, d := range Datasets {
		if n := c.counts[d]; n != nil {
			all = append(all, *n)
		}
	}
	return all
}

// Differences streams the differences as [Hubs] does.
func (c *Comparison) Differences(ctx context.Context) iter.Seq2[Difference, error] {
	return func(yield func(Difference, error) bool) {
		c.reset()
		w := walk{Comparison: c, ctx: ctx, yield: yield}
		for _, step := range [...]struct {
			dataset Dataset
			do      func() error
		}{
			{Instances, func() error { return w.rows(hub.Instances) }},
			{History, func() error { return w.rows(hub.History) }},
			{Partitions, func() error { return w.rows(hub.Partitions) }},
			{Containers, w.containers},
			{Blobs, w.blobs},
			{Queues, w.queues},
			{Messages, w.messages},
		} {
			if !c.wants(step.dataset) {
				continue
			}
			w.begin(step.dataset)
			switch err := step.do(); {
			case errors.Is(err, errStopped):
				return
			case err != nil:
				yield(Difference{}, err)
				return
			}
			w.progress()
		}
	}
}

// walk is one stream of differences.
type walk struct {
	*Comparison
	ctx   context.Context
	yield func(Difference, error) bool

	count *Count
	total int64
}

// errStopped ends the walk because the loop over its differences has ended.
var errStopped = errors.New("diff: internal error: the loop has ended")

func (w *walk) begin(d Dataset) { w.count, w.total = w.counts[d], -1 }

func (w *walk) progress() {
	if w.opts.OnProgress != nil {
		w.opts.OnProgress(Progress{Dataset: w.count.Dataset, Compared: w.count.Compared, Total: w.total})
	}
}

// compared notes an item that was looked at.
func (w *walk) compared() {
	if w.count.Compared++; w.count.Compared%1024 == 0 {
		w.progress()
	}
}

// report yields a difference of the dataset at hand.
func (w *walk) report(d Difference) error {
	d.Dataset = w.count.Dataset
	switch d.Kind {
	case Added:
		w.count.Added++
	case Removed:
		w.count.Removed++
	case Changed:
		w.count.Changed++
	default:
		w.count.Unknown++
	}
	if !w.yield(d, nil) {
		return errStopped
	}
	return nil
}

// ignores reports whether a column of the dataset at hand does not count.
func (w *walk) ignores(column string) bool {
	return w.ignored[column] || w.ignored[string(w.count.Dataset)+"."+column]
}

// cursor is a place in a sorted stream.
type cursor[T any] struct {
	side *side
	next func() ([]T, error, bool)
	rest []T // the first is the element here; empty at the end
}

func (c *cursor[T]) advance() error {
	if len(c.rest) > 1 {
		c.rest = c.rest[1:]
		return nil
	}
	c.rest = nil
	for {
		batch, err, ok := c.next()
		switch {
		case err != nil:
			return c.side.failed(err)
		case !ok:
			return nil
		case len(batch) > 0:
			c.rest = batch
			return nil
		}
	}
}

// lockStep goes through two sorted streams side by side. It calls visit with the
// elements that are equal by compare, or with one of them and nil.
func lockStep[T any](w *walk, a, b *side, batches func(*side) iter.Seq2[[]T, error], compare func(a, b *T) int, visit func(a, b *T) error) error {
	nextA, stopA := iter.Pull2(batches(a))
	defer stopA()
	nextB, stopB := iter.Pull2(batches(b))
	defer stopB()
	x, y := cursor[T]{side: a, next: nextA}, cursor[T]{side: b, next: nextB}
	if err := errors.Join(x.advance(), y.advance()); err != nil {
		return err
	}
	for len(x.rest) > 0 || len(y.rest) > 0 {
		order := 0
		switch {
		case len(y.rest) == 0:
			order = -1
		case len(x.rest) == 0:
			order = 1
		default:
			order = compare(&x.rest[0], &y.rest[0])
		}
		var left, right *T
		if order <= 0 {
			left = &x.rest[0]
		}
		if order >= 0 {
			right = &y.rest[0]
		}
		w.compared()
		if err := visit(left, right); err != nil {
			return err
		}
		if left != nil {
			if err := x.advance(); err != nil {
				return err
			}
		}
		if right != nil {
			if err := y.advance(); err != nil {
				return err
			}
		}
	}
	return nil
}

// kindOf returns what it means that only one of two is there.
func kindOf(hasA bool) Kind {
	if hasA {
		return Removed
	}
	return Added
}
