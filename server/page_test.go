package server_test

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/server"
)

// pageGet asks for data of the page as the page does.
func pageGet(h http.Handler, path string, parameters url.Values) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/page/data/"+path+"?"+parameters.Encode(), nil)
	r.Header.Set("X-Taskhub-Page", "1")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// pageData decodes data of the page.
func pageData[T any](t testing.TB, h http.Handler, path string, parameters url.Values) (v T) {
	t.Helper()
	w := pageGet(h, path, parameters)
	if w.Code != http.StatusOK {
		t.Fatalf("%s %v: status %d: %s", path, parameters, w.Code, w.Body)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &v); err != nil {
		t.Fatalf("%s %v: %v in %.200s", path, parameters, err, w.Body)
	}
	return v
}

// The files of the page come as what they are, once, and let nothing else in.
func TestPageAssets(t *testing.T) {
	h := newServer(t, pageOptions(server.Hub{Reader: testhub.OpenHub(t, "functions-3")}))
	files, err := os.ReadDir("page")
	if err != nil {
		t.Fatal(err)
	}
	types := map[string]string{"html": "text/html; charset=utf-8", "css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8"}
	for _, f := range files {
		path := "/page/" + f.Name()
		if f.Name() == "index.html" {
			path = "/"
		}
		content, err := os.ReadFile("page/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		get := func(method, etag string) *httptest.ResponseRecorder {
			r := httptest.NewRequest(method, "http://127.0.0.1"+path, nil)
			if etag != "" {
				r.Header.Set("If-None-Match", etag)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			return w
		}
		w := get(http.MethodGet, "")
		etag := w.Header().Get("ETag")
		if w.Code != http.StatusOK || w.Body.String() != string(content) || etag == "" {
			t.Errorf("%s: status %d, ETag %q, %d of %d bytes", path, w.Code, etag, w.Body.Len(), len(content))
		}
		for header, want := range map[string]string{
			"Content-Type":  types[f.Name()[strings.LastIndex(f.Name(), ".")+1:]],
			"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Resource-Policy": "same-origin",
			"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
				"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
		} {
			if got := w.Header().Get(header); got != want {
				t.Errorf("%s: %s is %q, want %q", path, header, got, want)
			}
		}
		for _, tag := range []string{etag, "W/" + etag, `"other", ` + etag} {
			if w := get(http.MethodGet, tag); w.Code != http.StatusNotModified || w.Body.Len() > 0 {
				t.Errorf("%s: with the ETag %s the status is %d", path, tag, w.Code)
			}
		}
		if w := get(http.MethodGet, `"other"`); w.Code != http.StatusOK {
			t.Errorf("%s: with another ETag the status is %d", path, w.Code)
		}
		if w := get(http.MethodHead, ""); w.Code != http.StatusOK || w.Body.Len() > 0 || w.Header().Get("Content-Length") == "" {
			t.Errorf("%s: HEAD answers %d with %d bytes", path, w.Code, w.Body.Len())
		}
		if w := get(http.MethodPost, ""); w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: POST answers %d", path, w.Code)
		}
	}
	for _, path := range []string{"/index.html", "/page", "/page/", "/page/index.html", "/page/../server.go", "/favicon.ico", "/x"} {
		r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/", nil)
		r.URL.Path = path
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", path, w.Code)
		}
	}
}

// What a policy forbids is not in the files, and neither is what would make markup
// of text, or ask somebody else for anything.
func TestPageSources(t *testing.T) {
	files, err := os.ReadDir("page")
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, f := range files {
		names[f.Name()] = true
	}
	forbidden := regexp.MustCompile(`(?i)innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser|srcdoc|javascript:|<style|style=|\son[a-z]+=|<script>|@import|importScripts|url\(['"]?http`)
	elsewhere := regexp.MustCompile(`(?:https?:)?//[a-z0-9.-]+\.[a-z]{2,}[^\s'"]*`)
	imports := regexp.MustCompile(`(?:from|import) '\./([^']+)'|(?:href|src)="page/([^"]+)"`)
	found := 0
	for name := range names {
		content, err := os.ReadFile("page/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if m := forbidden.Find(content); m != nil {
			t.Errorf("%s has %q", name, m)
		}
		for _, m := range elsewhere.FindAllString(string(content), -1) {
			if m != "http://www.w3.org/2000/svg" {
				t.Errorf("%s names another server: %s", name, m)
			}
		}
		for _, m := range imports.FindAllStringSubmatch(string(content), -1) {
			found++
			if !names[m[1]+m[2]] {
				t.Errorf("%s loads %s, which there is not", name, m[1]+m[2])
			}
		}
		if lines := strings.Count(string(content), "\n"); lines > 520 {
			t.Errorf("%s has %d lines", name, lines)
		}
	}
	if found < 40 {
		t.Errorf("%d imports found, want more", found)
	}
}

// Data is for the page of this server only.
func TestPageDataIsGuarded(t *testing.T) {
	h := newServer(t, pageOptions(server.Hub{Reader: testhub.OpenHub(t, "functions-3")}))
	get := func(method, path string, headers map[string]string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "http://127.0.0.1"+path, nil)
		for k, v := range headers {
			r.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	ours := map[string]string{"X-Taskhub-Page": "1"}
	for _, test := range []struct {
		name, method, path string
		headers            map[string]string
		want               int
	}{
		{"of the page", "GET", "/page/data/hubs", map[string]string{"X-Taskhub-Page": "1", "Sec-Fetch-Site": "same-origin"}, 200},
		{"of no browser", "GET", "/page/data/hubs", ours, 200},
		{"without the header", "GET", "/page/data/hubs", map[string]string{"Sec-Fetch-Site": "same-origin"}, 403},
		{"of another site", "GET", "/page/data/hubs", map[string]string{"X-Taskhub-Page": "1", "Sec-Fetch-Site": "cross-site"}, 403},
		{"of another host of the site", "GET", "/page/data/health", map[string]string{"X-Taskhub-Page": "1", "Sec-Fetch-Site": "same-site"}, 403},
		{"that changes", "POST", "/page/data/hubs", ours, 405},
		{"that deletes", "DELETE", "/page/data/instance?id=wait-1", ours, 405},
		{"of nothing", "GET", "/page/data/nothing", ours, 404},
		{"of a folder", "GET", "/page/data/", ours, 404},
		{"of another hub", "GET", "/page/data/health?taskHub=Nowhere", ours, 404},
		{"of another connection", "GET", "/page/data/health?connection=Nowhere", ours, 404},
		{"with a broken query", "GET", "/page/data/health?x=%zz", ours, 400},
	} {
		w := get(test.method, test.path, test.headers)
		if w.Code != test.want {
			t.Errorf("a request %s: status %d, want %d: %s", test.name, w.Code, test.want, w.Body)
		}
		if got := w.Header().Get("Cache-Control"); got != "no-store" {
			t.Errorf("a request %s: Cache-Control %q", test.name, got)
		}
		for _, header := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Headers"} {
			if got := w.Header().Get(header); got != "" {
				t.Errorf("a request %s: %s %q", test.name, header, got)
			}
		}
	}
}

// A key is asked for, but not for the files of the page, and is told nobody.
func TestPageWithKey(t *testing.T) {
	opts := pageOptions(server.Hub{Reader: testhub.OpenHub(t, "functions-3")})
	opts.Key = "a-key-that-is-nowhere"
	h := newServer(t, opts)
	for path, want := range map[string]int{"/": 200, "/page/app.js": 200, "/page/style.css": 200, "/page/data/hubs": 401, "/page/data/instances": 401, "/page/other.js": 401} {
		r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1"+path, nil)
		r.Header.Set("X-Taskhub-Page", "1")
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s without the key: status %d, want %d", path, w.Code, want)
		}
		r.Header.Set("X-Functions-Key", string(opts.Key))
		w = httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if want == 401 && !strings.HasPrefix(path, "/page/data") {
			want = 404
		} else {
			want = 200
		}
		if w.Code != want {
			t.Errorf("%s with the key: status %d, want %d", path, w.Code, want)
		}
		if strings.Contains(w.Body.String(), string(opts.Key)) {
			t.Errorf("%s tells the key", path)
		}
	}
}

// No question is answered with a failure of the server, whatever is in it.
func TestPageRubbish(t *testing.T) {
	h := newServer(t, pageOptions(server.Hub{Reader: testhub.OpenHub(t, "functions-3")}))
	values := []string{"", "-1", "x", "9223372036854775807", "99999999999999999999", "\x00", "\xff", evil, oddID, "0000000000000001", "..", strings.Repeat("a", 3000)}
	for _, path := range []string{"instances", "instance", "payload", "history", "event", "timeline", "explain", "health", "index"} {
		for _, name := range []string{"id", "q", "status", "kind", "name", "from", "to", "sort", "offset", "limit", "first", "events", "instances", "row", "column", "part", "head", "token"} {
			for _, v := range values {
				parameters := url.Values{"id": {"hello-1"}, "row": {"0000000000000001"}, "column": {"Input"}}
				parameters.Set(name, v)
				w := pageGet(h, path, parameters)
				switch w.Code {
				case http.StatusOK, http.StatusBadRequest, http.StatusNotFound:
				default:
					t.Errorf("%s with %s=%.40q: status %d: %.200s", path, name, v, w.Code, w.Body)
				}
				if !json.Valid(w.Body.Bytes()) && path != "index" {
					t.Errorf("%s with %s=%.40q: not JSON: %.200s", path, name, v, w.Body)
				}
			}
		}
	}
}

// Text can be read, and what is used can be seen, in both themes: by the measure of
// the Web Content Accessibility Guidelines 2.2, 1.4.3 and 1.4.11.
func TestPageContrast(t *testing.T) {
	style, err := os.ReadFile("page/style.css")
	if err != nil {
		t.Fatal(err)
	}
	colours := make(map[string][2]string)
	for _, m := range regexp.MustCompile(`--([\w-]+): light-dark\(#([0-9a-f]{6}), #([0-9a-f]{6})\)`).FindAllStringSubmatch(string(style), -1) {
		colours[m[1]] = [2]string{m[2], m[3]}
	}
	luminance := func(hex string) float64 {
		sum := 0.0
		for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
			n, err := strconv.ParseUint(hex[2*i:2*i+2], 16, 8)
			if err != nil {
				t.Fatal(err)
			}
			c := float64(n) / 255
			if c <= 0.03928 {
				c /= 12.92
			} else {
				c = math.Pow((c+0.055)/1.055, 2.4)
			}
			sum += weight * c
		}
		return sum
	}
	colours["white"] = [2]string{"ffffff", "ffffff"}
	for least, pairs := range map[float64]string{
		4.5: "text/bg text/surface text/raised text/hover muted/bg muted/surface muted/raised muted/hover muted/accent-soft accent/surface accent/bg accent/raised " +
			"accent/hover accent/accent-soft good/surface good/raised good/good-soft bad/surface bad/bg bad/bad-soft warn/warn-soft run/run-soft hold/hold-soft hold/raised " +
			"plain/plain-soft white/accent-bg white/bad-bg",
		3: "control/surface control/bg focus/surface focus/bg bar-activity/surface bar-child/surface bar-timer/surface bar-call/surface bar-event/surface bar-failed/surface",
	} {
		for _, pair := range strings.Fields(pairs) {
			front, back, _ := strings.Cut(pair, "/")
			for i, theme := range []string{"light", "dark"} {
				if colours[front][i] == "" || colours[back][i] == "" {
					t.Fatalf("the page has no colours %s", pair)
				}
				a, b := luminance(colours[front][i]), luminance(colours[back][i])
				if contrast := (max(a, b) + 0.05) / (min(a, b) + 0.05); contrast < least {
					t.Errorf("%s: %s has a contrast of %.2f, want %.1f", theme, pair, contrast, least)
				}
			}
		}
	}
}

// Whatever storage holds, the page gets an answer.
func TestPageOfWreckedHubs(t *testing.T) {
	whole := testhub.ContentOf(t, testhub.OpenHub(t, "functions-3"))
	asked := 0
	for seed := range uint64(8) {
		c := testhub.Wreck(rand.New(rand.NewPCG(seed, 8)), whole, 150)
		h := newServer(t, pageOptions(server.Hub{Reader: testhub.NewMemory(c)}))
		ask := func(path string, parameters url.Values) {
			asked++
			switch w := pageGet(h, path, parameters); w.Code {
			case http.StatusOK, http.StatusNotFound, http.StatusBadGateway, http.StatusRequestEntityTooLarge:
			default:
				t.Errorf("hub %d: %s %v: status %d: %s", seed, path, parameters, w.Code, w.Body)
			}
		}
		for _, path := range []string{"hubs", "instances", "index", "health", "verify"} {
			ask(path, nil)
		}
		ids := make(map[string]bool)
		for _, table := range []hub.Table{hub.Instances, hub.History} {
			for _, row := range c.Tables[table] {
				ids[schema.InstanceID(row.PartitionKey)] = true
			}
		}
		for id := range ids {
			if id == "" {
				continue
			}
			for _, path := range []string{"instance", "history", "timeline"} {
				ask(path, url.Values{"id": {id}})
			}
			for _, part := range []string{"input", "output", "custom_status", "tags"} {
				ask("payload", url.Values{"id": {id}, "part": {part}})
			}
			ask("history", url.Values{"id": {id}, "first": {"-1"}})
			ask("timeline", url.Values{"id": {id}, "instances": {"5"}})
			ask("event", url.Values{"id": {id}, "row": {schema.FormatSequence(1)}})
		}
		ask("explain", url.Values{"id": {"parent-1"}})
	}
	if asked < 3000 {
		t.Errorf("%d questions, want more", asked)
	}
}
