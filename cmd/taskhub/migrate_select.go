package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// selectFlags choose the instances that move.
func selectFlags() []cli.Flag {
	flags := append(chooseFlags(), treeFlag(),
		&cli.BoolFlag{DisableDefaultText: true, Name: optEntities, Usage: "only entities"})
	return slices.DeleteFunc(flags, func(f cli.Flag) bool {
		return slices.Contains(f.Names(), optAll) // which is the default here
	})
}

// digest stands for an instance ID in memory.
type digest [16]byte

func digestOf(id string) digest {
	sum := sha256.Sum256([]byte(id))
	return digest(sum[:])
}

func compareDigests(a, b digest) int { return slices.Compare(a[:], b[:]) }

// selection is which instances move. The zero value takes all of them.
type selection struct {
	ids      []string
	file     string
	tree     bool
	entities bool
	filter   manage.Filter
	byRow    bool // the filter looks at more than the ID

	found []digest // in order; of those that are named or that the filter has found
	asked []atomic.Bool
	named *spool // the IDs that are named, to tell which of them there are not
}

// options reads the options of selectFlags.
func (c *selection) options(s *session) error {
	ids, err := s.nonEmpty("id")
	if err != nil {
		return err
	}
	c.ids = ids
	c.file, c.tree, c.entities = s.String(optIDFile), s.Bool(optTree), s.Bool(optEntities)
	for _, name := range []string{optIDFile, optIDPrefix} {
		if s.IsSet(name) && s.String(name) == "" {
			return s.usagef("option --%s is empty", name)
		}
	}
	filters := slices.DeleteFunc([]string{optStatus, optName, optCreatedAfter, optCreatedBefore, optIDPrefix, optEntities},
		func(name string) bool { return !s.IsSet(name) })
	switch {
	case len(c.ids) > 0 && c.file != "":
		return s.usagef("--id and --%s contradict each other", optIDFile)
	case c.isNamed() && len(filters) > 0:
		return s.usagef("--id and --%s name instances, and --%s chooses others", optIDFile, filters[0])
	case c.tree && !c.isNamed():
		return s.usagef("--%s is about an instance: it needs --id", optTree)
	}
	c.filter.IDPrefix = s.String(optIDPrefix)
	if c.filter.Statuses, err = s.statuses(); err != nil {
		return err
	}
	if c.filter.Names, err = s.nonEmpty(optName); err != nil {
		return err
	}
	if c.filter.CreatedFrom, c.filter.CreatedTo, err = s.window(optCreatedAfter, optCreatedBefore); err != nil {
		return err
	}
	c.byRow = slices.ContainsFunc(filters, func(name string) bool { return name != optIDPrefix && name != optEntities })
	return nil
}

func (c *selection) isNamed() bool { return len(c.ids) > 0 || c.file != "" }

// selects returns what migrate.Options.Select takes: nil for all instances. It may
// be called concurrently.
func (c *selection) selects() func(id string) bool {
	if !c.isNamed() && !c.byRow && !c.entities && c.filter.IDPrefix == "" {
		return nil
	}
	return func(id string) bool {
		if c.entities && !schema.IsEntity(id) || !strings.HasPrefix(id, c.filter.IDPrefix) {
			return false
		}
		if !c.isNamed() && !c.byRow {
			return true
		}
		i, found := slices.BinarySearchFunc(c.found, digestOf(id), compareDigests)
		if found {
			c.asked[i].Store(true)
		}
		return found
	}
}

// resolve finds the instances of a selection that takes more than their IDs to
// tell. Memory is 20 bytes for each, besides those of one tree.
func (c *selection) resolve(s *session, r hub.Reader) error {
	if !c.isNamed() && !c.byRow {
		return nil
	}
	q, err := manage.New(s.ctx, r, manage.Options{})
	if err != nil {
		return err
	}
	found := q.IDs(s.ctx, c.filter)
	if c.isNamed() {
		if c.named, err = newSpool(); err != nil {
			return err
		}
		found = c.noted()
	}
	if c.tree {
		found = trees(s.ctx, q, found)
	}
	for id, err := range found {
		if err != nil {
			return err
		}
		c.found = append(c.found, digestOf(id))
	}
	slices.SortFunc(c.found, compareDigests)
	c.found = slices.Compact(c.found)
	c.asked = make([]atomic.Bool, len(c.found))
	return nil
}

// noted streams the IDs that are named, and keeps them.
func (c *selection) noted() iter.Seq2[string, error] {
	named := sliceOf(c.ids)
	if c.file != "" {
		named = idsOfFile(c.file)
	}
	return func(yield func(string, error) bool) {
		for id, err := range named {
			if err == nil {
				err = c.named.add(id)
			}
			if !yield(id, err) || err != nil {
				return
			}
		}
	}
}

// unknown returns an error for instances that are named and that a plan has not come
// across, neither in a table nor as those that a message is for. It is not what moves
// that was named wrong then, but what stays.
func (c *selection) unknown() error {
	if c.named == nil {
		return nil
	}
	var first []string
	count := int64(0)
	for id, err := range c.named.ids() {
		if err != nil {
			return err
		}
		i, found := slices.BinarySearchFunc(c.found, digestOf(id), compareDigests)
		if found && c.asked[i].Load() {
			continue
		}
		if count++; count <= maxFirst {
			first = append(first, fmt.Sprintf("%q", ui.Cut(id, 60)))
		}
	}
	switch {
	case count == 0:
		return nil
	case count > maxFirst:
		first = append(first, "…")
	}
	return fmt.Errorf("%w: %s", manage.ErrNoInstance, strings.Join(first, ", "))
}

func (c *selection) close() {
	if c.named != nil {
		c.named.remove()
	}
}

// trees streams the instances of the trees of some roots.
func trees(ctx context.Context, q *manage.Query, roots iter.Seq2[string, error]) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for root, err := range roots {
			if err != nil {
				yield("", err)
				return
			}
			for id, err := range q.Tree(ctx, root) {
				if !yield(id, err) || err != nil {
					return
				}
			}
		}
	}
}
