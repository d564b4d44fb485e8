package explain

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/verify"
)

// Options tunes [Instance]. The zero value is for captures.
type Options struct {
	// Now is the time for a live hub; nil leaves ages unknown, and what is due
	// later cannot be told from what is overdue. A capture has a time of its own.
	Now func() time.Time
	// MaxPayloadBytes is the longest payload that is read, such as the state of an
	// entity; 0 means 1 MiB. What is longer is a problem of the report.
	MaxPayloadBytes int64
	// SkipFindings leaves out Report.Findings.
	SkipFindings bool
}

// Limits of a report.
const (
	// MaxAwaits is the number of things listed of one kind.
	MaxAwaits = 200
	// MaxRelatives is the number of relatives that are looked at.
	MaxRelatives = 100
	// MaxRelativeRows is the number of history rows that are read of relatives,
	// all together; beyond it their rows of the Instances table have to do.
	MaxRelativeRows = 50_000
	// MaxMessages is the number of messages that are kept to be looked through.
	MaxMessages = 10_000

	// maxParents bounds the chain to the root, maxDepth the tree of children.
	maxParents = 50
	maxDepth   = 3

	// maxAttempts is how often an instance is read that moves on meanwhile.
	maxAttempts = 3

	defaultPayloadBytes = 1 << 20
)

func (o *Options) validate() error {
	if o.MaxPayloadBytes < 0 {
		return errors.New("explain: MaxPayloadBytes is negative")
	}
	return nil
}

// explainer is one call of Instance.
type explainer struct {
	r    hub.Reader
	q    *manage.Query
	opts Options
	info hub.Info
	now  schema.Ticks

	self   *look
	queues *queues
	looks  map[string]*look // of relatives
	budget int64            // history rows that may still be read of relatives
	counts counts           // of what the instance waits for
	made   *made            // of an instance that has not begun, if it is known
	report *Report
}

func (e *explainer) captured() bool { return e.info.Finished != 0 }

// current reports whether the live history is that of the current execution.
func (e *explainer) current() bool {
	live := e.self.live()
	return live.Events > 0 && live.ExecutionID == e.self.judged.ExecutionID
}

// Instance explains one instance, an orchestration or entity. An ID that the hub
// does not have is an answer, too ([Report.Found]).
//
// On a live hub it costs about twenty requests, one for each thousand rows of
// the instance's history, and some for each relative; to look for similar IDs up
// to fifty more.
//
// It returns [hub.ErrNotFound] if nothing of the hub exists.
func Instance(ctx context.Context, r hub.Reader, id string, opts Options) (*Report, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	if opts.MaxPayloadBytes == 0 {
		opts.MaxPayloadBytes = defaultPayloadBytes
	}
	info, err := r.Info(ctx)
	if err != nil {
		return nil, err
	}
	q, err := manage.New(ctx, r, manage.Options{MaxPayloadBytes: opts.MaxPayloadBytes})
	if err != nil {
		return nil, err
	}
	e := &explainer{r: r, q: q, opts: opts, info: info, now: info.Finished}
	if e.now == 0 && opts.Now != nil {
		e.now = schema.TicksOf(opts.Now())
	}
	moved, err := e.read(ctx, id)
	if err != nil {
		return nil, err
	}
	e.report = &Report{
		Hub: info, ObservedAt: e.now, InstanceID: id, Entity: schema.IsEntity(id), Found: e.self.found(),
		Row: e.self.row, History: e.self.history, Judged: e.self.judged,
	}
	if e.current() {
		e.report.LastProgress = e.self.live().LastUpdatedTime
	}
	_, e.report.Since = e.self.status()
	if err := e.failure(ctx); err != nil {
		return nil, err
	}
	if e.self.state != nil {
		e.problems(e.self.state.Problems...)
	}
	if moved {
		e.problems(errors.New("the instance moved on while it was read: what is said of its messages may be out of date"))
	}
	for _, do := range []func(context.Context) error{e.partition, e.messages, e.entity, e.awaits, e.family, e.findings, e.similar} {
		if err := do(ctx); err != nil {
			return nil, err
		}
	}
	e.judge()
	return e.report, nil
}

// failure tells why an instance has failed or was terminated.
func (e *explainer) failure(ctx context.Context) error {
	l := e.self
	if status := l.judged.Status; status != schema.StatusFailed && status != schema.StatusTerminated {
		return nil
	}
	var text schema.Text
	var err error
	if l.live().ExecutionID == l.judged.ExecutionID && l.live().Completed != nil {
		text, err = l.live().Output(e.loader(ctx))
	} else if l.row != nil && l.row.OutputRef(e.info.Names.LargeMessages()).Blob == "" {
		text = l.row.Output
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		e.problems(fmt.Errorf("output of %q: %w", l.id, err))
	}
	e.report.Failure = clip(text.Value)
	return nil
}

// loader gets texts that are kept in blobs.
func (e *explainer) loader(ctx context.Context) func(string, *schema.Text) error {
	return func(_ string, t *schema.Text) error {
		text, err := hub.LoadText(ctx, e.r, e.info.Names.LargeMessages(), schema.StoredBlobName(t.Blob), e.opts.MaxPayloadBytes)
		if err == nil {
			t.Load(text)
		}
		return err
	}
}

func (e *explainer) problems(errs ...error) { e.report.Problems = append(e.report.Problems, errs...) }

// read reads the instance and the queues, in this order, and looks at the
// instance again: on a live hub a message can be on its way from one to the
// other. It returns whether the instance never kept still.
func (e *explainer) read(ctx context.Context, id string) (moved bool, err error) {
	for range maxAttempts {
		e.looks, e.budget = make(map[string]*look), MaxRelativeRows
		if e.self, err = e.look(ctx, id, false); err != nil {
			return false, err
		}
		// Children are read before the queues, too, for the same reason.
		if err := e.openChildren(ctx); err != nil {
			return false, err
		}
		if err := e.findParent(ctx); err != nil {
			return false, err
		}
		if e.queues, err = e.readQueues(ctx); err != nil {
			return false, err
		}
		if e.captured() {
			return false, nil
		}
		same, err := e.unchanged(ctx)
		if err != nil || same {
			return false, err
		}
	}
	return true, nil
}

// openChildren reads the children and entities that are waited for.
func (e *explainer) openChildren(ctx context.Context) error {
	for _, o := range e.self.live().Open {
		if len(e.looks) == MaxRelatives {
			return nil
		}
		if o.InstanceID == "" || o.InstanceID == e.self.id {
			continue
		}
		if _, err := e.relative(ctx, o.InstanceID); err != nil {
			return err
		}
	}
	return nil
}

// unchanged reports whether the instance is still as it was read.
func (e *explainer) unchanged(ctx context.Context) (bool, error) {
	keys := hub.Partition(schema.EscapeKey(e.self.id))
	version := ""
	for row, err := range e.r.Rows(ctx, hub.Instances, keys) {
		if err != nil {
			return false, fmt.Errorf("read instance %q: %w", e.self.id, err)
		}
		version = row.ETag
	}
	keys.RowKey = schema.SentinelRowKey
	for row, err := range e.r.Rows(ctx, hub.History, keys) {
		if err != nil {
			return false, fmt.Errorf("read history of %q: %w", e.self.id, err)
		}
		version += " " + row.ETag
	}
	return version == e.self.version, nil
}

// messages lists what can be seen for the instance.
func (e *explainer) messages(context.Context) error {
	all := e.queues.messages(e.self.id)
	n := min(len(all), MaxAwaits)
	e.report.Messages, e.report.MessagesMore = slices.Clone(all[:n]), int64(len(all)-n)
	for i := range e.report.Messages {
		if m := &e.report.Messages[i]; m.Problem != "" {
			e.problems(errors.New(m.Problem))
		}
	}
	if e.queues.dropped > 0 {
		e.problems(fmt.Errorf("the queues hold more than %d messages: %d were not looked at", MaxMessages, e.queues.dropped))
	}
	return nil
}

// findings asks package verify about the instance.
func (e *explainer) findings(ctx context.Context) error {
	if e.opts.SkipFindings || !e.report.Found && len(e.report.Messages) == 0 {
		return nil
	}
	findings, _ := verify.Hub(ctx, e.r, verify.Options{Instances: []string{e.self.id}, Now: e.opts.Now})
	for f, err := range findings {
		if err != nil {
			return fmt.Errorf("verify %q: %w", e.self.id, err)
		}
		if f.InstanceID == e.self.id {
			e.report.Findings = append(e.report.Findings, f)
		}
	}
	slices.SortStableFunc(e.report.Findings, func(a, b verify.Finding) int { return b.Severity.Compare(a.Severity) })
	return nil
}
