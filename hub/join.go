package hub

import (
	"context"
	"iter"
	"strings"

	"github.com/taskhub-tools/taskhub/schema"
)

// Joined is the next part of what the tables hold of one instance.
type Joined struct {
	PartitionKey string
	// Instance is its row of the Instances table, or nil without one; the same
	// for all parts of an instance.
	Instance *schema.Row
	// History holds the next rows of its partition of the History table. They
	// are valid until the next part, which may use their memory.
	History []schema.Row
	// More says that another part of the same instance follows.
	More bool
}

// Join walks the tables Instances and History side by side: each instance that
// either has rows of, in key order, with the rows in key order. A long history
// comes in several parts.
//
// Peak memory is that of a batch of history rows and a page of instances,
// whatever the length of a history. The tables are read at the same time, but
// not at one moment: of a running hub they can differ.
func Join(ctx context.Context, r Reader, keys Keys) iter.Seq2[Joined, error] {
	return func(yield func(Joined, error) bool) {
		next, stop := iter.Pull2(r.Rows(ctx, Instances, keys))
		defer stop()
		j := joiner{next: next, yield: yield}
		if !j.advance() {
			return
		}
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
	next  func() (schema.Row, error, bool)
	// row is the next row of the Instances table that was not yet given out.
	row  schema.Row
	rows bool // there is one

	// Of the partition whose history is being given out:
	begun    bool
	key      string
	instance *schema.Row
}

// advance reads the next row of the Instances table. It returns false if the
// walk is over because of an error.
func (j *joiner) advance() bool {
	row, err, ok := j.next()
	if ok && err != nil {
		j.yield(Joined{}, err)
		return false
	}
	j.row, j.rows = row, ok
	return true
}

// until gives out the instances without history whose keys are below key, or all
// that are left.
func (j *joiner) until(key string, all bool) bool {
	for j.rows && (all || schema.CompareKeys(j.row.PartitionKey, key) < 0) {
		row := j.row
		if !j.yield(Joined{PartitionKey: row.PartitionKey, Instance: &row}, nil) || !j.advance() {
			return false
		}
	}
	return true
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
		j.begun = more
		rows = rows[n:]
	}
	return true
}

func (j *joiner) begin(key string) bool {
	if !j.until(key, false) {
		return false
	}
	j.key, j.begun, j.instance = strings.Clone(key), true, nil
	if j.rows && j.row.PartitionKey == key {
		row := j.row
		j.instance = &row
		return j.advance()
	}
	return true
}

// end gives out the last part of a partition that was the last of its batch.
func (j *joiner) end() bool {
	if !j.begun {
		return true
	}
	j.begun = false
	return j.yield(Joined{PartitionKey: j.key, Instance: j.instance}, nil)
}
