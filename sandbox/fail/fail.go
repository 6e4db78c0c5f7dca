// Package fail ends tests.
package fail

import "testing"

// If ends a test because of an error, unless that is nil.
func If(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
