package migrate

import (
	"context"
	"iter"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// selection is the part of a hub that moves. A nil one is all of it.
type selection struct {
	choose    func(instanceID string) bool
	container string // of payloads, in the source
	// named are the payloads that move and whose names do not tell so.
	named map[string]struct{}
}

func newSelection(choose func(instanceID string) bool, source hub.Names) *selection {
	if choose == nil {
		return nil
	}
	return &selection{choose: choose, container: source.LargeMessages(), named: make(map[string]struct{})}
}

// moving tells which partitions of a table move. It asks once for rows of the same
// one that follow each other.
type moving struct {
	*selection
	key     string
	known   bool
	current bool
}

func (m *moving) has(key string) bool {
	if m.selection == nil {
		return true
	}
	if !m.known || m.key != key {
		m.key, m.known = strings.Clone(key), true
		m.current = m.choose(schema.InstanceID(m.key))
	}
	return m.current
}

// rows leaves out the rows of instances that stay.
func (s *selection) rows(rows iter.Seq2[schema.Row, error]) iter.Seq2[schema.Row, error] {
	if s == nil {
		return rows
	}
	return func(yield func(schema.Row, error) bool) {
		moves := moving{selection: s}
		for row, err := range rows {
			if (err != nil || moves.has(row.PartitionKey)) && !yield(row, err) {
				return
			}
		}
	}
}

// payloadOwner reads the name of a payload. certain is false where only a row or
// the message in it tells whose it is: a / in a folder may have been a \, and
// versions up to 1.6.3 wrote names in lower case, the ID included.
//
// Source: durabletask 2.9.1, AzureTableTrackingStore.cs:1352-1387,
// MessageManager.cs:310-352; lower case: git 128a0a66; recorded in hub
// dtfx-2.9.1-purge-damaged.
func payloadOwner(name string) (b schema.BlobName, certain bool) {
	b, ok := schema.ParseBlobName(name)
	return b, ok && !strings.Contains(b.Folder, "/") && name != strings.ToLower(name)
}

// hasBlob reports whether a payload moves. It is right once all rows that move
// were noted, the blobs of messages named, and the others resolved.
func (s *selection) hasBlob(name string) bool {
	if s == nil {
		return true
	}
	if b, certain := payloadOwner(name); certain && s.choose(b.InstanceID()) {
		return true
	}
	_, named := s.named[name]
	return named
}

// name notes a payload that moves because a row or message that does so names it.
func (s *selection) name(stored string) {
	if s != nil && !s.hasBlob(stored) {
		s.named[strings.Clone(stored)] = struct{}{}
	}
}

// note notes the payloads that a row names which moves.
func (s *selection) note(row *schema.Row) {
	if s == nil {
		return
	}
	for name := range schema.RowBlobs(row, s.container) {
		s.name(name)
	}
}

// resolve looks into the messages of which the names of their blobs do not tell for
// certain whose they are. One that cannot be read stays.
func (s *selection) resolve(ctx context.Context, m *migration) error {
	if s == nil {
		return nil
	}
	for b, err := range m.from.Blobs(ctx, s.container, "") {
		if err != nil {
			return err
		}
		if name, certain := payloadOwner(b.Name); certain || !name.Message || s.hasBlob(b.Name) {
			continue
		}
		text, err := hub.LoadText(ctx, m.from, s.container, b.Name, m.opts.MaxPayloadBytes)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			continue
		}
		message, err := schema.DecodeMessage(text, b.Name)
		if err == nil && message.TaskMessage != nil && s.choose(message.TaskMessage.OrchestrationInstance.InstanceID) {
			s.named[b.Name] = struct{}{}
		}
	}
	return nil
}
