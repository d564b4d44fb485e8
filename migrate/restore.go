package migrate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Target is a hub that is made and filled.
type Target interface {
	hub.Reader
	hub.Writer
}

// RestoreOptions tunes a restoration. The zero value restores into an account
// where the hub does not exist.
type RestoreOptions struct {
	// Resume goes on in a hub that exists, such as one that an interrupted run
	// has left: rows and blobs of the same names are replaced, queues are
	// emptied and filled anew. What the source does not have stays.
	Resume bool
	// Concurrency is the number of requests at once; 0 means 16.
	Concurrency int
	// MaxBlobBytes is the size of the largest blob that is copied; 0 means
	// 1 GiB. A larger one ends the restoration.
	MaxBlobBytes int64
	// Now tells the time, from which delays of messages count; nil means that
	// messages with a time to become visible are refused.
	Now func() time.Time
	// OnProgress is called from one goroutine at a time; nil is fine.
	OnProgress func(Progress)
}

// Phase is a step of a copy.
type Phase string

// The phases, in order.
const (
	PhaseBlobs    Phase = "blobs"
	PhaseHistory  Phase = "history"
	PhaseRows     Phase = "instances"
	PhaseLeases   Phase = "partitions"
	PhaseMessages Phase = "messages"
	PhaseCheck    Phase = "check"
)

// Progress says how far a copy is.
type Progress struct {
	Phase Phase
	// Items and Bytes are done in this phase; of rows, bytes are those of JSON.
	Items, Bytes int64
	// Total is the number of items of the phase, or -1 if it is not known.
	Total int64
}

// RestoreReport counts what was copied.
type RestoreReport struct {
	Rows     map[hub.Table]int64
	Blobs    int64
	Bytes    int64 // of blobs
	Messages int64
	// NotCaptured counts messages that the source knows to exist but could not
	// see: they are not restored.
	NotCaptured int64
	// Differences are what the comparison at the end found; nil means that
	// source and target are equal.
	Differences []Difference
}

// ErrExists is returned for a target hub that exists. It is a case of
// hub.ErrInUse.
var ErrExists error = existsError{}

type existsError struct{}

func (existsError) Error() string        { return "the hub exists already" }
func (existsError) Is(target error) bool { return target == hub.ErrInUse }

// Restore copies the hub that from reads, as it is, into the account of to,
// under the same name. It returns ErrExists, before anything is written, if the
// target exists and opts.Resume does not say to go on.
//
// If it fails half-way, what was written stays; a run with Resume finishes the
// job. Differences at the end are in the report and no error.
func Restore(ctx context.Context, from hub.Reader, to Target, opts RestoreOptions) (*RestoreReport, error) {
	if opts.Concurrency <= 0 {
		opts.Concurrency = 16
	}
	if opts.MaxBlobBytes <= 0 {
		opts.MaxBlobBytes = 1 << 30
	}
	info, err := from.Info(ctx)
	if err != nil {
		return nil, err
	}
	switch _, err := to.Info(ctx); {
	case err == nil && !opts.Resume:
		return nil, ErrExists
	case err != nil && !errors.Is(err, hub.ErrNotFound):
		return nil, err
	}
	r := restoration{from: from, to: to, opts: &opts, info: &info, report: &RestoreReport{Rows: map[hub.Table]int64{}}, blobTotal: -1}
	for _, step := range []func(context.Context) error{r.blobs, r.tables, r.messages, r.check} {
		if err := step(ctx); err != nil {
			return r.report, err
		}
	}
	return r.report, nil
}

// restoration is the copying that [Restore] and [Run] have in common.
type restoration struct {
	from   hub.Reader
	to     Target
	opts   *RestoreOptions
	info   *hub.Info
	report *RestoreReport

	// Of a migration; [Restore] has none of them.
	journal   *Journal
	now       func() schema.Ticks
	blobTotal int64 // -1 if nobody knows

	mu    sync.Mutex
	phase Progress
	log   []PhaseReport // the last is of the phase at hand
}

func (r *restoration) begin(p Phase, total int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finish()
	r.phase = Progress{Phase: p, Total: total}
	r.log = append(r.log, PhaseReport{Phase: p})
	if r.now != nil {
		r.log[len(r.log)-1].Started = r.now()
	}
	r.tell()
}

// finish notes when the phase at hand has ended.
func (r *restoration) finish() {
	if n := len(r.log); n > 0 && r.now != nil {
		r.log[n-1].Finished = r.now()
	}
}

func (r *restoration) add(items, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phase.Items += items
	r.phase.Bytes += bytes
	r.tell()
}

func (r *restoration) tell() {
	last := &r.log[len(r.log)-1]
	last.Items, last.Bytes = r.phase.Items, r.phase.Bytes
	if r.opts.OnProgress != nil {
		r.opts.OnProgress(r.phase)
	}
}

// step does a phase from where earlier runs have left it. It returns what is done
// of it, by them too. every is how many items lie between two marks.
func (r *restoration) step(p Phase, total, every int64, do func(from place, m *marks) error) (items, bytes int64, err error) {
	before := r.journal.state(p)
	r.begin(p, total)
	r.add(before.items, before.bytes)
	r.log[len(r.log)-1].ItemsBefore = before.items
	if before.ended {
		return before.items, before.bytes, nil
	}
	var m *marks
	if r.journal != nil {
		m = &marks{journal: r.journal, now: r.now, phase: p, every: cmp.Or(r.journal.Every, every), reached: before}
	}
	if err = r.note(entryPhase); err != nil {
		return before.items, before.bytes, err
	}
	if err = do(before.place, m); err != nil {
		return r.phase.Items, r.phase.Bytes, first(err, m.flush())
	}
	return r.phase.Items, r.phase.Bytes, r.note(entryEnded)
}

// note writes into the journal that the phase at hand begins or has ended.
func (r *restoration) note(kind string) error {
	if r.journal == nil {
		return nil
	}
	return r.journal.append(&entry{Type: kind, At: r.now().String(), Phase: r.phase.Phase, Items: r.phase.Items, Bytes: r.phase.Bytes})
}

// blobsInFlight bounds the blobs that are in memory at once, but for a single one
// that is larger.
const blobsInFlight = 64 << 20

func (r *restoration) blobs(ctx context.Context) (err error) {
	containers, err := r.from.Containers(ctx)
	if err != nil {
		return err
	}
	r.report.Blobs, r.report.Bytes, err = r.step(PhaseBlobs, r.blobTotal, markedBlobs, func(from place, m *marks) error {
		memory := semaphore.NewWeighted(blobsInFlight)
		group, ctx := errgroup.WithContext(ctx)
		group.SetLimit(r.opts.Concurrency)
		for _, c := range containers {
			if err := r.to.CreateContainer(ctx, c.Name); err != nil {
				return first(group.Wait(), err)
			}
			for b, err := range r.from.Blobs(ctx, c.Name, "") {
				if err == nil && from.coversBlob(&b) {
					continue
				}
				size := max(0, min(b.SizeBytes, blobsInFlight))
				if err == nil && memory.Acquire(ctx, size) != nil {
					err = context.Cause(ctx)
				}
				if err != nil {
					return first(group.Wait(), err)
				}
				s := m.begin(place{Container: c.Name, Blob: b.Name}, 1, b.SizeBytes)
				group.Go(func() error {
					defer memory.Release(size)
					data, err := r.from.ReadBlob(ctx, b.Container, b.Name, r.opts.MaxBlobBytes)
					if err != nil {
						return err
					}
					if err := r.to.PutBlob(ctx, b, data); err != nil {
						return err
					}
					r.add(1, int64(len(data)))
					return m.end(s)
				})
			}
		}
		return group.Wait()
	})
	return err
}

func (r *restoration) tables(ctx context.Context) error {
	for _, step := range []struct {
		table hub.Table
		phase Phase
	}{{hub.History, PhaseHistory}, {hub.Instances, PhaseRows}, {hub.Partitions, PhaseLeases}} {
		for _, t := range r.info.Tables {
			if t.Table != step.table {
				continue
			}
			n, _, err := r.step(step.phase, t.Rows, markedRows, func(from place, m *marks) error {
				if err := r.to.CreateTable(ctx, t.Table); err != nil {
					return err
				}
				return r.rows(ctx, t.Table, from, m)
			})
			r.report.Rows[t.Table] = n
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// first returns the first error: where a request fails, the stream that feeds
// the requests ends, too, because of it.
func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// rows copies a table, but for what is there up to a place, in transactions of up
// to a hundred rows of one partition. The last of a partition, which has the
// sentinel of a history, waits for the others.
func (r *restoration) rows(ctx context.Context, table hub.Table, from place, m *marks) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.opts.Concurrency)
	var batch []schema.Row
	size := 0
	before := new(sync.WaitGroup) // the transactions of the partition so far
	flush := func(last bool) {
		if len(batch) == 0 {
			return
		}
		rows, bytes, others := batch, int64(size), before
		batch, size = nil, 0
		if last {
			before = new(sync.WaitGroup)
		} else {
			others.Add(1)
		}
		end := &rows[len(rows)-1]
		s := m.begin(place{PartitionKey: strings.Clone(end.PartitionKey), RowKey: strings.Clone(end.RowKey)}, int64(len(rows)), bytes)
		group.Go(func() error {
			if last {
				others.Wait()
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
			} else {
				defer others.Done()
			}
			if err := r.to.PutRows(ctx, table, rows); err != nil {
				return err
			}
			r.add(int64(len(rows)), bytes)
			return m.end(s)
		})
	}
	var text []byte
	for row, err := range r.from.Rows(ctx, table, hub.Keys{From: from.PartitionKey}) {
		switch {
		case err != nil:
			return first(group.Wait(), err)
		case from.covers(&row):
			continue
		}
		if len(batch) > 0 && batch[0].PartitionKey != row.PartitionKey {
			flush(true)
		}
		row.Timestamp, row.ETag = 0, "" // the service's
		text = row.AppendJSON(text[:0])
		if len(batch) == hub.MaxBatchRows || size+len(text) > hub.MaxBatchBytes {
			flush(false)
		}
		batch = append(batch, row)
		size += len(text)
	}
	flush(true)
	return group.Wait()
}

// messages fills the queues, one after the other and in their order. A request
// whose answer is lost is repeated and may leave a message twice: the count at
// the end tells, and the queue is filled anew.
func (r *restoration) messages(ctx context.Context) error {
	queues, err := r.from.Queues(ctx)
	if err != nil {
		return err
	}
	r.begin(PhaseMessages, -1)
	for _, q := range queues {
		if err := r.to.CreateQueue(ctx, q.Name); err != nil {
			return err
		}
	}
	for _, q := range queues {
		const tries = 3
		for try := 1; ; try++ {
			sent, err := r.fill(ctx, q.Name, r.opts.Resume || try > 1)
			if err != nil {
				return err
			}
			found, err := r.count(ctx, q.Name)
			if err != nil {
				return err
			}
			if found == sent {
				r.report.Messages += sent
				r.report.NotCaptured += max(0, q.ApproximateCount-sent)
				break
			}
			if try == tries {
				return fmt.Errorf("queue %s holds %d messages after %d were sent into it, %d times: is something else using it?", q.Name, found, sent, tries)
			}
		}
	}
	return nil
}

func (r *restoration) fill(ctx context.Context, queue string, clear bool) (sent int64, err error) {
	if clear {
		if err := r.to.ClearQueue(ctx, queue); err != nil {
			return 0, err
		}
	}
	for m, err := range r.from.Messages(ctx, queue) {
		if err != nil {
			return sent, err
		}
		delay := time.Duration(0)
		if m.VisibleAt != 0 {
			if r.opts.Now == nil {
				return sent, fmt.Errorf("message %s of queue %s becomes visible at %s, and there is no clock to tell when that is", m.ID, queue, m.VisibleAt)
			}
			delay = max(0, m.VisibleAt.Time().Sub(r.opts.Now()))
		}
		if err := r.to.PutMessage(ctx, queue, m.Text, delay); err != nil {
			return sent, err
		}
		sent++
		r.add(1, int64(len(m.Text)))
	}
	return sent, nil
}

func (r *restoration) count(ctx context.Context, queue string) (int64, error) {
	queues, err := r.to.Queues(ctx)
	if err != nil {
		return 0, err
	}
	for _, q := range queues {
		if q.Name == queue {
			return q.ApproximateCount, nil
		}
	}
	return 0, fmt.Errorf("queue %s: %w", queue, hub.ErrNotFound)
}

func (r *restoration) check(ctx context.Context) error {
	r.begin(PhaseCheck, -1)
	var err error
	r.report.Differences, err = Compare(ctx, r.from, r.to, CompareOptions{OnProgress: func(n int64) { r.add(n, 0) }})
	return err
}
