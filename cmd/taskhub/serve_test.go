package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/internal/testhub"
)

// safeBuffer is written while it is read.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// serving is a run of serve in this process.
type serving struct {
	t *testing.T
	serveReport
	origin string
	stderr *safeBuffer
	stop   func() int // tells it to end, and returns the exit code
	client http.Client
}

// serve runs the command on a free port, and waits for what it says when it is
// ready.
func serve(t *testing.T, args ...string) *serving {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	stdout, announced := io.Pipe()
	s := &serving{t: t, stderr: new(safeBuffer)}
	ended := make(chan int, 1)
	go func() {
		code := run(ctx, slices.Concat([]string{"taskhub", "serve", "--listen", "127.0.0.1:0", "--json"}, args), announced, s.stderr)
		_ = announced.CloseWithError(fmt.Errorf("exit code %d: %s", code, s.stderr))
		ended <- code
	}()
	s.stop = sync.OnceValue(func() int {
		cancel()
		_, _ = io.Copy(io.Discard, stdout)
		return <-ended
	})
	t.Cleanup(func() { s.stop() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(line), &s.serveReport); err != nil || s.Type != "serving" {
		t.Fatalf("%v in %s", err, line)
	}
	s.origin = strings.TrimSuffix(s.URL, "/")
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	s.client.Transport = transport
	return s
}

// ask sends a request and returns status and body of the answer.
func (s *serving) ask(method, path string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.origin+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func (s *serving) want(method, path string, status int, body string) {
	s.t.Helper()
	if code, text := s.ask(method, path); code != status || !strings.Contains(text, body) {
		s.t.Errorf("%s %s: status %d, want %d; %.300s, want %q in it", method, path, code, status, text, body)
	}
}

// ends stops the command, which must be done and have nothing more to say.
func (s *serving) ends() {
	s.t.Helper()
	if code := s.stop(); code != exitDone || s.stderr.String() != "" {
		s.t.Errorf("exit code %d, stderr %s", code, s.stderr)
	}
}

func TestServeCapture(t *testing.T) {
	clearSettings(t)
	path := testhub.HubFile(t, "functions-3")
	s := serve(t, "--snapshot", path)
	want := serveReport{
		Type: "serving", URL: s.URL, API: s.origin + "/runtime/webhooks/durabletask",
		Hubs: []servedHubReport{{TaskHub: "FuncLab", Connection: "Storage", Account: "devstoreaccount1", Snapshot: path, ReadOnly: true}},
	}
	if d := cmp.Diff(want, s.serveReport); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	for _, base := range []string{"/durabletask", "/runtime/webhooks/durabletask", "/admin/extensions/DurableTaskExtension"} {
		s.want("GET", base+"/instances/hello-1", 200, `{"name":"E1_HelloSequence","instanceId":"hello-1"`)
	}
	s.want("GET", "/durabletask/instances?taskHub=FuncLab&connection=Storage&top=1", 200, "E1_HelloSequence")
	s.want("POST", "/durabletask/instances/wait-1/terminate?reason=x", 403, "read-only snapshot")
	s.want("POST", "/durabletask/instances/nobody/terminate?reason=x", 404, "")
	s.want("GET", "/durabletask/instances/hello-1?taskHub=Nowhere", 404, "")
	s.want("GET", "/", 200, "<!doctype html>")
	s.want("GET", "/healthz", 200, `"status":"ok"`)
	s.ends()
}

// Captures of one hub are told apart by the connection.
func TestServeCaptures(t *testing.T) {
	clearSettings(t)
	s := serve(t, "--snapshot", testhub.HubFile(t, "functions-3"), "--snapshot", testhub.HubFile(t, "dtfx-2.9.1"),
		"--snapshot", testhub.HubFile(t, "functions-3-after-js"), "--redact")
	var hubs [][2]string
	for _, h := range s.Hubs {
		hubs = append(hubs, [2]string{h.TaskHub, h.Connection})
	}
	if d := cmp.Diff([][2]string{{"FuncLab", "Storage"}, {"LabHub", "Storage"}, {"FuncLab", "functions-3-after-js"}}, hubs); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	s.want("GET", "/durabletask/instances/js-1", 404, "")
	s.want("GET", "/durabletask/instances/js-1?connection=functions-3-after-js", 202, `"instanceId":"js-1"`)
	s.want("GET", "/durabletask/instances/order-1?taskHub=LabHub", 200, `"instanceId":"order-1"`)
	if _, text := s.ask("GET", "/durabletask/instances/hello-1"); strings.Contains(text, "Tokyo") || !s.Redacted {
		t.Errorf("a payload is shown: %s", text)
	}
	s.ends()
}

// What a person reads.
func TestServeText(t *testing.T) {
	clearSettings(t)
	path := testhub.HubFile(t, "functions-3")
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, `hub FuncLab in FILE, captured 2026-11-22 04:08:48Z: it can only be looked at
page  http://127.0.0.1:PORT/
API   http://127.0.0.1:PORT/runtime/webhooks/durabletask
only this machine can connect. Ctrl-C ends it.
ending: requests that are worked on have 8s
`},
		{[]string{"--key", "0123456789abcdef", "--redact"}, `taskhub: --key can be seen in the list of processes: prefer --key-file or TASKHUB_SERVE_KEY
hub FuncLab in FILE, captured 2026-11-22 04:08:48Z: it can only be looked at
page  http://127.0.0.1:PORT/
API   http://127.0.0.1:PORT/runtime/webhooks/durabletask
only this machine can connect, and needs the key but under /durabletask/; payloads are not shown. Ctrl-C ends it.
ending: requests that are worked on have 8s
`},
		{[]string{"--public-url", "https://hubs.example.org/", "--key", "0123456789abcdef"}, `taskhub: --key can be seen in the list of processes: prefer --key-file or TASKHUB_SERVE_KEY
hub FuncLab in FILE, captured 2026-11-22 04:08:48Z: it can only be looked at
page  https://hubs.example.org/
API   https://hubs.example.org/runtime/webhooks/durabletask
only this machine can connect; every request needs the key. Ctrl-C ends it.
ending: requests that are worked on have 8s
`},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		stderr := endAfter{"Ctrl-C", cancel, new(safeBuffer)}
		var stdout bytes.Buffer
		code := run(ctx, slices.Concat([]string{"taskhub", "serve", "--snapshot", path, "--listen", "127.0.0.1:0"}, tt.args), &stdout, stderr)
		got := strings.ReplaceAll(stderr.String(), path, "FILE")
		got = regexp.MustCompile(`127\.0\.0\.1:\d+`).ReplaceAllString(got, "127.0.0.1:PORT")
		if d := cmp.Diff(tt.want, got); d != "" || code != exitDone || stdout.Len() > 0 {
			t.Errorf("exit code %d, stdout %s, stderr (-want +got):\n%s", code, &stdout, d)
		}
	}
}

// endAfter is a stream with whose text a program is told to end.
type endAfter struct {
	text string
	end  func()
	*safeBuffer
}

func (e endAfter) Write(p []byte) (int, error) {
	n, err := e.safeBuffer.Write(p)
	if strings.Contains(string(p), e.text) {
		e.end()
	}
	return n, err
}

// The key comes from a file or the environment, and is nowhere printed.
func TestServeKey(t *testing.T) {
	clearSettings(t)
	const key = "a-key-of-this-test"
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(key+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{"file": {"--key-file", file}, "environment": nil} {
		t.Setenv(keyVariable, "")
		if args == nil {
			t.Setenv(keyVariable, key)
		}
		s := serve(t, append(args, "--snapshot", testhub.HubFile(t, "functions-3"), "--request-log")...)
		if !s.KeyRequired {
			t.Errorf("%s: no key is required", name)
		}
		const path = "/runtime/webhooks/durabletask/instances/wait-1"
		s.want("GET", path, 401, "")
		s.want("GET", path+"?code=another", 401, "")
		s.want("GET", path+"?code="+key, 202, "wait-1")
		if code := s.stop(); code != exitDone {
			t.Errorf("%s: exit code %d", name, code)
		}
		if log := s.stderr.String(); strings.Contains(log, key) || lines(log) != 3 {
			t.Errorf("%s: the log has the key, or not three lines:\n%s", name, log)
		}
	}
}

// The request log is JSON with --json, or as told.
func TestServeLog(t *testing.T) {
	clearSettings(t)
	for format, want := range map[string]string{
		"json": `^{"time":"[^"]+","level":"INFO","msg":"request","method":"GET","path":"/durabletask/instances/hello-1","query":"showInput=false&x=…","status":200,"bytes":\d+,"duration_ms":[\d.]+,"remote":"127.0.0.1:\d+"}\n$`,
		"text": `^time=\S+ level=INFO msg=request method=GET path=/durabletask/instances/hello-1 query="showInput=false&x=…" status=200 bytes=\d+ duration_ms=[\d.]+ remote=127.0.0.1:\d+\n$`,
	} {
		s := serve(t, "--snapshot", testhub.HubFile(t, "functions-3"), "--request-log", "--log-format", format)
		s.want("GET", "/durabletask/instances/hello-1?showInput=false&x=secret", 200, "hello-1")
		s.stop()
		if got := s.stderr.String(); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%s: %s, want %s", format, got, want)
		}
	}
}

func TestServeTLS(t *testing.T) {
	clearSettings(t)
	certificate, key, pool := certificateFiles(t, time.Now().Add(time.Hour))
	s := serve(t, "--snapshot", testhub.HubFile(t, "functions-3"), "--tls-cert", certificate, "--tls-key", key)
	if !s.TLS || !strings.HasPrefix(s.URL, "https://127.0.0.1:") {
		t.Errorf("%+v", s.serveReport)
	}
	s.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	s.want("GET", "/durabletask/instances/hello-1", 200, "hello-1")
	s.ends()

	certificate, key, _ = certificateFiles(t, time.Now().Add(-time.Minute))
	s = serve(t, "--snapshot", testhub.HubFile(t, "functions-3"), "--tls-cert", certificate, "--tls-key", key)
	s.stop()
	if text := s.stderr.String(); !strings.Contains(text, "has expired at") || lines(text) != 1 {
		t.Errorf("stderr %s", text)
	}
}

func certificateFiles(t *testing.T, until time.Time) (certificate, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificate, key = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	certificatePEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	for path, text := range map[string][]byte{certificate: certificatePEM, key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateDER})} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(certificatePEM)
	return certificate, key, pool
}

// Beyond loopback the key counts everywhere, and what is not safe is said.
func TestServeBeyondLoopback(t *testing.T) {
	clearSettings(t)
	t.Setenv(keyVariable, "short")
	s := serve(t, "--snapshot", testhub.HubFile(t, "functions-3"), "--listen", "0.0.0.0:0")
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.origin, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	s.origin = "http://127.0.0.1:" + port
	s.want("GET", "/durabletask/instances/hello-1", 401, "")
	s.want("GET", "/durabletask/instances/hello-1?code=short", 200, "hello-1")
	s.stop()
	text := s.stderr.String()
	if lines(text) != 2 || !strings.Contains(text, "the key has only 5 characters") || !strings.Contains(text, "cross the network unencrypted") {
		t.Errorf("stderr %s", text)
	}
}

// A port that is taken.
func TestServePortTaken(t *testing.T) {
	clearSettings(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := taskhubRun(t, "serve", "--snapshot", testhub.HubFile(t, "functions-3"), "--listen", l.Addr().String())
	if got.code != exitFailed || got.stdout != "" || !strings.HasPrefix(got.stderr, "taskhub: listen tcp "+l.Addr().String()+": ") {
		t.Errorf("%+v", got)
	}
}

// With --read-only nothing is sent that could change the account, whatever is
// asked for; without it a request can change it.
func TestServeAccount(t *testing.T) {
	emulator := testhub.Azurite(t)
	for _, name := range []string{"functions-3", "dtfx-2.9.1-live"} {
		testhub.Load(t, emulator, testhub.ContentOf(t, testhub.OpenHub(t, name)))
	}
	emulator.CreateQueues(t, "debris-control-00", "debris-workitems")
	clearSettings(t)
	proxy := testhub.NewProxy(t, emulator)
	t.Setenv("AzureWebJobsStorage", proxy.ConnectionString())
	t.Setenv("Other", proxy.ConnectionString())
	const status = "/durabletask/instances/wait-1?taskHub=FuncLab"
	const terminate = "/durabletask/instances/wait-1/terminate?taskHub=FuncLab&reason=r"

	s := serve(t, "--task-hub-name", "FuncLab", "--read-only")
	if d := cmp.Diff([]servedHubReport{{TaskHub: "FuncLab", Connection: "Storage", Account: emulator.Account, ReadOnly: true}}, s.Hubs); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	s.want("GET", status, 202, "wait-1")
	s.want("GET", "/durabletask/instances/hello-1?showHistory=true&connection=AzureWebJobsStorage", 200, "historyEvents")
	s.want("POST", terminate, 403, "")
	s.want("DELETE", "/durabletask/instances/hello-1", 403, "")
	s.want("POST", "/durabletask/orchestrators/F/new", 403, "")
	s.want("GET", "/healthz", 200, "FuncLab")
	s.ends()
	if sent := proxy.Mutating(); len(sent) > 0 {
		t.Errorf("requests that could change the account: %q", sent)
	}

	s = serve(t, "--task-hub-name", "FuncLab", "--task-hub-name", "LiveHub", "--connection-string-setting", "Other")
	s.want("GET", status+"&connection=Other", 202, "wait-1")
	s.want("GET", "/durabletask/instances?taskHub=LiveHub&top=1", 200, `"instanceId"`)
	s.want("GET", status+"&connection=Storage", 500, "Unable to resolve the Azure Storage connection named 'Storage'.")
	s.want("POST", terminate, 202, "")
	s.ends()
	if queues := taskhubRun(t, "queues", "--task-hub-name", "FuncLab", "--json").stdout; strings.Count(queues, `"event_type":"ExecutionTerminated"`) != 1 {
		t.Errorf("the queues hold %s", queues)
	}

	s = serve(t, "--all-hubs", "--read-only")
	var names []string
	for _, h := range s.Hubs {
		names = append(names, h.TaskHub)
	}
	if d := cmp.Diff([]string{"FuncLab", "LiveHub"}, names); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	s.stop()
	if text := s.stderr.String(); lines(text) != 1 || !strings.Contains(text, "hub debris is left out") {
		t.Errorf("stderr %s", text)
	}

	got := taskhubRun(t, "serve", "--task-hub-name", "FuncLab", "--task-hub-name", "Livehub2", "--listen", "127.0.0.1:0")
	want := outcome{exitNotFound, "", `taskhub: not found: hub "Livehub2" (option --task-hub-name) is not in storage account ` +
		emulator.Account + " (environment variable AzureWebJobsStorage); similar: LiveHub\n"}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}
