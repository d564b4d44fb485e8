package migrate

import (
	"sync"
	"unicode/utf8"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// marks finds out up to where all of a phase is written, by workers that finish
// in any order, and notes that in the journal now and then. A nil marks does
// nothing.
type marks struct {
	journal *Journal
	now     func() schema.Ticks
	phase   Phase
	every   int64

	mu sync.Mutex
	// open are the stretches that were begun, in order, from the first that is not
	// written.
	open    []*stretch
	reached phaseState
	unnoted int64
}

// stretch is some items that are written together.
type stretch struct {
	upTo         place
	items, bytes int64
	written      bool
}

// Where Journal.Every does not say anything else, this many rows or blobs are
// written again at most after a run was killed, and those that were in flight. They
// take some seconds.
const (
	markedRows  = 5000
	markedBlobs = 250
)

// begin notes that the next items are on their way. It is not for concurrent use.
func (m *marks) begin(upTo place, items, bytes int64) *stretch {
	if m == nil {
		return nil
	}
	s := &stretch{upTo: upTo, items: items, bytes: bytes}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open = append(m.open, s)
	return s
}

// end notes that a stretch is written.
func (m *marks) end(s *stretch) error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s.written = true
	for len(m.open) > 0 && m.open[0].written {
		first := m.open[0]
		m.open = m.open[1:]
		m.reached.place = first.upTo
		m.reached.items += first.items
		m.reached.bytes += first.bytes
		m.unnoted += first.items
	}
	if m.unnoted < m.every {
		return nil
	}
	return m.note()
}

// flush notes what is written and was not noted yet.
func (m *marks) flush() error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.unnoted == 0 {
		return nil
	}
	return m.note()
}

func (m *marks) note() error {
	p := &m.reached.place
	// A key that JSON cannot hold would be another one when it is read.
	for _, key := range []string{p.PartitionKey, p.RowKey, p.Container, p.Blob} {
		if !utf8.ValidString(key) {
			return nil
		}
	}
	m.unnoted = 0
	return m.journal.append(&entry{
		Type: entryWritten, At: m.now().String(), Phase: m.phase, UpTo: p, Items: m.reached.items, Bytes: m.reached.bytes,
	})
}

// covers reports whether a row is among those that are known to be written.
func (p *place) covers(row *schema.Row) bool {
	at := schema.Row{PartitionKey: p.PartitionKey, RowKey: p.RowKey}
	return *p != place{} && schema.CompareRows(row, &at) <= 0
}

// coversBlob does the same for a blob; containers are in the order of their names.
func (p *place) coversBlob(b *hub.Blob) bool {
	if *p == (place{}) {
		return false
	}
	c := schema.CompareKeys(b.Container, p.Container)
	return c < 0 || c == 0 && schema.CompareKeys(b.Name, p.Blob) <= 0
}
