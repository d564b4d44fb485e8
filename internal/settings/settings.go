package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
)

// Value is the text of a setting and where it came from. It prints as where it
// came from, because its text may be a secret.
type Value struct {
	Text string
	// From is for people, such as: option --task-hub-name, environment variable
	// AzureWebJobsStorage, hubName in /app/host.json. Empty if nothing gave it.
	From string
}

// String returns where v came from.
func (v Value) String() string { return v.From }

// Format prints String whatever the verb.
func (v Value) Format(f fmt.State, _ rune) { _, _ = fmt.Fprint(f, v.From) }

// MarshalText returns String.
func (v Value) MarshalText() ([]byte, error) { return []byte(v.From), nil }

// LogValue returns String.
func (v Value) LogValue() slog.Value { return slog.StringValue(v.From) }

// IsZero reports whether nothing gave the value.
func (v Value) IsZero() bool { return v.Text == "" && v.From == "" }

// IsDefault reports whether nothing gave the value and a default stands in.
func (v Value) IsDefault() bool { return v.From == fromDefault }

// ErrNotSet is returned for a connection that no setting describes.
var ErrNotSet = errors.New("no storage connection string found")

// ErrBackend is returned for an app that does not keep its hub in Azure Storage.
var ErrBackend = errors.New("not yet supported by this command")

// What an app uses that configures nothing else.
//
// Source: core-tools DurableManager.cs:40-60; durabletask 2.9.1,
// AzureStorageOrchestrationServiceSettings.cs:243-248.
const (
	DefaultConnectionName = "AzureWebJobsStorage"
	DefaultTaskHub        = "DurableFunctionsHub"
	// DefaultTrackingPrefix begins the names of the tables in a tracking store.
	DefaultTrackingPrefix = "DurableTask"
)

const fromDefault = "the default"

// Options says where to look and what is given already.
type Options struct {
	// Dir is the working directory.
	Dir string
	// LookupEnv looks an environment variable up, like os.LookupEnv.
	LookupEnv func(name string) (string, bool)
	// NoHostFile leaves host.json alone.
	NoHostFile bool
	// What the command line gives goes before host.json; zero values are not given.
	ConnectionName, TaskHub, TrackingConnectionName, TrackingPrefix Value
}

// App is what an app is configured for.
type App struct {
	// ConnectionName and TaskHub are never empty.
	ConnectionName, TaskHub Value
	// TrackingConnectionName and TrackingPrefix are empty where the hub has no
	// tracking store of its own. A prefix alone means tables in the same account.
	TrackingConnectionName, TrackingPrefix Value
	// PartitionCount is that of host.json, or 0. An existing hub may have another.
	PartitionCount     int
	PartitionCountFrom string
	// HostFile is the path of host.json; empty if there is none.
	HostFile string

	files *files
}

// Load reads host.json, if there is one in opts.Dir. It returns ErrBackend for an
// app that keeps its hub elsewhere, and other errors for a file that is no JSON
// or has values of a wrong type; each names the file.
//
// Source: core-tools DurableManager.cs:40-190.
func Load(opts Options) (*App, error) {
	a := &App{
		ConnectionName: opts.ConnectionName, TaskHub: opts.TaskHub,
		TrackingConnectionName: opts.TrackingConnectionName, TrackingPrefix: opts.TrackingPrefix,
		files: &files{dir: opts.Dir, env: opts.LookupEnv},
	}
	if !opts.NoHostFile {
		host, err := a.files.host()
		if err == nil && host != nil {
			a.HostFile = host.path
			err = a.fromHost(host)
		}
		if err != nil {
			return nil, err
		}
	}
	if a.ConnectionName.Text == "" {
		a.ConnectionName = Value{DefaultConnectionName, fromDefault}
	}
	if a.TaskHub.Text == "" {
		a.TaskHub = Value{DefaultTaskHub, fromDefault}
	}
	if a.TrackingConnectionName.Text != "" && a.TrackingPrefix.Text == "" {
		a.TrackingPrefix = Value{DefaultTrackingPrefix, fromDefault}
	}
	return a, nil
}

func (a *App) fromHost(host *document) error {
	section, err := host.durableTask()
	if err != nil || section == nil {
		return err
	}
	provider, err := section.object("storageProvider")
	if err != nil {
		return err
	}
	backend, err := provider.text("type")
	if err != nil {
		return err
	}
	switch strings.ToLower(backend.Text) {
	case "", "azurestorage":
	case "netherite", "mssql":
		return fmt.Errorf("the %s storage provider for Durable Functions is %w (%v): only Azure Storage is",
			map[string]string{"netherite": "Netherite", "mssql": "MSSQL"}[strings.ToLower(backend.Text)], ErrBackend, backend)
	default:
		return fmt.Errorf("%v: it is none of AzureStorage, Netherite and MSSQL", backend)
	}

	// Older names come first: an app that has both was moved to the new section
	// by hand, and the tools have always read the old one.
	names := []struct {
		to   *Value
		in   []*object
		keys []string
	}{
		{&a.ConnectionName, []*object{section, provider}, []string{"azureStorageConnectionStringName", "connectionName", "connectionStringName"}},
		{&a.TaskHub, []*object{section}, []string{"hubName"}},
		{&a.TrackingConnectionName, []*object{section, provider}, []string{"trackingStoreConnectionStringName", "trackingStoreConnectionName"}},
	}
	for _, n := range names {
		if n.to.Text != "" {
			continue
		}
		v, err := first(n.in, n.keys)
		if err != nil {
			return err
		}
		if *n.to, err = a.files.expand(v); err != nil {
			return err
		}
	}
	if a.TrackingPrefix.Text == "" && a.TrackingConnectionName.Text != "" {
		// Without a connection the framework does not look at it.
		if a.TrackingPrefix, err = first([]*object{section, provider}, []string{"trackingStoreNamePrefix"}); err != nil {
			return err
		}
	}
	a.PartitionCount, a.PartitionCountFrom, err = provider.int("partitionCount")
	if err == nil && a.PartitionCount == 0 {
		a.PartitionCount, a.PartitionCountFrom, err = section.int("partitionCount") // of version 1
	}
	return err
}

// first returns the first text that is set.
func first(in []*object, keys []string) (Value, error) {
	for _, o := range in {
		for _, key := range keys {
			if v, err := o.text(key); err != nil || v.Text != "" {
				return v, err
			}
		}
	}
	return Value{}, nil
}

// Connection is how to get into a storage account: a connection string, or the
// settings of an identity.
type Connection struct {
	// Name is the name of the setting.
	Name Value
	// ConnectionString is empty if the settings below are used.
	ConnectionString Value
	// AccountName may be empty where all three addresses are given.
	AccountName                                      Value
	BlobServiceURI, QueueServiceURI, TableServiceURI Value
	// Credential is such as managedidentity; empty means to try what there is.
	Credential, ClientID, TenantID Value
}

// From says which setting the connection came from, for errors.
func (c *Connection) From() string {
	v := c.ConnectionString
	for _, other := range []Value{c.AccountName, c.BlobServiceURI, c.QueueServiceURI, c.TableServiceURI} {
		if v.From == "" {
			v = other
		}
	}
	if c.Name.From == "" || c.Name.From == fromDefault {
		return v.From
	}
	return v.From + ", which " + c.Name.From + " names"
}

// plainName is what can be the name of a setting. A connection string is not.
var plainName = regexp.MustCompile(`^[\w.:\-]+$`)

// Connection looks up the settings of the connection with this name: the
// environment variable, then local.settings.json, then the settings of an
// identity-based connection in either.
//
// It returns ErrNotSet if there are none, and an error for a local.settings.json
// that is encrypted or that cannot be read, if it is needed.
//
// Source: core-tools SecretsManager.cs:19-56, AppSettingsFile.cs:17-116;
// https://learn.microsoft.com/azure/azure-functions/functions-reference#configure-an-identity-based-connection.
func (a *App) Connection(name Value) (Connection, error) {
	c := Connection{Name: name}
	if !plainName.MatchString(name.Text) {
		return c, fmt.Errorf("%v: it is not the name of a setting", name)
	}
	var err error
	if c.ConnectionString, err = a.files.setting(name.Text); err != nil || c.ConnectionString.Text != "" {
		return c, err
	}
	found := false
	for _, s := range []struct {
		suffix string
		to     *Value
	}{
		{"accountName", &c.AccountName},
		{"blobServiceUri", &c.BlobServiceURI},
		{"queueServiceUri", &c.QueueServiceURI},
		{"tableServiceUri", &c.TableServiceURI},
		{"credential", &c.Credential},
		{"clientId", &c.ClientID},
		{"tenantId", &c.TenantID},
	} {
		if *s.to, err = a.files.setting(name.Text + "__" + s.suffix); err != nil {
			return c, err
		}
		found = found || s.to.Text != ""
	}
	switch {
	case !found:
		return c, fmt.Errorf("%w: %s is %s", ErrNotSet, quoteName(name), a.files.looked())
	case c.AccountName.Text == "" && (c.BlobServiceURI.Text == "" || c.QueueServiceURI.Text == "" || c.TableServiceURI.Text == ""):
		return c, fmt.Errorf("%w: of %s there is neither a connection string, nor %[2]s__accountName, nor all three of "+
			"%[2]s__blobServiceUri, __queueServiceUri and __tableServiceUri", ErrNotSet, name.Text)
	}
	return c, nil
}

// quoteName names a setting and who named it.
func quoteName(name Value) string {
	if name.From == "" || name.From == fromDefault {
		return name.Text
	}
	return name.Text + " (" + name.From + ")"
}
