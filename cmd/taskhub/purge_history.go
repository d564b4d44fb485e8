package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// Options of purge-history.
const (
	optOrphans = "orphans"
	optBlobs   = "blobs"
	optGrace   = "grace"
	optArchive = "archive"
	optPolicy  = "policy"
)

func purgeHistoryCommand() *cli.Command {
	flags := slices.DeleteFunc(slices.Concat(chooseFlags(), []cli.Flag{treeFlag()}, bulkFlags()), func(f cli.Flag) bool {
		// All is the default here, and what is gone need not be remembered.
		return slices.Contains(f.Names(), optAll) || slices.Contains(f.Names(), optReport)
	})
	return editCommand(&cli.Command{
		Name:  "purge-history",
		Usage: "delete instances that have ended, with their history and payloads",
		Description: description(
			"Deletes orchestrations that have ended: their payloads, history of all executions and row,\n"+
				"in this order, so that an interrupted purge goes on when it is run again. Without --id all\n"+
				"of them go that match the filters. Entities and what has not ended go only if they are\n"+
				"named with --id or --id-file; what runs, and entities in use, only with --force. Messages\n"+
				"in the queues stay.\n\n"+
				"--policy is for a job that runs every night: a YAML file of rules, the first that matches\n"+
				"an instance says how long it is kept:\n\n"+
				"  rules:\n"+
				"    - function: Order*     # name, with * and ?; or a list\n"+
				"      status: [Failed]     # Completed, Failed, Canceled, Terminated\n"+
				"      keep: 90d            # or 12h, forever\n"+
				"      age: completed       # or updated; since when that counts\n"+
				"    - keep: 30d",
			[]string{
				"taskhub purge-history --created-before 2026-11-14T19:35Z --runtime-status completed failed --dry-run",
				"taskhub purge-history --policy retention.yaml --archive /backup/orders --yes",
				"taskhub purge-history --id order-1 --tree",
				"taskhub purge-history --orphans --blobs --grace 48h",
			},
			exitDone, exitFailed, exitUsage, exitSkipped, exitNotFound, exitUnauthorized, exitInterrupted,
		),
		Flags: append(flags,
			&cli.BoolFlag{DisableDefaultText: true, Name: optForce, Usage: "also what has not ended, of the instances that are named"},
			&cli.StringFlag{Name: optPolicy, Usage: "keep instances for as long as the rules in `FILE` say"},
			&cli.BoolFlag{DisableDefaultText: true, Name: optOrphans, Usage: "history without an instance, and payloads without either"},
			&cli.BoolFlag{DisableDefaultText: true, Name: optBlobs, Usage: "payloads that no row and no message names"},
			&cli.DurationFlag{Name: optGrace, Value: manage.DefaultGrace, Usage: "--orphans and --blobs spare what was written in the last `TIME`"},
			&cli.StringFlag{Name: optArchive, Usage: "before anything is deleted, put it into a capture in the folder `DIR`"},
		),
	}, runPurgeHistory)
}

// purging is one run of purge-history.
type purging struct {
	*editing
	ids    []string
	file   string
	tree   bool
	filter *manage.Filter // nil unless instances are chosen by their rows
	policy *manage.Policy
	max    int
	bulk   manage.BulkOptions
	began  time.Time

	// What the plan has found: instances that were chosen by their rows or named, or
	// with --tree in batches, each of which may go when the one before has gone.
	chosen  *spool
	batches [][]string
	orphans *spool
	blobs   *manage.Unreferenced
	rules   []ruleReport

	purger  *manage.Purger
	archive *snapshot.Reader
	sum     purgeSummary
	only    error // why the last item was not purged
}

func runPurgeHistory(s *session) error {
	p := &purging{began: time.Now(), file: s.String(optIDFile), tree: s.Bool(optTree), max: s.Int(optMax)}
	if err := p.options(s); err != nil {
		return err
	}
	return s.withEditor(func(ed *editing) error {
		p.editing = ed
		return p.run()
	})
}

// options reads the options and refuses combinations that make no sense.
func (p *purging) options(s *session) error {
	ids, err := s.nonEmpty("id")
	if err != nil {
		return err
	}
	for _, id := range ids { // each once
		if !slices.Contains(p.ids, id) {
			p.ids = append(p.ids, id)
		}
	}
	for _, name := range []string{optIDFile, optArchive, optPolicy, optIDPrefix} {
		if s.IsSet(name) && s.String(name) == "" {
			return s.usagef("option --%s is empty", name)
		}
	}
	filters := slices.DeleteFunc([]string{optPolicy, optStatus, optName, optIDPrefix, optCreatedAfter, optCreatedBefore},
		func(name string) bool { return !s.IsSet(name) })
	switch {
	case len(p.ids) > 0 && p.file != "":
		return s.usagef("--id and --%s contradict each other", optIDFile)
	case p.named() && len(filters) > 0:
		return s.usagef("--id and --%s name instances, and --%s chooses others", optIDFile, filters[0])
	case p.tree && !p.named():
		return s.usagef("--%s is about an instance: it needs --id", optTree)
	case s.Bool(optForce) && !p.named():
		return s.usagef("--%s is for instances that are named with --id or --%s: by filter only those go that have ended", optForce, optIDFile)
	case s.IsSet(optPolicy) && (s.IsSet(optStatus) || s.IsSet(optName)):
		return s.usagef("--%s and --%s both say which instances go", optPolicy, filters[1])
	case s.IsSet(optGrace) && !s.Bool(optOrphans) && !s.Bool(optBlobs):
		return s.usagef("--%s is about --%s and --%s", optGrace, optOrphans, optBlobs)
	case s.Duration(optGrace) < time.Second:
		return s.usagef("option --%s: must be at least 1s", optGrace)
	}
	c := &choice{max: p.max}
	if err := s.bulkOptions(c); err != nil {
		return err
	}
	p.bulk = c.bulk
	if !p.named() && (len(filters) > 0 || !s.Bool(optOrphans) && !s.Bool(optBlobs)) {
		if p.filter, err = s.purgeFilter(); err != nil {
			return err
		}
	}
	if s.IsSet(optPolicy) {
		p.policy, err = readPolicy(s.String(optPolicy))
	}
	return err
}

// named reports whether the options name instances.
func (p *purging) named() bool { return len(p.ids) > 0 || p.file != "" }

func (s *session) purgeFilter() (*manage.Filter, error) {
	f := manage.Filter{IDPrefix: s.String(optIDPrefix)}
	var err error
	if f.Statuses, err = s.statuses(); err != nil {
		return nil, err
	}
	if f.Names, err = s.nonEmpty(optName); err != nil {
		return nil, err
	}
	if f.CreatedFrom, f.CreatedTo, err = s.window(optCreatedAfter, optCreatedBefore); err != nil {
		return nil, err
	}
	ended, err := manage.EndedOnly(f)
	if errors.Is(err, manage.ErrNoneEnded) {
		return nil, s.usagef("option --%s: what is %s has not ended; by filter only those go that are Completed, Failed, Canceled or Terminated, and others if --id names them and --%s insists",
			optStatus, listed(f.Statuses), optForce)
	}
	return &ended, err
}

func readPolicy(path string) (*manage.Policy, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	p, err := manage.ParsePolicy(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return p, nil
}

// over reports whether the policy lets an instance go.
func (p *purging) over(i *schema.Instance) bool {
	_, over := p.policy.Match(i, schema.TicksOf(p.began))
	return over
}

func (p *purging) run() error {
	defer p.close()
	if err := errors.Join(p.introduce(), p.plan()); err != nil {
		return err
	}
	if err := p.tellPlan(); err != nil {
		return err
	}
	p.sum.begin(p)
	if p.e != nil && p.sum.Chosen > 0 {
		if err := p.confirm("Purge?"); err != nil {
			return err
		}
		if p.IsSet(optArchive) {
			if err := p.keep(p.String(optArchive)); err != nil {
				return fmt.Errorf("archive, so nothing was deleted: %w", err)
			}
		}
	}
	err := p.work()
	if p.ctx.Err() != nil {
		p.sum.Interrupted, err = true, errInterrupted
	}
	p.sum.TookMS = time.Since(p.began).Milliseconds()
	return p.end(err)
}

func (p *purging) close() {
	for _, s := range []*spool{p.chosen, p.orphans} {
		if s != nil {
			s.remove()
		}
	}
	if p.archive != nil {
		_ = p.archive.Close() // only read
	}
}

// plan finds what is to go. It only reads.
func (p *purging) plan() (err error) {
	if p.chosen, err = newSpool(); err != nil {
		return err
	}
	switch {
	case p.filter != nil:
		err = p.planMatching()
	case p.tree:
		err = p.planTrees()
	case p.named():
		err = p.planNamed()
	}
	if err == nil && p.Bool(optOrphans) {
		err = p.planOrphans()
	}
	if err == nil && (p.Bool(optOrphans) || p.Bool(optBlobs)) {
		err = p.planPayloads()
	}
	return err
}

// versionEnd stands between version and ID in the spool of instances that were
// chosen by their rows. No ETag has it.
const versionEnd = "\x00"

// idOf drops the version before an ID.
func idOf(entry string) string {
	if _, id, ok := strings.Cut(entry, versionEnd); ok {
		return id
	}
	return entry
}

// planMatching finds the instances that match the filter, and with a policy counts
// what its rules say.
func (p *purging) planMatching() error {
	var options manage.PurgeOptions
	if p.policy != nil {
		for i := range p.policy.Rules {
			r := &p.policy.Rules[i]
			p.rules = append(p.rules, ruleReport{Rule: r.String(), Line: r.Line})
		}
		p.rules = append(p.rules, ruleReport{Rule: "no rule"})
		options.Select = func(i *schema.Instance) bool {
			rule, over := p.policy.Match(i, schema.TicksOf(p.began))
			if rule < 0 {
				rule = len(p.rules) - 1
			}
			if over {
				p.rules[rule].Deletes++
			} else {
				p.rules[rule].Keeps++
			}
			return over
		}
	}
	planner, err := manage.NewPurger(p.ctx, p.r, nil, options)
	if err != nil {
		return err
	}
	for c, err := range planner.Matching(p.ctx, *p.filter) {
		if err != nil {
			return err
		}
		if p.max > 0 && p.chosen.count == int64(p.max) {
			if p.policy == nil {
				break
			}
			continue // the rules count on
		}
		if err := p.chosen.add(c.Version + versionEnd + c.InstanceID); err != nil {
			return err
		}
	}
	return nil
}

// planNamed keeps the IDs that are named, each once.
func (p *purging) planNamed() error {
	for id, err := range p.chosenOf() {
		if err != nil {
			return err
		}
		if err := p.chosen.add(id); err != nil {
			return err
		}
		if p.chosen.count == int64(p.max) {
			break
		}
	}
	return nil
}

func (p *purging) chosenOf() iter.Seq2[string, error] {
	return p.editing.chosen(&choice{ids: p.ids, file: p.file})
}

// planTrees finds the instances of trees, children before their parents. If one of
// a tree has not ended, nothing goes.
func (p *purging) planTrees() error {
	q, err := manage.New(p.ctx, p.r, manage.Options{})
	if err != nil {
		return err
	}
	count := 0
	for root, err := range p.chosenOf() {
		if err != nil {
			return err
		}
		generations, err := q.Generations(p.ctx, root)
		if err != nil {
			return err
		}
		slices.Reverse(generations)
		for _, ids := range generations {
			for _, id := range ids {
				state, err := q.Instance(p.ctx, id, manage.ShowNone)
				if err != nil {
					return err
				}
				if state != nil && !state.Row.Status().Terminal() && !p.Bool(optForce) {
					return fmt.Errorf("tree of %q: %w", root, &manage.StateError{InstanceID: id, Operation: "purge", Status: state.Row.Status()})
				}
			}
			count += len(ids)
			p.batches = append(p.batches, ids)
		}
	}
	if p.max > 0 && count > p.max {
		return p.usagef("there are %s, and --%s allows %d: a tree goes as a whole", ui.Plural(int64(count), "instance", "instances"), optMax, p.max)
	}
	return nil
}

func (p *purging) planOrphans() error {
	q, err := manage.New(p.ctx, p.r, manage.Options{})
	if err != nil {
		return err
	}
	if p.orphans, err = newSpool(); err != nil {
		return err
	}
	for id, err := range q.OrphanIDs(p.ctx, manage.Filter{}) {
		if err != nil {
			return err
		}
		if err := p.orphans.add(id); err != nil {
			return err
		}
	}
	return nil
}

func (p *purging) planPayloads() (err error) {
	p.blobs, err = manage.FindUnreferenced(p.ctx, p.r, manage.UnreferencedOptions{
		Now: time.Now, Grace: p.Duration(optGrace), Orphans: !p.Bool(optBlobs),
	})
	if err != nil {
		return err
	}
	for b, err := range p.blobs.Blobs(p.ctx) {
		if err != nil {
			return err
		}
		p.sum.UnreferencedFound++
		p.sum.unreferencedBytes += b.SizeBytes
	}
	return nil
}

// minListed is from how many instances on a list of all payloads is cheaper than
// one for each of them.
const minListed = 50

// work purges what the plan has found.
func (p *purging) work() error {
	options := manage.PurgeOptions{Force: p.Bool(optForce), Now: time.Now}
	if p.policy != nil {
		options.Select = p.over
	}
	if p.archive != nil {
		options.Archive = p.archive
	}
	var err error
	if p.purger, err = manage.NewPurger(p.ctx, p.r, p.e, options); err != nil {
		return err
	}
	if p.filter != nil && p.chosen.count >= minListed {
		if err := p.purger.ListFolders(p.ctx); err != nil {
			return err
		}
	}
	if err := p.each("instance", p.chosen.ids(), p.instance); err != nil {
		return err
	}
	for _, ids := range p.batches {
		left := p.sum.Refused + p.sum.Failed
		if err := p.each("instance", sliceOf(ids), p.instance); err != nil {
			return err
		}
		if p.sum.Refused+p.sum.Failed > left {
			break // their parents are how they are found again
		}
	}
	if p.orphans != nil {
		if err := p.each("orphan", p.orphans.ids(), p.orphan); err != nil {
			return err
		}
	}
	if p.blobs == nil {
		return nil
	}
	var found sync.Map // payloads by name, on their way to a worker
	names := func(yield func(string, error) bool) {
		for b, err := range p.blobs.Blobs(p.ctx) {
			found.Store(b.Name, b)
			if !yield(b.Name, err) {
				return
			}
		}
	}
	return p.each("payload", names, func(ctx context.Context, name string) (purgeReport, error) {
		v, _ := found.LoadAndDelete(name)
		b, _ := v.(hub.Blob)
		n, err := p.purger.Payload(ctx, b)
		return purgeReport{Blob: name, Blobs: n, BlobBytes: n * b.SizeBytes}, err
	})
}

func sliceOf(ids []string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, id := range ids {
			if !yield(id, nil) {
				return
			}
		}
	}
}

// instance purges one instance.
func (p *purging) instance(ctx context.Context, entry string) (purgeReport, error) {
	version, id, selected := strings.Cut(entry, versionEnd)
	var done manage.Purged
	var err error
	if selected {
		done, err = p.purger.Candidate(ctx, manage.Candidate{InstanceID: id, Version: version})
	} else {
		done, err = p.purger.Instance(ctx, entry)
	}
	r := newPurgeReport(&done)
	if err == nil && done.Zero() {
		r.Reason = "there is no such instance"
	}
	return r, err
}

// orphan purges one history without an instance.
func (p *purging) orphan(ctx context.Context, id string) (purgeReport, error) {
	done, err := p.purger.Orphan(ctx, id, schema.TicksOf(p.began.Add(-p.Duration(optGrace))))
	r := newPurgeReport(&done)
	switch {
	case errors.Is(err, manage.ErrRecent):
		r.Reason, err = err.Error(), nil
	case err == nil && done.Zero():
		r.Reason = "it has an instance by now, or is gone"
	}
	return r, err
}

// each purges what ids name, several at once, and tells what became of each. What
// was begun is finished when somebody presses Ctrl-C.
func (p *purging) each(kind string, ids iter.Seq2[string, error], do func(ctx context.Context, id string) (purgeReport, error)) error {
	ctx, end := context.WithCancelCause(p.ctx)
	defer end(nil)
	line := p.progressLine()
	line.start()
	defer line.stop()
	one := func(_ context.Context, id string) (purgeReport, error) {
		if err := p.gate.enter(ctx); err != nil {
			return purgeReport{}, errNotBegun
		}
		defer p.gate.leave()
		return do(context.WithoutCancel(ctx), id)
	}
	failures := 0
	for r, err := range manage.Bulk(ctx, ids, p.bulk, one) {
		if err != nil {
			return err
		}
		if errors.Is(r.Err, errNotBegun) {
			continue
		}
		p.judge(kind, &r.Value, r.Err)
		p.only = r.Err
		p.sum.add(&r.Value)
		line.update(ui.Step{Name: "purge", Unit: "items", Done: p.sum.Done + p.sum.Skipped + p.sum.Refused + p.sum.Failed, Total: p.sum.Chosen})
		if err := p.tellOf(&r.Value); err != nil {
			end(err)
		}
		if failures++; r.Value.Outcome != resultFailed || errors.Is(r.Err, hub.ErrConflict) {
			failures = 0
		}
		switch {
		case errors.Is(r.Err, hub.ErrUnauthorized):
			end(r.Err) // so would all others
		case failures == maxFailures:
			end(fmt.Errorf("%d failures in a row: %w", failures, r.Err))
		}
	}
	return context.Cause(ctx)
}

// judge completes what was reported of an item.
func (p *purging) judge(kind string, r *purgeReport, err error) {
	r.Type, r.Kind, r.DryRun = "purge", kind, p.e == nil
	var state *manage.StateError
	var argument *manage.ArgumentError
	if errors.As(err, &state) {
		r.RuntimeStatus = state.Status.String()
	}
	switch {
	case err == nil && r.Reason != "":
		r.Outcome = resultSkipped
	case err == nil:
		r.Outcome = resultDone
	case errors.Is(err, manage.ErrNotSelected), p.filter != nil && state != nil:
		r.Outcome, r.Reason = resultSkipped, "it has changed since it was chosen"
	case state != nil, errors.As(err, &argument), errors.Is(err, manage.ErrLocked), errors.Is(err, manage.ErrRecent):
		r.Outcome, r.Error = resultRefused, scrub(err.Error())
	case errors.Is(err, manage.ErrNotArchived):
		r.Outcome, r.Error = resultRefused, scrub(err.Error())
	default:
		r.Outcome, r.Error = resultFailed, scrub(err.Error())
	}
}
