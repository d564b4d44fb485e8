package export_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/export"
	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
)

// Every cell of every recorded hub, in Parquet as DuckDB reads it and in both
// forms of JSON.
func TestRecordedHubs(t *testing.T) {
	t.Parallel()
	db := testhub.DuckDB(t)
	total := map[export.Dataset]int{}
	for _, rec := range testhub.Recordings {
		t.Run(rec.Name, func(t *testing.T) {
			s := storedHub(t, rec.Name)
			r := testhub.OpenHub(t, rec.Name)
			for _, f := range []export.Format{export.Parquet, export.NDJSON, export.JSON} {
				dir, m := run(t, r, export.Options{Format: f})
				for _, d := range export.Datasets {
					want := s.rows(d)
					where := fmt.Sprintf("%s %s %s", rec.Name, d, f)
					var failed int64
					for _, row := range want {
						if row["error"] != nil {
							failed++
						}
					}
					if e := entry(t, m, d); e.Rows != int64(len(want)) || e.Errors != failed {
						t.Errorf("%s: the manifest counts %d rows, %d errors; want %d, %d", where, e.Rows, e.Errors, len(want), failed)
					}
					if f != export.Parquet {
						compareRows(t, where, d, want, readText(t, dir, m, d))
						continue
					}
					total[d] += len(want)
					paths := parts(t, dir, m, d)
					compareRows(t, where, d, want, readParquet(t, db, paths, d))
					checkNulls(t, db, paths, d, want)
				}
			}
		})
	}
	for _, d := range export.Datasets {
		if total[d] == 0 {
			t.Errorf("no row of %s was recorded", d)
		}
	}
	t.Logf("rows: %v", total)
}

// answers is what the framework's own client said of the instances of a hub.
func answers(t testing.TB, name string) (all []object) {
	t.Helper()
	text := testhub.Recorded(t, name, "state.json")
	if text == nil {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

// asAnswered gives a column the form in which the framework answers. These are
// the differences between what is stored, which an export keeps, and what the
// framework makes of it:
//
//   - Times that are absent read as 0001-01-01T00:00:00, but for the scheduled
//     start, and times in general have trailing zeros cut: compared as times.
//   - An absent generation reads as 0.
//   - Tags and nested objects are stored as JSON text, the text null for none
//     (version 2.x) or absent (1.x): compared as JSON, where both are null.
//   - Tags of a row that keeps them in a blob (TagsBlobName) are answered as null:
//     the framework's reader does not know that column.
//   - A shared tracking store answers with the instances of every hub in it.
//   - Members that the Core of a version does not know are missing from its
//     answers; columns of rewound rows are not answered at all.
//
// CustomStatus is answered as it is stored, the text null included.
func asAnswered(member string, c cell) any {
	switch member {
	case "completedTime", "createdTime", "lastUpdatedTime":
		if c == nil {
			return instant("0001-01-01T00:00:00Z")
		}
	case "generation":
		if c == nil {
			return int64(0)
		}
	case "tags", "Tags", "ParentInstance", "OrchestrationInstance", "ParentTraceContext", "FailureDetails":
		text, ok := c.(string)
		if !ok {
			return nil
		}
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		var v any
		if err := d.Decode(&v); err != nil {
			return err
		}
		return v
	}
	return c
}

// answered gives a member of an answer the type of the column.
func answered(member string, v any) any {
	switch text, isText := v.(string); {
	case isText && (strings.HasSuffix(member, "Time") || member == "Timestamp" || member == "FireAt"):
		if !strings.HasSuffix(text, "Z") {
			text += "Z"
		}
		return instant(text)
	}
	if n, ok := v.(json.Number); ok {
		i, err := n.Int64()
		if err != nil {
			panic(err)
		}
		return i
	}
	return v
}

var instanceAnswer = map[string]string{
	"instanceId": "instance_id", "executionId": "execution_id", "name": "name", "version": "version",
	"status": "runtime_status", "customStatus": "custom_status", "createdTime": "created_time",
	"lastUpdatedTime": "last_updated_time", "completedTime": "completed_time", "scheduledStartTime": "scheduled_start_time",
	"generation": "generation", "tags": "tags", "input": "input", "output": "output",
}

// Instances and the live history are what the framework itself answered, field
// by field.
func TestFrameworkAnswers(t *testing.T) {
	t.Parallel()
	db := testhub.DuckDB(t)
	var hubs, instances, events int
	for _, rec := range testhub.Recordings {
		state := answers(t, rec.Name)
		if state == nil {
			continue
		}
		hubs++
		t.Run(rec.Name, func(t *testing.T) {
			dir, m := run(t, testhub.OpenHub(t, rec.Name), export.Options{
				Format: export.Parquet, Datasets: []export.Dataset{export.Instances, export.History},
			})
			rows := map[any]cells{}
			for _, row := range readParquet(t, db, parts(t, dir, m, export.Instances), export.Instances) {
				rows[row["instance_id"]] = row
			}
			live := map[any][]cells{}
			for _, row := range readParquet(t, db, parts(t, dir, m, export.History), export.History) {
				if row["is_current"] == true {
					live[row["instance_id"]] = append(live[row["instance_id"]], row)
				}
			}
			seen := 0
			for _, a := range state {
				id := a["instanceId"]
				row, ok := rows[id]
				if !ok {
					if rec.Names.TrackingPrefix == "" {
						t.Errorf("instance %s is missing", id)
					}
					continue
				}
				seen++
				compareAnswer(t, id, a, row, instanceAnswer, "history")
				history, _ := a["history"].([]any)
				if len(history) != len(live[id]) {
					t.Errorf("%s: %d live rows, want %d", id, len(live[id]), len(history))
					continue
				}
				for i, e := range history {
					row := live[id][i]
					if row["sequence"] != int64(i) {
						t.Errorf("%s: live row %d has sequence %v", id, i, row["sequence"])
					}
					e := as[object](e)
					n, _ := as[json.Number](e["EventType"]).Int64()
					if row["event_type"] != eventTypes[n] {
						t.Errorf("%s event %d: event_type is %v, want %s", id, i, row["event_type"], eventTypes[n])
					}
					columns := maps.Clone(historyColumns)
					columns["Timestamp"] = columns["_Timestamp"]
					if n == 1 { // ExecutionCompleted answers its status by number
						columns["OrchestrationStatus"] = ""
						status, _ := as[json.Number](e["OrchestrationStatus"]).Int64()
						if row["orchestration_status"] != statuses[status] {
							t.Errorf("%s event %d: orchestration_status is %v, want %s", id, i, row["orchestration_status"], statuses[status])
						}
					}
					compareAnswer(t, fmt.Sprintf("%s event %d", id, i), e, row, columns, "EventType", "OrchestrationStatus")
					events++
				}
			}
			instances += seen
			if seen != len(rows) {
				t.Errorf("%d of %d instances have an answer", seen, len(rows))
			}
		})
	}
	if hubs < 10 || events == 0 {
		t.Errorf("%d hubs with answers, %d instances, %d events", hubs, instances, events)
	}
	t.Logf("%d hubs, %d instances, %d events", hubs, instances, events)
}

// statuses are the names by number: DurableTask.Core, OrchestrationStatus.cs.
var statuses = [...]string{"Running", "Completed", "ContinuedAsNew", "Failed", "Canceled", "Terminated", "Pending", "Suspended"}

// compareAnswer compares every member of an answer with its column.
func compareAnswer(t *testing.T, where any, answer object, row cells, columns map[string]string, except ...string) {
	t.Helper()
	for member, v := range answer {
		if slices.Contains(except, member) {
			continue
		}
		column, ok := columns[member]
		if !ok {
			t.Errorf("%v: there is no column for %s", where, member)
			continue
		}
		want, got := answered(member, v), asAnswered(member, row[column])
		if extra, _ := row["extra"].(string); member == "tags" && strings.Contains(extra, "TagsBlobName") && want == nil && got != nil {
			continue
		}
		if !reflect.DeepEqual(want, got) {
			t.Errorf("%v: %s is %s, want %s", where, column, show(got), show(want))
		}
	}
}

// exportRows exports one dataset as NDJSON and returns its rows.
func exportRows(t testing.TB, r hub.Reader, d export.Dataset, o export.Options) []cells {
	t.Helper()
	var b bytes.Buffer
	stats, err := export.Stream(t.Context(), r, &b, d, o)
	if err != nil {
		t.Fatal(err)
	}
	rows := readNDJSON(t, b.Bytes(), d)
	if stats.Rows != int64(len(rows)) || stats.Bytes != int64(b.Len()) {
		t.Errorf("Stream returns %+v for %d rows in %d bytes", stats, len(rows), b.Len())
	}
	return rows
}

// Overwritten executions keep the rows that the newer one did not reach.
func TestTailsOfOverwrittenExecutions(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"dtfx-1.17.5", "dtfx-2.9.1", "dtfx-2.9.1-blob-leases"} {
		rows := exportRows(t, testhub.OpenHub(t, name), export.History, export.Options{Filter: export.Filter{IDs: []string{"reused"}}})
		live := 0
		executions := map[cell]bool{}
		for i, row := range rows {
			if row["sequence"] != int64(i) {
				t.Errorf("%s: row %d has sequence %v", name, i, row["sequence"])
			}
			executions[row["execution_id"]] = true
			if row["is_current"] == true {
				live++
			}
			if want := i < 16; row["is_current"] != want {
				t.Errorf("%s: is_current of row %d is %v, want %v", name, i, row["is_current"], want)
			}
		}
		// Recorded: 16 live rows, then the tail of one earlier execution.
		if live != 16 || len(rows) < 16+18 || len(executions) != 2 {
			t.Errorf("%s: reused has %d live of %d rows in %d executions", name, live, len(rows), len(executions))
		}
	}
}

// Rows that a rewind has changed keep what they held before it.
func TestRewoundRows(t *testing.T) {
	t.Parallel()
	for name, id := range map[string]string{"dtfx-2.9.1": "rewound", "dtfx-1.17.5": "rewound", "functions-3": "failing-2"} {
		seen := map[string]bool{}
		for _, row := range exportRows(t, testhub.OpenHub(t, name), export.History, export.Options{Filter: export.Filter{IDs: []string{id}}}) {
			reason, _ := row["reason"].(string)
			was, ok := strings.CutPrefix(reason, "Rewound: ")
			if !ok {
				continue
			}
			seen[was] = true
			if row["event_type"] != "GenericEvent" || row["is_current"] != true || row["data"] != nil {
				t.Errorf("%s: rewound row is %v", name, row)
			}
			if was == "TaskScheduled" && row["name"] == nil || was == "TaskFailed" && row["task_scheduled_id"] == nil ||
				was == "ExecutionCompleted" && row["orchestration_status"] != "Failed" {
				t.Errorf("%s: a rewound %s has lost its columns: %v", name, was, row)
			}
		}
		if !seen["TaskScheduled"] || !seen["TaskFailed"] || !seen["ExecutionCompleted"] {
			t.Errorf("%s: rewound types are %v", name, seen)
		}
	}
}

// A purge by the framework has deleted the blobs of another instance, order-10:
// exactly the rows that refer to them have an error, and null in that place.
func TestPurgeDamaged(t *testing.T) {
	t.Parallel()
	const name = "dtfx-2.9.1-purge-damaged"
	s := storedHub(t, name)
	dir, m := run(t, testhub.OpenHub(t, name), export.Options{})
	var counted int64
	for d, payloads := range map[export.Dataset][]string{
		export.Instances: {"input", "output"},
		export.History:   {"input", "result"},
	} {
		var failed int64
		for i, row := range readText(t, dir, m, d) {
			want := s.rows(d)[i]
			if row["error"] == nil {
				continue
			}
			failed++
			if row["instance_id"] != "order-10" || want["error"] == nil {
				t.Errorf("%s: error of %s: %v", d, row.key(), row["error"])
			}
			if !strings.Contains(as[string](row["error"]), "not found") || !strings.Contains(as[string](row["error"]), "order-10/") {
				t.Errorf("%s: the error of %s does not say what is missing: %v", d, row.key(), row["error"])
			}
			for _, p := range payloads {
				if row[p] != nil && want[p] == nil {
					t.Errorf("%s: %s of %s is %v, want null", d, p, row.key(), show(row[p]))
				}
			}
		}
		if failed == 0 || entry(t, m, d).Errors != failed {
			t.Errorf("%s: %d rows with an error, the manifest counts %d", d, failed, entry(t, m, d).Errors)
		}
		counted += failed
	}
	if m.Errors() != counted {
		t.Errorf("Errors() = %d, want %d", m.Errors(), counted)
	}
}

// Texts from blobs are the bytes of the blobs: of both tables, of start messages
// that no worker has seen, and of wrapped queue messages.
func TestPayloadsFromBlobs(t *testing.T) {
	t.Parallel()
	sources := map[string]int{}
	for _, rec := range testhub.Recordings {
		s := storedHub(t, rec.Name)
		dir, m := run(t, testhub.OpenHub(t, rec.Name), export.Options{})
		for _, row := range readText(t, dir, m, export.Instances) {
			for _, p := range []string{"input", "output"} {
				blob, _ := row[p+"_blob"].(string)
				if blob == "" || row["error"] != nil {
					continue
				}
				text, ok := s.payload(blob)
				if strings.Contains(blob, "/message-") {
					sources["start message"]++
					ok = ok && as[object](as[object](mustObject(text)["TaskMessage"])["Event"])["Input"] == row[p]
				} else {
					sources[p]++
					ok = ok && row[p] == text
				}
				if !ok || len(text) < 30_000 {
					t.Errorf("%s %s: %s is not what is in %s", rec.Name, row.key(), p, blob)
				}
			}
		}
		for _, row := range readText(t, dir, m, export.History) {
			blobs, ok := row["blobs"].(string)
			if !ok || row["error"] != nil {
				continue
			}
			for property, blob := range mustObject(blobs) {
				sources["history "+property]++
				if text, ok := s.payload(as[string](blob)); !ok || row[historyColumns[property]] != text {
					t.Errorf("%s %s: %s is not what is in %s", rec.Name, row.key(), property, blob)
				}
			}
		}
		for _, row := range readText(t, dir, m, export.Messages) {
			if blob, ok := row["blob"].(string); ok {
				sources["message"]++
				if text, ok := s.payload(blob); !ok || row["message"] != text {
					t.Errorf("%s %s: message is not what is in %s", rec.Name, row.key(), blob)
				}
			}
		}
	}
	for _, want := range []string{"input", "output", "start message", "message", "history Input", "history Result"} {
		if sources[want] == 0 {
			t.Errorf("no payload of kind %s was recorded", want)
		}
	}
	t.Logf("payloads: %v", sources)
}
