package replay

import (
	"errors"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/schema"
)

// Options chooses how much of a history is replayed. The zero value takes all of
// it.
//
// A prefix ends with an episode, the unit that the framework commits, and is
// what was stored when that episode had been committed: rows that a later rewind
// changed count as what they were, and an execution that is rewound afterwards
// has failed.
type Options struct {
	// Episode limits the replay to the first so many episodes of the live
	// execution; 0 means all.
	Episode int64
	// At limits it to the episodes before the first that began after this time,
	// by its OrchestratorStarted; 0 means all. A rewind after them counts if its
	// rows were written by then.
	At schema.Ticks
	// OmitInputs leaves out the inputs of open work, which can be large.
	OmitInputs bool
	// Load gets the text of a request to an entity that is kept in a blob, as by
	// [schema.LoadTexts]. If it is nil, such requests are not replayed: only the
	// text tells a call from a signal.
	Load func(column string, t *schema.Text) error
}

// Replayer replays one partition of the History table, row by row. It is not
// safe for concurrent use.
type Replayer struct {
	opts   Options
	h      *History
	entity bool // the instance is one
	names  names
	rec    record

	// x is the execution that the latest rows belong to; runs is how many of
	// them there were, this one included. They follow each other, each from where
	// a later one has not overwritten it.
	x    execution
	runs int
	// next is the RowKey that follows the latest well-formed one, which is the one
	// that nearly every row has.
	next [keyLength]byte
	last place // the latest row, in whichever execution

	// spare is a result that its owner has given back, and spareStart its event.
	spare      *History
	spareStart *schema.ExecutionStarted
}

// New returns a Replayer for the partition with this key.
func New(partitionKey string, opts Options) *Replayer {
	r := &Replayer{opts: opts}
	r.Reset(partitionKey)
	return r
}

// Reset begins another partition with the same Options and reuses memory.
func (r *Replayer) Reset(partitionKey string) {
	key := strings.Clone(partitionKey)
	if r.h = r.spare; r.h == nil {
		r.h = new(History)
	}
	r.spare = nil
	*r.h = History{PartitionKey: key, InstanceID: schema.InstanceID(key)}
	r.entity = schema.IsEntity(r.h.InstanceID)
	r.x.reset(&r.h.Live, "", false)
	r.runs, r.last, r.next = 0, place{}, rowKey(0)
}

func (r *Replayer) instanceID() string { return r.h.InstanceID }

// Add replays one row of the partition: an event or the sentinel. Rows come in
// key order, as storage lists them. Add keeps nothing that belongs to row.
func (r *Replayer) Add(row *schema.Row) {
	if row.IsSentinel() {
		r.addSentinel(row)
		return
	}
	r.h.Rows++
	e := &r.rec
	e.read(row)
	if r.runs == 0 || e.execution != r.x.ExecutionID {
		r.nextRun(e.execution)
	}
	x := &r.x
	at, ok := r.locate(row.RowKey)
	if !ok || r.h.Cut && r.runs == 1 || r.runs > MaxOverwritten {
		r.h.Skipped++
		return
	}
	if r.runs == 1 && e.kind == schema.TypeOrchestratorStarted && r.beyond(e) {
		r.h.Cut = true
		r.h.Skipped++
		return
	}
	if e.unusual {
		if damage := undecodable(row); damage != nil {
			r.anomaly(AnomalyUndecodable, x.ExecutionID, strings.Clone(damage.Column), damage.Err.Error(), at)
		}
	}
	r.apply(x, e, row, at)
}

// beyond reports whether the episode that e begins is not part of the prefix.
func (r *Replayer) beyond(e *record) bool {
	return r.opts.Episode > 0 && r.x.Episodes >= r.opts.Episode || r.opts.At != 0 && e.at > r.opts.At
}

// nextRun begins with the rows of another execution.
func (r *Replayer) nextRun(id string) {
	r.endRun()
	r.runs++
	s := &r.h.Live // until the sentinel tells
	if r.runs > 1 {
		s = new(State)
	}
	r.x.reset(s, strings.Clone(id), r.runs > 1)
}

// endRun keeps what the latest execution has come to.
func (r *Replayer) endRun() {
	switch {
	case r.runs == 1:
		r.x.finish(r.rewindCounts())
	case r.runs > 1 && r.runs <= MaxOverwritten:
		r.x.finish(true)
		r.h.Overwritten = append(r.h.Overwritten, *r.x.State)
	}
}

// rewindCounts reports whether a rewind that no row of the prefix follows is part
// of the prefix. When it was made only the rows tell that it changed.
func (r *Replayer) rewindCounts() bool {
	switch at := r.x.rewindAt; {
	case r.opts.Episode > 0:
		return false
	case r.opts.At == 0:
		return true
	case at == 0:
		return !r.h.Cut
	default:
		return at <= r.opts.At
	}
}

// locate checks the RowKey of a row against the one before. It returns false
// for a row that storage cannot hold beside that one.
func (r *Replayer) locate(key string) (at place, ok bool) {
	x := r.x.ExecutionID
	next := int64(0)
	if r.last.known {
		next = r.last.sequence + 1
	}
	n := next
	if key != string(r.next[:]) {
		if n, ok = schema.ParseSequence(key); !ok {
			return r.oddKey(key), true
		}
	}
	at = place{sequence: n, known: true}
	switch {
	case n < next:
		r.anomaly(AnomalyDuplicateKey, x, "RowKey", "the position of the row before, or one before that", at)
		return at, false
	case n > next && r.last.known:
		r.anomaly(AnomalyGap, x, "RowKey", "rows between these two are missing", place{sequence: r.last.sequence, known: true}, at)
	case n > next:
		r.anomaly(AnomalyGap, x, "RowKey", "the rows before this one are missing", at)
	}
	r.last = at
	if n != next || !increment(&r.next) {
		r.next = rowKey(n + 1)
	}
	return at, true
}

// increment adds 1 to a key, if that changes only its last digit.
func increment(key *[keyLength]byte) bool {
	switch c := &key[keyLength-1]; *c {
	case '9':
		*c = 'A'
	case 'F':
		return false
	default:
		*c++
	}
	return true
}

// oddKey judges a RowKey that the framework does not write. Storage holds it as a
// row of its own, and the framework, which does not look at keys, replays it.
func (r *Replayer) oddKey(key string) place {
	at := place{sequence: r.last.sequence, key: strings.Clone(key), known: true}
	if n, ok := schema.ParseSequence(strings.ToUpper(key)); ok && r.last.known && n <= r.last.sequence {
		r.anomaly(AnomalyDuplicateKey, r.x.ExecutionID, "RowKey", "two spellings of one position", place{sequence: n, known: true}, at)
	} else {
		r.anomaly(AnomalyMalformedKey, r.x.ExecutionID, "RowKey", "is not 16 upper-case hexadecimal digits", at)
	}
	return at
}

func (r *Replayer) addSentinel(row *schema.Row) {
	s, ok := readSentinel(row)
	if !ok {
		kept := row.Clone()
		var err error
		if s, err = schema.DecodeSentinel(&kept); err != nil {
			var damage *schema.DecodeError
			errors.As(err, &damage)
			r.anomaly(AnomalyUndecodable, "", damage.Column, damage.Err.Error(), sentinelPlace)
		}
	}
	s.PartitionKey = r.h.PartitionKey
	if s.ExecutionID.Value == r.x.ExecutionID {
		s.ExecutionID.Value = r.x.ExecutionID
	} else {
		s.ExecutionID.Value = strings.Clone(s.ExecutionID.Value)
	}
	s.ETag = strings.Clone(s.ETag)
	r.h.sentinel = s
	r.h.Sentinel = &r.h.sentinel
}

var sentinelPlace = place{key: schema.SentinelRowKey, known: true}

// End returns the result, which belongs to the caller. The Replayer has to be
// reset before it is used again.
func (r *Replayer) End() *History {
	r.endRun()
	switch s := r.h.Sentinel; {
	case r.runs > 0:
		r.choose()
	case s != nil:
		r.anomaly(AnomalyNoEvents, s.ExecutionID.Value, "", "there is no event beside the sentinel", sentinelPlace)
		fallthrough
	default:
		r.h.Live = none
	}
	h := r.h
	r.h = nil
	return h
}

// Recycle gives back a result of [Replayer.End], of which nothing but texts may be
// used any more. It is for whoever replays a whole hub: of a short history, making
// the result is a good part of the time.
func (r *Replayer) Recycle(h *History) {
	r.spare, r.spareStart = h, h.Live.Started
}

// none is the state of a history without events.
var none = State{Status: schema.StatusUnknown, RowStatus: schema.StatusUnknown}

// choose decides whether the first run of rows is the live history.
func (r *Replayer) choose() {
	s, live := &r.h.sentinel, &r.h.Live // without a sentinel, s is empty
	if s.ExecutionID.Set && s.ExecutionID.Value != live.ExecutionID {
		r.h.Overwritten = slices.Insert(r.h.Overwritten, 0, *live)
		*live = none
		r.anomaly(AnomalySentinelMismatch, s.ExecutionID.Value, "ExecutionId",
			"the sentinel names another execution than the first row", r.h.Overwritten[0].firstRow, sentinelPlace)
		return
	}
	if r.h.Sentinel == nil {
		r.anomaly(AnomalySentinelMissing, live.ExecutionID, "", "there are events and no sentinel", live.firstRow)
	}
	if live.Events > 0 && live.Started == nil {
		r.anomaly(AnomalyNoStart, live.ExecutionID, "", "there is no ExecutionStarted", live.firstRow)
	}
	complete := s.IsCheckpointComplete
	switch {
	case complete.Set && !complete.Value:
		r.anomaly(AnomalyTorn, live.ExecutionID, "IsCheckpointComplete", "the last checkpoint was not written to its end", live.lastRow, sentinelPlace)
	case !live.CheckpointOpen || r.h.Cut:
	case complete.Set:
		r.anomaly(AnomalyTruncated, live.ExecutionID, "", "the last episode has no end although its checkpoint was complete", live.lastRow, sentinelPlace)
	default: // versions before 1.6.5 did not tell
		r.anomaly(AnomalyTorn, live.ExecutionID, "", "the last episode has no end", live.lastRow)
	}
}

// anomaly adds what was found about an execution.
func (r *Replayer) anomaly(code AnomalyCode, execution, column, detail string, rows ...place) {
	h := r.h
	if h.AnomalyCounts == nil {
		h.AnomalyCounts = make(map[AnomalyCode]int64)
	}
	h.AnomalyCounts[code]++
	if h.AnomalyCounts[code] > MaxAnomalies {
		return
	}
	a := Anomaly{Code: code, ExecutionID: execution, Column: column, Detail: detail}
	for _, p := range rows {
		a.RowKeys = append(a.RowKeys, p.String())
	}
	h.Anomalies = append(h.Anomalies, a)
}
