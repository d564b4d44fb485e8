package explain

import (
	"context"
	"fmt"

	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// partition tells who owns the control queue of the instance.
func (e *explainer) partition(ctx context.Context) error {
	p := Partition{Number: -1, Queue: e.queues.controlQueue(e.self.id)}
	if p.Queue != "" {
		p.Number = schema.Partition(e.self.id, e.info.PartitionCount)
	}
	o, err := manage.Leases(ctx, e.r, manage.DescribeOptions{Now: e.opts.Now})
	if err != nil {
		return fmt.Errorf("read leases: %w", err)
	}
	p.AppRunning, p.Evidence = o.Running, o.Evidence
	for _, lease := range o.Partitions {
		if lease.Queue == p.Queue {
			p.Leases = append(p.Leases, lease)
		}
	}
	e.problems(o.Problems...)
	e.queues.moving = e.info.Finished > e.info.Started && p.running()
	e.report.Partition = p
	return nil
}

// running says whether an app may be at work.
func (p *Partition) running() bool { return p.AppRunning != manage.RunningNoSign }
