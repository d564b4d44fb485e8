package migrate

import (
	"errors"
	"fmt"
	"maps"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// The types of the lines of a journal.
const (
	entryReceive = "receiving"
	entryRun     = "migration"
	entryPhase   = "phase"
	entryWritten = "written"
	entryEnded   = "ended"
	entryChecked = "checked"
	entryDiffers = "differs"
	entryMade    = "made"
	entryDone    = "done"
)

// entry is a line of a journal.
type entry struct {
	Type string `json:"type"`
	At   string `json:"at"`

	// Until is when messages of the source are in sight again that a run hides which
	// is receiving them. It is empty if there are none.
	Until string `json:"until,omitempty"`

	// Run begins a run.
	Run *runHeader `json:"run,omitempty"`

	Phase Phase  `json:"phase,omitempty"`
	UpTo  *place `json:"up_to,omitempty"`
	// Items and Bytes are those of the phase that are done, by earlier runs too.
	Items int64 `json:"items,omitempty"`
	Bytes int64 `json:"bytes,omitempty"`

	// Digests are those of the target, by table and as blobs.
	Digests map[string]Digest `json:"digests,omitempty"`
	// Blob is the name of one that is made for a message.
	Blob string `json:"blob,omitempty"`
}

// runHeader says of what a run is.
type runHeader struct {
	identity
	// Created is the time in taskhub.json.
	Created string `json:"created"`
	// Plan is the digest of the plan.
	Plan string `json:"plan_sha256"`
	// Again says that everything is written once more.
	Again bool `json:"again"`
}

// place is a row or blob: all up to it, and it itself, are in the target.
type place struct {
	PartitionKey string `json:"partition_key,omitempty"`
	RowKey       string `json:"row_key,omitempty"`
	Container    string `json:"container,omitempty"`
	Blob         string `json:"blob,omitempty"`
}

// identity is what two runs of one migration have in common.
type identity struct {
	Version       int          `json:"version"` // of the journal
	Source        journaledHub `json:"source"`
	Target        journaledHub `json:"target"`
	Partitions    int          `json:"partition_count"`
	Manager       string       `json:"partition_manager"`
	Framework     int          `json:"framework"`
	Encoding      string       `json:"encoding"`
	WithoutQueues bool         `json:"without_queues"`
	// Selection is a digest of the IDs of the instances that are selected; empty
	// for all.
	Selection string `json:"selection_sha256,omitempty"`
}

const journalVersion = 1

// journaledHub is one of the two hubs.
type journaledHub struct {
	Account        string `json:"account,omitempty"`
	TaskHub        string `json:"task_hub"`
	TrackingPrefix string `json:"tracking_prefix,omitempty"`
	// LargeMessages is the address of a container, which tells the account.
	LargeMessages string `json:"large_messages,omitempty"`
	// Captured is when the capture was taken.
	Captured string `json:"captured,omitempty"`
}

// differences lists for people in what the migration of a journal is another.
func (old *identity) differences(now *identity) []string {
	var all []string
	add := func(what string, a, b any) {
		if a != b {
			all = append(all, fmt.Sprintf("%s %v and not %v", what, a, b))
		}
	}
	add("it has version", old.Version, now.Version)
	for _, h := range []struct {
		what     string
		old, now *journaledHub
	}{{"source", &old.Source, &now.Source}, {"target", &old.Target, &now.Target}} {
		add(h.what+" account", h.old.Account, h.now.Account)
		add(h.what+" hub", h.old.TaskHub, h.now.TaskHub)
		add(h.what+" tracking tables", h.old.TrackingPrefix, h.now.TrackingPrefix)
		add(h.what+" blobs", h.old.LargeMessages, h.now.LargeMessages)
		add(h.what+" captured", h.old.Captured, h.now.Captured)
	}
	add("partitions", old.Partitions, now.Partitions)
	add("partition manager", old.Manager, now.Manager)
	add("framework", old.Framework, now.Framework)
	add("encoding", old.Encoding, now.Encoding)
	add("without queues", old.WithoutQueues, now.WithoutQueues)
	if old.Selection != now.Selection {
		all = append(all, "other instances are selected")
	}
	return all
}

// journalState is what the lines of a journal add up to.
type journalState struct {
	hidden schema.Ticks // until when messages of the source may be hidden
	header *runHeader   // of the latest run; nil if there was none
	phases map[Phase]phaseState
	// checked are the digests of the target when it was the same as the source;
	// nil if it was not, or was not looked at. From then on the target belongs to
	// its workers.
	checked *Digests
	made    map[string]bool // names of blobs
	done    bool
}

// phaseState is how far a phase was.
type phaseState struct {
	place
	items, bytes int64
	ended        bool
}

// apply adds a line.
func (s *journalState) apply(e *entry) error {
	switch {
	case e.Type == entryReceive:
		s.hidden, _ = schema.ParseTicks(e.Until) // empty: no longer
		return nil
	case e.Type == entryRun && e.Run == nil:
		return errors.New("a run that does not say of what it is")
	case e.Type == entryRun:
		return s.run(e.Run)
	case s.header == nil || s.done:
		return fmt.Errorf("a line %q outside of a run", e.Type)
	}
	switch e.Type {
	case entryPhase:
	case entryWritten, entryEnded:
		p := phaseState{items: e.Items, bytes: e.Bytes, ended: e.Type == entryEnded}
		if e.UpTo != nil {
			p.place = *e.UpTo
		}
		s.phases[e.Phase] = p
	case entryChecked:
		s.checked = digestsNamed(e.Digests)
	case entryDiffers:
		s.forget()
	case entryMade:
		s.made[e.Blob] = true
	case entryDone:
		s.done = true
	default:
		return fmt.Errorf("a line %q", e.Type)
	}
	return nil
}

func (s *journalState) run(h *runHeader) error {
	switch {
	case s.done:
		return errors.New("a run after the migration has ended")
	case s.header != nil && s.header.identity != h.identity:
		return errors.New("runs of several migrations")
	case s.header == nil:
		s.made = make(map[string]bool)
	}
	if s.header == nil || h.Again || s.header.Plan != h.Plan {
		s.forget()
	}
	s.header = h
	return nil
}

// forget takes it that nothing is written.
func (s *journalState) forget() { s.phases, s.checked = make(map[Phase]phaseState), nil }

// digestsNamed is the reverse of named.
func digestsNamed(all map[string]Digest) *Digests {
	d := &Digests{Tables: make(map[hub.Table]Digest), Blobs: all[blobDigest]}
	for _, table := range hub.Tables {
		if digest, ok := all[strings.ToLower(table.String())]; ok {
			d.Tables[table] = digest
		}
	}
	return d
}

// state returns what the journal says of a phase.
func (j *Journal) state(p Phase) phaseState {
	if j == nil {
		return phaseState{}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.phases[p]
}

// hiddenUntil returns until when messages of the source may be hidden that an
// earlier run was receiving; zero if there are none.
func (j *Journal) hiddenUntil() schema.Ticks {
	if j == nil {
		return 0
	}
	return j.hidden
}

// begun reports whether an earlier run has begun.
func (j *Journal) begun() bool { return j != nil && j.header != nil }

// wasWhole reports whether the copy was once the same as the source, by the plan
// at hand.
func (j *Journal) wasWhole() bool { return j != nil && j.checked != nil }

// madeBefore returns the names of the blobs that earlier runs may have made.
func (j *Journal) madeBefore() map[string]bool {
	all := make(map[string]bool)
	if j != nil {
		maps.Copy(all, j.made)
	}
	return all
}

// createdBefore returns the time in taskhub.json that earlier runs have written,
// or otherwise.
func (j *Journal) createdBefore(otherwise schema.Ticks) schema.Ticks {
	if j.begun() {
		if t, err := schema.ParseTicks(j.header.Created); err == nil {
			return t
		}
	}
	return otherwise
}
