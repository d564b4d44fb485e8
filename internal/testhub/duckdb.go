package testhub

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// Duck is a DuckDB with one in-memory database: a second opinion on the files
// we write. It is safe for concurrent use; requests run one after another.
type Duck struct {
	mu  sync.Mutex
	in  *json.Encoder
	out *json.Decoder
}

// Result is the answer to one request, with every value as text.
//
// Numbers read as JavaScript prints them and everything else as DuckDB does:
// a TIMESTAMP_NS as "2024-01-02 03:04:05.1234567", a list as "[1, NULL]".
// Cast in SQL where that leaves a doubt.
type Result struct {
	Columns []string
	Rows    [][]*string // nil is NULL
}

// Strings returns the rows with null in place of NULL, to compare with a
// literal.
func (r Result) Strings(null string) [][]string {
	rows := make([][]string, len(r.Rows))
	for i, row := range r.Rows {
		rows[i] = make([]string, len(row))
		for j, v := range row {
			rows[i][j] = null
			if v != nil {
				rows[i][j] = *v
			}
		}
	}
	return rows
}

// DuckDB starts a DuckDB that ends with t. It runs in the current directory,
// with two threads, in UTC and without the network.
//
// It skips t if Node.js or the npm packages of the folder node are not
// installed, and fails it instead if REQUIRE_NODE_TESTS is 1.
func DuckDB(t testing.TB) *Duck {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		unavailable(t, "REQUIRE_NODE_TESTS", "DuckDB needs Node.js: %v", err)
	}
	script, err := nodeFile("duckdb.mjs")
	if err != nil {
		unavailable(t, "REQUIRE_NODE_TESTS", "DuckDB needs the sources of package testhub: %v", err)
	}

	// The context of a test ends just before its cleanup, which kills the process.
	cmd := exec.CommandContext(t.Context(), node, script)
	cmd.Stderr = t.Output()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // killed: the error says nothing

	d := &Duck{in: json.NewEncoder(stdin), out: json.NewDecoder(stdout)}
	var hello struct{ Ready, Missing string }
	if err := d.out.Decode(&hello); err != nil {
		t.Fatalf("start DuckDB: %v", err)
	}
	if hello.Ready == "" {
		unavailable(t, "REQUIRE_NODE_TESTS",
			"DuckDB is not installed, run make kit or npm ci in internal/testhub/node: %s", hello.Missing)
	}
	return d
}

// Query runs sql and fails t if DuckDB does not accept it. Of several
// statements all run and the last one answers.
func (d *Duck) Query(t testing.TB, sql string) Result {
	t.Helper()
	res, err := d.Try(sql)
	if err != nil {
		t.Fatalf("DuckDB: %v\n%s", err, sql)
	}
	return res
}

// Try is like Query but returns what DuckDB has to say against sql.
func (d *Duck) Try(sql string) (Result, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.in.Encode(map[string]string{"sql": sql}); err != nil {
		return Result{}, err
	}
	var answer struct {
		Result
		Error string
	}
	if err := d.out.Decode(&answer); errors.Is(err, io.EOF) {
		return Result{}, io.ErrUnexpectedEOF // it died; its stderr is in the log of the test
	} else if err != nil {
		return Result{}, err
	}
	if answer.Error != "" {
		return Result{}, errors.New(answer.Error)
	}
	return answer.Result, nil
}

// nodeFile returns the path of a file in the folder node beside this source.
func nodeFile(name string) (string, error) {
	_, source, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("no source position")
	}
	path := filepath.Join(filepath.Dir(source), "node", name)
	_, err := os.Stat(path)
	return path, err
}

// unavailable skips t because something that it needs is not installed, or
// fails it if the environment variable required says that nothing may be
// skipped.
func unavailable(t testing.TB, required, format string, args ...any) {
	t.Helper()
	if os.Getenv(required) == "1" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}
