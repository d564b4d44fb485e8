package testhub

import (
	"testing"

	"github.com/taskhub-tools/taskhub/hub/hubtest"
)

func TestEditor(t *testing.T) {
	hubtest.RunEditor(t, func(_ testing.TB, c hubtest.Content) hubtest.Edited { return NewEditor(c) })
}
