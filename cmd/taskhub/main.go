// Command taskhub looks into Durable Functions task hubs on the level of their
// storage. "taskhub help" lists what it can do.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

// Nearly all commands hold a few megabytes and go through gigabytes. By default
// so small a heap is collected many times a second, which takes a tenth of the
// time; it may be a few times larger, as long as it stays small.
const (
	gcPercent   = 400
	memoryLimit = 200 << 20
)

func main() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(gcPercent)
		debug.SetMemoryLimit(memoryLimit)
	}
	// A closed pipe is then an error of the write, and a file half written is
	// cleaned up like after any other.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	code := run(ctx, os.Args, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
