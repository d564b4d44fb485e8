package main

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
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
)

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
func (s *session) checkSource() error {
	account := []string{
		optConnectionSetting, optConnection, optAccount, optBlobEndpoint, optQueueEndpoint, optTableEndpoint,
		optTaskHub, optTrackingPrefix, optTrackingConnection,
	}
	for _, name := range append([]string{optSnapshot}, account...) {
		value := s.String(name)
		switch {
		case !s.IsSet(name):
		case value == "":
			return s.usagef("option --%s is empty", name)
		case name == optConnection || name == optSnapshot:
		case looksSecret(value):
			return s.usagef("option --%s: its value looks like a connection string or a signature, which belongs to --%s", name, optConnection)
		}
	}
	if s.IsSet(optSnapshot) {
		for _, name := range account {
			if s.IsSet(name) {
				return s.usagef("--%s and --%s contradict each other: a capture needs no account", optSnapshot, name)
			}
		}
		return nil
	}
	if s.Bool(optSalvage) {
		return s.usagef("--%s is about captures: it needs --%s", optSalvage, optSnapshot)
	}
	ways := []string{optConnectionSetting, optConnection, optAccount}
	for i, a := range ways {
		for _, b := range ways[i+1:] {
			if s.IsSet(a) && s.IsSet(b) {
				return s.usagef("--%s and --%s contradict each other", a, b)
			}
		}
	}
	if name := s.String(optTaskHub); s.IsSet(optTaskHub) && !hubName.MatchString(name) {
		return s.usagef("option --%s: %q is not the name of a hub, which is of letters and digits", optTaskHub, name)
	}
	if name := s.String(optTrackingPrefix); s.IsSet(optTrackingPrefix) && !hubName.MatchString(name) {
		return s.usagef("option --%s: %q is not the beginning of a table's name, which is of letters and digits", optTrackingPrefix, name)
	}
	return nil
}

func (s *session) withCapture(do func(hub.Reader) error) error {
	salvage := s.Bool(optSalvage)
	r, err := snapshot.Open(s.String(optSnapshot), snapshot.Options{Salvage: salvage})
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
