package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// taskHub is a recorded hub that is being cut down and damaged. The first thing
// that goes wrong stays in err, and what is looked for and not there comes back
// empty, so that a defect reads as a list of steps.
type taskHub struct {
	hubtest.Content
	messages map[string][]message // of each queue, in queue order
	finished schema.Ticks         // when the hub was recorded
	made     int                  // messages that were made up
	err      error
}

// message is a message of the recording, whether peeking showed it or not.
type message struct {
	schema.QueueMessage
	hidden bool
}

func (h *taskHub) fail(format string, args ...any) {
	if h.err == nil {
		h.err = fmt.Errorf(format, args...)
	}
}

// load reads a recording: its capture, and the messages that peeking did not
// show.
func load(ctx context.Context, testdata, name string) (h *taskHub, err error) {
	r, err := snapshot.Open(filepath.Join(testdata, "hubs", name+".taskhub"), snapshot.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	info, err := r.Info(ctx)
	if err != nil {
		return nil, err
	}
	h = &taskHub{finished: info.Finished, messages: make(map[string][]message)}
	h.Names, h.Account = info.Names, info.Account
	h.PartitionCount, h.PartitionCountFrom = info.PartitionCount, info.PartitionCountFrom
	h.Tables = make(map[hub.Table][]schema.Row)
	for _, t := range info.Tables {
		h.Tables[t.Table] = []schema.Row{} // it exists
		for row, err := range r.Rows(ctx, t.Table, hub.Keys{}) {
			if err != nil {
				return nil, err
			}
			h.Tables[t.Table] = append(h.Tables[t.Table], row.Clone())
		}
	}
	if h.Containers, err = r.Containers(ctx); err != nil {
		return nil, err
	}
	for _, c := range h.Containers {
		for b, err := range r.Blobs(ctx, c.Name, "") {
			if err != nil {
				return nil, err
			}
			data, err := r.ReadBlob(ctx, b.Container, b.Name, b.SizeBytes)
			if err != nil {
				return nil, err
			}
			h.Blobs = append(h.Blobs, hubtest.Blob{Blob: b, Data: data})
		}
	}
	queues, err := r.Queues(ctx)
	if err != nil {
		return nil, err
	}
	for _, q := range queues {
		h.messages[q.Name], err = h.loadQueue(filepath.Join(testdata, "recorded", name, "queues-all"), q.Name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", q.Name, err)
		}
	}
	return h, nil
}

// loadQueue reads all messages of a queue from the emulator's database. An empty
// queue has no file.
func (h *taskHub) loadQueue(dir, queue string) ([]message, error) {
	text, err := readPacked(filepath.Join(dir, queue+".jsonl"))
	if err != nil {
		return nil, err
	}
	var all []message
	s := bufio.NewScanner(bytes.NewReader(text))
	s.Buffer(nil, 8<<20)
	for s.Scan() {
		var v struct {
			MessageID       string `json:"messageId"`
			InsertionTime   time.Time
			ExpirationTime  time.Time
			TimeNextVisible int64 // milliseconds since 1970
			DequeueCount    int64
			Text            string
		}
		if err := json.Unmarshal(s.Bytes(), &v); err != nil {
			return nil, err
		}
		m := message{QueueMessage: schema.QueueMessage{
			Queue: queue, ID: v.MessageID, Text: v.Text, DequeueCount: v.DequeueCount,
			// Peeking tells whole seconds.
			InsertedAt: schema.TicksOf(v.InsertionTime.Truncate(time.Second)),
			ExpiresAt:  schema.TicksOf(v.ExpirationTime.Truncate(time.Second)),
		}}
		visible := time.UnixMilli(v.TimeNextVisible)
		m.hidden = visible.After(h.finished.Time()) && visible.After(v.InsertionTime)
		all = append(all, m)
	}
	return all, s.Err()
}

// readPacked reads a file that may be kept with zstd; nothing if there is none.
func readPacked(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return data, err
	}
	data, err = os.ReadFile(path + ".zst")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewReader(nil)
	if err != nil {
		return nil, err
	}
	defer z.Close()
	return z.DecodeAll(data, nil)
}

// save writes the hub as a capture at path, which it replaces.
func (h *taskHub) save(ctx context.Context, path string) error {
	if h.err != nil {
		return h.err
	}
	const peeked = 32 // messages that the service shows at most
	for name, messages := range h.messages {
		q := hubtest.Queue{Name: name, ApproximateCount: int64(len(messages))}
		for _, m := range messages {
			if !m.hidden && len(q.Messages) < peeked {
				q.Messages = append(q.Messages, m.QueueMessage)
			}
		}
		h.Queues = append(h.Queues, q)
	}
	if err := os.RemoveAll(path); err != nil {
		return err
	}
	m := testhub.NewMemory(h.Content)
	m.Started, m.Finished = h.finished, h.finished
	return snapshot.Capture(ctx, path, m, snapshot.CaptureOptions{
		WriterOptions: snapshot.WriterOptions{Tool: "taskhub internal/testhub/damage"},
	})
}

// keep drops all instances but these, with their messages and the blobs that
// nothing names any more.
func (h *taskHub) keep(instances ...string) {
	for _, table := range []hub.Table{hub.History, hub.Instances} {
		h.Tables[table] = slices.DeleteFunc(h.Tables[table], func(r schema.Row) bool {
			return !slices.Contains(instances, schema.InstanceID(r.PartitionKey))
		})
	}
	for _, id := range instances {
		h.instance(id)
	}
	used := make(map[string]bool)
	for queue, messages := range h.messages {
		h.messages[queue] = slices.DeleteFunc(messages, func(m message) bool {
			target, blob := h.target(m)
			if !slices.Contains(instances, target) {
				return true
			}
			used[blob] = true
			return false
		})
	}
	container := h.Names.LargeMessages()
	for _, table := range []hub.Table{hub.History, hub.Instances} {
		for _, r := range h.Tables[table] {
			for _, p := range r.Properties {
				text, ok := p.Value.Text()
				if !ok {
					continue
				}
				if name, ok := schema.ParseBlobURL(text, container); ok {
					used[name] = true
				}
				if strings.HasSuffix(p.Name, "BlobName") {
					used[schema.StoredBlobName(text)] = true
				}
			}
		}
	}
	h.Blobs = slices.DeleteFunc(h.Blobs, func(b hubtest.Blob) bool { return b.Container == container && !used[b.Name] })
	left := slices.ContainsFunc(h.Blobs, func(b hubtest.Blob) bool { return b.Container == container })
	if !left {
		h.Containers = slices.DeleteFunc(h.Containers, func(c hub.Container) bool { return c.Name == container })
	}
}

// target returns the instance that a message is for, and the blob that holds it
// if it is a large one.
func (h *taskHub) target(m message) (instanceID, blob string) {
	text, _, err := schema.MessageText(m.Text)
	if err != nil {
		h.fail("message %s: %w", m.ID, err)
		return "", ""
	}
	decoded, err := schema.DecodeMessage(text, m.ID)
	if err == nil && decoded.TaskMessage == nil {
		blob = schema.StoredBlobName(decoded.CompressedBlobName.Value)
		decoded, err = schema.DecodeMessage(h.text(blob), m.ID)
	}
	if err != nil {
		h.fail("message %s: %w", m.ID, err)
		return "", ""
	}
	instanceID, _ = decoded.Target()
	return instanceID, blob
}

// blob returns a blob of the container of large payloads.
func (h *taskHub) blob(name string) *hubtest.Blob {
	for i := range h.Blobs {
		if b := &h.Blobs[i]; b.Container == h.Names.LargeMessages() && b.Name == name {
			return b
		}
	}
	h.fail("no blob %s", name)
	return &hubtest.Blob{}
}

// text returns what is packed in a blob.
func (h *taskHub) text(blob string) string {
	z, err := gzip.NewReader(bytes.NewReader(h.blob(blob).Data))
	if err != nil {
		h.fail("blob %s: %w", blob, err)
		return ""
	}
	text, err := io.ReadAll(z)
	if err != nil {
		h.fail("blob %s: %w", blob, err)
	}
	return string(text)
}
