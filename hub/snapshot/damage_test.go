package snapshot_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// small is a hub whose capture has few bytes and yet three frames in a table.
func small() hubtest.Content {
	names := hub.Names{TaskHub: "SmallHub"}
	c := hubtest.Content{
		Names: names, Account: "small", PartitionCount: 1, PartitionCountFrom: hub.FromControlQueues,
		Tables: map[hub.Table][]schema.Row{hub.Instances: {*row("order-1", "", schema.Property{Name: "Name", Value: schema.String("Order")})}},
		Queues: []hubtest.Queue{
			{Name: names.ControlQueue(0), ApproximateCount: 3, Messages: []schema.QueueMessage{
				{Queue: names.ControlQueue(0), ID: "1", Text: "one"}, {Queue: names.ControlQueue(0), ID: "2", Text: "two"},
			}},
			{Name: names.WorkItemQueue()},
		},
		Containers: []hub.Container{{Name: names.LargeMessages()}},
	}
	for i := range 12 {
		c.Tables[hub.History] = append(c.Tables[hub.History], *row(fmt.Sprintf("order-%02d", i/2), schema.FormatSequence(int64(i%2)),
			schema.Property{Name: "Input", Value: schema.String(strings.Repeat(fmt.Sprint(i), 48<<10))}))
	}
	for i := range 3 {
		data := []byte(fmt.Sprint("blob ", i/2))
		c.Blobs = append(c.Blobs, hubtest.Blob{Data: data, Blob: hub.Blob{
			Container: names.LargeMessages(), Name: fmt.Sprint(i), SizeBytes: int64(len(data)), LastModified: 1,
		}})
	}
	return c
}

// items spells out every row, message and blob of a hub, and the hub itself.
func items(c hubtest.Content) []string {
	all := []string{fmt.Sprint(c.Names, c.Account, c.PartitionCount, c.PartitionCountFrom, c.Containers)}
	for _, table := range hub.Tables {
		for i := range c.Tables[table] {
			all = append(all, fmt.Sprint(table, string(c.Tables[table][i].AppendJSON(nil))))
		}
	}
	for _, q := range c.Queues {
		all = append(all, fmt.Sprint(q.Name, q.ApproximateCount))
		for _, m := range q.Messages {
			all = append(all, fmt.Sprint(m))
		}
	}
	for _, b := range c.Blobs {
		all = append(all, fmt.Sprint(b.Container, b.Name, b.LastModified, string(b.Data)))
	}
	return all
}

// pieces is items without what a salvaged capture cannot know.
func pieces(c hubtest.Content) []string {
	c.Account, c.PartitionCount, c.PartitionCountFrom, c.Containers = "", 0, "", nil
	for i := range c.Queues {
		c.Queues[i].ApproximateCount = 0
	}
	return items(c)
}

// readSalvaged reads what can be read, going on after each error.
func readSalvaged(ctx context.Context, r *snapshot.Reader) (c hubtest.Content, errs []error) {
	info, err := r.Info(ctx)
	if err != nil {
		return c, []error{err}
	}
	c.Names, c.Tables = info.Names, make(map[hub.Table][]schema.Row)
	for _, table := range hub.Tables {
		for row, err := range r.Rows(ctx, table, hub.Keys{}) {
			if err != nil {
				errs = append(errs, err)
				continue
			}
			c.Tables[table] = append(c.Tables[table], row)
		}
	}
	queues, err := r.Queues(ctx)
	errs = append(errs, err)
	for _, q := range queues {
		queue := hubtest.Queue{Name: q.Name}
		for m, err := range r.Messages(ctx, q.Name) {
			if err != nil {
				errs = append(errs, err)
				continue
			}
			queue.Messages = append(queue.Messages, m)
		}
		c.Queues = append(c.Queues, queue)
	}
	containers, err := r.Containers(ctx)
	errs = append(errs, err)
	for _, container := range containers {
		for b, err := range r.Blobs(ctx, container.Name, "") {
			if err != nil {
				errs = append(errs, err)
				continue
			}
			data, err := r.ReadBlob(ctx, b.Container, b.Name, 1<<20)
			if err != nil {
				errs = append(errs, err)
				continue
			}
			c.Blobs = append(c.Blobs, hubtest.Blob{Blob: b, Data: data})
		}
	}
	return c, slices.DeleteFunc(errs, func(err error) bool { return err == nil })
}

// smallFile returns the capture of small as a file.
func smallFile(t testing.TB) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "small.taskhub")
	write(t, path, snapshot.WriterOptions{}, small())
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// checkDamaged reads a damaged capture in both ways. It must give the hub as it
// was or an error that says where, and salvaged no row, message or blob that
// was not written.
func checkDamaged(t *testing.T, what string, open func(snapshot.Options) (*snapshot.Reader, error)) {
	t.Helper()
	ctx := t.Context()
	r, err := open(snapshot.Options{})
	if err == nil {
		var got hubtest.Content
		got, err = read(ctx, r)
		if want := items(small()); err == nil && !slices.Equal(items(got), want) {
			t.Errorf("%s: reads something else without an error", what)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	var damage *snapshot.DamageError
	if err != nil && !errors.As(err, &damage) {
		t.Errorf("%s: %v is no *DamageError", what, err)
	}
	damaged := err != nil

	r, err = open(snapshot.Options{Salvage: true})
	if err != nil {
		if !damaged {
			t.Errorf("%s: can be read, but not salvaged: %v", what, err)
		}
		return
	}
	got, errs := readSalvaged(ctx, r)
	want := make(map[string]bool)
	for _, item := range pieces(small()) {
		want[item] = true
	}
	missing := len(want)
	for i, item := range pieces(got) {
		if want[item] {
			missing--
		} else if i > 0 && !isQueue(item) && !fromDamagedLines(item, r.Damage()) { // the first is the hub's name, which may be guessed
			t.Errorf("%s: salvaging makes up %.100q", what, item)
		}
	}
	if missing > 0 && len(r.Damage()) == 0 && len(errs) == 0 {
		t.Errorf("%s: salvaging loses %d items without a word", what, missing)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func isQueue(item string) bool {
	return strings.HasPrefix(item, "smallhub-") && strings.HasSuffix(item, "0")
}

// fromDamagedLines reports whether item is a message or blob from a file that is
// known to be damaged: their lines have no checksums of their own.
func fromDamagedLines(item string, damage []snapshot.DamageError) bool {
	return slices.ContainsFunc(damage, func(d snapshot.DamageError) bool {
		return strings.HasPrefix(item, "{smallhub-") && strings.HasPrefix(d.File, "queues/") ||
			strings.HasPrefix(item, "smallhub-largemessages") && d.File == "blobs/index.ndjson"
	})
}

// openBytes opens a capture that is a file with this content.
func openBytes(t *testing.T, path string, data []byte) func(snapshot.Options) (*snapshot.Reader, error) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	return func(opts snapshot.Options) (*snapshot.Reader, error) { return snapshot.Open(path, opts) }
}

// step is how many bytes lie between the places that are damaged.
func step() int {
	if testing.Short() {
		return 97
	}
	return 19
}

func TestTruncated(t *testing.T) {
	t.Parallel()
	data := smallFile(t)
	path := filepath.Join(t.TempDir(), "x")
	for n := 0; n < len(data); n += step() {
		checkDamaged(t, fmt.Sprintf("the first %d of %d bytes", n, len(data)), openBytes(t, path, data[:n]))
	}
}

func TestBitFlips(t *testing.T) {
	t.Parallel()
	data := smallFile(t)
	path := filepath.Join(t.TempDir(), "x")
	for i := 0; i < len(data); i += step() {
		bad := bytes.Clone(data)
		bad[i] ^= 1 << (i / step() % 8)
		checkDamaged(t, fmt.Sprintf("bit %d of byte %d flipped", i%8, i), openBytes(t, path, bad))
	}
}

func smallFolder(t testing.TB) fstest.MapFS {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "small")
	write(t, dir, snapshot.WriterOptions{Folder: true}, small())
	return mapFS(t, dir)
}

func openFS(m fs.FS) func(snapshot.Options) (*snapshot.Reader, error) {
	return func(opts snapshot.Options) (*snapshot.Reader, error) { return snapshot.New(m, opts) }
}

// TestDamagedFolder damages each file of a folder in many ways, which no
// checksum of an archive notices.
func TestDamagedFolder(t *testing.T) {
	m := smallFolder(t)
	for name, file := range m {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			good := file.Data
			try := func(what string, data []byte) {
				bad := make(fstest.MapFS)
				for other, f := range m {
					bad[other] = f
				}
				bad[name] = &fstest.MapFile{Data: data}
				if data == nil {
					delete(bad, name)
				}
				checkDamaged(t, what, openFS(bad))
			}
			try("missing", nil)
			try("empty", []byte{})
			try("a byte more", append(bytes.Clone(good), '\n'))
			try("twice", append(bytes.Clone(good), good...))
			for i := 0; i < len(good); i += step() {
				try(fmt.Sprintf("the first %d of %d bytes", i, len(good)), good[:i])
				bad := bytes.Clone(good)
				bad[i] ^= 1 << (i / step() % 8)
				try(fmt.Sprintf("a bit of byte %d flipped", i), bad)
			}
		})
	}
}

func TestDamageSaysWhere(t *testing.T) {
	data := smallFile(t)
	path := filepath.Join(t.TempDir(), "x.taskhub")
	second := bytes.Index(data, []byte("\x28\xB5\x2F\xFD")) + 4
	second += bytes.Index(data[second:], []byte("\x28\xB5\x2F\xFD"))
	bad := bytes.Clone(data)
	bad[second+20] ^= 1
	r, err := openBytes(t, path, bad)(snapshot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = read(t.Context(), r)
	_ = r.Close()
	var damage *snapshot.DamageError
	if !errors.As(err, &damage) || damage.File != "tables/SmallHubHistory.ndjson.zst" || damage.ArchiveOffset != int64(second) {
		t.Errorf("got %v (%+v), want the frame at %d of the archive", err, damage, second)
	}

	// Salvaged, the other frames are all there.
	r, err = snapshot.Open(path, snapshot.Options{Salvage: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, errs := readSalvaged(t.Context(), r)
	if n := len(got.Tables[hub.History]); n == 12 || n < 6 || len(errs) > 0 {
		t.Errorf("%d of 12 rows salvaged, %v", n, errs)
	}
	if d := r.Damage(); len(d) != 1 || d[0].ArchiveOffset != int64(second) {
		t.Errorf("Damage = %v", d)
	}

	// A cut file is named, and what stands before the cut is kept.
	cut := second + 20
	if _, err = openBytes(t, path, data[:cut])(snapshot.Options{}); !errors.As(err, &damage) ||
		damage.File != "tables/SmallHubHistory.ndjson.zst" || damage.ArchiveOffset != int64(cut) {
		t.Errorf("got %v, want the end of the file", err)
	}
	r2, err := snapshot.Open(path, snapshot.Options{Salvage: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r2.Close()
	got, _ = readSalvaged(t.Context(), r2)
	if n := len(got.Tables[hub.History]); n < 3 || got.Names.TaskHub != "SmallHub" {
		t.Errorf("%d rows of %q before the cut", n, got.Names.TaskHub)
	}
}

// TestSalvageInterrupted reads what a killed run left under its partial name.
func TestSalvageInterrupted(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.taskhub")
	w, err := snapshot.Create(path, snapshot.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	tw, err := w.Table(hub.History, "SmallHubHistory")
	if err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 0, 1<<20)
	for i := range 200_000 {
		text = fmt.Appendf(text[:0], "%x", i*i*2654435761)
		err := tw.Append(row(fmt.Sprintf("order-%09d", i), "", schema.Property{Name: "Input", Value: schema.String(string(text))}))
		if err != nil {
			t.Fatal(err)
		}
	}
	r := open(t, path+".partial", snapshot.Options{Salvage: true})
	n := 0
	for _, err := range r.Rows(t.Context(), hub.History, hub.Keys{}) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n < 50_000 || len(r.Damage()) == 0 {
		t.Errorf("%d rows, damage %v", n, r.Damage())
	}
}

// zipOf makes an archive as other programs do.
func zipOf(t testing.TB, files []*zip.FileHeader, data map[string][]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, h := range files {
		f, err := z.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write(data[h.Name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestForeignArchives(t *testing.T) {
	m := smallFolder(t)
	data := make(map[string][]byte)
	for name, f := range m {
		data[name] = f.Data
	}
	whole := func(method uint16, more ...string) []*zip.FileHeader {
		var files []*zip.FileHeader
		for name := range data {
			files = append(files, &zip.FileHeader{Name: name, Method: method})
		}
		for _, name := range more {
			files = append(files, &zip.FileHeader{Name: name, Method: zip.Store})
		}
		return files
	}
	tests := []struct {
		name    string
		archive []byte
		want    string // in the error; empty if it can be read
	}{
		{"packed by another program", zipOf(t, whole(zip.Store), data), ""},
		{"with a file that does not belong", zipOf(t, whole(zip.Store, "README", "notes/x.txt"), data), ""},
		{"compressed", zipOf(t, whole(zip.Deflate), data), "compressed"},
		{"a name that leads out", zipOf(t, whole(zip.Store, "../../etc/passwd"), data), "unsafe file name"},
		{"an absolute name", zipOf(t, whole(zip.Store, "/etc/passwd"), data), "unsafe file name"},
		{"a name for Windows", zipOf(t, whole(zip.Store, `tables\x`), data), "unsafe file name"},
		{"a drive letter", zipOf(t, whole(zip.Store, "c:x"), data), "unsafe file name"},
		{"a control character", zipOf(t, whole(zip.Store, "a\nb"), data), "unsafe file name"},
		{"a name twice", zipOf(t, whole(zip.Store, "manifest.json"), data), "two files of one name"},
		{"not an archive", []byte(strings.Repeat("no zip ", 100)), "not a capture"},
		{"empty", nil, "not a capture"},
		{"an archive of something else", zipOf(t, []*zip.FileHeader{{Name: "a.txt"}}, data), "manifest.json"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r, err := openBytes(t, filepath.Join(t.TempDir(), "x"), test.archive)(snapshot.Options{})
			if err == nil {
				defer r.Close()
			}
			switch {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want == "":
				if !slices.Equal(items(load(t, r)), items(small())) {
					t.Error("reads something else")
				}
			case err == nil || !strings.Contains(err.Error(), test.want):
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

// TestHostileSizes claims sizes that would exhaust the memory.
func TestHostileSizes(t *testing.T) {
	data := smallFile(t)
	path := filepath.Join(t.TempDir(), "x")
	// The directory claims that a file has 3 GiB.
	central := bytes.Index(data, []byte("PK\x01\x02"))
	bad := bytes.Clone(data)
	binary.LittleEndian.PutUint32(bad[central+20:], 3<<30)
	binary.LittleEndian.PutUint32(bad[central+24:], 3<<30)
	if _, err := openBytes(t, path, bad)(snapshot.Options{}); err == nil || !strings.Contains(err.Error(), "bytes in an archive of") {
		t.Errorf("got %v, want the claim refused", err)
	}
	m := smallFolder(t)
	m["manifest.json"] = &fstest.MapFile{Data: bytes.Repeat([]byte(" "), 64<<20+1)}
	if _, err := snapshot.New(m, snapshot.Options{}); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("got %v, want the manifest refused", err)
	}
}

func TestFolderStaysInside(t *testing.T) {
	dir := t.TempDir()
	inside := filepath.Join(dir, "hub")
	write(t, inside, snapshot.WriterOptions{Folder: true}, small())
	name := filepath.Join(inside, "queues", "smallhub-control-00.ndjson")
	outside := filepath.Join(dir, "secret")
	if err := os.Rename(name, outside); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, name); err != nil {
		t.Skip(err)
	}
	r := open(t, inside, snapshot.Options{})
	if _, err := read(t.Context(), r); err == nil {
		t.Error("a link out of the folder is followed")
	}
}

func TestOpenMissing(t *testing.T) {
	if _, err := snapshot.Open(filepath.Join(t.TempDir(), "none"), snapshot.Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want fs.ErrNotExist", err)
	}
	// An empty folder is not a capture, salvaged or not.
	for _, salvage := range []bool{false, true} {
		if _, err := snapshot.Open(t.TempDir(), snapshot.Options{Salvage: salvage}); err == nil {
			t.Error("an empty folder opens")
		}
	}
}

// FuzzArchive reads captures that are not: nothing may panic, run away or take
// memory for what is only claimed.
func FuzzArchive(f *testing.F) {
	data := smallFile(f)
	recorded, err := os.ReadFile(testhub.HubFile(f, "functions-3-after-write-Nowhere"))
	if err != nil {
		f.Fatal(err)
	}
	seeds := [][]byte{data, data[:len(data)/2], data[:len(data)-30], recorded, bytes.Replace(data, []byte("PK\x05\x06"), []byte("PK\x05\x07"), 1)}
	if len(seeds) == 0 {
		f.Fatal("no seeds")
	}
	for _, seed := range seeds {
		f.Add(seed)
	}
	path := filepath.Join(f.TempDir(), "x")
	f.Fuzz(func(t *testing.T, data []byte) {
		open := openBytes(t, path, data)
		if r, err := open(snapshot.Options{}); err == nil {
			_, _ = read(t.Context(), r)
			_ = r.Close()
		}
		if r, err := open(snapshot.Options{Salvage: true}); err == nil {
			_, _ = readSalvaged(t.Context(), r)
			_ = r.Close()
		}
	})
}

// FuzzFiles replaces single files of a capture whose manifest is lost, so that
// no hash stands between the input and its reader.
func FuzzFiles(f *testing.F) {
	m := smallFolder(f)
	names := []string{
		"tables/SmallHubHistory.ndjson.zst", "tables/SmallHubHistory.idx", "queues/smallhub-control-00.ndjson",
		"blobs/index.ndjson", "manifest.json",
	}
	for i, name := range names {
		if m[name] == nil {
			f.Fatalf("no seed %s", name)
		}
		f.Add(uint8(i), m[name].Data)
	}
	f.Fuzz(func(t *testing.T, i uint8, data []byte) {
		bad := make(fstest.MapFS)
		for name, file := range m {
			bad[name] = file
		}
		delete(bad, "manifest.json")
		bad[names[int(i)%len(names)]] = &fstest.MapFile{Data: data}
		if r, err := snapshot.New(bad, snapshot.Options{Salvage: true}); err == nil {
			_, _ = readSalvaged(t.Context(), r)
			_ = r.Close()
		}
	})
}
