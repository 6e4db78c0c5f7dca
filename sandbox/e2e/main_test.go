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
	"path/filepath"
	"regexp"
	"testing"

	"cipp-ninjaone/sandbox/stack"
)

// appRoot is the bundle that every test runs, built once.
var appRoot string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "cipp-ninjaone-app-*")
		if err == nil {
			defer os.RemoveAll(dir)
			err = errors.Join(stack.Build(context.Background(), dir), slowTimers(dir))
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "the bundle under test:", err)
			return 1
		}
		appRoot = dir
		// Most of the time tests wait: for storage, for retries, for messages.
		if err := flag.Set("test.parallel", "3"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

var schedule = regexp.MustCompile(`"schedule":\s*"[^"]*"`)

// slowTimers lets the timers of an app root fire once a year, so that only what
// a test starts runs.
func slowTimers(dir string) error {
	paths, err := filepath.Glob(filepath.Join(dir, "*", "function.json"))
	if err != nil {
		return err
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path, schedule.ReplaceAll(text, []byte(`"schedule": "0 0 0 1 1 *"`)), 0o644); err != nil {
			return err
		}
	}
	return nil
}
