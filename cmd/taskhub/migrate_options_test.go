package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// With --receive-messages all that is visible is carried over, and stays in the
// source as it was; a dry run receives nothing.
func TestMigrateReceive(t *testing.T) {
	t.Parallel()
	const name = "dtfx-2.9.1-backlog"
	e := testhub.Azurite(t)
	testhub.LoadRecorded(t, e, name)
	source := testhub.NewProxy(t, e)
	c := testhub.ContentOf(t, testhub.OpenHub(t, name))
	stored := func() (texts []string) {
		for _, q := range c.Queues {
			for _, m := range e.AllMessages(t, q.Name) {
				texts = append(texts, q.Name+" "+m.Text)
			}
		}
		slices.Sort(texts)
		return texts
	}
	before := stored()
	target := testhub.Azurite(t)
	args := slices.Concat([]string{"--connection-string", source.ConnectionString(), "--task-hub-name", c.Names.TaskHub, "--receive-messages", "--json"},
		toHub(target, "Elsewhere"))
	count := func(pending []map[string]any, origin string) (n int) {
		for _, p := range pending {
			if p["origin"] == origin && p["kind"] != "hidden" {
				n++
			}
		}
		return n
	}
	dry := runMigrateIn(t, t.TempDir(), append(args, "--dry-run")...)
	peeked, plan := documents(t, dry.stdout)
	if sent := source.Mutating(); dry.code != exitDone || len(sent) > 0 {
		t.Errorf("a dry run: %+v; requests that could change the source: %q", dry, sent)
	}
	receivable := 0.0
	for _, q := range anyList(plan["source_queues"]) {
		n, _ := object(q)["receivable"].(float64)
		receivable += n
	}
	got := runMigrateIn(t, t.TempDir(), append(args, "--yes")...)
	pending, last := documents(t, got.stdout)
	if got.code != exitDone || last["outcome"] != "done" || last["messages"] != float64(len(before)) || last["messages_hidden"] != 0.0 {
		t.Errorf("exit code %d: %v: %s", got.code, last, got.stderr)
	}
	if a, b := count(peeked, "seen"), count(pending, "seen"); b <= a || float64(b-a) > receivable {
		t.Errorf("%d messages are seen by receiving, after %d by a peek, and %v more were thought possible", b, a, receivable)
	}
	if diff := cmp.Diff(before, stored()); diff != "" {
		t.Errorf("messages of the source (-before +after):\n%s", diff)
	}
}

// Tables that hubs share are not shared with the copy: its rows would have the
// same keys.
func TestMigrateTracking(t *testing.T) {
	t.Parallel()
	c := testhub.ContentOf(t, testhub.OpenHub(t, "shared-tracking-TrackA"))
	c.Tables[hub.Partitions] = nil // the leases are of the time when it was recorded
	e := testhub.Azurite(t)
	testhub.Load(t, e, c)
	before := testhub.ContentOf(t, reader(t, e, c.Names))
	got := runMigrateIn(t, t.TempDir(), slices.Concat([]string{"--connection-string", e.ConnectionString(), "--to-task-hub-name", "Alone", "--yes"}, hubOptions(c.Names))...)
	if got.code != exitDone {
		t.Fatalf("%+v", got)
	}
	if listing := e.Listing(t); !slices.Contains(listing, "table/AloneInstances") {
		t.Errorf("the copy has no table of its own: %q", listing)
	}
	after := testhub.ContentOf(t, reader(t, e, c.Names))
	if diff := cmp.Diff(before.Tables, after.Tables); diff != "" {
		t.Errorf("tables of the source (-before +after):\n%s", diff)
	}
}

// Accounts of the same name are two if they are in different places, as those of
// emulators are.
func TestMigrateSameNames(t *testing.T) {
	t.Parallel()
	from, to := testhub.StartAzurite(t), testhub.StartAzurite(t)
	if from.Account != to.Account {
		t.Fatalf("accounts %s and %s", from.Account, to.Account)
	}
	testhub.Load(t, from, manyHub(3))
	dir := t.TempDir()
	args := []string{"--connection-string", from.ConnectionString(), "--task-hub-name", "Many", "--to-connection-string", to.ConnectionString(), "--yes"}
	for _, more := range [][]string{nil, {"--resume"}} {
		if got := runMigrateIn(t, dir, append(args, more...)...); got.code != exitDone {
			t.Errorf("%q: %+v", more, got)
		}
	}
}

// Neither what is printed nor a journal or report holds a key or signature.
func TestMigrateSecrets(t *testing.T) {
	t.Parallel()
	c := manyHub(3)
	from, to := testhub.Azurite(t), testhub.Azurite(t)
	testhub.Load(t, from, c)
	signed := func(e *testhub.Emulator, permissions string) string {
		return "BlobEndpoint=" + e.BlobURL + ";QueueEndpoint=" + e.QueueURL + ";TableEndpoint=" + e.TableURL + ";SharedAccessSignature=" + e.SAS("bqt", permissions)
	}
	const wrong = "c2VjcmV0c2VjcmV0"
	broken := func(e *testhub.Emulator) string {
		return strings.Replace(e.ConnectionString(), e.Key, wrong+e.Key[len(wrong):], 1)
	}
	tests := map[string]struct {
		source, target string
		code           int
		says           string // with the account that is meant
	}{
		"keys":               {from.ConnectionString(), to.ConnectionString(), exitDone, ""},
		"signatures":         {signed(from, "rl"), signed(to, "rwdlacup"), exitDone, ""},
		"wrong source key":   {broken(from), to.ConnectionString(), exitUnauthorized, "storage account " + from.Account + " (option --connection-string): "},
		"wrong target key":   {from.ConnectionString(), broken(to), exitUnauthorized, "storage account " + to.Account + " (option --to-connection-string): "},
		"only to be read":    {from.ConnectionString(), signed(to, "rl"), exitUnauthorized, "storage account " + to.Account + " (option --to-connection-string): "},
		"source not at all":  {signed(from, "r"), to.ConnectionString(), exitUnauthorized, "storage account " + from.Account + " (option --connection-string): "},
		"broken target text": {from.ConnectionString(), strings.ReplaceAll(to.ConnectionString(), ";", ","), exitFailed, "option --to-connection-string: "},
	}
	secrets := []string{from.Key, to.Key, from.Key[:30], to.Key[:30], wrong, "sig="}
	n := 0
	for name, tt := range tests {
		for _, format := range [][]string{nil, {"--json"}} {
			dir := t.TempDir()
			n++
			got := runMigrateIn(t, dir, slices.Concat([]string{
				"--connection-string", tt.source, "--task-hub-name", "Many", "--to-connection-string", tt.target,
				"--to-task-hub-name", fmt.Sprintf("Copy%d", n), "--yes", "--report", "report.jsonl",
			}, format)...)
			if got.code != tt.code || !strings.Contains(got.stderr, tt.says) {
				t.Errorf("%s %q: %+v, want %d and %q", name, format, got, tt.code, tt.says)
			}
			texts := map[string]string{"what is printed": got.stdout + got.stderr}
			maps.Copy(texts, folder(t, dir))
			for where, text := range texts {
				for _, secret := range secrets {
					if strings.Contains(text, secret) {
						t.Errorf("%s %q: %s holds %q:\n%s", name, format, where, secret, text)
					}
				}
			}
		}
	}
}

// The options reach the hub: another version of the framework reads what is made.
func TestMigrateFramework(t *testing.T) {
	t.Parallel()
	capture := mustAbs(t, testhub.HubFile(t, "dtfx-2.9.1-crashed"))
	tests := map[string]struct {
		options  []string
		encoding schema.Encoding
		leases   []string // folders of leases, or rows of Partitions
		setting  string   // of the app
	}{
		"2":          {nil, schema.PlainJSON, []string{"rows"}, ""},
		"1":          {[]string{"--to-framework", "1"}, schema.Base64, []string{"intent", "ownership"}, ""},
		"1 legacy":   {[]string{"--to-framework", "1", "--to-partition-manager", "legacy"}, schema.Base64, []string{"default"}, " and useLegacyPartitionManagement true"},
		"2 safe":     {[]string{"--to-partition-manager", "safe"}, schema.PlainJSON, []string{"intent", "ownership"}, " and useTablePartitionManagement false"},
		"1 by table": {[]string{"--to-framework", "1", "--to-partition-manager", "table"}, schema.Base64, []string{"rows"}, " and useTablePartitionManagement true"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			e := testhub.Azurite(t)
			args := slices.Concat([]string{"--snapshot", capture}, toHub(e, "Elsewhere", "--to-partition-count", "2", "--yes"), tt.options)
			got := runMigrateIn(t, t.TempDir(), args...)
			if got.code != exitDone || !strings.HasSuffix(got.stderr, ", with hubName Elsewhere and partitionCount 2"+tt.setting+" in its host.json\n") {
				t.Fatalf("%+v", got)
			}
			c := testhub.ContentOf(t, reader(t, e, hub.Names{TaskHub: "Elsewhere"}))
			folders := make(map[string]int)
			if rows := c.Tables[hub.Partitions]; rows != nil {
				folders["rows"] = len(rows)
			}
			for _, b := range c.Blobs {
				if folder, _, ok := strings.Cut(b.Name, "/"); ok && b.Container == c.Names.Leases() {
					folders[folder]++
				}
			}
			want := make(map[string]int)
			for _, folder := range tt.leases {
				want[folder] = 2
			}
			if diff := cmp.Diff(want, folders); diff != "" || c.PartitionCount != 2 {
				t.Errorf("%d partitions; leases (-want +got):\n%s", c.PartitionCount, diff)
			}
			for _, m := range e.AllMessages(t, "elsewhere-workitems") {
				if _, enc, err := schema.MessageText(m.Text); err != nil || enc != tt.encoding {
					t.Errorf("a message in form %v, want %v: %v", enc, tt.encoding, err)
				}
			}
		})
	}
}

// What docs/json.md says of the lines is what they have.
func TestMigrateDocument(t *testing.T) {
	doc := documented(t)
	for kind, v := range map[string]any{"pending_message": pendingMessage{}, "migration_plan": migrationPlan{}} {
		if diff := cmp.Diff(nestedFields(reflect.TypeOf(v), ""), doc[kind]); diff != "" {
			t.Errorf("docs/json.md, %s (-program +document):\n%s", kind, diff)
		}
	}
	ofMaps := regexp.MustCompile(`^(rows|source_digests|target_digests)\.`)
	doc["migration"] = append(doc["migration"], "started", "finished") // in one line
	seen := make(map[string]map[string]bool)
	hubs := []string{"dtfx-2.9.1-crashed", "functions-3-after-write"}
	for i, name := range hubs {
		e := testhub.Azurite(t)
		collect(t, seen, append([]string{
			"migrate", "--snapshot", testhub.HubFile(t, name), "--yes", "--journal", filepath.Join(t.TempDir(), strconv.Itoa(i)),
		}, toHub(e, "Elsewhere")...)...)
	}
	for kind, fields := range seen {
		for f := range fields {
			if !slices.Contains(doc[kind], f) && !ofMaps.MatchString(f) {
				t.Errorf("docs/json.md, %s: no field %s", kind, f)
			}
		}
	}
	for _, f := range doc["migration"] {
		// Nothing was unreadable, different or refused.
		rare := regexp.MustCompile(`^(unreadable|differences|refusals)\[\]|^error$|tracking_prefix$`)
		if !seen["migration"][f] && !rare.MatchString(f) {
			t.Errorf("docs/json.md, migration: field %s is never printed", f)
		}
	}
}

// nestedFields are structFields with those of inner structs, embedded ones too.
func nestedFields(typ reflect.Type, prefix string) []string {
	var paths []string
	for i := range typ.NumField() {
		f := typ.Field(i)
		if f.Anonymous {
			paths = append(paths, nestedFields(f.Type, prefix)...)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		path, inner := prefix+name, f.Type
		paths = append(paths, path)
		if inner.Kind() == reflect.Slice {
			inner, path = inner.Elem(), path+"[]"
		}
		if inner.Kind() == reflect.Struct {
			paths = append(paths, nestedFields(inner, path+".")...)
		}
	}
	return paths
}
