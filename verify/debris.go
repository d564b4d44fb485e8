package verify

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
)

// numbers is the set of partitions of which one part of a hub has something.
type numbers struct {
	// of says which part, in words.
	of string
	// have are the partitions, sorted. For taskhub.json, which gives just their
	// number, all of them.
	have []int
	// foreign are entries that are not for a control queue of the hub.
	foreign int
	at      Place
}

// count returns the number of partitions if have is 0, 1, 2 and so on.
func (n *numbers) count() (count int, ok bool) {
	for i, partition := range n.have {
		if partition != i {
			return 0, false
		}
	}
	return len(n.have), len(n.have) > 0
}

func (n *numbers) String() string {
	var s string
	if count, ok := n.count(); ok {
		s = strconv.Itoa(count)
	} else {
		var list []string
		for _, partition := range n.have {
			list = append(list, fmt.Sprintf("%02d", partition))
		}
		s = strings.Join(list, ", ") + " only"
	}
	if n.foreign > 0 {
		s += fmt.Sprintf(" and %d of another hub", n.foreign)
	}
	return n.of + ": " + s
}

func (p *partitions) leaseNumbers(of string, leases []lease, at Place) numbers {
	n := numbers{of: of, at: at}
	for i := range leases {
		if partition, ok := queueNumber(p.names, leases[i].Queue); ok {
			n.have = append(n.have, partition)
		} else {
			n.foreign++
		}
	}
	slices.Sort(n.have)
	n.have = slices.Compact(n.have)
	return n
}

// numbers lists what the parts of the hub say of its partitions, but for the
// queues. A part without an entry says nothing.
func (p *partitions) numbers() []numbers {
	var all []numbers
	if len(p.rows) > 0 {
		all = append(all, p.leaseNumbers("rows of table Partitions", p.rows, Place{Table: hub.Partitions.String()}))
	}
	if p.info != nil && p.info.PartitionCount > 0 && p.info.PartitionCount <= maxLeases {
		n := numbers{of: taskHubJSON, at: Place{Container: p.names.Leases(), Blob: taskHubJSON}}
		for i := range p.info.PartitionCount {
			n.have = append(n.have, i)
		}
		all = append(all, n)
	}
	for _, kind := range [...]string{leaseDefault, leaseIntent, leaseOwnership} {
		if leases := p.blobs[kind]; len(leases) > 0 {
			all = append(all, p.leaseNumbers("lease blobs "+kind, leases, Place{Container: p.names.Leases(), Blob: kind + "/"}))
		}
	}
	return all
}

// claims lists every number of partitions that a part of the hub gives, that of
// the hub first.
func (p *partitions) claims(count int, queues []int) []int {
	var all []int
	claim := func(n int) {
		if n > 0 && n <= hub.MaxPartitions && !slices.Contains(all, n) {
			all = append(all, n)
		}
	}
	claim(count)
	for _, n := range append(p.numbers(), queueNumbers(queues)) {
		if c, ok := n.count(); ok {
			claim(c)
		}
	}
	return all
}

func queueNumbers(queues []int) numbers {
	n := numbers{of: "control queues", have: slices.Clone(queues)}
	slices.Sort(n.have)
	return n
}

// hubChecks looks at the parts of the hub as a whole.
func (v *run) hubChecks(ctx context.Context) error {
	outcomes, err := v.judgeHub(ctx, v.info, v.messages)
	if err != nil {
		return err
	}
	if v.live && slices.ContainsFunc(outcomes, func(o outcome) bool { return o.finding != nil }) {
		// The hub may be in the making.
		info, err := v.r.Info(ctx)
		if err != nil {
			return err
		}
		m, err := v.peek(ctx)
		if err != nil {
			return err
		}
		if outcomes, err = v.judgeHub(ctx, info, m); err != nil {
			return err
		}
	}
	for i := range outcomes {
		if err := v.commit(&outcomes[i]); err != nil {
			return err
		}
	}
	return nil
}

func (v *run) judgeHub(ctx context.Context, info hub.Info, m *messageIndex) ([]outcome, error) {
	containers, err := v.r.Containers(ctx)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	outcomes := []outcome{judgeCount(m)}
	debris := judgeDebris(info, containers, m)
	if len(debris) == 0 {
		debris = append(debris, passed(codeHubDebris))
	}
	return append(outcomes, debris...), nil
}

// judgeCount compares what the parts of the hub say of the number of partitions.
//
// Control queues are made when a message is sent to them, and stay when the
// number shrinks. A queue that is missing is therefore debris and no
// disagreement; and so is one far beyond the number, as long as it is empty.
func judgeCount(m *messageIndex) outcome {
	parts := m.partitions.numbers()
	queues := queueNumbers(m.queueNumbers())
	want := m.count
	if len(parts) == 0 || want <= 0 {
		return passed(codePartitionCountSkew) // queues alone do not disagree
	}
	var differ, empty bool
	for i := range parts {
		if count, ok := parts[i].count(); !ok || count != want || parts[i].foreign > 0 {
			differ = true
		}
	}
	next := want
	for _, partition := range queues.have {
		switch {
		case partition < want:
		case m.queue(m.names.ControlQueue(partition)).ApproximateCount > 0:
			differ = true
		case partition == next: // as if there had been one more
			empty = true
			next++
		}
	}
	if !differ && !empty {
		return passed(codePartitionCountSkew)
	}
	f := Finding{Code: codePartitionCountSkew}
	var texts []string
	for i := range parts {
		texts = append(texts, parts[i].String())
		f.At = append(f.At, parts[i].at)
	}
	texts = append(texts, queues.String())
	for _, partition := range queues.have {
		if partition >= want {
			f.At = append(f.At, Place{Queue: m.names.ControlQueue(partition)})
		}
	}
	f.Detail = "the parts of the hub do not agree on its partitions: " + strings.Join(texts, "; ")
	if !differ {
		f.Heals = "the queues beyond the number are empty: nothing waits in them"
	}
	return violated(f)
}

// judgeDebris lists what every hub has that ever ran and this one does not, and
// what nothing uses.
//
// Source: durabletask 2.9.1, AzureStorageOrchestrationService.cs:348-388, 412-444.
func judgeDebris(info hub.Info, containers []hub.Container, m *messageIndex) []outcome {
	var found []outcome
	debris := func(severity Severity, at Place, format string, args ...any) {
		found = append(found, violated(Finding{Code: codeHubDebris, Severity: severity, At: []Place{at}, Detail: fmt.Sprintf(format, args...)}))
	}
	names, p := info.Names, m.partitions
	hasContainer := func(name string) bool {
		return slices.ContainsFunc(containers, func(c hub.Container) bool { return c.Name == name })
	}

	for _, table := range [...]hub.Table{hub.History, hub.Instances} {
		if slices.ContainsFunc(info.Tables, func(t hub.TableInfo) bool { return t.Table == table }) {
			continue
		}
		if why := info.WhyUnreadable("table " + names.Table(table)); why != "" {
			found = append(found, unknown(codeHubDebris, names.Table(table), "it could not be read: "+why))
			continue
		}
		debris(Warning, Place{Table: table.String()}, "the hub has no table %s", names.Table(table))
	}
	if !p.table && !p.leases {
		debris(Warning, Place{Table: hub.Partitions.String()}, "the hub has neither a table %s nor a container %s: nobody can own its partitions",
			names.Table(hub.Partitions), names.Leases())
	}
	if m.queue(names.WorkItemQueue()) == nil {
		debris(Warning, Place{Queue: names.WorkItemQueue()}, "the hub has no queue for activities, %s", names.WorkItemQueue())
	}
	queues := queueNumbers(m.queueNumbers())
	want := m.count
	if len(p.numbers()) == 0 {
		want = 1 // queues can only tell that there is a gap
		if n := len(queues.have); n > 0 {
			want = queues.have[n-1] + 1
		}
	}
	for partition := range min(want, hub.MaxPartitions) {
		if !slices.Contains(queues.have, partition) {
			debris(Warning, Place{Queue: names.ControlQueue(partition)}, "partition %d has no queue %s", partition, names.ControlQueue(partition))
		}
	}
	if !hasContainer(names.AppLease()) {
		debris(Info, Place{Container: names.AppLease()}, "the hub has no container %s, which apps make since version 1.8.0", names.AppLease())
	}

	for _, problem := range p.problems {
		if problem.at.Container != "" {
			debris(Warning, problem.at, "a blob of the partition manager cannot be read: %v", problem.err)
		}
	}
	// Queues that go on from the number are a matter of partition-count-skew.
	next := want
	for _, partition := range queues.have {
		switch {
		case partition < want:
		case partition == next:
			next++
		case m.queue(names.ControlQueue(partition)).ApproximateCount == 0:
			debris(Info, Place{Queue: names.ControlQueue(partition)}, "the queue %s is beyond the %d partitions of the hub, and empty",
				names.ControlQueue(partition), want)
		}
	}
	managers := p.managers()
	if len(managers) == 0 && p.table && p.leases {
		debris(Info, Place{Container: names.Leases()}, "the container %s holds no lease", names.Leases())
	}
	for i, old := range managers {
		if i == 0 {
			if old == tableManager && len(managers) == 1 && p.leases {
				debris(Info, Place{Container: names.Leases()}, "the container %s is left from another partition manager: the %s is in use", names.Leases(), old)
			}
			continue
		}
		leases := p.of(old)
		if slices.ContainsFunc(leases, func(l lease) bool { return l.Held }) {
			debris(Warning, leases[0].At[0], "leases of two partition managers are held at once, %s and %s: two workers may own one partition", managers[0], old)
			continue
		}
		debris(Info, leases[0].At[0], "the %s are left from another partition manager: %d leases, which nobody holds", old, len(leases))
	}
	return found
}
