package server_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/server"
)

// The list of hubs says what each is, and what can be done with it.
func TestPageHubs(t *testing.T) {
	e := testhub.NewEditor(testhub.ContentOf(t, testhub.OpenHub(t, "functions-3")))
	opts := pageOptions(server.Hub{Reader: testhub.OpenHub(t, "dtfx-2.9.1")}, server.Hub{Connection: "Live", Reader: e, Editor: e}, server.Hub{Connection: "Looking", Reader: e})
	type shown struct {
		Key  bool
		Hubs []struct {
			Name, Connection string
			Capture          bool
			ReadOnly         bool `json:"read_only"`
			Why              string
			PartitionCount   int    `json:"partition_count"`
			Instances        int64  `json:"instances"`
			HistoryRows      int64  `json:"history_rows"`
			Finished         string `json:"finished"`
		}
	}
	got := pageData[shown](t, newServer(t, opts), "hubs", nil)
	if len(got.Hubs) != 3 || got.Key {
		t.Fatalf("hubs: %+v", got)
	}
	capture, live, looking := got.Hubs[0], got.Hubs[1], got.Hubs[2]
	if capture.Name != "LabHub" || capture.Connection != "Storage" || !capture.Capture || !capture.ReadOnly || capture.Why == "" ||
		capture.PartitionCount != 4 || capture.Instances != 42 || capture.HistoryRows != 604 || !strings.HasPrefix(capture.Finished, "2026-11-22T04:07:30") {
		t.Errorf("a capture: %+v", capture)
	}
	if live.Capture || live.ReadOnly || live.Why != "" || live.Finished != "" {
		t.Errorf("a live hub: %+v", live)
	}
	if looking.Capture || !looking.ReadOnly || looking.Why == "" {
		t.Errorf("a live hub that cannot be changed: %+v", looking)
	}
	opts.ReadOnly = true
	if live := pageData[shown](t, newServer(t, opts), "hubs", nil).Hubs[1]; !live.ReadOnly || live.Why == "" {
		t.Errorf("a live hub of a server that is read-only: %+v", live)
	}
}

// Queues have the messages that were recorded, and partitions their owners.
func TestPageHealth(t *testing.T) {
	type shown struct {
		AppRunning string `json:"app_running"`
		Leases     []struct{ Queue, Owner string }
		Queues     []struct {
			Name        string
			Count, Seen int64
			Messages    []struct {
				Position     int
				InstanceID   string `json:"instance_id"`
				EventType    string `json:"event_type"`
				Purpose      string
				DequeueCount int64 `json:"dequeue_count"`
				Problem      string
			}
		}
	}
	for _, name := range []string{"dtfx-2.9.1-backlog", "dtfx-2.9.1-poisoned", "functions-3-after-write", "dtfx-2.9.1-live"} {
		h := newServer(t, pageOptions(server.Hub{Reader: testhub.OpenHub(t, name)}))
		got := pageData[shown](t, h, "health", nil)
		messages := 0
		for _, q := range got.Queues {
			recorded := testhub.RecordedMessages(t, name, q.Name)
			if name != "dtfx-2.9.1-live" && q.Count != int64(len(recorded)) {
				t.Errorf("%s: %s has %d messages, want %d", name, q.Name, q.Count, len(recorded))
			}
			if q.Seen > q.Count || len(q.Messages) > 32 || int64(len(q.Messages)) != min(q.Seen, 32) {
				t.Errorf("%s: %s: %d of %d seen, %d shown", name, q.Name, q.Seen, q.Count, len(q.Messages))
			}
			for i, m := range q.Messages {
				messages++
				if m.Position != i+1 || m.Purpose == "" || m.InstanceID == "" || m.Problem != "" {
					t.Errorf("%s: message %d of %s: %+v", name, i, q.Name, m)
				}
			}
		}
		owned := slices.ContainsFunc(got.Leases, func(l struct{ Queue, Owner string }) bool { return l.Owner != "" })
		if running := got.AppRunning == "yes"; running != (name == "dtfx-2.9.1-live") || owned != running || len(got.Leases) == 0 {
			t.Errorf("%s: app %s, leases %+v", name, got.AppRunning, got.Leases)
		}
		if messages == 0 && name != "dtfx-2.9.1-live" {
			t.Errorf("%s: no message is shown", name)
		}
	}
}

// An instance that waits says for what, and one that does not exist what it may have
// been.
func TestPageExplain(t *testing.T) {
	type shown struct {
		Found     bool
		Condition string
		Verdict   string
		Similar   []string
		Awaits    []struct {
			Kind, Name, Where string
			InstanceID        string `json:"instance_id"`
		}
		Children []struct{ ID, Status string }
		Parents  []struct{ ID string }
		Findings []struct{ Code string }
		Failure  shownText
		Steps    []struct{ Command, Text string }
	}
	h := newServer(t, pageOptions(server.Hub{Reader: testhub.OpenHub(t, "dtfx-2.9.1")}))
	read := func(id string) shown { return pageData[shown](t, h, "explain", url.Values{"id": {id}}) }
	// As parent-waiting's history has it: one child, which has not ended.
	got := read("parent-waiting")
	if !got.Found || got.Condition != "waiting" || len(got.Awaits) != 1 || got.Awaits[0].InstanceID != "parent-waiting:wait" || len(got.Children) != 1 || len(got.Steps) == 0 {
		t.Errorf("parent-waiting: %+v", got)
	}
	if got := read("parent-waiting:wait"); len(got.Parents) != 1 || got.Parents[0].ID != "parent-waiting" {
		t.Errorf("parent-waiting:wait: %+v", got)
	}
	if got := read("fail-activity"); got.Condition != "ended" || !got.Failure.Set || got.Failure.Head == "" {
		t.Errorf("fail-activity: %+v", got)
	}
	if got := read("reused"); len(got.Findings) != 1 || got.Findings[0].Code != "stale-generation-tail" {
		t.Errorf("reused: %+v", got)
	}
	if got := read("Parent-Waiting"); got.Found || !slices.Contains(got.Similar, "parent-waiting") {
		t.Errorf("Parent-Waiting: %+v", got)
	}
}

// verified reads the lines of a verification.
func verified(t testing.TB, w *httptest.ResponseRecorder) (codes map[string]int, done map[string]any, progress int) {
	t.Helper()
	codes = make(map[string]int)
	for line := range strings.Lines(w.Body.String()) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		switch v["type"] {
		case "finding":
			code, _ := v["code"].(string)
			codes[code]++
		case "progress":
			progress++
		case "done":
			done = v
		default:
			t.Errorf("a line of another type: %s", line)
		}
	}
	return codes, done, progress
}

// A verification streams the findings that are known of a hub, says how many there
// are, and sends no more than it should.
func TestPageVerify(t *testing.T) {
	h := newServer(t, pageOptions(server.Hub{Reader: testhub.OpenHub(t, "dtfx-2.9.1-poisoned")}))
	w := pageGet(h, "verify", nil)
	codes, done, _ := verified(t, w)
	if diff := cmp.Diff(map[string]int{"poison-message": 1, "stale-generation-tail": 1, "partition-unowned": 1}, codes); diff != "" {
		t.Errorf("findings: -want +got\n%s", diff)
	}
	if done["instances"] != 43.0 || done["warnings"] != 1.0 || done["infos"] != 2.0 || done["left_out"] != 0.0 {
		t.Errorf("at its end: %v", done)
	}
	if got := w.Header().Get("Content-Type"); got != "application/x-ndjson; charset=utf-8" || w.Code != http.StatusOK {
		t.Errorf("status %d, type %s", w.Code, got)
	}

	// A row of a running instance without any history is a finding for each.
	const n = 1500
	c := testhub.ContentOf(t, testhub.OpenHub(t, "functions-3"))
	c.Tables[hub.Instances], c.Tables[hub.History] = nil, nil
	for i := range n {
		row := manyRow(5)
		row.PartitionKey = manyID(i)
		row.TaskHubName = schema.Some(c.Names.TaskHub)
		c.Tables[hub.Instances] = append(c.Tables[hub.Instances], row.Row())
	}
	h = newServer(t, pageOptions(server.Hub{Reader: testhub.NewMemory(c)}))
	codes, done, _ = verified(t, pageGet(h, "verify", nil))
	sent := 0
	for _, n := range codes {
		sent += n
	}
	left, _ := done["left_out"].(float64)
	if sent != 1000 || left < n-1000 || codes["history-missing"] < 900 {
		t.Errorf("%d findings are sent, %v left out: %v", sent, left, codes)
	}
}
