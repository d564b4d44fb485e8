package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// readOnlyMessage says that nothing can be changed.
const readOnlyMessage = "read-only snapshot"

// refuse answers that nothing can be changed. It comes after everything else that
// speaks against a request.
func (c *call) refuse() { writeMessage(c.w, http.StatusForbidden, readOnlyMessage) }

// deleted answers with the number of instances that a purge has deleted.
func (c *call) deleted(n int64) {
	writeJSON(c.w, http.StatusOK, []byte(`{"instancesDeleted":`+strconv.FormatInt(n, 10)+`}`))
}

func (c *call) purger(opts manage.PurgeOptions) (*manage.Purger, error) {
	opts.MaxPayloadBytes = c.s.opts.MaxPayloadBytes
	editor := c.hub.Editor
	if c.hub.readOnly {
		editor = nil
	}
	p, err := manage.NewPurger(c.r.Context(), c.hub.Reader, editor, opts)
	if errors.Is(err, hub.ErrNotFound) {
		return nil, errNoHub
	}
	return p, err
}

// purge deletes one instance, whatever its status.
//
// Source: Functions extension 2.13.7, HttpApiHandler.cs:554-567.
func (c *call) purge() {
	s, err := c.hub.query.Instance(c.r.Context(), c.first, manage.ShowNone)
	switch {
	case err != nil:
		c.fail(err)
		return
	case s == nil:
		c.notFound()
		return
	case c.hub.readOnly:
		c.refuse()
		return
	}
	p, err := c.purger(manage.PurgeOptions{Force: true})
	if err != nil {
		c.fail(err)
		return
	}
	done, err := p.Instance(c.r.Context(), c.first)
	if err != nil {
		c.fail(err)
		return
	}
	c.deleted(done.Instances)
}

// purgeMany deletes the instances of a time that have ended.
//
// Source: Functions extension 2.13.7, HttpApiHandler.cs:569-596. Differences: of
// statuses that are not those of an instance that has ended, nothing is deleted,
// where the framework deletes everything; a status that there is not is refused,
// where the framework passes it over and deletes more.
func (c *call) purgeMany() {
	from, ok := c.purgeFrom()
	if !ok {
		return
	}
	to, ok := c.query.time("createdTimeTo")
	if !ok {
		to = schema.TicksOf(c.s.opts.Now())
	}
	statuses, unknown := c.query.statuses("runtimeStatus")
	if len(unknown) > 0 {
		badArgument("There is no status " + strings.Join(unknown, ", ") + ".").write(c.w)
		return
	}
	p, err := c.purger(manage.PurgeOptions{})
	if err != nil {
		c.fail(err)
		return
	}
	n, err := c.purgeMatching(p, manage.Filter{CreatedFrom: from, CreatedTo: to, Statuses: statuses})
	switch {
	case err != nil && !errors.Is(err, manage.ErrNoneEnded):
		c.fail(err)
	case n == 0:
		c.notFound()
	case c.hub.readOnly:
		c.refuse()
	default:
		c.deleted(n)
	}
}

// purgeFrom returns the time from which instances are purged. Without one it
// answers the request.
func (c *call) purgeFrom() (from schema.Ticks, ok bool) {
	if from, ok = c.query.time("createdTimeFrom"); !ok {
		writeJSON(c.w, http.StatusBadRequest, []byte(`"Please provide value for 'createdTimeFrom' parameter."`))
	}
	return from, ok
}

// nothingToPurge answers for a hub that is not there.
func (c *call) nothingToPurge() {
	if _, ok := c.purgeFrom(); ok {
		c.notFound()
	}
}

// purgeMatching returns how many instances it has deleted; of a hub that cannot be
// changed, whether there is one that it would delete. One that goes wrong is
// logged and stays, as with the framework.
func (c *call) purgeMatching(p *manage.Purger, f manage.Filter) (n int64, err error) {
	ctx := c.r.Context()
	if c.hub.readOnly {
		for _, err := range p.Matching(ctx, f) {
			return 1, err
		}
		return 0, nil
	}
	// The version of a row, which has no line end, before the ID.
	chosen := func(yield func(string, error) bool) {
		for m, err := range p.Matching(ctx, f) {
			if !yield(m.Version+"\n"+m.InstanceID, err) {
				return
			}
		}
	}
	purge := func(ctx context.Context, entry string) (manage.Purged, error) {
		version, id, _ := strings.Cut(entry, "\n")
		return p.Candidate(ctx, manage.Candidate{InstanceID: id, Version: version})
	}
	for r, err := range manage.Bulk(ctx, chosen, manage.BulkOptions{}, purge) {
		if err != nil {
			return n, err
		}
		n += r.Value.Instances
		if r.Err != nil {
			c.s.opts.Logger.LogAttrs(ctx, slog.LevelWarn, "an instance was not purged", slog.String("error", r.Err.Error()))
		}
	}
	return n, nil
}
