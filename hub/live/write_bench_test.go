package live_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"
	"golang.org/x/sync/errgroup"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/migrate"
	"github.com/taskhub-tools/taskhub/schema"
)

// partitionsOf puts recorded history rows into n partitions of so many each.
func partitionsOf(b *testing.B, n, size int) []schema.Row {
	b.Helper()
	var rows []schema.Row
	for r, err := range testhub.OpenHub(b, "dtfx-2.9.1-bulk").Rows(b.Context(), hub.History, hub.Keys{}) {
		if err != nil {
			b.Fatal(err)
		}
		if r.IsSentinel() {
			continue
		}
		i := len(rows)
		row := r.Clone()
		row.PartitionKey, row.RowKey = fmt.Sprintf("bench-%05d", i/size), fmt.Sprintf("%016X", i%size)
		if rows = append(rows, row); len(rows) == n*size {
			return rows
		}
	}
	b.Fatalf("there are only %d rows", len(rows))
	return nil
}

// BenchmarkPutRows writes the same rows into new tables in two ways in turn, with
// 16 requests at once: with transactions of the SDK and nothing else, and with
// migrate.Run, of which only the copying of the history counts. The metrics are the
// rates, and that of migrate.Run against the SDK, the median of the rounds. The
// SDK inserts, which is the fastest that the service does.
func BenchmarkPutRows(b *testing.B) {
	for _, size := range []int{100, 20, 1} {
		b.Run(fmt.Sprintf("rows=%d", size), func(b *testing.B) { benchPutRows(b, partitionsOf(b, 4000/size, size)) })
	}
}

func benchPutRows(b *testing.B, rows []schema.Row) {
	const workers = 16
	e := testhub.StartAzurite(b)
	cred, err := aztables.NewSharedKeyCredential(e.Account, e.Key)
	if err != nil {
		b.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 64}
	b.Cleanup(transport.CloseIdleConnections)
	sdk, err := aztables.NewServiceClientWithSharedKey(e.TableURL, cred, &aztables.ClientOptions{
		ClientOptions: azcore.ClientOptions{Transport: &http.Client{Transport: transport}},
	})
	if err != nil {
		b.Fatal(err)
	}
	source := hub.Names{TaskHub: "Source"}
	from := testhub.NewMemory(hubtest.Content{Names: source, PartitionCount: 1, Tables: map[hub.Table][]schema.Row{hub.History: rows}})
	from.Started = schema.TicksOf(time.Now())

	round := 0
	plain := func() time.Duration {
		round++
		table := fmt.Sprintf("Plain%d", round)
		if _, err := sdk.CreateTable(b.Context(), table, nil); err != nil {
			b.Fatal(err)
		}
		defer deleteTable(b, sdk, table)
		start := time.Now()
		group, ctx := errgroup.WithContext(b.Context())
		group.SetLimit(workers)
		for at := 0; at < len(rows); {
			end := at + 1
			for end < len(rows) && end-at < hub.MaxBatchRows && rows[end].PartitionKey == rows[at].PartitionKey {
				end++
			}
			batch := rows[at:end]
			at = end
			group.Go(func() error {
				actions := make([]aztables.TransactionAction, len(batch))
				for i := range batch {
					actions[i] = aztables.TransactionAction{ActionType: aztables.TransactionTypeAdd, Entity: batch[i].AppendJSON(nil)}
				}
				_, err := sdk.NewClient(table).SubmitTransaction(ctx, actions, nil)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			b.Fatal(err)
		}
		return time.Since(start)
	}
	ours := func() time.Duration {
		round++
		names := hub.Names{TaskHub: fmt.Sprintf("Ours%d", round)}
		w, err := live.OpenWriter(b.Context(), config(b, e), names, live.Options{})
		if err != nil {
			b.Fatal(err)
		}
		defer w.Close()
		report, err := migrate.Run(b.Context(), from, w, migrate.Options{
			Names: names, BlobURL: w.BlobURL, Now: time.Now, WithoutQueues: true, AcceptLost: true, Concurrency: workers,
		})
		if err != nil {
			b.Fatal(err)
		}
		defer deleteTable(b, sdk, names.Table(hub.History))
		for _, p := range report.Phases {
			if p.Phase == migrate.PhaseHistory && p.Items == int64(len(rows)) {
				return p.Finished.Time().Sub(p.Started.Time())
			}
		}
		b.Fatalf("the history was not copied: %+v", report.Phases)
		return 0
	}
	plain() // and let Azurite compile what it runs
	ours()
	var rates, sdkRates, ratios []float64
	for b.Loop() {
		p, o := plain(), ours()
		sdkRates = append(sdkRates, float64(len(rows))/p.Seconds())
		rates = append(rates, float64(len(rows))/o.Seconds())
		ratios = append(ratios, p.Seconds()/o.Seconds())
	}
	b.ReportMetric(median(rates), "rows/s")
	b.ReportMetric(median(sdkRates), "sdk-rows/s")
	b.ReportMetric(median(ratios), "x-sdk")
}

func deleteTable(b *testing.B, sdk *aztables.ServiceClient, table string) {
	b.Helper()
	if _, err := sdk.DeleteTable(b.Context(), table, nil); err != nil {
		b.Fatal(err)
	}
}
