package testhub

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/schema"
)

// Recording is one hub under testdata that was recorded from the framework.
type Recording struct {
	// Name is that of testdata/hubs/NAME.taskhub and testdata/recorded/NAME.
	Name string
	// Dump is the folder that it was converted from.
	Dump  string
	Names hub.Names
	// Uncounted is true if there were invisible messages that were not recorded,
	// so that nobody knows how many.
	Uncounted bool
}

// Recordings lists all of them; testdata/README.md says what they hold.
var Recordings = []Recording{
	{Name: "dtfx-1.17.5", Dump: "dtfx-1.17.5", Names: hub.Names{TaskHub: "OldHub"}},
	{Name: "dtfx-2.9.1", Dump: "dtfx-2.9.1", Names: hub.Names{TaskHub: "LabHub"}},
	{Name: "dtfx-2.9.1-backlog", Dump: "dtfx-2.9.1-backlog", Names: hub.Names{TaskHub: "Backlog"}},
	{Name: "dtfx-2.9.1-blob-leases", Dump: "dtfx-2.9.1-blob-leases", Names: hub.Names{TaskHub: "blobLeases7"}},
	{Name: "dtfx-2.9.1-bulk", Dump: "dtfx-2.9.1-bulk", Names: hub.Names{TaskHub: "BulkHub"}},
	{Name: "dtfx-2.9.1-crashed", Dump: "dtfx-2.9.1-crashed", Names: hub.Names{TaskHub: "CrashHub"}},
	{Name: "dtfx-2.9.1-live", Dump: "dtfx-2.9.1-live", Names: hub.Names{TaskHub: "LiveHub"}},
	{Name: "dtfx-2.9.1-live-blob-leases", Dump: "dtfx-2.9.1-live-blob-leases", Names: hub.Names{TaskHub: "LiveBlob"}},
	{Name: "dtfx-2.9.1-live-legacy-leases", Dump: "dtfx-2.9.1-live-legacy-leases", Names: hub.Names{TaskHub: "LiveOld"}},
	{Name: "dtfx-2.9.1-odd", Dump: "dtfx-2.9.1-odd", Names: hub.Names{TaskHub: "OddHub"}},
	{Name: "dtfx-2.9.1-poisoned", Dump: "dtfx-2.9.1-poisoned", Names: hub.Names{TaskHub: "PoisonHub"}},
	{Name: "dtfx-2.9.1-purge-damaged", Dump: "dtfx-2.9.1-purge-damaged", Names: hub.Names{TaskHub: "LabHub"}, Uncounted: true},
	{Name: "dtfx-2.9.1-torn", Dump: "dtfx-2.9.1-torn", Names: hub.Names{TaskHub: "TornHub"}},
	{Name: "functions-3", Dump: "functions-3", Names: hub.Names{TaskHub: "FuncLab"}},
	{Name: "functions-3-after-js", Dump: "functions-3/after-js", Names: hub.Names{TaskHub: "FuncLab"}},
	{Name: "functions-3-after-write", Dump: "functions-3/after-write", Names: hub.Names{TaskHub: "FuncLab"}},
	{Name: "functions-3-after-write-Nowhere", Dump: "functions-3/after-write", Names: hub.Names{TaskHub: "Nowhere"}},
	{Name: "shared-tracking-TrackA", Dump: "dtfx-2.9.1-shared-tracking", Names: hub.Names{TaskHub: "TrackA", TrackingPrefix: "SharedStore"}},
	{Name: "shared-tracking-TrackB", Dump: "dtfx-2.9.1-shared-tracking", Names: hub.Names{TaskHub: "TrackB", TrackingPrefix: "SharedStore"}},
}

// CaptureTool is how the captures under testdata were written.
var CaptureTool = snapshot.WriterOptions{Tool: "taskhub internal/testhub/convert"}

// Testdata returns the path of a file under testdata of this module.
func Testdata(t testing.TB, name ...string) string {
	t.Helper()
	_, file, _, ok := runtime.Caller(0)
	if !ok {
		t.Fatal("where is this file?")
	}
	return filepath.Join(append([]string{filepath.Dir(file), "..", "..", "testdata"}, name...)...)
}

// HubFile returns the path of the capture of a recording.
func HubFile(t testing.TB, name string) string {
	t.Helper()
	return Testdata(t, "hubs", name+".taskhub")
}

// OpenHub opens the capture of a recording until t ends.
func OpenHub(t testing.TB, name string) *snapshot.Reader {
	t.Helper()
	r, err := snapshot.Open(HubFile(t, name), snapshot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

// Recorded returns a file under testdata/recorded/NAME: state.json, what the
// framework itself said of each instance, queues-all/QUEUE.jsonl, all messages of
// a queue, or recorded calls. It returns nil for one that does not exist: not every
// recording has a state, and an empty queue has no file. Files that are kept
// with zstd are unpacked.
func Recorded(t testing.TB, name, file string) []byte {
	t.Helper()
	path := Testdata(t, "recorded", name, filepath.FromSlash(file))
	data, err := os.ReadFile(path)
	if err == nil {
		return data
	}
	packed, err := os.ReadFile(path + ".zst")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if data, err = z.DecodeAll(packed, nil); err != nil {
		t.Fatalf("%s.zst: %v", path, err)
	}
	return data
}

// RecordedMessages returns all messages of a queue of a recording, invisible ones
// included, in the order of insertion. It is nil for a queue that was empty or
// not recorded.
func RecordedMessages(t testing.TB, name, queue string) []schema.QueueMessage {
	t.Helper()
	var all []schema.QueueMessage
	for line := range bytes.Lines(Recorded(t, name, "queues-all/"+queue+".jsonl")) {
		var m struct {
			MessageID, Text string
			InsertionTime   time.Time
			TimeNextVisible int64 // Unix milliseconds
			DequeueCount    int64
		}
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		all = append(all, schema.QueueMessage{
			Queue: queue, ID: m.MessageID, Text: m.Text, DequeueCount: m.DequeueCount,
			InsertedAt: schema.TicksOf(m.InsertionTime), VisibleAt: schema.TicksOf(time.UnixMilli(m.TimeNextVisible)),
		})
	}
	return all
}

// LoadedMessage is a message of a recording, with the one that a wrapper stands for.
type LoadedMessage struct {
	Stored schema.QueueMessage
	Loaded hub.LoadedMessage
	Hidden bool // a peek did not show it
}

// LoadRecordedMessages returns all messages of a recording, invisible ones included, by
// queue and in the order of insertion; nil if it has none. r is its hub.
func LoadRecordedMessages(t testing.TB, r hub.Reader, recording string) []LoadedMessage {
	t.Helper()
	info, err := r.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	queues, err := r.Queues(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []LoadedMessage
	for _, q := range queues {
		peeked := make(map[string]bool)
		for m, err := range r.Messages(t.Context(), q.Name) {
			if err != nil {
				t.Fatal(err)
			}
			peeked[m.ID] = true
		}
		for _, stored := range RecordedMessages(t, recording, q.Name) {
			loaded, err := hub.LoadMessage(t.Context(), r, info.Names.LargeMessages(), &stored, 0)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, LoadedMessage{stored, loaded, !peeked[stored.ID]})
		}
	}
	return all
}
