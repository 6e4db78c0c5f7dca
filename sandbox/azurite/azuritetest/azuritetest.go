// Package azuritetest gives tests a running storage emulator.
//
// It holds what needs the testing package, so that programs can start the
// emulator without it. It is imported by tests only.
package azuritetest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"runtime/debug"
	"sync"
	"testing"

	"cipp-ninjaone/sandbox/azurite"
)

// shared is the emulator of this test binary. Its process ends with the binary,
// which every process the azurite package starts does.
var shared = sync.OnceValues(func() (*azurite.Azurite, error) {
	debug.SetGCPercent(400) // a test program is small and short: it has memory for time
	return azurite.Start(context.Background())
})

// ForTest returns the emulator that all tests of one test binary share. The first use
// starts it, with its data in memory. Tests keep apart by UniqueName.
func ForTest(t testing.TB) *azurite.Azurite {
	t.Helper()
	a, err := shared()
	if err != nil {
		t.Fatalf("starting the storage emulator: %v", err)
	}
	return a
}

// UniqueName returns a new random name that is valid for a table, a queue and a blob
// container alike. It has room for a suffix such as "-poison".
func UniqueName(t testing.TB) string {
	t.Helper()
	b := make([]byte, 8)
	_, _ = rand.Read(b) // It never fails, by its contract.
	return "t" + hex.EncodeToString(b)
}
