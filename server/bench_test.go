package server_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/server"
)

// benchRows is the number of history rows of the capture that is measured, 30 of
// which belong to one instance.
const benchRows = 300_000

func generated(b *testing.B) *snapshot.Reader {
	b.Helper()
	path := filepath.Join(b.TempDir(), "made-up.taskhub")
	if err := testhub.Generate(path, benchRows); err != nil {
		b.Fatal(err)
	}
	r, err := snapshot.Open(path, snapshot.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := r.Close(); err != nil {
			b.Error(err)
		}
	})
	return r
}

// ids returns instances all over the capture, in an order that no cache likes.
func ids(b *testing.B) []string {
	b.Helper()
	const instances, step = benchRows / 30, 7919
	list := make([]string, 2048)
	for i := range list {
		list[i] = testhub.GeneratedID(benchRows, i*step%instances)
	}
	return list
}

// discard is a ResponseWriter that keeps nothing.
type discard struct {
	header http.Header
	status int
	bytes  int
}

func (d *discard) Header() http.Header { return d.header }
func (d *discard) WriteHeader(s int)   { d.status = s }
func (d *discard) Write(p []byte) (int, error) {
	d.bytes += len(p)
	return len(p), nil
}

// BenchmarkStatus asks for one instance after the other, of a capture.
func BenchmarkStatus(b *testing.B) {
	opts := testOptions(server.Hub{Reader: generated(b)})
	h := newServer(b, opts)
	list := ids(b)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		req := httptest.NewRequest(http.MethodGet, "/runtime/webhooks/durabletask/instances/"+list[i%len(list)], nil)
		req.Header.Set("X-Functions-Key", recordedKey)
		w := &discard{header: make(http.Header)}
		h.ServeHTTP(w, req)
		if w.status != http.StatusOK && w.status != http.StatusAccepted {
			b.Fatalf("status %d of %s", w.status, list[i%len(list)])
		}
	}
}

// BenchmarkStatusLoopback is BenchmarkStatus over TCP, by 8 clients for each
// processor. The bar on two cores, clients included, is 2,000 requests a second, and
// 20 ms for all but one in a hundred.
func BenchmarkStatusLoopback(b *testing.B) {
	opts := testOptions(server.Hub{Reader: generated(b)})
	srv := httptest.NewServer(newServer(b, opts))
	defer srv.Close()
	list := ids(b)
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	b.SetParallelism(8)
	var mu sync.Mutex
	var took []time.Duration
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		var mine []time.Duration
		defer func() {
			mu.Lock()
			defer mu.Unlock()
			took = append(took, mine...)
		}()
		for i := 0; pb.Next(); i++ {
			began := time.Now()
			req, err := http.NewRequest(http.MethodGet, srv.URL+"/runtime/webhooks/durabletask/instances/"+list[i%len(list)], nil)
			if err != nil {
				b.Error(err)
				return
			}
			req.Header.Set("X-Functions-Key", recordedKey)
			res, err := client.Do(req)
			if err != nil {
				b.Error(err)
				return
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode >= 300 {
				b.Errorf("status %d, %v", res.StatusCode, err)
			}
			_ = res.Body.Close()
			mine = append(mine, time.Since(began))
		}
	})
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
}
