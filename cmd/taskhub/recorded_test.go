package main

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// recordedState is what the framework's client said of one instance.
type recordedState struct {
	InstanceID         string            `json:"instanceId"`
	ExecutionID        *string           `json:"executionId"`
	Name               *string           `json:"name"`
	Version            *string           `json:"version"`
	Status             string            `json:"status"`
	CustomStatus       *string           `json:"customStatus"`
	CreatedTime        string            `json:"createdTime"`
	LastUpdatedTime    string            `json:"lastUpdatedTime"`
	CompletedTime      string            `json:"completedTime"`
	ScheduledStartTime *string           `json:"scheduledStartTime"`
	Generation         *int              `json:"generation"`
	Tags               map[string]string `json:"tags"`
	Input              *string           `json:"input"`
	Output             *string           `json:"output"`
	History            []json.RawMessage `json:"history"`
}

// printedState is what our commands print of one instance.
type printedState struct {
	CompletedTime         string
	CompressedSize        int
	CreatedTime           string
	Input                 *string
	LastUpdatedTime       string
	Name                  *string
	OrchestrationInstance struct {
		InstanceId  string
		ExecutionId *string
	}
	OrchestrationStatus int
	Output              *string
	ParentInstance      any
	Size                int
	Status              *string
	Tags                map[string]string
	Version             *string
	Generation          *int
	ScheduledStartTime  *string
	FailureDetails      any
}

// stateKeys are the keys of the framework's OrchestrationState in its order.
var stateKeys = []string{
	"CompletedTime", "CompressedSize", "CreatedTime", "Input", "LastUpdatedTime", "Name", "OrchestrationInstance",
	"InstanceId", "ExecutionId", "OrchestrationStatus", "Output", "ParentInstance", "Size", "Status", "Tags",
	"Version", "Generation", "ScheduledStartTime", "FailureDetails",
}

// tagsInBlob is the one known difference: the framework's client does not look
// for tags that are too large for their column, and tells of none. We load them.
var tagsInBlob = map[string]string{"dtfx-2.9.1-odd": "big-tags"}

// want returns the state as our commands should print it.
func (r *recordedState) want() printedState {
	p := printedState{
		CompletedTime: r.CompletedTime, CreatedTime: r.CreatedTime, Input: r.Input, LastUpdatedTime: r.LastUpdatedTime,
		Name: r.Name, OrchestrationStatus: int(schema.StatusNamed(r.Status)), Output: r.Output, Status: r.CustomStatus,
		Tags: r.Tags, Version: r.Version, Generation: r.Generation, ScheduledStartTime: r.ScheduledStartTime,
	}
	p.OrchestrationInstance.InstanceId = r.InstanceID
	p.OrchestrationInstance.ExecutionId = r.ExecutionID
	return p
}

// taskhub runs the program and returns what it prints to stdout. It cannot run
// twice at the same time: the library has one flag for the help of all programs.
func taskhub(t *testing.T, wantCode int, args ...string) []byte {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(t.Context(), append([]string{"taskhub"}, args...), &stdout, &stderr); code != wantCode {
		t.Fatalf("taskhub %q: exit code %d, want %d; stderr:\n%s", args, code, wantCode, &stderr)
	}
	if stderr.Len() > 0 {
		t.Errorf("taskhub %q: stderr:\n%s", args, &stderr)
	}
	return stdout.Bytes()
}

// The commands tell of every recorded instance what the framework told.
func TestRecordedStates(t *testing.T) {
	tested := 0
	for _, rec := range testhub.Recordings {
		state := testhub.Recorded(t, rec.Name, "state.json")
		if state == nil {
			continue
		}
		tested++
		t.Run(rec.Name, func(t *testing.T) {
			var all []recordedState
			if err := json.Unmarshal(state, &all); err != nil {
				t.Fatal(err)
			}
			hub := testhub.HubFile(t, rec.Name)
			listed := listAll(t, hub)
			others := 0
			for i := range all {
				want := &all[i]
				got, ok := listed[want.InstanceID]
				if !ok && rec.Names.TrackingPrefix != "" {
					others++ // the framework's list mixes up the hubs of a shared store
					continue
				}
				delete(listed, want.InstanceID)
				if tagsInBlob[rec.Name] == want.InstanceID {
					if want.Tags != nil || got.Tags["tenant"] != "contoso" {
						t.Errorf("tags of %q: the framework told %v, we %v", want.InstanceID, want.Tags, got.Tags)
					}
					want.Tags = got.Tags
				}
				if diff := cmp.Diff(want.want(), got); diff != "" {
					t.Errorf("get-instances: %q (-framework +taskhub):\n%s", want.InstanceID, diff)
				}
				text := taskhub(t, exitDone, "get-runtime-status", "--snapshot", hub, "--id", want.InstanceID, "--show-input", "--show-output")
				if diff := cmp.Diff(want.want(), decode(t, text)); diff != "" {
					t.Errorf("get-runtime-status: %q (-framework +taskhub):\n%s", want.InstanceID, diff)
				}
				compareHistory(t, hub, want)
			}
			for id := range listed {
				t.Errorf("get-instances lists %q, which the framework does not", id)
			}
			if rec.Names.TrackingPrefix != "" && others != len(all)/2 {
				t.Errorf("%d of %d instances of the shared store are not in this hub, want half of them", others, len(all))
			}
		})
	}
	if tested == 0 {
		t.Fatal("no recording has a state.json")
	}
}

// listAll lists a hub page by page, each token leading to the next.
func listAll(t *testing.T, hub string) map[string]printedState {
	t.Helper()
	found := make(map[string]printedState)
	token := ""
	for {
		text := taskhub(t, exitDone, "get-instances", "--snapshot", hub, "--top", "7", "--continuation-token", token)
		array, last, ok := bytes.Cut(text, []byte("\nContinuation token for next set of results: '"))
		if !ok {
			t.Fatalf("no continuation token in:\n%s", text)
		}
		var elements []json.RawMessage
		if err := json.Unmarshal(array, &elements); err != nil {
			t.Fatal(err)
		}
		for _, e := range elements {
			s := decode(t, e)
			found[s.OrchestrationInstance.InstanceId] = s
		}
		token = strings.TrimSuffix(string(last), "'\n")
		if token == "" {
			return found
		}
	}
}

func decode(t *testing.T, text []byte) printedState {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var s printedState
	if err := d.Decode(&s); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	if diff := cmp.Diff(stateKeys, keys(t, text, "Tags")); diff != "" {
		t.Errorf("keys (-framework +taskhub):\n%s", diff)
	}
	return s
}

// keys returns the keys of a document in their order, those inside the object
// called skip left out.
func keys(t *testing.T, text []byte, skip string) []string {
	t.Helper()
	var found []string
	var open []bool // for each level whether it is an object
	isKey, skipped := false, -1
	for d := json.NewDecoder(bytes.NewReader(text)); ; {
		tok, err := d.Token()
		if err == io.EOF {
			return found
		}
		if err != nil {
			t.Fatal(err)
		}
		switch v := tok.(type) {
		case json.Delim:
			if v == '{' || v == '[' {
				open = append(open, v == '{')
				isKey = v == '{'
				continue
			}
			open = open[:len(open)-1]
			if skipped == len(open) {
				skipped = -1
			}
		case string:
			if isKey {
				if skipped < 0 {
					found = append(found, v)
				}
				if v == skip && skipped < 0 {
					skipped = len(open)
				}
				isKey = false
				continue
			}
		}
		if skipped == len(open) {
			skipped = -1 // it was not an object
		}
		isKey = len(open) > 0 && open[len(open)-1]
	}
}

// compareHistory compares get-history with the framework's events, member by
// member and in the order of the members. EventType is a name with us.
func compareHistory(t *testing.T, hub string, want *recordedState) {
	t.Helper()
	text := taskhub(t, exitDone, "get-history", "--snapshot", hub, "--id", want.InstanceID)
	var got []json.RawMessage
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("get-history of %q: %v", want.InstanceID, err)
	}
	if len(got) != len(want.History) {
		t.Errorf("get-history: %q has %d events, the framework told %d", want.InstanceID, len(got), len(want.History))
		return
	}
	for i := range got {
		ours := compact(t, got[i])
		theirs := compact(t, want.History[i])
		var v struct{ EventType int }
		if err := json.Unmarshal([]byte(theirs), &v); err != nil {
			t.Fatal(err)
		}
		number, name := []byte(`"EventType":`), []byte(`"EventType":"`+schema.EventType(v.EventType).String()+`"`)
		at := bytes.Index([]byte(theirs), number)
		end := at + len(number) + strings.IndexAny(theirs[at+len(number):], ",}")
		theirs = theirs[:at] + string(name) + theirs[end:]
		if ours != theirs && !sameKeys(t, ours, theirs) {
			t.Errorf("get-history: %q, event %d:\nframework %.2000s\ntaskhub   %.2000s", want.InstanceID, i, theirs, ours)
		}
	}
}

// sameKeys reports whether two documents are equal but for keys that version
// 1.x of the framework does not print: the keys are those of version 2.9.1.
func sameKeys(t *testing.T, ours, theirs string) bool {
	t.Helper()
	var a, b map[string]any
	for text, v := range map[string]*map[string]any{ours: &a, theirs: &b} {
		if err := json.Unmarshal([]byte(text), v); err != nil {
			t.Fatal(err)
		}
	}
	for _, k := range []string{"GenerateNewTrace", "Tags"} {
		if _, ok := b[k]; !ok {
			delete(a, k)
		}
	}
	if f, ok := b["FailureDetails"].(map[string]any); ok {
		addProperties(f)
	}
	return cmp.Equal(a, b)
}

func addProperties(f map[string]any) {
	if _, ok := f["Properties"]; !ok {
		f["Properties"] = nil
	}
	if inner, ok := f["InnerFailure"].(map[string]any); ok {
		addProperties(inner)
	}
}

func compact(t *testing.T, doc []byte) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, doc); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
