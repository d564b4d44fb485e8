package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// Options of replay.
const (
	optAt           = "at"
	optEpisode      = "episode"
	optTimeline     = "timeline"
	optFormat       = "format"
	optMaxInstances = "max-instances"
	optNoEntities   = "no-entities"
)

func replayCommand() *cli.Command {
	return command(&cli.Command{
		Name:  "replay",
		Usage: "recompute from history what instances are and what they wait for",
		Description: description(
			"Replays histories by the framework's rules: status, output and times, the activities,\n"+
				"timers, sub-orchestrations, events and entities that are waited for, what an earlier\n"+
				"execution has left, and where the row of the Instances table says something else. With\n"+
				"--at or --episode everything is as it was then, and nothing is compared.\n\n"+
				"--timeline prints the events of an instance, its sub-orchestrations and the entities that\n"+
				"they call, merged by time: as text, JSON Lines, or a Mermaid diagram.\n\n"+
				"Differences do not change the exit code: \"taskhub verify\" judges.",
			[]string{
				"taskhub replay --snapshot orders.taskhub --id order-1",
				"taskhub replay --snapshot orders.taskhub --id order-1 --at 2026-11-22T04:07:21Z",
				"taskhub replay --snapshot orders.taskhub --all --json | jq 'select(.differences != [])'",
				"taskhub replay --snapshot orders.taskhub --id order-1 --timeline --format sequence",
			},
			exitDone, exitFailed, exitUsage, exitSkipped, exitNotFound, exitUnauthorized, exitInterrupted,
		),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "id", Usage: "the instance `ID`"},
			&cli.BoolFlag{DisableDefaultText: true, Name: "all", Usage: "every instance of the hub"},
			createdAfterFlag(), createdBeforeFlag(), statusFlag(), nameFlag(), idPrefixFlag(),
			&cli.BoolFlag{DisableDefaultText: true, Name: optNoEntities, Usage: "leave out entities"},
			&cli.StringFlag{Name: optAt, Usage: "replay only what had been done at `TIME`, in whole episodes"},
			&cli.Int64Flag{Name: optEpisode, Usage: "replay only the first `N` episodes", DefaultText: "all"},
			&cli.BoolFlag{DisableDefaultText: true, Name: optTimeline, Usage: "print the events of --id and of what it started or called, by time"},
			&cli.StringFlag{Name: optFormat, Value: string(timelineText), Usage: "`FORMAT` of the timeline: text, json, sequence or gantt (Mermaid)"},
			&cli.IntFlag{Name: optMaxInstances, Value: 200, Usage: "follow the timeline to at most `N` instances"},
			maxPayloadFlag(),
		},
	}, runReplay)
}

func runReplay(s *session) error {
	if s.IsSet("id") {
		if _, err := s.text("id"); err != nil {
			return err
		}
	}
	f, err := s.replayFilter()
	if err != nil {
		return err
	}
	opts, err := s.replayPrefix()
	if err != nil {
		return err
	}
	limit, err := s.size(optMaxPayload)
	if err != nil {
		return err
	}
	if s.Bool(optTimeline) {
		return s.runTimeline(limit)
	}
	for _, name := range []string{optFormat, optMaxInstances} {
		if s.IsSet(name) {
			return s.usagef("--%s is about a timeline: it needs --%s", name, optTimeline)
		}
	}
	return s.withSource(func(r hub.Reader) error {
		p, err := s.newReplayPrinter(r, opts, limit)
		if err != nil {
			return err
		}
		if s.IsSet("id") {
			return p.one(s.String("id"))
		}
		return p.all(&f)
	})
}

// replayFilter reads the options that choose instances.
func (s *session) replayFilter() (f replayFilter, err error) {
	filters := []string{optStatus, optName, optIDPrefix, optCreatedAfter, optCreatedBefore, optNoEntities}
	set := slices.DeleteFunc(append([]string{"all"}, filters...), func(name string) bool { return !s.IsSet(name) })
	switch {
	case s.IsSet("id") && len(set) > 0:
		return f, s.usagef("--id and --%s contradict each other", set[0])
	case s.IsSet("id"):
		return f, nil
	case len(set) == 0:
		return f, s.usagef("name an instance with --id, or take all with --all or some with a filter such as --%s", optStatus)
	}
	if f.statuses, err = s.statuses(); err != nil {
		return f, err
	}
	if f.names, err = s.nonEmpty(optName); err != nil {
		return f, err
	}
	if f.createdFrom, f.createdTo, err = s.window(optCreatedAfter, optCreatedBefore); err != nil {
		return f, err
	}
	f.keys = []hub.Keys{hub.Prefix(s.String(optIDPrefix))}
	if s.Bool(optNoEntities) {
		f.keys = hub.Intersect(f.keys, hub.OrchestrationKeys())
	}
	return f, nil
}

// replayPrefix reads the options that choose how much is replayed.
func (s *session) replayPrefix() (o replay.Options, err error) {
	o.OmitInputs = true
	if s.IsSet(optAt) && s.IsSet(optEpisode) {
		return o, s.usagef("--%s and --%s contradict each other", optAt, optEpisode)
	}
	if o.At, err = s.ticks(optAt); err != nil {
		return o, err
	}
	if o.Episode = s.Int64(optEpisode); s.IsSet(optEpisode) && o.Episode < 1 {
		return o, s.usagef("option --%s: must be at least 1", optEpisode)
	}
	return o, nil
}

// replayFilter selects instances as get-instances does, by their rows; those
// without a row by what their history says.
type replayFilter struct {
	keys                   []hub.Keys // in key order
	statuses               []schema.Status
	names                  []string
	createdFrom, createdTo schema.Ticks
}

func (f *replayFilter) matches(status schema.Status, name string, created schema.Ticks) bool {
	switch {
	case len(f.statuses) > 0 && !slices.Contains(f.statuses, status),
		len(f.names) > 0 && !slices.Contains(f.names, name):
		return false
	case f.createdFrom == 0 && f.createdTo == 0:
		return true
	}
	return created != 0 && created >= f.createdFrom && (f.createdTo == 0 || created <= f.createdTo)
}

func (f *replayFilter) matchesRow(i *schema.Instance) bool {
	return f.matches(i.Status(), i.Name.Value, i.CreatedTime.Value)
}

// replayPrinter replays instances of one hub and prints them.
type replayPrinter struct {
	*session
	r         hub.Reader
	opts      replay.Options
	replayer  *replay.Replayer
	container string // of large messages
	limit     int64

	// loaded holds the payloads of the instance at hand: its row and its history
	// refer to the same.
	loaded map[schema.Ref]loadedText

	printed, differing, anomalous int64
}

type loadedText struct {
	text schema.Text
	err  error
}

func (s *session) newReplayPrinter(r hub.Reader, opts replay.Options, limit int64) (*replayPrinter, error) {
	info, err := r.Info(s.ctx)
	if err != nil {
		return nil, err
	}
	return &replayPrinter{
		session: s, r: r, opts: opts, replayer: replay.New("", opts), container: info.Names.LargeMessages(), limit: limit,
	}, nil
}

// one prints one instance.
func (p *replayPrinter) one(id string) error {
	found := false
	err := p.walk(hub.Partition(schema.EscapeKey(id)), nil, func(i *replayed) error {
		found = true
		if p.json {
			return writeJSON(p.stdout, i.line())
		}
		return p.page(i)
	})
	if err != nil || found {
		return err
	}
	return p.notFound(id)
}

// notFound says that there is no such instance, as get-runtime-status does.
func (s *session) notFound(id string) error {
	if s.json {
		return writeJSON(s.stdout, notFoundReport{"not-found", id})
	}
	_, err := fmt.Fprintf(s.stdout, "Could not find an orchestration instance with id '%s'\n", ui.Escape(id))
	return err
}

// all prints the instances that a filter selects, one after the other.
func (p *replayPrinter) all(f *replayFilter) error {
	for _, keys := range f.keys {
		err := p.walk(keys, f, func(i *replayed) error {
			p.printed++
			if p.json {
				return writeJSON(p.stdout, i.line())
			}
			return p.tableRow(i)
		})
		if err != nil {
			return err
		}
	}
	if p.json {
		return nil
	}
	return p.sum()
}

// replayed is what is known of one instance.
type replayed struct {
	id      string
	row     *schema.Instance // nil without one
	history *replay.History
	verdict replay.Verdict
	// prefix says that the history was cut on request, so that the row, which
	// is of now, says nothing of it.
	prefix bool
	output schema.Text
	// failure is the member FailureDetails of the completion.
	failure schema.Text
}

// walk replays the instances with these keys. Memory is that of one replay and a
// page of each table.
func (p *replayPrinter) walk(keys hub.Keys, f *replayFilter, do func(*replayed) error) error {
	begun, skip := false, false
	var row *schema.Instance
	for part, err := range hub.Join(p.ctx, p.r, keys) {
		if err != nil {
			return err
		}
		if !begun {
			begun, skip, row = true, false, nil
			p.replayer.Reset(part.PartitionKey)
			if part.Instance != nil {
				i, err := schema.DecodeInstance(part.Instance)
				row = &i
				if skip = f != nil && !f.matchesRow(row); !skip && err != nil {
					p.warn(err)
				}
			}
		}
		if !skip {
			for i := range part.History {
				p.replayer.Add(&part.History[i])
			}
		}
		if part.More {
			continue
		}
		begun = false
		if skip {
			continue
		}
		i, err := p.judge(row, p.replayer.End())
		if err != nil {
			return err
		}
		if row == nil && f != nil && !f.matches(i.verdict.Status, i.name(), i.history.Live.CreatedTime) {
			continue
		}
		p.problems(i)
		if err := do(i); err != nil {
			return err
		}
	}
	return nil
}

// judge compares the history of an instance with its row.
func (p *replayPrinter) judge(row *schema.Instance, h *replay.History) (*replayed, error) {
	p.loaded = nil
	i := &replayed{id: h.InstanceID, row: row, history: h, prefix: p.opts.At != 0 || p.opts.Episode != 0}
	if i.prefix {
		i.row = nil
	}
	i.verdict = replay.Compare(i.row, h, replay.Loader{Container: p.container, Load: p.load})
	var err error
	if i.output, err = h.Live.Output(p.loadMember); err != nil {
		i.output = schema.Text{}
	}
	if i.row != nil && i.fromRow("Output") {
		i.output = i.row.Output
		if ref := i.row.OutputRef(p.container); ref.Blob != "" {
			i.output, _ = p.load(ref)
		}
	}
	if c := h.Live.Completed; c != nil && !c.FailureDetails.IsNull() {
		i.failure = c.FailureDetails
		if i.failure.Blob != "" && p.loadMember("FailureDetails", &i.failure) != nil {
			i.failure = schema.Text{}
		}
	}
	return i, context.Cause(p.ctx)
}

// load returns a payload. Each is read once for an instance, and problems told
// when all is done.
func (p *replayPrinter) load(ref schema.Ref) (schema.Text, error) {
	if l, ok := p.loaded[ref]; ok {
		return l.text, l.err
	}
	var l loadedText
	l.text, l.err = hub.LoadRef(p.ctx, p.r, p.container, ref, p.limit)
	if p.loaded == nil {
		p.loaded = make(map[schema.Ref]loadedText)
	}
	p.loaded[ref] = l
	return l.text, l.err
}

func (p *replayPrinter) loadMember(_ string, t *schema.Text) error {
	text, err := p.load(schema.Ref{Blob: schema.StoredBlobName(t.Blob)})
	if err == nil {
		t.Load(text.Value)
	}
	return err
}

// problems tells what could not be read of an instance.
func (p *replayPrinter) problems(i *replayed) {
	for _, ref := range slices.SortedFunc(maps.Keys(p.loaded), func(a, b schema.Ref) int { return cmp.Compare(a.Blob, b.Blob) }) {
		if err := p.loaded[ref].err; err != nil {
			p.warn(fmt.Errorf("payload of instance %q: %w", i.id, err))
		}
	}
	told := int64(0)
	for _, a := range i.history.Anomalies {
		if a.Code == replay.AnomalyUndecodable {
			told++
			p.warn(fmt.Errorf("history of instance %q, row %s: %s", i.id, strings.Join(a.RowKeys, ", "), a.Detail))
		}
	}
	if more := i.history.AnomalyCounts[replay.AnomalyUndecodable] - told; more > 0 {
		p.warnOf(more, fmt.Errorf("history of instance %q: %s more", i.id, ui.Plural(more, "damaged row", "damaged rows")))
	}
	if i.differs() {
		p.differing++
	}
	if len(i.history.Anomalies) > 0 {
		p.anomalous++
	}
}

func (i *replayed) differs() bool { return len(i.verdict.Differences) > 0 }

// fromRow reports whether the row alone tells a column.
func (i *replayed) fromRow(column string) bool {
	return i.row != nil && slices.Contains(i.verdict.NotDerivable, column)
}

// The values of an instance: what its history says, or, where history does not
// tell them, its row.

func (i *replayed) name() string {
	if e := i.history.Live.Started; e != nil {
		return e.Name.Value
	}
	if i.row != nil {
		return i.row.Name.Value
	}
	return ""
}

func (i *replayed) version() schema.Optional[string] {
	if e := i.history.Live.Started; e != nil {
		return e.Version
	}
	if i.row != nil {
		return i.row.Version
	}
	return schema.Optional[string]{}
}

func (i *replayed) generation() schema.Optional[int32] {
	if i.fromRow("Generation") {
		return i.row.Generation
	}
	if e := i.history.Live.Started; e != nil {
		return e.Generation
	}
	return schema.Optional[int32]{}
}

func (i *replayed) created() schema.Ticks {
	if i.fromRow("CreatedTime") {
		return i.row.CreatedTime.Value
	}
	return i.history.Live.CreatedTime
}

func (i *replayed) completed() schema.Ticks {
	if i.fromRow("CompletedTime") {
		return i.row.CompletedTime.Value
	}
	return i.history.Live.CompletedTime
}

func (i *replayed) lastUpdated() schema.Ticks {
	if i.fromRow("LastUpdatedTime") {
		return i.row.LastUpdatedTime.Value
	}
	return i.history.Live.LastUpdatedTime
}
