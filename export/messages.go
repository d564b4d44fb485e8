package export

import (
	"context"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// messagesOf exports the messages of one queue.
func (x *run) messagesOf(ctx context.Context, queue string, emit emitter) error {
	rec := newRecord(x.table, x.opts.Redact)
	find := finder{r: x.reader}
	kind := "work-item"
	if strings.HasPrefix(queue, x.info.Names.ControlQueuePrefix()) {
		kind = "control"
	}
	for q, err := range x.reader.Messages(ctx, queue) {
		if err != nil {
			return err
		}
		rec.reset()
		rec.text(mQueue, queue)
		rec.text(mMessageID, q.ID)
		rec.text(mKind, kind)
		rec.text(mText, q.Text)
		rec.int(mDequeueCount, q.DequeueCount)
		if q.InsertedAt != 0 {
			rec.time(mInsertedTime, q.InsertedAt)
		}
		if q.VisibleAt != 0 {
			rec.time(mVisibleTime, q.VisibleAt)
		}
		if _, ok := q.ExpiresAt.UnixNano(); ok {
			rec.time(mExpiresTime, q.ExpiresAt)
		}
		m, err := hub.LoadMessage(ctx, x.reader, x.container, &q, x.opts.MaxPayloadBytes)
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			rec.fail("message", err.Error())
		}
		if m.JSON != "" {
			rec.text(mMessage, m.JSON)
		}
		if m.Blob != "" {
			rec.text(mBlob, m.Blob)
		}
		var name hiveName
		if target, ok := m.Target(); ok {
			var wanted bool
			if name, wanted, err = x.owner(ctx, &find, target); err != nil {
				return err
			}
			if !wanted {
				continue
			}
		} else if x.filtered() {
			continue // whose it is cannot be told
		}
		if err := emit(rec, fillMessage(rec, &m.Message), name); err != nil {
			return err
		}
	}
	return nil
}

func fillMessage(rec *record, m *schema.Message) (extra []schema.Property) {
	if m.Sender != nil {
		rec.text(mSenderInstanceID, m.Sender.InstanceID)
		rec.optText(mSenderExecutionID, m.Sender.ExecutionID)
	}
	if m.Episode.Set {
		rec.int(mEpisode, m.Episode.Value)
	}
	if m.ActivityID != "" { // decoded
		rec.int(mSequenceNumber, m.SequenceNumber)
	}
	add := func(path string, members []schema.Member) {
		for _, e := range members {
			extra = append(extra, schema.Property{Name: path + e.Name, Value: schema.String(e.JSON)})
		}
	}
	add("", m.Extra)
	t := m.TaskMessage
	if t == nil {
		return extra
	}
	add("TaskMessage.", t.Extra)
	add("TaskMessage.Event.", t.EventExtra)
	rec.text(mInstanceID, t.OrchestrationInstance.InstanceID)
	rec.optText(mExecutionID, t.OrchestrationInstance.ExecutionID)
	if t.Event == nil {
		return extra
	}
	if u, ok := t.Event.(*schema.UnknownEvent); ok {
		rec.text(mEventType, u.Name)
	} else {
		rec.text(mEventType, t.Event.Type().String())
	}
	rec.int(mEventID, int64(t.Event.Header().EventID))
	rec.time(mEventTime, t.Event.Header().Timestamp)
	name := func(t schema.Text) {
		if t.Set {
			rec.text(mName, t.Value)
		}
	}
	switch e := t.Event.(type) {
	case *schema.ExecutionStarted:
		name(e.Name)
		rec.optTime(mFireAt, e.ScheduledStartTime)
	case *schema.TaskScheduled:
		name(e.Name)
	case *schema.EventRaised:
		name(e.Name)
	case *schema.TaskCompleted:
		rec.int(mTaskScheduledID, int64(e.TaskScheduledID))
	case *schema.TaskFailed:
		rec.int(mTaskScheduledID, int64(e.TaskScheduledID))
	case *schema.SubOrchestrationCompleted:
		rec.int(mTaskScheduledID, int64(e.TaskScheduledID))
	case *schema.SubOrchestrationFailed:
		rec.int(mTaskScheduledID, int64(e.TaskScheduledID))
	case *schema.TimerFired:
		rec.int(mTaskScheduledID, int64(e.TimerID))
		rec.time(mFireAt, e.FireAt)
	}
	return extra
}
