package repair

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/verify"
)

// workload is what an instance has lost.
type workload struct {
	id       string
	key      string
	findings []*verify.Finding
	pieces   []*piece
	// all are kinds of which everything is lost that cannot be seen, by EventId:
	// whether an activity or a timer may be hidden depends on the queues of the
	// instance alone, and a finding names only some of them.
	all map[migrate.Kind][]int32
	// redriven says that a row was neutralised, so that the instance has to be
	// woken.
	redriven bool
}

// piece is one thing that is lost.
type piece struct {
	finding *verify.Finding
	kinds   []migrate.Kind // that its message may have
	eventID int32
	settled bool
	why     string // it cannot be made again
}

// startKinds and the others are what the messages of open work may be.
var (
	startKinds = []migrate.Kind{migrate.KindStart}
	childDone  = []migrate.Kind{migrate.KindChildAnswer}
	workKinds  = map[replay.OpenKind][]migrate.Kind{
		replay.OpenActivity:         {migrate.KindActivity},
		replay.OpenTimer:            {migrate.KindTimer},
		replay.OpenSubOrchestration: {migrate.KindChildStart, migrate.KindChildAnswer},
		replay.OpenEntityCall:       {migrate.KindEntityRequest, migrate.KindEntityAnswer},
		replay.OpenLockRequest:      {migrate.KindEntityRequest, migrate.KindEntityAnswer},
		replay.OpenSignal:           {migrate.KindEntitySignal},
	}
)

// named says which message is meant, of the work with an EventId.
func named(kind migrate.Kind, eventID int32) string {
	switch kind {
	case migrate.KindStart:
		return "the start message"
	case migrate.KindChildStart:
		return "the start of " + work(kind, eventID)
	case migrate.KindChildAnswer:
		return "the answer of " + work(kind, eventID)
	case migrate.KindEntityAnswer:
		return "the answer to " + work(kind, eventID)
	case migrate.KindActivity:
		return "the work item of " + work(kind, eventID)
	case migrate.KindTimer:
		return "the message of " + work(kind, eventID)
	}
	return work(kind, eventID)
}

func work(kind migrate.Kind, eventID int32) string {
	switch kind {
	case migrate.KindActivity:
		return fmt.Sprintf("activity %d", eventID)
	case migrate.KindTimer:
		return fmt.Sprintf("timer %d", eventID)
	case migrate.KindChildStart, migrate.KindChildAnswer:
		return fmt.Sprintf("sub-orchestration %d", eventID)
	case migrate.KindEntitySignal:
		return fmt.Sprintf("signal %d", eventID)
	}
	return fmt.Sprintf("request %d to an entity", eventID)
}

// lost notes work whose message is lost. What becomes of it is found out for all
// instances of the round together.
func (r *round) lost(ctx context.Context, f *verify.Finding) (string, error) {
	if r.odd != "" {
		return r.odd, nil
	}
	w := r.work[f.InstanceID]
	if w == nil {
		w = &workload{id: f.InstanceID, key: keyOf(f), all: make(map[migrate.Kind][]int32)}
		r.work[f.InstanceID] = w
	}
	if f.Code == codePending {
		w.findings = append(w.findings, f)
		w.pieces = append(w.pieces, &piece{finding: f, kinds: startKinds, eventID: -1})
		return "", nil
	}
	h, err := r.history(ctx, w.key)
	if err != nil {
		return "", err
	}
	if reason := unsound(h); reason != "" {
		return reason, nil
	}
	found := false
	for _, at := range f.At {
		if at.Table != hub.History.String() || at.PartitionKey != w.key {
			continue
		}
		i := slices.IndexFunc(h.Live.Open, func(o replay.Open) bool { return o.RowKey == at.RowKey && len(workKinds[o.Kind]) > 0 })
		if i < 0 {
			continue
		}
		o := &h.Live.Open[i]
		p := &piece{finding: f, kinds: workKinds[o.Kind], eventID: o.EventID}
		if f.Code == codeChildDone {
			p.kinds = childDone
		}
		if o.Kind == replay.OpenActivity || o.Kind == replay.OpenTimer {
			w.all[p.kinds[0]] = openIDs(&h.Live, o.Kind)
		}
		w.pieces = append(w.pieces, p)
		found = true
	}
	if !found {
		return "its history no longer has what was lost", nil
	}
	w.findings = append(w.findings, f)
	return "", nil
}

// openIDs returns the EventIds of the open work of a kind.
func openIDs(live *replay.State, kind replay.OpenKind) (ids []int32) {
	for i := range live.Open {
		if live.Open[i].Kind == kind {
			ids = append(ids, live.Open[i].EventID)
		}
	}
	return ids
}

// pending makes the messages again that were noted as lost.
func (r *round) pending(ctx context.Context) error {
	if len(r.work) == 0 {
		return nil
	}
	n := &narrow{Reader: r.o}
	for _, w := range r.work {
		n.keys = append(n.keys, w.key)
	}
	slices.SortFunc(n.keys, schema.CompareKeys)
	n.keys = slices.Compact(n.keys)
	items := migrate.Pending(ctx, n, migrate.PendingOptions{MaxBlobBytes: r.opts.MaxBlobBytes, Now: r.opts.Now})
	for i, err := range items {
		if err != nil {
			return err
		}
		if i.Origin == migrate.Seen {
			continue
		}
		if w := r.work[ownerOf(&i)]; w != nil {
			if err := r.item(ctx, w, &i); err != nil {
				return err
			}
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(r.work), compareIDs) {
		r.settle(r.work[id])
	}
	return nil
}

// ownerOf returns the instance that an item of [migrate.Pending] is about: of what
// an instance sends to another one, the sender.
func ownerOf(i *migrate.Item) string {
	switch i.Kind {
	case migrate.KindChildStart, migrate.KindEntityRequest, migrate.KindEntitySignal:
		if i.Message != nil && i.Message.Sender != nil && i.Message.Sender.InstanceID != "" {
			return i.Message.Sender.InstanceID
		}
	}
	return i.InstanceID
}

// item plans what one item says, if it is about something that is lost.
func (r *round) item(ctx context.Context, w *workload, i *migrate.Item) error {
	if i.Kind == migrate.KindWakeUp {
		if !w.redriven || i.Origin != migrate.Redriven {
			return nil
		}
		_, err := r.post(w, i) // to a queue that is there
		return err
	}
	p := w.piece(i)
	if p == nil {
		return nil
	}
	p.settled = true
	if i.Origin == migrate.Unrecoverable {
		p.why = named(i.Kind, p.eventID) + " cannot be made again: " + i.Why
		return nil
	}
	if i.Edit != nil {
		queue := r.info.Names.ControlQueue(schema.Partition(w.id, r.info.PartitionCount))
		if !r.queues[queue] {
			p.why = noQueue(queue)
			return nil
		}
		at := place{hub.History, i.Edit.PartitionKey, i.Edit.RowKey}
		before, err := readRow(ctx, r.o, at)
		if err != nil || before == nil {
			return err
		}
		after := i.Edit.Clone()
		r.write(r.draft(w.id), at, before, &after)
		r.planned(p.finding, fmt.Sprintf("lets the history forget that %s was scheduled, as a rewind does, so that it is scheduled again", work(i.Kind, p.eventID)))
		w.redriven = true
		return nil
	}
	var err error
	if p.why, err = r.post(w, i); err == nil && p.why == "" {
		r.planned(p.finding, fmt.Sprintf("puts %s into %s again", named(i.Kind, p.eventID), i.Queue))
	}
	return err
}

// piece returns what an item is about, nil if that is not lost.
func (w *workload) piece(i *migrate.Item) *piece {
	for _, p := range w.pieces {
		if p.eventID == i.EventID && slices.Contains(p.kinds, i.Kind) && !p.settled {
			return p
		}
	}
	if !slices.Contains(w.all[i.Kind], i.EventID) {
		return nil
	}
	for _, p := range w.pieces {
		if slices.Contains(p.kinds, i.Kind) {
			more := &piece{finding: p.finding, kinds: p.kinds, eventID: i.EventID}
			w.pieces = append(w.pieces, more)
			return more
		}
	}
	return nil
}

// post plans that the message of an item is sent, or says why it cannot be.
func (r *round) post(w *workload, i *migrate.Item) (string, error) {
	if !r.queues[i.Queue] {
		return noQueue(i.Queue), nil
	}
	m := Message{Queue: i.Queue, Text: i.Text, Encoding: r.encoding}
	if i.DueAt > r.now {
		if i.DueAt.Time().Sub(r.now.Time()) > hub.MaxMessageDelay {
			return fmt.Sprintf("it is due at %s, later than a queue can hide a message", i.DueAt), nil
		}
		m.DueAt = i.DueAt.String()
	}
	if i.BlobText != "" {
		m.Blob = &BlobText{Name: i.Blob, Text: i.BlobText}
	}
	d := r.draft(w.id)
	if i.Message != nil {
		// What was found out of the other instance must still hold.
		d.restsOn(schema.EscapeKey(i.InstanceID))
		if i.Message.Sender != nil && i.Message.Sender.InstanceID != "" {
			d.restsOn(schema.EscapeKey(i.Message.Sender.InstanceID))
		}
	}
	return "", r.send(d, m)
}

func noQueue(name string) string {
	return "queue " + name + " does not exist: an app makes it when it starts"
}

// settle says why the findings of an instance are not mended, or only in part.
func (r *round) settle(w *workload) {
	for _, f := range w.findings {
		var reasons []string
		for _, p := range w.pieces {
			if p.finding != f {
				continue
			}
			if p.why == "" && !p.settled {
				p.why = named(p.kinds[0], p.eventID) + " cannot be made again: what it is about is not as an app leaves it"
			}
			if p.why != "" && !slices.Contains(reasons, p.why) {
				reasons = append(reasons, p.why)
			}
		}
		if len(reasons) > 0 {
			r.keep(f, strings.Join(reasons[:min(len(reasons), maxReasons)], "; "))
		}
	}
}

// maxReasons is the number of reasons that are told of one finding.
const maxReasons = 3
