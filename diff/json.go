package diff

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"

	"github.com/taskhub-tools/taskhub/schema"
)

// Redaction says what becomes of payloads in what is shown of a difference.
type Redaction string

// RedactNone shows payloads. RedactPayloads shows their length in their place,
// RedactHash their length and SHA-256.
const (
	RedactNone     Redaction = ""
	RedactPayloads Redaction = "payloads"
	RedactHash     Redaction = "hash"
)

// Show says how values are shown. The zero value shows what is not too long.
type Show struct {
	Redact Redaction
	// MaxValueBytes is the length up to which a value is shown; of a longer one
	// its length and SHA-256 are. 0 means 64 KiB.
	MaxValueBytes int
}

// Shown is a value as it may be shown.
type Shown struct {
	// Value is the zero Value if it may not be shown.
	Value schema.Value
	// Hidden is true if it may not; SizeBytes is its length then and SHA256
	// that in hexadecimal, or empty with RedactPayloads. Both are of the text,
	// or for values that are none of their JSON.
	Hidden    bool
	SizeBytes int64
	SHA256    string
}

// public are the columns that hold no payload: identifiers, names, times, types
// and statuses. Others, unknown ones too, may hold one.
var public = map[Dataset][]string{
	Instances: {
		"CompletedTime", "CreatedTime", "ETag", "ExecutionId", "Generation", "InputBlobName", "LastUpdatedTime", "Name", "RuntimeStatus",
		"ScheduledStartTime", "TagsBlobName", "TaskHubName", "Timestamp", "Version",
	},
	History: {
		"CheckpointCompletedTimestamp", "ClientSpanId", "Correlation", "CorrelationBlobName", "DataBlobName", "DetailsBlobName", "ETag", "EventId",
		"EventType", "ExecutionId", "FailureDetailsBlobName", "FireAt", "GenerateNewTrace", "Generation", "InputBlobName", "InstanceId",
		"IsCheckpointComplete", "IsPlayed", "Name", "NameBlobName", "OrchestrationInstance", "OrchestrationStatus", "ParentExecutionId", "ParentInstance", "ParentTraceContext",
		"ReasonBlobName", "ResultBlobName", "ScheduledStartTime", "TagsBlobName", "TaskScheduledId", "TimerId", "Timestamp", "Version", "_Timestamp",
	},
	Partitions: {"CurrentOwner", "ETag", "ExpiresAt", "IsDraining", "LastRenewal", "NextOwner", "OwnedSince", "Timestamp"},
	Containers: {"lease_state"},
	Blobs: {
		"CreatedAt", "DesiredSwapId", "Epoch", "Owner", "OwnerId", "PartitionCount", "PartitionId", "TaskHubName", "Token",
		"content_type", "created_time", "last_modified", "lease_state", "size_bytes",
	},
	Queues:   {"approximate_count"},
	Messages: {"dequeue_count", "expires_time", "inserted_time", "message_id", "queue", "visible_time"},
}

// Shown returns one value of a column of d as s allows to show it.
func (s Show) Shown(d *Difference, column string, v schema.Value) Shown {
	if v.Type() == schema.Absent || v.Type() == schema.Null {
		return Shown{Value: v}
	}
	redact := s.Redact != RedactNone && !slices.Contains(public[d.Dataset], column)
	if redact && s.Redact == RedactHash && d.Dataset == Blobs && column == "content" {
		redact = false // it is a hash
	}
	text, ok := v.Text()
	if !ok {
		text = string(v.AppendJSON(nil))
	}
	limit := s.MaxValueBytes
	if limit <= 0 {
		limit = 64 << 10
	}
	if !redact && len(text) <= limit {
		return Shown{Value: v}
	}
	hidden := Shown{Hidden: true, SizeBytes: int64(len(text))}
	if !redact || s.Redact == RedactHash {
		sum := sha256.Sum256([]byte(text))
		hidden.SHA256 = hex.EncodeToString(sum[:])
	}
	return hidden
}

// AppendJSON appends d as one compact JSON object with "type":"difference";
// docs/json.md describes it.
func (d *Difference) AppendJSON(dst []byte, show Show) []byte {
	dst = append(dst, `{"type":"difference"`...)
	dst = appendMember(dst, "dataset", string(d.Dataset))
	dst = appendMember(dst, "kind", string(d.Kind))
	dst = appendMember(dst, "artifact", d.Artifact)
	switch d.Dataset {
	case Instances, History, Partitions:
		dst = appendMember(dst, "partition_key", d.PartitionKey)
		dst = appendMember(dst, "row_key", d.RowKey)
	case Blobs:
		dst = appendMember(dst, "blob", d.Blob)
	}
	if d.InstanceID != "" {
		dst = appendMember(dst, "instance_id", d.InstanceID)
	}
	if m := d.Message; m != nil {
		dst = append(dst, `,"message":{"message_id":`...)
		dst = schema.AppendJSONString(dst, m.ID)
		dst = appendOptional(dst, "event_type", m.EventType)
		dst = appendOptional(dst, "execution_id", m.ExecutionID)
		dst = appendOptional(dst, "name", m.Name)
		dst = appendOptional(dst, "blob", m.Blob)
		dst = append(dst, `,"size_bytes":`...)
		dst = strconv.AppendInt(dst, m.SizeBytes, 10)
		if show.Redact != RedactPayloads {
			dst = appendMember(dst, "sha256", m.SHA256)
		}
		dst = append(dst, '}')
	}
	if len(d.Columns) > 0 {
		dst = append(dst, `,"columns":[`...)
		for i := range d.Columns {
			c := &d.Columns[i]
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, `{"name":`...)
			dst = schema.AppendJSONString(dst, c.Name)
			dst = show.Shown(d, c.Name, c.A).appendJSON(dst, "a", c.A.EDM())
			dst = show.Shown(d, c.Name, c.B).appendJSON(dst, "b", c.B.EDM())
			dst = append(dst, '}')
		}
		dst = append(dst, ']')
	}
	dst = appendOptional(dst, "reason", d.Reason)
	return append(dst, '}')
}

func (s Shown) appendJSON(dst []byte, name, edm string) []byte {
	dst = append(dst, `,"`+name+`":`...)
	dst = s.Value.AppendJSON(dst)
	dst = appendMember(dst, name+"_type", edm)
	if s.Hidden {
		dst = append(dst, `,"`+name+`_bytes":`...)
		dst = strconv.AppendInt(dst, s.SizeBytes, 10)
		dst = appendOptional(dst, name+"_sha256", s.SHA256)
	}
	return dst
}

func appendMember(dst []byte, name, value string) []byte {
	dst = append(dst, `,"`+name+`":`...)
	return schema.AppendJSONString(dst, value)
}

func appendOptional(dst []byte, name, value string) []byte {
	if value == "" {
		return dst
	}
	return appendMember(dst, name, value)
}
