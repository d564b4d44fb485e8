package server

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
)

const testKey Key = "the-key-of-this-test"

// guardOptions are those of a server over the capture of a recording.
func guardOptions(t testing.TB) Options {
	t.Helper()
	return Options{
		Hubs: []Hub{{Reader: testhub.OpenHub(t, "functions-3")}},
		Now:  time.Now,
		Wait: func(ctx context.Context, d time.Duration) error {
			timer := time.NewTimer(d)
			defer timer.Stop()
			select {
			case <-timer.C:
				return nil
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		},
	}
}

func newGuarded(t testing.TB, opts Options) *Server {
	t.Helper()
	s, err := New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// reached answers requests that the guard lets through.
var reached = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(w, r.Body)
	_, _ = io.WriteString(w, "reached")
})

func send(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestGuardKey(t *testing.T) {
	for _, tt := range []struct {
		name   string
		local  bool
		target string
		header []string
		method string // GET if it is empty
		want   int
	}{
		{name: "none", target: "/runtime/webhooks/durabletask/instances", want: 401},
		{name: "code", target: "/runtime/webhooks/durabletask/instances?code=the-key-of-this-test", want: 200},
		{name: "code in another case", target: "/x?top=1&CODE=the-key-of-this-test", want: 200},
		{name: "header", target: "/x", header: []string{"x-functions-key", "the-key-of-this-test"}, want: 200},
		{name: "wrong code", target: "/x?code=the-key-of-this-tesT", want: 401},
		{name: "part of it", target: "/x?code=the-key-of-this-tes", want: 401},
		{name: "more than it", target: "/x?code=the-key-of-this-test1", want: 401},
		{name: "empty", target: "/x?code=", header: []string{"x-functions-key", ""}, want: 401},
		{name: "wrong header", target: "/x", header: []string{"x-functions-key", "no"}, want: 401},
		{name: "one of both", target: "/x?code=no", header: []string{"x-functions-key", "the-key-of-this-test"}, want: 200},
		{name: "how it is printed", target: "/x?code=REDACTED", want: 401},
		{name: "a file of the page", target: "/", want: 200},
		{name: "anything else there", method: http.MethodPost, target: "/", want: 401},
		{name: "data of the page", target: "/page/data/hubs", want: 401},
		{name: "for a client on another machine", target: "/durabletask/instances", want: 401},
		{name: "for a client on this machine", local: true, target: "/DurableTask/instances", want: 200},
		{name: "for another path of this machine", local: true, target: "/runtime/webhooks/durabletask/instances", want: 401},
		{name: "a path that begins so", local: true, target: "/durabletaskx", want: 401},
		{name: "forwarded to this machine", local: true, target: "/durabletask/instances", header: []string{"X-Forwarded-For", "192.0.2.1"}, want: 401},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := guardOptions(t)
			opts.Key = testKey
			r := httptest.NewRequest(cmp.Or(tt.method, http.MethodGet), "http://localhost"+tt.target, nil)
			for i := 0; i < len(tt.header); i += 2 {
				r.Header.Set(tt.header[i], tt.header[i+1])
			}
			w := send(newGuarded(t, opts).guardFor(reached, tt.local), r)
			if w.Code != tt.want {
				t.Errorf("status %d, want %d", w.Code, tt.want)
			}
			if w.Code == 401 && (w.Body.Len() > 0 || w.Header().Get("Content-Type") != "") {
				t.Errorf("a 401 with %q of type %q, want it empty", w.Body, w.Header().Get("Content-Type"))
			}
		})
	}
}

// Behind a proxy every request comes from this machine.
func TestGuardKeyBehindProxy(t *testing.T) {
	opts := guardOptions(t)
	opts.Key, opts.PublicURL = testKey, "https://hubs.example.org"
	r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1:8080/durabletask/instances", nil)
	if w := send(newGuarded(t, opts).guardFor(reached, true), r); w.Code != 401 {
		t.Errorf("status %d, want 401", w.Code)
	}
}

func TestGuardHost(t *testing.T) {
	for host, want := range map[string]int{
		"127.0.0.1:17071":        200,
		"127.8.9.10":             200,
		"localhost":              200,
		"LocalHost.:80":          200,
		"hubs.localhost:1":       200,
		"[::1]:8080":             200,
		"[::1]":                  200,
		"hubs.example.org":       200, // the public URL
		"HUBS.example.org:443":   200,
		"":                       200,
		"evil.example:17071":     403,
		"127.0.0.1.evil.example": 403,
		"localhost.evil.example": 403,
		"notlocalhost":           403,
		"192.0.2.1":              403,
		"[::2]":                  403,
		"0.0.0.0:8080":           403,
	} {
		opts := guardOptions(t)
		opts.PublicURL = "https://hubs.example.org"
		s := newGuarded(t, opts)
		r := httptest.NewRequest(http.MethodGet, "/durabletask/instances", nil)
		r.Host = host
		if w := send(s.guardFor(reached, true), r); w.Code != want {
			t.Errorf("host %q on loopback: status %d, want %d", host, w.Code, want)
		}
		if w := send(s.guardFor(reached, false), r); w.Code != 200 {
			t.Errorf("host %q beyond loopback: status %d, want 200", host, w.Code)
		}
	}
}

func TestGuardCrossSite(t *testing.T) {
	for _, tt := range []struct {
		name, method string
		header       []string
		want         int
	}{
		{"not a browser", "POST", nil, 200},
		{"same origin", "POST", []string{"Sec-Fetch-Site", "same-origin", "Origin", "http://127.0.0.1:7071"}, 200},
		{"typed by the user", "POST", []string{"Sec-Fetch-Site", "none"}, 200},
		{"another site", "POST", []string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		{"another port of this machine", "POST", []string{"Sec-Fetch-Site", "same-site", "Origin", "http://127.0.0.1:3000"}, 403},
		{"another site deletes", "DELETE", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"another method", "PUT", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"another site reads", "GET", []string{"Sec-Fetch-Site", "cross-site"}, 200},
		{"an old browser, same origin", "POST", []string{"Origin", "http://127.0.0.1:7071"}, 200},
		{"an old browser, another site", "POST", []string{"Origin", "https://evil.example"}, 403},
		{"a page without an origin", "POST", []string{"Origin", "null"}, 403},
		{"through the proxy", "POST", []string{"Origin", "https://hubs.example.org"}, 200},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opts := guardOptions(t)
			opts.PublicURL = "https://hubs.example.org"
			r := httptest.NewRequest(tt.method, "http://127.0.0.1:7071/durabletask/instances/a/terminate", nil)
			for i := 0; i < len(tt.header); i += 2 {
				r.Header.Set(tt.header[i], tt.header[i+1])
			}
			if w := send(newGuarded(t, opts).guardFor(reached, true), r); w.Code != tt.want {
				t.Errorf("status %d, want %d: %s", w.Code, tt.want, w.Body)
			}
		})
	}
}

// The key and what may be payload are in no line of the log, nor is what a client
// makes up to look like other lines.
func TestRequestLog(t *testing.T) {
	var out bytes.Buffer
	opts := guardOptions(t)
	opts.Key, opts.RequestLog = testKey, slog.New(slog.NewJSONHandler(&out, nil))
	g := newGuarded(t, opts).guardFor(reached, true)
	long := strings.Repeat("x", 3000)
	for _, tt := range []struct {
		method, target, body string
		path, query          string
		status, bytes        float64
	}{
		{"GET", "/durabletask/instances/a%0Ab?showInput=false&code=the-key-of-this-test", "", "/durabletask/instances/a%0Ab", "showInput=false&code=…", 200, 7},
		{
			"POST", "/durabletask/instances/a/terminate?reason=secret%20text&taskHub=FuncLab", "my secret", "/durabletask/instances/a/terminate",
			"reason=…&taskHub=FuncLab", 200, 16,
		},
		{"GET", "/x?connection=AccountKey%3Dsecret%3B&top=1;secret&secret", "", "/x", "connection=…&top=…&secret", 401, 0},
		{"GET", "/durabletask/?createdTimeFrom=2026-11-22T04%3A07%3A21Z&runtimeStatus=Running,Failed", "", "/durabletask/", "createdTimeFrom=2026-11-22T04%3A07%3A21Z&runtimeStatus=Running,Failed", 200, 7},
		{"GET", "/durabletask/" + long + "?" + long + "=1&top=" + long, "", "/durabletask/" + long[:512-len("/durabletask/")] + "…", "…&top=…", 200, 7},
		{"GET", "/durabletask/?" + strings.Repeat("top=1&", 40), "", "/durabletask/", strings.Repeat("top=1&", 20) + "…", 200, 7},
	} {
		out.Reset()
		send(g, httptest.NewRequest(tt.method, "http://localhost"+tt.target, strings.NewReader(tt.body)))
		var line map[string]any
		if err := json.Unmarshal(out.Bytes(), &line); err != nil {
			t.Fatalf("%v in %s", err, &out)
		}
		query, _ := line["query"].(string)
		if line["msg"] != "request" || line["method"] != tt.method || line["path"] != tt.path || query != tt.query ||
			line["status"] != tt.status || line["bytes"] != tt.bytes || line["remote"] != "192.0.2.1:1234" || line["duration_ms"] == nil {
			t.Errorf("%s %.100s is logged as %s", tt.method, tt.target, &out)
		}
		if text := out.String(); strings.Contains(text, string(testKey)) || strings.Contains(text, "my secret") || strings.Contains(text, "secret text") {
			t.Errorf("%s %.100s: a secret is in %s", tt.method, tt.target, text)
		}
	}
}

func TestKeyIsNeverPrinted(t *testing.T) {
	opts := Options{Key: testKey}
	text, err := json.Marshal(opts.Key)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "key", opts.Key, "options", opts)
	for _, printed := range []string{
		fmt.Sprintf("%v %+v %#v %s %q %x %d", opts.Key, opts, opts.Key, opts.Key, opts.Key, opts.Key, opts.Key), string(text), log.String(),
	} {
		if strings.Contains(printed, string(testKey)) || strings.Contains(printed, fmt.Sprintf("%x", string(testKey))) {
			t.Errorf("the key is in %s", printed)
		}
	}
}

func TestGuardPanic(t *testing.T) {
	var log bytes.Buffer
	opts := guardOptions(t)
	opts.Logger = slog.New(slog.NewTextHandler(&log, nil))
	s := newGuarded(t, opts)
	w := send(s.guardFor(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "10")
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, "begin")
		panic("broken")
	}), false), httptest.NewRequest(http.MethodGet, "/durabletask/instances/a?code=x", nil))
	want := `{"Message":"Something went wrong while processing your request","ExceptionMessage":"internal error, of which the server's log tells",` +
		`"ExceptionType":"System.InvalidOperationException","StackTrace":null}`
	if w.Code != 500 || w.Body.String() != want || w.Header().Get("Content-Type") != jsonType || w.Header().Get("Retry-After") != "" {
		t.Errorf("status %d, %v, %s", w.Code, w.Header(), w.Body)
	}
	if text := log.String(); !strings.Contains(text, "panic=broken") || !strings.Contains(text, "guard_test.go") || !strings.Contains(text, "path=/durabletask/instances/a ") {
		t.Errorf("the log has no word of it: %s", text)
	}

	// In the middle of an answer there is no other way to tell the client.
	srv := httptest.NewServer(s.guardFor(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, smallAnswerBytes+1))
		panic("broken")
	}), false))
	defer srv.Close()
	resp, err := srv.Client().Get(srv.URL)
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	if err == nil {
		t.Error("half an answer looks like a whole one")
	}
}

func TestGuardBody(t *testing.T) {
	opts := guardOptions(t)
	opts.MaxBodyBytes = 100 << 10
	srv := httptest.NewServer(newGuarded(t, opts).guardFor(reached, true))
	defer srv.Close()
	for _, size := range []int{0, 1, 511, 16 << 10, 16<<10 + 1, 100 << 10, 100<<10 + 1, 10 << 20} {
		for _, chunked := range []bool{false, true} {
			text := strings.Repeat("b", size)
			var body io.Reader = strings.NewReader(text)
			if chunked {
				body = struct{ io.Reader }{body}
			}
			resp, err := srv.Client().Post(srv.URL, "application/json", body)
			if err != nil {
				if size > 100<<10 {
					continue // the server has hung up before it was all sent
				}
				t.Fatal(err)
			}
			got, _ := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if size > 100<<10 {
				want := `{"Message":"the body is longer than 102400 bytes, the most that is taken"}`
				if resp.StatusCode != 413 || string(got) != want {
					t.Errorf("%d bytes, chunked %v: status %d, %s", size, chunked, resp.StatusCode, got)
				}
			} else if resp.StatusCode != 200 || string(got) != text+"reached" {
				t.Errorf("%d bytes, chunked %v: status %d and %d bytes", size, chunked, resp.StatusCode, len(got))
			}
		}
	}
}

// Bodies that are held at a time are bounded together.
func TestGuardBodies(t *testing.T) {
	b := bodies{longest: 1000}
	read := func() (*requestBody, int) {
		body, status, _ := b.read(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", strings.NewReader(strings.Repeat("b", 1000))))
		return body, status
	}
	var held []*requestBody
	for range longestBodies {
		body, status := read()
		if status != 0 {
			t.Fatalf("status %d", status)
		}
		held = append(held, body)
	}
	body, status := read()
	if status != 503 {
		t.Errorf("status %d of one body too many, want 503", status)
	}
	for _, h := range append(held, body) {
		b.free(h)
	}
	if _, status := read(); status != 0 || b.held.Load() != 1000 {
		t.Errorf("status %d and %d bytes after all were freed, want 0 and 1000", status, b.held.Load())
	}
}

func TestHealth(t *testing.T) {
	now := time.Date(2026, 11, 22, 5, 0, 0, 0, time.UTC)
	failing := &failingReader{Reader: testhub.OpenHub(t, "functions-3")}
	opts := guardOptions(t)
	opts.Hubs = append(opts.Hubs, Hub{Reader: failing, Connection: "Other"})
	opts.Key, opts.Now = testKey, func() time.Time { return now }
	g := newGuarded(t, opts).guardFor(reached, true)
	check := func(method, query string, status int, body string) {
		t.Helper()
		w := send(g, httptest.NewRequest(method, "http://localhost/healthz"+query, nil))
		if w.Code != status || w.Body.String() != body {
			t.Errorf("%s: status %d, %s; want %d, %s", query, w.Code, w.Body, status, body)
		}
	}
	const code = "?code=the-key-of-this-test"
	fine := `{"status":"ok","hubs":[{"task_hub":"FuncLab","connection":"Storage","status":"ok"},{"task_hub":"FuncLab","connection":"Other","status":"ok"}]}`
	check("GET", "", 200, `{"status":"ok"}`)
	check("GET", code, 200, fine)
	check("POST", "", 405, "")

	failing.err = fmt.Errorf("list the secret account: %w", hub.ErrUnauthorized)
	check("GET", code, 200, fine) // it was just looked at
	now = now.Add(healthAge)
	check("GET", "", 503, `{"status":"failing"}`)
	check("GET", code, 503, `{"status":"failing","hubs":[{"task_hub":"FuncLab","connection":"Storage","status":"ok"},`+
		`{"task_hub":"FuncLab","connection":"Other","status":"failing","reason":"not authorised"}]}`)
	failing.err = nil
	now = now.Add(healthAge)
	check("GET", code, 200, fine)
}

// failingReader is a hub that can be told to fail.
type failingReader struct {
	hub.Reader
	err error
}

func (f *failingReader) Info(ctx context.Context) (hub.Info, error) {
	if f.err != nil {
		return hub.Info{}, f.err
	}
	return f.Reader.Info(ctx)
}

func TestIsLocal(t *testing.T) {
	for address, want := range map[string]bool{"127.0.0.1:0": true, "127.1.2.3:1": true, "[::1]:0": true, "0.0.0.0:0": false, "[::]:0": false, "192.0.2.1:1": false, ":80": false} {
		a, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := IsLocal(a); got != want {
			t.Errorf("IsLocal(%s) = %v, want %v", address, got, want)
		}
	}
	if !IsLocal(&net.UnixAddr{Name: "socket"}) {
		t.Error("a socket in the file system is not local")
	}
}
