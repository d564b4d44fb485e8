package live_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/testhub"
)

const (
	testKey = "c2VjcmV0LWtleS1ieXRlcw=="
	testSig = "c2VjcmV0LXNpZ25hdHVyZQ%3D%3D"
)

func TestParseConnectionString(t *testing.T) {
	const sas = "sv=2019-07-07&ss=bqt&sig=" + testSig
	tests := []struct {
		name, text             string
		account, key, sas      string
		blob, queue, table     string
		wantErr                string
		endpointSuffix, accNam string
	}{
		{
			name: "of the portal", text: "DefaultEndpointsProtocol=https;AccountName=acc1;AccountKey=" + testKey + ";EndpointSuffix=core.windows.net",
			account: "acc1", key: testKey, endpointSuffix: "core.windows.net", accNam: "acc1",
		},
		{
			name: "other cases and spaces", text: " accountname = acc1 ; ACCOUNTKEY=" + testKey + " ;; FileEndpoint=https://x/;",
			account: "acc1", key: testKey, accNam: "acc1",
		},
		{
			name: "sas", text: "BlobEndpoint=https://acc1.blob.core.windows.net/;QueueEndpoint=https://acc1.queue.core.windows.net;TableEndpoint=https://acc1.table.core.windows.net/;SharedAccessSignature=?" + sas,
			sas: sas, blob: "https://acc1.blob.core.windows.net/", queue: "https://acc1.queue.core.windows.net", table: "https://acc1.table.core.windows.net/", accNam: "acc1",
		},
		{
			name: "sas in the endpoints", text: "BlobEndpoint=https://a.example/b?" + sas + ";QueueEndpoint=https://a.example/q?" + sas + ";TableEndpoint=https://a.example/t?" + sas,
			sas: sas, blob: "https://a.example/b", queue: "https://a.example/q", table: "https://a.example/t", accNam: "b",
		},
		{
			name: "http", text: "DefaultEndpointsProtocol=http;AccountName=acc1;AccountKey=" + testKey + ";EndpointSuffix=example.org;TableEndpoint=https://t.example",
			account: "acc1", key: testKey, blob: "http://acc1.blob.example.org", queue: "http://acc1.queue.example.org", table: "https://t.example", endpointSuffix: "example.org", accNam: "acc1",
		},
		{
			name: "emulator", text: "UseDevelopmentStorage=true",
			account: "devstoreaccount1", key: "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
			blob: "http://127.0.0.1:10000/devstoreaccount1", queue: "http://127.0.0.1:10001/devstoreaccount1", table: "http://127.0.0.1:10002/devstoreaccount1", accNam: "devstoreaccount1",
		},
		{
			name: "emulator elsewhere", text: "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://[::1]/",
			account: "devstoreaccount1", key: "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==",
			blob: "http://[::1]:10000/devstoreaccount1", queue: "http://[::1]:10001/devstoreaccount1", table: "http://[::1]:10002/devstoreaccount1", accNam: "devstoreaccount1",
		},
		{name: "empty", text: " ; ", wantErr: "no setting"},
		{name: "no settings", text: testKey[:20], wantErr: "not NAME=VALUE"},
		{name: "only a key", text: "AccountKey=" + testKey, wantErr: "account's name"},
		{name: "no key", text: "AccountName=acc1", wantErr: "neither an account key"},
		{name: "cut key", text: "AccountName=acc1;AccountKey=" + testKey[:7], wantErr: "not Base64"},
		{name: "key and sas", text: "AccountName=acc1;AccountKey=" + testKey + ";SharedAccessSignature=" + sas, wantErr: "more than one"},
		{name: "key twice", text: "AccountName=acc1;AccountKey=" + testKey + ";AccountKey=" + testKey, wantErr: "twice"},
		{name: "sas without signature", text: "AccountName=acc1;SharedAccessSignature=sv=2019-07-07", wantErr: "no sig"},
		{name: "key for a name", text: "AccountName=" + testKey + ";AccountKey=" + testKey, wantErr: "name is not"},
		{name: "no address", text: "AccountName=acc1;AccountKey=" + testKey + ";BlobEndpoint=" + testKey, wantErr: "blob endpoint"},
		{name: "user in the address", text: "AccountName=acc1;AccountKey=" + testKey + ";BlobEndpoint=https://a:" + testKey + "@x.example", wantErr: "blob endpoint"},
		{name: "scheme", text: "DefaultEndpointsProtocol=ftp;AccountName=acc1;AccountKey=" + testKey, wantErr: "neither http nor https"},
		{name: "suffix", text: "AccountName=acc1;AccountKey=" + testKey + ";EndpointSuffix=x.example/" + testKey, wantErr: "suffix"},
		{name: "proxy", text: "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=" + testKey, wantErr: "proxyuri"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg, err := live.ParseConnectionString(tt.text)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) || strings.Contains(err.Error(), testKey[:6]) || strings.Contains(err.Error(), testSig) {
					t.Errorf("error = %v, want %q in it and no value", err, tt.wantErr)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := []string{cfg.Account, cfg.Key.Reveal(), cfg.SAS.Reveal(), cfg.BlobEndpoint, cfg.QueueEndpoint, cfg.TableEndpoint, cfg.EndpointSuffix, cfg.AccountName()}
			want := []string{tt.account, tt.key, tt.sas, tt.blob, tt.queue, tt.table, tt.endpointSuffix, tt.accNam}
			for i := range want {
				if got[i] != want[i] {
					t.Errorf("value %d = %q, want %q", i, got[i], want[i])
				}
			}
		})
	}
}

func TestConfigErrors(t *testing.T) {
	good := live.Config{Account: "acc1", Key: live.NewSecret(testKey)}
	for name, change := range map[string]func(*live.Config){
		"unknown kind": func(c *live.Config) { c.Key = live.Secret{}; c.Identity.Kind = "password" },
		"http": func(c *live.Config) {
			c.Key = live.Secret{}
			c.Identity.Kind = live.ManagedIdentity
			c.TableEndpoint = "http://x"
		},
		"query":         func(c *live.Config) { c.TableEndpoint = "https://x/?sig=" + testSig },
		"two trackings": func(c *live.Config) { c.Tracking = &live.Config{Tracking: &live.Config{}} },
		"bad tracking":  func(c *live.Config) { c.Tracking = &live.Config{} },
	} {
		cfg := good
		change(&cfg)
		_, err := live.Open(t.Context(), cfg, hub.Names{TaskHub: "X"}, live.Options{})
		if err == nil || strings.Contains(err.Error(), testSig) {
			t.Errorf("%s: Open returns %v", name, err)
		}
	}
	if _, err := live.Open(t.Context(), good, hub.Names{}, live.Options{}); err == nil {
		t.Error("Open accepts a hub without a name")
	}
}

func TestSecret(t *testing.T) {
	cfg := live.Config{Account: "acc1", Key: live.NewSecret(testKey), SAS: live.NewSecret(testSig), Tracking: &live.Config{Key: live.NewSecret(testKey)}}
	type hidden struct{ cfg live.Config }
	var out strings.Builder
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%t", "%p", "%08.3f"} {
		fmt.Fprintf(&out, verb+" "+verb+" "+verb+" "+verb+"\n", cfg, &cfg, cfg.Key, hidden{cfg})
	}
	text, err := json.Marshal(cfg)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "config", cfg, "key", cfg.Key, "sas", &cfg.SAS)
	}
	out.WriteString(fmt.Sprint(cfg.Key) + cfg.Key.String() + cfg.Key.GoString() + errors.Join(fmt.Errorf("%v", cfg)).Error())
	for _, secret := range []string{testKey, testSig, fmt.Sprintf("%x", testKey), fmt.Sprintf("%x", testSig), "c2Vjc"} {
		if strings.Contains(strings.ToLower(out.String()), strings.ToLower(secret)) {
			t.Errorf("%q is in:\n%s", secret, out.String())
		}
	}
	if !strings.Contains(out.String(), "REDACTED") || !(live.Secret{}).IsZero() || (live.Secret{}).String() != "" || cfg.Key.Reveal() != testKey {
		t.Errorf("secrets are not what they should be:\n%s", out.String())
	}
}

// TestCredentials opens one hub in the ways that the emulator knows.
func TestCredentials(t *testing.T) {
	e := testhub.Azurite(t)
	names := load(t, e, "dtfx-2.9.1-blob-leases").Names
	sas := config(t, e)
	sas.Key, sas.SAS = live.Secret{}, live.NewSecret("?"+e.SAS("bqt", "rl"))
	fromEndpoints, err := live.ParseConnectionString("BlobEndpoint=" + e.BlobURL + "?" + e.SAS("bqt", "rl") +
		";SharedAccessSignature=;QueueEndpoint=" + e.QueueURL + ";TableEndpoint=" + e.TableURL + "/")
	if err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]live.Config{"key": config(t, e), "SAS": sas, "SAS of an endpoint": fromEndpoints} {
		t.Run(name, func(t *testing.T) {
			h := openWith(t, cfg, names, quick(t))
			info, err := h.Info(t.Context())
			if err != nil || info.PartitionCount != 7 || info.PartitionCountFrom != hub.FromTaskHubJSON || info.Account != e.Account {
				t.Errorf("Info = %+v, %v, want 7 partitions from taskhub.json of account %s", info, err, e.Account)
			}
			if queues, err := h.Queues(t.Context()); len(queues) != 8 || err != nil {
				t.Errorf("Queues = %v, %v", queues, err)
			}
			for _, err := range h.Rows(t.Context(), hub.Instances, hub.Keys{}) {
				if err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	t.Run("only tables", func(t *testing.T) {
		cfg := config(t, e)
		cfg.Key, cfg.SAS = live.Secret{}, live.NewSecret(e.SAS("t", "r"))
		h := openWith(t, cfg, names, quick(t))
		info, err := h.Info(t.Context())
		if err != nil || len(info.Tables) != 2 || len(info.Unreadable) != 3 {
			t.Errorf("Info = %+v, %v, want 2 tables, and queues, containers and partition count unreadable", info, err)
		}
		if _, err := h.Queues(t.Context()); !errors.Is(err, hub.ErrUnauthorized) || strings.Contains(err.Error(), "sig=") {
			t.Errorf("Queues returns %v, want hub.ErrUnauthorized", err)
		}
		if _, err := openWith(t, cfg, hub.Names{TaskHub: "Nowhere"}, quick(t)).Info(t.Context()); !errors.Is(err, hub.ErrUnauthorized) {
			t.Errorf("Info of an unknown hub returns %v, want hub.ErrUnauthorized: it may have queues", err)
		}
	})
}

// tokens answers the requests for tokens of the instance metadata service, and
// notes what is sent to storage.
type tokens struct {
	status int
	asked  []string
	sent   []string
}

func (f *tokens) RoundTrip(req *http.Request) (*http.Response, error) {
	answer := func(status int, body string) *http.Response {
		return &http.Response{
			StatusCode: status, Status: fmt.Sprint(status), Request: req, ProtoMajor: 1, ProtoMinor: 1,
			Header: http.Header{"Content-Type": {"application/json"}, "X-Ms-Error-Code": {"TableNotFound"}}, Body: io.NopCloser(strings.NewReader(body)),
		}
	}
	if req.URL.Host == "169.254.169.254" {
		f.asked = append(f.asked, req.URL.RawQuery)
		if f.status != http.StatusOK {
			return answer(f.status, `{"error":"invalid_request","error_description":"Identity not found"}`), nil
		}
		return answer(200, `{"access_token":"token-of-the-test","expires_in":"3600","resource":"https://storage.azure.com","token_type":"Bearer"}`), nil
	}
	if req.URL.Host == "login.microsoftonline.com" {
		switch {
		case strings.Contains(req.URL.Path, "/discovery/instance"):
			return answer(200, `{"tenant_discovery_endpoint":"https://login.microsoftonline.com/my-tenant/v2.0/.well-known/openid-configuration","metadata":[]}`), nil
		case strings.Contains(req.URL.Path, "/.well-known/"):
			return answer(200, `{"token_endpoint":"https://login.microsoftonline.com/my-tenant/oauth2/v2.0/token","issuer":"https://login.microsoftonline.com/my-tenant/v2.0",`+
				`"authorization_endpoint":"https://login.microsoftonline.com/my-tenant/oauth2/v2.0/authorize"}`), nil
		}
		form, err := io.ReadAll(req.Body)
		if err != nil {
			return nil, err
		}
		f.asked = append(f.asked, string(form))
		if f.status != http.StatusOK {
			return answer(f.status, `{"error":"invalid_client","error_description":"AADSTS700213: no match for client_assertion=`+testSig+`"}`), nil
		}
		return answer(200, `{"access_token":"token-of-the-test","expires_in":3600,"token_type":"Bearer"}`), nil
	}
	f.sent = append(f.sent, req.Method+" "+req.URL.Host+" "+req.Header.Get("Authorization")+" "+req.Header.Get("x-ms-date"))
	return answer(404, `{}`), nil
}

func TestManagedIdentity(t *testing.T) {
	cfg := live.Config{Account: "acc1", Identity: live.Identity{Kind: live.ManagedIdentity, ClientID: "my-client"}}
	f := &tokens{status: 200}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	h := openWith(t, cfg, hub.Names{TaskHub: "X"}, live.Options{Transport: f, Now: func() time.Time { return now }})
	for _, err := range h.Rows(t.Context(), hub.Instances, hub.Keys{}) {
		t.Errorf("Rows of a table that does not exist yields %v", err)
	}
	want := "GET acc1.table.core.windows.net Bearer token-of-the-test Fri, 02 Jan 2026 03:04:05 GMT"
	if len(f.sent) != 1 || f.sent[0] != want || len(f.asked) == 0 || !strings.Contains(f.asked[0], "my-client") ||
		!strings.Contains(f.asked[0], url.QueryEscape("https://storage.azure.com")) {
		t.Errorf("asked %q, sent %q, want %q", f.asked, f.sent, want)
	}

	f = &tokens{status: 400}
	cfg.Identity.ClientID = "another-client"
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := live.Open(ctx, cfg, hub.Names{TaskHub: "X"}, live.Options{Transport: f}); !errors.Is(err, hub.ErrUnauthorized) || strings.Contains(err.Error(), "\n") {
		t.Errorf("Open without that identity returns %v, want hub.ErrUnauthorized in one line", err)
	}
}

func TestWorkloadIdentity(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("assertion-of-the-test"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := live.Config{Account: "acc1", Identity: live.Identity{
		Kind: live.WorkloadIdentity, ClientID: "my-client", TenantID: "my-tenant", TokenFile: file,
	}}
	f := &tokens{status: 200}
	h := openWith(t, cfg, hub.Names{TaskHub: "X"}, live.Options{Transport: f})
	for _, err := range h.Rows(t.Context(), hub.Instances, hub.Keys{}) {
		t.Errorf("Rows of a table that does not exist yields %v", err)
	}
	if len(f.asked) == 0 || !strings.Contains(f.asked[0], "client_assertion=assertion-of-the-test") || len(f.sent) != 1 || !strings.Contains(f.sent[0], "Bearer token-of-the-test") {
		t.Errorf("asked %q, sent %q", f.asked, f.sent)
	}

	_, err := live.Open(t.Context(), cfg, hub.Names{TaskHub: "X"}, live.Options{Transport: &tokens{status: 401}})
	if !errors.Is(err, hub.ErrUnauthorized) || strings.Contains(err.Error(), testSig) || !strings.Contains(err.Error(), "AADSTS700213") {
		t.Errorf("Open returns %v, want hub.ErrUnauthorized with the reason and without the assertion", err)
	}
	cfg.Identity.TokenFile = file + "-none"
	if _, err = live.Open(t.Context(), cfg, hub.Names{TaskHub: "X"}, live.Options{Transport: f}); err == nil {
		t.Error("Open works without the token")
	}
}

func TestServes(t *testing.T) {
	c := live.Config{
		Account: "acc1", QueueEndpoint: "http://127.0.0.1:10001/acc1",
		Tracking: &live.Config{Account: "acc2", EndpointSuffix: "example.org"},
	}
	for address, want := range map[string]bool{
		"https://acc1.blob.core.windows.net":                      true,
		"https://acc1.table.core.windows.net/$batch":              true,
		"https://acc1.blob.core.windows.net?comp=list":            true,
		"http://127.0.0.1:10001/acc1/hub-control-00/messages":     true,
		"https://acc2.blob.example.org/hub-largemessages":         true,
		"http://127.0.0.1:10001/acc10/hub-control-00":             false,
		"https://acc1.queue.core.windows.net/hub-control-00":      false,
		"https://acc1.blob.core.windows.net.example.org/anything": false,
		"": false,
	} {
		if got := c.Serves(address); got != want {
			t.Errorf("Serves(%q) = %t, want %t", address, got, want)
		}
	}
}
