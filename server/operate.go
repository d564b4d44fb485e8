package server

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// controls keeps the Control of a hub. It is made anew now and then: a hub that
// was deleted and made again can have another number of partitions, and a message
// that goes by the old one waits for ever.
type controls struct {
	mu      sync.Mutex
	control *manage.Control
	made    time.Time
}

// controlAge is how long a Control is used.
const controlAge = time.Minute

// control returns what operates the hub; it changes nothing of one that cannot be
// changed. It returns errNoHub if the hub is gone.
func (c *call) control() (*manage.Control, error) {
	k := &c.hub.controls
	now := c.s.opts.Now()
	k.mu.Lock()
	known, age := k.control, now.Sub(k.made)
	k.mu.Unlock()
	if known != nil && age >= 0 && age < controlAge {
		return known, nil
	}
	r, editor := c.hub.Reader, c.hub.Editor
	if c.hub.readOnly {
		r, editor = onePartition{r}, nil
	}
	made, err := manage.NewControl(c.r.Context(), r, editor, manage.ControlOptions{
		Now: c.s.opts.Now, Random: c.s.opts.Random, MaxPayloadBytes: c.s.opts.MaxPayloadBytes,
	})
	switch {
	case errors.Is(err, hub.ErrNotFound):
		return nil, errNoHub
	case err != nil:
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.control, k.made = made, now
	return made, nil
}

// onePartition is a hub that nothing is sent to: how many partitions it has makes
// no difference, and storage need not tell it.
type onePartition struct{ hub.Reader }

func (o onePartition) Info(ctx context.Context) (hub.Info, error) {
	info, err := o.Reader.Info(ctx)
	info.PartitionCount = 1
	return info, err
}

// operate does something with an instance, and answers that it is accepted.
func (c *call) operate(do func(ctx context.Context, k *manage.Control) (*manage.Sent, error)) {
	k, err := c.control()
	if err == nil {
		_, err = do(c.r.Context(), k)
	}
	c.operated(err)
}

// operated answers what an operation on an instance has come to.
func (c *call) operated(err error) {
	var argument *manage.ArgumentError
	switch {
	case errors.As(err, &argument):
		c.unlessOver(badArgument(argument.Error()))
	case err != nil:
		c.fail(err)
	case c.hub.readOnly:
		c.refuse()
	default:
		writeEmpty(c.w, http.StatusAccepted)
	}
}

// unlessOver answers with an exception, unless there is no such instance or it has
// ended, which the framework finds out first.
func (c *call) unlessOver(e *exception) {
	s, err := c.hub.query.Instance(c.r.Context(), c.first, manage.ShowNone)
	switch {
	case err != nil:
		c.fail(err)
	case s == nil:
		c.notFound()
	case s.Row.Status().Terminal():
		writeEmpty(c.w, http.StatusGone)
	default:
		e.write(c.w)
	}
}

func (c *call) terminate() {
	c.operate(func(ctx context.Context, k *manage.Control) (*manage.Sent, error) {
		return k.Terminate(ctx, c.first, c.query.optional("reason"))
	})
}

// suspend pauses an instance. One that is suspended already gets no second
// message, where the framework answers 500.
func (c *call) suspend() {
	c.operate(func(ctx context.Context, k *manage.Control) (*manage.Sent, error) {
		return k.Suspend(ctx, c.first, c.query.optional("reason"))
	})
}

func (c *call) resume() {
	c.operate(func(ctx context.Context, k *manage.Control) (*manage.Sent, error) {
		return k.Resume(ctx, c.first, c.query.optional("reason"))
	})
}

func (c *call) rewind() {
	c.operate(func(ctx context.Context, k *manage.Control) (*manage.Sent, error) {
		_, _, err := k.Rewind(ctx, c.first, manage.RewindOptions{Reason: c.query.optional("reason")})
		return nil, err
	})
}

// raise sends an event to an instance.
//
// Source: Functions extension 2.13.7, HttpApiHandler.cs:978-1020.
func (c *call) raise() {
	if !c.isJSON() {
		c.unlessOver(&exception{status: http.StatusBadRequest, message: "Only application/json request content is supported"})
		return
	}
	text, err := c.body()
	if err != nil {
		c.fail(err)
		return
	}
	if bad := checkJSON(text); bad != nil {
		c.unlessOver(bad)
		return
	}
	c.operate(func(ctx context.Context, k *manage.Control) (*manage.Sent, error) {
		return k.Raise(ctx, c.first, c.second, schema.Some(text))
	})
}

// isJSON reports whether the body is said to be JSON.
func (c *call) isJSON() bool {
	kind, _, err := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
		return false
	}
	return kind == "application/json"
}

// body returns the text of the body.
func (c *call) body() (string, error) {
	if c.r.Body == nil {
		return "", nil
	}
	var text strings.Builder
	_, err := io.Copy(&text, http.MaxBytesReader(c.w, c.r.Body, c.s.opts.MaxBodyBytes))
	if err != nil {
		return "", err
	}
	body := strings.TrimPrefix(text.String(), "\uFEFF")
	if !utf8.ValidString(body) {
		body = strings.ToValidUTF8(body, "\uFFFD")
	}
	return body, nil
}
