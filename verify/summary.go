package verify

import "strings"

// Summary counts what a verification has looked at and what came of it.
type Summary struct {
	// Checks holds the outcomes of each check that was made, in the order of
	// [Checks].
	Checks []Outcome `json:"checks"`
	// Instances were checked, which have a row, a history or both; HistoryRows
	// were read for it.
	Instances   int64 `json:"instances"`
	HistoryRows int64 `json:"history_rows"`
	// Errors, Warnings and Infos count all findings, whatever Options.MinSeverity.
	Errors   int64 `json:"errors"`
	Warnings int64 `json:"warnings"`
	Infos    int64 `json:"infos"`
}

// Outcome counts the outcomes of one check by its subjects: instances, messages,
// partitions, blobs or the hub, as its scope says.
type Outcome struct {
	Code     string `json:"code"`
	OK       int64  `json:"ok"`
	Violated int64  `json:"violated"`
	// Unknown counts those of which it could not be told.
	Unknown int64 `json:"unknown"`
	// Findings is at least Violated: a subject may have several.
	Findings int64 `json:"findings"`
	// Reasons says why it could not be told, at most [MaxReasons] of them.
	Reasons []Reason `json:"reasons,omitempty"`

	last string // the instance that was counted last
}

// Reason says why the outcome of a check is unknown, for how many subjects.
type Reason struct {
	Why   string `json:"why"`
	Count int64  `json:"count"`
	// Example is the first of the subjects.
	Example string `json:"example"`
}

// MaxReasons is the number of reasons that an outcome keeps; further ones are
// only counted in Unknown.
const MaxReasons = 8

// because keeps a reason.
func (o *Outcome) because(subject, why string) {
	for i := range o.Reasons {
		if o.Reasons[i].Why == why {
			o.Reasons[i].Count++
			return
		}
	}
	if len(o.Reasons) < MaxReasons {
		o.Reasons = append(o.Reasons, Reason{Why: why, Count: 1, Example: strings.Clone(subject)})
	}
}

func (s *Summary) count(severity Severity) {
	switch severity {
	case Error:
		s.Errors++
	case Warning:
		s.Warnings++
	default:
		s.Infos++
	}
}

// Findings returns how many findings of at least this severity were made.
func (s *Summary) Findings(least Severity) int64 {
	n := s.Errors
	if least.Compare(Warning) <= 0 {
		n += s.Warnings
	}
	if least.Compare(Info) <= 0 {
		n += s.Infos
	}
	return n
}
