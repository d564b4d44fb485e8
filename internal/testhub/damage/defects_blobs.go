package main

import "slices"

// What is wrong with payloads. The instance large-in has its input, the result
// of its task and its output in blobs.
const (
	taskResult = "large-in/history-0000000000000005-TaskCompleted-7E542290-Result.json.gz"
	anInput    = "large-in/history-0000000000000001-ExecutionStarted-2864E73B-Input.json.gz"
)

var blobDefects = []defect{
	{
		name: "blob-missing", base: "base-functions",
		text: "The result of a task is gone.",
		do: func(h *taskHub) []finding {
			h.dropBlob(h.Names.LargeMessages(), taskResult)
			return []finding{errorAt("blob-missing", "large-in", "History/large-in/0000000000000005")}
		},
	},
	{
		name: "blob-missing-message", base: "base-requests",
		text: "The blob that holds a large event is gone.",
		do: func(h *taskHub) []finding {
			m := h.large("wait-1")
			_, blob := h.target(*m)
			h.dropBlob(h.Names.LargeMessages(), blob)
			return []finding{errorAt("blob-missing", "wait-1", m.place())}
		},
	},
	{
		name: "blob-corrupt-truncated", base: "base-functions",
		text: "The blob of a result ends in the middle.",
		do: func(h *taskHub) []finding {
			data := h.blob(taskResult).Data
			h.setBlob(taskResult, data[:len(data)/2])
			return []finding{errorAt("blob-corrupt", "large-in", "funclab-largemessages/"+taskResult)}
		},
	},
	{
		name: "blob-corrupt-checksum", base: "base-functions",
		text: "One bit of the checksum in a blob is wrong.",
		do: func(h *taskHub) []finding {
			data := slices.Clone(h.blob(taskResult).Data)
			data[len(data)-8] ^= 1 // CRC-32 and length end a gzip stream
			h.setBlob(taskResult, data)
			return []finding{errorAt("blob-corrupt", "large-in", "funclab-largemessages/"+taskResult)}
		},
	},
	{
		name: "blob-corrupt-md5", base: "base-functions",
		text: "A blob is whole, but not what the service has the MD5 of.",
		do: func(h *taskHub) []finding {
			b := h.blob(taskResult)
			b.ContentMD5 = []byte("0123456789abcdef")
			return []finding{errorAt("blob-corrupt", "large-in", "funclab-largemessages/"+taskResult)}
		},
	},
	{
		name: "blob-corrupt-plain", base: "base-functions",
		text: "An input was stored without packing it.",
		do: func(h *taskHub) []finding {
			h.setBlob(anInput, []byte(`{"resourceGroup":"myRG"}`))
			return []finding{errorAt("blob-corrupt", "large-in", "funclab-largemessages/"+anInput)}
		},
	},
	{
		name: "blob-corrupt-utf8", base: "base-functions",
		text: "What is packed in a blob is not text.",
		do: func(h *taskHub) []finding {
			h.setBlob(taskResult, pack("\"\xff\xfe\""))
			return []finding{errorAt("blob-corrupt", "large-in", "funclab-largemessages/"+taskResult)}
		},
	},
	{
		name: "blob-orphan", base: "base-functions",
		text: "A purge left the output of an instance that is gone.",
		do: func(h *taskHub) []finding {
			const name = "gone-1/history-0000000000000006-ExecutionCompleted-15F68A6E-Result.json.gz"
			h.putBlob(h.Names.LargeMessages(), name, pack(`"left behind"`), h.finished-30*24*60*minute)
			return []finding{infoAt("blob-orphan", "gone-1", "funclab-largemessages/"+name)}
		},
	},
}
