package testhub

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
)

// Recording is one hub under testdata that was recorded from the framework.
type Recording struct {
	// Name is that of testdata/hubs/NAME.taskhub and testdata/recorded/NAME.
	Name string
	// Dump is the folder that it was converted from.
	Dump  string
	Names hub.Names
}

// Recordings lists all of them; testdata/README.md says what they hold.
var Recordings = []Recording{
	{"dtfx-1.17.5", "dtfx-1.17.5", hub.Names{TaskHub: "OldHub"}},
	{"dtfx-2.9.1", "dtfx-2.9.1", hub.Names{TaskHub: "LabHub"}},
	{"dtfx-2.9.1-backlog", "dtfx-2.9.1-backlog", hub.Names{TaskHub: "Backlog"}},
	{"dtfx-2.9.1-blob-leases", "dtfx-2.9.1-blob-leases", hub.Names{TaskHub: "blobLeases7"}},
	{"dtfx-2.9.1-bulk", "dtfx-2.9.1-bulk", hub.Names{TaskHub: "BulkHub"}},
	{"dtfx-2.9.1-crashed", "dtfx-2.9.1-crashed", hub.Names{TaskHub: "CrashHub"}},
	{"dtfx-2.9.1-live", "dtfx-2.9.1-live", hub.Names{TaskHub: "LiveHub"}},
	{"dtfx-2.9.1-live-blob-leases", "dtfx-2.9.1-live-blob-leases", hub.Names{TaskHub: "LiveBlob"}},
	{"dtfx-2.9.1-live-legacy-leases", "dtfx-2.9.1-live-legacy-leases", hub.Names{TaskHub: "LiveOld"}},
	{"dtfx-2.9.1-odd", "dtfx-2.9.1-odd", hub.Names{TaskHub: "OddHub"}},
	{"dtfx-2.9.1-poisoned", "dtfx-2.9.1-poisoned", hub.Names{TaskHub: "PoisonHub"}},
	{"dtfx-2.9.1-purge-damaged", "dtfx-2.9.1-purge-damaged", hub.Names{TaskHub: "LabHub"}},
	{"dtfx-2.9.1-torn", "dtfx-2.9.1-torn", hub.Names{TaskHub: "TornHub"}},
	{"functions-3", "functions-3", hub.Names{TaskHub: "FuncLab"}},
	{"functions-3-after-js", "functions-3/after-js", hub.Names{TaskHub: "FuncLab"}},
	{"functions-3-after-write", "functions-3/after-write", hub.Names{TaskHub: "FuncLab"}},
	{"functions-3-after-write-Nowhere", "functions-3/after-write", hub.Names{TaskHub: "Nowhere"}},
	{"shared-tracking-TrackA", "dtfx-2.9.1-shared-tracking", hub.Names{TaskHub: "TrackA", TrackingPrefix: "SharedStore"}},
	{"shared-tracking-TrackB", "dtfx-2.9.1-shared-tracking", hub.Names{TaskHub: "TrackB", TrackingPrefix: "SharedStore"}},
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
// framework itself said of each instance, or queues-all/QUEUE.jsonl, all
// messages of a queue. It returns nil for one that does not exist: not every
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
