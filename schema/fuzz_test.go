package schema_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/taskhub-tools/taskhub/schema"
)

// seeds adds what was recorded to a fuzz target, and fails if that is nothing.
// Thousands of texts differ only in their IDs: of each kind some are enough.
type seeds struct {
	f     *testing.F
	kinds map[string]int
	n     int
}

func newSeeds(f *testing.F) *seeds { return &seeds{f: f, kinds: make(map[string]int)} }

const seedsPerKind = 3

// add adds a text unless there are enough of its kind.
func (s *seeds) add(kind string, args ...any) {
	if s.kinds[kind]++; s.kinds[kind] <= seedsPerKind {
		s.n++
		s.f.Add(args...)
	}
}

func (s *seeds) check() {
	s.f.Helper()
	if s.n == 0 {
		s.f.Fatal("no seeds")
	}
}

// rowKind tells rows apart by table, event type and columns.
func rowKind(table *table, r *schema.Row) string {
	event, _ := r.Get("EventType").Text()
	kind := []string{table.kind(), event}
	for i := range r.Properties {
		kind = append(kind, r.Properties[i].Name)
	}
	return strings.Join(kind, " ")
}

// recordedRows calls f with recorded rows, each kind of row a few times.
func recordedRows(f *testing.F, add func(kind string, line []byte)) {
	f.Helper()
	for _, table := range recorded(f).tables {
		for _, line := range table.lines {
			r := decodeLine(f, line)
			add(rowKind(&table, &r), line)
		}
	}
}

func checkOffset(t *testing.T, err error, n int) {
	t.Helper()
	var syntax *schema.SyntaxError
	if !errors.As(err, &syntax) || syntax.Offset < 0 || syntax.Offset > n {
		t.Fatalf("error is %v, want a SyntaxError inside %d bytes", err, n)
	}
}

// checkWritten checks that a row comes back from its own text, with the same
// bytes.
func checkWritten(t *testing.T, r *schema.Row) {
	t.Helper()
	text := r.AppendJSON(nil)
	back, err := schema.DecodeRow(text)
	if err != nil {
		t.Fatalf("the row is written as %s: %v", text, err)
	}
	if !schema.SameProperties(r, &back) || r.Timestamp != back.Timestamp || r.ETag != back.ETag {
		t.Fatalf("the row %v is written as %s and read as %v", r, text, back)
	}
	if again := back.AppendJSON(nil); !bytes.Equal(text, again) {
		t.Fatalf("the row is written as\n%s and then as\n%s", text, again)
	}
}

func FuzzDecoderPage(f *testing.F) {
	s := newSeeds(f)
	recordedRows(f, func(kind string, line []byte) { s.add(kind, page([][]byte{line})) })
	for _, o := range oddRows {
		s.add(o.name, page([][]byte{[]byte(o.text), []byte(`{"A":1}`), []byte(o.text)}))
	}
	s.check()
	f.Fuzz(func(t *testing.T, text []byte) {
		var d schema.Decoder
		rows, err := d.Page(bytes.Clone(text), nil)
		if err != nil {
			checkOffset(t, err, len(text))
		}
		for i := range rows {
			checkWritten(t, &rows[i])
		}
		// What was learnt must not change what is read.
		again, err2 := d.Page(bytes.Clone(text), nil)
		if (err == nil) != (err2 == nil) || len(again) != len(rows) {
			t.Fatalf("read first: %d rows, %v; read again: %d rows, %v", len(rows), err, len(again), err2)
		}
		for i := range rows {
			if !schema.SameProperties(&rows[i], &again[i]) {
				t.Fatalf("row %d is first %v, then %v", i, rows[i], again[i])
			}
		}
	})
}

func FuzzDecoderLines(f *testing.F) {
	s := newSeeds(f)
	recordedRows(f, func(kind string, line []byte) { s.add(kind, line) })
	for _, o := range oddRows {
		s.add(o.name, []byte(o.text))
	}
	s.check()
	// One Decoder for all, so that it has seen whatever came before.
	var shared schema.Decoder
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := schema.DecodeRow(text)
		if _, problem := checkRow(text, r, err); problem != "" {
			t.Fatalf("%q: %s", text, problem)
		}
		rows, errLines := shared.Lines(bytes.Clone(text), nil)
		if errLines != nil {
			checkOffset(t, errLines, len(text))
		}
		for i := range rows {
			checkWritten(t, &rows[i])
		}
		if err != nil {
			return
		}
		if errLines != nil || len(rows) != 1 || !schema.SameProperties(&rows[0], &r) {
			t.Fatalf("%q is read as %v, and by a Decoder that has seen others as %v, %v", text, r, rows, errLines)
		}
	})
}

func FuzzTypedRows(f *testing.F) {
	s := newSeeds(f)
	recordedRows(f, func(kind string, line []byte) { s.add(kind, line) })
	s.check()
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := schema.DecodeRow(text)
		if err != nil {
			return
		}
		for _, kind := range []string{"History", "Instances", "Partitions"} {
			back, err := retype(kind, &r)
			if err == nil && !schema.SameProperties(&r, &back) {
				t.Fatalf("%s row %s is written as %s", kind, text, back.AppendJSON(nil))
			}
			// Even after an error every property is there; members that every
			// event has may have been added.
			for _, p := range r.Properties {
				if got := back.Get(p.Name); !got.Equal(p.Value) {
					t.Fatalf("%s row %s: %s became %v (error %v)", kind, text, p.Name, got, err)
				}
			}
			names := make(map[string]bool)
			for _, p := range back.Properties {
				if names[p.Name] {
					t.Fatalf("%s row %s: %s is written twice", kind, text, p.Name)
				}
				names[p.Name] = true
			}
		}
		if !r.IsSentinel() {
			if h, err := schema.DecodeHistoryRow(&r); err == nil {
				schema.AppendEventJSON(nil, h.Event, true)
				h.Rewound()
			}
		}
	})
}

func FuzzDecodeMessage(f *testing.F) {
	s := newSeeds(f)
	add := func(body string) {
		text, enc, err := schema.MessageText(body)
		if err != nil {
			f.Fatal(err)
		}
		m, err := schema.DecodeMessage(text, "")
		if err != nil {
			f.Fatal(err)
		}
		kind := "wrapper"
		if m.TaskMessage != nil {
			kind = m.TaskMessage.Event.Type().String()
		}
		if enc == schema.Base64 {
			kind += " in Base64"
		}
		s.add(kind, body)
	}
	for _, m := range recorded(f).messages {
		add(m.text)
	}
	s.check()
	for _, e := range everyEvent() {
		m := schema.Message{TaskMessage: &schema.TaskMessage{Event: e}}
		f.Add(string(m.AppendJSON(nil)))
	}
	f.Fuzz(func(t *testing.T, body string) {
		text, _, err := schema.MessageText(body)
		if err != nil {
			return
		}
		m, err := schema.DecodeMessage(text, "w")
		if err != nil {
			var bad *schema.DecodeError
			if !errors.As(err, &bad) {
				t.Fatalf("error is %v, want a DecodeError", err)
			}
			return
		}
		m.Target()
		if likeJSON(text) != text || strings.Contains(text, `\u`) {
			// Half of a surrogate pair, which becomes U+FFFD; checked by
			// TestMessageSurrogates.
			m = decodeMessage(t, string(m.AppendJSON(nil)))
		}
		first := m.AppendJSON(nil)
		back, err := schema.DecodeMessage(string(first), "w")
		if err != nil {
			t.Fatalf("%q is written as\n%s: %v", text, first, err)
		}
		if diff := cmp.Diff(m, back, stored); diff != "" {
			t.Fatalf("%q is written as\n%s and read as another message (-first +then):\n%s", text, first, diff)
		}
		// What we wrote is canonical, and canonical text comes back.
		if again := back.AppendJSON(nil); !bytes.Equal(first, again) {
			t.Fatalf("%q is written as\n%s\nand then as\n%s", text, first, again)
		}
	})
}

func FuzzDecodeEntityState(f *testing.F) {
	s := newSeeds(f)
	entityInputs(f, func(_, text string, request bool) {
		if !request {
			s.add(text, text)
		}
	})
	s.check()
	f.Fuzz(func(t *testing.T, text string) {
		state, err := schema.DecodeEntityState(text)
		if err != nil {
			return
		}
		first := state.AppendJSON(nil)
		back, err := schema.DecodeEntityState(string(first))
		if err != nil {
			t.Fatalf("%q is written as\n%s: %v", text, first, err)
		}
		if diff := cmp.Diff(state, back, stored); diff != "" && !strings.Contains(text, `\u`) {
			t.Fatalf("%q is written as\n%s and read as (-first +then):\n%s", text, first, diff)
		}
		if again := back.AppendJSON(nil); !bytes.Equal(first, again) {
			t.Fatalf("%q is written as\n%s\nand then as\n%s", text, first, again)
		}
	})
}

func FuzzDecodeEntityRequest(f *testing.F) {
	s := newSeeds(f)
	entityInputs(f, func(_, text string, request bool) {
		if request {
			s.add(text, text)
		}
	})
	s.check()
	f.Fuzz(func(t *testing.T, text string) {
		r, err := schema.DecodeEntityRequest(text)
		if err != nil {
			return
		}
		first := r.AppendJSON(nil)
		back, err := schema.DecodeEntityRequest(string(first))
		if err != nil {
			t.Fatalf("%q is written as\n%s: %v", text, first, err)
		}
		if diff := cmp.Diff(r, back, stored); diff != "" && !strings.Contains(text, `\u`) {
			t.Fatalf("%q is written as\n%s and read as (-first +then):\n%s", text, first, diff)
		}
		if again := back.AppendJSON(nil); !bytes.Equal(first, again) {
			t.Fatalf("%q is written as\n%s\nand then as\n%s", text, first, again)
		}
	})
}

func FuzzDecodeLeases(f *testing.F) {
	s := newSeeds(f)
	for _, b := range recorded(f).blobs {
		if strings.HasSuffix(b.container, "-leases") || strings.HasSuffix(b.container, "-applease") {
			s.add(b.name, b.content)
		}
	}
	s.check()
	f.Fuzz(func(t *testing.T, content []byte) {
		if l, err := schema.DecodeBlobLease(content); err == nil {
			text := l.AppendJSON(nil)
			if back, err := schema.DecodeBlobLease(text); err != nil || !cmp.Equal(l, back) {
				t.Fatalf("lease %q is written as %s and read as %+v, %v", content, text, back, err)
			}
		}
		if i, err := schema.DecodeTaskHubInfo(content); err == nil {
			text := i.AppendJSON(nil)
			if back, err := schema.DecodeTaskHubInfo(text); err != nil || i != back {
				t.Fatalf("taskhub.json %q is written as %s and read as %+v, %v", content, text, back, err)
			}
		}
		if a, err := schema.DecodeAppLeaseInfo(content); err == nil {
			text := a.AppendJSON(nil)
			back, err := schema.DecodeAppLeaseInfo(text)
			if err != nil || !bytes.Equal(back.AppendJSON(nil), text) {
				t.Fatalf("app lease %q is written as %s and read as %+v, %v", content, text, back, err)
			}
		}
	})
}

func FuzzKeys(f *testing.F) {
	s := newSeeds(f)
	for _, table := range recorded(f).tables {
		for _, line := range table.lines {
			if r := decodeLine(f, line); strings.Contains(r.PartitionKey, "^") || !isASCII(r.PartitionKey) {
				s.add(r.PartitionKey, r.PartitionKey)
			}
		}
	}
	s.check()
	f.Add("a" + lone + "/^\u0085")
	f.Fuzz(func(t *testing.T, text string) {
		// As an ID: valid UTF-8 or not, escaping is undone.
		key := schema.EscapeKey(text)
		if strings.ContainsAny(key, "/\\#?\t\n\r\x00\x7f") {
			t.Fatalf("EscapeKey(%q) = %q cannot be a key", text, key)
		}
		if got, err := schema.UnescapeKey(key); got != text || err != nil {
			t.Fatalf("UnescapeKey(EscapeKey(%q)) = %q, %v", text, got, err)
		}
		if got := schema.InstanceID(key); got != text {
			t.Fatalf("InstanceID(EscapeKey(%q)) = %q", text, got)
		}
		if utf8.ValidString(text) != utf8.ValidString(key) {
			t.Fatalf("EscapeKey(%q) = %q: one is valid UTF-8, the other not", text, key)
		}
		// As a key: an ID is found for any.
		id := schema.InstanceID(text)
		if id != text && schema.EscapeKey(id) != text {
			t.Fatalf("InstanceID(%q) = %q, of which the key is %q", text, id, schema.EscapeKey(id))
		}
		if _, err := schema.UnescapeKey(text); err != nil && id != text {
			t.Fatalf("InstanceID(%q) = %q, of a key that is an error", text, id)
		}
		if p := schema.Partition(text, 16); p < 0 || p > 15 {
			t.Fatalf("Partition(%q, 16) = %d", text, p)
		}
		if end := schema.PrefixEnd(text); end != "" && utf8.ValidString(text) && schema.CompareKeys(text+"\uffff\uffff", end) >= 0 {
			t.Fatalf("PrefixEnd(%q) = %q", text, end)
		}
		if got := schema.CompareKeys(text, text); got != 0 {
			t.Fatalf("CompareKeys(%q, itself) = %d", text, got)
		}
	})
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func FuzzParseTicks(f *testing.F) {
	s := newSeeds(f)
	for _, table := range recorded(f).tables {
		for _, line := range table.lines {
			r := decodeLine(f, line)
			s.add(table.name, r.Timestamp.String())
		}
	}
	s.check()
	for _, text := range []string{"2026-11-22T04:07", "0001-01-01T00:00:00", "2024-02-29T00:00:00.5+05:30", "9999-12-31T23:59:59.9999999Z"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, err := schema.ParseTicks(text)
		if err != nil {
			return
		}
		if at < 0 || at > schema.MaxTicks {
			t.Fatalf("ParseTicks(%q) = %d, out of range", text, at)
		}
		if len(text) == len(at.String()) && strings.HasSuffix(text, "Z") && text[10] == 'T' && at.String() != text {
			t.Fatalf("ParseTicks(%q) = %v", text, at)
		}
		for _, form := range []string{at.String(), string(at.AppendTrimmed(nil))} {
			if back, err := schema.ParseTicks(form); back != at || err != nil {
				t.Fatalf("ParseTicks(%q) = %v, %v, want that of %q, %v", form, back, err, text, at)
			}
		}
		if back := schema.TicksOf(at.Time()); back != at {
			t.Fatalf("TicksOf(Time()) of %v = %v", at, back)
		}
		if ns, ok := at.UnixNano(); ok && ns != at.Time().UnixNano() || !ok && math.Abs(float64(at.Time().Unix())) < 9.2e9 {
			t.Fatalf("UnixNano of %v = %d, %v", at, ns, ok)
		}
	})
}

func FuzzBlobURLs(f *testing.F) {
	s := newSeeds(f)
	for _, b := range recorded(f).blobs {
		kind := b.container
		if n, ok := schema.ParseBlobName(b.name); ok {
			kind += n.EventType + n.Column
		}
		s.add(kind, b.container, b.name)
	}
	s.check()
	f.Add("c", `r\s/message-1-ExecutionStarted.json.gz`)
	f.Add("c", "50% off/%2F%zz")
	f.Fuzz(func(t *testing.T, container, name string) {
		schema.ParseBlobURL(name, container)
		i := schema.Instance{Input: schema.TextOf(name)}
		i.InputRef(container)
		if b, ok := schema.ParseBlobName(name); ok && (!strings.HasPrefix(name, b.Folder+"/") || b.EventType == "" && !strings.Contains(name, "--") && !strings.HasSuffix(name, "-.json.gz")) {
			t.Fatalf("ParseBlobName(%q) = %+v", name, b)
		}
		if container == "" || strings.ContainsAny(container, "/%?#") || name == "" || !utf8.ValidString(name) {
			return
		}
		for _, endpoint := range []string{"https://a.blob.example.com", "http://127.0.0.1:10000/a/"} {
			if strings.Contains(endpoint, "/"+container+"/") {
				continue // the account is called like the container
			}
			url := schema.BlobURL(endpoint, container, name)
			if got, ok := schema.ParseBlobURL(url, container); got != schema.StoredBlobName(name) || !ok {
				t.Fatalf("ParseBlobURL(%q) = %q, %v, want %q", url, got, ok, schema.StoredBlobName(name))
			}
		}
	})
}
