//go:build !linux

package export_test

import "errors"

func makeFull(string) error { return errors.ErrUnsupported }
