package hubtest

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/schema"
)

// Options says what an implementation cannot do.
type Options struct {
	// ServiceValues is for storage that sets some values by itself: Timestamp
	// and ETag of rows, everything of messages but the text, times, MD5 and
	// leases of blobs, and the account. They are not compared, and content
	// that such storage refuses is left out.
	ServiceValues bool
}

// Compare reads everything from r and reports what differs from want.
func Compare(t testing.TB, opts Options, want Content, r hub.Reader) {
	t.Helper()
	s := suite{opts: opts, want: want, r: r}
	s.info(t)
	s.rows(t)
	s.messages(t)
	s.blobs(t)
}

// suite is one Reader and what it must answer.
type suite struct {
	opts Options
	want Content
	r    hub.Reader
	open Open
}

// collect drains a stream and checks that it keeps to the rules of streams.
func collect[T any](t testing.TB, what string, seq iter.Seq2[T, error]) ([]T, error) {
	t.Helper()
	var all []T
	var failed error
	for v, err := range seq {
		switch {
		case failed != nil:
			t.Fatalf("%s: the stream goes on after the error %v", what, failed)
		case err == nil:
			all = append(all, v)
		default:
			failed = err
			var zero T
			if d := cmp.Diff(zero, v); d != "" {
				t.Errorf("%s: a value comes with the error %v", what, err)
			}
		}
	}
	return all, failed
}

// must is collect for a stream that has no reason to fail.
func must[T any](t testing.TB, what string, seq iter.Seq2[T, error]) []T {
	t.Helper()
	all, err := collect(t, what, seq)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return all
}

// comparable returns rows whose properties are sorted, without what the service
// sets, and which share no memory with those given.
func (s *suite) comparable(rows []schema.Row) []schema.Row {
	out := make([]schema.Row, len(rows))
	for i := range rows {
		out[i] = rows[i].Clone()
		out[i].SortProperties()
		if len(out[i].Properties) == 0 {
			out[i].Properties = nil
		}
		if s.opts.ServiceValues {
			out[i].Timestamp, out[i].ETag = 0, ""
		}
	}
	return out
}

// diffRows reports the first row that differs, and how many there are.
func (s *suite) diffRows(t testing.TB, what string, got, want []schema.Row) {
	t.Helper()
	got, want = s.comparable(got), s.comparable(want)
	for i := range min(len(got), len(want)) {
		if d := cmp.Diff(want[i], got[i]); d != "" {
			t.Errorf("%s: row %d of %d differs (-want +got):\n%s", what, i, len(want), d)
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: %d rows, want %d", what, len(got), len(want))
	}
}

func (s *suite) info(t testing.TB) {
	t.Helper()
	got, err := s.r.Info(t.Context())
	if err != nil {
		t.Errorf("Info: %v", err)
		return
	}
	want := hub.Info{
		Names: s.want.Names, Account: s.want.Account,
		PartitionCount: s.want.PartitionCount, PartitionCountFrom: s.want.PartitionCountFrom,
		Unreadable: s.want.Unreadable,
	}
	for _, k := range slices.Sorted(maps.Keys(s.want.Tables)) {
		want.Tables = append(want.Tables, hub.TableInfo{Table: k, Name: s.want.Names.Table(k), Rows: int64(len(s.want.Tables[k]))})
	}
	if s.opts.ServiceValues {
		got.Account, want.Unreadable = want.Account, nil
	}
	slices.SortFunc(got.Tables, func(a, b hub.TableInfo) int { return int(a.Table) - int(b.Table) })
	for i := range got.Tables {
		got.Tables[i].Started, got.Tables[i].Finished = 0, 0
		if got.Tables[i].Rows == -1 && i < len(want.Tables) {
			want.Tables[i].Rows = -1
		}
	}
	got.Started, got.Finished = 0, 0
	for _, info := range []*hub.Info{&got, &want} {
		if len(info.Unreadable) == 0 {
			info.Unreadable = nil
		}
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("Info differs (-want +got):\n%s", d)
	}
}

func (s *suite) rows(t testing.TB) {
	t.Helper()
	for _, table := range hub.Tables {
		what := "Rows of " + table.String()
		s.diffRows(t, what, must(t, what, s.r.Rows(t.Context(), table, hub.Keys{})), s.want.Tables[table])
	}
}

func (s *suite) messages(t testing.TB) {
	t.Helper()
	var want []hub.Queue
	for _, q := range s.want.Queues {
		want = append(want, hub.Queue{Name: q.Name, ApproximateCount: q.ApproximateCount})
		what := "Messages of " + q.Name
		got := must(t, what, s.r.Messages(t.Context(), q.Name))
		messages := slices.Clone(q.Messages)
		for i := range messages {
			messages[i].Queue = q.Name
		}
		if s.opts.ServiceValues {
			for i := range got {
				got[i] = schema.QueueMessage{Queue: got[i].Queue, Text: got[i].Text}
			}
			for i := range messages {
				messages[i] = schema.QueueMessage{Queue: q.Name, Text: messages[i].Text}
			}
		}
		diffList(t, what, got, messages)
	}
	got, err := s.r.Queues(t.Context())
	if err != nil {
		t.Errorf("Queues: %v", err)
	}
	diffList(t, "Queues", got, want)
}

func (s *suite) blobs(t testing.TB) {
	t.Helper()
	containers, err := s.r.Containers(t.Context())
	if err != nil {
		t.Errorf("Containers: %v", err)
	}
	want := slices.Clone(s.want.Containers)
	if s.opts.ServiceValues {
		for i := range containers {
			containers[i].LeaseState = ""
		}
		for i := range want {
			want[i].LeaseState = ""
		}
	}
	diffList(t, "Containers", containers, want)
	for _, c := range s.want.Containers {
		what := "Blobs of " + c.Name
		s.diffBlobs(t, what, must(t, what, s.r.Blobs(t.Context(), c.Name, "")), s.wantBlobs(c.Name, ""))
	}
	for _, b := range s.want.Blobs {
		data, err := s.r.ReadBlob(t.Context(), b.Container, b.Name, b.SizeBytes)
		if err != nil || string(data) != string(b.Data) {
			t.Errorf("ReadBlob(%s, %s) = %d bytes, %v, want the %d that were stored", b.Container, b.Name, len(data), err, len(b.Data))
		}
	}
}

func (s *suite) diffBlobs(t testing.TB, what string, got, want []hub.Blob) {
	t.Helper()
	plain := func(blobs []hub.Blob) []hub.Blob {
		blobs = slices.Clone(blobs)
		for i := range blobs {
			b := &blobs[i]
			if len(b.Metadata) == 0 {
				b.Metadata = nil
			}
			if len(b.ContentMD5) == 0 {
				b.ContentMD5 = nil
			}
			if s.opts.ServiceValues {
				b.ContentMD5, b.LeaseState, b.CreatedAt, b.LastModified = nil, "", 0, 0
			}
		}
		return blobs
	}
	diffList(t, what, plain(got), plain(want))
}

func diffList[T any](t testing.TB, what string, got, want []T) {
	t.Helper()
	if len(got) == 0 && len(want) == 0 {
		return
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("%s differs (-want +got):\n%s", what, d)
	}
}

// canceled returns a context that has ended, and its cause.
func canceled(t testing.TB) (context.Context, error) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	return ctx, cause
}
