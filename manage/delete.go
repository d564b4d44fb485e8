package manage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
)

// DeletePlan is what there is of a hub that is to be deleted.
type DeletePlan struct {
	Artifacts
	// Running and Evidence are as in [Overview].
	Running  Running
	Evidence []string
	// Kept lists tables that stay although they hold rows of the hub.
	Kept []string
}

// PlanDelete says what [DeleteHub] would delete. It goes by what is there and not
// by settings: every control queue, whatever the number of partitions, and the
// leases of every partition manager. Tables of a tracking store that the hub
// shares with others are kept: purge its instances first.
//
// Of opts, Now counts and is required: without the time, the lease of an app that
// runs looks like any other. It returns [hub.ErrNotFound] if nothing of the hub
// exists, and [hub.ErrUnauthorized] if not all of it can be seen: what is hidden
// would be left.
func PlanDelete(ctx context.Context, r hub.Reader, opts DescribeOptions) (*DeletePlan, error) {
	if opts.Now == nil {
		return nil, errors.New("manage: DescribeOptions.Now is not set")
	}
	p, err := planDelete(ctx, r)
	if err != nil {
		return nil, err
	}
	leases, err := Leases(ctx, r, opts)
	if err != nil {
		return nil, err
	}
	p.Running, p.Evidence = leases.Running, leases.Evidence
	return p, nil
}

func planDelete(ctx context.Context, r hub.Reader) (*DeletePlan, error) {
	info, err := r.Info(ctx)
	if err != nil {
		return nil, err
	}
	for _, part := range info.Unreadable {
		return nil, fmt.Errorf("see what there is of hub %q: %s: %w: %s", info.Names.TaskHub, part.Artifact, hub.ErrUnauthorized, part.Reason)
	}
	a, err := ArtifactsOf(ctx, r)
	if err != nil {
		return nil, err
	}
	p := &DeletePlan{Artifacts: *a}
	if a.Names.TrackingPrefix == "" {
		return p, nil
	}
	p.Tables = nil
	for _, t := range a.Tables {
		if t == a.Names.Table(hub.Partitions) {
			p.Tables = append(p.Tables, t)
		} else {
			p.Kept = append(p.Kept, t)
		}
	}
	return p, nil
}

// Has reports whether a table of the hub is among those to delete.
func (p *DeletePlan) Has(t hub.Table) bool {
	name := p.Names.Table(t)
	return slices.ContainsFunc(p.Tables, func(s string) bool { return strings.EqualFold(s, name) })
}

// Empty reports whether there is nothing to delete.
func (p *DeletePlan) Empty() bool { return len(p.Tables)+len(p.Queues)+len(p.Containers) == 0 }

// DeleteHub deletes what a plan lists: the container of the app lease, queues,
// tables, the other containers. What is gone by then is no error, and a deletion
// that ends half-way can be planned and done again: whatever is left tells the
// hub's name. deleted is called after each artifact that it has deleted; nil is
// fine.
//
// With force it breaks the app lease of an app that is running, which will make
// the hub anew. Without, it returns [hub.ErrInUse] for a hub in use before anything
// is deleted, and in the end if something has come back.
//
// Source: durabletask 2.9.1, AzureStorageOrchestrationService.cs:393-444, which
// goes by the configured number of partitions and partition manager.
func DeleteHub(ctx context.Context, r hub.Reader, e hub.Editor, p *DeletePlan, force bool, deleted func(name string)) error {
	if p.Running != RunningNoSign && !force {
		return fmt.Errorf("delete hub %q: %w: %s", p.Names.TaskHub, hub.ErrInUse, strings.Join(p.Evidence, ", "))
	}
	remove := func(name string, do func() error) error {
		if err := do(); err != nil {
			if errors.Is(err, hub.ErrNotFound) {
				return nil
			}
			return fmt.Errorf("delete hub %q: %w", p.Names.TaskHub, err)
		}
		if deleted != nil {
			deleted(name)
		}
		return nil
	}
	container := func(c string) error {
		return remove(c, func() error {
			err := e.DeleteContainer(ctx, c)
			if force && errors.Is(err, hub.ErrInUse) {
				if err := e.BreakLease(ctx, c); err != nil {
					return err
				}
				err = e.DeleteContainer(ctx, c)
			}
			return err
		})
	}
	// First what the service does not delete under an app that runs.
	for _, c := range p.Containers {
		if c == p.Names.AppLease() {
			if err := container(c); err != nil {
				return err
			}
		}
	}
	for _, q := range p.Queues {
		if err := remove(q, func() error { return e.DeleteQueue(ctx, q) }); err != nil {
			return err
		}
	}
	for _, t := range []hub.Table{hub.Partitions, hub.History, hub.Instances} {
		if !p.Has(t) {
			continue
		}
		if err := remove(p.Names.Table(t), func() error { return e.DeleteTable(ctx, t) }); err != nil {
			return err
		}
	}
	for _, c := range p.Containers {
		if c != p.Names.AppLease() {
			if err := container(c); err != nil {
				return err
			}
		}
	}
	left, err := planDelete(ctx, r)
	switch {
	case errors.Is(err, hub.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("look what is left of hub %q: %w", p.Names.TaskHub, err)
	case left.Empty():
		return nil
	}
	return fmt.Errorf("delete hub %q: %w: %s came back or could not be deleted", p.Names.TaskHub, hub.ErrInUse,
		strings.Join(slices.Concat(left.Tables, left.Queues, left.Containers), ", "))
}
