package migrate

import (
	"bytes"
	"context"
	"crypto/md5" // what the Blob service keeps of each blob
	"fmt"
	"iter"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Difference is one way in which two hubs differ.
type Difference struct {
	// Artifact is the table or container, Key what in it: PartitionKey/RowKey
	// of a row, the name of a blob.
	Artifact string `json:"artifact"`
	Key      string `json:"key"`
	// Kind is missing (the target lacks it), unexpected (only the target has
	// it) or changed.
	Kind string `json:"kind"`
	// Detail says what of it changed.
	Detail string `json:"detail,omitempty"`
}

// The kinds of differences.
const (
	KindMissing    = "missing"
	KindUnexpected = "unexpected"
	KindChanged    = "changed"
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

// Compare walks the rows and blobs of two hubs side by side and returns how they
// differ. Timestamps, ETags and times of blobs, which the service sets, do not
// count, and neither do messages: peeking shows only some.
//
// Memory is a page of rows of each hub, and one blob of each.
func Compare(ctx context.Context, want, got hub.Reader, opts CompareOptions) ([]Difference, error) {
	if opts.MaxDifferences <= 0 {
		opts.MaxDifferences = 1000
	}
	if opts.MaxBlobBytes <= 0 {
		opts.MaxBlobBytes = 1 << 30
	}
	c := comparison{want: want, got: got, opts: &opts}
	for _, t := range hub.Tables {
		if err := c.table(ctx, t); err != nil {
			return c.found, err
		}
	}
	names := map[string]bool{}
	for _, r := range []hub.Reader{want, got} {
		containers, err := r.Containers(ctx)
		if err != nil {
			return c.found, err
		}
		for _, k := range containers {
			if names[k.Name] {
				continue
			}
			names[k.Name] = true
			if err := c.container(ctx, k.Name); err != nil {
				return c.found, err
			}
		}
	}
	return c.found, nil
}

type comparison struct {
	want, got hub.Reader
	opts      *CompareOptions
	found     []Difference
}

// report notes a difference and returns whether to go on.
func (c *comparison) report(d Difference) bool {
	c.found = append(c.found, d)
	return len(c.found) < c.opts.MaxDifferences
}

func (c *comparison) table(ctx context.Context, t hub.Table) error {
	compareKeys := func(a, b *schema.Row) int {
		if n := schema.CompareKeys(a.PartitionKey, b.PartitionKey); n != 0 {
			return n
		}
		return schema.CompareKeys(a.RowKey, b.RowKey)
	}
	return walk(c, c.want.Rows(ctx, t, hub.Keys{}), c.got.Rows(ctx, t, hub.Keys{}), compareKeys,
		func(r *schema.Row, kind string) Difference {
			return Difference{Artifact: t.String(), Key: r.PartitionKey + "/" + r.RowKey, Kind: kind}
		},
		func(a, b *schema.Row) (string, error) { return changedColumns(a, b), nil })
}

// changedColumns names the columns in which two rows differ, or returns "".
func changedColumns(a, b *schema.Row) string {
	if schema.SameProperties(a, b) {
		return ""
	}
	text := ""
	add := func(name string) {
		if text != "" {
			text += ", "
		}
		text += name
	}
	for i := range a.Properties {
		if p := &a.Properties[i]; !p.Value.Equal(b.Get(p.Name)) {
			add(p.Name)
		}
	}
	for i := range b.Properties {
		if p := &b.Properties[i]; a.Get(p.Name).Type() == schema.Absent {
			add(p.Name)
		}
	}
	return text
}

func (c *comparison) container(ctx context.Context, name string) error {
	return walk(c, c.want.Blobs(ctx, name, ""), c.got.Blobs(ctx, name, ""),
		func(a, b *hub.Blob) int { return schema.CompareKeys(a.Name, b.Name) },
		func(b *hub.Blob, kind string) Difference {
			return Difference{Artifact: name, Key: b.Name, Kind: kind}
		},
		func(a, b *hub.Blob) (string, error) {
			if a.SizeBytes != b.SizeBytes {
				return fmt.Sprintf("%d bytes, want %d", b.SizeBytes, a.SizeBytes), nil
			}
			sumA, err := c.sum(ctx, c.want, a)
			if err != nil {
				return "", err
			}
			sumB, err := c.sum(ctx, c.got, b)
			if err != nil {
				return "", err
			}
			if !bytes.Equal(sumA, sumB) {
				return "content", nil
			}
			return "", nil
		})
}

// sum returns the MD5 of a blob: what the service says, or its content's.
func (c *comparison) sum(ctx context.Context, r hub.Reader, b *hub.Blob) ([]byte, error) {
	if b.ContentMD5 != nil {
		return b.ContentMD5, nil
	}
	data, err := r.ReadBlob(ctx, b.Container, b.Name, c.opts.MaxBlobBytes)
	if err != nil {
		return nil, err
	}
	sum := md5.Sum(data)
	return sum[:], nil
}

// walk goes through two sorted streams in lock step.
func walk[T any](c *comparison, want, got iter.Seq2[T, error], compare func(a, b *T) int, differ func(*T, string) Difference, changed func(a, b *T) (string, error)) error {
	nextA, stopA := iter.Pull2(want)
	defer stopA()
	nextB, stopB := iter.Pull2(got)
	defer stopB()
	a, errA, okA := nextA()
	b, errB, okB := nextB()
	for okA || okB {
		if errA != nil {
			return errA
		}
		if errB != nil {
			return errB
		}
		order := 0
		switch {
		case !okB:
			order = -1
		case !okA:
			order = 1
		default:
			order = compare(&a, &b)
		}
		goOn := true
		switch {
		case order < 0:
			goOn = c.report(differ(&a, KindMissing))
		case order > 0:
			goOn = c.report(differ(&b, KindUnexpected))
		default:
			detail, err := changed(&a, &b)
			if err != nil {
				return err
			}
			if detail != "" {
				d := differ(&a, KindChanged)
				d.Detail = detail
				goOn = c.report(d)
			}
		}
		if !goOn {
			return nil
		}
		if c.opts.OnProgress != nil {
			c.opts.OnProgress(1)
		}
		if order <= 0 {
			a, errA, okA = nextA()
		}
		if order >= 0 {
			b, errB, okB = nextB()
		}
	}
	return nil
}
