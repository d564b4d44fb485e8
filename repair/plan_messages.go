package repair

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/verify"
)

// findQueues finds out where messages go, and in which form.
func (p *planner) findQueues(ctx context.Context) error {
	queues, err := p.r.Queues(ctx)
	if err != nil {
		return fmt.Errorf("list queues: %w", err)
	}
	p.queues = make(map[string]bool)
	prefix := p.info.Names.ControlQueuePrefix()
	beyond := ""
	for _, q := range queues {
		p.queues[q.Name] = true
		if n, err := strconv.Atoi(strings.TrimPrefix(q.Name, prefix)); strings.HasPrefix(q.Name, prefix) && (err != nil || n >= p.info.PartitionCount) {
			beyond = q.Name
		}
	}
	switch {
	case p.odd != "":
	case p.info.PartitionCount < 1:
		p.odd = "nothing in storage tells the number of partitions"
	case beyond != "":
		p.odd = fmt.Sprintf("queue %s is beyond the %d partitions of the hub: which number is right cannot be told", beyond, p.info.PartitionCount)
	}
	return p.findEncoding(ctx)
}

// findEncoding tells the form of messages in this hub: that of one that can be seen,
// else what the versions write that make such a hub.
func (p *planner) findEncoding(ctx context.Context) error {
	queues := []string{p.info.Names.WorkItemQueue()}
	for n := range p.info.PartitionCount {
		queues = append(queues, p.info.Names.ControlQueue(n))
	}
	for _, queue := range queues {
		for m, err := range p.r.Messages(ctx, queue) {
			if err != nil {
				return fmt.Errorf("read queue %s: %w", queue, err)
			}
			text, enc, err := schema.MessageText(m.Text)
			if err == nil && strings.Contains(text, "DurableTask.AzureStorage.MessageData") {
				p.encoding = encodingOf(enc)
				return nil
			}
		}
	}
	p.encoding = EncodingBase64
	for _, t := range p.info.Tables {
		if t.Table == hub.Partitions {
			p.encoding = EncodingText
		}
	}
	return nil
}

// ask makes the message of a client to an instance. Its ID follows from the hub and
// the work, so that the same plan has the same message.
//
// Source: durabletask 2.9.1, MessageManager.cs:62-123, TaskHubQueue.cs:91-150.
func (p *planner) ask(instanceID, work string, event schema.Event) Message {
	p.made++
	sum := sha256.Sum256([]byte("repair\x00" + p.info.Names.TaskHub + "\x00" + instanceID + "\x00" + work))
	sum[6], sum[8] = sum[6]&0x0F|0x80, sum[8]&0x3F|0x80 // version 8 of RFC 9562
	id := hex.EncodeToString(sum[:16])
	head := event.Header()
	head.EventID, head.Timestamp = -1, p.now
	m := schema.Message{
		ActivityID:     id[:8] + "-" + id[8:12] + "-" + id[12:16] + "-" + id[16:20] + "-" + id[20:],
		TaskMessage:    &schema.TaskMessage{Event: event, OrchestrationInstance: schema.OrchestrationInstance{InstanceID: instanceID}},
		SequenceNumber: p.made,
		Sender:         &schema.OrchestrationInstance{ExecutionID: schema.Some("")},
	}
	return Message{
		Queue: p.info.Names.ControlQueue(schema.Partition(instanceID, p.info.PartitionCount)),
		Text:  string(schema.EscapeForXML(m.AppendJSON(nil))), Encoding: p.encoding,
	}
}

// orphanedLock is the ID by which the framework's own clean-up releases a lock.
//
// Source: durabletask 2.9.1, EntityTrackingStoreQueries.cs:124-209.
const orphanedLock = "fix-orphaned-lock"

// lock releases the lock of an entity by the message with which the framework's own
// clean-up does it: an entity that is released goes on with what waits in its state,
// which an edited state would not make it do.
//
// Source: durabletask 2.9.1, EntityTrackingStoreQueries.cs:124-209,
// TaskEntityDispatcher.cs:438-459.
func (r *round) lock(ctx context.Context, f *verify.Finding) (string, error) {
	if r.odd != "" {
		return r.odd, nil
	}
	h, err := r.history(ctx, keyOf(f))
	if err != nil {
		return "", err
	}
	if reason := unsound(h); reason != "" {
		return reason, nil
	}
	if h.Live.Started == nil {
		return "the entity has no state", nil
	}
	input := h.Live.Started.Input
	if input.Blob != "" {
		text, err := hub.LoadText(ctx, r.o, r.o.payloads, schema.StoredBlobName(input.Blob), r.opts.MaxBlobBytes)
		if ctx.Err() != nil {
			return "", context.Cause(ctx)
		}
		if err != nil {
			return "the entity's state cannot be read: " + err.Error(), nil
		}
		input.Value = text
	}
	state, err := schema.DecodeEntityState(input.Value)
	if err != nil {
		return "the entity's state cannot be read: " + err.Error(), nil
	}
	owner := state.LockedBy.Value
	if owner == "" {
		return "the entity is no longer locked", nil
	}
	text := append(schema.AppendJSONString([]byte(`{"parent":`), owner), `,"id":"`+orphanedLock+`"}`...)
	m := r.ask(f.InstanceID, "release\x00"+owner, &schema.EventRaised{Name: schema.TextOf("release"), Input: schema.TextOf(string(text))})
	if !r.queues[m.Queue] {
		return noQueue(m.Queue), nil
	}
	d := r.draft(f.InstanceID)
	d.restsOn(schema.EscapeKey(owner))
	r.planned(f, fmt.Sprintf("puts a message into %s that releases the lock of %s", m.Queue, owner))
	return "", r.send(d, m)
}

// move puts a message into the queue of its instance, and then takes it out of the
// one that it is in. It is never only copied: workers read every queue that has a
// lease, whatever its number, and an event that comes twice counts twice.
//
// Source: durabletask 2.9.1, AzureStorageOrchestrationService.cs:592-607, 2153-2178.
func (r *round) move(ctx context.Context, f *verify.Finding) (string, error) {
	switch {
	case r.odd != "":
		return r.odd, nil
	case len(f.At) == 0:
		return "where the message is was not told", nil
	}
	from := f.At[0]
	for m, err := range r.o.Messages(ctx, from.Queue) {
		if err != nil {
			return "", fmt.Errorf("read queue %s: %w", from.Queue, err)
		}
		if m.ID != from.MessageID {
			continue
		}
		to := r.info.Names.ControlQueue(schema.Partition(f.InstanceID, r.info.PartitionCount))
		if !r.queues[to] {
			return noQueue(to), nil
		}
		text, enc := readable(m.Text)
		d := r.draft(f.InstanceID)
		d.removals = append(d.removals, Removal{Queue: from.Queue, MessageID: m.ID, Text: text, Encoding: enc})
		r.o.removed[from.Queue] = append(r.o.removed[from.Queue], m.ID)
		r.planned(f, fmt.Sprintf("moves message %s from %s to %s, the queue of its instance", m.ID, from.Queue, to))
		return "", r.send(d, Message{Queue: to, Text: text, Encoding: enc})
	}
	return "the message can no longer be seen", nil
}

// rewind finishes a rewind that was cut off: the rows that are left, the status, and
// the message that wakes each instance of which no sub-orchestration has failed,
// unless it can be seen.
func (r *round) rewind(ctx context.Context, f *verify.Finding) (string, error) {
	if r.odd != "" {
		return r.odd, nil
	}
	c, err := manage.NewControl(ctx, r.o, nil, manage.ControlOptions{Now: r.opts.Now, MaxPayloadBytes: r.opts.MaxBlobBytes})
	if err != nil {
		return "", err
	}
	o := manage.RewindOptions{Resume: true}
	plan, err := c.PlanRewind(ctx, f.InstanceID, o)
	var state *manage.StateError
	var argument *manage.ArgumentError
	switch {
	case errors.As(err, &state), errors.As(err, &argument), errors.Is(err, manage.ErrNoInstance):
		return "it cannot be finished: " + err.Error(), nil
	case err != nil:
		return "", err
	case plan.Refused(o):
		return "it cannot be finished: " + (&manage.RewindError{Plan: plan}).Error(), nil
	}
	var wake []Message
	var woken []string
	for _, i := range plan.Instances {
		m := r.ask(i.InstanceID, "rewind\x00"+i.ExecutionID, &schema.GenericEvent{})
		wakes, err := r.wakes(ctx, m.Queue, i.InstanceID)
		switch {
		case err != nil:
			return "", err
		case !i.Leaf || wakes:
		case !r.queues[m.Queue]:
			return noQueue(m.Queue), nil
		default:
			wake, woken = append(wake, m), append(woken, i.InstanceID)
		}
	}
	if len(plan.Changes)+len(wake) == 0 {
		return "nothing of it is left to be done", nil
	}
	d := r.draft(f.InstanceID)
	for _, i := range plan.Instances {
		r.claim(d, i.InstanceID)
		if g := r.groups[i.InstanceID]; g != nil {
			g.taken = true
		}
		r.progress = append(r.progress, i.InstanceID)
	}
	for i := range plan.Changes {
		change := &plan.Changes[i]
		r.write(d, place{change.Table, change.Before.PartitionKey, change.Before.RowKey}, &change.Before, &change.After)
	}
	for _, m := range wake {
		if err := r.send(d, m); err != nil {
			return "", err
		}
	}
	does := fmt.Sprintf("finishes the rewind: rows that are left to be changed: %d", len(plan.Changes))
	if len(woken) > 0 {
		does += "; wakes " + strings.Join(woken, ", ")
	}
	r.planned(f, does)
	return "", nil
}

// wakes reports whether the message of a rewind for an instance can be seen.
func (r *round) wakes(ctx context.Context, queue, id string) (bool, error) {
	for m, err := range r.o.Messages(ctx, queue) {
		if err != nil {
			return false, fmt.Errorf("read queue %s: %w", queue, err)
		}
		loaded, err := hub.LoadMessage(ctx, r.o, r.o.payloads, &m, r.opts.MaxBlobBytes)
		if ctx.Err() != nil {
			return false, context.Cause(ctx)
		}
		if err != nil || loaded.TaskMessage == nil || loaded.TaskMessage.OrchestrationInstance.InstanceID != id {
			continue
		}
		if _, ok := loaded.TaskMessage.Event.(*schema.GenericEvent); ok {
			return true, nil
		}
	}
	return false, nil
}
