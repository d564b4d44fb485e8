// Package archtest checks which package may import which.
//
// It has no code of its own: its test lists the packages of this module for
// Linux, macOS and Windows and fails on an import that the table in
// archtest_test.go does not allow. A package without an entry fails too, so
// that a new package is a decision and not an accident.
//
// Tests may import anything; only the code that users link is checked. The
// depguard rules in .golangci.yml repeat the main rules for the editor; where
// the two differ, this package is right.
package archtest
