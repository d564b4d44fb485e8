package export

import (
	"context"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// maxBuffered is the number of rows of one partition that are held back until
// the sentinel, its last row, is seen. A longer partition costs one more lookup.
const maxBuffered = 4096

// historyRange exports the history rows of a key range.
func (x *run) historyRange(ctx context.Context, keys hub.Keys, emit emitter) error {
	h := historyWriter{x: x, rec: newRecord(x.table, x.opts.Redact), emit: emit}
	needRow := x.opts.Filter.byRow() || x.hiveByName()
	if needRow {
		h.join = newJoiner(ctx, x.reader, keys)
		defer h.join.stop()
	}
	for rows, err := range hub.Batches(ctx, x.reader, hub.History, keys) {
		if err != nil {
			return err
		}
		if err := h.batch(ctx, rows); err != nil {
			return err
		}
	}
	return h.end(ctx, nil)
}

// hAlways are the columns that every event row has.
const hAlways = 1<<hExecutionID | 1<<hEventType | 1<<hEventID | 1<<hEventTime | 1<<hIsPlayed

// historyWriter writes the rows of one partition after the other.
type historyWriter struct {
	x    *run
	rec  *record
	emit emitter
	join *joiner

	// held are rows of the current partition that wait for its sentinel. They
	// are copies: their batch is gone.
	held []schema.Row

	// Of the current partition, from begin on:
	begun     bool
	skip      bool
	id        string
	hiveName  hiveName
	current   string // its current execution
	live      bool   // no row of another execution has come yet
	blobs     []blobColumn
	extraBuf  []schema.Property
	partition string
}

// blobColumn is a column whose text is in a blob.
type blobColumn struct {
	col    int
	column string
	blob   string
}

// begin prepares for a partition of which part holds the first rows; long is
// true if they are not all.
func (h *historyWriter) begin(ctx context.Context, part []schema.Row, long bool) error {
	h.begun, h.partition = true, strings.Clone(part[0].PartitionKey)
	h.id = schema.InstanceID(h.partition)
	h.skip, h.live, h.hiveName = false, true, hiveName{}
	if h.join != nil {
		row, err := h.join.find(h.partition)
		if err != nil {
			return err
		}
		var inst *schema.Instance
		if row != nil {
			i, _ := schema.DecodeInstance(row) // what is damaged is absent, and matches nothing
			inst = &i
		}
		h.hiveName = nameOf(h.id, inst)
		h.skip = h.x.opts.Filter.byRow() && (inst == nil || !h.x.opts.Filter.matches(inst))
	}
	if h.skip {
		return nil
	}
	var first, sentinel *schema.Row
	for i := range part {
		switch {
		case part[i].IsSentinel():
			sentinel = &part[i] // the last row, unless a damaged RowKey follows it
		case first == nil:
			first = &part[i]
		}
	}
	if sentinel == nil && long {
		keys := hub.Partition(h.partition)
		keys.RowKey = schema.SentinelRowKey
		for row, err := range h.x.reader.Rows(ctx, hub.History, keys) {
			if err != nil {
				return err
			}
			sentinel = &row
			break
		}
	}
	h.current = strings.Clone(schema.CurrentExecution(sentinel, first)) // may outlive the batch
	return nil
}

// batch writes the rows of a batch. Those of its last partition wait if more may
// come: the sentinel, which names the current execution, is the last row.
func (h *historyWriter) batch(ctx context.Context, rows []schema.Row) error {
	for len(rows) > 0 {
		partition := rows[0].PartitionKey
		n := 1
		for n < len(rows) && rows[n].PartitionKey == partition {
			n++
		}
		part, last := rows[:n], n == len(rows)
		rows = rows[n:]
		switch {
		case h.begun && h.partition == partition || len(h.held) > 0 && h.held[0].PartitionKey == partition:
			// More of the partition that the batch before ended with.
		default:
			if err := h.end(ctx, nil); err != nil {
				return err
			}
		}
		if h.begun {
			if err := h.write(ctx, part); err != nil {
				return err
			}
			continue
		}
		if !last || part[n-1].IsSentinel() {
			if err := h.end(ctx, part); err != nil {
				return err
			}
			continue
		}
		for i := range part {
			h.held = append(h.held, part[i].Clone())
		}
		if len(h.held) >= maxBuffered {
			if err := h.begin(ctx, h.held, true); err != nil {
				return err
			}
			if err := h.write(ctx, h.held); err != nil {
				return err
			}
			h.held = h.held[:0]
		}
	}
	return nil
}

// end writes the rows that are held and those of more, which complete their
// partition as far as is known: only damaged rows can still come after a
// sentinel. Without more it ends the partition for good.
func (h *historyWriter) end(ctx context.Context, more []schema.Row) error {
	part := more
	if len(h.held) > 0 {
		part = append(h.held, more...)
		h.held = h.held[:0]
	}
	if len(part) > 0 {
		if err := h.begin(ctx, part, false); err != nil {
			return err
		}
		if err := h.write(ctx, part); err != nil {
			return err
		}
	}
	if more == nil {
		h.begun = false
	}
	return nil
}

func (h *historyWriter) write(ctx context.Context, part []schema.Row) error {
	if h.skip {
		return nil
	}
	for i := range part {
		if part[i].IsSentinel() {
			continue
		}
		if err := h.row(ctx, &part[i]); err != nil {
			return err
		}
	}
	return nil
}

// row writes one event row. It goes from properties to cells directly, without
// the typed event between: this loop is where an export spends its time beside
// decoding and compressing.
func (h *historyWriter) row(ctx context.Context, row *schema.Row) error {
	rec := h.rec
	rec.reset()
	h.blobs, h.extraBuf = h.blobs[:0], h.extraBuf[:0]
	rec.text(hInstanceID, h.id)
	if n, ok := schema.ParseSequence(row.RowKey); ok {
		rec.int(hSequence, n)
	} else {
		h.extraBuf = append(h.extraBuf, schema.Property{Name: "RowKey", Value: schema.String(row.RowKey)})
		rec.fail("sequence", "RowKey is not a position")
	}
	if row.Timestamp != 0 {
		rec.time(hStoredTime, row.Timestamp)
	}
	execution := ""
	for i := range row.Properties {
		p := &row.Properties[i]
		c := historyColumn(p.Name)
		if p.Value.Type() != c.typ || c.typ == schema.Absent {
			h.extraBuf = append(h.extraBuf, *p)
			if c.typ != schema.Absent {
				rec.fail(p.Name, "type is "+p.Value.EDM())
			}
			continue
		}
		switch c.typ {
		case schema.TypeInt32:
			n, _ := p.Value.Int()
			rec.int(int(c.col), n)
		case schema.TypeBoolean:
			b, _ := p.Value.Bool()
			rec.bool(int(c.col), b)
		case schema.TypeDateTime:
			t, _ := p.Value.Time()
			rec.time(int(c.col), t)
		default:
			s, _ := p.Value.Text()
			if c.blob {
				h.blobs = append(h.blobs, blobColumn{int(c.col), p.Name[:len(p.Name)-len("BlobName")], s})
				continue
			}
			if c.col == hExecutionID {
				execution = s
			}
			rec.text(int(c.col), s)
		}
	}
	if rec.set&hAlways != hAlways {
		for _, col := range [...]int{hExecutionID, hEventType, hEventID, hEventTime, hIsPlayed} {
			if !rec.isSet(col) {
				rec.fail(h.x.table.columns[col].Name, "missing")
			}
		}
	}
	if execution != h.current {
		h.live = false
	}
	rec.bool(hIsCurrent, h.live)
	if len(h.blobs) > 0 {
		if err := h.load(ctx, row); err != nil {
			return err
		}
	}
	return h.emit(rec, h.extraBuf, h.hiveName)
}

// load puts the texts of blobs in the place of the empty columns. What a column
// holds all the same is kept in extra.
func (h *historyWriter) load(ctx context.Context, row *schema.Row) error {
	names := []byte{'{'}
	for i, b := range h.blobs {
		if i > 0 {
			names = append(names, ',')
		}
		names = schema.AppendJSONString(names, b.column)
		names = append(names, ':')
		names = schema.AppendJSONString(names, b.blob)
		if v := row.Get(b.column); v.Type() == schema.TypeString && !v.Equal(schema.String("")) {
			h.extraBuf = append(h.extraBuf, schema.Property{Name: b.column, Value: v})
		}
		text, err := hub.LoadText(ctx, h.x.reader, h.x.container, b.blob, h.x.opts.MaxPayloadBytes)
		switch {
		case err == nil:
			h.rec.text(b.col, text)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		default:
			h.rec.set &^= 1 << b.col
			h.rec.fail(b.column, err.Error())
		}
	}
	h.rec.text(hBlobs, string(append(names, '}')))
	return nil
}

// historySource says where a property goes: the column and the type it must
// have, and whether it is the name of the blob of that column.
type historySource struct {
	col  int8
	typ  schema.Type
	blob bool
}

// historyColumn is a switch and not a map because it is called for every
// property: the compiler turns it into a binary search over lengths.
func historyColumn(name string) historySource {
	switch name {
	case "EventType":
		return historySource{col: hEventType, typ: schema.TypeString}
	case "EventId":
		return historySource{col: hEventID, typ: schema.TypeInt32}
	case "ExecutionId":
		return historySource{col: hExecutionID, typ: schema.TypeString}
	case "IsPlayed":
		return historySource{col: hIsPlayed, typ: schema.TypeBoolean}
	case "_Timestamp":
		return historySource{col: hEventTime, typ: schema.TypeDateTime}
	case "Name":
		return historySource{col: hName, typ: schema.TypeString}
	case "Version":
		return historySource{col: hVersion, typ: schema.TypeString}
	case "Input":
		return historySource{col: hInput, typ: schema.TypeString}
	case "Result":
		return historySource{col: hResult, typ: schema.TypeString}
	case "Reason":
		return historySource{col: hReason, typ: schema.TypeString}
	case "Details":
		return historySource{col: hDetails, typ: schema.TypeString}
	case "FailureDetails":
		return historySource{col: hFailureDetails, typ: schema.TypeString}
	case "Correlation":
		return historySource{col: hCorrelation, typ: schema.TypeString}
	case "Tags":
		return historySource{col: hTags, typ: schema.TypeString}
	case "NameBlobName":
		return historySource{col: hName, typ: schema.TypeString, blob: true}
	case "InputBlobName":
		return historySource{col: hInput, typ: schema.TypeString, blob: true}
	case "ResultBlobName":
		return historySource{col: hResult, typ: schema.TypeString, blob: true}
	case "ReasonBlobName":
		return historySource{col: hReason, typ: schema.TypeString, blob: true}
	case "DetailsBlobName":
		return historySource{col: hDetails, typ: schema.TypeString, blob: true}
	case "FailureDetailsBlobName":
		return historySource{col: hFailureDetails, typ: schema.TypeString, blob: true}
	case "CorrelationBlobName":
		return historySource{col: hCorrelation, typ: schema.TypeString, blob: true}
	case "TagsBlobName":
		return historySource{col: hTags, typ: schema.TypeString, blob: true}
	case "FireAt":
		return historySource{col: hFireAt, typ: schema.TypeDateTime}
	case "TimerId":
		return historySource{col: hTimerID, typ: schema.TypeInt32}
	case "TaskScheduledId":
		return historySource{col: hTaskScheduledID, typ: schema.TypeInt32}
	case "OrchestrationStatus":
		return historySource{col: hOrchestrationStatus, typ: schema.TypeString}
	case "InstanceId":
		return historySource{col: hSubInstanceID, typ: schema.TypeString}
	case "ParentInstance":
		return historySource{col: hParentInstance, typ: schema.TypeString}
	case "OrchestrationInstance":
		return historySource{col: hOrchestrationInstance, typ: schema.TypeString}
	case "ScheduledStartTime":
		return historySource{col: hScheduledStartTime, typ: schema.TypeDateTime}
	case "Generation":
		return historySource{col: hGeneration, typ: schema.TypeInt32}
	case "GenerateNewTrace":
		return historySource{col: hGenerateNewTrace, typ: schema.TypeBoolean}
	case "ParentTraceContext":
		return historySource{col: hParentTraceContext, typ: schema.TypeString}
	case "ClientSpanId":
		return historySource{col: hClientSpanID, typ: schema.TypeString}
	case "Data":
		return historySource{col: hData, typ: schema.TypeString}
	}
	return historySource{}
}
