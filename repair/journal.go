package repair

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

const journalType = "repair-undo"

// Conditions of a [Journal].
var (
	// ErrOtherPlan is returned for what an earlier run of another plan has left.
	ErrOtherPlan = errors.New("it is the undo file of another plan")
	// ErrEnded is returned by [Apply] if something is to be done with the Journal of
	// a run that has come to its end: what takes that back would be mixed with it.
	ErrEnded = errors.New("it is the undo file of a run that has ended")
)

// journalHead is the first line of a journal.
type journalHead struct {
	Type           string `json:"type"`
	Version        int    `json:"version"`
	TaskHub        string `json:"task_hub"`
	TrackingPrefix string `json:"tracking_prefix,omitempty"`
	Account        string `json:"account"`
	PartitionCount int    `json:"partition_count"`
	BlobEndpoint   string `json:"blob_endpoint,omitempty"`
	// Of is the kind of file that is carried out, PlanSHA256 which one.
	Of         Kind   `json:"of"`
	PlanSHA256 string `json:"plan_sha256"`
	Started    string `json:"started"`
}

// journalLine is any other line: that a step begins, that it was done, or that all
// were.
type journalLine struct {
	Type       string   `json:"type"` // begin, done or end
	Step       int      `json:"step"`
	At         string   `json:"at"`
	InstanceID string   `json:"instance_id,omitempty"`
	Write      *Write   `json:"write,omitempty"`
	Message    *Message `json:"message,omitempty"`
	Removal    *Removal `json:"removal,omitempty"`
}

const (
	lineBegin = "begin"
	lineDone  = "done"
	lineEnd   = "end"
)

// Journal is the undo file of a run: a line before each change, with all that takes
// it back, and one after. It is not safe for concurrent use.
type Journal struct {
	w           io.Writer
	head        journalHead
	fresh, torn bool
	begun, done map[int]bool
	// removing is when the removal of a message was begun last, by step.
	removing map[int]schema.Ticks
	// ended says that an earlier run has come to its end, and former what it had
	// done.
	ended  bool
	former map[int]bool
}

// OpenJournal returns the Journal of a run that carries f out. earlier is what an
// earlier run has written, nil if there was none; it returns [ErrOtherPlan] if that
// was another plan's. Each Write to w is whole lines, which must not get lost when
// it has returned.
func OpenJournal(f *File, earlier io.Reader, w io.Writer) (*Journal, error) {
	sum, err := f.sum()
	if err != nil {
		return nil, err
	}
	j := &Journal{
		w: w, fresh: true, begun: make(map[int]bool), done: make(map[int]bool), removing: make(map[int]schema.Ticks),
		head: journalHead{
			Type: journalType, Version: version, TaskHub: f.TaskHub, TrackingPrefix: f.TrackingPrefix, Account: f.Account,
			PartitionCount: f.PartitionCount, BlobEndpoint: f.BlobEndpoint, Of: f.Kind, PlanSHA256: sum,
		},
	}
	if earlier == nil {
		return j, nil
	}
	text, err := io.ReadAll(io.LimitReader(earlier, maxRead+1))
	if err != nil {
		return nil, err
	}
	head, lines, err := readJournal(text)
	switch {
	case len(text) > maxRead:
		return nil, fmt.Errorf("%w: %w", ErrFormat, hub.ErrTooLarge)
	case err != nil:
		return nil, err
	case head == nil && len(bytes.TrimSpace(text)) == 0:
		return j, nil // cut off before anything was begun
	case head == nil:
		return nil, ErrFormat
	case head.PlanSHA256 != sum:
		return nil, ErrOtherPlan
	}
	j.fresh, j.torn = false, len(text) > 0 && text[len(text)-1] != '\n'
	for _, l := range lines {
		switch l.Type {
		case lineBegin:
			j.begun[l.Step] = true
			if l.Removal != nil {
				j.removing[l.Step], _ = schema.ParseTicks(l.At) // long ago, if it is damaged
			}
		case lineDone:
			j.done[l.Step] = true
		case lineEnd:
			j.ended = true
		}
	}
	if j.ended {
		j.former, j.begun, j.done = j.done, nil, nil
	}
	return j, nil
}

// Resumed reports whether the Journal is that of a run which was cut off.
func (j *Journal) Resumed() bool { return !j.fresh && !j.ended }

// readJournal reads the lines of a journal; head is nil if text is none. A line that
// was cut off says of nothing that has happened.
func readJournal(text []byte) (head *journalHead, lines []journalLine, err error) {
	for line := range bytes.Lines(text) {
		if head == nil {
			h := new(journalHead)
			if json.Unmarshal(line, h) != nil || h.Type != journalType {
				return nil, nil, nil
			}
			if h.Version != version {
				return nil, nil, fmt.Errorf("%w of a version that this program knows: version %d", ErrFormat, h.Version)
			}
			head = h
			continue
		}
		var l journalLine
		if json.Unmarshal(line, &l) == nil {
			lines = append(lines, l)
		}
	}
	return head, lines, nil
}

// parseJournal makes a File that takes back what a journal says was begun, the last
// step first. It is nil if text is no journal.
func parseJournal(text []byte) (*File, error) {
	head, lines, err := readJournal(text)
	if head == nil || err != nil {
		return nil, err
	}
	f := &File{
		Format: format, Version: version, Kind: KindUndo, TaskHub: head.TaskHub, TrackingPrefix: head.TrackingPrefix, Account: head.Account,
		PartitionCount: head.PartitionCount, BlobEndpoint: head.BlobEndpoint, PlannedAt: head.Started, Repairs: []Repair{}, Left: []Left{},
	}
	seen, repairs := make(map[int]bool), make(map[string]int)
	for _, l := range slices.Backward(lines) {
		if l.Type != lineBegin || seen[l.Step] {
			continue
		}
		seen[l.Step] = true
		i, ok := repairs[l.InstanceID]
		if !ok {
			i = len(f.Repairs)
			repairs[l.InstanceID] = i
			f.Repairs = append(f.Repairs, Repair{InstanceID: l.InstanceID})
		}
		r := &f.Repairs[i]
		switch {
		case l.Write != nil:
			r.Writes = append(r.Writes, Write{Table: l.Write.Table, Columns: l.Write.Columns, Before: l.Write.After, After: l.Write.Before})
		case l.Message != nil:
			r.Removals = append(r.Removals, Removal{
				Queue: l.Message.Queue, Text: l.Message.Text, Encoding: l.Message.Encoding, Blob: l.Message.Blob,
			})
		case l.Removal != nil:
			r.Messages = append(r.Messages, Message{
				Queue: l.Removal.Queue, Text: l.Removal.Text, Encoding: l.Removal.Encoding, Blob: l.Removal.Blob,
			})
		default:
			return nil, fmt.Errorf("step %d does nothing", l.Step)
		}
	}
	return f, nil
}

// write adds lines, the first one before any other.
func (j *Journal) write(l *journalLine, now string) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	l.At = now
	if j.torn {
		b.WriteByte('\n')
	}
	if j.fresh {
		j.head.Started = now
		if err := e.Encode(&j.head); err != nil {
			return err
		}
	}
	if err := e.Encode(l); err != nil {
		return err
	}
	if _, err := j.w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write the undo file: %w", err)
	}
	j.fresh, j.torn = false, false
	return nil
}
