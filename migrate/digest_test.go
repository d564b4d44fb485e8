package migrate_test

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

// ofService is what the documentation of Digest removes from a line of a capture.
var ofService = regexp.MustCompile(`,"Timestamp":"[^"]*","odata.etag":"([^"\\]|\\.)*"`)

// recomputed returns the digests of what a capture holds, from its files, without
// our own reading of rows and blobs.
func recomputed(t *testing.T, files fs.FS, names hub.Names) map[string]migrate.Digest {
	t.Helper()
	read := func(name string) []byte {
		data, err := fs.ReadFile(files, name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	unpack, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unpack.Close()
	all := make(map[string]migrate.Digest)
	sum := func(name string, lines []string) {
		all[name] = migrate.Digest{Items: int64(len(lines)), SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(lines, ""))))}
	}
	for _, table := range []hub.Table{hub.Instances, hub.History} {
		text, err := unpack.DecodeAll(read("tables/"+names.Table(table)+".ndjson.zst"), nil)
		if err != nil {
			t.Fatal(err)
		}
		var lines []string
		for line := range strings.Lines(string(text)) {
			if at := ofService.FindStringIndex(line); at != nil {
				line = line[:at[0]] + line[at[1]:]
			}
			lines = append(lines, line)
		}
		sum(strings.ToLower(table.String()), lines)
	}
	var lines []string
	for line := range bytes.Lines(read("blobs/index.ndjson")) {
		var b struct {
			Container, Name string
			SizeBytes       json.RawMessage `json:"size_bytes"`
			ContentMD5      string          `json:"content_md5"`
		}
		if err := json.Unmarshal(line, &b); err != nil {
			t.Fatal(err)
		}
		if b.Container == names.LargeMessages() {
			lines = append(lines, fmt.Sprintf("[%q,%s,%q]\n", b.Name, b.SizeBytes, b.ContentMD5))
		}
	}
	sum("large_messages", lines)
	return all
}

// The digests of a report are those that anyone gets from captures of both hubs by
// what the documentation says.
func TestDigestsFromCaptures(t *testing.T) {
	for _, name := range []string{"dtfx-2.9.1", "dtfx-2.9.1-torn", "functions-3-after-write", "shared-tracking-TrackA"} {
		t.Run(name, func(t *testing.T) {
			from := testhub.OpenHub(t, name)
			opts := moving(t, from, "http://127.0.0.1:1/account")
			opts.AcceptLost = true
			to := newMemoryTarget(elsewhere, opts.Now)
			report, err := migrate.Run(t.Context(), from, to, opts)
			if err != nil {
				t.Fatal(err)
			}
			capture := func(r hub.Reader, names hub.Names) map[string]migrate.Digest {
				path := filepath.Join(t.TempDir(), "hub.taskhub")
				if err := snapshot.Capture(t.Context(), path, r, snapshot.CaptureOptions{}); err != nil {
					t.Fatal(err)
				}
				files, err := zip.OpenReader(path)
				if err != nil {
					t.Fatal(err)
				}
				defer files.Close()
				return recomputed(t, files, names)
			}
			of := func(d *migrate.Digests) map[string]migrate.Digest {
				return map[string]migrate.Digest{
					"instances": d.Tables[hub.Instances], "history": d.Tables[hub.History], "large_messages": d.Blobs,
				}
			}
			target := capture(to, elsewhere)
			if diff := cmp.Diff(target, of(&report.Target)); diff != "" {
				t.Errorf("target (-recomputed +reported):\n%s", diff)
			}
			source := capture(from, names(t, from))
			source["large_messages"] = target["large_messages"] // of which the source's capture may not have the MD5
			if diff := cmp.Diff(source, of(&report.Source)); diff != "" {
				t.Errorf("source (-recomputed +reported):\n%s", diff)
			}
			if source["history"] != target["history"] && !slices.ContainsFunc(report.Plan.Pending, func(c migrate.PendingCount) bool { return c.Origin == migrate.Redriven }) {
				t.Error("history is another one, and nothing is redriven")
			}
		})
	}
}

func TestMessageDigest(t *testing.T) {
	from := small(t)
	opts := killing(t, from, new(journalFile))
	to := newMemoryTarget(elsewhere, opts.Now)
	report, err := migrate.Run(t.Context(), from, to, opts)
	if err != nil {
		t.Fatal(err)
	}
	var sums []string
	hidden := 0
	for queue, messages := range to.queues {
		for _, m := range messages {
			due := ""
			if m.due != 0 {
				due = m.due.String()
				hidden++
			}
			line, err := json.Marshal([]string{queue, due, m.text})
			if err != nil {
				t.Fatal(err)
			}
			for escape, plain := range map[string]string{`\u003c`: "<", `\u003e`: ">", `\u0026`: "&"} {
				line = bytes.ReplaceAll(line, []byte(escape), []byte(plain)) // which only Go escapes
			}
			sums = append(sums, fmt.Sprintf("%x\n", sha256.Sum256(line)))
		}
	}
	slices.Sort(sums)
	want := migrate.Digest{Items: int64(len(sums)), SHA256: fmt.Sprintf("%x", sha256.Sum256([]byte(strings.Join(sums, ""))))}
	if report.MessageDigest != want || hidden == 0 {
		t.Errorf("the digest is %v, want %v of %d messages, %d hidden", report.MessageDigest, want, len(sums), hidden)
	}
}

// How a service spells what it stores makes no difference.
func TestDigestSpelling(t *testing.T) {
	digests := func(row string) migrate.Digests {
		r, err := schema.DecodeRow([]byte(row))
		if err != nil {
			t.Fatal(err)
		}
		from := testhub.NewMemory(hubtest.Content{
			Names: hub.Names{TaskHub: "Hub"}, PartitionCount: 1, Tables: map[hub.Table][]schema.Row{hub.History: {r}},
		})
		from.Started = 1
		opts := migrate.Options{Names: elsewhere, Now: schema.Ticks(1).Time, BlobURL: func(string, string) string { return "" }}
		report, err := migrate.Run(t.Context(), from, newMemoryTarget(elsewhere, opts.Now), opts)
		if err != nil {
			t.Fatal(err)
		}
		return report.Target
	}
	// echo '{…}' | sha256sum of the first row, without Timestamp and odata.etag.
	const want = "04bfdcab6f8e2940422ec9d48e852f64c859998b5a3f631ef5543d0c7e576d85"
	first := digests(`{"PartitionKey":"a","RowKey":"0","Timestamp":"2026-11-22T04:07:21.7644267Z","odata.etag":"x","D@odata.type":"Edm.Double","D":1.5,"T@odata.type":"Edm.DateTime","T":"2026-11-22T04:07:21.0000000Z","V":"é\u0001"}`)
	if got := first.Tables[hub.History].SHA256; got != want {
		t.Errorf("the digest is %s, want %s", got, want)
	}
	for name, row := range map[string]string{
		"order":     `{"PartitionKey":"a","RowKey":"0","V":"é\u0001","D@odata.type":"Edm.Double","D":1.5,"T@odata.type":"Edm.DateTime","T":"2026-11-22T04:07:21.0000000Z"}`,
		"a time":    `{"PartitionKey":"a","RowKey":"0","D@odata.type":"Edm.Double","D":1.5,"T@odata.type":"Edm.DateTime","T":"2026-11-22T04:07:21Z","V":"é\u0001"}`,
		"a number":  `{"PartitionKey":"a","RowKey":"0","D@odata.type":"Edm.Double","D":1.50,"T@odata.type":"Edm.DateTime","T":"2026-11-22T04:07:21.0000000Z","V":"é\u0001"}`,
		"an escape": `{"PartitionKey":"a","RowKey":"0","D@odata.type":"Edm.Double","D":1.5,"T@odata.type":"Edm.DateTime","T":"2026-11-22T04:07:21.0000000Z","V":"\u00e9\u0001"}`,
	} {
		if diff := cmp.Diff(first, digests(row)); diff != "" {
			t.Errorf("with %s spelt otherwise:\n%s", name, diff)
		}
	}
	if other := digests(`{"PartitionKey":"a","RowKey":"0","V":"é\u0002"}`); cmp.Equal(first, other) {
		t.Error("another row has the same digest")
	}
}
