package server

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener in memory, whose connections take the time of a test.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.accepted:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { close(p.closed); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 80} }

func (p *pipes) dial() net.Conn {
	ours, theirs := net.Pipe()
	select {
	case p.accepted <- theirs:
	case <-p.closed:
		_ = theirs.Close()
	}
	return ours
}

// got is how a request over a connection of its own has ended.
type got struct {
	status int
	retry  string // the header Retry-After
	body   string
	err    error
	after  time.Duration
}

func (p *pipes) get(path string) got {
	client := http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return p.dial(), nil }, DisableKeepAlives: true,
	}}
	began := time.Now()
	resp, err := client.Get("http://localhost" + path)
	if err != nil {
		return got{err: err, after: time.Since(began)}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return got{resp.StatusCode, resp.Header.Get("Retry-After"), string(text), err, time.Since(began)}
}

// withServer runs a server with a handler of the test, in the time of the test.
func withServer(t *testing.T, change func(*Options), next http.HandlerFunc, do func(t *testing.T, p *pipes, stop func() error)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		opts := guardOptions(t)
		if change != nil {
			change(&opts)
		}
		s := newGuarded(t, opts)
		ctx, cancel := context.WithCancel(t.Context())
		p := newPipes()
		ended := make(chan error, 1)
		go func() { ended <- s.serveWith(ctx, p, next) }()
		stopped := false
		stop := func() error {
			stopped = true
			cancel()
			return <-ended
		}
		do(t, p, stop)
		if !stopped {
			if err := stop(); err != nil {
				t.Errorf("Serve: %v", err)
			}
		}
	})
}

// readAll returns what a connection still gives, and after how long it ended.
func readAll(c net.Conn) (string, time.Duration) {
	began := time.Now()
	text, _ := io.ReadAll(c)
	return string(text), time.Since(began)
}

// A header that comes byte by byte does not come for ever.
func TestSlowHeader(t *testing.T) {
	withServer(t, nil, reached, func(t *testing.T, p *pipes, _ func() error) {
		silent, slow := p.dial(), p.dial()
		var sent atomic.Int64
		all := make(chan struct{})
		go func() {
			defer close(all)
			for _, b := range []byte("GET /" + strings.Repeat("x", 100) + " HTTP/1.1\r\nHost: localhost\r\n\r\n") {
				if _, err := slow.Write([]byte{b}); err != nil {
					return
				}
				sent.Add(1)
				time.Sleep(time.Second)
			}
		}()
		began := time.Now()
		for name, c := range map[string]net.Conn{"silent": silent, "slow": slow} {
			_, _ = io.ReadAll(c)
			if took := time.Since(began); took != headerTime {
				t.Errorf("%s: hung up after %v, want %v", name, took, headerTime)
			}
		}
		<-all
		if n := sent.Load(); n < 9 || n > 11 {
			t.Errorf("%d bytes were taken", n)
		}
	})
}

// A connection that is not used any more is closed.
func TestIdleConnection(t *testing.T) {
	withServer(t, nil, reached, func(t *testing.T, p *pipes, _ func() error) {
		c := p.dial()
		go func() { _, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") }()
		if text, took := readAll(c); !strings.HasSuffix(text, "reached") || took != idleTime {
			t.Errorf("%q, closed after %v, want %v", text, took, idleTime)
		}
	})
}

// A body that stands still is given up; one that comes slowly is taken.
func TestSlowBody(t *testing.T) {
	withServer(t, nil, reached, func(t *testing.T, p *pipes, _ func() error) {
		const size = 100 << 10
		for _, tt := range []struct {
			name  string
			piece int           // bytes at a time
			pause time.Duration // between two
			want  string
			after time.Duration
		}{
			{"one byte a second", 1, time.Second, "408 Request Timeout", sendTime},
			{"stands still", 50 << 10, time.Hour, "408 Request Timeout", sendTime},
			{"1 KiB a second", 1 << 10, time.Second, "200 OK", 99 * time.Second},
			{"whole", size, 0, "200 OK", 0},
		} {
			c, sent := p.dial(), make(chan struct{})
			go func() {
				defer close(sent)
				_, _ = fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", size)
				for left := size; left > 0; left -= tt.piece {
					if _, err := c.Write(make([]byte, min(left, tt.piece))); err != nil {
						return
					}
					time.Sleep(tt.pause)
				}
			}()
			began := time.Now()
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
			if took := time.Since(began); resp.Status != tt.want || took != tt.after {
				t.Errorf("%s: %s after %v, want %s after %v", tt.name, resp.Status, took, tt.want, tt.after)
			}
			_, _ = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
			_ = c.Close()
			<-sent
		}
	})
}

// An answer of 50 MB gets to a client that takes 1 KiB a second, however long that
// is; a client that takes nothing is hung up on.
func TestSlowReader(t *testing.T) {
	const size = 50 << 20
	var failed chan error // of the time of the test, so made there
	large := func(w http.ResponseWriter, _ *http.Request) {
		for left := size; left > 0; left -= bodyPiece {
			if _, err := w.Write(make([]byte, bodyPiece)); err != nil {
				failed <- err
				return
			}
		}
	}
	withServer(t, nil, large, func(t *testing.T, p *pipes, _ func() error) {
		failed = make(chan error, 1)
		c := p.dial()
		go func() { _, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n") }()
		resp, err := http.ReadResponse(bufio.NewReaderSize(c, 1<<10), nil)
		if err != nil {
			t.Fatal(err)
		}
		began, total, buf := time.Now(), 0, make([]byte, 1<<10)
		for {
			n, err := io.ReadFull(resp.Body, buf)
			total += n
			if err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		_ = resp.Body.Close()
		if total != size || time.Since(began) < 14*time.Hour {
			t.Errorf("%d bytes of %d in %v", total, size, time.Since(began))
		}

		stuck := p.dial()
		go func() { _, _ = io.WriteString(stuck, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") }()
		began = time.Now()
		if err := <-failed; err == nil || time.Since(began) != takeTime {
			t.Errorf("the handler gets %v after %v, want an error after %v", err, time.Since(began), takeTime)
		}
	})
}

const bodyPiece = 64 << 10

// So many requests are worked on, some wait, and the rest are told to try again.
func TestTooManyRequests(t *testing.T) {
	const most = 3
	var goOn chan struct{} // of the time of the test, so made there
	var working, highest atomic.Int64
	handler := func(w http.ResponseWriter, _ *http.Request) {
		highest.Store(max(highest.Load(), working.Add(1)))
		<-goOn
		working.Add(-1)
		_, _ = io.WriteString(w, "done")
	}
	withServer(t, func(o *Options) { o.MaxRequests = most }, handler, func(t *testing.T, p *pipes, _ func() error) {
		goOn = make(chan struct{})
		results := make(chan got, 100)
		for range most * (1 + waitingPerPlace) {
			go func() { results <- p.get("/") }()
		}
		synctest.Wait()
		if n := working.Load(); n != most {
			t.Fatalf("%d are worked on, want %d", n, most)
		}
		const text = `{"Message":"more requests than can be worked on at once: try again"}`
		if r := p.get("/"); r != (got{503, "2", text, nil, 0}) {
			t.Errorf("one too many gets %+v", r)
		}
		time.Sleep(maxQueueing - time.Second)
		goOn <- struct{}{} // for one that waited
		if r := <-results; r != (got{200, "", "done", nil, maxQueueing - time.Second}) {
			t.Errorf("the first gets %+v", r)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		for range most*waitingPerPlace - 1 {
			if r := <-results; r != (got{503, "2", text, nil, maxQueueing}) {
				t.Errorf("one that waited in vain gets %+v", r)
			}
		}
		close(goOn)
		for range most {
			if r := <-results; r.status != 200 {
				t.Errorf("one that was worked on gets %+v", r)
			}
		}
		if n := highest.Load(); n != most {
			t.Errorf("%d were worked on at once", n)
		}
	})
}

// Clients that take large answers slowly, or not at all, leave room for others.
func TestSlowReadersLeaveRoom(t *testing.T) {
	const most = 2
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/large" {
			for range 100 {
				if _, err := w.Write(make([]byte, bodyPiece)); err != nil {
					return
				}
			}
			return
		}
		_, _ = w.Write(make([]byte, smallAnswerBytes))
	}
	withServer(t, func(o *Options) { o.MaxRequests = most }, handler, func(t *testing.T, p *pipes, _ func() error) {
		var stuck []net.Conn
		ask := func(path string) {
			c := p.dial()
			go func() { _, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n") }()
			stuck = append(stuck, c)
			synctest.Wait()
		}
		for range most {
			ask("/large")
		}
		for range 10 * most {
			ask("/small")
		}
		// There is no room for another large one, which is told so, but for small ones.
		want := got{503, "2", `{"Message":"more large answers than can be sent at once: try again"}`, nil, largeTime}
		if r := p.get("/large"); r != want {
			t.Errorf("a large one too many gets %.200v", r)
		}
		if r := p.get("/small"); len(r.body) != smallAnswerBytes || r.err != nil {
			t.Errorf("a small one gets %d bytes, status %d, %v", len(r.body), r.status, r.err)
		}
		// When those who take nothing were hung up on, there is.
		time.Sleep(takeTime)
		if r := p.get("/large"); len(r.body) != 100*bodyPiece || r.err != nil {
			t.Errorf("a large one gets %d bytes, status %d, %v", len(r.body), r.status, r.err)
		}
		for _, c := range stuck {
			_ = c.Close()
		}
	})
}

// A request that takes too long is given up, but not while it waits for an
// instance, and then it has no place.
func TestLongRequests(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hangs":
			<-r.Context().Done()
			if cause := context.Cause(r.Context()); !errors.Is(cause, errTooLong) {
				t.Errorf("cause %v", cause)
			}
		case "/waits":
			if err := waitAside(r.Context(), func() error { time.Sleep(time.Hour); return nil }); err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(w, "waited")
		default:
			_, _ = io.WriteString(w, "done")
		}
	}
	withServer(t, func(o *Options) { o.MaxRequests = 1 }, handler, func(t *testing.T, p *pipes, _ func() error) {
		waited := make(chan got)
		go func() { waited <- p.get("/waits") }()
		synctest.Wait()
		if r := p.get("/"); r.status != 200 { // the only place is free
			t.Errorf("while one waits, another gets %+v", r)
		}
		if r := p.get("/hangs"); r.status != 503 || r.after != maxAnswerDelay {
			t.Errorf("one that hangs gets %+v", r)
		}
		if r := <-waited; r != (got{200, "", "waited", nil, time.Hour}) {
			t.Errorf("one that waits gets %+v", r)
		}
	})
	if err := waitAside(t.Context(), func() error { return io.EOF }); !errors.Is(err, io.EOF) {
		t.Errorf("outside of a request: %v", err)
	}
}

// What is worked on when the server ends is finished, new requests find nobody,
// and what takes too long is cut off.
func TestShutdown(t *testing.T) {
	var log bytes.Buffer
	handler := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hangs" {
			<-r.Context().Done()
			return
		}
		time.Sleep(time.Second)
		_, _ = io.WriteString(w, "finished")
	}
	for _, path := range []string{"/short", "/hangs"} {
		log.Reset()
		options := func(o *Options) {
			o.Grace = 3 * time.Second
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		}
		withServer(t, options, handler, func(t *testing.T, p *pipes, stop func() error) {
			answers := make(chan got)
			go func() { answers <- p.get(path) }()
			synctest.Wait()
			began := time.Now()
			ended := make(chan error, 1)
			go func() { ended <- stop() }()
			synctest.Wait()
			if r := p.get("/short"); r.err == nil {
				t.Errorf("a new request gets %+v", r)
			}
			answer := <-answers
			if err := <-ended; err != nil {
				t.Errorf("Serve: %v", err)
			}
			took := time.Since(began).Round(time.Second)
			if path == "/short" && (answer.body != "finished" || took > 2*time.Second || log.Len() > 0) {
				t.Errorf("%+v, ended after %v, log %s", answer, took, &log)
			}
			if path == "/hangs" && (answer.err == nil || took != 3*time.Second || !strings.Contains(log.String(), "cut off")) {
				t.Errorf("%+v, ended after %v, log %s", answer, took, &log)
			}
		})
	}
}

// Of too many connections, the one that was silent for the longest time goes. One
// with a request stays.
func TestTooManyConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, goOn := newPipes(), make(chan struct{})
		open := newConnections(p, 3)
		srv := &http.Server{ConnState: open.note, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/busy" {
				<-goOn
			}
			_, _ = io.WriteString(w, "done")
		})}
		ended := make(chan error, 1)
		go func() { ended <- srv.Serve(open) }()
		dial := func(path string) net.Conn {
			c := p.dial()
			if path != "" {
				_, _ = io.WriteString(c, "GET "+path+" HTTP/1.1\r\nHost: localhost\r\n\r\n")
			}
			synctest.Wait()
			return c
		}
		isClosed := func(c net.Conn) bool {
			_ = c.SetReadDeadline(time.Now().Add(time.Second))
			_, err := c.Read(make([]byte, 1000))
			return errors.Is(err, io.EOF)
		}
		busy, silent := dial("/busy"), dial("")
		used := dial("/")
		if isClosed(used) || isClosed(silent) { // the answer is read
			t.Fatal("a connection is closed though there is room for three")
		}
		synctest.Wait()
		fourth := dial("")
		if !isClosed(silent) {
			t.Error("the oldest silent connection is still open")
		}
		fifth := dial("/busy")
		if !isClosed(used) {
			t.Error("the connection that is not used any more is still open")
		}
		sixth := dial("/busy")
		if !isClosed(fourth) {
			t.Error("the last silent connection is still open")
		}
		if seventh := dial(""); !isClosed(seventh) {
			t.Error("there is one connection too many, and none is silent")
		}
		close(goOn)
		for _, c := range []net.Conn{busy, fifth, sixth} {
			if isClosed(c) {
				t.Error("a request was cut off")
			}
			_ = c.Close()
		}
		synctest.Wait()
		if len(open.open) != 0 || open.silent.Len() != 0 {
			t.Errorf("%d connections are still counted, %d of them silent", len(open.open), open.silent.Len())
		}
		_ = srv.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}
