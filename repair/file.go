package repair

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/verify"
)

// Limits of a [File].
const (
	MaxRepairs   = 10_000
	MaxFileBytes = 64 << 20 // of rows and messages as JSON
	MaxLeft      = 1_000    // findings that are named as left
)

// maxRead is the largest file that [ParseFile] reads. JSON that is indented is
// larger than the rows in it, and each is there before and after.
const maxRead = 4 * MaxFileBytes

const (
	format  = "taskhub-repair"
	version = 1
)

// Kind says what a File is for.
type Kind string

// The kinds.
const (
	KindPlan Kind = "plan" // mends findings
	KindUndo Kind = "undo" // takes back what a plan has done
)

// ErrFormat is returned for what is no file of this package, or of a version that it
// does not know.
var ErrFormat = errors.New("not a repair plan or undo file")

// File is a plan, or what takes one back: everything that [Apply] does. Its JSON is
// indented and in a fixed order, so that the same hub gives the same bytes but for
// times; people may take single repairs out of it.
type File struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Kind    Kind   `json:"kind"`
	// TaskHub, TrackingPrefix and Account name the hub that the file is for. The
	// account is empty where it is not known.
	TaskHub        string `json:"task_hub"`
	TrackingPrefix string `json:"tracking_prefix,omitempty"`
	Account        string `json:"account"`
	PartitionCount int    `json:"partition_count"`
	// BlobEndpoint begins the addresses in the rows that are written; empty if
	// there is none.
	BlobEndpoint string `json:"blob_endpoint,omitempty"`
	// CapturedAt is when the capture was taken that the plan was made from, empty
	// for a live hub. PlannedAt is when it was made.
	CapturedAt string `json:"captured_at,omitempty"`
	PlannedAt  string `json:"planned_at"`
	// Repairs are by instance, in key order.
	Repairs []Repair `json:"repairs"`
	// Left are findings of the severity warning or error that are still there when
	// the plan was carried out, at most [MaxLeft]; LeftItems is their number.
	Left      []Left `json:"left"`
	LeftItems int64  `json:"left_items"`
}

// Repair is all that is done for one instance. It is done as a whole or left out.
type Repair struct {
	InstanceID string `json:"instance_id"`
	// Findings are what is mended; those of other instances are among them where
	// they are mended together, as by the rewind of a parent.
	Findings []verify.Finding `json:"findings"`
	// Does says for people what is done, in order.
	Does []string `json:"does"`
	// Expects are rows that are not written and must not have changed.
	Expects  []Witness `json:"expects"`
	Writes   []Write   `json:"writes"`
	Messages []Message `json:"messages"`
	Removals []Removal `json:"removals"`
}

// Codes returns those of the findings, each once.
func (r *Repair) Codes() []string {
	var all []string
	for i := range r.Findings {
		if !slices.Contains(all, r.Findings[i].Code) {
			all = append(all, r.Findings[i].Code)
		}
	}
	return all
}

// Witness is a row that has to be as it was.
type Witness struct {
	Table        string `json:"table"` // Instances or History
	PartitionKey string `json:"partition_key"`
	RowKey       string `json:"row_key"`
	// SHA256 is that of the row as JSON, its properties sorted by name and without
	// Timestamp and ETag; empty for a row that must not exist.
	SHA256 string `json:"sha256"`
}

// Write makes one row what it should be.
type Write struct {
	Table string `json:"table"`
	// Columns are those that change, by name; nil where the row is new or goes.
	Columns []string `json:"columns,omitempty"`
	// Before is the row as it was, null if there was none; After what it becomes,
	// null if it is deleted. Timestamp and ETag of Before are those that were read.
	Before *Row `json:"before"`
	After  *Row `json:"after"`
}

// keys returns those of the row, which has a side for certain.
func (w *Write) keys() (partitionKey, rowKey string) {
	if w.Before != nil {
		return w.Before.PartitionKey, w.Before.RowKey
	}
	return w.After.PartitionKey, w.After.RowKey
}

// Message is a message that is put into a queue.
type Message struct {
	Queue string `json:"queue"`
	// DueAt is when workers may first take it; empty means at once.
	DueAt string `json:"due_at,omitempty"`
	// Text is what the queue gets in this Encoding.
	Text     string   `json:"text"`
	Encoding Encoding `json:"encoding"`
	// Blob is the payload of a large message, of which Text is the wrapper.
	Blob *BlobText `json:"blob,omitempty"`
}

// BlobText is a payload: its name in the container of large messages, and the text
// that is stored in it.
type BlobText struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// Removal is a message that is taken out of a queue.
type Removal struct {
	Queue     string   `json:"queue"`
	MessageID string   `json:"message_id,omitempty"` // for people
	Text      string   `json:"text"`
	Encoding  Encoding `json:"encoding"`
	// Blob is the payload of a large message, which is deleted after it.
	Blob *BlobText `json:"blob,omitempty"`
}

// Encoding is the form of a message in its queue.
type Encoding string

// The encodings.
const (
	EncodingText   Encoding = "text" // as it is
	EncodingBase64 Encoding = "base64"
)

func encodingOf(e schema.Encoding) Encoding {
	if e == schema.Base64 {
		return EncodingBase64
	}
	return EncodingText
}

func body(text string, e Encoding) string {
	if e == EncodingBase64 {
		return schema.EncodeBody([]byte(text), schema.Base64)
	}
	return text
}

// readable returns the text and encoding of a body, so that body gives it back.
func readable(stored string) (string, Encoding) {
	text, enc, err := schema.MessageText(stored)
	if err == nil && body(text, encodingOf(enc)) == stored {
		return text, encodingOf(enc)
	}
	return stored, EncodingText
}

// Left is a finding that is not mended.
type Left struct {
	verify.Finding
	Reason string `json:"reason"`
}

// Row is a row in the service's own JSON; see [schema.Row.AppendJSON].
type Row struct{ schema.Row }

// MarshalJSON implements [json.Marshaler].
func (r Row) MarshalJSON() ([]byte, error) { return r.AppendJSON(nil), nil }

// UnmarshalJSON implements [json.Unmarshaler].
func (r *Row) UnmarshalJSON(text []byte) (err error) {
	r.Row, err = schema.DecodeRow(text)
	return err
}

// kept returns a copy of a row with its properties sorted.
func kept(row *schema.Row) *Row {
	c := row.Clone()
	c.SortProperties()
	return &Row{c}
}

// digest returns Witness.SHA256 of a row.
func digest(row *schema.Row) string {
	if row == nil {
		return ""
	}
	c := kept(row)
	c.Timestamp, c.ETag = 0, ""
	sum := sha256.Sum256(c.AppendJSON(nil))
	return hex.EncodeToString(sum[:])
}

// WriteTo writes the file as indented JSON.
func (f *File) WriteTo(w io.Writer) (int64, error) {
	text, err := f.encode()
	if err != nil {
		return 0, err
	}
	n, err := w.Write(text)
	return int64(n), err
}

func (f *File) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	err := e.Encode(f)
	return b.Bytes(), err
}

// sum identifies a plan.
func (f *File) sum() (string, error) {
	text, err := f.encode()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// ParseFile reads a plan, or makes one of kind undo of what a [Journal] has kept.
// It returns ErrFormat, or an error that says what of the file cannot be.
func ParseFile(r io.Reader) (*File, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxRead+1))
	if err != nil {
		return nil, err
	}
	if len(text) > maxRead {
		return nil, fmt.Errorf("%w: %w", ErrFormat, hub.ErrTooLarge)
	}
	f, err := parseJournal(text)
	if f == nil && err == nil {
		f, err = parsePlan(text)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	return f, f.validate()
}

func parsePlan(text []byte) (*File, error) {
	var head struct {
		Format string `json:"format"`
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return nil, err
	}
	if head.Format != format {
		return nil, fmt.Errorf("its format is %q", head.Format)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	f := new(File)
	return f, d.Decode(f)
}

func (f *File) names() hub.Names {
	return hub.Names{TaskHub: f.TaskHub, TrackingPrefix: f.TrackingPrefix}
}

// validate checks what Apply relies on. A file may have been edited.
func (f *File) validate() error {
	switch {
	case f.Format != format:
		return ErrFormat
	case f.Version != version:
		return fmt.Errorf("%w of a version that this program knows: version %d", ErrFormat, f.Version)
	case f.Kind != KindPlan && f.Kind != KindUndo:
		return fmt.Errorf("%w: kind %q", ErrFormat, f.Kind)
	case f.TaskHub == "":
		return fmt.Errorf("%w: it names no hub", ErrFormat)
	case f.PartitionCount < 0 || f.PartitionCount > hub.MaxPartitions:
		return fmt.Errorf("%w: %d partitions", ErrFormat, f.PartitionCount)
	}
	seen := make(map[place]bool)
	for i := range f.Repairs {
		r := &f.Repairs[i]
		if err := f.checkRepair(r, seen); err != nil {
			return fmt.Errorf("%w: repair of %q: %w", ErrFormat, r.InstanceID, err)
		}
	}
	return nil
}

func (f *File) checkRepair(r *Repair, seen map[place]bool) error {
	for i := range r.Writes {
		w := &r.Writes[i]
		table, ok := tableNamed(w.Table)
		switch {
		case !ok:
			return fmt.Errorf("a row of table %q", w.Table)
		case w.Before == nil && w.After == nil:
			return errors.New("a row that neither was nor is to be")
		}
		at := place{table: table}
		at.partitionKey, at.rowKey = w.keys()
		switch {
		case w.After != nil && (w.After.PartitionKey != at.partitionKey || w.After.RowKey != at.rowKey):
			return fmt.Errorf("row %s changes its keys", at)
		case table == hub.Instances && at.rowKey != "":
			return fmt.Errorf("row %s is none of an instance", at)
		case seen[at]:
			return fmt.Errorf("row %s is written twice", at)
		case !slices.Equal(w.Columns, changedColumns(w.Before, w.After)):
			return fmt.Errorf("the columns that change of row %s are %s, and not those that the file names", at,
				strings.Join(changedColumns(w.Before, w.After), ", "))
		}
		seen[at] = true
	}
	for i := range r.Expects {
		if _, ok := tableNamed(r.Expects[i].Table); !ok {
			return fmt.Errorf("a row of table %q", r.Expects[i].Table)
		}
	}
	names := f.names()
	isQueue := func(name string) bool {
		return name == names.WorkItemQueue() || strings.HasPrefix(name, names.ControlQueuePrefix())
	}
	for i := range r.Messages {
		m := &r.Messages[i]
		if _, err := m.due(); err != nil || !isQueue(m.Queue) || !m.Encoding.known() || m.Blob != nil && m.Blob.Name == "" {
			return fmt.Errorf("a message for queue %q that cannot be sent", m.Queue)
		}
	}
	for i := range r.Removals {
		if m := &r.Removals[i]; !isQueue(m.Queue) || !m.Encoding.known() {
			return fmt.Errorf("a message of queue %q that cannot be removed", m.Queue)
		}
	}
	return nil
}

func (e Encoding) known() bool { return e == EncodingText || e == EncodingBase64 }

// due returns when workers may first take the message, 0 for at once.
func (m *Message) due() (schema.Ticks, error) {
	if m.DueAt == "" {
		return 0, nil
	}
	return schema.ParseTicks(m.DueAt)
}

// place is where a row is.
type place struct {
	table                hub.Table
	partitionKey, rowKey string
}

func (p place) String() string {
	s := p.table.String() + "/" + p.partitionKey
	if p.rowKey != "" {
		s += "/" + p.rowKey
	}
	return s
}

func (w *Witness) place() place {
	table, _ := tableNamed(w.Table) // which validate has checked
	return place{table, w.PartitionKey, w.RowKey}
}

func (w *Write) place() place {
	table, _ := tableNamed(w.Table)
	at := place{table: table}
	at.partitionKey, at.rowKey = w.keys()
	return at
}

// tableNamed returns one of the tables that are written.
func tableNamed(name string) (hub.Table, bool) {
	for _, t := range []hub.Table{hub.Instances, hub.History} {
		if t.String() == name {
			return t, true
		}
	}
	return 0, false
}

// changedColumns returns the names of the columns in which two rows differ, nil if
// either is missing.
func changedColumns(before, after *Row) []string {
	if before == nil || after == nil {
		return nil
	}
	var all []string
	for _, p := range after.Properties {
		if !p.Value.Equal(before.Get(p.Name)) {
			all = append(all, p.Name)
		}
	}
	for _, p := range before.Properties {
		if after.Get(p.Name).Type() == schema.Absent {
			all = append(all, p.Name)
		}
	}
	slices.Sort(all)
	return all
}
