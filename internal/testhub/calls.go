package testhub

import (
	"bytes"
	"compress/gzip"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/schema"
)

// masked is what differs between two runs of the same calls.
var masked = []struct {
	pattern     *regexp.Regexp
	replacement string
}{
	{regexp.MustCompile(`"ActivityId":"[0-9a-f]*[1-9a-f][0-9a-f]*-[0-9a-f-]{27}"`), `"ActivityId":"ID"`},
	{regexp.MustCompile(`"SequenceNumber":[1-9]\d*,"Sender"`), `"SequenceNumber":N,"Sender"`},
	{regexp.MustCompile(`"ExecutionId":"[0-9a-f]{32}"`), `"ExecutionId":"ID"`},
	{regexp.MustCompile(`"Timestamp":"20[0-9T:.-]+Z"`), `"Timestamp":"NOW"`},
	{regexp.MustCompile(`\\"id\\":\\"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\\"`), `\"id\":\"ID\"`},
	{regexp.MustCompile(`message-[0-9a-f]{32}-`), `message-ID-`},
	{regexp.MustCompile(`history-([0-9A-F]*)-([A-Za-z]+)-[0-9A-F]{8}-`), `history-$1-$2-ID-`},
}

// Mask replaces what differs between two runs of the same management calls in the
// text of a message or the name of a payload: new IDs, times and counters.
func Mask(text string) string {
	for _, m := range masked {
		text = m.pattern.ReplaceAllString(text, m.replacement)
	}
	return text
}

// MaskRow returns the properties of a row without what differs between two runs.
func MaskRow(r *schema.Row, changed bool) map[string]string {
	out := make(map[string]string)
	for _, p := range r.Properties {
		text := p.Value.EDM() + " " + p.Value.String()
		switch {
		case changed && (p.Name == "CreatedTime" || p.Name == "LastUpdatedTime"):
			text = p.Value.EDM()
		case changed && p.Name == "ExecutionId":
			text = regexp.MustCompile(`[0-9a-f]{32}`).ReplaceAllString(text, "ID")
		case p.Name == "Input" && strings.Contains(text, "-largemessages/"):
			_, text, _ = strings.Cut(Mask(text), "-largemessages/")
		case p.Name == "InputBlobName":
			text = Mask(text)
		}
		out[p.Name] = text
	}
	return out
}

// CompareAfterCalls compares a hub that was the recording functions-3 with what
// the framework has made of that, the recording after, by calls that put messages
// into the queues. purged are instances that only the framework has removed. What
// differs between two runs is masked ([Mask]).
func CompareAfterCalls(t testing.TB, after string, got hubtest.Content, purged ...string) {
	t.Helper()
	before, want := ContentOf(t, OpenHub(t, "functions-3")), ContentOf(t, OpenHub(t, after))
	for _, table := range []hub.Table{hub.Instances, hub.History} {
		rows := func(c *hubtest.Content) map[string]map[string]string {
			out := make(map[string]map[string]string)
			for i := range c.Tables[table] {
				r := &c.Tables[table][i]
				if slices.Contains(purged, r.PartitionKey) {
					continue
				}
				at := slices.IndexFunc(before.Tables[table], func(b schema.Row) bool { return b.PartitionKey == r.PartitionKey && b.RowKey == r.RowKey })
				changed := at < 0 || !schema.SameProperties(&before.Tables[table][at], r)
				out[r.PartitionKey+"/"+r.RowKey] = MaskRow(r, changed)
			}
			return out
		}
		if d := cmp.Diff(rows(&want), rows(&got)); d != "" {
			t.Errorf("%s differs (-framework +ours):\n%s", table, d)
		}
	}
	ours := make(map[string][]string)
	for _, q := range got.Queues {
		for _, m := range q.Messages {
			ours[q.Name] = append(ours[q.Name], Mask(m.Text))
		}
	}
	if d := cmp.Diff(newMessages(t, after), ours); d != "" {
		t.Errorf("messages differ (-framework +ours):\n%s", d)
	}
	blobs := func(c *hubtest.Content) map[string]string {
		out := make(map[string]string)
		for _, b := range c.Blobs {
			folder, _, _ := strings.Cut(b.Name, "/")
			if slices.Contains(purged, folder) {
				continue
			}
			text := string(b.Data)
			if strings.HasSuffix(b.Name, ".gz") {
				text = unzip(t, b.Data)
			}
			out[b.Container+"/"+Mask(b.Name)] = b.ContentType + " " + Mask(text)
		}
		return out
	}
	if d := cmp.Diff(blobs(&want), blobs(&got)); d != "" {
		t.Errorf("blobs differ (-framework +ours):\n%.2000s", d)
	}
	sameStarts(t, got)
}

// newMessages returns the masked texts of the messages that the recorded calls have
// put into each queue.
func newMessages(t testing.TB, recording string) map[string][]string {
	t.Helper()
	texts := func(name string) map[string][]string {
		out := make(map[string][]string)
		for i := range 4 {
			queue := hub.Names{TaskHub: "FuncLab"}.ControlQueue(i)
			for _, m := range RecordedMessages(t, name, queue) {
				out[queue] = append(out[queue], m.Text)
			}
		}
		return out
	}
	old, all := texts("functions-3"), texts(recording)
	added := make(map[string][]string)
	for queue := range all {
		for _, text := range all[queue] {
			if !slices.Contains(old[queue], text) {
				added[queue] = append(added[queue], Mask(text))
			}
		}
	}
	if len(added) < 3 {
		t.Fatalf("%s has new messages in %d queues only", recording, len(added))
	}
	return added
}

func unzip(t testing.TB, data []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sameStarts checks that rows and the messages that start their instances agree.
func sameStarts(t testing.TB, c hubtest.Content) {
	t.Helper()
	rows := make(map[string]schema.Instance)
	for i := range c.Tables[hub.Instances] {
		row, err := schema.DecodeInstance(&c.Tables[hub.Instances][i])
		if err != nil {
			t.Fatal(err)
		}
		rows[row.ID()] = row
	}
	starts := 0
	for _, q := range c.Queues {
		for _, stored := range q.Messages {
			m, err := hub.LoadMessage(t.Context(), NewMemory(c), c.Names.LargeMessages(), &stored, 0)
			if err != nil {
				t.Fatal(err)
			}
			e, ok := m.TaskMessage.Event.(*schema.ExecutionStarted)
			row, there := rows[m.TaskMessage.OrchestrationInstance.InstanceID]
			if !ok || !there {
				continue
			}
			starts++
			if row.Status() != schema.StatusPending || row.CreatedTime.Value != e.Timestamp || row.Generation != e.Generation ||
				row.ExecutionID != m.TaskMessage.OrchestrationInstance.ExecutionID || row.Name != e.Name || row.Version != e.Version ||
				row.LastUpdatedTime.Value < row.CreatedTime.Value || row.ScheduledStartTime != e.ScheduledStartTime {
				stored := row.Row()
				t.Errorf("row of %q and its message differ:\n%s\n%s", row.ID(), stored.AppendJSON(nil), m.JSON)
			}
		}
	}
	if starts == 0 {
		t.Error("no message starts an instance")
	}
}
