package diff_test

import (
	"context"
	"fmt"

	"github.com/taskhub-tools/taskhub/diff"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
)

func ExampleHubs() {
	before, err := snapshot.Open("../testdata/hubs/dtfx-2.9.1.taskhub", snapshot.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer before.Close()
	after, err := snapshot.Open("../testdata/hubs/dtfx-2.9.1-purge-damaged.taskhub", snapshot.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer after.Close()

	opts := diff.Options{Only: []diff.Dataset{diff.Instances}}
	for d, err := range diff.Hubs(context.Background(), before, after, opts) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(d.Kind, d.InstanceID)
	}
	// Output:
	// removed order-1
	// removed weird/large\id#?
}
