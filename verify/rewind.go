package verify

import (
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// interruptedRewind reports whether all rows of a rewind were changed and the
// status was not: the step after.
func (s *subject) interruptedRewind() bool {
	return s.row != nil && s.live() && s.current() && s.h.Live.Rewound && s.scan.rewind.closed != "" && !s.scan.rewind.resumed &&
		s.row.Status() == schema.StatusFailed
}

// rewindResidue looks for a rewind that came to no end. Its steps are: the rows
// one by one, the completion last, then the status, then a message that wakes the
// instance, unless a child is rewound that will.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:273-377, 845-869,
// AzureStorageOrchestrationService.cs:1965-1985.
func (v *run) rewindResidue(s *subject) {
	live := &s.h.Live
	f := Finding{Code: codeRewindResidue}
	switch {
	case !s.live():
		return
	case len(s.scan.rewind.marked) > 0 && s.scan.rewind.closed == "" && live.Completed != nil && live.Status == schema.StatusFailed:
		f.Detail = "rows of failures were rewound, and the failure of the execution was not"
	case s.interruptedRewind():
		f.Detail = "the history was rewound, and the row still says Failed"
		f.At = []Place{instanceRow(s.key, "RuntimeStatus")}
	case live.Rewound && !s.scan.rewind.resumed && s.scan.rewind.closed != "" && s.row != nil && s.current() && !v.awakes(s):
		if v.messages.hiddenFor(s.id) > ownHidden(s) {
			s.unknown(codeRewindResidue, "the message that wakes the instance may be among those that are hidden")
			return
		}
		f.Detail = "the instance was rewound, and the message that wakes it is in no queue"
		f.At = []Place{{Queue: v.messages.controlQueue(s.id)}}
	default:
		return
	}
	f.At = append(f.At, historyRows(s.key, s.scan.rewind.marked...)...)
	if s.scan.rewind.closed != "" {
		f.At = append(f.At, historyRow(s.key, s.scan.rewind.closed, ""))
	}
	switch why := v.apart(s); {
	case why != "":
		s.unknown(codeRewindResidue, why)
	case v.moving():
		s.unknown(codeRewindResidue, whyMoving)
	default:
		s.violated(f)
	}
}

// awakes reports whether something will wake a rewound instance: a message that
// can be seen, or a child that was rewound with it.
func (v *run) awakes(s *subject) bool {
	if v.trigger(s) != "" {
		return true
	}
	for i := range s.h.Live.Open {
		if s.h.Live.Open[i].Kind == replay.OpenSubOrchestration {
			return true // see child-done-parent-waiting
		}
	}
	return false
}
