package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/server"
)

// capturedOptions serve a capture to this machine.
func capturedOptions(t testing.TB) server.Options {
	t.Helper()
	return server.Options{Hubs: []server.Hub{{Reader: testhub.OpenHub(t, "functions-3")}}}
}

// fresh is a client whose connections nothing else uses.
func fresh(t testing.TB) *http.Client {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

// serves checks that a server answers as it should.
func serves(t *testing.T, client *http.Client, origin, when string) {
	t.Helper()
	resp, err := client.Get(origin + "/durabletask/instances/hello-1")
	if err != nil {
		t.Fatalf("%s: %v", when, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.HasPrefix(string(text), `{"name":"E1_HelloSequence","instanceId":"hello-1"`) {
		t.Fatalf("%s: %s, %v, %s", when, resp.Status, err, text)
	}
}

// usage is what a process holds when nothing goes on.
type usage struct {
	goroutines int
	heap       uint64
}

func measure() usage {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return usage{runtime.NumGoroutine(), m.HeapAlloc}
}

// settles checks that the process holds no more than before. Connections end a
// little after their clients: it looks some hundred times.
func settles(t *testing.T, before usage) {
	t.Helper()
	const slack = 8 << 20
	var now usage
	for range 1000 {
		if now = measure(); now.goroutines <= before.goroutines && now.heap <= before.heap+slack {
			return
		}
	}
	t.Errorf("%d goroutines and %d bytes are left, before there were %d and %d", now.goroutines, now.heap, before.goroutines, before.heap)
}

// badRequest returns bytes that are no request, or none that can be answered well.
func badRequest(r *mathrand.Rand) []byte {
	random := make([]byte, 1+r.IntN(300))
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	line := bytes.Map(func(c rune) rune { return 'a' + c%26 }, random)
	request := func(first string, header ...string) []byte {
		return []byte(first + "\r\n" + strings.Join(append(header, "\r\n"), "\r\n"))
	}
	const path, host = "/durabletask/instances", "Host: localhost"
	switch r.IntN(16) {
	case 0:
		return random
	case 1:
		return request("FOO "+path+"/hello-1 HTTP/1.1", host)
	case 2:
		return request("GET "+path+"/%zz HTTP/1.1", host)
	case 3:
		return request("GET "+path+"/"+string(line)+"/"+string(line)+" HTTP/1.1", host)
	case 4:
		return request("GET "+path+" HTTP/9.9", host)
	case 5:
		return request("GET http://evil.example"+path+" HTTP/1.1", "Host: evil.example")
	case 6:
		return request("POST "+path+"/wait-1/raiseEvent/e HTTP/1.1", host, "Content-Length: -1")
	case 7:
		return request("POST "+path+"/wait-1/raiseEvent/e HTTP/1.1", host, "Content-Length: 5", "Content-Length: 6")
	case 8:
		return request("POST "+path+"/wait-1/raiseEvent/e HTTP/1.1", host, "Content-Length: 99999999999")
	case 9:
		return append(request("POST "+path+"/wait-1/raiseEvent/e HTTP/1.1", host, "Transfer-Encoding: chunked"), random...)
	case 10:
		return request("GET "+path+" HTTP/1.1", host, string(line), "x-ms-continuation-token: "+string(line))
	case 11:
		return request("GET "+path+"/hello-1?"+strings.Repeat("&;=%", 50)+" HTTP/1.1", host)
	case 12:
		return request("GET "+path+" HTTP/1.1", host, "X-Long: "+strings.Repeat("x", 64<<10))
	case 13:
		return request("GET //../.."+path+"/..%2F..%5C%00 HTTP/1.1", host)
	case 14:
		return request("DELETE /entities/" + string(line) + " HTTP/1.1")
	}
	return append(request("PRI * HTTP/2.0"), random...)
}

// Whatever clients send, or do not send, others are answered meanwhile, and nothing
// is left of it.
func TestAbuse(t *testing.T) {
	bad, silent := 10_000, 1500
	if testing.Short() {
		bad, silent = 1000, 300
	}
	_, origin := running(t, capturedOptions(t))
	address := strings.TrimPrefix(origin, "http://")
	client := fresh(t)
	serves(t, client, origin, "at first")
	client.CloseIdleConnections()
	before := measure()

	dial := func() net.Conn {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	var open []net.Conn
	for range silent { // more than the server holds, and all of them half open
		open = append(open, dial())
	}
	serves(t, client, origin, "with silent connections")
	for i := range 200 {
		c := dial()
		open = append(open, c)
		if i%2 == 0 {
			_, _ = io.WriteString(c, "GET /durabletask/instances HTTP/1.1\r\nHost: loc")
		} else {
			_, _ = io.WriteString(c, "POST /durabletask/instances/wait-1/raiseEvent/e HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n[")
		}
	}
	serves(t, client, origin, "with requests that do not end")
	for range 20 {
		c := dial()
		open = append(open, c)
		_, _ = io.WriteString(c, strings.Repeat("GET /durabletask/instances/large-out HTTP/1.1\r\nHost: localhost\r\n\r\n", 100))
	}
	serves(t, client, origin, "with answers that nobody reads")

	var workers sync.WaitGroup
	for w := range 8 {
		workers.Go(func() {
			r := mathrand.New(mathrand.NewPCG(1, uint64(w)))
			for range bad / 8 {
				c, err := net.Dial("tcp", address)
				if err != nil {
					t.Error(err)
					return
				}
				_ = c.SetDeadline(time.Now().Add(time.Minute)) // for the test to fail rather than hang
				_, _ = c.Write(badRequest(r))                  // the server may have hung up
				if tcp, ok := c.(*net.TCPConn); ok {
					_ = tcp.CloseWrite()
				}
				if _, err := io.Copy(io.Discard, c); errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
				_ = c.Close()
			}
		})
	}
	workers.Wait()
	serves(t, client, origin, "after bad requests")

	for range 8 {
		workers.Go(func() {
			body := io.LimitReader(zeros{}, 1<<30)
			resp, err := client.Post(origin+"/durabletask/instances/wait-1/raiseEvent/e", "application/json", body)
			if err == nil { // otherwise the server has hung up while it was sent
				// Either it is too long, or there are too many of them.
				if resp.StatusCode != http.StatusRequestEntityTooLarge && resp.StatusCode != http.StatusServiceUnavailable {
					t.Errorf("a huge body: %s", resp.Status)
				}
				_ = resp.Body.Close()
			}
		})
	}
	workers.Wait()
	serves(t, client, origin, "after huge bodies")

	for _, c := range open {
		_ = c.Close()
	}
	client.CloseIdleConnections()
	settles(t, before)
}

// zeros is a file that never ends.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// A header that is too long is told so.
func TestLongHeader(t *testing.T) {
	_, origin := running(t, capturedOptions(t))
	for size, want := range map[int]int{20 << 10: 200, 64 << 10: 431} {
		c, err := net.Dial("tcp", strings.TrimPrefix(origin, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintf(c, "GET /durabletask/instances/hello-1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Long: %s\r\n\r\n", strings.Repeat("x", size))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _ = resp.Body.Close(); resp.StatusCode != want {
			t.Errorf("a header of %d bytes: %s, want %d", size, resp.Status, want)
		}
		_ = c.Close()
	}
}

// What a server holds does not grow with the number of requests.
func TestFlatMemory(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	_, origin := running(t, capturedOptions(t))
	client := fresh(t)
	round := func() {
		var workers sync.WaitGroup
		for range 8 {
			workers.Go(func() {
				for range 50 {
					for _, path := range []string{"/durabletask/instances/hello-1", "/durabletask/instances?top=10", "/page/data/hubs", "/nothing"} {
						resp, err := client.Get(origin + path)
						if err != nil {
							t.Error(err)
							return
						}
						_, _ = io.Copy(io.Discard, resp.Body)
						_ = resp.Body.Close()
					}
				}
			})
		}
		workers.Wait()
		client.CloseIdleConnections() // there are sometimes more of them and sometimes fewer
	}
	round()
	before := measure()
	for range rounds {
		round()
	}
	settles(t, before)
}

// A listener that others can reach needs a key, and is closed without one.
func TestServeNeedsKey(t *testing.T) {
	opts := testOptions(server.Hub{Reader: testhub.OpenHub(t, "functions-3")})
	opts.Key = ""
	s, err := server.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context(), l); !errors.Is(err, server.ErrNoKey) {
		t.Errorf("Serve: %v, want %v", err, server.ErrNoKey)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("the listener is still open: %v", err)
	}
}

// With a key it serves others, and this machine is no exception then.
func TestServeBeyondLoopback(t *testing.T) {
	opts := testOptions(server.Hub{Reader: testhub.OpenHub(t, "functions-3")})
	s, err := server.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	for path, want := range map[string]int{
		"/durabletask/instances/hello-1": 401, "/durabletask/instances/hello-1?code=" + recordedKey: 200, "/": 200, "/healthz": 200,
	} {
		resp, err := fresh(t).Get("http://127.0.0.1:" + port + path)
		if err != nil {
			t.Fatal(err)
		}
		if _ = resp.Body.Close(); resp.StatusCode != want {
			t.Errorf("%s: %s, want %d", path, resp.Status, want)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func selfSigned(t *testing.T) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestServeTLS(t *testing.T) {
	opts := capturedOptions(t)
	certificate, pool := selfSigned(t)
	opts.Certificate = certificate
	_, origin := running(t, opts)
	secure := strings.Replace(origin, "http:", "https:", 1)
	for version, want := range map[uint16]bool{tls.VersionTLS11: false, tls.VersionTLS12: true, tls.VersionTLS13: true} {
		transport := &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS10, MaxVersion: version}}
		resp, err := (&http.Client{Transport: transport}).Get(secure + "/durabletask/instances/wait-1")
		if (err == nil) != want {
			t.Errorf("%s: %v", tls.VersionName(version), err)
		}
		if err == nil {
			// URLs in answers are of the same kind.
			if location := resp.Header.Get("Location"); resp.Proto != "HTTP/1.1" || location != secure+"/durabletask/instances/wait-1" {
				t.Errorf("%s, location %s", resp.Proto, location)
			}
			_ = resp.Body.Close()
		}
		transport.CloseIdleConnections()
	}
	resp, err := fresh(t).Get(origin + "/durabletask/instances/wait-1")
	if err != nil {
		t.Fatal(err)
	}
	if _ = resp.Body.Close(); resp.StatusCode != http.StatusBadRequest {
		t.Errorf("without TLS: %s", resp.Status)
	}
}

// BenchmarkServe asks for the status of one instance after the other over
// loopback, by sixteen clients at once, of a capture of 10,000 instances.
func BenchmarkServe(b *testing.B) {
	opts := server.Options{
		Hubs: []server.Hub{{Reader: generated(b)}}, Now: time.Now,
		Wait: func(ctx context.Context, _ time.Duration) error { return context.Cause(ctx) },
	}
	s, err := server.New(b.Context(), opts)
	if err != nil {
		b.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(ctx, l) }()
	client, list := fresh(b), ids(b)
	base := "http://" + l.Addr().String() + "/durabletask/instances/"
	const clients = 16
	took := make([]time.Duration, b.N)
	b.ResetTimer()
	var workers sync.WaitGroup
	for w := range clients {
		workers.Go(func() {
			for i := w; i < b.N; i += clients {
				began := time.Now()
				resp, err := client.Get(base + list[i%len(list)])
				if err != nil {
					b.Error(err)
					return
				}
				if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode >= 300 {
					b.Errorf("%s, %v", resp.Status, err)
				}
				_ = resp.Body.Close()
				took[i] = time.Since(began)
			}
		})
	}
	workers.Wait()
	b.StopTimer()
	slices.Sort(took)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "requests/s")
	b.ReportMetric(float64(took[b.N*99/100].Microseconds())/1000, "p99-ms")
	stop()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}
