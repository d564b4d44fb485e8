package snapshot

import (
	"bufio"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"os"
)

// The signatures and sizes of a zip's records.
//
// Source: PKWARE APPNOTE 6.3.10, sections 4.3 and 4.5.3.
const (
	sigLocal     = 0x04034B50
	sigCentral   = 0x02014B50
	sigEnd       = 0x06054B50
	sigEnd64     = 0x06064B50
	sigLocator64 = 0x07064B50

	localBytes   = 30
	centralBytes = 46

	extra64      = 0x0001 // sizes and offset of 64 bits
	max32        = 1<<32 - 1
	max16        = 1<<16 - 1
	flagUTF8     = 1 << 11
	fixedDate    = 1<<5 | 1 // 1980-01-01, the first day that a zip can name
	madeByUnix   = 3 << 8
	fileMode     = 0o100644 << 16
	sizePending  = 1<<64 - 1 // in the header of a file that is still being written
	zipBufferLen = 1 << 20
)

// zipWriter writes a zip of stored files. archive/zip would put the sizes
// behind each file; here they stand before it, so that a capture whose end is
// lost can still be read from the front.
type zipWriter struct {
	f       *os.File
	w       *bufio.Writer
	offset  int64 // where the next byte goes
	entries []zipEntry
	current *zipEntry // the file that is open
}

type zipEntry struct {
	name   string
	header int64
	size   int64
	crc    uint32
}

func newZipWriter(f *os.File) *zipWriter {
	return &zipWriter{f: f, w: bufio.NewWriterSize(f, zipBufferLen)}
}

var le = binary.LittleEndian

// localHeader returns the header of e: with 64-bit sizes, whose space is the
// same whatever they are, if wide.
func localHeader(e *zipEntry, wide, pending bool) []byte {
	b := make([]byte, 0, localBytes+len(e.name)+20)
	b = le.AppendUint32(b, sigLocal)
	b = le.AppendUint16(b, versionNeeded(wide))
	b = le.AppendUint16(b, flagUTF8)
	b = le.AppendUint16(b, 0) // stored
	b = le.AppendUint16(b, 0) // midnight
	b = le.AppendUint16(b, fixedDate)
	b = le.AppendUint32(b, e.crc)
	size, extra := uint32(e.size), 0
	if wide {
		size, extra = max32, 20
	}
	b = le.AppendUint32(b, size)
	b = le.AppendUint32(b, size)
	b = le.AppendUint16(b, uint16(len(e.name)))
	b = le.AppendUint16(b, uint16(extra))
	b = append(b, e.name...)
	if wide {
		long := uint64(e.size)
		if pending {
			long = sizePending
		}
		b = le.AppendUint16(b, extra64)
		b = le.AppendUint16(b, 16)
		b = le.AppendUint64(b, long)
		b = le.AppendUint64(b, long)
	}
	return b
}

func versionNeeded(wide bool) uint16 {
	if wide {
		return 45
	}
	return 20
}

// create begins a file of unknown size.
func (z *zipWriter) create(name string) error {
	if z.current != nil {
		return errors.New("snapshot: internal error: two files open in one archive")
	}
	z.current = &zipEntry{name: name, header: z.offset}
	return z.raw(localHeader(z.current, true, true))
}

func (z *zipWriter) raw(b []byte) error {
	n, err := z.w.Write(b)
	z.offset += int64(n)
	return err
}

// Write appends to the file begun by create.
func (z *zipWriter) Write(p []byte) (int, error) {
	z.current.crc = crc32.Update(z.current.crc, crc32.IEEETable, p)
	z.current.size += int64(len(p))
	return len(p), z.raw(p)
}

// finish ends the file begun by create and completes its header.
func (z *zipWriter) finish() error {
	e := z.current
	z.current = nil
	z.entries = append(z.entries, *e)
	if err := z.w.Flush(); err != nil {
		return err
	}
	_, err := z.f.WriteAt(localHeader(e, true, false), e.header)
	return err
}

// put writes a whole file.
func (z *zipWriter) put(name string, data []byte) error {
	e := zipEntry{name: name, header: z.offset, size: int64(len(data)), crc: crc32.ChecksumIEEE(data)}
	if z.current != nil {
		return errors.New("snapshot: internal error: two files open in one archive")
	}
	z.entries = append(z.entries, e)
	if err := z.raw(localHeader(&e, e.size >= max32, false)); err != nil {
		return err
	}
	return z.raw(data)
}

// close writes the directory and brings everything to disk.
func (z *zipWriter) close() error {
	start := z.offset
	for i := range z.entries {
		e := &z.entries[i]
		wide := e.size >= max32 || e.header >= max32
		b := make([]byte, 0, centralBytes+len(e.name)+28)
		b = le.AppendUint32(b, sigCentral)
		b = le.AppendUint16(b, madeByUnix|45)
		b = le.AppendUint16(b, versionNeeded(wide))
		b = le.AppendUint16(b, flagUTF8)
		b = le.AppendUint16(b, 0)
		b = le.AppendUint16(b, 0)
		b = le.AppendUint16(b, fixedDate)
		b = le.AppendUint32(b, e.crc)
		size, header, extra := uint32(e.size), uint32(e.header), 0
		if wide {
			size, header, extra = max32, max32, 28
		}
		b = le.AppendUint32(b, size)
		b = le.AppendUint32(b, size)
		b = le.AppendUint16(b, uint16(len(e.name)))
		b = le.AppendUint16(b, uint16(extra))
		b = append(b, 0, 0, 0, 0, 0, 0) // no comment, first disk, no internal attributes
		b = le.AppendUint32(b, fileMode)
		b = le.AppendUint32(b, header)
		b = append(b, e.name...)
		if wide {
			b = le.AppendUint16(b, extra64)
			b = le.AppendUint16(b, 24)
			b = le.AppendUint64(b, uint64(e.size))
			b = le.AppendUint64(b, uint64(e.size))
			b = le.AppendUint64(b, uint64(e.header))
		}
		if err := z.raw(b); err != nil {
			return err
		}
	}
	count, end := len(z.entries), z.offset
	var b []byte
	if count >= max16 || end >= max32 {
		b = le.AppendUint32(b, sigEnd64)
		b = le.AppendUint64(b, 44)
		b = le.AppendUint16(b, madeByUnix|45)
		b = le.AppendUint16(b, 45)
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0) // one disk
		b = le.AppendUint64(b, uint64(count))
		b = le.AppendUint64(b, uint64(count))
		b = le.AppendUint64(b, uint64(end-start))
		b = le.AppendUint64(b, uint64(start))
		b = le.AppendUint32(b, sigLocator64)
		b = append(b, 0, 0, 0, 0)
		b = le.AppendUint64(b, uint64(end))
		b = le.AppendUint32(b, 1)
	}
	b = le.AppendUint32(b, sigEnd)
	b = append(b, 0, 0, 0, 0)
	b = le.AppendUint16(b, uint16(min(count, max16)))
	b = le.AppendUint16(b, uint16(min(count, max16)))
	b = le.AppendUint32(b, uint32(min(end-start, max32)))
	b = le.AppendUint32(b, uint32(min(start, max32)))
	b = append(b, 0, 0)
	if err := z.raw(b); err != nil {
		return err
	}
	if err := z.w.Flush(); err != nil {
		return err
	}
	return z.f.Sync()
}

var _ io.Writer = (*zipWriter)(nil)
