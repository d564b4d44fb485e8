package parquet_test

import (
	"bytes"
	"fmt"
	"log"

	"github.com/taskhub-tools/taskhub/export/internal/parquet"
)

func Example() {
	schema, err := parquet.NewSchema("history", []parquet.Column{
		{Name: "instance_id", Kind: parquet.String, Required: true},
		{Name: "sequence", Kind: parquet.Int32, Required: true},
		{Name: "result", Kind: parquet.Text},
	})
	if err != nil {
		log.Fatal(err)
	}

	group := schema.NewRowGroup()
	for i, result := range []string{"", `"done"`} {
		group.String(0, "order-1")
		group.Int(1, int64(i))
		if result != "" {
			group.String(2, result)
		}
		if err := group.EndRow(); err != nil {
			log.Fatal(err)
		}
	}
	encoded, err := group.Encode(parquet.NewEncoder())
	if err != nil {
		log.Fatal(err)
	}

	var file bytes.Buffer
	w := parquet.NewWriter(&file, schema, map[string]string{"task_hub": "MyHub"})
	if err := w.WriteRowGroup(encoded); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	fmt.Println(w.Rows(), "rows,", w.Bytes() == int64(file.Len()), file.String()[:4])
	// Output: 2 rows, true PAR1
}
