package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// TestMigrateScripts runs scripts that migrate, each with two accounts of its own:
// SOURCE holds the hub FuncLab of the recording functions-3-after-write, TARGET is
// empty. Proxies count the requests that could change them.
func TestMigrateScripts(t *testing.T) {
	hubs, err := filepath.Abs(testhub.Testdata(t, "hubs"))
	if err != nil {
		t.Fatal(err)
	}
	content := testhub.ContentOf(t, testhub.OpenHub(t, "functions-3-after-write"))
	type proxyKey string
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/migrate",
		RequireExplicitExec: true,
		UpdateScripts:       *update,
		Setup: func(e *testscript.Env) error {
			for _, name := range []string{"SOURCE", "TARGET"} {
				emulator := testhub.Azurite(t)
				if name == "SOURCE" {
					testhub.Load(t, emulator, content)
				}
				p := testhub.NewProxy(t, emulator)
				e.Values[proxyKey(name)] = p
				e.Setenv(name, p.ConnectionString())
				e.Setenv(name+"_ACCOUNT", p.Account)
				e.Setenv(name+"_SIGNED", "BlobEndpoint="+p.BlobURL+";QueueEndpoint="+p.QueueURL+";TableEndpoint="+p.TableURL+
					";SharedAccessSignature="+emulator.SAS("bqt", "rl"))
			}
			e.Setenv("HUBS", hubs)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "jsonlines": jsonLines, "only": only,
			// changes SOURCE|TARGET [none|some] fails unless so many requests that could
			// change the account were sent since the last time.
			"changes": func(ts *testscript.TestScript, neg bool, args []string) {
				if neg || len(args) != 2 {
					ts.Fatalf("usage: changes ACCOUNT none|some")
				}
				p, ok := ts.Value(proxyKey(args[0])).(*testhub.Proxy)
				if !ok {
					ts.Fatalf("no account %s", args[0])
				}
				if got := p.Mutating(); (len(got) == 0) != (args[1] == "none") {
					ts.Fatalf("%d requests that change something, want %s: %.1000q", len(got), args[1], got)
				}
				p.Reset()
			},
		},
	})
}

// runMigrateIn runs the program in a folder, where it keeps its journal.
func runMigrateIn(t *testing.T, dir string, args ...string) outcome {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Args, cmd.Dir = append([]string{"taskhub", "migrate"}, args...), dir
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// toHub are the options that name the hub to make.
func toHub(e *testhub.Emulator, name string, more ...string) []string {
	return append([]string{"--to-connection-string", e.ConnectionString(), "--to-task-hub-name", name}, more...)
}

// documents returns the objects that a run has printed: those of pending messages,
// and the last.
func documents(t *testing.T, stdout string) (pending []map[string]any, last map[string]any) {
	t.Helper()
	for line := range strings.Lines(stdout) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		if last != nil {
			pending = append(pending, last)
		}
		last = v
	}
	for _, p := range pending {
		if p["type"] != "pending_message" {
			t.Errorf("a line of type %v among those of messages", p["type"])
		}
	}
	return pending, last
}

// object returns an object of JSON; nil if v is none.
func object(v any) map[string]any {
	o, _ := v.(map[string]any)
	return o
}

// A capture and the hub in an account give the same report, but for what names the
// one or the other, and the same hub.
func TestMigrateLikeCapture(t *testing.T) {
	t.Parallel()
	const name = "dtfx-2.9.1-crashed"
	c := testhub.ContentOf(t, testhub.OpenHub(t, name))
	c.Tables[hub.Partitions] = nil // the leases are of the time when it was recorded
	source := testhub.Azurite(t)
	testhub.Load(t, source, c)
	sources := map[string][]string{
		"capture": {"--snapshot", mustAbs(t, testhub.HubFile(t, name))},
		"live":    {"--connection-string", source.ConnectionString(), "--task-hub-name", c.Names.TaskHub},
	}
	type told struct {
		Pending []map[string]any
		Last    map[string]any
		State   []string
	}
	got := make(map[string]told)
	for from, options := range sources {
		e := testhub.Azurite(t)
		out := runMigrateIn(t, t.TempDir(), slices.Concat(options, toHub(e, "Elsewhere", "--to-partition-count", "3", "--yes", "--json"))...)
		if out.code != exitDone || out.stderr != "" {
			t.Fatalf("%s: %+v", from, out)
		}
		pending, last := documents(t, out.stdout)
		for _, p := range pending {
			delete(p, "message_id") // the service's
		}
		// Blobs are named by their addresses in the rows of the source, and the
		// accounts of the targets are two.
		for _, member := range []string{"started", "finished", "took_ms", "phases", "plan_sha256", "journal"} {
			delete(last, member)
		}
		for _, member := range []string{"source.account", "source.captured", "target.account", "source_digests.instances", "target_digests.instances"} {
			parent, name, _ := strings.Cut(member, ".")
			delete(object(last[parent]), name)
		}
		got[from] = told{pending, last, migratedState(t, e, hub.Names{TaskHub: "Elsewhere"})}
	}
	if diff := cmp.Diff(got["capture"], got["live"]); diff != "" {
		t.Errorf("the report (-capture +live):\n%s", diff)
	}
	if n := len(got["live"].Pending); n != 106 { // 105 and what is said of those that nobody can see
		t.Errorf("%d lines of messages, want 106", n)
	}
}

func mustAbs(t *testing.T, path string) string {
	t.Helper()
	abs, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return abs
}

// migratedState is all that a migrated hub holds, hidden messages too, one line
// each, without what differs between two runs and two accounts. Times at which
// messages become visible are not in it.
func migratedState(t *testing.T, e *testhub.Emulator, names hub.Names) []string {
	t.Helper()
	c := testhub.ContentOf(t, reader(t, e, names))
	var lines []string
	for table, rows := range c.Tables {
		for _, row := range rows {
			row.Timestamp, row.ETag = 0, ""
			lines = append(lines, table.String()+" "+string(row.AppendJSON(nil)))
		}
	}
	for _, b := range c.Blobs {
		lines = append(lines, fmt.Sprintf("%s/%s %x %s", b.Container, b.Name, b.Data, b.ContentType))
	}
	for _, q := range c.Queues {
		for _, m := range e.AllMessages(t, q.Name) {
			lines = append(lines, q.Name+" "+m.Text)
		}
		lines = append(lines, fmt.Sprintf("%s holds %d", q.Name, q.ApproximateCount))
	}
	for i := range lines {
		lines[i] = strings.ReplaceAll(lines[i], e.BlobURL, "http://account")
	}
	slices.Sort(lines)
	return lines
}

// leased adds a lease that a worker holds, or has given up.
func leased(c hubtest.Content, held bool) hubtest.Content {
	lease := schema.PartitionLease{Queue: c.Names.ControlQueue(0), ExpiresAt: schema.Some(schema.TicksOf(time.Now().Add(time.Hour)))}
	if held {
		lease.CurrentOwner = schema.Some("worker")
	}
	c.Tables = maps.Clone(c.Tables)
	c.Tables[hub.Partitions] = []schema.Row{lease.Row()}
	return c
}

// What is refused writes nothing, neither to an account nor a file, and says why
// and what to do.
func TestMigrateRefuses(t *testing.T) {
	t.Parallel()
	idle := manyHub(3)
	moved := idle
	moved.Names.TaskHub = "Moved"
	moved = leased(inOtherName(idle, "Moved"), false)
	tests := map[string]struct {
		source, target hubtest.Content // the latter if it has a name
		options        []string
		code           int
		refusal        string // for programs
		says           string // for people, besides
	}{
		"a running source": {
			source: leased(idle, true), code: exitInUse, refusal: "source-running",
			says: "an app runs hub Many: leases of partitions held: 1\n    stop the app and its clients",
		},
		"a target that is there": {
			source: idle, target: moved, code: exitInUse, refusal: "target-exists",
			says: "hub Moved: the hub exists already\n    choose another --to-task-hub-name",
		},
		"a target that is running": {
			source: idle, target: leased(moved, true), code: exitInUse, refusal: "target-exists, target-running",
			says: "an app runs hub Moved: leases of partitions held: 1\n    stop the app that runs it",
		},
		"a target that nobody has begun": {
			source: idle, target: moved, options: []string{"--resume"}, code: exitInUse, refusal: "no-journal",
			says: "name the journal of the run that made it with --journal",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			from, to := testhub.Azurite(t), testhub.Azurite(t)
			testhub.Load(t, from, tt.source)
			if tt.target.Names.TaskHub != "" {
				testhub.Load(t, to, tt.target)
			}
			source, target := testhub.NewProxy(t, from), testhub.NewProxy(t, to)
			dir := t.TempDir()
			args := slices.Concat([]string{"--connection-string", source.ConnectionString(), "--task-hub-name", "Many", "--report", "report.jsonl"},
				toHub(&target.Emulator, "Moved"), tt.options)
			last := "taskhub: not migrated, and nothing was written: " + tt.refusal + "\n"
			for _, how := range []string{"--yes", "--dry-run"} {
				got := runMigrateIn(t, dir, append(args, how)...)
				if got.code != tt.code || got.stdout != "" || !strings.Contains(got.stderr, tt.says) || !strings.HasSuffix(got.stderr, last) {
					t.Errorf("%s: %+v, want %d, %q and %q", how, got, tt.code, tt.says, last)
				}
				got = runMigrateIn(t, dir, append(args, how, "--json")...)
				_, doc := documents(t, got.stdout)
				var codes []string
				for _, r := range anyList(doc["refusals"]) {
					refusal := object(r)
					codes = append(codes, fmt.Sprint(refusal["code"]))
					if refusal["detail"] == "" || refusal["hint"] == nil {
						t.Errorf("%s --json: refusal without detail or hint: %v", how, refusal)
					}
				}
				slices.Sort(codes)
				if got.code != tt.code || doc["outcome"] != "refused" || strings.Join(codes, ", ") != tt.refusal {
					t.Errorf("%s --json: %+v", how, got)
				}
			}
			if sent := slices.Concat(source.Mutating(), target.Mutating()); len(sent) > 0 {
				t.Errorf("requests that could change something: %q", sent)
			}
			noFiles(t, dir)
		})
	}
}

// Work that cannot be recovered is named; it stays behind only if that is accepted.
func TestMigrateLost(t *testing.T) {
	t.Parallel()
	c := testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1-backlog"))
	c.Blobs, c.Tables[hub.Partitions] = nil, nil
	source := testhub.Azurite(t)
	testhub.Load(t, source, c)
	target := testhub.NewProxy(t, testhub.Azurite(t))
	dir := t.TempDir()
	args := slices.Concat([]string{"--connection-string", source.ConnectionString(), "--task-hub-name", c.Names.TaskHub, "--without-queues"},
		toHub(&target.Emulator, "Elsewhere", "--yes"))
	got := runMigrateIn(t, dir, args...)
	if got.code != exitFindings || !strings.HasSuffix(got.stderr, "\n    the plan names them; --accept-lost goes on without\ntaskhub: not migrated, and nothing was written: lost-work\n") ||
		!regexp.MustCompile(`(?m)^  lost +\S+ +start `).MatchString(got.stderr) {
		t.Errorf("%+v", got)
	}
	if sent := target.Mutating(); len(sent) > 0 {
		t.Errorf("requests that could change the target: %q", sent)
	}
	noFiles(t, dir)
	got = runMigrateIn(t, dir, append(args, "--accept-lost", "--json", "--report", "report.jsonl")...)
	pending, doc := documents(t, got.stdout)
	lost := 0
	for _, p := range pending {
		if p["origin"] == "unrecoverable" && p["kind"] != "hidden" {
			lost++
			if p["instance_id"] == nil || p["why"] == "" {
				t.Errorf("a lost item without instance or reason: %v", p)
			}
		}
	}
	if got.code != exitSkipped || doc["outcome"] != "done" || lost == 0 || doc["lost"] != float64(lost) ||
		!strings.Contains(got.stderr, fmt.Sprintf(`"message":"done, but %d item`, lost)) {
		t.Errorf("with --accept-lost, %d are named lost: %+v", lost, got)
	}
	if report, err := os.ReadFile(filepath.Join(dir, "report.jsonl")); err != nil || string(report) != got.stdout {
		t.Errorf("the report is not what was printed: %v\n%s", err, report)
	}
}

// A copy that somebody has written to is told of and gets no message.
func TestMigrateDiffers(t *testing.T) {
	t.Parallel()
	e := testhub.Azurite(t)
	args := append([]string{"--snapshot", mustAbs(t, testhub.HubFile(t, "functions-3-after-write"))}, toHub(e, "Elsewhere", "--yes")...)
	dir := t.TempDir()
	// The answers to what would send messages end the first run.
	p := testhub.NewProxy(t, e)
	p.Inject(testhub.Fault{Kind: testhub.Status, Status: 400, Match: "DELETE /" + e.Account + "/elsewhere-control-00/messages"})
	first := append(args[:2:2], toHub(&p.Emulator, "Elsewhere", "--yes", "--report", "report.jsonl")...)
	got := runMigrateIn(t, dir, first...)
	if got.code != exitFailed || !regexp.MustCompile(`\nstopped after [\dms ]+, with .* written; `).MatchString(got.stderr) || !strings.Contains(got.stderr, "the same command with --resume goes on\n") {
		t.Fatalf("%+v", got)
	}
	if report, err := os.ReadFile(filepath.Join(dir, "report.jsonl")); err != nil || !strings.Contains(string(report), `"outcome":"failed"`) {
		t.Errorf("the report: %v\n%.1000s", err, report)
	}
	if again := runMigrateIn(t, dir, first...); again.code != exitFailed || !strings.Contains(again.stderr, "report.jsonl exists, and a report is not overwritten") {
		t.Errorf("a report that is there: %+v", again)
	}
	e.Insert(t, "ElsewhereInstances", []schema.Row{{PartitionKey: "stranger", Properties: []schema.Property{{Name: "Name", Value: schema.String("x")}}}})
	p.Reset()
	got = runMigrateIn(t, dir, append(first, "--resume")...)
	if got.code != exitFindings || !strings.Contains(got.stderr, "\nthe copy differs\n  Instances stranger/ unexpected\n") {
		t.Errorf("%+v", got)
	}
	if n := len(e.AllMessages(t, "elsewhere-control-00")); n != 0 {
		t.Errorf("%d messages were sent", n)
	}
	if report, err := os.ReadFile(filepath.Join(dir, "report.jsonl")); err != nil || !strings.Contains(string(report), `"outcome":"differs"`) {
		t.Errorf("the report: %v\n%.1000s", err, report)
	}
}
