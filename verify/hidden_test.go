package verify

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// The number of messages that are lost is that of a best assignment of messages to
// what the queues hide, which another algorithm finds: by paths that make room.
func TestShortage(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	short := 0
	for range 3000 {
		queues := 1 + rnd.IntN(6)
		m := &messageIndex{}
		capacity := make([]int, queues)
		for q := range queues {
			capacity[q] = rnd.IntN(4)
			m.queues = append(m.queues, queueState{Queue: hub.Queue{Name: fmt.Sprint("q", q), ApproximateCount: int64(capacity[q])}})
		}
		v := &run{messages: m, expected: map[string]*expectation{}}
		var wants [][]int
		for range rnd.IntN(9) {
			var want []int
			var names []string
			for q := range queues {
				if rnd.IntN(3) == 0 {
					want, names = append(want, q), append(names, fmt.Sprint("q", q))
				}
			}
			if len(want) > 0 {
				wants = append(wants, want)
				v.expect("x", Place{}, names...)
			}
		}
		lost := int64(0)
		for _, group := range v.connected() {
			_, n := v.shortage(group)
			lost += n
		}
		if want := int64(len(wants) - assign(wants, capacity)); lost != want {
			t.Fatalf("%v in queues that hide %v: %d lost, want %d", wants, capacity, lost, want)
		}
		if lost > 0 {
			short++
		}
	}
	if short < 500 {
		t.Errorf("only %d cases with something lost", short)
	}
}

// assign returns how many of wants get a place in a queue that they name.
func assign(wants [][]int, capacity []int) int {
	in := make([][]int, len(capacity)) // which wants each queue holds
	var place func(w int, tried []bool) bool
	place = func(w int, tried []bool) bool {
		for _, q := range wants[w] {
			if tried[q] {
				continue
			}
			tried[q] = true
			if len(in[q]) < capacity[q] {
				in[q] = append(in[q], w)
				return true
			}
			for i, other := range in[q] {
				if place(other, tried) {
					in[q][i] = w
					return true
				}
			}
		}
		return false
	}
	n := 0
	for w := range wants {
		if place(w, make([]bool, len(capacity))) {
			n++
		}
	}
	return n
}

// Work that may be hidden, each piece for itself, is lost together.
func TestTogetherLost(t *testing.T) {
	ids := map[int]string{} // one of each partition
	for i := 0; len(ids) < 2; i++ {
		id := fmt.Sprint("i", i)
		ids[schema.Partition(id, cast().Content.PartitionCount)] = id
	}
	a, b := ids[0], ids[1]
	for _, tt := range []struct {
		name   string
		actors []*actor
		hide   func(m *testhub.Memory)
		want   []string
	}{
		{"two activities, one message", []*actor{begin(a, "", activity(0)), begin(b, "", activity(0))}, func(m *testhub.Memory) { hide(m, "", 1) }, []string{"error lost-work "}},
		{"two activities, two messages", []*actor{begin(a, "", activity(0)), begin(b, "", activity(0))}, func(m *testhub.Memory) { hide(m, "", 2) }, nil},
		{"two activities, a result", []*actor{begin(a, "", activity(0)), begin(b, "", activity(0))}, func(m *testhub.Memory) { hide(m, "", 1); hide(m, a, 1) }, nil},
		{"a timer and an activity", []*actor{begin(a, "", activity(0), timer(1, partitionsNow+seconds(60)))}, func(m *testhub.Memory) { hide(m, a, 1) }, []string{"error lost-work "}},
		{"a timer and a child", []*actor{begin(a, "", child(0, b), timer(1, partitionsNow+seconds(60)))}, func(m *testhub.Memory) { hide(m, a, 1) }, []string{"error lost-work "}},
		{"a timer and a child that starts", []*actor{begin(a, "", child(0, b), timer(1, partitionsNow+seconds(60)))}, func(m *testhub.Memory) { hide(m, a, 1); hide(m, b, 1) }, nil},
	} {
		m := cast(tt.actors...)
		tt.hide(m)
		got, _ := instanceFindings(t, m, Options{Checks: []string{codeLostWork}})
		if d := cmp.Diff(tt.want, slices.Clip(got)); d != "" {
			t.Errorf("%s: (-want +got)\n%s", tt.name, strings.TrimSpace(d))
		}
	}
}
