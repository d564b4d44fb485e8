package replay_test

import (
	"fmt"

	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// exampleRows are the rows of an orchestration that has called an activity and
// waits for it and for a timer.
func exampleRows() []schema.Row {
	started := schema.Ticks(639_309_168_000_000_000)
	header := func(id int32) schema.EventHeader {
		started += 10_000
		return schema.EventHeader{EventID: id, Timestamp: started}
	}
	var rows []schema.Row
	for i, e := range []schema.Event{
		&schema.OrchestratorStarted{EventHeader: header(-1)},
		&schema.ExecutionStarted{EventHeader: header(-1), Name: schema.TextOf("Approve")},
		&schema.TaskScheduled{EventHeader: header(0), Name: schema.TextOf("AskManager")},
		&schema.TimerCreated{EventHeader: header(1), FireAt: started + 864_000_000_000},
		&schema.OrchestratorCompleted{EventHeader: header(-1)},
	} {
		h := schema.HistoryRow{PartitionKey: "order-7", RowKey: schema.FormatSequence(int64(i)), ExecutionID: "e1", Event: e}
		rows = append(rows, h.Row())
	}
	sentinel := schema.Sentinel{PartitionKey: "order-7", ExecutionID: schema.Some("e1"), IsCheckpointComplete: schema.Some(true)}
	return append(rows, sentinel.Row())
}

func Example() {
	r := replay.New("order-7", replay.Options{})
	for _, row := range exampleRows() {
		r.Add(&row)
	}
	history := r.End()
	fmt.Println(history.InstanceID, "is", history.Live.Status)
	for _, open := range history.Live.Open {
		fmt.Println("waits for", open.Kind, open.Name, "since", open.Since)
	}
	// Output:
	// order-7 is Running
	// waits for activity AskManager since 2026-11-22T04:00:00.0030000Z
	// waits for timer  since 2026-11-22T04:00:00.0040000Z
}

func ExampleCompare() {
	r := replay.New("order-7", replay.Options{})
	for _, row := range exampleRows() {
		r.Add(&row)
	}
	history := r.End()
	row := schema.Instance{
		PartitionKey: "order-7", ExecutionID: schema.Some("e1"), Name: schema.TextOf("Approve"), RuntimeStatus: schema.Some("Completed"),
		CreatedTime: schema.Some(history.Live.CreatedTime), LastUpdatedTime: schema.Some(history.Live.LastUpdatedTime),
	}
	v := replay.Compare(&row, history, replay.Loader{})
	fmt.Println("the status is", v.Status, "by the", v.StatusFrom)
	for _, d := range v.Differences {
		fmt.Printf("%s is %s, not %s\n", d.Column, d.Stored, d.Derived)
	}
	// Output:
	// the status is Running by the history
	// RuntimeStatus is Completed, not Running
}
