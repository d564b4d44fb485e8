package migrate

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// ErrDiffers is returned when the copy is not what the plan wants. No message was
// sent.
var ErrDiffers = errors.New("the copy differs from the source")

// Run moves a hub: to another account, name, partition count or version of the
// framework, with the work in flight. The source must be stopped and is only
// read. If the plan, which Run makes anew, has refusals, it returns a
// [*RefusedError] and writes nothing.
//
// It writes the blobs, the history with the rows that redrive work, the rows of
// Instances as they are in the new place, and new leases. Then it compares the
// copy with the source, and returns ErrDiffers with the differences in the report
// if there are any. Messages come last, into queues that are emptied before; they
// are counted, and those that a peek shows are compared with what was sent. The
// report that comes with an error says how far it was.
//
// If it fails half-way or is killed, what was written stays, and a run with
// Options.Resume and the same journal finishes the job. Of rows and blobs it writes
// what the journal does not say to be there, or all of them if the plan is another
// one by now: because the source has changed, or messages have come into sight.
// Messages are sent from the beginning, unless the migration has ended: then Run
// only compares and reports, so that no message is ever sent twice that a worker
// may have taken.
//
// A copy that was once found to be whole is never written to again if it has
// changed since: an app has used it. Run returns ErrDiffers or hub.ErrInUse then,
// and hub.ErrInUse also if the source changes meanwhile.
//
// The source is read once for the plan, once to be copied and once for the check.
// Memory is that of [Plan], [Compare], some hundred rows for each request, 64 MiB
// of blobs or a single larger one, and 60 bytes for each message. Messages and rows
// that redrive work are kept if they take no more than 16 MiB; if they do, they are
// found out once more when they are needed, which takes another reading.
func Run(ctx context.Context, src hub.Reader, dst Target, opts Options) (*Report, error) {
	m, err := newMigration(ctx, src, dst, opts, false)
	if err != nil {
		return nil, first(err, opts.Journal.close())
	}
	report := m.report()
	if len(m.plan.Refusals) > 0 {
		return report, first(&RefusedError{m.plan.Refusals}, opts.Journal.close())
	}
	v := m.view()
	r := &restoration{
		from: v, to: dst, info: &v.info, report: &RestoreReport{Rows: report.Rows},
		opts:    &RestoreOptions{Concurrency: m.opts.Concurrency, MaxBlobBytes: m.opts.MaxBlobBytes, OnProgress: m.opts.OnProgress},
		journal: m.opts.Journal, now: m.now, blobTotal: m.plan.Blobs + int64(len(m.artifacts.Blobs)),
	}
	err = first(m.run(ctx, r, report), m.opts.Journal.close())
	r.finish()
	report.Phases, report.Finished = append(report.Phases, r.log...), m.now()
	report.Blobs, report.BlobBytes = r.report.Blobs, r.report.Bytes
	return report, err
}

func (m *migration) now() schema.Ticks { return schema.TicksOf(m.opts.Now()) }

func (m *migration) run(ctx context.Context, r *restoration, report *Report) error {
	if m.plan.Done {
		return m.compare(ctx, r, report)
	}
	if err := m.enter(ctx, r.to); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{r.blobs, r.tables} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	if err := m.check(ctx, r, report); err != nil {
		return err
	}
	if err := m.send(ctx, r, report); err != nil {
		return err
	}
	return m.opts.Journal.append(&entry{Type: entryDone, At: m.now().String()})
}

// enter begins a run in the journal. From here on something may be written.
func (m *migration) enter(ctx context.Context, dst hub.Reader) error {
	j := m.opts.Journal
	if m.there && j.begun() && j.checked != nil && j.header.Plan != m.digest {
		// It would be written again. That it is not checked any more in lock step
		// must not mean that the work of an app is overwritten.
		now, err := m.digestsOf(ctx, dst)
		if err != nil {
			return err
		}
		if !now.equal(j.checked) {
			return fmt.Errorf("the source is another one than when hub %s was copied, and the copy has changed since, too: it is %w", m.opts.Names.TaskHub, hub.ErrInUse)
		}
	}
	return j.begin(&entry{Type: entryRun, At: m.now().String(), Run: &runHeader{
		identity: m.identity(), Created: m.created.String(), Plan: m.digest,
		Again: !m.there, // also if somebody has deleted what earlier runs have written
	}})
}

// digestsOf reads all of the target that has a digest.
func (m *migration) digestsOf(ctx context.Context, dst hub.Reader) (*Digests, error) {
	d := newDigesting(withoutMade{dst, m}, m.opts.Names, &m.opts)
	for _, table := range m.artifacts.Tables {
		for _, err := range d.Rows(ctx, table, hub.Keys{}) {
			if err != nil {
				return nil, err
			}
		}
	}
	for _, err := range d.Blobs(ctx, d.container, "") {
		if err != nil {
			return nil, err
		}
	}
	return &d.digests, nil
}

// compare reads both hubs side by side.
func (m *migration) compare(ctx context.Context, r *restoration, report *Report) error {
	v := m.view()
	containers, err := v.Containers(ctx)
	if err != nil {
		return err
	}
	total := r.blobTotal + int64(len(containers))
	for i := range v.info.Tables {
		total += v.info.Tables[i].Rows
	}
	r.begin(PhaseCheck, total)
	source := newDigesting(m.from, m.source.Names, &m.opts)
	source.selection = m.selection
	target := newDigesting(withoutMade{r.to, m}, m.opts.Names, &m.opts)
	v.Reader = source
	told := int64(0)
	report.Differences, err = Compare(ctx, v, target, CompareOptions{
		MaxBlobBytes: m.opts.MaxBlobBytes,
		OnProgress: func(n int64) {
			r.add(n, target.bytes-told)
			told = target.bytes
		},
	})
	report.Source, report.Target = source.digests, target.digests
	m.same = source.state() == m.sums.state()
	if err != nil {
		return err
	}
	info, err := r.to.Info(ctx)
	report.ToAccount = info.Account
	return err
}

// check compares the copy with the source, and what was copied with what was
// planned for.
func (m *migration) check(ctx context.Context, r *restoration, report *Report) error {
	j := m.opts.Journal
	whole := j.wasWhole()
	if err := m.compare(ctx, r, report); err != nil {
		return err
	}
	switch n := len(report.Differences); {
	case n > 0 && whole:
		return fmt.Errorf("%w in %d places or more, and did not when it was copied: an app has used it; no message was sent", ErrDiffers, n)
	case n > 0:
		return first(j.append(&entry{Type: entryDiffers, At: m.now().String()}),
			fmt.Errorf("%w in %d places or more: no message was sent", ErrDiffers, n))
	case !m.same:
		return fmt.Errorf("the source has changed since the plan was made: it is %w; no message was sent", hub.ErrInUse)
	}
	return j.append(&entry{Type: entryChecked, At: m.now().String(), Digests: report.Target.named()})
}

// identity says of what migration this is a run.
func (m *migration) identity() identity {
	id := identity{
		Version: journalVersion,
		Source:  journaledHub{Account: m.source.Account, TaskHub: m.source.Names.TaskHub, TrackingPrefix: m.source.Names.TrackingPrefix},
		Target: journaledHub{
			TaskHub: m.opts.Names.TaskHub, TrackingPrefix: m.opts.Names.TrackingPrefix,
			LargeMessages: strings.TrimSuffix(m.opts.BlobURL(m.opts.Names.LargeMessages(), ""), "/"),
		},
		Partitions: m.opts.Partitions, Manager: string(m.opts.Manager), Framework: 2, Encoding: "json",
		WithoutQueues: m.opts.WithoutQueues,
	}
	if !m.live() {
		id.Source.Captured = m.source.Started.String()
	}
	if m.opts.Version1 {
		id.Framework = 1
	}
	if m.opts.Encoding == schema.Base64 {
		id.Encoding = "base64"
	}
	if m.opts.Select != nil {
		id.Selection = m.sums.instances()
	}
	return id
}

// match finds out whether the journal is of this migration.
func (m *migration) match(context.Context, hub.Reader) error {
	m.digest = m.planDigest()
	m.planned = PhaseReport{
		Phase: PhasePlan, Started: schema.TicksOf(m.began), Finished: m.now(),
		Items: m.plan.Rows[hub.Instances] + m.plan.Rows[hub.History], Bytes: m.plan.RowBytes,
	}
	j, name := m.opts.Journal, m.opts.Names.TaskHub
	switch {
	case !j.begun():
		if m.there && m.opts.Resume {
			m.refuse(RefusedNoJournal, "hub %s exists, and no journal tells that an interrupted run has made it", name)
		}
		return nil
	case !m.opts.Resume:
		m.refuse(RefusedJournal, "it is of a migration that was begun before")
		return nil
	}
	now := m.identity()
	if differences := j.header.differences(&now); len(differences) > 0 {
		m.refuse(RefusedJournal, "it is of another migration: %s", strings.Join(differences, ", "))
		return nil
	}
	switch {
	case j.done && !m.there:
		m.refuse(RefusedJournal, "it says that the migration has ended, and hub %s does not exist", name)
	case j.done:
		// Nothing is written, so that nothing stands in its way.
		m.plan.Done, m.plan.Refusals = true, nil
	}
	return nil
}

// planDigest returns the digest of all that what is written is made of.
func (m *migration) planDigest() string {
	l := newLines()
	for _, part := range []string{m.sums.state(), m.items.end().SHA256} {
		l.text = append(l.text[:0], part...)
		l.add()
	}
	return l.end().SHA256
}

// rowTotal returns how many rows the plan counts, or -1 if nobody knows.
func (m *migration) rowTotal() int64 {
	if m.selection != nil {
		return -1
	}
	total := int64(0)
	for _, t := range m.source.Tables {
		switch {
		case t.Table == hub.Partitions:
		case t.Rows < 0:
			return -1
		default:
			total += t.Rows
		}
	}
	return total
}
