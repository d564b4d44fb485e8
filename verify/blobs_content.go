package verify

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

const (
	// blobWorkers read payloads at once, and as many results wait for their turn.
	blobWorkers = 8
	// blobsInMemory bounds the bytes of payloads that are held at once, unless a
	// single one is larger.
	blobsInMemory = 64 << 20
	// cheapBytes is the size up to which payloads of a capture are unpacked
	// without being asked for.
	cheapBytes = 1 << 20
	// leastGzip is the size of the shortest gzip stream: a header of 10 bytes, an
	// empty block, and 8 bytes of checksum and length.
	leastGzip = 20
)

// payload is one blob that is being looked at.
type payload struct {
	blob hub.Blob
	// read is closed when the result is there.
	read chan struct{}
	// damage says what is wrong with the content, why what could not be told;
	// both are empty for a blob that is as it should be.
	damage, why string
	err         error
}

// payloads looks at all blobs of the large-message container: each is read by
// one of several workers, and what came of it is told in the order of names.
//
// A capture is read as far as blobs are not larger than [Options.MaxBlobBytes].
// Of a live hub only the list is looked at, unless [Options.ReadBlobs] is set.
func (v *run) payloads(ctx context.Context) error {
	if !v.wants(codeBlobCorrupt) && !v.wants(codeBlobOrphan) {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	var workers errgroup.Group
	workers.SetLimit(blobWorkers)
	defer workers.Wait() //nolint:errcheck // each tells its own
	defer cancel()
	budget := semaphore.NewWeighted(blobsInMemory)
	old := v.settled()
	var waiting []*payload
	next := func() error {
		p := waiting[0]
		waiting = waiting[1:]
		<-p.read
		return v.conclusion(ctx, &old, p)
	}
	for _, prefix := range v.blobFolders() {
		for blob, err := range v.r.Blobs(ctx, v.blobs.container, prefix) {
			if err != nil {
				return fmt.Errorf("list blobs of %s: %w", v.blobs.container, err)
			}
			if isFolder(&blob) || !v.inFolder(blob.Name) {
				continue
			}
			p := &payload{blob: blob, read: make(chan struct{})}
			waiting = append(waiting, p)
			workers.Go(func() error {
				defer close(p.read)
				v.look(ctx, p, budget)
				return nil
			})
			if len(waiting) > 2*blobWorkers {
				if err := next(); err != nil {
					return err
				}
			}
		}
	}
	for len(waiting) > 0 {
		if err := next(); err != nil {
			return err
		}
	}
	return nil
}

// conclusion tells what came of one blob.
func (v *run) conclusion(ctx context.Context, o *settled, p *payload) error {
	if p.err != nil {
		return p.err
	}
	name := p.blob.Name
	at := []Place{{Container: p.blob.Container, Blob: name}}
	instanceID := ""
	if b, ok := schema.ParseBlobName(name); ok {
		instanceID = b.InstanceID()
	}
	orphan, why, err := v.judgeOrphan(ctx, o, &p.blob)
	if err != nil {
		return err
	}
	switch {
	case p.damage != "":
		f := Finding{Code: codeBlobCorrupt, InstanceID: instanceID, At: at, Detail: fmt.Sprintf("%s: %s", name, p.damage)}
		if orphan {
			f.Severity = Info
			f.Detail += "; nothing names the blob"
		}
		if err := v.report(f); err != nil {
			return err
		}
	case p.why != "":
		v.unknown(codeBlobCorrupt, name, p.why)
	default:
		v.passed(codeBlobCorrupt)
	}
	switch {
	case orphan:
		if v.live {
			// It may have been deleted, or a row may name it that was written since.
			if there, err := v.blobExists(ctx, name); err != nil || !there {
				return err
			}
			if b, ok := schema.ParseBlobName(name); ok && !b.Message {
				at := []Place{instanceRow(b.Folder, "")}
				if b.Key != "" {
					at = append(at, historyRow(b.Folder, b.Key, ""))
				}
				if named, err := v.stillNames(ctx, &missingBlob{name: name, at: at}); err != nil || named {
					return err
				}
			}
		}
		return v.report(Finding{
			Code: codeBlobOrphan, InstanceID: instanceID, At: at,
			Detail: fmt.Sprintf("nothing names %s, of %d bytes", name, p.blob.SizeBytes),
		})
	case why != "":
		v.unknown(codeBlobOrphan, name, why)
	default:
		v.passed(codeBlobOrphan)
	}
	return nil
}

// look finds out whether the content of a blob is what was written.
func (v *run) look(ctx context.Context, p *payload, budget *semaphore.Weighted) {
	limit := v.opts.MaxBlobBytes
	if limit <= 0 {
		limit = hub.DefaultPayloadBytes
	}
	size := p.blob.SizeBytes
	switch {
	case !v.wants(codeBlobCorrupt):
		return
	case size < leastGzip:
		p.damage = fmt.Sprintf("%d bytes are too few for a gzip stream", size)
		return
	case v.live && !v.opts.ReadBlobs:
		p.why = "its content is not read"
		return
	case size > limit:
		p.why = "it is larger than the limit"
		return
	}
	weight := min(size, blobsInMemory)
	if p.err = budget.Acquire(ctx, weight); p.err != nil {
		p.err = context.Cause(ctx)
		return
	}
	defer budget.Release(weight)
	data, err := v.r.ReadBlob(ctx, p.blob.Container, p.blob.Name, limit)
	switch {
	case ctx.Err() != nil:
		p.err = context.Cause(ctx)
		return
	case v.live && errors.Is(err, hub.ErrNotFound):
		return // deleted since it was listed
	case err != nil:
		p.why = "it cannot be read: " + err.Error()
		return
	}
	unpack := v.opts.ReadBlobs || size <= cheapBytes
	if p.damage, p.why = damage(&p.blob, data, limit, unpack); p.damage != "" && v.live {
		// It may have been replaced between the list and the reading.
		fresh, err := v.listed(ctx, p.blob.Name)
		if err != nil || fresh == nil {
			p.damage, p.err = "", err
			return
		}
		if data, err = v.r.ReadBlob(ctx, p.blob.Container, p.blob.Name, limit); err != nil {
			p.damage, p.why = "", "it cannot be read: "+err.Error()
			return
		}
		p.damage, p.why = damage(fresh, data, limit, unpack)
	}
}

// listed lists one blob; nil if it is not there.
func (v *run) listed(ctx context.Context, name string) (*hub.Blob, error) {
	for b, err := range v.r.Blobs(ctx, v.blobs.container, name) {
		if err != nil {
			return nil, fmt.Errorf("look for blob %s/%s: %w", v.blobs.container, name, err)
		}
		if b.Name == name {
			return &b, nil
		}
		break
	}
	return nil, nil //nolint:nilnil // not there is no error
}

// damage says what is wrong with the bytes of a blob; empty if nothing is. why
// says what could not be found out. limit bounds what is unpacked of them.
//
// Source: durabletask 2.9.1, MessageManager.cs:220-281: payloads are gzip of
// UTF-8.
func damage(b *hub.Blob, data []byte, limit int64, unpack bool) (damage, why string) {
	if int64(len(data)) != b.SizeBytes {
		return fmt.Sprintf("it has %d bytes; %d were recorded", len(data), b.SizeBytes), ""
	}
	if sum := md5.Sum(data); len(b.ContentMD5) > 0 && !bytes.Equal(sum[:], b.ContentMD5) {
		return "its MD5 is not that of its content", ""
	}
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return "it is not gzip: " + err.Error(), ""
	}
	if !unpack {
		return "", ""
	}
	text := utf8Writer{}
	n, err := io.Copy(&text, io.LimitReader(z, limit+1))
	switch {
	case err != nil:
		return fmt.Sprintf("its gzip stream breaks after %d bytes: %v", n, err), ""
	case n > limit:
		return "", "unpacked it is larger than the limit"
	case !text.valid():
		return "its text is not UTF-8", ""
	}
	return "", ""
}

// utf8Writer tells whether what is written to it is UTF-8.
type utf8Writer struct {
	rest []byte // of the last write: the beginning of a character
	bad  bool
}

func (w *utf8Writer) Write(p []byte) (int, error) {
	n := len(p)
	if len(w.rest) > 0 {
		p = append(w.rest, p...)
	}
	// A character of up to four bytes may be cut at the end.
	cut := len(p)
	for i := 1; i <= min(utf8.UTFMax, len(p)); i++ {
		if utf8.RuneStart(p[len(p)-i]) {
			if !utf8.FullRune(p[len(p)-i:]) {
				cut = len(p) - i
			}
			break
		}
	}
	w.bad = w.bad || !utf8.Valid(p[:cut])
	w.rest = append([]byte(nil), p[cut:]...)
	return n, nil
}

func (w *utf8Writer) valid() bool { return !w.bad && len(w.rest) == 0 }
