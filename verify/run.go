package verify

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Options tunes a verification. The zero value checks everything but the
// content of blobs.
type Options struct {
	// Checks are the codes to check; nil means all.
	Checks []string
	// Instances are the IDs to check; nil means all. With IDs, only checks of
	// instances and of their messages and blobs are made, not those of the hub.
	Instances []string
	// MinSeverity leaves out milder findings; empty means Info. The summary
	// counts them all the same.
	MinSeverity Severity
	// ReadBlobs unpacks every payload of the hub to check it.
	ReadBlobs bool
	// MaxBlobBytes bounds a payload, unpacked; 0 means [hub.DefaultPayloadBytes].
	MaxBlobBytes int64
	// Now is the time for a live hub; nil means that nothing is judged by it. A
	// capture has a time of its own.
	Now func() time.Time
	// Recheck is called on a live hub before what looks wrong is read again, once
	// for up to 5,000 instances: the place to wait for work that is on its way. nil
	// reads at once.
	Recheck func(ctx context.Context) error
	// OnProgress is called from time to time; nil is fine.
	OnProgress func(Progress)

	suspects int // in place of maxSuspects, for tests
}

// Progress says how far a verification is.
type Progress struct {
	Instances, HistoryRows int64
	// TotalRows is the number of history rows if the hub knows it, else -1.
	TotalRows int64
	// Findings were made so far, mild ones included.
	Findings int64
}

// ErrUnknownCheck is returned for a code in Options.Checks that is not that of a
// check.
var ErrUnknownCheck = errors.New("no such check")

// errStop ends a verification whose findings nobody wants any more.
var errStop = errors.New("verify: stopped")

func (o *Options) validate() error {
	for _, code := range o.Checks {
		if _, ok := checkNamed(code); !ok {
			return fmt.Errorf("%w: %q", ErrUnknownCheck, code)
		}
	}
	if o.MinSeverity != "" && o.MinSeverity.rank() == 0 {
		return fmt.Errorf("unknown severity %q", o.MinSeverity)
	}
	return nil
}

// Hub checks a hub and streams what it finds. The summary is filled as the
// stream goes and complete when that has ended without an error.
//
// First come the findings that instances show by themselves, in the order of
// their keys (UTF-16, as in storage) and for one instance in the order of
// [Checks]. Then come those between instances, kind by kind and each in key order:
// children that parents wait for, children without a parent, hidden messages that
// are too few, children with two parents and circles, and IDs that differ in case.
// Those about messages, partitions, the hub and blobs are last.
//
// It returns [hub.ErrNotFound] for a hub that does not exist and
// [ErrUnknownCheck], as the error that ends the stream.
func Hub(ctx context.Context, r hub.Reader, opts Options) (iter.Seq2[Finding, error], *Summary) {
	summary := new(Summary)
	return func(yield func(Finding, error) bool) {
		*summary = Summary{}
		v := &run{r: r, opts: opts, summary: summary, yield: yield}
		if err := v.all(ctx); err != nil && !errors.Is(err, errStop) {
			yield(Finding{}, err)
		}
	}, summary
}

// run is one verification.
type run struct {
	r    hub.Reader
	info hub.Info
	opts Options
	// now is the time at which the hub is judged: that of the capture, or of
	// Options.Now; 0 if unknown.
	now schema.Ticks
	// live is true unless the hub is a capture.
	live bool
	// container is the name of the container of payloads.
	container string

	messages *messageIndex
	blobs    *blobIndex

	relations                       *relations
	instanceColumns, historyColumns columns
	cache                           []*cached
	expected                        map[string]*expectation // by queues
	recheck                         bool                    // instances are being read again
	childrenOnly                    bool                    // and only for the children that they wait for

	wanted  map[string]bool // nil: all
	ids     []string        // Options.Instances, in key order; nil: all
	summary *Summary
	counts  map[string]*Outcome
	each    []*Outcome // of instanceChecks; nil for those that are not wanted
	yield   func(Finding, error) bool
}

// all makes the checks.
func (v *run) all(ctx context.Context) error {
	if err := v.opts.validate(); err != nil {
		return err
	}
	info, err := v.r.Info(ctx)
	if err != nil {
		return err
	}
	v.info = info
	v.live = info.Started == 0
	v.container = info.Names.LargeMessages()
	switch {
	case !v.live:
		v.now = max(info.Started, info.Finished)
	case v.opts.Now != nil:
		v.now = schema.TicksOf(v.opts.Now())
	}
	v.begin()
	for _, step := range []func(context.Context) error{v.loadMessages, v.loadBlobs, v.walk, v.between, v.messageChecks} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if v.ids == nil {
		for _, step := range []func(context.Context) error{v.partitionChecks, v.hubChecks} {
			if err := step(ctx); err != nil {
				return err
			}
		}
	}
	return v.blobChecks(ctx)
}

// between makes the checks that compare instances with each other.
func (v *run) between(ctx context.Context) error {
	if v.ids != nil {
		return nil
	}
	if err := v.awaitedChildren(ctx); err != nil {
		return err
	}
	if err := v.orphanChildren(ctx); err != nil {
		return err
	}
	if err := v.countHidden(); err != nil {
		return err
	}
	return v.family(ctx)
}

// begin sets up what the outcomes are counted in.
func (v *run) begin() {
	if v.opts.Checks != nil {
		v.wanted = make(map[string]bool, len(v.opts.Checks))
		for _, code := range v.opts.Checks {
			v.wanted[code] = true
		}
	}
	v.relations = newRelations()
	v.instanceColumns.known, v.historyColumns.known = instanceColumns, historyColumns
	v.expected = make(map[string]*expectation)
	v.counts = make(map[string]*Outcome, len(catalogue))
	for i := range catalogue {
		if v.wants(catalogue[i].Code) {
			v.summary.Checks = append(v.summary.Checks, Outcome{Code: catalogue[i].Code})
		}
	}
	for i := range v.summary.Checks {
		v.counts[v.summary.Checks[i].Code] = &v.summary.Checks[i]
	}
	v.withdraw()
	for _, code := range instanceChecks {
		o := v.counts[code]
		if v.opts.Instances != nil && (code == codeDuplicateSuborch || code == codeCaseCollision) {
			o = nil // only a look at all instances tells that there is nothing
		}
		v.each = append(v.each, o)
	}
	if v.opts.Instances != nil {
		v.ids = slices.Clone(v.opts.Instances)
		slices.SortFunc(v.ids, func(a, b string) int { return schema.CompareKeys(schema.EscapeKey(a), schema.EscapeKey(b)) })
		v.ids = slices.Compact(v.ids)
	}
}

// wants reports whether a check is to be made.
func (v *run) wants(code string) bool { return v.wanted == nil || v.wanted[code] }

// wantsInstance reports whether an instance is to be checked.
func (v *run) wantsInstance(id string) bool {
	return v.ids == nil || slices.Contains(v.opts.Instances, id)
}

// report streams a finding out. It fills in the severity of the check, unless
// one is set, and its remedy; with Heals it lowers the severity of the check. An
// error means that the verification must stop. Findings of checks that are not
// wanted are dropped.
func (v *run) report(f Finding) error {
	c, ok := checkNamed(f.Code)
	if !ok {
		panic("verify: internal error: no check " + f.Code)
	}
	o := v.counts[f.Code]
	if o == nil {
		return nil
	}
	if f.Severity == "" {
		f.Severity = c.Severity
		if f.Heals != "" {
			f.Severity = f.Severity.lower()
		}
	}
	if f.Remedy == "" {
		f.Remedy = c.Remedy
	}
	if f.At == nil {
		f.At = []Place{}
	}
	f.At = f.At[:min(len(f.At), MaxPlaces)]
	// Several findings about one instance are one outcome of its check.
	if o.Findings == 0 || f.InstanceID == "" || c.Scope != scopeInstance || o.last != f.InstanceID {
		o.Violated++
		o.last = f.InstanceID
	}
	o.Findings++
	v.summary.count(f.Severity)
	if f.Severity.Compare(v.opts.MinSeverity) < 0 {
		return nil
	}
	if !v.yield(f, nil) {
		return errStop
	}
	return nil
}

// passed counts one subject for which a check is not violated.
func (v *run) passed(code string) {
	if o := v.counts[code]; o != nil {
		o.OK++
	}
}

// unknown counts one subject for which a check cannot tell, and keeps why.
func (v *run) unknown(code, subject, why string) {
	if o := v.counts[code]; o != nil {
		o.Unknown++
		o.because(subject, why)
	}
}
