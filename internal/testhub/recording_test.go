package testhub

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
)

// writeDump makes a recording of two hubs, A and B, that share a tracking store.
func writeDump(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"tables/StoreInstances.jsonl": `{"odata.etag": "W/\"1\"", "PartitionKey": "a1", "RowKey": "", "TaskHubName": "a", "Timestamp@odata.type": "Edm.DateTime", "Timestamp": "2026-11-22T04:00:00.0000001Z"}
{"PartitionKey": "b1", "RowKey": "", "TaskHubName": "B"}
{"PartitionKey": "old", "RowKey": ""}
`,
		"tables/StoreHistory.jsonl": `{"PartitionKey": "a1", "RowKey": "0000000000000000"}
{"PartitionKey": "b1", "RowKey": "0000000000000000"}
{"PartitionKey": "orphan", "RowKey": "0000000000000000"}
`,
		"queues/a-control-00.jsonl": `{"MessageId": "1", "InsertionTime": "Sun, 22 Nov 2026 04:21:14 GMT", "ExpirationTime": "Fri, 31 Dec 9999 23:59:59 GMT", "DequeueCount": "2", "MessageText": "hello"}
`,
		"queues/a-workitems.jsonl":      "",
		"queues/b-control-00.jsonl":     "",
		"queues-all/a-control-00.jsonl": "{}\n{}\n{}\n",
		"blobs/index.jsonl": `{"container": "a-leases", "name": "taskhub.json", "size": 20, "file": "a-leases/1", "properties": {"Creation-Time": "Sun, 22 Nov 2026 04:07:41 GMT", "Content-MD5": "Exj0hvqzaKoYLqPWAx1IcA==", "LeaseState": "available"}}
{"container": "b-leases", "name": "taskhub.json", "size": 20, "file": "b-leases/1", "properties": {}}
`,
		"blobs/containers.jsonl": `{"name": "a-applease", "properties": {"LeaseState": "leased"}}
`,
		"blobs/a-leases/1": `{"PartitionCount": 3}`,
		"blobs/b-leases/1": `{"PartitionCount": 5}`,
	} {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLoadRecording(t *testing.T) {
	m, err := LoadRecording(writeDump(t), hub.Names{TaskHub: "A", TrackingPrefix: "Store"})
	if err != nil {
		t.Fatal(err)
	}
	c := m.Content
	var keys []string
	for _, table := range []hub.Table{hub.Instances, hub.History} {
		for _, row := range c.Tables[table] {
			keys = append(keys, row.PartitionKey)
		}
	}
	// Rows that nothing says are another hub's are kept.
	if want := []string{"a1", "old", "a1", "orphan"}; !slices.Equal(keys, want) {
		t.Errorf("rows of %q, want %q", keys, want)
	}
	if row := c.Tables[hub.Instances][0]; row.ETag != `W/"1"` || row.Timestamp.String() != "2026-11-22T04:00:00.0000001Z" || m.Started != row.Timestamp {
		t.Errorf("row %+v, started %v", row, m.Started)
	}
	if c.PartitionCount != 3 || c.PartitionCountFrom != hub.FromTaskHubJSON {
		t.Errorf("%d partitions from %s", c.PartitionCount, c.PartitionCountFrom)
	}
	if len(c.Queues) != 2 || c.Queues[0].ApproximateCount != 3 || c.Queues[1].ApproximateCount != 0 || len(c.Queues[0].Messages) != 1 {
		t.Fatalf("queues %+v", c.Queues)
	}
	if msg := c.Queues[0].Messages[0]; msg.Text != "hello" || msg.DequeueCount != 2 || msg.VisibleAt != 0 ||
		msg.InsertedAt.String() != "2026-11-22T04:21:14.0000000Z" || msg.ExpiresAt.String() != "9999-12-31T23:59:59.0000000Z" {
		t.Errorf("message %+v", msg)
	}
	if want := []hub.Container{{Name: "a-applease", LeaseState: "leased"}, {Name: "a-leases"}}; !slices.Equal(c.Containers, want) {
		t.Errorf("containers %v, want %v", c.Containers, want)
	}
	if len(c.Blobs) != 1 || c.Blobs[0].SizeBytes != 21 || len(c.Blobs[0].ContentMD5) != 16 || c.Blobs[0].LeaseState != "available" {
		t.Errorf("blobs %+v", c.Blobs)
	}
	if _, err := LoadRecording(writeDump(t), hub.Names{TaskHub: "C"}); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("a hub that was not recorded: %v, want hub.ErrNotFound", err)
	}
}
