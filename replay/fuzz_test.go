package replay_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/replay"
	"github.com/taskhub-tools/taskhub/schema"
)

// partitionLines returns partitions as the lines of a capture.
func partitionLines(rows []schema.Row) []byte {
	var text []byte
	for i := range rows {
		text = append(rows[i].AppendJSON(text), '\n')
	}
	return text
}

// Whatever rows a partition has: nothing panics, every row is accounted for, a
// replay repeats itself, also in a Replayer that was used before, and longer
// prefixes have more events.
func FuzzReplay(f *testing.F) {
	seeds := 0
	for _, name := range []string{"dtfx-2.9.1", "dtfx-2.9.1-blob-leases", "functions-3-after-write"} {
		all, _ := recordedInstances(f, name)
		for _, in := range all {
			if 0 < len(in.history) && len(in.history) < 40 {
				f.Add(partitionLines(in.history), int64(2))
				seeds++
			}
		}
	}
	if seeds == 0 {
		f.Fatal("no seeds")
	}
	f.Add(partitionLines(scripted("OS; ES; ~TS 0 A; ~SC 1 i; TM 2; OC; OS; ~TF 0; ~SF 1; FI 2; FI 2; ~EC Failed bad; OC; OS; GE; TC 0; OC; @y; OC; @x sentinel torn")), int64(1))
	f.Add(partitionLines(scripted("OS; ES; SE 0 @a@1 op "+lockRequest+"; ER r1; XS a; ER b; XR c; SE 1 @a@1 release "+releaseLock+"; =0a OC; sentinel")), int64(3))
	f.Fuzz(func(t *testing.T, text []byte, episode int64) {
		var d schema.Decoder
		rows, err := d.Lines(slices.Clone(text), nil)
		if err != nil {
			return
		}
		checkReplay(t, rows, episode)
	})
}

// The same for histories that are made of events as bytes tell, with few IDs and
// executions, so that events meet.
func FuzzReplayEvents(f *testing.F) {
	lines := []string{
		"OS", "OC", "ES", "EC Completed one", "EC Failed bad", "CN next", "XT stop", "XS pause", "XR on", "GE", "~EC Failed bad",
		"TS 0 A", "TS 1 A", "~TS 0 A", "~TS 1 A", "TC 0", "TC 1", "TF 0", "~TF 0", "~TF 1", "TM 1", "TM 2", "FI 1", "FI 2",
		"SC 0 kid", "~SC 0 kid", "~SC 2 i", "SD 0", "SF 2", "~SF 0", "~SF 2", "ER go", "ER r1", "ER r2",
		"SE 3 @a@1 op " + lockRequest, "SE 4 @a@1 op " + callRequest, "SE 5 @a@1 release " + releaseLock, "SE 5 @b@2 release " + releaseLock,
		"SE 6 @a@1 op@2026-11-22T04:00:09.0000000Z " + signalRequest, "SE 7 @a@1 op {", "SE 8 other go", "FutureEvent",
		"@x", "@y", "+1 OC", "=00000000000000ab TC 0", "=0 OC", "!ExecutionId OC", "!EventType OC", "!TaskScheduledId TC 1", "sentinel", "sentinel torn",
	}
	f.Add([]byte{0, 2, 11, 1, 0, 15, 4, 1, 50})
	f.Add([]byte{0, 2, 13, 25, 1, 0, 18, 29, 10, 1, 0, 9, 11, 1, 0, 15, 3, 1, 50})
	f.Add([]byte{0, 2, 34, 35, 1, 0, 32, 36, 7, 31, 8, 37, 1, 43, 15, 1, 42, 51})
	f.Fuzz(func(t *testing.T, ops []byte) {
		if len(ops) > 200 {
			return
		}
		var text []string
		for _, op := range ops {
			text = append(text, lines[int(op)%len(lines)])
		}
		checkReplay(t, scripted(strings.Join(text, ";")), int64(len(ops)%7))
	})
}

// checkReplay tests what holds for any rows.
func checkReplay(t *testing.T, rows []schema.Row, episode int64) {
	t.Helper()
	used := replay.New("other", replay.Options{})
	for i := range rows {
		used.Add(&rows[i])
	}
	used.End()
	used.Reset("i")
	for i := range rows {
		used.Add(&rows[i])
	}
	again := used.End()
	h := replayed("i", rows, replay.Options{})
	if !reflect.DeepEqual(h, again) {
		t.Errorf("the first replay gives\n%+v, the second\n%+v", h, again)
	}
	before := int64(0)
	for n := int64(1); n <= h.Live.Episodes && n <= 4; n++ {
		p := replayed("i", rows, replay.Options{Episode: n})
		if p.Live.Events < before || p.Live.Events > h.Live.Events || p.Live.Episodes != n || p.Cut != (n < h.Live.Episodes) {
			t.Errorf("%d episodes: %d events of %d after %d, Episodes is %d, Cut %v", n, p.Live.Events, h.Live.Events, before, p.Live.Episodes, p.Cut)
		}
		before = p.Live.Events
	}
	for _, h := range []*replay.History{h, replayed("i", rows, replay.Options{Episode: max(episode, 0)}), replayed("i", rows, replay.Options{At: schema.Ticks(episode)})} {
		if h.Live.Events+tails(h)+h.Skipped != h.Rows {
			t.Errorf("%d live, %d left over and %d skipped, of %d rows", h.Live.Events, tails(h), h.Skipped, h.Rows)
		}
		for _, s := range append(slices.Clone(h.Overwritten), h.Live) {
			_, _ = s.Output(nil) // damaged details are an error
			if len(s.Open) > 0 && s.Events == 0 {
				t.Errorf("%d open without an event", len(s.Open))
			}
		}
		_ = replay.Compare(instanceRow("Running", "x", 0), h, replay.Loader{})
	}
}

// The fast way to read a row finds what the decoder finds, and sends every row to
// it that is damaged.
func FuzzReadRow(f *testing.F) {
	for _, rec := range testhub.Recordings {
		all, _ := recordedInstances(f, rec.Name)
		for i, in := range all {
			if len(in.history) > 0 && i < 20 {
				f.Add(partitionLines(in.history[:min(len(in.history), 12)]))
				f.Add(partitionLines(in.history[len(in.history)-1:]))
			}
		}
	}
	for _, typ := range []string{"TC 0", "TM 0", "FI 0", "ER a", "EC Failed x", "XT r", "XS r", "SC 0 kid", "SE 0 a b c"} {
		for _, column := range []string{"EventType", "EventId", "ExecutionId", "IsPlayed", "_Timestamp", "TaskScheduledId", "TimerId", "FireAt", "OrchestrationStatus"} {
			f.Add(partitionLines(scripted("!" + column + " " + typ)))
			row := scripted(typ)
			row[0].Set(column, schema.Int64(7))
			f.Add(partitionLines(row))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var d schema.Decoder
		rows, err := d.Lines(text, nil)
		if err != nil {
			return
		}
		for i := range rows {
			row := &rows[i]
			if row.IsSentinel() {
				s, ok := replay.ReadSentinel(row)
				want, err := schema.DecodeSentinel(row)
				s.PartitionKey = want.PartitionKey
				if ok && (err != nil || !reflect.DeepEqual(s, want)) {
					t.Errorf("the sentinel reads as %+v, want %+v, %v", s, want, err)
				}
				continue
			}
			row.RowKey = schema.FormatSequence(0)
			unusual, kind, header, started := replay.ReadRecord(row)
			want, err := schema.DecodeHistoryRow(row)
			if err != nil && !unusual {
				t.Errorf("%s: not found unusual, but %v", row.AppendJSON(nil), err)
			}
			if typ := want.Event.Type(); kind != typ && (kind != schema.TypeExecutionFailed || typ != schema.TypeUnknown) {
				t.Errorf("the type is %v, want %v", kind, typ)
			}
			if h := want.Event.Header(); h.EventID != header.EventID || h.Timestamp != header.Timestamp {
				t.Errorf("the header is %+v, want %+v", header, h)
			}
			if started != nil && !reflect.DeepEqual(started, want.Event) {
				t.Errorf("the start is %+v, want %+v", started, want.Event)
			}
		}
	})
}
