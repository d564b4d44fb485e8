package repair_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/repair"
)

// planText is the plan of a damaged hub as a file.
func planText(t testing.TB, name string) string {
	t.Helper()
	var b bytes.Buffer
	if _, err := openDamaged(t, name).plan(t).WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestParseFile refuses files that are none of ours, or that were edited into what
// cannot be carried out.
func TestParseFile(t *testing.T) {
	drift, moved := planText(t, "status-drift-status"), planText(t, "message-wrong-partition")
	for _, tt := range []struct {
		name, text string
		old, new   string // replaced in text
		want       string // in the error
	}{
		{name: "nothing", want: "unexpected end of JSON input"},
		{name: "no JSON", text: "hello", want: "invalid character"},
		{name: "other JSON", text: "{}", want: `its format is ""`},
		{name: "a list", text: "[1]", want: "cannot unmarshal array"},
		{name: "cut off", text: drift[:len(drift)/2], want: "unexpected end of JSON input"},
		{name: "a later version", text: drift, old: `"version": 1`, new: `"version": 2`, want: "version 2"},
		{name: "another kind", text: drift, old: `"kind": "plan"`, new: `"kind": "guess"`, want: `kind "guess"`},
		{name: "no hub", text: drift, old: `"task_hub": "LabHub"`, new: `"task_hub": ""`, want: "it names no hub"},
		{name: "too many partitions", text: drift, old: `"partition_count": 4`, new: `"partition_count": 17`, want: "17 partitions"},
		{name: "a misspelt field", text: drift, old: `"writes"`, new: `"wrotes"`, want: `unknown field "wrotes"`},
		{name: "a table of workers", text: drift, old: `"table": "Instances",
          "columns"`, new: `"table": "Partitions",
          "columns"`, want: `a row of table "Partitions"`},
		{name: "another key", text: drift, old: `"after": {
            "PartitionKey": "hello"`, new: `"after": {
            "PartitionKey": "other"`, want: "changes its keys"},
		{name: "a column that is not named", text: drift, old: `"RuntimeStatus": "Completed"`, new: `"RuntimeStatus": "Completed", "Odd": "x"`, want: "are Odd, RuntimeStatus, and not those that the file names"},
		{name: "a queue of another hub", text: moved, old: `"queue": "backlog-control-00"`, new: `"queue": "other-control-00"`, want: `a message for queue "other-control-00"`},
		{name: "a removal from another hub", text: moved, old: `"removals": [
        {
          "queue": "backlog-control-01"`, new: `"removals": [
        {
          "queue": "other-control-00"`, want: `a message of queue "other-control-00"`},
		{name: "an unknown encoding", text: moved, old: `"encoding": "text"`, new: `"encoding": "rot13"`, want: "cannot be sent"},
		{name: "the journal of a later version", text: `{"type":"repair-undo","version":9}` + "\n", want: "version 9"},
		{name: "a journal of nothing", text: `{"type":"repair-undo","version":1,"task_hub":"H","partition_count":1}` + "\n" + `{"type":"begin","step":3,"instance_id":"a"}` + "\n", want: "step 3 does nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(tt.text, tt.old, tt.new, 1)
			if tt.old != "" && text == tt.text {
				t.Fatalf("%q is not in the plan", tt.old)
			}
			f, err := repair.ParseFile(strings.NewReader(text))
			if !errors.Is(err, repair.ErrFormat) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, %v; want an error with %q", f, err, tt.want)
			}
		})
	}
}

// A repair may be taken out of a plan, and the rest is carried out.
func TestParseFileShortened(t *testing.T) {
	d := openDamaged(t, "pending-without-start")
	e := d.edit(t)
	f := d.plan(t)
	f.Repairs = f.Repairs[:0]
	var b bytes.Buffer
	if _, err := f.WriteTo(&b); err != nil {
		t.Fatal(err)
	}
	read, err := repair.ParseFile(&b)
	if err != nil {
		t.Fatal(err)
	}
	if r := mustApply(t, e, read, new(undo)); len(r.Results) > 0 || len(e.Edits()) > 0 {
		t.Errorf("%+v, changes %v", r, e.Edits())
	}
}

// FuzzParseFile checks that no file makes ParseFile panic, and that what it reads it
// reads again.
func FuzzParseFile(f *testing.F) {
	seeds := 0
	for _, name := range []string{"status-drift-status", "message-wrong-partition", "sentinel-missing", "rewind-residue"} {
		f.Add([]byte(planText(f, name)))
		d := openDamaged(f, name)
		u := new(undo)
		mustApply(f, d.edit(f), d.plan(f), u)
		f.Add(u.Bytes())
		seeds += 2
	}
	if seeds == 0 {
		f.Fatal("no seeds")
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := repair.ParseFile(bytes.NewReader(text))
		if err != nil {
			return
		}
		var b bytes.Buffer
		if _, err := file.WriteTo(&b); err != nil {
			t.Fatal(err)
		}
		if _, err := repair.ParseFile(&b); err != nil {
			t.Errorf("%v in what was written: %s", err, &b)
		}
	})
}

// The plan is a file that other programs can read, too.
func TestFileIsPlain(t *testing.T) {
	var v struct {
		TaskHub string `json:"task_hub"`
		Repairs []struct {
			InstanceID string `json:"instance_id"`
			Findings   []struct{ Code string }
			Writes     []struct {
				Columns       []string
				Before, After map[string]any
			}
		}
	}
	if err := json.Unmarshal([]byte(planText(t, "status-drift-status")), &v); err != nil {
		t.Fatal(err)
	}
	w := v.Repairs[0].Writes[0]
	if v.TaskHub != "LabHub" || v.Repairs[0].InstanceID != "hello" || v.Repairs[0].Findings[0].Code != "status-drift" ||
		w.Columns[0] != "RuntimeStatus" || w.Before["RuntimeStatus"] != "Running" || w.After["RuntimeStatus"] != "Completed" || w.Before["odata.etag"] == "" {
		t.Errorf("%+v", v)
	}
}

var update = flag.Bool("update", false, "rewrite the golden files")

// TestGolden holds the form of the files still: scripts rely on it, and a later
// version has to read them.
func TestGolden(t *testing.T) {
	d := openDamaged(t, "status-drift-status")
	u := new(undo)
	mustApply(t, d.edit(t), d.plan(t), u)
	for name, got := range map[string]string{"plan.json": planText(t, "status-drift-status"), "plan.undo.jsonl": u.String()} {
		path := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
