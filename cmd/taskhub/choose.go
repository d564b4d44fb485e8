package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// Options of commands that do something to many instances.
const (
	optAll         = "all"
	optIDFile      = "id-file"
	optTree        = "tree"
	optMax         = "max"
	optRate        = "rate"
	optConcurrency = "concurrency"
	optReport      = "report"
)

// chooseFlags choose the instances to do something to.
func chooseFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "id", Usage: "the instance `ID`; may be repeated"},
		&cli.StringFlag{Name: optIDFile, Usage: "the instances whose IDs are in `FILE`, or - for stdin: one a line, or JSON Lines with instance_id"},
		&cli.BoolFlag{DisableDefaultText: true, Name: optAll, Usage: "every instance that it can be done to"},
		createdAfterFlag(), createdBeforeFlag(), statusFlag(), nameFlag(), idPrefixFlag(),
	}
}

// treeFlag also chooses the sub-orchestrations of an instance.
func treeFlag() cli.Flag {
	return &cli.BoolFlag{DisableDefaultText: true, Name: optTree, Usage: "also the sub-orchestrations of the instances, theirs and so on"}
}

// bulkFlags say how to go through many instances.
func bulkFlags() []cli.Flag {
	return []cli.Flag{
		&cli.IntFlag{Name: optMax, Usage: "do it to at most `N` instances", DefaultText: "all"},
		&cli.Float64Flag{Name: optRate, Usage: "begin with at most `N` instances a second", DefaultText: "no limit"},
		&cli.IntFlag{Name: optConcurrency, Value: 8, Usage: "instances at once, `N`; fewer while the service is busy"},
		&cli.StringFlag{Name: optReport, Usage: "also write the JSON Lines to `FILE`; what it says is done is not done again"},
	}
}

// concurrency returns the value of its option, or 1 for a command without it.
func (s *session) concurrency() int { return max(1, s.Int(optConcurrency)) }

// choice is which instances to do something to, and how to go through them.
type choice struct {
	ids    []string
	file   string
	tree   bool
	filter *manage.Filter // nil unless they are chosen by their rows
	// statuses are those that instances of a tree have to be in; nil means any.
	statuses []schema.Status
	max      int
	bulk     manage.BulkOptions
	report   string
}

// single returns the instance if one is named, and only that.
func (c *choice) single() (string, bool) {
	if len(c.ids) == 1 && c.file == "" && !c.tree && c.filter == nil && c.report == "" {
		return c.ids[0], true
	}
	return "", false
}

// choice reads the options of chooseFlags, treeFlag and bulkFlags.
func (s *session) choice(op *operation) (*choice, error) {
	ids, err := s.nonEmpty("id")
	if err != nil {
		return nil, err
	}
	c := &choice{file: s.String(optIDFile), tree: s.Bool(optTree), max: s.Int(optMax), report: s.String(optReport)}
	for _, id := range ids { // each once
		if !slices.Contains(c.ids, id) {
			c.ids = append(c.ids, id)
		}
	}
	for _, name := range []string{optIDFile, optReport} {
		if s.IsSet(name) && s.String(name) == "" {
			return nil, s.usagef("option --%s is empty", name)
		}
	}
	set := slices.DeleteFunc([]string{optAll, optName, optIDPrefix, optCreatedAfter, optCreatedBefore}, func(name string) bool { return !s.IsSet(name) })
	statuses, err := s.statuses()
	if err != nil {
		return nil, err
	}
	if s.IsSet(optStatus) && !c.tree {
		set = append(set, optStatus)
	}
	switch {
	case len(ids) > 0 && c.file != "":
		return nil, s.usagef("--id and --%s contradict each other", optIDFile)
	case len(ids) > 0 && len(set) > 0:
		return nil, s.usagef("--id and --%s contradict each other", set[0])
	case c.file != "" && len(set) > 0:
		return nil, s.usagef("--%s and --%s contradict each other", optIDFile, set[0])
	case c.tree && len(set) > 0:
		return nil, s.usagef("--%s and --%s contradict each other", optTree, set[0])
	case c.tree && len(ids) == 0 && c.file == "":
		return nil, s.usagef("--%s is about an instance: it needs --id", optTree)
	case len(ids) == 0 && c.file == "" && len(set) == 0:
		return nil, s.usagef("name an instance with --id, or take all with --%s or some with a filter such as --%s", optAll, optStatus)
	}
	if statuses == nil {
		statuses = op.statuses
	}
	c.statuses = statuses
	if len(set) > 0 {
		f := &manage.Filter{Statuses: statuses, IDPrefix: s.String(optIDPrefix), NoEntities: true}
		if f.Names, err = s.nonEmpty(optName); err != nil {
			return nil, err
		}
		if f.CreatedFrom, f.CreatedTo, err = s.window(optCreatedAfter, optCreatedBefore); err != nil {
			return nil, err
		}
		c.filter = f
	}
	return c, s.bulkOptions(c)
}

// bulkOptions reads the options of bulkFlags.
func (s *session) bulkOptions(c *choice) error {
	rate := s.Float64(optRate)
	switch {
	case s.IsSet(optMax) && c.max < 1:
		return s.usagef("option --%s: must be at least 1", optMax)
	case s.IsSet(optRate) && !(rate > 0 && rate <= 1e6):
		return s.usagef("option --%s: must be more than 0", optRate)
	case s.IsSet(optConcurrency) && (s.Int(optConcurrency) < 1 || s.Int(optConcurrency) > maxConcurrency):
		return s.usagef("option --%s: must be 1 to %d", optConcurrency, maxConcurrency)
	}
	c.bulk = manage.BulkOptions{Concurrency: s.concurrency(), Rate: rate, Wait: wait}
	return nil
}

const maxConcurrency = 256

// wait waits for a time, and returns the cause when ctx ends.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}

// chosen streams the IDs of a choice, each once.
func (ed *editing) chosen(c *choice) iter.Seq2[string, error] {
	if c.filter != nil {
		return func(yield func(string, error) bool) {
			q, err := manage.New(ed.ctx, ed.r, manage.Options{})
			if err != nil {
				yield("", err)
				return
			}
			q.IDs(ed.ctx, *c.filter)(yield)
		}
	}
	named := func(yield func(string, error) bool) {
		for _, id := range c.ids {
			if !yield(id, nil) {
				return
			}
		}
	}
	if c.file != "" {
		named = idsOfFile(c.file)
	}
	if c.tree {
		named = ed.trees(c, named)
	}
	return func(yield func(string, error) bool) {
		seen := make(map[string]struct{})
		for id, err := range named {
			if err != nil {
				yield("", err)
				return
			}
			if _, again := seen[id]; again {
				continue
			}
			seen[id] = struct{}{}
			if !yield(id, nil) {
				return
			}
		}
	}
}

// trees streams the instances of the trees whose roots are named, without
// sub-orchestrations in other statuses than the choice has.
func (ed *editing) trees(c *choice, roots iter.Seq2[string, error]) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		q, err := manage.New(ed.ctx, ed.r, manage.Options{})
		if err != nil {
			yield("", err)
			return
		}
		for root, err := range roots {
			if err != nil {
				yield("", err)
				return
			}
			for id, err := range q.Tree(ed.ctx, root) {
				ok := err == nil
				if ok {
					ok, err = ed.inTree(q, c, root, id)
				}
				if err != nil {
					yield("", err)
					return
				}
				if ok && !yield(id, nil) {
					return
				}
			}
		}
	}
}

func (ed *editing) inTree(q *manage.Query, c *choice, root, id string) (bool, error) {
	state, err := q.Instance(ed.ctx, id, manage.ShowNone)
	if err != nil || state == nil {
		return id == root, err // an unknown root is told of
	}
	return c.statuses == nil || slices.Contains(c.statuses, state.Row.Status()), nil
}

// maxLine bounds a line of a file of IDs.
const maxLine = 1 << 20

// idsOfFile streams the IDs in a file, or in stdin for "-". A line is an ID, or a
// JSON object as other commands print them, with the instance's ID as instance_id
// or as in get-instances. Lines of other types, such as the summary at the end,
// are no instances.
func idsOfFile(path string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		f, name := os.Stdin, "stdin"
		if path != "-" {
			var err error
			if f, err = os.Open(path); err != nil {
				yield("", err)
				return
			}
			defer f.Close() //nolint:errcheck // only read
			name = path
		}
		for line, err := range idLines(f) {
			if err != nil {
				err = fmt.Errorf("%s: %w", name, err)
			}
			if !yield(line, err) {
				return
			}
		}
	}
}

func idLines(r io.Reader) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, maxLine)
		n := 0
		for lines.Scan() {
			n++
			line := bytes.TrimSuffix(lines.Bytes(), []byte("\r"))
			if n == 1 {
				line = bytes.TrimPrefix(line, []byte("\uFEFF"))
			}
			id, err := idOfLine(line)
			switch {
			case err != nil:
				yield("", fmt.Errorf("line %d: %w", n, err))
				return
			case id != "" && !yield(id, nil):
				return
			}
		}
		if err := lines.Err(); err != nil {
			yield("", fmt.Errorf("line %d: %w", n+1, err))
		}
	}
}

func idOfLine(line []byte) (string, error) {
	if len(line) == 0 || line[0] != '{' || !json.Valid(line) {
		return string(line), nil
	}
	var v struct {
		Type                  string  `json:"type"`
		ID                    *string `json:"instance_id"`
		OrchestrationInstance struct {
			InstanceID *string `json:"InstanceId"`
		}
	}
	if err := json.Unmarshal(line, &v); err != nil {
		return "", err
	}
	switch {
	case v.ID != nil:
		return *v.ID, nil
	case v.OrchestrationInstance.InstanceID != nil:
		return *v.OrchestrationInstance.InstanceID, nil
	case v.Type == "":
		return "", errors.New("a JSON object without instance_id")
	}
	return "", nil
}

// spool keeps IDs in a file, so that exactly those are worked on that the plan has
// counted, however many they are.
type spool struct {
	f     *os.File
	w     *bufio.Writer
	count int64
	first []string
}

func newSpool() (*spool, error) {
	f, err := os.CreateTemp("", "taskhub-ids-")
	if err != nil {
		return nil, err
	}
	return &spool{f: f, w: bufio.NewWriter(f)}, nil
}

// maxFirst is how many IDs a plan shows.
const maxFirst = 5

func (s *spool) add(id string) error {
	s.count++
	if len(s.first) < maxFirst {
		s.first = append(s.first, id)
	}
	_, err := s.w.Write(append(binary.AppendUvarint(nil, uint64(len(id))), id...))
	return err
}

func (s *spool) ids() iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		err := s.w.Flush()
		if err == nil {
			_, err = s.f.Seek(0, io.SeekStart)
		}
		r := bufio.NewReader(s.f)
		for range s.count {
			var n uint64
			if err == nil {
				n, err = binary.ReadUvarint(r)
			}
			id := make([]byte, min(n, maxLine))
			if err == nil {
				_, err = io.ReadFull(r, id)
			}
			if err != nil {
				yield("", err)
				return
			}
			if !yield(string(id), nil) {
				return
			}
		}
	}
}

func (s *spool) remove() {
	_ = s.f.Close()
	_ = os.Remove(s.f.Name())
}
