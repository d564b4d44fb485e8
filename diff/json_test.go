package diff_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/diff"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

func TestAppendJSON(t *testing.T) {
	long := strings.Repeat("x", 100)
	sum := func(s string) string {
		h := sha256.Sum256([]byte(s))
		return hex.EncodeToString(h[:])
	}
	row := diff.Difference{
		Dataset: diff.Instances, Kind: diff.Changed, Artifact: "OneInstances", PartitionKey: "a^1", InstanceID: `a\`,
		Columns: []diff.Column{
			{Name: "CustomStatus", A: schema.String(`"s"`), B: schema.String(long)},
			{Name: "Generation", A: schema.Int32(1), B: schema.Int64(1 << 60)},
			{Name: "RuntimeStatus", A: schema.String("Running")},
			{Name: "Unheard", A: schema.Int32(5), B: schema.Boolean(true)},
		},
	}
	const beginning = `{"type":"difference","dataset":"instances","kind":"changed","artifact":"OneInstances","partition_key":"a^1","row_key":"","instance_id":"a\\","columns":[`
	const shown = `{"name":"Generation","a":1,"a_type":"Edm.Int32","b":"1152921504606846976","b_type":"Edm.Int64"},` +
		`{"name":"RuntimeStatus","a":"Running","a_type":"Edm.String","b":null,"b_type":"absent"},`
	message := diff.Difference{
		Dataset: diff.Messages, Kind: diff.Removed, Artifact: "one-workitems", InstanceID: "a",
		Message: &diff.Message{ID: "1", EventType: "TaskScheduled", InstanceID: "a", ExecutionID: "e", Name: "Say", Blob: "a/1", SizeBytes: 7, SHA256: "ff"},
	}
	content := diff.Difference{
		Dataset: diff.Blobs, Kind: diff.Changed, Artifact: "c", Blob: "n", InstanceID: "a",
		Columns: []diff.Column{{Name: "content", A: schema.String("md5:1"), B: schema.String("md5:2")}},
	}
	tests := []struct {
		name string
		d    diff.Difference
		show diff.Show
		want string
	}{
		{"row", row, diff.Show{}, beginning +
			`{"name":"CustomStatus","a":"\"s\"","a_type":"Edm.String","b":"` + long + `","b_type":"Edm.String"},` + shown +
			`{"name":"Unheard","a":5,"a_type":"Edm.Int32","b":true,"b_type":"Edm.Boolean"}]}`},
		{"long value", row, diff.Show{MaxValueBytes: 99}, beginning +
			`{"name":"CustomStatus","a":"\"s\"","a_type":"Edm.String","b":null,"b_type":"Edm.String","b_bytes":100,"b_sha256":"` + sum(long) + `"},` + shown +
			`{"name":"Unheard","a":5,"a_type":"Edm.Int32","b":true,"b_type":"Edm.Boolean"}]}`},
		{"redacted", row, diff.Show{Redact: diff.RedactPayloads}, beginning +
			`{"name":"CustomStatus","a":null,"a_type":"Edm.String","a_bytes":3,"b":null,"b_type":"Edm.String","b_bytes":100},` + shown +
			`{"name":"Unheard","a":null,"a_type":"Edm.Int32","a_bytes":1,"b":null,"b_type":"Edm.Boolean","b_bytes":4}]}`},
		{"hashed", row, diff.Show{Redact: diff.RedactHash}, beginning +
			`{"name":"CustomStatus","a":null,"a_type":"Edm.String","a_bytes":3,"a_sha256":"` + sum(`"s"`) +
			`","b":null,"b_type":"Edm.String","b_bytes":100,"b_sha256":"` + sum(long) + `"},` + shown +
			`{"name":"Unheard","a":null,"a_type":"Edm.Int32","a_bytes":1,"a_sha256":"` + sum("5") + `","b":null,"b_type":"Edm.Boolean","b_bytes":4,"b_sha256":"` + sum("true") + `"}]}`},
		{"message", message, diff.Show{}, `{"type":"difference","dataset":"messages","kind":"removed","artifact":"one-workitems","instance_id":"a",` +
			`"message":{"message_id":"1","event_type":"TaskScheduled","execution_id":"e","name":"Say","blob":"a/1","size_bytes":7,"sha256":"ff"}}`},
		{"message redacted", message, diff.Show{Redact: diff.RedactPayloads}, `{"type":"difference","dataset":"messages","kind":"removed","artifact":"one-workitems","instance_id":"a",` +
			`"message":{"message_id":"1","event_type":"TaskScheduled","execution_id":"e","name":"Say","blob":"a/1","size_bytes":7}}`},
		{"blob hashed", content, diff.Show{Redact: diff.RedactHash}, `{"type":"difference","dataset":"blobs","kind":"changed","artifact":"c","blob":"n","instance_id":"a",` +
			`"columns":[{"name":"content","a":"md5:1","a_type":"Edm.String","b":"md5:2","b_type":"Edm.String"}]}`},
		{"blob redacted", content, diff.Show{Redact: diff.RedactPayloads}, `{"type":"difference","dataset":"blobs","kind":"changed","artifact":"c","blob":"n","instance_id":"a",` +
			`"columns":[{"name":"content","a":null,"a_type":"Edm.String","a_bytes":5,"b":null,"b_type":"Edm.String","b_bytes":5}]}`},
		{
			"queue and reason",
			diff.Difference{Dataset: diff.Queues, Kind: diff.Unknown, Artifact: "q", Reason: "why"},
			diff.Show{},
			`{"type":"difference","dataset":"queues","kind":"unknown","artifact":"q","reason":"why"}`,
		},
	}
	for _, tt := range tests {
		got := string(tt.d.AppendJSON([]byte("x"), tt.show))
		if got != "x"+tt.want || !json.Valid([]byte(tt.want)) {
			t.Errorf("%s:\n got %s\nwant x%s", tt.name, got, tt.want)
		}
	}
}

// Every payload that the framework stores is redacted, whatever differs.
func TestRedaction(t *testing.T) {
	a, b := testhub.OpenHub(t, "functions-3"), testhub.OpenHub(t, "functions-3-after-write")
	payloads := []string{"Hello Tokyo", "AlwaysFails' failed", "Seattle"}
	for _, how := range []diff.Redaction{diff.RedactNone, diff.RedactPayloads, diff.RedactHash} {
		var text strings.Builder
		for d, err := range diff.Hubs(t.Context(), a, b, diff.Options{}) {
			if err != nil {
				t.Fatal(err)
			}
			text.Write(d.AppendJSON(nil, diff.Show{Redact: how}))
		}
		for _, p := range payloads {
			if got, want := strings.Contains(text.String(), p), how == diff.RedactNone; got != want {
				t.Errorf("redaction %q: %q is there: %v, want %v", how, p, got, want)
			}
		}
	}
}
