package live_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/testhub"
)

// quick are options for tests: short pauses, and a transport that fails t on
// anything that could change storage.
func quick(t testing.TB) live.Options {
	transport := &http.Transport{MaxIdleConnsPerHost: 16}
	t.Cleanup(transport.CloseIdleConnections)
	return live.Options{
		Transport:  testhub.ReadOnly(t, transport),
		MaxRetries: 3, RetryDelay: time.Millisecond, MaxRetryDelay: 5 * time.Second, TryTimeout: 20 * time.Second,
	}
}

func config(t testing.TB, e *testhub.Emulator) live.Config {
	t.Helper()
	cfg, err := live.ParseConnectionString(e.ConnectionString())
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func open(t testing.TB, e *testhub.Emulator, names hub.Names) *live.Hub {
	t.Helper()
	return openWith(t, config(t, e), names, quick(t))
}

func openWith(t testing.TB, cfg live.Config, names hub.Names, opts live.Options) *live.Hub {
	t.Helper()
	h, err := live.Open(t.Context(), cfg, names, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

var serviceValues = hubtest.Options{ServiceValues: true}

func TestReader(t *testing.T) {
	e := testhub.Azurite(t)
	hubtest.Run(t, serviceValues, func(t testing.TB, c hubtest.Content) hub.Reader {
		testhub.Load(t, e, c)
		return open(t, e, c.Names)
	})
}

// TestRecordings loads each recorded hub into the emulator and reads it back.
func TestRecordings(t *testing.T) {
	for _, rec := range testhub.Recordings {
		t.Run(rec.Name, func(t *testing.T) {
			if testing.Short() && strings.Contains(rec.Name, "bulk") {
				t.Skip("has many rows")
			}
			e := testhub.Azurite(t)
			want := testhub.ContentOf(t, testhub.OpenHub(t, rec.Name))
			testhub.Load(t, e, want)
			hubtest.Compare(t, serviceValues, want, open(t, e, rec.Names))
		})
	}
}
