package main

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

// buildTaskhub builds the program as it is shipped: a process that a test can
// kill and measure.
func buildTaskhub(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "taskhub")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// capturing returns the arguments of a capture of a hub in an account.
func capturing(e *testhub.Emulator, names hub.Names, out string, more ...string) []string {
	return slices.Concat([]string{"capture", "--connection-string", e.ConnectionString(), "--out", out}, hubOptions(names), more)
}

// opened opens a capture until t ends.
func opened(t *testing.T, path string) *snapshot.Reader {
	t.Helper()
	r, err := snapshot.Open(path, snapshot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// mixedHub returns a capture of a hub that has something of everything, and its
// path: the recording functions-3 with messages in its queues and a second page
// of history.
func mixedHub(t *testing.T) (string, hub.Names) {
	t.Helper()
	c := testhub.ContentOf(t, testhub.OpenHub(t, "functions-3"))
	var recorded []schema.QueueMessage
	for m, err := range testhub.OpenHub(t, "dtfx-2.9.1-backlog").Messages(t.Context(), "backlog-control-01") {
		if err != nil {
			t.Fatal(err)
		}
		recorded = append(recorded, m)
	}
	for i := range c.Queues {
		n := 3 * (i + 1)
		c.Queues[i].Messages, recorded = recorded[:n:n], slices.Concat(recorded[n:], recorded[:n])
		c.Queues[i].ApproximateCount = int64(n)
	}
	for i := range 1200 {
		c.Tables[hub.History] = append(c.Tables[hub.History], schema.Row{
			PartitionKey: fmt.Sprintf("more-%02d", i/100), RowKey: schema.FormatSequence(int64(i % 100)),
			Properties: []schema.Property{
				{Name: "EventId", Value: schema.Int32(-1)},
				{Name: "IsPlayed", Value: schema.Boolean(i%2 == 0)},
				{Name: "_Timestamp", Value: schema.DateTime(schema.Ticks(639_079_200_000_000_000 + i))},
				{Name: "EventType", Value: schema.String("OrchestratorStarted")},
				{Name: "ExecutionId", Value: schema.String("x")},
				{Name: "Text", Value: schema.String("<&> ünïcode 日本")},
				{Name: "Wide", Value: schema.Int64(int64(i) << 40)},
			},
		})
	}
	path := filepath.Join(t.TempDir(), "mixed.taskhub")
	if err := snapshot.Capture(t.Context(), path, testhub.NewMemory(c), snapshot.CaptureOptions{}); err != nil {
		t.Fatal(err)
	}
	return path, c.Names
}

// loaded puts the hub of a capture into an account.
func loaded(t *testing.T, capture string) *testhub.Emulator {
	t.Helper()
	e := testhub.Azurite(t)
	testhub.Load(t, e, testhub.ContentOf(t, opened(t, capture)))
	return e
}

// texts returns what stands in each queue, in order.
func texts(t *testing.T, r hub.Reader) map[string][]string {
	t.Helper()
	queues, err := r.Queues(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for _, q := range queues {
		all[q.Name] = []string{}
		for m, err := range r.Messages(t.Context(), q.Name) {
			if err != nil {
				t.Fatal(err)
			}
			all[q.Name] = append(all[q.Name], m.Text)
		}
	}
	return all
}

func counts(t *testing.T, r hub.Reader) map[string]int64 {
	t.Helper()
	queues, err := r.Queues(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]int64{}
	for _, q := range queues {
		all[q.Name] = q.ApproximateCount
	}
	return all
}

// sameHub fails if rows, their types, blobs, tables or visible messages differ.
func sameHub(t *testing.T, want, got hub.Reader) {
	t.Helper()
	found, err := migrate.Compare(t.Context(), want, got, migrate.CompareOptions{MaxDifferences: 10})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) > 0 {
		t.Errorf("differences: %+v", found)
	}
	if diff := cmp.Diff(texts(t, want), texts(t, got)); diff != "" {
		t.Errorf("messages (-want +got):\n%.3000s", diff)
	}
	artifacts := func(r hub.Reader) []string {
		info, err := r.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		all := []string{fmt.Sprint(info.Names, info.PartitionCount)}
		for _, table := range info.Tables {
			all = append(all, table.Name)
		}
		containers, err := r.Containers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range containers {
			all = append(all, c.Name)
		}
		return all
	}
	if diff := cmp.Diff(artifacts(want), artifacts(got)); diff != "" {
		t.Errorf("tables and containers (-want +got):\n%s", diff)
	}
}

// Every recorded hub, loaded into an account and captured, is the recording;
// restored into another account and captured again, it still is.
func TestCaptureRecordedHubs(t *testing.T) {
	t.Parallel()
	for _, rec := range testhub.Recordings {
		if rec.Name == "dtfx-2.9.1-bulk" && testing.Short() {
			continue
		}
		t.Run(rec.Name, func(t *testing.T) {
			recorded := testhub.OpenHub(t, rec.Name)
			e := testhub.Azurite(t)
			testhub.Load(t, e, testhub.ContentOf(t, recorded))
			proxy := testhub.NewProxy(t, e)
			dir := t.TempDir()
			first, second := filepath.Join(dir, "first.taskhub"), filepath.Join(dir, "second.taskhub")

			got := taskhubRun(t, capturing(&proxy.Emulator, rec.Names, first)...)
			if got.code != exitDone && !lacksTables(t, recorded) {
				t.Fatalf("capture: %+v", got)
			}
			if sent := proxy.Mutating(); len(sent) > 0 {
				t.Errorf("requests that could change the account: %q", sent)
			}
			captured := opened(t, first)
			sameHub(t, recorded, captured)
			if diff := cmp.Diff(counts(t, recorded), counts(t, captured)); diff != "" {
				t.Errorf("counts of messages (-want +got):\n%s", diff)
			}

			other := testhub.Azurite(t)
			if got := taskhubRun(t, "restore", "--snapshot", first, "--to-connection-string", other.ConnectionString(), "--yes"); got.code != exitDone {
				t.Fatalf("restore: %+v", got)
			}
			if got := taskhubRun(t, capturing(other, rec.Names, second)...); got.code != exitDone && !lacksTables(t, recorded) {
				t.Fatalf("capture of what was restored: %+v", got)
			}
			sameHub(t, captured, opened(t, second))
			if names := entries(t, dir); !slices.Equal(names, []string{"first.taskhub", "second.taskhub"}) {
				t.Errorf("files %q are left", names)
			}
		})
	}
}

// lacksTables reports whether a hub is half there, of which capture says so.
func lacksTables(t *testing.T, r hub.Reader) bool {
	t.Helper()
	info, err := r.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, table := range info.Tables {
		if table.Table == hub.Instances || table.Table == hub.History {
			n++
		}
	}
	return n < 2
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range list {
		names = append(names, e.Name())
	}
	return names
}

// What cannot be captured leaves neither a file nor a trace in the account.
func TestCaptureRefuses(t *testing.T) {
	t.Parallel()
	e := loaded(t, testhub.HubFile(t, "dtfx-2.9.1-live"))
	before := e.Listing(t)
	dir := t.TempDir()

	got := taskhubRun(t, capturing(e, hub.Names{TaskHub: "Nobody"}, filepath.Join(dir, "none.taskhub"))...)
	if got.code != exitNotFound || got.stdout != "" || !strings.Contains(got.stderr, `hub "Nobody"`) {
		t.Errorf("capture of a hub that does not exist: %+v", got)
	}
	if names := entries(t, dir); len(names) > 0 {
		t.Errorf("files %q are left of a hub that does not exist", names)
	}

	there := filepath.Join(dir, "there.taskhub")
	if err := os.WriteFile(there, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, more := range [][]string{nil, {"--json"}, {"--folder"}} {
		got = taskhubRun(t, capturing(e, hub.Names{TaskHub: "LiveHub"}, there, more...)...)
		if text, err := os.ReadFile(there); got.code != exitFailed || err != nil || string(text) != "mine" || !strings.Contains(got.stderr, "exists") {
			t.Errorf("capture %q over a file: %+v; the file holds %q, %v", more, got, text, err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder.taskhub"), 0o700); err != nil {
		t.Fatal(err)
	}
	got = taskhubRun(t, capturing(e, hub.Names{TaskHub: "LiveHub"}, filepath.Join(dir, "folder.taskhub"))...)
	if got.code != exitFailed {
		t.Errorf("capture over a folder: %+v", got)
	}
	if names := entries(t, dir); !slices.Equal(names, []string{"folder.taskhub", "there.taskhub"}) {
		t.Errorf("files %q are left", names)
	}
	if diff := cmp.Diff(before, e.Listing(t)); diff != "" {
		t.Errorf("the account changed (-before +after):\n%s", diff)
	}
}

// Queues and containers have their names in lower case, and tables as they were
// typed: in the wrong case, half of the hub is found. The tables that are not are
// told, in the capture too.
func TestCaptureWrongCase(t *testing.T) {
	t.Parallel()
	e := loaded(t, testhub.HubFile(t, "dtfx-2.9.1-live"))
	before := e.Listing(t)
	out := filepath.Join(t.TempDir(), "wrong.taskhub")
	got := taskhubRun(t, capturing(e, hub.Names{TaskHub: "LIVEHUB"}, out)...)
	if got.code != exitSkipped {
		t.Fatalf("capture: %+v", got)
	}
	r := opened(t, out)
	info, err := r.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []string{"LIVEHUBInstances", "LIVEHUBHistory"} {
		if !strings.Contains(got.stderr, "table "+table+" is not in the capture") {
			t.Errorf("%s is not told to be missing: %s", table, got.stderr)
		}
		noted := func(u hub.Unreadable) bool { return u.Artifact == "table "+table }
		if !slices.ContainsFunc(info.Unreadable, noted) {
			t.Errorf("%s is not noted in the capture: %+v", table, info.Unreadable)
		}
	}
	if diff := cmp.Diff(before, e.Listing(t)); diff != "" {
		t.Errorf("the account changed (-before +after):\n%s", diff)
	}
}

// slow is an account whose answers take a moment, and which tells when it is
// asked for the n-th time.
type slow struct {
	*testhub.Emulator
	under   sync.RWMutex // held for reading by each request
	asked   atomic.Int64
	reached chan struct{}
}

// slowly returns e as a slow account.
func slowly(t *testing.T, e *testhub.Emulator, n int64) *slow {
	t.Helper()
	s := &slow{reached: make(chan struct{})}
	s.Emulator = between(t, e, func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		s.under.RLock()
		defer s.under.RUnlock()
		if s.asked.Add(1) == n {
			close(s.reached)
		}
		select {
		case <-time.After(3 * time.Millisecond):
			forward.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	})
	return s
}

// between returns an account whose requests go through a handler.
func between(t *testing.T, e *testhub.Emulator, handle func(w http.ResponseWriter, r *http.Request, forward http.Handler)) *testhub.Emulator {
	t.Helper()
	seen := *e
	for _, address := range []*string{&seen.BlobURL, &seen.QueueURL, &seen.TableURL} {
		upstream, err := url.Parse(strings.TrimSuffix(*address, "/"+e.Account))
		if err != nil {
			t.Fatal(err)
		}
		forward := &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(upstream); r.Out.Host = r.In.Host },
			ErrorHandler: func(http.ResponseWriter, *http.Request, error) {
				panic(http.ErrAbortHandler) // the client was killed
			},
		}
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handle(w, r, forward) }))
		t.Cleanup(s.Close)
		*address = s.URL + "/" + e.Account
	}
	return &seen
}

// killed runs the program and kills it some time after s is asked for the n-th
// time. It returns whether the program was done before.
func killed(t *testing.T, bin string, s *slow, after time.Duration, args ...string) (done bool) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), bin, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	var err error
	select {
	case <-s.reached:
		time.Sleep(after)
		_ = cmd.Process.Kill() // SIGKILL; it may have ended just now
		err = <-ended
	case err = <-ended:
	}
	var exit *exec.ExitError
	if err != nil && (!errors.As(err, &exit) || exit.Exited()) {
		t.Fatalf("taskhub %q: %v\n%s", args[0], err, &stderr)
	}
	return err == nil
}

// content returns the files of a capture that do not tell when it was taken.
func content(t *testing.T, path string) map[string]string {
	t.Helper()
	z, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	files := map[string]string{}
	for _, f := range z.File {
		if dir, _, _ := strings.Cut(f.Name, "/"); dir != "tables" && dir != "queues" && dir != "blobs" {
			continue
		}
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
		files[f.Name] = string(text)
	}
	if len(files) == 0 {
		t.Fatalf("%s holds nothing", path)
	}
	return files
}

// sameContent fails if two captures differ in a byte of what they hold.
func sameContent(t *testing.T, want map[string]string, path string) {
	t.Helper()
	got := content(t, path)
	if !maps.Equal(want, got) {
		names := slices.Sorted(maps.Keys(want))
		t.Errorf("%s differs: files %q, want %q", path, slices.Sorted(maps.Keys(got)), names)
		for _, name := range names {
			if got[name] != want[name] {
				t.Errorf("%s: %d bytes, want %d, or other ones", name, len(got[name]), len(want[name]))
			}
		}
	}
}

// A capture that is killed leaves nothing under its name, and the next one is
// the same as if there had been no first.
func TestCaptureKilled(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the program many times")
	}
	t.Parallel()
	bin := buildTaskhub(t)
	mixed, names := mixedHub(t)
	e := loaded(t, mixed)
	dir := t.TempDir()
	undisturbed := filepath.Join(dir, "undisturbed.taskhub")
	whole := slowly(t, e, -1)
	if out, err := exec.CommandContext(t.Context(), bin, capturing(whole.Emulator, names, undisturbed)...).CombinedOutput(); err != nil {
		t.Fatalf("capture: %v\n%s", err, out)
	}
	requests := float64(whole.asked.Load())
	want := content(t, undisturbed)
	for _, kind := range []string{"tables/", "queues/", "blobs/"} {
		if !slices.ContainsFunc(slices.Collect(maps.Keys(want)), func(name string) bool { return strings.HasPrefix(name, kind) }) {
			t.Fatalf("the capture has no %s: %q", kind, slices.Sorted(maps.Keys(want)))
		}
	}
	const points = 15
	r := rand.New(rand.NewPCG(2026, 4))
	kills, halves := 0, 0
	for i := range points {
		account := slowly(t, e, 1+int64((float64(i)+r.Float64())/points*requests))
		out := filepath.Join(dir, fmt.Sprintf("killed-%02d.taskhub", i))
		done := killed(t, bin, account, time.Duration(r.IntN(5_000))*time.Microsecond, capturing(account.Emulator, names, out)...)
		if _, err := os.Lstat(out + ".partial"); err == nil {
			halves++
		}
		if _, err := os.Lstat(out); done || err == nil {
			sameContent(t, want, out) // the file was whole before
			continue
		}
		kills++
		if text, err := exec.CommandContext(t.Context(), bin, capturing(e, names, out)...).CombinedOutput(); err != nil {
			t.Errorf("capture after one that was killed: %v\n%s", err, text)
			continue
		}
		sameContent(t, want, out)
	}
	for _, name := range entries(t, dir) {
		if filepath.Ext(name) != ".taskhub" {
			t.Errorf("%s is left", name)
		}
	}
	t.Logf("a capture takes %v requests; killed %d of %d times; %d partial files were left", requests, kills, points, halves)
	if kills < points-3 || halves < points/2 {
		t.Errorf("killed %d times with %d partial files: too few to tell", kills, halves)
	}
}

// namesRequest is what an error must hold.
var namesRequest = regexp.MustCompile(`\b(GET|HEAD|POST|PUT|DELETE) http://127\.0\.0\.1:\d+/\S+`)

// faultKinds spoil single responses.
var faultKinds = map[string]testhub.Fault{
	"throttled":      {Kind: testhub.Throttle, RetryAfter: "1"},
	"reset":          {Kind: testhub.Reset},
	"dropped":        {Kind: testhub.Drop},
	"slow":           {Kind: testhub.Slow, Delay: 10 * time.Millisecond},
	"length too big": {Kind: testhub.LongLength},
	"length halved":  {Kind: testhub.ShortLength},
	"cut":            {Kind: testhub.Truncate},
}

// atOnce runs a test for each value, all at the same time whatever -parallel
// says: they mostly wait for the next try of a request.
func atOnce[T any](t *testing.T, of map[string]T, test func(*testing.T, T)) {
	var running sync.WaitGroup
	for name, v := range of {
		running.Go(func() { t.Run(name, func(t *testing.T) { test(t, v) }) })
	}
	running.Wait()
}

// What faults of the service and the network do to a command. Together, as they
// mostly wait.
func TestFaults(t *testing.T) {
	t.Parallel()
	atOnce(t, map[string]func(*testing.T){
		"reading": readingFaults, "lasting": lastingFaults, "restoring": restoreFaults, "lost answers": lostAnswers,
	}, func(t *testing.T, test func(*testing.T)) { test(t) })
}

// Each kind of fault at requests from the first to the last: capture and export
// finish right, or say which request failed and leave no file.
func readingFaults(t *testing.T) {
	mixed, names := mixedHub(t)
	e := loaded(t, mixed)
	want := opened(t, mixed)
	exported := filepath.Join(t.TempDir(), "history")
	exporting := func(e *testhub.Emulator, out string) []string {
		return slices.Concat([]string{"export", "--connection-string", e.ConnectionString(), "--out", out, "--format", "ndjson"}, hubOptions(names))
	}
	if got := taskhubRun(t, exporting(e, exported)...); got.code != exitDone {
		t.Fatalf("export: %+v", got)
	}
	whole := folder(t, exported)
	atOnce(t, faultKinds, func(t *testing.T, fault testhub.Fault) {
		p := testhub.NewProxy(t, e)
		dir := t.TempDir()
		if got := taskhubRun(t, capturing(&p.Emulator, names, filepath.Join(dir, "clean.taskhub"))...); got.code != exitDone {
			t.Fatalf("capture: %+v", got)
		}
		requests := len(p.Requests())
		finished := 0
		const points = 4
		for i := range points {
			f := fault
			f.After, f.Times = i*(requests-1)/(points-1), 1
			out := filepath.Join(dir, fmt.Sprintf("%d.taskhub", i))
			p.Reset()
			p.Inject(f)
			got := taskhubRun(t, capturing(&p.Emulator, names, out)...)
			hit := requestAt(p, f.After)
			if right(t, "capture, "+hit, got, out) {
				finished++
				sameHub(t, want, opened(t, out))
			}

			out = filepath.Join(dir, fmt.Sprintf("exported-%d", i))
			p.Reset()
			f.After = i * 2
			p.Inject(f)
			got = taskhubRun(t, exporting(&p.Emulator, out)...)
			switch got.code {
			case exitDone:
				if diff := cmp.Diff(whole, folder(t, out)); diff != "" {
					t.Errorf("export, %s: other files:\n%.2000s", requestAt(p, f.After), diff)
				}
			case exitSkipped: // a blob, which is told
			default:
				if !namesRequest.MatchString(got.stderr) {
					t.Errorf("export, %s: the error names no request: %+v", requestAt(p, f.After), got)
				}
				noFiles(t, out)
			}
		}
		if finished < points-1 {
			t.Errorf("%d of %d captures finished", finished, points)
		}
	})
}

func requestAt(p *testhub.Proxy, i int) string {
	if all := p.Requests(); i < len(all) {
		line, _, _ := strings.Cut(all[i], "?")
		return line
	}
	return "no request"
}

// right reports whether a run is done, with a file at out. If it is not, it must
// say which request failed, and there must be no file.
func right(t *testing.T, what string, got outcome, out string) bool {
	t.Helper()
	if got.code == exitDone {
		return true
	}
	if got.code != exitFailed || !namesRequest.MatchString(got.stderr) || got.stdout != "" {
		t.Errorf("%s: exit code %d, want %d and an error that names the request: %s", what, got.code, exitFailed, got.stderr)
	}
	if _, err := os.Lstat(out); err == nil {
		t.Errorf("%s: failed, and %s is there", what, out)
	}
	return false
}

// folder returns the files in a folder but for the manifest, which tells times.
func folder(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() == "manifest.json" {
			return err
		}
		text, err := os.ReadFile(path)
		files[d.Name()] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// A request that fails for good ends the run with its name, in whatever part of
// the hub it is.
func lastingFaults(t *testing.T) {
	mixed, names := mixedHub(t)
	e := loaded(t, mixed)
	type lasting struct {
		fault testhub.Fault
		want  string // of the error
		long  bool
	}
	tests := map[string]lasting{
		"history throttled":   {testhub.Fault{Kind: testhub.Throttle, RetryAfter: "1", Match: "History()", After: 1}, "GET http.*/FuncLabHistory.*6 tries.*503 ServerBusy", false},
		"queues throttled":    {testhub.Fault{Kind: testhub.Throttle, RetryAfter: "1", Match: "peekonly", After: 1}, "GET http.*/messages.*503 ServerBusy", false},
		"blob refused":        {testhub.Fault{Kind: testhub.Status, Status: 400, Match: ".json.gz"}, "GET http.*json.gz.*400", false},
		"containers refused":  {testhub.Fault{Kind: testhub.Status, Status: 409, Match: "include=metadata"}, "GET http.*comp=list.*409", false},
		"instances not there": {testhub.Fault{Kind: testhub.Status, Status: 404, Match: "Instances()", After: 1}, "GET http.*/FuncLabInstances.*404", false},
		"page always cut":     {testhub.Fault{Kind: testhub.Truncate, Match: "History()", After: 1}, "GET http.*/FuncLabHistory.*6 tries", true},
		"page always dropped": {testhub.Fault{Kind: testhub.Drop, Match: "Instances()", After: 1}, "GET http.*/FuncLabInstances.*6 tries", true},
		"blob always cut":     {testhub.Fault{Kind: testhub.Truncate, Match: "/funclab-largemessages/"}, "blob funclab-largemessages/.*json.gz: .* bytes were read and .* are listed", false},
	}
	atOnce(t, tests, func(t *testing.T, tt lasting) {
		if tt.long && testing.Short() {
			t.Skip("waits for all retries")
		}
		p := testhub.NewProxy(t, e)
		p.Inject(tt.fault)
		dir := t.TempDir()
		got := taskhubRun(t, capturing(&p.Emulator, names, filepath.Join(dir, "hub.taskhub"))...)
		if got.code != exitFailed || got.stdout != "" {
			t.Errorf("capture: %+v, though a request always failed", got)
		}
		if !regexp.MustCompile(tt.want).MatchString(got.stderr) {
			t.Errorf("capture: %q, want %q in it", got.stderr, tt.want)
		}
		if names := entries(t, dir); len(names) > 0 {
			t.Errorf("files %q are left", names)
		}
	})
}

// No reading command sends a request that could change anything, whether the hub
// is there or not; and there is nothing new in the account.
func TestReadersOnlyRead(t *testing.T) {
	t.Parallel()
	mixed, names := mixedHub(t)
	e := loaded(t, mixed)
	p := testhub.NewProxy(t, e)
	before := e.Listing(t)
	for _, name := range []string{names.TaskHub, "Nobody", strings.ToUpper(names.TaskHub)} {
		for command, options := range readingCommands(t) {
			args := slices.Concat([]string{command, "--connection-string", p.ConnectionString()}, options)
			if command != "hubs" {
				args = append(args, "--task-hub-name", name)
			}
			p.Reset()
			got := taskhubRun(t, args...)
			if n := len(p.Requests()); n == 0 {
				t.Errorf("%s of %s sent nothing: %+v", command, name, got)
			}
			if sent := p.Mutating(); len(sent) > 0 {
				t.Errorf("%s of %s: requests that could change the account: %q", command, name, sent)
			}
			if name == "Nobody" && command != "hubs" && got.code != exitNotFound {
				t.Errorf("%s of an unknown hub: %+v, want %d", command, got, exitNotFound)
			}
		}
	}
	for _, options := range [][]string{{"--format", "parquet"}, {"--format", "ndjson"}} {
		p.Reset()
		args := slices.Concat([]string{"export", "--connection-string", p.ConnectionString(), "--task-hub-name", names.TaskHub, "--out", t.TempDir() + "/out"}, options)
		if got := taskhubRun(t, args...); got.code != exitDone || len(p.Mutating()) > 0 {
			t.Errorf("export %q: %+v, %q", options, got, p.Mutating())
		}
	}
	if diff := cmp.Diff(before, e.Listing(t)); diff != "" {
		t.Errorf("the account changed (-before +after):\n%s", diff)
	}
}
