package schema

import (
	"encoding/json"
	"fmt"
)

// PartitionLease is a row of the Partitions table: the owner of one control
// queue under the table partition manager.
//
// Source: durabletask 2.9.1, TablePartitionLease.cs:24-79.
type PartitionLease struct {
	// Queue is the name of the control queue, the RowKey.
	Queue        string
	CurrentOwner Optional[string] // absent: unowned
	NextOwner    Optional[string] // a worker that is taking it over
	OwnedSince   Optional[Ticks]
	LastRenewal  Optional[Ticks]
	ExpiresAt    Optional[Ticks] // LastRenewal + 30 s
	IsDraining   Optional[bool]
	Extra        []Property
	StoredAt     Ticks
	ETag         string
}

func (p *PartitionLease) fields(v visitor) {
	v.str("CurrentOwner", &p.CurrentOwner)
	v.str("NextOwner", &p.NextOwner)
	v.optTime("OwnedSince", &p.OwnedSince)
	v.optTime("LastRenewal", &p.LastRenewal)
	v.optTime("ExpiresAt", &p.ExpiresAt)
	v.optBool("IsDraining", &p.IsDraining)
}

// DecodePartitionLease decodes a row of the Partitions table. A *[DecodeError]
// names the first value with a wrong type; the rest is decoded all the same.
func DecodePartitionLease(r *Row) (PartitionLease, error) {
	p := PartitionLease{Queue: r.RowKey, StoredAt: r.Timestamp, ETag: r.ETag}
	d := newRowReader(r, make([]bool, len(r.Properties)))
	if r.PartitionKey != "" {
		d.fail("PartitionKey", "is not empty")
	}
	p.fields(d)
	p.Extra = d.extra()
	if d.err != nil {
		return p, d.err
	}
	return p, nil
}

// Row encodes p.
func (p *PartitionLease) Row() Row {
	var w rowWriter
	p.fields(&w)
	return Row{RowKey: p.Queue, Timestamp: p.StoredAt, ETag: p.ETag, Properties: w.properties(p.Extra)}
}

// BlobLease is the content of a lease blob of the blob partition managers:
// default/…, intent/… and ownership/… in the lease container. The lease itself
// is the blob's: a blob with an owner that is not leased belonged to a worker
// that died.
//
// Source: durabletask 2.9.1, Lease.cs:36-55.
type BlobLease struct {
	PartitionID string  `json:"PartitionId"` // name of the control queue
	Owner       *string `json:"Owner"`
	Token       *string `json:"Token"`
	Epoch       int64   `json:"Epoch"`
}

// TaskHubInfo is the blob taskhub.json of the blob partition managers.
//
// Source: durabletask 2.9.1, TaskHubInfo.cs:18-29.
type TaskHubInfo struct {
	TaskHubName    string
	CreatedAt      Ticks
	PartitionCount int
}

// AppLeaseInfo is the content of the app-lease blob: {} until an app has run.
//
// Source: durabletask 2.9.1, AppLeaseManager.cs:532-580.
type AppLeaseInfo struct {
	OwnerID       Optional[string]
	DesiredSwapID Optional[string]
}

// DecodeBlobLease decodes a lease blob.
func DecodeBlobLease(content []byte) (BlobLease, error) {
	var l BlobLease
	if err := json.Unmarshal(content, &l); err != nil {
		return l, fmt.Errorf("lease blob: %w", err)
	}
	return l, nil
}

// AppendJSON appends the blob's content as the framework writes it.
func (l *BlobLease) AppendJSON(dst []byte) []byte {
	w := jsonWriter{}
	w.plain("PartitionId", l.PartitionID)
	for _, m := range [...]struct {
		name string
		s    *string
	}{{"Owner", l.Owner}, {"Token", l.Token}} {
		if m.s == nil {
			w.raw(m.name, "null")
		} else {
			w.plain(m.name, *m.s)
		}
	}
	w.int("Epoch", l.Epoch)
	return w.append(dst, nil, nil)
}

// DecodeTaskHubInfo decodes taskhub.json.
func DecodeTaskHubInfo(content []byte) (TaskHubInfo, error) {
	var raw struct {
		TaskHubName    string
		CreatedAt      string
		PartitionCount int
	}
	if err := json.Unmarshal(content, &raw); err != nil {
		return TaskHubInfo{}, fmt.Errorf("taskhub.json: %w", err)
	}
	t, err := ParseTicks(raw.CreatedAt)
	if err != nil {
		return TaskHubInfo{}, fmt.Errorf("taskhub.json: CreatedAt: %w", err)
	}
	return TaskHubInfo{raw.TaskHubName, t, raw.PartitionCount}, nil
}

// AppendJSON appends the blob's content as the framework writes it.
func (t *TaskHubInfo) AppendJSON(dst []byte) []byte {
	w := jsonWriter{}
	w.plain("TaskHubName", t.TaskHubName)
	w.time("CreatedAt", &t.CreatedAt)
	w.int("PartitionCount", int64(t.PartitionCount))
	return w.append(dst, nil, nil)
}

// DecodeAppLeaseInfo decodes the app-lease blob.
func DecodeAppLeaseInfo(content []byte) (AppLeaseInfo, error) {
	d := jsonReader{where: "app lease"}
	var a AppLeaseInfo
	if err := d.open(string(content)); err != nil {
		return a, fmt.Errorf("app-lease blob: %w", err)
	}
	d.str("OwnerId", &a.OwnerID)
	d.str("DesiredSwapId", &a.DesiredSwapID)
	if d.err != nil {
		return a, d.err
	}
	return a, nil
}

// AppendJSON appends the blob's content as the framework writes it.
func (a *AppLeaseInfo) AppendJSON(dst []byte) []byte {
	w := jsonWriter{}
	if a.OwnerID.Set || a.DesiredSwapID.Set {
		w.str("OwnerId", &a.OwnerID)
		w.str("DesiredSwapId", &a.DesiredSwapID)
	}
	return w.append(dst, nil, nil)
}

// AppLeaseID returns the lease ID that an app of this name takes on the
// app-lease container.
//
// Source: durabletask 2.9.1, AppLeaseManager.cs:75-77.
func AppLeaseID(appName string) string {
	return fmt.Sprintf("%08x-0000-0000-0000-000000000000", hashID(appName))
}
