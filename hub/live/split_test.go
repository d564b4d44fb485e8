package live_test

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// TestSplit checks how equal the ranges are, and what they cost.
func TestSplit(t *testing.T) {
	e := testhub.Azurite(t)
	tests := []struct {
		name string
		key  func(i int) string
		most float64 // the largest range, as a multiple of an equal share
	}{
		{"random", func(i int) string { return fmt.Sprintf("%x", sha256.Sum256([]byte{byte(i), byte(i >> 8)}))[:32] }, 1.6},
		{"counted", func(i int) string { return fmt.Sprintf("order-2026-%08d", i) }, 1.6},
		{"entities", func(i int) string {
			return fmt.Sprintf("@%s@%x", []string{"counter", "account"}[i%2], sha256.Sum256([]byte{byte(i), byte(i >> 8)}))[:20]
		}, 1.6},
		{"emoji", func(i int) string { return strings.Repeat("😀", i%40+1) + "\uE000" + fmt.Sprint(i) }, 16},
		{"one", func(int) string { return "one" }, 16},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			names := hub.Names{TaskHub: "Split" + tt.name}
			c := content(names, 1)
			for i := range 1200 {
				c.Tables[hub.Instances] = append(c.Tables[hub.Instances], schema.Row{PartitionKey: tt.key(i / 4), RowKey: fmt.Sprint(i)})
			}
			c.Sort()
			testhub.Load(t, e, c)
			p := testhub.NewProxy(t, e)
			h := open(t, &p.Emulator, names)
			for _, n := range []int{2, 3, 8, 16} {
				p.Reset()
				ranges, err := h.Split(t.Context(), hub.Instances, n)
				if err != nil || len(ranges) == 0 || len(ranges) > n {
					t.Fatalf("Split(%d) = %d ranges, %v", n, len(ranges), err)
				}
				requests := len(p.Requests())
				total, largest := 0, 0
				for _, keys := range ranges {
					rows := slices.DeleteFunc(slices.Clone(c.Tables[hub.Instances]), func(r schema.Row) bool { return !keys.Contains(r.PartitionKey, r.RowKey) })
					total, largest = total+len(rows), max(largest, len(rows))
				}
				t.Logf("Split(%d): %d requests, %d ranges, the largest %.2f of a share", n, requests, len(ranges), float64(largest*n)/1200)
				if total != 1200 || float64(largest*n) > tt.most*1200 || requests > 3*n+50 {
					t.Errorf("Split(%d): %d rows in ranges, the largest has %d, %d requests", n, total, largest, requests)
				}
			}
		})
	}
}

// TestSplitPage cuts a table of one page with one request.
func TestSplitPage(t *testing.T) {
	p, c := faultHub(t)
	h := open(t, &p.Emulator, c.Names)
	for i := range 20 {
		p.Insert(t, c.Names.Table(hub.Instances), []schema.Row{{PartitionKey: fmt.Sprintf("same-beginning-%c", 'a'+i)}})
	}
	p.Reset()
	ranges, err := h.Split(t.Context(), hub.Instances, 4)
	want := []hub.Keys{{To: "same-beginning-f"}, {From: "same-beginning-f", To: "same-beginning-k"}, {From: "same-beginning-k", To: "same-beginning-p"}, {From: "same-beginning-p"}}
	if err != nil || !slices.Equal(ranges, want) || len(p.Requests()) != 1 {
		t.Errorf("Split = %q, %v, with %d requests, want %q with one", ranges, err, len(p.Requests()), want)
	}
}
