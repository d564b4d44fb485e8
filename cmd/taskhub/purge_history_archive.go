package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
)

var errArchive = errors.New("the archive is not whole")

// keep puts what is to go into a capture, and reads all of that again.
func (p *purging) keep(dir string) error {
	path := filepath.Join(dir, p.info.Names.TaskHub+"-"+p.began.UTC().Format("20060102T150405.000Z")+".taskhub")
	part, err := p.subset()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	err = snapshot.Capture(p.ctx, path, part, snapshot.CaptureOptions{
		WriterOptions: snapshot.WriterOptions{Tool: p.App.Name + " " + p.App.Version}, Now: time.Now,
	})
	if err != nil {
		return err
	}
	report, err := p.verifyArchive(path)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	p.sum.Archive = report
	return p.tell("archived %s, %s and %s in %s (%s, SHA-256 %s)", ui.Plural(report.Instances, "instance", "instances"),
		ui.Plural(report.HistoryRows, "row of history", "rows of history"), ui.Plural(report.Blobs, "payload", "payloads"),
		path, ui.Bytes(report.SizeBytes), report.SHA256)
}

// subset returns a reader of what is to go.
func (p *purging) subset() (*manage.Subset, error) {
	part, err := manage.NewSubset(p.ctx, p.r)
	if err != nil {
		return nil, err
	}
	spools := []*spool{p.chosen}
	if p.orphans != nil {
		spools = append(spools, p.orphans)
	}
	for _, s := range spools {
		for entry, err := range s.ids() {
			if err != nil {
				return nil, err
			}
			part.Add(idOf(entry))
		}
	}
	for _, ids := range p.batches {
		for _, id := range ids {
			part.Add(id)
		}
	}
	if p.blobs == nil {
		return part, nil
	}
	for b, err := range p.blobs.Blobs(p.ctx) {
		if err != nil {
			return nil, err
		}
		part.AddBlob(b.Name)
	}
	return part, nil
}

// verifyArchive opens a capture, compares every file of it with its SHA-256, and
// counts. What is in it is compared with what is there when that is deleted.
func (p *purging) verifyArchive(path string) (*archiveReport, error) {
	report, err := digestOfFile(path)
	if err != nil {
		return nil, err
	}
	r, err := snapshot.Open(path, snapshot.Options{})
	if err != nil {
		return nil, err
	}
	p.archive = r
	for f, err := range r.Check(p.ctx) {
		if err != nil {
			return nil, err
		}
		if f.Damage != nil {
			return nil, fmt.Errorf("%w: %w", errArchive, f.Damage)
		}
	}
	info, err := r.Info(p.ctx)
	if err != nil {
		return nil, err
	}
	for _, u := range info.Unreadable {
		if !strings.HasPrefix(u.Artifact, "table ") { // one that is not there
			return nil, fmt.Errorf("%w: %s: %s", errArchive, u.Artifact, u.Reason)
		}
	}
	for _, t := range info.Tables {
		if t.Table == hub.Instances {
			report.Instances = t.Rows
		} else {
			report.HistoryRows = t.Rows
		}
	}
	for b, err := range r.Blobs(p.ctx, p.info.Names.LargeMessages(), "") {
		if err != nil {
			return nil, err
		}
		report.Blobs++
		report.BlobBytes += b.SizeBytes
	}
	return report, nil
}

func digestOfFile(path string) (*archiveReport, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	sum := sha256.New()
	n, err := io.Copy(sum, f)
	if err != nil {
		return nil, err
	}
	return &archiveReport{Path: path, SizeBytes: n, SHA256: hex.EncodeToString(sum.Sum(nil))}, nil
}
