package live

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	blobs "github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azqueue/v2"
)

// Options tunes how requests are sent. The zero value is for everyday use.
type Options struct {
	// Transport sends requests, also those for tokens; nil means one of our own,
	// which Close frees. It has to end a request when its context ends.
	Transport http.RoundTripper
	// Now is the time that requests carry; nil means that of the machine.
	Now func() time.Time
	// MaxRetries is how often a request is repeated; 0 means 5, a negative
	// number never. Retry-After of the service is honoured up to MaxRetryDelay,
	// where 0 means a minute; without it the pauses begin with RetryDelay, where
	// 0 means 0.8 s, and double.
	MaxRetries                int
	RetryDelay, MaxRetryDelay time.Duration
	// TryTimeout bounds each try; 0 means two minutes. A blob that takes longer
	// goes on where it was.
	TryTimeout time.Duration
	// Logger is told of requests that fail and are repeated; nil discards.
	Logger *slog.Logger
}

// Account is a storage account. It is safe for concurrent use.
type Account struct {
	name   string
	opts   Options
	tries  *tryPolicy
	own    *http.Transport // nil if it is the caller's
	tables *aztables.ServiceClient
	queues *azqueue.ServiceClient
	blobs  *blobs.Client

	tableEndpoint string // without a signature
}

const defaultRetries = 5

// tokenScope is that of all three services in every cloud.
const tokenScope = "https://storage.azure.com/.default"

// OpenAccount returns the account that cfg describes, without its tracking
// store. It asks for a token if cfg needs one, so that a wrong identity shows
// here, as hub.ErrUnauthorized; otherwise it sends nothing.
func OpenAccount(ctx context.Context, cfg Config, opts Options) (*Account, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("storage account: %w", err)
	}
	a := &Account{name: cfg.AccountName(), opts: opts, tries: &tryPolicy{log: opts.Logger}}
	if a.tries.log == nil {
		a.tries.log = slog.New(slog.DiscardHandler)
	}
	if opts.Transport == nil {
		a.own = newTransport()
		opts.Transport = a.own
	}
	options := a.clientOptions(opts)
	if err := a.connect(ctx, cfg, options); err != nil {
		a.Close()
		return nil, fmt.Errorf("storage account %s: %w", a.name, err)
	}
	return a, nil
}

func newTransport() *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		MaxIdleConns:        256,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 10 * time.Second,
		TLSClientConfig:     &tls.Config{MinVersion: tls.VersionTLS12},
		DisableCompression:  true,
		ReadBufferSize:      64 << 10,
	}
}

func (a *Account) clientOptions(opts Options) azcore.ClientOptions {
	if opts.MaxRetries == 0 {
		opts.MaxRetries = defaultRetries
	}
	if opts.TryTimeout == 0 {
		opts.TryTimeout = 2 * time.Minute
	}
	options := azcore.ClientOptions{
		Transport: transporter{opts.Transport},
		Retry: policy.RetryOptions{
			MaxRetries: int32(max(-1, min(opts.MaxRetries, 1000))), RetryDelay: opts.RetryDelay, MaxRetryDelay: opts.MaxRetryDelay,
			TryTimeout: opts.TryTimeout, ShouldRetry: a.tries.again,
		},
		PerCallPolicies:  []policy.Policy{bodyPolicy{}},
		PerRetryPolicies: []policy.Policy{a.tries},
	}
	if opts.Now != nil {
		options.PerCallPolicies = append(options.PerCallPolicies, datePolicy{opts.Now})
	}
	return options
}

func (a *Account) connect(ctx context.Context, cfg Config, options azcore.ClientOptions) (err error) {
	table, queue, blob := cfg.endpoint("table"), cfg.endpoint("queue"), cfg.endpoint("blob")
	a.tableEndpoint = table
	forTables := &aztables.ClientOptions{ClientOptions: options}
	forQueues := &azqueue.ClientOptions{ClientOptions: options}
	forBlobs := &blobs.ClientOptions{ClientOptions: options}
	var err1, err2, err3 error
	switch {
	case !cfg.Key.IsZero():
		tableKey, err1 := aztables.NewSharedKeyCredential(a.name, cfg.Key.Reveal())
		queueKey, err2 := azqueue.NewSharedKeyCredential(a.name, cfg.Key.Reveal())
		blobKey, err3 := blobs.NewSharedKeyCredential(a.name, cfg.Key.Reveal())
		if err := errors.Join(err1, err2, err3); err != nil {
			return errors.New("the account key is not Base64")
		}
		a.tables, err1 = aztables.NewServiceClientWithSharedKey(table, tableKey, forTables)
		a.queues, err2 = azqueue.NewServiceClientWithSharedKeyCredential(queue, queueKey, forQueues)
		a.blobs, err3 = blobs.NewClientWithSharedKeyCredential(blob, blobKey, forBlobs)
		return a.opened(err1, err2, err3)
	case !cfg.SAS.IsZero():
		signature := "/?" + cfg.signature()
		a.tables, err1 = aztables.NewServiceClientWithNoCredential(table+signature, forTables)
		a.queues, err2 = azqueue.NewServiceClientWithNoCredential(queue+signature, forQueues)
		a.blobs, err3 = blobs.NewClientWithNoCredential(blob+signature, forBlobs)
		return a.opened(err1, err2, err3)
	}
	identity, err := newCredential(cfg.Identity, options)
	if err == nil {
		_, err = identity.GetToken(ctx, policy.TokenRequestOptions{
			Scopes: []string{tokenScope}, EnableCAE: true, // as the clients ask, for the same token
		})
	}
	if err != nil {
		return new(call).fail(ctx, err)
	}
	a.tables, err1 = aztables.NewServiceClient(table, identity, forTables)
	a.queues, err2 = azqueue.NewServiceClient(queue, identity, forQueues)
	a.blobs, err3 = blobs.NewClient(blob, identity, forBlobs)
	return a.opened(err1, err2, err3)
}

// opened joins the errors of making clients.
func (a *Account) opened(errs ...error) error {
	if err := errors.Join(errs...); err != nil {
		return scrubbed(err)
	}
	return nil
}

func newCredential(id Identity, options azcore.ClientOptions) (azcore.TokenCredential, error) {
	// The policies of a client are for storage: credentials have their own ways
	// to repeat requests.
	options = azcore.ClientOptions{Transport: options.Transport}
	switch id.Kind {
	case ManagedIdentity:
		opts := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: options}
		if id.ClientID != "" {
			opts.ID = azidentity.ClientID(id.ClientID)
		}
		return azidentity.NewManagedIdentityCredential(opts)
	case WorkloadIdentity:
		return azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
			ClientOptions: options, ClientID: id.ClientID, TenantID: id.TenantID, TokenFilePath: id.TokenFile,
		})
	}
	return azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
		ClientOptions: options, TenantID: id.TenantID,
	})
}

// Name returns the name of the account; empty if nothing tells it.
func (a *Account) Name() string { return a.name }

// Close frees idle connections.
func (a *Account) Close() {
	if a.own != nil {
		a.own.CloseIdleConnections()
	}
}
