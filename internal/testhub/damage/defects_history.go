package main

import (
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// What is wrong with a history. The instance hello has 16 rows, in four
// episodes: 2, 6 and A schedule its tasks, 5, 9 and D are their results, E is
// its completion and F the end of the last episode.
var historyDefects = []defect{
	{
		name: "checkpoint-torn", base: "torn",
		text: "A worker was killed between the batches of a checkpoint, and the start message that would end it is lost.",
		do: func(h *taskHub) []finding {
			h.lose(h.queued("wide-5", schema.TypeExecutionStarted)[0])
			return []finding{errorAt("checkpoint-torn", "wide-5", "History/wide-5/sentinel")}
		},
	},
	{
		name: "checkpoint-torn-heals", base: "torn",
		text: "A worker was killed between the batches of a checkpoint; the message that started it is queued.",
		do: func(*taskHub) []finding {
			return []finding{warningAt("checkpoint-torn", "wide-5", "History/wide-5/sentinel").heals()}
		},
	},
	{
		name: "checkpoint-torn-open", base: "base-quiet",
		text: "The last row of the last episode was not written, and so neither was the instance's row.",
		do: func(h *taskHub) []finding {
			h.dropEvent("suspended", schema.FormatSequence(8))
			before := h.event("suspended", 5)
			h.instance("suspended").Set("LastUpdatedTime", before.Get("_Timestamp"))
			return []finding{errorAt("checkpoint-torn", "suspended", "History/suspended/0000000000000007")}
		},
	},
	{
		name: "rowkey-gap", base: "base-quiet",
		text: "The row that ends the first episode is gone.",
		do: func(h *taskHub) []finding {
			h.dropEvent("hello", schema.FormatSequence(3))
			return []finding{errorAt("rowkey-gap", "hello", "History/hello/0000000000000004")}
		},
	},
	{
		name: "rowkey-gap-first", base: "base-quiet",
		text: "The first row is gone.",
		do: func(h *taskHub) []finding {
			h.dropEvent("retry", schema.FormatSequence(0))
			return []finding{errorAt("rowkey-gap", "retry", "History/retry/0000000000000001")}
		},
	},
	{
		name: "rowkey-duplicate", base: "base-quiet",
		text: "The last row is there a second time, with its position in lower case.",
		do: func(h *taskHub) []finding {
			r := h.event("hello", 15).Clone()
			r.RowKey = strings.ToLower(r.RowKey)
			h.add(hub.History, r)
			return []finding{errorAt("rowkey-duplicate", "hello", "History/hello/000000000000000f")}
		},
	},
	{
		name: "rowkey-duplicate-short", base: "base-quiet",
		text: "The last row is there a second time, with its position in one digit.",
		do: func(h *taskHub) []finding {
			r := h.event("hello", 15).Clone()
			r.RowKey = "F"
			h.add(hub.History, r)
			return []finding{errorAt("rowkey-duplicate", "hello", "History/hello/F")}
		},
	},
	{
		name: "sentinel-missing", base: "base-quiet",
		text: "The sentinel of an instance that waits is gone.",
		do: func(h *taskHub) []finding {
			h.dropEvent("wait-event", schema.SentinelRowKey)
			return []finding{errorAt("sentinel-missing", "wait-event", "History/wait-event")}
		},
	},
	{
		name: "sentinel-missing-ended", base: "base-quiet",
		text: "The sentinel of an instance that has ended is gone.",
		do: func(h *taskHub) []finding {
			h.dropEvent("hello", schema.SentinelRowKey)
			return []finding{errorAt("sentinel-missing", "hello", "History/hello")}
		},
	},
	{
		name: "sentinel-mismatch", base: "base-quiet",
		text: "The sentinel names an execution that no row belongs to.",
		do: func(h *taskHub) []finding {
			set(h.sentinel("wait-event"), "ExecutionId", "0123456789abcdef0123456789abcdef")
			return []finding{errorAt("sentinel-mismatch", "wait-event", "History/wait-event/sentinel")}
		},
	},
	{
		name: "stale-generation-tail", base: "base-quiet",
		text: "Rows 16 to 23 of an earlier, longer execution follow the history: those of retry.",
		do: func(h *taskHub) []finding {
			for n := int64(16); n < h.length("retry"); n++ {
				r := h.event("retry", n).Clone()
				r.PartitionKey = "hello"
				h.add(hub.History, r)
			}
			return []finding{infoAt("stale-generation-tail", "hello", "History/hello/0000000000000010")}
		},
	},
	{
		// ContinueAsNew deletes the blobs of the execution that it replaces.
		name: "stale-generation-tail-blobs", base: "base-functions",
		text: "Rows of an earlier execution, whose blobs were deleted with it, follow the history.",
		do: func(h *taskHub) []finding {
			for n := range int64(3) {
				r := h.event("large-in", 5+n).Clone()
				r.PartitionKey, r.RowKey = "wait-1", schema.FormatSequence(3+n)
				if r.Get("ResultBlobName").Type() != schema.Absent {
					set(&r, "ResultBlobName", "wait-1/history-"+r.RowKey+"-"+h.string(&r, "EventType")+"-00C0FFEE-Result.json.gz")
				}
				h.add(hub.History, r)
			}
			return []finding{infoAt("stale-generation-tail", "wait-1", "History/wait-1/0000000000000003")}
		},
	},
	{
		name: "history-no-start", base: "base-quiet",
		text: "The history has no ExecutionStarted, and no gap where it was.",
		do: func(h *taskHub) []finding {
			h.dropEvent("wait-event", schema.FormatSequence(1))
			h.event("wait-event", 2).RowKey = schema.FormatSequence(1)
			return []finding{errorAt("history-no-start", "wait-event", "History/wait-event/0000000000000000")}
		},
	},
	{
		name: "duplicate-completion", base: "base-quiet",
		text: "One task has two results, and they differ.",
		do: func(h *taskHub) []finding {
			set(h.insert("hello", 14, 13), "Result", `"Hello Paris!"`)
			return []finding{warningAt("duplicate-completion", "hello", "History/hello/000000000000000E")}
		},
	},
	{
		name: "duplicate-completion-same", base: "base-quiet",
		text: "One task has the same result twice.",
		do: func(h *taskHub) []finding {
			h.insert("hello", 14, 13)
			return []finding{infoAt("duplicate-completion", "hello", "History/hello/000000000000000E")}
		},
	},
	{
		name: "orphan-completion", base: "base-quiet",
		text: "A result belongs to a task that was never scheduled.",
		do: func(h *taskHub) []finding {
			h.insert("hello", 14, 13).Set("TaskScheduledId", schema.Int32(9))
			return []finding{errorAt("orphan-completion", "hello", "History/hello/000000000000000E")}
		},
	},
	{
		name: "orphan-completion-kind", base: "base-quiet",
		text: "The result of a task is that of a timer.",
		do: func(h *taskHub) []finding {
			h.fire(h.event("hello", 13), 2)
			return []finding{errorAt("orphan-completion", "hello", "History/hello/000000000000000D")}
		},
	},
	{
		name: "orphan-completion-kind-twice", base: "base-quiet",
		text: "A timer has fired whose number is that of a task with a result.",
		do: func(h *taskHub) []finding {
			h.fire(h.insert("hello", 14, 13), 1)
			return []finding{errorAt("orphan-completion", "hello", "History/hello/000000000000000E")}
		},
	},
	{
		// A rewind changes the rows of the task, of its failure and of the
		// orchestration's failure: here 6, 9 and A.
		name: "rewind-residue", base: "base-quiet",
		text: "A rewind was cut off after its first row.",
		do: func(h *taskHub) []finding {
			h.rewind("rewindable", 6)
			return []finding{warningAt("rewind-residue", "rewindable", "History/rewindable/0000000000000006")}
		},
	},
	{
		name: "rewind-residue-row", base: "base-quiet",
		text: "A rewind was cut off when all rows of the history were done and the instance's row was not.",
		do: func(h *taskHub) []finding {
			h.rewind("rewindable", 6, 9, 10)
			return []finding{warningAt("rewind-residue", "rewindable", "Instances/rewindable")}
		},
	},
	{
		name: "rewind-residue-no-message", base: "base-requests",
		text: "The message that wakes a rewound instance is lost.",
		do: func(h *taskHub) []finding {
			h.lose(h.queued("failing-1", schema.TypeGeneric)[0])
			return []finding{warningAt("rewind-residue", "failing-1", "History/failing-1")}
		},
	},
	{
		name: "schema-unknown-column", base: "base-quiet",
		text: "A row of the history has a column that no version of the framework has.",
		do: func(h *taskHub) []finding {
			set(h.event("hello", 5), "Priority", "high")
			return []finding{infoAt("schema-unknown", "hello", "History/hello/0000000000000005.Priority")}
		},
	},
	{
		name: "schema-unknown-event", base: "base-lab",
		text: "An event is of a type that no version of the framework has.",
		do: func(h *taskHub) []finding {
			set(h.event("buffered-event", 5), "EventType", "EventPondered")
			return []finding{infoAt("schema-unknown", "buffered-event", "History/buffered-event/0000000000000005")}
		},
	},
	{
		name: "schema-unknown-type", base: "base-quiet",
		text: "The number of an event has another type than the framework can read.",
		do: func(h *taskHub) []finding {
			h.event("hello", 7).Set("EventId", schema.Int64(-1))
			return []finding{errorAt("schema-unknown", "hello", "History/hello/0000000000000007.EventId")}
		},
	},
}

// fire makes the result of a task that of a timer.
func (h *taskHub) fire(r *schema.Row, timer int32) {
	set(r, "EventType", "TimerFired")
	unset(r, "TaskScheduledId", "Result")
	r.Set("TimerId", schema.Int32(timer))
	r.Set("FireAt", r.Get("_Timestamp"))
}

// rewind changes rows of a history as a rewind does, the first three steps of it.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:273-377.
func (h *taskHub) rewind(id string, sequences ...int64) {
	for _, n := range sequences {
		r := h.event(id, n)
		set(r, "Reason", "Rewound: "+h.string(r, "EventType"))
		set(r, "EventType", "GenericEvent")
		stored(r, h.finished-second)
	}
}
