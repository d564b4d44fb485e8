package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
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

// damagedContent is what a damaged hub holds.
func damagedContent(t testing.TB, name string) hubtest.Content {
	t.Helper()
	r, err := snapshot.Open(testhub.Testdata(t, "damaged", name+".taskhub"), snapshot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	return testhub.ContentOf(t, r)
}

// TestRepairScripts runs scripts that repair hubs in accounts of Azurite.
func TestRepairScripts(t *testing.T) {
	type proxyKey struct{}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/repair",
		RequireExplicitExec: true,
		UpdateScripts:       *update,
		Setup: func(e *testscript.Env) error {
			p := testhub.NewProxy(t, testhub.Azurite(t))
			e.Values[proxyKey{}] = p
			e.Setenv("DAMAGED", testhub.Testdata(t, "damaged"))
			e.Setenv("TASKHUB_CONNECTION_STRING", p.ConnectionString())
			e.Setenv("ACCOUNT", p.Account)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "jsonlines": jsonLines, "absent": absent, "damage": damage, "expand": expand,
			// load NAME [running] puts a damaged hub into the account, with running as one
			// that an app works on.
			"load": func(ts *testscript.TestScript, neg bool, args []string) {
				p, ok := ts.Value(proxyKey{}).(*testhub.Proxy)
				if neg || len(args) == 0 || !ok {
					ts.Fatalf("usage: load NAME [running]")
				}
				c := damagedContent(t, args[0])
				if len(args) > 1 {
					for i := range c.Tables[hub.Partitions] {
						r := &c.Tables[hub.Partitions][i]
						r.Set("CurrentOwner", schema.String("worker-1"))
						r.Set("ExpiresAt", schema.DateTime(schema.TicksOf(time.Now().Add(time.Hour))))
					}
				}
				testhub.Load(t, &p.Emulator, c)
				p.Reset()
			},
			// changes N is as in TestOperateScripts.
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

// TestRepairDocument checks that docs/json.md has the fields that are printed.
func TestRepairDocument(t *testing.T) {
	doc := documented(t)
	for kind, v := range map[string]any{"repair": repairLine{}, "summary of repair": repairSummary{}} {
		if diff := cmp.Diff(structFields(reflect.TypeOf(v), ""), doc[kind]); diff != "" {
			t.Errorf("docs/json.md, %s (-program +document):\n%s", kind, diff)
		}
	}
}

// TestRepairDamaged repairs every damaged hub of which something can be mended, in an
// account and as a person would: plan, apply, verify. What was repaired is no longer
// found, and what takes it back gives the same findings as before.
func TestRepairDamaged(t *testing.T) {
	paths, err := filepath.Glob(testhub.Testdata(t, "damaged", "*.taskhub"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d damaged hubs, %v", len(paths), err)
	}
	done := 0
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".taskhub")
		offline := filepath.Join(t.TempDir(), "plan.json")
		got := taskhubRun(t, "repair", "--plan", offline, "--snapshot", path)
		if f, err := readRepairFile(offline); err != nil {
			t.Fatalf("%s: %v; %s", name, err, got.stderr)
		} else if len(f.Repairs) == 0 {
			continue
		}
		if done++; testing.Short() && done > 3 {
			break
		}
		t.Run(name, func(t *testing.T) {
			emulator := testhub.Azurite(t)
			c := damagedContent(t, name)
			ownAddresses(&c, emulator)
			testhub.Load(t, emulator, c)
			clearSettings(t)
			p := testhub.NewProxy(t, emulator)
			t.Setenv(connectionVariable, p.ConnectionString())
			before := verified(t, c.Names)
			planned := taskhubRun(t, "repair", "--plan", "plan.json", "--task-hub-name", c.Names.TaskHub, "--json")
			if sent := p.Mutating(); len(sent) > 0 {
				t.Errorf("the plan sends requests that could change the account: %q", sent)
			}
			f, err := readRepairFile("plan.json")
			if err != nil {
				t.Fatalf("%v; %s", err, planned.stderr)
			}
			var codes []string
			for i := range f.Repairs {
				codes = append(codes, f.Repairs[i].Codes()...)
			}
			dry := taskhubRun(t, "repair", "--apply", "plan.json", "--dry-run", "--force", "--json")
			if sent := p.Mutating(); dry.code != exitDone || len(sent) > 0 {
				t.Errorf("dry run: exit code %d, requests %q, stderr %s", dry.code, sent, dry.stderr)
			}
			got := taskhubRun(t, "repair", "--apply", "plan.json", "--yes", "--force", "--json")
			if got.code != exitDone {
				t.Fatalf("apply: exit code %d: %s%s", got.code, got.stdout, got.stderr)
			}
			if len(f.Repairs) == 0 || len(p.Mutating()) == 0 {
				t.Errorf("%d repairs, requests that change something: %q", len(f.Repairs), p.Mutating())
			}
			left := slices.DeleteFunc(slices.Clone(before), func(line string) bool {
				return slices.ContainsFunc(codes, func(code string) bool { return strings.Contains(line, " "+code+" ") })
			})
			if diff := cmp.Diff(left, verified(t, c.Names)); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			p.Reset()
			if got = taskhubRun(t, "repair", "--apply", "plan.json", "--yes", "--force"); got.code != exitDone || len(p.Mutating()) > 0 {
				t.Errorf("the second time: exit code %d, requests %q, %s%s", got.code, p.Mutating(), got.stdout, got.stderr)
			}
			got = taskhubRun(t, "repair", "--apply", "plan.undo.jsonl", "--yes", "--force")
			if hidden := strings.Contains(got.stdout, "hidden until it is due"); got.code != exitDone && (got.code != exitSkipped || !hidden) {
				t.Errorf("undo: exit code %d: %s%s", got.code, got.stdout, got.stderr)
			} else if diff := cmp.Diff(before, verified(t, c.Names)); diff != "" && !hidden {
				t.Errorf("findings after the undo (-before +now):\n%s", diff)
			}
		})
	}
	if done == 0 {
		t.Error("nothing was repaired")
	}
}

// ownAddresses lets the rows of a hub name payloads of the account that it is put
// into, but for those that name others.
func ownAddresses(c *hubtest.Content, e *testhub.Emulator) {
	container := c.Names.LargeMessages()
	for i := range c.Tables[hub.Instances] {
		r := &c.Tables[hub.Instances][i]
		for _, column := range []string{"Input", "Output"} {
			value, _ := r.Get(column).Text()
			if name, ours := schema.ParseBlobURL(value, container); ours && strings.Contains(value, "/"+c.Account+"/") {
				r.Set(column, schema.String(schema.BlobURL(e.BlobURL, container, name)))
			}
		}
	}
}

// verified are the findings of a hub, from warnings on.
func verified(t *testing.T, names hub.Names) []string {
	t.Helper()
	all := []string{}
	for line := range strings.Lines(taskhubRun(t, "verify", "--task-hub-name", names.TaskHub, "--severity", "warning", "--json").stdout) {
		var f damagedFinding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatal(err)
		}
		// A message that was sent waits for a worker, which there is none of.
		if f.Type == "finding" && f.Code != "partition-stuck" {
			all = append(all, fmt.Sprintf("%s %s %s", f.Severity, f.Code, f.InstanceID))
		}
	}
	slices.Sort(all)
	return all
}

// counted is an account that counts the requests that change it, and tells when there
// were so many. That one is never answered, whether it is carried out or not.
type counted struct {
	*testhub.Emulator
	reached, killed chan struct{}
	mu              sync.Mutex
	at, n           int
}

func countChanges(t *testing.T, e *testhub.Emulator, at int, carryOut bool) *counted {
	t.Helper()
	c := &counted{reached: make(chan struct{}), killed: make(chan struct{}), at: at}
	c.Emulator = between(t, e, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if testhub.Mutates(r) {
			c.mu.Lock()
			c.n++
			last := c.n == c.at
			c.mu.Unlock()
			if last {
				if carryOut {
					forward.ServeHTTP(httptest.NewRecorder(), r)
				}
				close(c.reached)
				<-c.killed
				return
			}
		}
		forward.ServeHTTP(w, r)
	})
	return c
}

// TestRepairKilled kills the program at each of its changes, and runs it again: the
// end is that of a run that was left alone, or it says that it has to wait for what
// the killed one has received.
func TestRepairKilled(t *testing.T) {
	names := []string{"rewind-residue", "message-wrong-partition", "lost-work-sub-orchestration"}
	if testing.Short() {
		names = names[:1]
	}
	bin := buildTaskhub(t)
	for n := range 2 * len(names) {
		name, carryOut := names[n/2], n%2 == 1
		t.Run(fmt.Sprintf("%s carried out %v", name, carryOut), func(t *testing.T) {
			clearSettings(t)
			content := damagedContent(t, name)
			var end string
			for at := 0; ; at++ {
				emulator := testhub.Azurite(t)
				testhub.Load(t, emulator, content)
				for _, file := range []string{"plan.json", "plan.undo.jsonl"} {
					_ = os.Remove(file)
				}
				connection := "--connection-string=" + emulator.ConnectionString()
				if got := taskhubRun(t, "repair", "--plan", "plan.json", "--task-hub-name", content.Names.TaskHub, connection); got.code != exitDone {
					t.Fatal(got.stderr)
				}
				atEnd := false
				if at > 0 {
					c := countChanges(t, emulator, at, carryOut)
					cmd := exec.CommandContext(t.Context(), bin, "repair", "--apply", "plan.json", "--yes", "--force", "--connection-string="+c.ConnectionString())
					var stderr bytes.Buffer
					cmd.Stderr = &stderr
					if err := cmd.Start(); err != nil {
						t.Fatal(err)
					}
					ended := make(chan struct{})
					go func() { _ = cmd.Wait(); close(ended) }()
					select {
					case <-c.reached:
						_ = cmd.Process.Kill() // SIGKILL
						<-ended
					case <-ended:
						atEnd = true // it has fewer changes
					}
					close(c.killed)
				}
				got := taskhubRun(t, "repair", "--apply", "plan.json", "--yes", "--force", connection)
				if got.code == exitSkipped && strings.Contains(got.stdout, "may be hidden by the run that was cut off") {
					continue // for five minutes
				}
				if got.code != exitDone {
					t.Fatalf("killed at change %d: exit code %d: %s%s", at, got.code, got.stdout, got.stderr)
				}
				state := accountState(t, emulator, content.Names)
				if at == 0 {
					end = state
				} else if diff := cmp.Diff(end, state); diff != "" {
					t.Errorf("killed at change %d (-undisturbed +gone on):\n%s", at, diff)
				}
				if atEnd {
					if at < 3 {
						t.Errorf("there were only %d changes", at-1)
					}
					return
				}
			}
		})
	}
}

// accountState is what a hub holds, but for times and versions.
func accountState(t *testing.T, e *testhub.Emulator, names hub.Names) string {
	t.Helper()
	config, err := live.ParseConnectionString(e.ConnectionString())
	if err != nil {
		t.Fatal(err)
	}
	h, err := live.Open(t.Context(), config, names, live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	c := testhub.ContentOf(t, h)
	var lines []string
	for _, table := range []hub.Table{hub.History, hub.Instances} {
		for _, r := range c.Tables[table] {
			r.Timestamp, r.ETag = 0, ""
			r.SortProperties()
			if table == hub.Instances {
				r.Set("LastUpdatedTime", schema.Value{}) // a rewind's is that of the plan
			}
			lines = append(lines, table.String()+" "+string(r.AppendJSON(nil)))
		}
	}
	for _, q := range c.Queues {
		var texts []string
		for _, m := range e.AllMessages(t, q.Name) {
			if decoded, err := schema.DecodeMessage(m.Text, ""); err == nil && decoded.TaskMessage != nil {
				decoded.TaskMessage.Event.Header().Timestamp = 0
				m.Text = string(decoded.AppendJSON(nil))
			}
			texts = append(texts, q.Name+" "+m.Text)
		}
		slices.Sort(texts)
		lines = append(lines, texts...)
	}
	return strings.Join(lines, "\n")
}
