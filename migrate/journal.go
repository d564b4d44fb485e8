package migrate

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/taskhub-tools/taskhub/schema"
)

// Journal is the record of a migration, with which an interrupted one goes on: one
// JSON object a line, each of which is on disk before what it announces is begun,
// and after what it says to be done.
//
// Each run begins with a line of type migration, which says of what it is and has a
// digest of the plan; or, if it receives messages of the source, with lines of type
// receiving, until when they may be hidden. Then come phase (one begins), written (all rows or blobs up
// to a key are in the target), ended (all of a phase are), checked (the copy is
// whole, with its digests), differs (it is not, so that nothing of it is relied
// on), made (a blob is about to be made for a message), and done. What earlier runs
// have written counts only if the plan is the same.
//
// The line that was being written when a run was killed may be cut off. A Journal
// must not be used by two runs at once.
type Journal struct {
	// Every is the number of rows, or of blobs, after which it is noted that they
	// are written; 0 means 5,000 rows and 250 blobs.
	Every int64

	open func() (JournalFile, error)

	mu   sync.Mutex
	file JournalFile
	torn bool // the last line has no end
	journalState
}

// JournalFile is where a journal is kept. An *os.File that is open for appending
// is one.
type JournalFile interface {
	io.WriteCloser
	Sync() error
}

// ErrNoJournal is returned for what is no journal of a migration, or a damaged one.
var ErrNoJournal = errors.New("is not the journal of a migration")

// maxJournalLine is several times what two keys of 1,024 characters take.
const maxJournalLine = 64 << 10

// ReadJournal reads what earlier runs have left: nothing for a new journal. [Run]
// calls open when it is about to write the first line, and closes the file at its
// end; [Plan] only needs what was read.
//
// It returns ErrNoJournal, or the error of r. Memory is that of a line of at most
// 64 KiB, and the names of the blobs that were made for messages.
func ReadJournal(r io.Reader, open func() (JournalFile, error)) (*Journal, error) {
	j := &Journal{open: open}
	lines := bufio.NewReaderSize(r, maxJournalLine)
	cut := true // nothing came before, or a line that was cut off
	for n := 1; ; n++ {
		line, err := lines.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		if len(line) == 0 {
			return j, nil
		}
		// Whoever goes on after a line that was cut off begins as any run.
		var e entry
		j.torn = errors.Is(err, io.EOF)
		switch whole := json.Unmarshal(line, &e) == nil; {
		case errors.Is(err, bufio.ErrBufferFull),
			cut && whole && e.Type != entryRun && e.Type != entryReceive,
			cut && !whole && !beginsRun(line):
			return nil, fmt.Errorf("line %d: it %w", n, ErrNoJournal)
		case whole:
			if err := j.apply(&e); err != nil {
				return nil, fmt.Errorf("line %d: it %w: %w", n, ErrNoJournal, err)
			}
			cut = cut && e.Type == entryReceive
		default:
			cut = true
		}
	}
}

// beginsRun reports whether a line may be the beginning of one that begins a run.
func beginsRun(line []byte) bool {
	for _, kind := range []string{entryRun, entryReceive} {
		begin := `{"type":"` + kind + `",`
		if n := min(len(begin), len(line)); bytes.Equal(line[:n], []byte(begin[:n])) {
			return true
		}
	}
	return false
}

// begin opens the file, unless it is open, for a line that begins a run. Nothing is
// written into the target before, and nothing received from the source.
func (j *Journal) begin(e *entry) error {
	if j == nil {
		return nil
	}
	if j.file == nil {
		file, err := j.open()
		if err != nil {
			return fmt.Errorf("journal: %w", err)
		}
		j.file = file
	}
	return j.append(e)
}

// append writes a line, which is on disk when it returns, and notes what it says.
func (j *Journal) append(e *entry) error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	line, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if line = append(line, '\n'); j.torn {
		line = append([]byte{'\n'}, line...)
	}
	// Whatever part of it is written, the next line must not go on in it.
	j.torn = true
	if _, err = j.file.Write(line); err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	j.torn = false
	return j.apply(e)
}

// close closes the file, if there is one.
func (j *Journal) close() error {
	if j == nil || j.file == nil {
		return nil
	}
	file := j.file
	j.file = nil
	if err := file.Close(); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	return nil
}

// making notes that a blob is about to be made, unless it is known.
func (j *Journal) making(blob string, now schema.Ticks) error {
	if j == nil {
		return nil
	}
	j.mu.Lock()
	known := j.made[blob]
	j.mu.Unlock()
	if known {
		return nil
	}
	return j.append(&entry{Type: entryMade, At: now.String(), Blob: blob})
}
