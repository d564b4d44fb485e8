package main

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/settings"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
)

// Options that say where a hub is.
const (
	optSnapshot           = "snapshot"
	optSalvage            = "salvage"
	optConnectionSetting  = "connection-string-setting"
	optConnection         = "connection-string"
	optAccount            = "account"
	optBlobEndpoint       = "blob-endpoint"
	optQueueEndpoint      = "queue-endpoint"
	optTableEndpoint      = "table-endpoint"
	optTaskHub            = "task-hub-name"
	optTrackingPrefix     = "tracking-prefix"
	optTrackingConnection = "tracking-connection-string-setting"

	// connectionVariable holds a connection string, for scripts that do not want
	// it to be seen in the list of processes.
	connectionVariable = "TASKHUB_CONNECTION_STRING"
)

const (
	categoryCapture = "a capture"
	categoryAccount = "or a storage account"

	// toPrefix begins the options of the other end, for commands that have two.
	toPrefix            = "to-"
	categoryToCapture   = "the other hub: a capture"
	categoryToAccount   = "the other hub: or a storage account"
	categoryWriteTarget = "the account to write"
)

// place is one of the ends that the options of a command can name: the hub that
// all commands read, or with toPrefix before each option the other one.
type place struct {
	*session
	prefix string
	// hub is one of the hubs' names, for a command that takes several.
	hub string
}

func (s *session) from() place { return place{session: s} }
func (s *session) to() place   { return place{session: s, prefix: toPrefix} }

// option, is and value are the name of an option as it is given for this end,
// whether it was given, and what it says.
func (p place) option(name string) string { return p.prefix + name }
func (p place) is(name string) bool       { return p.IsSet(p.option(name)) }
func (p place) value(name string) string {
	if name == optTaskHub && p.hub != "" {
		return p.hub
	}
	return p.String(p.option(name))
}

// wantsSnapshot reports whether a capture can be this end of the command.
func (p place) wantsSnapshot() bool {
	return slices.ContainsFunc(p.Command.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), p.option(optSnapshot)) })
}

// These make flags anew for each command.

func captureFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{
			Category: categoryCapture, Name: optSnapshot,
			Usage: "the capture to read: `FILE`.taskhub, or a folder with the same files",
		},
		&cli.BoolFlag{
			Category: categoryCapture, DisableDefaultText: true, Name: optSalvage,
			Usage: "read what a damaged capture still holds, and tell what had to be left out",
		},
	}
}

func accountFlag(name, usage string) cli.Flag {
	return &cli.StringFlag{Category: categoryAccount, Name: name, Usage: usage}
}

func connectionFlags() []cli.Flag {
	return []cli.Flag{
		accountFlag(optConnectionSetting, "connect as the setting `NAME` says, by default that in host.json, or AzureWebJobsStorage"),
		accountFlag(optConnection, "connect with `TEXT`; also the environment variable "+connectionVariable),
		accountFlag(optAccount, "connect to the account `NAME` as you are signed in to Entra ID"),
		accountFlag(optBlobEndpoint, "the `URL` of the Blob service, if it is not the usual one"),
		accountFlag(optQueueEndpoint, "the `URL` of the Queue service"),
		accountFlag(optTableEndpoint, "the `URL` of the Table service"),
	}
}

func hubFlags() []cli.Flag {
	return []cli.Flag{
		accountFlag(optTaskHub, "the hub `NAME`, by default that in host.json, or DurableFunctionsHub"),
		accountFlag(optTrackingPrefix, "the tables are `PREFIX`Instances and PREFIXHistory, which hubs may share"),
		accountFlag(optTrackingConnection, "the setting `NAME` of the account with tables and blobs, if it is another"),
	}
}

func sourceFlags() []cli.Flag { return slices.Concat(captureFlags(), connectionFlags(), hubFlags()) }

// targetConnectionFlags name the account of the other end.
func targetConnectionFlags(category string) []cli.Flag {
	flag := func(name, usage string) cli.Flag {
		return &cli.StringFlag{Category: category, Name: toPrefix + name, Usage: usage}
	}
	return []cli.Flag{
		flag(optConnectionSetting, "connect as the setting `NAME` says"),
		flag(optConnection, "connect with the connection string `TEXT`"),
		flag(optAccount, "connect to the account `NAME` as you are signed in to Entra ID"),
		flag(optBlobEndpoint, "the `URL` of its Blob service, if it is not the usual one"),
		flag(optQueueEndpoint, "the `URL` of its Queue service"),
		flag(optTableEndpoint, "the `URL` of its Table service"),
	}
}

// targetFlags name the hub of the other end.
func targetFlags() []cli.Flag {
	flag := func(name, usage string) cli.Flag {
		return &cli.StringFlag{Category: categoryToAccount, Name: toPrefix + name, Usage: usage}
	}
	return slices.Concat(
		[]cli.Flag{&cli.StringFlag{Category: categoryToCapture, Name: toPrefix + optSnapshot, Usage: "the capture `FILE`.taskhub, or a folder with the same files"}},
		targetConnectionFlags(categoryToAccount),
		[]cli.Flag{
			flag(optTaskHub, "the hub `NAME`, by default the name of the first hub"),
			flag(optTrackingPrefix, "the tables are `PREFIX`Instances and PREFIXHistory"),
			flag(optTrackingConnection, "the setting `NAME` of the account with tables and blobs, if it is another"),
		})
}

// withSource runs do with the hub that the options name, and tells of what was
// damaged in a capture.
func (s *session) withSource(do func(hub.Reader) error) error {
	if err := s.checkSource(); err != nil {
		return err
	}
	if s.IsSet(optSnapshot) {
		return s.withCapture(do)
	}
	return s.withLiveHub(do)
}

// checkSource refuses options that contradict each other.
func (s *session) checkSource() error { return s.from().check() }

// ways are the options that name an account as a whole.
var ways = []string{optConnectionSetting, optConnection, optAccount}

// check refuses options that contradict each other.
func (p place) check() error {
	account := append(slices.Clone(ways), optBlobEndpoint, optQueueEndpoint, optTableEndpoint, optTaskHub, optTrackingPrefix, optTrackingConnection)
	for _, name := range append([]string{optSnapshot}, account...) {
		value := p.value(name)
		switch {
		case !p.is(name):
		case value == "":
			return p.usagef("option --%s is empty", p.option(name))
		case name == optConnection || name == optSnapshot:
		case looksSecret(value):
			return p.usagef("option --%s: its value looks like a connection string or a signature, which belongs to --%s", p.option(name), p.option(optConnection))
		}
	}
	if p.is(optSnapshot) {
		for _, name := range account {
			if p.is(name) {
				return p.usagef("--%s and --%s contradict each other: a capture needs no account", p.option(optSnapshot), p.option(name))
			}
		}
		return nil
	}
	if p.prefix == "" && p.Bool(optSalvage) && !p.to().is(optSnapshot) {
		return p.usagef("--%s is about captures: it needs --%s", optSalvage, optSnapshot)
	}
	for i, a := range ways {
		for _, b := range ways[i+1:] {
			if p.is(a) && p.is(b) {
				return p.usagef("--%s and --%s contradict each other", p.option(a), p.option(b))
			}
		}
	}
	if name := p.value(optTaskHub); p.is(optTaskHub) && !hubName.MatchString(name) {
		return p.usagef("option --%s: %q is not the name of a hub, which is of letters and digits", p.option(optTaskHub), name)
	}
	if name := p.value(optTrackingPrefix); p.is(optTrackingPrefix) && !hubName.MatchString(name) {
		return p.usagef("option --%s: %q is not the beginning of a table's name, which is of letters and digits", p.option(optTrackingPrefix), name)
	}
	return nil
}

func (s *session) withCapture(do func(hub.Reader) error) error {
	return s.withCaptureAt(s.String(optSnapshot), do)
}

func (s *session) withCaptureAt(path string, do func(hub.Reader) error) error {
	salvage := s.Bool(optSalvage)
	r, err := snapshot.Open(path, snapshot.Options{Salvage: salvage})
	if err == nil {
		err = errors.Join(do(r), r.Close())
		for _, d := range r.Damage() {
			s.warn(&d)
		}
	}
	if err != nil && salvage {
		return &salvageError{err}
	}
	return err
}

// salvageError is an error in spite of --salvage, which need not be advised then.
type salvageError struct{ err error }

func (e *salvageError) Error() string { return e.err.Error() }
func (e *salvageError) Unwrap() error { return e.err }

func (s *session) withLiveHub(do func(hub.Reader) error) error {
	a, err := s.account(true)
	if err != nil {
		return err
	}
	return s.withHubOf(a, do)
}

// withHubOf runs do with the hub in an account.
func (s *session) withHubOf(a *account, do func(hub.Reader) error) error {
	h, err := live.Open(s.ctx, a.config, a.names, live.Options{})
	if err != nil {
		return a.located(err)
	}
	err = errors.Join(do(h), h.Close())
	if errors.Is(err, hub.ErrNotFound) {
		if _, again := h.Info(s.ctx); errors.Is(again, hub.ErrNotFound) {
			return s.noHub(a)
		}
	}
	return a.wrap(err)
}

// target is the hub that the options of the other end name: a capture, or a hub
// in an account.
type target struct {
	path    string
	account *account
}

// target resolves the options of the other end without I/O. The account may be
// left out where the first hub is in one, and the hub's name is that of the first
// hub then, unless it is given: a name is missing in the result.
func (p place) target() (target, error) {
	if err := p.check(); err != nil {
		return target{}, err
	}
	if p.is(optSnapshot) {
		return target{path: p.value(optSnapshot)}, nil
	}
	var a *account
	var err error
	if p.is(optTaskHub) && !p.IsSet(optSnapshot) && !p.namesEnd() {
		if a, err = p.session.account(true); err == nil && p.is(optTrackingPrefix) {
			a.names.TrackingPrefix = p.value(optTrackingPrefix)
		}
	} else {
		a, err = p.account(true)
	}
	if err != nil {
		return target{}, err
	}
	a.names.TaskHub, a.hubFrom = p.value(optTaskHub), settings.Value{Text: p.value(optTaskHub), From: "option --" + p.option(optTaskHub)}
	return target{account: a}, nil
}

// namesEnd reports whether any option says which account the hub is in.
func (p place) namesEnd() bool {
	return slices.ContainsFunc(append(slices.Clone(ways), optBlobEndpoint, optQueueEndpoint, optTableEndpoint, optTrackingConnection), p.is)
}

// withTarget runs do with the hub of the other end.
func (s *session) withTarget(t target, first hub.Names, do func(hub.Reader) error) error {
	if t.account == nil {
		return s.withCaptureAt(t.path, do)
	}
	if t.account.names.TaskHub == "" {
		t.account.names.TaskHub, t.account.hubFrom = first.TaskHub, settings.Value{Text: first.TaskHub, From: "as the first hub"}
		t.account.names.TrackingPrefix = cmp.Or(t.account.names.TrackingPrefix, first.TrackingPrefix)
	}
	return s.withHubOf(t.account, do)
}

// noHub says that there is no hub of this name, and which there are.
func (s *session) noHub(a *account) error {
	text := fmt.Sprintf("hub %q (%v) is not in storage account %s (%s)", a.names.TaskHub, a.hubFrom, orUnknown(a.config.AccountName()), a.from)
	if a.names.TrackingPrefix != "" {
		text += fmt.Sprintf(" with tables %s", a.names.Table(hub.Instances))
	}
	others, err := listHubs(s.ctx, a)
	if err != nil {
		return &sourceError{a, fmt.Errorf("%s: %w", text, hub.ErrNotFound)}
	}
	var names []string
	for _, h := range others {
		names = append(names, h.Names.TaskHub)
	}
	switch similar := manage.Similar(a.names.TaskHub, names); {
	case len(names) == 0:
		text += ", which has no hub at all"
	case len(similar) > 0:
		text += "; similar: " + strings.Join(similar, ", ")
	case len(names) <= 5:
		text += ", which has " + strings.Join(names, ", ")
	default:
		text += ", which has " + ui.Plural(int64(len(names)), "other hub", "other hubs") + `: see "taskhub hubs"`
	}
	return &sourceError{a, fmt.Errorf("%w: %s", hub.ErrNotFound, text)}
}

func orUnknown(s string) string {
	if s == "" {
		return "of unknown name"
	}
	return s
}

// sourceError is an error of a storage account.
type sourceError struct {
	account *account
	err     error
}

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// secretText is what only connection strings and signatures have.
var secretText = regexp.MustCompile(`(?i)(accountkey|sharedaccesssignature|sharedaccesskey|\bsig)\s*=\s*[^;&\s"'\\)]+`)

func looksSecret(s string) bool {
	return secretText.MatchString(s) || strings.Contains(s, ";") && strings.Contains(s, "=")
}

// scrub removes from a line for people what must never be in it. The packages
// take care of what they print; this is for what was typed in the wrong place.
func scrub(text string) string { return secretText.ReplaceAllString(text, "$1=REDACTED") }
