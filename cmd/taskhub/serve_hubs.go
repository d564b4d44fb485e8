package main

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/settings"
	"github.com/taskhub-tools/taskhub/server"
)

// servedHub is one of the hubs that serve has opened.
type servedHub struct {
	server.Hub
	info     hub.Info
	snapshot string   // the path of a capture
	account  *account // of a hub in an account
}

// readOnly reports whether requests cannot change the hub.
func (h *servedHub) readOnly(all bool) bool { return all || h.Editor == nil }

func (h *servedHub) report(readOnly bool) servedHubReport {
	return servedHubReport{h.info.Names.TaskHub, h.Connection, h.info.Account, h.snapshot, h.readOnly(readOnly)}
}

// describe says for people what hub it is and whether it can be changed.
func (h *servedHub) describe(readOnly, several bool) string {
	text := h.info.Names.TaskHub
	if several {
		text += " (taskHub=" + h.info.Names.TaskHub + "&connection=" + h.Connection + ")"
	}
	if h.snapshot != "" {
		return text + " in " + h.snapshot + ", captured " + moment(h.info.Finished) + ": it can only be looked at"
	}
	text += " in storage account " + orUnknown(h.account.config.AccountName()) + " (" + h.account.from + ")"
	if h.readOnly(readOnly) {
		return text + ": it can only be looked at"
	}
	return text + ": requests can CHANGE it; --" + optReadOnly + " would refuse them"
}

// checkServeSource refuses options that contradict each other.
func (s *session) checkServeSource() error {
	snapshots, err := s.nonEmpty(optSnapshot)
	if err != nil {
		return err
	}
	hubs, err := s.nonEmpty(optTaskHub)
	if err != nil {
		return err
	}
	if len(snapshots) > 0 {
		for _, name := range append(slices.Clone(ways), optBlobEndpoint, optQueueEndpoint, optTableEndpoint, optTaskHub, optAllHubs, optTrackingPrefix, optTrackingConnection) {
			if s.IsSet(name) {
				return s.usagef("--%s and --%s contradict each other: a capture needs no account", optSnapshot, name)
			}
		}
		return nil
	}
	if s.Bool(optAllHubs) {
		if len(hubs) > 0 {
			return s.usagef("--%s and --%s contradict each other", optAllHubs, optTaskHub)
		}
		if s.IsSet(optTrackingPrefix) {
			return s.usagef("--%s and --%s contradict each other: each hub has its own", optAllHubs, optTrackingPrefix)
		}
	}
	for i, name := range hubs {
		if slices.ContainsFunc(hubs[:i], func(o string) bool { return strings.EqualFold(o, name) }) {
			return s.usagef("option --%s: %q is given twice", optTaskHub, name)
		}
	}
	if len(hubs) == 0 {
		return s.from().check()
	}
	for _, name := range hubs {
		if err := (place{session: s, hub: name}).check(); err != nil {
			return err
		}
	}
	return nil
}

// withServed runs do with the hubs that the options name, which are those of opts
// then.
func (s *session) withServed(opts *server.Options, do func([]*servedHub) error) (err error) {
	var hubs []*servedHub
	defer func() {
		for _, h := range hubs {
			err = errors.Join(err, h.Reader.Close())
		}
	}()
	open := s.openAccounts
	if s.IsSet(optSnapshot) {
		open = s.openCaptures
	}
	if err := open(opts, func(h *servedHub) error {
		hubs = append(hubs, h)
		var err error
		h.info, err = h.Reader.Info(s.ctx)
		return err
	}); err != nil {
		return err
	}
	for _, h := range hubs {
		opts.Hubs = append(opts.Hubs, h.Hub)
	}
	return do(hubs)
}

// openCaptures opens the captures that the options name. Those of the same hub are
// told apart by the connection: of the first it is the usual one, and of another
// the name of its file.
func (s *session) openCaptures(_ *server.Options, add func(*servedHub) error) error {
	seen := make(map[string]bool)
	for _, path := range s.StringSlice(optSnapshot) {
		r, err := snapshot.Open(path, snapshot.Options{Salvage: s.Bool(optSalvage)})
		if err != nil {
			return err
		}
		h := &servedHub{Hub: server.Hub{Reader: r}, snapshot: path}
		if err := add(h); err != nil {
			return err
		}
		for _, d := range r.Damage() {
			s.advise("%v", &d)
		}
		name := strings.ToLower(h.info.Names.TaskHub)
		h.Connection = server.DefaultConnection
		if seen[name] {
			h.Connection = strings.TrimSuffix(filepath.Base(filepath.Clean(path)), ".taskhub")
		}
		if seen[name+"/"+h.Connection] {
			return s.usagef("option --%s: %s is of a hub and a file whose names another capture has: give it another name", optSnapshot, path)
		}
		seen[name], seen[name+"/"+h.Connection] = true, true
	}
	return nil
}

// openAccounts opens the hubs of an account that the options name.
func (s *session) openAccounts(opts *server.Options, add func(*servedHub) error) error {
	accounts, err := s.servedAccounts()
	if err != nil {
		return err
	}
	for _, a := range accounts {
		h := &servedHub{account: a, Hub: server.Hub{Connection: connectionOf(a)}}
		a.edits = !opts.ReadOnly
		if opts.ReadOnly {
			r, err := live.Open(s.ctx, a.config, a.names, live.Options{Logger: opts.Logger})
			if err != nil {
				return a.located(err)
			}
			h.Reader = r
		} else {
			e, err := live.OpenEditor(s.ctx, a.config, a.names, live.Options{Logger: opts.Logger})
			if err != nil {
				return a.located(err)
			}
			h.Reader, h.Editor = e, e
		}
		switch err := add(h); {
		case errors.Is(err, hub.ErrNotFound):
			return s.noHub(a)
		case err != nil:
			return a.wrap(err)
		}
	}
	return nil
}

// connectionOf returns the name by which requests choose an account: that of its
// setting, as the framework has it, or the usual one.
func connectionOf(a *account) string {
	const prefix = "AzureWebJobs"
	if name := a.setting; len(name) > len(prefix) && strings.EqualFold(name[:len(prefix)], prefix) {
		return name[len(prefix):]
	}
	if a.setting != "" {
		return a.setting
	}
	return server.DefaultConnection
}

// servedAccounts returns the account once for each hub that is to be served.
func (s *session) servedAccounts() ([]*account, error) {
	if !s.Bool(optAllHubs) {
		var accounts []*account
		for _, name := range s.StringSlice(optTaskHub) {
			a, err := place{session: s, hub: name}.account(true)
			if err != nil {
				return nil, err
			}
			accounts = append(accounts, a)
		}
		if len(accounts) == 0 {
			a, err := s.account(true)
			return []*account{a}, err
		}
		return accounts, nil
	}
	first, err := s.account(false)
	if err != nil {
		return nil, err
	}
	found, err := listHubs(s.ctx, first)
	if err != nil {
		return nil, first.located(err)
	}
	var accounts []*account
	for _, f := range found {
		if slices.Contains(f.Missing, f.Names.Table(hub.Instances)) {
			s.advise("hub %s is left out: it has no table %s", f.Names.TaskHub, f.Names.Table(hub.Instances))
			continue
		}
		a := *first
		a.names, a.hubFrom = f.Names, settings.Value{Text: f.Names.TaskHub, From: "option --" + optAllHubs}
		accounts = append(accounts, &a)
		// The hub that is asked for where nothing else is said is that of the app.
		if i := len(accounts) - 1; strings.EqualFold(f.Names.TaskHub, first.names.TaskHub) {
			accounts[0], accounts[i] = accounts[i], accounts[0]
		}
	}
	if len(accounts) == 0 {
		return nil, &sourceError{first, fmt.Errorf("%w: no task hub in storage account %s (%s)", hub.ErrNotFound, orUnknown(first.config.AccountName()), first.from)}
	}
	return accounts, nil
}
