package testhub

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
)

func TestMemory(t *testing.T) {
	hubtest.Run(t, hubtest.Options{}, func(_ testing.TB, c hubtest.Content) hub.Reader { return NewMemory(c) })
}

// TestRecordings compares each capture with what is known of the recording.
func TestRecordings(t *testing.T) {
	// History rows, instances, messages that peeking showed, all messages.
	counts := map[string][4]int64{
		"dtfx-1.17.5":                     {612, 42, 0, 4},
		"dtfx-2.9.1":                      {604, 42, 0, 4},
		"dtfx-2.9.1-backlog":              {0, 21, -1, 61},
		"dtfx-2.9.1-blob-leases":          {612, 42, 0, 4},
		"dtfx-2.9.1-bulk":                 {11390, 500, 0, 0},
		"dtfx-2.9.1-crashed":              {1003, 54, -1, 99},
		"dtfx-2.9.1-live":                 {-1, 7, 0, 0},
		"dtfx-2.9.1-live-blob-leases":     {-1, 7, 0, 0},
		"dtfx-2.9.1-live-legacy-leases":   {-1, 7, 0, 0},
		"dtfx-2.9.1-odd":                  {1203, 190, -1, 305},
		"dtfx-2.9.1-poisoned":             {606, 43, -1, 5},
		"dtfx-2.9.1-purge-damaged":        {586, 40, 0, 0},
		"dtfx-2.9.1-torn":                 {2353, 8, -1, 3098},
		"functions-3":                     {506, 47, 0, 3},
		"functions-3-after-js":            {472, 47, -1, 14},
		"functions-3-after-write":         {446, 47, -1, 28},
		"functions-3-after-write-Nowhere": {0, 0, 0, 0},
		"shared-tracking-TrackA":          {-1, 17, -1, -1},
		"shared-tracking-TrackB":          {-1, 17, -1, -1},
	}
	partitions := map[string]int{
		"dtfx-2.9.1-backlog": 2, "dtfx-2.9.1-blob-leases": 7, "dtfx-2.9.1-poisoned": 1, "dtfx-2.9.1-torn": 2,
		"shared-tracking-TrackA": 2, "shared-tracking-TrackB": 2,
	}
	files, err := filepath.Glob(HubFile(t, "*"))
	if err != nil || len(files) != len(Recordings) || len(counts) != len(Recordings) {
		t.Fatalf("%d captures (%v) and %d counts of %d recordings", len(files), err, len(counts), len(Recordings))
	}
	for _, rec := range Recordings {
		t.Run(rec.Name, func(t *testing.T) {
			r := OpenHub(t, rec.Name)
			info, err := r.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := partitions[rec.Name]
			if want == 0 {
				want = 4
			}
			origin := hub.FromPartitionsTable
			if info.Tables[len(info.Tables)-1].Table != hub.Partitions {
				origin = hub.FromTaskHubJSON
			}
			if info.Names != rec.Names || info.PartitionCount != want || info.PartitionCountFrom != origin {
				t.Errorf("%+v has %d partitions from %s, want %+v, %d from %s",
					info.Names, info.PartitionCount, info.PartitionCountFrom, rec.Names, want, origin)
			}
			var got [4]int64
			for _, table := range info.Tables {
				switch table.Table {
				case hub.History:
					got[0] = table.Rows
				case hub.Instances:
					got[1] = table.Rows
				}
			}
			queues, err := r.Queues(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(queues) != want+1 {
				t.Errorf("%d queues, want one for each partition and one for work items", len(queues))
			}
			for _, q := range queues {
				got[3] += q.ApproximateCount
				all := strings.Count(string(Recorded(t, rec.Name, "queues-all/"+q.Name+".jsonl")), "\n")
				if int64(all) != q.ApproximateCount && !strings.Contains(rec.Name, "-live") {
					t.Errorf("%s has %d messages, its recording %d", q.Name, q.ApproximateCount, all)
				}
				for _, err := range r.Messages(t.Context(), q.Name) {
					if err != nil {
						t.Fatal(err)
					}
					got[2]++
				}
			}
			for i, want := range counts[rec.Name] {
				if want >= 0 && got[i] != want {
					t.Errorf("history rows, instances, messages seen, messages = %v, want %v", got, counts[rec.Name])
					break
				}
			}
		})
	}
}

func TestRecorded(t *testing.T) {
	for name, want := range map[string]bool{"dtfx-2.9.1": true, "shared-tracking-TrackB": true, "functions-3": false} {
		if state := Recorded(t, name, "state.json"); (len(state) > 0) != want || want && state[0] != '[' && state[0] != '{' {
			t.Errorf("state of %s: %d bytes", name, len(state))
		}
	}
}
