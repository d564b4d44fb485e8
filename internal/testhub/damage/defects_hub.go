package main

import (
	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/schema"
)

// What is wrong with partitions and with the hub as a whole.
var partitionDefects = []defect{
	{
		name: "partition-count-skew", base: "base-blob-leases",
		text:    "The lease of the last of seven partitions is gone.",
		instead: unownedBlobs(6),
		do: func(h *taskHub) []finding {
			for _, kind := range []string{"intent/", "ownership/"} {
				h.dropBlob(h.Names.Leases(), kind+h.Names.ControlQueue(6))
			}
			return []finding{errorAt("partition-count-skew", "", h.Names.Leases())}
		},
	},
	{
		name: "partition-unowned", base: "base-crashed",
		text: "Nobody has owned one partition for ten minutes; a worker that is alive owns the others.",
		do: func(h *taskHub) []finding {
			h.expire(1)
			unset(h.partition(1), "CurrentOwner")
			return []finding{warningAt("partition-unowned", "", "Partitions/crashhub-control-01")}
		},
	},
	{
		name: "partition-unowned-heals", base: "base-crashed",
		text: "A worker that is alive has just given one partition up: it looks for such partitions every ten seconds.",
		do: func(h *taskHub) []finding {
			unset(h.partition(1), "CurrentOwner")
			return []finding{infoAt("partition-unowned", "", "Partitions/crashhub-control-01").heals()}
		},
	},
	{
		name: "partition-stuck", base: "base-crashed",
		text: "The lease of one partition ended ten minutes ago; those of the others are renewed.",
		do: func(h *taskHub) []finding {
			h.expire(1)
			return []finding{warningAt("partition-stuck", "", "Partitions/crashhub-control-01")}
		},
	},
	{
		name: "partition-stuck-draining", base: "base-crashed",
		text: "A partition was being handed over ten minutes ago, and neither worker has it.",
		do: func(h *taskHub) []finding {
			h.expire(1)
			r := h.partition(1)
			set(r, "NextOwner", "lab-worker-2")
			r.Set("IsDraining", schema.Boolean(true))
			return []finding{warningAt("partition-stuck", "", "Partitions/crashhub-control-01")}
		},
	},
	{
		name: "partition-stuck-all", base: "base-crashed",
		text:    "The only worker died ten minutes ago; an event waits in partition 1, and a timer in partition 2.",
		because: "One worker had all four partitions. Where nothing waits, nothing is held up.",
		do: func(h *taskHub) []finding {
			for n := range h.PartitionCount {
				h.expire(n)
			}
			return []finding{
				infoAt("partition-stuck", "", "Partitions/crashhub-control-00"),
				warningAt("partition-stuck", "", "Partitions/crashhub-control-01"),
				warningAt("partition-stuck", "", "Partitions/crashhub-control-02"),
				infoAt("partition-stuck", "", "Partitions/crashhub-control-03"),
			}
		},
	},
	{
		name: "hub-debris-table", base: "base-empty",
		text: "The hub has no table History.",
		do: func(h *taskHub) []finding {
			delete(h.Tables, hub.History)
			return []finding{warningAt("hub-debris", "", "History")}
		},
	},
	{
		name: "hub-debris-work-items", base: "base-empty",
		text: "The hub has no queue of work items.",
		do: func(h *taskHub) []finding {
			delete(h.messages, h.Names.WorkItemQueue())
			return []finding{warningAt("hub-debris", "", h.Names.WorkItemQueue())}
		},
	},
	{
		name: "hub-debris-leases", base: "base-empty",
		text: "The hub, whose partitions are rows of a table, still has the leases of an earlier version in blobs.",
		do: func(h *taskHub) []finding {
			const worker = "worker-of-1.17"
			at := h.finished - 30*24*60*minute
			container := h.Names.Leases()
			h.Containers = append(h.Containers, hub.Container{Name: container})
			info := schema.TaskHubInfo{TaskHubName: h.Names.TaskHub, CreatedAt: at, PartitionCount: h.PartitionCount}
			h.putBlob(container, "taskhub.json", info.AppendJSON(nil), at)
			for n := range h.PartitionCount {
				queue := h.Names.ControlQueue(n)
				lease := `{"PartitionId":"` + queue + `","Owner":"` + worker + `","Token":"77e7c0de-0000-4000-8000-000000000000","Epoch":3}`
				for _, kind := range []string{"intent/", "ownership/"} {
					h.putBlob(container, kind+queue, []byte(lease), at)
				}
			}
			return []finding{infoAt("hub-debris", "", container)}
		},
	},
}

// expire moves the times of a lease ten minutes back.
func (h *taskHub) expire(n int) {
	r := h.partition(n)
	for _, name := range []string{"OwnedSince", "LastRenewal", "ExpiresAt"} {
		r.Set(name, schema.DateTime(h.time(r, name)-10*minute))
	}
	stored(r, r.Timestamp-10*minute)
}

func (h *taskHub) putBlob(container, name string, data []byte, at schema.Ticks) {
	h.Blobs = append(h.Blobs, hubtest.Blob{Data: data, Blob: hub.Blob{
		Container: container, Name: name, SizeBytes: int64(len(data)), ContentType: "application/octet-stream",
		CreatedAt: at - at%second, LastModified: at - at%second, LeaseState: "available",
	}})
}
