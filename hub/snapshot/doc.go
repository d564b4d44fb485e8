// Package snapshot reads and writes captures: one task hub, as stored, in one
// file or folder.
//
// [Open] gives a [hub.Reader] over a capture and [Create] a [Writer] of one;
// [Capture] copies a whole hub from any Reader:
//
//	r, err := snapshot.Open("orders.taskhub", snapshot.Options{})
//	if err != nil {
//		return err
//	}
//	defer r.Close()
//	for row, err := range r.Rows(ctx, hub.History, hub.Partition("order-1")) {
//		…
//	}
//
// # Format
//
// NAME.taskhub is a zip whose entries are all stored, never deflated, so that a
// reader seeks inside them; a folder with the same files is the same capture.
//
//	manifest.json             what was captured, and every file with rows, bytes and SHA-256
//	tables/TABLE.ndjson.zst   rows in key order, one a line, as [schema.Row.AppendJSON] writes
//	                          them with properties in the order of their names
//	tables/TABLE.idx          one line a zstd frame: first keys, offset, sizes, rows
//	queues/QUEUE.ndjson       messages in queue order, one a line
//	blobs/index.ndjson        blobs by container and name, one a line
//	blobs/data/SHA256         their bytes as stored, each content once
//
// The frames of a table are independent of each other, hold about 256 KB of
// text each and carry its size and checksum. Everything is ordered by
// [schema.CompareKeys], which is how the Table service orders keys. The bytes
// are a function of the hub's content, but for the times in the manifest.
//
// The manifest ends with the SHA-256 of itself, computed with 64 zeros in that
// place. It lists all files except blobs/data, which blobs/index.ndjson lists
// with size and SHA-256: a hub may have more blobs than a manifest should have
// lines.
//
// # Guarantees
//
// A capture is written under a name that ends in .partial and renamed when it is
// whole and on disk. A Reader checks what it returns: the manifest, the indexes,
// queues and blobs by SHA-256, each frame of a table by the checksum of zstd and
// by its number of rows. What is wrong is a [*DamageError] that names the file
// and the offset, and with [Options.Salvage] it is listed by [Reader.Damage] and
// the rest is read. Sizes are checked before memory is taken, and names that
// point out of the capture are refused.
//
// # Limits
//
// A Reader keeps the indexes of tables (about 120 bytes for 256 KB of rows), one
// in 64 blob names, and for a zip its directory in memory.
package snapshot
