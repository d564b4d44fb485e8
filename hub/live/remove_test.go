package live_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/live"
)

// One message goes, also one that a peek does not show; all others stay, and can be
// received at once.
func TestRemoveMessage(t *testing.T) {
	e, names, queue, texts := receivedHub(t, 70)
	ed := openEditor(t, config(t, e), names)
	for _, body := range []string{"0003", "0068"} {
		if err := ed.RemoveMessage(t.Context(), queue, body); err != nil {
			t.Fatal(err)
		}
		texts = slices.DeleteFunc(texts, func(s string) bool { return s == body })
		sights(t, e, queue, texts)
		inOrder(t, ed, queue, texts)
	}
	for _, absent := range []struct{ queue, body string }{
		{queue, "0003"}, {queue, "invisible"}, {names.ControlQueue(0), "0001"},
	} {
		if err := ed.RemoveMessage(t.Context(), absent.queue, absent.body); !errors.Is(err, hub.ErrNotFound) {
			t.Errorf("RemoveMessage(%q, %q) = %v, want %v", absent.queue, absent.body, err, hub.ErrNotFound)
		}
		sights(t, e, queue, texts)
		inOrder(t, ed, queue, texts)
	}
}

// inOrder checks that the messages of a queue are given out in this order.
func inOrder(t *testing.T, ed *live.Editor, queue string, texts []string) {
	t.Helper()
	var got []string
	for m, err := range ed.Messages(t.Context(), queue) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, m.Text)
	}
	if d := cmp.Diff(texts[:min(len(texts), 32)], got); d != "" {
		t.Errorf("messages (-want +got):\n%s", d)
	}
}

// Of two messages with the same body, one stays.
func TestRemoveMessageTwice(t *testing.T) {
	e, names, queue, _ := receivedHub(t, 0)
	ed := openEditor(t, config(t, e), names)
	for range 2 {
		e.Post(t, queue, "again", 0)
	}
	if err := ed.RemoveMessage(t.Context(), queue, "again"); err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, m := range e.AllMessages(t, queue) {
		left = append(left, m.Text)
	}
	if d := cmp.Diff([]string{"invisible", "again"}, left); d != "" {
		t.Errorf("left (-want +got):\n%s", d)
	}
}
