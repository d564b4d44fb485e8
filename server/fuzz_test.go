package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/server"
)

// FuzzRequest sends requests to a small hub: all are answered as HTTP and JSON
// want it, and only those that may change something do.
func FuzzRequest(f *testing.F) {
	seeds := 0
	for file, n := range map[string]int{"http-read.jsonl": 287, "http-write.jsonl": 73, "http-seed.jsonl": 63} {
		for _, r := range records(f, file, n) {
			body := ""
			if r.Body != nil && len(*r.Body) < 1000 {
				body = *r.Body
			}
			f.Add(r.Method, r.Path, body, "application/json", r.RequestHeaders[tokenHeader])
			seeds++
		}
	}
	if seeds != 423 {
		f.Fatalf("%d seeds", seeds)
	}
	f.Add("POST", "/orchestrators/F/%00%ff?timeout=1e308&pollingInterval=-1e308", "\xef\xbb\xbf{}", "application/json; charset", "")
	f.Add("POST", "/instances/hello-1/raiseEvent/%2F", "[[[[", "APPLICATION/JSON;a=b", "")
	f.Add("DELETE", "/instances/?createdTimeFrom=0001-01-01&runtimeStatus=,,Running", "", "", "cGs6")
	f.Add("GET", "//instances//%zz/?showHistory=true&taskHub=%00", "", "", "\x00")
	content := cutTo(recordedHub(f, "functions-3"), "hello-1", "failing-1", "wait-4", "large-out", "@counter@c1")
	f.Fuzz(func(t *testing.T, method, path, body, contentType, token string) {
		u, err := url.ParseRequestURI("/durabletask" + path)
		if err != nil || len(body) > 1<<16 {
			return // net/http answers this itself
		}
		for _, readOnly := range []bool{false, true} {
			e := testhub.NewEditor(cutTo(content, "hello-1", "failing-1", "wait-4", "large-out", "@counter@c1"))
			opts := testOptions(server.Hub{Reader: e, Editor: e})
			opts.ReadOnly, opts.Functions, opts.Entities = readOnly, nil, nil
			r := &http.Request{
				Method: method, URL: u, Host: "127.0.0.1:17071", Header: http.Header{}, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
				Body: http.NoBody, ContentLength: int64(len(body)),
			}
			if body != "" {
				r.Body = nopCloser{strings.NewReader(body)}
			}
			r.Header.Set("Content-Type", contentType)
			r.Header.Set(tokenHeader, token)
			r.Header.Set("X-Functions-Key", recordedKey)
			w := answer(newServer(t, opts), r.WithContext(t.Context()))
			got := w.Body.Bytes()
			switch kind := w.Header().Get("Content-Type"); {
			case kind == "application/json; charset=utf-8":
				if !json.Valid(got) || !utf8.Valid(got) {
					t.Errorf("%s %s: status %d with what is no JSON: %q", method, path, w.Code, got)
				}
			case len(got) > 0 && strings.HasPrefix(u.Path, "/durabletask/"):
				t.Errorf("%s %s: status %d, %q: %q", method, path, w.Code, kind, got)
			}
			if !slices.Contains([]int{200, 202, 400, 403, 404, 409, 410, 412, 500, 501}, w.Code) {
				t.Errorf("%s %s: status %d: %s", method, path, w.Code, got)
			}
			for name, values := range w.Header() {
				if strings.ContainsAny(strings.Join(values, ""), "\r\n\x00") {
					t.Errorf("%s %s: header %s is %q", method, path, name, values)
				}
			}
			if changed := e.Edits(); len(changed) > 0 && (readOnly || method != http.MethodPost && method != http.MethodDelete || w.Code != 200 && w.Code != 202) {
				t.Errorf("%s %s: status %d, read-only %v, changed %q", method, path, w.Code, readOnly, changed)
			}
		}
	})
}

type nopCloser struct{ *strings.Reader }

func (nopCloser) Close() error { return nil }
