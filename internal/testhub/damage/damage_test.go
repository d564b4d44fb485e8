package main

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/taskhub-tools/taskhub/internal/testhub"
)

// TestCommitted checks that the damaged hubs under testdata are what this
// command makes, byte for byte.
func TestCommitted(t *testing.T) {
	out := t.TempDir()
	if err := makeAll(t.Context(), testhub.Testdata(t), out); err != nil {
		t.Fatal(err)
	}
	made, committed := files(t, out), files(t, testhub.Testdata(t, "damaged"))
	if len(made) == 0 {
		t.Fatal("nothing was made")
	}
	for _, name := range slices.Sorted(maps.Keys(made)) {
		data, ok := committed[name]
		switch {
		case !ok:
			t.Errorf("%s is not there", name)
		case !bytes.Equal(data, made[name]):
			t.Errorf("%s has %d bytes that differ from the %d made", name, len(data), len(made[name]))
		}
		delete(committed, name)
	}
	for name := range committed {
		t.Errorf("%s is not made by anything", name)
	}
}

func files(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]byte)
	for _, e := range entries {
		if all[e.Name()], err = os.ReadFile(filepath.Join(dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return all
}
