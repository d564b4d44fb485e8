// Package parquet writes flat tables with many optional columns into zstd
// compressed Parquet files, fast and in bounded memory.
//
// Start with [NewSchema], fill a [RowGroup] row by row, turn it into bytes with
// [RowGroup.Encode] and put the results into a file with a [Writer]:
//
//	schema, err := parquet.NewSchema("history", []parquet.Column{
//		{Name: "instance_id", Kind: parquet.String, Required: true},
//		{Name: "result", Kind: parquet.Text},
//	})
//	group, enc := schema.NewRowGroup(), parquet.NewEncoder()
//	w := parquet.NewWriter(file, schema, nil)
//	for _, row := range rows {
//		group.String(0, row.InstanceID)
//		if row.Result != "" { // a column that is not set is null
//			group.String(1, row.Result)
//		}
//		err = group.EndRow()
//	}
//	encoded, err := group.Encode(enc)
//	err = w.WriteRowGroup(encoded)
//	err = w.Close()
//
// # Guarantees
//
// The same rows in the same row groups give the same bytes. A null costs no
// time when rows are appended, and one bit at most. Text in a file is always
// valid UTF-8. Null counts are true, and the bounds of a column chunk enclose
// all its values. The package starts no goroutines; to use several cores, fill
// and encode row groups in parallel, each with its own RowGroup and Encoder,
// and write the results in order.
//
// # How it is fast
//
// Three decisions carry the speed, each explained where it is made: nulls are
// not stored but implied by the row of the next value (rowgroup.go), a text is
// compared with the one before it and then looked up by hash, so that repeated
// values are copied once (dictionary.go), and pages are cut from those arrays
// without visiting rows one by one (page.go).
//
// # Limits
//
// No nesting, no repeated columns, no page index and no bloom filters. One
// column holds less than 2 GiB in a row group, and a file at most 32,767 row
// groups. The footer is held in memory until Close, about 25 KB a row group for
// 35 columns.
package parquet
