package manage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// payloads lists the blobs of one instance and of no other: those of its history
// in the folder of its escaped ID, those of messages for it in the folder of its
// ID. IDs that differ in / and \ share the latter; which of them a message is
// for, then only the message tells. Folders that are not listed are not asked for,
// unless listed is nil.
//
// Versions up to 1.6.3 wrote names in lower case, the ID included: such a blob is
// the instance's if a row names it, or the message in it does.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:1352-1387,
// MessageManager.cs:310-352; lower case: git 128a0a66; recorded in hub
// dtfx-2.9.1-purge-damaged.
func (p *Purger) payloads(ctx context.Context, id string, listed map[string]struct{}) ([]hub.Blob, error) {
	history, messages := schema.EscapeKey(id), schema.StoredBlobName(id)
	folders := []string{history, messages, strings.ToLower(history), strings.ToLower(messages)}
	slices.Sort(folders)
	var blobs []hub.Blob
	var named map[string]bool // by rows; nil before it is needed
	mine := func(b *hub.Blob, folder string) (bool, error) {
		name, ok := schema.ParseBlobName(b.Name)
		if !ok || name.Folder != folder {
			return false, nil // a/ begins the names of a/b, too
		}
		old := strings.ToLower(b.Name) == b.Name && strings.ToLower(name.EventType) == name.EventType
		switch {
		case name.Message && (old || messages == folder && strings.ContainsAny(id, `/\`)):
			return p.isFor(ctx, b.Name, id)
		case name.Message:
			return messages == folder, nil
		case !old:
			return history == folder, nil
		}
		if named == nil {
			var err error
			if named, err = p.namedBy(ctx, id); err != nil {
				return false, err
			}
		}
		return named[b.Name], nil
	}
	for _, folder := range slices.Compact(folders) {
		if strings.ContainsFunc(folder, unlistable) {
			continue
		}
		if _, ok := listed[folder]; !ok && listed != nil {
			continue
		}
		for b, err := range p.r.Blobs(ctx, p.names.LargeMessages(), folder+"/") {
			if err != nil {
				return nil, fmt.Errorf("list payloads: %w", err)
			}
			ok, err := mine(&b, folder)
			if err != nil {
				return nil, err
			}
			if ok {
				blobs = append(blobs, b)
			}
		}
	}
	return blobs, nil
}

// unlistable reports whether a list of blobs cannot have a character, as it is XML
// 1.0. The emulator answers 500 to a request for such names. History is stored
// under escaped IDs, which have none.
func unlistable(r rune) bool {
	return r < 0x20 && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
}

// isFor reports whether the message in a blob is for an instance. One that cannot
// be read is for nobody: it stays.
func (p *Purger) isFor(ctx context.Context, blob, id string) (bool, error) {
	text, err := hub.LoadText(ctx, p.r, p.names.LargeMessages(), blob, p.opts.MaxPayloadBytes)
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	if err != nil {
		return false, nil //nolint:nilerr // damage is not a reason to stop, and no reason to delete
	}
	m, err := schema.DecodeMessage(text, blob)
	return err == nil && m.TaskMessage != nil && m.TaskMessage.OrchestrationInstance.InstanceID == id, nil
}

// namedBy returns the stored names of the blobs that the rows of an instance name.
func (p *Purger) namedBy(ctx context.Context, id string) (map[string]bool, error) {
	named := map[string]bool{}
	for _, table := range []hub.Table{hub.Instances, hub.History} {
		for row, err := range p.r.Rows(ctx, table, hub.Partition(schema.EscapeKey(id))) {
			if err != nil {
				return nil, err
			}
			for name := range schema.RowBlobs(&row, p.names.LargeMessages()) {
				named[strings.Clone(name)] = true
			}
		}
	}
	return named, nil
}

// Payload deletes one payload and returns 1, or 0 if it is gone already. It
// returns [ErrNotArchived], and [hub.ErrInUse] for a blob that is leased.
func (p *Purger) Payload(ctx context.Context, b hub.Blob) (int64, error) {
	if p.opts.Archive != nil {
		if err := p.archivedBlob(ctx, &b); err != nil {
			return 0, err
		}
	}
	if p.e == nil {
		return 1, nil
	}
	if err := p.e.DeleteBlob(ctx, b.Container, b.Name); err != nil {
		if errors.Is(err, hub.ErrNotFound) {
			return 0, nil
		}
		return 0, err
	}
	return 1, nil
}
