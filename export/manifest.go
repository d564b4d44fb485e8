package export

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/taskhub-tools/taskhub/hub"
)

// ManifestName is the file that describes an export. It is written last.
const ManifestName = "manifest.json"

// Manifest describes a finished export: what it came from and every file.
type Manifest struct {
	Format        string `json:"format"` // taskhub export
	FormatVersion int    `json:"format_version"`
	Tool          string `json:"tool,omitempty"`

	Source   Source         `json:"source"`
	Options  ManifestOption `json:"options"`
	Datasets []DatasetEntry `json:"datasets"`
}

// Source says which hub was exported.
type Source struct {
	TaskHub            string     `json:"task_hub"`
	TrackingPrefix     string     `json:"tracking_prefix,omitempty"`
	Account            string     `json:"account,omitempty"`
	PartitionCount     int        `json:"partition_count"`
	PartitionCountFrom hub.Origin `json:"partition_count_from,omitempty"`
	// CaptureStarted and CaptureFinished bound the time in which the capture was
	// taken; absent for a live hub.
	CaptureStarted  string `json:"capture_started,omitempty"`
	CaptureFinished string `json:"capture_finished,omitempty"`
	// Unreadable lists what the capture could not read of the hub, and what was
	// left out of a damaged capture.
	Unreadable []hub.Unreadable `json:"unreadable,omitempty"`
}

// ManifestOption says how.
type ManifestOption struct {
	FileFormat  Format         `json:"file_format"`
	Redact      Redaction      `json:"redact,omitempty"`
	PartitionBy []PartitionKey `json:"partition_by,omitempty"`
	Filter      *ManifestRule  `json:"filter,omitempty"`
}

// ManifestRule is a filter in the form of its command-line options.
type ManifestRule struct {
	Statuses    []string     `json:"runtime_status,omitempty"`
	Names       []string     `json:"name,omitempty"`
	CreatedFrom string       `json:"created_after,omitempty"`
	CreatedTo   string       `json:"created_before,omitempty"`
	UpdatedFrom string       `json:"updated_after,omitempty"`
	UpdatedTo   string       `json:"updated_before,omitempty"`
	IDs         []string     `json:"id,omitempty"`
	IDPrefix    string       `json:"id_prefix,omitempty"`
	Entities    EntityFilter `json:"entities,omitempty"`
}

// DatasetEntry describes one dataset.
type DatasetEntry struct {
	Name Dataset `json:"name"`
	Rows int64   `json:"rows"`
	// Errors is the number of rows whose column error is not null.
	Errors  int64       `json:"errors"`
	Columns []Column    `json:"columns"`
	Parts   []PartEntry `json:"parts"`
}

// PartEntry describes one part file, by its path from the manifest with /.
type PartEntry struct {
	Path   string `json:"path"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// Errors returns the number of rows, in all datasets, of which something could
// not be read.
func (m *Manifest) Errors() (n int64) {
	for i := range m.Datasets {
		n += m.Datasets[i].Errors
	}
	return n
}

func newManifest(info *hub.Info, o *Options) *Manifest {
	m := &Manifest{
		Format: "taskhub export", FormatVersion: 1, Tool: o.Tool,
		Source: Source{
			TaskHub: info.Names.TaskHub, TrackingPrefix: info.Names.TrackingPrefix, Account: info.Account,
			PartitionCount: info.PartitionCount, PartitionCountFrom: info.PartitionCountFrom,
			Unreadable: info.Unreadable,
		},
		Options: ManifestOption{FileFormat: o.Format, Redact: o.Redact, PartitionBy: o.PartitionBy},
	}
	if info.Started != 0 {
		m.Source.CaptureStarted, m.Source.CaptureFinished = info.Started.String(), info.Finished.String()
	}
	f := &o.Filter
	rule := ManifestRule{
		Statuses: f.Statuses, Names: f.Names, IDs: f.IDs, IDPrefix: f.IDPrefix, Entities: f.Entities,
	}
	if f.CreatedFrom != 0 {
		rule.CreatedFrom = f.CreatedFrom.String()
	}
	if f.CreatedTo != 0 {
		rule.CreatedTo = f.CreatedTo.String()
	}
	if f.UpdatedFrom != 0 {
		rule.UpdatedFrom = f.UpdatedFrom.String()
	}
	if f.UpdatedTo != 0 {
		rule.UpdatedTo = f.UpdatedTo.String()
	}
	if f.byRow() || len(f.IDs) > 0 || f.IDPrefix != "" || f.Entities != WithEntities {
		m.Options.Filter = &rule
	}
	return m
}

func sha256Hex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}
