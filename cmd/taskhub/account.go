package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/settings"
)

// hubName is what the names of tables, queues and containers allow.
var hubName = regexp.MustCompile(`^[A-Za-z0-9-]+$`)

// account is the storage account that the options and settings name, and the hub
// in it.
type account struct {
	config live.Config
	names  hub.Names
	// from says which option or setting the account came from, and hubFrom the
	// hub's name.
	from    string
	hubFrom settings.Value
	// setting is the name of the setting that the account came from; empty if it
	// came from elsewhere.
	setting string
	edits   bool // it is there to be changed
}

// account resolves the options and the settings of the working directory; the
// name of the hub only if wanted. It sends nothing.
func (s *session) account(wantsHub bool) (*account, error) { return s.from().account(wantsHub) }

// account is the same for either end. That of the other end is only what its
// options say: host.json and our own environment variable are about the first.
func (p place) account(wantsHub bool) (*account, error) {
	given := func(option string) settings.Value {
		if !p.is(option) {
			return settings.Value{}
		}
		return settings.Value{Text: p.value(option), From: "option --" + p.option(option)}
	}
	if p.prefix != "" && !slices.ContainsFunc(ways, p.is) && !p.endpointsOnly() {
		text := "name the account to write with one of --"
		if p.wantsSnapshot() {
			text = "name a capture with --" + p.option(optSnapshot) + ", or the other account with one of --"
		}
		return nil, p.usagef("%s%s", text, strings.Join([]string{p.option(optConnectionSetting), p.option(optConnection), p.option(optAccount)}, ", --"))
	}
	// What host.json says is not needed where the options say it all, and a
	// broken one must not be in the way then.
	complete := p.prefix != "" || p.connects() && (p.is(optTaskHub) || !wantsHub)
	app, err := settings.Load(settings.Options{
		Dir: ".", LookupEnv: os.LookupEnv, NoHostFile: complete,
		ConnectionName: given(optConnectionSetting), TaskHub: given(optTaskHub),
		TrackingConnectionName: given(optTrackingConnection), TrackingPrefix: given(optTrackingPrefix),
	})
	if err != nil {
		return nil, err
	}
	a := &account{hubFrom: app.TaskHub, names: hub.Names{TaskHub: app.TaskHub.Text, TrackingPrefix: app.TrackingPrefix.Text}}
	if !hubName.MatchString(a.names.TaskHub) {
		return nil, fmt.Errorf("%v: it is not the name of a hub, which is of letters and digits", app.TaskHub)
	}
	if err := p.connect(a, app); err != nil {
		return nil, err
	}
	for option, endpoint := range map[string]*string{
		optBlobEndpoint: &a.config.BlobEndpoint, optQueueEndpoint: &a.config.QueueEndpoint, optTableEndpoint: &a.config.TableEndpoint,
	} {
		if p.is(option) {
			*endpoint = p.value(option)
		}
	}
	return a, nil
}

// connect fills in how to get into the account, and into that of the tracking
// store.
func (p place) connect(a *account, app *settings.App) error {
	var err error
	switch {
	case p.is(optConnection):
		a.from = "option --" + p.option(optConnection)
		a.config, err = live.ParseConnectionString(p.value(optConnection))
	case p.is(optAccount):
		a.from = "option --" + p.option(optAccount)
		a.config = live.Config{Account: p.value(optAccount), Identity: live.Identity{Kind: live.DefaultIdentity}}
	case p.variable() != "":
		a.from = "environment variable " + connectionVariable
		a.config, err = live.ParseConnectionString(p.variable())
	case p.endpointsOnly():
		a.from = "options --" + p.option(optBlobEndpoint) + ", --" + p.option(optQueueEndpoint) + " and --" + p.option(optTableEndpoint)
		a.config.Identity.Kind = live.DefaultIdentity
	default:
		if a.config, a.from, err = p.connection(app, app.ConnectionName); err != nil {
			return err
		}
		a.setting = app.ConnectionName.Text
		return p.connectTracking(a, app)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", a.from, err)
	}
	if p.is(optTrackingConnection) {
		return p.connectTracking(a, app)
	}
	if !p.is(optTrackingPrefix) {
		a.names.TrackingPrefix = "" // that of host.json belongs to the app's own connection
	}
	return nil
}

// variable returns the connection string of our own environment variable, unless
// an option goes before it.
func (p place) variable() string {
	if p.prefix != "" || p.is(optConnectionSetting) {
		return ""
	}
	return os.Getenv(connectionVariable)
}

// connects reports whether the command line and our own environment variable say
// how to connect, so that no settings of an app are needed for it.
func (p place) connects() bool {
	return p.is(optConnection) || p.is(optAccount) || p.variable() != "" || p.endpointsOnly()
}

// endpointsOnly reports whether the services are named one by one, and nothing
// says how to get into them.
func (p place) endpointsOnly() bool {
	return p.is(optBlobEndpoint) && p.is(optQueueEndpoint) && p.is(optTableEndpoint) && !p.is(optConnectionSetting)
}

func (p place) connectTracking(a *account, app *settings.App) error {
	if app.TrackingConnectionName.Text == "" {
		return nil
	}
	config, from, err := p.connection(app, app.TrackingConnectionName)
	if err != nil {
		return fmt.Errorf("tracking store: %w", err)
	}
	a.from += "; tracking store: " + from
	a.config.Tracking = &config
	return nil
}

// connection returns what the settings of a connection say, and where they are.
func (s *session) connection(app *settings.App, name settings.Value) (live.Config, string, error) {
	c, err := app.Connection(name)
	switch {
	case errors.Is(err, settings.ErrNotSet) && name.IsDefault() && !s.namesAccount() && app.HostFile == "":
		// Nothing at all was said: this is about the command line.
		capture := "a capture with --" + optSnapshot + ", or "
		if s.edits() {
			capture = ""
		}
		return live.Config{}, "", s.usagef("no hub given: name %san account with --%s, --%s or --%s (%v)",
			capture, optConnectionSetting, optConnection, optAccount, err)
	case err != nil:
		return live.Config{}, "", err
	}
	if c.ConnectionString.Text != "" {
		config, err := live.ParseConnectionString(c.ConnectionString.Text)
		if err != nil {
			return live.Config{}, "", fmt.Errorf("%s: %w", c.From(), err)
		}
		return config, c.From(), nil
	}
	config := live.Config{
		Account: c.AccountName.Text, BlobEndpoint: c.BlobServiceURI.Text,
		QueueEndpoint: c.QueueServiceURI.Text, TableEndpoint: c.TableServiceURI.Text,
		Identity: live.Identity{Kind: live.DefaultIdentity, ClientID: c.ClientID.Text, TenantID: c.TenantID.Text},
	}
	switch kind := live.IdentityKind(strings.ToLower(c.Credential.Text)); {
	case kind == live.ManagedIdentity || kind == live.WorkloadIdentity:
		config.Identity.Kind = kind
	case kind != "":
		return live.Config{}, "", fmt.Errorf("%v: %q is neither %s nor %s", c.Credential, kind, live.ManagedIdentity, live.WorkloadIdentity)
	}
	return config, c.From(), nil
}

// namesAccount reports whether any option says where the hub is.
func (s *session) namesAccount() bool {
	for _, name := range []string{
		optConnectionSetting, optBlobEndpoint, optQueueEndpoint, optTableEndpoint, optTaskHub, optTrackingPrefix, optTrackingConnection,
	} {
		if s.IsSet(name) {
			return true
		}
	}
	return false
}

// wrap says in an error of the service which account it was, and which setting
// names it.
func (a *account) wrap(err error) error {
	var request *live.RequestError
	var other *sourceError
	if err == nil || !errors.As(err, &request) || errors.As(err, &other) { // that says which account it was
		return err
	}
	return a.located(err)
}

// located is wrap for any error.
func (a *account) located(err error) error {
	return &sourceError{a, fmt.Errorf("storage account %s (%s): %w", orUnknown(a.config.AccountName()), a.from, trimmed(err))}
}

// trimmed drops the beginning that says what wrap says better.
func trimmed(err error) error {
	const begin = "storage account"
	if inner := errors.Unwrap(err); inner != nil && strings.HasPrefix(err.Error(), begin) {
		return inner
	}
	return err
}

// hint returns what could be done about an error of this account.
func (a *account) hint(err error) string {
	var dns *net.DNSError
	var request *live.RequestError
	switch {
	case errors.As(err, &dns):
		return "is the account's name right, and the network there?"
	case !errors.Is(err, hub.ErrUnauthorized):
		return ""
	case errors.As(err, &request) && request.Status == 0:
		return "no token: az login, or the variables AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET"
	case a.config.Identity.Kind != "" && a.edits:
		return "the identity needs the roles Storage Blob, Queue and Table Data Contributor; a firewall of the account answers the same"
	case !a.config.SAS.IsZero() && a.edits:
		return "is the signature still valid, and for all three services with read, list, add, create, write, update and delete? A firewall of the account answers the same"
	case a.config.Identity.Kind != "":
		return "the identity needs the roles Storage Blob, Queue and Table Data Reader; a firewall of the account answers the same"
	case !a.config.SAS.IsZero():
		return "is the signature still valid, and for all three services with read and list? A firewall of the account answers the same"
	}
	return "is the key still valid? A firewall of the account, or one that forbids keys, answers the same"
}

// listHubs lists the hubs of an account.
func listHubs(ctx context.Context, a *account) ([]live.Found, error) {
	opened, err := live.OpenAccount(ctx, a.config, live.Options{})
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	return opened.Hubs(ctx)
}
