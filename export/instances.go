package export

import (
	"context"
	"errors"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// hiveName is the value of the partition key instance_name.
type hiveName struct {
	name string
	set  bool
}

// emitter takes a finished row: its cells, the properties for extra, and the
// name of the instance that it belongs to.
type emitter func(rec *record, extra []schema.Property, name hiveName) error

// instancesRange exports the rows of a key range of the Instances table, or
// those that are entities.
func (x *run) instancesRange(ctx context.Context, keys hub.Keys, emit emitter) error {
	rec := newRecord(x.table, x.opts.Redact)
	for row, err := range x.reader.Rows(ctx, hub.Instances, keys) {
		if err != nil {
			return err
		}
		if x.table.dataset == Entities && !schema.IsEntity(row.PartitionKey) {
			continue
		}
		inst, damage := schema.DecodeInstance(&row)
		if x.opts.Filter.byRow() && !x.opts.Filter.matches(&inst) {
			continue
		}
		rec.reset()
		if damage != nil {
			rec.fail(damagedColumn(damage))
		}
		fill := x.fillInstance
		if x.table.dataset == Entities {
			fill = x.fillEntity
		}
		extra, err := fill(ctx, rec, &inst)
		if err != nil {
			return err
		}
		if row.RowKey != "" {
			extra = append(extra, schema.Property{Name: "RowKey", Value: schema.String(row.RowKey)})
		}
		if err := emit(rec, extra, nameOf(inst.ID(), &inst)); err != nil {
			return err
		}
	}
	return nil
}

// damagedColumn takes a decode error apart for the column error.
func damagedColumn(err error) (column, reason string) {
	var d *schema.DecodeError
	if errors.As(err, &d) {
		return d.Column, d.Err.Error()
	}
	return "row", err.Error()
}

func (x *run) fillInstance(ctx context.Context, rec *record, i *schema.Instance) ([]schema.Property, error) {
	extra := i.Extra
	rec.text(iInstanceID, i.ID())
	rec.optText(iExecutionID, i.ExecutionID)
	if i.Name.Set {
		rec.text(iName, i.Name.Value)
	}
	rec.optText(iVersion, i.Version)
	rec.optText(iRuntimeStatus, i.RuntimeStatus)
	rec.optTime(iCreatedTime, i.CreatedTime)
	rec.optTime(iLastUpdatedTime, i.LastUpdatedTime)
	rec.optTime(iCompletedTime, i.CompletedTime)
	rec.optTime(iScheduledStartTime, i.ScheduledStartTime)
	if err := x.instanceText(ctx, rec, iInput, iInputBlob, "Input", i.Input, i.InputRef(x.container)); err != nil {
		return nil, err
	}
	if i.Input.Blob != "" && i.Input.Value != "" {
		// Residue of a start whose input was in a blob: no column refers to it.
		extra = append(extra, schema.Property{Name: "InputBlobName", Value: schema.String(i.Input.Blob)})
	}
	if err := x.instanceText(ctx, rec, iOutput, iOutputBlob, "Output", i.Output, i.OutputRef(x.container)); err != nil {
		return nil, err
	}
	// No framework writes these two, and nothing reads them.
	if i.Name.Blob != "" {
		extra = append(extra, schema.Property{Name: "NameBlobName", Value: schema.String(i.Name.Blob)})
	}
	if i.Output.Blob != "" {
		extra = append(extra, schema.Property{Name: "OutputBlobName", Value: schema.String(i.Output.Blob)})
	}
	rec.optText(iCustomStatus, i.CustomStatus)
	tags := schema.Ref{}
	if i.Tags.Value == "" && i.Tags.Blob != "" {
		tags.Blob = schema.StoredBlobName(i.Tags.Blob)
	}
	if err := x.instanceText(ctx, rec, iTags, -1, "Tags", i.Tags, tags); err != nil {
		return nil, err
	}
	if i.Tags.Blob != "" {
		extra = append(extra, schema.Property{Name: "TagsBlobName", Value: schema.String(i.Tags.Blob)})
	}
	if i.Generation.Set {
		rec.int(iGeneration, int64(i.Generation.Value))
	}
	rec.optText(iTaskHub, i.TaskHubName)
	if i.StoredAt != 0 {
		rec.time(iStoredTime, i.StoredAt)
	}
	return extra, nil
}

// instanceText sets a column to the text that a stored column holds or refers
// to. blobCol is the column for the name of the blob, or -1.
func (x *run) instanceText(ctx context.Context, rec *record, col, blobCol int, name string, t schema.Text, ref schema.Ref) error {
	if ref.Blob == "" {
		if t.Set {
			rec.text(col, t.Value)
		}
		return nil
	}
	if blobCol >= 0 {
		rec.text(blobCol, ref.Blob)
	}
	text, err := hub.LoadRef(ctx, x.reader, x.container, ref, x.opts.MaxPayloadBytes)
	switch {
	case err == nil && text.Set:
		rec.text(col, text.Value)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil:
		rec.fail(name, err.Error())
	}
	return nil
}

func (x *run) fillEntity(ctx context.Context, rec *record, i *schema.Instance) ([]schema.Property, error) {
	rec.text(eInstanceID, i.ID())
	if id, ok := schema.ParseEntityID(i.ID()); ok {
		rec.text(eEntityName, id.Name)
		rec.text(eEntityKey, id.Key)
	} else {
		rec.fail("entity_name", "the ID does not have the form @name@key")
	}
	rec.optText(eExecutionID, i.ExecutionID)
	rec.optText(eRuntimeStatus, i.RuntimeStatus)
	rec.optText(eCustomStatus, i.CustomStatus)
	rec.optTime(eCreatedTime, i.CreatedTime)
	rec.optTime(eLastUpdatedTime, i.LastUpdatedTime)
	rec.optText(eTaskHub, i.TaskHubName)
	if i.StoredAt != 0 {
		rec.time(eStoredTime, i.StoredAt)
	}
	state := i.Input
	if ref := i.InputRef(x.container); ref.Blob != "" {
		t, err := hub.LoadRef(ctx, x.reader, x.container, ref, x.opts.MaxPayloadBytes)
		if err != nil {
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			rec.fail("Input", err.Error())
			return i.Extra, nil
		}
		state = t
	}
	if !state.Set || state.Value == "" {
		rec.bool(eExists, false) // a fresh entity
		return i.Extra, nil
	}
	s, err := schema.DecodeEntityState(state.Value)
	if err != nil {
		rec.fail("Input", err.Error())
		return append(i.Extra, schema.Property{Name: "Input", Value: schema.String(state.Value)}), nil
	}
	rec.bool(eExists, s.HasState())
	rec.optText(eState, s.State)
	rec.optText(eLockedBy, s.LockedBy)
	rec.bool(eSuspended, s.Suspended)
	rec.int(eQueueLength, int64(len(s.Queue)))
	if s.Queue != nil {
		q := []byte{'['}
		for k := range s.Queue {
			if k > 0 {
				q = append(q, ',')
			}
			q = s.Queue[k].AppendJSON(q)
		}
		rec.text(eQueue, string(append(q, ']')))
	}
	if s.Sorter != "" {
		rec.text(eSorter, s.Sorter)
	}
	extra := i.Extra
	for _, m := range s.Extra {
		extra = append(extra, schema.Property{Name: m.Name, Value: schema.String(m.JSON)})
	}
	return extra, nil
}
