package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// TestOperateScripts runs scripts that change a hub, each on an account of its
// own that holds the hub FuncLab of the recording functions-3. A proxy counts the
// requests that could change it.
func TestOperateScripts(t *testing.T) {
	hubs, err := filepath.Abs(testhub.Testdata(t, "hubs"))
	if err != nil {
		t.Fatal(err)
	}
	content := testhub.ContentOf(t, testhub.OpenHub(t, "functions-3"))
	type proxyKey struct{}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/operate",
		RequireExplicitExec: true,
		UpdateScripts:       *update,
		Setup: func(e *testscript.Env) error {
			emulator := testhub.Azurite(t)
			testhub.Load(t, emulator, content)
			p := testhub.NewProxy(t, emulator)
			e.Values[proxyKey{}] = p
			e.Setenv("HUBS", hubs)
			e.Setenv("AzureWebJobsStorage", p.ConnectionString())
			e.Setenv("ACCOUNT", emulator.Account)
			e.Setenv("HUB", "--task-hub-name=FuncLab")
			e.Setenv("SOON", time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
			e.Setenv("SIGNED", "BlobEndpoint="+p.BlobURL+";QueueEndpoint="+p.QueueURL+";TableEndpoint="+p.TableURL+
				";SharedAccessSignature="+emulator.SAS("bqt", "rl"))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "jsonlines": jsonLines,
			// changes N fails unless N requests that could change the account were
			// sent since the last time.
			"changes": func(ts *testscript.TestScript, neg bool, args []string) {
				p, ok := ts.Value(proxyKey{}).(*testhub.Proxy)
				if neg || len(args) != 1 || !ok {
					ts.Fatalf("usage: changes COUNT")
				}
				if got := p.Mutating(); strconv.Itoa(len(got)) != args[0] {
					ts.Fatalf("%d requests that change something, want %s: %q", len(got), args[0], got)
				}
				p.Reset()
			},
		},
	})
}

// manyHub is a hub with so many instances that run, order-000 and on.
func manyHub(n int) hubtest.Content {
	c := hubtest.Content{Names: hub.Names{TaskHub: "Many"}, Tables: map[hub.Table][]schema.Row{hub.History: nil}}
	at := schema.TicksOf(time.Date(2026, 11, 22, 4, 0, 0, 0, time.UTC))
	for i := range n {
		instance := schema.Instance{
			PartitionKey: fmt.Sprintf("order-%03d", i), ExecutionID: schema.Some(fmt.Sprintf("%032x", i)), Name: schema.TextOf("OrderFlow"),
			Version: schema.Some(""), RuntimeStatus: schema.Some("Running"), CreatedTime: schema.Some(at), LastUpdatedTime: schema.Some(at),
			TaskHubName: schema.Some("Many"),
		}
		c.Tables[hub.Instances] = append(c.Tables[hub.Instances], instance.Row())
	}
	for i := range 4 {
		c.Queues = append(c.Queues, hubtest.Queue{Name: c.Names.ControlQueue(i)})
	}
	c.Queues = append(c.Queues, hubtest.Queue{Name: c.Names.WorkItemQueue()})
	return c
}

// watched is an account that counts the messages that are put into its queues, by
// instance. What it was asked for is carried out even if the client is killed.
type watched struct {
	*testhub.Emulator
	reached chan struct{} // closed at the message with the number at

	mu       sync.Mutex
	at, seen int
	messages map[string]int
}

var messageInstance = regexp.MustCompile(`"OrchestrationInstance":\{"\$type":"DurableTask.Core.OrchestrationInstance","InstanceId":"([^"]*)","ExecutionId":null\}`)

func watch(t *testing.T, e *testhub.Emulator, at int) *watched {
	t.Helper()
	w := &watched{reached: make(chan struct{}), at: at, messages: make(map[string]int)}
	w.Emulator = between(t, e, func(rw http.ResponseWriter, r *http.Request, forward http.Handler) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/messages") {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			r = r.WithContext(context.WithoutCancel(r.Context()))
			r.Body = io.NopCloser(bytes.NewReader(body))
			w.note(t, body)
		}
		forward.ServeHTTP(rw, r)
	})
	return w
}

func (w *watched) note(t *testing.T, body []byte) {
	var m struct{ MessageText string }
	if err := xml.Unmarshal(body, &m); err != nil {
		t.Error(err)
	}
	text, _, err := schema.MessageText(m.MessageText)
	found := messageInstance.FindStringSubmatch(text)
	if err != nil || found == nil {
		t.Errorf("not a message to an instance: %v: %s", err, text)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.messages[found[1]]++
	if w.seen++; w.seen == w.at {
		close(w.reached)
	}
}

// counts returns how many instances got so many messages each.
func (w *watched) counts() map[int]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	counts := make(map[int]int)
	for _, n := range w.messages {
		counts[n]++
	}
	return counts
}

// stopped runs the program until the account has reached its message, and then
// sends it a signal.
func stopped(t *testing.T, bin string, w *watched, signal os.Signal, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), bin, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait() // ProcessState tells
		close(ended)
	}()
	select {
	case <-w.reached:
		if err := cmd.Process.Signal(signal); err != nil {
			_ = cmd.Process.Kill()
			<-ended
			t.Skip(err) // Windows has no such signals
		}
		<-ended
	case <-ended:
		t.Fatalf("it has ended before it was to be stopped: %s", &stderr)
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// operating are the arguments of an operation on the hub of manyHub.
func operating(e *testhub.Emulator, command string, more ...string) []string {
	return slices.Concat([]string{command, "--connection-string", e.ConnectionString(), "--task-hub-name", "Many"}, more)
}

// A run over many instances that is interrupted finishes what it has begun, and
// goes on when it is repeated: each instance gets one message. Of one that is
// killed, what it was at is told and not repeated if that could do harm.
func TestBulkStopped(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the program")
	}
	t.Parallel()
	bin := buildTaskhub(t)
	const instances = 300
	raise := []string{"--all", "--event-name", "Go", "--yes"}
	load := func(t *testing.T, at int) *watched {
		e := testhub.Azurite(t)
		testhub.Load(t, e, manyHub(instances))
		return watch(t, e, at)
	}
	t.Run("interrupted", func(t *testing.T) {
		w := load(t, 100)
		report := filepath.Join(t.TempDir(), "report.jsonl")
		args := operating(w.Emulator, "raise-event", append(raise, "--report", report)...)
		got := stopped(t, bin, w, os.Interrupt, args...)
		if got.code != exitInterrupted || !regexp.MustCompile(`raise-event: 1\d\d done, 1\d\d not begun in \d+s; the same command goes on\ntaskhub: interrupted\n$`).MatchString(got.stderr) {
			t.Errorf("interrupted: exit code %d, stderr %q", got.code, got.stderr)
		}
		done := lines(got.stdout)
		if diff := cmp.Diff(map[int]int{1: done}, w.counts()); diff != "" {
			t.Errorf("messages of the first run (-told +sent):\n%s", diff)
		}
		got = taskhubRun(t, args...)
		if got.code != exitDone || lines(got.stdout) != instances-done {
			t.Errorf("repeated: exit code %d, %d lines, want %d: %s", got.code, lines(got.stdout), instances-done, got.stderr)
		}
		if diff := cmp.Diff(map[int]int{1: instances}, w.counts()); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	})
	t.Run("killed", func(t *testing.T) {
		w := load(t, 120)
		report := filepath.Join(t.TempDir(), "report.jsonl")
		args := operating(w.Emulator, "raise-event", append(raise, "--report", report, "--concurrency", "4")...)
		stopped(t, bin, w, os.Kill, args...)
		got := taskhubRun(t, append(args, "--json")...)
		var uncertain []string
		for line := range strings.Lines(got.stdout) {
			var v operationReport
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatal(err)
			}
			if v.Outcome == resultFailed {
				uncertain = append(uncertain, v.InstanceID)
				if v.Error != errUncertain.Error() {
					t.Errorf("%s: %s", v.InstanceID, v.Error)
				}
			}
		}
		// The fourth of them may have ended just before.
		if got.code != exitSkipped || len(uncertain) < 1 || len(uncertain) > 4 {
			t.Errorf("repeated: exit code %d, want %d; uncertain are %q: %s", got.code, exitSkipped, uncertain, got.stderr)
		}
		for i := range instances {
			id := fmt.Sprintf("order-%03d", i)
			if n := w.messages[id]; n > 1 || n == 0 && !slices.Contains(uncertain, id) {
				t.Errorf("%s got %d messages", id, n)
			}
		}
		again := taskhubRun(t, args...)
		if again.code != exitSkipped || !strings.Contains(again.stderr, fmt.Sprintf("raise-event: 0 done, %d failed", len(uncertain))) {
			t.Errorf("repeated once more: %+v", again)
		}
	})
	t.Run("killed and harmless to repeat", func(t *testing.T) {
		w := load(t, 120)
		report := filepath.Join(t.TempDir(), "report.jsonl")
		args := operating(w.Emulator, "terminate", "--all", "--yes", "--report", report, "--concurrency", "4")
		stopped(t, bin, w, os.Kill, args...)
		if got := taskhubRun(t, args...); got.code != exitDone {
			t.Errorf("repeated: %+v", got)
		}
		counts := w.counts()
		if counts[1]+counts[2] != instances || counts[2] > 4 {
			t.Errorf("so many instances got so many messages: %v", counts)
		}
	})
}

// A service that is busy for a time is waited for; one that refuses everything
// ends the run.
func TestBulkFaults(t *testing.T) {
	t.Parallel()
	e := testhub.Azurite(t)
	testhub.Load(t, e, manyHub(60))
	p := testhub.NewProxy(t, e)
	p.Inject(testhub.Fault{Kind: testhub.Throttle, RetryAfter: "0", Match: "POST", After: 10, Times: 12})
	w := watch(t, &p.Emulator, 0)
	got := taskhubRun(t, operating(w.Emulator, "terminate", "--all", "--yes", "--json")...)
	if got.code != exitDone || !strings.Contains(got.stdout, `"chosen":60,"done":60,`) {
		t.Errorf("a busy service: %+v", got)
	}
	p.Reset()
	p.Inject(testhub.Fault{Kind: testhub.Status, Status: http.StatusBadRequest, Match: "POST", After: 5})
	got = taskhubRun(t, operating(&p.Emulator, "terminate", "--all", "--yes", "--concurrency", "1")...)
	if got.code != exitFailed || lines(got.stdout) != 5 || !strings.Contains(got.stderr, "terminate: 5 done, 20 failed, 35 not begun") ||
		!strings.Contains(got.stderr, "20 failures in a row: ") {
		t.Errorf("a service that refuses: %+v", got)
	}
}

// Of two that change the same row at the same time, one is told that it was not
// the first.
func TestOperateRace(t *testing.T) {
	t.Parallel()
	content := testhub.ContentOf(t, testhub.OpenHub(t, "functions-3"))
	tests := map[string]struct {
		args  []string
		first string // the request at which they meet
	}{
		"custom status":     {[]string{"set-custom-status", "--id", "hello-1", "--custom-status", "a"}, http.MethodPatch},
		"rewind":            {[]string{"rewind", "--id", "failing-1", "--no-wait"}, http.MethodPut},
		"start":             {[]string{"start-new", "--function-name", "F", "--id", "new"}, http.MethodPost},
		"restart over":      {[]string{"restart", "--id", "hello-1", "--same-id"}, http.MethodPut},
		"start over a live": {[]string{"start-new", "--function-name", "F", "--id", "wait-1", "--overwrite"}, http.MethodPut},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := testhub.Azurite(t)
			testhub.Load(t, e, content)
			var waiting atomic.Int64
			both := make(chan struct{})
			met := between(t, e, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
				if r.Method == tt.first && strings.Contains(r.URL.Path, "FuncLab") { // of a table
					if waiting.Add(1) == 2 {
						close(both)
					}
					select {
					case <-both:
					case <-time.After(20 * time.Second):
					}
				}
				forward.ServeHTTP(w, r)
			})
			args := slices.Concat(tt.args, []string{"--connection-string", met.ConnectionString(), "--task-hub-name", "FuncLab", "--yes"})
			var results [2]outcome
			var running sync.WaitGroup
			for i := range results {
				running.Go(func() { results[i] = taskhubRun(t, args...) })
			}
			running.Wait()
			winner, loser := results[0], results[1]
			if winner.code != exitDone {
				winner, loser = loser, winner
			}
			if winner.code != exitDone || loser.code != exitFailed ||
				!regexp.MustCompile(`: changed by somebody else \(4(09|12) .*\) \(look at it again before you repeat this\)\n$`).MatchString(loser.stderr) {
				t.Errorf("winner %+v\nloser %+v", winner, loser)
			}
		})
	}
}

func TestGate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGate(8)
		log := slog.New(g)
		limit := func(want int) {
			t.Helper()
			if g.limit != want {
				t.Errorf("limit %d, want %d", g.limit, want)
			}
		}
		for range 8 {
			if err := g.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		if err := g.enter(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a ninth comes in: %v", err)
		}
		cancel()
		log.Warn("service is busy", "status", 503)
		log.Warn("service is busy", "status", 503) // the same time that it was busy
		limit(4)
		log.Warn("service is busy", "status", 500)
		log.Info("fine", "status", 503)
		time.Sleep(2 * time.Second)
		limit(4)
		log.Warn("service is busy", "status", 429)
		limit(2)
		for range 6 {
			g.leave()
		}
		// Two are inside; a third has to wait until one leaves.
		entered := make(chan error, 1)
		go func() { entered <- g.enter(t.Context()) }()
		synctest.Wait()
		select {
		case err := <-entered:
			t.Errorf("a third comes in while the limit is 2: %v", err)
		default:
		}
		g.leave()
		if err := <-entered; err != nil {
			t.Error(err)
		}
		for range 400 { // in calm it grows back, and no further
			g.leave()
			if err := g.enter(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		limit(8)
	})
}

func TestIDLines(t *testing.T) {
	tests := []struct{ name, text, want, err string }{
		{"nothing", "", "", ""},
		{"plain", "a\nb", "a|b", ""},
		{"blank lines and Windows", "\uFEFFa\r\n\r\n b c \r\n", "a| b c ", ""},
		{"ours", `{"type":"finding","instance_id":"a"}` + "\n" + `{"type":"summary"}` + "\n", "a", ""},
		{"of get-instances", `{"type":"instance","OrchestrationInstance":{"InstanceId":"@x@y","ExecutionId":"e"}}` + "\n", "@x@y", ""},
		{"an ID in braces", "{6F9619FF}\n", "{6F9619FF}", ""},
		{"escaped", `{"instance_id":"a\nb"}`, "a\nb", ""},
		{"no ID", "a\n{\"id\":1}\n", "a", "line 2: a JSON object without instance_id"},
		{"of another type", `{"instance_id":1}`, "", "line 1: "},
		{"too long", "a\n" + strings.Repeat("x", maxLine+1), "a", "line 2: bufio.Scanner: token too long"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			text := ""
			for id, err := range idLines(strings.NewReader(tt.text)) {
				if err != nil {
					text = err.Error()
					continue
				}
				got = append(got, id)
			}
			if strings.Join(got, "|") != tt.want || !strings.HasPrefix(text, tt.err) || (text == "") != (tt.err == "") {
				t.Errorf("idLines = %q, %q; want %q, %q", got, text, tt.want, tt.err)
			}
		})
	}
}

// A report that was cut off anywhere says at least what was begun.
func TestJournalCut(t *testing.T) {
	run := runReport{Type: "run", Operation: "raise-event", Account: "a", TaskHub: "h", Parameters: "p"}
	var whole bytes.Buffer
	for _, v := range []any{
		run,
		begunReport{"begun", "one"},
		begunReport{"begun", "two"},
		operationReport{Type: "operation", InstanceID: "one", Outcome: resultDone},
		operationReport{Type: "operation", InstanceID: "two", Outcome: resultRefused},
	} {
		if err := writeJSON(&whole, v); err != nil {
			t.Fatal(err)
		}
	}
	starts := []int{0}
	for i, b := range whole.Bytes() {
		if b == '\n' {
			starts = append(starts, i+1)
		}
	}
	for n := starts[1]; n <= whole.Len(); n++ {
		j := &journal{run: run, done: map[string]struct{}{}, begun: map[string]struct{}{}}
		if err := j.read(bytes.NewReader(whole.Bytes()[:n])); err != nil {
			t.Fatalf("cut at %d: %v", n, err)
		}
		want := fmt.Sprint(n >= starts[2] && n < starts[4], n >= starts[3] && n < starts[5], n >= starts[4], false, !slices.Contains(starts, n))
		if got := fmt.Sprint(j.isBegun("one"), j.isBegun("two"), j.isDone("one"), j.isDone("two"), j.torn); got != want {
			t.Errorf("cut at %d: %s, want %s", n, got, want)
		}
	}
	for _, text := range []string{"x", "x\n", "{}\n", `{"type":"begun"}` + "\n", `{"type":"ru`} {
		j := &journal{run: run}
		if err := j.read(strings.NewReader(text)); !errors.Is(err, errNoReport) {
			t.Errorf("%q is taken for a report: %v", text, err)
		}
	}
}

func TestOperateDocument(t *testing.T) {
	doc := documented(t)
	for kind, v := range map[string]any{
		"operation": operationReport{}, "summary of operations": operationSummary{}, "run": runReport{}, "begun": begunReport{},
		"rewind-plan": rewindPlanReport{}, "wait": waitReport{}, "idle": idleReport{},
	} {
		if diff := cmp.Diff(structFields(reflect.TypeOf(v), ""), doc[kind]); diff != "" {
			t.Errorf("docs/json.md, %s (-program +document):\n%s", kind, diff)
		}
	}
}

// Whether an app runs the hub is said before anything is changed, and a hub that
// one runs is not restored over.
func TestOperateRunning(t *testing.T) {
	t.Parallel()
	c := manyHub(1)
	lease := schema.Row{RowKey: c.Names.ControlQueue(0), Properties: []schema.Property{
		{Name: "CurrentOwner", Value: schema.String("worker")},
		{Name: "ExpiresAt", Value: schema.DateTime(schema.TicksOf(time.Now().Add(time.Hour)))},
	}}
	c.Tables[hub.Partitions] = []schema.Row{lease}
	capture := filepath.Join(t.TempDir(), "many.taskhub")
	if err := snapshot.Capture(t.Context(), capture, testhub.NewMemory(c), snapshot.CaptureOptions{}); err != nil {
		t.Fatal(err)
	}
	e := testhub.Azurite(t)
	testhub.Load(t, e, c)
	p := testhub.NewProxy(t, e)
	got := taskhubRun(t, operating(&p.Emulator, "terminate", "--id", "order-000", "--dry-run")...)
	if got.code != exitDone || !strings.Contains(got.stderr, "; an app is running it (leases of partitions held: 1)\n") {
		t.Errorf("terminate: %+v", got)
	}
	for _, more := range []string{"--yes", "--dry-run"} {
		got = taskhubRun(t, restoring(capture, &p.Emulator, "--resume", more)...)
		if got.code != exitInUse || !strings.Contains(got.stderr, "it is overwritten; an app is running it (leases of partitions held: 1)\n") {
			t.Errorf("restore %s: %+v", more, got)
		}
	}
	if changes := p.Mutating(); len(changes) > 0 {
		t.Errorf("requests that change something: %q", changes)
	}
}

// What waits for a worker sees what the worker does.
func TestOperateWaits(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		status string // which the worker sets
		args   []string
		want   outcome // the end of stderr
	}{
		"terminated": {"Terminated", []string{"terminate", "--yes"}, outcome{
			exitDone, "Sent a termination message to instance 'order-000'. Waiting up to 30 seconds for the orchestration to actually terminate...\n" +
				"Successfully terminated 'order-000'\n", "",
		}},
		"completed before": {"Completed", []string{"terminate", "--yes"}, outcome{
			exitFailed, "Sent a termination message to instance 'order-000'. Waiting up to 30 seconds for the orchestration to actually terminate...\n",
			"taskhub: instance \"order-000\" has ended as Completed before it could be terminated\n",
		}},
		"wait":        {"Completed", []string{"wait"}, outcome{exitDone, "Instance 'order-000' is Completed.\n", ""}},
		"wait failed": {"Failed", []string{"wait"}, outcome{exitFindings, "Instance 'order-000' is Failed.\n", "taskhub: instance \"order-000\" has ended as Failed\n"}},
		"wait-idle":   {"Completed", []string{"wait-idle", "--timeout", "20s"}, outcome{exitDone, "No work is in flight.\n", ""}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := testhub.Azurite(t)
			testhub.Load(t, e, manyHub(1))
			cfg, err := live.ParseConnectionString(e.ConnectionString())
			if err != nil {
				t.Fatal(err)
			}
			editor, err := live.OpenEditor(t.Context(), cfg, hub.Names{TaskHub: "Many"}, live.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer editor.Close()
			worker := func() error {
				for row, err := range editor.Rows(t.Context(), hub.Instances, hub.Keys{}) {
					if err != nil {
						return err
					}
					change := schema.Row{PartitionKey: row.PartitionKey, ETag: row.ETag}
					change.Set("RuntimeStatus", schema.String(tt.status))
					_, err := editor.MergeRow(t.Context(), hub.Instances, change)
					return err
				}
				return errors.New("no instance")
			}
			var asked atomic.Int64
			seen := between(t, e, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
				forward.ServeHTTP(w, r)
				sends := r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/messages")
				looks := r.Method == http.MethodGet && strings.Contains(r.URL.Path, "ManyInstances") && tt.args[0] != "terminate"
				// The first of the GETs asks whether there is such a table.
				if sends || looks && asked.Add(1) == 2 {
					if err := worker(); err != nil {
						t.Error(err)
					}
				}
			})
			args := tt.args
			if args[0] != "wait-idle" {
				args = append(args, "--id", "order-000")
			}
			got := taskhubRun(t, operating(seen, args[0], args[1:]...)...)
			if got.code != tt.want.code || got.stdout != tt.want.stdout || !strings.HasSuffix(got.stderr, tt.want.stderr) {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}
