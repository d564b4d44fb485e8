package schema_test

import (
	"slices"
	"testing"

	"github.com/taskhub-tools/taskhub/schema"
)

func TestUTF16Len(t *testing.T) {
	for in, want := range map[string]int{"": 0, "abc": 3, "ü": 1, "日本語": 3, "😀": 2, lone: 1, "a😀ü": 4} {
		if got := schema.UTF16Len(in); got != want {
			t.Errorf("UTF16Len(%q) = %d, want %d", in, got, want)
		}
	}
}

func TestThresholds(t *testing.T) {
	if schema.MaxColumnUnits != 30_720 {
		t.Errorf("MaxColumnUnits = %d, want 30720: 30,721 units go to a blob", schema.MaxColumnUnits)
	}
	if schema.MaxMessageBytes != 46_080 {
		t.Errorf("MaxMessageBytes = %d, want 46080: 46,081 bytes go to a blob", schema.MaxMessageBytes)
	}
}

const (
	endpoint  = "https://acct.blob.core.windows.net"
	container = "myhub-largemessages"
	activity  = "5406d369-4369-4673-afae-6671a2fa1e57"
)

func TestBlobNamesAndURLs(t *testing.T) {
	const (
		history = "/history-0000000000000001-ExecutionStarted-1A2B3C4D-Input.json.gz"
		message = "/message-5406d36943694673afae6671a2fa1e57-ExecutionStarted.json.gz"
	)
	tests := []struct {
		id, history, historyURL, message, messageURL, stored string
	}{
		{"hello", "hello", "hello", "hello", "hello", "hello"},
		{"@counter@cats", "@counter@cats", "%40counter%40cats", "@counter@cats", "%40counter%40cats", "@counter@cats"},
		{"order#42/line?7", "order^242^0line^37", "order%5E242%5E0line%5E37", "order#42/line?7", "order%2342/line%3F7", "order#42/line?7"},
		{"ünïcode/#?", "ünïcode^0^2^3", "%C3%BCn%C3%AFcode%5E0%5E2%5E3", "ünïcode/#?", "%C3%BCn%C3%AFcode/%23%3F", "ünïcode/#?"},
		{`r\s`, "r^1s", "r%5E1s", `r\s`, "r%5Cs", "r/s"},
		{"a~b-c._d e+%", "a~b-c._d e+%", "a~b-c._d%20e%2B%25", "a~b-c._d e+%", "a~b-c._d%20e%2B%25", "a~b-c._d e+%"},
	}
	for _, tt := range tests {
		t.Run(tt.id, func(t *testing.T) {
			h := schema.HistoryBlobName(tt.id, schema.FormatSequence(1), "ExecutionStarted", "Input", 0x1A2B3C4D)
			if h != tt.history+history {
				t.Errorf("HistoryBlobName = %q, want %q", h, tt.history+history)
			}
			m := schema.MessageBlobName(tt.id, activity, schema.TypeExecutionStarted)
			if m != tt.message+message {
				t.Errorf("MessageBlobName = %q, want %q", m, tt.message+message)
			}
			if got := schema.StoredBlobName(m); got != tt.stored+message {
				t.Errorf("StoredBlobName = %q, want %q", got, tt.stored+message)
			}
			for _, v := range []struct{ name, url, stored string }{
				{h, tt.historyURL + history, h}, {m, tt.messageURL + message, tt.stored + message},
			} {
				url := endpoint + "/" + container + "/" + v.url
				for _, e := range []string{endpoint, endpoint + "/"} {
					if got := schema.BlobURL(e, container, v.name); got != url {
						t.Errorf("BlobURL(%q, …, %q) = %q, want %q", e, v.name, got, url)
					}
				}
				if got, ok := schema.ParseBlobURL(url, container); got != v.stored || !ok {
					t.Errorf("ParseBlobURL(%q) = %q, %v, want %q", url, got, ok, v.stored)
				}
			}
			if b, ok := schema.ParseBlobName(h); !ok || b.InstanceID() != tt.id || b.Message {
				t.Errorf("ParseBlobName(%q) = %+v, %v, want a history blob of %q", h, b, ok, tt.id)
			}
			if b, ok := schema.ParseBlobName(tt.stored + message); !ok || b.InstanceID() != tt.stored || !b.Message {
				t.Errorf("ParseBlobName(%q) = %+v, %v, want a message blob of %q", tt.stored+message, b, ok, tt.stored)
			}
		})
	}
}

func TestParseBlobName(t *testing.T) {
	tests := []struct {
		name, blob string
		want       schema.BlobName
	}{
		{"history", "hello/history-0000000000000005-TaskCompleted-1A2B3C4D-Result.json.gz", schema.BlobName{Folder: "hello", Key: "0000000000000005", EventType: "TaskCompleted", Column: "Result"}},
		{"history before 1.13.7", "hello/history-0000000000000005-TaskCompleted-Result.json.gz", schema.BlobName{Folder: "hello", Key: "0000000000000005", EventType: "TaskCompleted", Column: "Result"}},
		{"history before 1.6.5", "hello/history-0000000000000005-taskcompleted-result.json.gz", schema.BlobName{Folder: "hello", Key: "0000000000000005", EventType: "taskcompleted", Column: "result"}},
		{"pending input", "hello/history--Input-0000BEEF-Input.json.gz", schema.BlobName{Folder: "hello", EventType: "Input", Column: "Input"}},
		{"pending input before 1.13.7", "hello/history--Input-Input.json.gz", schema.BlobName{Folder: "hello", EventType: "Input", Column: "Input"}},
		{"pending tags", "hello/history--Tags-0000BEEF-Tags.json.gz", schema.BlobName{Folder: "hello", EventType: "Tags", Column: "Tags"}},
		{"termination reason", "hello/history--Output-0000BEEF-Output.json.gz", schema.BlobName{Folder: "hello", EventType: "Output", Column: "Output"}},
		{"message", "a/b/message-5406d36943694673afae6671a2fa1e57-TimerFired.json.gz", schema.BlobName{Folder: "a/b", Message: true, Key: "5406d36943694673afae6671a2fa1e57", EventType: "TimerFired"}},
		{"message before 1.6.5", "hello/message-0000000000000028-executionstarted.json.gz", schema.BlobName{Folder: "hello", Message: true, Key: "0000000000000028", EventType: "executionstarted"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := schema.ParseBlobName(tt.blob); got != tt.want || !ok {
				t.Errorf("ParseBlobName(%q) = %+v, %v, want %+v", tt.blob, got, ok, tt.want)
			}
		})
	}
	if got := schema.HistoryBlobName("hello", "", "Input", "Input", 0xBEEF); got != tests[3].blob {
		t.Errorf("HistoryBlobName of a pending row = %q, want %q", got, tests[3].blob)
	}
	for _, name := range []string{"", "hello", "hello/", "hello/x.json.gz", "hello/message-1.json.gz", "hello/history-1-2.json.gz", "hello/message-1-2.json", "message-1-2.json.gz", "hello/history-1-2-3-4-5.json.gz"} {
		if got, ok := schema.ParseBlobName(name); ok || got != (schema.BlobName{}) {
			t.Errorf("ParseBlobName(%q) = %+v, %v, want not ok", name, got, ok)
		}
	}
}

func TestParseBlobURL(t *testing.T) {
	const blob = "order^2/history-1-E-1-Input.json.gz"
	tests := []struct {
		name, url, want string // empty: not ok
	}{
		{"account in the host", "https://acct.blob.core.windows.net/myhub-largemessages/order%5E2/history-1-E-1-Input.json.gz", blob},
		{"account in the path", "http://127.0.0.1:10000/devstoreaccount1/myhub-largemessages/order%5E2/history-1-E-1-Input.json.gz", blob},
		{"not encoded", "https://acct.blob.core.windows.net/myhub-largemessages/order^2/history-1-E-1-Input.json.gz", blob},
		{"not encoded, with a per cent sign", "https://acct.blob.core.windows.net/myhub-largemessages/50% off/history-1-E-1-Input.json.gz", "50% off/history-1-E-1-Input.json.gz"},
		{"lower-case hex", "https://acct.blob.core.windows.net/myhub-largemessages/order%5e2/history-1-E-1-Input.json.gz", blob},
		{"another container", "https://acct.blob.core.windows.net/other-largemessages/order%5E2/x.json.gz", ""},
		{"no container", "https://example.com", ""},
		{"container deep in the path", "https://example.com/a/b/myhub-largemessages/x", ""},
		{"container without a name", "https://acct.blob.core.windows.net/myhub-largemessages/", ""},
		{"only the container", "https://acct.blob.core.windows.net/myhub-largemessages", ""},
		{"JSON string", `"https://acct.blob.core.windows.net/myhub-largemessages/a/b"`, ""},
		{"another scheme", "ftp://acct/myhub-largemessages/a/b", ""},
		{"text", "terminated by myhub-largemessages/a", ""},
		{"empty", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, ok := schema.ParseBlobURL(tt.url, container); got != tt.want || ok != (tt.want != "") {
				t.Errorf("ParseBlobURL(%q) = %q, %v, want %q", tt.url, got, ok, tt.want)
			}
		})
	}
}

func TestInputAndOutputRef(t *testing.T) {
	const (
		history = "hello/history-0000000000000001-ExecutionStarted-1A2B3C4D-Input.json.gz"
		start   = "hello/message-5406d36943694673afae6671a2fa1e57-ExecutionStarted.json.gz"
		base    = endpoint + "/" + container + "/"
	)
	tests := []struct {
		name string
		in   schema.Text
		want schema.Ref
	}{
		{"absent", schema.Text{}, schema.Ref{}},
		{"text", schema.TextOf(`"x"`), schema.Ref{}},
		{"history blob", schema.TextOf(base + history), schema.Ref{Blob: history}},
		{"start message", schema.TextOf(base + start), schema.Ref{Blob: start, InMessage: true}},
		{"start message by its name, before 1.9.2", schema.TextOf(start), schema.Ref{Blob: start, InMessage: true}},
		{"start message of an ID with a backslash", schema.TextOf(base + `r%5Cs/message-1-ExecutionStarted.json.gz`), schema.Ref{Blob: "r/s/message-1-ExecutionStarted.json.gz", InMessage: true}},
		{"text like a history blob", schema.TextOf(history), schema.Ref{}},
		{"URL of something else", schema.TextOf("https://example.com/a"), schema.Ref{}},
		{"URL as JSON", schema.TextOf(`"` + base + history + `"`), schema.Ref{}},
		{"pending: the column is empty and names a blob", schema.Text{Set: true, Blob: "hello/history--Input-0000BEEF-Input.json.gz"}, schema.Ref{Blob: "hello/history--Input-0000BEEF-Input.json.gz"}},
		{"stale name beside a URL", schema.Text{Set: true, Value: base + history, Blob: "hello/history--Input-0000BEEF-Input.json.gz"}, schema.Ref{Blob: history}},
		{"stale name beside a value", schema.Text{Set: true, Value: `"x"`, Blob: "hello/history--Input-0000BEEF-Input.json.gz"}, schema.Ref{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			i := schema.Instance{Input: tt.in}
			if got := i.InputRef(container); got != tt.want {
				t.Errorf("InputRef of %+v = %+v, want %+v", tt.in, got, tt.want)
			}
			if tt.in.Blob != "" {
				return // only inputs have one
			}
			i = schema.Instance{Output: tt.in}
			if got := i.OutputRef(container); got != tt.want {
				t.Errorf("OutputRef of %+v = %+v, want %+v", tt.in, got, tt.want)
			}
		})
	}
}

// Rows of both tables name blobs in their columns, and rows of Instances by URLs,
// too.
func TestRowBlobs(t *testing.T) {
	const base = endpoint + "/" + container + "/"
	tests := []struct {
		name string
		row  schema.Row
		want []string
	}{
		{"nothing", schema.Row{Properties: []schema.Property{{Name: "Input", Value: schema.String("x")}, {Name: "EventId", Value: schema.Int32(1)}}}, nil},
		{
			"columns, also of an ID with a backslash",
			schema.Row{RowKey: "0000000000000001", Properties: []schema.Property{
				{Name: "Input", Value: schema.String("")},
				{Name: "InputBlobName", Value: schema.String(`r\s/history-1-TaskScheduled-Input.json.gz`)},
				{Name: "TagsBlobName", Value: schema.String("")},
				{Name: "ResultBlobName", Value: schema.String("a/b.json.gz")},
			}},
			[]string{"r/s/history-1-TaskScheduled-Input.json.gz", "a/b.json.gz"},
		},
		{
			"URLs of the container, and of others",
			schema.Row{Properties: []schema.Property{
				{Name: "Input", Value: schema.String(base + "r%5Cs/x.json.gz")}, {Name: "Output", Value: schema.String("https://example.com/other/x.json.gz")},
			}},
			[]string{"r/s/x.json.gz"},
		},
		{
			"a bare name, before 1.9.2",
			schema.Row{Properties: []schema.Property{{Name: "Input", Value: schema.String("a/message-1-ExecutionStarted.json.gz")}}},
			[]string{"a/message-1-ExecutionStarted.json.gz"},
		},
		{
			"a text of history that looks like one",
			schema.Row{RowKey: "0000000000000001", Properties: []schema.Property{{Name: "Result", Value: schema.String("a.json.gz")}}},
			nil,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := slices.Collect(schema.RowBlobs(&tt.row, container)); !slices.Equal(got, tt.want) {
				t.Errorf("RowBlobs = %q, want %q", got, tt.want)
			}
		})
	}
}
