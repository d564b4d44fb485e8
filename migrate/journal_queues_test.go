package migrate_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

// What is done to a queue while it is filled is found out.
func TestRunQueues(t *testing.T) {
	from := small(t)
	want, _ := undisturbed(t, from)
	for _, tt := range []struct {
		name string
		// change is made with the queue after the n-th message.
		change func(messages []memoryMessage) []memoryMessage
		always bool
		want   string
		is     error
	}{
		{name: "one comes twice", change: func(m []memoryMessage) []memoryMessage { return append(m, m[len(m)-1]) }},
		{
			name: "one comes twice each time", change: func(m []memoryMessage) []memoryMessage { return append(m, m[len(m)-1]) },
			always: true, want: "messages after",
		},
		{
			name: "one is taken", change: func(m []memoryMessage) []memoryMessage { return m[:len(m)-1] },
			want: "in use", is: hub.ErrInUse,
		},
		{
			name: "one is another", always: true, want: "shows 1 messages that were not sent",
			change: func(m []memoryMessage) []memoryMessage {
				return append(m[:len(m)-1:len(m)-1], memoryMessage{text: "{}"})
			},
		},
		{
			name: "one is hidden", always: true, want: "that are due",
			change: func(m []memoryMessage) []memoryMessage {
				m[len(m)-1].shown = schema.MaxTicks
				return m
			},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := new(journalFile)
			opts := killing(t, from, f)
			to := newMemoryTarget(elsewhere, opts.Now)
			done := false
			cleared := 0
			to.after = func(method, what string) error {
				to.mu.Lock()
				defer to.mu.Unlock()
				if method == "ClearQueue" {
					cleared++
					done = done && !tt.always
				}
				if method == "PutMessage" && what == elsewhere.WorkItemQueue() && !done && to.queues[what][len(to.queues[what])-1].due == 0 {
					done = true
					to.queues[what] = tt.change(to.queues[what])
				}
				return nil
			}
			_, err := migrate.Run(t.Context(), from, to, opts)
			switch {
			case tt.want == "":
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, to.everything()); diff != "" {
					t.Errorf("the hub (-undisturbed +repeated):\n%s", diff)
				}
			case err == nil || !strings.Contains(err.Error(), tt.want) || tt.is != nil && !errors.Is(err, tt.is):
				t.Errorf("Run = %v, want %s", err, tt.want)
			}
			if queues := opts.Partitions + 1; tt.is != nil && cleared != queues {
				t.Errorf("%d times a queue was emptied, want %d", cleared, queues)
			}
			if !done {
				t.Error("no message was sent into the queue of work items")
			}
		})
	}
}

// A source that changes while it is copied is in use.
func TestRunSourceChanges(t *testing.T) {
	from := small(t)
	for _, tt := range []struct {
		name   string
		change func(c *hubtest.Content)
		is     error
	}{
		{"a row", func(c *hubtest.Content) {
			rows := slices.Clone(c.Tables[hub.Instances])
			rows[0] = rows[0].Clone()
			rows[0].Set("CustomStatus", schema.String("changed"))
			c.Tables[hub.Instances] = rows
		}, hub.ErrInUse},
		{"no row", func(*hubtest.Content) {}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			other := *from
			other.Content.Tables = maps.Clone(from.Content.Tables)
			opts := killing(t, from, new(journalFile))
			to := newMemoryTarget(elsewhere, opts.Now)
			to.before = func(method, what string) error {
				if method == "CreateTable" && what == hub.History.String() {
					tt.change(&other.Content) // before Instances are copied
				}
				return nil
			}
			if _, err := migrate.Run(t.Context(), &other, to, opts); !errors.Is(err, tt.is) {
				t.Errorf("Run = %v, want %v", err, tt.is)
			}
			if tt.is != nil && len(to.queues) > 0 {
				t.Error("there are queues")
			}
		})
	}
}

// crowded is a hub with so many large messages to be made that they are not kept
// between the plan and the sending.
func crowded(t testing.TB) *testhub.Memory {
	t.Helper()
	from := small(t)
	c := &from.Content
	rows := slices.Clone(c.Tables[hub.Instances])
	made := slices.IndexFunc(rows, func(r schema.Row) bool { return r.PartitionKey == "made" })
	for n := range 300 {
		row := rows[made].Clone()
		row.PartitionKey = fmt.Sprintf("made-%03d", n)
		c.Tables[hub.Instances] = append(c.Tables[hub.Instances], row)
	}
	for n := range c.Queues {
		c.Queues[n].ApproximateCount += 300
	}
	m := testhub.NewMemory(*c)
	m.Started, m.Finished = from.Started, from.Finished
	return m
}

// Messages and rows that redrive work are the same if there are too many to keep
// them.
func TestRunManyMessages(t *testing.T) {
	from := crowded(t)
	f := new(journalFile)
	opts := killing(t, from, f)
	to := newMemoryTarget(elsewhere, opts.Now)
	until(t, from, to, f, "ClearQueue")
	opts = killing(t, from, f)
	opts.Resume = true
	if _, err := migrate.Run(t.Context(), from, to, opts); err != nil {
		t.Fatal(err)
	}
	pending := items(t, migrate.Pending(t.Context(), from, migrate.PendingOptions{Names: elsewhere, Partitions: 3}))
	before, after := testhub.ContentOf(t, from), testhub.ContentOf(t, to)
	checkRows(t, &before, &after, pending, "http://127.0.0.1:1/account")
	want, got := make(map[string]int), make(map[string]int)
	large := 0
	for _, i := range pending {
		if i.Queue != "" {
			want[i.Queue+" "+i.Text]++
		}
		if i.BlobText != "" {
			large += len(i.BlobText)
			if _, ok := to.containers[elsewhere.LargeMessages()][schema.StoredBlobName(i.Blob)]; !ok {
				t.Errorf("there is no blob %s", i.Blob)
			}
		}
	}
	for queue, messages := range to.queues {
		for _, m := range messages {
			got[queue+" "+m.text]++
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages (-pending +sent):\n%s", diff)
	}
	if large < 16<<20 {
		t.Errorf("%d bytes of large messages are kept", large)
	}
	// What is sent at last must be what was planned for.
	other := *from
	other.Content.Tables = maps.Clone(from.Content.Tables)
	opts = killing(t, from, new(journalFile))
	to = newMemoryTarget(elsewhere, opts.Now)
	to.before = func(method, _ string) error {
		if method == "CreateQueue" {
			rows := other.Content.Tables[hub.Instances]
			other.Content.Tables[hub.Instances] = slices.DeleteFunc(slices.Clone(rows), func(r schema.Row) bool { return r.PartitionKey == "made-007" })
		}
		return nil
	}
	if _, err := migrate.Run(t.Context(), &other, to, opts); !errors.Is(err, hub.ErrInUse) {
		t.Errorf("Run of a source that changes = %v, want %v", err, hub.ErrInUse)
	}
}
