package snapshot

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/taskhub-tools/taskhub/hub"
)

// unknownHash stands in a manifest that was put together from file names.
const unknownHash = ""

// salvageArchive opens a zip by its directory as far as that can be used, and
// adds what only the headers of files tell.
func salvageArchive(at io.ReaderAt, size int64) (*archive, []DamageError, error) {
	a, err := openArchive(at, size)
	if err == nil {
		a.scan() // what the directory knows has been found by it
		return a, nil, nil
	}
	a = &archive{at: at, size: size, entries: make(map[string]archived)}
	damage := a.scan()
	if len(a.entries) == 0 {
		return nil, nil, &DamageError{Err: fmt.Errorf("nothing can be salvaged: no file of a capture found")}
	}
	if err != nil && len(damage) == 0 {
		damage = append(damage, DamageError{Offset: size, Err: err})
	}
	return a, damage, nil
}

// names lists the files of the capture.
func (r *Reader) names() ([]string, error) {
	if a, ok := r.fsys.(*archive); ok {
		return a.names(), nil
	}
	var names []string
	err := fs.WalkDir(r.fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Type().IsRegular() && checkPath(name) == nil {
			names = append(names, name)
		}
		return nil
	})
	return names, err
}

// guessManifest puts a manifest together from what files there are.
func (r *Reader) guessManifest() (*manifest, error) {
	names, err := r.names()
	if err != nil {
		return nil, fmt.Errorf("list files: %w", err)
	}
	m := &manifest{}
	r.m = m
	var prefixes [hub.Partitions + 1]string
	var queueHub string
	for _, name := range names {
		stat, err := fs.Stat(r.fsys, name)
		if err != nil {
			continue
		}
		listed := fileMeta{Name: name, Bytes: stat.Size(), SHA256: unknownHash}
		if table, ok := cutName(name, tablePrefix, tableSuffix); ok {
			for _, t := range hub.Tables {
				if prefix, ok := strings.CutSuffix(table, t.String()); ok && prefix != "" && prefixes[t] == "" {
					prefixes[t] = prefix
					m.Tables = append(m.Tables, tableMeta{Table: t.String(), Name: table, Rows: -1})
				}
			}
		}
		if queue, ok := cutName(name, queuePrefix, queueSuffix); ok {
			if prefix, _, ok := strings.Cut(queue, "-control-"); ok {
				queueHub = prefix
				m.PartitionCount++
				m.PartitionCountFrom = hub.FromControlQueues
			}
			seen := r.countLines(name)
			m.Queues = append(m.Queues, queueMeta{Name: queue, Seen: seen, ApproximateCount: seen})
			listed.Rows = seen
		}
		m.Files = append(m.Files, listed)
	}
	if len(m.Tables) == 0 && len(m.Queues) == 0 {
		return nil, errors.New("nothing can be salvaged: no file of a table or queue found")
	}
	// The Partitions table and the queues are named by the hub, the other two
	// tables perhaps by a tracking store.
	tracking := prefixes[hub.History]
	if tracking == "" {
		tracking = prefixes[hub.Instances]
	}
	switch {
	case prefixes[hub.Partitions] != "":
		m.TaskHub = prefixes[hub.Partitions]
	case queueHub != "" && !strings.EqualFold(queueHub, tracking):
		m.TaskHub = queueHub // in lower case: nothing else tells
	default:
		m.TaskHub = tracking
	}
	if tracking != "" && tracking != m.TaskHub {
		m.TrackingPrefix = tracking
	}
	if m.PartitionCount > hub.MaxPartitions {
		m.PartitionCount, m.PartitionCountFrom = 0, ""
	}
	m.Containers = r.indexedContainers()
	return m, nil
}

func cutName(name, prefix, suffix string) (string, bool) {
	name, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return "", false
	}
	name, ok = strings.CutSuffix(name, suffix)
	return name, ok && checkName(name) == nil
}

// indexedContainers returns the containers that the index of blobs names.
func (r *Reader) indexedContainers() []hub.Container {
	f, err := r.openFile(blobIndexName)
	if err != nil {
		return nil
	}
	defer f.close()
	var found []hub.Container
	for l := newLineReader(f, 0); ; {
		line, _, err := l.next()
		if err != nil && !errors.Is(err, errLongLine) {
			return found
		}
		var b blob
		if decodeBlob(line, &b) == nil && !slices.Contains(found, hub.Container{Name: b.Container}) {
			found = append(found, hub.Container{Name: b.Container})
		}
	}
}

func (r *Reader) countLines(name string) int64 {
	f, err := r.openFile(name)
	if err != nil {
		return 0
	}
	defer f.close()
	var n int64
	for l := newLineReader(f, 0); ; n++ {
		if _, _, err := l.next(); err != nil {
			return n
		}
	}
}

const (
	frameMagic = "\x28\xB5\x2F\xFD"
	maxBlocks  = 4096 // of up to 128 KiB, in one frame
)

// rebuildIndex finds the frames of a table by reading all of it. Only frames
// with a right checksum are taken; what lies between them is noted.
func (r *Reader) rebuildIndex(f *file) []frame {
	var frames []frame
	var last key // of the last row found
	gap := false // something was left out before this frame
	// A file made to deceive could hold countless beginnings of frames that
	// take long to unpack and lead nowhere.
	budget := 4*f.size + maxFrameBytes
	for at := int64(0); at < f.size && budget > 0; {
		fr, end, cost, err := r.frameAt(f, at)
		if err == nil && len(frames) > 0 && compareKeys(last, fr.first) >= 0 {
			err = errors.New("the frame is not in key order")
		}
		if err != nil {
			budget -= cost
			if !gap {
				r.note(f.damage(at, err))
			}
			gap = true
			at = f.search(at+1, frameMagic)
			continue
		}
		fr.continues = gap || len(frames) > 0 && last.partition == fr.first.partition
		last = end
		gap = false
		frames = append(frames, fr)
		at = fr.end()
	}
	if budget <= 0 {
		r.note(f.damage(f.size, errors.New("too much damage to look for the rest")))
	}
	return frames
}

// frameAt reads the frame at an offset and the keys of its first and last row.
// cost is the number of bytes that were unpacked.
func (r *Reader) frameAt(f *file, at int64) (fr frame, last key, cost int64, err error) {
	packed, size, err := f.frame(at)
	if err != nil {
		return fr, last, 64, err
	}
	buf := r.buffer(packed)
	defer r.scratch.Put(buf)
	if err := f.read((*buf)[:packed], at); err != nil {
		return fr, last, packed, err
	}
	into := r.buffer(size)
	defer r.scratch.Put(into)
	text, err := r.unpackFrame((*buf)[:packed], size, *into)
	if err != nil {
		return fr, last, size + packed, err
	}
	first, _, ok := lineKeys(text)
	last, _, ok2 := lineKeys(text[bytes.LastIndexByte(text[:len(text)-1], '\n')+1:])
	if !ok || !ok2 {
		return fr, last, size + packed, errKeys
	}
	return frame{first: first, offset: at, packed: packed, size: size, rows: int64(bytes.Count(text, []byte{'\n'}))}, last, 0, nil
}

// frame returns the sizes of the zstd frame at an offset: zstd says how long
// the text is, but the end of the frame is found by going from block to block.
//
// Source: RFC 8878, sections 3.1.1.1 and 3.1.1.2.
func (f *file) frame(at int64) (packed, size int64, err error) {
	head := make([]byte, min(zstd.HeaderMaxSize, f.size-at))
	if err := f.read(head, at); err != nil {
		return 0, 0, err
	}
	var h zstd.Header
	if err := h.Decode(head); err != nil {
		return 0, 0, err
	}
	if h.Skippable || !h.HasFCS || !h.HasCheckSum || h.FrameContentSize == 0 || h.FrameContentSize > maxFrameBytes {
		return 0, 0, errors.New("no frame of a capture starts here")
	}
	pos := at + int64(h.HeaderSize)
	for blocks := 0; ; blocks++ {
		var b [3]byte
		if f.size-pos < 3 {
			return 0, 0, f.damage(f.size, fmt.Errorf("the file ends inside a frame: %w", io.ErrUnexpectedEOF))
		}
		if err := f.read(b[:], pos); err != nil {
			return 0, 0, err
		}
		block := int64(b[0]) | int64(b[1])<<8 | int64(b[2])<<16
		isLast, kind, n := block&1 == 1, block>>1&3, block>>3
		switch kind {
		case 1: // one byte, repeated
			n = 1
		case 3:
			return 0, 0, errors.New("reserved block type")
		}
		pos += 3 + n
		if isLast {
			break
		}
		if pos-at > maxFrameBytes || blocks > maxBlocks {
			return 0, 0, fmt.Errorf("a frame of more than %d bytes or %d blocks", maxFrameBytes, maxBlocks)
		}
	}
	pos += 4 // the checksum
	if pos > f.size {
		return 0, 0, f.damage(f.size, fmt.Errorf("the file ends inside a frame: %w", io.ErrUnexpectedEOF))
	}
	return pos - at, int64(h.FrameContentSize), nil
}

// search returns the offset of the next occurrence of what at or after an
// offset, or the size of the file.
func (f *file) search(at int64, what string) int64 {
	buf := make([]byte, 256<<10)
	for at < f.size {
		p := buf[:min(int64(len(buf)), f.size-at)]
		if err := f.read(p, at); err != nil {
			return f.size
		}
		if i := bytes.Index(p, []byte(what)); i >= 0 {
			return at + int64(i)
		}
		if int64(len(p)) == f.size-at {
			break
		}
		at += int64(len(p) - len(what) + 1)
	}
	return f.size
}
