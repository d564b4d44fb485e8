package repair

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/verify"
)

// Remover takes messages out of queues, which only those can do who receive them.
type Remover interface {
	// RemoveMessage deletes one message of a queue that is visible and has this
	// body. It returns [hub.ErrNotFound] if there is none, and for a queue that
	// does not exist. Other messages stay, in their order, but for their count of
	// deliveries. If the program is killed meanwhile, messages of the queue are
	// hidden for up to [RemoveHidden].
	RemoveMessage(ctx context.Context, queue, body string) error
}

// RemoveHidden is how long a [Remover] hides messages at most.
const RemoveHidden = 5 * time.Minute

// ApplyOptions tunes [Apply]. Now is required, and Journal unless nothing is written.
type ApplyOptions struct {
	// Journal gets what takes each change back.
	Journal *Journal
	// Remover takes messages out of queues. Without one, a message is not moved, and
	// one that was sent is not taken back.
	Remover Remover
	// Force goes on although an app runs the hub.
	Force bool
	// MaxBlobBytes limits the text of a blob; 0 means [hub.DefaultPayloadBytes].
	MaxBlobBytes int64
	// Now tells the time, from which delays of messages count.
	Now func() time.Time
	// OnProgress is told of steps done and their number; nil is fine.
	OnProgress func(done, total int)
}

// Outcome is what became of a repair.
type Outcome string

// The outcomes.
const (
	// Done means that it was carried out, or would be.
	Done Outcome = "done"
	// Already means that there is nothing to do: the rows are as they are to be, or
	// the finding is gone.
	Already Outcome = "already"
	// Skipped means that something is not as it was, so that nothing more was done.
	Skipped Outcome = "skipped"
)

// Result is what became of one repair.
type Result struct {
	InstanceID string
	Codes      []string
	Outcome    Outcome
	// Reason says why nothing was done, or what of it was not.
	Reason string
	// Rows were written, Messages sent and Removed in this run, or would be.
	Rows, Messages, Removed int
}

// Report says what [Apply] has done.
type Report struct {
	Kind Kind
	// Results are in the order of the repairs.
	Results []Result
	// Steps is the number of changes that were made in this run.
	Steps int
	// Still are findings that the plan was to mend and that are there afterwards, New
	// those of the same instances that were not there before and that the plan does
	// not name as left. Both are nil for an undo, and where nothing was written.
	Still, New []verify.Finding
}

// Count returns how many repairs have an outcome.
func (r *Report) Count(o Outcome) (n int) {
	for i := range r.Results {
		if r.Results[i].Outcome == o {
			n++
		}
	}
	return n
}

// ErrOtherHub is returned for a plan that was made for another hub or account.
var ErrOtherHub = errors.New("the plan is for another hub")

// RunningError is returned for a hub that an app runs. It is a case of
// [hub.ErrInUse].
type RunningError struct{ Evidence []string }

// Error says why an app is taken to run.
func (e *RunningError) Error() string {
	return "an app runs the hub, or did a moment ago: " + strings.Join(e.Evidence, ", ")
}

// Is reports whether target is [hub.ErrInUse].
func (e *RunningError) Is(target error) bool { return target == hub.ErrInUse }

// Apply carries a file out on a live hub, which r reads and e changes, and then
// verifies the instances that it is about. With a nil e nothing is written, and the
// report says what would be done.
//
// A repair is left out if a row that it writes or rests on has other content than
// the plan shows. Content counts and not the ETag, which a hub that was copied has
// anew; a write still names the version that was read just before. A repair whose
// findings are gone is left out as well.
//
// It returns [ErrOtherHub], a [*RunningError], [ErrEnded], or an error of storage; with
// an error, the report tells how far it came, and running it again with the same
// Journal goes on. When ctx ends, the change that was begun is finished first.
func Apply(ctx context.Context, r hub.Reader, e hub.Editor, f *File, opts ApplyOptions) (*Report, error) {
	switch {
	case opts.Now == nil:
		return nil, errors.New("repair: ApplyOptions.Now is not set")
	case opts.Journal == nil && e != nil:
		return nil, errors.New("repair: ApplyOptions.Journal is not set")
	}
	if err := f.validate(); err != nil {
		return nil, err
	}
	info, err := r.Info(ctx)
	if err != nil {
		return nil, err
	}
	if err := f.isFor(&info); err != nil {
		return nil, err
	}
	if !opts.Force {
		o, err := manage.Leases(ctx, r, manage.DescribeOptions{Now: opts.Now})
		if err != nil {
			return nil, err
		}
		if o.Running != manage.RunningNoSign {
			return nil, &RunningError{o.Evidence}
		}
	}
	a := &applier{
		r: r, e: e, f: f, opts: opts, info: info, report: &Report{Kind: f.Kind}, written: make(map[place]*Write),
		steps: f.steps(), state: make([]state, len(f.Repairs)),
	}
	if err := a.run(ctx); err != nil {
		return a.report, err
	}
	return a.report, nil
}

// isFor checks that a file is for this hub.
func (f *File) isFor(info *hub.Info) error {
	names := info.Names
	differs := func(what, planned, found string) error {
		return fmt.Errorf("%w: %s %s, and this one has %s", ErrOtherHub, what, planned, found)
	}
	switch {
	case !strings.EqualFold(f.TaskHub, names.TaskHub), !strings.EqualFold(f.TrackingPrefix, names.TrackingPrefix):
		return differs("the hub is", f.TaskHub+f.TrackingPrefix, names.TaskHub+names.TrackingPrefix)
	case f.Account != "" && info.Account != "" && f.Account != info.Account:
		return differs("the account is", f.Account, info.Account)
	case f.PartitionCount != info.PartitionCount:
		return differs("the number of partitions is", fmt.Sprint(f.PartitionCount), fmt.Sprint(info.PartitionCount))
	}
	return nil
}

// applier is one run.
type applier struct {
	r       hub.Reader
	e       hub.Editor
	f       *File
	opts    ApplyOptions
	info    hub.Info
	report  *Report
	steps   []step
	state   []state // of the repairs
	written map[place]*Write
	// visible are the bodies of the messages that can be seen, by queue, and hidden
	// the queues that have others.
	visible map[string][]string
	hidden  map[string]bool
	// waits says that a step can only be made later.
	waits bool
}

// state is what is known of a repair while it is carried out.
type state struct {
	ready bool // to be carried out, as far as it is not yet
	begun bool // by an earlier run
	steps []int
	// note says what of it cannot be done, while the rest is.
	note string
}

// step is one change.
type step struct {
	repair  int
	write   *Write
	message *Message
	removal *Removal
}

// phase orders steps: history, sentinels, rows, messages, and then what is taken out
// of queues. An undo goes the other way but for messages, which are never in no queue.
func (s *step) phase(k Kind) int {
	n := 3
	switch {
	case s.write != nil:
		n = rank(s.write.place())
	case s.removal != nil:
		n = 4
	}
	if k == KindUndo {
		return [...]int{4, 3, 2, 0, 1}[n]
	}
	return n
}

// steps lists the changes in the order in which they are made.
func (f *File) steps() []step {
	var all []step
	for i := range f.Repairs {
		r := &f.Repairs[i]
		for j := range r.Writes {
			all = append(all, step{repair: i, write: &r.Writes[j]})
		}
		for j := range r.Messages {
			all = append(all, step{repair: i, message: &r.Messages[j]})
		}
		for j := range r.Removals {
			all = append(all, step{repair: i, removal: &r.Removals[j]})
		}
	}
	slices.SortStableFunc(all, func(a, b step) int { return a.phase(f.Kind) - b.phase(f.Kind) })
	return all
}

func (a *applier) run(ctx context.Context) error {
	for n := range a.steps {
		s := &a.steps[n]
		if s.write != nil {
			a.written[s.write.place()] = s.write
		}
		st := &a.state[s.repair]
		st.steps = append(st.steps, n)
		if j := a.opts.Journal; j != nil && j.begun[n] {
			st.begun = true
		}
	}
	found, err := a.verify(ctx)
	if err != nil {
		return err
	}
	before := abouts(found)
	if err := a.peek(ctx); err != nil {
		return err
	}
	for i := range a.f.Repairs {
		if err := a.check(ctx, i, before); err != nil {
			return err
		}
	}
	if a.e == nil {
		a.forecast()
		return nil
	}
	resumed := a.opts.Journal.Resumed()
	if err := a.carryOut(ctx); err != nil {
		return err
	}
	if a.f.Kind == KindUndo || a.report.Steps == 0 && !resumed {
		return nil
	}
	return a.judge(ctx, before)
}

// instances returns those that the file mends.
func (a *applier) instances() []string {
	ids := make(map[string]bool)
	for i := range a.f.Repairs {
		ids[a.f.Repairs[i].InstanceID] = true
		for _, f := range a.f.Repairs[i].Findings {
			ids[f.InstanceID] = true
		}
	}
	return slices.SortedFunc(maps.Keys(ids), compareIDs)
}

// verify returns what is found of the instances that a plan mends.
func (a *applier) verify(ctx context.Context) (all []verify.Finding, err error) {
	if a.f.Kind == KindUndo {
		return nil, nil
	}
	for ids := range slices.Chunk(a.instances(), verifyAtOnce) {
		found, err := findingsOf(ctx, a.r, ids, verify.Options{MaxBlobBytes: a.opts.MaxBlobBytes, Now: a.opts.Now})
		if err != nil {
			return nil, err
		}
		all = append(all, found...)
	}
	return all, nil
}

// about is what a finding is about, whatever it says of it.
type about struct{ code, instanceID string }

func aboutOf(f *verify.Finding) about { return about{f.Code, f.InstanceID} }

// abouts are what findings are about.
func abouts(all []verify.Finding) map[about]bool {
	set := make(map[about]bool, len(all))
	for i := range all {
		set[aboutOf(&all[i])] = true
	}
	return set
}

// judge looks whether the findings are gone, and no others have come but those that
// the plan names as left.
func (a *applier) judge(ctx context.Context, before map[about]bool) error {
	after, err := a.verify(ctx)
	if err != nil {
		return fmt.Errorf("everything is written, but it cannot be verified: %w", err)
	}
	now, known := abouts(after), maps.Clone(before)
	for i := range a.f.Left {
		known[aboutOf(&a.f.Left[i].Finding)] = true
		delete(now, aboutOf(&a.f.Left[i].Finding))
	}
	for i := range a.f.Repairs {
		for _, f := range a.f.Repairs[i].Findings {
			if a.report.Results[i].Outcome == Done && now[aboutOf(&f)] {
				a.report.Still = append(a.report.Still, f)
				delete(now, aboutOf(&f))
			}
		}
	}
	for i := range after {
		if f := &after[i]; !known[aboutOf(f)] {
			a.report.New = append(a.report.New, *f)
			known[aboutOf(f)] = true
		}
	}
	return nil
}

// peek reads what can be seen in the queues that the file is about.
func (a *applier) peek(ctx context.Context) error {
	a.visible, a.hidden = make(map[string][]string), make(map[string]bool)
	counts := make(map[string]int64)
	if slices.ContainsFunc(a.steps, func(s step) bool { return s.removal != nil }) {
		queues, err := a.r.Queues(ctx)
		if err != nil {
			return fmt.Errorf("list queues: %w", err)
		}
		for _, q := range queues {
			counts[q.Name] = q.ApproximateCount
		}
	}
	for n := range a.steps {
		for _, queue := range a.steps[n].queues() {
			if _, ok := a.visible[queue]; ok {
				continue
			}
			bodies := []string{}
			for m, err := range a.r.Messages(ctx, queue) {
				if err != nil {
					return fmt.Errorf("read queue %s: %w", queue, err)
				}
				bodies = append(bodies, strings.Clone(m.Text))
			}
			a.visible[queue], a.hidden[queue] = bodies, counts[queue] > int64(len(bodies))
		}
	}
	return nil
}

func (s *step) queues() []string {
	switch {
	case s.message != nil:
		return []string{s.message.Queue}
	case s.removal != nil:
		return []string{s.removal.Queue}
	}
	return nil
}

// forecast fills in what would be done.
func (a *applier) forecast() {
	for n := range a.steps {
		s := &a.steps[n]
		if a.state[s.repair].ready {
			s.count(&a.report.Results[s.repair])
		}
	}
}

func (s *step) count(r *Result) {
	switch {
	case s.write != nil:
		r.Rows++
	case s.message != nil:
		r.Messages++
	default:
		r.Removed++
	}
}

// carryOut makes the changes.
func (a *applier) carryOut(ctx context.Context) error {
	j := a.opts.Journal
	switch ready := slices.ContainsFunc(a.state, func(s state) bool { return s.ready }); {
	case !ready && !j.Resumed():
		return nil
	case ready && j.ended:
		return ErrEnded
	}
	for n := range a.steps {
		s := &a.steps[n]
		if !a.state[s.repair].ready {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err := a.step(context.WithoutCancel(ctx), n, s); err != nil {
			return fmt.Errorf("repair of %q: %w", a.f.Repairs[s.repair].InstanceID, err)
		}
		if a.opts.OnProgress != nil {
			a.opts.OnProgress(n+1, len(a.steps))
		}
	}
	if a.waits {
		return nil // it has come to no end
	}
	for i := range a.state {
		if r := &a.report.Results[i]; a.state[i].note != "" && r.Outcome == Done {
			r.Outcome, r.Reason = Skipped, a.state[i].note
		}
	}
	return j.write(&journalLine{Type: lineEnd, Step: len(a.steps)}, a.now())
}

func (a *applier) now() string { return schema.TicksOf(a.opts.Now()).String() }

// step makes one change, unless it was made.
func (a *applier) step(ctx context.Context, n int, s *step) error {
	j := a.opts.Journal
	made, reason, err := a.isMade(ctx, n, s)
	if err != nil {
		return err
	}
	if reason != "" {
		a.skip(s.repair, reason)
		return nil
	}
	if !made {
		if !j.begun[n] || s.removal != nil { // of which it counts when it was begun last
			l := &journalLine{Type: lineBegin, Step: n, InstanceID: a.f.Repairs[s.repair].InstanceID, Write: s.write, Message: s.message, Removal: s.removal}
			if err := j.write(l, a.now()); err != nil {
				return err
			}
			j.begun[n] = true
		}
		if reason, err = a.make(ctx, s); err != nil {
			return err
		}
		if reason != "" {
			a.skip(s.repair, reason)
			return nil
		}
		a.report.Steps++
		s.count(&a.report.Results[s.repair])
	}
	if j.begun[n] && !j.done[n] {
		if err := j.write(&journalLine{Type: lineDone, Step: n}, a.now()); err != nil {
			return err
		}
		j.done[n] = true
	}
	return nil
}

// skip leaves the rest of a repair out.
func (a *applier) skip(repair int, reason string) {
	r := &a.report.Results[repair]
	if r.Rows+r.Messages+r.Removed > 0 || a.state[repair].begun {
		reason += "; what was done of it before stays, and the undo file takes it back"
	}
	r.Outcome, r.Reason = Skipped, reason
	a.state[repair].ready = false
}
