package manage

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// WaitOptions says how long to wait, and how often to look.
type WaitOptions struct {
	// Timeout is how long to wait; zero looks once.
	Timeout time.Duration
	// Interval is the pause between two looks; 0 means a second.
	Interval time.Duration
	// Now tells the time. It is required.
	Now func() time.Time
}

// wait calls look until it returns true, which wait then returns, or until the
// time is over: a last time at the very end.
func (o *WaitOptions) wait(ctx context.Context, look func() (bool, error)) (bool, error) {
	if o.Now == nil {
		return false, fmt.Errorf("manage: WaitOptions.Now is not set")
	}
	interval := o.Interval
	if interval <= 0 {
		interval = time.Second
	}
	end := o.Now().Add(o.Timeout)
	for {
		done, err := look()
		if err != nil || done {
			return done, err
		}
		left := end.Sub(o.Now())
		if left <= 0 {
			return false, nil
		}
		pause := time.NewTimer(min(interval, left))
		select {
		case <-ctx.Done():
			pause.Stop()
			return false, context.Cause(ctx)
		case <-pause.C:
		}
	}
}

// Wait waits until an instance has ended. It returns the state that it saw last,
// and whether that is an end, or [ErrNoInstance], also if the instance is purged
// meanwhile. Payloads are read once, of the state that is returned.
func (q *Query) Wait(ctx context.Context, id string, show Show, o WaitOptions) (state *State, ended bool, err error) {
	ended, err = o.wait(ctx, func() (bool, error) {
		s, err := q.Instance(ctx, id, ShowNone)
		if err != nil {
			return false, err
		}
		if s == nil {
			return false, fmt.Errorf("instance %q: %w", id, ErrNoInstance)
		}
		state = s
		return s.Row.Status().Terminal(), nil
	})
	if err != nil || show == ShowNone {
		return state, ended, err
	}
	row := state.Row.Row()
	full, err := q.state(ctx, &row, show)
	return &full, ended, err
}

// IdleOptions says what counts as work in flight.
type IdleOptions struct {
	WaitOptions
	// Filter selects the orchestrations that count; entities never do.
	// Filter.Statuses are the statuses in which they count: nil means Running,
	// Pending and ContinuedAsNew, those with which the framework's documentation
	// tells when to deploy.
	Filter Filter
	// Looks is how many looks in a row have to find nothing; 0 means two, or one
	// without a Timeout. Work that moves from a queue to a row at the wrong moment
	// is missed by one.
	Looks int
}

// InFlight is work that one look has found.
type InFlight struct {
	// Instances counts the orchestrations that are not done, by status, and First
	// are the IDs of some of them, in key order.
	Instances map[schema.Status]int64
	First     []string
	// Messages can be taken by a worker right now; those of work items count even
	// while they cannot, because then an activity runs.
	Messages int64
	// Hidden are other messages that were not seen: timers and scheduled starts,
	// but also what is just being worked on, and what is behind the 32 that the
	// service shows of a queue. They do not make a hub busy: the instances that
	// they are for do.
	Hidden int64
}

// Idle reports whether there is none.
func (f *InFlight) Idle() bool { return len(f.Instances) == 0 && f.Messages == 0 }

// InFlight looks once for work that has not ended: instances, then messages. It
// reads the Instances table, and does not look at messages if the filter selects
// only some instances.
func (q *Query) InFlight(ctx context.Context, o IdleOptions) (*InFlight, error) {
	f := o.Filter
	if f.Statuses == nil {
		f.Statuses = []schema.Status{schema.StatusRunning, schema.StatusPending, schema.StatusContinuedAsNew}
	}
	f.NoEntities = true
	found := &InFlight{Instances: make(map[schema.Status]int64)}
	const maxFirst = 10
	for _, keys := range f.ranges("") {
		for row, err := range q.r.Rows(ctx, hub.Instances, keys) {
			if err != nil {
				return nil, err
			}
			i, _ := schema.DecodeInstance(&row) // what is damaged in it is absent
			if !f.matches(&i) {
				continue
			}
			found.Instances[i.Status()]++
			if len(found.First) < maxFirst {
				row = row.Clone()
				found.First = append(found.First, schema.InstanceID(row.PartitionKey))
			}
		}
	}
	if some := f.IDPrefix != "" || len(f.Names) > 0 || f.CreatedFrom != 0 || f.CreatedTo != 0; some {
		return found, nil
	}
	return found, q.countInFlight(ctx, found)
}

func (q *Query) countInFlight(ctx context.Context, found *InFlight) error {
	queues, err := q.r.Queues(ctx)
	if err != nil {
		return err
	}
	for _, queue := range queues {
		if strings.HasSuffix(queue.Name, "-workitems") { // the others end in a number
			found.Messages += queue.ApproximateCount
			continue
		}
		seen := int64(0)
		for _, err := range q.r.Messages(ctx, queue.Name) {
			if err != nil {
				return err
			}
			seen++
		}
		found.Messages += seen
		found.Hidden += max(0, queue.ApproximateCount-seen)
	}
	return nil
}

// WaitIdle waits until nothing is in flight. It returns what it saw last, and
// whether that was nothing, as often in a row as it takes.
func (q *Query) WaitIdle(ctx context.Context, o IdleOptions) (last *InFlight, idle bool, err error) {
	switch {
	case o.Looks <= 0 && o.Timeout <= 0:
		o.Looks = 1
	case o.Looks <= 0:
		o.Looks = 2
	}
	if slices.Contains(o.Filter.Statuses, schema.StatusUnknown) {
		return nil, false, &ArgumentError{"status", "is not one that is stored"}
	}
	quiet := 0
	idle, err = o.wait(ctx, func() (bool, error) {
		if last, err = q.InFlight(ctx, o); err != nil {
			return false, err
		}
		if quiet++; !last.Idle() {
			quiet = 0
		}
		return quiet >= o.Looks, nil
	})
	return last, idle, err
}
