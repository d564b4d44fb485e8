package export

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/taskhub-tools/taskhub/export/internal/parquet"
)

// folder is the output folder of a run. Every path goes through an os.Root, so
// that nothing is written outside it whatever a name in a hub contains.
//
// Datasets are written below DATASET.partial and renamed when all are whole; the
// manifest comes last. What an interrupted run has left under partial names is
// removed by the next.
type folder struct {
	root     *os.Root
	opts     *Options
	made     []string // folders that did not exist before, the innermost first
	current  *datasetFolder
	finished []string // datasets that are whole
	renamed  []string // datasets under their final names
}

const partialSuffix = ".partial"

func openFolder(dir string, o *Options) (*folder, error) {
	f := &folder{opts: o}
	for p := filepath.Clean(dir); ; p = filepath.Dir(p) {
		if _, err := os.Stat(p); !errors.Is(err, os.ErrNotExist) {
			break
		}
		f.made = append(f.made, p)
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("output folder: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("output folder: %w", err)
	}
	f.root = root
	for _, name := range append(datasetNames(o), ManifestName) {
		_, err := root.Lstat(name)
		if err == nil && !o.Overwrite {
			return nil, errors.Join(errExists{path.Join(dir, name)}, root.Close())
		}
	}
	for _, d := range Datasets {
		if err := root.RemoveAll(string(d) + partialSuffix); err != nil {
			return nil, errors.Join(fmt.Errorf("remove what an interrupted export left: %w", err), root.Close())
		}
	}
	return f, nil
}

func datasetNames(o *Options) []string {
	names := make([]string, len(o.Datasets))
	for i, d := range o.Datasets {
		names[i] = string(d)
	}
	return names
}

// begin starts a dataset.
func (f *folder) begin(t *table, s *parquet.Schema) (*datasetFolder, error) {
	d := &datasetFolder{
		folder: f, table: t, schema: s, dir: string(t.dataset) + partialSuffix,
		parts: map[string]*part{},
	}
	if err := f.root.Mkdir(d.dir, 0o777); err != nil {
		return nil, fmt.Errorf("output folder: %w", err)
	}
	f.current = d
	return d, nil
}

// commit gives the datasets their final names and writes the manifest.
func (f *folder) commit(m *Manifest) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	tmp := ManifestName + partialSuffix
	if err := f.root.WriteFile(tmp, append(b, '\n'), 0o666); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	if f.opts.Overwrite {
		// The old manifest would describe files that are about to change.
		if err := f.root.RemoveAll(ManifestName); err != nil {
			return fmt.Errorf("replace the manifest: %w", err)
		}
	}
	if f.opts.Overwrite {
		// All datasets, or the folder would mix two exports.
		for _, d := range Datasets {
			if err := f.root.RemoveAll(string(d)); err != nil {
				return fmt.Errorf("replace %s: %w", d, err)
			}
		}
	}
	for _, name := range f.finished {
		if err := f.root.Rename(name+partialSuffix, name); err != nil {
			return fmt.Errorf("output folder: %w", err)
		}
		f.renamed = append(f.renamed, name)
	}
	if err := f.root.Rename(tmp, ManifestName); err != nil {
		return fmt.Errorf("manifest: %w", err)
	}
	return f.root.Close()
}

// abandon removes what this run has written.
func (f *folder) abandon() error {
	var errs []error
	if f.current != nil {
		errs = append(errs, f.current.closeFiles(), f.root.RemoveAll(f.current.dir))
	}
	for _, name := range f.finished {
		errs = append(errs, f.root.RemoveAll(name+partialSuffix))
	}
	for _, name := range f.renamed {
		errs = append(errs, f.root.RemoveAll(name))
	}
	errs = append(errs, f.root.RemoveAll(ManifestName+partialSuffix), f.root.Close())
	for _, p := range f.made {
		if os.Remove(p) != nil {
			break // someone else has put something there
		}
	}
	return errors.Join(errs...)
}

// maxOpenFiles bounds the part files that are open at once; with many folders
// the one unused for longest is closed and opened again when it is needed.
const maxOpenFiles = 100

// datasetFolder writes the part files of one dataset.
type datasetFolder struct {
	folder *folder
	table  *table
	schema *parquet.Schema
	dir    string
	parts  map[string]*part // the part being written, by hive folder
	counts map[string]int   // parts begun, by hive folder
	open   []*part          // with an open file, the latest used last
	done   []PartEntry
}

// append implements output.
func (d *datasetFolder) append(hive string, c chunk) (int64, error) {
	p := d.parts[hive]
	if p == nil {
		var err error
		if p, err = d.newPart(hive); err != nil {
			return 0, err
		}
		d.parts[hive] = p
	}
	before := p.bytes
	if err := p.write(c); err != nil {
		return 0, fmt.Errorf("write %s: %w", p.path, err)
	}
	n := p.bytes - before
	if p.bytes >= d.folder.opts.PartBytes {
		delete(d.parts, hive)
		return n, d.finishPart(p)
	}
	return n, nil
}

func (d *datasetFolder) newPart(hive string) (*part, error) {
	if d.counts == nil {
		d.counts = map[string]int{}
	}
	ext := string(d.folder.opts.Format)
	p := &part{
		dataset: d, hash: sha256.New(),
		path: path.Join(d.dir, hive, fmt.Sprintf("part-%05d.%s", d.counts[hive], ext)),
	}
	d.counts[hive]++
	if hive != "" {
		if err := d.folder.root.MkdirAll(path.Join(d.dir, hive), 0o777); err != nil {
			return nil, fmt.Errorf("output folder: %w", err)
		}
	}
	if d.schema != nil {
		p.parquet = parquet.NewWriter(p, d.schema, nil)
	}
	return p, nil
}

func (d *datasetFolder) finishPart(p *part) error {
	if err := p.close(); err != nil {
		return fmt.Errorf("write %s: %w", p.path, err)
	}
	rel := string(d.table.dataset) + p.path[len(d.dir):]
	d.done = append(d.done, PartEntry{Path: rel, Rows: p.rows, Bytes: p.bytes, SHA256: hex.EncodeToString(p.hash.Sum(nil))})
	return nil
}

// finish ends the dataset.
func (d *datasetFolder) finish() (DatasetEntry, error) {
	e := DatasetEntry{Name: d.table.dataset, Columns: d.table.columns}
	if len(d.parts) == 0 && len(d.done) == 0 && len(d.folder.opts.PartitionBy) == 0 {
		// A dataset without rows still has one file, which tells its columns.
		p, err := d.newPart("")
		if err != nil {
			return e, err
		}
		d.parts[""] = p
	}
	for _, p := range d.parts {
		if err := d.finishPart(p); err != nil {
			return e, err
		}
	}
	d.parts = nil
	slices.SortFunc(d.done, func(a, b PartEntry) int {
		switch {
		case a.Path < b.Path:
			return -1
		case a.Path > b.Path:
			return 1
		}
		return 0
	})
	e.Parts = d.done
	if e.Parts == nil {
		e.Parts = []PartEntry{}
	}
	for _, p := range d.done {
		e.Rows += p.Rows
	}
	d.folder.current = nil
	d.folder.finished = append(d.folder.finished, string(d.table.dataset))
	return e, nil
}

func (d *datasetFolder) closeFiles() error {
	var errs []error
	for _, p := range d.open {
		errs = append(errs, p.file.Close())
	}
	d.open = nil
	return errors.Join(errs...)
}

// part is one part file. It is an io.Writer that counts and hashes, and opens
// its file when it is needed.
type part struct {
	dataset *datasetFolder
	path    string
	file    *os.File
	buf     *bufio.Writer
	hash    hash.Hash
	rows    int64
	bytes   int64
	parquet *parquet.Writer
}

func (p *part) write(c chunk) error {
	p.rows += c.rows
	if p.parquet != nil {
		return p.parquet.WriteRowGroup(c.group)
	}
	b := c.json
	if p.dataset.folder.opts.Format == JSON && p.bytes == 0 {
		if _, err := io.WriteString(p, "["); err != nil {
			return err
		}
		b = b[1:] // the comma of the separator
	}
	_, err := p.Write(b)
	return err
}

func (p *part) close() error {
	var err error
	switch {
	case p.parquet != nil:
		err = p.parquet.Close()
	case p.dataset.folder.opts.Format == JSON && p.bytes == 0:
		_, err = io.WriteString(p, "[]\n")
	case p.dataset.folder.opts.Format == JSON:
		_, err = io.WriteString(p, "\n]\n")
	default:
		_, err = p.Write(nil) // an empty part is a file too
	}
	if err != nil {
		return err
	}
	return p.closeFile()
}

// Write appends to the file.
func (p *part) Write(b []byte) (int, error) {
	if p.file == nil {
		if err := p.openFile(); err != nil {
			return 0, err
		}
	} else if open := p.dataset.open; open[len(open)-1] != p {
		i := slices.Index(open, p)
		p.dataset.open = append(slices.Delete(open, i, i+1), p)
	}
	p.hash.Write(b)
	n, err := p.buf.Write(b)
	p.bytes += int64(n)
	return n, err
}

func (p *part) openFile() error {
	d := p.dataset
	if len(d.open) == maxOpenFiles {
		if err := d.open[0].closeFile(); err != nil {
			return err
		}
	}
	f, err := d.folder.root.OpenFile(p.path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o666)
	if err != nil {
		return err
	}
	p.file, p.buf = f, bufio.NewWriterSize(f, 64<<10)
	d.open = append(d.open, p)
	return nil
}

// closeFile writes out what is buffered and closes the file; a later Write opens
// it again.
func (p *part) closeFile() error {
	if p.file == nil {
		return nil
	}
	err := errors.Join(p.buf.Flush(), p.file.Close())
	p.file, p.buf = nil, nil
	i := slices.Index(p.dataset.open, p)
	p.dataset.open = slices.Delete(p.dataset.open, i, i+1)
	return err
}
