package export_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/export"
	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
)

// run exports to a new folder, checks the folder against its manifest, and
// returns both.
func run(t testing.TB, r hub.Reader, o export.Options) (string, *export.Manifest) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "out")
	m, err := export.Run(t.Context(), r, dir, o)
	if err != nil {
		t.Fatal(err)
	}
	checkManifest(t, dir, m)
	return dir, m
}

// files returns every file and empty folder below dir, by path from there.
func files(t testing.TB, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil || rel == "." {
			return err
		}
		name := filepath.ToSlash(rel)
		if d.IsDir() {
			inside, err := filepath.Glob(filepath.Join(path, "*"))
			if len(inside) > 0 || err != nil {
				return err
			}
			name += "/"
		}
		names = append(names, name)
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

// checkManifest checks that manifest.json is what Run returned, lists every file
// that is there and no other, with its size and SHA-256, and adds up.
func checkManifest(t testing.TB, dir string, m *export.Manifest) {
	t.Helper()
	text := mustRead(t, filepath.Join(dir, export.ManifestName))
	var onDisk export.Manifest
	if err := json.Unmarshal(text, &onDisk); err != nil {
		t.Fatal(err)
	}
	again, err := json.MarshalIndent(m, "", "  ")
	if err != nil || string(again)+"\n" != string(text) {
		t.Errorf("manifest.json is not what Run returned (%v)", err)
	}
	want := []string{export.ManifestName}
	for _, d := range onDisk.Datasets {
		var rows int64
		for i, p := range d.Parts {
			want = append(want, p.Path)
			rows += p.Rows
			b := mustRead(t, filepath.Join(dir, filepath.FromSlash(p.Path)))
			sum := sha256.Sum256(b)
			if p.Bytes != int64(len(b)) || p.SHA256 != hex.EncodeToString(sum[:]) {
				t.Errorf("manifest: %s has %d bytes, %s; the file %d, %x", p.Path, p.Bytes, p.SHA256, len(b), sum)
			}
			if i > 0 && d.Parts[i-1].Path >= p.Path {
				t.Errorf("manifest: %s comes after %s", p.Path, d.Parts[i-1].Path)
			}
			if len(onDisk.Options.PartitionBy) == 0 {
				if name := fmt.Sprintf("%s/part-%05d.%s", d.Name, i, onDisk.Options.FileFormat); p.Path != name {
					t.Errorf("manifest: part %d is %s, want %s", i, p.Path, name)
				}
			}
		}
		if rows != d.Rows {
			t.Errorf("manifest: %s has %d rows, its parts %d", d.Name, d.Rows, rows)
		}
		var names []string
		for _, c := range d.Columns {
			names = append(names, c.Name)
		}
		if !slices.Equal(names, columnNames(d.Name)) {
			t.Errorf("manifest: columns of %s are %v", d.Name, names)
		}
	}
	slices.Sort(want)
	got := slices.DeleteFunc(files(t, dir), func(name string) bool {
		// Without rows there is no folder of a key.
		d, isFolder := strings.CutSuffix(name, "/")
		return isFolder && len(onDisk.Options.PartitionBy) > 0 && entry(t, m, export.Dataset(d)).Rows == 0
	})
	if !slices.Equal(got, want) {
		t.Errorf("files are\n%q, the manifest lists\n%q", got, want)
	}
}

func columnNames(d export.Dataset) (names []string) {
	for _, c := range export.Columns(d) {
		names = append(names, c.Name)
	}
	return names
}

// entry returns what the manifest says of a dataset.
func entry(t testing.TB, m *export.Manifest, d export.Dataset) export.DatasetEntry {
	t.Helper()
	for _, e := range m.Datasets {
		if e.Name == d {
			return e
		}
	}
	t.Fatalf("%s is not in the manifest", d)
	return export.DatasetEntry{}
}

// parts returns the part files of a dataset in order.
func parts(t testing.TB, dir string, m *export.Manifest, d export.Dataset) (paths []string) {
	t.Helper()
	for _, p := range entry(t, m, d).Parts {
		paths = append(paths, filepath.Join(dir, filepath.FromSlash(p.Path)))
	}
	return paths
}

// sqlList writes paths as a list of SQL strings.
func sqlList(paths []string) string {
	quoted := make([]string, len(paths))
	for i, p := range paths {
		quoted[i] = sqlString(p)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

func sqlString(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// duckTypes are the types that DuckDB must see.
var duckTypes = map[export.Kind]string{
	export.StringKind: "VARCHAR", export.JSONText: "VARCHAR", export.Int32Kind: "INTEGER", export.Int64Kind: "BIGINT",
	export.BoolKind: "BOOLEAN", export.TimeKind: "TIMESTAMP_NS",
}

// readParquet reads a dataset with DuckDB and checks its columns.
func readParquet(t testing.TB, db *testhub.Duck, paths []string, d export.Dataset) []cells {
	t.Helper()
	source := "read_parquet(" + sqlList(paths) + ")"
	columns := export.Columns(d)
	var wantColumns [][]string
	for _, c := range columns {
		wantColumns = append(wantColumns, []string{c.Name, duckTypes[c.Kind]})
	}
	described := db.Query(t, "SELECT column_name, column_type FROM (DESCRIBE SELECT * FROM "+source+")").Strings("")
	if fmt.Sprint(described) != fmt.Sprint(wantColumns) {
		t.Errorf("columns of %s are\n%v, want\n%v", d, described, wantColumns)
	}
	return parquetRows(t, db, source, d)
}

// parquetRows reads all rows of a table of SQL that has the columns of d.
func parquetRows(t testing.TB, db *testhub.Duck, source string, d export.Dataset) []cells {
	t.Helper()
	columns := export.Columns(d)
	var list []string
	for _, c := range columns {
		expr := `"` + c.Name + `"`
		if c.Kind == export.TimeKind {
			expr = "epoch_ns(" + expr + ")"
		}
		list = append(list, expr+"::VARCHAR")
	}
	answer := db.Query(t, "SELECT "+strings.Join(list, ", ")+" FROM "+source)
	rows := make([]cells, len(answer.Rows))
	for i, row := range answer.Rows {
		rows[i] = cells{}
		for k, text := range row {
			if text != nil {
				rows[i][columns[k].Name] = fromText(t, columns[k].Kind, *text)
			}
		}
	}
	return rows
}

func fromText(t testing.TB, k export.Kind, text string) cell {
	t.Helper()
	switch k {
	case export.Int32Kind, export.Int64Kind, export.TimeKind:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		if k == export.TimeKind {
			return ns(n)
		}
		return n
	case export.BoolKind:
		return text == "true"
	}
	return text
}

// checkNulls compares the counts of nulls that DuckDB finds, and those that the
// files state, with rows.
func checkNulls(t testing.TB, db *testhub.Duck, paths []string, d export.Dataset, rows []cells) {
	t.Helper()
	var list []string
	for _, name := range columnNames(d) {
		list = append(list, `(count(*) - count("`+name+`"))::VARCHAR`)
	}
	counted := db.Query(t, "SELECT "+strings.Join(list, ", ")+" FROM read_parquet("+sqlList(paths)+")").Strings("null")[0]
	stated := map[string]string{}
	for _, row := range db.Query(t, "SELECT path_in_schema, sum(stats_null_count)::VARCHAR FROM parquet_metadata("+sqlList(paths)+") GROUP BY 1").Strings("null") {
		stated[row[0]] = row[1]
	}
	for i, name := range columnNames(d) {
		want := 0
		for _, row := range rows {
			if row[name] == nil {
				want++
			}
		}
		if counted[i] != strconv.Itoa(want) {
			t.Errorf("%s.%s has %s nulls, want %d", d, name, counted[i], want)
		}
		if len(rows) > 0 && stated[name] != strconv.Itoa(want) {
			t.Errorf("%s.%s: the files state %s nulls, want %d", d, name, stated[name], want)
		}
	}
}

var sevenDigits = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z$`)

// jsonRow reads one object, which must have every column in order.
func jsonRow(t testing.TB, d *json.Decoder, columns []export.Column) cells {
	t.Helper()
	token := func() json.Token {
		tok, err := d.Token()
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	if tok := token(); tok != json.Delim('{') {
		t.Fatalf("a row begins with %v", tok)
	}
	row := cells{}
	for _, c := range columns {
		if key := token(); key != c.Name {
			t.Fatalf("the next member is %v, want %s", key, c.Name)
		}
		var fits bool
		switch v := token().(type) {
		case nil:
			fits = !c.Required
		case string:
			fits = c.Kind == export.StringKind || c.Kind == export.JSONText || c.Kind == export.TimeKind && sevenDigits.MatchString(v)
			row[c.Name] = v
			if fits && c.Kind == export.TimeKind {
				row[c.Name] = instant(v)
			}
		case json.Number:
			fits = c.Kind == export.Int32Kind || c.Kind == export.Int64Kind
			n, err := v.Int64()
			if err != nil {
				t.Fatal(err)
			}
			row[c.Name] = n
		case bool:
			fits = c.Kind == export.BoolKind
			row[c.Name] = v
		}
		if !fits {
			t.Errorf("%s is %v, which does not fit %s", c.Name, row[c.Name], c.Kind)
		}
	}
	if tok := token(); tok != json.Delim('}') {
		t.Fatalf("after the last column comes %v", tok)
	}
	return row
}

// readNDJSON reads JSON Lines strictly: one object a line and nothing else.
func readNDJSON(t testing.TB, text []byte, d export.Dataset) (rows []cells) {
	t.Helper()
	columns := export.Columns(d)
	for line := range bytes.Lines(text) {
		if line[len(line)-1] != '\n' || line[0] != '{' {
			t.Fatalf("not a line: %.100q", line)
		}
		if !json.Valid(line) {
			t.Fatalf("not one JSON value: %.200q", line)
		}
		dec := json.NewDecoder(bytes.NewReader(line))
		dec.UseNumber()
		rows = append(rows, jsonRow(t, dec, columns))
	}
	return rows
}

// readJSON reads one array.
func readJSON(t testing.TB, text []byte, d export.Dataset) (rows []cells) {
	t.Helper()
	if !json.Valid(text) {
		t.Fatalf("not valid JSON: %.200q", text)
	}
	columns := export.Columns(d)
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if tok, err := dec.Token(); tok != json.Delim('[') {
		t.Fatalf("the file begins with %v, %v", tok, err)
	}
	for dec.More() {
		rows = append(rows, jsonRow(t, dec, columns))
	}
	return rows
}

// readText reads a dataset that was exported as NDJSON or JSON.
func readText(t testing.TB, dir string, m *export.Manifest, d export.Dataset) (rows []cells) {
	t.Helper()
	for i, path := range parts(t, dir, m, d) {
		read := readNDJSON
		if m.Options.FileFormat == export.JSON {
			read = readJSON
		}
		more := read(t, mustRead(t, path), d)
		if n := entry(t, m, d).Parts[i].Rows; int64(len(more)) != n {
			t.Errorf("%s has %d rows, the manifest says %d", path, len(more), n)
		}
		rows = append(rows, more...)
	}
	return rows
}
