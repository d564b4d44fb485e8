package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// to returns the options that name an account as the other end.
func to(e *testhub.Emulator, more ...string) []string {
	return append([]string{"--to-connection-string", e.ConnectionString()}, more...)
}

func from(e *testhub.Emulator, more ...string) []string {
	return append([]string{"diff", "--connection-string", e.ConnectionString()}, more...)
}

// inOtherName is the content of a hub under another name, its rows and messages
// as they are: what a copy of queues, tables and containers would be.
func inOtherName(c hubtest.Content, name string) hubtest.Content {
	old := strings.ToLower(c.Names.TaskHub) + "-"
	renamed := func(s string) string { return strings.Replace(s, old, strings.ToLower(name)+"-", 1) }
	c.Names.TaskHub = name
	c.Queues, c.Containers, c.Blobs = slices.Clone(c.Queues), slices.Clone(c.Containers), slices.Clone(c.Blobs)
	for i := range c.Queues {
		c.Queues[i].Name = renamed(c.Queues[i].Name)
	}
	for i := range c.Containers {
		c.Containers[i].Name = renamed(c.Containers[i].Name)
	}
	for i := range c.Blobs {
		c.Blobs[i].Container = renamed(c.Blobs[i].Container)
		if !strings.HasSuffix(c.Blobs[i].Container, "-largemessages") {
			c.Blobs[i].Name = renamed(c.Blobs[i].Name)
		}
	}
	rows := func(t hub.Table, edit func(*schema.Row)) {
		all := slices.Clone(c.Tables[t])
		for i := range all {
			all[i] = all[i].Clone()
			edit(&all[i])
		}
		c.Tables[t] = all
	}
	rows(hub.Partitions, func(r *schema.Row) { r.RowKey = renamed(r.RowKey) })
	rows(hub.Instances, func(r *schema.Row) {
		if r.Get("TaskHubName").Type() == schema.TypeString {
			r.Set("TaskHubName", schema.String(name))
		}
		for _, column := range []string{"Input", "Output"} {
			if text, ok := r.Get(column).Text(); ok && strings.HasPrefix(text, "http") {
				r.Set(column, schema.String(renamed(text)))
			}
		}
	})
	return c
}

// diff reads both hubs wherever they are and sends nothing that could change
// either account, whether they exist or not.
func TestDiffLive(t *testing.T) {
	t.Parallel()
	mixed := testhub.HubFile(t, "functions-3-after-write")
	content := testhub.ContentOf(t, testhub.OpenHub(t, "functions-3-after-write"))
	first, second := testhub.NewProxy(t, testhub.Azurite(t)), testhub.NewProxy(t, testhub.Azurite(t))
	testhub.Load(t, &first.Emulator, content)
	testhub.Load(t, &second.Emulator, content)
	testhub.Load(t, &second.Emulator, inOtherName(testhub.ContentOf(t, testhub.OpenHub(t, "functions-3-after-write")), "Copied2"))
	before := [][]string{first.Listing(t), second.Listing(t)}
	first.Reset()
	second.Reset()

	a, b := &first.Emulator, &second.Emulator
	wrong := *b
	wrong.Key = "c2VjcmV0" + b.Key[8:]
	gone := *b
	gone.BlobURL, gone.QueueURL, gone.TableURL = "http://127.0.0.1:1/"+b.Account, "http://127.0.0.1:1/"+b.Account, "http://127.0.0.1:1/"+b.Account
	name := []string{"--task-hub-name", "FuncLab"}
	tests := []struct {
		name string
		args []string
		code int
		say  string // in stdout or stderr
	}{
		{"account and capture", slices.Concat(from(a, name...), []string{"--to-snapshot", mixed}), exitDone, "the hubs are equal"},
		{"capture and account", slices.Concat([]string{"diff", "--snapshot", mixed}, to(b)), exitDone, "the hubs are equal"},
		{"capture and account, in JSON", slices.Concat([]string{"diff", "--snapshot", mixed, "--json"}, to(b)), exitDone, `"equal":true`},
		{"two accounts", slices.Concat(from(a, name...), to(b)), exitDone, "names of hubs and accounts do not count"},
		{"two accounts, hub named", slices.Concat(from(a, name...), to(b, "--to-task-hub-name", "FuncLab")), exitDone, "the hubs are equal"},
		{"two names in one account", append(from(b, name...), "--to-task-hub-name", "Copied2"), exitDone, "hub Copied2"},
		{"two names, in two accounts", slices.Concat(from(a, name...), to(b, "--to-task-hub-name", "Copied2")), exitDone, "hub Copied2"},
		{"names count", slices.Concat(from(a, name...), to(b, "--to-task-hub-name", "Copied2", "--map-names", "false")), exitFindings, "copied2-workitems"},
		{"endpoints one by one", slices.Concat(from(a, name...), to(&gone, "--to-blob-endpoint", b.BlobURL, "--to-queue-endpoint", b.QueueURL, "--to-table-endpoint", b.TableURL)), exitDone, "the hubs are equal"},
		{
			"first hub unknown", slices.Concat(from(a, "--task-hub-name", "FunkLab"), to(b)), exitNotFound,
			`hub "FunkLab" (option --task-hub-name) is not in storage account ` + a.Account + " (option --connection-string); similar: FuncLab",
		},
		{
			"second hub unknown", slices.Concat(from(a, name...), to(b, "--to-task-hub-name", "Copied")), exitNotFound,
			`hub "Copied" (option --to-task-hub-name) is not in storage account ` + b.Account + " (option --to-connection-string); similar: Copied2",
		},
		{
			"second hub unknown, named after the first", slices.Concat([]string{"diff", "--snapshot", testhub.HubFile(t, "dtfx-2.9.1")}, to(b)), exitNotFound,
			`hub "LabHub" (as the first hub) is not in storage account ` + b.Account,
		},
		{"wrong key of the second", slices.Concat(from(a, name...), to(&wrong)), exitUnauthorized, "taskhub: storage account " + b.Account + " (option --to-connection-string): "},
		{"wrong key of the first", slices.Concat(from(&wrong, name...), to(a)), exitUnauthorized, "taskhub: storage account " + b.Account + " (option --connection-string): "},
		{"second account does not answer", slices.Concat(from(a, name...), to(&gone)), exitFailed, "taskhub: storage account " + b.Account + " (option --to-connection-string): "},
		{"first account does not answer", slices.Concat(from(&gone, name...), to(a)), exitFailed, "taskhub: storage account " + b.Account + " (option --connection-string): "},
	}
	for _, tt := range tests {
		got := taskhubRun(t, tt.args...)
		if got.code != tt.code || !strings.Contains(got.stdout+got.stderr, tt.say) {
			t.Errorf("%s: exit code %d, want %d and %q:\n%s%s", tt.name, got.code, tt.code, tt.say, got.stdout, got.stderr)
		}
		if n := strings.Count(got.stderr, "storage account "); tt.code != exitDone && n > 1 {
			t.Errorf("%s: the account is named %d times: %s", tt.name, n, got.stderr)
		}
		for _, secret := range []string{a.Key, b.Key, wrong.Key[:20]} {
			if strings.Contains(got.stdout+got.stderr, secret) {
				t.Errorf("%s: a key is printed: %s%s", tt.name, got.stdout, got.stderr)
			}
		}
	}
	for _, p := range []*testhub.Proxy{first, second} {
		if sent := p.Mutating(); len(sent) > 0 || len(p.Requests()) == 0 {
			t.Errorf("%d requests; %q could change the account", len(p.Requests()), sent)
		}
	}
	if d := cmp.Diff(before, [][]string{first.Listing(t), second.Listing(t)}); d != "" {
		t.Errorf("the accounts changed (-before +after):\n%s", d)
	}

	// A request that fails while rows are read names the account that it was
	// sent to, whichever of the two that is.
	for _, side := range []*testhub.Proxy{first, second} {
		side.Reset()
		side.Inject(testhub.Fault{Kind: testhub.Status, Status: 403, Match: "FuncLabHistory", After: 1})
		got := taskhubRun(t, slices.Concat(from(a, name...), to(b))...)
		if want := "storage account " + side.Account + " ("; got.code != exitUnauthorized || !strings.Contains(got.stderr, want) || strings.Count(got.stderr, "storage account ") != 1 {
			t.Errorf("a refused request: exit code %d, %s, want %d and %q once", got.code, got.stderr, exitUnauthorized, want)
		}
		side.Reset()
	}
}

// diff ends without a word when its reader goes away, as interrupted when it is
// told so, and with what it could not read.
func TestDiffEnds(t *testing.T) {
	closed := writerFunc(func([]byte) (int, error) { return 0, &os.PathError{Op: "write", Path: "|1", Err: syscall.EPIPE} })
	args := []string{"taskhub", "diff", "--snapshot", testhub.HubFile(t, "dtfx-2.9.1"), "--to-snapshot", testhub.HubFile(t, "dtfx-2.9.1-crashed")}
	for _, args := range [][]string{args, append(slices.Clone(args), "--json")} {
		var stderr bytes.Buffer
		if code := run(t.Context(), args, closed, &stderr); code != exitFailed || stderr.Len() > 0 {
			t.Errorf("closed pipe: exit code %d, want %d; stderr %q, want none", code, exitFailed, &stderr)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout, stderr bytes.Buffer
	if code := run(ctx, args, &stdout, &stderr); code != exitInterrupted || stdout.Len() > 0 {
		t.Errorf("interrupted: exit code %d, want %d; stdout %q, want none", code, exitInterrupted, &stdout)
	}

	// A blob that may not be read is neither equal nor different, and a table that
	// is not in a capture is told.
	write := func(content string, missing []hub.Unreadable) string {
		path := filepath.Join(t.TempDir(), "hub.taskhub")
		w, err := snapshot.Create(path, snapshot.WriterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		err = errors.Join(
			w.Container(hub.Container{Name: "part-largemessages"}),
			w.Blob(hub.Blob{Container: "part-largemessages", Name: "a/b", SizeBytes: int64(len(content))}, []byte(content)),
			w.Close(hub.Info{Names: hub.Names{TaskHub: "Part"}, Unreadable: missing}),
		)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	first, second := write("12345", nil), write("54321", []hub.Unreadable{{Artifact: "table PartHistory", Reason: "not authorised"}})
	got := taskhubRun(t, "diff", "--snapshot", first, "--to-snapshot", second, "--max-blob", "4B")
	for _, want := range []string{
		"taskhub: " + second + ": table PartHistory is not in the capture: not authorised\n",
		"taskhub: blob part-largemessages/a/b could not be compared: 5 bytes without an MD5 are more than the limit of 4\n",
	} {
		if got.code != exitSkipped || !strings.Contains(got.stderr, want) {
			t.Errorf("what could not be compared: %+v, want code %d and %q", got, exitSkipped, want)
		}
	}
	if got := taskhubRun(t, "diff", "--snapshot", first, "--to-snapshot", second); got.code != exitFindings || !strings.Contains(got.stdout, "  ~ part-largemessages/a/b\n      content  ") {
		t.Errorf("blobs without MD5: %+v", got)
	}
}

// What diff prints is in docs/json.md, and nothing else is there.
func TestDiffDocument(t *testing.T) {
	doc := documented(t)
	if d := cmp.Diff(structFields(reflect.TypeOf(diffSummary{}), ""), doc["summary of diff"]); d != "" {
		t.Errorf("docs/json.md, summary of diff (-program +document):\n%s", d)
	}
	seen := map[string]map[string]bool{}
	for _, args := range [][]string{
		{"functions-3", "functions-3-after-write"},
		{"functions-3", "functions-3-after-write", "--redact", "hash", "--exact"},
		{"dtfx-2.9.1", "dtfx-2.9.1-purge-damaged", "--exact"},
		{"dtfx-2.9.1-crashed", "dtfx-2.9.1-torn", "--max-value", "1KB"},
		{"dtfx-2.9.1-blob-leases", "dtfx-2.9.1-live-blob-leases", "--max-blob", "1"},
	} {
		got := taskhubRun(t, append([]string{"diff", "--json", "--snapshot", testhub.HubFile(t, args[0]), "--to-snapshot", testhub.HubFile(t, args[1])}, args[2:]...)...)
		if got.code != exitFindings {
			t.Errorf("diff %q: exit code %d: %s", args, got.code, got.stderr)
		}
		for line := range strings.Lines(got.stdout) {
			var v map[string]any
			if err := json.Unmarshal([]byte(line), &v); err != nil {
				t.Fatalf("%v in %s", err, line)
			}
			kind := fmt.Sprint(v["type"])
			if seen[kind] == nil {
				seen[kind] = map[string]bool{}
			}
			for i, c := range anyList(v["columns"]) { // their values can be anything
				if c, ok := c.(map[string]any); ok {
					anyList(v["columns"])[i] = dropped(c, "a", "b", seen[kind])
				}
			}
			addPaths(seen[kind], "", v, false)
		}
	}
	for f := range seen["difference"] {
		if !slices.Contains(doc["difference"], f) {
			t.Errorf("docs/json.md, difference: no field %s", f)
		}
	}
	for _, f := range doc["difference"] {
		if !seen["difference"][f] {
			t.Errorf("docs/json.md, difference: field %s is never printed", f)
		}
	}
}

func anyList(v any) []any {
	list, _ := v.([]any)
	return list
}

// dropped removes two members and notes that they were there.
func dropped(c map[string]any, a, b string, seen map[string]bool) map[string]any {
	for _, name := range []string{a, b} {
		if _, ok := c[name]; ok {
			seen["columns[]."+name] = true
			delete(c, name)
		}
	}
	return c
}
