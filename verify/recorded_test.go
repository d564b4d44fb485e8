package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// inTheData is what is truly in the recorded hubs, as read by hand from the rows
// and messages of the recordings. What is said of partitions, of messages and of
// blobs is compared elsewhere.
var inTheData = map[string][]string{
	// reused was first run as a longer orchestration: of 38 rows of the first
	// execution, the second one overwrote 16. In other recordings the first had
	// more or fewer retries.
	"dtfx-1.17.5":            {"info stale-generation-tail reused: 18"},
	"dtfx-2.9.1":             {"info stale-generation-tail reused: 22"},
	"dtfx-2.9.1-backlog":     nil,
	"dtfx-2.9.1-blob-leases": {"info stale-generation-tail reused: 24"},
	"dtfx-2.9.1-bulk":        nil,
	// The worker was killed between the history and the row of inflight-07: its
	// LastUpdatedTime is that of the episode before. A result for it is queued.
	"dtfx-2.9.1-crashed":            {"info status-drift inflight-07 heals", "info stale-generation-tail reused: 22"},
	"dtfx-2.9.1-live":               nil,
	"dtfx-2.9.1-live-blob-leases":   nil,
	"dtfx-2.9.1-live-legacy-leases": nil,
	// The worker was killed between the first history of these two and their rows.
	// Their start messages are hidden: they were taken once.
	"dtfx-2.9.1-odd": {
		"warning instance-missing children-0:30 heals", "warning instance-missing children-0:38 heals",
	},
	"dtfx-2.9.1-poisoned":      {"info stale-generation-tail reused: 28"},
	"dtfx-2.9.1-purge-damaged": {"info stale-generation-tail reused: 22"},
	// The worker was killed after the third batch of the first checkpoint of
	// wide-5. Its start message is one of four hidden ones in its queue.
	"dtfx-2.9.1-torn":                 {"warning checkpoint-torn wide-5 heals"},
	"functions-3":                     nil,
	"functions-3-after-js":            nil,
	"functions-3-after-write":         nil,
	"functions-3-after-write-Nowhere": nil,
	"shared-tracking-TrackA":          nil,
	"shared-tracking-TrackB":          nil,
}

// TestRecorded checks that exactly what is in the data of the recorded hubs is
// found.
func TestRecorded(t *testing.T) {
	if len(inTheData) != len(testhub.Recordings) {
		t.Errorf("%d recordings are expected, and there are %d", len(inTheData), len(testhub.Recordings))
	}
	for _, recording := range testhub.Recordings {
		t.Run(recording.Name, func(t *testing.T) {
			r := testhub.OpenHub(t, recording.Name)
			got, summary := instanceFindings(t, r, Options{})
			if diff := cmp.Diff(inTheData[recording.Name], got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			// Each instance has one outcome of each check.
			for _, o := range summary.Checks {
				if slices.Contains(instanceChecks, o.Code) && o.OK+o.Violated+o.Unknown != summary.Instances {
					t.Errorf("%s: %d ok, %d violated and %d unknown of %d instances", o.Code, o.OK, o.Violated, o.Unknown, summary.Instances)
				}
			}
		})
	}
}

// instanceFindings makes the checks of instances and returns the findings in one
// line each, in their order.
func instanceFindings(t *testing.T, r hub.Reader, opts Options) ([]string, *Summary) {
	t.Helper()
	if opts.Checks == nil {
		opts.Checks = instanceChecks
	}
	found, summary := Hub(t.Context(), r, opts)
	var lines []string
	for f, err := range found {
		if err != nil {
			t.Fatal(err)
		}
		c, _ := checkNamed(f.Code)
		if f.Detail == "" || f.Remedy != c.Remedy || len(f.At) == 0 || strings.Contains(f.Detail, "\n") {
			t.Errorf("a finding is not complete: %+v", f)
		}
		line := fmt.Sprintf("%s %s %s", f.Severity, f.Code, f.InstanceID)
		if f.Heals != "" {
			line += " heals"
		}
		if f.Code == codeStaleGenerationTail {
			var live, rows int
			if _, err := fmt.Sscanf(f.Detail, "after the %d rows of the current execution, %d are left", &live, &rows); err != nil {
				t.Error(err)
			}
			line += fmt.Sprintf(": %d", rows)
		}
		lines = append(lines, line)
	}
	return lines, summary
}

// TestHiddenAsPredicted compares the messages that must be hidden by the tables
// with those that were: all messages of the recorded queues are known.
func TestHiddenAsPredicted(t *testing.T) {
	total := 0
	for _, recording := range testhub.Recordings {
		t.Run(recording.Name, func(t *testing.T) {
			r := testhub.OpenHub(t, recording.Name)
			info, err := r.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			all, due := make(map[string]bool), make(map[string]bool)
			recorded := false
			queues := []string{info.Names.WorkItemQueue()}
			for i := range info.PartitionCount {
				queues = append(queues, info.Names.ControlQueue(i))
			}
			for _, queue := range queues {
				for _, stored := range testhub.RecordedMessages(t, recording.Name, queue) {
					recorded = true
					what, later := hiddenMessage(t, &stored, info.Finished)
					all[queue+": "+what] = true
					if later {
						due[queue+": "+what] = true
					}
				}
			}
			v := &run{r: r, summary: new(Summary), yield: func(Finding, error) bool { return true }}
			if err := v.all(t.Context()); err != nil {
				t.Fatal(err)
			}
			predicted := make(map[string]bool)
			for _, e := range v.expected {
				var hidden int64
				for _, queue := range e.queues {
					hidden += v.messages.hidden(queue)
				}
				if recorded && e.n > hidden {
					t.Errorf("%d messages must be hidden in %v, where %d are", e.n, e.queues, hidden)
				}
				for _, what := range e.what {
					if len(e.queues) == 1 {
						predicted[e.queues[0]+": "+what] = true
						continue
					}
					// One of several messages, in any of the queues.
					there := false
					for _, form := range forms(t, what) {
						for _, queue := range e.queues {
							there = there || all[queue+": "+form]
						}
					}
					if recorded && !there {
						t.Errorf("predicted in %v and not there: %s", e.queues, what)
					}
				}
			}
			if !recorded {
				return
			}
			total += len(due)
			for what := range predicted {
				if !all[what] {
					t.Errorf("predicted and not there: %s", what)
				}
			}
			for what := range due {
				if !predicted[what] {
					t.Errorf("hidden until later and not predicted: %s (predicted: %v)", what, slices.Sorted(maps.Keys(predicted)))
				}
			}
		})
	}
	if total < 20 {
		t.Errorf("%d messages are hidden until later, want at least 20", total)
	}
}

// hiddenMessage names a recorded message as expect does, and tells whether it is a
// timer or a start that is due later.
func hiddenMessage(t *testing.T, stored *schema.QueueMessage, now schema.Ticks) (what string, later bool) {
	t.Helper()
	text, _, err := schema.MessageText(stored.Text)
	if err != nil {
		t.Fatal(err)
	}
	m, err := schema.DecodeMessage(text, "")
	if err != nil {
		t.Fatal(err)
	}
	id, ok := m.Target()
	if !ok { // in a blob
		b, _ := schema.ParseBlobName(m.CompressedBlobName.Value)
		return "the start of " + b.InstanceID(), false
	}
	later = stored.VisibleAt > now
	switch e := m.TaskMessage.Event.(type) {
	case *schema.TimerFired:
		return fmt.Sprintf("timer %d of %s", e.TimerID, id), later && e.FireAt > now
	case *schema.ExecutionStarted:
		return "the start of " + id, later && e.ScheduledStartTime.Value > now && e.ParentInstance.IsNull()
	case *schema.TaskScheduled:
		return fmt.Sprintf("activity %d of %s", e.EventID, id), false
	case *schema.TaskCompleted:
		return fmt.Sprintf("activity %d of %s", e.TaskScheduledID, id), false
	case *schema.SubOrchestrationCompleted:
		return fmt.Sprintf("the answer of %s to %s", m.Sender.InstanceID, id), false
	}
	return m.TaskMessage.Event.Type().String() + " of " + id, false
}

// forms names the messages of which a prediction means one.
func forms(t *testing.T, what string) []string {
	t.Helper()
	if activity, ok := strings.CutSuffix(what, " or its result"); ok {
		return []string{activity}
	}
	if child, ok := strings.CutPrefix(what, "the start of "); ok {
		if id, parent, ok := strings.Cut(child, " or its answer to "); ok {
			return []string{"the start of " + id, "the answer of " + id + " to " + parent}
		}
	}
	t.Errorf("unknown prediction %q", what)
	return nil
}
