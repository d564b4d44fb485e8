package export_test

import (
	"archive/zip"
	"bytes"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"

	"github.com/taskhub-tools/taskhub/export"
	"github.com/taskhub-tools/taskhub/hub"
	"github.com/taskhub-tools/taskhub/internal/testhub"
	"github.com/taskhub-tools/taskhub/schema"
)

// tableLines returns some lines of the tables of a recording as they are stored.
func tableLines(f testing.TB, name string) (lines [][]byte) {
	f.Helper()
	z, err := zip.OpenReader(testhub.HubFile(f, name))
	if err != nil {
		f.Fatal(err)
	}
	defer z.Close()
	unpack, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		f.Fatal(err)
	}
	defer unpack.Close()
	for _, entry := range z.File {
		if !strings.HasSuffix(entry.Name, ".ndjson.zst") {
			continue
		}
		in, err := entry.Open()
		if err != nil {
			f.Fatal(err)
		}
		text, err := io.ReadAll(in)
		if err == nil {
			text, err = unpack.DecodeAll(text, nil)
		}
		if err != nil {
			f.Fatal(filepath.Base(entry.Name), err)
		}
		n := 0
		for line := range bytes.Lines(text) {
			if n++; n%29 == 1 {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// FuzzRows exports a hub made of any rows. It must not panic, every row must come
// out, and every property must be in a column or in extra.
func FuzzRows(f *testing.F) {
	seeds := 0
	for _, name := range []string{"dtfx-2.9.1", "functions-3", "dtfx-1.17.5"} {
		for _, line := range tableLines(f, name) {
			f.Add(line)
			seeds++
		}
	}
	if seeds < 40 {
		f.Fatalf("only %d seeds", seeds)
	}
	for _, v := range storedValues {
		for _, name := range []string{"Input", "ExecutionId", "_Timestamp", "InputBlobName", "NameBlobName", "Unknown"} {
			p := property(f, name, v.edm, v.raw)
			r := schema.Row{PartitionKey: "k", RowKey: "0000000000000000", Properties: []schema.Property{p}}
			f.Add(r.AppendJSON(nil))
		}
	}
	f.Fuzz(func(t *testing.T, lines []byte) {
		var d schema.Decoder
		rows, err := d.Lines(lines, nil)
		if err != nil || len(rows) > 100 {
			return
		}
		for i := range rows {
			rows[i].ETag, rows[i].Timestamp = "", 0
		}
		m := madeUpHub(rows...)
		sorted := m.Content.Tables
		for dataset, table := range map[export.Dataset]hub.Table{export.Instances: hub.Instances, export.History: hub.History} {
			columns := instanceColumns
			if dataset == export.History {
				columns = historyColumns
			}
			var want []schema.Row
			for _, r := range sorted[table] {
				if dataset == export.Instances || !r.IsSentinel() {
					want = append(want, r)
				}
			}
			var b bytes.Buffer
			if _, err := export.Stream(t.Context(), m, &b, dataset, export.Options{}); err != nil {
				t.Fatal(err)
			}
			if !utf8.Valid(b.Bytes()) {
				t.Errorf("%s is not UTF-8", dataset)
			}
			got := readNDJSON(t, b.Bytes(), dataset)
			if len(got) != len(want) {
				t.Fatalf("%s: %d rows, want %d", dataset, len(got), len(want))
			}
			for i := range want {
				for k := range want[i].Properties {
					p := &want[i].Properties[k]
					if strings.HasSuffix(p.Name, "@odata.type") || !utf8.ValidString(p.Name) {
						continue // cannot be told from an annotation
					}
					if s, _ := p.Value.Text(); !utf8.ValidString(s) {
						continue // halves of surrogate pairs: TestTexts
					}
					if !kept(got[i], p, columns) {
						t.Errorf("%s: %s %s is lost: %v", dataset, p.Name, p.Value, got[i])
					}
				}
			}
		}
		var b bytes.Buffer
		if _, err := export.Stream(t.Context(), m, &b, export.Entities, export.Options{Redact: export.RedactHash}); err != nil {
			t.Fatal(err)
		}
		readNDJSON(t, b.Bytes(), export.Entities)
		if _, err := export.Run(t.Context(), m, t.TempDir(), export.Options{
			Format: export.Parquet, PartitionBy: []export.PartitionKey{export.ByInstanceName, export.ByDate},
		}); err != nil {
			t.Fatal(err)
		}
	})
}
