package server_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/server"
)

type shownText struct {
	Set, More, Redacted bool
	Bytes               int64
	Head, Blob, SHA256  string
}

// Input, output and custom status of each instance are those that the framework
// tells of, wherever they are kept.
func TestPagePayloads(t *testing.T) {
	blobs := 0
	for _, name := range []string{"dtfx-2.9.1", "dtfx-1.17.5", "dtfx-2.9.1-odd"} {
		var states []struct {
			InstanceID, Status          string
			Input, Output, CustomStatus *string
		}
		if err := json.Unmarshal(testhub.Recorded(t, name, "state.json"), &states); err != nil {
			t.Fatal(err)
		}
		h := newServer(t, pageOptions(server.Hub{Reader: testhub.OpenHub(t, name)}))
		for _, s := range states {
			for part, want := range map[string]*string{"input": s.Input, "output": s.Output, "custom_status": s.CustomStatus} {
				parameters := url.Values{"id": {s.InstanceID}, "part": {part}, "head": {"1000"}}
				got := pageData[shownText](t, h, "payload", parameters)
				if want == nil {
					if got.Set && got.Head != "" {
						t.Errorf("%s %q: %s is %q, want none", name, s.InstanceID, part, got.Head)
					}
					continue
				}
				if !got.Set || got.Bytes != int64(len(*want)) || !strings.HasPrefix(*want, got.Head) || got.More != (len(*want) > 1000) || !got.More && got.Head != *want {
					t.Errorf("%s %q: %s is %d bytes, %.100q, want %d, %.100q", name, s.InstanceID, part, got.Bytes, got.Head, len(*want), *want)
				}
				if got.Blob != "" {
					blobs++
				}
				parameters.Set("download", "1")
				w := pageGet(h, "payload", parameters)
				if w.Body.String() != *want || w.Header().Get("Content-Disposition") != "attachment" || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
					t.Errorf("%s %q: %s is downloaded as %d bytes of %s", name, s.InstanceID, part, w.Body.Len(), w.Header().Get("Content-Type"))
				}
			}
		}
	}
	if blobs < 6 {
		t.Errorf("%d payloads in blobs, want more", blobs)
	}
}

// blobHub has an instance whose output is in a blob with this content, and a row of
// history whose result is in one.
func blobHub(t testing.TB, content []byte) hubtest.Content {
	t.Helper()
	c := testhub.ContentOf(t, testhub.OpenHub(t, "functions-3"))
	row := schema.Instance{
		PartitionKey: "blob", RuntimeStatus: schema.Some("Completed"),
		Output: schema.TextOf("https://other.example.net/" + c.Names.LargeMessages() + "/blob/o.json.gz"),
	}
	c.Tables[hub.Instances] = append(c.Tables[hub.Instances], row.Row())
	event := longEvent(5)
	event.PartitionKey = "blob"
	event.Set("Result", schema.String(""))
	event.Set("ResultBlobName", schema.String("blob/o.json.gz"))
	c.Tables[hub.History] = append(c.Tables[hub.History], event)
	if content != nil {
		c.Blobs = append(c.Blobs, hubtest.Blob{Blob: hub.Blob{Container: c.Names.LargeMessages(), Name: "blob/o.json.gz"}, Data: content})
	}
	c.Sort()
	return c
}

func zipped(t testing.TB, text string) []byte {
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

// A blob that is gone, damaged or too large says so, and takes no more memory than
// it may.
func TestPagePayloadBlobs(t *testing.T) {
	euro := strings.Repeat("€", 1000) // three bytes each
	whole := zipped(t, euro)
	bomb := zipped(t, strings.Repeat("\x00", 20<<20))
	for _, test := range []struct {
		name    string
		content []byte
		status  int
		head    string
		says    string
	}{
		{"whole", whole, http.StatusOK, euro[:99], ""}, // never half a character
		{"gone", nil, http.StatusNotFound, "", "blob/o.json.gz"},
		{"cut", whole[:len(whole)-6], http.StatusBadGateway, "", "gzip"},
		{"not gzip", []byte("plain"), http.StatusBadGateway, "", "gzip"},
		{"a bomb", bomb, http.StatusRequestEntityTooLarge, "", "larger than the limit"},
	} {
		opts := pageOptions(server.Hub{Reader: testhub.NewMemory(blobHub(t, test.content))})
		opts.MaxPayloadBytes = 1 << 20
		h := newServer(t, opts)
		for _, where := range []url.Values{{"part": {"output"}}, {"row": {schema.FormatSequence(5)}, "column": {"Result"}}} {
			where.Set("id", "blob")
			where.Set("head", "100")
			w := pageGet(h, "payload", where)
			var got struct {
				shownText
				Error, Hint string
			}
			if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if w.Code != test.status || got.Head != test.head || !strings.Contains(got.Error, test.says) || (test.status != 200) != (got.Hint != "") {
				t.Errorf("%s %v: status %d: %s", test.name, where, w.Code, w.Body)
			}
			if test.status == http.StatusOK && (got.Bytes != 3000 || !got.More || got.Blob != "blob/o.json.gz") {
				t.Errorf("%s: %+v", test.name, got)
			}
			where.Set("download", "1")
			if w := pageGet(h, "payload", where); w.Code != test.status || test.status == http.StatusOK && w.Body.String() != euro {
				t.Errorf("%s %v: download: status %d, %d bytes", test.name, where, w.Code, w.Body.Len())
			}
		}
	}
}

// The state of an entity is what its app wrote, as recorded of the framework's API.
func TestPageEntityState(t *testing.T) {
	h := newServer(t, pageOptions(server.Hub{Reader: testhub.OpenHub(t, "functions-3")}))
	w := answer(h, jsonRequest(t, http.MethodGet, "/entities/counter/c1", ""))
	got := pageData[shownText](t, h, "payload", url.Values{"id": {"@counter@c1"}, "part": {"state"}})
	if w.Code != http.StatusOK || got.Head != w.Body.String() || got.Head == "" {
		t.Errorf("state %q, want %q", got.Head, w.Body)
	}
	if got := pageData[shownText](t, h, "payload", url.Values{"id": {"@counter@gone"}, "part": {"state"}}); got.Set {
		t.Errorf("a deleted entity has the state %q", got.Head)
	}
	for _, id := range []string{"@counter@nobody", "wait-1"} {
		if w := pageGet(h, "payload", url.Values{"id": {id}, "part": {"state"}}); w.Code == http.StatusOK {
			t.Errorf("%s has a state: %s", id, w.Body)
		}
	}
}

// Nothing that an app has made comes out of a server that redacts, whatever is asked
// for, but its length and its hash.
func TestPageRedacts(t *testing.T) {
	secrets := []string{"Hello ", "kaboom", "currentValue", "entityExists", "maintenance", "buggy", "myRG", "plain words", "just text", "timer done"}
	r := testhub.OpenHub(t, "functions-3")
	opts := pageOptions(server.Hub{Reader: r})
	plain := newServer(t, opts)
	opts.Redact = true
	redacting := newServer(t, opts)
	seen := make(map[string]bool)
	check := func(path string, parameters url.Values) {
		t.Helper()
		open, closed := pageGet(plain, path, parameters), pageGet(redacting, path, parameters)
		if open.Code != closed.Code {
			t.Errorf("%s %v: status %d, redacted %d: %s", path, parameters, open.Code, closed.Code, closed.Body)
		}
		for _, secret := range secrets {
			seen[secret] = seen[secret] || strings.Contains(open.Body.String(), secret)
			if strings.Contains(closed.Body.String(), secret) {
				t.Errorf("%s %v: %q is there: %.1000s", path, parameters, secret, closed.Body)
			}
		}
	}
	for _, path := range []string{"hubs", "instances", "health", "index", "verify"} {
		check(path, nil)
	}
	for row, err := range r.Rows(t.Context(), hub.Instances, hub.Keys{}) {
		if err != nil {
			t.Fatal(err)
		}
		id := schema.InstanceID(row.PartitionKey)
		for _, path := range []string{"instance", "history", "timeline", "explain"} {
			check(path, url.Values{"id": {id}, "limit": {"1000"}, "instances": {"10"}})
		}
		for _, part := range []string{"input", "output", "custom_status", "tags"} {
			check("payload", url.Values{"id": {id}, "part": {part}})
		}
		for n := range int64(12) {
			row := schema.FormatSequence(n)
			check("event", url.Values{"id": {id}, "row": {row}})
			for _, column := range []string{"Input", "Result", "FailureDetails", "Reason"} {
				check("payload", url.Values{"id": {id}, "row": {row}, "column": {column}})
			}
		}
	}
	for _, secret := range secrets {
		if !seen[secret] {
			t.Errorf("%q is in no answer: looking for it shows nothing", secret)
		}
	}
	input := pageData[shownText](t, plain, "payload", url.Values{"id": {"restart-vms"}, "part": {"input"}})
	sum := sha256.Sum256([]byte(input.Head))
	got := pageData[shownText](t, redacting, "payload", url.Values{"id": {"restart-vms"}, "part": {"input"}})
	if !got.Redacted || got.Head != "" || got.Bytes != int64(len(input.Head)) || got.SHA256 != hex.EncodeToString(sum[:]) {
		t.Errorf("%+v stands for %q", got, input.Head)
	}
	if w := pageGet(redacting, "payload", url.Values{"id": {"restart-vms"}, "part": {"input"}, "download": {"1"}}); w.Code != http.StatusForbidden {
		t.Errorf("a redacted payload can be downloaded: status %d", w.Code)
	}
}

// The whole of what the page shows of one event is the row.
func TestPageEvent(t *testing.T) {
	r := testhub.OpenHub(t, "dtfx-2.9.1")
	h := newServer(t, pageOptions(server.Hub{Reader: r}))
	rows := 0
	for row, err := range r.Rows(t.Context(), hub.History, hub.Keys{}) {
		if err != nil {
			t.Fatal(err)
		}
		if row.IsSentinel() {
			continue
		}
		rows++
		got := pageData[struct {
			shownEvent
			Columns []shownColumn
		}](t, h, "event", url.Values{"id": {schema.InstanceID(row.PartitionKey)}, "row": {row.RowKey}})
		var ours, stored []string
		for _, c := range got.Columns {
			if c.More && c.Blob == "" {
				t.Errorf("%s/%s: %s is cut", row.PartitionKey, row.RowKey, c.Name)
			}
			ours = append(ours, fmt.Sprint(c.Name, " ", c.Type, " ", c.Head))
		}
		for _, p := range row.Properties {
			stored = append(stored, fmt.Sprint(p.Name, " ", p.Value.EDM(), " ", p.Value.String()))
		}
		slices.Sort(stored)
		slices.Sort(ours)
		if !slices.Equal(ours, stored) {
			t.Errorf("%s/%s: shown as %q, want %q", row.PartitionKey, row.RowKey, ours, stored)
		}
	}
	if rows < 500 {
		t.Errorf("%d rows, want more", rows)
	}
	if w := pageGet(h, "event", url.Values{"id": {"parent"}, "row": {schema.FormatSequence(9999)}}); w.Code != http.StatusNotFound {
		t.Errorf("an event that there is not: status %d", w.Code)
	}
}
