package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
)

func readDoc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestExitCodesDocument(t *testing.T) {
	doc := readDoc(t, "exit-codes.md")
	var want []string
	for _, code := range slices.Sorted(maps.Keys(exitMeaning)) {
		want = append(want, fmt.Sprintf("| %d | %s |", code, exitMeaning[code]))
	}
	got := regexp.MustCompile(`(?m)^\| \d+ \|.*\|$`).FindAllString(doc, -1)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("docs/exit-codes.md (-exit.go +document):\n%s", diff)
	}
}

// documented returns the fields that docs/json.md has for each type.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	fields := make(map[string][]string)
	section := ""
	row := regexp.MustCompile("^\\| `([^`]+)` \\|")
	for line := range strings.Lines(readDoc(t, "json.md")) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			section = strings.TrimSpace(title)
		} else if m := row.FindStringSubmatch(line); m != nil {
			fields[section] = append(fields[section], m[1])
		}
	}
	if len(fields) == 0 {
		t.Fatal("docs/json.md has no section with fields")
	}
	return fields
}

// structFields returns the paths of the fields that a Go type has in JSON.
func structFields(typ reflect.Type, prefix string) []string {
	var paths []string
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		path := prefix + name
		paths = append(paths, path)
		inner := f.Type
		if inner.Kind() == reflect.Slice {
			inner, path = inner.Elem(), path+"[]"
		}
		if inner.Kind() == reflect.Struct {
			paths = append(paths, structFields(inner, path+".")...)
		}
	}
	return paths
}

func TestJSONDocument(t *testing.T) {
	doc := documented(t)
	for kind, v := range map[string]any{
		"export": exportReport{}, "info": infoReport{}, "hub": hubReport{}, "message": messageLine{}, "queue": queueLine{}, "page": pageReport{}, "not-found": notFoundReport{}, "error": messageReport{},
		"serving": serveReport{},
	} {
		if diff := cmp.Diff(structFields(reflect.TypeOf(v), ""), doc[kind]); diff != "" {
			t.Errorf("docs/json.md, %s (-program +document):\n%s", kind, diff)
		}
	}

	// What is printed of real hubs has no other fields, and for documents that
	// have no type in Go none is documented that never occurs.
	seen := make(map[string]map[string]bool)
	for _, rec := range testhub.Recordings {
		hub := testhub.HubFile(t, rec.Name)
		collect(t, seen, "info", "--snapshot", hub)
		collect(t, seen, "get-instances", "--snapshot", hub, "--top", "1000")
		collect(t, seen, "export", "--snapshot", hub, "--out", filepath.Join(t.TempDir(), "out"))
		collect(t, seen, "get-runtime-status", "--snapshot", hub, "--id", "no such instance")
		collect(t, seen, "hubs", "--snapshot", hub)
		collect(t, seen, "queues", "--snapshot", hub)
		collect(t, seen, "list-entities", "--snapshot", hub, "--include-deleted")
		if rec.Name == "dtfx-2.9.1" {
			var stdout bytes.Buffer
			run(t.Context(), []string{"taskhub", "get-instances", "--snapshot", hub, "--top", "1000", "--json"}, &stdout, io.Discard)
			for line := range strings.Lines(stdout.String()) {
				var v struct{ OrchestrationInstance struct{ InstanceId string } }
				if err := json.Unmarshal([]byte(line), &v); err != nil {
					t.Fatal(err)
				}
				if id := v.OrchestrationInstance.InstanceId; id != "" { // not the last line
					collect(t, seen, "get-history", "--snapshot", hub, "--id="+id)
				}
			}
		}
	}
	for kind, fields := range seen {
		for f := range fields {
			if !slices.Contains(doc[kind], f) {
				t.Errorf("docs/json.md, %s: no field %s", kind, f)
			}
		}
	}
	for _, kind := range []string{"instance", "entity", "event", "warning"} {
		for _, f := range doc[kind] {
			if !seen[kind][f] {
				t.Errorf("docs/json.md, %s: field %s is never printed", kind, f)
			}
		}
	}
}

// collect runs a command with --json and adds the paths of what it prints.
func collect(t *testing.T, seen map[string]map[string]bool, args ...string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), append(append([]string{"taskhub"}, args...), "--json"), &stdout, &stderr)
	if code != exitDone && code != exitSkipped {
		t.Errorf("taskhub %q: exit code %d: %s", args, code, &stderr)
	}
	for line := range strings.Lines(stdout.String() + stderr.String()) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Errorf("taskhub %q: %v in %s", args, err, line)
			continue
		}
		kind, _ := v["type"].(string)
		if seen[kind] == nil {
			seen[kind] = make(map[string]bool)
		}
		addPaths(seen[kind], "", v, kind == "event")
	}
}

// addPaths adds the paths of an object. Objects whose keys are values are not
// looked into, nor with flat any.
func addPaths(paths map[string]bool, prefix string, v map[string]any, flat bool) {
	for name, inner := range v {
		path := prefix + name
		paths[path] = true
		if flat || name == "by_status" || name == "Tags" || name == "state" {
			continue
		}
		switch inner := inner.(type) {
		case map[string]any:
			addPaths(paths, path+".", inner, false)
		case []any:
			for _, e := range inner {
				if e, ok := e.(map[string]any); ok {
					addPaths(paths, path+"[].", e, false)
				}
			}
		}
	}
}

// An export of a capture that is not whole says so.
func TestIncompleteCapture(t *testing.T) {
	path := filepath.Join(t.TempDir(), "part.taskhub")
	w, err := snapshot.Create(path, snapshot.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Container(hub.Container{Name: "part-largemessages"}); err != nil {
		t.Fatal(err)
	}
	missing := []hub.Unreadable{{Artifact: "table PartHistory", Reason: "not authorised"}}
	if err := w.Close(hub.Info{Names: hub.Names{TaskHub: "Part"}, Unreadable: missing}); err != nil {
		t.Fatal(err)
	}
	for _, out := range []string{filepath.Join(t.TempDir(), "out"), "-"} {
		var stdout, stderr bytes.Buffer
		args := []string{"taskhub", "export", "--snapshot", path, "--dataset", "history", "--out", out}
		code := run(t.Context(), args, &stdout, &stderr)
		want := "taskhub: table PartHistory is not in the capture: not authorised\n"
		if code != exitSkipped || !strings.Contains(stderr.String(), want) {
			t.Errorf("taskhub %q: exit code %d, want %d; stderr %q, want %q in it", args, code, exitSkipped, &stderr, want)
		}
	}
}

// A capture that holds nothing of a hub.
func TestNoHub(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none.taskhub")
	w, err := snapshot.Create(path, snapshot.WriterOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(hub.Info{Names: hub.Names{TaskHub: "None"}}); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	for _, args := range [][]string{
		{"info"},
		{"export", "--out", out},
		{"get-instances"},
		{"get-runtime-status", "--id", "a"},
		{"get-history", "--id", "a"},
		{"get-entity", "--id", "@a@b"},
		{"list-entities"},
		{"queues"},
		{"hubs"},
	} {
		var stdout, stderr bytes.Buffer
		code := run(t.Context(), append(append([]string{"taskhub"}, args...), "--snapshot", path), &stdout, &stderr)
		if want := "taskhub: hub \"None\": not found\n"; code != exitNotFound || stdout.Len() > 0 || stderr.String() != want {
			t.Errorf("taskhub %q: exit code %d, want %d; stdout %q, stderr %q, want %q", args, code, exitNotFound, &stdout, &stderr, want)
		}
	}
	if _, err := os.Stat(out); err == nil {
		t.Errorf("%s was made", out)
	}
}
