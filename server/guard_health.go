package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// healthPath is where a load balancer or a person asks whether the server can do
// its work.
const healthPath = "/healthz"

const (
	healthOK      = "ok"
	healthFailing = "failing"

	// A hub is looked at when somebody asks, and then not for healthAge: it is
	// about six requests to storage, which anybody may cause. healthTime is how long
	// that may take.
	healthAge  = 10 * time.Second
	healthTime = 5 * time.Second
)

// health is what is known of whether a hub can be read.
type health struct {
	mu     sync.Mutex
	looked time.Time
	err    error
}

// health answers 200 if all hubs can be read and 503 otherwise, with which hubs
// those are for clients that could see them anyway.
func (s *Server) health(w http.ResponseWriter, r *http.Request, key bool) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		writeEmpty(w, http.StatusMethodNotAllowed)
		return
	}
	status, code := healthOK, http.StatusOK
	var list []byte
	for i, h := range s.hubs {
		of := healthOK
		err := h.health.look(r.Context(), s.opts.Now(), h, s.opts.Logger)
		if err != nil {
			of, status, code = healthFailing, healthFailing, http.StatusServiceUnavailable
		}
		if i > 0 {
			list = append(list, ',')
		}
		list = append(list, `{"task_hub":`...)
		list = schema.AppendJSONString(list, h.name())
		list = append(list, `,"connection":`...)
		list = schema.AppendJSONString(list, h.Connection)
		list = append(list, `,"status":"`+of+`"`...)
		if err != nil {
			list = append(list, `,"reason":"`+healthReason(err)+`"`...)
		}
		list = append(list, '}')
	}
	body := []byte(`{"status":"` + status + `"`)
	if key {
		body = append(append(append(body, `,"hubs":[`...), list...), ']')
	}
	writeJSON(w, code, append(body, '}'))
}

// look returns the error with which a hub cannot be read, as of a short time ago.
func (h *health) look(ctx context.Context, now time.Time, of *served, log *slog.Logger) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if age := now.Sub(h.looked); !h.looked.IsZero() && age >= 0 && age < healthAge {
		return h.err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthTime)
	defer cancel()
	_, err := of.Reader.Info(ctx)
	if err == nil {
		// A capture knows itself without reading: look at a row, of which there need
		// not be any.
		for _, failed := range of.Reader.Rows(ctx, hub.Instances, hub.Partition("healthz")) {
			err = failed
			break
		}
	}
	if (err == nil) != (h.err == nil) {
		if err != nil {
			log.LogAttrs(ctx, slog.LevelError, "a hub cannot be read", slog.String("task_hub", of.name()), slog.String("error", err.Error()))
		} else {
			log.LogAttrs(ctx, slog.LevelInfo, "a hub can be read again", slog.String("task_hub", of.name()))
		}
	}
	h.looked, h.err = now, err
	return err
}

// healthReason says why in words that tell nothing of the account.
func healthReason(err error) string {
	switch {
	case errors.Is(err, hub.ErrNotFound):
		return "not found"
	case errors.Is(err, hub.ErrUnauthorized):
		return "not authorised"
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	}
	return "cannot be read"
}
