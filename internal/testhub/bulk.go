package testhub

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/hub/hubtest"
	"github.com/taskhub-tools/taskhub/schema"
)

// StartAzuriteWith starts an Azurite of its own that holds the hub of r, and
// ends with t. Rows are not sent to it, which takes the longer the more there
// are, but written into the file that it keeps its tables in: hundreds of
// thousands take seconds.
//
// Queues and containers are made empty.
func StartAzuriteWith(t testing.TB, r hub.Reader) *Emulator {
	t.Helper()
	node, err := exec.LookPath("node")
	script, scriptErr := nodeFile("node_modules/azurite/dist/src/azurite.js")
	if err = errors.Join(err, scriptErr); err != nil {
		unavailable(t, "REQUIRE_STORAGE_TESTS", "%v: %v", errNotInstalled, err)
	}
	dir := t.TempDir()
	name := accountName(0)
	if err := writeTables(t, filepath.Join(dir, "__azurite_db_table__.json"), name, r); err != nil {
		t.Fatal(err)
	}
	// The file is read as one string and parsed.
	a := &azurite{cmd: exec.Command(node, "--max-old-space-size=12000", script,
		"--location", dir, "--skipApiVersionCheck", "--silent", "--disableTelemetry",
		"--blobPort", "0", "--queuePort", "0", "--tablePort", "0")}
	a.cmd.Env = append(os.Environ(), "AZURITE_ACCOUNTS="+name+":"+accountKey(name))
	a.cmd.Dir = dir
	a.failure = a.start()
	e := a.account(t)
	t.Cleanup(func() {
		_ = a.cmd.Process.Kill() // it may have ended
		_ = a.cmd.Wait()         // killed: the error says nothing
	})
	c := hubtest.Content{}
	if c.Containers, err = r.Containers(t.Context()); err != nil {
		t.Fatal(err)
	}
	queues, err := r.Queues(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range queues {
		c.Queues = append(c.Queues, hubtest.Queue{Name: q.Name})
	}
	Load(t, e, c)
	return e
}

// writeTables writes the tables of r as Azurite 3.35 saves them with LokiJS 1.5:
// a collection that lists the tables, and one for each of them. Indices are left
// out, as listings do not use them.
//
// Source: azurite, table/persistence/LokiTableMetadataStore.js.
func writeTables(t testing.TB, path, account string, r hub.Reader) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	info, err := r.Info(t.Context())
	if err != nil {
		return err
	}
	_, _ = io.WriteString(w, `{"databaseVersion":1.5,"engineVersion":1.5,"filename":`+strconv.Quote(path)+`,"collections":[`)
	_, _ = io.WriteString(w, `{"name":"$TABLES_COLLECTION$","data":[`)
	for i, table := range info.Tables {
		if i > 0 {
			_ = w.WriteByte(',')
		}
		_, _ = fmt.Fprintf(w, `{"account":%q,"table":%q,"meta":{"revision":0,"created":0,"version":0},"$loki":%d}`, account, table.Name, i+1)
	}
	endCollection(w, len(info.Tables))
	var doc []byte
	for _, table := range info.Tables {
		_, _ = fmt.Fprintf(w, `,{"name":%q,"data":[`, account+"$"+table.Name)
		n := 0
		for row, err := range r.Rows(t.Context(), table.Table, hub.Keys{}) {
			if err != nil {
				return err
			}
			if n++; n > 1 {
				_ = w.WriteByte(',')
			}
			changed, etag := row.Timestamp.String(), row.ETag
			row.Timestamp, row.ETag = 0, ""
			doc = append(doc[:0], `{"PartitionKey":`...)
			doc = schema.AppendJSONString(doc, row.PartitionKey)
			doc = append(doc, `,"RowKey":`...)
			doc = schema.AppendJSONString(doc, row.RowKey)
			doc = append(doc, `,"properties":`...)
			doc = row.AppendJSON(doc)
			doc = append(doc, `,"lastModifiedTime":"`+changed+`","eTag":`...)
			doc = schema.AppendJSONString(doc, etag)
			doc = fmt.Appendf(doc, `,"meta":{"revision":0,"created":0,"version":0},"$loki":%d}`, n)
			_, _ = w.Write(doc)
		}
		endCollection(w, n)
	}
	_, _ = io.WriteString(w, `]}`)
	return w.Flush() // the first error of all writes
}

// endCollection writes what follows the n documents of a collection.
func endCollection(w io.Writer, n int) {
	_, _ = fmt.Fprintf(w, `],"idIndex":null,"binaryIndices":{},"uniqueNames":[],"transforms":{},"dirty":false,"cloneObjects":false,`+
		`"disableMeta":false,"disableChangesApi":true,"disableDeltaChangesApi":true,"disableFreeze":true,"adaptiveBinaryIndices":true,`+
		`"maxId":%d,"DynamicViews":[],"changes":[],"dirtyIds":[]}`, n)
}
