package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/migrate"
)

// openJournal reads what earlier runs have left in the journal. It is written to
// when migrate.Run begins to write.
func (m *migrating) openJournal() error {
	m.journal = m.String(optJournal)
	if m.journal == "" {
		m.journal = journalPath(journalName(&m.from, &m.target), m.opts.Resume)
	}
	var earlier io.Reader = strings.NewReader("")
	f, err := os.Open(m.journal)
	switch {
	case err == nil:
		defer f.Close() //nolint:errcheck // only read
		earlier = f
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	m.opts.Journal, err = migrate.ReadJournal(earlier, func() (migrate.JournalFile, error) {
		return os.OpenFile(m.journal, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	})
	if err != nil {
		return fmt.Errorf("%s: %w", m.journal, err)
	}
	return nil
}

// journalName is made of both hubs, so that the command with --resume finds it; the
// extension is not in it.
func journalName(from, to *end) string {
	name := "migrate"
	for _, e := range []*end{from, to} {
		for _, part := range []string{e.account, e.names.TaskHub} {
			if part != "" {
				name += "-" + part
			}
		}
		if e == from {
			name += "-to"
		}
	}
	return name
}

// journalPath returns the file of a run that names none: that of the latest run if
// it is resumed, and a new one if not, so that an earlier migration of the same
// name, whose target is gone by now, is not in the way.
func journalPath(name string, resume bool) string {
	latest := ""
	for n := 1; ; n++ {
		path := name + ".journal"
		if n > 1 {
			path = fmt.Sprintf("%s-%d.journal", name, n)
		}
		if _, err := os.Lstat(path); err != nil {
			if resume && latest != "" {
				return latest
			}
			return path
		}
		latest = path
	}
}

// writeItem is migrate.Options.OnItem: it puts an item where programs read it.
func (m *migrating) writeItem(i *migrate.Item) error {
	if m.file == nil && !m.json {
		return nil
	}
	p := newPendingMessage(i)
	if m.json {
		if err := writeJSON(m.stdout, p); err != nil {
			return err
		}
	}
	return m.file.write(p)
}

// ended tells what became of the migration, and keeps the report. err is that of
// migrate.Run.
func (m *migrating) ended(r *migrate.Report, err error) error {
	if r == nil {
		m.file.drop()
		return err
	}
	doc := &migrationDocument{r, newOutcome(migrationDone, r.Plan)}
	doc.Journal = m.journal
	var refused *migrate.RefusedError
	switch {
	case errors.As(err, &refused):
		err = m.refused(refused.Refusals)
	case err == nil && len(r.Differences) > 0:
		doc.Outcome = migrationDiffers
		err = &findingsError{"the migration had ended before, and the target is not as it was then: an app may have used it"}
	case err == nil:
	case m.ctx.Err() != nil:
		doc.Outcome = migrationInterrupted
	case errors.Is(err, migrate.ErrDiffers):
		doc.Outcome = migrationDiffers
		err = &findingsError{err.Error()}
	default:
		doc.Outcome, doc.Error = migrationFailed, scrub(m.located(err).Error())
	}
	if doc.Outcome == migrationRefused {
		m.file.drop()
	} else if kept := errors.Join(m.file.write(doc), m.file.end()); kept != nil {
		err = errors.Join(err, fmt.Errorf("report: %w", kept))
	}
	if m.json {
		if err := writeJSON(m.stdout, doc); err != nil {
			return err
		}
	} else if told := m.tellEnd(doc); told != nil {
		return told
	}
	if left := r.Plan.LostItems + r.Plan.Unseen() + r.Plan.CutOffItems + r.Plan.Left + int64(len(r.Plan.Unreadable)); err == nil && left > 0 {
		return &skippedError{"done, but " + ui.Plural(left, "item", "items") + " of the plan could not be recovered, read or taken along"}
	}
	return err
}

// maxDifferences is how many differences people are told.
const maxDifferences = 20

func (m *migrating) tellEnd(r *migrationDocument) error {
	rows := int64(0)
	for _, n := range r.Rows {
		rows += n
	}
	took := ui.Duration(time.Since(m.began))
	wrote := strings.Join([]string{
		ui.Plural(rows, "row", "rows"), ui.Plural(r.Blobs, "payload", "payloads") + " (" + ui.Bytes(r.BlobBytes) + ")",
		ui.Plural(r.Messages, "message", "messages"),
	}, ", ")
	switch r.Outcome {
	case migrationRefused:
		return nil
	case migrationFailed, migrationInterrupted:
		return m.section(fmt.Sprintf("stopped after %s, with %s written; the same command with --%s goes on", took, wrote, optResume))
	case migrationDiffers:
		return m.tellDifferences(r.Differences)
	}
	text := fmt.Sprintf("migrated in %s: %s; source and copy were compared and do not differ", took, wrote)
	if r.AlreadyDone {
		text = "nothing was written: source and copy were compared and do not differ"
	}
	if err := m.section(text); err != nil {
		return err
	}
	t := ui.Table{Right: []bool{false, true}, Indent: "  "}
	for _, table := range hub.Tables {
		if digest, ok := r.Target.Tables[table]; ok {
			t.Row(table.String(), ui.Plural(digest.Items, "row", "rows"), short(digest))
		}
	}
	t.Row("payloads", ui.Plural(r.Target.Blobs.Items, "blob", "blobs"), short(r.Target.Blobs))
	if !r.AlreadyDone {
		t.Row("messages", ui.Count(r.MessageDigest.Items), short(r.MessageDigest))
	}
	if err := t.Write(m.stderr); err != nil {
		return err
	}
	return m.tellNext(r.Plan.Manager)
}

// short is the beginning of a digest, by which people can tell two apart.
func short(d migrate.Digest) string {
	const digits = 12
	if len(d.SHA256) < digits {
		return ""
	}
	return "SHA-256 " + d.SHA256[:digits] + "…"
}

func (m *migrating) tellDifferences(all []migrate.Difference) error {
	if err := m.section("the copy differs"); err != nil {
		return err
	}
	for i, d := range all {
		if i == maxDifferences {
			if err := m.tell("  …and %s more: --json has them all", ui.Count(int64(len(all)-i))); err != nil {
				return err
			}
			break
		}
		if err := m.tell("  %s", strings.TrimSpace(strings.Join([]string{d.Artifact, d.Key, d.Kind, d.Detail}, " "))); err != nil {
			return err
		}
	}
	return m.tell("something else may have written to either hub: stop it, and see what it was")
}

// tellNext says what is to be done now.
func (m *migrating) tellNext(manager migrate.PartitionManager) error {
	var settings []string
	if m.target.names.TaskHub != m.from.names.TaskHub {
		settings = append(settings, "hubName "+m.target.names.TaskHub)
	}
	if m.target.partitions != m.from.partitions {
		settings = append(settings, fmt.Sprintf("partitionCount %d", m.target.partitions))
	}
	switch {
	case manager == migrate.LegacyBlobManager:
		settings = append(settings, "useLegacyPartitionManagement true")
	case (manager == migrate.TableManager) == m.opts.Version1: // not what this version does by itself
		settings = append(settings, fmt.Sprintf("useTablePartitionManagement %t", m.opts.Version1))
	}
	text := fmt.Sprintf("next: start the app on hub %s in storage account %s", m.target.names.TaskHub, orUnknown(m.target.account))
	if len(settings) > 0 {
		text += ", with " + strings.Join(settings, " and ") + " in its host.json"
	}
	switch {
	case m.from.snapshot != "":
	case m.opts.Select != nil:
		text += ". The old hub has these instances still: delete them there before an app runs it again, or their work is done twice"
	default:
		text += ". Never start it on the old one again: work would be done twice. Keep the old one until the new one has done what was in flight, which taskhub wait-idle tells"
	}
	return m.tell("%s", text)
}

// reportFile is the file of --report, which has its name when it is whole.
type reportFile struct {
	path string
	f    *os.File
	w    *bufio.Writer
}

const partialSuffix = ".partial"

// checkReport refuses to replace a report, but by that of a run which goes on with
// the one that it is of.
func (m *migrating) checkReport() error {
	path := m.String(optReport)
	if _, err := os.Lstat(path); path != "" && err == nil && !m.opts.Resume && !m.dryRun() {
		return fmt.Errorf("%s exists, and a report is not overwritten", path)
	}
	return nil
}

// createReport begins a report; nil without a path.
func createReport(path string) (*reportFile, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.OpenFile(path+partialSuffix, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	return &reportFile{path, f, bufio.NewWriter(f)}, nil
}

func (r *reportFile) write(v any) error {
	if r == nil {
		return nil
	}
	return writeJSON(r.w, v)
}

// end gives the report its name.
func (r *reportFile) end() error {
	if r == nil {
		return nil
	}
	err := r.w.Flush()
	if err == nil {
		err = r.f.Sync()
	}
	if err = errors.Join(err, r.f.Close()); err == nil {
		err = os.Rename(r.f.Name(), r.path)
	}
	return err
}

// drop leaves no report.
func (r *reportFile) drop() {
	if r != nil {
		_ = r.f.Close()
		_ = os.Remove(r.f.Name())
	}
}
