package verify

import (
	"math"

	"github.com/taskhub-tools/taskhub/hub"
)

// What cannot be judged if a part of the hub could not be read: a capture that was
// made without the right to, or that has lost something.
var (
	needInstances = []string{
		codeStatusDrift, codeInstanceMissing, codeHistoryMissing, codePendingWithoutStart, codeStartWithoutInstance, codeLostWork,
		codeChildDoneParentWaiting, codeOrphanChild, codeMessageForDeadInstance, codeBlobOrphan, codeBlobForeignURL, codeEntityLockOrphan,
		codeRewindResidue,
	}
	needHistory = []string{
		codeStatusDrift, codeInstanceMissing, codeHistoryMissing, codePendingWithoutStart, codeCheckpointTorn, codeRowKeyGap,
		codeRowKeyDuplicate, codeSentinelMissing, codeSentinelMismatch, codeStaleGenerationTail, codeHistoryNoStart, codeDuplicateCompletion,
		codeOrphanCompletion, codeLostWork, codeChildDoneParentWaiting, codeOrphanChild, codeDuplicateSuborch, codeMessageForDeadInstance,
		codeBlobOrphan, codeEntityLockOrphan, codeRewindResidue,
	}
	needQueues = []string{
		codeStartWithoutInstance, codeMessageWrongPartition, codePartitionCountSkew, codePoisonMessage, codeMessageUndecodable,
		codeMessageForDeadInstance, codeHubDebris,
	}
	needPartitions = []string{codePartitionCountSkew, codePartitionUnowned, codePartitionStuck, codeHubDebris}
	needContainers = []string{codePartitionCountSkew, codePartitionUnowned, codePartitionStuck, codeBlobMissing, codeBlobCorrupt, codeBlobOrphan, codeHubDebris}
)

// withdraw takes back the checks that need what could not be read: each has one
// outcome, unknown, for the artifact.
func (v *run) withdraw() {
	names := v.info.Names
	for _, part := range []struct {
		artifact string
		checks   []string
	}{
		{"table " + names.Table(hub.Instances), needInstances},
		{"table " + names.Table(hub.History), needHistory},
		{"table " + names.Table(hub.Partitions), needPartitions},
		{"queues", needQueues},
		{"containers", needContainers},
	} {
		why := v.info.WhyUnreadable(part.artifact)
		if why == "" {
			continue
		}
		for _, code := range part.checks {
			v.unknown(code, part.artifact, part.artifact+" could not be read: "+why)
			delete(v.counts, code)
		}
	}
}

// anyNumber is the number of hidden messages where their number is not known:
// they may be any.
const anyNumber = math.MaxInt32

// uncounted reports whether it is not known what a queue hides.
func (m *messageIndex) uncounted(queue string) bool {
	return m.info.WhyUnreadable("queues") != "" || m.info.WhyUnreadable("queue "+queue) != ""
}
