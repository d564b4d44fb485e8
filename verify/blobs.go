package verify

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// blobHash stands for the name of a blob.
type blobHash [16]byte

func hashName(name string) blobHash {
	sum := sha256.Sum256([]byte(name))
	return blobHash(sum[:16])
}

// blobIndex knows the blobs of the large-message container as they were listed
// before the walk, and which of them the walk has met a reference to.
//
// It takes 16 bytes and a bit for each blob, twice that while it is made, and up
// to maxMissing references to blobs that are not there.
type blobIndex struct {
	container string
	// off says that no check wants it.
	off bool
	// whole says that all of the container is in the index, not just the folders
	// of some instances.
	whole bool

	hashes   []blobHash // sorted
	marks    []uint64   // a bit for each: something names it
	missing  []missingBlob
	instance string         // of the last of missing
	names    map[string]int // its missing blobs by name, as indexes of missing
	more     int64          // references that were not kept
}

// missingBlob is a blob that an instance names and that was not listed.
type missingBlob struct {
	instanceID string
	name       string // as stored
	at         []Place
	times      int64
}

// maxMissing bounds the missing blobs that are reported one by one. Where a whole
// container is gone, the others are counted.
const maxMissing = 20_000

// loadBlobs lists the large-message container.
func (v *run) loadBlobs(ctx context.Context) error {
	b := &blobIndex{container: v.info.Names.LargeMessages(), whole: v.ids == nil, names: make(map[string]int)}
	v.blobs = b
	if b.off = !v.wants(codeBlobMissing) && !v.wants(codeBlobCorrupt) && !v.wants(codeBlobOrphan); b.off {
		return nil
	}
	for _, prefix := range v.blobFolders() {
		for blob, err := range v.r.Blobs(ctx, b.container, prefix) {
			if err != nil {
				return fmt.Errorf("list blobs of %s: %w", b.container, err)
			}
			b.hashes = append(b.hashes, hashName(blob.Name))
		}
	}
	slices.SortFunc(b.hashes, func(a, b blobHash) int { return bytes.Compare(a[:], b[:]) })
	b.hashes = slices.Compact(b.hashes)
	b.marks = make([]uint64, (len(b.hashes)+63)/64)
	for _, m := range v.messages.all {
		if m.Blob != "" {
			b.mark(m.Blob)
		}
	}
	return nil
}

// blobFolders returns the prefixes of the blobs that are looked at: everything, or
// the two folders of each instance that was asked for. Column blobs are in the
// folder of the escaped ID, those of messages in that of the raw one.
//
// Source: durabletask 2.9.1, MessageManager.cs:310-317, AzureTableTrackingStore.cs:1346-1387.
func (v *run) blobFolders() []string {
	if v.ids == nil {
		return []string{""}
	}
	var folders []string
	for _, id := range v.ids {
		for _, folder := range []string{schema.EscapeKey(id) + "/", schema.StoredBlobName(id) + "/"} {
			if !slices.Contains(folders, folder) {
				folders = append(folders, folder)
			}
		}
	}
	return folders
}

// inFolder reports whether a blob is one of a checked instance: a/ begins the
// names of the blobs of a/b, too.
func (v *run) inFolder(name string) bool {
	if v.ids == nil {
		return true
	}
	folder := name[:strings.LastIndexByte(name, '/')+1]
	return slices.Contains(v.blobFolders(), folder)
}

// find returns the position of a blob in the index.
func (b *blobIndex) find(name string) (i int, ok bool) {
	h := hashName(name)
	return slices.BinarySearchFunc(b.hashes, h, func(a, b blobHash) int { return bytes.Compare(a[:], b[:]) })
}

// mark notes that something names a blob, and reports whether it was listed.
func (b *blobIndex) mark(name string) bool {
	i, ok := b.find(name)
	if ok {
		b.marks[i/64] |= 1 << (i % 64)
	}
	return ok
}

func (b *blobIndex) marked(name string) (marked, listed bool) {
	i, ok := b.find(name)
	return ok && b.marks[i/64]&(1<<(i%64)) != 0, ok
}

// reference notes that a live row of an instance names a blob, as the row has it.
// place is asked for where that is only if the blob is not there.
func (b *blobIndex) reference(instanceID, name string, place func() Place) {
	if b.off || name == "" {
		return
	}
	name = schema.StoredBlobName(name)
	if b.mark(name) {
		return
	}
	if b.instance != instanceID {
		b.instance = strings.Clone(instanceID)
		clear(b.names)
	}
	if i, ok := b.names[name]; ok {
		m := &b.missing[i]
		if m.times++; len(m.at) < MaxPlaces {
			m.at = append(m.at, place())
		}
		return
	}
	if len(b.missing) == maxMissing {
		b.more++
		return
	}
	name = strings.Clone(name)
	b.names[name] = len(b.missing)
	b.missing = append(b.missing, missingBlob{instanceID: b.instance, name: name, at: []Place{place()}, times: 1})
}

// leftover notes that a row of an overwritten execution names a blob. It may be
// gone, and where it is not, it is no orphan.
func (b *blobIndex) leftover(name string) {
	if !b.off {
		b.mark(schema.StoredBlobName(name))
	}
}

// blobExists asks storage for one blob.
func (v *run) blobExists(ctx context.Context, name string) (bool, error) {
	for b, err := range v.r.Blobs(ctx, v.blobs.container, name) {
		if err != nil {
			return false, fmt.Errorf("look for blob %s/%s: %w", v.blobs.container, name, err)
		}
		return b.Name == name, nil // the shortest of those with this prefix comes first
	}
	return false, nil
}

// blobChecks reports what the walk has found about payloads, and looks at their
// content.
func (v *run) blobChecks(ctx context.Context) error {
	if v.blobs.off {
		return nil
	}
	if err := v.reportMissing(ctx); err != nil {
		return err
	}
	return v.payloads(ctx)
}

func (v *run) reportMissing(ctx context.Context) error {
	o := v.counts[codeBlobMissing]
	if o == nil {
		return nil
	}
	before := o.Violated + o.Unknown
	for i := range v.blobs.missing {
		if err := v.judgeMissing(ctx, &v.blobs.missing[i]); err != nil {
			return err
		}
	}
	if v.blobs.more > 0 {
		err := v.report(Finding{
			Code: codeBlobMissing, At: []Place{{Container: v.blobs.container}},
			Detail: fmt.Sprintf("payloads are gone beyond the first %d: %d more references", maxMissing, v.blobs.more),
		})
		if err != nil {
			return err
		}
	}
	o.OK += max(0, v.summary.Instances-(o.Violated+o.Unknown-before))
	return nil
}

func (v *run) judgeMissing(ctx context.Context, m *missingBlob) error {
	if why := v.info.WhyUnreadable("blob " + v.blobs.container + "/" + m.name); why != "" {
		v.unknown(codeBlobMissing, m.instanceID, "the capture does not hold the blob: "+why)
		return nil
	}
	if v.live || !v.blobs.whole {
		// It may have been written since, or be outside of what was listed.
		if there, err := v.blobExists(ctx, m.name); err != nil || there {
			return err
		}
	}
	if v.live {
		// It may have been deleted together with the row, as when an instance
		// continues as new.
		still, err := v.stillNames(ctx, m)
		if err != nil || !still {
			return err
		}
	}
	what := "a payload is gone"
	if b, ok := schema.ParseBlobName(m.name); ok {
		what = fmt.Sprintf("the %s of %s is gone", b.Column, b.EventType)
		if b.Message {
			what = fmt.Sprintf("the message %s is gone", b.EventType)
		} else if b.Key == "" {
			what = fmt.Sprintf("the %s is gone", b.Column)
		}
	}
	at := append(m.at, Place{Container: v.blobs.container, Blob: m.name})
	if len(at) > MaxPlaces {
		at = append(at[:MaxPlaces-1], at[len(at)-1])
	}
	return v.report(Finding{
		Code: codeBlobMissing, InstanceID: m.instanceID, At: at,
		Detail: fmt.Sprintf("%s: %s (references: %d)", what, m.name, m.times),
	})
}

// stillNames reads the rows again that named a blob.
func (v *run) stillNames(ctx context.Context, m *missingBlob) (bool, error) {
	for _, at := range m.at {
		table := hub.History
		keys := hub.Partition(at.PartitionKey)
		if at.Table == hub.Instances.String() {
			table = hub.Instances
		} else {
			keys.RowKey = at.RowKey
		}
		for row, err := range v.r.Rows(ctx, table, keys) {
			if err != nil {
				return false, fmt.Errorf("read %s again: %w", at, err)
			}
			for _, p := range row.Properties {
				text, _ := p.Value.Text()
				name, ok := schema.ParseBlobURL(text, v.blobs.container)
				if !ok {
					name = schema.StoredBlobName(text)
				}
				if name == m.name {
					return true, nil
				}
			}
		}
	}
	return false, nil
}

const (
	// settleBusy is how old a payload must be to be called an orphan while a
	// worker may be running: it writes payloads before what names them, and may
	// take several attempts.
	settleBusy = time.Hour
	// settleQuiet is the same where no worker owns a partition: only clients
	// write, first the payload, and its message right after.
	settleQuiet = 5 * time.Second
)

// settled says which payloads are old enough to be called orphans.
type settled struct {
	// before is when a payload must have been written; 0 if that is unknown.
	before schema.Ticks
	// why is why nothing can be told; empty if it can.
	why string
}

func (v *run) settled() settled {
	o := settled{before: v.now}
	if !v.live {
		o.before = v.info.Started
	}
	for _, u := range v.info.Unreadable {
		if strings.HasPrefix(u.Artifact, "table ") {
			o.why = "not all tables could be read"
		}
	}
	if o.before == 0 {
		o.why = "the time is unknown, and with it the age of the blob"
		return o
	}
	settle := settleQuiet
	if v.messages.partitions.running() {
		settle = settleBusy
	}
	o.before = schema.TicksOf(o.before.Time().Add(-settle))
	return o
}

// judgeOrphan tells whether a payload is an orphan, or why that cannot be told.
func (v *run) judgeOrphan(ctx context.Context, o *settled, blob *hub.Blob) (orphan bool, why string, err error) {
	marked, listed := v.blobs.marked(blob.Name)
	switch {
	case marked:
		return false, "", nil
	case o.why != "":
		return false, o.why, nil
	case !listed:
		return false, "it was written after the verification had begun", nil
	case blob.LastModified == 0 || blob.LastModified > o.before:
		return false, "it is so young that what names it may be on its way", nil
	}
	if b, ok := schema.ParseBlobName(blob.Name); ok && b.Message && v.messages.anyHidden() {
		if gone, err := v.gone(ctx, b.Folder); err != nil || !gone {
			return false, "a hidden message may name it", err
		}
	}
	return true, "", nil
}

// gone reports whether no instance is there whose messages have their blobs in a
// folder: a worker drops what is queued for it, unless that makes an entity. The
// folder has / where the ID may have had a \, and with too many of them it is not
// tried.
func (v *run) gone(ctx context.Context, folder string) (bool, error) {
	const most = 4
	parts := strings.Split(folder, "/")
	if len(parts)-1 > most || schema.IsEntity(folder) {
		return false, nil
	}
	for choice := range 1 << (len(parts) - 1) {
		id := parts[0]
		for i, part := range parts[1:] {
			id += string(`/\`[choice>>i&1]) + part
		}
		row, err := v.instance(ctx, id)
		if err != nil || row != nil {
			return false, err
		}
		h, err := v.history(ctx, id)
		if err != nil || h != nil && h.Rows > 0 {
			return false, err
		}
	}
	return true, nil
}

// anyHidden reports whether a queue has a message that cannot be read: it may name
// the blob of any message, as the name of a blob does not tell / and \ in an
// instance's ID apart, and with that not the queue.
func (m *messageIndex) anyHidden() bool {
	return m.info.WhyUnreadable("queues") != "" || slices.ContainsFunc(m.queues, func(q queueState) bool { return m.hidden(q.Name) > 0 })
}

// isFolder reports whether a blob only marks a folder, as accounts with a
// hierarchical namespace list them.
func isFolder(b *hub.Blob) bool {
	for name, value := range b.Metadata {
		if strings.EqualFold(name, "hdi_isfolder") && strings.EqualFold(value, "true") {
			return true
		}
	}
	return false
}
