package server

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// start starts an orchestration.
//
// Source: Functions extension 2.13.7, HttpApiHandler.cs:857-899. Differences: all
// that is not JSON is refused with 400, where the framework answers 500 to JSON
// that is cut off; an instance that exists is 409 instead of 500; and how long to
// wait is checked before the start.
func (c *call) start() {
	text, err := c.body()
	if err != nil {
		c.fail(err)
		return
	}
	input := schema.Optional[string]{}
	if strings.TrimSpace(text) != "" {
		if bad := checkJSON(text); bad != nil {
			bad.write(c.w)
			return
		}
		input = schema.Optional[string]{Value: text, Set: strings.TrimSpace(text) != "null"}
	}
	if !named(c.s.opts.Functions, c.first) {
		badArgument(unknownFunction(c.first, "orchestrator", c.s.opts.Functions)).write(c.w)
		return
	}
	wait, bad := c.waiting()
	if bad == nil {
		bad = checkInstanceID(c.second)
	}
	if bad != nil {
		bad.write(c.w)
		return
	}
	version, _ := c.query.text("version")
	k, err := c.control()
	if err != nil {
		c.fail(err)
		return
	}
	started, err := k.Start(c.r.Context(), manage.StartOptions{Name: c.first, ID: c.second, Input: input, Version: version})
	if err != nil {
		c.fail(err)
		return
	}
	c.started(started, wait)
}

// restart starts an orchestration anew, by its own or by another ID.
//
// Source: Functions extension 2.13.7, HttpApiHandler.cs:901-947.
func (c *call) restart() {
	wait, bad := c.waiting()
	if bad != nil {
		bad.message = noInstance
		bad.write(c.w)
		return
	}
	if c.s.opts.Functions != nil {
		s, err := c.hub.query.Instance(c.r.Context(), c.first, manage.ShowNone)
		if err != nil {
			c.fail(err)
			return
		}
		if s != nil && !named(c.s.opts.Functions, s.Row.Name.Value) {
			notRestarted(unknownFunction(s.Row.Name.Value, "orchestrator", c.s.opts.Functions)).write(c.w)
			return
		}
	}
	k, err := c.control()
	if err != nil {
		c.fail(err)
		return
	}
	started, err := k.Restart(c.r.Context(), c.first, manage.RestartOptions{SameID: !c.query.truth("restartWithNewInstanceId", true)})
	var argument *manage.ArgumentError
	switch {
	case errors.Is(err, manage.ErrNoInstance):
		c.nothingToRestart()
	case errors.As(err, &argument):
		notRestarted(argument.Error()).write(c.w)
	case err != nil:
		c.fail(err)
	default:
		c.started(started, wait)
	}
}

func notRestarted(text string) *exception {
	e := badArgument(text)
	e.message = noInstance
	return e
}

// nothingToRestart says that there is no such instance, in the words of the
// framework.
func (c *call) nothingToRestart() {
	notRestarted("An orchestrastion with the instanceId " + c.first + " was not found.").write(c.w)
}

// named reports whether a function is one of those that are allowed, all if nil.
func named(allowed []string, name string) bool {
	return allowed == nil || slices.ContainsFunc(allowed, func(a string) bool { return strings.EqualFold(a, name) })
}

// unknownFunction says that an app has no such function, in the words of the
// framework.
func unknownFunction(name, kind string, allowed []string) string {
	return "The function '" + name + "' doesn't exist, is disabled, or is not an " + kind + " function. Additional info: " +
		"The following are the known " + kind + " functions: '" + strings.Join(allowed, "', '") + "'."
}

// checkInstanceID returns what the framework says of an ID that it does not start
// an orchestration with; an empty one is made up. It swaps the text and the name of
// the argument.
//
// Source: Functions extension 2.13.7, DurableClient.cs:178-217; recorded in the
// calls of hub functions-3.
func checkInstanceID(id string) *exception {
	var argument *manage.ArgumentError
	switch {
	case id == "" || !errors.As(manage.CheckInstanceID(id), &argument):
		return nil
	case schema.IsEntity(id):
		return badArgument("instanceId (Parameter 'Orchestration instance ids must not start with @.')")
	case !isPlainID(id):
		return badArgument(`instanceId (Parameter 'Orchestration instance ids must not contain /, \, #, ?, or control characters.')`)
	}
	return badArgument("Instance ID lengths must not exceed 256 characters.")
}

// isPlainID reports whether an ID has none of the characters that the framework
// refuses.
func isPlainID(id string) bool {
	return !strings.ContainsFunc(id, func(r rune) bool {
		return strings.ContainsRune(`/\#?`, r) || r < 0x20 || r >= 0x7F && r <= 0x9F
	})
}

// checkJSON returns what is wrong with a text that should be JSON.
func checkJSON(text string) *exception {
	if isJSON(text) {
		return nil
	}
	var any json.RawMessage
	err := json.Unmarshal([]byte(text), &any)
	if err == nil {
		return nil
	}
	return &exception{http.StatusBadRequest, invalidJSON, err.Error(), jsonException}
}

// waiting is how long to wait for the end of an instance that is started.
type waiting struct {
	timeout, interval time.Duration
	wanted            bool
}

const (
	// maxWait is how long anybody waits: the front end of an app in Azure ends a
	// request after that.
	maxWait = 230 * time.Second
	// minInterval is the shortest pause between two looks at an instance.
	minInterval = 100 * time.Millisecond
)

// waiting returns how long to wait. Without both parameters that is not at all.
func (c *call) waiting() (waiting, *exception) {
	timeout, ok1 := c.query.seconds("timeout")
	interval, ok2 := c.query.seconds("pollingInterval")
	switch {
	case !ok1 || !ok2:
		return waiting{}, nil
	case interval > timeout:
		return waiting{}, badArgument("Total timeout " + number(timeout) + " should be bigger than retry timeout " + number(interval))
	}
	return waiting{timeout: atMost(timeout, maxWait), interval: max(atMost(interval, maxWait), minInterval), wanted: true}, nil
}

func number(n float64) string { return strconv.FormatFloat(n, 'f', -1, 64) }

func atMost(seconds float64, limit time.Duration) time.Duration {
	return time.Duration(math.Max(0, math.Min(seconds, limit.Seconds())) * float64(time.Second))
}

// started answers that an instance was started, or with what has become of it if
// the client wants to wait for that.
//
// Source: Functions extension 2.13.7, HttpApiHandler.cs:196-280.
func (c *call) started(started *manage.Started, wait waiting) {
	if c.hub.readOnly {
		c.refuse()
		return
	}
	id := started.InstanceID
	if wait.wanted {
		status, err := c.ended(id, wait)
		if err != nil {
			c.fail(err)
			return
		}
		if status.Terminal() {
			c.outcome(id)
			return
		}
	}
	c.checkStatus(id)
}

// ended waits for the end of an instance and returns the status that it has seen
// last.
func (c *call) ended(id string, wait waiting) (status schema.Status, err error) {
	ctx, opts := c.r.Context(), &c.s.opts
	end := opts.Now().Add(wait.timeout)
	for {
		s, err := c.hub.query.Instance(ctx, id, manage.ShowNone)
		if err != nil {
			return schema.StatusUnknown, err
		}
		status = schema.StatusUnknown
		if s != nil {
			status = s.Row.Status()
		}
		left := end.Sub(opts.Now())
		if status.Terminal() || left <= 0 {
			return status, nil
		}
		err = waitAside(ctx, func() error { return opts.Wait(ctx, min(left, wait.interval)) })
		if err != nil {
			return status, err
		}
	}
}

// outcome answers with an instance that has ended: what has completed is only its
// output.
func (c *call) outcome(id string) {
	show := c.shown()
	s, err := c.hub.query.Instance(c.r.Context(), id, show.payloads())
	switch {
	case err != nil:
		c.fail(err)
	case s == nil: // purged meanwhile
		c.notFound()
	case s.Row.Status() == schema.StatusCompleted:
		c.problems(s.Problems)
		b := c.newBody(http.StatusOK)
		b.value(s.Output)
		b.end()
	default:
		c.state(s, show)
	}
}
