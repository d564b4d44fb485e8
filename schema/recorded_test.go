package schema_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/taskhub-tools/taskhub/schema"
)

// The captures are read here with plain zip and zstd and not with package
// snapshot: it decodes and encodes with the code that is under test.

// table is one table of a recorded hub.
type table struct {
	hub, name string
	lines     [][]byte // rows as stored in the capture; not to be changed
}

func (t *table) kind() string {
	for _, kind := range []string{"History", "Instances", "Partitions"} {
		if strings.HasSuffix(t.name, kind) {
			return kind
		}
	}
	return ""
}

// blob is one blob of a recorded hub.
type blob struct {
	hub, container, name string
	content              []byte
}

// message is one queue message of a recorded hub.
type message struct{ where, text string }

type recordings struct {
	tables   []table
	blobs    []blob
	messages []message
}

var loadRecordings = sync.OnceValues(func() (recordings, error) {
	var r recordings
	hubs, err := filepath.Glob("../testdata/hubs/*.taskhub")
	if err != nil {
		return r, err
	}
	for _, h := range hubs {
		if err := r.loadHub(h); err != nil {
			return r, fmt.Errorf("%s: %w", h, err)
		}
	}
	err = filepath.WalkDir("../testdata/recorded", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || filepath.Base(filepath.Dir(path)) != "queues-all" {
			return err
		}
		return r.loadQueue(path)
	})
	return r, err
})

// recorded returns everything that was recorded. It fails if a part is missing:
// a test of all rows must not pass because there are none.
func recorded(t testing.TB) recordings {
	t.Helper()
	r, err := loadRecordings()
	if err != nil {
		t.Fatal(err)
	}
	if len(r.tables) == 0 || len(r.blobs) == 0 || len(r.messages) == 0 {
		t.Fatalf("testdata has %d tables, %d blobs and %d messages", len(r.tables), len(r.blobs), len(r.messages))
	}
	return r
}

func unzstd(packed []byte) ([]byte, error) {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	return z.DecodeAll(packed, nil)
}

func (r *recordings) loadHub(path string) error {
	z, err := zip.OpenReader(path)
	if err != nil {
		return err
	}
	defer z.Close()
	hub := strings.TrimSuffix(filepath.Base(path), ".taskhub")
	var index []byte
	data := make(map[string][]byte)
	for _, f := range z.File {
		in, err := f.Open()
		if err != nil {
			return err
		}
		content, err := io.ReadAll(in)
		if err != nil {
			return err
		}
		switch name, isTable := strings.CutSuffix(f.Name, ".ndjson.zst"); {
		case isTable:
			if content, err = unzstd(content); err != nil {
				return err
			}
			t := table{hub: hub, name: strings.TrimPrefix(name, "tables/")}
			for line := range bytes.Lines(content) {
				t.lines = append(t.lines, line)
			}
			r.tables = append(r.tables, t)
		case f.Name == "blobs/index.ndjson":
			index = content
		default:
			data[f.Name] = content
		}
	}
	for line := range bytes.Lines(index) {
		var b struct{ Container, Name, File string }
		if err := json.Unmarshal(line, &b); err != nil {
			return err
		}
		content, ok := data[b.File]
		if !ok {
			return fmt.Errorf("no content of blob %s", b.Name)
		}
		r.blobs = append(r.blobs, blob{hub, b.Container, b.Name, content})
	}
	return nil
}

func (r *recordings) loadQueue(path string) error {
	text, err := os.ReadFile(path)
	if err == nil && strings.HasSuffix(path, ".zst") {
		text, err = unzstd(text)
	}
	if err != nil {
		return err
	}
	for line := range bytes.Lines(text) {
		var m struct{ MessageID, Text string }
		if err := json.Unmarshal(line, &m); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if m.Text == "" {
			return fmt.Errorf("%s: a message without text", path)
		}
		rel, _ := filepath.Rel("../testdata/recorded", path)
		r.messages = append(r.messages, message{filepath.ToSlash(rel) + ":" + m.MessageID, m.Text})
	}
	return nil
}

// decodeLine decodes one row or fails.
func decodeLine(t testing.TB, line []byte) schema.Row {
	t.Helper()
	r, err := schema.DecodeRow(line)
	if err != nil {
		t.Fatalf("DecodeRow(%s): %v", line, err)
	}
	return r
}

// retype decodes a row to the type that its table holds and encodes it again.
func retype(kind string, r *schema.Row) (schema.Row, error) {
	switch {
	case kind == "Instances":
		v, err := schema.DecodeInstance(r)
		return v.Row(), err
	case kind == "Partitions":
		v, err := schema.DecodePartitionLease(r)
		return v.Row(), err
	case r.IsSentinel():
		v, err := schema.DecodeSentinel(r)
		return v.Row(), err
	default:
		v, err := schema.DecodeHistoryRow(r)
		return v.Row(), err
	}
}

// notReproduced lists recorded rows and messages that do not come back as they
// were, by table or queue and key, with the reason. There are none.
var notReproduced = map[string]string{}

func gunzip(t testing.TB, packed []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestRecordedRows(t *testing.T) {
	kinds := make(map[string]int)
	for _, table := range recorded(t).tables {
		kind := table.kind()
		for i, line := range table.lines {
			where := fmt.Sprintf("%s/%s line %d", table.hub, table.name, i+1)
			r := decodeLine(t, line)
			if got := r.AppendJSON(nil); !bytes.Equal(got, bytes.TrimSuffix(line, []byte("\n"))) {
				t.Errorf("%s: the row reads\n%s\nand is written\n%s", where, line, got)
			}
			back, err := retype(kind, &r)
			if err != nil {
				t.Errorf("%s: %v", where, err)
				continue
			}
			if back.Timestamp != r.Timestamp || back.ETag != r.ETag {
				t.Errorf("%s: Timestamp and ETag are %v %q, want %v %q", where, back.Timestamp, back.ETag, r.Timestamp, r.ETag)
			}
			if !schema.SameProperties(&r, &back) && notReproduced[where] == "" {
				back.SortProperties()
				t.Errorf("%s: the typed row is encoded as\n%s\nwant\n%s", where, back.AppendJSON(nil), line)
			}
			if kind == "History" && r.IsSentinel() {
				kind := "sentinels"
				kinds[kind]++
				continue
			}
			kinds[kind]++
		}
	}
	for _, kind := range []string{"History", "Instances", "Partitions", "sentinels"} {
		if kinds[kind] == 0 {
			t.Errorf("no row of kind %s was recorded", kind)
		}
	}
	t.Logf("rows: %v", kinds)
}

// Each type has all columns that were ever recorded for it: what is left over is
// an oversight, or it is known.
func TestRecordedRowsHaveNoUnknownColumns(t *testing.T) {
	seen := make(map[schema.EventType]int)
	for _, table := range recorded(t).tables {
		for i, line := range table.lines {
			r := decodeLine(t, line)
			where := fmt.Sprintf("%s/%s line %d", table.hub, table.name, i+1)
			var extra []schema.Property
			switch kind := table.kind(); {
			case kind == "Instances":
				v, _ := schema.DecodeInstance(&r)
				extra = v.Extra
			case kind == "Partitions":
				v, _ := schema.DecodePartitionLease(&r)
				extra = v.Extra
			case r.IsSentinel():
				v, _ := schema.DecodeSentinel(&r)
				extra = v.Extra
			default:
				v, _ := schema.DecodeHistoryRow(&r)
				seen[v.Event.Type()]++
				if _, rewound := v.Rewound(); rewound {
					continue
				}
				extra = v.Extra
			}
			if len(extra) > 0 {
				t.Errorf("%s: columns %v are left over", where, extra)
			}
		}
	}
	if seen[schema.TypeUnknown] > 0 {
		t.Errorf("%d events of unknown type", seen[schema.TypeUnknown])
	}
	for _, typ := range []schema.EventType{
		schema.TypeExecutionStarted, schema.TypeExecutionCompleted, schema.TypeTaskScheduled, schema.TypeTaskFailed,
		schema.TypeSubOrchestrationCreated, schema.TypeTimerFired, schema.TypeEventSent, schema.TypeEventRaised,
		schema.TypeGeneric, schema.TypeExecutionSuspended, schema.TypeExecutionTerminated,
	} {
		if seen[typ] == 0 {
			t.Errorf("no event of type %s was recorded", typ)
		}
	}
}

func TestRecordedMessages(t *testing.T) {
	var plain, encoded, wrappers, version1 int
	types := make(map[schema.EventType]int)
	for _, m := range recorded(t).messages {
		if notReproduced[m.where] != "" {
			continue
		}
		text, enc, err := schema.MessageText(m.text)
		if err != nil {
			t.Errorf("%s: %v", m.where, err)
			continue
		}
		if enc == schema.Base64 {
			encoded++
		} else {
			plain++
		}
		msg, err := schema.DecodeMessage(text, m.where)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := schema.EncodeBody(msg.AppendJSON(nil), enc); got != m.text {
			t.Errorf("%s: the message\n%s\nis written\n%s", m.where, m.text, got)
		}
		if msg.TaskMessage == nil {
			wrappers++
			w := schema.NewWrapper(msg.CompressedBlobName.Value)
			if got := string(w.AppendJSON(nil)); got != text {
				t.Errorf("%s: NewWrapper gives\n%s\nwant\n%s", m.where, got, text)
			}
			continue
		}
		types[msg.TaskMessage.Event.Type()]++
		if len(msg.Extra)+len(msg.TaskMessage.Extra)+len(msg.TaskMessage.EventExtra) > 0 {
			t.Errorf("%s: members %v %v %v are left over", m.where, msg.Extra, msg.TaskMessage.Extra, msg.TaskMessage.EventExtra)
		}
		// What was remembered of its form must not be needed: the same message
		// made from nothing has the same bytes.
		msg.ForgetLayout()
		if strings.HasPrefix(m.where, "dtfx-1.17.5/") {
			version1++
			msg.ForVersion1()
		}
		if got := string(msg.AppendJSON(nil)); got != text {
			t.Errorf("%s: made anew the message is\n%s\nwant\n%s", m.where, got, text)
		}
	}
	if plain == 0 || encoded == 0 || wrappers == 0 || version1 == 0 {
		t.Errorf("%d plain messages, %d in Base64, %d wrappers, %d of version 1", plain, encoded, wrappers, version1)
	}
	if types[schema.TypeUnknown] > 0 {
		t.Errorf("%d messages with events of unknown type", types[schema.TypeUnknown])
	}
	t.Logf("%d plain, %d Base64, %d wrappers: %v", plain, encoded, wrappers, types)
}

// The blobs of large messages hold the same envelopes.
func TestRecordedMessageBlobs(t *testing.T) {
	seen := 0
	for _, b := range recorded(t).blobs {
		name, ok := schema.ParseBlobName(b.name)
		if !ok || !name.Message {
			continue
		}
		seen++
		text := gunzip(t, b.content)
		msg, err := schema.DecodeMessage(text, b.name)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := string(msg.AppendJSON(nil)); got != text {
			t.Errorf("%s: the message\n%.300s\nis written\n%.300s", b.name, text, got)
		}
		target, _ := msg.Target()
		want := schema.MessageBlobName(target, msg.ActivityID, msg.TaskMessage.Event.Type())
		if schema.StoredBlobName(want) != b.name {
			t.Errorf("MessageBlobName(%q) = %q, want %q", target, want, b.name)
		}
	}
	if seen == 0 {
		t.Error("no message blob was recorded")
	}
}

// Every blob of a large-message container has a name that is understood, and
// the parts make the name again.
func TestRecordedBlobNames(t *testing.T) {
	seen := 0
	for _, b := range recorded(t).blobs {
		if !strings.HasSuffix(b.container, "-largemessages") {
			continue
		}
		seen++
		n, ok := schema.ParseBlobName(b.name)
		if !ok {
			t.Errorf("ParseBlobName(%q) is not ok", b.name)
			continue
		}
		if n.Message {
			continue // see TestRecordedMessageBlobs
		}
		var random uint32
		dash := strings.Split(b.name[strings.LastIndexByte(b.name, '/'):], "-")
		if _, err := fmt.Sscanf(dash[3], "%X", &random); err != nil {
			t.Errorf("%s: %v", b.name, err)
		}
		if got := schema.HistoryBlobName(n.InstanceID(), n.Key, n.EventType, n.Column, random); got != b.name {
			t.Errorf("HistoryBlobName of the parts of %q = %q", b.name, got)
		}
	}
	if seen == 0 {
		t.Error("no large-message blob was recorded")
	}
}

// URLs in Instances rows lead to blobs that were recorded, and are made again
// from their parts.
func TestRecordedBlobURLs(t *testing.T) {
	r := recorded(t)
	names := make(map[string]bool)
	containers := make(map[string]string) // by hub
	for _, b := range r.blobs {
		if strings.HasSuffix(b.container, "-largemessages") {
			names[b.hub+"/"+b.container+"/"+b.name] = true
			containers[b.hub] = b.container
		}
	}
	seen := 0
	for _, table := range r.tables {
		container := containers[table.hub]
		if table.kind() != "Instances" || container == "" {
			continue
		}
		for _, line := range table.lines {
			row := decodeLine(t, line)
			i, err := schema.DecodeInstance(&row)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range []struct {
				value string
				ref   schema.Ref
			}{{i.Input.Value, i.InputRef(container)}, {i.Output.Value, i.OutputRef(container)}} {
				if v.ref.Blob == "" {
					continue
				}
				seen++
				if !names[table.hub+"/"+container+"/"+v.ref.Blob] && table.hub != "dtfx-2.9.1-purge-damaged" {
					t.Errorf("%s: %s refers to blob %q, which does not exist", table.hub, v.value, v.ref.Blob)
				}
				if endpoint, _, ok := strings.Cut(v.value, "/"+container+"/"); !ok {
					t.Errorf("%s: %s has a blob but is no URL", table.hub, v.value)
				} else if got := schema.BlobURL(endpoint, container, v.ref.Blob); got != v.value && !v.ref.InMessage {
					t.Errorf("BlobURL(%q, …, %q) = %q, want %q", endpoint, v.ref.Blob, got, v.value)
				}
			}
		}
	}
	if seen == 0 {
		t.Error("no blob URL was recorded")
	}
}

// entityInputs calls f with every text that was recorded as the scheduler state
// of an entity, or as the input of an event called op.
func entityInputs(t testing.TB, f func(where, text string, request bool)) {
	t.Helper()
	for _, table := range recorded(t).tables {
		if !strings.HasPrefix(table.hub, "functions-3") {
			continue
		}
		for i, line := range table.lines {
			where := fmt.Sprintf("%s/%s line %d", table.hub, table.name, i+1)
			r := decodeLine(t, line)
			if r.IsSentinel() {
				continue
			}
			input, _ := r.Get("Input").Text()
			if input == "" {
				continue
			}
			event, _ := r.Get("EventType").Text()
			name, _ := r.Get("Name").Text()
			entity := schema.IsEntity(schema.InstanceID(r.PartitionKey))
			switch {
			case table.kind() == "Instances" && entity, event == "ExecutionStarted" && entity:
				f(where, input, false)
			case (event == "EventSent" || event == "EventRaised") && (name == "op" || strings.HasPrefix(name, "op@")):
				f(where, input, true)
			}
		}
	}
	for _, m := range recorded(t).messages {
		text, _, err := schema.MessageText(m.text)
		if err != nil {
			t.Fatal(err)
		}
		msg, err := schema.DecodeMessage(text, m.where)
		if err != nil {
			t.Fatal(err)
		}
		target, _ := msg.Target()
		if msg.TaskMessage == nil || !schema.IsEntity(target) {
			continue
		}
		e, ok := msg.TaskMessage.Event.(*schema.EventRaised)
		if ok && (e.Name.Value == "op" || strings.HasPrefix(e.Name.Value, "op@")) {
			f(m.where, e.Input.Value, true)
		}
	}
}

func TestRecordedEntities(t *testing.T) {
	var states, requests, locks, queued int
	entityInputs(t, func(where, text string, request bool) {
		var got []byte
		if request {
			r, err := schema.DecodeEntityRequest(text)
			if err != nil {
				t.Errorf("%s: %v", where, err)
				return
			}
			if len(r.Extra) > 0 {
				t.Errorf("%s: members %v are left over", where, r.Extra)
			}
			requests++
			if r.LockSet != nil {
				locks++
			}
			got = r.AppendJSON(nil)
		} else {
			s, err := schema.DecodeEntityState(text)
			if err != nil {
				t.Errorf("%s: %v", where, err)
				return
			}
			if len(s.Extra) > 0 {
				t.Errorf("%s: members %v are left over", where, s.Extra)
			}
			states++
			queued += len(s.Queue)
			got = s.AppendJSON(nil)
		}
		if string(got) != text {
			t.Errorf("%s: the entity's\n%s\nis written\n%s", where, text, got)
		}
	})
	if states == 0 || requests == 0 || locks == 0 || queued == 0 {
		t.Errorf("%d states, %d requests, %d lock requests, %d queued requests", states, requests, locks, queued)
	}
}

func TestRecordedLeases(t *testing.T) {
	seen := make(map[string]int)
	for _, b := range recorded(t).blobs {
		var got []byte
		var err error
		kind, _, _ := strings.Cut(b.name, "/")
		switch {
		case strings.HasSuffix(b.container, "-applease"):
			kind = "app lease"
			var l schema.AppLeaseInfo
			l, err = schema.DecodeAppLeaseInfo(b.content)
			got = l.AppendJSON(nil)
		case !strings.HasSuffix(b.container, "-leases"):
			continue
		case b.name == "taskhub.json":
			var i schema.TaskHubInfo
			i, err = schema.DecodeTaskHubInfo(b.content)
			got = i.AppendJSON(nil)
		default:
			var l schema.BlobLease
			l, err = schema.DecodeBlobLease(b.content)
			got = l.AppendJSON(nil)
			if queue := b.name[len(kind)+1:]; l.PartitionID != queue {
				t.Errorf("%s/%s: PartitionID is %q, want %q", b.hub, b.name, l.PartitionID, queue)
			}
		}
		seen[kind]++
		if err != nil || !bytes.Equal(got, b.content) {
			t.Errorf("%s/%s: %s is written %s, %v", b.hub, b.name, b.content, got, err)
		}
	}
	for _, kind := range []string{"app lease", "taskhub.json", "default", "intent", "ownership"} {
		if seen[kind] == 0 {
			t.Errorf("no %s was recorded", kind)
		}
	}
}

// Every instance's messages were recorded in the queue that Partition says.
func TestRecordedPartitions(t *testing.T) {
	seen := 0
	for _, m := range recorded(t).messages {
		queue, _, _ := strings.Cut(m.where[strings.LastIndexByte(m.where, '/')+1:], ".")
		_, number, ok := strings.Cut(queue, "-control-")
		if !ok {
			continue
		}
		text, _, _ := schema.MessageText(m.text)
		msg, err := schema.DecodeMessage(text, m.where)
		if err != nil {
			t.Fatal(err)
		}
		hub, _, _ := strings.Cut(m.where, "/")
		count, ok := map[string]int{
			"dtfx-1.17.5": 4, "dtfx-2.9.1": 4, "dtfx-2.9.1-backlog": 2, "dtfx-2.9.1-blob-leases": 7, "dtfx-2.9.1-crashed": 4,
			"dtfx-2.9.1-odd": 4, "dtfx-2.9.1-poisoned": 1, "dtfx-2.9.1-torn": 2,
			"functions-3": 4, "functions-3-after-js": 4, "functions-3-after-write": 4,
			"shared-tracking-TrackA": 2, "shared-tracking-TrackB": 2,
		}[hub]
		if !ok {
			t.Fatalf("the partition count of hub %s is not known here", hub)
		}
		target, ok := msg.Target()
		if !ok {
			continue
		}
		seen++
		if got := fmt.Sprintf("%02d", schema.Partition(target, count)); got != number {
			t.Errorf("Partition(%q, %d) = %s, but its message is in %s", target, count, got, queue)
		}
	}
	if seen == 0 {
		t.Error("no message of a control queue was recorded")
	}
}

// The validity test of escaped keys holds for every key of both tables.
func TestRecordedKeys(t *testing.T) {
	escaped := 0
	for _, table := range recorded(t).tables {
		if table.kind() == "Partitions" {
			continue
		}
		for _, line := range table.lines {
			r := decodeLine(t, line)
			id := schema.InstanceID(r.PartitionKey)
			if got := schema.EscapeKey(id); got != r.PartitionKey {
				t.Errorf("EscapeKey(%q) = %q, want %q", id, got, r.PartitionKey)
			}
			if id != r.PartitionKey {
				escaped++
			}
		}
	}
	if escaped == 0 {
		t.Error("no key with escapes was recorded")
	}
}

// What the framework's own history API said of each event is what
// AppendEventJSON makes of its row, as far as that can be said without blobs.
func TestRecordedHistoryAnswers(t *testing.T) {
	files, err := filepath.Glob("../testdata/recorded/dtfx-2.9.1/state.json*")
	if err != nil || len(files) != 1 {
		t.Fatalf("state.json of dtfx-2.9.1: %v, %v", files, err)
	}
	text, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(files[0], ".zst") {
		if text, err = unzstd(text); err != nil {
			t.Fatal(err)
		}
	}
	var state []struct {
		InstanceID string `json:"instanceId"`
		History    []any  `json:"history"`
	}
	if err := json.Unmarshal(text, &state); err != nil {
		t.Fatal(err)
	}
	partitions := make(map[string][]schema.Row)
	blobs := make(map[string]string)
	for _, table := range recorded(t).tables {
		if table.hub == "dtfx-2.9.1" && table.kind() == "History" {
			for _, line := range table.lines {
				r := decodeLine(t, line)
				id := schema.InstanceID(r.PartitionKey)
				partitions[id] = append(partitions[id], r)
			}
		}
	}
	for _, b := range recorded(t).blobs {
		if b.hub == "dtfx-2.9.1" && strings.HasSuffix(b.container, "-largemessages") {
			blobs[b.name] = gunzip(t, b.content)
		}
	}
	events := 0
	for _, s := range state {
		live := schema.LiveHistory(partitions[s.InstanceID], "")
		if len(live) != len(s.History) {
			t.Errorf("%s: %d live rows, want %d", s.InstanceID, len(live), len(s.History))
			continue
		}
		for i := range live {
			h, err := schema.DecodeHistoryRow(&live[i])
			if err != nil {
				t.Fatal(err)
			}
			err = schema.LoadTexts(h.Event, func(member string, p *schema.Text) error {
				content, ok := blobs[p.Blob]
				if !ok {
					return errors.New("no blob for " + member)
				}
				p.Load(content)
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			var got any
			if err := json.Unmarshal(schema.AppendEventJSON(nil, h.Event, false), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(s.History[i], got); diff != "" {
				t.Errorf("%s event %d (-framework +ours):\n%s", s.InstanceID, i, diff)
			}
			events++
		}
	}
	if events == 0 {
		t.Error("no answer of the history API was recorded")
	}
}
