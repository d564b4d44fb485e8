package verify

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

var blobCodes = []string{codeBlobMissing, codeBlobCorrupt, codeBlobOrphan}

func zipped(text string) []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	if _, err := z.Write([]byte(text)); err != nil {
		panic(err)
	}
	if err := z.Close(); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// upload stores a payload, ten minutes before the hub was recorded.
func upload(m *testhub.Memory, name, text string) { store(m, name, zipped(text)) }

func store(m *testhub.Memory, name string, data []byte) {
	sum := md5.Sum(data)
	m.Content.Blobs = append(m.Content.Blobs, hubtest.Blob{Data: data, Blob: hub.Blob{
		Container: m.Content.Names.LargeMessages(), Name: name, SizeBytes: int64(len(data)), ContentMD5: sum[:],
		LastModified: m.Started - 6_000_000_000,
	}})
	m.Content.Sort()
}

// TestPurgeDamaged compares what is found with the blobs of the recorded hub
// before and after the framework purged order-1 and weird/large\id#?.
func TestPurgeDamaged(t *testing.T) {
	before, after := memory(t, "dtfx-2.9.1"), memory(t, "dtfx-2.9.1-purge-damaged")
	payloads := func(m *testhub.Memory) map[string]bool {
		names := make(map[string]bool)
		for _, b := range m.Content.Blobs {
			if b.Container == "labhub-largemessages" {
				names[b.Name] = true
			}
		}
		return names
	}
	// Whatever a row has that is the name or the address of a blob refers to it.
	named := make(map[string]string) // by blob: the instance
	for _, rows := range after.Content.Tables {
		for _, row := range rows {
			for _, p := range row.Properties {
				text, _ := p.Value.Text()
				if _, address, ok := strings.Cut(text, "/labhub-largemessages/"); ok {
					if path, err := url.PathUnescape(address); err == nil {
						named[path] = row.PartitionKey
					}
				} else if strings.HasSuffix(p.Name, "BlobName") {
					named[text] = row.PartitionKey
				}
			}
		}
	}
	var want []string
	taken := 0
	was, is := payloads(before), payloads(after)
	for name := range was {
		if is[name] {
			continue
		}
		taken++
		if id, ok := named[name]; ok {
			want = append(want, fmt.Sprintf("blob-missing error %s %s", id, name))
		}
	}
	leaked := 0
	for name := range is {
		if _, ok := named[name]; !ok {
			leaked++
			want = append(want, "blob-orphan info weird/large\\id#? "+name)
		}
	}
	slices.Sort(want)
	// All six of order-1 and of order-10 were taken, of which three have rows that
	// name them. Six were left, in two folders.
	if taken != 12 || leaked != 6 || len(want) != 9 {
		t.Fatalf("the recordings differ by %d blobs, %d are named by nothing:\n%s", taken, leaked, strings.Join(want, "\n"))
	}
	for _, readBlobs := range []bool{false, true} {
		found, _ := Hub(t.Context(), testhub.OpenHub(t, "dtfx-2.9.1-purge-damaged"), Options{Checks: blobCodes, ReadBlobs: readBlobs})
		var got []string
		for f, err := range found {
			if err != nil {
				t.Fatal(err)
			}
			blob := f.At[len(f.At)-1].Blob
			id := f.InstanceID
			if strings.HasPrefix(blob, "weird/large/id#?/") && id == "weird/large/id#?" {
				id = `weird/large\id#?` // the folder does not tell
			}
			got = append(got, fmt.Sprintf("%s %s %s %s", f.Code, f.Severity, id, blob))
			if f.Code == codeBlobMissing && !slices.ContainsFunc(f.At, func(p Place) bool { return p.Table == "History" }) {
				t.Errorf("%s does not say which row names it: %v", blob, f.At)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("findings, blobs read: %v (-want +got):\n%s", readBlobs, diff)
		}
	}
}

// TestRecordedBlobs checks that no payload of another recorded hub is missing or
// damaged, whether it is unpacked or not.
func TestRecordedBlobs(t *testing.T) {
	checked := 0
	for _, recording := range testhub.Recordings {
		if recording.Name == "dtfx-2.9.1-purge-damaged" {
			continue
		}
		r := testhub.OpenHub(t, recording.Name)
		containers, err := r.Containers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(containers, func(c hub.Container) bool { return c.Name == recording.Names.LargeMessages() }) {
			continue
		}
		checked++
		for _, readBlobs := range []bool{false, true} {
			if got := findings(t, r, Options{ReadBlobs: readBlobs}, codeBlobMissing, codeBlobCorrupt); got != nil {
				t.Errorf("%s, blobs read: %v: %v", recording.Name, readBlobs, got)
			}
		}
	}
	if checked < 10 {
		t.Errorf("%d hubs have payloads", checked)
	}
}

// TestBlobs changes one payload of a recorded hub.
func TestBlobs(t *testing.T) {
	base := memory(t, "functions-3") // no worker owns a partition
	const result = "large-in/history-0000000000000005-TaskCompleted-7E542290-Result.json.gz"
	change := func(name string, to func(b *hubtest.Blob)) func(m *testhub.Memory) {
		return func(m *testhub.Memory) {
			for i := range m.Content.Blobs {
				if m.Content.Blobs[i].Name == name {
					to(&m.Content.Blobs[i])
					return
				}
			}
			t.Fatalf("no blob %s", name)
		}
	}
	content := func(data []byte) func(m *testhub.Memory) {
		return change(result, func(b *hubtest.Blob) {
			sum := md5.Sum(data)
			b.Data, b.SizeBytes, b.ContentMD5 = data, int64(len(data)), sum[:]
		})
	}
	remove := func(m *testhub.Memory) {
		m.Content.Blobs = slices.DeleteFunc(m.Content.Blobs, func(b hubtest.Blob) bool { return b.Name == result })
	}
	flipped := zipped("some text that is whole")
	flipped[len(flipped)-6] ^= 1 // of the CRC
	for _, test := range []struct {
		name   string
		change func(m *testhub.Memory)
		opts   Options
		want   []string // without the place
		unsure string   // the code of which one outcome more is unknown
	}{
		{name: "nothing", change: func(*testhub.Memory) {}},
		{name: "gone", change: remove, want: []string{"blob-missing error large-in"}},
		{name: "gone, of an instance that is asked for", change: remove, opts: Options{Instances: []string{"large-in"}}, want: []string{"blob-missing error large-in"}},
		{name: "gone, of another instance", change: remove, opts: Options{Instances: []string{"hello-1"}}},
		{name: "an empty blob", change: content(nil), want: []string{"blob-corrupt error large-in"}},
		{name: "no gzip", change: content([]byte("just some text that was not packed")), want: []string{"blob-corrupt error large-in"}},
		{name: "half of gzip", change: content(zipped(strings.Repeat("text ", 1000))[:30]), want: []string{"blob-corrupt error large-in"}},
		{name: "a wrong CRC", change: content(flipped), want: []string{"blob-corrupt error large-in"}},
		{name: "no UTF-8", change: content(zipped("text \xff text")), want: []string{"blob-corrupt error large-in"}},
		{
			name: "another MD5", change: change(result, func(b *hubtest.Blob) { b.ContentMD5 = make([]byte, 16) }),
			want: []string{"blob-corrupt error large-in"},
		},
		{name: "no MD5", change: change(result, func(b *hubtest.Blob) { b.ContentMD5 = nil })},
		{
			name: "another size", change: change(result, func(b *hubtest.Blob) { b.SizeBytes++ }),
			want: []string{"blob-corrupt error large-in"},
		},
		{
			name: "a bomb", change: content(zipped(strings.Repeat("\x00", 1<<20))), opts: Options{MaxBlobBytes: 100_000},
			unsure: codeBlobCorrupt,
		},
		{
			name: "a payload that nothing names", change: func(m *testhub.Memory) {
				upload(m, "gone/history-0000000000000001-ExecutionStarted-00000001-Input.json.gz", "x")
			},
			want: []string{"blob-orphan info gone"},
		},
		{
			name: "one of those that were asked for", opts: Options{Instances: []string{"gone"}},
			change: func(m *testhub.Memory) {
				upload(m, "gone/history-0000000000000001-ExecutionStarted-00000001-Input.json.gz", "x")
				upload(m, "gone/2/history-0000000000000001-ExecutionStarted-00000001-Input.json.gz", "x")
			},
			want: []string{"blob-orphan info gone"},
		},
		{
			name: "a payload of no known name", change: func(m *testhub.Memory) { upload(m, "readme.txt", "x") },
			want: []string{"blob-orphan info "},
		},
		{
			name: "a folder", change: func(m *testhub.Memory) {
				upload(m, "gone", "x")
				m.Content.Blobs = slices.Clone(m.Content.Blobs)
				change("gone", func(b *hubtest.Blob) { b.Metadata = map[string]string{"Hdi_isfolder": "true"} })(m)
			},
		},
		{
			name: "a payload of a moment ago", change: func(m *testhub.Memory) {
				upload(m, "gone/history-0000000000000001-ExecutionStarted-00000001-Input.json.gz", "x")
				change("gone/history-0000000000000001-ExecutionStarted-00000001-Input.json.gz", func(b *hubtest.Blob) { b.LastModified = m.Started - 10_000_000 })(m)
			},
			unsure: codeBlobOrphan,
		},
		{
			name: "a message that nothing names, with hidden messages", change: func(m *testhub.Memory) { upload(m, "hello-1/message-1-EventRaised.json.gz", "x") },
			unsure: codeBlobOrphan,
		},
		{
			name: "one for an entity that is not there yet", change: func(m *testhub.Memory) { upload(m, "@a@new/message-1-EventRaised.json.gz", "x") },
			unsure: codeBlobOrphan,
		},
		{
			name: "one for an instance that is gone", change: func(m *testhub.Memory) { upload(m, "wh/y/gone/message-1-EventRaised.json.gz", "x") },
			want: []string{"blob-orphan info wh/y/gone"},
		},
		{
			name: "a payload that a left-over row names", change: func(m *testhub.Memory) {
				const name = "hello-1/history-00000000000000FF-ExecutionCompleted-00000001-Result.json.gz"
				upload(m, name, "x")
				m.Content.Tables[hub.History] = append(m.Content.Tables[hub.History], schema.Row{
					PartitionKey: "hello-1", RowKey: "00000000000000FF", Properties: []schema.Property{
						{Name: "EventType", Value: schema.String("ExecutionCompleted")},
						{Name: "ExecutionId", Value: schema.String("earlier")},
						{Name: "EventId", Value: schema.Int32(3)},
						{Name: "IsPlayed", Value: schema.Boolean(false)},
						{Name: "_Timestamp", Value: schema.DateTime(m.Started - 1e9)},
						{Name: "ResultBlobName", Value: schema.String(name)},
					},
				}, schema.Row{
					PartitionKey: "hello-1", RowKey: "00000000000000FE", Properties: []schema.Property{
						{Name: "EventType", Value: schema.String("TaskCompleted")},
						{Name: "ExecutionId", Value: schema.String("earlier")},
						{Name: "EventId", Value: schema.Int32(3)},
						{Name: "IsPlayed", Value: schema.Boolean(false)},
						{Name: "_Timestamp", Value: schema.DateTime(m.Started - 1e9)},
						{Name: "ResultBlobName", Value: schema.String("hello-1/history-gone.json.gz")},
					},
				})
				m.Content.Sort()
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			outcome := func(m *testhub.Memory) ([]string, *Summary) {
				opts := test.opts
				opts.Checks = blobCodes
				found, summary := Hub(t.Context(), m, opts)
				var got []string
				for f, err := range found {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, fmt.Sprintf("%s %s %s", f.Code, f.Severity, f.InstanceID))
				}
				return got, summary
			}
			_, usual := outcome(base)
			m := clone(base)
			test.change(m)
			got, summary := outcome(m)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			for i, o := range summary.Checks {
				want := usual.Checks[i].Unknown
				if o.Code == test.unsure {
					want++
				}
				if o.Unknown != want {
					t.Errorf("%s has %d unknown outcomes, want %d: %v", o.Code, o.Unknown, want, o.Reasons)
				}
			}
		})
	}
}

// TestBlobsLive checks that only the list of payloads of a running hub is read
// unless more is asked for, and that what looks wrong is read again.
func TestBlobsLive(t *testing.T) {
	const input = "large-in/history-0000000000000001-ExecutionStarted-2864E73B-Input.json.gz"
	base := memory(t, "functions-3")
	damaged := clone(base)
	for i := range damaged.Content.Blobs {
		if b := &damaged.Content.Blobs[i]; b.Name == input {
			b.Data = slices.Clone(b.Data)
			b.Data[len(b.Data)-1] ^= 1
		}
	}
	now := func() time.Time { return base.Finished.Time().Add(24 * time.Hour) }
	if got := findings(t, &live{Memory: damaged}, Options{Now: now}, codeBlobCorrupt); got != nil {
		t.Errorf("without reading blobs: %v", got)
	}
	want := []string{"blob-corrupt error large-in funclab-largemessages/" + input}
	if diff := cmp.Diff(want, findings(t, &live{Memory: damaged}, Options{Now: now, ReadBlobs: true}, codeBlobCorrupt)); diff != "" {
		t.Errorf("findings with blobs read (-want +got):\n%s", diff)
	}
	for _, readBlobs := range []bool{false, true} {
		if got := findings(t, &live{Memory: base}, Options{Now: now, ReadBlobs: readBlobs}, blobCodes...); got != nil {
			t.Errorf("findings of an undamaged hub, blobs read: %v: %v", readBlobs, got)
		}
	}

	// A blob is replaced between the list and the reading.
	replaced := clone(base)
	for i := range replaced.Content.Blobs {
		if b := &replaced.Content.Blobs[i]; b.Name == input {
			b.ContentMD5 = make([]byte, md5.Size)
		}
	}
	for lists, want := range map[int]int{3: 0, 100: 1} {
		r := &changing{live: live{Memory: replaced}, then: base, lists: lists}
		if got := findings(t, r, Options{Now: now, ReadBlobs: true}, codeBlobCorrupt); len(got) != want {
			t.Errorf("findings %v after the list number %d changed, want %d", got, lists, want)
		}
	}

	gone := clone(base)
	gone.Content.Blobs = slices.DeleteFunc(gone.Content.Blobs, func(b hubtest.Blob) bool { return b.Name == input })
	moved := clone(gone) // what named it is gone, too
	for table, rows := range moved.Content.Tables {
		moved.Content.Tables[table] = slices.DeleteFunc(rows, func(r schema.Row) bool { return r.PartitionKey == "large-in" })
	}
	want = []string{"blob-missing error large-in Instances/large-in.Input"}
	for _, test := range []struct {
		name string
		then *testhub.Memory
		want []string
	}{
		{"nothing has changed", gone, want},
		{"the blob was written", base, nil},
		{"the instance was purged", moved, nil},
	} {
		r := &changing{live: live{Memory: gone}, then: test.then, lists: 2}
		if diff := cmp.Diff(test.want, findings(t, r, Options{Now: now}, codeBlobMissing)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.name, diff)
		}
	}
}

// changing is a hub that changes when its payloads are listed for the nth time.
type changing struct {
	live
	mu    sync.Mutex
	lists int // the number of that time, counted down
	then  *testhub.Memory
}

func (l *changing) Blobs(ctx context.Context, container, prefix string) iter.Seq2[hub.Blob, error] {
	l.mu.Lock()
	defer l.mu.Unlock()
	if strings.HasSuffix(container, "-largemessages") {
		if l.lists--; l.lists <= 0 {
			l.Memory = l.then
		}
	}
	return l.Memory.Blobs(ctx, container, prefix)
}

func (l *changing) ReadBlob(ctx context.Context, container, name string, limit int64) ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Memory.ReadBlob(ctx, container, name, limit)
}

// TestBlobsEnd checks that no reading of payloads goes on after a verification has
// ended, whether nobody wants more of it or it was cancelled: synctest would tell.
func TestBlobsEnd(t *testing.T) {
	m := memory(t, "functions-3")
	for i := range 100 {
		upload(m, fmt.Sprintf("gone%02d/history-0000000000000001-ExecutionStarted-00000001-Input.json.gz", i), "x")
	}
	stop := errors.New("stopped by the test")
	for _, after := range []int{1, 50} {
		for _, breaks := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				found, _ := Hub(ctx, m, Options{Checks: blobCodes, ReadBlobs: true})
				n := 0
				var last error
				for _, err := range found {
					if err != nil {
						last = err
						continue
					}
					if n++; n < after {
						continue
					}
					if breaks {
						break
					}
					cancel(stop)
				}
				if !breaks && !errors.Is(last, stop) || breaks && last != nil {
					t.Errorf("after %d findings, break %v: %d findings and %v", after, breaks, n, last)
				}
			})
		}
	}
}

// TestManyMissing checks that what is kept of blobs that are gone is bounded, and
// that all of them are reported or counted.
func TestManyMissing(t *testing.T) {
	const n = maxMissing + 500
	c := hubtest.Content{Names: hub.Names{TaskHub: "H"}, PartitionCount: 1, Tables: map[hub.Table][]schema.Row{}}
	for i := range n {
		c.Tables[hub.Instances] = append(c.Tables[hub.Instances], schema.Row{PartitionKey: fmt.Sprintf("i%06d", i), Properties: []schema.Property{
			{Name: "Input", Value: schema.String("")},
			{Name: "InputBlobName", Value: schema.String(fmt.Sprintf("i%06d/history--Input-00000001-Input.json.gz", i))},
			{Name: "Output", Value: schema.String(fmt.Sprintf("https://a.blob.core.windows.net/h-largemessages/i%06d/history--Input-00000001-Input.json.gz", i))},
		}})
	}
	m := testhub.NewMemory(c)
	m.Started, m.Finished = partitionsNow, partitionsNow
	found, summary := Hub(t.Context(), m, Options{Checks: []string{codeBlobMissing}})
	got, rest := 0, ""
	for f, err := range found {
		if err != nil {
			t.Fatal(err)
		}
		if f.InstanceID == "" {
			rest = f.Detail
			continue
		}
		got++
		if len(f.At) != 3 {
			t.Fatalf("%s: both columns and the blob are not named: %v", f.InstanceID, f.At)
		}
	}
	if got != maxMissing || !strings.Contains(rest, " 1000 more") {
		t.Errorf("%d findings, then %q", got, rest)
	}
	if o := summary.Checks[0]; o.Violated != maxMissing+1 {
		t.Errorf("outcomes %+v", o)
	}
}

func TestUTF8Writer(t *testing.T) {
	for _, text := range []string{"", "plain", "日本語 😀", "\xff", "a\xe6\x97", "\x80", "😀\xf0\x9f\x98", strings.Repeat("é", 100)} {
		for cut := 1; cut <= 5; cut++ {
			var w utf8Writer
			for rest := []byte(text); len(rest) > 0; {
				n := min(cut, len(rest))
				if m, err := w.Write(rest[:n]); m != n || err != nil {
					t.Fatalf("Write = %d, %v", m, err)
				}
				rest = rest[n:]
			}
			if got, want := w.valid(), strings.ToValidUTF8(text, "") == text; got != want {
				t.Errorf("%q in pieces of %d: valid = %v, want %v", text, cut, got, want)
			}
		}
	}
}
