package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/testhub"
)

// restoring returns the arguments of a restoration into an account.
func restoring(capture string, e *testhub.Emulator, more ...string) []string {
	return slices.Concat([]string{"restore", "--snapshot", capture, "--to-connection-string", e.ConnectionString(), "--yes"}, more)
}

// reader opens a hub in an account until t ends.
func reader(t *testing.T, e *testhub.Emulator, names hub.Names) *live.Hub {
	t.Helper()
	cfg, err := live.ParseConnectionString(e.ConnectionString())
	if err != nil {
		t.Fatal(err)
	}
	h, err := live.Open(t.Context(), cfg, names, live.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	return h
}

// restoredRight fails if the hub in the account is not that of the capture, with
// each message once.
func restoredRight(t *testing.T, capture string, e *testhub.Emulator, names hub.Names) {
	t.Helper()
	want, got := opened(t, capture), reader(t, e, names)
	sameHub(t, want, got)
	if diff := cmp.Diff(counts(t, want), counts(t, got)); diff != "" {
		t.Errorf("counts of messages (-want +got):\n%s", diff)
	}
}

// A restoration that is killed is finished by one with --resume, and by none
// without.
func TestRestoreKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the program many times")
	}
	t.Parallel()
	bin := buildTaskhub(t)
	mixed, names := mixedHub(t)
	whole := slowly(t, testhub.Azurite(t), -1)
	if out, err := exec.CommandContext(t.Context(), bin, restoring(mixed, whole.Emulator, "--concurrency", "2")...).CombinedOutput(); err != nil {
		t.Fatalf("restore: %v\n%s", err, out)
	}
	requests := float64(whole.asked.Load())
	const points = 8
	r := rand.New(rand.NewPCG(2026, 8))
	kills, begun := 0, 0
	for i := range points {
		e := testhub.Azurite(t)
		account := slowly(t, e, 1+int64((float64(i)+r.Float64())/points*requests))
		if killed(t, bin, account, time.Duration(r.IntN(5_000))*time.Microsecond, restoring(mixed, account.Emulator, "--concurrency", "2")...) {
			restoredRight(t, mixed, e, names)
			continue
		}
		account.under.Lock()
		account.under.Unlock() //nolint:staticcheck // to wait: what was sent has arrived when nobody holds it
		kills++
		if left := e.Listing(t); len(left) > 0 {
			begun++
			if got := taskhubRun(t, restoring(mixed, e)...); got.code != exitInUse || !strings.Contains(got.stderr, "--resume") {
				t.Errorf("restore without --resume into what is left: %+v", got)
			}
			if diff := cmp.Diff(left, e.Listing(t)); diff != "" {
				t.Errorf("a restoration that was refused changed the account:\n%s", diff)
			}
		}
		if out, err := exec.CommandContext(t.Context(), bin, restoring(mixed, e, "--resume")...).CombinedOutput(); err != nil {
			t.Errorf("resume: %v\n%s", err, out)
			continue
		}
		restoredRight(t, mixed, e, names)
	}
	t.Logf("a restoration takes %v requests; killed %d of %d times, %d of which had begun to write", requests, kills, points, begun)
	if kills < points-2 || begun < points/2 {
		t.Errorf("killed %d times, %d of which had begun to write: too few to tell", kills, begun)
	}
}

// Each kind of fault at requests from the first to the last: the restoration
// finishes right, or says which request failed, and can be resumed.
func restoreFaults(t *testing.T) {
	mixed, names := mixedHub(t)
	atOnce(t, faultKinds, func(t *testing.T, fault testhub.Fault) {
		p := testhub.NewProxy(t, testhub.Azurite(t))
		if got := taskhubRun(t, restoring(mixed, &p.Emulator)...); got.code != exitDone {
			t.Fatalf("restore: %+v", got)
		}
		requests := len(p.Requests())
		finished := 0
		const points = 4
		for i := range points {
			e := testhub.Azurite(t)
			p := testhub.NewProxy(t, e)
			f := fault
			f.After, f.Times = i*(requests-1)/(points-1), 1
			p.Inject(f)
			got := taskhubRun(t, restoring(mixed, &p.Emulator)...)
			what := fmt.Sprintf("request %d, %s", f.After, requestAt(p, f.After))
			if got.code == exitDone {
				finished++
			} else {
				t.Logf("%s: %s", what, got.stderr)
				if got.code != exitFailed || !namesRequest.MatchString(got.stderr) || got.stdout != "" {
					t.Errorf("%s: exit code %d, want %d and an error that names the request: %s", what, got.code, exitFailed, got.stderr)
				}
				if got := taskhubRun(t, restoring(mixed, e, "--resume")...); got.code != exitDone {
					t.Errorf("%s: resume: %+v", what, got)
				}
			}
			restoredRight(t, mixed, e, names)
		}
		if finished < points-2 {
			t.Errorf("%d of %d restorations finished", finished, points)
		}
	})
}

// A request whose answer is lost, or all of it but the beginning, is sent again,
// and what it writes is there once all the same.
func lostAnswers(t *testing.T) {
	mixed, names := mixedHub(t)
	beginnings := map[string]string{
		"message":   "POST /ACCOUNT/funclab-control-01/messages",
		"table":     "POST /ACCOUNT/Tables",
		"rows":      "POST /ACCOUNT/$batch",
		"partition": "POST /ACCOUNT/FuncLabPartitions",
		"queue":     "PUT /ACCOUNT/funclab-workitems",
		"container": "PUT /ACCOUNT/funclab-largemessages?restype=container",
		"blob":      "PUT /ACCOUNT/funclab-largemessages/",
	}
	tests := map[string][2]string{}
	for name := range beginnings {
		for _, kind := range []string{"none", "half"} {
			tests[kind+" of the answer, "+name] = [2]string{kind, name}
		}
	}
	atOnce(t, tests, func(t *testing.T, tt [2]string) {
		kind, name := tt[0], tt[1]
		e := testhub.Azurite(t)
		p := testhub.NewProxy(t, e)
		begin := strings.ReplaceAll(beginnings[name], "ACCOUNT", e.Account)
		to, lost := &p.Emulator, func() int64 { return 1 }
		if kind == "half" {
			p.Inject(testhub.Fault{Kind: testhub.Drop, Match: begin, Times: 1})
		} else {
			to, lost = losing(t, to, begin, 1)
		}
		if got := taskhubRun(t, restoring(mixed, to)...); got.code != exitDone {
			t.Errorf("restore: %+v", got)
		}
		if lost() != 1 {
			t.Errorf("%d answers were lost, want 1", lost())
		}
		if name == "message" {
			// 6 messages and one of them again, then all of them anew.
			posts, clears := sentTo(p, "/"+e.Account+"/funclab-control-01/messages")
			if posts != 6+1+6 || clears != 1 {
				t.Errorf("%d messages sent and the queue cleared %d times, want 13 and once", posts, clears)
			}
		}
		restoredRight(t, mixed, e, names)
	})
	t.Run("again and again", func(t *testing.T) {
		e := testhub.Azurite(t)
		to, _ := losing(t, e, "POST /"+e.Account+"/funclab-control-00/messages", 9)
		got := taskhubRun(t, restoring(mixed, to)...)
		if got.code != exitFailed || !strings.Contains(got.stderr, "queue funclab-control-00 holds 6 messages after 3 were sent into it, 3 times") {
			t.Errorf("restore: %+v", got)
		}
		if got := taskhubRun(t, restoring(mixed, e, "--resume")...); got.code != exitDone {
			t.Errorf("resume: %+v", got)
		}
		restoredRight(t, mixed, e, names)
	})
}

// losing returns an account that does what is asked and closes the connection
// without a word, at every second request that begins so, n times; and how often
// it has done so.
func losing(t *testing.T, e *testhub.Emulator, begin string, n int64) (*testhub.Emulator, func() int64) {
	t.Helper()
	var seen, lost atomic.Int64
	to := between(t, e, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if !strings.HasPrefix(r.Method+" "+r.RequestURI, begin) || seen.Add(1)%2 == 0 || lost.Load() == n {
			forward.ServeHTTP(w, r)
			return
		}
		lost.Add(1)
		forward.ServeHTTP(httptest.NewRecorder(), r)
		panic(http.ErrAbortHandler)
	})
	return to, lost.Load
}

// sentTo counts the messages sent to a queue and how often it was cleared.
func sentTo(p *testhub.Proxy, path string) (posts, clears int) {
	for _, line := range p.Requests() {
		method, rest, _ := strings.Cut(line, " ")
		switch {
		case !strings.HasPrefix(rest, path):
		case method == http.MethodPost:
			posts++
		case method == http.MethodDelete:
			clears++
		}
	}
	return posts, clears
}

// --dry-run, a missing --yes and a hub that is there write nothing.
func TestRestoreRefuses(t *testing.T) {
	t.Parallel()
	mixed, names := mixedHub(t)
	e := testhub.Azurite(t)
	p := testhub.NewProxy(t, e)
	into := []string{"restore", "--snapshot", mixed, "--to-connection-string", p.ConnectionString()}
	damaged := filepath.Join(t.TempDir(), "damaged.taskhub")
	text, err := os.ReadFile(mixed)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(damaged, text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		args []string
		code int
	}{
		{"dry run", append(into, "--dry-run"), exitDone},
		{"dry run in JSON", append(into, "--dry-run", "--json"), exitDone},
		{"dry run, resumed", append(into, "--dry-run", "--resume"), exitDone},
		{"no terminal", into, exitUsage},
		{"no terminal, JSON", append(into, "--json"), exitUsage},
		{"damaged", []string{"restore", "--snapshot", damaged, "--to-connection-string", p.ConnectionString(), "--yes"}, exitFailed},
		{"no capture", []string{"restore", "--to-connection-string", p.ConnectionString(), "--yes"}, exitUsage},
		{"no account", []string{"restore", "--snapshot", mixed, "--yes"}, exitUsage},
	}
	for _, tt := range tests {
		if got := taskhubRun(t, tt.args...); got.code != tt.code || len(p.Mutating()) > 0 {
			t.Errorf("%s: %+v, want %d; requests that change the account: %q", tt.name, got, tt.code, p.Mutating())
		}
	}
	if left := e.Listing(t); len(left) > 0 {
		t.Errorf("%q were made", left)
	}
	e.CreateQueues(t, names.WorkItemQueue())
	before := e.Listing(t)
	for _, more := range [][]string{{"--yes"}, {"--yes", "--json"}, {"--dry-run"}} {
		if got := taskhubRun(t, slices.Concat(into, more)...); got.code != exitInUse || len(p.Mutating()) > 0 {
			t.Errorf("restore %q into a hub that is there: %+v; %q", more, got, p.Mutating())
		}
	}
	if diff := cmp.Diff(before, e.Listing(t)); diff != "" {
		t.Errorf("the account changed (-before +after):\n%s", diff)
	}
}

// Restore and capture print no secret, and neither do the other commands where
// they fail; nor is any in a capture.
func TestSecretsOfWriters(t *testing.T) {
	t.Parallel()
	mixed, names := mixedHub(t)
	e := testhub.Azurite(t)
	testhub.Load(t, e, testhub.ContentOf(t, opened(t, mixed)))
	endpoints := func(e *testhub.Emulator) string {
		return "BlobEndpoint=" + e.BlobURL + ";QueueEndpoint=" + e.QueueURL + ";TableEndpoint=" + e.TableURL
	}
	gone := *e
	gone.BlobURL, gone.QueueURL, gone.TableURL = "http://127.0.0.1:1/"+e.Account, "http://127.0.0.1:1/"+e.Account, "http://127.0.0.1:1/"+e.Account
	key := e.ConnectionString()
	sas := e.SAS("bqt", "rwdlacup")
	signature := regexp.MustCompile(`sig=([^&]+)`).FindStringSubmatch(sas)[1]
	const wrong = "c2VjcmV0c2VjcmV0"
	const anyCode = -1
	ways := map[string]struct {
		connection, hub string
		code            int
	}{
		"key":                  {key, names.TaskHub, exitDone},
		"SAS":                  {endpoints(e) + ";SharedAccessSignature=" + sas, names.TaskHub, exitDone},
		"wrong key":            {strings.Replace(key, e.Key, wrong+e.Key[len(wrong):], 1), names.TaskHub, exitUnauthorized},
		"bad SAS":              {endpoints(e) + ";SharedAccessSignature=" + strings.Replace(sas, "sig=", "sig="+wrong, 1), names.TaskHub, exitUnauthorized},
		"SAS of one service":   {endpoints(e) + ";SharedAccessSignature=" + e.SAS("q", "rl"), names.TaskHub, anyCode},
		"unreachable":          {gone.ConnectionString(), names.TaskHub, exitFailed},
		"unreachable with SAS": {endpoints(&gone) + ";SharedAccessSignature=" + sas, names.TaskHub, exitFailed},
		"unknown hub":          {key, "Nobody", exitNotFound},
		"unknown hub with SAS": {endpoints(e) + ";SharedAccessSignature=" + sas, "Nobody", exitNotFound},
	}
	secrets := []string{e.Key, e.Key[len(wrong) : len(wrong)+30], signature, wrong, "sig="}
	check := func(what string, text []byte) {
		t.Helper()
		for _, secret := range secrets {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s holds %q:\n%.1000q", what, secret, text)
			}
		}
	}
	for way, w := range ways {
		for command, options := range readingCommands(t) {
			for _, format := range [][]string{nil, {"--json"}} {
				out := ""
				if command == "capture" {
					out = filepath.Join(t.TempDir(), "hub.taskhub")
					options = []string{"--out", out}
					if way == "SAS" && format != nil {
						options = append(options, "--folder")
					}
				}
				args := slices.Concat([]string{command, "--connection-string", w.connection}, options, format)
				want := w.code
				if command != "hubs" {
					args = append(args, "--task-hub-name", w.hub)
				} else if want == exitNotFound {
					want = exitDone
				}
				got := taskhubRun(t, args...)
				if got.code != want && want != anyCode {
					t.Errorf("%s, %s %q: exit code %d, want %d: %s", way, command, format, got.code, want, got.stderr)
				}
				check(way+", "+command, []byte(got.stdout+got.stderr))
				if out == "" || got.code != exitDone {
					continue
				}
				if info, err := os.Stat(out); err == nil && info.IsDir() {
					for name, text := range folder(t, out) {
						check(way+", capture, "+name, []byte(text))
					}
					continue
				}
				text, err := os.ReadFile(out)
				if err != nil {
					t.Fatal(err)
				}
				check(way+", capture", text)
				for name, text := range content(t, out) { // as it is unpacked
					check(way+", capture, "+name, []byte(text))
				}
			}
		}
		if way == "unknown hub" || way == "unknown hub with SAS" {
			continue // the same as with the right one: restore takes the name from the capture
		}
		for _, more := range [][]string{{"--dry-run"}, {"--yes"}, {"--yes", "--json"}, {"--yes", "--resume"}} {
			got := taskhubRun(t, slices.Concat([]string{"restore", "--snapshot", mixed, "--to-connection-string", w.connection}, more)...)
			want := w.code
			if want == exitDone && !slices.Contains(more, "--resume") {
				want = exitInUse
			}
			if got.code != want && want != anyCode {
				t.Errorf("%s, restore %q: exit code %d, want %d: %s", way, more, got.code, want, got.stderr)
			}
			check(way+", restore", []byte(got.stdout+got.stderr))
		}
	}
	for _, option := range []string{"--to-connection-string-setting", "--to-account", "--to-blob-endpoint"} {
		for _, value := range []string{key, endpoints(e) + ";SharedAccessSignature=" + sas, e.BlobURL + "?" + sas} {
			args := []string{"restore", "--snapshot", mixed, option, value, "--yes"}
			if option == "--to-blob-endpoint" {
				args = append(args, "--to-connection-string", key)
			}
			got := taskhubRun(t, args...)
			if got.code == exitDone {
				t.Errorf("restore with a secret in %s: %+v", option, got)
			}
			check("restore "+option, []byte(got.stdout+got.stderr))
		}
	}
}
