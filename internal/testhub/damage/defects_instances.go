package main

import (
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// What is wrong between an instance's row, its history, and other instances.
var instanceDefects = []defect{
	{
		name: "status-drift-status", base: "base-quiet",
		text: "The row of a completed instance says Running.",
		do: func(h *taskHub) []finding {
			set(h.instance("hello"), "RuntimeStatus", "Running")
			return []finding{errorAt("status-drift", "hello", "Instances/hello")}
		},
	},
	{
		name: "status-drift-output", base: "base-quiet",
		text: "The row has another output than the history.",
		do: func(h *taskHub) []finding {
			set(h.instance("hello"), "Output", `["Hello Tokyo!"]`)
			return []finding{errorAt("status-drift", "hello", "Instances/hello")}
		},
	},
	{
		name: "status-drift-execution", base: "base-quiet",
		text: "The row of a completed instance names another execution than its history.",
		do: func(h *taskHub) []finding {
			set(h.instance("hello"), "ExecutionId", "0123456789abcdef0123456789abcdef")
			return []finding{errorAt("status-drift", "hello", "Instances/hello")}
		},
	},
	{
		name: "status-drift-time", base: "base-quiet",
		text: "The row was not updated by the last checkpoint, which changes only its time.",
		do: func(h *taskHub) []finding {
			h.instance("suspended").Set("LastUpdatedTime", h.event("suspended", 5).Get("_Timestamp"))
			return []finding{warningAt("status-drift", "suspended", "Instances/suspended")}
		},
	},
	{
		name: "status-drift-heals", base: "base-quiet",
		text: "A worker was killed after it had written the history of the last episode and before the row; " +
			"the result that started the episode is queued again, and whoever takes it repairs the row.",
		do: func(h *taskHub) []finding {
			result := h.event("hello", 13)
			execution := h.string(result, "ExecutionId")
			h.send("hello", execution, &schema.OrchestrationInstance{InstanceID: "hello", ExecutionID: schema.Some(execution)},
				&schema.TaskCompleted{
					EventHeader:     header(h.time(result, "_Timestamp")),
					TaskScheduledID: 2, Result: schema.TextOf(h.string(result, "Result")),
				})
			h.reopen("hello", 12)
			return []finding{warningAt("status-drift", "hello", "Instances/hello").heals()}
		},
	},
	{
		name: "status-drift-heals-running", base: "inflight",
		text: "A worker was killed after it had written the history of an episode and before the row; more results wait for the instance.",
		do: func(*taskHub) []finding {
			return []finding{infoAt("status-drift", "inflight-07", "Instances/inflight-07").heals()}
		},
	},
	{
		name: "instance-missing", base: "base-quiet",
		text: "The row of an instance is gone.",
		do: func(h *taskHub) []finding {
			h.dropInstance("hello")
			return []finding{errorAt("instance-missing", "hello", "History/hello")}
		},
	},
	{
		name: "instance-missing-heals", base: "base-quiet",
		text: "A worker was killed after it had written the first history of a child and before the child's row; " +
			"the message that started the child is queued again.",
		do: func(h *taskHub) []finding {
			h.sendStart("parent-waiting", "parent-waiting:wait")
			h.dropInstance("parent-waiting:wait")
			return []finding{warningAt("instance-missing", "parent-waiting:wait", "History/parent-waiting:wait").heals()}
		},
	},
	{
		name: "history-missing", base: "base-quiet",
		text: "The history of a completed instance is gone.",
		do: func(h *taskHub) []finding {
			h.dropHistory("hello")
			return []finding{errorAt("history-missing", "hello", "Instances/hello")}
		},
	},
	{
		name: "history-missing-running", base: "base-quiet",
		text: "The history of a running instance is gone.",
		do: func(h *taskHub) []finding {
			h.dropHistory("wait-event")
			return []finding{errorAt("history-missing", "wait-event", "Instances/wait-event")}
		},
	},
	{
		name: "pending-without-start", base: "base-backlog",
		text: "The start message of a pending instance is lost.",
		do: func(h *taskHub) []finding {
			h.lose(h.queued("backlog-005", schema.TypeExecutionStarted)[0])
			return []finding{errorAt("pending-without-start", "backlog-005", "Instances/backlog-005")}
		},
	},
	{
		name: "pending-without-start-scheduled", base: "base-lab",
		text: "The start message of an instance that is to start in an hour is lost: its queue holds nothing that cannot be seen.",
		do: func(h *taskHub) []finding {
			h.lose(h.queued("scheduled", schema.TypeExecutionStarted)[0])
			return []finding{errorAt("pending-without-start", "scheduled", "Instances/scheduled")}
		},
	},
	{
		name: "pending-without-start-restarted", base: "base-requests",
		text: "The start message of an instance that a client has started again, over the history of its first life, is lost.",
		do: func(h *taskHub) []finding {
			h.lose(h.queued("hello-1", schema.TypeExecutionStarted)[0])
			return []finding{errorAt("pending-without-start", "hello-1", "Instances/hello-1")}
		},
	},
	{
		name: "start-without-instance", base: "base-backlog",
		text: "The row of a pending instance is gone; its start message is queued.",
		do: func(h *taskHub) []finding {
			h.dropInstance("backlog-005")
			return []finding{warningAt("start-without-instance", "backlog-005", h.queued("backlog-005", schema.TypeExecutionStarted)[0].place())}
		},
	},
	{
		name: "lost-work-activity", base: "base-crashed",
		text: "The work item of a scheduled activity is lost, and with it all that the queue of work items held.",
		do: func(h *taskHub) []finding {
			queue := h.Names.WorkItemQueue()
			if len(h.messages[queue]) != 1 {
				h.fail("%d work items, not one", len(h.messages[queue]))
			}
			h.messages[queue] = nil
			return []finding{errorAt("lost-work", "inflight-00", "History/inflight-00/0000000000000002")}
		},
	},
	{
		name: "lost-work-timer", base: "base-lab",
		text: "The message of a timer is lost: its queue holds nothing that cannot be seen.",
		do: func(h *taskHub) []finding {
			h.lose(h.queued("approval", schema.TypeTimerFired)[0])
			return []finding{errorAt("lost-work", "approval", "History/approval/0000000000000006")}
		},
	},
	{
		name: "lost-work-timers", base: "base-lab",
		text: "One of two timers whose messages are in one queue is lost: the queue holds one message that cannot be seen. Nobody can tell which.",
		do: func(h *taskHub) []finding {
			h.lose(h.queued("long-timer", schema.TypeTimerFired)[0])
			return []finding{errorAt("lost-work", anyInstance,
				"History/long-timer/0000000000000002", "History/buffered-event/0000000000000002")}
		},
	},
	{
		name: "lost-work-sub-orchestration", base: "base-quiet",
		text: "A child was never started, and its start message is lost.",
		do: func(h *taskHub) []finding {
			h.purge("parent-waiting:wait")
			return []finding{errorAt("lost-work", "parent-waiting", "History/parent-waiting/0000000000000002")}
		},
	},
	{
		name: "lost-work-entity-call", base: "base-entity-call",
		text: "The answer of an entity that was called is lost.",
		do: func(h *taskHub) []finding {
			h.lose(h.queued("eholder", schema.TypeEventRaised)[0])
			return []finding{errorAt("lost-work", "eholder", "History/eholder/0000000000000006")}
		},
	},
	{
		name: "child-done-parent-waiting", base: "base-answer",
		text: "The answer of a child that has ended is lost.",
		do: func(h *taskHub) []finding {
			h.lose(h.queued("parent", schema.TypeSubOrchestrationCompleted)[0])
			return []finding{errorAt("child-done-parent-waiting", "parent", "History/parent/0000000000000004")}
		},
	},
	{
		name: "orphan-child", base: "base-quiet",
		text: "The parent of a child that is running was purged.",
		do: func(h *taskHub) []finding {
			h.purge("parent-waiting")
			return []finding{warningAt("orphan-child", "parent-waiting:wait", "History/parent-waiting:wait")}
		},
	},
	{
		name: "orphan-child-ended-parent", base: "base-quiet",
		text: "The parent of a child that is running was terminated.",
		do: func(h *taskHub) []finding {
			h.terminate("parent-waiting", "terminated", 4)
			return []finding{infoAt("orphan-child", "parent-waiting:wait", "History/parent-waiting:wait")}
		},
	},
	{
		name: "orphan-child-restarted-parent", base: "base-quiet",
		text: "The parent of a child that is running was started again, by another history that does not have the child.",
		do: func(h *taskHub) []finding {
			h.purge("parent-waiting")
			h.copyAs("wait-event", "parent-waiting")
			return []finding{warningAt("orphan-child", "parent-waiting:wait", "History/parent-waiting:wait")}
		},
	},
	{
		name: "duplicate-suborchestration", base: "base-quiet",
		text: "A parent started one child twice.",
		do: func(h *taskHub) []finding {
			set(h.event("parent", 2), "InstanceId", "parent:1")
			return []finding{warningAt("duplicate-suborchestration", anyInstance, "History/parent/0000000000000002", "History/parent/0000000000000003")}
		},
	},
	{
		name: "duplicate-suborchestration-parents", base: "base-quiet",
		text: "Two parents started one child.",
		do: func(h *taskHub) []finding {
			set(h.event("parent", 4), "InstanceId", "parent-waiting:wait")
			return []finding{warningAt("duplicate-suborchestration", anyInstance,
				"History/parent/0000000000000004", "History/parent-waiting/0000000000000002")}
		},
	},
	{
		name: "duplicate-suborchestration-self", base: "base-quiet",
		text: "A parent is its own child.",
		do: func(h *taskHub) []finding {
			set(h.event("parent", 4), "InstanceId", "parent")
			return []finding{warningAt("duplicate-suborchestration", "parent", "History/parent/0000000000000004")}
		},
	},
	{
		name: "duplicate-suborchestration-cycle", base: "base-quiet",
		text: "The parent of an instance is its child.",
		do: func(h *taskHub) []finding {
			set(h.event("parent", 1), "ParentInstance", strings.NewReplacer(`"Parent"`, `"Child"`, `"parent"`, `"parent:0"`,
				h.string(h.sentinel("parent"), "ExecutionId"), h.string(h.sentinel("parent:0"), "ExecutionId")).
				Replace(h.string(h.event("parent:0", 1), "ParentInstance")))
			return []finding{warningAt("duplicate-suborchestration", anyInstance, "History/parent")}
		},
	},
	{
		name: "entity-lock-orphan", base: "base-functions",
		text: "The orchestration that holds the lock of an entity was purged.",
		do: func(h *taskHub) []finding {
			h.purge("eholder")
			return []finding{errorAt("entity-lock-orphan", "@counter@locked", "History/@counter@locked/0000000000000001")}
		},
	},
	{
		name: "entity-lock-orphan-ended", base: "base-functions",
		text: "The orchestration that holds the lock of an entity was terminated and did not release it.",
		do: func(h *taskHub) []finding {
			h.terminate("eholder", "wait-5", 4)
			return []finding{errorAt("entity-lock-orphan", "@counter@locked", "History/@counter@locked/0000000000000001")}
		},
	},
	{
		name: "entity-lock-orphan-released", base: "base-lock-release",
		text: "The message that releases the lock of an entity is lost.",
		do: func(h *taskHub) []finding {
			h.lose(h.queued("@counter@locked", schema.TypeEventRaised)[0])
			return []finding{errorAt("entity-lock-orphan", "@counter@locked", "History/@counter@locked/0000000000000001")}
		},
	},
	{
		name: "case-collision", base: "base-quiet",
		text: "The IDs of two instances differ in case only.",
		do: func(h *taskHub) []finding {
			h.copyAs("wait-event", "Wait-Event")
			return []finding{warningAt("case-collision", anyInstance, "Instances/Wait-Event", "Instances/wait-event")}
		},
	},
	{
		name: "case-collision-entity", base: "base-functions",
		text: "The IDs of two entities differ in case only.",
		do: func(h *taskHub) []finding {
			h.copyAs("@counter@c3", "@counter@C3")
			return []finding{warningAt("case-collision", anyInstance, "Instances/@counter@C3", "Instances/@counter@c3")}
		},
	},
	{
		name: "blob-foreign-url", base: "base-functions",
		text: "The output of a row is a blob of another account: the hub was copied and the row was not changed.",
		do: func(h *taskHub) []finding {
			h.redirect("large-in", "/"+h.Account+"/", "/elsewhere/")
			return []finding{errorAt("blob-foreign-url", "large-in", "Instances/large-in.Output")}
		},
	},
	{
		name: "blob-foreign-url-container", base: "base-functions",
		text: "The output of a row is a blob of another hub.",
		do: func(h *taskHub) []finding {
			h.redirect("large-in", "/"+h.Names.LargeMessages()+"/", "/otherhub-largemessages/")
			return []finding{errorAt("blob-foreign-url", "large-in", "Instances/large-in.Output")}
		},
	},
}

// redirect changes the URL in the Output of a row.
func (h *taskHub) redirect(id, from, to string) {
	r := h.row(hub.Instances, id, "")
	old := h.string(r, "Output")
	if !strings.Contains(old, from) {
		h.fail("%s is not in %s", from, old)
	}
	set(r, "Output", strings.Replace(old, from, to, 1))
}
