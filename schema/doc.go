// Package schema holds what a Durable Functions task hub stores in Azure
// Storage: table rows, queue messages, blob names and leases, as stored and as
// typed values, and the pure functions between the two. It does no I/O and
// depends on the standard library only.
//
// Start with [Row], which keeps every property of a table entity with its EDM
// type, and [Decoder], which reads rows from the Table service's JSON.
package schema
