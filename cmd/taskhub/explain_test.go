package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/verify"
)

// explanationFields is structFields for a type with optional objects, and with
// findings, which have a section of their own.
func explanationFields(typ reflect.Type, prefix string) []string {
	var paths []string
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		path, inner := prefix+name, f.Type
		paths = append(paths, path)
		switch inner.Kind() {
		case reflect.Slice:
			inner, path = inner.Elem(), path+"[]"
		case reflect.Pointer:
			inner = inner.Elem()
		}
		if inner.Kind() == reflect.Struct && inner != reflect.TypeFor[verify.Finding]() {
			paths = append(paths, explanationFields(inner, path+".")...)
		}
	}
	return paths
}

func TestExplanationDocument(t *testing.T) {
	if diff := cmp.Diff(explanationFields(reflect.TypeFor[explanation](), ""), documented(t)["explanation"]); diff != "" {
		t.Errorf("docs/json.md, explanation (-program +document):\n%s", diff)
	}
}

// explainJSON runs explain --json for an instance of a recorded hub.
func explainJSON(t *testing.T, recording, id string) (x explanation) {
	t.Helper()
	var stdout bytes.Buffer
	args := []string{"taskhub", "explain", "--snapshot", testhub.HubFile(t, recording), "--id=" + id, "--json"}
	if code := run(t.Context(), args, &stdout, io.Discard); code != exitDone {
		t.Fatalf("taskhub %q: exit code %d", args, code)
	}
	if err := json.Unmarshal(stdout.Bytes(), &x); err != nil {
		t.Fatal(err)
	}
	return x
}

// What explain tells of a message that can be seen, and of one that cannot.
func TestExplainMessages(t *testing.T) {
	x := explainJSON(t, "functions-3-after-write", "failing-1")
	if len(x.Awaits) != 1 || len(x.Awaits[0].Messages) != 1 {
		t.Fatalf("awaits %+v", x.Awaits)
	}
	taken := int64(0)
	want := soughtJSON{
		Queue: "funclab-control-01", InstanceID: "failing-1", EventTypes: []string{"GenericEvent"}, Where: "visible",
		Position: 5, MessageID: x.Messages[0].MessageID, Inserted: "2026-11-22T04:09:14.0000000Z", Dequeued: &taken,
	}
	if diff := cmp.Diff(want, x.Awaits[0].Messages[0]); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
	// The message's ID is that of the emulator's database.
	if all := testhub.Recorded(t, "functions-3-after-write", "queues-all/funclab-control-01.jsonl"); !bytes.Contains(all, []byte(want.MessageID)) || want.MessageID == "" {
		t.Errorf("message ID %q is not in the recorded queue", want.MessageID)
	}

	x = explainJSON(t, "dtfx-2.9.1", "long-timer")
	late := int64(-8)
	if x.SinceMS != nil {
		late = *x.SinceMS
	}
	if got := x.Awaits[0]; got.DueTime != "2026-11-22T05:07:21.8129045Z" || got.Where != "hidden" || got.OverdueMS != nil || late < 8000 || late > 9000 {
		t.Errorf("await %+v, since %d ms", got, late)
	}
	if x.Name != "LongTimer" || x.Status != "Running" || x.StatusFrom != "history" || x.RowStatus != "Running" || x.Partition.Number != 3 {
		t.Errorf("explanation %+v", x)
	}
}

// A page shows nothing that a terminal would act on, whatever the names.
func TestExplainHostileNames(t *testing.T) {
	for _, id := range []string{"ctl\x01id\x7f", "\x1b[31mred", "two\nlines", "\u202egnp.exe"} {
		page := taskhub(t, exitDone, "explain", "--snapshot", testhub.HubFile(t, "dtfx-2.9.1"), "--id="+id)
		for i, line := range strings.Split(strings.TrimSuffix(string(page), "\n"), "\n") {
			if strings.ContainsAny(line, "\x00\x01\x1b\x7f\u202e") || i > 0 && strings.HasPrefix(line, "lines") {
				t.Errorf("%q: line %q", id, line)
			}
		}
	}
}

func TestExplainEnds(t *testing.T) {
	args := []string{"taskhub", "explain", "--snapshot", testhub.HubFile(t, "dtfx-2.9.1"), "--id", "parent"}
	closed := writerFunc(func([]byte) (int, error) { return 0, syscall.EPIPE })
	var stderr bytes.Buffer
	if code := run(t.Context(), args, closed, &stderr); code != exitFailed || stderr.Len() > 0 {
		t.Errorf("into a closed pipe: exit code %d, stderr %q", code, &stderr)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var stdout bytes.Buffer
	if code := run(ctx, args, &stdout, &stderr); code != exitInterrupted || stdout.Len() > 0 || stderr.String() != "taskhub: interrupted\n" {
		t.Errorf("interrupted: exit code %d, stdout %q, stderr %q", code, &stdout, &stderr)
	}
}
