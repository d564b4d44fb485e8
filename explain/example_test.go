package explain_test

import (
	"context"
	"fmt"
	"os"

	"github.com/taskhub-tools/taskhub/explain"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
)

// What an instance of a capture is doing.
func ExampleInstance() {
	hub, err := snapshot.Open("../testdata/hubs/dtfx-2.9.1.taskhub", snapshot.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	defer hub.Close()
	report, err := explain.Instance(context.Background(), hub, "long-timer", explain.Options{})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return
	}
	fmt.Println(report.Verdict)
	for _, a := range report.Awaits {
		fmt.Println(a.Kind, a.EventID, a.Where, a.Messages[0].Queue)
	}
	// Output:
	// long-timer is Running for 8s; waits for timer 0, due in 59m52s, whose message is hidden until then, as it should be.
	// timer 0 hidden labhub-control-03
}
