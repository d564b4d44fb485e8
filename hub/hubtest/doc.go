// Package hubtest checks that an implementation of [hub.Reader] does what the
// interface promises, as testing/fstest does for file systems.
//
// The implementation is given a [Content], stores it in its own way and returns
// a Reader over it:
//
//	func TestReader(t *testing.T) {
//		hubtest.Run(t, hubtest.Options{}, func(t testing.TB, c hubtest.Content) hub.Reader {
//			return store(t, c)
//		})
//	}
package hubtest
