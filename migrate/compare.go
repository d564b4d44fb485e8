package migrate

import (
	"context"
	"strings"

	"github.com/taskhub-tools/taskhub/diff"
	"github.com/taskhub-tools/taskhub/hub"
)

// Difference is one way in which two hubs differ.
type Difference struct {
	// Artifact is the table or container, Key what in it: PartitionKey/RowKey
	// of a row, the name of a blob; empty for the container itself.
	Artifact string `json:"artifact"`
	Key      string `json:"key"`
	// Kind is missing (the target lacks it), unexpected (only the target has
	// it), changed, or unknown (it could not be told).
	Kind string `json:"kind"`
	// Detail says what of it changed, or why it could not be told.
	Detail string `json:"detail,omitempty"`
}

// The kinds of differences.
const (
	KindMissing    = "missing"
	KindUnexpected = "unexpected"
	KindChanged    = "changed"
	KindUnknown    = "unknown"
)

// CompareOptions tunes a comparison.
type CompareOptions struct {
	// MaxDifferences ends the comparison when that many were found; 0 means 1,000.
	MaxDifferences int
	// MaxBlobBytes is the largest blob whose content is compared where the
	// service does not tell its MD5; 0 means 1 GiB.
	MaxBlobBytes int64
	// OnProgress is told of rows and blobs compared; nil is fine.
	OnProgress func(n int64)
}

// Compare returns how the rows and blobs of two hubs differ, by package diff.
// Names and owners count, as a copy has them all. What the service sets does not,
// and neither do messages: peeking shows only some.
//
// Memory is that of [diff.Hubs] and the differences.
func Compare(ctx context.Context, want, got hub.Reader, opts CompareOptions) ([]Difference, error) {
	if opts.MaxDifferences <= 0 {
		opts.MaxDifferences = 1000
	}
	if opts.MaxBlobBytes <= 0 {
		opts.MaxBlobBytes = 1 << 30
	}
	var last diff.Progress
	differences := diff.Hubs(ctx, want, got, diff.Options{
		Only:   []diff.Dataset{diff.History, diff.Instances, diff.Partitions, diff.Containers, diff.Blobs},
		Owners: true, Names: diff.KeepNames, MaxBlobBytes: opts.MaxBlobBytes,
		OnProgress: func(p diff.Progress) {
			if p.Dataset != last.Dataset {
				last = diff.Progress{Dataset: p.Dataset}
			}
			if opts.OnProgress != nil {
				opts.OnProgress(p.Compared - last.Compared)
			}
			last = p
		},
	})
	var found []Difference
	for d, err := range differences {
		if err != nil {
			return found, err
		}
		found = append(found, differenceOf(&d))
		if len(found) == opts.MaxDifferences {
			break
		}
	}
	return found, nil
}

func differenceOf(d *diff.Difference) Difference {
	found := Difference{Artifact: artifact(d), Key: d.Key(), Kind: KindUnknown, Detail: d.Reason}
	switch d.Kind {
	case diff.Added:
		found.Kind = KindUnexpected
	case diff.Removed:
		found.Kind = KindMissing
	case diff.Changed:
		found.Kind = KindChanged
		names := make([]string, len(d.Columns))
		for i := range d.Columns {
			names[i] = d.Columns[i].Name
		}
		found.Detail = strings.Join(names, ", ")
	}
	return found
}

// artifact names a table without the hub's name.
func artifact(d *diff.Difference) string {
	switch d.Dataset {
	case diff.Instances:
		return hub.Instances.String()
	case diff.History:
		return hub.History.String()
	case diff.Partitions:
		return hub.Partitions.String()
	}
	return d.Artifact
}
