package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

const (
	optQueue       = "queue"
	optPoisonAfter = "poison-after"
)

func queuesCommand() *cli.Command {
	return command(&cli.Command{
		Name:  "queues",
		Usage: "show the messages that wait in a hub's queues",
		Description: description(
			"Shows the messages of the control queues and the work-item queue, decoded, in the order in\n"+
				"which they will be taken: what each makes a worker do and for which instance. Messages are\n"+
				"peeked at, never received, so nothing changes. The service shows 32 messages of a queue at\n"+
				"most, and none that is invisible: timers, scheduled starts, delayed signals, and what a\n"+
				"worker is busy with. How many there are of those is said for each queue, as far as the\n"+
				"service counts right. A message that was taken again and again may be one that no worker\n"+
				"can process: see --poison-after.",
			[]string{
				"taskhub queues --snapshot orders.taskhub",
				"taskhub queues --task-hub-name Orders --json | jq 'select(.poison_candidate)'",
			},
			exitDone, exitFailed, exitUsage, exitSkipped, exitNotFound, exitUnauthorized, exitInterrupted,
		),
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: optQueue, Usage: "only the queue `NAME`; may be repeated"},
			&cli.StringFlag{Name: "id", Usage: "only messages for the instance `ID`"},
			&cli.IntFlag{Name: optPoisonAfter, Value: 5, Usage: "mark messages that were taken `N` times or more; the framework itself logs those of 10"},
			maxPayloadFlag(),
		},
	}, runQueues)
}

// messageLine is a line of queues --json for each message, and queueLine one for
// each queue, after its messages; docs/json.md describes them.
type messageLine struct {
	Type              string `json:"type"`
	Queue             string `json:"queue"`
	Position          int    `json:"position"`
	MessageID         string `json:"message_id"`
	Purpose           string `json:"purpose"`
	EventType         string `json:"event_type,omitempty"`
	InstanceID        string `json:"instance_id,omitempty"`
	ExecutionID       string `json:"execution_id,omitempty"`
	Name              string `json:"name,omitempty"`
	DueTime           string `json:"due_time,omitempty"`
	InsertedTime      string `json:"inserted_time,omitempty"`
	VisibleTime       string `json:"visible_time,omitempty"`
	DequeueCount      int64  `json:"dequeue_count"`
	PoisonCandidate   bool   `json:"poison_candidate"`
	Blob              string `json:"blob,omitempty"`
	SenderInstanceID  string `json:"sender_instance_id,omitempty"`
	SenderExecutionID string `json:"sender_execution_id,omitempty"`
	Problem           string `json:"problem,omitempty"`
}

type queueLine struct {
	Type             string `json:"type"`
	Name             string `json:"name"`
	ApproximateCount int64  `json:"approximate_count"`
	Seen             int64  `json:"seen"`
	NotShown         int64  `json:"not_shown"`
	PoisonCandidates int64  `json:"poison_candidates"`
	OldestInserted   string `json:"oldest_inserted_time,omitempty"`
}

func runQueues(s *session) error {
	only, err := s.nonEmpty(optQueue)
	if err != nil {
		return err
	}
	id := s.String("id")
	if s.IsSet("id") && id == "" {
		return s.usagef("option --id is empty")
	}
	poison := int64(s.Int(optPoisonAfter))
	if poison < 1 {
		return s.usagef("option --%s: must be at least 1", optPoisonAfter)
	}
	limit, err := s.size(optMaxPayload)
	if err != nil {
		return err
	}
	return s.withSource(func(r hub.Reader) error {
		q, err := manage.New(s.ctx, r, manage.Options{MaxPayloadBytes: limit})
		if err != nil {
			return err
		}
		queues, err := r.Queues(s.ctx)
		if err != nil {
			return err
		}
		for _, name := range only {
			if !slices.ContainsFunc(queues, func(q hub.Queue) bool { return strings.EqualFold(q.Name, name) }) {
				return fmt.Errorf("the hub has no queue %q", name)
			}
		}
		first := true
		for _, queue := range queues {
			if len(only) > 0 && !slices.ContainsFunc(only, func(name string) bool { return strings.EqualFold(queue.Name, name) }) {
				continue
			}
			if err := s.showQueue(q, queue, id, poison, first); err != nil {
				return err
			}
			first = false
		}
		return nil
	})
}

// showQueue prints one queue. A queue shows few messages: they are all in memory
// for the sake of aligned columns.
func (s *session) showQueue(q *manage.Query, queue hub.Queue, id string, poison int64, first bool) error {
	sum := queueLine{Type: "queue", Name: queue.Name, ApproximateCount: queue.ApproximateCount}
	t := ui.Table{Indent: "  ", Right: []bool{true}}
	var oldest schema.Ticks
	for m, err := range q.Messages(s.ctx, queue.Name) {
		if err != nil {
			return err
		}
		sum.Seen++
		if at := m.Stored.InsertedAt; at != 0 && (oldest == 0 || at < oldest) {
			oldest = at
		}
		candidate := m.Stored.DequeueCount >= poison
		if candidate {
			sum.PoisonCandidates++
		}
		if id != "" && m.InstanceID != id {
			continue
		}
		if m.Problem != nil {
			s.warn(m.Problem)
		}
		if s.json {
			if err := writeJSON(s.stdout, newMessageLine(&m, candidate)); err != nil {
				return err
			}
			continue
		}
		t.Row(messageCells(&m, candidate)...)
	}
	sum.NotShown = max(queue.ApproximateCount-sum.Seen, 0)
	sum.OldestInserted = stamp(oldest)
	if s.json {
		return writeJSON(s.stdout, sum)
	}
	if !first {
		if err := s.stdout.WriteByte('\n'); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(s.stdout, "%s: %s\n", ui.Escape(queue.Name), summary(&sum)); err != nil {
		return err
	}
	return t.Write(s.stdout)
}

// maxPeek is how many messages the service shows.
const maxPeek = 32

func summary(q *queueLine) string {
	if q.Seen == 0 && q.NotShown == 0 {
		return "empty"
	}
	text := ui.Plural(q.Seen, "message", "messages")
	if q.NotShown > 0 {
		text += ", and " + ui.Count(q.NotShown) + " that cannot be shown ("
		if q.Seen >= maxPeek {
			text += fmt.Sprintf("after the first %d, or ", maxPeek)
		}
		text += "invisible: timers, scheduled, or being processed)"
	}
	if q.PoisonCandidates > 0 {
		text += ", " + ui.Plural(q.PoisonCandidates, "poison candidate", "poison candidates")
	}
	return text
}

func messageCells(m *manage.Message, candidate bool) []string {
	var notes []string
	if m.DueAt != 0 {
		notes = append(notes, "due "+moment(m.DueAt))
	}
	switch n := m.Stored.DequeueCount; {
	case candidate:
		notes = append(notes, "taken "+ui.Plural(n, "time", "times")+": poison?")
	case n > 0:
		notes = append(notes, "taken "+ui.Plural(n, "time", "times"))
	}
	if m.Blob != "" {
		notes = append(notes, "in a blob")
	}
	if m.Problem != nil {
		notes = append(notes, "not readable")
	}
	return []string{
		fmt.Sprint(m.Position), m.Purpose(), orDash(m.InstanceID), "inserted " + moment(m.Stored.InsertedAt), strings.Join(notes, ", "),
	}
}

func newMessageLine(m *manage.Message, candidate bool) messageLine {
	l := messageLine{
		Type: "message", Queue: m.Stored.Queue, Position: m.Position, MessageID: m.Stored.ID, Purpose: m.Purpose(),
		EventType: m.EventType, InstanceID: m.InstanceID, Name: m.Name, DueTime: stamp(m.DueAt),
		InsertedTime: stamp(m.Stored.InsertedAt), VisibleTime: stamp(m.Stored.VisibleAt),
		DequeueCount: m.Stored.DequeueCount, PoisonCandidate: candidate, Blob: m.Blob,
	}
	if t := m.Message.TaskMessage; t != nil {
		l.ExecutionID = t.OrchestrationInstance.ExecutionID.Value
	}
	if sender := m.Message.Sender; sender != nil {
		l.SenderInstanceID, l.SenderExecutionID = sender.InstanceID, sender.ExecutionID.Value
	}
	if m.Problem != nil {
		l.Problem = m.Problem.Error()
	}
	return l
}
