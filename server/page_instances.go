package server

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// Limits of a list.
const (
	defaultListed = 100
	maxListed     = 500
	// maxFunctions are given to choose from, those with the most instances.
	maxFunctions = 200
	// maxSearch is the length of the text to look for: more than an ID can have.
	maxSearch = 2048
)

// instanceList is a part of the list of instances.
type instanceList struct {
	// Observed is what ages count to; BuiltAt when the list was read, which is
	// earlier until the reader asks for a new one.
	Observed pageTime `json:"observed_at"`
	BuiltAt  pageTime `json:"built_at"`
	// Partial says that there are more than an index holds: the list is then in key
	// order whatever order is asked for, IDs begin with the text that is looked for,
	// times are those of creation, and Next continues it. What is counted are the
	// instances that were read until that showed.
	Partial        bool             `json:"partial"`
	Total          int64            `json:"total"`
	Orchestrations int64            `json:"orchestrations"`
	Entities       int64            `json:"entities"`
	Matched        int64            `json:"matched"`
	ByStatus       map[string]int64 `json:"by_status"`
	Functions      []functionCount  `json:"functions"`
	FunctionsMore  int              `json:"functions_more"`
	Exact          bool             `json:"exact"`
	Next           manage.Token     `json:"next,omitempty"`
	Rows           []listedInstance `json:"rows"`
}

type functionCount struct {
	Name  string `json:"name"`
	Count int64  `json:"count"`
}

type listedInstance struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Entity    bool     `json:"entity"`
	Status    string   `json:"status"`
	Created   pageTime `json:"created"`
	Updated   pageTime `json:"updated"`
	Completed pageTime `json:"completed"`
	// DurationMS is how long it took, or has taken so far; -1 if that is not known.
	DurationMS int64 `json:"duration_ms"`
}

// instancesData lists instances.
func (s *Server) instancesData(ctx context.Context, p *pageRequest) (any, error) {
	q, err := p.indexQuery()
	if err != nil {
		return nil, err
	}
	idx, err := s.pages.indexes.get(ctx, p.hub, false, s.observed(p.hub), func(int64) error { return nil })
	if err != nil {
		return nil, err
	}
	list := &instanceList{
		Observed: pageTime(s.observed(p.hub)), BuiltAt: pageTime(idx.builtAt), Partial: idx.partial,
		Total: idx.counts.total, Orchestrations: idx.counts.orchestrations, Entities: idx.counts.entities,
	}
	list.Functions, list.FunctionsMore = idx.functions()
	if idx.partial {
		return list, s.listByKey(ctx, p, q, list)
	}
	found := idx.query(q)
	list.Matched, list.Exact = found.matched, found.exact
	list.ByStatus = make(map[string]int64, len(found.byStatus))
	for status, n := range found.byStatus {
		list.ByStatus[status.String()] = n
	}
	list.Rows = make([]listedInstance, len(found.rows))
	for i, row := range found.rows {
		list.Rows[i] = listedInstance{
			ID: row.id, Name: idx.names[row.name], Entity: row.entity, Status: schema.Status(row.status).String(),
			Created: pageTime(row.created), Updated: pageTime(row.updated), Completed: pageTime(row.completed), DurationMS: row.durationMS(idx.builtAt),
		}
	}
	return list, nil
}

// durationMS is as of [indexed.duration], in milliseconds.
func (i *indexed) durationMS(now schema.Ticks) int64 {
	const ticksOfMS = 10_000
	d := i.duration(now)
	if d < 0 {
		return -1
	}
	return int64(d / ticksOfMS)
}

// indexQuery reads what to list.
func (p *pageRequest) indexQuery() (indexQuery, error) {
	q := indexQuery{
		text: p.query.Get("q"), kind: indexKind(p.query.Get("kind")), names: p.query["name"],
		sort: sortColumn(p.query.Get("sort")), descending: p.query.Get("order") == "desc", byUpdate: p.query.Get("by") == "updated",
	}
	switch {
	case len(q.text) > maxSearch:
		return q, badRequest("The text to look for is too long.")
	case q.sort != "" && !slices.Contains(sortColumns, q.sort):
		return q, badRequest("Instances cannot be sorted by that.")
	case q.kind != "" && q.kind != kindAll && q.kind != kindOrchestrations && q.kind != kindEntities:
		return q, badRequest("There is no such kind of instances.")
	}
	for _, name := range p.query["status"] {
		status := schema.StatusNamed(name)
		if status == schema.StatusUnknown && name != status.String() {
			return q, badRequest("There is no such status.")
		}
		q.statuses = append(q.statuses, status)
	}
	var err error
	if q.from, err = p.time("from"); err != nil {
		return q, err
	}
	if q.to, err = p.time("to"); err != nil {
		return q, err
	}
	offset, err := p.number("offset", 0, 0, 1<<31)
	if err != nil {
		return q, err
	}
	limit, err := p.number("limit", defaultListed, 1, maxListed)
	q.offset, q.limit = int(offset), int(limit)
	return q, err
}

// functions returns the names of functions, those with the most instances first,
// and how many others there are.
func (x *index) functions() (list []functionCount, more int) {
	list = make([]functionCount, 0, len(x.names))
	for i, n := range x.counts.byName {
		if i != noName && n > 0 {
			list = append(list, functionCount{x.names[i], n})
		}
	}
	slices.SortFunc(list, func(a, b functionCount) int {
		if a.Count != b.Count {
			return int(b.Count - a.Count)
		}
		return strings.Compare(a.Name, b.Name)
	})
	if len(list) > maxFunctions {
		list, more = list[:maxFunctions], len(list)-maxFunctions
	}
	return list, more
}

// listByKey lists instances as storage has them: in key order, from a token on.
func (s *Server) listByKey(ctx context.Context, p *pageRequest, q indexQuery, list *instanceList) error {
	list.ByStatus, list.Rows = map[string]int64{}, []listedInstance{}
	f := manage.Filter{
		Statuses: q.statuses, Names: q.names, CreatedFrom: q.from, CreatedTo: q.to,
		IDPrefix: q.text, NoEntities: q.kind == kindOrchestrations,
	}
	if q.kind == kindEntities && !strings.HasPrefix(q.text, "@") {
		f.IDPrefix = "@" + q.text
	}
	if len(q.names) == 1 && strings.HasPrefix(q.names[0], "@") { // all entities of a name
		prefix := q.names[0] + "@"
		if f.Names = nil; !strings.HasPrefix(f.IDPrefix, prefix) {
			f.IDPrefix = prefix
		}
	}
	page, err := p.hub.query.List(ctx, f, manage.ShowNone, q.limit, manage.Token(p.query.Get("token")))
	if err != nil {
		return err
	}
	list.Next = page.Next
	for i := range page.States {
		list.Rows = append(list.Rows, listedState(&page.States[i], schema.Ticks(list.Observed)))
		list.Exact = list.Exact || q.text != "" && list.Rows[i].ID == q.text
	}
	return nil
}

func listedState(st *manage.State, observed schema.Ticks) listedInstance {
	i := &st.Row
	row := indexed{
		created: i.CreatedTime.Value, updated: i.LastUpdatedTime.Value, completed: i.CompletedTime.Value,
		status: int8(i.Status()), entity: schema.IsEntity(i.ID()),
	}
	return listedInstance{
		ID: i.ID(), Name: functionOf(i.ID(), i.Name.Value), Entity: row.entity, Status: i.Status().String(),
		Created: pageTime(row.created), Updated: pageTime(row.updated), Completed: pageTime(row.completed), DurationMS: row.durationMS(observed),
	}
}

// indexProgress and indexDone are the lines of the answer of indexData.
type indexProgress struct {
	Type string `json:"type"` // progress
	Rows int64  `json:"rows"`
	// Total is -1 if it is not known.
	Total int64 `json:"total"`
}

type indexDone struct {
	Type    string   `json:"type"` // done
	BuiltAt pageTime `json:"built_at"`
	Rows    int64    `json:"rows"`
}

// indexData makes the index of a hub, with fresh=1 anew, and tells how far it is.
func (s *Server) indexData(w http.ResponseWriter, p *pageRequest) {
	lines := newLineWriter(w)
	total := p.hub.rows(hub.Instances)
	fresh := p.query.Get("fresh") != ""
	idx, err := s.pages.indexes.get(p.Context(), p.hub, fresh, s.observed(p.hub), func(rows int64) error {
		return lines.line(indexProgress{"progress", rows, total})
	})
	if err != nil {
		lines.failed(s.pageTrouble(p, err))
		return
	}
	_ = lines.line(indexDone{"done", pageTime(idx.builtAt), idx.counts.total}) // nobody is left to tell if it fails
}
