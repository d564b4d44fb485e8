package migrate_test

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
)

// A run that is killed while it receives leaves messages hidden that exist nowhere
// else. The next one with its journal waits until they are in sight again.
func TestReceiveKilled(t *testing.T) {
	const name = "dtfx-2.9.1-backlog"
	// The clock of the target starts at the time of the recording.
	run := func(t *testing.T, from *testhub.Receiver, to *memoryTarget, n *notes, begun time.Time) error {
		opts := receiving(t, name, from)
		recorded := opts.Now()
		opts.Now = func() time.Time { return recorded.Add(time.Since(begun)) }
		opts.Journal = n.journal(t)
		opts.OnProgress = func(p migrate.Progress) {
			if p.Phase == migrate.PhaseReceive && p.Total < 0 {
				from.Advance(migrate.ReceiveHidden) // while it waits
			}
		}
		_, err := migrate.Run(t.Context(), from, to, opts)
		return err
	}
	whole, _ := receivable(t, name)
	requests := 0
	whole.Before = func(string, string) error { requests++; return nil }
	to := newMemoryTarget(elsewhere, receiving(t, name, nil).Now)
	if err := run(t, whole, to, new(notes), time.Now()); err != nil {
		t.Fatal(err)
	}
	want := to.everything()
	for k := range requests {
		from, _ := receivable(t, name)
		t.Run(fmt.Sprintf("request %d of %d", k, requests), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				left := k
				from.Before = func(string, string) error {
					if left--; left >= 0 {
						return nil
					}
					from.Killed = true
					return errKilled
				}
				begun, n := time.Now(), new(notes)
				to := newMemoryTarget(elsewhere, receiving(t, name, nil).Now)
				if err := run(t, from, to, n, begun); !errors.Is(err, errKilled) {
					t.Fatalf("Run that is killed = %v", err)
				}
				from.Before, from.Killed = nil, false
				if err := run(t, from, to, n, begun); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, to.everything()); diff != "" {
					t.Errorf("the hub (-undisturbed +killed):\n%s", diff)
				}
			})
		})
	}
}
