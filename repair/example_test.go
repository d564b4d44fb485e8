package repair_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/repair"
)

// A plan of a capture says what would be written.
func ExamplePlan() {
	capture, err := snapshot.Open(filepath.FromSlash("../testdata/damaged/status-drift-status.taskhub"), snapshot.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer capture.Close()
	f, err := repair.Plan(context.Background(), capture, repair.Options{Now: time.Now})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range f.Repairs {
		fmt.Println(r.InstanceID, strings.Join(r.Codes(), ", "))
		for _, w := range r.Writes {
			for _, column := range w.Columns {
				fmt.Println(" ", w.Table, column, w.Before.Get(column), "->", w.After.Get(column))
			}
		}
	}
	// Output:
	// hello status-drift
	//   Instances RuntimeStatus Running -> Completed
}

// What a run has kept becomes a file that takes it back.
func ExampleParseFile() {
	journal, err := os.ReadFile("testdata/plan.undo.jsonl")
	if err != nil {
		fmt.Println(err)
		return
	}
	f, err := repair.ParseFile(bytes.NewReader(journal))
	if err != nil {
		fmt.Println(err)
		return
	}
	w := f.Repairs[0].Writes[0]
	fmt.Println(f.Kind, f.TaskHub, f.Repairs[0].InstanceID, w.Before.Get("RuntimeStatus"), "->", w.After.Get("RuntimeStatus"))
	// Output: undo LabHub hello Completed -> Running
}
