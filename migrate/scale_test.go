package migrate_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/snapshot"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

// heap is the largest heap that was seen.
type heap struct {
	mu   sync.Mutex
	n    int
	peak uint64
}

func (h *heap) look() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.n++; h.n%64 != 1 {
		return
	}
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	h.peak = max(h.peak, sample[0].Value.Uint64())
}

// rowSum is a sum of the hashes of rows, in whatever order they come.
type rowSum struct {
	count int64
	sum   [4]uint64
}

func (s *rowSum) add(row *schema.Row) {
	r := *row
	r.Timestamp, r.ETag = 0, ""
	hash := sha256.Sum256(r.AppendJSON(nil))
	s.count++
	for i := range s.sum {
		s.sum[i] += binary.LittleEndian.Uint64(hash[8*i:])
	}
}

// scaleTarget is a hub that keeps only what the source does not have. Its rows are
// those of the source with the target's name, and it fails to read them if these
// are not the ones that were written.
type scaleTarget struct {
	hub.Reader // the source
	names      hub.Names
	heap       heap

	mu      sync.Mutex
	written map[hub.Table]*rowSum
	changed map[string]schema.Row // rows of History that redrive work
	fresh   map[hub.Table][]schema.Row
	blobs   map[string]map[string][]byte
	queues  map[string]*scaleQueue
}

type scaleQueue struct {
	count   int64
	visible []schema.QueueMessage
}

func (s *scaleTarget) CreateTable(_ context.Context, table hub.Table) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written[table] = new(rowSum)
	return nil
}

func (s *scaleTarget) CreateContainer(_ context.Context, container string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[container] = make(map[string][]byte)
	return nil
}

func (s *scaleTarget) CreateQueue(_ context.Context, queue string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queues[queue] = new(scaleQueue)
	return nil
}

func (s *scaleTarget) PutRows(_ context.Context, table hub.Table, rows []schema.Row) error {
	s.heap.look()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range rows {
		row := &rows[i]
		if table == hub.Partitions {
			s.fresh[table] = append(s.fresh[table], row.Clone())
			continue
		}
		if reason, _ := row.Get("Reason").Text(); table == hub.History && strings.HasPrefix(reason, "Rewound: ") {
			s.changed[row.PartitionKey+"\x00"+row.RowKey] = row.Clone()
		}
		s.written[table].add(row)
	}
	return nil
}

func (s *scaleTarget) PutBlob(_ context.Context, b hub.Blob, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.blobs[b.Container][b.Name] = slices.Clone(data)
	return nil
}

func (s *scaleTarget) PutMessage(_ context.Context, queue, text string, delay time.Duration) error {
	s.heap.look()
	s.mu.Lock()
	defer s.mu.Unlock()
	q := s.queues[queue]
	if q.count++; delay == 0 && len(q.visible) < 32 {
		q.visible = append(q.visible, schema.QueueMessage{Queue: queue, Text: text})
	}
	return nil
}

func (s *scaleTarget) ClearQueue(_ context.Context, queue string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	*s.queues[queue] = scaleQueue{}
	return nil
}

func (s *scaleTarget) Info(context.Context) (hub.Info, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.blobs) == 0 {
		return hub.Info{}, hub.ErrNotFound
	}
	info := hub.Info{Names: s.names, PartitionCount: len(s.fresh[hub.Partitions])}
	for table := range s.written {
		info.Tables = append(info.Tables, hub.TableInfo{Table: table, Name: s.names.Table(table), Rows: -1})
	}
	return info, nil
}

func (s *scaleTarget) Rows(ctx context.Context, table hub.Table, keys hub.Keys) iter.Seq2[schema.Row, error] {
	return func(yield func(schema.Row, error) bool) {
		if table == hub.Partitions {
			for _, row := range s.fresh[table] {
				if !yield(row, nil) {
					return
				}
			}
			return
		}
		var read rowSum
		for row, err := range s.Reader.Rows(ctx, table, keys) {
			if err != nil {
				yield(row, err)
				return
			}
			s.heap.look()
			if table == hub.Instances {
				row.Set("TaskHubName", schema.String(s.names.TaskHub))
			} else if changed, ok := s.changed[row.PartitionKey+"\x00"+row.RowKey]; ok {
				row = changed
			}
			read.add(&row)
			if !yield(row, nil) {
				return
			}
		}
		if read != *s.written[table] {
			yield(schema.Row{}, fmt.Errorf("%d rows of %s were written, and others than the %d that there should be", s.written[table].count, table, read.count))
		}
	}
}

func (s *scaleTarget) Containers(context.Context) ([]hub.Container, error) {
	var all []hub.Container
	for _, name := range slices.Sorted(maps.Keys(s.blobs)) {
		all = append(all, hub.Container{Name: name})
	}
	return all, nil
}

func (s *scaleTarget) Blobs(_ context.Context, container, _ string) iter.Seq2[hub.Blob, error] {
	return func(yield func(hub.Blob, error) bool) {
		for _, name := range slices.Sorted(maps.Keys(s.blobs[container])) {
			b := hub.Blob{Container: container, Name: name, SizeBytes: int64(len(s.blobs[container][name])), ContentType: "application/octet-stream"}
			if !yield(b, nil) {
				return
			}
		}
	}
}

func (s *scaleTarget) ReadBlob(_ context.Context, container, name string, _ int64) ([]byte, error) {
	return s.blobs[container][name], nil
}

func (s *scaleTarget) Queues(context.Context) ([]hub.Queue, error) {
	var all []hub.Queue
	for _, name := range slices.Sorted(maps.Keys(s.queues)) {
		all = append(all, hub.Queue{Name: name, ApproximateCount: s.queues[name].count})
	}
	return all, nil
}

func (s *scaleTarget) Messages(_ context.Context, queue string) iter.Seq2[schema.QueueMessage, error] {
	return func(yield func(schema.QueueMessage, error) bool) {
		for _, m := range s.queues[queue].visible {
			if !yield(m, nil) {
				return
			}
		}
	}
}

func (s *scaleTarget) Close() error { return nil }

// A hub of 100,000 instances is moved in the memory that a small one takes.
func TestRunScale(t *testing.T) {
	rows, least := 2_000_000, int64(100_000)
	const limit = 128 << 20
	if testing.Short() {
		rows, least = 30_000, 1_500
	}
	path := filepath.Join(t.TempDir(), "generated.taskhub")
	if err := testhub.Generate(path, rows); err != nil {
		t.Fatal(err)
	}
	from, err := snapshot.Open(path, snapshot.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	to := &scaleTarget{
		Reader: from, names: elsewhere, written: make(map[hub.Table]*rowSum), changed: make(map[string]schema.Row),
		fresh: make(map[hub.Table][]schema.Row), blobs: make(map[string]map[string][]byte), queues: make(map[string]*scaleQueue),
	}
	opts := moving(t, from, "http://127.0.0.1:1/account")
	opts.Partitions, opts.Journal = 16, new(journalFile).read(t)
	opts.Now = time.Now
	opts.OnItem = func(*migrate.Item) error { to.heap.look(); return nil }
	report, err := migrate.Run(t.Context(), from, to, opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range report.Phases {
		took := p.Finished.Time().Sub(p.Started.Time())
		t.Logf("%s: %d items, %d MiB in %v: %.0f items/s", p.Phase, p.Items, p.Bytes>>20, took, float64(p.Items)/took.Seconds())
	}
	t.Logf("%d instances, %d rows of history, %d messages, %d rows that redrive work; %d MiB of heap",
		report.Rows[hub.Instances], report.Rows[hub.History], report.Messages, len(to.changed), to.heap.peak>>20)
	if n := report.Rows[hub.Instances]; n < least || report.Rows[hub.History] < int64(rows) || report.Messages < least/50 || len(to.changed) == 0 {
		t.Errorf("%d instances, %d messages and %d changed rows are too few", n, report.Messages, len(to.changed))
	}
	if to.heap.peak > limit {
		t.Errorf("the heap had %d MiB, more than %d", to.heap.peak>>20, limit>>20)
	}
}
