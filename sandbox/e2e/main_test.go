// Package e2e holds the end-to-end tests: the handler's binary, built as it is
// deployed, under the stand-in for the Functions host, with real storage
// emulation and strict simulators. Nothing of the handler is imported; what a
// test knows, it knows from outside.
package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"testing"

	"cipp-ninjaone/sandbox/azurite"
	"cipp-ninjaone/sandbox/stack"
)

// appRoot is the bundle that every test runs, built once.
var appRoot string

// emulator is the storage emulator in which every world has an account of its
// own.
var emulator *azurite.Azurite

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "cipp-ninjaone-app-*")
		if err == nil {
			defer os.RemoveAll(dir)
			err = errors.Join(stack.Build(context.Background(), dir, ""), stack.SlowTimers(dir))
		}
		if err == nil {
			emulator, err = azurite.Start(context.Background())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "the bundle under test:", err)
			return 1
		}
		defer emulator.Stop()
		appRoot = dir
		debug.SetGCPercent(400) // memory for time; the handler is told the same
		// Most of the time tests wait: for storage, for retries, for messages.
		if err := flag.Set("test.parallel", "3"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}
