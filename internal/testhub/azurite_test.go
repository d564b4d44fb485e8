package testhub

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/schema"
)

func TestAzurite(t *testing.T) {
	a, b := Azurite(t), Azurite(t)
	if a.Account == b.Account || a.BlobURL[:20] != b.BlobURL[:20] {
		t.Errorf("%s and %s are not two accounts of one process", a.BlobURL, b.BlobURL)
	}
	if names := a.Listing(t); len(names) > 0 {
		t.Errorf("a new account has %q", names)
	}
	a.CreateTables(t, "Tab1", "Tab2")
	a.CreateQueues(t, "q-1")
	a.CreateContainers(t, "c-1")
	if got, want := a.Listing(t), []string{"container/c-1", "queue/q-1", "table/Tab1", "table/Tab2"}; !slices.Equal(got, want) {
		t.Errorf("Listing = %q, want %q", got, want)
	}
	if names := b.Listing(t); len(names) > 0 {
		t.Errorf("the other account has %q", names)
	}
}

func TestStartAzurite(t *testing.T) {
	var e *Emulator
	t.Run("running", func(t *testing.T) {
		e = StartAzurite(t)
		e.CreateTables(t, "Tab1")
	})
	resp, err := http.Get(e.TableURL)
	if err == nil {
		resp.Body.Close() //nolint:errcheck // only read
		t.Error("Azurite still answers after its test has ended")
	}
}

func TestAzuriteUnavailable(t *testing.T) {
	for _, tt := range []struct{ required, want string }{{"", "skip"}, {"1", "fatal"}} {
		t.Run("REQUIRE_STORAGE_TESTS="+tt.required, func(t *testing.T) {
			t.Setenv("REQUIRE_STORAGE_TESTS", tt.required)
			t.Setenv("PATH", t.TempDir())
			rec := &recorder{TB: t}
			func() {
				defer func() { _ = recover() }()
				StartAzurite(rec)
			}()
			if rec.ended != tt.want || !strings.Contains(rec.why, "not installed") {
				t.Errorf("Azurite without Node.js: %q with %q, want %s", rec.ended, rec.why, tt.want)
			}
		})
	}
}

// failing keeps what a test complains of.
type failing struct {
	testing.TB
	mu  sync.Mutex
	why []string
}

func (f *failing) Errorf(format string, _ ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.why = append(f.why, format)
}

func TestReadOnly(t *testing.T) {
	e := Azurite(t)
	e.CreateQueues(t, "qu1")
	for _, tt := range []struct {
		method, address string
		allowed         bool
	}{
		{http.MethodGet, e.BlobURL + "/?comp=list", true},
		{http.MethodHead, e.BlobURL + "/c1?restype=container", true},
		{http.MethodGet, e.QueueURL + "/qu1/messages?peekonly=true", true},
		{http.MethodGet, e.QueueURL + "/qu1/messages", false},
		{http.MethodGet, e.QueueURL + "/qu1/messages?peekonly=false", false},
		{http.MethodPut, e.QueueURL + "/qu2", false},
		{http.MethodPost, e.TableURL + "/Tables", false},
		{http.MethodDelete, e.QueueURL + "/qu1", false},
		{"MERGE", e.TableURL + "/T()", false},
	} {
		f := &failing{TB: t}
		req, err := http.NewRequest(tt.method, tt.address, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := ReadOnly(f, http.DefaultTransport).RoundTrip(req)
		if err == nil {
			resp.Body.Close() //nolint:errcheck // only read
		}
		if (err == nil) != tt.allowed || (len(f.why) == 0) != tt.allowed {
			t.Errorf("%s %s: %v, complaints %q, want allowed = %v", tt.method, tt.address, err, f.why, tt.allowed)
		}
	}
}

func TestProxy(t *testing.T) {
	e := Azurite(t)
	Load(t, e, hubtest.Content{
		Names:      hub.Names{TaskHub: "Hub1"},
		Tables:     map[hub.Table][]schema.Row{hub.Instances: {{PartitionKey: "a"}, {PartitionKey: "b"}}},
		Containers: []hub.Container{{Name: "hub1-applease", LeaseState: "leased"}},
		Blobs:      []hubtest.Blob{{Blob: hub.Blob{Container: "hub1-applease", Name: "x/y z", ContentType: "text/plain"}, Data: []byte("0123456789")}},
	})
	p := NewProxy(t, e)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	get := func() (int, string, http.Header, error) {
		resp, err := client.Get(p.BlobURL + "/hub1-applease/x/y%20z?" + e.SAS("b", "r"))
		if err != nil {
			return 0, "", nil, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body), resp.Header, err
	}
	for _, tt := range []struct {
		name   string
		fault  Fault
		status int
		body   string
		err    error
	}{
		{"none", Fault{Kind: Throttle, Match: "something else"}, 200, "0123456789", nil},
		{"throttle", Fault{Kind: Throttle, RetryAfter: "7", Match: "GET /"}, 503, "", nil},
		{"status", Fault{Kind: Status, Status: 418}, 418, "", nil},
		{"reset", Fault{Kind: Reset}, 0, "", io.EOF},
		{"drop", Fault{Kind: Drop}, 200, "01234", io.ErrUnexpectedEOF},
		{"slow", Fault{Kind: Slow, Delay: time.Millisecond}, 200, "0123456789", nil},
		{"long", Fault{Kind: LongLength}, 200, "0123456789", io.ErrUnexpectedEOF},
		{"short", Fault{Kind: ShortLength}, 200, "01234", nil},
		{"truncate", Fault{Kind: Truncate}, 200, "01234", nil},
		{"the second only", Fault{Kind: Status, Status: 418, After: 1, Times: 1}, 200, "0123456789", nil},
	} {
		p.Reset()
		p.Inject(tt.fault)
		status, body, header, err := get()
		if status != tt.status || body != tt.body || !errors.Is(err, tt.err) || tt.err == nil && err != nil || header.Get("Retry-After") != tt.fault.RetryAfter && status == 503 {
			t.Errorf("%s: %d %q %v, want %d %q %v", tt.name, status, body, err, tt.status, tt.body, tt.err)
		}
		if tt.fault.After == 1 {
			second, _, _, _ := get()
			third, _, _, _ := get()
			if second != 418 || third != 200 || len(p.Requests()) != 3 || len(p.Mutating()) != 0 {
				t.Errorf("second and third: %d, %d of %q, want 418, 200", second, third, p.Requests())
			}
		}
	}
	req, err := http.NewRequest(http.MethodDelete, p.BlobURL+"/hub1-applease?restype=container&"+e.SAS("b", "d"), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close() //nolint:errcheck // only read
	if resp.StatusCode != http.StatusPreconditionFailed || len(p.Mutating()) != 1 {
		t.Errorf("deleting a leased container: %s, %q, want 412 and one mutating request", resp.Status, p.Mutating())
	}
}

// TestAzuriteInput checks that an Azurite ends with its input, as it does when
// this process ends in whatever way.
func TestAzuriteInput(t *testing.T) {
	Azurite(t) // or skip
	a := startAzurite()
	if a.failure != nil {
		t.Fatal(a.failure)
	}
	if err := a.input.Close(); err != nil {
		t.Fatal(err)
	}
	if err := a.cmd.Wait(); err != nil {
		t.Errorf("Azurite ends with %v when its input does", err)
	}
}
