package manage

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Conditions that callers branch on.
var (
	// ErrNoInstance is returned for an instance that has no row.
	ErrNoInstance = errors.New("no such instance")
	// ErrEnded is returned for an instance that has ended. It wraps a [StateError].
	ErrEnded = errors.New("the instance has ended")
	// ErrExists is returned for a start over an instance that has not ended. It
	// wraps a [StateError].
	ErrExists = errors.New("the instance exists already")
	// ErrNotFailed is returned for a rewind of an instance that has not ended. It
	// wraps a [StateError].
	ErrNotFailed = errors.New("the instance has not failed")
	// ErrNoPartitions is returned if nothing in storage tells how many control
	// queues the hub has, and so to which of them a message belongs.
	ErrNoPartitions = errors.New("nothing in storage tells the number of partitions")
)

// StateError says that an operation is not for an instance in this status. It is
// ErrExists for a start, ErrNotFailed for a rewind and ErrNotEnded for a purge of
// an instance that has not ended, and ErrEnded for any other operation on one
// that has.
type StateError struct {
	InstanceID string
	Operation  string // start, terminate, suspend, resume, raise event, rewind, purge
	Status     schema.Status
}

// Error says which instance is in which status.
func (e *StateError) Error() string {
	if e.Operation == opStart {
		return fmt.Sprintf("an instance %q with the status %s exists already", e.InstanceID, e.Status)
	}
	return fmt.Sprintf("cannot %s instance %q: its status is %s", e.Operation, e.InstanceID, e.Status)
}

// Is reports whether e stands for one of the conditions of this package.
func (e *StateError) Is(target error) bool {
	switch {
	case e.Operation == opStart:
		return target == ErrExists
	case e.Status.Terminal():
		return target == ErrEnded
	}
	return target == ErrNotFailed && e.Operation == opRewind || target == ErrNotEnded && e.Operation == opPurge
}

const (
	opStart     = "start"
	opTerminate = "terminate"
	opSuspend   = "suspend"
	opResume    = "resume"
	opRaise     = "raise event of"
	opRewind    = "rewind"
	opRestart   = "restart"
	opStatus    = "set the custom status of"
)

// ArgumentError says what is wrong with an argument. Nothing was written.
type ArgumentError struct {
	Argument string // such as instance ID
	Reason   string
}

// Error says it on one line.
func (e *ArgumentError) Error() string { return e.Argument + ": " + e.Reason }

// ControlOptions tunes a [Control].
type ControlOptions struct {
	// Now tells the time that messages and rows carry. It is required.
	Now func() time.Time
	// Random is where IDs come from; nil means crypto/rand.
	Random io.Reader
	// Encoding is the form of messages in the queues. If it is not set, it is
	// that of a message that waits in a queue of the hub; if there is none to be
	// seen, plain JSON for a hub with a Partitions table, which is the default of
	// the versions that make one, and otherwise Base64, which every version reads.
	Encoding schema.Optional[schema.Encoding]
	// MaxPayloadBytes is as in [Options].
	MaxPayloadBytes int64
}

// Control operates the instances of one hub as the framework's own clients do: by
// messages in the control queues, and rows where a client writes them. What a
// message asks for happens when a worker takes it. It may be used concurrently.
//
// Every operation first checks what the framework's HTTP API checks, and writes
// nothing if that fails. Rows are written only in the version that was looked at:
// where somebody else was faster the error is [hub.ErrConflict].
type Control struct {
	q    *Query
	e    hub.Editor
	opts ControlOptions
	info hub.Info

	sequence atomic.Int64

	mu       sync.Mutex // of the following, and of opts.Random
	encoding schema.Optional[schema.Encoding]
}

// NewControl returns a Control of the hub that r reads and e changes. With a nil
// e nothing is ever written: operations check everything and return what they
// would do. It returns [hub.ErrNotFound] if nothing of the hub exists, and
// [ErrNoPartitions].
//
// The number of partitions is what storage tells ([hub.Info]), never a setting: a
// message in the wrong queue waits for ever. It is read once.
func NewControl(ctx context.Context, r hub.Reader, e hub.Editor, opts ControlOptions) (*Control, error) {
	if opts.Now == nil {
		return nil, errors.New("manage: ControlOptions.Now is not set")
	}
	if opts.Random == nil {
		opts.Random = rand.Reader
	}
	info, err := r.Info(ctx)
	if err != nil {
		return nil, err
	}
	if info.PartitionCount < 1 {
		return nil, fmt.Errorf("hub %q: %w", info.Names.TaskHub, ErrNoPartitions)
	}
	q := &Query{r: r, opts: Options{MaxPayloadBytes: opts.MaxPayloadBytes}, container: info.Names.LargeMessages()}
	return &Control{q: q, e: e, opts: opts, info: info, encoding: opts.Encoding}, nil
}

func (c *Control) now() schema.Ticks { return schema.TicksOf(c.opts.Now()) }

// guid returns a random GUID as 32 hexadecimal digits.
func (c *Control) guid() (string, error) {
	var b [16]byte
	c.mu.Lock()
	_, err := io.ReadFull(c.opts.Random, b[:])
	c.mu.Unlock()
	if err != nil {
		return "", fmt.Errorf("make an ID: %w", err)
	}
	b[6], b[8] = b[6]&0x0F|0x40, b[8]&0x3F|0x80 // version 4
	return hex.EncodeToString(b[:]), nil
}

// dashed returns a GUID with dashes.
func dashed(guid string) string {
	return guid[:8] + "-" + guid[8:12] + "-" + guid[12:16] + "-" + guid[16:20] + "-" + guid[20:]
}

// instance returns the row of an instance, or nil without one.
func (c *Control) instance(ctx context.Context, id string) (*schema.Instance, error) {
	return rowOf(ctx, c.q.r, id)
}

// existing is instance for operations that need one.
func (c *Control) existing(ctx context.Context, id string) (*schema.Instance, error) {
	if id == "" {
		return nil, &ArgumentError{"instance ID", "is empty"}
	}
	if err := checkText("instance ID", id); err != nil {
		return nil, err
	}
	i, err := c.instance(ctx, id)
	if err != nil {
		return nil, err
	}
	if i == nil {
		return nil, fmt.Errorf("instance %q: %w", id, ErrNoInstance)
	}
	return i, nil
}

// Sent is a message that was put into a control queue, or would be.
type Sent struct {
	InstanceID string
	// Status is the instance's as its row had it before; StatusUnknown if it has
	// no row.
	Status schema.Status
	// Skipped says that there is no message, as the instance is in the wanted
	// state already. The fields below are then empty.
	Skipped bool
	Queue   string
	// Event is the name of an event that is raised.
	Event string
	// Blob is the blob that holds a large message; the one in the queue is only a
	// wrapper.
	Blob string
	// VisibleAt is when workers can first take the message; zero means at once.
	VisibleAt schema.Ticks
	// StillStarts is set for a termination of an instance whose start is scheduled
	// for later: the status becomes Terminated, but when its time has come it runs
	// all the same, unless it is purged before.
	StillStarts schema.Ticks
}

// outgoing is a message on its way.
type outgoing struct {
	queue string
	json  []byte
	blob  string // of a large one, as its wrapper names it
	delay time.Duration
}

// large reports whether the message goes to a blob.
func (m *outgoing) large() bool { return m.blob != "" }

// message makes a message of a client. The execution is absent for all but starts.
//
// Source: durabletask 2.9.1, MessageManager.cs:62-123, TaskHubQueue.cs:91-150;
// recorded in hub functions-3-after-write.
func (c *Control) message(instanceID string, execution schema.Optional[string], event schema.Event, at schema.Ticks) (*outgoing, error) {
	guid, err := c.guid()
	if err != nil {
		return nil, err
	}
	head := event.Header()
	head.EventID = -1
	if head.Timestamp == 0 {
		head.Timestamp = c.now()
	}
	m := schema.Message{
		ActivityID: dashed(guid),
		TaskMessage: &schema.TaskMessage{
			Event:                 event,
			OrchestrationInstance: schema.OrchestrationInstance{InstanceID: instanceID, ExecutionID: execution},
		},
		SequenceNumber: c.sequence.Add(1),
		Sender:         &schema.OrchestrationInstance{ExecutionID: schema.Some("")},
	}
	out := &outgoing{
		queue: c.info.Names.ControlQueue(schema.Partition(instanceID, c.info.PartitionCount)),
		json:  schema.EscapeForXML(m.AppendJSON(nil)),
	}
	if len(out.json) > schema.MaxMessageBytes {
		out.blob = schema.MessageBlobName(instanceID, guid, event.Type())
	}
	if at != 0 {
		out.delay = max(0, at.Time().Sub(c.opts.Now()))
	}
	if out.delay > hub.MaxMessageDelay {
		return nil, &ArgumentError{"time", fmt.Sprintf("%s is more than %d days ahead, for which the Queue service cannot hide a message", at, hub.MaxMessageDelay/(24*time.Hour))}
	}
	return out, nil
}

// upload stores the message in its blob, if it is large.
func (c *Control) upload(ctx context.Context, m *outgoing) error {
	if !m.large() || c.e == nil {
		return nil
	}
	return c.putText(ctx, m.blob, m.json)
}

// send uploads what is large and puts the message into its queue.
func (c *Control) send(ctx context.Context, m *outgoing) error {
	if err := c.upload(ctx, m); err != nil {
		return err
	}
	return c.enqueue(ctx, m)
}

func (c *Control) enqueue(ctx context.Context, m *outgoing) error {
	if c.e == nil {
		return nil
	}
	body := m.json
	if m.large() {
		w := schema.NewWrapper(m.blob)
		body = schema.EscapeForXML(w.AppendJSON(nil))
	}
	enc, err := c.queueEncoding(ctx)
	if err != nil {
		return err
	}
	return c.e.PutMessage(ctx, m.queue, schema.EncodeBody(body, enc), m.delay)
}

// sent tells of a message to an instance.
func (c *Control) sent(m *outgoing, instanceID string, status schema.Status) *Sent {
	s := &Sent{InstanceID: instanceID, Status: status, Queue: m.queue, Blob: schema.StoredBlobName(m.blob)}
	if m.delay >= time.Second { // the service takes whole seconds
		s.VisibleAt = c.now() + schema.Ticks(m.delay/100)
	}
	return s
}

// putText stores a text, and makes the container for the first of them.
func (c *Control) putText(ctx context.Context, name string, text []byte) error {
	b, packed, err := hub.PackText(c.q.container, name, text)
	if err != nil {
		return err
	}
	err = c.e.PutBlob(ctx, b, packed)
	if !errors.Is(err, hub.ErrNotFound) {
		return err
	}
	if err := c.e.CreateContainer(ctx, c.q.container); err != nil {
		return err
	}
	return c.e.PutBlob(ctx, b, packed)
}

// queueEncoding returns the form of messages in this hub.
func (c *Control) queueEncoding(ctx context.Context) (schema.Encoding, error) {
	c.mu.Lock()
	known := c.encoding
	c.mu.Unlock()
	if known.Set {
		return known.Value, nil
	}
	enc, err := c.findEncoding(ctx)
	if err != nil {
		return enc, fmt.Errorf("find the encoding of messages: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.encoding = schema.Some(enc)
	return enc, nil
}

func (c *Control) findEncoding(ctx context.Context) (schema.Encoding, error) {
	queues := []string{c.info.Names.WorkItemQueue()}
	for i := range c.info.PartitionCount {
		queues = append(queues, c.info.Names.ControlQueue(i))
	}
	for _, queue := range queues {
		for m, err := range c.q.r.Messages(ctx, queue) {
			if err != nil {
				return 0, err
			}
			text, enc, err := schema.MessageText(m.Text)
			if err == nil && strings.Contains(text, "DurableTask.AzureStorage.MessageData") {
				return enc, nil
			}
		}
	}
	for _, t := range c.info.Tables {
		if t.Table == hub.Partitions {
			return schema.PlainJSON, nil
		}
	}
	return schema.Base64, nil
}

// maxInstanceID is the length of an instance ID in UTF-16 units.
//
// Source: Functions extension 2.13.7, DurableClient.cs:33, 185-225.
const maxInstanceID = 256

// CheckInstanceID returns an [*ArgumentError] for an ID that the framework's
// clients refuse to start an orchestration with: one that is empty, longer than
// 256 UTF-16 units, begins with @ as those of entities do, or has one of
// / \ # ? or a control character.
func CheckInstanceID(id string) error {
	switch {
	case id == "":
		return &ArgumentError{"instance ID", "is empty"}
	case schema.IsEntity(id):
		return &ArgumentError{"instance ID", "must not begin with @, as those of entities do"}
	}
	return checkID("instance ID", id)
}

func checkID(argument, id string) error {
	if err := checkText(argument, id); err != nil {
		return err
	}
	if n := schema.UTF16Len(id); n > maxInstanceID {
		return &ArgumentError{argument, fmt.Sprintf("has %d characters, more than %d", n, maxInstanceID)}
	}
	for _, r := range id {
		if strings.ContainsRune(`/\#?`, r) || r < 0x20 || r >= 0x7F && r <= 0x9F {
			return &ArgumentError{argument, `must not contain / \ # ? or control characters`}
		}
	}
	return nil
}

// checkText refuses text that cannot be stored as it is.
func checkText(argument, text string) error {
	if !utf8.ValidString(text) {
		return &ArgumentError{argument, "is not UTF-8"}
	}
	return nil
}

// compact returns a JSON text without white space between its tokens, which stay
// as they are.
func compact(argument string, text schema.Optional[string]) (schema.Text, error) {
	if !text.Set {
		return schema.Text{}, nil
	}
	if err := checkText(argument, text.Value); err != nil {
		return schema.Text{}, err
	}
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text.Value)); err != nil {
		return schema.Text{}, &ArgumentError{argument, "is not JSON: " + err.Error()}
	}
	return schema.TextOf(b.String()), nil
}
