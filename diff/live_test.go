package diff_test

import (
	"bytes"
	"compress/gzip"
	"net/http"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/diff"
	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

func gzipped(t testing.TB, text string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// inAccount opens a hub in an account for reading only, which t makes sure of.
func inAccount(t *testing.T, e *testhub.Emulator, names hub.Names) *live.Hub {
	t.Helper()
	cfg, err := live.ParseConnectionString(e.ConnectionString())
	if err != nil {
		t.Fatal(err)
	}
	h, err := live.Open(t.Context(), cfg, names, live.Options{Transport: testhub.ReadOnly(t, http.DefaultTransport)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// A hub in an account is equal to its capture and to the recording that it was
// loaded from, and to the same hub in another account; what is changed in one of
// them is the only difference. Nothing is written in either account.
func TestLive(t *testing.T) {
	for _, rec := range testhub.Recordings {
		if rec.Name == "dtfx-2.9.1-bulk" && testing.Short() {
			continue
		}
		t.Run(rec.Name, func(t *testing.T) {
			recorded := testhub.OpenHub(t, rec.Name)
			content := testhub.ContentOf(t, recorded)
			first, second := testhub.Azurite(t), testhub.Azurite(t)
			testhub.Load(t, first, content)
			testhub.Load(t, second, content)
			before := [][]string{first.Listing(t), second.Listing(t)}
			a, b := inAccount(t, first, rec.Names), inAccount(t, second, rec.Names)

			path := filepath.Join(t.TempDir(), "hub.taskhub")
			if err := snapshot.Capture(t.Context(), path, a, snapshot.CaptureOptions{}); err != nil {
				t.Fatal(err)
			}
			captured, err := snapshot.Open(path, snapshot.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer captured.Close()
			same(t, "account and its capture", []found{}, differences(t, a, captured, exact))
			same(t, "capture and account", []found{}, differences(t, captured, a, diff.Options{}))
			same(t, "recording and account", []found{}, differences(t, recorded, a, diff.Options{Owners: true}))
			same(t, "two accounts", []found{}, differences(t, a, b, diff.Options{}))
			if d := cmp.Diff(before, [][]string{first.Listing(t), second.Listing(t)}); d != "" {
				t.Errorf("the accounts changed (-before +after):\n%s", d)
			}

			second.Insert(t, rec.Names.Table(hub.Instances), []schema.Row{{PartitionKey: "zz-new", Properties: []schema.Property{{Name: "Name", Value: schema.String("x")}}}})
			same(t, "a row more", []found{{diff.Instances, diff.Added, rec.Names.Table(hub.Instances) + "/zz-new/", ""}},
				differences(t, a, b, diff.Options{Only: []diff.Dataset{diff.Instances, diff.History}}))
		})
	}
}

// A blob for which the service tells no MD5 is read, from the one side that needs
// it.
func TestLiveContent(t *testing.T) {
	c := small()
	e := testhub.Azurite(t)
	testhub.Load(t, e, c)
	other := small()
	other.Blobs[1].Data = []byte("six")
	other.Blobs[1].ContentMD5 = nil
	sums := "content: md5:f97c5d29941bfb1b2fdab0874906ab82 -> md5:f52b5e449a2303c031a0c3a1109360bf; "
	same(t, "content", []found{{diff.Blobs, diff.Changed, "one-largemessages/a/message-1-ExecutionStarted.json.gz", sums}},
		differences(t, inAccount(t, e, c.Names), memory(other), diff.Options{Only: []diff.Dataset{diff.Blobs}}))
}
