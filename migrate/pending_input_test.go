package migrate_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

// Where an app stores inputs, activities and sub-orchestrations are not redriven:
// their messages are those that were recorded. The recorded apps that crashed
// did not, so that the inputs are put from the recorded messages into the rows.
func TestPendingStoredInputs(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		activities, children int
	}{{"dtfx-2.9.1-crashed", 91, 0}, {"dtfx-2.9.1-odd", 169 - 31, 64 + 2}} {
		t.Run(tt.name, func(t *testing.T) {
			r := testhub.OpenHub(t, tt.name)
			recorded := make(map[string]*recordedMessage)
			inputs := make(map[string]string) // by row
			for _, m := range recordedMessages(t, r, tt.name) {
				e, target := m.wire.TaskMessage.Event, m.wire.TaskMessage.OrchestrationInstance
				switch kind := schema.EventType(e.EventType); {
				case kind == schema.TypeTaskScheduled:
					inputs[fmt.Sprintf("TaskScheduled %d of %s", e.EventID, target.InstanceID)] = e.Input
				case kind == schema.TypeExecutionStarted && e.ParentInstance != nil:
					inputs[fmt.Sprintf("SubOrchestrationInstanceCreated %d of %s", e.ParentInstance.TaskScheduleID, m.wire.Sender.InstanceID)] = e.Input
				default:
					continue
				}
				recorded[m.identity] = m
			}
			content := testhub.ContentOf(t, r)
			for n := range content.Tables[hub.History] {
				row := &content.Tables[hub.History][n]
				kind, _ := row.Get("EventType").Text()
				id, _ := row.Get("EventId").Int()
				if input, ok := inputs[kind+" "+strconv.Itoa(int(id))+" of "+schema.InstanceID(row.PartitionKey)]; ok {
					row.Set("Input", schema.String(input))
				}
			}
			opts := migrate.PendingOptions{WithoutQueues: true, Now: func() time.Time { return time.Date(2026, 11, 22, 5, 20, 0, 0, time.UTC) }}
			activities, children := 0, 0
			for _, i := range items(t, migrate.Pending(t.Context(), testhub.NewMemory(content), opts)) {
				if i.Origin != migrate.Rebuilt || i.Kind != migrate.KindActivity && i.Kind != migrate.KindChildStart {
					continue
				}
				text := jsonOf(&i)
				id, _ := identify(t, text)
				m := recorded[id]
				if m == nil {
					t.Errorf("%s was in no queue", id)
					continue
				}
				delete(recorded, id)
				if i.Kind == migrate.KindActivity {
					activities++
					i.Kind = migrate.KindTimer // whose time is near, too
				} else {
					children++
					if i.ExecutionID != m.wire.TaskMessage.OrchestrationInstance.ExecutionID && len(i.ExecutionID) != 32 {
						t.Errorf("%s has execution %q", id, i.ExecutionID)
					}
					text = strings.ReplaceAll(text, i.ExecutionID, m.wire.TaskMessage.OrchestrationInstance.ExecutionID)
					// The time of the row's event is that of the parent's action.
					text, m.json = withoutTime(t, text), withoutTime(t, m.json)
				}
				i.Message, i.BlobText = nil, text
				checkRebuilt(t, &i, m)
			}
			if activities != tt.activities || children != tt.children {
				t.Errorf("%d activities and %d children were rebuilt, want %d and %d", activities, children, tt.activities, tt.children)
			}
		})
	}
}

// withoutTime removes the Timestamp of the event.
func withoutTime(t *testing.T, text string) string {
	t.Helper()
	var parts struct {
		TaskMessage struct{ Event struct{ Timestamp string } }
	}
	if err := json.Unmarshal([]byte(text), &parts); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(text, parts.TaskMessage.Event.Timestamp, "")
}

// Whatever is wrong with a hub, what is sent can be read by a worker, and nothing
// is sent twice.
func TestPendingDamaged(t *testing.T) {
	paths, err := filepath.Glob(testhub.Testdata(t, "damaged", "*.taskhub"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d damaged hubs, %v", len(paths), err)
	}
	for _, path := range paths {
		r, err := snapshot.Open(path, snapshot.Options{})
		if err != nil {
			t.Fatal(err)
		}
		info, err := r.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, without := range []bool{false, true} {
			if info.PartitionCount == 0 {
				info.PartitionCount = 4
			}
			once := make(map[string]bool)
			for i, err := range migrate.Pending(t.Context(), r, migrate.PendingOptions{Partitions: info.PartitionCount, WithoutQueues: without, Now: time.Now}) {
				if err != nil {
					t.Errorf("%s: %v", filepath.Base(path), err)
					break
				}
				if i.Origin == migrate.Seen {
					continue
				}
				what := fmt.Sprintf("%s %s %d %s %s", i.Origin, i.Kind, i.EventID, i.InstanceID, i.Name)
				if once[what] {
					t.Errorf("%s: %s is given twice", filepath.Base(path), what)
				}
				if once[what] = true; i.Text == "" {
					continue
				}
				if _, err := schema.DecodeMessage(i.Text, what); err != nil {
					t.Errorf("%s: %v", filepath.Base(path), err)
				}
				if m, err := schema.DecodeMessage(jsonOf(&i), what); err != nil || m.TaskMessage == nil {
					t.Errorf("%s: %s is %v, error %v", filepath.Base(path), what, m, err)
				}
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}
