package live

import (
	"context"
	"fmt"
	"slices"
	"unicode/utf8"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Split cuts a table into at most n ranges. It reads the keys of one page; if
// these are all, the ranges are as equal as can be. Otherwise it asks which
// characters keys begin with, and which follow these where that is too few, and
// takes all keys that differ in one character only for equally many rows. That
// is right for random IDs, and otherwise as good as can be known for some
// requests: it takes up to about 3n+40, of one row each.
//
// A table that does not exist is one range.
func (h *Hub) Split(ctx context.Context, table hub.Table, n int) ([]hub.Keys, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if n <= 1 {
		return []hub.Keys{{}}, nil
	}
	ranges, all, err := h.tracking.splitPage(ctx, h.names.Table(table), n)
	if all || err != nil {
		return ranges, err
	}
	s := splitter{a: h.tracking, table: h.names.Table(table), left: 3*n + 40}
	branches, err := s.branches(ctx, n)
	if err != nil {
		return nil, err
	}
	return group(branches, n), nil
}

// splitPage cuts a table of one page. all is false if it has more.
func (a *Account) splitPage(ctx context.Context, table string, n int) (ranges []hub.Keys, all bool, err error) {
	ranges = []hub.Keys{{}}
	p := a.lister(query{table: table, choose: "PartitionKey,RowKey"}, pageRows).fetch(ctx, nil)
	if isAbsent(p.err) {
		return ranges, true, nil
	}
	if p.err != nil || p.next != nil {
		return nil, false, p.err
	}
	var d schema.Decoder
	rows, err := d.Page(p.body, nil)
	if err != nil {
		return nil, false, fmt.Errorf("list %s: %w", table, p.call.fail(ctx, err))
	}
	for i := 1; i < len(rows); i++ {
		if k := rows[i].PartitionKey; k != rows[i-1].PartitionKey && i*n >= len(rows)*len(ranges) && len(ranges) < n {
			ranges[len(ranges)-1].To = k
			ranges = append(ranges, hub.Keys{From: k})
		}
	}
	return ranges, true, nil
}

// branch is the keys that begin with prefix, and the share of rows that they
// are supposed to have.
type branch struct {
	from   string // where it begins: at prefix or before
	prefix string
	weight float64
	whole  bool // cannot be divided
	// alphabet is what followed the prefix of the branch that this one is part of.
	alphabet []string
}

// alike is how many characters have to follow a prefix for the same to be
// expected behind each of them: digits, hexadecimal digits or letters.
const alike = 8

type splitter struct {
	a     *Account
	table string
	left  int // requests
}

// branches returns the branches of the table in key order: enough for n ranges
// of about equal weight, if there are as many.
func (s *splitter) branches(ctx context.Context, n int) ([]branch, error) {
	all := []branch{{weight: 1}}
	for s.left > 0 {
		// Ranges can be about equal if no branch is heavier than half of one.
		heaviest := -1
		for i, b := range all {
			if !b.whole && b.weight*float64(2*n) > 1 && (heaviest < 0 || b.weight > all[heaviest].weight) {
				heaviest = i
			}
		}
		if heaviest < 0 {
			break
		}
		parts, err := s.divide(ctx, all[heaviest])
		if err != nil {
			return nil, err
		}
		all = slices.Replace(all, heaviest, heaviest+1, parts...)
	}
	return all, nil
}

// divide returns the branches one character below b, or below the longest prefix
// that all keys of b share. If b is one of many, it guesses them.
func (s *splitter) divide(ctx context.Context, b branch) ([]branch, error) {
	if len(b.alphabet) >= alike {
		return b.parts(b.prefix, b.alphabet), nil
	}
	first, ok, err := s.first(ctx, b.prefix, schema.PrefixEnd(b.prefix))
	if err != nil {
		return nil, err
	}
	b.whole = true
	if !ok {
		return []branch{b}, nil
	}
	shared, err := s.sharedPrefix(ctx, b.prefix, first)
	if err != nil {
		return nil, err
	}
	end := schema.PrefixEnd(shared)
	var alphabet []string
	if first == shared { // a key that is the beginning of the others
		alphabet = append(alphabet, "")
		first, ok, err = s.first(ctx, shared+"\x00", end)
	}
	for ok && err == nil && s.left > 0 {
		_, size := utf8.DecodeRuneInString(first[len(shared):])
		p := first[:len(shared)+size]
		alphabet = append(alphabet, p[len(shared):])
		next := schema.PrefixEnd(p)
		if next == "" {
			break
		}
		first, ok, err = s.first(ctx, next, end)
	}
	if err != nil {
		return nil, err
	}
	if len(alphabet) < 2 {
		return []branch{b}, nil
	}
	return b.parts(shared, alphabet), nil
}

// parts returns the branches of b's keys, which begin with shared, by what
// follows that.
func (b branch) parts(shared string, alphabet []string) []branch {
	parts := make([]branch, len(alphabet))
	for i, c := range alphabet {
		p := shared + c
		parts[i] = branch{from: p, prefix: p, weight: b.weight / float64(len(alphabet)), whole: c == "", alphabet: alphabet}
	}
	parts[0].from = b.from
	return parts
}

// sharedPrefix returns the longest beginning of first with which all keys begin
// that begin with prefix.
func (s *splitter) sharedPrefix(ctx context.Context, prefix, first string) (string, error) {
	var ends []int // of each beginning
	for i := range first {
		if i >= len(prefix) {
			ends = append(ends, i)
		}
	}
	ends = append(ends, len(first))
	var failed error
	n, _ := slices.BinarySearchFunc(ends[1:], true, func(end int, _ bool) int {
		if failed != nil || s.left <= 0 {
			return 1
		}
		after := schema.PrefixEnd(first[:end])
		if after == "" {
			return -1
		}
		_, more, err := s.first(ctx, after, schema.PrefixEnd(prefix))
		failed = err
		if more {
			return 1
		}
		return -1
	})
	return first[:ends[n]], failed
}

// first returns the first key from one on and before another.
func (s *splitter) first(ctx context.Context, from, to string) (key string, ok bool, err error) {
	s.left--
	q := query{table: s.table, keys: hub.Keys{From: from, To: to}, choose: "PartitionKey,RowKey"}
	r, ok, err := s.a.first(ctx, q)
	if isAbsent(err) {
		return "", false, nil
	}
	return r.PartitionKey, ok, err
}

// group joins branches to at most n ranges of about equal weight.
func group(branches []branch, n int) []hub.Keys {
	ranges := []hub.Keys{{}}
	sum := 0.0
	for i, b := range branches {
		// Cut where the middle of the next branch is beyond the share of the
		// ranges so far.
		if i > 0 && len(ranges) < n && sum+b.weight/2 > float64(len(ranges))/float64(n) {
			ranges[len(ranges)-1].To = b.from
			ranges = append(ranges, hub.Keys{From: b.from})
		}
		sum += b.weight
	}
	return ranges
}
