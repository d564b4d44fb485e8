package hub

import (
	"context"
	"iter"
	"strings"

	"github.com/taskhub-tools/taskhub/schema"
)

// Joined is the next part of what the tables hold of one instance. The rows are
// valid until the next part, which may use their memory; Instance until the next
// part of another instance.
type Joined struct {
	PartitionKey string // belongs to the caller
	// Instance is its row of the Instances table, or nil without one; the same
	// for all parts of an instance.
	Instance *schema.Row
	// History holds the next rows of its partition of the History table.
	History []schema.Row
	// More says that another part of the same instance follows.
	More bool
}

// Join walks the tables Instances and History side by side: each instance that
// either has rows of, in key order, with the rows in key order. A long history
// comes in several parts.
//
// Peak memory is that of a batch of rows of each table, whatever the length of a
// history. The tables are read at the same time, but not at one moment: of a
// running hub they can differ.
func Join(ctx context.Context, r Reader, keys Keys) iter.Seq2[Joined, error] {
	return func(yield func(Joined, error) bool) {
		next, stop := iter.Pull2(Batches(ctx, r, Instances, keys))
		defer stop()
		j := joiner{next: next, yield: yield}
		for rows, err := range Batches(ctx, r, History, keys) {
			if err != nil {
				yield(Joined{}, err)
				return
			}
			if !j.batch(rows) {
				return
			}
		}
		if j.end() {
			j.until("", true)
		}
	}
}

type joiner struct {
	yield func(Joined, error) bool
	next  func() ([]schema.Row, error, bool)
	page  []schema.Row // rows of the Instances table that were not yet given out

	// Of the partition whose history is being given out:
	begun    bool
	key      string
	instance *schema.Row // the first of page, or nil
}

// peek returns the next row of the Instances table, nil at its end. ok is false
// if the walk is over because of an error.
func (j *joiner) peek() (row *schema.Row, ok bool) {
	for len(j.page) == 0 && j.next != nil {
		page, err, more := j.next()
		if more && err != nil {
			j.yield(Joined{}, err)
			return nil, false
		}
		if j.page = page; !more {
			j.next = nil
		}
	}
	if len(j.page) == 0 {
		return nil, true
	}
	return &j.page[0], true
}

// until gives out the instances without history whose keys are below key, or all
// that are left.
func (j *joiner) until(key string, all bool) bool {
	for {
		row, ok := j.peek()
		if !ok || row == nil || !all && schema.CompareKeys(row.PartitionKey, key) >= 0 {
			return ok
		}
		if !j.yield(Joined{PartitionKey: strings.Clone(row.PartitionKey), Instance: row}, nil) {
			return false
		}
		j.page = j.page[1:]
	}
}

// batch gives out the rows of one batch. The last partition of a batch may go on
// in the next, which is known only when these rows are gone: it is followed by
// another part, if only an empty one.
func (j *joiner) batch(rows []schema.Row) bool {
	for len(rows) > 0 {
		key := rows[0].PartitionKey
		n := 1
		for n < len(rows) && rows[n].PartitionKey == key {
			n++
		}
		if j.begun && j.key != key && !j.end() {
			return false
		}
		if !j.begun && !j.begin(key) {
			return false
		}
		more := n == len(rows)
		if !j.yield(Joined{PartitionKey: j.key, Instance: j.instance, History: rows[:n], More: more}, nil) {
			return false
		}
		if !more {
			j.done()
		}
		rows = rows[n:]
	}
	return true
}

// begin begins with the partition of this key.
func (j *joiner) begin(key string) bool {
	if !j.until(key, false) {
		return false
	}
	j.key, j.begun, j.instance = strings.Clone(key), true, nil
	row, ok := j.peek()
	if row != nil && row.PartitionKey == key {
		j.instance = row
	}
	return ok
}

// done leaves the partition that was given out.
func (j *joiner) done() {
	if j.begun = false; j.instance != nil {
		j.instance, j.page = nil, j.page[1:]
	}
}

// end gives out the last part of a partition that was the last of its batch.
func (j *joiner) end() bool {
	if !j.begun {
		return true
	}
	if !j.yield(Joined{PartitionKey: j.key, Instance: j.instance}, nil) {
		return false
	}
	j.done()
	return true
}
