package main

import (
	"strings"

	"github.com/taskhub-tools/taskhub/schema"
)

// What is wrong with messages.
var messageDefects = []defect{
	{
		name: "message-wrong-partition", base: "base-backlog",
		text: "A start message is in the queue of another partition.",
		do: func(h *taskHub) []finding {
			m := *h.queued("backlog-005", schema.TypeExecutionStarted)[0]
			h.lose(&m)
			m.Queue = h.Names.ControlQueue(1)
			h.messages[m.Queue] = append(h.messages[m.Queue], m)
			return []finding{errorAt("message-wrong-partition", "backlog-005", m.place())}
		},
	},
	{
		name: "poison-message", base: "base-backlog",
		text: "A message was received 12 times and not worked off.",
		do: func(h *taskHub) []finding {
			m := h.queued("backlog-005", schema.TypeExecutionStarted)[0]
			m.DequeueCount = 12
			return []finding{warningAt("poison-message", "backlog-005", m.place())}
		},
	},
	{
		name: "message-undecodable", base: "base-backlog",
		text: "The body of an event ends in the middle.",
		do: func(h *taskHub) []finding {
			m := h.queued("backlog-counter", schema.TypeEventRaised)[1]
			m.Text = m.Text[:len(m.Text)/2]
			return []finding{errorAt("message-undecodable", "", m.place())}
		},
	},
	{
		name: "message-undecodable-text", base: "base-backlog",
		text: "The body of an event is neither JSON nor Base64.",
		do: func(h *taskHub) []finding {
			m := h.queued("backlog-counter", schema.TypeEventRaised)[1]
			m.Text = "hello?"
			return []finding{errorAt("message-undecodable", "", m.place())}
		},
	},
	{
		name: "message-undecodable-blob", base: "base-requests",
		text: "The blob that holds a large event holds something else.",
		do: func(h *taskHub) []finding {
			m := h.large("wait-1")
			_, blob := h.target(*m)
			h.setBlob(blob, pack(`{"event":"go"}`))
			return []finding{errorAt("message-undecodable", "wait-1", m.place())}
		},
	},
	{
		name: "message-for-dead-instance", base: "base-quiet",
		text: "A result is for an earlier execution of an instance that has continued as new since.",
		do: func(h *taskHub) []finding {
			const execution = "0123456789abcdef0123456789abcdef"
			m := h.send("eternal-waiting", execution,
				&schema.OrchestrationInstance{InstanceID: "eternal-waiting", ExecutionID: schema.Some(execution)},
				&schema.TaskCompleted{EventHeader: header(h.finished - second), TaskScheduledID: 0, Result: schema.TextOf("1")})
			return []finding{infoAt("message-for-dead-instance", "eternal-waiting", m.place())}
		},
	},
	{
		name: "message-for-dead-instance-purged", base: "base-quiet",
		text: "An instance was purged while an event for it was queued.",
		do: func(h *taskHub) []finding {
			m := h.sendEvent("wait-event")
			h.purge("wait-event")
			return []finding{infoAt("message-for-dead-instance", "wait-event", m.place())}
		},
	},
	{
		name: "message-for-dead-instance-restart", base: "base-quiet",
		text: "A child and its parent were purged while the message that starts the child was queued: it will start again.",
		do: func(h *taskHub) []finding {
			m := h.sendStart("parent-waiting", "parent-waiting:wait")
			h.purge("parent-waiting:wait")
			h.purge("parent-waiting")
			return []finding{warningAt("message-for-dead-instance", "parent-waiting:wait", m.place())}
		},
	},
	{
		name: "schema-unknown-message", base: "base-backlog",
		text: "A message has a member that no version of the framework has.",
		do: func(h *taskHub) []finding {
			m := h.queued("backlog-005", schema.TypeExecutionStarted)[0]
			m.Text = strings.Replace(m.Text, `"CompressedBlobName":`, `"Priority":5,"CompressedBlobName":`, 1)
			return []finding{infoAt("schema-unknown", "backlog-005", m.place())}
		},
	},
}

// large returns the message for an instance that is kept in a blob.
func (h *taskHub) large(id string) *message {
	for _, m := range h.queued(id, schema.TypeEventRaised) {
		if _, blob := h.target(*m); blob != "" {
			return m
		}
	}
	h.fail("no large message for %s", id)
	return &message{}
}
