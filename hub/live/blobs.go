package live

import (
	"bytes"
	"context"
	"crypto/md5" // what the service keeps of each blob
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// stores returns the accounts in which blobs may be, the likelier first.
func (h *Hub) stores() []*Account {
	if h.main == h.tracking {
		return []*Account{h.main}
	}
	return []*Account{h.tracking, h.main}
}

// Containers lists the blob containers of the hub by name. It takes a request
// for each account.
func (h *Hub) Containers(ctx context.Context) ([]hub.Container, error) {
	prefix := h.names.Leases()[:len(h.names.Leases())-len("leases")]
	var containers []hub.Container
	for _, a := range h.stores() {
		for c, err := range a.containerList(ctx, prefix) {
			if err != nil {
				return nil, err
			}
			known := slices.ContainsFunc(containers, func(k hub.Container) bool { return k.Name == c.Name })
			if !known && slices.Contains(h.names.Containers(), c.Name) {
				containers = append(containers, c)
			}
		}
	}
	slices.SortFunc(containers, func(a, b hub.Container) int { return schema.CompareKeys(a.Name, b.Name) })
	return containers, nil
}

// containerList streams the containers whose names begin with prefix.
func (a *Account) containerList(ctx context.Context, prefix string) iter.Seq2[hub.Container, error] {
	return func(yield func(hub.Container, error) bool) {
		opts := &service.ListContainersOptions{}
		if prefix != "" {
			opts.Prefix = &prefix
		}
		for pager := a.blobs.NewListContainersPager(opts); pager.More(); {
			var c call
			page, err := pager.NextPage(c.in(ctx))
			if err != nil {
				yield(hub.Container{}, fmt.Errorf("list containers: %w", c.fail(ctx, err)))
				return
			}
			for _, item := range page.ContainerItems {
				found := hub.Container{Name: value(item.Name)}
				if item.Properties != nil {
					found.LeaseState = string(value(item.Properties.LeaseState))
				}
				if !yield(found, nil) {
					return
				}
			}
		}
	}
}

// Blobs streams the blobs of a container whose names begin with prefix, in the
// order of their names. It takes a request for each 5,000 blobs and holds one
// such page. Like Rows, it checks the order.
//
// Unverified: that the service, like the emulator, lists names in the order of
// UTF-16, which only matters beside characters beyond U+FFFF.
func (h *Hub) Blobs(ctx context.Context, name, prefix string) iter.Seq2[hub.Blob, error] {
	return func(yield func(hub.Blob, error) bool) {
		for _, a := range h.stores() {
			absent := false
			for b, err := range a.blobList(ctx, name, prefix) {
				if absent = isAbsent(err); absent {
					break
				}
				if !yield(b, err) {
					return
				}
			}
			if !absent {
				return
			}
		}
	}
}

func (a *Account) blobList(ctx context.Context, name, prefix string) iter.Seq2[hub.Blob, error] {
	return func(yield func(hub.Blob, error) bool) {
		opts := &container.ListBlobsFlatOptions{Include: container.ListBlobsInclude{Metadata: true}}
		if prefix != "" {
			opts.Prefix = &prefix
		}
		last, first := "", true
		for pager := a.blobs.NewContainerClient(name).NewListBlobsFlatPager(opts); pager.More(); {
			var c call
			page, err := pager.NextPage(c.in(ctx))
			if err != nil {
				yield(hub.Blob{}, fmt.Errorf("list blobs of %s: %w", name, c.fail(ctx, err)))
				return
			}
			if page.Segment == nil {
				continue
			}
			for _, item := range page.Segment.BlobItems {
				b := blobOf(name, item)
				if !first && schema.CompareKeys(b.Name, last) <= 0 {
					yield(hub.Blob{}, fmt.Errorf("list blobs of %s: the service returned %q after %q, which is not the order of names", name, b.Name, last))
					return
				}
				last, first = b.Name, false
				if !yield(b, nil) {
					return
				}
			}
		}
	}
}

func blobOf(name string, item *container.BlobItem) hub.Blob {
	b := hub.Blob{Container: name, Name: value(item.Name)}
	if p := item.Properties; p != nil {
		b.SizeBytes, b.ContentType, b.ContentMD5 = value(p.ContentLength), value(p.ContentType), p.ContentMD5
		b.CreatedAt, b.LastModified = ticks(p.CreationTime), ticks(p.LastModified)
		b.LeaseState = string(value(p.LeaseState))
	}
	if len(item.Metadata) > 0 {
		b.Metadata = make(map[string]string, len(item.Metadata))
		for k, v := range item.Metadata {
			b.Metadata[k] = value(v)
		}
	}
	return b
}

// ReadBlob returns a blob's bytes as stored: gzip stays gzip. A connection that
// is lost on the way costs what is missing, not all of it. It returns
// hub.ErrNotFound, or hub.ErrTooLarge without reading a blob of more than limit
// bytes.
func (h *Hub) ReadBlob(ctx context.Context, name, blobName string, limit int64) ([]byte, error) {
	var data []byte
	var err error
	for _, a := range h.stores() {
		if data, err = a.readBlob(ctx, name, blobName, limit); !isAbsent(err) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("blob %s/%s: %w", name, blobName, err)
	}
	return data, nil
}

func (a *Account) readBlob(ctx context.Context, name, blobName string, limit int64) ([]byte, error) {
	if name == "" || blobName == "" {
		return nil, hub.ErrNotFound
	}
	data, sum, err := a.download(ctx, name, blobName, limit)
	if err != nil || matches(data, sum) {
		return data, err
	}
	// A response can be cut at a length that looks whole. Bytes that come twice
	// are what is stored, even if the MD5 beside them is not theirs: anybody may
	// set that.
	again, sum, err := a.download(ctx, name, blobName, limit)
	if err != nil || matches(again, sum) || bytes.Equal(data, again) {
		return again, err
	}
	return nil, errors.New("read twice, with two results that both differ from its MD5")
}

func matches(data, sum []byte) bool {
	got := md5.Sum(data)
	return len(sum) == 0 || bytes.Equal(sum, got[:])
}

func (a *Account) download(ctx context.Context, name, blobName string, limit int64) (data, sum []byte, err error) {
	var c call
	resp, err := a.blobs.NewContainerClient(name).NewBlobClient(blobName).DownloadStream(c.in(ctx), nil)
	if err != nil {
		return nil, nil, c.fail(ctx, err)
	}
	body := resp.NewRetryReader(c.in(ctx), &blob.RetryReaderOptions{MaxRetries: int32(max(1, min(a.retries(), 100)))})
	defer body.Close() //nolint:errcheck // only read
	size := value(resp.ContentLength)
	if resp.ContentLength == nil || size < 0 {
		return nil, nil, c.fail(ctx, errors.New("the answer has no length"))
	}
	if size > limit {
		return nil, nil, fmt.Errorf("%w of %d bytes: it has %d", hub.ErrTooLarge, limit, size)
	}
	data = make([]byte, size)
	if n, err := io.ReadFull(body, data); err != nil {
		return nil, nil, c.fail(ctx, fmt.Errorf("read %d of %d bytes: %w", n, size, err))
	}
	return data, resp.ContentMD5, nil
}

func (a *Account) retries() int {
	if a.opts.MaxRetries == 0 {
		return defaultRetries
	}
	return a.opts.MaxRetries
}
