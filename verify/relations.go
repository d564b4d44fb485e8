package verify

import (
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// relations holds what is known of instances by way of others, while the tables
// are walked once. Instances are remembered as hashes of 8 bytes; what two of
// them may have to do with each other is read from storage at the end, so that
// equal hashes of different texts cost time and nothing else.
type relations struct {
	seed maphash.Seed
	// open are sub-orchestrations that a parent waits for and that were not seen
	// to be open; claims are open ones whose parent was not seen to wait.
	open   map[uint64]waiting
	claims map[uint64]claim
	// children are those that live histories have started.
	children map[uint64]struct{}
	// twice are children that seem to have been started more than once.
	twice map[uint64]struct{}
	// parents leads from sub-orchestrations to their parents.
	parents map[uint64]uint64
	// cases are IDs without their case, of those that have some.
	cases map[uint64]struct{}
	// alike are IDs without their case that seem to have come more than once.
	alike map[uint64]struct{}
	full  bool // there were more than maxRelations
}

// waiting is a parent that waits for a sub-orchestration.
type waiting struct {
	key string
	// lost is what came of lost-work for everything else that it waits for.
	lost told
}

// told is what came of a check.
type told byte

const (
	toldOK told = iota
	toldViolated
	toldUnknown
)

// claim is an open sub-orchestration whose parent was not seen to wait for it.
type claim struct{ key, parent string }

// The tables of relations take about 40 bytes for an entry, open and claims the
// length of their keys more. What is beyond those two is read from storage at once.
const (
	maxRelations = 1 << 20
	maxOpen      = 1 << 18
	maxClaims    = 1 << 17
	// maxGroups bounds the groups of instances that are reported of one kind.
	maxGroups = 10_000
)

func newRelations() *relations {
	return &relations{
		seed: maphash.MakeSeed(),
		open: make(map[uint64]waiting), claims: make(map[uint64]claim), children: make(map[uint64]struct{}),
		twice: make(map[uint64]struct{}), parents: make(map[uint64]uint64),
		cases: make(map[uint64]struct{}), alike: make(map[uint64]struct{}),
	}
}

func (r *relations) hash(id string) uint64 { return maphash.String(r.seed, id) }

// edge is the hash of a parent and its child.
func (r *relations) edge(parent, child string) uint64 {
	return r.hash(parent)*0x9E3779B97F4A7C15 ^ r.hash(child)
}

// created notes that a live history has started a sub-orchestration.
func (r *relations) created(_, child string) {
	h := r.hash(child)
	if _, ok := r.children[h]; ok {
		if len(r.twice) < maxGroups {
			r.twice[h] = struct{}{}
		}
		return
	}
	if len(r.children) >= maxRelations {
		r.full = true
		return
	}
	r.children[h] = struct{}{}
}

// relate notes what an instance has to do with others.
func (v *run) relate(ctx context.Context, s *subject) error {
	r := v.relations
	r.spelt(s.id)
	live := &s.h.Live
	if live.Parent != nil {
		parent := live.Parent.OrchestrationInstance.InstanceID
		if len(r.parents) < maxRelations {
			r.parents[r.hash(s.id)] = r.hash(parent)
		} else {
			r.full = true
		}
		if open := s.waiting() && !schema.IsEntity(s.id) && !forgets(live); open && v.wants(codeOrphanChild) {
			if err := v.claim(ctx, s, parent); err != nil {
				return err
			}
		}
	}
	if s.waiting() {
		for i := range live.Open {
			if live.Open[i].Kind != replay.OpenSubOrchestration {
				continue
			}
			e := r.edge(s.id, live.Open[i].InstanceID)
			if _, ok := r.claims[e]; ok {
				delete(r.claims, e)
				v.passed(codeOrphanChild)
			} else if len(r.open) < maxOpen {
				r.open[e] = waiting{s.key, s.told(codeLostWork)}
			}
		}
	}
	return nil
}

func (v *run) claim(ctx context.Context, s *subject, parent string) error {
	r := v.relations
	e := r.edge(parent, s.id)
	if _, ok := r.open[e]; ok {
		delete(r.open, e)
		return nil
	}
	if v.ids == nil && len(r.claims) < maxClaims {
		if _, twice := r.claims[e]; !twice {
			r.claims[e] = claim{s.key, strings.Clone(parent)}
			s.deferred = true
		}
		return nil
	}
	return v.orphan(ctx, s, parent)
}

// later reports whether it will be seen in the walk, or was seen, that a
// sub-orchestration is open and has this parent: then its message was taken, and
// its answer is not due.
func (v *run) later(s *subject, o *replay.Open) bool {
	r := v.relations
	if v.recheck || v.ids != nil {
		return false
	}
	_, seen := r.claims[r.edge(s.id, o.InstanceID)]
	return seen || len(r.open) < maxOpen
}

// awaitedChildren looks at the sub-orchestrations that parents wait for and that
// were not seen to be open, by parent in key order.
func (v *run) awaitedChildren(ctx context.Context) error {
	open := v.relations.open
	v.relations.open = nil
	parents := make(map[string]told)
	for _, w := range open {
		parents[w.key] = w.lost
	}
	v.childrenOnly = true
	defer func() { v.childrenOnly = false }()
	settle := func(s *subject) error { return v.settle(s, parents[s.key]) }
	w := walker{run: v}
	for _, key := range slices.SortedFunc(maps.Keys(parents), schema.CompareKeys) {
		s, err := v.read(ctx, key)
		if err != nil {
			return err
		}
		if !v.live || len(s.findings) == 0 {
			if err := settle(s); err != nil {
				return err
			}
			continue
		}
		w.suspects = append(w.suspects, s)
		if len(w.suspects) == v.atOnce() {
			if err := w.flush(ctx, settle); err != nil {
				return err
			}
		}
	}
	return w.flush(ctx, settle)
}

// settle reports what came of the sub-orchestrations of a parent, and corrects
// the outcomes that were counted without them.
func (v *run) settle(s *subject, lost told) error {
	for _, code := range [...]string{codeLostWork, codeChildDoneParentWaiting} {
		before, now := toldOK, s.told(code)
		if code == codeLostWork {
			before = lost
		}
		o := v.counts[code]
		switch {
		case o == nil || now == toldOK:
		case before == toldViolated:
			o.last = s.id // it counts once
		case before == toldUnknown && now == toldViolated:
			o.Unknown--
		case before == toldOK:
			v.retract(code)
		}
		if now == toldUnknown && before == toldOK {
			v.unknown(code, s.id, s.why(code))
		}
	}
	for i := range s.findings {
		if err := v.report(s.findings[i]); err != nil {
			return err
		}
	}
	return nil
}

// orphanChildren judges the sub-orchestrations whose parents were not seen to wait for
// them, in key order.
func (v *run) orphanChildren(ctx context.Context) error {
	claims := make([]claim, 0, len(v.relations.claims))
	for _, c := range v.relations.claims {
		claims = append(claims, c)
	}
	slices.SortFunc(claims, func(a, b claim) int { return schema.CompareKeys(a.key, b.key) })
	v.relations.claims = nil
	for _, c := range claims {
		s := &subject{key: c.key, id: schema.InstanceID(c.key)}
		if err := v.orphan(ctx, s, c.parent); err != nil {
			return err
		}
		for i := range s.findings {
			if err := v.report(s.findings[i]); err != nil {
				return err
			}
		}
		for _, u := range s.unsure {
			v.unknown(u.code, s.id, u.why)
		}
		if len(s.findings)+len(s.unsure) == 0 {
			v.passed(codeOrphanChild)
		}
	}
	return nil
}

// orphan judges one sub-orchestration that is open by its parent.
func (v *run) orphan(ctx context.Context, s *subject, parent string) error {
	if v.live {
		v.forget()
	}
	child, err := v.history(ctx, s.id)
	if err != nil {
		return err
	}
	if v.live && (child.Live.Status.Terminal() || child.Live.Parent == nil) {
		return nil // meanwhile
	}
	row, err := v.instance(ctx, parent)
	if err != nil {
		return err
	}
	h, err := v.history(ctx, parent)
	if err != nil {
		return err
	}
	f := Finding{
		Code: codeOrphanChild, InstanceID: s.id, ExecutionID: child.Live.ExecutionID,
		At: []Place{
			historyRow(s.key, schema.FormatSequence(child.Live.FirstSequence+1), "ParentInstance"), instanceRow(schema.EscapeKey(parent), ""),
		},
	}
	current := row == nil || !row.ExecutionID.Set || row.ExecutionID.Value == h.Live.ExecutionID
	switch {
	case row == nil && h.Rows == 0:
		f.Detail = fmt.Sprintf("its parent %s does not exist", parent)
	case h.Rows == 0:
		f.Detail = fmt.Sprintf("its parent %s has no history", parent)
	case h.Live.Status.Terminal() && current:
		f.Severity = Info
		f.Detail = fmt.Sprintf("its parent %s is %s", parent, h.Live.Status)
	case waitsFor(&h.Live, s.id) && current:
		return nil
	case !current:
		f.Detail = fmt.Sprintf("its parent %s was started again", parent)
	case v.messages.hiddenFor(parent) > 0 || len(v.messages.forInstance(parent)) > 0:
		s.unknown(codeOrphanChild, "a message of the parent is queued, which may have it store that it waits")
		return nil
	default:
		f.Detail = fmt.Sprintf("its parent %s does not wait for it", parent)
	}
	if v.moving() && f.Severity != Info {
		s.unknown(codeOrphanChild, whyMoving)
		return nil
	}
	if v.live {
		// The child may have ended between the two, and its parent gone on.
		v.forget()
		again, err := v.history(ctx, s.id)
		if err != nil || again.Live.ExecutionID != child.Live.ExecutionID || again.Live.Status.Terminal() {
			return err
		}
	}
	s.findings = append(s.findings, f)
	return nil
}

func waitsFor(parent *replay.State, child string) bool {
	return slices.ContainsFunc(parent.Open, func(o replay.Open) bool {
		return o.Kind == replay.OpenSubOrchestration && o.InstanceID == child
	})
}

// spelt notes an ID if another one could differ from it in case only. Of two such
// IDs the first in key order has a capital where they differ, at least in ASCII:
// the others need to be looked up only.
func (r *relations) spelt(id string) {
	capital, ascii := false, true
	for i := 0; i < len(id); i++ {
		capital = capital || id[i] >= 'A' && id[i] <= 'Z'
		ascii = ascii && id[i] < utf8.RuneSelf
	}
	if !capital && ascii && len(r.cases) == 0 {
		return
	}
	h := r.hash(fold(id))
	if _, ok := r.cases[h]; ok {
		if len(r.alike) < maxGroups {
			r.alike[h] = struct{}{}
		}
		return
	}
	if !capital && ascii {
		return
	}
	if len(r.cases) >= maxRelations {
		r.full = true
		return
	}
	r.cases[h] = struct{}{}
}

// fold returns an ID without its case, as the framework compares them in memory:
// character by character.
func fold(id string) string { return strings.Map(unicode.ToUpper, id) }

// family looks for children with two parents, circles of parents and IDs that
// differ in case only. Only if the hashes show any are the tables read again, to
// learn their names.
func (v *run) family(ctx context.Context) error {
	r := v.relations
	circles := r.circles()
	if r.full {
		why := fmt.Sprintf("the hub has more than %d sub-orchestrations or IDs with capitals", maxRelations)
		v.unknown(codeDuplicateSuborch, "", why)
		v.unknown(codeCaseCollision, "", why)
		v.retract(codeDuplicateSuborch)
		v.retract(codeCaseCollision)
	}
	if v.wants(codeDuplicateSuborch) && len(r.twice)+len(circles) > 0 {
		if err := v.children(ctx, circles); err != nil {
			return err
		}
	}
	if v.wants(codeCaseCollision) && len(r.alike) > 0 {
		return v.collisions(ctx)
	}
	return nil
}

// retract takes back that an instance has passed a check: it was counted when it
// was looked at by itself.
func (v *run) retract(code string) {
	if o := v.counts[code]; o != nil && o.OK > 0 {
		o.OK--
	}
}

// circles returns the instances that are their own ancestors, by hash. An
// instance has at most one parent, so that following them from each, and never
// twice, finds every circle.
func (r *relations) circles() map[uint64]struct{} {
	found := make(map[uint64]struct{})
	state := make(map[uint64]byte) // 1: on the way, 2: done
	for start := range r.parents {
		var way []uint64
		at, ok := start, true
		for ok && state[at] == 0 {
			state[at] = 1
			way = append(way, at)
			at, ok = r.parents[at]
		}
		if ok && state[at] == 1 {
			for member := at; ; {
				found[member] = struct{}{}
				if member = r.parents[member]; member == at {
					break
				}
			}
		}
		for _, h := range way {
			state[h] = 2
		}
	}
	return found
}
