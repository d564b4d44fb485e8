package migrate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

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
	r := restoration{from: from, to: to, opts: &opts, info: &info, report: &RestoreReport{Rows: map[hub.Table]int64{}}}
	for _, step := range []func(context.Context) error{r.blobs, r.tables, r.messages, r.check} {
		if err := step(ctx); err != nil {
			return r.report, err
		}
	}
	return r.report, nil
}

type restoration struct {
	from   hub.Reader
	to     Target
	opts   *RestoreOptions
	info   *hub.Info
	report *RestoreReport

	mu    sync.Mutex
	phase Progress
}

func (r *restoration) begin(p Phase, total int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phase = Progress{Phase: p, Total: total}
	r.tell()
}

func (r *restoration) add(items, bytes int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.phase.Items += items
	r.phase.Bytes += bytes
	r.tell()
}

func (r *restoration) tell() {
	if r.opts.OnProgress != nil {
		r.opts.OnProgress(r.phase)
	}
}

func (r *restoration) blobs(ctx context.Context) error {
	containers, err := r.from.Containers(ctx)
	if err != nil {
		return err
	}
	r.begin(PhaseBlobs, -1)
	var blobs, bytes atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(r.opts.Concurrency)
	for _, c := range containers {
		if err := r.to.CreateContainer(ctx, c.Name); err != nil {
			return first(group.Wait(), err)
		}
		for b, err := range r.from.Blobs(ctx, c.Name, "") {
			if err != nil {
				return first(group.Wait(), err)
			}
			group.Go(func() error {
				data, err := r.from.ReadBlob(ctx, b.Container, b.Name, r.opts.MaxBlobBytes)
				if err != nil {
					return err
				}
				if err := r.to.PutBlob(ctx, b, data); err != nil {
					return err
				}
				blobs.Add(1)
				bytes.Add(int64(len(data)))
				r.add(1, int64(len(data)))
				return nil
			})
		}
	}
	err = group.Wait()
	r.report.Blobs, r.report.Bytes = blobs.Load(), bytes.Load()
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
			r.begin(step.phase, t.Rows)
			if err := r.to.CreateTable(ctx, t.Table); err != nil {
				return err
			}
			n, err := r.rows(ctx, t.Table)
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

// rows copies a table in transactions of up to a hundred rows of one partition.
// The last of a partition, which has the sentinel of a history, waits for the
// others.
func (r *restoration) rows(ctx context.Context, table hub.Table) (int64, error) {
	var done atomic.Int64
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
			done.Add(int64(len(rows)))
			r.add(int64(len(rows)), bytes)
			return nil
		})
	}
	var text []byte
	for row, err := range r.from.Rows(ctx, table, hub.Keys{}) {
		if err != nil {
			return done.Load(), first(group.Wait(), err)
		}
		if len(batch) > 0 && batch[0].PartitionKey != row.PartitionKey {
			flush(true)
		}
		text = row.AppendJSON(text[:0])
		if len(batch) == hub.MaxBatchRows || size+len(text) > hub.MaxBatchBytes {
			flush(false)
		}
		batch = append(batch, row)
		size += len(text)
	}
	flush(true)
	err := group.Wait()
	return done.Load(), err
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
