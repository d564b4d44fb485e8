package export_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/export"
	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

var formats = []export.Format{export.Parquet, export.NDJSON, export.JSON}

// ownTime is the column whose date partitions.
var ownTime = map[export.Dataset]string{
	export.Instances: "created_time", export.History: "event_time", export.Messages: "inserted_time",
	export.Entities: "created_time", export.Blobs: "last_modified",
}

// A folder partitioned in the way of Hive is one table for DuckDB, with the rows
// of the unpartitioned export and the values of the keys.
func TestHivePartitions(t *testing.T) {
	t.Parallel()
	db := testhub.DuckDB(t)
	seen := map[string]bool{}
	for _, name := range []string{"dtfx-2.9.1", "functions-3-after-write"} {
		s := storedHub(t, name)
		names := map[cell]cell{}
		for _, row := range s.rows(export.Instances) {
			names[row["instance_id"]] = row["name"]
		}
		for _, by := range [][]export.PartitionKey{
			{export.ByDate}, {export.ByInstanceName}, {export.ByDate, export.ByInstanceName}, {export.ByInstanceName, export.ByDate},
		} {
			r := testhub.OpenHub(t, name)
			dir, m := run(t, r, export.Options{Format: export.Parquet, PartitionBy: by})
			for _, d := range export.Datasets {
				where := fmt.Sprintf("%s %s by %v", name, d, by)
				want := s.rows(d)
				if n := len(entry(t, m, d).Parts); len(want) == 0 || n == 0 {
					if n != 0 || len(want) != 0 {
						t.Errorf("%s: %d rows in %d parts", where, len(want), n)
					}
					continue
				}
				source := fmt.Sprintf("read_parquet(%s, hive_partitioning = true, hive_types_autocast = false)",
					sqlString(filepath.Join(dir, string(d), "**", "*.parquet")))
				got := parquetRows(t, db, source, d)
				byKey := func(a, b cells) int { return strings.Compare(a.key(), b.key()) }
				slices.SortStableFunc(want, byKey)
				slices.SortStableFunc(got, byKey)
				compareRows(t, where, d, want, got)

				// The keys, found by what names the row.
				for _, key := range by {
					id := "instance_id"
					if key == export.ByDate {
						id = "CAST(" + ownTime[d] + " AS DATE)"
					}
					answer := db.Query(t, fmt.Sprintf("SELECT DISTINCT %s, %s FROM %s", id, key, source)).Strings("null")
					for _, pair := range answer {
						w := pair[0]
						if key == export.ByInstanceName {
							w = "null"
							if v, ok := names[pair[0]].(string); ok {
								w = v
							}
							if entity, ok := strings.CutPrefix(pair[0], "@"); ok {
								w, _, _ = strings.Cut(entity, "@")
							}
						}
						seen[string(key)+"="+pair[1]] = true
						if pair[1] != w {
							t.Errorf("%s: %s of %s is %q, want %q", where, key, pair[0], pair[1], w)
						}
					}
				}
			}
		}
	}
	for _, want := range []string{"date=2026-11-22", "instance_name=HelloSequence", "instance_name=counter", "instance_name=null"} {
		if !seen[want] {
			t.Errorf("no folder %s, only %v", want, seen)
		}
	}
}

// hostileNames are names of functions that must not become paths.
var hostileNames = []string{
	"a/b", "..", ".", "../../x", "/etc/passwd", `C:\x`, `..\..\x`, "C:", "name=with%25", "%2E%2E", "%", "date=1",
	"emoji 😀", "日本語", "e\u0301", "\u00e9", "tab\tline\nnull\x00bell\x07", "\u0085\u009f", "trailing.", "trailing ", " leading", ".hidden",
	"CON", "nul.txt", "COM1", "a|b<c>d:e*f?g\"h'i", "~", "$HOME", "-rf", "NULL", "null", "__HIVE_DEFAULT_PARTITION__", "true", "123", "2026-11-22",
	"Hello", "hello", "HELLO", strings.Repeat("y", 200), "part-00000.parquet",
}

func TestHostileNames(t *testing.T) {
	t.Parallel()
	names := append(slices.Clone(hostileNames), "", strings.Repeat("x", 300), strings.Repeat("x", 301), strings.Repeat("ü/", 100))
	var rows []schema.Row
	for i, name := range names {
		id := fmt.Sprintf("%03d", i)
		rows = append(rows, instance(id, name), event(id, 0, "x", "OrchestratorStarted"), sentinel(id, "x"))
	}
	r := madeUpHub(rows...)
	db := testhub.DuckDB(t)
	safe := regexp.MustCompile(`^(instances|history)/instance_name=[A-Za-z0-9_%.-]*[A-Za-z0-9_%-]/part-00000\.parquet$`)

	outer := t.TempDir()
	dir := filepath.Join(outer, "a", "b", "out")
	m, err := export.Run(t.Context(), r, dir, export.Options{
		Format: export.Parquet, PartitionBy: []export.PartitionKey{export.ByInstanceName},
		Datasets: []export.Dataset{export.Instances, export.History},
	})
	if err != nil {
		t.Fatal(err)
	}
	checkManifest(t, dir, m)
	for _, name := range files(t, outer) {
		inside, ok := strings.CutPrefix(name, "a/b/out/")
		if !ok {
			t.Errorf("%s is outside of the folder", name)
		} else if inside != export.ManifestName && !safe.MatchString(inside) {
			t.Errorf("%q is not a name for every system", inside)
		}
	}
	for _, d := range []export.Dataset{export.Instances, export.History} {
		folders := map[string]bool{}
		for _, p := range entry(t, m, d).Parts {
			folder, _, _ := strings.Cut(strings.TrimPrefix(p.Path, string(d)+"/"), "/")
			if lower := strings.ToLower(folder); folders[lower] {
				t.Errorf("folder %s differs from another only in case", folder)
			} else if folders[lower] = true; len(folder) > 255 {
				t.Errorf("the name of folder %s has %d bytes", folder, len(folder))
			}
		}
		if len(folders) != len(names) {
			t.Errorf("%s: %d folders for %d names", d, len(folders), len(names))
		}
		answer := db.Query(t, fmt.Sprintf(
			"SELECT instance_id, instance_name FROM read_parquet(%s, hive_partitioning = true, hive_types_autocast = false) ORDER BY 1",
			sqlString(filepath.Join(dir, string(d), "**", "*.parquet"))))
		if len(answer.Rows) != len(names) {
			t.Fatalf("%s: %d rows, want %d", d, len(answer.Rows), len(names))
		}
		for i, row := range answer.Rows {
			switch got := row[1]; {
			case names[i] == "":
				if got != nil {
					t.Errorf("%s: the empty name reads %q, want NULL", d, *got)
				}
			case got == nil:
				t.Errorf("%s: the name %q reads NULL", d, names[i])
			case len(names[i]) > 200: // cut, with a hash that tells it from others
				if !regexp.MustCompile(`^(x{100,}|(ü/){10,}ü?)\.\.\.[0-9a-f]{64}$`).MatchString(*got) {
					t.Errorf("%s: the long name %q reads %q", d, names[i], *got)
				}
			case *got != names[i]:
				t.Errorf("%s: the name %q reads %q", d, names[i], *got)
			}
		}
	}
}

// With many folders the open files and the memory stay bounded.
func TestManyPartitions(t *testing.T) {
	const names = 2000
	var rows []schema.Row
	for i := range 2 * names {
		rows = append(rows, instance(fmt.Sprintf("%05d", i), fmt.Sprintf("Function%d", i*7919%names)))
	}
	r := madeUpHub(rows...)
	for _, f := range []export.Format{export.Parquet, export.NDJSON} {
		open, heap := 0, uint64(0)
		dir, m := run(t, r, export.Options{
			Format: f, PartitionBy: []export.PartitionKey{export.ByInstanceName}, Datasets: []export.Dataset{export.Instances},
			OnProgress: func(p export.Progress) {
				if p.Rows%100 != 0 {
					return
				}
				fds, err := os.ReadDir("/proc/self/fd")
				if err == nil {
					open = max(open, len(fds))
				}
				var s runtime.MemStats
				runtime.ReadMemStats(&s)
				heap = max(heap, s.HeapAlloc)
			},
		})
		e := entry(t, m, export.Instances)
		if e.Rows != 2*names || len(e.Parts) < names {
			t.Errorf("%s: %d rows in %d parts", f, e.Rows, len(e.Parts))
		}
		if open > 150 || heap > 400<<20 {
			t.Errorf("%s: %d open files, a heap of %d MiB", f, open, heap>>20)
		}
		t.Logf("%s: %d open files, a heap of %d MiB", f, open, heap>>20)
		if f == export.NDJSON {
			ids := map[cell]bool{}
			for _, row := range readText(t, dir, m, export.Instances) {
				ids[row["instance_id"]] = true
			}
			if len(ids) != 2*names {
				t.Errorf("%d instances came back", len(ids))
			}
		}
	}
}

func TestPartFiles(t *testing.T) {
	t.Parallel()
	const name, size = "dtfx-2.9.1-odd", 16 << 10
	db := testhub.DuckDB(t)
	want := storedHub(t, name).historyRows()
	for _, f := range formats {
		t.Run(string(f), func(t *testing.T) {
			r := hub.Reader(testhub.OpenHub(t, name))
			if f == export.Parquet {
				r = byPartition{r} // a part is not smaller than a row group
			}
			dir, m := run(t, r, export.Options{Format: f, PartBytes: size, Datasets: []export.Dataset{export.History}})
			list := entry(t, m, export.History).Parts
			if len(list) < 5 {
				t.Errorf("%d parts", len(list))
			}
			for i, p := range list[:len(list)-1] {
				if p.Bytes < size || f != export.Parquet && p.Bytes > size+(100<<10) {
					t.Errorf("part %d has %d bytes, want %d and at most one row more", i, p.Bytes, size)
				}
			}
			var got []cells
			if f != export.Parquet {
				got = readText(t, dir, m, export.History)
			} else {
				paths := parts(t, dir, m, export.History)
				got = readParquet(t, db, paths, export.History)
				for i, p := range paths {
					n := db.Query(t, "SELECT count(*) FROM read_parquet("+sqlString(p)+")").Strings("")[0][0]
					if n != fmt.Sprint(list[i].Rows) {
						t.Errorf("%s has %s rows, the manifest says %d", p, n, list[i].Rows)
					}
				}
			}
			compareRows(t, string(f), export.History, want, got)
		})
	}
}

// An empty hub has a file for each dataset, which tells its columns.
func TestEmptyHub(t *testing.T) {
	t.Parallel()
	db := testhub.DuckDB(t)
	for _, f := range formats {
		dir, m := run(t, madeUpHub(), export.Options{Format: f})
		for _, d := range export.Datasets {
			paths := parts(t, dir, m, d)
			if len(paths) != 1 {
				t.Fatalf("%s: %s has %d parts, want 1", f, d, len(paths))
			}
			rows := 0
			if f == export.Parquet {
				rows = len(readParquet(t, db, paths, d))
			} else {
				rows = len(readText(t, dir, m, d))
			}
			if rows != 0 {
				t.Errorf("%s: %s has %d rows", f, d, rows)
			}
		}
	}
}

// The bytes do not depend on the number of workers nor on the run.
func TestSameBytes(t *testing.T) {
	t.Parallel()
	r := byPartition{testhub.OpenHub(t, "functions-3-after-write")}
	for _, f := range formats {
		for _, by := range [][]export.PartitionKey{nil, {export.ByInstanceName}} {
			var first []byte
			for _, workers := range []int{1, 2, 8, 8} {
				dir, _ := run(t, r, export.Options{Format: f, Workers: workers, PartBytes: 10_000, PartitionBy: by})
				// The manifest has the SHA-256 of every part, which run has checked.
				manifest := mustRead(t, filepath.Join(dir, export.ManifestName))
				if first == nil {
					first = manifest
				} else if !bytes.Equal(manifest, first) {
					t.Errorf("%s by %v with %d workers differs:\n%s\nfrom\n%s", f, by, workers, manifest, first)
				}
			}
		}
	}
}

var errBroken = errors.New("the hub is broken")

// An export that ends early, wherever that is, leaves nothing.
func TestEarlyEnd(t *testing.T) {
	t.Parallel()
	source := testhub.OpenHub(t, "shared-tracking-TrackA")
	var calls int64
	count := &counted{Reader: source, do: func(int64) error { return nil }}
	run(t, count, export.Options{})
	if calls = count.n.Load(); calls < 100 {
		t.Fatalf("%d calls", calls)
	}
	ends := []int64{1, 2, 3, 4, calls - 1, calls}
	for range 25 {
		ends = append(ends, 1+rand.Int64N(calls))
	}
	for i, n := range ends {
		ctx, cancel := context.WithCancelCause(t.Context())
		broken := func(k int64) error {
			if k == n {
				return errBroken
			}
			return nil
		}
		cancelled := func(k int64) error {
			if k == n {
				cancel(errBroken)
			}
			return nil
		}
		for how, do := range map[string]func(int64) error{"broken": broken, "cancelled": cancelled} {
			o := export.Options{Format: formats[i%3], PartBytes: 1000}
			if i%4 == 3 {
				o.PartitionBy = []export.PartitionKey{export.ByInstanceName}
			}
			outer := t.TempDir()

			// A new folder goes again, with those above it that were made.
			dir := filepath.Join(outer, "new", "out")
			_, err := export.Run(ctx, byPartition{&counted{Reader: source, do: do}}, dir, o)
			if how == "cancelled" && err == nil && n >= calls {
				continue // it was too late
			}
			if !errors.Is(err, errBroken) {
				t.Fatalf("%s at %d: Run returns %v", how, n, err)
			}
			if left := files(t, outer); len(left) > 0 {
				t.Errorf("%s at %d: left behind: %q", how, n, left)
			}

			// What was there before stays, an earlier export that was to be
			// replaced too.
			dir = filepath.Join(outer, "old")
			if _, err := export.Run(t.Context(), source, dir, o); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "mine.txt"), nil, 0o600); err != nil {
				t.Fatal(err)
			}
			before := contents(t, dir)
			o.Overwrite = true
			if how == "broken" {
				_, err = export.Run(t.Context(), byPartition{&counted{Reader: source, do: do}}, dir, o)
			} else {
				_, err = export.Run(ctx, source, dir, o)
			}
			if !errors.Is(err, errBroken) {
				t.Fatalf("%s at %d: Run returns %v", how, n, err)
			}
			if after := contents(t, dir); after != before {
				t.Errorf("%s at %d: the folder was\n%s\nand is\n%s", how, n, before, after)
			}
		}
		cancel(nil)
	}
}

// contents returns every file with its content, as text to compare.
func contents(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	for _, name := range files(t, dir) {
		fmt.Fprintf(&b, "%s", name)
		if !strings.HasSuffix(name, "/") {
			fmt.Fprintf(&b, " %q", mustRead(t, filepath.Join(dir, name)))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func TestExistingOutput(t *testing.T) {
	t.Parallel()
	r := testhub.OpenHub(t, "functions-3")
	o := export.Options{Datasets: []export.Dataset{export.Instances, export.History}}
	dir, _ := run(t, r, o)
	before := contents(t, dir)
	for _, made := range []string{export.ManifestName, "history", "instances"} {
		other := t.TempDir()
		if err := os.Mkdir(filepath.Join(other, made), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, at := range []string{dir, other} {
			_, err := export.Run(t.Context(), r, at, o)
			if !errors.Is(err, os.ErrExist) || !strings.Contains(err.Error(), at) {
				t.Errorf("Run over %s returns %v", made, err)
			}
		}
		if got := files(t, other); !slices.Equal(got, []string{made + "/"}) {
			t.Errorf("files are %q, want only %s", got, made)
		}
	}
	if after := contents(t, dir); after != before {
		t.Error("the refused export has changed the folder")
	}

	// Overwriting replaces all parts of the datasets, and leaves other files.
	if err := os.WriteFile(filepath.Join(dir, "history", "part-00099.ndjson"), []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	o.Overwrite = true
	if _, err := export.Run(t.Context(), r, dir, o); err != nil {
		t.Fatal(err)
	}
	if after := contents(t, dir); after != before {
		t.Errorf("overwritten with the same:\n%.500s\nwas\n%.500s", after, before)
	}
}

// What a killed export has left is removed by the next.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	r := testhub.OpenHub(t, "functions-3")
	o := export.Options{Datasets: []export.Dataset{export.Instances, export.History}}
	clean, _ := run(t, r, o)
	dir := t.TempDir()
	for _, name := range []string{"history.partial/part-00000.ndjson", "history.partial/date=1/part-00007.ndjson", "messages.partial/x", "manifest.json.partial"} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("old"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := export.Run(t.Context(), r, dir, o); err != nil {
		t.Fatal(err)
	}
	if got, want := contents(t, dir), contents(t, clean); got != want {
		t.Errorf("over leftovers:\n%.500s\nwant\n%.500s", got, want)
	}
}

// atHistory is a Reader that calls do when the history is read: by then the
// folder of that dataset exists and has no file.
func atHistory(r hub.Reader, do func()) hub.Reader { return &hooked{Reader: r, do: do} }

type hooked struct {
	hub.Reader
	do func()
}

func (h *hooked) Split(ctx context.Context, table hub.Table, n int) ([]hub.Keys, error) {
	if table == hub.History {
		h.do()
	}
	return h.Reader.Split(ctx, table, n)
}

func TestWriteErrors(t *testing.T) {
	t.Parallel()
	for _, f := range formats {
		for how, sabotage := range map[string]func(dir string) error{
			"no folder": func(dir string) error { return os.RemoveAll(filepath.Join(dir, "history.partial")) },
			"disk full": func(dir string) error {
				return makeFull(filepath.Join(dir, "history.partial", "part-00000."+string(f)))
			},
			"no manifest": func(dir string) error { return os.Mkdir(filepath.Join(dir, "manifest.json.partial"), 0o700) },
		} {
			dir := filepath.Join(t.TempDir(), "out")
			var setup error
			r := atHistory(testhub.OpenHub(t, "dtfx-2.9.1-bulk"), func() { setup = sabotage(dir) })
			_, err := export.Run(t.Context(), r, dir, export.Options{Format: f})
			if setup != nil {
				t.Logf("%s: cannot be done here: %v", how, setup)
				continue
			}
			if err == nil || how != "no manifest" && !strings.Contains(err.Error(), "history") {
				t.Errorf("%s, %s: Run returns %v", f, how, err)
			}
			if left := files(t, dir); len(left) > 0 {
				t.Errorf("%s, %s: left behind: %q", f, how, left)
			}
		}
	}

	// The output folder is a file, or below one.
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "out")} {
		if _, err := export.Run(t.Context(), madeUpHub(), dir, export.Options{}); err == nil {
			t.Errorf("Run into %s succeeds", dir)
		}
	}
	if got := mustRead(t, file); string(got) != "mine" {
		t.Error("the file has changed")
	}
}

// A hub that does not exist leaves no folder.
func TestNoHub(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "out")
	_, err := export.Run(t.Context(), testhub.NewMemory(madeUpHub().Content), dir, export.Options{})
	if err != nil {
		t.Fatal(err)
	}
	nothing := madeUpHub()
	nothing.Content.Tables, nothing.Content.Queues, nothing.Content.Containers = nil, nil, nil
	dir += "2"
	if _, err := export.Run(t.Context(), nothing, dir, export.Options{}); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("Run returns %v", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder: %v", err)
	}
}

// Stream writes the lines that Run writes into its part files.
func TestStream(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"dtfx-2.9.1", "functions-3-after-write", "dtfx-2.9.1-purge-damaged"} {
		r := byPartition{testhub.OpenHub(t, name)}
		dir, m := run(t, r, export.Options{PartBytes: 5000})
		for _, d := range export.Datasets {
			var want, got bytes.Buffer
			for _, p := range parts(t, dir, m, d) {
				want.Write(mustRead(t, p))
			}
			stats, err := export.Stream(t.Context(), r, &got, d, export.Options{
				Format: export.Parquet, PartitionBy: []export.PartitionKey{export.ByDate}, PartBytes: 1, // none of which applies
			})
			if err != nil || !bytes.Equal(got.Bytes(), want.Bytes()) {
				t.Errorf("%s: Stream(%s) writes %d bytes and returns %v, want the %d bytes of Run", name, d, got.Len(), err, want.Len())
			}
			if e := entry(t, m, d); stats != (export.Stats{Rows: e.Rows, Bytes: int64(want.Len()), Errors: e.Errors}) {
				t.Errorf("%s: Stream(%s) returns %+v, want %+v", name, d, stats, e)
			}
		}
	}
}

// limited is a writer that fails after some bytes.
type limited struct{ left int }

var errPipe = errors.New("broken pipe")

func (l *limited) Write(b []byte) (int, error) {
	if l.left -= len(b); l.left < 0 {
		return 0, errPipe
	}
	return len(b), nil
}

func TestStreamErrors(t *testing.T) {
	t.Parallel()
	r := testhub.OpenHub(t, "dtfx-2.9.1")
	for _, n := range []int{0, 1, 1000, 100_000} {
		if _, err := export.Stream(t.Context(), byPartition{r}, &limited{n}, export.History, export.Options{}); !errors.Is(err, errPipe) {
			t.Errorf("Stream to a writer that fails after %d bytes returns %v", n, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errBroken)
	var b bytes.Buffer
	if _, err := export.Stream(ctx, r, &b, export.History, export.Options{}); !errors.Is(err, errBroken) || b.Len() > 0 {
		t.Errorf("Stream with a cancelled context writes %d bytes and returns %v", b.Len(), err)
	}
	if _, err := export.Stream(t.Context(), untouchable(t), &b, "histories", export.Options{}); err == nil {
		t.Error("Stream of an unknown dataset succeeds")
	}
}

// Progress is told in order and ends with all rows.
func TestProgress(t *testing.T) {
	t.Parallel()
	const name = "dtfx-2.9.1-bulk"
	last := map[export.Dataset]export.Progress{}
	_, m := run(t, byPartition{testhub.OpenHub(t, name)}, export.Options{Workers: 4, OnProgress: func(p export.Progress) {
		if was := last[p.Dataset]; p.Rows < was.Rows || p.Bytes < was.Bytes {
			t.Errorf("after %+v comes %+v", was, p)
		}
		last[p.Dataset] = p
	}})
	for _, d := range export.Datasets {
		e := entry(t, m, d)
		p, ok := last[d]
		if p.Rows != e.Rows {
			t.Errorf("the last progress of %s is %+v, want %d rows", d, p, e.Rows)
		}
		if ok && (d == export.Instances) && p.Total != 500 {
			t.Errorf("total of %s is %d", d, p.Total)
		}
	}
}
