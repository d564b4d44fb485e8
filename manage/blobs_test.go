package manage_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// payloadsHub has a payload for each way in which one is named, or not.
func payloadsHub(t *testing.T) hubtest.Content {
	t.Helper()
	const container = "test-largemessages"
	url := func(name string) schema.Value {
		return schema.String(schema.BlobURL("https://elsewhere.blob.core.windows.net", container, name))
	}
	row := func(id string, props ...schema.Property) schema.Row {
		return schema.Row{PartitionKey: schema.EscapeKey(id), Properties: props}
	}
	prop := func(name string, v schema.Value) schema.Property { return schema.Property{Name: name, Value: v} }
	wrapper := schema.NewWrapper(`q\r/message-q-ExecutionStarted.json.gz`)
	c := hubtest.Content{
		Names: hub.Names{TaskHub: "Test"},
		Tables: map[hub.Table][]schema.Row{
			hub.Instances: {
				row("a", prop("Input", url("a/history-1-X-0-Input.json.gz")), prop("Output", schema.String("a/history-unnamed"))),
				row("a/b", prop("InputBlobName", schema.String("a^0b/history--Input-0-Input.json.gz"))),
				row("old", prop("Input", schema.String("old/message-1-ExecutionStarted.json.gz"))),
			},
			hub.History: {
				{PartitionKey: "a", RowKey: schema.FormatSequence(0), Properties: []schema.Property{prop("ResultBlobName", schema.String("a/history-0-X-0-Result.json.gz"))}},
				{PartitionKey: "gone", RowKey: schema.FormatSequence(0), Properties: []schema.Property{prop("ResultBlobName", schema.String("gone/history-0-X-0-Result.json.gz"))}},
			},
		},
		Queues: []hubtest.Queue{{Name: "test-control-00", ApproximateCount: 1, Messages: []schema.QueueMessage{
			{ID: "1", Text: schema.EncodeBody(wrapper.AppendJSON(nil), schema.Base64)},
		}}},
		Containers: []hub.Container{{Name: container}},
	}
	for _, name := range []string{
		"a/history-0-X-0-Result.json.gz", "a/history-1-X-0-Input.json.gz", "a^0b/history--Input-0-Input.json.gz",
		"old/message-1-ExecutionStarted.json.gz", "gone/history-0-X-0-Result.json.gz", "q/r/message-q-ExecutionStarted.json.gz",
		"a/history-9-X-0-Result.json.gz", "a/message-9-EventRaised.json.gz", // nothing names these
		"nobody/history-9-X-0-Result.json.gz", "nobody/message-9-EventRaised.json.gz", // nor is there an instance
		"a/history-young-X-0-Result.json.gz", "readme.txt",
	} {
		b := hub.Blob{Container: container, Name: name, LastModified: t0}
		if strings.Contains(name, "young") {
			b.LastModified = t0 + schema.Ticks(2*time.Hour/100)
		}
		c.Blobs = append(c.Blobs, hubtest.Blob{Blob: b, Data: gz(t, "{}")})
	}
	return c
}

func TestUnreferenced(t *testing.T) {
	free := []string{"a/history-9-X-0-Result.json.gz", "nobody/history-9-X-0-Result.json.gz"}
	messages := []string{"a/message-9-EventRaised.json.gz", "nobody/message-9-EventRaised.json.gz"}
	all := slices.Sorted(slices.Values(slices.Concat(free, messages)))
	for _, tt := range []struct {
		name    string
		change  func(c *hubtest.Content)
		orphans bool
		want    []string
		kept    manage.UnreferencedKept
	}{
		{name: "quiet", want: all, kept: manage.UnreferencedKept{Young: 1, Unknown: 1}},
		{
			name: "orphans", orphans: true, want: []string{"nobody/history-9-X-0-Result.json.gz", "nobody/message-9-EventRaised.json.gz"},
			kept: manage.UnreferencedKept{Unknown: 1},
		},
		{
			name: "a hidden message", change: func(c *hubtest.Content) { c.Queues[0].ApproximateCount = 3 }, want: free,
			kept: manage.UnreferencedKept{Young: 1, Unknown: 1, Messages: 2, Why: "2 messages in test-control-00 cannot be seen"},
		},
		{
			name:   "an unreadable message",
			change: func(c *hubtest.Content) { c.Queues[0].Messages[0].Text = "{" }, want: free,
			// The message was what named one.
			kept: manage.UnreferencedKept{Young: 1, Unknown: 1, Messages: 3, Why: "a message in test-control-00 cannot be read"},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := payloadsHub(t)
			if tt.change != nil {
				tt.change(&c)
			}
			u, err := manage.FindUnreferenced(t.Context(), testhub.NewMemory(c), manage.UnreferencedOptions{
				Now: func() time.Time { return t0.Time().Add(150 * time.Minute) }, Grace: time.Hour, Orphans: tt.orphans,
			})
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				var got []string
				for b, err := range u.Blobs(t.Context()) {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, b.Name)
				}
				if d := cmp.Diff(tt.want, got); d != "" {
					t.Errorf("(-want +got)\n%s", d)
				}
				if d := cmp.Diff(tt.kept, u.Kept()); d != "" {
					t.Errorf("kept: (-want +got)\n%s", d)
				}
			}
		})
	}
	// What is written while rows are read is no orphan.
	c := payloadsHub(t)
	e := testhub.NewEditor(c)
	m := &meddler{e, hub.Instances, 1, func() {
		b := hub.Blob{Container: "test-largemessages", Name: "new/history-9-X-0-Result.json.gz", LastModified: t0}
		if err := e.PutBlob(t.Context(), b, gz(t, "x")); err != nil {
			t.Error(err)
		}
	}}
	u, err := manage.FindUnreferenced(t.Context(), m, manage.UnreferencedOptions{Now: later})
	if err != nil {
		t.Fatal(err)
	}
	for b, err := range u.Blobs(t.Context()) {
		if err != nil || strings.HasPrefix(b.Name, "new/") {
			t.Errorf("%s, error %v", b.Name, err)
		}
	}
	if u.Kept().Young != 1 { // the one that was just written; the other is old by now
		t.Errorf("kept %+v", u.Kept())
	}
}

// Of no recorded hub a payload is taken that the framework's own state names.
func TestUnreferencedRecorded(t *testing.T) {
	for _, rec := range testhub.Recordings {
		if rec.Names.TrackingPrefix != "" || rec.Name == "dtfx-2.9.1-bulk" {
			continue
		}
		r := testhub.OpenHub(t, rec.Name)
		u, err := manage.FindUnreferenced(t.Context(), r, manage.UnreferencedOptions{Grace: time.Nanosecond})
		if err != nil {
			t.Fatal(err)
		}
		c := testhub.ContentOf(t, r)
		var text strings.Builder
		for _, rows := range c.Tables {
			for _, row := range rows {
				for _, p := range row.Properties {
					s, _ := p.Value.Text()
					text.WriteString(schema.StoredBlobName(strings.ReplaceAll(strings.ReplaceAll(s, "%5E", "^"), "%23", "#")) + "\n")
				}
			}
		}
		for b, err := range u.Blobs(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(text.String(), b.Name) {
				t.Errorf("%s: %s is named by a row", rec.Name, b.Name)
			}
		}
	}
}
