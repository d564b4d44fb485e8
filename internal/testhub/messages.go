package testhub

import (
	"cmp"
	"encoding/json"
	"encoding/xml"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/schema"
)

// storedMessage is a message as the emulator's database has it.
type storedMessage struct {
	MessageID                     string
	InsertionTime, ExpirationTime time.Time
	TimeNextVisible               int64 // Unix milliseconds
	DequeueCount                  int64
	Text                          string
}

func (m *storedMessage) in(queue string) schema.QueueMessage {
	return schema.QueueMessage{
		Queue: queue, ID: m.MessageID, Text: m.Text, DequeueCount: m.DequeueCount,
		InsertedAt: schema.TicksOf(m.InsertionTime), ExpiresAt: schema.TicksOf(m.ExpirationTime),
		VisibleAt: schema.TicksOf(time.UnixMilli(m.TimeNextVisible)),
	}
}

// AllMessages returns what a queue holds, hidden messages included, in the order of
// insertion. It changes nothing: the file all-messages.mjs of the folder node
// looks into the emulator's database.
func (e *Emulator) AllMessages(t testing.TB, queue string) []schema.QueueMessage {
	t.Helper()
	answer := e.writer(t).do(t, http.MethodGet, e.QueueURL+"/"+queue+"/messages?peekonly=true", "", "X-Ms-Client-Request-Id", "all-messages")
	var list struct {
		QueueMessage struct{ MessageText string }
	}
	var stored []storedMessage
	if err := xml.Unmarshal([]byte(answer), &list); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(list.QueueMessage.MessageText), &stored); err != nil {
		t.Fatal(err)
	}
	var all []schema.QueueMessage
	for i := range stored {
		all = append(all, stored[i].in(queue))
	}
	return all
}

// LoadRecorded is like [Load] for the hub of a recording, with the texts of all its
// messages: those that could be taken when it was recorded can be taken, in their
// order, and the others are hidden for a week.
func LoadRecorded(t testing.TB, e *Emulator, name string) {
	t.Helper()
	r := OpenHub(t, name)
	info, err := r.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c := ContentOf(t, r)
	position := make(map[string]int) // of what was peeked
	for i := range c.Queues {
		q := &c.Queues[i]
		for k, m := range q.Messages {
			position[m.ID] = k - len(q.Messages)
		}
		q.Messages, q.ApproximateCount = nil, 0
	}
	Load(t, e, c)
	w := e.writer(t)
	for _, q := range c.Queues {
		messages := RecordedMessages(t, name, q.Name)
		slices.SortStableFunc(messages, func(a, b schema.QueueMessage) int {
			return cmp.Or(cmp.Compare(position[a.ID], position[b.ID]), cmp.Compare(a.VisibleAt, b.VisibleAt))
		})
		for _, m := range messages {
			hidden := 0
			if Hidden(info.Started, &m) {
				hidden = 7 * 24 * 3600
			}
			w.post(t, q.Name, m.Text, hidden)
		}
	}
}

// Hidden reports whether a recorded message could not be taken when the hub was
// recorded, seconds after the last write to it.
func Hidden(recorded schema.Ticks, m *schema.QueueMessage) bool {
	return m.VisibleAt.Time().Sub(recorded.Time()) > 5*time.Second
}
