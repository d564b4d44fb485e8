package server

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/taskhub-tools/taskhub/schema"
)

// sortColumn is what a list is sorted by.
type sortColumn string

const (
	sortID       sortColumn = "id"
	sortName     sortColumn = "name"
	sortStatus   sortColumn = "status"
	sortCreated  sortColumn = "created"
	sortUpdated  sortColumn = "updated"
	sortDuration sortColumn = "duration"
)

var sortColumns = []sortColumn{sortID, sortName, sortStatus, sortCreated, sortUpdated, sortDuration}

// indexKind says which instances to list.
type indexKind string

const (
	kindAll            indexKind = "all"
	kindOrchestrations indexKind = "orchestrations"
	kindEntities       indexKind = "entities"
)

// indexQuery asks an index for instances. The zero value asks for all of them.
type indexQuery struct {
	// text is part of the ID or of the function's name, in any case.
	text     string
	statuses []schema.Status // nil means all
	kind     indexKind
	names    []string // of functions, exactly; nil means all
	// from and to bound the time of creation, or with byUpdate that of the last
	// update; both inclusive, zero leaves the side open.
	from, to schema.Ticks
	byUpdate bool

	sort          sortColumn
	descending    bool
	offset, limit int
}

// indexPage is a part of a list.
type indexPage struct {
	rows []*indexed
	// matched counts all instances that match.
	matched int64
	// byStatus counts the instances that match but for their status.
	byStatus map[schema.Status]int64
	// exact says that there is an instance whose ID is the text that was looked
	// for.
	exact bool
}

// query looks at each instance once.
func (x *index) query(q indexQuery) indexPage {
	order := x.order(q.sort)
	text := strings.ToLower(q.text)
	named := x.namesWith(q.names)
	likeNamed := x.namesLike(text)
	var wanted [1 << 8]bool
	for _, s := range q.statuses {
		wanted[uint8(s)] = true
	}
	var byStatus [1 << 8]int64
	p := indexPage{byStatus: make(map[schema.Status]int64)}
	for i := range x.rows {
		n := i
		if q.descending {
			n = len(x.rows) - 1 - i
		}
		if order != nil {
			n = int(order[n])
		}
		row := &x.rows[n]
		switch {
		case q.kind == kindOrchestrations && row.entity, q.kind == kindEntities && !row.entity:
			continue
		case named != nil && !named[row.name]:
			continue
		case !q.inTime(row):
			continue
		case text != "" && !likeNamed[row.name] && !containsFold(row.id, text):
			continue
		}
		p.exact = p.exact || text != "" && row.id == q.text
		byStatus[uint8(row.status)]++
		if len(q.statuses) > 0 && !wanted[uint8(row.status)] {
			continue
		}
		if p.matched++; p.matched > int64(q.offset) && len(p.rows) < q.limit {
			p.rows = append(p.rows, row)
		}
	}
	for s, n := range byStatus {
		if n > 0 {
			p.byStatus[schema.Status(int8(s))] = n
		}
	}
	return p
}

func (q *indexQuery) inTime(row *indexed) bool {
	if q.from == 0 && q.to == 0 {
		return true
	}
	t := row.created
	if q.byUpdate {
		t = row.updated
	}
	return t != 0 && t >= q.from && (q.to == 0 || t <= q.to)
}

// namesWith tells of each name whether it is one of names; nil if all are wanted.
func (x *index) namesWith(names []string) []bool {
	if len(names) == 0 {
		return nil
	}
	with := make([]bool, len(x.names))
	for i, name := range x.names {
		with[i] = slices.Contains(names, name)
	}
	return with
}

// namesLike tells of each name whether it contains text, which is in lower case.
func (x *index) namesLike(text string) []bool {
	like := make([]bool, len(x.names))
	for i, name := range x.names {
		like[i] = containsFold(name, text)
	}
	return like
}

// order returns the rows in ascending order of a column, and of their keys where
// that is equal; nil for that of the keys. Each order is made once.
func (x *index) order(by sortColumn) []uint32 {
	if by == sortID || by == "" {
		return nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if order := x.orders[by]; order != nil {
		return order
	}
	order := make([]uint32, len(x.rows))
	for i := range order {
		order[i] = uint32(i)
	}
	ranks := x.nameRanks(by)
	slices.SortFunc(order, func(a, b uint32) int {
		return cmp.Or(x.compare(by, ranks, &x.rows[a], &x.rows[b]), cmp.Compare(a, b))
	})
	x.orders[by] = order
	return order
}

// nameRanks returns the place of each name in their order, in which case counts
// only between names that differ in nothing else.
func (x *index) nameRanks(by sortColumn) []uint32 {
	if by != sortName {
		return nil
	}
	order := make([]int, len(x.names))
	folded := make([]string, len(x.names))
	for i, name := range x.names {
		order[i], folded[i] = i, strings.ToLower(name)
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(folded[a], folded[b]), cmp.Compare(x.names[a], x.names[b]))
	})
	ranks := make([]uint32, len(x.names))
	for rank, i := range order {
		ranks[i] = uint32(rank)
	}
	return ranks
}

func (x *index) compare(by sortColumn, ranks []uint32, a, b *indexed) int {
	switch by {
	case sortName:
		return cmp.Compare(ranks[a.name], ranks[b.name])
	case sortStatus:
		return cmp.Compare(a.status, b.status)
	case sortCreated:
		return cmp.Compare(a.created, b.created)
	case sortUpdated:
		return cmp.Compare(a.updated, b.updated)
	case sortDuration:
		return cmp.Compare(a.duration(x.builtAt), b.duration(x.builtAt))
	}
	return 0
}

// duration is how long an instance took, or has taken until now; -1 if that cannot
// be told. Entities have none: their rows are made anew all the time.
//
// Versions before 1.8.6 did not store the end, and a row of an instance that was
// started anew, or has continued as new, can still have that of an execution
// before.
func (i *indexed) duration(now schema.Ticks) schema.Ticks {
	end := now
	if schema.Status(i.status).Terminal() {
		end = cmp.Or(i.completed, i.updated)
	}
	if i.entity || i.created == 0 || end < i.created {
		return -1
	}
	return end - i.created
}

// containsFold reports whether s contains text, which is in lower case, in any
// case. It is fast for text in ASCII: a search looks at every ID of a hub.
func containsFold(s, text string) bool {
	if text == "" {
		return true
	}
	for i := range len(text) {
		if text[i] >= utf8.RuneSelf {
			return strings.Contains(strings.ToLower(s), text)
		}
	}
	for i := 0; i+len(text) <= len(s); i++ {
		if lower(s[i]) == text[0] && foldedPrefix(s[i:], text) {
			return true
		}
	}
	return false
}

func foldedPrefix(s, text string) bool {
	for i := 1; i < len(text); i++ {
		if lower(s[i]) != text[i] {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
