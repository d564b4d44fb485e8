package main

import (
	"errors"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

// Options of migrate.
const (
	optToPartitions = toPrefix + "partition-count"
	optToFramework  = toPrefix + "framework"
	optToManager    = toPrefix + "partition-manager"
	optEntities     = "entities-only"
	optJournal      = "journal"
	optReceive      = "receive-messages"
	optNoQueues     = "without-queues"
	optAcceptLost   = "accept-lost"
	optMaxBlob      = "max-blob"
)

func migrateCommand() *cli.Command {
	return commandWith(append(sourceFlags(), migrateTargetFlags()...), &cli.Command{
		Name:  "migrate",
		Usage: "move a hub, with its work in flight, to another account, name or partition count",
		Description: description(
			"Copies the hub that the options name into the one that the options with --to- name: payloads,\n"+
				"history, instances, and last the messages. The source must be stopped, its app and its\n"+
				"clients, and is only read; it may also be a capture. The target must not exist.\n\n"+
				"Messages that can be seen are carried over. Of those that cannot, such as timers and what a\n"+
				"worker had taken, the tables tell most, and they are made again; an activity whose input\n"+
				"is nowhere else is scheduled again by its orchestrator and may run twice, as any may. The\n"+
				"plan says of each item where it comes from, and what cannot be recovered: then nothing\n"+
				"is written, unless --accept-lost says to go on. A peek shows 32 messages of each queue;\n"+
				"--receive-messages reads all that are visible by taking them and giving them back.\n\n"+
				"The copy is compared with the source before the first message is sent. A run that was\n"+
				"interrupted is finished by the same command with --resume.",
			[]string{
				"taskhub migrate --task-hub-name Orders --to-connection-string-setting NewStorage --dry-run",
				"taskhub migrate --task-hub-name Orders --to-task-hub-name OrdersV2 --to-partition-count 8 --yes",
				"taskhub migrate --snapshot orders.taskhub --to-account contosotest --report orders.jsonl --yes",
				"taskhub migrate --task-hub-name Orders --to-account contosonew --id order-17 --tree --dry-run",
			},
			exitDone, exitFailed, exitUsage, exitFindings, exitSkipped, exitNotFound, exitInUse, exitUnauthorized, exitInterrupted,
		),
		Flags: append(selectFlags(),
			&cli.BoolFlag{DisableDefaultText: true, Name: optReceive, Usage: "also read the messages that a peek does not show: they are taken and given back"},
			&cli.BoolFlag{DisableDefaultText: true, Name: optNoQueues, Usage: "do not look into the queues: make all messages from tables and payloads"},
			&cli.BoolFlag{DisableDefaultText: true, Name: optAcceptLost, Usage: "go on without what the plan says cannot be recovered or read"},
			&cli.StringFlag{Name: optMaxBlob, Value: "1GiB", Usage: "largest payload to move, `SIZE`; a larger one is a reason to refuse"},
			&cli.IntFlag{Name: optConcurrency, Value: 16, Usage: "requests at once, `N`"},
			&cli.StringFlag{Name: optJournal, Usage: "keep in `FILE` how far the run is; by default migrate-FROM-to-TO.journal in this folder"},
			&cli.StringFlag{Name: optReport, Usage: "also write the JSON Lines of --json to `FILE`, to keep"},
			&cli.BoolFlag{DisableDefaultText: true, Name: optResume, Usage: "go on with a run that was interrupted"},
			&cli.BoolFlag{DisableDefaultText: true, Name: optDryRun, Usage: "say what would be done, and write nothing"},
			&cli.BoolFlag{DisableDefaultText: true, Name: optYes, Usage: "do not ask"},
		),
	}, runMigrate)
}

// migrateTargetFlags name the hub to make.
func migrateTargetFlags() []cli.Flag {
	text := func(name, usage string) cli.Flag {
		return &cli.StringFlag{Category: categoryWriteTarget, Name: name, Usage: usage}
	}
	return append(targetConnectionFlags(categoryWriteTarget),
		text(toPrefix+optTaskHub, "the hub `NAME`, by default that of the source; with it alone the hub is made in the source's account"),
		text(toPrefix+optTrackingPrefix, "the tables are `PREFIX`Instances and PREFIXHistory"),
		text(toPrefix+optTrackingConnection, "the setting `NAME` of the account with tables and blobs, if it is another"),
		&cli.IntFlag{Category: categoryWriteTarget, Name: optToPartitions, Usage: "`N` partitions, 1 to 16", DefaultText: "as many as the source"},
		text(optToFramework, "the version of the framework that will run it, `1|2`: with 1 messages are as 1.x writes and reads them, in Base64"),
		text(optToManager, "how workers share the partitions, `table|safe|legacy`, by default table, and safe with --"+optToFramework+" 1"),
	)
}

// migrating is one run of migrate.
type migrating struct {
	*session
	began   time.Time
	opts    migrate.Options
	choice  selection
	to      *account
	from    end
	target  end
	journal string // its path
	items   itemsShown
	file    *reportFile
}

func runMigrate(s *session) error {
	m := &migrating{session: s, began: time.Now()}
	if err := m.options(); err != nil {
		return err
	}
	return s.withSource(m.run)
}

// managers are the values of --to-partition-manager.
var managers = map[string]migrate.PartitionManager{
	"table": migrate.TableManager, "safe": migrate.SafeBlobManager, "legacy": migrate.LegacyBlobManager,
}

// options reads the options and refuses those that make no sense. Nothing is sent.
func (m *migrating) options() error {
	if err := m.checkSource(); err != nil {
		return err
	}
	o := &m.opts
	o.Partitions, o.Concurrency = m.Int(optToPartitions), m.Int(optConcurrency)
	switch {
	case m.IsSet(optToPartitions) && (o.Partitions < 1 || o.Partitions > hub.MaxPartitions):
		return m.usagef("option --%s: must be 1 to %d", optToPartitions, hub.MaxPartitions)
	case o.Concurrency < 1 || o.Concurrency > maxConcurrency:
		return m.usagef("option --%s: must be 1 to %d", optConcurrency, maxConcurrency)
	case m.Bool(optReceive) && m.IsSet(optSnapshot):
		return m.usagef("--%s and --%s contradict each other: a capture holds what a peek showed", optReceive, optSnapshot)
	case m.Bool(optReceive) && m.Bool(optNoQueues):
		return m.usagef("--%s and --%s contradict each other", optReceive, optNoQueues)
	}
	for _, name := range []string{optJournal, optReport} {
		if m.IsSet(name) && m.String(name) == "" {
			return m.usagef("option --%s is empty", name)
		}
	}
	var err error
	if m.IsSet(optToFramework) {
		version, err := oneOf(m.session, optToFramework, "1", "2")
		if err != nil {
			return err
		}
		if o.Version1 = version == "1"; o.Version1 {
			o.Encoding = schema.Base64
		}
	}
	if m.IsSet(optToManager) {
		name, err := oneOf(m.session, optToManager, "table", "safe", "legacy")
		if err != nil {
			return err
		}
		o.Manager = managers[name]
	}
	if o.MaxBlobBytes, err = m.size(optMaxBlob); err != nil {
		return err
	}
	o.WithoutQueues, o.AcceptLost, o.Resume, o.Now = m.Bool(optNoQueues), m.Bool(optAcceptLost), m.Bool(optResume), time.Now
	if err := m.choice.options(m.session); err != nil {
		return err
	}
	if m.to, err = m.targetAccount(); err != nil {
		return err
	}
	if !m.dryRun() {
		return m.canAsk()
	}
	return nil
}

// run migrates the hub that r reads, or says what that would do.
func (m *migrating) run(r hub.Reader) error {
	if err := m.ends(r); err != nil {
		return err
	}
	dst, err := m.open()
	if err != nil {
		return m.to.located(err)
	}
	return m.located(errors.Join(m.migrate(r, dst), dst.Close()))
}

func (m *migrating) migrate(r hub.Reader, dst writable) error {
	defer m.choice.close()
	if err := m.target.look(m, dst); err != nil {
		return err
	}
	if err := m.tellEnds(); err != nil {
		return err
	}
	if err := errors.Join(m.checkReport(), m.openJournal()); err != nil {
		return err
	}
	if err := m.choice.resolve(m.session, r); err != nil {
		return err
	}
	m.opts.Select, m.opts.BlobURL, m.opts.Running = m.choice.selects(), dst.BlobURL, m.running
	if m.Bool(optReceive) {
		receiver, err := m.receiver()
		if err != nil {
			return err
		}
		defer receiver.Close() //nolint:errcheck // nothing is kept back
		m.opts.Receive = receiver
	}
	line := m.progressLine()
	m.opts.OnProgress = func(p migrate.Progress) { line.update(stepOf(p)) }
	line.start()
	defer line.stop()
	m.opts.OnItem = m.items.add
	if m.json {
		m.opts.OnItem = m.writeItem
	}
	// Run makes the plan anew, so that with --json there is no need of another,
	// unless to see whether everything that is named is there.
	if m.dryRun() || !m.json || m.choice.isNamed() {
		if m.json && !m.dryRun() {
			m.opts.OnItem = nil
		}
		plan, err := migrate.Plan(m.ctx, r, dst, m.opts)
		line.stop()
		if err == nil {
			err = m.choice.unknown()
		}
		if err != nil {
			return err
		}
		if err := m.planned(plan); err != nil || m.dryRun() {
			return err
		}
	}
	to, ok := dst.(migrate.Target)
	if !ok {
		return errors.New("internal error: the target cannot be written to")
	}
	var err error
	if m.file, err = createReport(m.String(optReport)); err != nil {
		return err
	}
	m.opts.OnItem = m.writeItem
	line.start()
	report, err := migrate.Run(m.ctx, r, to, m.opts)
	line.stop()
	return m.ended(report, err)
}

// units are what the phases count; those that count rows show their size.
var units = map[migrate.Phase]string{
	migrate.PhaseReceive: "messages", migrate.PhaseBlobs: "payloads", migrate.PhaseCheck: "items", migrate.PhaseMessages: "messages",
}

func stepOf(p migrate.Progress) ui.Step {
	return ui.Step{Name: string(p.Phase), Unit: units[p.Phase], Done: p.Items, Total: p.Total, Bytes: p.Bytes}
}
