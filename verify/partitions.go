package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// How the owners of control queues are kept: in the Partitions table, or in lease
// blobs of one of two kinds. Only the one that the app is set to counts; others
// are left from before.
//
// Source: durabletask 2.9.1, TablePartitionManager.cs:264-292,
// SafePartitionManager.cs:50-73, LegacyPartitionManager.cs:40-45.
type manager string

const (
	tableManager  manager = "table Partitions"
	safeManager   manager = "lease blobs ownership and intent"
	legacyManager manager = "lease blobs default"
)

// Folders of lease blobs.
const (
	leaseDefault   = "default"
	leaseIntent    = "intent"
	leaseOwnership = "ownership"
)

const (
	taskHubJSON = "taskhub.json"
	// maxLeaseBytes is far beyond what a lease blob has.
	maxLeaseBytes = 64 << 10
	// maxLeases bounds the rows and blobs that are looked at: a hub has 16
	// partitions at most.
	maxLeases = 1000

	// clockSkew is how far the clocks of workers, service and us may differ.
	clockSkew = time.Minute
	// handOver is how long the handing over of a partition may take: what is in
	// work is brought to an end first.
	handOver = 5 * time.Minute
)

// lease tells who owns a control queue.
type lease struct {
	Queue     string
	Owner     string       // empty: none
	NextOwner string       // a worker that is taking it over
	NextSince schema.Ticks // since when, if a blob tells it
	// Held says that the owner is alive, Ended that it is not. Neither: it cannot
	// be told, or there is none.
	Held, Ended bool
	EndedAt     schema.Ticks // of a row
	Draining    bool
	Unreadable  bool // the owner cannot be told
	StoredAt    schema.Ticks
	At          []Place
}

// partitions is what storage tells of the owners of control queues.
type partitions struct {
	names hub.Names
	// at is when it was read: leases are judged by it. 0 if unknown.
	at     schema.Ticks
	table  bool // the table exists
	rows   []lease
	blobs  map[string][]lease // by folder
	info   *schema.TaskHubInfo
	leases bool // the lease container exists
	// problems are rows and blobs that cannot be read.
	problems []partitionProblem
}

type partitionProblem struct {
	at  Place
	err error
}

// loadPartitions reads the Partitions table and the lease container.
func (v *run) loadPartitions(ctx context.Context) (*partitions, error) {
	p := &partitions{names: v.info.Names, at: v.now, blobs: make(map[string][]lease)}
	for _, t := range v.info.Tables {
		if t.Table == hub.Partitions {
			p.table = true
			p.at = cmp.Or(t.Finished, p.at)
		}
	}
	for row, err := range v.r.Rows(ctx, hub.Partitions, hub.Keys{}) {
		if err != nil {
			return nil, fmt.Errorf("read partitions: %w", err)
		}
		if len(p.rows) == maxLeases {
			break
		}
		p.addRow(&row)
	}
	containers, err := v.r.Containers(ctx)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	p.leases = slices.ContainsFunc(containers, func(c hub.Container) bool { return c.Name == p.names.Leases() })
	if !p.leases {
		return p, nil
	}
	n := 0
	for b, err := range v.r.Blobs(ctx, p.names.Leases(), "") {
		if err != nil {
			return nil, fmt.Errorf("list blobs of %s: %w", p.names.Leases(), err)
		}
		if n++; n > maxLeases {
			break
		}
		if err := v.addLease(ctx, p, &b); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (p *partitions) addRow(row *schema.Row) {
	at := Place{Table: hub.Partitions.String(), PartitionKey: strings.Clone(row.PartitionKey), RowKey: strings.Clone(row.RowKey)}
	l, err := schema.DecodePartitionLease(row)
	if err != nil {
		p.problems = append(p.problems, partitionProblem{at, err})
	}
	r := lease{
		Queue: at.RowKey, Owner: strings.Clone(l.CurrentOwner.Value), NextOwner: strings.Clone(l.NextOwner.Value),
		Draining: l.IsDraining.Value, EndedAt: l.ExpiresAt.Value, StoredAt: max(l.StoredAt, l.LastRenewal.Value), At: []Place{at},
	}
	r.Unreadable = err != nil
	if r.Owner != "" && p.at != 0 && r.EndedAt != 0 {
		r.Held = r.EndedAt > p.at
		// Within what clocks may differ it is neither.
		r.Ended = p.at.Time().Sub(r.EndedAt.Time()) >= clockSkew
	}
	p.rows = append(p.rows, r)
}

// addLease adds what a blob of the lease container tells. Renewing a lease does
// not write the blob: whether it is held is the blob's lease state.
//
// Source: durabletask 2.9.1, BlobPartitionLeaseManager.cs:30, 89-205.
func (v *run) addLease(ctx context.Context, p *partitions, b *hub.Blob) error {
	kind, queue, ok := strings.Cut(b.Name, "/")
	if b.Name != taskHubJSON && (!ok || kind != leaseDefault && kind != leaseIntent && kind != leaseOwnership) {
		return nil
	}
	at := Place{Container: b.Container, Blob: b.Name}
	content, err := v.r.ReadBlob(ctx, b.Container, b.Name, maxLeaseBytes)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, hub.ErrNotFound):
		return nil // deleted since
	case err != nil:
		p.problems = append(p.problems, partitionProblem{at, err})
		return nil
	}
	if b.Name == taskHubJSON {
		info, err := schema.DecodeTaskHubInfo(content)
		if err != nil {
			p.problems = append(p.problems, partitionProblem{at, err})
			return nil
		}
		p.info = &info
		return nil
	}
	l, err := schema.DecodeBlobLease(content)
	if err != nil {
		p.problems = append(p.problems, partitionProblem{at, err})
	}
	r := lease{Queue: queue, Unreadable: err != nil, StoredAt: b.LastModified, At: []Place{at}}
	if l.Owner != nil {
		r.Owner = *l.Owner
	}
	r.Held = r.Owner != "" && b.LeaseState == "leased"
	r.Ended = r.Owner != "" && b.LeaseState != "leased" && b.LeaseState != ""
	p.blobs[kind] = append(p.blobs[kind], r)
	return nil
}

// managers lists those of which there are leases, the one in use first: the one
// whose leases are held, or else were written last.
func (p *partitions) managers() []manager {
	type candidate struct {
		manager manager
		held    bool
		last    schema.Ticks
	}
	var all []candidate
	for _, m := range [...]manager{tableManager, safeManager, legacyManager} {
		leases := p.of(m)
		if len(leases) == 0 {
			continue
		}
		c := candidate{manager: m}
		for i := range leases {
			c.held = c.held || leases[i].Held
			c.last = max(c.last, leases[i].StoredAt)
		}
		all = append(all, c)
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		if a.held != b.held {
			if a.held {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.last, a.last)
	})
	var managers []manager
	for _, c := range all {
		managers = append(managers, c.manager)
	}
	return managers
}

// of returns the leases of a manager by queue. The safe one has two blobs for
// each: the owner takes the intent first, and ownership when the one before it
// has given that up.
func (p *partitions) of(m manager) []lease {
	switch m {
	case tableManager:
		return p.rows
	case legacyManager:
		return p.blobs[leaseDefault]
	}
	leases := slices.Clone(p.blobs[leaseOwnership])
	for _, intent := range p.blobs[leaseIntent] {
		i := slices.IndexFunc(leases, func(l lease) bool { return l.Queue == intent.Queue })
		if i < 0 {
			leases = append(leases, lease{
				Queue: intent.Queue, NextOwner: intent.Owner, NextSince: intent.StoredAt, StoredAt: intent.StoredAt, Unreadable: intent.Unreadable, At: intent.At,
			})
			continue
		}
		leases[i].At = slices.Concat(leases[i].At, intent.At)
		leases[i].Unreadable = leases[i].Unreadable || intent.Unreadable
		if intent.Held && intent.Owner != leases[i].Owner {
			leases[i].NextOwner, leases[i].NextSince = intent.Owner, intent.StoredAt
		}
		leases[i].StoredAt = max(leases[i].StoredAt, intent.StoredAt)
	}
	return leases
}

// running reports whether a worker holds a lease, or may do so.
func (p *partitions) running() bool {
	for _, m := range p.managers() {
		for _, l := range p.of(m) {
			if l.Held || l.Owner != "" && !l.Ended {
				return true
			}
		}
	}
	return false
}

// partitionChecks looks at who owns the control queues.
func (v *run) partitionChecks(ctx context.Context) error {
	outcomes := v.judgePartitions(v.messages)
	if v.live && slices.ContainsFunc(outcomes, func(o outcome) bool { return o.severe() }) {
		// A partition may be between two owners: it is looked at again.
		m, err := v.peek(ctx)
		if err != nil {
			return err
		}
		outcomes = v.judgePartitions(m)
	}
	for i := range outcomes {
		if err := v.commit(&outcomes[i]); err != nil {
			return err
		}
	}
	return nil
}

func (v *run) judgePartitions(m *messageIndex) []outcome {
	p := m.partitions
	var outcomes []outcome
	for _, problem := range p.problems {
		if problem.at.Table == "" {
			continue // see hubChecks
		}
		outcomes = append(outcomes, violated(Finding{
			Code: codeSchemaUnknown, Severity: Error, At: []Place{problem.at},
			Detail: "the framework cannot read the row of the partition: " + problem.err.Error(),
		}))
	}
	managers := p.managers()
	if len(managers) == 0 {
		return outcomes
	}
	leases := p.of(managers[0])
	alive := slices.ContainsFunc(leases, func(l lease) bool { return l.Held })
	for i := range leases {
		l := &leases[i]
		outcomes = append(outcomes, p.unowned(l, alive), p.stuck(l, alive, m.queue(l.Queue)))
	}
	return outcomes
}

func (p *partitions) unowned(l *lease, alive bool) outcome {
	switch {
	case l.Unreadable:
		return unknown(codePartitionUnowned, l.Queue, "its lease cannot be read")
	case l.Owner != "" || l.NextOwner != "":
		return passed(codePartitionUnowned)
	case !alive:
		return violated(Finding{
			Code: codePartitionUnowned, At: l.At, Detail: fmt.Sprintf("no worker owns partition %s, and none is running", l.Queue),
		})
	}
	f := Finding{
		Code: codePartitionUnowned, Severity: Warning, At: l.At,
		Detail: fmt.Sprintf("no worker owns partition %s, though workers own others", l.Queue),
	}
	if l.StoredAt != 0 && p.at != 0 && p.at.Time().Sub(l.StoredAt.Time()) < clockSkew {
		f.Severity, f.Heals = Info, "it was given up less than a minute before: workers look for partitions every ten seconds"
	}
	return violated(f)
}

// stuck judges whether the messages of a partition wait in vain. What cannot be
// told from one look is how long a hand-over has been going on; a message that
// has been waiting in sight all the while tells it.
//
// Source: durabletask 2.9.1, TablePartitionManager.cs:349-445, 464-516.
func (p *partitions) stuck(l *lease, alive bool, q *queueState) outcome {
	waiting := q != nil && q.ApproximateCount > 0
	waitsLong := q != nil && q.oldest != 0 && p.at != 0 && p.at.Time().Sub(q.oldest.Time()) >= handOver
	f := Finding{Code: codePartitionStuck, At: l.At}
	switch {
	case l.Unreadable:
		return unknown(codePartitionStuck, l.Queue, "its lease cannot be read")
	case l.Ended:
		f.Detail = fmt.Sprintf("partition %s belongs to worker %q, whose lease has ended", l.Queue, l.Owner)
		if l.EndedAt != 0 {
			f.Detail += " at " + l.EndedAt.String()
		}
		switch {
		case alive:
			f.Detail += "; other workers are running"
		case waiting:
			f.Detail += fmt.Sprintf("; no worker is running, and messages wait: %d", q.ApproximateCount)
		default:
			f.Severity = Info
			f.Detail += "; no worker is running, and nothing waits"
		}
		return violated(f)
	case l.Owner != "" && !l.Held:
		return unknown(codePartitionStuck, l.Queue, "whether the lease is held cannot be told, or it has just ended")
	case l.Owner == "" && l.NextOwner != "":
		since := cmp.Or(l.NextSince, max(l.StoredAt, l.EndedAt))
		if p.at == 0 || since == 0 {
			return unknown(codePartitionStuck, l.Queue, "it is being handed over; since when is unknown")
		}
		if p.at.Time().Sub(since.Time()) < handOver || !alive && !waiting {
			return passed(codePartitionStuck)
		}
		f.Detail = fmt.Sprintf("worker %q is to take over partition %s and does not, since %s", l.NextOwner, l.Queue, since)
		return violated(f)
	case l.Draining || l.NextOwner != "":
		if l.NextSince != 0 && p.at != 0 {
			if p.at.Time().Sub(l.NextSince.Time()) < handOver {
				return passed(codePartitionStuck)
			}
			f.Detail = fmt.Sprintf("worker %q is to take over partition %s from %q and does not, since %s", l.NextOwner, l.Queue, l.Owner, l.NextSince)
			return violated(f)
		}
		if !waitsLong {
			return unknown(codePartitionStuck, l.Queue, "it is being handed over; since when is unknown")
		}
		f.Detail = fmt.Sprintf("worker %q is giving up partition %s and does not come to an end: a message has been waiting since %s",
			l.Owner, l.Queue, q.oldest)
		return violated(f)
	}
	return passed(codePartitionStuck)
}

// queueNumber returns the number of a control queue of the hub.
func queueNumber(names hub.Names, queue string) (n int, ok bool) {
	digits, ok := strings.CutPrefix(queue, names.ControlQueuePrefix())
	if !ok {
		return 0, false
	}
	n, err := strconv.Atoi(digits)
	return n, err == nil && n >= 0 && names.ControlQueue(n) == queue
}
