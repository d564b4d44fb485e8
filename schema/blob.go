package schema

import (
	"fmt"
	"iter"
	"net/url"
	"strings"
)

// MaxColumnUnits is the length of a text, in UTF-16 code units, up to which a
// table column holds it; a longer one goes to a blob.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:51-65 (60 KiB of UTF-16).
const MaxColumnUnits = 30 * 1024

// UTF16Len returns the length of s in UTF-16 code units.
func UTF16Len(s string) int {
	n := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c >= 0xF0:
			n += 2
		case c < 0x80 || c >= 0xC0:
			n++
		}
	}
	return n
}

// HistoryBlobName returns the name of the blob for a history column, or with an
// empty rowKey for a column of a pending Instances row. random is any number
// below 2^31.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:1346-1387.
func HistoryBlobName(instanceID, rowKey, eventType, column string, random uint32) string {
	return fmt.Sprintf("%s/history-%s-%s-%08X-%s.json.gz", EscapeKey(instanceID), rowKey, eventType, random, column)
}

// MessageBlobName returns the name of the blob of a large message, as the
// message's wrapper has it. The instance ID is not escaped. The service stores
// a \ in a name as /: see [StoredBlobName].
//
// Source: durabletask 2.9.1, MessageManager.cs:310-317.
func MessageBlobName(instanceID, activityID string, t EventType) string {
	return instanceID + "/message-" + strings.ReplaceAll(activityID, "-", "") + "-" + t.String() + ".json.gz"
}

// StoredBlobName returns the name under which the service keeps a blob that a
// message or URL calls name.
func StoredBlobName(name string) string { return strings.ReplaceAll(name, `\`, "/") }

// BlobName is the parsed name of a blob in the large-message container.
type BlobName struct {
	// Folder is what precedes the last slash: for history blobs the escaped
	// instance ID, for messages the raw one with / for \.
	Folder string
	// Message is true for the blob of a queue message, false for a column.
	Message bool
	// Key is the history RowKey (empty for a pending Instances row), or the
	// ActivityID of a message.
	Key string
	// EventType is the stored name; in old lower-case names lower-case too.
	EventType string
	// Column is the column's name; empty for messages.
	Column string
}

const blobSuffix = ".json.gz"

// ParseBlobName parses a name in any of the forms that versions 1.6.5 to 2.9.1
// write. ok is false for other names.
func ParseBlobName(name string) (b BlobName, ok bool) {
	slash := strings.LastIndexByte(name, '/')
	if slash < 0 {
		return b, false
	}
	base, ok := strings.CutSuffix(name[slash+1:], blobSuffix)
	if !ok {
		return b, false
	}
	b.Folder = name[:slash]
	part := strings.Split(base, "-")
	switch {
	case part[0] == "message" && len(part) == 3:
		b.Message, b.Key, b.EventType = true, part[1], part[2]
	case part[0] == "history" && len(part) == 5: // history-KEY-TYPE-RANDOM-COLUMN
		b.Key, b.EventType, b.Column = part[1], part[2], part[4]
	case part[0] == "history" && len(part) == 4: // before 1.13.7: no random part
		b.Key, b.EventType, b.Column = part[1], part[2], part[3]
	default:
		return BlobName{}, false
	}
	return b, true
}

// InstanceID returns the ID of the instance that the blob belongs to. For
// messages of an ID with a \ it returns the ID with / in its place, as stored.
func (b BlobName) InstanceID() string {
	if b.Message {
		return b.Folder
	}
	return InstanceID(b.Folder)
}

// BlobURL returns the absolute URL of a blob as versions from 2.2.0 on store it
// in Instances rows: each segment percent-encoded. endpoint is the blob
// endpoint of the account, with or without a slash at its end.
//
// Source: durabletask 2.9.1, Storage/Blob.cs:37-48; recorded URLs in hub dtfx-2.9.1.
func BlobURL(endpoint, container, name string) string {
	segments := strings.Split(name, "/")
	for i, s := range segments {
		segments[i] = percentEncode(s)
	}
	return strings.TrimSuffix(endpoint, "/") + "/" + container + "/" + strings.Join(segments, "/")
}

func percentEncode(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_' || c == '~' {
			b.WriteByte(c)
			continue
		}
		const upper = "0123456789ABCDEF"
		b.WriteByte('%')
		b.WriteByte(upper[c>>4])
		b.WriteByte(upper[c&15])
	}
	return b.String()
}

// ParseBlobURL returns the name of the blob that a stored value refers to; ok is
// false if the value is not a URL of this container. Account and host do not
// matter: rows of a copied hub keep those of the account that wrote them.
//
// Values that merely look like URLs are common: a termination reason, a JSON
// string with its quotes. Only scheme, container and a name together count.
func ParseBlobURL(value, container string) (name string, ok bool) {
	rest, isHTTP := strings.CutPrefix(value, "https://")
	if !isHTTP {
		if rest, isHTTP = strings.CutPrefix(value, "http://"); !isHTTP {
			return "", false
		}
	}
	// The container is the first segment of the path, or the second where the
	// account stands in the path instead of the host.
	_, path, _ := strings.Cut(rest, "/")
	for range 2 {
		segment, after, found := strings.Cut(path, "/")
		if !found {
			return "", false
		}
		if segment == container {
			name, err := url.PathUnescape(after)
			if err != nil {
				name = after // versions 2.0.0 to 2.1.0 did not encode
			}
			return StoredBlobName(name), name != ""
		}
		path = after
	}
	return "", false
}

// RowBlobs yields the stored names of the blobs that a row of Instances or History
// names: in columns called …BlobName, and as the URLs that the columns of an
// instance may hold. Any text that is the URL of a blob of container, the hub's
// large-message container, counts. The names share the memory of row.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:479-512, 1275-1344; bare
// names before version 1.9.2: git 36b97b3d.
func RowBlobs(row *Row, container string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range row.Properties {
			p := &row.Properties[i]
			text, ok := p.Value.Text()
			if !ok || text == "" {
				continue
			}
			name := ""
			switch {
			case strings.HasSuffix(p.Name, "BlobName"):
				name = StoredBlobName(text)
			case strings.HasPrefix(text, "http"):
				name, _ = ParseBlobURL(text, container)
			case row.RowKey == "" && strings.HasSuffix(text, ".json.gz"):
				name = StoredBlobName(text) // versions before 1.9.2
			}
			if name != "" && !yield(name) {
				return
			}
		}
	}
}

// Ref says where the text of a column is.
type Ref struct {
	// Blob is the stored name of the blob; empty if the column itself has it.
	Blob string
	// InMessage is true if the blob holds a whole start message, whose event's
	// Input is the text.
	InMessage bool
}

// InputRef returns where the input is. container is the name of the hub's
// large-message container.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:479-512; bare names
// before version 1.9.2: git 36b97b3d.
func (i *Instance) InputRef(container string) Ref {
	if i.Input.Value == "" && i.Input.Blob != "" {
		return Ref{Blob: StoredBlobName(i.Input.Blob)}
	}
	return columnRef(i.Input.Value, container)
}

// OutputRef returns where the output is.
func (i *Instance) OutputRef(container string) Ref { return columnRef(i.Output.Value, container) }

func columnRef(value, container string) Ref {
	name, ok := ParseBlobURL(value, container)
	if !ok {
		if b, isName := ParseBlobName(value); !isName || !b.Message || !strings.HasSuffix(value, "ExecutionStarted"+blobSuffix) {
			return Ref{}
		}
		name = StoredBlobName(value)
	}
	b, ok := ParseBlobName(name)
	return Ref{Blob: name, InMessage: ok && b.Message && b.EventType == TypeExecutionStarted.String()}
}
