package live

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Found is a hub in an account, or what is left of one.
type Found struct {
	// Names opens it. Where no table tells the case of the hub's name, it is in
	// lower case. TrackingPrefix is set if its instances are in tables of
	// another name, which hubs share.
	Names hub.Names
	// Tables, Queues and Containers are what there is of it, by name and as
	// stored. Shared tables are listed with each hub that uses them.
	Tables, Queues, Containers []string
	// ControlQueues is how many of Queues are control queues.
	ControlQueues int
	// Missing lists what every hub has and this one does not: tables, or the
	// kinds of queues. A hub that was deleted in part has some, and so has one
	// whose tracking store is in another account.
	Missing []string
	// OtherCase lists other spellings of the hub's name in the names of tables
	// and the rows of shared ones. Hubs whose names differ only in case have the
	// same tables, queues and containers: in storage they are one.
	OtherCase []string
}

// Hubs lists the hubs of the account by name: everything whose tables, queues or
// containers have the names of a hub's. A single table or container could also
// be something else; it counts if its content is that of a hub.
//
// It lists the whole account, with up to two requests for each candidate that
// is a single table or container. If there are hubs without Instances, it reads
// the keys and hub names of those Instances tables that no hub seems to own.
func (a *Account) Hubs(ctx context.Context) ([]Found, error) {
	d := discovery{a: a, byName: make(map[string]*candidate)}
	if err := d.list(ctx); err != nil {
		return nil, err
	}
	if err := d.share(ctx); err != nil {
		return nil, err
	}
	var found []Found
	for _, lower := range slices.Sorted(maps.Keys(d.byName)) {
		c := d.byName[lower]
		is, err := d.isHub(ctx, c)
		if err != nil {
			return nil, err
		}
		if is {
			found = append(found, c.found(lower))
		}
	}
	return found, nil
}

type discovery struct {
	a      *Account
	byName map[string]*candidate // by the hub's name in lower case
}

// candidate is everything of one name, in whatever case.
type candidate struct {
	tables     map[string]map[hub.Table]string // by the hub's name as stored
	queues     []string
	containers []string
	prefix     string   // of the shared tables that it uses
	shared     []string // names of these tables
	store      bool     // the tables are shared by other hubs, and no hub of their own
}

func (d *discovery) candidate(name string) *candidate {
	lower := strings.ToLower(name)
	c := d.byName[lower]
	if c == nil {
		c = &candidate{tables: make(map[string]map[hub.Table]string)}
		d.byName[lower] = c
	}
	return c
}

func (d *discovery) list(ctx context.Context) error {
	for name, err := range d.a.tableList(ctx) {
		if err != nil {
			return err
		}
		for _, t := range hub.Tables {
			owner, ok := cutSuffixFold(name, t.String())
			if !ok || owner == "" {
				continue
			}
			c := d.candidate(owner)
			if c.tables[owner] == nil {
				c.tables[owner] = make(map[hub.Table]string)
			}
			c.tables[owner][t] = name
		}
	}
	for name, err := range d.a.queueList(ctx, "") {
		if err != nil {
			return err
		}
		if owner, _, ok := queueOwner(name); ok {
			c := d.candidate(owner)
			c.queues = append(c.queues, name)
		}
	}
	for found, err := range d.a.containerList(ctx, "") {
		if err != nil {
			return err
		}
		if i := strings.LastIndexByte(found.Name, '-'); i > 0 {
			if slices.Contains(hub.Names{TaskHub: found.Name[:i]}.Containers(), found.Name) {
				c := d.candidate(found.Name[:i])
				c.containers = append(c.containers, found.Name)
			}
		}
	}
	return nil
}

func cutSuffixFold(s, suffix string) (before string, ok bool) {
	n := len(s) - len(suffix)
	if n < 0 || !strings.EqualFold(s[n:], suffix) {
		return s, false
	}
	return s[:n], true
}

// tableList streams the names of all tables.
func (a *Account) tableList(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for pager := a.tables.NewListTablesPager(&aztables.ListTablesOptions{}); pager.More(); {
			var c call
			page, err := pager.NextPage(c.in(ctx))
			if err != nil {
				yield("", fmt.Errorf("list tables: %w", c.fail(ctx, err)))
				return
			}
			for _, t := range page.Tables {
				if !yield(value(t.Name), nil) {
					return
				}
			}
		}
	}
}

// share finds the tracking stores that several hubs may share, and what hubs
// use them: Instances tables without queues and containers of their own name,
// in which rows name hubs that have no Instances.
func (d *discovery) share(ctx context.Context) error {
	homeless := func(name string) *candidate {
		c := d.byName[strings.ToLower(name)]
		if c == nil || len(c.queues)+len(c.containers) == 0 || c.has(hub.Instances) {
			return nil
		}
		return c
	}
	if !slices.ContainsFunc(slices.Collect(maps.Keys(d.byName)), func(name string) bool { return homeless(name) != nil }) {
		return nil
	}
	for _, lower := range slices.Sorted(maps.Keys(d.byName)) {
		store := d.byName[lower]
		if len(store.queues)+len(store.containers) > 0 || store.has(hub.Partitions) {
			continue
		}
		for prefix, tables := range store.tables {
			names := make(map[string]bool)
			q := query{table: tables[hub.Instances], choose: "PartitionKey,RowKey," + hubColumn}
			if q.table == "" {
				continue
			}
			for r, err := range d.a.rows(ctx, q) {
				if err != nil {
					return err
				}
				if name, ok := r.Get(hubColumn).Text(); ok && !names[name] {
					names[strings.Clone(name)] = true
				}
			}
			for _, name := range slices.Sorted(maps.Keys(names)) {
				c := homeless(name)
				if c == nil {
					continue
				}
				store.store = true
				c.prefix = prefix
				c.shared = slices.Sorted(maps.Values(tables))
				if c.tables[name] == nil {
					c.tables[name] = nil // without tables of its own: only the case of the name counts
				}
			}
		}
	}
	return nil
}

func (c *candidate) has(t hub.Table) bool {
	for _, tables := range c.tables {
		if tables[t] != "" {
			return true
		}
	}
	return false
}

// isHub reports whether c is what it looks like.
func (d *discovery) isHub(ctx context.Context, c *candidate) (bool, error) {
	n := len(c.queues) + len(c.containers) + len(c.shared)
	for _, tables := range c.tables {
		n += len(tables)
	}
	switch {
	case c.store:
		return false, nil // it is listed with the hubs that use it
	case n > 1:
		return true, nil
	case len(c.queues) == 1:
		_, control, _ := queueOwner(c.queues[0])
		return control, nil
	case len(c.containers) == 1:
		return d.containerOfHub(ctx, c.containers[0])
	}
	for _, tables := range c.tables {
		for t, name := range tables {
			r, ok, err := d.a.first(ctx, query{table: name})
			if isAbsent(err) {
				return false, nil // deleted since
			}
			return ok && rowOfHub(t, &r), err
		}
	}
	return false, nil
}

// containerOfHub looks at the name of the first blob.
func (d *discovery) containerOfHub(ctx context.Context, name string) (bool, error) {
	owner, kind, _ := strings.Cut(name, "-")
	for b, err := range d.a.blobList(ctx, name, "") {
		if isAbsent(err) {
			break
		}
		if err != nil {
			return false, err
		}
		switch kind {
		case "applease":
			return b.Name == owner+"-appleaseinfo", nil
		case "leases":
			return b.Name == "taskhub.json" || strings.Contains(b.Name, "/"+owner+"-control-"), nil
		}
		return strings.HasSuffix(b.Name, ".json.gz"), nil
	}
	return false, nil
}

// rowOfHub reports whether a row has what all of its table have.
func rowOfHub(t hub.Table, r *schema.Row) bool {
	switch t {
	case hub.Instances:
		return r.RowKey == "" && (r.Get("RuntimeStatus").Type() != schema.Absent || r.Get("ExecutionId").Type() != schema.Absent)
	case hub.Partitions:
		_, control, ok := queueOwner(r.RowKey)
		return ok && control
	}
	_, ok := schema.ParseSequence(r.RowKey)
	return r.IsSentinel() || ok && r.Get("EventType").Type() != schema.Absent
}

// found returns c as what callers get.
func (c *candidate) found(lower string) Found {
	slices.Sort(c.queues)
	slices.Sort(c.containers)
	names := slices.SortedFunc(maps.Keys(c.tables), func(a, b string) int {
		return cmp.Or(len(c.tables[b])-len(c.tables[a]), strings.Compare(a, b))
	})
	if len(names) == 0 {
		names = []string{lower}
	}
	f := Found{
		Names:  hub.Names{TaskHub: names[0], TrackingPrefix: c.prefix},
		Tables: slices.Clone(c.shared), Queues: c.queues, Containers: c.containers,
		OtherCase: names[1:],
	}
	for _, tables := range c.tables {
		f.Tables = slices.AppendSeq(f.Tables, maps.Values(tables))
	}
	slices.Sort(f.Tables)
	for _, t := range []hub.Table{hub.Instances, hub.History} {
		if !slices.ContainsFunc(f.Tables, func(name string) bool { return strings.EqualFold(name, f.Names.Table(t)) }) {
			f.Missing = append(f.Missing, f.Names.Table(t))
		}
	}
	for _, q := range c.queues {
		if _, control, _ := queueOwner(q); control {
			f.ControlQueues++
		}
	}
	if f.ControlQueues == 0 {
		f.Missing = append(f.Missing, f.Names.ControlQueuePrefix()+"NN")
	}
	if f.ControlQueues == len(c.queues) {
		f.Missing = append(f.Missing, f.Names.WorkItemQueue())
	}
	return f
}
