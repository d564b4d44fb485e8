package manage_test

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/manage"
	"github.com/taskhub-tools/taskhub/schema"
)

// BenchmarkPurge purges instances as purge-history does, several at once, and the
// same number one after the other: the same requests. Each run has an Azurite of
// its own.
func BenchmarkPurge(b *testing.B) {
	const count = 400
	for b.Loop() {
		one := purgeRate(b, count, 1)
		b.ReportMetric(one, "sequential/s")
		for _, concurrency := range []int{8, 32} {
			rate := purgeRate(b, count, concurrency)
			b.ReportMetric(rate, fmt.Sprintf("at-%d/s", concurrency))
			b.ReportMetric(rate/one, fmt.Sprintf("at-%d/sequential", concurrency))
		}
	}
	b.ReportMetric(float64(runtime.NumCPU()), "cores")
	b.ReportMetric(0, "ns/op")
}

// purgeRate returns how many instances are purged in a second.
func purgeRate(b *testing.B, count, concurrency int) float64 {
	b.Helper()
	const rows = 12 // of an orchestration with one activity
	c := hubtest.Content{Names: hub.Names{TaskHub: "Bench"}, Tables: map[hub.Table][]schema.Row{}, Containers: []hub.Container{{Name: "bench-largemessages"}}}
	for i := range count {
		id := fmt.Sprintf("%08x", uint32(i)*2654435761)
		c.Tables[hub.Instances] = append(c.Tables[hub.Instances], instance(id, "Completed", "F", t0))
		for n := range int64(rows) {
			c.Tables[hub.History] = append(c.Tables[hub.History], schema.Row{PartitionKey: id, RowKey: schema.FormatSequence(n), Properties: []schema.Property{
				{Name: "EventType", Value: schema.String("TaskCompleted")}, {Name: "Result", Value: schema.String(`"Hello Tokyo!"`)},
			}})
		}
		c.Tables[hub.History] = append(c.Tables[hub.History], schema.Row{PartitionKey: id, RowKey: schema.SentinelRowKey})
	}
	c.Sort()
	emulator := testhub.StartAzurite(b)
	testhub.Load(b, emulator, c)
	e := openLive(b, emulator.ConnectionString(), c.Names)
	p, err := manage.NewPurger(b.Context(), e, e, manage.PurgeOptions{})
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	versions := map[string]string{}
	for found, err := range p.Matching(b.Context(), manage.Filter{}) {
		if err != nil {
			b.Fatal(err)
		}
		versions[found.InstanceID] = found.Version
	}
	if err := p.ListFolders(b.Context()); err != nil {
		b.Fatal(err)
	}
	do := func(ctx context.Context, id string) (manage.Purged, error) {
		return p.Candidate(ctx, manage.Candidate{InstanceID: id, Version: versions[id]})
	}
	var total manage.Purged
	if concurrency == 1 {
		for id := range versions {
			done, err := do(b.Context(), id)
			if err != nil {
				b.Fatal(err)
			}
			total.Add(&done)
		}
	} else {
		for r, err := range manage.Bulk(b.Context(), keysOf(versions), manage.BulkOptions{Concurrency: concurrency}, do) {
			if err != nil || r.Err != nil {
				b.Fatal(err, r.Err)
			}
			total.Add(&r.Value)
		}
	}
	took := time.Since(began)
	if total.Instances != int64(count) || total.HistoryRows != int64(count*(rows+1)) {
		b.Fatalf("purged %+v", total)
	}
	return float64(count) / took.Seconds()
}

func keysOf(m map[string]string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for k := range m {
			if !yield(k, nil) {
				return
			}
		}
	}
}
