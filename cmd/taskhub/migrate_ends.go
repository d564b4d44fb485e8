package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/ui"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// newHubName is what the framework accepts as the name of a hub, so that all names
// of tables and containers that follow from it are valid.
var newHubName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{2,48}$`)

// end is one of the two hubs: what people and reports are told of it.
type end struct {
	names      hub.Names
	account    string
	from       string // the option or setting that names the account
	snapshot   string // the capture, if it is one
	partitions int
	exists     bool
	started    schema.Ticks // when the capture was taken
	running    manage.Running
	evidence   []string
}

// targetAccount resolves the options that name the target, without I/O. Its hub's
// name is empty if it is to be that of the source.
func (m *migrating) targetAccount() (*account, error) {
	p := m.session.to()
	if err := p.check(); err != nil {
		return nil, err
	}
	name := p.value(optTaskHub)
	if p.is(optTaskHub) && !p.is(optTrackingPrefix) && !newHubName.MatchString(name) {
		return nil, m.usagef("option --%s: %q cannot be the name of a new hub, which has 3 to 49 letters and digits and begins with a letter", p.option(optTaskHub), name)
	}
	if !p.namesEnd() && !p.is(optTaskHub) {
		if m.IsSet(optSnapshot) {
			return nil, m.usagef("name the account to write with one of --%s, --%s, --%s", p.option(optConnectionSetting), p.option(optConnection), p.option(optAccount))
		}
		return nil, m.usagef("name the hub to make: its account with one of --%s, --%s, --%s, or another name in the same account with --%s",
			p.option(optConnectionSetting), p.option(optConnection), p.option(optAccount), p.option(optTaskHub))
	}
	t, err := p.target()
	if err != nil {
		return nil, err
	}
	a := t.account
	a.edits = true
	// Tables are not shared because those of the source are: rows of both hubs
	// would have the same keys there.
	a.names.TrackingPrefix = p.value(optTrackingPrefix)
	if !p.namesEnd() {
		a.config.Tracking = nil
		a.from, _, _ = strings.Cut(a.from, "; tracking store: ")
	}
	return a, nil
}

// ends completes the names of the target by those of the source, and describes the
// source.
func (m *migrating) ends(r hub.Reader) error {
	o, err := manage.Leases(m.ctx, r, manage.DescribeOptions{Now: time.Now})
	if err != nil {
		return err
	}
	info := &o.Hub
	m.from = end{
		names: info.Names, account: info.Account, partitions: info.PartitionCount, exists: true,
		snapshot: m.String(optSnapshot), started: info.Started, running: o.Running, evidence: o.Evidence,
	}
	if m.to.names.TaskHub == "" {
		m.to.names.TaskHub = info.Names.TaskHub
	}
	m.opts.Names = m.to.names
	m.target = end{names: m.to.names, account: m.to.config.AccountName(), from: m.to.from, partitions: m.opts.Partitions}
	if m.target.partitions == 0 {
		m.target.partitions = info.PartitionCount
	}
	if m.from.snapshot != "" {
		return nil
	}
	a, err := m.account(true)
	if err != nil {
		return err
	}
	m.from.from = a.from
	if live, ok := r.(writable); ok && m.to.config.Serves(live.BlobURL(info.Names.LargeMessages(), "")) && strings.EqualFold(m.to.names.TaskHub, info.Names.TaskHub) {
		return m.usagef("source and target are the same hub: name another account, or another hub with --%s", toPrefix+optTaskHub)
	}
	return nil
}

// writable is the target. With --dry-run there is nothing in it that could change
// the account.
type writable interface {
	hub.Reader
	BlobURL(container, name string) string
}

func (m *migrating) open() (writable, error) {
	if m.dryRun() {
		return live.Open(m.ctx, m.to.config, m.to.names, live.Options{})
	}
	return live.OpenWriter(m.ctx, m.to.config, m.to.names, live.Options{})
}

// receiver reads the queues of the source by receiving, which changes nothing of
// their messages but how often they were delivered.
func (m *migrating) receiver() (*live.Receiver, error) {
	a, err := m.account(true)
	if err != nil {
		return nil, err
	}
	return live.OpenReceiver(m.ctx, a.config, m.from.names, live.Options{})
}

// look describes the target, which may not exist.
func (e *end) look(m *migrating, r hub.Reader) error {
	o, err := manage.Leases(m.ctx, r, manage.DescribeOptions{Now: time.Now})
	switch {
	case errors.Is(err, hub.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	e.exists, e.running, e.evidence = true, o.Running, o.Evidence
	return nil
}

// running is migrate.Options.Running. A capture says what ran when it was taken,
// and nothing of now.
func (m *migrating) running(ctx context.Context, r hub.Reader) ([]string, error) {
	o, err := manage.Leases(ctx, r, manage.DescribeOptions{Now: time.Now})
	switch {
	case errors.Is(err, hub.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	case o.Hub.Started != 0 || o.Running != manage.RunningYes:
		return nil, nil
	}
	return o.Evidence, nil
}

// tellEnds says which hub goes where.
func (m *migrating) tellEnds() error {
	if m.json {
		return nil
	}
	t := ui.Table{}
	for _, e := range []struct {
		what string
		*end
		state string
	}{{"from", &m.from, m.from.state()}, {"to", &m.target, targetState(&m.target)}} {
		where := e.snapshot
		if where == "" {
			where = fmt.Sprintf("storage account %s (%s)", orUnknown(e.account), e.from)
		}
		t.Row(e.what, "hub "+e.names.TaskHub, ui.Plural(int64(e.partitions), "partition", "partitions"), where+e.state)
	}
	return t.Write(m.stderr)
}

func (e *end) state() string {
	switch {
	case e.snapshot != "" && e.running == manage.RunningYes:
		return ", taken " + minutes(e.started) + " while an app was running it: its parts may not fit together"
	case e.snapshot != "":
		return ", taken " + minutes(e.started)
	}
	return "; " + runningText(e.running, e.evidence)
}

func targetState(e *end) string {
	if e.exists {
		return ", which has the hub already" + e.state()
	}
	return ", which has no such hub"
}

// located says in an error of one of the accounts which it was, and which option
// names it. That of the source is left to what has opened it.
func (m *migrating) located(err error) error {
	var request *live.RequestError
	if errors.As(err, &request) && m.to.config.Serves(request.URL) {
		return m.to.wrap(err)
	}
	return err
}
