package testhub

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/schema"
)

// generated is the hub that Generate makes up.
var generated = hub.Names{TaskHub: "GeneratedHub"}

// generatedStart is 2026-03-01, when the first generated instance starts.
const generatedStart = schema.Ticks(639_079_200_000_000_000)

// Generate writes a capture of a made-up hub with at least n History rows, in
// the shapes of framework 2.9.1: about one instance for 20 rows, each with
// payloads in JSON of 30 to 400 bytes. The same n gives the same bytes. It
// holds one instance in memory.
func Generate(path string, n int) error {
	w, err := snapshot.Create(path, snapshot.WriterOptions{Tool: "taskhub internal/testhub"})
	if err != nil {
		return err
	}
	defer w.Abort()
	history, err := w.Table(hub.History, generated.Table(hub.History))
	if err != nil {
		return err
	}
	g := newGenerator(n)
	instances, rows := 0, 0
	for ; rows < n; instances++ {
		_, events := g.instance(instances)
		for i := range events {
			if err := history.Append(&events[i]); err != nil {
				return err
			}
		}
		rows += len(events)
	}
	if err := history.Close(g.end, g.end); err != nil {
		return err
	}
	table, err := w.Table(hub.Instances, generated.Table(hub.Instances))
	if err != nil {
		return err
	}
	for i := range instances {
		row, _ := g.instance(i)
		if err := table.Append(&row); err != nil {
			return err
		}
	}
	if err := table.Close(g.end, g.end); err != nil {
		return err
	}
	const partitions = 4
	none := func(func(schema.QueueMessage, error) bool) {}
	for i := range partitions {
		if err := w.Queue(hub.Queue{Name: generated.ControlQueue(i)}, none); err != nil {
			return err
		}
	}
	if err := w.Queue(hub.Queue{Name: generated.WorkItemQueue()}, none); err != nil {
		return err
	}
	return w.Close(hub.Info{
		Names: generated, Account: "generated", PartitionCount: partitions, PartitionCountFrom: hub.FromControlQueues,
		Started: g.end, Finished: g.end,
	})
}

// GeneratedID returns the ID of an instance of Generate(path, n), counted from 0
// in the order of keys.
func GeneratedID(n, instance int) string {
	g := newGenerator(n)
	row, _ := g.instance(instance)
	return row.PartitionKey
}

type generator struct {
	of  int // no more than this many instances
	end schema.Ticks

	r    *rand.Rand
	now  schema.Ticks
	rows []schema.Row
}

// newGenerator returns a generator for n history rows: an instance has at least
// 17 of them.
func newGenerator(n int) *generator { return &generator{of: n/17 + 1} }

var (
	orchestrators = []string{"OrderProcessing", "NightlyReconciliation", "CustomerOnboarding", "DataImport", "Approval"}
	activities    = []string{
		"ValidateOrder", "ReserveInventory", "ChargePayment", "SendConfirmation", "CreateShipment", "NotifyWarehouse",
		"FetchProfile", "CalculateTaxes", "ApplyDiscounts", "GenerateInvoice", "UploadToBlob", "AuditLog",
	}
	cities   = []string{"Amsterdam", "Berlin", "Köln", "Singapore", "Seattle", "São Paulo", "大阪", "Lyon"}
	products = []string{"desk lamp", "standing desk", "usb-c cable", `monitor 27"`, "keyboard", "notebook A5", "paper clips", "coffee 1kg"}
)

// instance makes up one instance: its row and its history. Keys ascend with i.
func (g *generator) instance(i int) (schema.Row, []schema.Row) {
	g.r = rand.New(rand.NewPCG(2026, uint64(i)))
	g.now = generatedStart + schema.Ticks(i)*40_000_000
	g.rows = g.rows[:0]
	// The first digits rise evenly, so that keys are spread like GUIDs and yet
	// come in order.
	const span = 1 << 36
	id := fmt.Sprintf("%09x%s", uint64(i)*(span/uint64(g.of+1)), g.hex(23))
	if g.r.IntN(5) == 0 {
		id = fmt.Sprintf("%s-order-%07d", id[:12], i)
	}
	execution := g.hex(32)
	name := pick(g.r, orchestrators)
	input := g.order()
	created := g.tick(50)
	event := func(kind string, eventID int32, played bool, props ...schema.Property) {
		at := g.tick(40)
		g.rows = append(g.rows, schema.Row{
			PartitionKey: id, RowKey: schema.FormatSequence(int64(len(g.rows))), Timestamp: at + 200_000, ETag: etag(at + 200_000),
			Properties: append(
				props,
				schema.Property{Name: "EventId", Value: schema.Int32(eventID)},
				schema.Property{Name: "IsPlayed", Value: schema.Boolean(played)},
				schema.Property{Name: "_Timestamp", Value: schema.DateTime(at)},
				schema.Property{Name: "EventType", Value: schema.String(kind)},
				schema.Property{Name: "ExecutionId", Value: schema.String(execution)},
			),
		})
	}
	text := func(name, value string) schema.Property {
		return schema.Property{Name: name, Value: schema.String(value)}
	}

	event("OrchestratorStarted", -1, false)
	event("ExecutionStarted", -1, true,
		text("ParentInstance", "null"), text("Name", name), text("Version", ""), text("Input", input), text("Tags", "null"),
		text("ParentTraceContext", "null"), schema.Property{Name: "Generation", Value: schema.Int32(0)},
		schema.Property{Name: "GenerateNewTrace", Value: schema.Boolean(false)},
		text("OrchestrationInstance", `{"InstanceId":"`+id+`","ExecutionId":"`+execution+`"}`))
	steps := 3 + g.r.IntN(4)
	for step := range steps {
		if step > 0 {
			event("OrchestratorStarted", -1, false)
		}
		task := int32(step)
		switch {
		case g.r.IntN(10) == 0:
			due := g.now + schema.Ticks(g.r.IntN(86_400))*10_000_000
			event("TimerCreated", task, false, schema.Property{Name: "FireAt", Value: schema.DateTime(due)})
			event("OrchestratorCompleted", -1, false)
			event("TimerFired", -1, true, schema.Property{Name: "TimerId", Value: schema.Int32(task)},
				schema.Property{Name: "FireAt", Value: schema.DateTime(due)})
		case g.r.IntN(20) == 0:
			event("TaskScheduled", task, false, text("Name", pick(g.r, activities)), text("Version", ""),
				text("ParentTraceContext", "null"), text("Tags", "null"))
			event("OrchestratorCompleted", -1, false)
			event("TaskFailed", -1, true, schema.Property{Name: "TaskScheduledId", Value: schema.Int32(task)},
				text("Reason", "The gateway did not answer"), text("Details", "TimeoutException: "+g.receipt()), text("FailureDetails", "null"))
		default:
			event("TaskScheduled", task, false, text("Name", pick(g.r, activities)), text("Version", ""),
				text("ParentTraceContext", "null"), text("Tags", "null"))
			event("OrchestratorCompleted", -1, false)
			event("TaskCompleted", -1, true, schema.Property{Name: "TaskScheduledId", Value: schema.Int32(task)}, text("Result", g.receipt()))
		}
	}
	output := g.receipt()
	event("OrchestratorStarted", -1, false)
	event("ExecutionCompleted", int32(steps), false, text("OrchestrationStatus", "Completed"), text("Result", output), text("FailureDetails", "null"))
	event("OrchestratorCompleted", -1, false)
	done := g.tick(20)
	g.rows = append(g.rows, schema.Row{
		PartitionKey: id, RowKey: schema.SentinelRowKey, Timestamp: done + 100_000, ETag: etag(done + 100_000),
		Properties: []schema.Property{
			text("ExecutionId", execution),
			{Name: "IsCheckpointComplete", Value: schema.Boolean(true)},
			{Name: "CheckpointCompletedTimestamp", Value: schema.DateTime(done)},
		},
	})
	g.end = max(g.end, done)
	return schema.Row{
		PartitionKey: id, Timestamp: done + 200_000, ETag: etag(done + 200_000),
		Properties: []schema.Property{
			text("Input", input),
			{Name: "CreatedTime", Value: schema.DateTime(created)},
			text("Name", name), text("Version", ""),
			text("RuntimeStatus", "Completed"),
			{Name: "LastUpdatedTime", Value: schema.DateTime(done)},
			text("TaskHubName", generated.TaskHub), text("ExecutionId", execution),
			{Name: "Generation", Value: schema.Int32(0)},
			text("Tags", "null"), text("CustomStatus", "null"),
			{Name: "CompletedTime", Value: schema.DateTime(done - 100_000)},
			text("Output", output),
		},
	}, g.rows
}

func pick(r *rand.Rand, of []string) string { return of[r.IntN(len(of))] }

// tick moves the time on by up to ms milliseconds.
func (g *generator) tick(ms int) schema.Ticks {
	g.now += schema.Ticks(1 + g.r.IntN(ms*10_000))
	return g.now
}

func etag(at schema.Ticks) string {
	s := at.String()
	return `W/"datetime'` + s[:13] + "%3A" + s[14:16] + "%3A" + s[17:] + `'"`
}

func (g *generator) hex(n int) string {
	b := make([]byte, (n+1)/2)
	for i := range b {
		b[i] = byte(g.r.Uint32())
	}
	return hex.EncodeToString(b)[:n]
}

func (g *generator) order() string {
	line := func() string {
		return fmt.Sprintf(`{"sku":"SKU-%05d","name":%q,"qty":%d,"price":%d.%02d}`,
			g.r.IntN(4000), pick(g.r, products), 1+g.r.IntN(9), g.r.IntN(500), g.r.IntN(100))
	}
	return fmt.Sprintf(`{"orderId":"%s","customerId":%d,"lines":[%s,%s],"shipTo":{"city":"%s","zip":"%05d"}}`,
		g.hex(16), 10_000+g.r.IntN(90_000), line(), line(), pick(g.r, cities), g.r.IntN(100_000))
}

func (g *generator) receipt() string {
	switch g.r.IntN(3) {
	case 0:
		return fmt.Sprintf(`{"ok":true,"elapsedMs":%d,"etag":"0x%016X","correlationId":"%s"}`, g.r.IntN(5000), g.r.Uint64(), g.hex(32))
	case 1:
		return fmt.Sprintf(`"batches/2026-03-%02d/batch-%06d.json"`, 1+g.r.IntN(28), g.r.IntN(1_000_000))
	}
	return fmt.Sprintf(`{"total":%d.%02d,"currency":"EUR","taxes":[{"code":"VAT","rate":0.21,"amount":%d.%02d}],"approved":%v}`,
		g.r.IntN(9000), g.r.IntN(100), g.r.IntN(900), g.r.IntN(100), g.r.IntN(5) > 0)
}
