package live

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// Config says where an account is and how to get in. It is plain data: the zero
// value is no account. Exactly one of Key, SAS and Identity.Kind has to be set.
type Config struct {
	// Account is the name of the storage account. It may be empty where the
	// endpoints are given and no key is.
	Account string
	// Key is the account key, in Base64.
	Key Secret
	// SAS is the query of a shared access signature, with or without the ? before
	// it. It needs the permissions
	// read and list for blobs and queues, and read for tables.
	SAS Secret
	// Identity is an identity of Entra ID.
	Identity Identity

	// EndpointSuffix is that of the cloud; empty means core.windows.net.
	EndpointSuffix string
	// BlobEndpoint, QueueEndpoint and TableEndpoint are the addresses of the
	// services; those that are empty follow from Account and EndpointSuffix.
	BlobEndpoint, QueueEndpoint, TableEndpoint string

	// Tracking is the account of the tracking store, where that is another one:
	// it has the tables and blobs of the hub, and this one the queues. Versions
	// before 1.13.6 left the blobs here: containers that Tracking does not have
	// are looked for in both.
	//
	// Source: durabletask 2.9.1, AzureStorageClient.cs:50-60.
	Tracking *Config
}

// IdentityKind is a way to get tokens of Entra ID.
type IdentityKind string

// The kinds of identities.
const (
	// DefaultIdentity tries what azidentity.DefaultAzureCredential tries:
	// environment variables, workload identity, managed identity, developer tools.
	DefaultIdentity IdentityKind = "default"
	// ManagedIdentity is that of the machine.
	ManagedIdentity IdentityKind = "managedidentity"
	// WorkloadIdentity is that of a Kubernetes pod.
	WorkloadIdentity IdentityKind = "workloadidentity"
)

// Identity is an identity of Entra ID. Fields other than Kind may stay empty.
type Identity struct {
	Kind IdentityKind
	// ClientID chooses a user-assigned managed identity, or is the application
	// of a workload identity, where the default is AZURE_CLIENT_ID.
	ClientID string
	// TenantID is the tenant of a workload identity or of the developer tools;
	// the default is AZURE_TENANT_ID.
	TenantID string
	// TokenFile is the token of a workload identity; the default is
	// AZURE_FEDERATED_TOKEN_FILE.
	TokenFile string
}

const (
	defaultSuffix = "core.windows.net"

	// The account of the emulator and its key are the same everywhere and public.
	//
	// Source: https://learn.microsoft.com/azure/storage/common/storage-use-emulator.
	developmentAccount = "devstoreaccount1"
	developmentKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// ParseConnectionString reads a connection string. Names of settings are taken
// in any case, as by the SDK for .NET. It returns an error for a string that is
// not one, or that has no way to get in; the error never holds a value.
//
// UseDevelopmentStorage=true is the emulator at 127.0.0.1, or at the address in
// DevelopmentStorageProxyUri. A signature that is part of an endpoint is moved
// to Config.SAS.
func ParseConnectionString(s string) (Config, error) {
	c, err := parseConnectionString(s)
	if err != nil {
		return Config{}, fmt.Errorf("connection string: %w", err)
	}
	return c, nil
}

func parseConnectionString(s string) (Config, error) {
	values := make(map[string]string)
	for part := range strings.SplitSeq(s, ";") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		switch {
		case !ok:
			return Config{}, errors.New("a part of it is not NAME=VALUE")
		case !knownSetting(name):
			continue // such as the secondary endpoints; the name may be part of a broken secret
		case values[name] != "":
			return Config{}, fmt.Errorf("%s is given twice", name)
		}
		values[name] = strings.TrimSpace(value)
	}
	if len(values) == 0 {
		return Config{}, errors.New("it has no setting that is known")
	}
	if strings.EqualFold(values["usedevelopmentstorage"], "true") {
		return developmentConfig(values["developmentstorageproxyuri"])
	}
	c := Config{
		Account: values["accountname"], Key: NewSecret(values["accountkey"]), SAS: NewSecret(strings.TrimPrefix(values["sharedaccesssignature"], "?")),
		EndpointSuffix: values["endpointsuffix"],
		BlobEndpoint:   values["blobendpoint"], QueueEndpoint: values["queueendpoint"], TableEndpoint: values["tableendpoint"],
	}
	for _, endpoint := range []*string{&c.BlobEndpoint, &c.QueueEndpoint, &c.TableEndpoint} {
		at, query, ok := strings.Cut(*endpoint, "?")
		if !ok {
			continue
		}
		*endpoint = at
		if c.SAS.IsZero() {
			c.SAS = NewSecret(query)
		}
		if c.SAS.Reveal() != query {
			return Config{}, errors.New("it has more than one shared access signature")
		}
	}
	if scheme := values["defaultendpointsprotocol"]; scheme != "" && !strings.EqualFold(scheme, "https") {
		if !strings.EqualFold(scheme, "http") {
			return Config{}, errors.New("defaultendpointsprotocol is neither http nor https")
		}
		for service, endpoint := range map[string]*string{"blob": &c.BlobEndpoint, "queue": &c.QueueEndpoint, "table": &c.TableEndpoint} {
			if *endpoint == "" && c.Account != "" {
				*endpoint = "http://" + c.Account + "." + service + "." + c.suffix()
			}
		}
	}
	return c, c.validate()
}

func knownSetting(name string) bool {
	return slices.Contains([]string{
		"usedevelopmentstorage", "developmentstorageproxyuri", "defaultendpointsprotocol", "accountname", "accountkey",
		"sharedaccesssignature", "endpointsuffix", "blobendpoint", "queueendpoint", "tableendpoint",
	}, name)
}

func developmentConfig(proxy string) (Config, error) {
	if proxy == "" {
		proxy = "http://127.0.0.1"
	}
	u, err := url.Parse(proxy)
	if err != nil || u.Hostname() == "" || u.User != nil {
		return Config{}, errors.New("developmentstorageproxyuri is not a plain address")
	}
	at := func(port string) string {
		return u.Scheme + "://" + hostPort(u.Hostname(), port) + "/" + developmentAccount
	}
	c := Config{
		Account: developmentAccount, Key: NewSecret(developmentKey),
		BlobEndpoint: at("10000"), QueueEndpoint: at("10001"), TableEndpoint: at("10002"),
	}
	return c, c.validate()
}

func hostPort(host, port string) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return host + ":" + port
}

func (c *Config) suffix() string {
	if c.EndpointSuffix == "" {
		return defaultSuffix
	}
	return c.EndpointSuffix
}

// signature returns SAS without the ? before it.
func (c *Config) signature() string { return strings.TrimPrefix(c.SAS.Reveal(), "?") }

// endpoint returns the address of a service (blob, queue, table) without a slash
// at the end.
func (c *Config) endpoint(service string) string {
	given := map[string]string{"blob": c.BlobEndpoint, "queue": c.QueueEndpoint, "table": c.TableEndpoint}[service]
	if given == "" {
		given = "https://" + c.Account + "." + service + "." + c.suffix()
	}
	return strings.TrimRight(given, "/")
}

// Serves reports whether address, such as that of a [RequestError], belongs to one
// of the services of c or of its tracking store.
func (c *Config) Serves(address string) bool {
	for _, service := range []string{"blob", "queue", "table"} {
		if rest, ok := strings.CutPrefix(address, c.endpoint(service)); ok && (rest == "" || strings.ContainsAny(rest[:1], "/?")) {
			return true
		}
	}
	return c.Tracking != nil && c.Tracking.Serves(address)
}

// AccountName returns Account, or what the endpoints say of it.
func (c *Config) AccountName() string {
	if c.Account != "" {
		return c.Account
	}
	for _, service := range []string{"blob", "queue", "table"} {
		u, err := url.Parse(c.endpoint(service))
		if err != nil {
			continue
		}
		if path := strings.Trim(u.Path, "/"); path != "" {
			return path // of the emulator
		}
		if name, rest, ok := strings.Cut(u.Hostname(), "."); ok && strings.HasPrefix(rest, service+".") {
			return name
		}
	}
	return ""
}

// validate reports what makes c useless, without its values: a secret that was
// put into the wrong place must not be printed.
func (c *Config) validate() error {
	ways := 0
	for _, given := range []bool{!c.Key.IsZero(), !c.SAS.IsZero(), c.Identity.Kind != ""} {
		if given {
			ways++
		}
	}
	switch {
	case c.Account == "" && (c.BlobEndpoint == "" || c.QueueEndpoint == "" || c.TableEndpoint == ""):
		return errors.New("neither the account's name nor all three endpoints are given")
	case strings.Trim(c.Account, "abcdefghijklmnopqrstuvwxyz0123456789-") != "":
		return errors.New("the account's name is not of lower-case letters and digits")
	case ways == 0:
		return errors.New("neither an account key nor a shared access signature nor an identity is given")
	case ways > 1:
		return errors.New("more than one of account key, shared access signature and identity is given")
	case !c.Key.IsZero() && c.AccountName() == "":
		return errors.New("a key needs the account's name")
	case strings.ContainsAny(c.suffix(), "/?@ "):
		return errors.New("the endpoint suffix is not the end of a host name")
	}
	if _, err := base64.StdEncoding.DecodeString(c.Key.Reveal()); err != nil {
		return errors.New("the account key is not Base64")
	}
	if !c.SAS.IsZero() {
		if q, err := url.ParseQuery(c.signature()); err != nil || q.Get("sig") == "" {
			return errors.New("the shared access signature has no sig")
		}
	}
	switch c.Identity.Kind {
	case "", DefaultIdentity, ManagedIdentity, WorkloadIdentity:
	default:
		return fmt.Errorf("unknown kind of identity %q", c.Identity.Kind)
	}
	for _, service := range []string{"blob", "queue", "table"} {
		u, err := url.Parse(c.endpoint(service))
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return fmt.Errorf("the %s endpoint is not an http or https address", service)
		}
		if u.RawQuery != "" || u.User != nil || u.Fragment != "" {
			return fmt.Errorf("the %s endpoint has more than an address; a shared access signature has a field of its own", service)
		}
		if c.Identity.Kind != "" && u.Scheme != "https" {
			return fmt.Errorf("the %s endpoint is not https, which a token needs", service)
		}
	}
	if c.Tracking != nil {
		if c.Tracking.Tracking != nil {
			return errors.New("the tracking store has a tracking store")
		}
		if err := c.Tracking.validate(); err != nil {
			return fmt.Errorf("tracking store: %w", err)
		}
	}
	return nil
}
