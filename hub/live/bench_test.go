package live_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/aztables"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/hub/live"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

const benchRows = 10_000

// benchHub puts history rows of the recorded hub BulkHub into an Azurite of its
// own.
func benchHub(b *testing.B) (*testhub.Emulator, hub.Names) {
	b.Helper()
	e := testhub.StartAzurite(b)
	names := hub.Names{TaskHub: "BenchHub"}
	var rows []schema.Row
	for r, err := range testhub.OpenHub(b, "dtfx-2.9.1-bulk").Rows(b.Context(), hub.History, hub.Keys{}) {
		if err != nil {
			b.Fatal(err)
		}
		if rows = append(rows, r.Clone()); len(rows) == benchRows {
			break
		}
	}
	testhub.Load(b, e, hubtest.Content{Names: names, Tables: map[hub.Table][]schema.Row{hub.History: rows}})
	return e, names
}

// bareClient reads pages and does nothing with them.
type bareClient struct {
	client http.Client
	e      *testhub.Emulator
	key    []byte
	buf    bytes.Buffer
}

func (c *bareClient) list(b *testing.B, table string) (size int) {
	b.Helper()
	query := url.Values{"$top": {"1000"}}
	for {
		req, err := http.NewRequestWithContext(b.Context(), http.MethodGet, c.e.TableURL+"/"+table+"()?"+query.Encode(), nil)
		if err != nil {
			b.Fatal(err)
		}
		date := time.Now().UTC().Format(http.TimeFormat)
		mac := hmac.New(sha256.New, c.key)
		mac.Write([]byte(date + "\n/" + c.e.Account + "/" + c.e.Account + "/" + table + "()"))
		req.Header.Set("x-ms-date", date)
		req.Header.Set("x-ms-version", "2019-02-02")
		req.Header.Set("Accept", "application/json;odata=minimalmetadata")
		req.Header.Set("DataServiceVersion", "3.0")
		req.Header.Set("Authorization", "SharedKeyLite "+c.e.Account+":"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		resp, err := c.client.Do(req)
		if err != nil {
			b.Fatal(err)
		}
		c.buf.Reset()
		n, err := io.Copy(&c.buf, resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			b.Fatalf("%s, %v: %s", resp.Status, err, c.buf.Bytes())
		}
		if err := resp.Body.Close(); err != nil {
			b.Fatal(err)
		}
		size += int(n)
		next := resp.Header.Get("x-ms-continuation-NextPartitionKey")
		if next == "" {
			return size
		}
		query.Set("NextPartitionKey", next)
		query.Set("NextRowKey", resp.Header.Get("x-ms-continuation-NextRowKey"))
	}
}

func listRows(b *testing.B, h *live.Hub) {
	b.Helper()
	n := 0
	for _, err := range h.Rows(b.Context(), hub.History, hub.Keys{}) {
		if err != nil {
			b.Fatal(err)
		}
		n++
	}
	if n != benchRows {
		b.Fatalf("%d rows", n)
	}
}

// BenchmarkRows lists one table in three ways in turn: with an HTTP client that
// only reads the pages, with Rows, and with the SDK's pager and its entities.
// Its metrics are the rates, and that of Rows against the other two, each the
// median of the rounds.
func BenchmarkRows(b *testing.B) {
	e, names := benchHub(b)
	table := names.Table(hub.History)
	key, err := base64.StdEncoding.DecodeString(e.Key)
	if err != nil {
		b.Fatal(err)
	}
	transport := func() *http.Transport {
		tr := &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16}
		b.Cleanup(tr.CloseIdleConnections)
		return tr
	}
	bare := &bareClient{client: http.Client{Transport: transport()}, e: e, key: key}
	h, err := live.Open(b.Context(), config(b, e), names, live.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	cred, err := aztables.NewSharedKeyCredential(e.Account, e.Key)
	if err != nil {
		b.Fatal(err)
	}
	sdk, err := aztables.NewServiceClientWithSharedKey(e.TableURL, cred, &aztables.ClientOptions{
		ClientOptions: azcore.ClientOptions{Transport: &http.Client{Transport: transport()}},
	})
	if err != nil {
		b.Fatal(err)
	}
	listSDK := func() {
		top, format := int32(1000), aztables.MetadataFormatMinimal
		n := 0
		for pager := sdk.NewClient(table).NewListEntitiesPager(&aztables.ListEntitiesOptions{Top: &top, Format: &format}); pager.More(); {
			page, err := pager.NextPage(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			for _, raw := range page.Entities {
				var entity aztables.EDMEntity
				if err := json.Unmarshal(raw, &entity); err != nil {
					b.Fatal(err)
				}
				n++
			}
		}
		if n != benchRows {
			b.Fatalf("%d rows", n)
		}
	}
	size := bare.list(b, table) // and let Azurite compile what it runs
	listRows(b, h)
	listSDK()

	var bareTime, liveTime, sdkTime []time.Duration
	timed := func(times *[]time.Duration, f func()) {
		start := time.Now()
		f()
		*times = append(*times, time.Since(start))
	}
	b.SetBytes(int64(size))
	for b.Loop() {
		timed(&bareTime, func() { bare.list(b, table) })
		timed(&liveTime, func() { listRows(b, h) })
		timed(&sdkTime, listSDK)
	}
	rate := func(times []time.Duration) float64 {
		var rates []float64
		for _, t := range times {
			rates = append(rates, benchRows/t.Seconds())
		}
		return median(rates)
	}
	ratio := func(a, b []time.Duration) float64 {
		var ratios []float64
		for i := range a {
			ratios = append(ratios, a[i].Seconds()/b[i].Seconds())
		}
		return median(ratios)
	}
	b.ReportMetric(rate(bareTime), "bare-rows/s")
	b.ReportMetric(rate(liveTime), "rows/s")
	b.ReportMetric(rate(sdkTime), "sdk-rows/s")
	b.ReportMetric(ratio(bareTime, liveTime), "of-bare")
	b.ReportMetric(ratio(sdkTime, liveTime), "x-sdk")
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}

// BenchmarkRowsOnly is for profiles: what is not Rows does not show in them.
func BenchmarkRowsOnly(b *testing.B) {
	e, names := benchHub(b)
	h, err := live.Open(b.Context(), config(b, e), names, live.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer h.Close()
	b.ReportAllocs()
	for b.Loop() {
		listRows(b, h)
	}
	b.ReportMetric(benchRows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
