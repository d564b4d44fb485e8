package testhub

import (
	"errors"
	"io"
	"os/exec"
	"sync"
	"testing"
)

// Duck is a DuckDB with one in-memory database: a second opinion on the files
// we write. It is safe for concurrent use; requests run one after another.
type Duck struct {
	mu sync.Mutex
	*dialogue
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
	const required = "REQUIRE_NODE_TESTS"
	node, script := nodeScript(t, required, "DuckDB", "duckdb.mjs")
	// The context of a test ends just before its cleanup, which kills the process.
	cmd := exec.CommandContext(t.Context(), node, script)
	d := &Duck{dialogue: startDialogue(t, cmd)}
	t.Cleanup(func() { _ = cmd.Wait() }) // killed: the error says nothing
	d.greet(t, required, "DuckDB", "DuckDB is not installed, run make kit or npm ci in internal/testhub/node")
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
