package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/taskhub-tools/taskhub/schema"
)

// runReport begins a run in a report; docs/json.md describes it.
type runReport struct {
	Type       string `json:"type"`
	Operation  string `json:"operation"`
	Account    string `json:"account"`
	TaskHub    string `json:"task_hub"`
	Parameters string `json:"parameters_sha256"`
	Started    string `json:"started"`
}

// begunReport says that an instance is about to be worked on.
type begunReport struct {
	Type       string `json:"type"`
	InstanceID string `json:"instance_id"`
}

// journal is the file of --report: a line before an instance is begun and one
// when it has ended, written at once, so that a run that was killed can be gone on
// with. A nil journal keeps nothing. It may be used concurrently.
//
// It holds the IDs of the instances that earlier runs have done or begun.
type journal struct {
	path  string
	run   runReport
	done  map[string]struct{}
	begun map[string]struct{} // and not ended
	torn  bool                // the last line was cut off

	mu sync.Mutex
	f  *os.File // nil until create
}

// openJournal reads what earlier runs have left in a report. Nothing is written
// before create.
func (ed *editing) openJournal(op *operation, path string) (*journal, error) {
	if path == "" {
		return nil, nil
	}
	h := sha256.New()
	for _, p := range op.parameters {
		_, _ = fmt.Fprintf(h, "%d:%s,", len(p), p)
	}
	j := &journal{
		path: path, done: make(map[string]struct{}), begun: make(map[string]struct{}),
		run: runReport{
			Type: "run", Operation: op.name, Account: ed.info.Account, TaskHub: ed.info.Names.TaskHub,
			Parameters: hex.EncodeToString(h.Sum(nil)), Started: schema.TicksOf(time.Now()).String(),
		},
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return j, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	if err := j.read(f); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return j, nil
}

// errNoReport says that a file is none of ours, and so is not written to.
var errNoReport = errors.New("is not the report of a run of this program")

func (j *journal) read(r io.Reader) error {
	lines := bufio.NewReader(r)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			if j.torn = len(line) > 0; j.torn && n == 1 {
				return errNoReport
			}
			return nil
		}
		if err != nil {
			return err
		}
		if err := j.line(line, n); err != nil {
			return err
		}
	}
}

func (j *journal) line(line []byte, n int) error {
	var v struct {
		runReport
		InstanceID string `json:"instance_id"`
		Outcome    result `json:"outcome"`
	}
	switch err := json.Unmarshal(line, &v); {
	case err != nil && n > 1:
		return nil // where a run was killed and the next one went on
	case err != nil || n == 1 && v.Type != "run":
		return errNoReport
	}
	switch v.Type {
	case "run":
		v.Started = j.run.Started
		if v.runReport != j.run {
			return fmt.Errorf("line %d: is the report of another run: %s in hub %s of account %s, or with other values", n, v.Operation, v.TaskHub, v.Account)
		}
	case "begun":
		j.begun[v.InstanceID] = struct{}{}
	case "operation":
		delete(j.begun, v.InstanceID)
		if v.Outcome == resultDone {
			j.done[v.InstanceID] = struct{}{}
		}
	}
	return nil
}

// isDone and isBegun report what earlier runs have said of an instance.
func (j *journal) isDone(id string) bool {
	if j == nil {
		return false
	}
	_, ok := j.done[id]
	return ok
}

func (j *journal) isBegun(id string) bool {
	if j == nil {
		return false
	}
	_, ok := j.begun[id]
	return ok
}

// create opens the file to go on at its end.
func (j *journal) create() error {
	if j == nil {
		return nil
	}
	f, err := os.OpenFile(j.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	j.f = f
	if j.torn {
		if _, err := f.WriteString("\n"); err != nil {
			return err
		}
	}
	return j.write(j.run)
}

// write writes a line, which is in the file when it returns.
func (j *journal) write(v any) error {
	if j == nil || j.f == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return writeJSON(j.f, v)
}

func (j *journal) begin(id string) error             { return j.write(begunReport{"begun", id}) }
func (j *journal) end(report *operationReport) error { return j.write(report) }
func (j *journal) close(summary *operationSummary) error {
	if j == nil || j.f == nil {
		return nil
	}
	return errors.Join(j.write(summary), j.f.Close())
}
