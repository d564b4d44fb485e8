package verify

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// historyChecks reports what the replay of a history has found odd.
func (v *run) historyChecks(ctx context.Context, s *subject) error {
	var again []string // results that came again
	for _, a := range s.h.Anomalies {
		if a.ExecutionID != "" && a.ExecutionID != s.h.Live.ExecutionID && s.h.Live.Events > 0 {
			continue // of what an earlier execution has left
		}
		f := Finding{ExecutionID: a.ExecutionID, Detail: a.Detail}
		switch a.Code {
		case replay.AnomalyGap:
			f.Code = codeRowKeyGap
		case replay.AnomalyDuplicateKey:
			f.Code = codeRowKeyDuplicate
		case replay.AnomalySentinelMissing:
			f.Code = codeSentinelMissing
			f.At = []Place{historyRow(s.key, schema.SentinelRowKey, "")}
		case replay.AnomalySentinelMismatch:
			f.Code = codeSentinelMismatch
		case replay.AnomalyNoStart:
			f.Code = codeHistoryNoStart
		case replay.AnomalyOrphanCompletion, replay.AnomalyWrongKind:
			if holes(s) {
				s.unknown(codeOrphanCompletion, "rows of the history are missing")
				continue
			}
			f.Code = codeOrphanCompletion
		case replay.AnomalyDuplicateCompletion:
			again = append(again, a.RowKeys...)
			continue
		case replay.AnomalySelfReference:
			if s.has(codeDuplicateSuborch) {
				continue // it is its own child and its own parent
			}
			f.Code = codeDuplicateSuborch
		default:
			continue
		}
		if f.At == nil {
			f.At = historyRows(s.key, a.RowKeys...)
		}
		s.violated(f)
	}
	v.tornCheckpoint(s)
	v.leftovers(s)
	v.unknownColumns(s)
	return v.duplicates(ctx, s, again)
}

// holes reports whether rows are missing that could have begun what has a result.
func holes(s *subject) bool {
	n := s.h.AnomalyCounts
	return n[replay.AnomalyGap]+n[replay.AnomalyNoStart]+n[replay.AnomalyDuplicateKey]+n[replay.AnomalyUndecodable] > 0
}

// duplicates judges results of work that already had one: by what they are of and
// whether they say the same. The replay does not keep results, so that the rows
// are read again.
func (v *run) duplicates(ctx context.Context, s *subject, again []string) error {
	if len(again) == 0 || !v.wants(codeDuplicateCompletion) && !v.wants(codeOrphanCompletion) {
		return nil
	}
	type result struct {
		rowKey, text string
		kind         schema.EventType // of what was scheduled
	}
	ids := make(map[int32]*result) // of the work with several results
	for _, rowKey := range again {
		keys := hub.Partition(s.key)
		keys.RowKey = rowKey
		for row, err := range v.r.Rows(ctx, hub.History, keys) {
			if err != nil {
				return fmt.Errorf("read history of %q: %w", s.id, err)
			}
			if id, _, ok := answerOf(&row); ok {
				ids[id] = new(result)
			}
		}
	}
	for rows, err := range hub.Batches(ctx, v.r, hub.History, hub.Partition(s.key)) {
		if err != nil {
			return fmt.Errorf("read history of %q: %w", s.id, err)
		}
		for i := range rows {
			row := &rows[i]
			if execution, _ := row.Get("ExecutionId").Text(); execution != s.h.Live.ExecutionID {
				continue
			}
			if kind := scheduleOf(row); kind != schema.TypeUnknown {
				id, _ := row.Get("EventId").Int()
				if r := ids[int32(id)]; r != nil {
					*r = result{kind: kind}
				}
				continue
			}
			id, kind, ok := answerOf(row)
			r := ids[id]
			if !ok || r == nil {
				continue
			}
			text, err := v.resultText(ctx, row)
			if err != nil {
				return err
			}
			if r.rowKey == "" {
				r.rowKey, r.text = strings.Clone(row.RowKey), text
				continue
			}
			if !slices.Contains(again, row.RowKey) {
				continue
			}
			f := Finding{Code: codeDuplicateCompletion, At: historyRows(s.key, r.rowKey, row.RowKey)}
			switch {
			case r.kind != schema.TypeUnknown && r.kind != kind:
				f.Code = codeOrphanCompletion
				f.Detail = fmt.Sprintf("a result of %s, which is of another kind", work(kind, id))
			case r.text == text:
				f.Severity = Info
				f.Detail = fmt.Sprintf("%s has the same result twice", work(kind, id))
			default:
				f.Detail = fmt.Sprintf("%s has two results, of which the first counts", work(kind, id))
			}
			s.violated(f)
		}
	}
	return nil
}

func work(kind schema.EventType, id int32) string {
	switch kind {
	case schema.TypeTimerCreated:
		return fmt.Sprintf("timer %d", id)
	case schema.TypeSubOrchestrationCreated:
		return fmt.Sprintf("sub-orchestration %d", id)
	}
	return fmt.Sprintf("activity %d", id)
}

// scheduleOf returns the kind of work that a row schedules, or TypeUnknown.
func scheduleOf(row *schema.Row) schema.EventType {
	name, _ := row.Get("EventType").Text()
	switch t := schema.EventTypeNamed(name); t {
	case schema.TypeTaskScheduled, schema.TypeTimerCreated, schema.TypeSubOrchestrationCreated:
		return t
	}
	return schema.TypeUnknown
}

// answerOf returns which work a row is the result of, and the kind that has such
// results.
func answerOf(row *schema.Row) (id int32, kind schema.EventType, ok bool) {
	name, _ := row.Get("EventType").Text()
	column := "TaskScheduledId"
	switch schema.EventTypeNamed(name) {
	case schema.TypeTaskCompleted, schema.TypeTaskFailed:
		kind = schema.TypeTaskScheduled
	case schema.TypeSubOrchestrationCompleted, schema.TypeSubOrchestrationFailed:
		kind = schema.TypeSubOrchestrationCreated
	case schema.TypeTimerFired:
		kind, column = schema.TypeTimerCreated, "TimerId"
	default:
		return 0, 0, false
	}
	n, ok := row.Get(column).Int()
	return int32(n), kind, ok
}

// resultColumns are those that make up the result of an activity or
// sub-orchestration. A blob is named for its row, and another row with the same
// result has another one: their texts are compared.
var resultColumns = []string{"EventType", "Result", "Reason", "Details", "FailureDetails", "FireAt"}

// resultText returns what a row says of a result. Of a large one it is a hash.
func (v *run) resultText(ctx context.Context, row *schema.Row) (string, error) {
	all := sha256.New()
	for _, name := range resultColumns {
		text := row.Get(name).String()
		if blob, ok := row.Get(name + blobNameSuffix).Text(); ok && blob != "" {
			loaded, err := hub.LoadText(ctx, v.r, v.container, schema.StoredBlobName(blob), v.opts.MaxBlobBytes)
			if ctx.Err() != nil {
				return "", context.Cause(ctx)
			}
			if text = loaded; err != nil {
				text = row.RowKey + blob // nothing is equal to what cannot be read
			}
		}
		all.Write(strconv.AppendInt(nil, int64(len(text)), 10)) // never fails
		all.Write([]byte(":" + text))
	}
	return string(all.Sum(nil)), nil
}

// spelledTwice reports a row whose RowKey spells the position of another one.
func (v *run) spelledTwice(s *subject, a *replay.Anomaly) bool {
	if len(a.RowKeys) == 0 {
		return false
	}
	key := a.RowKeys[0]
	if slices.ContainsFunc(s.findings, func(f Finding) bool {
		return f.Code == codeRowKeyDuplicate && slices.ContainsFunc(f.At, func(p Place) bool { return p.RowKey == key })
	}) {
		return true
	}
	n, err := strconv.ParseInt(key, 16, 64)
	if err != nil || n < 0 || n > s.h.Live.LastSequence || n < s.h.Live.FirstSequence || s.h.Live.Events == 0 {
		return false
	}
	s.violated(Finding{
		Code: codeRowKeyDuplicate, At: historyRows(s.key, schema.FormatSequence(n), key),
		Detail: fmt.Sprintf("the keys of two rows spell position %d", n),
	})
	return true
}

// torn reports whether the last checkpoint of a history is not complete.
func (v *run) torn(s *subject) bool {
	return s.h.AnomalyCounts[replay.AnomalyTorn]+s.h.AnomalyCounts[replay.AnomalyTruncated] > 0
}

// tornCheckpoint looks at the end of the history. What the framework has torn
// heals: the messages that have caused the episode are deleted only after it is
// stored. A history that ends too early although its checkpoint was complete has
// lost rows, and does not.
func (v *run) tornCheckpoint(s *subject) {
	for _, a := range s.h.Anomalies {
		if a.Code != replay.AnomalyTorn && a.Code != replay.AnomalyTruncated {
			continue
		}
		if from, _ := v.window(hub.History); v.moving() && s.scan.newest.Time().Add(inFlight).After(from.Time()) {
			s.unknown(codeCheckpointTorn, "a worker may have been writing the checkpoint when the capture was taken")
			return
		}
		f := Finding{Code: codeCheckpointTorn, ExecutionID: a.ExecutionID, Detail: a.Detail, At: historyRows(s.key, a.RowKeys...)}
		if a.Code == replay.AnomalyTorn {
			f.Heals = v.healsTorn(s)
		}
		s.violated(f)
		return
	}
}

func (v *run) healsTorn(s *subject) string {
	then := "a worker that takes it runs the episode again"
	if m := v.trigger(s); m != "" {
		return m + ": " + then
	}
	return v.hiddenTrigger(s, "the checkpoint was not completed", then)
}

// leftovers reports what earlier executions have left behind.
func (v *run) leftovers(s *subject) {
	if len(s.h.Overwritten) == 0 || s.h.Live.Events == 0 {
		return
	}
	var rows int64
	f := Finding{Code: codeStaleGenerationTail}
	for _, o := range s.h.Overwritten {
		rows += o.Events
		if len(f.At) < MaxPlaces {
			f.At = append(f.At, historyRow(s.key, schema.FormatSequence(o.FirstSequence), ""))
		}
	}
	f.Detail = fmt.Sprintf("after the %d rows of the current execution, %d are left of %d earlier", s.h.Live.Events, rows, len(s.h.Overwritten))
	s.violated(f)
}

// unknownColumns reports what this package does not know of the rows, and what
// the framework cannot read.
func (v *run) unknownColumns(s *subject) {
	var unread []Place
	var why string
	if s.rowErr != nil {
		unread, why = append(unread, instanceRow(s.key, "")), s.rowErr.Error()
	}
	for _, a := range s.h.Anomalies {
		switch a.Code {
		case replay.AnomalyUndecodable, replay.AnomalyMalformedKey:
			if a.Code == replay.AnomalyMalformedKey && v.spelledTwice(s, &a) {
				continue
			}
			if len(unread) == 0 {
				why = a.Detail
			}
			for _, p := range historyRows(s.key, a.RowKeys...) {
				p.Column = a.Column
				unread = append(unread, p)
			}
		case replay.AnomalyUnknownEvent:
			s.scan.unknown = append(s.scan.unknown, historyRows(s.key, a.RowKeys...)...)
		}
	}
	if len(unread) > 0 {
		s.violated(Finding{Code: codeSchemaUnknown, Severity: Error, Detail: "the framework cannot read the row: " + why, At: unread})
	}
	if len(s.scan.unknown) > 0 {
		f := Finding{Code: codeSchemaUnknown, At: s.scan.unknown}
		if column := s.scan.unknown[0].Column; column != "" {
			f.Detail = fmt.Sprintf("versions up to 2.9.1 have no column %q", column)
		} else {
			f.Detail = "versions up to 2.9.1 have no such type of event"
		}
		s.violated(f)
	}
}
