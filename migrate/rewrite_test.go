package migrate_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

func moved(from hub.Names, to, endpoint string) migrate.Rewrite {
	return migrate.Rewrite{From: from, To: hub.Names{TaskHub: to}, BlobURL: func(container, name string) string {
		return schema.BlobURL(endpoint, container, name)
	}}
}

func TestRewriteRow(t *testing.T) {
	w := moved(hub.Names{TaskHub: "LabHub"}, "NewHub", "https://new.blob.core.windows.net")
	for _, tt := range []struct {
		name, column, value, want string
	}{
		{"hub name", "TaskHubName", "LabHub", "NewHub"},
		{
			"input", "Input", "https://old.blob.core.windows.net/labhub-largemessages/a/message-1-ExecutionStarted.json.gz",
			"https://new.blob.core.windows.net/newhub-largemessages/a/message-1-ExecutionStarted.json.gz",
		},
		{
			"output of another account, with the account in the path", "Output",
			"http://127.0.0.1:10000/devstoreaccount1/labhub-largemessages/a%5Eb/history-00-X-0-Result.json.gz",
			"https://new.blob.core.windows.net/newhub-largemessages/a%5Eb/history-00-X-0-Result.json.gz",
		},
		{
			"a name that was not encoded", "Output", "https://old.blob.core.windows.net/labhub-largemessages/a b/x.json.gz",
			"https://new.blob.core.windows.net/newhub-largemessages/a%20b/x.json.gz",
		},
		{"a URL of the user", "Input", `"https://old.blob.core.windows.net/labhub-largemessages/a"`, ""},
		{"another container", "Input", "https://old.blob.core.windows.net/photos/a", ""},
		{"another hub", "Input", "https://old.blob.core.windows.net/labhub2-largemessages/a", ""},
		{"a name without account", "Input", "a/message-1-ExecutionStarted.json.gz", ""},
		{"blob name", "InputBlobName", "a/history--Input-1-Input.json.gz", ""},
		{"status", "CustomStatus", `"LabHub"`, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			row := schema.Row{PartitionKey: "a", Properties: []schema.Property{prop("Name", "LabHub"), prop(tt.column, tt.value)}}
			before := row.Clone()
			got, changed := w.Row(hub.Instances, row)
			want, columns := tt.value, []string(nil)
			if tt.want != "" {
				want, columns = tt.want, []string{tt.column}
			}
			if text, _ := got.Get(tt.column).Text(); text != want || !slices.Equal(changed, columns) {
				t.Errorf("%s = %q, columns %q; want %q, %q", tt.column, text, changed, want, columns)
			}
			if text, _ := got.Get("Name").Text(); text != "LabHub" || !schema.SameProperties(&row, &before) {
				t.Errorf("Name = %q, and the row given is %v", text, row)
			}
			for _, table := range []hub.Table{hub.History, hub.Partitions} {
				if same, changed := w.Row(table, row); changed != nil || !schema.SameProperties(&same, &row) {
					t.Errorf("%s: columns %q of a row are rewritten", table, changed)
				}
			}
		})
	}
}

// Of every recorded hub nothing of the old name or account is left, each URL leads
// to a blob that exists, and the way back gives the same rows.
func TestRewriteRecorded(t *testing.T) {
	for _, rec := range testhub.Recordings {
		t.Run(rec.Name, func(t *testing.T) {
			r := testhub.OpenHub(t, rec.Name)
			there := moved(rec.Names, "Elsewhere", "https://new.blob.core.windows.net")
			back := migrate.Rewrite{From: there.To, To: rec.Names}
			urls := 0
			for row, err := range r.Rows(t.Context(), hub.Instances, hub.Keys{}) {
				if err != nil {
					t.Fatal(err)
				}
				got, changed := there.Row(hub.Instances, row)
				if name := got.Get("TaskHubName"); name.Type() != schema.Absent && !name.Equal(schema.String("Elsewhere")) {
					t.Errorf("row %q is of hub %s", row.PartitionKey, name)
				}
				for _, column := range changed {
					if column == "TaskHubName" {
						continue
					}
					urls++
					old, _ := row.Get(column).Text()
					if !strings.HasPrefix(old, "http://127.0.0.1:") || !strings.Contains(old, strings.ToLower(rec.Names.TaskHub)+"-largemessages/") {
						t.Errorf("%s of %q was rewritten: %s", column, row.PartitionKey, old)
					}
					text, _ := got.Get(column).Text()
					if _, ok := strings.CutPrefix(text, "https://new.blob.core.windows.net/elsewhere-largemessages/"); !ok {
						t.Errorf("%s of %q is %s", column, row.PartitionKey, text)
					}
					endpoint, _, _ := strings.Cut(old, "/"+rec.Names.LargeMessages())
					back.BlobURL = func(container, name string) string { return schema.BlobURL(endpoint, container, name) }
				}
				if again, _ := back.Row(hub.Instances, got); !schema.SameProperties(&again, &row) {
					t.Errorf("row %q comes back as %v, was %v", row.PartitionKey, again, row)
				}
			}
			if want := map[string]int{"dtfx-2.9.1-bulk": 0, "dtfx-2.9.1-backlog": 5}; want[rec.Name] > 0 && urls != want[rec.Name] {
				t.Errorf("%d URLs, want %d", urls, want[rec.Name])
			}
		})
	}
}

func TestNewArtifacts(t *testing.T) {
	names := hub.Names{TaskHub: "blobLeases7"}
	r := testhub.OpenHub(t, "dtfx-2.9.1-blob-leases")
	recordedInfo, err := r.ReadBlob(t.Context(), names.Leases(), "taskhub.json", 1000)
	if err != nil {
		t.Fatal(err)
	}
	created, err := schema.ParseTicks("2026-11-22T04:07:41.1780201Z") // as it says
	if err != nil {
		t.Fatal(err)
	}
	a, err := migrate.NewArtifacts(names, migrate.SafeBlobManager, 7, created)
	if err != nil {
		t.Fatal(err)
	}
	want, got := make(map[string]string), make(map[string]string)
	for _, container := range []string{names.Leases(), names.AppLease()} {
		for b, err := range r.Blobs(t.Context(), container, "") {
			if err != nil {
				t.Fatal(err)
			}
			want[b.Container+" "+b.Name] = b.ContentType
		}
	}
	for _, b := range a.Blobs {
		got[b.Container+" "+b.Name] = b.ContentType
		switch {
		case b.Name == "taskhub.json":
			if string(b.Data) != string(recordedInfo) {
				t.Errorf("taskhub.json is %s, want %s", b.Data, recordedInfo)
			}
		case b.Name == "intent/blobleases7-control-03":
			if want := `{"PartitionId":"blobleases7-control-03","Owner":null,"Token":null,"Epoch":0}`; string(b.Data) != want {
				t.Errorf("lease is %s, want %s", b.Data, want)
			}
		case b.Container == names.AppLease():
			if string(b.Data) != "{}" {
				t.Errorf("app lease is %s", b.Data)
			}
		}
		if b.SizeBytes != int64(len(b.Data)) {
			t.Errorf("%s has %d bytes, told %d", b.Name, len(b.Data), b.SizeBytes)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("blobs (-recorded +made):\n%s", diff)
	}
	if len(a.Queues) != 8 || a.Queues[6] != "blobleases7-control-06" || a.Queues[7] != "blobleases7-workitems" || len(a.Tables) != 2 || a.Partitions != nil {
		t.Errorf("queues %q, tables %v, rows %v", a.Queues, a.Tables, a.Partitions)
	}
}

// A hub that no worker has run is recorded, with the table manager.
func TestNewArtifactsTable(t *testing.T) {
	names := hub.Names{TaskHub: "Nowhere"}
	r := testhub.OpenHub(t, "functions-3-after-write-Nowhere")
	a, err := migrate.NewArtifacts(names, migrate.TableManager, 4, 0)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for row, err := range r.Rows(t.Context(), hub.Partitions, hub.Keys{}) {
		if err != nil {
			t.Fatal(err)
		}
		if n >= len(a.Partitions) || !schema.SameProperties(&row, &a.Partitions[n]) {
			t.Errorf("row %d is not %v", n, row)
		}
		n++
	}
	if n != 4 || len(a.Partitions) != 4 || len(a.Tables) != 3 {
		t.Errorf("%d rows are recorded, %d made, in tables %v", n, len(a.Partitions), a.Tables)
	}
	if diff := cmp.Diff([]string{"nowhere-applease"}, a.Containers); diff != "" || len(a.Blobs) != 1 || a.Blobs[0].Name != "nowhere-appleaseinfo" {
		t.Errorf("containers %q with blobs %v", a.Containers, a.Blobs)
	}
	if !migrate.Copied(names, "nowhere-largemessages") || migrate.Copied(names, "nowhere-leases") || migrate.Copied(names, "nowhere-applease") {
		t.Error("only large messages are copied")
	}
	legacy, err := migrate.NewArtifacts(names, migrate.LegacyBlobManager, 1, 0)
	if err != nil || len(legacy.Blobs) != 3 || legacy.Blobs[1].Name != "default/nowhere-control-00" {
		t.Errorf("legacy manager: %v, error %v", legacy, err)
	}
	for _, n := range []int{0, 17} {
		if _, err := migrate.NewArtifacts(names, migrate.TableManager, n, 0); err == nil {
			t.Errorf("%d partitions are accepted", n)
		}
	}
	if _, err := migrate.NewArtifacts(names, "other", 4, 0); err == nil {
		t.Error("an unknown manager is accepted")
	}
}
