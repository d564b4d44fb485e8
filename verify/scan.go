package verify

import (
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// scan is what is noted of the rows of an instance while they pass, beside the
// replay.
type scan struct {
	// execution is that of the first event row. The rows that have it too, up to
	// the first that has not, are the live history: a sentinel that names another
	// is a finding of its own.
	execution string
	rows      int64
	over      bool // the live history has ended
	// newest is when the history was last written, 0 if unknown.
	newest schema.Ticks

	// unknown are columns that the framework does not have, at most MaxPlaces of
	// them.
	unknown []Place
	rewind  rewind
	// forgotten are the RowKeys of sub-orchestrations that nobody waits for.
	forgotten []string
}

// rewind follows the marks of rewinds through the live history, in row order. A
// rewind marks failures and what had scheduled them one by one, and the
// completion of the execution last, since that is its last row.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:273-377.
type rewind struct {
	marked  []string // rows of failures and of what had scheduled them
	closed  string   // the completion that was marked after them, empty without one
	resumed bool     // an episode has begun since
}

const rewound = "Rewound: "

// instance looks at the row of the Instances table.
func (s *scan) instance(v *run, to *subject, row *schema.Row) {
	l := v.instanceColumns.of(row)
	for _, name := range l.unknown {
		s.note(instanceRow(to.key, name))
	}
	for _, c := range [...]struct {
		column string
		text   schema.Text
		ref    func(container string) schema.Ref
	}{{"Input", to.row.Input, to.row.InputRef}, {"Output", to.row.Output, to.row.OutputRef}} {
		// Most values are JSON, which is neither the address nor the name of a blob.
		if c.text.Blob == "" && (c.text.Value == "" || strings.IndexByte("\"{[", c.text.Value[0]) >= 0) {
			continue
		}
		if blob := c.ref(v.container).Blob; blob != "" {
			v.refer(to, blob, instanceRow(to.key, c.column))
		}
	}
	if blob := to.row.Tags.Blob; blob != "" {
		v.refer(to, blob, instanceRow(to.key, "Tags"+blobNameSuffix))
	}
	if blob := to.row.Name.Blob; blob != "" {
		v.refer(to, blob, instanceRow(to.key, "Name"+blobNameSuffix))
	}
}

// history looks at a row of the History table.
func (s *scan) history(v *run, to *subject, row *schema.Row) {
	l := v.historyColumns.of(row)
	for _, name := range l.unknown {
		s.note(historyRow(to.key, row.RowKey, name))
	}
	s.newest = max(s.newest, row.Timestamp)
	if row.IsSentinel() {
		return
	}
	execution := l.text(row, l.executionID)
	if s.rows++; s.rows == 1 {
		s.execution = strings.Clone(execution)
	}
	s.over = s.over || execution != s.execution
	for _, i := range l.blobs {
		name, _ := row.Properties[i].Value.Text()
		switch {
		case name == "" || v.recheck:
		case s.over:
			v.blobs.leftover(name)
		default:
			v.blobs.reference(to.id, name, func() Place { return historyRow(to.key, row.RowKey, l.names[i]) })
		}
	}
	if s.over {
		return
	}
	event := l.text(row, l.eventType)
	mark, marked := "", false
	if l.reason >= 0 {
		mark, marked = strings.CutPrefix(l.text(row, l.reason), rewound)
	}
	switch {
	case marked && (l.status >= 0 || mark == "ExecutionCompleted"):
		s.rewind.closed, s.rewind.resumed = strings.Clone(row.RowKey), false
	case marked:
		if s.rewind.closed != "" {
			s.rewind = rewind{} // another one
		}
		if len(s.rewind.marked) < MaxPlaces-2 {
			s.rewind.marked = append(s.rewind.marked, strings.Clone(row.RowKey))
		}
	case event == "OrchestratorStarted":
		s.rewind.resumed = s.rewind.closed != ""
	case event == "SubOrchestrationInstanceCreated" && l.instanceID >= 0:
		if tags, _ := row.Get("Tags").Text(); schema.FireAndForget(tags) {
			s.forgotten = append(s.forgotten, strings.Clone(row.RowKey))
		}
		if !v.recheck && v.ids == nil {
			v.relations.created(to.key, l.text(row, l.instanceID))
		}
	}
}

func (s *scan) note(p Place) {
	if len(s.unknown) < MaxPlaces {
		s.unknown = append(s.unknown, p)
	}
}

// window is the time in which a table of a capture was read; zero for a live hub.
func (v *run) window(table hub.Table) (started, finished schema.Ticks) {
	for _, t := range v.info.Tables {
		if t.Table == table {
			return t.Started, t.Finished
		}
	}
	return 0, 0
}

// refer notes that a row which counts names a blob.
func (v *run) refer(s *subject, blob string, at Place) {
	if !v.recheck {
		v.blobs.reference(s.id, blob, func() Place { return at })
	}
}
