package verify_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/verify"
)

// expectation is the file beside a hub under testdata/damaged. It says what has
// to be found there: nothing more, nothing less.
type expectation struct {
	Undamaged    bool       `json:"undamaged"`
	Defect       string     `json:"defect"`
	Findings     []expected `json:"findings"`
	BaseFindings []expected `json:"base_findings"`
	// Unknown says of how many instances some checks cannot tell.
	Unknown map[string]int64 `json:"unknown"`
}

type expected struct {
	Code       string          `json:"code"`
	Severity   verify.Severity `json:"severity"`
	InstanceID string          `json:"instance_id"` // * is any
	At         []string        `json:"at"`          // places, or what they begin with
	Heals      bool            `json:"heals"`
}

// is reports whether f is the finding that was expected.
func (e *expected) is(f *verify.Finding) bool {
	if f.Code != e.Code || f.Severity != e.Severity || (f.Heals != "") != e.Heals || e.InstanceID != "*" && e.InstanceID != f.InstanceID {
		return false
	}
	for _, want := range e.At {
		if !slices.ContainsFunc(f.At, func(p verify.Place) bool { return within(p.String(), want) }) {
			return false
		}
	}
	return true
}

// within reports whether a place is the one named, or a part of it.
func within(place, of string) bool {
	rest, ok := strings.CutPrefix(place, of)
	return ok && (rest == "" || strings.HasSuffix(of, "/") || rest[0] == '/' || rest[0] == '.')
}

func (e expected) String() string {
	s := fmt.Sprintf("%s %s of %q at %v", e.Severity, e.Code, e.InstanceID, e.At)
	if e.Heals {
		s += ", heals"
	}
	return s
}

func damagedHubs(t *testing.T) map[string]expectation {
	t.Helper()
	paths, err := filepath.Glob(testhub.Testdata(t, "damaged", "*.taskhub"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d damaged hubs, %v", len(paths), err)
	}
	all := make(map[string]expectation)
	for _, path := range paths {
		path = strings.TrimSuffix(path, ".taskhub")
		text, err := os.ReadFile(path + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var e expectation
		if err := json.Unmarshal(text, &e); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if e.Undamaged != (len(e.Findings) == 0) || e.Undamaged == (e.Defect != "") {
			t.Errorf("%s: it must either be undamaged or have a defect with findings", path)
		}
		all[filepath.Base(path)] = e
	}
	return all
}

// TestDamagedChecks checks that there is a damaged hub for each check.
func TestDamagedChecks(t *testing.T) {
	covered := make(map[string]bool)
	for _, e := range damagedHubs(t) {
		for _, f := range e.Findings {
			covered[f.Code] = true
		}
	}
	var checks []string
	for _, c := range verify.Checks() {
		checks = append(checks, c.Code)
	}
	slices.Sort(checks)
	if diff := cmp.Diff(checks, slices.Sorted(maps.Keys(covered))); diff != "" {
		t.Errorf("checks and the codes that damaged hubs have (-checks +hubs):\n%s", diff)
	}
}

// TestDamaged checks that each check finds its own defect, where it is and as
// severe as it is, and that no other check finds anything.
func TestDamaged(t *testing.T) {
	for name, want := range damagedHubs(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := snapshot.Open(testhub.Testdata(t, "damaged", name+".taskhub"), snapshot.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			findings, summary := verify.Hub(t.Context(), r, verify.Options{ReadBlobs: true})
			left := slices.Concat(want.Findings, want.BaseFindings)
			for f, err := range findings {
				if err != nil {
					t.Fatal(err)
				}
				if i := slices.IndexFunc(left, func(e expected) bool { return e.is(&f) }); i >= 0 {
					left = slices.Delete(left, i, i+1)
					continue
				}
				t.Errorf("found %s %s of %q at %v: %s (heals: %q)", f.Severity, f.Code, f.InstanceID, f.At, f.Detail, f.Heals)
			}
			for _, e := range left {
				t.Errorf("not found: %v", e)
			}
			for _, o := range summary.Checks {
				if unknown, ok := want.Unknown[o.Code]; ok && o.Unknown != unknown {
					t.Errorf("%s cannot tell of %d instances, want %d", o.Code, o.Unknown, unknown)
				}
			}
		})
	}
}
