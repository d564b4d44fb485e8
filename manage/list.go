package manage

import (
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Filter selects instances. The zero value selects all of them.
type Filter struct {
	// Statuses are the runtime statuses to list; nil means all.
	Statuses []schema.Status
	// Names are function names, compared exactly; nil means all.
	Names []string
	// CreatedFrom and CreatedTo bound CreatedTime, both inclusive; zero leaves
	// the side open. A row without CreatedTime is outside of any bounds.
	CreatedFrom, CreatedTo schema.Ticks
	// IDPrefix begins the instance IDs.
	IDPrefix string
	// NoEntities leaves out instances that are entities.
	NoEntities bool
}

func (f *Filter) matches(i *schema.Instance) bool {
	if len(f.Statuses) > 0 && !slices.Contains(f.Statuses, i.Status()) {
		return false
	}
	if len(f.Names) > 0 && (!i.Name.Set || !slices.Contains(f.Names, i.Name.Value)) {
		return false
	}
	if f.CreatedFrom == 0 && f.CreatedTo == 0 {
		return true
	}
	c := i.CreatedTime
	return c.Set && c.Value >= f.CreatedFrom && (f.CreatedTo == 0 || c.Value <= f.CreatedTo)
}

// ranges returns the keys that can match, from a key on, in key order.
func (f *Filter) ranges(from string) []hub.Keys {
	keys := hub.Intersect([]hub.Keys{{From: from}}, []hub.Keys{hub.Prefix(f.IDPrefix)})
	if f.NoEntities {
		keys = hub.Intersect(keys, hub.OrchestrationKeys())
	}
	return keys
}

// Page is a part of a list.
type Page struct {
	// States are in key order: that of their escaped IDs in UTF-16.
	States []State
	// Next continues the list; empty at its end. The page that it leads to may
	// be empty: telling would mean to read on for the next match.
	Next Token
}

// Token is where a list goes on: an opaque, URL-safe text.
type Token string

// ErrToken is returned for a token that no list of this package has given.
var ErrToken = errors.New("not a continuation token of this program")

// tokenMark distinguishes our tokens from text that happens to be Base64.
const tokenMark = "pk:"

func newToken(partitionKey string) Token {
	return Token(base64.RawURLEncoding.EncodeToString([]byte(tokenMark + partitionKey)))
}

// Valid reports whether t is empty or a token of this package.
func (t Token) Valid() bool { _, err := t.key(); return err == nil }

func (t Token) key() (string, error) {
	if t == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(string(t))
	key, ok := strings.CutPrefix(string(b), tokenMark)
	if err != nil || !ok || key == "" {
		return "", ErrToken
	}
	return key, nil
}

const (
	// MaxPage is the largest number of instances on a page, as of the service.
	MaxPage = 1000
	// maxPageBytes of texts end a page early.
	maxPageBytes = 64 << 20
)

// List returns a page of at most top instances, but at least one if there is
// one: top is taken to lie between 1 and [MaxPage]. It returns [ErrToken] for a
// token that is not valid.
func (q *Query) List(ctx context.Context, f Filter, show Show, top int, from Token) (Page, error) {
	start, err := from.key()
	if err != nil {
		return Page{}, err
	}
	top = min(max(top, 1), MaxPage)
	var p Page
	size := 0
	for _, keys := range f.ranges(start) {
		for row, err := range q.r.Rows(ctx, hub.Instances, keys) {
			if err != nil {
				return Page{}, err
			}
			if len(p.States) == top || size >= maxPageBytes {
				p.Next = newToken(row.PartitionKey)
				return p, nil
			}
			if inst, _ := schema.DecodeInstance(&row); !f.matches(&inst) {
				continue // what is damaged in it is absent, and matches nothing
			}
			row = row.Clone() // the page it came from is not kept
			s, err := q.state(ctx, &row, show)
			if err != nil {
				return Page{}, err
			}
			size += s.size()
			p.States = append(p.States, s)
		}
	}
	return p, nil
}
