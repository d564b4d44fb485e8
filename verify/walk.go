package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// subject is one instance that is being checked.
type subject struct {
	key, id string
	row     *schema.Instance // nil if there is none
	// instance is what row points to.
	instance schema.Instance
	rowErr   error // why the row cannot be decoded in full
	h        *replay.History
	verdict  replay.Verdict
	scan     scan

	findings []Finding
	unsure   []unsure
	// deferred says that orphan-child is judged when the parents are known.
	deferred bool
}

// unsure is an outcome that could not be told.
type unsure struct{ code, why string }

func (s *subject) violated(f Finding) {
	f.InstanceID = s.id
	if f.ExecutionID == "" {
		f.ExecutionID = s.verdict.ExecutionID
	}
	f.ExecutionID = strings.Clone(f.ExecutionID) // may be the row's
	s.findings = append(s.findings, f)
}

func (s *subject) unknown(code, why string) {
	if !slices.ContainsFunc(s.unsure, func(u unsure) bool { return u.code == code }) {
		s.unsure = append(s.unsure, unsure{code, why})
	}
}

// has reports whether a check was found to be violated.
func (s *subject) has(code string) bool {
	return slices.ContainsFunc(s.findings, func(f Finding) bool { return f.Code == code })
}

// why says why a check could not tell, empty if it could.
func (s *subject) why(code string) string {
	for _, u := range s.unsure {
		if u.code == code {
			return u.why
		}
	}
	return ""
}

// told is what came of a check.
func (s *subject) told(code string) told {
	switch {
	case s.has(code):
		return toldViolated
	case s.why(code) != "":
		return toldUnknown
	}
	return toldOK
}

// live reports whether there is a live history that has begun.
func (s *subject) live() bool { return s.h.Live.Events > 0 && s.h.Live.Started != nil }

// current reports whether the live history is that of the execution which the
// row names: a restart that was not picked up yet has another.
func (s *subject) current() bool {
	return s.row == nil || !s.row.ExecutionID.Set || s.row.ExecutionID.Value == s.h.Live.ExecutionID
}

// walk checks the instances one by one, in key order.
func (v *run) walk(ctx context.Context) error {
	w := walker{run: v, rp: replay.New("", replay.Options{OmitInputs: true})}
	for _, keys := range v.ranges() {
		for part, err := range hub.Join(ctx, v.r, keys) {
			if err != nil {
				return fmt.Errorf("read instances: %w", err)
			}
			if err := w.part(ctx, &part); err != nil {
				return err
			}
		}
	}
	if err := w.flush(ctx, v.conclude); err != nil {
		return err
	}
	v.progress()
	return nil
}

// ranges returns the keys to walk.
func (v *run) ranges() []hub.Keys {
	if v.ids == nil {
		return []hub.Keys{{}}
	}
	var keys []string
	for _, id := range v.ids {
		keys = append(keys, keysOf(id)...)
	}
	slices.SortFunc(keys, schema.CompareKeys)
	ranges := make([]hub.Keys, len(keys))
	for i, key := range keys {
		ranges[i] = hub.Partition(key)
	}
	return ranges
}

// walker collects the rows of one instance after another.
type walker struct {
	*run
	rp      *replay.Replayer
	begun   bool
	subject *subject
	// suspects are the instances of a live hub that look wrong, in key order.
	suspects []*subject
}

// maxSuspects is how many instances of a live hub wait to be read again. What
// they hold meanwhile is their findings: a few hundred bytes, mostly. Each time
// that so many have come together, the verification pauses (Options.Recheck).
const maxSuspects = 5000

func (v *run) atOnce() int { return cmp.Or(v.opts.suspects, maxSuspects) }

func (w *walker) part(ctx context.Context, part *hub.Joined) error {
	if !w.begun {
		w.start(part)
	}
	for i := range part.History {
		w.add(&part.History[i])
	}
	if part.More {
		return nil
	}
	w.begun = false
	s := w.subject
	s.h = w.rp.End()
	if err := w.check(ctx, s); err != nil {
		return err
	}
	if w.recheck {
		return nil
	}
	if err := w.relate(ctx, s); err != nil {
		return err
	}
	w.summary.Instances++
	if w.summary.Instances%progressEvery == 0 {
		w.progress()
	}
	if !w.live {
		err := w.conclude(s)
		w.rp.Recycle(s.h)
		s.h = nil
		return err
	}
	if len(s.findings) == 0 && len(w.suspects) == 0 {
		return w.conclude(s)
	}
	s.h, s.row, s.instance = nil, nil, schema.Instance{}
	if w.suspects = append(w.suspects, s); len(s.findings) == 0 {
		w.suspects = w.suspects[:len(w.suspects)-1]
		return w.conclude(s)
	}
	if len(w.suspects) < w.atOnce() {
		return nil
	}
	return w.flush(ctx, w.conclude)
}

const progressEvery = 500

func (w *walker) start(part *hub.Joined) {
	key := part.PartitionKey
	s := w.subject
	if s == nil || len(s.findings) > 0 { // which are still wanted
		s = new(subject)
	}
	*s = subject{key: key, id: schema.InstanceID(key)}
	if part.Instance != nil {
		s.rowErr = s.instance.Decode(part.Instance)
		s.row = &s.instance
		s.scan.instance(w.run, s, part.Instance)
	}
	w.rp.Reset(key)
	w.subject, w.begun = s, true
}

func (w *walker) add(row *schema.Row) {
	w.rp.Add(row)
	w.subject.scan.history(w.run, w.subject, row)
	w.summary.HistoryRows++
	if w.summary.HistoryRows%(progressEvery*100) == 0 {
		w.progress()
	}
}

// check makes the checks that one instance alone can answer, with a look at those
// that it waits for.
func (v *run) check(ctx context.Context, s *subject) error {
	s.verdict = replay.Compare(s.row, s.h, replay.Loader{Container: v.container})
	if v.childrenOnly {
		return v.workChecks(ctx, s)
	}
	if err := v.historyChecks(ctx, s); err != nil {
		return err
	}
	v.rowChecks(s)
	v.rewindResidue(s)
	if err := v.workChecks(ctx, s); err != nil {
		return err
	}
	return v.lock(ctx, s)
}

// instanceChecks are those whose outcomes are counted for each instance when it
// is concluded. Those between instances follow later.
var instanceChecks = []string{
	codeStatusDrift, codeInstanceMissing, codeHistoryMissing, codePendingWithoutStart, codeCheckpointTorn, codeRowKeyGap, codeRowKeyDuplicate,
	codeSentinelMissing, codeSentinelMismatch, codeStaleGenerationTail, codeHistoryNoStart, codeDuplicateCompletion, codeOrphanCompletion,
	codeLostWork, codeChildDoneParentWaiting, codeOrphanChild, codeDuplicateSuborch, codeBlobForeignURL, codeEntityLockOrphan,
	codeRewindResidue, codeCaseCollision, codeSchemaUnknown,
}

// conclude reports the findings of an instance and counts its outcomes.
func (v *run) conclude(s *subject) error {
	slices.SortStableFunc(s.findings, func(a, b Finding) int { return checkOrder[a.Code] - checkOrder[b.Code] })
	for i := range s.findings {
		if err := v.report(s.findings[i]); err != nil {
			return err
		}
	}
	for i, o := range v.each {
		code := instanceChecks[i]
		switch {
		case o == nil, s.deferred && code == codeOrphanChild:
		case len(s.findings)+len(s.unsure) == 0: // mostly
			o.OK++
		case s.has(code):
		default:
			if why := s.why(code); why != "" {
				v.unknown(code, s.id, why)
			} else {
				o.OK++
			}
		}
	}
	return nil
}

// flush reads the suspects of a live hub again and reports what is still so.
func (w *walker) flush(ctx context.Context, conclude func(*subject) error) error {
	suspects := w.suspects
	w.suspects = nil
	if len(suspects) == 0 {
		return nil
	}
	if w.opts.Recheck != nil {
		if err := w.opts.Recheck(ctx); err != nil {
			return err
		}
	}
	// What is open is looked for in the queues as they are now, and must still
	// be open after that.
	if err := w.loadMessages(ctx); err != nil {
		return err
	}
	w.forget()
	for _, s := range suspects {
		now, err := w.read(ctx, s.key)
		if err != nil {
			return err
		}
		now.deferred = s.deferred
		now.findings = slices.DeleteFunc(now.findings, func(f Finding) bool { return !s.has(f.Code) })
		if err := conclude(now); err != nil {
			return err
		}
	}
	return nil
}

// read reads and checks one instance again.
func (v *run) read(ctx context.Context, key string) (*subject, error) {
	w := walker{run: v, rp: replay.New("", replay.Options{OmitInputs: true})}
	rows := v.summary.HistoryRows
	v.recheck = true
	defer func() { v.summary.HistoryRows, v.recheck = rows, false }()
	for part, err := range hub.Join(ctx, v.r, hub.Partition(key)) {
		if err != nil {
			return nil, fmt.Errorf("read instance %q again: %w", schema.InstanceID(key), err)
		}
		if err := w.part(ctx, &part); err != nil {
			return nil, err
		}
	}
	if w.subject == nil { // gone meanwhile
		w.subject = &subject{key: key, id: schema.InstanceID(key), h: replay.New(key, replay.Options{}).End()}
	}
	return w.subject, nil
}

// progress tells how far the verification is.
func (v *run) progress() {
	if v.opts.OnProgress == nil {
		return
	}
	p := Progress{Instances: v.summary.Instances, HistoryRows: v.summary.HistoryRows, TotalRows: -1, Findings: v.summary.Findings(Info)}
	for _, t := range v.info.Tables {
		if t.Table == hub.History {
			p.TotalRows = t.Rows
		}
	}
	v.opts.OnProgress(p)
}

// checkOrder is the position of each check in the catalogue.
var checkOrder = func() map[string]int {
	order := make(map[string]int, len(catalogue))
	for i := range catalogue {
		order[catalogue[i].Code] = i
	}
	return order
}()
