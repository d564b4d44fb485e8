// Package testhub holds what the tests of several packages share: programs of
// others to check our work with.
//
// [DuckDB] reads the files that we write. It and Azurite, the emulator of Azure
// Storage, come from npm; the folder node pins their versions, and make kit
// installs them. Where they are missing a test that needs them is skipped, or
// fails if REQUIRE_NODE_TESTS is 1.
//
// [JavaScriptClient] calls what we serve with the official client, from npm as well.
//
// [StartBrowser] drives a Chromium that the system has, with playwright-core from
// npm. Where there is none a test is skipped, or fails if REQUIRE_BROWSER_TESTS is 1.
//
// Only tests import this package, which internal/archtest checks.
package testhub
