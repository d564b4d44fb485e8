package export_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/taskhub-tools/taskhub/export"
	"github.com/taskhub-tools/taskhub/internal/testhub"
)

// What an export must hold is worked out here a second time from the files of a
// capture, with plain zip, zstd, gzip and encoding/json: packages schema and
// snapshot are under test too. The rules are those of the storage format, in the
// simplest words and not the fastest.

// cell is the value of one column: nil, string, int64, bool, ns or jsonValue.
type cell any

type (
	// ns is a time in nanoseconds since 1970.
	ns int64
	// jsonValue is text that must hold this JSON value, however it is spelled.
	jsonValue struct{ v any }
	// something is any text but null: an explanation for people.
	something struct{}
)

// cells are the columns of a row that are not null.
type cells map[string]cell

// object is a JSON object. Numbers are json.Number.
type object = map[string]any

// stored is a recorded hub as it is in its capture.
type stored struct {
	name      string // of the recording
	hub       string // lower-case
	history   []object
	instances []object
	queues    map[string][]object
	blobs     []object
	payloads  map[string][]byte // blobs of the large-message container, by name
	data      map[string][]byte // by file
	memo      map[export.Dataset][]cells
}

// storedHub reads the capture of a recording.
func storedHub(t testing.TB, name string) *stored {
	t.Helper()
	z, err := zip.OpenReader(testhub.HubFile(t, name))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	unpack, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer unpack.Close()
	s := &stored{name: name, queues: map[string][]object{}, payloads: map[string][]byte{}, data: map[string][]byte{}}
	for _, f := range z.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		base := filepath.Base(f.Name)
		switch {
		case f.Name == "manifest.json":
			s.hub = strings.ToLower(as[string](parseObject(t, text)["task_hub"]))
		case strings.HasSuffix(f.Name, ".ndjson.zst"):
			if text, err = unpack.DecodeAll(text, nil); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(base, "History.ndjson.zst") {
				s.history = parseLines(t, text)
			} else if strings.HasSuffix(base, "Instances.ndjson.zst") {
				s.instances = parseLines(t, text)
			}
		case strings.HasPrefix(f.Name, "queues/"):
			s.queues[strings.TrimSuffix(base, ".ndjson")] = parseLines(t, text)
		case f.Name == "blobs/index.ndjson":
			s.blobs = parseLines(t, text)
		default:
			s.data[f.Name] = text
		}
	}
	for _, b := range s.blobs {
		if b["container"] == s.hub+"-largemessages" {
			s.payloads[as[string](b["name"])] = s.data[as[string](b["file"])]
		}
	}
	return s
}

func parseObject(t testing.TB, text []byte) object {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var o object
	if err := d.Decode(&o); err != nil {
		t.Fatalf("%v in %.200s", err, text)
	}
	return o
}

func parseLines(t testing.TB, text []byte) (all []object) {
	t.Helper()
	for line := range bytes.Lines(text) {
		all = append(all, parseObject(t, line))
	}
	return all
}

// payload returns the text of a blob.
func (s *stored) payload(name string) (string, bool) {
	data, ok := s.payloads[name]
	if !ok {
		return "", false
	}
	return gunzip(data)
}

func gunzip(data []byte) (string, bool) {
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return "", false
	}
	text, err := io.ReadAll(z)
	return string(text), err == nil
}

// instanceID undoes the escapes of a key.
func instanceID(key string) string {
	var id []rune
	runes := []rune(key)
	for i := 0; i < len(runes); i++ {
		r := runes[i]
		if r == '^' {
			i++
			switch r = runes[i]; {
			case r == '^':
			case r >= '0' && r <= '3':
				r = rune(`/\#?`[r-'0'])
			default:
				r -= 0xC0
			}
		}
		id = append(id, r)
	}
	return string(id)
}

func instant(text string) ns {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		panic(err)
	}
	return ns(at.UnixNano())
}

// value turns a property into a cell, nil if it is absent.
func value(row object, property string) cell {
	switch v := row[property].(type) {
	case nil:
		return nil
	case json.Number:
		n, err := v.Int64()
		if err != nil {
			panic(err)
		}
		return n
	case string:
		if row[property+"@odata.type"] == "Edm.DateTime" {
			return instant(v)
		}
		return v
	default:
		return v // bool
	}
}

// set puts the properties into their columns, and what remains into extra.
func (c cells) set(row object, columns map[string]string, known ...string) {
	extra := object{}
	for property, v := range row {
		name, isType := strings.CutSuffix(property, "@odata.type")
		_, has := columns[name]
		switch {
		case has || slices.Contains(known, name):
		case name == "PartitionKey" || name == "RowKey" || name == "Timestamp" || name == "odata.etag":
		case isType, !isType:
			extra[property] = v
		}
	}
	for property, column := range columns {
		if v := value(row, property); v != nil {
			c[column] = v
		}
	}
	if len(extra) > 0 {
		c["extra"] = jsonValue{extra}
	}
	c["stored_time"] = instant(as[string](row["Timestamp"]))
}

// historyColumns says in which column each property of a history row goes.
var historyColumns = map[string]string{
	"ExecutionId": "execution_id", "EventType": "event_type", "EventId": "event_id", "_Timestamp": "event_time",
	"IsPlayed": "is_played", "Name": "name", "Version": "version", "Input": "input", "Result": "result",
	"Reason": "reason", "Details": "details", "FailureDetails": "failure_details", "FireAt": "fire_at",
	"TimerId": "timer_id", "TaskScheduledId": "task_scheduled_id", "OrchestrationStatus": "orchestration_status",
	"InstanceId": "sub_instance_id", "Tags": "tags", "ParentInstance": "parent_instance",
	"OrchestrationInstance": "orchestration_instance", "ScheduledStartTime": "scheduled_start_time",
	"Generation": "generation", "GenerateNewTrace": "generate_new_trace", "ParentTraceContext": "parent_trace_context",
	"Correlation": "correlation", "ClientSpanId": "client_span_id", "Data": "data",
}

// offloadable are the properties whose text may be in a blob.
var offloadable = []string{"Name", "Input", "Result", "Output", "Reason", "Details", "Correlation", "FailureDetails", "Tags"}

// current says of each row of a partition whether it belongs to the live
// history: the execution is the sentinel's, or the first row's without one, and
// the first row of another ends it.
func current(partition []object) []bool {
	execution := partition[0]["ExecutionId"]
	for _, row := range partition {
		if row["RowKey"] == "sentinel" {
			execution = row["ExecutionId"]
		}
	}
	is := make([]bool, len(partition))
	for i, row := range partition {
		if row["ExecutionId"] != execution {
			break
		}
		is[i] = true
	}
	return is
}

func (s *stored) historyRows() (rows []cells) {
	for i := 0; i < len(s.history); {
		key := as[string](s.history[i]["PartitionKey"])
		n := i
		for n < len(s.history) && s.history[n]["PartitionKey"] == key {
			n++
		}
		live := current(s.history[i:n])
		for k, row := range s.history[i:n] {
			if row["RowKey"] == "sentinel" {
				continue
			}
			seq, err := strconv.ParseInt(as[string](row["RowKey"]), 16, 64)
			if err != nil {
				panic(err)
			}
			c := cells{"instance_id": instanceID(key), "sequence": seq, "is_current": live[k]}
			var blobColumns []string
			for _, p := range offloadable {
				if _, ok := row[p+"BlobName"]; ok {
					blobColumns = append(blobColumns, p+"BlobName")
				}
			}
			c.set(row, historyColumns, blobColumns...)
			names := object{}
			for _, p := range blobColumns {
				p = strings.TrimSuffix(p, "BlobName")
				names[p] = row[p+"BlobName"]
				s.fromBlob(c, historyColumns[p], as[string](row[p+"BlobName"]), false)
			}
			if len(names) > 0 {
				c["blobs"] = jsonValue{names}
			}
			rows = append(rows, c)
		}
		i = n
	}
	return rows
}

// fromBlob sets a column to the text of a blob, or an error.
func (s *stored) fromBlob(c cells, column, blob string, start bool) {
	text, ok := s.payload(blob)
	if !ok {
		delete(c, column)
		c["error"] = something{}
		return
	}
	if !start {
		c[column] = text
		return
	}
	var m struct {
		TaskMessage struct{ Event struct{ Input *string } }
	}
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		panic(err)
	}
	delete(c, column)
	if p := m.TaskMessage.Event.Input; p != nil {
		c[column] = *p
	}
}

var instanceColumns = map[string]string{
	"ExecutionId": "execution_id", "Name": "name", "Version": "version", "RuntimeStatus": "runtime_status",
	"CreatedTime": "created_time", "LastUpdatedTime": "last_updated_time", "CompletedTime": "completed_time",
	"ScheduledStartTime": "scheduled_start_time", "Input": "input", "Output": "output", "CustomStatus": "custom_status",
	"Tags": "tags", "Generation": "generation", "TaskHubName": "task_hub",
}

var percent = regexp.MustCompile(`%[0-9A-F]{2}`)

// blobOfURL returns the name of the blob that a column refers to.
func (s *stored) blobOfURL(text any) string {
	url, _ := text.(string)
	if !strings.HasPrefix(url, "http") {
		return ""
	}
	_, name, ok := strings.Cut(url, "/"+s.hub+"-largemessages/")
	if !ok {
		return ""
	}
	name = percent.ReplaceAllStringFunc(name, func(e string) string {
		n, _ := strconv.ParseUint(e[1:], 16, 8)
		return string([]byte{byte(n)})
	})
	return strings.ReplaceAll(name, `\`, "/")
}

func (s *stored) instanceRows() (rows []cells) {
	for _, row := range s.instances {
		c := cells{"instance_id": instanceID(as[string](row["PartitionKey"]))}
		c.set(row, instanceColumns, "InputBlobName", "TagsBlobName")
		for property, column := range map[string]string{"Input": "input", "Output": "output"} {
			name := s.blobOfURL(row[property])
			if given, ok := row[property+"BlobName"].(string); ok && row[property] == "" {
				name = given
			}
			if name != "" {
				c[column+"_blob"] = name
				s.fromBlob(c, column, name, strings.Contains(name, "/message-"))
			}
		}
		// What no column says is kept: the name of a stale input, and that of tags.
		residue := object{}
		if name, ok := row["InputBlobName"]; ok && row["Input"] != "" {
			residue["InputBlobName"] = name
		}
		if name, ok := row["TagsBlobName"].(string); ok {
			residue["TagsBlobName"] = name
			if row["Tags"] == "" {
				s.fromBlob(c, "tags", name, false)
			}
		}
		if len(residue) > 0 {
			c["extra"] = jsonValue{residue}
		}
		rows = append(rows, c)
	}
	return rows
}

func (s *stored) entityRows() (rows []cells) {
	columns := map[string]string{
		"ExecutionId": "execution_id", "RuntimeStatus": "runtime_status", "CustomStatus": "custom_status",
		"CreatedTime": "created_time", "LastUpdatedTime": "last_updated_time", "TaskHubName": "task_hub",
	}
	for _, row := range s.instances {
		id := instanceID(as[string](row["PartitionKey"]))
		if !strings.HasPrefix(id, "@") {
			continue
		}
		c := cells{"instance_id": id}
		name, key, _ := strings.Cut(id[1:], "@")
		c["entity_name"], c["entity_key"] = name, key
		c.set(row, columns, "Input", "Name", "Version", "Generation", "Tags", "Output", "CompletedTime", "ScheduledStartTime")
		state := []byte(as[string](row["Input"]))
		if blob := s.blobOfURL(row["Input"]); blob != "" {
			text, _ := s.payload(blob)
			state = []byte(text)
		}
		var v struct {
			Exists    bool
			State     *string
			Queue     []json.RawMessage
			LockedBy  *string
			Suspended bool
			Sorter    json.RawMessage
		}
		if err := json.Unmarshal(state, &v); err != nil {
			panic(err)
		}
		c["exists"], c["suspended"], c["queue_length"] = v.Exists || v.State != nil, v.Suspended, int64(len(v.Queue))
		if v.State != nil {
			c["state"] = *v.State
		}
		if v.LockedBy != nil {
			c["locked_by"] = *v.LockedBy
		}
		if v.Sorter != nil {
			c["sorter"] = string(v.Sorter)
		}
		if v.Queue != nil {
			c["queue"] = "[" + string(bytes.Join(byteSlices(v.Queue), []byte(","))) + "]"
		}
		rows = append(rows, c)
	}
	return rows
}

func byteSlices(raw []json.RawMessage) (all [][]byte) {
	for _, r := range raw {
		all = append(all, r)
	}
	return all
}

func (s *stored) messageRows() (rows []cells) {
	queues := make([]string, 0, len(s.queues))
	for q := range s.queues {
		queues = append(queues, q)
	}
	slices.Sort(queues)
	for _, q := range queues {
		for _, m := range s.queues[q] {
			rows = append(rows, s.messageRow(q, m))
		}
	}
	return rows
}

func (s *stored) messageRow(queue string, m object) cells {
	text := as[string](m["text"])
	c := cells{
		"queue": queue, "message_id": m["message_id"], "kind": "control", "text": text,
		"inserted_time": instant(as[string](m["inserted_at"])), "dequeue_count": value(m, "dequeue_count"),
	}
	if strings.HasSuffix(queue, "-workitems") {
		c["kind"] = "work-item"
	}
	if v, ok := m["visible_at"].(string); ok {
		c["visible_time"] = instant(v)
	}
	if v, ok := m["expires_at"].(string); ok && !strings.HasPrefix(v, "9999") {
		c["expires_time"] = instant(v)
	}
	if text[0] != '{' {
		plain, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			panic(err)
		}
		text = string(plain)
	}
	envelope := mustObject(text)
	if name, ok := envelope["CompressedBlobName"].(string); ok {
		c["blob"] = name
		if text, ok = s.payload(strings.ReplaceAll(name, `\`, "/")); !ok {
			panic("no blob " + name)
		}
		envelope = mustObject(text)
	}
	c["message"] = text
	put := func(column string, v cell) {
		if v != nil {
			c[column] = v
		}
	}
	put("sequence_number", value(envelope, "SequenceNumber"))
	put("episode", value(envelope, "Episode"))
	if sender, ok := envelope["Sender"].(object); ok {
		put("sender_instance_id", sender["InstanceId"])
		put("sender_execution_id", sender["ExecutionId"])
	}
	task := as[object](envelope["TaskMessage"])
	target := as[object](task["OrchestrationInstance"])
	put("instance_id", target["InstanceId"])
	put("execution_id", target["ExecutionId"])
	event := as[object](task["Event"])
	n, _ := as[json.Number](event["EventType"]).Int64()
	c["event_type"] = eventTypes[n]
	put("event_id", value(event, "EventId"))
	c["event_time"] = instant(as[string](event["Timestamp"]))
	put("name", event["Name"])
	put("task_scheduled_id", value(event, "TaskScheduledId"))
	put("task_scheduled_id", value(event, "TimerId"))
	for _, p := range []string{"FireAt", "ScheduledStartTime"} {
		if v, ok := event[p].(string); ok {
			c["fire_at"] = instant(v)
		}
	}
	return c
}

func mustObject(text string) object {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	var o object
	if err := d.Decode(&o); err != nil {
		panic(err)
	}
	return o
}

// eventTypes are the names by number: DurableTask.Core, EventType.cs.
var eventTypes = [...]string{
	"ExecutionStarted", "ExecutionCompleted", "ExecutionFailed", "ExecutionTerminated", "TaskScheduled", "TaskCompleted",
	"TaskFailed", "SubOrchestrationInstanceCreated", "SubOrchestrationInstanceCompleted", "SubOrchestrationInstanceFailed",
	"TimerCreated", "TimerFired", "OrchestratorStarted", "OrchestratorCompleted", "EventSent", "EventRaised", "ContinueAsNew",
	"GenericEvent", "HistoryState", "ExecutionSuspended", "ExecutionResumed", "ExecutionRewound",
}

var (
	historyBlob = regexp.MustCompile(`^(.*)/history-([^-/]*)-([A-Za-z]+)(?:-[0-9A-F]{8})?-([A-Za-z]+)\.json\.gz$`)
	messageBlob = regexp.MustCompile(`^(.*)/message-([0-9a-f]{32})-([A-Za-z]+)\.json\.gz$`)
)

func (s *stored) blobRows() (rows []cells) {
	for _, b := range s.blobs {
		name := as[string](b["name"])
		c := cells{"container": b["container"], "name": name, "kind": "other", "size_bytes": value(b, "size_bytes")}
		for _, p := range []string{"content_md5", "content_type", "lease_state"} {
			if b[p] != nil {
				c[p] = b[p]
			}
		}
		c["created_time"], c["last_modified"] = instant(as[string](b["created_at"])), instant(as[string](b["last_modified"]))
		if b["metadata"] != nil {
			c["extra"] = jsonValue{b["metadata"]}
		}
		switch b["container"] {
		case s.hub + "-applease":
			c["kind"] = "app-lease"
		case s.hub + "-leases":
			c["kind"] = "lease"
			if name == "taskhub.json" {
				c["kind"] = "task-hub"
			}
		case s.hub + "-largemessages":
			if p := messageBlob.FindStringSubmatch(name); p != nil {
				c["kind"], c["instance_id"], c["activity_id"], c["event_type"] = "message", p[1], p[2], p[3]
			} else if p := historyBlob.FindStringSubmatch(name); p != nil {
				c["kind"], c["instance_id"], c["event_type"], c["column"] = "history", instanceID(p[1]), p[3], p[4]
				if p[2] != "" {
					c["sequence"], _ = strconv.ParseInt(p[2], 16, 64)
				}
			}
		}
		rows = append(rows, c)
	}
	return rows
}

// rows returns what a dataset must hold, in order. The caller may change the
// rows but not what they share, their values.
func (s *stored) rows(d export.Dataset) []cells {
	if s.memo == nil {
		s.memo = map[export.Dataset][]cells{}
	}
	if _, ok := s.memo[d]; !ok {
		s.memo[d] = s.workOut(d)
	}
	rows := make([]cells, len(s.memo[d]))
	for i, row := range s.memo[d] {
		rows[i] = maps.Clone(row)
	}
	return rows
}

func (s *stored) workOut(d export.Dataset) []cells {
	switch d {
	case export.Instances:
		return s.instanceRows()
	case export.History:
		return s.historyRows()
	case export.Messages:
		return s.messageRows()
	case export.Entities:
		return s.entityRows()
	case export.Blobs:
		return s.blobRows()
	}
	panic("which dataset is " + d)
}

// key names a row for messages of tests.
func (c cells) key() string {
	var parts []string
	for _, column := range []string{"instance_id", "sequence", "queue", "message_id", "container", "name"} {
		if v, ok := c[column]; ok && (column != "name" || c["container"] != nil) {
			parts = append(parts, fmt.Sprintf("%v", v))
		}
	}
	return strings.Join(parts, " ")
}

// compareRows reports every cell that is not as it should be, by row and column.
func compareRows(t testing.TB, where string, d export.Dataset, want, got []cells) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d rows, want %d", where, len(got), len(want))
	}
	bad := 0
	for i := range min(len(got), len(want)) {
		if got[i].key() != want[i].key() {
			t.Errorf("%s: row %d is %s, want %s", where, i, got[i].key(), want[i].key())
			return
		}
		for _, column := range export.Columns(d) {
			w, g := want[i][column.Name], got[i][column.Name]
			if sameCell(w, g) {
				continue
			}
			if bad++; bad > 20 {
				t.Fatalf("%s: and more", where)
			}
			t.Errorf("%s: %s: %s is %s, want %s", where, want[i].key(), column.Name, show(g), show(w))
		}
		for column := range want[i] {
			if !slices.ContainsFunc(export.Columns(d), func(c export.Column) bool { return c.Name == column }) {
				t.Fatalf("%s: there is no column %s", where, column)
			}
		}
	}
}

func sameCell(want, got cell) bool {
	switch w := want.(type) {
	case something:
		s, ok := got.(string)
		return ok && s != ""
	case jsonValue:
		s, ok := got.(string)
		if !ok {
			return false
		}
		d := json.NewDecoder(strings.NewReader(s))
		d.UseNumber()
		var v any
		return d.Decode(&v) == nil && fmt.Sprint(v) == fmt.Sprint(w.v)
	}
	return want == got
}

func show(c cell) string {
	s := fmt.Sprintf("%T %[1]v", c)
	if c == nil {
		return "null"
	}
	if len(s) > 300 {
		return fmt.Sprintf("%s… (%d bytes)", s[:300], len(s))
	}
	return s
}

func mustRead(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// as is v with its type, which the test knows.
func as[T any](v any) T {
	t, ok := v.(T)
	if !ok {
		panic(fmt.Sprintf("%T is not %T", v, t))
	}
	return t
}
