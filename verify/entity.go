package verify

import (
	"context"
	"fmt"
	"strings"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// entityState returns the scheduler state of an entity, nil if there is none or
// it cannot be read.
func (v *run) entityState(ctx context.Context, id string) (*schema.EntityState, error) {
	h, err := v.history(ctx, id)
	if err != nil {
		return nil, err
	}
	return v.decodeState(ctx, h)
}

func (v *run) decodeState(ctx context.Context, h *replay.History) (*schema.EntityState, error) {
	if h.Live.Started == nil {
		return nil, nil
	}
	input := h.Live.Started.Input
	text := input.Value
	if input.Blob != "" {
		loaded, err := hub.LoadText(ctx, v.r, v.container, schema.StoredBlobName(input.Blob), v.opts.MaxBlobBytes)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			return nil, nil // see blob-missing
		}
		text = loaded
	}
	if text == "" {
		return nil, nil
	}
	state, err := schema.DecodeEntityState(text)
	if err != nil {
		return nil, nil
	}
	return &state, nil
}

// lock looks for the owner of an entity's lock.
//
// Source: durabletask 2.9.1, EntityTrackingStoreQueries.cs:124-209.
func (v *run) lock(ctx context.Context, s *subject) error {
	if !schema.IsEntity(s.id) || !v.wants(codeEntityLockOrphan) || !s.live() {
		return nil
	}
	if in := s.h.Live.Started.Input; in.Blob == "" && !strings.Contains(in.Value, `"lockedBy"`) {
		return nil
	}
	state, err := v.decodeState(ctx, s.h)
	if err != nil || state == nil || state.LockedBy.Value == "" {
		return err
	}
	owner := state.LockedBy.Value
	why, err := v.unheld(ctx, s.id, owner)
	if err != nil || why == "" {
		return err
	}
	for _, m := range v.messages.forInstance(s.id) {
		if e, ok := m.Event.(*schema.EventRaised); ok && e.Name.Value == "release" && (m.Request == nil || m.Request.Parent.Value == owner) {
			return nil
		}
	}
	f := Finding{
		Code:   codeEntityLockOrphan,
		Detail: fmt.Sprintf("the entity is locked by %s, which %s, and no release is queued", owner, why),
		At: []Place{
			historyRow(s.key, schema.FormatSequence(s.h.Live.FirstSequence+1), "Input"), instanceRow(schema.EscapeKey(owner), ""),
		},
	}
	switch apart := v.apart(s); {
	case apart != "":
		s.unknown(codeEntityLockOrphan, apart)
	case v.moving():
		s.unknown(codeEntityLockOrphan, whyMoving)
	case v.messages.hiddenFor(s.id) > 0:
		s.unknown(codeEntityLockOrphan, "the release may be among the messages that are hidden")
	default:
		s.violated(f)
	}
	return nil
}

// unheld says why the owner of a lock will not release it, empty if it holds it.
func (v *run) unheld(ctx context.Context, entity, owner string) (string, error) {
	row, err := v.instance(ctx, owner)
	if err != nil {
		return "", err
	}
	h, err := v.history(ctx, owner)
	if err != nil {
		return "", err
	}
	switch {
	case row == nil && h.Live.Events == 0:
		return "does not exist", nil
	case h.Live.Events == 0 && !row.Status().Terminal():
		return "has not begun", nil
	case h.Live.Events == 0:
		return "is " + row.Status().String(), nil
	case h.Live.Status.Terminal():
		return "is " + h.Live.Status.String(), nil
	}
	for i := range h.Live.Open {
		o := &h.Live.Open[i]
		// Of several entities, some are locked while the request goes on to the next.
		if o.Kind == replay.OpenLock && o.InstanceID == entity || o.Kind == replay.OpenLockRequest {
			return "", nil
		}
	}
	return "does not hold it", nil
}
