// Package export turns a task hub into tables for people and data lakes:
// instances, history, messages, entities and blobs, as JSON Lines, JSON or
// Parquet.
//
// Start with [Run], which writes a folder of part files and a manifest, or
// [Stream], which writes one dataset as JSON Lines to any writer.
//
//	report, err := export.Run(ctx, hub, "out", export.Options{Format: export.Parquet})
//
// # Guarantees
//
// Every dataset has the columns that [Columns] lists, in that order, whatever
// the hub holds. Nothing stored is lost: columns that a dataset does not know
// are in its column extra, and a payload or row that cannot be read leaves null
// and a sentence in the column error, counted in the [Manifest]. The same hub
// gives the same bytes. Rows of earlier executions that a newer one has not
// overwritten are exported too, with is_current false.
//
// A run writes under partial names inside the output folder and renames the
// datasets when all are whole, the manifest last: a folder with a manifest is
// complete.
//
// # Limits
//
// Peak memory is bounded by a few row groups of 32 MiB and the largest payload,
// whatever the size of the hub. Sentinel rows are not exported: a capture has
// them.
package export
