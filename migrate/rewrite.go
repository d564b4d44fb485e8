package migrate

import (
	"fmt"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Rewrite changes rows so that they belong to a hub of another name or account.
//
// Two things in rows name the hub that wrote them: TaskHubName, and the URLs in
// Input and Output of the Instances table, which the framework reads from
// wherever they lead. Everything else is right anywhere: blobs are named within
// their container, and messages and history rows name instances only. Rows of
// the Partitions table are not rewritten but made anew; see [NewArtifacts].
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:479-512, 781-842,
// 1275-1344; recorded in instance order-1 of hub dtfx-2.9.1.
type Rewrite struct {
	From, To hub.Names
	// BlobURL returns the address of a blob in the target's account, as
	// [hub.Editor.BlobURL] does.
	BlobURL func(container, name string) string
}

// Row returns the row as the target has it and the names of the columns that
// were rewritten; nil if it is the same. The result shares the memory of row,
// which is not changed.
//
// A URL counts as a reference only if it leads to the large-message container of
// the source hub. The account does not matter: a hub that was copied before may
// still name the one before. A text that merely looks like a URL stays.
func (w Rewrite) Row(table hub.Table, row schema.Row) (schema.Row, []string) {
	if table != hub.Instances {
		return row, nil
	}
	var changed []string
	for i := range row.Properties {
		p := &row.Properties[i]
		value, ok := w.value(p)
		if !ok {
			continue
		}
		if changed == nil {
			row.Properties = slices.Clone(row.Properties)
		}
		row.Properties[i].Value = schema.String(value)
		changed = append(changed, p.Name)
	}
	return row, changed
}

// value returns what becomes of a column; ok is false if it stays as it is.
func (w Rewrite) value(p *schema.Property) (value string, ok bool) {
	if p.Value.Type() != schema.TypeString {
		return "", false
	}
	old, _ := p.Value.Text()
	switch p.Name {
	case "TaskHubName":
		value = w.To.TaskHub
	case "Input", "Output":
		name, isURL := schema.ParseBlobURL(old, w.From.LargeMessages())
		if !isURL {
			return "", false
		}
		value = w.BlobURL(w.To.LargeMessages(), name)
	default:
		return "", false
	}
	return value, value != old
}

// Copied reports whether the blobs of a container of the source are copied: only
// those of large messages. What the others hold belongs to the account and its
// workers.
func Copied(source hub.Names, container string) bool { return container == source.LargeMessages() }

// PartitionManager is the way in which workers share the control queues of a
// hub, as the app is configured.
type PartitionManager string

// The three partition managers. TableManager is what version 2.x uses unless it
// is told otherwise, SafeBlobManager what version 1.x uses.
const (
	TableManager      PartitionManager = "table"
	SafeBlobManager   PartitionManager = "safe-blob"
	LegacyBlobManager PartitionManager = "legacy-blob"
)

// blobType is the service's default, as the framework sets none.
const blobType = "application/octet-stream"

// NewArtifact is a blob of a hub that no worker has run yet.
type NewArtifact struct {
	hub.Blob
	Data []byte
}

// Artifacts are those parts of a hub that are made and not copied.
type Artifacts struct {
	// Tables exist in every such hub; Partitions only where the manager uses it.
	Tables []hub.Table
	// Queues are the control queues and the queue of work items.
	Queues []string
	// Containers does not have that of large messages, which is made with its
	// first blob.
	Containers []string
	// Partitions are the rows of the Partitions table: nobody owns a queue.
	Partitions []schema.Row
	// Blobs are the leases, taskhub.json and the app-lease blob.
	Blobs []NewArtifact
}

// NewArtifacts returns the parts of a hub that tell of workers, as the framework
// makes them: no lease of the source is carried over. createdAt is the time in
// taskhub.json, which only the blob managers have.
//
// It returns an error for a count outside 1 to 16 or an unknown manager.
//
// Source: durabletask 2.9.1, AzureStorageOrchestrationService.cs:348-388,
// TablePartitionManager.cs:264-292, BlobPartitionLeaseManager.cs:247-316,
// SafePartitionManager.cs:50-73, AppLeaseManager.cs:205-244; rows recorded in hub
// functions-3-after-write-Nowhere, blobs in hub dtfx-2.9.1-blob-leases.
func NewArtifacts(names hub.Names, manager PartitionManager, partitions int, createdAt schema.Ticks) (*Artifacts, error) {
	if partitions < 1 || partitions > hub.MaxPartitions {
		return nil, fmt.Errorf("%d partitions: want 1 to %d", partitions, hub.MaxPartitions)
	}
	a := &Artifacts{Tables: []hub.Table{hub.History, hub.Instances}, Containers: []string{names.AppLease()}}
	for i := range partitions {
		a.Queues = append(a.Queues, names.ControlQueue(i))
	}
	blob := func(container, name string, data []byte) {
		a.Blobs = append(a.Blobs, NewArtifact{hub.Blob{Container: container, Name: name, SizeBytes: int64(len(data)), ContentType: blobType}, data})
	}
	app := schema.AppLeaseInfo{}
	blob(names.AppLease(), strings.ToLower(names.TaskHub)+"-appleaseinfo", app.AppendJSON(nil))
	var folders []string
	switch manager {
	case TableManager:
		a.Tables = append(a.Tables, hub.Partitions)
		for _, queue := range a.Queues {
			lease := schema.PartitionLease{Queue: queue, IsDraining: schema.Some(false)}
			a.Partitions = append(a.Partitions, lease.Row())
		}
	case SafeBlobManager:
		folders = []string{"intent", "ownership"}
	case LegacyBlobManager:
		folders = []string{"default"}
	default:
		return nil, fmt.Errorf("unknown partition manager %q", manager)
	}
	for _, folder := range folders {
		for _, queue := range a.Queues {
			lease := schema.BlobLease{PartitionID: queue}
			blob(names.Leases(), folder+"/"+queue, lease.AppendJSON(nil))
		}
	}
	if len(folders) > 0 {
		a.Containers = append(a.Containers, names.Leases())
		info := schema.TaskHubInfo{TaskHubName: names.TaskHub, CreatedAt: createdAt, PartitionCount: partitions}
		blob(names.Leases(), "taskhub.json", info.AppendJSON(nil))
	}
	a.Queues = append(a.Queues, names.WorkItemQueue())
	return a, nil
}
