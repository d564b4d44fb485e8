package snapshot

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// archive is a zip of stored files as an [fs.FS] whose files can be read at any
// offset.
type archive struct {
	at      io.ReaderAt
	size    int64
	entries map[string]archived
}

// archived is one file of an archive.
type archived struct {
	size int64
	zip  *zip.File // tells the offset, which stands in another place
	data int64     // offset of the first byte if zip is nil
}

// openArchive reads the directory of a zip. The error is a *DamageError that
// says what is cut off, if that can be found out.
func openArchive(at io.ReaderAt, size int64) (*archive, error) {
	z, err := zip.NewReader(at, size)
	if err != nil {
		return nil, explainArchive(at, size, err)
	}
	a := &archive{at: at, size: size, entries: make(map[string]archived, len(z.File))}
	for _, f := range z.File {
		if err := a.add(f); err != nil {
			return nil, &DamageError{File: f.Name, Err: err}
		}
	}
	return a, nil
}

// add takes an entry of the directory, if it is one that we could have written
// or that a tool has added without harm.
func (a *archive) add(f *zip.File) error {
	name, isDir := strings.CutSuffix(f.Name, "/")
	if err := checkPath(name); err != nil {
		return err
	}
	_, twice := a.entries[name]
	switch {
	case twice:
		return errors.New("two files of one name in the archive")
	case f.Method != zip.Store || f.CompressedSize64 != f.UncompressedSize64:
		return errors.New("the file is compressed or encrypted by the archive; a capture stores it")
	case f.Flags&1 != 0:
		return errors.New("the file is encrypted by the archive; a capture stores it")
	case f.UncompressedSize64 > uint64(a.size):
		return fmt.Errorf("%d bytes in an archive of %d", f.UncompressedSize64, a.size)
	}
	if !isDir {
		a.entries[name] = archived{size: int64(f.UncompressedSize64), zip: f}
	}
	return nil
}

// Open implements fs.FS.
func (a *archive) Open(name string) (fs.File, error) {
	e, ok := a.entries[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	offset := e.data
	if e.zip != nil {
		var err error
		if offset, err = e.zip.DataOffset(); err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: err}
		}
	}
	if offset < 0 || offset > a.size || e.size > a.size-offset {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("the file reaches beyond the end of the archive")}
	}
	return &archiveFile{SectionReader: io.NewSectionReader(a.at, offset, e.size), name: name, offset: offset}, nil
}

func (a *archive) names() []string {
	names := make([]string, 0, len(a.entries))
	for name := range a.entries {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// archiveFile is an open file of an archive and its own [fs.FileInfo].
type archiveFile struct {
	*io.SectionReader
	name   string
	offset int64 // of its first byte in the archive
}

func (f *archiveFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *archiveFile) Close() error               { return nil }
func (f *archiveFile) Name() string               { return path.Base(f.name) }
func (f *archiveFile) Mode() fs.FileMode          { return 0o444 }
func (f *archiveFile) ModTime() time.Time         { return time.Time{} }
func (f *archiveFile) IsDir() bool                { return false }
func (f *archiveFile) Sys() any                   { return nil }

// explainArchive says where a zip without a directory ends.
func explainArchive(at io.ReaderAt, size int64, cause error) error {
	a := &archive{at: at, size: size, entries: make(map[string]archived)}
	damage := a.scan()
	if len(a.entries) == 0 {
		return &DamageError{Err: fmt.Errorf("not a capture: %w", cause)}
	}
	if len(damage) > 0 {
		d := damage[len(damage)-1]
		d.Err = fmt.Errorf("%w (%w)", d.Err, cause)
		return &d
	}
	return &DamageError{Offset: size, Err: fmt.Errorf("the archive ends before its directory (%w)", cause)}
}

// scan finds files by their headers, front to back, and adds those that are not
// known. It returns what it had to step over.
func (a *archive) scan() []DamageError {
	var damage []DamageError
	for at := int64(0); at < a.size; {
		h, err := a.header(at)
		if err != nil {
			next := a.search(at + 1)
			damage = append(damage, DamageError{Offset: at, Err: err})
			at = next
			continue
		}
		if h == nil { // the directory
			break
		}
		end := h.data + h.size
		switch {
		case h.size < 0 || h.size > a.size-h.data:
			// Still being written, cut off, or the header lies: what belongs to
			// the file ends where the next one starts.
			end = a.search(h.data)
			damage = append(damage, DamageError{
				File: h.name, Offset: end - h.data, ArchiveOffset: end,
				Err: errors.New("the archive ends inside this file or its header is damaged"),
			})
		case end < a.size && !a.signature(end):
			end = a.search(h.data)
			damage = append(damage, DamageError{
				File: h.name, Offset: end - h.data, ArchiveOffset: end,
				Err: errors.New("the header of this file is damaged"),
			})
		}
		if _, known := a.entries[h.name]; !known {
			a.entries[h.name] = archived{size: end - h.data, data: h.data}
		}
		at = end
	}
	return damage
}

// header is what a local file header says. size is -1 if the file was being
// written.
type header struct {
	name string
	data int64
	size int64
}

// header reads the header at an offset. It returns nil at the directory.
func (a *archive) header(at int64) (*header, error) {
	b := make([]byte, localBytes)
	if _, err := a.at.ReadAt(b, at); err != nil {
		return nil, fmt.Errorf("read a file header: %w", err)
	}
	switch le.Uint32(b) {
	case sigCentral, sigEnd, sigEnd64:
		return nil, nil
	case sigLocal:
	default:
		return nil, errors.New("no file starts here")
	}
	if le.Uint16(b[6:])&1 != 0 || le.Uint16(b[8:]) != 0 {
		return nil, errors.New("the file is compressed or encrypted by the archive; a capture stores it")
	}
	nameLen, extraLen := int(le.Uint16(b[26:])), int(le.Uint16(b[28:]))
	rest := make([]byte, nameLen+extraLen)
	if _, err := a.at.ReadAt(rest, at+localBytes); err != nil && (err != io.EOF || nameLen+extraLen > 0) {
		return nil, fmt.Errorf("read a file header: %w", err)
	}
	h := &header{name: string(rest[:nameLen]), data: at + localBytes + int64(len(rest)), size: int64(le.Uint32(b[22:]))}
	if err := checkPath(h.name); err != nil {
		return nil, err
	}
	if h.size != max32 {
		return h, nil
	}
	for extra := rest[nameLen:]; len(extra) >= 4; {
		id, n := le.Uint16(extra), int(le.Uint16(extra[2:]))
		if extra = extra[4:]; n > len(extra) {
			break
		}
		if id == extra64 && n >= 8 {
			if h.size = int64(le.Uint64(extra)); h.size < 0 {
				h.size = -1 // sizePending, or nonsense
			}
			break
		}
		extra = extra[n:]
	}
	return h, nil
}

// signature reports whether a record of a zip stands at an offset.
func (a *archive) signature(at int64) bool {
	var b [4]byte
	if _, err := a.at.ReadAt(b[:], at); err != nil {
		return false
	}
	switch le.Uint32(b[:]) {
	case sigLocal, sigCentral, sigEnd, sigEnd64:
		return true
	}
	return false
}

// search returns the offset of the next header of a file with a name that
// belongs into a capture, or of the directory, at or after an offset; the size
// of the archive if there is none.
func (a *archive) search(at int64) int64 {
	const window = 1 << 20
	buf := make([]byte, window)
	for at < a.size {
		n, err := a.at.ReadAt(buf[:min(window, a.size-at)], at)
		if n < 4 {
			return a.size
		}
		for i := 0; ; {
			j := bytes.Index(buf[i:n], []byte("PK"))
			if j < 0 {
				break
			}
			i += j
			h, err := a.header(at + int64(i))
			if err == nil && (h == nil && a.signature(at+int64(i)) || h != nil && belongs(h.name)) {
				return at + int64(i)
			}
			i++
		}
		if err != nil || int64(n) < window {
			return a.size
		}
		at += int64(n) - 3
	}
	return a.size
}

// belongs reports whether name is one that a capture has.
func belongs(name string) bool {
	return name == manifestName || name == blobIndexName || strings.HasPrefix(name, tablePrefix) ||
		strings.HasPrefix(name, queuePrefix) || strings.HasPrefix(name, blobPrefix)
}
