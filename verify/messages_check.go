package verify

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// outcome is what came of one check of one subject. It is kept until it is sure:
// on a live hub what looks wrong is read again first.
type outcome struct {
	code    string
	finding *Finding
	// subject and why are set if it could not be told.
	subject, why string
}

func passed(code string) outcome { return outcome{code: code} }

func violated(f Finding) outcome { return outcome{code: f.Code, finding: &f} }

func unknown(code, subject, why string) outcome {
	return outcome{code: code, subject: subject, why: why}
}

// severe reports whether o is a finding worse than Info.
func (o *outcome) severe() bool {
	if o.finding == nil {
		return false
	}
	severity := o.finding.Severity
	if severity == "" {
		c, _ := checkNamed(o.code)
		severity = c.Severity
	}
	return severity.Compare(Info) > 0
}

// commit counts or reports an outcome.
func (v *run) commit(o *outcome) error {
	switch {
	case o.finding != nil:
		return v.report(*o.finding)
	case o.why != "":
		v.unknown(o.code, o.subject, o.why)
	default:
		v.passed(o.code)
	}
	return nil
}

// healthyDequeues is how often a message may have been received before it is
// taken for one that cannot be processed. Work that is renewed stays at one; a
// worker that dies, and a result that comes before its schedule is stored, each
// add one.
//
// Source: durabletask 2.9.1, TaskHubQueue.cs:237-390; recorded in hub
// dtfx-2.9.1-poisoned, where a message has three after 15 seconds.
const healthyDequeues = 2

// loggedAsPoison is the count from which on the framework calls a message poison.
const loggedAsPoison = 10

// messageChecks judges each message that can be seen.
func (v *run) messageChecks(ctx context.Context) error {
	all := v.messages.all
	outcomes := make([][]outcome, len(all))
	var again []int
	for i, m := range all {
		if v.ids != nil && !v.wantsInstance(m.InstanceID) {
			continue
		}
		o, err := v.judgeMessage(ctx, v.messages, m)
		if err != nil {
			return err
		}
		outcomes[i] = o
		if v.live && slices.ContainsFunc(o, func(o outcome) bool { return o.finding != nil }) {
			again = append(again, i)
		}
	}
	if len(again) > 0 {
		// A message may have been taken meanwhile, or its instance written.
		if v.opts.Recheck != nil {
			if err := v.opts.Recheck(ctx); err != nil {
				return err
			}
		}
		fresh, err := v.peek(ctx)
		if err != nil {
			return err
		}
		v.forget()
		for _, i := range again {
			m := fresh.find(all[i])
			if m == nil {
				for j := range outcomes[i] {
					outcomes[i][j] = passed(outcomes[i][j].code)
				}
				continue
			}
			if outcomes[i], err = v.judgeMessage(ctx, fresh, m); err != nil {
				return err
			}
		}
	}
	for i := range outcomes {
		for j := range outcomes[i] {
			if err := v.commit(&outcomes[i][j]); err != nil {
				return err
			}
		}
	}
	for i := range v.messages.queues {
		if q := &v.messages.queues[i]; q.dropped > 0 && v.ids == nil {
			for range q.dropped {
				v.unknown(codeMessageUndecodable, q.Name, "the queue shows more messages than are looked at")
			}
		}
	}
	return nil
}

// judgeMessage makes all checks of one message.
func (v *run) judgeMessage(ctx context.Context, index *messageIndex, m *pendingMessage) ([]outcome, error) {
	var outcomes []outcome
	add := func(o outcome) { outcomes = append(outcomes, o) }
	if v.wants(codeMessageUndecodable) || v.wants(codeBlobMissing) {
		outcomes = append(outcomes, judgeDecoding(v.info.Names.LargeMessages(), m)...)
	}
	if v.wants(codePoisonMessage) {
		add(judgeDequeues(m))
	}
	if m.Event == nil {
		return outcomes, nil
	}
	if v.wants(codeSchemaUnknown) && m.unknown != "" {
		add(violated(Finding{
			Code: codeSchemaUnknown, InstanceID: m.InstanceID, ExecutionID: m.ExecutionID, At: []Place{m.place()},
			Detail: "a message has an unknown " + m.unknown,
		}))
	}
	if index.isControl(m.Stored.Queue) && v.wants(codeMessageWrongPartition) {
		add(judgeQueue(index, m))
	}
	target, err := v.judgeTarget(ctx, index, m)
	return append(outcomes, target...), err
}

// judgeDecoding judges whether the message can be read. A wrapper whose blob is
// gone is a matter of that blob alone.
func judgeDecoding(container string, m *pendingMessage) []outcome {
	f := Finding{InstanceID: m.InstanceID, ExecutionID: m.ExecutionID, At: []Place{m.place()}}
	if m.Blob != "" {
		f.At = append(f.At, Place{Container: container, Blob: m.Blob})
	}
	subject := m.place().String()
	switch {
	case m.Problem == nil:
		return []outcome{passed(codeMessageUndecodable)}
	case m.Blob != "" && errors.Is(m.Problem, hub.ErrNotFound):
		f.Code = codeBlobMissing
		f.Detail = fmt.Sprintf("message %d of %s is in a blob that is gone: %s", m.Position, m.Stored.Queue, m.Blob)
		return []outcome{unknown(codeMessageUndecodable, subject, "its blob is missing"), violated(f)}
	case errors.Is(m.Problem, hub.ErrTooLarge):
		return []outcome{unknown(codeMessageUndecodable, subject, "its blob is larger than the limit")}
	}
	f.Code = codeMessageUndecodable
	f.Detail = fmt.Sprintf("message %d of %s cannot be read: %v", m.Position, m.Stored.Queue, m.Problem)
	return []outcome{violated(f)}
}

func judgeDequeues(m *pendingMessage) outcome {
	if m.Stored.DequeueCount <= healthyDequeues {
		return passed(codePoisonMessage)
	}
	what := "a message that cannot be read"
	if m.Event != nil {
		what = "the message " + m.kind()
	}
	detail := fmt.Sprintf("%s was received %d times and put back", what, m.Stored.DequeueCount)
	if m.Stored.DequeueCount >= loggedAsPoison {
		detail += "; the framework tries it every ten minutes from now on"
	}
	return violated(Finding{
		Code: codePoisonMessage, InstanceID: m.InstanceID, ExecutionID: m.ExecutionID, At: []Place{m.place()}, Detail: detail,
	})
}

// kind says in words what the message is.
func (m *pendingMessage) kind() string {
	name := ""
	switch e := m.Event.(type) {
	case *schema.ExecutionStarted:
		name = e.Name.Value
	case *schema.TaskScheduled:
		name = e.Name.Value
	case *schema.EventRaised:
		name = e.Name.Value
	case *schema.UnknownEvent:
		return fmt.Sprintf("%.100q", e.Name)
	}
	if name == "" {
		return m.Event.Type().String()
	}
	return fmt.Sprintf("%s %.100q", m.Event.Type(), name)
}

// judgeQueue compares the queue that the message is in with the one that the hash
// of its instance ID names. Where parts of the hub give several numbers of
// partitions, it cannot be told which of the queues is the right one.
//
// Source: durabletask 2.9.1, AzureStorageOrchestrationService.cs:2153-2178.
func judgeQueue(index *messageIndex, m *pendingMessage) outcome {
	want := index.controlQueue(m.InstanceID)
	switch {
	case want == m.Stored.Queue:
		return passed(codeMessageWrongPartition)
	case want == "":
		return unknown(codeMessageWrongPartition, m.place().String(), "the number of partitions is unknown")
	case slices.Contains(index.controlQueues(m.InstanceID), m.Stored.Queue):
		return unknown(codeMessageWrongPartition, m.place().String(), "the parts of the hub do not agree on the number of partitions")
	}
	return violated(Finding{
		Code: codeMessageWrongPartition, InstanceID: m.InstanceID, ExecutionID: m.ExecutionID, At: []Place{m.place()},
		Detail: fmt.Sprintf("the message %s is in %s; with %d partitions it belongs into %s", m.kind(), m.Stored.Queue, index.count, want),
	})
}
