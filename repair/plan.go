package repair

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/verify"
)

// Options tunes a plan. Now is required; otherwise the zero value mends all that
// can be.
type Options struct {
	// Codes chooses findings by the codes in [Codes]; nil means all of them.
	Codes []string
	// Instances are the IDs to look at; nil means all.
	Instances []string
	// BlobURL returns the address of a blob in the hub's account, as
	// [hub.Editor.BlobURL] does. Nil means that it is to be learnt from the rows,
	// as it has to be of a capture.
	BlobURL func(container, name string) string
	// MaxBlobBytes limits the text of a blob; 0 means [hub.DefaultPayloadBytes].
	MaxBlobBytes int64
	// Now tells the time.
	Now func() time.Time
	// Recheck and OnProgress are as in [verify.Options].
	Recheck    func(ctx context.Context) error
	OnProgress func(verify.Progress)

	repairs int   // in place of MaxRepairs, for tests
	bytes   int64 // in place of MaxFileBytes, for tests
}

// ErrCode is returned for a code in Options.Codes whose findings are never mended.
var ErrCode = errors.New("there is no repair for findings with this code")

func (o *Options) validate() error {
	if o.Now == nil {
		return errors.New("repair: Options.Now is not set")
	}
	for _, code := range o.Codes {
		if !slices.Contains(codes, code) {
			return fmt.Errorf("%w: %q", ErrCode, code)
		}
	}
	return nil
}

// Plan finds out what [Apply] would do. It only reads: the whole hub once, as
// [verify.Hub] does, and then the instances that have something to be mended, until
// the hub as it would be has nothing more of that.
//
// It returns [hub.ErrNotFound] for a hub that does not exist, and [ErrCode].
func Plan(ctx context.Context, r hub.Reader, opts Options) (*File, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	info, err := r.Info(ctx)
	if err != nil {
		return nil, err
	}
	p := &planner{
		r: r, opts: opts, info: info, now: schema.TicksOf(opts.Now()), o: newOverlay(r, info.Names.LargeMessages()),
		drafts: make(map[string]*draft), writes: make(map[place]*Write), tried: make(map[string]bool), left: make(map[string][]Left),
	}
	p.file = &File{
		Format: format, Version: version, Kind: KindPlan, TaskHub: info.Names.TaskHub, TrackingPrefix: info.Names.TrackingPrefix,
		Account: info.Account, PartitionCount: info.PartitionCount, PlannedAt: p.now.String(),
	}
	if info.Started != 0 {
		p.file.CapturedAt = info.Started.String()
	}
	if err := p.run(ctx); err != nil {
		return nil, err
	}
	return p.file, nil
}

// planner makes one plan.
type planner struct {
	r    hub.Reader
	opts Options
	info hub.Info
	now  schema.Ticks
	o    *overlay
	file *File

	drafts map[string]*draft // by each of the instances that it is about
	writes map[place]*Write
	// tried are findings for which something was planned.
	tried map[string]bool
	// left is what came last of the findings of those instances that were looked at
	// one by one; general what the first look at the hub has found.
	left    map[string][]Left
	general []Left
	more    int64 // findings left that are not named
	bytes   int64

	queues   map[string]bool
	odd      string // why queues cannot be told; empty if they can
	encoding Encoding
	endpoint schema.Optional[string]
	made     int64 // messages
}

func (p *planner) wants(code string) bool {
	return slices.Contains(codes, code) && (p.opts.Codes == nil || slices.Contains(p.opts.Codes, code))
}

func (p *planner) run(ctx context.Context) error {
	candidates, err := p.candidates(ctx)
	if err != nil {
		return err
	}
	if len(candidates) > 0 {
		if err := p.findQueues(ctx); err != nil {
			return err
		}
	}
	for chunk := range slices.Chunk(candidates, verifyAtOnce) {
		if err := p.mend(ctx, chunk); err != nil {
			return err
		}
	}
	return p.finish(ctx)
}

// verifyAtOnce is how many instances are verified together: their findings are held.
const verifyAtOnce = 500

// maxRounds bounds how often what was planned for an instance is verified. A
// finding names at most [verify.MaxPlaces] pieces of lost work of one instance.
const maxRounds = 1000

// candidates looks at the whole hub and returns the instances with findings that may
// be mended, in key order.
func (p *planner) candidates(ctx context.Context) ([]string, error) {
	found := make(map[string]bool)
	findings, _ := verify.Hub(ctx, p.r, verify.Options{
		Instances: p.opts.Instances, MinSeverity: verify.Warning, MaxBlobBytes: p.opts.MaxBlobBytes,
		Now: p.opts.Now, Recheck: p.opts.Recheck, OnProgress: p.opts.OnProgress,
	})
	for f, err := range findings {
		if f.Code == codeSkew {
			p.odd = "the parts of the hub do not agree on the number of partitions"
		}
		switch {
		case err != nil:
			return nil, err
		case f.Heals != "":
			p.leave(f, heals)
		case why[f.Code] != "":
			p.leave(f, why[f.Code])
		case !p.wants(f.Code):
		case f.InstanceID == "":
			p.leave(f, "which of several messages is lost cannot be told: nothing says which are hidden")
		case found[f.InstanceID]:
		case len(found) == cmp.Or(p.opts.repairs, MaxRepairs):
			p.leave(f, full)
		default:
			found[f.InstanceID] = true
		}
	}
	ids := slices.Collect(maps.Keys(found))
	slices.SortFunc(ids, compareIDs)
	return ids, nil
}

func compareIDs(a, b string) int { return schema.CompareKeys(schema.EscapeKey(a), schema.EscapeKey(b)) }

const (
	heals = "it will mend itself when a worker runs"
	full  = "the plan is full: carry it out and make another one"
)

// leave notes a finding of the first look that is not mended.
func (p *planner) leave(f verify.Finding, reason string) {
	if p.opts.Codes != nil && !p.wants(f.Code) {
		return
	}
	if len(p.general) == MaxLeft {
		p.more++
		return
	}
	p.general = append(p.general, Left{f, reason})
}

// mend plans for some instances until nothing more can be planned for them.
func (p *planner) mend(ctx context.Context, ids []string) error {
	for range maxRounds {
		findings, err := p.verify(ctx, ids)
		if err != nil {
			return err
		}
		r := round{planner: p, groups: make(map[string]*group), work: make(map[string]*workload)}
		for _, id := range ids {
			p.left[id] = nil
		}
		if err := r.run(ctx, findings); err != nil {
			return err
		}
		if ids = r.progress; len(ids) == 0 {
			return nil
		}
		slices.SortFunc(ids, compareIDs)
		ids = slices.Compact(ids)
	}
	return nil
}

// verify returns the findings of some instances in the hub as it will be.
func (p *planner) verify(ctx context.Context, ids []string) ([]verify.Finding, error) {
	return findingsOf(ctx, p.o, ids, verify.Options{MaxBlobBytes: p.opts.MaxBlobBytes, Now: p.opts.Now})
}

// findingsOf returns the findings of instances that are worse than info.
func findingsOf(ctx context.Context, r hub.Reader, ids []string, opts verify.Options) (all []verify.Finding, err error) {
	opts.Checks, opts.MinSeverity, opts.Instances = verified(), verify.Warning, ids
	if len(ids) == 0 {
		return nil, nil // which would mean all
	}
	findings, _ := verify.Hub(ctx, r, opts)
	for f, err := range findings {
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// same identifies a finding among several of one code and instance.
func same(f *verify.Finding) string {
	key := f.Code + "\x00" + f.InstanceID + "\x00" + f.Detail
	for _, at := range f.At {
		key += "\x00" + at.String()
	}
	return key
}

// group is what was found of one instance.
type group struct {
	id       string
	findings []verify.Finding
	// taken says that a rewind of this round changes the instance, so that nothing
	// else is planned for it before the next.
	taken bool
}

// blocked returns why a finding cannot be mended in this round, empty if it can.
func (g *group) blocked(code string) string {
	for i := range g.findings {
		if f := &g.findings[i]; blocks(code, f) {
			return "its history or row has another defect, which goes first: " + f.Code
		}
	}
	return ""
}

// round is one look at some instances.
type round struct {
	*planner
	groups map[string]*group
	work   map[string]*workload
	// progress are the instances for which something was planned.
	progress []string
}

func (r *round) run(ctx context.Context, findings []verify.Finding) error {
	var order []*group
	for _, f := range findings {
		g := r.groups[f.InstanceID]
		if g == nil {
			g = &group{id: f.InstanceID}
			r.groups[f.InstanceID] = g
			order = append(order, g)
		}
		g.findings = append(g.findings, f)
	}
	for _, code := range codes {
		for _, g := range order {
			for i := range g.findings {
				if f := &g.findings[i]; f.Code == code && r.wants(code) {
					if err := r.finding(ctx, g, f); err != nil {
						return err
					}
				}
			}
		}
	}
	for _, g := range order {
		for i := range g.findings {
			switch f := &g.findings[i]; {
			case why[f.Code] == "" || r.opts.Codes != nil:
			case f.Heals != "":
				r.keep(f, heals)
			default:
				r.keep(f, why[f.Code])
			}
		}
	}
	return r.pending(ctx)
}

// keep notes a finding of this round that is not mended, or not yet.
func (p *planner) keep(f *verify.Finding, reason string) {
	p.left[f.InstanceID] = append(p.left[f.InstanceID], Left{*f, reason})
}

// finding plans what mends one finding, or says why nothing does.
func (r *round) finding(ctx context.Context, g *group, f *verify.Finding) error {
	reason := ""
	switch {
	case f.Heals != "":
		reason = heals
	case r.tried[same(f)]:
		reason = "what was planned for it does not mend it"
	case r.bytes >= cmp.Or(r.opts.bytes, MaxFileBytes):
		reason = full
	case g.taken:
		reason = "a rewind of the instance goes first"
	default:
		reason = g.blocked(f.Code)
	}
	if reason != "" {
		r.keep(f, reason)
		return nil
	}
	var err error
	switch f.Code {
	case codeResidue:
		reason, err = r.rewind(ctx, f)
	case codeSentinelMissing:
		reason, err = r.sentinel(ctx, f)
	case codeMismatch:
		reason, err = r.mismatch(ctx, f)
	case codeForeignURL:
		reason, err = r.foreignURL(ctx, f)
	case codeStatusDrift:
		reason, err = r.drift(ctx, f)
	case codePending, codeLostWork, codeChildDone:
		reason, err = r.lost(ctx, f)
	case codeLock:
		reason, err = r.lock(ctx, f)
	case codeWrongPartition:
		reason, err = r.move(ctx, f)
	}
	if err == nil && reason != "" {
		r.keep(f, reason)
	}
	return err
}

// planned notes that something was planned for a finding.
func (r *round) planned(f *verify.Finding, does string) {
	d := r.draft(f.InstanceID)
	if !r.tried[same(f)] {
		d.findings = append(d.findings, *f)
	}
	d.does = append(d.does, does)
	r.tried[same(f)] = true
	r.progress = append(r.progress, f.InstanceID)
}

// finish puts the plan into its order and notes what it rests on.
func (p *planner) finish(ctx context.Context) error {
	drafts := make(map[*draft]bool)
	for _, d := range p.drafts {
		if len(d.findings) > 0 {
			drafts[d] = true
		}
	}
	ordered := slices.SortedFunc(maps.Keys(drafts), func(a, b *draft) int { return compareIDs(a.id, b.id) })
	p.file.Repairs = make([]Repair, 0, len(ordered))
	for _, d := range ordered {
		rep, err := p.complete(ctx, d)
		if err != nil {
			return err
		}
		p.file.Repairs = append(p.file.Repairs, rep)
	}
	if err := p.stillThere(ctx); err != nil {
		return err
	}
	p.file.Left = append([]Left{}, p.general...)
	for _, id := range slices.SortedFunc(maps.Keys(p.left), compareIDs) {
		p.file.Left = append(p.file.Left, p.left[id]...)
	}
	p.file.LeftItems = int64(len(p.file.Left)) + p.more
	p.file.Left = p.file.Left[:min(len(p.file.Left), MaxLeft)]
	return nil
}

// stillThere drops what the first look has found and the plan mends besides, such
// as a child whose parent is told by its sentinel again.
func (p *planner) stillThere(ctx context.Context) error {
	var ids []string
	for i := range p.general {
		if f := &p.general[i].Finding; alone(f) && len(p.drafts) > 0 {
			ids = append(ids, f.InstanceID)
		}
	}
	findings, err := p.verify(ctx, ids)
	if err != nil {
		return err
	}
	still := make(map[string]bool, len(findings))
	for i := range findings {
		still[same(&findings[i])] = true
	}
	p.general = slices.DeleteFunc(p.general, func(l Left) bool {
		_, looked := p.left[l.InstanceID] // then it is there, too
		return alone(&l.Finding) && (looked || len(ids) > 0 && !still[same(&l.Finding)])
	})
	return nil
}

// alone reports whether a finding is made when its instance is looked at by itself.
func alone(f *verify.Finding) bool {
	return f.InstanceID != "" && f.Code != "duplicate-suborchestration" && f.Code != "case-collision" && slices.Contains(verified(), f.Code)
}
