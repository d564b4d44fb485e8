package manage

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// State is the latest known state of an instance as the framework's client
// reports it: its row, with the texts that blobs hold.
type State struct {
	// Row is the Instances row; its Input and Output are as stored.
	Row schema.Instance
	// Input, Output and Tags are the texts themselves. They are null if there
	// are none, if they were not asked for, or if they cannot be read.
	Input, Output, Tags schema.Text
	// Problems lists what could not be read, each with its place.
	Problems []error
}

func (q *Query) state(ctx context.Context, row *schema.Row, show Show) (State, error) {
	var s State
	var err error
	if s.Row, err = schema.DecodeInstance(row); err != nil {
		s.Problems = append(s.Problems, err)
	}
	if show&ShowInput != 0 {
		if s.Input, err = q.text(ctx, &s, "Input", s.Row.Input, s.Row.InputRef(q.container)); err != nil {
			return s, err
		}
	}
	if show&ShowOutput != 0 {
		if s.Output, err = q.text(ctx, &s, "Output", s.Row.Output, s.Row.OutputRef(q.container)); err != nil {
			return s, err
		}
	}
	var tags schema.Ref
	if s.Row.Tags.Value == "" && s.Row.Tags.Blob != "" {
		tags.Blob = schema.StoredBlobName(s.Row.Tags.Blob)
	}
	s.Tags, err = q.text(ctx, &s, "Tags", s.Row.Tags, tags)
	return s, err
}

// text returns what a column holds or refers to. Only the end of ctx is an
// error; anything else becomes a problem of s.
func (q *Query) text(ctx context.Context, s *State, column string, stored schema.Text, ref schema.Ref) (schema.Text, error) {
	if ref.Blob == "" {
		return stored, nil
	}
	t, err := hub.LoadRef(ctx, q.r, q.container, ref, q.opts.MaxPayloadBytes)
	switch {
	case err == nil:
		return t, nil
	case ctx.Err() != nil:
		return schema.Text{}, context.Cause(ctx)
	}
	s.Problems = append(s.Problems, fmt.Errorf("%s of instance %q: %w", column, s.Row.ID(), err))
	return schema.Text{}, nil
}

// size is about what s holds in memory.
func (s *State) size() int {
	i := &s.Row
	return len(i.Input.Value) + len(i.Output.Value) + len(i.Tags.Value) + len(i.CustomStatus.Value) +
		len(s.Input.Value) + len(s.Output.Value) + len(s.Tags.Value)
}

// neverTime is how the framework writes a time that is not set.
const neverTime = "0001-01-01T00:00:00"

// AppendJSON appends s as the framework's OrchestrationState, on one line: its
// members in its order, OrchestrationStatus as a number, Status for the custom
// status. CompressedSize and Size are 0, and ParentInstance and FailureDetails
// null, because they are not stored.
//
// Source: durabletask 2.9.1, OrchestrationState.cs:24-126; core-tools
// DurableManager.cs:259-274.
func (s *State) AppendJSON(dst []byte) []byte {
	i := &s.Row
	w := object{dst: append(dst, '{')}
	w.time("CompletedTime", i.CompletedTime)
	w.raw("CompressedSize", "0")
	w.time("CreatedTime", i.CreatedTime)
	w.text("Input", s.Input.Value, s.Input.Set)
	w.time("LastUpdatedTime", i.LastUpdatedTime)
	w.text("Name", i.Name.Value, i.Name.Set)
	instance := object{dst: []byte{'{'}}
	instance.text("InstanceId", i.ID(), true)
	instance.text("ExecutionId", i.ExecutionID.Value, i.ExecutionID.Set)
	w.raw("OrchestrationInstance", string(instance.end()))
	w.raw("OrchestrationStatus", strconv.Itoa(int(i.Status())))
	w.text("Output", s.Output.Value, s.Output.Set)
	w.raw("ParentInstance", "null")
	w.raw("Size", "0")
	w.text("Status", i.CustomStatus.Value, i.CustomStatus.Set)
	w.raw("Tags", tagsJSON(s.Tags))
	w.text("Version", i.Version.Value, i.Version.Set)
	w.raw("Generation", strconv.Itoa(int(i.Generation.Value))) // absent reads as 0
	if i.ScheduledStartTime.Set {
		w.time("ScheduledStartTime", i.ScheduledStartTime)
	} else {
		w.raw("ScheduledStartTime", "null")
	}
	w.raw("FailureDetails", "null")
	return w.end()
}

// tagsJSON returns the tags as a JSON value. What is not JSON stays text.
func tagsJSON(t schema.Text) string {
	switch {
	case t.Value == "":
		return "null"
	case json.Valid([]byte(t.Value)):
		return t.Value
	}
	return string(schema.AppendJSONString(nil, t.Value))
}

// object writes a JSON object.
type object struct {
	dst  []byte
	some bool
}

func (o *object) name(name string) {
	if o.some {
		o.dst = append(o.dst, ',')
	}
	o.some = true
	o.dst = append(schema.AppendJSONString(o.dst, name), ':')
}

func (o *object) raw(name, value string) {
	o.name(name)
	o.dst = append(o.dst, value...)
}

func (o *object) text(name, s string, set bool) {
	if !set {
		o.raw(name, "null")
		return
	}
	o.raw(name, lineSeparators.Replace(string(schema.AppendJSONString(nil, s))))
}

// lineSeparators are the three characters that the framework's serializer
// escapes and [schema.AppendJSONString] does not.
var lineSeparators = strings.NewReplacer("\u0085", `\u0085`, "\u2028", `\u2028`, "\u2029", `\u2029`)

func (o *object) time(name string, t schema.Optional[schema.Ticks]) {
	o.name(name)
	o.dst = append(o.dst, '"')
	if t.Set && t.Value != 0 {
		o.dst = t.Value.AppendTrimmed(o.dst)
	} else {
		o.dst = append(o.dst, neverTime...)
	}
	o.dst = append(o.dst, '"')
}

func (o *object) end() []byte { return append(o.dst, '}') }
