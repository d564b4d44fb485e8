package replay_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// storedHistory returns the History table of a recorded hub as the lines of a
// capture, in pages of 1,000 rows.
func storedHistory(b *testing.B, name string) (pages [][]byte, rows int) {
	b.Helper()
	const pageRows = 1000
	for row, err := range testhub.OpenHub(b, name).Rows(b.Context(), hub.History, hub.Keys{}) {
		if err != nil {
			b.Fatal(err)
		}
		if rows%pageRows == 0 {
			pages = append(pages, nil)
		}
		rows++
		last := &pages[len(pages)-1]
		*last = append(row.AppendJSON(*last), '\n')
	}
	return pages, rows
}

// Replaying the rows of a table against decoding them from the lines of a
// capture, page by page in turns, so that whatever else the machine does hits
// both alike. The median of all rounds counts.
func BenchmarkReplay(b *testing.B) {
	for _, name := range []string{"dtfx-2.9.1-bulk", "dtfx-2.9.1-torn", "dtfx-2.9.1-odd", "functions-3"} {
		b.Run(name, func(b *testing.B) {
			pages, n := storedHistory(b, name)
			var d schema.Decoder
			var buffer []byte
			var rows []schema.Row
			r := replay.New("", replay.Options{})
			var decoding, replaying []time.Duration
			for b.Loop() {
				var ours, theirs time.Duration
				key, begun := "", false
				for _, page := range pages {
					buffer = append(buffer[:0], page...)
					start := time.Now()
					var err error
					if rows, err = d.Lines(buffer, rows[:0]); err != nil {
						b.Fatal(err)
					}
					decoded := time.Now()
					for i := range rows {
						row := &rows[i]
						if !begun || row.PartitionKey != key {
							if begun {
								_ = r.End()
							}
							key, begun = strings.Clone(row.PartitionKey), true
							r.Reset(key)
						}
						r.Add(row)
					}
					ours += time.Since(decoded)
					theirs += decoded.Sub(start)
					d.Recycle()
				}
				_ = r.End()
				replaying, decoding = append(replaying, ours), append(decoding, theirs)
			}
			slices.Sort(decoding)
			slices.Sort(replaying)
			ours, theirs := replaying[len(replaying)/2], decoding[len(decoding)/2]
			b.ReportMetric(float64(ours.Nanoseconds())/float64(n), "ns/event")
			b.ReportMetric(float64(n)/ours.Seconds(), "events/s")
			b.ReportMetric(ours.Seconds()/theirs.Seconds(), "replay/decode")
			b.ReportMetric(0, "ns/op")
		})
	}
}
