package repair

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/verify"
)

// keyOf returns the PartitionKey of the rows that show a finding: of an ID that
// versions before 1.8.4 did not escape it is not the escaped one.
func keyOf(f *verify.Finding) string {
	for _, p := range f.At {
		if p.Table != "" {
			return p.PartitionKey
		}
	}
	return schema.EscapeKey(f.InstanceID)
}

// history replays the history of the instance with a key.
func (p *planner) history(ctx context.Context, key string) (*replay.History, error) {
	load := func(_ string, t *schema.Text) error {
		text, err := hub.LoadText(ctx, p.o, p.o.payloads, schema.StoredBlobName(t.Blob), p.opts.MaxBlobBytes)
		if err != nil {
			return err
		}
		t.Load(text)
		return nil
	}
	replayer := replay.New(key, replay.Options{OmitInputs: true, Load: load})
	for row, err := range p.o.Rows(ctx, hub.History, hub.Partition(key)) {
		if err != nil {
			return nil, fmt.Errorf("read history of %q: %w", schema.InstanceID(key), err)
		}
		replayer.Add(&row)
	}
	return replayer.End(), nil
}

// unsound says why nothing is made from a history, empty if it is as the framework
// leaves it. Verify reports most of it, and events of unknown types as mere evidence.
func unsound(h *replay.History) string {
	for _, a := range h.Anomalies {
		if a.ExecutionID != "" && a.ExecutionID != h.Live.ExecutionID {
			continue // of what an earlier execution has left
		}
		switch a.Code {
		case replay.AnomalyUnclosedEpisode, replay.AnomalySecondCompletion, replay.AnomalyAfterCompletion, replay.AnomalyDuplicateCompletion,
			replay.AnomalySelfReference:
		default:
			return "its history is not as an app leaves it: " + a.Detail
		}
	}
	return ""
}

// instance returns the row with a key as it will be, nil without one.
func (p *planner) instance(ctx context.Context, key string) (*schema.Row, *schema.Instance, error) {
	row, err := readRow(ctx, p.o, place{hub.Instances, key, ""})
	if err != nil || row == nil {
		return nil, nil, err
	}
	i, _ := schema.DecodeInstance(row) // what can be read of it
	return row, &i, nil
}

// sentinel writes the sentinel that is missing. The last checkpoint was complete, or
// verify would say so. When it was, storage tells only within limits: it is
// dated as early as the row allows, as a worker that takes a message for older
// than the checkpoint no longer waits for what the message answers.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:1389-1478,
// OrchestrationSession.cs:143-193.
func (r *round) sentinel(ctx context.Context, f *verify.Finding) (string, error) {
	key := keyOf(f)
	h, err := r.history(ctx, key)
	if err != nil {
		return "", err
	}
	live := &h.Live
	if live.Events == 0 || live.ExecutionID == "" || h.Sentinel != nil {
		return "its rows do not tell which execution they belong to", nil
	}
	_, row, err := r.instance(ctx, key)
	if err != nil {
		return "", err
	}
	at := live.LastUpdatedTime
	if row != nil && live.Completed != nil && row.ExecutionID.Value == live.ExecutionID {
		at = max(at, row.CompletedTime.Value)
	}
	s := schema.Sentinel{
		PartitionKey: key, ExecutionID: schema.Some(live.ExecutionID), IsCheckpointComplete: schema.Some(true),
		CheckpointCompletedTimestamp: schema.Some(at),
	}
	after := s.Row()
	r.write(r.draft(f.InstanceID), place{hub.History, key, schema.SentinelRowKey}, nil, &after)
	r.planned(f, "writes the sentinel of execution "+live.ExecutionID+", to which the rows of the history belong")
	return "", nil
}

// mismatch lets the sentinel name the execution of the rows, where the row of the
// Instances table does so, too.
func (r *round) mismatch(ctx context.Context, f *verify.Finding) (string, error) {
	key := keyOf(f)
	first, err := readRow(ctx, r.o, place{hub.History, key, schema.FormatSequence(0)})
	if err != nil {
		return "", err
	}
	at := place{hub.History, key, schema.SentinelRowKey}
	before, err := readRow(ctx, r.o, at)
	if err != nil {
		return "", err
	}
	_, row, err := r.instance(ctx, key)
	if err != nil {
		return "", err
	}
	if first == nil || before == nil || row == nil {
		return "its rows and its sentinel do not tell which of them is right", nil
	}
	execution, ok := first.Get("ExecutionId").Text()
	if !ok || execution == "" || row.ExecutionID.Value != execution {
		return "the row of the instance does not name the execution of the history's rows: which execution is current cannot be told", nil
	}
	after := before.Clone()
	after.Set("ExecutionId", schema.String(execution))
	r.write(r.draft(f.InstanceID), at, before, &after)
	r.planned(f, "lets the sentinel name execution "+execution+", to which the rows of the history and of the instance belong")
	return "", nil
}

// drift makes the row of an instance what its history says, in the columns in which
// it is not.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:934-1062, 1119-1232.
func (r *round) drift(ctx context.Context, f *verify.Finding) (string, error) {
	key := keyOf(f)
	h, err := r.history(ctx, key)
	if err != nil {
		return "", err
	}
	before, i, err := r.instance(ctx, key)
	if err != nil {
		return "", err
	}
	if before == nil {
		return "its row is gone", nil
	}
	if reason := unsound(h); reason != "" {
		return reason, nil
	}
	verdict := replay.Compare(i, h, replay.Loader{Container: r.o.payloads})
	if u := i.LastUpdatedTime; u.Set && u.Value > h.Live.LastUpdatedTime && !slices.Contains(verdict.NotDerivable, "LastUpdatedTime") {
		// A checkpoint writes the row last, so that the row is never ahead.
		return "the row is of a later time than the last event of the history, which has lost its end: restore it from a capture", nil
	}
	after := before.Clone()
	var columns []string
	for _, d := range verdict.Differences {
		v, reason, err := r.derived(ctx, d.Column, &verdict, h)
		if err != nil || reason != "" {
			return reason, err
		}
		after.Set(d.Column, v)
		columns = append(columns, d.Column)
	}
	if len(columns) == 0 {
		return "its row and its history agree by now", nil
	}
	r.write(r.draft(f.InstanceID), place{hub.Instances, key, ""}, before, &after)
	r.planned(f, "sets what the history says in the row of the instance: "+strings.Join(columns, ", "))
	return "", nil
}

// derived returns the value that a column of the Instances row should have, or why it
// cannot be written.
func (r *round) derived(ctx context.Context, column string, verdict *replay.Verdict, h *replay.History) (schema.Value, string, error) {
	live := &h.Live
	started := live.Started
	if started == nil {
		started = new(schema.ExecutionStarted)
	}
	text := func(t schema.Text, address bool) (schema.Value, string, error) {
		return r.text(ctx, column, t, address)
	}
	switch column {
	case "ExecutionId":
		return schema.String(live.ExecutionID), "", nil
	case "Name":
		return text(started.Name, false)
	case "Version":
		return optional(started.Version, schema.String), "", nil
	case "Input":
		return text(started.Input, true)
	case "Output":
		output, err := live.Output(nil)
		if c := live.Completed; err == nil && c != nil && !c.FailureDetails.IsNull() {
			output, err = live.Output(func(_ string, t *schema.Text) error {
				loaded, err := hub.LoadText(ctx, r.o, r.o.payloads, schema.StoredBlobName(t.Blob), r.opts.MaxBlobBytes)
				t.Load(loaded)
				return err
			})
		}
		if ctx.Err() != nil {
			return schema.Value{}, "", context.Cause(ctx)
		}
		if err != nil {
			return schema.Value{}, "the output cannot be read: " + err.Error(), nil
		}
		return text(output, true)
	case "CreatedTime":
		return schema.DateTime(live.CreatedTime), "", nil
	case "LastUpdatedTime":
		return schema.DateTime(live.LastUpdatedTime), "", nil
	case "CompletedTime":
		if live.Completed == nil {
			return schema.Value{}, "", nil
		}
		return schema.DateTime(live.CompletedTime), "", nil
	case "RuntimeStatus":
		return schema.String(verdict.Status.String()), "", nil
	case "ScheduledStartTime":
		return optional(started.ScheduledStartTime, schema.DateTime), "", nil
	case "Generation":
		return optional(started.Generation, schema.Int32), "", nil
	case "Tags":
		if started.Tags.IsNull() {
			return schema.String("null"), "", nil // as checkpoints write it
		}
		return text(started.Tags, false)
	}
	return schema.Value{}, "what " + column + " should be is not known", nil
}

func optional[T any](o schema.Optional[T], value func(T) schema.Value) schema.Value {
	if !o.Set {
		return schema.Value{}
	}
	return value(o.Value)
}

// maxText is the length of a text in UTF-16 units that a column can hold.
const maxText = 32 << 10

// text returns the value of a column that holds a text, or with address that of its
// blob.
func (r *round) text(ctx context.Context, column string, t schema.Text, address bool) (schema.Value, string, error) {
	value := t.Value
	switch {
	case t.Blob == "" && !t.Set:
		return schema.Value{}, "", nil
	case t.Blob != "" && address:
		url, reason, err := r.address(ctx, schema.StoredBlobName(t.Blob))
		return schema.String(url), reason, err
	case t.Blob != "":
		loaded, err := hub.LoadText(ctx, r.o, r.o.payloads, schema.StoredBlobName(t.Blob), r.opts.MaxBlobBytes)
		if ctx.Err() != nil {
			return schema.Value{}, "", context.Cause(ctx)
		}
		if err != nil {
			return schema.Value{}, column + " cannot be read: " + err.Error(), nil
		}
		value = loaded
	}
	if schema.UTF16Len(value) > maxText {
		return schema.Value{}, column + " is too long for a row", nil
	}
	return schema.String(value), "", nil
}

// address returns the address of a payload that exists, or why there is none.
func (r *round) address(ctx context.Context, name string) (string, string, error) {
	exists, err := hasBlob(ctx, r.r, r.o.payloads, name)
	if err != nil {
		return "", "", err
	}
	if !exists {
		return "", "the payload " + name + " is not in this hub", nil
	}
	if err := r.findEndpoint(ctx); err != nil {
		return "", "", err
	}
	if r.endpoint.Value == "" {
		return "", "no row of the capture tells the address of the account's blobs: make the plan from the account", nil
	}
	r.file.BlobEndpoint = r.endpoint.Value
	return schema.BlobURL(r.endpoint.Value, r.o.payloads, name), "", nil
}

func hasBlob(ctx context.Context, r hub.Reader, container, name string) (bool, error) {
	for b, err := range r.Blobs(ctx, container, name) {
		if err != nil {
			return false, fmt.Errorf("look for blob %s: %w", name, err)
		}
		if b.Name == name {
			return true, nil
		}
		break // the shortest name comes first
	}
	return false, nil
}

// findEndpoint finds out, once, with what the addresses of payloads begin.
func (p *planner) findEndpoint(ctx context.Context) error {
	if p.endpoint.Set {
		return nil
	}
	p.endpoint.Set = true
	if p.opts.BlobURL != nil {
		p.endpoint.Value = strings.TrimSuffix(p.opts.BlobURL(p.o.payloads, "x"), "/"+p.o.payloads+"/x")
		return nil
	}
	if p.info.Account == "" {
		return nil
	}
	for row, err := range p.r.Rows(ctx, hub.Instances, hub.Keys{}) {
		if err != nil {
			return fmt.Errorf("look for the address of the account's blobs: %w", err)
		}
		for _, column := range []string{"Input", "Output"} {
			value, _ := row.Get(column).Text()
			if e := endpointOf(value, p.info.Account, p.o.payloads); e != "" {
				p.endpoint.Value = strings.Clone(e)
				return nil
			}
		}
	}
	return nil
}

// endpointOf returns the beginning of the address of a payload of this account and
// container, empty if the value is none.
func endpointOf(value, account, container string) string {
	if _, ok := schema.ParseBlobURL(value, container); !ok {
		return ""
	}
	u, err := url.Parse(value)
	if err != nil || u.Host == "" {
		return ""
	}
	label, _, _ := strings.Cut(u.Hostname(), ".")
	switch {
	case strings.HasPrefix(u.Path, "/"+account+"/"+container+"/"):
		return u.Scheme + "://" + u.Host + "/" + account
	case strings.HasPrefix(u.Path, "/"+container+"/") && label == account:
		return u.Scheme + "://" + u.Host
	}
	return ""
}

// foreignURL lets Input or Output name the payload of this account that has the same
// name as the one that they name elsewhere.
func (r *round) foreignURL(ctx context.Context, f *verify.Finding) (string, error) {
	key := keyOf(f)
	before, _, err := r.instance(ctx, key)
	if err != nil {
		return "", err
	}
	if before == nil || len(f.At) == 0 || f.At[0].Column == "" {
		return "its row is gone", nil
	}
	column := f.At[0].Column
	value, _ := before.Get(column).Text()
	name, err := payloadOf(value)
	if err != nil {
		return err.Error(), nil
	}
	if b, ok := schema.ParseBlobName(name); !ok || !owns(f.InstanceID, b.Folder) {
		return "the address names no payload of this instance", nil
	}
	url, reason, err := r.address(ctx, name)
	if err != nil || reason != "" {
		return reason, err
	}
	after := before.Clone()
	after.Set(column, schema.String(url))
	r.write(r.draft(f.InstanceID), place{hub.Instances, key, ""}, before, &after)
	r.planned(f, "lets "+column+" name the payload of the same name in this hub")
	return "", nil
}

var errNoPayload = errors.New("the value is not the address of a payload: if it is a text, put it into quotes")

// payloadOf returns the stored name of the payload that an address of any hub names.
func payloadOf(address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", errNoPayload
	}
	for _, segment := range strings.Split(u.Path, "/") {
		if !strings.HasSuffix(segment, "-largemessages") {
			continue
		}
		if name, ok := schema.ParseBlobURL(address, segment); ok {
			return schema.StoredBlobName(name), nil
		}
	}
	return "", errNoPayload
}

// owns reports whether a folder of payloads is that of an instance, in any form in
// which versions of the framework name it.
func owns(instanceID, folder string) bool {
	for _, own := range []string{schema.EscapeKey(instanceID), schema.StoredBlobName(instanceID)} {
		if folder == own || folder == strings.ToLower(own) {
			return true
		}
	}
	return false
}
