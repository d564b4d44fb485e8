package testhub

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
)

func TestDuckDBQuery(t *testing.T) {
	duck := DuckDB(t)
	tests := []struct {
		name, sql string
		columns   []string
		rows      [][]string // NULL written as <null>
	}{
		{"number", "SELECT 1 AS one", []string{"one"}, [][]string{{"1"}}},
		{"null is not text", "SELECT NULL AS a, '' AS b, 'null' AS c", []string{"a", "b", "c"}, [][]string{{"<null>", "", "null"}}},
		{"64 bits", "SELECT 9223372036854775807 AS n", []string{"n"}, [][]string{{"9223372036854775807"}}},
		{
			"100 ns ticks", "SELECT TIMESTAMP_NS '2024-01-02 03:04:05.1234567' AS t",
			[]string{"t"},
			[][]string{{"2024-01-02 03:04:05.1234567"}},
		},
		{
			"time zone is UTC", "SELECT CAST(TIMESTAMPTZ '2024-07-02 03:04:05+02' AS VARCHAR) AS t",
			[]string{"t"},
			[][]string{{"2024-07-02 01:04:05+00"}},
		},
		{
			"quotes, line breaks and emoji", `SELECT 'a"b\c' || chr(10) || '🦆' AS s`,
			[]string{"s"},
			[][]string{{"a\"b\\c\n🦆"}},
		},
		{"columns of the same name", "SELECT 1 AS a, 2 AS a", []string{"a", "a"}, [][]string{{"1", "2"}}},
		{"no rows", "SELECT 1 AS a WHERE false", []string{"a"}, [][]string{}},
		{"last statement answers", "CREATE TABLE kept AS SELECT 7 AS n; SELECT n FROM kept", []string{"n"}, [][]string{{"7"}}},
		{"tables stay", "SELECT n FROM kept", []string{"n"}, [][]string{{"7"}}},
		{"two threads", "SELECT current_setting('threads') AS n", []string{"n"}, [][]string{{"2"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			res := duck.Query(t, tt.sql)
			if !reflect.DeepEqual(res.Columns, tt.columns) {
				t.Errorf("columns = %q, want %q", res.Columns, tt.columns)
			}
			if got := res.Strings("<null>"); !reflect.DeepEqual(got, tt.rows) {
				t.Errorf("rows = %q, want %q", got, tt.rows)
			}
		})
	}
}

// JSON and Parquet have to be part of the binary: an extension would be
// fetched over the network.
func TestDuckDBFiles(t *testing.T) {
	duck := DuckDB(t)
	dir := t.TempDir()
	in, out := filepath.Join(dir, "in.ndjson"), filepath.Join(dir, "out.parquet")
	if err := os.WriteFile(in, []byte("{\"a\":1,\"b\":\"x\"}\n{\"a\":2}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	duck.Query(t, fmt.Sprintf("COPY (SELECT * FROM read_json('%s')) TO '%s' (FORMAT parquet, COMPRESSION zstd)", in, out))
	got := duck.Query(t, fmt.Sprintf("SELECT a, b FROM read_parquet('%s') ORDER BY a", out)).Strings("<null>")
	if want := [][]string{{"1", "x"}, {"2", "<null>"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("rows = %q, want %q", got, want)
	}
}

func TestDuckDBError(t *testing.T) {
	duck := DuckDB(t)
	for _, tt := range []struct{ name, sql, want string }{
		{"unknown table", "SELECT * FROM nothing_here", "nothing_here does not exist"},
		{"syntax", "SELEC 1", "syntax error"},
		{"no statement", "", ""},
		{"no network", "SELECT * FROM read_parquet('https://localhost/x.parquet')", "httpfs"},
	} {
		if _, err := duck.Try(tt.sql); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Try(%q) error = %v, want %q in it", tt.name, tt.sql, err, tt.want)
		}
	}
	if got := duck.Query(t, "SELECT 1").Strings(""); !reflect.DeepEqual(got, [][]string{{"1"}}) {
		t.Errorf("after the errors: rows = %q, want 1", got)
	}
}

func TestDuckDBConcurrent(t *testing.T) {
	duck := DuckDB(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			res, err := duck.Try(fmt.Sprintf("SELECT %d", i))
			if got := res.Strings(""); err != nil || !reflect.DeepEqual(got, [][]string{{fmt.Sprint(i)}}) {
				t.Errorf("Try(SELECT %d) = %q, %v", i, got, err)
			}
		})
	}
	wg.Wait()
}

// A machine without the kit skips the tests that need it; one that promises to
// run everything fails them.
func TestDuckDBUnavailable(t *testing.T) {
	for _, tt := range []struct{ required, want string }{{"", "skip"}, {"0", "skip"}, {"1", "fatal"}} {
		t.Run("REQUIRE_NODE_TESTS="+tt.required, func(t *testing.T) {
			t.Setenv("REQUIRE_NODE_TESTS", tt.required)
			t.Setenv("PATH", t.TempDir())
			rec := &recorder{TB: t}
			func() {
				defer func() { _ = recover() }()
				DuckDB(rec)
			}()
			if rec.ended != tt.want || !strings.Contains(rec.why, "Node.js") {
				t.Errorf("DuckDB without Node.js: %q with %q, want %s that names Node.js", rec.ended, rec.why, tt.want)
			}
		})
	}
}

// recorder keeps how a test was ended, and unwinds with a panic.
type recorder struct {
	testing.TB
	ended, why string
}

func (r *recorder) Fatalf(format string, args ...any) { r.end("fatal", format, args...) }
func (r *recorder) Skipf(format string, args ...any)  { r.end("skip", format, args...) }

func (r *recorder) end(how, format string, args ...any) {
	r.ended, r.why = how, fmt.Sprintf(format, args...)
	panic(how)
}
