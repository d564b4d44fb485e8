package verify

import (
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"
)

// expectation is what must be among the hidden messages of a set of queues.
type expectation struct {
	queues []string
	n      int64
	what   []string
	at     []Place
}

// expect notes that a message must be hidden in one of these queues, if it is not
// lost.
func (v *run) expect(what string, at Place, queues ...string) {
	if v.live || v.recheck && !v.childrenOnly || len(queues) == 0 {
		return
	}
	slices.Sort(queues)
	queues = slices.Compact(queues)
	key := strings.Join(queues, " ")
	e := v.expected[key]
	if e == nil {
		e = &expectation{queues: queues}
		v.expected[key] = e
	}
	if e.n++; len(e.at) < MaxPlaces {
		e.what, e.at = append(e.what, what), append(e.at, at)
	}
}

// countHidden compares how many messages must be hidden with how many there are.
// Each piece of work for itself may have one; together they may need more.
func (v *run) countHidden() error {
	if v.moving() {
		return nil
	}
	for _, group := range v.connected() {
		queues, lost := v.shortage(group)
		if lost <= 0 {
			continue
		}
		var what []string
		var at, needs []Place
		var must, hidden int64
		for _, q := range queues {
			at = append(at, Place{Queue: q})
			hidden += v.messages.hidden(q)
		}
		for _, e := range group {
			if !slices.ContainsFunc(e.queues, func(q string) bool { return !slices.Contains(queues, q) }) {
				must += e.n
				what, needs = append(what, e.what...), append(needs, e.at...)
			}
		}
		if more := must - MaxPlaces; more > 0 {
			what = append(what[:min(len(what), MaxPlaces)], fmt.Sprintf("%d more", more))
		}
		err := v.report(Finding{
			Code: codeLostWork,
			Detail: fmt.Sprintf("%d messages must be hidden in %s and %d are, so that at least %d are lost of: %s",
				must, strings.Join(queues, ", "), hidden, lost, strings.Join(what, ", ")),
			At: append(at, needs...),
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// connected divides what is expected into groups that have no queue in common,
// in the order of their first queues.
func (v *run) connected() [][]*expectation {
	var groups [][]*expectation
	for _, key := range slices.Sorted(maps.Keys(v.expected)) {
		joined := []*expectation{v.expected[key]}
		groups = slices.DeleteFunc(groups, func(g []*expectation) bool {
			touches := slices.ContainsFunc(g, func(e *expectation) bool {
				return slices.ContainsFunc(e.queues, func(q string) bool { return slices.Contains(v.expected[key].queues, q) })
			})
			if touches {
				joined = append(g, joined...)
			}
			return touches
		})
		groups = append(groups, joined)
	}
	return groups
}

// maxGroup is the number of queues of which every choice is tried. A hub has 17.
const maxGroup = 17

// shortage returns how many messages are lost at least, and the fewest queues
// that show it. What can be in no other queue than some cannot be more than these
// hide; by the theorem of Hall, in the form of Ore, the choice of queues with the
// greatest excess has exactly as many too few.
func (v *run) shortage(group []*expectation) (queues []string, lost int64) {
	var all []string
	for _, e := range group {
		all = append(all, e.queues...)
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if len(all) > maxGroup {
		return nil, 0
	}
	// excess[m] is what needs only queues of the set m, first what needs exactly
	// these; then the sums over all parts of m.
	excess := make([]int64, 1<<len(all))
	for _, e := range group {
		m := 0
		for _, q := range e.queues {
			m |= 1 << slices.Index(all, q)
		}
		excess[m] += e.n
	}
	for i := range all {
		for m := range excess {
			if m>>i&1 == 1 {
				excess[m] += excess[m&^(1<<i)]
			}
		}
	}
	hidden := make([]int64, len(all))
	for i, q := range all {
		hidden[i] = v.messages.hidden(q)
	}
	best := 0
	for m := range excess {
		for i := range all {
			if m>>i&1 == 1 {
				excess[m] -= hidden[i]
			}
		}
		if excess[m] > excess[best] || excess[m] == excess[best] && bits.OnesCount(uint(m)) < bits.OnesCount(uint(best)) {
			best = m
		}
	}
	for i, q := range all {
		if best>>i&1 == 1 {
			queues = append(queues, q)
		}
	}
	return queues, excess[best]
}
