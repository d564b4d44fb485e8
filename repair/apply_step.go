package repair

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
	"github.com/taskhub-tools/taskhub/verify"
)

// check decides whether a repair is carried out.
func (a *applier) check(ctx context.Context, i int, before map[about]bool) error {
	rep := &a.f.Repairs[i]
	a.report.Results = append(a.report.Results, Result{InstanceID: rep.InstanceID, Codes: rep.Codes(), Outcome: Done})
	result := &a.report.Results[i]
	outcome, reason, err := a.outcome(ctx, i, before)
	result.Outcome, result.Reason, a.state[i].ready = outcome, reason, outcome == Done
	return err
}

func (a *applier) outcome(ctx context.Context, i int, before map[about]bool) (Outcome, string, error) {
	rep := &a.f.Repairs[i]
	ready := 0
	for n := range rep.Writes {
		w := &rep.Writes[n]
		now, err := readRow(ctx, a.r, w.place())
		switch {
		case err != nil:
			return Skipped, "", err
		case equal(now, w.After):
			ready++
		case !equal(now, w.Before):
			return Skipped, changed(w.place()), nil
		}
	}
	begun := a.state[i].begun
	if ready == len(rep.Writes) && ready > 0 && len(rep.Messages)+len(rep.Removals) == 0 {
		return Already, "the rows are as they are to be", nil
	}
	for n := range rep.Expects {
		if reason, err := a.expected(ctx, &rep.Expects[n]); err != nil || reason != "" {
			return Skipped, reason, err
		}
	}
	if a.f.BlobEndpoint != "" && a.e != nil {
		container := a.info.Names.LargeMessages()
		if want := a.e.BlobURL(container, "x"); want != schema.BlobURL(a.f.BlobEndpoint, container, "x") && rep.names(a.f.BlobEndpoint) {
			return Skipped, "its rows would name payloads at " + a.f.BlobEndpoint + ", and those of this account are elsewhere: make the plan from the account", nil
		}
	}
	if a.f.Kind == KindPlan && !begun && !slices.ContainsFunc(rep.Findings, func(f verify.Finding) bool { return before[aboutOf(&f)] }) {
		return Already, "its findings are gone: it has mended itself, or was repaired, or can no longer be told", nil
	}
	return a.messagesReady(ctx, i)
}

// messagesReady reports whether the messages that are taken out are there, and can be
// taken, and whether payloads can be stored.
func (a *applier) messagesReady(ctx context.Context, i int) (Outcome, string, error) {
	rep, st := &a.f.Repairs[i], &a.state[i]
	switch {
	case len(rep.Removals) > 0 && a.opts.Remover == nil && a.e != nil:
		return Skipped, "there is no way to take a message out of a queue", nil
	case st.begun:
		return Done, "", nil
	}
	for n := range rep.Messages {
		if b := rep.Messages[n].Blob; b != nil {
			if reason, err := a.blobReady(ctx, b); err != nil || reason != "" {
				return Skipped, reason, err
			}
		}
	}
	left := 0
	for n := range rep.Writes {
		now, err := readRow(ctx, a.r, rep.Writes[n].place())
		if err != nil {
			return Skipped, "", err
		}
		if !equal(now, rep.Writes[n].After) {
			left++
		}
	}
	undone := func(n int) bool { return a.f.Kind == KindUndo && a.opts.Journal != nil && a.opts.Journal.former[n] }
	for _, n := range st.steps {
		s := &a.steps[n]
		switch m := s.removal; {
		case undone(n), s.write != nil:
		case s.message != nil:
			if !a.isBack(s.message) {
				left++
			}
		case a.sees(m.Queue, m.Text, m.Encoding):
			left++
		case len(rep.Messages) > 0:
			return Skipped, "a message can no longer be seen in " + m.Queue, nil
		default:
			st.note = "a message cannot be taken back: it is hidden until it is due, or a worker has taken it"
		}
	}
	switch {
	case left > 0:
		return Done, "", nil
	case st.note != "":
		return Skipped, st.note, nil
	}
	return Already, "everything is as it is to be", nil
}

// isBack reports whether a message that an undo is to put back is where it was: the
// run that was to take it out may have been cut off before.
func (a *applier) isBack(m *Message) bool {
	return a.f.Kind == KindUndo && a.sees(m.Queue, m.Text, m.Encoding)
}

// sees reports whether a message could be seen when the run began.
func (a *applier) sees(queue, text string, e Encoding) bool {
	return slices.Contains(a.visible[queue], body(text, e))
}

// blobReady reports whether a payload can be stored without replacing another one.
func (a *applier) blobReady(ctx context.Context, b *BlobText) (string, error) {
	container, name := a.info.Names.LargeMessages(), schema.StoredBlobName(b.Name)
	exists, err := hasBlob(ctx, a.r, container, name)
	if err != nil || !exists {
		return "", err
	}
	text, err := hub.LoadText(ctx, a.r, container, name, a.opts.MaxBlobBytes)
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil || text != b.Text {
		return "there is another payload called " + name, nil
	}
	return "", nil
}

// names reports whether a row that is written has an address that begins so.
func (r *Repair) names(endpoint string) bool {
	for i := range r.Writes {
		if r.Writes[i].After == nil {
			continue
		}
		for _, column := range r.Writes[i].Columns {
			text, ok := r.Writes[i].After.Get(column).Text()
			if ok && len(text) > len(endpoint) && text[:len(endpoint)+1] == endpoint+"/" {
				return true
			}
		}
	}
	return false
}

func changed(at place) string { return "row " + at.String() + " has changed since the plan was made" }

// equal reports whether a row has the content that a file shows.
func equal(now *schema.Row, want *Row) bool {
	if now == nil || want == nil {
		return now == nil && want == nil
	}
	return schema.SameProperties(now, &want.Row)
}

// expected returns why a row is not as it has to be. One that the file itself writes
// may have been written.
func (a *applier) expected(ctx context.Context, w *Witness) (string, error) {
	at := w.place()
	now, err := readRow(ctx, a.r, at)
	if err != nil || digest(now) == w.SHA256 {
		return "", err
	}
	if own := a.written[at]; own != nil && equal(now, own.After) {
		return "", nil
	}
	return changed(at), nil
}

// isMade reports whether a step was made by an earlier run, or why it cannot be.
func (a *applier) isMade(ctx context.Context, n int, s *step) (made bool, reason string, err error) {
	j := a.opts.Journal
	switch {
	case s.write != nil:
		now, err := readRow(ctx, a.r, s.write.place())
		if err != nil {
			return false, "", err
		}
		if made = equal(now, s.write.After); !made && !equal(now, s.write.Before) {
			reason = changed(s.write.place())
		}
		return made, reason, nil
	case j.done[n]:
		return true, "", nil
	case s.message != nil && a.isBack(s.message):
		return true, "", nil
	case s.message != nil && j.begun[n]:
		// The run before was cut off when it was being sent.
		return a.sees(s.message.Queue, s.message.Text, s.message.Encoding), "", nil
	case s.removal != nil && !a.sees(s.removal.Queue, s.removal.Text, s.removal.Encoding):
		if until := j.removing[n].Time().Add(RemoveHidden); j.begun[n] && a.hidden[s.removal.Queue] && a.opts.Now().Before(until) {
			a.waits = true
			return false, fmt.Sprintf("a message of %s may be hidden by the run that was cut off: go on after %s", s.removal.Queue, schema.TicksOf(until)), nil
		}
		return j.begun[n] || a.f.Kind == KindUndo, "", nil
	}
	return false, "", nil
}

// make makes one change, or says why somebody else has been faster.
func (a *applier) make(ctx context.Context, s *step) (reason string, err error) {
	switch {
	case s.write != nil:
		err = a.writeRow(ctx, s.write)
		if errors.Is(err, hub.ErrConflict) || errors.Is(err, hub.ErrNotFound) {
			return changed(s.write.place()), nil
		}
		return "", err
	case s.message != nil:
		return "", a.send(ctx, s.message)
	}
	err = a.opts.Remover.RemoveMessage(ctx, s.removal.Queue, body(s.removal.Text, s.removal.Encoding))
	if errors.Is(err, hub.ErrNotFound) {
		return "a message is no longer in " + s.removal.Queue + ": somebody has taken it", nil
	}
	if err == nil && s.removal.Blob != nil {
		err = a.e.DeleteBlob(ctx, a.info.Names.LargeMessages(), s.removal.Blob.Name)
		if errors.Is(err, hub.ErrNotFound) {
			err = nil
		}
	}
	return "", err
}

// writeRow writes a row in the version that it has now, which was found to be the one
// to write, or returns [hub.ErrConflict].
func (a *applier) writeRow(ctx context.Context, w *Write) error {
	at := w.place()
	now, err := readRow(ctx, a.r, at)
	if err != nil {
		return err
	}
	switch {
	case !equal(now, w.Before):
		return hub.ErrConflict
	case now == nil:
		_, err = a.e.InsertRow(ctx, at.table, bare(w.After))
	case w.After == nil:
		err = a.e.DeleteRows(ctx, at.table, []schema.Row{*now})
	default:
		row := bare(w.After)
		row.ETag = now.ETag
		_, err = a.e.ReplaceRow(ctx, at.table, row)
	}
	return err
}

// bare returns a row without what the service sets.
func bare(r *Row) schema.Row {
	row := r.Clone()
	row.Timestamp, row.ETag = 0, ""
	return row
}

// send stores the payload of a message and puts the message into its queue.
func (a *applier) send(ctx context.Context, m *Message) error {
	if m.Blob != nil {
		if err := a.putBlob(ctx, m.Blob); err != nil {
			return err
		}
	}
	due, err := m.due()
	if err != nil {
		return err
	}
	var delay time.Duration
	if due != 0 {
		delay = min(max(0, due.Time().Sub(a.opts.Now())), hub.MaxMessageDelay)
	}
	return a.e.PutMessage(ctx, m.Queue, body(m.Text, m.Encoding), delay)
}

func (a *applier) putBlob(ctx context.Context, b *BlobText) error {
	container := a.info.Names.LargeMessages()
	blob, packed, err := hub.PackText(container, b.Name, []byte(b.Text))
	if err != nil {
		return err
	}
	err = a.e.PutBlob(ctx, blob, packed)
	if !errors.Is(err, hub.ErrNotFound) {
		return err
	}
	if err := a.e.CreateContainer(ctx, container); err != nil {
		return fmt.Errorf("make the container of payloads: %w", err)
	}
	return a.e.PutBlob(ctx, blob, packed)
}
