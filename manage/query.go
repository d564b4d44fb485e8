package manage

import (
	"context"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Options tunes a [Query]. The zero value is ready.
type Options struct {
	// MaxPayloadBytes is the longest payload that is read; 0 means
	// [hub.DefaultPayloadBytes]. A longer one is a problem of its instance.
	MaxPayloadBytes int64
}

// Query asks one hub about its instances. It may be used concurrently.
type Query struct {
	r         hub.Reader
	opts      Options
	container string // of large messages
}

// New returns a Query of a hub. It returns [hub.ErrNotFound] if nothing of the
// hub exists.
func New(ctx context.Context, r hub.Reader, opts Options) (*Query, error) {
	info, err := r.Info(ctx)
	if err != nil {
		return nil, err
	}
	return &Query{r: r, opts: opts, container: info.Names.LargeMessages()}, nil
}

// Show says which payloads of an instance are loaded; the others are null in
// the answer.
type Show uint8

// The payloads.
const (
	ShowInput Show = 1 << iota
	ShowOutput

	ShowNone Show = 0
	ShowAll       = ShowInput | ShowOutput
)

// Instance returns the state of one instance, or nil if it has no row.
func (q *Query) Instance(ctx context.Context, id string, show Show) (*State, error) {
	for row, err := range q.r.Rows(ctx, hub.Instances, hub.Partition(schema.EscapeKey(id))) {
		if err != nil {
			return nil, err
		}
		s, err := q.state(ctx, &row, show)
		return &s, err
	}
	return nil, nil
}
