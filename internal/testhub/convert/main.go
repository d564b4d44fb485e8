// Convert makes the hubs under testdata from recordings of the framework, or
// from nothing:
//
//	go run ./internal/testhub/convert --from DUMP --task-hub-name NAME --out FILE.taskhub
//	go run ./internal/testhub/convert --all DUMPS --testdata testdata
//	go run ./internal/testhub/convert --generate ROWS --out FILE.taskhub
//
// The same input gives the same bytes. See testdata/README.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "convert:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("convert", flag.ContinueOnError)
	from := flags.String("from", "", "folder of one recording")
	name := flags.String("task-hub-name", "", "task hub in the recording")
	tracking := flags.String("tracking-prefix", "", "prefix of the tables in a tracking store")
	all := flags.String("all", "", "folder of all recordings")
	testdata := flags.String("testdata", "testdata", "where --all writes")
	rows := flags.Int("generate", 0, "number of history rows to make up")
	out := flags.String("out", "", "capture to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch {
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case *all != "":
		return convertAll(ctx, *all, *testdata)
	case *out == "":
		return errors.New("--out is missing")
	case *rows > 0:
		return testhub.Generate(*out, *rows)
	case *from == "" || *name == "":
		return errors.New("--from and --task-hub-name are missing")
	}
	return convert(ctx, *from, testhub.Recording{Names: hub.Names{TaskHub: *name, TrackingPrefix: *tracking}}, *out)
}

// convert replaces out.
func convert(ctx context.Context, from string, r testhub.Recording, out string) error {
	m, err := testhub.LoadRecording(from, r.Names)
	if err != nil {
		return err
	}
	if r.Uncounted {
		for _, q := range m.Content.Queues {
			m.Content.Unreadable = append(m.Content.Unreadable, hub.Unreadable{Artifact: "queue " + q.Name, Reason: "its invisible messages were not recorded"})
		}
	}
	if err := os.RemoveAll(out); err != nil {
		return err
	}
	return snapshot.Capture(ctx, out, m, snapshot.CaptureOptions{WriterOptions: testhub.CaptureTool})
}

func convertAll(ctx context.Context, from, testdata string) error {
	for _, r := range testhub.Recordings {
		dir := filepath.Join(from, filepath.FromSlash(r.Dump))
		if err := os.MkdirAll(filepath.Join(testdata, "hubs"), 0o777); err != nil {
			return err
		}
		if err := convert(ctx, dir, r, filepath.Join(testdata, "hubs", r.Name+".taskhub")); err != nil {
			return err
		}
		to := filepath.Join(testdata, "recorded", r.Name)
		if err := os.RemoveAll(to); err != nil {
			return err
		}
		if err := keepAnswers(dir, r, to); err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
	}
	return nil
}

// keepAnswers copies what a capture does not hold and tests compare with: the
// framework's own view of the hub, all messages, and calls of the management API
// with their answers.
func keepAnswers(dir string, r testhub.Recording, to string) error {
	for _, state := range []string{"state.json", "state-" + r.Names.TaskHub + ".json"} {
		err := keep(filepath.Join(dir, state), filepath.Join(to, "state.json"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, calls := range []string{"http-seed.jsonl", "http-read.jsonl", "js-read.jsonl", "http-write.jsonl", "js-write.jsonl"} {
		err := keep(filepath.Join(dir, calls), filepath.Join(to, calls))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "queues-all", "*.jsonl"))
	if err != nil {
		return err
	}
	slices.Sort(files)
	for _, f := range files {
		queue := strings.TrimSuffix(filepath.Base(f), ".jsonl")
		if queue != r.Names.WorkItemQueue() && !strings.HasPrefix(queue, r.Names.ControlQueuePrefix()) {
			continue
		}
		if err := keep(f, filepath.Join(to, "queues-all", queue+".jsonl")); err != nil {
			return err
		}
	}
	return nil
}

// keep copies a file, with zstd if it is large: the payloads in these files
// repeat at distances that gzip does not see.
func keep(from, to string) error {
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if len(data) > 16<<10 {
		z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression))
		if err != nil {
			return err
		}
		data, to = z.EncodeAll(data, nil), to+".zst"
		if err := z.Close(); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o777); err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o666)
}
