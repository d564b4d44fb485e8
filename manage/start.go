package manage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// StartOptions says what to start. Only Name is required.
type StartOptions struct {
	// Name is that of the orchestrator function. Whether the app has it, storage
	// does not tell.
	Name string
	// ID is the instance ID; empty means a new one.
	ID string
	// Input is JSON and stored without white space between its tokens. Not set,
	// there is none; the text null is an input of its own, as a restart makes it.
	Input   schema.Optional[string]
	Version string
	Tags    map[string]string
	// At is when to start, at most seven days ahead; zero means now.
	At schema.Ticks
	// DedupeStatuses are those of an existing instance that make a start fail
	// with [ErrExists]; in any other it is started anew. Nil means those of an
	// instance that has not ended, which is the framework's default; empty, but
	// not nil, means none.
	DedupeStatuses []schema.Status
}

// Started is an instance that was started, or would be.
type Started struct {
	Sent
	ExecutionID string
	Name        string
	CreatedTime schema.Ticks
	// Generation counts from 0 how often clients have started the instance.
	Generation int32
	// Replaced says that there was such an instance: its row is replaced, and its
	// history will be. Sent.Status was its status.
	Replaced bool
}

// notEnded are the statuses over which a client does not start.
//
// Source: Functions extension 2.13.7, OverridableStates.cs:13-55.
var notEnded = []schema.Status{schema.StatusRunning, schema.StatusContinuedAsNew, schema.StatusPending, schema.StatusSuspended}

// Start starts an orchestration: what is large goes to blobs, then the message
// into its queue, then the row, status Pending, into the table. If it ends
// half-way, a message without a row is dropped by a worker after some time.
//
// It returns an [*ArgumentError], [ErrExists], or [hub.ErrConflict] if somebody
// else has started the instance meanwhile: the other start counts then.
//
// Source: durabletask 2.9.1, AzureStorageOrchestrationService.cs:1739-1798,
// AzureTableTrackingStore.cs:781-842; recorded in hub functions-3-after-write.
func (c *Control) Start(ctx context.Context, o StartOptions) (*Started, error) {
	if o.ID == "" {
		var err error
		if o.ID, err = c.guid(); err != nil {
			return nil, err
		}
	}
	if err := CheckInstanceID(o.ID); err != nil {
		return nil, err
	}
	if _, err := o.event(); err != nil {
		return nil, err
	}
	prior, err := c.instance(ctx, o.ID)
	if err != nil {
		return nil, err
	}
	return c.start(ctx, &o, prior)
}

// event checks the options and makes the event of them, without what only the
// moment of starting tells.
func (o *StartOptions) event() (*schema.ExecutionStarted, error) {
	for _, text := range []struct{ argument, value string }{{"function name", o.Name}, {"version", o.Version}} {
		if err := checkText(text.argument, text.value); err != nil {
			return nil, err
		}
		if n := schema.UTF16Len(text.value); n > schema.MaxColumnUnits {
			return nil, &ArgumentError{text.argument, fmt.Sprintf("has %d characters, more than %d", n, schema.MaxColumnUnits)}
		}
	}
	if strings.TrimSpace(o.Name) == "" {
		return nil, &ArgumentError{"function name", "is empty"}
	}
	input, err := compact("input", o.Input)
	if err != nil {
		return nil, err
	}
	tags, err := o.tags()
	if err != nil {
		return nil, err
	}
	e := &schema.ExecutionStarted{
		Name: schema.TextOf(o.Name), Version: schema.Some(o.Version), Input: input, Tags: tags.message,
		GenerateNewTrace: schema.Some(false),
	}
	if o.At != 0 {
		e.ScheduledStartTime = schema.Some(o.At)
	}
	return e, nil
}

// tagsText are tags as JSON: messages have the type of the dictionary in them,
// rows have not and say null where there are none.
type tagsText struct{ message, row schema.Text }

// tags encodes the tags in the order of their names. Those that are longer than
// a column may be are refused, although a start could store them: the first
// checkpoint cannot, and the worker tries it for ever.
//
// Source: durabletask 2.9.1, TagsSerializer.cs:21-25; recorded in instance
// big-tags of hub dtfx-2.9.1-odd.
func (o *StartOptions) tags() (tagsText, error) {
	if len(o.Tags) == 0 {
		return tagsText{row: schema.TextOf("null")}, nil
	}
	var members []string
	for _, name := range slices.Sorted(maps.Keys(o.Tags)) {
		if err := checkText("tag", name+o.Tags[name]); err != nil {
			return tagsText{}, err
		}
		if name == "$type" {
			return tagsText{}, &ArgumentError{"tag", "cannot be called $type"}
		}
		m := append(schema.AppendJSONString(nil, name), ':')
		members = append(members, string(schema.AppendJSONString(m, o.Tags[name])))
	}
	list := strings.Join(members, ",")
	row := schema.TextOf("{" + list + "}")
	if n := schema.UTF16Len(row.Value); n > schema.MaxColumnUnits {
		return tagsText{}, &ArgumentError{"tags", fmt.Sprintf("have %d characters, more than %d", n, schema.MaxColumnUnits)}
	}
	return tagsText{message: schema.TextOf(`{"$type":` + strconv.Quote(schema.DictionaryClass) + "," + list + "}"), row: row}, nil
}

// start starts what was checked over the instance that was there before, if any.
func (c *Control) start(ctx context.Context, o *StartOptions, prior *schema.Instance) (*Started, error) {
	dedupe := o.DedupeStatuses
	if dedupe == nil {
		dedupe = notEnded
	}
	generation := int32(0)
	status := schema.StatusUnknown
	if prior != nil {
		if status = prior.Status(); slices.Contains(dedupe, status) {
			return nil, &StateError{o.ID, opStart, status}
		}
		if generation = prior.Generation.Value; generation < math.MaxInt32 {
			generation++
		}
	}
	event, err := o.event()
	if err != nil {
		return nil, err
	}
	execution, err := c.guid()
	if err != nil {
		return nil, err
	}
	event.OrchestrationInstance = schema.InstanceJSON(o.ID, execution)
	event.Generation = schema.Some(generation)
	event.Timestamp = c.now()
	message, err := c.message(o.ID, schema.Some(execution), event, o.At)
	if err != nil {
		return nil, err
	}
	row, err := c.startRow(ctx, o, event, execution, message)
	if err != nil {
		return nil, err
	}
	if err := c.send(ctx, message); err != nil {
		return nil, fmt.Errorf("start instance %q: %w", o.ID, err)
	}
	if err := c.putStarted(ctx, row, prior); err != nil {
		return nil, fmt.Errorf("start instance %q: its message is in the queue, but its row is not written: %w", o.ID, err)
	}
	return &Started{
		Sent: *c.sent(message, o.ID, status), ExecutionID: execution, Name: o.Name,
		CreatedTime: event.Timestamp, Generation: generation, Replaced: prior != nil,
	}, nil
}

// startRow returns the row of an instance that is started. If the message goes to
// a blob, Input is the URL of that; an input that only a column is too short for
// gets a blob of its own.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:781-842, 1275-1326;
// AzureStorageOrchestrationService.cs:1784-1797.
func (c *Control) startRow(ctx context.Context, o *StartOptions, event *schema.ExecutionStarted, execution string, message *outgoing) (*schema.Instance, error) {
	tags, err := o.tags()
	if err != nil {
		return nil, err
	}
	row := &schema.Instance{
		PartitionKey: schema.EscapeKey(o.ID), ExecutionID: schema.Some(execution),
		Name: event.Name, Version: event.Version, Input: event.Input, Tags: tags.row,
		CreatedTime: schema.Some(event.Timestamp), ScheduledStartTime: event.ScheduledStartTime,
		RuntimeStatus: schema.Some(schema.StatusPending.String()), TaskHubName: schema.Some(c.info.Names.TaskHub),
		Generation: event.Generation,
	}
	switch {
	case c.e == nil:
	case message.large():
		row.Input = schema.TextOf(c.e.BlobURL(c.q.container, message.blob))
	case schema.UTF16Len(event.Input.Value) > schema.MaxColumnUnits:
		guid, err := c.guid()
		if err != nil {
			return nil, err
		}
		random, err := strconv.ParseUint(guid[:8], 16, 32)
		if err != nil {
			return nil, err
		}
		name := schema.HistoryBlobName(o.ID, "", "Input", "Input", uint32(random)&math.MaxInt32)
		if err := c.putText(ctx, name, []byte(event.Input.Value)); err != nil {
			return nil, fmt.Errorf("start instance %q: %w", o.ID, err)
		}
		row.Input = schema.Text{Set: true, Blob: name}
	}
	return row, nil
}

// putStarted writes the row of an instance that was started over prior, if that
// is still what is there.
func (c *Control) putStarted(ctx context.Context, started, prior *schema.Instance) error {
	if c.e == nil {
		return nil
	}
	started.LastUpdatedTime = schema.Some(c.now())
	row := started.Row()
	if prior != nil {
		row.ETag = prior.ETag
		_, err := c.e.ReplaceRow(ctx, hub.Instances, row)
		if !errors.Is(err, hub.ErrNotFound) {
			return err
		}
		row.ETag = "" // purged meanwhile
	}
	_, err := c.e.InsertRow(ctx, hub.Instances, row)
	return err
}

// RestartOptions tunes a restart. The zero value restarts under a new ID.
type RestartOptions struct {
	// SameID starts the instance anew under its own ID, for which it has to have
	// ended ([ErrExists]).
	SameID bool
	// NewID is the ID of the new instance; empty means a random one.
	NewID string
}

// Restart starts an orchestration with the name, version, tags and input of one
// that exists. As in the framework, no input becomes the JSON null, and input
// that is not JSON a JSON string. It returns [ErrNoInstance], an
// [*ArgumentError] for an entity, and the errors of [Control.Start].
//
// Source: Functions extension 2.13.7, DurableClient.cs:1142-1153; recorded in hub
// functions-3-after-write. The framework starts without version and tags, which
// Functions apps did not have.
func (c *Control) Restart(ctx context.Context, id string, o RestartOptions) (*Started, error) {
	if schema.IsEntity(id) {
		return nil, &ArgumentError{"instance ID", "is that of an entity, which cannot be restarted"}
	}
	if o.SameID && o.NewID != "" {
		return nil, &ArgumentError{"new instance ID", "makes no sense with the same one"}
	}
	if err := checkText("instance ID", id); err != nil {
		return nil, err
	}
	s, err := c.q.Instance(ctx, id, ShowInput)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, fmt.Errorf("instance %q: %w", id, ErrNoInstance)
	}
	if err := errors.Join(s.Problems...); err != nil {
		return nil, fmt.Errorf("%s instance %q: %w", opRestart, id, err)
	}
	start := StartOptions{Name: s.Row.Name.Value, ID: o.NewID, Version: s.Row.Version.Value, Input: schema.Some(asJSON(s.Input))}
	if s.Tags.Value != "" {
		if err := json.Unmarshal([]byte(s.Tags.Value), &start.Tags); err != nil {
			return nil, fmt.Errorf("%s instance %q: its tags: %w", opRestart, id, err)
		}
	}
	if !o.SameID {
		return c.Start(ctx, start)
	}
	// Not CheckInstanceID: the framework's own apps start with IDs that its
	// clients refuse.
	start.ID = id
	return c.start(ctx, &start, &s.Row)
}

// asJSON returns a stored text as JSON.
//
// Source: Functions extension 2.13.7, DurableClient.cs:1079-1118.
func asJSON(t schema.Text) string {
	if !t.Set {
		return "null"
	}
	text := strings.TrimSpace(t.Value)
	if json.Valid([]byte(text)) {
		return text
	}
	return string(schema.AppendJSONString(nil, text))
}
