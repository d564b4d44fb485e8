package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// outcome is what a run of the program gave.
type outcome struct {
	code           int
	stdout, stderr string
}

// taskhubRun runs the program as a process of its own: this binary, which is the
// program if it is called so. Tests that run side by side could not share one
// process, as the command-line library keeps the help flag in a variable.
func taskhubRun(t *testing.T, args ...string) outcome {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Args = append([]string{"taskhub"}, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	var exit *exec.ExitError
	if err := cmd.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// clearSettings makes a test independent of the machine that it runs on.
func clearSettings(t *testing.T) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, name := range []string{"AzureWebJobsStorage", connectionVariable} {
		t.Setenv(name, "")
	}
}

// hubOptions are the options that name a hub besides its account.
func hubOptions(names hub.Names) []string {
	options := []string{"--task-hub-name", names.TaskHub}
	if names.TrackingPrefix != "" {
		options = append(options, "--tracking-prefix", names.TrackingPrefix)
	}
	return options
}

// ofTheService are the members that differ between a capture and the same hub
// loaded into an account: what the service sets, and what counts to now.
var ofTheService = []string{
	"account", "capture_started", "capture_finished", "observed_at", "app_running", "app_running_evidence", "owned_since",
	"last_renewal_age_ms", "oldest_inserted_time", "oldest_age_ms", "message_id", "inserted_time", "expires_time", "visible_time",
	"dequeue_count", "poison_candidate", "poison_candidates", "created_time", "last_modified", "stored_time", "last_modified_time",
	// The recordings do not tell checksums, nor all leases that are not held.
	"content_md5", "lease_state",
	// The service says more of what is not there: which request it was.
	"error",
}

// plain returns lines of JSON without these members.
func plain(t *testing.T, lines string) []any {
	t.Helper()
	var docs []any
	for line := range strings.Lines(lines) {
		var v any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		docs = append(docs, drop(v))
	}
	return docs
}

func drop(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range ofTheService {
			delete(v, name)
		}
		for name := range v {
			v[name] = drop(v[name])
		}
	case []any:
		for i := range v {
			v[i] = drop(v[i])
		}
	}
	return v
}

func lines(s string) int { return strings.Count(s, "\n") }

// Every reading command says the same of a recorded hub in an account as of its
// capture, and sends nothing that could change the account.
func TestLiveLikeCapture(t *testing.T) {
	for _, rec := range testhub.Recordings {
		if rec.Name == "dtfx-2.9.1-bulk" && testing.Short() {
			continue
		}
		if rec.Uncounted {
			continue // an account knows how many messages are invisible
		}
		t.Run(rec.Name, func(t *testing.T) {
			emulator := testhub.Azurite(t)
			captured := testhub.OpenHub(t, rec.Name)
			testhub.Load(t, emulator, testhub.ContentOf(t, captured))
			clearSettings(t)
			proxy := testhub.NewProxy(t, emulator)
			t.Setenv(connectionVariable, proxy.ConnectionString())

			compare := func(same func(live, offline outcome) string, command string, options ...string) {
				t.Helper()
				live := taskhubRun(t, slices.Concat([]string{command}, hubOptions(rec.Names), options)...)
				offline := taskhubRun(t, slices.Concat([]string{command, "--snapshot", testhub.HubFile(t, rec.Name)}, options)...)
				if diff := same(live, offline); diff != "" {
					t.Errorf("taskhub %s %q (-capture +account):\n%.4000s", command, options, diff)
				}
			}
			// Why a blob could not be read is told in other words, but as often.
			exactly := func(live, offline outcome) string {
				return cmp.Diff(offline.stdout, live.stdout) +
					cmp.Diff([]any{offline.code, lines(offline.stderr)}, []any{live.code, lines(live.stderr)})
			}
			roughly := func(live, offline outcome) string {
				return cmp.Diff(plain(t, offline.stdout), plain(t, live.stdout)) +
					cmp.Diff([]any{offline.code, lines(offline.stderr)}, []any{live.code, lines(live.stderr)})
			}
			compare(exactly, "get-instances", "--top", "1000")
			compare(exactly, "get-instances", "--top", "3", "--json", "--no-entities", "--runtime-status", "completed")
			compare(exactly, "list-entities", "--include-deleted")
			compare(exactly, "list-entities", "--entity-name", "Counter", "--json")
			compare(exactly, "get-entity", "--id", "@counter@c1", "--json")
			for _, id := range someInstances(t, rec) {
				compare(exactly, "get-runtime-status", "--id="+id, "--show-input", "--show-output")
				compare(exactly, "get-history", "--id="+id)
			}
			compare(roughly, "info", "--json", "--count-history")
			compare(roughly, "queues", "--json")
			for _, dataset := range []string{"instances", "history", "entities", "messages", "blobs"} {
				compare(roughly, "export", "--out", "-", "--dataset", dataset)
			}

			live := taskhubRun(t, "hubs", "--json")
			offline := taskhubRun(t, "hubs", "--snapshot", testhub.HubFile(t, rec.Name), "--json")
			if diff := exactly(live, offline); diff != "" {
				t.Errorf("hubs (-capture +account):\n%s", diff)
			}
			if sent := proxy.Mutating(); len(sent) > 0 {
				t.Errorf("requests that could change the account: %q", sent)
			}
		})
	}
}

// someInstances returns the IDs of a few instances of a recording.
func someInstances(t *testing.T, rec testhub.Recording) []string {
	t.Helper()
	ids := []string{"nobody"}
	for line := range strings.Lines(taskhubRun(t, "get-instances", "--snapshot", testhub.HubFile(t, rec.Name), "--top", "60", "--json").stdout) {
		var v struct{ OrchestrationInstance struct{ InstanceId string } }
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		if id := v.OrchestrationInstance.InstanceId; id != "" { // not the last line
			ids = append(ids, id)
		}
	}
	return ids
}

// readingCommands returns every command that reads a hub, with what it needs
// besides the hub.
func readingCommands(t *testing.T) map[string][]string {
	t.Helper()
	writing := []string{"help", "restore", "diff", "wait", "wait-idle", "migrate", "repair", "serve"} // diff needs two: TestDiffLive; those that wait: TestOperateScripts; TestMigrateScripts, TestRepairScripts, TestServeAccount
	commands := map[string][]string{
		"info": nil, "queues": nil, "hubs": nil, "get-instances": nil, "list-entities": nil,
		"get-runtime-status": {"--id", "order-1"}, "get-history": {"--id", "order-1"}, "get-entity": {"--id", "@counter@c1"},
		"explain": {"--id", "order-1"}, "replay": {"--all"}, "verify": {"--check", "rowkey-gap"},
		"export": {"--out", "-", "--dataset", "history"}, "capture": {"--out", filepath.Join(t.TempDir(), "hub.taskhub")},
	}
	for _, c := range newApp(nil, nil).Commands {
		snapshot, ok := flagNamed(c, optSnapshot).(*cli.StringFlag)
		if edits := ok && snapshot.Hidden; edits {
			continue // TestOperateScripts
		}
		if _, ok := commands[c.Name]; !ok && !slices.Contains(writing, c.Name) {
			t.Errorf("command %s is not tested with an account", c.Name)
		}
	}
	return commands
}

// A hub that does not exist is said to be so, and is not created.
func TestUnknownHub(t *testing.T) {
	emulator := testhub.Azurite(t)
	testhub.Load(t, emulator, testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1-live")))
	clearSettings(t)
	t.Setenv("AzureWebJobsStorage", emulator.ConnectionString())
	before := emulator.Listing(t)
	for command, options := range readingCommands(t) {
		if command == "hubs" {
			continue // needs no name
		}
		got := taskhubRun(t, slices.Concat([]string{command, "--task-hub-name", "LiveHub2"}, options)...)
		want := outcome{exitNotFound, "", `taskhub: not found: hub "LiveHub2" (option --task-hub-name) is not in storage account ` +
			emulator.Account + " (environment variable AzureWebJobsStorage); similar: LiveHub\n"}
		if got != want {
			t.Errorf("taskhub %s: %+v, want %+v", command, got, want)
		}
		if command == "capture" {
			noFiles(t, filepath.Dir(options[1]))
		}
	}
	if diff := cmp.Diff(before, emulator.Listing(t)); diff != "" {
		t.Errorf("the account has changed (-before +after):\n%s", diff)
	}

	// The default name, and an account whose hubs are called otherwise.
	got := taskhubRun(t, "info")
	if want := `hub "DurableFunctionsHub" (the default) is not in`; got.code != exitNotFound || !strings.Contains(got.stderr, want) ||
		!strings.HasSuffix(got.stderr, ", which has LiveHub\n") {
		t.Errorf("taskhub info: %+v, want %q in it", got, want)
	}
	t.Setenv("AzureWebJobsStorage", testhub.Azurite(t).ConnectionString())
	if got := taskhubRun(t, "info"); got.code != exitNotFound || !strings.HasSuffix(got.stderr, ", which has no hub at all\n") {
		t.Errorf("taskhub info of an empty account: %+v", got)
	}
	if got := taskhubRun(t, "hubs"); got.code != exitDone || !strings.HasPrefix(got.stdout, "No task hub in storage account ") {
		t.Errorf("taskhub hubs of an empty account: %+v", got)
	}
}

// Whatever a command prints, it never holds the key or the signature: when all is
// well, when the account refuses them, and when they stand where they do not
// belong.
func TestSecrets(t *testing.T) {
	emulator := testhub.Azurite(t)
	testhub.Load(t, emulator, testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1-live")))
	clearSettings(t)
	key := emulator.ConnectionString()
	sas := emulator.SAS("bqt", "rl")
	endpoints := "BlobEndpoint=" + emulator.BlobURL + ";QueueEndpoint=" + emulator.QueueURL + ";TableEndpoint=" + emulator.TableURL
	signed := endpoints + ";SharedAccessSignature=" + sas
	wrongKey := strings.Replace(key, emulator.Key, "c2VjcmV0"+emulator.Key[8:], 1)
	wrongSAS := strings.Replace(signed, "sig=", "sig=c2VjcmV0", 1)
	signature := sas[strings.Index(sas, "sig=")+len("sig="):]
	secrets := []string{emulator.Key, emulator.Key[8:40], "c2VjcmV0", signature, signature[:16], "sig="}

	ways := map[string]struct {
		options []string
		code    int
	}{
		"key":                 {[]string{"--connection-string", key}, exitDone},
		"signature":           {[]string{"--connection-string", signed}, exitDone},
		"wrong key":           {[]string{"--connection-string", wrongKey}, exitUnauthorized},
		"wrong signature":     {[]string{"--connection-string", wrongSAS}, exitUnauthorized},
		"broken":              {[]string{"--connection-string", strings.ReplaceAll(key, ";", ",")}, exitFailed},
		"key cut":             {[]string{"--connection-string", strings.Replace(key, "==;", ";", 1)}, exitFailed},
		"as a setting":        {[]string{"--connection-string-setting", key}, exitUsage},
		"as an account":       {[]string{"--account", key}, exitUsage},
		"as a hub":            {[]string{"--connection-string", key, "--task-hub-name", key}, exitUsage},
		"as an argument":      {[]string{key}, exitUsage},
		"as an option":        {[]string{"--" + key}, exitUsage},
		"in an endpoint":      {[]string{"--connection-string", key, "--blob-endpoint", emulator.BlobURL + "?" + sas}, exitUsage},
		"as a capture":        {[]string{"--snapshot", key}, exitFailed},
		"unquoted in a shell": {[]string{"--connection-string", "DefaultEndpointsProtocol=http", "AccountKey=" + emulator.Key}, exitUsage},
	}
	for way, w := range ways {
		for command, options := range readingCommands(t) {
			for _, format := range [][]string{nil, {"--json"}} {
				out := ""
				if command == "capture" {
					out = filepath.Join(t.TempDir(), "hub.taskhub")
					options = []string{"--out", out}
				}
				args := slices.Concat([]string{command}, options, w.options, format)
				if command != "hubs" && way != "as a hub" && w.code != exitUsage && way != "as a capture" {
					args = append(args, "--task-hub-name", "LiveHub")
				}
				got := taskhubRun(t, args...)
				if code := w.code; got.code != code && (way != "as a hub" || got.code != exitUsage) {
					t.Errorf("%s, %s: exit code %d, want %d: %s", way, command, got.code, code, got.stderr)
				}
				for _, secret := range secrets {
					if strings.Contains(got.stdout+got.stderr, secret) {
						t.Errorf("%s, %s: prints %q:\n%s%s", way, command, secret, got.stdout, got.stderr)
					}
					if text, err := os.ReadFile(out); err == nil && bytes.Contains(text, []byte(secret)) {
						t.Errorf("%s: %q is in the capture", way, secret)
					}
				}
				if got.code != exitDone && lines(got.stderr) != 1 {
					t.Errorf("%s, %s: not one line: %q", way, command, got.stderr)
				}
			}
		}
	}
}

// Every way to name an account, and what of it an error and the output name.
func TestAccountOptions(t *testing.T) {
	emulator := testhub.Azurite(t)
	testhub.Load(t, emulator, testhub.ContentOf(t, testhub.OpenHub(t, "shared-tracking-TrackA")))
	clearSettings(t)
	t.Setenv("Main", emulator.ConnectionString())
	t.Setenv("Tables", emulator.ConnectionString())
	hubA := []string{"info", "--json", "--task-hub-name", "TrackA"}
	want := taskhubRun(t, append(hubA, "--connection-string-setting", "Main", "--tracking-prefix", "SharedStore")...)
	if want.code != exitDone || !strings.Contains(want.stdout, `"tracking_prefix":"SharedStore"`) {
		t.Fatalf("by setting: %+v", want)
	}
	got := taskhubRun(t, append(hubA, "--connection-string-setting", "Main", "--tracking-prefix", "SharedStore", "--tracking-connection-string-setting", "Tables")...)
	if diff := cmp.Diff(plain(t, want.stdout), plain(t, got.stdout)); diff != "" || got.code != exitDone {
		t.Errorf("with a tracking store of its own: %+v\n%s", got, diff)
	}
	got = taskhubRun(t, append(hubA, "--connection-string", emulator.ConnectionString(), "--tracking-prefix", "SharedStore", "--table-endpoint", "http://127.0.0.1:1")...)
	if got.code != exitFailed || !strings.Contains(got.stderr, "storage account "+emulator.Account+" (option --connection-string): list SharedStoreInstances: GET http://127.0.0.1:1/") {
		t.Errorf("with a table endpoint where nothing is: %+v", got)
	}
	// A name that nobody knows: .invalid is reserved for that.
	got = taskhubRun(t, "info", "--connection-string", "AccountName=abc;AccountKey="+emulator.Key+";EndpointSuffix=storage.invalid")
	if got.code != exitFailed || lines(got.stderr) != 1 || !strings.Contains(got.stderr, "storage account abc (option --connection-string)") {
		t.Errorf("of an account that does not exist: %+v", got)
	}
}

// Hubs of an account: whole ones, two in the same tables, one of 16 partitions,
// what is left of one, and tables that are no hub's.
func TestHubs(t *testing.T) {
	emulator := testhub.Azurite(t)
	for _, name := range []string{"shared-tracking-TrackA", "shared-tracking-TrackB", "dtfx-2.9.1-blob-leases"} {
		testhub.Load(t, emulator, testhub.ContentOf(t, testhub.OpenHub(t, name)))
	}
	many := hubtest.Content{Names: hub.Names{TaskHub: "Sixteen"}, Tables: map[hub.Table][]schema.Row{hub.Instances: nil, hub.History: nil}}
	for i := range hub.MaxPartitions {
		many.Queues = append(many.Queues, hubtest.Queue{Name: many.Names.ControlQueue(i)})
	}
	many.Queues = append(many.Queues, hubtest.Queue{Name: many.Names.WorkItemQueue()})
	many.Containers = []hub.Container{{Name: many.Names.AppLease()}, {Name: many.Names.Leases()}}
	testhub.Load(t, emulator, many)
	left := hub.Names{TaskHub: "Left"}
	testhub.Load(t, emulator, hubtest.Content{Names: left, Queues: []hubtest.Queue{{Name: left.ControlQueue(3)}}, Containers: []hub.Container{{Name: left.Leases()}}})
	other := hub.Names{TaskHub: "Other"}
	testhub.Load(t, emulator, hubtest.Content{Names: other, Tables: map[hub.Table][]schema.Row{hub.History: {
		{PartitionKey: "a", RowKey: "b"},
	}}})
	clearSettings(t)
	t.Setenv("AzureWebJobsStorage", emulator.ConnectionString())

	got := taskhubRun(t, "hubs")
	want := outcome{exitDone, `HUB          PARTITIONS  TABLES  QUEUES  CONTAINERS
blobLeases7           7       2       8           3  complete
left                  1       0       1           1  missing: leftHistory, leftInstances, left-workitems, left-control-00, left-applease
Sixteen              16       2      17           2  complete
TrackA                2       3       3           2  complete; tables SharedStoreInstances and SharedStoreHistory, shared with TrackB
TrackB                2       3       3           2  complete; tables SharedStoreInstances and SharedStoreHistory, shared with TrackA
`, ""}
	if diff := cmp.Diff(want.stdout, got.stdout); diff != "" || got.code != want.code || got.stderr != want.stderr {
		t.Errorf("taskhub hubs: %d, %q\n(-want +got):\n%s", got.code, got.stderr, diff)
	}
	lines := plain(t, taskhubRun(t, "hubs", "--json").stdout)
	if len(lines) != 5 {
		t.Fatalf("%d lines, want 5", len(lines))
	}
	// The same of a hub whose tables are in another account: only here are they missing.
	t.Setenv("Other", testhub.Azurite(t).ConnectionString())
	if got := taskhubRun(t, "info", "--task-hub-name", "Sixteen", "--tracking-connection-string-setting", "Other"); got.code != exitDone {
		t.Errorf("info with an empty tracking store: %+v", got)
	}
	for _, names := range []hub.Names{many.Names, left} {
		if got := taskhubRun(t, "info", "--task-hub-name", names.TaskHub, "--json"); got.code != exitDone || got.stderr != "" {
			t.Errorf("info of %s: %+v", names.TaskHub, got)
		}
		if got := taskhubRun(t, "get-instances", "--task-hub-name", names.TaskHub); got.code != exitDone || !strings.HasPrefix(got.stdout, "[]\n") {
			t.Errorf("get-instances of %s: %+v", names.TaskHub, got)
		}
	}
	if got := taskhubRun(t, "info", "--task-hub-name", "Other"); got.code != exitDone && got.code != exitNotFound {
		t.Errorf("info of a single table: %+v", got)
	}
}

// Names that differ only in case.
func TestHubsOtherCase(t *testing.T) {
	a := &manage.Artifacts{Names: hub.Names{TaskHub: "Lab"}, OtherCase: []string{"LAB"}, PartitionCount: 1}
	r := newHubReport(a, []*manage.Artifacts{a})
	if !slices.Equal(r.OtherCase, []string{"LAB"}) || len(r.SharesTablesWith) > 0 {
		t.Errorf("%+v", r)
	}
	var stdout bytes.Buffer
	s := &session{stdout: bufio.NewWriter(&stdout)}
	if err := errors.Join(printHubs(s, "", []*manage.Artifacts{a}), s.stdout.Flush()); err != nil {
		t.Fatal(err)
	}
	if want := "; same queues and containers as LAB\n"; !strings.HasSuffix(stdout.String(), want) {
		t.Errorf("%s, want %q at its end", &stdout, want)
	}
}
