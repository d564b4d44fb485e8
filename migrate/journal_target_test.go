package migrate_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

// journalFile is a journal in memory.
type journalFile struct {
	text []byte
	// synced is what is on disk.
	synced int
	// before is called before each line is written; with its error only as much of
	// the line is written as it says. Nil does nothing.
	before func(line []byte) (n int, err error)
}

func (f *journalFile) Write(line []byte) (int, error) {
	n, err := len(line), error(nil)
	if f.before != nil {
		n, err = f.before(line)
	}
	f.text = append(f.text, line[:n]...)
	return n, err
}

func (f *journalFile) Sync() error  { f.synced = len(f.text); return nil }
func (f *journalFile) Close() error { return nil }

// read returns the journal with what the file holds.
func (f *journalFile) read(t testing.TB) *migrate.Journal {
	t.Helper()
	j, err := migrate.ReadJournal(bytes.NewReader(f.text), func() (migrate.JournalFile, error) { return f, nil })
	if err != nil {
		t.Fatalf("%v in\n%s", err, f.text)
	}
	return j
}

// lines returns what a journal has of each line: its type, and the phase.
func (f *journalFile) lines() []string {
	var all []string
	for line := range strings.Lines(string(f.text)) {
		words := strings.Split(line, `"`)
		name := words[3]
		if _, rest, ok := strings.Cut(line, `"phase":"`); ok {
			phase, _, _ := strings.Cut(rest, `"`)
			name += " " + phase
		}
		all = append(all, name)
	}
	return all
}

// unwritable is a target that does not exist and cannot be made.
type unwritable struct {
	hub.Reader
	hub.Writer
}

var errUnwritable = errors.New("not writable")

func (unwritable) CreateContainer(context.Context, string) error { return errUnwritable }

// begunJournal returns the journal of a run that could not write anything.
func begunJournal(t testing.TB, from hub.Reader, opts migrate.Options) *journalFile {
	t.Helper()
	f := new(journalFile)
	opts.Journal, opts.Resume = f.read(t), false
	none := testhub.NewMemory(hubtest.Content{Names: opts.Names})
	if _, err := migrate.Run(t.Context(), from, unwritable{Reader: none}, opts); !errors.Is(err, errUnwritable) {
		t.Fatalf("Run into nowhere = %v", err)
	}
	return f
}

// memoryTarget is a hub that is made, over plain data, and does what the service
// does. All of its messages can be looked at, but those that it shows are the first
// 32 that are visible.
type memoryTarget struct {
	names hub.Names
	now   func() time.Time
	// before is called before each change with its method and what it is about, and
	// after when it was made; their errors are returned. Nil does nothing.
	before, after func(method, what string) error

	mu         sync.Mutex
	tables     map[hub.Table]map[string]schema.Row
	queues     map[string][]memoryMessage
	containers map[string]map[string]hubtest.Blob
}

type memoryMessage struct {
	text  string
	due   schema.Ticks // zero if at once
	shown schema.Ticks
}

func newMemoryTarget(names hub.Names, now func() time.Time) *memoryTarget {
	return &memoryTarget{
		names: names, now: now, tables: make(map[hub.Table]map[string]schema.Row),
		queues: make(map[string][]memoryMessage), containers: make(map[string]map[string]hubtest.Blob),
	}
}

// memory returns a hub of what it holds.
func (m *memoryTarget) memory() *testhub.Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	c := hubtest.Content{Names: m.names, Account: "elsewhere", Tables: make(map[hub.Table][]schema.Row)}
	for table, rows := range m.tables {
		c.Tables[table] = slices.Collect(maps.Values(rows))
	}
	for name, messages := range m.queues {
		q := hubtest.Queue{Name: name, ApproximateCount: int64(len(messages))}
		if strings.HasPrefix(name, m.names.ControlQueuePrefix()) {
			c.PartitionCount++
		}
		now := schema.TicksOf(m.now())
		for n, message := range messages {
			if message.shown <= now && len(q.Messages) < 32 {
				q.Messages = append(q.Messages, schema.QueueMessage{Queue: name, ID: fmt.Sprint(n), Text: message.text, ExpiresAt: schema.MaxTicks})
			}
		}
		c.Queues = append(c.Queues, q)
	}
	if n := len(c.Tables[hub.Partitions]); n > 0 {
		c.PartitionCount = n
	}
	for name, blobs := range m.containers {
		c.Containers = append(c.Containers, hub.Container{Name: name})
		c.Blobs = slices.AppendSeq(c.Blobs, maps.Values(blobs))
	}
	return testhub.NewMemory(c)
}

// change makes a change.
func (m *memoryTarget) change(ctx context.Context, method, what string, do func() error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if m.before != nil {
		if err := m.before(method, what); err != nil {
			return err
		}
	}
	m.mu.Lock()
	err := do()
	m.mu.Unlock()
	if err == nil && m.after != nil {
		err = m.after(method, what)
	}
	return err
}

func (m *memoryTarget) CreateTable(ctx context.Context, table hub.Table) error {
	return m.change(ctx, "CreateTable", table.String(), func() error {
		if m.tables[table] == nil {
			m.tables[table] = make(map[string]schema.Row)
		}
		return nil
	})
}

func (m *memoryTarget) CreateQueue(ctx context.Context, queue string) error {
	return m.change(ctx, "CreateQueue", queue, func() error {
		m.queues[queue] = append([]memoryMessage{}, m.queues[queue]...)
		return nil
	})
}

func (m *memoryTarget) CreateContainer(ctx context.Context, container string) error {
	return m.change(ctx, "CreateContainer", container, func() error {
		if m.containers[container] == nil {
			m.containers[container] = make(map[string]hubtest.Blob)
		}
		return nil
	})
}

func (m *memoryTarget) PutRows(ctx context.Context, table hub.Table, rows []schema.Row) error {
	return m.change(ctx, "PutRows", table.String(), func() error {
		if m.tables[table] == nil {
			return hub.ErrNotFound
		}
		for _, row := range rows {
			if row.PartitionKey != rows[0].PartitionKey || len(rows) > hub.MaxBatchRows {
				return fmt.Errorf("%d rows are no transaction", len(rows))
			}
			m.tables[table][row.PartitionKey+"\x00"+row.RowKey] = row.Clone()
		}
		return nil
	})
}

func (m *memoryTarget) PutBlob(ctx context.Context, b hub.Blob, data []byte) error {
	return m.change(ctx, "PutBlob", b.Container+"/"+b.Name, func() error {
		if m.containers[b.Container] == nil {
			return hub.ErrNotFound
		}
		sum := md5.Sum(data)
		b.Name, b.SizeBytes, b.ContentMD5 = schema.StoredBlobName(b.Name), int64(len(data)), sum[:]
		m.containers[b.Container][b.Name] = hubtest.Blob{Blob: b, Data: slices.Clone(data)}
		return nil
	})
}

func (m *memoryTarget) PutMessage(ctx context.Context, queue, text string, delay time.Duration) error {
	return m.change(ctx, "PutMessage", queue, func() error {
		if m.queues[queue] == nil {
			return hub.ErrNotFound
		}
		now := schema.TicksOf(m.now())
		message := memoryMessage{text: text}
		if delay > 0 {
			message.due = now + schema.Ticks(delay/100)
			message.shown = now + schema.Ticks(delay.Truncate(time.Second)/100)
		}
		m.queues[queue] = append(m.queues[queue], message)
		return nil
	})
}

func (m *memoryTarget) ClearQueue(ctx context.Context, queue string) error {
	return m.change(ctx, "ClearQueue", queue, func() error {
		if m.queues[queue] == nil {
			return hub.ErrNotFound
		}
		m.queues[queue] = []memoryMessage{}
		return nil
	})
}

func (m *memoryTarget) Info(ctx context.Context) (hub.Info, error) { return m.memory().Info(ctx) }

func (m *memoryTarget) Rows(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	return m.memory().Rows(ctx, table, keys)
}

func (m *memoryTarget) Split(ctx context.Context, table hub.Table, n int) ([]hub.Keys, error) {
	return m.memory().Split(ctx, table, n)
}

func (m *memoryTarget) Queues(ctx context.Context) ([]hub.Queue, error) {
	return m.memory().Queues(ctx)
}

func (m *memoryTarget) Messages(ctx context.Context, queue string) iter.Seq2[schema.QueueMessage, error] {
	return m.memory().Messages(ctx, queue)
}

func (m *memoryTarget) Containers(ctx context.Context) ([]hub.Container, error) {
	return m.memory().Containers(ctx)
}

func (m *memoryTarget) Blobs(ctx context.Context, container, prefix string) iter.Seq2[hub.Blob, error] {
	return m.memory().Blobs(ctx, container, prefix)
}

func (m *memoryTarget) ReadBlob(ctx context.Context, container, name string, limit int64) ([]byte, error) {
	return m.memory().ReadBlob(ctx, container, name, limit)
}

func (m *memoryTarget) Close() error { return nil }

// everything returns all that it holds, messages with the time when they are due.
func (m *memoryTarget) everything() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []string
	for table, rows := range m.tables {
		all = append(all, table.String())
		for _, row := range rows {
			row.Timestamp, row.ETag = 0, ""
			all = append(all, table.String()+" "+string(row.AppendJSON(nil)))
		}
	}
	for name, blobs := range m.containers {
		all = append(all, name)
		for _, b := range blobs {
			all = append(all, fmt.Sprintf("%s/%s %s %x", name, b.Name, b.ContentType, b.Data))
		}
	}
	for name, messages := range m.queues {
		all = append(all, name)
		for _, message := range messages {
			all = append(all, fmt.Sprintf("%s due %s: %s", name, message.due, message.text))
		}
	}
	slices.SortFunc(all, cmp.Compare)
	return all
}
