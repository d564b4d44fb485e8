package testhub_test

import (
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
)

var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func TestReceiver(t *testing.T) {
	hubtest.RunReceiver(t, func(_ testing.TB, c hubtest.Content) hubtest.Received { return testhub.NewReceiver(c, noon) })
}
