package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// purgeHub loads a recorded hub into an account behind a proxy, to which the
// program connects.
func purgeHub(t *testing.T, c hubtest.Content) (*testhub.Proxy, func() hubtest.Content) {
	t.Helper()
	emulator := testhub.Azurite(t)
	testhub.Load(t, emulator, c)
	clearSettings(t)
	proxy := testhub.NewProxy(t, emulator)
	t.Setenv(connectionVariable, proxy.ConnectionString())
	return proxy, func() hubtest.Content {
		cfg, err := live.ParseConnectionString(emulator.ConnectionString())
		if err != nil {
			t.Fatal(err)
		}
		h, err := live.Open(t.Context(), cfg, c.Names, live.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		return testhub.ContentOf(t, h)
	}
}

// rowsAndBlobs lists what a hub holds of instances: PartitionKey/RowKey of both
// tables, and payloads.
func rowsAndBlobs(c hubtest.Content) []string {
	var all []string
	for _, table := range []hub.Table{hub.Instances, hub.History} {
		for _, r := range c.Tables[table] {
			all = append(all, table.String()+" "+r.PartitionKey+"/"+r.RowKey)
		}
	}
	for _, b := range c.Blobs {
		if b.Container == c.Names.LargeMessages() {
			all = append(all, b.Name)
		}
	}
	slices.Sort(all)
	return all
}

// endedOf returns the partition keys of the orchestrations whose stored status is
// one of some.
func endedOf(c hubtest.Content, statuses ...string) map[string]bool {
	keys := map[string]bool{}
	for _, r := range c.Tables[hub.Instances] {
		s, _ := r.Get("RuntimeStatus").Text()
		if !strings.HasPrefix(r.PartitionKey, "@") && slices.Contains(statuses, s) {
			keys[r.PartitionKey] = true
		}
	}
	return keys
}

// without returns what is left when instances have gone: no row of theirs, and no
// payload in their folders.
func without(c hubtest.Content, keys map[string]bool) []string {
	left := hubtest.Content{Names: c.Names, Tables: map[hub.Table][]schema.Row{}}
	for table, rows := range c.Tables {
		left.Tables[table] = slices.DeleteFunc(slices.Clone(rows), func(r schema.Row) bool { return keys[r.PartitionKey] })
	}
	folders := map[string]bool{}
	for key := range keys {
		folders[key], folders[schema.StoredBlobName(schema.InstanceID(key))] = true, true
	}
	left.Blobs = slices.DeleteFunc(slices.Clone(c.Blobs), func(b hubtest.Blob) bool {
		i := strings.LastIndexByte(b.Name, '/')
		return i >= 0 && folders[b.Name[:i]]
	})
	return rowsAndBlobs(left)
}

func sumOf(t *testing.T, stdout string) (s purgeSummary) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &s); err != nil || s.Type != "summary" {
		t.Fatalf("no summary: %v in %q", err, stdout)
	}
	return s
}

// A purge by filter takes the orchestrations that have ended and match, whole, and
// nothing else; the dry run before sends nothing and says the same numbers.
func TestPurgeByFilter(t *testing.T) {
	recorded := testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1"))
	proxy, now := purgeHub(t, recorded)
	all := append([]string{"purge-history"}, hubOptions(recorded.Names)...)
	gone := endedOf(recorded, "Completed", "Failed")
	rows := 0
	for _, r := range recorded.Tables[hub.History] {
		if gone[r.PartitionKey] {
			rows++
		}
	}
	before := rowsAndBlobs(now())
	purge := append(all, "--runtime-status", "completed", "failed", "running", "--created-after", "2020-01-01")
	const dates = "created between '2020-01-01T00:00:00.0000000Z' and '9999-12-30T23:59:59.9999999Z' and whose runtime status matched one of the following: [Completed,Failed]\n"

	dry := taskhubRun(t, append(purge, "--dry-run")...)
	want := fmt.Sprintf("Would purge orchestration history for all instances %sInstances to delete: %d\nRows to delete: %d\n", dates, len(gone), rows)
	if dry.code != exitDone || dry.stdout != want {
		t.Errorf("dry run: %+v, want %q", dry, want)
	}
	unasked := taskhubRun(t, purge...)
	if unasked.code != exitUsage || !strings.Contains(unasked.stderr, "say --yes, or --dry-run") {
		t.Errorf("without a terminal: %+v", unasked)
	}
	if d := cmp.Diff(before, rowsAndBlobs(now())); d != "" || len(proxy.Mutating()) > 0 {
		t.Fatalf("changed: %s%q", d, proxy.Mutating())
	}

	got := taskhubRun(t, append(purge, "--yes")...)
	want = fmt.Sprintf("Purged orchestration history for all instances %sInstances deleted: %d\nRows deleted: %d\n", dates, len(gone), rows)
	if got.code != exitDone || got.stdout != want {
		t.Errorf("%+v, want %q", got, want)
	}
	if d := cmp.Diff(without(recorded, gone), rowsAndBlobs(now())); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
	again := taskhubRun(t, append(purge, "--yes")...)
	if again.code != exitDone || !strings.HasSuffix(again.stdout, "\nInstances deleted: 0\nRows deleted: 0\n") {
		t.Errorf("again: %+v", again)
	}
}

// What is refused sends nothing that could change the hub.
func TestPurgeRefuses(t *testing.T) {
	recorded := testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1"))
	proxy, now := purgeHub(t, recorded)
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(policy, []byte("rules:\n- keep: 1d\n  statsu: Failed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := rowsAndBlobs(now())
	for _, tt := range []struct {
		options string
		code    int
		want    string
	}{
		{"--runtime-status running", exitUsage, "what is Running has not ended"},
		{"--runtime-status pending suspended", exitUsage, "what is Pending or Suspended has not ended"},
		{"--force", exitUsage, "--force is for instances that are named"},
		{"--force --runtime-status failed", exitUsage, "--force is for instances that are named"},
		{"--id order-1 --runtime-status completed", exitUsage, "--runtime-status chooses others"},
		{"--tree", exitUsage, "--tree is about an instance"},
		{"--grace 1h", exitUsage, "--grace is about --orphans and --blobs"},
		{"--orphans --grace 0s", exitUsage, "option --grace: must be at least 1s"},
		{"--policy " + policy, exitFailed, policy + `: line 3: "statsu" is unknown; want name, function, status, keep, age`},
		{"--policy " + policy + " --name Hello", exitUsage, "--policy and --name both say which instances go"},
		{"--id wait-event", exitFailed, `cannot purge instance "wait-event": its status is Running`},
		{"--id parent-waiting --tree", exitFailed, `tree of "parent-waiting": cannot purge instance "parent-waiting:wait": its status is Running`},
		{"--id wait-event --id suspended", exitSkipped, `cannot purge instance "suspended": its status is Suspended`},
		{"--snapshot x", exitUsage, "a capture cannot be changed"},
	} {
		args := append(append([]string{"purge-history", "--yes"}, hubOptions(recorded.Names)...), strings.Fields(tt.options)...)
		if got := taskhubRun(t, args...); got.code != tt.code || !strings.Contains(got.stderr, tt.want) {
			t.Errorf("%s: %+v, want exit code %d and %q", tt.options, got, tt.code, tt.want)
		}
	}
	if d := cmp.Diff(before, rowsAndBlobs(now())); d != "" || len(proxy.Mutating()) > 0 {
		t.Errorf("changed: %s%q", d, proxy.Mutating())
	}
	for _, options := range [][]string{{"--id", "wait-event", "--force"}, {"--id", "parent", "--tree"}, {"--id", "nobody"}} {
		args := slices.Concat([]string{"purge-history", "--dry-run", "--json"}, hubOptions(recorded.Names), options)
		got := taskhubRun(t, args...)
		want := map[string]int64{"wait-event": 1, "parent": 4, "nobody": 0}[options[1]]
		if s := sumOf(t, got.stdout); got.code != exitDone || s.Instances != want || !s.DryRun || got.stderr != "" {
			t.Errorf("%q: %+v", options, got)
		}
	}
	if len(proxy.Mutating()) > 0 {
		t.Errorf("a dry run sent %q", proxy.Mutating())
	}
}

// A tree goes with the children first.
func TestPurgeTree(t *testing.T) {
	recorded := testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1"))
	_, now := purgeHub(t, recorded)
	got := taskhubRun(t, append([]string{"purge-history", "--id", "parent", "--tree", "--yes", "--json"}, hubOptions(recorded.Names)...)...)
	var ids []string
	for line := range strings.Lines(got.stdout) {
		var r purgeReport
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		if r.Type == "purge" {
			ids = append(ids, r.InstanceID)
		}
	}
	if want := []string{"parent:0", "parent:1", "parent:2", "parent"}; got.code != exitDone || !slices.Equal(ids, want) {
		t.Errorf("%+v, want %q", got, want)
	}
	gone := map[string]bool{"parent": true, "parent:0": true, "parent:1": true, "parent:2": true}
	if d := cmp.Diff(without(recorded, gone), rowsAndBlobs(now())); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// A program that is killed while it purges, again and again, leaves nothing that
// the last run does not find.
func TestPurgeKilled(t *testing.T) {
	recorded := testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1"))
	proxy, now := purgeHub(t, recorded)
	gone := endedOf(recorded, "Completed", "Failed", "Terminated", "Canceled")
	args := append([]string{"purge-history", "--yes", "--json", "--concurrency", "3"}, hubOptions(recorded.Names)...)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	deleted := func() int { return len(proxy.Mutating()) }
	kills := 0
	for _, after := range []int{1, 2, 5, 11, 17} {
		var stdout bytes.Buffer
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Args = append([]string{"taskhub"}, args...)
		cmd.Stdout = &stdout
		from := deleted()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			_ = cmd.Wait() // killed
			close(ended)
		}()
		for deleted() < from+after {
			select {
			case <-ended:
				t.Fatalf("ended after %d requests: %s", deleted()-from, &stdout)
			case <-time.After(time.Millisecond):
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-ended
		kills++
	}
	got := taskhubRun(t, args...)
	if d := cmp.Diff(without(recorded, gone), rowsAndBlobs(now())); got.code != exitDone || d != "" {
		t.Errorf("killed %d times, then %+v: (-want +got)\n%s", kills, got, d)
	}
	if s := sumOf(t, got.stdout); s.Instances == 0 || s.Instances == int64(len(gone)) {
		t.Errorf("the last run has purged %d of %d instances", s.Instances, len(gone))
	}
}

// Two programs that purge the same at once do not disturb each other.
func TestPurgeTwice(t *testing.T) {
	recorded := testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1"))
	_, now := purgeHub(t, recorded)
	gone := endedOf(recorded, "Completed", "Failed", "Terminated", "Canceled")
	args := append([]string{"purge-history", "--yes", "--json"}, hubOptions(recorded.Names)...)
	results := make(chan outcome, 2)
	for range 2 {
		go func() { results <- taskhubRun(t, args...) }()
	}
	var total, rows int64
	for range 2 {
		got := <-results
		if got.code != exitDone {
			t.Errorf("%+v", got)
		}
		s := sumOf(t, got.stdout)
		total, rows = total+s.Instances, rows+s.HistoryRows
	}
	want := int64(0)
	for _, r := range recorded.Tables[hub.History] {
		if gone[r.PartitionKey] {
			want++
		}
	}
	if total != int64(len(gone)) || rows != want {
		t.Errorf("together %d instances and %d rows, want %d and %d", total, rows, len(gone), want)
	}
	if d := cmp.Diff(without(recorded, gone), rowsAndBlobs(now())); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// What has gone is in the archive as it was, and other commands read it.
func TestPurgeWithArchive(t *testing.T) {
	recorded := testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1"))
	// A history without an instance, too.
	recorded.Tables[hub.Instances] = slices.DeleteFunc(slices.Clone(recorded.Tables[hub.Instances]), func(r schema.Row) bool { return r.PartitionKey == "order-1" })
	_, now := purgeHub(t, recorded)
	before := now()
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(2100 * time.Millisecond))) // past the grace of one second
	dir := filepath.Join(t.TempDir(), "archive")
	args := append([]string{"purge-history", "--runtime-status", "failed", "--orphans", "--grace", "1s", "--archive", dir, "--json"}, hubOptions(recorded.Names)...)
	if dry := taskhubRun(t, append(args, "--dry-run")...); dry.code != exitDone {
		t.Errorf("%+v", dry)
	}
	noFiles(t, filepath.Dir(dir))
	got := taskhubRun(t, append(args, "--yes")...)
	s := sumOf(t, got.stdout)
	gone := endedOf(recorded, "Failed")
	gone["order-1"] = true
	left := without(before, gone)
	for _, name := range rowsAndBlobs(before) {
		if strings.HasPrefix(name, "order-1/message-") {
			left = append(left, name) // while messages are hidden that may name them
		}
	}
	slices.Sort(left)
	if d := cmp.Diff(left, rowsAndBlobs(now())); d != "" || got.code != exitDone {
		t.Errorf("%+v: (-want +got)\n%s", got, d)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) != 1 || s.Archive == nil || s.Archive.Path != filepath.Join(dir, files[0].Name()) {
		t.Fatalf("%v, %v; %+v", files, err, s.Archive)
	}
	r, err := snapshot.Open(s.Archive.Path, snapshot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var want []string
	stays := rowsAndBlobs(now())
	for _, entry := range rowsAndBlobs(before) {
		if !slices.Contains(stays, entry) || strings.Contains(entry, "order-1/message-") {
			want = append(want, entry)
		}
	}
	if d := cmp.Diff(want, rowsAndBlobs(testhub.ContentOf(t, r))); d != "" {
		t.Errorf("the archive: (-want +got)\n%s", d)
	}
	if s.Archive.Instances != s.Instances || s.Archive.HistoryRows != s.HistoryRows || len(s.Archive.SHA256) != 64 {
		t.Errorf("%+v of %+v", s.Archive, s)
	}
	history := taskhubRun(t, "get-history", "--snapshot", s.Archive.Path, "--id", "fail-activity")
	if history.code != exitDone || !strings.Contains(history.stdout, "TaskFailed") {
		t.Errorf("%+v", history)
	}
}

// A policy purges what its rules say, and a dry run says it before.
func TestPurgePolicy(t *testing.T) {
	recorded := testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1"))
	proxy, now := purgeHub(t, recorded)
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	text := "rules:\n- {name: keep failures, status: Failed, keep: forever}\n- {function: Order*, keep: 0d}\n- {status: Completed, keep: 36500d}\n"
	if err := os.WriteFile(policy, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	gone := map[string]bool{}
	counts := map[string][2]int{}
	for _, r := range recorded.Tables[hub.Instances] {
		status, _ := r.Get("RuntimeStatus").Text()
		name, _ := r.Get("Name").Text()
		c := func(rule string, deletes bool) {
			n := counts[rule]
			if deletes {
				n[0]++
				gone[r.PartitionKey] = true
			} else {
				n[1]++
			}
			counts[rule] = n
		}
		switch {
		case strings.HasPrefix(r.PartitionKey, "@"), !slices.Contains([]string{"Completed", "Failed", "Terminated"}, status):
		case status == "Failed":
			c("keep failures", false)
		case strings.HasPrefix(name, "Order"):
			c("line 3", true)
		case status == "Completed":
			c("line 4", false)
		default:
			c("no rule", false)
		}
	}
	args := append([]string{"purge-history", "--policy", policy, "--json"}, hubOptions(recorded.Names)...)
	dry := taskhubRun(t, append(args, "--dry-run")...)
	s := sumOf(t, dry.stdout)
	for _, r := range s.Rules {
		if n := counts[r.Rule]; r.Deletes != int64(n[0]) || r.Keeps != int64(n[1]) {
			t.Errorf("rule %s: %+v, want %d", r.Rule, r, n)
		}
	}
	if len(s.Rules) != 4 || dry.code != exitDone || len(proxy.Mutating()) > 0 || s.Instances != int64(len(gone)) {
		t.Errorf("%+v; sent %q", dry, proxy.Mutating())
	}
	shown := taskhubRun(t, append(slices.DeleteFunc(slices.Clone(args), func(s string) bool { return s == "--json" }), "--dry-run")...)
	if !strings.HasPrefix(shown.stdout, "  rule           deletes  keeps\n  keep failures        0") {
		t.Errorf("%+v", shown)
	}
	if got := taskhubRun(t, append(args, "--yes")...); got.code != exitDone {
		t.Errorf("%+v", got)
	}
	if d := cmp.Diff(without(recorded, gone), rowsAndBlobs(now())); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}

// A service that is busy is waited for.
func TestPurgeBusy(t *testing.T) {
	recorded := testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1"))
	proxy, now := purgeHub(t, recorded)
	proxy.Inject(testhub.Fault{Kind: testhub.Throttle, Match: "POST", After: 3, Times: 2, RetryAfter: "0"})
	gone := endedOf(recorded, "Failed")
	got := taskhubRun(t, append([]string{"purge-history", "--yes", "--runtime-status", "failed"}, hubOptions(recorded.Names)...)...)
	if d := cmp.Diff(without(recorded, gone), rowsAndBlobs(now())); got.code != exitDone || d != "" {
		t.Errorf("%+v (-want +got)\n%s", got, d)
	}
}

// Payloads that nothing names go, those that something names stay, and young ones,
// too.
func TestPurgeBlobs(t *testing.T) {
	recorded := testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1-purge-damaged"))
	for i := range recorded.Queues { // without those that are hidden
		recorded.Queues[i].ApproximateCount = int64(len(recorded.Queues[i].Messages))
	}
	proxy, now := purgeHub(t, recorded)
	before := now()
	var text strings.Builder // all that rows say, and messages
	for _, rows := range before.Tables {
		for _, r := range rows {
			for _, p := range r.Properties {
				s, _ := p.Value.Text()
				text.WriteString(strings.ReplaceAll(s, "%5E", "^") + "\n")
			}
		}
	}
	for _, q := range before.Queues {
		for _, m := range q.Messages {
			text.WriteString(m.Text + "\n")
		}
	}
	var want []string
	for _, entry := range rowsAndBlobs(before) {
		if !strings.HasSuffix(entry, ".json.gz") || strings.Contains(text.String(), entry) {
			want = append(want, entry)
		}
	}
	if gone := len(rowsAndBlobs(before)) - len(want); gone < 6 {
		t.Fatalf("only %d payloads that nothing names", gone)
	}
	args := append([]string{"purge-history", "--blobs"}, hubOptions(recorded.Names)...)
	got := taskhubRun(t, append(args, "--yes")...)
	if got.code != exitDone || got.stdout != "Payloads deleted: 0\n" || !strings.Contains(got.stderr, "written in the last 1d") {
		t.Errorf("young: %+v", got)
	}
	time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(2100 * time.Millisecond))) // past the grace of one second
	args = append(args, "--grace", "1s")
	if got = taskhubRun(t, append(args, "--dry-run")...); got.code != exitDone || len(proxy.Mutating()) > 0 {
		t.Errorf("%+v; sent %q", got, proxy.Mutating())
	}
	got = taskhubRun(t, append(args, "--yes")...)
	if d := cmp.Diff(want, rowsAndBlobs(now())); got.code != exitDone || d != "" {
		t.Errorf("%+v (-want +got)\n%s", got, d)
	}
}

// What docs/json.md says of the lines is what they have.
func TestPurgeDocument(t *testing.T) {
	doc := documented(t)
	var summary []string
	for _, f := range structFields(reflect.TypeOf(purgeSummary{}), "") {
		if strings.Trim(f, ".") == "" {
			continue // not printed
		}
		if summary = append(summary, f); f == "archive" {
			summary = append(summary, structFields(reflect.TypeOf(archiveReport{}), "archive.")...)
		}
	}
	for kind, want := range map[string][]string{
		"purge":                    structFields(reflect.TypeOf(purgeReport{}), ""),
		"summary of purge-history": summary,
		"delete-task-hub":          structFields(reflect.TypeOf(deleteReport{}), ""),
	} {
		if diff := cmp.Diff(want, doc[kind]); diff != "" {
			t.Errorf("docs/json.md, %s (-program +document):\n%s", kind, diff)
		}
	}
}

// Without permission to delete, the first refusal ends the run.
func TestPurgeUnauthorised(t *testing.T) {
	recorded := testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1"))
	emulator := testhub.Azurite(t)
	testhub.Load(t, emulator, recorded)
	clearSettings(t)
	t.Setenv(connectionVariable, "BlobEndpoint="+emulator.BlobURL+";QueueEndpoint="+emulator.QueueURL+";TableEndpoint="+emulator.TableURL+
		";SharedAccessSignature="+emulator.SAS("bqt", "rl"))
	before := emulator.Listing(t)
	for _, command := range [][]string{{"purge-history", "--runtime-status", "failed"}, {"delete-task-hub"}} {
		got := taskhubRun(t, slices.Concat(command, []string{"--yes"}, hubOptions(recorded.Names))...)
		if got.code != exitUnauthorized || !strings.Contains(got.stderr, "not authorised") {
			t.Errorf("%q: %+v", command, got)
		}
	}
	if d := cmp.Diff(before, emulator.Listing(t)); d != "" {
		t.Errorf("changed: %s", d)
	}
}

// Ctrl-C finishes what was begun, and the same command goes on.
func TestPurgeInterrupted(t *testing.T) {
	recorded := testhub.ContentOf(t, testhub.OpenHub(t, "dtfx-2.9.1"))
	proxy, now := purgeHub(t, recorded)
	gone := endedOf(recorded, "Completed", "Failed", "Terminated", "Canceled")
	args := append([]string{"taskhub", "purge-history", "--yes", "--json", "--concurrency", "2"}, hubOptions(recorded.Names)...)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for len(proxy.Mutating()) < 10 && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	}()
	var stdout, stderr bytes.Buffer
	code := run(ctx, args, &stdout, &stderr)
	s := sumOf(t, stdout.String())
	if code != exitInterrupted || !s.Interrupted || s.Instances == 0 || s.Instances == int64(len(gone)) || s.Failed > 0 {
		t.Errorf("exit code %d: %+v", code, s)
	}
	got := taskhubRun(t, args[1:]...)
	if again := sumOf(t, got.stdout); got.code != exitDone || again.Instances+s.Instances != int64(len(gone)) {
		t.Errorf("%+v after %+v", got, s)
	}
	if d := cmp.Diff(without(recorded, gone), rowsAndBlobs(now())); d != "" {
		t.Errorf("(-want +got)\n%s", d)
	}
}
