// Damage makes the damaged hubs under testdata from the recorded ones:
//
//	go run ./internal/testhub/damage --testdata testdata
//
// Each holds one defect and has a file of the same name beside it that says
// which, and what has to be found. The hubs that they are made from by that one
// defect are written too: a few instances of a recording, with everything that
// belongs to them and nothing else. The same recordings give the same bytes. See
// testdata/README.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "damage:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("damage", flag.ContinueOnError)
	testdata := flags.String("testdata", "testdata", "folder with the recorded hubs")
	out := flags.String("out", "", "folder to write; if empty, the folder damaged in testdata")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *out == "" {
		*out = filepath.Join(*testdata, "damaged")
	}
	return makeAll(ctx, *testdata, *out)
}

// makeAll replaces everything in out.
func makeAll(ctx context.Context, testdata, out string) error {
	if err := os.MkdirAll(out, 0o777); err != nil {
		return err
	}
	old, err1 := filepath.Glob(filepath.Join(out, "*.taskhub"))
	texts, err2 := filepath.Glob(filepath.Join(out, "*.json"))
	if err := errors.Join(err1, err2); err != nil {
		return err
	}
	for _, path := range append(old, texts...) {
		if err := os.Remove(path); err != nil {
			return err
		}
	}
	for _, b := range bases {
		if b.damaged {
			continue
		}
		h, err := b.load(ctx, testdata)
		if err == nil {
			err = h.save(ctx, filepath.Join(out, b.name+".taskhub"))
		}
		if err == nil {
			err = expectation{
				DerivedFrom: b.recording, Instances: b.instances, Undamaged: true, Comment: b.text,
				Findings: []finding{}, BaseFindings: notNil(b.findings), Unknown: b.unknown,
			}.save(filepath.Join(out, b.name+".json"))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", b.name, err)
		}
	}
	for _, d := range slices.Concat(historyDefects, instanceDefects, messageDefects, partitionDefects, blobDefects) {
		if err := d.make(ctx, testdata, out); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
		}
	}
	return nil
}

// base is a part of a recording in which nothing is wrong.
type base struct {
	name, recording string
	instances       []string
	text            string         // what more was done to it; empty for plain instances of the recording
	do              func(*taskHub) // does it
	findings        []finding      // evidence of severity info that it holds
	unknown         map[string]int // checks that cannot tell, and of how many instances
	damaged         bool           // it was recorded with a defect, and is not written by itself
}

func baseNamed(name string) (base, error) {
	for _, b := range bases {
		if b.name == name {
			return b, nil
		}
	}
	return base{}, errors.New("no such base")
}

func (b *base) load(ctx context.Context, testdata string) (*taskHub, error) {
	h, err := load(ctx, testdata, b.recording)
	if err != nil {
		return nil, err
	}
	if b.instances != nil {
		h.keep(b.instances...)
	}
	if b.do != nil {
		b.do(h)
	}
	return h, h.err
}

// defect is one thing that is wrong with a base.
type defect struct {
	name, base string
	text       string
	because    string // why one defect has findings of more than one check
	// do makes the defect and says what has to be found beside the findings of
	// the base.
	do func(*taskHub) []finding
	// instead replaces the findings of the base where the defect takes some away.
	instead []finding
}

func (d *defect) make(ctx context.Context, testdata, out string) error {
	b, err := baseNamed(d.base)
	if err != nil {
		return fmt.Errorf("%s: %w", d.base, err)
	}
	h, err := b.load(ctx, testdata)
	if err != nil {
		return err
	}
	findings := d.do(h)
	if err := h.save(ctx, filepath.Join(out, d.name+".taskhub")); err != nil {
		return err
	}
	e := expectation{
		DerivedFrom: b.recording, Base: d.base, Defect: d.text, Because: d.because,
		Findings: findings, BaseFindings: notNil(b.findings),
	}
	if d.instead != nil {
		e.BaseFindings = d.instead
	}
	if b.damaged {
		e.Base, e.Instances = "", b.instances
	}
	return e.save(filepath.Join(out, d.name+".json"))
}

// expectation is what is written beside a hub. No findings but these may be
// reported.
type expectation struct {
	DerivedFrom string   `json:"derived_from"`
	Base        string   `json:"base,omitempty"`
	Instances   []string `json:"instances,omitempty"`
	Undamaged   bool     `json:"undamaged,omitempty"`
	Comment     string   `json:"comment,omitempty"`
	Defect      string   `json:"defect,omitempty"`
	Because     string   `json:"because,omitempty"`
	// Findings are those of the defect, BaseFindings those that the base has.
	Findings     []finding `json:"findings"`
	BaseFindings []finding `json:"base_findings"`
	// Unknown says of how many instances some checks cannot tell.
	Unknown map[string]int `json:"unknown,omitempty"`
}

// finding is one that has to be reported.
type finding struct {
	Code     string `json:"code"`
	Severity string `json:"severity"`
	// InstanceID is empty for what is not about an instance, and anyInstance
	// where it is a matter of taste which of several is named.
	InstanceID string `json:"instance_id,omitempty"`
	// At holds places that the finding has to name, or that begin one that it
	// names: TABLE/PARTITION/ROW, QUEUE/MESSAGE, CONTAINER/BLOB.
	At    []string `json:"at,omitempty"`
	Heals bool     `json:"heals,omitempty"`
}

const anyInstance = "*"

func errorAt(code, instance string, at ...string) finding {
	return finding{Code: code, Severity: "error", InstanceID: instance, At: at}
}

func warningAt(code, instance string, at ...string) finding {
	return finding{Code: code, Severity: "warning", InstanceID: instance, At: at}
}

func infoAt(code, instance string, at ...string) finding {
	return finding{Code: code, Severity: "info", InstanceID: instance, At: at}
}

func (f finding) heals() finding {
	f.Heals = true
	return f
}

// place names the message.
func (m *message) place() string { return m.Queue + "/" + m.ID }

func notNil(f []finding) []finding {
	if f == nil {
		return []finding{}
	}
	return f
}

func (e expectation) save(path string) error {
	var text strings.Builder
	j := json.NewEncoder(&text)
	j.SetEscapeHTML(false)
	j.SetIndent("", "  ")
	if err := j.Encode(e); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(text.String()), 0o666)
}
