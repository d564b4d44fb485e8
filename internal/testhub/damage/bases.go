package main

import (
	"strings"

	"github.com/taskhub-tools/taskhub/schema"
)

// The bases. A worker that stops in good order gives its partitions up, so most
// recorded hubs have partitions without an owner.
var bases = []base{
	{
		name: "base-lab", recording: "dtfx-2.9.1",
		instances: []string{
			"approval", "approval-target", "buffered-event", "eternal", "eternal-waiting", "fail-activity", "hello", "long-timer",
			"parent", "parent:0", "parent:1", "parent:2", "parent-of-failed", "parent-of-failed:failed",
			"parent-waiting", "parent-waiting:wait", "retry", "rewindable-parent", "rewindable-parent:leaf", "rewound",
			"scheduled", "sends-event", "suspended", "terminated", "wait-event",
		},
		findings: unowned("labhub", 4),
	},
	{
		// No message, visible or not, is in its queues, so that what is missing
		// there is certain to be missing.
		name: "base-quiet", recording: "dtfx-2.9.1",
		instances: []string{
			"eternal", "eternal-waiting", "hello", "parent", "parent:0", "parent:1", "parent:2", "parent-waiting",
			"parent-waiting:wait", "retry", "rewindable", "rewound", "suspended", "terminated", "wait-event",
		},
		findings: unowned("labhub", 4),
	},
	{
		name: "base-answer", recording: "dtfx-2.9.1",
		instances: []string{"hello", "parent", "parent:0", "parent:1", "parent:2"},
		text:      "The instance parent is taken back to its second checkpoint, and the answer of parent:2 is put into its queue.",
		do:        func(h *taskHub) { h.unanswered() },
		findings:  unowned("labhub", 4),
	},
	{
		// Its worker was killed less than a lease ago: for who looks at it, it
		// is at work.
		name: "base-crashed", recording: "dtfx-2.9.1-crashed",
		instances: []string{"approval", "hello", "inflight-00", "wait-event"},
		text:      "The event go for wait-event is put into its queue.",
		do:        func(h *taskHub) { h.sendEvent("wait-event") },
		unknown:   map[string]int{"lost-work": 1},
	},
	{
		name: "base-backlog", recording: "dtfx-2.9.1-backlog",
		instances: []string{"backlog-001", "backlog-005", "backlog-009", "backlog-counter"},
		text:      "Of the 40 events for backlog-counter, three are left.",
		do: func(h *taskHub) {
			queue := h.Names.ControlQueue(schema.Partition("backlog-counter", h.PartitionCount))
			h.messages[queue] = h.messages[queue][:4]
		},
		findings: unowned("backlog", 2),
	},
	{
		name: "base-blob-leases", recording: "dtfx-2.9.1-blob-leases",
		instances: []string{"hello", "suspended", "wait-event"},
		findings:  unownedBlobs(7),
	},
	{
		name: "base-functions", recording: "functions-3",
		instances: []string{
			"@counter@c1", "@counter@c3", "@counter@gone", "@counter@locked", "ecall-1", "eholder", "eternal-1", "failing-2",
			"hello-1", "large-in", "parent-1", "parent-1:bad", "parent-1:child", "wait-1", "wait-4", "wait-5",
		},
		findings: unowned("funclab", 4),
	},
	{
		name: "base-entity-call", recording: "functions-3",
		instances: []string{"@counter@locked", "eholder"},
		text:      "The instance eholder is taken back to its second checkpoint, and the answer of the entity is put into its queue.",
		do: func(h *taskHub) {
			answer := h.event("eholder", 9)
			e := &schema.EventRaised{
				EventHeader: header(h.time(answer, "_Timestamp")),
				Name:        schema.TextOf(h.string(answer, "Name")), Input: schema.TextOf(h.string(answer, "Input")),
			}
			h.cut("eholder", 8)
			entity := schema.OrchestrationInstance{
				InstanceID: "@counter@locked", ExecutionID: schema.Some(h.string(h.sentinel("@counter@locked"), "ExecutionId")),
			}
			h.send("eholder", h.string(h.sentinel("eholder"), "ExecutionId"), &entity, e)
		},
		findings: unowned("funclab", 4),
	},
	{
		name: "base-answer-hidden", recording: "dtfx-2.9.1",
		instances: []string{"hello", "parent", "parent:0", "parent:1", "parent:2"},
		text:      "As base-answer, but a worker has the answer in hand, so that it cannot be seen.",
		do: func(h *taskHub) {
			h.unanswered().hidden = true
		},
		findings: unowned("labhub", 4),
		unknown:  map[string]int{"child-done-parent-waiting": 1},
	},
	{
		name: "base-backlog-hidden", recording: "dtfx-2.9.1-backlog",
		instances: []string{"backlog-001", "backlog-005", "backlog-009"},
		text:      "A worker has the messages in hand, so that they cannot be seen.",
		do: func(h *taskHub) {
			for _, id := range []string{"backlog-001", "backlog-005", "backlog-009"} {
				h.queued(id, schema.TypeExecutionStarted)[0].hidden = true
			}
		},
		findings: unowned("backlog", 2),
		unknown:  map[string]int{"pending-without-start": 3},
	},
	{
		name: "base-lock-release", recording: "functions-3",
		instances: []string{"@counter@locked", "ecall-1", "@counter@c1", "eholder"},
		text:      "The instance eholder has released the lock of @counter@locked, which has yet to receive that.",
		do: func(h *taskHub) {
			h.release("eholder", "@counter@locked")
			released := h.event("eholder", 10)
			h.send("@counter@locked", "",
				&schema.OrchestrationInstance{InstanceID: "eholder", ExecutionID: schema.Some(h.string(released, "ExecutionId"))},
				&schema.EventRaised{
					EventHeader: header(h.time(released, "_Timestamp")),
					Name:        schema.TextOf("release"), Input: schema.TextOf(h.string(released, "Input")),
				})
		},
		findings: unowned("funclab", 4),
	},
	{
		name: "base-unusual", recording: "dtfx-2.9.1",
		instances: []string{"eternal-waiting", "hello", "parent-waiting", "parent-waiting:wait", "retry", "scheduled", "terminated"},
		text: "What looks wrong and is not: scheduled was terminated before its start; the child of parent-waiting is only a start message; " +
			"eternal-waiting has the output and end of an earlier execution; terminated was, without a completion; " +
			"the row of hello was repaired by the framework; that of retry has a status of the app and no name of a hub.",
		do:       unusual,
		findings: unowned("labhub", 4),
	},
	{
		// What clients did and no worker saw: a start, a start over an old
		// history, a rewind, events, a large one among them.
		name: "base-requests", recording: "functions-3-after-write",
		instances: []string{"@counter@c3", "failing-1", "hello-1", "w-large", "w-start", "wait-1", "wait-7"},
		findings:  unowned("funclab", 4),
	},
	{
		name: "base-empty", recording: "functions-3-after-write-Nowhere",
		instances: []string{},
		findings:  unowned("nowhere", 4),
	},
	{
		// An episode of 407 rows of which three batches were committed when the
		// worker was killed.
		name: "torn", recording: "dtfx-2.9.1-torn", damaged: true,
		instances: []string{"wide-5"},
		// A killed worker's messages are visible again when their visibility
		// timeout ends.
		do: func(h *taskHub) { h.queued("wide-5", schema.TypeExecutionStarted)[0].hidden = false },
	},
	{
		// Its history was written when the worker was killed, and its row was not.
		name: "inflight", recording: "dtfx-2.9.1-crashed", damaged: true,
		instances: []string{"inflight-07"},
	},
}

// unowned is what is reported of a hub whose worker gave its partitions up, or
// that no worker ever saw.
func unowned(prefix string, partitions int) (all []finding) {
	for n := range partitions {
		all = append(all, infoAt("partition-unowned", "", "Partitions/"+controlQueue(prefix, n)))
	}
	return all
}

// unownedBlobs is unowned for leases in blobs.
func unownedBlobs(partitions int) (all []finding) {
	for range partitions {
		all = append(all, infoAt("partition-unowned", ""))
	}
	return all
}

func controlQueue(prefix string, n int) string { return prefix + "-control-0" + string(rune('0'+n)) }

// unanswered takes the instance parent back to where it waits for its last
// child, whose answer is queued.
func (h *taskHub) unanswered() *message {
	answer := h.event("parent", 0xB)
	result, at := h.string(answer, "Result"), h.time(answer, "_Timestamp")
	h.cut("parent", 10)
	return h.send("parent", h.string(h.sentinel("parent"), "ExecutionId"),
		&schema.OrchestrationInstance{InstanceID: "parent:2", ExecutionID: schema.Some(h.string(h.sentinel("parent:2"), "ExecutionId"))},
		&schema.SubOrchestrationCompleted{EventHeader: header(at), TaskScheduledID: 2, Result: schema.TextOf(result)})
}

// release lets an instance release the lock of an entity in its last episode, as
// ecall-1 does. The message for that is not sent.
func (h *taskHub) release(id, entity string) {
	end := h.length(id) - 1
	lock, err := schema.DecodeEntityRequest(h.string(h.event(id, 2), "Input"))
	if err != nil {
		h.fail("%w", err)
	}
	r := h.insert(id, end, 2)
	model := h.event("ecall-1", 0xE)
	set(r, "Name", h.string(model, "Name"))
	model1, err := schema.DecodeEntityRequest(h.string(h.event("ecall-1", 2), "Input"))
	if err != nil {
		h.fail("%w", err)
	}
	set(r, "Input", strings.NewReplacer("ecall-1", id, model1.ID, lock.ID).Replace(h.string(model, "Input")))
	set(r, "InstanceId", entity)
	r.Set("EventId", schema.Int32(h.actions(id)))
	last := h.event(id, end+1)
	r.Set("_Timestamp", last.Get("_Timestamp"))
	r.Timestamp, r.ETag = last.Timestamp, last.ETag
}

// unusual makes what the framework leaves behind without any harm.
func unusual(h *taskHub) {
	// Source: durabletask 2.9.1, AzureStorageOrchestrationService.cs:1066-1101,
	// AzureTableTrackingStore.cs:872-902.
	r := h.instance("scheduled")
	at := h.finished - 5*second
	set(r, "RuntimeStatus", "Terminated")
	set(r, "Output", "changed my mind")
	r.Set("LastUpdatedTime", schema.DateTime(at))
	r.Set("CompletedTime", schema.DateTime(at+second/100))
	stored(r, at+second/50)

	h.sendStart("parent-waiting", "parent-waiting:wait")
	h.purge("parent-waiting:wait")

	// A merge leaves what it does not set.
	r = h.instance("eternal-waiting")
	set(r, "Output", `"of an earlier execution"`)
	r.Set("CompletedTime", schema.DateTime(h.time(r, "CreatedTime")-second))

	h.dropEvent("terminated", schema.FormatSequence(5))
	h.event("terminated", 6).RowKey = schema.FormatSequence(5)

	// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:1119-1232.
	r = h.instance("hello")
	r.Set("CompletedTime", h.event("hello", 14).Get("_Timestamp"))

	r = h.instance("retry")
	set(r, "CustomStatus", `"nearly there"`)
	unset(r, "TaskHubName")
}
