package manage

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
)

// Artifacts is what there is of a hub, by name, without its content.
type Artifacts struct {
	Names hub.Names
	// PartitionCount is 0 if nothing in storage tells it.
	PartitionCount     int
	PartitionCountFrom hub.Origin
	// Tables, Queues and Containers exist; each is sorted.
	Tables, Queues, Containers []string
	// OtherCase lists hubs of the account whose names differ only in case: they
	// share queues and containers, and disturb each other.
	OtherCase []string
}

// ArtifactsOf lists what there is of a hub. It reads no more than names, and
// returns [hub.ErrNotFound] if there is nothing.
func ArtifactsOf(ctx context.Context, r hub.Reader) (*Artifacts, error) {
	info, err := r.Info(ctx)
	if err != nil {
		return nil, err
	}
	a := &Artifacts{Names: info.Names, PartitionCount: info.PartitionCount, PartitionCountFrom: info.PartitionCountFrom}
	for _, t := range info.Tables {
		a.Tables = append(a.Tables, t.Name)
	}
	queues, err := r.Queues(ctx)
	if err != nil {
		return nil, fmt.Errorf("list queues: %w", err)
	}
	for _, q := range queues {
		a.Queues = append(a.Queues, q.Name)
	}
	containers, err := r.Containers(ctx)
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	for _, c := range containers {
		a.Containers = append(a.Containers, c.Name)
	}
	slices.Sort(a.Tables)
	return a, nil
}

// Missing lists what every hub has that ever ran, and this one does not: it was
// deleted in part, or its tracking store is in another account. A container for
// large messages is not missed, because it comes with the first of them.
func (a *Artifacts) Missing() []string {
	var missing []string
	need := func(have []string, names ...string) {
		for _, name := range names {
			if slices.ContainsFunc(have, func(s string) bool { return strings.EqualFold(s, name) }) {
				return
			}
		}
		if len(names) > 0 {
			missing = append(missing, strings.Join(names, " or "))
		}
	}
	need(a.Tables, a.Names.Table(hub.History))
	need(a.Tables, a.Names.Table(hub.Instances))
	need(slices.Concat(a.Tables, a.Containers), a.Names.Table(hub.Partitions), a.Names.Leases())
	need(a.Queues, a.Names.WorkItemQueue())
	for i := range min(max(a.PartitionCount, 1), hub.MaxPartitions) {
		need(a.Queues, a.Names.ControlQueue(i))
	}
	need(a.Containers, a.Names.AppLease())
	return missing
}
