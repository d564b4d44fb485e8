package live_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// faultHub is a hub with a few pages of history, behind a proxy.
func faultHub(t testing.TB) (*testhub.Proxy, hubtest.Content) {
	t.Helper()
	e := testhub.Azurite(t)
	c := content(hub.Names{TaskHub: "FaultHub"}, 2)
	for i := range 25 {
		for seq := range 100 {
			c.Tables[hub.History] = append(c.Tables[hub.History], schema.Row{
				PartitionKey: fmt.Sprintf("instance-%03d", i), RowKey: schema.FormatSequence(int64(seq)),
				Properties: []schema.Property{{Name: "Result", Value: schema.String(strings.Repeat("x", 100))}},
			})
		}
	}
	c.Queues[0].Messages = []schema.QueueMessage{{Text: "{}"}}
	c.Queues[0].ApproximateCount = 1
	c.Containers = append(c.Containers, hub.Container{Name: c.Names.LargeMessages()})
	data := []byte(strings.Repeat("0123456789", 100_000))
	c.Blobs = append(c.Blobs, hubtest.Blob{Data: data, Blob: hub.Blob{
		Container: c.Names.LargeMessages(), Name: "a/b.json.gz", SizeBytes: int64(len(data)), ContentType: "application/octet-stream",
	}})
	testhub.Load(t, e, c)
	return testhub.NewProxy(t, e), c
}

// TestFaults spoils responses of each kind, here and there: reading the whole
// hub finishes right.
func TestFaults(t *testing.T) {
	p, c := faultHub(t)
	for name, faults := range map[string][]testhub.Fault{
		"throttled":           {{Kind: testhub.Throttle, RetryAfter: "1", Match: "History()", After: 1, Times: 1}, {Kind: testhub.Throttle, RetryAfter: "0", After: 4, Times: 2}},
		"connections reset":   {{Kind: testhub.Reset, After: 2, Times: 2}, {Kind: testhub.Reset, Match: "History()", After: 1, Times: 2}},
		"dropped page":        {{Kind: testhub.Drop, Match: "History()", After: 1, Times: 2}},
		"dropped listings":    {{Kind: testhub.Drop, Match: "comp=list", Times: 2}},
		"dropped messages":    {{Kind: testhub.Drop, Match: "peekonly", Times: 1}},
		"dropped blob":        {{Kind: testhub.Drop, Match: ".json.gz", Times: 1}},
		"slow page":           {{Kind: testhub.Slow, Delay: 20 * time.Millisecond, Match: "History()", Times: 2}},
		"page announced long": {{Kind: testhub.LongLength, Match: "History()", After: 1, Times: 1}},
		"page announced half": {{Kind: testhub.ShortLength, Match: "History()", After: 1, Times: 1}},
		"page cut":            {{Kind: testhub.Truncate, Match: "History()", After: 2, Times: 1}},
		"blob announced half": {{Kind: testhub.ShortLength, Match: ".json.gz", Times: 1}},
		"blob cut":            {{Kind: testhub.Truncate, Match: ".json.gz", Times: 1}},
		"bad gateway":         {{Kind: testhub.Status, Status: 502, After: 3, Times: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			p.Reset()
			p.Inject(faults...)
			var log strings.Builder
			opts := quick(t)
			opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
			start := time.Now()
			hubtest.Compare(t, serviceValues, c, openWith(t, config(t, &p.Emulator), c.Names, opts))
			if name == "throttled" && (time.Since(start) < time.Second || !strings.Contains(log.String(), "retry_after=1")) {
				t.Errorf("Retry-After is not honoured, or not logged: %v\n%s", time.Since(start), log.String())
			}
			if strings.Contains(log.String(), p.Key) || strings.Contains(log.String(), "SharedKey") {
				t.Errorf("secrets in the log:\n%s", log.String())
			}
			if m := p.Mutating(); len(m) > 0 {
				t.Errorf("changing requests: %q", m)
			}
		})
	}
}

// TestLastingFaults does not let a request succeed: the error names it, and how
// often it was sent.
func TestLastingFaults(t *testing.T) {
	p, c := faultHub(t)
	const history, blob = "/FaultHubHistory()", "b.json.gz"
	tests := []struct {
		name  string
		fault testhub.Fault
		url   string
		tries int
		text  string
	}{
		{"throttled", testhub.Fault{Kind: testhub.Throttle, RetryAfter: "0", Match: history, After: 1}, history, 4, "503 ServerBusy"},
		{"throttled for long", testhub.Fault{Kind: testhub.Throttle, RetryAfter: "3600", Match: history}, history, 1, "503 ServerBusy"},
		{"page dropped", testhub.Fault{Kind: testhub.Drop, Match: history}, history, 4, "unexpected EOF"},
		{"page cut", testhub.Fault{Kind: testhub.Truncate, Match: history, After: 1}, history, 4, "unexpected EOF"},
		{"page announced long", testhub.Fault{Kind: testhub.LongLength, Match: history}, history, 4, "unexpected EOF"},
		{"connection reset", testhub.Fault{Kind: testhub.Reset, Match: history}, history, 4, "EOF"},
		{"refused", testhub.Fault{Kind: testhub.Status, Status: 400, Match: history}, history, 1, "400"},
		{"404 of something else", testhub.Fault{Kind: testhub.Status, Status: 404, Match: history}, history, 1, "404"},
		{"blob announced long", testhub.Fault{Kind: testhub.LongLength, Match: blob}, blob, 0, ""},
		{"blob throttled", testhub.Fault{Kind: testhub.Throttle, RetryAfter: "0", Match: blob}, blob, 4, "503"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p.Reset()
			p.Inject(tt.fault)
			h := open(t, &p.Emulator, c.Names)
			var err error
			n := 0
			if tt.url == history {
				for _, err = range h.Rows(t.Context(), hub.History, hub.Keys{}) {
					n++
				}
				n--
			} else {
				_, err = h.ReadBlob(t.Context(), c.Blobs[0].Container, c.Blobs[0].Name, 1<<30)
			}
			var failed *live.RequestError
			if !errors.As(err, &failed) {
				t.Fatalf("error = %v after %d rows, want a *RequestError", err, n)
			}
			if failed.Method != "GET" || !strings.HasSuffix(failed.URL, tt.url) || tt.tries > 0 && failed.Tries != tt.tries ||
				errors.Is(err, hub.ErrNotFound) || !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), failed.URL) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error = %v, want GET …%s, %d tries, %q", err, tt.url, tt.tries, tt.text)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	e := testhub.Azurite(t)
	names := load(t, e, "dtfx-2.9.1").Names
	read := func(t *testing.T, cfg live.Config, opts live.Options) error {
		t.Helper()
		h := openWith(t, cfg, names, opts)
		var errs []error
		_, err := h.Info(t.Context())
		errs = append(errs, err)
		for _, err := range h.Rows(t.Context(), hub.History, hub.Keys{}) {
			errs = append(errs, err)
			if err == nil {
				break
			}
		}
		_, err = h.Split(t.Context(), hub.History, 4)
		errs = append(errs, err)
		_, err = h.Queues(t.Context())
		errs = append(errs, err)
		for _, err := range h.Messages(t.Context(), names.WorkItemQueue()) {
			errs = append(errs, err)
		}
		_, err = h.Containers(t.Context())
		errs = append(errs, err)
		for _, err := range h.Blobs(t.Context(), names.AppLease(), "") {
			errs = append(errs, err)
		}
		_, err = h.ReadBlob(t.Context(), names.AppLease(), "oldhub-appleaseinfo", 100)
		errs = append(errs, err)
		a, err := live.OpenAccount(t.Context(), cfg, opts)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		_, err = a.Hubs(t.Context())
		errs = append(errs, err)
		for i, err := range errs {
			if err == nil {
				t.Errorf("operation %d does not fail", i)
			}
		}
		return errors.Join(errs...)
	}
	// noSecrets looks for the key and signatures in everything that is in the chain.
	noSecrets := func(t *testing.T, err error, cfg live.Config) {
		t.Helper()
		secrets := []string{e.Key, cfg.Key.Reveal(), cfg.SAS.Reveal(), "SharedKeyLite " + e.Account, "SharedKey " + e.Account}
		if q, err := url.ParseQuery(cfg.SAS.Reveal()); err == nil && q.Has("sig") {
			secrets = append(secrets, q.Get("sig"), url.QueryEscape(q.Get("sig")))
		}
		var walk func(error)
		walk = func(err error) {
			for _, text := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err)} {
				for _, secret := range secrets {
					if secret != "" && strings.Contains(text, secret) {
						t.Errorf("%q is in: %s", secret, text)
					}
				}
			}
			switch u := err.(type) { //nolint:errorlint // walks the chain itself
			case interface{ Unwrap() error }:
				if next := u.Unwrap(); next != nil {
					walk(next)
				}
			case interface{ Unwrap() []error }:
				for _, next := range u.Unwrap() {
					walk(next)
				}
			}
		}
		walk(err)
	}

	t.Run("wrong key", func(t *testing.T) {
		cfg := config(t, e)
		cfg.Key = live.NewSecret(testKey)
		err := read(t, cfg, quick(t))
		if !errors.Is(err, hub.ErrUnauthorized) || errors.Is(err, hub.ErrNotFound) {
			t.Errorf("error = %v, want hub.ErrUnauthorized", err)
		}
		noSecrets(t, err, cfg)
	})
	t.Run("wrong signature", func(t *testing.T) {
		cfg := config(t, e)
		cfg.Key, cfg.SAS = live.Secret{}, live.NewSecret(strings.Replace(e.SAS("bqt", "rl"), "sig=", "sig=A", 1))
		err := read(t, cfg, quick(t))
		if !errors.Is(err, hub.ErrUnauthorized) {
			t.Errorf("error = %v, want hub.ErrUnauthorized", err)
		}
		noSecrets(t, err, cfg)
	})
	t.Run("no such host", func(t *testing.T) {
		cfg := config(t, e)
		cfg.Key, cfg.SAS = live.Secret{}, live.NewSecret(e.SAS("bqt", "rl"))
		cfg.BlobEndpoint, cfg.QueueEndpoint, cfg.TableEndpoint = "http://b.invalid", "http://q.invalid", "http://t.invalid"
		opts := quick(t)
		opts.Transport = &http.Transport{DialContext: func(_ context.Context, _, address string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}}
		}}
		err := read(t, cfg, opts)
		var dns *net.DNSError
		var failed *live.RequestError
		if !errors.As(err, &dns) || errors.Is(err, hub.ErrNotFound) || !errors.As(err, &failed) || failed.Tries != 1 {
			t.Errorf("error = %v, want the *net.DNSError after one try", err)
		}
		noSecrets(t, err, cfg)
	})
	t.Run("nobody listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		at := "http://" + l.Addr().String()
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		cfg := config(t, e)
		cfg.Key, cfg.SAS = live.Secret{}, live.NewSecret(e.SAS("bqt", "rl"))
		cfg.BlobEndpoint, cfg.QueueEndpoint, cfg.TableEndpoint = at+"/x", at+"/x", at+"/x"
		opts := quick(t)
		opts.Transport = nil // our own
		err = read(t, cfg, opts)
		if !strings.Contains(err.Error(), "refused") {
			t.Errorf("error = %v, want that the connection was refused", err)
		}
		noSecrets(t, err, cfg)
	})
	t.Run("the transport quotes the address", func(t *testing.T) {
		cfg := config(t, e)
		cfg.Key, cfg.SAS = live.Secret{}, live.NewSecret(e.SAS("bqt", "rl"))
		opts := quick(t)
		opts.MaxRetries = -1
		client := http.Client{Transport: &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, io.ErrClosedPipe }}}
		opts.Transport = roundTripper(func(req *http.Request) (*http.Response, error) {
			resp, err := client.Do(req)
			if err != nil {
				err = fmt.Errorf("sent %s with %s: %w", req.URL, req.Header, err)
			}
			return resp, err
		})
		err := read(t, cfg, opts)
		noSecrets(t, err, cfg)
		cfg = config(t, e)
		noSecrets(t, read(t, cfg, opts), cfg)
	})
	t.Run("timeout", func(t *testing.T) {
		opts := quick(t)
		opts.MaxRetries, opts.TryTimeout = 1, 20*time.Millisecond
		opts.Transport = roundTripper(func(req *http.Request) (*http.Response, error) {
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		err := read(t, config(t, e), opts)
		var failed *live.RequestError
		if !errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &failed) || failed.Tries != 2 {
			t.Errorf("error = %v, want context.DeadlineExceeded after 2 tries", err)
		}
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

// TestCancel ends the context while a page is on its way.
func TestCancel(t *testing.T) {
	p, c := faultHub(t)
	p.Inject(testhub.Fault{Kind: testhub.Slow, Delay: time.Minute, Match: "NextPartitionKey"},
		testhub.Fault{Kind: testhub.Throttle, RetryAfter: "4", Match: "FaultHubInstances"})
	h := open(t, &p.Emulator, c.Names)
	before := runtime.NumGoroutine()
	for _, table := range []hub.Table{hub.History, hub.Instances} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cause := errors.New("enough")
		timer := time.AfterFunc(300*time.Millisecond, func() { cancel(cause) })
		start := time.Now()
		var err error
		for _, err = range h.Rows(ctx, table, hub.Keys{}) {
			continue
		}
		if took := time.Since(start); !errors.Is(err, cause) || took > 2*time.Second {
			t.Errorf("Rows of %v ends with %v after %v, want the cause of the context at once", table, err, took)
		}
		timer.Stop()
	}
	for _, err := range h.Rows(t.Context(), hub.History, hub.Keys{}) {
		if err != nil {
			t.Error(err)
		}
		break // while the next page does not come
	}
	for i := 0; runtime.NumGoroutine() > before+4; i++ { // those of connections
		if i == 100 {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// pages answers with the pages of one table.
type pages []string

func (p pages) RoundTrip(req *http.Request) (*http.Response, error) {
	n := 0
	if next := req.URL.Query().Get("NextPartitionKey"); next != "" {
		_, _ = fmt.Sscan(next, &n)
	}
	resp := &http.Response{
		StatusCode: 200, Request: req, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(p[n])), ContentLength: int64(len(p[n])),
	}
	if n+1 < len(p) {
		resp.Header.Set("x-ms-continuation-NextPartitionKey", fmt.Sprint(n+1))
	}
	return resp, nil
}

func TestPages(t *testing.T) {
	row := func(partition, row string) string {
		return fmt.Sprintf(`{"PartitionKey":%q,"RowKey":%q}`, partition, row)
	}
	page := func(rows ...string) string { return `{"value":[` + strings.Join(rows, ",") + `]}` }
	tests := []struct {
		name  string
		pages pages
		want  string
		err   string
	}{
		{"empty pages", pages{page(), page(row("a", "1")), page(), page(row("a", "2"), row("b", "")), page()}, "a/1 a/2 b/", ""},
		{"order of a page", pages{page(row("a", "1"), row("c", "1"), row("b", "1"))}, "a/1 c/1", `row "b"/"1" after "c"/"1"`},
		{"order of pages", pages{page(row("b", "2")), page(row("b", "1"))}, "b/2", `row "b"/"1" after "b"/"2"`},
		{"twice", pages{page(row("b", "2")), page(row("b", "2"))}, "b/2", `row "b"/"2" after "b"/"2"`},
		{"order of UTF-16", pages{page(row("😀", ""), row("\uE000", ""))}, "😀/ \uE000/", ""},
		{"order of UTF-8", pages{page(row("\uE000", ""), row("😀", ""))}, "\uE000/", "order of keys"},
		{"damaged", pages{page(row("a", "")), `{"value":[{"PartitionKey":}]}`}, "a/", "GET https://acc1.table.core.windows.net/XHistory()"},
		{"no JSON", pages{"<html></html>"}, "", "unexpected EOF after 13 bytes"},
		{"no page", pages{"{}"}, "", "no member value"},
		{"too large", pages{page(row("a", "")), page(row("b", strings.Repeat("x", 9<<20)))}, "a/", "larger than the limit"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := live.Config{Account: "acc1", Key: live.NewSecret(testKey)}
			h := openWith(t, cfg, hub.Names{TaskHub: "X"}, live.Options{Transport: tt.pages, MaxRetries: -1})
			var got []string
			var err error
			var r schema.Row
			for r, err = range h.Rows(t.Context(), hub.History, hub.Keys{}) {
				if err == nil {
					got = append(got, r.PartitionKey+"/"+r.RowKey)
				}
			}
			if strings.Join(got, " ") != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("Rows = %q, %v, want %q, %q", got, err, tt.want, tt.err)
			}
		})
	}
}

// TestLargePages lists rows that together exceed what one page may have.
func TestLargePages(t *testing.T) {
	e := testhub.Azurite(t)
	c := content(hub.Names{TaskHub: "LargeHub"}, 1)
	text := schema.String(strings.Repeat("large ", 5_000))
	for i := range 400 {
		c.Tables[hub.History] = append(c.Tables[hub.History], schema.Row{
			PartitionKey: fmt.Sprintf("%03d", i/50), RowKey: schema.FormatSequence(int64(i)),
			Properties: []schema.Property{{Name: "Input", Value: text}, {Name: "Reason", Value: text}, {Name: "Result", Value: text}},
		})
	}
	testhub.Load(t, e, c)
	hubtest.Compare(t, serviceValues, c, open(t, e, c.Names))
}
