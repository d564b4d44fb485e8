package verify

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// start is a row that has started a sub-orchestration.
type start struct {
	key, rowKey string
	answered    bool
	early       bool // the one before it, of the same parent, had not been answered
}

// children reads the histories again to name those sub-orchestrations that two
// rows have started, and the instances whose parents go round in a circle.
func (v *run) children(ctx context.Context, circles map[uint64]struct{}) error {
	scan := familyScan{run: v, starts: make(map[string][]start), parents: make(map[string]link), circles: circles}
	for rows, err := range hub.Batches(ctx, v.r, hub.History, hub.Keys{}) {
		if err != nil {
			return fmt.Errorf("read history: %w", err)
		}
		for i := range rows {
			scan.add(&rows[i])
		}
	}
	findings := scan.circular()
	for child, starts := range scan.starts {
		if len(starts) < 2 {
			continue // another child has the same hash
		}
		findings = append(findings, twice(child, starts))
	}
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return schema.CompareKeys(schema.EscapeKey(a.InstanceID), schema.EscapeKey(b.InstanceID))
	})
	for _, f := range findings {
		v.retract(f.Code)
		if err := v.report(f); err != nil {
			return err
		}
	}
	return nil
}

func twice(child string, starts []start) Finding {
	f := Finding{Code: codeDuplicateSuborch, InstanceID: child}
	parents := make(map[string]bool)
	inTurn := true
	for _, s := range starts {
		parents[s.key] = true
		inTurn = inTurn && !s.early
		if len(f.At) < MaxPlaces {
			f.At = append(f.At, historyRow(s.key, s.rowKey, "InstanceId"))
		}
	}
	switch {
	case len(parents) > 1:
		f.Detail = fmt.Sprintf("%d instances have started it as their sub-orchestration", len(parents))
	case inTurn:
		f.Severity = Info
		f.Detail = fmt.Sprintf("%s has started it %d times, each time after it had answered", schema.InstanceID(starts[0].key), len(starts))
	default:
		f.Detail = fmt.Sprintf("%s has started it %d times, again before it had answered", schema.InstanceID(starts[0].key), len(starts))
	}
	return f
}

// familyScan collects what the rows of the History table say of parents and
// children.
type familyScan struct {
	*run
	starts  map[string][]start // by child
	circles map[uint64]struct{}
	parents map[string]link // of instances in circles

	key, execution string
	rows           int64
	over           bool
	waiting        map[int32]waiter // by EventID, of the current partition
}

// waiter names one of the starts of a child.
type waiter struct {
	child string
	start int
}

// link is what leads to the parent of an instance.
type link struct{ parent, key, rowKey string }

func (c *familyScan) add(row *schema.Row) {
	if row.IsSentinel() {
		return
	}
	if row.PartitionKey != c.key || c.rows == 0 {
		c.key, c.rows, c.over, c.waiting = strings.Clone(row.PartitionKey), 0, false, nil
	}
	execution, _ := row.Get("ExecutionId").Text()
	if c.rows++; c.rows == 1 {
		c.execution = strings.Clone(execution)
	}
	if c.over = c.over || execution != c.execution; c.over {
		return
	}
	switch event, _ := row.Get("EventType").Text(); event {
	case "SubOrchestrationInstanceCreated":
		c.started(row)
	case "SubOrchestrationInstanceCompleted", "SubOrchestrationInstanceFailed":
		c.answered(row)
	case "ExecutionStarted":
		c.begun(row)
	}
}

func (c *familyScan) started(row *schema.Row) {
	child, _ := row.Get("InstanceId").Text()
	if _, ok := c.relations.twice[c.relations.hash(child)]; !ok {
		return
	}
	if reason, _ := row.Get("Reason").Text(); strings.HasPrefix(reason, rewound) {
		return
	}
	starts := c.starts[child]
	if len(starts) >= maxStarts || starts == nil && len(c.starts) >= maxGroups {
		return
	}
	child = strings.Clone(child)
	n := len(starts)
	c.starts[child] = append(starts, start{
		key: c.key, rowKey: strings.Clone(row.RowKey), early: n > 0 && starts[n-1].key == c.key && !starts[n-1].answered,
	})
	id, _ := row.Get("EventId").Int()
	if c.waiting == nil {
		c.waiting = make(map[int32]waiter)
	}
	c.waiting[int32(id)] = waiter{child, n}
}

// maxStarts bounds the rows that are kept for one child.
const maxStarts = 1000

func (c *familyScan) answered(row *schema.Row) {
	id, _ := row.Get("TaskScheduledId").Int()
	if w, ok := c.waiting[int32(id)]; ok {
		c.starts[w.child][w.start].answered = true
	}
}

func (c *familyScan) begun(row *schema.Row) {
	id := schema.InstanceID(c.key)
	if _, ok := c.circles[c.relations.hash(id)]; !ok || len(c.parents) >= maxGroups {
		return
	}
	h, _ := schema.DecodeHistoryRow(row)
	started, ok := h.Event.(*schema.ExecutionStarted)
	if !ok {
		return
	}
	if p, err := schema.ParseParentInstance(started.ParentInstance); err == nil && p != nil {
		c.parents[id] = link{strings.Clone(p.OrchestrationInstance.InstanceID), c.key, strings.Clone(row.RowKey)}
	}
}

// circular reports each circle once, for the first of its instances in the order
// of IDs. Those that are their own parents are seen at once: see historyChecks.
func (c *familyScan) circular() (findings []Finding) {
	done := make(map[string]bool)
	for _, first := range slices.Sorted(maps.Keys(c.parents)) {
		var circle []string
		id := first
		for !done[id] {
			if _, ok := c.parents[id]; !ok {
				break // equal hashes only
			}
			done[id] = true
			circle = append(circle, id)
			id = c.parents[id].parent
		}
		if id != first || len(circle) < 2 {
			continue
		}
		f := Finding{
			Code: codeDuplicateSuborch, InstanceID: first,
			Detail: fmt.Sprintf("it is among its own ancestors, in a circle of %d: %s", len(circle), strings.Join(circle[:min(len(circle), MaxPlaces)], ", ")),
		}
		for _, member := range circle[:min(len(circle), MaxPlaces)] {
			l := c.parents[member]
			f.At = append(f.At, historyRow(l.key, l.rowKey, "ParentInstance"))
		}
		findings = append(findings, f)
	}
	return findings
}

// collisions reads the instances again to name those whose IDs differ in case
// only.
func (v *run) collisions(ctx context.Context) error {
	alike := make(map[string][]string) // keys by folded ID
	note := func(key string) {
		folded := fold(schema.InstanceID(key))
		if _, ok := v.relations.alike[v.relations.hash(folded)]; !ok {
			return
		}
		keys := alike[folded]
		if n := len(keys); n > 0 && keys[n-1] == key || n >= MaxPlaces {
			return
		}
		alike[folded] = append(keys, strings.Clone(key))
	}
	for part, err := range hub.Join(ctx, v.r, hub.Keys{}) {
		if err != nil {
			return fmt.Errorf("read instances: %w", err)
		}
		note(part.PartitionKey)
	}
	for _, folded := range slices.Sorted(maps.Keys(alike)) {
		keys := alike[folded]
		if len(keys) < 2 {
			continue
		}
		f := Finding{Code: codeCaseCollision, InstanceID: schema.InstanceID(keys[0])}
		var others []string
		for i, key := range keys {
			if f.At = append(f.At, instanceRow(key, "")); i > 0 {
				others = append(others, schema.InstanceID(key))
			}
		}
		f.Detail = "differs in case only from " + strings.Join(others, ", ")
		v.retract(f.Code)
		if err := v.report(f); err != nil {
			return err
		}
	}
	return nil
}
