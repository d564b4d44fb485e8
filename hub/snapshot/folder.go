package snapshot

import (
	"errors"
	"os"
	"path/filepath"
)

// sink takes the files of a capture, one after the other.
type sink interface {
	create(name string) error
	Write(p []byte) (int, error)
	finish() error
	put(name string, data []byte) error
	// close brings everything to disk.
	close() error
}

var (
	_ sink = (*zipWriter)(nil)
	_ sink = (*folderWriter)(nil)
)

// folderWriter writes the files of a capture into a folder.
type folderWriter struct {
	dir     string
	made    map[string]bool // folders
	current *os.File
}

func newFolderWriter(dir string) *folderWriter {
	return &folderWriter{dir: dir, made: make(map[string]bool)}
}

func (d *folderWriter) create(name string) error {
	path := filepath.Join(d.dir, filepath.FromSlash(name))
	for parent := filepath.Dir(path); len(parent) > len(d.dir) && !d.made[parent]; parent = filepath.Dir(parent) {
		if err := os.MkdirAll(parent, 0o777); err != nil {
			return err
		}
		d.made[parent] = true
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	d.current = f
	return nil
}

func (d *folderWriter) Write(p []byte) (int, error) { return d.current.Write(p) }

func (d *folderWriter) finish() error {
	f := d.current
	d.current = nil
	return errors.Join(f.Sync(), f.Close())
}

func (d *folderWriter) put(name string, data []byte) error {
	if err := d.create(name); err != nil {
		return err
	}
	_, err := d.Write(data)
	return errors.Join(err, d.finish())
}

func (d *folderWriter) close() error {
	for dir := range d.made {
		syncFolder(dir)
	}
	syncFolder(d.dir)
	return nil
}

// syncFolder brings new names in a folder to disk where the system can do that.
func syncFolder(dir string) {
	if f, err := os.Open(dir); err == nil {
		_ = f.Sync() // not possible on Windows and some file systems
		_ = f.Close()
	}
}
