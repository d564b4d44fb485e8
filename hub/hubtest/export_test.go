package hubtest

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
)

// RunRecorded runs the suite up to the first check that fails and returns its
// failures in place of reporting them to t.
func RunRecorded(t testing.TB, opts Options, open Open) []string {
	rec := &recorder{TB: t}
	want := sample(!opts.ServiceValues)
	s := suite{opts: opts, want: want, open: open, r: open(t, sample(!opts.ServiceValues))}
	return recorded(rec, checks, func(c check) { c.run(&s, rec) })
}

// recorded runs checks up to the first that fails and returns what rec has of it.
func recorded[C any](rec *recorder, checks []C, run func(C)) []string {
	for _, c := range checks {
		var wg sync.WaitGroup
		wg.Add(1)
		go func() { // Fatal ends the goroutine
			defer wg.Done()
			run(c)
		}()
		wg.Wait()
		if len(rec.failures) > 0 {
			break
		}
	}
	return rec.failures
}

// recorder is a testing.TB that keeps failures.
type recorder struct {
	testing.TB
	mu       sync.Mutex
	failures []string
}

func (r *recorder) fail(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures = append(r.failures, text)
}

func (r *recorder) Helper()                           {}
func (r *recorder) Error(args ...any)                 { r.fail(fmt.Sprintln(args...)) }
func (r *recorder) Errorf(format string, args ...any) { r.fail(fmt.Sprintf(format, args...)) }

func (r *recorder) Fatal(args ...any) {
	r.fail(fmt.Sprintln(args...))
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.fail(fmt.Sprintf(format, args...))
	runtime.Goexit()
}
