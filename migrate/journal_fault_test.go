package migrate_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
)

// Whatever becomes of some requests in each phase, the hub is that of an undisturbed
// run: nothing is missing, and no message is there twice.
func TestRunFaults(t *testing.T) {
	from := small(t)
	requests := []string{
		"PUT /A/elsewhere-applease?", "PUT /A/elsewhere-largemessages?", "PUT /A/elsewhere-largemessages/",
		"POST /A/Tables", "POST /A/$batch", "POST /A/ElsewhereInstances", "POST /A/ElsewherePartitions",
		"GET /A/ElsewhereHistory", "GET /A/ElsewhereInstances", "GET /A/elsewhere-largemessages?",
		"PUT /A/elsewhere-control-00", "DELETE /A/elsewhere-workitems/messages", "POST /A/elsewhere-workitems/messages",
		"GET /A/elsewhere-workitems/messages",
	}
	run := func(t *testing.T, fault *testhub.Fault) []string {
		e := testhub.Azurite(t)
		p := testhub.NewProxy(t, e)
		match := func(request string) string { return strings.Replace(request, "/A/", "/"+e.Account+"/", 1) }
		if fault != nil {
			for _, request := range requests {
				f := *fault
				f.Match, f.Times = match(request), 2
				p.Inject(f)
			}
		}
		cfg, err := live.ParseConnectionString(p.ConnectionString())
		if err != nil {
			t.Fatal(err)
		}
		w, err := live.OpenWriter(t.Context(), cfg, elsewhere, live.Options{
			MaxRetries: 8, RetryDelay: time.Millisecond, MaxRetryDelay: 5 * time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		report, err := migrate.Run(t.Context(), from, w, killing(t, from, new(journalFile)))
		if err != nil {
			t.Fatalf("%v: %+v", err, report.Differences)
		}
		if fault != nil {
			lines := p.Requests()
			for _, request := range requests {
				if n := count(lines, match(request)); n < 2 {
					t.Errorf("there were %d requests %s, want at least 2", n, request)
				}
			}
		}
		all := state(t, w)
		for _, queue := range []string{"elsewhere-control-00", "elsewhere-control-01", "elsewhere-control-02", "elsewhere-workitems"} {
			for _, m := range e.AllMessages(t, queue) {
				all = append(all, queue+" "+m.Text)
			}
		}
		return all
	}
	want := run(t, nil)
	for name, fault := range map[string]testhub.Fault{
		"throttled with 503":          {Kind: testhub.Throttle, RetryAfter: "0"},
		"throttled with 429":          {Kind: testhub.Status, Status: http.StatusTooManyRequests},
		"a server that fails":         {Kind: testhub.Status, Status: http.StatusInternalServerError},
		"connections lost before":     {Kind: testhub.Reset},
		"connections lost afterwards": {Kind: testhub.Lost},
		"answers that are not whole":  {Kind: testhub.LongLength},
	} {
		t.Run(name, func(t *testing.T) {
			got := run(t, &fault)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the hub (-undisturbed +disturbed):\n%s", diff)
			}
		})
	}
}

func count(lines []string, part string) int {
	n := 0
	for _, line := range lines {
		if strings.Contains(line, part) {
			n++
		}
	}
	return n
}
