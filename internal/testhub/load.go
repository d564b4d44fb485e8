package testhub

import (
	"crypto/md5" // what the Blob service keeps of each blob
	"encoding/base64"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/schema"
)

// Load creates the artifacts of c in an account and fills them. Messages that c
// counts but does not hold become messages that are invisible for a week.
// Containers and blobs that are leased get a lease without end.
//
// The service sets Timestamp and ETag of rows, everything of messages but the
// text, and the times of blobs.
func Load(t testing.TB, e *Emulator, c hubtest.Content) {
	t.Helper()
	w := e.writer(t)
	for _, table := range hub.Tables {
		rows, ok := c.Tables[table]
		if !ok {
			continue
		}
		name := c.Names.Table(table)
		if !slices.ContainsFunc(e.Listing(t), func(s string) bool { return strings.EqualFold(s, "table/"+name) }) {
			w.createTable(t, name) // a tracking store is shared
		}
		w.insert(t, name, rows)
	}
	for _, q := range c.Queues {
		w.do(t, http.MethodPut, e.QueueURL+"/"+q.Name, "")
		for _, m := range q.Messages {
			w.post(t, q.Name, m.Text, 0)
		}
		for i := len(q.Messages); int64(i) < q.ApproximateCount; i++ {
			w.post(t, q.Name, "invisible", 7*24*3600)
		}
	}
	for _, container := range c.Containers {
		w.do(t, http.MethodPut, e.BlobURL+"/"+container.Name+"?restype=container", "")
	}
	for _, b := range c.Blobs {
		w.upload(t, b)
	}
	lease := []string{"x-ms-lease-action", "acquire", "x-ms-lease-duration", "-1"}
	for _, b := range c.Blobs {
		if b.LeaseState == "leased" {
			w.do(t, http.MethodPut, w.blob(b)+"?comp=lease", "", lease...)
		}
	}
	for _, container := range c.Containers {
		if container.LeaseState == "leased" {
			w.do(t, http.MethodPut, e.BlobURL+"/"+container.Name+"?restype=container&comp=lease", "", lease...)
		}
	}
}

// ContentOf reads everything from r.
func ContentOf(t testing.TB, r hub.Reader) hubtest.Content {
	t.Helper()
	ctx := t.Context()
	info, err := r.Info(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c := hubtest.Content{
		Names: info.Names, Account: info.Account, PartitionCount: info.PartitionCount, PartitionCountFrom: info.PartitionCountFrom,
		Tables: make(map[hub.Table][]schema.Row), Unreadable: info.Unreadable,
	}
	for _, table := range info.Tables {
		c.Tables[table.Table] = []schema.Row{}
		for row, err := range r.Rows(ctx, table.Table, hub.Keys{}) {
			if err != nil {
				t.Fatal(err)
			}
			c.Tables[table.Table] = append(c.Tables[table.Table], row.Clone())
		}
	}
	queues, err := r.Queues(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range queues {
		content := hubtest.Queue{Name: q.Name, ApproximateCount: q.ApproximateCount}
		for m, err := range r.Messages(ctx, q.Name) {
			if err != nil {
				t.Fatal(err)
			}
			content.Messages = append(content.Messages, m)
		}
		c.Queues = append(c.Queues, content)
	}
	if c.Containers, err = r.Containers(ctx); err != nil {
		t.Fatal(err)
	}
	for _, container := range c.Containers {
		for b, err := range r.Blobs(ctx, container.Name, "") {
			if err != nil {
				t.Fatal(err)
			}
			data, err := r.ReadBlob(ctx, b.Container, b.Name, b.SizeBytes)
			if err != nil {
				t.Fatal(err)
			}
			c.Blobs = append(c.Blobs, hubtest.Blob{Blob: b, Data: data})
		}
	}
	return c
}

func (w *writer) createTable(t testing.TB, name string) {
	t.Helper()
	w.do(t, http.MethodPost, w.e.TableURL+"/Tables", `{"TableName":`+strconv.Quote(name)+`}`,
		"Content-Type", "application/json", "Accept", "application/json;odata=nometadata")
}

// Insert adds rows to a table that exists.
func (e *Emulator) Insert(t testing.TB, table string, rows []schema.Row) {
	t.Helper()
	e.writer(t).insert(t, table, rows)
}

// insert adds rows in batches, as the service takes them: up to 100 rows of one
// partition in up to 4 MiB.
func (w *writer) insert(t testing.TB, table string, rows []schema.Row) {
	t.Helper()
	const maxRows, maxBytes = 100, 3 << 20
	var batch []string
	size := 0
	flush := func() {
		if len(batch) > 0 {
			w.batch(t, table, batch)
		}
		batch, size = nil, 0
	}
	for i := range rows {
		if i > 0 && rows[i].PartitionKey != rows[i-1].PartitionKey {
			flush()
		}
		r := rows[i]
		r.Timestamp, r.ETag = 0, ""
		text := string(r.AppendJSON(nil))
		if len(batch) == maxRows || size+len(text) > maxBytes {
			flush()
		}
		batch = append(batch, text)
		size += len(text)
	}
	flush()
}

var created = regexp.MustCompile(`HTTP/1\.1 (204|201)`)

func (w *writer) batch(t testing.TB, table string, entities []string) {
	t.Helper()
	if len(entities) == 1 {
		w.do(t, http.MethodPost, w.e.TableURL+"/"+table, entities[0], "Content-Type", "application/json",
			"Accept", "application/json;odata=nometadata", "Prefer", "return-no-content", "DataServiceVersion", "3.0")
		return
	}
	var body strings.Builder
	body.WriteString("--batch_1\r\nContent-Type: multipart/mixed; boundary=changeset_1\r\n\r\n")
	for _, entity := range entities {
		fmt.Fprintf(&body, "--changeset_1\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n"+
			"POST %s/%s HTTP/1.1\r\nContent-Type: application/json\r\nAccept: application/json;odata=minimalmetadata\r\n"+
			"Prefer: return-no-content\r\nDataServiceVersion: 3.0\r\n\r\n%s\r\n", w.e.TableURL, table, entity)
	}
	body.WriteString("--changeset_1--\r\n--batch_1--\r\n")
	answer := w.do(t, http.MethodPost, w.e.TableURL+"/$batch", body.String(), "Content-Type", "multipart/mixed; boundary=batch_1",
		"Accept", "application/json;odata=minimalmetadata", "DataServiceVersion", "3.0")
	if n := len(created.FindAllString(answer, -1)); n != len(entities) {
		t.Fatalf("%d of %d rows of %s were created:\n%.2000s", n, len(entities), table, answer)
	}
}

// Post adds a message to a queue that exists.
func (e *Emulator) Post(t testing.TB, queue, text string, invisibleSeconds int) {
	t.Helper()
	e.writer(t).post(t, queue, text, invisibleSeconds)
}

func (w *writer) post(t testing.TB, queue, text string, invisibleSeconds int) {
	t.Helper()
	var body strings.Builder
	body.WriteString("<QueueMessage><MessageText>")
	if err := xml.EscapeText(&body, []byte(text)); err != nil {
		t.Fatal(err)
	}
	body.WriteString("</MessageText></QueueMessage>")
	w.do(t, http.MethodPost, fmt.Sprintf("%s/%s/messages?messagettl=-1&visibilitytimeout=%d", w.e.QueueURL, queue, invisibleSeconds),
		body.String(), "Content-Type", "application/xml")
}

func (w *writer) blob(b hubtest.Blob) string {
	return w.e.BlobURL + "/" + b.Container + "/" + strings.ReplaceAll(url.PathEscape(b.Name), "%2F", "/")
}

func (w *writer) upload(t testing.TB, b hubtest.Blob) {
	t.Helper()
	sum := md5.Sum(b.Data)
	header := []string{
		"x-ms-blob-type", "BlockBlob", "x-ms-blob-content-type", b.ContentType,
		"x-ms-blob-content-md5", base64.StdEncoding.EncodeToString(sum[:]),
	}
	for name, value := range b.Metadata {
		header = append(header, "x-ms-meta-"+name, value)
	}
	w.do(t, http.MethodPut, w.blob(b), string(b.Data), header...)
}
