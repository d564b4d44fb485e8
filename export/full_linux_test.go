package export_test

import "syscall"

// makeFull makes a file that no byte can be written to, as on a full disk:
// another /dev/full. Only root may.
func makeFull(path string) error {
	return syscall.Mknod(path, syscall.S_IFCHR|0o666, 1<<8|7)
}
