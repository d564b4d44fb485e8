package export

import (
	"context"
	"encoding/base64"
	"maps"
	"slices"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// blobsOf exports the blobs of one container.
func (x *run) blobsOf(ctx context.Context, container string, emit emitter) error {
	rec := newRecord(x.table, x.opts.Redact)
	find := finder{r: x.reader}
	for b, err := range x.reader.Blobs(ctx, container, "") {
		if err != nil {
			return err
		}
		rec.reset()
		id := x.fillBlob(rec, &b)
		var name hiveName
		wanted := !x.filtered() // for blobs of no instance
		if id != "" {
			if name, wanted, err = x.owner(ctx, &find, id); err != nil {
				return err
			}
		}
		if !wanted {
			continue
		}
		var extra []schema.Property
		for _, k := range slices.Sorted(maps.Keys(b.Metadata)) {
			extra = append(extra, schema.Property{Name: k, Value: schema.String(b.Metadata[k])})
		}
		if err := emit(rec, extra, name); err != nil {
			return err
		}
	}
	return nil
}

// fillBlob sets the columns of a blob and returns the instance that its name
// says it belongs to, or "".
func (x *run) fillBlob(rec *record, b *hub.Blob) (instanceID string) {
	rec.text(bContainer, b.Container)
	rec.text(bName, b.Name)
	kind := "other"
	switch b.Container {
	case x.container:
		n, ok := schema.ParseBlobName(b.Name)
		if !ok {
			break
		}
		instanceID = n.InstanceID()
		rec.text(bInstanceID, instanceID)
		rec.text(bEventType, n.EventType)
		if n.Message {
			kind = "message"
			rec.text(bActivityID, n.Key)
			break
		}
		kind = "history"
		rec.text(bColumn, n.Column)
		if seq, ok := schema.ParseSequence(n.Key); ok {
			rec.int(bSequence, seq)
		}
	case x.info.Names.AppLease():
		kind = "app-lease"
	case x.info.Names.Leases():
		kind = "lease"
		if b.Name == "taskhub.json" {
			kind = "task-hub"
		}
	}
	rec.text(bKind, kind)
	rec.int(bSizeBytes, b.SizeBytes)
	if b.ContentMD5 != nil {
		rec.text(bContentMD5, base64.StdEncoding.EncodeToString(b.ContentMD5))
	}
	if b.ContentType != "" {
		rec.text(bContentType, b.ContentType)
	}
	if b.CreatedAt != 0 {
		rec.time(bCreatedTime, b.CreatedAt)
	}
	if b.LastModified != 0 {
		rec.time(bLastModified, b.LastModified)
	}
	if b.LeaseState != "" {
		rec.text(bLeaseState, b.LeaseState)
	}
	return instanceID
}
