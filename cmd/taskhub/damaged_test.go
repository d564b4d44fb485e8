package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/internal/testhub"
)

// damagedFinding is what the lines of verify have in common with the files beside the
// damaged hubs.
type damagedFinding struct {
	Type       string `json:"type"`
	Code       string `json:"code"`
	Severity   string `json:"severity"`
	InstanceID string `json:"instance_id"`
}

// TestVerifyDamaged runs verify on each damaged hub: what it prints is what is
// wrong there, and the exit code tells whether it is more than evidence.
func TestVerifyDamaged(t *testing.T) {
	paths, err := filepath.Glob(testhub.Testdata(t, "damaged", "*.taskhub"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d damaged hubs, %v", len(paths), err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".taskhub"), func(t *testing.T) {
			text, err := os.ReadFile(strings.TrimSuffix(path, ".taskhub") + ".json")
			if err != nil {
				t.Fatal(err)
			}
			var expected struct {
				Findings     []damagedFinding `json:"findings"`
				BaseFindings []damagedFinding `json:"base_findings"`
			}
			if err := json.Unmarshal(text, &expected); err != nil {
				t.Fatal(err)
			}
			code := exitDone
			var want []string
			anyID := make(map[string]bool) // findings whose instance is not looked at
			for _, f := range slices.Concat(expected.Findings, expected.BaseFindings) {
				if f.InstanceID == "*" {
					anyID[f.Code] = true
				}
				if f.Severity != "info" {
					code = exitFindings
				}
			}
			line := func(f damagedFinding) string {
				if anyID[f.Code] {
					f.InstanceID = "*"
				}
				return fmt.Sprintf("%s %s %q", f.Severity, f.Code, f.InstanceID)
			}
			for _, f := range slices.Concat(expected.Findings, expected.BaseFindings) {
				want = append(want, line(f))
			}

			var stdout, stderr bytes.Buffer
			args := []string{"taskhub", "verify", "--snapshot", path, "--read-blobs", "--fail-on", "warning", "--json"}
			last := 0 // lines of stderr: that there were findings
			if code == exitFindings {
				last = 1
			}
			if got := run(t.Context(), args, &stdout, &stderr); got != code || strings.Count(stderr.String(), "\n") != last {
				t.Errorf("exit code %d, want %d; stderr %q, want %d lines", got, code, &stderr, last)
			}
			var got []string
			lines := strings.SplitAfter(stdout.String(), "\n")
			for i, text := range lines[:len(lines)-1] {
				var f damagedFinding
				if err := json.Unmarshal([]byte(text), &f); err != nil {
					t.Fatalf("line %d: %v", i+1, err)
				}
				wantType := "finding"
				if i == len(lines)-2 {
					wantType = "summary"
				} else {
					got = append(got, line(f))
				}
				if f.Type != wantType {
					t.Errorf("line %d is a %s, want a %s", i+1, f.Type, wantType)
				}
			}
			slices.Sort(want)
			slices.Sort(got)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}
