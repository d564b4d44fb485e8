package hubtest

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Open stores c in an implementation and returns a Reader over it. It closes
// the Reader by t.Cleanup and reports failures by t.Fatal. For a Content
// without tables, queues and containers it stores nothing.
type Open func(t testing.TB, c Content) hub.Reader

// Run checks an implementation. It calls open twice: for a hub with something
// of everything, and for one that does not exist.
func Run(t *testing.T, opts Options, open Open) {
	t.Helper()
	want := sample(!opts.ServiceValues)
	s := suite{opts: opts, want: want, open: open, r: open(t, sample(!opts.ServiceValues))}
	for _, c := range checks {
		t.Run(c.name, func(t *testing.T) { c.run(&s, t) })
	}
}

type check struct {
	name string
	run  func(*suite, testing.TB)
}

var checks = []check{
	{"Info", (*suite).info},
	{"Rows", (*suite).rows},
	{"Messages", (*suite).messages},
	{"Blobs", (*suite).blobs},
	{"Partition", (*suite).partitions},
	{"RowKey", (*suite).rowKeys},
	{"Range", (*suite).ranges},
	{"Split", (*suite).split},
	{"Break", (*suite).breaks},
	{"Twice", (*suite).twice},
	{"Owned", (*suite).owned},
	{"Concurrent", (*suite).concurrent},
	{"Canceled", (*suite).canceled},
	{"CanceledOnTheWay", (*suite).canceledOnTheWay},
	{"Missing", (*suite).missing},
	{"Prefix", (*suite).prefixes},
	{"ReadBlob", (*suite).readBlob},
	{"UnknownHub", (*suite).unknownHub},
}

// absentKeys lie between, before and after those of the sample.
var absentKeys = []string{"!", "a-", "a-1\x01", "many0", "zzz", "\uE000\uE000", "\uFFFD\uFFFD"}

// wantRows returns the rows that keys select.
func (s *suite) wantRows(table hub.Table, keys hub.Keys) []schema.Row {
	return slices.DeleteFunc(slices.Clone(s.want.Tables[table]), func(r schema.Row) bool {
		return !keys.Contains(r.PartitionKey, r.RowKey)
	})
}

func (s *suite) checkRows(t testing.TB, table hub.Table, keys hub.Keys) {
	t.Helper()
	what := fmt.Sprintf("Rows(%v, %+q)", table, []string{keys.From, keys.To, keys.RowKey})
	s.diffRows(t, what, must(t, what, s.r.Rows(t.Context(), table, keys)), s.wantRows(table, keys))
}

func (s *suite) partitions(t testing.TB) {
	for _, k := range slices.Concat(partitionKeys, exactKeys, absentKeys) {
		for _, table := range hub.Tables {
			s.checkRows(t, table, hub.Partition(k))
		}
	}
}

func (s *suite) rowKeys(t testing.TB) {
	rowKeys := []string{schema.FormatSequence(0), schema.FormatSequence(2), schema.FormatSequence(299), schema.SentinelRowKey, "absent"}
	for _, row := range rowKeys {
		s.checkRows(t, hub.History, hub.Keys{RowKey: row})
		s.checkRows(t, hub.History, hub.Keys{From: "a", To: "wide", RowKey: row})
		for _, k := range slices.Concat(partitionKeys, exactKeys, absentKeys) {
			keys := hub.Partition(k)
			keys.RowKey = row
			s.checkRows(t, hub.History, keys)
		}
	}
}

func (s *suite) ranges(t testing.TB) {
	// The wide partition is only a limit here, so that this does not take long
	// where rows come over a network.
	bounds := slices.Concat([]string{"", "a", "a-10", "many", `q"uote`, "wide\x00", "😀", "\uE000"}, exactKeys, absentKeys)
	for _, from := range bounds {
		for _, to := range bounds {
			s.checkRows(t, hub.Instances, hub.Keys{From: from, To: to})
			if from != "" || to != "" {
				s.checkRows(t, hub.History, hub.Keys{From: from, To: to, RowKey: schema.SentinelRowKey})
			}
		}
	}
	s.checkRows(t, hub.History, hub.Keys{From: "a"})
	s.checkRows(t, hub.History, hub.Keys{To: "wide"})
	s.checkRows(t, hub.History, hub.Keys{From: "many", To: "ü"})
	s.checkRows(t, hub.History, hub.Keys{From: "wide", To: "many"}) // nothing
	s.checkRows(t, hub.History, hub.Keys{From: "wide", To: "wide"})
}

func (s *suite) split(t testing.TB) {
	for _, table := range hub.Tables {
		for _, n := range []int{1, 2, 3, 8, 1000} {
			ranges, err := s.r.Split(t.Context(), table, n)
			if err != nil || len(ranges) == 0 || len(ranges) > n {
				t.Errorf("Split(%v, %d) = %d ranges, %v", table, n, len(ranges), err)
				continue
			}
			if ranges[0].From != "" || ranges[len(ranges)-1].To != "" {
				t.Errorf("Split(%v, %d) does not cover every key: it goes from %q to %q", table, n, ranges[0].From, ranges[len(ranges)-1].To)
			}
			var got []schema.Row
			for i, keys := range ranges {
				switch {
				case keys.RowKey != "":
					t.Errorf("Split(%v, %d): range %d asks for a RowKey", table, n, i)
				case i > 0 && (keys.From == "" || keys.From != ranges[i-1].To):
					t.Errorf("Split(%v, %d): range %d starts at %q, the one before it ends at %q", table, n, i, keys.From, ranges[i-1].To)
				}
				got = append(got, must(t, "Rows of a range", s.r.Rows(t.Context(), table, keys))...)
			}
			s.diffRows(t, fmt.Sprintf("the ranges of Split(%v, %d)", table, n), got, s.want.Tables[table])
		}
	}
}

func (s *suite) breaks(t testing.TB) {
	for _, stop := range []int{1, 2, 50} {
		var got []schema.Row
		for row, err := range s.r.Rows(t.Context(), hub.History, hub.Keys{}) {
			if err != nil {
				t.Fatal(err)
			}
			if got = append(got, row); len(got) == stop {
				break
			}
		}
		s.diffRows(t, fmt.Sprintf("the first %d rows", stop), got, s.want.Tables[hub.History][:stop])
	}
	breakAfterOne(t, s.r.Messages(t.Context(), s.want.Queues[0].Name))
	breakAfterOne(t, s.r.Blobs(t.Context(), s.want.Names.LargeMessages(), ""))
}

func breakAfterOne[T any](t testing.TB, seq iter.Seq2[T, error]) {
	t.Helper()
	for _, err := range seq {
		if err != nil {
			t.Error(err)
		}
		return
	}
	t.Error("a stream is empty")
}

func (s *suite) twice(t testing.TB) {
	rows := s.r.Rows(t.Context(), hub.History, hub.Keys{})
	for range 2 {
		s.diffRows(t, "Rows, ranged over twice", must(t, "Rows", rows), s.want.Tables[hub.History])
	}
	messages := s.r.Messages(t.Context(), s.want.Queues[0].Name)
	if a, b := len(must(t, "Messages", messages)), len(must(t, "Messages", messages)); a != b {
		t.Errorf("ranging over Messages gives %d, then %d", a, b)
	}
	blobs := s.r.Blobs(t.Context(), s.want.Names.LargeMessages(), "")
	if a, b := len(must(t, "Blobs", blobs)), len(must(t, "Blobs", blobs)); a != b {
		t.Errorf("ranging over Blobs gives %d, then %d", a, b)
	}
}

// owned checks that nothing that was returned changes afterwards, neither by
// later reads nor by what a caller does to it.
func (s *suite) owned(t testing.TB) {
	what := "rows that were kept"
	kept := must(t, what, s.r.Rows(t.Context(), hub.History, hub.Keys{}))
	again := must(t, what, s.r.Rows(t.Context(), hub.History, hub.Keys{}))
	for i := range again {
		for j := range again[i].Properties {
			again[i].Properties[j] = schema.Property{Name: "overwritten"}
		}
	}
	some := must(t, what, s.r.Rows(t.Context(), hub.History, hub.Partition("many")))
	for range 3 {
		must(t, what, s.r.Rows(t.Context(), hub.History, hub.Partition("wide")))
	}
	s.diffRows(t, what, kept, s.want.Tables[hub.History])
	s.diffRows(t, what, some, s.wantRows(hub.History, hub.Partition("many")))

	b := s.want.Blobs[len(s.want.Blobs)-1]
	for range 2 {
		data, err := s.r.ReadBlob(t.Context(), b.Container, b.Name, b.SizeBytes)
		if err != nil || string(data) != string(b.Data) {
			t.Errorf("ReadBlob = %q, %v, want %q", data, err, b.Data)
		}
		clear(data)
	}
}

func (s *suite) concurrent(t testing.TB) {
	var wg sync.WaitGroup
	results := make([][]schema.Row, 6)
	errs := make([]error, len(results))
	for i := range results {
		wg.Add(1)
		go func() {
			defer wg.Done()
			keys := hub.Keys{}
			if i%2 == 1 {
				keys = hub.Partition("wide")
			}
			for row, err := range s.r.Rows(t.Context(), hub.History, keys) {
				if err != nil {
					errs[i] = err
					return
				}
				results[i] = append(results[i], row)
			}
			for _, q := range s.want.Queues {
				for _, err := range s.r.Messages(t.Context(), q.Name) {
					errs[i] = errors.Join(errs[i], err)
				}
			}
			for _, b := range s.want.Blobs {
				_, err := s.r.ReadBlob(t.Context(), b.Container, b.Name, b.SizeBytes)
				errs[i] = errors.Join(errs[i], err)
			}
		}()
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Errorf("concurrent reader %d: %v", i, err)
		}
		want := s.want.Tables[hub.History]
		if i%2 == 1 {
			want = s.wantRows(hub.History, hub.Partition("wide"))
		}
		s.diffRows(t, fmt.Sprintf("concurrent reader %d", i), results[i], want)
	}
}

func (s *suite) canceled(t testing.TB) {
	ctx, cause := canceled(t)
	report := func(what string, err error) {
		if !errors.Is(err, cause) {
			t.Errorf("%s returns %v after the context ended, want its cause", what, err)
		}
	}
	_, err := s.r.Info(ctx)
	report("Info", err)
	_, err = s.r.Split(ctx, hub.History, 2)
	report("Split", err)
	_, err = s.r.Queues(ctx)
	report("Queues", err)
	_, err = s.r.Containers(ctx)
	report("Containers", err)
	b := s.want.Blobs[0]
	_, err = s.r.ReadBlob(ctx, b.Container, b.Name, b.SizeBytes)
	report("ReadBlob", err)
	rows, err := collect(t, "Rows", s.r.Rows(ctx, hub.History, hub.Keys{}))
	report("Rows", err)
	messages, err := collect(t, "Messages", s.r.Messages(ctx, s.want.Queues[0].Name))
	report("Messages", err)
	blobs, err := collect(t, "Blobs", s.r.Blobs(ctx, b.Container, ""))
	report("Blobs", err)
	if n := len(rows) + len(messages) + len(blobs); n > 0 {
		t.Errorf("streams yield %d values after the context ended", n)
	}
}

// canceledOnTheWay ends the context early in a stream: it may still yield what
// it has in memory, but must not end as if that were all.
func (s *suite) canceledOnTheWay(t testing.TB) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	n := 0
	for _, err := range s.r.Rows(ctx, hub.History, hub.Keys{}) {
		if err != nil {
			if !errors.Is(err, cause) {
				t.Errorf("Rows ends with %v, want the cause of the context", err)
			}
			return
		}
		if n++; n == 2 {
			cancel(cause)
		}
	}
	if want := len(s.want.Tables[hub.History]); n != want {
		t.Errorf("Rows ends without an error after %d of %d rows when the context ended", n, want)
	}
}

func (s *suite) missing(t testing.TB) {
	ctx := t.Context()
	if rows := must(t, "Rows of a table that does not exist", s.r.Rows(ctx, hub.Partitions, hub.Keys{})); len(rows) > 0 {
		t.Errorf("a table that does not exist has %d rows", len(rows))
	}
	if messages := must(t, "Messages", s.r.Messages(ctx, "samplehub-control-15")); len(messages) > 0 {
		t.Errorf("a queue that does not exist has %d messages", len(messages))
	}
	if blobs := must(t, "Blobs", s.r.Blobs(ctx, "samplehub-none", "")); len(blobs) > 0 {
		t.Errorf("a container that does not exist has %d blobs", len(blobs))
	}
	for _, at := range [][2]string{
		{"samplehub-none", "a"},
		{s.want.Names.LargeMessages(), "a/history-3.json.gz"},
		{s.want.Names.LargeMessages(), "a"},
		{s.want.Names.Leases(), "taskhub.json"},
	} {
		if _, err := s.r.ReadBlob(ctx, at[0], at[1], 1<<20); !errors.Is(err, hub.ErrNotFound) {
			t.Errorf("ReadBlob(%q, %q) returns %v, want hub.ErrNotFound", at[0], at[1], err)
		}
	}
}

// wantBlobs returns the blobs of a container with a prefix.
func (s *suite) wantBlobs(container, prefix string) []hub.Blob {
	var blobs []hub.Blob
	for _, b := range s.want.Blobs {
		if b.Container == container && strings.HasPrefix(b.Name, prefix) {
			blobs = append(blobs, b.Blob)
		}
	}
	return blobs
}

func (s *suite) prefixes(t testing.TB) {
	for _, prefix := range []string{"a/", "a", "a/history-2.json.gz", "ü", "ü 日本/😀", "none", "z", "!"} {
		what := fmt.Sprintf("Blobs with prefix %q", prefix)
		got := must(t, what, s.r.Blobs(t.Context(), s.want.Names.LargeMessages(), prefix))
		s.diffBlobs(t, what, got, s.wantBlobs(s.want.Names.LargeMessages(), prefix))
	}
}

func (s *suite) readBlob(t testing.TB) {
	for _, b := range s.want.Blobs {
		if data, err := s.r.ReadBlob(t.Context(), b.Container, b.Name, b.SizeBytes+1); err != nil || len(data) != len(b.Data) {
			t.Errorf("ReadBlob(%q) = %d bytes, %v, want %d", b.Name, len(data), err, len(b.Data))
		}
		if b.SizeBytes == 0 {
			continue
		}
		if data, err := s.r.ReadBlob(t.Context(), b.Container, b.Name, b.SizeBytes-1); !errors.Is(err, hub.ErrTooLarge) || data != nil {
			t.Errorf("ReadBlob(%q) with a limit of one byte less = %d bytes, %v, want hub.ErrTooLarge", b.Name, len(data), err)
		}
	}
}

func (s *suite) unknownHub(t testing.TB) {
	r := s.open(t, Content{Names: hub.Names{TaskHub: "NoSuchHub"}})
	if info, err := r.Info(t.Context()); !errors.Is(err, hub.ErrNotFound) {
		t.Errorf("Info of a hub that does not exist = %+v, %v, want hub.ErrNotFound", info, err)
	}
}
