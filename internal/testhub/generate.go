package testhub

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/schema"
)

// generated is the hub that Generate makes up.
var generated = hub.Names{TaskHub: "GeneratedHub"}

const (
	generatedPartitions = 4
	// generatedStart is 2026-03-01. Instances start within four days from then,
	// and what has an end has come to it half a day later.
	generatedStart = schema.Ticks(639_079_200_000_000_000)
	generatedNow   = generatedStart + 5*day
)

const (
	millisecond = schema.Ticks(time.Millisecond / 100)
	second      = 1000 * millisecond
	minute      = 60 * second
	hour        = 60 * minute
	day         = 24 * hour

	// rowDelay is how long after the history the row of the Instances table is stored.
	rowDelay = 5 * millisecond
)

// Generate writes a capture of a made-up hub with at least n History rows, as an
// in-process Functions app with framework 2.9.1 leaves it, at a moment at which a
// worker runs: about one instance for 20 rows, each with payloads in JSON of 30
// to 400 bytes. The same n gives the same bytes. It holds one instance in memory.
//
// Every history is whole and every row what its last checkpoint wrote, so that
// there is nothing to find in it. Most instances have completed, some have failed
// or were terminated. There are parents with children and continued executions,
// from 2,500 rows on entities, and of every 20 instances one or two that are
// open: Pending, Suspended, or waiting for an event, a timer, an activity or a
// child. The messages that those need are hidden: they are due later, or in work.
func Generate(path string, n int) error {
	w, err := snapshot.Create(path, snapshot.WriterOptions{Tool: "taskhub internal/testhub"})
	if err != nil {
		return err
	}
	defer w.Abort()
	g := newGenerator(n)
	var instances, rows int
	var control [generatedPartitions]int64
	var workItems int64
	err = writeTable(w, hub.History, func(t *snapshot.TableWriter) error {
		// The children of a parent come right after it.
		for ; rows < n || g.parentOf(instances) >= 0; instances++ {
			_, history := g.instance(instances)
			for i := range history {
				if err := t.Append(&history[i]); err != nil {
					return err
				}
			}
			rows += len(history)
			workItems += g.workItems
			control[schema.Partition(g.who.id, len(control))] += g.messages
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = writeTable(w, hub.Instances, func(t *snapshot.TableWriter) error {
		for i := range instances {
			row, _ := g.instance(i)
			if err := t.Append(&row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = writeTable(w, hub.Partitions, func(t *snapshot.TableWriter) error {
		for i := range control {
			row := partitionRow(generated.ControlQueue(i))
			if err := t.Append(&row); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	none := func(func(schema.QueueMessage, error) bool) {}
	for i, hidden := range control {
		if err := w.Queue(hub.Queue{Name: generated.ControlQueue(i), ApproximateCount: hidden}, none); err != nil {
			return err
		}
	}
	if err := w.Queue(hub.Queue{Name: generated.WorkItemQueue(), ApproximateCount: workItems}, none); err != nil {
		return err
	}
	if err := w.Container(hub.Container{Name: generated.AppLease(), LeaseState: "leased"}); err != nil {
		return err
	}
	return w.Close(hub.Info{
		Names: generated, Account: "generated", PartitionCount: generatedPartitions, PartitionCountFrom: hub.FromPartitionsTable,
		Started: generatedNow, Finished: generatedNow,
	})
}

func writeTable(w *snapshot.Writer, table hub.Table, write func(*snapshot.TableWriter) error) error {
	t, err := w.Table(table, generated.Table(table))
	if err != nil {
		return err
	}
	if err := write(t); err != nil {
		return err
	}
	return t.Close(generatedNow, generatedNow)
}

func partitionRow(queue string) schema.Row {
	renewed := generatedNow - 4*second
	return schema.Row{RowKey: queue, Timestamp: renewed + 30*millisecond, ETag: etag(renewed + 30*millisecond), Properties: []schema.Property{
		text("CurrentOwner", "generated-worker-1"),
		date("OwnedSince", generatedStart-hour), date("LastRenewal", renewed), date("ExpiresAt", renewed+30*second),
		{Name: "IsDraining", Value: schema.Boolean(false)},
	}}
}

// GeneratedID returns the ID of an instance of Generate(path, n), counted from 0
// in the order of keys.
func GeneratedID(n, instance int) string { return newGenerator(n).identify(instance).id }

type generator struct {
	// Instances from entities to others are entities, and there are fewer than of.
	// Keys of entities come between those that begin with 9 and with a.
	entities, others, of int
	source               *rand.PCG
	r                    *rand.Rand
	rowKeys              []string

	// The instance in the making.
	who   identity
	state state
	now   schema.Ticks
	rows  []schema.Row
	next  int32 // EventId of the next action
	// first is the row that began the episode, began its time.
	first int
	began schema.Ticks
	// checkpoint and stored are when the last episode was committed, by the clock
	// of the worker and of the service.
	checkpoint, stored schema.Ticks
	// messages and workItems are how many messages the open work of the instance
	// has in the control queue and in the queue of activities.
	messages, workItems int64
}

// identity is what others may know of an instance without making it.
type identity struct {
	id, execution, name string
	// created is when the start was requested, began when the first episode did.
	created, began schema.Ticks
	parent         *identity
	child          int // of the parent, from 0
}

// state is the row of the Instances table.
type state struct {
	status, input, custom, output         string
	created, updated, completed, schedule schema.Ticks
	generation, hasOutput                 bool
}

// blockSize instances have one of each kind, in the same order.
const blockSize = 20

// newGenerator returns a generator for n history rows: a block has about
// 390, and there is room for a few more of them.
func newGenerator(n int) *generator {
	source := rand.NewPCG(0, 0)
	blocks := n/370 + 4
	g := &generator{of: blocks * blockSize, entities: blocks * 3 / 5 * blockSize, source: source, r: rand.New(source)}
	g.others = g.entities + (1+blocks/50)*blockSize
	return g
}

func (g *generator) isEntity(i int) bool { return i >= g.entities && i < g.others }

// parentOf returns the parent of an instance, -1 if it has none.
func (g *generator) parentOf(i int) int {
	switch place := i % blockSize; {
	case g.isEntity(i):
	case place == 3 || place == 4:
		return i - place + 2
	case place == 14 && waitingFamily(i):
		return i - 1
	}
	return -1
}

func waitingFamily(i int) bool { return i/blockSize%4 == 3 }

// identify tells who an instance is. Keys ascend with i.
func (g *generator) identify(i int) identity {
	var who identity
	var parent *identity
	if p := g.parentOf(i); p >= 0 {
		p := g.identify(p)
		parent = &p
	}
	g.source.Seed(2026, uint64(i))
	who.execution = g.hex(32)
	who.created = generatedStart + 4*day/schema.Ticks(g.of)*schema.Ticks(i) + g.upTo(20*millisecond)
	who.name = pick(g.r, orchestrators)
	switch {
	case g.isEntity(i):
		who.id = entityID(i)
		who.name = who.id
		who.created = generatedNow - 6*hour - g.upTo(4*hour) // long after the last call
	case parent != nil:
		who.parent, who.child = parent, i-g.parentOf(i)-1
		who.id = parent.id + ":" + strconv.Itoa(who.child)
		who.created = parent.began + 3000*schema.Ticks(who.child+1)
	default:
		// The first digits rise evenly, so that keys are spread like GUIDs and yet
		// come in order.
		const letters, all = uint64(0xA << 32), uint64(1 << 36)
		digits := letters / uint64(g.entities) * uint64(i)
		if i >= g.others {
			digits = letters + (all-letters)/uint64(g.of-g.others)*uint64(i-g.others)
		}
		who.id = fmt.Sprintf("%09x%s", digits, g.hex(23))
		if g.r.IntN(5) == 0 {
			who.id = fmt.Sprintf("%s-order-%07d", who.id[:12], i)
		}
	}
	who.began = who.created + 2*millisecond + g.upTo(400*millisecond)
	return who
}

func entityID(i int) string { return fmt.Sprintf("@cart@customer-%07d", i) }

// instance makes an instance: its row and its history, which is valid until the
// next call.
func (g *generator) instance(i int) (schema.Row, []schema.Row) {
	place, block := i%blockSize, i/blockSize
	switch {
	case g.isEntity(i):
		g.entity(i)
	case place == 2:
		g.family(i)
	case place == 3 || place == 4:
		g.start(g.identify(i), false)
		for range 2 + g.r.IntN(2) {
			g.activity()
		}
		g.complete("Completed", g.receipt())
	case place == 7:
		g.start(g.identify(i), true)
		g.continued(block%2 == 0)
	case place == 10:
		g.open(i, block%5)
	case place == 13 && waitingFamily(i):
		child := g.identify(i + 1)
		g.start(g.identify(i), false)
		g.createChild(child)
		g.commit()
	case place == 14 && waitingFamily(i):
		g.start(g.identify(i), false)
		g.activity()
		g.commit() // waits for an event
	default:
		g.start(g.identify(i), false)
		g.orchestration()
	}
	if len(g.rows) > 0 {
		sentinel := g.row(schema.SentinelRowKey)
		sentinel.Properties = append(sentinel.Properties, text("ExecutionId", g.who.execution),
			schema.Property{Name: "IsCheckpointComplete", Value: schema.Boolean(true)}, date("CheckpointCompletedTimestamp", g.checkpoint))
		g.store(len(g.rows) - 1)
	}
	return g.instanceRow(), g.rows
}

// orchestration ends an instance after some steps.
func (g *generator) orchestration() {
	for range 3 + g.r.IntN(4) {
		if failed := g.step(); failed != "" && g.r.IntN(4) == 0 {
			g.complete("Failed", "Orchestrator function '"+g.who.name+"' failed: The activity function '"+failed+
				"' failed: \"The gateway did not answer\". See the function execution logs for additional details.")
			return
		}
	}
	if g.r.IntN(40) > 0 {
		g.complete("Completed", g.receipt())
		return
	}
	const reason = "The customer has cancelled the order"
	g.commit() // waits for an event
	sent := g.pass(hour)
	g.begin()
	g.message("ExecutionTerminated", sent, text("Input", reason))
	g.complete("Terminated", reason)
}

// family makes a parent whose two children have completed.
func (g *generator) family(i int) {
	type result struct {
		child  identity
		at     schema.Ticks
		output string
	}
	var results []result
	for child := i + 1; g.parentOf(child) == i; child++ {
		g.instance(child)
		results = append(results, result{g.who, g.state.updated - 10, g.state.output})
	}
	g.start(g.identify(i), false)
	for _, r := range results {
		g.createChild(r.child)
	}
	slices.SortFunc(results, func(a, b result) int { return int(a.at - b.at) })
	for _, r := range results {
		g.commit()
		g.now = max(g.now, r.at)
		g.begin()
		g.message("SubOrchestrationInstanceCompleted", r.at, number("TaskScheduledId", int32(r.child.child)), text("Result", r.output))
	}
	g.activity()
	g.complete("Completed", g.receipt())
}

func (g *generator) createChild(child identity) {
	g.now = child.created - 200
	g.action("SubOrchestrationInstanceCreated", text("Name", child.name), text("Version", ""), text("InstanceId", child.id), text("Tags", "null"))
}

// continued makes the latest execution of an orchestration that continues as new:
// it comes to its end or waits for the next round.
//
// Recorded in instances eternal and eternal-waiting of hub dtfx-2.9.1.
func (g *generator) continued(end bool) {
	if !end {
		g.openTimer()
		return
	}
	for range 3 + g.r.IntN(2) {
		g.activity()
	}
	g.complete("Completed", g.receipt())
}

// open makes an instance that is not at its end.
func (g *generator) open(i, kind int) {
	who := g.identify(i)
	switch kind {
	case 0: // a start that is due later
		g.reset(who)
		g.state.status, g.state.generation, g.state.input = "Pending", true, g.order()
		g.state.schedule = generatedNow + minute + g.upTo(day)
		g.state.updated = who.created + 10*millisecond
		g.stored = g.state.updated
		g.messages++
		return
	case 1:
		// The activity has been in work for no longer than one may be.
		who.created = generatedNow - 2*minute
		who.began = who.created + g.upTo(second)
	}
	g.start(who, false)
	g.activity()
	switch kind {
	case 1:
		g.schedule(pick(g.r, activities))
		g.commit()
		g.workItems++
	case 2:
		g.openTimer()
	case 3:
		const reason = "The warehouse is closed"
		g.commit()
		sent := g.pass(hour)
		g.begin()
		g.message("ExecutionSuspended", sent, text("Reason", reason))
		g.state.status, g.state.output, g.state.hasOutput = "Suspended", reason, true
		g.commit()
	default:
		g.commit() // waits for an event
	}
}

// openTimer ends the last episode with a timer that is due later.
func (g *generator) openTimer() {
	g.action("TimerCreated", date("FireAt", g.began+(generatedNow-g.began)/second*second+minute+g.upTo(20*hour)))
	g.commit()
	g.messages++
}

// entity makes an idle entity. The signals that it had were those of clients,
// which leave nothing in its state.
//
// Recorded in hub functions-3.
func (g *generator) entity(i int) {
	g.reset(g.identify(i))
	g.began = g.who.began
	g.now = g.began
	g.state.input = fmt.Sprintf(`{"exists":true,"state":"{\"items\":%d,\"total\":%d.%02d}","sorter":{}}`, 1+g.r.IntN(20), g.r.IntN(900), g.r.IntN(100))
	g.state.custom = `{"entityExists":true}`
	g.who.created = g.now - 200
	g.add("OrchestratorStarted", -1, false, g.now)
	g.started()
	g.now += 25
	g.closed(true)
}

func (g *generator) reset(who identity) {
	g.who, g.state, g.now = who, state{created: who.created, custom: "null"}, who.began
	g.rows, g.next, g.first = g.rows[:0], 0, 0
	g.messages, g.workItems = 0, 0
}

// start begins the first episode of an instance, or of one that has continued as
// new: the episode that this was decided in, which began earlier, is not stored.
func (g *generator) start(who identity, continued bool) {
	g.reset(who)
	g.state.input, g.state.generation = g.order(), who.parent == nil
	if g.r.IntN(10) == 0 {
		g.state.custom = fmt.Sprintf(`{"step":%d,"message":"%s"}`, 1+g.r.IntN(5), pick(g.r, activities))
	}
	if continued {
		g.who.created = who.began - 180
	}
	g.began = g.now
	g.add("OrchestratorStarted", -1, false, g.now)
	if continued {
		g.started()
		g.now += 16
		g.add("OrchestratorCompleted", -1, true, g.now)
		return
	}
	if who.parent == nil {
		g.started(number("Generation", 0))
	} else {
		g.started()
	}
}

// started adds the ExecutionStarted.
func (g *generator) started(generation ...schema.Property) {
	parent := "null"
	if p := g.who.parent; p != nil {
		parent = `{"Name":"` + p.name + `","OrchestrationInstance":{"InstanceId":"` + p.id + `","ExecutionId":"` + p.execution +
			`"},"TaskScheduleId":` + strconv.Itoa(g.who.child) + `,"Version":""}`
	}
	g.state.created, g.state.status = g.who.created, "Running"
	g.message("ExecutionStarted", g.who.created, append(generation,
		text("ParentInstance", parent), text("Name", g.who.name), text("Version", ""), text("Input", g.state.input), text("Tags", "null"),
		text("ParentTraceContext", "null"), schema.Property{Name: "GenerateNewTrace", Value: schema.Boolean(false)},
		text("OrchestrationInstance", `{"InstanceId":"`+g.who.id+`","ExecutionId":"`+g.who.execution+`"}`))...)
}

// begin begins an episode.
func (g *generator) begin() {
	g.now += millisecond + g.upTo(40*millisecond)
	g.first, g.began = len(g.rows), g.now
	g.add("OrchestratorStarted", -1, false, g.now)
}

// commit ends an episode and stores it.
func (g *generator) commit() {
	g.now += 10 + g.upTo(1000)
	g.closed(false)
}

func (g *generator) closed(played bool) {
	g.add("OrchestratorCompleted", -1, played, g.now)
	g.state.updated = g.now
	g.checkpoint = g.now + millisecond + g.upTo(5*millisecond)
	g.stored = g.checkpoint + 2*millisecond + g.upTo(30*millisecond)
	for i := g.first; i < len(g.rows); i++ {
		g.store(i)
	}
	g.now = g.stored + rowDelay
}

// store gives a row the time at which the service has stored it.
func (g *generator) store(i int) {
	r := &g.rows[i]
	r.Timestamp = g.stored + schema.Ticks(2*(i-g.first))
	r.ETag = etag(r.Timestamp)
}

// complete ends the execution.
func (g *generator) complete(status, result string) {
	g.action("ExecutionCompleted", text("OrchestrationStatus", status), text("Result", result), text("FailureDetails", "null"))
	g.state.status, g.state.output, g.state.hasOutput = status, result, true
	g.commit()
	g.state.completed = g.checkpoint - 190
}

// step does what an orchestrator waits for. It returns the activity that has failed,
// if one has.
func (g *generator) step() (failed string) {
	switch g.r.IntN(40) {
	case 0, 1, 2:
		g.timer()
	case 3:
		g.approval()
	case 4:
		g.call()
	default:
		return g.activity()
	}
	return ""
}

func (g *generator) schedule(activity string) int32 {
	return g.action("TaskScheduled", text("Name", activity), text("Version", ""), text("ParentTraceContext", "null"), text("Tags", "null"))
}

func (g *generator) activity() (failed string) {
	name := pick(g.r, activities)
	id := g.schedule(name)
	g.commit()
	done := g.pass(400 * millisecond)
	g.begin()
	if g.r.IntN(20) > 0 {
		g.message("TaskCompleted", done, number("TaskScheduledId", id), text("Result", g.receipt()))
		return ""
	}
	g.message("TaskFailed", done, number("TaskScheduledId", id), text("Reason", "Activity function '"+name+"' failed: The gateway did not answer"),
		text("Details", `{"$type":"System.TimeoutException, System.Private.CoreLib","ClassName":"System.TimeoutException",`+
			`"Message":"The gateway did not answer","Data":null,"InnerException":null,"HelpURL":null,"StackTraceString":"   at Gateway.Send()",`+
			`"RemoteStackTraceString":null,"RemoteStackIndex":0,"ExceptionMethod":null,"HResult":-2146233083,"Source":"Gateway","WatsonBuckets":null}`),
		text("FailureDetails", "null"))
	return name
}

// timer waits for a timer. Its message is made with it, and becomes visible up to
// a second before it is due.
//
// Source: durabletask 2.9.1, TaskOrchestrationDispatcher.cs:1236-1266; recorded in
// instance retry of hub dtfx-2.9.1.
func (g *generator) timer() {
	due := g.began + 2*second + schema.Ticks(g.r.IntN(3600))*second
	id := g.action("TimerCreated", date("FireAt", due))
	made := g.now + 8
	g.commit()
	g.now = due - 60*millisecond - g.upTo(880*millisecond)
	g.begin()
	g.message("TimerFired", made, number("TimerId", id), date("FireAt", due))
}

// approval waits for an event of a client.
func (g *generator) approval() {
	g.commit()
	sent := g.pass(hour)
	g.begin()
	g.message("EventRaised", sent, text("Name", "Approval"), text("Input", g.receipt()), text("ParentTraceContext", "null"))
}

// call calls an entity.
//
// Recorded in instance ecall-1 of hub functions-3.
func (g *generator) call() {
	h := g.hex(32)
	id := h[:8] + "-" + h[8:12] + "-5" + h[13:16] + "-8" + h[17:20] + "-" + h[20:]
	g.action("EventSent", text("InstanceId", entityID(g.entities+g.r.IntN(g.others-g.entities))), text("Name", "op"),
		text("Input", `{"$type":"Microsoft.Azure.WebJobs.Extensions.DurableTask.RequestMessage, Microsoft.Azure.WebJobs.Extensions.DurableTask",`+
			`"op":"Add","input":"`+strconv.Itoa(g.r.IntN(100))+`","id":"`+id+`","parent":"`+g.who.id+`","parentExecution":"`+g.who.execution+
			`","Timestamp":"`+string(g.began.AppendTrimmed(nil))+`","Predecessor":"0001-01-01T00:00:00"}`))
	g.commit()
	answered := g.pass(400 * millisecond)
	g.begin()
	g.message("EventRaised", answered, text("Name", id), text("Input", `{"result":"10"}`), text("ParentTraceContext", "null"))
}

// message adds an event that was sent to the instance.
func (g *generator) message(kind string, sent schema.Ticks, props ...schema.Property) {
	g.add(kind, -1, true, sent, props...)
}

// action adds an event that the orchestrator has caused and returns its EventId.
func (g *generator) action(kind string, props ...schema.Property) int32 {
	g.now += 20 + g.upTo(100)
	g.add(kind, g.next, false, g.now, props...)
	g.next++
	return g.next - 1
}

func (g *generator) add(kind string, eventID int32, played bool, at schema.Ticks, props ...schema.Property) {
	n := len(g.rows)
	for n >= len(g.rowKeys) {
		g.rowKeys = append(g.rowKeys, schema.FormatSequence(int64(len(g.rowKeys))))
	}
	r := g.row(g.rowKeys[n])
	r.Properties = append(append(r.Properties, props...),
		number("EventId", eventID), schema.Property{Name: "IsPlayed", Value: schema.Boolean(played)}, date("_Timestamp", at),
		text("EventType", kind), text("ExecutionId", g.who.execution))
}

// row adds a row, in the memory of an earlier one.
func (g *generator) row(rowKey string) *schema.Row {
	n := len(g.rows)
	if n < cap(g.rows) {
		g.rows = g.rows[:n+1]
	} else {
		g.rows = append(g.rows, schema.Row{})
	}
	r := &g.rows[n]
	r.PartitionKey, r.RowKey, r.Properties = g.who.id, rowKey, r.Properties[:0]
	return r
}

func (g *generator) instanceRow() schema.Row {
	s := &g.state
	props := []schema.Property{
		text("Input", s.input), date("CreatedTime", s.created), text("Name", g.who.name), text("Version", ""), text("RuntimeStatus", s.status),
		date("LastUpdatedTime", s.updated), text("TaskHubName", generated.TaskHub), text("ExecutionId", g.who.execution), text("Tags", "null"),
	}
	if s.generation {
		props = append(props, number("Generation", 0))
	}
	if s.schedule != 0 {
		props = append(props, date("ScheduledStartTime", s.schedule))
	}
	if len(g.rows) > 0 { // by a checkpoint
		props = append(props, text("CustomStatus", s.custom))
	}
	if s.completed != 0 {
		props = append(props, date("CompletedTime", s.completed))
	}
	if s.hasOutput {
		props = append(props, text("Output", s.output))
	}
	at := g.stored + rowDelay
	return schema.Row{PartitionKey: g.who.id, Timestamp: at, ETag: etag(at), Properties: props}
}

func text(name, value string) schema.Property {
	return schema.Property{Name: name, Value: schema.String(value)}
}

func date(name string, value schema.Ticks) schema.Property {
	return schema.Property{Name: name, Value: schema.DateTime(value)}
}

func number(name string, value int32) schema.Property {
	return schema.Property{Name: name, Value: schema.Int32(value)}
}

var (
	orchestrators = []string{"OrderProcessing", "NightlyReconciliation", "CustomerOnboarding", "DataImport", "Approval"}
	activities    = []string{
		"ValidateOrder", "ReserveInventory", "ChargePayment", "SendConfirmation", "CreateShipment", "NotifyWarehouse",
		"FetchProfile", "CalculateTaxes", "ApplyDiscounts", "GenerateInvoice", "UploadToBlob", "AuditLog",
	}
	cities   = []string{"Amsterdam", "Berlin", "Köln", "Singapore", "Seattle", "São Paulo", "大阪", "Lyon"}
	products = []string{"desk lamp", "standing desk", "usb-c cable", `monitor 27"`, "keyboard", "notebook A5", "paper clips", "coffee 1kg"}
)

func pick(r *rand.Rand, of []string) string { return of[r.IntN(len(of))] }

// upTo returns a time of at least one tick.
func (g *generator) upTo(t schema.Ticks) schema.Ticks { return 1 + schema.Ticks(g.r.Int64N(int64(t))) }

// pass lets time pass and returns the time.
func (g *generator) pass(t schema.Ticks) schema.Ticks {
	g.now += g.upTo(t)
	return g.now
}

func etag(at schema.Ticks) string {
	var space [40]byte
	s := at.Append(space[:0])
	b := make([]byte, 0, 56)
	b = append(append(b, `W/"datetime'`...), s[:13]...)
	b = append(append(b, "%3A"...), s[14:16]...)
	b = append(append(b, "%3A"...), s[17:]...)
	return string(append(b, `'"`...))
}

func (g *generator) hex(n int) string {
	var b [16]byte
	for i := 0; i < len(b); i += 8 {
		binary.LittleEndian.PutUint64(b[i:], g.r.Uint64())
	}
	var text [32]byte
	hex.Encode(text[:], b[:])
	return string(text[:n])
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
