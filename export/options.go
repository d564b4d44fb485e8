package export

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Dataset names one of the tables that can be exported.
type Dataset string

// The datasets.
const (
	Instances Dataset = "instances"
	History   Dataset = "history"
	Messages  Dataset = "messages"
	Entities  Dataset = "entities"
	Blobs     Dataset = "blobs"
)

// Datasets lists every dataset, in the order in which they are written.
var Datasets = [...]Dataset{Instances, History, Messages, Entities, Blobs}

// Format is the form of the output.
type Format string

// The formats: one JSON object a line, one JSON array a file, or Parquet with
// zstd.
const (
	NDJSON  Format = "ndjson"
	JSON    Format = "json"
	Parquet Format = "parquet"
)

// Redaction says what becomes of payloads.
type Redaction string

// RedactNone keeps payloads. RedactPayloads puts their length in their place,
// RedactHash their length and SHA-256, so that equal ones can still be told.
const (
	RedactNone     Redaction = ""
	RedactPayloads Redaction = "payloads"
	RedactHash     Redaction = "hash"
)

// PartitionKey is a value by which part files are spread over folders, in the
// way of Hive: key=value.
type PartitionKey string

// ByDate is the UTC date of the row's own time (see [Columns]), as
// date=2026-11-22. ByInstanceName is the name of the orchestrator function or
// entity, as instance_name=Hello.
const (
	ByDate         PartitionKey = "date"
	ByInstanceName PartitionKey = "instance_name"
)

// EntityFilter chooses between orchestrations and entities.
type EntityFilter string

// The choices: both, orchestrations only, entities only.
const (
	WithEntities EntityFilter = ""
	NoEntities   EntityFilter = "exclude"
	OnlyEntities EntityFilter = "only"
)

// Filter selects instances; every dataset then has what belongs to them. The
// zero value selects all, including history, messages and blobs of instances
// that have no row.
type Filter struct {
	// Statuses are stored names of runtime statuses, in any case.
	Statuses []string
	// Names are function names, compared exactly.
	Names []string
	// CreatedFrom and CreatedTo bound CreatedTime, both inclusive; zero leaves
	// the side open. UpdatedFrom and UpdatedTo do the same for LastUpdatedTime.
	CreatedFrom, CreatedTo schema.Ticks
	UpdatedFrom, UpdatedTo schema.Ticks
	IDs                    []string
	IDPrefix               string
	Entities               EntityFilter
}

// byRow reports whether the filter needs the Instances row.
func (f *Filter) byRow() bool {
	return len(f.Statuses) > 0 || len(f.Names) > 0 || f.CreatedFrom|f.CreatedTo|f.UpdatedFrom|f.UpdatedTo != 0
}

// Options tunes an export. The zero value exports every dataset as NDJSON.
type Options struct {
	Datasets    []Dataset // nil means all
	Format      Format    // empty means NDJSON
	Filter      Filter
	Redact      Redaction
	PartitionBy []PartitionKey
	// PartBytes is the size at which the next part file begins; 0 means 256 MiB.
	// A part can be larger by one row group.
	PartBytes int64
	// MaxPayloadBytes is the longest payload that is read; 0 means 64 MiB. A
	// longer one becomes null and an error.
	MaxPayloadBytes int64
	// Workers is the number of key ranges worked on at once; 0 means 2. Memory
	// grows with it.
	Workers int
	// Overwrite replaces an earlier export in the output folder, all of it.
	Overwrite bool
	// Tool is written into the manifest, such as "taskhub 1.2.0".
	Tool string
	// Skipped is asked, when everything is written, what the Reader had to leave
	// out of a damaged capture, for the manifest; nil is fine.
	Skipped func() []hub.Unreadable
	// OnProgress is called from one goroutine at a time, when a dataset begins
	// and with each row group; nil is fine.
	OnProgress func(Progress)
}

// Progress says how far an export is.
type Progress struct {
	Dataset Dataset
	Rows    int64 // rows written of this dataset
	Bytes   int64 // bytes written of this dataset
	// Total is about the number of rows of the dataset, or -1 if that is not
	// known. For history it leaves out one sentinel for each Instances row.
	Total int64
}

// ErrOption is returned, before anything is read or written, for options that
// make no sense.
var ErrOption = errors.New("invalid option")

func (o *Options) validate() error {
	if o.Datasets == nil {
		o.Datasets = Datasets[:]
	}
	seen := map[Dataset]bool{}
	for _, d := range o.Datasets {
		if !slices.Contains(Datasets[:], d) {
			return fmt.Errorf("%w: dataset %q (want %s)", ErrOption, d, join(Datasets[:]))
		}
		if seen[d] {
			return fmt.Errorf("%w: dataset %q twice", ErrOption, d)
		}
		seen[d] = true
	}
	switch o.Format {
	case "":
		o.Format = NDJSON
	case NDJSON, JSON, Parquet:
	default:
		return fmt.Errorf("%w: format %q (want ndjson, json or parquet)", ErrOption, o.Format)
	}
	switch o.Redact {
	case RedactNone, RedactPayloads, RedactHash:
	default:
		return fmt.Errorf("%w: redaction %q (want payloads or hash)", ErrOption, o.Redact)
	}
	for i, k := range o.PartitionBy {
		if k != ByDate && k != ByInstanceName {
			return fmt.Errorf("%w: partition key %q (want date or instance_name)", ErrOption, k)
		}
		if slices.Contains(o.PartitionBy[:i], k) {
			return fmt.Errorf("%w: partition key %q twice", ErrOption, k)
		}
	}
	switch o.Filter.Entities {
	case WithEntities, NoEntities, OnlyEntities:
	default:
		return fmt.Errorf("%w: entity filter %q (want exclude or only)", ErrOption, o.Filter.Entities)
	}
	o.Filter.Statuses = slices.Clone(o.Filter.Statuses) // the caller's stay as they are
	for i, name := range o.Filter.Statuses {
		known := false
		for _, s := range schema.Statuses() {
			if strings.EqualFold(name, s.String()) {
				o.Filter.Statuses[i], known = s.String(), true
			}
		}
		if !known {
			return fmt.Errorf("%w: status %q", ErrOption, name)
		}
	}
	if o.PartBytes < 0 || o.MaxPayloadBytes < 0 || o.Workers < 0 {
		return fmt.Errorf("%w: negative size", ErrOption)
	}
	if o.PartBytes == 0 {
		o.PartBytes = 256 << 20
	}
	if o.MaxPayloadBytes == 0 {
		o.MaxPayloadBytes = 64 << 20
	}
	if o.Workers == 0 {
		o.Workers = 2
	}
	return nil
}

func join[T ~string](all []T) string {
	names := make([]string, len(all))
	for i, v := range all {
		names[i] = string(v)
	}
	return strings.Join(names, ", ")
}
