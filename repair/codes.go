package repair

import (
	"slices"

	"github.com/taskhub-tools/taskhub/verify"
)

// Codes of package verify.
const (
	codeStatusDrift     = "status-drift"
	codeSentinelMissing = "sentinel-missing"
	codeMismatch        = "sentinel-mismatch"
	codeForeignURL      = "blob-foreign-url"
	codeResidue         = "rewind-residue"
	codePending         = "pending-without-start"
	codeLostWork        = "lost-work"
	codeChildDone       = "child-done-parent-waiting"
	codeLock            = "entity-lock-orphan"
	codeWrongPartition  = "message-wrong-partition"

	codeTorn       = "checkpoint-torn"
	codeGap        = "rowkey-gap"
	codeTwice      = "rowkey-duplicate"
	codeNoStart    = "history-no-start"
	codeOrphan     = "orphan-completion"
	codeUnknown    = "schema-unknown"
	codeMissing    = "blob-missing"
	codeNoRow      = "instance-missing"
	codeSkew       = "partition-count-skew"
	codeOrphanBlob = "blob-orphan"
	codeCorrupt    = "blob-corrupt"
)

// codes are those of the findings that may be mended, in the order in which they
// are: what makes a history readable comes first, and what follows from it later.
var codes = []string{
	codeResidue, codeSentinelMissing, codeMismatch, codeForeignURL, codeStatusDrift, codePending, codeLostWork, codeChildDone, codeLock, codeWrongPartition,
}

// Codes lists the codes of package verify whose findings may be mended.
func Codes() []string {
	sorted := slices.Clone(codes)
	slices.Sort(sorted)
	return sorted
}

// why says of each other check why its findings are left alone.
var why = map[string]string{
	codeNoRow:                    "an interrupted purge leaves the same, and a row would bring the instance back: start a worker if a message for it is queued, else purge its history",
	"history-missing":            "what the instance has done is nowhere else",
	"start-without-instance":     "a client makes the row: start the instance again",
	codeTorn:                     "only the message that has caused the episode can complete it",
	codeGap:                      "the rows are nowhere else: restore them from a capture",
	codeTwice:                    "which of the rows is right is for a person to say",
	"stale-generation-tail":      "nothing has to be done",
	codeNoStart:                  "the rows are nowhere else: restore them from a capture",
	"duplicate-completion":       "the framework ignores the second result: nothing has to be done in storage",
	codeOrphan:                   "the row that it answers is nowhere else: restore it from a capture",
	"orphan-child":               "whether its work is wanted is for a person to say: terminate it if not",
	"duplicate-suborchestration": "which of the parents is to go on is for a person to say",
	codeSkew:                     "the settings of the apps decide, and not what is stored",
	"partition-unowned":          "a worker takes it",
	"partition-stuck":            "a worker takes it",
	"poison-message":             "the log of the worker tells why it cannot be processed",
	"message-undecodable":        "what it said is nowhere else",
	"message-for-dead-instance":  "a worker deletes it; purge what must not come back",
	codeMissing:                  "the payload is nowhere else: restore it from a capture",
	codeCorrupt:                  "the payload is nowhere else: restore it from a capture",
	codeOrphanBlob:               "it costs space only; purge-history --blobs deletes it",
	"hub-debris":                 "an app makes what is missing when it starts; delete what is left over by hand",
	"case-collision":             "IDs cannot be changed",
	codeUnknown:                  "a newer version of this program may know it",
}

// Why returns why findings with this code are never mended; empty for one of [Codes].
func Why(code string) string { return why[code] }

// damage are the findings after which a history is not believed, so that nothing is
// made from it.
var damage = []string{codeResidue, codeSentinelMissing, codeMismatch, codeTorn, codeGap, codeTwice, codeNoStart, codeOrphan, codeUnknown, codeNoRow}

// blocks reports whether g keeps a finding with another code of the same instance
// from being mended.
func blocks(code string, g *verify.Finding) bool {
	if g.Code == code || !slices.Contains(damage, g.Code) || g.Code == codeUnknown && g.Severity != verify.Error {
		return false
	}
	switch code {
	case codeForeignURL, codeWrongPartition:
		return false // neither looks at the history
	case codeSentinelMissing, codeMismatch:
		return g.Code != codeResidue && g.Code != codeNoRow
	case codeResidue:
		return g.Code != codeNoRow
	}
	return true
}

// verified are the checks that are made of a plan. Those of payloads would list
// them all each time, and no repair changes them.
func verified() []string {
	var all []string
	for _, c := range verify.Checks() {
		if c.Code != codeMissing && c.Code != codeOrphanBlob && c.Code != codeCorrupt {
			all = append(all, c.Code)
		}
	}
	return all
}
