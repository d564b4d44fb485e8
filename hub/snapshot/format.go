package snapshot

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

const (
	formatName    = "taskhub capture"
	formatVersion = 1

	manifestName  = "manifest.json"
	tablePrefix   = "tables/"
	tableSuffix   = ".ndjson.zst"
	indexSuffix   = ".idx"
	queuePrefix   = "queues/"
	queueSuffix   = ".ndjson"
	blobIndexName = "blobs/index.ndjson"
	blobPrefix    = "blobs/data/"
)

// Limits on what a capture may claim. They are far beyond what a Writer makes
// and stand between a hostile file and our memory.
const (
	maxFrameBytes    = 64 << 20  // of text, in one frame; a row has at most 1 MiB
	maxManifestBytes = 64 << 20  // about 400,000 files
	maxIndexBytes    = 256 << 20 // about 2 million frames
	maxLineBytes     = 1 << 20   // a queue message has at most 64 KiB, a blob name 1 KiB
)

// DamageError reports a part of a capture that is missing or not what was
// written.
type DamageError struct {
	// File is the name inside the capture, such as tables/LabHubHistory.idx;
	// empty if the container itself is damaged.
	File string
	// Offset is where the damage was noticed, in bytes from the start of File.
	Offset int64
	// ArchiveOffset is the same place in the zip; 0 if unknown or a folder.
	ArchiveOffset int64
	Err           error
}

// Error says where and why.
func (e *DamageError) Error() string {
	var b strings.Builder
	b.WriteString("damaged capture: ")
	if e.File != "" {
		fmt.Fprintf(&b, "%s, ", e.File)
	}
	fmt.Fprintf(&b, "offset %d", e.Offset)
	if e.ArchiveOffset != 0 && e.File != "" {
		fmt.Fprintf(&b, " (%d in the archive)", e.ArchiveOffset)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

// Unwrap returns the cause.
func (e *DamageError) Unwrap() error { return e.Err }

// manifest is the content of manifest.json.
type manifest struct {
	Format             string      `json:"format"`
	FormatVersion      int         `json:"format_version"`
	Tool               string      `json:"tool,omitempty"`
	TaskHub            string      `json:"task_hub"`
	TrackingPrefix     string      `json:"tracking_prefix,omitempty"`
	Account            string      `json:"account,omitempty"`
	PartitionCount     int         `json:"partition_count"`
	PartitionCountFrom hub.Origin  `json:"partition_count_from,omitempty"`
	Started            stamp       `json:"started,omitempty"`
	Finished           stamp       `json:"finished,omitempty"`
	Tables             []tableMeta `json:"tables"`
	Queues             []queueMeta `json:"queues"`

	Containers []hub.Container  `json:"containers"`
	Unreadable []hub.Unreadable `json:"unreadable"`
	Files      []fileMeta       `json:"files"`
	SHA256     string           `json:"sha256"`
}

type tableMeta struct {
	Table    string `json:"table"`
	Name     string `json:"name"`
	Rows     int64  `json:"rows"`
	Started  stamp  `json:"started,omitempty"`
	Finished stamp  `json:"finished,omitempty"`
}

type queueMeta struct {
	Name             string `json:"name"`
	Seen             int64  `json:"seen"`
	ApproximateCount int64  `json:"approximate_count"`
}

// fileMeta describes one file. Rows counts its lines, for a table those inside
// the frames.
type fileMeta struct {
	Name   string `json:"name"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// stamp is a time in JSON: RFC 3339 with seven fractional digits.
type stamp schema.Ticks

func (s stamp) MarshalText() ([]byte, error) { return schema.Ticks(s).Append(nil), nil }

func (s *stamp) UnmarshalText(text []byte) error {
	t, err := schema.ParseTicks(string(text))
	*s = stamp(t)
	return err
}

const noHash = "0000000000000000000000000000000000000000000000000000000000000000"

// encode returns the text of manifest.json, sealed with its own hash.
func (m manifest) encode() ([]byte, error) {
	m.SHA256 = noHash
	text, err := encodeJSON(m, "  ")
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(text)
	at := bytes.LastIndex(text, []byte(noHash))
	hex.Encode(text[at:], sum[:])
	return text, nil
}

func decodeManifest(text []byte) (*manifest, error) {
	var m manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, err
	}
	if m.Format != formatName {
		return nil, fmt.Errorf("format is %q, not %q", m.Format, formatName)
	}
	if m.FormatVersion != formatVersion {
		return nil, fmt.Errorf("format version %d; this program reads version %d", m.FormatVersion, formatVersion)
	}
	at := bytes.LastIndex(text, []byte(m.SHA256))
	if len(m.SHA256) != len(noHash) || at < 0 {
		return nil, errors.New("the manifest is not sealed with a SHA-256")
	}
	sealed := bytes.Clone(text)
	copy(sealed[at:], noHash)
	if sum := sha256.Sum256(sealed); hex.EncodeToString(sum[:]) != m.SHA256 {
		return nil, errors.New("the SHA-256 of the manifest does not match")
	}
	return &m, m.validate()
}

// validate checks what the rest of the package takes for granted.
func (m *manifest) validate() error {
	if m.PartitionCount < 0 || m.PartitionCount > hub.MaxPartitions {
		return fmt.Errorf("partition count %d", m.PartitionCount)
	}
	seen := make(map[string]bool, len(m.Files)+len(m.Tables)+len(m.Queues))
	once := func(name string) error {
		if seen[name] {
			return fmt.Errorf("%q is listed twice", name)
		}
		seen[name] = true
		return nil
	}
	for _, f := range m.Files {
		if err := errors.Join(checkPath(f.Name), once(f.Name)); err != nil {
			return err
		}
		if sum, err := hex.DecodeString(f.SHA256); err != nil || len(sum) != sha256.Size || f.Bytes < 0 || f.Rows < 0 {
			return fmt.Errorf("file %q: bad size or SHA-256", f.Name)
		}
	}
	for _, t := range m.Tables {
		if tableNamed(t.Table) == 0 || t.Rows < 0 {
			return fmt.Errorf("table %q: unknown kind or bad count", t.Table)
		}
		if err := errors.Join(checkName(t.Name), once("table "+t.Table)); err != nil {
			return err
		}
	}
	for _, q := range m.Queues {
		if err := errors.Join(checkName(q.Name), once("queue "+q.Name)); err != nil {
			return err
		}
	}
	return nil
}

func (m *manifest) file(name string) *fileMeta {
	if i := slices.IndexFunc(m.Files, func(f fileMeta) bool { return f.Name == name }); i >= 0 {
		return &m.Files[i]
	}
	return nil
}

func tableNamed(name string) hub.Table {
	for _, t := range hub.Tables {
		if t.String() == name {
			return t
		}
	}
	return 0
}

// checkName refuses names of tables and queues that cannot be part of a file
// name everywhere. The services allow letters, digits and hyphens.
func checkName(name string) error {
	if name == "" || len(name) > 255 || strings.Contains(name, "/") {
		return fmt.Errorf("%q cannot name a file of a capture", name)
	}
	return checkPath(name)
}

// checkPath refuses names that could lead out of a capture on any system.
func checkPath(name string) error {
	unsafe := func(r rune) bool { return r < 0x20 || r == 0x7F || r == '\\' || r == ':' || r == utf8.RuneError }
	if name == "." || !fs.ValidPath(name) || strings.ContainsFunc(name, unsafe) {
		return fmt.Errorf("unsafe file name %q", name)
	}
	return nil
}

// message is a line of queues/QUEUE.ndjson. Times that are not known are left out.
type message struct {
	ID           string `json:"message_id"`
	InsertedAt   stamp  `json:"inserted_at,omitempty"`
	ExpiresAt    stamp  `json:"expires_at,omitempty"`
	VisibleAt    stamp  `json:"visible_at,omitempty"`
	DequeueCount int64  `json:"dequeue_count"`
	Text         string `json:"text"`
}

// blob is a line of blobs/index.ndjson.
type blob struct {
	Container    string            `json:"container"`
	Name         string            `json:"name"`
	SizeBytes    int64             `json:"size_bytes"`
	SHA256       string            `json:"sha256"`
	File         string            `json:"file"`
	ContentMD5   []byte            `json:"content_md5,omitempty"`
	ContentType  string            `json:"content_type,omitempty"`
	CreatedAt    stamp             `json:"created_at,omitempty"`
	LastModified stamp             `json:"last_modified,omitempty"`
	LeaseState   string            `json:"lease_state,omitempty"`
	Metadata     map[string]string `json:"metadata,omitempty"`
}

func (b *blob) validate() error {
	if sum, err := hex.DecodeString(b.SHA256); err != nil || len(sum) != sha256.Size || b.File != blobPrefix+b.SHA256 || b.SizeBytes < 0 {
		return errors.New("bad size, SHA-256 or file name")
	}
	return nil
}

// encodeJSON is json.Marshal without the escapes for HTML, and with a line feed.
func encodeJSON(v any, indent string) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", indent)
	err := e.Encode(v)
	return b.Bytes(), err
}

// key is the place of a row in its table.
type key struct{ partition, row string }

func compareKeys(a, b key) int {
	if c := schema.CompareKeys(a.partition, b.partition); c != 0 {
		return c
	}
	return schema.CompareKeys(a.row, b.row)
}

// frame is a line of tables/TABLE.idx.
type frame struct {
	first key
	// continues says that the frame before this one ends with rows of the same
	// partition.
	continues bool
	offset    int64
	packed    int64 // bytes in the file
	size      int64 // bytes of text
	rows      int64
}

func (f *frame) end() int64 { return f.offset + f.packed }

// appendJSON appends the line of f. The keys are spelled as in rows, because
// encoding/json would not keep half of a surrogate pair.
func (f *frame) appendJSON(dst []byte) []byte {
	r := schema.Row{PartitionKey: f.first.partition, RowKey: f.first.row}
	dst = r.AppendJSON(dst)
	dst = append(dst[:len(dst)-1], `,"offset":`...)
	dst = strconv.AppendInt(dst, f.offset, 10)
	dst = append(dst, `,"compressed_bytes":`...)
	dst = strconv.AppendInt(dst, f.packed, 10)
	dst = append(dst, `,"uncompressed_bytes":`...)
	dst = strconv.AppendInt(dst, f.size, 10)
	dst = append(dst, `,"rows":`...)
	dst = strconv.AppendInt(dst, f.rows, 10)
	if f.continues {
		dst = append(dst, `,"continues":true`...)
	}
	return append(dst, '}', '\n')
}

// decodeIndex reads the lines of a TABLE.idx whose table file has size bytes. It
// keeps text. An error comes with the offset in text at which it was noticed.
func decodeIndex(text []byte, size int64) (frames []frame, at int64, err error) {
	var d schema.Decoder
	starts := make([]int64, 0, bytes.Count(text, []byte{'\n'}))
	for i := 0; i < len(text); {
		starts = append(starts, int64(i))
		n := bytes.IndexByte(text[i:], '\n')
		if n < 0 {
			return nil, int64(i), errors.New("the last line has no end")
		}
		i += n + 1
	}
	rows, err := d.Lines(text, nil)
	if err != nil {
		var syntax *schema.SyntaxError
		if errors.As(err, &syntax) {
			at = int64(syntax.Offset)
		}
		return nil, at, err
	}
	if len(rows) != len(starts) {
		return nil, 0, fmt.Errorf("%d entries on %d lines", len(rows), len(starts))
	}
	frames = make([]frame, len(rows))
	var end int64
	for i := range rows {
		r, f := &rows[i], &frames[i]
		f.first = key{r.PartitionKey, r.RowKey}
		f.continues, _ = r.Get("continues").Bool()
		bad := false
		for _, p := range []struct {
			name string
			to   *int64
		}{
			{"offset", &f.offset},
			{"compressed_bytes", &f.packed},
			{"uncompressed_bytes", &f.size},
			{"rows", &f.rows},
		} {
			n, err := strconv.ParseInt(string(r.Get(p.name).AppendJSON(nil)), 10, 64)
			bad = bad || err != nil
			*p.to = n
		}
		switch {
		case bad:
			return nil, starts[i], errors.New("a number is missing or malformed")
		case f.offset != end:
			return nil, starts[i], fmt.Errorf("the frame starts at %d, the one before it ends at %d", f.offset, end)
		case f.packed <= 0 || f.packed > size-f.offset:
			return nil, starts[i], fmt.Errorf("a frame of %d bytes at offset %d of a file of %d", f.packed, f.offset, size)
		case f.size <= 0 || f.size > maxFrameBytes || f.packed > maxFrameBytes:
			return nil, starts[i], fmt.Errorf("a frame of %d bytes; the limit is %d", f.size, maxFrameBytes)
		case f.rows <= 0 || f.rows > f.size:
			return nil, starts[i], fmt.Errorf("%d rows in %d bytes", f.rows, f.size)
		case i > 0 && compareKeys(frames[i-1].first, f.first) >= 0:
			return nil, starts[i], errors.New("the frames are not in key order")
		}
		end = f.end()
	}
	if end != size {
		return nil, int64(len(text)), fmt.Errorf("the frames end at %d, the file at %d", end, size)
	}
	return frames, 0, nil
}
