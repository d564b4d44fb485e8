package repair_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/repair"
	"github.com/taskhub-tools/taskhub/schema"
)

// row returns a row of a hub to be changed.
func row(t *testing.T, c *hubtest.Content, table hub.Table, key, rowKey string) *schema.Row {
	t.Helper()
	for i := range c.Tables[table] {
		if r := &c.Tables[table][i]; r.PartitionKey == key && r.RowKey == rowKey {
			return r
		}
	}
	t.Fatalf("no row %s/%s/%s", table, key, rowKey)
	return nil
}

func drop(t *testing.T, c *hubtest.Content, table hub.Table, key, rowKey string) {
	t.Helper()
	row(t, c, table, key, rowKey)
	c.Tables[table] = slices.DeleteFunc(c.Tables[table], func(r schema.Row) bool { return r.PartitionKey == key && r.RowKey == rowKey })
}

func text(r *schema.Row, column, value string) { r.Set(column, schema.String(value)) }

// emptyQueues takes all messages away, those that are hidden as well.
func emptyQueues(c *hubtest.Content) {
	for i := range c.Queues {
		c.Queues[i].ApproximateCount, c.Queues[i].Messages = 0, nil
	}
}

// planned are the repairs of a plan, and what is left, each on a line.
func planned(f *repair.File) (repairs, left []string) {
	for i := range f.Repairs {
		r := &f.Repairs[i]
		repairs = append(repairs, fmt.Sprintf("%s %s %d/%d/%d", r.InstanceID, strings.Join(r.Codes(), ","), len(r.Writes), len(r.Messages), len(r.Removals)))
	}
	for i := range f.Left {
		left = append(left, f.Left[i].Code+" "+f.Left[i].InstanceID+": "+f.Left[i].Reason)
	}
	return repairs, left
}

// TestPlanTogether plans for hubs with several defects, or with one that must not be
// mended.
func TestPlanTogether(t *testing.T) {
	const drift = "status-drift"
	for _, tt := range []struct {
		name, base string
		damage     func(t *testing.T, c *hubtest.Content)
		opts       repair.Options
		repairs    []string
		left       []string
		// stays says that findings are there afterwards.
		stays bool
	}{
		{
			name: "all of one instance", base: "base-functions",
			damage: func(t *testing.T, c *hubtest.Content) {
				drop(t, c, hub.History, "large-in", schema.SentinelRowKey)
				r := row(t, c, hub.Instances, "large-in", "")
				text(r, "RuntimeStatus", "Running")
				output, _ := r.Get("Output").Text()
				text(r, "Output", strings.Replace(output, "/"+c.Account+"/", "/elsewhere/", 1))
			},
			repairs: []string{"large-in sentinel-missing,blob-foreign-url,status-drift 2/0/0"},
		},
		{
			// The row says that it has ended, so that nothing seems to be lost.
			name: "lost work shows when the row is right", base: "base-quiet",
			damage: func(t *testing.T, c *hubtest.Content) {
				c.Tables[hub.History] = slices.DeleteFunc(c.Tables[hub.History], func(r schema.Row) bool { return r.PartitionKey == "parent-waiting:wait" })
				c.Tables[hub.Instances] = slices.DeleteFunc(c.Tables[hub.Instances], func(r schema.Row) bool { return r.PartitionKey == "parent-waiting:wait" })
				text(row(t, c, hub.Instances, "parent-waiting", ""), "RuntimeStatus", "Completed")
			},
			repairs: []string{"parent-waiting status-drift,lost-work 2/1/0"},
		},
		{
			name: "a gap in the history", base: "base-quiet",
			damage: func(t *testing.T, c *hubtest.Content) {
				drop(t, c, hub.History, "hello", schema.FormatSequence(3))
				text(row(t, c, hub.Instances, "hello", ""), "RuntimeStatus", "Running")
			},
			left: []string{
				"status-drift hello: its history or row has another defect, which goes first: rowkey-gap",
				"rowkey-gap hello: the rows are nowhere else: restore them from a capture",
			},
			stays: true,
		},
		{
			name: "only one code", base: "base-quiet", opts: repair.Options{Codes: []string{drift}},
			damage: func(t *testing.T, c *hubtest.Content) {
				drop(t, c, hub.History, "wait-event", schema.SentinelRowKey)
				text(row(t, c, hub.Instances, "hello", ""), "RuntimeStatus", "Running")
			},
			repairs: []string{"hello status-drift 1/0/0"}, stays: true,
		},
		{
			name: "only one instance", base: "base-quiet", opts: repair.Options{Instances: []string{"suspended", "nobody"}},
			damage: func(t *testing.T, c *hubtest.Content) {
				text(row(t, c, hub.Instances, "suspended", ""), "RuntimeStatus", "Running")
				text(row(t, c, hub.Instances, "hello", ""), "RuntimeStatus", "Failed")
			},
			repairs: []string{"suspended status-drift 1/0/0"}, stays: true,
		},
		{
			name: "the sentinel and the row name another execution", base: "base-quiet",
			damage: func(t *testing.T, c *hubtest.Content) {
				for _, r := range []*schema.Row{row(t, c, hub.History, "wait-event", schema.SentinelRowKey), row(t, c, hub.Instances, "wait-event", "")} {
					text(r, "ExecutionId", "0123456789abcdef0123456789abcdef")
				}
			},
			left:  []string{"sentinel-mismatch wait-event: the row of the instance does not name the execution of the history's rows: which execution is current cannot be told"},
			stays: true,
		},
		{
			name: "the number of partitions cannot be told", base: "base-backlog",
			damage: func(t *testing.T, c *hubtest.Content) {
				i := slices.IndexFunc(c.Queues, func(q hubtest.Queue) bool { return q.Name == "backlog-control-00" })
				c.Queues[i].Messages, c.Queues[i].ApproximateCount = nil, 0
				c.Queues = append(c.Queues, hubtest.Queue{Name: "backlog-control-02"})
			},
			left: []string{
				"partition-count-skew : it will mend itself when a worker runs",
				"pending-without-start backlog-001: the parts of the hub do not agree on the number of partitions",
				"pending-without-start backlog-005: the parts of the hub do not agree on the number of partitions",
				"pending-without-start backlog-009: the parts of the hub do not agree on the number of partitions",
			},
			stays: true,
		},
		{
			name: "the queue is gone", base: "base-backlog",
			damage: func(t *testing.T, c *hubtest.Content) {
				c.Queues = slices.DeleteFunc(c.Queues, func(q hubtest.Queue) bool { return q.Name == "backlog-control-00" })
			},
			left: []string{
				"hub-debris : an app makes what is missing when it starts; delete what is left over by hand",
				"pending-without-start backlog-001: queue backlog-control-00 does not exist: an app makes it when it starts",
				"pending-without-start backlog-005: queue backlog-control-00 does not exist: an app makes it when it starts",
				"pending-without-start backlog-009: queue backlog-control-00 does not exist: an app makes it when it starts",
			},
			stays: true,
		},
		{
			name: "due later than a queue can hide", base: "base-lab",
			damage: func(t *testing.T, c *hubtest.Content) {
				emptyQueues(c)
				r := row(t, c, hub.Instances, "scheduled", "")
				at, _ := r.Get("ScheduledStartTime").Time()
				r.Set("ScheduledStartTime", schema.DateTime(at+8*24*3600*10_000_000))
			},
			repairs: []string{"approval lost-work 0/1/0", "buffered-event lost-work 0/1/0", "long-timer lost-work 0/1/0"},
			left:    []string{"pending-without-start scheduled: it is due at 2026-11-30T05:07:22.0182056Z, later than a queue can hide a message"},
			stays:   true,
		},
		{
			name: "an address that is no payload", base: "base-functions",
			damage: func(t *testing.T, c *hubtest.Content) {
				for at, column := range map[string]string{"": "Output", schema.FormatSequence(4): "Input", schema.FormatSequence(5): "Result"} {
					table := hub.History
					if at == "" {
						table = hub.Instances
					}
					text(row(t, c, table, "wait-5", at), column, "https://example.com/why")
				}
			},
			left: []string{
				"blob-foreign-url wait-5: the value is not the address of a payload: if it is a text, put it into quotes",
			},
			stays: true,
		},
		{
			name: "a payload of another instance", base: "base-functions",
			damage: func(t *testing.T, c *hubtest.Content) {
				r := row(t, c, hub.Instances, "large-in", "")
				output, _ := r.Get("Output").Text()
				text(r, "Output", strings.NewReplacer("/"+c.Account+"/", "/elsewhere/", "large-in", "large-out").Replace(output))
			},
			left: []string{
				"blob-missing large-in: the payload is nowhere else: restore it from a capture",
				"blob-foreign-url large-in: the address names no payload of this instance",
			},
			stays: true,
		},
		{
			name: "the payload is not here", base: "base-functions",
			damage: func(t *testing.T, c *hubtest.Content) {
				r := row(t, c, hub.Instances, "large-in", "")
				output, _ := r.Get("Output").Text()
				text(r, "Output", strings.NewReplacer("/"+c.Account+"/", "/elsewhere/", "ExecutionCompleted", "ExecutionFailed").Replace(output))
			},
			left: []string{
				"blob-missing large-in: the payload is nowhere else: restore it from a capture",
				"blob-foreign-url large-in: the payload large-in/history-0000000000000006-ExecutionFailed-15F68A6E-Result.json.gz is not in this hub",
			},
			stays: true,
		},
		{
			// What a start holds does not fit into a queue.
			name: "a large message", base: "base-backlog",
			damage: func(t *testing.T, c *hubtest.Content) {
				emptyQueues(c)
				c.Tables[hub.Instances] = slices.DeleteFunc(c.Tables[hub.Instances], func(r schema.Row) bool { return r.PartitionKey != "backlog-005" })
				text(row(t, c, hub.Instances, "backlog-005", ""), "Input", `"`+strings.Repeat("€", 20_000)+`"`)
			},
			repairs: []string{"backlog-005 pending-without-start 0/1/0"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := openDamaged(t, tt.base)
			c := testhub.ContentOf(t, d.r)
			tt.damage(t, &c)
			e := editorOf(c, d.now)
			before := cloneContent(e.Content())
			tt.opts.Now, tt.opts.BlobURL = d.now, e.BlobURL
			f, err := repair.Plan(t.Context(), e, tt.opts)
			if err != nil {
				t.Fatal(err)
			}
			repairs, left := planned(f)
			if diff := cmp.Diff(tt.repairs, repairs); diff != "" {
				t.Errorf("repairs (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tt.left, left); diff != "" {
				t.Errorf("left (-want +got):\n%s", diff)
			}
			u := new(undo)
			r := mustApply(t, e, f, u)
			if n := r.Count(repair.Done); n != len(f.Repairs) || len(r.Still)+len(r.New) > 0 {
				t.Errorf("%+v", r)
			}
			if got := findings(t, e, d.now); !tt.stays && len(got) > 0 {
				t.Errorf("verify still finds %v", got)
			}
			if tt.name == "due later than a queue can hide" || u.Len() == 0 {
				return
			}
			after := e.Content()
			redo := new(undo)
			mustApply(t, e, u.file(t), redo)
			sameHub(t, "undone", before, e.Content())
			mustApply(t, e, redo.file(t), new(undo))
			sameHub(t, "undone, and that as well", after, e.Content())
		})
	}
}

// TestPlanEverythingLost plans for hubs whose queues are empty, in as many rounds as
// it takes: a finding names only some of what an instance has lost.
func TestPlanEverythingLost(t *testing.T) {
	for _, tt := range []struct {
		name  string
		stays []string // what has another defect
	}{
		{"dtfx-2.9.1", nil},
		{"dtfx-2.9.1-torn", []string{"error lost-work wide-5"}},
		{"dtfx-2.9.1-odd", []string{"error lost-work children-0:30", "error lost-work children-0:38"}},
		{"functions-3-after-write", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := testhub.OpenHub(t, tt.name)
			info, err := r.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			now := func() time.Time { return info.Finished.Time() }
			c := testhub.ContentOf(t, r)
			emptyQueues(&c)
			open := openTasks(c)
			e := editorOf(c, now)
			f, err := repair.Plan(t.Context(), e, repair.Options{Now: now})
			if err != nil {
				t.Fatal(err)
			}
			for i := range f.Repairs {
				rep := &f.Repairs[i]
				rows := 0
				for _, w := range rep.Writes {
					if kind, _ := w.Before.Get("EventType").Text(); kind == "TaskScheduled" {
						rows++
					}
				}
				if rows != open[rep.InstanceID] {
					t.Errorf("%s: %d activities are scheduled again, want %d", rep.InstanceID, rows, open[rep.InstanceID])
				}
			}
			rep := mustApply(t, e, f, new(undo))
			if n := rep.Count(repair.Done); n != len(f.Repairs) || len(rep.Still)+len(rep.New) > 0 {
				t.Errorf("%d done; still %v, new %v", n, rep.Still, rep.New)
			}
			var still []string
			for _, line := range findings(t, e, now) {
				if strings.Contains(line, "lost-work") || strings.Contains(line, "pending-without") || strings.Contains(line, "child-done") {
					still = append(still, line)
				}
			}
			if diff := cmp.Diff(tt.stays, still); diff != "" {
				_, left := planned(f)
				t.Errorf("verify still finds (-want +got):\n%s\nleft:\n%s", diff, strings.Join(left, "\n"))
			}
		})
	}
}

// openTasks counts, by instance, the activities of executions that have not ended
// and have no result.
func openTasks(c hubtest.Content) map[string]int {
	open := make(map[string]int)
	for i := range c.Tables[hub.History] {
		r := &c.Tables[hub.History][i]
		switch kind, _ := r.Get("EventType").Text(); kind {
		case "TaskScheduled":
			open[r.PartitionKey]++
		case "TaskCompleted", "TaskFailed":
			open[r.PartitionKey]--
		case "ExecutionCompleted":
			open[r.PartitionKey] = -1_000_000
		}
	}
	for key, n := range open {
		if n < 0 {
			delete(open, key)
		}
	}
	return open
}

// TestPlanLimits makes a plan that is full: what is beyond is left, and found by the
// next plan.
func TestPlanLimits(t *testing.T) {
	d := openDamaged(t, "base-quiet")
	c := testhub.ContentOf(t, d.r)
	for _, id := range []string{"hello", "retry", "suspended"} {
		text(row(t, &c, hub.Instances, id, ""), "RuntimeStatus", "Terminated")
	}
	const full = ": the plan is full: carry it out and make another one"
	for _, tt := range []struct {
		name    string
		repairs int
		bytes   int64
		first   []string
		left    []string
	}{
		{"instances", 2, 0, []string{"hello status-drift 1/0/0", "retry status-drift 1/0/0"}, []string{"status-drift suspended" + full}},
		{"bytes", 0, 1000, []string{"hello status-drift 1/0/0"}, []string{"status-drift retry" + full, "status-drift suspended" + full}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := editorOf(cloneContent(c), d.now)
			var err error
			for turn := 0; ; turn++ {
				var f *repair.File
				if f, err = repair.Plan(t.Context(), e, repair.Options{Now: d.now}.Limited(tt.repairs, tt.bytes)); err != nil {
					t.Fatal(err)
				}
				repairs, left := planned(f)
				if turn == 0 {
					if diff := cmp.Diff(tt.first, repairs) + cmp.Diff(tt.left, left); diff != "" {
						t.Errorf("the first plan (-want +got):\n%s", diff)
					}
				}
				if len(repairs) == 0 {
					break
				}
				mustApply(t, e, f, new(undo))
				if turn == 5 {
					t.Fatal("there is no end")
				}
			}
			if got := findings(t, e, d.now); len(got) > 0 {
				t.Errorf("verify still finds %v", got)
			}
		})
	}
}

// TestPlanOptions refuses what makes no sense before it reads anything.
func TestPlanOptions(t *testing.T) {
	d := openDamaged(t, "base-quiet")
	for name, opts := range map[string]repair.Options{
		"no clock":        {},
		"no repair":       {Now: d.now, Codes: []string{"blob-missing"}},
		"no such check":   {Now: d.now, Codes: []string{"nonsense"}},
		"one of two only": {Now: d.now, Codes: []string{"status-drift", "rowkey-gap"}},
	} {
		if f, err := repair.Plan(t.Context(), nil, opts); err == nil || (opts.Now != nil) != errors.Is(err, repair.ErrCode) {
			t.Errorf("%s: %v, %v", name, f, err)
		}
	}
	if _, err := repair.Plan(t.Context(), testhub.NewEditor(hubtest.Content{Names: hub.Names{TaskHub: "None"}}), repair.Options{Now: d.now}); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("a hub that does not exist: %v", err)
	}
}
