package verify

import "slices"

// Check describes one thing that is looked for. docs/checks.md is made of it.
type Check struct {
	// Code is stable: scripts may rely on it.
	Code string
	// Severity is the usual one. A finding says so where it is milder or worse.
	Severity Severity
	// Scope is what the outcomes are counted for: instance, message, partition,
	// blob or hub.
	Scope string
	// Reason says in one line when the check is violated.
	Reason string
	// Cause says what leaves storage like that.
	Cause string
	// Evidence says what in storage shows it, and when it cannot be told.
	Evidence string
	// Remedy says what can be done.
	Remedy string
	// Repair says what a repair of storage could do; empty if there is nothing
	// that would be safe.
	Repair string
	// Issues are addresses of upstream issues about it.
	Issues []string
}

// Scopes of checks.
const (
	scopeInstance  = "instance"
	scopeMessage   = "message"
	scopePartition = "partition"
	scopeBlob      = "blob"
	scopeHub       = "hub"
)

// The codes of the checks.
const (
	codeStatusDrift            = "status-drift"
	codeInstanceMissing        = "instance-missing"
	codeHistoryMissing         = "history-missing"
	codePendingWithoutStart    = "pending-without-start"
	codeStartWithoutInstance   = "start-without-instance"
	codeCheckpointTorn         = "checkpoint-torn"
	codeRowKeyGap              = "rowkey-gap"
	codeRowKeyDuplicate        = "rowkey-duplicate"
	codeSentinelMissing        = "sentinel-missing"
	codeSentinelMismatch       = "sentinel-mismatch"
	codeStaleGenerationTail    = "stale-generation-tail"
	codeHistoryNoStart         = "history-no-start"
	codeDuplicateCompletion    = "duplicate-completion"
	codeOrphanCompletion       = "orphan-completion"
	codeLostWork               = "lost-work"
	codeChildDoneParentWaiting = "child-done-parent-waiting"
	codeOrphanChild            = "orphan-child"
	codeDuplicateSuborch       = "duplicate-suborchestration"
	codeMessageWrongPartition  = "message-wrong-partition"
	codePartitionCountSkew     = "partition-count-skew"
	codePartitionUnowned       = "partition-unowned"
	codePartitionStuck         = "partition-stuck"
	codePoisonMessage          = "poison-message"
	codeMessageUndecodable     = "message-undecodable"
	codeMessageForDeadInstance = "message-for-dead-instance"
	codeBlobMissing            = "blob-missing"
	codeBlobCorrupt            = "blob-corrupt"
	codeBlobOrphan             = "blob-orphan"
	codeBlobForeignURL         = "blob-foreign-url"
	codeEntityLockOrphan       = "entity-lock-orphan"
	codeRewindResidue          = "rewind-residue"
	codeHubDebris              = "hub-debris"
	codeCaseCollision          = "case-collision"
	codeSchemaUnknown          = "schema-unknown"
)

// Checks returns the catalogue: every check, in the order in which a summary
// lists them.
func Checks() []Check { return slices.Clone(catalogue) }

func checkNamed(code string) (Check, bool) {
	i := slices.IndexFunc(catalogue, func(c Check) bool { return c.Code == code })
	if i < 0 {
		return Check{}, false
	}
	return catalogue[i], true
}

var catalogue = []Check{
	{
		Code: codeStatusDrift, Severity: Error, Scope: scopeInstance,
		Reason: "The row of the Instances table is not what the history says.",
		Cause: "A worker stopped after it had written history and before it wrote the row, or a late writer put an older row " +
			"over a newer one: the row is written last, and without a check of its version.",
		Evidence: "Columns of the row differ from those that follow from the history. RuntimeStatus, ExecutionId and Output count as " +
			"errors, all others as warnings. Columns that history cannot tell (CustomStatus, TaskHubName) are not compared, and a " +
			"rewound or restarted instance that was not picked up yet does not count.",
		Remedy: "If a message for the instance is still queued, start a worker: its next checkpoint, or from 2.7.1 on any message for a " +
			"finished instance, writes the row again. Otherwise write the columns that follow from the history.",
		Repair: "Write the derived columns to the row.",
		Issues: []string{"https://github.com/Azure/durabletask/issues/1252", "https://github.com/Azure/durabletask/issues/561", "https://github.com/Azure/azure-functions-durable-extension/issues/520"},
	},
	{
		Code: codeInstanceMissing, Severity: Error, Scope: scopeInstance,
		Reason: "There is a history, and no row in the Instances table.",
		Cause: "The first checkpoint of a sub-orchestration or entity was cut before its row was written, or a purge was interrupted: " +
			"it deletes row and history side by side.",
		Evidence: "Live history with ExecutionStarted, and no row of that key. Management calls do not know the instance, and a purge, " +
			"which starts from the row, can never remove its history.",
		Remedy: "If a message for the instance is still queued, start a worker. Otherwise write the row that follows from the history, " +
			"or delete the history.",
		Repair: "Write the row that follows from the history.",
	},
	{
		Code: codeHistoryMissing, Severity: Error, Scope: scopeInstance,
		Reason: "The row says that the instance has run, and there is no history.",
		Cause:  "A purge was interrupted, which deletes row and history side by side, or history was deleted by hand.",
		Evidence: "RuntimeStatus is one that only a checkpoint writes, and the partition of the History table has no rows. A terminated row " +
			"is none if the instance was terminated before it started: such a row has no CustomStatus.",
		Remedy: "Purge the instance. If its input is still known, start it again.",
		Repair: "Delete the row.",
	},
	{
		Code: codePendingWithoutStart, Severity: Error, Scope: scopeInstance,
		Reason: "The instance is Pending, and no message is there that could start it.",
		Cause:  "The start message was deleted: by hand, by the time to live of seven days of versions before 1.10.1, or with the queue.",
		Evidence: "RuntimeStatus is Pending, the execution has no history, and neither the visible messages of its control queue nor the " +
			"hidden ones, by their number, can hold its ExecutionStarted. While hidden messages may, it cannot be told; a start that " +
			"is due later is expected to be hidden.",
		Remedy: "Terminate or purge the instance and start it again.",
		Repair: "Queue the ExecutionStarted that the row describes.",
	},
	{
		Code: codeStartWithoutInstance, Severity: Warning, Scope: scopeMessage,
		Reason: "A client's start message is queued, and the instance has no row.",
		Cause:  "The client stopped after it had queued the message and before it wrote the row.",
		Evidence: "A visible ExecutionStarted without ParentInstance for an instance without a row. A worker leaves it for about 17 minutes, " +
			"ten attempts with growing delays, and then deletes it.",
		Remedy: "Start the instance again: the row makes the start complete.",
		Repair: "Write the Pending row that the message describes.",
	},
	{
		Code: codeCheckpointTorn, Severity: Error, Scope: scopeInstance,
		Reason: "The history ends in the middle of a checkpoint.",
		Cause: "A worker stopped between the batches of a large checkpoint: history is written in transactions of at most 99 rows, and " +
			"only the last one completes it.",
		Evidence: "The sentinel's IsCheckpointComplete is false, or the live history has no OrchestratorCompleted after its last " +
			"OrchestratorStarted.",
		Remedy: "Start a worker: the message that caused the episode is still queued and runs it again. If it is gone, rewind or restart the " +
			"instance.",
	},
	{
		Code: codeRowKeyGap, Severity: Error, Scope: scopeInstance,
		Reason:   "Rows are missing in the middle of the history.",
		Cause:    "Rows were deleted by hand or lost by a copy: the framework never deletes single rows of a history.",
		Evidence: "The RowKeys of the live history are not 0, 1, 2 and so on.",
		Remedy:   "Restore the rows from a capture or copy. Without them the orchestrator may replay differently and fail.",
	},
	{
		Code: codeRowKeyDuplicate, Severity: Error, Scope: scopeInstance,
		Reason:   "One position of the history has two rows.",
		Cause:    "Rows were written by a tool or copy that spells RowKeys differently: in lower case or not padded.",
		Evidence: "Two RowKeys of a partition spell the same number, of which only 16 upper-case digits are the framework's.",
		Remedy:   "Delete the row whose RowKey is not 16 upper-case hexadecimal digits.",
		Repair:   "Delete the row with the odd RowKey.",
	},
	{
		Code: codeSentinelMissing, Severity: Error, Scope: scopeInstance,
		Reason: "There is a history without its sentinel row.",
		Cause:  "The row was deleted, lost by a copy, or the history was written by hand.",
		Evidence: "Event rows and no row called sentinel. From version 2.1.0 on, such a history is invisible to every message that names an " +
			"execution: results of activities, timers and sub-orchestrations are dropped.",
		Remedy: "Write the sentinel with the ExecutionId of the first row and IsCheckpointComplete true, while no worker runs.",
		Repair: "Write the sentinel.",
	},
	{
		Code: codeSentinelMismatch, Severity: Error, Scope: scopeInstance,
		Reason: "The sentinel names another execution than the first row.",
		Cause:  "A sentinel or rows were copied or deleted by hand: a checkpoint writes both in one transaction.",
		Evidence: "ExecutionId of the sentinel and of the first row differ. The framework then takes the history as empty, and the next " +
			"checkpoint overwrites it.",
		Remedy: "Restore the rows of the sentinel's execution, or set the sentinel to that of the rows, while no worker runs.",
		Repair: "Set the sentinel's ExecutionId to that of the rows, if the row of the Instances table has the same.",
		Issues: []string{"https://github.com/Azure/azure-functions-durable-extension/issues/38"},
	},
	{
		Code: codeStaleGenerationTail, Severity: Info, Scope: scopeInstance,
		Reason:   "Rows of an earlier, longer execution follow the history.",
		Cause:    "A new execution overwrites the rows of the one before position by position and never deletes the surplus.",
		Evidence: "Rows with other ExecutionIds after the live history. They may name blobs that are gone, which is normal.",
		Remedy:   "Nothing has to be done: the framework passes over them, and a purge deletes them.",
		Repair:   "Delete the rows of earlier executions.",
	},
	{
		Code: codeHistoryNoStart, Severity: Error, Scope: scopeInstance,
		Reason: "The history does not begin with the start of an execution.",
		Cause:  "The leading rows were deleted or overwritten by hand or by a copy.",
		Evidence: "No ExecutionStarted among the live rows, which are more than a single OrchestratorStarted. The framework calls such a " +
			"history invalid and deletes the messages that are for it.",
		Remedy: "Restore the rows from a capture, or purge the instance and start it again.",
	},
	{
		Code: codeDuplicateCompletion, Severity: Warning, Scope: scopeInstance,
		Reason: "One activity, timer or sub-orchestration has two results.",
		Cause: "A message was delivered again after its effect had been stored, or an activity ran twice: delivery is at least once. " +
			"The second result is ignored.",
		Evidence: "Two rows with the same TaskScheduledId or TimerId, and no rewind that scheduled the task again. Info if both have the same " +
			"result, a warning if not: then the app did different things.",
		Remedy: "Nothing has to be done in storage. Make activities idempotent.",
	},
	{
		Code: codeOrphanCompletion, Severity: Error, Scope: scopeInstance,
		Reason:   "A result is in the history of something that was never scheduled.",
		Cause:    "The row that scheduled it was lost or changed, or histories were mixed by a copy.",
		Evidence: "A TaskScheduledId or TimerId for which no row, or one of another kind, came before.",
		Remedy:   "Restore the rows from a capture: an orchestrator that replays this history fails as non-deterministic.",
	},
	{
		Code: codeLostWork, Severity: Error, Scope: scopeInstance,
		Reason: "The instance waits for something that no message will bring.",
		Cause: "The message was deleted: by hand, by a purge of the queue, by the time to live of seven days of versions before 1.10.1, or " +
			"it is in a queue that no longer exists.",
		Evidence: "An open activity, timer, sub-orchestration or entity call, and neither a visible message nor, by their number, a hidden one " +
			"that belongs to it. Timers and signals that are due later are hidden as they should be. While hidden messages may hold it, " +
			"it cannot be told.",
		Remedy: "Terminate or restart the instance, or queue the message again.",
		Repair: "Queue the message that the row describes, where its input is stored.",
	},
	{
		Code: codeChildDoneParentWaiting, Severity: Error, Scope: scopeInstance,
		Reason: "A sub-orchestration has ended, and its parent waits for the answer that never comes.",
		Cause:  "The answer was deleted with its queue or by hand, or the parent was restored from an earlier time than the child.",
		Evidence: "An open SubOrchestrationInstanceCreated whose child is in a final state, and no answer among the messages of the parent's " +
			"queue. While hidden messages may hold it, it cannot be told.",
		Remedy: "Terminate or rewind the parent, or queue the answer again.",
		Repair: "Queue the result of the child for its parent.",
	},
	{
		Code: codeOrphanChild, Severity: Warning, Scope: scopeInstance,
		Reason: "A sub-orchestration is open whose parent is gone or does not wait for it.",
		Cause: "The parent was purged, terminated or restarted while the child ran, or an episode of the parent ran again with other " +
			"execution IDs after a crash.",
		Evidence: "ParentInstance of the child names an instance that has no row or history, or whose live history does not list the child. " +
			"Info if the parent has ended: terminating it does not end its children.",
		Remedy: "Terminate the child if its work is not wanted.",
		Repair: "Terminate the child.",
	},
	{
		Code: codeDuplicateSuborch, Severity: Warning, Scope: scopeInstance,
		Reason: "Two parents, or two steps of one, have the same sub-orchestration.",
		Cause: "The app gives children instance IDs that are not unique. The later start replaces the earlier execution, whose parent then " +
			"waits for an answer that never comes.",
		Evidence: "One InstanceId in two live SubOrchestrationInstanceCreated rows without a rewind or an end between. An instance that is its " +
			"own parent, and parents in a circle, count as well.",
		Remedy: "Let the framework name children, or make the IDs unique. Terminate the parent that waits in vain.",
		Issues: []string{"https://github.com/Azure/azure-functions-durable-extension/issues/1947", "https://github.com/Azure/durabletask/pull/1402"},
	},
	{
		Code: codeMessageWrongPartition, Severity: Error, Scope: scopeMessage,
		Reason: "A message is in another control queue than its instance's.",
		Cause:  "The partition count was changed while messages were queued, or messages were copied to a hub with another count.",
		Evidence: "The queue's number is not the FNV-1a hash of the instance ID modulo the partition count. Two workers may then work on one " +
			"instance at the same time.",
		Remedy: "Move the message to the queue of its instance while no worker runs.",
		Repair: "Move the message.",
	},
	{
		Code: codePartitionCountSkew, Severity: Error, Scope: scopeHub,
		Reason: "Parts of the hub do not agree on the number of partitions.",
		Cause:  "The partition count was changed on a hub that existed, or apps with different settings share it.",
		Evidence: "The rows of the Partitions table, taskhub.json, the lease blobs and the control queues give different numbers. What " +
			"another partition manager has left behind with the same number does not count.",
		Remedy: "Give all apps the same partition count. To change it, let the hub run empty and start a new one.",
		Issues: []string{"https://github.com/Azure/azure-functions-durable-extension/issues/1285", "https://github.com/Azure/azure-functions-durable-extension/issues/2118"},
	},
	{
		Code: codePartitionUnowned, Severity: Info, Scope: scopePartition,
		Reason: "No worker owns a partition.",
		Cause:  "No worker runs, or the workers have not taken the partition yet.",
		Evidence: "The row or lease blob of the control queue has no owner. A warning if a worker that is alive owns other partitions: its " +
			"messages wait.",
		Remedy: "Start a worker. If others run, see whether they can reach the partition's lease.",
		Issues: []string{"https://github.com/Azure/durabletask/issues/1389"},
	},
	{
		Code: codePartitionStuck, Severity: Warning, Scope: scopePartition,
		Reason: "The owner of a partition does not work on it, and nobody takes it over.",
		Cause:  "A worker stopped without giving up its lease, or hangs while it hands the partition over.",
		Evidence: "The lease has an owner and has ended while messages wait or other workers are alive; or it has been draining, or about to " +
			"be taken over, for minutes. Info while no worker runs and nothing waits.",
		Remedy: "Start or restart the worker. Another one takes a lease that has ended by itself.",
		Issues: []string{"https://github.com/Azure/durabletask/pull/1136", "https://github.com/Azure/durabletask/issues/1259"},
	},
	{
		Code: codePoisonMessage, Severity: Warning, Scope: scopeMessage,
		Reason:   "A message was received more often than healthy work needs.",
		Cause:    "The worker cannot process it: its function or type is unknown to the app, the app crashes, or a checkpoint is refused.",
		Evidence: "DequeueCount of a visible message. The framework never removes such a message and tries again every ten minutes.",
		Remedy:   "See the logs of the worker for the instance. Terminate the instance, or delete the message if nothing waits for it.",
		Issues:   []string{"https://github.com/Azure/azure-functions-durable-extension/issues/338"},
	},
	{
		Code: codeMessageUndecodable, Severity: Error, Scope: scopeMessage,
		Reason:   "A message cannot be read.",
		Cause:    "It was not written by the framework, or its blob is damaged.",
		Evidence: "The body, or the content of the blob that it names, is not a message. It stays in the queue for ever.",
		Remedy:   "Restore the blob, or delete the message and queue it again.",
	},
	{
		Code: codeMessageForDeadInstance, Severity: Info, Scope: scopeMessage,
		Reason: "A message is for an instance that is gone or has ended.",
		Cause:  "The instance was purged, restarted, or ended before the message arrived.",
		Evidence: "The target has no row and no history, runs another execution, or is in a final state. A worker deletes such a message, but " +
			"an event for an entity creates it again, and the start of a sub-orchestration starts it again: these are warnings.",
		Remedy: "Nothing, or delete the message if it must not create the instance again.",
		Repair: "Delete the message.",
	},
	{
		Code: codeBlobMissing, Severity: Error, Scope: scopeInstance,
		Reason: "A payload is gone that a row or message refers to.",
		Cause: "Purging an instance also deletes the blobs of all instances whose IDs begin with its ID (from 2.0.0 on), version 2.7.0 deletes " +
			"those of an instance that it repairs, or the blob was deleted by hand or left out of a copy.",
		Evidence: "A blob that a live row or a visible message names is not in the container. One such instance makes lists of instances fail. " +
			"Rows of earlier executions do not count: their blobs may be gone.",
		Remedy: "Restore the blob from a capture or a soft-deleted version. If there is none, purge the instance.",
		Repair: "Write a blob with a text that says what is lost, so that the instance can be listed and ended.",
	},
	{
		Code: codeBlobCorrupt, Severity: Error, Scope: scopeBlob,
		Reason: "The content of a payload is damaged.",
		Cause:  "The blob was changed or cut off, by a copy or by hand.",
		Evidence: "The content does not have the MD5 or size that was recorded, is not whole gzip, or not UTF-8. Of a capture, blobs up " +
			"to 1 MiB are unpacked; others, and those of a live hub, on request.",
		Remedy: "Restore the blob from a capture or an earlier version.",
		Issues: []string{"https://github.com/Azure/durabletask/issues/890"},
	},
	{
		Code: codeBlobOrphan, Severity: Info, Scope: scopeBlob,
		Reason: "A payload is referenced by nothing.",
		Cause: "Blobs of messages are not deleted with the message, a transaction may fail after its blobs were written, a restart does not " +
			"clean up, and a purge misses the blobs of IDs with special characters.",
		Evidence: "No row and no visible message names the blob, and it is older than an hour, or a few seconds where no worker owns a partition. " +
			"Blobs of messages cannot be told while queues hold messages that are hidden, unless their instance is gone.",
		Remedy: "Nothing: it costs space only. Purging the instance deletes its blobs.",
		Repair: "Delete the blob once the queues are empty.",
		Issues: []string{"https://github.com/Azure/azure-functions-durable-extension/issues/509"},
	},
	{
		Code: codeBlobForeignURL, Severity: Error, Scope: scopeInstance,
		Reason: "Input or output is the address of something that is not a payload of this hub.",
		Cause: "The rows were copied from another account without changing the addresses, or a reason or output happens to be an address: " +
			"the framework fetches every value that is one.",
		Evidence: "Input or Output is an absolute address of another account or container. Status queries then fail, for whole pages of " +
			"instances.",
		Remedy: "Write the address of this account's blob into the column, or put the text of an address into quotes.",
		Repair: "Write the address of the blob of the same name in this hub, if it exists.",
	},
	{
		Code: codeEntityLockOrphan, Severity: Error, Scope: scopeInstance,
		Reason: "An entity is locked by an instance that will not release it.",
		Cause:  "The owner was purged, terminated or restarted inside its critical section, or its release message was lost.",
		Evidence: "lockedBy of the entity's state names an instance that is missing, has ended, or whose history does not hold the lock, and no " +
			"release is among the messages of the entity's queue. While hidden messages may hold it, it cannot be told.",
		Remedy: "Clean entity storage with the framework's call of that name, or send a release.",
		Repair: "Queue an event called release with the owner as parent.",
		Issues: []string{"https://github.com/Azure/azure-functions-durable-extension/issues/2228", "https://github.com/Azure/azure-functions-durable-extension/issues/1325"},
	},
	{
		Code: codeRewindResidue, Severity: Warning, Scope: scopeInstance,
		Reason: "A rewind was interrupted.",
		Cause:  "The client that rewound the instance stopped: a rewind edits rows one by one, without a transaction.",
		Evidence: "Some failed rows were neutralised and others were not, the status was not reset, or the message that wakes the instance is " +
			"not there.",
		Remedy: "Rewind the instance again.",
		Issues: []string{"https://github.com/Azure/azure-functions-durable-extension/issues/1557"},
	},
	{
		Code: codeHubDebris, Severity: Info, Scope: scopeHub,
		Reason: "Parts of a hub are missing, or some are left that nothing uses.",
		Cause:  "The hub was half created or half deleted, its partition count shrank, or it moved to another partition manager.",
		Evidence: "A table, a queue of a partition or the app lease is missing beside others that exist: a warning if work cannot go on. Lease " +
			"containers of another partition manager and control queues beyond the count are left-overs.",
		Remedy: "Start an app to create what is missing, or delete what is left.",
		Repair: "Delete what is left over.",
	},
	{
		Code: codeCaseCollision, Severity: Warning, Scope: scopeInstance,
		Reason: "Two instances have IDs that differ in case only.",
		Cause:  "Storage tells them apart, but a worker does not: it keeps one session for both.",
		Evidence: "PartitionKeys that are equal when case is ignored. They may work on each other's messages if both are active on one " +
			"partition.",
		Remedy: "Use IDs that differ in more than case.",
	},
	{
		Code: codeSchemaUnknown, Severity: Info, Scope: scopeInstance,
		Reason: "A row or message has something that this tool does not know.",
		Cause:  "A newer version of the framework wrote it, or a tool that is not the framework.",
		Evidence: "A column, member or event type that versions up to 2.9.1 do not have; an error if a value that the framework needs is missing " +
			"or of another type, so that it cannot read the row.",
		Remedy: "See whether a newer version of this tool knows it.",
	},
}
