package snapshot

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// FileCheck is the result of checking one file of a capture.
type FileCheck struct {
	Name  string
	Bytes int64
	// Damage is nil if the file is what was written.
	Damage *DamageError
}

// Check reads every file and compares it with the sizes and SHA-256 that were
// recorded: those of the manifest by name, then the bytes of blobs. Damage is a
// result, not an error; the stream ends with an error only if ctx ends or the
// list of blobs cannot be read.
func (r *Reader) Check(ctx context.Context) iter.Seq2[FileCheck, error] {
	return func(yield func(FileCheck, error) bool) {
		for _, f := range r.m.Files {
			c, err := r.checkFile(ctx, f.Name, f.Bytes, f.SHA256)
			if err != nil {
				yield(FileCheck{}, err)
				return
			}
			if !yield(c, nil) {
				return
			}
		}
		done := make(map[string]bool)
		for b, err := range r.blobs(ctx, key{}, nil) {
			if err != nil {
				yield(FileCheck{}, err)
				return
			}
			if done[b.SHA256] {
				continue
			}
			done[b.SHA256] = true
			c, err := r.checkFile(ctx, b.File, b.SizeBytes, b.SHA256)
			if err != nil {
				yield(FileCheck{}, err)
				return
			}
			if !yield(c, nil) {
				return
			}
		}
	}
}

func (r *Reader) checkFile(ctx context.Context, name string, size int64, sum string) (FileCheck, error) {
	c := FileCheck{Name: name, Bytes: size}
	f, err := r.openFile(name)
	if err == nil {
		defer f.close()
		var got string
		if f.size != size {
			err = f.damage(min(f.size, size), fmt.Errorf("the file has %d bytes; %d were recorded", f.size, size))
		} else if got, err = f.hash(ctx); err == nil && got != sum {
			err = f.damage(0, errHash)
		}
	}
	if err != nil && !errors.As(err, &c.Damage) {
		return c, err
	}
	return c, nil
}
