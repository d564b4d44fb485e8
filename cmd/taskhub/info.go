package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

const optCountHistory = "count-history"

func infoCommand() *cli.Command {
	return command(&cli.Command{
		Name:  "info",
		Usage: "sum a hub up",
		Description: description(
			"Shows what a hub holds: rows of its tables, instances by status and by function, messages\n"+
				"seen and counted in its queues and how old the oldest is, blobs and their size, who owns\n"+
				"the partitions and for how long, and what could not be read. Of a live hub it reads no\n"+
				"history and cannot tell the number of its rows, unless --count-history.\n\n"+
				"Whether an app is running is what its leases tell at one look: \"yes\" if any is held, and\n"+
				"up to a minute after a crash; \"maybe\" if one has just ended, which may be a matter of\n"+
				"clocks; \"no sign\" otherwise. Clients that only start instances hold no lease.",
			[]string{
				"taskhub info --snapshot orders.taskhub",
				"taskhub info --task-hub-name Orders --connection-string-setting AzureWebJobsStorage",
				"taskhub info --snapshot orders.taskhub --json | jq .instances.by_status",
			},
			exitDone, exitFailed, exitUsage, exitSkipped, exitNotFound, exitUnauthorized, exitInterrupted,
		),
		Flags: []cli.Flag{
			&cli.BoolFlag{DisableDefaultText: true, Name: optCountHistory, Usage: "count the rows of the history of a live hub, which reads all of it"},
		},
	}, runInfo)
}

func runInfo(s *session) error {
	return s.withSource(func(r hub.Reader) error {
		o, err := manage.Describe(s.ctx, r, manage.DescribeOptions{
			Now: time.Now, CountHistory: s.Bool(optCountHistory),
		})
		if err != nil {
			return err
		}
		for _, p := range o.Problems {
			s.warn(p)
		}
		report := newInfoReport(o)
		if s.json {
			return writeJSON(s.stdout, report)
		}
		return printInfo(s, o)
	})
}

// infoReport is what info --json prints; docs/json.md describes it.
type infoReport struct {
	Type               string            `json:"type"`
	TaskHub            string            `json:"task_hub"`
	TrackingPrefix     string            `json:"tracking_prefix,omitempty"`
	Account            string            `json:"account,omitempty"`
	CaptureStarted     string            `json:"capture_started,omitempty"`
	CaptureFinished    string            `json:"capture_finished,omitempty"`
	PartitionCount     int               `json:"partition_count"`
	PartitionCountFrom hub.Origin        `json:"partition_count_from,omitempty"`
	Tables             []tableReport     `json:"tables"`
	Instances          instancesReport   `json:"instances"`
	Queues             []queueReport     `json:"queues"`
	Containers         []containerReport `json:"containers"`
	Partitions         []partitionReport `json:"partitions"`
	AppLease           string            `json:"app_lease_owner,omitempty"`
	ObservedAt         string            `json:"observed_at,omitempty"`
	AppRunning         manage.Running    `json:"app_running"`
	Evidence           []string          `json:"app_running_evidence"`
	Unreadable         []hub.Unreadable  `json:"unreadable"`
}

type tableReport struct {
	Table    string `json:"table"`
	Name     string `json:"name"`
	Rows     int64  `json:"rows"`
	Started  string `json:"capture_started,omitempty"`
	Finished string `json:"capture_finished,omitempty"`
}

type instancesReport struct {
	Orchestrations int64            `json:"orchestrations"`
	Entities       int64            `json:"entities"`
	Undecodable    int64            `json:"undecodable"`
	FirstCreated   string           `json:"first_created_time,omitempty"`
	LastUpdated    string           `json:"last_updated_time,omitempty"`
	ByStatus       map[string]int64 `json:"by_status"`
	ByFunction     []functionReport `json:"by_function"`
	OtherFunctions int64            `json:"other_functions"`
}

type functionReport struct {
	Name     string           `json:"name"`
	Entity   bool             `json:"entity"`
	Total    int64            `json:"total"`
	ByStatus map[string]int64 `json:"by_status"`
}

type queueReport struct {
	Name           string `json:"name"`
	Approximate    int64  `json:"approximate_count"`
	Seen           int64  `json:"seen"`
	OldestInserted string `json:"oldest_inserted_time,omitempty"`
	OldestAgeMS    *int64 `json:"oldest_age_ms,omitempty"`
}

type containerReport struct {
	Name       string `json:"name"`
	LeaseState string `json:"lease_state,omitempty"`
	Blobs      int64  `json:"blobs"`
	SizeBytes  int64  `json:"size_bytes"`
}

type partitionReport struct {
	Queue       string `json:"queue"`
	Source      string `json:"source"`
	Owner       string `json:"owner,omitempty"`
	NextOwner   string `json:"next_owner,omitempty"`
	OwnedSince  string `json:"owned_since,omitempty"`
	LastRenewal string `json:"last_renewal,omitempty"`
	RenewalAge  *int64 `json:"last_renewal_age_ms,omitempty"`
	ExpiresAt   string `json:"expires_at,omitempty"`
	Draining    bool   `json:"draining"`
	LeaseState  string `json:"lease_state,omitempty"`
}

func newInfoReport(o *manage.Overview) infoReport {
	h, n := &o.Hub, &o.Instances
	r := infoReport{
		Type: "info", TaskHub: h.Names.TaskHub, TrackingPrefix: h.Names.TrackingPrefix, Account: h.Account,
		CaptureStarted: stamp(h.Started), CaptureFinished: stamp(h.Finished),
		PartitionCount: h.PartitionCount, PartitionCountFrom: h.PartitionCountFrom,
		Tables: []tableReport{}, Queues: []queueReport{}, Containers: []containerReport{},
		Partitions: []partitionReport{}, AppLease: o.AppLease,
		ObservedAt: stamp(o.ObservedAt), AppRunning: o.Running, Evidence: append([]string{}, o.Evidence...),
		Unreadable: append([]hub.Unreadable{}, h.Unreadable...),
		Instances: instancesReport{
			Orchestrations: n.Orchestrations, Entities: n.Entities, Undecodable: n.Undecodable,
			FirstCreated: stamp(n.FirstCreated), LastUpdated: stamp(n.LastUpdated),
			ByStatus: named(n.ByStatus), ByFunction: []functionReport{}, OtherFunctions: n.OtherFunctions,
		},
	}
	for _, t := range h.Tables {
		r.Tables = append(r.Tables, tableReport{t.Table.String(), t.Name, t.Rows, stamp(t.Started), stamp(t.Finished)})
	}
	for _, f := range n.ByFunction {
		r.Instances.ByFunction = append(r.Instances.ByFunction, functionReport{f.Name, f.Entity, f.Total, named(f.ByStatus)})
	}
	for _, q := range o.Queues {
		r.Queues = append(r.Queues, queueReport{q.Name, q.ApproximateCount, q.Seen, stamp(q.OldestInserted), ageMS(o, q.OldestInserted)})
	}
	for _, c := range o.Containers {
		r.Containers = append(r.Containers, containerReport{c.Name, c.LeaseState, c.Blobs, c.SizeBytes})
	}
	for _, p := range o.Partitions {
		r.Partitions = append(r.Partitions, partitionReport{
			p.Queue, p.Source, p.Owner, p.NextOwner, stamp(p.OwnedSince), stamp(p.LastRenewal), ageMS(o, p.LastRenewal),
			stamp(p.ExpiresAt), p.Draining, p.LeaseState,
		})
	}
	return r
}

// stamp formats a time for JSON; zero, which is unknown, is left out.
func stamp(t schema.Ticks) string {
	if t == 0 {
		return ""
	}
	return t.String()
}

// ageMS returns how old t was when the hub was looked at; nil, which is left out,
// if that is unknown.
func ageMS(o *manage.Overview, t schema.Ticks) *int64 {
	age, ok := o.Age(t)
	if !ok {
		return nil
	}
	ms := age.Milliseconds()
	return &ms
}

// ago says in brackets, with a blank before them, how old t was when the hub was
// looked at; nothing if that is unknown.
func ago(o *manage.Overview, t schema.Ticks) string {
	age, ok := o.Age(t)
	switch {
	case !ok:
		return ""
	case age < 0:
		return " (in " + ui.Duration(-age) + ")"
	}
	return " (" + past(o, age) + ")"
}

// past says how long ago something was: of a capture, how long before it.
func past(o *manage.Overview, age time.Duration) string {
	if o.Hub.Finished != 0 {
		return ui.Duration(age) + " before the capture"
	}
	return ui.Duration(age) + " ago"
}

func named(m map[schema.Status]int64) map[string]int64 {
	out := make(map[string]int64, len(m))
	for s, n := range m {
		out[s.String()] = n
	}
	return out
}

// moment formats a time for people.
func moment(t schema.Ticks) string {
	if t == 0 {
		return "-"
	}
	return t.Time().Format("2006-01-02 15:04:05Z")
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// printInfo prints an overview for people: blocks of aligned columns, each with
// a heading.
func printInfo(s *session, o *manage.Overview) error {
	h, n := &o.Hub, &o.Instances
	var head ui.Table
	head.Row("hub", h.Names.TaskHub)
	if h.Names.TrackingPrefix != "" {
		head.Row("tracking store", h.Names.TrackingPrefix+" (tables shared with other hubs)")
	}
	head.Row("account", orDash(h.Account))
	if h.Started != 0 {
		took := h.Finished.Time().Sub(h.Started.Time())
		head.Row("captured", moment(h.Started)+" to "+moment(h.Finished)+" ("+ui.Duration(took)+")")
	}
	head.Row("partitions", partitionCount(h))
	if n.FirstCreated != 0 {
		head.Row("instances", "first created "+moment(n.FirstCreated)+", last updated "+moment(n.LastUpdated))
	}
	running := map[manage.Running]string{
		manage.RunningYes: "yes", manage.RunningMaybe: "maybe", manage.RunningNoSign: "no sign of one",
	}[o.Running]
	if len(o.Evidence) > 0 {
		running += ": " + strings.Join(o.Evidence, ", ")
	}
	if o.ObservedAt != 0 {
		running += ", at " + moment(o.ObservedAt)
	}
	head.Row("app running", running)
	if o.AppLease != "" {
		head.Row("app lease", o.AppLease)
	}
	blocks := []block{
		{"", &head}, tablesBlock(h), statusBlock(n), functionsBlock(n), queuesBlock(o), containersBlock(o), partitionsBlock(o), unreadableBlock(h),
	}
	for i, b := range blocks {
		if b.table.Empty() {
			continue
		}
		if i > 0 {
			if _, err := fmt.Fprintf(s.stdout, "\n%s\n", b.title); err != nil {
				return err
			}
		}
		if err := b.table.Write(s.stdout); err != nil {
			return err
		}
	}
	return nil
}

type block struct {
	title string
	table *ui.Table
}

func newBlock(title string, right ...bool) block {
	return block{title, &ui.Table{Indent: "  ", Right: right}}
}

func partitionCount(h *hub.Info) string {
	switch h.PartitionCountFrom {
	case "":
		return "unknown"
	case hub.FromPartitionsTable:
		return fmt.Sprintf("%d (rows of the table %s)", h.PartitionCount, h.Names.Table(hub.Partitions))
	case hub.FromTaskHubJSON:
		return fmt.Sprintf("%d (blob taskhub.json)", h.PartitionCount)
	case hub.FromControlQueues:
		return fmt.Sprintf("%d (control queues found)", h.PartitionCount)
	}
	return fmt.Sprintf("%d (%s)", h.PartitionCount, h.PartitionCountFrom)
}

func tablesBlock(h *hub.Info) block {
	b := newBlock("Tables", false, true)
	for _, t := range h.Tables {
		if t.Rows < 0 {
			b.table.Row(t.Name, "not counted")
			continue
		}
		b.table.Row(t.Name, ui.Plural(t.Rows, "row", "rows"))
	}
	return b
}

func statusBlock(n *manage.InstanceCounts) block {
	b := newBlock(fmt.Sprintf("Orchestrations by status (%s)", ui.Count(n.Orchestrations)), false, true)
	for _, st := range slices.Sorted(maps.Keys(n.ByStatus)) {
		b.table.Row(st.String(), ui.Count(n.ByStatus[st]))
	}
	return b
}

func functionsBlock(n *manage.InstanceCounts) block {
	b := newBlock("Instances by function", false, true)
	for _, f := range n.ByFunction {
		name := f.Name
		if name == "" {
			name = "(no name)"
		}
		if f.Entity {
			name = "entity " + name
		}
		states := ""
		for _, st := range slices.Sorted(maps.Keys(f.ByStatus)) {
			if states != "" {
				states += ", "
			}
			states += ui.Count(f.ByStatus[st]) + " " + st.String()
		}
		b.table.Row(name, ui.Count(f.Total), states)
	}
	if n.OtherFunctions > 0 {
		b.table.Row("(other functions)", ui.Count(n.OtherFunctions))
	}
	if n.Undecodable > 0 {
		b.table.Row("(rows with a damaged value)", ui.Count(n.Undecodable))
	}
	return b
}

func queuesBlock(o *manage.Overview) block {
	b := newBlock("Queues: messages seen, and the count of the service with invisible ones", false, true, true)
	for _, q := range o.Queues {
		oldest := ""
		if q.OldestInserted != 0 {
			oldest = "oldest " + moment(q.OldestInserted) + ago(o, q.OldestInserted)
		}
		b.table.Row(q.Name, ui.Count(q.Seen)+" seen", ui.Count(q.ApproximateCount)+" counted", oldest)
	}
	return b
}

func containersBlock(o *manage.Overview) block {
	b := newBlock("Blob containers", false, true, true)
	for _, c := range o.Containers {
		lease := ""
		if c.LeaseState != "" {
			lease = "lease " + c.LeaseState
		}
		b.table.Row(c.Name, ui.Plural(c.Blobs, "blob", "blobs"), ui.Bytes(c.SizeBytes), lease)
	}
	return b
}

func partitionsBlock(o *manage.Overview) block {
	b := newBlock("Partition owners")
	for _, p := range o.Partitions {
		owner := p.Owner
		if owner == "" {
			owner = "(no owner)"
		}
		b.table.Row(p.Queue, p.Source, owner, leaseText(o, &p))
	}
	return b
}

// leaseText says what is known of a lease.
func leaseText(o *manage.Overview, p *manage.Partition) string {
	var facts []string
	if p.LastRenewal != 0 {
		facts = append(facts, "renewed "+moment(p.LastRenewal)+ago(o, p.LastRenewal))
	}
	left, known := o.Age(p.ExpiresAt)
	switch {
	case p.Owner != "" && known && left < 0:
		facts = append(facts, "ends in "+ui.Duration(-left))
	case p.Owner != "" && known:
		facts = append(facts, "ended "+past(o, left))
	case p.LeaseState != "":
		facts = append(facts, "lease "+p.LeaseState)
		if p.OwnedSince != 0 {
			facts = append(facts, "taken "+moment(p.OwnedSince)+ago(o, p.OwnedSince))
		}
	}
	if p.NextOwner != "" {
		facts = append(facts, "next owner "+p.NextOwner)
	}
	if p.Draining {
		facts = append(facts, "draining")
	}
	return strings.Join(facts, ", ")
}

func unreadableBlock(h *hub.Info) block {
	b := newBlock("Not readable")
	for _, u := range h.Unreadable {
		b.table.Row(u.Artifact, u.Reason)
	}
	return b
}
