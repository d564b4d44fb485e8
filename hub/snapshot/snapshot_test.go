package snapshot_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// open opens a capture until t ends.
func open(t testing.TB, path string, opts snapshot.Options) *snapshot.Reader {
	t.Helper()
	r, err := snapshot.Open(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, r)
	return r
}

func closeLater(t testing.TB, r *snapshot.Reader) {
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
}

// write captures a hub by the calls that Capture makes, but also one that does
// not exist.
func write(t testing.TB, path string, opts snapshot.WriterOptions, c hubtest.Content) {
	t.Helper()
	m := testhub.NewMemory(c)
	if _, err := m.Info(t.Context()); err == nil {
		if err := snapshot.Capture(t.Context(), path, m, snapshot.CaptureOptions{WriterOptions: opts}); err != nil {
			t.Fatal(err)
		}
		return
	}
	w, err := snapshot.Create(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(hub.Info{Names: c.Names}); err != nil {
		t.Fatal(err)
	}
}

func TestReader(t *testing.T) {
	forms := map[string]func(t testing.TB, c hubtest.Content) hub.Reader{
		"file": func(t testing.TB, c hubtest.Content) hub.Reader {
			path := filepath.Join(t.TempDir(), "hub.taskhub")
			write(t, path, snapshot.WriterOptions{}, c)
			return open(t, path, snapshot.Options{})
		},
		"folder": func(t testing.TB, c hubtest.Content) hub.Reader {
			path := filepath.Join(t.TempDir(), "hub")
			write(t, path, snapshot.WriterOptions{Folder: true}, c)
			return open(t, path, snapshot.Options{})
		},
		"fs.FS": func(t testing.TB, c hubtest.Content) hub.Reader {
			path := filepath.Join(t.TempDir(), "hub")
			write(t, path, snapshot.WriterOptions{Folder: true}, c)
			r, err := snapshot.New(mapFS(t, path), snapshot.Options{})
			if err != nil {
				t.Fatal(err)
			}
			closeLater(t, r)
			return r
		},
		"salvaged file": func(t testing.TB, c hubtest.Content) hub.Reader {
			path := filepath.Join(t.TempDir(), "hub.taskhub")
			write(t, path, snapshot.WriterOptions{}, c)
			r := open(t, path, snapshot.Options{Salvage: true})
			t.Cleanup(func() {
				if d := r.Damage(); len(d) > 0 {
					t.Errorf("damage in a whole capture: %v", d)
				}
			})
			return r
		},
		"folder without indexes": func(t testing.TB, c hubtest.Content) hub.Reader {
			path := filepath.Join(t.TempDir(), "hub")
			write(t, path, snapshot.WriterOptions{Folder: true}, c)
			if indexes, _ := filepath.Glob(filepath.Join(path, "tables", "*.idx")); len(indexes) > 0 {
				for _, name := range indexes {
					if err := os.Remove(name); err != nil {
						t.Fatal(err)
					}
				}
			}
			return open(t, path, snapshot.Options{Salvage: true})
		},
	}
	for name, form := range forms {
		t.Run(name, func(t *testing.T) { hubtest.Run(t, hubtest.Options{}, form) })
	}
}

// mapFS loads a folder.
func mapFS(t testing.TB, dir string) fstest.MapFS {
	t.Helper()
	m := fstest.MapFS{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		m[name] = &fstest.MapFile{Data: data, Mode: 0o444}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// load reads everything from r.
func load(t testing.TB, r hub.Reader) hubtest.Content {
	t.Helper()
	c, err := read(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// read reads everything from r until the first error.
func read(ctx context.Context, r hub.Reader) (c hubtest.Content, err error) {
	info, err := r.Info(ctx)
	if err != nil {
		return c, err
	}
	c = hubtest.Content{
		Names: info.Names, Account: info.Account, PartitionCount: info.PartitionCount,
		PartitionCountFrom: info.PartitionCountFrom, Tables: make(map[hub.Table][]schema.Row), Unreadable: info.Unreadable,
	}
	for _, table := range info.Tables {
		c.Tables[table.Table] = nil
		for row, err := range r.Rows(ctx, table.Table, hub.Keys{}) {
			if err != nil {
				return c, err
			}
			c.Tables[table.Table] = append(c.Tables[table.Table], row)
		}
	}
	queues, err := r.Queues(ctx)
	if err != nil {
		return c, err
	}
	for _, q := range queues {
		queue := hubtest.Queue{Name: q.Name, ApproximateCount: q.ApproximateCount}
		for m, err := range r.Messages(ctx, q.Name) {
			if err != nil {
				return c, err
			}
			queue.Messages = append(queue.Messages, m)
		}
		c.Queues = append(c.Queues, queue)
	}
	if c.Containers, err = r.Containers(ctx); err != nil {
		return c, err
	}
	for _, container := range c.Containers {
		for b, err := range r.Blobs(ctx, container.Name, "") {
			if err != nil {
				return c, err
			}
			data, err := r.ReadBlob(ctx, b.Container, b.Name, b.SizeBytes)
			if err != nil {
				return c, err
			}
			c.Blobs = append(c.Blobs, hubtest.Blob{Blob: b, Data: data})
		}
	}
	return c, nil
}

func TestRecordings(t *testing.T) {
	if len(testhub.Recordings) == 0 {
		t.Fatal("no recordings")
	}
	for _, rec := range testhub.Recordings {
		t.Run(rec.Name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			recorded := testhub.HubFile(t, rec.Name)
			first := open(t, recorded, snapshot.Options{})
			content := load(t, first)
			if len(content.Tables[hub.History])+len(content.Tables[hub.Partitions]) == 0 && rec.Names.TaskHub != "Backlog" {
				t.Fatal("the capture is empty")
			}
			checkAll(t, first)

			// Through memory: everything that a capture says of a hub is in what
			// a Reader tells.
			copied := filepath.Join(dir, "copy.taskhub")
			info, err := first.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			m := testhub.NewMemory(content)
			m.Started, m.Finished = info.Started, info.Finished
			capture(t, copied, m, false)
			sameFile(t, recorded, copied)
			hubtest.Compare(t, hubtest.Options{}, content, open(t, copied, snapshot.Options{}))

			// To a folder and back.
			folder, back := filepath.Join(dir, "folder"), filepath.Join(dir, "back.taskhub")
			capture(t, folder, first, true)
			fromFolder := open(t, folder, snapshot.Options{})
			checkAll(t, fromFolder)
			hubtest.Compare(t, hubtest.Options{}, content, fromFolder)
			capture(t, back, fromFolder, false)
			sameFile(t, recorded, back)
		})
	}
}

func capture(t testing.TB, path string, from hub.Reader, folder bool) {
	t.Helper()
	opts := snapshot.CaptureOptions{WriterOptions: testhub.CaptureTool}
	opts.Folder = folder
	if err := snapshot.Capture(t.Context(), path, from, opts); err != nil {
		t.Fatal(err)
	}
}

func sameFile(t testing.TB, want, got string) {
	t.Helper()
	a, err := os.ReadFile(want)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(got)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("%s and %s differ", filepath.Base(want), filepath.Base(got))
	}
}

func checkAll(t testing.TB, r *snapshot.Reader) {
	t.Helper()
	n := 0
	for c, err := range r.Check(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if c.Damage != nil {
			t.Errorf("Check: %v", c.Damage)
		}
		n++
	}
	if n == 0 {
		t.Error("Check looks at no file")
	}
}

// TestSameBytes writes one hub with different numbers of processors.
func TestSameBytes(t *testing.T) {
	dir := t.TempDir()
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	for i, procs := range []int{1, 2, 7} {
		runtime.GOMAXPROCS(procs)
		path := filepath.Join(dir, fmt.Sprint(i))
		if err := testhub.Generate(path, 5000); err != nil {
			t.Fatal(err)
		}
		sameFile(t, filepath.Join(dir, "0"), path)
	}
}

func row(partition, row string, props ...schema.Property) *schema.Row {
	return &schema.Row{PartitionKey: partition, RowKey: row, Properties: props}
}

func TestWriterRefuses(t *testing.T) {
	text := func(name string) schema.Property { return schema.Property{Name: name, Value: schema.String("x")} }
	tests := []struct {
		name string
		do   func(w *snapshot.Writer) error
		want string
	}{
		{"rows out of order", rows(row("b", ""), row("a", "")), `row "a"/"": not after "b"/""`},
		{"a row twice", rows(row("b", "1"), row("b", "1")), `not after "b"/"1"`},
		{"bytes in place of UTF-16 order", rows(row("\uE000", ""), row("😀", "")), "not after"},
		{"a property twice", rows(row("a", "", text("x"), text("x"))), `"x" is there twice`},
		{"an absent property", rows(row("a", "", schema.Property{Name: "x"})), `"x" is absent`},
		{"a property that hides a key", rows(row("a", "", text("RowKey"))), "reserved name"},
		{"a property that looks like a type", rows(row("a", "", text("x@odata.type"))), "reserved name"},
		{"text that is not UTF-8", rows(row("a", "", schema.Property{Name: "x", Value: schema.String("\xFF")})), "UTF-8"},
		{"a table name with a path", func(w *snapshot.Writer) error { _, err := w.Table(hub.History, "../x"); return err }, "../x"},
		{"a table name for Windows", func(w *snapshot.Writer) error { _, err := w.Table(hub.History, `c:\x`); return err }, "unsafe"},
		{"an unknown table", func(w *snapshot.Writer) error { _, err := w.Table(9, "x"); return err }, "unknown kind"},
		{"a table twice", func(w *snapshot.Writer) error {
			if err := rows(row("a", ""))(w); err != nil {
				return err
			}
			return rows(row("a", ""))(w)
		}, "twice"},
		{"two tables at once", func(w *snapshot.Writer) error {
			if _, err := w.Table(hub.History, "XHistory"); err != nil {
				return err
			}
			_, err := w.Table(hub.Instances, "XInstances")
			return err
		}, "table XHistory is open"},
		{"a queue twice", func(w *snapshot.Writer) error {
			none := func(func(schema.QueueMessage, error) bool) {}
			return errors.Join(w.Queue(hub.Queue{Name: "q"}, none), w.Queue(hub.Queue{Name: "q"}, none))
		}, "twice"},
		{"a message that is not UTF-8", func(w *snapshot.Writer) error {
			return w.Queue(hub.Queue{Name: "q"}, func(yield func(schema.QueueMessage, error) bool) {
				yield(schema.QueueMessage{Text: "\xFF"}, nil)
			})
		}, "UTF-8"},
		{"a stream of messages that fails", func(w *snapshot.Writer) error {
			return w.Queue(hub.Queue{Name: "q"}, func(yield func(schema.QueueMessage, error) bool) {
				yield(schema.QueueMessage{}, errors.New("service down"))
			})
		}, "service down"},
		{"blobs out of order", func(w *snapshot.Writer) error {
			return errors.Join(w.Blob(hub.Blob{Container: "c", Name: "b"}, nil), w.Blob(hub.Blob{Container: "c", Name: "a"}, nil))
		}, "not after c/b"},
		{"a blob of another size", func(w *snapshot.Writer) error {
			return w.Blob(hub.Blob{Container: "c", Name: "b", SizeBytes: 2}, []byte("x"))
		}, "1 bytes of a blob of 2"},
		{"a blob name that is not UTF-8", func(w *snapshot.Writer) error {
			return w.Blob(hub.Blob{Container: "c", Name: "\xFF"}, nil)
		}, "UTF-8"},
	}
	for _, test := range tests {
		for _, folder := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/folder=%v", test.name, folder), func(t *testing.T) {
				dir := t.TempDir()
				w, err := snapshot.Create(filepath.Join(dir, "x.taskhub"), snapshot.WriterOptions{Folder: folder})
				if err != nil {
					t.Fatal(err)
				}
				err = test.do(w)
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want an error with %q", err, test.want)
				}
				if err := w.Close(hub.Info{Names: hub.Names{TaskHub: "X"}}); err == nil {
					t.Error("Close succeeds after the failure")
				}
				w.Abort()
				mustBeEmpty(t, dir)
			})
		}
	}
}

// rows writes a whole table.
func rows(rows ...*schema.Row) func(w *snapshot.Writer) error {
	return func(w *snapshot.Writer) error {
		tw, err := w.Table(hub.History, "XHistory")
		if err != nil {
			return err
		}
		for _, r := range rows {
			if err := tw.Append(r); err != nil {
				return err
			}
		}
		return tw.Close(0, 0)
	}
}

func mustBeEmpty(t testing.TB, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range left {
		t.Errorf("%s is left behind", f.Name())
	}
}

func TestCreateRefusesToOverwrite(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.taskhub")
	if err := os.WriteFile(path, []byte("precious"), 0o666); err != nil {
		t.Fatal(err)
	}
	if _, err := snapshot.Create(path, snapshot.WriterOptions{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create = %v, want fs.ErrExist", err)
	}
	// It may also appear while the capture is being written.
	path = filepath.Join(dir, "y.taskhub")
	w, err := snapshot.Create(path, snapshot.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("precious"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(hub.Info{}); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Close = %v, want fs.ErrExist", err)
	}
	for _, name := range []string{"x.taskhub", "y.taskhub"} {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(data) != "precious" {
			t.Errorf("%s holds %q, %v", name, data, err)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 2 {
		t.Errorf("%d files, want 2", len(left))
	}
}

// TestPartialIsReplaced shows that an interrupted run does not stop the next,
// and that two runs at once do not mix their files.
func TestPartialIsReplaced(t *testing.T) {
	for _, folder := range []bool{false, true} {
		path := filepath.Join(t.TempDir(), "x")
		first, err := snapshot.Create(path, snapshot.WriterOptions{Folder: folder})
		if err != nil {
			t.Fatal(err)
		}
		if err := rows(row("first", ""))(first); err != nil {
			t.Fatal(err)
		}
		second, err := snapshot.Create(path, snapshot.WriterOptions{Folder: folder})
		if err != nil {
			t.Fatal(err)
		}
		if err := rows(row("second", ""))(second); err != nil {
			t.Fatal(err)
		}
		if err := second.Close(hub.Info{Names: hub.Names{TaskHub: "X"}}); err != nil {
			t.Fatal(err)
		}
		if err := first.Close(hub.Info{Names: hub.Names{TaskHub: "X"}}); err == nil {
			t.Error("the first run succeeds although another took its place")
		}
		r := open(t, path, snapshot.Options{})
		checkAll(t, r)
		if got := load(t, r).Tables[hub.History]; len(got) != 1 || got[0].PartitionKey != "second" {
			t.Errorf("the capture holds %v", got)
		}
	}
}

// failing is a Reader whose stream of rows breaks off.
type failing struct {
	hub.Reader
	err error
}

func (f failing) Rows(ctx context.Context, t hub.Table, k hub.Keys) iter.Seq2[schema.Row, error] {
	return func(yield func(schema.Row, error) bool) {
		n := 0
		for row, err := range f.Reader.Rows(ctx, t, k) {
			if n++; n == 3 {
				yield(schema.Row{}, f.err)
				return
			}
			if !yield(row, err) {
				return
			}
		}
	}
}

func TestCaptureFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.taskhub")
	cause := errors.New("connection reset")
	err := snapshot.Capture(t.Context(), path, failing{testhub.OpenHub(t, "dtfx-2.9.1"), cause}, snapshot.CaptureOptions{})
	if !errors.Is(err, cause) {
		t.Errorf("Capture = %v, want %v", err, cause)
	}
	nobody := testhub.NewMemory(hubtest.Content{Names: hub.Names{TaskHub: "Nobody"}})
	if err := snapshot.Capture(t.Context(), path, nobody, snapshot.CaptureOptions{}); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("Capture of a hub that does not exist = %v, want hub.ErrNotFound", err)
	}
	mustBeEmpty(t, dir)
}

// vanishing lists blobs that can no longer be read.
type vanishing struct{ hub.Reader }

func (vanishing) ReadBlob(context.Context, string, string, int64) ([]byte, error) {
	return nil, fmt.Errorf("read blob: %w", hub.ErrNotFound)
}

func TestCaptureNotesUnreadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.taskhub")
	m := testhub.NewMemory(load(t, testhub.OpenHub(t, "dtfx-2.9.1-live")))
	times := 0
	now := func() time.Time { times++; return time.Date(2026, 11, 22, 6, 0, times, 0, time.UTC) }
	if err := snapshot.Capture(t.Context(), path, vanishing{m}, snapshot.CaptureOptions{Now: now}); err != nil {
		t.Fatal(err)
	}
	info, err := open(t, path, snapshot.Options{}).Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(info.Unreadable) != len(m.Content.Blobs) || !strings.HasPrefix(info.Unreadable[0].Artifact, "blob livehub-applease/") {
		t.Errorf("Unreadable = %v", info.Unreadable)
	}
	if info.Started >= info.Tables[0].Started || info.Tables[0].Finished >= info.Finished || info.Started == 0 {
		t.Errorf("the times of the tables are not within those of the capture: %v", info)
	}
}

func TestCheckFindsDamage(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hub")
	capture(t, dir, testhub.OpenHub(t, "dtfx-2.9.1"), true)
	var names []string
	for name := range mapFS(t, dir) {
		names = append(names, name)
	}
	for _, name := range names {
		if name == "manifest.json" || strings.HasSuffix(name, ".idx") || name == "blobs/index.ndjson" {
			continue // these are read to know what to check
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bad := append(bytes.Clone(good), "x"...)
		if len(good) > 0 {
			bad = bytes.Clone(good)
			bad[len(bad)/2] ^= 1
		}
		if err := os.WriteFile(path, bad, 0o666); err != nil {
			t.Fatal(err)
		}
		r, err := snapshot.Open(dir, snapshot.Options{})
		if err != nil {
			t.Fatal(err)
		}
		var found []string
		for c, err := range r.Check(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if c.Damage != nil {
				found = append(found, c.Name)
			}
		}
		if d := cmp.Diff([]string{name}, found); d != "" {
			t.Errorf("damage in %s: Check finds (-want +got)\n%s", name, d)
		}
		if err := errors.Join(r.Close(), os.WriteFile(path, good, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
}

// TestManifest shows the parts of the format that others rely on.
func TestManifest(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "hub")
	capture(t, dir, testhub.OpenHub(t, "shared-tracking-TrackA"), true)
	text, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"format": "taskhub capture"`, `"format_version": 1`, `"task_hub": "TrackA"`, `"tracking_prefix": "SharedStore"`,
		`"partition_count": 2`, `"partition_count_from": "partitions-table"`, `"name": "SharedStoreHistory"`,
		`"name": "tables/TrackAPartitions.ndjson.zst"`,
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("manifest.json lacks %s", want)
		}
	}
	for name, file := range mapFS(t, dir) {
		sum := sha256.Sum256(file.Data)
		switch hash := hex.EncodeToString(sum[:]); {
		case name == "manifest.json":
		case strings.HasPrefix(name, "blobs/data/"):
			if name != "blobs/data/"+hash {
				t.Errorf("%s has the SHA-256 %s", name, hash)
			}
		case !strings.Contains(string(text), hash):
			t.Errorf("manifest.json lacks the SHA-256 of %s", name)
		}
	}
}

func Example() {
	ctx := context.Background()
	r, err := snapshot.Open(filepath.Join("..", "..", "testdata", "hubs", "dtfx-2.9.1.taskhub"), snapshot.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = r.Close() }()
	for row, err := range r.Rows(ctx, hub.History, hub.Partition("approval")) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(row.RowKey, row.Get("EventType"))
	}
	// Output:
	// 0000000000000000 OrchestratorStarted
	// 0000000000000001 ExecutionStarted
	// 0000000000000002 TaskScheduled
	// 0000000000000003 OrchestratorCompleted
	// 0000000000000004 OrchestratorStarted
	// 0000000000000005 TaskCompleted
	// 0000000000000006 TimerCreated
	// 0000000000000007 OrchestratorCompleted
	// sentinel absent
}
