// Package hub states what a task hub in storage can be asked: its tables,
// queues and blobs, as stored. [Reader] is the contract; a live account and a
// capture are two implementations of it, and package hubtest proves that they
// answer alike.
//
// A Reader has no method that could create or change anything.
package hub
