package server_test

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/server"
)

// summary is what the API tells of an instance.
type summary struct {
	Name, InstanceID, RuntimeStatus, CreatedTime, LastUpdatedTime string
	Input, Output, CustomStatus                                   json.RawMessage
}

// Every instance of every recorded hub is shown alone as it is in the list, with
// a history that is whole JSON.
func TestAllRecordings(t *testing.T) {
	for _, rec := range testhub.Recordings {
		t.Run(rec.Name, func(t *testing.T) {
			h := newServer(t, testOptions(server.Hub{Reader: testhub.OpenHub(t, rec.Name)}))
			_, listed := pages(t, h, "/instances?top=1000")
			for _, entry := range listed {
				var s summary
				if err := json.Unmarshal([]byte(entry), &s); err != nil {
					t.Fatal(err)
				}
				path := "/instances/" + url.PathEscape(s.InstanceID)
				alone := answer(h, jsonRequest(t, "GET", path, ""))
				if got := alone.Body.String(); got != entry {
					t.Errorf("%q alone is\n%.1000s\nin the list it is\n%.1000s", s.InstanceID, got, entry)
				}
				w := answer(h, jsonRequest(t, "GET", path+"?showHistory=true&showHistoryOutput=true", ""))
				if !json.Valid(w.Body.Bytes()) || w.Code >= 500 {
					t.Errorf("%q with history: status %d: %.500s", s.InstanceID, w.Code, w.Body)
				}
				if begun := strings.Contains(w.Body.String(), `"historyEvents":[`); begun != (s.RuntimeStatus != "Pending") {
					t.Errorf("%q is %s, and has a history: %v", s.InstanceID, s.RuntimeStatus, begun)
				}
			}
			if len(listed) == 0 && !strings.HasSuffix(rec.Name, "Nowhere") {
				t.Error("no instances")
			}
		})
	}
}

// Whatever is in storage, answers are HTTP and JSON.
func TestWreckedHubs(t *testing.T) {
	content := recordedHub(t, "functions-3")
	rounds := uint64(30)
	if testing.Short() {
		rounds = 5
	}
	for seed := range rounds {
		rnd := rand.New(rand.NewPCG(seed, 8))
		wrecked := testhub.Wreck(rnd, content, 200)
		if len(wrecked.Tables[hub.Instances]) == 0 {
			continue
		}
		h := newServer(t, testOptions(server.Hub{Reader: testhub.NewMemory(wrecked)}))
		paths := []string{"/instances", "/entities?fetchState=true", "/entities"}
		for _, row := range wrecked.Tables[hub.Instances] {
			paths = append(paths, "/instances/"+url.PathEscape(row.PartitionKey)+"?showHistory=true&showHistoryOutput=true")
		}
		for _, path := range paths {
			w := answer(h, jsonRequest(t, http.MethodGet, path, ""))
			if kind := w.Header().Get("Content-Type"); kind != "" && !json.Valid(w.Body.Bytes()) || kind == "" && w.Code != http.StatusNotFound {
				t.Errorf("seed %d: %s: status %d: %.300s", seed, path, w.Code, w.Body)
			}
		}
	}
}
