package manage

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Overview sums a hub up.
type Overview struct {
	Hub        hub.Info
	Instances  InstanceCounts
	Queues     []QueueCounts
	Containers []ContainerCounts
	// Partitions tells who owns the control queues, by name. A hub that has
	// run under several partition managers has leases of each.
	Partitions []Partition
	// AppLease is the ID of the app that holds the hub's app lease, or held it last.
	AppLease string
	// ObservedAt is when the owners were looked at: ages count to it.
	ObservedAt schema.Ticks
	// Running says whether an app was running then, and Evidence why, the
	// strongest reason first.
	Running  Running
	Evidence []string
	// Problems lists what could not be read, each with its place.
	Problems []error
}

// Running is what one look tells of whether an app runs a hub.
type Running string

// What one look tells.
const (
	// RunningYes means that a worker holds a lease. It may have died in the last
	// minute, before its lease ends.
	RunningYes Running = "yes"
	// RunningMaybe means that a lease has just ended, within what clocks differ.
	RunningMaybe Running = "maybe"
	// RunningNoSign means that nobody holds a lease. Clients that start instances
	// never do.
	RunningNoSign Running = "no-sign"
)

// clockSkew is how far the clocks of workers, service and us may differ.
const clockSkew = 60 * time.Second

// DescribeOptions tunes [Describe]. The zero value is for captures.
type DescribeOptions struct {
	// Now is the time for a live hub; nil leaves the age of leases unknown. A
	// capture has a time of its own.
	Now func() time.Time
	// CountHistory reads the whole History table of a live hub to count its rows;
	// a capture knows them.
	CountHistory bool
}

// InstanceCounts counts the rows of the Instances table.
type InstanceCounts struct {
	Orchestrations, Entities int64
	// Undecodable rows have a value of a wrong type. They are counted with the
	// others as far as they can be told.
	Undecodable int64
	ByStatus    map[schema.Status]int64 // orchestrations only
	ByFunction  []FunctionCounts        // orchestrations, then entities, by name
	// OtherFunctions counts the rows of functions beyond the first MaxFunctions.
	OtherFunctions int64
	// FirstCreated and LastUpdated are the extremes of these columns; zero
	// without rows.
	FirstCreated, LastUpdated schema.Ticks
}

// MaxFunctions is the number of function names that are counted one by one.
const MaxFunctions = 10_000

// FunctionCounts counts the instances of one function.
type FunctionCounts struct {
	Name     string // of the orchestrator function or entity; empty if not stored
	Entity   bool
	Total    int64
	ByStatus map[schema.Status]int64
}

// QueueCounts describes one queue.
type QueueCounts struct {
	hub.Queue
	// Seen is the number of messages that can be seen. Others are invisible:
	// timers, scheduled starts, work in progress.
	Seen int64
	// OldestInserted is the earliest time of a message that was seen; zero
	// without one.
	OldestInserted schema.Ticks
}

// ContainerCounts describes one blob container.
type ContainerCounts struct {
	hub.Container
	Blobs, SizeBytes int64
}

// Partition tells who owns a control queue.
type Partition struct {
	Queue string
	// Source is partitions-table, or the kind of lease blob: default, intent
	// or ownership.
	Source    string
	Owner     string // empty: unowned
	NextOwner string // a worker that is taking it over
	// OwnedSince, LastRenewal and ExpiresAt are zero where the lease does not
	// tell them. A lease blob has only OwnedSince: it is written when it is taken.
	OwnedSince, LastRenewal, ExpiresAt schema.Ticks
	Draining                           bool
	LeaseState                         string // of a lease blob: leased, available, …
}

// partitionsTable is Partition.Source of a row of the Partitions table.
const partitionsTable = string(hub.FromPartitionsTable)

// maxLeaseBytes is far beyond what a lease blob has.
const maxLeaseBytes = 64 << 10

// Describe sums a hub up. It reads the Instances and Partitions tables, the
// queues and the list of blobs once each, and no history unless it is told to.
// What it counts that way is in Overview.Hub.Tables, too.
//
// It returns [hub.ErrNotFound] if nothing of the hub exists.
func Describe(ctx context.Context, r hub.Reader, opts DescribeOptions) (*Overview, error) {
	info, err := r.Info(ctx)
	if err != nil {
		return nil, err
	}
	o := &Overview{Hub: info}
	if err := o.countInstances(ctx, r); err != nil {
		return nil, err
	}
	if err := o.countMessages(ctx, r); err != nil {
		return nil, err
	}
	if err := o.tablePartitions(ctx, r); err != nil {
		return nil, err
	}
	o.observed(opts)
	if opts.CountHistory {
		if err := o.countHistory(ctx, r); err != nil {
			return nil, err
		}
	}
	if err := o.countBlobs(ctx, r, func(string) bool { return true }); err != nil {
		return nil, err
	}
	slices.SortStableFunc(o.Partitions, func(a, b Partition) int { return strings.Compare(a.Queue, b.Queue) })
	o.judge()
	return o, nil
}

// Leases tells who owns the partitions and whether an app runs the hub: the parts
// of [Overview] from Partitions on. It takes a few requests, however large the hub
// is. Of opts only Now counts. It returns [hub.ErrNotFound] if nothing of the hub
// exists.
func Leases(ctx context.Context, r hub.Reader, opts DescribeOptions) (*Overview, error) {
	info, err := r.Info(ctx)
	if err != nil {
		return nil, err
	}
	o := &Overview{Hub: info}
	if err := o.tablePartitions(ctx, r); err != nil {
		return nil, err
	}
	o.observed(opts)
	names := info.Names
	leases := func(container string) bool { return container == names.Leases() || container == names.AppLease() }
	if err := o.countBlobs(ctx, r, leases); err != nil {
		return nil, err
	}
	slices.SortStableFunc(o.Partitions, func(a, b Partition) int { return strings.Compare(a.Queue, b.Queue) })
	o.judge()
	return o, nil
}

func (o *Overview) countInstances(ctx context.Context, r hub.Reader) error {
	type function struct {
		name   string
		entity bool
	}
	n := &o.Instances
	n.ByStatus = make(map[schema.Status]int64)
	byFunction := make(map[function]*FunctionCounts)
	for row, err := range r.Rows(ctx, hub.Instances, hub.Keys{}) {
		if err != nil {
			return fmt.Errorf("count instances: %w", err)
		}
		i, err := schema.DecodeInstance(&row)
		if err != nil {
			n.Undecodable++
		}
		key := function{name: i.Name.Value, entity: schema.IsEntity(i.ID())}
		if key.entity {
			n.Entities++
			if e, ok := schema.ParseEntityID(i.ID()); ok {
				key.name = e.Name // the column Name may hold the whole ID
			}
		} else {
			n.Orchestrations++
			n.ByStatus[i.Status()]++
		}
		if i.CreatedTime.Set && (n.FirstCreated == 0 || i.CreatedTime.Value < n.FirstCreated) {
			n.FirstCreated = i.CreatedTime.Value
		}
		n.LastUpdated = max(n.LastUpdated, i.LastUpdatedTime.Value)
		f := byFunction[key]
		if f == nil {
			if len(byFunction) == MaxFunctions {
				n.OtherFunctions++
				continue
			}
			key.name = strings.Clone(key.name)
			f = &FunctionCounts{Name: key.name, Entity: key.entity, ByStatus: make(map[schema.Status]int64)}
			byFunction[key] = f
		}
		f.Total++
		f.ByStatus[i.Status()]++
	}
	o.counted(hub.Instances, n.Orchestrations+n.Entities)
	keys := slices.SortedFunc(maps.Keys(byFunction), func(a, b function) int {
		switch {
		case a.entity == b.entity:
			return strings.Compare(a.name, b.name)
		case a.entity:
			return 1
		}
		return -1
	})
	for _, k := range keys {
		n.ByFunction = append(n.ByFunction, *byFunction[k])
	}
	return nil
}

func (o *Overview) countMessages(ctx context.Context, r hub.Reader) error {
	queues, err := r.Queues(ctx)
	if err != nil {
		return fmt.Errorf("list queues: %w", err)
	}
	for _, q := range queues {
		c := QueueCounts{Queue: q}
		for m, err := range r.Messages(ctx, q.Name) {
			if err != nil {
				return fmt.Errorf("read queue %s: %w", q.Name, err)
			}
			c.Seen++
			if m.InsertedAt != 0 && (c.OldestInserted == 0 || m.InsertedAt < c.OldestInserted) {
				c.OldestInserted = m.InsertedAt
			}
		}
		o.Queues = append(o.Queues, c)
	}
	return nil
}

func (o *Overview) tablePartitions(ctx context.Context, r hub.Reader) error {
	for row, err := range r.Rows(ctx, hub.Partitions, hub.Keys{}) {
		if err != nil {
			return fmt.Errorf("read partitions: %w", err)
		}
		p, err := schema.DecodePartitionLease(&row)
		if err != nil {
			o.Problems = append(o.Problems, fmt.Errorf("table %s: %w", hub.Partitions, err))
		}
		o.Partitions = append(o.Partitions, Partition{
			Queue: strings.Clone(p.Queue), Source: partitionsTable,
			Owner: strings.Clone(p.CurrentOwner.Value), NextOwner: strings.Clone(p.NextOwner.Value),
			OwnedSince: p.OwnedSince.Value, LastRenewal: p.LastRenewal.Value, ExpiresAt: p.ExpiresAt.Value,
			Draining: p.IsDraining.Value,
		})
	}
	o.counted(hub.Partitions, int64(len(o.Partitions)))
	return nil
}

func (o *Overview) countHistory(ctx context.Context, r hub.Reader) error {
	if !slices.ContainsFunc(o.Hub.Tables, func(t hub.TableInfo) bool { return t.Table == hub.History && t.Rows < 0 }) {
		return nil
	}
	rows := int64(0)
	for _, err := range r.Rows(ctx, hub.History, hub.Keys{}) {
		if err != nil {
			return fmt.Errorf("count history: %w", err)
		}
		rows++
	}
	o.counted(hub.History, rows)
	return nil
}

// counted fills in the number of rows of a table that did not tell it.
func (o *Overview) counted(table hub.Table, rows int64) {
	for i := range o.Hub.Tables {
		if t := &o.Hub.Tables[i]; t.Table == table && t.Rows < 0 {
			t.Rows = rows
		}
	}
}

// observed notes when the partitions were read.
func (o *Overview) observed(opts DescribeOptions) {
	o.ObservedAt = o.Hub.Finished
	for _, t := range o.Hub.Tables {
		if t.Table == hub.Partitions && t.Finished != 0 {
			o.ObservedAt = t.Finished
		}
	}
	if o.ObservedAt == 0 && opts.Now != nil {
		o.ObservedAt = schema.TicksOf(opts.Now())
	}
}

// judge decides whether an app is running. A hub may have leases of a partition
// manager that it no longer uses: any lease that is held counts, whichever kind.
//
// What one look cannot see, such as renewals going on, is left out.
//
// Source: durabletask 2.9.1, TablePartitionManager.cs:349-445, AppLeaseManager.cs:233-409;
// recorded in the hubs dtfx-2.9.1-live*.
func (o *Overview) judge() {
	held, ended := 0, 0
	for _, p := range o.Partitions {
		switch {
		case p.Source != partitionsTable:
			if p.LeaseState == "leased" {
				held++
			}
		case p.Owner == "" || p.ExpiresAt == 0 || o.ObservedAt == 0:
		case p.ExpiresAt > o.ObservedAt:
			held++
		case o.ObservedAt.Time().Sub(p.ExpiresAt.Time()) < clockSkew:
			ended++
		}
	}
	o.Running = RunningNoSign
	if ended > 0 {
		o.Running = RunningMaybe
		o.Evidence = append(o.Evidence, fmt.Sprintf("leases of partitions that ended less than %d s before: %d", clockSkew/time.Second, ended))
	}
	for _, c := range o.Containers {
		if c.Name == o.Hub.Names.AppLease() && c.LeaseState == "leased" {
			o.Running = RunningYes
			o.Evidence = slices.Insert(o.Evidence, 0, "the app lease is held")
		}
	}
	if held > 0 {
		o.Running = RunningYes
		o.Evidence = slices.Insert(o.Evidence, 0, fmt.Sprintf("leases of partitions held: %d", held))
	}
}

// Age returns how long before o.ObservedAt t was; ok is false if either is
// unknown. It is negative for a time in the future.
func (o *Overview) Age(t schema.Ticks) (age time.Duration, ok bool) {
	if t == 0 || o.ObservedAt == 0 {
		return 0, false
	}
	return o.ObservedAt.Time().Sub(t.Time()), true
}

// countBlobs counts the blobs of the containers that are wanted, and reads the
// leases among them.
func (o *Overview) countBlobs(ctx context.Context, r hub.Reader, wanted func(container string) bool) error {
	containers, err := r.Containers(ctx)
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	names := o.Hub.Names
	for _, c := range containers {
		if !wanted(c.Name) {
			continue
		}
		counts := ContainerCounts{Container: c}
		for b, err := range r.Blobs(ctx, c.Name, "") {
			if err != nil {
				return fmt.Errorf("list blobs of %s: %w", c.Name, err)
			}
			counts.Blobs++
			counts.SizeBytes += b.SizeBytes
			switch c.Name {
			case names.Leases():
				err = o.leaseBlob(ctx, r, b)
			case names.AppLease():
				err = o.appLease(ctx, r, b)
			}
			if err != nil {
				if ctx.Err() != nil {
					return context.Cause(ctx)
				}
				o.Problems = append(o.Problems, fmt.Errorf("blob %s/%s: %w", b.Container, b.Name, err))
			}
		}
		o.Containers = append(o.Containers, counts)
	}
	return nil
}

// leaseBlob adds the partition of a lease blob.
//
// Source: durabletask 2.9.1, BlobPartitionLeaseManager.cs:30, 89-108,
// SafePartitionManager.cs:95-120.
func (o *Overview) leaseBlob(ctx context.Context, r hub.Reader, b hub.Blob) error {
	kind, queue, ok := strings.Cut(b.Name, "/")
	if !ok || !slices.Contains([]string{"default", "intent", "ownership"}, kind) {
		return nil // taskhub.json
	}
	content, err := r.ReadBlob(ctx, b.Container, b.Name, maxLeaseBytes)
	if err != nil {
		return err
	}
	l, err := schema.DecodeBlobLease(content)
	if err != nil {
		return err
	}
	p := Partition{Queue: queue, Source: kind, LeaseState: b.LeaseState}
	if l.Owner != nil {
		p.Owner, p.OwnedSince = *l.Owner, b.LastModified
	}
	o.Partitions = append(o.Partitions, p)
	return nil
}

func (o *Overview) appLease(ctx context.Context, r hub.Reader, b hub.Blob) error {
	content, err := r.ReadBlob(ctx, b.Container, b.Name, maxLeaseBytes)
	if err != nil {
		return err
	}
	l, err := schema.DecodeAppLeaseInfo(content)
	if err != nil {
		return err
	}
	o.AppLease = l.OwnerID.Value
	return nil
}
