package export_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/export"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// payloads are the columns that hold data of users and not the structure of what
// happened to it.
var payloads = map[export.Dataset][]string{
	export.Instances: {"input", "output", "custom_status", "tags", "extra"},
	export.History:   {"input", "result", "reason", "details", "failure_details", "tags", "data", "extra"},
	export.Messages:  {"text", "message", "extra"},
	export.Entities:  {"state", "queue", "sorter", "custom_status", "extra"},
	export.Blobs:     {},
}

func standIn(s string, how export.Redaction) string {
	out := fmt.Sprintf("redacted:%d bytes", len(s))
	if how == export.RedactHash {
		out += fmt.Sprintf(",sha256:%x", sha256.Sum256([]byte(s)))
	}
	return out
}

// secrets returns what is in the payloads of a hub and nowhere in its structure.
func (s *stored) secrets() (all []string) {
	var structure strings.Builder
	texts := map[string]bool{}
	for _, d := range export.Datasets {
		for _, row := range s.rows(d) {
			for column, c := range row {
				text, ok := c.(string)
				if !ok {
					continue
				}
				if !slices.Contains(payloads[d], column) {
					structure.WriteString(text + "\n")
					continue
				}
				texts[text] = true
				if column == "message" {
					event := as[object](as[object](mustObject(text)["TaskMessage"])["Event"])
					for _, p := range []string{"Input", "Result", "Reason", "Details", "Data"} {
						if text, ok := event[p].(string); ok {
							texts[text] = true
						}
					}
				}
			}
		}
	}
	for text := range texts {
		for _, part := range []string{text, strings.Trim(text, `"`), strings.Trim(text, `[]"{}`)} {
			if len(part) >= 6 && !strings.Contains(structure.String(), part) {
				all = append(all, part)
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func TestRedaction(t *testing.T) {
	t.Parallel()
	db := testhub.DuckDB(t)
	for _, name := range []string{"dtfx-2.9.1", "dtfx-2.9.1-blob-leases", "dtfx-2.9.1-backlog", "functions-3-after-write"} {
		s := storedHub(t, name)
		r := testhub.OpenHub(t, name)
		secrets := s.secrets()
		if len(secrets) < 15 {
			t.Errorf("%s has only the secrets %q", name, secrets)
		}
		for _, how := range []export.Redaction{export.RedactPayloads, export.RedactHash} {
			for _, f := range formats {
				where := fmt.Sprintf("%s %s %s", name, how, f)
				dir, m := run(t, r, export.Options{Format: f, Redact: how})
				var all strings.Builder
				for _, d := range export.Datasets {
					// Structure stays, payloads give way to their length and hash.
					want := s.rows(d)
					for _, row := range want {
						for _, column := range payloads[d] {
							switch v := row[column].(type) {
							case string:
								row[column] = standIn(v, how)
							case jsonValue:
								row[column] = something{}
							}
						}
					}
					var got []cells
					if f == export.Parquet {
						got = readParquet(t, db, parts(t, dir, m, d), d)
					} else {
						got = readText(t, dir, m, d)
					}
					compareRows(t, where+" "+string(d), d, want, got)
					for _, row := range got {
						for _, c := range row {
							if text, ok := c.(string); ok {
								all.WriteString(text + "\n")
							}
						}
					}
					// Statistics and footers are not compressed.
					for _, p := range parts(t, dir, m, d) {
						b := mustRead(t, p)
						for _, secret := range secrets {
							find := []byte(secret[:min(len(secret), 30)])
							if f != export.Parquet {
								find = schema.AppendJSONString(nil, secret)
								find = find[1 : len(find)-1]
							}
							if bytes.Contains(b, find) {
								t.Errorf("%s: the file %s has the payload %.60q", where, p, secret)
							}
						}
					}
				}
				for _, secret := range secrets {
					if strings.Contains(all.String(), secret) {
						t.Errorf("%s: the payload %.60q is still there", where, secret)
					}
				}
			}
		}
	}
}

// What is damaged does not leak through errors or columns for leftovers.
func TestRedactionOfDamage(t *testing.T) {
	t.Parallel()
	const secret = "SECRET"
	bad := prop("CreatedTime", schema.String(secret))
	rows := []schema.Row{
		instance("wrong", "F", bad, text("Tags", secret), prop("Output", schema.Guid(secret)), prop("Generation", schema.String(secret)), text("Unknown", secret)),
		instance("lost", "F", text("InputBlobName", "lost/history--Input-00000000-Input.json.gz"), text("Input", secret)),
		instance("@e@broken", "@e@broken", text("Input", `{"exists":true,"`+secret)),
		instance("@e@type", "@e@type", text("Input", `{"exists":"`+secret+`","state":{"`+secret+`":1},"queue":[{"op":1,"input":"`+secret+`"}],"more":"`+secret+`"}`)),
		instance("@e@held", "@e@held", text("CustomStatus", secret), text("Input",
			`{"exists":true,"state":"`+secret+`","queue":[{"op":"add","input":"`+secret+`","id":"1","Timestamp":"0001-01-01T00:00:00","Predecessor":"0001-01-01T00:00:00"}],`+
				`"sorter":{"ReceivedFromInstance":{"x":{"Buffered":{"2026-01-01T00:00:00Z":{"op":"add","input":"`+secret+`"}}}}}}`)),
		event("h", 0, "x", "TaskCompleted", prop("Result", schema.Guid(secret)), text("More", secret), prop("TaskScheduledId", schema.String(secret))),
		event("h", 1, "x", "TaskFailed", text("Reason", secret), text("Details", secret), text("FailureDetails", secret)),
		event("h", 2, "x", "EventRaised", text("Name", "n"), text("Input", secret), text("InputBlobName", "h/none")),
		event("h", 3, "x", "GenericEvent", text("Data", secret), prop("FireAt", schema.String(secret))),
		event("h", 4, "x", "ExecutionStarted", text("Tags", secret), text("Input", secret)),
		event("h", 5, "x", "Unheard", text("Payload", secret)),
	}
	m := madeUpHub(rows...)
	envelope := `{"$type":"DurableTask.AzureStorage.MessageData","ActivityId":"1","TaskMessage":{"$type":"DurableTask.Core.TaskMessage","Event":%s,` +
		`"SequenceNumber":0,"OrchestrationInstance":{"$type":"DurableTask.Core.OrchestrationInstance","InstanceId":"h","ExecutionId":null}},"SequenceNumber":1,"Sender":{"InstanceId":"","ExecutionId":""},"More":"` + secret + `"}`
	for _, body := range []string{
		secret, "{" + secret, "U0VDUkVU", "e1NFQ1JFVA==", `{"TaskMessage":"` + secret + `"}`, `{"SequenceNumber":"` + secret + `"}`,
		fmt.Sprintf(envelope, `"`+secret+`"`),
		fmt.Sprintf(envelope, `{"$type":"DurableTask.Core.History.TimerFiredEvent","TimerId":"`+secret+`","FireAt":"`+secret+`","EventId":"`+secret+`","IsPlayed":"`+secret+`","Timestamp":"`+secret+`"}`),
		fmt.Sprintf(envelope, `{"$type":"DurableTask.Core.History.TaskCompletedEvent","Result":"`+secret+`","More":"`+secret+`","EventId":-1,"IsPlayed":false,"Timestamp":"2026-01-01T00:00:00Z"}`),
		fmt.Sprintf(envelope, `{"$type":"DurableTask.Core.History.OtherEvent","Result":"`+secret+`"}`),
	} {
		addMessage(m, body)
	}
	addBlob(m, "h/history-0000000000000000-X-00000000-Result.json.gz", []byte(secret))
	for _, how := range []export.Redaction{export.RedactPayloads, export.RedactHash} {
		for _, d := range export.Datasets {
			var b bytes.Buffer
			if _, err := export.Stream(t.Context(), m, &b, d, export.Options{Redact: how}); err != nil {
				t.Fatal(err)
			}
			for line := range bytes.Lines(b.Bytes()) {
				if bytes.Contains(line, []byte(secret)) || bytes.Contains(line, []byte("U0VDUkVU")) {
					t.Errorf("%s %s: %s", how, d, line)
				}
			}
		}
	}
}

// Equal payloads have equal stand-ins, and no others.
func TestRedactionTellsEqualPayloads(t *testing.T) {
	t.Parallel()
	rows := exportRows(t, madeUpHub(
		instance("a", "F", text("Input", "one"), text("Output", "two")),
		instance("b", "F", text("Input", "two"), text("Output", "")),
	), export.Instances, export.Options{Redact: export.RedactHash})
	if rows[0]["output"] != rows[1]["input"] || rows[0]["input"] == rows[1]["input"] || rows[1]["output"] != standIn("", export.RedactHash) {
		t.Errorf("rows are %v", rows)
	}
}
