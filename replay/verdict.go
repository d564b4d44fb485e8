package replay

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/taskhub-tools/taskhub/schema"
)

// Source is a table that a value comes from.
type Source string

// Where a value comes from.
const (
	FromHistory Source = "history"
	FromRow     Source = "row"
)

// Verdict joins the row and the history of one instance.
type Verdict struct {
	// ExecutionID is the current execution.
	ExecutionID string
	// Status is the runtime status that the row should have, and StatusFrom what
	// says so: a row alone tells of a start that was not picked up.
	Status     schema.Status
	StatusFrom Source
	// Differences lists the columns in which the row is not what history says,
	// in the order of the framework's columns.
	Differences []Difference
	// NotDerivable lists the columns that this history cannot tell, by name.
	NotDerivable []string
}

// Difference is one column in which the Instances row is not what history says.
type Difference struct {
	Column string
	// Stored is what the row has, Derived what history says, both as text; an
	// absent value is empty. Long texts are cut.
	Stored, Derived string
	// Evidence says for people what in history shows it; RowKeys names the rows.
	Evidence string
	RowKeys  []string
}

// Loader gets the texts that Compare needs from blobs. The zero value gets none:
// what is in blobs is then compared by the name of the blob, where both tables
// have one.
type Loader struct {
	// Container is the hub's large-message container, whose URLs stand for texts.
	Container string
	// Load returns the text that a reference stands for. With an error the column
	// counts as one that cannot be told.
	Load func(ref schema.Ref) (schema.Text, error)
}

// columns of the Instances table, in the order in which they are compared.
const (
	colExecutionID = "ExecutionId"
	colName        = "Name"
	colVersion     = "Version"
	colInput       = "Input"
	colOutput      = "Output"
	colCustom      = "CustomStatus"
	colCreated     = "CreatedTime"
	colUpdated     = "LastUpdatedTime"
	colCompleted   = "CompletedTime"
	colStatus      = "RuntimeStatus"
	colHub         = "TaskHubName"
	colScheduled   = "ScheduledStartTime"
	colGeneration  = "Generation"
	colTags        = "Tags"
)

var allColumns = [...]string{
	colExecutionID, colName, colVersion, colInput, colOutput, colCustom, colCreated, colUpdated, colCompleted, colStatus, colHub,
	colScheduled, colGeneration, colTags,
}

// Compare tells where the Instances row of an instance is not what its history
// says, and what the runtime status is. row may be nil: then history alone
// tells.
//
// History is the authority, as it is for the framework, except for what it
// cannot know: without a live history, or if the row is of a later start that
// was not picked up yet, the row's status stands and no column can be told. The
// same holds for a history of which Options left out a part. A custom status, the
// name of the hub, and what an earlier execution may have left in the row are
// never differences.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:781-902, 934-1062.
func Compare(row *schema.Instance, h *History, loader Loader) Verdict {
	live := &h.Live
	if row == nil {
		return Verdict{ExecutionID: live.ExecutionID, Status: live.shown(), StatusFrom: FromHistory, NotDerivable: []string{colCustom, colHub}}
	}
	c := comparison{row: row, h: h, live: live, loader: loader}
	c.v.ExecutionID, c.v.Status, c.v.StatusFrom = live.ExecutionID, live.shown(), FromHistory
	switch {
	case h.Cut:
		c.v.NotDerivable = allColumns[:]
	case live.Events == 0 || c.laterStart():
		c.v.ExecutionID, c.v.Status, c.v.StatusFrom = row.ExecutionID.Value, row.Status(), FromRow
		c.v.NotDerivable = allColumns[:]
	default:
		c.columns()
	}
	c.v.NotDerivable = slices.Clone(c.v.NotDerivable)
	return c.v
}

// shown is the status that the row of s has if it is right.
func (s *State) shown() schema.Status {
	if s.Rewound && s.RowStatus == schema.StatusPending {
		return schema.StatusPending
	}
	return s.Status
}

type comparison struct {
	v      Verdict
	row    *schema.Instance
	h      *History
	live   *State
	loader Loader
}

// laterStart reports whether the row is of an execution that a client has
// started since, and that no worker has picked up. It may have been terminated
// before that.
//
// Recorded in instance hello-1 of hub functions-3-after-write.
func (c *comparison) laterStart() bool {
	id, status := c.row.ExecutionID, c.row.Status()
	if id.Set && id.Value == c.live.ExecutionID || status != schema.StatusPending && status != schema.StatusTerminated {
		return false
	}
	created := c.row.CreatedTime
	if !created.Set || c.live.CreatedTime == 0 {
		return status == schema.StatusPending
	}
	return created.Value > c.live.CreatedTime
}

// columns compares one column after another.
//
// A checkpoint merges what it knows into the row, and null does not overwrite.
// So where history has no value the row may have one of an earlier execution,
// unless this execution was started by a client, which replaces the row.
func (c *comparison) columns() {
	row, live, started := c.row, c.live, c.live.Started
	fresh := started != nil && started.Generation.Set && live.Parent == nil
	const byStart = "ExecutionStarted"
	if started == nil {
		started = new(schema.ExecutionStarted)
	}
	if row.ExecutionID.Value != live.ExecutionID {
		c.differ(colExecutionID, row.ExecutionID.Value, live.ExecutionID, "the rows of the live history", live.firstRow)
	}
	c.text(colName, c.inline(row.Name), started.Name, fresh, byStart, live.started)
	c.optional(colVersion, row.Version.Value, row.Version.Set, started.Version.Value, started.Version.Set, fresh, byStart, live.started)
	c.text(colInput, textAt{row.Input, row.InputRef(c.loader.Container)}, started.Input, fresh, byStart, live.started)
	c.output(fresh)
	c.unknown(colCustom)
	if live.Started != nil {
		c.time(colCreated, row.CreatedTime, live.CreatedTime, byStart, live.started)
	} else {
		c.unknown(colCreated)
	}
	if live.rewoundLast { // the rewind wrote its own time
		c.unknown(colUpdated)
	} else {
		c.time(colUpdated, row.LastUpdatedTime, live.LastUpdatedTime, "the last event", live.lastRow)
	}
	c.completed(fresh)
	c.status()
	c.unknown(colHub)
	switch scheduled := started.ScheduledStartTime; {
	case scheduled.Set:
		c.time(colScheduled, row.ScheduledStartTime, scheduled.Value, byStart, live.started)
	case row.ScheduledStartTime.Set && fresh:
		c.differ(colScheduled, row.ScheduledStartTime.Value.String(), "", byStart, live.started)
	case row.ScheduledStartTime.Set:
		c.unknown(colScheduled)
	}
	number := func(n schema.Optional[int32]) string { return strconv.Itoa(int(n.Value)) }
	c.optional(colGeneration, number(row.Generation), row.Generation.Set, number(started.Generation), started.Generation.Set, fresh, byStart, live.started)
	if !started.Tags.IsNull() || !row.Tags.IsNull() { // the text null and an absent column are the same
		c.text(colTags, c.inline(row.Tags), started.Tags, fresh, byStart, live.started)
	}
}

// status compares RuntimeStatus. Both what the framework derives and what its
// checkpoints wrote are right; they differ where nothing went wrong.
func (c *comparison) status() {
	row, live := c.row, c.live
	if live.Status == schema.StatusUnknown {
		c.v.Status, c.v.StatusFrom = row.Status(), FromRow
		c.unknown(colStatus)
		return
	}
	if s := row.Status(); s == c.v.Status || s == live.Status || s == live.RowStatus {
		return
	}
	evidence := "the events of the live history"
	switch {
	case c.v.Status == schema.StatusPending:
		evidence = "rows changed by a rewind"
	case live.Completed != nil && live.Status != schema.StatusSuspended:
		evidence = "ExecutionCompleted"
	case live.Suspended:
		evidence = "ExecutionSuspended"
	}
	c.differ(colStatus, row.RuntimeStatus.Value, c.v.Status.String(), evidence, live.statusRow)
}

// completed compares CompletedTime: the worker's clock when the checkpoint was
// written, which is after the event and not after the sentinel's time.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:982-1000; a repaired row
// has the event's time: AzureTableTrackingStore.cs:1119-1232.
func (c *comparison) completed(fresh bool) {
	stored, live := c.row.CompletedTime, c.live
	if live.Completed == nil {
		switch {
		case !stored.Set && !live.RowStatus.Terminal():
		case !fresh || live.Rewound || live.RowStatus.Terminal():
			c.unknown(colCompleted)
		default:
			c.differ(colCompleted, stored.Value.String(), "", "no completion in the live history", live.lastRow)
		}
		return
	}
	latest := schema.MaxTicks
	if s := c.h.Sentinel; s != nil && s.CheckpointCompletedTimestamp.Set {
		latest = s.CheckpointCompletedTimestamp.Value
	}
	if !stored.Set || stored.Value < live.CompletedTime || stored.Value > latest && stored.Value != live.CompletedTime {
		c.differ(colCompleted, timeText(stored), live.CompletedTime.String(),
			"ExecutionCompleted, and the sentinel's CheckpointCompletedTimestamp after it", live.completed, sentinelPlace)
	}
}

func (c *comparison) output(fresh bool) {
	live := c.live
	stored := textAt{c.row.Output, c.row.OutputRef(c.loader.Container)}
	evidence, at := live.outputColumn, live.outputRow
	if evidence == "" {
		evidence, at = "no event with an output", live.lastRow
	}
	if evidence != failureColumn {
		c.text(colOutput, stored, live.output, fresh, evidence, at)
		return
	}
	derived, err := live.Output(func(_ string, t *schema.Text) error {
		text, ok := c.load(schema.Ref{Blob: schema.StoredBlobName(t.Blob)})
		if !ok {
			return errNotLoaded
		}
		t.Load(text)
		return nil
	})
	if err != nil {
		c.unknown(colOutput)
		return
	}
	c.text(colOutput, stored, derived, fresh, evidence, at)
}

var errNotLoaded = errors.New("not loaded")

// textAt is a text of the row with the blob that has it, if one has.
type textAt struct {
	schema.Text
	ref schema.Ref
}

// inline is a text of a column that is never a URL.
func (c *comparison) inline(t schema.Text) textAt {
	at := textAt{Text: t}
	if t.Value == "" && t.Blob != "" {
		at.ref.Blob = schema.StoredBlobName(t.Blob)
	}
	return at
}

func (c *comparison) load(ref schema.Ref) (string, bool) {
	if c.loader.Load == nil {
		return "", false
	}
	t, err := c.loader.Load(ref)
	return t.Value, err == nil
}

// text compares a text that either table may keep in a blob.
func (c *comparison) text(column string, stored textAt, derived schema.Text, fresh bool, evidence string, at place) {
	derivedNull := !derived.Set && derived.Blob == ""
	storedNull := !stored.Set && stored.ref.Blob == ""
	blob := ""
	if derived.Blob != "" {
		blob = schema.StoredBlobName(derived.Blob)
	}
	switch {
	case derivedNull && storedNull:
		return
	case derivedNull && !fresh:
		c.unknown(column)
		return
	case derivedNull || storedNull:
		c.differ(column, stored.Value, derived.Value, evidence, at)
		return
	case blob != "" && blob == stored.ref.Blob:
		return
	}
	ours, theirs := derived.Value, stored.Value
	ok := true
	if blob != "" && ours == "" {
		ours, ok = c.load(schema.Ref{Blob: blob})
	}
	if ok && stored.ref.Blob != "" {
		theirs, ok = c.load(stored.ref)
	}
	switch {
	case !ok:
		c.unknown(column)
	case ours != theirs:
		c.differ(column, theirs, ours, evidence, at)
	}
}

// optional compares a value that is given as text.
func (c *comparison) optional(column, stored string, isStored bool, derived string, isDerived, fresh bool, evidence string, at place) {
	switch {
	case !isDerived && isStored && !fresh:
		c.unknown(column)
	case isStored != isDerived || isStored && stored != derived:
		if !isStored {
			stored = ""
		}
		if !isDerived {
			derived = ""
		}
		c.differ(column, stored, derived, evidence, at)
	}
}

func (c *comparison) time(column string, stored schema.Optional[schema.Ticks], derived schema.Ticks, evidence string, at place) {
	if !stored.Set || stored.Value != derived {
		c.differ(column, timeText(stored), derived.String(), evidence, at)
	}
}

func timeText(t schema.Optional[schema.Ticks]) string {
	if !t.Set {
		return ""
	}
	return t.Value.String()
}

func (c *comparison) unknown(column string) {
	c.v.NotDerivable = append(c.v.NotDerivable, column)
}

func (c *comparison) differ(column, stored, derived, evidence string, rows ...place) {
	d := Difference{Column: column, Stored: shorten(stored, maxShown), Derived: shorten(derived, maxShown), Evidence: evidence}
	for _, at := range rows {
		if at.known {
			d.RowKeys = append(d.RowKeys, at.String())
		}
	}
	c.v.Differences = append(c.v.Differences, d)
}

// maxShown is the number of bytes of a text in a Difference.
const maxShown = 256

// shorten returns a copy of at most the first most bytes of s, whole characters.
func shorten(s string, most int) string {
	if len(s) <= most {
		return strings.Clone(s)
	}
	n := most
	for !utf8.RuneStart(s[n]) && n > most-utf8.UTFMax {
		n--
	}
	return strings.Clone(s[:n]) + "…"
}
